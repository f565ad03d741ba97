//! What people and remedies have to do with a mode, beside its own signal.
//!
//! ```text
//!  signal:   OK ──▶ SUSPECT ──▶ OPEN ────────────────────────────────────────────▶ OK
//!  shown:                       OPEN ─▶ ACKNOWLEDGED ─▶ REMEDIATING ─▶ VERIFYING ─▶ OK
//!                                 ▲───────────┴──────────────┴─────────────┘ (a run that has ended and did not help)
//! ```
//!
//! Only an open mode is shown otherwise than its signal says, and only as what is being done about it: never better, and never
//! closed.

use crate::{
    Monitor,
    signal::{Moment, Signal},
};
use loadline_proto::health::{ModeStatus, RemedyOffer, State};
use std::time::Duration;

/// Nothing is muted for longer.
pub const LONGEST_MUTE: Duration = Duration::from_secs(24 * 3600);
/// Characters of a note.
const LONGEST_NOTE: usize = 500;

/// Why a mode cannot be acknowledged or muted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttentionError {
    /// This process does not detect it.
    #[error("{id} is not among the failure modes that {service} detects")]
    NotDetected {
        /// The id asked for.
        id: String,
        /// The monitor's service.
        service: String,
    },
    /// Only an open mode can be acknowledged.
    #[error("{id} is {} and not open: there is nothing to acknowledge", state.as_str_name())]
    NotOpen {
        /// The mode.
        id: String,
        /// How it is shown.
        state: State,
    },
    /// A mute without an end in sight.
    #[error("is longer than {LONGEST_MUTE:?}: nothing is muted for good")]
    TooLong,
    /// A note that would not fit a screen.
    #[error("is longer than {LONGEST_NOTE} characters")]
    LongNote,
}

/// What a remedy does about a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    Verifying,
    Remediating,
}

#[derive(Debug, Default)]
pub(crate) struct Attention {
    acknowledged_by: Option<String>,
    note: String,
    muted_until: Option<Moment>,
    work: Option<Work>,
    offers: Vec<RemedyOffer>,
    drill: String,
}

impl Attention {
    /// How a mode of this signal is shown.
    pub(crate) fn state(&self, signal: &Signal) -> State {
        match (signal.state(), self.work, &self.acknowledged_by) {
            (State::Open, Some(Work::Remediating), _) => State::Remediating,
            (State::Open, Some(Work::Verifying), _) => State::Verifying,
            (State::Open, None, Some(_)) => State::Acknowledged,
            (state, _, _) => state,
        }
    }

    /// Ends what has ended: an acknowledgement with its mode, a mute with its time. True: something did.
    pub(crate) fn pass(&mut self, signal: &Signal, now: Moment) -> bool {
        let closed = signal.state() == State::Ok && self.acknowledged_by.take().is_some();
        let over = self.muted_until.is_some_and(|until| until.at <= now.at);
        if over {
            self.muted_until = None;
        }
        if closed || over {
            self.note =
                if self.acknowledged_by.is_none() && self.muted_until.is_none() { String::new() } else { self.note.clone() };
        }
        closed || over
    }

    /// True: it was otherwise before.
    pub(crate) fn set_work(&mut self, work: Option<Work>) -> bool {
        std::mem::replace(&mut self.work, work) != work
    }

    /// True: it was otherwise before.
    pub(crate) fn set_offers(&mut self, offers: Vec<RemedyOffer>) -> bool {
        let changed = self.offers != offers;
        self.offers = offers;
        changed
    }

    /// The drill that causes it; empty: none.
    pub(crate) fn set_drill(&mut self, drill: &str) {
        drill.clone_into(&mut self.drill);
    }

    /// The signal's status with all this in it.
    pub(crate) fn status(&self, signal: &Signal) -> ModeStatus {
        ModeStatus {
            state: self.state(signal).into(),
            acknowledged_by: self.acknowledged_by.clone().unwrap_or_default(),
            note: self.note.clone(),
            muted_until: self.muted_until.map(|until| until.wall.into()),
            remedies: self.offers.clone(),
            drill_id: self.drill.clone(),
            ..signal.status()
        }
    }
}

impl Monitor {
    /// Says who looks after an open mode, with a note. Ends when the mode closes; who comes later takes over.
    pub fn acknowledge(&self, id: &str, by: &str, note: &str) -> Result<ModeStatus, AttentionError> {
        check_note(note)?;
        self.attend(id, |signal, attention, _| {
            if signal.state() != State::Open {
                return Err(AttentionError::NotOpen { id: id.to_owned(), state: signal.state() });
            }
            attention.acknowledged_by = Some(by.to_owned());
            attention.note = note.to_owned();
            Ok(())
        })
    }

