//! 3x3 convolution of stride 1 by Winograd's algorithm: transforms around a batched product.

use kiln_gpu::Device;
use kiln_shaders::winograd::{self, Access, Image, Tile};
use kiln_shaders::{Launch, Storage};

use super::lanes;
use super::product::{Parts, Product, Strides};
use crate::dtype::DType;
use crate::error::Result;
use crate::launch::{Window, launch_planned};
use crate::plan::Direction;
use crate::tensor::Tensor;

/// A convolution with a 3x3 kernel, stride 1, no dilation, one group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Winograd {
    pub(crate) images: usize,
    /// Input and output channels: multiples of 4.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Height and width of an input and of an output plane.
    pub(crate) size: [usize; 2],
    pub(crate) out_size: [usize; 2],
    /// At most 2.
    pub(crate) padding: [usize; 2],
    pub(crate) tile: Tile,
}

/// Bytes of one transformed image batch beyond which the batch is cut: the transforms of what stays in the caches are read back
/// from there, and the memory they need stays small.
const CHUNK: u64 = 32 << 20;

fn access(tensor: &Tensor) -> Access {
    let storage = if tensor.dtype() == DType::F16 { Storage::F16 } else { Storage::F32 };
    Access { storage, int64: lanes(tensor.device()) && tensor.device().info().features.int64 }
}

/// Elements from position to position of transformed tiles, for `[rows, columns]` at each. A thread touches all positions at
/// once: multiples of the caches' 4 KiB would put them all into one set, so each is 128 bytes further than that.
fn pitch(rows: usize, columns: usize) -> usize {
    let elements = rows * columns;
    elements + (32 + 1024 - elements % 1024) % 1024
}

/// Memory for the transforms of all positions, `[rows, columns]` at each.
fn positions(tile: Tile, like: &Tensor, rows: usize, columns: usize) -> Result<Tensor> {
    Tensor::empty(like.device(), [tile.positions(), pitch(rows, columns)], DType::F32, "winograd")
}

