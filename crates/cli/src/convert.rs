//! `kiln convert`.

use std::io::{self, Write};

use anyhow::Result;
use kiln_nn::{StateFile, convert};

use crate::args::ConvertArgs;

pub(crate) fn run(args: &ConvertArgs) -> Result<()> {
    let file = StateFile::open(&args.input)?;
    let mut out = io::stdout().lock();
    let (mut tensors, mut elements) = (0u64, 0u64);
    let width = file.names().map(str::len).max().unwrap_or(0);
    for name in file.names() {
        let Some((dtype, shape)) = file.shape(name) else { continue };
        tensors += 1;
        elements += shape.iter().map(|&side| side as u64).product::<u64>();
        if args.list {
            writeln!(out, "{name:width$}  {dtype} {shape:?}")?;
        }
    }
    if let Some(output) = &args.output {
        convert(&args.input, output)?;
        writeln!(out, "{}: {tensors} tensors, {elements} elements", output.display())?;
    }
    Ok(())
}
