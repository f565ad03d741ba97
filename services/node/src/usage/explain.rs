//! One hour counted again from the log, beside what is stored.

use super::{Client, UsageArgs, channel_name, code, sums::Sums};
use crate::{
    connect::Peer,
    json,
    output::{BAD_NEWS, Column, Output, Tone, clean, count, plural},
    when::{When, minute, to_proto},
};
use anyhow::{Context as _, bail};
use loadline_domain::{Clock as _, time::SystemClock};
use loadline_proto::query::{ExplainUsageRequest, ExplainUsageResponse, UsageDifference, UsageRow};
use std::{fmt::Write as _, process::ExitCode};

/// Asks and prints. The exit code says whether both countings are known to be the same.
///
/// # Errors
/// When query does not answer, or refuses the question.
pub async fn run(args: &UsageArgs, hour: When, output: &Output, peer: &Peer, mut client: Client) -> anyhow::Result<ExitCode> {
    let account = args.account.clone().context("name the account to explain: loadline usage ACCOUNT --explain HOUR")?;
    if !args.by.is_empty() || args.filter().is_some() {
        bail!("--explain shows every row of the hour; leave out --by, --channel, --country and --currency");
    }
    let hour = hour.at(SystemClock.now()).hour().start();
    let question = ExplainUsageRequest { account, hour: Some(to_proto(hour)) };
    let answer = peer.call(client.explain_usage(peer.request(question))).await?;
    if args.json {
        output.json(&json::of("loadline.query.v1.ExplainUsageResponse", &answer)?)?;
    } else {
        output.print(&text(&answer, output))?;
    }
    Ok(if is_equal(&answer) { ExitCode::SUCCESS } else { ExitCode::from(BAD_NEWS) })
}

/// Both countings are known to be the same.
pub fn is_equal(answer: &ExplainUsageResponse) -> bool {
    answer.conclusive && answer.differences.is_empty()
}

/// The whole answer.
pub fn text(answer: &ExplainUsageResponse, output: &Output) -> String {
    let mut text = format!("{}, the hour of {} UTC\n\n", clean(&answer.account), minute(answer.hour.as_ref()));
    text.push_str(&rows("stored", &answer.stored, output));
    text.push_str(&rows("counted again", &answer.recounted, output));
    if !answer.differences.is_empty() {
        text.push_str(&differences(&answer.differences, output));
    }
    for range in &answer.scanned {
        let _ =
            writeln!(text, "read  {} {} to {}", clean(&range.stream), count(range.first_sequence), count(range.last_sequence));
    }
    let met = [plural(answer.duplicates, "duplicate", "duplicates"), plural(answer.dead_letters, "dead letter", "dead letters")];
    let _ = writeln!(text, "met   {} of this hour", met.join(" and "));
    let verdict = match (answer.conclusive, answer.differences.is_empty()) {
        (true, true) => output.paint(Tone::Good, "both countings are the same"),
        (true, false) => output.paint(Tone::Bad, "the countings differ"),
        (false, _) => output.paint(Tone::Warn, "inconclusive"),
    };
    let detail = clean(&answer.detail);
    let _ = writeln!(text, "{verdict}{}{detail}", if detail.is_empty() { "" } else { ": " });
    text
}

fn rows(title: &'static str, rows: &[UsageRow], output: &Output) -> String {
    if rows.is_empty() {
        return format!("{title}: nothing\n\n");
    }
    let mut columns = vec![Column::Left("CHANNEL"), Column::Left("COUNTRY"), Column::Left("CURRENCY")];
    columns.extend(["MESSAGES", "SEGMENTS", "AMOUNT", "DELIVERED", "NOT DELIVERED"].map(Column::Right));
    let cells = rows.iter().map(|row| names(row).into_iter().chain(Sums::of(&row.usage).cells()).collect());
    format!("{title}:\n{}\n", output.table(&columns, cells))
}

fn differences(differences: &[UsageDifference], output: &Output) -> String {
    let mut columns = vec![Column::Left("CHANNEL"), Column::Left("COUNTRY"), Column::Left("CURRENCY")];
    columns.extend(["EVENTS", "MESSAGES", "SEGMENTS", "AMOUNT (MICROS)", "RECEIPTS"].map(Column::Right));
    let cells = differences.iter().map(|difference| {
        let numbers =
            [difference.events, difference.messages, difference.segments, difference.amount_micros, difference.receipts]
                .map(signed);
        names(difference.row.as_ref().unwrap_or(&UsageRow::default())).into_iter().chain(numbers).collect()
    });
    format!("counted again less stored:\n{}\n", output.table(&columns, cells))
}

fn names(row: &UsageRow) -> [String; 3] {
    [channel_name(row.channel), code(&row.country), code(&row.currency)]
}

fn signed(number: i64) -> String {
    if number > 0 { format!("+{}", count(number)) } else { count(number) }
}
