//! Jobs while everything under them is killed and paused: none that was acknowledged is lost, none ends twice, each has the model's answer.
//!
//! `LOADLINE_TORTURE_SECONDS` says for how long, 20 unless it is set; `LOADLINE_TORTURE_SEED` repeats what was done in another run.
#![allow(clippy::unwrap_used)] // also in what the tests share

#[path = "../../event-log/tests/nats/mod.rs"]
mod nats;
#[path = "serving/onnx.rs"]
#[allow(dead_code)]
mod onnx;
#[path = "../../store/tests/postgres_server.rs"]
mod postgres_server;
#[path = "torture/process.rs"]
mod process;

use loadline_proto::{
    inference::{InferTensorContents, ModelInferRequest, ModelInferResponse, model_infer_request::InferInputTensor},
    serving::{SubmitPredictionRequest, prediction_job_service_client::PredictionJobServiceClient},
};
use nix::sys::signal::Signal;
use postgres_server::PostgresServer;
use process::Serving;
use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sqlx::{Connection as _, PgConnection};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// After the last fault everything has to end within this time.
const SETTLING: Duration = Duration::from_secs(120);
/// How many ask at once.
const CALLERS: u32 = 3;

/// What was acknowledged: the job of each question.
type Acknowledged = Arc<Mutex<HashMap<u32, String>>>;

