//! `PredictionJobService`.

use super::models::proto_time;
use crate::{Serving, jobs::question::Question, status::ServingError, tensors::Invalid};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use loadline_proto::{
    inference::ModelInferResponse,
    serving::{
        CancelPredictionRequest, CancelPredictionResponse, GetPredictionRequest, GetPredictionResponse, ListPredictionsRequest,
        ListPredictionsResponse, PredictionJob, SubmitPredictionRequest, SubmitPredictionResponse, WatchPredictionRequest,
        WatchPredictionResponse, prediction_job::State, prediction_job_service_server::PredictionJobService,
    },
};
use loadline_runtime::identity::{Identity, Role};
use loadline_store::{PredictionFilter, PredictionState};
use prost::Message as _;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// Jobs of a page, unless asked for otherwise, and at most.
const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1_000;
/// How often a watched job is looked at while nothing in this process has changed it.
const LOOK: Duration = Duration::from_millis(250);

#[tonic::async_trait]
impl PredictionJobService for Serving {
    type WatchStream = BoxStream<'static, Result<WatchPredictionResponse, Status>>;

    async fn submit(&self, request: Request<SubmitPredictionRequest>) -> Result<Response<SubmitPredictionResponse>, Status> {
        let submitted_by = caller(&request).map_or_else(|| "unknown".to_owned(), |caller| caller.name.clone());
        let SubmitPredictionRequest { question, valid_for, key } = request.into_inner();
        let absent = || ServingError::from(Invalid::new("question", "is absent; it is what ModelInfer takes"));
        let question = Question { request: question.ok_or_else(absent)?, key, valid_for: lasting(valid_for)?, submitted_by };
        let accepted = self.jobs.submit(self.library.residents(), question).await?;
        Ok(Response::new(SubmitPredictionResponse { job: Some(shown(accepted.job)), created: accepted.new }))
    }

    async fn get(&self, request: Request<GetPredictionRequest>) -> Result<Response<GetPredictionResponse>, Status> {
        let (job, answer) = self.looked_up(&request.into_inner().id).await?;
        Ok(Response::new(GetPredictionResponse { job: Some(job), answer }))
    }

    async fn watch(&self, request: Request<WatchPredictionRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let id = request.into_inner().id;
        self.jobs.get(&id).await?;
        Ok(Response::new(changes(self.clone(), id).boxed()))
    }

    async fn cancel(&self, request: Request<CancelPredictionRequest>) -> Result<Response<CancelPredictionResponse>, Status> {
        let by = caller(&request).filter(|caller| caller.role != Role::Operator).map(|caller| caller.name.clone());
        let id = request.into_inner().id;
        let job = self.jobs.get(&id).await?;
        if by.is_some_and(|name| name != job.submitted_by) {
            return Err(ServingError::NotYours(id).into());
        }
        Ok(Response::new(CancelPredictionResponse { job: Some(shown(self.jobs.cancel(&id).await?)) }))
    }

    async fn list(&self, request: Request<ListPredictionsRequest>) -> Result<Response<ListPredictionsResponse>, Status> {
        let submitted_by = caller(&request).filter(|caller| caller.role != Role::Operator).map(|caller| caller.name.clone());
        let request = request.into_inner();
        let filter = PredictionFilter {
            state: wanted(request.state)?,
            model: Some(request.model).filter(|model| !model.is_empty()),
            submitted_by,
        };
        let size = if request.page_size == 0 { PAGE } else { request.page_size.min(LARGEST_PAGE) };
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| {
                ServingError::from(Invalid::new("page_token", "is none that this service gave; leave it out to begin anew"))
            })?),
        };
        let jobs = self.store.prediction_jobs(&filter, before, size).await.map_err(ServingError::from)?;
        let full = jobs.len() == size as usize;
        let next_page_token = jobs.last().filter(|_| full).map(|last| last.number.to_string()).unwrap_or_default();
        Ok(Response::new(ListPredictionsResponse { jobs: jobs.into_iter().map(shown).collect(), next_page_token }))
    }
}

