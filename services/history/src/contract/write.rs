//! Parts are written whole or not at all, and never twice.

use super::{
    ALL, Subject, account, by_hour, first_day,
    model::{Book, Content},
    part, send,
};
use crate::{HistoryError, Rows};
use loadline_domain::{Day, archive::Totals, usage::UsageKey};

pub async fn a_part_holds_what_was_written(subject: &Subject) {
    let content = Content::of_day(first_day(), 0);
    let part = part(first_day(), 0);
    let sent = subject.write(&part, &content).await;
    assert_eq!(sent, content.totals());
    assert!(sent.hourly_rows > 50 && sent.latency_rows > 50 && sent.hourly[0] > 1_000);
    assert_eq!(subject.totals(&part).await.unwrap(), sent);
    assert_eq!(Subject::again(subject.url.clone()).totals(&part).await.unwrap(), sent);
}

pub async fn a_day_without_rows_is_a_part_too(subject: &Subject) {
    let part = part(first_day(), 0);
    assert_eq!(subject.write(&part, &Content::default()).await, Totals::default());
    assert_eq!(subject.totals(&part).await.unwrap(), Totals::default());
    assert_eq!(subject.usage(&ALL, &[part], &by_hour("acme", first_day(), 1)).await.unwrap(), []);
}

pub async fn a_repeated_write_does_not_double(subject: &Subject) {
    let (content, day) = (Content::of_day(first_day(), 0), first_day());
    let attempts = [part(day, 0), part(day, 0), part(day, 0)];
    for attempt in &attempts {
        subject.write(attempt, &content).await;
    }
    let mut book = Book::default();
    book.enter(&attempts[1], content);
    subject.assert_answers(&book).await;
    assert_eq!(subject.totals(&attempts[1]).await.unwrap(), book.entries[0].1.totals());
}

pub async fn a_writer_dropped_half_way_leaves_nothing(subject: &Subject) {
    let (content, dropped) = (Content::of_day(first_day(), 0), part(first_day(), 0));
    let mut writer = subject.begin(&dropped).await.unwrap();
    send(&mut *writer, &content).await.unwrap();
    drop(writer);
    let missing = subject.totals(&dropped).await;
    assert!(matches!(&missing, Err(HistoryError::Missing(part)) if *part == dropped), "{missing:?}");
    let mut book = Book::default();
    subject.archive(&mut book, first_day(), 0, content).await;
    subject.assert_answers(&book).await;
}

pub async fn what_is_written_shows_only_when_it_is_finished(subject: &Subject) {
    let (content, part) = (Content::of_day(first_day(), 0), part(first_day(), 0));
    let mut writer = subject.begin(&part).await.unwrap();
    send(&mut *writer, &content).await.unwrap();
    let unseen = subject.usage(&ALL, std::slice::from_ref(&part), &by_hour("acme", first_day(), 1)).await;
    assert!(matches!(unseen, Err(HistoryError::Missing(_))), "{unseen:?}");
    writer.finish().await.unwrap();
    assert!(!subject.usage(&ALL, &[part], &by_hour("Zeta", first_day(), 1)).await.unwrap().is_empty());
}

pub async fn a_token_is_used_once(subject: &Subject) {
    let (content, part) = (Content::of_day(first_day(), 0), part(first_day(), 0));
    subject.write(&part, &content).await;
    let again = subject.try_write(&part, &content).await;
    assert!(matches!(again, Err(HistoryError::Refused(_))), "{again:?}");
    assert_eq!(subject.totals(&part).await.unwrap(), content.totals());
}

pub async fn rows_out_of_order_or_of_another_day_are_refused(subject: &Subject) {
    let content = Content::of_day(first_day(), 0);
    let (mut swapped, mut doubled, mut stray) = (content.hourly(), content.hourly(), content.hourly());
    swapped.swap(3, 4);
    doubled.insert(3, doubled[3].clone());
    let UsageKey { account, channel, country, currency, .. } = stray.pop().unwrap().0;
    let tomorrow = Day::from_index(first_day().index() + 1).first_hour();
    stray.push((UsageKey { account, hour: tomorrow, channel, country, currency }, content.hourly()[0].1));
    let mut latency = content.latency();
    latency.reverse();
    for rows in
        [Rows::Hourly(swapped), Rows::Hourly(doubled), Rows::Hourly(stray), Rows::Daily(content.hourly()), Rows::Latency(latency)]
    {
        let mut writer = subject.begin(&part(first_day(), 0)).await.unwrap();
        let refused = writer.write(rows).await;
        assert!(matches!(refused, Err(HistoryError::Refused(_))), "{refused:?}");
    }
}

pub async fn days_that_do_not_add_up_to_their_hours_are_refused(subject: &Subject) {
    let content = Content::of_day(first_day(), 0);
    let part = part(first_day(), 0);
    let mut writer = subject.begin(&part).await.unwrap();
    writer.write(Rows::Hourly(content.hourly())).await.unwrap();
    writer.write(Rows::Daily(content.daily()[1..].to_vec())).await.unwrap();
    let refused = writer.finish().await;
    assert!(matches!(refused, Err(HistoryError::Refused(_))), "{refused:?}");
    assert!(matches!(subject.totals(&part).await, Err(HistoryError::Missing(_))));
}

pub async fn many_rows_are_written_whole(subject: &Subject) {
    let (day, part) = (first_day(), part(first_day(), 0));
    let mut content = Content::default();
    for at in 0..3_000 {
        content.add(&format!("account-{at:05}"), day.first_hour(), at % 17);
    }
    let mut writer = subject.begin(&part).await.unwrap();
    for chunk in content.daily().chunks(4_096) {
        writer.write(Rows::Daily(chunk.to_vec())).await.unwrap();
    }
    for chunk in content.hourly().chunks(4_096) {
        writer.write(Rows::Hourly(chunk.to_vec())).await.unwrap();
    }
    for chunk in content.latency().chunks(4_096) {
        writer.write(Rows::Latency(chunk.to_vec())).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), content.totals());
    assert_eq!(subject.totals(&part).await.unwrap(), content.totals());
    let mut book = Book::default();
    book.enter(&part, content);
    let query = by_hour("account-01234", day, 1);
    assert_eq!(account("account-01234"), query.account);
    assert_eq!(subject.usage(&ALL, &book.parts(), &query).await.unwrap(), book.usage(&query));
}

pub async fn many_writers_finish_at_once(subject: &Subject) {
    let days = (0..6).map(|index| Day::from_index(first_day().index() + index));
    let writing: Vec<_> = days
        .map(|day| {
            // Each with a history of its own, as if in other processes; late parts without rows, so that they often meet.
            let other = Subject::again(subject.url.clone());
            tokio::spawn(async move {
                let parts: Vec<_> = (0..5).map(|number| part(day, number)).collect();
                other.write(&parts[0], &Content::of_day(day, 0)).await;
                for late in &parts[1..] {
                    other.write(late, &Content::default()).await;
                }
                parts
            })
        })
        .collect();
    let mut book = Book::default();
    for writing in writing {
        for part in writing.await.unwrap() {
            let content = if part.number == 0 { Content::of_day(part.day, 0) } else { Content::default() };
            assert_eq!(subject.totals(&part).await.unwrap(), content.totals());
            book.enter(&part, content);
        }
    }
    subject.assert_answers(&book).await;
}
