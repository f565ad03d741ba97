//! Usage, drawn again whenever it changes.

use super::{Client, UsageArgs, hourly};
use crate::{
    backoff::Backoff,
    connect::{Peer, is_lasting},
    json,
    output::Output,
    when::When,
};
use loadline_domain::{Clock as _, time::SystemClock};
use loadline_proto::query::{GetUsageResponse, WatchUsageRequest};
use std::{process::ExitCode, time::Duration};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

/// Shows it until Ctrl-C. A query service that goes away is waited for, once it has answered.
///
/// # Errors
/// When query never answers, or refuses the question.
pub async fn run(args: &UsageArgs, output: &Output, peer: &Peer, client: Client) -> anyhow::Result<ExitCode> {
    tokio::select! {
        result = follow(args, output, peer, client) => result.map(|()| ExitCode::SUCCESS),
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
    }
}

async fn follow(args: &UsageArgs, output: &Output, peer: &Peer, mut client: Client) -> anyhow::Result<()> {
    let mut answered = false;
    let mut backoff = Backoff::new(Duration::MAX);
    loop {
        let status = match until_broken(args, output, &mut client, &mut answered, &mut backoff).await? {
            Ended::NextHour => continue,
            Ended::Broken(status) => status,
        };
        let wait = backoff.failed().filter(|_| answered && !is_lasting(&status));
        let Some(wait) = wait else { return Err(peer.explain(&status)) };
        eprintln!("query is unavailable; trying again in {:.1} s", wait.as_secs_f64());
        tokio::time::sleep(wait).await;
    }
}

enum Ended {
    /// A range up to now has a new hour.
    NextHour,
    Broken(Status),
}

async fn until_broken(
    args: &UsageArgs,
    output: &Output,
    client: &mut Client,
    answered: &mut bool,
    backoff: &mut Backoff,
) -> anyhow::Result<Ended> {
    let until = next_hour(args);
    let question = WatchUsageRequest { usage: Some(args.question()), min_interval: None };
    let mut answers = match client.watch_usage(question).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return Ok(Ended::Broken(status)),
    };
    loop {
        match timeout_at(until, answers.message()).await {
            Err(_) => return Ok(Ended::NextHour),
            Ok(Ok(Some(answer))) => {
                (*answered, *backoff) = (true, Backoff::new(Duration::MAX));
                show(&answer, args, output)?;
            }
            Ok(Ok(None)) => return Ok(Ended::Broken(Status::unavailable("query closed the stream"))),
            Ok(Err(status)) => return Ok(Ended::Broken(status)),
        }
    }
}

/// When the question has to be asked anew: a relative range moves on with the hour.
fn next_hour(args: &UsageArgs) -> Instant {
    let now = SystemClock.now();
    let moves = matches!(args.to, When::Ago(_)) || matches!(args.from, When::Ago(_));
    let left = if moves { now.hour().end().since(now) } else { Duration::from_secs(365 * 86_400) };
    Instant::now() + left
}

fn show(answer: &GetUsageResponse, args: &UsageArgs, output: &Output) -> anyhow::Result<()> {
    if args.json {
        output.json_line(&json::of("loadline.query.v1.GetUsageResponse", answer)?)?;
    } else {
        output.clear()?;
        output.print(&hourly::text(answer, args, output))?;
    }
    Ok(())
}
