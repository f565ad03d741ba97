//! What only JetStream can do to a reader: servers that die, stall and restart, consumers that vanish, other clients.
#![allow(clippy::unwrap_used)]

mod nats;

use async_nats::jetstream::{self, Context, stream};
use bytes::Bytes;
use loadline_domain::{Incarnation, Sequence, StreamName};
use loadline_event_log::{Entry, EventLog, LogError, NewRecord, ReadLimit, Retention, StreamSpec, open};
use nats::{Server, V2_9, V2_15};
use nix::sys::signal::Signal;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{sleep, timeout};

const ALL: ReadLimit = ReadLimit { records: 100_000, bytes: 64 * 1024 * 1024 };
const PATIENCE: Duration = Duration::from_secs(60);

fn spec() -> StreamSpec {
    let retention = Retention { max_age: None, max_bytes: None };
    StreamSpec { name: StreamName::new("BILLING").unwrap(), subject: "billing".into(), retention }
}

fn record(payload: impl Into<Bytes>) -> NewRecord {
    NewRecord { key: "acme".into(), payload: payload.into(), traceparent: None }
}

async fn made(server: &Server) -> (Arc<dyn EventLog>, Incarnation) {
    let log = open(&server.url()).await.unwrap();
    log.ensure(&spec()).await.unwrap();
    let incarnation = log.bounds(&spec().name).await.unwrap().incarnation;
    (log, incarnation)
}

async fn context(server: &Server) -> Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

