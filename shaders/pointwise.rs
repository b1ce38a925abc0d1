//! Pointwise ops as data: each is a WGSL function of scalars; the two loops around them exist once.
//!
//! [`plan`] chooses the loop: flat (`pointwise.wgsl`, four elements a thread by vector loads) where every operand is
//! contiguous or a single value, otherwise strided (`pointwise_strided.wgsl`).

use crate::launch::{Launch, params};
use crate::{Compute, Kernel, Storage};
use thiserror::Error;

mod operand;
mod ops;

pub use ops::*;

/// What type a pointwise op gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gives {
    /// The type of its last operand.
    Same,
    /// 1 or 0 as [`Storage::U8`].
    Mask,
    /// Any type that is asked for.
    Any,
}

/// A pointwise op: the WGSL function `apply` for each type it computes with.
///
/// `apply` takes as many of `a: A`, `b: B`, `c: C` as the op has operands and returns an `R`, where A, B, C and R are the
/// compute types of operands and result. The scalars of an op are `params.s0` and `params.s1`, as bits.
#[derive(PartialEq, Eq, Debug)]
pub struct PointwiseOp {
    /// The op's name.
    pub name: &'static str,
    /// The number of tensor operands, 0 to 3.
    pub arity: usize,
    /// The type of the result.
    pub gives: Gives,
    /// `apply` on floats.
    pub float: Option<&'static str>,
    /// `apply` on signed integers.
    pub int: Option<&'static str>,
    /// `apply` on unsigned integers.
    pub uint: Option<&'static str>,
    /// The part that `apply` needs besides none.
    pub part: Option<&'static str>,
}

impl PointwiseOp {
    /// The WGSL function `apply` for a compute type, if the op has one.
    pub const fn apply(&self, compute: Compute) -> Option<&'static str> {
        match compute {
            Compute::Float => self.float,
            Compute::Int => self.int,
            Compute::Uint => self.uint,
        }
    }
}

/// Why a pointwise launch could not be planned.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PointwiseError {
    /// The number of operands is not the op's.
    #[error("{op}: got {given} operands, needs {needed}")]
    Arity {
        /// The op.
        op: &'static str,
        /// How many were given.
        given: usize,
        /// How many it takes.
        needed: usize,
    },
    /// The op is not defined on this type.
    #[error("{op}: is not defined on {given}; convert the operands to a type it has: {known}")]
    Type {
        /// The op.
        op: &'static str,
        /// The compute type that was given.
        given: &'static str,
        /// The compute types it has.
        known: String,
    },
    /// The operands' strides need more dimensions than the strided loop has.
    #[error("{op}: the operands' strides need {needed} dimensions, 6 are possible; make an operand contiguous first")]
    Rank {
        /// The op.
        op: &'static str,
        /// The dimensions that are left after collapsing.
        needed: usize,
    },
}

/// The largest rank of the strided loop.
pub const MAX_RANK: usize = 6;

/// How operands are read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// All contiguous; operand i is one value for all elements where `single[i]`.
    Flat {
        /// By operand.
        single: [bool; 3],
    },
    /// Any strides.
    Strided {
        /// 2, 4 or 6: a bound on the number of dimensions.
        rank: u32,
        /// Four elements a thread, see `pointwise_strided.wgsl`.
        quad: bool,
    },
}

params! {
    /// The parameters of `pointwise.wgsl`.
    "pointwise" pub struct FlatParams {
        /// First quad of a, b, c and out; of an operand that is one value, the element.
        pub offsets: [u32; 4],
        /// `ceil(elements / 4)`
        pub quads: u32,
        /// The first scalar's bits.
        pub s0: u32,
        /// The second scalar's bits.
        pub s1: u32,
        /// Quads that a thread makes.
        pub repeat: u32,
    }
}

params! {
    /// The parameters of `pointwise_strided.wgsl`.
    "pointwise_strided" pub struct StridedParams {
        /// By dimension, innermost first: strides of a, b, c and out in elements.
        pub strides: [[u32; 4]; 6],
        /// First elements of a, b, c and out.
        pub offsets: [u32; 4],
        /// Extents of dimensions 0 to 3; dimension 0 in runs.
        pub shape: [u32; 4],
        /// Extent of dimension 4.
        pub shape4: u32,
        /// Runs.
        pub count: u32,
        /// The first scalar's bits.
        pub s0: u32,
        /// The second scalar's bits.
        pub s1: u32,
        /// Elements of a run, or quads where the form says so.
        pub run: u32,
        /// Not read.
        pub unused: [u32; 3],
    }
}

/// Where an operand's elements are.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// Their type.
    pub storage: Storage,
    /// Strides in elements, outermost first, as many as the shape has extents; 0 broadcasts.
    pub strides: &'a [usize],
    /// The first element, counted from the start of the binding.
    pub offset: usize,
}

