//! Serving on a real MLflow server that is stopped, killed and brought back while callers ask: they notice nothing.

use anyhow::{Context as _, Result, ensure};
use loadline_proto::{
    health::{Severity, State},
    inference::{
        InferTensorContents, ModelInferRequest, ModelInferResponse, grpc_inference_service_client::GrpcInferenceServiceClient,
        infer_parameter::ParameterChoice, model_infer_request::InferInputTensor,
    },
    serving::{
        PromoteRequest, RegisterHeader, RegisterRequest, model_service_client::ModelServiceClient, register_request::Part,
    },
};
use loadline_tests::{
    client::Clients,
    mlflow::MlflowServer,
    questions::{is_ok, mode_until, open},
    service::{Program, Service, Settings},
};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::sleep};
use tonic::{Code, Status, transport::Channel};

const PATIENCE: Duration = Duration::from_secs(60);
/// Exports of other libraries with the same five inputs.
const FILES: [&str; 2] = ["logistic_without_zipmap", "xgboost_classifier"];
const MODEL: &str = "classes";

fn file(name: &str) -> Result<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/models/fixtures");
    Ok(fs::read(folder.join(name).with_extension("onnx"))?)
}

fn started(folder: &TempDir, mlflow: &MlflowServer) -> Settings {
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let settings = Settings::new(Program::Serving, &file("log.db"), &file("store.db"));
    settings.set("serving.registry", &mlflow.url()).set("serving.look_every", "500ms")
}

fn channel(service: &Service) -> Result<Channel> {
    let endpoint = Channel::from_shared(format!("http://{}", service.serving_address()))?;
    Ok(endpoint.timeout(Duration::from_secs(20)).connect_lazy())
}

async fn register(service: &Service, name: &str) -> Result<u64> {
    let header = Part::Header(RegisterHeader { model: MODEL.to_owned(), ..RegisterHeader::default() });
    let parts = [header, Part::Chunk(file(name)?.into())].map(|part| RegisterRequest { part: Some(part) });
    let answer = ModelServiceClient::new(channel(service)?).register(futures::stream::iter(parts)).await?.into_inner();
    Ok(answer.version.context("a version")?.number)
}

async fn promote(service: &Service, version: u64, expected_version: u64) -> Result<(), Status> {
    let (model, reason) = (MODEL.to_owned(), "the scenario wants it".to_owned());
    let request = PromoteRequest { model, version, expected_version, reason, ..PromoteRequest::default() };
    let channel = channel(service).map_err(|error| Status::internal(error.to_string()))?;
    ModelServiceClient::new(channel).promote(request).await.map(drop)
}

fn question() -> ModelInferRequest {
    let contents = InferTensorContents { fp32_contents: vec![0.1; 5], ..InferTensorContents::default() };
    let (name, datatype) = ("X".to_owned(), "FP32".to_owned());
    let input = InferInputTensor { name, datatype, shape: vec![1, 5], contents: Some(contents), ..Default::default() };
    ModelInferRequest { model_name: MODEL.to_owned(), inputs: vec![input], ..ModelInferRequest::default() }
}

/// The version that answered, and how old what is known of the registry is.
fn by(answer: &ModelInferResponse) -> Result<(u64, Option<i64>)> {
    let age = answer.parameters.get("registry_age_seconds").and_then(|parameter| parameter.parameter_choice.clone());
    let age = match age {
        Some(ParameterChoice::Int64Param(age)) => Some(age),
        _ => None,
    };
    Ok((answer.model_version.parse()?, age))
}

async fn asked(service: &Service) -> Result<(u64, Option<i64>)> {
    by(GrpcInferenceServiceClient::new(channel(service)?).model_infer(question()).await?.get_ref())
}

/// Asks without a pause until it is ended.
struct Caller {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    task: JoinHandle<Result<()>>,
}

impl Caller {
    fn start(service: &Service) -> Result<Self> {
        let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut client = GrpcInferenceServiceClient::new(channel(service)?);
        let (ending, counted) = (over.clone(), answers.clone());
        let task = tokio::spawn(async move {
            while !ending.load(SeqCst) {
                client.model_infer(question()).await?;
                counted.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(2)).await;
            }
            Ok(())
        });
        Ok(Self { over, answers, task })
    }

    /// Goes on being answered.
    async fn is_answered(&self) -> Result<()> {
        let before = self.answers.load(SeqCst);
        sleep(Duration::from_millis(500)).await;
        ensure!(self.answers.load(SeqCst) > before, "no answer within half a second");
        Ok(())
    }

    /// How many answers there were, when none failed.
    async fn end(self) -> Result<u64> {
        self.over.store(true, SeqCst);
        self.task.await??;
        Ok(self.answers.load(SeqCst))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_notice_nothing_of_an_mlflow_that_is_stopped_killed_and_brought_back() -> Result<()> {
    let (folder, mut mlflow) = (tempfile::tempdir()?, MlflowServer::start().await?);
    let mut service = Service::start(started(&folder, &mlflow)).await?;
    let modes = Clients::lazy(service.serving_address())?;
    ensure!((register(&service, FILES[0]).await?, register(&service, FILES[1]).await?) == (1, 2));
    promote(&service, 1, 0).await?;
    let caller = Caller::start(&service)?;

    mlflow.stop()?;
    mode_until(&modes, "PR-08", PATIENCE, open(Severity::P2, "READY_STALE")).await?;
    caller.is_answered().await?;
    let refused = promote(&service, 2, 1).await.err().context("nobody can be asked")?;
    ensure!(refused.code() == Code::Unavailable, "{refused}");
    mlflow.go_on()?;
    mode_until(&modes, "PR-08", PATIENCE, is_ok).await?;
    promote(&service, 2, 1).await?;
    ensure!(asked(&service).await? == (2, None));

    mlflow.kill();
    mode_until(&modes, "PR-08", PATIENCE, open(Severity::P2, "READY_STALE")).await?;
    caller.is_answered().await?;
    let answers = caller.end().await?;
    ensure!(answers > 100, "{answers} answers");

    // A process that knew nothing starts from its disk, says how old that is, and forgets that once MLflow is back.
    service.kill();
    service.restart()?;
    service.ready().await?;
    let (version, age) = asked(&service).await?;
    ensure!(version == 2 && age.is_some(), "version {version}, {age:?} s");
    ensure!(mode_until(&modes, "PR-08", PATIENCE, |mode| mode.state() == State::Open).await?.state() == State::Open);
    mlflow.restart().await?;
    mode_until(&modes, "PR-08", PATIENCE, is_ok).await?;
    promote(&service, 1, 2).await?;
    ensure!(asked(&service).await? == (1, None));
    Ok(())
}
