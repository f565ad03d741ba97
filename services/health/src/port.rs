//! A service's gRPC port: its own methods, and beside them what every port has, failure modes, `grpc.health.v1`, reflection.

use crate::{HealthReporter, Monitor, ServingStatus, drill, failure_modes, grpc_health::health};
use loadline_runtime::{
    Shutdown,
    access::{Access, AccessTable},
    admin::Readiness,
    grpc::{ReflectionError, Server, Settings, reflection},
    identity::LocalProvider,
    lifecycle::DEFAULT_GRACE,
    telemetry::Telemetry,
};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

/// Who may see failure modes and do something about them.
const ACCESS: AccessTable = AccessTable(&[
    ("/loadline.health.v1.FailureModeService/ListCatalogue", Access::Operator),
    ("/loadline.health.v1.FailureModeService/Watch", Access::Operator),
    ("/loadline.health.v1.FailureModeService/Acknowledge", Access::Operator),
    ("/loadline.health.v1.FailureModeService/Mute", Access::Operator),
    ("/loadline.health.v1.FailureModeService/PlanRemedy", Access::Operator),
    ("/loadline.health.v1.FailureModeService/ExecuteRemedy", Access::Operator),
    ("/loadline.health.v1.FailureModeService/AbortRemedy", Access::Operator),
    ("/loadline.health.v1.FailureModeService/UndoRemedy", Access::Operator),
    ("/loadline.health.v1.FailureModeService/ListAudit", Access::Operator),
    ("/loadline.health.v1.DrillService/List", Access::Operator),
    ("/loadline.health.v1.DrillService/Start", Access::Operator),
    ("/loadline.health.v1.DrillService/Stop", Access::Operator),
]);

const LONG_LIVED: &str = "/loadline.health.v1.FailureModeService/Watch";
/// How often `grpc.health.v1` follows readiness.
const PERIOD: Duration = Duration::from_millis(250);

/// What a port needs beside its listener.
pub struct Port {
    /// Limits.
    pub settings: Settings,
    /// The service's own methods.
    pub access: AccessTable,
    /// Those of them whose answers go on.
    pub long_lived: &'static [&'static str],
    /// Full gRPC names that `grpc.health.v1` answers for.
    pub services: &'static [&'static str],
    /// Its failure modes.
    pub monitor: Monitor,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// Its instruments.
    pub telemetry: Telemetry,
}

impl Port {
    /// Serves until shutdown, then drains.
    ///
    /// # Errors
    /// When the contracts cannot be reflected: a fault of the build.
    pub async fn serve(
        self,
        listener: TcpListener,
        mut routes: RoutesBuilder,
        shutdown: Shutdown,
    ) -> Result<(), ReflectionError> {
        if let (Some(desk), Some(left)) = (self.monitor.desk(), shutdown.left()) {
            desk.take_over(left);
        }
        let (reporter, server) = health(self.services);
        let own = self.access.services().into_iter().chain(ACCESS.services());
        let listed: Vec<_> = own.chain(["grpc.health.v1.Health"]).collect();
        let (v1, v1alpha) = reflection(loadline_proto::DESCRIPTORS, &listed)?;
        routes.add_service(server).add_service(failure_modes::server(self.monitor.clone()));
        routes.add_service(drill::server(self.monitor.clone())).add_service(v1).add_service(v1alpha);
        let monitor = self.monitor.clone();
        let following = follow(reporter, self.services, self.readiness, self.monitor, shutdown.clone());
        let long_lived = [self.long_lived, &[LONG_LIVED]].concat();
        let server =
            Server::new(self.settings, &[self.access, ACCESS], Arc::new(LocalProvider), &self.telemetry).long_lived(&long_lived);
        tokio::join!(
            server.serve(listener, routes.routes(), shutdown.clone()),
            following,
            stop_remedies(&monitor, shutdown.clone()),
            stop_drills(&monitor, shutdown)
        );
        Ok(())
    }
}

/// Lets runs end between two of their steps. What has not ended when the grace is over is cut with its process: its lease
/// ends by itself, and the audit has its beginning.
async fn stop_remedies(monitor: &Monitor, shutdown: Shutdown) {
    shutdown.cancelled().await;
    if let Some(desk) = monitor.desk()
        && tokio::time::timeout(DEFAULT_GRACE, desk.stop()).await.is_err()
    {
        tracing::warn!("a remedy was still under way when the grace was over");
    }
}

/// Ends the drill under way and takes its fault away, before the ports it needs for that are closed.
async fn stop_drills(monitor: &Monitor, shutdown: Shutdown) {
    shutdown.cancelled().await;
    if let Some(drills) = monitor.drills()
        && tokio::time::timeout(DEFAULT_GRACE, drills.shut_down()).await.is_err()
    {
        tracing::warn!("a drill was still under way when the grace was over; its faults end with this process");
    }
}

/// Keeps `grpc.health.v1` at what the service says of itself; the end of both streams lets their watchers go.
async fn follow(reporter: HealthReporter, services: &[&str], readiness: Readiness, monitor: Monitor, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(PERIOD);
    while !shutdown.is_begun() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => break,
        }
        let status = if readiness.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
        services.iter().for_each(|service| reporter.set(service, status));
        reporter.set_overall(status);
    }
    reporter.shut_down();
    monitor.close();
}
