//! Answers as people see them, and what is asked for.

use super::*;
use crate::output::tests::PLAIN;
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: DeadLettersArgs,
}

fn parse(line: &str) -> Result<DeadLettersArgs, clap::Error> {
    Line::try_parse_from(std::iter::once("dead-letters").chain(line.split_whitespace())).map(|line| line.args)
}

fn totals() -> Vec<ReasonCount> {
    let count = |reason: DeadLetterReason, count| ReasonCount { reason: reason.into(), count };
    vec![count(DeadLetterReason::Late, 1_200), count(DeadLetterReason::Invalid, 3), count(DeadLetterReason::Future, 0)]
}

#[test]
fn a_list_has_its_totals_and_says_when_it_is_cut() {
    let letter = DeadLetter {
        id: 5,
        reason: DeadLetterReason::Late.into(),
        detail: "was 60 h old\u{1b}[31m".to_owned(),
        ..DeadLetter::default()
    };
    let answer = ListDeadLettersResponse { dead_letters: vec![letter], next_page_token: "5".to_owned(), totals: totals() };
    let text = list_text(&answer, Standing::Open, &PLAIN);
    assert!(text.contains("open: 1,200 LATE · 3 INVALID\n") && text.contains("raise --limit"), "{text}");
    assert!(text.contains("was 60 h old\u{fffd}[31m"), "{text}");
    assert!(list_text(&ListDeadLettersResponse::default(), Standing::Open, &PLAIN).contains("open: none"));
}

#[test]
fn a_dry_run_says_that_nothing_was_changed() {
    let answer = RedriveResponse { matched: 10, counted: 7, duplicates: 1, dead_again: totals(), dry_run: true };
    let text = redrive_text(&answer, &PLAIN);
    assert!(text.contains("7 would be counted") && text.contains("add --yes"), "{text}");
    let text = redrive_text(&RedriveResponse { dry_run: false, ..answer }, &PLAIN);
    assert!(text.contains("7 were counted") && !text.contains("--yes"), "{text}");
    assert!(discard_text(&DiscardResponse { discarded: 1, dry_run: true }, &PLAIN).contains("1 letter would be given up"));
    assert_eq!(discard_text(&DiscardResponse { discarded: 2, dry_run: false }, &PLAIN), "gave up 2 letters\n");
}

#[test]
fn a_filter_says_what_was_typed() {
    let args = parse("redrive --reason LATE --account acme --from 2026-11-21T10:00:00Z --id 1,2 --accept-late").unwrap();
    let Command::Redrive { filter, accept_late: true, consent, .. } = args.command else { panic!("not a redrive") };
    assert!(!consent.yes);
    let filter = filter.to_proto();
    assert_eq!((filter.reason(), filter.account.as_str(), filter.ids.as_slice()), (DeadLetterReason::Late, "acme", &[1, 2][..]));
    assert_eq!(filter.from.map(|from| from.seconds), Some(1_795_255_200));
    assert_eq!(Filter::default().to_proto(), DeadLetterFilter::default());
    assert!(parse("discard --yes --dry-run --note x").is_err());
    assert!(parse("list --json --ingest 127.0.0.1:1").is_ok_and(|args| args.json && args.address.ingest == "127.0.0.1:1"));
}

#[tokio::test]
async fn discarding_needs_a_filter_and_a_reason_before_anybody_is_asked() {
    for (line, says) in [("discard --yes --note x", "which letters"), ("discard --yes --reason late", "--note")] {
        let error = run(parse(line).unwrap()).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn programs_get_the_contracts_form() {
    for name in ["ListDeadLettersResponse", "DeadLetter", "RedriveResponse", "DiscardResponse"] {
        assert!(json::of(&format!("loadline.ingest.v1.{name}"), &()).is_ok(), "{name}");
    }
}
