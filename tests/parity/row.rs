//! What a row of the parity table is made of. A row is data: the op, the inputs it is tried on, its reference, its
//! tolerance class and the wrong calls with their whole error text. `run.rs` does the rest.

use kiln_autograd::Var;
use kiln_tensor::{DType, Device, Result, Tensor};

use crate::reference::Array;
use crate::reference::array::{numel, ravel, unravel};
use crate::reference::philox::philox4x32_10;
use crate::tolerance::{Class, Expected};

/// One public op.
pub struct Row {
    /// As it is called: a method of `Tensor`, or `module::function`.
    pub name: &'static str,
    pub class: Class,
    pub gradient: Gradient,
    pub cases: Vec<Case>,
    pub wrong: Wrongs,
}

impl Row {
    /// Of those that every adapter has the dtypes for.
    pub fn largest(&self) -> Option<&Case> {
        self.cases.iter().filter(|case| !case.needs_f16()).max_by_key(|case| case.elements())
    }
}

/// How closely the gradient on the device must meet central differences of the reference.
#[derive(Clone, Copy, Debug)]
pub enum Gradient {
    /// Relative to the inner product with the direction.
    Within(f64),
    /// The op has none, for this reason.
    None(&'static str),
}

/// Pointwise and linear ops.
pub const LINEAR: Gradient = Gradient::Within(1e-4);
/// Reductions and norms.
pub const REDUCTION: Gradient = Gradient::Within(5e-4);

/// The bound where nothing else is said: kernels that are themselves gradients have none.
pub const NO_GRADIENT: Gradient = Gradient::None("is itself a gradient");

/// The wrong calls of an op: at least two, or the reason why no call is wrong.
pub enum Wrongs {
    Calls(Vec<Wrong>),
    Infallible(&'static str),
}

/// A call that must fail with exactly this text.
pub struct Wrong {
    pub message: &'static str,
    pub call: Call,
}

/// Makes its own inputs.
pub type Call = Box<dyn Fn(&Device) -> Result<Tensor>>;

pub fn wrong(message: &'static str, call: impl Fn(&Device) -> Result<Tensor> + 'static) -> Wrong {
    Wrong { message, call: Box::new(call) }
}

/// An op with its arguments, on the tensors of a case.
pub type Forward = Box<dyn Fn(&Device, &[Tensor]) -> Result<Tensor>>;
/// The same on variables of a tape; operands that are no variables (masks, class indices) are taken from the tensors.
pub type Differentiable = Box<dyn Fn(&[Tensor], &[Var]) -> kiln_autograd::Result<Var>>;
/// The same on the reference.
pub type Reference = Box<dyn Fn(&[Array]) -> Expected>;

/// The op on one set of inputs with one set of arguments.
pub struct Case {
    pub label: String,
    pub inputs: Vec<Input>,
    pub forward: Forward,
    pub reference: Reference,
    /// `None` where the row's gradient is not tried on this case.
    pub differentiable: Option<Differentiable>,
    /// Instead of the row's.
    pub class: Option<Class>,
    /// Whether it is also run on a device that can bind little at once.
    pub tight: bool,
    /// Dtype of the result.
    pub dtype: DType,
    /// What PyTorch gave for it.
    pub recorded: Option<Array>,
}

impl Case {
    pub fn new(
        label: impl Into<String>,
        inputs: Vec<Input>,
        forward: impl Fn(&[Tensor]) -> Result<Tensor> + 'static,
        reference: impl Fn(&[Array]) -> Expected + 'static,
    ) -> Case {
        Case {
            label: label.into(),
            inputs,
            forward: Box::new(move |_, tensors| forward(tensors)),
            reference: Box::new(reference),
            differentiable: None,
            class: None,
            tight: false,
            dtype: DType::F32,
            recorded: None,
        }
    }

    /// A case of an op that makes a tensor of nothing.
    pub fn creating(
        label: impl Into<String>,
        forward: impl Fn(&Device) -> Result<Tensor> + 'static,
        reference: impl Fn() -> Expected + 'static,
    ) -> Case {
        let forward = Box::new(move |device: &Device, _: &[Tensor]| forward(device));
        Case { forward, ..Case::new(label, Vec::new(), |x| Ok(x[0].clone()), move |_| reference()) }
    }

    /// The op on variables.
    #[must_use]
    pub fn differentiable(mut self, op: impl Fn(&[Var]) -> kiln_autograd::Result<Var> + 'static) -> Case {
        self.differentiable = Some(Box::new(move |_, vars| op(vars)));
        self
    }

    /// The op on variables and on the tensors of inputs that have no gradient.
    #[must_use]
    pub fn differentiable_with(
        mut self,
        op: impl Fn(&[Tensor], &[Var]) -> kiln_autograd::Result<Var> + 'static,
    ) -> Case {
        self.differentiable = Some(Box::new(op));
        self
    }

