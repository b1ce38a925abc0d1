//! What a network consists of and costs.

use std::fmt;

use kiln_autograd::Tape;
use kiln_tensor::{DType, Device, Shape, Tensor};

use crate::buffer::Entry;
use crate::error::Result;
use crate::module::Module;

/// A layer of a [`Summary`]: ops that ran one after the other under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSummary {
    /// The full name, as parameters have it; empty for ops outside of any layer.
    pub name: String,
    /// Its operations.
    pub ops: Vec<&'static str>,
    /// The shape of the first op's first input.
    pub input: Shape,
    /// The shape of the last op's output.
    pub output: Shape,
    /// Elements of its own parameters.
    pub parameters: usize,
    /// Floating-point operations, a multiplication and an addition being two: [`op_flops`] of each of its operations.
    pub flops: u64,
    /// Bytes of its ops' outputs, which training keeps for backward.
    pub bytes: u64,
}

/// Layers, shapes, parameters, floating-point operations and memory of a network, for one input: see [`summary`]. Its text is a
/// table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The layers in the order in which they ran. One that ran twice is there twice, its parameters counted at the first.
    pub layers: Vec<LayerSummary>,
    /// Elements of all parameters; one under several names counts once.
    pub parameters: usize,
    /// Of these, the elements that are not frozen.
    pub trainable: usize,
    /// Floating-point operations of a forward pass.
    pub flops: u64,
    /// Bytes of parameters and buffers.
    pub state_bytes: u64,
    /// Bytes of all ops' outputs.
    pub activation_bytes: u64,
}

/// Runs a network once on zeros of this shape, batch included, and tells what ran. Evaluation mode, so nothing changes.
///
/// ```
/// # use kiln_tensor::Device; use kiln_nn::{Conv2d, Flatten, Init, Linear, ReLU, Sequential, summary};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let model = Sequential::builder()
///     .layer(Conv2d::builder(1, 4, 3).padding(1))
///     .layer(ReLU)
///     .layer(Flatten)
///     .layer(Linear::builder(4 * 8 * 8, 10))
///     .build(&device, &Init::seed(1))?;
/// let found = summary(&model, &device, [1, 1, 8, 8])?;
/// assert_eq!(found.parameters, 4 * 9 + 4 + 256 * 10 + 10);
/// // Of the convolution, the ReLU and the linear layer; the biases' additions included.
/// assert_eq!(found.flops, (2 * 9 + 1) * 256 + 256 + (2 * 256 + 1) * 10);
/// println!("{found}");
/// # Ok(()) }
/// ```
///
/// # Errors
/// Those of the network's forward: a shape that does not fit.
pub fn summary(model: &dyn Module, device: &Device, input: impl Into<Shape>) -> Result<Summary> {
    let tape = Tape::eval().traced();
    model.forward(&tape.constant(Tensor::zeros(device, input, DType::F32)?))?;
    let all = model.parameters();
    let unique = all.unique();
    let mut layers: Vec<LayerSummary> = Vec::new();
    for trace in tape.take_trace() {
        let bytes = if moves(trace.op) { 0 } else { (trace.output.shape.numel() * trace.output.dtype.size()) as u64 };
        let shapes: Vec<Shape> = trace.inputs.iter().map(|form| form.shape).collect();
        let flops = op_flops(trace.op, &shapes, &trace.output.shape);
        let input = trace.inputs.first().map_or(Shape::SCALAR, |form| form.shape);
        match layers.last_mut().filter(|last| last.name == trace.layer) {
            Some(last) => {
                last.ops.push(trace.op);
                last.output = trace.output.shape;
                last.flops += flops;
                last.bytes += bytes;
            }
            None => {
                let known = layers.iter().any(|layer| layer.name == trace.layer);
                let own = |name: &str| name.rsplit_once('.').map_or("", |(layer, _)| layer) == trace.layer;
                let parameters = unique.iter().filter(|(name, _)| !known && own(name)).map(|(_, p)| p.numel()).sum();
                layers.push(LayerSummary {
                    name: trace.layer,
                    ops: vec![trace.op],
                    input,
                    output: trace.output.shape,
                    parameters,
                    flops,
                    bytes,
                });
            }
        }
    }
    let sizes = |kept: &dyn Fn(&crate::Parameter) -> bool| {
        unique.iter().filter(|(_, parameter)| kept(parameter)).map(|(_, parameter)| parameter.numel()).sum()
    };
    let parameter_bytes: usize = unique.iter().map(|(_, parameter)| parameter.numel() * parameter.dtype().size()).sum();
    let buffer_bytes: usize = model
        .entries()
        .iter()
        .map(|(_, entry)| match entry {
            Entry::Buffer(buffer) => buffer.shape().numel() * buffer.dtype().size(),
            Entry::Parameter(_) | Entry::Count(_) => 0,
        })
        .sum();
    Ok(Summary {
        parameters: sizes(&|_| true),
        trainable: sizes(&|parameter| !parameter.is_frozen()),
        flops: layers.iter().map(|layer| layer.flops).sum(),
        state_bytes: (parameter_bytes + buffer_bytes) as u64,
        activation_bytes: layers.iter().map(|layer| layer.bytes).sum(),
        layers,
    })
}

