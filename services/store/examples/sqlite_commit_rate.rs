//! Events per second that the embedded store commits: `cargo run --release -p loadline-store --example sqlite_commit_rate`.
//! Arguments: batches (200), records a batch (5000), a folder (a temporary one).
//!
//! Folding is not timed: while a batch commits, ingest folds the next. On a busy machine the processor time tells more.

use loadline_domain::{Batch, Incarnation, Record, Rules, StreamName, Timestamp};
use loadline_proto::event::{BillingEvent, Channel, Event, event::Body};
use loadline_store::{Options, StoreError, open};
use prost::Message as _;
use std::time::{Duration, Instant};
use uuid::Uuid;

const START: Timestamp = Timestamp::from_micros(1_773_144_000_000_000);

#[tokio::main]
async fn main() -> Result<(), StoreError> {
    let argument = |at: usize| std::env::args().nth(at);
    let number = |at, default| argument(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (batches, records) = (number(1, 200), number(2, 5_000));
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = argument(3).map_or_else(|| temporary.path().to_owned(), Into::into);
    for (name, id) in [("v7", v7 as fn(Timestamp) -> Uuid), ("v4", |_| Uuid::new_v4())] {
        let url = format!("sqlite:{}", folder.join(format!("{name}.db")).display());
        let store = open(&url, Options::default()).await?;
        store.migrate().await?;
        let stream = StreamName::new("BILLING").expect("a stream name");
        let lease = store.acquire(&stream, "bench", Duration::from_secs(3_600)).await?.expect("a free lease");
        let incarnation = Incarnation::new("one");
        let mut applied = store.open_stream(&lease, &incarnation, &[]).await?.applied;
        let (mut spent, mut processor) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..batches {
            let batch = batch(&stream, &incarnation, applied, records, id);
            let (started, before) = (Instant::now(), processor_time());
            applied = store.commit(&lease, &batch).await?.applied;
            spent += started.elapsed();
            processor += processor_time().saturating_sub(before);
        }
        let rate = batches as f64 * records as f64 / spent.as_secs_f64();
        let (wall, processor) = (spent.as_secs_f64() * 1e3 / batches as f64, processor.as_secs_f64() * 1e3 / batches as f64);
        println!(
            "UUID{name}: {rate:.0} events/s; a batch of {records}: {wall:.1} ms, {processor:.1} ms of processor; {}",
            resident()
        );
    }
    Ok(())
}

/// Events of one second, of 500 accounts in 12 combinations of channel, country and currency.
fn batch(stream: &StreamName, incarnation: &Incarnation, applied: u64, records: u64, id: fn(Timestamp) -> Uuid) -> Batch {
    let mut batch = Batch::new(stream.clone(), incarnation.clone(), applied);
    for sequence in applied + 1..=applied + records {
        let at = START.plus(Duration::from_micros(sequence * 20));
        let mixed = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let (seconds, nanos) = at.parts();
        // A few accounts send most: the square of a uniform number.
        let share = (mixed % 1_000) as f64 / 1_000.0;
        let event = BillingEvent {
            event_id: id(at).to_string(),
            account: format!("account-{}", (share * share * 500.0) as u32),
            occurred_at: Some(prost_types::Timestamp { seconds, nanos }),
            channel: [Channel::Sms, Channel::Rcs][(mixed >> 10) as usize % 2].into(),
            country: ["DE", "FR", "GB"][(mixed >> 12) as usize % 3].to_owned(),
            currency: ["EUR", "USD"][(mixed >> 14) as usize % 2].to_owned(),
            messages: 1,
            segments: 1,
            amount_micros: 75_000,
        };
        let payload = Event { body: Some(Body::Billing(event)) }.encode_to_vec().into();
        batch.push(Record { sequence, recorded_at: at, payload }, at, &Rules::default());
    }
    batch.seal()
}

fn v7(at: Timestamp) -> Uuid {
    let (seconds, nanos) = at.parts();
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds as u64, nanos as u32))
}

/// Processor time of this process so far, in steps of 10 ms, as Linux tells it.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect());
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// Memory of this process, as Linux tells it.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or_else(|| "memory unknown".to_owned(), |size| format!("{} resident", size.trim()))
}
