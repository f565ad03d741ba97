//! Records that could not be counted: kept, listed, judged again, given up.

use super::{
    commit::{add_usage, json},
    connect::{SqliteStore, failed, now},
    dedup,
};
use crate::{
    DeadLetterFilter, DeadLetterState, DeadLetters, Redriven, StoreError, StoredDeadLetter,
    redrive::{Retrial, Verdicts},
    rows::{StoredLetter, loaded, reason, stored},
};
use async_trait::async_trait;
use loadline_domain::{AccountId, DeadLetter, DeadLetterReason, Incarnation, Rules, StreamName, Timestamp};
use sqlx::{Arguments as _, SqliteConnection, sqlite::SqliteArguments};
use std::collections::HashMap;

/// Letters judged in one transaction.
const CHUNK: u32 = 1_000;

/// Holds for the letters of a filter, whose [`arguments`] are the first six.
macro_rules! matching {
    () => {
        " (?1 IS NULL OR stream = ?1) AND (?2 IS NULL OR reason = ?2) AND (?3 IS NULL OR account = ?3)
          AND (?4 IS NULL OR recorded_at >= ?4) AND (?5 IS NULL OR recorded_at < ?5)
          AND (?6 IS NULL OR id IN (SELECT value FROM json_each(?6))) "
    };
}

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        state: DeadLetterState,
        after: i64,
        limit: u32,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        list(&mut *self.snapshot().await?, filter, state, after, limit).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<StoredDeadLetter>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let row: Option<StoredLetter> = sqlx::query_as("SELECT * FROM dead_letter WHERE id = ?1")
            .bind(id)
            .fetch_optional(&mut *snapshot)
            .await
            .map_err(failed)?;
        row.map(StoredDeadLetter::try_from).transpose()
    }

    async fn open_dead_letters(&self, filter: &DeadLetterFilter) -> Result<HashMap<DeadLetterReason, u64>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let counts = concat!("SELECT reason, count(*) FROM dead_letter WHERE state = 'open' AND", matching!(), "GROUP BY reason");
        let counts: Vec<(String, i64)> =
            sqlx::query_as_with(counts, arguments(filter)?).fetch_all(&mut *snapshot).await.map_err(failed)?;
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
        let redrive = Redrive { filter: filter.clone(), rules: *rules, now };
        if dry_run {
            // One transaction over all chunks: a later letter may be a duplicate of an earlier one.
            return self.writer.rehearsal(move |connection| Box::pin(redrive.rehearse(connection, limit))).await;
        }
        let (mut redriven, mut after) = (Redriven::default(), 0);
        while redriven.matched < u64::from(limit) {
            let (redrive, size) = (redrive.clone(), chunk_size(limit, &redriven));
            let (done, last) =
                self.writer.transaction(move |connection| Box::pin(redrive.chunk(connection, after, size))).await?;
            redriven.absorb(done);
            let Some(last) = last else { break };
            after = last;
        }
        Ok(redriven)
    }

    async fn discard(&self, filter: &DeadLetterFilter, note: &str, dry_run: bool) -> Result<u64, StoreError> {
        let (filter, note) = (filter.clone(), note.to_owned());
        if dry_run {
            self.writer.rehearsal(move |connection| Box::pin(discard(connection, filter, note))).await
        } else {
            self.writer.transaction(move |connection| Box::pin(discard(connection, filter, note))).await
        }
    }
}

fn chunk_size(limit: u32, redriven: &Redriven) -> u32 {
    let left = u64::from(limit).saturating_sub(redriven.matched);
    u32::try_from(left).unwrap_or(u32::MAX).min(CHUNK)
}

/// Open letters of a filter, judged as of a time.
#[derive(Clone)]
struct Redrive {
    filter: DeadLetterFilter,
    rules: Rules,
    now: Timestamp,
}

impl Redrive {
    async fn rehearse(self, connection: &mut SqliteConnection, limit: u32) -> Result<Redriven, StoreError> {
        let (mut redriven, mut after) = (Redriven::default(), 0);
        while redriven.matched < u64::from(limit) {
            let size = chunk_size(limit, &redriven);
            let (done, last) = self.clone().chunk(&mut *connection, after, size).await?;
            redriven.absorb(done);
            let Some(last) = last else { break };
            after = last;
        }
        Ok(redriven)
    }

    /// Judges the next letters after an id; returns what was done and the last id, if there was any.
    async fn chunk(
        self,
        connection: &mut SqliteConnection,
        after: i64,
        size: u32,
    ) -> Result<(Redriven, Option<i64>), StoreError> {
        let letters = list(&mut *connection, &self.filter, DeadLetterState::Open, after, size).await?;
        let last = letters.last().map(|letter| letter.id);
        let retrial = Retrial::new(letters, &self.rules, self.now);
        let known = dedup::take(&mut *connection, retrial.candidates()).await?;
        let verdicts = retrial.verdicts(&known);
        pronounce(connection, &verdicts).await?;
        Ok((verdicts.redriven, last))
    }
}

