//! Artifacts on disks that are full, lose power half-way, or rot.

use super::{ArtifactError, ArtifactStore, Served};
use crate::Sha256;
use loadline_domain::Timestamp;
use std::{
    fs::{self, File},
    path::PathBuf,
    time::{Duration, SystemTime},
};

struct World {
    store: ArtifactStore,
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { store: ArtifactStore::open(root.path()).unwrap(), root }
    }

    fn file(&self, sha256: Sha256) -> PathBuf {
        let name = sha256.to_string();
        self.root.path().join("sha256").join(&name[..2]).join(name)
    }

    fn marker(&self, sha256: Sha256) -> PathBuf {
        self.file(sha256).with_extension("json")
    }

    /// As another process sees it.
    fn again(&self) -> ArtifactStore {
        ArtifactStore::open(self.root.path()).unwrap()
    }

    fn age(&self, sha256: Sha256) {
        let old = SystemTime::now() - Duration::from_secs(3600);
        for path in [self.file(sha256), self.marker(sha256)] {
            File::open(path).unwrap().set_modified(old).unwrap();
        }
    }
}

fn ago(seconds: u64) -> Timestamp {
    use loadline_domain::Clock as _;
    loadline_domain::time::SystemClock.now().minus(Duration::from_secs(seconds))
}

fn served(version: u64) -> Served {
    let sha256 = Sha256::of(&version.to_le_bytes());
    let since = Timestamp::from_micros(1_764_000_000_123_456);
    Served { model: "match".to_owned(), alias: "champion".to_owned(), version, sha256, since }
}

#[test]
fn what_was_put_is_there_for_every_process_and_nothing_else_is() {
    let world = World::new();
    let sha256 = world.store.put(b"model").unwrap();
    assert_eq!(sha256, Sha256::of(b"model"));
    assert_eq!(world.again().get(sha256).unwrap().unwrap(), &b"model"[..]);
    assert_eq!(world.store.get(Sha256::of(b"other")).unwrap(), None);
    assert_eq!(world.store.put(b"model").unwrap(), sha256);
    assert_eq!(world.store.put(b"").and_then(|empty| world.store.get(empty)).unwrap().unwrap(), &b""[..]);
}

#[test]
fn a_put_that_ends_at_any_step_leaves_no_artifact_or_a_whole_one() {
    let content = vec![7; 10_000];
    let sha256 = Sha256::of(&content);
    let world = World::new();
    world.store.put(&content).unwrap();
    let all = world.store.disk.steps.taken();
    assert!(all >= 6, "only {all} steps were seen");
    for step in 0..all {
        let world = World::new();
        world.store.disk.steps.end_after(step);
        let ended = world.store.put(&content);
        match world.again().get(sha256).unwrap() {
            Some(whole) => assert_eq!(whole, content),
            None => assert!(ended.is_err(), "step {step}: it said that it was kept"),
        }
        if let Err(error) = ended {
            assert!(matches!(error, ArtifactError::Unavailable(_)), "{error}");
        }
        world.store.disk.steps.go_on();
        world.store.put(&content).unwrap();
        assert_eq!(world.again().get(sha256).unwrap().unwrap(), content);
    }
}

