//! What an event is worth, decided a second time: the contract as read from the `.proto` files, without the code under test.

use loadline_domain::Timestamp;
use loadline_proto::event::{BillingEvent, Channel, DeliveryReceipt, DeliveryStatus, Event, event::Body};
use prost::Message as _;

const HOUR_MICROS: i64 = 3_600_000_000;
const BILLING_HORIZON_MICROS: i64 = 48 * HOUR_MICROS;
const RECEIPT_HORIZON_MICROS: i64 = 96 * HOUR_MICROS;
const FUTURE_MICROS: i64 = 5 * 60 * 1_000_000;
const EARLIEST_SECONDS: i64 = 946_684_800;
const END_SECONDS: i64 = 253_402_300_800;

/// A row of hourly usage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// Whose.
    pub account: String,
    /// Hours since 1970.
    pub hour: i32,
    /// The contract's number.
    pub channel: i32,
    /// Two letters, or empty.
    pub country: String,
    /// Three letters, or empty.
    pub currency: String,
}

/// Its columns: events, messages, segments, amount in micros, then receipts delivered, undelivered, expired, rejected, failed
/// and not final.
pub type Numbers = [i64; 10];

/// Column of delivered receipts.
pub const DELIVERED: usize = 4;

/// What makes two events the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// `billing` or `receipt`.
    pub kind: &'static str,
    /// Days since 1970 of the event's own time.
    pub day: i32,
    /// A UUID, or the account with any other id; receipts on the way carry their status too.
    pub name: String,
}

/// What a countable event adds, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worth {
    /// Who it is.
    pub identity: Identity,
    /// Equal for duplicates, different for conflicts.
    pub content: String,
    /// Where it counts.
    pub row: RowKey,
    /// What it adds there.
    pub numbers: Numbers,
}

/// What must become of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Counted, or a duplicate or a conflict of what is counted.
    Countable(Box<Worth>),
    /// A dead letter for this reason.
    Dead(&'static str),
}

/// Judges a payload appended at `recorded_at`; without it, its age is not judged.
pub fn judge(payload: &[u8], recorded_at: Option<Timestamp>) -> Verdict {
    if payload.len() > 64 * 1024 {
        return Verdict::Dead("UNDECODABLE");
    }
    let (worth, micros, horizon) = match Event::decode(payload).ok().and_then(|event| event.body) {
        None => return Verdict::Dead("UNDECODABLE"),
        Some(Body::Billing(event)) => (billing(&event), micros(event.occurred_at), BILLING_HORIZON_MICROS),
        Some(Body::Receipt(event)) => (receipt(&event), micros(event.submitted_at), RECEIPT_HORIZON_MICROS),
    };
    let (Some(worth), Some(micros)) = (worth, micros) else { return Verdict::Dead("INVALID") };
    match recorded_at.map(Timestamp::micros) {
        Some(recorded) if micros > recorded + FUTURE_MICROS => Verdict::Dead("FUTURE"),
        Some(recorded) if micros < recorded - horizon => Verdict::Dead("LATE"),
        _ => Verdict::Countable(Box::new(worth)),
    }
}

fn billing(event: &BillingEvent) -> Option<Worth> {
    let micros = micros(event.occurred_at)?;
    let sound = common(&event.account, &event.event_id, event.channel, &event.country)
        && (event.currency.is_empty() || letters(&event.currency, 3))
        && (1..=1_000_000).contains(&event.messages)
        && (event.messages..=1_000_000).contains(&event.segments)
        && (0..=1_000_000_000_000).contains(&event.amount_micros)
        && (event.amount_micros == 0 || !event.currency.is_empty());
    let (messages, segments) = (event.messages.into(), event.segments.into());
    sound.then(|| Worth {
        identity: Identity { kind: "billing", day: day(micros), name: name(&event.account, &event.event_id) },
        // The id is the identity's, and its spelling no part of the content.
        content: format!("{micros} {:?}", BillingEvent { event_id: String::new(), occurred_at: None, ..event.clone() }),
        row: row(&event.account, micros, event.channel, &event.country, &event.currency),
        numbers: [1, messages, segments, event.amount_micros, 0, 0, 0, 0, 0, 0],
    })
}

fn receipt(event: &DeliveryReceipt) -> Option<Worth> {
    let (submitted, reported) = (micros(event.submitted_at)?, micros(event.reported_at)?);
    let status = DeliveryStatus::try_from(event.status).ok()?;
    let column = match status {
        DeliveryStatus::Unspecified => return None,
        DeliveryStatus::Delivered => DELIVERED,
        DeliveryStatus::Undelivered => 5,
        DeliveryStatus::Expired => 6,
        DeliveryStatus::Rejected => 7,
        DeliveryStatus::Failed => 8,
        DeliveryStatus::Accepted | DeliveryStatus::Enroute => 9,
    };
    let name = match column {
        9 => format!("{} {} {}", event.account, event.message_id, event.status),
        _ => name(&event.account, &event.message_id),
    };
    let mut numbers = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    numbers[column] = 1;
    let sound = reported >= submitted && common(&event.account, &event.message_id, event.channel, &event.country);
    sound.then(|| Worth {
        identity: Identity { kind: "receipt", day: day(submitted), name },
        content: format!("{submitted} {} {} {} {}", event.account, event.channel, event.country, event.status),
        row: row(&event.account, submitted, event.channel, &event.country, ""),
        numbers,
    })
}

fn common(account: &str, id: &str, channel: i32, country: &str) -> bool {
    let visible = account.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    let known = Channel::try_from(channel).is_ok_and(|channel| channel != Channel::Unspecified);
    visible
        && (1..=128).contains(&account.len())
        && (1..=128).contains(&id.len())
        && known
        && (country.is_empty() || letters(country, 2))
}

fn letters(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn name(account: &str, id: &str) -> String {
    match uuid::Uuid::parse_str(id) {
        Ok(uuid) if id.len() == 36 => uuid.to_string(),
        _ => format!("{account} {id}"),
    }
}

fn row(account: &str, micros: i64, channel: i32, country: &str, currency: &str) -> RowKey {
    let hour = (micros / HOUR_MICROS) as i32;
    RowKey { account: account.to_owned(), hour, channel, country: country.to_owned(), currency: currency.to_owned() }
}

fn day(micros: i64) -> i32 {
    (micros / HOUR_MICROS / 24) as i32
}

fn micros(time: Option<prost_types::Timestamp>) -> Option<i64> {
    let time = time?;
    let sound = (EARLIEST_SECONDS..END_SECONDS).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    sound.then(|| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}

/// Adds one row's numbers to another's.
pub fn add(sum: &mut Numbers, numbers: &Numbers) {
    sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
}