/// Whether an op gives the same memory under another shape.
fn moves(op: &str) -> bool {
    matches!(
        op,
        "reshape" | "flatten" | "squeeze" | "unsqueeze" | "permute" | "transpose" | "t" | "expand" | "narrow" | "slice"
    )
}

/// The floating-point operations of an operation on inputs of these shapes. `op` is its name on a tape, which is that of the method
/// of [`Var`](kiln_autograd::Var).
///
/// Contractions count their multiplications and additions, the bias's additions with them. Normalisations count what one element
/// needs: 2 for batch norm by given statistics (a factor and a sum), 6 by those of the batch, 7 for local response normalisation,
/// whose window's sum goes along the channels with one addition and one subtraction. Adaptive pooling counts the elements of all
/// its windows, bilinear interpolation 9 for an element. Everything else counts one for each element of its larger side; moving
/// elements counts nothing. A ReLU that runs with another operation counts as if it ran alone.
///
/// ```
/// use kiln_nn::op_flops;
/// // A product of [2, 3] and [3, 4]: a multiplication and an addition for each of 2 * 4 * 3 terms.
/// assert_eq!(op_flops("matmul", &[[2, 3].into(), [3, 4].into()], &[2, 4].into()), 48);
/// ```
pub fn op_flops(op: &str, inputs: &[Shape], output: &Shape) -> u64 {
    let elements = output.numel() as u64;
    let size = |index: usize| inputs.get(index).map_or(0, |shape: &Shape| shape.numel() as u64);
    let dim =
        |index: usize, axis: usize| inputs.get(index).and_then(|shape| shape.get(axis).copied()).unwrap_or(1) as u64;
    let bias = if inputs.len() > 2 { elements } else { 0 };
    let (op, fused) = op.strip_suffix("_relu").filter(|op| *op != "leaky").map_or((op, false), |op| (op, true));
    let relu = match op {
        _ if !fused => 0,
        // It stands in front of the pooling.
        "max_pool2d" => size(0),
        _ => elements,
    };
    relu + match op {
        // The weight is [out, in / groups, kh, kw].
        "conv2d" => 2 * elements * size(1) / dim(1, 0).max(1) + bias,
        // The weight is [in, out / groups, kh, kw].
        "conv_transpose2d" => 2 * size(0) * size(1) / dim(1, 0).max(1) + bias,
        // The weight is [out, in].
        "linear" => 2 * elements * dim(1, 1) + bias,
        "matmul" => {
            let inner = inputs.first().and_then(|shape| shape.last().copied()).unwrap_or(1);
            2 * elements * inner as u64
        }
        "batch_norm" => 2 * elements,
        "batch_norm_train" => 6 * elements,
        "local_response_norm" => 7 * elements,
        "upsample_bilinear2d" => 9 * elements,
        "adaptive_avg_pool2d" | "adaptive_max_pool2d" => {
            // Window o of `out` along an axis of `size` elements: floor(o size / out) .. ceil((o + 1) size / out).
            let along = |axis: usize| {
                let (size, out) = (dim(0, axis), output.get(axis).copied().unwrap_or(1) as u64);
                (0..out).map(|o| ((o + 1) * size).div_ceil(out) - o * size / out).sum::<u64>()
            };
            dim(0, 0) * dim(0, 1) * along(2) * along(3)
        }
        op if moves(op) || matches!(op, "contiguous" | "cat" | "stack" | "upsample_nearest2d") => 0,
        _ => elements.max(size(0)),
    }
}

/// A number with a unit.
fn short(number: u64, units: [&str; 4], base: f64) -> String {
    let mut value = number as f64;
    let mut unit = 0;
    while value >= base && unit < 3 {
        value /= base;
        unit += 1;
    }
    if unit == 0 { format!("{number}{}", units[0]) } else { format!("{value:.2}{}", units[unit]) }
}

/// Bytes with a unit of powers of 1,024.
pub(crate) fn binary(bytes: u64) -> String {
    short(bytes, [" B", " KiB", " MiB", " GiB"], 1024.0)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |number: u64| short(number, ["", " k", " M", " G"], 1000.0);
        let mut rows = vec![["layer", "ops", "output", "parameters", "FLOPs", "memory"].map(String::from)];
        for layer in &self.layers {
            let name = if layer.name.is_empty() { "-" } else { &layer.name };
            rows.push([
                name.to_string(),
                layer.ops.join(", "),
                layer.output.to_string(),
                layer.parameters.to_string(),
                counted(layer.flops),
                binary(layer.bytes),
            ]);
        }
        let widths: Vec<usize> =
            (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
        for row in &rows {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0..=2 => write!(f, "{cell:<width$}  ")?,
                    5 => writeln!(f, "{cell:>width$}")?,
                    _ => write!(f, "{cell:>width$}  ")?,
                }
            }
        }
        writeln!(f, "parameters    {} ({} trainable)", self.parameters, self.trainable)?;
        writeln!(f, "FLOPs         {} forward", counted(self.flops))?;
        write!(
            f,
            "memory        {} of state, {} of activations",
            binary(self.state_bytes),
            binary(self.activation_bytes)
        )
    }
}
