//! The answer of a receipt, made again.

use super::{
    MODEL, MatchError,
    fixture::{Known, same_features},
    forecast::Form,
};
use crate::{
    Serving,
    resident::{Identity, Loaded},
    status::ServingError,
    tensors::{self, Invalid, response},
};
use loadline_models::Sha256;
use loadline_proto::serving::{Probabilities, Receipt, ReplayResponse};
use std::sync::Arc;
use tokio::time::Instant;

impl Serving {
    /// Makes the answer of a receipt again.
    ///
    /// # Errors
    /// Why it cannot be made: other results, another set of features, an artifact that is lost.
    pub(crate) async fn replay(&self, receipt: Receipt, deadline: Option<Instant>) -> Result<ReplayResponse, ServingError> {
        if receipt.model != MODEL {
            return Err(Invalid::new("receipt.model", format!("is not `{MODEL}`")).into());
        }
        let sha256 = receipt
            .sha256
            .parse()
            .map_err(|error: loadline_models::NoSha256| Invalid::new("receipt.sha256", error.to_string()))?;
        same_features(&receipt.feature_set, || "the receipt".to_owned())?;
        let fixture = receipt.fixture.as_ref().ok_or_else(|| Invalid::new("receipt.fixture", "is absent"))?;
        if receipt.as_of.is_empty() {
            return Err(Invalid::new("receipt.as_of", "is absent").into());
        }
        let before = receipt.probabilities.ok_or_else(|| Invalid::new("receipt.probabilities", "are absent"))?;
        let results = self.football.results()?;
        let known = Known::of(&results, fixture, &receipt.as_of, self.clock.now().day())?;
        let loaded = known.generation.to_string();
        if loaded != receipt.data_generation {
            let (league, as_of, receipt) = (fixture.league.clone(), receipt.as_of, receipt.data_generation);
            return Err(MatchError::DataMovedOn { league, as_of, receipt, loaded }.into());
        }
        let version = self.again(receipt.version, sha256).await?;
        let form = Form::of(&version)?;
        let mut outputs = version.lane.answer(vec![form.question(&known.features)], 1, deadline).await?;
        if let Some(at) = response::first_gap(&outputs) {
            return Err(ServingError::NoNumber(at));
        }
        let answered = tensors::floats(outputs.swap_remove(form.output)).unwrap_or_default();
        let answered: Vec<f32> = answered.into_iter().map(|value| value as f32).collect();
        let after = form.probabilities(&answered)?;
        let identical = bits(&known.features) == bits(&receipt.features) && bits(&each(before)) == bits(&each(after));
        let distances = each(before).into_iter().zip(each(after)).map(|(one, other)| (f64::from(one) - f64::from(other)).abs());
        let largest_difference = distances.fold(0.0, f64::max);
        Ok(ReplayResponse { probabilities: Some(after), features: known.features.to_vec(), identical, largest_difference })
    }

    /// The artifact of a receipt: in memory, or brought there for as long as receipts ask for it.
    async fn again(&self, number: u64, sha256: Sha256) -> Result<Arc<Loaded>, ServingError> {
        let served = self.library.residents().model(MODEL);
        if let Some(version) =
            served.and_then(|served| served.versions.values().find(|version| version.sha256 == sha256).cloned())
        {
            return Ok(version);
        }
        let mut borrowed = self.football.0.borrowed.lock().await;
        if let Some(version) = borrowed.as_ref().filter(|version| version.sha256 == sha256 && version.number == number) {
            return Ok(version.clone());
        }
        let version = self.library.borrow(Identity { model: MODEL.to_owned(), number, sha256 }).await?;
        *borrowed = Some(version.clone());
        Ok(version)
    }
}

fn each(Probabilities { home, draw, away }: Probabilities) -> [f32; 3] {
    [home, draw, away]
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
