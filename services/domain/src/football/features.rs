//! The set of features, with its name.

use super::{elo, history::History, strength};
use crate::time::Day;
use std::sync::LazyLock;

/// Raised whenever a feature means something else under the same name and constants.
const VERSION: u32 = 1;

/// Features in their order.
pub const NAMES: [&str; 13] = [
    "elo_home",
    "elo_away",
    "elo_difference",
    "form_home",
    "form_away",
    "attack_home",
    "attack_away",
    "defence_home",
    "defence_away",
    "rest_days_home",
    "rest_days_away",
    "usual_goals_home",
    "usual_goals_away",
];

/// What is known of a fixture, in the order of [`NAMES`]: ratings and their difference with home advantage in points of [`elo`], form in
/// points a match, attack (scored) and defence (conceded) as multiples of what is usual, rest in days, usual goals a match.
pub type Features = [f32; NAMES.len()];

/// Why a fixture has no features.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FixtureError {
    /// A team that never played in this league, as far as is known at all.
    #[error("`{0}` has never played in this league")]
    UnknownTeam(String),
    /// One team on both sides.
    #[error("`{0}` cannot play against itself")]
    Itself(String),
}

/// The name of this set: of its features, in order, and of all constants that they are made with.
pub fn id() -> &'static str {
    static ID: LazyLock<String> = LazyLock::new(|| {
        let numbers = [
            elo::K,
            elo::HOME_ADVANTAGE,
            elo::SCALE,
            elo::MARGIN,
            elo::START,
            elo::CARRY_OVER,
            strength::FORM_MATCHES as f64,
            strength::RATE_MATCHES as f64,
            strength::PRIOR_MATCHES,
            strength::LEAGUE_MATCHES as f64,
            strength::USUAL_GOALS[0],
            strength::USUAL_GOALS[1],
            f64::from(strength::MOST_REST_DAYS),
        ];
        let mut hasher = blake3::Hasher::new();
        hasher.update(NAMES.join(",").as_bytes());
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
        format!("football-{VERSION}-{}", &hasher.finalize().to_hex()[..12])
    });
    &ID
}

/// What is known, as of `as_of`, of a match on `day`: from matches before `as_of` alone.
///
/// # Errors
/// Teams that cannot meet.
pub fn features(history: &History, home: &str, away: &str, day: Day, as_of: Day) -> Result<Features, FixtureError> {
    if home == away {
        return Err(FixtureError::Itself(home.to_owned()));
    }
    let before = |team: &str| history.before(team, as_of).ok_or_else(|| FixtureError::UnknownTeam(team.to_owned()));
    let (of_home, of_away) = (before(home)?, before(away)?);
    let (elo_home, elo_away) = (history.rating(home, as_of), history.rating(away, as_of));
    let usual = strength::usual(history, as_of);
    let ([attack_home, defence_home], [attack_away, defence_away]) =
        (strength::rates(of_home, usual), strength::rates(of_away, usual));
    let values = [
        elo_home,
        elo_away,
        elo::difference(elo_home, elo_away),
        strength::form(of_home),
        strength::form(of_away),
        attack_home,
        attack_away,
        defence_home,
        defence_away,
        f64::from(strength::rest(of_home, day)),
        f64::from(strength::rest(of_away, day)),
        usual[0],
        usual[1],
    ];
    Ok(values.map(|value| value as f32))
}
