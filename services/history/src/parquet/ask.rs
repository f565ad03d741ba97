//! Sums over files.

use super::{
    ParquetHistory,
    columns::{Answer, SUMS},
    manifest::Manifest,
};
use crate::{
    HistoryError,
    answer::{Group, Keep, Sums, Tables},
    piece::{Piece, Table},
};
use arrow::{array::RecordBatch, datatypes::DataType};
use async_trait::async_trait;
use datafusion::{
    dataframe::DataFrame,
    error::Result as DataFusionResult,
    functions_aggregate::expr_fn::{count, sum},
    logical_expr::{Expr, cast, col, lit},
};
use loadline_domain::{
    AccountId,
    archive::{Part, Totals},
    event::{Channel, Country, Currency},
    latency::Bucket,
    question::{GroupBy, UsageFilter},
};

impl ParquetHistory {
    /// Asks with the newest manifest needed; once more when a file was swept meanwhile.
    async fn ask(
        &self,
        parts: &[Part],
        account: Option<&AccountId>,
        piece: Piece,
        question: impl Fn(DataFrame) -> DataFusionResult<DataFrame>,
    ) -> Result<Vec<RecordBatch>, HistoryError> {
        let manifest = self.ledger.holding(parts).await?;
        let asked = self.engine.ask(piece.table, manifest.select(parts, account, piece), &question).await;
        match asked {
            Err(HistoryError::Damaged { file, why }) => {
                let newest = self.ledger.newest().await?;
                if names(&newest, &file) {
                    return Err(HistoryError::Damaged { file, why });
                }
                if let Some(part) = newest.lacks(parts) {
                    return Err(HistoryError::Missing(part.clone()));
                }
                self.engine.ask(piece.table, newest.select(parts, account, piece), &question).await
            }
            asked => asked,
        }
    }

    /// Totals of a part as they are on disk.
    pub(super) async fn count(&self, part: &Part) -> Result<Totals, HistoryError> {
        let (from, to) = (part.day.first_hour(), part.day.end().hour());
        let parts = std::slice::from_ref(part);
        let mut totals = Totals::default();
        // A merged file holds other days too.
        let of_day = |piece: Piece, sums: Vec<Expr>| {
            move |frame: DataFrame| restricted(frame, None, piece, &UsageFilter::default())?.aggregate(vec![], sums.clone())
        };
        let hourly = Piece { table: Table::Hourly, from, to };
        for batch in self.ask(parts, None, hourly, of_day(hourly, [all_sums(), vec![rows()]].concat())).await? {
            let answer = Answer(&batch);
            for row in 0..answer.rows() {
                totals.hourly_rows += answer.count("rows", row)?;
                totals.hourly.iter_mut().zip(answer.sums(row)?).for_each(|(total, sum)| *total += sum);
            }
        }
        let latency = Piece { table: Table::Latency, from, to };
        let counts = vec![wide(col("count")).alias("count"), rows()];
        for batch in self.ask(parts, None, latency, of_day(latency, counts)).await? {
            let answer = Answer(&batch);
            for row in 0..answer.rows() {
                totals.latency_rows += answer.count("rows", row)?;
                totals.latency += answer.sum("count", row)?;
            }
        }
        Ok(totals)
    }
}

fn names(manifest: &Manifest, file: &str) -> bool {
    manifest.files.iter().any(|known| known.name() == file || known.sums_name() == file)
}

/// A sum that cannot overflow.
fn wide(column: Expr) -> Expr {
    sum(cast(column, DataType::Decimal128(38, 0)))
}

fn rows() -> Expr {
    count(lit(1_i64)).alias("rows")
}

/// Rows of the account, the hours and the filter.
fn restricted(frame: DataFrame, account: Option<&AccountId>, piece: Piece, filter: &UsageFilter) -> DataFusionResult<DataFrame> {
    let mut wanted = col("hour").gt_eq(lit(piece.from.index())).and(col("hour").lt(lit(piece.to.index())));
    if let Some(account) = account {
        wanted = wanted.and(col("account").eq(lit(account.as_str())));
    }
    if !filter.channels.is_empty() {
        wanted = wanted.and(among("channel", filter.channels.iter().map(|channel| lit(channel.number() as i16))));
    }
    if !filter.countries.is_empty() {
        wanted = wanted.and(among("country", filter.countries.iter().map(|country| lit(country.as_str()))));
    }
    if !filter.currencies.is_empty() && piece.table != Table::Latency {
        wanted = wanted.and(among("currency", filter.currencies.iter().map(|currency| lit(currency.as_str()))));
    }
    frame.filter(wanted)
}

fn among(column: &str, values: impl Iterator<Item = Expr>) -> Expr {
    col(column).in_list(values.collect(), false)
}

fn kept(hour: bool, dimensions: GroupBy) -> Vec<Expr> {
    let columns =
        [("hour", hour), ("channel", dimensions.channel), ("country", dimensions.country), ("currency", dimensions.currency)];
    columns.into_iter().filter(|(_, keep)| *keep).map(|(name, _)| col(name)).collect()
}

fn all_sums() -> Vec<Expr> {
    SUMS.map(|name| wide(col(name)).alias(name)).to_vec()
}

#[async_trait]
impl Tables for ParquetHistory {
    async fn sums(
        &self,
        parts: &[Part],
        account: &AccountId,
        piece: Piece,
        filter: &UsageFilter,
        keep: Keep,
    ) -> Result<Vec<(Group, Sums)>, HistoryError> {
        let question = |frame| {
            let mut sums = all_sums();
            sums.push(rows());
            restricted(frame, Some(account), piece, filter)?.aggregate(kept(keep.hour, keep.dimensions), sums)
        };
        let mut groups = Vec::new();
        for batch in self.ask(parts, Some(account), piece, question).await? {
            let answer = Answer(&batch);
            for row in 0..answer.rows() {
                // A sum over no rows and no groups is a row all the same.
                if answer.count("rows", row)? > 0 {
                    groups.push((answer.group(row)?, answer.sums(row)?));
                }
            }
        }
        Ok(groups)
    }

    async fn account_sums(
        &self,
        parts: &[Part],
        piece: Piece,
        filter: &UsageFilter,
    ) -> Result<Vec<(AccountId, Currency, Sums)>, HistoryError> {
        let question =
            |frame| restricted(frame, None, piece, filter)?.aggregate(vec![col("account"), col("currency")], all_sums());
        let mut totals = Vec::new();
        for batch in self.ask(parts, None, piece, question).await? {
            let answer = Answer(&batch);
            for row in 0..answer.rows() {
                totals.push((answer.account(row)?, answer.code("currency", row)?, answer.sums(row)?));
            }
        }
        Ok(totals)
    }

    async fn latency(
        &self,
        parts: &[Part],
        account: &AccountId,
        piece: Piece,
        filter: &UsageFilter,
        keep: GroupBy,
    ) -> Result<Vec<(Option<Channel>, Option<Country>, Bucket, i128)>, HistoryError> {
        let question = |frame| {
            let groups = [kept(false, keep), vec![col("bucket")]].concat();
            restricted(frame, Some(account), piece, filter)?.aggregate(groups, vec![wide(col("count")).alias("count")])
        };
        let mut counts = Vec::new();
        for batch in self.ask(parts, Some(account), piece, question).await? {
            let answer = Answer(&batch);
            for row in 0..answer.rows() {
                let (_, channel, country, _) = answer.group(row)?;
                counts.push((channel, country, answer.number("bucket", row)?, answer.sum("count", row)?));
            }
        }
        Ok(counts)
    }
}
