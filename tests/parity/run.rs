//! What every row of the table is put through.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use kiln_autograd::{Gradients, Tape, Var};
use kiln_gpu::Options;
use kiln_tensor::plan::{self, Algorithm, MatrixUnits};
use kiln_tensor::{DType, Device, Tensor};

use crate::reference::Array;
use crate::reference::difference::directional;
use crate::row::{Case, Gradient, Row, Wrong, Wrongs, download, seed_of, uniform, upload};
use crate::tolerance::{Class, Expected};

/// The least shapes that a row is tried on, forward and gradient each.
const CASES: usize = 8;
/// The least wrong calls of an op that can fail.
const WRONGS: usize = 2;
/// Of every tape on which a gradient is tried.
pub const TAPE_SEED: u64 = 42;
/// The least tolerance of gradients whose products round to f16.
const HALF_GRADIENT: f64 = 5e-3;
/// What the third device binds at once: 1,024 `f32`.
const TIGHT_BYTES: u64 = 4096;

/// The devices that rows are run on. They are shared by all tests of this binary.
pub struct Devices {
    /// Every feature and limit that the adapter has: all cases.
    pub whole: Device,
    /// No optional feature and the smallest limits: the largest case of each row.
    pub minimal: Device,
    /// Binds little at once, so that an operand of a few thousand elements is already too large: the cases that say so.
    pub tight: Device,
    /// One for each algorithm that the adapter has, which is pinned on it.
    pub pinned: Vec<(Algorithm, Device)>,
}

pub fn devices() -> &'static Devices {
    static DEVICES: OnceLock<Devices> = OnceLock::new();
    let open = |options: Options| Device::open(options).unwrap_or_else(|e| panic!("{e}"));
    DEVICES.get_or_init(|| Devices {
        whole: open(Options::new()),
        minimal: open(Options::new().minimal()),
        tight: open(Options::new().largest_binding(TIGHT_BYTES)),
        pinned: Algorithm::ALL.into_iter().filter_map(pinned).collect(),
    })
}

/// A device on which an algorithm is pinned; none where it needs matrix units and the adapter has none. Units that fail their test are
/// told, and are no miss: they are never used.
fn pinned(algorithm: Algorithm) -> Option<(Algorithm, Device)> {
    let options = Options::new();
    let cooperative = algorithm == Algorithm::Cooperative;
    let device = Device::open(if cooperative { options.cooperative_matrices() } else { options })
        .unwrap_or_else(|e| panic!("{e}"));
    if cooperative {
        let units = plan::matrix_units(&device);
        println!("matrix units: {units}");
        if !matches!(units, MatrixUnits::Passed { .. }) {
            return None;
        }
    }
    plan::pin(&device, Some(algorithm));
    // The other devices have the rows that suit this processor.
    plan::pin_rows(&device, 48 - plan::tile_rows(&device)).unwrap_or_else(|e| panic!("{e}"));
    Some((algorithm, device))
}

/// The worst share of its bound that each class met, and where.
#[derive(Default)]
struct Worst(BTreeMap<String, (f64, String)>);

impl Worst {
    fn note(&mut self, class: String, share: f64, place: impl Fn() -> String) {
        let worst = self.0.entry(class).or_default();
        if share > worst.0 {
            *worst = (share, place());
        }
    }

    fn print(&self) {
        for (class, (share, place)) in &self.0 {
            println!("    {class}: {share:.3} of the bound ({place})");
        }
    }
}

/// Runs every check of every row on the devices that choose for themselves, and reports all that miss.
pub fn run(family: &str, rows: &[Row]) {
    let mut report = Report::default();
    let devices = devices();
    for row in rows {
        check_row(row, &mut report.misses);
        for case in &row.cases {
            report.check(&devices.whole, "whole", row, case);
            if case.tight {
                report.check(&devices.tight, "tight", row, case);
            }
        }
        if let Some(case) = row.largest() {
            report.check(&devices.minimal, "minimal", row, case);
        }
        check_wrongs(row, &mut report.misses);
    }
    report.finish(family, rows);
}

/// Runs every case of every row by each of these algorithms that the adapter has, and reports all that miss. A test of its own:
/// a software adapter compiles for minutes, for each device one kernel after the other.
pub fn run_pinned(family: &str, rows: &[Row], computes: fn(Algorithm) -> bool) {
    let mut report = Report::default();
    for (algorithm, device) in devices().pinned.iter().filter(|(algorithm, _)| computes(*algorithm)) {
        for row in rows {
            // Such an adapter takes seconds for a tile of GPUs, so those have the largest case alone.
            let tile = matches!(algorithm, Algorithm::Tile(_));
            let cases = if tile { row.largest().into_iter().collect() } else { row.cases.iter().collect::<Vec<_>>() };
            for case in cases {
                report.check(device, algorithm.name(), row, case);
            }
        }
    }
    report.finish(family, rows);
}