#[test]
fn a_put_that_mends_and_ends_at_any_step_never_lets_damage_pass() {
    let content = vec![7; 10_000];
    let sha256 = Sha256::of(&content);
    for step in 0..12 {
        let world = World::new();
        world.store.put(&content).unwrap();
        fs::write(world.file(sha256), vec![8; 10_000]).unwrap();
        world.store.disk.steps.end_after(step);
        let ended = world.store.put(&content).is_ok();
        match world.again().get(sha256) {
            Ok(Some(whole)) => assert_eq!(whole, content),
            Ok(None) => panic!("step {step}: its marker went"),
            Err(error) => assert!(!ended && matches!(error, ArtifactError::Damaged { .. }), "step {step}: {error}"),
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let world = World::new();
    let content = b"a small model".to_vec();
    let sha256 = world.store.put(&content).unwrap();
    let said = |why: &str| match world.store.get(sha256) {
        Err(error @ ArtifactError::Damaged { .. }) => assert!(error.to_string().contains(why), "{error}"),
        other => panic!("{other:?} for {why}"),
    };
    for bit in 0..content.len() * 8 {
        let mut flipped = content.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(world.file(sha256), flipped).unwrap();
        said("its sha256 is");
    }
    for length in 0..content.len() {
        fs::write(world.file(sha256), &content[..length]).unwrap();
        said(&format!("it has {length} bytes, not 13"));
    }
    fs::write(world.file(sha256), [content.clone(), content.clone()].concat()).unwrap();
    said("26 bytes");
    fs::remove_file(world.file(sha256)).unwrap();
    said("it is gone");
    world.store.put(&content).unwrap();
    for marker in ["", "{}", "{\"size\":", "{\"size\":12}"] {
        fs::write(world.marker(sha256), marker).unwrap();
        assert!(matches!(world.store.get(sha256), Err(ArtifactError::Damaged { .. })), "{marker}");
    }
    world.store.put(&content).unwrap();
    assert_eq!(world.store.get(sha256).unwrap().unwrap(), content, "put again, it is mended");
}

#[test]
fn a_file_without_its_marker_is_no_artifact() {
    let world = World::new();
    let sha256 = world.store.put(b"model").unwrap();
    fs::remove_file(world.marker(sha256)).unwrap();
    assert_eq!(world.store.get(sha256).unwrap(), None);
}

#[test]
fn a_sweep_removes_what_is_old_and_not_kept() {
    let world = World::new();
    let put = |content: &[u8]| world.store.put(content).unwrap();
    let (kept, old, young, renewed, unfinished) = (put(b"kept"), put(b"old"), put(b"young"), put(b"renewed"), put(b"unfinished"));
    [kept, old, renewed, unfinished].into_iter().for_each(|sha256| world.age(sha256));
    fs::remove_file(world.marker(unfinished)).unwrap();
    put(b"renewed");
    assert_eq!(world.store.sweep(&[kept], ago(7200)).unwrap(), 0, "all is younger than that");
    assert_eq!(world.store.sweep(&[kept], ago(60)).unwrap(), 2);
    let there = |sha256| world.again().get(sha256).unwrap().is_some();
    assert!(there(kept) && there(young) && there(renewed));
    assert!(!there(old) && !world.file(old).exists() && !world.file(unfinished).exists());
}

#[test]
fn a_sweep_that_ends_at_any_step_leaves_whole_artifacts_only() {
    for step in 0..4 {
        let world = World::new();
        let sha256 = world.store.put(b"old").unwrap();
        world.age(sha256);
        world.store.disk.steps.end_after(step);
        assert!(world.store.sweep(&[], ago(60)).is_err());
        let left = world.again().get(sha256).unwrap();
        assert!(left.is_none_or(|whole| whole == b"old"[..]));
        assert!(world.again().sweep(&[], ago(60)).is_ok());
        assert_eq!((world.again().get(sha256).unwrap(), world.file(sha256).exists()), (None, false));
    }
}

#[test]
fn what_was_served_last_is_replaced_whole_at_any_step() {
    let world = World::new();
    assert_eq!(world.store.last_good().unwrap(), []);
    for step in 0..5 {
        let (old, new) = (vec![served(1), served(2)], vec![served(3)]);
        world.store.disk.steps.go_on();
        world.store.set_last_good(&old).unwrap();
        world.store.disk.steps.end_after(step);
        let ended = world.store.set_last_good(&new);
        let found = world.again().last_good().unwrap();
        assert!(found == new || (ended.is_err() && found == old), "step {step}: {found:?}");
    }
    world.store.disk.steps.go_on();
    world.store.set_last_good(&[]).unwrap();
    assert_eq!(world.store.last_good().unwrap(), []);
}

#[test]
fn every_flipped_bit_of_the_record_is_found() {
    let world = World::new();
    world.store.set_last_good(&[served(1)]).unwrap();
    let path = world.root.path().join("last-good.json");
    let whole = fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).unwrap();
        match world.store.last_good() {
            Err(ArtifactError::Damaged { .. }) => {}
            // White space between the fields means nothing.
            Ok(same) => assert_eq!(same, [served(1)], "bit {bit}: {}", String::from_utf8_lossy(&flipped)),
            Err(other) => panic!("{other}"),
        }
    }
    for length in 0..whole.len() - 1 {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(world.store.last_good(), Err(ArtifactError::Damaged { .. })), "{length} bytes");
    }
}
