//! Watching: at once, on change, never otherwise.

use crate::world::{HOUR, MINUTE, Published as _, World, bill, noon, time};
use loadline_proto::{
    event as wire,
    query::{GetUsageRequest, GetUsageResponse, WatchUsageRequest},
};
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
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
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
