//! Convolution without a transform, for processors: neighbouring results share what is loaded of the image.

use kiln_gpu::Device;
use kiln_shaders::conv::{self, ConvGradParams, ConvParams};

use super::{lanes, splits};
use crate::dtype::DType;
use crate::error::Result;
use crate::launch::launch_planned;
use crate::ops::conv::Conv2dOptions;
use crate::plan::{self, Direction};
use crate::tensor::Tensor;

/// A convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Direct {
    pub(crate) images: usize,
    /// Channels of a group.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) size: [usize; 2],
    pub(crate) out_size: [usize; 2],
    /// The kernel.
    pub(crate) taps: [usize; 2],
    pub(crate) options: Conv2dOptions,
}

impl Direct {
    /// Whether its kernels can compute this direction. A data gradient with a stride and a dilation has gaps that follow no rule.
    pub(crate) fn applies(&self, device: &Device, direction: Direction) -> bool {
        let regular = self.options.stride == [1, 1] || self.options.dilation == [1, 1];
        lanes(device) && self.taps[1] > 1 && self.images > 0 && (regular || direction != Direction::InputGrad)
    }

    /// `y = x * weight + bias`, then if `relu` no less than 0.
    pub(crate) fn forward(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, relu: bool) -> Result<Tensor> {
        let Conv2dOptions { stride, padding, dilation, groups } = self.options;
        let ([h, w], [oh, ow], [r, s]) = (self.size, self.out_size, self.taps);
        let y = Tensor::empty(x.device(), [self.images, self.outputs * groups, oh, ow], x.dtype(), "conv2d")?;
        let params = ConvParams {
            m: self.outputs as u32,
            channels: self.inputs as u32,
            groups: groups as u32,
            images: self.images as u32,
            out_rows: oh as u32,
            out_columns: ow as u32,
            height: h as u32,
            width: w as u32,
            taps_y: r as u32,
            taps_x: s as u32,
            step_y: stride[0] as i32,
            step_x: stride[1] as i32,
            dilation_y: dilation[0] as i32,
            dilation_x: dilation[1] as i32,
            pad_y: padding[0] as i32,
            pad_x: padding[1] as i32,
            a_group: (self.outputs * self.inputs * r * s) as i32,
            a_row: (self.inputs * r * s) as i32,
            a_channel: (r * s) as i32,
            a_y: s as i32,
            a_x: 1,
            c_row: (oh * ow) as u32,
            c_y: ow as u32,
            c_x: 1,
            relu: u32::from(relu),
            ..ConvParams::default()
        };
        launch(params, x, weight, bias, &y)?;
        Ok(y)
    }

    /// The data gradient. A stride splits the image into as many phases as it has steps: the pixels of a phase see the same taps,
    /// and for them it is a convolution of stride 1.
    pub(crate) fn input_grad(&self, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let Conv2dOptions { stride, padding, dilation, groups } = self.options;
        let ([h, w], [oh, ow], [r, s]) = (self.size, self.out_size, self.taps);
        let shape = [self.images, self.inputs * groups, h, w];
        let dx = Tensor::empty(dy.device(), shape, dy.dtype(), "conv2d_input_grad")?;
        // Of a phase along an axis: its taps, the first of them, how far the window reaches back, and its pixels.
        let phase = |axis: usize, at: usize| {
            let (step, taps) = (stride[axis], self.taps[axis]);
            let first = (at + padding[axis]) % step;
            let count = taps.saturating_sub(first).div_ceil(step);
            let last = first as i64 + step as i64 * (count as i64 - 1);
            let start = ((at + padding[axis]) as i64 - first as i64) / step as i64;
            let back = (count as i64 - 1) * dilation[axis] as i64 - start;
            (count, last, back, self.size[axis].saturating_sub(at).div_ceil(step))
        };
        for (py, px) in (0..stride[0].min(h)).flat_map(|py| (0..stride[1].min(w)).map(move |px| (py, px))) {
            let (taps_y, last_y, back_y, rows) = phase(0, py);
            let (taps_x, last_x, back_x, columns) = phase(1, px);
            let params = ConvParams {
                m: self.inputs as u32,
                channels: self.outputs as u32,
                groups: groups as u32,
                images: self.images as u32,
                out_rows: rows as u32,
                out_columns: columns as u32,
                height: oh as u32,
                width: ow as u32,
                taps_y: if taps_x == 0 { 0 } else { taps_y as u32 },
                taps_x: taps_x as u32,
                step_y: 1,
                step_x: 1,
                dilation_y: dilation[0] as i32,
                dilation_x: dilation[1] as i32,
                pad_y: back_y as i32,
                pad_x: back_x as i32,
                a_offset: (last_y * s as i64 + last_x) as i32,
                a_group: (self.outputs * self.inputs * r * s) as i32,
                a_row: (r * s) as i32,
                a_channel: (self.inputs * r * s) as i32,
                a_y: -((stride[0] * s) as i32),
                a_x: -(stride[1] as i32),
                c_offset: (py * w + px) as u32,
                c_row: (h * w) as u32,
                c_y: (stride[0] * w) as u32,
                c_x: stride[1] as u32,
                ..ConvParams::default()
            };
            launch(params, dy, weight, None, &dx)?;
        }
        Ok(dx)
    }

