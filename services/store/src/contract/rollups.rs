//! Days recomputed from their hours, and questions by days.

use super::{Owner, Subject, always, billing, noon, receipt};
use crate::{RolledUp, Store, StoreError};
use loadline_domain::{
    AccountScope, Day, Hour, Timestamp,
    question::{Grain, GroupBy, RankBy, UsageFilter, UsageQuery, UsageRow},
    usage::Usage,
};
use loadline_proto::event::{BillingEvent, DeliveryStatus};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const ALL: AccountScope = AccountScope::All;
const HOUR: Duration = Duration::from_secs(3_600);

/// Account-days whose daily rows are not the sums of their hours.
const WRONG: &str = "WITH daily AS (SELECT account, day, channel, country, currency, events, messages, segments, amount_micros,
                      delivered, undelivered, expired, rejected, failed, not_final FROM usage_daily)
    SELECT CAST(count(*) AS TEXT) FROM
    (SELECT * FROM (SELECT * FROM daily EXCEPT
         SELECT account, hour / 24, channel, country, currency, sum(events), sum(messages), sum(segments), sum(amount_micros),
                sum(delivered), sum(undelivered), sum(expired), sum(rejected), sum(failed), sum(not_final)
         FROM usage_hourly GROUP BY 1, 2, 3, 4, 5) AS too_much
     UNION ALL
     SELECT * FROM (SELECT account, hour / 24, channel, country, currency, sum(events), sum(messages), sum(segments),
                sum(amount_micros), sum(delivered), sum(undelivered), sum(expired), sum(rejected), sum(failed), sum(not_final)
         FROM usage_hourly GROUP BY 1, 2, 3, 4, 5 EXCEPT SELECT * FROM daily) AS missing) AS wrong";

/// Whole days around noon.
fn by_days(account: &str) -> UsageQuery {
    let day = noon().day().index();
    let (from, to) = (Hour::from_index((day - 5) * 24), Hour::from_index((day + 5) * 24));
    UsageQuery { from, to, grain: Grain::Day, ..always(account) }
}

async fn roll_all(subject: &Subject) -> RolledUp {
    let (leadership, mut sum) = (subject.leader().await, RolledUp::default());
    loop {
        let done = subject.roll_up(&leadership, 3).await.unwrap();
        assert!(done.account_days <= 3);
        sum.account_days += done.account_days;
        sum.rows += done.rows;
        if !done.more {
            return sum;
        }
    }
}

/// Two accounts over two days and several hours, in two channels, billed and delivered.
async fn two_days(subject: &Subject) -> Owner {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    for (id, hours) in [1_u32, 2, 11, 13, 14, 20].into_iter().enumerate() {
        let at = noon().minus(HOUR * hours);
        let dear =
            BillingEvent { amount_micros: i64::from(hours), country: "FR".into(), ..billing(&format!("f{id}"), "acme", at) };
        let events = [billing(&format!("a{id}"), "acme", at), dear, billing(&format!("b{id}"), "beta", at)];
        owner.count(&events).await;
        owner.count(&[receipt(&format!("m{id}"), "acme", at, DeliveryStatus::Delivered)]).await;
    }
    owner
}

async fn rows(subject: &Subject, query: &UsageQuery) -> Vec<UsageRow> {
    subject.usage(&ALL, query).await.unwrap().0
}

/// Rows by hours, added up by days.
async fn added_up(subject: &Subject, query: &UsageQuery) -> Vec<UsageRow> {
    let hours = rows(subject, &UsageQuery { grain: Grain::Hour, ..query.clone() }).await;
    let mut days: BTreeMap<_, Usage> = BTreeMap::new();
    for row in hours {
        let day = row.hour.map(|hour| hour.day().first_hour());
        *days.entry((day, row.channel, row.country, row.currency)).or_default() += row.usage;
    }
    let row = |((hour, channel, country, currency), usage)| UsageRow { hour, channel, country, currency, usage };
    days.into_iter().map(row).collect()
}

