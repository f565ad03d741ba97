//! What the latest outcomes say of a champion and the version before it: the gate's own statistics, one-sided.

use super::Pair;
use loadline_domain::gate::{Comparison, Report, Rules, Trial, Unsound};
use std::collections::VecDeque;

/// The latest matches that count: more than two seasons of five leagues.
pub const LATEST: usize = 5_000;
/// How sure it has to be. The gate's 0.95 is for one look; this is looked at with every report, and a champion that is as good as the one
/// before must not be rolled back every other season.
const CONFIDENCE: f64 = 0.999;

/// Both versions on the same matches.
#[derive(Debug)]
pub struct Standing {
    pair: Pair,
    /// The output that is compared, and over how many classes.
    output: String,
    classes: usize,
    latest: VecDeque<Judged>,
    report: Option<Report>,
}

/// A match, once it is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The output that is compared.
    pub output: String,
    /// What the champion had answered.
    pub champion: Vec<f64>,
    /// What the version before answers.
    pub previous: Vec<f64>,
    /// The class that happened.
    pub outcome: usize,
    /// What it shares with others; empty: it is on its own.
    pub group: String,
}

/// What is known of a champion.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The model.
    pub model: String,
    /// Its versions.
    pub pair: Pair,
    /// How many matches were compared.
    pub matches: u64,
    /// In how many groups.
    pub groups: u64,
    /// Ranked probability scores, in the gate's words: that of the version before as champion, and that of the champion as its challenger. An
    /// improvement below 0 says that the champion is worse.
    pub rps: Comparison,
    /// The champion is worse than the version before, for sure.
    pub is_worse: bool,
}

/// How sure what has to be.
pub fn rules() -> Rules {
    Rules { confidence: CONFIDENCE, ..Rules::default() }
}

impl Standing {
    /// Nothing known yet.
    pub fn of(pair: Pair) -> Self {
        Self { pair, output: String::new(), classes: 0, latest: VecDeque::new(), report: None }
    }

    /// The versions that it is about.
    pub fn pair(&self) -> Pair {
        self.pair
    }

    /// Adds a match; [`Standing::look`] has to follow.
    ///
    /// # Errors
    /// In words, why it cannot be compared: then it was not added.
    pub fn add(&mut self, judged: Judged) -> Result<(), String> {
        if self.latest.is_empty() {
            self.output.clone_from(&judged.output);
            self.classes = judged.champion.len();
        }
        if judged.output != self.output {
            return Err(format!("it has the output `{}`; those before had `{}`", judged.output, self.output));
        }
        put(&mut Trial::new(self.classes), &judged).map_err(|unsound| unsound.to_string())?;
        self.latest.push_back(judged);
        while self.latest.len() > LATEST {
            self.latest.pop_front();
        }
        Ok(())
    }

    /// Judges the latest matches.
    pub fn look(&mut self) {
        let mut trial = Trial::new(self.classes);
        self.report = (!self.latest.is_empty()).then(|| {
            // Each was found sound when it came.
            self.latest.iter().for_each(|judged| drop(put(&mut trial, judged)));
            trial.report(&rules())
        });
    }

    /// What it says of its model; `None`: nothing yet.
    pub fn found(&self, model: &str) -> Option<Found> {
        let Report { matches, groups, rps, rules, .. } = self.report.as_ref()?;
        let (matches, groups, rps) = (*matches, *groups, *rps);
        let is_worse = groups >= rules.least_groups && rps.high < 0.0;
        Some(Found { model: model.to_owned(), pair: self.pair, matches, groups, rps, is_worse })
    }
}

