//! Winograd's fast convolution with 3x3 kernels of stride 1: the transforms. The products between them are dense and batched.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015 (arXiv 1509.09308).

use crate::launch::{Launch, params};
use crate::{Kernel, Storage};

/// Results of a tile along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tile {
    /// F(2x2, 3x3): 2.25 times fewer products, rounding errors like the direct sum's.
    Two,
    /// F(4x4, 3x3): 4 times fewer products, rounding errors about 20 times those of F(2x2, 3x3).
    Four,
}

impl Tile {
    /// Results along an axis.
    pub const fn outputs(self) -> usize {
        match self {
            Tile::Two => 2,
            Tile::Four => 4,
        }
    }

    /// Positions of a transformed tile: the batches of the product.
    pub const fn positions(self) -> usize {
        (self.outputs() + 2) * (self.outputs() + 2)
    }

    /// Tiles along axes of these extents.
    pub const fn tiles(self, [y, x]: [usize; 2]) -> [usize; 2] {
        [y.div_ceil(self.outputs()), x.div_ceil(self.outputs())]
    }

    /// The part of this name for this tile.
    fn part(self, two: &'static str, four: &'static str) -> &'static str {
        match self {
            Tile::Two => two,
            Tile::Four => four,
        }
    }

    fn kernel(self, file: &'static str, access: Access) -> Kernel {
        let quads = if access.int64 { "float_quads_u64" } else { "float_quads" };
        Kernel::new(file).alias("T", access.storage.wgsl()).part(self.part("winograd2", "winograd4")).part(quads)
    }

    fn stored(self, kernel: Kernel) -> Kernel {
        kernel.part(self.part("winograd2_store", "winograd4_store"))
    }

    /// A kernel that reads pixels so.
    fn reading(self, kernel: Kernel, pixels: Pixels) -> Kernel {
        match pixels {
            Pixels::Single => kernel.part(self.part("winograd2_line", "winograd4_line")),
            Pixels::Pairs { odd } => {
                kernel.constant("ODD", odd).part(self.part("winograd2_line_pairs", "winograd4_line_pairs"))
            }
        }
    }

    fn loaded(self, kernel: Kernel) -> Kernel {
        kernel.part(self.part("winograd2_load", "winograd4_load"))
    }
}

/// How the transforms reach memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    /// What images and weights are stored as.
    pub storage: Storage,
    /// Whether tiles are read and written, and images read where they can be, as 64-bit integers: faster where each component
    /// is a load of its own.
    pub int64: bool,
}

impl Access {
    /// Whether two pixels can be one integer of 64 bits.
    fn pairs(self) -> bool {
        self.storage == Storage::F32 && self.int64
    }
}

/// How an image is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pixels {
    /// A pixel at a time.
    Single,
    /// Two at a time, in 64-bit integers; `odd`: windows begin at the second of two.
    Pairs { odd: bool },
}

impl Pixels {
    const ALL: [Pixels; 3] = [Pixels::Single, Pixels::Pairs { odd: false }, Pixels::Pairs { odd: true }];

    /// For windows that begin this far before the image. Tiles have an even number of results.
    fn of(access: Access, image: &Image, padding: usize) -> Pixels {
        let even = image.size[1].is_multiple_of(2) && image.offset.is_multiple_of(2);
        if access.pairs() && even { Pixels::Pairs { odd: !padding.is_multiple_of(2) } } else { Pixels::Single }
    }

    /// Those that an access can have.
    fn with(access: Access) -> &'static [Pixels] {
        if access.pairs() { &Pixels::ALL } else { &Pixels::ALL[..1] }
    }
}

params! {
    /// The parameters of the transforms between images and tiles, explained in `part/winograd_params.wgsl`.
    #[allow(missing_docs)]
    "winograd_input" "winograd_output" pub struct ImageParams {
        pub count: u32,
        pub quads: u32,
        pub tiles: u32,
        pub image_tiles: u32,
        pub row_tiles: u32,
        pub height: u32,
        pub width: u32,
        pub pad_y: u32,
        pub pad_x: u32,
        pub image_offset: u32,
        pub step: u32,
        pub bias: u32,
        pub bias_offset: u32,
        pub relu: u32,
        pub rectified_offset: u32,
    }
}

params! {
    /// The parameters of `winograd_weight.wgsl`, where each field is explained.
    #[allow(missing_docs)]
    "winograd_weight" pub struct WeightParams {
        pub inner: u32,
        pub quads: u32,
        pub band: u32,
        pub inner_step: u32,
        pub column_step: u32,
        pub turned: u32,
        pub weight_offset: u32,
        pub step: u32,
    }
}

params! {
    /// The parameters of `winograd_weight_grad.wgsl`, where each field is explained.
    #[allow(missing_docs)]
    "winograd_weight_grad" pub struct WeightGradParams {
        pub count: u32,
        pub outputs: u32,
        pub parts: u32,
        pub bias: u32,
        pub weight_offset: u32,
        pub bias_offset: u32,
        pub part: u32,
        pub step: u32,
    }
}

