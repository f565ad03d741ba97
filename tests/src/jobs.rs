//! Runs of jobs, asked for and waited for as an operator's program does.

use crate::service::Service;
use anyhow::{Context as _, Result, bail};
use loadline_proto::rollup::{GetRunRequest, ListRunsRequest, Run, RunJobRequest, run::State};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Until a run has ended, also after a leadership had to expire.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for a run.
///
/// # Errors
/// When rollup does not answer, or refuses.
pub async fn run(rollup: &Service, job: &str, key: &str) -> Result<Run> {
    run_with(rollup, job, key, "").await
}

/// The same with parameters, JSON.
///
/// # Errors
/// As [`run`].
pub async fn run_with(rollup: &Service, job: &str, key: &str, parameters: &str) -> Result<Run> {
    let request = RunJobRequest { job: job.to_owned(), idempotency_key: key.to_owned(), parameters: parameters.to_owned() };
    rollup.rollup()?.jobs.run(request).await?.into_inner().run.context("a run")
}

/// A run as it stands.
///
/// # Errors
/// When rollup does not answer, or does not know it.
pub async fn get(rollup: &Service, id: &str) -> Result<Run> {
    rollup.rollup()?.jobs.get(GetRunRequest { id: id.to_owned() }).await?.into_inner().run.context("a run")
}

/// The newest run of a job, once nothing of the job is queued or running. What is asked while rollup is away is asked again.
///
/// # Errors
/// When it takes too long.
pub async fn ended(rollup: &Service, job: &str) -> Result<Run> {
    let ending = async {
        loop {
            let request = ListRunsRequest { job: job.to_owned(), ..ListRunsRequest::default() };
            if let Ok(listed) = rollup.rollup()?.jobs.list_runs(request).await {
                let mut runs = listed.into_inner().runs;
                let open = runs.iter().any(|run| matches!(run.state(), State::Queued | State::Running));
                if !open && !runs.is_empty() {
                    return anyhow::Ok(runs.swap_remove(0));
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, ending).await.with_context(|| format!("{job} did not end; rollup wrote:\n{}", rollup.output()))?
}

/// The same, of a run that ended well.
///
/// # Errors
/// When it failed, with its error.
pub async fn succeeded(rollup: &Service, job: &str) -> Result<Run> {
    let run = ended(rollup, job).await?;
    match run.state() {
        State::Succeeded => Ok(run),
        state => bail!("{job} ended as {state:?}: {}", run.error),
    }
}
