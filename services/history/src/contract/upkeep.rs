//! Merging and sweeping change no answer.

use super::{ALL, Subject, by_hour, first_day, in_an_hour, model::Content, part};
use crate::HistoryError;
use loadline_domain::{Day, Timestamp, archive::Part, question::UsageQuery};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

pub async fn merging_and_sweeping_change_no_answer(subject: &Subject) {
    let mut book = subject.archive_days(first_day(), 9).await;
    let void = part(first_day(), 0);
    subject.write(&void, &Content::of_day(first_day(), 5_000)).await;
    subject.compact(&book.parts()).await.unwrap();
    subject.assert_answers(&book).await;
    // Late parts of merged days, and another round.
    for number in 1..6 {
        let mut late = Content::default();
        late.add("acme", first_day().first_hour(), i64::from(number));
        subject.archive(&mut book, first_day(), number, late).await;
    }
    subject.compact(&book.parts()).await.unwrap();
    subject.assert_answers(&book).await;
    subject.sweep(&book.parts(), in_an_hour()).await.unwrap();
    Subject::again(subject.url.clone()).assert_answers(&book).await;
    assert!(matches!(subject.totals(&void).await, Err(HistoryError::Missing(_))));
}

pub async fn totals_of_a_merged_part_are_still_its_own(subject: &Subject) {
    let book = subject.archive_days(first_day(), 5).await;
    subject.compact(&book.parts()).await.unwrap();
    for (part, content) in &book.entries {
        assert_eq!(subject.totals(part).await.unwrap(), content.totals());
    }
}

pub async fn parts_that_are_no_longer_listed_are_not_read_after_a_merge(subject: &Subject) {
    let mut book = subject.archive_days(first_day(), 6).await;
    subject.compact(&book.parts()).await.unwrap();
    book.entries.remove(2);
    subject.assert_answers(&book).await;
    subject.sweep(&book.parts(), in_an_hour()).await.unwrap();
    subject.compact(&book.parts()).await.unwrap();
    subject.assert_answers(&book).await;
}

pub async fn a_sweep_removes_what_nobody_listed(subject: &Subject) {
    let book = subject.archive_days(first_day(), 1).await;
    let void: Vec<Part> = (0..2).map(|_| part(first_day(), 0)).collect();
    for void in &void {
        subject.write(void, &Content::of_day(first_day(), 1)).await;
    }
    assert_eq!(subject.sweep(&book.parts(), Timestamp::EARLIEST).await.unwrap(), 0);
    subject.totals(&void[0]).await.unwrap();
    assert!(subject.sweep(&book.parts(), in_an_hour()).await.unwrap() >= 2);
    for void in &void {
        let missing = subject.totals(void).await;
        assert!(matches!(missing, Err(HistoryError::Missing(_))), "{missing:?}");
    }
    assert_eq!(subject.sweep(&book.parts(), in_an_hour()).await.unwrap(), 0);
    subject.assert_answers(&book).await;
}

pub async fn a_sweep_removes_what_was_written_half_way(subject: &Subject) {
    let book = subject.archive_days(first_day(), 1).await;
    let mut writer = subject.begin(&part(first_day(), 0)).await.unwrap();
    super::send(&mut *writer, &Content::of_day(first_day(), 0)).await.unwrap();
    drop(writer);
    subject.sweep(&book.parts(), in_an_hour()).await.unwrap();
    assert_eq!(subject.sweep(&book.parts(), in_an_hour()).await.unwrap(), 0);
    subject.assert_answers(&book).await;
}

pub async fn readers_are_not_disturbed_by_merging_and_sweeping(subject: &Subject) {
    let book = Arc::new(subject.archive_days(first_day(), 9).await);
    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let readers: Vec<_> = (0..2)
        .map(|index| {
            // One in this process, one that knows nothing of what is done here.
            let other = Subject::again(subject.url.clone()).history;
            let history = if index == 0 { subject.history.clone() } else { other };
            let (book, done, asked) = (book.clone(), done.clone(), asked.clone());
            tokio::spawn(async move {
                let query = UsageQuery { grain: Default::default(), ..by_hour("acme", first_day(), 9) };
                let expected = book.usage(&query);
                while !done.load(Relaxed) {
                    assert_eq!(history.usage(&ALL, &book.parts(), &query).await.unwrap(), expected);
                    asked.fetch_add(1, Relaxed);
                    // A slow backend has the merging to do as well.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
        })
        .collect();
    let mut listed = book.parts();
    for round in 0..3 {
        for number in 0..4 {
            // Of the same month, outside of the question.
            let day = Day::from_index(first_day().index() + 20);
            let late = part(day, round * 4 + number);
            subject.write(&late, &Content::of_day(day, 3)).await;
            listed.push(late);
        }
        subject.compact(&listed).await.unwrap();
        subject.sweep(&listed, in_an_hour()).await.unwrap();
    }
    done.store(true, Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(asked.load(Relaxed) > 2);
}
