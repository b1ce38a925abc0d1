//! The general tiled product: any strides, any window, any adapter.
//!
//! An op describes its [`Problem`]; the tile loop and the number of parts that k is cut into follow from it.

use kiln_gpu::{AdapterClass, Binding, Device};
use kiln_shaders::contract::{Access, Bias, Loop, MatrixUnit, Memory, Mode, Params, TileSize, finish, kernel};

use super::{cooperative, lanes, splits};
use crate::dtype::DType;
use crate::error::Result;
use crate::launch::launch;
use crate::plan::{Algorithm, note};
use crate::tensor::Tensor;

/// `C[z][m][n] = sum over k of A[z][m][k] B[z][k][n]`, with the addresses of `shaders/part/contract.wgsl` in `params`. Offsets are
/// counted from each tensor's first element.
pub(crate) struct Problem<'a> {
    pub(crate) op: &'static str,
    pub(crate) mode: Mode,
    pub(crate) a: &'a Tensor,
    pub(crate) b: &'a Tensor,
    pub(crate) bias: Option<(&'a Tensor, Bias)>,
    pub(crate) relu: bool,
    pub(crate) params: Params,
    /// Whether neighbours in memory are neighbours along k.
    pub(crate) a_along_k: bool,
    pub(crate) b_along_k: bool,
    pub(crate) way: Way,
}

/// Which loop runs a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// What suits the adapter and the sizes.
    Usual,
    /// A GPU's, with this tile.
    Tile(TileSize),
    /// That of these matrix units.
    Cooperative(MatrixUnit),
}

impl Way {
    /// The loop of an algorithm that was chosen.
    pub(crate) fn of(device: &Device, algorithm: Algorithm) -> Way {
        match algorithm {
            Algorithm::Tile(size) => Way::Tile(size),
            Algorithm::Cooperative => cooperative::unit(device).map_or(Way::Usual, Way::Cooperative),
            _ => Way::Usual,
        }
    }
}

/// How a problem is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    tiles: Loop,
    splits: u32,
}

impl<'a> Problem<'a> {
    /// A problem without a bias. `[a, b]` and `along_k` are its sides.
    pub(crate) fn plain(
        op: &'static str,
        mode: Mode,
        [a, b]: [&'a Tensor; 2],
        along_k: [bool; 2],
        params: Params,
    ) -> Problem<'a> {
        let [a_along_k, b_along_k] = along_k;
        Problem { op, mode, a, b, bias: None, relu: false, params, a_along_k, b_along_k, way: Way::Usual }
    }

    /// Tells what runs it, to who watches.
    fn note(&self, plan: Plan) {
        let tile = Some(plan.tiles.tile());
        let (algorithm, tile) = match self.way {
            Way::Usual => (Algorithm::Tiles, tile),
            Way::Tile(size) => (Algorithm::Tile(size), None),
            Way::Cooperative(_) => (Algorithm::Cooperative, tile),
        };
        note(self.a.device(), algorithm, tile, plan.splits);
    }

    /// How it is run; `cut`: k may be cut into parts.
    pub(super) fn plan(&self, device: &Device, cut: bool) -> Plan {
        let Params { m, n, k, batches, .. } = self.params;
        let sizes = [m, n, k, batches];
        let parts = |tiles| if cut { splits(device, groups(tiles, &self.params), k) } else { 1 };
        if lanes(device) && self.way == Way::Usual {
            let blocks = match m {
                0..=8 => 1,
                9..=16 => 2,
                _ => 4,
            };
            let tiles = Loop::Lanes { blocks };
            return Plan { tiles, splits: parts(tiles) };
        }
        let memory = self.memory();
        let tiles = |size| Loop::Tile { size, memory };
        let usual = || match device.info().class {
            AdapterClass::Gpu => soonest(sizes, |size| parts(tiles(size))),
            // The driver compiles the larger ones for seconds, and gains nothing by them.
            AdapterClass::Software => TileSize::T64x64,
        };
        let tiles = match self.way {
            Way::Usual => tiles(usual()),
            Way::Tile(size) => tiles(size),
            Way::Cooperative(unit) => Loop::Cooperative { unit, memory },
        };
        Plan { tiles, splits: parts(tiles) }
    }

    /// How operands and result can be reached.
    fn memory(&self) -> Memory {
        let Params { m, n, k, batches, a_batch, a_row, a_k, b_batch, b_column, b_k, k_rows, k_columns, .. } =
            self.params;
        let four = |numbers: &[u32]| numbers.iter().all(|number| number.is_multiple_of(4));
        // What is never stepped over does not matter.
        let batch = |stride: u32| if batches == 1 { 0 } else { stride };
        let row = if m == 1 { 0 } else { a_row };
        let base = four(&[self.a.window().offset, batch(a_batch)]);
        let plane = if self.mode == Mode::Dense { 1 } else { k_rows * k_columns };
        let a_quads = match (self.a_along_k, self.mode) {
            (true, Mode::Dense) => four(&[row, k]) && a_k == 1,
            // Planes without a gap between them are one line.
            (true, _) => four(&[row, k]) && (a_k == plane || four(&[plane, a_k])),
            (false, _) => four(&[m, a_k]) && a_row == 1 && plane == 1,
        };
        let column = if n == 1 { 0 } else { b_column };
        let b_quads = self.mode == Mode::Dense
            && four(&[self.b.window().offset, batch(b_batch)])
            && if self.b_along_k { four(&[column, k]) && b_k == 1 } else { four(&[n, b_k]) && b_column == 1 };
        // A dense result is written from a multiple of 256 bytes on, row by row.
        let (a, b) = (self.a_along_k, self.b_along_k);
        let access = |along_k, quads| Access { along_k, quads };
        Memory { a: access(a, base && a_quads), b: access(b, b_quads), c_quads: n.is_multiple_of(4) }.usual(self.mode)
    }
}

