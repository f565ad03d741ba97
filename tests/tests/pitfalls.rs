//! What other systems got wrong, on every backend: each was once somebody's lost or doubled money.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use loadline_domain::{
    StreamName, Timestamp,
    time::{Clock as _, SystemClock},
};
use loadline_event_log::Retention;
use loadline_proto::{
    event::{BillingEvent, DeliveryStatus},
    health::{Severity, State as ModeState},
    ingest::{
        DeadLetterFilter, DeadLetterReason, DeadLetterState, ListLossesRequest, ResumeStreamRequest, loss::Cause, stream::State,
    },
    query::{GetUsageRequest, GetUsageResponse, period},
};
use loadline_tests::{
    events::{billing, payload, proto_time, receipt},
    journal::Journal,
    log,
    ports::{self, Ready},
    questions::{self, counters, letters, reasons, stream_until, sums},
    upstream::append,
    world::{Backends, STREAMS, World},
};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const MICROSECOND: Duration = Duration::from_micros(1);
const PATIENCE: Duration = Duration::from_secs(30);

loadline_tests::on_every_backend! {
    the_same_id_twice_in_a_batch_counts_once
    the_same_id_in_two_concurrent_batches_counts_once
    the_same_id_with_another_payload_is_a_conflict
    the_same_id_again_on_the_next_day_is_a_conflict
    the_same_id_of_two_accounts
    old_and_future_events_are_judged_by_the_logs_clock
    an_event_counts_on_its_own_side_of_a_boundary
    a_first_sequence_past_our_position_is_a_loss_to_the_message
    a_stream_of_nothing_readable_stays_stopped_until_it_is_resumed
    an_event_without_an_account_is_a_dead_letter
    money_never_overflows
    zero_usage_is_not_the_same_as_not_counted_yet
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// A world whose streams are made and which nobody reads, so that what is appended now is read as one batch.
async fn unread(backends: Backends) -> Result<World> {
    let mut world = World::start(backends).await?;
    world.drained().await?;
    world.ingest.stop(PATIENCE).await?;
    Ok(world)
}

async fn read_on(world: &mut World) -> Result<()> {
    world.ingest.restart()?;
    world.ingest.ready().await?;
    world.drained().await
}

async fn the_same_id_twice_in_a_batch_counts_once(backends: Backends) -> Result<()> {
    let mut world = unread(backends).await?;
    let event = payload(billing("acme", "twice", now()));
    append(&world, "BILLING", "acme", vec![event.clone(), event.clone(), event]).await?;
    read_on(&mut world).await?;
    assert_eq!(counters(&mut world.ingest.ingest()?, "BILLING").await?, [3, 1, 2, 0, 0]);
    assert_eq!(sums(&questions::usage(&mut world.query.query()?, "acme", now()).await?)[0], 1);
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

/// Both streams are read at the same time by owners of their own, and a stream takes whatever stands in it.
async fn the_same_id_in_two_concurrent_batches_counts_once(backends: Backends) -> Result<()> {
    const EVENTS: u64 = 3_000;
    let mut world = unread(backends).await?;
    let events: Vec<Bytes> = (0..EVENTS).map(|n| payload(billing("acme", &format!("both-{n}"), now()))).collect();
    append(&world, "BILLING", "acme", events.clone()).await?;
    // The other way round, so that neither stream is always first.
    append(&world, "DLR", "acme", events.into_iter().rev().collect()).await?;
    read_on(&mut world).await?;
    let mut clients = world.ingest.ingest()?;
    let (one, other) = (counters(&mut clients, "BILLING").await?, counters(&mut clients, "DLR").await?);
    assert_eq!(one[1] + other[1], EVENTS, "counted: {one:?} {other:?}");
    assert_eq!(one[2] + other[2], EVENTS, "duplicates: {one:?} {other:?}");
    assert_eq!(sums(&questions::usage(&mut world.query.query()?, "acme", now()).await?)[0], EVENTS as i64);
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

async fn the_same_id_with_another_payload_is_a_conflict(backends: Backends) -> Result<()> {
    let mut world = unread(backends).await?;
    let first = billing("acme", "one-id", now());
    let other = BillingEvent { amount_micros: first.amount_micros * 2, ..first.clone() };
    // In one batch, and in a later one against what is stored.
    append(&world, "BILLING", "acme", vec![payload(first.clone()), payload(other.clone())]).await?;
    read_on(&mut world).await?;
    append(&world, "BILLING", "acme", vec![payload(other)]).await?;
    world.drained().await?;
    assert_eq!(reasons(&mut world.ingest.ingest()?).await?, [DeadLetterReason::Conflict; 2]);
    let usage = questions::usage(&mut world.query.query()?, "acme", now()).await?;
    assert_eq!(sums(&usage), [1, 1, 1, first.amount_micros], "what came first counts");
    assert_eq!(usage.completeness.context("completeness")?.dead_letters, 2);
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

/// A retry with a fresh time just after midnight would count twice if the day were part of the name.
async fn the_same_id_again_on_the_next_day_is_a_conflict(backends: Backends) -> Result<()> {
    let mut world = unread(backends).await?;
    let midnight = now().day().start();
    let at = |id, time| payload(billing("acme", id, time));
    let (before, after) = (midnight.minus(MICROSECOND), midnight);
    append(&world, "BILLING", "acme", vec![at("in-one-batch", before), at("in-one-batch", after), at("in-two", before)]).await?;
    read_on(&mut world).await?;
    append(&world, "BILLING", "acme", vec![at("in-two", after)]).await?;
    world.drained().await?;
    let mut clients = world.ingest.ingest()?;
    assert_eq!(counters(&mut clients, "BILLING").await?, [4, 2, 0, 2, 0]);
    assert_eq!(reasons(&mut clients).await?, [DeadLetterReason::Conflict; 2]);
    Ok(())
}

/// A text names an event within its account; a UUID names one in the world, so two accounts that use it contradict each other.
async fn the_same_id_of_two_accounts(backends: Backends) -> Result<()> {
    let world = World::start(backends).await?;
    world.drained().await?;
    let uuid = "01931b5e-3c3a-7def-8000-0123456789ab";
    let (at, later) = (now(), now());
    let event = |account, id| payload(billing(account, id, at));
    append(&world, "BILLING", "acme", vec![event("acme", "42"), event("acme", uuid)]).await?;
    append(&world, "BILLING", "zeta", vec![event("zeta", "42"), event("zeta", uuid)]).await?;
    world.drained().await?;
    let mut query = world.query.query()?;
    assert_eq!(sums(&questions::usage(&mut query, "acme", later).await?)[0], 2);
    assert_eq!(sums(&questions::usage(&mut query, "zeta", later).await?)[0], 1);
    let dead = letters(&mut world.ingest.ingest()?, DeadLetterState::Open, DeadLetterFilter::default()).await?;
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].account.as_str(), dead[0].reason()), ("zeta", DeadLetterReason::Conflict));
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

/// Straight to the log, so that the fold judges: 48 hours for billing, 96 for receipts, 5 minutes ahead for both.
async fn old_and_future_events_are_judged_by_the_logs_clock(backends: Backends) -> Result<()> {
    let world = World::start(backends).await?;
    world.drained().await?;
    let now = now();
    let times = [now.minus(HOUR), now.minus(HOUR * 49), now.minus(HOUR * 97), now.plus(Duration::from_secs(600))];
    let ids = ["1h", "49h", "97h", "ahead"];
    let charges = ids.iter().zip(times).map(|(id, at)| payload(billing("acme", id, at))).collect();
    let receipts = ids.iter().zip(times).map(|(id, at)| payload(receipt("acme", id, at, DeliveryStatus::Delivered))).collect();
    append(&world, "BILLING", "acme", charges).await?;
    append(&world, "DLR", "acme", receipts).await?;
    world.drained().await?;
    let mut clients = world.ingest.ingest()?;
    for (stream, expected) in [
        ("BILLING", &[DeadLetterReason::Late, DeadLetterReason::Late, DeadLetterReason::Future][..]),
        ("DLR", &[DeadLetterReason::Late, DeadLetterReason::Future][..]),
    ] {
        let filter = DeadLetterFilter { stream: stream.to_owned(), ..Default::default() };
        let dead = letters(&mut clients, DeadLetterState::Open, filter).await?;
        let found: Vec<_> = dead.iter().map(|letter| letter.reason()).collect();
        assert_eq!(found, expected, "{stream}: {dead:?}");
        assert!(dead.iter().all(|letter| letter.account == "acme" && letter.event_time.is_some()), "{dead:?}");
    }
    let usage = questions::usage(&mut world.query.query()?, "acme", now).await?;
    let delivered: u64 = usage.totals.iter().filter_map(|total| total.receipts.as_ref()).map(|counts| counts.delivered).sum();
    assert_eq!((sums(&usage)[1], delivered), (1, 2), "charged messages and delivered ones");
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

async fn between(world: &World, account: &str, from: Timestamp, to: Timestamp) -> Result<GetUsageResponse> {
    let (from, to) = (Some(proto_time(from)), Some(proto_time(to)));
    let request = GetUsageRequest { account: account.to_owned(), from, to, ..Default::default() };
    Ok(world.query.query()?.usage.get_usage(request).await?.into_inner())
}

async fn an_event_counts_on_its_own_side_of_a_boundary(backends: Backends) -> Result<()> {
    let world = World::start(backends).await?;
    world.drained().await?;
    let boundaries = [("at-midnight", now().day().start()), ("at-the-hour", now().hour().start())];
    for (account, boundary) in boundaries {
        let (before, after) = (boundary.minus(MICROSECOND), boundary);
        let events = vec![payload(billing(account, "before", before)), payload(billing(account, "after", after))];
        append(&world, "BILLING", account, events).await?;
    }
    world.drained().await?;
    for (account, boundary) in boundaries {
        for (from, to) in [(boundary.minus(HOUR), boundary), (boundary, boundary.plus(HOUR))] {
            let usage = between(&world, account, from, to).await?;
            assert_eq!(sums(&usage)[0], 1, "{account} from {from}");
            assert_eq!(usage.rows.len(), 1);
            assert_eq!(usage.rows[0].hour, Some(proto_time(from)), "{account}");
        }
        assert_eq!(sums(&between(&world, account, boundary.minus(HOUR), boundary.plus(HOUR)).await?)[0], 2);
    }
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

async fn a_first_sequence_past_our_position_is_a_loss_to_the_message(backends: Backends) -> Result<()> {
    let mut world = World::start(backends).await?;
    world.drained().await?;
    let events = |ids: std::ops::Range<u32>| ids.map(|n| payload(billing("acme", &format!("e-{n}"), now()))).collect::<Vec<_>>();
    append(&world, "BILLING", "acme", events(0..10)).await?;
    world.drained().await?;
    world.ingest.stop(PATIENCE).await?;
    append(&world, "BILLING", "acme", events(10..110)).await?;
    let mut journal = Journal::default();
    log::read(&world.log, &STREAMS, &mut journal).await?;
    let (log, stream) = (loadline_event_log::open(&world.log).await?, StreamName::new("BILLING")?);
    let bytes = log.bounds(&stream).await?.bytes;
    log.set_retention(&stream, Retention { max_age: None, max_bytes: Some(bytes / 2) }).await?;
    let first = log.bounds(&stream).await?.first;
    assert!((20..110).contains(&first), "retention keeps from {first}");
    read_on(&mut world).await?;
    let lost = first - 1 - 10;
    let mut clients = world.ingest.ingest()?;
    assert_eq!(counters(&mut clients, "BILLING").await?, [110, 110 - lost, 0, 0, lost]);
    let losses = clients.streams.list_losses(ListLossesRequest::default()).await?.into_inner().losses;
    assert_eq!(losses.len(), 1, "{losses:?}");
    let range = losses[0].range.clone().context("a range")?;
    assert_eq!((range.first_sequence, range.last_sequence, losses[0].cause()), (11, first - 1, Cause::Retention));
    let usage = questions::usage(&mut world.query.query()?, "acme", now()).await?;
    assert_eq!(usage.completeness.context("completeness")?.lost, lost, "the answer says what it may miss");
    world.ensure_exact(&mut journal).await.map(drop)
}

async fn a_stream_of_nothing_readable_stays_stopped_until_it_is_resumed(backends: Backends) -> Result<()> {
    // Dead letters are news for a minute.
    let mut world = World::start_with(backends, &[("drills.times_at_most", "10s")]).await?;
    world.drained().await?;
    let mut records: Vec<Bytes> = (0..300_u32).map(|n| [&[0x0f][..], &n.to_le_bytes()].concat().into()).collect();
    records.extend((0..20).map(|n| payload(billing("acme", &format!("e-{n}"), now()))));
    append(&world, "BILLING", "acme", records).await?;
    let stopped = |stream: &loadline_proto::ingest::Stream| stream.state() == State::Stopped;
    let stream = stream_until(&world.ingest.ingest()?, "BILLING", PATIENCE, stopped).await?;
    assert!(stream.state_detail.contains("100 undecodable"), "{}", stream.state_detail);
    let mut clients = world.ingest.ingest()?;
    assert_eq!(counters(&mut clients, "BILLING").await?, [100, 0, 0, 100, 0]);
    let open = |mode: &loadline_proto::health::ModeStatus| mode.state() == ModeState::Open && mode.severity() == Severity::P2;
    let mode = questions::mode_until(&clients, "AN-03", PATIENCE, open).await?;
    assert!(mode.evidence.is_some_and(|evidence| evidence.detail.contains("BILLING stopped")));

    world.ingest.stop(PATIENCE).await?;
    world.ingest.restart()?;
    world.ingest.ready().await?;
    questions::mode_until(&clients, "AN-03", PATIENCE, open).await?;
    stream_until(&clients, "BILLING", PATIENCE, |stream| stopped(stream) && !stream.owner.is_empty()).await?;
    assert_eq!(counters(&mut clients, "BILLING").await?, [100, 0, 0, 100, 0], "a restart is no remedy");

    let resume = ResumeStreamRequest { stream: "BILLING".to_owned(), through_sequence: 300 };
    assert!(clients.streams.resume(resume.clone()).await?.into_inner().resumed);
    world.drained().await?;
    assert_eq!(counters(&mut clients, "BILLING").await?, [320, 20, 0, 300, 0]);
    assert!(!clients.streams.resume(resume).await?.into_inner().resumed, "it goes on already");
    questions::mode_until(&clients, "AN-03", PATIENCE, |mode| mode.state() == ModeState::Ok).await?;
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

async fn an_event_without_an_account_is_a_dead_letter(backends: Backends) -> Result<()> {
    let world = World::start(backends).await?;
    world.drained().await?;
    let events = vec![payload(billing("", "nobody", now())), payload(billing("acme", "somebody", now()))];
    append(&world, "BILLING", "acme", events).await?;
    world.drained().await?;
    let dead = letters(&mut world.ingest.ingest()?, DeadLetterState::Open, DeadLetterFilter::default()).await?;
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].reason(), dead[0].account.as_str()), (DeadLetterReason::Invalid, ""));
    assert!(dead[0].detail.contains("billing.account"), "{}", dead[0].detail);
    let usage = questions::usage(&mut world.query.query()?, "acme", now()).await?;
    assert_eq!(sums(&usage)[0], 1);
    assert_eq!(usage.completeness.context("completeness")?.dead_letters, 1, "it might have been anybody's");
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

async fn money_never_overflows(backends: Backends) -> Result<()> {
    const MOST: i64 = 1_000_000_000_000;
    const EVENTS: i64 = 2_000;
    let world = World::start(backends).await?;
    world.drained().await?;
    let at = now();
    let worth = |id: String, amount_micros| payload(BillingEvent { amount_micros, ..billing("acme", &id, at) });
    let refused = [MOST + 1, i64::MAX, -1, i64::MIN];
    let mut events: Vec<Bytes> = (0..EVENTS).map(|n| worth(format!("most-{n}"), MOST)).collect();
    events.extend(refused.map(|amount| worth(format!("refused-{amount}"), amount)));
    append(&world, "BILLING", "acme", events).await?;
    world.drained().await?;
    let dead = letters(&mut world.ingest.ingest()?, DeadLetterState::Open, DeadLetterFilter::default()).await?;
    assert_eq!(dead.len(), refused.len());
    assert!(dead.iter().all(|letter| letter.reason() == DeadLetterReason::Invalid), "{dead:?}");
    assert!(dead.iter().all(|letter| letter.detail.contains("billing.amount_micros")), "{dead:?}");
    let usage = questions::usage(&mut world.query.query()?, "acme", now()).await?;
    assert_eq!(sums(&usage), [EVENTS, EVENTS, EVENTS, EVENTS * MOST]);
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

async fn zero_usage_is_not_the_same_as_not_counted_yet(backends: Backends) -> Result<()> {
    let mut world = World::start(backends).await?;
    world.drained().await?;
    let states = |usage: &GetUsageResponse| usage.periods.iter().map(|period| period.state()).collect::<Vec<_>>();
    let zero = questions::usage(&mut world.query.query()?, "acme", now()).await?;
    assert!(zero.rows.is_empty(), "{zero:?}");
    assert!(!states(&zero).contains(&period::State::Pending), "counted, and nothing: {:?}", zero.periods);
    assert_eq!(states(&zero).last(), Some(&period::State::Provisional));

    world.ingest.stop(PATIENCE).await?;
    append(&world, "BILLING", "acme", vec![payload(billing("acme", "waiting", now()))]).await?;
    let query = world.query.query()?;
    ports::wait_until("an hour that is not counted yet", PATIENCE, || {
        let mut query = query.clone();
        async move {
            let usage = questions::usage(&mut query, "acme", now()).await?;
            anyhow::ensure!(usage.rows.is_empty(), "counted while nobody counts: {usage:?}");
            let pending = usage.periods.last().is_some_and(|period| period.state() == period::State::Pending);
            Ok(if pending { Ready::Yes } else { Ready::No(format!("{:?}", usage.periods)) })
        }
    })
    .await?;

    read_on(&mut world).await?;
    ports::wait_until("an hour that is counted", PATIENCE, || {
        let mut query = query.clone();
        async move {
            let usage = questions::usage(&mut query, "acme", now()).await?;
            let provisional = usage.periods.last().is_some_and(|period| period.state() == period::State::Provisional);
            Ok(if provisional && sums(&usage)[0] == 1 { Ready::Yes } else { Ready::No(format!("{usage:?}")) })
        }
    })
    .await
}