pub async fn days_are_what_their_hours_add_up_to(subject: &Subject) {
    two_days(subject).await;
    let dirty = subject.dirty().await.unwrap();
    assert_eq!(dirty.account_days, 4);
    let waits = subject.now().await.unwrap().since(dirty.oldest_since.unwrap());
    assert!(waits < Duration::from_secs(600), "{waits:?}");
    let done = roll_all(subject).await;
    assert_eq!((done.account_days, done.rows), (4, 8));
    assert_eq!(subject.dirty().await.unwrap().account_days, 0);
    assert_eq!(subject.dirty().await.unwrap().oldest_since, None);
    assert_eq!(subject.peek(WRONG).await, ["0"]);
}

pub async fn days_that_are_not_the_sums_of_their_hours_are_found_marked_and_recomputed(subject: &Subject) {
    two_days(subject).await;
    let (day, everybody) = (noon().day(), None);
    assert_eq!(subject.wrong_days(everybody, day, 9).await.unwrap(), [], "they are dirty");
    roll_all(subject).await;
    assert_eq!(subject.wrong_days(everybody, day, 9).await.unwrap(), []);
    // Changed, gone, and made up.
    subject.tamper("UPDATE usage_daily SET messages = messages + 3 WHERE account = 'acme' AND country = 'FR'").await;
    subject
        .tamper(
            "INSERT INTO usage_daily SELECT 'ghost', day, channel, country, currency, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, version
             FROM usage_daily WHERE account = 'beta' AND day = (SELECT max(day) FROM usage_daily)",
        )
        .await;
    subject.tamper("DELETE FROM usage_daily WHERE account = 'beta'").await;
    let wrong = subject.wrong_days(everybody, day, 9).await.unwrap();
    let told: Vec<_> = wrong.iter().map(|wrong| (wrong.account.as_str(), wrong.day, wrong.rows)).collect();
    assert_eq!(told, [("acme", day, 1), ("beta", day, 1), ("ghost", day, 1)]);
    assert_eq!(subject.wrong_days(everybody, day, 2).await.unwrap(), wrong[..2]);
    assert_eq!(subject.wrong_days(Some(&wrong[1].account), day, 9).await.unwrap(), wrong[1..2]);
    let leadership = subject.leader().await;
    let before = Day::from_index(day.index() - 1);
    for wrong in [wrong, subject.wrong_days(everybody, before, 9).await.unwrap()].concat() {
        subject.mark(&leadership, &wrong, "not what the hours say", "verify").await.unwrap();
    }
    assert_eq!(subject.wrong_days(everybody, day, 9).await.unwrap(), []);
    assert_eq!(rows(subject, &by_days("acme")).await, added_up(subject, &by_days("acme")).await, "answered by hours at once");
    assert_eq!(roll_all(subject).await.account_days, 5, "two accounts in two days, and the one made up");
    assert_eq!(subject.peek(WRONG).await, ["0"]);
    let entries = subject.audit(0, 10).await.unwrap();
    let entry = &entries[0];
    assert_eq!((entries.len(), entry.action.as_str(), entry.target.as_str()), (5, "recompute_day", "acme 2026-03-10"));
    assert_eq!((entry.actor.as_str(), entry.reason.as_str()), ("verify", "not what the hours say"));
}

pub async fn an_old_leader_marks_no_day(subject: &Subject) {
    two_days(subject).await;
    roll_all(subject).await;
    subject.tamper("DELETE FROM usage_daily WHERE account = 'beta'").await;
    let wrong = subject.wrong_days(None, noon().day(), 9).await.unwrap().remove(0);
    let old = subject.leader().await;
    subject.leader().await;
    let refused = subject.mark(&old, &wrong, "late", "verify").await;
    assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
    assert_eq!((subject.dirty().await.unwrap().account_days, subject.audit(0, 10).await.unwrap().len()), (0, 0));
}