/// The invocations that keep a GPU busy: 256 workgroups of 256.
const BUSY: f64 = 65_536.0;

/// The tile with which a GPU is done soonest. Its time is the work of whole tiles, over the rate of its inner loop and the share
/// of the GPU that its invocations fill, where k is cut as `splits` say.
fn soonest([m, n, _, batches]: [u32; 4], splits: impl Fn(TileSize) -> u32) -> TileSize {
    let time = |size: TileSize| {
        let [rows, columns] = size.extent();
        let tiles = (m as usize).div_ceil(rows) * (n as usize).div_ceil(columns) * batches as usize;
        let busy = (tiles * size.threads()) as f64 * f64::from(splits(size)) / BUSY;
        (tiles * rows * columns) as f64 / (rate(size) * busy.min(1.0))
    };
    TileSize::ALL.into_iter().min_by(|&a, &b| time(a).total_cmp(&time(b))).unwrap_or(TileSize::T64x64)
}

/// The rate of a tile's inner loop on a GPU that is full, where 1 is that of 128 by 128. An invocation with 8x8, 4x8 or 4x4 results reads
/// a vec4 of workgroup memory for every 16, 10.7 or 8 multiplications, and a tile of 64 reads twice as much memory as one of 128.
fn rate(size: TileSize) -> f64 {
    match size {
        TileSize::T128x128 => 1.0,
        TileSize::T64x128 => 0.85,
        TileSize::T64x64 => 0.7,
        TileSize::T32x128 => 0.6,
        TileSize::T32x32 => 0.5,
    }
}

fn groups(tiles: Loop, params: &Params) -> u64 {
    let [rows, columns] = tiles.tile().map(|lines| lines as u64);
    u64::from(params.m).div_ceil(rows) * u64::from(params.n).div_ceil(columns) * u64::from(params.batches)
}

/// Runs a problem whose result is laid out as `params` say, into `out`.
pub(crate) fn contract_into(problem: &Problem<'_>, out: &Tensor) -> Result<()> {
    let plan = problem.plan(out.device(), false);
    problem.note(plan);
    run(problem, out, plan)
}

/// Runs a problem whose result is dense, `[batches, m, n]`. Where k is very long, or one workgroup per tile would
/// leave the adapter idle, k is cut into parts whose results are then summed in order.
pub(crate) fn contract(problem: &Problem<'_>) -> Result<Tensor> {
    let plan = problem.plan(problem.a.device(), problem.bias.is_none() && !problem.relu);
    problem.note(plan);
    contract_as(problem, plan)
}

/// The same by a plan.
pub(super) fn contract_as(problem: &Problem<'_>, plan: Plan) -> Result<Tensor> {
    let Params { m, n, batches, .. } = problem.params;
    let device = problem.a.device();
    let parts = batches as usize * plan.splits as usize;
    let dtype = if plan.splits > 1 { DType::F32 } else { problem.a.dtype() };
    let out = Tensor::empty(device, [parts, m as usize, n as usize], dtype, problem.op)?;
    let dense = Problem {
        params: Params { c_batch: m * n, c_row: n, c_outer: 0, inner: n.max(1), ..problem.params },
        ..*problem
    };
    run(&dense, &out, plan)?;
    if plan.splits == 1 {
        return Ok(out);
    }
    let parts = out.reshape([batches as usize, plan.splits as usize, m as usize, n as usize])?;
    parts.sum(1)?.to_dtype(problem.a.dtype())
}

fn run(problem: &Problem<'_>, out: &Tensor, plan: Plan) -> Result<()> {
    let (a, b, c) = (problem.a.window(), problem.b.window(), out.window());
    let bias = problem.bias.map(|(bias, place)| (bias.window(), place));
    let place = bias.map_or(Bias::None, |(_, place)| place);
    let params = Params {
        splits: plan.splits,
        finish: finish(place, problem.relu),
        a_offset: a.offset,
        b_offset: b.offset,
        c_offset: c.offset,
        bias_offset: bias.map_or(0, |(window, _)| window.offset),
        ..problem.params
    };
    let f16 = [problem.a, out].map(|tensor| tensor.dtype() == DType::F16);
    let kernel = kernel(plan.tiles, problem.mode, f16[0], f16[1]);
    let bindings: [Binding<'_>; 4] = [a.binding, b.binding, c.binding, bias.map_or(c.binding, |(w, _)| w.binding)];
    launch(out.device(), &kernel, &bindings, &params, groups(plan.tiles, &params) * u64::from(plan.splits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_results_take_large_tiles_and_small_ones_fill_the_gpu() {
        let tile = |m, n, batches| soonest([m, n, 512, batches], |_| 1);
        assert_eq!(tile(4096, 4096, 1), TileSize::T128x128);
        // First layers with 64 and 32 channels.
        assert_eq!(tile(64, 802_816, 1), TileSize::T64x128);
        assert_eq!(tile(32, 401_408, 1), TileSize::T32x128);
        // A layer of 14x14 pixels at batch 4: 28 tiles of 128 would leave nine tenths idle, unless k is cut.
        assert_eq!(tile(512, 784, 1), TileSize::T64x64);
        assert_eq!(
            soonest([512, 784, 4608, 1], |size| if size == TileSize::T128x128 { 10 } else { 4 }),
            TileSize::T128x128
        );
        assert_eq!(tile(30, 30, 1000), TileSize::T32x32);
    }
}
