//! One cache before a version that counts what it is asked.

use super::*;
use crate::{
    engine::{Answers, Engine, Limits},
    resident::Identity,
};
use async_trait::async_trait;
use loadline_models::Values;
use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::time::sleep;

/// Answers each row with its number and how many calls there were before; what is negative it refuses.
struct Counting(Arc<AtomicU64>);

impl Answers for Counting {
    fn answer(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Refusal> {
        std::thread::sleep(Duration::from_millis(20));
        let call = self.0.fetch_add(1, SeqCst);
        let Values::F32(values) = &inputs[0].values else { unreachable!("floats are asked") };
        if values.iter().any(|value| *value < 0.0) {
            return Err(Refusal::Invalid("negative".to_owned()));
        }
        let answers = values.iter().map(|value| value * 1_000.0 + call as f32).collect();
        Ok(vec![Tensor::new("y", [values.len()], Values::F32(answers))])
    }
}

/// A shared tier in memory, which can be told to lie or to fail.
#[derive(Default)]
struct Table {
    entries: Mutex<Vec<Entry>>,
    gives: Mutex<Option<Result<Option<Entry>, SharedError>>>,
}

#[async_trait]
impl Shared for Table {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, SharedError> {
        match self.gives.lock().unwrap().clone() {
            Some(gives) => gives,
            None => Ok(self.entries.lock().unwrap().iter().find(|entry| entry.key == *key).cloned()),
        }
    }
    async fn put(&self, entry: &Entry) -> Result<(), SharedError> {
        self.entries.lock().unwrap().push(entry.clone());
        Ok(())
    }
    async fn flush(&self, artifact: Option<&Sha256>) -> Result<u64, SharedError> {
        let mut entries = self.entries.lock().unwrap();
        let before = entries.len();
        entries.retain(|entry| artifact.is_some_and(|artifact| entry.key.artifact != *artifact));
        Ok((before - entries.len()) as u64)
    }
    async fn probe(&self) -> Result<(), SharedError> {
        Ok(())
    }
    async fn reconnect(&self) -> Result<(), SharedError> {
        Ok(())
    }
    fn is_there(&self) -> bool {
        true
    }
}

struct Setting {
    cache: Cache,
    table: Arc<Table>,
    engine: Engine,
}

impl Setting {
    fn new() -> Self {
        let table = Arc::new(Table::default());
        let engine = Engine::new(Limits { batch_rows: 1, queued_rows: 1_000, runners: 2, target_wait: Duration::ZERO });
        Self { cache: Cache::new(1 << 20, table.clone()), table, engine }
    }

    fn version(&self, file: &[u8]) -> (Loaded, Arc<AtomicU64>) {
        let calls = Arc::new(AtomicU64::new(0));
        let identity = Identity { model: "m".to_owned(), number: 1, sha256: Sha256::of(file) };
        (Loaded::new(identity, vec![], vec![], &self.engine, Counting(calls.clone())), calls)
    }

    async fn ask(&self, version: &Loaded, value: f32) -> Result<f32, Refusal> {
        let inputs = vec![Tensor::new("x", [1], Values::F32(vec![value]))];
        let outputs = self.cache.answer(version, inputs, 1, None).await?;
        let Values::F32(values) = &outputs[0].values else { unreachable!("floats are answered") };
        Ok(values[0])
    }

