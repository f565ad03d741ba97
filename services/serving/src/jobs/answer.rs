//! The answer to a claimed job, behind every request.

use crate::{
    engine::Refusal,
    library::Library,
    resident::{Identity, Loaded},
    status::ServingError,
    tensors::{request, response},
};
use loadline_models::{Sha256, registry::RegistryError};
use loadline_proto::inference::{InferParameter, ModelInferRequest, ModelInferResponse, infer_parameter::ParameterChoice};
use loadline_store::{Claim, PredictionEnd};
use prost::Message as _;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Before a job is begun again that could not be because something is down.
const DOWN: Duration = Duration::from_secs(5);
/// Before one is begun again whose version has just left memory.
const SOON: Duration = Duration::from_millis(100);

/// What becomes of a job.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// It ends.
    End(PredictionEnd),
    /// It could not be begun, and may be after so long: why.
    Back(Duration, String),
}

/// Where jobs are answered. Clones are one.
#[derive(Clone)]
pub struct Answering {
    library: Arc<Library>,
    most_rows: usize,
    largest: usize,
    /// The last version that was brought into memory for a job alone.
    borrowed: Arc<Mutex<Option<Arc<Loaded>>>>,
}

impl Answering {
    /// By what a library has; answers are at most so many bytes.
    pub fn new(library: Arc<Library>, most_rows: usize, largest: usize) -> Self {
        Self { library, most_rows, largest, borrowed: Arc::default() }
    }

    /// Asks the artifact that the job names, whatever was promoted since.
    pub async fn answer(&self, claim: &Claim) -> Outcome {
        let version = match self.version(claim).await {
            Ok(version) => version,
            Err(error) => return unanswered(error),
        };
        match self.ask(claim, &version).await {
            Ok(answer) if answer.encoded_len() > self.largest => {
                failed("RESULT_TOO_LARGE", format!("the answer has {} bytes; {} are kept", answer.encoded_len(), self.largest))
            }
            Ok(answer) => Outcome::End(PredictionEnd::Succeeded(answer.encode_to_vec())),
            Err(error) => unanswered(error),
        }
    }

    /// The version in memory, or brought there for this job and those that follow it.
    async fn version(&self, claim: &Claim) -> Result<Arc<Loaded>, ServingError> {
        let (model, number) = (claim.job.model.clone(), claim.job.version);
        let sha256: Sha256 = claim.job.sha256.parse().map_err(|_| {
            let why = "its job names no sha256".to_owned();
            ServingError::NotLoadable { model: model.clone(), version: number, why }
        })?;
        let residents = self.library.residents();
        let resident = residents.model(&model).and_then(|served| served.versions.get(&number).cloned());
        let kept = resident.or_else(|| self.borrowed().clone()).filter(|version| version.sha256 == sha256);
        if let Some(version) = kept {
            return Ok(version);
        }
        let version = self.library.borrow(Identity { model, number, sha256 }).await?;
        *self.borrowed() = Some(version.clone());
        Ok(version)
    }

    fn borrowed(&self) -> std::sync::MutexGuard<'_, Option<Arc<Loaded>>> {
        self.borrowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, claim: &Claim, version: &Loaded) -> Result<ModelInferResponse, ServingError> {
        let unreadable = |error| crate::tensors::Invalid::new("question", format!("cannot be read back: {error}"));
        let request = ModelInferRequest::decode(&*claim.request).map_err(unreadable)?;
        let sha256 = Some(ParameterChoice::StringParam(version.sha256.to_string()));
        let mut answer = ModelInferResponse {
            model_name: claim.job.model.clone(),
            model_version: claim.job.version.to_string(),
            id: request.id.clone(),
            parameters: [("sha256".to_owned(), InferParameter { parameter_choice: sha256 })].into(),
            ..ModelInferResponse::default()
        };
        let asked = request::read(request, &version.inputs, &version.outputs, self.most_rows)?;
        let outputs = version.lane.answer_behind(asked.inputs, asked.rows).await?;
        if let Some(at) = response::first_gap(&outputs) {
            return Err(asked.gap.map_or(ServingError::NoNumber(at), ServingError::Invalid));
        }
        response::fill(&mut answer, outputs, asked.outputs.as_deref(), asked.raw);
        Ok(answer)
    }
}

fn failed(reason: &str, detail: String) -> Outcome {
    Outcome::End(PredictionEnd::Failed { reason: reason.to_owned(), detail })
}

/// What no later try would answer otherwise is the end; everything else is tried again. Every variant is named, so that a new one does
/// not compile until that is decided.
fn unanswered(error: ServingError) -> Outcome {
    let why = error.to_string();
    match error {
        ServingError::Invalid(_) | ServingError::Refused(Refusal::Invalid(_)) => failed("INVALID", why),
        ServingError::NoNumber(_) => failed("ANSWER_NO_NUMBER", why),
        ServingError::Refused(Refusal::Broken(_)) => failed("MODEL_FAILED", why),
        ServingError::NotLoadable { .. } | ServingError::Check(_) | ServingError::Unfit(_) => failed("NOT_LOADABLE", why),
        ServingError::Registry(error) => match error {
            RegistryError::Unavailable(_)
            | RegistryError::Garbage(_)
            | RegistryError::Misconfigured(_)
            | RegistryError::Broken(_) => Outcome::Back(DOWN, why),
            RegistryError::NotFound(_)
            | RegistryError::Refused(_)
            | RegistryError::WrongSha { .. }
            | RegistryError::Lost { .. }
            | RegistryError::Damaged { .. }
            | RegistryError::TooLarge { .. } => failed("ARTIFACT_LOST", why),
        },
        ServingError::Refused(
            Refusal::Full { .. } | Refusal::Busy { .. } | Refusal::Hopeless { .. } | Refusal::Expired | Refusal::Unloaded,
        )
        | ServingError::UnknownModel(_)
        | ServingError::UnknownVersion { .. } => Outcome::Back(SOON, why),
        ServingError::Store(_)
        | ServingError::Disk(_)
        | ServingError::Moved { .. }
        | ServingError::Unchanged { .. }
        | ServingError::NothingBefore { .. }
        | ServingError::UnknownJob(_)
        | ServingError::JobsFull { .. }
        | ServingError::NotYours(_)
        | ServingError::GateBusy
        | ServingError::NoChampion { .. }
        | ServingError::NoEvaluation { .. }
        | ServingError::OtherEvaluation { .. }
        | ServingError::GateRejects { .. }
        | ServingError::Match(_)
        | ServingError::ShuttingDown => Outcome::Back(DOWN, why),
    }
}
