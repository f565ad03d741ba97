//! Features of matches, over generated leagues.

#![allow(clippy::unwrap_used)] // The helpers of tests are tests too.

use loadline_domain::{
    football::{
        History, Match, elo,
        features::{NAMES, features, id},
    },
    time::Day,
};
use proptest::prelude::*;

const TEAMS: [&str; 6] = ["Ash", "Birch", "Cedar", "Elm", "Fir", "Oak"];
/// 2021-01-01: the days that follow go over several seasons.
const FIRST: i32 = 18_628;
const DAYS: i32 = 900;

fn a_match() -> impl Strategy<Value = Match> {
    (0..DAYS, 0..TEAMS.len(), 1..TEAMS.len(), 0_u8..7, 0_u8..7).prop_map(|(day, home, further, home_goals, away_goals)| Match {
        day: Day::from_index(FIRST + day),
        home: TEAMS[home].to_owned(),
        away: TEAMS[(home + further) % TEAMS.len()].to_owned(),
        home_goals,
        away_goals,
    })
}

/// Matches of which each is once, so that none stands for another.
fn matches() -> impl Strategy<Value = Vec<Match>> {
    proptest::collection::vec(a_match(), 1..120).prop_map(|mut matches| {
        matches.sort();
        matches.dedup_by(|one, other| (one.day, &one.home, &one.away) == (other.day, &other.home, &other.away));
        matches
    })
}

/// Features of all fixtures, and the name of what they come from, bit by bit.
fn known(history: &History, as_of: Day) -> Vec<(Vec<u32>, String)> {
    let pairs = TEAMS.iter().flat_map(|home| TEAMS.iter().map(move |away| (*home, *away)));
    let of = |(home, away)| features(history, home, away, Day::from_index(as_of.index() + 3), as_of).ok();
    let bits = pairs.filter_map(of).map(|values| values.iter().map(|value| value.to_bits()).collect());
    bits.map(|bits| (bits, history.generation(as_of).to_string())).collect()
}

/// All teams are known to it, whatever else is.
fn league(mut matches: Vec<Match>) -> History {
    for pair in TEAMS.chunks(2) {
        let (home, away) = (pair[0].to_owned(), pair[1].to_owned());
        matches.push(Match { day: Day::from_index(FIRST - 400), home, away, home_goals: 1, away_goals: 1 });
    }
    History::new(matches)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_happens_on_a_day_and_after_it_moves_no_bit_of_what_was_known(all in matches(), more in matches(), at in 0..DAYS) {
        let as_of = Day::from_index(FIRST + at);
        let past: Vec<_> = all.iter().filter(|played| played.day < as_of).cloned().collect();
        let mut other = past.clone();
        other.extend(more.into_iter().filter(|played| played.day >= as_of));
        let expected = known(&league(past), as_of);
        prop_assert_eq!(expected.len(), TEAMS.len() * (TEAMS.len() - 1));
        prop_assert_eq!(&known(&league(all), as_of), &expected);
        prop_assert_eq!(&known(&league(other), as_of), &expected);
    }

    #[test]
    fn the_order_in_which_matches_come_means_nothing((all, shuffled) in matches().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))) {
        let end = Day::from_index(FIRST + DAYS);
        prop_assert_eq!(History::new(all.clone()).whole(), History::new(shuffled.clone()).whole());
        prop_assert_eq!(known(&league(all), end), known(&league(shuffled), end));
    }

    #[test]
    fn points_go_from_one_team_to_another_and_are_never_made(all in matches(), at in 0..DAYS + 800) {
        let (history, day) = (league(all), Day::from_index(FIRST + at));
        let sum: f64 = history.teams().map(|team| history.rating(team, day)).sum();
        prop_assert!((sum - elo::START * TEAMS.len() as f64).abs() < 1e-6, "{}", sum);
    }

    #[test]
    fn a_result_that_changes_makes_another_generation_from_its_day_on(all in matches(), which in any::<prop::sample::Index>()) {
        let before = History::new(all.clone());
        let mut changed = all;
        let at = which.index(changed.len());
        changed[at].home_goals += 1;
        let (day, after) = (changed[at].day, History::new(changed));
        prop_assert_eq!(before.generation(day), after.generation(day));
        prop_assert_ne!(before.generation(Day::from_index(day.index() + 1)), after.generation(Day::from_index(day.index() + 1)));
        prop_assert_ne!(before.whole(), after.whole());
    }
}

#[test]
fn the_stronger_team_at_home_is_ahead_in_every_feature_that_says_so() {
    let day = |at| Day::from_index(FIRST + at);
    let played = |at: i32, home: &str, away: &str, home_goals, away_goals| {
        let (home, away) = (home.to_owned(), away.to_owned());
        Match { day: day(at), home, away, home_goals, away_goals }
    };
    let history = History::new(vec![
        played(0, "Oak", "Fir", 4, 0),
        played(7, "Fir", "Oak", 0, 3),
        played(14, "Oak", "Fir", 2, 0),
        played(15, "Elm", "Fir", 1, 0),
    ]);
    let known = features(&history, "Oak", "Fir", day(20), day(20)).unwrap();
    let of = |name: &str| known[NAMES.iter().position(|known| *known == name).unwrap()];
    assert!(of("elo_home") > 1_500.0 && of("elo_away") < 1_500.0);
    assert!((of("elo_difference") - (of("elo_home") - of("elo_away") + 65.0)).abs() < 1e-3);
    assert!(of("attack_home") > of("attack_away") && of("defence_home") < of("defence_away"));
    assert_eq!((of("form_home"), of("form_away")), (3.0, 0.0));
    assert_eq!((of("rest_days_home"), of("rest_days_away")), (6.0, 5.0));
    assert!(features(&history, "Oak", "Oak", day(20), day(20)).is_err());
    assert!(features(&history, "Oak", "Larch", day(20), day(20)).is_err());
}

#[test]
fn the_name_of_the_set_changes_only_on_purpose() {
    // Models are made for a set by this name: whoever changes a feature makes them refuse, and must mean it.
    assert_eq!(id(), "football-1-f1d701993fb1");
}
