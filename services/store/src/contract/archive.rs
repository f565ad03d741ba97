//! Days that leave for history.

use super::{Owner, Subject, always, billing, noon, receipt};
use crate::{Archivable, Archived, ArchivedPart, Exported, Leadership, Store, StoreError};
use futures::StreamExt as _;
use loadline_domain::{
    AccountScope, Day,
    archive::{Part, Totals},
    usage::{LatencyKey, Usage, UsageKey},
};
use loadline_proto::event::DeliveryStatus;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

const HOUR: Duration = Duration::from_secs(3_600);

fn today() -> Day {
    noon().day()
}

fn yesterday() -> Day {
    Day::from_index(today().index() - 1)
}

fn tomorrow() -> Day {
    Day::from_index(today().index() + 1)
}

fn part(day: Day, number: u32) -> Part {
    Part { day, number, token: Uuid::now_v7().to_string() }
}

/// A day's hot rows, checked to be in order, and their totals.
async fn exported(store: &dyn Store, day: Day) -> (Vec<(UsageKey, Usage)>, Vec<(LatencyKey, i64)>, Totals) {
    let (mut hourly, mut latency, mut totals) = (Vec::new(), Vec::new(), Totals::default());
    let mut export = store.export_day(day).await.unwrap();
    while let Some(rows) = export.next().await {
        match rows.unwrap() {
            Exported::Hourly(rows) => {
                assert!(latency.is_empty());
                hourly.extend(rows);
            }
            Exported::Latency(rows) => latency.extend(rows),
        }
    }
    assert!(hourly.is_sorted_by(|(a, _), (b, _)| a < b) && latency.is_sorted_by(|(a, _), (b, _)| a < b));
    hourly.iter().for_each(|(_, usage)| totals.add_hourly(usage));
    latency.iter().for_each(|(_, count)| totals.add_latency(*count));
    (hourly, latency, totals)
}

async fn totals(subject: &Subject, day: Day) -> Totals {
    exported(&*subject.store, day).await.2
}

async fn roll_up(subject: &Subject, leadership: &Leadership) {
    while subject.roll_up(leadership, 100).await.unwrap().more {}
}

/// Three accounts, yesterday and today, billed and delivered.
async fn two_days(subject: &Subject) -> Owner {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    for (i, account) in ["acme", "Zeta", "beta"].into_iter().enumerate() {
        for hours in [0, 1, 15, 20] {
            let at = noon().minus(HOUR * hours);
            owner.count(&[billing(&format!("{i}-{hours}"), account, at)]).await;
            owner.count(&[receipt(&format!("m{i}-{hours}"), account, at, DeliveryStatus::Delivered)]).await;
        }
    }
    owner
}

pub async fn an_export_has_every_row_of_its_day_in_order(subject: &Subject) {
    two_days(subject).await;
    let leadership = subject.leader().await;
    for _ in 0..2 {
        let (hourly, latency, totals) = exported(&*subject.store, yesterday()).await;
        assert_eq!((hourly.len(), latency.len(), totals.hourly[0], totals.latency), (12, 6, 12, 6));
        assert!(hourly.iter().all(|(key, _)| key.hour.day() == yesterday()));
        // The same when the day is rolled up and no longer marked.
        roll_up(subject, &leadership).await;
    }
    let (hourly, latency, empty) = exported(&*subject.store, tomorrow()).await;
    assert_eq!((hourly.len(), latency.len(), empty), (0, 0, Totals::default()));
}

pub async fn an_export_of_many_rows_is_whole(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    for batch in 0..4 {
        let event = |i: u32| {
            let at = noon().minus(HOUR * (i % 12));
            billing(&format!("{batch}-{i}"), &format!("account-{:05}", batch * 3_000 + i), at)
        };
        owner.count(&(0..3_000).map(event).collect::<Vec<_>>()).await;
    }
    let (hourly, _, totals) = exported(&*subject.store, today()).await;
    assert_eq!((hourly.len(), totals.hourly[0]), (12_000, 12_000));
    // Nobody reads on, and nothing is stuck.
    for _ in 0..20 {
        drop(subject.export_day(today()).await.unwrap());
        let mut export = subject.export_day(today()).await.unwrap();
        assert!(export.next().await.unwrap().is_ok());
    }
    owner.count(&[billing("after", "acme", noon())]).await;
}

