//! The file: its connections and its tables.

use crate::LogError;
use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, time::Duration};

/// Marks the file as a log ("LLOG"), so that no other database is taken for one.
const APPLICATION_ID: i64 = 0x4c4c_4f47;
/// Layout of the tables below.
const LAYOUT: i64 = 1;

/// A batch is a run of records that were appended together: its payloads one after the other, `lengths` saying where each ends
/// (32 bits each, little-endian). Many records a row is what makes a small log fast.
const TABLES: &str = "
CREATE TABLE streams (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    name             TEXT NOT NULL UNIQUE,
    incarnation      TEXT NOT NULL,
    first_sequence   INTEGER NOT NULL DEFAULT 1,
    last_sequence    INTEGER NOT NULL DEFAULT 0,
    last_recorded_at INTEGER NOT NULL DEFAULT 0,
    bytes            INTEGER NOT NULL DEFAULT 0,
    max_age_micros   INTEGER,
    max_bytes        INTEGER
) STRICT;
CREATE TABLE batches (
    stream         INTEGER NOT NULL,
    last_sequence  INTEGER NOT NULL,
    first_sequence INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    lengths        BLOB NOT NULL,
    payloads       BLOB NOT NULL,
    PRIMARY KEY (stream, last_sequence)
) STRICT;";

/// Opens the file, making it and its folder if need be: one connection that writes, and a pool that reads.
pub(super) async fn connect(path: &Path) -> Result<(SqliteConnection, SqlitePool, SqliteConnectOptions), LogError> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await.map_err(|error| unusable(path, error))?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        // A checkpoint a few megabytes is less fsync than one a megabyte.
        .pragma("wal_autocheckpoint", "4000")
        // Rows are up to a quarter of a megabyte: a few ahead are enough.
        .row_buffer_size(4);
    let mut writer = SqliteConnection::connect_with(&options).await.map_err(|error| unusable(path, error))?;
    prepare(&mut writer, path).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(3))
        .connect_with(options.clone().read_only(true).create_if_missing(false))
        .await
        .map_err(|error| unusable(path, error))?;
    Ok((writer, readers, options))
}

async fn prepare(writer: &mut SqliteConnection, path: &Path) -> Result<(), LogError> {
    let failed = |error: sqlx::Error| unusable(path, error);
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let marks = "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema)
        FROM pragma_application_id a, pragma_user_version v";
    let (application, layout, objects): (i64, i64, i64) =
        sqlx::query_as(marks).fetch_one(&mut *transaction).await.map_err(failed)?;
    match (application, layout) {
        (APPLICATION_ID, LAYOUT) => return Ok(()),
        (APPLICATION_ID, newer) => {
            return Err(unusable(path, format!("its layout is {newer}, this build knows {LAYOUT}; use a newer build")));
        }
        _ if objects > 0 => return Err(unusable(path, "it is another program's database; name another file")),
        _ => {}
    }
    sqlx::raw_sql(TABLES).execute(&mut *transaction).await.map_err(failed)?;
    sqlx::raw_sql("PRAGMA application_id = 0x4c4c4f47; PRAGMA user_version = 1")
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> LogError {
    LogError::Misconfigured(format!("cannot use {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_programs_database_and_a_newer_layout_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, made_by, why) in [
            ("other.db", "CREATE TABLE other (id INTEGER)", "another program"),
            ("newer.db", "PRAGMA application_id = 0x4c4c4f47; PRAGMA user_version = 7", "layout is 7"),
        ] {
            let path = folder.path().join(name);
            let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
            let mut other = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::raw_sql(made_by).execute(&mut other).await.unwrap();
            other.close().await.unwrap();
            let refused = connect(&path).await.err().unwrap();
            assert!(refused.to_string().contains(why), "{refused}");
        }
    }

    #[test]
    fn the_mark_in_the_statement_is_the_mark_that_is_checked() {
        assert_eq!((APPLICATION_ID, LAYOUT), (0x4c4c4f47, 1));
    }
}
