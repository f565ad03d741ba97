use super::*;
use loadline_models::{Tensor, Values};
use std::{sync::mpsc, time::Duration};
use tokio::task::JoinHandle;

const LIMITS: Limits = Limits { batch_rows: 8, queued_rows: 16, runners: 1, target_wait: Duration::ZERO };

/// Doubles its rows, once it is let: a model whose batches end when a test wants.
struct Doubles {
    /// Sizes of the batches it was given.
    given: mpsc::Sender<Vec<f32>>,
    /// One word a batch.
    let_go: Mutex<mpsc::Receiver<()>>,
}

/// The test's side of it.
struct Held {
    given: mpsc::Receiver<Vec<f32>>,
    let_go: mpsc::Sender<()>,
}

impl Answers for Doubles {
    fn answer(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Refusal> {
        let Values::F32(values) = &inputs[0].values else { panic!("floats are given") };
        self.given.send(values.clone()).unwrap();
        self.let_go.lock().unwrap().recv().unwrap();
        // Never quick: a test's only thread must not wait for its own word.
        std::thread::sleep(Duration::from_millis(1));
        if values.contains(&666.0) {
            panic!("a model that fails");
        }
        if values.contains(&-1.0) {
            return Err(Refusal::Invalid("minus one".to_owned()));
        }
        let values = Values::F32(values.iter().map(|value| value * 2.0).collect());
        Ok(vec![Tensor { name: "y".to_owned(), shape: inputs[0].shape.clone(), values }])
    }
}

fn held(engine: &Engine) -> (Arc<Lane>, Held) {
    let ((given, seen), (let_go, word)) = (mpsc::channel(), mpsc::channel());
    let lane = Lane::new(engine, Doubles { given, let_go: Mutex::new(word) });
    (Arc::new(lane), Held { given: seen, let_go })
}

fn row(values: &[f32]) -> Vec<Tensor> {
    vec![Tensor { name: "x".to_owned(), shape: vec![values.len(), 1], values: Values::F32(values.to_vec()) }]
}

type Asked = JoinHandle<Result<Vec<f32>, Refusal>>;

/// Asks, and waits until it is in the queue (or with the model).
async fn ask(lane: &Arc<Lane>, values: &[f32], deadline: Option<Duration>) -> Asked {
    let (lane, values) = (lane.clone(), values.to_vec());
    let deadline = deadline.map(|left| tokio::time::Instant::now() + left);
    let asked = tokio::spawn(async move {
        let answer = lane.answer(row(&values), values.len(), deadline).await?;
        let Values::F32(values) = &answer[0].values else { panic!("floats are answered") };
        Ok(values.clone())
    });
    tokio::task::yield_now().await;
    asked
}

impl Held {
    /// The next batch that the model is given.
    fn next(&self) -> Vec<f32> {
        self.given.recv_timeout(Duration::from_secs(10)).expect("the model is asked")
    }

