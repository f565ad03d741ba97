//! Corrections of usage, and the record of them.

use super::{Owner, Subject, billing, noon};
use crate::{Audit, Repair, Repaired, StoreError};
use loadline_domain::{
    AccountId, Hour,
    event::{Channel, Code},
    usage::{Usage, UsageKey},
};
use std::{sync::Arc, time::Duration};

fn key(account: &str, country: &str) -> UsageKey {
    UsageKey {
        account: AccountId::new(account).unwrap(),
        hour: noon().hour(),
        channel: Channel::SMS,
        country: Code::parse(country).unwrap(),
        currency: Code::parse("EUR").unwrap(),
    }
}

fn sums(events: i64) -> Usage {
    Usage { events, messages: events, segments: 2 * events, amount_micros: 75_000 * events, ..Usage::default() }
}

fn repair(found: Vec<(UsageKey, Usage)>, recounted: Vec<(UsageKey, Usage)>) -> Repair {
    Repair {
        account: AccountId::new("acme").unwrap(),
        hour: noon().hour(),
        found,
        recounted,
        reason: "recount of the log".to_owned(),
        actor: "verify".to_owned(),
    }
}

/// Three events of acme, of which a stranger has made five, to a country it never wrote to as well.
async fn damaged(subject: &Subject) -> Owner {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let events: Vec<_> = (0..3).map(|i| billing(&format!("{i}"), "acme", noon())).collect();
    owner.count(&events).await;
    owner.count(&[billing("other", "beta", noon())]).await;
    subject
        .tamper(
            "INSERT INTO usage_hourly SELECT account, hour, channel, 'FR', currency, 1, 1, 2, 75000, 0, 0, 0, 0, 0, 0
             FROM usage_hourly WHERE account = 'acme'",
        )
        .await;
    subject
        .tamper("UPDATE usage_hourly SET events = 4, messages = 4, segments = 8, amount_micros = 300000 WHERE account = 'acme' AND country = 'DE'")
        .await;
    owner
}

fn wrong() -> Vec<(UsageKey, Usage)> {
    vec![(key("acme", "DE"), sums(4)), (key("acme", "FR"), sums(1))]
}

pub async fn a_repair_replaces_rows_marks_the_day_and_is_written_down(subject: &Subject) {
    damaged(subject).await;
    let leadership = subject.leader().await;
    while subject.roll_up(&leadership, 100).await.unwrap().more {}
    let right = vec![(key("acme", "AT"), sums(1)), (key("acme", "DE"), sums(2))];
    let done = subject.repair(&leadership, &repair(wrong(), right.clone())).await.unwrap();
    assert_eq!(done, Repaired::Done { before: wrong(), after: right });
    subject.assert_conserved().await;
    assert_eq!(subject.total("acme").await, sums(3));
    assert_eq!(subject.total("beta").await, sums(1));
    assert_eq!(subject.dirty().await.unwrap().account_days, 1);
    let entries = subject.audit(0, 10).await.unwrap();
    let entry = &entries[0];
    assert_eq!((entries.len(), entry.actor.as_str(), entry.action.as_str()), (1, "verify", "repair_usage"));
    assert_eq!((entry.target.as_str(), entry.reason.as_str()), ("acme 2026-03-10T12:00:00Z", "recount of the log"));
    assert!(entry.before.contains("\"FR\"") && !entry.before.contains("\"AT\"") && entry.after.contains("\"AT\""), "{entry:?}");
    assert!(subject.now().await.unwrap().since(entry.at) < Duration::from_secs(600));
    assert_eq!(subject.audit(entry.id, 10).await.unwrap(), []);
}

pub async fn a_repair_of_what_has_changed_since_does_nothing(subject: &Subject) {
    let mut owner = damaged(subject).await;
    let leadership = subject.leader().await;
    let ask = repair(wrong(), vec![(key("acme", "DE"), sums(3))]);
    owner.count(&[billing("late", "acme", noon())]).await;
    let now = vec![(key("acme", "DE"), sums(5)), (key("acme", "FR"), sums(1))];
    assert_eq!(subject.repair(&leadership, &ask).await.unwrap(), Repaired::Moved { found: now.clone() });
    assert_eq!(subject.audit(0, 10).await.unwrap(), []);
    let ask = repair(now, vec![(key("acme", "DE"), sums(4))]);
    assert!(matches!(subject.repair(&leadership, &ask).await.unwrap(), Repaired::Done { .. }));
    // Said again, as after an unknown commit, it has moved: nothing is corrected twice.
    assert!(matches!(subject.repair(&leadership, &ask).await.unwrap(), Repaired::Moved { .. }));
    assert_eq!((subject.total("acme").await, subject.audit(0, 10).await.unwrap().len()), (sums(4), 1));
    subject.assert_conserved().await;
}

