//! The three verdicts, and how many more matches a decision takes.

use super::{MetricThreshold, Report, normal, trial::Comparison};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is asked of a challenger.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Ranked probability score, which decides: without a change asked for, any that is sure.
    pub rps: MetricThreshold,
    /// Logarithmic loss: without a change asked for, the challenger must not be worse for sure.
    pub log_loss: MetricThreshold,
    /// How much larger the challenger's calibration error may be than the champion's.
    pub calibration_limit: f64,
    /// The improvement of the ranked probability score that would be missed, on top of the change asked for.
    pub effect: f64,
    /// How sure a verdict has to be, one-sided: 0.95 promotes a challenger that is no better in one of twenty trials at most.
    pub confidence: f64,
    /// With what probability a challenger better by `effect` should be promoted.
    pub power: f64,
    /// Fewer groups decide nothing.
    pub least_groups: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            rps: MetricThreshold::LESS_IS_BETTER,
            log_loss: MetricThreshold::LESS_IS_BETTER,
            calibration_limit: 0.01,
            effect: 0.001,
            confidence: 0.95,
            power: 0.8,
            least_groups: 20,
        }
    }
}

impl Rules {
    /// Fewest groups that can be asked for: below, the error of a mean is too unsure itself.
    pub const FEWEST_GROUPS: u64 = 10;

    /// The first field that makes no sense, and what it should be.
    pub fn wrong(&self) -> Option<(String, String)> {
        let metrics = [("rps", &self.rps), ("log_loss", &self.log_loss)];
        for (name, metric) in metrics {
            if let Some(field) = metric.wrong() {
                return Some((
                    format!("{name}.{field}"),
                    "is no number that can be asked for; give one from 0 upwards".to_owned(),
                ));
            }
            if metric.greater_is_better {
                return Some((format!("{name}.greater_is_better"), "is wrong: of this metric less is better".to_owned()));
            }
        }
        let between = |value: f64, least: f64, most: f64| value >= least && value <= most;
        let fields = [
            ("calibration_limit", between(self.calibration_limit, 0.0, 1.0), "0 to 1"),
            ("effect", between(self.effect, 1e-6, 1.0), "0.000001 to 1"),
            ("confidence", between(self.confidence, 0.5, 0.9999), "0.5 to 0.9999"),
            ("power", between(self.power, 0.5, 0.9999), "0.5 to 0.9999"),
            ("least_groups", self.least_groups >= Self::FEWEST_GROUPS, "10 or more"),
        ];
        let wrong = fields.into_iter().find(|(_, good, _)| !good);
        wrong.map(|(name, _, range)| (name.to_owned(), format!("has to be {range}")))
    }
}

/// What becomes of a challenger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Better, for sure.
    Promote,
    /// Not known yet: so many more matches, as varied as these, decide it.
    Hold {
        /// At least 1; 2^53 - 1: more than can be told from so few groups.
        more_matches: u64,
    },
    /// Not to be promoted; the reasons say why.
    Reject,
}

/// What speaks against a promotion, or is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// Both answer every row alike.
    SameAnswers,
    /// Its ranked probability score is worse, for sure.
    RpsWorse,
    /// Its logarithmic loss is worse, for sure.
    LogLossWorse,
    /// Its ranked probability score is not as good as was asked for.
    RpsThreshold,
    /// Its logarithmic loss is not as good as was asked for.
    LogLossThreshold,
    /// Its calibration is worse by more than the limit, for sure.
    CalibrationWorse,
    /// An improvement worth having would have shown.
    NoImprovement,
    /// Too few groups to tell chance from difference.
    FewGroups,
    /// The improvement may be chance.
    RpsUnsure,
    /// The logarithmic loss may not have improved as asked for.
    LogLossUnsure,
    /// Calibration looks worse by more than the limit, which may be chance.
    CalibrationUnsure,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameAnswers => "both answer every row alike",
            Self::RpsWorse => "its ranked probability score is worse",
            Self::LogLossWorse => "its log-loss is worse",
            Self::RpsThreshold => "its ranked probability score is not as good as asked for",
            Self::LogLossThreshold => "its log-loss is not as good as asked for",
            Self::CalibrationWorse => "its calibration is worse by more than the limit",
            Self::NoImprovement => "an improvement worth having would have shown by now",
            Self::FewGroups => "too few groups to tell a difference from chance",
            Self::RpsUnsure => "the improvement may be chance",
            Self::LogLossUnsure => "the log-loss may not have improved as asked for",
            Self::CalibrationUnsure => "calibration looks worse by more than the limit, which may be chance",
        })
    }
}

