//! What the gate promises, tried on simulated seasons whose truth is known. Every seed is fixed.

#![allow(clippy::unwrap_used)] // The helpers of tests are tests too.

use loadline_domain::gate::{Reason, Report, Rules, Trial, Verdict, score};
use proptest::{collection::vec, prelude::*};

/// Numbers that look random: splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn sign(&mut self) -> f64 {
        if self.next() < 0.5 { -1.0 } else { 1.0 }
    }

    fn outcome(&mut self, truth: &[f64]) -> usize {
        let mut left = self.next();
        truth
            .iter()
            .position(|probability| {
                left -= probability;
                left < 0.0
            })
            .unwrap_or(truth.len() - 1)
    }
}

/// How a season is made. Forecasts miss the cumulated probabilities by these, so a model is worse than the truth by half the sum
/// of their squares in ranked probability score.
#[derive(Clone, Copy)]
struct Season {
    days: usize,
    of_day: usize,
    champion_misses: f64,
    challenger_misses: f64,
    /// Days on which more home teams win than anybody could know: what makes matches of a day alike.
    shock: f64,
}

impl Season {
    const INDEPENDENT: Self = Self { days: 400, of_day: 1, champion_misses: 0.0, challenger_misses: 0.0, shock: 0.0 };

    fn play(&self, dice: &mut Dice) -> Trial {
        let mut trial = Trial::new(3);
        for day in 0..self.days {
            let (one, other, shock) = ([dice.sign(), dice.sign()], [dice.sign(), dice.sign()], self.shock * dice.sign());
            for _ in 0..self.of_day {
                let home = 0.3 + 0.25 * dice.next();
                let both = home + 0.2 + 0.1 * dice.next();
                let outcome = dice.outcome(&[home + shock, both - home, 1.0 - both - shock]);
                let missed = |by: f64, signs: [f64; 2]| {
                    let (home, both) = (home + by * signs[0], both + by * signs[1]);
                    [home, both - home, 1.0 - both]
                };
                let (champion, challenger) = (missed(self.champion_misses, one), missed(self.challenger_misses, other));
                trial.add(&champion, &challenger, outcome, &format!("day {day}")).unwrap();
            }
        }
        trial
    }

    /// How many of so many seasons end in a promotion.
    fn promoted(&self, seasons: u64, rules: &Rules) -> f64 {
        let promoted = (0..seasons)
            .filter(|season| self.play(&mut Dice(season * 7_919 + self.days as u64)).report(rules).verdict == Verdict::Promote);
        promoted.count() as f64 / seasons as f64
    }
}

/// A forecast that misses by this is worse by the smallest effect worth having.
fn missed_by(effect: f64) -> f64 {
    effect.sqrt()
}

#[test]
fn a_challenger_that_is_as_good_is_promoted_no_more_often_than_the_rules_allow() {
    let rules = Rules { calibration_limit: 1.0, ..Rules::default() };
    let season = Season { days: 38, of_day: 20, champion_misses: 0.05, challenger_misses: 0.05, shock: 0.14 };
    let promoted = season.promoted(400, &rules);
    // Three standard errors of 400 seasons above one in twenty.
    assert!(promoted <= 0.05 + 3.0 * (0.05_f64 * 0.95 / 400.0).sqrt(), "{promoted}");
    assert!(promoted > 0.0, "some chance there is, or the test says nothing");
}

#[test]
fn a_uniformly_better_challenger_is_promoted_with_enough_matches_and_the_worse_one_rejected() {
    let better = Season { days: 120, of_day: 50, champion_misses: 0.05, ..Season::INDEPENDENT };
    let report = better.play(&mut Dice(1)).report(&Rules::default());
    assert_eq!((report.verdict, report.reasons.len()), (Verdict::Promote, 0), "{report:?}");
    assert!((report.rps.improvement - 0.0025).abs() < 0.001 && report.rps.low > 0.0);
    let worse = Season { champion_misses: 0.0, challenger_misses: 0.05, ..better };
    let report = worse.play(&mut Dice(1)).report(&Rules::default());
    assert_eq!(report.verdict, Verdict::Reject);
    assert!(report.reasons.contains(&Reason::RpsWorse), "{report:?}");
}

