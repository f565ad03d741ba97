//! The store behind injected faults: the same port, of which calls may fail, wait, lose their reply, or answer what is not there.
//!
//! A corrupted reading is one event or row too many or too few: enough to be noticed, and nothing is written.

use crate::{
    Accepted, AccountTotals, AliasChange, AliasEntry, AliasJournal, AnsweringTable, Archivable, Archive, Archived, ArchivedPart,
    AsOf, Audit, AuditEntry, Believed, Claim, ClaimTerms, Claimed, Conservation, DeadLetterFilter, DeadLetterState, DeadLetters,
    DedupPurge, DedupTable, Dirty, Enqueued, Expiring, Export, Held, JobRun, Jobs, Leaders, Leadership, Leases, Losses,
    NewPrediction, NewRun, Note, Outcome, PredictionBacklog, PredictionEnd, PredictionFilter, PredictionJob, PredictionJobs,
    ProgressLedger, Purgeable, Redriven, Repair, Repaired, Retention, RolledUp, Rollups, RunFilter, RunProgress, Statistics,
    Store, StoreError, StoredDeadLetter, StoredLoss, Ticket, Trail, UsageTable, WrongDay,
};
use loadline_domain::{
    AccountId, AccountScope, Batch, Day, DeadLetterReason, Hour, Incarnation, Sequence, StreamName, Timestamp,
    archive::{Part, Totals},
    fold::Rules,
    identity::{Fingerprint, Identity, Partition},
    progress::{Lease, Progress},
    question::{Grain, LatencyRow, RankBy, TopAccounts, UsageFilter, UsageQuery, UsageRow},
    usage::Usage,
};
use loadline_fault::{Fails, Faults, Faulty, faulty};
use std::{collections::HashMap, sync::Arc, time::Duration};
use uuid::Uuid;

/// A store behind faults, or as it is where none can be injected.
pub fn behind(store: Arc<dyn Store>, faults: Option<&Faults>) -> Arc<dyn Store> {
    match faults {
        Some(faults) => Arc::new(Faulty::new(store, faults.clone())),
        None => store,
    }
}

faulty! { Leases, StoreError;
    acquire(stream: &StreamName, holder: &str, ttl: Duration) -> Option<Lease>, about stream.as_str();
    renew(lease: &Lease, ttl: Duration) -> Option<Lease>, about lease.stream.as_str();
    release(lease: &Lease) -> (), about lease.stream.as_str();
    leases() -> Vec<Lease>;
}

faulty! { ProgressLedger, StoreError;
    open_stream(lease: &Lease, incarnation: &Incarnation, seen: &[(Incarnation, Sequence)]) -> Progress,
        about lease.stream.as_str();
    commit(lease: &Lease, batch: &Batch) -> Progress, about lease.stream.as_str();
    note_head(lease: &Lease, incarnation: &Incarnation, head: Sequence) -> (), about lease.stream.as_str();
    stop(lease: &Lease, incarnation: &Incarnation, why: &str) -> (), about lease.stream.as_str();
    resume(stream: &StreamName, through: Sequence) -> bool, about stream.as_str();
    progress(stream: &StreamName) -> Option<Progress>, about stream.as_str();
    all_progress() -> Vec<Progress>;
    past_progress() -> Vec<Progress>;
    conservation() -> Conservation, corrupted |sums| Conservation { usage_events: sums.usage_events + 1, ..sums };
}

faulty! { DeadLetters, StoreError;
    dead_letters(filter: &DeadLetterFilter, state: DeadLetterState, after: i64, limit: u32) -> Vec<StoredDeadLetter>;
    dead_letter(id: i64) -> Option<StoredDeadLetter>;
    open_dead_letters(filter: &DeadLetterFilter) -> HashMap<DeadLetterReason, u64>;
    redrive(filter: &DeadLetterFilter, rules: &Rules, now: Timestamp, limit: u32, dry_run: bool) -> Redriven;
    discard(filter: &DeadLetterFilter, note: &str, dry_run: bool) -> u64;
}

faulty! { Losses, StoreError;
    losses(stream: Option<&StreamName>, after: i64, limit: u32) -> Vec<StoredLoss>, about name(stream);
}

faulty! { UsageTable, StoreError;
    usage(scope: &AccountScope, query: &UsageQuery) -> (Vec<UsageRow>, AsOf),
        about query.account.as_str(), corrupted |(rows, as_of)| (one_row_more(rows), as_of);
    delivery(scope: &AccountScope, query: &UsageQuery) -> (Vec<UsageRow>, Vec<LatencyRow>, AsOf), about query.account.as_str();
    top_accounts(scope: &AccountScope, from: Hour, to: Hour, filter: &UsageFilter, rank_by: RankBy, limit: u32)
        -> (TopAccounts, AsOf);
    account_totals(scope: &AccountScope, from: Hour, to: Hour, filter: &UsageFilter, grain: Grain) -> (AccountTotals, AsOf);
    overdelivered(from: Hour) -> u64, corrupted |accounts| accounts + 1;
}

faulty! { DedupTable, StoreError;
    known(identities: &[Identity]) -> HashMap<Identity, Fingerprint>;
    partitions() -> Vec<(String, u64)>;
}

faulty! { Leaders, StoreError;
    lead(role: &str, holder: &str, ttl: Duration) -> Option<Leadership>;
    keep_leading(leadership: &Leadership, ttl: Duration) -> Option<Leadership>;
    step_down(leadership: &Leadership) -> ();
    leaders() -> Vec<Leadership>;
}

