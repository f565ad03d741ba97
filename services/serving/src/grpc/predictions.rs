//! `PredictionService`.

use super::models::proto_time;
use crate::{Serving, status::ServingError, tensors::Invalid};
use loadline_domain::football::{History, features};
use loadline_proto::serving::{
    GetResultsRequest, GetResultsResponse, League, PredictMatchRequest, PredictMatchResponse, ReplayRequest, ReplayResponse,
    prediction_service_server::PredictionService,
};
use loadline_runtime::grpc::Deadline;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl PredictionService for Serving {
    async fn predict_match(&self, request: Request<PredictMatchRequest>) -> Result<Response<PredictMatchResponse>, Status> {
        let deadline = Deadline::of(&request).map(|deadline| deadline.0);
        Ok(Response::new(Serving::predict_match(self, request.into_inner(), deadline).await?))
    }

    async fn replay(&self, request: Request<ReplayRequest>) -> Result<Response<ReplayResponse>, Status> {
        let deadline = Deadline::of(&request).map(|deadline| deadline.0);
        let absent = || ServingError::from(Invalid::new("receipt", "is absent"));
        let receipt = request.into_inner().receipt.ok_or_else(absent)?;
        Ok(Response::new(Serving::replay(self, receipt, deadline).await?))
    }

    async fn get_results(&self, _: Request<GetResultsRequest>) -> Result<Response<GetResultsResponse>, Status> {
        let results = self.football.results().map_err(ServingError::from)?;
        Ok(Response::new(GetResultsResponse {
            leagues: results.leagues.iter().map(|(name, league)| told(name, league)).collect(),
            bad_rows: results.bad_rows,
            problems: results.problems.clone(),
            read_at: Some(proto_time(results.read_at)),
            problem: self.football.problem().unwrap_or_default(),
            feature_set: features::id().to_owned(),
        }))
    }
}

fn told(name: &str, league: &History) -> League {
    let day = |of: Option<&loadline_domain::football::Match>| of.map(|of| of.day.to_string()).unwrap_or_default();
    League {
        name: name.to_owned(),
        matches: league.matches().len() as u64,
        first: day(league.matches().first()),
        last: day(league.matches().last()),
        generation: league.whole().to_string(),
        teams: league.teams().map(str::to_owned).collect(),
    }
}
