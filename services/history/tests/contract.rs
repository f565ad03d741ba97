//! Every behaviour of the contract on every backend. A backend that cannot be started fails; it is never skipped.

use futures::future::BoxFuture;
use loadline_history::contract::Subject;
use loadline_tests::history::{HistoryServer, Keeper};

/// A behaviour on a place of its own.
type Behaviour = (&'static str, fn(String) -> BoxFuture<'static, ()>);

macro_rules! behaviours {
    ($($module:ident { $($name:ident)* })*) => {
        const LISTED: &[&str] = &[$($(concat!(stringify!($module), "::", stringify!($name))),*),*];

        /// On disk each behaviour is a test.
        mod disk {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let folder = tempfile::tempdir().unwrap();
                    let subject = crate::Subject::new(crate::disk_url(&folder)).await;
                    loadline_history::contract::$module::$name(&subject).await;
                })*
            })*
        }

        $(mod $module {
            pub const EACH: &[crate::Behaviour] = &[$((stringify!($name), |url| {
                Box::pin(async move {
                    let subject = crate::Subject::new(url).await;
                    loadline_history::contract::$module::$name(&subject).await;
                })
            })),*];
        })*

        on_a_server!(s3_by_seaweedfs, SeaweedFs, $($module)*);
        on_a_server!(s3_by_moto, Moto, $($module)*);
        on_a_server!(clickhouse_18, ClickHouse18, $($module)*);
        on_a_server!(current_clickhouse_engine, ClickHouseEngine, $($module)*);
    };
}

/// A server takes seconds to start: the behaviours of a module share one, each on a place of its own.
macro_rules! on_a_server {
    ($backend:ident, $keeper:ident, $($module:ident)*) => {
        mod $backend {
            use crate::{HistoryServer, Keeper};

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $module() {
                let server = HistoryServer::start(Keeper::$keeper).await.unwrap();
                crate::each(crate::$module::EACH, |name| server.url(name)).await;
            })*
        }
    };
}

/// Runs behaviours and tells all that broke.
async fn each(behaviours: &[Behaviour], place: impl Fn(&str) -> String) {
    let mut broken = Vec::new();
    for (at, (name, behaviour)) in behaviours.iter().enumerate() {
        println!("{name}");
        if tokio::spawn(behaviour(place(&format!("place{at}")))).await.is_err() {
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "broken here: {broken:?}");
}

fn disk_url(folder: &tempfile::TempDir) -> String {
    format!("file:{}", folder.path().join("made on/the way").display())
}

behaviours! {
    write {
        a_part_holds_what_was_written
        a_day_without_rows_is_a_part_too
        a_repeated_write_does_not_double
        a_writer_dropped_half_way_leaves_nothing
        what_is_written_shows_only_when_it_is_finished
        a_token_is_used_once
        rows_out_of_order_or_of_another_day_are_refused
        days_that_do_not_add_up_to_their_hours_are_refused
        many_rows_are_written_whole
        many_writers_finish_at_once
    }
    questions {
        answers_are_the_sums_of_the_listed_parts
        unlisted_parts_are_never_read
        a_late_part_adds_to_its_day
        a_listed_part_that_is_not_there_is_never_zero
        a_question_by_days_may_not_cut_one
        a_range_upside_down_holds_nothing
        a_sum_past_64_bits_is_refused_and_never_rounded
        negative_and_zero_amounts_are_kept
        questions_may_be_asked_at_once
    }
    scope {
        another_accounts_usage_is_out_of_scope
        only_operators_ask_of_all_accounts
    }
    upkeep {
        merging_and_sweeping_change_no_answer
        totals_of_a_merged_part_are_still_its_own
        parts_that_are_no_longer_listed_are_not_read_after_a_merge
        a_sweep_removes_what_nobody_listed
        a_sweep_removes_what_was_written_half_way
        readers_are_not_disturbed_by_merging_and_sweeping
    }
    schema {
        preparing_again_keeps_everything
        it_belongs_to_the_store_that_claimed_it_first
        many_may_prepare_at_once
        a_working_history_answers_the_probe
        it_says_what_it_cannot_promise
    }
}

#[test]
fn every_behaviour_of_the_contract_is_listed_here() {
    loadline_tests::listed::assert_listed(env!("CARGO_MANIFEST_DIR"), LISTED);
}
