//! Two-dimensional convolution: forward, data gradient, weight gradient. Each is one contraction over image patches that are
//! addressed where they lie; no matrix of patches is ever written.

use kiln_shaders::contract::{Bias, Mode, Params};
use kiln_shaders::depthwise::Depthwise;
use kiln_shaders::winograd::Tile;

pub use super::conv_options::Conv2dOptions;
use super::depthwise;
use super::pointwise::gradient::relu_grad;
use crate::contract::cooperative;
use crate::contract::direct::Direct;
use crate::contract::one_by_one::OneByOne;
use crate::contract::tiles::{Problem, Way, contract, contract_into};
use crate::contract::winograd::{Kept, Winograd};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::plan::{self, Algorithm, Direction};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// A convolution's sizes, checked.
#[derive(Clone, Copy)]
struct Sizes {
    n: usize,
    /// Input channels of a group.
    c: usize,
    h: usize,
    w: usize,
    /// Output channels of a group.
    k: usize,
    r: usize,
    s: usize,
    oh: usize,
    ow: usize,
    options: Conv2dOptions,
}

/// The kernels that compute a convolution.
enum Method {
    Winograd(Winograd),
    Depthwise(Depthwise),
    Direct(Direct),
    OneByOne(OneByOne),
    Tiles(Way),
}

/// The windows that fit along one axis: `floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1`.
fn windows(size: usize, kernel: usize, axis: usize, options: &Conv2dOptions) -> Option<usize> {
    let reach = options.dilation[axis].checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
    let padded = size.checked_add(options.padding[axis].checked_mul(2)?)?;
    Some(padded.checked_sub(reach)? / options.stride[axis] + 1)
}

impl Sizes {
    fn new(op: &'static str, input: &Shape, weight: &Shape, options: &Conv2dOptions) -> Result<Sizes> {
        let Conv2dOptions { stride, dilation, groups, .. } = *options;
        let (Ok([n, channels, h, w]), Ok([out_channels, c, r, s])) =
            (<[usize; 4]>::try_from(input.dims()), <[usize; 4]>::try_from(weight.dims()))
        else {
            return Err(Error::shape(
                op,
                format!(
                    "input has shape {input}, weight {weight}; needs [batch, channels, height, width] and [out_channels, \
                     channels / groups, kernel height, kernel width]"
                ),
            ));
        };
        if groups == 0 || stride.contains(&0) || dilation.contains(&0) {
            return Err(Error::argument(
                op,
                format!("stride {stride:?}, dilation {dilation:?}, groups {groups}; each must be at least 1"),
            ));
        }
        if channels != c * groups {
            return Err(Error::shape(
                op,
                format!(
                    "input has {channels} channels, weight {weight} with groups = {groups} needs {needed}; pass an input of \
                     {needed} channels, or another weight or number of groups",
                    needed = c * groups
                ),
            ));
        }
        if out_channels % groups != 0 || c == 0 || out_channels == 0 {
            return Err(Error::shape(
                op,
                format!(
                    "weight {weight} with groups = {groups}; needs at least one input channel, and out_channels a multiple of \
                     groups above 0"
                ),
            ));
        }
        let (oh, ow) = (windows(h, r, 0, options), windows(w, s, 1, options));
        let (Some(oh), Some(ow)) = (oh, ow) else {
            return Err(Error::shape(
                op,
                format!(
                    "a kernel of {r}x{s} with dilation {dilation:?} does not fit an image of {h}x{w} with padding {:?}; pass a \
                     larger image, more padding or a smaller kernel of at least 1x1",
                    options.padding
                ),
            ));
        };
        Shape::from([n, out_channels, oh, ow]).checked_numel(op)?;
        Ok(Sizes { n, c, h, w, k: out_channels / groups, r, s, oh, ow, options: *options })
    }

    fn groups(&self) -> usize {
        self.options.groups
    }

    fn input(&self) -> [usize; 4] {
        [self.n, self.c * self.groups(), self.h, self.w]
    }

    fn weight(&self) -> [usize; 4] {
        [self.k * self.groups(), self.c, self.r, self.s]
    }

