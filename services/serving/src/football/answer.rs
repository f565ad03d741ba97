//! A prediction, and its receipt.

use super::{MODEL, baseline, fixture::Known, forecast::Form};
use crate::{
    Serving,
    routes::Routed,
    status::ServingError,
    tensors::{Invalid, typed},
};
use loadline_domain::football::features;
use loadline_models::Tensor;
use loadline_proto::{
    inference::{ModelInferRequest, ModelInferResponse, infer_parameter::ParameterChoice, model_infer_request::InferInputTensor},
    serving::{Fixture, PredictMatchRequest, PredictMatchResponse, Receipt},
};
use tokio::time::Instant;

impl Serving {
    /// Predicts a match.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn predict_match(
        &self,
        asked: PredictMatchRequest,
        deadline: Option<Instant>,
    ) -> Result<PredictMatchResponse, ServingError> {
        let PredictMatchRequest { fixture, as_of, version } = asked;
        let fixture = fixture.ok_or_else(|| Invalid::new("fixture", "is absent"))?;
        let results = self.football.results()?;
        let known = Known::of(&results, &fixture, &as_of, self.clock.now().day())?;
        let Fixture { league, date, home, away } = &fixture;
        // The same fixture, the same side of a canary.
        let id = format!("{league}/{date}/{home}/{away}");
        let mut request = ModelInferRequest { model_name: MODEL.to_owned(), model_version: version, id, ..Default::default() };
        let held = self.route(&request)?;
        let form = Form::of(&held)?;
        request.inputs = vec![input(form.question(&known.features))];
        let answer = self.ask(&held, request, deadline).await?;
        let probabilities = form.probabilities(&floats(&answer, form.output))?;
        let receipt = Receipt {
            probabilities: Some(probabilities),
            as_of: known.as_of.to_string(),
            data_generation: known.generation.to_string(),
            features: known.features.to_vec(),
            fixture: Some(fixture),
            ..self.receipt(&held)
        };
        Ok(PredictMatchResponse {
            probabilities: Some(probabilities),
            baseline: baseline::is(held.sha256),
            last_result: known.last.map(|day| day.to_string()).unwrap_or_default(),
            registry_age_seconds: age(&answer),
            canary: held.is_canary(),
            receipt: Some(receipt),
        })
    }

    /// Who answers, and when.
    fn receipt(&self, held: &Routed) -> Receipt {
        let served = self.library.residents().model(MODEL);
        let aliases = served.iter().flat_map(|served| served.aliases_of(held.number)).map(str::to_owned);
        Receipt {
            model: MODEL.to_owned(),
            version: held.number,
            sha256: held.sha256.to_string(),
            aliases: aliases.collect(),
            feature_set: features::id().to_owned(),
            answered_at: Some(crate::grpc::proto_time(self.clock.now())),
            ..Receipt::default()
        }
    }
}

fn input(tensor: Tensor) -> InferInputTensor {
    let shape = tensor.shape.iter().map(|length| i64::try_from(*length).unwrap_or(i64::MAX)).collect();
    let (name, datatype) = (tensor.name, tensor.values.data_type().name().to_owned());
    InferInputTensor { name, datatype, shape, contents: Some(typed::contents(tensor.values)), ..Default::default() }
}

fn floats(answer: &ModelInferResponse, output: usize) -> Vec<f32> {
    let Some(contents) = answer.outputs.get(output).and_then(|output| output.contents.as_ref()) else { return vec![] };
    let doubles = contents.fp64_contents.iter().map(|value| *value as f32);
    contents.fp32_contents.iter().copied().chain(doubles).collect()
}

fn age(answer: &ModelInferResponse) -> Option<i64> {
    match answer.parameters.get("registry_age_seconds")?.parameter_choice {
        Some(ParameterChoice::Int64Param(seconds)) => Some(seconds),
        _ => None,
    }
}
