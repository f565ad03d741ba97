//! Who uses most, and what became of their messages.

use crate::{moment::Moment, text::clean};
use loadline_proto::query::{GetDeliveryResponse, ListTopAccountsResponse};
use std::{collections::BTreeMap, time::Duration};

/// Accounts asked for.
pub const TOP: u32 = 20;

/// One account over the last day.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountUse {
    /// Its id.
    pub account: String,
    /// Messages charged for.
    pub messages: u64,
    /// Segments charged for.
    pub segments: u64,
    /// Money in millionths, by currency.
    pub amounts: Vec<(String, i64)>,
}

/// What became of an account's messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Delivered of those with a final report; `None` without one.
    pub rate: Option<f64>,
    /// Share of messages with a final report.
    pub maturity: Option<f64>,
    /// From submission to delivery, for 99 of 100.
    pub p99: Option<Duration>,
    /// When the answer came.
    pub at: Duration,
}

/// The usage screen's facts.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Most messages first.
    pub accounts: Vec<AccountUse>,
    /// By account.
    pub delivery: BTreeMap<String, Delivery>,
    /// Dead letters that could change it.
    pub dead_letters: u64,
    /// Lost records that could have changed it.
    pub lost: u64,
    /// Pieces of the time asked for that are not in the answer, and why.
    pub missing: Vec<String>,
    /// When the answer came.
    pub at: Option<Duration>,
    /// Why the last question had none.
    pub error: Option<String>,
}

impl Usage {
    /// Takes an answer.
    pub fn take_top(&mut self, answer: ListTopAccountsResponse, now: Moment) {
        let accounts = answer.accounts.into_iter().take(TOP as usize);
        self.accounts = accounts
            .map(|account| AccountUse {
                account: clean(&account.account),
                messages: account.totals.iter().map(|total| total.messages).fold(0, u64::saturating_add),
                segments: account.totals.iter().map(|total| total.segments).fold(0, u64::saturating_add),
                amounts: amounts(&account.totals),
            })
            .collect();
        let completeness = answer.completeness.unwrap_or_default();
        (self.dead_letters, self.lost) = (completeness.dead_letters, completeness.lost);
        let missing = completeness.parts.iter().filter(|part| !part.missing.is_empty());
        self.missing = missing.take(5).map(|part| clean(&part.missing)).collect();
        self.delivery.retain(|account, _| self.accounts.iter().any(|known| known.account == *account));
        self.at = Some(now.elapsed);
        self.error = None;
    }

    /// Takes an answer about one account.
    pub fn take_delivery(&mut self, answer: GetDeliveryResponse, now: Moment) {
        let account = clean(&answer.account);
        if !self.accounts.iter().any(|known| known.account == account) {
            return;
        }
        let Some(total) = answer.total else { return };
        let ratio = |ratio: Option<f64>| ratio.filter(|ratio| ratio.is_finite());
        let p99 = total.latency.filter(|latency| latency.count > 0).and_then(|latency| latency.p99);
        let delivery = Delivery {
            rate: ratio(total.delivery_rate),
            maturity: ratio(total.maturity),
            p99: p99.and_then(|p99| Duration::try_from(p99).ok()),
            at: now.elapsed,
        };
        self.delivery.insert(account, delivery);
    }
}

fn amounts(totals: &[loadline_proto::query::UsageTotals]) -> Vec<(String, i64)> {
    let priced = totals.iter().filter(|total| !total.currency.is_empty());
    priced.take(10).map(|total| (clean(&total.currency), total.amount_micros)).collect()
}
