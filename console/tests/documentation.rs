//! What is written about the keys is what the keys are.

use loadline_console::action::{KeyMap, markdown};
use std::fs;

#[test]
fn the_readme_lists_the_keys_there_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once("<!-- keys -->\n").unwrap();
    let (listed, after) = rest.split_once("<!-- /keys -->").unwrap();
    let due = markdown(&KeyMap::default());
    // As frames are: accepted on request.
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(path, format!("{before}<!-- keys -->\n{due}<!-- /keys -->{after}")).unwrap();
        return;
    }
    assert_eq!(listed, due, "INSTA_UPDATE=always writes it anew");
}

#[test]
fn keys_bound_anew_are_in_the_table_and_the_old_ones_are_not() {
    let table = markdown(&KeyMap::with("freeze = [\"Ctrl-e\"]").unwrap());
    let row = table.lines().find(|line| line.contains("`freeze`")).unwrap();
    assert!(row.starts_with("| `Ctrl-e` | `freeze`"), "{row}");
    assert!(table.contains("| `v` | `replay`"), "{table}");
}
