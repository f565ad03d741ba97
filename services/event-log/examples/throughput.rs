//! Appends small records and reads them back: `cargo run --release --example throughput -- URL [RECORDS] [BATCH]`.

use bytes::Bytes;
use loadline_domain::StreamName;
use loadline_event_log::{Entry, NewRecord, ReadLimit, Retention, StreamSpec, open};
use std::time::{Duration, Instant};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "sqlite:data/throughput.db".into());
    let total: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let batch: u64 = arguments.next().map_or(Ok(5_000), |text| text.parse())?;

    let log = open(&url).await?;
    let name = StreamName::new("THROUGHPUT")?;
    let retention = Retention { max_age: Some(Duration::from_secs(3_600)), max_bytes: None };
    log.ensure(&StreamSpec { name: name.clone(), subject: "throughput".into(), retention }).await?;
    let start = log.bounds(&name).await?;

    let began = Instant::now();
    let payload = Bytes::from(vec![7; 120]);
    for from in (0..total).step_by(batch as usize) {
        let records = from..total.min(from + batch);
        let record = |n| NewRecord { key: format!("account-{}", n % 1_000), payload: payload.clone(), traceparent: None };
        log.append(&name, records.map(record).collect()).await?;
    }
    report("appended", total, began);

    let (began, limit) = (Instant::now(), ReadLimit { records: batch as usize, bytes: 8 << 20 });
    let (mut next, mut reads) = (start.last + 1, 0u64);
    while next <= start.last + total {
        let entries = log.read(&name, &start.incarnation, next, limit, Duration::from_secs(5)).await?;
        next = entries.last().map_or(next, Entry::last) + 1;
        reads += 1;
    }
    report("read", total, began);
    println!("{} records a read", total / reads.max(1));
    Ok(())
}

fn report(what: &str, records: u64, began: Instant) {
    let elapsed = began.elapsed();
    println!("{what} {records} records in {elapsed:.2?}: {:.0}/s", records as f64 / elapsed.as_secs_f64());
}
