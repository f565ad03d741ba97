//! Serving with a real Redis server that is killed, stopped, emptied and filled with rubbish while callers ask: they notice nothing.

use anyhow::{Result, ensure};
use loadline_proto::health::Severity;
use loadline_tests::{
    client::Clients,
    predictions::{Caller, FILES, Predictions, by},
    questions::{is_ok, mode_until, open},
    redis::RedisServer,
    service::{Program, Service, Settings},
};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

fn sharing(folder: &TempDir, redis: &RedisServer) -> Settings {
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let registry = format!("file:{}", folder.path().join("models").display());
    let settings = Settings::new(Program::Serving, &file("log.db"), &file("store.db"));
    let settings = settings.set("serving.registry", &registry).set("serving.look_every", "500ms");
    settings.set("serving.cache.shared", &redis.url())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_notice_nothing_of_a_redis_that_is_killed_stopped_emptied_or_full_of_rubbish() -> Result<()> {
    let (folder, mut redis) = (tempfile::tempdir()?, RedisServer::start().await?);
    let service = Service::start(sharing(&folder, &redis)).await?;
    let (modes, models) = (Clients::lazy(service.serving_address())?, Predictions::of(&service)?);
    ensure!((models.register(FILES[0]).await?, models.register(FILES[1]).await?) == (1, 2));
    models.promote(1, 0).await?;
    mode_until(&modes, "PR-11", PATIENCE, is_ok).await?;
    let caller = Caller::start(&models);
    caller.is_answered().await?;
    let kept = redis.command("DBSIZE").await?;
    ensure!(kept.trim_start_matches(':').trim().parse::<u64>()? > 0, "nothing was kept there: {kept}");

    redis.kill();
    mode_until(&modes, "PR-11", PATIENCE, open(Severity::P2, "models answer what is not in memory")).await?;
    caller.is_answered().await?;
    models.promote(2, 1).await?;
    ensure!(by(&models.ask(0.1).await?)?.0 == 2, "a promotion needs no cache");
    redis.restart().await?;
    mode_until(&modes, "PR-11", PATIENCE, is_ok).await?;

    redis.stop()?;
    mode_until(&modes, "PR-11", PATIENCE, open(Severity::P2, "models answer what is not in memory")).await?;
    caller.is_answered().await?;
    redis.go_on()?;
    mode_until(&modes, "PR-11", PATIENCE, is_ok).await?;
    caller.end().await?;

    // Another process finds what this one was answered; in between somebody else wrote over all of it.
    let fill = "EVAL \"for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('SET', key, 'rubbish') end return 1\" 0";
    ensure!(redis.command(fill).await?.starts_with(":1"));
    let other = TempDir::new()?;
    let neighbour =
        Service::start(sharing(&folder, &redis).set("serving.artifacts", &other.path().display().to_string())).await?;
    let caller = Caller::start(&Predictions::of(&neighbour)?);
    caller.is_answered().await?;
    ensure!(caller.end().await? > 10);
    mode_until(&Clients::lazy(neighbour.serving_address())?, "PR-12", PATIENCE, is_ok).await?;
    Ok(())
}