pub async fn a_question_by_days_has_the_same_answer_before_and_after_a_roll_up(subject: &Subject) {
    two_days(subject).await;
    let all = GroupBy { channel: true, country: true, currency: true };
    let france = UsageFilter { countries: vec![loadline_domain::event::Code::parse("FR").unwrap()], ..UsageFilter::default() };
    let questions = [
        by_days("acme"),
        UsageQuery { group_by: all, ..by_days("acme") },
        UsageQuery { filter: france, group_by: all, ..by_days("acme") },
        by_days("beta"),
        by_days("nobody"),
    ];
    let mut before = Vec::new();
    for question in &questions {
        let (rows, as_of) = subject.usage(&ALL, question).await.unwrap();
        assert_eq!(rows, added_up(subject, question).await);
        let days = if question.account.as_str() == "nobody" { 0 } else { 2 };
        assert_eq!((as_of.sources.daily_days, as_of.sources.dirty_days.len()), (0, days));
        before.push(rows);
    }
    assert_eq!(before[0].len(), 2);
    roll_all(subject).await;
    for (question, before) in questions.iter().zip(before) {
        let (rows, as_of) = subject.usage(&ALL, question).await.unwrap();
        assert_eq!(rows, before);
        let days = if question.account.as_str() == "nobody" { 0 } else { 2 };
        assert_eq!((as_of.sources.daily_days, as_of.sources.dirty_days.len()), (days, 0));
    }
}

pub async fn what_changes_after_a_roll_up_is_told_by_its_hours(subject: &Subject) {
    let mut owner = two_days(subject).await;
    roll_all(subject).await;
    owner.count(&[billing("late", "acme", noon().minus(HOUR * 20))]).await;
    assert_eq!(subject.dirty().await.unwrap().account_days, 1);
    let (rows, as_of) = subject.usage(&ALL, &by_days("acme")).await.unwrap();
    let late = noon().minus(HOUR * 20).day();
    assert_eq!((as_of.sources.daily_days, as_of.sources.dirty_days), (1, vec![late]));
    assert_eq!(rows.iter().map(|row| row.usage.events).sum::<i64>(), 19);
    assert_eq!(rows, added_up(subject, &by_days("acme")).await);
    assert_eq!(roll_all(subject).await.account_days, 1);
    assert_eq!(subject.peek(WRONG).await, ["0"]);
}

pub async fn rolling_up_twice_changes_nothing(subject: &Subject) {
    two_days(subject).await;
    roll_all(subject).await;
    let daily = "SELECT CAST(sum(amount_micros) AS TEXT) FROM usage_daily";
    let before = subject.peek(daily).await;
    assert_eq!(roll_all(subject).await, RolledUp::default());
    subject.tamper("INSERT INTO dirty_day (account, day, version) SELECT DISTINCT account, day, 1 FROM usage_daily").await;
    assert_eq!(roll_all(subject).await.account_days, 4);
    assert_eq!(subject.peek(daily).await, before);
    assert_eq!(subject.peek(WRONG).await, ["0"]);
}

pub async fn an_account_day_without_hours_is_left_without_days(subject: &Subject) {
    two_days(subject).await;
    roll_all(subject).await;
    subject.tamper("DELETE FROM usage_hourly WHERE account = 'beta'").await;
    subject
        .tamper("INSERT INTO dirty_day (account, day, version) SELECT account, day, 1 FROM usage_daily WHERE account = 'beta'")
        .await;
    assert_eq!(rows(subject, &by_days("beta")).await, []);
    assert_eq!(roll_all(subject).await, RolledUp { account_days: 2, rows: 0, more: false });
    assert_eq!(rows(subject, &by_days("beta")).await, []);
    assert_eq!(subject.peek("SELECT DISTINCT account FROM usage_daily").await, ["acme"]);
}

