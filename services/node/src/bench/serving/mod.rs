//! `loadline bench serving`: single rows over gRPC, beside calls that do nothing, on the same server in the same run.
//!
//! Then the same row where it is known, others that are not, and no cache, in turns.
//!
//! Server and callers share this process and its cores, but for those past saturation. Callers send bytes that were encoded before and
//! look at answers without decoding them, for the model and for the bare call alike: what they would do with an answer is not the
//! server's time.

mod cached;
mod load;
mod overload;
mod peer;
mod report;
mod resident;
mod wire;

pub use overload::{ServerArgs, serve};
use report::Found;
pub use report::Report;

use crate::{bench::open_loop, connect};
use anyhow::{Context as _, ensure};
use load::answered;
use loadline_platform::{Kept, Platform};
use loadline_proto::{
    inference::{
        ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ServerLiveRequest,
        grpc_inference_service_client::GrpcInferenceServiceClient, model_infer_request::InferInputTensor,
        model_metadata_response::TensorMetadata,
    },
    serving::{
        PromoteRequest, RegisterHeader, RegisterRequest, model_service_client::ModelServiceClient, register_request::Part,
    },
};
use loadline_runtime::{
    Shutdown,
    admin::Readiness,
    config::{ByteSize, SecretUrl},
};
use loadline_serving::serve::MODELS;
use loadline_settings::Settings;
use prost::Message as _;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use wire::{Call, call};

