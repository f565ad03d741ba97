//! `loadline predict`: asks a model for one row, or for every row of a file.
//!
//! ```text
//! row, or file ─lines─▶ cells ─by the model's inputs─▶ batch ═ModelInfer═▶ serving ─▶ a line a row
//! ```

mod answer;
mod football;
mod rows;

use crate::{
    connect::{Peer, ServingAddress},
    output::{BAD_NEWS, Output, clean},
    publish::{
        lines::{Content, Lines, Position},
        progress::Progress,
    },
};
use anyhow::{Context as _, bail};
use loadline_proto::inference::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
};
use rows::{Batch, Header};
use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
};
use tonic::transport::Channel;

const EXAMPLES: &str = "\
  loadline predict wine 5.1 3.5 1.4 0.2                  one row of a model with one input
  loadline predict churn age=41 plan=basic               one row of a model with an input a column
  loadline predict wine --csv rows.csv > answers.csv     every row of a file; its header names the columns
  loadline predict match --league synthetic-league Alderport Redcliff    a football match

A model with one input takes the columns in their order, one with several takes each by its name. An empty cell is a gap (NaN).
Exit codes: 0 all answered, 1 some lines are no rows, 2 not done.";

/// Ask a model for a row, for every row of a CSV file, or for a football match
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct PredictArgs {
    #[command(subcommand)]
    football: Option<Football>,
    /// Name of the model
    #[arg(required = true)]
    model: Option<String>,
    /// Values of one row: in order, or NAME=VALUE
    #[arg(allow_negative_numbers = true)]
    values: Vec<String>,
    /// Every row of a file; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "values")]
    csv: Option<PathBuf>,
    /// Number of a version, or an alias [default: the champion]
    #[arg(long = "of", value_name = "VERSION", default_value = "")]
    of: String,
    /// Rows sent at once
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    batch: u32,
    /// Print JSON, an object a row
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: ServingAddress,
}

/// What is not asked by tensors.
#[derive(Debug, Clone, clap::Subcommand)]
enum Football {
    Match(football::MatchArgs),
    Replay(football::ReplayArgs),
}

type Client = GrpcInferenceServiceClient<Channel>;

/// Runs the command.
///
/// # Errors
/// When serving does not answer, refuses, or the file cannot be read.
pub async fn run(args: PredictArgs) -> anyhow::Result<ExitCode> {
    match args.football {
        Some(Football::Match(asked)) => return football::predict(asked, &args.address).await,
        Some(Football::Replay(receipt)) => return football::replay(receipt, &args.address).await,
        None => {}
    }
    let output = Output::stdout(args.json);
    let peer = args.address.connect()?;
    let model = args.model.context("name a model")?;
    let mut client = Client::new(peer.channel.clone());
    let request = ModelMetadataRequest { name: model.clone(), version: args.of.clone() };
    let metadata = peer.call(client.model_metadata(peer.request(request))).await?;
    let asking = Asking { peer, client, model, version: args.of };
    match args.csv {
        Some(file) => every_row(asking, &output, &file, metadata.inputs, args.batch as usize).await,
        None => {
            let row = rows::typed(&args.values, &metadata.inputs)?;
            let answer = asking.ask(row).await?;
            output.print(&answer::lone(&output, &answer)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Where a batch goes.
struct Asking {
    peer: Peer,
    client: Client,
    model: String,
    version: String,
}

impl Asking {
    async fn ask(&self, batch: Batch) -> anyhow::Result<ModelInferResponse> {
        let (model_name, model_version) = (self.model.clone(), self.version.clone());
        let request = ModelInferRequest { model_name, model_version, inputs: batch.into_inputs(), ..Default::default() };
        self.peer.call(self.client.clone().model_infer(self.peer.request(request))).await
    }
}

async fn every_row(
    asking: Asking,
    output: &Output,
    path: &Path,
    inputs: Vec<loadline_proto::inference::model_metadata_response::TensorMetadata>,
    most: usize,
) -> anyhow::Result<ExitCode> {
    let (reader, bytes) = opened(path)?;
    let mut lines = Lines::new(reader, Position::default());
    let Some(Content::Text(header)) = lines.next_line()? else {
        bail!("the file has no header; its first line names the columns")
    };
    let mut header = Header::new(header, &inputs).map_err(anyhow::Error::msg)?;
    let mut progress = Progress::new(bytes, 0, true);
    let (mut batch, mut answered, mut bad) = (header.batch(), 0_u64, 0_u64);
    let mut printed_header = output.json;
    loop {
        let next = match lines.next_line()? {
            None => None,
            Some(Content::Text("")) => continue,
            Some(Content::Text(line)) => Some(header.add(line, &mut batch)),
            Some(Content::Bytes) => Some(Err("is no UTF-8".to_owned())),
            Some(Content::TooLong) => Some(Err("is too long".to_owned())),
        };
        if let Some(Err(why)) = &next {
            bad += 1;
            progress.note(&format!("line {}: {why}", lines.position().lines));
        }
        if batch.rows() >= most || (next.is_none() && batch.rows() > 0) {
            let rows = batch.rows() as u64;
            let answer = asking.ask(std::mem::replace(&mut batch, header.batch())).await?;
            output.print(&answer::lines(output, &answer, &mut printed_header)?)?;
            answered += rows;
            progress.settled(lines.position().bytes, answered);
        }
        if next.is_none() {
            break;
        }
    }
    progress.finish();
    Ok(if bad > 0 { ExitCode::from(BAD_NEWS) } else { ExitCode::SUCCESS })
}

/// A file with its length, or standard input.
fn opened(path: &Path) -> anyhow::Result<(Box<dyn BufRead>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(path).with_context(|| format!("opening {}", clean(&path.display().to_string())))?;
    let bytes = file.metadata().ok().map(|metadata| metadata.len());
    Ok((Box::new(BufReader::new(file)), bytes))
}
