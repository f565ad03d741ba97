//! `loadline.rollup.v1.JobService`.

mod convert;
mod parameters;
mod status;

use crate::{
    leader::{ROLE, Scheduled},
    schedule::Schedule,
};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use loadline_domain::Clock;
use loadline_proto::rollup::{
    CancelRunRequest, CancelRunResponse, GetRunRequest, GetRunResponse, Job, ListJobsRequest, ListJobsResponse, ListRunsRequest,
    ListRunsResponse, Run, RunJobRequest, RunJobResponse, WatchRunRequest, WatchRunResponse,
    job_service_server::{JobService, JobServiceServer},
};
use loadline_runtime::{
    Shutdown,
    access::{Access, AccessTable},
    errors,
    identity::Identity,
};
use loadline_store::{Enqueued, JobRun, NewRun, RunFilter, RunState, Store, Trigger};
use std::{sync::Arc, time::Duration};
use tonic::{Request, Response, Status, service::RoutesBuilder};
use uuid::Uuid;

/// Who may call what.
pub const ACCESS: AccessTable = AccessTable(&[
    ("/loadline.rollup.v1.JobService/List", Access::Operator),
    ("/loadline.rollup.v1.JobService/ListRuns", Access::Operator),
    ("/loadline.rollup.v1.JobService/Run", Access::Operator),
    ("/loadline.rollup.v1.JobService/Get", Access::Operator),
    ("/loadline.rollup.v1.JobService/Watch", Access::Operator),
    ("/loadline.rollup.v1.JobService/Cancel", Access::Operator),
]);
/// Methods whose answer goes on.
pub const LONG_LIVED: &[&str] = &["/loadline.rollup.v1.JobService/Watch"];

/// Largest request, in bytes: parameters are a few words.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
const MAX_KEY_BYTES: usize = 128;
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1_000;
/// Results of a page, in bytes: half of what clients take by default.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;
/// How often a watched run is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The service. Clones are one.
#[derive(Clone)]
pub struct Jobs {
    pub jobs: Arc<Vec<Scheduled>>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub time_zone: String,
    pub shutdown: Shutdown,
}

impl Jobs {
    /// Adds the gRPC service.
    pub fn routes(self, builder: &mut RoutesBuilder) {
        builder.add_service(JobServiceServer::new(self).max_decoding_message_size(MAX_REQUEST_BYTES));
    }

    fn named(&self, name: &str) -> Result<&Scheduled, Status> {
        self.jobs.iter().find(|scheduled| scheduled.job.name() == name).ok_or_else(|| {
            let known: Vec<_> = self.jobs.iter().map(|scheduled| scheduled.job.name()).collect();
            errors::not_found("job", name, &format!("the jobs are {}", known.join(", ")))
        })
    }

    async fn run(&self, id: &str) -> Result<JobRun, Status> {
        let uuid = convert::run_id(id)?;
        let found = self.store.job_run(uuid).await.map_err(status::store)?;
        found.ok_or_else(|| errors::not_found("run", id, "list the runs to see their ids; old ones are deleted by policy"))
    }

    /// The run of each state asked for that came first to mind: the newest.
    async fn newest(&self, job: &str, state: RunState) -> Result<Option<JobRun>, Status> {
        let filter = RunFilter { job: Some(job.to_owned()), state: Some(state) };
        Ok(self.store.job_runs(&filter, None, 1).await.map_err(status::store)?.pop())
    }

    async fn described(&self, scheduled: &Scheduled, last: Option<&JobRun>) -> Result<Job, Status> {
        let name = scheduled.job.name();
        let current = match self.newest(name, RunState::Running).await? {
            Some(run) => Some(run),
            None => self.newest(name, RunState::Queued).await?,
        };
        let next = scheduled.schedule.as_ref().and_then(|schedule| schedule.next_after(self.clock.now()));
        Ok(Job {
            name: name.to_owned(),
            description: scheduled.job.description().to_owned(),
            schedule: scheduled.schedule.as_ref().map(Schedule::to_string).unwrap_or_default(),
            next_at: next.map(convert::timestamp),
            current: current.as_ref().map(convert::run),
            last: last.map(convert::run),
        })
    }
}

#[tonic::async_trait]
impl JobService for Jobs {
    async fn list(&self, _: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        let last = self.store.last_finished().await.map_err(status::store)?;
        let leaders = self.store.leaders().await.map_err(status::store)?;
        let mut jobs = Vec::with_capacity(self.jobs.len());
        for scheduled in self.jobs.iter() {
            jobs.push(self.described(scheduled, last.get(scheduled.job.name())).await?);
        }
        let leader = leaders.into_iter().find(|leader| leader.role == ROLE).map(|leader| leader.holder).unwrap_or_default();
        Ok(Response::new(ListJobsResponse { jobs, time_zone: self.time_zone.clone(), leader }))
    }

    async fn list_runs(&self, request: Request<ListRunsRequest>) -> Result<Response<ListRunsResponse>, Status> {
        let request = request.into_inner();
        if !request.job.is_empty() {
            self.named(&request.job)?;
        }
        let job = (!request.job.is_empty()).then_some(request.job);
        let filter = RunFilter { job, state: convert::state(request.state)? };
        let before = if request.page_token.is_empty() { None } else { Some(convert::page_token(&request.page_token)?) };
        let size = if request.page_size == 0 { PAGE } else { request.page_size.min(MAX_PAGE) };
        let mut runs = self.store.job_runs(&filter, before, size).await.map_err(status::store)?;
        let found = runs.len();
        runs.truncate(fitting(&runs));
        let more = runs.len() < found || found == size as usize;
        let next_page_token = runs.last().filter(|_| more).map(|last| last.id.to_string()).unwrap_or_default();
        Ok(Response::new(ListRunsResponse { runs: runs.iter().map(convert::run).collect(), next_page_token }))
    }

