//! What every backend must do: one function a behaviour, named as a fact. Each is given a [`Subject`] of its own, fresh and
//! migrated, and panics when the backend breaks its word.
//!
//! Events are judged by the time of their record, so they happen around a fixed [`noon`], not around now.

#![allow(clippy::unwrap_used)] // a test suite: panicking is how it speaks

pub mod aliases;
pub mod archive;
pub mod audit;
pub mod commit;
pub mod completeness;
pub mod conservation;
pub mod dead_letters;
mod events;
pub mod identity;
pub mod jobs;
pub mod leadership;
pub mod leases;
mod owner;
pub mod prediction_jobs;
pub mod progress;
pub mod purge;
pub mod redrive;
pub mod retention;
pub mod rollups;
pub mod schema;
pub mod settled;
pub mod statistics;
pub mod trail;
pub mod usage;

pub use events::{Payload, billing, noon, receipt};
pub use owner::Owner;

use crate::{Leadership, Store};
use loadline_domain::question::{Grain, GroupBy, UsageFilter, UsageQuery};
use loadline_domain::{AccountId, AccountScope, Hour, usage::Usage};
use sqlx::Connection as _;
use std::{ops::Deref, sync::Arc, time::Duration};

/// A store to try.
pub struct Subject {
    /// Fresh and migrated.
    pub store: Arc<dyn Store>,
    /// Where it is, to open it again or to tamper with it.
    pub url: String,
}

impl Deref for Subject {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

impl Subject {
    /// Opens and migrates the store at `url`.
    pub async fn new(url: String) -> Self {
        let store = crate::open(&url, crate::Options::default()).await.unwrap();
        store.migrate().await.unwrap();
        Self { store, url }
    }

    /// Runs SQL behind the store's back.
    async fn tamper(&self, sql: &'static str) {
        self.try_to_tamper(sql).await.unwrap();
    }

    /// The same, where the database may refuse.
    async fn try_to_tamper(&self, sql: &'static str) -> Result<(), sqlx::Error> {
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            let file = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = sqlx::SqliteConnection::connect_with(&file).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.map(drop)
        } else {
            let mut connection = self.everything().await;
            sqlx::query(sql).execute(&mut connection).await.map(drop)
        }
    }

    /// Asks for text behind the store's back.
    async fn peek(&self, sql: &'static str) -> Vec<String> {
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            let file = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = sqlx::SqliteConnection::connect_with(&file).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        } else {
            let mut connection = self.everything().await;
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        }
    }

    /// A connection to PostgreSQL that sees the data of every account.
    async fn everything(&self) -> sqlx::PgConnection {
        let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql("SET loadline.account TO 'every account'").execute(&mut connection).await.unwrap();
        connection
    }

    /// Takes the lead of the background, from whoever has it.
    async fn leader(&self) -> Leadership {
        self.lead("background", "contract", Duration::from_secs(600)).await.unwrap().unwrap()
    }

    /// All usage of an account, whenever it was.
    async fn total(&self, account: &str) -> Usage {
        let (rows, _) = self.usage(&AccountScope::All, &always(account)).await.unwrap();
        rows.into_iter().fold(Usage::default(), |mut sum, row| {
            sum += row.usage;
            sum
        })
    }

    /// Promise one: everything is accounted for, and usage holds what was counted.
    async fn assert_conserved(&self) {
        let conservation = self.conservation().await.unwrap();
        assert_eq!(conservation.unaccounted, 0);
        assert_eq!(conservation.counted, conservation.usage_events);
    }
}

/// Usage of an account, whenever it was, by hour.
fn always(account: &str) -> UsageQuery {
    UsageQuery {
        account: AccountId::new(account).unwrap(),
        from: Hour::from_index(0),
        to: Hour::from_index(10_000_000),
        filter: UsageFilter::default(),
        group_by: GroupBy::default(),
        grain: Grain::Hour,
    }
}
