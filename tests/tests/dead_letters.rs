//! Dead letters over gRPC: listed by page and filter, looked at, judged again, given up.

use anyhow::{Context as _, Result};
use loadline_domain::{
    Timestamp,
    time::{Clock as _, SystemClock},
};
use loadline_proto::{
    event::BillingEvent,
    ingest::{
        DeadLetterFilter, DeadLetterReason as Reason, DeadLetterState as State, DiscardRequest, GetDeadLetterRequest,
        ListDeadLettersRequest, RedriveRequest, RedriveResponse,
    },
};
use loadline_tests::{
    client::Clients,
    events::{billing, payload, proto_time},
    journal::Journal,
    ports::{self, Ready},
    questions::{self, counters, letters, sums},
    upstream::append,
    world::{Backends, World},
};
use std::{collections::BTreeSet, time::Duration};
use tonic::Code;

const HOUR: Duration = Duration::from_secs(3_600);
const PATIENCE: Duration = Duration::from_secs(30);

loadline_tests::on_every_backend! {
    a_late_event_is_counted_once_however_often_it_is_accepted
    a_future_event_counts_once_its_time_has_come
    letters_are_given_up_with_a_reason_and_stay_listed
    letters_are_filtered_and_paged
}

fn now() -> Timestamp {
    SystemClock.now()
}

async fn redrive(clients: &mut Clients, reason: Reason, accept_late: bool, dry_run: bool) -> Result<RedriveResponse> {
    let filter = Some(DeadLetterFilter { reason: reason.into(), ..Default::default() });
    let request = RedriveRequest { filter, dry_run, accept_late, limit: 0 };
    Ok(clients.dead_letters.redrive(request).await?.into_inner())
}

/// Matched, counted, duplicates, dead again.
fn outcome(answer: &RedriveResponse) -> [u64; 4] {
    [answer.matched, answer.counted, answer.duplicates, answer.dead_again.iter().map(|reason| reason.count).sum()]
}

async fn counted(world: &World, account: &str) -> Result<i64> {
    Ok(sums(&questions::usage(&mut world.query.query()?, account, now()).await?)[0])
}

