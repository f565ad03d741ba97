//! `[history]` and `[rollup]`: the long memory, and the jobs that feed it.

use crate::sections::{check_lease_ttl, loopback, process_name};
use croner::Cron;
use jiff::{Timestamp, Zoned, tz::TimeZone};
use loadline_runtime::config::{Check, HumanDuration, Problems, SecretUrl, key};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, str::FromStr as _, time::Duration};

/// `[history]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistorySettings {
    /// `file:data/history` (Parquet on disk), `s3://bucket/prefix` (Parquet in a bucket), or `clickhouse://user:password@host:8123/database`.
    pub url: SecretUrl,
    /// Longest that a step of writing, or a question, may take. A question of a caller waits no longer than `query.history_patience`.
    pub timeout: HumanDuration,
}

/// `[rollup]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RollupSettings {
    /// Address of its gRPC port.
    pub listen: SocketAddr,
    /// Address of its `/metrics`, `/livez` and `/readyz`. `loadline up` uses that of ingest for all.
    pub admin: SocketAddr,
    /// Name of this process in leases; host name and process id when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// How long after the death of the process that runs jobs another takes over.
    pub lease_ttl: HumanDuration,
    /// IANA name of the zone that schedules are read in. Usage is kept by UTC days whatever it is.
    pub time_zone: String,
    /// Days that stay in the store beside today; older ones move to history.
    pub hot_days: u32,
    /// Dedup keys, over all days, past which AN-05 opens. Each takes some 100 bytes of the store's disk.
    pub dedup_rows: u64,
    /// What is deleted, and when.
    pub retention: RetentionSettings,
    /// How much counting hours again may take.
    pub verify: VerifySettings,
    /// When each job runs.
    pub jobs: JobsSettings,
}

/// `[rollup.retention]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetentionSettings {
    /// Age of dead letters that were counted, found duplicate or discarded. Open ones are kept.
    pub resolved_dead_letters: HumanDuration,
    /// Age of finished runs of jobs.
    pub finished_runs: HumanDuration,
    /// Age of entries of the loss ledger; kept for ever when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub losses: Option<HumanDuration>,
}

/// `[rollup.verify]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifySettings {
    /// Most records a run reads of the log; hours it does not get to are unknown. A million takes seconds.
    pub max_records: u64,
    /// Most events held in memory at once, up to 150 bytes each. With fewer a day is read in more pieces, each over several
    /// days of the log; an hour with more of them is unknown.
    pub max_events: usize,
}

/// `[rollup.jobs]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobsSettings {
    /// Days recomputed from their hours.
    pub daily_rollup: JobSettings,
    /// Old days moved to history.
    pub archive: JobSettings,
    /// Small files of history merged, and what is left of attempts removed.
    pub tidy_history: JobSettings,
    /// Dedup tables made ahead and dropped.
    pub purge_dedup: JobSettings,
    /// Old dead letters and runs deleted.
    pub retention: JobSettings,
    /// Yesterday counted again from the log; differences are told, never repaired by the schedule.
    pub verify: JobSettings,
}

/// `[rollup.jobs.NAME]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobSettings {
    /// Cron expression: minute, hour, day of month, month, day of week. Empty: runs on request only.
    pub schedule: String,
    /// Each run starts up to so much later, by chance.
    pub jitter: HumanDuration,
    /// What to do about times that passed while nothing ran.
    pub missed: Missed,
}

/// What to do about times of a schedule that passed while nothing ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Run once for all of them.
    #[default]
    RunOnce,
    /// Wait for the next time.
    Skip,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self { url: SecretUrl::new("file:data/history"), timeout: HumanDuration::secs(30) }
    }
}

impl Default for RollupSettings {
    fn default() -> Self {
        Self {
            listen: loopback(7403),
            admin: loopback(7413),
            holder: None,
            lease_ttl: HumanDuration::secs(10),
            time_zone: "UTC".to_owned(),
            hot_days: 90,
            dedup_rows: 500_000_000,
            retention: RetentionSettings::default(),
            verify: VerifySettings::default(),
            jobs: JobsSettings::default(),
        }
    }
}

impl Default for RetentionSettings {
    fn default() -> Self {
        let days = |days: u64| HumanDuration::secs(days * 24 * 3600);
        Self { resolved_dead_letters: days(90), finished_runs: days(30), losses: None }
    }
}

impl Default for VerifySettings {
    fn default() -> Self {
        Self { max_records: 500_000_000, max_events: 4_000_000 }
    }
}

impl Default for JobsSettings {
    fn default() -> Self {
        let job = |schedule: &str, jitter| JobSettings {
            schedule: schedule.to_owned(),
            jitter: HumanDuration::secs(jitter),
            missed: Missed::RunOnce,
        };
        Self {
            daily_rollup: job("*/2 * * * *", 5),
            archive: job("20 2 * * *", 300),
            tidy_history: job("0 3 * * *", 300),
            purge_dedup: job("10 * * * *", 60),
            retention: job("40 3 * * *", 300),
            verify: job("10 4 * * *", 300),
        }
    }
}

