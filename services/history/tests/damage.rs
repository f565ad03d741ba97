//! Files that are not what was written, folders that went away, writers that were killed: named errors, never a panic and
//! never another number.

#![allow(clippy::unwrap_used)] // what tests share may stop at the first surprise

use loadline_domain::{
    AccountId, AccountScope, Clock as _, Day, Hour, Timestamp,
    archive::Part,
    event::{Channel, Country, Currency},
    question::{Grain, GroupBy, UsageFilter, UsageQuery, UsageRow},
    time::SystemClock,
    usage::{Usage, UsageKey},
};
use loadline_history::{History, HistoryError, Options, Rows, open};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

const ALL: AccountScope = AccountScope::All;

fn at(folder: &Path) -> Arc<dyn History> {
    open(&format!("file:{}", folder.display()), Options::default()).unwrap()
}

fn day() -> Day {
    "2026-03-01T00:00:00Z".parse::<Timestamp>().unwrap().day()
}

fn rows() -> Vec<(UsageKey, Usage)> {
    let row = |at: i64| {
        let key = UsageKey {
            account: AccountId::new(&format!("account-{at:04}")).unwrap(),
            hour: day().first_hour(),
            channel: Channel::SMS,
            country: Country::parse("DE").unwrap(),
            currency: Currency::parse("EUR").unwrap(),
        };
        (key, Usage { events: at, messages: at * 7919 % 1_000, ..Usage::default() })
    };
    (0..2_000).map(row).collect()
}

async fn write(history: &dyn History, number: u32) -> Part {
    let part = Part { day: day(), number, token: uuid::Uuid::now_v7().to_string() };
    let mut writer = history.begin(&part).await.unwrap();
    writer.write(Rows::Hourly(rows())).await.unwrap();
    writer.write(Rows::Daily(rows())).await.unwrap();
    writer.finish().await.unwrap();
    part
}

async fn ask(history: &dyn History, part: &Part) -> Result<Vec<UsageRow>, HistoryError> {
    let query = UsageQuery {
        account: AccountId::new("account-0777").unwrap(),
        from: day().first_hour(),
        to: day().end().hour(),
        filter: UsageFilter::default(),
        group_by: GroupBy::default(),
        grain: Grain::Hour,
    };
    history.usage(&ALL, std::slice::from_ref(part), &query).await
}

/// A prepared history with one part.
async fn written() -> (TempDir, Part) {
    let folder = tempfile::tempdir().unwrap();
    let history = at(folder.path());
    history.prepare().await.unwrap();
    let part = write(&*history, 0).await;
    assert_eq!(ask(&*history, &part).await.unwrap().len(), 1);
    (folder, part)
}

