//! Where to go on after an interruption: `FILE.loadline-checkpoint` beside the file.
//!
//! It holds how far every line is settled and a hash of the head of the file. Going on from too early is harmless, since
//! duplicates count once; so whenever it does not fit the file, it is as if there were none.

use super::{lines::Position, report::Tally};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

/// How much of the head of a file is hashed at most.
const HEAD_BYTES: u64 = 64 * 1024;
const VERSION: u32 = 1;

/// How far a file was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    version: u32,
    /// Every line before it is settled.
    pub position: Position,
    /// Hash of the head of the file, up to the position.
    head: String,
    /// What became of those lines.
    pub tally: Tally,
}

/// Where a file's checkpoint is kept.
pub fn path_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".loadline-checkpoint");
    name.into()
}

impl Checkpoint {
    /// Settled so far.
    ///
    /// # Errors
    /// Those of reading the file's head.
    pub fn new(file: &Path, position: Position, tally: Tally) -> io::Result<Self> {
        Ok(Self { version: VERSION, position, head: head(&mut File::open(file)?, position)?, tally })
    }

    /// The checkpoint of a file, when there is one that fits it: same head, long enough, and its position at the start of a
    /// line. `Err` tells in words why the one that is there is not used.
    pub fn find(file: &Path) -> Result<Option<Self>, String> {
        let text = match fs::read_to_string(path_of(file)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("it cannot be read: {error}")),
        };
        let checkpoint: Self = serde_json::from_str(&text).map_err(|error| format!("it is damaged: {error}"))?;
        if checkpoint.version != VERSION {
            return Err(format!("it has version {}, this program writes {VERSION}", checkpoint.version));
        }
        match checkpoint.fits(file) {
            Ok(true) => Ok(Some(checkpoint)),
            Ok(false) => Err("the file is another one, or was changed".to_owned()),
            Err(error) => Err(format!("the file cannot be read: {error}")),
        }
    }

    /// Puts it beside the file, whole or not at all.
    ///
    /// # Errors
    /// Those of the folder.
    pub fn save(&self, file: &Path) -> io::Result<()> {
        let path = path_of(file);
        let mut fresh = OsString::from(&path);
        fresh.push(".new");
        fs::write(&fresh, serde_json::to_vec(self)?)?;
        fs::rename(&fresh, path)
    }

    /// Removes a file's checkpoint; there may be none.
    ///
    /// # Errors
    /// Those of the folder.
    pub fn remove(file: &Path) -> io::Result<()> {
        match fs::remove_file(path_of(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn fits(&self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(length >= self.position.bytes
            && head(&mut file, self.position)? == self.head
            && (length == self.position.bytes || starts_a_line(&mut file, self.position.bytes)?))
    }
}

fn head(file: &mut File, position: Position) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(position.bytes.min(HEAD_BYTES)).read_to_end(&mut bytes)?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

fn starts_a_line(file: &mut File, at: u64) -> io::Result<bool> {
    let Some(before) = at.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.seek(SeekFrom::Start(before))?;
    file.read_exact(&mut byte)?;
    Ok(byte == [b'\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER_TWO: Position = Position { bytes: 8, lines: 2 };

    fn published(content: &str) -> (tempfile::TempDir, PathBuf, Checkpoint) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.ndjson");
        fs::write(&file, content).unwrap();
        let tally = Tally { accepted: 2, ..Tally::default() };
        let checkpoint = Checkpoint::new(&file, AFTER_TWO, tally).unwrap();
        checkpoint.save(&file).unwrap();
        (folder, file, checkpoint)
    }

    #[test]
    fn it_is_found_again_also_when_the_file_has_grown() {
        let (_folder, file, checkpoint) = published("one\ntwo\n");
        assert_eq!(Checkpoint::find(&file), Ok(Some(checkpoint.clone())));
        fs::write(&file, "one\ntwo\nthree\n").unwrap();
        assert_eq!(Checkpoint::find(&file), Ok(Some(checkpoint)));
    }

    #[test]
    fn it_is_not_used_for_another_file() {
        let (_folder, file, _) = published("one\ntwo\nthree\n");
        for other in ["eins\nzwei\n", "one\n", "", "one\ntwO\nthree\n"] {
            fs::write(&file, other).unwrap();
            assert!(Checkpoint::find(&file).unwrap_err().contains("another one"), "{other:?}");
        }
    }

    #[test]
    fn it_is_not_used_when_its_place_is_inside_a_line_by_now() {
        let (_folder, file, _) = published("one\ntwo!");
        assert!(Checkpoint::find(&file).unwrap().is_some());
        fs::write(&file, "one\ntwo! and more\n").unwrap();
        assert!(Checkpoint::find(&file).is_err());
    }

    #[test]
    fn a_damaged_one_is_told_and_none_is_none() {
        let (_folder, file, _) = published("one\ntwo\n");
        fs::write(path_of(&file), "{").unwrap();
        assert!(Checkpoint::find(&file).unwrap_err().contains("damaged"));
        Checkpoint::remove(&file).unwrap();
        Checkpoint::remove(&file).unwrap();
        assert_eq!(Checkpoint::find(&file), Ok(None));
    }
}
