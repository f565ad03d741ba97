//! What only a server on the other end of a connection can do: lose a reply, die half-way, fall silent, lock.
#![allow(clippy::unwrap_used)] // also in what the tests share

mod lossy_proxy;
mod postgres_server;

use loadline_domain::{
    Batch, Day, StreamName,
    archive::{Part, Totals},
};
use loadline_store::{
    Archived, Leadership, Options, Store, StoreError,
    contract::{Owner, Subject, billing, noon},
    open,
};
use lossy_proxy::{Loss, LossyProxy};
use postgres_server::PostgresServer;
use sqlx::{Connection as _, PgConnection};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Nothing may hang: longer than any limit of the store, acquire and work and COMMIT together.
const HANG: Duration = Duration::from_secs(30);

fn batch(owner: &Owner, name: &str, events: usize) -> Batch {
    let events: Vec<_> = (0..events).map(|i| billing(&format!("{name}-{i}"), &format!("account-{}", i % 50), noon())).collect();
    owner.batch(&events)
}

async fn assert_conserved(store: &Arc<dyn Store>, counted: i64) {
    let conservation = store.conservation().await.unwrap();
    assert_eq!((conservation.counted, conservation.usage_events, conservation.unaccounted), (counted, counted, 0));
}

async fn scalar(url: &str, sql: &'static str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
}

/// Until a transaction waits for another one.
async fn somebody_waits(server: &PostgresServer) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let found = async {
        while scalar(&server.url(), waiting).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(HANG, found).await.expect("nobody waits for a lock");
}

async fn through_proxy(server: &PostgresServer) -> (LossyProxy, Subject, Owner) {
    let proxy = LossyProxy::to(server.port()).await;
    let subject = Subject::new(server.service_url_at(proxy.port())).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let first = batch(&owner, "first", 10); // makes the day's table
    owner.try_commit(&first).await.unwrap();
    (proxy, subject, owner)
}

#[tokio::test]
async fn a_lost_reply_to_a_commit_is_unknown_and_progress_tells_that_it_happened() {
    let server = PostgresServer::start().await;
    let (proxy, subject, mut owner) = through_proxy(&server).await;
    let second = batch(&owner, "second", 100);
    proxy.lose(Loss::Reply);
    let unknown = owner.try_commit(&second).await;
    assert!(matches!(unknown, Err(StoreError::Unknown(_))), "{unknown:?}");
    owner.refresh().await;
    assert_eq!(owner.progress.applied, 110);
    let again = owner.try_commit(&second).await;
    assert!(matches!(again, Err(StoreError::Stale(_))), "{again:?}");
    assert_conserved(&subject.store, 110).await;
}

#[tokio::test]
async fn a_lost_commit_is_unknown_and_progress_tells_that_it_did_not_happen() {
    let server = PostgresServer::start().await;
    let (proxy, subject, mut owner) = through_proxy(&server).await;
    let second = batch(&owner, "second", 100);
    proxy.lose(Loss::Request);
    let unknown = owner.try_commit(&second).await;
    assert!(matches!(unknown, Err(StoreError::Unknown(_))), "{unknown:?}");
    owner.refresh().await;
    assert_eq!(owner.progress.applied, 10);
    owner.try_commit(&second).await.unwrap();
    assert_conserved(&subject.store, 110).await;
}