    fn let_go(&self) {
        self.let_go.send(()).unwrap();
    }
}

#[tokio::test]
async fn a_lone_request_waits_for_nothing_and_what_comes_meanwhile_is_the_next_batch() {
    let engine = Engine::new(LIMITS);
    let (lane, model) = held(&engine);
    let first = ask(&lane, &[1.0], None).await;
    assert_eq!(model.next(), [1.0], "it does not wait for others");
    let (second, third) = (ask(&lane, &[2.0, 3.0], None).await, ask(&lane, &[4.0], None).await);
    model.let_go();
    assert_eq!(model.next(), [2.0, 3.0, 4.0], "all that waited, in order, and at once");
    model.let_go();
    assert_eq!(first.await.unwrap().unwrap(), [2.0]);
    assert_eq!(second.await.unwrap().unwrap(), [4.0, 6.0]);
    assert_eq!(third.await.unwrap().unwrap(), [8.0]);
    let told = lane.statistics().told("m", 1);
    assert_eq!((told.inference_count, told.execution_count), (4, 2));
}

#[tokio::test]
async fn a_batch_ends_before_the_request_that_does_not_fit() {
    let engine = Engine::new(LIMITS);
    let (lane, model) = held(&engine);
    let first = ask(&lane, &[0.0], None).await;
    model.next();
    let mut waiting = Vec::new();
    for value in 1..=3_u8 {
        waiting.push(ask(&lane, &[f32::from(value); 3], None).await);
    }
    (0..3).for_each(|_| model.let_go());
    assert_eq!((model.next().len(), model.next().len()), (6, 3), "8 rows at most, and no request is cut");
    first.await.unwrap().unwrap();
    for asked in waiting {
        assert_eq!(asked.await.unwrap().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_request_larger_than_a_batch_is_one_alone() {
    let engine = Engine::new(LIMITS);
    let (lane, model) = held(&engine);
    let asked = ask(&lane, &[1.0; 40], None).await;
    assert_eq!(model.next().len(), 40);
    model.let_go();
    assert_eq!(asked.await.unwrap().unwrap().len(), 40);
}

#[tokio::test]
async fn past_the_limit_a_request_is_refused_at_once_and_the_others_are_answered() {
    let engine = Engine::new(LIMITS);
    let (lane, model) = held(&engine);
    let first = ask(&lane, &[0.0], None).await;
    model.next();
    let (second, third) = (ask(&lane, &[1.0; 8], None).await, ask(&lane, &[2.0; 8], None).await);
    let refused = ask(&lane, &[3.0], None).await.await.unwrap();
    assert!(matches!(refused, Err(Refusal::Full { rows: 16, .. })), "{refused:?}");
    (0..3).for_each(|_| model.let_go());
    for asked in [first, second, third] {
        asked.await.unwrap().unwrap();
    }
    assert_eq!((model.next().len(), model.next().len()), (8, 8));
}

#[tokio::test]
async fn an_expired_request_never_reaches_the_model() {
    let engine = Engine::new(LIMITS);
    let (lane, model) = held(&engine);
    let first = ask(&lane, &[1.0], None).await;
    model.next();
    let expiring = ask(&lane, &[2.0], Some(Duration::from_millis(20))).await;
    let patient = ask(&lane, &[3.0], Some(Duration::from_secs(60))).await;
    std::thread::sleep(Duration::from_millis(30));
    (0..2).for_each(|_| model.let_go());
    assert_eq!(model.next(), [3.0]);
    assert_eq!(expiring.await.unwrap(), Err(Refusal::Expired));
    assert_eq!(patient.await.unwrap().unwrap(), [6.0]);
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_comes_after_its_deadline_is_told_so_though_nothing_waits() {
    let engine = Engine::new(LIMITS);
    let (lane, _model) = held(&engine);
    assert_eq!(ask(&lane, &[1.0], Some(Duration::ZERO)).await.await.unwrap(), Err(Refusal::Expired));
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_never_reaches_the_model_and_frees_its_place() {
    let engine = Engine::new(LIMITS);
    let (lane, model) = held(&engine);
    let first = ask(&lane, &[1.0], None).await;
    model.next();
    let cancelled = ask(&lane, &[2.0; 16], None).await;
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    // Also while the model is still busy with what came before it.
    let next = ask(&lane, &[3.0; 16], None).await;
    assert!(!next.is_finished(), "{:?}", next.await);
    model.let_go();
    first.await.unwrap().unwrap();
    assert_eq!(model.next(), [3.0; 16], "the queue is not full of what nobody wants");
    model.let_go();
    next.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_whose_deadline_the_queue_cannot_keep_is_refused_at_once() {
    let engine = Engine::new(LIMITS);
    let (lane, model) = held(&engine);
    let slow = ask(&lane, &[1.0], None).await;
    model.next();
    std::thread::sleep(Duration::from_millis(40));
    model.let_go();
    slow.await.unwrap().unwrap();
    let busy = ask(&lane, &[1.0], None).await;
    model.next();
    let waiting = ask(&lane, &[2.0; 4], None).await;
    let hopeless = ask(&lane, &[3.0], Some(Duration::from_millis(100))).await.await.unwrap();
    assert!(matches!(hopeless, Err(Refusal::Hopeless { wait }) if wait >= Duration::from_millis(120)), "{hopeless:?}");
    (0..2).for_each(|_| model.let_go());
    busy.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn versions_take_turns_and_no_more_batches_run_than_there_are_runners() {
    let engine = Engine::new(LIMITS);
    let ((loud, loud_model), (quiet, quiet_model)) = (held(&engine), held(&engine));
    let mut asked = vec![ask(&loud, &[1.0; 8], None).await];
    loud_model.next();
    asked.push(ask(&loud, &[2.0; 8], None).await);
    asked.push(ask(&loud, &[3.0; 8], None).await);
    asked.push(ask(&quiet, &[4.0], None).await);
    assert!(quiet_model.given.recv_timeout(Duration::from_millis(50)).is_err(), "the only runner is busy");
    loud_model.let_go();
    loud_model.next();
    loud_model.let_go();
    assert_eq!(quiet_model.next(), [4.0], "before the third batch of the other");
    quiet_model.let_go();
    loud_model.next();
    loud_model.let_go();
    for one in asked {
        one.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_model_that_panics_fails_its_batch_and_nothing_else() {
    let engine = Engine::new(LIMITS);
    let (lane, model) = held(&engine);
    let failing = ask(&lane, &[666.0], None).await;
    model.next();
    let next = ask(&lane, &[1.0], None).await;
    (0..2).for_each(|_| model.let_go());
    assert!(matches!(failing.await.unwrap(), Err(Refusal::Broken(_))));
    assert_eq!(next.await.unwrap().unwrap(), [2.0]);
}

#[tokio::test]
async fn a_request_that_the_model_refuses_takes_nobody_with_it() {
    let engine = Engine::new(LIMITS);
    let (lane, model) = held(&engine);
    let first = ask(&lane, &[0.0], None).await;
    model.next();
    let (good, bad) = (ask(&lane, &[1.0, 2.0], None).await, ask(&lane, &[-1.0], None).await);
    let also_good = ask(&lane, &[3.0], None).await;
    (0..5).for_each(|_| model.let_go());
    assert_eq!(model.next(), [1.0, 2.0, -1.0, 3.0]);
    assert_eq!(good.await.unwrap().unwrap(), [2.0, 4.0]);
    assert_eq!(bad.await.unwrap(), Err(Refusal::Invalid("minus one".to_owned())));
    assert_eq!(also_good.await.unwrap().unwrap(), [6.0]);
    first.await.unwrap().unwrap();
}

/// A model that answers at once, and keeps count of how many of it run.
struct Counts(Arc<Mutex<(usize, usize)>>);

impl Answers for Counts {
    fn answer(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Refusal> {
        let count = |by: isize| {
            let mut running = self.0.lock().unwrap();
            running.0 = running.0.checked_add_signed(by).unwrap();
            running.1 = running.1.max(running.0);
        };
        count(1);
        std::thread::yield_now();
        count(-1);
        Ok(inputs.to_vec())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_left_waiting_and_every_answer_is_its_requests() {
    let engine = Engine::new(Limits { batch_rows: 8, queued_rows: 1_000_000, runners: 2, target_wait: Duration::ZERO });
    let running = Arc::new(Mutex::new((0, 0)));
    let lanes: Vec<_> = (0..3).map(|_| Arc::new(Lane::new(&engine, Counts(running.clone())))).collect();
    let mut asking = Vec::new();
    for task in 0..24_u16 {
        let lane = lanes[usize::from(task) % lanes.len()].clone();
        asking.push(tokio::spawn(async move {
            for question in 0..400_u16 {
                let value = f32::from(task) * 1_000.0 + f32::from(question);
                let rows = usize::from(question % 5) + 1;
                let answer = lane.answer(row(&vec![value; rows]), rows, None).await.unwrap();
                assert_eq!(answer, row(&vec![value; rows]));
            }
        }));
    }
    let all = futures::future::join_all(asking);
    for asked in tokio::time::timeout(Duration::from_secs(60), all).await.expect("a request was forgotten") {
        asked.unwrap();
    }
    assert!(running.lock().unwrap().1 <= 2, "{:?}", running.lock().unwrap());
    let given_back = async {
        while engine.state().running > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), given_back).await.expect("every runner ends when nothing waits");
}

/// Rows of a job, as [`ask`].
async fn ask_behind(lane: &Arc<Lane>, values: Vec<f32>) -> Asked {
    let lane = lane.clone();
    let asked = tokio::spawn(async move {
        let answer = lane.answer_behind(row(&values), values.len()).await?;
        assert_eq!(answer[0].shape, [values.len(), 1]);
        let Values::F32(values) = &answer[0].values else { panic!("floats are answered") };
        Ok(values.clone())
    });
    tokio::task::yield_now().await;
    asked
}

#[tokio::test]
async fn a_job_waits_behind_every_request_also_of_other_versions() {
    let engine = Engine::new(LIMITS);
    let ((lane, model), (other, others)) = (held(&engine), held(&engine));
    let first = ask(&lane, &[1.0], None).await;
    model.next();
    let job = ask_behind(&lane, vec![2.0]).await;
    let (second, third) = (ask(&other, &[3.0], None).await, ask(&lane, &[4.0], None).await);
    model.let_go();
    assert_eq!(others.next(), [3.0], "it came after the job, and nobody waits for that");
    others.let_go();
    assert_eq!(model.next(), [4.0]);
    model.let_go();
    assert_eq!(model.next(), [2.0]);
    model.let_go();
    for (asked, answer) in [(first, 2.0), (job, 4.0), (second, 6.0), (third, 8.0)] {
        assert_eq!(asked.await.unwrap().unwrap(), [answer]);
    }
}

#[tokio::test]
async fn a_large_job_runs_a_batch_at_a_time_and_its_rows_stay_in_order() {
    let engine = Engine::new(LIMITS);
    let (lane, model) = held(&engine);
    let values: Vec<f32> = (0..20_u8).map(f32::from).collect();
    let job = ask_behind(&lane, values.clone()).await;
    assert_eq!(model.next(), values[..8]);
    let request = ask(&lane, &[100.0], None).await;
    model.let_go();
    assert_eq!(model.next(), [100.0], "one piece is what a request waits for");
    (0..3).for_each(|_| model.let_go());
    assert_eq!(request.await.unwrap().unwrap(), [200.0]);
    let doubled: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
    assert_eq!(job.await.unwrap().unwrap(), doubled);
    assert_eq!((model.next(), model.next()), (values[8..16].to_vec(), values[16..].to_vec()));
}

#[tokio::test]
async fn what_waits_behind_is_not_counted_against_requests() {
    let engine = Engine::new(LIMITS);
    let (lane, model) = held(&engine);
    let first = ask(&lane, &[0.0], None).await;
    model.next();
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(ask_behind(&lane, vec![1.0; 8]).await);
    }
    let request = ask(&lane, &[2.0; 8], None).await;
    (0..6).for_each(|_| model.let_go());
    assert_eq!(request.await.unwrap().unwrap(), [4.0; 8], "16 rows may wait, and 32 of jobs are no reason to refuse");
    first.await.unwrap().unwrap();
    for job in jobs {
        assert_eq!(job.await.unwrap().unwrap(), [2.0; 8]);
    }
}

#[tokio::test]
async fn while_more_comes_than_is_answered_who_would_wait_long_is_refused_and_a_burst_is_not() {
    let engine = Engine::new(Limits { queued_rows: 10_000, target_wait: Duration::from_millis(5), ..LIMITS });
    let (lane, model) = held(&engine);
    // A row takes a few milliseconds.
    let slow = ask(&lane, &[1.0], None).await;
    model.next();
    std::thread::sleep(Duration::from_millis(5));
    model.let_go();
    slow.await.unwrap().unwrap();
    let first = ask(&lane, &[1.0], None).await;
    model.next();
    let mut waiting = vec![first];
    for _ in 0..40 {
        waiting.push(ask(&lane, &[1.0], None).await);
    }
    assert!(waiting.iter().all(|asked| !asked.is_finished()), "a burst waits");
    let refused = loop {
        std::thread::sleep(Duration::from_millis(3));
        let asked = ask(&lane, &[1.0], None).await;
        if asked.is_finished() {
            break asked.await.unwrap();
        }
        waiting.push(asked);
        assert!(waiting.len() < 2_000, "nobody is refused");
    };
    assert!(matches!(refused, Err(Refusal::Busy { wait }) if wait > Duration::from_millis(10)), "{refused:?}");
    (0..2_000).for_each(|_| model.let_go());
    for asked in waiting {
        asked.await.unwrap().unwrap();
    }
    std::thread::sleep(Duration::from_millis(250));
    waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(ask(&lane, &[1.0], None).await);
    }
    for asked in waiting {
        asked.await.unwrap().unwrap();
    }
}
