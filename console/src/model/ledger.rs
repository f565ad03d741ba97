//! The books of the event log: applied = counted + duplicates + dead letters + lost, for each stream.

use crate::{moment::Moment, text::clean};
use loadline_proto::ingest::{ListStreamsResponse, stream};
use std::{collections::VecDeque, time::Duration};

/// Most streams kept of one answer.
const STREAMS: usize = 1_000;
/// Most samples of throughput kept: five minutes at one a second.
pub const SAMPLES: usize = 300;

/// One stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Its name.
    pub stream: String,
    /// Records whose effect is in the store.
    pub applied: u64,
    /// Of these: counted.
    pub counted: u64,
    /// Of these: counted before.
    pub duplicates: u64,
    /// Of these: not countable, kept.
    pub dead_lettered: u64,
    /// Of these: gone before they were read.
    pub lost: u64,
    /// Records in the log, not applied.
    pub backlog: u64,
    /// Age of the oldest of them.
    pub lag: Duration,
    /// What is left of retention, 0 to 1.
    pub headroom: f64,
    /// `running`, `unowned`, `stopped`, or what a newer server says.
    pub state: String,
    /// The log could be asked.
    pub log_seen: bool,
}

impl Account {
    /// What the books do not explain: 0, or there is a bug. Counted here, not taken from the server.
    pub fn unaccounted(&self) -> i128 {
        let explained = [self.counted, self.duplicates, self.dead_lettered, self.lost].map(i128::from).iter().sum::<i128>();
        i128::from(self.applied) - explained
    }
}

/// All streams, as of the last answer.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// By name.
    pub accounts: Vec<Account>,
    /// When the answer came.
    pub at: Option<Duration>,
    /// Why the last question had none.
    pub error: Option<String>,
    /// Records applied a second, oldest first.
    pub rates: VecDeque<f64>,
}

impl Ledger {
    /// Takes an answer.
    pub fn take(&mut self, answer: ListStreamsResponse, now: Moment) {
        let accounts: Vec<Account> = answer.streams.into_iter().take(STREAMS).map(account).collect();
        let (before, after) = (applied(&self.accounts), applied(&accounts));
        if let Some(at) = self.at.filter(|at| now.since(*at) > Duration::ZERO) {
            if self.rates.len() == SAMPLES {
                self.rates.pop_front();
            }
            let gained = after.saturating_sub(before) as f64;
            self.rates.push_back(gained / now.since(at).as_secs_f64());
        }
        self.accounts = accounts;
        self.at = Some(now.elapsed);
        self.error = None;
    }

    /// Sum of a column over all streams; never wraps.
    pub fn sum(&self, column: impl Fn(&Account) -> u64) -> u64 {
        self.accounts.iter().map(column).fold(0, u64::saturating_add)
    }

    /// What the books of any stream do not explain, without regard to sign, so that two errors do not hide each other.
    pub fn unaccounted(&self) -> u128 {
        self.accounts.iter().map(|account| account.unaccounted().unsigned_abs()).sum()
    }
}

fn applied(accounts: &[Account]) -> u64 {
    accounts.iter().map(|account| account.applied).fold(0, u64::saturating_add)
}

fn account(wire: loadline_proto::ingest::Stream) -> Account {
    let state = match wire.state() {
        stream::State::Running => "running".to_owned(),
        stream::State::Unowned => "unowned".to_owned(),
        stream::State::Stopped => "stopped".to_owned(),
        stream::State::Unspecified => format!("state {}?", wire.state),
    };
    let progress = wire.progress.unwrap_or_default();
    Account {
        stream: clean(&progress.stream),
        applied: progress.applied,
        counted: progress.counted,
        duplicates: progress.duplicates,
        dead_lettered: progress.dead_lettered,
        lost: progress.lost,
        backlog: wire.backlog,
        lag: wire.lag.and_then(|lag| Duration::try_from(lag).ok()).unwrap_or_default(),
        headroom: if wire.headroom_ratio.is_finite() { wire.headroom_ratio.clamp(0.0, 1.0) } else { 0.0 },
        state,
        log_seen: wire.log.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use loadline_proto::{common::StreamProgress, ingest::Stream};

    fn stream(applied: u64, counted: u64) -> Stream {
        Stream { progress: Some(StreamProgress { applied, counted, ..Default::default() }), ..Default::default() }
    }

    #[test]
    fn errors_of_two_streams_do_not_hide_each_other() {
        let mut ledger = Ledger::default();
        ledger.take(ListStreamsResponse { streams: vec![stream(5, 3), stream(3, 5)] }, Moment::start(Timestamp::UNIX_EPOCH));
        assert_eq!(ledger.unaccounted(), 4);
    }

    #[test]
    fn numbers_at_the_end_of_their_range_do_not_wrap() {
        let mut ledger = Ledger::default();
        let start = Moment::start(Timestamp::UNIX_EPOCH);
        ledger.take(ListStreamsResponse { streams: vec![stream(u64::MAX, 0), stream(u64::MAX, u64::MAX)] }, start);
        assert_eq!((ledger.sum(|account| account.applied), ledger.unaccounted()), (u64::MAX, u128::from(u64::MAX)));
        ledger.take(ListStreamsResponse { streams: vec![stream(7, 7)] }, start.after(Duration::from_secs(1)));
        assert_eq!(ledger.rates, [0.0]);
    }
}