#[tokio::test]
async fn a_server_killed_at_any_moment_of_a_commit_leaves_all_or_nothing() {
    let mut server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let began = Instant::now();
    let first = batch(&owner, "first", 3_000);
    owner.try_commit(&first).await.unwrap();
    let whole = began.elapsed();
    let mut told = [0; 3];
    for round in 0..8 {
        // From before the first statement to after the COMMIT, at the speed of this machine now.
        let delay = whole * round / 7;
        let batch = batch(&owner, &format!("round-{round}"), 3_000);
        let (store, lease) = (Arc::clone(&subject.store), owner.lease.clone());
        let committing = {
            let batch = batch.clone();
            tokio::spawn(async move { store.commit(&lease, &batch).await })
        };
        tokio::time::sleep(delay).await;
        server.kill();
        let outcome = tokio::time::timeout(HANG, committing).await.unwrap().unwrap();
        server.restart().await;
        // A connection that answered just now is trusted for a moment: its first use would be Unavailable.
        subject.reconnect().await;
        owner.refresh().await;
        match outcome {
            Ok(_) => {
                told[0] += 1;
                assert_eq!(owner.progress.applied, batch.to());
            }
            Err(StoreError::Unavailable(_)) => {
                told[1] += 1;
                assert_eq!(owner.progress.applied, batch.from(), "it was said that nothing happened");
            }
            Err(StoreError::Unknown(_)) => {
                told[2] += 1;
                assert!([batch.from(), batch.to()].contains(&owner.progress.applied));
            }
            Err(other) => panic!("{other}"),
        }
        if owner.progress.applied == batch.from() {
            owner.try_commit(&batch).await.unwrap();
        }
        assert_conserved(&subject.store, owner.progress.applied as i64).await;
    }
    println!("done, unavailable, unknown: {told:?}");
    assert_eq!(owner.progress.applied, 9 * 3_000);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_unavailable_and_is_used_again_when_it_speaks() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let first = batch(&owner, "first", 10);
    owner.try_commit(&first).await.unwrap();
    let second = batch(&owner, "second", 10);
    server.freeze();
    let stream = owner.lease.stream.clone();
    let calls = async { tokio::join!(subject.store.progress(&stream), subject.store.probe(), owner.try_commit(&second)) };
    let (progress, probe, commit) = tokio::time::timeout(HANG, calls).await.expect("bounded");
    assert!(matches!(progress, Err(StoreError::Unavailable(_))), "{progress:?}");
    assert!(matches!(probe, Err(StoreError::Unavailable(_))), "{probe:?}");
    assert!(matches!(commit, Err(StoreError::Unavailable(_))), "{commit:?}");
    server.thaw();
    owner.try_commit(&second).await.unwrap();
    assert_conserved(&subject.store, 20).await;
}

#[tokio::test]
async fn a_server_that_falls_silent_within_a_transaction_is_unavailable_and_nothing_happened() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let first = batch(&owner, "first", 10);
    owner.try_commit(&first).await.unwrap();
    let mut stranger = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE usage_hourly").execute(&mut stranger).await.unwrap();
    let second = batch(&owner, "second", 10);
    let (store, lease) = (Arc::clone(&subject.store), owner.lease.clone());
    let committing = {
        let second = second.clone();
        tokio::spawn(async move { store.commit(&lease, &second).await })
    };
    somebody_waits(&server).await;
    server.freeze();
    let outcome = tokio::time::timeout(HANG, committing).await.expect("bounded").unwrap();
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    server.thaw();
    drop(stranger);
    owner.try_commit(&second).await.unwrap();
    assert_conserved(&subject.store, 20).await;
}

#[tokio::test]
async fn a_lock_that_a_stranger_holds_makes_it_unavailable() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let mut stranger = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE stream_progress").execute(&mut stranger).await.unwrap();
    let first = batch(&owner, "first", 10);
    let outcome = tokio::time::timeout(HANG, owner.try_commit(&first)).await.expect("bounded");
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    sqlx::raw_sql("ROLLBACK").execute(&mut stranger).await.unwrap();
    owner.try_commit(&first).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_go_away_leave_no_connection_inside_a_transaction() {
    let server = PostgresServer::start().await;
    Subject::new(server.service_url()).await;
    let store = open(&server.service_url(), Options { max_connections: 1, ..Options::default() }).await.unwrap();
    let mut owner = Owner::of(&store, "BILLING").await;
    for round in 0..40_u64 {
        let batch = batch(&owner, &format!("round-{round}"), 300);
        let (store, lease) = (Arc::clone(&store), owner.lease.clone());
        let caller = tokio::spawn(async move {
            let (_, _) = (store.commit(&lease, &batch).await, store.conservation().await);
        });
        tokio::time::sleep(Duration::from_micros(round * 700)).await;
        caller.abort();
        let _ = caller.await;
        // On the only connection: inside of somebody's transaction this would be an older snapshot, or rolled back.
        owner.refresh().await;
        owner.count(&[billing(&format!("after-{round}"), "acme", noon())]).await;
    }
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loadline' AND state LIKE 'idle in transaction%'";
    assert_eq!(scalar(&server.url(), left).await, 0);
    owner.refresh().await;
    assert_conserved(&store, owner.progress.applied as i64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_share_accounts_and_ids_never_deadlock() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let streams = ["BILLING-0", "BILLING-1", "BILLING-2"].map(|name| {
        let store = Arc::clone(&subject.store);
        tokio::spawn(async move {
            let mut owner = Owner::of(&store, name).await;
            for round in 0..15 {
                let batch = batch(&owner, &format!("round-{round}"), 400);
                owner.try_commit(&batch).await.unwrap();
            }
            owner.counters()
        })
    });
    let (mut counted, mut duplicates) = (0, 0);
    for stream in streams {
        let counters = stream.await.unwrap();
        counted += counters.0;
        duplicates += counters.1;
    }
    assert_eq!((counted, duplicates), (15 * 400, 2 * 15 * 400));
    assert_conserved(&subject.store, 15 * 400).await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(scalar(&server.url(), deadlocks).await, 0);
}

#[tokio::test]
async fn a_key_that_another_transaction_writes_first_is_a_duplicate() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await; // makes the day's table
    let batch = batch(&owner, "b", 20);
    let (theirs, ours) = (&batch.candidates()[7], owner.lease.clone());
    let mut stranger = PgConnection::connect(&server.url()).await.unwrap();
    let mut writing = stranger.begin().await.unwrap();
    sqlx::query("INSERT INTO dedup_billing_20260310 VALUES ($1, $2)")
        .bind(uuid::Uuid::from_bytes(theirs.identity.key))
        .bind(theirs.fingerprint)
        .execute(&mut *writing)
        .await
        .unwrap();
    let (store, given) = (Arc::clone(&subject.store), batch.clone());
    let committing = tokio::spawn(async move { store.commit(&ours, &given).await });
    somebody_waits(&server).await;
    writing.commit().await.unwrap();
    let progress = tokio::time::timeout(HANG, committing).await.expect("bounded").unwrap().unwrap();
    assert_eq!((progress.applied, progress.counted, progress.duplicates), (21, 20, 1));
    assert_conserved(&subject.store, 20).await;
}

