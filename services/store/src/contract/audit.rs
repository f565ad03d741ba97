//! Corrections of usage, and the record of them.

use super::{Owner, Subject, billing, noon};
use crate::{Repair, Repaired, StoreError};
use loadline_domain::{
    AccountId,
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
