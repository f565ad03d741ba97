//! What can drift is a test: folders, who imports whom, crate docs, names.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Everything at the top but dotfiles, and what tools make there.
const TOP: [&str; 10] =
    ["Cargo.toml", "Cargo.lock", "proto", "services", "console", "tests", "deploy", "README.md", "LICENSE", "target"];
/// What a running product leaves behind; ignored by git.
const RUNTIME: [&str; 1] = ["data"];

const PORTS: [&str; 4] = ["loadline-event-log", "loadline-store", "loadline-history", "loadline-models"];
const SERVICES: [&str; 4] = ["loadline-ingest", "loadline-query", "loadline-rollup", "loadline-serving"];
/// What does I/O: the vocabulary has none of it.
const IO: [&str; 10] =
    ["tokio", "tonic", "sqlx", "async-nats", "hyper", "axum", "tower", "futures", "async-trait", "opentelemetry"];

fn metadata() -> Metadata {
    MetadataCommand::new().current_dir(env!("CARGO_MANIFEST_DIR")).no_deps().exec().expect("cargo metadata")
}

fn root() -> PathBuf {
    metadata().workspace_root.into()
}

/// Names of the normal dependencies of a package.
fn imports(package: &Package) -> BTreeSet<&str> {
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
    normal.map(|dependency| dependency.name.as_str()).collect()
}

/// Which of ours each of ours may import; `None`: everything.
fn allowed(package: &str) -> Option<BTreeSet<&'static str>> {
    let mut allowed = BTreeSet::new();
    match package {
        // Its messages only: see below.
        "loadline-domain" | "loadline-console" => allowed.extend(["loadline-proto"]),
        // Faults are a mechanism of ports, and know none.
        "loadline-proto" | "loadline-runtime" | "loadline-fault" => {}
        "loadline-health" => allowed.extend(["loadline-proto", "loadline-runtime"]),
        // The configuration file as a type: it names backends and limits, no service.
        "loadline-settings" => {
            allowed.extend(["loadline-domain", "loadline-runtime"]);
            allowed.extend(PORTS);
        }
        // Messages of proto to build what their contract suites commit.
        port if PORTS.contains(&port) => allowed.extend(["loadline-domain", "loadline-proto", "loadline-fault"]),
        // Hours counted again, for the services that compare: it reads the log and the store, and knows no service.
        "loadline-recount" => allowed.extend(["loadline-domain", "loadline-event-log", "loadline-store"]),
        // The store as what a desk stands on: it knows no service.
        "loadline-ledger" => {
            allowed.extend(["loadline-domain", "loadline-proto", "loadline-fault", "loadline-health", "loadline-store"])
        }
        // What every service sees of its own process, and, as a client of their contracts, of its peers.
        "loadline-platform" => {
            allowed.extend(["loadline-proto", "loadline-fault", "loadline-runtime", "loadline-health", "loadline-settings"])
        }
        service if SERVICES.contains(&service) => {
            allowed.extend(["loadline-domain", "loadline-proto", "loadline-runtime", "loadline-health", "loadline-settings"]);
            allowed.extend(PORTS.into_iter().chain(["loadline-ledger", "loadline-fault", "loadline-platform"]));
            allowed.extend(["loadline-query", "loadline-rollup"].contains(&service).then_some("loadline-recount"));
        }
        "loadline-node" => {
            allowed.extend(["loadline-domain", "loadline-proto", "loadline-runtime", "loadline-health", "loadline-settings"]);
            allowed.extend(PORTS.into_iter().chain(SERVICES).chain(["loadline-console", "loadline-platform"]));
        }
        "loadline-tests" => return None,
        other => panic!("{other} is not in the import table: decide what it may import, here and in services/README.md"),
    }
    Some(allowed)
}

/// Imports that the table forbids, as `who → whom`.
fn forbidden(packages: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let mut forbidden = Vec::new();
    for (package, imports) in packages {
        let Some(allowed) = allowed(package) else { continue };
        let ours = imports.iter().filter(|name| packages.contains_key(*name) && !allowed.contains(*name));
        let io = imports.iter().filter(|name| *package == "loadline-domain" && IO.contains(*name));
        forbidden.extend(ours.chain(io).map(|name| format!("{package} → {name}")));
    }
    forbidden
}