pub async fn those_that_wait_longest_are_rolled_up_first(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    for account in ["zeta", "beta", "acme"] {
        owner.count(&[billing(account, account, noon())]).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    // Marked again, it does not lose its place.
    owner.count(&[billing("again", "zeta", noon())]).await;
    let leadership = subject.leader().await;
    let done = subject.roll_up(&leadership, 1).await.unwrap();
    assert_eq!(done, RolledUp { account_days: 1, rows: 1, more: true });
    assert_eq!(subject.peek("SELECT account FROM usage_daily").await, ["zeta"]);
    assert_eq!(subject.roll_up(&leadership, 0).await.unwrap(), RolledUp::default());
}

pub async fn an_old_leader_rolls_nothing_up(subject: &Subject) {
    two_days(subject).await;
    let old = subject.leader().await;
    subject.leader().await;
    let refused = subject.roll_up(&old, 100).await;
    assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
    assert_eq!(subject.dirty().await.unwrap().account_days, 4);
    assert_eq!(subject.peek("SELECT account FROM usage_daily").await, [""; 0]);
}

pub async fn an_account_day_whose_sums_do_not_fit_holds_up_no_other(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    for (id, hours) in [("a", 0), ("b", 1)] {
        owner.count(&[billing(id, "acme", noon().minus(HOUR * hours))]).await;
    }
    for account in ["beta", "gamma", "zeta"] {
        owner.count(&[billing(account, account, noon())]).await;
    }
    subject.tamper("UPDATE usage_hourly SET amount_micros = 9223372036854775807 WHERE account = 'acme'").await;
    let leadership = subject.leader().await;
    for _ in 0..4 {
        subject.roll_up(&leadership, 100).await.unwrap();
    }
    let left = subject.peek("SELECT account FROM dirty_day").await;
    let rolled = subject.peek("SELECT account FROM usage_daily ORDER BY account").await;
    assert_eq!((left, rolled), (vec!["acme".to_owned()], vec!["beta".to_owned(), "gamma".to_owned(), "zeta".to_owned()]));
    // It is mended, and rolled up like any other.
    subject.tamper("UPDATE usage_hourly SET amount_micros = 1").await;
    assert_eq!(subject.roll_up(&leadership, 100).await.unwrap().account_days, 1);
}

/// Batches of one account and many, over two days, until told to end; returns the events counted.
fn busy(store: &Arc<dyn Store>, stream: &'static str, batches: u32) -> tokio::task::JoinHandle<u64> {
    let store = Arc::clone(store);
    tokio::spawn(async move {
        let mut owner = Owner::of(&store, stream).await;
        for batch in 0..batches {
            let at = |i: u32| -> Timestamp { noon().minus(HOUR * ((batch + i) % 24)) };
            let event =
                |i: u32| billing(&format!("{stream}-{batch}-{i}"), if i.is_multiple_of(2) { "acme" } else { "beta" }, at(i));
            owner.count(&(0..20).map(event).collect::<Vec<_>>()).await;
        }
        owner.progress.counted
    })
}

pub async fn roll_ups_that_race_batches_and_each_other_leave_the_right_days(subject: &Subject) {
    let writing = [busy(&subject.store, "BILLING-0", 40), busy(&subject.store, "BILLING-1", 40)];
    let leadership = subject.leader().await;
    let rolling: Vec<_> = (0..2)
        .map(|_| {
            let (store, leadership) = (Arc::clone(&subject.store), leadership.clone());
            tokio::spawn(async move {
                for _ in 0..60 {
                    store.roll_up(&leadership, 3).await.unwrap();
                }
            })
        })
        .collect();
    let mut looks = 0;
    while looks == 0 || !writing.iter().all(|task| task.is_finished()) {
        // Both accounts, from one snapshot each: no more than was counted, and no less than had been before.
        let mut events = 0;
        let least: u64 = subject.all_progress().await.unwrap().iter().map(|progress| progress.counted).sum();
        let mut most = 0;
        for account in ["acme", "beta"] {
            let (rows, as_of) = subject.usage(&ALL, &by_days(account)).await.unwrap();
            events += rows.iter().map(|row| row.usage.events as u64).sum::<u64>();
            most = as_of.progress.iter().map(|progress| progress.counted).sum::<u64>();
        }
        assert!((least..=most).contains(&events), "{events} of {least} to {most}");
        looks += 1;
    }
    for task in writing {
        assert_eq!(task.await.unwrap(), 800);
    }
    for task in rolling {
        task.await.unwrap();
    }
    roll_all(subject).await;
    assert_eq!(subject.peek(WRONG).await, ["0"]);
    assert_eq!(subject.dirty().await.unwrap().account_days, 0);
    subject.assert_conserved().await;
}

pub async fn a_question_by_days_that_cuts_a_day_is_refused(subject: &Subject) {
    let whole = by_days("acme");
    for (from, to) in [(whole.from.next(), whole.to), (whole.from, whole.to.next())] {
        let cut = UsageQuery { from, to, ..whole.clone() };
        assert!(matches!(subject.usage(&ALL, &cut).await, Err(StoreError::Broken(_))));
        assert!(matches!(subject.delivery(&ALL, &cut).await, Err(StoreError::Broken(_))));
        let totals = subject.account_totals(&ALL, from, to, &UsageFilter::default(), Grain::Day).await;
        assert!(matches!(totals, Err(StoreError::Broken(_))));
    }
}

pub async fn delivery_by_days_is_delivery_by_hours(subject: &Subject) {
    two_days(subject).await;
    let question = UsageQuery { group_by: GroupBy { channel: true, country: true, currency: false }, ..by_days("acme") };
    let (rows, latency, _) = subject.delivery(&ALL, &UsageQuery { grain: Grain::Hour, ..question.clone() }).await.unwrap();
    assert_eq!(latency[0].counts.iter().map(|(_, count)| count).sum::<u64>(), 6);
    for _ in 0..2 {
        let (by_days, latency_by_days, _) = subject.delivery(&ALL, &question).await.unwrap();
        assert_eq!((&by_days, &latency_by_days), (&rows, &latency));
        roll_all(subject).await;
    }
}

pub async fn accounts_are_ranked_and_added_up_alike_by_hours_and_by_days(subject: &Subject) {
    let mut owner = two_days(subject).await;
    let UsageQuery { from, to, .. } = by_days("acme");
    let nothing = UsageFilter::default();
    for round in 0..3 {
        let (by_hours, as_of) = subject.account_totals(&ALL, from, to, &nothing, Grain::Hour).await.unwrap();
        assert_eq!((as_of.sources.daily_days, as_of.sources.dirty_days.len()), (0, 0));
        let (by_days, as_of) = subject.account_totals(&ALL, from, to, &nothing, Grain::Day).await.unwrap();
        assert_eq!(by_hours, by_days, "round {round}");
        assert_eq!((as_of.sources.daily_days, as_of.sources.dirty_days.len()), [(0, 2), (2, 0), (2, 1)][round]);
        let (top, _) = subject.top_accounts(&ALL, from, to, &nothing, RankBy::Messages, 10).await.unwrap();
        let cut = Hour::from_index(from.index() + 1);
        let (top_by_hours, _) = subject.top_accounts(&ALL, cut, to, &nothing, RankBy::Messages, 10).await.unwrap();
        assert_eq!(top, top_by_hours);
        for (account, sums) in top {
            for (currency, usage) in sums {
                assert_eq!(by_days[&(account.clone(), currency)], usage);
            }
        }
        if round == 0 {
            roll_all(subject).await;
        } else {
            owner.count(&[billing("late", "beta", noon().minus(HOUR * 20))]).await;
        }
    }
    let scope = AccountScope::of([loadline_domain::AccountId::new("acme").unwrap()]).unwrap();
    let refused = subject.account_totals(&scope, from, to, &nothing, Grain::Day).await;
    assert!(matches!(refused, Err(StoreError::NeedsAllAccounts)), "{refused:?}");
}
