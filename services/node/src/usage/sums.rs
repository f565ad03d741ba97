//! Rows added up for people: over hours, currencies or dimensions. Amounts stay apart by currency.

use crate::{money, output::count};
use loadline_proto::query::{ReceiptCounts, UsageTotals};
use std::collections::BTreeMap;

/// Usage of several rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Messages charged for.
    pub messages: u64,
    /// Segments charged for.
    pub segments: u64,
    /// Millionths, by currency.
    pub amounts: BTreeMap<String, i64>,
    /// What became of messages.
    pub receipts: ReceiptCounts,
}

impl Sums {
    /// Adds a row. Sums too large for their type stay at its end: they are shown, not computed with.
    pub fn add(&mut self, usage: &UsageTotals) {
        self.messages = self.messages.saturating_add(usage.messages);
        self.segments = self.segments.saturating_add(usage.segments);
        if !usage.currency.is_empty() {
            let amount = self.amounts.entry(usage.currency.clone()).or_default();
            *amount = amount.saturating_add(usage.amount_micros);
        }
        if let Some(more) = &usage.receipts {
            let sum = &mut self.receipts;
            for (sum, more) in [
                (&mut sum.delivered, more.delivered),
                (&mut sum.undelivered, more.undelivered),
                (&mut sum.expired, more.expired),
                (&mut sum.rejected, more.rejected),
                (&mut sum.failed, more.failed),
                (&mut sum.not_final, more.not_final),
            ] {
                *sum = sum.saturating_add(more);
            }
        }
    }

    /// Of several rows.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a UsageTotals>) -> Self {
        let mut sums = Self::default();
        rows.into_iter().for_each(|row| sums.add(row));
        sums
    }

    /// Cells: messages, segments, amounts, delivered, other final receipts.
    pub fn cells(&self) -> [String; 5] {
        [
            count(self.messages),
            count(self.segments),
            self.amount(),
            count(self.receipts.delivered),
            count(not_delivered(&self.receipts)),
        ]
    }

    /// `12.50 EUR · 3.00 USD`.
    fn amount(&self) -> String {
        let amounts = self.amounts.iter().map(|(currency, micros)| format!("{} {currency}", money::format(*micros)));
        let amounts = amounts.collect::<Vec<_>>().join(" · ");
        if amounts.is_empty() { "–".to_owned() } else { amounts }
    }
}

/// Final receipts of messages that did not arrive.
pub fn not_delivered(receipts: &ReceiptCounts) -> u64 {
    [receipts.undelivered, receipts.expired, receipts.rejected, receipts.failed].into_iter().fold(0, u64::saturating_add)
}