/// Decides, and says why.
pub(super) fn of(report: &Report, rules: &Rules) -> (Verdict, Vec<Reason>) {
    let required = rules.rps.required(report.rps.champion).unwrap_or_default();
    let against = against(report, rules, required);
    if !against.is_empty() {
        return (Verdict::Reject, against);
    }
    let unsure = unsure(report, rules, required);
    match unsure.iter().map(|(_, more)| *more).max() {
        None => (Verdict::Promote, vec![]),
        Some(more) => (Verdict::Hold { more_matches: more.max(1) }, unsure.into_iter().map(|(reason, _)| reason).collect()),
    }
}

/// What speaks against it, for sure.
fn against(report: &Report, rules: &Rules, required: f64) -> Vec<Reason> {
    let Report { rps, log_loss, calibration, .. } = report;
    let mut against = Vec::new();
    let mut when = |condition: bool, reason| against.extend(condition.then_some(reason));
    if report.groups >= rules.least_groups {
        when(rps.high < 0.0, Reason::RpsWorse);
        when(log_loss.high < 0.0, Reason::LogLossWorse);
        when(calibration.high < -rules.calibration_limit, Reason::CalibrationWorse);
        when(!rules.rps.is_reached(rps.challenger), Reason::RpsThreshold);
        when(!rules.log_loss.is_reached(log_loss.challenger), Reason::LogLossThreshold);
        when(report.changes.max_distance == 0.0, Reason::SameAnswers);
        // With enough matches for its power, a trial that does not promote has seen that there is nothing worth having.
        let in_vain = rps.low <= required && (rps.high < required + rules.effect || missing(report, rules) == 0);
        when(in_vain && rps.high >= 0.0 && report.changes.max_distance > 0.0, Reason::NoImprovement);
    }
    against
}

/// What is not known yet, each with how many more matches it takes.
fn unsure(report: &Report, rules: &Rules, required: f64) -> Vec<(Reason, u64)> {
    let mut unsure = Vec::new();
    if report.groups < rules.least_groups {
        let of_group = report.matches as f64 / report.groups.max(1) as f64;
        unsure.push((Reason::FewGroups, whole((rules.least_groups - report.groups) as f64 * of_group)));
    }
    if report.rps.low <= required {
        unsure.push((Reason::RpsUnsure, missing(report, rules)));
    }
    if let Some(required) = rules.log_loss.required(report.log_loss.champion)
        && report.log_loss.low <= required
    {
        unsure.push((Reason::LogLossUnsure, until_sure(report.matches, &report.log_loss, required)));
    }
    if report.calibration.improvement < -rules.calibration_limit {
        unsure.push((Reason::CalibrationUnsure, until_sure(report.matches, &report.calibration, -rules.calibration_limit)));
    }
    unsure
}

/// How many more matches a challenger that is better by `effect` needs to be promoted with the power asked for:
/// `((z_confidence + z_power) σ / effect)²`, and `z²/2` because σ is estimated (Guenther, The American Statistician 35, 1981). `σ²` is
/// that of a match together with what it shares with its day.
fn missing(report: &Report, rules: &Rules) -> u64 {
    let (confidence, power) = (normal::quantile(rules.confidence), normal::quantile(rules.power));
    let variance = report.matches as f64 * report.rps.standard_error * report.rps.standard_error;
    let needed =
        (confidence + power) * (confidence + power) * variance / (rules.effect * rules.effect) + confidence * confidence / 2.0;
    whole(needed).saturating_sub(report.matches)
}

/// How many more matches make an interval narrow enough that it leaves `limit` out, if its middle stays.
fn until_sure(matches: u64, comparison: &Comparison, limit: f64) -> u64 {
    let away = (comparison.improvement - limit).abs().max(1e-9);
    let wide = comparison.improvement - comparison.low;
    whole(matches as f64 * ((wide / away) * (wide / away) - 1.0).max(0.0))
}

/// Upwards; what is beyond any number of matches is the largest that JSON keeps.
fn whole(matches: f64) -> u64 {
    const MOST: f64 = 9_007_199_254_740_991.0;
    if matches.is_nan() { MOST as u64 } else { matches.ceil().clamp(0.0, MOST) as u64 }
}
