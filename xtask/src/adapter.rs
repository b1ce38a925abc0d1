//! Sees to it that there is a GPU adapter to run on.
//!
//! In two halves. Before the long build, [`prepare`] looks for a Vulkan driver where the loader would, and installs Mesa's
//! software driver where there is none at all: a question for a password or a failure comes at the start, not minutes
//! later. After the build, [`check`] asks the `kiln` program itself, whose word is final: drivers may be installed for
//! cards that the machine does not have. A machine on which `kiln` finds an adapter gets nothing installed by it.
//! Only Linux ever gets packages: macOS comes with Metal, Windows with DX12 and its software adapter WARP.

use crate::install::Installation;
use crate::search::{Search, json_strings};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Whether something was installed already, so that it is not tried twice.
#[must_use]
pub(crate) struct Prepared {
    installed: bool,
}

/// Installs a software driver if this is a Linux machine without any Vulkan driver.
///
/// Where it cannot be installed this only says so: the search may have missed a driver in an unusual place, which
/// [`check`] will know.
pub(crate) fn prepare() -> Result<Prepared> {
    if !may_install() {
        return Ok(Prepared { installed: false });
    }
    let Some(missing) = Search::system().missing() else { return Ok(Prepared { installed: false }) };
    eprintln!("No Vulkan driver was found: {missing}.");
    match Installation::find() {
        Ok(installation) => installation.run().map(|()| Prepared { installed: true }),
        Err(why) => {
            eprintln!("{why}.\nGoing on, in case there is a driver in an unusual place.");
            Ok(Prepared { installed: false })
        }
    }
}

/// Asks the built program for adapters; if it sees none, installs the software driver and asks again.
pub(crate) fn check(kiln: &Path, prepared: &Prepared) -> Result<()> {
    let mut seen = ask(kiln)?;
    if seen.adapters.is_empty() && !prepared.installed && may_install() {
        eprintln!("There are Vulkan drivers on this machine, but none of them offers an adapter.");
        Installation::find()?.run()?;
        seen = ask(kiln)?;
    }
    match seen.adapters.as_slice() {
        // There are adapters, and KILN_BACKEND or KILN_ADAPTER asks for another one.
        [_, ..] if seen.failed => bail!("{}", seen.complaint),
        [] => bail!("{}", no_adapter(&seen.complaint, std::env::consts::OS)),
        [only] => eprintln!("Adapter: {only}"),
        all => eprintln!("Adapters: {}", all.join(", ")),
    }
    Ok(())
}

/// A new driver helps only where Vulkan is used, and where the loader is free to find it.
fn may_install() -> bool {
    cfg!(target_os = "linux") && backend().is_none_or(|name| is_vulkan(&name)) && !Search::system().is_forced()
}

/// The backend that the environment asks for.
fn backend() -> Option<String> {
    std::env::var("KILN_BACKEND").ok().filter(|name| !name.trim().is_empty())
}

fn is_vulkan(backend: &str) -> bool {
    matches!(backend.trim().to_ascii_lowercase().as_str(), "vulkan" | "vk")
}

/// What `kiln devices --json` said.
struct Seen {
    adapters: Vec<String>,
    failed: bool,
    complaint: String,
}

fn ask(kiln: &Path) -> Result<Seen> {
    let out = Command::new(kiln)
        .args(["devices", "--json"])
        .output()
        .with_context(|| format!("cannot start {}", kiln.display()))?;
    let mut complaint = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    if !out.status.success() && complaint.is_empty() {
        complaint = format!("`kiln devices` ended with {}", out.status);
    }
    // Where the one that is asked for is not there, it lists the others before it fails.
    let adapters = names(&String::from_utf8_lossy(&out.stdout));
    Ok(Seen { adapters, failed: !out.status.success(), complaint })
}

/// The program prints a JSON array with an object per adapter, each with its `name`; an empty array if there is none.
fn names(json: &str) -> Vec<String> {
    json_strings(json, "name")
}

fn no_adapter(complaint: &str, os: &str) -> String {
    let advice = match os {
        "macos" => "Kiln needs a Mac with Metal; in a virtual machine, one that passes the GPU through",
        "windows" => {
            "Kiln needs DX12: update Windows or the graphics driver, or check that WARP (d3d10warp.dll) is there"
        }
        _ => {
            "Install a Vulkan driver for the GPU, or Mesa's software driver lavapipe; if VK_DRIVER_FILES, \
             VK_ICD_FILENAMES or KILN_BACKEND is set, unset it; `vulkaninfo --summary` shows what the loader sees"
        }
    };
    let said = if complaint.is_empty() { String::new() } else { format!("\n`kiln devices` said: {complaint}") };
    format!("no GPU adapter on this machine. {advice}.{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_read_by_name() {
        let json = r#"[{"index": 0, "name": "llvmpipe (LLVM 15.0.6, 256 bits)", "backend": "vulkan"},
            {"index": 1, "name":"NVIDIA T4"}]"#;
        assert_eq!(names(json), ["llvmpipe (LLVM 15.0.6, 256 bits)", "NVIDIA T4"]);
        assert!(names("[]\n").is_empty());
    }

    #[test]
    fn backends_are_told_by_their_names() {
        assert!(is_vulkan("Vulkan") && is_vulkan(" vk ") && !is_vulkan("gl") && !is_vulkan("dx12"));
    }

    #[test]
    fn without_an_adapter_each_system_gets_its_advice() {
        assert_eq!(
            no_adapter("", "macos"),
            "no GPU adapter on this machine. Kiln needs a Mac with Metal; in a virtual machine, one that passes the GPU through."
        );
        let linux = no_adapter("error: no adapter", "linux");
        assert!(linux.contains("lavapipe") && linux.ends_with("\n`kiln devices` said: error: no adapter"), "{linux}");
    }
}
