//! An exporter that is replaced while it is used: what is under way ends with the old one.

use std::sync::{Arc, PoisonError, RwLock};

/// All clones are one.
#[derive(Debug)]
pub(super) struct Slot<E>(Arc<RwLock<Arc<E>>>);

impl<E> Clone for Slot<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> Slot<E> {
    pub(super) fn new(exporter: E) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(exporter))))
    }

    pub(super) fn get(&self) -> Arc<E> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn put(&self, exporter: E) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(exporter);
    }

    /// Before it is used: one that is cannot be changed.
    pub(super) fn change(&self, change: impl FnOnce(&mut E)) {
        if let Some(exporter) = Arc::get_mut(&mut self.0.write().unwrap_or_else(PoisonError::into_inner)) {
            change(exporter);
        }
    }
}
