//! Whether a contract suite runs every behaviour that was written. Crates below the harness include this file by its path.

use std::{fs, path::Path};

/// Fails unless `listed` (`module::name`) is what the files of the crate's `src/contract` have as
/// `pub async fn name(subject: &Subject)`.
///
/// # Panics
/// Where they differ, or nothing was written.
#[allow(dead_code)] // where the contract is a file
pub fn assert_listed(folder_of_crate: &str, listed: &[&str]) {
    let mut written = Vec::new();
    for file in fs::read_dir(Path::new(folder_of_crate).join("src/contract")).expect("a crate with a contract") {
        written.extend(behaviours(&file.expect("a file of the contract").path()));
    }
    assert_same(written, listed);
}

/// The same for a contract of one file.
///
/// # Panics
/// As [`assert_listed`].
#[allow(dead_code)] // where the contract is a folder
pub fn assert_file_listed(file: &str, listed: &[&str]) {
    assert_same(behaviours(Path::new(file)), listed);
}

/// Those of a file, as `module::name`.
fn behaviours(path: &Path) -> Vec<String> {
    let module = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
    let text = fs::read_to_string(path).expect("Rust is text");
    let name = |line: &str| line.strip_prefix("pub async fn ")?.strip_suffix("(subject: &Subject) {").map(str::to_owned);
    text.lines().filter_map(name).map(|name| format!("{module}::{name}")).collect()
}

fn assert_same(mut written: Vec<String>, listed: &[&str]) {
    let mut listed: Vec<_> = listed.iter().map(ToString::to_string).collect();
    written.sort();
    listed.sort();
    assert!(!written.is_empty(), "no behaviour is written");
    assert_eq!(written, listed);
}
