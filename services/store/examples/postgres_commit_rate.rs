//! How many events a second `commit` writes into PostgreSQL: with dedup keys of both kinds of UUID, and what the same
//! batches cost without them.
//!
//! ```text
//! cargo run --release -p loadline-store --example postgres_commit_rate -- [--url postgres://…] [--tuned] [--batches 200]
//! ```
//!
//! Without a URL it starts a private server, fsync on, with its own defaults, or (`--tuned`) with the settings that a server
//! of this load should have. Given one, it writes into that database: use an empty one.
#![allow(clippy::unwrap_used)] // a measurement: what fails ends it

#[path = "../tests/postgres_server.rs"]
mod postgres_server;

use loadline_domain::{
    Batch, Clock as _, Incarnation, Record, Rules, StreamName, Timestamp,
    progress::{Lease, Progress},
    time::SystemClock,
    usage::{Usage, UsageKey},
};
use loadline_proto::event::{BillingEvent, Channel, Event, event::Body};
use loadline_store::{DedupTable as _, Leases as _, Options, ProgressLedger as _, Store as _, postgres::PostgresStore};
use postgres_server::PostgresServer;
use prost::Message as _;
use sqlx::{Connection as _, PgConnection};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use uuid::Uuid;

const RECORDS: usize = 5_000;
/// One in so many events was sent before.
const REPEATED: usize = 100;
const TUNED: [&str; 5] =
    ["shared_buffers=2GB", "max_wal_size=8GB", "checkpoint_timeout=15min", "wal_compression=lz4", "wal_buffers=64MB"];

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| arguments.iter().position(|given| given == flag).and_then(|at| arguments.get(at + 1)).cloned();
    let batches: usize = after("--batches").map_or(200, |number| number.parse().unwrap());
    let settings: &[&str] = if arguments.iter().any(|given| given == "--tuned") { &TUNED } else { &[] };
    let (url, _server) = match after("--url") {
        Some(url) => (url, None),
        None => {
            let server = PostgresServer::start_with(settings).await;
            (server.url(), Some(server))
        }
    };
    let store = PostgresStore::connect(&url, Options::default()).unwrap();
    store.migrate().await.unwrap();
    println!("{batches} batches of {RECORDS} events, 1 in {REPEATED} repeated, settings {settings:?}");
    for (name, id) in [("V7", Uuid::now_v7 as fn() -> Uuid), ("V4", Uuid::new_v4)] {
        let rate = with_keys(&store, name, batches, id).await;
        println!("{name}: {rate:>8.0} events/s with dedup keys");
        println!("{}", tables(&store).await);
        let bare = open(&store, &format!("{name}-without-keys")).await.1;
        let rate = without_keys(&url, &bare, batches, id).await;
        println!("{name}: {rate:>8.0} events/s without");
    }
}

async fn open(store: &PostgresStore, name: &str) -> (Lease, Progress) {
    let stream = StreamName::new(name).unwrap();
    let lease = store.acquire(&stream, "bench", Duration::from_secs(3600)).await.unwrap().unwrap();
    let progress = store.open_stream(&lease, &Incarnation::new("one"), &[]).await.unwrap();
    (lease, progress)
}

async fn with_keys(store: &PostgresStore, name: &str, batches: usize, id: fn() -> Uuid) -> f64 {
    let (lease, mut progress) = open(store, name).await;
    let before = progress.applied;
    let mut events = Events::new(id);
    let mut busy = Duration::ZERO;
    for _ in 0..batches {
        let batch = events.batch(&progress);
        let began = Instant::now();
        progress = store.commit(&lease, &batch).await.unwrap();
        busy += began.elapsed();
    }
    assert_eq!(progress.unaccounted(), 0);
    assert_eq!(progress.applied - before, (batches * RECORDS) as u64);
    (batches * RECORDS) as f64 / busy.as_secs_f64()
}

