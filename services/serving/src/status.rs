//! Errors to statuses: the one map of this service. Every variant is named, so a new one does not compile until it has a code.

use crate::{
    engine::Refusal,
    football::MatchError,
    tensors::{Invalid, request::shown},
};
use loadline_models::{golden, onnx::CheckError, registry::RegistryError};
use loadline_runtime::errors;
use loadline_store::StoreError;
use std::time::Duration;
use tonic::{Code, Status};

/// After how long to ask again when a server behind this one is down.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A queue that is full moves at least this long until a new try is worth its way.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// A field of the request.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Nothing of that model is in memory.
    #[error(
        "model `{}` is not served: RepositoryIndex lists what is, and why others are not; a registered model is served once an alias names \
         a version, and one that was unloaded once it is loaded again",
        shown(.0)
    )]
    UnknownModel(String),
    /// The model is served, but not this version.
    #[error("model `{model}` has no version `{}` in memory: {}", shown(.version), offered(.loaded, .aliases))]
    UnknownVersion {
        /// The model.
        model: String,
        /// What was asked for.
        version: String,
        /// Numbers in memory.
        loaded: Vec<u64>,
        /// Aliases that name one.
        aliases: Vec<String>,
    },
    /// The version exists and cannot be brought into memory.
    #[error("version {version} of `{model}` cannot be loaded: {why}")]
    NotLoadable {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// Why.
        why: String,
    },
    /// The engine.
    #[error("{}", refused(.0))]
    Refused(Refusal),
    /// The model answered what is no number, to numbers.
    #[error(
        "the model's answer is no number ({0}) though all values given are: try another version, and tell whoever made this one"
    )]
    NoNumber(String),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store, with its journal of aliases.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file that cannot be served.
    #[error("the file cannot be served: {0}")]
    Check(#[from] CheckError),
    /// A file that does harm, or does not answer as its exporter did.
    #[error("the file cannot be served: {0}")]
    Unfit(#[from] golden::Refusal),
    /// The disk of this process.
    #[error("artifacts cannot be kept: {0}")]
    Disk(String),
    /// The alias does not name what the caller thought.
    #[error("alias `{alias}` of `{model}` names {}, not {}: look again, and decide again", version(*.found), version(*.expected))]
    Moved {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// 0: nothing.
        expected: u64,
        /// 0: nothing.
        found: u64,
    },
    /// The alias names it already.
    #[error("alias `{alias}` of `{model}` names version {version} already")]
    Unchanged {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// The version.
        version: u64,
    },
    /// The history has nothing to go back to.
    #[error("the history of alias `{alias}` of `{model}` has no version before {version}: promote the one you want")]
    NothingBefore {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// What it names.
        version: u64,
    },
    /// There is no such job.
    #[error(
        "there is no job `{}`: List names those there are; old ones are deleted by policy, and the same question is a new one then",
        shown(.0)
    )]
    UnknownJob(String),
    /// Too much waits.
    #[error("{open} jobs have not ended, which is the limit of serving.jobs.open: submit again when some have")]
    JobsFull {
        /// So many.
        open: u64,
    },
    /// Somebody else's job.
    #[error("job `{0}` was submitted first by somebody else: ask them, or an operator, to cancel it")]
    NotYours(String),
    /// An evaluation is under way.
    #[error("another challenger is being evaluated here: try again when that is done")]
    GateBusy,
    /// Nothing to compare with.
    #[error("alias `{alias}` of `{model}` names nothing that a challenger could be compared with: promote the first version")]
    NoChampion {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
    },
    /// No evaluation has this number.
    #[error(
        "alias `{alias}` of `{model}` has no evaluation {id}: EvaluateGate makes one, the history of `{alias}/gate` lists them"
    )]
    NoEvaluation {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// Its number.
        id: u64,
    },
    /// An evaluation about other versions.
    #[error(
        "evaluation {id} of `{model}` is about version {} in place of {}; this change is from {} to {}: evaluate it",
        .evaluated[1], .evaluated[0], version(.wanted[0]), .wanted[1]
    )]
    OtherEvaluation {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// Its number.
        id: u64,
        /// Champion and challenger of the evaluation.
        evaluated: [u64; 2],
        /// What the alias names and should name.
        wanted: [u64; 2],
    },
    /// The gate rejects the challenger.
    #[error(
        "the gate rejects version {version} of `{model}` (evaluation {id}): {why}. To promote it nonetheless, give override_reason"
    )]
    GateRejects {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// The challenger.
        version: u64,
        /// Of the evaluation.
        id: u64,
        /// Its reasons.
        why: String,
    },
    /// A match that has no prediction.
    #[error(transparent)]
    Match(#[from] MatchError),
    /// This process is about to end.
    #[error("this server is shutting down; ask another one, or this one again when it is back")]
    ShuttingDown,
}