/// Writes what became of letters: the streams' counters, usage, and the letters.
async fn pronounce(connection: &mut SqliteConnection, verdicts: &Verdicts) -> Result<(), StoreError> {
    let now = now();
    for ((stream, incarnation), (counted, duplicates)) in &verdicts.moved {
        sqlx::query(
            "UPDATE stream_progress
             SET counted = counted + ?3, duplicates = duplicates + ?4, dead_lettered = dead_lettered - ?3 - ?4
             WHERE stream = ?1 AND incarnation = ?2",
        )
        .bind(stream.as_str())
        .bind(incarnation.as_str())
        .bind(stored(*counted)?)
        .bind(stored(*duplicates)?)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    add_usage(&mut *connection, &verdicts.settled, now).await?;
    let resolved = verdicts.resolved.iter().map(|(id, state)| (id, state.as_str()));
    sqlx::query(
        "UPDATE dead_letter SET state = verdict.value->>1, resolved_at = ?2
         FROM jsonb_each(?1) AS verdict WHERE dead_letter.id = verdict.value->>0",
    )
    .bind(json(resolved)?)
    .bind(now.micros())
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    let refused = verdicts.refused.iter().map(|(id, refusal)| {
        let (account, time) = (refusal.account.as_ref().map(AccountId::as_str), refusal.event_time.map(Timestamp::micros));
        (id, refusal.reason.as_str(), refusal.field, &refusal.detail, account, time)
    });
    sqlx::query(
        "UPDATE dead_letter SET reason = verdict.value->>1, field = verdict.value->>2, detail = verdict.value->>3,
         account = verdict.value->>4, event_time = verdict.value->>5
         FROM jsonb_each(?1) AS verdict WHERE dead_letter.id = verdict.value->>0",
    )
    .bind(json(refused)?)
    .execute(connection)
    .await
    .map(drop)
    .map_err(failed)
}

async fn discard(connection: &mut SqliteConnection, filter: DeadLetterFilter, note: String) -> Result<u64, StoreError> {
    let discard =
        concat!("UPDATE dead_letter SET state = 'discarded', resolved_at = ?7, note = ?8 WHERE state = 'open' AND", matching!());
    let discarded = sqlx::query_with(discard, arguments(&filter)?).bind(now().micros()).bind(note);
    Ok(discarded.execute(connection).await.map_err(failed)?.rows_affected())
}

async fn list(
    connection: &mut SqliteConnection,
    filter: &DeadLetterFilter,
    state: DeadLetterState,
    after: i64,
    limit: u32,
) -> Result<Vec<StoredDeadLetter>, StoreError> {
    let page = concat!("SELECT * FROM dead_letter WHERE state = ?7 AND id > ?8 AND", matching!(), "ORDER BY id LIMIT ?9");
    let page = sqlx::query_as_with(page, arguments(filter)?).bind(state.as_str()).bind(after).bind(limit);
    let rows: Vec<StoredLetter> = page.fetch_all(connection).await.map_err(failed)?;
    rows.into_iter().map(StoredDeadLetter::try_from).collect()
}

fn arguments(filter: &DeadLetterFilter) -> Result<SqliteArguments, StoreError> {
    let ids = if filter.ids.is_empty() { None } else { Some(json(filter.ids.iter())?) };
    let mut arguments = SqliteArguments::default();
    let added = arguments
        .add(filter.stream.as_ref().map(StreamName::to_string))
        .and_then(|()| arguments.add(filter.reason.map(DeadLetterReason::as_str)))
        .and_then(|()| arguments.add(filter.account.as_ref().map(AccountId::to_string)))
        .and_then(|()| arguments.add(filter.from.map(Timestamp::micros)))
        .and_then(|()| arguments.add(filter.to.map(Timestamp::micros)))
        .and_then(|()| arguments.add(ids));
    added.map(|()| arguments).map_err(|error| StoreError::Broken(error.to_string()))
}

/// Writes a batch's dead letters. Payloads travel as one blob that each row cuts its own from.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    incarnation: &Incarnation,
    letters: &[DeadLetter],
) -> Result<(), StoreError> {
    if letters.is_empty() {
        return Ok(());
    }
    let mut payloads = Vec::with_capacity(letters.iter().map(|letter| letter.payload.len()).sum());
    let rows = letters.iter().map(|letter| {
        let refusal = &letter.refusal;
        let (account, time) = (refusal.account.as_ref().map(AccountId::as_str), refusal.event_time.map(Timestamp::micros));
        let cut = (payloads.len() + 1, letter.payload.len());
        payloads.extend_from_slice(&letter.payload);
        let (reason, recorded_at) = (refusal.reason.as_str(), letter.recorded_at.micros());
        (letter.sequence, reason, refusal.field, &refusal.detail, account, time, recorded_at, cut.0, cut.1)
    });
    let rows = json(rows)?;
    sqlx::query(
        "INSERT INTO dead_letter
             (stream, incarnation, sequence, reason, field, detail, account, event_time, recorded_at, payload, state)
         SELECT ?1, ?2, value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6,
                coalesce(substr(?4, value->>7, value->>8), x''), 'open' -- a part of nothing would be NULL
         FROM jsonb_each(?3)",
    )
    .bind(stream.as_str())
    .bind(incarnation.as_str())
    .bind(rows)
    .bind(payloads)
    .execute(connection)
    .await
    .map(drop)
    .map_err(failed)
}
