//! 3x3 convolution of stride 1 by Winograd's algorithm: transforms around a batched product.

use kiln_gpu::Device;
use kiln_shaders::winograd::{self, Access, Image, Tile};
use kiln_shaders::{Launch, Storage};

use super::lanes;
use super::product::{Parts, Product, Strides};
use crate::dtype::DType;
use crate::error::Result;
use crate::launch::{Window, launch_planned};
use crate::ops::pointwise::gradient::relu_grad;
use crate::plan::Direction;
use crate::tensor::Tensor;

/// A convolution with a 3x3 kernel, stride 1, no dilation, one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What a forward pass leaves for the backward pass of the same convolution.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// The convolution, by the tile that computed it.
    of: Option<Winograd>,
    /// The transformed windows of the input.
    windows: Option<Tensor>,
    /// The transform of the weight turned, `[inputs][outputs]` at a position.
    turned: Option<Tensor>,
}

/// What happens to results on their way into the image.
#[derive(Default)]
struct Finish<'a> {
    bias: Option<&'a Tensor>,
    relu: bool,
    /// The result of a ReLU whose gradient the image is.
    rectified: Option<&'a Tensor>,
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
        // A product's tile has 16 rows or more, whether they are there or not.
        let products = positions * inputs * outputs * tiles.max(16.0) * PRODUCT;
        products + positions * (tiles * (inputs + outputs) + inputs * outputs) * TRANSFORM + 4.0 * LAUNCH
    }

    fn direct_cost(&self) -> f64 {
        const PRODUCT: f64 = 2.0 / 40.0;
        // Lanes own four results of a row each.
        let results = (self.images * self.out_size[0] * self.out_size[1].next_multiple_of(4)) as f64;
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

    /// Images of `size`, whose results for the tiles are as large.
    fn image(&self, channels: usize, size: [usize; 2], padding: [usize; 2], part: &Tensor) -> Image {
        let offset = part.window().offset as usize;
        Image { images: part.shape()[0], channels, size, tiles: self.tile.tiles(size), padding, offset }
    }

    /// Whether the backward pass can share transforms between its gradients, and take over some of the forward pass: where the
    /// windows of both gradients' tiles coincide, and nothing is cut.
    pub(crate) fn shares(&self, device: &Device) -> bool {
        let bytes = self.image_bytes(self.size) * self.images as u64;
        let most = device.info().limits.binding_bytes.min(1 << 31);
        self.padding == [1, 1] && bytes <= CHUNK && 2 * bytes <= most
    }

    /// `y = x * weight + bias`, then if `relu` no less than 0.
    pub(crate) fn forward(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, relu: bool) -> Result<Tensor> {
        let u = self.weights(weight, false)?;
        let y = self.empty_output(x)?;
        for (first, images) in self.chunks(x, self.out_size) {
            let v = self.windows(&x.narrow(0, first, images)?, self.padding)?;
            let part = y.narrow(0, first, images)?;
            self.results(&v, &u, [1, self.outputs], &part, Finish { bias, relu, rectified: None })?;
        }
        Ok(y)
    }

    /// The same where it [`shares`](Winograd::shares), and what the backward pass will need.
    pub(crate) fn forward_keeping(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        relu: bool,
    ) -> Result<(Tensor, Kept)> {
        let (u, turned) = if self.weight_bytes() <= CHUNK {
            let [u, turned] = self.weight_pair(weight)?;
            (u, Some(turned))
        } else {
            (self.weights(weight, false)?, None)
        };
        let y = self.empty_output(x)?;
        let windows = self.windows(x, self.padding)?;
        self.results(&windows, &u, [1, self.outputs], &y, Finish { bias, relu, rectified: None })?;
        Ok((y, Kept { of: Some(*self), windows: Some(windows), turned }))
    }

    /// The data gradient: a convolution of `dy` with the weight turned.
    pub(crate) fn input_grad(&self, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let u = self.weights(weight, true)?;
        let dx = self.empty_input(dy)?;
        for (first, images) in self.chunks(dy, self.size) {
            let v = self.windows(&dy.narrow(0, first, images)?, self.padding.map(|padding| 2 - padding))?;
            let part = dx.narrow(0, first, images)?;
            self.results(&v, &u, [1, self.inputs], &part, Finish::default())?;
        }
        Ok(dx)
    }

    /// The gradients of the input, the weight and, if wanted, the bias, where it [`shares`](Winograd::shares). With `rectified`
    /// the input is a ReLU's result, and its gradient is the one before the ReLU.
    pub(crate) fn gradients(
        &self,
        x: &Tensor,
        weight: &Tensor,
        dy: &Tensor,
        kept: &Kept,
        bias: bool,
        rectified: bool,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        // Another plan in between has other tiles.
        let nothing = Kept::default();
        let kept = if kept.of == Some(*self) { kept } else { &nothing };
        let image = self.image(self.outputs, self.out_size, [1, 1], dy);
        let (positions, pitch) = (self.tile.positions(), pitch(image.rows(), self.outputs));
        let both = Tensor::empty(dy.device(), [2 * positions, pitch], DType::F32, "winograd")?;
        let launch = winograd::windows_and_gradient(self.tile, access(dy), &image, pitch);
        run(&launch, dy, &[dy.window(), both.window()])?;

        let (u, strides) = match &kept.turned {
            Some(turned) => (turned.clone(), [self.outputs, 1]),
            None => (self.weights(weight, true)?, [1, self.inputs]),
        };
        let dx = self.empty_input(dy)?;
        let finish = Finish { rectified: rectified.then_some(x), ..Finish::default() };
        let dx = self.results(&both.narrow(0, 0, positions)?, &u, strides, &dx, finish)?;

        let windows = match &kept.windows {
            Some(windows) => windows.clone(),
            None => self.windows(x, self.padding)?,
        };
        let (dw, db) = self.weight_grad_of(&both.narrow(0, positions, positions)?, &windows, dy, bias)?;
        Ok((dx, dw, db))
    }

    fn empty_output(&self, like: &Tensor) -> Result<Tensor> {
        let [h, w] = self.out_size;
        Tensor::empty(like.device(), [self.images, self.outputs, h, w], like.dtype(), "conv2d")
    }

    fn empty_input(&self, like: &Tensor) -> Result<Tensor> {
        let [h, w] = self.size;
        Tensor::empty(like.device(), [self.images, self.inputs, h, w], like.dtype(), "conv2d_input_grad")
    }

    /// The transformed windows of images.
    fn windows(&self, part: &Tensor, padding: [usize; 2]) -> Result<Tensor> {
        let [_, channels, h, w] = part.dims::<4>()?;
        let results = [h + 2 * padding[0] - 2, w + 2 * padding[1] - 2];
        let image = Image { tiles: self.tile.tiles(results), padding, ..self.image(channels, [h, w], padding, part) };
        let v = positions(self.tile, part, image.rows(), channels)?;
        let launch = winograd::input(self.tile, access(part), &image, pitch(image.rows(), channels));
        run(&launch, part, &[part.window(), v.window()])?;
        Ok(v)
    }

    /// The transformed weight: for the output `[inputs][outputs]` at a position, turned the reverse.
    fn weights(&self, weight: &Tensor, turned: bool) -> Result<Tensor> {
        let [from, to] = if turned { [self.outputs, self.inputs] } else { [self.inputs, self.outputs] };
        let u = positions(self.tile, weight, from, to)?;
        let window = weight.window();
        let offset = window.offset as usize;
        let [k, c] = [self.outputs, self.inputs];
        let launch = winograd::weight(self.tile, access(weight), k, c, turned, offset, pitch(from, to));
        run(&launch, weight, &[window, u.window()])?;
        Ok(u)
    }

    /// The transformed weight, and the transform of the weight turned, both `[inputs][outputs]` at a position.
    fn weight_pair(&self, weight: &Tensor) -> Result<[Tensor; 2]> {
        let [k, c] = [self.outputs, self.inputs];
        let [u, turned] = [positions(self.tile, weight, c, k)?, positions(self.tile, weight, c, k)?];
        let window = weight.window();
        let offset = window.offset as usize;
        let launch = winograd::weight_pair(self.tile, access(weight), k, c, offset, pitch(c, k));
        run(&launch, weight, &[window, u.window(), turned.window()])?;
        Ok([u, turned])
    }

    /// Windows times weights, back to images in `part`. Strides of the weights are those of (column, k). The result is `part`, or
    /// where the transform cannot see to the ReLU, what follows from it.
    fn results(
        &self,
        v: &Tensor,
        u: &Tensor,
        [column, k]: [usize; 2],
        part: &Tensor,
        finish: Finish<'_>,
    ) -> Result<Tensor> {
        let to = part.shape()[1];
        let from = self.inputs + self.outputs - to;
        let size = [part.shape()[2], part.shape()[3]];
        let image = self.image(to, size, [0, 0], part);
        let rows = image.rows();
        let m = products(v, u, rows, to, from, [(from, 1), (column, k)]).parts(false, pitch(rows, to))?;
        let bias = finish.bias.map(Tensor::window);
        let offset = bias.map(|bias| bias.offset as usize);
        let rectified = finish.rectified.map(Tensor::window);
        let fused = rectified
            .map(|rectified| rectified.offset as usize)
            .filter(|offset| offset.is_multiple_of(4) && winograd::output_quads(self.tile, &image));
        let launch = winograd::output(self.tile, access(part), &image, m.pitch, offset, finish.relu, fused);
        let mut windows = vec![m.products.window(), part.window(), bias.unwrap_or(part.window())];
        windows.extend(rectified.filter(|_| fused.is_some()));
        run(&launch, part, &windows)?;
        match finish.rectified {
            Some(result) if fused.is_none() => relu_grad(result, part),
            _ => Ok(part.clone()),
        }
    }

    /// The gradients of the weight and, if wanted, of the bias.
    pub(crate) fn weight_grad(&self, x: &Tensor, dy: &Tensor, bias: bool) -> Result<(Tensor, Option<Tensor>)> {
        let mut sum: Option<(Tensor, Option<Tensor>)> = None;
        for (first, images) in self.chunks(x, self.out_size) {
            let (x, dy) = (x.narrow(0, first, images)?, dy.narrow(0, first, images)?);
            let v = self.windows(&x, self.padding)?;
            let image = self.image(self.outputs, self.out_size, [0, 0], &dy);
            let d = positions(self.tile, &dy, image.rows(), self.outputs)?;
            let launch = winograd::gradient(self.tile, access(&dy), &image, pitch(image.rows(), self.outputs));
            run(&launch, &dy, &[dy.window(), d.window()])?;
            let (dw, db) = self.weight_grad_of(&d, &v, &dy, bias)?;
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

    /// The same from the transformed gradients of `dy` and windows of the input.
    fn weight_grad_of(&self, d: &Tensor, v: &Tensor, dy: &Tensor, bias: bool) -> Result<(Tensor, Option<Tensor>)> {
        let rows = self.image(self.outputs, self.out_size, [0, 0], dy).rows();
        let product = products(d, v, self.outputs, self.inputs, rows, [(1, self.outputs), (1, self.inputs)]);
        let Parts { products: u, sums, splits, pitch } = product.parts(bias, pitch(self.outputs, self.inputs))?;
        let dw = Tensor::empty(dy.device(), [self.outputs, self.inputs, 3, 3], dy.dtype(), "conv2d_weight_grad")?;
        let db =
            bias.then(|| Tensor::empty(dy.device(), [self.outputs], dy.dtype(), "conv2d_weight_grad")).transpose()?;
        // Without the row sums at hand, the bias' gradient is a sum of its own.
        let from_sums = db.as_ref().zip(sums.as_ref());
        let offset = from_sums.map_or(0, |(db, _)| db.window().offset as usize);
        let launch = winograd::weight_grad(
            self.tile,
            access(dy),
            self.outputs,
            self.inputs,
            (splits, pitch),
            from_sums.is_some(),
            [dw.window().offset as usize, offset],
        );
        let (sums, bias) = from_sums.map_or((u.window(), dw.window()), |(db, sums)| (sums.window(), db.window()));
        run(&launch, dy, &[u.window(), sums, dw.window(), bias])?;
        if from_sums.is_none() && db.is_some() {
            return Ok((dw, Some(dy.sum([0, 2, 3])?)));
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
        rest: None,
        relu: false,
    }
}