    /// Runs it also where an operand of more than 4 KiB is too large to bind.
    #[must_use]
    pub fn tight(mut self) -> Case {
        self.tight = true;
        self
    }

    pub fn needs_f16(&self) -> bool {
        self.dtype == DType::F16 || self.inputs.iter().any(|input| input.dtype == DType::F16)
    }

    /// Elements of its largest input.
    pub fn elements(&self) -> usize {
        self.inputs.iter().map(|input| numel(&input.shape)).max().unwrap_or(0)
    }

    #[must_use]
    pub fn class(mut self, class: Class) -> Case {
        self.class = Some(class);
        self
    }

    /// The class that its result is held to: integers are always the same number, and what is stored as f16 has its own.
    pub fn class_in(&self, row: &Row) -> Class {
        match (self.class.unwrap_or(row.class), self.dtype) {
            (_, DType::I32 | DType::U32 | DType::U8) => Class::Whole,
            (Class::Exact, _) => Class::Exact,
            (_, DType::F16) => Class::Half,
            (class, DType::F32) => class,
        }
    }

    #[must_use]
    pub fn gives(mut self, dtype: DType) -> Case {
        self.dtype = dtype;
        self
    }

    #[must_use]
    pub fn recorded(mut self, value: &Array) -> Case {
        self.recorded = Some(value.clone());
        self
    }
}

/// Where values are drawn from. Central differences need every value to be further than their step from any kink.
#[derive(Clone, Debug)]
pub enum Domain {
    /// Evenly from `low..high`.
    Within(f64, f64),
    /// Evenly from `low..high`, but at least 0.01 from each of these points.
    Apart(f64, f64, &'static [f64]),
    /// A shuffle of evenly spaced values in -1..1: no two alike, and none near another.
    Distinct,
    /// Whole numbers from `low..=high`.
    Whole(i64, i64),
    /// These.
    Given(Vec<f64>),
}

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layout {
    Contiguous,
    /// Every second element along the last axis of a larger tensor, from its second on, and from the second row on. What
    /// lies between is NaN (or the dtype's largest value), so that a kernel that reads it shows.
    Offset,
    /// Stored with its axes in reverse order.
    Transposed,
    /// A slice of whole rows: contiguous, but not at the start of its memory.
    Tail,
}

#[derive(Clone, Debug)]
pub struct Input {
    pub shape: Vec<usize>,
    pub domain: Domain,
    pub layout: Layout,
    pub dtype: DType,
}

/// An f32 input, contiguous.
pub fn input(shape: &[usize], domain: Domain) -> Input {
    Input { shape: shape.to_vec(), domain, layout: Layout::Contiguous, dtype: DType::F32 }
}

impl Input {
    /// Exactly these values.
    pub fn given(value: &Array) -> Input {
        input(&value.shape, Domain::Given(value.data.clone()))
    }

    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Input {
        self.layout = layout;
        self
    }

    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Input {
        self.dtype = dtype;
        self
    }

    /// The values for a seed, already rounded to the input's dtype.
    pub fn values(&self, seed: u64) -> Array {
        let count = numel(&self.shape);
        let data: Vec<f64> = match &self.domain {
            Domain::Given(values) => values.clone(),
            Domain::Within(low, high) => (0..count).map(|i| low + (high - low) * uniform(seed, i, 0)).collect(),
            Domain::Apart(low, high, points) => (0..count)
                .map(|i| {
                    let tries = (0..).map(|attempt| low + (high - low) * uniform(seed, i, attempt));
                    tries.into_iter().find(|v| points.iter().all(|p| (v - p).abs() >= 0.01)).unwrap()
                })
                .collect(),
            Domain::Distinct => {
                let mut order: Vec<usize> = (0..count).collect();
                for i in (1..count).rev() {
                    order.swap(i, (uniform(seed, i, 0) * (i + 1) as f64) as usize);
                }
                order.iter().map(|&i| (2 * i + 1) as f64 / count as f64 - 1.0).collect()
            }
            Domain::Whole(low, high) => {
                (0..count).map(|i| (*low as f64 + uniform(seed, i, 0) * (high - low + 1) as f64).floor()).collect()
            }
        };
        let values = Array::new(&self.shape, data);
        match self.dtype {
            DType::F16 => values.map(|v| half::f16::from_f64(v).to_f64()),
            DType::F32 => values.rounded_to_f32(),
            _ => values,
        }
    }

