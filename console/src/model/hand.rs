//! What the operator is about to do to the system: a card that says what, and what was sent and not answered yet.

use super::{
    board::RowId,
    remedy::{Plan, takes_y},
    standing::Severity,
};
use loadline_proto::health::DrillRun;
use std::time::Duration;

/// A confirmation counts only when the card has been on screen for so long.
pub const READING: Duration = Duration::from_millis(400);
/// The same key again within this time may be a key held down.
pub const HELD: Duration = Duration::from_secs(1);
/// Leaving that ends the services too is asked for twice, within so long.
pub const LEAVING: Duration = Duration::from_secs(5);
/// Operate mode ends when no key has been pressed for so long.
pub const OPERATING: Duration = Duration::from_secs(300);
/// A card that waits for an answer gives up after so long.
pub const WAITING: Duration = Duration::from_secs(35);
/// How long a card without a plan of its own can be confirmed.
pub const ASKED: Duration = Duration::from_secs(30);

/// What a card is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Intent {
    /// A remedy.
    Remedy {
        /// Of this mode.
        mode: String,
        /// Its key in the catalogue.
        key: String,
        /// In a few words.
        title: String,
        /// Once it has come.
        plan: Option<Box<Plan>>,
    },
    /// Take a run back.
    Undo {
        /// As the server has it.
        run: String,
        /// What it did.
        plan: Box<Plan>,
    },
    /// Cause a mode on purpose.
    Drill {
        /// Which.
        mode: String,
        /// Without the fault.
        control: bool,
        /// What is done, where that is known.
        fault: String,
        /// The remedy that it presses.
        remedy: String,
        /// Of the mode, where it is known.
        severity: Option<Severity>,
    },
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The plan is awaited.
    Planning {
        /// The answer carries it.
        ticket: u64,
        /// Since when.
        since: Duration,
    },
    /// It can be confirmed.
    Ready {
        /// Until then, by the console's `elapsed`.
        expires: Duration,
        /// When it was first on screen.
        seen: Option<Duration>,
    },
    /// Nothing can be done with it any more, and why.
    Over(String),
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// What.
    pub intent: Intent,
    /// The row that was selected when it opened.
    pub row: Option<RowId>,
    /// The process that is asked.
    pub endpoint: usize,
    /// Whether it may be done while that process cannot be seen.
    pub safe: bool,
    /// How far it is.
    pub stage: Stage,
    /// Typed so far, where `y` is not enough.
    pub typed: String,
    /// What the operator is told.
    pub word: Option<String>,
}

impl Card {
    /// What has to be given to confirm it; `None`: it cannot be.
    pub fn confirm(&self) -> Option<&str> {
        match &self.intent {
            Intent::Remedy { plan, .. } => {
                let plan = plan.as_ref()?;
                let counted = !plan.confirm.is_empty() && plan.confirm.chars().all(|char| char.is_ascii_digit());
                // What cannot be taken back is never done at a single key, whatever the server would take.
                (counted || (plan.confirm == "y" && takes_y(plan.reversibility))).then_some(&plan.confirm)
            }
            Intent::Undo { .. } | Intent::Drill { .. } => Some("y"),
        }
    }

    /// What it is, in a few words.
    pub fn words(&self) -> String {
        match &self.intent {
            Intent::Remedy { mode, key, title, .. } => format!("{key} {title} on {mode}"),
            Intent::Undo { plan, .. } => format!("undo of {} {}", plan.key, plan.title),
            Intent::Drill { mode, control: false, .. } => format!("drill of {mode}"),
            Intent::Drill { mode, .. } => format!("control of {mode}, without its fault"),
        }
    }

    /// Closes it for good, and says why.
    pub fn end(&mut self, why: impl Into<String>) {
        self.stage = Stage::Over(why.into());
        self.typed.clear();
        self.word = None;
    }
}

/// What was sent, and what is shown until it is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// What, in a few words.
    pub words: String,
    /// To whom.
    pub endpoint: usize,
    /// When, by the console's `elapsed`.
    pub since: Duration,
    /// The card that it came from.
    pub card: Option<Box<Card>>,
}

/// What a drill's answer says, in a line.
pub fn drill_words(run: &DrillRun) -> String {
    let what = if run.control { "control" } else { "drill" };
    format!("{what} of {}: {}", crate::text::clean(&run.failure_mode), crate::text::clean(&run.detail))
}
