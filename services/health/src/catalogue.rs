//! The catalogue of failure modes: `catalogue.toml`, parsed and checked once.

use crate::Severity;
use loadline_proto::health as wire;
use serde::Deserialize;
use std::{collections::HashSet, sync::LazyLock, time::Duration};

const SOURCE: &str = include_str!("../catalogue.toml");
static EMBEDDED: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::parse(SOURCE).expect("the embedded catalogue is checked by a test"));

/// Keys of the remedies there are; a mode may name only these.
pub const REMEDY_KEYS: &[&str] = &["C", "W", "D", "K", "R", "P", "I", "V", "E", "Q", "L", "Y", "H", "B", "F", "S", "N"];
/// Services that may own a mode; `all` is each of them.
pub const OWNERS: &[&str] = &["ingest", "query", "rollup", "serving", "all"];

/// All known ways to fail, in the order of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    #[serde(rename = "mode")]
    modes: Vec<FailureMode>,
}

/// One known way to fail. Text is for the operator.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureMode {
    /// `AN-01` … `PR-15`.
    pub id: String,
    /// A few words.
    pub title: String,
    /// Names of the services that detect it; `all` is every service.
    pub owners: Vec<String>,
    /// Severity when no rule of `raises` holds.
    pub severity: Severity,
    /// Rules that change the severity.
    pub raises: Vec<SeverityRule>,
    /// What is measured.
    pub signal: String,
    /// What the signal is compared with, unless a reading brings its own.
    pub threshold: Threshold,
    /// What users notice.
    pub impact: String,
    /// What limits the harm without anyone doing anything.
    pub containment: String,
    /// Keys of its remedies.
    pub remedies: Vec<String>,
    /// Names of its alerts.
    pub alerts: Vec<String>,
    /// No part of the product detects it yet.
    pub planned: bool,
    /// Longest that each part of its drill may take.
    #[serde(default)]
    pub drill: Budgets,
}

/// Longest that each part of a drill may take; what a mode does not set is as for most modes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budgets {
    detect_seconds: u32,
    contain_seconds: u32,
    remedy_seconds: u32,
    verify_seconds: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { detect_seconds: 5, contain_seconds: 2, remedy_seconds: 120, verify_seconds: 60 }
    }
}

impl Budgets {
    /// From the fault to the mode being open.
    pub fn detect(&self) -> Duration {
        Duration::from_secs(self.detect_seconds.into())
    }

    /// From there to containment.
    pub fn contain(&self) -> Duration {
        Duration::from_secs(self.contain_seconds.into())
    }

    /// For all remedies together.
    pub fn remedy(&self) -> Duration {
        Duration::from_secs(self.remedy_seconds.into())
    }

    /// From there to the mode being closed.
    pub fn verify(&self) -> Duration {
        Duration::from_secs(self.verify_seconds.into())
    }
}

impl From<&Budgets> for wire::DrillBudgets {
    fn from(budgets: &Budgets) -> Self {
        let wire = |budget: Duration| budget.try_into().ok();
        Self {
            detect: wire(budgets.detect()),
            contain: wire(budgets.contain()),
            remedy: wire(budgets.remedy()),
            verify: wire(budgets.verify()),
        }
    }
}

/// When the severity is another than the base.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityRule {
    /// The severity then.
    pub severity: Severity,
    /// The condition, in words.
    pub when: String,
}

/// The limit of a signal, and how long it has to be passed to count.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The limit.
    pub value: f64,
    /// Unit of the limit and of the readings.
    pub unit: String,
    hold_seconds: u32,
    clear_seconds: u32,
}

impl Threshold {
    /// Bad without a break for so long: open.
    pub fn hold(&self) -> Duration {
        Duration::from_secs(self.hold_seconds.into())
    }

    /// Good without a break for so long: closed.
    pub fn clear(&self) -> Duration {
        Duration::from_secs(self.clear_seconds.into())
    }
}

