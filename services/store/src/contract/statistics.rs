//! What the planner believes.

use super::{Owner, Subject, billing, noon};
use crate::{AnsweringTable, Believed};

async fn believed(subject: &Subject, table: AnsweringTable) -> Believed {
    let all = subject.believed().await.unwrap();
    assert_eq!(all.iter().map(|believed| believed.table).collect::<Vec<_>>(), AnsweringTable::ALL);
    all.into_iter().find(|believed| believed.table == table).unwrap()
}

async fn count(owner: &mut Owner, ids: std::ops::Range<u32>) {
    for id in ids {
        owner.count(&[billing(&format!("event {id}"), &format!("account {id}").replace(' ', "-"), noon())]).await;
    }
}

pub async fn a_refresh_counts_the_rows_there_are(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    for (ids, rows) in [(0..12, 12), (12..30, 30)] {
        count(&mut owner, ids).await;
        let before = believed(subject, AnsweringTable::UsageHourly).await;
        subject.refresh_statistics(AnsweringTable::UsageHourly).await.unwrap();
        let after = believed(subject, AnsweringTable::UsageHourly).await;
        assert_eq!(after.rows, Some(rows), "{before:?} {after:?}");
        assert_ne!(before.refreshed, after.refreshed);
    }
}

pub async fn what_is_believed_changes_by_a_refresh_of_that_table_alone(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    count(&mut owner, 0..5).await;
    subject.refresh_statistics(AnsweringTable::UsageHourly).await.unwrap();
    let before = believed(subject, AnsweringTable::UsageHourly).await;
    count(&mut owner, 5..9).await;
    for table in AnsweringTable::ALL.into_iter().filter(|table| *table != AnsweringTable::UsageHourly) {
        subject.refresh_statistics(table).await.unwrap();
    }
    assert_eq!(believed(subject, AnsweringTable::UsageHourly).await.refreshed, before.refreshed);
    // And nothing but what is believed changed.
    assert_eq!(subject.total("account-7").await.events, 1);
    subject.assert_conserved().await;
}
