//! Football matches and what was known before them: one definition of features, for training and for serving.
//!
//! ```text
//!  matches, in any order ──History::new──▶ sorted, each once ──rated──▶ of every team: what it did, and its rating after it
//!                                                                                  │
//!  fixture, as of a day ───────────────────────────────────────features────────────┴──▶ 13 numbers, in the order of NAMES
//! ```
//!
//! - [`history`]: matches of one league, in the one order that there is
//! - [`elo`]: how strong a team is, by its results
//! - [`strength`]: form, rest, and rates of goals, shrunk to what is usual
//! - [`features`]: the set of features, with its name
//!
//! The nasty invariant: **what is known as of a day comes from matches before that day**. Matches of the day itself and after it may be
//! added, changed and removed without moving a bit of it, and a match day's own matches do not see each other.

pub mod elo;
pub mod features;
pub mod history;
pub mod strength;

pub use features::{Features, FixtureError};
pub use history::{Generation, History, Match};
