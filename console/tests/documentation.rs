//! What is written about the keys is what the keys are.

use loadline_console::action::markdown;
use std::fs;

#[test]
fn the_readme_lists_the_keys_there_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once("<!-- keys -->\n").unwrap();
    let (listed, after) = rest.split_once("<!-- /keys -->").unwrap();
    let due = markdown();
    // As frames are: accepted on request.
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(path, format!("{before}<!-- keys -->\n{due}<!-- /keys -->{after}")).unwrap();
        return;
    }
    assert_eq!(listed, due, "INSTA_UPDATE=always writes it anew");
}