async fn a_late_event_is_counted_once_however_often_it_is_accepted(backends: Backends) -> Result<()> {
    let world = World::start(backends).await?;
    world.drained().await?;
    let event = payload(billing("acme", "late", now().minus(HOUR * 49)));
    append(&world, "BILLING", "acme", vec![event.clone()]).await?;
    world.drained().await?;
    let mut clients = world.ingest.ingest()?;
    let letter = letters(&mut clients, State::Open, DeadLetterFilter::default()).await?.pop().context("a dead letter")?;
    assert_eq!((letter.reason(), letter.account.as_str(), letter.sequence), (Reason::Late, "acme", 1));
    assert!(letter.payload.is_empty(), "a list is without payloads");
    let got = clients.dead_letters.get(GetDeadLetterRequest { id: letter.id }).await?.into_inner();
    assert_eq!(got.payload, event);
    assert!(got.detail.contains("49 h"), "{}", got.detail);
    let unknown = clients.dead_letters.get(GetDeadLetterRequest { id: letter.id + 1_000 }).await.expect_err("no such letter");
    assert_eq!(unknown.code(), Code::NotFound);

    for dry_run in [true, false] {
        assert_eq!(outcome(&redrive(&mut clients, Reason::Late, false, dry_run).await?), [1, 0, 0, 1], "it is still late");
    }
    let dry = redrive(&mut clients, Reason::Late, true, true).await?;
    assert_eq!((outcome(&dry), dry.dry_run), ([1, 1, 0, 0], true));
    assert_eq!(counted(&world, "acme").await?, 0, "a dry run changes nothing");
    assert_eq!(outcome(&redrive(&mut clients, Reason::Late, true, false).await?), [1, 1, 0, 0]);
    assert_eq!(outcome(&redrive(&mut clients, Reason::Late, true, false).await?), [0, 0, 0, 0], "it is no longer open");
    assert_eq!(counted(&world, "acme").await?, 1);

    // Its producer sends it once more, and an operator accepts it once more.
    append(&world, "BILLING", "acme", vec![event]).await?;
    world.drained().await?;
    assert_eq!(outcome(&redrive(&mut clients, Reason::Late, true, false).await?), [1, 0, 1, 0]);
    assert_eq!(counted(&world, "acme").await?, 1, "accepting it twice counts it once");
    assert_eq!(letters(&mut clients, State::Counted, DeadLetterFilter::default()).await?.len(), 1);
    assert_eq!(letters(&mut clients, State::Duplicate, DeadLetterFilter::default()).await?.len(), 1);
    let [applied, counted, duplicates, dead, lost] = counters(&mut clients, "BILLING").await?;
    assert_eq!(applied, counted + duplicates + dead + lost, "redriving keeps the sum");
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

async fn a_future_event_counts_once_its_time_has_come(backends: Backends) -> Result<()> {
    let world = World::start_with(backends, &[("rules.future_tolerance", "1s")]).await?;
    world.drained().await?;
    let due = now().plus(Duration::from_secs(8));
    append(&world, "BILLING", "acme", vec![payload(billing("acme", "ahead", due))]).await?;
    world.drained().await?;
    let mut clients = world.ingest.ingest()?;
    assert_eq!(questions::reasons(&mut clients).await?, [Reason::Future]);
    let early = redrive(&mut clients, Reason::Future, false, true).await?;
    // A machine that stood still for seconds asks too late to see this.
    if now() < due.minus(Duration::from_secs(1)) {
        assert_eq!(outcome(&early), [1, 0, 0, 1], "its time has not come");
    }
    ports::wait_until("the event's time", PATIENCE, || {
        let mut clients = clients.clone();
        async move {
            let answer = redrive(&mut clients, Reason::Future, false, false).await?;
            Ok(if answer.counted == 1 { Ready::Yes } else { Ready::No(format!("{answer:?}")) })
        }
    })
    .await?;
    assert!(now() >= due.minus(Duration::from_secs(1)), "it was counted before its time");
    assert_eq!(counted(&world, "acme").await?, 1);
    assert!(questions::reasons(&mut clients).await?.is_empty());
    Ok(())
}

async fn letters_are_given_up_with_a_reason_and_stay_listed(backends: Backends) -> Result<()> {
    let world = World::start(backends).await?;
    world.drained().await?;
    let unpriced = |id: &str| BillingEvent { currency: String::new(), ..billing("acme", id, now()) };
    append(&world, "BILLING", "acme", ["one", "two"].map(|id| payload(unpriced(id))).into()).await?;
    world.drained().await?;
    let mut clients = world.ingest.ingest()?;
    let invalid = Some(DeadLetterFilter { reason: Reason::Invalid.into(), ..Default::default() });
    let discard = |filter: &Option<DeadLetterFilter>, note: &str, dry_run| DiscardRequest {
        filter: filter.clone(),
        dry_run,
        note: note.to_owned(),
    };
    for wrong in [discard(&None, "a note", false), discard(&invalid, "  ", false)] {
        let refused = clients.dead_letters.discard(wrong).await.expect_err("a filter and a note are needed");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    let dry = clients.dead_letters.discard(discard(&invalid, "", true)).await?.into_inner();
    assert_eq!((dry.discarded, dry.dry_run), (2, true));
    assert_eq!(letters(&mut clients, State::Open, DeadLetterFilter::default()).await?.len(), 2, "a dry run changes nothing");
    let first = letters(&mut clients, State::Open, DeadLetterFilter::default()).await?[0].id;
    let one = Some(DeadLetterFilter { ids: vec![first], ..Default::default() });
    assert_eq!(clients.dead_letters.discard(discard(&one, "sent without a currency", false)).await?.into_inner().discarded, 1);
    let given_up = letters(&mut clients, State::Discarded, DeadLetterFilter::default()).await?;
    assert_eq!(given_up.iter().map(|letter| letter.id).collect::<Vec<_>>(), [first]);
    assert!(given_up[0].resolved_at.is_some());
    assert_eq!(outcome(&redrive(&mut clients, Reason::Invalid, false, false).await?), [1, 0, 0, 1], "the other one only");
    assert_eq!(counters(&mut clients, "BILLING").await?, [2, 0, 0, 2, 0], "given up is still accounted for");
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

async fn letters_are_filtered_and_paged(backends: Backends) -> Result<()> {
    let world = World::start(backends).await?;
    world.drained().await?;
    let began = now();
    for account in ["acme", "zeta"] {
        let late = |n: u32| payload(billing(account, &format!("{account}-{n}"), began.minus(HOUR * 50)));
        append(&world, "BILLING", account, (0..25).map(late).collect()).await?;
    }
    append(&world, "DLR", "acme", vec![[0x0f, 1, 2].to_vec().into()]).await?;
    world.drained().await?;
    let mut clients = world.ingest.ingest()?;
    let found =
        async |filter: DeadLetterFilter| anyhow::Ok(letters(&mut world.ingest.ingest()?, State::Open, filter).await?.len());
    let filter = DeadLetterFilter::default;
    assert_eq!(found(filter()).await?, 51);
    assert_eq!(found(DeadLetterFilter { account: "zeta".to_owned(), ..filter() }).await?, 25);
    assert_eq!(found(DeadLetterFilter { stream: "DLR".to_owned(), ..filter() }).await?, 1);
    assert_eq!(found(DeadLetterFilter { reason: Reason::Undecodable.into(), ..filter() }).await?, 1);
    assert_eq!(found(DeadLetterFilter { stream: "DLR".to_owned(), account: "zeta".to_owned(), ..filter() }).await?, 0);
    assert_eq!(found(DeadLetterFilter { from: Some(proto_time(now().plus(HOUR))), ..filter() }).await?, 0);
    assert_eq!(found(DeadLetterFilter { to: Some(proto_time(began.minus(HOUR))), ..filter() }).await?, 0);
    assert_eq!(found(DeadLetterFilter { from: Some(proto_time(began.minus(HOUR))), ..filter() }).await?, 51, "log time");

    let late = DeadLetterFilter { reason: Reason::Late.into(), ..filter() };
    let (mut ids, mut pages, mut page_token) = (BTreeSet::new(), Vec::new(), String::new());
    loop {
        let request = ListDeadLettersRequest { filter: Some(late.clone()), state: 0, page_size: 20, page_token };
        let page = clients.dead_letters.list(request).await?.into_inner();
        let total: u64 = page.totals.iter().map(|total| total.count).sum();
        assert_eq!(total, 50, "totals are over all pages");
        pages.push(page.dead_letters.len());
        ids.extend(page.dead_letters.iter().map(|letter| letter.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, ids.len()), (vec![20, 20, 10], 50));
    let request = RedriveRequest { filter: Some(late), dry_run: false, accept_late: true, limit: 30 };
    assert_eq!(outcome(&clients.dead_letters.redrive(request).await?.into_inner()), [30, 30, 0, 0], "it stops at its limit");
    assert_eq!(found(filter()).await?, 21);
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}
