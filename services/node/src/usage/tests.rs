//! Answers as people and programs see them.

use super::{completeness, delivery, explain, hourly, top};
use crate::{
    json,
    output::{BAD_NEWS, tests::PLAIN},
};
use clap::Parser;
use loadline_proto::{
    common::{StreamProgress, StreamRange},
    query::{
        AccountUsage, Completeness, DeliveryRow, ExplainUsageResponse, GetDeliveryResponse, GetUsageResponse,
        ListTopAccountsResponse, Part, Period, ReceiptCounts, StreamAsOf, UsageDifference, UsageRow, UsageTotals, part::Origin,
        period::State,
    },
};
use prost_types::{Duration, Timestamp};
use std::process::ExitCode;

const HOUR: i64 = 1_795_255_200;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    usage: super::UsageArgs,
}

fn args(flags: &str) -> super::UsageArgs {
    Command::parse_from(std::iter::once("usage").chain(flags.split_whitespace())).usage
}

fn at(hours: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: HOUR + hours * 3_600, nanos: 0 })
}

fn row(hours: i64, channel: i32, currency: &str, messages: u64, amount_micros: i64, delivered: u64) -> UsageRow {
    let receipts = Some(ReceiptCounts { delivered, failed: delivered / 10, ..ReceiptCounts::default() });
    let usage = UsageTotals {
        currency: currency.to_owned(),
        events: messages,
        messages,
        segments: messages * 2,
        amount_micros,
        receipts,
    };
    UsageRow { hour: at(hours), channel, country: String::new(), currency: currency.to_owned(), usage: Some(usage) }
}

fn period(from: i64, to: i64, state: State) -> Period {
    Period { from: at(from), to: at(to), state: state.into() }
}

fn rests_on() -> Completeness {
    let progress =
        StreamProgress { stream: "BILLING".to_owned(), applied: 1_234, applied_at: at(2), ..StreamProgress::default() };
    let behind = StreamAsOf { progress: Some(progress), lag: Some(Duration { seconds: 4, nanos: 0 }) };
    let unknown = StreamProgress { stream: "DLR\u{1b}[2J".to_owned(), ..StreamProgress::default() };
    Completeness { streams: vec![behind, StreamAsOf { progress: Some(unknown), lag: None }], ..Completeness::default() }
}

fn answer() -> GetUsageResponse {
    let rows = vec![
        row(0, 1, "EUR", 1_000, 7_500_000, 0),
        row(0, 1, "USD", 10, 500_000, 0),
        row(0, 1, "", 0, 0, 950),
        row(1, 4, "EUR", 5, 1, 0),
    ];
    let totals = ["EUR", "USD", ""].map(|currency| {
        let of: Vec<_> = rows.iter().filter(|row| row.currency == currency).filter_map(|row| row.usage.clone()).collect();
        let sums = super::sums::Sums::of(&of);
        let amount_micros = sums.amounts.get(currency).copied().unwrap_or_default();
        let (messages, segments, receipts) = (sums.messages, sums.segments, Some(sums.receipts));
        UsageTotals { currency: currency.to_owned(), events: messages, messages, segments, amount_micros, receipts }
    });
    let periods = vec![period(0, 1, State::Final), period(1, 2, State::Provisional), period(2, 3, State::Pending)];
    GetUsageResponse { account: "acme".to_owned(), rows, totals: totals.to_vec(), periods, completeness: Some(rests_on()) }
}

fn lines_with<'a>(text: &'a str, part: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(part)).collect()
}

#[test]
fn an_hour_is_one_line_and_its_currencies_are_not_added() {
    let text = hourly::text(&answer(), &args("acme"), &PLAIN);
    let hour = lines_with(&text, "2026-11-21 10:00  ")[0];
    for part in ["1,010", "2,020", "7.50 EUR · 0.50 USD", "950", "95", "final"] {
        assert!(hour.contains(part), "{part} in {hour}");
    }
    assert_eq!(lines_with(&text, "0.000001 EUR").len(), 1);
    assert!(lines_with(&text, "total")[0].contains("7.500001 EUR · 0.50 USD"), "{text}");
}

