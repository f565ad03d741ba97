//! Elo ratings: Elo, The Rating of Chessplayers, Past and Present, 1978; for football with home advantage and margin of victory Hvattum
//! & Arntzen, Using ELO match result information for association football, Int. J. Forecasting 26, 2010 (their ELO_g).
//!
//! `E = 1 / (1 + 10^(−d / SCALE))` is what the home team is expected to get of a match, where `d` is its rating and [`HOME_ADVANTAGE`]
//! less the other's; after it `K · (1 + margin)^MARGIN · (S − E)` goes from one team to the other, with `S` 1 for a win, ½ for a draw.

/// Points at stake in a match without a margin.
pub const K: f64 = 10.0;
/// Points that a home team counts more than its rating.
pub const HOME_ADVANTAGE: f64 = 65.0;
/// Points of difference at which ten wins are expected to one.
pub const SCALE: f64 = 400.0;
/// How much more a clear win moves, as an exponent.
pub const MARGIN: f64 = 0.8;
/// Rating of a team that nothing is known of.
pub const START: f64 = 1_500.0;
/// Share of its distance from [`START`] that a team takes into its next season.
pub const CARRY_OVER: f64 = 0.9;

/// Points that the home team wins from the other, by the ratings before the match.
pub fn exchange(home: f64, away: f64, home_goals: u8, away_goals: u8) -> f64 {
    let margin = f64::from(home_goals.abs_diff(away_goals));
    let stake = if margin > 0.0 { K * (1.0 + margin).powf(MARGIN) } else { K };
    let got = match home_goals.cmp(&away_goals) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    stake * (got - expected(home, away))
}

/// What the home team is expected to get: 1 is a win, 0 a loss.
pub fn expected(home: f64, away: f64) -> f64 {
    1.0 / (1.0 + 10_f64.powf(-difference(home, away) / SCALE))
}

/// How much stronger the home team is on its ground, in points.
pub fn difference(home: f64, away: f64) -> f64 {
    home + HOME_ADVANTAGE - away
}

/// A rating so many seasons later, without a match between.
pub fn carried(rating: f64, seasons: i32) -> f64 {
    START + (rating - START) * CARRY_OVER.powi(seasons.max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_teams_on_no_ground_have_even_chances_and_a_draw_moves_nothing() {
        assert!((expected(START, START + HOME_ADVANTAGE) - 0.5).abs() < 1e-12);
        assert!(exchange(START, START + HOME_ADVANTAGE, 1, 1).abs() < 1e-9);
    }

    #[test]
    fn four_hundred_points_are_ten_wins_to_one() {
        assert!((expected(START + SCALE, START + HOME_ADVANTAGE) - 10.0 / 11.0).abs() < 1e-12);
    }

    #[test]
    fn a_clear_win_moves_more_and_a_surprise_most() {
        let narrow = exchange(START, START, 1, 0);
        let clear = exchange(START, START, 4, 0);
        let surprise = exchange(START, START, 0, 1);
        assert!(0.0 < narrow && narrow < clear && narrow < -surprise, "{narrow} {clear} {surprise}");
        // By hand: K · 2^0.8 · (1 − 1 / (1 + 10^(−65/400))).
        assert!((narrow - 10.0 * 2_f64.powf(0.8) * (1.0 - 1.0 / (1.0 + 10_f64.powf(-0.1625)))).abs() < 1e-12);
    }

    #[test]
    fn a_season_brings_everybody_nearer_to_the_middle() {
        assert!((carried(1_600.0, 1) - 1_590.0).abs() < 1e-9 && (carried(1_400.0, 2) - 1_419.0).abs() < 1e-9);
        assert_eq!(carried(1_600.0, 0).to_bits(), 1_600.0_f64.to_bits());
    }
}
