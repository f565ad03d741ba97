//! Quantiles of the normal and of Student's distribution.

/// The value that a standard normal variable stays below with this probability (0 < p < 1), to seven digits: Wichura, Algorithm AS 241
/// (PPND7), Applied Statistics 37, 1988.
pub(super) fn quantile(probability: f64) -> f64 {
    let centred = probability - 0.5;
    if centred.abs() <= 0.425 {
        let r = 0.180_625 - centred * centred;
        let above = [3.387_132_717_9, 50.434_271_938, 159.291_132_02, 59.109_374_720];
        return centred * polynomial(&above, r) / polynomial(&[1.0, 17.895_169_469, 78.757_757_664, 67.187_563_600], r);
    }
    let tail = (-probability.min(1.0 - probability).ln()).sqrt();
    let value = if tail <= 5.0 {
        let above = [1.423_437_277_7, 2.756_815_390_0, 1.306_728_481_6, 0.170_238_211_03];
        polynomial(&above, tail - 1.6) / polynomial(&[1.0, 0.737_001_642_50, 0.120_211_329_75], tail - 1.6)
    } else {
        let above = [6.657_905_115_0, 3.081_226_386_0, 0.428_682_943_37, 0.017_337_203_997];
        polynomial(&above, tail - 5.0) / polynomial(&[1.0, 0.241_978_942_25, 0.012_258_202_635], tail - 5.0)
    };
    value.copysign(centred)
}

/// The same of Student's distribution with so many degrees of freedom: the expansion in Abramowitz & Stegun 26.7.5, good to four
/// digits from ten degrees upwards, and too wide rather than too narrow to matter below, where nothing is decided.
pub(super) fn student(probability: f64, degrees: u64) -> f64 {
    let z = quantile(probability);
    let (n, s) = (degrees.max(1) as f64, z * z);
    let first = z * polynomial(&[1.0, 1.0], s) / 4.0;
    let second = z * polynomial(&[3.0, 16.0, 5.0], s) / 96.0;
    let third = z * polynomial(&[-15.0, 17.0, 19.0, 3.0], s) / 384.0;
    let fourth = z * polynomial(&[-945.0, -1_920.0, 1_482.0, 776.0, 79.0], s) / 92_160.0;
    z + (first + (second + (third + fourth / n) / n) / n) / n
}

/// Coefficients from the constant upwards.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let table = [(0.5, 0.0), (0.8, 0.841_621_2), (0.95, 1.644_853_6), (0.975, 1.959_964), (0.001, -3.090_232_3)];
        for (probability, value) in table.into_iter().chain([(1e-9, -5.997_807_0), (1e-13, -7.348_796_1)]) {
            assert!((quantile(probability) - value).abs() < 2e-5, "{probability}: {}", quantile(probability));
        }
        for (probability, degrees, value) in [
            (0.95, 19, 1.729_133),
            (0.95, 10, 1.812_461),
            (0.975, 30, 2.042_272),
            (0.8, 12, 0.872_609),
            (0.95, 1 << 40, 1.644_854),
        ] {
            assert!((student(probability, degrees) - value).abs() < 2e-4, "{probability} of {degrees}");
        }
    }
}
