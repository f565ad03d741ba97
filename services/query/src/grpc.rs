//! The service: checks a request, resolves whose it is, hands it on.

use crate::{
    Query,
    calendar::Calendar,
    isolation::Pass,
    request::{self, MAX_DAYS, MAX_DAYS_BY_HOURS, MAX_DAYS_OF_HOURS},
    scope,
    status::QueryError,
    usage::Asked,
};
use futures::{Stream, StreamExt as _};
use loadline_domain::question::{Grain, UsageQuery};
use loadline_domain::{AccountScope, Timestamp};
use loadline_proto::query::{
    ExplainUsageRequest, ExplainUsageResponse, GetDeliveryRequest, GetDeliveryResponse, GetUsageRequest, GetUsageResponse,
    ListTopAccountsRequest, ListTopAccountsResponse, WatchUsageRequest, usage_service_server::UsageService,
};
use loadline_runtime::{grpc::Deadline, identity::Identity};
use std::{pin::Pin, time::Duration};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl UsageService for Query {
    async fn get_usage(&self, request: Request<GetUsageRequest>) -> Result<Response<GetUsageResponse>, Status> {
        let pass = self.closure.enter(&request)?;
        let scope = scope_of(&request)?;
        let question = usage_question(&scope, request.into_inner(), self.now())?;
        self.answered(&pass, self.usage(&scope, &question)).await
    }

    async fn get_delivery(&self, request: Request<GetDeliveryRequest>) -> Result<Response<GetDeliveryResponse>, Status> {
        let pass = self.closure.enter(&request)?;
        let scope = scope_of(&request)?;
        let question = delivery_question(&scope, request.into_inner(), self.now())?;
        self.answered(&pass, self.delivery(&scope, &question)).await
    }

    async fn list_top_accounts(
        &self,
        request: Request<ListTopAccountsRequest>,
    ) -> Result<Response<ListTopAccountsResponse>, Status> {
        let pass = self.closure.enter(&request)?;
        let scope = scope_of(&request)?;
        scope::operators_only(&scope).map_err(QueryError::from)?;
        let request = request.into_inner();
        let invalid = |error| Status::from(QueryError::Invalid(error));
        let range = request::range(request.from, request.to, MAX_DAYS, self.now()).map_err(invalid)?;
        let filter = request::filter(request.filter).map_err(invalid)?;
        let rank_by = request::rank_by(request.order_by, &filter).map_err(invalid)?;
        let limit = request::limit(request.limit).map_err(invalid)?;
        self.answered(&pass, self.top_accounts(&scope, range, &filter, rank_by, limit)).await
    }

    type WatchUsageStream = Pin<Box<dyn Stream<Item = Result<GetUsageResponse, Status>> + Send>>;

    async fn watch_usage(&self, request: Request<WatchUsageRequest>) -> Result<Response<Self::WatchUsageStream>, Status> {
        let pass = self.closure.enter(&request)?;
        let scope = scope_of(&request)?;
        let WatchUsageRequest { usage, min_interval } = request.into_inner();
        let min_interval = request::min_interval(min_interval).map_err(QueryError::from)?;
        let question = usage_question(&scope, usage.unwrap_or_default(), self.now()).map_err(|error| match error {
            QueryError::Invalid(invalid) => QueryError::Invalid(invalid.under("usage")),
            other => other,
        })?;
        Ok(Response::new(self.watch(pass, scope, question, min_interval).boxed()))
    }

    async fn explain_usage(&self, request: Request<ExplainUsageRequest>) -> Result<Response<ExplainUsageResponse>, Status> {
        let pass = self.closure.enter(&request)?;
        let scope = scope_of(&request)?;
        let left = Deadline::of(&request).map(Deadline::left);
        let deadline = Instant::now() + reading_time(self.parts.settings.explain_max_time, left);
        let request = request.into_inner();
        let account = scope::account(&scope, &request.account)?;
        let hour = request::hour(request.hour, self.now()).map_err(QueryError::from)?;
        Ok(Response::new(pass.hand_out(self.explain(&scope, account, hour, deadline).await?)?))
    }
}

impl Query {
    /// Waits for an answer and hands it out, if it still may be. How long canaries waited says nothing of callers.
    async fn answered<T>(
        &self,
        pass: &Pass,
        answer: impl Future<Output = Result<T, QueryError>> + Send,
    ) -> Result<Response<T>, Status> {
        let answer = if pass.is_canary() { answer.await } else { self.pace.of(answer).await };
        Ok(Response::new(pass.hand_out(answer?)?))
    }
}

fn scope_of<T>(request: &Request<T>) -> Result<AccountScope, QueryError> {
    Ok(scope::of(Identity::of(request))?)
}

fn usage_question(scope: &AccountScope, request: GetUsageRequest, now: Timestamp) -> Result<Asked, QueryError> {
    let account = scope::account(scope, &request.account)?;
    let calendar = Calendar::parse(request.granularity, &request.time_zone)?;
    let max_days = match calendar.grain() {
        Grain::Day => MAX_DAYS,
        Grain::Hour if calendar.is_hourly() => MAX_DAYS_BY_HOURS,
        Grain::Hour => MAX_DAYS_OF_HOURS,
    };
    let range = request::range(request.from, request.to, max_days, now)?;
    let (from, to) = (calendar.floor(range.from)?, calendar.ceil(range.to)?);
    // Whatever the rows are: a question is not refused for what was used.
    calendar.check(from, to)?;
    let (group_by, filter) = (request::group_by(&request.group_by)?, request::filter(request.filter)?);
    let query = UsageQuery { account, from, to, filter, group_by, grain: calendar.grain() };
    Ok(Asked { query, calendar })
}

fn delivery_question(scope: &AccountScope, request: GetDeliveryRequest, now: Timestamp) -> Result<UsageQuery, QueryError> {
    let account = scope::account(scope, &request.account)?;
    let range = request::range(request.from, request.to, MAX_DAYS_OF_HOURS, now)?;
    let group_by = request::delivery_group_by(&request.group_by)?;
    let filter = request::delivery_filter(request.filter)?;
    Ok(UsageQuery { account, from: range.from, to: range.to, filter, group_by, grain: Grain::Hour })
}

/// Time for reading the log: a fifth of what the caller has left is kept back, so that what was found still reaches it.
fn reading_time(most: Duration, left: Option<Duration>) -> Duration {
    left.map_or(most, |left| most.min(left.mul_f64(0.8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_deadline_bounds_an_explanation() {
        let (most, seconds) = (Duration::from_secs(20), Duration::from_secs);
        assert_eq!(reading_time(most, Some(seconds(10))), seconds(8));
        assert_eq!(reading_time(most, Some(seconds(100))), most);
        assert_eq!(reading_time(most, None), most);
    }
}
