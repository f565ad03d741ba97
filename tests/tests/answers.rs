//! Every kind of question has the same answer before its days move to history, after, and with late events on top.

use anyhow::{Result, ensure};
use loadline_domain::Timestamp;
use loadline_proto::{
    event::{BillingEvent, Channel, DeliveryReceipt, DeliveryStatus, Event},
    query::{
        AccountUsage, DeliveryRow, Dimension, GetDeliveryRequest, GetUsageRequest, Granularity, ListTopAccountsRequest, UsageRow,
        UsageTotals, list_top_accounts_request::OrderBy, part::Origin,
    },
};
use loadline_tests::{
    client::Clients,
    days::{self, VALUES, account, now, origins},
    events::{billing, envelope, proto_time, receipt},
    history::Keeper,
    jobs::{run, succeeded},
    nats::NatsVersion,
    on_combinations,
    service::Service,
    world::{Backends, World},
};
use std::time::Duration;

const REAL: Backends = Backends::Real(NatsVersion::Nats215);
const HOUR: Duration = Duration::from_secs(3_600);
/// More than a month, so that every range of a calendar is cut somewhere.
const DAYS: u32 = 40;

on_combinations! {
    an_archive_changes_no_answer_of_any_kind {
        on_sqlite_and_disk: Backends::Embedded, None;
        on_postgres_and_clickhouse_18: REAL, Some(Keeper::ClickHouse18);
    }
}

/// Events of a day that differ in all that is kept apart, and receipts of other latencies.
fn events_of(day: u32, label: &str) -> Vec<Event> {
    let mut events = Vec::new();
    for n in 0..12_u32 {
        // Also within an hour of midnight, where days of other zones begin.
        let at = now().minus(HOUR * (24 * day + 2 * n));
        let id = format!("{label}-{day}-{n}");
        let channel = [Channel::Sms, Channel::Whatsapp][n as usize % 2].into();
        let country = ["DE", "FR", "BR"][n as usize % 3].to_owned();
        let event = BillingEvent {
            channel,
            country: country.clone(),
            currency: ["EUR", "USD"][n as usize / 6].to_owned(),
            segments: n % 4 + 1,
            amount_micros: i64::from(n) * 1_000 + 1,
            ..billing(&account(u64::from(n % 3)), &id, at)
        };
        let status = [DeliveryStatus::Delivered, DeliveryStatus::Failed, DeliveryStatus::Expired][n as usize / 3 % 3];
        let reported = at.plus(Duration::from_millis(200 << (n % 8)));
        let receipt = DeliveryReceipt {
            channel,
            country,
            reported_at: Some(proto_time(reported)),
            ..receipt(&event.account, &id, at, status)
        };
        events.extend([envelope(event), envelope(receipt)]);
    }
    events
}

/// All that is told of usage, whatever it is asked by.
#[derive(Debug, PartialEq)]
struct Told {
    usage: Vec<(Vec<UsageRow>, Vec<UsageTotals>)>,
    delivery: Vec<(Vec<DeliveryRow>, Option<DeliveryRow>)>,
    top: Vec<Vec<AccountUsage>>,
}

struct Asking {
    query: Clients,
    now: Timestamp,
}

impl Asking {
    fn back(&self, hours: u32) -> Option<prost_types::Timestamp> {
        Some(proto_time(self.now.minus(HOUR * hours)))
    }

    async fn usage(
        &mut self,
        granularity: Granularity,
        zone: &str,
        from: u32,
        to: u32,
    ) -> Result<(Vec<UsageRow>, Vec<UsageTotals>)> {
        let request = GetUsageRequest {
            account: account(1),
            from: self.back(from),
            to: self.back(to),
            granularity: granularity.into(),
            time_zone: zone.to_owned(),
            group_by: vec![Dimension::Channel.into(), Dimension::Country.into()],
            ..GetUsageRequest::default()
        };
        let answer = self.query.usage.get_usage(request).await?.into_inner();
        ensure!(days::missing(&answer).is_empty() && !answer.rows.is_empty(), "{granularity:?} {zone}: {answer:?}");
        Ok((answer.rows, answer.totals))
    }

