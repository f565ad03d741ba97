//! Configuration: defaults < file < environment < flags, with every mistake named at once.
//!
//! A configuration is a serde type `T` whose [`Default`] runs the product. [`load`] lays the file, the variables
//! `LOADLINE_SECTION__KEY` and the flags over it, and answers with a [`Loaded`] or with **all** [`Problems`]: each names the key, the
//! value, what is allowed and where it came from; an unknown key comes with the nearest known one.
//!
//! Rules for a `T`:
//! - every struct in it is `#[serde(default)]`; lists of tables (`[[streams]]`) may have required keys;
//! - keys are grouped in sections, so that a variable always has a `__` (a variable without one, such as `LOADLINE_INGEST`, is no
//!   configuration);
//! - secrets are [`Secret`] or [`SecretUrl`], without a default of their own;
//! - rules between values are in [`Check`].

mod layers;
mod problems;
mod secret;
mod show;
mod tree;
mod values;

pub use layers::{Loaded, environment, load};
pub use problems::{Origin, Problem, Problems};
pub use secret::{Secret, SecretUrl};
pub use show::show;
pub use values::{ByteSize, HumanDuration};

/// Rules of a configuration that its types do not already state.
pub trait Check {
    /// Top-level sections that belong to other programs reading the same file; they are left to them.
    const FOREIGN: &'static [&'static str] = &[];

    /// Adds to `problems` what is wrong in this section, whose dotted key is `at` (empty for the whole configuration).
    fn check(&self, at: &str, problems: &mut Problems);
}

/// `at.key`, or `key` at the top.
pub fn key(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}
