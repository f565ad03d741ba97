//! PR-13: whether the secrets of the configuration are there, and how long its certificates last.

use crate::certificate;
use loadline_health::{Catalogue, Reading, Severity};
use loadline_runtime::config::SecretUrl;
use loadline_settings::Settings;
use std::{
    path::Path,
    time::{Duration, SystemTime},
};

const DAY: f64 = 86_400.0;
/// Parameters of a URL that name a file, and whether it is a certificate.
const FILES: [(&str, bool); 3] = [("sslrootcert", true), ("sslcert", true), ("sslkey", false)];

/// What was found of one file.
struct Finding {
    /// Days left; none where it cannot be used at all.
    days: f64,
    text: String,
}

/// Looks at every secret in use. The value is days until the first certificate expires.
pub fn look(settings: &Settings) -> Reading {
    let now = SystemTime::now();
    let limit = Catalogue::embedded().get(crate::SECRETS).map_or(0.0, |mode| mode.threshold.value);
    let (mut files, mut broken, mut dates) = (0_usize, Vec::new(), Vec::new());
    for (key, url) in settings.secrets() {
        for looked in files_of(key, url).map(|file| file.look(now)) {
            files += 1;
            match looked {
                Ok(finding) => dates.extend(finding),
                Err(why) => broken.push(why),
            }
        }
    }
    dates.sort_by(|a, b| a.days.total_cmp(&b.days));
    let days = dates.first().map_or(f64::from(u16::MAX), |first| first.days);
    let soon = dates.iter().take_while(|date| date.days < limit).map(|date| date.text.clone());
    let wrong: Vec<_> = broken.iter().cloned().chain(soon).collect();
    match &wrong[..] {
        [] => Reading::good(days, format!("{files} files of secrets and certificates are there, and none expires soon")),
        // The process has what it began with; a restart would not have it.
        wrong if days > 0.0 => Reading::bad(if broken.is_empty() { days } else { 0.0 }, wrong.join("; ")),
        wrong => Reading::bad(days, wrong.join("; ")).raised(Severity::P1),
    }
}

struct SecretFile<'a> {
    key: String,
    path: &'a Path,
    kind: Kind,
}

enum Kind {
    Url,
    Certificate,
    Key,
}

/// Files that a URL comes from, or names.
fn files_of<'a>(key: &'a str, url: &'a SecretUrl) -> impl Iterator<Item = SecretFile<'a>> {
    let own = url.file().map(|path| SecretFile { key: key.to_owned(), path, kind: Kind::Url });
    let query = url.reveal().split_once('?').map_or("", |(_, query)| query);
    let named = query.split('&').filter_map(move |pair| {
        let (name, path) = pair.split_once('=')?;
        let (_, is_certificate) = FILES.iter().find(|(known, _)| *known == name)?;
        let kind = if *is_certificate { Kind::Certificate } else { Kind::Key };
        Some(SecretFile { key: format!("{key} ({name})"), path: Path::new(path), kind })
    });
    own.into_iter().chain(named)
}

impl SecretFile<'_> {
    /// What there is to say of its date; or why it cannot be used.
    fn look(&self, now: SystemTime) -> Result<Option<Finding>, String> {
        let shown = self.path.display();
        let bytes = std::fs::read(self.path).map_err(|error| format!("{}: {shown} cannot be read: {error}", self.key))?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(format!("{}: {shown} is empty", self.key));
        }
        if !matches!(self.kind, Kind::Certificate) {
            return Ok(None);
        }
        let first = certificate::first_expiry(&bytes);
        let expiry = first.ok_or_else(|| format!("{}: {shown} holds no certificate in PEM", self.key))?;
        let days = match expiry.duration_since(now) {
            Ok(left) => left.as_secs_f64() / DAY,
            Err(past) => -past.duration().as_secs_f64() / DAY,
        };
        let text = match days > 0.0 {
            true => format!("{}: {shown} expires in {days:.1} days", self.key),
            false => format!("{}: {shown} expired {:.1} days ago", self.key, -days),
        };
        Ok(Some(Finding { days, text }))
    }
}

/// Seconds since the epoch as a time.
pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
