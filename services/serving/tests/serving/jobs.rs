//! Jobs as their submitters see them.

use crate::{
    modes::{QUEUE, reaches},
    nats,
    onnx::plus,
    world::{Life, MODEL, World, row, until},
};
use loadline_proto::{
    health::{self, PlanRemedyRequest, failure_mode_service_client::FailureModeServiceClient},
    inference::{ModelInferRequest, ModelInferResponse},
    serving::{
        CancelPredictionRequest, GetPredictionRequest, ListPredictionsRequest, PredictionJob, SubmitPredictionRequest,
        SubmitPredictionResponse, WatchPredictionRequest, prediction_job::State,
        prediction_job_service_client::PredictionJobServiceClient,
    },
};
use loadline_runtime::{
    config::{HumanDuration, SecretUrl},
    errors,
};
use nix::sys::signal::Signal;
use std::{collections::BTreeSet, time::Duration};
use tonic::{Code, Request, Status, transport::Channel};

type Jobs = PredictionJobServiceClient<Channel>;

fn jobs(life: &Life) -> Jobs {
    Jobs::new(life.channel())
}

fn question(question: ModelInferRequest) -> SubmitPredictionRequest {
    SubmitPredictionRequest { question: Some(question), ..SubmitPredictionRequest::default() }
}

async fn submit(life: &Life, request: SubmitPredictionRequest) -> Result<SubmitPredictionResponse, Status> {
    Ok(jobs(life).submit(request).await?.into_inner())
}

async fn submitted(life: &Life, x: [f32; 2]) -> PredictionJob {
    submit(life, question(row(x))).await.unwrap().job.unwrap()
}

async fn get(life: &Life, id: &str) -> (PredictionJob, Option<ModelInferResponse>) {
    let answer = jobs(life).get(GetPredictionRequest { id: id.to_owned() }).await.unwrap().into_inner();
    (answer.job.unwrap(), answer.answer)
}

/// The states that a job is seen in, and what it is in the end.
async fn followed(life: &Life, id: &str) -> (Vec<State>, PredictionJob, Option<ModelInferResponse>) {
    let following = async {
        let mut seen = Vec::new();
        let watched = jobs(life).watch(WatchPredictionRequest { id: id.to_owned() }).await.unwrap();
        let (mut changes, mut last) = (watched.into_inner(), None);
        while let Some(change) = changes.message().await.unwrap() {
            let job = change.job.unwrap();
            seen.push(job.state());
            last = Some((job, change.answer));
        }
        let (job, answer) = last.expect("a watch tells at least where the job stands");
        (seen, job, answer)
    };
    tokio::time::timeout(Duration::from_secs(30), following).await.expect("the job ends")
}

fn y(answer: &ModelInferResponse) -> Vec<f32> {
    answer.outputs[0].contents.as_ref().unwrap().fp32_contents.clone()
}

/// A service without workers, with version 1 as its champion.
async fn idle() -> (World, Life) {
    let mut world = World::new();
    world.settings.serving.jobs.workers = 0;
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    (world, life)
}

async fn working() -> (World, Life) {
    let world = World::new();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    (world, life)
}

#[tokio::test]
async fn a_job_is_answered_as_its_question_is_when_somebody_waits() {
    let (_world, life) = working().await;
    let asked = ModelInferRequest { id: "mine".to_owned(), ..row([1.0, 2.0]) };
    let accepted = submit(&life, question(asked.clone())).await.unwrap();
    let job = accepted.job.unwrap();
    assert!(accepted.created);
    assert_eq!((job.model.as_str(), job.version, job.rows, job.submitted_by.as_str()), (MODEL, 1, 1, "local"));
    let (seen, job, answer) = followed(&life, &job.id).await;
    assert_eq!((seen.last(), job.attempts), (Some(&State::Succeeded), 1));
    assert!(seen.windows(2).all(|pair| pair[0] as i32 <= pair[1] as i32), "it goes forward only: {seen:?}");
    let times = [job.accepted_at, job.queued_at, job.started_at, job.finished_at].map(|time| {
        let time = time.expect("it went through all of them");
        (time.seconds, time.nanos)
    });
    assert!(times.is_sorted(), "{times:?}");
    let (answer, direct) = (answer.unwrap(), life.inference().model_infer(asked).await.unwrap().into_inner());
    assert_eq!(answer, direct);
    assert_eq!(get(&life, &job.id).await, (job, Some(answer)));
    life.end().await;
}

