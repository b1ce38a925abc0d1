//! Keeping what drivers write out of a program's standard error.

use std::ffi::OsString;
use std::path::Path;

/// Turns the layer off, in Mesa's own words.
const OFF: &str = "NODEVICE_SELECT";

/// Keeps Mesa from writing errors that are none to standard error. Call it first in `main`.
///
/// Mesa's device-select layer for Vulkan asks the Wayland display which GPU it is on. Where `XDG_RUNTIME_DIR` is not set, as in
/// containers, services and cron jobs, libwayland then writes `error: XDG_RUNTIME_DIR is invalid or not set in the environment`
/// for every device that is opened. The layer can only be turned off by an environment variable, and a program that has threads
/// cannot change its own environment safely. So this starts the program again in the same process (`exec`) with the same arguments
/// and `NODEVICE_SELECT=1`: process id, standard streams and exit code stay the same, and signals reach it as before.
///
/// It does nothing where there is nothing to silence: on Windows and macOS, where `XDG_RUNTIME_DIR` is set, and where
/// `NODEVICE_SELECT`, or a GPU by `MESA_VK_DEVICE_SELECT` or `DRI_PRIME`, was chosen. If the program cannot be started again, the
/// errors are written, and nothing else is different.
///
/// ```no_run
/// fn main() -> Result<(), kiln_gpu::GpuError> {
///     kiln_gpu::quiet_drivers();
///     let device = kiln_gpu::Device::open_default()?;
///     println!("{}", device.info());
///     Ok(())
/// }
/// ```
pub fn quiet_drivers() {
    if cfg!(all(unix, not(target_vendor = "apple"))) && talks(|name| std::env::var_os(name)) {
        restart();
    }
}

/// Whether the layer would write to standard error in this environment.
fn talks(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let absolute = |name| variable(name).is_some_and(|path| Path::new(&path).is_absolute());
    let chosen = [OFF, "MESA_VK_DEVICE_SELECT", "DRI_PRIME"].iter().any(|name| variable(name).is_some());
    // An absolute path of the display's socket needs no folder.
    !(chosen || absolute("XDG_RUNTIME_DIR") || absolute("WAYLAND_DISPLAY"))
}

#[cfg(unix)]
fn restart() {
    use std::os::unix::process::CommandExt;

    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // It returns only where it failed.
    let _ = command.args(arguments).env(OFF, "1").exec();
}

#[cfg(not(unix))]
fn restart() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_restarted_only_where_the_layer_would_talk() {
        let talks_with = |set: &[(&str, &str)]| {
            talks(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)))
        };
        let runtime = if cfg!(windows) { r"C:\run" } else { "/run/user/1000" };
        assert!(talks_with(&[]));
        assert!(talks_with(&[("XDG_RUNTIME_DIR", "")]));
        assert!(talks_with(&[("WAYLAND_DISPLAY", "wayland-1")]));
        assert!(!talks_with(&[("XDG_RUNTIME_DIR", runtime)]));
        assert!(!talks_with(&[("WAYLAND_DISPLAY", runtime)]));
        // The second start: else it would start itself for ever.
        assert!(!talks_with(&[("NODEVICE_SELECT", "1")]));
        assert!(!talks_with(&[("MESA_VK_DEVICE_SELECT", "10de:2204")]));
        assert!(!talks_with(&[("DRI_PRIME", "1")]));
    }
}
