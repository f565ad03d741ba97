//! Judges published events one by one and appends the valid ones to the log.

use loadline_domain::{
    Clock, DeadLetterReason, Rules, Sequence, StreamName,
    dead_letter::Refusal,
    decode::validate,
    event::Event,
    identity::{Fingerprint, Identity, identify},
};
use loadline_event_log::{EventLog, LogError, NewRecord};
use loadline_proto::event::Event as WireEvent;
use loadline_store::{Store, StoreError};
use prost::Message as _;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Most events of one request.
pub const MAX_EVENTS: usize = 10_000;

/// Streams that take an event of a kind: one of them, by account.
#[derive(Debug, Clone)]
pub struct Routes {
    /// For billing events.
    pub billing: Vec<StreamName>,
    /// For receipts.
    pub receipts: Vec<StreamName>,
}

impl Routes {
    /// The stream of an event: the same account always goes to the same stream, so its events stay in order.
    fn route(&self, event: &Event) -> &StreamName {
        let streams = match event {
            Event::Billing(_) => &self.billing,
            Event::Receipt(_) => &self.receipts,
        };
        let [a, b, c, d, ..] = *blake3::hash(event.account().as_str().as_bytes()).as_bytes();
        &streams[u32::from_le_bytes([a, b, c, d]) as usize % streams.len()]
    }
}

/// What became of a request.
#[derive(Debug, Default)]
pub struct Published {
    /// Events left out because they are repeated, or counted already.
    pub duplicates: u32,
    /// Refused: index, and why.
    pub refusals: Vec<(usize, Refusal)>,
    /// Where the accepted ones stand.
    pub appended: Vec<(StreamName, Vec<Sequence>)>,
}

impl Published {
    /// Events now in the log.
    pub fn accepted(&self) -> usize {
        self.appended.iter().map(|(_, sequences)| sequences.len()).sum()
    }
}

/// Takes events into the log.
#[derive(Clone)]
pub struct Publisher {
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub rules: Rules,
    pub routes: Arc<Routes>,
}

/// Why a whole request failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("{0} events in one request; at most {MAX_EVENTS}")]
    TooMany(usize),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Judged {
    index: usize,
    identity: Identity,
    fingerprint: Fingerprint,
    stream: StreamName,
    record: NewRecord,
}

impl Publisher {
    /// Appends the valid events. On an error nothing is known of any of them.
    pub async fn publish(
        &self,
        events: Vec<WireEvent>,
        skip_duplicates: bool,
        traceparent: Option<String>,
    ) -> Result<Published, PublishError> {
        if events.len() > MAX_EVENTS {
            return Err(PublishError::TooMany(events.len()));
        }
        let mut published = Published::default();
        let mut judged = self.judge(events, traceparent, &mut published);
        if skip_duplicates && !judged.is_empty() {
            let identities: Vec<_> = judged.iter().map(|judged| judged.identity).collect();
            // A store that is down costs only the report: the fold finds the duplicates again.
            let known = match self.store.known(&identities).await {
                Err(error) if error.is_retryable() => HashMap::new(),
                known => known?,
            };
            judged.retain(|judged| published.is_new(judged, known.get(&judged.identity).copied()));
        }
        let mut by_stream: BTreeMap<StreamName, Vec<NewRecord>> = BTreeMap::new();
        for judged in judged {
            by_stream.entry(judged.stream).or_default().push(judged.record);
        }
        let appends = by_stream.into_iter().map(|(stream, records)| async move {
            let sequences = self.log.append(&stream, records).await?;
            Ok::<_, LogError>((stream, sequences))
        });
        published.appended = futures::future::try_join_all(appends).await?;
        published.refusals.sort_by_key(|(index, _)| *index);
        Ok(published)
    }

    /// Valid events, without those repeated within the request.
    fn judge(&self, events: Vec<WireEvent>, traceparent: Option<String>, published: &mut Published) -> Vec<Judged> {
        let now = self.clock.now();
        let mut firsts: HashMap<_, Fingerprint> = HashMap::with_capacity(events.len());
        let mut judged = Vec::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            let payload = event.encode_to_vec().into();
            let checked = validate(event).and_then(|event| self.rules.admit(&event, now).map(|_| event));
            let event = match checked {
                Ok(event) => event,
                Err(refusal) => {
                    published.refusals.push((index, refusal));
                    continue;
                }
            };
            let (identity, fingerprint) = identify(&event);
            let record = NewRecord { key: event.account().to_string(), payload, traceparent: traceparent.clone() };
            let new = Judged { index, identity, fingerprint, stream: self.routes.route(&event).clone(), record };
            if published.is_new(&new, firsts.get(&identity.name()).copied()) {
                firsts.insert(identity.name(), fingerprint);
                judged.push(new);
            }
        }
        judged
    }
}

impl Published {
    /// Notes a duplicate or a conflict with what is known of the identity.
    fn is_new(&mut self, judged: &Judged, known: Option<Fingerprint>) -> bool {
        match known {
            None => return true,
            Some(known) if known == judged.fingerprint => self.duplicates += 1,
            Some(_) => self.refusals.push((
                judged.index,
                Refusal {
                    reason: DeadLetterReason::Conflict,
                    field: "",
                    detail: "its id was published before with other content; use a new id, or correct the event".to_owned(),
                    account: None,
                    event_time: None,
                },
            )),
        }
        false
    }
}
