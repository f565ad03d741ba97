//! The private servers do what the scenarios rely on: they survive their death, stand still when told to, and lose replies.

use loadline_tests::{
    nats::{NatsServer, NatsVersion},
    postgres::PostgresServer,
    process,
    proxy::Proxy,
};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use std::{
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::time;

const SOON: Duration = Duration::from_secs(20);

async fn connect(url: &str) -> sqlx::Result<PgConnection> {
    PgConnectOptions::from_str(url)?.connect().await
}

async fn stream(server: &NatsServer) -> async_nats::jetstream::Context {
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let context = async_nats::jetstream::new(client);
    let config = async_nats::jetstream::stream::Config { name: "T".into(), subjects: vec!["t.>".into()], ..Default::default() };
    context.get_or_create_stream(config).await.expect("a stream");
    context
}

async fn a_killed_server_keeps_what_it_acknowledged(version: NatsVersion) {
    let mut server = NatsServer::start(version).await.expect("it answers");
    let (first, url) = (server.pid(), server.url());
    let context = stream(&server).await;
    for n in 1..=100_u64 {
        let ack = context.publish("t.a", n.to_string().into()).await.expect("it answers").await.expect("it answers");
        assert_eq!(ack.sequence, n);
    }
    server.kill();
    server.restart().await.expect("it answers");
    assert!(server.pid() != first && server.url() == url);
    let info = stream(&server).await.get_stream("T").await.expect("it answers").get_info().await.expect("it answers");
    assert_eq!(info.state.last_sequence, 100);
}

#[tokio::test]
async fn a_killed_nats_29_keeps_what_it_acknowledged() {
    a_killed_server_keeps_what_it_acknowledged(NatsVersion::Nats29).await;
}

#[tokio::test]
async fn a_killed_nats_215_keeps_what_it_acknowledged() {
    a_killed_server_keeps_what_it_acknowledged(NatsVersion::Nats215).await;
}

#[tokio::test]
async fn a_paused_nats_server_is_silent_and_goes_on() {
    let server = NatsServer::start(NatsVersion::Nats215).await.unwrap();
    let context = stream(&server).await;
    server.pause().unwrap();
    let answer = async || context.publish("t.a", "x".into()).await.unwrap().await;
    // Its threads stop one after the other, and one of them may still answer.
    let silent = async { while time::timeout(Duration::from_millis(300), answer()).await.is_ok() {} };
    time::timeout(SOON, silent).await.unwrap();
    server.resume().unwrap();
    time::timeout(SOON, async { context.publish("t.a", "y".into()).await.unwrap().await }).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_killed_postgres_keeps_what_it_committed_and_nothing_else() {
    let mut server = PostgresServer::start().await.unwrap();
    let url = server.create_database().await.unwrap();
    assert_ne!(url, server.create_database().await.unwrap());
    let mut connection = connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE t (n INT)").execute(&mut connection).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut connection).await.unwrap();
    sqlx::query("BEGIN").execute(&mut connection).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (2)").execute(&mut connection).await.unwrap();
    server.kill().unwrap();
    assert!(connect(&url).await.is_err());
    server.restart().await.unwrap();
    let mut connection = connect(&url).await.unwrap();
    let rows: Vec<i32> = sqlx::query_scalar("SELECT n FROM t").fetch_all(&mut connection).await.unwrap();
    assert_eq!(rows, [1]);
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&mut connection).await.unwrap();
    assert_eq!(fsync, "on");
}

#[tokio::test]
async fn a_paused_postgres_is_silent_and_goes_on_and_dies_with_its_owner() {
    let server = PostgresServer::start().await.unwrap();
    let url = server.create_database().await.unwrap();
    let mut connection = connect(&url).await.unwrap();
    server.pause().unwrap();
    let one = sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(&mut connection);
    tokio::pin!(one);
    assert!(time::timeout(Duration::from_millis(300), &mut one).await.is_err());
    server.resume().unwrap();
    assert_eq!(time::timeout(SOON, one).await.unwrap().unwrap(), 1);
    server.pause().unwrap();
    let pid = server.pid();
    drop(server);
    assert_eq!(process::state_of(pid), None);
}

/// Opens connections one after the other; on the last one before a pause it asks on and on.
async fn ask(url: String, pausing: Arc<AtomicBool>, answered: Arc<AtomicU64>) {
    loop {
        let Ok(mut connection) = connect(&url).await else { continue };
        while sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(&mut connection).await.is_ok() {
            answered.fetch_add(1, SeqCst);
            if !pausing.load(SeqCst) {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_postgres_is_silent_on_connections_that_open_meanwhile_too() {
    let server = PostgresServer::start().await.unwrap();
    let url = server.create_database().await.unwrap();
    let (pausing, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let askers: Vec<_> = (0..4).map(|_| tokio::spawn(ask(url.clone(), pausing.clone(), answered.clone()))).collect();
    for round in 0..20 {
        let before = answered.load(SeqCst);
        let going_on = async {
            while answered.load(SeqCst) < before + 20 {
                time::sleep(Duration::from_millis(5)).await
            }
        };
        time::timeout(SOON, going_on).await.expect("it goes on");
        pausing.store(true, SeqCst);
        server.pause().unwrap();
        // What was sent before is on its way yet.
        time::sleep(Duration::from_millis(50)).await;
        let silent = answered.load(SeqCst);
        time::sleep(Duration::from_millis(150)).await;
        assert_eq!(answered.load(SeqCst), silent, "somebody answers in round {round}");
        pausing.store(false, SeqCst);
        server.resume().unwrap();
    }
    askers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_has_happened() {
    let server = PostgresServer::start().await.unwrap();
    let url = server.create_database().await.unwrap();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let mut connection = connect(&server.url_through(&url, proxy.address()).unwrap()).await.unwrap();
    sqlx::query("CREATE TABLE t (n INT)").execute(&mut connection).await.unwrap();
    proxy.lose_reply_to_commit();
    let mut transaction = sqlx::Connection::begin(&mut connection).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *transaction).await.unwrap();
    time::timeout(SOON, transaction.commit()).await.unwrap().unwrap_err();
    assert_eq!(proxy.lost(), 1);
    let mut connection = connect(&url).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut connection).await.unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_commit_whose_request_is_lost_has_not_happened() {
    let server = PostgresServer::start().await.unwrap();
    let url = server.create_database().await.unwrap();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let mut connection = connect(&server.url_through(&url, proxy.address()).unwrap()).await.unwrap();
    sqlx::query("CREATE TABLE t (n INT)").execute(&mut connection).await.unwrap();
    proxy.lose_request(loadline_tests::proxy::POSTGRES_COMMIT);
    let mut transaction = sqlx::Connection::begin(&mut connection).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *transaction).await.unwrap();
    time::timeout(SOON, transaction.commit()).await.unwrap().unwrap_err();
    let mut connection = connect(&url).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut connection).await.unwrap();
    assert_eq!(rows, 0);
}
