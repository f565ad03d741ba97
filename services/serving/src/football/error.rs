//! Why a match has no prediction.

use loadline_runtime::errors;
use tonic::{Code, Status};

/// Why a match has no prediction, beside what can be wrong with any request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// There is no folder.
    #[error("no results are configured: set serving.results to a folder with a folder of CSV files for each league")]
    NotConfigured,
    /// There is a folder, and nothing of it in memory.
    #[error("the results of serving.results are not read: {0}")]
    NotRead(String),
    /// No such league.
    #[error("there is no league `{name}`; there are {known}")]
    UnknownLeague {
        /// What was asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// No such team in it.
    #[error("`{name}` has never played in `{league}`{nearest}")]
    UnknownTeam {
        /// The league.
        league: String,
        /// What was asked for.
        name: String,
        /// Those of the nearest names.
        nearest: String,
    },
    /// The model is made for other features.
    #[error("{which} is made for the features `{theirs}`, and this service makes `{ours}`: register a model made for those")]
    OtherFeatures {
        /// What is.
        which: String,
        /// Its set.
        theirs: String,
        /// That of this build.
        ours: String,
    },
    /// The model answers something else than a forecast of a match.
    #[error("version {version} of `football` cannot answer for a match: {why}")]
    NoForecast {
        /// The version.
        version: u64,
        /// What it lacks.
        why: String,
    },
    /// A receipt from other results.
    #[error(
        "the results of `{league}` before {as_of} are not those of the receipt any more: it was made from generation {receipt}, \
         loaded is {loaded}. Some of them were corrected, added or removed since"
    )]
    DataMovedOn {
        /// The league.
        league: String,
        /// The day.
        as_of: String,
        /// What the receipt names.
        receipt: String,
        /// What there is.
        loaded: String,
    },
}

impl From<MatchError> for Status {
    fn from(error: MatchError) -> Self {
        let message = error.to_string();
        let not_found = |reason, name: String| errors::rich(Code::NotFound, reason, message.clone(), [("name", name)]);
        match error {
            MatchError::NotConfigured => errors::failed_precondition("NO_RESULTS", "serving.results", message),
            MatchError::NotRead(_) => errors::unavailable("RESULTS_NOT_READ", message, crate::status::RETRY_AFTER),
            MatchError::UnknownLeague { name, .. } => not_found("UNKNOWN_LEAGUE", name),
            MatchError::UnknownTeam { name, .. } => not_found("UNKNOWN_TEAM", name),
            MatchError::OtherFeatures { theirs, .. } => errors::failed_precondition("OTHER_FEATURES", &theirs, message),
            MatchError::NoForecast { .. } => errors::failed_precondition("NO_FORECAST", super::MODEL, message),
            MatchError::DataMovedOn { loaded, .. } => errors::failed_precondition("DATA_MOVED_ON", &loaded, message),
        }
    }
}
