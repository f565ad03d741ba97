//! Discards what a stream no longer keeps.

use super::{batch::lengths, state::StreamState};
use loadline_domain::Timestamp;
use sqlx::SqliteConnection;

/// Batches looked at in one transaction, so that a large discard does not hold up appends.
const CHUNK: i64 = 512;

type Row = (i64, i64, i64, Vec<u8>);

/// Discards the oldest records, those too old and those too many, up to a chunk of batches.
pub(super) async fn discard(connection: &mut SqliteConnection, stream: &StreamState, now: Timestamp) -> Result<(), sqlx::Error> {
    let oldest: Vec<Row> = sqlx::query_as(
        "SELECT first_sequence, last_sequence, recorded_at, lengths FROM batches
         WHERE stream = ?1 ORDER BY last_sequence LIMIT ?2",
    )
    .bind(stream.id)
    .bind(CHUNK)
    .fetch_all(&mut *connection)
    .await?;
    let (first, bytes) = keep_from(stream, now, &oldest);
    if first == stream.first {
        return Ok(());
    }
    sqlx::query("UPDATE streams SET first_sequence = ?2, bytes = ?3 WHERE id = ?1")
        .bind(stream.id)
        .bind(first as i64)
        .bind(bytes as i64)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM batches WHERE stream = ?1 AND last_sequence < ?2")
        .bind(stream.id)
        .bind(first as i64)
        .execute(connection)
        .await?;
    Ok(())
}

/// First sequence to keep, and the bytes left then.
fn keep_from(stream: &StreamState, now: Timestamp, oldest: &[Row]) -> (u64, u64) {
    let (mut first, mut bytes) = (stream.first, stream.bytes);
    for (batch_first, batch_last, recorded_at, packed) in oldest {
        let too_old = stream.is_too_old(Timestamp::from_micros(*recorded_at), now);
        first = first.max(*batch_first as u64);
        for length in lengths(packed).skip((first - *batch_first as u64) as usize) {
            if !too_old && !stream.is_too_large(bytes) {
                return (first, bytes);
            }
            first += 1;
            bytes = bytes.saturating_sub(length as u64);
        }
        debug_assert_eq!(first, *batch_last as u64 + 1);
    }
    (first, bytes)
}
