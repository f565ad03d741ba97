//! The configuration in force, and where it came from, to be read again while the process runs.

use loadline_health::{Reading, Severity};
use loadline_runtime::config::Problems;
use loadline_settings::Settings;
use serde_json::Value;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Problems that fit an operator's line; the others are counted.
const NAMED: usize = 3;
/// Enough of a hash to tell two configurations apart by eye.
const DIGITS: usize = 12;

/// What is in force, and where it came from.
#[derive(Debug)]
pub struct Kept {
    file: Option<PathBuf>,
    flags: Vec<(String, String)>,
    state: Mutex<State>,
    replaced: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    in_force: Arc<Settings>,
    /// What was in force before, if anything: for taking back what was put in its place.
    before: Option<Arc<Settings>>,
    /// No service has been ready with what is in force now.
    untried: bool,
    /// What no service could be started with, and why.
    rejected: Option<(Arc<Settings>, String)>,
}

impl Kept {
    /// What was read from `file`, the environment and `flags` (dotted key, value).
    pub fn new(in_force: Settings, file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let state = State { in_force: Arc::new(in_force), before: None, untried: false, rejected: None };
        Self { file, flags, state: Mutex::new(state), replaced: watch::Sender::new(()) }
    }

    /// What is in force.
    pub fn in_force(&self) -> Arc<Settings> {
        self.state().in_force.clone()
    }

    /// What a start would have in force now: read from the same sources, and checked.
    ///
    /// # Errors
    /// All problems at once.
    pub fn read(&self) -> Result<Settings, Problems> {
        Settings::read(self.file.as_deref(), self.flags.clone()).map(|loaded| loaded.config)
    }

    /// Puts another configuration in force. Services have it from their next life on: tell them with [`Self::announce`].
    pub(crate) fn put(&self, settings: Settings) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.in_force, Arc::new(settings));
        (state.before, state.untried, state.rejected) = (Some(before), true, None);
    }

    /// Puts what was in force before in its place. False: there was nothing before.
    pub(crate) fn take_back(&self) -> bool {
        let mut state = self.state();
        let Some(before) = state.before.take() else { return false };
        (state.in_force, state.untried, state.rejected) = (before, false, None);
        true
    }

    /// Takes back what was put in force and could not be started with. False: what is in force has been ready before.
    pub(crate) fn reject(&self, why: &str) -> bool {
        let mut state = self.state();
        let Some(before) = state.before.take().filter(|_| state.untried) else { return false };
        let rejected = std::mem::replace(&mut state.in_force, before);
        (state.untried, state.rejected) = (false, Some((rejected, why.to_owned())));
        drop(state);
        self.announce();
        true
    }

    /// A service is ready with what is in force.
    pub(crate) fn is_tried(&self) {
        self.state().untried = false;
    }

    /// Ends the lives of all services, so that the next ones have what is in force.
    pub(crate) fn announce(&self) {
        self.replaced.send_replace(());
    }

    pub(crate) fn announced(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }

    /// PR-14: whether a start with what is there now would be refused.
    pub(crate) fn look(&self) -> Reading {
        let (in_force, rejected) = (self.in_force(), self.state().rejected.clone());
        let hash = fingerprint(&in_force);
        match self.read() {
            Ok(read) => match (differences(&in_force, &read).len(), rejected) {
                (0, _) => Reading::good(0.0, format!("configuration {hash}")),
                (_, Some((rejected, why))) if differences(&rejected, &read).is_empty() => self.refused(1, &why),
                (keys, _) => Reading::good(
                    0.0,
                    format!("configuration {hash}; {keys} keys have changed since: N or a restart applies them"),
                ),
            },
            Err(problems) => {
                let named = problems.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>();
                self.refused(problems.iter().count(), &named.join("; "))
            }
        }
    }

    /// The reading of so many problems. Nothing has been rolled out: the running process does not have them.
    pub(crate) fn refused(&self, problems: usize, named: &str) -> Reading {
        let hash = fingerprint(&self.in_force());
        let detail = format!("a start would be refused, {hash} stays in force: {named}");
        Reading::bad(problems as f64, detail).raised(Severity::P4)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys that each replica has for itself.
const OF_ONE_REPLICA: [&str; 12] = [
    "/ingest/listen",
    "/ingest/admin",
    "/ingest/holder",
    "/query/listen",
    "/query/admin",
    "/rollup/listen",
    "/rollup/admin",
    "/rollup/holder",
    "/serving/listen",
    "/serving/admin",
    "/serving/artifacts",
    "/telemetry/instance",
];

/// The hash of a configuration. Replicas with the same one have the same settings, but perhaps not the same secrets: those are no
/// part of it, because what is shown must not help to guess them. Nor is what each replica has for itself: where it listens, what it
/// is called, and whom it watches.
pub fn fingerprint(settings: &Settings) -> String {
    let mut tree = serde_json::to_value(settings).expect("a configuration is plain data");
    for value in OF_ONE_REPLICA.iter().chain(&["/peers"]) {
        tree.pointer_mut(value).map(Value::take);
    }
    let text = tree.to_string();
    blake3::hash(text.as_bytes()).to_hex()[..DIGITS].to_owned()
}

/// Dotted keys whose values differ, secrets included, in order.
pub(crate) fn differences(a: &Settings, b: &Settings) -> Vec<String> {
    let tree = |settings: &Settings| serde_json::to_value(settings).expect("a configuration is plain data");
    let mut keys = Vec::new();
    compare("", &tree(a), &tree(b), &mut keys);
    let secrets = a.secrets().into_iter().zip(b.secrets());
    keys.extend(secrets.filter(|((_, a), (_, b))| a != b).map(|((key, _), _)| key.to_owned()));
    keys.sort();
    keys.dedup();
    keys
}

fn compare(at: &str, a: &Value, b: &Value, keys: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            let names: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
            for name in names {
                let inner = loadline_runtime::config::key(at, name);
                compare(&inner, left.get(name).unwrap_or(&Value::Null), right.get(name).unwrap_or(&Value::Null), keys);
            }
        }
        _ if a == b => {}
        _ => keys.push(at.to_owned()),
    }
}
