//! Calibration: of what was given 30 %, 30 % should happen.

use super::paired::Mean;

/// Bins of a class's probabilities, equally wide.
pub const BINS: usize = 10;

/// Where the forecasts of two models miss, by class and bin, and by group: enough for their error and for its own.
#[derive(Debug, Clone, Default)]
pub struct Reliability {
    classes: usize,
    matches: u64,
    /// Sum of probability minus outcome, for each class and bin; one list a model.
    sums: [Vec<f64>; 2],
    /// What each forecast added: group, model, place, how much.
    parts: Vec<(u32, u8, u16, f64)>,
}

impl Reliability {
    /// Of forecasts over so many classes.
    pub fn new(classes: usize) -> Self {
        let sums = [vec![0.0; classes * BINS], vec![0.0; classes * BINS]];
        Self { classes, sums, ..Self::default() }
    }

    /// Adds a match.
    pub fn add(&mut self, forecasts: [&[f64]; 2], outcome: usize, group: u32) {
        self.matches += 1;
        for (model, forecast) in forecasts.into_iter().enumerate() {
            for (class, probability) in forecast.iter().enumerate().take(self.classes) {
                let place = class * BINS + bin(*probability);
                let miss = probability - f64::from(u8::from(class == outcome));
                self.sums[model][place] += miss;
                self.parts.push((group, model as u8, place as u16, miss));
            }
        }
    }

    /// Classwise expected calibration error of both: `Σ_k Σ_b |Σ_{i∈b} (p_ik − o_ik)| / (K N)` (Kull et al., Beyond temperature scaling,
    /// NeurIPS 2019). It is above 0 for a perfect model too, by chance, and for both models alike.
    pub fn errors(&self) -> [f64; 2] {
        let scale = (self.classes as f64 * self.matches as f64).max(1.0);
        [0, 1].map(|model: usize| self.sums[model].iter().map(|sum| sum.abs()).sum::<f64>() / scale)
    }

    /// How much better the second is calibrated than the first, with a standard error by leaving out one group after the other (the
    /// jackknife: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 11).
    pub fn improvement(&self, groups: usize) -> Mean {
        let [first, second] = self.errors();
        let mean = first - second;
        if groups < 2 {
            return Mean { mean, standard_error: f64::INFINITY };
        }
        let without = self.without_each(groups);
        let count = without.len() as f64;
        let middle = without.iter().sum::<f64>() / count;
        let spread: f64 = without.iter().map(|value| (value - middle) * (value - middle)).sum();
        Mean { mean, standard_error: ((count - 1.0) / count * spread).sqrt() }
    }

    /// The improvement without the first group, without the second, …
    fn without_each(&self, groups: usize) -> Vec<f64> {
        let mut parts = self.parts.clone();
        parts.sort_by_key(|(group, model, place, _)| (*group, *model, *place));
        let totals = [0, 1].map(|model: usize| self.sums[model].iter().map(|sum| sum.abs()).sum::<f64>());
        let mut values = Vec::with_capacity(groups);
        for of_group in parts.chunk_by(|one, other| one.0 == other.0) {
            let mut left = totals;
            for at_place in of_group.chunk_by(|one, other| (one.1, one.2) == (other.1, other.2)) {
                let (_, model, place, _) = at_place[0];
                let sum = self.sums[usize::from(model)][usize::from(place)];
                let part: f64 = at_place.iter().map(|(_, _, _, miss)| miss).sum();
                left[usize::from(model)] += (sum - part).abs() - sum.abs();
            }
            let matches = self.matches as f64 - of_group.len() as f64 / (2 * self.classes) as f64;
            values.push((left[0] - left[1]) / (self.classes as f64 * matches).max(1.0));
        }
        values
    }
}

fn bin(probability: f64) -> usize {
    ((probability * BINS as f64) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten days of ten matches each: the first class happens three times in ten.
    fn season(first: f64, second: f64) -> Reliability {
        let mut season = Reliability::new(2);
        for at in 0..100_u32 {
            let outcome = usize::from(at % 10 >= 3);
            season.add([&[first, 1.0 - first], &[second, 1.0 - second]], outcome, at / 10);
        }
        season
    }

    #[test]
    fn what_happens_as_often_as_was_said_has_no_error() {
        let [right, wrong] = season(0.3, 0.45).errors();
        assert!(right < 1e-9 && (wrong - 0.15).abs() < 1e-9, "{right} {wrong}");
    }

    #[test]
    fn leaving_out_days_that_are_all_alike_changes_nothing() {
        let improvement = season(0.45, 0.3).improvement(10);
        assert!((improvement.mean - 0.15).abs() < 1e-9 && improvement.standard_error < 1e-9, "{improvement:?}");
    }

    #[test]
    fn the_jackknife_is_what_leaving_out_each_day_by_hand_gives() {
        let day = |at: u32| at / 10;
        let outcome = |at: u32| usize::from((at * at + at / 7) % 10 >= 4);
        let forecasts = |at: u32| [[0.25, 0.75], [0.05 + f64::from(at % 9) / 10.0, 0.95 - f64::from(at % 9) / 10.0]];
        let without = |left_out: u32| {
            let mut rest = Reliability::new(2);
            for at in (0..100).filter(|at| day(*at) != left_out) {
                let [first, second] = forecasts(at);
                rest.add([&first, &second], outcome(at), day(at));
            }
            rest
        };
        let all = without(99);
        let by_hand: Vec<f64> = (0..10).map(|day| without(day).errors()).map(|[first, second]| first - second).collect();
        for (quick, slow) in all.without_each(10).iter().zip(&by_hand) {
            assert!((quick - slow).abs() < 1e-12, "{quick} {slow}");
        }
        assert!(all.improvement(10).standard_error > 0.0);
    }

    #[test]
    fn a_certainty_has_a_bin() {
        assert_eq!([0.0, 0.1, 0.999, 1.0, 1.0005].map(bin), [0, 1, 9, 9, 9]);
    }
}