#[tokio::test]
async fn the_same_question_is_the_same_job_and_another_key_makes_another() {
    let (_world, life) = working().await;
    let submitting = (0..8).map(|_| submit(&life, question(row([5.0, 6.0]))));
    let accepted: Vec<_> = futures::future::join_all(submitting).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(accepted.iter().filter(|accepted| accepted.created).count(), 1);
    let ids: BTreeSet<_> = accepted.iter().map(|accepted| accepted.job.as_ref().unwrap().id.clone()).collect();
    assert_eq!(ids.len(), 1);
    let id = ids.into_iter().next().unwrap();
    followed(&life, &id).await;
    let again = submit(&life, question(ModelInferRequest { id: "another".to_owned(), ..row([5.0, 6.0]) })).await.unwrap();
    assert_eq!((again.created, again.job.as_ref().unwrap().state()), (false, State::Succeeded));
    assert_eq!(again.job.unwrap().id, id);
    let keyed = SubmitPredictionRequest { key: "again".to_owned(), ..question(row([5.0, 6.0])) };
    let keyed = submit(&life, keyed).await.unwrap();
    assert!(keyed.created && keyed.job.unwrap().id != id);
    assert!(submitted(&life, [6.0, 5.0]).await.id != id);
    life.end().await;
}

#[tokio::test]
async fn a_job_is_answered_by_the_artifact_that_was_named_whatever_is_promoted_since() {
    let (mut world, life) = idle().await;
    let job = submitted(&life, [1.0, 1.0]).await;
    for version in [2_u8, 3] {
        life.register(plus(f32::from(version) * 10.0)).await;
        life.promote(version.into(), u64::from(version) - 1).await.unwrap();
    }
    let other = submitted(&life, [1.0, 1.0]).await;
    assert!(other.id != job.id, "another artifact is another question");
    life.end().await;
    world.settings.serving.jobs.workers = 2;
    let life = world.start().await;
    let (_, job, answer) = followed(&life, &job.id).await;
    assert_eq!((job.state(), y(&answer.unwrap())), (State::Succeeded, vec![3.0; 3]));
    let (_, job, answer) = followed(&life, &other.id).await;
    assert_eq!((job.version, y(&answer.unwrap())), (3, vec![32.0; 3]));
    life.end().await;
}

#[tokio::test]
async fn a_question_that_cannot_be_asked_is_no_job() {
    let (_world, life) = idle().await;
    let bad = |request: ModelInferRequest| question(request);
    let absent = SubmitPredictionRequest::default();
    let expired = SubmitPredictionRequest { valid_for: Some(prost_types::Duration::default()), ..question(row([0.0, 0.0])) };
    let long = SubmitPredictionRequest { key: "k".repeat(129), ..question(row([0.0, 0.0])) };
    let cases = [
        (absent, "question"),
        (bad(ModelInferRequest { inputs: vec![], ..row([0.0, 0.0]) }), "question.inputs"),
        (expired, "valid_for"),
        (long, "key"),
    ];
    for (request, field) in cases {
        let refused = submit(&life, request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(field), "{field}: {refused}");
    }
    let unknown = question(ModelInferRequest { model_name: "beer".to_owned(), ..row([0.0, 0.0]) });
    assert_eq!(submit(&life, unknown).await.unwrap_err().code(), Code::NotFound);
    let listed = jobs(&life).list(ListPredictionsRequest::default()).await.unwrap().into_inner();
    assert!(listed.jobs.is_empty(), "{listed:?}");
    let missing = jobs(&life).get(GetPredictionRequest { id: "ab".to_owned() }).await.unwrap_err();
    assert_eq!((missing.code(), errors::reason(&missing).as_deref()), (Code::NotFound, Some("UNKNOWN_JOB")));
    life.end().await;
}

