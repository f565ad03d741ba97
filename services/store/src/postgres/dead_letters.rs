//! Records that could not be counted: kept, listed, judged again, given up.

use super::{
    commit::add_usage,
    connect::PostgresStore,
    dedup,
    fault::Fault,
    hot_days::{self, KnownDays},
    leases::clock,
    progress::text,
    transact::{End, Reach},
};
use crate::{
    DeadLetterFilter, DeadLetterState, DeadLetters, Redriven, StoreError, StoredDeadLetter,
    redrive::{Retrial, Verdicts},
    rows::{StoredLetter, loaded, reason, stored},
};
use async_trait::async_trait;
use loadline_domain::{AccountId, DeadLetter, DeadLetterReason, Incarnation, Rules, StreamName, Timestamp};
use sqlx::{Arguments as _, PgConnection, postgres::PgArguments};
use std::{collections::HashMap, sync::Arc};

/// Letters judged in one transaction.
const CHUNK: u32 = 1_000;

/// Holds for the letters of a filter, whose [`arguments`] are the first six.
macro_rules! matching {
    () => {
        " ($1::text IS NULL OR stream = $1) AND ($2::text IS NULL OR reason = $2) AND ($3::text IS NULL OR account = $3)
          AND ($4::bigint IS NULL OR recorded_at >= $4) AND ($5::bigint IS NULL OR recorded_at < $5)
          AND (cardinality($6::bigint[]) = 0 OR id = ANY($6)) "
    };
}

/// What [`StoredLetter`] reads.
macro_rules! columns {
    () => {
        "id, stream, incarnation, sequence, reason, field, detail, account, event_time, recorded_at, payload, state, resolved_at"
    };
}

#[async_trait]
impl DeadLetters for PostgresStore {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        state: DeadLetterState,
        after: i64,
        limit: u32,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let page = concat!(
            "SELECT ",
            columns!(),
            " FROM dead_letter WHERE state = $7 AND id > $8 AND",
            matching!(),
            "ORDER BY id LIMIT $9"
        );
        let page = sqlx::query_as_with(page, arguments(filter)?).bind(state.as_str()).bind(after).bind(i64::from(limit));
        let rows: Vec<StoredLetter> =
            self.read(Reach::Rows, |connection| Box::pin(async { Ok(page.fetch_all(connection).await?) })).await?;
        rows.into_iter().map(StoredDeadLetter::try_from).collect()
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<StoredDeadLetter>, StoreError> {
        let letter = sqlx::query_as(concat!("SELECT ", columns!(), " FROM dead_letter WHERE id = $1")).bind(id);
        let row: Option<StoredLetter> =
            self.read(Reach::Rows, |connection| Box::pin(async { Ok(letter.fetch_optional(connection).await?) })).await?;
        row.map(StoredDeadLetter::try_from).transpose()
    }

    async fn open_dead_letters(&self, filter: &DeadLetterFilter) -> Result<HashMap<DeadLetterReason, u64>, StoreError> {
        let counts = concat!("SELECT reason, count(*) FROM dead_letter WHERE state = 'open' AND", matching!(), "GROUP BY reason");
        let counts = sqlx::query_as_with(counts, arguments(filter)?);
        let counts: Vec<(String, i64)> =
            self.read(Reach::Rows, |connection| Box::pin(async { Ok(counts.fetch_all(connection).await?) })).await?;
        counts.into_iter().map(|(text, count)| Ok((reason(&text)?, loaded(count)?))).collect()
    }

    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        rules: &Rules,
        now: Timestamp,
        limit: u32,
        dry_run: bool,
    ) -> Result<Redriven, StoreError> {
        // A rehearsal makes no tables that last.
        let days = if dry_run { Arc::default() } else { Arc::clone(&self.days) };
        let redrive = Arc::new(Redrive { filter: filter.clone(), rules: *rules, now, days });
        if dry_run {
            // One transaction over all chunks: a later letter may be a duplicate of an earlier one.
            let rehearsal = self.write(End::RollBack, move |connection| {
                let redrive = Arc::clone(&redrive);
                Box::pin(async move { redrive.rehearse(connection, limit).await })
            });
            return rehearsal.await;
        }
        let (mut redriven, mut after) = (Redriven::default(), 0);
        while redriven.matched < u64::from(limit) {
            let size = chunk_size(limit, &redriven);
            let given = (Arc::clone(&redrive), Arc::clone(&self.partitions));
            let chunk = self.write(End::Commit, move |connection| {
                let (redrive, partitions) = given.clone();
                Box::pin(async move {
                    let done = redrive.chunk(connection, after, size).await;
                    done.map_err(|fault| dedup::or_purged(fault, &partitions))
                })
            });
            let (done, last) = chunk.await?;
            redriven.absorb(done);
            let Some(last) = last else { break };
            after = last;
        }
        Ok(redriven)
    }

    async fn discard(&self, filter: &DeadLetterFilter, note: &str, dry_run: bool) -> Result<u64, StoreError> {
        if dry_run {
            let counts = self.open_dead_letters(filter).await?;
            return Ok(counts.into_values().sum());
        }
        let discard = concat!(
            "UPDATE dead_letter SET state = 'discarded', note = $7, resolved_at = ",
            clock!(),
            " WHERE state = 'open' AND",
            matching!()
        );
        let given = Arc::new((filter.clone(), text(note)));
        let discarding = self.write(End::Commit, move |connection| {
            let given = Arc::clone(&given);
            Box::pin(async move {
                let discard = sqlx::query_with(discard, arguments(&given.0)?).bind(&given.1);
                Ok(discard.execute(connection).await?.rows_affected())
            })
        });
        discarding.await
    }
}

