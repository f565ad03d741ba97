//! The remedies of rollup, through the gRPC service, on real backends: a fault opens a mode, an operator plans and executes, the
//! mode's own signal verifies it, and the audit has it all.

#![allow(clippy::unwrap_used)]

mod counts;
mod jobs;
#[path = "../../../ledger/tests/operator/mod.rs"]
mod operator;
#[path = "../../../store/tests/postgres_server.rs"]
mod postgres_server;
mod purging;
#[path = "../world/watched.rs"]
mod watched;
#[path = "../verify/world.rs"]
mod world;

use loadline_health::Monitor;
use loadline_proto::health::{RemedyPlan, RemedyRun};
use loadline_rollup::{
    ACCESS,
    detect::{DETECTS, Detectors},
    leader::Scheduled,
    remedies,
};
use loadline_runtime::errors::reason;
use operator::{Operator, until};
use std::sync::OnceLock;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::RoutesBuilder;
use world::{Backend, Leading, World};

macro_rules! on_both_stores {
    ($($fact:ident)*) => {$(
        mod $fact {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$fact(crate::Backend::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                super::$fact(crate::Backend::Postgres).await;
            }
        }
    )*};
}
pub(crate) use on_both_stores;

/// A rollup at work, and an operator at its desk.
struct Desk {
    operator: Operator,
    leading: Leading,
    _detecting: DropGuard,
}

impl Desk {
    async fn of(world: &World) -> Self {
        let monitor = Monitor::new("rollup", "test", DETECTS).unwrap();
        // Modes close after some seconds.
        monitor.wait_at_most(std::time::Duration::from_secs(1));
        remedies::install(&monitor, &world.parts, vec![]);
        let jobs = loadline_rollup::jobs::all(&world.parts).into_iter();
        let scheduled = jobs.map(|job| Scheduled { job, schedule: None }).collect();
        let (end, parts) = (CancellationToken::new(), world.parts.clone());
        tokio::spawn(Detectors { parts, scheduled, monitor: monitor.clone() }.run(end.clone()));
        let operator = Operator::at(&monitor, ACCESS, RoutesBuilder::default(), world.parts.store.clone()).await;
        Self { operator, leading: world.lead("one"), _detecting: end.drop_guard() }
    }

    /// Once the leader leads and the pause after an earlier run is over.
    async fn planned(&self, mode: &str, key: &str, target: &str) -> RemedyPlan {
        let plan = OnceLock::new();
        let planned = async || self.operator.plan(mode, key, target).await.is_ok_and(|planned| plan.set(planned).is_ok());
        until("a plan", planned).await;
        plan.into_inner().unwrap()
    }

    /// Plans and executes, after the pause that follows an earlier run.
    async fn begun(&self, mode: &str, key: &str, target: &str) -> RemedyRun {
        loop {
            let plan = self.planned(mode, key, target).await;
            match self.operator.execute(&plan).await {
                Ok(run) => return run,
                Err(refused) if reason(&refused).as_deref() == Some("COOLING_DOWN") => {
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                }
                Err(refused) => panic!("{refused:?}"),
            }
        }
    }

    /// The reason for which a plan is not executed.
    async fn not_executed(&self, plan: &RemedyPlan, confirm: &str) -> (String, String) {
        let refusal = self.operator.confirm(plan, confirm).await.unwrap_err();
        (reason(&refusal).unwrap(), refusal.message().to_owned())
    }
}
