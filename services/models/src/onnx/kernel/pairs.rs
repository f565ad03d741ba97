//! Probabilities of classes from probabilities of pairs of classes, by the second method of Wu, Lin and Weng, "Probability Estimates
//! for Multi-class Classification by Pairwise Coupling" (JMLR 5, 2004), which libsvm uses.

/// Steps after which the answer is taken as it is.
const STEPS: usize = 100;

/// Probabilities of `n` classes; `pair(i, j)` is the probability of `i` when it is `i` or `j`.
pub(super) fn couple(n: usize, pair: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let q = quadratic(n, pair);
    let mut p = vec![1.0 / n as f32; n];
    let close_enough = 0.005 / n as f32;
    for _ in 0..STEPS {
        let mut qp: Vec<f32> = q.iter().map(|row| row.iter().zip(&p).map(|(a, b)| a * b).sum()).collect();
        let mut pqp: f32 = p.iter().zip(&qp).map(|(a, b)| a * b).sum();
        if qp.iter().all(|value| (value - pqp).abs() < close_enough) {
            break;
        }
        for t in 0..n {
            let step = (pqp - qp[t]) / q[t][t];
            p[t] += step;
            pqp = (pqp + step * (step * q[t][t] + 2.0 * qp[t])) / (1.0 + step) / (1.0 + step);
            for j in 0..n {
                qp[j] = (qp[j] + step * q[t][j]) / (1.0 + step);
                p[j] /= 1.0 + step;
            }
        }
    }
    p
}

/// The matrix whose quadratic form the probabilities make small.
fn quadratic(n: usize, pair: impl Fn(usize, usize) -> f32) -> Vec<Vec<f32>> {
    let cell = |t: usize, j: usize| {
        if t == j {
            (0..n).filter(|&other| other != t).map(|other| pair(other, t).powi(2)).sum()
        } else {
            -pair(j, t) * pair(t, j)
        }
    };
    (0..n).map(|t| (0..n).map(|j| cell(t, j)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_come_from_probabilities_give_them_back() {
        let wanted = [0.5_f32, 0.3, 0.2];
        let found = couple(3, |i, j| wanted[i] / (wanted[i] + wanted[j]));
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 5e-3, "{found} is not {wanted}");
        }
    }
}
