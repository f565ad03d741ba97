//! An operator at the desk of a service, over gRPC: a module of several test programs, each of which uses its part.
#![allow(clippy::unwrap_used, dead_code)] // a test may panic, what it shares too

use loadline_health::{Monitor, Port, audit};
use loadline_proto::health::{
    AbortRemedyRequest, ExecuteRemedyRequest, Frame, ListAuditRequest, PlanRemedyRequest, RemedyPlan, RemedyRun, State,
    UndoRemedyRequest, WatchRequest, failure_mode_service_client::FailureModeServiceClient, frame::Body, remedy_run::Outcome,
};
use loadline_runtime::{
    Shutdown,
    access::AccessTable,
    admin::Readiness,
    errors::reason,
    grpc::Settings,
    telemetry::{self, Telemetry},
};
use loadline_store::{Store, first_break};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::net::TcpListener;
use tonic::{
    Status,
    service::RoutesBuilder,
    transport::{Channel, Endpoint},
};

/// Nothing is waited for longer.
pub const PATIENCE: Duration = Duration::from_secs(170);
/// How a remedy stands in the audit that helped.
pub const DONE: [&str; 3] = ["remedy.plan PLANNED", "remedy.execute RUNNING", "remedy.finish VERIFIED"];
/// And one that was taken back afterwards.
pub const UNDONE: [&str; 2] = ["remedy.undo UNDOING", "remedy.undone ROLLED_BACK"];

fn telemetry() -> Telemetry {
    static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| telemetry::init(&telemetry::Settings::default(), "test", "test").unwrap()).clone()
}

/// Waits until something is so.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub struct Operator {
    pub client: FailureModeServiceClient<Channel>,
    /// The service's port.
    pub channel: Channel,
    pub monitor: Monitor,
    store: Arc<dyn Store>,
    shutdown: Shutdown,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl Operator {
    /// Serves a monitor with its desk, and what else the service has, on a port of its own.
    pub async fn at(monitor: &Monitor, access: AccessTable, routes: RoutesBuilder, store: Arc<dyn Store>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let port = Port {
            settings: Settings::default(),
            access,
            long_lived: &[],
            services: &[],
            monitor: monitor.clone(),
            readiness: Readiness::new(&[]),
            telemetry: telemetry(),
        };
        let shutdown = Shutdown::new();
        let ends = shutdown.clone();
        tokio::spawn(async move { port.serve(listener, routes, ends).await.unwrap() });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let client = FailureModeServiceClient::new(channel.clone());
        Self { client, channel, monitor: monitor.clone(), store, shutdown }
    }

    /// Waits until a mode is in a state.
    pub async fn sees(&self, mode: &str, state: State) {
        until(&format!("{mode} {state:?}"), async || self.monitor.status(mode).unwrap().state() == state).await;
    }

    pub async fn plan(&self, failure_mode: &str, key: &str, target: &str) -> Result<RemedyPlan, Status> {
        let (failure_mode, key, target) = (failure_mode.to_owned(), key.to_owned(), target.to_owned());
        let ask = PlanRemedyRequest { failure_mode, key, target, reason: "a test".to_owned() };
        Ok(self.client.clone().plan_remedy(ask).await?.into_inner())
    }

    /// The reason for which it is not planned.
    pub async fn refused(&self, failure_mode: &str, key: &str, target: &str) -> (String, String) {
        let refusal = self.plan(failure_mode, key, target).await.unwrap_err();
        (reason(&refusal).unwrap(), refusal.message().to_owned())
    }

    pub async fn execute(&self, plan: &RemedyPlan) -> Result<RemedyRun, Status> {
        self.confirm(plan, &plan.confirm).await
    }

    pub async fn confirm(&self, plan: &RemedyPlan, text: &str) -> Result<RemedyRun, Status> {
        let (plan_id, confirm, idempotency_key) = (plan.id.clone(), text.to_owned(), format!("key {}", plan.id));
        let ask = ExecuteRemedyRequest { plan_id, confirm, idempotency_key, reason: "a test".to_owned() };
        Ok(self.client.clone().execute_remedy(ask).await?.into_inner())
    }

    pub async fn abort(&self, run: &RemedyRun) {
        let ask = AbortRemedyRequest { run_id: run.id.clone(), reason: "a test".to_owned() };
        self.client.clone().abort_remedy(ask).await.unwrap();
    }

    pub async fn undo(&self, run: &RemedyRun) {
        let ask = UndoRemedyRequest { run_id: run.id.clone(), reason: "a test".to_owned() };
        self.client.clone().undo_remedy(ask).await.unwrap();
    }

    pub async fn runs(&self) -> Vec<RemedyRun> {
        let mut frames = self.client.clone().watch(WatchRequest::default()).await.unwrap().into_inner();
        match frames.message().await.unwrap().unwrap() {
            Frame { body: Some(Body::Snapshot(snapshot)), .. } => snapshot.runs,
            other => panic!("{other:?}"),
        }
    }

    /// The run as it stands now.
    pub async fn run(&self, run: &RemedyRun) -> RemedyRun {
        self.runs().await.into_iter().find(|known| known.id == run.id).unwrap()
    }

    /// Waits until a run is over, which is to be with this outcome.
    pub async fn ends(&self, run: &RemedyRun, outcome: Outcome) -> RemedyRun {
        let is_over =
            |known: &RemedyRun| known.outcome() == outcome || known.finished_at.is_some() && outcome != Outcome::RolledBack;
        until(&format!("{outcome:?}"), async || is_over(&self.run(run).await)).await;
        let ended = self.run(run).await;
        assert_eq!(ended.outcome(), outcome, "{ended:?}");
        ended
    }

    /// What came of plans of this key, oldest first; the chain that they stand in is whole, by both who know the hash.
    pub async fn story(&self, key: &str) -> Vec<String> {
        assert_eq!(first_break(&*self.store).await.unwrap(), None);
        let entries = self.client.clone().list_audit(ListAuditRequest::default()).await.unwrap().into_inner().entries;
        audit::verify(
            audit::GENESIS,
            &entries.iter().map(|entry| audit::Entry::try_from(entry.clone()).unwrap()).collect::<Vec<_>>(),
        )
        .unwrap();
        let of_key = entries.iter().filter(|entry| entry.target.split(' ').nth(1) == Some(key));
        of_key.map(|entry| format!("{} {}", entry.action, entry.outcome.split(' ').next().unwrap())).collect()
    }
}
