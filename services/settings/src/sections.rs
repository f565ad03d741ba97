//! Sections of one service or backend each.

use loadline_domain::Rules;
use loadline_runtime::config::{ByteSize, Check, HumanDuration, Problems, SecretUrl, key};
use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

/// `[installation]`: must be the same in every process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InstallationSettings {
    /// What operators call it, such as `prod-eu1`: on the console's top line, so that nobody takes one for another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSettings {
    /// `sqlite:data/log.db`, or `nats://user:password@host:4222` (JetStream).
    pub url: SecretUrl,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreSettings {
    /// `sqlite:data/store.db`, or `postgres://user:password@host/database`.
    pub url: SecretUrl,
    /// Connections a process keeps at most, all of them open where it answers; beside them those that copy days to history, one for
    /// each day under way. PostgreSQL pays some 10 MB for each.
    pub max_connections: u32,
    /// Rows of hours of settled days that a process keeps in memory for questions asked again, at some 100 bytes each. 0: none.
    pub kept_rows: u64,
}

impl StoreSettings {
    /// How the store is opened.
    pub fn options(&self, rules: Rules) -> loadline_store::Options {
        loadline_store::Options { max_connections: self.max_connections, rules, kept_rows: self.kept_rows, answers: false }
    }

    /// The same where questions about accounts are put to it.
    pub fn options_to_answer(&self, rules: Rules) -> loadline_store::Options {
        loadline_store::Options { answers: true, ..self.options(rules) }
    }
}

/// `[rules]`: must be the same in every process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RulesSettings {
    /// Oldest billing event taken without an operator. Dedup keys are kept as long: a row an event.
    pub billing_horizon: HumanDuration,
    /// Oldest receipt, by its message's submission.
    pub receipt_horizon: HumanDuration,
    /// How far an event may be ahead of the log's clock.
    pub future_tolerance: HumanDuration,
}

/// `[ingest]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IngestSettings {
    /// Address of its gRPC port.
    pub listen: SocketAddr,
    /// Address of its `/metrics`, `/livez` and `/readyz`. `loadline up` uses that of ingest for all.
    pub admin: SocketAddr,
    /// Name of this process in leases; host name and process id when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// How long after the death of an owner another takes its streams.
    pub lease_ttl: HumanDuration,
    /// Records of a batch. Larger ones cost memory and latency, and spare commits.
    pub batch_records: usize,
    /// Payload bytes of a batch.
    pub batch_bytes: ByteSize,
    /// Age of a stream's oldest record that is not applied, past which AN-02 opens; past four times that it is P2. Less than a
    /// burst takes to be applied opens it for nothing.
    pub lag_limit: HumanDuration,
}

/// `[query]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuerySettings {
    /// Address of its gRPC port.
    pub listen: SocketAddr,
    /// Address of its `/metrics`, `/livez` and `/readyz`. `loadline up` uses that of ingest for all.
    pub admin: SocketAddr,
    /// Most records an explanation reads from the log.
    pub explain_max_records: usize,
    /// How long an answer waits for history. Past it the rest is answered, and the days in history are named as missing; it
    /// should be less than the deadlines of callers.
    pub history_patience: HumanDuration,
    /// How often canaries ask for accounts that are not theirs. Each round asks the store some thirty small questions.
    pub isolation_every: HumanDuration,
}

/// `[simulate]`: traffic of `loadline up`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SimulateSettings {
    /// Whether `up` makes traffic.
    pub enabled: bool,
    /// Events a second, receipts and repetitions included.
    pub rate: u32,
    /// Accounts they belong to.
    pub accounts: u32,
    /// Repeats the same traffic; by chance when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// `[drills]`: failure modes caused on purpose, in the running services.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DrillSettings {
    /// Whether operators may start them. When absent, only in `loadline up`: a drill holds up counting for seconds and closes
    /// account data for a minute, in the process it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// For tests of the product: no failure mode is held, cleared or looked back on for longer than this, with drills or without.
    /// It then opens and closes on less evidence than it should, and each drill says that it proved less. Absent: as in the
    /// catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times_at_most: Option<HumanDuration>,
}

impl DrillSettings {
    /// Off unless somebody said otherwise.
    pub fn are_on(&self) -> bool {
        self.enabled.unwrap_or(false)
    }
}

/// An address that only this machine reaches.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { url: SecretUrl::new("sqlite:data/log.db") }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { url: SecretUrl::new("sqlite:data/store.db"), max_connections: 16, kept_rows: 250_000 }
    }
}

impl Default for RulesSettings {
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            billing_horizon: rules.billing_horizon.into(),
            receipt_horizon: rules.receipt_horizon.into(),
            future_tolerance: rules.future_tolerance.into(),
        }
    }
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            listen: loopback(7401),
            admin: loopback(7411),
            holder: None,
            lease_ttl: HumanDuration::secs(10),
            batch_records: 5_000,
            batch_bytes: ByteSize::mib(4),
            lag_limit: HumanDuration::secs(300),
        }
    }
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            listen: loopback(7402),
            admin: loopback(7412),
            explain_max_records: 2_000_000,
            history_patience: HumanDuration::secs(5),
            isolation_every: HumanDuration::secs(4),
        }
    }
}

