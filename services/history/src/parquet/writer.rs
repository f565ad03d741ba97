//! Writing a part: up to a file a table, then one manifest that names them all.

use super::{
    columns,
    ledger::Ledger,
    manifest::{Held, Manifest},
    output::Output,
    place::Place,
    within,
};
use crate::{HistoryError, PartWriter, Rows, intake::Intake, piece::Table};
use async_trait::async_trait;
use futures::{TryFutureExt as _, future::try_join_all};
use loadline_domain::{
    Clock as _,
    archive::{Part, Totals},
    time::SystemClock,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// One attempt at a part.
pub(super) struct FileWriter {
    place: Place,
    ledger: Arc<Ledger>,
    part: Part,
    intake: Intake,
    outputs: BTreeMap<Table, Output>,
    timeout: Duration,
}

impl FileWriter {
    pub fn new(place: Place, ledger: Arc<Ledger>, part: &Part, timeout: Duration) -> Self {
        Self { place, ledger, part: part.clone(), intake: Intake::new(part), outputs: BTreeMap::new(), timeout }
    }

    async fn add(&mut self, rows: &Rows) -> Result<(), HistoryError> {
        let table = columns::table(rows);
        let output = match self.outputs.entry(table) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Output::new(&self.place, table)?),
        };
        output.write(&columns::encode(rows, &self.part.token), [&self.part.token]).await
    }

    async fn publish(self) -> Result<(), HistoryError> {
        // Side by side: each waits for the disk several times.
        let outputs = self.outputs.into_values().filter(|output| output.rows() > 0);
        let files = try_join_all(outputs.map(|output| output.finish().map_ok(Arc::new))).await?;
        let Part { day, number, token } = self.part;
        let held = Held { day: day.index(), number, at: SystemClock.now().micros() };
        let add = |newest: &Manifest| {
            let mut next = newest.clone();
            if next.parts.insert(token.clone(), held.clone()).is_some() {
                return Err(HistoryError::Refused(format!("attempt {token} was finished before; begin again with a new token")));
            }
            next.files.extend(files.iter().cloned());
            Ok(Some(next))
        };
        self.ledger.publish(add).await.map(drop)
    }
}

#[async_trait]
impl PartWriter for FileWriter {
    async fn write(&mut self, rows: Rows) -> Result<(), HistoryError> {
        self.intake.take(&rows)?;
        within(self.timeout, self.add(&rows)).await
    }

    async fn finish(self: Box<Self>) -> Result<Totals, HistoryError> {
        let totals = self.intake.totals()?;
        within(self.timeout, self.publish()).await?;
        Ok(totals)
    }
}
