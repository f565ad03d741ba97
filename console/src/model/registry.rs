//! Models: which versions are registered, which of them an alias names, and who made it so.

use super::report::{span, timestamp};
use crate::{
    moment::Moment,
    msg::AliasAnswer,
    text::{clean, cleansed, cut, grouped},
};
use jiff::Timestamp;
use loadline_proto::{
    MORE_MATCHES_UNTOLD,
    serving::{self as wire, ListModelsResponse, alias_change},
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// Most lines kept of one answer, over all models.
const LINES: usize = 2_000;
/// Most versions kept of one model, beside those that an alias names.
const VERSIONS: usize = 500;
/// Most aliases kept of one model.
const ALIASES: usize = 50;
/// Most properties kept of one version.
const PROPERTIES: usize = 20;
/// Columns kept of a property's name, and of its value: there may be thousands of versions.
const PROPERTY: usize = 200;
/// Entries asked for and kept of a history.
pub const ENTRIES: u32 = 50;

/// A version.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// From 1 upwards.
    pub number: u64,
    /// Hexadecimal; empty: pinned by nobody.
    pub sha256: String,
    /// Of the artifact.
    pub bytes: u64,
    /// By the server's clock.
    pub registered: Option<Timestamp>,
    /// By name.
    pub properties: Vec<(String, String)>,
    /// Properties that are not kept.
    pub more_properties: usize,
    /// In memory of the process that was asked.
    pub loaded: bool,
    /// Why it could not be loaded.
    pub problem: String,
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Its name.
    pub name: String,
    /// What it names.
    pub version: u64,
    /// Its history ends with another version.
    pub drifted: bool,
}

/// A model.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// As the server lists them.
    pub aliases: Vec<Alias>,
    /// The newest first.
    pub versions: Vec<Version>,
    /// Aliases and versions that are not kept.
    pub left_out: usize,
}

impl Registered {
    /// The version of a number.
    pub fn version(&self, number: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// Names of the aliases of a version.
    pub fn aliases_of(&self, number: u64) -> impl Iterator<Item = &str> {
        self.aliases.iter().filter(move |alias| alias.version == number).map(|alias| alias.name.as_str())
    }
}

/// Which other versions get requests by an alias.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Route {
    /// 0: none.
    pub shadow: u64,
    /// 0: none.
    pub canary: u64,
    /// Of the keys, what the canary answers.
    pub percent: f64,
}

/// What an entry of a history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the contract's kind of its name")]
pub enum ChangeKind {
    Promotion,
    Rollback,
    Withdrawal,
    Evaluation,
    Route,
    Foreign(i32),
}

impl ChangeKind {
    /// For the screen.
    pub fn name(self) -> String {
        match self {
            Self::Promotion => "promoted".to_owned(),
            Self::Rollback => "rolled back".to_owned(),
            Self::Withdrawal => "withdrawn".to_owned(),
            Self::Evaluation => "evaluated".to_owned(),
            Self::Route => "routed".to_owned(),
            Self::Foreign(number) => format!("kind {number}?"),
        }
    }
}

/// An entry of a history.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// In its history.
    pub number: u64,
    /// What it is.
    pub kind: ChangeKind,
    /// 0: none.
    pub from: u64,
    /// 0: none.
    pub to: u64,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// By the server's clock.
    pub at: Option<Timestamp>,
    /// What the gate said; of an evaluation only.
    pub gate: Option<Gate>,
}

/// What the gate said of a challenger.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// In one word.
    pub verdict: String,
    /// With a hold, what more is needed, in words.
    pub needs: Option<String>,
    /// Why it is not promoted.
    pub reasons: Vec<String>,
    /// Matches that both were asked for.
    pub matches: u64,
    /// Groups of those.
    pub groups: u64,
    /// Ranked probability score: how much better the challenger is, at least and at most.
    pub rps: Option<[f64; 3]>,
    /// The same of the logarithmic loss.
    pub log_loss: Option<[f64; 3]>,
}

/// What is known of an alias beside what it names.
#[derive(Debug, Clone, PartialEq)]
pub struct AliasFacts {
    /// In force.
    pub route: Option<Route>,
    /// Changes, evaluations and routes, the newest first.
    pub history: Vec<Change>,
    /// There is more of it than is kept.
    pub more: bool,
    /// When the answer came.
    pub at: Duration,
}