/// The number of a HOLD, tried: so many matches are played anew, of a challenger that is better by just the effect asked for.
#[test]
fn a_hold_says_how_many_matches_reach_the_power_asked_for() {
    let rules = Rules::default();
    let season = Season { champion_misses: missed_by(rules.effect), ..Season::INDEPENDENT };
    let mut needed = Vec::new();
    for pilot in 0..40 {
        let report = season.play(&mut Dice(pilot * 104_729 + 3)).report(&rules);
        if let Verdict::Hold { more_matches } = report.verdict {
            assert!(report.reasons.contains(&Reason::RpsUnsure), "{report:?}");
            needed.push(report.matches + more_matches);
        }
    }
    assert!(needed.len() >= 20, "of 40 pilots {} hold", needed.len());
    let played = |part: f64| {
        let promoted: f64 = needed
            .iter()
            .take(20)
            .map(|all| {
                let days = (*all as f64 * part) as usize;
                Season { days, ..season }.promoted(15, &rules)
            })
            .sum();
        promoted / 20.0
    };
    let power = played(1.0);
    assert!((0.72..=0.88).contains(&power), "{power} with what was said to be needed");
    assert!(played(0.4) < power - 0.15, "fewer would not have done");
}

#[test]
fn a_trial_with_its_power_decides() {
    let rules = Rules { effect: 0.004, ..Rules::default() };
    for seed in 0..60 {
        let season = Season { days: 1_500, champion_misses: 0.04, challenger_misses: 0.04, ..Season::INDEPENDENT };
        let report = season.play(&mut Dice(seed)).report(&rules);
        assert!(!matches!(report.verdict, Verdict::Hold { .. }), "{report:?}");
    }
}

#[test]
fn a_better_score_does_not_make_up_for_lost_calibration() {
    // Nearer to the outcomes that come, and always too sure of them: whatever is likely is called certain.
    let mut trial = Trial::new(2);
    let mut dice = Dice(5);
    for _ in 0..4_000 {
        let outcome = dice.outcome(&[0.8, 0.2]);
        trial.add(&[0.45, 0.55], &[0.99, 0.01], outcome, "").unwrap();
    }
    let report = trial.report(&Rules::default());
    assert!(report.rps.low > 0.0, "{report:?}");
    let [champion, challenger] = [report.calibration.champion, report.calibration.challenger];
    assert!((champion - 0.35).abs() < 0.03 && (challenger - 0.19).abs() < 0.03, "{champion} {challenger}");
    let mut trial = Trial::new(2);
    for _ in 0..4_000 {
        let outcome = dice.outcome(&[0.8, 0.2]);
        // The champion knows nothing of the match, and nothing wrong: 80 %.
        let hint = if dice.next() < 0.7 { outcome } else { dice.outcome(&[0.8, 0.2]) };
        let sure = if hint == 0 { [0.999, 0.001] } else { [0.35, 0.65] };
        trial.add(&[0.8, 0.2], &sure, outcome, "").unwrap();
    }
    let report = trial.report(&Rules::default());
    assert!(report.rps.low > 0.0, "it knows more: {report:?}");
    assert_eq!((report.verdict, &report.reasons[..]), (Verdict::Reject, &[Reason::CalibrationWorse][..]), "{report:?}");
}

#[test]
fn a_champion_that_is_worse_than_the_prior_does_harm_and_a_good_one_does_not() {
    let mut dice = Dice(9);
    let (mut upside_down, mut sound) = (Trial::new(3), Trial::new(3));
    for day in 0..100 {
        let truth = if dice.next() < 0.5 { [0.6, 0.2, 0.2] } else { [0.3, 0.3, 0.4] };
        let outcome = dice.outcome(&truth);
        let reversed = [truth[2], truth[1], truth[0]];
        upside_down.add(&reversed, &truth, outcome, &format!("{day}")).unwrap();
        sound.add(&truth, &reversed, outcome, &format!("{day}")).unwrap();
    }
    let rules = Rules::default();
    assert!(upside_down.report(&rules).champion_does_harm());
    let sound = sound.report(&rules);
    assert!(!sound.champion_does_harm(), "{:?}", sound.skill);
}

#[test]
fn a_threshold_of_its_own_is_asked_of_the_challenger_alone() {
    let season = Season { days: 120, of_day: 50, champion_misses: 0.06, ..Season::INDEPENDENT };
    let trial = season.play(&mut Dice(2));
    let mut rules = Rules::default();
    rules.rps.threshold = Some(0.1);
    let report = trial.report(&rules);
    assert_eq!((report.verdict, &report.reasons[..]), (Verdict::Reject, &[Reason::RpsThreshold][..]));
    let mut rules = Rules::default();
    rules.rps.min_absolute_change = Some(0.01);
    let report = trial.report(&rules);
    assert_eq!((report.verdict, &report.reasons[..]), (Verdict::Reject, &[Reason::NoImprovement][..]), "better, not by so much");
}

