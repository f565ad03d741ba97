//! Values that must not be seen: they deserialize as text and print as `***`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// What is printed instead of a secret.
pub(super) const MASK: &str = "***";

/// Prefix of a secret that is kept in a file: `file:/run/secrets/token`.
const FILE: &str = "file:";

/// Prefix of a URL that is kept in a file, where `file:` is a URL itself.
const URL_FILE: &str = "secret:";

/// A password or token. `file:/path` in the configuration reads the file, without its final newline.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret with this value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { MASK })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { MASK })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = hidden_text(deserializer, "a secret as text, or file:/path of a file that holds it")?;
        match text.strip_prefix(FILE) {
            Some(path) => read(path).map(Self).map_err(de::Error::custom),
            None => Ok(Self(text)),
        }
    }
}

fn read(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("the secret's file {path} cannot be read: {error}"))?;
    Ok(text.strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t)).unwrap_or(&text).to_owned())
}

/// A URL that may carry a password; it prints as `scheme://user:***@host/…`. `secret:/path` in the configuration reads it from that
/// file, without its final newline.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretUrl {
    url: String,
    file: Option<PathBuf>,
}

impl SecretUrl {
    /// A URL with this text.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), file: None }
    }

    /// The URL itself, for the one call that opens it.
    pub fn reveal(&self) -> &str {
        &self.url
    }

    /// The file that it was read from, if it was.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The part before the first `:`; empty when there is none.
    pub fn scheme(&self) -> &str {
        self.url.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.url.is_empty()
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_url(&self.url))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = hidden_text(deserializer, "a URL as text, or secret:/path of a file that holds it")?;
        match text.strip_prefix(URL_FILE) {
            Some(path) => read(path).map(|url| Self { url, file: Some(path.into()) }).map_err(de::Error::custom),
            None => Ok(Self::new(text)),
        }
    }
}

/// Text whose value never appears in the error when it is not text.
fn hidden_text<'de, D: Deserializer<'de>>(deserializer: D, expected: &str) -> Result<String, D::Error> {
    String::deserialize(deserializer).map_err(|_| de::Error::custom(format!("expected {expected}")))
}

/// Whether a value is, or was, masked: it cannot be read back.
pub(super) fn is_masked(text: &str) -> bool {
    text == MASK || (text.contains("://") && text.contains(&format!(":{MASK}@"))) || text.contains(&format!("={MASK}"))
}

/// Whether a key's name says that its value is a secret.
pub(super) fn hides(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "passwd", "secret", "token", "credential", "api_key", "private_key"].iter().any(|word| key.contains(word))
}

/// The text with the passwords of all URLs in it replaced: what is before the `@`, and query parameters with a secret's name.
pub(super) fn redact_url(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + "://".len());
        out.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>')).unwrap_or(after.len());
        let (url, next) = after.split_at(end);
        push_redacted(&mut out, url);
        rest = next;
    }
    out.push_str(rest);
    out
}

/// Appends `user:password@host/path?query` without its secrets. The last `@` of the authority counts: passwords may hold one.
fn push_redacted(out: &mut String, url: &str) {
    let (main, query) = url.split_once('?').map_or((url, None), |(main, query)| (main, Some(query)));
    // A password with an unescaped `/` still ends at the last `@`; rather too much hidden than too little.
    match main.rsplit_once('@') {
        Some((userinfo, host)) => match userinfo.split_once(':') {
            Some((user, _)) => out.extend([user, ":", MASK, "@", host]),
            None => out.extend([userinfo, "@", host]),
        },
        None => out.push_str(main),
    }
    let Some(query) = query else { return };
    for (index, pair) in query.split('&').enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if hides(name) => out.extend([name, "=", MASK]),
            _ => out.push_str(pair),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_hidden_wherever_they_stand() {
        for (url, shown) in [
            ("postgres://app:s3cret@db:5432/x", "postgres://app:***@db:5432/x"),
            ("postgres://app:p@ss@db/x", "postgres://app:***@db/x"),
            ("postgres://app:p/ss@db/x", "postgres://app:***@db/x"),
            ("postgres://db/x?user=a&password=s3cret&sslmode=require", "postgres://db/x?user=a&password=***&sslmode=require"),
            ("nats://token@host", "nats://token@host"),
            ("nats://:s3cret@host", "nats://:***@host"),
            ("sqlite:data/store.db", "sqlite:data/store.db"),
            ("both \"a://u:p@h\" and b://u:p@h/", "both \"a://u:***@h\" and b://u:***@h/"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }

    #[test]
    fn a_secret_prints_as_stars_but_reveals_its_value() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret:?}"), MASK);
        assert_eq!(serde_json::to_string(&secret).expect("serializes"), "\"***\"");
        assert_eq!(secret.reveal(), "s3cret");
        assert_eq!(format!("{:?}", SecretUrl::new("a://u:p@h")), "a://u:***@h");
    }

    #[test]
    fn a_url_comes_from_its_file_and_prints_without_its_password() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("url");
        std::fs::write(&path, "postgres://app:s3cret@db/x\n").expect("written");
        let url: SecretUrl = serde_json::from_value(format!("secret:{}", path.display()).into()).expect("read");
        assert_eq!((url.reveal(), url.file()), ("postgres://app:s3cret@db/x", Some(path.as_path())));
        assert_eq!(url.to_string(), "postgres://app:***@db/x");
        let missing: Result<SecretUrl, _> = serde_json::from_str("\"secret:/nowhere/url\"");
        assert!(missing.expect_err("refused").to_string().contains("/nowhere/url"));
    }

    #[test]
    fn a_secret_comes_from_its_file_without_the_newline() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret\n").expect("written");
        let secret: Secret = serde_json::from_value(format!("file:{}", path.display()).into()).expect("read");
        assert_eq!(secret.reveal(), "s3cret");
        let missing: Result<Secret, _> = serde_json::from_str("\"file:/nowhere/token\"");
        assert!(missing.expect_err("refused").to_string().contains("/nowhere/token"));
    }
}
