//! Features and outcomes of all matches of a folder of results, as CSV: what a model is trained on, made by what serves it.
//!
//! ```text
//! cargo run --release -p loadline-serving --example features -- RESULTS > features.csv
//! ```

use anyhow::Context as _;
use loadline_domain::{
    Clock as _,
    football::{
        features::{NAMES, features},
        history::season,
    },
    time::SystemClock,
};
use loadline_serving::football::results::{find, read};
use std::{
    cmp::Ordering,
    io::{BufWriter, Write as _},
    path::PathBuf,
};

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("name a folder of results")?);
    let results = read(&find(&folder)?, SystemClock.now())?;
    results.problems.iter().for_each(|problem| eprintln!("{problem}"));
    eprintln!("{} rows are no results", results.bad_rows);
    let mut output = BufWriter::new(std::io::stdout().lock());
    writeln!(output, "league,date,season,{},outcome", NAMES.join(","))?;
    for (name, league) in &results.leagues {
        for played in league.matches() {
            let known = features(league, &played.home, &played.away, played.day, played.day)?;
            // Classes in the order of forecasts: home, draw, away.
            let outcome = match played.home_goals.cmp(&played.away_goals) {
                Ordering::Greater => 0,
                Ordering::Equal => 1,
                Ordering::Less => 2,
            };
            write!(output, "{name},{},{}", played.day, season(played.day))?;
            known.iter().try_for_each(|value| write!(output, ",{value}"))?;
            writeln!(output, ",{outcome}")?;
        }
    }
    Ok(output.flush()?)
}
