//! Publishing to an ingest that answers from memory, over real sockets, and breaks on demand.

use super::{
    PublishArgs, checkpoint, publish,
    report::{End, Report, Tally},
};
use crate::connect::IngestAddress;
use loadline_proto::{
    event::{Event, event::Body},
    ingest::{
        PublishRequest, PublishResponse, Rejection, RejectionReason,
        event_service_server::{EventService, EventServiceServer},
    },
};
use std::{
    collections::{HashSet, VecDeque},
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// What to do with a request instead of answering it.
enum Act {
    Answer,
    /// Nothing is taken, and the stream ends so.
    Refuse(Status),
    /// Everything is taken, and the answer never comes.
    LoseTheAnswer,
    /// Answers for one event more than there are.
    Miscount,
    /// Answers late, reading on meanwhile.
    Delay,
}

#[derive(Default)]
struct Memory {
    counted: HashSet<String>,
    /// Ids in the order of their coming, repeated ones included.
    received: Vec<String>,
    script: VecDeque<Act>,
    unanswered: usize,
    most_unanswered: usize,
}

#[derive(Clone, Default)]
struct Ingest(Arc<Mutex<Memory>>);

impl Ingest {
    fn scripted(acts: impl IntoIterator<Item = Act>) -> Self {
        let ingest = Self::default();
        ingest.0.lock().unwrap().script = acts.into_iter().collect();
        ingest
    }

    fn take(&self, events: &[Event]) -> PublishResponse {
        let mut memory = self.0.lock().unwrap();
        let mut response = PublishResponse::default();
        for (index, event) in events.iter().enumerate() {
            let id = id(event).to_owned();
            memory.received.push(id.clone());
            if id.starts_with("late") {
                let reason = RejectionReason::Late.into();
                let field = "billing.occurred_at".to_owned();
                response.rejections.push(Rejection { index: index as u32, reason, field, detail: "was 50 h old".to_owned() });
            } else if memory.counted.insert(id) {
                response.accepted += 1;
            } else {
                response.duplicates += 1;
            }
        }
        response
    }

    async fn answer(&self, request: PublishRequest) -> Result<PublishResponse, Status> {
        let act = self.0.lock().unwrap().script.pop_front().unwrap_or(Act::Answer);
        match act {
            Act::Answer => Ok(self.take(&request.events)),
            Act::Refuse(status) => Err(status),
            Act::LoseTheAnswer => {
                self.take(&request.events);
                Err(Status::unavailable("the reply was lost"))
            }
            Act::Miscount => Ok(PublishResponse { accepted: request.events.len() as u32 + 1, ..PublishResponse::default() }),
            Act::Delay => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(self.take(&request.events))
            }
        }
    }

    fn count_unanswered(&self, change: isize) {
        let mut memory = self.0.lock().unwrap();
        memory.unanswered = memory.unanswered.saturating_add_signed(change);
        memory.most_unanswered = memory.most_unanswered.max(memory.unanswered);
    }

    fn counted(&self) -> usize {
        self.0.lock().unwrap().counted.len()
    }

    fn received(&self) -> Vec<String> {
        self.0.lock().unwrap().received.clone()
    }
}

fn id(event: &Event) -> &str {
    match event.body.as_ref().expect("the publisher checks events") {
        Body::Billing(billing) => &billing.event_id,
        Body::Receipt(receipt) => &receipt.message_id,
    }
}

