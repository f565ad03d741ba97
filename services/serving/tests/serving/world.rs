//! A serving service on its port, over a folder of its own, and those who call it.

use loadline_models::registry::{self, NewVersion};
use loadline_platform::{Kept, Platform};
use loadline_proto::{
    inference::{
        InferTensorContents, ModelInferRequest, ModelInferResponse, grpc_inference_service_client::GrpcInferenceServiceClient,
        infer_parameter::ParameterChoice, model_infer_request::InferInputTensor,
    },
    serving::{
        AliasChange, PromoteRequest, RegisterHeader, RegisterRequest, RollbackRequest, Version,
        model_service_client::ModelServiceClient, register_request::Part,
    },
};
use loadline_runtime::{
    Shutdown,
    admin::Readiness,
    config::{ByteSize, SecretUrl},
    telemetry,
};
use loadline_serving::serve::{MODELS, serve};
use loadline_settings::Settings;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

pub const MODEL: &str = "wine";
const PATIENCE: Duration = Duration::from_secs(30);

/// Where everything is kept, over any number of lives of the service.
pub struct World {
    folder: TempDir,
    pub settings: Settings,
}

/// One life of the service.
pub struct Life {
    address: SocketAddr,
    pub readiness: Readiness,
    shutdown: Shutdown,
    served: JoinHandle<anyhow::Result<()>>,
}

pub type Inference = GrpcInferenceServiceClient<Channel>;
pub type Models = ModelServiceClient<Channel>;

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.serving.artifacts = folder.path().join("artifacts");
        settings.serving.registry = SecretUrl::new(format!("file:{}", folder.path().join("models").display()));
        settings.serving.check_with = env!("CARGO_BIN_EXE_loadline-serving").into();
        // Most tests are about the model, asked the same again and again.
        settings.serving.cache.memory = ByteSize(0);
        settings.serving.look_every = loadline_runtime::config::HumanDuration::millis(100);
        Self { folder, settings }
    }

    /// Where models are registered.
    pub fn registry(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    /// The service with these files as its versions; the first is the champion.
    pub async fn with(&self, files: &[Vec<u8>]) -> Life {
        let life = self.start().await;
        for file in files {
            life.register(file.clone()).await;
        }
        life.promote(1, 0).await.unwrap();
        life
    }

    /// The service, whatever is there.
    pub async fn begin(&self) -> Life {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown, readiness) = (listener.local_addr().unwrap(), Shutdown::new(), Readiness::new(&[MODELS]));
        let telemetry = telemetry::init(&telemetry::Settings::default(), "serving-tests", "0").unwrap();
        let store = format!("sqlite:{}", self.folder.path().join("store.db").display());
        let store = loadline_store::open(&store, loadline_store::Options::default()).await.unwrap();
        store.migrate().await.unwrap();
        let platform = Platform::new(Kept::new(self.settings.clone(), None, vec![]), telemetry);
        let served = tokio::spawn({
            let (readiness, shutdown) = (readiness.clone(), shutdown.clone());
            async move { serve(&platform, store, listener, &readiness, &shutdown).await }
        });
        Life { address, readiness, shutdown, served }
    }

    /// The service, once it is ready.
    pub async fn start(&self) -> Life {
        let life = self.begin().await;
        until("ready", || async { life.readiness.is_ready() }).await;
        life
    }
}

impl Life {
    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    pub fn inference(&self) -> Inference {
        Inference::new(self.channel())
    }

    pub fn models(&self) -> Models {
        Models::new(self.channel())
    }

    /// Registers a file as the next version of [`MODEL`].
    pub async fn register(&self, file: Vec<u8>) -> Version {
        self.try_register(MODEL, file).await.unwrap()
    }

    pub async fn try_register(&self, model: &str, file: Vec<u8>) -> Result<Version, Status> {
        let header = Part::Header(RegisterHeader { model: model.to_owned(), ..RegisterHeader::default() });
        let chunks = file.chunks(1_000).map(|chunk| Part::Chunk(chunk.to_vec().into()));
        let parts: Vec<_> = std::iter::once(header).chain(chunks).map(|part| RegisterRequest { part: Some(part) }).collect();
        let answer = self.models().register(tokio_stream::iter(parts)).await?;
        Ok(answer.into_inner().version.unwrap())
    }

