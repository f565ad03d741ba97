//! Differences of matches, and how sure their mean is.

/// A mean of differences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// Their mean.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// The mean of differences and its standard error, where those of a group (a match day) move together: `group[i] < groups` is that of
/// difference `i`.
///
/// The error is the larger of two. Clustered, `√(G/(G−1) · Σ_g (Σ_{i∈g} (d_i − d̄))²) / N` (Liang & Zeger, Biometrika 73, 1986; with few
/// clusters it is taken with Student's G − 1 degrees: Cameron & Miller, A Practitioner's Guide to Cluster-Robust Inference, J. Human
/// Resources 50, 2015). And that of independent matches: days whose differences happen to cancel are no evidence that they always do.
///
/// With fewer than two groups nothing is sure, and the error is infinite.
pub fn mean(differences: &[f64], group: &[u32], groups: usize) -> Mean {
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n.max(1.0);
    if groups < 2 {
        return Mean { mean, standard_error: f64::INFINITY };
    }
    let mut sums = vec![0.0; groups];
    let mut squares = 0.0;
    for (difference, group) in differences.iter().zip(group) {
        let centred = difference - mean;
        sums[*group as usize] += centred;
        squares += centred * centred;
    }
    let clusters = groups as f64;
    let clustered = clusters / (clusters - 1.0) * sums.iter().map(|sum| sum * sum).sum::<f64>() / (n * n);
    let independent = squares / ((n - 1.0) * n);
    Mean { mean, standard_error: clustered.max(independent).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_of_their_own_have_the_textbook_error() {
        let Mean { mean, standard_error } = mean(&[1.0, 2.0, 3.0, 4.0], &[0, 1, 2, 3], 4);
        assert!((mean - 2.5).abs() < 1e-12 && (standard_error - (5.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_day_that_repeats_itself_is_one_observation() {
        // Every difference ten times over, on its day: nothing new is known.
        let (once, days) = ([1.0, 2.0, 3.0, 4.0], [0, 1, 2, 3]);
        let often: Vec<f64> = once.iter().flat_map(|difference| [*difference; 10]).collect();
        let group: Vec<u32> = days.iter().flat_map(|day| [*day; 10]).collect();
        let (one, ten) = (mean(&once, &days, 4), mean(&often, &group, 4));
        assert!((one.standard_error - ten.standard_error).abs() < 1e-12, "{one:?} {ten:?}");
        let believed = mean(&often, &(0..40).collect::<Vec<_>>(), 40);
        assert!(believed.standard_error < ten.standard_error / 2.0, "taken for independent it would look sure");
    }

    #[test]
    fn differences_that_cancel_within_their_day_are_no_certainty() {
        let differences = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0];
        assert!(mean(&differences, &[0, 0, 1, 1, 2, 2], 3).standard_error > 0.4);
        assert_eq!(mean(&differences, &[0; 6], 1).standard_error, f64::INFINITY);
    }
}
