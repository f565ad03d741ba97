//! The configuration in force, and where it came from, to be read again while the process runs.

use loadline_health::{Reading, Severity};
use loadline_runtime::config::Problems;
use loadline_settings::Settings;
use serde_json::Value;
use std::path::PathBuf;

/// Problems that fit an operator's line; the others are counted.
const NAMED: usize = 3;
/// Enough of a hash to tell two configurations apart by eye.
const DIGITS: usize = 12;

/// What is in force, and where it came from.
#[derive(Debug)]
pub struct Kept {
    file: Option<PathBuf>,
    flags: Vec<(String, String)>,
    in_force: Settings,
}

impl Kept {
    /// What was read from `file`, the environment and `flags` (dotted key, value).
    pub fn new(in_force: Settings, file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        Self { file, flags, in_force }
    }

    /// What is in force.
    pub fn in_force(&self) -> &Settings {
        &self.in_force
    }

    /// What a start would have in force now: read from the same sources, and checked.
    ///
    /// # Errors
    /// All problems at once.
    pub fn read(&self) -> Result<Settings, Problems> {
        Settings::read(self.file.as_deref(), self.flags.clone()).map(|loaded| loaded.config)
    }

    /// PR-14: whether a start with what is there now would be refused.
    pub(crate) fn look(&self) -> Reading {
        let hash = fingerprint(&self.in_force);
        match self.read() {
            Ok(read) => match differences(&self.in_force, &read).len() {
                0 => Reading::good(0.0, format!("configuration {hash}")),
                keys => {
                    Reading::good(0.0, format!("configuration {hash}; {keys} keys have changed since: a restart applies them"))
                }
            },
            Err(problems) => {
                let named = problems.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>();
                self.refused(problems.iter().count(), &named.join("; "))
            }
        }
    }

    /// The reading of so many problems. Nothing has been rolled out: the running process does not have them.
    pub(crate) fn refused(&self, problems: usize, named: &str) -> Reading {
        let hash = fingerprint(&self.in_force);
        let detail = format!("a start would be refused, {hash} stays in force: {named}");
        Reading::bad(problems as f64, detail).raised(Severity::P4)
    }
}

/// The hash of a configuration. Replicas with the same one have the same settings, but perhaps not the same secrets: those are no
/// part of it, because what is shown must not help to guess them.
pub fn fingerprint(settings: &Settings) -> String {
    let text = serde_json::to_string(settings).expect("a configuration is plain data");
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