    async fn delivery(&mut self, group_by: Vec<i32>, from: u32, to: u32) -> Result<(Vec<DeliveryRow>, Option<DeliveryRow>)> {
        let request = GetDeliveryRequest {
            account: account(2),
            from: self.back(from),
            to: self.back(to),
            group_by,
            ..GetDeliveryRequest::default()
        };
        let answer = self.query.usage.get_delivery(request).await?.into_inner();
        ensure!(answer.total.as_ref().is_some_and(|total| total.latency.is_some()), "{answer:?}");
        Ok((answer.rows, answer.total))
    }

    async fn top(&mut self, order_by: OrderBy, from: u32, to: u32) -> Result<Vec<AccountUsage>> {
        let request = ListTopAccountsRequest {
            from: self.back(from),
            to: self.back(to),
            order_by: order_by.into(),
            limit: 10,
            ..ListTopAccountsRequest::default()
        };
        Ok(self.query.usage.list_top_accounts(request).await?.into_inner().accounts)
    }

    async fn all(&mut self) -> Result<Told> {
        let mut told = Told { usage: Vec::new(), delivery: Vec::new(), top: Vec::new() };
        let all = 24 * DAYS + 30;
        for granularity in [Granularity::Hour, Granularity::Day, Granularity::Week, Granularity::Month] {
            for zone in ["", "America/New_York"] {
                told.usage.push(self.usage(granularity, zone, all, 0).await?);
                // Cut within a day, and within what is archived.
                told.usage.push(self.usage(granularity, zone, 24 * 20 + 7, 24 * 5 + 5).await?);
            }
        }
        for group_by in [vec![], vec![Dimension::Channel.into(), Dimension::Country.into()]] {
            for (from, to) in [(all, 0), (24 * 20 + 7, 24 * 5 + 5)] {
                told.delivery.push(self.delivery(group_by.clone(), from, to).await?);
            }
        }
        for order_by in [OrderBy::Messages, OrderBy::Segments] {
            for (from, to) in [(all, 0), (24 * 20 + 7, 24 * 5 + 5)] {
                told.top.push(self.top(order_by, from, to).await?);
            }
        }
        Ok(told)
    }
}

fn differences(before: &Told, after: &Told) -> Vec<String> {
    let mut differ = Vec::new();
    for (at, (before, after)) in before.usage.iter().zip(&after.usage).enumerate() {
        if before != after {
            differ.push(format!("usage {at}: {} rows {:?}, then {} rows {:?}", before.0.len(), before.1, after.0.len(), after.1));
        }
    }
    for (at, (before, after)) in before.delivery.iter().zip(&after.delivery).enumerate() {
        if before != after {
            differ.push(format!("delivery {at}: {before:?}, then {after:?}"));
        }
    }
    for (at, (before, after)) in before.top.iter().zip(&after.top).enumerate() {
        if before != after {
            differ.push(format!("top {at}: {before:?}, then {after:?}"));
        }
    }
    differ
}

async fn an_archive_changes_no_answer_of_any_kind(backends: Backends, keeper: Option<Keeper>) -> Result<()> {
    let world = World::start_over(backends, keeper, &[&VALUES[..], &[("rules.receipt_horizon", "60d")]].concat()).await?;
    let ingest = world.ingest.ingest()?;
    for day in 0..DAYS {
        days::publish(&ingest, events_of(day, "first")).await?;
    }
    world.drained().await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    run(&rollup, "daily_rollup", "once").await?;
    succeeded(&rollup, "daily_rollup").await?;
    // An hour that is over: what is asked later is of the same hours.
    let mut asking = Asking { query: world.query.query()?, now: now().hour().start() };
    let before = asking.all().await?;
    run(&rollup, "archive", "once").await?;
    succeeded(&rollup, "archive").await?;
    let after = asking.all().await?;
    ensure!(before == after, "after the archive: {:#?}", differences(&before, &after));
    let answer = days::ask(&mut world.query.query()?, &account(1), Granularity::Day).await?;
    ensure!(origins(&answer).contains(&Origin::History), "{:?}", origins(&answer));

    // What comes late to days that have moved: hot first, then in a second part.
    for day in [5, 12, 30] {
        days::publish(&ingest, events_of(day, "late")).await?;
    }
    world.drained().await?;
    let before = asking.all().await?;
    ensure!(before != after, "late events change nothing");
    run(&rollup, "archive", "what came late").await?;
    succeeded(&rollup, "archive").await?;
    let after = asking.all().await?;
    ensure!(before == after, "after the second archive: {:#?}", differences(&before, &after));
    Ok(())
}