fn offered(loaded: &[u64], aliases: &[String]) -> String {
    let numbers = loaded.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if loaded.is_empty() {
        return "none of its versions is; promote one".to_owned();
    }
    format!("ask for {numbers} or {}, or for none to have the champion", aliases.join(", "))
}

fn version(number: u64) -> String {
    if number == 0 { "nothing".to_owned() } else { format!("version {number}") }
}

fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Full { rows, .. } => format!("{rows} rows wait for this model, which is its limit: try again, with back-off"),
        Refusal::Busy { wait } => {
            format!(
                "more is asked of this model than it answers, and what waits takes about {wait:?}, longer than serving.target_wait \
                 allows: try again, with back-off"
            )
        }
        Refusal::Hopeless { wait } => {
            format!(
                "what waits for this model takes about {wait:?}, longer than the request's deadline: try again, with back-off"
            )
        }
        Refusal::Expired => "the request's time was over before the model was free: allow more with grpc-timeout".to_owned(),
        Refusal::Unloaded => "this version has just left memory: ask again".to_owned(),
        Refusal::Invalid(why) => why.clone(),
        Refusal::Broken(why) => format!("the model failed: {why}"),
    }
}

impl From<Refusal> for ServingError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ServingError> for Status {
    fn from(error: ServingError) -> Self {
        let message = error.to_string();
        match error {
            ServingError::Invalid(Invalid { field, detail }) => errors::invalid(field, detail),
            ServingError::UnknownModel(model) => not_found("MODEL_NOT_SERVED", message, model),
            ServingError::UnknownVersion { model, version, .. } => {
                not_found("VERSION_NOT_SERVED", message, format!("{model}/{version}"))
            }
            ServingError::NotLoadable { model, .. } => errors::failed_precondition("NOT_LOADABLE", &model, message),
            ServingError::Refused(refusal) => refusal_status(refusal, message),
            ServingError::NoNumber(_) => errors::internal("ANSWER_NO_NUMBER", message),
            ServingError::Registry(error) => registry(&error, message),
            ServingError::Store(error) => store(&error, message),
            ServingError::Unfit(golden::Refusal::NotStarted(_)) => errors::unavailable("CHECK", message, RETRY_AFTER),
            ServingError::Check(_) | ServingError::Unfit(_) => errors::invalid("chunk", message),
            ServingError::Disk(_) => errors::unavailable("DISK", message, RETRY_AFTER),
            ServingError::Moved { alias, found, .. } => {
                errors::rich(Code::Aborted, "ALIAS_MOVED", message, [("alias", alias), ("version", found.to_string())])
            }
            ServingError::Unchanged { alias, .. } => errors::failed_precondition("ALIAS_UNCHANGED", &alias, message),
            ServingError::NothingBefore { alias, .. } => errors::failed_precondition("NOTHING_BEFORE", &alias, message),
            ServingError::UnknownJob(id) => not_found("UNKNOWN_JOB", message, id),
            ServingError::JobsFull { .. } => errors::exhausted("JOBS_FULL", message, RETRY_AFTER),
            ServingError::NotYours(_) => errors::permission_denied("NOT_YOURS", message),
            ServingError::GateBusy => errors::exhausted("GATE_BUSY", message, RETRY_AFTER),
            ServingError::NoChampion { alias, .. } => errors::failed_precondition("NO_CHAMPION", &alias, message),
            ServingError::NoEvaluation { id, .. } => not_found("NO_EVALUATION", message, id.to_string()),
            ServingError::OtherEvaluation { alias, .. } => errors::failed_precondition("OTHER_EVALUATION", &alias, message),
            ServingError::GateRejects { alias, .. } => errors::failed_precondition("GATE_REJECTS", &alias, message),
            ServingError::Match(error) => error.into(),
            ServingError::ShuttingDown => errors::unavailable("SHUTTING_DOWN", message, RETRY_AFTER),
        }
    }
}

fn not_found(reason: &str, message: String, what: String) -> Status {
    errors::rich(Code::NotFound, reason, message, [("name", what)])
}

fn refusal_status(refusal: Refusal, message: String) -> Status {
    match refusal {
        Refusal::Full { wait, .. } | Refusal::Busy { wait } | Refusal::Hopeless { wait } => {
            errors::exhausted("MODEL_BUSY", message, wait.clamp(SHORTEST_WAIT, RETRY_AFTER))
        }
        Refusal::Expired => errors::rich(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message, [("where", "queue")]),
        Refusal::Unloaded => errors::unavailable("VERSION_LEFT", message, SHORTEST_WAIT),
        Refusal::Invalid(_) => errors::invalid("inputs", message),
        Refusal::Broken(_) => {
            tracing::error!(error = %message, "a model failed on a request");
            errors::internal("MODEL_FAILED", message)
        }
    }
}