pub async fn an_archived_day_leaves_the_store_and_stays_in_the_sum(subject: &Subject) {
    two_days(subject).await;
    let leadership = subject.leader().await;
    roll_up(subject, &leadership).await;
    assert_eq!(subject.boundary().await.unwrap(), None);
    let (part, totals) = (part(yesterday(), 0), totals(subject, yesterday()).await);
    assert_eq!(subject.archive(&leadership, &part, &totals).await.unwrap(), Archived::Done);
    subject.assert_conserved().await;
    assert_eq!(subject.boundary().await.unwrap(), Some(today()));
    let listed = subject.parts(yesterday(), today()).await.unwrap();
    let ArchivedPart { part: listed_part, totals: listed_totals, archived_at } = &listed[0];
    assert_eq!((listed.len(), listed_part, listed_totals), (1, &part, &totals));
    assert!(subject.now().await.unwrap().since(*archived_at) < Duration::from_secs(600));
    assert_eq!(subject.parts(today(), tomorrow()).await.unwrap(), []);

    let (rows, as_of) = subject.usage(&AccountScope::All, &always("acme")).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(as_of.sources.parts, [part]);
    for table in ["usage_daily", "dirty_day"] {
        let left = if table == "usage_daily" {
            "SELECT CAST(min(day) AS TEXT) FROM usage_daily"
        } else {
            "SELECT account FROM dirty_day"
        };
        let expected = if table == "usage_daily" { vec![today().index().to_string()] } else { vec![] };
        assert_eq!(subject.peek(left).await, expected);
    }
    assert_eq!(exported(&*subject.store, yesterday()).await.2, Totals::default());
    assert_eq!(exported(&*subject.store, today()).await.2.hourly[0], 12);
}

/// As after a loss of daily rows that nobody repaired.
pub async fn hours_that_no_daily_row_and_no_mark_tells_of_are_archived_too(subject: &Subject) {
    two_days(subject).await;
    let leadership = subject.leader().await;
    roll_up(subject, &leadership).await;
    subject.tamper("DELETE FROM usage_daily WHERE account = 'beta'").await;
    let archived = async |number| {
        let (part, totals) = (part(yesterday(), number), totals(subject, yesterday()).await);
        (subject.archive(&leadership, &part, &totals).await.unwrap(), totals.hourly[0])
    };
    let done = match archived(0).await {
        (Archived::Moved { .. }, _) => archived(0).await,
        done => done,
    };
    assert_eq!(done, (Archived::Done, 12));
    subject.assert_conserved().await;
    assert_eq!(exported(&*subject.store, yesterday()).await.2, Totals::default());
    assert_eq!(subject.peek("SELECT CAST(count(*) AS TEXT) FROM usage_hourly").await, ["12"]);
}

pub async fn answers_name_the_parts_of_the_days_they_touch(subject: &Subject) {
    two_days(subject).await;
    let leadership = subject.leader().await;
    let part = part(yesterday(), 0);
    let totals = totals(subject, yesterday()).await;
    subject.archive(&leadership, &part, &totals).await.unwrap();
    let hours = |from: i32, to: i32| {
        let hour = |hours| loadline_domain::Hour::from_index(today().first_hour().index() + hours);
        loadline_domain::question::UsageQuery { from: hour(from), to: hour(to), ..always("acme") }
    };
    for (from, to, named) in [(-1, 0, true), (-1, 5, true), (0, 5, false), (-48, -24, false), (-24, -23, true), (-1, -1, false)] {
        let question = hours(from, to);
        let (_, as_of) = subject.usage(&AccountScope::All, &question).await.unwrap();
        assert_eq!(as_of.sources.parts == [part.clone()], named, "{from} to {to}");
        let (_, _, as_of) = subject.delivery(&AccountScope::All, &question).await.unwrap();
        assert_eq!(!as_of.sources.parts.is_empty(), named, "{from} to {to}");
        let (filter, grain) = (Default::default(), Default::default());
        let (_, as_of) = subject.account_totals(&AccountScope::All, question.from, question.to, &filter, grain).await.unwrap();
        assert_eq!(!as_of.sources.parts.is_empty(), named, "{from} to {to}");
    }
}

