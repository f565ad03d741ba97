//! Clients that share no code with Loadline: Python made from the contracts alone, and grpcurl over reflection.

use anyhow::{Result, ensure};
use loadline_domain::time::{Clock as _, SystemClock};
use loadline_tests::{
    command::{self, Finished},
    journal::Journal,
    nats::NatsVersion,
    service::{Program, Service, Settings},
    world::{Backends, World},
};
use serde_json::{Value, json};
use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Generating the contracts, publishing and asking, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program of the Python environment that `tests/run` makes: from `variable`, or where it makes it by default.
fn installed(variable: &str, name: &str) -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache"))).unwrap_or_default();
    let named = env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = named.unwrap_or_else(|| cache.join("loadline/venv/bin").join(name));
    ensure!(path.is_file(), "{} is absent: tests/run installs it; or name one in {variable}", path.display());
    Ok(path)
}

async fn an_independent_client_gets_the_totals_it_computed(version: NatsVersion) -> Result<()> {
    let world = World::start(Backends::Real(version)).await?;
    let mut client = Command::new(installed("LOADLINE_PYTHON", "python")?);
    client.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/independent_client.py"));
    client.args(["--nats", &world.log, "--query", &world.query.query_address().to_string(), "--events", "1000"]);
    let said = command::run(client, PATIENCE).await?.with_code(0)?;
    ensure!(said.contains("EUR events") && said.contains("delivery rate") && said.ends_with("all equal\n"), "{said}");
    let snapshot = world.ensure_exact(&mut Journal::default()).await?;
    assert!(snapshot.letters.is_empty(), "{:?}", snapshot.letters);
    let [counted, duplicates] = snapshot
        .counters
        .values()
        .fold([0, 0], |[counted, duplicates], counters| [counted + counters.counted, duplicates + counters.duplicates]);
    assert_eq!(counted, 2_000);
    assert!(duplicates > 0, "it sends some records twice");
    Ok(())
}

#[tokio::test]
async fn an_independent_client_gets_the_totals_it_computed_from_nats_215() -> Result<()> {
    an_independent_client_gets_the_totals_it_computed(NatsVersion::Nats215).await
}

#[tokio::test]
async fn an_independent_client_gets_the_totals_it_computed_from_nats_29() -> Result<()> {
    an_independent_client_gets_the_totals_it_computed(NatsVersion::Nats29).await
}

/// The contracts alone, the exporter's own answers, and the product in one process.
#[tokio::test]
async fn a_client_of_the_open_inference_protocol_is_answered_as_onnxruntime_answers() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let file = |name: &str| format!("sqlite:{}", scratch.path().join(name).display());
    let node = Service::start(Settings::new(Program::Node, &file("log.db"), &file("store.db"))).await?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    for model in ["logistic_multinomial", "random_forest_classifier", "logistic_text_labels", "gradient_boosting_regressor"] {
        let mut client = Command::new(installed("LOADLINE_PYTHON", "python")?);
        client.arg(tests.join("clients/inference_client.py")).args(["--serving", &node.serving_address().to_string()]);
        client.arg("--model").arg(tests.join("../services/models/fixtures").join(model));
        let said = command::run(client, PATIENCE).await?.with_code(0)?;
        ensure!(said.ends_with("all equal\n") && said.contains("raw") && said.contains("typed"), "{said}");
    }
    Ok(())
}

/// grpcurl 1.8.6, which asks for reflection in its version v1alpha. Flags go before the address.
async fn grpcurl(address: SocketAddr, flags: &[&str], verb: &[&str]) -> Result<Finished> {
    let mut grpcurl = Command::new(installed("LOADLINE_GRPCURL", "grpcurl")?);
    grpcurl.arg("-plaintext").args(flags).arg(address.to_string()).args(verb);
    command::run(grpcurl, PATIENCE).await
}

