//! One actor a process: it connects, watches, asks, and starts again whenever that breaks. The screen never waits for it.

mod act;
mod ask;
mod backoff;

use crate::{
    clock::Clock,
    model::endpoint::Link,
    msg::{Act, Effect, Failure, Input, Msg, Question, What},
};
use ask::{MOST_BYTES, explain};
use backoff::Backoff;
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use loadline_proto::{
    grpc_health::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient},
    health::{Frame, ResumePoint, WatchRequest, failure_mode_service_client::FailureModeServiceClient},
};
use std::{error::Error, time::Duration};
use tokio::{
    sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel},
    time::{Instant, sleep_until, timeout},
};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

/// Messages that wait to be drawn. When they are so many, the actors wait, and the servers' watches with them.
const QUEUE: usize = 4_096;
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Only for what has no watch yet: a watch that is silent is given up sooner.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(5);
/// A watch without a frame for so long is given up: its connection may be half open.
const SILENT: Duration = Duration::from_secs(10);

/// A message and when it came.
#[derive(Debug)]
pub struct Stamped {
    /// When.
    pub at: Instant,
    /// What.
    pub msg: Msg,
}

/// What an actor is told.
#[derive(Debug)]
enum Command {
    Resync(u64),
    Reconnect,
    Ask(Question),
    Act { ticket: u64, act: Act },
}

/// All connections of a console.
#[derive(Debug)]
pub struct Connections {
    commands: Vec<UnboundedSender<Command>>,
}

impl Connections {
    /// Starts an actor for each address; what they hear arrives at the receiver.
    pub fn start(addresses: &[String], clock: Clock) -> (Self, Receiver<Stamped>) {
        let (out, messages) = channel(QUEUE);
        let commands = addresses.iter().enumerate().map(|(index, address)| {
            let (commands, inbox) = unbounded_channel();
            let actor = Actor {
                index,
                address: address.clone(),
                clock,
                out: out.clone(),
                inbox,
                watch: 0,
                position: None,
                acts: Vec::new(),
            };
            tokio::spawn(actor.run());
            commands
        });
        (Self { commands: commands.collect() }, messages)
    }

    /// Does what concerns a connection; hands back what does not.
    pub fn perform(&self, effect: Effect) -> Option<Effect> {
        let (endpoint, command) = match effect {
            Effect::Resync { endpoint, watch } => (endpoint, Command::Resync(watch)),
            Effect::Reconnect(endpoint) => (endpoint, Command::Reconnect),
            Effect::Ask { endpoint, question } => (endpoint, Command::Ask(question)),
            Effect::Act { endpoint, ticket, act } => (endpoint, Command::Act { ticket, act }),
            other => return Some(other),
        };
        if let Some(actor) = self.commands.get(endpoint) {
            // An actor that has ended has nobody left to tell.
            let _ = actor.send(command);
        }
        None
    }
}

struct Actor {
    index: usize,
    address: String,
    clock: Clock,
    out: Sender<Stamped>,
    inbox: UnboundedReceiver<Command>,
    watch: u64,
    /// The last frame handed on: where to resume.
    position: Option<ResumePoint>,
    /// Tickets of what was asked to be done and is not answered.
    acts: Vec<u64>,
}

/// Nobody listens any more.
struct Closed;

