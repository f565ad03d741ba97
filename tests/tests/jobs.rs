//! `JobService`, as an operator's program uses it.

use anyhow::{Context as _, Result, ensure};
use loadline_proto::rollup::{
    CancelRunRequest, GetRunRequest, ListJobsRequest, ListRunsRequest, RunJobRequest, RunJobResponse, WatchRunRequest, run::State,
};
use loadline_tests::{
    client::Clients,
    service::{Program, Service, Settings},
};
use tonic::Code;

async fn rollup() -> Result<(Service, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let settings = Settings::new(Program::Rollup, &file("log.db"), &file("store.db")).set("rollup.jobs.retention.schedule", "");
    Ok((Service::start(settings).await?, folder))
}

async fn run(clients: &mut Clients, job: &str, key: &str, parameters: &str) -> Result<RunJobResponse, tonic::Status> {
    let request = RunJobRequest { job: job.to_owned(), idempotency_key: key.to_owned(), parameters: parameters.to_owned() };
    Ok(clients.jobs.run(request).await?.into_inner())
}

#[tokio::test]
async fn jobs_are_listed_run_once_a_key_watched_and_found_again() -> Result<()> {
    let (rollup, _folder) = rollup().await?;
    let mut clients = rollup.rollup()?;
    let listed = clients.jobs.list(ListJobsRequest {}).await?.into_inner();
    let names: Vec<_> = listed.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["daily_rollup", "archive", "tidy_history", "purge_dedup", "retention", "verify"]);
    assert!(listed.jobs.iter().all(|job| job.schedule.is_empty() == job.next_at.is_none() && !job.description.is_empty()));
    let first = run(&mut clients, "retention", "once", "").await?;
    let again = run(&mut clients, "retention", "once", "{}").await?;
    ensure!(first.created && !again.created, "{first:?} {again:?}");
    let id = first.run.context("a run")?.id;
    assert_eq!(again.run.context("a run")?.id, id);
    let mut watched = clients.jobs.watch(WatchRunRequest { id: id.clone() }).await?.into_inner();
    let mut last = None;
    while let Some(change) = watched.message().await? {
        last = change.run;
    }
    assert_eq!(last.context("a run")?.state(), State::Succeeded);
    let found = clients.jobs.get(GetRunRequest { id: id.clone() }).await?.into_inner().run.context("a run")?;
    ensure!(found.result.contains("resolved_dead_letters") && found.idempotency_key == "once", "{found:?}");
    let cancelled = clients.jobs.cancel(CancelRunRequest { id }).await?.into_inner().run.context("a run")?;
    assert_eq!(cancelled.state(), State::Succeeded, "what has ended stays as it is");
    let runs = clients.jobs.list_runs(ListRunsRequest { job: "retention".to_owned(), ..Default::default() }).await?.into_inner();
    assert_eq!(runs.runs.len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_what_to_send_instead() -> Result<()> {
    let (rollup, _folder) = rollup().await?;
    let mut clients = rollup.rollup()?;
    let unknown = run(&mut clients, "tidy", "", "").await.unwrap_err();
    ensure!(unknown.code() == Code::NotFound && unknown.message().contains("daily_rollup, archive"), "{unknown}");
    for (job, key, parameters, says) in [
        ("archive", "", "{\"keep_days\": 0}", "from 1 to 36500"),
        ("archive", "", "keep_days=3", "no JSON object"),
        ("retention", "", "{\"all\": true}", "takes none"),
        ("verify", "", "{\"from\": \"2026-11-21T10:00:00Z\"}", "without `to`"),
        ("retention", &*"k".repeat(129), "", "128 bytes"),
    ] {
        let refused = run(&mut clients, job, key, parameters).await.unwrap_err();
        ensure!(refused.code() == Code::InvalidArgument && refused.message().contains(says), "{refused}");
    }
    run(&mut clients, "archive", "mine", "{\"keep_days\": 30}").await?;
    let other = run(&mut clients, "archive", "mine", "{\"keep_days\": 40}").await.unwrap_err();
    ensure!(other.code() == Code::InvalidArgument && other.message().contains("keep_days"), "{other}");
    let no_id = clients.jobs.get(GetRunRequest { id: "7".to_owned() }).await.unwrap_err();
    assert_eq!(no_id.code(), Code::InvalidArgument);
    let absent = GetRunRequest { id: "01890000-0000-7000-8000-000000000000".to_owned() };
    assert_eq!(clients.jobs.get(absent).await.unwrap_err().code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn mistakes_of_schedules_are_all_named_before_anything_starts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("wrong.toml");
    std::fs::write(
        &file,
        "[rollup]\ntime_zone = \"Mars/Olympus\"\nhot_days = 0\n[rollup.jobs.archive]\nschedule = \"61 * * * *\"\njitter = \"2h\"\n\
         [rollup.jobs.daily_rollup]\nschedule = \"*/5 * * * *\"\njitter = \"5m\"\n\
         [rollup.jobs.verify]\nschedule = \"0 0 30 2 *\"\n\
         [history]\nurl = \"ftp://x\"\ntimeout = \"0s\"\n[query]\nhistory_patience = \"2m\"\n",
    )?;
    let checked = std::process::Command::new(loadline_tests::binaries::ours("loadline")?)
        .args(["config", "check", "--config"])
        .arg(&file)
        .output()?;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    ensure!(!checked.status.success(), "{said}");
    for key in [
        "rollup.time_zone",
        "rollup.hot_days",
        "rollup.jobs.archive.schedule",
        "rollup.jobs.archive.jitter",
        "rollup.jobs.daily_rollup.jitter",
        "less than 5m, the shortest time between two runs",
        "rollup.jobs.verify.schedule = 0 0 30 2 *: never comes",
        "history.url",
        "history.timeout",
        "query.history_patience",
    ] {
        ensure!(said.contains(key), "{key} is not named: {said}");
    }
    Ok(())
}
