//! What has to be known where the ring begins: everything before it, condensed.

use super::codec::{Kind, Record};
use loadline_proto::health::{Frame, ModeStatus, Snapshot, frame::Body};
use prost::Message as _;
use std::collections::BTreeMap;

/// The last record of each kind and endpoint, with frames added up.
#[derive(Debug, Default)]
pub struct Start {
    latest: BTreeMap<(usize, Kind), Record>,
    modes: BTreeMap<usize, BTreeMap<String, ModeStatus>>,
}

impl Start {
    /// Takes what fell out of the ring.
    pub fn take(&mut self, record: Record) {
        match record.kind {
            Kind::Frame => self.take_frame(record),
            // What the operator did, and that time passed, changes nothing that is kept.
            Kind::Key | Kind::Paste | Kind::Tick => {}
            // Of these the last one says all.
            Kind::Connecting | Kind::Up | Kind::Down => {
                for kind in [Kind::Connecting, Kind::Up, Kind::Down] {
                    self.latest.remove(&(record.endpoint, kind));
                }
                self.latest.insert((record.endpoint, record.kind), record);
            }
            kind => drop(self.latest.insert((record.endpoint, kind), record)),
        }
    }

    /// The record becomes the snapshot that it and all before it add up to.
    fn take_frame(&mut self, record: Record) {
        let Ok(frame) = Frame::decode(&*record.data) else { return };
        let modes = self.modes.entry(record.endpoint).or_default();
        let changed = match frame.body {
            Some(Body::Snapshot(snapshot)) => {
                modes.clear();
                snapshot.modes
            }
            Some(Body::Delta(delta)) => delta.modes,
            Some(Body::Heartbeat(_)) | None => Vec::new(),
        };
        modes.extend(changed.into_iter().map(|status| (status.id.clone(), status)));
        // Its modes are put in when they are asked for: a snapshot for each heartbeat would cost more than the ring.
        let data = Frame { body: None, ..frame }.encode_to_vec().into();
        self.latest.insert((record.endpoint, Kind::Frame), Record { data, ..record });
    }

    /// In the order of their times, which makes the world of then; of each endpoint one frame, a whole snapshot.
    pub fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self.latest.values().map(|record| self.with_modes(record)).collect();
        records.sort_by_key(|record| record.at.elapsed);
        records
    }

    fn with_modes(&self, record: &Record) -> Record {
        let frame = Frame::decode(&*record.data).ok().filter(|_| record.kind == Kind::Frame);
        let (Some(frame), Some(modes)) = (frame, self.modes.get(&record.endpoint)) else { return record.clone() };
        let snapshot = Snapshot { modes: modes.values().cloned().collect(), ..Snapshot::default() };
        let data = Frame { body: Some(Body::Snapshot(snapshot)), ..frame }.encode_to_vec().into();
        Record { data, ..record.clone() }
    }
}
