//! What is wrong with a configuration: all of it, each with its key, value, allowed values and origin.

use std::fmt;
use std::path::PathBuf;

use super::secret::{hides, redact_url};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The program's own default.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// A variable, by name.
    Env(String),
    /// A flag, by its dotted key.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => write!(f, "the default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Env(name) => write!(f, "variable {name}"),
            Origin::Flag(key) => write!(f, "flag {key}"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted key, list elements by index: `streams.1.max_age`. Empty when the whole source cannot be read.
    pub key: String,
    /// The value as given; secrets are hidden. Empty when there is none to show.
    pub value: String,
    /// What is wrong and what is allowed.
    pub allowed: String,
    /// Where the value came from; `None` until [`super::load`] has looked it up.
    pub origin: Option<Origin>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}", self.key)?;
            if !self.value.is_empty() {
                write!(f, " = {}", self.value)?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.allowed)?;
        match &self.origin {
            Some(origin) => write!(f, " (from {origin})"),
            None => Ok(()),
        }
    }
}

/// All mistakes of a configuration, in the order found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses the value of a key; the origin is looked up by [`super::load`].
    pub fn refuse(&mut self, key: impl Into<String>, value: impl fmt::Display, allowed: impl Into<String>) {
        self.push(Problem { key: key.into(), value: value.to_string(), allowed: allowed.into(), origin: None });
    }

    /// Adds a problem, hiding its value if it is, or holds, a secret.
    pub fn push(&mut self, mut problem: Problem) {
        let name = problem.key.rsplit('.').next().unwrap_or_default();
        if hides(name) && !problem.value.is_empty() {
            problem.value = super::secret::MASK.to_owned();
        }
        problem.value = redact_url(&problem.value);
        problem.allowed = redact_url(&problem.allowed);
        self.list.push(problem);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// Gives every problem that has none the origin of its key.
    pub(super) fn locate(&mut self, origin: impl Fn(&str) -> Origin) {
        for problem in self.list.iter_mut().filter(|p| p.origin.is_none()) {
            problem.origin = Some(origin(&problem.key));
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, plural) = (self.list.len(), if self.list.len() == 1 { "" } else { "s" });
        write!(f, "the configuration has {count} problem{plural}:")?;
        self.list.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}
