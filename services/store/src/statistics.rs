//! What the backend's planner believes of tables, and counting anew what it believes.

use crate::StoreError;
use async_trait::async_trait;

/// A table that answers are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnsweringTable {
    /// Usage by hour.
    UsageHourly,
    /// Usage by day.
    UsageDaily,
    /// Times of deliveries.
    LatencyHourly,
    /// Days whose roll-up is out of date.
    DirtyDay,
    /// Records that could not be counted.
    DeadLetter,
}

impl AnsweringTable {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::UsageHourly, Self::UsageDaily, Self::LatencyHourly, Self::DirtyDay, Self::DeadLetter];

    /// Its name in both backends.
    pub fn name(self) -> &'static str {
        match self {
            Self::UsageHourly => "usage_hourly",
            Self::UsageDaily => "usage_daily",
            Self::LatencyHourly => "latency_hourly",
            Self::DirtyDay => "dirty_day",
            Self::DeadLetter => "dead_letter",
        }
    }

    /// The table of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    pub(crate) fn analyze(self) -> &'static str {
        match self {
            Self::UsageHourly => "ANALYZE usage_hourly",
            Self::UsageDaily => "ANALYZE usage_daily",
            Self::LatencyHourly => "ANALYZE latency_hourly",
            Self::DirtyDay => "ANALYZE dirty_day",
            Self::DeadLetter => "ANALYZE dead_letter",
        }
    }
}

/// What is believed of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Believed {
    /// Which.
    pub table: AnsweringTable,
    /// Rows, as of the last count; `None` when it was never counted, or had none then.
    pub rows: Option<u64>,
    /// Another text after a refresh of a table that changed, and never by what the backend does by itself.
    pub refreshed: String,
}

/// Plans of questions rest on it: where it is out of date, they are slow.
#[async_trait]
pub trait Statistics {
    /// What is believed of every table that answers are read from, in the order of [`AnsweringTable::ALL`].
    async fn believed(&self) -> Result<Vec<Believed>, StoreError>;

    /// Counts anew, from a sample where the table is large: reads and batches go on meanwhile on a server, and wait for the
    /// sample, some milliseconds, on an embedded store. Questions asked afterwards are planned by it.
    async fn refresh_statistics(&self, table: AnsweringTable) -> Result<(), StoreError>;
}
