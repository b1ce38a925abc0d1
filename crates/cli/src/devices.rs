//! `kiln devices`, and the device of the other commands.

use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use kiln_gpu::{AdapterInfo, Device, GpuError, Options, cache};
use kiln_tensor::plan::{self, Tuning};
use serde::Serialize;

use crate::note::note;
use crate::words::counted;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln devices
  KILN_ADAPTER=1 kiln train --model lenet5 --data fashion-mnist
  KILN_ADAPTER=radeon kiln train --model lenet5 --data fashion-mnist")]
pub(crate) struct DevicesArgs {
    /// Print a JSON array with an object per adapter: its index, whether it is chosen, name, backend, driver, features and limits
    #[arg(long)]
    json: bool,
}

/// An adapter with the number that `KILN_ADAPTER` takes.
#[derive(Serialize)]
struct Numbered<'a> {
    index: usize,
    /// Whether other commands use it.
    chosen: bool,
    #[serde(flatten)]
    info: &'a AdapterInfo,
}

/// Opens the adapter that the environment or the order of preference chooses. A tuning file that cannot be used is told.
pub(crate) fn open() -> Result<Device> {
    let device = Device::open_default()?;
    if let Err(error) = plan::tuning(&device) {
        note(format_args!("warning: {error}"));
    }
    Ok(device)
}

/// A device without a GPU that plans as the adapter that [`open`] would open, or as a usual GPU where the machine has no adapter.
pub(crate) fn shapes_only() -> Result<Device> {
    let info = match AdapterInfo::find(Options::new()) {
        Err(GpuError::NoAdapter { wanted, seen, .. }) if wanted.is_empty() && seen.is_empty() => {
            AdapterInfo::discrete()
        }
        found => found?,
    };
    let device = Device::shapes_only(info);
    if let Err(error) = plan::tuning(&device) {
        note(format_args!("warning: {error}"));
    }
    Ok(device)
}

/// Keeps compiled kernels for the next run. That they cannot be kept is told, and fails nothing.
pub(crate) fn keep_pipelines(device: &Device) {
    if let Err(error) = device.save_pipelines() {
        note(format_args!("warning: {error}"));
    }
}

/// Lists the adapters, also where the environment asks for one that is not there: that is the error after the list.
pub(crate) fn run(args: &DevicesArgs) -> Result<()> {
    let (listed, list, chosen) = match Device::candidates(Options::new()) {
        Ok((list, chosen)) => (Options::new(), list, Ok(chosen)),
        Err(error) => (Options::new().ignore_environment(), Device::list(), Err(error)),
    };
    let mut out = io::stdout().lock();
    let is_chosen = |index| chosen.as_ref().is_ok_and(|&chosen| chosen == index);
    if args.json {
        let numbered = |(index, info)| Numbered { index, chosen: is_chosen(index), info };
        let list: Vec<Numbered> = list.iter().enumerate().map(numbered).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
    } else {
        for (index, info) in list.iter().enumerate() {
            writeln!(out, "[{index}] {info}{}", if is_chosen(index) { ": used" } else { "" })?;
            writeln!(out, "    {}", features(info))?;
            if let Some(units) = matrix_units(&listed, index, info) {
                writeln!(out, "    {units}")?;
            }
            if old_llvmpipe(&info.name, &info.driver) {
                writeln!(
                    out,
                    "    this Mesa computes slowly on processors: Mesa 25.0 takes half the time for a training step"
                )?;
            }
            writeln!(out, "    {}", tuning(info))?;
        }
    }
    out.flush()?;
    chosen?;
    Ok(())
}

/// Whether this is Mesa's software driver in a version that is known to be slow.
fn old_llvmpipe(name: &str, driver: &str) -> bool {
    let mesa = driver.split_once("Mesa ").and_then(|(_, version)| version.split('.').next()?.parse::<u32>().ok());
    name.starts_with("llvmpipe") && mesa.is_some_and(|major| major < 24)
}

fn features(info: &AdapterInfo) -> String {
    let features = info.features;
    let named = [
        ("f16", features.f16),
        ("int64", features.int64),
        ("subgroups", features.subgroups),
        ("timestamps", features.timestamps),
        ("immediates", features.immediates),
        ("pipeline cache", features.pipeline_cache),
        ("matrix units", features.cooperative_matrices),
    ];
    let there: Vec<&str> = named.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    format!(
        "{}; largest buffer {} MiB, largest binding {} MiB, {} KiB workgroup memory",
        if there.is_empty() { "no optional features".to_string() } else { there.join(", ") },
        info.limits.buffer_bytes >> 20,
        info.limits.binding_bytes >> 20,
        info.limits.workgroup_bytes >> 10
    )
}

/// What an adapter's matrix units are worth, where it has any: the test needs the adapter open.
fn matrix_units(listed: &Options, index: usize, info: &AdapterInfo) -> Option<String> {
    if !info.features.cooperative_matrices {
        return None;
    }
    let options = listed.clone().adapter(index.to_string()).cooperative_matrices().no_cache();
    Some(match Device::open(options) {
        Ok(device) => format!("matrix units: {}", plan::matrix_units(&device)),
        Err(error) => format!("matrix units: not tested: {error}"),
    })
}

/// Which tuning file is in force.
fn tuning(info: &AdapterInfo) -> String {
    let Some(folder) = cache::folder() else {
        return "no cache folder, so neither kernels nor tuning are kept".to_string();
    };
    match Tuning::read(&folder, info) {
        Ok(Some(tuning)) => {
            format!("tuned: {} in {}", counted(tuning.len(), "problem"), Tuning::path(&folder, info).display())
        }
        Ok(None) => "not tuned: see `kiln tune --help`".to_string(),
        Err(error) => format!("not tuned: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mesa_is_old_before_24_and_only_on_processors() {
        let name = "llvmpipe (LLVM 15.0.6, 256 bits)";
        assert!(old_llvmpipe(name, "llvmpipe Mesa 22.3.6 (LLVM 15.0.6)"));
        assert!(!old_llvmpipe(name, "llvmpipe Mesa 25.0.7-2~bpo12+1 (LLVM 15.0.6)"));
        assert!(!old_llvmpipe(name, ""));
        assert!(!old_llvmpipe("AMD Radeon RX 6600 (RADV NAVI23)", "radv Mesa 22.3.6"));
    }
}
