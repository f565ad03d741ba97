//! `loadline predict jobs`: where predictions stand that nobody waited for, and their answers.

use super::answer;
use crate::{
    connect::Peer,
    json,
    output::{BAD_NEWS, Column, Output, Tone, clean, count},
    when::second,
};
use anyhow::Context as _;
use loadline_proto::serving::{
    GetPredictionRequest, GetPredictionResponse, ListPredictionsRequest, ListPredictionsResponse, PredictionJob,
    SubmitPredictionResponse, WatchPredictionRequest, prediction_job::State,
    prediction_job_service_client::PredictionJobServiceClient,
};
use std::{process::ExitCode, time::Duration};
use tonic::{Code, transport::Channel};

/// Most jobs of one page.
const PAGE: u32 = 1_000;
/// Before a watch that broke is begun again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Show jobs of predictions, the newest first; or one, with its answer
///
/// Exit codes: 0 done, 1 the job ended without an answer, 2 not done.
#[derive(Debug, Clone, clap::Args)]
pub struct JobsArgs {
    /// Id of one job
    id: Option<String>,
    /// Wait for its end
    #[arg(long, requires = "id")]
    wait: bool,
    /// Of one model only
    #[arg(long, default_value = "", conflicts_with = "id")]
    model: String,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = crate::streams::at_least_one)]
    limit: usize,
}

type Client = PredictionJobServiceClient<Channel>;

/// Runs the command.
///
/// # Errors
/// When serving does not answer, or knows no such job.
pub async fn run(output: &Output, peer: &Peer, args: JobsArgs) -> anyhow::Result<ExitCode> {
    let mut client = Client::new(peer.channel.clone());
    match args.id {
        None => list(output, peer, client, args.model, args.limit).await,
        Some(id) if args.wait => show(output, &followed(peer, client, id).await?),
        Some(id) => show(output, &peer.call(client.get(peer.request(GetPredictionRequest { id }))).await?),
    }
}

/// A job that was just submitted.
///
/// # Errors
/// When there is none in the answer.
pub fn submitted(output: &Output, answer: &SubmitPredictionResponse) -> anyhow::Result<String> {
    let job = answer.job.as_ref().context("serving answered without a job")?;
    if output.json {
        return Ok(json::of("loadline.serving.v1.SubmitPredictionResponse", answer)?.to_string() + "\n");
    }
    let known = if answer.created { "" } else { ", submitted before" };
    Ok(format!("job {}: {} of {}, {}{known}\n", clean(&job.id), rows(job), version(job), state_text(output, job)))
}

async fn list(output: &Output, peer: &Peer, mut client: Client, model: String, limit: usize) -> anyhow::Result<ExitCode> {
    let mut all = ListPredictionsResponse::default();
    loop {
        let page_size = u32::try_from(limit - all.jobs.len()).unwrap_or(PAGE).clamp(1, PAGE);
        let page_token = std::mem::take(&mut all.next_page_token);
        let request = ListPredictionsRequest { model: model.clone(), page_size, page_token, ..ListPredictionsRequest::default() };
        let page = peer.call(client.list(peer.request(request))).await?;
        all.jobs.extend(page.jobs);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() || all.jobs.len() >= limit {
            break;
        }
    }
    if output.json {
        output.json(&json::of("loadline.serving.v1.ListPredictionsResponse", &all)?)?;
    } else {
        let columns = ["JOB", "STATE", "OF", "ROWS", "ACCEPTED", "ENDED", "BY"].map(Column::Left);
        output.print(&output.listing(&columns, all.jobs.iter().map(|job| cells(output, job)), &all.next_page_token))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cells(output: &Output, job: &PredictionJob) -> Vec<String> {
    let (accepted, ended) = (second(job.accepted_at.as_ref()), second(job.finished_at.as_ref()));
    vec![clean(&job.id), state_text(output, job), version(job), count(job.rows), accepted, ended, clean(&job.submitted_by)]
}

/// To its end, over any number of broken connections.
async fn followed(peer: &Peer, mut client: Client, id: String) -> anyhow::Result<GetPredictionResponse> {
    let mut last = None;
    loop {
        // Not through `Peer::call`: it may take as long as the job waits.
        let broken = match client.watch(WatchPredictionRequest { id: id.clone() }).await {
            Err(status) => status,
            Ok(answer) => {
                let mut changes = answer.into_inner();
                loop {
                    match changes.message().await {
                        Ok(Some(change)) => last = Some(GetPredictionResponse { job: change.job, answer: change.answer }),
                        Ok(None) => return last.context("serving ended the watch without a job"),
                        Err(status) => break status,
                    }
                }
            }
        };
        if last.is_none() || !matches!(broken.code(), Code::Unavailable | Code::Unknown) {
            return Err(peer.explain(&broken));
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

fn show(output: &Output, found: &GetPredictionResponse) -> anyhow::Result<ExitCode> {
    let job = found.job.as_ref().context("serving answered without a job")?;
    if output.json {
        output.json(&json::of("loadline.serving.v1.GetPredictionResponse", found)?)?;
    } else {
        output.print(&told(output, job))?;
        if let Some(answer) = &found.answer {
            output.print(&answer::lines(output, answer, &mut false)?)?;
        }
    }
    let in_vain = matches!(job.state(), State::Failed | State::Cancelled | State::Expired);
    Ok(if in_vain { ExitCode::from(BAD_NEWS) } else { ExitCode::SUCCESS })
}

fn told(output: &Output, job: &PredictionJob) -> String {
    let begun = match job.attempts {
        0 | 1 => String::new(),
        attempts => format!(", begun {attempts} times"),
    };
    let why = match (job.reason.as_str(), job.detail.as_str()) {
        ("", "") => String::new(),
        (reason, detail) => format!("\n  {}: {}", clean(reason), clean(detail)),
    };
    format!("job {}: {} of {}, {}{begun}{why}", clean(&job.id), rows(job), version(job), state_text(output, job))
}

fn rows(job: &PredictionJob) -> String {
    crate::output::plural(job.rows, "row", "rows")
}

fn version(job: &PredictionJob) -> String {
    format!("{} {}", clean(&job.model), job.version)
}

fn state_text(output: &Output, job: &PredictionJob) -> String {
    let state = job.state();
    let word = state.as_str_name().trim_start_matches("STATE_").to_lowercase();
    match state {
        State::Succeeded => output.paint(Tone::Good, &word),
        State::Failed | State::Expired => output.paint(Tone::Bad, &word),
        State::Cancelled => output.paint(Tone::Warn, &word),
        State::Unspecified | State::Accepted | State::Queued | State::Running => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::PLAIN;

    fn job(state: State) -> PredictionJob {
        let (reason, detail) = match state {
            State::Failed => ("INVALID".to_owned(), "inputs: NaN".to_owned()),
            _ => Default::default(),
        };
        PredictionJob {
            id: "ab".to_owned(),
            state: state.into(),
            model: "wine".to_owned(),
            version: 3,
            rows: 1,
            reason,
            detail,
            ..Default::default()
        }
    }

    #[test]
    fn a_job_is_told_with_why_it_failed() {
        assert_eq!(told(&PLAIN, &job(State::Queued)), "job ab: 1 row of wine 3, queued");
        assert_eq!(told(&PLAIN, &job(State::Failed)), "job ab: 1 row of wine 3, failed\n  INVALID: inputs: NaN");
        let again = SubmitPredictionResponse { job: Some(job(State::Succeeded)), created: false };
        assert_eq!(submitted(&PLAIN, &again).unwrap(), "job ab: 1 row of wine 3, succeeded, submitted before\n");
    }
}
