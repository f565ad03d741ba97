//! The flight recorder: what came in, with its time, in a bounded ring. The same inputs make the same screen again.
//!
//! What falls out of the ring is condensed into what has to be known at its start: of each endpoint the catalogue, the
//! connection, one snapshot that the evicted frames add up to, and the last answers. A recording is therefore whole however
//! long the console has run, and a file of it can be opened with `--replay` or used by a test.

mod codec;
mod file;
mod start;

pub use codec::Record;
pub use file::RecordingError;

use crate::{
    model::world::{Target, World},
    moment::Moment,
    msg::{Input, Msg, What},
    update::input,
};
use start::Start;
use std::{collections::VecDeque, time::Duration};

/// Most bytes of the ring.
const BYTES: usize = 4 << 20;
/// Most records of the ring.
const RECORDS: usize = 100_000;

/// See the module.
#[derive(Debug)]
pub struct Recorder {
    targets: Vec<Target>,
    begun: Moment,
    start: Start,
    ring: VecDeque<Record>,
    bytes: usize,
    limit: usize,
}

impl Recorder {
    /// An empty ring.
    pub fn new(targets: Vec<Target>, begun: Moment) -> Self {
        Self { targets, begun, start: Start::default(), ring: VecDeque::new(), bytes: 0, limit: BYTES }
    }

    /// The same with room for so many bytes.
    pub fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Records a message; one that says nothing of the world or the operator is left out.
    pub fn push(&mut self, now: Moment, msg: &Msg) {
        let Some(record) = codec::encode(now, msg) else { return };
        self.bytes += record.weight();
        self.ring.push_back(record);
        while (self.bytes > self.limit || self.ring.len() > RECORDS) && self.ring.len() > 1 {
            let Some(evicted) = self.ring.pop_front() else { break };
            self.bytes -= evicted.weight();
            self.start.take(evicted);
        }
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// The earliest time that can be shown.
    pub fn first(&self) -> Duration {
        self.ring.front().map_or(self.begun.elapsed, |record| record.at.elapsed)
    }

    /// The latest.
    pub fn last(&self) -> Duration {
        self.ring.back().map_or(self.begun.elapsed, |record| record.at.elapsed)
    }

    /// Whom the recording watches.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// When the console that recorded it started.
    pub fn begun(&self) -> Moment {
        self.begun
    }

    /// The world as it was then, and how many records are in it.
    pub fn world_at(&self, at: Duration) -> (World, usize) {
        let mut world = World::new(&self.targets, self.begun);
        for record in self.start.records() {
            play(&mut world, &record);
        }
        let applied = self.advance(&mut world, 0, at);
        (world, applied)
    }

    /// Plays on to a later time.
    pub fn advance(&self, world: &mut World, applied: usize, to: Duration) -> usize {
        let due = self.ring.iter().skip(applied).take_while(|record| record.at.elapsed <= to);
        let played = due.map(|record| play(world, record)).count();
        let wall = self.ring.get((applied + played).saturating_sub(1)).map_or(self.begun, |record| record.at);
        world.settle(wall.after(to.saturating_sub(wall.elapsed)));
        applied + played
    }

    /// All messages with their times, for playing them to a whole console.
    pub fn messages(&self) -> impl Iterator<Item = (Moment, Msg)> {
        self.start
            .records()
            .into_iter()
            .chain(self.ring.iter().cloned())
            .filter_map(|record| Some((record.at, codec::decode(&record)?)))
    }
}

fn play(world: &mut World, record: &Record) {
    match codec::decode(record) {
        Some(Msg::Input(input)) => {
            join_watch(world, &input);
            drop(input::apply(world, input, record.at));
        }
        Some(Msg::Tick) => world.pass(record.at),
        _ => {}
    }
}

/// The watch that a recording begins in may not be the endpoint's first.
fn join_watch(world: &mut World, input: &Input) {
    if let (What::Frame { watch, .. }, Some(endpoint)) = (&input.what, world.endpoints.get_mut(input.endpoint))
        && *watch > endpoint.watch
    {
        (endpoint.watch, endpoint.position) = (*watch, None);
    }
}

#[cfg(test)]
mod tests;
