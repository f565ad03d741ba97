//! The model that drills ask and promote: the only one that they change, and nobody else's.
//!
//! It stays registered, as the stream of drills stays in the log: its files are two of a few hundred bytes, the same for ever.

use crate::{Serving, aliases::Wanted, gate::ByGate, resident::CHAMPION, skill::Pair, status::ServingError};
use loadline_domain::gate::score;
use loadline_health::drill::DrillError;
use loadline_models::{
    Sha256, onnx,
    registry::{Model, NewVersion, RegistryError},
};
use loadline_proto::inference::{
    InferTensorContents, ModelInferRequest, grpc_inference_service_server::GrpcInferenceService as _,
    model_infer_request::InferInputTensor,
};
use tonic::Request;
use uuid::Uuid;

/// Its name.
pub const MODEL: &str = "loadline-drill";
/// Who promotes it.
const ACTOR: &str = "drill";
/// `softmax([x0, 0, x1])`: a forecast over three classes, which outcomes of drills agree with.
const BETTER: &[u8] = include_bytes!("../../fixtures/drill_better.onnx");
/// `softmax([-x0, 0, -x1])`: about the opposite.
const WORSE: &[u8] = include_bytes!("../../fixtures/drill_worse.onnx");

/// The drills' model in a service.
#[derive(Clone)]
pub struct OwnModel(Serving);

impl OwnModel {
    /// Of a service; nothing is registered yet.
    pub fn new(serving: Serving) -> Self {
        Self(serving)
    }

    /// Registers what is not registered, and lets the champion be the better one, whatever an earlier drill left. Its number.
    ///
    /// # Errors
    /// Those of the registry and the store.
    pub async fn ready(&self) -> Result<u64, DrillError> {
        let better = self.version(BETTER).await?;
        let champion = self.champion().await?;
        if champion != better || self.0.library.residents().hold(MODEL, "").is_err() {
            self.promote(better, champion, "a drill begins").await?;
        }
        Ok(better)
    }

    /// The same where the worse one answered before it, and is in memory to be compared with; both numbers.
    ///
    /// # Errors
    /// As [`OwnModel::ready`].
    pub async fn ready_after_the_worse(&self) -> Result<Pair, DrillError> {
        let (champion, previous) = (self.ready().await?, self.version(WORSE).await?);
        let wanted = Pair { champion, previous };
        if self.pair() != Some(wanted) {
            self.promote(previous, champion, "a drill begins").await?;
            self.promote(champion, previous, "a drill begins").await?;
        }
        Ok(wanted)
    }

    /// Its champion and the version before, as they are in memory.
    pub fn pair(&self) -> Option<Pair> {
        Pair::of(&*self.0.library.residents().model(MODEL)?)
    }

    /// What the better one answers is most likely to a question of these numbers.
    pub fn most_likely(x: [f32; 2]) -> u32 {
        let weights = [x[0], 0.0, x[1]].map(f64::from);
        u32::try_from(score::most_likely(&weights)).unwrap_or_default()
    }

    /// A question of two numbers to its champion.
    pub fn question(x: [f32; 2]) -> ModelInferRequest {
        let contents = Some(InferTensorContents { fp32_contents: x.to_vec(), ..InferTensorContents::default() });
        let (name, datatype, shape) = ("x".to_owned(), "FP32".to_owned(), vec![1, 2]);
        let input = InferInputTensor { name, datatype, shape, contents, ..InferInputTensor::default() };
        ModelInferRequest { model_name: MODEL.to_owned(), inputs: vec![input], ..ModelInferRequest::default() }
    }

    /// One that nobody asked before.
    pub fn new_question() -> [f32; 2] {
        let (high, low) = Uuid::now_v7().as_u64_pair();
        // Far from where the two are nearly the same.
        [high, low].map(|bits| (bits % 1_000_003) as f32 / 1_000_003.0 + 0.5)
    }

    /// Asks its champion as callers do, and looks whether the answer is that of the better one.
    ///
    /// # Errors
    /// What is wrong with the answer, in words.
    pub async fn answers_rightly(&self, x: &[f32; 2]) -> Result<(), String> {
        let answer = self.0.model_infer(Request::new(Self::question(*x))).await;
        let answer = answer.map_err(|status| format!("the champion does not answer: {status}"))?.into_inner();
        let contents = answer.outputs.first().and_then(|output| output.contents.as_ref());
        let told = contents.map(|contents| contents.fp32_contents.clone()).unwrap_or_default();
        let powers = [x[0], 0.0, x[1]].map(f32::exp);
        let expected = powers.map(|power| power / powers.iter().sum::<f32>());
        let near =
            told.len() == expected.len() && told.iter().zip(expected).all(|(told, expected)| (told - expected).abs() < 1e-4);
        if near { Ok(()) } else { Err(format!("the champion answers {told:?} to {x:?}, not {expected:?}")) }
    }

    /// Lets its champion be a version.
    ///
    /// # Errors
    /// Those of a promotion.
    pub async fn promote(&self, version: u64, expected: u64, reason: &str) -> Result<(), DrillError> {
        let wanted = Wanted {
            model: MODEL.to_owned(),
            alias: CHAMPION.to_owned(),
            expected,
            actor: ACTOR.to_owned(),
            reason: reason.to_owned(),
        };
        let promoted = self.0.to_the_end(move |serving| async move { serving.promote(wanted, version, ByGate::default()).await });
        match promoted.await {
            Ok(_) | Err(ServingError::Unchanged { .. }) => Ok(()),
            Err(error) => Err(DrillError::of(error)),
        }
    }

    /// The version with a file, registered where it is not.
    async fn version(&self, file: &'static [u8]) -> Result<u64, DrillError> {
        let checked = onnx::check(file).map_err(DrillError::of)?;
        let sha256 = Sha256::of(&checked.bytes);
        let known = self
            .registered()
            .await?
            .and_then(|model| model.versions.iter().find(|version| version.sha256 == Some(sha256)).map(|version| version.number));
        match known {
            Some(number) => Ok(number),
            None => {
                let registered = self.0.library.registry().register(MODEL, checked.bytes.into(), NewVersion::default()).await;
                Ok(registered.map_err(DrillError::of)?.number)
            }
        }
    }

    /// What its alias names; 0: nothing.
    async fn champion(&self) -> Result<u64, DrillError> {
        Ok(self.registered().await?.and_then(|model| model.aliases.get(CHAMPION).copied()).unwrap_or_default())
    }

    async fn registered(&self) -> Result<Option<Model>, DrillError> {
        match self.0.library.registry().get(MODEL).await {
            Ok(model) => Ok(Some(model)),
            Err(RegistryError::NotFound(_)) => Ok(None),
            Err(error) => Err(DrillError::of(error)),
        }
    }
}
