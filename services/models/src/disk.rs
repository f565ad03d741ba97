//! Files that are whole and on disk when a write returns, or not there.
//!
//! A name appears only with its whole content behind it: bytes are written beside it, synced, and then given the name; the
//! folder is synced too, or a power cut takes the name away again.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// How names of files begin that are not finished, or never will be.
const STAGED: &str = ".new-";

/// The disk, a step at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub steps: steps::Steps,
}

impl Disk {
    /// Makes a folder and those above it.
    pub fn folder(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        self.step()?;
        fs::create_dir_all(path)?;
        // Folders made on the way are entries of their own parents; more than three are never made here.
        path.ancestors().skip(1).take(3).try_for_each(|above| self.sync(above))
    }

    /// Gives a file this content, whatever it had.
    pub fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let staged = self.stage(path, content)?;
        self.step().and_then(|()| fs::rename(&staged, path)).inspect_err(|_| self.discard(&staged))?;
        self.sync(above(path))
    }

    /// Makes a file, unless there is one: `false`, and nothing is changed.
    pub fn create(&self, path: &Path, content: &[u8]) -> io::Result<bool> {
        let staged = self.stage(path, content)?;
        let linked = match self.step().and_then(|()| fs::hard_link(&staged, path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        };
        self.discard(&staged);
        let linked = linked?;
        // Also when somebody else made it: what is built on its being there must not outlive it.
        self.sync(above(path))?;
        Ok(linked)
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| self.sync(above(path))),
        }
    }

    /// Whether something can be written in a folder now.
    pub fn probe(&self, folder: &Path) -> io::Result<()> {
        let staged = folder.join(staged_name());
        let written = File::create_new(&staged).and_then(|mut file| file.write_all(b"probe"));
        written.and(fs::remove_file(&staged))
    }

    /// Removes what was begun in a folder before `older_than` and never finished. Returns how many files went.
    pub fn tidy(&self, folder: &Path, older_than: SystemTime) -> io::Result<u64> {
        let mut removed = 0;
        for entry in entries(folder)? {
            if is_staged(&entry.file_name()) && begun(&entry)?.is_some_and(|begun| begun < older_than) {
                self.remove(&entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Writes content beside a path, under a name of its own.
    fn stage(&self, path: &Path, content: &[u8]) -> io::Result<PathBuf> {
        let staged = path.with_file_name(staged_name());
        let write = || {
            let mut file = File::create_new(&staged)?;
            #[cfg(test)]
            self.steps.tear(&mut file, content)?;
            self.step()?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().inspect_err(|_| self.discard(&staged))?;
        Ok(staged)
    }

    /// What is left over is only in the way, and [`Disk::tidy`] finds it.
    fn discard(&self, staged: &Path) {
        if self.step().is_ok() {
            let _ = fs::remove_file(staged);
        }
    }

    fn sync(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()
    }

    /// Where a test may end everything.
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        self.steps.take()?;
        Ok(())
    }
}

fn above(path: &Path) -> &Path {
    path.parent().expect("a file is in a folder")
}

fn staged_name() -> String {
    format!("{STAGED}{}", uuid::Uuid::now_v7().simple())
}

fn is_staged(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(STAGED.as_bytes())
}

/// What is in a folder and has its final name; nothing, when there is no folder.
pub(crate) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let named = entries(folder)?.into_iter().map(|entry| entry.file_name()).filter(|name| !is_staged(name));
    // Names that are no text are none of ours.
    Ok(named.filter_map(|name| name.into_string().ok()).collect())
}

/// When a file was begun; `None` when somebody finished it since its folder was listed.
fn begun(entry: &fs::DirEntry) -> io::Result<Option<SystemTime>> {
    match entry.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        metadata => metadata?.modified().map(Some),
    }
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.collect(),
    }
}

/// A file's content; `None` when there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        content => content.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_finishes_while_it_is_listed_is_not_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{STAGED}1"));
        fs::write(&path, b"half").unwrap();
        let listed = entries(folder.path()).unwrap();
        assert!(begun(&listed[0]).unwrap().is_some());
        fs::remove_file(&path).unwrap();
        assert_eq!(begun(&listed[0]).unwrap(), None);
    }

    #[test]
    fn a_folder_is_tidied_while_others_write_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, folder) = (Disk::default(), folder.path());
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for _ in 0..300 {
                    disk.create(&folder.join("whole"), b"whole").unwrap();
                }
            });
            while !writing.is_finished() {
                assert_eq!(disk.tidy(folder, SystemTime::UNIX_EPOCH).unwrap(), 0);
            }
        });
        assert_eq!(names(folder).unwrap(), ["whole"]);
    }
}

/// Ends at a step, as a kill or a full disk would: that step is not done, or is half done, and none after it.
#[cfg(test)]
pub(crate) mod steps {
    use std::{
        fs::File,
        io::{self, Write as _},
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    #[derive(Debug, Clone, Default)]
    pub struct Steps(Arc<Counts>);

    #[derive(Debug, Default)]
    struct Counts {
        taken: AtomicU64,
        /// One more than may be taken; 0: any number.
        end: AtomicU64,
    }

    impl Steps {
        /// No more than so many steps from now.
        pub fn end_after(&self, steps: u64) {
            self.0.taken.store(0, Ordering::SeqCst);
            self.0.end.store(steps + 1, Ordering::SeqCst);
        }

        /// Every step is taken again.
        pub fn go_on(&self) {
            self.0.end.store(0, Ordering::SeqCst);
            self.0.taken.store(0, Ordering::SeqCst);
        }

        /// How many were taken.
        pub fn taken(&self) -> u64 {
            self.0.taken.load(Ordering::SeqCst)
        }

        pub(super) fn take(&self) -> io::Result<()> {
            let (taken, end) = (self.0.taken.fetch_add(1, Ordering::SeqCst) + 1, self.0.end.load(Ordering::SeqCst));
            if end > 0 && taken >= end { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        /// When the next step is the last, half of what it writes gets there.
        pub(super) fn tear(&self, file: &mut File, content: &[u8]) -> io::Result<()> {
            let (taken, end) = (self.taken(), self.0.end.load(Ordering::SeqCst));
            if end > 0 && taken + 1 >= end { file.write_all(&content[..content.len() / 2]) } else { Ok(()) }
        }
    }
}