impl AliasFacts {
    /// The last word of the gate, on this version if one is given.
    pub fn gate(&self, version: Option<u64>) -> Option<(&Change, &Gate)> {
        let about = |change: &&Change| version.is_none_or(|version| change.to == version);
        self.history.iter().filter(about).find_map(|change| Some((change, change.gate.as_ref()?)))
    }
}

/// How a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It answers.
    Ready,
    /// It answers, and for so long nobody knows what the registry says; `None`: it has never said anything.
    Stale(Option<Duration>),
    /// It was not asked for.
    NotLoaded,
    /// It could not be loaded.
    NotLoadable(&'a str),
    /// Nobody pinned its artifact, so it is never served.
    Unpinned,
    /// An alias names it, and it is not listed.
    Missing,
}

/// The models screen's facts.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// As the server lists them.
    pub models: Vec<Registered>,
    /// Models that are not kept.
    pub left_out: usize,
    /// When the registry last answered, by the server's clock.
    pub answered: Option<Timestamp>,
    /// Why it does not answer; empty while it does.
    pub problem: String,
    /// By model and alias.
    pub aliases: BTreeMap<(String, String), AliasFacts>,
    /// When the answer came.
    pub at: Option<Duration>,
    /// Why the last question had none.
    pub error: Option<String>,
    /// The same of the last question about an alias.
    pub alias_error: Option<String>,
}

impl Registry {
    /// Takes an answer.
    pub fn take(&mut self, answer: ListModelsResponse, now: Moment) {
        let all = answer.models.len();
        let mut room = LINES;
        self.models.clear();
        for model in answer.models {
            if room == 0 {
                break;
            }
            let model = registered(model, room);
            room = room.saturating_sub((model.aliases.len() + model.versions.len()).max(1));
            self.models.push(model);
        }
        self.left_out = all - self.models.len();
        self.answered = timestamp(answer.registry_answered_at.as_ref());
        self.problem = clean(&answer.registry_problem);
        let models = &self.models;
        self.aliases.retain(|(model, alias), _| is_listed(models, model, alias));
        self.at = Some(now.elapsed);
        self.error = None;
    }

    /// Takes what is said of one alias; nothing of one that is not listed.
    pub fn take_alias(&mut self, answer: AliasAnswer, now: Moment) {
        self.alias_error = None;
        if !is_listed(&self.models, &answer.model, &answer.alias) {
            return;
        }
        let histories = [answer.changes, answer.evaluations, answer.routes];
        let more = histories.iter().any(|history| !history.next_page_token.is_empty());
        let entries = histories.into_iter().flat_map(|history| history.changes.into_iter().take(ENTRIES as usize));
        let mut history: Vec<Change> = entries.map(change).collect();
        history.sort_by_key(|change| std::cmp::Reverse((change.at, change.number)));
        let route = answer.route.route.map(|route| Route { shadow: route.shadow, canary: route.canary, percent: route.percent });
        let route = route.filter(|route| route.shadow > 0 || route.canary > 0);
        let facts = AliasFacts { route, history, more, at: now.elapsed };
        self.aliases.insert((answer.model, answer.alias), facts);
    }

    /// What is known of an alias, once it was asked for.
    pub fn facts(&self, model: &str, alias: &str) -> Option<&AliasFacts> {
        self.aliases.get(&(model.to_owned(), alias.to_owned()))
    }

    /// How a version stands at this time of the server.
    pub fn standing<'a>(&self, version: Option<&'a Version>, now: Timestamp) -> Standing<'a> {
        match version {
            None => Standing::Missing,
            Some(version) if version.loaded && self.problem.is_empty() => Standing::Ready,
            Some(version) if version.loaded => Standing::Stale(self.answered.map(|answered| span(answered, now))),
            Some(version) if !version.problem.is_empty() => Standing::NotLoadable(&version.problem),
            Some(version) if version.sha256.is_empty() => Standing::Unpinned,
            Some(_) => Standing::NotLoaded,
        }
    }
}

/// Names are kept as they are drawn: one that was not harmless is another name, and nobody is asked for it.
fn is_listed(models: &[Registered], model: &str, alias: &str) -> bool {
    let of_model = |known: &&Registered| known.name == model;
    models.iter().find(of_model).is_some_and(|known| known.aliases.iter().any(|known| known.name == alias))
}