impl Default for SimulateSettings {
    fn default() -> Self {
        Self { enabled: true, rate: 200, accounts: 50, seed: None }
    }
}

impl RulesSettings {
    /// As the fold wants them.
    pub fn rules(&self) -> Rules {
        Rules {
            billing_horizon: *self.billing_horizon,
            receipt_horizon: *self.receipt_horizon,
            future_tolerance: *self.future_tolerance,
            accept_late: false,
        }
    }
}

impl IngestSettings {
    /// The configured name, or one that no other process has now.
    pub fn holder(&self) -> String {
        self.holder.clone().unwrap_or_else(process_name)
    }
}

/// Host name and process id.
pub(crate) fn process_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").map_or("host".to_owned(), |name| name.trim().to_owned());
    format!("{host}-{}", std::process::id())
}

pub(crate) fn check_lease_ttl(ttl: HumanDuration, at: &str, problems: &mut Problems) {
    if !(Duration::from_secs(1)..=Duration::from_secs(300)).contains(&*ttl) {
        problems.refuse(key(at, "lease_ttl"), ttl, "from 1s to 5m");
    }
}

impl Check for InstallationSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        let is_word = |name: &str| (1..=24).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        if let Some(name) = self.name.as_deref().filter(|name| !is_word(name)) {
            problems.refuse(key(at, "name"), format!("{name:?}"), "1 to 24 letters, digits and signs of ASCII, such as prod-eu1");
        }
    }
}

impl Check for LogSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        if !["sqlite", "nats", "tls"].contains(&self.url.scheme()) {
            problems.refuse(key(at, "url"), &self.url, "sqlite:PATH, nats://HOST:PORT or tls://HOST:PORT");
        }
    }
}

impl Check for StoreSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        if !["sqlite", "postgres", "postgresql"].contains(&self.url.scheme()) {
            problems.refuse(key(at, "url"), &self.url, "sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE");
        }
        if !(4..=1_000).contains(&self.max_connections) {
            problems.refuse(key(at, "max_connections"), self.max_connections, "from 4 to 1000");
        }
    }
}

impl Check for RulesSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        let (hour, year) = (Duration::from_secs(3600), Duration::from_secs(366 * 24 * 3600));
        for (name, horizon) in [("billing_horizon", self.billing_horizon), ("receipt_horizon", self.receipt_horizon)] {
            if !(hour..=year).contains(&*horizon) {
                problems.refuse(key(at, name), horizon, "from 1h to 366d");
            }
        }
        if *self.future_tolerance > hour {
            problems.refuse(key(at, "future_tolerance"), self.future_tolerance, "at most 1h");
        }
    }
}

impl Check for IngestSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        check_lease_ttl(self.lease_ttl, at, problems);
        if !(1..=20_000).contains(&self.batch_records) {
            problems.refuse(key(at, "batch_records"), self.batch_records, "from 1 to 20000");
        }
        if !(ByteSize::kib(64)..=ByteSize::mib(16)).contains(&self.batch_bytes) {
            problems.refuse(key(at, "batch_bytes"), self.batch_bytes, "from 64KiB to 16MiB");
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(24 * 3600)).contains(&*self.lag_limit) {
            problems.refuse(key(at, "lag_limit"), self.lag_limit, "from 1s to 24h");
        }
        if self.holder.as_ref().is_some_and(|holder| holder.is_empty() || holder.len() > 128) {
            problems.refuse(key(at, "holder"), self.holder.as_deref().unwrap_or_default(), "1 to 128 bytes");
        }
    }
}

impl Check for QuerySettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        if self.explain_max_records == 0 {
            problems.refuse(key(at, "explain_max_records"), 0, "at least 1");
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&*self.history_patience) {
            problems.refuse(key(at, "history_patience"), self.history_patience, "from 100ms to 1m");
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&*self.isolation_every) {
            problems.refuse(key(at, "isolation_every"), self.isolation_every, "from 1s to 1h");
        }
    }
}

impl Check for DrillSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        if let Some(longest) = self.times_at_most
            && *longest < Duration::from_secs(1)
        {
            problems.refuse(key(at, "times_at_most"), longest, "at least 1s; none, to have the times of the catalogue");
        }
    }
}

impl Check for SimulateSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        if !(1..=50_000).contains(&self.rate) {
            problems.refuse(key(at, "rate"), self.rate, "from 1 to 50000 events a second");
        }
        if !(1..=100_000).contains(&self.accounts) {
            problems.refuse(key(at, "accounts"), self.accounts, "from 1 to 100000");
        }
    }
}
