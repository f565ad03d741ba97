//! Files to leagues: a folder a league, in it CSV files with the columns of football-data.co.uk. `Date`, `HomeTeam`, `AwayTeam`, `FTHG`
//! and `FTAG` are read, in any order; others are passed over.

use csv::ByteRecord;
use loadline_domain::{
    football::{History, Match},
    time::{Day, Timestamp},
};
use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{self, BufReader, Read as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Files of all leagues.
const MOST_FILES: usize = 10_000;
/// Bytes of one: a season has a hundred thousand.
const MOST_BYTES: u64 = 16 << 20;
/// Matches of all leagues.
const MOST_MATCHES: usize = 1_000_000;
/// Bytes of a team's or a league's name.
const LONGEST_NAME: usize = 100;
/// Bad rows that are told one by one.
const MOST_PROBLEMS: usize = 20;
const COLUMNS: [&str; 5] = ["Date", "HomeTeam", "AwayTeam", "FTHG", "FTAG"];

/// What predictions are made from.
#[derive(Debug)]
pub struct Results {
    /// By name.
    pub leagues: BTreeMap<String, History>,
    /// Rows that are no results.
    pub bad_rows: u64,
    /// The first of them: file, line, and what is wrong.
    pub problems: Vec<String>,
    /// When.
    pub read_at: Timestamp,
}

/// Files as they were found: when this is another, something changed.
pub type Files = Vec<(PathBuf, u64, SystemTime)>;

/// Finds the files of a folder, in the order of their names.
///
/// # Errors
/// A folder that cannot be read, or holds more than is taken.
pub fn find(folder: &Path) -> io::Result<Files> {
    let mut files = Vec::new();
    for league in fs::read_dir(folder).map_err(|error| named(folder, error))? {
        let league = league?.path();
        if !league.is_dir() {
            continue;
        }
        for file in fs::read_dir(&league).map_err(|error| named(&league, error))? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("csv")) {
                continue;
            }
            let metadata = fs::metadata(&path).map_err(|error| named(&path, error))?;
            files.push((path, metadata.len(), metadata.modified()?));
            if files.len() > MOST_FILES {
                return Err(io::Error::other(format!("there are more than {MOST_FILES} files")));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Reads files. Rows that are no results are counted and left out; rows without goals are matches that were not played yet.
///
/// # Errors
/// A file that cannot be read, has other columns, or more in it than is taken: then nothing of all of them is used.
pub fn read(files: &Files, now: Timestamp) -> io::Result<Results> {
    let mut reading = Reading::default();
    for (path, bytes, _) in files {
        if *bytes > MOST_BYTES {
            return Err(named(path, io::Error::other(format!("has {bytes} bytes, at most {MOST_BYTES} are read"))));
        }
        reading.file(path).map_err(|error| named(path, error))?;
    }
    let leagues = reading.matches.into_iter().map(|(league, matches)| {
        let matches = matches.into_iter().map(|((day, home, away), (home_goals, away_goals))| Match {
            day,
            home,
            away,
            home_goals,
            away_goals,
        });
        (league, History::new(matches.collect()))
    });
    Ok(Results { leagues: leagues.collect(), bad_rows: reading.bad_rows, problems: reading.problems, read_at: now })
}

type Matches = HashMap<(Day, String, String), (u8, u8)>;

#[derive(Default)]
struct Reading {
    matches: BTreeMap<String, Matches>,
    count: usize,
    bad_rows: u64,
    problems: Vec<String>,
}

impl Reading {
    fn file(&mut self, path: &Path) -> io::Result<()> {
        let league = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let league =
            league.filter(|name| is_name(name)).ok_or_else(|| io::Error::other("its folder is no league's name"))?.to_owned();
        let bytes = BufReader::new(File::open(path)?.take(MOST_BYTES));
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let places = places(reader.byte_headers()?)?;
        let mut row = ByteRecord::new();
        self.matches.entry(league.clone()).or_default();
        loop {
            match reader.read_byte_record(&mut row) {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(error) => return Err(error.into()),
            }
            let added = match result(&row, places) {
                Ok(Some(result)) => self.add(&league, result)?,
                Ok(None) => Ok(()),
                Err(why) => Err(why),
            };
            if let Err(why) = added {
                self.bad(path, row.position().map_or(0, csv::Position::line), &why);
            }
        }
    }

    /// Keeps a result, if it does not contradict another of the same match.
    fn add(&mut self, league: &str, result: Match) -> io::Result<Result<(), String>> {
        let Match { day, home, away, home_goals, away_goals } = result;
        let matches = self.matches.entry(league.to_owned()).or_default();
        let known = *matches.entry((day, home, away)).or_insert_with(|| {
            self.count += 1;
            (home_goals, away_goals)
        });
        if self.count > MOST_MATCHES {
            return Err(io::Error::other(format!("with it there are more than {MOST_MATCHES} matches")));
        }
        if known == (home_goals, away_goals) {
            return Ok(Ok(()));
        }
        Ok(Err(format!("the match ended {}:{} in an earlier row, and {home_goals}:{away_goals} here", known.0, known.1)))
    }

    fn bad(&mut self, path: &Path, line: u64, why: &str) {
        self.bad_rows += 1;
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(format!("{}, line {line}: {why}", path.display()));
        }
    }
}

/// Where the columns are that are read.
fn places(header: &ByteRecord) -> io::Result<[usize; COLUMNS.len()]> {
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        // Some files begin with a byte order mark.
        let is = |cell: &[u8]| cell.strip_prefix(b"\xef\xbb\xbf").unwrap_or(cell).trim_ascii() == column.as_bytes();
        *place = header.iter().position(is).ok_or_else(|| io::Error::other(format!("has no column `{column}`")))?;
    }
    Ok(places)
}

/// What a row says; `None`: nothing yet.
fn result(row: &ByteRecord, places: [usize; COLUMNS.len()]) -> Result<Option<Match>, String> {
    let mut cells = [""; COLUMNS.len()];
    for ((cell, place), column) in cells.iter_mut().zip(places).zip(COLUMNS) {
        let bytes = row.get(place).unwrap_or_default();
        *cell = std::str::from_utf8(bytes).map_err(|_| format!("{column} is no UTF-8"))?.trim();
    }
    let [date, home, away, home_goals, away_goals] = cells;
    if home_goals.is_empty() && away_goals.is_empty() {
        return Ok(None);
    }
    let day = day(date).ok_or_else(|| format!("Date is no date: {}", shown(date)))?;
    for (team, column) in [(home, "HomeTeam"), (away, "AwayTeam")] {
        if !is_name(team) {
            return Err(format!("{column} is no name of 1 to {LONGEST_NAME} bytes: {}", shown(team)));
        }
    }
    if home == away {
        return Err(format!("{} plays against itself", shown(home)));
    }
    let goals = |text: &str, column| {
        let number = text.strip_suffix(".0").unwrap_or(text).parse::<u8>().ok().filter(|goals| *goals < 100);
        number.ok_or_else(|| format!("{column} is no number of goals: {}", shown(text)))
    };
    let (home_goals, away_goals) = (goals(home_goals, "FTHG")?, goals(away_goals, "FTAG")?);
    Ok(Some(Match { day, home: home.to_owned(), away: away.to_owned(), home_goals, away_goals }))
}

/// A date as results have it: 2005-08-27, 27/08/2005 or 27/08/05.
pub fn day(text: &str) -> Option<Day> {
    let format = match (text.len(), text.contains('/')) {
        (10, false) => "%Y-%m-%d",
        (10, true) => "%d/%m/%Y",
        (8, true) => "%d/%m/%y",
        _ => return None,
    };
    let date = jiff::civil::Date::strptime(format, text).ok().filter(|date| (1_870..=2_200).contains(&date.year()))?;
    jiff::civil::date(1970, 1, 1).until(date).ok().map(|days| Day::from_index(days.get_days()))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

fn shown(text: &str) -> String {
    let cut: String = text.chars().take(40).collect();
    format!("{cut:?}")
}

fn named(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(text: &[u8]) -> io::Result<Results> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("north")).unwrap();
        fs::write(folder.path().join("north/season.csv"), text).unwrap();
        read(&find(folder.path()).unwrap(), Timestamp::default())
    }

    #[test]
    fn dates_of_any_season_are_read_and_others_are_none() {
        for text in ["2005-08-27", "27/08/2005", "27/08/05"] {
            assert_eq!(day(text).unwrap().to_string(), "2005-08-27", "{text}");
        }
        for text in ["", "27.08.2005", "2005-13-01", "31/02/2005", "0005-08-27", "9999-01-01", "2005-8-27", "27/08/005"] {
            assert_eq!(day(text), None, "{text}");
        }
    }

    #[test]
    fn columns_come_in_any_order_after_a_mark_and_with_others_between() {
        let results = read_one(b"\xef\xbb\xbfDate,Referee,AwayTeam,HomeTeam,FTAG,FTHG,HS\n27/08/05,X,Fir,Oak,1,2,\n").unwrap();
        let [only] = results.leagues["north"].matches() else { panic!("{results:?}") };
        assert_eq!((only.home.as_str(), only.away.as_str(), only.home_goals, only.away_goals), ("Oak", "Fir", 2, 1));
        assert_eq!(results.bad_rows, 0);
    }

    #[test]
    fn a_row_that_is_no_result_is_counted_with_its_line_and_a_match_to_come_is_none() {
        let text = b"Date,HomeTeam,AwayTeam,FTHG,FTAG\n\
            2005-08-27,Oak,Fir,2,1\n\
            yesterday,Oak,Fir,2,1\n\
            2005-08-28,Oak,Oak,2,1\n\
            2005-08-29,Oak,,2,1\n\
            2005-08-30,Oak,Fir,many,1\n\
            2005-08-31,Oak,Fir,2\n\
            2005-09-01,Oak,\xff,2,1\n\
            2005-08-27,Oak,Fir,0,0\n\
            2005-08-27,Oak,Fir,2,1\n\
            2005-09-02,Oak,Fir,,\n";
        let results = read_one(text).unwrap();
        assert_eq!((results.leagues["north"].matches().len(), results.bad_rows), (1, 7), "{:?}", results.problems);
        let lines: Vec<_> = results.problems.iter().map(|problem| problem.split("season.csv, ").nth(1).unwrap()).collect();
        assert!(
            lines[0].starts_with("line 3: Date is no date") && lines[6].starts_with("line 9: the match ended 2:1"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_file_of_other_columns_is_refused_by_its_name() {
        let error = read_one(b"Date,HomeTeam,AwayTeam,Score\n").unwrap_err().to_string();
        assert!(error.contains("season.csv") && error.contains("no column `FTHG`"), "{error}");
    }
}
