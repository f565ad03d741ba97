//! Serving on a real MLflow server that is stopped, killed and brought back while callers ask: they notice nothing.

use anyhow::{Context as _, Result, ensure};
use loadline_proto::health::{Severity, State};
use loadline_tests::{
    client::Clients,
    mlflow::MlflowServer,
    predictions::{Caller, FILES, Predictions, by},
    questions::{is_ok, mode_until, open},
    service::{Program, Service, Settings},
};
use std::time::Duration;
use tempfile::TempDir;
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(60);

fn started(folder: &TempDir, mlflow: &MlflowServer) -> Settings {
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let settings = Settings::new(Program::Serving, &file("log.db"), &file("store.db"));
    settings.set("serving.registry", &mlflow.url()).set("serving.look_every", "500ms")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_notice_nothing_of_an_mlflow_that_is_stopped_killed_and_brought_back() -> Result<()> {
    let (folder, mut mlflow) = (tempfile::tempdir()?, MlflowServer::start().await?);
    let mut service = Service::start(started(&folder, &mlflow)).await?;
    let (modes, models) = (Clients::lazy(service.serving_address())?, Predictions::of(&service)?);
    ensure!((models.register(FILES[0]).await?, models.register(FILES[1]).await?) == (1, 2));
    models.promote(1, 0).await?;
    let caller = Caller::start(&models);

    mlflow.stop()?;
    mode_until(&modes, "PR-08", PATIENCE, open(Severity::P2, "READY_STALE")).await?;
    caller.is_answered().await?;
    let refused = models.promote(2, 1).await.err().context("nobody can be asked")?;
    ensure!(refused.code() == Code::Unavailable, "{refused}");
    mlflow.go_on()?;
    mode_until(&modes, "PR-08", PATIENCE, is_ok).await?;
    models.promote(2, 1).await?;
    ensure!(by(&models.ask(0.1).await?)? == (2, None));

    mlflow.kill();
    mode_until(&modes, "PR-08", PATIENCE, open(Severity::P2, "READY_STALE")).await?;
    caller.is_answered().await?;
    let answers = caller.end().await?;
    ensure!(answers > 100, "{answers} answers");

    // A process that knew nothing starts from its disk, says how old that is, and forgets that once MLflow is back.
    service.kill();
    service.restart()?;
    service.ready().await?;
    let (version, age) = by(&models.ask(0.1).await?)?;
    ensure!(version == 2 && age.is_some(), "version {version}, {age:?} s");
    mode_until(&modes, "PR-08", PATIENCE, |mode| mode.state() == State::Open).await?;
    mlflow.restart().await?;
    mode_until(&modes, "PR-08", PATIENCE, is_ok).await?;
    models.promote(1, 2).await?;
    ensure!(by(&models.ask(0.1).await?)? == (1, None));
    Ok(())
}
