//! What a registry must not do to us, done by a server in this process: garbage, redirects, bodies without end, other files, and
//! names that lead elsewhere. Whatever it answers, a call ends, says what came, and asks nobody else.

#![allow(clippy::unwrap_used)] // what tests share may stop at the first surprise

mod fake;

use bytes::Bytes;
use fake::{Fake, Reply};
use loadline_models::{
    Sha256,
    registry::{NewVersion, Options, Registry, RegistryError, open},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

fn at(fake: &Fake) -> Arc<dyn Registry> {
    let options = Options { timeout: Duration::from_secs(3), transfer_timeout: Duration::from_secs(3), ..Options::default() };
    open(&format!("mlflow+http://{}/prefix", fake.address()), options).unwrap()
}

async fn every_call(registry: &dyn Registry) -> Vec<(&'static str, RegistryError)> {
    let answers = [
        ("prepare", registry.prepare().await),
        ("probe", registry.probe().await),
        ("list", registry.list().await.map(drop)),
        ("get", registry.get("m").await.map(drop)),
        ("register", registry.register("m", Bytes::from_static(b"one"), NewVersion::default()).await.map(drop)),
        ("set_alias", registry.set_alias("m", "champion", 1).await),
        ("remove_alias", registry.remove_alias("m", "champion").await),
        ("download", registry.download("m", 1, 100).await.map(drop)),
    ];
    answers.into_iter().map(|(call, answer)| (call, answer.expect_err(call))).collect()
}

/// What each of these must be taken for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Unavailable,
    Garbage,
    Refused,
    TooLarge,
}

fn kind(error: &RegistryError) -> Option<Kind> {
    match error {
        RegistryError::Unavailable(_) => Some(Kind::Unavailable),
        RegistryError::Garbage(_) => Some(Kind::Garbage),
        RegistryError::Refused(_) => Some(Kind::Refused),
        RegistryError::TooLarge { .. } => Some(Kind::TooLarge),
        _ => None,
    }
}

/// The same answer to whatever is asked.
async fn all_are(kind_expected: Kind, says: &str, reply: Reply) {
    let fake = Fake::start(move |_| reply.clone()).await;
    for (call, error) in every_call(&*at(&fake)).await {
        let text = error.to_string();
        assert_eq!(kind(&error), Some(kind_expected), "{call}: {text}");
        assert!(text.contains(says), "{call}: {text}");
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{call}: {text:?}");
        assert!(text.chars().count() < 400, "{call}: {text}");
    }
    assert!(fake.requests().iter().all(|request| request.contains(" /prefix/api/2.0/")), "{:?}", fake.requests());
}

