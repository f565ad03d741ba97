//! What stands in the log, read for the journal: from NATS with a consumer of its own, from the embedded log through its port.

use crate::journal::{Journal, Position};
use anyhow::{Context as _, Result, bail};
use async_nats::jetstream::{self, consumer::pull::OrderedConfig};
use futures::StreamExt as _;
use loadline_domain::{StreamName, Timestamp};
use loadline_event_log::{Entry, EventLog, LogError, ReadLimit};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Places every record that still stands in these streams. A stream that is not there has none.
///
/// # Errors
/// When the log cannot be read.
pub async fn read(url: &str, streams: &[&str], journal: &mut Journal) -> Result<()> {
    let log = loadline_event_log::open(url).await?;
    for stream in streams {
        let name = StreamName::new(stream)?;
        // How a log spells its incarnation is the port's affair; both sides must only spell it alike.
        let bounds = match log.bounds(&name).await {
            Err(LogError::StreamNotFound { .. }) => continue,
            bounds => bounds?,
        };
        let place = Placing { stream, incarnation: bounds.incarnation.as_str(), first: bounds.first, last: bounds.last };
        if place.first > place.last {
            continue;
        }
        match url.starts_with("sqlite:") {
            true => place.embedded(log.as_ref(), &name, journal).await?,
            false => place.jetstream(url, journal).await?,
        }
    }
    Ok(())
}

struct Placing<'a> {
    stream: &'a str,
    incarnation: &'a str,
    first: u64,
    last: u64,
}

impl Placing<'_> {
    fn position(&self, sequence: u64) -> Position {
        Position::new(self.stream, self.incarnation, sequence)
    }

    async fn jetstream(&self, url: &str, journal: &mut Journal) -> Result<()> {
        let client = async_nats::connect(url).await?;
        let stream = jetstream::new(client).get_stream(self.stream).await?;
        let mut messages = stream.create_consumer(OrderedConfig::default()).await?.messages().await?;
        loop {
            let next = tokio::time::timeout(PATIENCE, messages.next()).await;
            let message =
                next.with_context(|| format!("{} is silent before {}", self.stream, self.last))?.context("its end")??;
            let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
            let micros = info.published.unix_timestamp_nanos() / 1_000;
            let (sequence, recorded_at) = (info.stream_sequence, Timestamp::from_micros(micros as i64));
            journal.place(self.position(sequence), Some(recorded_at), message.payload.clone());
            if sequence >= self.last {
                return Ok(());
            }
        }
    }

    async fn embedded(&self, log: &dyn EventLog, name: &StreamName, journal: &mut Journal) -> Result<()> {
        let incarnation = loadline_domain::Incarnation::new(self.incarnation);
        let limit = ReadLimit { records: 10_000, bytes: 16 << 20 };
        let mut next = self.first;
        while next <= self.last {
            let entries = log.read(name, &incarnation, next, limit, Duration::from_secs(1)).await?;
            let Some(last) = entries.last().map(Entry::last) else { bail!("{name} ends before {}", self.last) };
            for entry in entries {
                if let Entry::Record(record) = entry {
                    journal.place(self.position(record.sequence), Some(record.recorded_at), record.payload);
                }
            }
            next = last + 1;
        }
        Ok(())
    }
}
