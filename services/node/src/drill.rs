//! `loadline drill`: failure modes caused on purpose in running services, and the proof that each is seen, contained, repaired
//! by its key, and over.

mod follow;
mod table;

use crate::{
    connect::{IngestAddress, Peer, QueryAddress, RollupAddress, ServingAddress},
    json,
    output::{BAD_NEWS, NOT_DONE, Output},
};
use anyhow::{Context as _, bail, ensure};
use follow::follow;
use futures::future::join_all;
use loadline_proto::health::{
    Drill, DrillRun, ListDrillsRequest, ListDrillsResponse, StartDrillRequest, drill_run::Verdict,
    drill_service_client::DrillServiceClient,
};
use serde_json::{Value, json};
use std::process::ExitCode;
use tonic::transport::Channel;

/// Show what can be drilled and what was proven, or drill it
///
/// A drill causes a failure mode in the running services, on data of its own, presses its key as an operator would, and takes the
/// cause away again. One mode after the other, whatever service it is of; controls, which cause nothing, all at once.
///
/// Exit codes: 0 all passed, or only shown; 1 one did not pass; 2 not done: nobody answers, drills are off, a real incident is
/// open, or there is no such drill.
#[derive(Debug, Clone, clap::Args)]
pub struct DrillArgs {
    /// Failure modes, such as AN-03; none: show what there is
    #[arg(value_name = "MODE")]
    modes: Vec<String>,
    /// Every mode that has a drill
    #[arg(long, conflicts_with = "modes")]
    all: bool,
    /// Everything but the fault: nothing may open
    #[arg(long)]
    control: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ingest: IngestAddress,
    #[command(flatten)]
    query: QueryAddress,
    #[command(flatten)]
    rollup: RollupAddress,
    #[command(flatten)]
    serving: ServingAddress,
}

/// A service, with the drills that it has.
struct Stage {
    service: &'static str,
    peer: Peer,
    drills: Vec<Drill>,
    build: String,
}

/// How a drill ended, or why it did not begin.
struct Ended {
    service: &'static str,
    mode: String,
    run: anyhow::Result<DrillRun>,
}

/// Runs the command.
///
/// # Errors
/// When a service does not answer, or has no such drill.
pub async fn run(args: DrillArgs) -> anyhow::Result<ExitCode> {
    let output = Output::stdout(args.json);
    let peers = [
        ("ingest", args.ingest.connect()?),
        ("query", args.query.connect()?),
        ("rollup", args.rollup.connect()?),
        ("serving", args.serving.connect()?),
    ];
    let stages = join_all(peers.map(|(service, peer)| stage(service, peer))).await;
    let stages = stages.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    if args.modes.is_empty() && !args.all {
        ensure!(!args.control, "say which control to run: a failure mode, or --all");
        return list(&output, &stages);
    }
    let wanted = wanted(&stages, &args.modes)?;
    let each = stages.iter().zip(&wanted).flat_map(|(stage, modes)| modes.iter().map(move |mode| (stage, *mode)));
    let drills = each.map(|(stage, mode)| stage.drill(&output, mode, args.control));
    let ended = if args.control { join_all(drills).await } else { one_after_the_other(drills).await };
    report(&output, &ended)
}

async fn stage(service: &'static str, peer: Peer) -> anyhow::Result<Stage> {
    let mut client = DrillServiceClient::<Channel>::new(peer.channel.clone());
    let ListDrillsResponse { drills, build } = peer.call(client.list(peer.request(ListDrillsRequest {}))).await?;
    Ok(Stage { service, peer, drills, build })
}

/// What each service has to drill: all it has, or what of it was asked for.
fn wanted<'a>(stages: &'a [Stage], modes: &[String]) -> anyhow::Result<Vec<Vec<&'a str>>> {
    let has = |stage: &'a Stage| stage.drills.iter().map(|drill| drill.failure_mode.as_str());
    if stages.iter().all(|stage| stage.drills.is_empty()) {
        bail!("drills are off in these services: start them with drills.enabled = true, which is the default of `loadline up`");
    }
    if let Some(unknown) = modes.iter().find(|mode| !stages.iter().flat_map(has).any(|known| known.eq_ignore_ascii_case(mode))) {
        let known: Vec<_> = stages.iter().flat_map(has).collect();
        bail!("{unknown} has no drill in these services: there are {}", known.join(", "));
    }
    let is_meant = |mode: &&str| modes.is_empty() || modes.iter().any(|asked| asked.eq_ignore_ascii_case(mode));
    Ok(stages.iter().map(|stage| has(stage).filter(is_meant).collect()).collect())
}

/// Over all services: that is the rule of drills.
async fn one_after_the_other<T>(drills: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut ended = Vec::new();
    for drill in drills {
        ended.push(drill.await);
    }
    ended
}

impl Stage {
    async fn drill(&self, output: &Output, mode: &str, control: bool) -> Ended {
        Ended { service: self.service, mode: mode.to_owned(), run: self.run(output, mode, control).await }
    }

    async fn run(&self, output: &Output, mode: &str, control: bool) -> anyhow::Result<DrillRun> {
        let mut client = DrillServiceClient::<Channel>::new(self.peer.channel.clone());
        let ask = self.peer.request(StartDrillRequest { failure_mode: mode.to_owned(), control });
        let run = self.peer.call(client.start(ask)).await?;
        follow(&self.peer, run, |run| table::progress(output, self.service, run)).await
    }
}