#[tonic::async_trait]
impl EventService for Ingest {
    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        self.answer(request.into_inner()).await.map(Response::new)
    }

    type PublishStreamStream = ReceiverStream<Result<PublishResponse, Status>>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let mut requests = request.into_inner();
        let (queue, mut queued) = mpsc::channel(1_000);
        let (answers, receiver) = mpsc::channel(1);
        let (reader, writer) = (self.clone(), self.clone());
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                reader.count_unanswered(1);
                let _ = queue.send(request).await;
            }
        });
        tokio::spawn(async move {
            while let Some(request) = queued.recv().await {
                let answer = writer.answer(request).await;
                writer.count_unanswered(-1);
                let ended = answer.is_err();
                if answers.send(answer).await.is_err() || ended {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// A server in a runtime of its own: dropping it cuts every connection, like a process that dies.
struct Running {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Running {
    fn start(ingest: &Ingest) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), ingest)
    }

    fn start_at(address: SocketAddr, ingest: &Ingest) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = {
            let _inside = runtime.enter();
            let listener = std::net::TcpListener::bind(address).unwrap();
            listener.set_nonblocking(true).unwrap();
            TcpListener::from_std(listener).unwrap()
        };
        let address = listener.local_addr().unwrap();
        let service = EventServiceServer::new(ingest.clone());
        runtime.spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, runtime: Some(runtime) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Folder {
    file: PathBuf,
    _folder: tempfile::TempDir,
}

fn file(ids: impl IntoIterator<Item = String>) -> Folder {
    let lines = ids.into_iter().map(|id| match id.strip_prefix("bad") {
        Some(_) => format!("{id}\n"),
        None => format!(
            r#"{{"billing": {{"event_id": "{id}", "account": "a", "occurred_at": "2026-11-21T10:00:00Z", "channel": "sms", "messages": 1, "segments": 1}}}}"#
        ) + "\n",
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    fs::write(&file, lines.collect::<String>()).unwrap();
    Folder { file, _folder: folder }
}

fn ids(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|id| format!("event-{id}"))
}

fn args(folder: &Folder, address: SocketAddr) -> PublishArgs {
    PublishArgs {
        file: folder.file.clone(),
        format: None,
        strict: false,
        no_resume: false,
        skip_duplicates: true,
        batch: 10,
        in_flight: 4,
        patience: 20,
        json: false,
        address: IngestAddress { ingest: address.to_string() },
    }
}

async fn publish_quietly(args: &PublishArgs) -> Report {
    publish(args, false).await.unwrap()
}

fn has_checkpoint(folder: &Folder) -> bool {
    checkpoint::path_of(&folder.file).exists()
}

fn lasting() -> Act {
    Act::Refuse(Status::permission_denied("not for you"))
}

#[tokio::test]
async fn every_line_is_accepted_a_duplicate_or_rejected_with_its_number() {
    let ingest = Ingest::default();
    let server = Running::start(&ingest);
    let folder = file(ids(0..25).chain(["late-1", "bad", "event-3"].map(String::from)));
    let report = publish_quietly(&args(&folder, server.address)).await;
    assert_eq!(report.end, End::Complete);
    assert_eq!((report.tally.accepted, report.tally.duplicates, report.tally.rejections()), (25, 1, 2));
    let faults: Vec<_> = report.faults.iter().map(|(line, fault)| (*line, fault.reason.as_str(), fault.field.as_str())).collect();
    assert_eq!(faults, [(26, "LATE", "billing.occurred_at"), (27, "UNREADABLE", "")]);
    assert_eq!(report.to_json()["rejected"], serde_json::json!({"LATE": 1, "UNREADABLE": 1}));
    assert!(report.to_text(&crate::output::tests::PLAIN).contains("UNREADABLE 1 · LATE 1"));
    assert!(!has_checkpoint(&folder));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_nothing_is_missing() {
    let acts = [Act::Answer, Act::LoseTheAnswer, Act::Answer, Act::Refuse(Status::resource_exhausted("busy"))];
    let ingest = Ingest::scripted(acts);
    let server = Running::start(&ingest);
    let folder = file(ids(0..95));
    let report = publish_quietly(&args(&folder, server.address)).await;
    assert_eq!(report.end, End::Complete);
    assert_eq!((ingest.counted(), report.tally.accepted + report.tally.duplicates), (95, 95));
    assert_eq!(report.tally.duplicates, 10, "the batch whose answer was lost");
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_misses_nothing() {
    let ingest = Ingest::scripted(std::iter::repeat_with(|| Act::Delay).take(10_000));
    let server = Running::start(&ingest);
    let address = server.address;
    let folder = file(ids(0..300));
    let args = args(&folder, address);
    let publishing = tokio::spawn(async move { publish_quietly(&args).await });
    while ingest.counted() < 50 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(server);
    let before = ingest.counted();
    assert!(before < 300, "it died too late to prove anything");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let _server = Running::start_at(address, &ingest);
    let report = publishing.await.unwrap();
    assert_eq!((report.end, ingest.counted()), (End::Complete, 300));
    assert_eq!(report.tally.accepted + report.tally.duplicates, 300);
}

#[tokio::test]
async fn a_second_run_goes_on_where_the_first_one_stopped() {
    let ingest = Ingest::scripted([Act::Answer, Act::Answer, Act::Answer, lasting()]);
    let server = Running::start(&ingest);
    let folder = file(ids(0..20).chain(["late-1".to_owned()]).chain(ids(21..100)));
    let args = args(&folder, server.address);
    let first = publish_quietly(&args).await;
    assert!(matches!(&first.end, End::Failed(why) if why.contains("PERMISSION_DENIED")), "{:?}", first.end);
    assert!(first.resumable && has_checkpoint(&folder) && first.position.lines == 30);
    let already = ingest.received().len();
    ingest.0.lock().unwrap().script.clear();
    let second = publish_quietly(&args).await;
    assert_eq!((&second.end, second.resumed_from), (&End::Complete, Some(first.position)));
    assert_eq!(ingest.received()[already], "event-30");
    assert_eq!((second.tally.accepted, second.tally.rejections(), second.position.lines), (99, 1, 100));
    assert!(!has_checkpoint(&folder));
}

#[tokio::test]
async fn without_resuming_it_starts_at_the_beginning() {
    let ingest = Ingest::scripted([Act::Answer, lasting()]);
    let server = Running::start(&ingest);
    let folder = file(ids(0..40));
    let mut args = args(&folder, server.address);
    assert!(publish_quietly(&args).await.resumable);
    args.no_resume = true;
    let report = publish_quietly(&args).await;
    assert_eq!((report.resumed_from, report.tally.accepted, report.tally.duplicates), (None, 30, 10));
}

#[tokio::test]
async fn a_strict_run_stops_at_a_bad_line_and_goes_on_there_once_it_is_put_right() {
    let ingest = Ingest::default();
    let server = Running::start(&ingest);
    let folder = file(ids(0..15).chain(["bad".to_owned()]).chain(ids(16..30)));
    let mut args = args(&folder, server.address);
    args.strict = true;
    let report = publish_quietly(&args).await;
    assert_eq!((&report.end, ingest.counted(), report.position.lines), (&End::Strict, 15, 15));
    let right = fs::read_to_string(&folder.file).unwrap().replace("bad\n", "\n");
    fs::write(&folder.file, right).unwrap();
    let report = publish_quietly(&args).await;
    assert_eq!((report.end, report.tally.accepted, report.tally.rejections()), (End::Complete, 29, 0));
}

#[tokio::test]
async fn a_strict_run_stops_at_what_ingest_rejects() {
    let ingest = Ingest::default();
    let server = Running::start(&ingest);
    let folder = file(ids(0..12).chain(["late".to_owned()]).chain(ids(13..200)));
    let mut args = args(&folder, server.address);
    args.strict = true;
    let report = publish_quietly(&args).await;
    assert_eq!((report.end, report.tally.rejections(), report.position.lines), (End::Strict, 1, 10));
    assert!(ingest.counted() < 100, "at most what was in flight");
}

#[tokio::test]
async fn when_nothing_listens_it_says_so_at_once() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = file(ids(0..5));
    let report = publish_quietly(&args(&folder, address)).await;
    assert!(matches!(&report.end, End::Failed(why) if why.contains("Is `loadline up` running?")), "{:?}", report.end);
    assert!(!has_checkpoint(&folder));
}

#[tokio::test]
async fn patience_has_an_end() {
    let ingest = Ingest::scripted(std::iter::repeat_with(|| Act::Refuse(Status::unavailable("the log is down"))).take(100));
    let server = Running::start(&ingest);
    let folder = file(ids(0..5));
    let mut args = args(&folder, server.address);
    args.patience = 0;
    let report = publish_quietly(&args).await;
    assert!(matches!(&report.end, End::Failed(why) if why.contains("the log is down")), "{:?}", report.end);
}

#[tokio::test]
async fn an_answer_that_does_not_add_up_is_not_believed() {
    let ingest = Ingest::scripted([Act::Miscount]);
    let server = Running::start(&ingest);
    let folder = file(ids(0..5));
    let report = publish_quietly(&args(&folder, server.address)).await;
    assert!(matches!(&report.end, End::Failed(why) if why.contains("6 events of a batch of 5")), "{:?}", report.end);
}

#[tokio::test]
async fn no_more_is_unanswered_than_allowed() {
    let ingest = Ingest::scripted(std::iter::repeat_with(|| Act::Delay).take(1_000));
    let server = Running::start(&ingest);
    let folder = file(ids(0..200));
    let mut args = args(&folder, server.address);
    args.in_flight = 3;
    assert_eq!(publish_quietly(&args).await.tally.accepted, 200);
    let most = ingest.0.lock().unwrap().most_unanswered;
    assert!((2..=3).contains(&most), "{most} at a time");
}

#[tokio::test]
async fn an_empty_file_needs_no_server() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = file([]);
    let report = publish_quietly(&args(&folder, address)).await;
    assert_eq!((report.end, report.tally), (End::Complete, Tally::default()));
}
