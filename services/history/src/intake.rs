//! What every writer checks of its rows: they are in order, of the part's day, and the daily ones add up to the hourly ones.

use crate::{HistoryError, Rows};
use loadline_domain::{
    Day, Hour,
    archive::{Part, Totals},
    usage::{LatencyKey, UsageKey},
};

/// The rows of an attempt so far.
pub(crate) struct Intake {
    day: Day,
    daily: Option<UsageKey>,
    hourly: Option<UsageKey>,
    latency: Option<LatencyKey>,
    daily_sums: Totals,
    totals: Totals,
}

impl Intake {
    /// For a part; nothing yet.
    pub fn new(part: &Part) -> Self {
        let (daily_sums, totals) = Default::default();
        Self { day: part.day, daily: None, hourly: None, latency: None, daily_sums, totals }
    }

    /// Checks rows and adds them to the totals.
    pub fn take(&mut self, rows: &Rows) -> Result<(), HistoryError> {
        match rows {
            Rows::Daily(rows) => {
                follow("daily", &mut self.daily, rows)?;
                for (key, usage) in rows {
                    if key.hour != self.day.first_hour() {
                        return Err(stray("daily", key.hour, self.day));
                    }
                    self.daily_sums.add_hourly(usage);
                }
            }
            Rows::Hourly(rows) => {
                follow("hourly", &mut self.hourly, rows)?;
                for (key, usage) in rows {
                    self.within("hourly", key.hour)?;
                    self.totals.add_hourly(usage);
                }
            }
            Rows::Latency(rows) => {
                follow("latency", &mut self.latency, rows)?;
                for (key, count) in rows {
                    self.within("latency", key.hour)?;
                    self.totals.add_latency(*count);
                }
            }
        }
        Ok(())
    }

    /// The totals, when days and hours agree.
    pub fn totals(&self) -> Result<Totals, HistoryError> {
        if self.daily_sums.hourly == self.totals.hourly {
            return Ok(self.totals);
        }
        let (daily, hourly) = (self.daily_sums.hourly, self.totals.hourly);
        Err(HistoryError::Refused(format!("daily rows of {} sum to {daily:?}, hourly ones to {hourly:?}", self.day)))
    }

    fn within(&self, kind: &str, hour: Hour) -> Result<(), HistoryError> {
        if hour.day() == self.day { Ok(()) } else { Err(stray(kind, hour, self.day)) }
    }
}

fn stray(kind: &str, hour: Hour, day: Day) -> HistoryError {
    HistoryError::Refused(format!("a {kind} row of {} was written to a part of {day}", hour.start()))
}

/// Keys ascend, from the last one taken before on; only the last of these is kept.
fn follow<K: Ord + Clone + std::fmt::Debug, V>(kind: &str, last: &mut Option<K>, rows: &[(K, V)]) -> Result<(), HistoryError> {
    let keys = last.iter().chain(rows.iter().map(|(key, _)| key));
    if let Some((before, key)) = keys.clone().zip(keys.skip(1)).find(|(before, key)| before >= key) {
        return Err(HistoryError::Refused(format!("{kind} rows must ascend by their key; {key:?} came after {before:?}")));
    }
    if let Some((key, _)) = rows.last() {
        *last = Some(key.clone());
    }
    Ok(())
}
