//! The accounts with most usage.

use super::{Client, Rank, UsageArgs, completeness, sums::Sums};
use crate::{
    connect::Peer,
    json,
    output::{Column, Output},
};
use anyhow::bail;
use loadline_proto::query::{ListTopAccountsRequest, ListTopAccountsResponse, list_top_accounts_request::OrderBy};
use std::process::ExitCode;

/// Asks and prints.
///
/// # Errors
/// When query does not answer, or refuses the question.
pub async fn run(args: &UsageArgs, limit: u32, output: &Output, peer: &Peer, mut client: Client) -> anyhow::Result<ExitCode> {
    if args.order_by == Rank::Amount && args.currency.len() != 1 {
        bail!("amounts of several currencies cannot be ranked; add --currency with the one to rank by");
    }
    let question = args.question();
    let order_by = match args.order_by {
        Rank::Messages => OrderBy::Messages,
        Rank::Segments => OrderBy::Segments,
        Rank::Amount => OrderBy::Amount,
    };
    let question = ListTopAccountsRequest {
        from: question.from,
        to: question.to,
        order_by: order_by.into(),
        limit,
        filter: question.filter,
    };
    let answer = peer.call(client.list_top_accounts(peer.request(question))).await?;
    if args.json {
        output.json(&json::of("loadline.query.v1.ListTopAccountsResponse", &answer)?)?;
    } else {
        output.print(&text(&answer, output))?;
    }
    Ok(completeness::exit(answer.completeness.as_ref()))
}

/// The whole answer.
pub fn text(answer: &ListTopAccountsResponse, output: &Output) -> String {
    let mut columns = vec![Column::Right("#"), Column::Left("ACCOUNT")];
    columns.extend(["MESSAGES", "SEGMENTS", "AMOUNT", "DELIVERED", "NOT DELIVERED"].map(Column::Right));
    let rows = answer.accounts.iter().zip(1..).map(|(account, rank)| {
        [format!("{rank}"), account.account.clone()].into_iter().chain(Sums::of(&account.totals).cells()).collect()
    });
    let table =
        if answer.accounts.is_empty() { "no usage counted in this time\n".to_owned() } else { output.table(&columns, rows) };
    let completeness = answer.completeness.as_ref();
    let warning = completeness::warning(completeness, "sums are too small, and the order may be another", output);
    format!("{warning}{table}\n{}", completeness::text(&[], completeness, "", output))
}
