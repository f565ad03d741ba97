//! The contract's words for the gate.

use super::evidence::Evaluation;
use crate::tensors::Invalid;
use loadline_domain::gate::{self, Change, Changes, Comparison, Rules, Verdict};
use loadline_proto::serving::{
    GateComparison, GateDifference, GateDifferences, GateEvaluation, GateRules, MetricThreshold, gate_evaluation,
};

/// What is asked for, over the defaults.
///
/// # Errors
/// The first field that makes no sense.
pub fn rules(given: Option<&GateRules>) -> Result<Rules, crate::status::ServingError> {
    let mut rules = Rules::default();
    if let Some(GateRules { rps, log_loss, calibration_limit, effect, confidence, power, least_groups }) = given {
        rules.rps = rps.as_ref().map_or(rules.rps, threshold);
        rules.log_loss = log_loss.as_ref().map_or(rules.log_loss, threshold);
        rules.calibration_limit = calibration_limit.unwrap_or(rules.calibration_limit);
        rules.effect = effect.unwrap_or(rules.effect);
        rules.confidence = confidence.unwrap_or(rules.confidence);
        rules.power = power.unwrap_or(rules.power);
        rules.least_groups = least_groups.unwrap_or(rules.least_groups);
    }
    match rules.wrong() {
        Some((field, detail)) => Err(Invalid::new(format!("rules.{field}"), detail).into()),
        None => Ok(rules),
    }
}

fn threshold(given: &MetricThreshold) -> gate::MetricThreshold {
    let MetricThreshold { threshold, min_absolute_change, min_relative_change, greater_is_better } = *given;
    gate::MetricThreshold { threshold, min_absolute_change, min_relative_change, greater_is_better }
}

/// An evaluation.
pub fn evaluation(model: &str, alias: &str, evaluation: &Evaluation) -> GateEvaluation {
    let report = &evaluation.evidence.report;
    let (verdict, more_matches) = match report.verdict {
        Verdict::Promote => (gate_evaluation::Verdict::Promote, 0),
        Verdict::Hold { more_matches } => (gate_evaluation::Verdict::Hold, more_matches),
        Verdict::Reject => (gate_evaluation::Verdict::Reject, 0),
    };
    GateEvaluation {
        id: evaluation.id,
        model: model.to_owned(),
        alias: alias.to_owned(),
        champion_version: evaluation.champion,
        challenger_version: evaluation.challenger,
        verdict: verdict.into(),
        more_matches,
        reasons: report.reasons.iter().map(ToString::to_string).collect(),
        matches: report.matches,
        groups: report.groups,
        rps: Some(comparison(&report.rps)),
        log_loss: Some(comparison(&report.log_loss)),
        calibration: Some(comparison(&report.calibration)),
        skill: Some(comparison(&report.skill)),
        champion_does_harm: report.champion_does_harm(),
        differences: Some(differences(&report.changes)),
    }
}

/// What callers would see.
pub fn differences(changes: &Changes) -> GateDifferences {
    let Changes { rows, changed_class, mean_distance, max_distance, ref most } = *changes;
    let most = most.iter().cloned().map(|Change { row, group, distance, champion, challenger }| GateDifference {
        row,
        group,
        distance,
        champion,
        challenger,
    });
    GateDifferences { rows, changed_class, mean_distance, max_distance, most: most.collect() }
}

/// One metric of both.
pub fn comparison(comparison: &Comparison) -> GateComparison {
    let Comparison { champion, challenger, improvement, standard_error, low, high } = *comparison;
    GateComparison { champion, challenger, improvement, standard_error, low, high }
}
