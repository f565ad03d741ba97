//! One fault at a time, while events are published: nothing is lost or counted twice, and counting goes on by itself.

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use loadline_domain::{
    Timestamp,
    time::{Clock as _, SystemClock},
};
use loadline_proto::ingest::{ListLossesRequest, ListStreamsRequest, Stream, loss::Cause, stream::State};
use loadline_tests::{
    events::{billing, payload},
    journal::{Journal, Position},
    log,
    nats::NatsVersion,
    service::{Program, Service, Settings},
    workload::{Item, Mix, Nature, Topic, Workload},
    world::{Backends, STREAMS, World},
};
use std::time::Duration;
use tokio::time;

/// Leases that expire soon, so that another owner need not wait long; batches small enough for a fault to fall between two.
const HASTY: [(&str, &str); 2] = [("ingest.lease_ttl", "2s"), ("ingest.batch_records", "300")];
const REAL: Backends = Backends::Real(NatsVersion::Nats215);

fn now() -> Timestamp {
    SystemClock.now()
}

/// A world with its workload.
struct Scenario {
    world: World,
    workload: Workload,
    journal: Journal,
}

impl Scenario {
    async fn start(seed: u64) -> Result<Self> {
        let world = World::start_with(REAL, &HASTY).await?;
        Ok(Self { world, workload: Workload::new(seed, Mix::default()), journal: Journal::default() })
    }

    async fn publish(&mut self, count: usize) -> Result<()> {
        let items = self.workload.batch(now(), count);
        self.world.publish_to_nats(&items, &mut self.journal).await
    }

    /// The store agrees with the log, and with what the workload meant.
    async fn ensure_exact(&mut self) -> Result<()> {
        let snapshot = self.world.ensure_exact(&mut self.journal).await?;
        anyhow::ensure!(
            self.workload.totals().differences(&snapshot.usage).is_empty(),
            "the log does not hold what was published"
        );
        Ok(())
    }
}

#[tokio::test]
async fn a_killed_ingest_goes_on_where_its_last_commit_was() -> Result<()> {
    let mut scenario = Scenario::start(1).await?;
    for _ in 0..5 {
        scenario.publish(2_000).await?;
        scenario.world.ingest.kill();
        scenario.publish(500).await?;
        scenario.world.ingest.restart()?;
        scenario.world.ingest.ready().await?;
    }
    scenario.ensure_exact().await
}

#[tokio::test]
async fn a_killed_postgres_holds_all_of_a_batch_or_nothing() -> Result<()> {
    let mut scenario = Scenario::start(2).await?;
    for _ in 0..3 {
        scenario.publish(2_000).await?;
        let postgres = scenario.world.postgres.as_mut().context("PostgreSQL")?;
        postgres.kill()?;
        postgres.restart().await?;
    }
    scenario.ensure_exact().await
}

