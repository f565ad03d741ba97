//! `ModelService`.

use super::{outcomes, register, routes};
use crate::{
    Serving,
    aliases::{Kind, Wanted, named, sound},
    gate::ByGate,
    routes::Wished,
    status::ServingError,
    tensors::Invalid,
};
use loadline_domain::Timestamp;
use loadline_models::registry;
use loadline_proto::serving::{
    Alias, AliasChange, EvaluateGateRequest, EvaluateGateResponse, GetRouteRequest, GetRouteResponse, GetShadowReportRequest,
    GetShadowReportResponse, ListAliasHistoryRequest, ListAliasHistoryResponse, ListModelsRequest, ListModelsResponse, Model,
    PromoteRequest, PromoteResponse, RegisterRequest, RegisterResponse, ReportOutcomesRequest, ReportOutcomesResponse,
    RollbackRequest, RollbackResponse, SetRouteRequest, SetRouteResponse, Version, alias_change,
    model_service_server::ModelService,
};
use loadline_runtime::identity::Identity;
use loadline_store::AliasEntry;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// Changes of a page, unless asked for otherwise, and at most.
const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1_000;
const LONGEST_REASON: usize = 1_000;

#[tonic::async_trait]
impl ModelService for Serving {
    async fn list(&self, _: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        // Asked anew, so that what was just registered is there; where it is silent, what it last said is shown, with why.
        let listed = self.library.registry().list().await;
        let problem = listed.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let listed = listed.map_or_else(|_| self.library.listing(), Arc::new);
        let mut models = Vec::with_capacity(listed.len());
        for model in listed.iter() {
            models.push(self.model(model).await?);
        }
        let answered_at = self.library.freshness().answered_at().map(proto_time);
        Ok(Response::new(ListModelsResponse { models, registry_answered_at: answered_at, registry_problem: problem }))
    }

    async fn register(&self, request: Request<Streaming<RegisterRequest>>) -> Result<Response<RegisterResponse>, Status> {
        let (header, file) = register::receive(request.into_inner(), self.limits.file_bytes).await?;
        let model = header.model.clone();
        let version = self.to_the_end(move |serving| async move { register::register(&serving, header, file).await }).await?;
        Ok(Response::new(RegisterResponse { version: Some(self.version(&model, &version)) }))
    }

    async fn promote(&self, request: Request<PromoteRequest>) -> Result<Response<PromoteResponse>, Status> {
        let actor = actor(&request);
        let PromoteRequest { model, alias, version, expected_version, reason, evaluation, override_reason } =
            request.into_inner();
        if version == 0 {
            return Err(ServingError::from(Invalid::new("version", "is absent; versions begin with 1")).into());
        }
        let wanted = Wanted { alias: named(alias), expected: expected_version, actor, reason: why(reason)?, model };
        sound(&wanted.model, &wanted.alias)?;
        let by = ByGate { evaluation, override_reason: nonetheless(override_reason)? };
        let change = self.to_the_end(move |serving| async move { serving.promote(wanted, version, by).await }).await?;
        Ok(Response::new(PromoteResponse { change: Some(proto_change(change)) }))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<RollbackResponse>, Status> {
        let actor = actor(&request);
        let RollbackRequest { model, alias, expected_version, reason } = request.into_inner();
        let wanted = Wanted { alias: named(alias), expected: expected_version, actor, reason: why(reason)?, model };
        sound(&wanted.model, &wanted.alias)?;
        let change = self.to_the_end(move |serving| async move { serving.roll_back(wanted).await }).await?;
        Ok(Response::new(RollbackResponse { change: Some(proto_change(change)) }))
    }

    async fn list_alias_history(
        &self,
        request: Request<ListAliasHistoryRequest>,
    ) -> Result<Response<ListAliasHistoryResponse>, Status> {
        let ListAliasHistoryRequest { model, alias, page_size, page_token } = request.into_inner();
        let size = if page_size == 0 { PAGE } else { page_size.min(LARGEST_PAGE) };
        let before = match page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| {
                ServingError::from(Invalid::new("page_token", "is none that this service gave; leave it out to begin anew"))
            })?),
        };
        let changes = self.history(&model, &named(alias), before, size).await?;
        if changes.is_empty() {
            self.known(&model).await?;
        }
        let next_page_token = match changes.last() {
            Some(last) if last.number > 1 => last.number.to_string(),
            _ => String::new(),
        };
        let changes = changes.into_iter().map(proto_change).collect();
        Ok(Response::new(ListAliasHistoryResponse { changes, next_page_token }))
    }

    async fn evaluate_gate(
        &self,
        request: Request<Streaming<EvaluateGateRequest>>,
    ) -> Result<Response<EvaluateGateResponse>, Status> {
        let actor = actor(&request);
        let evaluation = self.evaluate(request.into_inner(), actor).await?;
        Ok(Response::new(EvaluateGateResponse { evaluation: Some(evaluation) }))
    }

    async fn set_route(&self, request: Request<SetRouteRequest>) -> Result<Response<SetRouteResponse>, Status> {
        let actor = actor(&request);
        let SetRouteRequest { model, alias, route, reason, expected_version: expected } = request.into_inner();
        let route = routes::asked(route).map_err(ServingError::from)?;
        let wished = Wished { alias: named(alias), expected, route, actor, reason: why(reason)?, model };
        sound(&wished.model, &wished.alias)?;
        let entry = self.to_the_end(move |serving| async move { serving.set_route(wished).await }).await?;
        Ok(Response::new(SetRouteResponse { change: Some(proto_change(entry)) }))
    }

    async fn get_route(&self, request: Request<GetRouteRequest>) -> Result<Response<GetRouteResponse>, Status> {
        let GetRouteRequest { model, alias } = request.into_inner();
        let told = self.told_route(&model, &named(alias));
        if told.route.is_none() {
            self.known(&model).await?;
        }
        Ok(Response::new(told))
    }

    async fn get_shadow_report(
        &self,
        request: Request<GetShadowReportRequest>,
    ) -> Result<Response<GetShadowReportResponse>, Status> {
        let GetShadowReportRequest { model, alias } = request.into_inner();
        let told = self.told_shadow(&model, &named(alias));
        if told.version == 0 {
            self.known(&model).await?;
        }
        Ok(Response::new(told))
    }

    async fn report_outcomes(&self, request: Request<ReportOutcomesRequest>) -> Result<Response<ReportOutcomesResponse>, Status> {
        let ReportOutcomesRequest { model, alias, outcomes } = request.into_inner();
        let told = outcomes::asked(outcomes).map_err(ServingError::from)?;
        let joined =
            self.to_the_end(move |serving| async move { serving.report_outcomes(model, &named(alias), told).await }).await?;
        Ok(Response::new(outcomes::told(joined)))
    }
}

