//! `kiln devices`.

use std::io::{self, Write};

use anyhow::Result;
use kiln_gpu::{AdapterInfo, Device};
use serde::Serialize;

use crate::args::DevicesArgs;

/// An adapter with the number that `KILN_ADAPTER` takes.
#[derive(Serialize)]
struct Numbered<'a> {
    index: usize,
    #[serde(flatten)]
    info: &'a AdapterInfo,
}

pub(crate) fn run(args: &DevicesArgs) -> Result<()> {
    let list = Device::list();
    let mut out = io::stdout().lock();
    if args.json {
        let list: Vec<Numbered> = list.iter().enumerate().map(|(index, info)| Numbered { index, info }).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
        return Ok(());
    }
    if list.is_empty() {
        // Its error says what to do.
        Device::open_default()?;
    }
    for (index, info) in list.iter().enumerate() {
        writeln!(out, "[{index}] {info}")?;
        writeln!(out, "    {}", features(info))?;
    }
    Ok(())
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
