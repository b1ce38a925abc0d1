//! A rule against central differences.

use std::fmt;

use kiln_tensor::{DType, Tensor};

use crate::error::{Error, Result};
use crate::tape::Tape;
use crate::var::Var;

/// How [`gradcheck`] looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradcheckOptions {
    /// The step of the differences: inputs move by at most this much to either side. Below 1e-3, the rounding of `f32`
    /// in the forward drowns the difference.
    pub step: f64,
    /// How far the two slopes may lie apart, relative to the size of what they are sums of.
    pub tolerance: f64,
    /// Random directions per input.
    pub directions: usize,
    /// The seed of the directions, and of the tapes that the function runs on.
    pub seed: u64,
}

impl Default for GradcheckOptions {
    /// Step 0.01, tolerance 0.005, 3 directions, seed 0.
    fn default() -> GradcheckOptions {
        GradcheckOptions { step: 1e-2, tolerance: 5e-3, directions: 3, seed: 0 }
    }
}

/// The slope of the function along one direction of one input, found in two ways.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// Which input moved, from 0.
    pub input: usize,
    /// By the recorded rules.
    pub analytic: f64,
    /// By central differences.
    pub numeric: f64,
    /// Their distance, relative to the size of what they are sums of.
    pub error: f64,
}

impl fmt::Display for Slope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "along input {}, the rules give a slope of {:.4e}, central differences {:.4e}: {:.1e} apart",
            self.input, self.analytic, self.numeric, self.error
        )
    }
}

/// What [`gradcheck`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct GradcheckReport {
    /// Every input and direction.
    pub slopes: Vec<Slope>,
}

impl GradcheckReport {
    /// The largest distance.
    pub fn worst(&self) -> f64 {
        self.slopes.iter().map(|slope| slope.error).fold(0.0, f64::max)
    }
}

/// Compares the gradients of a function with central differences of its values, along random directions: for the rule
/// of one's own op.
///
/// For each input of `f32` and each direction `v`, it compares `sum(w (f(x + h v) - f(x - h v))) / 2h` with `sum(v
/// dx)`, where `w` are random weights of the outputs and `dx` is what backward gives for them. The cost does not grow
/// with the input's size. Inputs of other types are constants. Choose inputs away from kinks (a `relu` at 0).
///
/// ```
/// use kiln_autograd::{GradcheckOptions, gradcheck};
/// # use kiln_tensor::{Device, Tensor};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::open_default()?;
/// let x = Tensor::from_slice(&device, [3], &[0.5f32, -1.0, 2.0])?;
/// let report = gradcheck(|inputs| inputs[0].tanh()?.square(), &[x], GradcheckOptions::default())?;
/// assert!(report.worst() < 1e-3);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Gradcheck`] with the worst slope, where it exceeds the tolerance; [`Error::Argument`] where no input is of
/// `f32` or an option is out of its range; [`Error::Constant`] where the function's value depends on no input; those of
/// the function.
pub fn gradcheck(
    function: impl Fn(&[Var]) -> Result<Var>,
    inputs: &[Tensor],
    options: GradcheckOptions,
) -> Result<GradcheckReport> {
    check(inputs, &options)?;
    let mut random = Random(options.seed);
    let tape = Tape::train_seeded(options.seed);
    let vars: Vec<Var> = inputs.iter().map(|input| on_tape(&tape, input.clone())).collect();
    let y = function(&vars)?;
    let weights: Vec<f32> = (0..y.numel()).map(|_| random.signed()).collect();
    let gradients = y.backward_with(&Tensor::from_slice(y.tensor().device(), *y.shape(), &weights)?)?;

    let values = |input: usize, moved: &[f32]| -> Result<Vec<f32>> {
        // A tape of the same seed: dropout drops the same elements.
        let tape = Tape::train_seeded(options.seed);
        let vars: Vec<Var> = inputs
            .iter()
            .enumerate()
            .map(|(index, given)| {
                let tensor = if index == input {
                    Tensor::from_slice(given.device(), *given.shape(), moved)?
                } else {
                    given.clone()
                };
                Ok(on_tape(&tape, tensor))
            })
            .collect::<Result<_>>()?;
        function(&vars)?.to_vec::<f32>()
    };

    let mut slopes = Vec::new();
    for (input, var) in vars.iter().enumerate().filter(|(_, var)| var.wants_gradient()) {
        let at = inputs[input].to_vec::<f32>()?;
        let dx = match gradients.get(var) {
            Some(gradient) => gradient.to_vec::<f32>()?,
            // The function does not look at this input.
            None => vec![0.0; at.len()],
        };
        for _ in 0..options.directions {
            let step: Vec<f32> = at.iter().map(|_| random.signed() * options.step as f32).collect();
            let up: Vec<f32> = at.iter().zip(&step).map(|(x, step)| x + step).collect();
            let down: Vec<f32> = at.iter().zip(&step).map(|(x, step)| x - step).collect();
            let (above, below) = (values(input, &up)?, values(input, &down)?);
            // Rounding moves the points; the direction is where they came to lie.
            let terms = || {
                let moved = up.iter().zip(&down).map(|(up, down)| f64::from(*up) - f64::from(*down));
                moved.zip(&dx).map(|(moved, dx)| moved * f64::from(*dx) / (2.0 * options.step))
            };
            let changes = || {
                let changed = above.iter().zip(&below).map(|(above, below)| f64::from(*above) - f64::from(*below));
                changed.zip(&weights).map(|(changed, weight)| changed * f64::from(*weight) / (2.0 * options.step))
            };
            let (analytic, numeric) = (terms().sum::<f64>(), changes().sum::<f64>());
            let size = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
            // A slope can be small by cancellation: the terms say how small a difference is one.
            let scale = size(&mut terms()).max(size(&mut changes())).max(analytic.abs()).max(numeric.abs());
            let error = if scale == 0.0 { 0.0 } else { (analytic - numeric).abs() / scale };
            slopes.push(Slope { input, analytic, numeric, error });
        }
    }
    // Not a number is worse than any distance.
    let rank = |slope: &Slope| if slope.error.is_nan() { f64::INFINITY } else { slope.error };
    match slopes.iter().max_by(|a, b| rank(a).total_cmp(&rank(b))) {
        Some(&worst) if rank(&worst) > options.tolerance => {
            Err(Error::Gradcheck { worst, tolerance: options.tolerance })
        }
        _ => Ok(GradcheckReport { slopes }),
    }
}

fn check(inputs: &[Tensor], options: &GradcheckOptions) -> Result<()> {
    let refuse = |message: String| Err(Error::Argument { op: "gradcheck", message });
    if !inputs.iter().any(|input| input.dtype() == DType::F32) {
        return refuse(format!("{} inputs, none of f32; pass at least one that can move", inputs.len()));
    }
    if !(options.step > 0.0 && options.step.is_finite() && options.tolerance > 0.0 && options.directions > 0) {
        return refuse(format!(
            "step {}, tolerance {}, {} directions; each must be above 0",
            options.step, options.tolerance, options.directions
        ));
    }
    Ok(())
}

fn on_tape(tape: &Tape, tensor: Tensor) -> Var {
    if tensor.dtype() == DType::F32 { tape.leaf(tensor) } else { tape.constant(tensor) }
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    /// Uniform between -1 and 1, and not near 0: every element counts.
    fn signed(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let size = 0.25 + 0.75 * (z >> 40) as f32 / (1u32 << 24) as f32;
        if z & 1 == 0 { size } else { -size }
    }
}