    async fn run(&self, request: Request<RunJobRequest>) -> Result<Response<RunJobResponse>, Status> {
        let requested_by = Identity::of(&request).map_or("unknown", |identity| &identity.name).to_owned();
        let request = request.into_inner();
        let job = &self.named(&request.job)?.job;
        if request.idempotency_key.len() > MAX_KEY_BYTES {
            return Err(errors::invalid("idempotency_key", format!("is longer than {MAX_KEY_BYTES} bytes")));
        }
        let parameters = parameters::read(&request.parameters)?;
        job.check(&parameters).map_err(|detail| errors::invalid("parameters", detail))?;
        // A namespace of its own: no caller's key is ever taken for a time of a schedule.
        let idempotency_key = match request.idempotency_key.as_str() {
            "" => format!("request:{}", Uuid::now_v7()),
            key => format!("request:{key}"),
        };
        let asked = NewRun {
            job: request.job,
            idempotency_key,
            trigger: Trigger::Request,
            parameters: parameters.to_string(),
            requested_by,
            scheduled_for: None,
            attempt: 1,
        };
        match self.store.enqueue(&asked).await.map_err(status::store)? {
            Enqueued::New(run) => Ok(Response::new(RunJobResponse { run: Some(convert::run(&run)), created: true })),
            Enqueued::Known(run) => Ok(Response::new(RunJobResponse { run: Some(convert::run(&run)), created: false })),
            Enqueued::KeyTaken(run) => {
                let detail = format!(
                    "names run {} with parameters {}; send another key, or the same parameters",
                    run.id, run.asked.parameters
                );
                Err(errors::invalid("idempotency_key", detail))
            }
        }
    }

    async fn get(&self, request: Request<GetRunRequest>) -> Result<Response<GetRunResponse>, Status> {
        let run = self.run(&request.get_ref().id).await?;
        Ok(Response::new(GetRunResponse { run: Some(convert::run(&run)) }))
    }

    type WatchStream = BoxStream<'static, Result<WatchRunResponse, Status>>;

    async fn watch(&self, request: Request<WatchRunRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let id = request.into_inner().id;
        self.run(&id).await?;
        Ok(Response::new(changes(self.clone(), id).boxed()))
    }

    async fn cancel(&self, request: Request<CancelRunRequest>) -> Result<Response<CancelRunResponse>, Status> {
        let id = request.into_inner().id;
        self.run(&id).await?;
        let run = self.store.request_cancel(convert::run_id(&id)?).await.map_err(status::store)?;
        Ok(Response::new(CancelRunResponse { run: run.as_ref().map(convert::run) }))
    }
}

/// How many of these runs go into one page: results may be long, and messages may not.
fn fitting(runs: &[JobRun]) -> usize {
    let sums = runs.iter().scan(0, |bytes, run| {
        *bytes += run.result.as_ref().map_or(0, String::len) + run.asked.parameters.len();
        Some(*bytes)
    });
    sums.take_while(|bytes| *bytes <= MAX_PAGE_BYTES).count().max(1)
}

/// The run now, and whenever it looks otherwise; ends after its end, with the caller, or with the server.
fn changes(jobs: Jobs, id: String) -> impl Stream<Item = Result<WatchRunResponse, Status>> + Send {
    futures::stream::unfold(Some((jobs, id, None::<Run>)), |state| async move {
        let (jobs, id, sent) = state?;
        loop {
            let run = match jobs.run(&id).await {
                Ok(run) => run,
                Err(status) => return Some((Err(status), None)),
            };
            let shown = convert::run(&run);
            if sent.as_ref() != Some(&shown) {
                let next = (!run.state.is_final()).then(|| (jobs, id, Some(shown.clone())));
                return Some((Ok(WatchRunResponse { run: Some(shown) }), next));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = jobs.shutdown.cancelled() => {
                    let leaving = errors::unavailable("SHUTTING_DOWN", "this server is shutting down; watch again", Duration::from_secs(1));
                    return Some((Err(leaving), None));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_domain::Timestamp;
    use loadline_store::RunProgress;

    #[test]
    fn a_page_ends_before_its_results_are_too_long_for_a_message() {
        let run = |bytes: usize| JobRun {
            id: Uuid::nil(),
            asked: NewRun {
                job: "verify".to_owned(),
                idempotency_key: String::new(),
                trigger: Trigger::Request,
                parameters: "{}".to_owned(),
                requested_by: String::new(),
                scheduled_for: None,
                attempt: 1,
            },
            state: RunState::Succeeded,
            holder: None,
            epoch: None,
            queued_at: Timestamp::EARLIEST,
            started_at: None,
            finished_at: None,
            progress: RunProgress::default(),
            cancel_requested: false,
            result: Some("r".repeat(bytes)),
            error: None,
        };
        let half = MAX_PAGE_BYTES / 2;
        assert_eq!(fitting(&[run(10), run(10), run(10)]), 3);
        assert_eq!(fitting(&[run(half), run(half - 1_000), run(half)]), 2);
        assert_eq!(fitting(&[run(half * 3), run(1)]), 1, "the longest goes alone");
    }
}
