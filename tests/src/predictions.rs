//! Models registered, promoted and asked over gRPC, as another program would.

use crate::service::Service;
use anyhow::{Context as _, Result, ensure};
use loadline_proto::{
    inference::{
        InferTensorContents, ModelInferRequest, ModelInferResponse, grpc_inference_service_client::GrpcInferenceServiceClient,
        infer_parameter::ParameterChoice, model_infer_request::InferInputTensor,
    },
    serving::{
        PromoteRequest, RegisterHeader, RegisterRequest, model_service_client::ModelServiceClient,
        prediction_job_service_client::PredictionJobServiceClient, register_request::Part,
    },
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
use tokio::{task::JoinHandle, time::sleep};
use tonic::{Status, transport::Channel};

/// Exports of other libraries with the same five inputs.
pub const FILES: [&str; 2] = ["logistic_without_zipmap", "xgboost_classifier"];
/// What they are registered as.
pub const MODEL: &str = "classes";

/// An export.
///
/// # Errors
/// When it is not there.
pub fn file(name: &str) -> Result<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/models/fixtures");
    Ok(fs::read(folder.join(name).with_extension("onnx"))?)
}

/// The service, as whoever registers, promotes and asks sees it.
#[derive(Clone)]
pub struct Predictions(Channel);

impl Predictions {
    /// Of this service, which may be away.
    ///
    /// # Errors
    /// Never for a service that has an address.
    pub fn of(service: &Service) -> Result<Self> {
        let endpoint = Channel::from_shared(format!("http://{}", service.serving_address()))?;
        Ok(Self(endpoint.timeout(Duration::from_secs(20)).connect_lazy()))
    }

    /// Registers an export; the number of its version.
    ///
    /// # Errors
    /// Those of the service.
    pub async fn register(&self, name: &str) -> Result<u64> {
        let header = Part::Header(RegisterHeader { model: MODEL.to_owned(), ..RegisterHeader::default() });
        let parts = [header, Part::Chunk(file(name)?.into())].map(|part| RegisterRequest { part: Some(part) });
        let answer = ModelServiceClient::new(self.0.clone()).register(futures::stream::iter(parts)).await?.into_inner();
        Ok(answer.version.context("a version")?.number)
    }

    /// Lets the champion be a version.
    ///
    /// # Errors
    /// Those of the service.
    pub async fn promote(&self, version: u64, expected_version: u64) -> Result<(), Status> {
        let (model, reason) = (MODEL.to_owned(), "the scenario wants it".to_owned());
        let request = PromoteRequest { model, version, expected_version, reason, ..PromoteRequest::default() };
        ModelServiceClient::new(self.0.clone()).promote(request).await.map(drop)
    }

    /// Asks the champion.
    ///
    /// # Errors
    /// Those of the service.
    pub async fn ask(&self, value: f32) -> Result<ModelInferResponse, Status> {
        Ok(GrpcInferenceServiceClient::new(self.0.clone()).model_infer(question(value)).await?.into_inner())
    }

    /// What is asked now and answered later.
    #[must_use]
    pub fn jobs(&self) -> PredictionJobServiceClient<Channel> {
        PredictionJobServiceClient::new(self.0.clone())
    }
}

/// A row whose values are all `value`.
pub fn question(value: f32) -> ModelInferRequest {
    let contents = InferTensorContents { fp32_contents: vec![value; 5], ..InferTensorContents::default() };
    let (name, datatype) = ("X".to_owned(), "FP32".to_owned());
    let input = InferInputTensor { name, datatype, shape: vec![1, 5], contents: Some(contents), ..Default::default() };
    ModelInferRequest { model_name: MODEL.to_owned(), inputs: vec![input], ..ModelInferRequest::default() }
}

/// The version that answered, and for how many seconds the registry has been silent, if it is.
///
/// # Errors
/// When its version is no number.
pub fn by(answer: &ModelInferResponse) -> Result<(u64, Option<i64>)> {
    let age = answer.parameters.get("registry_age_seconds").and_then(|parameter| parameter.parameter_choice.clone());
    let age = match age {
        Some(ParameterChoice::Int64Param(age)) => Some(age),
        _ => None,
    };
    Ok((answer.model_version.parse()?, age))
}

/// Asks a few questions round and round until it is ended. One question has one answer as long as one version answers.
pub struct Caller {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    task: JoinHandle<Result<()>>,
}

/// Questions of a caller.
const QUESTIONS: usize = 50;

impl Caller {
    /// Begins.
    #[must_use]
    pub fn start(predictions: &Predictions) -> Self {
        let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (predictions, ending, counted) = (predictions.clone(), over.clone(), answers.clone());
        let task = tokio::spawn(async move {
            let mut known: Vec<Option<ModelInferResponse>> = vec![None; QUESTIONS];
            for at in (0..QUESTIONS).cycle() {
                if ending.load(SeqCst) {
                    break;
                }
                let mut answer = predictions.ask(at as f32 / 10.0).await?;
                answer.parameters.remove("registry_age_seconds");
                let before = known[at].replace(answer.clone());
                let same = before.filter(|before| before.model_version == answer.model_version);
                ensure!(same.is_none_or(|before| before == answer), "question {at} has another answer: {answer:?}");
                counted.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(2)).await;
            }
            Ok(())
        });
        Self { over, answers, task }
    }

    /// Goes on being answered.
    ///
    /// # Errors
    /// When no answer comes for half a second.
    pub async fn is_answered(&self) -> Result<()> {
        let before = self.answers.load(SeqCst);
        sleep(Duration::from_millis(500)).await;
        ensure!(self.answers.load(SeqCst) > before, "no answer within half a second");
        Ok(())
    }

    /// How many answers there were.
    ///
    /// # Errors
    /// The first that failed, or was another than the same question had before.
    pub async fn end(self) -> Result<u64> {
        self.over.store(true, SeqCst);
        self.task.await??;
        Ok(self.answers.load(SeqCst))
    }
}