impl JobsSettings {
    /// Every job by its name.
    pub fn each(&self) -> [(&'static str, &JobSettings); 6] {
        let Self { daily_rollup, archive, tidy_history, purge_dedup, retention, verify } = self;
        [
            ("daily_rollup", daily_rollup),
            ("archive", archive),
            ("tidy_history", tidy_history),
            ("purge_dedup", purge_dedup),
            ("retention", retention),
            ("verify", verify),
        ]
    }
}

impl JobSettings {
    /// The times of its schedule; `None`: it runs on request only.
    ///
    /// # Errors
    /// What to write instead of one that does not read, or that never comes.
    pub fn cron(&self) -> Result<Option<Cron>, &'static str> {
        if self.schedule.is_empty() {
            return Ok(None);
        }
        let fields = self.schedule.split_whitespace().count();
        let cron = Cron::from_str(&self.schedule).ok().filter(|_| fields == 5);
        let cron = cron.ok_or("minute, hour, day of month, month and day of week, such as `20 2 * * *`; or nothing")?;
        // Nobody misses a job that never runs until its work is needed.
        let comes = times(&cron).next().is_some();
        comes.then_some(Some(cron)).ok_or("never comes: none of its months has such a day; write one that has, or nothing")
    }
}

impl RollupSettings {
    /// The configured name, or one that no other process has now.
    pub fn holder(&self) -> String {
        self.holder.clone().unwrap_or_else(process_name)
    }
}

impl Check for HistorySettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        if !["file", "s3", "clickhouse"].contains(&self.url.scheme()) {
            problems.refuse(
                key(at, "url"),
                &self.url,
                "file:FOLDER, s3://BUCKET/PREFIX or clickhouse://USER:PASSWORD@HOST:8123/DATABASE",
            );
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&*self.timeout) {
            problems.refuse(key(at, "timeout"), self.timeout, "from 1s to 10m");
        }
    }
}

impl Check for RollupSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        check_lease_ttl(self.lease_ttl, at, problems);
        if TimeZone::get(&self.time_zone).is_err() {
            problems.refuse(key(at, "time_zone"), &self.time_zone, "an IANA name, such as UTC or Europe/Berlin");
        }
        if !(1..=36_500).contains(&self.hot_days) {
            problems.refuse(key(at, "hot_days"), self.hot_days, "from 1 to 36500");
        }
        if self.dedup_rows == 0 {
            problems.refuse(key(at, "dedup_rows"), self.dedup_rows, "at least 1");
        }
        self.retention.check(&key(at, "retention"), problems);
        self.verify.check(&key(at, "verify"), problems);
        for (name, job) in self.jobs.each() {
            job.check(&key(&key(at, "jobs"), name), problems);
        }
    }
}

impl Check for RetentionSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        let day = Duration::from_secs(24 * 3600);
        let ages = [
            ("resolved_dead_letters", Some(self.resolved_dead_letters)),
            ("finished_runs", Some(self.finished_runs)),
            ("losses", self.losses),
        ];
        for (name, age) in ages.into_iter().filter_map(|(name, age)| Some((name, age?))) {
            if *age < day {
                problems.refuse(key(at, name), age, "at least 1d");
            }
        }
    }
}

impl Check for VerifySettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        if self.max_records == 0 {
            problems.refuse(key(at, "max_records"), 0, "at least 1");
        }
        if self.max_events == 0 {
            problems.refuse(key(at, "max_events"), 0, "at least 1");
        }
    }
}

impl Check for JobSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        let cron = self.cron().unwrap_or_else(|allowed| {
            problems.refuse(key(at, "schedule"), &self.schedule, allowed);
            None
        });
        if let Some(shortest) = cron.as_ref().and_then(shortest_period).filter(|shortest| *self.jitter >= *shortest) {
            let shortest = HumanDuration::from(shortest);
            let allowed = format!("less than {shortest}, the shortest time between two runs of `{}`", self.schedule);
            problems.refuse(key(at, "jitter"), self.jitter, &allowed);
        }
        if *self.jitter > Duration::from_secs(3600) {
            problems.refuse(key(at, "jitter"), self.jitter, "at most 1h");
        }
    }
}

/// The times of a schedule from long ago on.
fn times(cron: &Cron) -> impl Iterator<Item = Zoned> {
    cron.iter_after(Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC))
}

/// Among the next times of a schedule: enough to meet every pause within an hour.
fn shortest_period(cron: &Cron) -> Option<Duration> {
    const TIMES: usize = 100;
    let times: Vec<_> = times(cron).take(TIMES).collect();
    times.windows(2).map(|pair| pair[0].duration_until(&pair[1]).unsigned_abs()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_that_never_comes_is_refused_by_its_name() {
        for (schedule, says) in
            [("0 0 30 2 *", "never comes"), ("0 0 31 4,6 *", "never comes"), ("61 * * * *", "such as `20 2 * * *`")]
        {
            let mut settings = RollupSettings::default();
            settings.jobs.archive.schedule = schedule.to_owned();
            let mut problems = Problems::new();
            settings.check("rollup", &mut problems);
            let named: Vec<_> = problems.iter().map(|problem| (problem.key.as_str(), problem.value.as_str())).collect();
            assert_eq!(named, [("rollup.jobs.archive.schedule", schedule)]);
            assert!(problems.to_string().contains(says), "{problems}");
        }
    }

    #[test]
    fn a_schedule_that_seldom_comes_is_one() {
        for schedule in ["0 0 29 2 *", "0 0 30 2 1", ""] {
            let job = JobSettings { schedule: schedule.to_owned(), ..JobSettings::default() };
            assert!(job.cron().is_ok(), "{schedule}");
        }
    }
}
