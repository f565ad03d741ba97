//! What one process says of one mode, and what the catalogue says of it, cleaned and bounded.

use super::{
    remedy::Offer,
    standing::{Severity, State},
};
use crate::{
    moment::Moment,
    text::{clean, cleansed, quantity},
};
use jiff::Timestamp;
use loadline_proto::health::{Evidence as WireEvidence, FailureMode, ModeStatus};
use std::{cmp::Ordering, time::Duration};

/// Most readings kept for a sparkline.
const HISTORY: usize = 60;
/// Most remedies, owners or rules kept of one mode.
const LISTED: usize = 20;

/// One mode as one process sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What the process says.
    pub state: State,
    /// By its rules of now; `None` where it sets none, or one this console does not know.
    pub severity: Option<Severity>,
    /// Which rule set it.
    pub rule: String,
    /// For how long it has been so, when the frame was sent. By the server's clock only, so that no two clocks are compared.
    pub lasted: Option<Duration>,
    /// The reading behind it.
    pub evidence: Option<Evidence>,
    /// Time until data is lost, when the frame was sent.
    pub loss: Option<Duration>,
    /// The drill that causes it; empty: none.
    pub drill: String,
    /// Who looks after it; empty: nobody.
    pub taken_by: String,
    /// What whoever took or muted it has to say.
    pub note: String,
    /// For how long it was muted, when the frame was sent.
    muted: Option<Duration>,
    /// The remedies that it has in this process.
    pub offers: Vec<Offer>,
    /// When the frame came, by the console's `elapsed`.
    pub received: Duration,
}

/// A reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Measured; may be any float.
    pub value: f64,
    /// What it is compared with.
    pub threshold: f64,
    /// Of both.
    pub unit: String,
    /// In words.
    pub detail: String,
    /// How old the reading was when the frame was sent.
    pub age: Option<Duration>,
    /// Finite readings, oldest first.
    pub history: Vec<f64>,
}

impl Report {
    /// From a frame sent at `sent` by the server's clock.
    pub fn from_wire(status: ModeStatus, sent: Timestamp, now: Moment) -> Self {
        Self {
            state: State::from_wire(status.state),
            severity: Severity::from_wire(status.severity),
            rule: cleansed(status.rule),
            lasted: timestamp(status.since.as_ref()).map(|since| span(since, sent)),
            loss: status.time_to_loss.and_then(|loss| Duration::try_from(loss).ok()),
            drill: cleansed(status.drill_id),
            taken_by: cleansed(status.acknowledged_by),
            note: cleansed(status.note),
            muted: timestamp(status.muted_until.as_ref()).map(|until| span(sent, until)),
            offers: status.remedies.into_iter().take(LISTED).map(Offer::from_wire).collect(),
            evidence: status.evidence.map(|evidence| Evidence::from_wire(evidence, sent)),
            received: now.elapsed,
        }
    }

    /// For how long it has been so.
    pub fn lasts(&self, now: Moment) -> Option<Duration> {
        self.lasted.map(|lasted| lasted.saturating_add(now.since(self.received)))
    }

    /// How old the reading is; without one, how old the report is.
    pub fn age(&self, now: Moment) -> Duration {
        let when_sent = self.evidence.as_ref().and_then(|evidence| evidence.age).unwrap_or_default();
        when_sent.saturating_add(now.since(self.received))
    }

    /// For how long it is still muted.
    pub fn muted_for(&self, now: Moment) -> Option<Duration> {
        self.muted.and_then(|muted| muted.checked_sub(now.since(self.received))).filter(|left| !left.is_zero())
    }

    /// Its remedy of this key.
    pub fn offer(&self, key: &str) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.key == key)
    }

    /// Time until data is lost.
    pub fn time_to_loss(&self, now: Moment) -> Option<Duration> {
        self.loss.map(|loss| loss.saturating_sub(now.since(self.received)))
    }
}

impl Evidence {
    /// The reading against its threshold, without their unit; once it is `past` that, by the sign between them. Some are bad
    /// below it.
    pub fn compared(&self, past: bool) -> String {
        let (value, threshold) = (quantity(self.value), quantity(self.threshold));
        // Of two that read the same none is seen to be less.
        let alike = (self.value - self.threshold).abs() < self.threshold.abs() / 20.0;
        let sign = match self.value.partial_cmp(&self.threshold).filter(|_| !alike) {
            Some(Ordering::Greater) if past => ">",
            Some(Ordering::Less) if past => "<",
            _ => "/",
        };
        format!("{value}{sign}{threshold}")
    }

    fn from_wire(wire: WireEvidence, sent: Timestamp) -> Self {
        let mut history = wire.history;
        history.drain(..history.len().saturating_sub(HISTORY));
        history.retain(|value| value.is_finite());
        if history.capacity() > 2 * HISTORY {
            history.shrink_to_fit();
        }
        Self {
            value: wire.value,
            threshold: wire.threshold,
            unit: cleansed(wire.unit),
            detail: cleansed(wire.detail),
            age: timestamp(wire.measured_at.as_ref()).map(|measured| span(measured, sent)),
            history,
        }
    }
}

/// A mode of the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Mode {
    /// What it is called.
    pub title: String,
    /// Services that detect it; `all`: each of them.
    pub owners: Vec<String>,
    /// Without any rule; `None` for one this console does not know.
    pub base: Option<Severity>,
    /// What would raise it, and to what.
    pub raises: Vec<(Option<Severity>, String)>,
    /// What is measured.
    pub signal: String,
    /// What holds it in check by itself.
    pub containment: String,
    /// What users notice.
    pub impact: String,
    /// Keys of its remedies.
    pub remedies: Vec<String>,
    /// Name of its alert.
    pub alert: String,
    /// No part detects it yet.
    pub planned: bool,
}

impl Mode {
    /// From the wire.
    pub fn from_wire(mode: FailureMode) -> Self {
        let texts = |list: Vec<String>| list.iter().take(LISTED).map(|text| clean(text)).collect();
        let rules = mode.raises.into_iter().take(LISTED);
        Self {
            title: clean(&mode.title),
            owners: texts(mode.owners),
            base: Severity::from_wire(mode.base_severity),
            raises: rules.map(|rule| (Severity::from_wire(rule.severity), clean(&rule.when))).collect(),
            signal: clean(&mode.signal),
            containment: clean(&mode.containment),
            impact: clean(&mode.impact),
            remedies: texts(mode.remedies),
            alert: clean(&mode.alert),
            planned: mode.planned,
        }
    }

    /// Whether this service is to detect it.
    pub fn is_owned_by(&self, service: &str) -> bool {
        self.owners.iter().any(|owner| owner == service || owner == "all")
    }
}

/// A time of the wire, if it is one.
pub fn timestamp(wire: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let wire = wire?;
    Timestamp::new(wire.seconds, wire.nanos).ok()
}

/// From one time to another; nothing if they are the wrong way round.
pub fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
