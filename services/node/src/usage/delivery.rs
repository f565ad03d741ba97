//! What became of the messages submitted in a time.

use super::{By, Client, UsageArgs, channel_name, code, completeness};
use crate::{
    connect::Peer,
    json,
    output::{Column, Output, clean, count},
    when::length,
};
use loadline_proto::query::{DeliveryRow, GetDeliveryRequest, GetDeliveryResponse};
use std::process::ExitCode;

/// Asks and prints.
///
/// # Errors
/// When query does not answer, or refuses the question.
pub async fn run(args: &UsageArgs, output: &Output, peer: &Peer, mut client: Client) -> anyhow::Result<ExitCode> {
    args.refuse_currency_for_receipts()?;
    let question = args.question();
    let question = GetDeliveryRequest {
        account: question.account,
        from: question.from,
        to: question.to,
        group_by: question.group_by,
        filter: question.filter,
    };
    let answer = peer.call(client.get_delivery(peer.request(question))).await?;
    if args.json {
        output.json(&json::of("loadline.query.v1.GetDeliveryResponse", &answer)?)?;
    } else {
        output.print(&text(&answer, &args.by, output))?;
    }
    Ok(completeness::exit(answer.completeness.as_ref()))
}

/// The whole answer.
pub fn text(answer: &GetDeliveryResponse, by: &[By], output: &Output) -> String {
    let mut columns: Vec<Column> =
        by.iter().map(|by| Column::Left(if *by == By::Channel { "CHANNEL" } else { "COUNTRY" })).collect();
    if by.is_empty() {
        columns.push(Column::Left(""));
    }
    let numbers = [
        "MESSAGES",
        "DELIVERED",
        "UNDELIVERED",
        "EXPIRED",
        "REJECTED",
        "FAILED",
        "ON THE WAY",
        "RATE",
        "HEARD OF",
        "P50",
        "P90",
        "P99",
    ];
    columns.extend(numbers.map(Column::Right));
    let mut rows: Vec<Vec<String>> = Vec::new();
    if !by.is_empty() {
        rows.extend(answer.rows.iter().map(|row| by.iter().map(|by| dimension(row, *by)).chain(cells(row)).collect()));
    }
    if let Some(total) = &answer.total {
        let mut titles = vec![String::new(); by.len().max(1)];
        titles[0] = "total".to_owned();
        rows.push(titles.into_iter().chain(cells(total)).collect());
    }
    let rests_on = completeness::text(&answer.periods, answer.completeness.as_ref(), &answer.account, output);
    let warning = completeness::warning(answer.completeness.as_ref(), "sums are too small", output);
    format!("{}\n\n{warning}{}\n{rests_on}", clean(&answer.account), output.table(&columns, rows))
}

fn dimension(row: &DeliveryRow, by: By) -> String {
    if by == By::Channel { channel_name(row.channel) } else { code(&row.country) }
}

fn cells(row: &DeliveryRow) -> Vec<String> {
    let receipts = row.receipts.unwrap_or_default();
    let counts = [
        row.messages,
        receipts.delivered,
        receipts.undelivered,
        receipts.expired,
        receipts.rejected,
        receipts.failed,
        receipts.not_final,
    ];
    let latency = row.latency.unwrap_or_default();
    let quantiles = [latency.p50, latency.p90, latency.p99].map(|quantile| quantile.as_ref().map_or_else(dash, length));
    counts.into_iter().map(count).chain([ratio(row.delivery_rate), ratio(row.maturity)]).chain(quantiles).collect()
}

/// Absent is not 0 %: there is nothing to take a share of.
fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(dash, |ratio| format!("{:.2} %", ratio * 100.0))
}

fn dash() -> String {
    "–".to_owned()
}