fn run(launch: &Launch, on: &Tensor, windows: &[Window<'_>]) -> Result<()> {
    let bindings: Vec<_> = windows.iter().map(|window| window.binding).collect();
    launch_planned(on.device(), launch, &bindings)
}

impl Winograd {
    /// Bytes of the larger of an image's transforms, whose results are planes of `size`.
    fn image_bytes(&self, size: [usize; 2]) -> u64 {
        let [rows, columns] = self.tile.tiles(size);
        (self.tile.positions() * pitch(rows * columns, self.inputs.max(self.outputs)) * 4) as u64
    }

    fn weight_bytes(&self) -> u64 {
        (self.tile.positions() * pitch(self.inputs, self.outputs) * 4) as u64
    }

    /// The tile that computes the convolution soonest, if one beats the direct sum and can be bound.
    pub(crate) fn soonest(&self, device: &Device, direction: Direction) -> Option<Tile> {
        // On a GPU nothing has been measured that speaks for it.
        if !lanes(device) {
            return None;
        }
        let candidates = [Tile::Four, Tile::Two].map(|tile| Winograd { tile, ..*self });
        let costs = candidates.iter().filter(|problem| problem.fits(device));
        let (cost, best) =
            costs.map(|problem| (problem.cost(direction), problem.tile)).min_by(|(a, _), (b, _)| a.total_cmp(b))?;
        (cost < self.direct_cost()).then_some(best)
    }

    /// Nanoseconds on two cores, from measurement: of a product per multiply-add, of a transform per element written or read,
    /// of a launch.
    fn cost(&self, direction: Direction) -> f64 {
        const PRODUCT: f64 = 2.0 / 60.0;
        const TRANSFORM: f64 = 1.2;
        const LAUNCH: f64 = 50_000.0;
        let size = if direction == Direction::InputGrad { self.size } else { self.out_size };
        let [rows, columns] = self.tile.tiles(size);
        let positions = self.tile.positions() as f64;
        let tiles = (self.images * rows * columns) as f64;
        let (inputs, outputs) = (self.inputs as f64, self.outputs as f64);
        let products = positions * inputs * outputs * tiles.max(32.0) * PRODUCT;
        products + positions * (tiles * (inputs + outputs) + inputs * outputs) * TRANSFORM + 4.0 * LAUNCH
    }

    fn direct_cost(&self) -> f64 {
        const PRODUCT: f64 = 2.0 / 40.0;
        let results = (self.images * self.out_size[0] * self.out_size[1]) as f64;
        9.0 * results * (self.inputs * self.outputs) as f64 * PRODUCT
    }

    /// Whether its transforms can be bound.
    pub(crate) fn fits(&self, device: &Device) -> bool {
        let most = device.info().limits.binding_bytes.min(1 << 31);
        let planes = [self.size, self.out_size].map(|size| self.image_bytes(size));
        planes.into_iter().chain([self.weight_bytes()]).all(|bytes| bytes <= most)
    }

    /// The images of each part of the batch, as first and number.
    fn chunks(&self, like: &Tensor, size: [usize; 2]) -> impl Iterator<Item = (usize, usize)> + use<> {
        let most = like.device().info().limits.binding_bytes.min(CHUNK);
        let images = self.images;
        let step = (most / self.image_bytes(size).max(1)).clamp(1, images.max(1) as u64) as usize;
        (0..images).step_by(step).map(move |first| (first, step.min(images - first)))
    }

    fn image(
        &self,
        channels: usize,
        size: [usize; 2],
        results: [usize; 2],
        padding: [usize; 2],
        part: &Tensor,
    ) -> Image {
        let tiles = self.tile.tiles(results);
        Image { images: part.shape()[0], channels, size, tiles, padding, offset: part.window().offset as usize }
    }

    /// `y = x * weight + bias`, then if `relu` no less than 0.
    pub(crate) fn forward(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, relu: bool) -> Result<Tensor> {
        let [oh, ow] = self.out_size;
        let y = Tensor::empty(x.device(), [self.images, self.outputs, oh, ow], x.dtype(), "conv2d")?;
        self.convolve(x, weight, bias, relu, false, &y)?;
        Ok(y)
    }

    /// The data gradient: a convolution of `dy` with the weight turned.
    pub(crate) fn input_grad(&self, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let [h, w] = self.size;
        let dx = Tensor::empty(dy.device(), [self.images, self.inputs, h, w], dy.dtype(), "conv2d_input_grad")?;
        self.convolve(dy, weight, None, false, true, &dx)?;
        Ok(dx)
    }

    fn convolve(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        relu: bool,
        turned: bool,
        out: &Tensor,
    ) -> Result<()> {
        let tile = self.tile;
        let (from, to) = if turned { (self.outputs, self.inputs) } else { (self.inputs, self.outputs) };
        let (size, results) = if turned { (self.out_size, self.size) } else { (self.size, self.out_size) };
        let padding = if turned { self.padding.map(|padding| 2 - padding) } else { self.padding };
        let u = positions(tile, x, from, to)?;
        let window = weight.window();
        let offset = window.offset as usize;
        let launch = winograd::weight(tile, access(weight), self.outputs, self.inputs, turned, offset, pitch(from, to));
        run(&launch, x, &[window, u.window()])?;
        for (first, images) in self.chunks(x, results) {
            let part = x.narrow(0, first, images)?;
            let image = self.image(from, size, results, padding, &part);
            let rows = image.rows();
            let v = positions(tile, x, rows, from)?;
            run(&winograd::input(tile, access(x), &image, pitch(rows, from)), x, &[part.window(), v.window()])?;
            let m = products(&v, &u, rows, to, from, [(from, 1), (1, to)]).parts(false, pitch(rows, to))?;
            let part = out.narrow(0, first, images)?;
            let image = self.image(to, results, results, [0, 0], &part);
            let bias = bias.map(Tensor::window);
            let offset = bias.map(|bias| bias.offset as usize);
            let launch = winograd::output(tile, access(x), &image, m.pitch, offset, relu);
            run(&launch, x, &[m.products.window(), part.window(), bias.unwrap_or(part.window())])?;
        }
        Ok(())
    }

    /// The gradients of the weight and, if wanted, of the bias.
    pub(crate) fn weight_grad(&self, x: &Tensor, dy: &Tensor, bias: bool) -> Result<(Tensor, Option<Tensor>)> {
        let mut sum: Option<(Tensor, Option<Tensor>)> = None;
        for (first, images) in self.chunks(x, self.out_size) {
            let (x, dy) = (x.narrow(0, first, images)?, dy.narrow(0, first, images)?);
            let (dw, db) = self.part_weight_grad(&x, &dy, bias)?;
            sum = Some(match sum {
                None => (dw, db),
                Some((dw0, db0)) => (dw0.add(&dw)?, db0.zip(db).map(|(db0, db)| db0.add(&db)).transpose()?),
            });
        }
        match sum {
            Some(sum) => Ok(sum),
            None => {
                let zeros = |shape: &[usize]| Tensor::zeros(x.device(), shape, x.dtype());
                let db = bias.then(|| zeros(&[self.outputs])).transpose()?;
                Ok((zeros(&[self.outputs, self.inputs, 3, 3])?, db))
            }
        }
    }

    fn part_weight_grad(&self, x: &Tensor, dy: &Tensor, bias: bool) -> Result<(Tensor, Option<Tensor>)> {
        let tile = self.tile;
        let image = self.image(self.inputs, self.size, self.out_size, self.padding, x);
        let rows = image.rows();
        let v = positions(tile, x, rows, self.inputs)?;
        run(&winograd::input(tile, access(x), &image, pitch(rows, self.inputs)), x, &[x.window(), v.window()])?;
        let image = self.image(self.outputs, self.out_size, self.out_size, [0, 0], dy);
        let d = positions(tile, x, rows, self.outputs)?;
        run(&winograd::gradient(tile, access(dy), &image, pitch(rows, self.outputs)), x, &[dy.window(), d.window()])?;
        let product = products(&d, &v, self.outputs, self.inputs, rows, [(1, self.outputs), (1, self.inputs)]);
        let Parts { products: u, sums, splits, pitch } = product.parts(bias, pitch(self.outputs, self.inputs))?;
        let dw = Tensor::empty(x.device(), [self.outputs, self.inputs, 3, 3], x.dtype(), "conv2d_weight_grad")?;
        let db =
            bias.then(|| Tensor::empty(x.device(), [self.outputs], x.dtype(), "conv2d_weight_grad")).transpose()?;
        // Without the row sums at hand, the bias' gradient is a sum of its own.
        let from_sums = db.as_ref().zip(sums.as_ref());
        let offset = from_sums.map_or(0, |(db, _)| db.window().offset as usize);
        let launch = winograd::weight_grad(
            tile,
            access(x),
            self.outputs,
            self.inputs,
            (splits, pitch),
            from_sums.is_some(),
            [dw.window().offset as usize, offset],
        );
        let (sums, bias) = from_sums.map_or((u.window(), dw.window()), |(db, sums)| (sums.window(), db.window()));
        run(&launch, x, &[u.window(), sums, dw.window(), bias])?;
        if from_sums.is_none() && db.is_some() {
            return Ok((dw, Some(dy.sum(&[0, 2, 3], false)?)));
        }
        Ok((dw, db))
    }
}

/// The products of all positions. Strides are (index, k) of A and of B.
fn products<'a>(
    a: &'a Tensor,
    b: &'a Tensor,
    m: usize,
    n: usize,
    k: usize,
    [(a_row, a_k), (b_column, b_k)]: [(usize, usize); 2],
) -> Product<'a> {
    let strides = |tensor: &Tensor, index: usize, k: usize| Strides { batch: tensor.shape()[1], index, k };
    Product {
        op: "winograd",
        a,
        b,
        m,
        n,
        k,
        batches: a.shape()[0],
        a_strides: strides(a, a_row, a_k),
        b_strides: strides(b, b_column, b_k),
        bias: None,
        relu: false,
    }
}
