//! Every behaviour of the queue on every backend. A backend that cannot be started fails; it is never skipped.
#![allow(clippy::unwrap_used)] // also in what the tests share

#[path = "../../../tests/src/listed.rs"]
mod listed;
#[path = "../../event-log/tests/nats/mod.rs"]
mod nats;
#[path = "../../store/tests/postgres_server.rs"]
mod postgres_server;

use loadline_serving::jobs::queue::{QueueError, contract::Subject, open};
use loadline_store::{Options, Store};
use postgres_server::PostgresServer;
use std::sync::Arc;
use tempfile::TempDir;

async fn store(url: &str) -> Arc<dyn Store> {
    let store = loadline_store::open(url, Options::default()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn sqlite(folder: &TempDir) -> Arc<dyn Store> {
    store(&format!("sqlite:{}", folder.path().join("store.db").display())).await
}

async fn over_nats(release: &str) -> (nats::Server, TempDir, Subject) {
    let (server, folder) = (nats::Server::start(release), tempfile::tempdir().unwrap());
    let subject = Subject::new(&server.url(), sqlite(&folder).await);
    (server, folder, subject)
}

macro_rules! behaviours {
    ($($module:ident { $($name:ident)* })*) => {
        const LISTED: &[&str] = &[$($(concat!(stringify!($module), "::", stringify!($name))),*),*];

        $(
            mod in_sqlite {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let folder = tempfile::tempdir().unwrap();
                    let subject = crate::Subject::new("store:", crate::sqlite(&folder).await);
                    loadline_serving::jobs::queue::$module::$name(&subject).await;
                })*
            }

            mod in_postgres {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let server = crate::PostgresServer::start().await;
                    let subject = crate::Subject::new("store:", crate::store(&server.service_url()).await);
                    loadline_serving::jobs::queue::$module::$name(&subject).await;
                })*
            }

            mod nats_2_9 {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let (_server, _folder, subject) = crate::over_nats(crate::nats::V2_9).await;
                    loadline_serving::jobs::queue::$module::$name(&subject).await;
                })*
            }

            mod nats_2_15 {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let (_server, _folder, subject) = crate::over_nats(crate::nats::V2_15).await;
                    loadline_serving::jobs::queue::$module::$name(&subject).await;
                })*
            }
        )*
    };
}

behaviours! {
    contract {
        a_dispatched_job_comes_claimed_with_its_question
        an_empty_queue_answers_with_nothing
        who_waits_is_woken_by_a_dispatch
        jobs_come_in_the_order_of_their_acceptance
        of_many_who_pull_at_once_each_job_goes_to_one
        a_job_that_is_done_never_comes_again
        a_job_whose_worker_is_lost_comes_again
        a_job_that_is_kept_stays_with_its_worker
        a_job_that_is_handed_back_comes_again
        the_same_ticket_again_is_no_second_piece_of_work
        a_job_that_has_ended_is_not_delivered
        a_job_that_is_dispatched_again_comes_again
        a_queue_that_connects_anew_goes_on
    }
}

#[test]
fn a_url_that_names_no_queue_is_refused_with_examples_and_without_its_text() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(sqlite(&folder));
    for url in ["redis://user:secret@host", "nats:", "nats://", "store:secret", "secret", ""] {
        let refused = open(url, store.clone(), std::time::Duration::from_secs(1)).err();
        let Some(QueueError::Misconfigured(text)) = refused else { panic!("{url} is accepted") };
        assert!(text.contains("store:") && text.contains("nats://host:4222") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn every_behaviour_of_the_contract_is_listed_here() {
    listed::assert_file_listed(concat!(env!("CARGO_MANIFEST_DIR"), "/src/jobs/queue/contract.rs"), LISTED);
}