#[tokio::test]
async fn a_dedup_table_that_was_purged_after_it_was_seen_fails_no_batch() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    let purge = "DELETE FROM dedup_partition; DROP TABLE dedup_billing_20260310";
    sqlx::raw_sql(purge).execute(&mut PgConnection::connect(&server.url()).await.unwrap()).await.unwrap();
    let batch = batch(&owner, "b", 5);
    owner.try_commit(&batch).await.unwrap();
    assert_conserved(&subject.store, 6).await;
}

#[tokio::test]
async fn a_leader_can_be_kept_but_not_replaced_while_one_of_its_writes_is_under_way() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let leadership = subject.lead("rollup", "old", Duration::from_millis(1)).await.unwrap().unwrap();
    // As a fenced write does, before its other statements.
    let mut writing = PgConnection::connect(&server.url()).await.unwrap();
    let fence = "BEGIN; SELECT FROM leader WHERE role = 'rollup' FOR KEY SHARE";
    sqlx::raw_sql(fence).execute(&mut writing).await.unwrap();
    let kept = subject.keep_leading(&leadership, Duration::from_millis(1)).await.unwrap().unwrap();
    assert_eq!(kept.epoch, leadership.epoch);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let refused = tokio::time::timeout(HANG, subject.lead("rollup", "new", Duration::from_secs(60))).await.expect("bounded");
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    sqlx::raw_sql("COMMIT").execute(&mut writing).await.unwrap();
    let new = subject.lead("rollup", "new", Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(new.epoch > leadership.epoch);
    let stale = subject.roll_up(&leadership, 10).await;
    assert!(matches!(stale, Err(StoreError::Stale(_))), "{stale:?}");
}

#[tokio::test]
async fn an_archiving_whose_reply_is_lost_is_found_done_by_the_next_try() {
    let server = PostgresServer::start().await;
    let (proxy, subject, _) = through_proxy(&server).await;
    let leadership = subject.lead("rollup", "only", Duration::from_secs(60)).await.unwrap().unwrap();
    let part = Part { day: noon().day(), number: 0, token: "first".to_owned() };
    let nothing = Totals::default();
    let Archived::Moved { found } = subject.archive(&leadership, &part, &nothing).await.unwrap() else { panic!("it has rows") };
    proxy.lose(Loss::Request);
    let unknown = subject.archive(&leadership, &part, &found).await;
    assert!(matches!(unknown, Err(StoreError::Unknown(_))), "{unknown:?}");
    proxy.lose(Loss::Reply);
    let unknown = subject.archive(&leadership, &part, &found).await;
    assert!(matches!(unknown, Err(StoreError::Unknown(_))), "{unknown:?}");
    assert_eq!(subject.archive(&leadership, &part, &found).await.unwrap(), Archived::Already);
    assert_eq!(subject.parts(part.day, part.day).await.unwrap().len(), 1);
    assert_conserved(&subject.store, 10).await;
}

