//! Batches over `PublishStream`, a few in flight, in order, again and again until each is answered.
//!
//! Sending a batch twice is harmless: its events are the same, and duplicates count once. So whatever breaks, everything
//! unanswered is sent again over a new stream.

use super::batch::Batch;
use crate::{
    backoff::Backoff,
    connect::{CALL_TIMEOUT, Peer, is_lasting, network_error},
};
use loadline_proto::ingest::{PublishRequest, PublishResponse, event_service_client::EventServiceClient};
use std::{collections::VecDeque, io, ops::ControlFlow, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// How to send.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Batches that may be unanswered at a time.
    pub in_flight: usize,
    /// Leave out events that were counted before.
    pub skip_duplicates: bool,
    /// How long to try again without any success.
    pub patience: Duration,
}

/// Where answers go, in the order of the batches.
pub trait Settle {
    /// A batch is answered. Breaking off ends the sending.
    fn settle(&mut self, batch: Batch, answer: PublishResponse) -> ControlFlow<()>;
    /// It does not go on at the moment.
    fn waiting(&mut self, why: &str, wait: Duration);
}

/// Why sending ended before the last batch.
#[derive(Debug)]
pub enum SendError {
    /// The file cannot be read any further.
    Read(io::Error),
    /// Ingest refused the call for good, or for longer than patience lasts.
    Refused(Status),
    /// An answer that cannot be one to its request.
    Answer(String),
}

/// Sends batches of one file.
pub struct Sender<S> {
    client: EventServiceClient<tonic::transport::Channel>,
    pace: Pace,
    batches: mpsc::Receiver<io::Result<Batch>>,
    /// Sent, or to be sent again; the first is answered first.
    pending: VecDeque<Batch>,
    exhausted: bool,
    answers: u64,
    settle: S,
}

/// How a stream ended.
enum Ended {
    Done,
    Broken(Status),
    Failed(SendError),
}

impl<S: Settle> Sender<S> {
    /// Nothing is sent yet.
    pub fn new(peer: &Peer, pace: Pace, batches: mpsc::Receiver<io::Result<Batch>>, settle: S) -> Self {
        let client = EventServiceClient::new(peer.channel.clone());
        Self { client, pace, batches, pending: VecDeque::new(), exhausted: false, answers: 0, settle }
    }

    /// Sends until every batch is answered, [`Settle::settle`] breaks off, or it cannot go on.
    ///
    /// # Errors
    /// Why it cannot; what is settled stays settled.
    pub async fn run(mut self) -> Result<(), SendError> {
        let mut backoff = Backoff::new(self.pace.patience);
        loop {
            let before = self.answers;
            let status = match self.stream().await {
                Ended::Done => return Ok(()),
                Ended::Failed(error) => return Err(error),
                Ended::Broken(status) => status,
            };
            if self.answers > before {
                backoff.reset();
            }
            // An ingest that never answered and does not listen is not restarting: it is not there.
            let absent = self.answers == 0 && network_error(&status).is_some();
            match backoff.failed().filter(|_| !absent && !is_lasting(&status)) {
                Some(wait) => {
                    self.settle.waiting(status.message(), wait);
                    tokio::time::sleep(wait).await;
                }
                None => return Err(SendError::Refused(status)),
            }
        }
    }

    async fn stream(&mut self) -> Ended {
        match self.exchange().await {
            Ok(()) => Ended::Done,
            Err(Broken::Stream(status)) => Ended::Broken(status),
            Err(Broken::Off(error)) => error.map_or(Ended::Done, Ended::Failed),
        }
    }

