//! What becomes of scores before they are answered.

use super::super::{CheckError, attributes::Attributes};

/// A transform of the scores of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Post {
    None,
    Logistic,
    Softmax,
    /// Softmax in which a score of zero stays next to nothing.
    SoftmaxZero,
    Probit,
}

impl Post {
    pub(super) fn of(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        Ok(match attributes.text("post_transform", "NONE")? {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            other => return Err(attributes.unsound(format!("post_transform {other} is not known"))),
        })
    }

    /// Transforms the scores of one row, of two classes or more.
    pub(super) fn many(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
            Self::Softmax => softmax(scores, |_| false),
            Self::SoftmaxZero => softmax(scores, |score| score.abs() <= 1e-7),
        }
    }

    /// The two scores that one score of the positive class stands for; `complement` if it is a share of one.
    pub(super) fn both(self, score: f32, complement: bool) -> [f32; 2] {
        match self {
            _ if complement => [1.0 - score, score],
            Self::Logistic => [logistic(-score), logistic(score)],
            _ => [-score, score],
        }
    }
}

pub(super) fn logistic(score: f32) -> f32 {
    let share = 1.0 / (1.0 + (-score.abs()).exp());
    if score < 0.0 { 1.0 - share } else { share }
}

/// Inverse of the normal distribution function, by Winitzki's approximation of the inverse error function.
pub(super) fn probit(share: f32) -> f32 {
    const A: f32 = 0.147;
    let x = 2.0 * share - 1.0;
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (std::f32::consts::PI * A) + 0.5 * log;
    let inverse = (-half + (half * half - log / A).sqrt()).sqrt();
    std::f32::consts::SQRT_2 * if x < 0.0 { -inverse } else { inverse }
}

fn softmax(scores: &mut [f32], skipped: impl Fn(f32) -> bool) {
    let highest = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if skipped(*score) {
            *score *= (-highest).exp();
        } else {
            *score = (*score - highest).exp();
            sum += *score;
        }
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// Place of the highest score, the first of equals.
pub(super) fn highest(scores: &[f32]) -> usize {
    let mut best = 0;
    for (at, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logistic_of_a_large_score_is_still_a_share() {
        assert_eq!(logistic(200.0), 1.0);
        assert!(logistic(-200.0) >= 0.0);
        assert_eq!(logistic(0.0), 0.5);
    }

    #[test]
    fn shares_of_a_softmax_add_up_to_one_for_large_scores_too() {
        let mut scores = [1000.0, 1001.0, 999.0];
        Post::Softmax.many(&mut scores);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(scores[1] > scores[0] && scores[0] > scores[2]);
    }

    #[test]
    fn a_probit_is_odd_around_a_half() {
        assert!(probit(0.5).abs() < 1e-3);
        assert!((probit(0.8) + probit(0.2)).abs() < 1e-4);
        assert!((probit(0.975) - 1.96).abs() < 0.01);
    }
}
