//! The service that drills take away: a port with all that a port has, which nobody calls, in this process for the time of a drill.

use crate::{
    peers::{Peer, Peers, Who},
    restart::Restart,
};
use loadline_fault::{Call, Faults};
use loadline_health::{Desk, Monitor, Port, drill::DrillError};
use loadline_runtime::{
    Shutdown,
    access::AccessTable,
    admin::Readiness,
    grpc,
    lifecycle::{Restarts, lives},
    telemetry::Telemetry,
};
use std::{net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};
use tonic::service::RoutesBuilder;

/// What it is called as a service: no other service has replicas of that name.
pub const SERVICE: &str = "drill";
/// What it does at each look, and when a life of it begins, as faults name it.
pub const SERVE: &str = "serve";
pub const START: &str = "start";

const COMPONENT: &str = "drill";
const LOOK: Duration = Duration::from_millis(200);
const GRACE: Duration = Duration::from_secs(2);

/// What it is made of, beside its port.
#[derive(Clone)]
pub struct Parts {
    pub faults: Faults,
    pub telemetry: Telemetry,
    /// The desk whose audit and leases its own one uses.
    pub desk: Desk,
    /// Its name among the bystanders of all processes.
    pub instance: String,
}

/// One that runs.
pub struct Bystander {
    pub peer: Peer,
    process: Shutdown,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Bystander {
    /// Starts it on a free port.
    pub async fn start(parts: Parts) -> Result<Self, DrillError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(DrillError::of)?;
        let address = listener.local_addr().map_err(DrillError::of)?;
        let (process, mut bound) = (Shutdown::new(), Some(listener));
        let ending = process.clone();
        let running = tokio::spawn(async move {
            lives(&ending, Restarts::Life, GRACE, |life| {
                let (parts, bound) = (parts.clone(), bound.take());
                async move {
                    let listener = match bound {
                        Some(listener) => listener,
                        None => TcpListener::bind(address).await?,
                    };
                    live(&parts, listener, life).await
                }
            })
            .await
        });
        Ok(Self { peer: Peer { service: SERVICE.to_owned(), address: address.to_string() }, process, running })
    }

    /// Ends it, and waits for that.
    pub async fn end(self) -> Result<(), DrillError> {
        self.process.end();
        self.running.await.map_err(DrillError::of)?.map_err(DrillError::of)
    }
}

async fn live(parts: &Parts, listener: TcpListener, life: Shutdown) -> anyhow::Result<()> {
    let Parts { faults, telemetry, desk, instance } = parts;
    faults.cure(START);
    let readiness = Readiness::new(&[COMPONENT]);
    let monitor = Monitor::new(SERVICE, telemetry.build(), &[])?;
    monitor.introduce(instance, "");
    let own = Who { service: SERVICE.to_owned(), instance: instance.clone(), boot: monitor.boot_id(), ..Who::default() };
    let restart = Restart { peers: Peers::of(own), readiness: readiness.clone(), shutdown: life.clone() };
    desk.beside(&monitor, vec![Arc::new(restart)])?;
    let port = Port {
        settings: grpc::Settings { grace: GRACE.into(), ..grpc::Settings::default() },
        access: AccessTable(&[]),
        long_lived: &[],
        services: &[],
        monitor,
        readiness: readiness.clone(),
        telemetry: telemetry.clone(),
    };
    tokio::select! {
        served = port.serve(listener, RoutesBuilder::default(), life) => Ok(served?),
        () = follow(faults, &readiness) => Ok(()),
    }
}

/// It serves, unless a fault keeps it from that.
async fn follow(faults: &Faults, readiness: &Readiness) {
    loop {
        let call = Call { name: SERVE, about: "" };
        let served: Result<(), crate::watch::Broken> = faults.around(call, async { Ok(()) }, None).await;
        readiness.set(COMPONENT, served.is_ok(), "a fault keeps it from serving");
        sleep(LOOK).await;
    }
}
