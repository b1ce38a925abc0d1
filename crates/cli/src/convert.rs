//! `kiln convert`.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use kiln_nn::StateFile;

use crate::note::note;
use crate::weights;
use crate::words::counted;

#[derive(Debug, Args)]
#[command(after_help = "\
Reads what torch.save wrote, in the form of today and in the older one: a state dict, or a \
checkpoint that has one under a name such as state_dict or model. Which one is read is said; --key \
takes another, such as model_ema. Nothing in the file is executed. Each tensor keeps its name and type.

`kiln eval`, `kiln predict` and `kiln train` read such files themselves; a safetensors file is \
smaller, and other programs read it without PyTorch.

Files of Kiln have checksums. One that no longer matches them is refused: it was damaged, or another \
program changed it. If the change is wanted, --unverified gives the file new checksums.

Examples:
  kiln convert alexnet-owt-7be5be79.pth alexnet.safetensors
  kiln convert --list checkpoint.pt
  kiln convert --unverified edited.safetensors edited.safetensors
  kiln convert --key model_ema checkpoint.pt averaged.safetensors")]
pub(crate) struct ConvertArgs {
    /// The weights: a .pth or .pt file of PyTorch, or a safetensors file
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The safetensors file to write
    #[arg(value_name = "OUT", required_unless_present = "list")]
    output: Option<PathBuf>,
    /// List the tensors: their names, types and shapes
    #[arg(long)]
    list: bool,
    /// Of a checkpoint, the dict to take the tensors from: names with points between, or a point for the outermost
    #[arg(long, value_name = "NAME", conflicts_with = "unverified")]
    key: Option<String>,
    /// Read the file without verifying its checksums
    #[arg(long)]
    unverified: bool,
}

pub(crate) fn run(args: &ConvertArgs) -> Result<()> {
    let mut file = match &args.key {
        Some(key) => StateFile::open_at(&args.input, key)?,
        None if args.unverified => StateFile::open_unverified(&args.input)?,
        None => StateFile::open(&args.input)?,
    };
    weights::say_what_is_read(&args.input, &file);
    if !file.no_tensors().is_empty() {
        note(format_args!(
            "{}: left out, since they are no tensors: {}",
            args.input.display(),
            file.no_tensors().join(", ")
        ));
    }
    let mut out = io::stdout().lock();
    let (mut tensors, mut elements) = (0usize, 0usize);
    let width = file.names().map(str::len).max().unwrap_or(0);
    for name in file.names() {
        let Some((dtype, shape)) = file.shape(name) else { continue };
        tensors += 1;
        elements += shape.iter().product::<usize>();
        if args.list {
            writeln!(out, "{name:width$}  {dtype} {shape:?}")?;
        }
    }
    if let Some(output) = &args.output {
        file.save(output)?;
        let (tensors, elements) = (counted(tensors, "tensor"), counted(elements, "element"));
        writeln!(out, "{}: {tensors}, {elements}", output.display())?;
    }
    Ok(())
}