/// The kernel of an op for operands and result of these types.
///
/// Bindings: the operands in order, then the result. The groups to launch are `ceil(threads / 256)`, where a thread makes
/// four elements in the flat form and where the strided form has `quad`, otherwise one.
///
/// # Errors
/// The wrong number of operands, or a type that the op has no function for.
pub fn kernel(op: &PointwiseOp, inputs: &[Storage], out: Storage, form: Form) -> Result<Kernel, PointwiseError> {
    if inputs.len() != op.arity {
        return Err(PointwiseError::Arity { op: op.name, given: inputs.len(), needed: op.arity });
    }
    let compute = inputs.last().unwrap_or(&out).compute();
    let apply = op.apply(compute).ok_or_else(|| PointwiseError::Type {
        op: op.name,
        given: compute.wgsl(),
        known: Compute::ALL
            .into_iter()
            .filter(|&compute| op.apply(compute).is_some())
            .map(Compute::wgsl)
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    // WGSL leaves the conversion of a NaN open, and stops at the largest f32 that the integer type holds.
    let (apply, part) = match (op.gives, compute, out.compute()) {
        (Gives::Any, Compute::Float, Compute::Int) => (ops::FLOAT_TO_INT, Some("float")),
        (Gives::Any, Compute::Float, Compute::Uint) => (ops::FLOAT_TO_UINT, Some("float")),
        _ => (apply, op.part),
    };
    let (file, flat) = match form {
        Form::Flat { .. } => ("pointwise", true),
        Form::Strided { .. } => ("pointwise_strided", false),
    };
    let mut kernel = Kernel::new(file);
    if let Form::Strided { rank, quad } = form {
        kernel = kernel.constant("RANK", rank).constant("QUAD", quad);
    }
    kernel = kernel.alias("R", out.compute().wgsl());
    if inputs.contains(&Storage::U8) || out == Storage::U8 {
        kernel = kernel.part("bytes");
    }
    if let Some(part) = part {
        kernel = kernel.part(part);
    }
    for (slot, &input) in inputs.iter().enumerate() {
        let single = matches!(form, Form::Flat { single } if single.get(slot).is_some_and(|&single| single));
        kernel = kernel
            .alias(operand::ALIASES[slot], input.compute().wgsl())
            .function(operand::load(slot, input, flat, single));
    }
    let quad = matches!(form, Form::Strided { quad: true, .. });
    Ok(kernel
        .function(operand::store(op.arity, out, flat, quad))
        .function(operand::evaluate(op.arity, flat))
        .function(apply))
}

/// Plans a launch of `op` over `shape`, with `inputs` broadcast to it by strides of 0.
///
/// `scalars` are the op's own (zeros where it has none). `tail` says that what lies behind the result, up to the next
/// multiple of 16 bytes, may be overwritten: true for a result that has its allocation for itself. The binding of each
/// operand reaches to the next multiple of 16 bytes behind its last element. `lanes` lanes keep the adapter busy: about 64 for a
/// CPU, 16,384 for a GPU.
///
/// # Errors
/// The wrong number of operands, a type that the op has no function for, or strides that do not collapse to
/// [`MAX_RANK`] dimensions.
pub fn plan(
    op: &PointwiseOp,
    shape: &[usize],
    inputs: &[Operand<'_>],
    out: Operand<'_>,
    scalars: [f64; 2],
    tail: bool,
    lanes: usize,
) -> Result<Launch, PointwiseError> {
    if inputs.len() != op.arity {
        return Err(PointwiseError::Arity { op: op.name, given: inputs.len(), needed: op.arity });
    }
    let elements: usize = shape.iter().product();
    let mut storages = [out.storage; 3];
    for (storage, input) in storages.iter_mut().zip(inputs) {
        *storage = input.storage;
    }
    let storages = storages.get(..inputs.len()).unwrap_or(&storages);
    let scalar_type = inputs.last().map_or(out.storage, |input| input.storage);
    let [s0, s1] = scalars.map(|value| scalar_type.bits(value));

    if (tail || elements.is_multiple_of(4)) && contiguous(shape, out.strides) && out.offset.is_multiple_of(4) {
        let mut single = [false; 3];
        let mut offsets = [0, 0, 0, (out.offset / 4) as u32];
        let mut flat = true;
        for (slot, input) in inputs.iter().enumerate() {
            // One value for all: the flat form reads it as such at any offset.
            let constant = shape.iter().zip(input.strides).all(|(&extent, &stride)| extent == 1 || stride == 0);
            single[slot] = constant;
            offsets[slot] = (if constant { input.offset } else { input.offset / 4 }) as u32;
            flat &= constant || (contiguous(shape, input.strides) && input.offset.is_multiple_of(4));
        }
        if flat {
            let quads = elements.div_ceil(4);
            let repeat = (quads / (16 * lanes)).clamp(1, 8);
            let params = FlatParams { offsets, quads: quads as u32, s0, s1, repeat: repeat as u32 };
            let kernel = kernel(op, storages, out.storage, Form::Flat { single })?;
            return Ok(Launch::new(kernel, &params, groups(quads.div_ceil(repeat))));
        }
    }

    let (extents, strides, rank) = collapse(op.name, shape, inputs, &out)?;
    let words = out.storage != Storage::U8
        || (strides[0][3] == 1
            && out.offset.is_multiple_of(4)
            && strides.iter().skip(1).all(|stride| stride[3].is_multiple_of(4)));
    let quad = extents[0].is_multiple_of(4) && words;
    let mut offsets = [0, 0, 0, out.offset as u32];
    for (offset, input) in offsets.iter_mut().zip(inputs) {
        *offset = input.offset as u32;
    }
    let unit = if quad { 4 } else { 1 };
    let first = extents[0] / unit;
    // Neighbouring threads of a GPU should read neighbouring elements.
    let longest = if lanes > 1024 { 1 } else { 8 };
    let run = (1..=longest).rev().find(|run| first.is_multiple_of(*run)).unwrap_or(1);
    let count = elements / (unit * run) as usize;
    let params = StridedParams {
        strides,
        offsets,
        shape: [first / run, extents[1], extents[2], extents[3]],
        shape4: extents[4],
        count: count as u32,
        s0,
        s1,
        run,
        unused: [0; 3],
    };
    let rank = rank.max(1).next_multiple_of(2) as u32;
    let kernel = kernel(op, storages, out.storage, Form::Strided { rank, quad })?;
    Ok(Launch::new(kernel, &params, groups(count)))
}

/// The workgroups for a number of threads.
fn groups(threads: usize) -> u64 {
    threads.div_ceil(256) as u64
}

/// Whether strides are those of a contiguous tensor.
fn contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&extent, &stride)| {
        let fits = extent == 1 || stride == expected;
        expected *= extent;
        fits
    })
}

