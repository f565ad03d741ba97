//! The promotion gate: both models on the same rows, the verdict, and what of it a promotion keeps.
//!
//! ```text
//!  rows with outcomes ─▶ champion ──┐
//!          └───────────▶ challenger ┴─▶ domain::gate: a trial ─▶ report ─▶ `<alias>/gate`, in the journal of aliases
//!                                                                              │ the same two versions?
//!  Promote, naming it or not ──────────────────────────────────────────────────┴─▶ evidence of the change, or refused: REJECT
//! ```
//!
//! - [`pair`]: two versions, loaded apart from those that answer
//! - [`asked`]: rows as they come, and both models' forecasts
//! - [`evidence`]: evaluations, kept and found again
//! - [`admit`]: what a promotion may do
//! - [`told`]: the contract's words
//!
//! Evaluations are kept in the journal of aliases under a name that no alias can have: they are numbered, never changed, and survive
//! this process as the changes do that rest on them.
//!
//! The nasty invariant: **what is evaluated is what would be promoted**. An evaluation is about two versions, and speaks only for a
//! change from the one to the other; leaving it out of a promotion does not silence it.

mod admit;
mod asked;
mod evidence;
mod pair;
mod told;

pub use admit::ByGate;
pub(crate) use asked::forecast;
pub use evidence::{Evaluation, Evidence, place};
pub(crate) use told::comparison;

use crate::{Serving, aliases::sound, status::ServingError, tensors::Invalid};
use asked::Asking;
use loadline_domain::gate::{Report, Rules};
use loadline_proto::serving::{EvaluateGateRequest, GateEvaluation, GateHeader, evaluate_gate_request::Part};
use pair::Pair;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, Streaming};

/// Room for one evaluation at a time: each has two models in memory.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Gate {
    fn enter(&self) -> Result<OwnedSemaphorePermit, ServingError> {
        self.0.clone().try_acquire_owned().map_err(|_| ServingError::GateBusy)
    }
}

impl Serving {
    /// Tries a challenger on rows as they come, and keeps what came of it.
    ///
    /// # Errors
    /// When there are no two versions to compare, or rows that they cannot be asked: then nothing is kept.
    pub async fn evaluate(&self, mut parts: Streaming<EvaluateGateRequest>, actor: String) -> Result<GateEvaluation, Status> {
        let first = parts.message().await?.and_then(|request| request.part);
        let Some(Part::Header(header)) = first else { return Err(wrong("header", "comes first")) };
        let _room = self.gate.enter()?;
        let header = GateHeader { alias: crate::aliases::named(header.alias.clone()), ..header };
        sound(&header.model, &header.alias)?;
        if header.version == 0 {
            return Err(wrong("version", "is absent; versions begin with 1"));
        }
        let rules = told::rules(header.rules.as_ref())?;
        let pair = Pair::load(&self.library, &header).await?;
        let mut asking = Asking::new(&pair, &header, self.limits.request_rows)?;
        while let Some(request) = parts.message().await? {
            match request.part {
                Some(Part::Rows(rows)) => asking.add(rows).await?,
                Some(Part::Header(_)) => return Err(wrong("header", "comes once")),
                None => return Err(wrong("part", "is absent; after the header come rows")),
            }
        }
        Ok(self.concluded(header, &rules, &pair, asking, actor).await?)
    }

    /// The report, kept unless it is about differences only.
    async fn concluded(
        &self,
        header: GateHeader,
        rules: &Rules,
        pair: &Pair,
        asking: Asking<'_>,
        actor: String,
    ) -> Result<GateEvaluation, ServingError> {
        let GateHeader { model, alias, differences_only, .. } = header;
        let (champion, challenger) = (pair.champion.number, pair.challenger.number);
        if differences_only {
            let differences = Some(told::differences(asking.changes()?));
            let (champion_version, challenger_version) = (champion, challenger);
            return Ok(GateEvaluation { model, alias, champion_version, challenger_version, differences, ..Default::default() });
        }
        let report: Report = asking.report(rules)?;
        let [champion_sha256, challenger_sha256] = [&pair.champion, &pair.challenger].map(|loaded| loaded.sha256.to_string());
        let evidence = Evidence { champion_sha256, challenger_sha256, report };
        let kept = Evaluation { id: 0, champion, challenger, evidence };
        let kept = self.to_the_end(move |serving| async move { serving.keep(&model, &alias, kept, actor).await }).await?;
        Ok(kept)
    }
}

fn wrong(field: &str, detail: &str) -> Status {
    ServingError::from(Invalid::new(field, detail)).into()
}
