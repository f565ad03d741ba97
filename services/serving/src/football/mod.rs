//! Football matches: what is known of a fixture, asked of a model, with a receipt.
//!
//! ```text
//!  files ──results──▶ leagues, replaced whole ──features as of a day──▶ 13 numbers ──route, engine──▶ home, draw, away
//!   └── looked at every few seconds                                                                      │
//!  receipt ──replay──▶ the same results? the same artifact, also if nothing names it any more ──▶ the same bits?
//! ```
//!
//! - [`results`]: files to leagues, bad rows counted
//! - [`follow`]: read again when files change
//! - [`fixture`]: what is asked, checked
//! - [`forecast`]: what a model must be to answer
//! - [`answer`], [`replay`]: the two methods
//! - [`baseline`]: the model that answers until somebody promotes theirs
//!
//! The nasty invariant: **a prediction sees results of days before its as-of day only**, and a receipt names exactly those. So later results
//! leave a receipt as good as it was, and corrected ones are found out.

pub mod answer;
pub mod baseline;
pub mod error;
pub mod fixture;
pub mod follow;
pub mod forecast;
pub mod replay;
pub mod results;

pub use error::MatchError;

use crate::resident::Loaded;
use arc_swap::ArcSwapOption;
use results::Results;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// The model that answers.
pub const MODEL: &str = "football";

/// What predictions of matches are made from. Clones are one.
#[derive(Clone, Default)]
pub struct Football(Arc<Inner>);

#[derive(Default)]
struct Inner {
    folder: Option<PathBuf>,
    with_baseline: bool,
    results: ArcSwapOption<Results>,
    problem: Mutex<Option<String>>,
    /// The last version that was brought into memory for a receipt alone; one at a time.
    borrowed: tokio::sync::Mutex<Option<Arc<Loaded>>>,
}

impl Football {
    /// Of results in a folder, which are not read yet; with the built-in baseline where no other model is registered.
    pub fn new(folder: Option<PathBuf>, with_baseline: bool) -> Self {
        Self(Arc::new(Inner { folder, with_baseline, ..Inner::default() }))
    }

    /// The results, as of one moment.
    ///
    /// # Errors
    /// When there are none, and why.
    pub fn results(&self) -> Result<Arc<Results>, MatchError> {
        if self.0.folder.is_none() {
            return Err(MatchError::NotConfigured);
        }
        self.0.results.load_full().ok_or_else(|| {
            MatchError::NotRead(self.problem().unwrap_or_else(|| "they are being read for the first time".to_owned()))
        })
    }

    /// Why they could not be read when they last changed.
    pub fn problem(&self) -> Option<String> {
        self.0.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn say(&self, problem: Option<String>) {
        *self.0.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}