    /// The values on the device, laid out as the input says.
    pub fn upload(&self, device: &Device, values: &Array) -> Result<Tensor> {
        let shape = &self.shape;
        match self.layout {
            Layout::Contiguous => upload(device, values, self.dtype),
            Layout::Transposed => {
                let reversed: Vec<usize> = (0..shape.len()).rev().collect();
                upload(device, &crate::reference::movement::permute(values, &reversed), self.dtype)?.permute(&reversed)
            }
            Layout::Tail => {
                let row = if shape.is_empty() { 1 } else { numel(&shape[1..]) };
                let mut data = vec![self.filler(); 3 * row];
                data.extend_from_slice(&values.data);
                let first = if shape.is_empty() { 1 } else { shape[0] };
                let mut larger = shape.clone();
                if larger.is_empty() {
                    larger.push(1);
                }
                larger[0] = first + 3;
                let tail = upload(device, &Array::new(&larger, data), self.dtype)?.narrow(0, 3, first)?;
                if shape.is_empty() { tail.squeeze(0) } else { Ok(tail) }
            }
            Layout::Offset => {
                // A scalar is laid out as the only element of a vector, a vector as the only row of a matrix.
                let rows: Vec<usize> = [vec![1; 2_usize.saturating_sub(shape.len())], shape.clone()].concat();
                let last = rows.len() - 1;
                let mut larger = rows.clone();
                larger[0] += 1;
                larger[last] = 2 * rows[last] + 1;
                let mut data = vec![self.filler(); numel(&larger)];
                for (at, &value) in values.data.iter().enumerate() {
                    let mut index = unravel(&rows, at);
                    index[0] += 1;
                    index[last] = 2 * index[last] + 1;
                    data[ravel(&larger, &index)] = value;
                }
                let mut view = upload(device, &Array::new(&larger, data), self.dtype)?
                    .slice(0, 1, larger[0], 1)?
                    .slice(last, 1, larger[last], 2)?;
                while view.rank() > shape.len() {
                    view = view.squeeze(0)?;
                }
                Ok(view)
            }
        }
    }

    fn filler(&self) -> f64 {
        match self.dtype {
            DType::F32 | DType::F16 => f64::NAN,
            DType::I32 => f64::from(i32::MAX),
            DType::U32 => f64::from(u32::MAX),
            DType::U8 => f64::from(u8::MAX),
        }
    }
}

/// A contiguous tensor of these values.
pub fn upload(device: &Device, values: &Array, dtype: DType) -> Result<Tensor> {
    let (shape, data) = (values.shape.as_slice(), &values.data);
    match dtype {
        DType::F32 => Tensor::from_slice(device, shape, &values.to_f32()),
        DType::F16 => {
            Tensor::from_slice(device, shape, &data.iter().map(|&v| half::f16::from_f64(v)).collect::<Vec<_>>())
        }
        DType::I32 => Tensor::from_slice(device, shape, &data.iter().map(|&v| v as i32).collect::<Vec<_>>()),
        DType::U32 => Tensor::from_slice(device, shape, &data.iter().map(|&v| v as u32).collect::<Vec<_>>()),
        DType::U8 => Tensor::from_slice(device, shape, &data.iter().map(|&v| v as u8).collect::<Vec<_>>()),
    }
}

/// The elements of a tensor of any dtype; `f64` holds each of them exactly.
pub fn download(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(match tensor.dtype() {
        DType::F32 => tensor.to_vec::<f32>()?.into_iter().map(f64::from).collect(),
        DType::F16 => tensor.to_vec::<half::f16>()?.into_iter().map(half::f16::to_f64).collect(),
        DType::I32 => tensor.to_vec::<i32>()?.into_iter().map(f64::from).collect(),
        DType::U32 => tensor.to_vec::<u32>()?.into_iter().map(f64::from).collect(),
        DType::U8 => tensor.to_vec::<u8>()?.into_iter().map(f64::from).collect(),
    })
}

/// A whole number as a dtype of integers keeps it: modulo its range.
pub fn wrapped(dtype: DType, value: f64) -> f64 {
    let range = if dtype == DType::U8 { 256.0 } else { 4_294_967_296.0 };
    let value = value.rem_euclid(range);
    if dtype == DType::I32 && value >= range / 2.0 { value - range } else { value }
}

/// The same call on tensors and on variables: `both!(x => x[0].add(&x[1]))`.
macro_rules! both {
    ($x:ident => $body:expr) => {
        (move |$x: &[kiln_tensor::Tensor]| $body, move |$x: &[kiln_autograd::Var]| $body)
    };
}
pub(crate) use both;

/// An even value in 0..1 for (seed, element, attempt).
pub fn uniform(seed: u64, element: usize, attempt: u32) -> f64 {
    let [a, b, ..] = philox4x32_10([element as u32, attempt, 0, 0], [seed as u32, (seed >> 32) as u32]);
    (f64::from(a) + f64::from(b) / 4_294_967_296.0) / 4_294_967_296.0
}

/// FNV-1a of a text: the seed of a case's inputs.
pub fn seed_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
