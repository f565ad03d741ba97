//! Models and changes as words.

use crate::{
    output::{Output, Tone, clean},
    when::second,
};
use loadline_proto::serving::{AliasChange, Model, Version, alias_change::Kind};

/// Digits of a sha256 that tell artifacts apart at a glance; JSON has all of them.
const DIGITS: usize = 12;

pub fn cells(output: &Output, model: &Model, version: &Version) -> Vec<String> {
    let aliases = model.aliases.iter().filter(|alias| alias.version == version.number);
    let aliases = aliases.map(|alias| {
        let name = clean(&alias.name);
        if alias.drifted { format!("{name} (changed in the registry itself)") } else { name }
    });
    let aliases = aliases.collect::<Vec<_>>().join(", ");
    vec![
        clean(&model.name),
        version.number.to_string(),
        aliases,
        state(output, version),
        digits(&version.sha256),
        second(version.registered_at.as_ref()),
    ]
}

fn state(output: &Output, version: &Version) -> String {
    match (version.loaded, version.problem.as_str()) {
        (true, _) => output.paint(Tone::Good, "in memory"),
        (false, "") => "registered".to_owned(),
        (false, problem) => output.paint(Tone::Bad, &clean(problem)),
    }
}

fn digits(sha256: &str) -> String {
    match sha256 {
        "" => "not pinned".to_owned(),
        sha256 => clean(sha256).chars().take(DIGITS).collect(),
    }
}

pub fn silent(output: &Output, problem: &str, since: &str) -> String {
    let since = if since.is_empty() { "never".to_owned() } else { format!("last at {since}") };
    output.paint(Tone::Warn, &format!("the registry does not answer ({since}): {}", clean(problem))) + "\n"
}

pub fn registered(version: &Version) -> String {
    let Version { number, bytes, sha256, .. } = version;
    format!("registered as version {number}, {bytes} bytes, sha256 {}; it answers once it is promoted", clean(sha256))
}

pub fn changed(change: &AliasChange) -> String {
    let alias = clean(&change.alias);
    format!("{} of {} is version {} now, was {}", alias, clean(&change.model), change.to_version, from(change))
}

pub fn change_cells(change: &AliasChange) -> Vec<String> {
    let what = match change.kind() {
        Kind::Unspecified => "changed",
        Kind::Promotion => "promoted",
        Kind::Rollback => "rolled back",
        Kind::Withdrawal => "withdrawn",
        Kind::Evaluation => "evaluated",
        Kind::Route => "routed",
    };
    vec![
        change.number.to_string(),
        second(change.at.as_ref()),
        format!("{what} {} → {}", from(change), change.to_version),
        clean(&change.actor),
        clean(&change.reason),
    ]
}

fn from(change: &AliasChange) -> String {
    match change.from_version {
        0 => "nothing".to_owned(),
        version => version.to_string(),
    }
}
