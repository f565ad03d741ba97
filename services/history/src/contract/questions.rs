//! Answers are the sums of the listed parts, however they are asked for.

use super::{
    ALL, Subject, by_hour, first_day,
    model::{Book, Content},
    part,
};
use crate::{HistoryError, Rows};
use loadline_domain::{
    Day, Hour,
    archive::Part,
    question::{Grain, UsageQuery},
    usage::Usage,
};

pub async fn answers_are_the_sums_of_the_listed_parts(subject: &Subject) {
    let book = subject.archive_days(first_day(), 9).await;
    assert!(book.questions().iter().any(|query| book.usage(query).len() > 40));
    subject.assert_answers(&book).await;
}

pub async fn unlisted_parts_are_never_read(subject: &Subject) {
    let mut book = Book::default();
    for index in 0..3 {
        let day = Day::from_index(first_day().index() + index);
        subject.write(&part(day, 0), &Content::of_day(day, 1_000)).await;
        subject.archive(&mut book, day, 0, Content::of_day(day, 0)).await;
        subject.write(&part(day, 1), &Content::of_day(day, 9_000)).await;
    }
    subject.assert_answers(&book).await;
    assert_eq!(subject.usage(&ALL, &[], &by_hour("acme", first_day(), 3)).await.unwrap(), []);
}

pub async fn a_late_part_adds_to_its_day(subject: &Subject) {
    let mut book = subject.archive_days(first_day(), 2).await;
    let mut late = Content::default();
    late.add("acme", first_day().first_hour(), 7);
    late.add("newcomer", first_day().first_hour(), 7);
    subject.archive(&mut book, first_day(), 1, late).await;
    subject.assert_answers(&book).await;
    assert_eq!(subject.usage(&ALL, &book.parts(), &by_hour("newcomer", first_day(), 1)).await.unwrap().len(), 1);
}

pub async fn a_listed_part_that_is_not_there_is_never_zero(subject: &Subject) {
    let book = subject.archive_days(first_day(), 1).await;
    let lost = part(Day::from_index(first_day().index() + 1), 0);
    let parts = [book.parts(), vec![lost.clone()]].concat();
    let is_missing = |error: &HistoryError| error.is_retryable() && matches!(error, HistoryError::Missing(part) if *part == lost);
    let query = by_hour("acme", first_day(), 2);
    let asked = [
        subject.usage(&ALL, &parts, &query).await.unwrap_err(),
        subject.delivery(&ALL, &parts, &query).await.unwrap_err(),
        subject.account_totals(&ALL, &parts, query.from, query.to, &query.filter).await.unwrap_err(),
        subject.totals(&lost).await.unwrap_err(),
    ];
    assert!(asked.iter().all(is_missing), "{asked:?}");
    // A day outside of the question is not needed for it.
    subject.usage(&ALL, &parts, &by_hour("acme", first_day(), 1)).await.unwrap();
    // A part of the same token and another day is another part.
    let confused = Part { day: lost.day, ..book.parts()[0].clone() };
    assert!(matches!(subject.totals(&confused).await, Err(HistoryError::Missing(_))));
}

pub async fn a_question_by_days_may_not_cut_one(subject: &Subject) {
    let book = subject.archive_days(first_day(), 1).await;
    let cut = UsageQuery { grain: Grain::Day, from: first_day().first_hour().next(), ..by_hour("acme", first_day(), 1) };
    let refused = subject.usage(&ALL, &book.parts(), &cut).await;
    assert!(matches!(refused, Err(HistoryError::Refused(_))), "{refused:?}");
}

pub async fn a_range_upside_down_holds_nothing(subject: &Subject) {
    let book = subject.archive_days(first_day(), 1).await;
    let query = by_hour("acme", first_day(), 1);
    let query = UsageQuery { from: query.to, to: query.from, ..query };
    assert_eq!(subject.usage(&ALL, &book.parts(), &query).await.unwrap(), []);
    assert_eq!(subject.delivery(&ALL, &book.parts(), &query).await.unwrap(), (vec![], vec![]));
    assert!(subject.account_totals(&ALL, &book.parts(), query.from, query.to, &query.filter).await.unwrap().is_empty());
}

pub async fn a_sum_past_64_bits_is_refused_and_never_rounded(subject: &Subject) {
    let mut book = Book::default();
    for (number, amount_micros) in [(0, i64::MAX), (1, 1), (2, -1)] {
        let mut content = Content::default();
        content.add("acme", first_day().first_hour(), 1);
        content.usage.retain(|key, _| key.country.as_str() == "DE");
        for usage in content.usage.values_mut() {
            *usage = Usage { amount_micros, ..Usage::default() };
        }
        subject.archive(&mut book, first_day(), number, content).await;
    }
    let query = by_hour("acme", first_day(), 1);
    let refused = subject.usage(&ALL, &book.parts()[..2], &query).await;
    assert!(matches!(refused, Err(HistoryError::Broken(_))), "{refused:?}");
    let rows = subject.usage(&ALL, &book.parts(), &query).await.unwrap();
    assert_eq!(rows[0].usage.amount_micros, i64::MAX);
    let totals = subject.totals(&book.parts()[0]).await.unwrap();
    assert_eq!(totals.hourly[3], i128::from(i64::MAX));
}

pub async fn negative_and_zero_amounts_are_kept(subject: &Subject) {
    let part = part(first_day(), 0);
    let mut content = Content::default();
    content.add("acme", first_day().first_hour(), 1);
    for (at, usage) in content.usage.values_mut().enumerate() {
        *usage = Usage { events: 1, amount_micros: [-5_000_000_000_001, 0, i64::MIN, 4_294_967_296][at], ..Usage::default() };
    }
    let mut writer = subject.begin(&part).await.unwrap();
    writer.write(Rows::Hourly(content.hourly())).await.unwrap();
    writer.write(Rows::Daily(content.daily())).await.unwrap();
    writer.write(Rows::Latency(content.latency())).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), content.totals());
    assert_eq!(subject.totals(&part).await.unwrap(), content.totals());
    let query = by_hour("acme", first_day(), 1);
    let group_by = loadline_domain::question::GroupBy { channel: true, country: true, currency: true };
    let rows = subject.usage(&ALL, &[part], &UsageQuery { group_by, ..query }).await.unwrap();
    let amounts: Vec<_> = rows.iter().map(|row| row.usage.amount_micros).collect();
    assert_eq!(amounts, content.usage.values().map(|usage| usage.amount_micros).collect::<Vec<_>>());
}

pub async fn questions_may_be_asked_at_once(subject: &Subject) {
    let book = subject.archive_days(first_day(), 3).await;
    let asked = (0..24).map(|index| {
        let (history, parts) = (subject.history.clone(), book.parts());
        let mut query = by_hour(super::model::ACCOUNTS[index % 7], first_day(), 3);
        query.to = Hour::from_index(query.to.index() - index as i32);
        let expected = book.usage(&query);
        tokio::spawn(async move { assert_eq!(history.usage(&ALL, &parts, &query).await.unwrap(), expected) })
    });
    for asked in asked.collect::<Vec<_>>() {
        asked.await.unwrap();
    }
}
