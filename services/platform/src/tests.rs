//! Readings of real files, as they break and come back.

mod desk;

use super::*;
use base64::Engine as _;
use loadline_health::{Monitor, Severity};
use loadline_runtime::{Shutdown, admin::Readiness, config::HumanDuration, telemetry::Sight};
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// As the program reads it.
fn read(flags: &[(&str, String)]) -> Settings {
    let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Settings::read(None, flags).unwrap().config
}

fn from_file(path: &Path) -> String {
    format!("secret:{}", path.display())
}

#[test]
fn a_secret_that_vanishes_is_told_and_the_process_keeps_the_one_it_has() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store");
    fs::write(&path, "postgres://app:s3cret@db/loadline\n").unwrap();
    let settings = read(&[("store.url", from_file(&path))]);
    assert!(!secrets::look(&settings).bad);
    fs::remove_file(&path).unwrap();
    let reading = secrets::look(&settings);
    assert!(reading.bad && reading.severity.is_none(), "{reading:?}");
    assert!(reading.detail.contains("store.url") && reading.detail.contains("cannot be read"), "{}", reading.detail);
    fs::write(&path, " \n").unwrap();
    assert!(secrets::look(&settings).detail.contains("is empty"));
    assert_eq!(settings.store.url.reveal(), "postgres://app:s3cret@db/loadline");
    fs::write(&path, "postgres://app:n3w@db/loadline").unwrap();
    let reading = secrets::look(&settings);
    assert!(!reading.bad && !reading.detail.contains("s3cret"), "{reading:?}");
}

#[test]
fn a_start_without_its_secrets_is_refused_with_all_of_them_listed() {
    let nowhere = || "secret:/nowhere/at/all".to_owned();
    let flags = vec![("store.url".to_owned(), nowhere()), ("log.url".to_owned(), nowhere()), ("rules.x".to_owned(), nowhere())];
    let problems = Settings::read(None, flags).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert!(["store.url", "log.url", "rules.x"].iter().all(|key| keys.contains(key)), "{problems}");
}

/// A store that is reached with a certificate.
fn with_certificate(path: &Path) -> Settings {
    read(&[("store.url", format!("postgres://app@db/loadline?sslmode=verify-full&sslrootcert={}", path.display()))])
}

/// A certificate as far as its dates are: version, serial, algorithm, issuer, validity.
fn certificate(not_after: &str) -> String {
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }
    let time = |text: &str| element(0x18, text.as_bytes());
    let validity = element(0x30, &[time("20200101000000Z"), time(not_after)].concat());
    let parts = [element(0xa0, &element(2, &[2])), element(2, &[7]), element(0x30, &[]), element(0x30, &[]), validity];
    let der = element(0x30, &element(0x30, &parts.concat()));
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// So many days from now, as a certificate writes it.
fn in_days(days: i64) -> String {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap() + days * 86_400;
    let (mut year, mut left) = (1970, now / 86_400);
    let length = |year: i64| if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 366 } else { 365 };
    while left >= length(year) {
        left -= length(year);
        year += 1;
    }
    let months = [31, if length(year) == 366 { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= months[month] {
        left -= months[month];
        month += 1;
    }
    let second = now % 86_400;
    format!("{year}{:02}{:02}{:02}{:02}{:02}Z", month + 1, left + 1, second / 3_600, second / 60 % 60, second % 60)
}

#[test]
fn a_certificate_is_told_two_weeks_before_its_end_and_is_an_outage_after_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ca.pem");
    for (days, bad, severity) in [(40, false, None), (15, false, None), (13, true, None), (-1, true, Some(Severity::P1))] {
        fs::write(&path, certificate(&in_days(days))).unwrap();
        let reading = secrets::look(&with_certificate(&path));
        assert_eq!((reading.bad, reading.severity), (bad, severity), "{days}: {reading:?}");
        assert!((reading.value - days as f64).abs() < 0.1, "{days}: {reading:?}");
    }
    // Of several the first to end counts.
    fs::write(&path, [certificate(&in_days(400)), certificate(&in_days(2))].concat()).unwrap();
    assert!(secrets::look(&with_certificate(&path)).bad);
    fs::write(&path, "no certificate").unwrap();
    assert!(secrets::look(&with_certificate(&path)).detail.contains("no certificate in PEM"));
}

#[test]
fn the_date_of_a_certificate_that_openssl_made_is_read() {
    let end = certificate::first_expiry(include_bytes!("fixture/long.pem")).unwrap();
    assert_eq!(end.duration_since(UNIX_EPOCH).unwrap().as_secs(), 4_949_261_218); // Nov  2 02:46:58 2126 GMT
}

