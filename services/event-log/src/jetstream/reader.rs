//! Reads one stream on from one position, checking every sequence.

use super::{
    api::{Api, StreamInfo},
    hole,
    link::{Delivered, Delivery, Link},
};
use crate::{Entry, LogError, ReadLimit};
use bytes::Bytes;
use loadline_domain::{Incarnation, Loss, Record, Sequence, StreamName, Timestamp};
use std::{collections::VecDeque, time::Duration};
use tokio::time::{Instant, sleep_until, timeout_at};

/// After so long without a delivery the stream itself is asked whether there is something: the watchdog for pull requests,
/// deliveries and consumers that got lost, and how a stream that was deleted or made again is noticed.
const QUIET: Duration = Duration::from_secs(1);
/// How long a record that the stream has may take to come.
const ON_ITS_WAY: Duration = Duration::from_millis(250);
/// How long to wait for the next message of a backlog before returning fewer than asked for.
const LINGER: Duration = Duration::from_millis(20);
/// Shortest time between two consumers of one reader.
const RELINK: Duration = Duration::from_millis(100);
/// Consumers that one call makes without a message from any of them, before it fails.
const LINKS: u32 = 10;

/// A position in a stream, and what is known to follow it.
pub(super) struct Reader {
    api: Api,
    stream: StreamName,
    incarnation: Incarnation,
    /// Read and not yet returned. Kept here, so that a cancelled call loses nothing.
    read: VecDeque<Entry>,
    /// Next sequence to be delivered.
    next: Sequence,
    /// Time of the record before it.
    last_at: Option<Timestamp>,
    /// Messages behind the last delivered.
    pending: u64,
    link: Option<Link>,
    linked_at: Option<Instant>,
    heard_at: Instant,
}

impl Reader {
    pub fn new(api: Api, stream: StreamName, incarnation: Incarnation, from: Sequence) -> Self {
        let heard_at = Instant::now();
        let (read, last_at, link, linked_at) = (VecDeque::new(), None, None, None);
        Self { api, stream, incarnation, read, next: from, last_at, pending: 0, link, linked_at, heard_at }
    }

    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Whether it would go on from here.
    pub fn stands_at(&self, incarnation: &Incarnation, from: Sequence) -> bool {
        let position = match self.read.front() {
            Some(Entry::Record(record)) => record.sequence,
            Some(Entry::Lost(loss)) => loss.first,
            None => self.next,
        };
        position == from && self.incarnation == *incarnation
    }

    /// As [`crate::EventLog::read`].
    pub async fn read(&mut self, limit: ReadLimit, wait: Duration) -> Result<Vec<Entry>, LogError> {
        let mut deadline = Instant::now() + wait;
        let mut room = Room::for_what_is(&self.read, limit);
        let mut links = 0;
        while !room.is_full() {
            if self.link.as_ref().is_none_or(Link::is_stale) {
                links += 1;
                if links > LINKS {
                    return Err(LogError::Unavailable(format!("the server ends every consumer of stream {}", self.stream)));
                }
                if self.relink().await? {
                    // There is something: it is not "nothing" because it takes a moment.
                    deadline = deadline.max(Instant::now() + ON_ITS_WAY);
                }
                room = Room::for_what_is(&self.read, limit);
                continue;
            }
            match self.delivery(deadline).await? {
                Some(Delivery::Message(delivered, payload)) => {
                    links = 0;
                    self.accept(delivered, payload).await?;
                }
                Some(Delivery::Notice) => {}
                Some(Delivery::Broken) => self.link = None,
                None if !self.read.is_empty() || Instant::now() >= deadline => break,
                None => {}
            }
            room = room.after(&self.read);
        }
        Ok(room.take(&mut self.read))
    }

    /// The next delivery; `None` when there is none for now: by the deadline, soon enough behind what is read, or before the
    /// stream had to be asked.
    async fn delivery(&mut self, deadline: Instant) -> Result<Option<Delivery>, LogError> {
        let Some(link) = self.link.as_mut() else { return Ok(Some(Delivery::Broken)) };
        link.pull().await?;
        let mut delivery = link.ready();
        if delivery.is_none() {
            let until = match (self.read.is_empty(), self.pending) {
                (true, _) => deadline.min(self.heard_at + QUIET),
                (false, 0) => return Ok(None),
                (false, _) => Instant::now() + LINGER,
            };
            delivery = timeout_at(until, link.next()).await.ok();
        }
        match delivery {
            Some(Delivery::Message(..)) => self.heard_at = Instant::now(),
            None if self.read.is_empty() && self.heard_at.elapsed() >= QUIET => return self.look().await,
            _ => {}
        }
        Ok(delivery)
    }

