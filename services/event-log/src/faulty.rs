//! The log behind injected faults: the same port, of which calls may fail, wait, or answer what was never appended.

use crate::{Bounds, Entry, EventLog, LogError, NewRecord, ReadLimit, Retention, StreamSpec};
use bytes::Bytes;
use loadline_domain::{Incarnation, Record, Sequence, StreamName, Timestamp};
use loadline_fault::{Fails, Faults, Faulty, faulty};
use std::{sync::Arc, time::Duration};

/// A log behind faults, or as it is where none can be injected.
pub fn behind(log: Arc<dyn EventLog>, faults: Option<&Faults>) -> Arc<dyn EventLog> {
    match faults {
        Some(faults) => Arc::new(Faulty::new(log, faults.clone())),
        None => log,
    }
}

faulty! { EventLog, LogError;
    ensure(spec: &StreamSpec) -> (), about spec.name.as_str();
    append(stream: &StreamName, records: Vec<NewRecord>) -> Vec<Sequence>, about stream.as_str();
    read(stream: &StreamName, incarnation: &Incarnation, from: Sequence, limit: ReadLimit, wait: Duration) -> Vec<Entry>,
        about stream.as_str(), corrupted garbled;
    bounds(stream: &StreamName) -> Bounds, about stream.as_str();
    peek(stream: &StreamName, sequence: Sequence) -> Option<(Sequence, Timestamp)>, about stream.as_str();
    seek(stream: &StreamName, time: Timestamp) -> Sequence, about stream.as_str();
    set_retention(stream: &StreamName, retention: Retention) -> (), about stream.as_str();
    caveats() -> Vec<String>;
    probe() -> ();
}

impl Fails for LogError {
    fn unavailable(why: String) -> Self {
        Self::Unavailable(why)
    }

    fn broken(why: String) -> Self {
        Self::Misconfigured(why)
    }

    /// An append that is unavailable may have happened: the port has no other word for it.
    fn unknown(why: String) -> Self {
        Self::Unavailable(why)
    }
}

/// The same records with the first byte of each another: bytes that no longer decode.
fn garbled(entries: Vec<Entry>) -> Vec<Entry> {
    let garbled = |entry| match entry {
        Entry::Record(record) => {
            let payload = [&[0xff], record.payload.get(1..).unwrap_or_default()].concat();
            Entry::Record(Record { payload: Bytes::from(payload), ..record })
        }
        lost @ Entry::Lost(_) => lost,
    };
    entries.into_iter().map(garbled).collect()
}
