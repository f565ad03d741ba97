//! A process that ends at any of its steps.

use super::folder::Folder;
use crate::{Sha256, registry::RegistryError};
use loadline_domain::Timestamp;
use std::collections::BTreeMap;

const NAME: &str = "m";

struct World {
    folder: Folder,
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().join("registry"));
        folder.prepare().unwrap();
        Self { folder, root }
    }

    fn register(&self, bytes: &[u8]) -> Result<u64, RegistryError> {
        let properties = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        self.folder.register(NAME, bytes, properties, Timestamp::EARLIEST).map(|version| version.number)
    }

    /// The numbers there are, after whatever happened; each with its file whole.
    fn numbers(&self) -> Vec<u64> {
        let versions = match self.folder.model(NAME) {
            Err(RegistryError::NotFound(_)) => Vec::new(),
            model => model.unwrap().versions,
        };
        for version in &versions {
            let bytes = self.folder.download(NAME, version.number, u64::MAX).unwrap();
            assert_eq!((Some(Sha256::of(&bytes)), Some(bytes.len() as u64)), (version.sha256, version.size));
            assert_eq!(version.properties["k"], "v");
        }
        assert_eq!(self.folder.list().unwrap().len(), usize::from(!versions.is_empty()));
        versions.iter().map(|version| version.number).collect()
    }
}

/// How many steps some work takes that is not interrupted.
fn steps(world: &World, work: impl Fn(&World)) -> u64 {
    world.folder.disk.steps.go_on();
    work(world);
    world.folder.disk.steps.taken()
}

#[test]
fn a_registration_that_ends_at_any_step_leaves_no_half_version() {
    let all = steps(&World::new(), |world| assert_eq!(world.register(b"one").unwrap(), 1));
    assert!(all > 10, "only {all} steps were seen");
    for step in 0..all {
        let world = World::new();
        world.folder.disk.steps.end_after(step);
        let ended = world.register(b"one");
        world.folder.disk.steps.go_on();
        let there = world.numbers();
        assert!(there.is_empty() || there == [1], "{there:?}");
        assert!(ended.is_err() || there == [1], "step {step}: it said it was registered");
        assert_eq!(world.register(b"one").unwrap(), 1, "step {step}: repeated, it is done, once");
        assert_eq!(world.register(b"two").unwrap(), 2);
        assert_eq!(world.numbers(), [1, 2]);
    }
}

#[test]
fn an_alias_that_is_moved_names_the_old_or_the_new_version_at_any_step() {
    let begun = || {
        let world = World::new();
        world.register(b"one").unwrap();
        world.register(b"two").unwrap();
        world.folder.set_alias(NAME, "champion", 1).unwrap();
        world
    };
    let all = steps(&begun(), |world| world.folder.set_alias(NAME, "champion", 2).unwrap());
    assert!(all >= 3, "only {all} steps were seen");
    for step in 0..all {
        let world = begun();
        world.folder.disk.steps.end_after(step);
        let ended = world.folder.set_alias(NAME, "champion", 2);
        world.folder.disk.steps.go_on();
        let named = world.folder.model(NAME).unwrap().aliases["champion"];
        assert!(named == 1 || named == 2, "{named}");
        assert!(ended.is_err() || named == 2, "step {step}");
    }
}

#[test]
fn a_damaged_file_is_put_back_at_any_step_or_stays_damaged_and_said() {
    let begun = || {
        let world = World::new();
        world.register(b"one").unwrap();
        let file = world.folder_file(b"one");
        std::fs::write(file, b"0ne").unwrap();
        world
    };
    let all = steps(&begun(), |world| assert_eq!(world.register(b"one").unwrap(), 1));
    for step in 0..all {
        let world = begun();
        world.folder.disk.steps.end_after(step);
        let ended = world.register(b"one");
        world.folder.disk.steps.go_on();
        match world.folder.download(NAME, 1, 100) {
            Ok(bytes) => assert_eq!(&bytes[..], b"one"),
            Err(error) => {
                assert!(ended.is_err(), "step {step}");
                assert!(matches!(error, RegistryError::WrongSha { .. }), "{error}");
            }
        }
    }
}

impl World {
    fn folder_file(&self, bytes: &[u8]) -> std::path::PathBuf {
        self.root.path().join("registry/models").join(NAME).join("files").join(Sha256::of(bytes).to_string())
    }
}

#[test]
fn what_was_left_behind_is_removed_once_it_is_old() {
    let world = World::new();
    world.folder.disk.steps.end_after(3);
    world.register(b"one").unwrap_err();
    world.folder.disk.steps.go_on();
    let files = world.folder_file(b"one").parent().unwrap().to_owned();
    let left = || std::fs::read_dir(&files).map_or(0, Iterator::count);
    // Whichever step it was: something lies there under a name that is not final.
    std::fs::create_dir_all(&files).unwrap();
    std::fs::write(files.join(".new-1"), b"half").unwrap();
    let before = left();
    world.folder.prepare().unwrap();
    assert_eq!(left(), before, "it may still be written");
    let old = std::time::SystemTime::now() - 2 * std::time::Duration::from_secs(24 * 3600);
    for entry in std::fs::read_dir(&files).unwrap() {
        std::fs::File::open(entry.unwrap().path()).unwrap().set_modified(old).unwrap();
    }
    world.folder.prepare().unwrap();
    assert_eq!(left(), 0);
}

#[test]
fn a_folder_that_is_not_mounted_is_an_outage_and_not_an_empty_registry() {
    let world = World::new();
    world.register(b"one").unwrap();
    std::fs::remove_dir_all(world.root.path().join("registry")).unwrap();
    let errors = [
        world.folder.list().unwrap_err(),
        world.folder.model(NAME).unwrap_err(),
        world.folder.download(NAME, 1, 9).unwrap_err(),
        world.folder.probe().unwrap_err(),
        world.register(b"two").unwrap_err(),
        world.folder.set_alias(NAME, "champion", 1).unwrap_err(),
    ];
    assert!(errors.iter().all(|error| matches!(error, RegistryError::Unavailable(_))), "{errors:?}");
}

#[test]
fn a_damaged_record_and_another_layout_are_said() {
    let world = World::new();
    world.register(b"one").unwrap();
    let root = world.root.path().join("registry");
    let record = root.join("models/m/versions/0000000001.json");
    let whole = std::fs::read_to_string(&record).unwrap();
    let damages = [
        whole[..whole.len() / 2].to_owned(),
        whole.replace("\"number\": 1", "\"number\": 2"),
        whole.replace("\"size\"", "\"sise\""),
        whole.replace("2000-", "x000-"),
        String::new(),
    ];
    for damage in damages {
        assert_ne!(damage, whole);
        std::fs::write(&record, damage).unwrap();
        for refused in [world.folder.model(NAME).map(drop), world.folder.list().map(drop), world.register(b"x").map(drop)] {
            assert!(
                matches!(&refused, Err(RegistryError::Damaged { file, .. }) if file.ends_with("0000000001.json")),
                "{refused:?}"
            );
        }
    }
    std::fs::write(root.join("registry.json"), "{\"schema\": 2}").unwrap();
    let refused = world.folder.prepare().unwrap_err();
    assert!(matches!(&refused, RegistryError::Misconfigured(what) if what.contains("layout 2")), "{refused}");
}
