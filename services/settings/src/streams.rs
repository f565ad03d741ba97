//! `[[streams]]`: which streams the log has, what they carry, how long they keep it.

use loadline_domain::{StreamName, identity::Kind};
use loadline_event_log::{Retention, StreamSpec};
use loadline_runtime::config::{ByteSize, HumanDuration, Problems};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

/// The stream that drills write to; it is there where drills are on.
pub const DRILL_STREAM: &str = "LOADLINE-DRILL";

/// The kind of event a stream takes from `Publish`. Whatever stands in a stream is counted for what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Carries {
    /// Billing events.
    Billing,
    /// Delivery receipts.
    Receipts,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamSettings {
    /// Its name in the log, such as `BILLING-0`.
    pub name: String,
    /// What `Publish` sends there. Several streams of a kind share it by account.
    pub carries: Carries,
    /// First token of its subjects; lower-cased name when absent. Publishers that write to NATS use `<subject>.<anything>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Records older than this are discarded, read or not; for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<HumanDuration>,
    /// The oldest records are discarded beyond this, read or not; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<ByteSize>,
}

impl StreamSettings {
    fn new(name: &str, carries: Carries, days: u64) -> Self {
        let max_age = Some(HumanDuration::secs(days * 24 * 3600));
        Self { name: name.to_owned(), carries, subject: None, max_age, max_bytes: None }
    }

    fn subject(&self) -> String {
        self.subject.clone().unwrap_or_else(|| self.name.to_ascii_lowercase())
    }

    /// As the log wants it, with the kind it takes.
    ///
    /// # Panics
    /// When the name was not checked.
    pub fn spec(&self) -> (StreamSpec, Kind) {
        let name = StreamName::new(&self.name).expect("checked when the configuration was read");
        let retention = Retention { max_age: self.max_age.map(Duration::from), max_bytes: self.max_bytes.map(|size| size.0) };
        let kind = match self.carries {
            Carries::Billing => Kind::Billing,
            Carries::Receipts => Kind::Receipt,
        };
        (StreamSpec { name, subject: self.subject(), retention }, kind)
    }
}

/// `BILLING`, kept 7 days, and `DLR`, kept 3 days.
pub fn default() -> Vec<StreamSettings> {
    vec![StreamSettings::new("BILLING", Carries::Billing, 7), StreamSettings::new("DLR", Carries::Receipts, 3)]
}

/// Names and subjects are valid and differ, and every kind has a stream.
pub fn check(streams: &[StreamSettings], at: &str, problems: &mut Problems) {
    let (mut names, mut subjects) = (BTreeSet::new(), BTreeSet::new());
    for (index, stream) in streams.iter().enumerate() {
        let at = |key: &str| format!("{at}.{index}.{key}");
        if let Err(error) = StreamName::new(&stream.name) {
            problems.refuse(at("name"), &stream.name, error.to_string());
        }
        if !names.insert(stream.name.clone()) || stream.name == DRILL_STREAM {
            problems.refuse(at("name"), &stream.name, "a name no other stream has, nor that of drills");
        }
        let subject = stream.subject();
        let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if subject.is_empty() || !subject.bytes().all(token) {
            problems.refuse(at("subject"), &subject, "one subject token: letters, digits, `_` or `-`, such as billing");
        }
        if !subjects.insert(subject.clone()) {
            problems.refuse(at("subject"), &subject, "a subject no other stream has");
        }
        if stream.max_age.is_some_and(|age| *age < Duration::from_secs(60)) {
            problems.refuse(
                at("max_age"),
                stream.max_age.unwrap_or_default(),
                "at least 1m: younger records would be discarded unread",
            );
        }
    }
    for carries in [Carries::Billing, Carries::Receipts] {
        if !streams.iter().any(|stream| stream.carries == carries) {
            let kind = if carries == Carries::Billing { "billing" } else { "receipts" };
            problems.refuse(at, format!("{} streams", streams.len()), format!("at least one stream with carries = \"{kind}\""));
        }
    }
}
