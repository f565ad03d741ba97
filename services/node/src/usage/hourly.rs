//! Usage by the hour, or summed over them.

use super::{By, UsageArgs, channel_name, code, completeness, sums::Sums};
use crate::{
    output::{Column, Output, clean},
    when::minute,
};
use loadline_proto::query::{GetUsageResponse, Period, UsageRow, period::State};
use std::collections::BTreeMap;

/// What rows are kept apart by: the hour in seconds, unless summed over, and a text for each dimension.
type Key = (Option<i64>, Vec<String>);

/// The whole answer.
pub fn text(answer: &GetUsageResponse, args: &UsageArgs, output: &Output) -> String {
    let range = match (answer.periods.first(), answer.periods.last()) {
        (Some(first), Some(last)) => format!(", {} to {} UTC", minute(first.from.as_ref()), minute(last.to.as_ref())),
        _ => String::new(),
    };
    let body = if answer.rows.is_empty() { nothing(&answer.periods).to_owned() } else { table(answer, args, output) };
    let warning = completeness::warning(answer.completeness.as_ref(), "sums are too small", output);
    let rests_on = completeness::text(&answer.periods, answer.completeness.as_ref(), &answer.account, output);
    let zone = if args.is_utc() { String::new() } else { format!("; times of the table are of {}", clean(&args.zone)) };
    format!("{}{range}{zone}\n\n{warning}{body}\n{rests_on}", clean(&answer.account))
}

/// Zero is not the same as unknown.
fn nothing(periods: &[Period]) -> &'static str {
    let pending = periods.iter().any(|period| period.state() == State::Pending);
    match (completeness::is_any_counted(periods), pending) {
        (true, false) => "no usage\n",
        (true, true) => "no usage in the hours that are counted; the others are not counted yet, or missing\n",
        (false, _) => "not counted yet, or missing\n",
    }
}

fn table(answer: &GetUsageResponse, args: &UsageArgs, output: &Output) -> String {
    let mut columns = Vec::new();
    if !args.total {
        columns.push(Column::Left(args.heading()));
    }
    columns.extend(args.by.iter().map(|by| Column::Left(title(*by))));
    columns.extend(["MESSAGES", "SEGMENTS", "AMOUNT", "DELIVERED", "NOT DELIVERED"].map(Column::Right));
    if !args.total {
        columns.push(Column::Left("STATE"));
    }
    let mut rows: Vec<Vec<String>> =
        grouped(&answer.rows, args).into_iter().map(|(key, sums)| cells(key, &sums, &answer.periods, args)).collect();
    if !args.total || !args.by.is_empty() {
        let blank = usize::from(!args.total) + args.by.len() - 1;
        let mut total = vec!["total".to_owned()];
        total.extend(std::iter::repeat_n(String::new(), blank));
        total.extend(Sums::of(&answer.totals).cells());
        total.resize(columns.len(), String::new());
        rows.push(total);
    }
    output.table(&columns, rows)
}

/// One line for each hour and group. Without `--by currency` the currencies of a line share it, and so do its receipts,
/// which have none.
fn grouped(rows: &[UsageRow], args: &UsageArgs) -> BTreeMap<Key, Sums> {
    let mut groups: BTreeMap<Key, Sums> = BTreeMap::new();
    for row in rows {
        let hour = row.hour.as_ref().filter(|_| !args.total).map(|hour| hour.seconds);
        let dimensions = args.by.iter().map(|by| match by {
            By::Channel => channel_name(row.channel),
            By::Country => code(&row.country),
            By::Currency => code(&row.currency),
        });
        if let Some(usage) = &row.usage {
            groups.entry((hour, dimensions.collect())).or_default().add(usage);
        }
    }
    groups
}

fn cells((start, dimensions): Key, sums: &Sums, periods: &[Period], args: &UsageArgs) -> Vec<String> {
    let state = start.map(|start| state_of(start, args.end(start), periods));
    let start = start.map(|start| args.shown(start));
    start.into_iter().chain(dimensions).chain(sums.cells()).chain(state.map(str::to_owned)).collect()
}

/// The weakest state within `start..end`, in seconds: a month is final when its last hour is.
fn state_of(start: i64, end: i64, periods: &[Period]) -> &'static str {
    let meets = |period: &&Period| {
        period.from.as_ref().is_some_and(|from| from.seconds < end) && period.to.as_ref().is_some_and(|to| start < to.seconds)
    };
    // The contract numbers states from the weakest on.
    let weakest = periods.iter().filter(meets).map(Period::state).min_by_key(|state| *state as i32);
    weakest.map_or("", |state| completeness::state(state).0)
}

fn title(by: By) -> &'static str {
    match by {
        By::Channel => "CHANNEL",
        By::Country => "COUNTRY",
        By::Currency => "CURRENCY",
    }
}
