//! Evaluations, kept and found again.

use super::told;
use crate::{Serving, aliases::Kind, status::ServingError};
use loadline_domain::gate::Report;
use loadline_proto::serving::GateEvaluation;
use loadline_store::{AliasChange, AliasEntry, StoreError};
use serde::{Deserialize, Serialize};

/// How often writing is tried where others write too.
const TRIES: usize = 8;
/// How many evaluations back one about two versions is looked for.
const REMEMBERED: u32 = 200;

/// What is kept of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Of the artifact that was the champion.
    pub champion_sha256: String,
    /// Of the challenger's.
    pub challenger_sha256: String,
    /// What came of it.
    pub report: Report,
}

/// An evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Its number; 0: not kept.
    pub id: u64,
    /// Version that was the champion.
    pub champion: u64,
    /// Version that was the challenger.
    pub challenger: u64,
    /// What is kept of it.
    pub evidence: Evidence,
}

/// Where evaluations about an alias are kept: a name that no alias can have.
pub fn place(alias: &str) -> String {
    format!("{alias}/gate")
}

impl Serving {
    pub(super) async fn keep(
        &self,
        model: &str,
        alias: &str,
        evaluation: Evaluation,
        actor: String,
    ) -> Result<GateEvaluation, ServingError> {
        let evidence = serde_json::to_string(&evaluation.evidence).map_err(|error| StoreError::Broken(error.to_string()))?;
        let change = AliasChange {
            model: model.to_owned(),
            alias: place(alias),
            action: Kind::Evaluation.name().to_owned(),
            before: Some(evaluation.champion),
            after: Some(evaluation.challenger),
            actor,
            evidence,
            reason: String::new(),
        };
        let entry = self.append(&change).await?;
        tracing::info!(model, alias, id = entry.number, verdict = ?evaluation.evidence.report.verdict, "evaluated");
        Ok(told::evaluation(model, alias, &Evaluation { id: entry.number, ..evaluation }))
    }

    /// Adds an entry after whatever is the last one.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn append(&self, change: &AliasChange) -> Result<AliasEntry, ServingError> {
        let mut tries = 0;
        loop {
            let last = self.last_change(&change.model, &change.alias).await?.map(|last| last.number);
            match self.store.append_alias(change, last).await {
                Err(StoreError::Stale(_)) if tries < TRIES => tries += 1,
                appended => return Ok(appended?),
            }
        }
    }

    /// An evaluation by its number.
    ///
    /// # Errors
    /// Those of the store; when there is none.
    pub async fn evaluation(&self, model: &str, alias: &str, id: u64) -> Result<Evaluation, ServingError> {
        let not_found = || ServingError::NoEvaluation { model: model.to_owned(), alias: alias.to_owned(), id };
        let after = id.checked_sub(1).ok_or_else(not_found)?;
        let found = self.store.alias_history(model, &place(alias), after, 1).await?;
        found.into_iter().find_map(read).filter(|found| found.id == id).ok_or_else(not_found)
    }

    /// The newest evaluation about a change from one version to another, among the last ones.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn newest_evaluation(
        &self,
        model: &str,
        alias: &str,
        champion: u64,
        challenger: u64,
    ) -> Result<Option<Evaluation>, ServingError> {
        let newest_first = self.history(model, &place(alias), None, REMEMBERED).await?;
        let about = |found: &Evaluation| (found.champion, found.challenger) == (champion, challenger);
        Ok(newest_first.into_iter().filter_map(read).find(about))
    }
}

/// What is no evaluation, or one of a build that wrote others, is none.
pub fn read(entry: AliasEntry) -> Option<Evaluation> {
    let AliasEntry { number: id, change, .. } = entry;
    let evidence = serde_json::from_str(&change.evidence).ok()?;
    (change.action == Kind::Evaluation.name()).then_some(())?;
    Some(Evaluation { id, champion: change.before?, challenger: change.after?, evidence })
}
