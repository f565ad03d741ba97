//! What is asked about, checked against what is known.

use super::{
    MatchError,
    results::{self, Results},
};
use crate::{status::ServingError, tensors::Invalid};
use loadline_domain::{
    football::{
        Features, FixtureError, Generation, History,
        features::{self, features},
    },
    time::Day,
};
use loadline_proto::serving::Fixture;

/// Furthest that a match may be ahead, in days: no league is planned beyond.
const FURTHEST: i32 = 400;
/// Names that are offered for one that is none, and how alike they must be, from 0 to 1.
const OFFERED: usize = 3;
const ALIKE: f64 = 0.7;

/// What is known of a fixture.
#[derive(Debug)]
pub struct Known {
    /// Results before this day.
    pub as_of: Day,
    /// Name of those.
    pub generation: Generation,
    /// What they say.
    pub features: Features,
    /// Day of the last of them.
    pub last: Option<Day>,
}

impl Known {
    /// Of a fixture, as of a day (none: that of the match, or today where that is sooner).
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn of(results: &Results, fixture: &Fixture, as_of: &str, today: Day) -> Result<Self, ServingError> {
        let league = league(results, &fixture.league)?;
        let day = date("fixture.date", &fixture.date)?;
        let first = league.matches().first().map_or(day, |first| first.day);
        if !(first.index()..=today.index() + FURTHEST).contains(&day.index()) {
            let detail = format!("is {day}; the results of the league begin on {first}, and today is {today}");
            return Err(Invalid::new("fixture.date", detail).into());
        }
        let as_of = match as_of {
            "" => day.min(today),
            text => date("as_of", text)?,
        };
        if as_of > today {
            return Err(Invalid::new("as_of", format!("is {as_of}, and today is {today}: nothing is known of then")).into());
        }
        if as_of > day {
            return Err(Invalid::new("as_of", format!("is {as_of}, after the match on {day}: it would know the result")).into());
        }
        let known = features(league, &fixture.home, &fixture.away, day, as_of).map_err(|error| match error {
            FixtureError::Itself(_) => Invalid::new("fixture.away", error.to_string()).into(),
            FixtureError::UnknownTeam(name) => ServingError::from(unknown(&fixture.league, league, name)),
        })?;
        let last = league.last(as_of).map(|last| last.day);
        Ok(Self { as_of, generation: league.generation(as_of), features: known, last })
    }
}

/// Refuses what was made for another set of features than this build makes.
///
/// # Errors
/// Both names.
pub fn same_features(theirs: &str, which: impl FnOnce() -> String) -> Result<(), MatchError> {
    let ours = features::id();
    if theirs == ours {
        return Ok(());
    }
    Err(MatchError::OtherFeatures { which: which(), theirs: theirs.to_owned(), ours: ours.to_owned() })
}

fn league<'a>(results: &'a Results, name: &str) -> Result<&'a History, ServingError> {
    if name.is_empty() {
        return Err(Invalid::new("fixture.league", "is absent").into());
    }
    let known = || results.leagues.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let unknown = || MatchError::UnknownLeague { name: cut(name), known: known() };
    Ok(results.leagues.get(name).ok_or_else(unknown)?)
}

fn date(field: &str, text: &str) -> Result<Day, Invalid> {
    let found = if text.contains('/') { None } else { results::day(text) };
    found.ok_or_else(|| Invalid::new(field, format!("is {:?}; give a day such as 2026-03-14", cut(text))))
}

fn unknown(name_of_league: &str, league: &History, name: String) -> MatchError {
    let name = cut(&name);
    let wanted = name.to_lowercase();
    let likeness = |team: &str| strsim::jaro_winkler(&wanted, &team.to_lowercase());
    let mut alike: Vec<_> =
        league.teams().map(|team| (likeness(team), team)).filter(|(likeness, _)| *likeness >= ALIKE).collect();
    alike.sort_by(|one, other| other.0.total_cmp(&one.0));
    let names: Vec<_> = alike.iter().take(OFFERED).map(|(_, team)| format!("`{team}`")).collect();
    let nearest = if names.is_empty() {
        ": GetResults lists its teams".to_owned()
    } else {
        format!(": do you mean {}?", names.join(" or "))
    };
    MatchError::UnknownTeam { league: name_of_league.to_owned(), name, nearest }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