    /// The gradients of the weight and, if wanted, of the bias.
    pub(crate) fn weight_grad(&self, x: &Tensor, dy: &Tensor, bias: bool) -> Result<(Tensor, Option<Tensor>)> {
        const OP: &str = "conv2d_weight_grad";
        let Conv2dOptions { stride, padding, dilation, groups } = self.options;
        let ([h, w], [oh, ow], [r, s]) = (self.size, self.out_size, self.taps);
        let (image, dy_window) = (x.window(), dy.window());
        let lines = (self.images * oh) as u32;
        let params = ConvGradParams {
            m: self.outputs as u32,
            channels: self.inputs as u32,
            groups: groups as u32,
            images: self.images as u32,
            out_rows: oh as u32,
            out_columns: ow as u32,
            height: h as u32,
            width: w as u32,
            taps_y: r as u32,
            taps_x: s as u32,
            step_y: stride[0] as i32,
            step_x: stride[1] as i32,
            dilation_y: dilation[0] as i32,
            dilation_x: dilation[1] as i32,
            pad_y: padding[0] as i32,
            pad_x: padding[1] as i32,
            dy_offset: dy_window.offset,
            image_offset: image.offset,
            ..ConvGradParams::default()
        };
        let (device, dtype) = (x.device(), x.dtype());
        let tall = plan::tile_rows(device);
        let splits =
            splits(device, conv::grad_groups(&params, tall), lines.saturating_mul(ow as u32)).clamp(1, lines.max(1));
        let part = if splits > 1 { DType::F32 } else { dtype };
        let rows = groups * splits as usize;
        let dw = Tensor::empty(device, [rows, self.outputs, self.inputs * r * s], part, OP)?;
        let db = bias.then(|| Tensor::empty(device, [rows, self.outputs], DType::F32, OP)).transpose()?;
        let (c, sums) = (dw.window(), db.as_ref().map(Tensor::window));
        let params = ConvGradParams {
            splits,
            split_lines: lines.div_ceil(splits),
            c_offset: c.offset,
            sums_offset: sums.map_or(0, |sums| sums.offset),
            ..params
        };
        let f16 = |dtype| dtype == DType::F16;
        let int64 = device.info().features.int64;
        let launch = conv::grad(&params, bias, [f16(dtype), f16(part)], tall, int64);
        let sums = sums.map_or(c.binding, |sums| sums.binding);
        launch_planned(device, &launch, &[dy_window.binding, image.binding, c.binding, sums])?;
        let whole = |parts: Tensor, shape: &[usize]| -> Result<Tensor> {
            let mut split = vec![groups, splits as usize];
            split.extend(shape);
            let parts = if splits > 1 { parts.reshape(split)?.sum(1)? } else { parts };
            parts.to_dtype(dtype)
        };
        let dw = whole(dw, &[self.outputs, self.inputs * r * s])?;
        let dw = dw.reshape([groups * self.outputs, self.inputs, r, s])?;
        let db = db.map(|db| whole(db, &[self.outputs])?.reshape([groups * self.outputs])).transpose()?;
        Ok((dw, db))
    }
}

fn launch(params: ConvParams, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, out: &Tensor) -> Result<()> {
    let (a, image, c) = (weight.window(), x.window(), out.window());
    let bias = bias.map(Tensor::window);
    let params = ConvParams {
        a_offset: params.a_offset + a.offset as i32,
        image_offset: image.offset,
        c_offset: params.c_offset + c.offset,
        bias: u32::from(bias.is_some()),
        bias_offset: bias.map_or(0, |bias| bias.offset),
        ..params
    };
    let four = [params.out_columns, params.c_offset, params.c_row, params.c_y];
    let quads = params.c_x == 1 && four.iter().all(|size| size.is_multiple_of(4));
    let device = x.device();
    let int64 = device.info().features.int64;
    let launch = conv::forward(&params, quads, x.dtype() == DType::F16, plan::tile_rows(device), int64);
    let bias = bias.map_or(c.binding, |bias| bias.binding);
    let bindings = [a.binding, image.binding, c.binding, bias, c.binding, c.binding];
    launch_planned(x.device(), &launch, &bindings)
}