    fn output(&self) -> [usize; 4] {
        [self.n, self.k * self.groups(), self.oh, self.ow]
    }

    /// How indices become image points: the grids that k and the columns walk, the plane that is read, and their steps.
    fn geometry(
        &self,
        k_grid: [usize; 2],
        column_grid: [usize; 2],
        plane: [usize; 2],
        k_step: [usize; 2],
        column_step: [usize; 2],
    ) -> Params {
        let [k_grid, column_grid, plane, k_step, column_step, pad] =
            [k_grid, column_grid, plane, k_step, column_step, self.options.padding].map(|pair| pair.map(|n| n as u32));
        Params {
            k_rows: k_grid[0],
            k_columns: k_grid[1],
            column_rows: column_grid[0],
            column_columns: column_grid[1],
            height: plane[0],
            width: plane[1],
            k_step_y: k_step[0],
            k_step_x: k_step[1],
            column_step_y: column_step[0],
            column_step_x: column_step[1],
            pad_y: pad[0],
            pad_x: pad[1],
            ..Params::default()
        }
    }

    /// How one direction is computed, on operands like this one.
    fn method(&self, like: &Tensor, direction: Direction) -> Result<Method> {
        let device = like.device();
        let problem = plan::Problem::Conv2d {
            direction,
            dtype: like.dtype(),
            input: self.input(),
            weight: self.weight(),
            options: self.options,
        };
        let applies = |algorithm| match algorithm {
            Algorithm::Tiles | Algorithm::Tile(_) => true,
            Algorithm::Cooperative => cooperative::unit(device).is_some(),
            Algorithm::Quads => self.one_by_one().is_some_and(|conv| conv.applies(device, direction)),
            Algorithm::Direct => self.direct().applies(device, direction),
            Algorithm::Depthwise => self.c == 1 && self.groups() > 1,
            Algorithm::Winograd2 => self.winograd(Tile::Two).is_some_and(|winograd| winograd.fits(device)),
            Algorithm::Winograd4 => self.winograd(Tile::Four).is_some_and(|winograd| winograd.fits(device)),
        };
        let usual = || match self.winograd(Tile::Four).and_then(|winograd| winograd.soonest(device, direction)) {
            Some(Tile::Four) => Algorithm::Winograd4,
            Some(Tile::Two) => Algorithm::Winograd2,
            None if applies(Algorithm::Depthwise) => Algorithm::Depthwise,
            None if cooperative::worth(self.product(direction)) && applies(Algorithm::Cooperative) => {
                Algorithm::Cooperative
            }
            None if applies(Algorithm::Quads) => Algorithm::Quads,
            None if applies(Algorithm::Direct) => Algorithm::Direct,
            None => Algorithm::Tiles,
        };
        let chosen = plan::choose(device, problem, applies, usual)?;
        let method = match chosen {
            Algorithm::Winograd2 => self.winograd(Tile::Two).map(Method::Winograd),
            Algorithm::Winograd4 => self.winograd(Tile::Four).map(Method::Winograd),
            Algorithm::Depthwise => Some(Method::Depthwise(self.depthwise())),
            Algorithm::Direct => Some(Method::Direct(self.direct())),
            Algorithm::Quads => self.one_by_one().map(Method::OneByOne),
            Algorithm::Tiles | Algorithm::Tile(_) | Algorithm::Cooperative => None,
        };
        Ok(method.unwrap_or_else(|| Method::Tiles(Way::of(device, chosen))))
    }

    /// Winograd's algorithm, where both gradients are computed by it and can share their transforms.
    fn shared(&self, like: &Tensor) -> Result<Option<Winograd>> {
        let whole = self.fits(self.input(), like) && self.fits(self.output(), like);
        let methods = [self.method(like, Direction::InputGrad)?, self.method(like, Direction::WeightGrad)?];
        Ok(match methods {
            [Method::Winograd(input), Method::Winograd(weight)] if input.tile == weight.tile => {
                Some(input).filter(|winograd| whole && winograd.shares(like.device()))
            }
            _ => None,
        })
    }

