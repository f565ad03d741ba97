//! The table of failure modes in the README is the catalogue's.

use loadline_health::{Catalogue, FailureMode};
use std::fs;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
const BEGIN: &str = "<!-- from services/health/catalogue.toml -->\n";
const END: &str = "<!-- end -->\n";

fn table(modes: &[FailureMode]) -> String {
    let head = "| id | failure mode | severity | contained by, without anyone | remedies | alerts |\n|---|---|---|---|---|---|\n";
    modes.iter().fold(head.to_owned(), |table, mode| table + &row(mode))
}

fn row(mode: &FailureMode) -> String {
    let title = if mode.planned { format!("{} *(planned)*", mode.title) } else { mode.title.clone() };
    let raises = mode.raises.iter().map(|rule| format!("; {} when {}", rule.severity, rule.when));
    let severity = format!("{}{}", mode.severity, raises.collect::<String>());
    let (remedies, alerts) = (mode.remedies.join(", "), mode.alerts.join(", "));
    let cells = [&mode.id, &title, &severity, &mode.containment, &remedies, &alerts].map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

#[test]
fn the_table_in_the_readme_is_the_catalogues() {
    let readme = fs::read_to_string(README).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the table's beginning is marked");
    let (_, after) = rest.split_once(END).expect("the table's end is marked");
    let due = format!("{before}{BEGIN}\n{}\n{END}{after}", table(Catalogue::embedded().modes()));
    // As frames are: accepted on request.
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(README, due).unwrap();
        return;
    }
    assert!(readme == due, "INSTA_UPDATE=always writes it anew");
}

#[test]
fn a_planned_mode_is_shown_as_planned_and_another_is_not() {
    let modes = Catalogue::embedded().modes();
    assert!(modes.iter().any(|mode| mode.planned) && modes.iter().any(|mode| !mode.planned));
    for mode in modes {
        let row = row(mode);
        assert_eq!(row.contains("*(planned)*"), mode.planned, "{row}");
        assert_eq!(row.replace("\\|", "").matches('|').count(), 7, "{row}");
    }
}
