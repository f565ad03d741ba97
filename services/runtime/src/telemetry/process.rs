//! The process itself as instruments: which build runs, since when, and how much memory and how many files it holds.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// Registers the process's instruments. Memory and files are read from `/proc`, and absent where there is none.
pub(super) fn observe(meter: &Meter, build: &str) {
    let build = KeyValue::new("build", build.to_owned());
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    meter
        .u64_observable_gauge("loadline_build_info")
        .with_description("1, with the build as a label")
        .with_callback(move |observer| observer.observe(1, std::slice::from_ref(&build)))
        .build();
    meter
        .f64_observable_gauge("process_start_time_seconds")
        .with_description("When the process started, in Unix time")
        .with_callback(move |observer| observer.observe(started, &[]))
        .build();
    meter
        .u64_observable_gauge("process_resident_memory_bytes")
        .with_description("Memory that the process holds in RAM")
        .with_callback(|observer| resident_bytes().into_iter().for_each(|bytes| observer.observe(bytes, &[])))
        .build();
    meter
        .u64_observable_gauge("process_open_fds")
        .with_description("Files and sockets that the process holds open")
        .with_callback(|observer| open_files().into_iter().for_each(|count| observer.observe(count, &[])))
        .build();
}

/// `VmRSS:    12345 kB` of `/proc/self/status`.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn open_files() -> Option<u64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

/// `host:pid`, the process's name among its replicas when none is configured.
pub(super) fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    format!("{host}:{}", std::process::id())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_its_memory_and_files() {
        assert!(resident_bytes().expect("read") > 100 * 1024);
        assert!(open_files().expect("read") >= 3);
    }
}