/// What the checks of a family gave.
#[derive(Default)]
struct Report {
    misses: Vec<String>,
    worst: Worst,
    runs: usize,
}

impl Report {
    fn check(&mut self, device: &Device, name: &str, row: &Row, case: &Case) {
        self.runs += 1;
        if let Err(miss) = check_case(device, row, case, &mut self.worst) {
            self.misses.push(format!("{} {} on the {name} device: {miss}", row.name, case.label));
        }
    }

    fn finish(self, family: &str, rows: &[Row]) {
        let cases = rows.iter().map(|row| row.cases.len()).sum::<usize>();
        println!("{family}: {} rows, {cases} cases, {} runs", rows.len(), self.runs);
        self.worst.print();
        assert!(self.misses.is_empty(), "{} misses:\n{}", self.misses.len(), self.misses.join("\n"));
    }
}

/// Whether the row has what every row needs.
fn check_row(row: &Row, misses: &mut Vec<String>) {
    if row.cases.len() < CASES {
        misses.push(format!("{}: {} cases; a row needs at least {CASES}", row.name, row.cases.len()));
    }
    let differentiable = row.cases.iter().filter(|case| case.differentiable.is_some()).count();
    match row.gradient {
        Gradient::Within(_) if differentiable < CASES => {
            misses.push(format!("{}: {differentiable} cases with a gradient; a row needs {CASES}", row.name));
        }
        Gradient::None(_) if differentiable > 0 => {
            misses.push(format!("{}: a gradient is tried, and the row says that there is none", row.name));
        }
        _ => {}
    }
}

fn check_case(device: &Device, row: &Row, case: &Case, worst: &mut Worst) -> Result<(), String> {
    if case.needs_f16() && !device.info().features.f16 {
        return Ok(());
    }
    let error = |e: kiln_tensor::Error| e.to_string();
    let seed = |i: usize| seed_of(&format!("{} {} {i}", row.name, case.label));
    let values: Vec<Array> = case.inputs.iter().enumerate().map(|(i, input)| input.values(seed(i))).collect();
    let inputs = case
        .inputs
        .iter()
        .zip(&values)
        .map(|(input, values)| input.upload(device, values))
        .collect::<Result<Vec<_>, _>>()
        .map_err(error)?;
    let expected = (case.reference)(&values);
    let output = (case.forward)(device, &inputs).map_err(error)?;
    if output.shape()[..] != expected.value.shape[..] {
        return Err(format!("shape {}, reference {:?}", output.shape(), expected.value.shape));
    }
    if output.dtype() != case.dtype {
        return Err(format!("dtype {}, should be {}", output.dtype(), case.dtype));
    }
    let got = download(&output).map_err(error)?;
    let class = case.class_in(row).computed_by(plan::pinned(device).map_err(error)?);
    let share = class.compare(&got, &expected)?;
    worst.note(format!("{class:?}"), share, || format!("{} {}", row.name, case.label));
    let again = download(&(case.forward)(device, &inputs).map_err(error)?).map_err(error)?;
    if !same_bits(&got, &again) {
        return Err("other bits the second time".to_owned());
    }
    if let Some(torch) = &case.recorded {
        against_pytorch(class, &got, torch, &expected)?;
    }
    if let (Gradient::Within(tolerance), Some(_)) = (row.gradient, &case.differentiable) {
        let tolerance = if class == Class::Cooperative { tolerance.max(HALF_GRADIENT) } else { tolerance };
        let share = check_gradient(device, case, tolerance, &values, &inputs, &got, seed(inputs.len()))?;
        worst.note(format!("gradient {tolerance:e}"), share, || format!("{} {}", row.name, case.label));
    }
    Ok(())
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()))
}

/// Both sides are f32 results, each with the class's error: so twice the tolerance.
fn against_pytorch(class: Class, got: &[f64], torch: &Array, expected: &Expected) -> Result<(), String> {
    let recorded = Expected { value: torch.clone(), ..expected.clone() };
    class.compare_loosely(2.0, got, &recorded).map(|_| ()).map_err(|miss| format!("against PyTorch: {miss}"))
}

