//! Records the contracts of a release: what later builds must stay compatible with. Run when a release is made.
//!
//! ```text
//! cargo run -p loadline-tests --example record_contracts
//! ```

use anyhow::{Result, ensure};
use loadline_tests::compatibility::breaks;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use std::{fs, path::Path};

fn main() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/contracts.bin");
    let mut now = FileDescriptorSet::decode(loadline_proto::DESCRIPTORS)?;
    // Comments and positions are no part of a contract.
    now.file.iter_mut().for_each(|file| file.source_code_info = None);
    if let Ok(recorded) = fs::read(&path) {
        let broken = breaks(&FileDescriptorSet::decode(&recorded[..])?, &now);
        ensure!(broken.is_empty(), "these contracts break the last release's:\n{}", broken.join("\n"));
    }
    fs::write(&path, now.encode_to_vec())?;
    println!("{}: {} files", path.display(), now.file.len());
    Ok(())
}
