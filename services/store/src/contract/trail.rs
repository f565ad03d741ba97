//! The audit as a chain: whoever changes an entry behind the store's back is found.

use super::{Owner, Subject, billing, noon};
use crate::{AuditEntry, Note, Repair, first_break};
use loadline_domain::AccountId;
use std::{collections::HashSet, sync::Arc};

fn note(n: usize) -> Note {
    let text = |what: &str| format!("{what} {n} – with ünïcode");
    Note {
        actor: text("alice"),
        action: "remedy.execute".to_owned(),
        target: text("AN-03 K BILLING"),
        reason: text("why"),
        before: text("stopped"),
        after: text("running"),
        outcome: "VERIFIED".to_owned(),
    }
}

async fn five(subject: &Subject) -> Vec<AuditEntry> {
    let mut entries = Vec::new();
    for n in 0..5 {
        entries.push(subject.write_down(&note(n)).await.unwrap());
    }
    entries
}

pub async fn what_is_written_down_comes_back_and_is_a_chain(subject: &Subject) {
    assert_eq!(first_break(&*subject.store).await.unwrap(), None, "nothing is whole");
    let written = five(subject).await;
    assert_eq!(subject.audit(0, 10).await.unwrap(), written);
    assert_eq!(subject.audit(written[2].id, 10).await.unwrap(), written[3..]);
    assert_eq!((written[0].actor.as_str(), written[4].outcome.as_str()), ("alice 0 – with ünïcode", "VERIFIED"));
    assert!(written.windows(2).all(|pair| pair[0].hash.is_some() && pair[0].hash == pair[1].previous_hash));
    assert_eq!(first_break(&*subject.store).await.unwrap(), None);
}

pub async fn text_that_a_backend_cannot_hold_breaks_nothing(subject: &Subject) {
    subject.write_down(&Note { reason: "a\0b".to_owned(), ..note(0) }).await.unwrap();
    subject.write_down(&note(1)).await.unwrap();
    assert_eq!(first_break(&*subject.store).await.unwrap(), None);
}

pub async fn a_tampered_entry_is_found_at_its_place(subject: &Subject) {
    let written = five(subject).await;
    for change in [
        "UPDATE audit_entry SET actor = 'nobody' WHERE id = (SELECT min(id) + 2 FROM audit_entry)",
        "UPDATE audit_entry SET at = at + 1 WHERE id = (SELECT min(id) + 1 FROM audit_entry)",
        "UPDATE audit_entry SET outcome = 'FAILED' WHERE id = (SELECT min(id) FROM audit_entry)",
    ] {
        subject.tamper(change).await;
    }
    assert_eq!(first_break(&*subject.store).await.unwrap(), Some(written[0].id));
    subject.tamper("UPDATE audit_entry SET outcome = 'VERIFIED' WHERE id = (SELECT min(id) FROM audit_entry)").await;
    assert_eq!(first_break(&*subject.store).await.unwrap(), Some(written[1].id));
    subject.tamper("UPDATE audit_entry SET at = at - 1 WHERE id = (SELECT min(id) + 1 FROM audit_entry)").await;
    assert_eq!(first_break(&*subject.store).await.unwrap(), Some(written[2].id));
}

pub async fn a_deleted_or_unhashed_entry_is_found(subject: &Subject) {
    let written = five(subject).await;
    subject.tamper("DELETE FROM audit_entry WHERE id = (SELECT min(id) + 1 FROM audit_entry)").await;
    assert_eq!(first_break(&*subject.store).await.unwrap(), Some(written[2].id), "the one after the gap does not fit");
    subject.tamper("UPDATE audit_entry SET hash = NULL WHERE id = (SELECT max(id) FROM audit_entry)").await;
    assert!(subject.write_down(&note(9)).await.is_err(), "nothing follows what has no hash");
    subject.migrate().await.unwrap();
    assert!(subject.write_down(&note(9)).await.is_err(), "and starting again does not paper over it");
}

pub async fn repairs_are_links_of_the_chain(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    let leadership = subject.leader().await;
    subject.write_down(&note(0)).await.unwrap();
    let ask = Repair {
        account: AccountId::new("beta").unwrap(),
        hour: noon().hour(),
        found: vec![],
        recounted: vec![],
        reason: "recount".to_owned(),
        actor: "verify".to_owned(),
    };
    subject.repair(&leadership, &ask).await.unwrap();
    subject.write_down(&note(2)).await.unwrap();
    let entries = subject.audit(0, 10).await.unwrap();
    assert_eq!((entries.len(), entries[1].action.as_str(), entries[1].outcome.as_str()), (3, "repair_usage", "DONE"));
    assert_eq!(first_break(&*subject.store).await.unwrap(), None);
}

pub async fn many_who_write_at_once_make_one_chain(subject: &Subject) {
    let other = crate::open(&subject.url, crate::Options::default()).await.unwrap();
    let writers = (0..8).map(|n| {
        let store = if n % 2 == 0 { Arc::clone(&subject.store) } else { Arc::clone(&other) };
        tokio::spawn(async move {
            for _ in 0..5 {
                store.write_down(&note(n)).await.unwrap();
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    let entries = subject.audit(0, 100).await.unwrap();
    assert_eq!((entries.len(), entries.iter().map(|entry| entry.hash).collect::<HashSet<_>>().len()), (40, 40));
    assert_eq!(first_break(&*subject.store).await.unwrap(), None);
}

pub async fn entries_from_before_the_chain_are_chained_once(subject: &Subject) {
    let written = five(subject).await;
    subject.tamper("UPDATE audit_entry SET hash = NULL, previous_hash = NULL").await;
    subject.migrate().await.unwrap();
    assert_eq!(subject.audit(0, 10).await.unwrap(), written);
    subject.write_down(&note(5)).await.unwrap();
    assert_eq!(first_break(&*subject.store).await.unwrap(), None);
}
