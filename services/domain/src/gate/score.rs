//! What one forecast is worth, once its outcome is known. Lower is better.

/// Probabilities below this count as this in [`log_loss`], so that one confident mistake does not outweigh everything: about the
/// rounding of a single-precision softmax.
pub const FLOOR: f64 = 1e-7;

/// Ranked probability score of classes in their order (home, draw, away): 0 is perfect, 1 the worst.
///
/// `Σ_{k<K} (P_k − O_k)² / (K − 1)` with cumulative probabilities `P` and outcome `O`: Epstein, A Scoring System for Probability
/// Forecasts of Ranked Categories, J. Appl. Meteorology 8, 1969; for football Constantinou & Fenton, JQAS 8(1), 2012.
pub fn rps(forecast: &[f64], outcome: usize) -> f64 {
    let (mut cumulated, mut sum) = (0.0, 0.0);
    for (class, probability) in forecast.iter().enumerate().take(forecast.len().saturating_sub(1)) {
        cumulated += probability;
        let happened = f64::from(u8::from(outcome <= class));
        sum += (cumulated - happened) * (cumulated - happened);
    }
    sum / forecast.len().saturating_sub(1).max(1) as f64
}

/// Negative logarithm of what was given to the outcome, in nats.
pub fn log_loss(forecast: &[f64], outcome: usize) -> f64 {
    -forecast.get(outcome).copied().unwrap_or_default().max(FLOOR).ln()
}

/// Total variation: half the sum of absolute differences, 0 for the same forecast, 1 for disjoint ones.
pub fn distance(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).sum::<f64>() / 2.0
}

/// The most likely class; the first of several.
pub fn most_likely(forecast: &[f64]) -> usize {
    let mut best = 0;
    for (class, probability) in forecast.iter().enumerate() {
        if *probability > forecast[best] {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_costs_less_than_a_far_one() {
        let home = [1.0, 0.0, 0.0];
        assert_eq!([0, 1, 2].map(|outcome| rps(&home, outcome)), [0.0, 0.5, 1.0]);
        // By hand: (0.5 − 0)² and (0.8 − 1)², halved.
        assert!((rps(&[0.5, 0.3, 0.2], 1) - 0.145).abs() < 1e-12);
        assert!((rps(&[0.25, 0.75], 1) - 0.0625).abs() < 1e-12, "two classes: the square of the miss");
    }

    #[test]
    fn a_confident_mistake_costs_much_and_not_everything() {
        assert!((log_loss(&[0.5, 0.25, 0.25], 0) - std::f64::consts::LN_2).abs() < 1e-12);
        assert!((log_loss(&[1.0, 0.0], 1) - 16.118).abs() < 1e-3);
    }

    #[test]
    fn distance_is_what_has_to_be_moved() {
        assert_eq!(distance(&[1.0, 0.0, 0.0], &[0.0, 0.0, 1.0]), 1.0);
        assert!((distance(&[0.5, 0.3, 0.2], &[0.4, 0.3, 0.3]) - 0.1).abs() < 1e-12);
        assert_eq!(most_likely(&[0.2, 0.4, 0.4]), 1);
    }
}
