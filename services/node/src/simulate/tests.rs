//! The simulation as a whole: its mix, its determinism, and that it outlives ingest.

use super::*;
use loadline_domain::{
    Timestamp,
    decode::validate,
    event::Event as Counted,
    fold::Rules,
    identity::{self, Identity},
};
use loadline_proto::ingest::event_service_server::{EventService, EventServiceServer};
use std::collections::{BTreeMap, HashMap, HashSet};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Streaming, transport::Server};

const START: Timestamp = Timestamp::from_micros(1_795_255_200_000_000);

fn settings(seed: u64) -> Settings {
    Settings { rate: 1_000, accounts: 20, seed: Some(seed), ..Settings::default() }
}

/// Five minutes of traffic, with the times it was sent at.
fn five_minutes(seed: u64) -> Vec<(Timestamp, Event)> {
    let mut traffic = Traffic::new(settings(seed));
    let ticks = (0..3_000).map(|tick| START.plus(TICK * tick));
    ticks.flat_map(|now| traffic.next(now, 20).into_iter().map(move |event| (now, event)).collect::<Vec<_>>()).collect()
}

#[test]
fn the_same_seed_makes_the_same_events_and_another_seed_others() {
    let first: Vec<_> = five_minutes(7).into_iter().take(5_000).collect();
    assert!(first.iter().eq(five_minutes(7).iter().take(5_000)));
    assert!(!first.iter().eq(five_minutes(8).iter().take(5_000)));
}

/// What ingest and the store would make of it.
#[derive(Default)]
struct Mix {
    rejected: BTreeMap<&'static str, usize>,
    duplicates: usize,
    conflicts: usize,
    counted: Vec<Counted>,
}

fn mix(events: Vec<(Timestamp, Event)>) -> Mix {
    let mut mix = Mix::default();
    let mut known: HashMap<Identity, i64> = HashMap::new();
    for (now, event) in events {
        let judged = validate(event).and_then(|event| Rules::default().admit(&event, now).map(|_| event));
        match judged {
            Err(refusal) => *mix.rejected.entry(refusal.reason.as_str()).or_default() += 1,
            Ok(event) => {
                let (identity, fingerprint) = identity::identify(&event);
                match known.insert(identity, fingerprint) {
                    None => mix.counted.push(event),
                    Some(same) if same == fingerprint => mix.duplicates += 1,
                    Some(_) => mix.conflicts += 1,
                }
            }
        }
    }
    mix
}

#[test]
fn the_mix_has_everything_that_really_happens() {
    let mix = mix(five_minutes(1));
    for reason in ["INVALID", "LATE", "FUTURE", "UNDECODABLE"] {
        assert!(mix.rejected.get(reason).is_some_and(|count| *count > 0), "no {reason}: {:?}", mix.rejected);
    }
    assert!(mix.duplicates > 300 && mix.conflicts > 0, "{} duplicates, {} conflicts", mix.duplicates, mix.conflicts);
    let rejected: usize = mix.rejected.values().sum();
    assert!(rejected * 100 < mix.counted.len(), "mistakes are rare: {:?}", mix.rejected);
}

#[test]
fn receipts_follow_their_messages_and_most_are_delivered() {
    let counted = mix(five_minutes(2)).counted;
    let receipts: Vec<_> =
        counted.iter().filter_map(|event| if let Counted::Receipt(receipt) = event { Some(receipt) } else { None }).collect();
    let finals: Vec<_> = receipts.iter().filter(|receipt| receipt.status.is_final()).collect();
    let delivered = finals.iter().filter(|receipt| receipt.status as i32 == 10).count() as f64 / finals.len() as f64;
    assert!((0.92..0.98).contains(&delivered), "{delivered} delivered");
    assert!(receipts.len() > finals.len() * 11 / 10, "some are on the way");
    let messages: i64 =
        counted.iter().map(|event| if let Counted::Billing(billing) = event { i64::from(billing.messages) } else { 0 }).sum();
    let maturity = finals.len() as f64 / messages as f64;
    assert!((0.9..1.0).contains(&maturity), "{maturity} of the messages heard of");
}

#[test]
fn accounts_are_unequal_and_their_routes_many() {
    let counted = mix(five_minutes(3)).counted;
    let mut by_account: HashMap<String, usize> = HashMap::new();
    counted.iter().for_each(|event| *by_account.entry(event.account().to_string()).or_default() += 1);
    let most = by_account.values().max().unwrap();
    assert_eq!(by_account.len(), 20);
    assert!(most * 5 > counted.len(), "the largest sends more than a fifth");
    let billing = counted.iter().filter_map(|event| if let Counted::Billing(billing) = event { Some(billing) } else { None });
    let (mut channels, mut countries, mut currencies, mut text_ids) = (HashSet::new(), HashSet::new(), HashSet::new(), 0);
    for billing in billing {
        channels.insert(billing.channel);
        countries.insert(billing.country);
        currencies.insert(billing.currency);
        text_ids += usize::from(billing.event_id.starts_with("inv-"));
    }
    assert!(channels.len() >= 5 && countries.len() >= 8 && currencies.len() >= 3 && text_ids > 0);
}

/// Takes everything, fails every third call, and is slow to be there.
struct Flaky {
    calls: std::sync::atomic::AtomicU64,
}

#[tonic::async_trait]
impl EventService for Flaky {
    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        if self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(3) {
            return Err(Status::unavailable("the log is down"));
        }
        let accepted = request.into_inner().events.len() as u32;
        Ok(Response::new(PublishResponse { accepted, ..PublishResponse::default() }))
    }

    type PublishStreamStream = ReceiverStream<Result<PublishResponse, Status>>;

    async fn publish_stream(&self, _: Request<Streaming<PublishRequest>>) -> Result<Response<Self::PublishStreamStream>, Status> {
        Err(Status::unimplemented("not used"))
    }
}

#[tokio::test]
async fn it_outlives_an_ingest_that_comes_late_and_fails_often() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stats = Arc::new(Stats::default());
    let (stop, mut stopped) = watch::channel(());
    let channel = crate::connect::channel(&address.to_string()).unwrap();
    let counted = stats.clone();
    let running = tokio::spawn(async move { run(settings(4), channel, async { stopped.changed().await }, counted).await });
    while stats.snapshot().unavailable < 2 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stats.snapshot().sent, 0);
    let listener = TcpListenerStream::new(TcpListener::bind(address).await.unwrap());
    let service = EventServiceServer::new(Flaky { calls: 0.into() });
    let server = tokio::spawn(Server::builder().add_service(service).serve_with_incoming(listener));
    while stats.snapshot().sent < 500 {
        sleep(Duration::from_millis(10)).await;
    }
    stop.send(()).unwrap();
    running.await.unwrap();
    let end = stats.snapshot();
    let rejected = end.invalid + end.future + end.late + end.conflict + end.other;
    assert_eq!(end.sent, end.accepted + end.duplicates + rejected);
    assert!(end.unavailable > 2 && end.refused == 0);
    server.abort();
}