pub async fn a_late_event_between_export_and_archive_moves_nothing(subject: &Subject) {
    let mut owner = two_days(subject).await;
    let leadership = subject.leader().await;
    let before = totals(subject, yesterday()).await;
    // Into a row that was exported, into a new row, and of an account that had none.
    for (id, account, hours) in [("x", "acme", 15), ("y", "acme", 16), ("z", "new", 15)] {
        owner.count(&[billing(id, account, noon().minus(HOUR * hours))]).await;
        let outcome = subject.archive(&leadership, &part(yesterday(), 0), &before).await.unwrap();
        let now = totals(subject, yesterday()).await;
        assert_eq!(outcome, Archived::Moved { found: now });
        assert_ne!(now, before);
        subject.assert_conserved().await;
        assert_eq!(subject.parts(yesterday(), today()).await.unwrap(), []);
    }
    // Nor does a part that lies.
    let lie = Totals { latency: before.latency + 1, ..totals(subject, yesterday()).await };
    assert!(matches!(subject.archive(&leadership, &part(yesterday(), 0), &lie).await.unwrap(), Archived::Moved { .. }));
    let now = totals(subject, yesterday()).await;
    assert_eq!(subject.archive(&leadership, &part(yesterday(), 0), &now).await.unwrap(), Archived::Done);
    subject.assert_conserved().await;
}

pub async fn the_same_part_again_is_already_archived(subject: &Subject) {
    two_days(subject).await;
    let leadership = subject.leader().await;
    let (part, totals) = (part(yesterday(), 0), totals(subject, yesterday()).await);
    assert_eq!(subject.archive(&leadership, &part, &totals).await.unwrap(), Archived::Done);
    assert_eq!(subject.archive(&leadership, &part, &totals).await.unwrap(), Archived::Already);
    assert_eq!(subject.parts(yesterday(), today()).await.unwrap().len(), 1);
    subject.assert_conserved().await;
}

pub async fn what_comes_for_an_archived_day_is_its_next_part(subject: &Subject) {
    let mut owner = two_days(subject).await;
    let leadership = subject.leader().await;
    let first = part(yesterday(), 0);
    let sums = totals(subject, yesterday()).await;
    subject.archive(&leadership, &first, &sums).await.unwrap();
    assert_eq!(subject.archivable(today()).await.unwrap(), []);
    owner.count(&[billing("late", "acme", noon().minus(HOUR * 15))]).await;
    assert_eq!(subject.archivable(today()).await.unwrap(), [Archivable { day: yesterday(), number: 1 }]);
    // The day was archived, so the boundary stays behind it.
    assert_eq!(subject.boundary().await.unwrap(), Some(today()));
    roll_up(subject, &leadership).await;
    assert_eq!(subject.archivable(today()).await.unwrap(), [Archivable { day: yesterday(), number: 1 }]);
    let sums = totals(subject, yesterday()).await;
    assert_eq!((sums.hourly_rows, sums.hourly[0]), (1, 1));
    for wrong in [0, 2] {
        let refused = subject.archive(&leadership, &part(yesterday(), wrong), &sums).await;
        assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
    }
    let second = part(yesterday(), 1);
    assert_eq!(subject.archive(&leadership, &second, &sums).await.unwrap(), Archived::Done);
    let (_, as_of) = subject.usage(&AccountScope::All, &always("acme")).await.unwrap();
    assert_eq!(as_of.sources.parts, [first, second]);
    subject.assert_conserved().await;
}

pub async fn days_with_hot_rows_are_archivable_oldest_first(subject: &Subject) {
    let mut owner = two_days(subject).await;
    let leadership = subject.leader().await;
    let days = |days: &[Day]| days.iter().map(|day| Archivable { day: *day, number: 0 }).collect::<Vec<_>>();
    assert_eq!(subject.archivable(yesterday()).await.unwrap(), []);
    assert_eq!(subject.archivable(today()).await.unwrap(), days(&[yesterday()]));
    assert_eq!(subject.archivable(tomorrow()).await.unwrap(), days(&[yesterday(), today()]));
    roll_up(subject, &leadership).await;
    owner.count(&[billing("late", "acme", noon().minus(HOUR * 15))]).await;
    assert_eq!(subject.archivable(tomorrow()).await.unwrap(), days(&[yesterday(), today()]));
    // A later day first: the boundary waits for the earlier one.
    let sums = totals(subject, today()).await;
    subject.archive(&leadership, &part(today(), 0), &sums).await.unwrap();
    assert_eq!(subject.boundary().await.unwrap(), Some(yesterday()));
    let sums = totals(subject, yesterday()).await;
    subject.archive(&leadership, &part(yesterday(), 0), &sums).await.unwrap();
    assert_eq!(subject.boundary().await.unwrap(), Some(tomorrow()));
    assert_eq!(subject.archivable(tomorrow()).await.unwrap(), []);
}

