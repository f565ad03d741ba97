//! Several processes on one folder, killed in the middle of what they do.

#![allow(clippy::unwrap_used)] // what tests share may stop at the first surprise

use bytes::Bytes;
use loadline_models::{
    Sha256,
    artifacts::{ArtifactStore, Served},
    registry::{NewVersion, Options, Registry, open},
};
use std::{
    collections::BTreeSet,
    env,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const FOLDER: &str = "LOADLINE_TEST_FOLDER";
const SEED: &str = "LOADLINE_TEST_SEED";
/// Files that all processes register by turns, beside those of their own.
const SHARED: u64 = 40;

fn at(folder: &Path) -> Arc<dyn Registry> {
    open(&format!("file:{}/registry", folder.display()), Options::default()).unwrap()
}

/// Long enough that a write of it can be met half-way.
fn content(of: &str) -> Bytes {
    Bytes::from(format!("{of} ").repeat(50_000))
}

/// What a process does until it is killed; run by the test below, in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "never ends by itself: the test below starts and kills it"]
async fn registers_until_it_is_killed() {
    let folder = env::var(FOLDER).expect("started by the other test");
    let (folder, seed) = (Path::new(&folder), env::var(SEED).unwrap());
    let (registry, artifacts) = (at(folder), ArtifactStore::open(folder.join("artifacts")).unwrap());
    registry.prepare().await.unwrap();
    for turn in 0.. {
        let of = if turn % 2 == 0 { format!("shared {}", turn / 2 % SHARED) } else { format!("{seed} {turn}") };
        let bytes = content(&of);
        let version = registry.register("m", bytes.clone(), NewVersion::default()).await.unwrap();
        registry.set_alias("m", "champion", version.number).await.unwrap();
        let sha256 = artifacts.put(&bytes).unwrap();
        let since = version.registered_at;
        let served = Served { model: "m".to_owned(), alias: "champion".to_owned(), version: version.number, sha256, since };
        artifacts.set_last_good(&[served]).unwrap();
    }
}

struct Killed(Child);

impl Killed {
    fn start(folder: &Path, seed: usize) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["registers_until_it_is_killed", "--exact", "--ignored"]).env(FOLDER, folder).env(SEED, seed.to_string());
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_killed_leave_whole_versions_and_artifacts_only() {
    let folder = tempfile::tempdir().unwrap();
    let registry = at(folder.path());
    registry.prepare().await.unwrap();
    let (mut running, mut seen) = (Vec::new(), 0);
    for round in 0..8 {
        running.push(Killed::start(folder.path(), round));
        let (started, before) = (Instant::now(), seen);
        // Until it has done something, and a little more: somewhere within the next.
        while seen < before + 5 {
            assert!(started.elapsed() < Duration::from_secs(60), "nothing is registered");
            tokio::time::sleep(Duration::from_millis(10)).await;
            seen = registry.get("m").await.map_or(0, |model| model.versions.len());
        }
        tokio::time::sleep(Duration::from_micros(700 * round as u64)).await;
        if running.len() == 3 {
            drop(running.remove(0));
        }
    }
    drop(running);
    let model = registry.get("m").await.unwrap();
    let pins: BTreeSet<Sha256> = model.versions.iter().filter_map(|version| version.sha256).collect();
    assert_eq!(pins.len(), model.versions.len(), "the same file is one version");
    assert!(model.versions.iter().map(|version| version.number).eq(1..=model.versions.len() as u64), "no number is missing");
    assert!(model.aliased("champion").is_some());
    for version in &model.versions {
        let bytes = registry.download("m", version.number, 1 << 24).await.unwrap();
        assert_eq!(version.size, Some(bytes.len() as u64));
    }
    let artifacts = ArtifactStore::open(folder.path().join("artifacts")).unwrap();
    let served = artifacts.last_good().unwrap();
    assert_eq!(artifacts.get(served[0].sha256).unwrap().map(|bytes| Sha256::of(&bytes)), Some(served[0].sha256));
    for version in &model.versions {
        artifacts.get(version.sha256.unwrap()).unwrap();
    }
}
