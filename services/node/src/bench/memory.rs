//! Memory of this process, as Linux tells it.

/// Most memory ever resident, in MiB; `None` where `/proc` does not tell.
pub fn peak_mib() -> Option<f64> {
    told("VmHWM:")
}

/// Memory resident now, in MiB; `None` where `/proc` does not tell.
pub fn resident_mib() -> Option<f64> {
    told("VmRSS:")
}

fn told(what: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