#[tokio::test]
async fn pages_for_people_are_garbage() {
    all_are(Kind::Garbage, "<html>", Reply::of(200, "text/html; charset=utf-8", "<html>\x1b[31mlog in")).await;
    all_are(Kind::Garbage, "404", Reply::of(404, "text/html", "<html>")).await;
    all_are(Kind::Garbage, "text/plain", Reply::of(200, "text/plain", "ok")).await;
    all_are(Kind::Garbage, "of no type", Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")).await;
}

#[tokio::test]
async fn what_only_claims_to_be_json_is_garbage() {
    for body in [
        "<html>",
        "",
        "{",
        "[1,2]",
        "null",
        "{\"hello\":\"world\"}",
        "{\"registered_models\":7,\"model_version\":7}",
        "\u{202e}\0\r\n",
    ] {
        all_are(Kind::Garbage, "200 OK", Reply::of(200, "application/json", body)).await;
    }
    let deep = "[".repeat(200_000);
    all_are(Kind::Garbage, "200 OK", Reply::of(200, "application/json", &deep)).await;
    all_are(Kind::Garbage, "400", Reply::of(400, "application/json", "{\"detail\":\"of another server\"}")).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Fake::start(|_| Reply::json(json!({}))).await;
    for status in [301, 302, 303, 307, 308] {
        let head = format!(
            "HTTP/1.1 {status} Moved\r\nLocation: http://{}/a\u{1b}b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            elsewhere.address()
        );
        // Control characters are no HTTP at all.
        all_are(Kind::Garbage, "", Reply::raw(&head)).await;
        all_are(Kind::Garbage, "redirect", Reply::raw(&head.replace('\u{1b}', ""))).await;
    }
    assert_eq!(elsewhere.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_broken_or_busy_is_an_outage() {
    for status in [500, 502, 503, 504, 429, 408] {
        all_are(Kind::Unavailable, &status.to_string(), Reply::of(status, "text/html", "<html>\x1b]0;owned\x07")).await;
    }
    let internal = json!({"error_code": "INTERNAL_ERROR", "message": "database is locked\u{1b}[2J"});
    all_are(Kind::Unavailable, "database is locked", Reply::of(400, "application/json", internal.to_string())).await;
}

#[tokio::test]
async fn what_it_refuses_is_said_with_what_to_do() {
    for status in [401, 403] {
        all_are(Kind::Refused, "put a user and a password", Reply::of(status, "text/html", "log in")).await;
    }
    let message = format!("\u{1b}[31m{}", "no ".repeat(10_000));
    let refusal = json!({"error_code": "INVALID_PARAMETER_VALUE", "message": message});
    all_are(Kind::Refused, "INVALID_PARAMETER_VALUE", Reply::of(400, "application/json", refusal.to_string())).await;
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    all_are(Kind::TooLarge, "16777216", Reply::Endless(head.into(), vec![b' '; 1 << 16])).await;
    let announced = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000000000\r\n\r\n{";
    all_are(Kind::TooLarge, "1000000000000 bytes", Reply::raw(announced)).await;
}

#[tokio::test]
async fn what_never_answers_or_stops_half_way_is_an_outage() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{}";
    let fakes = [Reply::Silent, Reply::Endless(whole.into(), Vec::new()), Reply::raw(whole), Reply::raw("")];
    for reply in fakes {
        let fake = Fake::start(move |_| reply.clone()).await;
        let options =
            Options { timeout: Duration::from_millis(300), transfer_timeout: Duration::from_millis(300), ..Options::default() };
        let registry = open(&format!("mlflow+http://{}", fake.address()), options).unwrap();
        for (call, error) in every_call(&*registry).await {
            assert_eq!(kind(&error), Some(Kind::Unavailable), "{call}: {error}");
        }
    }
}

#[tokio::test]
async fn what_speaks_something_else_is_garbage() {
    all_are(Kind::Garbage, "", Reply::raw("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")).await;
}

#[tokio::test]
async fn pages_that_lead_nowhere_end() {
    let circle = |request: &str| {
        assert!(request.contains("/search"), "{request}");
        Reply::json(json!({"next_page_token": "again"}))
    };
    let registry = at(Fake::start(circle).await.kept());
    assert_eq!(kind(&registry.list().await.unwrap_err()), Some(Kind::Garbage));

    let turns = AtomicU64::new(0);
    let padding = "x".repeat(1 << 20);
    let endless = move |_: &str| {
        let token = turns.fetch_add(1, Ordering::SeqCst);
        Reply::json(json!({"registered_models": [{"name": padding}], "next_page_token": token.to_string()}))
    };
    let fake = Fake::start(endless).await;
    let error = at(&fake).list().await.unwrap_err();
    assert!(matches!(kind(&error), Some(Kind::TooLarge | Kind::Unavailable)), "{error}");
    assert!(fake.requests().len() < 100);
}

/// A registry with one version, of which a test changes what it likes.
fn with_version(version: Value, file: Reply) -> impl Fn(&str) -> Reply + Send + Sync + 'static {
    move |request| {
        if request.contains("/artifacts/") {
            file.clone()
        } else if request.contains("model-versions/get") {
            Reply::json(json!({ "model_version": version }))
        } else if request.contains("model-versions/search") {
            Reply::json(json!({ "model_versions": [version] }))
        } else if request.contains("registered-models/get") {
            Reply::json(json!({ "registered_model": { "name": version["name"] } }))
        } else {
            Reply::json(json!({ "registered_models": [{ "name": version["name"] }] }))
        }
    }
}

const RUN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn version_of(content: &[u8]) -> Value {
    let sha256 = Sha256::of(content).to_string();
    json!({
        "name": "m", "version": "1", "creation_timestamp": 1_764_000_000_000_u64,
        "source": format!("mlflow-artifacts:/1/{RUN}/artifacts"),
        "run_id": RUN,
        "tags": [{"key": "loadline.sha256", "value": sha256}, {"key": "loadline.size", "value": content.len().to_string()}],
    })
}

fn octets(content: &[u8]) -> Reply {
    Reply::of(200, "application/octet-stream", content)
}

#[tokio::test]
async fn another_file_than_was_pinned_is_never_given() {
    let right = at(Fake::start(with_version(version_of(b"right"), octets(b"right"))).await.kept());
    assert_eq!(right.download("m", 1, 10).await.unwrap(), &b"right"[..]);
    for wrong in [&b"wrong"[..], b"", b"righ", b"right!"] {
        let registry = at(Fake::start(with_version(version_of(b"right"), octets(wrong))).await.kept());
        let (expected, found) = (Sha256::of(b"right"), Sha256::of(wrong));
        assert_eq!(registry.download("m", 1, 10).await, Err(RegistryError::WrongSha { expected, found }));
    }
    let page = Reply::of(200, "text/html", b"<html>log in");
    let registry = at(Fake::start(with_version(version_of(b"right"), page)).await.kept());
    assert_eq!(kind(&registry.download("m", 1, 100).await.unwrap_err()), Some(Kind::Garbage));
}

#[tokio::test]
async fn a_file_without_end_is_read_to_the_limit() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n";
    let endless = Reply::Endless(head.into(), vec![7; 1 << 16]);
    let fake = Fake::start(with_version(version_of(b"right"), endless)).await;
    let error = at(&fake).download("m", 1, 1 << 20).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 1_048_576, .. }), "{error}");
    let announced =
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 99999999999\r\n\r\nx");
    let fake = Fake::start(with_version(version_of(b"right"), announced)).await;
    let error = at(&fake).download("m", 1, 1 << 20).await.unwrap_err();
    assert!(matches!(&error, RegistryError::TooLarge { .. }) && error.to_string().contains("99999999999"), "{error}");
}