#[test]
fn crates_import_only_what_the_table_allows() {
    let metadata = metadata();
    let packages = metadata.packages.iter().map(|package| (package.name.as_str(), imports(package))).collect();
    assert_eq!(forbidden(&packages), Vec::<String>::new());
}

#[test]
fn a_forbidden_import_would_be_found() {
    let planted = [
        ("loadline-domain", ["loadline-proto", "sqlx"]),
        ("loadline-query", ["loadline-ingest", "loadline-domain"]),
        ("loadline-store", ["loadline-event-log", "loadline-domain"]),
        ("loadline-event-log", ["loadline-domain", "tokio"]),
        ("loadline-ingest", ["loadline-domain", "loadline-recount"]),
        ("loadline-recount", ["loadline-store", "loadline-query"]),
        ("loadline-rollup", ["loadline-recount", "tokio"]),
        ("loadline-proto", ["prost", "tonic"]),
    ];
    let packages = planted.into_iter().map(|(name, imports)| (name, imports.into())).collect();
    assert_eq!(
        forbidden(&packages),
        [
            "loadline-domain → sqlx",
            "loadline-ingest → loadline-recount",
            "loadline-query → loadline-ingest",
            "loadline-recount → loadline-query",
            "loadline-store → loadline-event-log",
        ]
    );
}

#[test]
fn the_vocabulary_and_the_ports_know_messages_but_no_grpc() {
    for package in metadata().packages {
        if package.name != "loadline-domain" && !PORTS.contains(&package.name.as_str()) {
            continue;
        }
        let proto = package.dependencies.iter().find(|dependency| dependency.name == "loadline-proto");
        let features = proto.map(|dependency| dependency.features.clone()).unwrap_or_default();
        assert!(!features.contains(&"services".to_owned()), "{} takes loadline-proto with gRPC", package.name);
    }
}

#[test]
fn the_top_level_is_fixed() {
    let entries = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let known = |name: &String| name.starts_with('.') || TOP.contains(&name.as_str()) || RUNTIME.contains(&name.as_str());
    let strangers: Vec<String> = entries.filter(|name| !known(name)).collect();
    assert_eq!(strangers, Vec::<String>::new());
}

#[test]
fn every_crate_root_and_every_folder_of_code_says_what_it_is() {
    let roots = metadata().packages.into_iter().flat_map(|package| package.targets);
    let roots = roots.filter(|target| !target.is_custom_build()).map(|target| PathBuf::from(target.src_path));
    let folders = sources().into_iter().filter(|path| path.file_name().is_some_and(|name| name == "mod.rs"));
    let silent = |path: &PathBuf| !fs::read_to_string(path).unwrap_or_default().starts_with("//!");
    let silent: BTreeSet<PathBuf> = roots.chain(folders).filter(silent).collect();
    assert_eq!(silent, BTreeSet::new());
}

#[test]
fn no_module_is_a_drawer() {
    let drawers = ["util", "utils", "common", "helper", "helpers", "manager", "managers", "impl", "misc"];
    let names = sources().into_iter().flat_map(|path| {
        let own = path.with_extension("");
        let parts: Vec<String> = own.iter().rev().take(2).map(|part| part.to_string_lossy().into_owned()).collect();
        parts.into_iter().map(move |part| (part, path.clone()))
    });
    let found: BTreeSet<(String, PathBuf)> = names.filter(|(name, _)| drawers.contains(&name.as_str())).collect();
    assert_eq!(found, BTreeSet::new());
}

#[test]
fn the_architecture_document_stays_short() {
    // Absent is for the one who writes it to notice; long is for everybody else.
    let document = fs::read_to_string(root().join("services/README.md")).unwrap_or_default();
    let lines = document.lines().count();
    assert!(lines < 150, "services/README.md has {lines} lines; it is read whole only while it is under 150");
}

#[test]
fn lints_are_those_of_the_workspace_everywhere() {
    for package in metadata().packages {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", package.manifest_path);
    }
}

/// All Rust files of all packages.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for package in metadata().packages {
        let folder = package.manifest_path.parent().expect("a manifest is in a folder").as_std_path().to_owned();
        walk(&folder.join("src"), &mut found);
        walk(&folder.join("tests"), &mut found);
    }
    assert!(found.len() > 50, "only {} source files were found", found.len());
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