fn seconds() -> Duration {
    Duration::from_secs(std::env::var("LOADLINE_TORTURE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20))
}

fn seed() -> u64 {
    std::env::var("LOADLINE_TORTURE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random)
}

fn question(number: u32) -> SubmitPredictionRequest {
    let contents = InferTensorContents { fp32_contents: vec![number as f32, 1.0], ..InferTensorContents::default() };
    let (name, datatype) = ("x".to_owned(), "FP32".to_owned());
    let input = InferInputTensor { name, datatype, shape: vec![1, 2], contents: Some(contents), ..Default::default() };
    let request = ModelInferRequest { model_name: process::MODEL.to_owned(), inputs: vec![input], ..Default::default() };
    SubmitPredictionRequest { question: Some(request), ..SubmitPredictionRequest::default() }
}

/// What the model answers to it.
fn answered(number: u32) -> Vec<f32> {
    vec![number as f32 + 2.0; 3]
}

/// Submits new questions, and old ones again, each until it is acknowledged or time is over.
async fn call(
    address: String,
    next: Arc<AtomicU32>,
    acknowledged: Acknowledged,
    ended: Arc<AtomicBool>,
    mut chance: StdRng,
) -> u64 {
    let mut repeated = 0;
    let channel =
        tonic::transport::Endpoint::from_shared(address).unwrap().connect_timeout(Duration::from_secs(1)).connect_lazy();
    while !ended.load(Relaxed) {
        let known = next.load(Relaxed);
        let number =
            if known > 0 && chance.random_bool(0.3) { chance.random_range(0..known) } else { next.fetch_add(1, Relaxed) };
        // A lost reply leaves open whether it was accepted: the same question again is the answer to that.
        while !ended.load(Relaxed) {
            let mut client = PredictionJobServiceClient::new(channel.clone());
            let submitted = timeout(Duration::from_secs(2), client.submit(question(number))).await;
            let Ok(Ok(answer)) = submitted else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let answer = answer.into_inner();
            repeated += u64::from(!answer.created);
            let id = answer.job.unwrap().id;
            let before = acknowledged.lock().unwrap().insert(number, id.clone());
            assert!(before.is_none_or(|before| before == id), "question {number} has two jobs");
            break;
        }
        sleep(Duration::from_millis(chance.random_range(0..20))).await;
    }
    repeated
}

/// Something happens to one of the three. Returns what.
async fn harm(what: u32, servers: &mut (nats::Server, PostgresServer, Serving), pause: Duration) -> &'static str {
    let (nats, postgres, serving) = servers;
    match what {
        0 => {
            nats.kill_and_restart();
            "nats-server was killed"
        }
        1 => {
            nats.signal(Signal::SIGSTOP);
            sleep(pause).await;
            nats.signal(Signal::SIGCONT);
            "nats-server was paused"
        }
        2 => {
            postgres.kill();
            sleep(pause / 4).await;
            postgres.restart().await;
            "PostgreSQL was killed"
        }
        3 => {
            postgres.freeze();
            sleep(pause).await;
            postgres.thaw();
            "PostgreSQL was paused"
        }
        4 => {
            serving.kill();
            sleep(pause / 4).await;
            serving.start();
            "serving was killed"
        }
        _ => {
            // Longer than a lease: what it worked on is claimed by nobody else here, or by its own next life.
            serving.signal(Signal::SIGSTOP);
            sleep(pause).await;
            serving.signal(Signal::SIGCONT);
            "serving was paused"
        }
    }
}

/// Waits until nothing is open any more, as the database has it.
async fn settled(url: &str) {
    let settling = async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        loop {
            let open = "SELECT count(*) FROM prediction_job WHERE finished_at IS NULL";
            let open: i64 = sqlx::query_scalar(open).fetch_one(&mut connection).await.unwrap();
            if open == 0 {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(SETTLING, settling).await.expect("jobs are left that do not end");
}

/// The books: of each question that was acknowledged one job, one end, and the model's own answer.
async fn check(url: &str, acknowledged: &HashMap<u32, String>) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let jobs = "SELECT id, state, (SELECT count(*) FROM prediction_end AS e WHERE e.number = job.number AND e.state = job.state),
                       (SELECT result FROM prediction_result AS r WHERE r.number = job.number)
                FROM prediction_job AS job";
    let jobs: Vec<(String, String, i64, Option<Vec<u8>>)> = sqlx::query_as(jobs).fetch_all(&mut connection).await.unwrap();
    let total = jobs.len();
    let by_id: HashMap<_, _> = jobs.into_iter().map(|(id, state, ends, result)| (id, (state, ends, result))).collect();
    assert_eq!(by_id.len(), total, "an id is there twice");
    let ends: i64 = sqlx::query_scalar("SELECT count(*) FROM prediction_end").fetch_one(&mut connection).await.unwrap();
    assert_eq!(ends, total as i64, "each job has one end, also those whose acknowledgement was lost");
    let outbox: i64 = sqlx::query_scalar("SELECT count(*) FROM prediction_outbox").fetch_one(&mut connection).await.unwrap();
    assert_eq!(outbox, 0);
    for (number, id) in acknowledged {
        let (state, ends, result) = by_id.get(id).unwrap_or_else(|| panic!("question {number} was acknowledged and is lost"));
        assert_eq!((state.as_str(), *ends), ("succeeded", 1), "question {number}");
        let answer = ModelInferResponse::decode(&**result.as_ref().expect("what has succeeded has a result")).unwrap();
        assert_eq!(answer.outputs[0].contents.as_ref().unwrap().fp32_contents, answered(*number), "question {number}");
    }
}

async fn torture(release: &str) {
    let seed = seed();
    println!("LOADLINE_TORTURE_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let (nats, postgres) = (nats::Server::start(release), PostgresServer::start().await);
    let (url, superuser) = (postgres.service_url(), postgres.url());
    let serving = Serving::new(&url, &nats.url());
    serving.prepared().await;
    let address = serving.address();
    let (next, ended, acknowledged) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)), Acknowledged::default());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let chance = StdRng::seed_from_u64(chance.random());
            tokio::spawn(call(address.clone(), next.clone(), acknowledged.clone(), ended.clone(), chance))
        })
        .collect();
    let mut servers = (nats, postgres, serving);
    let (began, mut first) = (Instant::now(), 0);
    while began.elapsed() < seconds() || first < 6 {
        sleep(Duration::from_millis(chance.random_range(200..1_500))).await;
        // Each at least once, then by chance.
        let what = if first < 6 { first } else { chance.random_range(0..6) };
        first += 1;
        let pause = Duration::from_millis(chance.random_range(500..4_000));
        let did = harm(what, &mut servers, pause).await;
        println!("{:6.1} s: {did}", began.elapsed().as_secs_f64());
    }
    sleep(Duration::from_secs(1)).await;
    ended.store(true, Relaxed);
    let mut repeated = 0;
    for caller in callers {
        repeated += caller.await.unwrap();
    }
    settled(&superuser).await;
    let acknowledged = acknowledged.lock().unwrap().clone();
    check(&superuser, &acknowledged).await;
    println!("{} questions acknowledged, {repeated} times as known before", acknowledged.len());
    assert!(first >= 6 && acknowledged.len() > 20 && repeated > 0, "too little happened for a verdict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_job_ends_once_with_the_models_answer_whatever_dies_on_2_15() {
    torture(nats::V2_15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_job_ends_once_with_the_models_answer_whatever_dies_on_2_9() {
    torture(nats::V2_9).await;
}