    /// What was put into the shared tier is there a moment later.
    async fn shared(&self, count: usize) {
        while self.table.entries.lock().unwrap().len() < count {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_question_is_asked_once_however_many_ask_it_at_a_time() {
    let setting = Setting::new();
    let (version, calls) = setting.version(b"a");
    let answers = futures::future::join_all((0..50).map(|_| setting.ask(&version, 3.0))).await;
    assert!(answers.iter().all(|answer| *answer == Ok(3_000.0)), "{answers:?}");
    assert_eq!(calls.load(SeqCst), 1);
    assert_eq!(setting.ask(&version, 4.0).await, Ok(4_001.0), "another question is another");
    assert_eq!((setting.cache.held(None), setting.cache.counts().hits), (2, 49));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_takes_the_answer_from_nobody_and_a_refusal_is_nobody_elses() {
    let setting = Setting::new();
    let (version, calls) = setting.version(b"a");
    let left = tokio::time::timeout(Duration::from_millis(5), setting.ask(&version, 3.0));
    let (left, stayed) = tokio::join!(left, setting.ask(&version, 3.0));
    assert!(left.is_err(), "it had no time");
    assert_eq!(stayed.map(|answer| (answer / 1_000.0).floor()), Ok(3.0));
    let before = calls.load(SeqCst);
    let refused = futures::future::join_all((0..3).map(|_| setting.ask(&version, -1.0))).await;
    assert!(refused.iter().all(Result::is_err));
    assert!(calls.load(SeqCst) - before >= 3, "each asked for itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_artifact_never_gets_the_answer_not_even_from_a_tier_that_lies() {
    let setting = Setting::new();
    let ((old, _), (new, calls)) = (setting.version(b"a"), setting.version(b"b"));
    setting.ask(&old, 3.0).await.unwrap();
    setting.shared(1).await;
    assert_eq!(setting.ask(&new, 3.0).await, Ok(3_000.0));
    assert_eq!(calls.load(SeqCst), 1, "by itself");
    let lie = setting.table.entries.lock().unwrap()[0].clone();
    assert_eq!(lie.key.artifact, old.sha256);
    *setting.table.gives.lock().unwrap() = Some(Ok(Some(lie)));
    assert_eq!(setting.ask(&new, 5.0).await, Ok(5_001.0), "and by itself again");
    let stale = setting.cache.stale();
    assert_eq!(stale.found, 1);
    assert!(stale.detail.contains(&old.sha256.to_string()), "{}", stale.detail);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_fails_or_has_another_question_is_a_miss() {
    let setting = Setting::new();
    let (version, calls) = setting.version(b"a");
    for (at, gives) in [
        Err(SharedError::Unavailable("refused".to_owned())),
        Ok(None),
        Ok(Some(Entry { key: Key::of(version.sha256, &[]), outputs: Vec::new().into() })),
    ]
    .into_iter()
    .enumerate()
    {
        *setting.table.gives.lock().unwrap() = Some(gives);
        let value = at as f32 + 1.0;
        assert_eq!(setting.ask(&version, value).await, Ok(value * 1_000.0 + at as f32));
        assert_eq!(calls.load(SeqCst), at as u64 + 1);
    }
    assert_eq!((setting.cache.counts().errors, setting.cache.stale().found), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_was_answered_is_found_and_a_flush_takes_out_one_artifacts_everywhere() {
    let setting = Setting::new();
    let ((one, calls), (other, _)) = (setting.version(b"a"), setting.version(b"b"));
    setting.ask(&one, 3.0).await.unwrap();
    setting.ask(&other, 3.0).await.unwrap();
    setting.shared(2).await;
    let neighbour = Setting { cache: Cache::new(1 << 20, setting.table.clone()), ..Setting::new() };
    assert_eq!((neighbour.ask(&one, 3.0).await, calls.load(SeqCst)), (Ok(3_000.0), 1));
    assert_eq!(setting.cache.flush(Some(&one.sha256)).await, (1, Ok(1)));
    assert_eq!((setting.cache.held(Some(&one.sha256)), setting.cache.held(None)), (0, 1));
    setting.ask(&one, 3.0).await.unwrap();
    assert_eq!(calls.load(SeqCst), 2);
    assert_eq!(setting.cache.flush(None).await.0, 2);
}

#[test]
fn answers_are_alike_where_they_only_round_otherwise() {
    let tensor = |name: &str, value: f32| [Tensor::new(name, [1], Values::F32(vec![value]))];
    assert!(are_alike(&tensor("y", 0.5), &tensor("y", 0.500_000_1)));
    for other in [tensor("y", 0.51), tensor("z", 0.5)] {
        assert!(!are_alike(&tensor("y", 0.5), &other), "{other:?}");
    }
    assert!(!are_alike(&tensor("y", 0.5), &[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_and_a_cache_of_no_bytes_keeps_nothing() {
    let setting = Setting::new();
    let engine = Engine::new(Limits { batch_rows: 1, queued_rows: 1_000, runners: 2, target_wait: Duration::ZERO });
    let identity = Identity { model: "m".to_owned(), number: 1, sha256: Sha256::of(b"c") };
    struct Echo;
    impl Answers for Echo {
        fn answer(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Refusal> {
            Ok(inputs.to_vec())
        }
    }
    let version = Loaded::new(identity, vec![], vec![], &engine, Echo);
    for value in 0..4_000 {
        let inputs = vec![Tensor::new("x", [1], Values::F32(vec![value as f32]))];
        assert_eq!(setting.cache.answer(&version, inputs.clone(), 1, None).await, Ok(inputs));
    }
    let held = setting.cache.held(None);
    assert!(held > 100 && held * 500 < 1 << 20, "{held} entries of half a KiB in one MiB");
    let off = Cache::new(0, setting.table.clone());
    let inputs = vec![Tensor::new("x", [1], Values::F32(vec![1.0]))];
    off.answer(&version, inputs, 1, None).await.unwrap();
    assert_eq!((off.is_on(), off.held(None)), (false, 0));
}
