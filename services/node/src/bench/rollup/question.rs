//! GetUsage of the largest account's last 90 days by hours, every channel apart, over gRPC.

use super::{
    super::{open_loop, query},
    Bench,
    rows::first_day,
};
use anyhow::ensure;
use loadline_domain::Timestamp;
use loadline_proto::query::{Dimension, GetUsageRequest, Granularity, usage_service_client::UsageServiceClient};
use serde::Serialize;
use std::net::SocketAddr;

const DAYS: u32 = 90;

/// At a fixed rate, from when each was due.
#[derive(Debug, Serialize)]
pub struct Question {
    pub rate_per_second: u32,
    pub asked: usize,
    pub failed: usize,
    /// Of the answer.
    pub rows: usize,
    pub p50_ms: f64,
    pub p95_ms: f64,
}

/// Asks a query service in this process.
///
/// # Errors
/// When an answer is short of rows.
pub async fn measure(bench: &Bench) -> anyhow::Result<Question> {
    let scratch = tempfile::tempdir()?;
    let log = loadline_event_log::open(&format!("sqlite:{}", scratch.path().join("log.db").display())).await?;
    let (address, shutdown) = query::start(log, &bench.args.store)?;
    let asked = query::caller(measured(address, bench.args.rate, bench.args.questions)).await;
    shutdown.begin();
    asked
}

async fn measured(address: SocketAddr, rate: u32, questions: u32) -> anyhow::Result<Question> {
    let client = UsageServiceClient::new(crate::connect::channel(&address.to_string())?).max_decoding_message_size(64 << 20);
    let question = GetUsageRequest {
        account: "bench-0001".to_owned(),
        from: Some(proto(first_day(DAYS).start())),
        to: Some(proto(first_day(0).start())),
        group_by: vec![Dimension::Channel.into()],
        granularity: Granularity::Hour.into(),
        ..GetUsageRequest::default()
    };
    let rows = client.clone().get_usage(question.clone()).await?.into_inner().rows.len();
    // Four channels, two currencies and the receipts.
    ensure!(rows == DAYS as usize * 24 * 4 * 3, "{rows} rows in {DAYS} days of hours");
    let asking = open_loop::ask(rate, questions, |_| {
        let (mut client, question) = (client.clone(), question.clone());
        async move { client.get_usage(question).await.map(drop).map_err(Into::into) }
    });
    let waits = asking.await?;
    Ok(Question {
        rate_per_second: rate,
        asked: waits.asked,
        failed: waits.failed,
        rows,
        p50_ms: waits.ms(0.50),
        p95_ms: waits.ms(0.95),
    })
}

fn proto(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.parts();
    prost_types::Timestamp { seconds, nanos }
}