    /// Rows, columns and terms of a direction as a product.
    fn product(&self, direction: Direction) -> [usize; 3] {
        let (taps, pixels) = (self.r * self.s, self.oh * self.ow);
        match direction {
            Direction::Forward => [self.k, self.n * pixels, self.c * taps],
            Direction::InputGrad => [self.c, self.n * self.h * self.w, self.k * taps],
            Direction::WeightGrad => [self.k, self.c * taps, self.n * pixels],
        }
    }

    /// The convolution as a dense product, if its kernel is a single point.
    fn one_by_one(&self) -> Option<OneByOne> {
        let Conv2dOptions { stride, padding, groups, .. } = self.options;
        ([self.r, self.s] == [1, 1] && padding == [0, 0] && groups == 1).then_some(OneByOne {
            images: self.n,
            inputs: self.c,
            outputs: self.k,
            size: [self.h, self.w],
            out_size: [self.oh, self.ow],
            stride,
        })
    }

    /// The convolution by Winograd's algorithm, if it is one that the algorithm is for.
    fn winograd(&self, tile: Tile) -> Option<Winograd> {
        let Conv2dOptions { stride, padding, dilation, groups } = self.options;
        let applies = [self.r, self.s] == [3, 3] && stride == [1, 1] && dilation == [1, 1] && groups == 1;
        let whole = self.c.is_multiple_of(4) && self.k.is_multiple_of(4) && padding.iter().all(|&padding| padding <= 2);
        (applies && whole && self.n > 0).then_some(Winograd {
            images: self.n,
            inputs: self.c,
            outputs: self.k,
            size: [self.h, self.w],
            out_size: [self.oh, self.ow],
            padding,
            tile,
        })
    }

    /// The convolution without a transform.
    fn direct(&self) -> Direct {
        Direct {
            images: self.n,
            inputs: self.c,
            outputs: self.k,
            size: [self.h, self.w],
            out_size: [self.oh, self.ow],
            taps: [self.r, self.s],
            options: self.options,
        }
    }

    /// The problem of the depthwise kernels, where every input channel is a group of its own.
    fn depthwise(&self) -> Depthwise {
        let Conv2dOptions { stride, padding, dilation, groups } = self.options;
        Depthwise {
            batch: self.n,
            channels: self.k * groups,
            multiplier: self.k,
            size: [self.h, self.w],
            out_size: [self.oh, self.ow],
            kernel: [self.r, self.s],
            stride,
            padding,
            dilation,
        }
    }

    /// Whether a launch can bind a tensor of this shape.
    fn fits(&self, shape: [usize; 4], like: &Tensor) -> bool {
        let bytes = shape.iter().product::<usize>() * like.dtype().size();
        bytes as u64 <= like.device().info().limits.binding_bytes.min(1 << 31)
    }
}

pub(super) fn check_operands(op: &'static str, a: (&Tensor, &str), b: (&Tensor, &str)) -> Result<()> {
    a.0.check_device(op, b.0)?;
    a.0.check_dtype(op, a.1, &[DType::F32, DType::F16])?;
    if a.0.dtype() == b.0.dtype() {
        return Ok(());
    }
    Err(Error::dtype(
        op,
        format!("{} is {}, {} is {}; needs one type: convert one by to_dtype", a.1, a.0.dtype(), b.1, b.0.dtype()),
    ))
}

impl Tensor {
    /// Two-dimensional convolution (cross-correlation, as in every deep-learning framework):
    ///
    /// `y[n, k, i, j] = bias[k] + sum over c, r, s of x[n, c, i stride - padding + r dilation, ..] weight[k, c, r, s]`
    ///
    /// with `x` `[batch, channels, height, width]`, `weight` `[out_channels, channels / groups, kernel height, kernel width]` and
    /// `bias` `[out_channels]`. `f32` or `f16`; sums are in `f32`.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor, ops::conv::Conv2dOptions};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let device = Device::open_default()?;
    /// let x = Tensor::ones(&device, [2, 3, 32, 32], DType::F32)?;
    /// let weight = Tensor::ones(&device, [8, 3, 3, 3], DType::F32)?;
    /// let y = x.conv2d(&weight, None, Conv2dOptions::new().stride(2).padding(1))?;
    /// assert_eq!(y.dims::<4>()?, [2, 8, 16, 16]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where channels, groups or sizes do not fit; [`Error::Argument`] for a stride, dilation or group count of 0;
    /// [`Error::DType`]; [`Error::Gpu`].
    pub fn conv2d(&self, weight: &Tensor, bias: Option<&Tensor>, options: impl Into<Conv2dOptions>) -> Result<Tensor> {
        convolve("conv2d", self, weight, bias, false, &options.into())
    }
}