/// A day of one event, ready to be archived by a leader: its part and what it holds.
async fn one_day(server: &PostgresServer) -> (Subject, Leadership, Owner, Part, Totals) {
    let subject = Subject::new(server.service_url()).await;
    let leadership = subject.lead("rollup", "only", Duration::from_secs(60)).await.unwrap().unwrap();
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("first", "acme", noon())]).await;
    let part = Part { day: noon().day(), number: 0, token: "first".to_owned() };
    let moved = subject.archive(&leadership, &part, &Totals::default()).await.unwrap();
    let Archived::Moved { found } = moved else { panic!("{moved:?}") };
    (subject, leadership, owner, part, found)
}

#[tokio::test]
async fn who_reads_a_day_at_length_holds_up_its_archiving_and_nobody_else_and_what_comes_meanwhile_stays() {
    let server = PostgresServer::start().await;
    let (subject, leadership, mut owner, part, found) = one_day(&server).await;
    let mut reading = PgConnection::connect(&server.url()).await.unwrap();
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE usage_hourly IN ACCESS SHARE MODE; SELECT count(*) FROM loss";
    sqlx::raw_sql(begin).execute(&mut reading).await.unwrap();
    let (store, given) = (Arc::clone(&subject.store), part.clone());
    let archiving = tokio::spawn(async move { store.archive(&leadership, &given, &found).await });
    somebody_waits(&server).await;
    // Batches and answers go on, and the reader sees what it did.
    let mut late = billing("late", "acme", noon());
    late.country = "FR".to_owned();
    owner.count(&[late]).await;
    let seen: i64 = sqlx::query_scalar("SELECT sum(events)::bigint FROM usage_hourly").fetch_one(&mut reading).await.unwrap();
    assert_eq!(seen, 1);
    assert!(!archiving.is_finished());
    sqlx::raw_sql("ROLLBACK").execute(&mut reading).await.unwrap();
    assert!(matches!(archiving.await.unwrap().unwrap(), Archived::Moved { .. }), "it is not the day that was exported");
    assert_eq!(scalar(&server.url(), "SELECT sum(events)::bigint FROM usage_hourly").await, 2);
    assert_eq!(subject.dirty().await.unwrap().account_days, 1);
    assert_conserved(&subject.store, 2).await;
}

