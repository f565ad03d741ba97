//! Remedies over a real port: who is let in, and how refusals arrive.

use crate::bench::{Bench, MODE, seconds};
use loadline_health::{Port, failure_modes};
use loadline_proto::health::{
    AcknowledgeRequest, ExecuteRemedyRequest, ListAuditRequest, MuteRequest, PlanRemedyRequest, State, UndoRemedyRequest,
    failure_mode_service_client::FailureModeServiceClient, failure_mode_service_server::FailureModeService as _,
    remedy_run::Outcome,
};
use loadline_runtime::{
    Shutdown,
    access::AccessTable,
    admin::Readiness,
    errors::reason,
    grpc::Settings,
    identity::ACCOUNT_HEADER,
    telemetry::{self, Telemetry},
};
use std::{
    sync::{OnceLock, atomic::Ordering::SeqCst},
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Code, Request,
    service::RoutesBuilder,
    transport::{Channel, Endpoint},
};

type Client = FailureModeServiceClient<Channel>;

/// One for the process: global providers are set once.
fn telemetry() -> Telemetry {
    static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| telemetry::init(&telemetry::Settings::default(), "test", "test").unwrap()).clone()
}

struct Served {
    bench: Bench,
    client: Client,
    shutdown: Shutdown,
    port: JoinHandle<()>,
}

async fn serve() -> Served {
    let bench = Bench::new().await;
    *bench.toy.step_time.lock().unwrap() = Duration::from_millis(50);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let port = Port {
        settings: Settings::default(),
        access: AccessTable(&[]),
        long_lived: &[],
        services: &["loadline.health.v1.FailureModeService"],
        monitor: bench.monitor.clone(),
        readiness: Readiness::new(&[]),
        telemetry: telemetry(),
    };
    let ends = shutdown.clone();
    let port = tokio::spawn(async move { port.serve(listener, RoutesBuilder::default(), ends).await.unwrap() });
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    Served { bench, client: Client::new(channel), shutdown, port }
}

fn plan() -> PlanRemedyRequest {
    PlanRemedyRequest {
        failure_mode: MODE.to_owned(),
        key: "K".to_owned(),
        target: String::new(),
        reason: "it stopped".to_owned(),
    }
}

fn execute(plan_id: &str, confirm: &str) -> ExecuteRemedyRequest {
    let (plan_id, confirm) = (plan_id.to_owned(), confirm.to_owned());
    ExecuteRemedyRequest { plan_id, confirm, idempotency_key: "key".to_owned(), reason: "now".to_owned() }
}

#[tokio::test]
async fn an_operator_plans_executes_and_reads_the_audit_over_the_port() {
    let mut served = serve().await;
    let plan = served.client.plan_remedy(plan()).await.unwrap().into_inner();
    let wrong = served.client.execute_remedy(execute(&plan.id, "yes")).await.unwrap_err();
    assert_eq!((wrong.code(), reason(&wrong).as_deref()), (Code::FailedPrecondition, Some("WRONG_CONFIRM")));
    let run = served.client.execute_remedy(execute(&plan.id, "y")).await.unwrap().into_inner();
    assert_eq!(run.started_by, "local");
    served.bench.until(&run.id, Outcome::Verifying).await;
    let first =
        served.client.list_audit(ListAuditRequest { page_size: 2, page_token: String::new() }).await.unwrap().into_inner();
    assert_eq!(first.entries.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["remedy.plan", "remedy.execute"]);
    let ask = ListAuditRequest { page_size: 2, page_token: first.next_page_token };
    let second = served.client.list_audit(ask).await.unwrap().into_inner();
    assert_eq!(second.entries[0].previous_hash, first.entries[1].hash);
    assert_eq!((second.entries.len(), second.next_page_token.as_str()), (1, ""));
}

#[tokio::test]
async fn a_service_is_let_into_none_of_it() {
    let mut served = serve().await;
    let made = served.client.plan_remedy(plan()).await.unwrap().into_inner();
    fn as_service<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(ACCOUNT_HEADER, "acme".parse().unwrap());
        request
    }
    let client = &mut served.client;
    let refused = [
        client.plan_remedy(as_service(plan())).await.map(drop),
        client.execute_remedy(as_service(execute(&made.id, "y"))).await.map(drop),
        client.undo_remedy(as_service(UndoRemedyRequest::default())).await.map(drop),
        client.abort_remedy(as_service(Default::default())).await.map(drop),
        client.acknowledge(as_service(AcknowledgeRequest { failure_mode: MODE.to_owned(), note: String::new() })).await.map(drop),
        client.mute(as_service(MuteRequest::default())).await.map(drop),
        client.list_audit(as_service(ListAuditRequest::default())).await.map(drop),
    ];
    for status in refused.map(Result::unwrap_err) {
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    }
    assert_eq!((served.bench.executions(), served.bench.mode().state()), (0, State::Open));
}

#[tokio::test]
async fn behind_a_server_without_identities_nothing_is_done() {
    let bench = Bench::new().await;
    let service = failure_modes::service(bench.monitor.clone());
    let refused = [
        service.plan_remedy(Request::new(plan())).await.map(drop),
        service.execute_remedy(Request::new(execute("x", "y"))).await.map(drop),
        service.mute(Request::new(MuteRequest::default())).await.map(drop),
    ];
    for status in refused.map(Result::unwrap_err) {
        assert_eq!(status.code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn acknowledging_and_muting_over_the_port() {
    let mut served = serve().await;
    let ask = AcknowledgeRequest { failure_mode: MODE.to_owned(), note: "on it".to_owned() };
    let status = served.client.acknowledge(ask).await.unwrap().into_inner();
    assert_eq!((status.state(), status.acknowledged_by.as_str()), (State::Acknowledged, "local"));
    let mute = |duration: Option<i64>| MuteRequest {
        failure_mode: MODE.to_owned(),
        duration: duration.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        note: String::new(),
    };
    assert!(served.client.mute(mute(Some(60))).await.unwrap().into_inner().muted_until.is_some());
    for refused in [None, Some(-1), Some(24 * 3600 + 1), Some(i64::MAX)] {
        assert_eq!(served.client.mute(mute(refused)).await.unwrap_err().code(), Code::InvalidArgument, "{refused:?}");
    }
    let ask = AcknowledgeRequest { failure_mode: "AN-02".to_owned(), note: String::new() };
    let status = served.client.acknowledge(ask).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_deref()), (Code::FailedPrecondition, Some("NOT_OPEN")));
}

#[tokio::test]
async fn the_end_of_the_port_waits_for_a_run_to_stop_between_two_steps() {
    let mut served = serve().await;
    served.bench.toy.steps.store(1_000, SeqCst);
    let plan = served.client.plan_remedy(plan()).await.unwrap().into_inner();
    served.client.execute_remedy(execute(&plan.id, "y")).await.unwrap();
    drop(served.client);
    served.shutdown.begin();
    tokio::time::timeout(seconds(20), served.port).await.expect("an end").unwrap();
    assert_eq!(served.bench.audit.story().last().unwrap(), "remedy.finish ABORTED");
}
