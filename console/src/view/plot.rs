//! Numbers as little pictures.

use crate::model::endpoint::{Step, Worst};

const RAMP: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last `columns` values, the lowest at the bottom; flat where they are all the same.
pub fn spark(values: impl ExactSizeIterator<Item = f64>, columns: usize) -> String {
    let skip = values.len().saturating_sub(columns);
    let values: Vec<f64> = values.skip(skip).filter(|value| value.is_finite()).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min).min(0.0);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let step = |value: f64| {
        // Halved first: the span of two huge floats may not fit in one.
        let share = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
        RAMP[if share.is_finite() { (share * 7.0).round() as usize } else { 0 }.min(7)]
    };
    values.into_iter().map(step).collect()
}

/// The last `columns` values as bars of so many rows, the upper one first, from nothing to the most there is.
pub fn tall(values: impl ExactSizeIterator<Item = f64>, columns: usize, rows: usize) -> Vec<String> {
    let skip = values.len().saturating_sub(columns);
    let values: Vec<f64> = values.skip(skip).map(|value| if value.is_finite() { value.max(0.0) } else { 0.0 }).collect();
    let most = values.iter().copied().fold(0.0, f64::max);
    // In eighths of a row; something is never nothing.
    let eighths = |value: f64| match value / most {
        share if share > 0.0 => ((share * (8 * rows) as f64).round() as usize).max(1),
        _ => 0,
    };
    let cell = |value: f64, above: usize| match eighths(value).saturating_sub(8 * above) {
        0 => ' ',
        filled => RAMP[filled.min(8) - 1],
    };
    (0..rows).rev().map(|above| values.iter().map(|value| cell(*value, above)).collect()).collect()
}

/// A bar of at most `columns`, in whole cells; something is never nothing.
pub fn bar(share: f64, columns: usize) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let cells = (share * columns as f64).round() as usize;
    "█".repeat(if share > 0.0 { cells.clamp(1, columns.max(1)) } else { 0 })
}

/// A gauge `████░░░░ 63%`, or only what is done where the whole is not known.
pub fn gauge(share: Option<f64>, columns: usize) -> String {
    let Some(share) = share else { return format!("{:<columns$}", "") };
    let filled = ((share.clamp(0.0, 1.0) * columns as f64).floor() as usize).min(columns);
    format!("{}{}", "█".repeat(filled), "░".repeat(columns - filled))
}

/// The worst of each step: low is nothing, high is P1, hatched was not seen.
pub fn history(steps: impl ExactSizeIterator<Item = Worst>, columns: usize) -> String {
    let skip = steps.len().saturating_sub(columns);
    let sign = |worst: Worst| match worst {
        Worst::Blind => '░',
        Worst::Nothing => '▁',
        Worst::Open(severity) => RAMP[7 - severity as usize],
    };
    steps.skip(skip).map(sign).collect()
}

/// What there was to do in each step, the most at the top; where that is not known, the worst of each step.
pub fn load(steps: impl ExactSizeIterator<Item = Step> + Clone, columns: usize) -> String {
    let most = steps.clone().filter_map(|step| step.rate).fold(0.0, f64::max);
    if steps.clone().all(|step| step.rate.is_none()) {
        return history(steps.map(|step| step.worst), columns);
    }
    let skip = steps.len().saturating_sub(columns);
    let sign = |step: Step| match (step.worst, step.rate) {
        (Worst::Blind, _) => '░',
        (_, None) => ' ',
        (_, Some(rate)) if most > 0.0 => RAMP[((rate / most).clamp(0.0, 1.0) * 7.0).round() as usize],
        (_, Some(_)) => RAMP[0],
    };
    steps.skip(skip).map(sign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::standing::Severity;

    fn sparked(values: &[f64], columns: usize) -> String {
        spark(values.iter().copied(), columns)
    }

    #[test]
    fn a_plot_shows_the_last_values_and_survives_any_float() {
        assert_eq!(sparked(&[9.0, 0.0, 1.0, 2.0, 4.0, 7.0], 5), "▁▂▃▅█");
        assert_eq!(sparked(&[0.0, 0.0], 5), "▁▁");
        assert_eq!(sparked(&[f64::NAN, f64::INFINITY, 3.0], 5), "█");
        assert_eq!(sparked(&[f64::MIN, f64::MAX], 5), "▁█");
    }

    #[test]
    fn a_tall_plot_is_full_where_the_most_is_and_survives_any_float() {
        let tall = |values: &[f64]| tall(values.iter().copied(), 5, 2);
        assert_eq!(tall(&[7.0, 0.0, 0.001, 4.0, 6.0, 8.0]), ["   ▄█", " ▁███"].map(str::to_owned));
        assert_eq!(tall(&[f64::NAN, f64::MAX, f64::INFINITY, -1.0]), [" █  ", " █  "].map(str::to_owned));
        assert_eq!(tall(&[0.0, 0.0]), ["  ", "  "].map(str::to_owned));
        assert_eq!(tall(&[]), ["", ""].map(str::to_owned));
    }

    #[test]
    fn a_bar_of_something_is_never_empty_and_never_too_long() {
        assert_eq!([0.0, 1e-9, 0.5, 7.0, f64::NAN].map(|share| bar(share, 4).chars().count()), [0, 1, 2, 4, 0]);
        assert_eq!(gauge(Some(0.999), 4), "███░", "only what is done is full");
    }

    #[test]
    fn a_load_is_drawn_against_its_most_and_a_silence_as_one() {
        let step = |worst, rate| Step { worst, rate };
        let steps = [
            step(Worst::Blind, None),
            step(Worst::Nothing, Some(50.0)),
            step(Worst::Nothing, Some(100.0)),
            step(Worst::Nothing, None),
        ];
        assert_eq!(load(steps.into_iter(), 4), "░▅█ ");
        assert_eq!(load([step(Worst::Nothing, Some(0.0)), step(Worst::Nothing, Some(f64::NAN))].into_iter(), 9), "▁▁");
        assert_eq!(load([step(Worst::Open(Severity::P1), None)].into_iter(), 9), "█", "without a load, how it has been");
    }

    #[test]
    fn what_was_not_seen_is_not_flat() {
        let steps = [Worst::Blind, Worst::Nothing, Worst::Open(Severity::P1), Worst::Open(Severity::P5)];
        assert_eq!(history(steps.into_iter(), 4), "░▁█▄");
    }
}
