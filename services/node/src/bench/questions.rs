//! GetUsage of one account's month of hours, over gRPC, open loop: each question is due at its time, waiting counts.

use super::{
    events::{Events, Ids},
    ingest::Bench,
    open_loop,
    report::Questions,
};
use anyhow::ensure;
use loadline_domain::{Clock as _, Rules, time::SystemClock};
use loadline_proto::query::{GetUsageRequest, usage_service_client::UsageServiceClient};
use std::time::Duration;

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// Events of the account: enough for every hour to have some.
const EVENTS: u64 = 20_000;
const LASTS: Duration = Duration::from_secs(10);

/// Fills a month of one account and asks for it at `rate` a second.
pub async fn ask(bench: &Bench, rate: u32) -> anyhow::Result<Questions> {
    eprintln!("asking for usage at {rate}/s …");
    fill(bench).await?;
    let (address, shutdown) = crate::up::query_for_bench(bench.log.clone(), bench.store.clone()).await?;
    let client = UsageServiceClient::new(crate::connect::channel(&address.to_string())?).max_decoding_message_size(64 << 20);
    let now = SystemClock.now();
    let proto = |time: loadline_domain::Timestamp| {
        let (seconds, nanos) = time.parts();
        prost_types::Timestamp { seconds, nanos }
    };
    let question = GetUsageRequest {
        account: "bench-0001".to_owned(),
        from: Some(proto(now.minus(MONTH))),
        to: Some(proto(now)),
        ..GetUsageRequest::default()
    };
    let rows = client.clone().get_usage(question.clone()).await?.into_inner().rows.len();
    ensure!(rows >= 700, "only {rows} rows in a month of hours");
    let count = (LASTS.as_secs_f64() * f64::from(rate)) as u32;
    let asking = open_loop::ask(rate, count, |_| {
        let (mut client, question) = (client.clone(), question.clone());
        async move { client.get_usage(question).await.map(drop).map_err(Into::into) }
    });
    let waits = asking.await?;
    shutdown.begin();
    Ok(Questions {
        rate_per_second: rate,
        asked: waits.asked,
        failed: waits.failed,
        rows,
        p50_ms: waits.ms(0.50),
        p99_ms: waits.ms(0.99),
    })
}

async fn fill(bench: &Bench) -> anyhow::Result<()> {
    let spec = bench.stream().await?;
    bench.append(&spec.name, &mut Events::new(Ids::V7, 1).in_one_market().over(MONTH), EVENTS).await?;
    let rules = Rules { billing_horizon: MONTH * 2, ..Rules::default() };
    let batches = bench.batches(&spec.name, 5_000, &rules).await?;
    let lease = bench.lease(&spec.name, batches[0].incarnation()).await?;
    for batch in &batches {
        bench.store.commit(&lease, batch).await?;
    }
    Ok(())
}