fn chunk_size(limit: u32, redriven: &Redriven) -> u32 {
    let left = u64::from(limit).saturating_sub(redriven.matched);
    u32::try_from(left).unwrap_or(u32::MAX).min(CHUNK)
}

/// Open letters of a filter, judged as of a time.
struct Redrive {
    filter: DeadLetterFilter,
    rules: Rules,
    now: Timestamp,
    days: Arc<KnownDays>,
}

impl Redrive {
    async fn rehearse(&self, connection: &mut PgConnection, limit: u32) -> Result<Redriven, Fault> {
        let (mut redriven, mut after) = (Redriven::default(), 0);
        while redriven.matched < u64::from(limit) {
            let size = chunk_size(limit, &redriven);
            let (done, last) = self.chunk(&mut *connection, after, size).await?;
            redriven.absorb(done);
            let Some(last) = last else { break };
            after = last;
        }
        Ok(redriven)
    }

    /// Judges the next letters after an id; returns what was done and the last id looked at, if there was any.
    async fn chunk(&self, connection: &mut PgConnection, after: i64, size: u32) -> Result<(Redriven, Option<i64>), Fault> {
        let ids = self.lock_streams(&mut *connection, after, size).await?;
        let letters = lock_open(&mut *connection, &ids).await?;
        let retrial = Retrial::new(letters, &self.rules, self.now);
        // Within the transaction, so that a rehearsal leaves no table behind.
        dedup::make_tables(&mut *connection, &dedup::partitions(retrial.candidates())).await?;
        let known = dedup::take(&mut *connection, retrial.candidates()).await?;
        let verdicts = retrial.verdicts(&known);
        pronounce(connection, &verdicts, &self.days).await.map_err(|fault| hot_days::or_dropped(fault, &self.days))?;
        Ok((verdicts.redriven, ids.last().copied()))
    }

    /// Ids of the next letters. Their streams' progress is locked before the letters are, as a commit does, in order of name.
    async fn lock_streams(&self, connection: &mut PgConnection, after: i64, size: u32) -> Result<Vec<i64>, Fault> {
        let page =
            concat!("SELECT id FROM dead_letter WHERE state = 'open' AND id > $7 AND", matching!(), "ORDER BY id LIMIT $8");
        let page = sqlx::query_scalar_with(page, arguments(&self.filter)?).bind(after).bind(i64::from(size));
        let ids: Vec<i64> = page.fetch_all(&mut *connection).await?;
        sqlx::query(
            "SELECT FROM stream_progress
             WHERE (stream, incarnation) IN (SELECT stream, incarnation FROM dead_letter WHERE id = ANY($1))
             ORDER BY stream, incarnation FOR UPDATE",
        )
        .bind(&ids)
        .execute(connection)
        .await?;
        Ok(ids)
    }
}

