//! Servers that are gone, refuse, or hold something else.

#![allow(clippy::unwrap_used)] // what tests share may stop at the first surprise

use loadline_domain::{
    AccountId, AccountScope, Day, Hour,
    archive::Part,
    event::{Channel, Country, Currency},
    usage::{Usage, UsageKey},
};
use loadline_history::{History, HistoryError, Options, Rows, open};
use loadline_tests::history::{HistoryServer, KEY, Keeper, SECRET};
use std::{sync::Arc, time::Duration};

fn at(url: &str) -> Arc<dyn History> {
    open(url, Options { timeout: Duration::from_secs(5), ..Options::default() }).unwrap()
}

fn part() -> Part {
    Part { day: Day::from_index(20_000), number: 0, token: uuid::Uuid::now_v7().to_string() }
}

/// A row, as of an hour and as of its day.
fn rows(part: &Part) -> Vec<(UsageKey, Usage)> {
    let key = UsageKey {
        account: AccountId::new("acme").unwrap(),
        hour: part.day.first_hour(),
        channel: Channel::SMS,
        country: Country::UNKNOWN,
        currency: Currency::UNKNOWN,
    };
    vec![(key, Usage { events: 1, ..Usage::default() })]
}

/// A part with these rows, finished.
async fn written(history: &dyn History) -> Part {
    let part = part();
    history.prepare().await.unwrap();
    let mut writer = history.begin(&part).await.unwrap();
    writer.write(Rows::Hourly(rows(&part))).await.unwrap();
    writer.write(Rows::Daily(rows(&part))).await.unwrap();
    writer.finish().await.unwrap();
    part
}

/// Every call that asks the backend.
async fn every_call(history: &dyn History, part: &Part) -> Vec<Result<(), HistoryError>> {
    let query = loadline_domain::question::UsageQuery {
        account: AccountId::new("acme").unwrap(),
        from: part.day.first_hour(),
        to: Hour::from_index(part.day.first_hour().index() + 30),
        filter: Default::default(),
        group_by: Default::default(),
        grain: Default::default(),
    };
    let (scope, parts) = (AccountScope::All, std::slice::from_ref(part));
    let other = self::part();
    let finish = async { history.begin(&other).await?.finish().await.map(drop) };
    vec![
        history.usage(&scope, parts, &query).await.map(drop),
        history.delivery(&scope, parts, &query).await.map(drop),
        history.account_totals(&scope, parts, query.from, query.to, &query.filter).await.map(drop),
        history.totals(part).await.map(drop),
        history.probe().await,
        history.probe_writing().await,
        history.prepare().await,
        finish.await,
    ]
}