impl Serving {
    /// Refuses a name that no model has, as far as the registry can say: nothing would be a wrong answer to a typing mistake.
    async fn known(&self, name: &str) -> Result<(), ServingError> {
        let is_in = |listed: &[registry::Model]| listed.iter().any(|model| model.name == name);
        if is_in(&self.library.listing()) || self.library.registry().list().await.map_or(true, |listed| is_in(&listed)) {
            return Ok(());
        }
        Err(ServingError::UnknownModel(name.to_owned()))
    }

    async fn model(&self, model: &registry::Model) -> Result<Model, ServingError> {
        let mut aliases = Vec::with_capacity(model.aliases.len());
        for (alias, version) in &model.aliases {
            // A store that is down says nothing of drift, and hides no model.
            let last = self.last_change(&model.name, alias).await.ok().flatten();
            let drifted = last.is_some_and(|last| last.change.after != Some(*version));
            aliases.push(Alias { name: alias.clone(), version: *version, drifted });
        }
        let versions = model.versions.iter().rev().map(|version| self.version(&model.name, version)).collect();
        Ok(Model { name: model.name.clone(), versions, aliases })
    }

    fn version(&self, model: &str, version: &registry::Version) -> Version {
        let served = self.library.residents().model(model);
        let loaded = served.is_some_and(|served| served.versions.contains_key(&version.number));
        let problem = self.library.failures().why(model, version.number).filter(|_| !loaded);
        Version {
            number: version.number,
            sha256: version.sha256.map(|sha256| sha256.to_string()).unwrap_or_default(),
            bytes: version.size.unwrap_or_default(),
            registered_at: Some(proto_time(version.registered_at)),
            properties: version.properties.clone().into_iter().collect(),
            loaded,
            problem: problem.unwrap_or_default(),
        }
    }
}

fn actor<T>(request: &Request<T>) -> String {
    Identity::of(request).map_or_else(|| "unknown".to_owned(), |identity| identity.name.clone())
}

fn why(reason: String) -> Result<String, ServingError> {
    let reason = reason.trim().to_owned();
    if reason.is_empty() || reason.len() > LONGEST_REASON {
        return Err(Invalid::new("reason", format!("say why, in 1 to {LONGEST_REASON} bytes: it is kept in the history")).into());
    }
    Ok(reason)
}

fn nonetheless(reason: String) -> Result<String, ServingError> {
    let reason = reason.trim().to_owned();
    if reason.len() > LONGEST_REASON {
        return Err(Invalid::new("override_reason", format!("has more than {LONGEST_REASON} bytes")).into());
    }
    Ok(reason)
}

fn proto_change(entry: AliasEntry) -> AliasChange {
    let AliasEntry { number, at, change } = entry;
    let kind = match Kind::named(&change.action) {
        Kind::Promotion => alias_change::Kind::Promotion,
        Kind::Rollback => alias_change::Kind::Rollback,
        Kind::Withdrawal => alias_change::Kind::Withdrawal,
        Kind::Evaluation => alias_change::Kind::Evaluation,
        Kind::Route => alias_change::Kind::Route,
    };
    AliasChange {
        number,
        model: change.model,
        alias: change.alias,
        kind: kind.into(),
        from_version: change.before.unwrap_or_default(),
        to_version: change.after.unwrap_or_default(),
        actor: change.actor,
        reason: change.reason,
        evidence: change.evidence,
        at: Some(proto_time(at)),
    }
}

pub(crate) fn proto_time(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.parts();
    prost_types::Timestamp { seconds, nanos }
}