#[tokio::test]
async fn days_that_wait_to_be_archived_leave_the_connections_to_answers() {
    let server = PostgresServer::start().await;
    let (subject, leadership, mut owner, first, _) = one_day(&server).await;
    let small = open(&server.service_url(), Options { max_connections: 4, ..Options::default() }).await.unwrap();
    let days: Vec<Day> = (1..5).map(|ahead| Day::from_index(first.day.index() + ahead)).collect();
    let mut parts = Vec::new();
    for day in &days {
        owner.count_at(day.start(), &[billing(&day.to_string(), "acme", day.start())]).await;
        let part = Part { day: *day, number: 0, token: day.to_string() };
        let moved = subject.archive(&leadership, &part, &Totals::default()).await.unwrap();
        let Archived::Moved { found } = moved else { panic!("{moved:?}") };
        parts.push((part, found));
    }
    // As an analysis of these tables does.
    let mut analysing = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE usage_hourly IN SHARE UPDATE EXCLUSIVE MODE").execute(&mut analysing).await.unwrap();
    let archiving: Vec<_> = parts
        .into_iter()
        .map(|(part, found)| {
            let (store, leadership) = (Arc::clone(&small), leadership.clone());
            tokio::spawn(async move { store.archive(&leadership, &part, &found).await })
        })
        .collect();
    somebody_waits(&server).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let waiting = scalar(&server.url(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").await;
        assert!(waiting <= 1, "{waiting} connections wait, of four");
        small.all_progress().await.unwrap();
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut analysing).await.unwrap();
    for archived in archiving {
        assert_eq!(archived.await.unwrap().unwrap(), Archived::Done);
    }
    assert_conserved(&small, 5).await;
}

#[tokio::test]
async fn a_batch_under_way_into_a_day_is_waited_for_by_its_archiving() {
    let server = PostgresServer::start().await;
    let (subject, leadership, _, part, found) = one_day(&server).await;
    let mut writing = PgConnection::connect(&server.url()).await.unwrap();
    let add = "BEGIN; UPDATE usage_hourly SET events = events + 1";
    sqlx::raw_sql(add).execute(&mut writing).await.unwrap();
    let (store, given) = (Arc::clone(&subject.store), part.clone());
    let archiving = tokio::spawn(async move { store.archive(&leadership, &given, &found).await });
    somebody_waits(&server).await;
    sqlx::raw_sql("COMMIT").execute(&mut writing).await.unwrap();
    let moved = archiving.await.unwrap().unwrap();
    assert!(matches!(&moved, Archived::Moved { found } if found.hourly[0] == 2), "{moved:?}");
}

#[tokio::test]
async fn the_tables_of_a_day_that_moved_are_dropped_and_made_again_by_whoever_needs_them() {
    let server = PostgresServer::start().await;
    let (subject, leadership, mut owner, part, found) = one_day(&server).await;
    let there = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'usage_hourly'::regclass";
    let (days, tomorrow) = (scalar(&server.url(), there).await, Day::from_index(part.day.index() + 1));
    // More than go under one lock, and the day that is full among them.
    subject.prepare_partitions(Day::from_index(part.day.index() - 20), part.day).await.unwrap();
    assert!(subject.drop_empty_days(tomorrow).await.unwrap() >= 20);
    assert_conserved(&subject.store, 1).await;
    assert_eq!(subject.archive(&leadership, &part, &found).await.unwrap(), Archived::Done);
    // Whoever reads keeps them for now.
    let mut reading = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM usage_hourly").execute(&mut reading).await.unwrap();
    assert_eq!(subject.drop_empty_days(tomorrow).await.unwrap(), 0);
    sqlx::raw_sql("ROLLBACK").execute(&mut reading).await.unwrap();
    assert_eq!(subject.drop_empty_days(tomorrow).await.unwrap(), 1);
    assert_eq!(subject.drop_empty_days(tomorrow).await.unwrap(), 0);
    assert!(scalar(&server.url(), there).await < days);
    // This process believes that they are there, and one that starts now does not know.
    owner.count(&[billing("second", "acme", noon())]).await;
    assert_eq!(scalar(&server.url(), "SELECT sum(events)::bigint FROM usage_hourly").await, 1);
    assert_conserved(&subject.store, 2).await;
    let again = open(&server.service_url(), Options::default()).await.unwrap();
    assert_eq!(again.drop_empty_days(tomorrow).await.unwrap(), 0);
    assert_conserved(&again, 2).await;
}

#[tokio::test]
async fn a_day_that_changes_while_it_is_rolled_up_waits_from_then_on() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("first", "acme", noon())]).await;
    let leadership = subject.lead("rollup", "only", Duration::from_secs(60)).await.unwrap().unwrap();
    let before = subject.now().await.unwrap();
    // The roll-up knows which days it takes, and waits for their rows, while a batch marks the day again.
    let mut holding = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE usage_daily IN SHARE MODE").execute(&mut holding).await.unwrap();
    let store = Arc::clone(&subject.store);
    let rolling = tokio::spawn(async move { store.roll_up(&leadership, 10).await });
    somebody_waits(&server).await;
    owner.count(&[billing("second", "acme", noon())]).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut holding).await.unwrap();
    assert_eq!(rolling.await.unwrap().unwrap().account_days, 1);
    let dirty = subject.dirty().await.unwrap();
    assert_eq!(dirty.account_days, 1);
    assert!(dirty.oldest_since.unwrap() >= before, "a day that is rolled up again and again is not late");
}

#[tokio::test]
async fn a_server_that_is_down_fails_calls_and_not_the_opening() {
    let mut server = PostgresServer::start().await;
    let url = server.service_url();
    Subject::new(url.clone()).await;
    server.kill();
    let store = open(&url, Options::default()).await.unwrap();
    let stream = StreamName::new("BILLING").unwrap();
    let refused = tokio::time::timeout(HANG, store.progress(&stream)).await.expect("bounded");
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    server.restart().await;
    assert_eq!(store.progress(&stream).await.unwrap(), None);
}

#[tokio::test]
async fn what_no_retry_can_mend_is_said_to_be_misconfigured() {
    let server = PostgresServer::start().await;
    let elsewhere = format!("postgres://postgres:hunter2@127.0.0.1:{}/nowhere", server.port());
    let store = open(&elsewhere, Options::default()).await.unwrap();
    for outcome in [store.migrate().await, store.all_progress().await.map(drop)] {
        let Err(StoreError::Misconfigured(text)) = outcome else { panic!("{outcome:?}") };
        assert!(text.contains("nowhere") && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_killed_server_of_the_tests_starts_again_with_what_it_had() {
    let mut server = PostgresServer::start().await;
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql("CREATE TABLE kept (n BIGINT); INSERT INTO kept VALUES (7)").execute(&mut connection).await.unwrap();
    server.kill();
    assert!(PgConnection::connect(&server.url()).await.is_err());
    server.restart().await;
    assert_eq!(scalar(&server.url(), "SELECT n FROM kept").await, 7);
}