async fn call(address: SocketAddr, method: &str, request: &Value) -> Result<Value> {
    let answer = grpcurl(address, &["-d", &request.to_string()], &[method]).await?;
    Ok(serde_json::from_str(&answer.with_code(0)?)?)
}

#[tokio::test]
async fn grpcurl_finds_lists_and_describes_every_service() -> Result<()> {
    let world = World::start(Backends::Embedded).await?;
    let (ingest, query) = (world.ingest.ingest_address(), world.query.query_address());
    let shared = ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "loadline.health.v1.FailureModeService"];
    let own = ["EventService", "StreamService", "DeadLetterService"].map(|name| format!("loadline.ingest.v1.{name}"));
    let listed = grpcurl(ingest, &[], &["list"]).await?.with_code(0)?;
    for service in shared.into_iter().chain(own.iter().map(String::as_str)) {
        assert!(listed.lines().any(|line| line == service), "{service} in {listed}");
        let described = grpcurl(ingest, &[], &["describe", service]).await?.with_code(0)?;
        assert!(described.contains("rpc "), "{described}");
    }
    let listed = grpcurl(query, &[], &["list"]).await?.with_code(0)?;
    for service in shared.into_iter().chain(["loadline.query.v1.UsageService"]) {
        assert!(listed.lines().any(|line| line == service), "{service} in {listed}");
    }
    for others in ["loadline.ingest.", "inference."] {
        assert!(!listed.contains(others), "what cannot be called here is not listed: {listed}");
    }
    let described = grpcurl(query, &[], &["describe", "loadline.query.v1.GetUsageRequest"]).await?.with_code(0)?;
    assert!(described.contains("group_by") && described.contains("UsageFilter"), "{described}");
    Ok(())
}

#[tokio::test]
async fn grpcurl_publishes_and_asks_and_is_told_what_is_wrong() -> Result<()> {
    let world = World::start(Backends::Embedded).await?;
    let now = SystemClock.now().to_string();
    let event = |id: &str, segments: u32| {
        json!({"billing": {"event_id": id, "account": "acme", "occurred_at": now, "channel": "CHANNEL_SMS", "country": "DE",
            "currency": "EUR", "messages": 1, "segments": segments, "amount_micros": "7500"}})
    };
    let request = json!({"events": [event("e-1", 1), event("e-2", 2), event("e-2", 2), event("e-3", 0)]});
    let answer = call(world.ingest.ingest_address(), "loadline.ingest.v1.EventService/Publish", &request).await?;
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(2), &json!(1)), "{answer}");
    let rejection = &answer["rejections"][0];
    assert_eq!(rejection["index"], 3, "{answer}");
    assert_eq!(rejection["reason"], "REJECTION_REASON_INVALID");
    assert_eq!(rejection["field"], "billing.segments");
    world.drained().await?;
    let request = json!({"account": "acme", "from": now, "to": now});
    let wrong =
        grpcurl(world.query.query_address(), &["-d", &request.to_string()], &["loadline.query.v1.UsageService/Nope"]).await?;
    assert_ne!(wrong.code, Some(0));
    let later = SystemClock.now().plus(Duration::from_secs(1)).to_string();
    let request = json!({"account": "acme", "from": now, "to": later});
    let answer = call(world.query.query_address(), "loadline.query.v1.UsageService/GetUsage", &request).await?;
    let total = &answer["totals"][0];
    assert_eq!((&total["events"], &total["segments"], &total["amountMicros"]), (&json!("2"), &json!("3"), &json!("15000")));
    let backwards = json!({"account": "acme", "from": later, "to": "2026-01-01T00:00:00Z"});
    let method = "loadline.query.v1.UsageService/GetUsage";
    let refused = grpcurl(world.query.query_address(), &["-d", &backwards.to_string()], &[method]).await?;
    assert_ne!(refused.code, Some(0));
    assert!(refused.errors.contains("InvalidArgument") && refused.errors.contains("from"), "{}", refused.errors);
    Ok(())
}