#[tokio::test]
async fn a_killed_nats_server_is_read_on_where_the_store_stands() -> Result<()> {
    let mut scenario = Scenario::start(3).await?;
    for _ in 0..3 {
        scenario.publish(2_000).await?;
        let nats = scenario.world.nats.as_mut().context("NATS")?;
        nats.kill();
        nats.restart().await?;
    }
    scenario.ensure_exact().await
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_counted_once() -> Result<()> {
    let mut scenario = Scenario::start(4).await?;
    for lost in 1..=5 {
        scenario.world.to_postgres.as_ref().context("a proxy")?.lose_reply_to_commit();
        scenario.publish(500).await?;
        scenario.world.drained().await?;
        assert_eq!(scenario.world.to_postgres.as_ref().context("a proxy")?.lost(), lost);
    }
    scenario.ensure_exact().await
}

#[tokio::test]
async fn a_commit_whose_request_is_lost_is_counted_once() -> Result<()> {
    let mut scenario = Scenario::start(5).await?;
    for lost in 1..=5 {
        let proxy = scenario.world.to_postgres.as_ref().context("a proxy")?;
        proxy.lose_request(loadline_tests::proxy::POSTGRES_COMMIT);
        scenario.publish(500).await?;
        scenario.world.drained().await?;
        assert_eq!(scenario.world.to_postgres.as_ref().context("a proxy")?.lost(), lost);
    }
    scenario.ensure_exact().await
}

#[tokio::test]
async fn half_open_connections_are_noticed_and_replaced() -> Result<()> {
    let mut scenario = Scenario::start(6).await?;
    for _ in 0..2 {
        scenario.publish(1_000).await?;
        let world = &scenario.world;
        let proxies = [world.to_nats.as_ref().context("a proxy")?, world.to_postgres.as_ref().context("a proxy")?];
        for proxy in proxies {
            proxy.half_open();
            time::sleep(Duration::from_secs(3)).await;
            proxy.cut();
            proxy.pass();
        }
    }
    scenario.publish(1_000).await?;
    scenario.ensure_exact().await
}

#[tokio::test]
async fn a_paused_old_owner_is_fenced_off() -> Result<()> {
    let mut scenario = Scenario::start(7).await?;
    scenario.publish(3_000).await?;
    scenario.world.ingest.pause()?;
    let (to_nats, to_postgres) = (scenario.world.to_nats.as_ref(), scenario.world.to_postgres.as_ref());
    let log_seen = loadline_tests::nats::NatsServer::url_at(to_nats.context("a proxy")?.address());
    let postgres = scenario.world.postgres.as_ref().context("PostgreSQL")?;
    let store_seen = postgres.url_through(&scenario.world.store, to_postgres.context("a proxy")?.address())?;
    let settings = Settings::new(Program::Ingest, &log_seen, &store_seen);
    let settings = HASTY.iter().fold(settings, |settings, (key, value)| settings.set(key, value));
    let mut other = Service::start(settings).await?;
    std::mem::swap(&mut scenario.world.ingest, &mut other);
    scenario.publish(2_000).await?;
    scenario.world.drained().await?;
    // The old owner wakes up with a batch in its hands.
    other.resume()?;
    scenario.publish(2_000).await?;
    scenario.ensure_exact().await
}

#[tokio::test]
async fn retention_passing_unread_records_is_written_to_the_ledger_to_the_message() -> Result<()> {
    let mut scenario = Scenario::start(8).await?;
    scenario.publish(1_000).await?;
    scenario.world.drained().await?;
    scenario.world.ingest.kill();
    let context = jetstream::new(async_nats::connect(&scenario.world.log).await?);
    let stream = context.get_stream("BILLING").await?;
    scenario.publish(2_000).await?;
    log::read(&scenario.world.log, &STREAMS, &mut scenario.journal).await?;
    let last = stream.get_info().await?.state.last_sequence;
    stream.purge().sequence(last - 100).await?;
    scenario.world.ingest.restart()?;
    scenario.world.ingest.ready().await?;
    let snapshot = scenario.world.ensure_exact(&mut scenario.journal).await?;
    let lost: u64 = snapshot.losses.iter().map(|loss| loss.last - loss.first.sequence + 1).sum();
    assert!(lost > 500, "{lost}");
    let mut clients = scenario.world.ingest.ingest()?;
    let told = clients.streams.list_losses(ListLossesRequest::default()).await?.into_inner().losses;
    assert!(told.iter().all(|loss| loss.cause() == Cause::Retention || loss.cause() == Cause::Deleted), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_deleted_and_made_again_starts_anew_and_loses_what_was_unread() -> Result<()> {
    let mut scenario = Scenario::start(9).await?;
    scenario.publish(1_000).await?;
    scenario.world.drained().await?;
    log::read(&scenario.world.log, &STREAMS, &mut scenario.journal).await?;
    let context = jetstream::new(async_nats::connect(&scenario.world.log).await?);
    let config = context.get_stream("BILLING").await?.cached_info().config.clone();
    context.delete_stream("BILLING").await?;
    context.create_stream(config).await?;
    scenario.publish(1_000).await?;
    // Progress of the old incarnation is no longer current: wait for the new one.
    let snapshot = scenario.world.ensure_exact(&mut scenario.journal).await?;
    assert_eq!(snapshot.counters.keys().filter(|(stream, _)| stream == "BILLING").count(), 2);
    assert!(snapshot.losses.is_empty(), "everything had been read: {:?}", snapshot.losses);
    Ok(())
}

/// The owner has a batch in hand when the store goes away; what comes after it is known to this process alone.
#[tokio::test]
async fn a_stream_made_again_twice_while_the_store_is_away_loses_what_was_there_to_the_message() -> Result<()> {
    let mut scenario = Scenario::start(12).await?;
    scenario.publish(1_000).await?;
    scenario.world.drained().await?;
    scenario.world.postgres.as_mut().context("PostgreSQL")?.kill()?;
    let context = jetstream::new(async_nats::connect(&scenario.world.log).await?);
    // More than the owner can hold: three batches of four times the configured size, committed when the store is back.
    for count in [7_000, 500] {
        scenario.publish(count).await?;
        log::read(&scenario.world.log, &STREAMS, &mut scenario.journal).await?;
        // The log's end is looked at several times a second.
        time::sleep(Duration::from_secs(3)).await;
        let config = context.get_stream("BILLING").await?.cached_info().config.clone();
        context.delete_stream("BILLING").await?;
        context.create_stream(config).await?;
    }
    scenario.world.postgres.as_mut().context("PostgreSQL")?.restart().await?;
    scenario.publish(500).await?;
    let snapshot = scenario.world.ensure_exact(&mut scenario.journal).await?;
    assert_eq!(snapshot.counters.keys().filter(|(stream, _)| stream == "BILLING").count(), 3);
    let incarnations: std::collections::BTreeSet<_> = snapshot.losses.iter().map(|loss| &loss.first.incarnation).collect();
    assert_eq!(incarnations.len(), 2, "{:?}", snapshot.losses);
    Ok(())
}

#[tokio::test]
async fn a_stream_of_nothing_readable_is_stopped_and_not_drained_into_the_dead_letters() -> Result<()> {
    let scenario = Scenario::start(10).await?;
    scenario.world.publish_to_nats(&noise(1_000), &mut Journal::default()).await?;
    let stream = stopped(&scenario.world).await?;
    let progress = stream.progress.context("its progress")?;
    assert!(progress.dead_lettered < 200, "{} undecodable records were taken", progress.dead_lettered);
    assert_eq!(stream.unaccounted, 0);
    Ok(())
}

/// Its owner's crash right behind that commit must not let the next owner take as many again.
#[tokio::test]
async fn a_stream_of_nothing_readable_is_stopped_by_the_very_commit_that_takes_the_last() -> Result<()> {
    let mut scenario = Scenario::start(13).await?;
    scenario.world.query.kill();
    scenario.world.ingest.pause()?;
    scenario.world.publish_to_nats(&noise(1_000), &mut Journal::default()).await?;
    let proxy = scenario.world.to_postgres.as_ref().context("a proxy")?;
    proxy.lose_reply_to_commit();
    scenario.world.ingest.resume()?;
    while proxy.lost() == 0 {
        time::sleep(Duration::from_millis(1)).await;
    }
    scenario.world.ingest.kill();
    scenario.world.ingest.restart()?;
    scenario.world.ingest.ready().await?;
    let progress = stopped(&scenario.world).await?.progress.context("its progress")?;
    assert!(progress.dead_lettered < 200, "{} undecodable records were taken", progress.dead_lettered);
    Ok(())
}

/// Records of the billing stream that are no events.
fn noise(count: u32) -> Vec<Item> {
    let noise = |n: u32| Item {
        topic: Topic::Billing,
        account: "acct-000".into(),
        payload: [&[0x0f][..], &n.to_le_bytes()].concat().into(),
        nature: Nature::Undecodable,
    };
    (0..count).map(noise).collect()
}

/// Waits until a stream stands still, and returns it.
async fn stopped(world: &World) -> Result<Stream> {
    let mut clients = world.ingest.ingest()?;
    let stopped = async {
        loop {
            let streams = clients.streams.list(ListStreamsRequest {}).await?.into_inner().streams;
            if let Some(stream) = streams.into_iter().find(|stream| stream.state() == State::Stopped) {
                return anyhow::Ok(stream);
            }
            time::sleep(Duration::from_millis(100)).await;
        }
    };
    time::timeout(Duration::from_secs(30), stopped).await.context("the stream was not stopped")?
}

#[tokio::test]
async fn a_message_of_ten_megabytes_is_refused_or_dead_and_blocks_nothing() -> Result<()> {
    let mut scenario = Scenario::start(11).await?;
    let big = Item {
        topic: Topic::Billing,
        account: "acct-000".into(),
        payload: vec![0x0f; 900_000].into(),
        nature: Nature::Undecodable,
    };
    scenario.world.publish_to_nats(&[big], &mut scenario.journal).await?;
    let ten =
        Item { payload: vec![0x0f; 10_000_000].into(), topic: Topic::Billing, account: "a".into(), nature: Nature::Undecodable };
    assert!(scenario.world.publish_to_nats(&[ten], &mut Journal::default()).await.is_err());
    let sound = payload(billing("acct-000", "after", now()));
    let item = Item { topic: Topic::Billing, account: "acct-000".into(), payload: sound, nature: Nature::New };
    scenario.world.publish_to_nats(&[item], &mut scenario.journal).await?;
    let snapshot = scenario.world.ensure_exact(&mut scenario.journal).await?;
    assert_eq!(snapshot.letters.len(), 1);
    assert_eq!(snapshot.letters[0].position, Position { sequence: 1, ..snapshot.letters[0].position.clone() });
    Ok(())
}
