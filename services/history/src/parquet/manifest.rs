//! Which files count, and what is in them.

use crate::{HistoryError, piece::Piece, piece::Table};
use loadline_domain::{AccountId, archive::Part};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// Layout of manifests and files that this build reads and writes.
pub(super) const SCHEMA: u32 = 1;

/// One version of the truth.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub schema: u32,
    /// Counts from 1; also its name.
    pub version: u64,
    /// Random: tells our own publication from a rival's of the same version.
    pub publication: String,
    /// Finished parts by token, also those whose day had no rows.
    pub parts: BTreeMap<String, Held>,
    pub files: Vec<Arc<DataFile>>,
    /// Files that no longer count, kept for readers that began before.
    pub retired: Vec<Retired>,
}

/// A finished part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub day: i32,
    pub number: u32,
    /// When it was finished, microseconds since the epoch.
    pub at: i64,
}

/// A file of one table, in ascending order of account and hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DataFile {
    pub id: String,
    pub table: Table,
    pub bytes: u64,
    pub rows: u64,
    /// BLAKE3 of its checksum file.
    pub sums: String,
    /// First hour.
    pub from: i32,
    /// Hour after the last.
    pub to: i32,
    /// First account.
    pub first: String,
    /// Last account.
    pub last: String,
    /// Tokens of the parts whose rows it holds.
    pub tokens: Vec<String>,
}

/// A file that no longer counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retired {
    pub id: String,
    /// Since when, microseconds since the epoch.
    pub at: i64,
}

/// Files to read for a question.
pub(super) struct Selection {
    pub files: Vec<Arc<DataFile>>,
    /// Set when a file also holds rows that do not count: only these do.
    pub tokens: Option<Vec<String>>,
}

impl DataFile {
    /// Below the root.
    pub fn name(&self) -> String {
        format!("data/{}.parquet", self.id)
    }

    /// Of its checksums, below the root.
    pub fn sums_name(&self) -> String {
        format!("data/{}.sums", self.id)
    }
}

impl Manifest {
    /// Name of a version, below the root; ascends as text.
    pub fn name(version: u64) -> String {
        format!("manifest/{version:020}.json")
    }

    /// The version that a name stands for.
    pub fn version_of(name: &str) -> Option<u64> {
        name.strip_prefix("manifest/")?.strip_suffix(".json")?.parse().ok()
    }

    /// The first of these parts that it does not hold.
    pub fn lacks<'a>(&self, parts: &'a [Part]) -> Option<&'a Part> {
        let holds = |part: &Part| {
            self.parts.get(&part.token).is_some_and(|held| held.day == part.day.index() && held.number == part.number)
        };
        parts.iter().find(|part| !holds(part))
    }

    /// Files that may hold rows of these parts for a question.
    pub fn select(&self, parts: &[Part], account: Option<&AccountId>, piece: Piece) -> Selection {
        let wanted: HashSet<&str> = parts.iter().map(|part| part.token.as_str()).collect();
        let mut mixed = false;
        let mut files = Vec::new();
        for file in self.files.iter().filter(|file| file.may_answer(account, piece)) {
            if file.tokens.iter().any(|token| wanted.contains(token.as_str())) {
                mixed |= file.tokens.iter().any(|token| !wanted.contains(token.as_str()) && self.in_range(token, piece));
                files.push(file.clone());
            }
        }
        let tokens = mixed.then(|| wanted.into_iter().map(str::to_owned).collect());
        Selection { files, tokens }
    }

    fn in_range(&self, token: &str, piece: Piece) -> bool {
        // A part that is no longer known may be of any day.
        self.parts.get(token).is_none_or(|held| held.day * 24 < piece.to.index() && (held.day + 1) * 24 > piece.from.index())
    }

    /// As stored: a line with the checksum of the rest.
    pub fn encode(&self) -> Vec<u8> {
        let body = serde_json::to_vec(self).expect("texts and numbers have a JSON form");
        [blake3::hash(&body).to_hex().as_bytes(), b"\n", &body].concat()
    }

    /// As read back.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self, HistoryError> {
        let damaged = |why: String| HistoryError::Damaged { file: name.to_owned(), why };
        let at = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("it has no checksum line".to_owned()))?;
        let (sum, body) = (&bytes[..at], &bytes[at + 1..]);
        if sum != blake3::hash(body).to_hex().as_bytes() {
            return Err(damaged("its checksum does not match".to_owned()));
        }
        // The schema first: what else another build writes is unknown.
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        let Versioned { schema } = serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))?;
        if schema != SCHEMA {
            return Err(HistoryError::WrongSchema(format!("{name} has schema {schema}, this build knows {SCHEMA}")));
        }
        serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))
    }
}

impl DataFile {
    fn may_answer(&self, account: Option<&AccountId>, piece: Piece) -> bool {
        let of_account = account.is_none_or(|account| (self.first.as_str()..=self.last.as_str()).contains(&account.as_str()));
        self.table == piece.table && self.from < piece.to.index() && self.to > piece.from.index() && of_account
    }
}
