//! A trial of two models, fed match by match.

use super::{
    Changes, Reason, Rules, Verdict, normal, paired, reliability::Reliability, score, threshold::MetricThreshold, verdict,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How far a forecast's sum may be from 1: models answer in single precision.
const SUM: f64 = 1e-3;

/// Both models on the same matches, so far.
#[derive(Debug, Clone)]
pub struct Trial {
    classes: usize,
    /// For each match and model, and for both models' metrics.
    rps: [Vec<f64>; 2],
    log_loss: [Vec<f64>; 2],
    reliability: Reliability,
    changes: Changes,
    outcomes: Vec<usize>,
    group: Vec<u32>,
    groups: u32,
    by_name: HashMap<String, u32>,
}

/// A match that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// The forecast is none.
    #[error("the {model}'s answer is no forecast over {classes} classes: {why}")]
    Forecast {
        /// `champion` or `challenger`.
        model: &'static str,
        /// How many classes there are.
        classes: usize,
        /// What it is.
        why: String,
    },
    /// The outcome is no class.
    #[error("outcome {outcome} is no class; there are {classes}, from 0")]
    Outcome {
        /// As it was given.
        outcome: usize,
        /// How many there are.
        classes: usize,
    },
}

/// One metric of two models.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Mean score of the champion.
    pub champion: f64,
    /// Mean score of the challenger.
    pub challenger: f64,
    /// How much better the challenger is; negative when it is worse.
    pub improvement: f64,
    /// Of the improvement.
    pub standard_error: f64,
    /// The improvement is above this, as sure as the rules ask, one-sided.
    pub low: f64,
    /// And below this, as sure.
    pub high: f64,
}

/// What a trial says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What becomes of the challenger.
    pub verdict: Verdict,
    /// Why it is not promoted; empty when it is.
    pub reasons: Vec<Reason>,
    /// What was asked for.
    pub rules: Rules,
    /// How many there were.
    pub matches: u64,
    /// Groups of matches; each without a group is one.
    pub groups: u64,
    /// Mean ranked probability scores.
    pub rps: Comparison,
    /// Mean logarithmic losses.
    pub log_loss: Comparison,
    /// Calibration errors.
    pub calibration: Comparison,
    /// Ranked probability scores of the league prior (how often each class happened in the other matches) as champion, and of the
    /// champion as its challenger: a model that is worse than that does harm.
    pub skill: Comparison,
    /// What callers would see.
    pub changes: Changes,
}

impl Report {
    /// Whether the champion is worse than knowing nothing but how often each class happens, for sure.
    pub fn champion_does_harm(&self) -> bool {
        self.groups >= self.rules.least_groups && self.skill.high < 0.0
    }
}

impl Trial {
    /// Of models over so many classes, in their order.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            rps: [vec![], vec![]],
            log_loss: [vec![], vec![]],
            reliability: Reliability::new(classes),
            changes: Changes::default(),
            outcomes: vec![],
            group: vec![],
            groups: 0,
            by_name: HashMap::new(),
        }
    }

    /// Matches so far.
    pub fn matches(&self) -> usize {
        self.outcomes.len()
    }

    /// Adds a match; those of one group (a match day) are not independent. An empty group: on its own.
    ///
    /// # Errors
    /// When it cannot be judged; then it was not added.
    pub fn add(&mut self, champion: &[f64], challenger: &[f64], outcome: usize, group: &str) -> Result<(), Unsound> {
        let classes = self.classes;
        sound("champion", champion, classes)?;
        sound("challenger", challenger, classes)?;
        if outcome >= classes {
            return Err(Unsound::Outcome { outcome, classes });
        }
        let index = self.index(group);
        for (model, forecast) in [champion, challenger].into_iter().enumerate() {
            self.rps[model].push(score::rps(forecast, outcome));
            self.log_loss[model].push(score::log_loss(forecast, outcome));
        }
        self.reliability.add([champion, challenger], outcome, index);
        self.changes.add(champion, challenger, group);
        self.outcomes.push(outcome);
        self.group.push(index);
        Ok(())
    }

    /// What can be said now.
    pub fn report(&self, rules: &Rules) -> Report {
        let sure = normal::student(rules.confidence, u64::from(self.groups).saturating_sub(1));
        let calibration = self.reliability.improvement(self.groups as usize);
        let mut report = Report {
            verdict: Verdict::Reject,
            reasons: vec![],
            rules: *rules,
            matches: self.matches() as u64,
            groups: u64::from(self.groups),
            rps: self.compared(&self.rps[0], &self.rps[1], &rules.rps, sure),
            log_loss: self.compared(&self.log_loss[0], &self.log_loss[1], &rules.log_loss, sure),
            calibration: comparison(self.reliability.errors(), calibration, sure),
            skill: self.compared(&self.prior(), &self.rps[0], &MetricThreshold::LESS_IS_BETTER, sure),
            changes: self.changes.clone(),
        };
        (report.verdict, report.reasons) = verdict::of(&report, rules);
        report
    }

    fn index(&mut self, group: &str) -> u32 {
        if let Some(known) = self.by_name.get(group) {
            return *known;
        }
        let index = self.groups;
        self.groups += 1;
        if !group.is_empty() {
            self.by_name.insert(group.to_owned(), index);
        }
        index
    }

    fn compared(&self, champion: &[f64], challenger: &[f64], metric: &MetricThreshold, sure: f64) -> Comparison {
        let pairs = champion.iter().zip(challenger);
        let differences: Vec<f64> = pairs.map(|(champion, challenger)| metric.improvement(*champion, *challenger)).collect();
        let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len().max(1) as f64;
        let improvement = paired::mean(&differences, &self.group, self.groups as usize);
        comparison([mean(champion), mean(challenger)], improvement, sure)
    }

    /// Scores of how often each class happened in all other matches, each class once more than that.
    fn prior(&self) -> Vec<f64> {
        let mut counts = vec![1.0; self.classes];
        self.outcomes.iter().for_each(|outcome| counts[*outcome] += 1.0);
        let others = (self.matches() + self.classes).saturating_sub(1).max(1) as f64;
        let score = |outcome: &usize| {
            let without = |(class, count): (usize, &f64)| (count - f64::from(u8::from(class == *outcome))) / others;
            score::rps(&counts.iter().enumerate().map(without).collect::<Vec<_>>(), *outcome)
        };
        self.outcomes.iter().map(score).collect()
    }
}

