//! `[serving]`: models, and how much is asked of them.

use crate::sections::loopback;
use loadline_runtime::config::{ByteSize, Check, HumanDuration, Problems, SecretUrl, key};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// `[serving]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServingSettings {
    /// Address of its gRPC port.
    pub listen: SocketAddr,
    /// Address of its `/metrics`, `/livez` and `/readyz`. `loadline up` uses that of ingest for all.
    pub admin: SocketAddr,
    /// Where models are registered: `file:data/models`, a folder that processes may share, or an MLflow server that serves artifacts
    /// itself, with a login or a token: `mlflow+https://user:password@host:5000`, `mlflow+https://:token@host`.
    pub registry: SecretUrl,
    /// Folder that keeps the files of models on this machine: with them a start needs no registry.
    pub artifacts: PathBuf,
    /// How often the registry is asked which versions its aliases name; other processes follow a promotion so late.
    pub look_every: HumanDuration,
    /// Threads that may be busy with models at once; 0: as many as the machine has cores.
    pub threads: usize,
    /// Rows of one request.
    pub request_rows: usize,
    /// Rows that may wait for one version; further requests are refused. More keeps callers waiting longer under load.
    pub queued_rows: usize,
    /// How long requests should wait, for a thread (in place of `grpc.target_wait`) and beside the first few rows for their model: where more
    /// is asked than is answered, those that would wait twice as long are refused. Zero: they wait as long as it takes.
    pub target_wait: HumanDuration,
    /// Largest file of a model, when it is registered and when it is loaded. One is held in memory while it is.
    pub file_bytes: ByteSize,
    /// Program in which a file is checked before it is loaded, called with `check-model-in-child`: one that starts `loadline-serving`
    /// within limits of its own, say. Empty: this program again.
    pub check_with: PathBuf,
    /// Where jobs wait for workers: `store:`, which needs nothing more, or `nats://…`, a work queue of JetStream.
    pub queue: SecretUrl,
    /// Answers that were given before.
    pub cache: CacheSettings,
    /// Folder of results that football matches are predicted from: a folder a league, in it CSV files with the columns of
    /// football-data.co.uk. All of it is held in memory, some 300 bytes a match. None: matches are not predicted.
    pub results: Option<PathBuf>,
    /// Whether the built-in baseline is registered as the model `football`, where there is none. `loadline up` does, unless told not to.
    pub baseline: Option<bool>,
    /// Predictions that nobody waits for.
    pub jobs: PredictionJobSettings,
}

/// `[serving.cache]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheSettings {
    /// Memory that answers may take; 0: none are kept, here or elsewhere.
    pub memory: ByteSize,
    /// Where processes share them: `none:`, or a Redis server, `redis://user:password@host:6379/0`. While it is down, models answer.
    pub shared: SecretUrl,
    /// How long an answer is kept there. In memory it stays until others need its place: an artifact never answers otherwise.
    pub ttl: HumanDuration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { memory: ByteSize::mib(64), shared: SecretUrl::new("none:"), ttl: HumanDuration::secs(24 * 3_600) }
    }
}

impl Check for CacheSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        if self.memory.0 > 0 && !(ByteSize::mib(1)..=ByteSize::mib(1 << 16)).contains(&self.memory) {
            problems.refuse(key(at, "memory"), self.memory, "0, or from 1MiB to 64GiB");
        }
        match self.shared.scheme() {
            "none" => {}
            "redis" if self.memory.0 == 0 => {
                problems.refuse(
                    key(at, "shared"),
                    &self.shared,
                    "none: while serving.cache.memory is 0, which keeps no answers anywhere",
                );
            }
            "redis" => {}
            _ => problems.refuse(key(at, "shared"), &self.shared, "none: or redis://HOST:6379"),
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3_600)).contains(&*self.ttl) {
            problems.refuse(key(at, "ttl"), self.ttl, "from 1s to 366d");
        }
    }
}

