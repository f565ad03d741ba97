//! Configuration as an operator meets it: files, variables, flags, and what is said about mistakes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use loadline_runtime::config::{ByteSize, Check, HumanDuration, Loaded, Origin, Problems, Secret, SecretUrl, key, load, show};
use loadline_runtime::{grpc, telemetry};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Product {
    ingest: Ingest,
    store: Store,
    streams: Vec<Stream>,
    telemetry: telemetry::Settings,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Ingest {
    listen: SocketAddr,
    grpc: grpc::Settings,
    batch: u32,
    name: String,
    label: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Store {
    url: SecretUrl,
    password: Secret,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stream {
    name: String,
    #[serde(default = "week")]
    max_age: HumanDuration,
    #[serde(default)]
    max_bytes: ByteSize,
}

fn week() -> HumanDuration {
    HumanDuration::secs(7 * 86_400)
}

fn stream(name: &str) -> Stream {
    Stream { name: name.to_owned(), max_age: week(), max_bytes: ByteSize::mib(64) }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7401)),
            grpc: grpc::Settings { max_connections: 77, ..grpc::Settings::default() },
            batch: 5_000,
            name: String::new(),
            label: None,
        }
    }
}

impl Default for Product {
    fn default() -> Self {
        Self {
            ingest: Ingest::default(),
            store: Store { url: SecretUrl::new("sqlite:data/store.db"), password: Secret::default() },
            streams: vec![stream("BILLING"), stream("DLR")],
            telemetry: telemetry::Settings::default(),
        }
    }
}

impl Check for Product {
    const FOREIGN: &'static [&'static str] = &["serving"];

    fn check(&self, at: &str, problems: &mut Problems) {
        self.ingest.grpc.check(&key(at, "ingest.grpc"), problems);
        self.telemetry.check(&key(at, "telemetry"), problems);
        if self.ingest.batch == 0 {
            problems.refuse(key(at, "ingest.batch"), self.ingest.batch, "expected at least 1");
        }
    }
}

/// A file, variables and flags.
#[derive(Default)]
struct Sources {
    file: &'static str,
    env: &'static [(&'static str, &'static str)],
    flags: &'static [(&'static str, &'static str)],
}

impl Sources {
    fn load(&self) -> (Result<Loaded<Product>, Problems>, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("loadline.toml");
        std::fs::write(&path, self.file).expect("written");
        let env: BTreeMap<_, _> = self.env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let flags = self.flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        (load(Some(&path), &env, flags), path)
    }

    fn config(&self) -> Product {
        self.load().0.expect("no problems").config
    }

    fn problems(&self) -> Vec<(String, String, String)> {
        let problems = self.load().0.expect_err("problems");
        problems.iter().map(|p| (p.key.clone(), p.value.clone(), p.allowed.clone())).collect()
    }
}

fn keys(problems: &[(String, String, String)]) -> Vec<&str> {
    problems.iter().map(|(key, ..)| key.as_str()).collect()
}

#[test]
fn without_any_source_the_defaults_run() {
    let loaded = load::<Product>(None, &BTreeMap::new(), Vec::new()).expect("no problems");
    assert_eq!(loaded.config, Product::default());
    assert_eq!(loaded.origin("ingest.batch"), Origin::Default);
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let sources = Sources {
        file: "[ingest]\nbatch = 1\nname = 'file'\n[ingest.grpc]\nmax_in_flight = 10\n",
        env: &[("LOADLINE_INGEST__BATCH", "2"), ("LOADLINE_INGEST__NAME", "env"), ("PATH", "/bin")],
        flags: &[("ingest.batch", "3")],
    };
    let (loaded, path) = sources.load();
    let loaded = loaded.expect("no problems");
    let ingest = &loaded.config.ingest;
    assert_eq!((ingest.batch, ingest.name.as_str(), ingest.grpc.max_in_flight), (3, "env", 10));
    assert_eq!(ingest.grpc.max_connections, 77, "a half-filled section keeps the product's own defaults");
    assert_eq!(loaded.origin("ingest.batch"), Origin::Flag("ingest.batch".to_owned()));
    assert_eq!(loaded.origin("ingest.name"), Origin::Env("LOADLINE_INGEST__NAME".to_owned()));
    assert_eq!(loaded.origin("ingest.grpc.max_in_flight"), Origin::File(path));
    assert_eq!(loaded.origin("ingest.grpc.max_connections"), Origin::Default);
}

#[test]
fn all_problems_are_named_at_once_with_key_value_allowed_and_origin() {
    let sources = Sources {
        file: "[ingest]\nlisten = 'here'\nbatch = 'many'\nbacth = 7\n\
               [ingest.grpc]\nmax_deadline = '5'\nmax_connections = 0\n\
               [telemetry]\nformat = 'xml'\n[tracing]\nlevel = 1\n",
        env: &[("LOADLINE_INGEST__GRPC__MAX_MESSAGE_BYTES", "lots")],
        flags: &[("ingest.grpc.max_in_flight", "-1")],
    };
    let problems = sources.load().0.expect_err("problems");
    let text = problems.to_string();
    for expected in [
        "ingest.batch = \"many\": expected a whole number from 0 to 4294967295 (from /",
        "ingest.bacth = 7: unknown key; did you mean `ingest.batch`?",
        "ingest.listen = \"here\": expected an address such as 127.0.0.1:7401",
        "ingest.grpc.max_deadline = \"5\": expected a duration such as 250ms",
        "ingest.grpc.max_connections = 0: expected at least 1 (from /",
        "telemetry.format = \"xml\": expected one of `auto`, `pretty`, `json`",
        "tracing: unknown key (from /",
        "ingest.grpc.max_message_bytes = \"lots\": expected a size such as 512B, 64KiB, 64MiB or 10GiB \
         (from variable LOADLINE_INGEST__GRPC__MAX_MESSAGE_BYTES)",
        "ingest.grpc.max_in_flight = \"-1\": expected a whole number from 0 to 4294967295 (from flag ingest.grpc.max_in_flight)",
    ] {
        assert!(text.contains(expected), "missing: {expected}\n{text}");
    }
    assert_eq!(problems.len(), 9, "{text}");
}

