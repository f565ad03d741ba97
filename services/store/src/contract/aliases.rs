//! The journal of aliases: entries are added one after another, and stay.

use super::Subject;
use crate::{AliasChange, AliasEntry, LONGEST_EVIDENCE, StoreError};
use std::sync::Arc;

fn change(alias: &str, before: Option<u64>, after: Option<u64>) -> AliasChange {
    let text = |what: &str| format!("{what} – with ünïcode");
    AliasChange {
        model: "match".to_owned(),
        alias: alias.to_owned(),
        action: "promotion".to_owned(),
        before,
        after,
        actor: text("alice"),
        evidence: r#"{"verdict": "PROMOTE", "rps": [0.1991, 0.1982]}"#.to_owned(),
        reason: text("better"),
    }
}

/// Three entries about the champion.
async fn three(subject: &Subject) -> Vec<AliasEntry> {
    let mut entries = Vec::new();
    for (before, after) in [(None, Some(1)), (Some(1), Some(2)), (Some(2), None)] {
        let last = entries.last().map(|entry: &AliasEntry| entry.number);
        entries.push(subject.append_alias(&change("champion", before, after), last).await.unwrap());
    }
    entries
}

async fn champion(subject: &Subject) -> Vec<AliasEntry> {
    subject.alias_history("match", "champion", 0, 100).await.unwrap()
}

pub async fn what_is_appended_comes_back_in_order_and_by_pages(subject: &Subject) {
    assert_eq!(subject.last_alias("match", "champion").await.unwrap(), None);
    assert_eq!(champion(subject).await, []);
    let entries = three(subject).await;
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(entries[1].change, change("champion", Some(1), Some(2)));
    assert!(entries.windows(2).all(|pair| pair[0].at <= pair[1].at));
    assert_eq!(champion(subject).await, entries);
    assert_eq!(subject.alias_history("match", "champion", 1, 1).await.unwrap(), entries[1..2]);
    assert_eq!(subject.last_alias("match", "champion").await.unwrap().as_ref(), entries.last());
    let again = crate::open(&subject.url, crate::Options::default()).await.unwrap();
    assert_eq!(again.alias_history("match", "champion", 0, 100).await.unwrap(), entries);
}

pub async fn who_saw_another_last_entry_appends_nothing(subject: &Subject) {
    let first = subject.append_alias(&change("champion", None, Some(1)), Some(1)).await;
    assert!(matches!(first, Err(StoreError::Stale(_))), "{first:?}");
    let entries = three(subject).await;
    for seen in [None, Some(0), Some(1), Some(2), Some(4), Some(1 << 40)] {
        let refused = subject.append_alias(&change("champion", None, Some(9)), seen).await;
        assert!(matches!(&refused, Err(StoreError::Stale(what)) if what.contains("champion")), "{seen:?}: {refused:?}");
    }
    assert_eq!(champion(subject).await, entries);
    assert_eq!(subject.append_alias(&change("champion", None, Some(9)), Some(3)).await.unwrap().number, 4);
}

pub async fn of_many_who_append_after_the_same_entry_one_does(subject: &Subject) {
    let other = crate::open(&subject.url, crate::Options::default()).await.unwrap();
    for last in [None, Some(1), Some(2)] {
        let appending = (0..8).map(|at| {
            let store = if at % 2 == 0 { Arc::clone(&subject.store) } else { Arc::clone(&other) };
            tokio::spawn(async move { store.append_alias(&change("champion", None, Some(at)), last).await })
        });
        let appended = futures::future::join_all(appending).await.into_iter().map(|appended| appended.unwrap());
        let (won, lost): (Vec<_>, Vec<_>) = appended.partition(Result::is_ok);
        assert_eq!(won.len(), 1, "after {last:?}");
        assert!(lost.iter().all(|lost| matches!(lost, Err(StoreError::Stale(_)))), "{lost:?}");
        let entry = won.into_iter().next().unwrap().unwrap();
        assert_eq!(entry.number, last.unwrap_or_default() + 1);
        assert_eq!(subject.last_alias("match", "champion").await.unwrap(), Some(entry));
    }
}

pub async fn aliases_and_models_have_journals_of_their_own(subject: &Subject) {
    let entries = three(subject).await;
    let challenger = subject.append_alias(&change("challenger", None, Some(7)), None).await.unwrap();
    let elsewhere = AliasChange { model: "other".to_owned(), ..change("champion", None, Some(8)) };
    let elsewhere = subject.append_alias(&elsewhere, None).await.unwrap();
    assert_eq!((challenger.number, elsewhere.number), (1, 1));
    assert_eq!(champion(subject).await, entries);
    assert_eq!(subject.last_alias("match", "challenger").await.unwrap(), Some(challenger));
    assert_eq!(subject.alias_history("other", "champion", 0, 9).await.unwrap(), [elsewhere]);
    assert_eq!(subject.last_alias("other", "challenger").await.unwrap(), None);
}

pub async fn evidence_that_is_no_json_or_too_long_is_refused(subject: &Subject) {
    let with = |evidence: String| AliasChange { evidence, ..change("champion", None, Some(1)) };
    let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    for evidence in [String::new(), "{".to_owned(), "better".to_owned(), "{} {}".to_owned(), long(LONGEST_EVIDENCE + 1)] {
        let refused = subject.append_alias(&with(evidence), None).await;
        assert!(matches!(&refused, Err(StoreError::Broken(what)) if what.contains("evidence")), "{refused:?}");
    }
    assert_eq!(champion(subject).await, []);
    let longest = with(long(LONGEST_EVIDENCE));
    assert_eq!(subject.append_alias(&longest, None).await.unwrap().change, longest);
    assert_eq!(subject.append_alias(&with("null".to_owned()), Some(1)).await.unwrap().number, 2);
}

pub async fn an_entry_cannot_be_changed_or_deleted_in_the_store_itself(subject: &Subject) {
    let entries = three(subject).await;
    for change in [
        "UPDATE alias_entry SET actor = 'nobody'",
        "UPDATE alias_entry SET number = number + 10",
        "DELETE FROM alias_entry WHERE number = 3",
        "DELETE FROM alias_entry",
    ] {
        let refused = subject.try_to_tamper(change).await.unwrap_err().to_string();
        assert!(refused.contains("alias journal"), "{change}: {refused}");
    }
    assert_eq!(champion(subject).await, entries);
}

pub async fn text_that_a_backend_cannot_hold_breaks_no_journal(subject: &Subject) {
    let odd = AliasChange { reason: "a\0b".to_owned(), actor: "\0".to_owned(), ..change("champion", None, Some(1)) };
    let entry = subject.append_alias(&odd, None).await.unwrap();
    assert!(entry.change.reason.starts_with('a') && entry.change.reason.ends_with('b'));
    assert_eq!(subject.append_alias(&change("champion", Some(1), Some(2)), Some(1)).await.unwrap().number, 2);
}
