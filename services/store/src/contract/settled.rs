//! Hours of settled days, kept in memory by whoever asked for them.

use super::{Owner, Subject, always, billing, noon, receipt};
use crate::{Archived, Exported, Options, Store};
use futures::StreamExt as _;
use loadline_domain::{
    AccountScope, Day, Hour,
    archive::{Part, Totals},
    question::{GroupBy, UsageQuery, UsageRow},
};
use loadline_proto::event::DeliveryStatus;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

const ALL: AccountScope = AccountScope::All;
const HOUR: Duration = Duration::from_secs(3_600);

/// Five days around noon, apart by everything, from `cut` hours after the first day's begin.
fn five_days(account: &str, cut: i32) -> UsageQuery {
    let day = noon().day().index();
    let (from, to) = (Hour::from_index((day - 3) * 24 + cut), Hour::from_index((day + 2) * 24));
    let group_by = GroupBy { channel: true, country: true, currency: true };
    UsageQuery { from, to, group_by, ..always(account) }
}

async fn rows(store: &dyn Store, query: &UsageQuery) -> Vec<UsageRow> {
    store.usage(&ALL, query).await.unwrap().0
}

async fn roll_up(subject: &Subject) {
    let leadership = subject.leader().await;
    while subject.roll_up(&leadership, 100).await.unwrap().more {}
}

/// The same store, by a process that keeps nothing.
async fn keeps_nothing(subject: &Subject) -> Arc<dyn Store> {
    crate::open(&subject.url, Options { kept_rows: 0, ..Options::default() }).await.unwrap()
}

/// Archives all of a day that is hot.
async fn archive(subject: &Subject, day: Day) {
    let (leadership, mut totals) = (subject.leader().await, Totals::default());
    let mut export = subject.export_day(day).await.unwrap();
    while let Some(chunk) = export.next().await {
        match chunk.unwrap() {
            Exported::Hourly(rows) => rows.iter().for_each(|(_, usage)| totals.add_hourly(usage)),
            Exported::Latency(rows) => rows.iter().for_each(|(_, count)| totals.add_latency(*count)),
        }
    }
    let number = subject.parts(day, day).await.unwrap().len() as u32;
    let part = Part { day, number, token: Uuid::now_v7().to_string() };
    assert!(matches!(subject.archive(&leadership, &part, &totals).await.unwrap(), Archived::Done));
}

pub async fn a_settled_day_is_read_once(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let events = |name: &str| [1_u32, 20, 30].map(|hours| billing(&format!("{name}{hours}"), "acme", noon().minus(HOUR * hours)));
    owner.count(&events("a")).await;
    let query = five_days("acme", 0);
    assert_eq!(rows(&*subject.store, &query).await.len(), 3);
    // Behind its back, so that what was kept can be told from what is there; an unsettled day is read again.
    let double = "UPDATE usage_hourly SET messages = messages + 1";
    let messages = async || rows(&*subject.store, &query).await.iter().map(|row| row.usage.messages).sum::<i64>();
    subject.tamper(double).await;
    assert_eq!(messages().await, 6);
    roll_up(subject).await;
    assert_eq!(messages().await, 6);
    subject.tamper(double).await;
    assert_eq!(messages().await, 6, "kept in the version that was read");
    assert_eq!(rows(&*keeps_nothing(subject).await, &query).await.iter().map(|row| row.usage.messages).sum::<i64>(), 9);
    owner.count(&events("b")).await;
    assert_eq!(messages().await, 12, "every day has changed");
    roll_up(subject).await;
    subject.tamper(double).await;
    assert_eq!(messages().await, 15, "settled again in another version");
}

pub async fn what_is_kept_of_days_is_never_older_than_the_store(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let plain = keeps_nothing(subject).await;
    let day = noon().day().index();
    // Every pair of steps follows each other somewhere in this walk.
    let mut walk = 1_u32;
    for step in 0..60_u32 {
        walk = walk.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hours = (walk >> 8) % 60;
        let account = ["acme", "beta"][(walk >> 16) as usize % 2];
        let at = noon().minus(HOUR * hours);
        match (walk >> 24) % 5 {
            0 | 1 => drop(owner.count(&[billing(&step.to_string(), account, at)]).await),
            2 => drop(owner.count(&[receipt(&format!("m{step}"), account, at, DeliveryStatus::Delivered)]).await),
            3 => roll_up(subject).await,
            _ => archive(subject, Day::from_index(day - (hours / 24) as i32)).await,
        }
        for account in ["acme", "beta"] {
            for cut in [0, 5, 37] {
                let query = five_days(account, cut);
                assert_eq!(rows(&*subject.store, &query).await, rows(&*plain, &query).await, "step {step}");
            }
        }
    }
    subject.assert_conserved().await;
}

pub async fn days_kept_by_one_process_are_unsettled_by_another(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let other = crate::open(&subject.url, Options::default()).await.unwrap();
    let query = five_days("acme", 0);
    for round in 0..4 {
        owner.count(&[billing(&round.to_string(), "acme", noon().minus(HOUR * 30))]).await;
        assert_eq!(rows(&*other, &query).await[0].usage.events, round + 1);
        roll_up(subject).await;
        assert_eq!(rows(&*other, &query).await[0].usage.events, round + 1);
    }
    archive(subject, Day::from_index(noon().minus(HOUR * 30).day().index())).await;
    assert_eq!(rows(&*other, &query).await, []);
    owner.count(&[billing("late", "acme", noon().minus(HOUR * 30))]).await;
    roll_up(subject).await;
    assert_eq!(rows(&*other, &query).await[0].usage.events, 1);
}