type Collapsed = ([u32; MAX_RANK], [[u32; 4]; MAX_RANK], usize);

/// Extents and strides innermost first, with neighbouring dimensions joined where every operand allows it.
fn collapse(
    op: &'static str,
    shape: &[usize],
    inputs: &[Operand<'_>],
    out: &Operand<'_>,
) -> Result<Collapsed, PointwiseError> {
    let mut extents = [1usize; MAX_RANK];
    let mut strides = [[0usize; 4]; MAX_RANK];
    let mut rank = 0;
    for (axis, &extent) in shape.iter().enumerate().rev() {
        if extent == 1 {
            continue;
        }
        let mut row = [0; 4];
        row[3] = out.strides.get(axis).copied().unwrap_or(0);
        for (stride, input) in row.iter_mut().zip(inputs) {
            *stride = input.strides.get(axis).copied().unwrap_or(0);
        }
        let joins = rank > 0
            && rank <= MAX_RANK
            && (0..4).all(|operand| row[operand] == strides[rank - 1][operand] * extents[rank - 1]);
        if joins {
            extents[rank - 1] *= extent;
            continue;
        }
        if let Some(place) = extents.get_mut(rank) {
            *place = extent;
            strides[rank] = row;
        }
        rank += 1;
    }
    if rank > MAX_RANK {
        return Err(PointwiseError::Rank { op, needed: rank });
    }
    Ok((extents.map(|extent| extent as u32), strides.map(|row| row.map(|stride| stride as u32)), rank))
}

/// Every variant of every op on the types it is used with.
pub(crate) fn variants() -> Vec<Kernel> {
    let flat = Form::Flat { single: [false; 3] };
    let strided = |rank, quad| Form::Strided { rank, quad };
    let mut kernels = Vec::new();
    let mut add =
        |op: &PointwiseOp, inputs: &[Storage], out: Storage, form| kernels.extend(kernel(op, inputs, out, form));
    for op in OPS {
        for input in Storage::ALL {
            let outs: &[Storage] = match op.gives {
                Gives::Same => &[input],
                Gives::Mask => &[Storage::U8],
                Gives::Any => &Storage::ALL,
            };
            let mut inputs = [input; 3];
            if op.takes_mask() {
                inputs[0] = Storage::U8;
            }
            let inputs = &inputs[..op.arity];
            for &out in outs {
                add(op, inputs, out, flat);
                for rank in [2, 4, 6] {
                    add(op, inputs, out, strided(rank, false));
                    add(op, inputs, out, strided(rank, true));
                }
                // Which operands are one value for all: any of them.
                for chosen in 1..1usize << op.arity {
                    let single = [0, 1, 2].map(|slot| chosen >> slot & 1 == 1);
                    add(op, inputs, out, Form::Flat { single });
                }
            }
        }
    }
    kernels
}
