//! `loadline predict`: asks a model for one row, or for every row of a file.
//!
//! ```text
//! row, or file ─lines─▶ cells ─by the model's inputs─▶ batch ═ModelInfer═▶ serving ─▶ a line a row
//! ```

mod answer;
mod file;
mod football;
mod jobs;
pub(crate) mod rows;

use crate::{
    connect::{Peer, ServingAddress},
    output::{Output, clean},
};
use anyhow::{Context as _, bail};
use loadline_proto::{
    inference::{
        ModelInferRequest, ModelInferResponse, ModelMetadataRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
    },
    serving::{SubmitPredictionRequest, SubmitPredictionResponse, prediction_job_service_client::PredictionJobServiceClient},
};
use rows::Batch;
use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
};
use tonic::{Status, transport::Channel};

const EXAMPLES: &str = "\
  loadline predict wine 5.1 3.5 1.4 0.2                  one row of a model with one input
  loadline predict churn age=41 plan=basic               one row of a model with an input a column
  loadline predict wine --csv rows.csv > answers.csv     every row of a file; its header names the columns
  loadline predict wine --async --csv rows.csv           nobody waits: a job for every --batch of rows
  loadline predict jobs 1c0f…                            where a job stands, and its answer
  loadline predict match --league synthetic-league Alderport Redcliff    a football match

A model with one input takes the columns in their order, one with several takes each by its name. An empty cell is a gap (NaN).
Exit codes: 0 all answered, 1 some lines are no rows or were refused, 2 not done.";

/// Ask a model for a row, for every row of a CSV file, or for a football match
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(disable_help_subcommand = true)]
pub struct PredictArgs {
    #[command(subcommand)]
    command: Option<Command>,
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
    /// Do not wait: submit jobs, print their ids and leave
    #[arg(long = "async")]
    detach: bool,
    /// With --async: another key makes another job of the same rows
    #[arg(long, default_value = "", requires = "detach")]
    key: String,
    /// Print JSON, an object a row
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    address: ServingAddress,
}

/// What is not asked by tensors, or was asked before.
#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Show jobs, the newest first; or one, with its answer
    Jobs(jobs::JobsArgs),
    Match(football::MatchArgs),
    Replay(football::ReplayArgs),
}

type Client = GrpcInferenceServiceClient<Channel>;

/// Runs the command.
///
/// # Errors
/// When serving does not answer, refuses, or the file cannot be read.
pub async fn run(args: PredictArgs) -> anyhow::Result<ExitCode> {
    let output = Output::stdout(args.json);
    let peer = args.address.connect()?;
    let model = match (args.command, args.model) {
        (Some(Command::Jobs(wanted)), _) => return jobs::run(&output, &peer, wanted).await,
        (Some(Command::Match(asked)), _) => return football::predict(&output, &peer, asked).await,
        (Some(Command::Replay(receipt)), _) => return football::replay(&output, &peer, receipt).await,
        (None, Some(model)) => model,
        (None, None) => bail!("name a model; `loadline models` lists them"),
    };
    let mut client = Client::new(peer.channel.clone());
    let request = ModelMetadataRequest { name: model.clone(), version: args.of.clone() };
    let metadata = peer.call(client.model_metadata(peer.request(request))).await?;
    let asking = Asking { peer, client, model, version: args.of, key: args.detach.then_some(args.key) };
    match args.csv {
        Some(path) => file::every_row(asking, &output, &path, &metadata.inputs, args.batch as usize).await,
        None => {
            let row = rows::typed(&args.values, &metadata.inputs)?;
            output.print(&match &asking.key {
                Some(key) => jobs::submitted(&output, &asking.submit(row, key).await?)?,
                None => {
                    let answer = asking.ask(asking.question(row)).await?;
                    answer::lone(&output, &answer.map_err(|status| asking.peer.explain(&status))?)?
                }
            })?;
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
    /// Of jobs, where nobody waits.
    key: Option<String>,
}

impl Asking {
    async fn ask(&self, question: ModelInferRequest) -> anyhow::Result<Result<ModelInferResponse, Status>> {
        self.peer.heard(self.client.clone().model_infer(self.peer.request(question))).await
    }

    async fn submit(&self, batch: Batch, key: &str) -> anyhow::Result<SubmitPredictionResponse> {
        let (question, key) = (Some(self.question(batch)), key.to_owned());
        let request = SubmitPredictionRequest { question, key, ..SubmitPredictionRequest::default() };
        let mut client = PredictionJobServiceClient::new(self.peer.channel.clone());
        self.peer.call(client.submit(self.peer.request(request))).await
    }

    fn question(&self, batch: Batch) -> ModelInferRequest {
        let (model_name, model_version) = (self.model.clone(), self.version.clone());
        ModelInferRequest { model_name, model_version, inputs: batch.into_inputs(), ..Default::default() }
    }
}

/// A file with its length, or standard input.
pub(crate) fn opened(path: &Path) -> anyhow::Result<(Box<dyn BufRead>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(path).with_context(|| format!("opening {}", clean(&path.display().to_string())))?;
    let bytes = file.metadata().ok().map(|metadata| metadata.len());
    Ok((Box::new(BufReader::new(file)), bytes))
}
