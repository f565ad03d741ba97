//! What a process that looks at a model may use.

use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits of one check. The kernel keeps the first three, whatever the file does to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time on a processor, in whole seconds.
    pub cpu_seconds: u64,
    /// Address space in bytes. The program itself and its threads' stacks need some of it.
    pub memory_bytes: u64,
    /// Files it may have open: three are its own.
    pub open_files: u64,
    /// Time until its parent stops it.
    pub wall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu_seconds: 20, memory_bytes: 2 << 30, open_files: 16, wall: Duration::from_secs(60) }
    }
}

impl Limits {
    /// Sets them for this process, for good: it cannot raise them again. It leaves no core file and writes no file.
    pub(super) fn keep(&self) -> nix::Result<()> {
        let set = |resource, limit| setrlimit(resource, limit, limit);
        set(Resource::RLIMIT_CORE, 0)?;
        set(Resource::RLIMIT_FSIZE, 0)?;
        set(Resource::RLIMIT_NOFILE, self.open_files)?;
        set(Resource::RLIMIT_CPU, self.cpu_seconds)?;
        set(Resource::RLIMIT_AS, self.memory_bytes)
    }
}
