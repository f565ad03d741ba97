//! Laying defaults, file, environment and flags over each other, and naming everything that is wrong with the result.
//!
//! serde stops at the first mistake. To name all of them, the tree is deserialized, the refused value is noted and taken out, and the
//! rest is tried again until nothing is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problems::{Origin, Problem, Problems};
use super::secret::is_masked;
use super::{Check, tree};

/// Prefix of the variables that are configuration; sections and keys follow, joined by `__`.
const PREFIX: &str = "LOADLINE_";

/// A configuration that holds, with the origin of every value that is not a default.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The configuration.
    pub config: T,
    origins: BTreeMap<String, Origin>,
}

impl<T> Loaded<T> {
    /// Where the value of a dotted key came from.
    pub fn origin(&self, key: &str) -> Origin {
        origin_of(&self.origins, key)
    }
}

/// The process's own environment.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// Loads `T` from its defaults, `file`, the variables of `env` named `LOADLINE_SECTION__KEY`, and `flags` (dotted key, value).
///
/// # Errors
/// All [`Problems`] at once; nothing of a configuration with a problem is used.
pub fn load<T>(file: Option<&Path>, env: &BTreeMap<String, String>, flags: Vec<(String, String)>) -> Result<Loaded<T>, Problems>
where
    T: Default + Serialize + DeserializeOwned + Check,
{
    let mut layers = Layers::of(&T::default());
    if let Some(path) = file {
        layers.lay_file(path, T::FOREIGN);
    }
    for (name, value) in env {
        layers.lay_variable(name, value, T::FOREIGN);
    }
    for (key, value) in flags {
        layers.lay_text(&key, &value, Origin::Flag(key.clone()));
    }
    let config: Option<T> = layers.settle();
    if let Some(config) = config.as_ref() {
        config.check("", &mut layers.problems);
    }
    let origins = layers.origins;
    let mut problems = layers.problems;
    problems.locate(|key| origin_of(&origins, key));
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, origins }),
        _ => Err(problems),
    }
}

/// The origin of a key; of the list element around it; or, for a table, of what is in it.
fn origin_of(origins: &BTreeMap<String, Origin>, key: &str) -> Origin {
    let around = std::iter::successors(Some(key), |k| k.rsplit_once('.').map(|(outer, _)| outer));
    let inside = format!("{key}.");
    let mut within = origins.range(inside.clone()..).take_while(|(k, _)| k.starts_with(&inside));
    around.filter_map(|k| origins.get(k)).next().or_else(|| within.next().map(|(_, o)| o)).cloned().unwrap_or(Origin::Default)
}

struct Layers {
    tree: Value,
    /// The defaults alone: the known keys, and the types of their values.
    known: Value,
    origins: BTreeMap<String, Origin>,
    /// Keys whose value came as text and was read as something else, with that text.
    texts: BTreeMap<String, String>,
    /// List elements taken out, by the list's key, as the user counts.
    removed: BTreeMap<String, BTreeSet<usize>>,
    problems: Problems,
}

impl Layers {
    fn of<T: Serialize>(defaults: &T) -> Self {
        let known = serde_json::to_value(defaults).expect("a configuration is plain data");
        let mut tree = known.clone();
        // A masked default cannot be read back; `#[serde(default)]` supplies it.
        tree::prune(&mut tree, &is_masked);
        Self {
            tree,
            known,
            origins: BTreeMap::new(),
            texts: BTreeMap::new(),
            removed: BTreeMap::new(),
            problems: Problems::new(),
        }
    }

