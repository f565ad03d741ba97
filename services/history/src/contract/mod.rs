//! What every backend must do: one function a behaviour, named as a fact. Each is given a [`Subject`] of its own, fresh and
//! prepared, and panics when the backend breaks its word.
//!
//! Answers are compared with the plain sums of a book kept over the same rows.

#![allow(clippy::unwrap_used)] // a test suite: panicking is how it speaks

mod model;
pub mod questions;
pub mod schema;
pub mod scope;
pub mod upkeep;
pub mod write;

use crate::{History, HistoryError, Options, PartWriter, Rows};
use loadline_domain::{
    AccountId, AccountScope, Day, Timestamp,
    archive::{Part, Totals},
    question::{Grain, GroupBy, UsageFilter, UsageQuery},
};
use model::{Book, Content};
use std::{ops::Deref, sync::Arc};

const ALL: AccountScope = AccountScope::All;

/// A history to try.
pub struct Subject {
    /// Fresh and prepared.
    pub history: Arc<dyn History>,
    /// Where it is, to open it again.
    pub url: String,
}

impl Deref for Subject {
    type Target = dyn History;

    fn deref(&self) -> &Self::Target {
        &*self.history
    }
}

impl Subject {
    /// Opens and prepares the history at `url`.
    pub async fn new(url: String) -> Self {
        let subject = Self::again(url);
        subject.prepare().await.unwrap();
        subject
    }

    /// Opens what was prepared before, as another process would.
    pub fn again(url: String) -> Self {
        let history = crate::open(&url, Options::default()).unwrap();
        Self { history, url }
    }

    /// Writes a part to its end.
    async fn write(&self, part: &Part, content: &Content) -> Totals {
        self.try_write(part, content).await.unwrap()
    }

    async fn try_write(&self, part: &Part, content: &Content) -> Result<Totals, HistoryError> {
        let mut writer = self.begin(part).await?;
        send(&mut *writer, content).await?;
        writer.finish().await
    }

    /// Writes a part and enters it in the book.
    async fn archive(&self, book: &mut Book, day: Day, number: u32, content: Content) -> Part {
        let part = part(day, number);
        let sent = self.write(&part, &content).await;
        assert_eq!(sent, content.totals());
        book.enter(&part, content);
        part
    }

    /// Archives `days` days of all accounts.
    async fn archive_days(&self, from: Day, days: i32) -> Book {
        let mut book = Book::default();
        for index in 0..days {
            let day = Day::from_index(from.index() + index);
            self.archive(&mut book, day, 0, Content::of_day(day, 0)).await;
        }
        book
    }

    /// Asks everything, and compares it with the book's sums.
    async fn assert_answers(&self, book: &Book) {
        for (at, query) in book.questions().into_iter().enumerate() {
            let rows = self.usage(&ALL, &book.parts(), &query).await.unwrap();
            assert_eq!(rows, book.usage(&query), "{query:?}");
            // Asks three tables or more: of every other question.
            if at % 2 == 1 {
                continue;
            }
            let ranged = UsageQuery { grain: Grain::Hour, ..query };
            let (rows, latency) = self.delivery(&ALL, &book.parts(), &ranged).await.unwrap();
            assert_eq!((rows, latency), book.delivery(&ranged), "{ranged:?}");
        }
        for (from, to, filter) in book.ranges() {
            let totals = self.account_totals(&ALL, &book.parts(), from, to, &filter).await.unwrap();
            assert_eq!(totals, book.account_totals(from, to, &filter), "{from:?} {to:?} {filter:?}");
        }
    }
}

async fn send(writer: &mut dyn PartWriter, content: &Content) -> Result<(), HistoryError> {
    // In several calls, and kinds by turns, as a job streams them.
    for chunk in content.daily().chunks(7) {
        writer.write(Rows::Daily(chunk.to_vec())).await?;
    }
    let (hourly, latency): (Vec<_>, Vec<_>) = (content.hourly(), content.latency());
    let mut latency = latency.chunks(5);
    for chunk in hourly.chunks(11) {
        writer.write(Rows::Hourly(chunk.to_vec())).await?;
        writer.write(Rows::Latency(latency.next().unwrap_or_default().to_vec())).await?;
    }
    for chunk in latency {
        writer.write(Rows::Latency(chunk.to_vec())).await?;
    }
    Ok(())
}

/// A part with a new token.
fn part(day: Day, number: u32) -> Part {
    Part { day, number, token: uuid::Uuid::now_v7().to_string() }
}

/// Late in January, so that a few days reach into the next month.
fn first_day() -> Day {
    "2026-01-26T00:00:00Z".parse::<Timestamp>().unwrap().day()
}

fn account(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

/// All hours of some days of an account.
fn by_hour(name: &str, from: Day, days: i32) -> UsageQuery {
    UsageQuery {
        account: account(name),
        from: from.first_hour(),
        to: Day::from_index(from.index() + days).first_hour(),
        filter: UsageFilter::default(),
        group_by: GroupBy::default(),
        grain: Grain::Hour,
    }
}

/// After all that a test did.
fn in_an_hour() -> Timestamp {
    use loadline_domain::Clock as _;
    loadline_domain::time::SystemClock.now().plus(std::time::Duration::from_secs(3600))
}