/// Images of whole quads of channels, seen as tiles of results.
#[derive(Debug, Clone, Copy)]
pub struct Image {
    /// Images.
    pub images: usize,
    /// Channels, a multiple of 4.
    pub channels: usize,
    /// Height and width of a plane.
    pub size: [usize; 2],
    /// Tiles along both axes.
    pub tiles: [usize; 2],
    /// From the first result's window to the plane's first pixel.
    pub padding: [usize; 2],
    /// First element.
    pub offset: usize,
}

impl Image {
    /// Rows of a position: a tile each, and zeros up to a multiple of four.
    pub fn rows(&self) -> usize {
        (self.images * self.tiles[0] * self.tiles[1]).next_multiple_of(4)
    }

    fn params(&self, pitch: usize) -> ImageParams {
        let [rows, columns] = self.tiles;
        let count = self.rows() * self.channels / 4;
        ImageParams {
            count: count as u32,
            quads: (self.channels / 4) as u32,
            tiles: (self.images * rows * columns) as u32,
            image_tiles: (rows * columns) as u32,
            row_tiles: columns as u32,
            height: self.size[0] as u32,
            width: self.size[1] as u32,
            pad_y: self.padding[0] as u32,
            pad_x: self.padding[1] as u32,
            image_offset: self.offset as u32,
            step: (pitch / 4) as u32,
            ..ImageParams::default()
        }
    }
}

fn groups(threads: usize) -> u64 {
    threads.div_ceil(64) as u64
}

/// Windows of an image: at each position, `pitch` elements apart, `[rows][channels]`. Bindings: image, tiles.
pub fn input(tile: Tile, access: Access, image: &Image, pitch: usize) -> Launch {
    let params = image.params(pitch);
    let pixels = Pixels::of(access, image, image.padding[1]);
    Launch::new(input_kernel(tile, access, pixels), &params, groups(params.count as usize))
}

fn input_kernel(tile: Tile, access: Access, pixels: Pixels) -> Kernel {
    let kernel = tile.stored(tile.reading(tile.kernel("winograd_input", access), pixels));
    kernel.part(tile.part("winograd2_window", "winograd4_window")).part("winograd_forward")
}

/// The results' gradients, laid out as by [`input`]. Bindings: image, tiles.
pub fn gradient(tile: Tile, access: Access, image: &Image, pitch: usize) -> Launch {
    let params = image.params(pitch);
    let pixels = Pixels::of(access, image, 0);
    Launch::new(gradient_kernel(tile, access, pixels), &params, groups(params.count as usize))
}

fn gradient_kernel(tile: Tile, access: Access, pixels: Pixels) -> Kernel {
    let kernel = tile.stored(tile.reading(tile.kernel("winograd_input", access), pixels));
    kernel.part(tile.part("winograd2_block", "winograd4_block")).part("winograd_backward")
}

/// Both: the windows, and from `positions` times `pitch` elements on the gradients, where the padding is 1. Bindings: image,
/// tiles.
pub fn windows_and_gradient(tile: Tile, access: Access, image: &Image, pitch: usize) -> Launch {
    let params = image.params(pitch);
    let pixels = Pixels::of(access, image, 1);
    Launch::new(both_kernel(tile, access, pixels), &params, groups(params.count as usize))
}

fn both_kernel(tile: Tile, access: Access, pixels: Pixels) -> Kernel {
    let kernel = tile.stored(tile.reading(tile.kernel("winograd_input", access), pixels));
    kernel.part(tile.part("winograd2_window", "winograd4_window")).part("winograd_both")
}

/// Whether [`output`] stores four pixels at once.
pub fn output_quads(tile: Tile, image: &Image) -> bool {
    tile == Tile::Four && image.size[1].is_multiple_of(4) && image.offset.is_multiple_of(4)
}

/// Products, laid out as by [`input`], back to images; `bias` is the offset of one value per channel. `rectified`, where
/// [`output_quads`], is that of a ReLU's result, a multiple of 4: the image is its gradient. Bindings: tiles, image, biases or
/// image, and the ReLU's result if there is one.
pub fn output(
    tile: Tile,
    access: Access,
    image: &Image,
    pitch: usize,
    bias: Option<usize>,
    relu: bool,
    rectified: Option<usize>,
) -> Launch {
    let quads = output_quads(tile, image);
    let params = ImageParams {
        bias: u32::from(bias.is_some()),
        bias_offset: bias.unwrap_or(0) as u32,
        relu: u32::from(relu),
        rectified_offset: rectified.unwrap_or(0) as u32,
        count: (image.images * image.tiles[0] * image.tiles[1] * image.channels / 4) as u32,
        ..image.params(pitch)
    };
    Launch::new(output_kernel(tile, access, quads, rectified.is_some()), &params, groups(params.count as usize))
}

