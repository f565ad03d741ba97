//! Publishing over gRPC: what is accepted is counted and told, what is not is told why, event by event.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use loadline_domain::{
    Timestamp,
    time::{Clock as _, SystemClock},
};
use loadline_proto::{
    event::{BillingEvent, Channel, DeliveryReceipt, DeliveryStatus, Event},
    ingest::{
        DeadLetterFilter, DeadLetterReason, DeadLetterState, PublishRequest, PublishResponse, Rejection,
        RejectionReason as Reason,
    },
    query::{Dimension, GetDeliveryRequest, GetUsageRequest, ListTopAccountsRequest, ReceiptCounts},
};
use loadline_tests::{
    client::Clients,
    events::{billing, envelope, payload, proto_time, receipt},
    journal::Journal,
    questions::{self, counters, letters, sums},
    upstream::append,
    world::{Backends, World},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::mpsc;
use tonic::Code;
use tonic_types::StatusExt as _;

const HOUR: Duration = Duration::from_secs(3_600);

loadline_tests::on_every_backend! {
    what_is_streamed_is_told_with_the_totals_that_were_sent
    what_was_counted_is_left_out_when_asked_for
    what_the_log_takes_of_bad_input_is_a_dead_letter_with_its_reason
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn request(events: impl IntoIterator<Item = Event>) -> PublishRequest {
    PublishRequest { events: events.into_iter().collect(), skip_duplicates: false }
}

async fn publish(clients: &mut Clients, events: impl IntoIterator<Item = Event>) -> Result<PublishResponse> {
    Ok(clients.events.publish(request(events)).await?.into_inner())
}

/// Twenty requests over one stream: two accounts, two currencies, receipts of every final status.
async fn what_is_streamed_is_told_with_the_totals_that_were_sent(backends: Backends) -> Result<()> {
    const REQUESTS: u32 = 20;
    let world = World::start(backends).await?;
    let hour = now().hour().start().minus(HOUR * 2);
    let mut clients = world.ingest.ingest()?;
    let (sender, receiver) = mpsc::channel::<PublishRequest>(4);
    let feed =
        futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|request| (request, receiver)) });
    let sending = tokio::spawn(async move {
        for n in 0..REQUESTS {
            let _ = sender.send(request(batch(n, hour))).await;
        }
    });
    let mut answers = clients.events.publish_stream(feed).await?.into_inner();
    for n in 0..REQUESTS {
        let answer = answers.message().await?.context("an answer to each request")?;
        assert_eq!(answer.accepted, 4 + (n % 2), "answers come in the order of the requests");
        assert!(answer.rejections.is_empty() && !answer.ranges.is_empty(), "{answer:?}");
    }
    assert!(answers.message().await?.is_none());
    sending.await?;
    world.drained().await?;

    let mut query = world.query.query()?.usage;
    let (from, to) = (Some(proto_time(hour)), Some(proto_time(hour.plus(HOUR * 2))));
    let group_by = vec![Dimension::Channel.into(), Dimension::Country.into(), Dimension::Currency.into()];
    let usage = GetUsageRequest {
        account: "acme".to_owned(),
        from,
        to,
        group_by: group_by.clone(),
        filter: None,
        ..GetUsageRequest::default()
    };
    let usage = query.get_usage(usage).await?.into_inner();
    let billed: BTreeMap<(String, String), (u64, u64, i64)> =
        usage.rows.iter().filter(|row| !row.currency.is_empty()).fold(BTreeMap::new(), |mut billed, row| {
            let usage = row.usage.clone().unwrap_or_default();
            let sums = billed.entry((row.country.clone(), row.currency.clone())).or_default();
            *sums = (sums.0 + usage.messages, sums.1 + usage.segments, sums.2 + usage.amount_micros);
            billed
        });
    let n = u64::from(REQUESTS);
    let expected = [(("DE", "EUR"), (n, n, n as i64 * 75_000)), (("US", "USD"), (n * 3, n * 4, n as i64 * 10))];
    assert_eq!(billed, expected.map(|((country, currency), sums)| ((country.to_owned(), currency.to_owned()), sums)).into());
    assert!(usage.rows.iter().all(|row| row.hour == from), "all in one hour: {:?}", usage.rows);
    // The receipts that come in every other request are those of messages on their way.
    let delivery = GetDeliveryRequest { account: "acme".to_owned(), from, to, group_by: vec![], filter: None };
    let total = query.get_delivery(delivery).await?.into_inner().total.context("a total")?;
    let counts = ReceiptCounts { delivered: n - 5, failed: 5, not_final: n / 2, ..Default::default() };
    assert_eq!(total.receipts, Some(counts));
    assert_eq!((total.messages, total.delivery_rate), (n * 4, Some((n - 5) as f64 / n as f64)));
    assert_eq!(total.maturity, Some(0.25), "a receipt in for one message of four");
    let latency = total.latency.context("latency")?;
    let p50 = latency.p50.context("a median")?;
    let p50 = p50.seconds as f64 + f64::from(p50.nanos) / 1e9;
    assert!(latency.count == n - 5 && (1.9..=2.1).contains(&p50), "{latency:?}");
    let top = ListTopAccountsRequest { from, to, order_by: 0, limit: 1, filter: None };
    let top = query.list_top_accounts(top).await?.into_inner().accounts;
    assert_eq!(top.iter().map(|account| account.account.as_str()).collect::<Vec<_>>(), ["acme"]);
    assert_eq!(top[0].totals.iter().map(|total| total.messages).sum::<u64>(), n * 4);
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

