//! What an answer rests on: how far each stream was counted when its rows were read, and what that says of its hours.

use crate::{
    Query, convert,
    heads::{Head, Sight, Sights},
    history::{pieces, without},
    request::Range,
};
use loadline_domain::{
    Hour, StreamName, Timestamp,
    completeness::{self, PeriodState, Reading},
    progress::Progress,
    question::Grain,
};
use loadline_proto::{
    common::StreamProgress,
    query::{Completeness, StreamAsOf},
};
use loadline_store::AsOf;
use std::{collections::BTreeSet, time::Duration};

/// Hours in a state: from, to (exclusive), state.
pub type Periods = Vec<(Hour, Hour, PeriodState)>;

impl Query {
    /// State of the range's hours and the evidence for it. `as_of` comes from the snapshot that gave the rows.
    /// `missing` says why archived parts are not among them.
    pub(crate) async fn completeness(
        &self,
        range: Range,
        grain: Grain,
        as_of: &AsOf,
        missing: Option<&str>,
    ) -> (Periods, Completeness) {
        let sights = self.heads.look(&as_of.progress).await;
        let now = self.parts.clock.now();
        let streams = assess(self.heads.streams(), &as_of.progress, &sights, now);
        let readings = streams.iter().filter_map(|stream| stream.reading);
        let through = completeness::counted_through(readings, now);
        let periods = completeness::periods(range.from, range.to, through, now, &self.parts.rules);
        let parts = pieces(range, grain, as_of, missing);
        let periods = if missing.is_some() { without(periods, &as_of.sources.parts) } else { periods };
        let evidence = Completeness {
            streams: streams.into_iter().map(Assessed::into_wire).collect(),
            dead_letters: as_of.dead_letters,
            lost: as_of.lost,
            parts,
        };
        (periods, evidence)
    }
}

/// Hours of which `which` holds are no more than `most`.
pub(crate) fn at_most(periods: Periods, most: PeriodState, which: impl Fn(Hour) -> bool) -> Periods {
    let mut cut: Periods = Vec::with_capacity(periods.len());
    for (from, to, state) in periods {
        for hour in (from.index()..to.index()).map(Hour::from_index) {
            let state = if which(hour) { state.min(most) } else { state };
            match cut.last_mut() {
                Some((_, end, last)) if *last == state && *end == hour => *end = hour.next(),
                _ => cut.push((hour, hour.next(), state)),
            }
        }
    }
    cut
}

/// What is known of one stream.
struct Assessed {
    progress: StreamProgress,
    /// `None`: gone and no longer configured, so nothing is waited for.
    reading: Option<Reading>,
    lag: Option<Duration>,
}

impl Assessed {
    fn into_wire(self) -> StreamAsOf {
        StreamAsOf { progress: Some(self.progress), lag: self.lag.map(convert::duration) }
    }
}

/// Streams that are configured or were counted once, by name.
fn assess(configured: &[StreamName], progress: &[Progress], sights: &Sights, now: Timestamp) -> Vec<Assessed> {
    let names: BTreeSet<_> = configured.iter().chain(progress.iter().map(|progress| &progress.stream)).collect();
    let assess = |name: &StreamName| {
        let progress = progress.iter().find(|progress| progress.stream == *name);
        let sight = sights.get(name).unwrap_or(&Sight::Unknown);
        let gone = *sight == Sight::Absent && !configured.contains(name);
        let (caught_up, lag) = match sight {
            Sight::Seen(head) => distance(progress, head, now),
            Sight::Absent | Sight::Unknown => (false, None),
        };
        let reading = Reading { applied_at: progress.and_then(|progress| progress.applied_at), caught_up };
        Assessed { progress: shown(name, progress, sight), reading: (!gone).then_some(reading), lag }
    };
    names.into_iter().map(assess).collect()
}

/// Whether everything is applied, and the age of the oldest record that is not.
fn distance(progress: Option<&Progress>, head: &Head, now: Timestamp) -> (bool, Option<Duration>) {
    let (applied, applied_at) = match progress {
        // Another making of the stream: what the old one had left is not booked as lost yet, so nothing is caught up.
        Some(progress) if progress.incarnation != head.incarnation => (None, None),
        Some(progress) => (Some(progress.applied), progress.applied_at),
        None => (Some(0), None),
    };
    if applied.is_some_and(|applied| applied >= head.last) {
        return (true, Some(Duration::ZERO));
    }
    // The look may be older than the snapshot: what waits now was not appended before what is applied.
    let waiting_since = head.waiting_since.map(|since| applied_at.map_or(since, |applied_at| since.max(applied_at)));
    (false, Some(waiting_since.map_or(Duration::ZERO, |since| now.since(since))))
}

