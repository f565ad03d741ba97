//! Which build a program is: its version, and the commit that it was made from.

use std::sync::OnceLock;

#[doc(hidden)]
pub use git_version::git_version;

/// Version of the package and commit, such as `0.1.0+1a2b3c4d5e`, with `-dirty` behind it where something was changed since.
///
/// For a program's `main`, and nothing else: another commit then makes mains anew, and nothing that they are made of. Whoever
/// packages a program may name the build in `LOADLINE_BUILD`; without that and without git the commit is `unknown`.
#[macro_export]
macro_rules! build {
    () => {
        $crate::build::named(
            env!("CARGO_PKG_VERSION"),
            match option_env!("LOADLINE_BUILD") {
                Some(build) if !build.is_empty() => build,
                _ => $crate::build::git_version!(args = ["--always", "--dirty=-dirty", "--abbrev=10"], fallback = "unknown"),
            },
        )
    };
}

/// The build of this process: what was said first.
#[doc(hidden)]
pub fn named(version: &str, commit: &str) -> &'static str {
    static BUILD: OnceLock<String> = OnceLock::new();
    BUILD.get_or_init(|| format!("{version}+{commit}"))
}