    fn lay_file(&mut self, path: &Path, foreign: &[&str]) {
        let origin = Origin::File(path.to_owned());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.refuse("", "", format!("the file cannot be read: {error}"), origin),
        };
        let table = match toml::from_str::<toml::Table>(&text) {
            Ok(table) => table,
            Err(error) => return self.refuse("", "", format!("the file is not TOML: {}", where_and_why(&text, &error)), origin),
        };
        for (section, value) in table.into_iter().filter(|(section, _)| !foreign.contains(&section.as_str())) {
            let value = serde_json::to_value(value).expect("TOML is plain data");
            self.note_origins(&section, &value, &origin);
            let mut over = serde_json::Map::new();
            over.insert(section, value);
            tree::merge(&mut self.tree, Value::Object(over));
        }
    }

    fn lay_variable(&mut self, name: &str, value: &str, foreign: &[&str]) {
        // Without a section it is a variable of a command, not of the configuration.
        let Some(key) = name.strip_prefix(PREFIX).filter(|key| key.contains("__")) else { return };
        let key = key.split("__").map(str::to_ascii_lowercase).collect::<Vec<_>>().join(".");
        let section = key.split('.').next().unwrap_or_default();
        if !foreign.contains(&section) {
            self.lay_text(&key, value, Origin::Env(name.to_owned()));
        }
    }

    /// Text is a string where the default is one; elsewhere it is read as a TOML value.
    fn lay_text(&mut self, key: &str, text: &str, origin: Origin) {
        let path = tree::parts(key);
        let is_text = tree::get(&self.known, &path).is_some_and(Value::is_string);
        let value = (!is_text).then(|| toml_value(text)).flatten().unwrap_or_else(|| Value::String(text.to_owned()));
        if !value.is_string() {
            self.texts.insert(key.to_owned(), text.to_owned());
        }
        if tree::set(&mut self.tree, &path, value) {
            self.origins.insert(key.to_owned(), origin);
        } else {
            self.refuse(
                key,
                &format!("{text:?}"),
                "not a key of this configuration: a value or a list stands on the way".to_owned(),
                origin,
            );
        }
    }

    /// Notes the origin of values, lists and their elements. A table has none: a key it leaves out is still a default.
    fn note_origins(&mut self, key: &str, value: &Value, origin: &Origin) {
        if !value.is_object() {
            self.origins.insert(key.to_owned(), origin.clone());
        }
        match value {
            Value::Object(table) => table.iter().for_each(|(k, v)| self.note_origins(&format!("{key}.{k}"), v, origin)),
            Value::Array(list) => {
                for (index, element) in list.iter().enumerate() {
                    let key = format!("{key}.{index}");
                    self.note_origins(&key, element, origin);
                    self.origins.insert(key, origin.clone());
                }
            }
            _ => {}
        }
    }

    /// Deserializes, noting every refused value and unknown key. `None` when not even the defaults deserialize.
    fn settle<T: DeserializeOwned>(&mut self) -> Option<T> {
        let whole = self.tree.clone();
        let mut unknown = BTreeSet::new();
        let config = loop {
            let (result, ignored) = deserialize::<T>(&self.tree);
            unknown.extend(ignored.iter().map(|path| self.as_given(path).join(".")));
            match result {
                Ok(config) => break Some(config),
                Err((path, message)) if !self.retry_as_text(&path) && !self.take_out(&path, &message) => break None,
                Err(_) => {}
            }
        };
        unknown.iter().for_each(|key| self.refuse_unknown(key, &whole));
        config
    }

    /// `12` was read as a number; where a number is refused, try it as the text it was.
    fn retry_as_text(&mut self, path: &[String]) -> bool {
        let Some(text) = self.texts.remove(&self.as_given(path).join(".")) else { return false };
        tree::set(&mut self.tree, path, Value::String(text))
    }

    /// Notes a refused value and puts the default in its place, or nothing. `false` when there is nothing left to try.
    fn take_out(&mut self, path: &[String], message: &str) -> bool {
        let key = self.as_given(path).join(".");
        let value = tree::get(&self.tree, path).cloned();
        let origin = origin_of(&self.origins, &key);
        self.refuse(&key, &shown(value.as_ref()), plain_words(message), origin);
        match tree::get(&self.known, path) {
            Some(default) if value.as_ref().is_some_and(|v| v != default) => tree::set(&mut self.tree, path, default.clone()),
            _ => self.remove(path, &key),
        }
    }

    fn remove(&mut self, path: &[String], key: &str) -> bool {
        let removed = tree::remove(&mut self.tree, path).is_some();
        if removed && let Some((list, index)) = key.rsplit_once('.').and_then(|(l, i)| Some((l, i.parse().ok()?))) {
            self.removed.entry(list.to_owned()).or_default().insert(index);
        }
        removed
    }

    /// A path in the tree as the user counts: with the list elements that were taken out.
    fn as_given(&self, path: &[String]) -> Vec<String> {
        let mut given: Vec<String> = Vec::with_capacity(path.len());
        for part in path {
            let removed = self.removed.get(&given.join("."));
            match (removed, part.parse::<usize>()) {
                (Some(removed), Ok(index)) => {
                    given.push(removed.iter().fold(index, |at, gone| at + usize::from(*gone <= at)).to_string());
                }
                _ => given.push(part.clone()),
            }
        }
        given
    }

    fn refuse_unknown(&mut self, key: &str, whole: &Value) {
        let path = tree::parts(key);
        // Text under a misspelled key may be a secret; nothing says that it is not.
        let shown = shown(tree::get(whole, &path).filter(|value| !value.is_string()));
        let allowed = match nearest(&self.known, &path) {
            Some(near) => format!("unknown key; did you mean `{near}`?"),
            None => "unknown key".to_owned(),
        };
        let origin = origin_of(&self.origins, key);
        self.refuse(key, &shown, allowed, origin);
    }

    fn refuse(&mut self, key: &str, value: &str, allowed: String, origin: Origin) {
        self.problems.push(Problem { key: key.to_owned(), value: value.to_owned(), allowed, origin: Some(origin) });
    }
}