/// At most so many lines of it.
fn registered(model: wire::Model, room: usize) -> Registered {
    let all = model.aliases.len() + model.versions.len();
    let aliases = model.aliases.into_iter().take(ALIASES.min(room));
    let aliases: Vec<Alias> =
        aliases.map(|alias| Alias { name: cleansed(alias.name), version: alias.version, drifted: alias.drifted }).collect();
    let mut places = VERSIONS.min(room.saturating_sub(aliases.len()));
    let kept = |version: &wire::Version| {
        let named = aliases.iter().any(|alias| alias.version == version.number);
        let fits = places > 0;
        places = places.saturating_sub(usize::from(!named));
        named || fits
    };
    // Only as many as there are aliases can be kept beyond the room.
    let versions: Vec<Version> = model.versions.into_iter().filter(kept).take(VERSIONS + ALIASES).map(version).collect();
    Registered { left_out: all - aliases.len() - versions.len(), name: cleansed(model.name), aliases, versions }
}

fn version(wire: wire::Version) -> Version {
    let all = wire.properties.len();
    let sorted: BTreeMap<String, String> = wire.properties.into_iter().collect();
    let short = |text: &str| cut(&clean(text), PROPERTY);
    let kept = sorted.iter().take(PROPERTIES);
    let properties: Vec<_> = kept.map(|(name, value)| (short(name), short(value))).collect();
    Version {
        number: wire.number,
        sha256: cleansed(wire.sha256),
        bytes: wire.bytes,
        registered: timestamp(wire.registered_at.as_ref()),
        more_properties: all - properties.len(),
        properties,
        loaded: wire.loaded,
        problem: cleansed(wire.problem),
    }
}

fn change(wire: wire::AliasChange) -> Change {
    let kind = match wire.kind() {
        alias_change::Kind::Promotion => ChangeKind::Promotion,
        alias_change::Kind::Rollback => ChangeKind::Rollback,
        alias_change::Kind::Withdrawal => ChangeKind::Withdrawal,
        alias_change::Kind::Evaluation => ChangeKind::Evaluation,
        alias_change::Kind::Route => ChangeKind::Route,
        alias_change::Kind::Unspecified => ChangeKind::Foreign(wire.kind),
    };
    Change {
        number: wire.number,
        kind,
        from: wire.from_version,
        to: wire.to_version,
        actor: cleansed(wire.actor),
        reason: cleansed(wire.reason),
        at: timestamp(wire.at.as_ref()),
        gate: if kind == ChangeKind::Evaluation { gate(&wire.evidence) } else { None },
    }
}

/// As serving keeps it; `None` for what is not understood.
fn gate(evidence: &str) -> Option<Gate> {
    let evidence: Value = serde_json::from_str(evidence).ok()?;
    let report = evidence.get("report")?;
    let (verdict, more) = match report.get("verdict")? {
        Value::String(word) => (word.as_str(), None),
        Value::Object(told) => told.iter().next().map(|(word, told)| (word.as_str(), told["more_matches"].as_u64()))?,
        _ => return None,
    };
    let words = report["reasons"].as_array().map_or(&[][..], Vec::as_slice).iter().take(20);
    let reasons = words.filter_map(Value::as_str).map(|reason| clean(&reason.to_lowercase().replace('_', " ")));
    let needs = more.map(|more| match more {
        MORE_MATCHES_UNTOLD.. => "more matches than can be told from so few groups".to_owned(),
        more => format!("{} more matches like these", grouped(more)),
    });
    Some(Gate {
        verdict: clean(verdict),
        needs,
        reasons: reasons.collect(),
        matches: report["matches"].as_u64()?,
        groups: report["groups"].as_u64()?,
        rps: comparison(&report["rps"]),
        log_loss: comparison(&report["log_loss"]),
    })
}