/// Those of the letters that are still open, now that nobody else can judge them.
async fn lock_open(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<StoredDeadLetter>, Fault> {
    let open =
        concat!("SELECT ", columns!(), " FROM dead_letter WHERE id = ANY($1) AND state = 'open' ORDER BY id FOR NO KEY UPDATE");
    let rows: Vec<StoredLetter> = sqlx::query_as(open).bind(ids).fetch_all(connection).await?;
    Ok(rows.into_iter().map(StoredDeadLetter::try_from).collect::<Result<_, _>>()?)
}

/// Writes what became of letters: the streams' counters, usage, and the letters.
async fn pronounce(connection: &mut PgConnection, verdicts: &Verdicts, days: &KnownDays) -> Result<(), Fault> {
    for ((stream, incarnation), (counted, duplicates)) in &verdicts.moved {
        sqlx::query(
            "UPDATE stream_progress
             SET counted = counted + $3, duplicates = duplicates + $4, dead_lettered = dead_lettered - $3 - $4
             WHERE stream = $1 AND incarnation = $2",
        )
        .bind(stream.as_str())
        .bind(incarnation.as_str())
        .bind(stored(*counted)?)
        .bind(stored(*duplicates)?)
        .execute(&mut *connection)
        .await?;
    }
    let now = sqlx::query_scalar(concat!("SELECT ", clock!())).fetch_one(&mut *connection).await?;
    add_usage(&mut *connection, &verdicts.settled, now, days).await?;
    sqlx::query(
        "UPDATE dead_letter SET state = verdict.state, resolved_at = $3
         FROM unnest($1::bigint[], $2::text[]) AS verdict (id, state) WHERE dead_letter.id = verdict.id",
    )
    .bind(verdicts.resolved.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(verdicts.resolved.iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>())
    .bind(now)
    .execute(&mut *connection)
    .await?;
    let refused = &verdicts.refused;
    sqlx::query(
        "UPDATE dead_letter SET reason = verdict.reason, field = verdict.field, detail = verdict.detail,
         account = verdict.account, event_time = verdict.event_time
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
              AS verdict (id, reason, field, detail, account, event_time)
         WHERE dead_letter.id = verdict.id",
    )
    .bind(refused.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(refused.iter().map(|(_, refusal)| refusal.reason.as_str()).collect::<Vec<_>>())
    .bind(refused.iter().map(|(_, refusal)| refusal.field).collect::<Vec<_>>())
    .bind(refused.iter().map(|(_, refusal)| text(&refusal.detail)).collect::<Vec<_>>())
    .bind(refused.iter().map(|(_, refusal)| refusal.account.as_ref().map(AccountId::as_str)).collect::<Vec<_>>())
    .bind(refused.iter().map(|(_, refusal)| refusal.event_time.map(Timestamp::micros)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

fn arguments(filter: &DeadLetterFilter) -> Result<PgArguments, StoreError> {
    let mut arguments = PgArguments::default();
    let added = arguments
        .add(filter.stream.as_ref().map(StreamName::to_string))
        .and_then(|()| arguments.add(filter.reason.map(DeadLetterReason::as_str)))
        .and_then(|()| arguments.add(filter.account.as_ref().map(AccountId::to_string)))
        .and_then(|()| arguments.add(filter.from.map(Timestamp::micros)))
        .and_then(|()| arguments.add(filter.to.map(Timestamp::micros)))
        .and_then(|()| arguments.add(&filter.ids));
    added.map(|()| arguments).map_err(|error| StoreError::Broken(error.to_string()))
}

/// Writes a batch's dead letters.
pub(super) async fn insert(
    connection: &mut PgConnection,
    stream: &StreamName,
    incarnation: &Incarnation,
    letters: &[DeadLetter],
) -> Result<(), Fault> {
    if letters.is_empty() {
        return Ok(());
    }
    let sequences: Result<Vec<_>, _> = letters.iter().map(|letter| stored(letter.sequence)).collect();
    sqlx::query(
        "INSERT INTO dead_letter (stream, incarnation, sequence, reason, field, detail, account, event_time, recorded_at, payload)
         SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[],
             $10::bytea[])",
    )
    .bind(stream.as_str())
    .bind(incarnation.as_str())
    .bind(sequences?)
    .bind(letters.iter().map(|letter| letter.refusal.reason.as_str()).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.refusal.field).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| text(&letter.refusal.detail)).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.refusal.account.as_ref().map(AccountId::as_str)).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.refusal.event_time.map(Timestamp::micros)).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.recorded_at.micros()).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| &*letter.payload).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