fn shown(name: &StreamName, progress: Option<&Progress>, sight: &Sight) -> StreamProgress {
    match (progress, sight) {
        (Some(progress), _) => convert::progress(progress),
        (None, Sight::Seen(head)) => {
            StreamProgress { stream: name.to_string(), incarnation: head.incarnation.to_string(), ..StreamProgress::default() }
        }
        (None, Sight::Absent | Sight::Unknown) => StreamProgress { stream: name.to_string(), ..StreamProgress::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_domain::{Incarnation, Sequence};
    use std::sync::Arc;

    const SECOND: Duration = Duration::from_secs(1);

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn billing() -> StreamName {
        StreamName::new("BILLING").unwrap()
    }

    fn progress(applied: Sequence, age: Duration) -> Progress {
        Progress {
            stream: billing(),
            incarnation: Incarnation::new("a"),
            applied,
            counted: applied,
            duplicates: 0,
            dead_lettered: 0,
            lost: 0,
            applied_at: Some(now().minus(age)),
            set_back: None,
            committed_at: None,
            head: applied,
            stopped: None,
            resume_through: 0,
            epoch: 1,
        }
    }

    fn seen(incarnation: &str, last: Sequence, waiting: Option<Duration>) -> Sight {
        Sight::Seen(Head { incarnation: Incarnation::new(incarnation), last, waiting_since: waiting.map(|age| now().minus(age)) })
    }

    fn one(configured: bool, progress: Option<Progress>, sight: Sight) -> Assessed {
        let configured: Vec<_> = configured.then(billing).into_iter().collect();
        let progress: Vec<_> = progress.into_iter().collect();
        let mut assessed = assess(&configured, &progress, &Arc::new([(billing(), sight)].into()), now());
        assert_eq!(assessed.len(), 1);
        assessed.remove(0)
    }

    #[test]
    fn a_stream_read_to_its_end_has_no_lag_however_old_its_last_record_is() {
        let assessed = one(true, Some(progress(5, SECOND * 90_000)), seen("a", 5, None));
        assert_eq!((assessed.reading.unwrap().caught_up, assessed.lag), (true, Some(Duration::ZERO)));
    }

    #[test]
    fn lag_is_the_age_of_the_oldest_unapplied_record() {
        let assessed = one(true, Some(progress(5, SECOND * 900)), seen("a", 9, Some(SECOND * 600)));
        assert_eq!((assessed.reading.unwrap().caught_up, assessed.lag), (false, Some(SECOND * 600)));
    }

    #[test]
    fn lag_from_an_older_look_is_not_more_than_the_age_of_what_is_applied() {
        let assessed = one(true, Some(progress(8, SECOND * 30)), seen("a", 9, Some(SECOND * 600)));
        assert_eq!(assessed.lag, Some(SECOND * 30));
    }

    #[test]
    fn a_log_that_does_not_answer_leaves_the_lag_open() {
        let assessed = one(true, Some(progress(5, SECOND * 30)), Sight::Unknown);
        assert_eq!((assessed.reading.unwrap().caught_up, assessed.lag), (false, None));
        assert_eq!(assessed.reading.unwrap().applied_at, Some(now().minus(SECOND * 30)));
    }

    #[test]
    fn a_stream_never_counted_is_pending_once_it_holds_something() {
        let empty = one(true, None, seen("a", 0, None));
        assert!(empty.reading.unwrap().caught_up);
        let filled = one(true, None, seen("a", 3, Some(SECOND)));
        assert_eq!(filled.reading.unwrap(), Reading { applied_at: None, caught_up: false });
        assert_eq!((filled.progress.stream.as_str(), filled.progress.incarnation.as_str()), ("BILLING", "a"));
    }

    #[test]
    fn a_stream_that_was_made_again_is_not_caught_up() {
        let assessed = one(true, Some(progress(5, SECOND)), seen("b", 0, None));
        assert!(!assessed.reading.unwrap().caught_up);
    }

    #[test]
    fn a_stream_that_is_gone_and_no_longer_configured_holds_nothing_back() {
        assert!(one(false, Some(progress(5, SECOND)), Sight::Absent).reading.is_none());
        assert!(one(false, Some(progress(5, SECOND)), seen("a", 6, Some(SECOND))).reading.is_some());
        assert!(one(true, Some(progress(5, SECOND)), Sight::Absent).reading.is_some());
    }
}
