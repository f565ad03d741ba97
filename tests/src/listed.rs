//! Whether a contract suite runs every behaviour that was written. Crates below the harness include this file by its path.

use std::{fs, path::Path};

/// Fails unless `listed` (`module::name`) is what the files of the crate's `src/contract` have as
/// `pub async fn name(subject: &Subject)`.
///
/// # Panics
/// Where they differ, or nothing was written.
pub fn assert_listed(folder_of_crate: &str, listed: &[&str]) {
    let mut written = Vec::new();
    for file in fs::read_dir(Path::new(folder_of_crate).join("src/contract")).expect("a crate with a contract") {
        let path = file.expect("a file of the contract").path();
        let module = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        for line in fs::read_to_string(&path).expect("Rust is text").lines() {
            let name = line.strip_prefix("pub async fn ").and_then(|rest| rest.strip_suffix("(subject: &Subject) {"));
            written.extend(name.map(|name| format!("{module}::{name}")));
        }
    }
    let mut listed: Vec<_> = listed.iter().map(ToString::to_string).collect();
    written.sort();
    listed.sort();
    assert!(!written.is_empty(), "no behaviour is written");
    assert_eq!(written, listed);
}