    /// Says that a mode should not demand attention for so long; zero ends that. It changes nothing but how loud it is shown.
    pub fn mute(&self, id: &str, duration: Duration, note: &str) -> Result<ModeStatus, AttentionError> {
        check_note(note)?;
        if duration > LONGEST_MUTE {
            return Err(AttentionError::TooLong);
        }
        self.attend(id, |_, attention, now| {
            let until = Moment { at: now.at + duration, wall: now.wall + duration };
            attention.muted_until = (!duration.is_zero()).then_some(until);
            // There is one note: without another, whoever looks after it keeps theirs.
            if !note.is_empty() || attention.acknowledged_by.is_none() {
                note.clone_into(&mut attention.note);
            }
            Ok(())
        })
    }
}

fn check_note(note: &str) -> Result<(), AttentionError> {
    if note.chars().count() > LONGEST_NOTE { Err(AttentionError::LongNote) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reading;
    use tokio::time::advance;

    fn monitor() -> Monitor {
        Monitor::new("ingest", "test", &["AN-02", "AN-03"]).unwrap()
    }

    fn status(monitor: &Monitor) -> ModeStatus {
        monitor.status("AN-02").unwrap()
    }

    fn bad() -> Reading {
        Reading::bad(400.0, "BILLING")
    }

    #[tokio::test(start_paused = true)]
    async fn an_acknowledgement_lasts_until_its_mode_closes_and_not_longer() {
        let monitor = monitor();
        monitor.observe("AN-02", bad());
        let shown = monitor.acknowledge("AN-02", "alice", "on it").unwrap();
        assert_eq!((shown.state(), shown.acknowledged_by.as_str(), shown.note.as_str()), (State::Acknowledged, "alice", "on it"));
        monitor.observe("AN-02", bad());
        monitor.observe("AN-02", Reading::good(1.0, ""));
        assert_eq!(status(&monitor).state(), State::Acknowledged, "good, but not for long enough");
        advance(Duration::from_secs(5)).await;
        monitor.observe("AN-02", Reading::good(1.0, ""));
        let closed = status(&monitor);
        assert_eq!((closed.state(), closed.acknowledged_by.as_str(), closed.note.as_str()), (State::Ok, "", ""));
        monitor.observe("AN-02", bad());
        assert_eq!(status(&monitor).state(), State::Open, "the next time is nobody's yet");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_not_hidden_by_an_acknowledgement_and_does_not_end_it() {
        let monitor = monitor();
        monitor.observe("AN-02", bad());
        monitor.acknowledge("AN-02", "alice", "").unwrap();
        advance(Duration::from_secs(30)).await;
        assert_eq!(status(&monitor).state(), State::Unknown);
        monitor.observe("AN-02", bad());
        assert_eq!(status(&monitor).state(), State::Acknowledged);
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_open_mode_can_be_acknowledged() {
        let monitor = monitor();
        let refused = |id: &str| monitor.acknowledge(id, "alice", "").unwrap_err();
        assert_eq!(refused("AN-02"), AttentionError::NotOpen { id: "AN-02".to_owned(), state: State::Unknown });
        monitor.observe("AN-02", Reading::good(1.0, ""));
        assert_eq!(refused("AN-02"), AttentionError::NotOpen { id: "AN-02".to_owned(), state: State::Ok });
        assert!(matches!(refused("AN-04"), AttentionError::NotDetected { .. }));
        assert!(matches!(refused("nonsense"), AttentionError::NotDetected { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_mute_without_a_note_leaves_that_of_whoever_looks_after_it() {
        let monitor = monitor();
        monitor.observe("AN-02", bad());
        monitor.acknowledge("AN-02", "ana", "on it").unwrap();
        assert_eq!(monitor.mute("AN-02", Duration::from_secs(60), "").unwrap().note, "on it");
        assert_eq!(monitor.mute("AN-02", Duration::from_secs(60), "until noon").unwrap().note, "until noon");
    }

    #[tokio::test(start_paused = true)]
    async fn a_mute_ends_by_itself_and_never_hides_the_state() {
        let monitor = monitor();
        monitor.observe("AN-02", bad());
        monitor.expect_every("AN-02", Duration::from_secs(3600)).unwrap();
        let muted = monitor.mute("AN-02", Duration::from_secs(60), "known").unwrap();
        assert!(muted.muted_until.is_some());
        assert_eq!(muted.state(), State::Open);
        advance(Duration::from_secs(59)).await;
        assert!(status(&monitor).muted_until.is_some());
        advance(Duration::from_secs(1)).await;
        assert_eq!((status(&monitor).muted_until, status(&monitor).note.as_str()), (None, ""));
    }

    #[tokio::test(start_paused = true)]
    async fn a_mute_can_be_ended_and_is_refused_beyond_a_day() {
        let monitor = monitor();
        assert_eq!(monitor.mute("AN-02", Duration::from_secs(24 * 3600 + 1), "").unwrap_err(), AttentionError::TooLong);
        assert_eq!(monitor.mute("AN-02", Duration::MAX, "").unwrap_err(), AttentionError::TooLong);
        monitor.mute("AN-02", LONGEST_MUTE, "").unwrap();
        assert_eq!(monitor.mute("AN-02", Duration::ZERO, "").unwrap().muted_until, None);
        assert_eq!(monitor.mute("AN-02", LONGEST_MUTE, &"x".repeat(501)).unwrap_err(), AttentionError::LongNote);
    }
}
