//! What can go wrong with a registry.

use crate::Sha256;
use loadline_fault::Fails;

/// How much of what came is repeated.
const REPEATED: usize = 80;

/// Why a call on the registry failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// There is no such model or version.
    #[error("registry: there is no {0}")]
    NotFound(String),
    /// It cannot be reached, does not answer in time, or says that it is broken. A retry can help.
    #[error("registry unavailable: {0}")]
    Unavailable(String),
    /// What was asked cannot be done as it is; says what to do.
    #[error("registry: {0}")]
    Refused(String),
    /// What answered is not what a registry answers. A retry may reach the right one.
    #[error("what answered is no registry: {0}")]
    Garbage(String),
    /// The bytes are not those that were registered.
    #[error("registry holds another file than was registered: sha256 {found}, not {expected}; register the right file again")]
    WrongSha {
        /// Of the file that was registered.
        expected: Sha256,
        /// Of the file that came.
        found: Sha256,
    },
    /// More than was allowed.
    #[error("registry: {what}, more than the limit of {limit}")]
    TooLarge {
        /// What is too large, and how large it is said to be.
        what: String,
        /// What is allowed, in the same unit.
        limit: u64,
    },
    /// The version is there and its file is not.
    #[error("registry has lost the file of version {version} of `{name}`; register the same file again to put it back")]
    Lost {
        /// The model.
        name: String,
        /// The number.
        version: u64,
    },
    /// A record of the registry's folder is not what was written.
    #[error("registry file {file} is damaged: {why}; restore it from a copy")]
    Damaged {
        /// Its path.
        file: String,
        /// What differs.
        why: String,
    },
    /// A URL or setting that cannot work.
    #[error("registry: {0}")]
    Misconfigured(String),
    /// Fails in a way no retry can mend: a bug.
    #[error("registry: {0}")]
    Broken(String),
}

impl RegistryError {
    /// Whether trying again, unchanged, may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Garbage(_))
    }
}

/// What came, fit to be shown: cut, and without characters that a terminal would obey.
pub(super) fn shown(came: &[u8]) -> String {
    // Enough bytes for the characters that are kept; the rest is not even decoded.
    let text = String::from_utf8_lossy(&came[..came.len().min(REPEATED * 4)]);
    let mut kept = text.chars().flat_map(|c| if is_harmless(c) { vec![c] } else { c.escape_unicode().collect() });
    let mut shown: String = kept.by_ref().take(REPEATED).collect();
    if kept.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Neither a control character nor one that turns or hides text.
fn is_harmless(c: char) -> bool {
    let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !turns
}

impl Fails for RegistryError {
    fn unavailable(why: String) -> Self {
        Self::Unavailable(why)
    }

    fn broken(why: String) -> Self {
        Self::Broken(why)
    }

    /// What is unavailable may have happened: every call can be repeated.
    fn unknown(why: String) -> Self {
        Self::Unavailable(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_cut_and_cannot_speak_to_a_terminal() {
        assert_eq!(shown(b"<html>"), "<html>");
        assert_eq!(shown(b"\x1b[2J\r\n"), "\\u{1b}[2J\\u{d}\\u{a}");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        let long = shown("é".repeat(10_000).as_bytes());
        assert_eq!((long.chars().count(), long.ends_with('…')), (81, true));
        assert!(shown(&vec![0xff; 1 << 20]).chars().count() <= 81);
        assert!(shown(&vec![0; 1 << 20]).chars().count() <= 81);
    }
}
