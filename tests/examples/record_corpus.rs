//! Records a corpus of log records, and the totals they had. Run once for each new kind of event, under a new name: what was
//! recorded before is never overwritten.
//!
//! ```text
//! cargo run -p loadline-tests --example record_corpus -- NAME
//! ```

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use loadline_domain::Timestamp;
use loadline_proto::event::{BillingEvent, DeliveryReceipt, DeliveryStatus};
use loadline_tests::{
    corpus::{self, Recorded},
    events::{billing, payload, receipt},
    workload::{Mix, Workload},
};
use std::{env, fs, path::Path, time::Duration};

/// 2026-11-21T23:59:58Z: the next records are of another hour and day.
const START: Timestamp = Timestamp::from_micros(1_795_305_598_000_000);

fn main() -> Result<()> {
    let name = env::args().nth(1).context("a name for the corpus, such as events-v1")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let path = folder.join(format!("{name}.bin"));
    ensure!(!path.exists(), "{} is recorded; choose another name", path.display());
    let mut records = by_hand();
    let mut workload = Workload::new(1, Mix::default());
    for second in 0..300 {
        let now = START.plus(Duration::from_secs(second));
        records.extend(workload.batch(now, 1).into_iter().map(|item| (now, item.payload)));
    }
    fs::write(&path, corpus::encode(&records))?;
    fs::write(path.with_extension("txt"), corpus::totals(&records))?;
    println!("{}: {} records", path.display(), records.len());
    Ok(())
}

/// What a generator does not think of.
fn by_hand() -> Vec<Recorded> {
    let hour = Duration::from_secs(3600);
    let id = "0193500a-6d00-7000-8000-000000000001";
    let sound = billing("acme", id, START);
    let received = receipt("acme", "m-1", START, DeliveryStatus::Delivered);
    let mut with_newer_field = payload(sound.clone()).to_vec();
    // Field 15 of the envelope, length-delimited, three bytes: a schema of the future.
    with_newer_field.extend([0x7a, 3, 1, 2, 3]);
    let payloads: Vec<Bytes> = vec![
        payload(sound.clone()),
        payload(sound.clone()),
        Bytes::from(with_newer_field),
        payload(BillingEvent { amount_micros: 1, ..sound.clone() }),
        payload(BillingEvent { account: "other".into(), ..sound.clone() }),
        payload(billing("acme", "text-id", START)),
        payload(billing("other", "text-id", START)),
        payload(BillingEvent {
            event_id: "max".into(),
            amount_micros: 1_000_000_000_000,
            messages: 1_000_000,
            segments: 1_000_000,
            ..sound.clone()
        }),
        payload(BillingEvent {
            event_id: "free".into(),
            amount_micros: 0,
            currency: String::new(),
            country: String::new(),
            ..sound.clone()
        }),
        payload(BillingEvent { event_id: "1 h".into(), ..billing("acme", "", START.minus(hour)) }),
        payload(billing("acme", "47 h", START.minus(hour * 47))),
        payload(billing("acme", "49 h", START.minus(hour * 49))),
        payload(billing("acme", "next day", START.plus(Duration::from_secs(2)))),
        payload(billing("acme", "10 min ahead", START.plus(Duration::from_secs(600)))),
        payload(billing("", "no account", START)),
        payload(billing("acme", &"x".repeat(129), START)),
        payload(BillingEvent { event_id: "negative".into(), amount_micros: -1, ..sound.clone() }),
        payload(BillingEvent { event_id: "channel".into(), channel: 99, ..sound.clone() }),
        payload(BillingEvent { event_id: "no time".into(), occurred_at: None, ..sound.clone() }),
        payload(BillingEvent { event_id: "no currency".into(), currency: String::new(), ..sound }),
        payload(receipt("acme", "m-1", START, DeliveryStatus::Enroute)),
        payload(received.clone()),
        payload(DeliveryReceipt { reported_at: Some(loadline_tests::events::proto_time(START.plus(hour))), ..received.clone() }),
        payload(receipt("acme", "m-1", START, DeliveryStatus::Failed)),
        payload(receipt("acme", id, START, DeliveryStatus::Expired)),
        payload(receipt("acme", "95 h", START.minus(hour * 95), DeliveryStatus::Rejected)),
        payload(receipt("acme", "97 h", START.minus(hour * 97), DeliveryStatus::Rejected)),
        payload(DeliveryReceipt { status: 99, ..received }),
        Bytes::new(),
        Bytes::from_static(b"{\"account\": \"acme\"}"),
        Bytes::from_static(&[0x7a, 3, 1, 2, 3]),
    ];
    payloads.into_iter().map(|payload| (START, payload)).collect()
}
