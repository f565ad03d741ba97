//! GetUsage of an account's month of hours, over gRPC, open loop: each question is due at its time, waiting counts. Some accounts
//! are asked for in turn; their days are rolled up, as every two minutes, and something happened since to each of them today. The store
//! is vacuumed before: the minute after rows came in masses, in which the server does so itself, is not measured.

use super::{
    baseline,
    events::{Events, Ids},
    ingest::Bench,
    open_loop, query,
    report::Questions,
};
use anyhow::{Context as _, ensure};
use loadline_domain::{Clock as _, Rules, time::SystemClock};
use loadline_proto::{
    codec::Codec,
    grpc_health::{HealthCheckRequest, health_client::HealthClient},
    query::{GetUsageRequest, usage_service_client::UsageServiceClient},
};
use loadline_rollup::leader::ROLE;
use std::{net::SocketAddr, time::Duration};
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
const ACCOUNTS: u32 = 8;
/// Events of an account: enough for every hour to have some.
const EVENTS: u64 = 20_000;
const LEADS: Duration = Duration::from_secs(600);
const GET_USAGE: &str = "/loadline.query.v1.UsageService/GetUsage";
const LASTS: Duration = Duration::from_secs(10);

/// Fills a month of some accounts and asks for them at `rate` a second.
pub async fn ask(bench: &Bench, rate: u32) -> anyhow::Result<Questions> {
    eprintln!("asking for usage at {rate}/s …");
    fill(bench).await?;
    let (address, shutdown) = query::start(bench.log.clone(), &bench.store_url)?;
    let asked = query::caller(measured(address, rate)).await;
    shutdown.begin();
    asked
}

async fn measured(address: SocketAddr, rate: u32) -> anyhow::Result<Questions> {
    let channel = crate::connect::channel(&address.to_string())?;
    let bare = HealthClient::new(channel.clone());
    let client = UsageServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let now = SystemClock.now();
    let proto = |time: loadline_domain::Timestamp| {
        let (seconds, nanos) = time.parts();
        prost_types::Timestamp { seconds, nanos }
    };
    let question = |index: u32| GetUsageRequest {
        account: format!("bench-{:04}", index % ACCOUNTS + 1),
        from: Some(proto(now.minus(MONTH))),
        to: Some(proto(now)),
        ..GetUsageRequest::default()
    };
    let mut rows = usize::MAX;
    for account in 0..ACCOUNTS {
        rows = rows.min(client.clone().get_usage(question(account)).await?.into_inner().rows.len());
    }
    ensure!(rows >= 700, "only {rows} rows in a month of hours");
    let count = (LASTS.as_secs_f64() * f64::from(rate)) as u32;
    let asking = |count| open_loop::ask(rate, count, |index| received(channel.clone(), question(index)));
    // A service that has just started connects to its database meanwhile.
    asking(rate).await?;
    let waits = asking(count).await?;
    let calling = open_loop::ask(rate, count, |_| {
        let mut bare = bare.clone();
        async move { bare.check(HealthCheckRequest::default()).await.map(drop).map_err(Into::into) }
    });
    let bare = calling.await?;
    Ok(Questions {
        rate_per_second: rate,
        service_threads: query::workers(),
        asked: waits.asked,
        failed: waits.failed,
        rows,
        p50_ms: waits.ms(0.50),
        p99_ms: waits.ms(0.99),
        bare_p50_ms: bare.ms(0.50),
        bare_p99_ms: bare.ms(0.99),
        wake_up_p99_ms: bare.wake_up_ms(0.99),
    })
}

/// Asks, and receives all of the answer, but makes no rows of it: what a caller does with them is not the service's time.
async fn received(channel: Channel, question: GetUsageRequest) -> anyhow::Result<()> {
    let mut client = Grpc::new(channel);
    client.ready().await?;
    client.unary(Request::new(question), PathAndQuery::from_static(GET_USAGE), Codec::<_, ()>::default()).await?;
    Ok(())
}

async fn fill(bench: &Bench) -> anyhow::Result<()> {
    let leadership = bench.store.lead(ROLE, "bench", LEADS).await?.context("another process leads the jobs of this store")?;
    count(bench, EVENTS, MONTH).await?;
    while bench.store.roll_up(&leadership, 1_000).await?.more {}
    bench.store.step_down(&leadership).await?;
    count(bench, 1, Duration::from_secs(1)).await?;
    if bench.store_url.starts_with("postgres") {
        baseline::vacuum(&bench.store_url).await?;
    }
    Ok(())
}

/// Counts so many events of each account, spread over so long a time until now.
async fn count(bench: &Bench, events: u64, spread: Duration) -> anyhow::Result<()> {
    let spec = bench.stream().await?;
    for account in 1..=ACCOUNTS {
        let mut source = Events::new(Ids::V7, 1).starting_at(account).in_one_market().over(spread);
        bench.append(&spec.name, &mut source, events).await?;
    }
    let rules = Rules { billing_horizon: MONTH * 2, ..Rules::default() };
    let batches = bench.batches(&spec.name, 5_000, &rules).await?;
    let lease = bench.lease(&spec.name, batches[0].incarnation()).await?;
    for batch in &batches {
        bench.store.commit(&lease, batch).await?;
    }
    Ok(())
}