    /// Asks the stream, after a silence, whether there is something that did not come.
    async fn look(&mut self) -> Result<Option<Delivery>, LogError> {
        let info = hole::info(&self.api, &self.stream, &self.incarnation).await?;
        self.heard_at = Instant::now();
        if info.last() < self.next {
            return Ok(None);
        }
        if let Some(link) = self.link.as_mut()
            && let Ok(delivery) = timeout_at(Instant::now() + ON_ITS_WAY, link.next()).await
        {
            return Ok(Some(delivery));
        }
        self.explain(info.last() + 1).await?;
        Ok(Some(Delivery::Broken))
    }

    async fn accept(&mut self, delivered: Delivered, payload: Bytes) -> Result<(), LogError> {
        let Delivered { sequence, recorded_at, pending } = delivered;
        if sequence > self.next {
            self.explain(sequence).await?;
        }
        if sequence != self.next {
            // Either old, or something before it is there and did not come: begin anew from that.
            if sequence > self.next {
                self.link = None;
            }
            return Ok(());
        }
        (self.next, self.last_at, self.pending) = (sequence + 1, Some(recorded_at), pending);
        self.read.push_back(Entry::Record(Record { sequence, recorded_at, payload }));
        Ok(())
    }

    /// Looks up what is missing before `end`, and steps over what is lost.
    async fn explain(&mut self, end: Sequence) -> Result<(), LogError> {
        let losses = hole::losses(&self.api, &self.stream, &self.incarnation, self.next, end, self.last_at).await?;
        for loss in losses {
            tracing::warn!(stream = %self.stream, first = loss.first, last = loss.last, cause = loss.cause.as_str(), "records lost");
            self.step_over(loss);
        }
        Ok(())
    }

    fn step_over(&mut self, loss: Loss) {
        self.next = loss.last + 1;
        self.read.push_back(Entry::Lost(loss));
    }

    /// Makes a new consumer at the position. True when the stream has records from there on.
    async fn relink(&mut self) -> Result<bool, LogError> {
        self.link = None;
        if let Some(linked_at) = self.linked_at {
            sleep_until(linked_at + RELINK).await;
        }
        let link = Link::open(&self.api, &self.stream, self.next).await?;
        // After the consumer was made: it is of this incarnation, or was deleted with it.
        let info = hole::info(&self.api, &self.stream, &self.incarnation).await?;
        self.ensure_held(&info).await?;
        (self.linked_at, self.heard_at, self.pending) = (Some(Instant::now()), Instant::now(), 0);
        if self.next <= info.last() && self.next < info.first() {
            self.explain(info.first()).await?;
        }
        self.link = Some(link);
        Ok(self.next <= info.last())
    }

    /// A server that came back with an older state has given our positions, or will, to other messages.
    async fn ensure_held(&self, info: &StreamInfo) -> Result<(), LogError> {
        let Some(last_at) = self.last_at else { return Ok(()) };
        let read = self.next - 1;
        let there = self.api.next_from(&self.stream, read).await?;
        if info.last() < read || there.is_some_and(|(sequence, at)| sequence == read && at != last_at) {
            return Err(LogError::LostItsEnd { stream: self.stream.clone(), last: info.last(), read });
        }
        Ok(())
    }
}

/// How much of what is read fits the limit.
struct Room {
    limit: ReadLimit,
    entries: usize,
    bytes: usize,
    full: bool,
}

impl Room {
    fn for_what_is(read: &VecDeque<Entry>, limit: ReadLimit) -> Self {
        Self { limit, entries: 0, bytes: 0, full: false }.after(read)
    }

    /// Counts the entries that were added.
    fn after(mut self, read: &VecDeque<Entry>) -> Self {
        while !self.full && self.entries < read.len() {
            let bytes = match &read[self.entries] {
                Entry::Record(record) => self.bytes + record.payload.len(),
                Entry::Lost(_) => self.bytes,
            };
            self.full = self.entries > 0 && (self.entries >= self.limit.records || bytes > self.limit.bytes);
            if !self.full {
                (self.entries, self.bytes) = (self.entries + 1, bytes);
            }
        }
        self
    }

    fn is_full(&self) -> bool {
        self.full || (self.entries > 0 && (self.entries >= self.limit.records || self.bytes >= self.limit.bytes))
    }

    fn take(self, read: &mut VecDeque<Entry>) -> Vec<Entry> {
        read.drain(..self.entries).collect()
    }
}
