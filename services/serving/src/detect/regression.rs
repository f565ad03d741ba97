//! PR-07: a champion is worse than the version before it, by the outcomes that were reported; or the gate rejects a version on trial.
//!
//! On trial is what a route names, and what the alias `challenger` does. The journal is asked for the gate's last word only where
//! something is on trial, and read again only when it has grown.

use crate::{
    Serving,
    gate::place,
    resident::{CHAMPION, Served},
    skill::Found,
    status::ServingError,
};
use loadline_domain::gate::Verdict;
use loadline_health::{Monitor, Reading, Severity};
use std::{collections::HashMap, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// In the catalogue.
pub const MODE: &str = "PR-07";
/// How often it is looked at what is in memory.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// And how often at the journal.
const READ_EVERY: Duration = Duration::from_secs(3);
/// A journal that takes longer is not read this time.
const READ_TIME: Duration = Duration::from_secs(2);
/// A look that waits for the journal, and the pause before the next.
pub const EXPECTED_EVERY: Duration = Duration::from_secs(5);
/// The alias of what should take the champion's place.
const CHALLENGER: &str = "challenger";

/// A version beside the one that an alias names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct OnTrial {
    model: String,
    alias: String,
    champion: u64,
    version: u64,
}

/// The gate's last word on a version on trial.
#[derive(Debug, Clone, PartialEq)]
struct Word {
    /// The last entry of the journal then.
    read: u64,
    /// How much better the challenger is, and why it is rejected; `None`: it is not.
    rejected: Option<(f64, String)>,
}

/// Reports for ever.
pub async fn watch(serving: &Serving, monitor: &Monitor) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut words, mut read_at): (HashMap<OnTrial, Word>, Option<Instant>) = Default::default();
    loop {
        ticks.tick().await;
        let trials = trials(serving);
        words.retain(|trial, _| trials.contains(trial));
        let lacks = trials.iter().any(|trial| !words.contains_key(trial));
        if lacks || read_at.is_none_or(|read| read.elapsed() >= READ_EVERY) {
            read_at = Some(Instant::now());
            read(serving, &trials, &mut words).await;
        }
        // What the gate says of a version on trial that was never read is not known, and neither is that all is well.
        let unread = trials.iter().any(|trial| !words.contains_key(trial));
        let residents = serving.library.residents();
        serving.skill.forget(residents);
        let worse = serving.skill.worse(residents);
        if !worse.is_empty() || !unread {
            monitor.observe(MODE, reading(&worse, &words));
        }
    }
}

/// All versions that are on trial here now.
fn trials(serving: &Serving) -> Vec<OnTrial> {
    let table = serving.library.residents().table();
    let mut trials = Vec::new();
    for (model, served) in table.iter() {
        for (alias, tenure) in &served.aliases {
            let champion = tenure.version().number;
            for version in beside(serving, model, alias, served).into_iter().filter(|version| *version != champion) {
                let trial = OnTrial { model: model.clone(), alias: alias.clone(), champion, version };
                if !trials.contains(&trial) {
                    trials.push(trial);
                }
            }
        }
    }
    trials
}

fn beside(serving: &Serving, model: &str, alias: &str, served: &Served) -> Vec<u64> {
    let routed = serving.route_of(model, alias).map(|(_, route)| [route.canary, route.shadow]);
    let named = served.aliased(CHALLENGER).filter(|_| alias == CHAMPION).map(|version| version.number);
    routed.into_iter().flatten().filter(|version| *version > 0).chain(named).collect()
}

/// Reads what the journal says that was not read before. A store that is down leaves what is known.
async fn read(serving: &Serving, trials: &[OnTrial], words: &mut HashMap<OnTrial, Word>) {
    let reading = async {
        for trial in trials {
            match word(serving, trial, words.get(trial)).await {
                Ok(word) => drop(words.insert(trial.clone(), word)),
                Err(error) => tracing::debug!(model = trial.model, %error, "the gate's last word cannot be read"),
            }
        }
    };
    if timeout(READ_TIME, reading).await.is_err() {
        tracing::debug!("the gate's last words are not read in time");
    }
}

