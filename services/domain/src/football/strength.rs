//! What a team did lately: form, rest, and rates of goals, shrunk to what is usual in its league.
//!
//! Rates are those of Maher, Modelling association football scores, Statistica Neerlandica 36, 1982, without his iteration: goals a match over
//! the league's. They are shrunk as if each team had played [`PRIOR_MATCHES`] usual matches before.

use super::history::{Appearance, History};
use crate::time::Day;

/// Matches that form looks back on.
pub const FORM_MATCHES: usize = 5;
/// Matches that rates of goals look back on: a season of twenty teams.
pub const RATE_MATCHES: usize = 38;
/// Usual matches that are added to a team's own.
pub const PRIOR_MATCHES: f64 = 8.0;
/// Matches of the league that say what is usual: two seasons.
pub const LEAGUE_MATCHES: usize = 760;
/// Goals of a home and of an away team where nothing is known of the league, counted as [`PRIOR_MATCHES`] of its matches.
pub const USUAL_GOALS: [f64; 2] = [1.5, 1.2];
/// Days of rest beyond which more make no difference; those of a team that had not played.
pub const MOST_REST_DAYS: i32 = 30;

/// Goals of a home and of an away team in a usual match of the league.
pub fn usual(history: &History, day: Day) -> [f64; 2] {
    let (goals, matches) = history.goals(day, LEAGUE_MATCHES);
    [0, 1].map(|side| (f64::from(goals[side]) + PRIOR_MATCHES * USUAL_GOALS[side]) / (matches as f64 + PRIOR_MATCHES))
}

/// Points a match of the last few, 0 to 3; what a usual match gives where there is none.
pub fn form(before: &[Appearance]) -> f64 {
    let lately = last(before, FORM_MATCHES);
    if lately.is_empty() {
        return USUAL_POINTS;
    }
    let points = lately.iter().map(|appearance| match appearance.scored.cmp(&appearance.conceded) {
        std::cmp::Ordering::Greater => 3.0,
        std::cmp::Ordering::Equal => 1.0,
        std::cmp::Ordering::Less => 0.0,
    });
    points.sum::<f64>() / lately.len() as f64
}

/// Points of a usual match, where a quarter of them is drawn.
const USUAL_POINTS: f64 = 1.375;

/// Goals scored and goals conceded, each over what is usual: 1 is usual, more is more goals.
pub fn rates(before: &[Appearance], usual: [f64; 2]) -> [f64; 2] {
    let lately = last(before, RATE_MATCHES);
    let of_a_team = (usual[0] + usual[1]) / 2.0;
    let rate = |goals: fn(&Appearance) -> u8| {
        let goals: f64 = lately.iter().map(|appearance| f64::from(goals(appearance))).sum();
        (goals + PRIOR_MATCHES * of_a_team) / ((lately.len() as f64 + PRIOR_MATCHES) * of_a_team)
    };
    [rate(|appearance| appearance.scored), rate(|appearance| appearance.conceded)]
}

/// Days since the last match.
pub fn rest(before: &[Appearance], day: Day) -> i32 {
    before.last().map_or(MOST_REST_DAYS, |last| (day.index() - last.day.index()).min(MOST_REST_DAYS))
}

fn last(before: &[Appearance], most: usize) -> &[Appearance] {
    &before[before.len().saturating_sub(most)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appearances(goals: &[(u8, u8)]) -> Vec<Appearance> {
        let at = |(at, (scored, conceded)): (usize, &(u8, u8))| Appearance {
            day: Day::from_index(at as i32 * 7),
            scored: *scored,
            conceded: *conceded,
            rating: 0.0,
        };
        goals.iter().enumerate().map(at).collect()
    }

    #[test]
    fn form_is_of_the_last_five() {
        let all = appearances(&[(0, 1), (0, 1), (2, 0), (1, 1), (3, 2), (0, 4), (5, 0)]);
        assert!((form(&all) - 10.0 / 5.0).abs() < 1e-12);
        assert_eq!(form(&[]), USUAL_POINTS);
    }

    #[test]
    fn a_rate_is_shrunk_to_what_is_usual() {
        let usual = [1.5, 1.0];
        assert_eq!(rates(&[], usual), [1.0, 1.0]);
        let [scored, conceded] = rates(&appearances(&[(5, 0), (5, 0)]), usual);
        // By hand: (10 + 8 · 1.25) / (10 · 1.25), and (0 + 8 · 1.25) / (10 · 1.25).
        assert!((scored - 1.6).abs() < 1e-12 && (conceded - 0.8).abs() < 1e-12, "{scored} {conceded}");
    }

    #[test]
    fn rest_has_an_end() {
        let all = appearances(&[(1, 0), (1, 0)]);
        assert_eq!(rest(&all, Day::from_index(10)), 3);
        assert_eq!(rest(&all, Day::from_index(1_000)), MOST_REST_DAYS);
        assert_eq!(rest(&[], Day::from_index(0)), MOST_REST_DAYS);
    }
}
