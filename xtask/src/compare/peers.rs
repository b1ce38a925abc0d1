//! The programs that are compared: how each is built, and called for a benchmark.

use super::line::Line;
use crate::cargo;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The peers' workspace, from Kiln's root.
const PEERS: &str = "benches/peers";

/// A benchmark that every program that can runs.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Bench {
    Gemm,
    Conv,
    /// A training step of the network of this name.
    Step(String),
}

impl Bench {
    pub(crate) fn name(&self) -> &str {
        match self {
            Bench::Gemm => "gemm",
            Bench::Conv => "conv",
            Bench::Step(net) => net,
        }
    }
}

/// A program that can be run.
pub(crate) enum Program {
    Kiln(PathBuf),
    Burn { program: PathBuf, backend: &'static str },
    Ferrotensor(PathBuf),
    PyTorch { python: String, device: &'static str },
}

/// One that cannot, and why.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Missing {
    pub(crate) program: String,
    pub(crate) reason: String,
}

/// Builds the peers.
pub(crate) fn find(kiln: &Path, python: &str, burn_vulkan: bool) -> Result<(Vec<Program>, Vec<Missing>)> {
    let manifest = Path::new(PEERS).join("Cargo.toml").display().to_string();
    let build = |name: &str, features: &[&str]| {
        let package = ["--release", "--locked", "--manifest-path", &manifest, "--package", name];
        cargo::build_program(&[&package[..], features].concat(), name)
    };
    let mut programs = vec![Program::Kiln(kiln.to_owned())];
    let mut missing = Vec::new();
    let mut absent = |program: &str, error: anyhow::Error| {
        missing.push(Missing { program: program.to_owned(), reason: format!("{error:#}") });
    };
    match build("peer-burn", if burn_vulkan { &["--features", "vulkan"] } else { &[] }) {
        Ok(program) => {
            programs.push(Program::Burn { program: program.clone(), backend: "flex" });
            if burn_vulkan {
                programs.push(Program::Burn { program, backend: "vulkan" });
            }
        }
        Err(error) => absent("burn", error),
    }
    if !burn_vulkan {
        absent("burn vulkan", anyhow::anyhow!("not asked for; --burn-vulkan builds it"));
    }
    match build("peer-ferrotensor", &[]) {
        Ok(program) => programs.push(Program::Ferrotensor(program)),
        Err(error) => absent("ferrotensor", error),
    }
    match torch_devices(python) {
        Ok(devices) => {
            programs.extend(devices.into_iter().map(|device| Program::PyTorch { python: python.to_owned(), device }));
        }
        Err(error) => absent("pytorch", error),
    }
    Ok((programs, missing))
}

/// The devices that this Python's torch can compute on.
fn torch_devices(python: &str) -> Result<Vec<&'static str>> {
    let script = "import numpy, torch; print(torch.cuda.is_available())";
    let said = output(Command::new(python).args(["-c", script])).context("torch and numpy are needed; see --python")?;
    Ok(if said.trim() == "True" { vec!["cpu", "cuda"] } else { vec!["cpu"] })
}