fn output_kernel(tile: Tile, access: Access, quads: bool, rectified: bool) -> Kernel {
    let kernel = tile.loaded(tile.kernel("winograd_output", access));
    let kernel = kernel.part(if rectified { "winograd_rectified" } else { "winograd_plain" });
    kernel.part(tile.part("winograd2_out", "winograd4_out")).constant("OUT_QUADS", quads)
}

/// A 3x3 weight `[outputs][inputs][3][3]`: at each position, `pitch` elements apart, `[inner][columns]`. Inner channels are the
/// inputs and columns the outputs, or with `turned` (the data gradient's) the reverse. Columns are a multiple of 4. Bindings:
/// weight, tiles.
pub fn weight(
    tile: Tile,
    access: Access,
    outputs: usize,
    inputs: usize,
    turned: bool,
    offset: usize,
    pitch: usize,
) -> Launch {
    let (inner, columns) = if turned { (outputs, inputs) } else { (inputs, outputs) };
    let (inner_step, column_step) = if turned { (9 * inputs, 9) } else { (9, 9 * inputs) };
    let params = WeightParams {
        inner: inner as u32,
        quads: (columns / 4) as u32,
        // Lanes that follow one another read neighbours in memory: turned they are columns, else inner channels.
        band: if turned { 1 } else { 8 },
        inner_step: inner_step as u32,
        column_step: column_step as u32,
        turned: u32::from(turned),
        weight_offset: offset as u32,
        step: (pitch / 4) as u32,
    };
    Launch::new(weight_kernel(tile, access, "winograd_one"), &params, groups(inner * columns / 4))
}

/// Both transforms of a weight: as it is and turned, each `[inputs][outputs]` at a position. Bindings: weight, tiles, the turned
/// weight's tiles.
pub fn weight_pair(tile: Tile, access: Access, outputs: usize, inputs: usize, offset: usize, pitch: usize) -> Launch {
    let one = weight(tile, access, outputs, inputs, false, offset, pitch);
    Launch { kernel: weight_kernel(tile, access, "winograd_pair"), ..one }
}

fn weight_kernel(tile: Tile, access: Access, part: &'static str) -> Kernel {
    tile.stored(tile.kernel("winograd_weight", access)).part(part)
}

/// Products `[outputs][inputs]` of each position's each part, `pitch` elements apart, to the gradient of a weight
/// `[outputs][inputs][3][3]`; and if `bias` the row sums `[positions][parts][outputs]` to the bias' gradient. Inputs and the
/// weight's offset are multiples of 4. `offsets` are those of the weight and the bias. Bindings: tiles, sums, weight, bias or
/// weight.
pub fn weight_grad(
    tile: Tile,
    access: Access,
    outputs: usize,
    inputs: usize,
    (parts, pitch): (usize, usize),
    bias: bool,
    offsets: [usize; 2],
) -> Launch {
    let count = outputs * inputs / 4;
    let params = WeightGradParams {
        count: count as u32,
        outputs: outputs as u32,
        parts: parts as u32,
        bias: u32::from(bias),
        weight_offset: offsets[0] as u32,
        bias_offset: offsets[1] as u32,
        part: (pitch / 4) as u32,
        step: (parts * pitch / 4) as u32,
    };
    let threads = count + if bias { outputs } else { 0 };
    Launch::new(weight_grad_kernel(tile, access), &params, groups(threads))
}

fn weight_grad_kernel(tile: Tile, access: Access) -> Kernel {
    tile.loaded(tile.kernel("winograd_weight_grad", access))
}

pub(crate) fn variants() -> Vec<Kernel> {
    let mut variants = Vec::new();
    for tile in [Tile::Two, Tile::Four] {
        for (storage, int64) in [Storage::F32, Storage::F16].into_iter().flat_map(|s| [(s, false), (s, true)]) {
            let access = Access { storage, int64 };
            // Tiles of two are never stored by fours.
            let quads: &[bool] = if tile == Tile::Two { &[false] } else { &[false, true] };
            variants.extend(quads.iter().map(|quads| output_kernel(tile, access, *quads, false)));
            if tile == Tile::Four {
                variants.push(output_kernel(tile, access, true, true));
            }
            for &pixels in Pixels::with(access) {
                variants.push(input_kernel(tile, access, pixels));
                if pixels == (Pixels::Pairs { odd: true }) {
                    variants.push(both_kernel(tile, access, pixels));
                } else {
                    variants.push(gradient_kernel(tile, access, pixels));
                }
            }
            variants.extend([
                both_kernel(tile, access, Pixels::Single),
                weight_kernel(tile, access, "winograd_one"),
                weight_kernel(tile, access, "winograd_pair"),
                weight_grad_kernel(tile, access),
            ]);
        }
    }
    variants
}