#[test]
fn an_hour_that_comes_twice_is_told_apart_by_its_offset() {
    let args = args("acme --zone Europe/Berlin");
    // 2026-10-25, when Berlin went from +02:00 to +01:00 at one o'clock UTC.
    let shown: Vec<_> = (-1..3).map(|hour| args.shown(1_792_886_400 + hour * 3_600)).collect();
    let expected = ["2026-10-25 01:00", "2026-10-25 02:00 +02:00", "2026-10-25 02:00 +01:00", "2026-10-25 03:00"];
    assert_eq!(shown, expected);
}

#[test]
fn a_day_is_no_surer_than_its_least_sure_hour() {
    let text = hourly::text(&answer(), &args("acme --per day"), &PLAIN);
    assert!(text.contains("DAY ") && lines_with(&text, "2026-11-21  ").iter().all(|line| line.contains("pending")), "{text}");
    let berlin = hourly::text(&answer(), &args("acme --zone Europe/Berlin"), &PLAIN);
    assert!(berlin.contains("of Europe/Berlin") && lines_with(&berlin, "2026-11-21 11:00  ")[0].contains("final"), "{berlin}");
}

#[test]
fn groups_are_kept_apart_and_totals_leave_the_hours_out() {
    let text = hourly::text(&answer(), &args("acme --by channel,currency --total"), &PLAIN);
    assert!(text.contains("CHANNEL   CURRENCY") && !text.contains("HOUR (UTC)"), "{text}");
    assert_eq!(lines_with(&text, "sms ").len(), 3, "{text}");
    assert_eq!(lines_with(&text, "whatsapp ").len(), 1);
}

#[test]
fn not_counted_yet_is_not_zero() {
    let mut answer = answer();
    answer.rows.clear();
    assert!(
        hourly::text(&answer, &args("acme"), &PLAIN)
            .contains("no usage in the hours that are counted; the others are not counted yet")
    );
    answer.periods = vec![period(0, 3, State::Pending)];
    let text = hourly::text(&answer, &args("acme"), &PLAIN);
    assert!(text.contains("\n\nnot counted yet, or missing\n") && !text.contains("no usage"), "{text}");
    answer.periods = vec![period(0, 3, State::Final)];
    assert!(hourly::text(&answer, &args("acme"), &PLAIN).contains("\n\nno usage\n"));
}