/// ReLU of a convolution, in the launches of the convolution: the larger of [`Tensor::conv2d`] and 0.
///
/// # Errors
/// As [`Tensor::conv2d`].
pub fn conv2d_relu(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: &Conv2dOptions) -> Result<Tensor> {
    convolve("conv2d_relu", x, weight, bias, true, options)
}

/// What a convolution's forward pass left for its backward pass: transforms of the operands, where they are used again.
#[derive(Debug, Clone, Default)]
pub struct Conv2dKept(Kept);

/// [`Tensor::conv2d`], or with `relu` [`conv2d_relu`], for a step of training: what it leaves shortens [`conv2d_grads`].
///
/// # Errors
/// As [`Tensor::conv2d`].
pub fn conv2d_keeping(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    relu: bool,
    options: &Conv2dOptions,
) -> Result<(Tensor, Conv2dKept)> {
    let op = if relu { "conv2d_relu" } else { "conv2d" };
    let (sizes, bias) = checked(op, x, weight, bias, options)?;
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    if let Some(shared) = sizes.shared(&x)?
        && let Method::Winograd(winograd) = sizes.method(&x, Direction::Forward)?
        && winograd.tile == shared.tile
    {
        let (y, kept) = winograd.forward_keeping(&x, &weight, bias.as_ref(), relu)?;
        return Ok((y, Conv2dKept(kept)));
    }
    Ok((forward(&x, &weight, bias.as_ref(), relu, &sizes)?, Conv2dKept::default()))
}

fn convolve(
    op: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    relu: bool,
    options: &Conv2dOptions,
) -> Result<Tensor> {
    let (sizes, bias) = checked(op, x, weight, bias, options)?;
    forward(&x.contiguous()?, &weight.contiguous()?, bias.as_ref(), relu, &sizes)
}

/// The sizes, and the bias as it can be bound.
fn checked(
    op: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: &Conv2dOptions,
) -> Result<(Sizes, Option<Tensor>)> {
    check_operands(op, (x, "input"), (weight, "weight"))?;
    let sizes = Sizes::new(op, x.shape(), weight.shape(), options)?;
    if let Some(bias) = bias {
        check_operands(op, (x, "input"), (bias, "bias"))?;
        if bias.shape().dims() != [sizes.k * sizes.groups()] {
            return Err(Error::shape(
                op,
                format!(
                    "bias has shape {}, weight {}; needs a bias of [{}], one value per output channel",
                    bias.shape(),
                    weight.shape(),
                    sizes.k * sizes.groups()
                ),
            ));
        }
    }
    Ok((sizes, bias.map(Tensor::contiguous).transpose()?))
}

/// Cuts a batch in two for operands that are too large to bind.
fn halves(tensor: &Tensor) -> Result<[Tensor; 2]> {
    let n = tensor.shape()[0];
    Ok([tensor.narrow(0, 0, n / 2)?, tensor.narrow(0, n / 2, n - n / 2)?])
}

