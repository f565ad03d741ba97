//! What a promotion may do, after what the gate said.

use super::evidence::{Evaluation, Evidence};
use crate::{
    Serving,
    aliases::{NO_EVIDENCE, Wanted},
    status::ServingError,
};
use loadline_domain::gate::Verdict;
use loadline_store::StoreError;
use serde::Serialize;

/// What a promotion says about the gate.
#[derive(Debug, Clone, Default)]
pub struct ByGate {
    /// The evaluation that it names; 0: none.
    pub evaluation: u64,
    /// Why although the gate rejects; empty: no reason.
    pub override_reason: String,
}

/// What of it is kept with the change.
#[derive(Serialize)]
struct Kept<'a> {
    evaluation: u64,
    #[serde(flatten)]
    evidence: &'a Evidence,
    #[serde(skip_serializing_if = "str::is_empty")]
    override_reason: &'a str,
}

impl Serving {
    /// What speaks for a change, as JSON: the evaluation that it names, or else the last one about these two versions.
    ///
    /// # Errors
    /// When the evaluation named is about other versions, or the gate rejects and nobody says why nonetheless.
    pub(crate) async fn backed(&self, wanted: &Wanted, from: u64, to: u64, by: &ByGate) -> Result<String, ServingError> {
        let Wanted { model, alias, .. } = wanted;
        let named = match by.evaluation {
            0 => None,
            id => Some(self.evaluation(model, alias, id).await?),
        };
        if let Some(Evaluation { id, champion, challenger, .. }) = named
            && (champion, challenger) != (from, to)
        {
            let (model, alias) = (model.clone(), alias.clone());
            return Err(ServingError::OtherEvaluation {
                model,
                alias,
                id,
                evaluated: [champion, challenger],
                wanted: [from, to],
            });
        }
        let newest = self.newest_evaluation(model, alias, from, to).await?;
        let rejecting = [&named, &newest].into_iter().flatten().find(|found| found.evidence.report.verdict == Verdict::Reject);
        if let Some(Evaluation { id, evidence, .. }) = rejecting
            && by.override_reason.is_empty()
        {
            let why = evidence.report.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return Err(ServingError::GateRejects { model: model.clone(), alias: alias.clone(), version: to, id: *id, why });
        }
        let Some(Evaluation { id: evaluation, evidence, .. }) = named.or(newest) else { return Ok(NO_EVIDENCE.to_owned()) };
        let kept = Kept { evaluation, evidence: &evidence, override_reason: &by.override_reason };
        Ok(serde_json::to_string(&kept).map_err(|error| StoreError::Broken(error.to_string()))?)
    }
}