#[tokio::test]
async fn a_job_whose_answer_is_no_number_or_too_large_fails_and_says_why() {
    let mut world = World::new();
    world.settings.serving.jobs.result_bytes = loadline_runtime::config::ByteSize::kib(64);
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    let gap = submitted(&life, [f32::NAN, 1.0]).await;
    let (_, job, answer) = followed(&life, &gap.id).await;
    assert_eq!((job.state(), job.reason.as_str(), answer), (State::Failed, "INVALID", None));
    assert!(job.detail.contains("NaN"), "{}", job.detail);
    let rows = 6_000_i64;
    let contents =
        loadline_proto::inference::InferTensorContents { fp32_contents: vec![1.0; 2 * rows as usize], ..Default::default() };
    let large = submit(&life, question(crate::world::rows("FP32", &[rows, 2], contents))).await.unwrap().job.unwrap();
    let (_, job, _) = followed(&life, &large.id).await;
    assert_eq!((job.state(), job.reason.as_str(), job.rows), (State::Failed, "RESULT_TOO_LARGE", rows as u64));
    life.end().await;
}

#[tokio::test]
async fn a_cancelled_job_and_an_expired_one_are_answered_by_nobody() {
    let (mut world, life) = idle().await;
    let cancelled = submitted(&life, [1.0, 1.0]).await.id;
    let short = prost_types::Duration { seconds: 0, nanos: 1_000_000 };
    let expiring = SubmitPredictionRequest { valid_for: Some(short), ..question(row([2.0, 2.0])) };
    let expiring = submit(&life, expiring).await.unwrap().job.unwrap();
    assert!(expiring.deadline.is_some());
    let request = CancelPredictionRequest { id: cancelled.clone() };
    let job = jobs(&life).cancel(request.clone()).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.state(), State::Cancelled);
    assert_eq!(jobs(&life).cancel(request).await.unwrap().into_inner().job.unwrap(), job, "it stays as it is");
    assert_eq!(followed(&life, &expiring.id).await.1.state(), State::Expired);
    life.end().await;
    world.settings.serving.jobs.workers = 2;
    let life = world.start().await;
    let kept = submitted(&life, [3.0, 3.0]).await;
    followed(&life, &kept.id).await;
    assert_eq!(get(&life, &cancelled).await, (job, None));
    life.end().await;
}

#[tokio::test]
async fn callers_see_and_cancel_what_they_submitted_and_operators_everything() {
    let (_world, life) = idle().await;
    fn of<T>(account: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-loadline-account", account.parse().unwrap());
        request
    }
    let mine = jobs(&life).submit(of("acme", question(row([1.0, 0.0])))).await.unwrap().into_inner().job.unwrap();
    let others = jobs(&life).submit(of("globex", question(row([2.0, 0.0])))).await.unwrap().into_inner().job.unwrap();
    let all = ListPredictionsRequest::default();
    let ids = |jobs: Vec<PredictionJob>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    let listed = jobs(&life).list(of("acme", all.clone())).await.unwrap().into_inner().jobs;
    assert_eq!(ids(listed), std::slice::from_ref(&mine.id));
    let listed = jobs(&life).list(all.clone()).await.unwrap().into_inner().jobs;
    assert_eq!(ids(listed), [others.id.clone(), mine.id.clone()]);
    let refused = jobs(&life).cancel(of("acme", CancelPredictionRequest { id: others.id.clone() })).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    jobs(&life).cancel(of("acme", CancelPredictionRequest { id: mine.id })).await.unwrap();
    jobs(&life).cancel(CancelPredictionRequest { id: others.id }).await.unwrap();
    let page =
        |page_token: String| ListPredictionsRequest { page_size: 1, page_token, state: State::Cancelled.into(), ..all.clone() };
    let first = jobs(&life).list(page(String::new())).await.unwrap().into_inner();
    let second = jobs(&life).list(page(first.next_page_token.clone())).await.unwrap().into_inner();
    let other = ListPredictionsRequest { state: 99, ..all.clone() };
    assert_eq!(jobs(&life).list(other).await.unwrap_err().code(), Code::InvalidArgument, "no state is not any state");
    assert_eq!((first.jobs[0].submitted_by.as_str(), second.jobs[0].submitted_by.as_str()), ("local/globex", "local/acme"));
    life.end().await;
}