#[test]
fn the_answer_says_what_it_rests_on() {
    let mut rests_on = rests_on();
    (rests_on.dead_letters, rests_on.lost) = (12, 1);
    let text = completeness::text(&answer().periods, Some(&rests_on), "acme", &PLAIN);
    assert!(text.contains("BILLING: read to 1,234 of 2026-11-21 12:00:00, 4.0 s behind"), "{text}");
    assert!(text.contains("nothing read yet, how far behind is not known"), "{text}");
    assert!(text.contains("12 open ones could change this"), "{text}");
    assert!(text.contains("1 record may have belonged here"), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert!(completeness::text(&[], None, "", &PLAIN).contains("does not say"));
}

#[test]
fn a_rate_without_receipts_is_absent() {
    let row = |channel| DeliveryRow { channel, messages: 10, ..DeliveryRow::default() };
    let mut heard = row(1);
    heard.receipts = Some(ReceiptCounts { delivered: 9, expired: 1, ..ReceiptCounts::default() });
    (heard.delivery_rate, heard.maturity) = (Some(0.9), Some(1.0));
    let answer = GetDeliveryResponse { rows: vec![heard, row(2)], total: Some(row(0)), ..GetDeliveryResponse::default() };
    let text = delivery::text(&answer, &[super::By::Channel], &PLAIN);
    assert!(lines_with(&text, "sms")[0].contains("90.00 %  100.00 %"), "{text}");
    assert!(lines_with(&text, "mms")[0].contains("–") && !lines_with(&text, "mms")[0].contains('%'), "{text}");
}

#[test]
fn ranks_are_shown_in_order() {
    let account = |name: &str| AccountUsage { account: name.to_owned(), totals: vec![] };
    let accounts = vec![account("zeta"), account("al\u{7}pha")];
    let text = top::text(&ListTopAccountsResponse { accounts, completeness: Some(rests_on()) }, &PLAIN);
    assert!(lines_with(&text, "1  zeta").len() == 1 && lines_with(&text, "2  al\u{fffd}pha").len() == 1, "{text}");
}

#[test]
fn what_history_does_not_answer_is_said_before_the_numbers() {
    let mut rests_on = rests_on();
    assert_eq!(completeness::exit(Some(&rests_on)), ExitCode::SUCCESS);
    let mut part = Part { from: at(0), to: at(2), missing: "history cannot be reached".to_owned(), ..Part::default() };
    part.set_origin(Origin::History);
    rests_on.parts.push(part);
    assert_eq!(completeness::exit(Some(&rests_on)), ExitCode::from(BAD_NEWS));
    let mut answer = GetUsageResponse { completeness: Some(rests_on.clone()), ..answer() };
    let begins = |text: &str, body: &str| text.contains(&format!("missing, see below: sums are too small\n\n{body}"));
    let text = hourly::text(&answer, &args("acme --total"), &PLAIN);
    assert!(begins(&text, "MESSAGES") && text.contains("missing       history, "), "{text}");
    answer.rows.clear();
    answer.periods = vec![period(0, 2, State::Pending), period(2, 3, State::Final)];
    let text = hourly::text(&answer, &args("acme"), &PLAIN);
    assert!(begins(&text, "no usage in the hours that are counted; the others are not counted yet, or missing"), "{text}");
    let accounts = vec![AccountUsage { account: "acme".to_owned(), totals: vec![] }];
    let text = top::text(&ListTopAccountsResponse { accounts, completeness: Some(rests_on.clone()) }, &PLAIN);
    assert!(text.contains("sums are too small, and the order may be another\n\n#  ACCOUNT"), "{text}");
    let text = delivery::text(&GetDeliveryResponse { completeness: Some(rests_on), ..Default::default() }, &[], &PLAIN);
    assert!(text.contains("missing, see below: sums are too small"), "{text}");
}

#[test]
fn a_difference_and_doubt_are_bad_news() {
    let range = StreamRange { stream: "BILLING".to_owned(), first_sequence: 1, last_sequence: 9, ..StreamRange::default() };
    let mut answer = ExplainUsageResponse {
        account: "acme".to_owned(),
        hour: at(0),
        conclusive: true,
        scanned: vec![range],
        ..Default::default()
    };
    assert!(explain::is_equal(&answer) && explain::text(&answer, &PLAIN).contains("both countings are the same"));
    answer.differences.push(UsageDifference {
        row: Some(row(0, 1, "EUR", 1, 1, 0)),
        events: -1,
        messages: 2,
        ..Default::default()
    });
    let text = explain::text(&answer, &PLAIN);
    assert!(!explain::is_equal(&answer) && text.contains("the countings differ") && text.contains("+2"), "{text}");
    (answer.conclusive, answer.detail) = (false, "the log starts later".to_owned());
    answer.differences.clear();
    assert!(!explain::is_equal(&answer) && explain::text(&answer, &PLAIN).contains("inconclusive: the log starts later"));
}

#[test]
fn programs_get_every_number() {
    let value = json::of("loadline.query.v1.GetUsageResponse", &answer()).unwrap();
    assert_eq!(value["rows"][0]["usage"]["amount_micros"], 7_500_000);
    assert_eq!(value["periods"][2]["state"], "STATE_PENDING");
    assert_eq!(value["completeness"]["streams"][0]["progress"]["applied"], 1_234);
    assert_eq!(value["completeness"]["lost"], 0);
    for name in ["GetDeliveryResponse", "ListTopAccountsResponse", "ExplainUsageResponse"] {
        assert!(json::of(&format!("loadline.query.v1.{name}"), &()).is_ok(), "{name}");
    }
}

#[test]
fn a_question_carries_its_filter_and_range() {
    let question =
        args("acme --from 2026-11-21T10:00:00Z --to 2026-11-21T12:00:00Z --by country --channel sms,RCS --country de").question();
    assert_eq!((question.from, question.to), (at(0), at(2)));
    let filter = question.filter.unwrap();
    assert_eq!((filter.channels, filter.countries), (vec![1, 3], vec!["DE".to_owned()]));
    assert_eq!(args("acme").question().filter, None);
}

#[test]
fn contradictory_options_are_refused() {
    for flags in [
        "acme --top 5",
        "acme --delivery --watch",
        "acme --explain 1h --watch",
        "acme --order-by amount",
        "acme --channel fax",
        "--top 0",
    ] {
        let parsed = Command::try_parse_from(std::iter::once("usage").chain(flags.split_whitespace()));
        assert!(parsed.is_err(), "{flags}");
    }
}