async fn word(serving: &Serving, trial: &OnTrial, known: Option<&Word>) -> Result<Word, ServingError> {
    let OnTrial { model, alias, champion, version } = trial;
    let last = serving.last_change(model, &place(alias)).await?.map_or(0, |last| last.number);
    if let Some(known) = known.filter(|known| known.read == last) {
        return Ok(known.clone());
    }
    let newest = serving.newest_evaluation(model, alias, *champion, *version).await?;
    let rejected = newest.filter(|found| found.evidence.report.verdict == Verdict::Reject).map(|found| {
        let report = &found.evidence.report;
        let why = report.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        (report.rps.improvement, format!("REJECT (evaluation {} of {} matches): {why}", found.id, report.matches))
    });
    Ok(Word { read: last, rejected })
}

/// The champion that does most harm tells the severity; all are told of.
fn reading(worse: &[Found], words: &HashMap<OnTrial, Word>) -> Reading {
    let mut rejected: Vec<_> = words.iter().filter_map(|(trial, word)| Some((trial, word.rejected.as_ref()?))).collect();
    rejected.sort_by(|(one, _), (other, _)| (&one.model, &one.alias).cmp(&(&other.model, &other.alias)));
    let harm = worse.iter().map(harm);
    let on_trial = rejected.iter().map(|(OnTrial { model, alias, champion, version }, (_, why))| {
        format!("{model}: version {version} is on trial beside {alias} {champion}, and the gate says {why}")
    });
    let detail = harm.chain(on_trial).collect::<Vec<_>>().join(" · ");
    match (worse.first(), rejected.first()) {
        (Some(worst), _) => Reading::bad(worst.rps.high, detail).raised(Severity::P2),
        (None, Some((_, (improvement, _)))) => Reading::bad(*improvement, detail),
        (None, None) => {
            Reading::good(0.0, "no champion is known to be worse than the version before, and no version on trial is rejected")
        }
    }
}

fn harm(found: &Found) -> String {
    let Found { model, pair, matches, groups, rps, .. } = found;
    format!(
        "{model}: champion {} is worse than {} before it by {:.4} in ranked probability score, by {:.4} at least, on {matches} matches \
         of {groups} groups",
        pair.champion, pair.previous, -rps.improvement, -rps.high
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skill::Pair;
    use loadline_domain::gate::Comparison;

    fn found(model: &str) -> Found {
        let rps =
            Comparison { champion: 0.2, challenger: 0.23, improvement: -0.03, standard_error: 0.005, low: -0.045, high: -0.0145 };
        let pair = Pair { champion: 3, previous: 2 };
        Found { model: model.to_owned(), pair, matches: 640, groups: 64, rps, is_worse: true }
    }

    fn words(rejected: Option<(f64, String)>) -> HashMap<OnTrial, Word> {
        let trial = OnTrial { model: "beer".to_owned(), alias: CHAMPION.to_owned(), champion: 1, version: 4 };
        HashMap::from([(trial, Word { read: 1, rejected })])
    }

    #[test]
    fn a_champion_that_does_harm_is_p2_with_its_figures_and_a_rejected_version_is_p4_with_the_verdict() {
        let rejected = words(Some((-0.01, "REJECT (evaluation 7 of 380 matches): it is worse".to_owned())));
        let both = reading(&[found("wine")], &rejected);
        assert_eq!((both.bad, both.value, both.severity), (true, -0.0145, Some(Severity::P2)));
        let says = ["wine: champion 3 is worse than 2 before it by 0.0300", "by 0.0145 at least, on 640 matches of 64 groups"];
        assert!(says.iter().all(|part| both.detail.contains(part)) && both.detail.contains("beer"), "{}", both.detail);
        let alone = reading(&[], &rejected);
        assert_eq!((alone.bad, alone.value, alone.severity), (true, -0.01, None));
        assert!(alone.detail.contains("version 4 is on trial beside champion 1, and the gate says REJECT"), "{}", alone.detail);
        assert!(!reading(&[], &words(None)).bad);
    }
}