fn comparison([champion, challenger]: [f64; 2], improvement: paired::Mean, sure: f64) -> Comparison {
    let paired::Mean { mean, standard_error } = improvement;
    // JSON has no infinity: what is not sure at all is wider than any score.
    let standard_error = standard_error.min(1e6);
    let wide = sure * standard_error;
    Comparison { champion, challenger, improvement: mean, standard_error, low: mean - wide, high: mean + wide }
}

fn sound(model: &'static str, forecast: &[f64], classes: usize) -> Result<(), Unsound> {
    let wrong = |why| Err(Unsound::Forecast { model, classes, why });
    if forecast.len() != classes {
        return wrong(format!("it has {} values", forecast.len()));
    }
    if let Some(value) = forecast.iter().find(|value| !(0.0..=1.0 + SUM).contains(*value)) {
        return wrong(format!("{value} is no probability"));
    }
    let sum: f64 = forecast.iter().sum();
    if (sum - 1.0).abs() > SUM { wrong(format!("its probabilities sum to {sum}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_forecast_or_no_outcome_is_not_judged() {
        let mut trial = Trial::new(3);
        let good = [0.5, 0.3, 0.2];
        for bad in [&[0.5, 0.5][..], &[0.5, 0.3, 0.3], &[1.2, -0.2, 0.0], &[f64::NAN, 0.5, 0.5], &[f64::INFINITY, 0.0, 0.0]] {
            assert!(matches!(trial.add(bad, &good, 0, ""), Err(Unsound::Forecast { model: "champion", .. })), "{bad:?}");
            assert!(matches!(trial.add(&good, bad, 0, ""), Err(Unsound::Forecast { model: "challenger", .. })), "{bad:?}");
        }
        assert_eq!(trial.add(&good, &good, 3, ""), Err(Unsound::Outcome { outcome: 3, classes: 3 }));
        assert_eq!(trial.matches(), 0, "nothing of it was added");
        trial.add(&good, &[0.500_05, 0.3, 0.2], 2, "").unwrap();
        assert_eq!((trial.matches(), trial.report(&Rules::default()).groups), (1, 1));
    }

    #[test]
    fn a_report_comes_back_from_json_whole() {
        let mut trial = Trial::new(2);
        for at in 0..7 {
            trial.add(&[0.6, 0.4], &[0.7, 0.3], at % 2, "one day").unwrap();
        }
        let report = trial.report(&Rules::default());
        assert!(matches!(report.verdict, Verdict::Hold { .. }), "{report:?}");
        let text = serde_json::to_string(&report).unwrap();
        let back: Report = serde_json::from_str(&text).unwrap();
        assert!(text.contains("FEW_GROUPS"), "{text}");
        assert_eq!((back.verdict, &back.reasons, back.matches), (report.verdict, &report.reasons, report.matches));
        assert!((back.rps.low - report.rps.low).abs() < 1e-9 && back.rps.low < -1e5, "nothing is sure after one day: {back:?}");
    }

    #[test]
    fn the_prior_is_what_the_other_matches_say() {
        let mut trial = Trial::new(2);
        for outcome in [0, 0, 1] {
            trial.add(&[0.5, 0.5], &[0.5, 0.5], outcome, "").unwrap();
        }
        // Without a match that was 0 there are one of each, and each once more: a half.
        let scores = trial.prior();
        assert!((scores[0] - 0.25).abs() < 1e-12 && (scores[2] - 0.5625).abs() < 1e-12, "{scores:?}");
    }
}