/// A path in the tree.
type KeyPath = Vec<String>;

/// The configuration or the first refused (path, message), and the paths nobody asked for.
fn deserialize<T: DeserializeOwned>(tree: &Value) -> (Result<T, (KeyPath, String)>, Vec<KeyPath>) {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(tree, &mut track);
    // serde_ignored writes an Option on the way as `?`.
    let result = serde_ignored::deserialize(deserializer, |path| {
        unknown.push(path.to_string().split('.').filter(|part| *part != "?").map(str::to_owned).collect());
    });
    (result.map_err(|error: serde_json::Error| (parts_of(&track.path()), error.to_string())), unknown)
}

fn parts_of(path: &serde_path_to_error::Path) -> KeyPath {
    use serde_path_to_error::Segment;
    let parts = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    });
    parts.collect()
}

/// A value beside its key; tables and lists are too long for that.
fn shown(value: Option<&Value>) -> String {
    value.filter(|v| !v.is_object() && !v.is_array() && !v.is_null()).map(Value::to_string).unwrap_or_default()
}

/// A value written as in TOML, as a variable or flag may be: `5`, `true`, `["a", "b"]`, `{ name = "A" }`.
fn toml_value(text: &str) -> Option<Value> {
    let table = toml::from_str::<toml::Table>(&format!("value = {text}")).ok()?;
    // More than one key means that the text broke out of its line.
    (table.len() == 1).then(|| serde_json::to_value(&table["value"]).ok()).flatten()
}

/// serde's message in a reader's words.
fn plain_words(message: &str) -> String {
    const NUMBERS: &[(&str, &str)] = &[
        ("expected u8", "expected a whole number from 0 to 255"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
        ("expected u64", "expected a whole number, not negative"),
        ("expected usize", "expected a whole number, not negative"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected socket address", "expected an address such as 127.0.0.1:7401"),
        ("invalid socket address syntax", "expected an address such as 127.0.0.1:7401"),
    ];
    // The value is shown beside its key already; only what is allowed is news.
    let allowed = message.find("expected ").map_or(message, |at| &message[at..]);
    if allowed.starts_with("expected struct ") {
        return "expected a section with keys".to_owned();
    }
    NUMBERS.iter().find(|(serde, _)| allowed == *serde).map_or(allowed, |(_, plain)| plain).to_owned()
}

fn where_and_why(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

/// The known sibling of an unknown key that is spelled most like it, if any is near enough.
fn nearest(known: &Value, path: &[String]) -> Option<String> {
    let (last, parents) = path.split_last()?;
    // An element beyond the default list has the keys of its first one.
    let siblings = parents.iter().try_fold(known, |at, key| match at {
        Value::Object(table) => table.get(key),
        Value::Array(list) => list.first(),
        _ => None,
    })?;
    let best = siblings.as_object()?.keys().map(|key| (edits(last, key), key)).min()?;
    (best.0 <= 1 + last.len() / 3).then(|| [parents, std::slice::from_ref(best.1)].concat().join("."))
}

/// Levenshtein distance in bytes: how many insertions, deletions and replacements apart two keys are.
fn edits(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