/// Why a catalogue is refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not TOML of this shape: a field is missing, unknown, or of the wrong type; a severity is not P1 to P5.
    #[error("the catalogue does not parse: {0}")]
    Syntax(#[from] toml::de::Error),
    /// Two modes with one id.
    #[error("{id} is in the catalogue twice")]
    Duplicate {
        /// The id.
        id: String,
    },
    /// A field that says nothing, or names what does not exist.
    #[error("{id}: {field} {problem}")]
    Invalid {
        /// The mode.
        id: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Catalogue {
    /// The catalogue of this build.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// Reads a catalogue and checks it.
    pub fn parse(source: &str) -> Result<Self, CatalogueError> {
        let catalogue: Self = toml::from_str(source)?;
        let mut seen = HashSet::new();
        for mode in &catalogue.modes {
            mode.check()?;
            if !seen.insert(mode.id.as_str()) {
                return Err(CatalogueError::Duplicate { id: mode.id.clone() });
            }
        }
        Ok(catalogue)
    }

    /// All modes.
    pub fn modes(&self) -> &[FailureMode] {
        &self.modes
    }

    /// The mode of this id.
    pub fn get(&self, id: &str) -> Option<&FailureMode> {
        self.modes.iter().find(|mode| mode.id == id)
    }
}

impl FailureMode {
    /// Whether `service` has to detect it.
    pub fn is_owned_by(&self, service: &str) -> bool {
        self.owners.iter().any(|owner| owner == service || owner == "all")
    }

    /// The rule by which a severity came about, in words.
    pub fn rule_for(&self, severity: Severity) -> String {
        match self.raises.iter().find(|rule| rule.severity == severity) {
            Some(rule) => format!("{severity} when {}", rule.when),
            None if severity == self.severity => format!("{severity}, the base"),
            None => format!("{severity}, set by the detector"),
        }
    }

    fn check(&self) -> Result<(), CatalogueError> {
        let invalid = |field, problem: String| Err(CatalogueError::Invalid { id: self.id.clone(), field, problem });
        let texts = [
            ("id", &self.id),
            ("title", &self.title),
            ("signal", &self.signal),
            ("threshold.unit", &self.threshold.unit),
            ("impact", &self.impact),
            ("containment", &self.containment),
        ];
        if let Some((field, _)) = texts.iter().find(|(_, text)| text.trim().is_empty()) {
            return invalid(field, "is empty".to_owned());
        }
        for (field, list) in [("owners", &self.owners), ("remedies", &self.remedies), ("alerts", &self.alerts)] {
            if list.is_empty() || list.iter().any(|entry| entry.trim().is_empty()) {
                return invalid(field, "is empty or has an empty entry".to_owned());
            }
        }
        for (field, list, known) in [("owners", &self.owners, OWNERS), ("remedies", &self.remedies, REMEDY_KEYS)] {
            if let Some(entry) = list.iter().find(|entry| !known.contains(&entry.as_str())) {
                return invalid(field, format!("has {entry}, which is none of {}", known.join(", ")));
            }
        }
        if self.raises.iter().any(|rule| rule.severity == self.severity || rule.when.trim().is_empty()) {
            return invalid("raises", "has a rule to the base severity, or one without a condition".to_owned());
        }
        if !self.threshold.value.is_finite() {
            return invalid("threshold.value", "is not a number".to_owned());
        }
        Ok(())
    }
}

impl From<&FailureMode> for wire::FailureMode {
    fn from(mode: &FailureMode) -> Self {
        let raise = |rule: &SeverityRule| wire::SeverityRule {
            severity: wire::Severity::from(rule.severity).into(),
            when: rule.when.clone(),
        };
        Self {
            id: mode.id.clone(),
            title: mode.title.clone(),
            owners: mode.owners.clone(),
            base_severity: wire::Severity::from(mode.severity).into(),
            raises: mode.raises.iter().map(raise).collect(),
            signal: mode.signal.clone(),
            containment: mode.containment.clone(),
            impact: mode.impact.clone(),
            remedies: mode.remedies.clone(),
            alert: mode.alerts.join(", "),
            planned: mode.planned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(source: &str) -> String {
        Catalogue::parse(source).unwrap_err().to_string()
    }

    /// The file, cut after its first mode.
    fn first_mode() -> String {
        let second = SOURCE.match_indices("[[mode]]").nth(1).unwrap().0;
        SOURCE[..second].to_owned()
    }

    #[test]
    fn the_embedded_catalogue_has_the_25_modes() {
        let ids: Vec<&str> = Catalogue::embedded().modes().iter().map(|mode| mode.id.as_str()).collect();
        let analytics = (1..=10).map(|n| format!("AN-{n:02}"));
        let prediction = (1..=15).map(|n| format!("PR-{n:02}"));
        assert_eq!(ids, analytics.chain(prediction).collect::<Vec<_>>());
    }

    #[test]
    fn exactly_the_modes_of_the_analytics_services_and_of_processes_are_detected_now() {
        let modes = Catalogue::embedded().modes().iter();
        let detected: Vec<&str> = modes.filter(|mode| !mode.planned).map(|mode| mode.id.as_str()).collect();
        let analytics = ["AN-01", "AN-02", "AN-03", "AN-04", "AN-05", "AN-06", "AN-07", "AN-08", "AN-09", "AN-10"];
        assert_eq!(
            detected,
            [&analytics[..], &["PR-07", "PR-08", "PR-09", "PR-10", "PR-11", "PR-12", "PR-13", "PR-14", "PR-15"]].concat()
        );
    }

    #[test]
    fn each_remedy_key_is_used_and_each_alert_belongs_to_one_mode() {
        let modes = Catalogue::embedded().modes();
        for key in REMEDY_KEYS {
            assert!(modes.iter().any(|mode| mode.remedies.iter().any(|used| used == key)), "nothing is repaired by {key}");
        }
        let alerts: Vec<&String> = modes.iter().flat_map(|mode| &mode.alerts).collect();
        assert_eq!(alerts.len(), alerts.iter().collect::<HashSet<_>>().len());
    }

    #[test]
    fn a_duplicate_is_refused() {
        let twice = first_mode().repeat(2);
        assert_eq!(problem(&twice), "AN-01 is in the catalogue twice");
    }

    #[test]
    fn an_unknown_severity_is_refused() {
        assert!(problem(&first_mode().replace("severity = \"P2\"", "severity = \"P6\"")).contains("P6"));
        assert!(problem(&first_mode().replace("severity = \"P1\"", "severity = \"bad\"")).contains("bad"));
    }

    #[test]
    fn each_field_is_required() {
        let mode = first_mode();
        Catalogue::parse(&mode).unwrap();
        let body = mode.split_once("[[mode]]").unwrap().1;
        let fields: Vec<&str> = body.lines().filter_map(|line| line.split_once(" = ").map(|(field, _)| field)).collect();
        assert_eq!(fields.len(), 12);
        for field in fields {
            let without: String = body.lines().filter(|line| !line.starts_with(field)).map(|line| format!("{line}\n")).collect();
            let message = problem(&format!("[[mode]]\n{without}"));
            assert!(message.contains(&format!("missing field `{field}`")), "{field}: {message}");
        }
        for field in ["unit = \"s\", ", "hold_seconds = 2, ", "value = 2, "] {
            assert!(problem(&mode.replace(field, "")).contains("missing field"), "{field}");
        }
    }

    #[test]
    fn empty_text_unknown_owners_and_unknown_fields_are_refused() {
        let mode = first_mode();
        assert_eq!(problem(&mode.replace("Store primary down", " ")), "AN-01: title is empty");
        assert!(problem(&mode.replace("\"query\"", "\"billing\"")).starts_with("AN-01: owners has billing"));
        assert!(problem(&mode.replace("[\"C\"]", "[\"Z\"]")).starts_with("AN-01: remedies has Z"));
        assert!(problem(&mode.replace("[\"AnlytPgErrors\"]", "[]")).starts_with("AN-01: alerts is empty"));
        assert!(problem(&mode.replace("value = 2", "value = nan")).starts_with("AN-01: threshold.value"));
        assert!(problem(&format!("{mode}\ncolour = \"red\"")).contains("colour"));
    }

    #[test]
    fn a_rule_says_why_the_severity_is_what_it_is() {
        let mode = Catalogue::embedded().get("AN-09").unwrap();
        assert_eq!(mode.rule_for(Severity::P3), "P3, the base");
        assert_eq!(mode.rule_for(Severity::P1), "P1 when unread records were discarded");
        assert_eq!(mode.rule_for(Severity::P5), "P5, set by the detector");
    }
}