pub async fn an_old_leader_archives_nothing(subject: &Subject) {
    two_days(subject).await;
    let old = subject.leader().await;
    let sums = totals(subject, yesterday()).await;
    subject.leader().await;
    let refused = subject.archive(&old, &part(yesterday(), 0), &sums).await;
    assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
    assert_eq!(totals(subject, yesterday()).await, sums);
    assert_eq!(subject.parts(yesterday(), today()).await.unwrap(), []);
}

pub async fn sums_past_64_bits_are_archived_whole(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon()), billing("b", "beta", noon()), billing("c", "gamma", noon())]).await;
    subject.tamper("UPDATE usage_hourly SET amount_micros = 9223372036854775807 WHERE account <> 'gamma'").await;
    subject.tamper("UPDATE usage_hourly SET amount_micros = -5 WHERE account = 'gamma'").await;
    let sums = totals(subject, today()).await;
    assert_eq!(sums.hourly[3], 2 * i128::from(i64::MAX) - 5);
    let leadership = subject.leader().await;
    assert_eq!(subject.archive(&leadership, &part(today(), 0), &sums).await.unwrap(), Archived::Done);
    assert_eq!(subject.parts(today(), today()).await.unwrap()[0].totals, sums);
}

/// Batches of today, by a few accounts.
fn busy(store: &Arc<dyn Store>) -> tokio::task::JoinHandle<u64> {
    let store = Arc::clone(store);
    tokio::spawn(async move {
        let mut owner = Owner::of(&store, "BILLING").await;
        for batch in 0..60_u32 {
            let event = |i: u32| {
                let (id, account) = (format!("{batch}-{i}"), format!("account-{}", (batch + i) % 7));
                billing(&id, &account, noon().minus(HOUR * ((batch + i) % 12)))
            };
            owner.count(&(0..10).map(event).collect::<Vec<_>>()).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        owner.progress.counted
    })
}

pub async fn a_batch_that_races_the_archive_is_hot_or_archived_and_never_both(subject: &Subject) {
    let writing = busy(&subject.store);
    let leadership = subject.leader().await;
    let (mut number, mut moved) = (0, 0);
    while !writing.is_finished() {
        let sums = totals(subject, today()).await;
        if sums == Totals::default() {
            continue;
        }
        match subject.archive(&leadership, &part(today(), number), &sums).await.unwrap() {
            Archived::Done => number += 1,
            Archived::Moved { .. } => moved += 1,
            Archived::Already => panic!("every token is new"),
        }
        roll_up(subject, &leadership).await;
        subject.assert_conserved().await;
        // Hours and days tell the same of what is hot.
        let (from, to) = (today().first_hour(), tomorrow().first_hour());
        let question = loadline_domain::question::UsageQuery { from, to, ..always("account-1") };
        let (by_hours, as_of) = subject.usage(&AccountScope::All, &question).await.unwrap();
        let question = loadline_domain::question::UsageQuery { grain: loadline_domain::question::Grain::Day, ..question };
        let (by_days, later) = subject.usage(&AccountScope::All, &question).await.unwrap();
        if as_of.progress == later.progress {
            let events = |rows: &[loadline_domain::question::UsageRow]| rows.iter().map(|row| row.usage.events).sum::<i64>();
            assert_eq!(events(&by_hours), events(&by_days));
        }
    }
    assert_eq!(writing.await.unwrap(), 600);
    assert!(number > 0, "nothing was archived, {moved} times");
    subject.assert_conserved().await;
    let archived: i128 = subject.parts(today(), today()).await.unwrap().iter().map(|part| part.totals.hourly[0]).sum();
    assert_eq!(archived + totals(subject, today()).await.hourly[0], 600);
}
