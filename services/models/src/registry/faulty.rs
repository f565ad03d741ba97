//! The registry behind injected faults: the same port, of which calls may fail, wait, or lose their reply.

use super::{Model, NewVersion, Registry, RegistryError, Version};
use bytes::Bytes;
use loadline_fault::{Faults, Faulty, faulty};
use std::sync::Arc;

/// A registry behind faults, or as it is where none can be injected.
pub fn behind(registry: Arc<dyn Registry>, faults: Option<&Faults>) -> Arc<dyn Registry> {
    match faults {
        Some(faults) => Arc::new(Faulty::new(registry, faults.clone())),
        None => registry,
    }
}

faulty! { Registry, RegistryError;
    prepare() -> ();
    probe() -> ();
    list() -> Vec<Model>;
    get(name: &str) -> Model, about name;
    register(name: &str, bytes: Bytes, new: NewVersion) -> Version, about name;
    set_alias(name: &str, alias: &str, version: u64) -> (), about name;
    remove_alias(name: &str, alias: &str) -> (), about name;
    download(name: &str, version: u64, limit: u64) -> Bytes, about name, corrupted flipped;
    .. {
        fn caveats(&self) -> Vec<String> {
            self.inner().caveats()
        }
    }
}

/// A bit in the middle is another: what gets past a registry that does not look.
fn flipped(bytes: Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes.into()
}
