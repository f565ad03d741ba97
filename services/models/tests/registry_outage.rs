//! A real MLflow server that is gone, silent, or used by others; one for all of it, since a start takes long.

#![allow(clippy::unwrap_used)] // what tests share may stop at the first surprise

use bytes::Bytes;
use loadline_models::Sha256;
use loadline_models::registry::{NewVersion, Options, Registry, RegistryError, open};
use loadline_tests::{mlflow::MlflowServer, proxy::Proxy};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};

fn at(address: SocketAddr) -> Arc<dyn Registry> {
    let options = Options { timeout: Duration::from_secs(5), transfer_timeout: Duration::from_secs(10), ..Options::default() };
    open(&format!("mlflow+http://{address}"), options).unwrap()
}

fn file(content: &'static [u8]) -> Bytes {
    Bytes::from_static(content)
}

/// Every call that asks the server.
async fn every_call(registry: &dyn Registry, name: &str) -> Vec<(&'static str, Result<(), RegistryError>)> {
    vec![
        ("prepare", registry.prepare().await),
        ("probe", registry.probe().await),
        ("list", registry.list().await.map(drop)),
        ("get", registry.get(name).await.map(drop)),
        ("register", registry.register(name, file(b"one"), NewVersion::default()).await.map(drop)),
        ("set_alias", registry.set_alias(name, "champion", 1).await),
        ("remove_alias", registry.remove_alias(name, "challenger").await),
        ("download", registry.download(name, 1, 100).await.map(drop)),
    ]
}

async fn all_work(registry: &dyn Registry, name: &str) {
    for (call, answer) in every_call(registry, name).await {
        answer.unwrap_or_else(|error| panic!("{call}: {error}"));
    }
}

