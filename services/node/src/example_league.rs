//! A league that never was: results for `up` to predict matches from where none are configured. Seeded, and marked as synthetic.

use jiff::civil::{self, Date, Weekday};
use rand::{SeedableRng as _, rngs::StdRng};
use rand_distr::{Distribution as _, Normal, Poisson};
use std::{fmt::Write as _, fs, io, path::Path};

const LEAGUE: &str = "synthetic-league";
const SEED: u64 = 1876;
const SEASONS: i16 = 3;
const TEAMS: [&str; 20] = [
    "Alderport",
    "Birchfield",
    "Coldbrook",
    "Dunmere",
    "Eastmarch",
    "Fernhill",
    "Grayling",
    "Highmoor",
    "Ironbridge",
    "Juniper Vale",
    "Kingsferry",
    "Larkhaven",
    "Millrace",
    "Northgate",
    "Oakhurst",
    "Pinewick",
    "Quarry Bank",
    "Redcliff",
    "Stonewell",
    "Thornbury",
];
const README: &str = "These results are synthetic: a seeded generator made them, so that matches can be predicted without any \
    configuration. No team and no match in them is real. Point serving.results at a folder of your own.\n";
/// Goals of a home and of an away team where both are alike.
const GOALS: [f64; 2] = [1.5, 1.2];

/// Writes the league into a folder that is not there yet, whole or not at all.
///
/// # Errors
/// Those of the disk.
pub fn provide(folder: &Path, today: Date) -> io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let new = folder.with_extension(format!("new-{}", std::process::id()));
    let league = new.join(LEAGUE);
    fs::create_dir_all(&league)?;
    fs::write(new.join("README.txt"), README)?;
    for (name, text) in seasons(today) {
        fs::write(league.join(name), text)?;
    }
    fs::rename(&new, folder)
}

/// Files by name: seasons up to the day before `today`, the last one as far as it has come.
fn seasons(today: Date) -> Vec<(String, String)> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let spread = Normal::new(0.0, 0.25).expect("a spread is positive");
    let mut strengths: [f64; TEAMS.len()] = std::array::from_fn(|_| spread.sample(&mut rng));
    let last = if today.month() > 8 { today.year() } else { today.year() - 1 };
    let mut files = Vec::new();
    for year in last - SEASONS + 1..=last {
        let mut text = String::from("Date,HomeTeam,AwayTeam,FTHG,FTAG\n");
        let first = civil::date(year, 8, 7).nth_weekday(1, Weekday::Saturday).expect("a year has Saturdays");
        for (round, pairs) in rounds().into_iter().enumerate() {
            let day = first.saturating_add(jiff::Span::new().days(7 * round as i64));
            for (home, away) in pairs {
                let goals = goals(&mut rng, strengths[home] - strengths[away]);
                if day < today {
                    let _ = writeln!(text, "{day},{},{},{},{}", TEAMS[home], TEAMS[away], goals[0], goals[1]);
                }
            }
        }
        files.push((format!("season-{:02}{:02}.csv", year % 100, (year + 1) % 100), text));
        strengths.iter_mut().for_each(|strength| *strength = 0.8 * *strength + 0.5 * spread.sample(&mut rng));
    }
    files
}

fn goals(rng: &mut StdRng, ahead: f64) -> [u32; 2] {
    let means = [GOALS[0] * ahead.exp(), GOALS[1] * (-ahead).exp()];
    means.map(|mean| Poisson::new(mean).map_or(0, |poisson| poisson.sample(rng) as u32).min(9))
}

/// Everybody against everybody, at home and away: the circle method.
fn rounds() -> Vec<Vec<(usize, usize)>> {
    let others = TEAMS.len() - 1;
    let pairs = |round: usize| {
        let around = (1..TEAMS.len() / 2).map(move |at| ((round + at) % others, (round + others - at) % others));
        // The one that stays in its place changes sides from round to round.
        let first = if round.is_multiple_of(2) { (others, round) } else { (round, others) };
        std::iter::once(first).chain(around)
    };
    let there = (0..others).map(|round| pairs(round).collect());
    let back = (0..others).map(|round| pairs(round).map(|(home, away)| (away, home)).collect());
    there.chain(back).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_plays_everybody_twice_and_once_a_round() {
        let rounds = rounds();
        let all: BTreeSet<_> = rounds.iter().flatten().collect();
        assert_eq!((rounds.len(), all.len()), (38, 380));
        for pairs in &rounds {
            let teams: BTreeSet<_> = pairs.iter().flat_map(|(home, away)| [home, away]).collect();
            assert_eq!((pairs.len(), teams.len()), (10, 20));
        }
    }

    #[test]
    fn the_same_day_makes_the_same_league_and_nothing_of_it_is_ahead() {
        let today = civil::date(2026, 11, 27);
        let files = seasons(today);
        assert_eq!(files, seasons(today));
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["season-2425.csv", "season-2526.csv", "season-2627.csv"]);
        assert_eq!(files[0].1.lines().count(), 381);
        let last = files[2].1.lines().last().unwrap();
        assert!(last.starts_with("2026-11-21,"), "{last}");
    }

    #[test]
    fn a_folder_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        provide(folder.path(), civil::date(2026, 1, 1)).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let new = folder.path().join("results");
        provide(&new, civil::date(2026, 1, 1)).unwrap();
        assert!(new.join("README.txt").is_file() && new.join(LEAGUE).join("season-2526.csv").is_file());
    }
}
