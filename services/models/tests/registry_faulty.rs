//! A registry behind faults: each kind of fault on the calls that serving lives from.

#![allow(clippy::unwrap_used)] // a test may panic, its helpers too

use bytes::Bytes;
use loadline_fault::{Calls, Fault, Faults, Injected, Kind};
use loadline_models::{
    Sha256,
    registry::{NewVersion, Options, Registry, RegistryError, behind, open},
};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::time::timeout;

/// Longer than anything here takes.
const TTL: Duration = Duration::from_secs(60);
/// A call that lasts longer is held.
const HELD: Duration = Duration::from_millis(500);

struct World {
    plain: Arc<dyn Registry>,
    faulty: Arc<dyn Registry>,
    faults: Faults,
    _folder: TempDir,
}

impl World {
    /// With one version of `m`.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plain = open(&format!("file:{}", folder.path().display()), Options::default()).unwrap();
        let faults = Faults::default();
        let world = Self { faulty: behind(plain.clone(), Some(&faults)), plain, faults, _folder: folder };
        world.faulty.prepare().await.unwrap();
        world.register(b"one").await.unwrap();
        world
    }

    fn inject(&self, kind: Kind, calls: Calls) -> Injected {
        self.faults.inject(Fault { name: "test".to_owned(), kind, calls, ttl: TTL, cured_by: None })
    }

    async fn register(&self, bytes: &'static [u8]) -> Result<u64, RegistryError> {
        self.faulty.register("m", Bytes::from_static(bytes), NewVersion::default()).await.map(|version| version.number)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_that_fails_is_not_made_and_says_whether_a_retry_helps() {
    let world = World::new().await;
    let injected = world.inject(Kind::Error, Calls::all_but(&[]));
    let errors = [
        world.faulty.prepare().await.unwrap_err(),
        world.faulty.probe().await.unwrap_err(),
        world.faulty.list().await.unwrap_err(),
        world.faulty.get("m").await.unwrap_err(),
        world.register(b"two").await.unwrap_err(),
        world.faulty.set_alias("m", "champion", 1).await.unwrap_err(),
        world.faulty.remove_alias("m", "champion").await.unwrap_err(),
        world.faulty.download("m", 1, 10).await.unwrap_err(),
    ];
    assert!(errors.iter().all(RegistryError::is_retryable), "{errors:?}");
    assert_eq!(injected.met(), errors.len() as u64);
    drop(injected);
    let model = world.plain.get("m").await.unwrap();
    assert_eq!((model.versions.len(), model.aliases.len()), (1, 0), "nothing was done");
    let injected = world.inject(Kind::Break, Calls::only(&["register"]));
    let lasting = world.register(b"two").await.unwrap_err();
    assert!(!lasting.is_retryable() && lasting.to_string().contains("fault injected by test"), "{lasting}");
    drop(injected);
    assert_eq!(world.register(b"two").await.unwrap(), 2, "its end is the fault's end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_whose_reply_is_lost_happened_and_is_repeated_safely() {
    let world = World::new().await;
    let injected = world.inject(Kind::DropReply, Calls::only(&["register", "set_alias"]));
    assert!(world.register(b"two").await.unwrap_err().is_retryable());
    assert!(world.faulty.set_alias("m", "champion", 2).await.unwrap_err().is_retryable());
    assert_eq!(injected.met(), 2);
    drop(injected);
    assert_eq!(world.plain.get("m").await.unwrap().aliases["champion"], 2);
    assert_eq!(world.register(b"two").await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupted_bytes_get_past_the_registry_and_show_in_their_sha256() {
    let world = World::new().await;
    let injected = world.inject(Kind::Corrupt, Calls::all_but(&[]));
    let bytes = world.faulty.download("m", 1, 10).await.unwrap();
    let pinned = world.faulty.get("m").await.unwrap().versions[0].sha256.unwrap();
    assert_eq!((bytes.len(), injected.met()), (3, 1), "only files have something to corrupt");
    assert_ne!(Sha256::of(&bytes), pinned);
    drop(injected);
    assert_eq!(Sha256::of(&world.faulty.download("m", 1, 10).await.unwrap()), pinned);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_held_for_as_long_as_its_fault_lasts_and_no_other_model_waits() {
    for kind in [Kind::Hang, Kind::Delay(TTL)] {
        let world = World::new().await;
        let injected = world.inject(kind, Calls::only(&["get"]).about("m"));
        let held = world.faulty.get("m");
        tokio::pin!(held);
        assert!(timeout(HELD, &mut held).await.is_err(), "{kind:?} holds nothing");
        assert!(matches!(timeout(TTL, world.faulty.get("other")).await.unwrap(), Err(RegistryError::NotFound(_))));
        assert_eq!(injected.met(), 1);
        drop(injected);
        assert_eq!(timeout(TTL, held).await.unwrap().unwrap().versions.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_fault_can_be_injected_it_is_the_registry_itself() {
    let world = World::new().await;
    assert!(Arc::ptr_eq(&behind(world.plain.clone(), None), &world.plain));
    assert_eq!(world.faulty.caveats(), world.plain.caveats());
}
