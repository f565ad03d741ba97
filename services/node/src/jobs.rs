//! `loadline jobs`: when background jobs run and how they went; running, watching and cancelling them.

use crate::{
    connect::{Peer, RollupAddress},
    json,
    output::{BAD_NEWS, Column, Output, Tone, clean, count},
    when::second,
};
use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use loadline_proto::rollup::{
    CancelRunRequest, Job, ListJobsRequest, ListJobsResponse, ListRunsRequest, ListRunsResponse, Run, RunJobRequest,
    WatchRunRequest, job_service_client::JobServiceClient, run::State,
};
use serde_json::{Map, Value};
use std::{fmt, process::ExitCode, time::Duration};
use tonic::{Code, transport::Channel};

/// Most runs of one page.
const PAGE: u32 = 1_000;
/// Before a watch that broke is begun again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Show background jobs, their schedules and their last runs
///
/// Exit codes: 0 done, 1 the run failed, was cancelled or interrupted, or found something, 2 not done.
#[derive(Debug, Clone, clap::Args)]
pub struct JobsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    address: RollupAddress,
}

/// Without one: every job.
#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Run a job now, and wait for its end
    Run {
        /// Name of the job, such as archive
        job: String,
        /// The same key is the same run, however often it is sent
        #[arg(long, default_value = "")]
        key: String,
        /// What the job is told, a JSON object; `loadline jobs` names what each takes
        #[arg(long, value_name = "JSON", default_value = "")]
        parameters: String,
        /// Do not wait: print the run and leave
        #[arg(long)]
        detach: bool,
    },
    /// List runs, the newest first
    Runs {
        /// Of one job only
        #[arg(long, default_value = "")]
        job: String,
        /// At most so many
        #[arg(long, default_value_t = 20, value_parser = crate::streams::at_least_one)]
        limit: usize,
    },
    /// Follow a run to its end
    Watch {
        /// Id of the run
        id: String,
    },
    /// Ask a run to end
    Cancel {
        /// Id of the run
        id: String,
    },
}

type Client = JobServiceClient<Channel>;