fn forward(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, relu: bool, sizes: &Sizes) -> Result<Tensor> {
    if sizes.n > 1 && !(sizes.fits(sizes.input(), x) && sizes.fits(sizes.output(), x)) {
        let [x0, x1] = halves(x)?;
        let half = |x: &Tensor| forward(x, weight, bias, relu, &Sizes { n: x.shape()[0], ..*sizes });
        return Tensor::cat(&[&half(&x0)?, &half(&x1)?], 0);
    }
    let way = match sizes.method(x, Direction::Forward)? {
        Method::Winograd(winograd) => return winograd.forward(x, weight, bias, relu),
        Method::Depthwise(problem) => return depthwise::forward(x, weight, bias, relu, &problem),
        Method::Direct(direct) => return direct.forward(x, weight, bias, relu),
        Method::OneByOne(conv) => match conv.forward(x, weight, bias, relu)? {
            Some(y) => return Ok(y),
            None => Way::Usual,
        },
        Method::Tiles(way) => way,
    };
    let Sizes { n, c, h, w, k, r, s, oh, ow, options } = *sizes;
    let out = Tensor::empty(x.device(), sizes.output(), x.dtype(), "conv2d")?;
    let problem = Problem {
        op: "conv2d",
        mode: Mode::Patches,
        a: weight,
        b: x,
        bias: bias.map(|bias| (bias, Bias::Row)),
        relu,
        a_along_k: true,
        b_along_k: false,
        way,
        params: Params {
            m: k as u32,
            n: (n * oh * ow) as u32,
            k: (c * r * s) as u32,
            batches: options.groups as u32,
            a_batch: (k * c * r * s) as u32,
            a_row: (c * r * s) as u32,
            a_k: (r * s) as u32,
            b_batch: (c * h * w) as u32,
            b_k: (h * w) as u32,
            b_column: (options.groups * c * h * w) as u32,
            c_batch: (k * oh * ow) as u32,
            c_row: (oh * ow) as u32,
            c_outer: (options.groups * k * oh * ow) as u32,
            inner: (oh * ow) as u32,
            ..sizes.geometry([r, s], [oh, ow], [h, w], options.dilation, options.stride)
        },
    };
    contract_into(&problem, &out)?;
    Ok(out)
}

/// The gradient of [`Tensor::conv2d`] with respect to its input: `dx[n, c, y, x] = sum over k, r, s of dy[n, k, i, j]
/// weight[k, c, r, s]` over the windows `(i, j)` whose point `(r, s)` is `(y, x)`.
///
/// # Errors
/// [`Error::Shape`] where `dy` is not the shape of the convolution's result; otherwise as [`Tensor::conv2d`].
pub fn conv2d_input_grad(
    dy: &Tensor,
    weight: &Tensor,
    input_shape: impl Into<Shape>,
    options: &Conv2dOptions,
) -> Result<Tensor> {
    const OP: &str = "conv2d_input_grad";
    check_operands(OP, (dy, "dy"), (weight, "weight"))?;
    let sizes = Sizes::new(OP, &input_shape.into(), weight.shape(), options)?;
    check_dy(OP, dy, &sizes)?;
    input_grad(&dy.contiguous()?, &weight.contiguous()?, &sizes)
}

fn check_dy(op: &'static str, dy: &Tensor, sizes: &Sizes) -> Result<()> {
    if dy.shape().dims() == sizes.output() {
        return Ok(());
    }
    Err(Error::shape(
        op,
        format!(
            "dy has shape {}; an input of {:?} with weight {:?} gives {:?}: pass a gradient of that shape",
            dy.shape(),
            sizes.input(),
            sizes.weight(),
            sizes.output()
        ),
    ))
}

