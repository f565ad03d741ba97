//! What moves from the store to history: a day in parts, and the totals that show it arrived whole.

use crate::{time::Day, usage::Usage};

/// One writing of one day into history. Part 0 holds what the day had when it was archived, later ones what came after.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// Whose hours it holds.
    pub day: Day,
    /// Counts from 0 within the day.
    pub number: u32,
    /// New for every attempt to write it: only an attempt that the store lists is ever read.
    pub token: String,
}

/// Sums of a part, taken apart from it and compared. Wide enough that no day overflows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows of hourly usage.
    pub hourly_rows: u64,
    /// Their sums, in the order of [`Usage::columns`].
    pub hourly: [i128; 10],
    /// Rows of latency counts.
    pub latency_rows: u64,
    /// Sum of their counts.
    pub latency: i128,
}

impl Totals {
    /// Adds a row of hourly usage.
    pub fn add_hourly(&mut self, usage: &Usage) {
        self.hourly_rows += 1;
        for (sum, add) in self.hourly.iter_mut().zip(usage.columns()) {
            *sum += i128::from(add);
        }
    }

    /// Adds a row of latency counts.
    pub fn add_latency(&mut self, count: i64) {
        self.latency_rows += 1;
        self.latency += i128::from(count);
    }
}
