//! What has to be known where the ring begins: everything before it, condensed.

use super::codec::{Kind, Record};
use loadline_proto::health::{ArmedPlans, Caller, DrillRun, Frame, ModeStatus, RemedyRun, ServiceLoad, Snapshot, frame::Body};
use prost::Message as _;
use std::collections::BTreeMap;

/// The last record of each kind and endpoint, with frames added up.
#[derive(Debug, Default)]
pub struct Start {
    latest: BTreeMap<(usize, Kind), Record>,
    said: BTreeMap<usize, Said>,
}

/// Most runs kept of one process.
const RUNS: usize = 100;

/// All that the frames of one process add up to.
#[derive(Debug, Default)]
struct Said {
    modes: BTreeMap<String, ModeStatus>,
    runs: Vec<RemedyRun>,
    armed: Option<ArmedPlans>,
    drills: BTreeMap<(String, bool), DrillRun>,
    load: Option<ServiceLoad>,
    caller: Option<Caller>,
}

impl Said {
    fn take(&mut self, body: Option<Body>) {
        let (modes, runs, armed, drills, load) = match body {
            Some(Body::Snapshot(all)) => {
                *self = Self { caller: all.caller, ..Self::default() };
                (all.modes, all.runs, all.armed, all.drills, all.load)
            }
            Some(Body::Delta(delta)) => (delta.modes, delta.runs, delta.armed, delta.drills, delta.load),
            Some(Body::Heartbeat(_)) | None => return,
        };
        self.modes.extend(modes.into_iter().map(|status| (status.id.clone(), status)));
        for run in runs {
            match self.runs.iter_mut().find(|known| known.id == run.id) {
                Some(known) => *known = run,
                None => self.runs.push(run),
            }
        }
        self.runs.drain(..self.runs.len().saturating_sub(RUNS));
        self.drills.extend(drills.into_iter().map(|run| ((run.failure_mode.clone(), run.control), run)));
        self.armed = armed.or(self.armed.take());
        self.load = load.or(self.load.take());
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            modes: self.modes.values().cloned().collect(),
            runs: self.runs.clone(),
            armed: self.armed.clone(),
            drills: self.drills.values().cloned().collect(),
            load: self.load.clone(),
            caller: self.caller.clone(),
        }
    }
}

impl Start {
    /// Takes what fell out of the ring.
    pub fn take(&mut self, record: Record) {
        match record.kind {
            Kind::Frame => self.take_frame(record),
            // What the operator did, and that time passed, changes nothing that is kept.
            Kind::Key | Kind::Repeat | Kind::Mouse | Kind::Paste | Kind::Tick => {}
            // Of these the last one says all; but what is being connected again is still down.
            Kind::Connecting | Kind::Up | Kind::Down => {
                let over: &[Kind] = match record.kind {
                    Kind::Connecting => &[Kind::Connecting, Kind::Up],
                    _ => &[Kind::Connecting, Kind::Up, Kind::Down],
                };
                for &kind in over {
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
        self.said.entry(record.endpoint).or_default().take(frame.body);
        // What they say is put in when they are asked for: a snapshot for each heartbeat would cost more than the ring.
        let frame = Frame { body: None, ..frame };
        let data = frame.encode_to_vec().into();
        self.latest.insert((record.endpoint, Kind::Frame), Record { data, ..record });
    }

    /// In the order of their times, which makes the world of then; of each endpoint one frame, a whole snapshot.
    pub fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self.latest.values().map(|record| self.whole(record)).collect();
        records.sort_by_key(|record| record.at.elapsed);
        records
    }

    fn whole(&self, record: &Record) -> Record {
        let frame = Frame::decode(&*record.data).ok().filter(|_| record.kind == Kind::Frame);
        let (Some(frame), Some(said)) = (frame, self.said.get(&record.endpoint)) else { return record.clone() };
        let data = Frame { body: Some(Body::Snapshot(said.snapshot())), ..frame }.encode_to_vec().into();
        Record { data, ..record.clone() }
    }
}
