//! What happened, newest last, in a ring.

use crate::moment::Moment;
use std::{collections::VecDeque, time::Duration};

/// Most events kept.
pub const KEPT: usize = 500;
/// The same again within this time counts up instead of making a new line.
const AGAIN: Duration = Duration::from_secs(2);

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When the console learnt of it.
    pub at: Moment,
    /// What it happened to.
    pub subject: String,
    /// What happened.
    pub text: String,
    /// How often, at once.
    pub times: u32,
}

/// The ring.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    events: VecDeque<Event>,
    pushed: u64,
}

impl Timeline {
    /// Adds what happened now.
    pub fn push(&mut self, now: Moment, subject: &str, text: String) {
        let same = |event: &&mut Event| event.subject == subject && event.text == text && now.since(event.at.elapsed) < AGAIN;
        if let Some(event) = self.events.iter_mut().rev().take(20).find(same) {
            event.times += 1;
            return;
        }
        self.pushed += 1;
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(Event { at: now, subject: subject.to_owned(), text, times: 1 });
    }

    /// Passes over so many that would not be kept anyhow.
    pub fn pass_over(&mut self, events: usize) {
        self.pushed += events as u64;
    }

    /// How many there have ever been: the number of the one to come.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// All, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.events.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn the_same_at_once_is_one_line_and_the_ring_is_bounded() {
        let start = Moment::start(Timestamp::UNIX_EPOCH);
        let mut timeline = Timeline::default();
        for _ in 0..3 {
            timeline.push(start, "AN-01", "opened".to_owned());
        }
        timeline.push(start.after(AGAIN), "AN-01", "opened".to_owned());
        assert_eq!(timeline.events().map(|event| event.times).collect::<Vec<_>>(), [3, 1]);
        for number in 0..KEPT {
            timeline.push(start, "x", number.to_string());
        }
        assert_eq!((timeline.events().len(), timeline.events().next().unwrap().text.as_str()), (KEPT, "0"));
    }
}