fn put(trial: &mut Trial, judged: &Judged) -> Result<(), Unsound> {
    trial.add(&judged.previous, &judged.champion, judged.outcome, &judged.group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    const PAIR: Pair = Pair { champion: 2, previous: 1 };

    /// A forecast over three classes, sharper the larger `scale` is.
    fn forecast(scale: f64, x: [f64; 2]) -> Vec<f64> {
        let weights = [(scale * x[0]).exp(), 1.0, (scale * x[1]).exp()];
        weights.iter().map(|weight| weight / weights.iter().sum::<f64>()).collect()
    }

    /// How two versions see a match of which `forecast(1.0, x)` is the truth: how sharp, and each with blurs of its own.
    #[derive(Clone, Copy)]
    struct Sight {
        scales: [f64; 2],
        blur: f64,
    }

    fn a_match(random: &mut StdRng, sight: Sight, group: String) -> Judged {
        let x = [random.random_range(-1.0..2.0), random.random_range(-1.5..1.5)];
        let mut left: f64 = random.random();
        let outcome = forecast(1.0, x).iter().position(|part| {
            left -= part;
            left < 0.0
        });
        let mut blurred = |x: f64| x + random.random_range(-sight.blur..=sight.blur);
        let [champion, previous] = sight.scales.map(|scale| forecast(scale, x.map(&mut blurred)));
        Judged { output: "y".to_owned(), champion, previous, outcome: outcome.unwrap_or(2), group }
    }

    /// After how many matches, ten a day and looked at every day, the champion is found to be worse.
    fn found_after(seed: u64, sight: Sight, matches: usize) -> Option<usize> {
        let (mut random, mut standing) = (StdRng::seed_from_u64(seed), Standing::of(PAIR));
        (1..=matches).find(|number| {
            standing.add(a_match(&mut random, sight, format!("day {}", number / 10))).unwrap();
            if number.is_multiple_of(10) {
                standing.look();
            }
            standing.found("m").is_some_and(|found| found.is_worse)
        })
    }

    #[test]
    fn a_champion_that_is_worse_is_found_and_not_before_there_are_enough_days() {
        for seed in 0..5 {
            let after = found_after(seed, Sight { scales: [0.1, 1.0], blur: 0.2 }, 2_000).expect("it is found");
            assert!(after >= 190, "{after} matches are fewer than twenty days");
        }
    }

    #[test]
    fn a_champion_that_is_better_or_as_good_is_left_alone_for_a_season() {
        // As good as the other, and looked at after each of 38 days.
        let (seasons, as_good) = (60, Sight { scales: [1.0, 1.0], blur: 1.0 });
        let alarms = (0..seasons).filter(|seed| found_after(*seed, as_good, 380).is_some()).count();
        assert!(alarms <= 1, "{alarms} of {seasons} seasons have a false alarm");
        assert!((0..10).all(|seed| found_after(seed, Sight { scales: [1.0, 0.2], blur: 0.2 }, 380).is_none()));
    }

    #[test]
    fn what_cannot_be_compared_is_said_and_not_counted() {
        let mut standing = Standing::of(PAIR);
        let good = a_match(&mut StdRng::seed_from_u64(1), Sight { scales: [1.0, 1.0], blur: 0.2 }, String::new());
        standing.add(good.clone()).unwrap();
        let other = standing.add(Judged { output: "z".to_owned(), ..good.clone() }).unwrap_err();
        let no_class = standing.add(Judged { outcome: 3, ..good.clone() }).unwrap_err();
        let no_forecast = standing.add(Judged { previous: vec![0.9, 0.9, 0.9], ..good }).unwrap_err();
        assert!(other.contains("`z`") && no_class.contains("no class") && no_forecast.contains("no forecast"));
        standing.look();
        assert_eq!(standing.found("m").map(|found| (found.matches, found.is_worse)), Some((1, false)));
    }

    #[test]
    fn only_the_latest_matches_count() {
        let (mut random, mut standing) = (StdRng::seed_from_u64(3), Standing::of(PAIR));
        for _ in 0..LATEST + 7 {
            standing.add(a_match(&mut random, Sight { scales: [1.0, 0.9], blur: 0.2 }, String::new())).unwrap();
        }
        standing.look();
        assert_eq!(standing.found("m").unwrap().matches, LATEST as u64);
    }
}
