//! What the peers share: the networks, the data, the clock and the line that they print.
//!
//! `kiln bench step` does the same: a step is forward, mean cross-entropy, backward and SGD (rate 0.01, momentum 0.9), and ends when
//! the loss is read back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

pub const RATE: f64 = 0.01;
pub const MOMENTUM: f64 = 0.9;

/// The steps that come before those that are timed: the first, and two more. Their losses are printed.
const UNTIMED: usize = 3;

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Layer {
    Conv { name: String, inputs: usize, outputs: usize, kernel: usize, stride: usize, padding: usize },
    Linear { name: String, inputs: usize, outputs: usize },
    Pool { kernel: usize, stride: usize },
    Relu,
}

/// A network as `nets.json` has it. The first linear layer takes its input flattened.
#[derive(Debug, Clone, Deserialize)]
pub struct Net {
    pub input: [usize; 3],
    pub classes: usize,
    pub batch: usize,
    pub layers: Vec<Layer>,
}

/// Everything that a peer needs to build and train.
pub struct Problem {
    pub name: String,
    pub net: Net,
    pub batch: usize,
    pub images: Vec<f32>,
    pub labels: Vec<i32>,
    weights: PathBuf,
}

/// A parameter's values, in row-major order, with its shape.
pub type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

impl Problem {
    /// The first weights, from the file that `kiln bench step --save-weights` wrote.
    pub fn weights(&self) -> Result<Weights> {
        read_weights(&self.weights).with_context(|| self.weights.display().to_string())
    }
}

fn read_weights(path: &Path) -> Result<Weights> {
    let bytes = std::fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let values = |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok(file.iter().map(|(name, t)| (name.to_string(), (t.shape().to_vec(), values(t.data())))).collect())
}

/// The pixels of every benchmark: a multiplicative hash of the position, in [-1, 1).
pub fn images(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

pub fn labels(count: usize, classes: usize) -> Vec<i32> {
    (0..count).map(|i| (7 * i % classes) as i32).collect()
}

#[derive(Serialize)]
struct Line<'a> {
    net: &'a str,
    batch: usize,
    program: &'a str,
    version: &'a str,
    adapter: &'a str,
    first_step_ms: f64,
    median_ms: f64,
    best_ms: f64,
    images_per_s: f64,
    resident_bytes_peak: Option<u64>,
    losses: Vec<f32>,
}

/// The version of a package that this workspace is built with.
pub fn version_of(package: &str) -> &'static str {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let (_, rest) = include_str!("../../Cargo.lock").split_once(&entry).unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}

/// Who measures.
pub struct Peer<'a> {
    pub program: &'a str,
    pub version: &'a str,
    pub adapter: &'a str,
}

/// The values of the command line `--net NAME --weights FILE [--batch N] [--steps N]`, and others that a peer knows.
pub struct Args(BTreeMap<String, String>);

impl Args {
    pub fn from_env() -> Result<Args> {
        let mut words = std::env::args().skip(1);
        let mut args = BTreeMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").with_context(|| format!("{word:?} is no option"))?;
            let value = words.next().with_context(|| format!("{word} needs a value"))?;
            args.insert(name.to_string(), value);
        }
        Ok(Args(args))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn count(&self, name: &str, default: usize) -> Result<usize> {
        self.get(name).map_or(Ok(default), |text| text.parse().with_context(|| format!("--{name} {text}")))
    }

    pub fn problem(&self) -> Result<Problem> {
        let name = self.get("net").context("--net NAME is missing")?.to_string();
        let mut nets: BTreeMap<String, Net> = serde_json::from_str(include_str!("../../nets.json"))?;
        let Some(net) = nets.remove(&name) else { bail!("no network is named {name}") };
        let batch = self.count("batch", net.batch)?;
        let images = images(batch * net.input.iter().product::<usize>());
        let labels = labels(batch, net.classes);
        let weights = self.get("weights").context("--weights FILE is missing")?.into();
        Ok(Problem { name, net, batch, images, labels, weights })
    }
}

/// Builds, trains, and prints the line. `build` gives the function that makes a step and reads its loss.
pub fn run<S: FnMut() -> Result<f32>>(
    peer: &Peer<'_>,
    args: &Args,
    build: impl FnOnce(&Problem) -> Result<S>,
) -> Result<()> {
    let problem = args.problem()?;
    let steps = args.count("steps", 20)?.max(1);
    let start = Instant::now();
    let mut step = build(&problem)?;
    let mut losses = vec![step()?];
    let first_step_ms = milliseconds(start);
    for _ in 1..UNTIMED {
        losses.push(step()?);
    }
    let mut times = Vec::new();
    for _ in 0..steps {
        let start = Instant::now();
        step()?;
        times.push(milliseconds(start));
    }
    times.sort_by(f64::total_cmp);
    let median_ms = (times[(steps - 1) / 2] + times[steps / 2]) / 2.0;
    let line = Line {
        net: &problem.name,
        batch: problem.batch,
        program: peer.program,
        version: peer.version,
        adapter: peer.adapter,
        first_step_ms,
        median_ms,
        best_ms: times[0],
        images_per_s: 1000.0 * problem.batch as f64 / median_ms,
        resident_bytes_peak: resident_bytes_peak(),
        losses,
    };
    println!("{}", serde_json::to_string(&line)?);
    Ok(())
}

fn milliseconds(start: Instant) -> f64 {
    1000.0 * start.elapsed().as_secs_f64()
}

/// The most memory that this process has held, where Linux tells it.
fn resident_bytes_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
