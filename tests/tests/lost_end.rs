//! A log that comes back without its end, from a backup: its positions go to new records, which must not pass for read.

use anyhow::{Context as _, Result, ensure};
use loadline_domain::time::{Clock as _, SystemClock};
use loadline_proto::ingest::{ListStreamsRequest, Stream, stream::State};
use loadline_tests::{
    journal::Journal,
    nats::NatsVersion,
    ports::{self, Ready},
    workload::{Mix, Workload},
    world::{Backends, World},
};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use std::{fs, path::Path, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

/// Publishes so many events through gRPC.
async fn publish(world: &World, workload: &mut Workload, count: usize) -> Result<()> {
    let items = workload.batch(SystemClock.now(), count);
    world.publish(&items, &mut Journal::default()).await.map(drop)
}

async fn streams(world: &World) -> Result<Vec<Stream>> {
    Ok(world.ingest.ingest()?.streams.list(ListStreamsRequest {}).await?.into_inner().streams)
}

fn applied(streams: &[Stream]) -> Vec<u64> {
    streams.iter().map(|stream| stream.progress.as_ref().map_or(0, |progress| progress.applied)).collect()
}

/// Waits until every stream stands still and says why, where it was when its log lost its end.
async fn ensure_stopped(world: &World, applied_before: &[u64]) -> Result<()> {
    let stopped = ports::wait_until("the stop of every stream", PATIENCE, || async {
        let Ok(streams) = streams(world).await else { return Ok(Ready::No("no answer".to_owned())) };
        let is_stopped = |stream: &Stream| stream.state() == State::Stopped && stream.state_detail.contains("lost its end");
        Ok(if streams.iter().all(is_stopped) { Ready::Yes } else { Ready::No(format!("{streams:?}")) })
    });
    stopped.await.with_context(|| format!("ingest wrote:\n{}", world.ingest.output()))?;
    ensure!(applied(&streams(world).await?) == applied_before, "positions passed for read: {:?}", streams(world).await?);
    Ok(())
}

/// What every stream has applied, which must be more than before.
async fn drained_past(world: &World, before: &[u64]) -> Result<Vec<u64>> {
    world.drained().await?;
    let now = applied(&streams(world).await?);
    ensure!(now.iter().zip(before).all(|(now, before)| now > before), "nothing was appended to a stream: {before:?} {now:?}");
    Ok(now)
}

/// A copy with what is still in the write-ahead log, which a copy of the file alone would lack.
async fn back_up(file: &str, to: &Path) -> Result<()> {
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await?;
    sqlx::query("VACUUM INTO ?1").bind(to.to_str().context("a path of text")?).execute(&mut connection).await?;
    sqlx::Connection::close(connection).await?;
    Ok(())
}

/// Puts a copy in place of the file and of its write-ahead log, which would bring back what came after.
fn restore(file: &str, from: &Path) -> Result<()> {
    for suffix in ["-wal", "-shm"] {
        match fs::remove_file(format!("{file}{suffix}")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    fs::copy(from, file)?;
    Ok(())
}

#[tokio::test]
async fn an_embedded_log_restored_from_a_backup_stops_its_streams() -> Result<()> {
    for refill in [0, 100, 2_000] {
        let mut world = World::start(Backends::Embedded).await?;
        world.query.kill();
        let mut workload = Workload::new(12, Mix::sound());
        let file = world.log.strip_prefix("sqlite:").context("a file")?.to_owned();
        let folder = tempfile::tempdir()?;
        let backup = folder.path().join("backup.db");
        publish(&world, &mut workload, 400).await?;
        let at_backup = drained_past(&world, &[0, 0]).await?;
        back_up(&file, &backup).await?;
        publish(&world, &mut workload, 400).await?;
        let at_loss = drained_past(&world, &at_backup).await?;
        world.ingest.stop(Duration::from_secs(20)).await?;
        restore(&file, &backup)?;
        world.ingest.restart()?;
        world.ingest.ready().await?;
        // Not enough to reach the position where the store stands; or more than that, perhaps before the owner has looked.
        if refill > 0 {
            publish(&world, &mut workload, refill).await?;
        }
        ensure_stopped(&world, &at_loss).await.with_context(|| format!("refilled with {refill}"))?;
    }
    Ok(())
}

/// Under a running ingest: it sees a server that goes away and comes back.
#[tokio::test]
async fn a_nats_server_restored_from_a_backup_stops_its_streams() -> Result<()> {
    for refill in [0, 100, 2_000] {
        let mut world = World::start(Backends::Real(NatsVersion::Nats215)).await?;
        let mut workload = Workload::new(13, Mix::sound());
        let folder = tempfile::tempdir()?;
        publish(&world, &mut workload, 400).await?;
        let at_backup = drained_past(&world, &[0, 0]).await?;
        let nats = world.nats.as_mut().context("NATS")?;
        nats.kill();
        nats.back_up(folder.path())?;
        nats.restart().await?;
        publish_when_it_is_back(&world, &mut workload, 400).await?;
        let at_loss = drained_past(&world, &at_backup).await?;
        let nats = world.nats.as_mut().context("NATS")?;
        nats.kill();
        nats.restore(folder.path())?;
        nats.restart().await?;
        if refill > 0 {
            // Past the API: the streams are full again before ingest has its connection back.
            let items = workload.batch(SystemClock.now(), refill);
            world.publish_to_nats(&items, &mut Journal::default()).await?;
        }
        ensure_stopped(&world, &at_loss).await.with_context(|| format!("refilled with {refill}"))?;
    }
    Ok(())
}

async fn publish_when_it_is_back(world: &World, workload: &mut Workload, count: usize) -> Result<()> {
    let items = workload.batch(SystemClock.now(), count);
    ports::wait_until("publishing", PATIENCE, || async {
        Ok(match world.publish(&items, &mut Journal::default()).await {
            Ok(_) => Ready::Yes,
            Err(error) => Ready::No(error.to_string()),
        })
    })
    .await
}
