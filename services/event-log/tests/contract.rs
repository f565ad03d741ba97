//! Every behaviour of the contract, on every backend.
#![allow(clippy::unwrap_used)]

mod nats;

use async_trait::async_trait;
use loadline_domain::{Sequence, StreamName};
use loadline_event_log::{
    EventLog, Retention, StreamSpec, contract,
    contract::Backstage,
    embedded::{Embedded, MAX_RECORD_BYTES},
    open,
};
use nats::Server;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

fn spec() -> StreamSpec {
    let retention = Retention { max_age: Some(Duration::from_secs(86_400)), max_bytes: None };
    StreamSpec { name: StreamName::new("BILLING").unwrap(), subject: "billing".into(), retention }
}

struct OnSqlite {
    log: Mutex<Arc<Embedded>>,
    path: PathBuf,
    _folder: TempDir,
}

impl OnSqlite {
    async fn start() -> (Arc<dyn EventLog>, Self) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/on/the/way/log.db");
        let log = Arc::new(Embedded::open(&path).await.unwrap());
        (log.clone(), Self { log: Mutex::new(log), path, _folder: folder })
    }

    fn log(&self) -> Arc<Embedded> {
        self.log.lock().unwrap().clone()
    }
}

#[async_trait]
impl Backstage for OnSqlite {
    async fn delete_record(&self, stream: &StreamName, sequence: Sequence) {
        self.log().delete_record(stream, sequence).await.unwrap();
    }

    async fn delete_stream(&self, stream: &StreamName) {
        self.log().delete_stream(stream).await.unwrap();
    }

    async fn reopen(&self) -> Arc<dyn EventLog> {
        let again = Arc::new(Embedded::open(&self.path).await.unwrap());
        *self.log.lock().unwrap() = again.clone();
        again
    }

    fn max_record_bytes(&self) -> usize {
        MAX_RECORD_BYTES
    }
}

struct OnNats {
    server: Mutex<Server>,
    url: String,
}

impl OnNats {
    async fn start(release: &str) -> (Arc<dyn EventLog>, Self) {
        let server = Server::start(release);
        let url = server.url();
        (open(&url).await.unwrap(), Self { server: Mutex::new(server), url })
    }

    async fn context(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(async_nats::connect(&self.url).await.unwrap())
    }
}

#[async_trait]
impl Backstage for OnNats {
    async fn delete_record(&self, stream: &StreamName, sequence: Sequence) {
        let stream = self.context().await.get_stream(stream.as_str()).await.unwrap();
        assert!(stream.delete_message(sequence).await.unwrap());
    }

    async fn delete_stream(&self, stream: &StreamName) {
        self.context().await.delete_stream(stream.as_str()).await.unwrap();
    }

    async fn reopen(&self) -> Arc<dyn EventLog> {
        self.server.lock().unwrap().kill_and_restart();
        open(&self.url).await.unwrap()
    }

    fn max_record_bytes(&self) -> usize {
        1024 * 1024
    }
}

/// One test a behaviour and backend, and the list of them.
macro_rules! behaviours {
    ($($plain:ident)* ; $($with_backstage:ident)*) => {
        behaviours!(@backend embedded, super::OnSqlite::start(); $($plain)*; $($with_backstage)*);
        behaviours!(@backend nats_2_9, super::OnNats::start(super::nats::V2_9); $($plain)*; $($with_backstage)*);
        behaviours!(@backend nats_2_15, super::OnNats::start(super::nats::V2_15); $($plain)*; $($with_backstage)*);
        const BEHAVIOURS: &[&str] = &[$(stringify!($plain),)* $(stringify!($with_backstage),)*];
    };
    (@backend $backend:ident, $start:expr; $($plain:ident)*; $($with_backstage:ident)*) => {
        mod $backend {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $plain() {
                let (log, _backstage) = $start.await;
                super::contract::$plain(&*log, super::spec()).await;
            })*
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $with_backstage() {
                let (log, backstage) = $start.await;
                super::contract::$with_backstage(&*log, super::spec(), &backstage).await;
            })*
        }
    };
}

behaviours! {
    what_was_appended_is_read_back
    sequences_are_contiguous_from_one
    appending_nothing_is_fine
    concurrent_appends_are_all_kept
    an_unknown_stream_is_not_found
    ten_megabytes_never_hang
    past_the_end_a_read_waits_and_is_empty
    a_read_without_waiting_finds_what_is_there
    a_waiting_read_wakes_for_an_append
    limits_hold_and_one_record_is_always_read
    two_readers_do_not_disturb_each_other
    a_position_can_be_read_again
    a_cancelled_read_loses_nothing
    retention_by_bytes_is_told_to_the_message
    retention_by_age_is_told_to_the_message
    an_expired_stream_goes_on_where_it_was
    a_reader_overtaken_by_retention_is_told
    changed_retention_holds_at_once
    ensuring_again_changes_nothing
    an_empty_stream_has_bounds
    bounds_follow_appends
    peek_finds_the_next_record_there_is
    seek_finds_the_first_record_since
    a_log_in_use_can_be_probed
    ;
    a_record_too_large_is_refused_whole
    deleted_records_are_lost_not_skipped
    a_stream_made_again_is_another_incarnation
    a_deleted_stream_is_not_found_by_its_reader
    a_restart_keeps_everything
}

#[test]
fn every_behaviour_of_the_contract_is_run() {
    let sources = [
        include_str!("../src/contract/append.rs"),
        include_str!("../src/contract/position.rs"),
        include_str!("../src/contract/read.rs"),
        include_str!("../src/contract/retention.rs"),
        include_str!("../src/contract/surgery.rs"),
    ];
    let written = sources.iter().flat_map(|source| source.split("pub async fn ").skip(1));
    let mut written: Vec<&str> = written.filter_map(|rest| rest.split('(').next()).collect();
    let mut run = BEHAVIOURS.to_vec();
    written.sort_unstable();
    run.sort_unstable();
    assert_eq!(written, run);
}
