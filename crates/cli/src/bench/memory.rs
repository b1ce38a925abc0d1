//! The process's peak memory.

/// The most memory that this process has held, in bytes; `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn resident_bytes_peak() -> Option<u64> {
    high_water_mark(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The field that proc(5) calls the peak resident set size. `getrusage` would give the parent's from before the exec.
#[cfg(target_os = "linux")]
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The most memory that this process has held, in bytes; `None` where the system does not tell.
#[cfg(target_os = "macos")]
pub(super) fn resident_bytes_peak() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    u64::try_from(getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss()).ok()
}

/// The most memory that this process has held, in bytes; `None` where the system does not tell.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(super) fn resident_bytes_peak() -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_status() {
        let status = "Name:\tkiln\nVmPeak:\t  900 kB\nVmHWM:\t   1536 kB\nVmRSS:\t 12 kB\n";
        assert_eq!(high_water_mark(status), Some(1536 * 1024));
        assert_eq!(high_water_mark("VmRSS:\t 12 kB\n"), None);
        assert!(resident_bytes_peak().is_some_and(|bytes| bytes > 1 << 20));
    }
}
