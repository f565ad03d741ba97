//! Questions that scenarios ask again and again.

use crate::{client::Clients, events::proto_time, ports, ports::Ready};
use anyhow::{Context as _, Result};
use loadline_domain::Timestamp;
use loadline_proto::{
    health::{ModeStatus, Severity, State, WatchRequest, frame},
    ingest::{
        DeadLetter, DeadLetterFilter, DeadLetterReason, DeadLetterState, ListDeadLettersRequest, ListStreamsRequest, Stream,
    },
    query::{GetUsageRequest, GetUsageResponse},
};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// One stream, as ingest tells it.
///
/// # Errors
/// When ingest does not answer, or has no such stream.
pub async fn stream(clients: &mut Clients, name: &str) -> Result<Stream> {
    let streams = clients.streams.list(ListStreamsRequest {}).await?.into_inner().streams;
    let named = |stream: &Stream| stream.progress.as_ref().is_some_and(|progress| progress.stream == name);
    streams.into_iter().find(named).with_context(|| format!("no stream {name}"))
}

/// `applied`, `counted`, `duplicates`, `dead_lettered` and `lost` of a stream.
///
/// # Errors
/// As [`stream`].
pub async fn counters(clients: &mut Clients, name: &str) -> Result<[u64; 5]> {
    let progress = stream(clients, name).await?.progress.unwrap_or_default();
    Ok([progress.applied, progress.counted, progress.duplicates, progress.dead_lettered, progress.lost])
}

/// Waits until a stream is as `is` wants it.
///
/// # Errors
/// When it is not in time; with how it was.
pub async fn stream_until(clients: &Clients, name: &str, patience: Duration, is: impl Fn(&Stream) -> bool) -> Result<Stream> {
    let (found, is) = (std::cell::RefCell::new(None), &is);
    ports::wait_until(name, patience, || {
        let (mut clients, found) = (clients.clone(), &found);
        async move {
            Ok(match stream(&mut clients, name).await {
                Ok(stream) if is(&stream) => {
                    found.replace(Some(stream));
                    Ready::Yes
                }
                Ok(stream) => Ready::No(format!("{stream:?}")),
                Err(error) => Ready::No(format!("{error:#}")),
            })
        }
    })
    .await?;
    found.into_inner().context("found when the wait ended")
}

/// An account's usage from four days ago to an hour from now: all that is countable at `now`.
///
/// # Errors
/// When query does not answer.
pub async fn usage(clients: &mut Clients, account: &str, now: Timestamp) -> Result<GetUsageResponse> {
    let (from, to) = (Some(proto_time(now.minus(DAY * 4))), Some(proto_time(now.plus(Duration::from_secs(3_600)))));
    let request = GetUsageRequest { account: account.to_owned(), from, to, ..Default::default() };
    Ok(clients.usage.get_usage(request).await?.into_inner())
}

/// Events, messages, segments and amount of an answer, added over currencies.
pub fn sums(answer: &GetUsageResponse) -> [i64; 4] {
    answer.totals.iter().fold([0; 4], |[events, messages, segments, amount], row| {
        [events + row.events as i64, messages + row.messages as i64, segments + row.segments as i64, amount + row.amount_micros]
    })
}

/// Dead letters in a state, oldest first: at most 1,000.
///
/// # Errors
/// When ingest does not answer.
pub async fn letters(clients: &mut Clients, state: DeadLetterState, filter: DeadLetterFilter) -> Result<Vec<DeadLetter>> {
    let request =
        ListDeadLettersRequest { filter: Some(filter), state: state.into(), page_size: 1_000, page_token: String::new() };
    Ok(clients.dead_letters.list(request).await?.into_inner().dead_letters)
}

/// Reasons of the open dead letters, in the order of the log's sequences.
///
/// # Errors
/// As [`letters`].
pub async fn reasons(clients: &mut Clients) -> Result<Vec<DeadLetterReason>> {
    let letters = letters(clients, DeadLetterState::Open, DeadLetterFilter::default()).await?;
    Ok(letters.iter().map(DeadLetter::reason).collect())
}

/// How a failure mode stands now.
///
/// # Errors
/// When the service does not answer with a snapshot, or does not know the mode.
pub async fn mode(clients: &mut Clients, id: &str) -> Result<ModeStatus> {
    let mut frames = clients.failure_modes.watch(WatchRequest::default()).await?.into_inner();
    let first = frames.message().await?.context("no frame")?;
    let Some(frame::Body::Snapshot(snapshot)) = first.body else { anyhow::bail!("first frame is no snapshot: {first:?}") };
    snapshot.modes.into_iter().find(|mode| mode.id == id).with_context(|| format!("no mode {id}"))
}

/// Waits until a failure mode is as `is` wants it.
///
/// # Errors
/// When it is not in time; with how it was.
pub async fn mode_until(clients: &Clients, id: &str, patience: Duration, is: impl Fn(&ModeStatus) -> bool) -> Result<ModeStatus> {
    let (found, is) = (std::cell::RefCell::new(None), &is);
    ports::wait_until(id, patience, || {
        let (mut clients, found) = (clients.clone(), &found);
        async move {
            Ok(match mode(&mut clients, id).await {
                Ok(mode) if is(&mode) => {
                    found.replace(Some(mode));
                    Ready::Yes
                }
                Ok(mode) => Ready::No(format!("{mode:?}")),
                Err(error) => Ready::No(format!("{error:#}")),
            })
        }
    })
    .await?;
    found.into_inner().context("found when the wait ended")
}

/// What the evidence of a mode says.
pub fn detail(mode: &ModeStatus) -> &str {
    mode.evidence.as_ref().map_or("", |evidence| &evidence.detail)
}

/// Open, of a severity, and with what its evidence says.
pub fn open<'a>(severity: Severity, says: &'a str) -> impl Fn(&ModeStatus) -> bool + 'a {
    move |mode| mode.state() == State::Open && mode.severity() == severity && detail(mode).contains(says)
}

/// Seen, and well.
pub fn is_ok(mode: &ModeStatus) -> bool {
    mode.state() == State::Ok
}