/// Reads on until `last`, through whatever goes wrong for a while, checking that sequences are contiguous.
async fn read_through(log: &dyn EventLog, incarnation: &Incarnation, from: Sequence, last: Sequence) -> Vec<Entry> {
    let (mut entries, mut next) = (Vec::new(), from);
    let reading = async {
        while next <= last {
            match log.read(&spec().name, incarnation, next, ALL, Duration::from_millis(200)).await {
                Ok(read) => {
                    for entry in read {
                        let first = if let Entry::Lost(loss) = &entry { loss.first } else { entry.last() };
                        assert_eq!(first, next);
                        next = entry.last() + 1;
                        entries.push(entry);
                    }
                }
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("reading goes on in bounded time");
    entries
}

fn payloads(entries: Vec<Entry>) -> Vec<Bytes> {
    let payload = |entry| match entry {
        Entry::Record(record) => record.payload,
        Entry::Lost(loss) => panic!("lost: {loss:?}"),
    };
    entries.into_iter().map(payload).collect()
}

async fn a_killed_server_loses_and_doubles_nothing(release: &str) {
    let mut server = Server::start(release);
    let (log, incarnation) = made(&server).await;
    let acknowledged = Arc::new(Mutex::new(HashMap::<Sequence, Vec<u8>>::new()));
    let writing = tokio::spawn({
        let (log, acknowledged) = (log.clone(), acknowledged.clone());
        async move {
            for batch in 0..300u64 {
                let payloads: Vec<Vec<u8>> = (0..50).map(|n| format!("{batch}:{n}").into_bytes()).collect();
                // A batch whose acks are lost with the server is appended again: it may be there twice.
                let sequences = loop {
                    match log.append(&spec().name, payloads.iter().cloned().map(record).collect()).await {
                        Ok(sequences) => break sequences,
                        Err(error) => assert!(error.is_retryable(), "{error}"),
                    }
                };
                acknowledged.lock().unwrap().extend(sequences.into_iter().zip(payloads));
                sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let reading = tokio::spawn({
        let (log, incarnation) = (log.clone(), incarnation.clone());
        async move { read_through(&*log, &incarnation, 1, 15_000).await }
    });
    for _ in 0..3 {
        sleep(Duration::from_millis(400)).await;
        server.kill_and_restart();
    }
    timeout(PATIENCE, writing).await.expect("appends go on in bounded time").unwrap();
    let mut entries = reading.await.unwrap();
    let last = log.bounds(&spec().name).await.unwrap().last;
    entries.extend(read_through(&*log, &incarnation, entries.last().unwrap().last() + 1, last).await);
    let read = payloads(entries);
    let acknowledged = acknowledged.lock().unwrap();
    assert_eq!(acknowledged.len(), 15_000, "every record has a sequence of its own");
    for (sequence, payload) in acknowledged.iter() {
        assert_eq!(read[*sequence as usize - 1], payload, "at {sequence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_2_9_loses_and_doubles_nothing() {
    a_killed_server_loses_and_doubles_nothing(V2_9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_2_15_loses_and_doubles_nothing() {
    a_killed_server_loses_and_doubles_nothing(V2_15).await;
}

async fn a_stalled_server_is_unavailable_until_it_goes_on(release: &str) {
    let server = Server::start(release);
    let (log, incarnation) = made(&server).await;
    let name = spec().name;
    log.append(&name, vec![record("before")]).await.unwrap();
    read_through(&*log, &incarnation, 1, 1).await;
    server.signal(Signal::SIGSTOP);
    let reading = async {
        loop {
            match log.read(&name, &incarnation, 2, ALL, Duration::from_millis(100)).await {
                Ok(entries) => assert_eq!(entries, []),
                Err(error) => break error,
            }
        }
    };
    // A read without news looks at the stream once a second; every call ends by itself.
    let told = timeout(PATIENCE, reading).await.expect("a reader is told");
    assert!(matches!(told, LogError::Unavailable(_)), "{told}");
    let calls = async {
        assert!(matches!(log.append(&name, vec![record("lost?")]).await, Err(LogError::Unavailable(_))));
        assert!(matches!(log.bounds(&name).await, Err(LogError::Unavailable(_))));
        assert!(matches!(log.probe().await, Err(LogError::Unavailable(_))));
    };
    timeout(PATIENCE, calls).await.expect("no call hangs");
    server.signal(Signal::SIGCONT);
    let append = async {
        while let Err(error) = log.append(&name, vec![record("after")]).await {
            assert!(error.is_retryable(), "{error}");
        }
    };
    timeout(PATIENCE, append).await.expect("appends go on");
    let last = log.bounds(&name).await.unwrap().last;
    let read = payloads(read_through(&*log, &incarnation, 2, last).await);
    assert_eq!(read.last().unwrap(), "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_2_9_is_unavailable_until_it_goes_on() {
    a_stalled_server_is_unavailable_until_it_goes_on(V2_9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_2_15_is_unavailable_until_it_goes_on() {
    a_stalled_server_is_unavailable_until_it_goes_on(V2_15).await;
}

/// Blocks of the stream's messages, which the server opens when it needs them.
fn blocks(server: &Server) -> Vec<PathBuf> {
    let messages = server.data().join("jetstream/$G/streams/BILLING/msgs");
    let files = std::fs::read_dir(messages).unwrap().map(|file| file.unwrap().path());
    let mut blocks: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|extension| extension == "blk")).collect();
    blocks.sort();
    blocks
}

/// A file that cannot be read is no deletion, also where something was deleted.
async fn an_unreadable_block_is_no_loss(release: &str) {
    let server = Server::start(release);
    let (log, incarnation) = made(&server).await;
    let name = spec().name;
    // Two blocks and more.
    for n in 0..24 {
        log.append(&name, vec![record(vec![n; 900_000])]).await.unwrap();
    }
    let context = context(&server).await;
    context.get_stream("BILLING").await.unwrap().delete_message(3).await.unwrap();
    let block = blocks(&server).swap_remove(0);
    let aside = block.with_extension("aside");
    std::fs::rename(&block, &aside).unwrap();
    std::fs::create_dir(&block).unwrap();
    // The server keeps what was written or read in memory until nobody has asked for it for some seconds.
    let forgotten = async {
        while log.peek(&name, 1).await.is_ok_and(|found| found.is_some_and(|(sequence, _)| sequence == 1)) {
            sleep(Duration::from_secs(12)).await;
        }
    };
    timeout(PATIENCE, forgotten).await.expect("the server reads the file again");
    for _ in 0..3 {
        let read = log.read(&name, &incarnation, 1, ALL, Duration::from_secs(5)).await;
        assert!(matches!(&read, Err(LogError::Unavailable(_))), "{:?}", read.map(|entries| entries.first().cloned()));
    }
    std::fs::remove_dir(&block).unwrap();
    std::fs::rename(&aside, &block).unwrap();
    let entries = read_through(&*log, &incarnation, 1, 24).await;
    let lost: Vec<_> = entries.iter().filter(|entry| matches!(entry, Entry::Lost(_))).map(Entry::last).collect();
    assert_eq!((entries.len(), lost), (24, vec![3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_block_of_2_9_is_no_loss() {
    an_unreadable_block_is_no_loss(V2_9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_block_of_2_15_is_no_loss() {
    an_unreadable_block_is_no_loss(V2_15).await;
}

/// Consumers of the stream, by name.
async fn consumers(context: &Context) -> Vec<String> {
    use futures::TryStreamExt;
    context.get_stream("BILLING").await.unwrap().consumer_names().try_collect().await.unwrap()
}

async fn a_reader_whose_consumer_vanishes_goes_on(release: &str) {
    let server = Server::start(release);
    let (log, incarnation) = made(&server).await;
    let context = context(&server).await;
    let name = spec().name;
    for round in 0..5u64 {
        log.append(&name, (0..100).map(|_| record("x")).collect()).await.unwrap();
        let from = round * 100 + 1;
        let some = log.read(&name, &incarnation, from, ReadLimit { records: 10, bytes: 1_000 }, PATIENCE).await.unwrap();
        let next = some.last().unwrap().last() + 1;
        for consumer in consumers(&context).await {
            context.delete_consumer_from_stream(consumer, "BILLING").await.unwrap();
        }
        assert_eq!(payloads(read_through(&*log, &incarnation, next, from + 99).await).len() as u64, from + 100 - next);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_consumer_vanishes_from_2_9_goes_on() {
    a_reader_whose_consumer_vanishes_goes_on(V2_9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_consumer_vanishes_from_2_15_goes_on() {
    a_reader_whose_consumer_vanishes_goes_on(V2_15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_do_not_pile_up() {
    let server = Server::start(V2_9);
    let (log, incarnation) = made(&server).await;
    let context = context(&server).await;
    log.append(&spec().name, (0..100).map(|_| record("x")).collect()).await.unwrap();
    for from in (1..=50).rev() {
        log.read(&spec().name, &incarnation, from, ALL, PATIENCE).await.unwrap();
    }
    let deleted = async {
        while consumers(&context).await.len() > 2 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, deleted).await.expect("consumers that are no longer read are deleted");
    drop(log);
    let gone = async {
        while !consumers(&context).await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("a log that is closed leaves none");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_publish_is_read_and_large_messages_do_not_stop_it() {
    for release in [V2_9, V2_15] {
        let server = Server::start(release);
        let (log, incarnation) = made(&server).await;
        let context = context(&server).await;
        let mut expected = Vec::new();
        // More than the pull requests on their way may hold, in sizes that end them at odd places.
        for n in 0..60usize {
            let payload = Bytes::from(vec![n as u8; if n % 3 == 0 { 1024 * 1024 - 100 } else { n * 1_000 }]);
            context.publish(format!("billing.any.depth.{n}"), payload.clone()).await.unwrap().await.unwrap();
            expected.push(payload);
        }
        assert_eq!(payloads(read_through(&*log, &incarnation, 1, 60).await), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_to_the_subject_the_stream_has() {
    let server = Server::start(V2_15);
    let log = open(&server.url()).await.unwrap();
    let context = context(&server).await;
    let config = |name: &str, subject: &str| stream::Config {
        name: name.into(),
        subjects: vec![subject.into()],
        ..stream::Config::default()
    };
    context.create_stream(config("BILLING", "events.v1.>")).await.unwrap();
    log.ensure(&spec()).await.unwrap();
    let traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_string());
    let traced = NewRecord { key: "a.b".into(), payload: "p".into(), traceparent: traceparent.clone() };
    assert_eq!(log.append(&spec().name, vec![traced, record("q")]).await.unwrap(), [1, 2]);
    let stream = context.get_stream("BILLING").await.unwrap();
    let (first, second) = (stream.get_raw_message(1).await.unwrap(), stream.get_raw_message(2).await.unwrap());
    assert_eq!((first.subject.as_str(), second.subject.as_str()), ("events.v1.a%2Eb", "events.v1.acme"));
    assert_eq!(first.headers.get("traceparent").map(|value| value.as_str()), traceparent.as_deref());
    assert!(second.headers.is_empty());
    // Made again with another subject: the next append finds out, the one after it goes there.
    context.delete_stream("BILLING").await.unwrap();
    context.create_stream(config("BILLING", "events.v2.>")).await.unwrap();
    assert!(log.append(&spec().name, vec![record("r")]).await.unwrap_err().is_retryable());
    assert_eq!(log.append(&spec().name, vec![record("r")]).await.unwrap(), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_no_log_is_refused() {
    let server = Server::start(V2_9);
    let log = open(&server.url()).await.unwrap();
    let context = context(&server).await;
    let retention = stream::RetentionPolicy::WorkQueue;
    let queue = stream::Config { name: "BILLING".into(), subjects: vec!["q.>".into()], retention, ..stream::Config::default() };
    context.create_stream(queue).await.unwrap();
    let refused = log.ensure(&spec()).await.unwrap_err();
    assert!(matches!(&refused, LogError::Misconfigured(text) if text.contains("workqueue")), "{refused}");
    let overlapping = StreamSpec { name: StreamName::new("OTHER").unwrap(), subject: "q".into(), ..spec() };
    let refused = log.ensure(&overlapping).await.unwrap_err();
    assert!(matches!(&refused, LogError::Misconfigured(text) if text.contains("overlap")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_retention_changes_nothing_else() {
    for release in [V2_9, V2_15] {
        let server = Server::start(release);
        let (log, _) = made(&server).await;
        let context = context(&server).await;
        let config = |context: Context| async move { context.get_stream("BILLING").await.unwrap().cached_info().config.clone() };
        let update =
            stream::Config { description: Some("ours".into()), max_message_size: 1_000, ..config(context.clone()).await };
        context.update_stream(update).await.unwrap();
        let before = config(context.clone()).await;
        let retention = Retention { max_age: Some(Duration::from_secs(60)), max_bytes: Some(1 << 20) };
        log.set_retention(&spec().name, retention).await.unwrap();
        let after = config(context.clone()).await;
        assert_eq!((after.max_age, after.max_bytes), (Duration::from_secs(60), 1 << 20));
        // The server demands that the window is no longer than the age.
        let unchanged = stream::Config {
            max_age: before.max_age,
            max_bytes: before.max_bytes,
            duplicate_window: before.duplicate_window,
            ..after
        };
        assert_eq!(unchanged, before);
        let too_large = log.append(&spec().name, vec![record(vec![0; 1_001])]).await;
        assert!(matches!(too_large, Err(LogError::TooLarge { bytes: 1_001, limit: 1_000 })), "{too_large:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caveats_follow_the_servers_version() {
    for (release, word) in [(V2_9, "cannot be told otherwise"), (V2_15, "`sync_interval: always`")] {
        let server = Server::start(release);
        let (log, _) = made(&server).await;
        let caveats = log.caveats().await.unwrap();
        assert!(caveats.len() == 1 && caveats[0].contains(word), "{caveats:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_used_and_never_shown() {
    let server = Server::start_with(V2_9, &["--user", "ingest", "--pass", "right secret/@"]);
    let with = |password: &str| server.url().replace("nats://", &format!("nats://ingest:{password}@"));
    open(&with("right%20secret%2F%40")).await.unwrap().probe().await.unwrap();
    for url in [with("wrong-secret"), server.url()] {
        let Err(refused) = open(&url).await else { panic!("accepted") };
        assert!(matches!(&refused, LogError::Misconfigured(_)), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains("secret"), "{refused:?}");
    }
}