#[tokio::test]
async fn beyond_the_limit_no_job_is_accepted_but_what_is_known_is_told() {
    let mut world = World::new();
    (world.settings.serving.jobs.workers, world.settings.serving.jobs.open) = (0, 2);
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    let first = submitted(&life, [1.0, 0.0]).await;
    submitted(&life, [2.0, 0.0]).await;
    let refused = submit(&life, question(row([3.0, 0.0]))).await.unwrap_err();
    assert_eq!((refused.code(), errors::reason(&refused).as_deref()), (Code::ResourceExhausted, Some("JOBS_FULL")));
    assert!(errors::retry_after(&refused).is_some());
    assert_eq!(submitted(&life, [1.0, 0.0]).await.id, first.id);
    jobs(&life).cancel(CancelPredictionRequest { id: first.id }).await.unwrap();
    until("there is room again", async || submit(&life, question(row([3.0, 0.0]))).await.is_ok()).await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_silent_holds_up_jobs_and_no_answer_and_loses_none() {
    let server = nats::Server::start(nats::V2_15);
    let mut world = World::new();
    world.settings.serving.queue = SecretUrl::new(server.url());
    world.settings.serving.jobs.lease = HumanDuration::secs(2);
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    let before = submitted(&life, [1.0, 0.0]).await;
    assert_eq!(followed(&life, &before.id).await.1.state(), State::Succeeded);
    server.signal(Signal::SIGSTOP);
    let mut waiting = Vec::new();
    for x in 2..12_u8 {
        waiting.push(submitted(&life, [f32::from(x), 0.0]).await.id);
    }
    assert_eq!(life.ask([1.0, 1.0]).await.unwrap().y, [3.0; 3], "there is no queue in a direct answer");
    tokio::time::sleep(Duration::from_secs(6)).await;
    for id in &waiting {
        assert_eq!(get(&life, id).await.0.state(), State::Accepted, "it is durable, and waits in the outbox");
    }
    let open = reaches(&life, QUEUE, health::State::Open).await;
    assert!(open.evidence.as_ref().is_some_and(|evidence| evidence.detail.contains("10 wait in the outbox")), "{open:?}");
    let ask = PlanRemedyRequest { failure_mode: QUEUE.to_owned(), key: "C".to_owned(), ..PlanRemedyRequest::default() };
    let plan = FailureModeServiceClient::new(life.channel()).plan_remedy(ask).await.unwrap().into_inner();
    let counts: Vec<_> = plan.effects.iter().map(|effect| effect.count).collect();
    assert_eq!((plan.target.as_str(), plan.confirm.as_str(), &counts[..]), ("queue", "y", &[1, 10][..]), "{plan:?}");
    server.signal(Signal::SIGCONT);
    for (id, x) in waiting.iter().zip(2_u8..) {
        let (_, job, answer) = followed(&life, id).await;
        assert_eq!((job.state(), y(&answer.unwrap())), (State::Succeeded, vec![f32::from(x) + 1.0; 3]));
    }
    reaches(&life, QUEUE, health::State::Ok).await;
    life.end().await;
}

#[tokio::test]
async fn a_process_that_ends_leaves_its_jobs_to_the_next_and_no_attempt_is_lost() {
    let (world, life) = working().await;
    let mut all = Vec::new();
    for x in 0..40_u8 {
        all.push(submitted(&life, [f32::from(x), 1.0]).await.id);
    }
    life.end().await;
    let life = world.start().await;
    for (id, x) in all.iter().zip(0_u8..) {
        let (_, job, answer) = followed(&life, id).await;
        assert_eq!((job.state(), job.attempts, y(&answer.unwrap())), (State::Succeeded, 1, vec![f32::from(x) + 2.0; 3]));
    }
    life.end().await;
}