async fn a_killed_server_can_be_retried(keeper: Keeper) {
    let mut server = HistoryServer::start(keeper).await.unwrap();
    let history = at(&server.url("killed"));
    let part = written(&*history).await;
    for answer in every_call(&*history, &part).await {
        answer.unwrap();
    }
    server.kill();
    for answer in every_call(&*history, &part).await {
        assert!(matches!(answer, Err(HistoryError::Unavailable(_))), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_s3_can_be_retried() {
    a_killed_server_can_be_retried(Keeper::Moto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_clickhouse_can_be_retried() {
    a_killed_server_can_be_retried(Keeper::ClickHouse18).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_bucket_and_a_wrong_key_are_told_without_the_key() {
    let server = HistoryServer::start(Keeper::SeaweedFs).await.unwrap();
    let url = server.url("right");
    at(&url).prepare().await.unwrap();
    for wrong in [url.replace("s3://history", "s3://absent-bucket"), url.replace(SECRET, "hunter2")] {
        let refused = at(&wrong).prepare().await.unwrap_err();
        assert!(refused.is_retryable() && !refused.to_string().contains("hunter2"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_misconfigured_and_not_shown() {
    let server = HistoryServer::start(Keeper::ClickHouse18).await.unwrap();
    let with = |login: &str| server.url("guarded").replace("127.0.0.1", &format!("{login}@127.0.0.1"));
    at(&with(&format!("{}:{}", KEY, SECRET))).prepare().await.unwrap();
    let refused = at(&with(&format!("{}:hunter2", KEY))).prepare().await.unwrap_err();
    assert!(matches!(&refused, HistoryError::Misconfigured(text) if !text.contains("hunter2")), "{refused}");
}

async fn tables_of_another_shape_are_named(keeper: Keeper) {
    let server = HistoryServer::start(keeper).await.unwrap();
    let history = at(&server.url("shaped"));
    history.prepare().await.unwrap();
    server.statement("ALTER TABLE shaped.usage_daily DROP COLUMN segments").await.unwrap();
    server.statement("DROP TABLE shaped.latency_hourly").await.unwrap();
    server.statement("CREATE TABLE shaped.latency_hourly (count String) ENGINE = Memory").await.unwrap();
    let refused = history.prepare().await.unwrap_err();
    let HistoryError::WrongSchema(what) = &refused else { panic!("{refused}") };
    assert!(what.contains("usage_daily.segments (Int64) is absent"), "{what}");
    assert!(what.contains("latency_hourly.count is String, not Int64"), "{what}");
    // Gone altogether, it may come back.
    server.statement("DROP DATABASE shaped").await.unwrap();
    let gone = history.totals(&part()).await.unwrap_err();
    assert!(matches!(gone, HistoryError::Unavailable(_)), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_shape_are_named_by_clickhouse_18() {
    tables_of_another_shape_are_named(Keeper::ClickHouse18).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_shape_are_named_by_a_current_engine() {
    tables_of_another_shape_are_named(Keeper::ClickHouseEngine).await;
}

/// As after a start that dropped what was broken, or by an operator's hand. Of usage by hour, delivery, totals of accounts, and totals
/// of a part, those that read the table miss what it had.
async fn rows_that_went_are_missed(keeper: Keeper) {
    let server = HistoryServer::start(keeper).await.unwrap();
    for (table, missed) in [("usage_hourly", [true, false, false, true]), ("usage_daily", [false, true, true, true])] {
        let url = server.url(&format!("lossy_{table}"));
        let history = at(&url);
        let part = written(&*history).await;
        for answer in every_call(&*history, &part).await {
            answer.unwrap();
        }
        let whole = format!("lossy_{table}.{table}");
        server.statement(&format!("RENAME TABLE {whole} TO {whole}_aside")).await.unwrap();
        let refused = history.prepare().await.unwrap_err();
        assert!(matches!(&refused, HistoryError::WrongSchema(what) if what.starts_with(table)), "{refused}");
        server.statement(&format!("RENAME TABLE {whole}_aside TO {whole}")).await.unwrap();
        history.totals(&part).await.unwrap();

        let month = part.day.to_string().replace('-', "")[..6].to_owned();
        server.statement(&format!("ALTER TABLE {whole} DROP PARTITION {month}")).await.unwrap();
        // One that has counted the rows before, and one that has not.
        for history in [history, at(&url)] {
            let answers = every_call(&*history, &part).await;
            let is_missed = |answer| matches!(answer, &Err(HistoryError::Damaged { ref file, .. }) if file == table);
            let found: Vec<_> = answers.iter().take(4).map(is_missed).collect();
            assert_eq!(found, missed, "{table}: {answers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_went_are_missed_in_clickhouse_18() {
    rows_that_went_are_missed(Keeper::ClickHouse18).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_went_are_missed_in_a_current_engine() {
    rows_that_went_are_missed(Keeper::ClickHouseEngine).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_accepts_and_is_silent_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let urls = [
        format!("clickhouse://127.0.0.1:{port}/db"),
        format!("s3://bucket?endpoint=http://127.0.0.1:{port}&region=a&access_key=b&secret_key=c"),
    ];
    for url in urls {
        let history = open(&url, Options { timeout: Duration::from_secs(1), ..Options::default() }).unwrap();
        for answer in [history.probe().await, history.prepare().await, history.totals(&part()).await.map(drop)] {
            assert!(matches!(answer, Err(HistoryError::Unavailable(_))), "{answer:?}");
        }
    }
}

/// A file that nobody ever answers for, as on a network mount whose server is gone: a pipe that has no other end.
fn hangs(path: &std::path::Path) {
    std::fs::remove_file(path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_file_system_that_hangs_takes_no_thread_that_others_need() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(3).enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file:{}", folder.path().display());
        let part = written(&*at(&url)).await;
        let files = std::fs::read_dir(folder.path().join("data")).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|kind| kind == "sums")).for_each(|file| hangs(&file));
        // Each of which knows nothing of it yet, and asks.
        let open = || open(&url, Options { timeout: Duration::from_secs(1), ..Options::default() }).unwrap();
        let histories: Vec<_> = (0..6).map(|_| open()).collect();
        for answer in futures::future::join_all(histories.iter().map(|history| history.totals(&part))).await {
            assert!(matches!(answer, Err(HistoryError::Unavailable(_))), "{answer:?}");
        }
        let free = tokio::time::timeout(Duration::from_secs(20), tokio::task::spawn_blocking(|| "free"));
        assert_eq!(free.await.expect("a thread is free").unwrap(), "free");
    });
    // What hangs never ends.
    runtime.shutdown_background();
}
