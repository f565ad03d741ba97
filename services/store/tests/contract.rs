//! Every behaviour of the contract on every backend. A backend that cannot be started fails; it is never skipped.

#[path = "../../../tests/src/listed.rs"]
mod listed;
mod postgres_server;

use loadline_store::contract::{Subject, schema};
use postgres_server::PostgresServer;
use tempfile::TempDir;

fn sqlite_url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("made/on/the/way/store.db").display())
}

macro_rules! behaviours {
    ($($module:ident { $($name:ident)* })*) => {
        const LISTED: &[&str] = &[$($(concat!(stringify!($module), "::", stringify!($name))),*),*];

        mod sqlite {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let folder = tempfile::tempdir().unwrap();
                    let subject = crate::Subject::new(crate::sqlite_url(&folder)).await;
                    loadline_store::contract::$module::$name(&subject).await;
                })*
            })*
        }

        /// Behind faults of which none is active: not another store.
        mod decorated {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $module() {
                $({
                    let folder = tempfile::tempdir().unwrap();
                    let subject = crate::Subject::new(crate::sqlite_url(&folder)).await;
                    let store = loadline_store::behind(subject.store.clone(), Some(&loadline_fault::Faults::default()));
                    loadline_store::contract::$module::$name(&crate::Subject { store, ..subject }).await;
                })*
            })*
        }

        mod postgres {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let server = crate::PostgresServer::start().await;
                    let subject = crate::Subject::new(server.service_url()).await;
                    loadline_store::contract::$module::$name(&subject).await;
                })*
            })*
        }
    };
}

