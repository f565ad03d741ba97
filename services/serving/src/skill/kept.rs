//! Answered requests that wait for their outcome. There are at most [`MOST`] of a model, of at most [`BYTES`]; the oldest go first.

use super::Pair;
use loadline_proto::inference::ModelInferRequest;
use std::collections::{HashMap, VecDeque};

/// Requests of one model.
pub const MOST: usize = 20_000;
/// Bytes of them, as they came.
pub const BYTES: usize = 16 << 20;
/// Bytes of one; of larger ones nothing is kept.
pub const LARGEST: usize = 16 << 10;

/// What is kept of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// Its row.
    pub request: ModelInferRequest,
    /// The output that is its forecast.
    pub output: String,
    /// By class.
    pub forecast: Vec<f64>,
}

/// What an id finds.
#[derive(Debug, PartialEq)]
pub enum Taken {
    /// Its request, whose outcome was not told until now.
    Answered(Box<Answered>),
    /// Its outcome was told before.
    Told,
    /// Nothing: it never came, or too long ago, or to other versions.
    Unknown,
}

/// Those of one model, about one pair of its versions.
#[derive(Debug)]
pub struct Kept {
    pair: Pair,
    entries: HashMap<String, Entry>,
    /// By age, each with the number that its entry had then.
    order: VecDeque<(u64, String)>,
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    bytes: usize,
    /// `None`: its outcome was told.
    answered: Option<Box<Answered>>,
}

impl Kept {
    /// Nothing yet.
    pub fn of(pair: Pair) -> Self {
        Self { pair, entries: HashMap::new(), order: VecDeque::new(), bytes: 0, next: 0 }
    }

    /// The versions that it is about.
    pub fn pair(&self) -> Pair {
        self.pair
    }

    /// Keeps a request. Asked again under its id, the last answer counts, unless the outcome was told. What is known of other versions is
    /// forgotten.
    pub fn put(&mut self, pair: Pair, id: String, answered: Answered, bytes: usize) {
        if pair != self.pair {
            *self = Self::of(pair);
        }
        if self.entries.get(&id).is_some_and(|known| known.answered.is_none()) {
            return;
        }
        let (number, bytes) = (self.next, bytes + 2 * id.len());
        self.next += 1;
        self.order.push_back((number, id.clone()));
        let before = self.entries.insert(id, Entry { number, bytes, answered: Some(Box::new(answered)) });
        self.bytes += bytes;
        self.bytes -= before.map_or(0, |before| before.bytes);
        while self.order.len() > MOST || self.bytes > BYTES {
            self.drop_oldest();
        }
    }

    /// Takes a request whose outcome is told now.
    pub fn take(&mut self, pair: Pair, id: &str) -> Taken {
        let Some(entry) = self.entries.get_mut(id).filter(|_| pair == self.pair) else { return Taken::Unknown };
        let Some(answered) = entry.answered.take() else { return Taken::Told };
        // That it was told is remembered, at the cost of its id.
        let left = 2 * id.len();
        self.bytes -= entry.bytes - left;
        entry.bytes = left;
        Taken::Answered(answered)
    }

    fn drop_oldest(&mut self) {
        let Some((number, id)) = self.order.pop_front() else { return };
        if self.entries.get(&id).is_some_and(|entry| entry.number == number)
            && let Some(entry) = self.entries.remove(&id)
        {
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Pair = Pair { champion: 2, previous: 1 };

    fn answered(first: f64) -> Answered {
        Answered { request: ModelInferRequest::default(), output: "y".to_owned(), forecast: vec![first, 1.0 - first] }
    }

    fn first(taken: &Taken) -> Option<f64> {
        match taken {
            Taken::Answered(answered) => Some(answered.forecast[0]),
            Taken::Told | Taken::Unknown => None,
        }
    }

    #[test]
    fn an_outcome_finds_the_last_answer_once() {
        let mut kept = Kept::of(PAIR);
        kept.put(PAIR, "a".to_owned(), answered(0.1), 100);
        kept.put(PAIR, "a".to_owned(), answered(0.2), 100);
        assert_eq!(first(&kept.take(PAIR, "a")), Some(0.2));
        kept.put(PAIR, "a".to_owned(), answered(0.3), 100);
        assert_eq!((kept.take(PAIR, "a"), kept.take(PAIR, "b")), (Taken::Told, Taken::Unknown));
    }

    #[test]
    fn another_pair_of_versions_begins_with_nothing() {
        let (mut kept, next) = (Kept::of(PAIR), Pair { champion: 3, previous: 2 });
        kept.put(PAIR, "a".to_owned(), answered(0.1), 100);
        assert_eq!(kept.take(next, "a"), Taken::Unknown);
        kept.put(next, "b".to_owned(), answered(0.1), 100);
        assert_eq!((kept.take(next, "a"), kept.take(PAIR, "b")), (Taken::Unknown, Taken::Unknown));
        assert_eq!((kept.entries.len(), kept.order.len()), (1, 1));
    }

    #[test]
    fn there_are_never_more_than_may_be_and_the_oldest_go() {
        let mut kept = Kept::of(PAIR);
        for at in 0..MOST + 10 {
            kept.put(PAIR, at.to_string(), answered(0.5), 10);
        }
        assert_eq!((kept.entries.len(), kept.order.len()), (MOST, MOST));
        assert_eq!((kept.take(PAIR, "9"), first(&kept.take(PAIR, "10"))), (Taken::Unknown, Some(0.5)));
        // The same id for ever takes no more room than any other.
        for _ in 0..MOST * 2 {
            kept.put(PAIR, "again".to_owned(), answered(0.5), 10);
        }
        assert_eq!((kept.entries.len(), kept.order.len()), (1, MOST));
        assert_eq!(kept.bytes, 10 + 2 * "again".len());
        let mut large = Kept::of(PAIR);
        for at in 0..BYTES / LARGEST * 2 {
            large.put(PAIR, at.to_string(), answered(0.5), LARGEST);
            assert!(large.bytes <= BYTES);
            large.take(PAIR, &(at / 2).to_string());
        }
        let all: usize = large.entries.values().map(|entry| entry.bytes).sum();
        assert_eq!(large.bytes, all, "what is counted is what is there");
    }
}