/// Values evenly from -1..1, whole `f32`s.
fn random(shape: &[usize], seed: u64) -> Array {
    let count = shape.iter().product();
    Array::new(shape, (0..count).map(|i| 2.0 * uniform(seed, i, 0) - 1.0).collect()).rounded_to_f32()
}

/// The gradient of the op on a tape: the forward pass must give the same bits, and along three random directions the
/// gradient must be the slope of the reference. A direction in which the gradient nearly cancels (a fifth of what a
/// random one gives) says little and is drawn again.
fn check_gradient(
    device: &Device,
    case: &Case,
    tolerance: f64,
    values: &[Array],
    inputs: &[Tensor],
    forward: &[f64],
    seed: u64,
) -> Result<f64, String> {
    let op = case.differentiable.as_ref().unwrap();
    let tape = Tape::train_seeded(TAPE_SEED);
    let is_float: Vec<bool> = inputs.iter().map(|input| input.dtype() == DType::F32).collect();
    let vars: Vec<Var> = inputs
        .iter()
        .zip(&is_float)
        .map(|(input, &float)| if float { tape.leaf(input.clone()) } else { tape.constant(input.clone()) })
        .collect();
    let output = op(inputs, &vars).map_err(|e| e.to_string())?;
    if !same_bits(forward, &download(output.tensor()).map_err(|e| e.to_string())?) {
        return Err("other bits on a tape than without".to_owned());
    }
    let dy = random(output.shape(), seed);
    let start = upload(device, &dy, DType::F32).map_err(|e| e.to_string())?;
    let gradients = output.backward_with(&start).map_err(|e| e.to_string())?;
    let gradients: Vec<Array> =
        vars.iter().map(|var| gradient_of(&gradients, var)).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    for (i, (gradient, value)) in gradients.iter().zip(values).enumerate() {
        if gradient.shape != value.shape {
            return Err(format!("the gradient of input {i} has shape {:?}", gradient.shape));
        }
    }
    // What rounding in f64 leaves of the difference of two outputs, over its step.
    let noise = 1e-9 * dy.abs().dot(&(case.reference)(values).value.abs());
    // The root mean square of a direction's elements is that of -1..1.
    let usual = gradients.iter().map(|g| g.norm().powi(2)).sum::<f64>().sqrt() / 3.0_f64.sqrt();
    let mut share = 0.0_f64;
    for trial in 0..3 {
        let (mut want, mut got) = (0.0, 0.0);
        for attempt in 0..20 {
            let directions: Vec<Array> = values
                .iter()
                .enumerate()
                .map(|(i, value)| {
                    let drawn = random(&value.shape, seed ^ (1 + i as u64 + 100 * trial + 10_000 * attempt));
                    if is_float[i] { drawn } else { Array::zeros(&value.shape) }
                })
                .collect();
            want = directional(|x| (case.reference)(x).value, values, &directions, &dy);
            got = gradients.iter().zip(&directions).map(|(g, d)| g.dot(d)).sum();
            if want.abs() >= 0.2 * usual {
                break;
            }
        }
        let allowed = tolerance * want.abs() + noise;
        let error = (got - want).abs();
        // A NaN on either side is a miss.
        if error > allowed || error.is_nan() {
            return Err(format!("gradient along direction {trial}: {got:e}, differences say {want:e}"));
        }
        if allowed > 0.0 {
            share = share.max(error / allowed);
        }
    }
    Ok(share)
}

fn gradient_of(gradients: &Gradients, var: &Var) -> kiln_tensor::Result<Array> {
    match gradients.get(var) {
        Some(gradient) => Ok(Array::new(gradient.shape(), download(gradient)?)),
        None => Ok(Array::zeros(var.shape())),
    }
}

fn check_wrongs(row: &Row, misses: &mut Vec<String>) {
    if let Wrongs::Calls(wrongs) = &row.wrong {
        check_calls(row.name, wrongs, misses);
    }
}

/// Each call must fail with its whole text.
pub fn check_calls(name: &str, wrongs: &[Wrong], misses: &mut Vec<String>) {
    if wrongs.len() < WRONGS {
        misses.push(format!("{name}: {} wrong calls; an op that can fail needs {WRONGS}", wrongs.len()));
    }
    for wrong in wrongs {
        match (wrong.call)(&devices().whole) {
            Ok(output) => misses.push(format!("{name}: gave {output:?} where it should say: {}", wrong.message)),
            Err(error) if error.to_string() == wrong.message => {}
            Err(error) => misses.push(format!("{name}: said: {error}\n    should say: {}", wrong.message)),
        }
    }
}