behaviours! {
    leases {
        a_free_lease_is_taken_and_others_wait
        every_taking_raises_the_epoch_also_by_the_same_holder
        a_renewed_lease_keeps_its_epoch_and_lasts_longer
        an_expired_lease_is_taken_over_for_good
        an_expired_lease_that_nobody_took_can_be_renewed
        a_released_lease_is_free_at_once_and_its_epoch_still_rises
        leases_of_streams_are_apart
        of_many_who_ask_at_once_one_gets_the_lease
    }
    progress {
        an_unknown_stream_has_no_progress
        a_new_stream_starts_at_zero
        opening_again_goes_on_where_it_was
        opening_with_a_lease_that_was_taken_over_is_stale
        opening_with_a_released_lease_is_stale
        a_stream_made_again_loses_what_was_unapplied
        what_was_seen_of_streams_that_vanished_is_lost_whole
        a_stream_made_again_with_nothing_unapplied_loses_nothing
        an_incarnation_that_comes_back_is_not_counted_twice
        times_between_which_the_clock_of_a_log_went_back_are_kept
        the_head_never_goes_back
        the_head_is_noted_by_the_owner_alone
        a_stop_lasts_until_it_is_resumed
        a_stream_is_stopped_by_its_owner_alone
        all_progress_is_by_name
        only_what_was_counted_of_a_past_making_is_past_progress
        commit_times_are_the_stores
    }
    commit {
        a_batch_counts_once_and_again_is_stale
        a_stale_batch_changes_nothing
        a_batch_that_stops_its_stream_does_so_in_its_transaction
        an_old_owner_is_fenced_off
        an_owner_of_a_stream_made_again_is_fenced_off
        an_empty_batch_is_refused
        hours_and_days_break_at_their_boundaries
        days_whose_usage_changed_are_marked_for_the_roll_up
        losses_of_a_batch_go_to_the_ledger
        a_batch_of_losses_alone_moves_on
        a_large_batch_counts_whole
        streams_that_share_accounts_commit_side_by_side
        of_one_batch_committed_twice_at_once_one_counts
        a_cancelled_commit_is_whole_or_absent
        an_aborted_caller_leaves_the_store_usable
    }
    identity {
        the_same_id_twice_in_a_batch_counts_once
        the_same_id_in_two_batches_counts_once
        a_batch_of_nothing_but_duplicates_adds_nothing
        the_same_ids_in_concurrent_batches_of_two_streams_count_once
        the_same_id_with_other_content_is_a_conflict
        a_conflict_within_a_batch_is_seen_too
        the_same_id_on_another_day_is_a_conflict
        the_same_id_on_two_days_of_a_batch_is_a_conflict
        the_same_uuid_under_two_accounts_is_a_conflict
        the_same_text_under_two_accounts_counts_for_both
        an_event_and_a_receipt_may_share_an_id
        a_final_receipt_reported_twice_is_a_duplicate
        two_final_statuses_of_a_message_are_a_conflict
        receipts_on_the_way_count_apart_once_a_status
        known_tells_which_identities_were_counted
        many_identities_are_looked_up_at_once
    }
    dead_letters {
        age_decides_who_is_late_and_who_is_ahead
        undecodable_records_are_kept_to_the_byte
        an_empty_record_alone_in_its_batch_is_kept_too
        a_letter_reads_back_as_it_was_judged
        letters_are_found_by_what_is_asked
        letters_are_listed_by_pages
        discarded_letters_stay_listed_and_counted
    }
    redrive {
        nothing_dead_means_nothing_done
        a_future_event_counts_when_its_time_has_come
        a_redriven_letter_says_what_became_of_it
        a_late_event_counts_only_when_accepted_and_only_once
        an_accepted_late_event_is_known_when_its_partition_is_gone
        an_accepted_late_event_with_other_content_is_a_conflict
        a_conflict_stays_dead
        a_letter_that_stays_dead_keeps_its_place_and_gets_its_new_reason
        a_dry_run_tells_the_same_and_changes_nothing
        many_letters_are_redriven_whatever_the_chunks
        letters_of_several_streams_are_redriven_together
        only_what_the_filter_matches_is_redriven
        redriven_by_two_at_once_letters_count_once
        a_stream_goes_on_while_its_letters_are_redriven
    }
    usage {
        rows_are_by_hour_then_by_what_is_grouped
        filters_restrict_rows
        a_range_has_its_first_hour_and_not_its_last
        another_accounts_usage_is_out_of_scope
        money_adds_up_to_the_micro
        a_sum_past_64_bits_is_refused_and_never_rounded
        a_record_that_would_overflow_a_sum_can_be_refused_alone
        delivery_sums_the_range_with_its_latency
        delivery_is_kept_apart_by_channel_and_country
        top_accounts_are_ranked_and_ties_are_by_name
        more_final_receipts_than_messages_are_noticed
        a_message_charged_for_in_the_hour_before_or_after_its_submission_is_no_surplus
    }
    completeness {
        an_answer_carries_every_streams_progress
        open_letters_that_could_change_an_answer_are_counted
        losses_that_may_have_held_events_of_the_range_are_counted
    }
    conservation {
        everything_is_accounted_for_after_any_story
        a_tampered_usage_row_is_noticed
        a_tampered_counter_is_noticed
    }
    leadership {
        a_free_role_is_led_and_others_wait
        every_taking_of_a_role_raises_its_epoch
        an_expired_role_is_taken_over_or_kept
        a_role_given_up_is_free_at_once_and_its_epoch_still_rises
        of_many_who_would_lead_at_once_one_does
    }
    rollups {
        days_are_what_their_hours_add_up_to
        days_that_are_not_the_sums_of_their_hours_are_found_marked_and_recomputed
        an_old_leader_marks_no_day
        a_question_by_days_has_the_same_answer_before_and_after_a_roll_up
        what_changes_after_a_roll_up_is_told_by_its_hours
        rolling_up_twice_changes_nothing
        an_account_day_without_hours_is_left_without_days
        those_that_wait_longest_are_rolled_up_first
        an_old_leader_rolls_nothing_up
        an_account_day_whose_sums_do_not_fit_holds_up_no_other
        roll_ups_that_race_batches_and_each_other_leave_the_right_days
        a_question_by_days_that_cuts_a_day_is_refused
        delivery_by_days_is_delivery_by_hours
        accounts_are_ranked_and_added_up_alike_by_hours_and_by_days
    }
    settled {
        a_settled_day_is_read_once
        what_is_kept_of_days_is_never_older_than_the_store
        days_kept_by_one_process_are_unsettled_by_another
    }
    archive {
        an_export_has_every_row_of_its_day_in_order
        an_export_of_many_rows_is_whole
        an_archived_day_leaves_the_store_and_stays_in_the_sum
        hours_that_no_daily_row_and_no_mark_tells_of_are_archived_too
        answers_name_the_parts_of_the_days_they_touch
        a_late_event_between_export_and_archive_moves_nothing
        the_same_part_again_is_already_archived
        what_comes_for_an_archived_day_is_its_next_part
        days_with_hot_rows_are_archivable_oldest_first
        an_old_leader_archives_nothing
        sums_past_64_bits_are_archived_whole
        a_batch_that_races_the_archive_is_hot_or_archived_and_never_both
    }
    purge {
        tables_are_made_ahead_once
        a_table_is_purgeable_when_no_record_to_come_can_need_it
        a_purged_table_is_gone_and_counting_goes_on
        an_old_leader_purges_nothing
        a_purge_that_was_cut_short_is_listed_again_and_a_late_event_may_claim_the_table
        no_batch_fails_while_tables_that_it_uses_are_purged
    }
    retention {
        only_resolved_dead_letters_expire
        finished_runs_expire_but_for_what_schedules_and_later_runs_go_by
        losses_expire_only_when_they_are_named
        an_old_leader_deletes_nothing
    }
    jobs {
        a_run_is_queued_claimed_watched_and_finished
        the_same_key_is_the_same_run_and_other_parameters_are_refused
        of_many_who_ask_with_one_key_at_once_one_queues_a_run
        a_job_runs_once_at_a_time_and_of_many_claims_each_run_goes_to_one
        a_queued_run_is_cancelled_at_once_and_a_running_one_is_told
        an_old_leader_says_nothing_about_runs
        runs_of_lost_leaders_are_interrupted_and_their_jobs_run_again
        runs_are_listed_newest_first_by_pages
        the_last_run_and_the_last_fire_of_each_job_are_known
        a_run_that_is_handed_back_is_queued_as_if_it_had_not_begun
    }
    audit {
        a_repair_replaces_rows_marks_the_day_and_is_written_down
        a_repair_of_what_has_changed_since_does_nothing
        what_a_batch_adds_during_a_repair_is_kept
        an_old_leader_repairs_nothing
        rows_of_another_hour_or_twice_are_refused
        what_is_held_is_every_row_of_the_hours_marked_or_not
        what_is_held_comes_with_the_positions_it_rests_on
        more_rows_than_asked_for_are_none
    }
    trail {
        what_is_written_down_comes_back_and_is_a_chain
        text_that_a_backend_cannot_hold_breaks_nothing
        a_tampered_entry_is_found_at_its_place
        a_deleted_or_unhashed_entry_is_found
        repairs_are_links_of_the_chain
        many_who_write_at_once_make_one_chain
        entries_from_before_the_chain_are_chained_once
    }
    aliases {
        what_is_appended_comes_back_in_order_and_by_pages
        who_saw_another_last_entry_appends_nothing
        of_many_who_append_after_the_same_entry_one_does
        aliases_and_models_have_journals_of_their_own
        evidence_that_is_no_json_or_too_long_is_refused
        an_entry_cannot_be_changed_or_deleted_in_the_store_itself
        text_that_a_backend_cannot_hold_breaks_no_journal
    }
    prediction_jobs {
        a_job_is_durable_with_its_outbox_entry_when_it_is_accepted
        of_many_who_submit_one_question_at_once_one_makes_the_job
        what_is_dispatched_is_queued_and_leaves_the_outbox
        a_job_that_ran_before_its_dispatch_was_noted_is_not_queued_again
        a_claim_has_the_question_and_is_one_callers_while_it_lasts
        of_many_who_claim_at_once_each_job_goes_to_one
        jobs_are_claimed_in_the_order_of_their_acceptance
        who_was_paused_while_its_job_was_claimed_again_is_fenced_off
        the_same_end_again_changes_nothing_and_another_is_refused
        a_failure_keeps_its_reason_and_of_its_detail_what_fits
        a_job_whose_workers_are_lost_again_and_again_fails
        a_job_that_is_handed_back_is_put_off_and_its_attempt_does_not_count
        a_cancelled_job_has_ended_whoever_works_on_it
        a_job_past_its_deadline_expires_wherever_it_stands
        of_ends_that_race_one_comes_first_and_the_others_change_nothing
        a_second_end_is_impossible_in_the_store_itself
        what_a_queue_has_lost_goes_to_the_outbox_again
        jobs_are_listed_newest_first_by_pages_and_by_what_is_asked
        ended_jobs_are_forgotten_whole_and_open_ones_stay
    }
    statistics {
        a_refresh_counts_the_rows_there_are
        what_is_believed_changes_by_a_refresh_of_that_table_alone
    }
    schema {
        migrating_again_keeps_everything
        a_store_has_one_name_for_good
        a_newer_schema_is_refused_with_both_versions
        a_working_store_answers_the_probe
        a_reconnected_store_goes_on
        what_was_committed_is_there_when_opened_again
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_migrate_sqlite_at_once() {
    let folder = tempfile::tempdir().unwrap();
    schema::many_may_migrate_at_once(&sqlite_url(&folder)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_migrate_postgres_at_once() {
    let server = PostgresServer::start().await;
    schema::many_may_migrate_at_once(&server.service_url()).await;
}

#[test]
fn every_behaviour_of_the_contract_is_listed_here() {
    listed::assert_listed(env!("CARGO_MANIFEST_DIR"), LISTED);
}