    /// Lets the champion be a version.
    pub async fn promote(&self, version: u64, expected: u64) -> Result<AliasChange, Status> {
        let (model, reason) = (MODEL.to_owned(), format!("version {version} is better"));
        let request = PromoteRequest { model, version, expected_version: expected, reason, ..PromoteRequest::default() };
        Ok(self.models().promote(request).await?.into_inner().change.unwrap())
    }

    /// The same with what it says about the gate.
    pub async fn promote_by(
        &self,
        version: u64,
        expected: u64,
        evaluation: u64,
        override_reason: &str,
    ) -> Result<AliasChange, Status> {
        let (model, reason, override_reason) = (MODEL.to_owned(), "tried".to_owned(), override_reason.to_owned());
        let request = PromoteRequest {
            model,
            version,
            expected_version: expected,
            reason,
            evaluation,
            override_reason,
            ..PromoteRequest::default()
        };
        Ok(self.models().promote(request).await?.into_inner().change.unwrap())
    }

    pub async fn roll_back(&self, expected: u64) -> Result<AliasChange, Status> {
        let (model, reason) = (MODEL.to_owned(), "it is worse".to_owned());
        let request = RollbackRequest { model, expected_version: expected, reason, ..RollbackRequest::default() };
        Ok(self.models().rollback(request).await?.into_inner().change.unwrap())
    }

    /// Asks the champion for one row.
    pub async fn ask(&self, x: [f32; 2]) -> Result<Answer, Status> {
        ask(&mut self.inference(), x).await
    }

    /// Ends it, as an operator does.
    pub async fn end(self) {
        self.shutdown.begin();
        self.served.await.unwrap().unwrap();
    }
}

/// What a row was answered, and by what.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub y: Vec<f32>,
    pub version: u64,
    pub sha256: String,
    /// How old what is known of the registry is, if it is silent.
    pub registry_age: Option<i64>,
}

pub async fn ask(client: &mut Inference, x: [f32; 2]) -> Result<Answer, Status> {
    Ok(Answer::of(client.model_infer(row(x)).await?.into_inner()))
}

impl Answer {
    pub fn of(answer: ModelInferResponse) -> Self {
        let parameter = |name: &str| answer.parameters.get(name).and_then(|parameter| parameter.parameter_choice.clone());
        let Some(ParameterChoice::StringParam(sha256)) = parameter("sha256") else { panic!("no artifact is named: {answer:?}") };
        let registry_age = match parameter("registry_age_seconds") {
            Some(ParameterChoice::Int64Param(age)) => Some(age),
            _ => None,
        };
        let y = answer.outputs[0].contents.as_ref().unwrap().fp32_contents.clone();
        Self { y, version: answer.model_version.parse().unwrap(), sha256, registry_age }
    }
}

/// One row for the champion.
pub fn row(x: [f32; 2]) -> ModelInferRequest {
    rows("FP32", &[1, 2], InferTensorContents { fp32_contents: x.to_vec(), ..InferTensorContents::default() })
}

pub fn rows(datatype: &str, shape: &[i64], contents: InferTensorContents) -> ModelInferRequest {
    let (name, datatype) = ("x".to_owned(), datatype.to_owned());
    let input = InferInputTensor { name, datatype, shape: shape.to_vec(), contents: Some(contents), ..Default::default() };
    ModelInferRequest { model_name: MODEL.to_owned(), inputs: vec![input], ..ModelInferRequest::default() }
}

/// Puts a file into the registry as somebody does who may write to it, past the service; the number of its version.
pub async fn put(world: &World, file: Vec<u8>) -> u64 {
    let registry = registry::open(world.settings.serving.registry.reveal(), registry::Options::default()).unwrap();
    registry.register(MODEL, file.into(), NewVersion::default()).await.unwrap().number
}

/// Waits for something, and says for what when it does not come.
pub async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let waiting = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"));
}