#[tokio::test]
async fn a_source_that_points_elsewhere_is_refused_and_not_asked() {
    let elsewhere = Fake::start(|_| octets(b"right")).await;
    let sources = [
        format!("http://{}/model.onnx", elsewhere.address()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        "s3://bucket/key".to_owned(),
        format!("mlflow-artifacts://{}/1/{RUN}/artifacts", elsewhere.address()),
        format!("mlflow-artifacts:/1/{RUN}/artifacts/../../../2"),
        format!("mlflow-artifacts:/1/{RUN}/artifacts/%2e%2e/%2e%2e"),
        format!("mlflow-artifacts:/1/{RUN}/artifacts?path=../2"),
        format!("runs:/{RUN}/artifacts"),
        "\u{1b}[2J".repeat(1_000),
        String::new(),
    ];
    for source in sources {
        let mut version = version_of(b"right");
        version["source"] = json!(source);
        let fake = Fake::start(with_version(version, octets(b"right"))).await;
        let error = at(&fake).download("m", 1, 10).await.unwrap_err();
        assert_eq!(kind(&error), Some(Kind::Refused), "{source}: {error}");
        assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
        assert_eq!(fake.requests().len(), 1, "its file was asked for: {:?}", fake.requests());
    }
    assert_eq!(elsewhere.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_about_something_else_is_garbage() {
    for (field, value) in [("name", json!("other")), ("version", json!("2")), ("version", json!("two")), ("version", json!(-1))] {
        let mut version = version_of(b"right");
        version[field] = value;
        let registry = at(Fake::start(with_version(version, octets(b"right"))).await.kept());
        assert_eq!(kind(&registry.download("m", 1, 10).await.unwrap_err()), Some(Kind::Garbage), "{field}");
    }
    let mut version = version_of(b"right");
    version["name"] = json!("other\u{1b}[2J");
    let registry = at(Fake::start(with_version(version, octets(b"right"))).await.kept());
    assert_eq!(kind(&registry.get("m").await.unwrap_err()), Some(Kind::Garbage));
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_left_out() {
    let names = ["../../etc/passwd", "/abs", "a\\b", "..", "", "a\0", "\u{202e}x", "good"];
    let models: Vec<_> = names
        .iter()
        .map(|name| {
            json!({ "name": name, "aliases": [
        {"alias": "../up", "version": "1"}, {"alias": "latest", "version": "1"}, {"alias": "champion", "version": "1"},
    ] })
        })
        .collect();
    let versions: Vec<_> = names
        .iter()
        .map(|name| {
            let mut version = version_of(b"right");
            version["name"] = json!(name);
            version
        })
        .collect();
    let fake = Fake::start(move |request| {
        if request.contains("registered-models") {
            Reply::json(json!({ "registered_models": models }))
        } else {
            Reply::json(json!({ "model_versions": versions }))
        }
    })
    .await;
    let listed = at(&fake).list().await.unwrap();
    assert_eq!(listed.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(listed[0].aliases.keys().collect::<Vec<_>>(), ["champion"]);
}

#[tokio::test]
async fn a_login_is_sent_to_its_server_and_never_shown() {
    let fake = Fake::start(|_| Reply::of(500, "text/plain", "broken")).await;
    let url = format!("mlflow+http://me:hunter%402@{}", fake.address());
    let registry = open(&url, Options::default()).unwrap();
    for (call, error) in every_call(&*registry).await {
        assert!(!error.to_string().contains("hunter"), "{call}: {error}");
    }
    // `me:hunter@2`, as basic authentication writes it.
    assert!(fake.heads().iter().all(|head| head.contains("authorization: Basic bWU6aHVudGVyQDI=")), "{:?}", fake.heads());
    drop(fake);
    for (call, error) in every_call(&*registry).await {
        assert_eq!(kind(&error), Some(Kind::Unavailable), "{call}");
        assert!(!error.to_string().contains("hunter"), "{call}: {error}");
    }
}

#[tokio::test]
async fn a_token_is_sent_to_its_server_and_never_shown() {
    let fake = Fake::start(|_| Reply::of(401, "text/plain", "who?")).await;
    let registry = open(&format!("mlflow+http://:hunter2%2Bx@{}", fake.address()), Options::default()).unwrap();
    for (call, error) in every_call(&*registry).await {
        assert_eq!(kind(&error), Some(Kind::Refused), "{call}");
        assert!(!error.to_string().contains("hunter"), "{call}: {error}");
    }
    assert!(fake.heads().iter().all(|head| head.contains("authorization: Bearer hunter2+x")), "{:?}", fake.heads());
}

/// An answer that comes byte by byte, always in time for the next, and never ends.
#[tokio::test]
async fn a_slow_drip_ends_with_the_time_of_the_call() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{";
    let fake = Fake::start(move |_| Reply::Drip(head.into(), Duration::from_millis(20))).await;
    let options =
        Options { timeout: Duration::from_millis(400), transfer_timeout: Duration::from_millis(400), ..Options::default() };
    let registry = open(&format!("mlflow+http://{}", fake.address()), options).unwrap();
    for (call, error) in every_call(&*registry).await {
        assert!(matches!(&error, RegistryError::Unavailable(why) if why.contains("within")), "{call}: {error}");
    }
}

/// Its runs are said to lie in another place than the server's own artifacts.
#[tokio::test]
async fn a_file_is_not_put_where_the_server_does_not_serve_it() {
    for uri in ["s3://bucket/1/0f/artifacts", "mlflow-artifacts://elsewhere/1/0f", "mlflow-artifacts:/1/../2", "/var/lib/mlflow"]
    {
        let fake = Fake::start(move |request| {
            let run = json!({ "info": { "run_id": RUN, "experiment_id": "1", "artifact_uri": uri } });
            if request.contains("experiments/get-by-name") {
                Reply::json(json!({ "experiment": { "experiment_id": "1", "lifecycle_stage": "active" } }))
            } else if request.contains("runs/create") {
                Reply::json(json!({ "run": run }))
            } else {
                Reply::json(json!({}))
            }
        })
        .await;
        let error = at(&fake).register("m", Bytes::from_static(b"one"), NewVersion::default()).await.unwrap_err();
        assert_eq!(kind(&error), Some(Kind::Refused), "{uri}: {error}");
        assert!(!fake.requests().iter().any(|request| request.starts_with("PUT")), "{:?}", fake.requests());
    }
}

/// A version is pinned to the file that is registered, and says that it lies in a run that is not ours.
#[tokio::test]
async fn a_file_is_not_put_where_a_version_of_others_says_that_it_lies() {
    for (run_id, experiment) in [(RUN, "7"), ("", "1"), ("another", "1")] {
        let fake = Fake::start(move |request| {
            let run = |id: &str| {
                json!({ "info": {
                "run_id": id, "experiment_id": experiment, "artifact_uri": format!("mlflow-artifacts:/1/{RUN}/artifacts"),
            } })
            };
            let mut version = version_of(b"one");
            version["run_id"] = json!(run_id);
            if request.contains("experiments/get-by-name") {
                Reply::json(json!({ "experiment": { "experiment_id": "1" } }))
            } else if request.contains("model-versions/search") {
                Reply::json(json!({ "model_versions": [version] }))
            } else if request.contains("runs/get") {
                Reply::json(json!({ "run": run(RUN) }))
            } else {
                // No run is found, and none can be made.
                Reply::of(500, "text/plain", "no")
            }
        })
        .await;
        let error = at(&fake).register("m", Bytes::from_static(b"one"), NewVersion::default()).await.unwrap_err();
        assert_eq!(kind(&error), Some(Kind::Unavailable), "{error}");
        assert!(!fake.requests().iter().any(|request| request.starts_with("PUT")), "{:?}", fake.requests());
    }
}

const URL: &str = "LOADLINE_TEST_URL";

/// Run by the test below, in a process of its own.
#[tokio::test]
#[ignore = "the test below starts it, in another environment"]
async fn asks_the_registry_it_was_given() {
    let registry = open(&std::env::var(URL).expect("started by the other test"), Options::default()).unwrap();
    registry.prepare().await.unwrap();
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_asked() {
    let (proxy, registry) = (Fake::start(|_| Reply::json(json!({}))).await, Fake::start(|_| Reply::json(json!({}))).await);
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["asks_the_registry_it_was_given", "--exact", "--ignored"]);
    child.env(URL, format!("mlflow+http://{}", registry.address()));
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        child.env(name, format!("http://{}", proxy.address()));
    }
    assert!(child.output().await.unwrap().status.success());
    assert_eq!((registry.requests().len(), proxy.requests()), (1, Vec::new()));
}
