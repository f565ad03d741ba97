//! Dead letters: what could not be counted, and why.

use super::report::timestamp;
use crate::{moment::Moment, text::clean};
use jiff::Timestamp;
use loadline_proto::ingest::{DeadLetter, DeadLetterFilter, DeadLetterReason, ListDeadLettersResponse};
use std::time::Duration;

/// Letters of one page.
pub const PAGE: u32 = 200;
/// Most letters kept; the filter finds the others.
const KEPT: usize = 5_000;
/// Most bytes of a payload kept for showing.
const PAYLOAD: usize = 4_096;

/// One letter.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Its id.
    pub id: u64,
    /// Where it stood in the log.
    pub stream: String,
    /// And at which sequence.
    pub sequence: u64,
    /// Why it could not be counted.
    pub reason: String,
    /// In words.
    pub detail: String,
    /// Empty when the payload does not tell.
    pub account: String,
    /// The event's own time.
    pub event_time: Option<Timestamp>,
    /// When it was appended to the log.
    pub recorded_at: Option<Timestamp>,
}

/// A letter with what stood in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The letter.
    pub letter: Letter,
    /// The first bytes of its payload.
    pub payload: Vec<u8>,
    /// How many bytes there are.
    pub bytes: usize,
}

/// The dead-letter screen's facts.
#[derive(Debug, Clone, Default)]
pub struct Letters {
    /// As the server lists them.
    pub letters: Vec<Letter>,
    /// Open letters by reason, over all pages.
    pub totals: Vec<(String, u64)>,
    /// Where the next page begins; empty: there is none.
    pub next_page: String,
    /// The one last opened.
    pub opened: Option<Opened>,
    /// When the answer came.
    pub at: Option<Duration>,
    /// Why the last question had none.
    pub error: Option<String>,
    /// Why the last one that was to be opened was not.
    pub unopened: Option<String>,
}

impl Letters {
    /// Takes a page; `more`: after those before.
    pub fn take(&mut self, more: bool, answer: ListDeadLettersResponse, now: Moment) {
        if !more {
            self.letters.clear();
        }
        let room = KEPT.saturating_sub(self.letters.len());
        self.letters.extend(answer.dead_letters.into_iter().take(room).map(letter));
        self.totals = answer.totals.into_iter().take(20).map(|total| (reason(total.reason), total.count)).collect();
        self.next_page = if self.letters.len() < KEPT { answer.next_page_token } else { String::new() };
        self.at = Some(now.elapsed);
        self.error = None;
    }

    /// Takes one with its payload.
    pub fn take_one(&mut self, wire: DeadLetter) {
        let (payload, bytes) = (wire.payload.iter().take(PAYLOAD).copied().collect(), wire.payload.len());
        self.opened = Some(Opened { letter: letter(wire), payload, bytes });
        self.unopened = None;
    }
}

fn letter(wire: DeadLetter) -> Letter {
    Letter {
        id: wire.id,
        stream: clean(&wire.stream),
        sequence: wire.sequence,
        reason: reason(wire.reason),
        detail: clean(&wire.detail),
        account: clean(&wire.account),
        event_time: timestamp(wire.event_time.as_ref()),
        recorded_at: timestamp(wire.recorded_at.as_ref()),
    }
}

const REASONS: [(DeadLetterReason, &str); 5] = [
    (DeadLetterReason::Undecodable, "undecodable"),
    (DeadLetterReason::Invalid, "invalid"),
    (DeadLetterReason::Future, "future"),
    (DeadLetterReason::Late, "late"),
    (DeadLetterReason::Conflict, "conflict"),
];

fn reason(number: i32) -> String {
    let known = REASONS.iter().find(|(reason, _)| i32::from(*reason) == number);
    known.map_or_else(|| format!("reason {number}?"), |(_, name)| (*name).to_owned())
}

/// What the server is to look for, and the words that are looked for here, from `stream:S reason:R account:A words`.
pub fn parse_filter(text: &str) -> (DeadLetterFilter, Vec<String>) {
    let mut filter = DeadLetterFilter::default();
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let known = REASONS.iter().find(|(_, name)| word.strip_prefix("reason:") == Some(name));
        match (word.split_once(':'), known) {
            (_, Some((reason, _))) => filter.reason = (*reason).into(),
            (Some(("stream", stream)), _) => filter.stream = stream.to_owned(),
            (Some(("account", account)), _) => filter.account = account.to_owned(),
            _ => words.push(word.to_lowercase()),
        }
    }
    (filter, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_split_into_what_the_server_knows_and_words() {
        let (filter, words) = parse_filter("stream:DLR reason:late Broken account:acme reason:odd");
        assert_eq!((filter.stream.as_str(), filter.account.as_str(), filter.reason()), ("DLR", "acme", DeadLetterReason::Late));
        assert_eq!(words, ["broken", "reason:odd"]);
    }
}
