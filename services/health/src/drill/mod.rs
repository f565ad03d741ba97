//! Drills: a failure mode caused on purpose, and the proof that it is seen, contained, repaired by its key, and over.
//!
//! ```text
//! steady ─▶ inject ─▶ detect ─▶ contain ─▶ remedy, by the desk's plan and execution ─▶ verify ─▶ undo ─▶ steady again
//!    │                    └──────────── too late, not at all, another mode, a real P1 or P2 ──────────▶│
//!    └ control: all of it but the fault, and nothing may open                                          └▶ verdict, kept
//! ```
//!
//! A service implements [`Drill`] for each of its modes; [`Drills`] has all the rules.
//!
//! The nasty invariant: **whatever ends a drill, its fault is taken away**, and the verdict says if anything is left. The drill is
//! not asked whether it went well: the mode's own signal, the desk's own verification and the accounts say so.

mod conduct;
mod drills;
mod incidents;
mod look;
mod pressing;
mod records;
mod refusal;
mod seeing;
mod service;

pub use drills::{Drills, DrillsError, Parts};
pub use look::until;
pub use refusal::Refusal;
pub use service::{DrillAnswers, server};

use async_trait::async_trait;
use loadline_proto::health::DrillRun;
use std::time::Duration;

/// A remedy that a drill presses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press {
    /// Its key.
    pub key: &'static str,
    /// What it is to work on; empty: the remedy's own choice.
    pub target: &'static str,
}

/// Something of a drill did not go as it should, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DrillError(pub String);

impl DrillError {
    /// Of whatever a port says.
    pub fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// How many events are missing, and how many are there too often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Published and not counted.
    pub lost: u64,
    /// Counted more often than published.
    pub duplicated: u64,
}

/// Proves one mode. Looks answer `Ok` when it is so, else why it is not so yet; they are repeated until a budget is used up.
#[async_trait]
pub trait Drill: Send + Sync + 'static {
    /// The mode, by its id.
    fn mode(&self) -> &'static str;

    /// What is done to the system, in words.
    fn fault(&self) -> &'static str;

    /// The remedies that are pressed, in this order; none: the mode has to close by itself.
    fn presses(&self) -> &[Press];

    /// Why it cannot run here at all. Asked at each listing: looks at memory only.
    fn available(&self) -> Result<(), String> {
        Ok(())
    }

    /// Has its detector look now, where that looks seldom. Called when a phase begins, and every second while it waits for the mode
    /// to be over.
    fn wake(&self) {}

    /// Everything but the fault, also for a control. Puts right what an earlier drill left that was cut off.
    async fn prepare(&self) -> Result<(), DrillError> {
        Ok(())
    }

    /// Causes the fault, for `ttl` at most. May be dropped half-way: [`Drill::undo`] comes in any case.
    async fn inject(&self, ttl: Duration) -> Result<(), DrillError>;

    /// Whether the fault has met anything.
    async fn took_effect(&self) -> Result<(), String>;

    /// Whether the harm is limited, as the catalogue promises, before anybody does anything.
    async fn contained(&self) -> Result<(), String>;

    /// Ends the cause, where the remedy mends consequences: a job cannot be run again while it cannot run.
    async fn relent(&self) -> Result<(), DrillError> {
        Ok(())
    }

    /// Whether a remedy has something to do.
    async fn ready(&self, _press: &Press) -> Result<(), String> {
        Ok(())
    }

    /// Takes away the fault and all that was done beside it. Comes once or more, also after a beginning cut short.
    async fn undo(&self) -> Result<(), DrillError>;

    /// Whether nothing of it is left.
    async fn clean(&self) -> Result<(), String> {
        Ok(())
    }

    /// What became of the events that it published itself, once it is undone.
    async fn tally(&self) -> Result<Tally, DrillError> {
        Ok(Tally::default())
    }
}

/// Where results are written down, and read again after a restart.
#[async_trait]
pub trait Results: Send + Sync + 'static {
    /// Writes down how a drill ended.
    async fn keep(&self, run: &DrillRun) -> Result<(), DrillError>;

    /// Of each mode the latest with the fault, and the latest control.
    async fn latest(&self) -> Result<Vec<DrillRun>, DrillError>;
}

/// The books of everything, beside the drill's own events.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// What does not add up now.
    async fn tally(&self) -> Result<Tally, DrillError>;
}