#[test]
fn rules_that_make_no_sense_are_named() {
    assert_eq!(Rules::default().wrong(), None);
    let wrong = |rules: Rules| rules.wrong().map(|(field, _)| field).unwrap_or_default();
    assert_eq!(wrong(Rules { confidence: 1.0, ..Rules::default() }), "confidence");
    assert_eq!(wrong(Rules { effect: 0.0, ..Rules::default() }), "effect");
    assert_eq!(wrong(Rules { power: f64::NAN, ..Rules::default() }), "power");
    assert_eq!(wrong(Rules { least_groups: 2, ..Rules::default() }), "least_groups");
    let mut rules = Rules::default();
    rules.log_loss.min_relative_change = Some(-1.0);
    assert_eq!(wrong(rules), "log_loss.min_relative_change");
    let mut rules = Rules::default();
    rules.rps.greater_is_better = true;
    assert_eq!(wrong(rules), "rps.greater_is_better");
}

/// Two forecasts, an outcome and a day.
type Match = ([f64; 3], [f64; 3], usize, u8);

fn forecast() -> impl Strategy<Value = [f64; 3]> {
    [0.01..1.0_f64, 0.01..1.0, 0.01..1.0].prop_map(|parts| {
        let sum: f64 = parts.iter().sum();
        parts.map(|part| part / sum)
    })
}

fn matches() -> impl Strategy<Value = Vec<Match>> {
    vec((forecast(), forecast(), 0..3_usize, 0..40_u8), 2..200)
}

fn played<'a>(matches: impl IntoIterator<Item = &'a Match>, swapped: bool) -> Report {
    let mut trial = Trial::new(3);
    for (one, other, outcome, day) in matches {
        let (champion, challenger) = if swapped { (other, one) } else { (one, other) };
        trial.add(champion, challenger, *outcome, &format!("{day}")).unwrap();
    }
    trial.report(&Rules::default())
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(1.0)
}

proptest! {
    #[test]
    fn swapping_the_two_says_the_opposite(matches in matches()) {
        let (forth, back) = (played(&matches, false), played(&matches, true));
        for (one, other) in [(forth.rps, back.rps), (forth.log_loss, back.log_loss), (forth.calibration, back.calibration)] {
            prop_assert!(near(one.improvement, -other.improvement) && near(one.low, -other.high), "{one:?} {other:?}");
            prop_assert!(near(one.standard_error, other.standard_error) && near(one.champion, other.challenger));
        }
        prop_assert_eq!((forth.changes.changed_class, forth.groups), (back.changes.changed_class, back.groups));
        if forth.verdict == Verdict::Promote {
            prop_assert_eq!(back.verdict, Verdict::Reject);
            prop_assert!(back.reasons.contains(&Reason::RpsWorse));
        }
    }

    #[test]
    fn a_model_is_never_promoted_over_itself(matches in matches()) {
        let mut trial = Trial::new(3);
        for (forecast, _, outcome, day) in &matches {
            trial.add(forecast, forecast, *outcome, &format!("{day}")).unwrap();
        }
        let report = trial.report(&Rules::default());
        prop_assert_ne!(report.verdict, Verdict::Promote);
        prop_assert_eq!((report.rps.improvement, report.log_loss.improvement, report.calibration.improvement), (0.0, 0.0, 0.0));
        if report.groups >= 20 {
            prop_assert_eq!(&report.reasons[..], &[Reason::SameAnswers][..]);
        }
    }

    #[test]
    fn the_order_of_matches_does_not_matter(matches in matches()) {
        let (forth, back) = (played(&matches, false), played(matches.iter().rev(), false));
        prop_assert!(near(forth.rps.low, back.rps.low) && near(forth.calibration.high, back.calibration.high));
        prop_assert!(near(forth.skill.improvement, back.skill.improvement));
    }

    #[test]
    fn scores_stay_within_their_bounds(forecast in forecast(), other in forecast(), outcome in 0..3_usize) {
        prop_assert!((0.0..=1.0).contains(&score::rps(&forecast, outcome)) && score::log_loss(&forecast, outcome) >= 0.0);
        prop_assert!((0.0..=1.0).contains(&score::distance(&forecast, &other)));
    }
}
