//! Readers kept between calls, so that a call that goes on where another ended finds its messages already here.

use super::{api::Api, reader::Reader};
use crate::{Entry, LogError, ReadLimit};
use loadline_domain::{Incarnation, Sequence, StreamName};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Readers kept for one stream; each may hold some megabytes.
const KEPT: usize = 2;

type Kept = Arc<Mutex<HashMap<StreamName, Vec<Reader>>>>;

/// The readers nobody uses just now.
pub(super) struct Readers {
    api: Api,
    kept: Kept,
}

/// A reader in use; it is put back when the call ends, also by cancellation.
pub(super) struct Borrowed {
    kept: Kept,
    reader: Option<Reader>,
}

impl Readers {
    pub fn new(api: Api) -> Self {
        Self { api, kept: Kept::default() }
    }

    /// The reader that stands at this position, or a new one.
    pub fn borrow(&self, stream: &StreamName, incarnation: &Incarnation, from: Sequence) -> Borrowed {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let readers = kept.entry(stream.clone()).or_default();
        let at = readers.iter().position(|reader| reader.stands_at(incarnation, from));
        let reader = at.map(|at| readers.remove(at));
        let reader = reader.unwrap_or_else(|| Reader::new(self.api.clone(), stream.clone(), incarnation.clone(), from));
        Borrowed { kept: self.kept.clone(), reader: Some(reader) }
    }
}

impl Borrowed {
    /// As [`crate::EventLog::read`]. A reader that fails is not used again.
    pub async fn read(&mut self, limit: ReadLimit, wait: Duration) -> Result<Vec<Entry>, LogError> {
        let reader = self.reader.as_mut().expect("it is taken out only below and on drop");
        let outcome = reader.read(limit, wait).await;
        if outcome.is_err() {
            self.reader = None;
        }
        outcome
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let readers = kept.entry(reader.stream().clone()).or_default();
        readers.push(reader);
        let surplus = readers.len().saturating_sub(KEPT);
        readers.drain(..surplus);
    }
}