/// Why a session ended.
enum End {
    Broken(String),
    Closed,
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Actor {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let error = match self.session(&mut backoff).await {
                End::Closed => return,
                End::Broken(error) => error,
            };
            if self.forsake_acts().await.is_err() {
                return;
            }
            let again = self.clock.cheapest(Instant::now() + backoff.next());
            let retry_at = self.clock.at(again).elapsed;
            if self.send(What::Link(Link::Down { error, retry_at })).await.is_err() || self.pause(again).await.is_err() {
                return;
            }
        }
    }

    async fn send(&self, what: What) -> Result<(), Closed> {
        let msg = Msg::Input(Input { endpoint: self.index, what });
        self.out.send(Stamped { at: Instant::now(), msg }).await.map_err(|_| Closed)
    }

    /// What was under way when the connection broke may have been done.
    async fn forsake_acts(&mut self) -> Result<(), Closed> {
        for ticket in std::mem::take(&mut self.acts) {
            let failure = Failure::unknown("the connection broke before the answer came");
            self.send(What::Failed { ticket, failure }).await?;
        }
        Ok(())
    }

    /// Waits until then, unless somebody wants it now.
    async fn pause(&mut self, again: Instant) -> Result<(), Closed> {
        let done = sleep_until(again);
        tokio::pin!(done);
        loop {
            tokio::select! {
                () = &mut done => return Ok(()),
                command = self.inbox.recv() => match command.ok_or(Closed)? {
                    Command::Reconnect => return Ok(()),
                    Command::Resync(watch) => (self.watch, self.position) = (watch, None),
                    Command::Ask(question) => {
                        let refused = What::Refused { topic: question.topic(), error: "not connected".to_owned() };
                        self.send(refused).await?;
                    }
                    Command::Act { ticket, .. } => {
                        self.send(What::Failed { ticket, failure: Failure::refused("not connected: nothing was sent") }).await?;
                    }
                },
            }
        }
    }

    async fn session(&mut self, backoff: &mut Backoff) -> End {
        match self.watch_until_broken(backoff).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn watch_until_broken(&mut self, backoff: &mut Backoff) -> Result<std::convert::Infallible, End> {
        self.send(What::Link(Link::Connecting)).await?;
        let channel = connect(&self.address).await.map_err(End::Broken)?;
        let mut frames = watch(&channel, self.position.clone()).await.map_err(End::Broken)?;
        self.send(What::Link(Link::Up)).await?;
        let mut answers: FuturesUnordered<BoxFuture<'static, Option<What>>> = FuturesUnordered::new();
        answers.push(Box::pin(ask::catalogue(channel.clone())));
        let mut serving = Box::pin(serving(channel.clone()));
        loop {
            tokio::select! {
                frame = timeout(SILENT, frames.message()) => {
                    let frame = frame.map_err(|_| End::Broken(format!("no frame for {} s", SILENT.as_secs())))?;
                    let frame = frame.map_err(|status| End::Broken(explain(&status)))?;
                    let frame = frame.ok_or_else(|| End::Broken("the service ended the watch".to_owned()))?;
                    backoff.reset();
                    self.position = Some(ResumePoint { boot_id: frame.boot_id.clone(), seq: frame.seq });
                    self.send(What::Frame { watch: self.watch, frame: Box::new(frame) }).await?;
                }
                Some(answer) = answers.next(), if !answers.is_empty() => {
                    if let Some(answer) = answer {
                        if let What::Done { ticket, .. } | What::Failed { ticket, .. } = &answer {
                            self.acts.retain(|act| act != ticket);
                        }
                        self.send(answer).await?;
                    }
                }
                Some(status) = serving.next() => self.send(What::Serving(status)).await?,
                command = self.inbox.recv() => match command.ok_or(End::Closed)? {
                    Command::Ask(question) => {
                        let answer = ask::ask(channel.clone(), question);
                        answers.push(Box::pin(async { Some(answer.await) }));
                    }
                    Command::Act { ticket, act } => {
                        self.acts.push(ticket);
                        let answer = act::act(channel.clone(), ticket, act);
                        answers.push(Box::pin(async { Some(answer.await) }));
                    }
                    Command::Resync(number) => {
                        (self.watch, self.position) = (number, None);
                        frames = watch(&channel, None).await.map_err(End::Broken)?;
                    }
                    Command::Reconnect => {}
                },
            }
        }
    }
}

async fn connect(address: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| reason(&error))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_WITHIN)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    match timeout(CONNECT_WITHIN, endpoint.connect()).await {
        Ok(channel) => channel.map_err(|error| reason(&error)),
        Err(_) => Err(format!("no connection within {} s", CONNECT_WITHIN.as_secs())),
    }
}

/// The innermost cause: the outer ones only say that there is one.
fn reason(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

async fn watch(channel: &Channel, resume: Option<ResumePoint>) -> Result<Streaming<Frame>, String> {
    let mut client = FailureModeServiceClient::new(channel.clone()).max_decoding_message_size(MOST_BYTES);
    match timeout(CONNECT_WITHIN, client.watch(WatchRequest { resume })).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(explain(&status)),
        Err(_) => Err(format!("no answer within {} s", CONNECT_WITHIN.as_secs())),
    }
}

/// Statuses by `grpc.health.v1`; none where that is not offered.
fn serving(channel: Channel) -> impl futures::Stream<Item = i32> {
    let watch = async move {
        let answer = HealthClient::new(channel).watch(HealthCheckRequest::default()).await;
        answer.map(tonic::Response::into_inner).ok()
    };
    futures::stream::once(watch).filter_map(std::future::ready).flat_map(|statuses| {
        statuses.filter_map(async |status: Result<HealthCheckResponse, _>| status.ok().map(|status| status.status)).boxed()
    })
}