pub async fn what_a_batch_adds_during_a_repair_is_kept(subject: &Subject) {
    let mut owner = damaged(subject).await;
    let leadership = subject.leader().await;
    let store = Arc::clone(&subject.store);
    let writing = tokio::spawn(async move {
        for i in 0..30 {
            owner.count(&[billing(&format!("busy-{i}"), "acme", noon())]).await;
        }
    });
    let mut ask = repair(wrong(), vec![(key("acme", "DE"), sums(3))]);
    // Recounted as often as it has moved, by the same difference.
    while let Repaired::Moved { found } = store.repair(&leadership, &ask).await.unwrap() {
        let come = found[0].1.events - 4;
        ask = repair(found, vec![(key("acme", "DE"), sums(3 + come))]);
    }
    writing.await.unwrap();
    subject.assert_conserved().await;
    assert_eq!(subject.total("acme").await, sums(33));
}

pub async fn an_old_leader_repairs_nothing(subject: &Subject) {
    damaged(subject).await;
    let old = subject.leader().await;
    subject.leader().await;
    let refused = subject.repair(&old, &repair(wrong(), vec![])).await;
    assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
    assert_eq!((subject.total("acme").await, subject.audit(0, 10).await.unwrap()), (sums(5), vec![]));
}

pub async fn rows_of_another_hour_or_twice_are_refused(subject: &Subject) {
    damaged(subject).await;
    let leadership = subject.leader().await;
    let later = UsageKey { hour: noon().hour().next(), ..key("acme", "DE") };
    let twice = vec![(key("acme", "DE"), sums(1)), (key("acme", "DE"), sums(1))];
    for rows in [vec![(key("beta", "DE"), sums(1))], vec![(later, sums(1))], twice] {
        for ask in [repair(wrong(), rows.clone()), repair(rows, vec![])] {
            let refused = subject.repair(&leadership, &ask).await;
            assert!(matches!(refused, Err(StoreError::Broken(_))), "{refused:?}");
        }
    }
    assert_eq!(subject.total("acme").await, sums(5));
}

/// Keys of what is held of an account, or of all, from noon on for some hours.
async fn held(subject: &Subject, account: Option<&str>, hours: i32) -> Vec<(String, i32)> {
    let (from, account) = (noon().hour(), account.map(|account| AccountId::new(account).unwrap()));
    let to = Hour::from_index(from.index() + hours);
    let held = Audit::held(&*subject.store, account.as_ref(), from, to, 100).await.unwrap().unwrap();
    let named =
        |(key, _): &(UsageKey, Usage)| (format!("{} {}", key.account, key.country.as_str()), key.hour.index() - from.index());
    held.rows.iter().map(named).collect()
}

pub async fn what_is_held_is_every_row_of_the_hours_marked_or_not(subject: &Subject) {
    damaged(subject).await;
    let leadership = subject.leader().await;
    while subject.roll_up(&leadership, 100).await.unwrap().more {}
    // Of an account that no batch ever wrote, in the hour after.
    subject
        .tamper(
            "INSERT INTO usage_hourly SELECT 'zeta', hour + 1, channel, country, currency, 1, 1, 2, 75000, 0, 0, 0, 0, 0, 0
             FROM usage_hourly WHERE account = 'beta'",
        )
        .await;
    let named = |rows: &[(&str, i32)]| rows.iter().map(|(row, hour)| ((*row).to_owned(), *hour)).collect::<Vec<_>>();
    assert_eq!(held(subject, None, 1).await, named(&[("acme DE", 0), ("acme FR", 0), ("beta DE", 0)]));
    assert_eq!(held(subject, None, 2).await, named(&[("acme DE", 0), ("acme FR", 0), ("beta DE", 0), ("zeta DE", 1)]));
    assert_eq!(held(subject, Some("acme"), 2).await, named(&[("acme DE", 0), ("acme FR", 0)]));
    assert_eq!(held(subject, Some("zeta"), 1).await, []);
    assert_eq!(held(subject, None, 0).await, []);
}

pub async fn what_is_held_comes_with_the_positions_it_rests_on(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let store = Arc::clone(&subject.store);
    let writing = tokio::spawn(async move {
        for i in 0..40 {
            owner.count(&[billing(&format!("{i}"), "acme", noon()), billing(&format!("{i}"), "beta", noon())]).await;
        }
    });
    let mut positions = Vec::new();
    while positions.last() != Some(&80) {
        let held = Audit::held(&*store, None, noon().hour(), noon().hour().next(), 100).await.unwrap().unwrap();
        let events: i64 = held.rows.iter().map(|(_, usage)| usage.events).sum();
        let applied = held.as_of.progress[0].applied;
        assert_eq!(applied as i64, events, "rows and position are of one snapshot");
        positions.push(applied);
    }
    writing.await.unwrap();
}

pub async fn more_rows_than_asked_for_are_none(subject: &Subject) {
    damaged(subject).await;
    let (from, to, acme) = (noon().hour(), noon().hour().next(), AccountId::new("acme").unwrap());
    for (account, rows) in [(None, 3), (Some(&acme), 2)] {
        assert!(Audit::held(&*subject.store, account, from, to, rows).await.unwrap().is_some());
        assert_eq!(Audit::held(&*subject.store, account, from, to, rows - 1).await.unwrap(), None);
    }
}