fn batch(n: u32, hour: Timestamp) -> Vec<Event> {
    let at = hour.plus(Duration::from_secs(n.into()));
    let dollars = BillingEvent {
        country: "US".to_owned(),
        currency: "USD".to_owned(),
        messages: 3,
        segments: 4,
        amount_micros: 10,
        channel: Channel::Whatsapp.into(),
        ..billing("acme", &format!("usd-{n}"), at)
    };
    let last = if n < 5 { DeliveryStatus::Failed } else { DeliveryStatus::Delivered };
    let mut events = vec![
        envelope(billing("acme", &format!("eur-{n}"), at)),
        envelope(dollars),
        envelope(billing("zeta", &format!("eur-{n}"), at)),
        envelope(receipt("acme", &format!("eur-{n}"), at, last)),
    ];
    events.extend((n % 2 == 1).then(|| envelope(receipt("acme", &format!("usd-{n}"), at, DeliveryStatus::Enroute))));
    events
}

async fn what_was_counted_is_left_out_when_asked_for(backends: Backends) -> Result<()> {
    let world = World::start(backends).await?;
    let mut clients = world.ingest.ingest()?;
    let first = billing("acme", "known", now());
    let other = BillingEvent { amount_micros: 1, ..first.clone() };
    assert_eq!(publish(&mut clients, [envelope(first.clone())]).await?.accepted, 1);
    world.drained().await?;
    let events = vec![envelope(first.clone()), envelope(other), envelope(billing("acme", "new", now()))];
    let answer = clients.events.publish(PublishRequest { events, skip_duplicates: true }).await?.into_inner();
    assert_eq!((answer.accepted, answer.duplicates), (1, 1), "{answer:?}");
    assert_eq!(answer.rejections.len(), 1);
    assert_eq!((answer.rejections[0].index, answer.rejections[0].reason()), (1, Reason::Conflict));
    // Without asking, it is found when it is read.
    assert_eq!(publish(&mut clients, [envelope(first)]).await?.accepted, 1);
    world.drained().await?;
    assert_eq!(counters(&mut clients, "BILLING").await?, [3, 2, 1, 0, 0]);
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

type Damage = (&'static str, Reason, Event);

/// Everything that may be wrong with a billing event or a receipt: the field at fault, and the event.
fn damaged() -> Vec<Damage> {
    let at = now();
    let charge = |damage: fn(&mut BillingEvent)| {
        let mut event = billing("acme", "damaged", at);
        damage(&mut event);
        envelope(event)
    };
    let report = |damage: fn(&mut DeliveryReceipt)| {
        let mut event = receipt("acme", "damaged", at, DeliveryStatus::Delivered);
        damage(&mut event);
        envelope(event)
    };
    let time = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let timed = |occurred_at| envelope(BillingEvent { occurred_at, ..billing("acme", "damaged", at) });
    vec![
        ("billing.account", Reason::Invalid, charge(|event| event.account.clear())),
        ("billing.account", Reason::Invalid, charge(|event| event.account = "a b".to_owned())),
        ("billing.account", Reason::Invalid, charge(|event| event.account = "a".repeat(129))),
        ("billing.event_id", Reason::Invalid, charge(|event| event.event_id.clear())),
        ("billing.event_id", Reason::Invalid, charge(|event| event.event_id = "i".repeat(129))),
        ("billing.occurred_at", Reason::Invalid, timed(None)),
        ("billing.occurred_at", Reason::Invalid, timed(time(0, 0))),
        ("billing.occurred_at", Reason::Invalid, timed(time(i64::MIN, 0))),
        ("billing.occurred_at", Reason::Invalid, timed(time(i64::MAX, 0))),
        ("billing.occurred_at", Reason::Invalid, timed(time(1_795_000_000, -1))),
        // Milliseconds taken for seconds.
        ("billing.occurred_at", Reason::Invalid, timed(time(at.micros() / 1_000, 0))),
        ("billing.occurred_at", Reason::Future, timed(Some(proto_time(at.plus(HOUR))))),
        ("billing.occurred_at", Reason::Late, timed(Some(proto_time(at.minus(HOUR * 49))))),
        ("billing.channel", Reason::Invalid, charge(|event| event.channel = 0)),
        ("billing.channel", Reason::Invalid, charge(|event| event.channel = 99)),
        ("billing.country", Reason::Invalid, charge(|event| event.country = "Germany".to_owned())),
        ("billing.currency", Reason::Invalid, charge(|event| event.currency = "eur".to_owned())),
        ("billing.currency", Reason::Invalid, charge(|event| event.currency.clear())),
        ("billing.messages", Reason::Invalid, charge(|event| event.messages = 0)),
        ("billing.segments", Reason::Invalid, charge(|event| event.segments = 0)),
        ("billing.segments", Reason::Invalid, charge(|event| event.segments = u32::MAX)),
        ("billing.amount_micros", Reason::Invalid, charge(|event| event.amount_micros = -1)),
        ("billing.amount_micros", Reason::Invalid, charge(|event| event.amount_micros = i64::MAX)),
        ("receipt.account", Reason::Invalid, report(|event| event.account.clear())),
        ("receipt.message_id", Reason::Invalid, report(|event| event.message_id = "m".repeat(129))),
        ("receipt.submitted_at", Reason::Invalid, report(|event| event.submitted_at = None)),
        ("receipt.reported_at", Reason::Invalid, report(|event| event.reported_at = None)),
        ("receipt.reported_at", Reason::Invalid, report(|event| std::mem::swap(&mut event.submitted_at, &mut event.reported_at))),
        ("receipt.status", Reason::Invalid, report(|event| event.status = 0)),
        ("receipt.status", Reason::Invalid, report(|event| event.status = 77)),
        ("", Reason::Invalid, Event { body: None }),
    ]
}

#[tokio::test]
async fn each_event_is_rejected_for_what_is_wrong_with_it_and_the_others_count() -> Result<()> {
    let world = World::start(Backends::Embedded).await?;
    let mut clients = world.ingest.ingest()?;
    let damaged = damaged();
    let sound = envelope(billing("acme", "sound", now()));
    let mut events: Vec<Event> = damaged.iter().map(|(_, _, event)| event.clone()).collect();
    events.extend([sound.clone(), sound]);
    let answer = publish(&mut clients, events).await?;
    assert_eq!((answer.accepted, answer.duplicates, answer.rejections.len()), (1, 1, damaged.len()), "{answer:?}");
    for ((index, (field, reason, _)), rejection) in damaged.iter().enumerate().zip(&answer.rejections) {
        let Rejection { detail, .. } = rejection;
        assert_eq!(
            (rejection.index as usize, rejection.field.as_str(), rejection.reason()),
            (index, *field, *reason),
            "{detail}"
        );
        assert!(!detail.is_empty() && detail.len() < 300, "{detail}");
    }
    world.drained().await?;
    assert_eq!(sums(&questions::usage(&mut world.query.query()?, "acme", now()).await?)[0], 1);
    assert!(letters(&mut clients, DeadLetterState::Open, DeadLetterFilter::default()).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn too_many_events_or_bytes_are_refused_whole() -> Result<()> {
    let world = World::start(Backends::Embedded).await?;
    let mut clients = world.ingest.ingest()?;
    let small = |n: u32| envelope(BillingEvent { country: String::new(), ..billing("a", &n.to_string(), now()) });
    let refused = clients.events.publish(request((0..10_001).map(small))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let violation = refused.get_details_bad_request().context("details")?.field_violations;
    assert!(violation[0].field == "events" && violation[0].description.contains("10000"), "{violation:?}");
    let large = envelope(BillingEvent { event_id: "x".repeat(10_000_000), ..billing("acme", "", now()) });
    let refused = clients.events.publish(request([large])).await.unwrap_err();
    // A server may also reset the stream of a message that it does not want to the end.
    assert!([Code::OutOfRange, Code::ResourceExhausted, Code::InvalidArgument].contains(&refused.code()), "{refused:?}");
    assert_eq!(publish(&mut clients, (0..10).map(small)).await?.accepted, 10, "the connection goes on");
    assert_eq!(publish(&mut clients, []).await?, PublishResponse::default(), "nothing is fine");
    world.drained().await?;
    assert_eq!(counters(&mut clients, "BILLING").await?, [10, 10, 0, 0, 0]);
    Ok(())
}

/// Straight to the log, where nobody refuses anything.
async fn what_the_log_takes_of_bad_input_is_a_dead_letter_with_its_reason(backends: Backends) -> Result<()> {
    let world = World::start(backends).await?;
    world.drained().await?;
    // Field 100, a text: what a newer schema might add to the envelope and to the event.
    let newer = [&[0xa2, 0x06, 0x03][..], b"new"].concat();
    let known = payload(billing("acme", "of-a-newer-schema", now()));
    let inner = [&known[payload_start(&known)..], &newer].concat();
    let nested = [&[0x0a, u8::try_from(inner.len())?][..], &inner, &newer].concat();
    let unknown_body = [&[0x1a, 0x03][..], b"new"].concat();
    let too_large = vec![0x0a; 70_000];
    let undecodable: Vec<Bytes> = vec![unknown_body.into(), too_large.into(), Bytes::new(), b"{\"json\": 1}".to_vec().into()];
    let damaged = damaged().into_iter().filter(|(field, ..)| !field.is_empty());
    let expected: Vec<DeadLetterReason> = undecodable
        .iter()
        .map(|_| DeadLetterReason::Undecodable)
        .chain(damaged.clone().map(|(_, reason, _)| match reason {
            Reason::Late => DeadLetterReason::Late,
            Reason::Future => DeadLetterReason::Future,
            _ => DeadLetterReason::Invalid,
        }))
        .collect();
    let mut payloads = undecodable;
    payloads.extend(damaged.map(|(_, _, event)| prost::Message::encode_to_vec(&event).into()));
    payloads.push(nested.into());
    append(&world, "BILLING", "acme", payloads).await?;
    world.drained().await?;
    let mut clients = world.ingest.ingest()?;
    let dead = letters(&mut clients, DeadLetterState::Open, DeadLetterFilter::default()).await?;
    assert_eq!(dead.iter().map(|letter| letter.reason()).collect::<Vec<_>>(), expected, "{dead:?}");
    assert!(dead.iter().all(|letter| !letter.detail.is_empty()));
    assert!(dead[0].detail.contains("newer"), "an unknown body may be of a newer schema: {}", dead[0].detail);
    let usage = questions::usage(&mut world.query.query()?, "acme", now()).await?;
    assert_eq!(sums(&usage), [1, 1, 1, 75_000], "fields of a newer schema do not keep an event from counting");
    world.ensure_exact(&mut Journal::default()).await.map(drop)
}

/// Where the event begins within its envelope: after the tag and a length of one byte.
fn payload_start(envelope: &[u8]) -> usize {
    assert!(envelope[0] == 0x0a && usize::from(envelope[1]) == envelope.len() - 2, "a short event in its envelope");
    2
}