/// The batch's statements less those about keys, on one connection.
async fn without_keys(url: &str, stream: &Progress, batches: usize, id: fn() -> Uuid) -> f64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let (mut events, mut busy) = (Events::new(id), Duration::ZERO);
    for _ in 0..batches {
        let batch = events.batch(stream);
        let began = Instant::now();
        let settled = batch.settle(&HashMap::new());
        let mut transaction = connection.begin().await.unwrap();
        sqlx::query("UPDATE stream_progress SET applied = applied + $2, committed_at = $3 WHERE stream = $1")
            .bind(stream.stream.as_str())
            .bind(RECORDS as i64)
            .bind(SystemClock.now().micros())
            .execute(&mut *transaction)
            .await
            .unwrap();
        upsert(&mut transaction, &settled.usage).await;
        let days: Vec<_> = settled.dirty_days().into_iter().collect();
        sqlx::query(
            "INSERT INTO dirty_day AS d SELECT account, day, $3 FROM unnest($1::text[], $2::int[]) AS given (account, day)
             ON CONFLICT (account, day) DO UPDATE SET version = greatest(d.version + 1, excluded.version)",
        )
        .bind(days.iter().map(|(account, _)| account.as_str()).collect::<Vec<_>>())
        .bind(days.iter().map(|(_, day)| day.index()).collect::<Vec<_>>())
        .bind(SystemClock.now().micros())
        .execute(&mut *transaction)
        .await
        .unwrap();
        sqlx::query("UPDATE stream_progress SET counted = counted + $2 WHERE stream = $1")
            .bind(stream.stream.as_str())
            .bind(RECORDS as i64)
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        busy += began.elapsed();
    }
    (batches * RECORDS) as f64 / busy.as_secs_f64()
}

async fn upsert(connection: &mut PgConnection, rows: &[(UsageKey, Usage)]) {
    let mut upsert = sqlx::query(
        "INSERT INTO usage_hourly AS u
         SELECT * FROM unnest($1::text[], $2::int[], $3::smallint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
             $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[])
         ON CONFLICT (account, hour, channel, country, currency) DO UPDATE SET
             events = u.events + excluded.events, messages = u.messages + excluded.messages,
             segments = u.segments + excluded.segments, amount_micros = u.amount_micros + excluded.amount_micros,
             delivered = u.delivered + excluded.delivered, undelivered = u.undelivered + excluded.undelivered,
             expired = u.expired + excluded.expired, rejected = u.rejected + excluded.rejected,
             failed = u.failed + excluded.failed, not_final = u.not_final + excluded.not_final",
    )
    .bind(rows.iter().map(|(key, _)| key.account.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.hour.index()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.channel.number() as i16).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.country.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.currency.as_str()).collect::<Vec<_>>());
    for column in 0..10 {
        upsert = upsert.bind(rows.iter().map(|(_, usage)| usage.columns()[column]).collect::<Vec<_>>());
    }
    upsert.execute(connection).await.unwrap();
}

async fn tables(store: &PostgresStore) -> String {
    let partitions = store.partitions().await.unwrap();
    partitions.into_iter().map(|(name, keys)| format!("    {name} {keys}")).collect::<Vec<_>>().join("\n")
}

/// Traffic of 300 accounts, few of them large, to four countries, as it happens.
struct Events {
    id: fn() -> Uuid,
    count: usize,
    before: Vec<bytes::Bytes>,
}

impl Events {
    fn new(id: fn() -> Uuid) -> Self {
        Self { id, count: 0, before: Vec::new() }
    }

    fn batch(&mut self, after: &Progress) -> Batch {
        let mut batch = Batch::new(after.stream.clone(), after.incarnation.clone(), after.applied);
        let now = SystemClock.now();
        let payloads: Vec<_> = (0..RECORDS).map(|_| self.next(now)).collect();
        for payload in &payloads {
            let record = Record { sequence: batch.to() + 1, recorded_at: now, payload: payload.clone() };
            batch.push(record, now, &Rules::default());
        }
        self.before = payloads;
        batch.seal()
    }

    fn next(&mut self, now: Timestamp) -> bytes::Bytes {
        self.count += 1;
        if let Some(sent) = self.before.get(self.count % RECORDS).filter(|_| self.count.is_multiple_of(REPEATED)) {
            return sent.clone();
        }
        let random = (self.id)().as_u128();
        let share = (random % 10_007) as f64 / 10_007.0;
        let (seconds, nanos) = now.parts();
        let event = BillingEvent {
            event_id: (self.id)().to_string(),
            account: format!("account-{:03}", (share * share * share * 300.0) as u32),
            occurred_at: Some(prost_types::Timestamp { seconds, nanos }),
            channel: if random.is_multiple_of(5) { Channel::Rcs } else { Channel::Sms }.into(),
            country: ["DE", "FR", "US", "GB"][(random / 7 % 4) as usize].to_owned(),
            currency: "EUR".to_owned(),
            messages: 1,
            segments: 2,
            amount_micros: 75_000,
        };
        Event { body: Some(Body::Billing(event)) }.encode_to_vec().into()
    }
}