faulty! { Rollups, StoreError;
    dirty() -> Dirty;
    roll_up(leadership: &Leadership, limit: u32) -> RolledUp;
    wrong_days(account: Option<&AccountId>, day: Day, most: u32) -> Vec<WrongDay>;
    mark(leadership: &Leadership, wrong: &WrongDay, reason: &str, actor: &str) -> (), about wrong.account.as_str();
}

faulty! { Archive, StoreError;
    identity() -> String;
    archivable(before: Day) -> Vec<Archivable>;
    export_day(day: Day) -> Export;
    archive(leadership: &Leadership, part: &Part, totals: &Totals) -> Archived;
    drop_empty_days(before: Day) -> u64;
    parts(from: Day, to: Day) -> Vec<ArchivedPart>;
    boundary() -> Option<Day>;
}

faulty! { DedupPurge, StoreError;
    prepare_partitions(from: Day, to: Day) -> u64;
    purgeable(rules: &Rules, counted_through: Timestamp) -> Vec<Purgeable>;
    purge(leadership: &Leadership, partition: Partition) -> bool;
}

faulty! { Retention, StoreError;
    expire(leadership: &Leadership, what: Expiring, before: Timestamp, limit: u32) -> u64;
}

faulty! { Jobs, StoreError;
    enqueue(run: &NewRun) -> Enqueued, about &run.job;
    claim(leadership: &Leadership) -> Option<JobRun>;
    report(leadership: &Leadership, id: Uuid, progress: &RunProgress) -> bool;
    finish(leadership: &Leadership, id: Uuid, outcome: &Outcome) -> JobRun;
    interrupt_orphans(leadership: &Leadership) -> Vec<JobRun>;
    hand_back(leadership: &Leadership) -> u64;
    request_cancel(id: Uuid) -> Option<JobRun>;
    job_run(id: Uuid) -> Option<JobRun>;
    job_runs(filter: &RunFilter, before: Option<Uuid>, limit: u32) -> Vec<JobRun>;
    last_finished() -> HashMap<String, JobRun>;
    last_scheduled(until: Timestamp) -> HashMap<String, Timestamp>;
}

faulty! { Audit, StoreError;
    held(account: Option<&AccountId>, from: Hour, to: Hour, most: u32) -> Option<Held>,
        about account.map_or("", AccountId::as_str), corrupted |held| held.map(one_row_less);
    repair(leadership: &Leadership, repair: &Repair) -> Repaired;
    audit(after: i64, limit: u32) -> Vec<AuditEntry>;
}

faulty! { Trail, StoreError;
    write_down(note: &Note) -> AuditEntry;
}

faulty! { AliasJournal, StoreError;
    append_alias(change: &AliasChange, expected_last: Option<u64>) -> AliasEntry, about &change.model;
    last_alias(model: &str, alias: &str) -> Option<AliasEntry>, about model;
    alias_history(model: &str, alias: &str, after: u64, limit: u32) -> Vec<AliasEntry>, about model;
}

faulty! { PredictionJobs, StoreError;
    accept_prediction(new: &NewPrediction) -> Accepted, about &new.model;
    prediction_outbox(limit: u32) -> Vec<Ticket>;
    predictions_dispatched(tickets: &[Ticket]) -> ();
    claim_prediction(id: &str, terms: &ClaimTerms) -> Claimed;
    claim_next_prediction(terms: &ClaimTerms) -> Option<Claim>;
    keep_prediction(claim: &Claim, lease: Duration) -> (), about &claim.job.model;
    hand_back_prediction(claim: &Claim, after: Duration) -> (), about &claim.job.model;
    end_prediction(claim: &Claim, end: &PredictionEnd) -> PredictionJob, about &claim.job.model;
    cancel_prediction(id: &str) -> Option<PredictionJob>;
    expire_predictions(limit: u32) -> u64;
    redispatch_predictions(idle: Duration, limit: u32) -> u64;
    prediction_job(id: &str) -> Option<PredictionJob>;
    prediction_result(id: &str) -> Option<Vec<u8>>;
    prediction_jobs(filter: &PredictionFilter, before: Option<u64>, limit: u32) -> Vec<PredictionJob>;
    prediction_backlog() -> PredictionBacklog;
    forget_predictions(before: Timestamp, limit: u32) -> u64;
}

faulty! { Statistics, StoreError;
    believed() -> Vec<Believed>;
    refresh_statistics(table: AnsweringTable) -> ();
}

faulty! { Store, StoreError;
    migrate() -> ();
    probe() -> ();
    now() -> Timestamp;
    .. {
        async fn reconnect(&self) {
            self.faults().cure("reconnect");
            self.inner().reconnect().await;
        }

        fn caveats(&self) -> Vec<String> {
            self.inner().caveats()
        }
    }
}

impl Fails for StoreError {
    fn unavailable(why: String) -> Self {
        Self::Unavailable(why)
    }

    fn broken(why: String) -> Self {
        Self::Broken(why)
    }

    fn unknown(why: String) -> Self {
        Self::Unknown(why)
    }
}

fn name(stream: Option<&StreamName>) -> &str {
    stream.map_or("", StreamName::as_str)
}

/// A row that is not the account's.
fn one_row_more(mut rows: Vec<UsageRow>) -> Vec<UsageRow> {
    let usage = Usage { events: 1, messages: 1, ..Usage::default() };
    rows.push(UsageRow { hour: None, channel: None, country: None, currency: None, usage });
    rows
}

/// A row is missing.
fn one_row_less(mut held: Held) -> Held {
    held.rows.pop();
    held
}
