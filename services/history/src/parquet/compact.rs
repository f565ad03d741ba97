//! Merging the files of a month into few, so that a question of a year opens about a dozen.

use super::{
    ParquetHistory,
    engine::failed,
    manifest::{DataFile, Manifest, Retired},
    output::Output,
};
use crate::{HistoryError, piece::Table};
use futures::StreamExt as _;
use loadline_domain::{Clock as _, Day, archive::Part, time::SystemClock};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// A month is merged when it has more files than this beside its merged ones: rewriting it for each would cost a month a day.
const LOOSE: usize = 3;
/// Rows of a file. A larger month becomes several, apart by account, so that twice the accounts are not twice the reading.
const FILE_ROWS: u64 = 4 << 20;

impl ParquetHistory {
    /// Merges the months that have many files; returns how many files were.
    pub(super) async fn merge(&self, parts: &[Part]) -> Result<u64, HistoryError> {
        let manifest = self.ledger.holding(parts).await?;
        let listed: HashSet<&str> = parts.iter().map(|part| part.token.as_str()).collect();
        let mut months: BTreeMap<(Table, String), Vec<Arc<DataFile>>> = BTreeMap::new();
        for file in &manifest.files {
            if file.tokens.iter().any(|token| listed.contains(token.as_str())) {
                months.entry((file.table, month(file))).or_default().push(file.clone());
            }
        }
        let mut merged = 0;
        for ((table, _), files) in months {
            if files.iter().filter(|file| file.tokens.len() == 1).count() > LOOSE {
                merged += self.replace(table, files).await?;
            }
        }
        Ok(merged)
    }

    /// Writes the rows of files anew, as one run; what a rival replaced meanwhile is left to it.
    async fn replace(&self, table: Table, old: Vec<Arc<DataFile>>) -> Result<u64, HistoryError> {
        let new = self.merged(table, &old).await?;
        let count = |files: &[Arc<DataFile>]| files.iter().map(|file| file.rows).sum::<u64>();
        if count(&new) != count(&old) {
            let (new, old) = (count(&new), count(&old));
            return Err(HistoryError::Broken(format!("merging made {new} rows of {old}; nothing was replaced")));
        }
        let ids: HashSet<&str> = old.iter().map(|file| file.id.as_str()).collect();
        let swap = |newest: &Manifest| {
            if newest.files.iter().filter(|file| ids.contains(file.id.as_str())).count() != ids.len() {
                return Ok(None);
            }
            let mut next = newest.clone();
            next.files.retain(|file| !ids.contains(file.id.as_str()));
            next.files.extend(new.iter().cloned());
            let at = SystemClock.now().micros();
            next.retired.extend(old.iter().map(|file| Retired { id: file.id.clone(), at }));
            Ok(Some(next))
        };
        Ok(if self.ledger.publish(swap).await?.is_some() { old.len() as u64 } else { 0 })
    }

    async fn merged(&self, table: Table, old: &[Arc<DataFile>]) -> Result<Vec<Arc<DataFile>>, HistoryError> {
        let tokens: Vec<String> = old.iter().flat_map(|file| file.tokens.iter().cloned()).collect();
        let (mut rows, fault) = self.engine.merge(table, old).await?;
        let mut output = Output::new(&self.place, table)?;
        let mut new = Vec::new();
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| failed(&error, &fault))?;
            if output.rows() + batch.num_rows() as u64 > FILE_ROWS {
                let full = std::mem::replace(&mut output, Output::new(&self.place, table)?);
                new.push(Arc::new(full.finish().await?));
            }
            output.write(&batch, &tokens).await?;
        }
        if output.rows() > 0 {
            new.push(Arc::new(output.finish().await?));
        }
        Ok(new)
    }
}

/// `2026-11`. The files of a part are of one month.
fn month(file: &DataFile) -> String {
    let mut day = Day::from_index(file.from.div_euclid(24)).to_string();
    day.truncate(day.len().saturating_sub(3));
    day
}