impl Program {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Program::Kiln(_) => "kiln",
            Program::Burn { backend: "vulkan", .. } => "burn vulkan",
            Program::Burn { .. } => "burn flex",
            Program::Ferrotensor(_) => "ferrotensor",
            Program::PyTorch { device: "cuda", .. } => "pytorch cuda",
            Program::PyTorch { .. } => "pytorch cpu",
        }
    }

    /// The call that measures a benchmark once, for programs that have it.
    pub(crate) fn command(&self, bench: &Bench, weights: &Path, steps: u32, batch: Option<u32>) -> Option<Command> {
        let mut command = match self {
            Program::Kiln(program) => {
                let mut command = Command::new(program);
                command.args(["bench", if matches!(bench, Bench::Step(_)) { "step" } else { bench.name() }, "--json"]);
                // The problems that the peers have too.
                let only: &[&str] = match bench {
                    Bench::Gemm => &["--only", "512x512x512", "--only", "1024x1024x1024", "--only", "2048x2048x2048"],
                    Bench::Conv => &["--only", "3x3 64-64 56x56 n8"],
                    Bench::Step(_) => &[],
                };
                command.args(only);
                command
            }
            Program::Burn { program, backend } => {
                let mut command = Command::new(program);
                command.args(["--backend", backend]);
                command
            }
            Program::Ferrotensor(program) => Command::new(program),
            Program::PyTorch { python, device } => {
                let mut command = Command::new(python);
                command.arg(cargo::root().join(PEERS).join("pytorch/peer.py"));
                command.arg(if matches!(bench, Bench::Step(_)) { "step" } else { bench.name() });
                command.args(["--device", device]);
                command
            }
        };
        match (self, bench) {
            // burn and ferrotensor are compared by networks, and ferrotensor has only linear layers.
            (Program::Burn { .. } | Program::Ferrotensor(_), Bench::Gemm | Bench::Conv) => return None,
            (Program::Ferrotensor(_), Bench::Step(net)) if net != "mlp" => return None,
            (_, Bench::Step(net)) => {
                command.args(["--net", net, "--steps", &steps.to_string()]);
                if let Some(batch) = batch {
                    command.args(["--batch", &batch.to_string()]);
                }
                if !matches!(self, Program::Kiln(_)) {
                    command.arg("--weights").arg(file(weights, net));
                }
            }
            _ => {}
        }
        Some(command)
    }
}

fn file(weights: &Path, net: &str) -> PathBuf {
    weights.join(format!("{net}.safetensors"))
}

/// Has Kiln write the weights that all start from.
pub(crate) fn save_weights(kiln: &Path, bench: &Bench, weights: &Path) -> Result<()> {
    if let Bench::Step(net) = bench {
        output(Command::new(kiln).args(["bench", "step", "--net", net, "--save-weights"]).arg(file(weights, net)))?;
    }
    Ok(())
}

/// Runs a program that prints lines of JSON.
pub(crate) fn lines(mut command: Command) -> Result<Vec<Line>> {
    let said = output(&mut command)?;
    said.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("{:?} printed {line:?}", command.get_program())))
        .collect()
}

/// What a program prints; its last words where it fails.
fn output(command: &mut Command) -> Result<String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {shown}"))?;
    if !out.status.success() {
        let complaint = String::from_utf8_lossy(&out.stderr);
        bail!("{shown} failed ({}): {}", out.status, complaint.trim().lines().last().unwrap_or("it said nothing"));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn call(program: &Program, bench: &Bench) -> Option<String> {
        let command = program.command(bench, Path::new("w"), 5, Some(16))?;
        Some(command.get_args().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn each_program_is_called_for_what_it_has() {
        let step = Bench::Step("lenet5".to_owned());
        let kiln = Program::Kiln("kiln".into());
        assert_eq!(call(&kiln, &step).unwrap(), "bench step --json --net lenet5 --steps 5 --batch 16");
        assert_eq!(call(&kiln, &Bench::Conv).unwrap(), "bench conv --json --only 3x3 64-64 56x56 n8");
        let burn = Program::Burn { program: "peer-burn".into(), backend: "flex" };
        let weights = Path::new("w").join("lenet5.safetensors");
        assert_eq!(
            call(&burn, &step).unwrap(),
            format!("--backend flex --net lenet5 --steps 5 --batch 16 --weights {}", weights.display())
        );
        assert_eq!(call(&burn, &Bench::Gemm), None);
        let ferrotensor = Program::Ferrotensor("peer-ferrotensor".into());
        assert_eq!(call(&ferrotensor, &step), None);
        assert!(call(&ferrotensor, &Bench::Step("mlp".to_owned())).is_some());
        let torch = Program::PyTorch { python: "python3".to_owned(), device: "cpu" };
        assert!(call(&torch, &Bench::Gemm).unwrap().ends_with("peer.py gemm --device cpu"));
    }

    #[test]
    fn a_program_that_cannot_run_is_told_by_name() {
        let error = torch_devices("there-is-no-such-python").unwrap_err();
        let told = format!("{error:#}");
        assert!(
            told.starts_with("torch and numpy are needed; see --python: cannot start there-is-no-such-python"),
            "{told}"
        );
    }
}
