//! What became of the messages submitted in a range.

use crate::{Query, convert, history::Archived, request::Range, status::QueryError, unanswered::What, usage::add};
use loadline_domain::question::{Grain, LatencyRow, UsageQuery};
use loadline_domain::{
    AccountScope,
    event::{Channel, Country},
    latency::{self, Bucket},
    usage::Usage,
};
use loadline_proto::query::{DeliveryRow, GetDeliveryResponse, LatencyQuantiles};
use std::collections::BTreeMap;

/// A group of deliveries; `None` where it is not kept apart.
type Group = (Option<Channel>, Option<Country>);

/// Usage and latency of a group.
#[derive(Debug, Clone, Default)]
struct Cohort {
    usage: Usage,
    latency: BTreeMap<Bucket, u64>,
}

impl Query {
    /// Answers a question whose account is in scope.
    pub(crate) async fn delivery(&self, scope: &AccountScope, question: &UsageQuery) -> Result<GetDeliveryResponse, QueryError> {
        let (hot, hot_latency, as_of) = self.parts.store.delivery(scope, question).await?;
        let parts = &as_of.sources.parts;
        let asking = self.parts.history.delivery(scope, parts, question);
        let Archived { rows: (old, old_latency), missing } =
            self.archived(scope, parts, asking, || What::Delivery(question.clone())).await;
        let latency = [hot_latency, old_latency].concat();
        let usage = hot.iter().chain(&old).map(|row| ((row.channel, row.country), row.usage));
        let cohorts = cohorts(usage, &latency)?;
        let mut total = Cohort::default();
        for cohort in cohorts.values() {
            total.add(cohort.usage)?;
            total.add_latency(cohort.latency.iter().map(|(bucket, count)| (*bucket, *count)));
        }
        let (periods, completeness) =
            self.completeness(Range { from: question.from, to: question.to }, Grain::Hour, &as_of, missing.as_deref()).await;
        Ok(GetDeliveryResponse {
            account: question.account.to_string(),
            rows: cohorts.iter().map(|(group, cohort)| cohort.row(*group)).collect(),
            total: Some(total.row((None, None))),
            periods: periods.into_iter().map(convert::period).collect(),
            completeness: Some(completeness),
        })
    }
}

/// Rows with their latency, by group.
fn cohorts(usage: impl Iterator<Item = (Group, Usage)>, latency: &[LatencyRow]) -> Result<BTreeMap<Group, Cohort>, QueryError> {
    let mut cohorts: BTreeMap<Group, Cohort> = BTreeMap::new();
    for (group, usage) in usage {
        cohorts.entry(group).or_default().add(usage)?;
    }
    for row in latency {
        cohorts.entry((row.channel, row.country)).or_default().add_latency(row.counts.iter().copied());
    }
    Ok(cohorts)
}

impl Cohort {
    fn add(&mut self, usage: Usage) -> Result<(), QueryError> {
        self.usage = add(self.usage, usage)?;
        Ok(())
    }

    fn add_latency(&mut self, counts: impl Iterator<Item = (Bucket, u64)>) {
        for (bucket, count) in counts {
            *self.latency.entry(bucket).or_default() += count;
        }
    }

    fn row(&self, (channel, country): Group) -> DeliveryRow {
        let (finals, messages) = (self.usage.final_receipts(), self.usage.messages);
        let share = |part: i64, whole: i64| (whole > 0).then(|| part as f64 / whole as f64);
        DeliveryRow {
            channel: convert::channel(channel),
            country: country.map_or_else(String::new, |country| country.as_str().to_owned()),
            messages: convert::count(messages),
            receipts: Some(convert::receipts(&self.usage)),
            delivery_rate: share(self.usage.delivered, finals),
            maturity: share(finals, messages).map(|maturity| maturity.min(1.0)),
            latency: self.quantiles(),
        }
    }

    /// `None` when nothing was delivered.
    fn quantiles(&self) -> Option<LatencyQuantiles> {
        let counts: Vec<_> = self.latency.iter().map(|(bucket, count)| (*bucket, *count)).collect();
        let quantile = |q| latency::quantile(&counts, q).map(convert::duration);
        let count: u64 = counts.iter().map(|(_, count)| count).sum();
        (count > 0).then(|| LatencyQuantiles { count, p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn cohort(usage: Usage) -> Cohort {
        Cohort { usage, ..Cohort::default() }
    }

    #[test]
    fn a_rate_needs_final_receipts_and_maturity_needs_messages() {
        let silent = cohort(Usage { messages: 4, not_final: 3, ..Usage::default() }).row((None, None));
        assert_eq!((silent.delivery_rate, silent.maturity), (None, Some(0.0)));
        let orphans = cohort(Usage { delivered: 3, failed: 1, ..Usage::default() }).row((None, None));
        assert_eq!((orphans.delivery_rate, orphans.maturity), (Some(0.75), None));
    }

    #[test]
    fn maturity_is_at_most_one() {
        let row = cohort(Usage { messages: 2, delivered: 3, ..Usage::default() }).row((None, None));
        assert_eq!((row.delivery_rate, row.maturity), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn latency_is_of_the_group_it_was_counted_in() {
        let bucket = latency::bucket(Duration::from_secs(2));
        let of =
            |country: &str, count| LatencyRow { channel: None, country: Country::parse(country), counts: vec![(bucket, count)] };
        let cohorts = cohorts(std::iter::empty(), &[of("DE", 3), of("FR", 1)]).unwrap();
        let counts: Vec<_> = cohorts.iter().map(|(group, cohort)| cohort.row(*group).latency.unwrap().count).collect();
        assert_eq!(counts, [3, 1]);
        assert_eq!(cohort(Usage::default()).row((None, None)).latency, None);
    }
}
