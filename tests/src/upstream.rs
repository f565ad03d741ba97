//! Publishing past the API, as an upstream service does: whatever the bytes are, the log takes them.

use crate::world::World;
use anyhow::{Context as _, Result};
use async_nats::jetstream;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use loadline_domain::{Sequence, StreamName};
use loadline_event_log::NewRecord;

/// Publications on their way to NATS at once.
const IN_FLIGHT: usize = 512;

/// Appends payloads to a stream, in order, and returns where they stand. On the embedded log all in one transaction.
///
/// # Errors
/// When the log does not take them.
pub async fn append(world: &World, stream: &str, account: &str, payloads: Vec<Bytes>) -> Result<Vec<Sequence>> {
    match &world.nats {
        None => embedded(&world.log, stream, account, payloads).await,
        Some(nats) => publish(&nats.url(), stream, account, payloads).await,
    }
}

async fn embedded(url: &str, stream: &str, account: &str, payloads: Vec<Bytes>) -> Result<Vec<Sequence>> {
    let record = |payload| NewRecord { key: account.to_owned(), payload, traceparent: None };
    let log = loadline_event_log::open(url).await?;
    Ok(log.append(&StreamName::new(stream)?, payloads.into_iter().map(record).collect()).await?)
}

/// To NATS, by the stream's lower-cased name as the first token of the subject.
///
/// # Errors
/// When NATS does not acknowledge.
pub async fn publish(url: &str, stream: &str, account: &str, payloads: Vec<Bytes>) -> Result<Vec<Sequence>> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let subject = format!("{}.{account}", stream.to_ascii_lowercase());
    // Sent one after the other, so that their order is that of the payloads; only the acknowledgements are waited for together.
    let sent = stream::iter(payloads).then(|payload| context.publish(subject.clone(), payload));
    let acknowledged = sent.map(|sent| async move { anyhow::Ok(sent?.await?.sequence) }).buffered(IN_FLIGHT);
    acknowledged.try_collect().await.with_context(|| format!("publishing to {subject}"))
}