fn comparison(told: &Value) -> Option<[f64; 3]> {
    let [improvement, low, high] = ["improvement", "low", "high"].map(|name| told.get(name).and_then(Value::as_f64));
    Some([improvement?, low?, high?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn now() -> Moment {
        Moment::start(Timestamp::from_second(1_000).unwrap())
    }

    fn listed(versions: u64, named: u64) -> ListModelsResponse {
        let version = |number| wire::Version { number, sha256: "ab".repeat(32), ..Default::default() };
        let alias = wire::Alias { name: "champion".to_owned(), version: named, drifted: false };
        let versions = (1..=versions).rev().map(version).collect();
        let model = wire::Model { name: "m".to_owned(), versions, aliases: vec![alias] };
        ListModelsResponse { models: vec![model], ..Default::default() }
    }

    #[test]
    fn of_thousands_of_versions_the_newest_are_kept_and_the_one_that_answers() {
        let mut registry = Registry::default();
        registry.take(listed(5_000, 3), now());
        let model = &registry.models[0];
        assert_eq!((model.versions.len(), model.left_out), (VERSIONS + 1, 5_000 - VERSIONS - 1));
        assert_eq!((model.versions[0].number, model.version(3).map(|version| version.number)), (5_000, Some(3)));
        let mut many = listed(400, 1);
        many.models = vec![many.models[0].clone(); 50];
        registry.take(many, now());
        let lines: usize = registry.models.iter().map(|model| model.versions.len() + model.aliases.len()).sum();
        assert!(lines <= LINES + ALIASES && registry.left_out > 40, "{lines} lines, {} left out", registry.left_out);
    }

    #[test]
    fn a_version_is_ready_only_while_the_registry_answers() {
        let mut registry = Registry::default();
        let mut answer = listed(2, 2);
        answer.models[0].versions[0].loaded = true;
        answer.models[0].versions[1].problem = "its operator is not known".to_owned();
        registry.take(answer.clone(), now());
        let standing = |registry: &Registry, number| {
            let text = format!("{:?}", registry.standing(registry.models[0].version(number), now().wall));
            text
        };
        assert_eq!(standing(&registry, 2), "Ready");
        assert_eq!(standing(&registry, 1), "NotLoadable(\"its operator is not known\")");
        assert_eq!(standing(&registry, 9), "Missing");
        answer.registry_problem = "refused".to_owned();
        answer.registry_answered_at = Some(prost_types::Timestamp { seconds: 940, nanos: 0 });
        answer.models[0].versions[1] = wire::Version { number: 1, ..Default::default() };
        registry.take(answer, now());
        assert_eq!((standing(&registry, 2), standing(&registry, 1)), ("Stale(Some(60s))".to_owned(), "Unpinned".to_owned()));
    }

    #[test]
    fn what_the_gate_keeps_is_understood_and_anything_else_is_not_made_up() {
        let told = r#"{"champion_sha256":"a","challenger_sha256":"b","report":{"verdict":{"HOLD":{"more_matches":1520}},
            "reasons":["RPS_UNSURE"],"rules":{},"matches":380,"groups":38,
            "rps":{"champion":0.2,"challenger":0.199,"improvement":0.001,"standard_error":0.001,"low":-0.0006,"high":0.0026}}}"#;
        let held = gate(told).unwrap();
        assert_eq!((held.verdict.as_str(), held.matches, held.groups), ("HOLD", 380, 38));
        assert_eq!(held.needs.as_deref(), Some("1,520 more matches like these"));
        assert_eq!((held.reasons[0].as_str(), held.rps, held.log_loss), ("rps unsure", Some([0.001, -0.0006, 0.0026]), None));
        let endless = told.replace("1520", &MORE_MATCHES_UNTOLD.to_string());
        assert!(gate(&endless).unwrap().needs.unwrap().contains("than can be told"));
        for strange in ["null", "", "{\"report\":{}}", "{\"report\":{\"verdict\":3}}", "[1]"] {
            assert_eq!(gate(strange), None, "{strange}");
        }
    }

    #[test]
    fn nothing_is_kept_of_an_alias_that_is_not_listed() {
        let mut registry = Registry::default();
        registry.take(listed(1, 1), now());
        for alias in ["champion", "other"] {
            registry.take_alias(AliasAnswer { model: "m".to_owned(), alias: alias.to_owned(), ..Default::default() }, now());
        }
        assert_eq!(registry.aliases.len(), 1);
        registry.take(ListModelsResponse::default(), now());
        assert!(registry.aliases.is_empty());
    }
}
