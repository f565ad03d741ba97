//! Domain values to messages.

use loadline_domain::question::UsageRow;
use loadline_domain::{
    Hour, Timestamp,
    completeness::PeriodState,
    event::{Channel, Currency},
    progress::Progress,
    usage::Usage,
};
use loadline_proto::{
    common::StreamProgress,
    query::{Period, ReceiptCounts, UsageRow as WireRow, UsageTotals, period::State},
};
use std::time::Duration;

/// An instant.
pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.parts();
    prost_types::Timestamp { seconds, nanos }
}

/// A length of time.
pub fn duration(length: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::try_from(length.as_secs()).unwrap_or(i64::MAX), nanos: length.subsec_nanos() as i32 }
}

/// A count. Counts are sums of events and never negative; one that is shows as 0, and as a difference in an explanation.
pub fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A channel, 0 when it is not kept apart.
pub fn channel(channel: Option<Channel>) -> i32 {
    channel.map_or(0, Channel::number)
}

/// Sums of one currency.
pub fn totals(currency: Currency, usage: &Usage) -> UsageTotals {
    UsageTotals {
        currency: currency.as_str().to_owned(),
        events: count(usage.events),
        messages: count(usage.messages),
        segments: count(usage.segments),
        amount_micros: usage.amount_micros,
        receipts: Some(receipts(usage)),
    }
}

/// Receipts by status.
pub fn receipts(usage: &Usage) -> ReceiptCounts {
    ReceiptCounts {
        delivered: count(usage.delivered),
        undelivered: count(usage.undelivered),
        expired: count(usage.expired),
        rejected: count(usage.rejected),
        failed: count(usage.failed),
        not_final: count(usage.not_final),
    }
}

/// A row of usage; its hour and dimensions as far as they are kept apart.
pub fn usage_row(row: &UsageRow) -> WireRow {
    let currency = row.currency.unwrap_or(Currency::UNKNOWN);
    WireRow {
        hour: row.hour.map(|hour| timestamp(hour.start())),
        channel: channel(row.channel),
        country: row.country.map_or_else(String::new, |country| country.as_str().to_owned()),
        currency: currency.as_str().to_owned(),
        usage: Some(totals(currency, &row.usage)),
    }
}

/// A run of hours in one state.
pub fn period((from, to, state): (Hour, Hour, PeriodState)) -> Period {
    let state = match state {
        PeriodState::Pending => State::Pending,
        PeriodState::Provisional => State::Provisional,
        PeriodState::Final => State::Final,
    };
    Period { from: Some(timestamp(from.start())), to: Some(timestamp(to.start())), state: state.into() }
}

/// How far a stream is counted.
pub fn progress(progress: &Progress) -> StreamProgress {
    StreamProgress {
        stream: progress.stream.to_string(),
        incarnation: progress.incarnation.to_string(),
        applied: progress.applied,
        counted: progress.counted,
        duplicates: progress.duplicates,
        dead_lettered: progress.dead_lettered,
        lost: progress.lost,
        applied_at: progress.applied_at.map(timestamp),
        committed_at: progress.committed_at.map(timestamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_its_currency_beside_the_money() {
        let row = UsageRow {
            hour: Some(Hour::from_index(500_000)),
            channel: None,
            country: None,
            currency: Currency::parse("EUR"),
            usage: Usage { events: 1, messages: 2, segments: 3, amount_micros: 75_000, ..Usage::default() },
        };
        let wire = usage_row(&row);
        assert_eq!((wire.channel, wire.country.as_str(), wire.currency.as_str()), (0, "", "EUR"));
        let usage = wire.usage.unwrap();
        assert_eq!((usage.currency.as_str(), usage.amount_micros, usage.segments), ("EUR", 75_000, 3));
        assert_eq!(wire.hour.unwrap().seconds, 500_000 * 3_600);
    }

    #[test]
    fn a_negative_count_is_not_a_huge_one() {
        assert_eq!(count(-1), 0);
    }

    #[test]
    fn a_length_of_time_keeps_its_nanoseconds() {
        let wire = duration(Duration::new(3, 7));
        assert_eq!((wire.seconds, wire.nanos), (3, 7));
    }
}