impl Serving {
    /// A job, with its answer where it has one.
    async fn looked_up(&self, id: &str) -> Result<(PredictionJob, Option<ModelInferResponse>), ServingError> {
        let job = self.jobs.get(id).await?;
        let answer = match job.state {
            PredictionState::Succeeded => self.store.prediction_result(id).await?,
            _ => None,
        };
        let broken = |error| ServingError::Store(loadline_store::StoreError::Broken(format!("the answer of job {id}: {error}")));
        let answer = answer.map(|bytes| ModelInferResponse::decode(&*bytes)).transpose().map_err(broken)?;
        Ok((shown(job), answer))
    }
}

/// The job now, and whenever it looks otherwise; ends after its end, with the caller, or with the server.
fn changes(serving: Serving, id: String) -> impl Stream<Item = Result<WatchPredictionResponse, Status>> + Send {
    futures::stream::unfold(Some((serving, id, None::<PredictionJob>)), |state| async move {
        let (serving, id, sent) = state?;
        loop {
            // Before the look: what changes right after it is heard.
            let changed = serving.jobs.changed();
            let (job, answer) = match serving.looked_up(&id).await {
                Ok(found) => found,
                Err(error) => return Some((Err(error.into()), None)),
            };
            if sent.as_ref() != Some(&job) {
                let ended = job.finished_at.is_some();
                let told = WatchPredictionResponse { job: Some(job.clone()), answer };
                return Some((Ok(told), (!ended).then(|| (serving.clone(), id, Some(job)))));
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(LOOK) => {}
                () = serving.shutdown.cancelled() => return Some((Err(ServingError::ShuttingDown.into()), None)),
            }
        }
    })
}

fn caller<T>(request: &Request<T>) -> Option<&Identity> {
    Identity::of(request)
}

fn lasting(valid_for: Option<prost_types::Duration>) -> Result<Option<Duration>, ServingError> {
    let Some(valid_for) = valid_for else { return Ok(None) };
    let lasting = Duration::try_from(valid_for).ok().filter(|lasting| !lasting.is_zero());
    match lasting {
        Some(lasting) => Ok(Some(lasting)),
        None => Err(Invalid::new("valid_for", "is not longer than nothing; leave it out for a job that never expires").into()),
    }
}

/// The state that jobs have to be in, if any.
fn wanted(number: i32) -> Result<Option<PredictionState>, ServingError> {
    let none = |_| Invalid::new("state", format!("is {number}, which no state has; leave it out for jobs in any"));
    Ok(state(State::try_from(number).map_err(none)?))
}

fn state(state: State) -> Option<PredictionState> {
    Some(match state {
        State::Unspecified => return None,
        State::Accepted => PredictionState::Accepted,
        State::Queued => PredictionState::Queued,
        State::Running => PredictionState::Running,
        State::Succeeded => PredictionState::Succeeded,
        State::Failed => PredictionState::Failed,
        State::Cancelled => PredictionState::Cancelled,
        State::Expired => PredictionState::Expired,
    })
}

fn shown(job: loadline_store::PredictionJob) -> PredictionJob {
    let state = match job.state {
        PredictionState::Accepted => State::Accepted,
        PredictionState::Queued => State::Queued,
        PredictionState::Running => State::Running,
        PredictionState::Succeeded => State::Succeeded,
        PredictionState::Failed => State::Failed,
        PredictionState::Cancelled => State::Cancelled,
        PredictionState::Expired => State::Expired,
    };
    PredictionJob {
        id: job.id,
        state: state.into(),
        model: job.model,
        version: job.version,
        sha256: job.sha256,
        rows: job.rows,
        attempts: job.attempts,
        submitted_by: job.submitted_by,
        accepted_at: Some(proto_time(job.accepted_at)),
        queued_at: job.queued_at.map(proto_time),
        started_at: job.started_at.map(proto_time),
        finished_at: job.finished_at.map(proto_time),
        deadline: job.deadline.map(proto_time),
        reason: job.reason.unwrap_or_default(),
        detail: job.detail.unwrap_or_default(),
    }
}
