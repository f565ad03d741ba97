//! Matches of one league, in the one order that there is, and what every team did in them.

use super::elo;
use crate::time::Day;
use std::{collections::BTreeMap, fmt};

/// First month of a season: July.
const SEASON_BEGINS: i8 = 7;

/// A match that was played.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Match {
    /// When, by its local date.
    pub day: Day,
    /// Whose ground it was.
    pub home: String,
    /// The other team.
    pub away: String,
    /// Goals at the end, without extra time.
    pub home_goals: u8,
    /// Goals of the other.
    pub away_goals: u8,
}

/// Names matches by what they are: the same matches, the same generation, in whatever files and order they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation([u8; 32]);

/// All matches of a league that are known.
#[derive(Debug, Clone)]
pub struct History {
    matches: Vec<Match>,
    teams: BTreeMap<String, Vec<Appearance>>,
    /// Goals of all home and of all away teams in the matches before each, and in all.
    goals: Vec<[u32; 2]>,
    /// Of the matches before each, and of all.
    generations: Vec<Generation>,
}

/// What one team did in one match.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Appearance {
    /// When.
    pub day: Day,
    /// Goals of it.
    pub scored: u8,
    /// Goals against it.
    pub conceded: u8,
    /// Its rating after all of that day.
    pub rating: f64,
}

impl Generation {
    /// Of no matches.
    const EMPTY: Self = Self([0; 32]);

    /// Of these and one more.
    fn with(self, played: &Match) -> Self {
        let Match { day, home, away, home_goals, away_goals } = played;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(&day.index().to_le_bytes()).update(&[*home_goals, *away_goals]);
        for team in [home, away] {
            // With its length: no two pairs of names are the same bytes.
            hasher.update(&(team.len() as u64).to_le_bytes()).update(team.as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Display for Generation {
    /// 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl History {
    /// Brings matches in order: by day, then by teams. A match that comes again, by day and teams, counts once; of several results of it
    /// the one that sorts first.
    pub fn new(mut matches: Vec<Match>) -> Self {
        matches.sort();
        matches.dedup_by(|later, kept| (later.day, &later.home, &later.away) == (kept.day, &kept.home, &kept.away));
        let (mut goals, mut generations) = (vec![[0, 0]], vec![Generation::EMPTY]);
        for (at, played) in matches.iter().enumerate() {
            let [home, away] = goals[at];
            goals.push([home + u32::from(played.home_goals), away + u32::from(played.away_goals)]);
            generations.push(generations[at].with(played));
        }
        Self { teams: rated(&matches), matches, goals, generations }
    }

    /// All of them, in order.
    pub fn matches(&self) -> &[Match] {
        &self.matches
    }

    /// Teams by name.
    pub fn teams(&self) -> impl Iterator<Item = &str> {
        self.teams.keys().map(String::as_str)
    }

    /// What a team did before a day, in order; `None` for a team that never played.
    pub fn before(&self, team: &str, day: Day) -> Option<&[Appearance]> {
        let all = self.teams.get(team)?;
        Some(&all[..all.partition_point(|appearance| appearance.day < day)])
    }

    /// A team's rating as of a day; [`elo::START`] for one that had not played.
    pub fn rating(&self, team: &str, day: Day) -> f64 {
        let last = self.before(team, day).and_then(<[_]>::last);
        last.map_or(elo::START, |last| elo::carried(last.rating, season(day) - season(last.day)))
    }

    /// How many matches were before a day.
    pub fn count(&self, day: Day) -> usize {
        self.matches.partition_point(|played| played.day < day)
    }

    /// Goals of home and of away teams in the last `window` matches before a day, and how many matches those were.
    pub fn goals(&self, day: Day, window: usize) -> ([u32; 2], usize) {
        let end = self.count(day);
        let start = end.saturating_sub(window);
        ([0, 1].map(|side| self.goals[end][side] - self.goals[start][side]), end - start)
    }

    /// The last match before a day.
    pub fn last(&self, day: Day) -> Option<&Match> {
        self.matches[..self.count(day)].last()
    }

    /// Names all matches before a day: what is known as of it.
    pub fn generation(&self, day: Day) -> Generation {
        self.generations[self.count(day)]
    }

    /// Names all matches.
    pub fn whole(&self) -> Generation {
        *self.generations.last().unwrap_or(&Generation::EMPTY)
    }
}

/// What every team did, in order. Ratings of a day change together: its matches do not see each other.
fn rated(matches: &[Match]) -> BTreeMap<String, Vec<Appearance>> {
    let mut teams: BTreeMap<String, Vec<Appearance>> = BTreeMap::new();
    for of_day in matches.chunk_by(|one, other| one.day == other.day) {
        let mut moved: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for played in of_day {
            let before = |team: &str| {
                let last = teams.get(team).and_then(|of| of.last());
                last.map_or(elo::START, |last| elo::carried(last.rating, season(played.day) - season(last.day)))
            };
            let (home, away) = (before(&played.home), before(&played.away));
            let points = elo::exchange(home, away, played.home_goals, played.away_goals);
            moved.entry(&played.home).or_insert((home, 0.0)).1 += points;
            moved.entry(&played.away).or_insert((away, 0.0)).1 -= points;
        }
        for played in of_day {
            let Match { day, home, away, home_goals, away_goals } = played;
            for (team, scored, conceded) in [(home, *home_goals, *away_goals), (away, *away_goals, *home_goals)] {
                let (before, points) = moved[team.as_str()];
                let appearance = Appearance { day: *day, scored, conceded, rating: before + points };
                teams.entry(team.clone()).or_default().push(appearance);
            }
        }
    }
    teams
}

/// The year in which a season begins that a day belongs to.
pub fn season(day: Day) -> i32 {
    let date = jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(i64::from(day.index())));
    i32::from(date.year()) - i32::from(date.month() < SEASON_BEGINS)
}
