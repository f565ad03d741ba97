//! What the bench found, for people and for programs.

use super::{daily::Daily, moving::Moved, purging::Purge, question::Question, rows::Rows};
use serde::Serialize;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub rows: Rows,
    pub daily: Daily,
    pub question: Question,
    pub purge: Purge,
    pub moved: Moved,
}

impl Report {
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts have a JSON form")
    }

    pub fn text(&self) -> String {
        let Self { rows, daily, question, purge, moved } = self;
        [
            format!(
                "{} hourly rows and {} of latency: {} accounts, {} days",
                rows.hourly, rows.latency, rows.accounts, rows.days
            ),
            format!(
                "\n{} account-days rolled up in {:.2} s, plain SQL {:.2} s: {:.2} ×   replaced in {:.2} s: {:.2} ×",
                daily.account_days,
                daily.rolled_up_seconds,
                daily.bare_aggregation_seconds,
                daily.ratio_to_bare,
                daily.replaced_seconds,
                daily.ratio_of_replacing_to_bare
            ),
            format!(
                "\n90 days by hours and channel ({} rows) at {}/s: {} asked, {} failed, p50 {:.1} ms, p95 {:.1} ms",
                question.rows, question.rate_per_second, question.asked, question.failed, question.p50_ms, question.p95_ms
            ),
            format!(
                "\na dedup table of {} rows dropped in {:.2} s, {} batches meanwhile\n  batches before: p50 {:.1} ms, p99 {:.1} ms   \
                 from then on: p50 {:.1} ms, p99 {:.1} ms   p99 × {:.2}",
                purge.dedup_rows,
                purge.dropped_in_seconds,
                purge.batches_meanwhile,
                purge.before_p50_ms,
                purge.before_p99_ms,
                purge.beside_p50_ms,
                purge.beside_p99_ms,
                purge.p99_ratio
            ),
            format!(
                "\n{} days, {} rows: COPY {:.0} rows/s\n  to Parquet {:.0} rows/s: {:.2} of COPY   archived {:.0} rows/s: {:.2} of COPY   then tidied {:.0} rows/s",
                moved.days,
                moved.rows,
                moved.copy_rows_per_second,
                moved.exported_rows_per_second,
                moved.export_ratio_to_copy,
                moved.archived_rows_per_second,
                moved.archive_ratio_to_copy,
                moved.tidied_rows_per_second
            ),
        ]
        .join("\n")
    }
}
