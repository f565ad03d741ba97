//! `loadline.health.v1.DrillService` over the drills of a monitor.

use super::{Drills, Refusal};
use crate::{Monitor, failure_modes::caller};
use loadline_proto::health::{
    DrillRun, ListDrillsRequest, ListDrillsResponse, StartDrillRequest, StopDrillRequest,
    drill_service_server::{DrillService, DrillServiceServer},
};
use tonic::{Request, Response, Status};

/// The service, ready to be added to a server's routes.
pub fn server(monitor: Monitor) -> DrillServiceServer<DrillAnswers> {
    DrillServiceServer::new(DrillAnswers { monitor })
}

/// Answers for one monitor.
#[derive(Debug, Clone)]
pub struct DrillAnswers {
    monitor: Monitor,
}

impl DrillAnswers {
    fn drills(&self) -> Result<&Drills, Refusal> {
        self.monitor.drills().ok_or(Refusal::Disabled)
    }
}

#[tonic::async_trait]
impl DrillService for DrillAnswers {
    async fn list(&self, _: Request<ListDrillsRequest>) -> Result<Response<ListDrillsResponse>, Status> {
        let drills = self.monitor.drills().map(Drills::list).unwrap_or_default();
        Ok(Response::new(ListDrillsResponse { drills, build: self.monitor.build() }))
    }

    async fn start(&self, request: Request<StartDrillRequest>) -> Result<Response<DrillRun>, Status> {
        let who = caller(&request)?;
        let StartDrillRequest { failure_mode, control } = request.into_inner();
        Ok(Response::new(self.drills()?.start(&who, &failure_mode, control).await?))
    }

    async fn stop(&self, request: Request<StopDrillRequest>) -> Result<Response<DrillRun>, Status> {
        let who = caller(&request)?;
        Ok(Response::new(self.drills()?.stop(&who, &request.into_inner().run_id).await?))
    }
}
