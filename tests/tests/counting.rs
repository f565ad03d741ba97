//! Events in, usage out: what is published is counted, dead-lettered or lost as it should be, and asked for.

use anyhow::Result;
use loadline_domain::{
    Timestamp,
    time::{Clock as _, SystemClock},
};
use loadline_proto::{
    ingest::{DeadLetterReason, ListDeadLettersRequest, RejectionReason},
    query::GetUsageRequest,
};
use loadline_tests::{
    events::proto_time,
    journal::Journal,
    nats::NatsVersion,
    workload::{Mix, Nature, Totals, Workload},
    world::{Backends, World},
};
use std::{collections::BTreeMap, time::Duration};

fn now() -> Timestamp {
    SystemClock.now()
}

/// Asks query for the usage of the busiest accounts, and compares with what was published.
async fn ensure_usage_is_told(world: &World, totals: &Totals) -> Result<()> {
    let mut clients = world.query.query()?;
    for account in ["acct-000", "acct-001", "acct-002"] {
        let request = GetUsageRequest {
            account: account.to_owned(),
            from: Some(proto_time(now().minus(Duration::from_secs(3 * 86_400)))),
            to: Some(proto_time(now().plus(Duration::from_secs(3_600)))),
            ..Default::default()
        };
        let answer = clients.usage.get_usage(request).await?.into_inner();
        let expected = totals.account(account);
        let mut told = [0_i64; 4];
        let mut receipts = [0_i64; 6];
        for row in &answer.totals {
            let sums = [row.events as i64, row.messages as i64, row.segments as i64, row.amount_micros];
            told.iter_mut().zip(sums).for_each(|(told, sum)| *told += sum);
            if let Some(row) = &row.receipts {
                let sums = [row.delivered, row.undelivered, row.expired, row.rejected, row.failed, row.not_final];
                receipts.iter_mut().zip(sums).for_each(|(told, sum)| *told += sum as i64);
            }
        }
        anyhow::ensure!(expected[0] > 0, "the workload has nothing of {account}");
        anyhow::ensure!(
            told == expected[..4] && receipts == expected[4..],
            "{account}: {told:?} {receipts:?}, published {expected:?}"
        );
    }
    Ok(())
}

/// Open dead letters by reason, as the service tells them.
async fn dead_letters(world: &World) -> Result<BTreeMap<DeadLetterReason, u64>> {
    let mut clients = world.ingest.ingest()?;
    let answer = clients.dead_letters.list(ListDeadLettersRequest::default()).await?.into_inner();
    Ok(answer.totals.iter().map(|total| (total.reason(), total.count)).collect())
}

async fn what_is_published_to_nats_is_counted_exactly(version: NatsVersion) -> Result<()> {
    let world = World::start(Backends::Real(version)).await?;
    let (mut workload, mut journal) = (Workload::new(1, Mix::default()), Journal::default());
    for _ in 0..20 {
        let items = workload.batch(now(), 250);
        world.publish_to_nats(&items, &mut journal).await?;
    }
    let snapshot = world.ensure_exact(&mut journal).await?;
    assert_eq!(workload.totals().differences(&snapshot.usage), []);
    let expected = [
        (DeadLetterReason::Undecodable, Nature::Undecodable),
        (DeadLetterReason::Invalid, Nature::Invalid),
        (DeadLetterReason::Future, Nature::Future),
        (DeadLetterReason::Late, Nature::Late),
        (DeadLetterReason::Conflict, Nature::Conflict),
    ];
    let expected = expected.into_iter().map(|(reason, nature)| (reason, workload.totals().of(nature))).collect();
    assert_eq!(dead_letters(&world).await?, expected);
    ensure_usage_is_told(&world, workload.totals()).await
}

#[tokio::test]
async fn what_is_published_to_nats_29_is_counted_exactly() -> Result<()> {
    what_is_published_to_nats_is_counted_exactly(NatsVersion::Nats29).await
}

#[tokio::test]
async fn what_is_published_to_nats_215_is_counted_exactly() -> Result<()> {
    what_is_published_to_nats_is_counted_exactly(NatsVersion::Nats215).await
}

async fn what_is_published_over_grpc_is_counted_exactly(backends: Backends) -> Result<()> {
    let world = World::start(backends).await?;
    let mix = Mix { conflicts: 0, undecodable: 0, ..Mix::default() };
    let (mut workload, mut journal) = (Workload::new(2, mix), Journal::default());
    let mut rejections: BTreeMap<RejectionReason, u64> = BTreeMap::new();
    for _ in 0..20 {
        let answer = world.publish(&workload.batch(now(), 200), &mut journal).await?;
        for rejection in answer.rejections {
            *rejections.entry(rejection.reason()).or_default() += 1;
        }
    }
    let snapshot = world.ensure_exact(&mut journal).await?;
    assert_eq!(workload.totals().differences(&snapshot.usage), []);
    assert!(snapshot.letters.is_empty(), "what Publish accepts is countable: {:?}", snapshot.letters);
    let of = |nature| workload.totals().of(nature);
    let expected = [
        (RejectionReason::Invalid, of(Nature::Invalid)),
        (RejectionReason::Future, of(Nature::Future)),
        (RejectionReason::Late, of(Nature::Late)),
    ];
    assert_eq!(rejections, expected.into());
    ensure_usage_is_told(&world, workload.totals()).await
}

#[tokio::test]
async fn what_is_published_over_grpc_is_counted_exactly_on_embedded_backends() -> Result<()> {
    what_is_published_over_grpc_is_counted_exactly(Backends::Embedded).await
}

#[tokio::test]
async fn what_is_published_over_grpc_is_counted_exactly_on_real_backends() -> Result<()> {
    what_is_published_over_grpc_is_counted_exactly(Backends::Real(NatsVersion::Nats215)).await
}