fn registry(error: &RegistryError, message: String) -> Status {
    match error {
        RegistryError::NotFound(what) => not_found("NOT_REGISTERED", message, what.clone()),
        RegistryError::Unavailable(_) | RegistryError::Garbage(_) => {
            errors::unavailable("REGISTRY_UNAVAILABLE", message, RETRY_AFTER)
        }
        RegistryError::Refused(_) => errors::failed_precondition("REGISTRY_REFUSED", "registry", message),
        RegistryError::WrongSha { .. } | RegistryError::Lost { .. } | RegistryError::Damaged { .. } => {
            errors::rich(Code::DataLoss, "ARTIFACT_LOST", message, [("retry", "false")])
        }
        RegistryError::TooLarge { .. } => errors::failed_precondition("REGISTRY_TOO_LARGE", "registry", message),
        RegistryError::Misconfigured(_) => errors::failed_precondition("REGISTRY_MISCONFIGURED", "registry", message),
        RegistryError::Broken(_) => {
            tracing::error!(error = %message, "the registry answered in a way that no retry mends");
            errors::internal("REGISTRY_BROKEN", "the registry cannot do this; its operator finds the cause in the log of serving")
        }
    }
}

fn store(error: &StoreError, message: String) -> Status {
    match error {
        StoreError::Unavailable(_) => errors::unavailable("STORE_UNAVAILABLE", message, RETRY_AFTER),
        StoreError::Unknown(_) | StoreError::Stale(_) => {
            errors::rich(Code::Aborted, "STORE_CONFLICT", message, [("retry", "true")])
        }
        StoreError::OutOfScope(_) | StoreError::NeedsAllAccounts => errors::permission_denied("OPERATORS_ONLY", message),
        StoreError::Overflow(_) => errors::failed_precondition("OVERFLOW", "store", message),
        StoreError::NewerSchema { .. } => errors::failed_precondition("NEWER_SCHEMA", "store", message),
        StoreError::Misconfigured(_) => errors::failed_precondition("STORE_MISCONFIGURED", "store", message),
        StoreError::Broken(_) => {
            tracing::error!(error = %message, "the store answered in a way that no retry mends");
            errors::internal("STORE_BROKEN", "the store cannot do this; its operator finds the cause in the log of serving")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_shed_is_told_when_to_come_back() {
        let waits = |wait| Refusal::Full { rows: 7, wait: Duration::from_millis(wait) };
        for (refusal, retry) in [(waits(0), 10), (waits(70), 70), (waits(90_000), 1_000)] {
            let status = Status::from(ServingError::from(refusal));
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert_eq!(errors::retry_after(&status), Some(Duration::from_millis(retry)));
        }
    }

    #[test]
    fn an_absent_version_says_what_there_is() {
        let error = |loaded: &[u64], aliases: &[&str]| {
            let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
            let (model, version) = ("wine".to_owned(), "9".to_owned());
            Status::from(ServingError::UnknownVersion { model, version, loaded: loaded.to_vec(), aliases })
        };
        let status = error(&[1, 2], &["challenger", "champion"]);
        assert_eq!(status.code(), Code::NotFound);
        assert!(status.message().contains("ask for 1, 2 or challenger, champion"), "{}", status.message());
        assert!(error(&[], &[]).message().contains("promote one"));
    }

    #[test]
    fn a_registry_that_is_down_invites_to_ask_again_and_one_that_lost_a_file_does_not() {
        let status = Status::from(ServingError::from(RegistryError::Unavailable("refused".to_owned())));
        assert_eq!((status.code(), errors::retry_after(&status)), (Code::Unavailable, Some(RETRY_AFTER)));
        let status = Status::from(ServingError::from(RegistryError::Lost { name: "wine".to_owned(), version: 3 }));
        assert_eq!((status.code(), errors::retry_after(&status)), (Code::DataLoss, None));
    }

    #[test]
    fn what_a_registry_sends_too_much_of_is_no_mistake_of_the_caller() {
        let endless = RegistryError::TooLarge { what: "an answer has more than 7 bytes".to_owned(), limit: 7 };
        assert_eq!(Status::from(ServingError::from(endless)).code(), Code::FailedPrecondition);
    }

    #[test]
    fn what_is_broken_inside_is_not_told_outside() {
        let status = Status::from(ServingError::from(StoreError::Broken("column secret".to_owned())));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"));
    }
}