fn input_grad(dy: &Tensor, weight: &Tensor, sizes: &Sizes) -> Result<Tensor> {
    if sizes.n > 1 && !(sizes.fits(sizes.input(), dy) && sizes.fits(sizes.output(), dy)) {
        let [d0, d1] = halves(dy)?;
        let half = |dy: &Tensor| input_grad(dy, weight, &Sizes { n: dy.shape()[0], ..*sizes });
        return Tensor::cat(&[&half(&d0)?, &half(&d1)?], 0);
    }
    let way = match sizes.method(dy, Direction::InputGrad)? {
        Method::Winograd(winograd) => return winograd.input_grad(dy, weight),
        Method::Depthwise(problem) => return depthwise::input_grad(dy, weight, &problem),
        Method::Direct(direct) => return direct.input_grad(dy, weight),
        Method::OneByOne(conv) => match conv.input_grad(dy, weight)? {
            Some(dx) => return Ok(dx),
            None => Way::Usual,
        },
        Method::Tiles(way) => way,
    };
    let Sizes { n, c, h, w, k, r, s, oh, ow, options } = *sizes;
    let out = Tensor::empty(dy.device(), sizes.input(), dy.dtype(), "conv2d_input_grad")?;
    let problem = Problem {
        op: "conv2d_input_grad",
        mode: if options.stride == [1, 1] { Mode::UnitScatter } else { Mode::Scatter },
        a: weight,
        b: dy,
        bias: None,
        relu: false,
        // A kernel of one point leaves neighbours along the rows.
        a_along_k: r * s > 1,
        b_along_k: false,
        way,
        params: Params {
            m: c as u32,
            n: (n * h * w) as u32,
            k: (k * r * s) as u32,
            batches: options.groups as u32,
            a_batch: (k * c * r * s) as u32,
            a_row: (r * s) as u32,
            a_k: (c * r * s) as u32,
            b_batch: (k * oh * ow) as u32,
            b_k: (oh * ow) as u32,
            b_column: (options.groups * k * oh * ow) as u32,
            c_batch: (c * h * w) as u32,
            c_row: (h * w) as u32,
            c_outer: (options.groups * c * h * w) as u32,
            inner: ((h * w) as u32).max(1),
            ..sizes.geometry([r, s], [h, w], [oh, ow], options.dilation, options.stride)
        },
    };
    contract_into(&problem, &out)?;
    Ok(out)
}

/// The gradient of [`Tensor::conv2d`] with respect to its weight: `dw[k, c, r, s] = sum over n, i, j of dy[n, k, i, j]
/// x[n, c, i stride - padding + r dilation, ..]`.
///
/// # Errors
/// [`Error::Shape`] where `dy` is not the shape of the convolution's result; otherwise as [`Tensor::conv2d`].
pub fn conv2d_weight_grad(
    x: &Tensor,
    dy: &Tensor,
    weight_shape: impl Into<Shape>,
    options: &Conv2dOptions,
) -> Result<Tensor> {
    const OP: &str = "conv2d_weight_grad";
    check_operands(OP, (x, "input"), (dy, "dy"))?;
    let sizes = Sizes::new(OP, x.shape(), &weight_shape.into(), options)?;
    check_dy(OP, dy, &sizes)?;
    Ok(weight_grad(&x.contiguous()?, &dy.contiguous()?, &sizes, false)?.0)
}

/// [`conv2d_weight_grad`], and the gradient with respect to the bias, `db[k] = sum over n, i, j of dy[n, k, i, j]`, which
/// many algorithms have at hand.
///
/// # Errors
/// As [`conv2d_weight_grad`].
pub fn conv2d_weight_bias_grad(
    x: &Tensor,
    dy: &Tensor,
    weight_shape: impl Into<Shape>,
    options: &Conv2dOptions,
) -> Result<(Tensor, Tensor)> {
    const OP: &str = "conv2d_weight_bias_grad";
    check_operands(OP, (x, "input"), (dy, "dy"))?;
    let sizes = Sizes::new(OP, x.shape(), &weight_shape.into(), options)?;
    check_dy(OP, dy, &sizes)?;
    let dy = dy.contiguous()?;
    let (dw, db) = weight_grad(&x.contiguous()?, &dy, &sizes, true)?;
    Ok((dw, db.map_or_else(|| dy.sum([0, 2, 3]), Ok)?))
}

