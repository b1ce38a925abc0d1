//! Interpolation of contiguous planes to another size, and its gradient.

use crate::launch::{Launch, params};
use crate::{Kernel, Storage};

params! {
    /// The parameters of interpolation; pairs are (x, y).
    "interpolate" "interpolate_grad" pub struct InterpolateParams {
        /// Width and height of an input plane.
        pub size: [u32; 2],
        /// Width and height of an output plane.
        pub out_size: [u32; 2],
        /// Input pixels for a step of the output.
        pub scale: [f32; 2],
        /// Threads: elements of the result.
        pub count: u32,
        /// First element of x.
        pub x_offset: u32,
        /// First element of the result.
        pub out_offset: u32,
        /// First element of dy.
        pub dy_offset: u32,
    }
}

/// How a result is made of pixels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// The pixel at its place, rounded down.
    Nearest,
    /// Of four pixels by their distances.
    Bilinear {
        /// Whether the centres of the corner pixels of both images are at the same place.
        align_corners: bool,
    },
}

/// An interpolation problem. Pairs are (height, width), as PyTorch's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Interpolate {
    /// The number of planes: batch times channels.
    pub planes: usize,
    /// An input plane.
    pub size: [usize; 2],
    /// An output plane.
    pub out_size: [usize; 2],
    /// Input pixels for a step of the output.
    pub scale: [f32; 2],
    /// How.
    pub mode: Mode,
}

impl Interpolate {
    fn launch(&self, file: &'static str, storage: Storage, pixels: [usize; 2], params: InterpolateParams) -> Launch {
        let pair = |[y, x]: [usize; 2]| [x as u32, y as u32];
        let count = self.planes * pixels[0] * pixels[1];
        let params = InterpolateParams {
            size: pair(self.size),
            out_size: pair(self.out_size),
            scale: [self.scale[1], self.scale[0]],
            count: count as u32,
            ..params
        };
        Launch::new(kernel(file, storage, self.mode), &params, count.div_ceil(64) as u64)
    }
}

fn kernel(file: &'static str, storage: Storage, mode: Mode) -> Kernel {
    Kernel::new(file)
        .alias("T", storage.wgsl())
        .constant("BILINEAR", mode != Mode::Nearest)
        .constant("ALIGN", mode == Mode::Bilinear { align_corners: true })
}

/// The planes in their new size. `offsets` are those of the bindings x, out.
pub fn forward(storage: Storage, problem: &Interpolate, offsets: [usize; 2]) -> Launch {
    let [x_offset, out_offset] = offsets.map(|offset| offset as u32);
    let params = InterpolateParams { x_offset, out_offset, ..InterpolateParams::default() };
    problem.launch("interpolate", storage, problem.out_size, params)
}

/// The gradient to the input. `offsets` are those of the bindings dy, out.
pub fn gradient(storage: Storage, problem: &Interpolate, offsets: [usize; 2]) -> Launch {
    let [dy_offset, out_offset] = offsets.map(|offset| offset as u32);
    let params = InterpolateParams { dy_offset, out_offset, ..InterpolateParams::default() };
    problem.launch("interpolate_grad", storage, problem.size, params)
}

pub(crate) fn variants() -> Vec<Kernel> {
    let modes = [Mode::Nearest, Mode::Bilinear { align_corners: false }, Mode::Bilinear { align_corners: true }];
    let mut kernels = Vec::new();
    for storage in [Storage::F32, Storage::F16] {
        for mode in modes {
            kernels.extend(["interpolate", "interpolate_grad"].map(|file| kernel(file, storage, mode)));
        }
    }
    kernels
}
