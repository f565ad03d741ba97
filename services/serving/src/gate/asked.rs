//! Rows as they come, and both models' forecasts.

use super::pair::Pair;
use crate::{
    engine::Refusal,
    resident::Loaded,
    status::ServingError,
    tensors::{Invalid, floats, ports, request},
};
use loadline_domain::gate::{Changes, Report, Rules, Trial};
use loadline_models::{DataType, Port};
use loadline_proto::{
    inference::{ModelInferRequest, model_infer_request::InferInputTensor},
    serving::{GateHeader, GateRows},
};
use std::time::Duration;

/// Rows of one evaluation: more than fifty seasons of five leagues.
pub const MOST_ROWS: usize = 100_000;
/// Classes of a forecast: what is kept of an evaluation has forecasts in it.
const MOST_CLASSES: usize = 32;
/// Bytes of a group's name.
const LONGEST_GROUP: usize = 200;
/// Longest that a model may take for the rows of one message: one that hangs ends its own evaluation only.
const PATIENCE: Duration = Duration::from_secs(20);

/// A trial in the making.
pub struct Asking<'a> {
    pair: &'a Pair,
    /// The output that is compared, of each.
    outputs: [usize; 2],
    classes: usize,
    request_rows: usize,
    trial: Trial,
    changes: Changes,
    differences_only: bool,
}

impl<'a> Asking<'a> {
    /// Nothing asked yet.
    ///
    /// # Errors
    /// When one of both gives no forecast, or another than the other.
    pub fn new(pair: &'a Pair, header: &GateHeader, request_rows: usize) -> Result<Self, ServingError> {
        let (champion, challenger) = (forecast(&pair.champion, &header.output)?, forecast(&pair.challenger, &header.output)?);
        let [first, second] = [champion.1, challenger.1];
        if first != second {
            let detail = format!(
                "is over {first} classes of version {}, and {second} of {}",
                pair.champion.number, pair.challenger.number
            );
            return Err(Invalid::new("output", detail).into());
        }
        if first > MOST_CLASSES {
            return Err(Invalid::new("output", format!("has {first} classes; at most {MOST_CLASSES} are compared")).into());
        }
        let outputs = [champion.0, challenger.0];
        let (trial, changes, differences_only) = (Trial::new(first), Changes::default(), header.differences_only);
        Ok(Self { pair, outputs, classes: first, request_rows, trial, changes, differences_only })
    }

    /// Asks both for rows.
    ///
    /// # Errors
    /// What is wrong with the rows, or with an answer.
    pub async fn add(&mut self, rows: GateRows) -> Result<(), ServingError> {
        let GateRows { inputs, outcomes, groups } = rows;
        let champion = self.ask(&self.pair.champion, self.outputs[0], inputs.clone(), "champion").await?;
        let challenger = self.ask(&self.pair.challenger, self.outputs[1], inputs, "challenger").await?;
        let given = champion.len() / self.classes;
        let before = self.trial.matches().max(self.changes.rows as usize);
        if before + given > MOST_ROWS {
            return Err(Invalid::new("rows", format!("are more than {MOST_ROWS}; give the latest")).into());
        }
        if !self.differences_only && outcomes.len() != given {
            return Err(Invalid::new("outcomes", format!("are {} for {given} rows", outcomes.len())).into());
        }
        if !groups.is_empty() && groups.len() != given {
            return Err(Invalid::new("groups", format!("are {} for {given} rows; give one a row, or none", groups.len())).into());
        }
        let forecasts = champion.chunks(self.classes).zip(challenger.chunks(self.classes)).enumerate();
        for (row, (champion, challenger)) in forecasts {
            let group = groups.get(row).map_or("", String::as_str);
            if group.len() > LONGEST_GROUP {
                return Err(Invalid::new(format!("groups[{row}]"), format!("has more than {LONGEST_GROUP} bytes")).into());
            }
            if self.differences_only {
                self.changes.add(champion, challenger, group);
                continue;
            }
            let added = self.trial.add(champion, challenger, outcomes[row] as usize, group);
            added.map_err(|error| Invalid::new(format!("row {}", before + row), error.to_string()))?;
        }
        Ok(())
    }

    /// What the trial says.
    ///
    /// # Errors
    /// When nothing was asked.
    pub fn report(&self, rules: &Rules) -> Result<Report, ServingError> {
        some(self.trial.matches())?;
        Ok(self.trial.report(rules))
    }

    /// What callers would see.
    ///
    /// # Errors
    /// When nothing was asked.
    pub fn changes(&self) -> Result<&Changes, ServingError> {
        some(self.changes.rows as usize)?;
        Ok(&self.changes)
    }

    /// Forecasts, one after the other.
    async fn ask(&self, of: &Loaded, output: usize, inputs: Vec<InferInputTensor>, who: &str) -> Result<Vec<f64>, ServingError> {
        let request = ModelInferRequest { inputs, ..ModelInferRequest::default() };
        let asked = request::read(request, &of.inputs, &of.outputs, self.request_rows);
        let asked = asked.map_err(|Invalid { field, detail }| Invalid {
            field: format!("rows.{field}"),
            detail: format!("{detail} (the {who})"),
        })?;
        let answer = tokio::time::timeout(PATIENCE, of.lane.answer(asked.inputs, asked.rows, None)).await;
        let late = || Refusal::Broken(format!("the {who} has not answered {} rows within {PATIENCE:?}", asked.rows));
        let mut outputs = answer.map_err(|_| late())??;
        let cut = || Refusal::Broken(format!("the {who} answered without its forecast"));
        let forecast = if output < outputs.len() { outputs.swap_remove(output) } else { return Err(cut().into()) };
        if forecast.shape != [asked.rows, self.classes] {
            return Err(cut().into());
        }
        floats(forecast).ok_or_else(|| cut().into())
    }
}

fn some(rows: usize) -> Result<(), ServingError> {
    if rows == 0 { Err(Invalid::new("rows", "are absent: there is nothing to compare on").into()) } else { Ok(()) }
}

/// Which output has the forecast, and over how many classes.
pub(crate) fn forecast(of: &Loaded, name: &str) -> Result<(usize, usize), ServingError> {
    let classes = |port: &Port| match (port.data_type, &port.shape[..]) {
        (DataType::F32 | DataType::F64, [_, Some(classes)]) if *classes > 1 => Some(*classes),
        _ => None,
    };
    let fits = of.outputs.iter().enumerate().filter(|(_, port)| name.is_empty() || port.name == name);
    let mut fits = fits.filter_map(|(place, port)| Some((place, classes(port)?)));
    match (fits.next(), fits.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => {
            let detail = format!("is absent, and version {} has several: name one of {}", of.number, ports::listed(&of.outputs));
            Err(Invalid::new("output", detail).into())
        }
        (None, _) => {
            let forms = of.outputs.iter().map(|port| format!("`{}` {}", port.name, ports::form(port))).collect::<Vec<_>>();
            let detail =
                format!("has to be floats, a column a class; version {} of `{}` gives {}", of.number, of.model, forms.join(", "));
            Err(Invalid::new("output", detail).into())
        }
    }
}
