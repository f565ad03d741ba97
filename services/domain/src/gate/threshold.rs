//! What a metric must reach, in the words of MLflow's `MetricThreshold`.

use serde::{Deserialize, Serialize};

/// Conditions on one metric; what is absent is not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricThreshold {
    /// The challenger's own score must be at least as good as this.
    #[serde(default)]
    pub threshold: Option<f64>,
    /// It must be better than the champion's by more than this.
    #[serde(default)]
    pub min_absolute_change: Option<f64>,
    /// The same as a part of the champion's score.
    #[serde(default)]
    pub min_relative_change: Option<f64>,
    /// Whether more is better.
    #[serde(default)]
    pub greater_is_better: bool,
}

impl MetricThreshold {
    /// Nothing is asked of a metric of which less is better.
    pub const LESS_IS_BETTER: Self =
        Self { threshold: None, min_absolute_change: None, min_relative_change: None, greater_is_better: false };

    /// Whether a challenger's own score is good enough.
    pub fn is_reached(&self, score: f64) -> bool {
        let good = |limit| if self.greater_is_better { score >= limit } else { score <= limit };
        self.threshold.is_none_or(good)
    }

    /// How much better one score is than another: negative when it is worse.
    pub fn improvement(&self, champion: f64, challenger: f64) -> f64 {
        if self.greater_is_better { challenger - champion } else { champion - challenger }
    }

    /// The improvement that has to be exceeded over a champion with this score; `None`: no improvement is asked for.
    pub fn required(&self, champion: f64) -> Option<f64> {
        let relative = self.min_relative_change.map(|part| part * champion.abs());
        match (self.min_absolute_change, relative) {
            (Some(absolute), Some(relative)) => Some(absolute.max(relative)),
            (absolute, relative) => absolute.or(relative),
        }
    }

    /// The first number that is none to ask for, by its name.
    pub fn wrong(&self) -> Option<&'static str> {
        let change = |value: Option<f64>| value.is_some_and(|value| !(value.is_finite() && value >= 0.0));
        if self.threshold.is_some_and(|value| !value.is_finite()) {
            return Some("threshold");
        }
        if change(self.min_absolute_change) {
            return Some("min_absolute_change");
        }
        change(self.min_relative_change).then_some("min_relative_change")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_changes_the_larger_is_required() {
        let asked = |absolute, relative| MetricThreshold {
            min_absolute_change: absolute,
            min_relative_change: relative,
            ..MetricThreshold::LESS_IS_BETTER
        };
        assert_eq!(asked(None, None).required(0.2), None);
        assert_eq!(asked(Some(0.001), None).required(0.2), Some(0.001));
        assert_eq!(asked(Some(0.001), Some(0.01)).required(0.2), Some(0.002));
        assert_eq!(asked(Some(-0.1), None).wrong(), Some("min_absolute_change"));
        assert_eq!(asked(None, Some(f64::NAN)).wrong(), Some("min_relative_change"));
    }

    #[test]
    fn better_depends_on_the_metric() {
        let less = MetricThreshold { threshold: Some(0.2), ..MetricThreshold::LESS_IS_BETTER };
        let more = MetricThreshold { greater_is_better: true, ..less };
        assert_eq!([less.is_reached(0.19), less.is_reached(0.21)], [true, false]);
        assert_eq!([more.is_reached(0.19), more.is_reached(0.21)], [false, true]);
        assert!(less.improvement(0.21, 0.20) > 0.0 && more.improvement(0.21, 0.20) < 0.0);
    }
}