const MODEL: &str = "bench";
/// A gradient-boosted classifier of 30 features and 3 classes.
const DEFAULT_MODEL: &[u8] = include_bytes!("model.onnx");
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub struct ServingArgs {
    /// ONNX file of a model whose inputs are all FP32; a classifier of 30 features and 3 classes when absent
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Calls in flight in the closed loop
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Connections that they share
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// Rounds of each kind of call in the closed loop, in turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each round, and of each rate
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rates of the open loop, a second
    #[arg(long, value_delimiter = ',', default_values_t = [500, 1_000])]
    rates: Vec<u32>,
    /// How many times what a closed loop is answered is asked past saturation; 0 leaves that out
    #[arg(long, default_value_t = 1.5)]
    overload: f64,
    /// Rows of each of these requests: enough for the callers to ask for more than the server answers
    #[arg(long, default_value_t = 1_024)]
    overload_rows: u32,
    /// Connections that they share
    #[arg(long, default_value_t = 16)]
    overload_connections: usize,
    /// Seconds that they go on for, after the first
    #[arg(long, default_value_t = 5)]
    overload_seconds: u32,
    /// Models in memory at once, each a file of its own; 0 leaves that out
    #[arg(long, default_value_t = 100)]
    models: u32,
    /// Another server of the Open Inference Protocol, which serves a model of the same inputs as `bench`, to be asked in turns with ours
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<SocketAddr>,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Runs every phase and returns the figures.
///
/// # Errors
/// When the server does not start, or an answer is not the model's.
pub async fn run(args: ServingArgs) -> anyhow::Result<Report> {
    let file = file(args.model.as_deref()).await?;
    let scratch = tempfile::tempdir().context("a folder for scratch files")?;
    // The same row again and again is the model's every time.
    let (address, shutdown) = server(&scratch.path().join("off"), ByteSize(0), None).await?;
    let channels = channels(address, args.connections)?;
    let model = promoted(&channels[0], MODEL, file.clone()).await?;
    let live = Call::new("/inference.GRPCInferenceService/ServerLive", &ServerLiveRequest {});
    let infer = Call::new("/inference.GRPCInferenceService/ModelInfer", &request(MODEL, &model, 1));
    check(&channels[0], &infer).await?;

    let lasts = Duration::from_secs(args.seconds.max(1));
    let (mut answers, mut bare) = (Vec::new(), Vec::new());
    for round in 0..args.rounds.max(1) {
        eprintln!("{} in flight, round {} …", args.in_flight, round + 1);
        // Neither always comes first.
        for asks_model in if round % 2 == 0 { [true, false] } else { [false, true] } {
            let (of, rounds) = if asks_model { (&infer, &mut answers) } else { (&live, &mut bare) };
            rounds.push(answered(&channels, of, args.in_flight, lasts).await?);
        }
    }
    let peer = match args.peer {
        None => None,
        Some(address) => Some(peer::measured(&args, address, (&channels, &infer), &model).await?),
    };
    let cache = cached::measured(&args, &channels, &infer, file.clone(), &scratch.path().join("cached")).await?;
    let mut open = Vec::new();
    for rate in &args.rates {
        eprintln!("{rate} a second …");
        open.push((*rate, at_rate(&channels, &infer, *rate, lasts).await?, at_rate(&channels, &live, *rate, lasts).await?));
    }
    let overload = match args.overload {
        times if times > 0.0 => Some(overload::measured(&args).await?),
        _ => None,
    };
    shutdown.begin();
    let resident = match args.models {
        0 => None,
        models => Some(resident::measured(models, &file, &scratch.path().join("many")).await?),
    };
    Ok(Report::new(&args, &model, Found { answers, bare, peer, cache, open, overload, resident }))
}

async fn file(path: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    match path {
        Some(path) => tokio::fs::read(path).await.with_context(|| format!("reading {}", path.display())),
        None => Ok(DEFAULT_MODEL.to_vec()),
    }
}

fn channels(address: SocketAddr, connections: usize) -> anyhow::Result<Vec<Channel>> {
    (0..connections.max(1)).map(|_| connect::channel(&address.to_string())).collect()
}

async fn at_rate(channels: &[Channel], of: &Call, rate: u32, lasts: Duration) -> anyhow::Result<open_loop::Waits> {
    let count = (lasts.as_secs_f64() * f64::from(rate)) as u32;
    open_loop::ask(rate, count, |index| {
        let (channel, of) = (channels[index as usize % channels.len()].clone(), of.clone());
        async move { call(channel, of).await.map(drop).map_err(Into::into) }
    })
    .await
}

/// The serving service alone on a free port, on scratch files, and its registry too where there is no `other`.
async fn server(scratch: &Path, memory: ByteSize, other: Option<&str>) -> anyhow::Result<(SocketAddr, Shutdown)> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let (address, shutdown) = (listener.local_addr()?, Shutdown::new());
    let mut settings = Settings::default();
    let own = || format!("file:{}", scratch.join("models").display());
    settings.serving.registry = SecretUrl::new(other.map_or_else(own, str::to_owned));
    settings.serving.artifacts = scratch.join("artifacts");
    settings.serving.cache.memory = memory;
    tokio::fs::create_dir_all(scratch).await?;
    let telemetry = loadline_runtime::telemetry::init(&settings.telemetry, "loadline-bench", env!("CARGO_PKG_VERSION"))?;
    let store = format!("sqlite:{}", scratch.join("store.db").display());
    let store = loadline_store::open(&store, loadline_store::Options::default()).await?;
    store.migrate().await?;
    let readiness = Readiness::new(&[MODELS]);
    let (ready, life) = (readiness.clone(), shutdown.clone());
    tokio::spawn(async move {
        let platform = Platform::new(Kept::new(settings, None, vec![]), telemetry);
        if let Err(error) = loadline_serving::serve::serve(&platform, store, listener, &readiness, &life).await {
            eprintln!("serving ended: {error:#}");
        }
    });
    let started = std::time::Instant::now();
    while !ready.is_ready() {
        ensure!(started.elapsed() < PATIENCE, "serving is not ready: {:?}", ready.reasons());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok((address, shutdown))
}

/// Registers the file, promotes it, and returns its inputs.
async fn promoted(channel: &Channel, name: &str, file: Vec<u8>) -> anyhow::Result<Vec<TensorMetadata>> {
    let mut models = ModelServiceClient::new(channel.clone());
    let header = Part::Header(RegisterHeader { model: name.to_owned(), ..RegisterHeader::default() });
    let chunks = file.chunks(1 << 20).map(|chunk| Part::Chunk(chunk.to_vec().into()));
    let parts: Vec<_> = std::iter::once(header).chain(chunks).map(|part| RegisterRequest { part: Some(part) }).collect();
    let version = models.register(futures::stream::iter(parts)).await?.into_inner().version.context("no version")?;
    let (model, reason) = (name.to_owned(), "to be measured".to_owned());
    models.promote(PromoteRequest { model, version: version.number, reason, ..PromoteRequest::default() }).await?;
    inputs_of(channel, name).await
}

/// The inputs of what is promoted.
async fn inputs_of(channel: &Channel, name: &str) -> anyhow::Result<Vec<TensorMetadata>> {
    let request = ModelMetadataRequest { name: name.to_owned(), ..ModelMetadataRequest::default() };
    let metadata = GrpcInferenceServiceClient::new(channel.clone()).model_metadata(request).await?.into_inner();
    ensure!(metadata.inputs.iter().all(|input| input.datatype == "FP32"), "the model takes other values than FP32");
    Ok(metadata.inputs)
}

/// Some rows, as bytes.
fn request(model: &str, inputs: &[TensorMetadata], rows: u32) -> ModelInferRequest {
    let mut request = ModelInferRequest { model_name: model.to_owned(), ..ModelInferRequest::default() };
    for input in inputs {
        let shape: Vec<i64> = std::iter::once(i64::from(rows)).chain(input.shape.iter().skip(1).copied()).collect();
        let values: i64 = shape.iter().product();
        let values = (0..values).map(|at| (at as f32 * 0.37).sin());
        request.raw_input_contents.push(values.flat_map(f32::to_le_bytes).collect::<Vec<_>>().into());
        let (name, datatype) = (input.name.clone(), input.datatype.clone());
        request.inputs.push(InferInputTensor { name, datatype, shape, ..InferInputTensor::default() });
    }
    request
}

/// What is measured is an answer of the model.
async fn check(channel: &Channel, infer: &Call) -> anyhow::Result<()> {
    let answer = ModelInferResponse::decode(call(channel.clone(), infer.clone()).await?)?;
    ensure!(answer.model_version == "1" && !answer.raw_output_contents.is_empty(), "no answer of the model: {answer:?}");
    Ok(())
}