async fn none_works(registry: &dyn Registry, name: &str) {
    for (call, answer) in every_call(registry, name).await {
        assert!(matches!(answer, Err(RegistryError::Unavailable(_))), "{call}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_that_is_killed_stopped_cut_off_or_used_by_others() {
    let mut server = MlflowServer::start().await.unwrap();
    let registry = at(server.address());
    registry.register("match", file(b"one"), NewVersion::default()).await.unwrap();
    all_work(&*registry, "match").await;
    a_lost_reply_is_repeated_safely(&server).await;
    what_others_made_is_listed_and_not_given(&server).await;
    it_answers_as_it_is_known_to(&server).await;
    a_version_without_a_run_is_refused(&server).await;

    let before = registry.list().await.unwrap();
    server.stop().unwrap();
    let impatient =
        Options { timeout: Duration::from_millis(300), transfer_timeout: Duration::from_millis(300), ..Options::default() };
    none_works(&*open(&server.url(), impatient).unwrap(), "match").await;
    server.go_on().unwrap();
    all_work(&*registry, "match").await;
    server.kill();
    none_works(&*registry, "match").await;
    server.restart().await.unwrap();
    all_work(&*registry, "match").await;
    assert_eq!(registry.list().await.unwrap(), before, "nothing was lost, nothing is twice there");
}

/// The version is made, and nobody learns of it.
async fn a_lost_reply_is_repeated_safely(server: &MlflowServer) {
    let proxy = Proxy::start(server.address()).await.unwrap();
    let registry = at(proxy.address());
    let calls =
        ["runs/create", "PUT /api/2.0/mlflow-artifacts", "runs/update", "registered-models/create", "model-versions/create"];
    for (lost, call) in calls.iter().enumerate() {
        let name = format!("lost{lost}");
        proxy.lose_reply(call.as_bytes(), b"HTTP/1.1");
        let ended = registry.register(&name, file(b"one"), NewVersion::default()).await;
        assert!(matches!(ended, Err(RegistryError::Unavailable(_))), "{call}: {ended:?}");
        proxy.sprung(lost as u64 + 1, Duration::from_secs(10)).await.unwrap();
        let again = registry.register(&name, file(b"one"), NewVersion::default()).await.unwrap();
        assert_eq!((again.number, registry.get(&name).await.unwrap().versions), (1, vec![again.clone()]), "{call}");
        assert_eq!(registry.download(&name, 1, 10).await.unwrap(), &b"one"[..]);
    }
    proxy.cut();
    none_works(&*registry, "match").await;
}

/// Somebody with another client.
struct Other {
    http: reqwest::Client,
    base: String,
}

impl Other {
    fn new(server: &MlflowServer) -> Self {
        Self { http: reqwest::Client::new(), base: format!("http://{}/api/2.0/", server.address()) }
    }

    async fn post(&self, method: &str, body: Value) -> Value {
        let (status, said) = self.asked(method, body).await;
        assert!((200..300).contains(&status), "{method}: {status} {said}");
        said
    }

    async fn asked(&self, method: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(format!("{}mlflow/{method}", self.base)).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn get(&self, method_and_query: &str) -> (u16, Value) {
        let answer = self.http.get(format!("{}mlflow/{method_and_query}", self.base)).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn put(&self, path: &str, content: &'static [u8]) {
        let url = format!("{}mlflow-artifacts/artifacts/{path}", self.base);
        assert!(self.http.put(url).body(content).send().await.unwrap().status().is_success());
    }
}

async fn what_others_made_is_listed_and_not_given(server: &MlflowServer) {
    let (registry, other) = (at(server.address()), Other::new(server));
    let run = other.post("runs/create", json!({ "experiment_id": "0" })).await["run"]["info"].clone();
    let source = run["artifact_uri"].as_str().unwrap();
    let place = source.strip_prefix("mlflow-artifacts:/").unwrap();
    other.put(&format!("{place}/model.onnx"), b"theirs").await;
    for name in ["theirs", "My model", "über"] {
        other.post("registered-models/create", json!({ "name": name })).await;
        let version = json!({ "name": name, "source": source, "run_id": run["run_id"] });
        other.post("model-versions/create", version).await;
        other.post("registered-models/alias", json!({ "name": name, "alias": "champion", "version": "1" })).await;
    }
    other.post("registered-models/create", json!({ "name": "empty" })).await;
    let names: Vec<_> = registry.list().await.unwrap().into_iter().map(|model| model.name).collect();
    assert!(names.contains(&"theirs".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| ["My model", "über", "empty"].contains(&name.as_str())), "{names:?}");
    assert!(matches!(registry.get("empty").await, Err(RegistryError::NotFound(_))));

    let listed = registry.get("theirs").await.unwrap();
    assert_eq!((listed.versions[0].sha256, listed.versions[0].size, listed.aliases["champion"]), (None, None, 1));
    let refused = registry.download("theirs", 1, 100).await.unwrap_err();
    assert!(matches!(&refused, RegistryError::Refused(what) if what.contains("register its file")), "{refused}");
    // With a sha256 there is something to hold its file against.
    let pin = |version: &str, of: &[u8]| {
        let sha256 = Sha256::of(of).to_string();
        json!({ "name": "theirs", "version": version, "key": "loadline.sha256", "value": sha256 })
    };
    other.post("model-versions/set-tag", pin("1", b"theirs")).await;
    assert_eq!(registry.download("theirs", 1, 100).await.unwrap(), &b"theirs"[..]);
    // Registered through Loadline, it is a version of its own: the run of the other is not ours to write to.
    assert_eq!(registry.register("theirs", file(b"theirs"), NewVersion::default()).await.unwrap().number, 2);
    assert_eq!(registry.download("theirs", 2, 100).await.unwrap(), &b"theirs"[..]);

    // Another file in its place, or another pin: neither is given.
    other.put(&format!("{place}/model.onnx"), b"changed").await;
    let (expected, found) = (Sha256::of(b"theirs"), Sha256::of(b"changed"));
    assert_eq!(registry.download("theirs", 1, 100).await, Err(RegistryError::WrongSha { expected, found }));
    other.post("model-versions/set-tag", pin("2", b"x")).await;
    let (expected, found) = (Sha256::of(b"x"), Sha256::of(b"theirs"));
    assert_eq!(registry.download("theirs", 2, 100).await, Err(RegistryError::WrongSha { expected, found }));
}

/// The obstacle that runs are made for: if it goes away, so may they.
async fn a_version_without_a_run_is_refused(server: &MlflowServer) {
    let other = Other::new(server);
    other.post("registered-models/create", json!({ "name": "bare" })).await;
    let version = json!({ "name": "bare", "source": "mlflow-artifacts:/bare" });
    let (status, said) = other.asked("model-versions/create", version).await;
    assert_eq!((status, &said["error_code"]), (400, &json!("INVALID_PARAMETER_VALUE")), "{said}");
}

/// What is known of this server and relied upon.
async fn it_answers_as_it_is_known_to(server: &MlflowServer) {
    let other = Other::new(server);
    let (status, said) = other.get("registered-models/alias?name=match&alias=nobody").await;
    assert_eq!((status, &said["error_code"]), (400, &json!("INVALID_PARAMETER_VALUE")), "an absent alias: {said}");
    let (status, said) = other.get("registered-models/get?name=nobody").await;
    assert_eq!((status, &said["error_code"]), (404, &json!("RESOURCE_DOES_NOT_EXIST")), "an absent model: {said}");
    let (status, said) = other.get("model-versions/get?name=match&version=77").await;
    assert_eq!((status, &said["error_code"]), (404, &json!("RESOURCE_DOES_NOT_EXIST")), "an absent version: {said}");
}