fn files(folder: &Path, below: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join(below)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_anywhere_is_named_and_never_changes_an_answer() {
    let (folder, part) = written().await;
    let expected = ask(&*at(folder.path()), &part).await.unwrap();
    let totals = at(folder.path()).totals(&part).await.unwrap();
    let mut named = 0;
    for path in files(folder.path(), "data", "") {
        let whole = fs::read(&path).unwrap();
        // The ends, where the format keeps its lengths and marks, and places between them.
        let len = whole.len();
        let places = (0..12).map(|at| at * len / 12).chain([1, 5, 8, 9].map(|before| len.saturating_sub(before)));
        for place in places {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x41;
            fs::write(&path, bytes).unwrap();
            // As a process that has read nothing of it yet.
            let history = at(folder.path());
            for answer in
                [ask(&*history, &part).await.map(|rows| rows == expected), history.totals(&part).await.map(|t| t == totals)]
            {
                match answer {
                    Ok(same) => assert!(same, "byte {place} of {} changed an answer", path.display()),
                    Err(HistoryError::Damaged { file, .. }) => {
                        named += 1;
                        assert!(path.ends_with(&file), "{file} was named for {}", path.display());
                    }
                    Err(other) => panic!("byte {place} of {}: {other}", path.display()),
                }
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(named > 20, "only {named} were noticed");
    assert_eq!(ask(&*at(folder.path()), &part).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_cut_short_or_gone_is_named() {
    let (folder, part) = written().await;
    for path in files(folder.path(), "data", "") {
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            for answer in [ask(&*at(folder.path()), &part).await.map(drop), at(folder.path()).totals(&part).await.map(drop)] {
                if let Err(error) = answer {
                    let HistoryError::Damaged { file, .. } = &error else {
                        panic!("{length} bytes of {}: {error}", path.display())
                    };
                    assert!(path.ends_with(file), "{file} was named for {}", path.display());
                }
            }
        }
        fs::remove_file(&path).unwrap();
        let answers = [ask(&*at(folder.path()), &part).await.map(drop), at(folder.path()).totals(&part).await.map(drop)];
        let is_gone = |answer: &Result<(), HistoryError>| matches!(answer, Err(HistoryError::Damaged { file, why }) if path.ends_with(file) && why.contains("gone"));
        // The file of days answers neither of these questions.
        assert!(answers.iter().any(is_gone) || answers.iter().all(Result::is_ok), "{answers:?}");
        fs::write(&path, &whole).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_manifest_is_named() {
    let (folder, part) = written().await;
    let newest = files(folder.path(), "manifest", ".json").pop().unwrap();
    let whole = fs::read(&newest).unwrap();
    for place in [0, 64, 65, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(&newest, bytes).unwrap();
        let refused = ask(&*at(folder.path()), &part).await;
        assert!(
            matches!(&refused, Err(HistoryError::Damaged { file, .. }) if newest.ends_with(file)),
            "byte {place}: {refused:?}"
        );
    }
    fs::write(&newest, b"").unwrap();
    assert!(matches!(at(folder.path()).prepare().await, Err(HistoryError::Damaged { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_of_another_build_is_a_wrong_schema() {
    let (folder, part) = written().await;
    let body = br#"{"schema":2,"version":3,"something":"new"}"#;
    let file = [blake3::hash(body).to_hex().as_bytes(), b"\n", body].concat();
    fs::write(folder.path().join("manifest/00000000000000000003.json"), file).unwrap();
    for refused in [ask(&*at(folder.path()), &part).await.map(drop), at(folder.path()).prepare().await] {
        assert!(
            matches!(&refused, Err(HistoryError::WrongSchema(what)) if what.contains("schema 2") && what.contains("knows 1")),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_went_away_can_be_retried_and_is_never_made_again_by_a_writer() {
    let (folder, part) = written().await;
    let (history, away) = (at(folder.path()), folder.path().with_extension("away"));
    let expected = ask(&*history, &part).await.unwrap();
    fs::rename(folder.path(), &away).unwrap();
    let fresh = at(folder.path());
    let other = Part { day: day(), number: 1, token: uuid::Uuid::now_v7().to_string() };
    let refused = [
        ask(&*history, &part).await.map(drop),
        ask(&*fresh, &part).await.map(drop),
        history.probe().await,
        history.probe_writing().await,
        history.totals(&part).await.map(drop),
        history.begin(&other).await.unwrap().finish().await.map(drop),
        history.compact(std::slice::from_ref(&other)).await.map(drop),
        history.sweep(std::slice::from_ref(&part), Timestamp::END).await.map(drop),
    ];
    for refused in refused {
        assert!(refused.as_ref().is_err_and(HistoryError::is_retryable), "{refused:?}");
    }
    // Prepared anew it is another history: what it does not hold is missing, not zero.
    fresh.prepare().await.unwrap();
    assert!(matches!(ask(&*fresh, &part).await, Err(HistoryError::Missing(_))));
    fs::remove_dir_all(folder.path()).unwrap();
    fs::rename(&away, folder.path()).unwrap();
    assert_eq!(ask(&*history, &part).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_whose_writer_was_killed_before_the_manifest_does_not_exist() {
    let (folder, part) = written().await;
    let history = at(folder.path());
    // As if killed between its last file and its manifest: the files are there, and nobody names them.
    let lost = write(&*history, 1).await;
    fs::remove_file(files(folder.path(), "manifest", ".json").pop().unwrap()).unwrap();
    let history = at(folder.path());
    assert!(matches!(history.totals(&lost).await, Err(HistoryError::Missing(_))));
    let again = write(&*history, 1).await;
    assert_eq!(history.totals(&again).await.unwrap(), history.totals(&part).await.unwrap());
    let there = files(folder.path(), "data", ".parquet").len();
    assert_eq!(there, 6);
    let keep = [part.clone(), again.clone()];
    assert_eq!(history.sweep(&keep, SystemClock.now().minus(Duration::from_secs(3600))).await.unwrap(), 0);
    assert_eq!(history.sweep(&keep, SystemClock.now().plus(Duration::from_secs(3600))).await.unwrap(), 2);
    assert_eq!(files(folder.path(), "data", ".parquet").len(), 4);
    assert_eq!(ask(&*history, &part).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_leaves_few_files_and_a_sweep_only_those() {
    let folder = tempfile::tempdir().unwrap();
    let history = at(folder.path());
    history.prepare().await.unwrap();
    let mut parts = Vec::new();
    for number in 0..5 {
        parts.push(write(&*history, number).await);
    }
    assert_eq!(files(folder.path(), "data", ".parquet").len(), 10);
    assert_eq!(history.compact(&parts).await.unwrap(), 10);
    assert_eq!(history.compact(&parts).await.unwrap(), 0);
    // Readers that began before may still be at the old ones.
    assert_eq!(files(folder.path(), "data", ".parquet").len(), 12);
    history.sweep(&parts, SystemClock.now().minus(Duration::from_secs(3600))).await.unwrap();
    assert_eq!(files(folder.path(), "data", ".parquet").len(), 12);
    history.sweep(&parts, SystemClock.now().plus(Duration::from_secs(3600))).await.unwrap();
    assert_eq!((files(folder.path(), "data", ".parquet").len(), files(folder.path(), "data", ".sums").len()), (2, 2));
    assert_eq!(ask(&*history, &parts[4]).await.unwrap().len(), 1);
    let hour = Hour::from_index(day().first_hour().index());
    assert_eq!(ask(&*history, &parts[0]).await.unwrap()[0].hour, Some(hour));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_do_not_pile_up() {
    let (folder, part) = written().await;
    let history = at(folder.path());
    let mut parts = vec![part];
    for number in 1..45 {
        let part = Part { day: day(), number, token: uuid::Uuid::now_v7().to_string() };
        history.begin(&part).await.unwrap().finish().await.unwrap();
        parts.push(part);
    }
    history.sweep(&parts, SystemClock.now().plus(Duration::from_secs(3600))).await.unwrap();
    assert_eq!(files(folder.path(), "manifest", ".json").len(), 32);
    assert_eq!(ask(&*at(folder.path()), &parts[0]).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_manifest_that_goes_away_is_named_by_who_knew_it() {
    let (folder, part) = written().await;
    let history = at(folder.path());
    ask(&*history, &part).await.unwrap();
    let newest = files(folder.path(), "manifest", "").pop().unwrap();
    fs::remove_file(&newest).unwrap();
    // What it knows already is answered still: parts never change.
    assert_eq!(ask(&*history, &part).await.unwrap().len(), 1);
    let other = Part { token: uuid::Uuid::now_v7().to_string(), ..part };
    let Err(HistoryError::Unavailable(why)) = ask(&*history, &other).await else { panic!("{other:?} was never written") };
    assert!(why.contains(newest.file_name().unwrap().to_str().unwrap()), "{why}");
}