/// `[serving.jobs]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictionJobSettings {
    /// Jobs that this process works on at once; 0: none, others do. Each holds its question and its answer in memory.
    pub workers: usize,
    /// Rows of one job.
    pub rows: usize,
    /// Largest answer that is kept; a job with a larger one fails.
    pub result_bytes: ByteSize,
    /// Jobs that have not ended, in the whole store; beyond that none is accepted. Each costs the store its question.
    pub open: u64,
    /// How long a worker may be silent before its job is given to another. Less gives back sooner what a crash left, and takes a job
    /// from a process that was only paused.
    pub lease: HumanDuration,
    /// How often a job is begun before it fails because its workers keep being lost.
    pub attempts: u32,
    /// How long a job that has ended can be asked for, with its answer. The store holds as many.
    pub keep: HumanDuration,
}

impl Default for PredictionJobSettings {
    fn default() -> Self {
        Self {
            workers: 2,
            rows: 65_536,
            result_bytes: ByteSize::mib(16),
            open: 100_000,
            lease: HumanDuration::secs(15),
            attempts: 5,
            keep: HumanDuration::secs(7 * 24 * 3_600),
        }
    }
}

impl Check for PredictionJobSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        let counts = [
            ("workers", self.workers as u64, 0, 256),
            ("rows", self.rows as u64, 1, 1_000_000),
            ("open", self.open, 1, 10_000_000),
            ("attempts", self.attempts.into(), 1, 100),
        ];
        for (name, value, least, most) in counts {
            if !(least..=most).contains(&value) {
                problems.refuse(key(at, name), value, format!("from {least} to {most}"));
            }
        }
        if !(ByteSize::kib(64)..=ByteSize::mib(64)).contains(&self.result_bytes) {
            problems.refuse(key(at, "result_bytes"), self.result_bytes, "from 64KiB to 64MiB");
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&*self.lease) {
            problems.refuse(key(at, "lease"), self.lease, "from 1s to 10m");
        }
        if !(Duration::from_secs(60)..=Duration::from_secs(366 * 24 * 3_600)).contains(&*self.keep) {
            problems.refuse(key(at, "keep"), self.keep, "from 1m to 366d");
        }
    }
}

impl Default for ServingSettings {
    fn default() -> Self {
        Self {
            listen: loopback(7404),
            admin: loopback(7414),
            registry: SecretUrl::new("file:data/models"),
            artifacts: "data/artifacts".into(),
            look_every: HumanDuration::secs(2),
            threads: 0,
            request_rows: 4_096,
            queued_rows: 8_192,
            target_wait: HumanDuration::micros(500),
            file_bytes: ByteSize::mib(64),
            check_with: PathBuf::new(),
            queue: SecretUrl::new("store:"),
            cache: CacheSettings::default(),
            results: None,
            baseline: None,
            jobs: PredictionJobSettings::default(),
        }
    }
}

impl Check for ServingSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        if !["file", "mlflow+http", "mlflow+https"].contains(&self.registry.scheme()) {
            problems.refuse(key(at, "registry"), &self.registry, "file:FOLDER, mlflow+http://HOST:5000 or mlflow+https://HOST");
        }
        if !["store", "nats", "tls"].contains(&self.queue.scheme()) {
            problems.refuse(key(at, "queue"), &self.queue, "store: or nats://HOST:4222");
        }
        self.cache.check(&key(at, "cache"), problems);
        self.jobs.check(&key(at, "jobs"), problems);
        if self.results.as_ref().is_some_and(|folder| folder.as_os_str().is_empty()) {
            problems.refuse(key(at, "results"), "\"\"", "a folder, such as data/results");
        }
        if self.artifacts.as_os_str().is_empty() {
            problems.refuse(key(at, "artifacts"), "\"\"", "a folder, such as data/artifacts");
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&*self.look_every) {
            problems.refuse(key(at, "look_every"), self.look_every, "from 100ms to 1m");
        }
        if *self.target_wait > Duration::from_secs(60) {
            problems.refuse(key(at, "target_wait"), self.target_wait, "at most 1m");
        }
        let counts = [
            ("threads", self.threads, 0, 1_024),
            ("request_rows", self.request_rows, 1, 16_384),
            ("queued_rows", self.queued_rows, 1, 1_000_000),
        ];
        for (name, value, least, most) in counts {
            if !(least..=most).contains(&value) {
                problems.refuse(key(at, name), value, format!("from {least} to {most}"));
            }
        }
        if !(ByteSize::kib(64)..=ByteSize::mib(256)).contains(&self.file_bytes) {
            problems.refuse(key(at, "file_bytes"), self.file_bytes, "from 64KiB to 256MiB");
        }
    }
}