/// The gradients of [`Tensor::conv2d`] with respect to its input, its weight and if `bias` its bias: [`conv2d_input_grad`] and
/// [`conv2d_weight_bias_grad`], with what they have in common computed once.
///
/// `kept` is what [`conv2d_keeping`] left of the same `x` and `weight`, or the default. With `rectified`, `x` is the result of a
/// ReLU, and its gradient the one before the ReLU: 0 where `x` is not above 0.
///
/// ```
/// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor};
/// # use kiln_tensor::ops::conv::{Conv2dOptions, conv2d_grads, conv2d_keeping};
/// # fn main() -> Result<(), kiln_tensor::Error> {
/// let device = Device::open_default()?;
/// let x = Tensor::ones(&device, [2, 4, 8, 8], DType::F32)?;
/// let weight = Tensor::ones(&device, [8, 4, 3, 3], DType::F32)?;
/// let options = Conv2dOptions { padding: [1, 1], ..Default::default() };
/// let (y, kept) = conv2d_keeping(&x, &weight, None, false, &options)?;
/// let (dx, dw, db) = conv2d_grads(&x, &weight, &y, &kept, true, false, &options)?;
/// assert_eq!((dx.shape(), dw.shape()), (x.shape(), weight.shape()));
/// assert_eq!(db.map(|db| db.shape().to_vec()), Some(vec![8]));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] where `dy` is not the shape of the convolution's result; otherwise as [`Tensor::conv2d`].
pub fn conv2d_grads(
    x: &Tensor,
    weight: &Tensor,
    dy: &Tensor,
    kept: &Conv2dKept,
    bias: bool,
    rectified: bool,
    options: &Conv2dOptions,
) -> Result<(Tensor, Tensor, Option<Tensor>)> {
    const OP: &str = "conv2d_grads";
    check_operands(OP, (x, "input"), (weight, "weight"))?;
    check_operands(OP, (x, "input"), (dy, "dy"))?;
    let sizes = Sizes::new(OP, x.shape(), weight.shape(), options)?;
    check_dy(OP, dy, &sizes)?;
    let (x, weight, dy) = (x.contiguous()?, weight.contiguous()?, dy.contiguous()?);
    if let Some(shared) = sizes.shared(&x)? {
        return shared.gradients(&x, &weight, &dy, &kept.0, bias, rectified);
    }
    let dx = input_grad(&dy, &weight, &sizes)?;
    let (dw, db) = weight_grad(&x, &dy, &sizes, bias)?;
    let db = if bias { Some(db.map_or_else(|| dy.sum([0, 2, 3]), Ok)?) } else { None };
    Ok((if rectified { relu_grad(&x, &dx)? } else { dx }, dw, db))
}

/// The weight's gradient, and where `bias` and the algorithm has it at hand, the bias' gradient.
fn weight_grad(x: &Tensor, dy: &Tensor, sizes: &Sizes, bias: bool) -> Result<(Tensor, Option<Tensor>)> {
    if sizes.n > 1 && !(sizes.fits(sizes.input(), x) && sizes.fits(sizes.output(), x)) {
        let ([x0, x1], [d0, d1]) = (halves(x)?, halves(dy)?);
        let half = |x: &Tensor, dy: &Tensor| weight_grad(x, dy, &Sizes { n: x.shape()[0], ..*sizes }, bias);
        let ((dw0, db0), (dw1, db1)) = (half(&x0, &d0)?, half(&x1, &d1)?);
        return Ok((dw0.add(&dw1)?, db0.zip(db1).map(|(db0, db1)| db0.add(&db1)).transpose()?));
    }
    let way = match sizes.method(x, Direction::WeightGrad)? {
        Method::Winograd(winograd) => return winograd.weight_grad(x, dy, bias),
        Method::Depthwise(problem) => return Ok((depthwise::weight_grad(x, dy, &problem)?, None)),
        Method::Direct(direct) => return direct.weight_grad(x, dy, bias),
        Method::OneByOne(conv) => match conv.weight_grad(x, dy, bias)? {
            Some(gradients) => return Ok(gradients),
            None => Way::Usual,
        },
        Method::Tiles(way) => way,
    };
    let Sizes { n, c, h, w, k, r, s, oh, ow, options } = *sizes;
    let problem = Problem {
        op: "conv2d_weight_grad",
        mode: Mode::Patches,
        a: dy,
        b: x,
        bias: None,
        relu: false,
        a_along_k: true,
        b_along_k: true,
        way,
        params: Params {
            m: k as u32,
            n: (c * r * s) as u32,
            k: (n * oh * ow) as u32,
            batches: options.groups as u32,
            a_batch: (k * oh * ow) as u32,
            a_row: (oh * ow) as u32,
            a_k: (options.groups * k * oh * ow) as u32,
            b_batch: (c * h * w) as u32,
            b_k: (options.groups * c * h * w) as u32,
            b_column: (h * w) as u32,
            ..sizes.geometry([oh, ow], [r, s], [h, w], options.stride, options.dilation)
        },
    };
    Ok((contract(&problem)?.reshape(sizes.weight())?, None))
}
