//! Outcomes joined with the requests that they are about, and the version before asked for the same rows.

use super::{
    Found, Pair, Standing,
    kept::{Answered, Taken},
    standing::Judged,
};
use crate::{
    Serving,
    resident::{CHAMPION, Loaded},
    status::ServingError,
    tensors::{Invalid, floats, request},
};
use futures::{StreamExt as _, stream};
use loadline_models::onnx::Classes;
use std::{sync::Arc, time::Duration};

/// Outcomes of one report.
pub const MOST: usize = 1_000;
/// Bytes of a group's name.
const LONGEST_GROUP: usize = 200;
/// Asked of the version before at once.
const AT_ONCE: usize = 64;
/// Longest that it may take for a row: it comes behind every request.
const PATIENCE: Duration = Duration::from_secs(20);

/// What happened to what a request asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Of the request.
    pub id: String,
    /// What happened.
    pub class: Class,
    /// What it shares with others; empty: it is on its own.
    pub group: String,
}

/// A class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// From 0, in the order of the model's output.
    Index(u32),
    /// As the model calls it.
    Label(String),
}

/// What became of a report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Joined and compared.
    pub counted: u64,
    /// Told before.
    pub again: u64,
    /// No request is kept under the id.
    pub unknown: u64,
    /// Joined, and could not be compared.
    pub failed: u64,
    /// Why the last one could not.
    pub last_failure: String,
    /// What is known of the champion now.
    pub found: Option<Found>,
}

impl Serving {
    /// Joins outcomes with what the champion of a model answered, and asks the version before for the same rows.
    ///
    /// # Errors
    /// When the model is not served, too much is told at once, or a class is none of the model's.
    pub async fn report_outcomes(&self, model: String, alias: &str, outcomes: Vec<Outcome>) -> Result<Tally, ServingError> {
        if alias != CHAMPION {
            let detail = format!("only of `{CHAMPION}` the version before stays in memory, to be compared with");
            return Err(Invalid::new("alias", detail).into());
        }
        if outcomes.len() > MOST {
            return Err(Invalid::new("outcomes", format!("are {}; tell at most {MOST} at once", outcomes.len())).into());
        }
        let served = self.library.residents().model(&model).ok_or_else(|| ServingError::UnknownModel(model.clone()))?;
        let champion = served.aliased(CHAMPION).ok_or_else(|| ServingError::UnknownModel(model.clone()))?;
        let outcomes = outcomes.into_iter().enumerate();
        let told = outcomes.map(|(place, outcome)| told(place, outcome, champion.classes.as_ref()));
        let told = told.collect::<Result<Vec<_>, Invalid>>()?;
        let pair = Pair::of(&served);
        let Some((pair, previous)) = pair.and_then(|pair| Some((pair, served.versions.get(&pair.previous)?.clone()))) else {
            let last_failure = "no version before the champion is in memory: there is nothing to compare it with".to_owned();
            return Ok(Tally { unknown: told.len() as u64, last_failure, ..Tally::default() });
        };
        Ok(self.joined(&model, pair, &previous, told).await)
    }

    async fn joined(&self, model: &str, pair: Pair, previous: &Arc<Loaded>, told: Vec<Told>) -> Tally {
        let (mut tally, mut found) = (Tally::default(), Vec::new());
        {
            let mut kept = self.skill.kept();
            for told in told {
                match kept.get_mut(model).map_or(Taken::Unknown, |kept| kept.take(pair, &told.id)) {
                    Taken::Answered(answered) => found.push((*answered, told)),
                    Taken::Told => tally.again += 1,
                    Taken::Unknown => tally.unknown += 1,
                }
            }
        }
        let asking = found.into_iter().map(|(answered, told)| judged(previous, answered, told, self.limits.request_rows));
        let judged: Vec<_> = stream::iter(asking).buffered(AT_ONCE).collect().await;
        let mut standings = self.skill.standings();
        let standing = standings.entry(model.to_owned()).or_insert_with(|| Standing::of(pair));
        if standing.pair() != pair {
            *standing = Standing::of(pair);
        }
        for judged in judged {
            match judged.and_then(|judged| standing.add(judged)) {
                Ok(()) => tally.counted += 1,
                Err(why) => {
                    tally.failed += 1;
                    tally.last_failure = why;
                }
            }
        }
        standing.look();
        Tally { found: standing.found(model), ..tally }
    }
}

/// An outcome whose class has its place.
struct Told {
    id: String,
    outcome: usize,
    group: String,
}

fn told(place: usize, outcome: Outcome, classes: Option<&Classes>) -> Result<Told, Invalid> {
    let Outcome { id, class, group } = outcome;
    if group.len() > LONGEST_GROUP {
        return Err(Invalid::new(format!("outcomes[{place}].group"), format!("has more than {LONGEST_GROUP} bytes")));
    }
    let outcome = match class {
        Class::Index(index) => index as usize,
        Class::Label(label) => {
            let found = match classes {
                Some(Classes::Texts(texts)) => texts.iter().position(|text| *text == label),
                Some(Classes::Ints(ints)) => ints.iter().position(|int| int.to_string() == label),
                None => None,
            };
            let known = match classes {
                Some(Classes::Texts(texts)) => format!("is {label:?}; the model's classes are {}", texts.join(", ")),
                Some(Classes::Ints(ints)) => format!("is {label:?}; the model's classes are {ints:?}"),
                None => "is given, and the model does not say what its classes are called: give their index".to_owned(),
            };
            found.ok_or_else(|| Invalid::new(format!("outcomes[{place}].label"), known))?
        }
    };
    Ok(Told { id, outcome, group })
}

/// What the version before answers to the row of a request.
async fn judged(previous: &Arc<Loaded>, answered: Answered, told: Told, most_rows: usize) -> Result<Judged, String> {
    let Answered { request, output, forecast: champion } = answered;
    let number = previous.number;
    let asked = request::read(request, &previous.inputs, &previous.outputs, most_rows)
        .map_err(|wrong| format!("version {number} does not take what the champion takes: {wrong}"))?;
    let answer = tokio::time::timeout(PATIENCE, previous.lane.answer_behind(asked.inputs, asked.rows)).await;
    let outputs = answer.map_err(|_| format!("version {number} did not answer within {PATIENCE:?}"))?;
    let outputs = outputs.map_err(|refusal| ServingError::from(refusal).to_string())?;
    let same = outputs.into_iter().find(|found| found.name == output).and_then(floats);
    let previous = same.ok_or_else(|| format!("version {number} gives no floats as `{output}`"))?;
    Ok(Judged { output, champion, previous, outcome: told.outcome, group: told.group })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(label: &str, classes: Option<&Classes>) -> Result<usize, Invalid> {
        let outcome = Outcome { id: "a".to_owned(), class: Class::Label(label.to_owned()), group: String::new() };
        told(4, outcome, classes).map(|told| told.outcome)
    }

    #[test]
    fn a_label_is_the_place_of_its_class_and_an_unknown_one_names_those_there_are() {
        let texts = Classes::Texts(["home", "draw", "away"].map(str::to_owned).to_vec());
        assert_eq!((place("draw", Some(&texts)), place("7", Some(&Classes::Ints(vec![5, 7])))), (Ok(1), Ok(1)));
        let wrong = place("Draw", Some(&texts)).unwrap_err();
        assert!(wrong.field == "outcomes[4].label" && wrong.detail.contains("home, draw, away"), "{wrong}");
        assert!(place("draw", None).unwrap_err().detail.contains("give their index"));
    }
}
