//! Watching: at once, on change, never otherwise.

use crate::world::{HOUR, MINUTE, Published as _, Served, World, bill, noon, time};
use loadline_domain::Timestamp;
use loadline_fault::{Calls, Fault, Faults, Injected, Kind, LONGEST};
use loadline_proto::{
    event as wire,
    query::{GetUsageRequest, GetUsageResponse, WatchUsageRequest},
};
use std::time::Duration;
use tonic::{Code, Streaming};

fn watched() -> WatchUsageRequest {
    let usage = GetUsageRequest {
        account: "acme".to_owned(),
        from: Some(time(noon().minus(HOUR))),
        to: Some(time(noon())),
        ..GetUsageRequest::default()
    };
    let min_interval = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
    WatchUsageRequest { usage: Some(usage), min_interval }
}

fn events(answer: &GetUsageResponse) -> u64 {
    answer.totals.iter().map(|sum| sum.events).sum()
}

async fn next(answers: &mut Streaming<GetUsageResponse>) -> GetUsageResponse {
    answers.message().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_watch_answers_at_once_and_again_on_change_and_not_for_the_events_of_others() {
    let world = World::new().await;
    let served = world.serve().await;
    let mut answers = served.operator().watch_usage(watched()).await.unwrap().into_inner();
    assert_eq!(events(&next(&mut answers).await), 0);
    // Each of these is looked at by itself: were it sent, the answer after it would not be the next one.
    for i in 0..3 {
        let others = wire::BillingEvent { account: "bolt".to_owned(), ..bill(&format!("bolt-{i}"), noon().minus(MINUTE)) };
        world.count([others.event()]).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    world.count([bill("1", noon().minus(MINUTE)).event()]).await;
    assert_eq!(events(&next(&mut answers).await), 1);
    world.count([bill("1", noon().minus(MINUTE)).event()]).await;
    world.count([bill("2", noon().minus(MINUTE)).event()]).await;
    assert_eq!(events(&next(&mut answers).await), 2);
}

#[tokio::test]
async fn a_dead_letter_that_could_change_the_answer_is_a_change() {
    let world = World::new().await;
    let served = world.serve().await;
    let mut answers = served.operator().watch_usage(watched()).await.unwrap().into_inner();
    next(&mut answers).await;
    world.count([wire::BillingEvent { amount_micros: -1, ..bill("1", noon().minus(MINUTE)) }.event()]).await;
    let answer = next(&mut answers).await;
    assert_eq!((events(&answer), answer.completeness.unwrap().dead_letters), (0, 1));
}

#[tokio::test]
async fn a_watch_ends_with_the_server_and_says_so() {
    let world = World::new().await;
    let served = world.serve().await;
    let mut answers = served.operator().watch_usage(watched()).await.unwrap().into_inner();
    next(&mut answers).await;
    served.shutdown.begin();
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

/// Usage from the day before yesterday to noon, its first day archived, before a service whose history meets faults.
struct Archived {
    world: World,
    faults: Faults,
    served: Served,
}

impl Archived {
    async fn new() -> Self {
        let world = World::new().await;
        world.count([bill("old", old()).event(), bill("newer", newer()).event()]).await;
        world.archive(old().day()).await;
        let faults = Faults::default();
        let history = loadline_history::behind(world.history.clone(), Some(&faults));
        let served = Served::over(&world, |parts| parts.history = history).await;
        Self { world, faults, served }
    }

    fn usage() -> GetUsageRequest {
        GetUsageRequest { from: Some(time(old().day().start())), ..watched().usage.unwrap() }
    }

    async fn watch(&self) -> Streaming<GetUsageResponse> {
        let watch = WatchUsageRequest { usage: Some(Self::usage()), ..watched() };
        self.served.operator().watch_usage(watch).await.unwrap().into_inner()
    }

    async fn asked(&self) -> GetUsageResponse {
        self.served.operator().get_usage(Self::usage()).await.unwrap().into_inner()
    }

    /// Questions to history about usage meet it from now on.
    fn meet(&self, kind: Kind) -> Injected {
        let calls = Calls::only(&["usage"]);
        self.faults.inject(Fault { name: "watch".to_owned(), kind, calls, ttl: LONGEST, cured_by: None })
    }

    /// They do, and nothing comes of it.
    fn counted(&self) -> Injected {
        self.meet(Kind::Delay(Duration::ZERO))
    }

    async fn count(&self, id: &str, at: Timestamp) {
        self.world.count([bill(id, at).event()]).await;
    }
}

/// Within the horizon of billing.
fn old() -> Timestamp {
    noon().minus(HOUR * 47)
}

fn newer() -> Timestamp {
    noon().minus(HOUR * 24)
}

/// The first answer with so many events: one that nothing was counted for may come before, when it is time for a review.
async fn next_of(answers: &mut Streaming<GetUsageResponse>, expected: u64) -> GetUsageResponse {
    loop {
        let answer = next(answers).await;
        if events(&answer) == expected {
            return answer;
        }
        assert!(events(&answer) < expected, "{answer:?}");
    }
}

/// All but the streams' positions and lags.
fn told(mut answer: GetUsageResponse) -> GetUsageResponse {
    answer.completeness.as_mut().unwrap().streams.clear();
    answer
}

#[tokio::test]
async fn history_is_asked_once_for_as_long_as_the_same_parts_are_archived() {
    let archived = Archived::new().await;
    let asked = archived.counted();
    let mut answers = archived.watch().await;
    let mut last = next_of(&mut answers, 2).await;
    // What comes late to the archived day is added to the rows that are kept of it.
    for (expected, at) in [(3, noon().minus(MINUTE)), (4, old()), (5, newer())] {
        archived.count(&format!("live-{expected}"), at).await;
        last = next_of(&mut answers, expected).await;
    }
    assert_eq!(asked.met(), 1);
    assert_eq!(told(last), told(archived.asked().await));

    for (expected, day, times) in [(6, newer().day(), 3), (7, old().day(), 5)] {
        archived.world.archive(day).await;
        archived.count(&format!("more-{expected}"), noon().minus(MINUTE)).await;
        let answer = next_of(&mut answers, expected).await;
        // Each GetUsage before asked for itself.
        assert_eq!(asked.met(), times, "with {expected} events");
        assert_eq!(told(answer), told(archived.asked().await));
    }
}

#[tokio::test]
async fn history_that_did_not_answer_is_asked_again_until_it_does() {
    let archived = Archived::new().await;
    let cut = archived.meet(Kind::Error);
    let mut answers = archived.watch().await;
    next_of(&mut answers, 1).await;
    archived.count("without", noon().minus(MINUTE)).await;
    let answer = next_of(&mut answers, 2).await;
    assert!(answer.completeness.unwrap().parts.iter().any(|part| !part.missing.is_empty()));
    assert!(cut.met() >= 2, "each time anew");
    let asked = archived.counted();
    drop(cut);
    archived.count("with", noon().minus(MINUTE)).await;
    let answer = next_of(&mut answers, 4).await;
    assert!(answer.completeness.unwrap().parts.iter().all(|part| part.missing.is_empty()));
    archived.count("kept", noon().minus(MINUTE)).await;
    next_of(&mut answers, 5).await;
    assert_eq!(asked.met(), 1);
}
