//! What a statement's failure means: for the caller, for the connection, and for another try.

use crate::StoreError;
use sqlx::{error::DatabaseError, postgres::PgDatabaseError};

/// Why a piece of work failed, before it is told to the caller.
#[derive(Debug)]
pub(super) enum Fault {
    /// The driver or the server.
    Sql(sqlx::Error),
    /// The work itself.
    Store(StoreError),
    /// Nothing was heard in time, of what.
    Silence(&'static str),
    /// Another transaction wrote a key, or made a table, first, after it was looked for.
    Overtaken,
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Fault {
    /// Met another transaction; trying again can succeed. 40001: serialization failure, 40P01: deadlock.
    pub fn is_collision(&self) -> bool {
        matches!(self, Self::Overtaken) || matches!(self.code(), Some("40001" | "40P01"))
    }

    /// 55P03: somebody holds a lock for longer than this may wait.
    pub fn is_in_use(&self) -> bool {
        self.code() == Some("55P03")
    }

    /// A key that was there already: whoever looked for it in vain was overtaken.
    pub fn or_overtaken(self) -> Self {
        if self.code() == Some("23505") { Self::Overtaken } else { self }
    }

    /// 42P07: a table that another transaction made, after it was looked for.
    pub fn or_made_meanwhile(self) -> Self {
        if self.code() == Some("42P07") { Self::Overtaken } else { self }
    }

    /// 22003: a number out of range.
    pub fn or_overflow(self) -> Self {
        if self.code() == Some("22003") { StoreError::Overflow(self.told().to_string()).into() } else { self }
    }

    /// A dedup table that went while it was read: the next look does not come by it.
    pub fn or_gone(self) -> Self {
        if !self.is_missing_table() {
            return self;
        }
        StoreError::Unavailable("a dedup table was purged meanwhile".to_owned()).into()
    }

    /// A table that was there is gone: a dedup table was purged after it was seen.
    pub fn is_missing_table(&self) -> bool {
        self.code() == Some("42P01")
    }

    /// A row of a day whose tables are not there, or were dropped after they were seen. (23514 is what PostgreSQL says of a row that no
    /// partition takes; nothing else is checked.)
    pub fn is_missing_day(&self) -> bool {
        self.code() == Some("23514")
    }

    /// The connection is of no more use. A statement that failed on a living connection leaves it fit.
    pub fn spoils_connection(&self) -> bool {
        match self {
            Self::Store(_) | Self::Overtaken => false,
            Self::Silence(_) => true,
            Self::Sql(sqlx::Error::Database(error)) => {
                // 25006: a standby, perhaps after a failover. 0A000: a plan cached before a migration.
                is_fatal(error.as_ref()) || matches!(error.code().as_deref(), Some("25006" | "0A000"))
            }
            Self::Sql(error) => !matches!(
                error,
                sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_)
            ),
        }
    }

    /// The server refused, so it did not happen; anything else leaves that open when a COMMIT was under way.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error)) if !is_fatal(error.as_ref()))
    }

    /// For the caller, when nothing happened.
    pub fn told(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Silence(what) => StoreError::Unavailable(format!("PostgreSQL did not answer in time: {what}")),
            Self::Overtaken => StoreError::Unavailable("other streams kept writing the same keys first".to_owned()),
            Self::Sql(sqlx::Error::Database(error)) => refused(error.as_ref()),
            Self::Sql(sqlx::Error::Configuration(error)) => StoreError::Misconfigured(format!("PostgreSQL: {error}")),
            Self::Sql(sqlx::Error::PoolTimedOut) => StoreError::Unavailable(
                "no connection to PostgreSQL within 3 s; is it running, and reachable from here?".to_owned(),
            ),
            Self::Sql(
                error @ (sqlx::Error::RowNotFound
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::Encode(_)
                | sqlx::Error::ColumnNotFound(_)),
            ) => StoreError::Broken(format!("PostgreSQL: {error}")),
            Self::Sql(error) => StoreError::Unavailable(format!("PostgreSQL: {error}")),
        }
    }

    /// For the caller, when a COMMIT was under way.
    pub fn told_of_commit(self) -> StoreError {
        match self.is_refusal() {
            true => self.told(),
            false => StoreError::Unknown(self.told().to_string()),
        }
    }

    fn code(&self) -> Option<&str> {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => Some(error.downcast_ref::<PgDatabaseError>().code()),
            _ => None,
        }
    }
}

/// The server ends the session with such an error.
fn is_fatal(error: &dyn DatabaseError) -> bool {
    use sqlx::postgres::PgSeverity::{Fatal, Panic};
    matches!(error.downcast_ref::<PgDatabaseError>().severity(), Fatal | Panic)
}

fn refused(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default();
    // Without DETAIL: it quotes rows.
    let said = format!("PostgreSQL says {code}: {}", error.message());
    match &*code {
        // Shutting down or starting, a standby, out of a resource, a time limit, a lock or a collision: may pass.
        "57P01" | "57P02" | "57P03" | "57014" | "25006" | "25P03" | "55P03" | "40001" | "40P01" | "58030" | "0A000" => {
            StoreError::Unavailable(said)
        }
        code if code.starts_with("08") || code.starts_with("53") => StoreError::Unavailable(said),
        // Wrong password, no such database, no permission.
        code if code.starts_with("28") || code == "3D000" || code == "42501" => StoreError::Misconfigured(said),
        "42P01" => StoreError::Broken(format!("{said}; has the schema been migrated?")),
        _ => StoreError::Broken(said),
    }
}