#[test]
fn a_changed_file_that_does_not_check_is_rejected_and_the_last_good_one_stays() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("loadline.toml");
    fs::write(&path, "[ingest]\nbatch_records = 700\n").unwrap();
    let kept = Kept::new(Settings::read(Some(&path), vec![]).unwrap().config, Some(path.clone()), vec![]);
    let hash = fingerprint(&kept.in_force());
    let good = kept.look();
    assert!(!good.bad && good.detail.contains(&hash), "{good:?}");

    fs::write(&path, "[ingest]\nbatch_records = 0\nbatch_bites = 3\n").unwrap();
    let bad = kept.look();
    assert_eq!((bad.bad, bad.value, bad.severity), (true, 2.0, Some(Severity::P4)), "{bad:?}");
    assert!(bad.detail.contains("batch_records = 0") && bad.detail.contains("did you mean"), "{}", bad.detail);
    assert_eq!((kept.in_force().ingest.batch_records, fingerprint(&kept.in_force())), (700, hash));

    fs::write(&path, "[ingest]\nbatch_records = 900\n").unwrap();
    let changed = kept.look();
    assert!(!changed.bad && changed.detail.contains("1 keys have changed"), "{changed:?}");
    assert_eq!(kept.in_force().ingest.batch_records, 700);
    fs::remove_file(&path).unwrap();
    assert!(kept.look().bad);
}

#[test]
fn a_fingerprint_tells_settings_apart_and_nothing_of_secrets() {
    let with = |batch: &str, password: &str| {
        let url = format!("postgres://app:{password}@db/x");
        fingerprint(&read(&[("ingest.batch_records", batch.to_owned()), ("store.url", url)]))
    };
    assert_eq!(with("700", "a"), with("700", "b"));
    assert_ne!(with("700", "a"), with("701", "a"));
}

#[test]
fn a_changed_secret_counts_as_a_change_though_it_prints_the_same() {
    let with = |password: &str| read(&[("store.url", format!("postgres://app:{password}@db/x"))]);
    assert_eq!(kept::differences(&with("a"), &with("b")), ["store.url"]);
    assert_eq!(kept::differences(&with("a"), &with("a")), Vec::<String>::new());
}

#[test]
fn a_process_is_blind_when_its_collector_refuses_or_nobody_scrapes_who_should() {
    let secs = Duration::from_secs;
    let sight = |failing: u64, unscraped: u64| Sight {
        exports: true,
        failing_for: (failing > 0).then_some(secs(failing)),
        failure: "connection refused".to_owned(),
        dropped: 7,
        unscraped_for: secs(unscraped),
    };
    let every = Some(HumanDuration::secs(15));
    for (failing, unscraped, every, bad) in [
        (0, 0, every, false),
        (60, 0, every, false),
        (61, 0, every, true),
        (0, 75, every, false),
        (0, 76, every, true),
        (0, 1_000_000, None, false),
    ] {
        let reading = telemetry::look(&sight(failing, unscraped), every, 60.0);
        assert_eq!((reading.bad, reading.severity), (bad, None), "{failing} {unscraped}: {reading:?}");
        assert!(reading.detail.contains("7 spans were dropped"), "{reading:?}");
    }
    assert!(telemetry::look(&sight(61, 0), None, 60.0).detail.contains("connection refused"));
}

/// Until a mode is in a state.
async fn until(monitor: &Monitor, mode: &str, state: loadline_proto::health::State) {
    let found = async {
        while monitor.status(mode).unwrap().state() != state {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), found).await.unwrap_or_else(|_| panic!("{:?}", monitor.status(mode)));
}

#[tokio::test]
async fn a_watched_process_opens_and_closes_its_modes_as_its_files_break_and_come_back() {
    use loadline_proto::health::State;
    let folder = TempDir::new().unwrap();
    let (file, secret) = (folder.path().join("loadline.toml"), folder.path().join("store"));
    let whole = format!("[store]\nurl = \"{}\"\n", from_file(&secret));
    fs::write(&secret, "sqlite:data/store.db").unwrap();
    fs::write(&file, &whole).unwrap();
    let settings = Settings::read(Some(&file), vec![]).unwrap().config;
    let telemetry = loadline_runtime::telemetry::init(&settings.telemetry, "test", "0").unwrap();
    let platform = Platform::new(Kept::new(settings, Some(file.clone()), vec![]), telemetry);
    let monitor = platform.monitor("ingest", "test", &[]).unwrap();
    let (shutdown, readiness) = (Shutdown::new(), Readiness::default());
    let watch = platform.watched(Life { monitor: &monitor, readiness: &readiness, shutdown: &shutdown, faults: None });
    let crash = monitor.status(CRASH).unwrap();
    assert!(crash.state() == State::Unknown && crash.rule.contains("`peers` names nobody"), "never OK by guess: {crash:?}");
    let watching = tokio::spawn({
        let monitor = monitor.clone();
        async move { watch.run(&monitor).await }
    });
    for mode in DETECTS {
        until(&monitor, mode, State::Ok).await;
    }
    fs::remove_file(&secret).unwrap();
    until(&monitor, SECRETS, State::Open).await;
    until(&monitor, CONFIGURATION, State::Open).await;
    fs::write(&secret, "sqlite:data/store.db").unwrap();
    until(&monitor, SECRETS, State::Ok).await;
    until(&monitor, CONFIGURATION, State::Ok).await;
    assert_eq!(monitor.status(TELEMETRY).unwrap().state(), State::Ok);
    shutdown.begin();
    watching.await.unwrap();
}
