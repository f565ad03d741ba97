//! The promotion gate: whether a challenger may take a champion's place, judged by the same matches.
//!
//! ```text
//!  a match: two forecasts, one outcome ──score──▶ a difference ──paired──▶ mean, standard error, bounds ─┐
//!                    └──reliability──▶ calibration of both, and how sure their difference is ────────────┼─▶ PROMOTE │ HOLD n │ REJECT why
//!                    └──changes──▶ which answers differ, and how far                                     ┘
//! ```
//!
//! Unpaired scores cannot decide: over a season of 380 matches the standard error of a ranked probability score is about 0.007, a
//! real improvement about 0.001. Differences on the same matches vary far less (Diebold & Mariano, Comparing Predictive Accuracy,
//! JBES 13, 1995).
//!
//! - [`score`]: what one forecast is worth
//! - [`paired`]: differences of matches that share a day, and how sure their mean is
//! - [`reliability`]: whether probabilities are what they say
//! - [`threshold`]: what must be reached, in MLflow's words
//! - [`verdict`]: the three verdicts, and how many more matches a decision takes
//! - [`changes`]: what callers would see
//! - [`trial`]: all of it, fed match by match
//!
//! The nasty invariant: **a model is never promoted over itself**, nor over one that is as good more often than the level of
//! confidence allows. That level holds for one look: who asks again after every match, until it says yes, gets a yes too often.

pub mod changes;
mod normal;
pub mod paired;
pub mod reliability;
pub mod score;
pub mod threshold;
pub mod trial;
pub mod verdict;

pub use changes::{Change, Changes};
pub use threshold::MetricThreshold;
pub use trial::{Comparison, Report, Trial, Unsound};
pub use verdict::{Reason, Rules, Verdict};