#[test]
fn lists_of_tables_are_read_and_their_mistakes_named_by_index() {
    let good =
        Sources { file: "[[streams]]\nname = 'A'\n[[streams]]\nname = 'B'\nmax_age = '3d'\n", ..Sources::default() }.config();
    assert_eq!(good.streams.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["A", "B"], "a list replaces the default list");
    assert_eq!(good.streams[1].max_age, HumanDuration::secs(3 * 86_400));

    let problems = Sources {
        file: "[[streams]]\nname = 'A'\nmax_age = 'long'\n[[streams]]\nnmae = 'B'\n[[streams]]\nname = 'C'\nmax_bytes = 5\nmaxage = '1d'\n",
        ..Sources::default()
    }
    .problems();
    assert_eq!(keys(&problems), ["streams.0.max_age", "streams.1", "streams.2.max_bytes", "streams.1.nmae", "streams.2.maxage"]);
    assert!(problems[1].2.contains("missing field `name`"), "{problems:?}");
    assert!(problems[3].2.contains("streams.1.name"), "{problems:?}");
    assert!(problems[4].2.contains("streams.2.max_age"), "{problems:?}");
}

#[test]
fn variables_and_flags_reach_into_lists_and_may_be_lists() {
    let into = Sources { env: &[("LOADLINE_STREAMS__1__MAX_AGE", "2d")], ..Sources::default() }.config();
    assert_eq!((into.streams.len(), into.streams[1].max_age), (2, HumanDuration::secs(2 * 86_400)));
    let whole = Sources { flags: &[("streams", "[{ name = \"ONE\" }]")], ..Sources::default() }.config();
    assert_eq!(whole.streams, [Stream { max_bytes: ByteSize(0), ..stream("ONE") }]);
    assert_eq!(keys(&Sources { flags: &[("streams.7.name", "X")], ..Sources::default() }.problems()), ["streams.7.name"]);
}

#[test]
fn text_that_looks_like_a_number_stays_text_where_text_is_wanted() {
    let config =
        Sources { env: &[("LOADLINE_INGEST__NAME", "0012"), ("LOADLINE_INGEST__LABEL", "34")], ..Sources::default() }.config();
    assert_eq!((config.ingest.name.as_str(), config.ingest.label.as_deref()), ("0012", Some("34")));
}

#[test]
fn secrets_are_hidden_when_shown_and_in_problems_but_are_there() {
    let sources = Sources {
        file: "[store]\nurl = 'postgres://app:s3cret@db/loadline?sslpassword=s3cret'\npassword = 's3cret'\n",
        ..Sources::default()
    };
    let config = sources.config();
    assert_eq!(config.store.password.reveal(), "s3cret");
    assert_eq!(config.store.url.reveal(), "postgres://app:s3cret@db/loadline?sslpassword=s3cret");
    let shown = show(&config).expect("TOML");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(!format!("{config:?}").contains("s3cret"));

    let wrong = Sources {
        file: "[store]\nurl = ['postgres://app:s3cret@db']\npassword = 12345678\npasswrod = 's3cret'\nulr = 'a://u:s3cret@h'\n",
        ..Sources::default()
    };
    let text = wrong.load().0.expect_err("problems").to_string();
    assert!(!text.contains("s3cret") && !text.contains("12345678"), "{text}");
    assert!(text.contains("store.passwrod") && text.contains("store.password"), "{text}");
}

#[test]
fn what_is_shown_reads_back_to_the_same() {
    let config = Sources { file: "[ingest]\nbatch = 9\n[ingest.grpc]\nmax_deadline = '90s'\n", ..Sources::default() }.config();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shown.toml");
    std::fs::write(&path, show(&config).expect("TOML")).expect("written");
    assert_eq!(load::<Product>(Some(&path), &BTreeMap::new(), Vec::new()).expect("no problems").config, config);
}

#[test]
fn sections_of_other_programs_and_variables_without_a_section_are_left_alone() {
    let config = Sources {
        file: "[serving]\nanything = true\n",
        env: &[("LOADLINE_SERVING__X", "1"), ("LOADLINE_INGEST", "127.0.0.1:1"), ("OTHER__THING", "1")],
        ..Sources::default()
    };
    assert_eq!(config.config(), Product::default());
}

#[test]
fn an_unreadable_file_is_a_problem_with_its_line() {
    let (result, path) = Sources { file: "[ingest]\nbatch = = 3\n", ..Sources::default() }.load();
    let text = result.expect_err("problems").to_string();
    assert!(text.contains("line 2") && text.contains(&path.display().to_string()), "{text}");
    let missing = load::<Product>(Some("/nowhere/loadline.toml".as_ref()), &BTreeMap::new(), Vec::new());
    assert!(missing.expect_err("problems").to_string().contains("/nowhere/loadline.toml"));
}

#[test]
fn a_section_that_is_no_section_is_named() {
    let problems = Sources { file: "ingest = 5\n", ..Sources::default() }.problems();
    assert_eq!(keys(&problems), ["ingest"]);
    assert!(problems[0].2.contains("section"), "{problems:?}");
}