/// Runs the command.
///
/// # Errors
/// When rollup does not answer, or refuses.
pub async fn run(args: JobsArgs) -> anyhow::Result<ExitCode> {
    let output = Output::stdout(args.json);
    let peer = args.address.connect()?;
    let mut client = Client::new(peer.channel.clone());
    match args.command {
        None => list(&output, &peer, client).await,
        Some(Command::Runs { job, limit }) => runs(&output, &peer, client, job, limit).await,
        Some(Command::Watch { id }) => follow(&output, &peer, client, id).await,
        Some(Command::Run { job, key, parameters, detach }) => {
            let request = RunJobRequest { job, idempotency_key: key, parameters };
            let run = peer.call(client.run(peer.request(request))).await?.run.context("rollup answered without a run")?;
            if detach { show(&output, &run) } else { follow(&output, &peer, client, run.id).await }
        }
        Some(Command::Cancel { id }) => {
            let answer = peer.call(client.cancel(peer.request(CancelRunRequest { id }))).await?;
            show(&output, &answer.run.context("rollup answered without a run")?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn list(output: &Output, peer: &Peer, mut client: Client) -> anyhow::Result<ExitCode> {
    let answer = peer.call(client.list(peer.request(ListJobsRequest {}))).await?;
    if output.json {
        output.json(&json::of("loadline.rollup.v1.ListJobsResponse", &answer)?)?;
    } else {
        output.print(&jobs_text(&answer, output))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn jobs_text(answer: &ListJobsResponse, output: &Output) -> String {
    let columns = ["JOB", "SCHEDULE", "NEXT (UTC)", "STATE", "LAST RUN (UTC)", "RESULT"].map(Column::Left);
    let mut text = output.table(&columns, answer.jobs.iter().map(job_cells));
    let leader = if answer.leader.is_empty() {
        output.paint(Tone::Bad, "no process runs jobs now")
    } else {
        format!("run by {}", clean(&answer.leader))
    };
    text.push_str(&format!("schedules in {}; {leader}\n", clean(&answer.time_zone)));
    let described = answer.jobs.iter().map(|job| vec![job.name.clone(), job.description.clone()]);
    text + &output.table(&["JOB", "WHAT IT DOES"].map(Column::Left), described)
}

fn job_cells(job: &Job) -> Vec<String> {
    let schedule = if job.schedule.is_empty() { "on request".to_owned() } else { clean(&job.schedule) };
    let current = job.current.as_ref().map_or_else(|| "idle".to_owned(), state_text);
    let last = job.last.as_ref();
    let result = last.map(end_text).unwrap_or_default();
    let ended = second(last.and_then(|run| run.finished_at.as_ref()));
    vec![clean(&job.name), schedule, second(job.next_at.as_ref()), current, ended, result]
}

async fn runs(output: &Output, peer: &Peer, mut client: Client, job: String, limit: usize) -> anyhow::Result<ExitCode> {
    let mut all = ListRunsResponse::default();
    loop {
        let page_size = u32::try_from(limit - all.runs.len()).unwrap_or(PAGE).clamp(1, PAGE);
        let page_token = std::mem::take(&mut all.next_page_token);
        let request = ListRunsRequest { job: job.clone(), page_size, page_token, ..ListRunsRequest::default() };
        let page = peer.call(client.list_runs(peer.request(request))).await?;
        all.runs.extend(page.runs);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() || all.runs.len() >= limit {
            break;
        }
    }
    if output.json {
        output.json(&json::of("loadline.rollup.v1.ListRunsResponse", &all)?)?;
    } else {
        output.print(&runs_text(&all, output))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn runs_text(answer: &ListRunsResponse, output: &Output) -> String {
    let columns = ["RUN", "JOB", "STATE", "QUEUED", "ENDED", "BY", "RESULT"].map(Column::Left);
    output.listing(&columns, answer.runs.iter().map(run_cells), &answer.next_page_token)
}

fn run_cells(run: &Run) -> Vec<String> {
    let (queued, ended) = (second(run.queued_at.as_ref()), second(run.finished_at.as_ref()));
    vec![clean(&run.id), clean(&run.job), state_text(run), queued, ended, clean(&run.requested_by), outcome(run)]
}

/// Watches a run to its end, over any number of broken connections, with a bar on a terminal.
async fn follow(output: &Output, peer: &Peer, mut client: Client, id: String) -> anyhow::Result<ExitCode> {
    let bar = bar(output);
    let mut last = None;
    loop {
        // Not through `Peer::call`: it may take hours.
        let watched = client.watch(WatchRunRequest { id: id.clone() }).await;
        let broken = match watched {
            Err(status) => status,
            Ok(answer) => {
                let mut changes = answer.into_inner();
                loop {
                    match changes.message().await {
                        Ok(Some(change)) => {
                            last = change.run;
                            last.iter().for_each(|run| draw(&bar, run));
                        }
                        Ok(None) => {
                            bar.finish_and_clear();
                            return show(output, &last.context("rollup ended the watch without a run")?);
                        }
                        Err(status) => break status,
                    }
                }
            }
        };
        // A run goes on without us; what was never seen at all is told at once.
        if last.is_none() || !matches!(broken.code(), Code::Unavailable | Code::Unknown) {
            bar.finish_and_clear();
            return Err(peer.explain(&broken));
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

fn bar(output: &Output) -> ProgressBar {
    if output.json {
        return ProgressBar::hidden();
    }
    let of = |bar: &ProgressState, text: &mut dyn fmt::Write| {
        if let Some(total) = bar.len() {
            let _ = write!(text, "/{total}");
        }
    };
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}{of} {msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style.with_key("of", of).progress_chars("=> "))
}

fn draw(bar: &ProgressBar, run: &Run) {
    bar.set_prefix(clean(&run.job));
    // Nothing of nothing would be drawn as done.
    match run.total {
        0 => bar.unset_length(),
        total => bar.set_length(total.max(run.done)),
    }
    bar.set_position(run.done);
    bar.set_message(clean(&run.note));
}

/// The run, and whether its end is good news.
fn show(output: &Output, run: &Run) -> anyhow::Result<ExitCode> {
    let tone = tone(run);
    if output.json {
        output.json(&json::of("loadline.rollup.v1.Run", run)?)?;
    } else {
        let state = output.paint(tone, &state_text(run));
        output.print(&format!("{} {} {state}: {}", clean(&run.job), clean(&run.id), outcome(run)))?;
    }
    Ok(if matches!(tone, Tone::Bad | Tone::Warn) { ExitCode::from(BAD_NEWS) } else { ExitCode::SUCCESS })
}

fn tone(run: &Run) -> Tone {
    match run.state() {
        State::Unspecified | State::Queued | State::Running => Tone::Quiet,
        State::Succeeded if findings(run) == 0 => Tone::Good,
        State::Succeeded | State::Failed => Tone::Bad,
        State::Cancelled | State::Interrupted => Tone::Warn,
    }
}

fn state_text(run: &Run) -> String {
    match run.state() {
        State::Unspecified => "unknown".to_owned(),
        State::Queued => "queued".to_owned(),
        State::Running if run.total > 0 => format!("running {}/{}", count(run.done), count(run.total)),
        State::Running => "running".to_owned(),
        State::Succeeded if findings(run) > 0 => format!("succeeded with {} findings", count(findings(run))),
        State::Succeeded => "succeeded".to_owned(),
        State::Failed => "failed".to_owned(),
        State::Cancelled => "cancelled".to_owned(),
        State::Interrupted => "interrupted".to_owned(),
    }
}

/// What came out of it, after how it ended where that is no good news.
fn end_text(run: &Run) -> String {
    let (state, outcome) = (state_text(run), outcome(run));
    match tone(run) {
        Tone::Good => outcome,
        _ if outcome.is_empty() => state,
        _ => format!("{state}: {outcome}"),
    }
}

/// What a run that succeeded found wrong.
fn findings(run: &Run) -> u64 {
    fields(&run.result).get("findings").and_then(Value::as_u64).unwrap_or(0)
}

/// What came out of it, in a line.
fn outcome(run: &Run) -> String {
    match run.state() {
        State::Failed => clean(&run.error),
        State::Succeeded => result_text(&run.result),
        _ => clean(&run.note),
    }
}

/// A JSON object as words; lists by their length, since `--json` has them whole.
fn result_text(result: &str) -> String {
    let word = |(name, value): (&String, &Value)| {
        let name = clean(&name.replace('_', " "));
        match value {
            Value::Null => None,
            Value::Array(listed) => Some(format!("{name} {} listed", count(listed.len() as u64))),
            value => Some(format!("{name} {}", clean(value.to_string().trim_matches('"')))),
        }
    };
    fields(result).iter().filter_map(word).collect::<Vec<_>>().join(", ")
}

fn fields(result: &str) -> Map<String, Value> {
    serde_json::from_str(result).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::{COLOURED, NARROW, PLAIN};

    #[test]
    fn a_result_reads_as_words() {
        assert_eq!(result_text(r#"{"account_days":12,"before":"2026-08-23"}"#), "account days 12, before 2026-08-23");
        assert_eq!(result_text(r#"{"account":null,"differences":[{"a":1},{"a":2}]}"#), "differences 2 listed");
        assert_eq!(result_text(""), "");
    }

    fn ended(state: State) -> Run {
        Run { state: state.into(), ..Run::default() }
    }

    #[test]
    fn a_run_that_found_something_is_no_good_news() {
        let run = |result: &str| Run { result: result.to_owned(), ..ended(State::Succeeded) };
        let told = |result: &str| (state_text(&run(result)), tone(&run(result)));
        assert_eq!(told(r#"{"findings":3}"#), ("succeeded with 3 findings".to_owned(), Tone::Bad));
        assert_eq!(told(r#"{"findings":0}"#), ("succeeded".to_owned(), Tone::Good));
        assert_eq!(findings(&run("")), 0);
    }

    #[test]
    fn jobs_say_how_the_last_run_ended_and_in_which_zone_times_are() {
        let cancelled = Run { note: "2 of 9 days".to_owned(), ..ended(State::Cancelled) };
        let failed = Run { error: "the disk is full".to_owned(), ..ended(State::Failed) };
        let runs = [("archive", cancelled), ("retention", ended(State::Interrupted)), ("verify", failed)];
        let next_at = Some(prost_types::Timestamp { seconds: 1_795_255_204, nanos: 0 });
        let job = |(name, last): (&str, Run)| Job { name: name.to_owned(), next_at, last: Some(last), ..Job::default() };
        let time_zone = "Europe/Berlin".to_owned();
        let answer = ListJobsResponse { jobs: runs.map(job).to_vec(), time_zone, ..ListJobsResponse::default() };
        let text = jobs_text(&answer, &PLAIN);
        for part in ["NEXT (UTC)", "LAST RUN (UTC)", "2026-11-21 10:00:04", "schedules in Europe/Berlin"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for result in ["cancelled: 2 of 9 days", "  interrupted", "failed: the disk is full"] {
            assert!(text.lines().any(|line| line.ends_with(result)), "{result}: {text}");
        }
    }

    #[test]
    fn what_jobs_do_is_told_within_the_width_of_the_terminal() {
        let job = Job { name: "archive".to_owned(), description: "moves days ".repeat(20), ..Job::default() };
        let text = jobs_text(&ListJobsResponse { jobs: vec![job], ..ListJobsResponse::default() }, &NARROW);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn a_cell_has_no_colours_that_its_table_would_tear() {
        let runs = [State::Succeeded, State::Failed, State::Cancelled].map(ended).to_vec();
        let text = runs_text(&ListRunsResponse { runs, ..ListRunsResponse::default() }, &COLOURED);
        assert!(text.contains("  succeeded  ") && text.contains("  cancelled  "), "{text}");
    }

    #[test]
    fn a_bar_is_empty_until_a_total_is_known() {
        let bar = bar(&PLAIN);
        let lengths = [(0, 0), (3, 0), (3, 10), (12, 10)].map(|(done, total)| {
            draw(&bar, &Run { done, total, ..ended(State::Running) });
            bar.length()
        });
        assert_eq!(lengths, [None, None, Some(10), Some(12)]);
    }
}