fn list(output: &Output, stages: &[Stage]) -> anyhow::Result<ExitCode> {
    if output.json {
        let listed = |stage: &Stage| {
            let answer = ListDrillsResponse { drills: stage.drills.clone(), build: stage.build.clone() };
            Ok(json!({ "service": stage.service, "listed": json::of("loadline.health.v1.ListDrillsResponse", &answer)? }))
        };
        let services = stages.iter().map(listed).collect::<anyhow::Result<Vec<_>>>()?;
        output.json(&json!({ "services": services }))?;
    } else {
        output.print(&table::listed(output, stages))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn report(output: &Output, ended: &[Ended]) -> anyhow::Result<ExitCode> {
    if output.json {
        let runs = ended.iter().map(told).collect::<anyhow::Result<Vec<_>>>()?;
        output.json(&json!({ "drills": runs }))?;
    } else {
        output.print(&table::verdicts(output, ended))?;
    }
    Ok(code(ended))
}

/// A run as JSON with its service; of one that did not begin, why.
fn told(ended: &Ended) -> anyhow::Result<Value> {
    let mut told = match &ended.run {
        Ok(run) => json::of("loadline.health.v1.DrillRun", run)?,
        Err(error) => json!({ "failure_mode": ended.mode, "error": format!("{error:#}") }),
    };
    told.as_object_mut().context("a run is an object")?.insert("service".to_owned(), ended.service.into());
    Ok(told)
}

fn code(ended: &[Ended]) -> ExitCode {
    let has_passed = |ended: &Ended| ended.run.as_ref().is_ok_and(|run| run.verdict() == Verdict::Passed);
    if ended.iter().any(|ended| ended.run.is_err()) {
        ExitCode::from(NOT_DONE)
    } else if ended.iter().all(has_passed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BAD_NEWS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::PLAIN;

    fn ended(mode: &str, verdict: Option<Verdict>) -> Ended {
        let run = |verdict: Verdict| DrillRun {
            id: "1".to_owned(),
            failure_mode: mode.to_owned(),
            verdict: verdict.into(),
            detected_after: Some(prost_types::Duration { seconds: 1, nanos: 250_000_000 }),
            detail: "seen\u{1b}[2J".to_owned(),
            ..DrillRun::default()
        };
        Ended { service: "ingest", mode: mode.to_owned(), run: verdict.map(run).context("refused") }
    }

    fn stage(service: &'static str, modes: &[&str]) -> Stage {
        let drill = |mode: &&str| Drill { failure_mode: (*mode).to_owned(), ..Drill::default() };
        let peer = Peer::new(service, "127.0.0.1:1").unwrap();
        Stage { service, peer, drills: modes.iter().map(drill).collect(), build: String::new() }
    }

    #[test]
    fn one_that_did_not_pass_is_bad_news_and_one_that_did_not_begin_is_not_done() {
        let coded = |verdicts: &[Option<Verdict>]| {
            let ended: Vec<_> = verdicts.iter().map(|verdict| ended("AN-01", *verdict)).collect();
            format!("{:?}", code(&ended))
        };
        assert_eq!(coded(&[Some(Verdict::Passed), Some(Verdict::Passed)]), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(coded(&[Some(Verdict::Passed), Some(Verdict::Late)]), format!("{:?}", ExitCode::from(BAD_NEWS)));
        assert_eq!(coded(&[Some(Verdict::Late), None]), format!("{:?}", ExitCode::from(NOT_DONE)));
    }

    #[tokio::test]
    async fn a_mode_is_drilled_where_it_has_a_drill_and_an_unknown_one_is_refused() {
        let stages = [stage("ingest", &["AN-01", "AN-03"]), stage("query", &["AN-10"])];
        let asked = |modes: &[&str]| wanted(&stages, &modes.iter().map(|mode| (*mode).to_owned()).collect::<Vec<_>>());
        assert_eq!(asked(&["an-03", "AN-10"]).unwrap(), [vec!["AN-03"], vec!["AN-10"]]);
        assert_eq!(asked(&[]).unwrap(), [vec!["AN-01", "AN-03"], vec!["AN-10"]]);
        let unknown = asked(&["AN-03", "AN-99"]).unwrap_err().to_string();
        assert!(unknown.contains("AN-99") && unknown.contains("AN-01, AN-03, AN-10"), "{unknown}");
        let off = [stage("ingest", &[])];
        assert!(wanted(&off, &[]).unwrap_err().to_string().contains("drills.enabled"));
    }

    #[test]
    fn verdicts_are_told_with_their_times_and_no_escape() {
        let table = table::verdicts(&PLAIN, &[ended("AN-01", Some(Verdict::Passed)), ended("AN-10", None)]);
        assert!(table.contains("AN-01") && table.contains("passed") && table.contains("1.2 s"), "{table}");
        assert!(table.contains("not begun") && table.contains("refused"), "{table}");
        assert!(!table.contains('\u{1b}'));
        let told = told(&ended("AN-01", Some(Verdict::Passed))).unwrap();
        assert_eq!((&told["verdict"], &told["service"]), (&json!("VERDICT_PASSED"), &json!("ingest")));
    }
}
