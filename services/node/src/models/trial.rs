//! A file of rows, asked of the champion and of a challenger: the gate's verdict, or only how their answers differ.

use crate::{
    connect::Peer,
    predict::{
        opened,
        rows::{Batch, Header},
    },
    publish::lines::{Content, Lines, Position},
};
use anyhow::{Context as _, bail};
use loadline_proto::{
    inference::{ModelMetadataRequest, grpc_inference_service_client::GrpcInferenceServiceClient},
    serving::{
        EvaluateGateRequest, GateEvaluation, GateHeader, GateRows, GateRules, evaluate_gate_request::Part,
        model_service_client::ModelServiceClient,
    },
};
use std::path::Path;

/// Rows of one message, and about their bytes: it takes a MiB at most.
const ROWS: usize = 256;
const BYTES: usize = 256 << 10;

/// Rows with what happened.
#[derive(Debug, Clone, clap::Args)]
pub struct Judged {
    /// Column with what happened: the number of a class from 0, or one of --classes
    #[arg(long, value_name = "COLUMN", default_value = "outcome")]
    pub outcome: String,
    /// What the classes are called, in the order of the model's output, such as home,draw,away
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// How sure the verdict has to be, one-sided [default: 0.95]
    #[arg(long, value_name = "PROBABILITY")]
    pub confidence: Option<f64>,
    /// The smallest improvement of the ranked probability score that is worth having [default: 0.001]
    #[arg(long)]
    pub effect: Option<f64>,
    /// Fewer groups decide nothing [default: 20]
    #[arg(long, value_name = "GROUPS")]
    pub least_groups: Option<u64>,
}

/// What rows share with others, and where their forecast is.
#[derive(Debug, Clone, clap::Args)]
pub struct Rows {
    /// Column with what rows share, such as their match day: those of a group are not independent
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<String>,
    /// The model's output with a probability a class [default: the only one there is]
    #[arg(long, default_value = "")]
    pub output: String,
}

/// Two versions.
pub struct Versions {
    pub model: String,
    pub alias: String,
    /// The challenger; the champion is what the alias names.
    pub version: u64,
}

/// Asks both for every row of a file; without `judged` only for their differences.
///
/// # Errors
/// When a line is no row, or serving refuses: then nothing is kept.
pub async fn of(
    peer: &Peer,
    versions: Versions,
    file: &Path,
    rows: &Rows,
    judged: Option<&Judged>,
) -> anyhow::Result<GateEvaluation> {
    let Versions { model, alias, version } = versions;
    let metadata = ModelMetadataRequest { name: model.clone(), version: alias.clone() };
    let mut inference = GrpcInferenceServiceClient::new(peer.channel.clone());
    let inputs = peer.call(inference.model_metadata(peer.request(metadata))).await?.inputs;
    let rules = judged.map(|judged| GateRules {
        confidence: judged.confidence,
        effect: judged.effect,
        least_groups: judged.least_groups,
        ..GateRules::default()
    });
    let (output, differences_only) = (rows.output.clone(), judged.is_none());
    let header = Part::Header(GateHeader { model, alias, version, output, rules, differences_only });
    let parts = std::iter::once(header).chain(read(file, &inputs, rows, judged)?.into_iter().map(Part::Rows));
    let requests: Vec<_> = parts.map(|part| EvaluateGateRequest { part: Some(part) }).collect();
    let mut client = ModelServiceClient::new(peer.channel.clone());
    let answer = peer.call(client.evaluate_gate(peer.request(futures::stream::iter(requests)))).await?;
    answer.evaluation.context("serving answered without an evaluation")
}

/// The whole file, in pieces. A line that is no row ends it: a verdict on a part of the rows would be one on other rows.
fn read(
    file: &Path,
    inputs: &[loadline_proto::inference::model_metadata_response::TensorMetadata],
    rows: &Rows,
    judged: Option<&Judged>,
) -> anyhow::Result<Vec<GateRows>> {
    let (reader, _) = opened(file)?;
    let mut lines = Lines::new(reader, Position::default());
    let Some(Content::Text(header)) = lines.next_line()? else {
        bail!("the file has no header; its first line names the columns")
    };
    let others: Vec<&str> = judged.map(|judged| judged.outcome.as_str()).into_iter().chain(rows.group.as_deref()).collect();
    let mut header = Header::beside(header, inputs, &others).map_err(anyhow::Error::msg)?;
    let (mut pieces, mut piece) = (Vec::new(), Piece::of(header.batch()));
    while let Some(line) = lines.next_line()? {
        let added = match line {
            Content::Text("") => continue,
            Content::Text(line) => piece.add(line, &mut header, rows, judged),
            Content::Bytes => Err("is no UTF-8".to_owned()),
            Content::TooLong => Err("is too long".to_owned()),
        };
        added.map_err(|why| anyhow::anyhow!("line {}: {why}", lines.position().lines))?;
        if piece.batch.rows() >= ROWS || piece.bytes >= BYTES {
            pieces.push(std::mem::replace(&mut piece, Piece::of(header.batch())).whole());
        }
    }
    if piece.batch.rows() > 0 {
        pieces.push(piece.whole());
    }
    Ok(pieces)
}

/// Rows that are sent together.
struct Piece {
    batch: Batch,
    outcomes: Vec<u32>,
    groups: Vec<String>,
    bytes: usize,
}

impl Piece {
    fn of(batch: Batch) -> Self {
        Self { batch, outcomes: vec![], groups: vec![], bytes: 0 }
    }

    fn add(&mut self, line: &str, header: &mut Header, rows: &Rows, judged: Option<&Judged>) -> Result<(), String> {
        let mut others = header.add(line, &mut self.batch)?.into_iter();
        if let Some(judged) = judged {
            let told = others.next().unwrap_or_default();
            self.outcomes.push(class(&told, &judged.classes)?);
        }
        if rows.group.is_some() {
            self.groups.push(others.next().unwrap_or_default());
        }
        // A number of one digit is eight bytes at most.
        self.bytes += 4 * line.len();
        Ok(())
    }

    fn whole(self) -> GateRows {
        GateRows { inputs: self.batch.into_inputs(), outcomes: self.outcomes, groups: self.groups }
    }
}

fn class(told: &str, classes: &[String]) -> Result<u32, String> {
    if let Some(place) = classes.iter().position(|class| class.trim() == told) {
        return u32::try_from(place).map_err(|_| "has too many classes".to_owned());
    }
    match classes {
        [] => told.parse().map_err(|_| format!("{told:?} is no class; give its number from 0, or --classes with their names")),
        known => Err(format!("{told:?} is no class; they are {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_its_number_or_its_name() {
        let names = ["home", "draw", "away"].map(str::to_owned);
        assert_eq!((class("2", &[]), class("draw", &names)), (Ok(2), Ok(1)));
        assert!(class("home", &[]).unwrap_err().contains("--classes"));
        assert!(class("2", &names).unwrap_err().contains("home, draw, away"));
    }
}