    async fn exchange(&mut self) -> Result<(), Broken> {
        // With nothing to send nobody needs to listen.
        while self.pending.is_empty() {
            let batch = self.batches.recv().await;
            self.take(batch)?;
            if self.settle_unsent()? {
                return Ok(());
            }
        }
        let (requests, receiver) = mpsc::channel(self.pace.in_flight.max(self.pending.len()).max(1));
        for batch in self.pending.iter().filter(|batch| !batch.events.is_empty()) {
            // There is room for all of them, and the receiver is right here.
            let _ = requests.try_send(self.request(batch));
        }
        let opened = self.client.publish_stream(ReceiverStream::new(receiver));
        let mut answers = timeout(CALL_TIMEOUT, opened).await.map_err(|_| silent())??.into_inner();
        loop {
            if self.settle_unsent()? {
                return Ok(());
            }
            let may_read = !self.exhausted && self.pending.len() < self.pace.in_flight;
            tokio::select! {
                batch = self.batches.recv(), if may_read => {
                    if self.take(batch)? && let Some(batch) = self.pending.back().filter(|batch| !batch.events.is_empty()) {
                        // A closed stream shows as its missing answer, below.
                        let _ = requests.try_send(self.request(batch));
                    }
                }
                answer = timeout(CALL_TIMEOUT, answers.message()), if !self.pending.is_empty() => {
                    match answer.map_err(|_| silent())?? {
                        Some(answer) => self.settle_first(answer)?,
                        None => return Err(Status::unavailable("ingest closed the stream before it had answered everything").into()),
                    }
                }
            }
        }
    }

    fn request(&self, batch: &Batch) -> PublishRequest {
        PublishRequest { events: batch.to_send(), skip_duplicates: self.pace.skip_duplicates }
    }

    /// Puts a batch behind the others; false at the end of the file.
    fn take(&mut self, batch: Option<io::Result<Batch>>) -> Result<bool, SendError> {
        match batch {
            None => self.exhausted = true,
            Some(Ok(batch)) => self.pending.push_back(batch),
            Some(Err(error)) => return Err(SendError::Read(error)),
        }
        Ok(!self.exhausted)
    }

    /// Settles batches in front that have nothing to send. True when everything is settled.
    fn settle_unsent(&mut self) -> Result<bool, Broken> {
        while let Some(batch) = self.pending.pop_front_if(|batch| batch.events.is_empty()) {
            self.settle_batch(batch, PublishResponse::default())?;
        }
        Ok(self.exhausted && self.pending.is_empty())
    }

    fn settle_first(&mut self, answer: PublishResponse) -> Result<(), Broken> {
        let Some(batch) = self.pending.pop_front() else { return Ok(()) };
        check(&batch, &answer).map_err(|why| Broken::Off(Some(SendError::Answer(why))))?;
        self.answers += 1;
        self.settle_batch(batch, answer)
    }

    fn settle_batch(&mut self, batch: Batch, answer: PublishResponse) -> Result<(), Broken> {
        match self.settle.settle(batch, answer) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Broken::Off(None)),
        }
    }
}

/// Why a stream is left.
enum Broken {
    /// It broke; another may do.
    Stream(Status),
    /// For good: with an error, or because it was asked to.
    Off(Option<SendError>),
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        Self::Stream(status)
    }
}

impl From<SendError> for Broken {
    fn from(error: SendError) -> Self {
        Self::Off(Some(error))
    }
}

fn silent() -> Broken {
    Broken::Stream(Status::unavailable(format!("ingest did not answer within {} s", CALL_TIMEOUT.as_secs())))
}

/// Every event of a batch must have become something.
fn check(batch: &Batch, answer: &PublishResponse) -> Result<(), String> {
    let told = u64::from(answer.accepted) + u64::from(answer.duplicates) + answer.rejections.len() as u64;
    let asked = batch.events.len() as u64;
    if told != asked {
        return Err(format!("ingest answered for {told} events of a batch of {asked}"));
    }
    match answer.rejections.iter().find(|rejection| u64::from(rejection.index) >= asked) {
        Some(rejection) => Err(format!("ingest rejected event {} of a batch of {asked}", rejection.index)),
        None => Ok(()),
    }
}
