//! Transposed convolution.

use kiln_tensor::ops::conv_transpose::ConvTranspose2dOptions;
use kiln_tensor::{DType, Device};

use super::binary::zeros;
use crate::recorded::Recorded;
use crate::reference::Array;
use crate::reference::conv::{self, Conv2d};
use crate::row::{Case, Domain, Input, LINEAR, Layout, Row, Wrongs, both, input, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32};
use Layout::{Contiguous, Offset, Tail, Transposed};

/// The convolution that is transposed, and what is added to the result's size.
#[derive(Clone, Copy, Debug)]
struct Options {
    conv: Conv2d,
    output_padding: [usize; 2],
}

impl Options {
    fn of(self) -> ConvTranspose2dOptions {
        let Conv2d { stride, padding, dilation, groups } = self.conv;
        ConvTranspose2dOptions { stride, padding, output_padding: self.output_padding, groups, dilation }
    }

    fn output_shape(self, x: &[usize], w: &[usize]) -> Vec<usize> {
        let Conv2d { stride, padding, dilation, groups } = self.conv;
        let size = |i: usize| {
            (x[2 + i] - 1) * stride[i] + dilation[i] * (w[2 + i] - 1) + self.output_padding[i] + 1 - 2 * padding[i]
        };
        vec![x[0], w[1] * groups, size(0), size(1)]
    }
}

fn reference(x: &[Array], options: Options) -> Array {
    let shape = options.output_shape(&x[0].shape, &x[1].shape);
    let y = conv::conv2d_input_grad(&x[0], &x[1], &shape, options.conv);
    match x.get(2) {
        Some(bias) => y.zip(&Array::new(&[shape[1], 1, 1], bias.data.clone()).expand(&shape), |y, bias| y + bias),
        None => y,
    }
}

fn case(label: String, inputs: Vec<Input>, options: Options) -> Case {
    let (tensors, vars) = both!(x => x[0].conv_transpose2d(&x[1], x.get(2), options.of()));
    let expected = move |x: &[Array]| {
        let terms = x[1].shape[0] / options.conv.groups * x[1].shape[2] * x[1].shape[3] + 1;
        let magnitude = reference(&x.iter().map(Array::abs).collect::<Vec<_>>(), options);
        Expected::joined(reference(x, options), magnitude, terms)
    };
    Case::new(label, inputs, tensors, expected).differentiable(vars)
}

pub fn rows() -> Vec<Row> {
    let plain = Options { conv: Conv2d::default(), output_padding: [0, 0] };
    let conv = move |stride: usize, padding: usize| Conv2d { stride: [stride; 2], padding: [padding; 2], ..plain.conv };
    let of = move |stride, padding| Options { conv: conv(stride, padding), ..plain };
    let everything = Options {
        conv: Conv2d { stride: [3, 2], padding: [2, 1], dilation: [2, 3], groups: 2 },
        output_padding: [2, 1],
    };
    // Input, weight, options, layout, and whether there is a bias.
    let problems = [
        ([1, 1, 1, 1], [1, 1, 1, 1], plain, Contiguous, true),
        ([2, 3, 4, 5], [3, 4, 3, 3], plain, Contiguous, true),
        ([1, 2, 7, 9], [2, 3, 2, 2], of(2, 0), Contiguous, false),
        ([2, 2, 5, 4], [2, 3, 3, 3], Options { output_padding: [1, 0], ..of(2, 1) }, Contiguous, true),
        ([1, 3, 63, 2], [3, 2, 1, 3], of(1, 1), Contiguous, false),
        ([2, 4, 4, 5], [4, 1, 3, 2], everything, Contiguous, true),
        ([1, 6, 5, 5], [6, 1, 3, 3], Options { conv: Conv2d { groups: 6, ..conv(2, 1) }, ..plain }, Contiguous, true),
        ([1, 2, 5, 7], [2, 5, 4, 4], of(4, 0), Tail, true),
        ([2, 3, 5, 4], [3, 2, 3, 3], of(2, 0), Offset, true),
        ([2, 3, 5, 4], [3, 2, 3, 3], of(1, 2), Transposed, false),
        ([0, 3, 5, 4], [3, 2, 3, 3], of(2, 1), Contiguous, true),
        ([9, 2, 11, 13], [2, 3, 3, 3], of(1, 1), Contiguous, true),
    ];
    let mut cases = Vec::new();
    for (i, (x, w, options, layout, bias)) in problems.into_iter().enumerate() {
        for dtype in [F32, F16] {
            if dtype == F16 && i % 3 != 0 {
                continue;
            }
            let drawn = |shape: &[usize]| input(shape, Domain::Within(-1.0, 1.0)).layout(layout).dtype(dtype);
            let mut inputs = vec![drawn(&x), drawn(&w)];
            // In f16 the bias is added to a sum that was rounded already, which the bound of one rounding does not hold.
            if bias && dtype == F32 {
                inputs.push(drawn(&[w[1] * options.conv.groups]));
            }
            let mut made = case(format!("{x:?} by {w:?} {options:?} {layout:?} {dtype}"), inputs, options).gives(dtype);
            if dtype == F16 {
                made.differentiable = None;
            } else if x[0] == 9 {
                made = made.tight();
            }
            cases.push(made);
        }
    }
    let recorded = Recorded::open("conv_transpose2d");
    for name in recorded.cases() {
        let mut inputs = vec![Input::given(recorded.get(name, "x")), Input::given(recorded.get(name, "weight"))];
        inputs.extend(recorded.find(name, "bias").map(Input::given));
        let output_padding = recorded.pair(name, "output_padding").map(|v| v as usize);
        let options = Options { conv: recorded.conv2d(name), output_padding };
        cases.push(case(format!("recorded {name}"), inputs, options).recorded(recorded.get(name, "y")));
    }
    let call = |d: &Device, x: &[usize], w: &[usize], options: Options| {
        zeros(d, x, F32)?.conv_transpose2d(&zeros(d, w, F32)?, None, options.of())
    };
    let wrong = Wrongs::Calls(vec![
        wrong(
            "conv_transpose2d: input has shape [3, 4, 4], weight [3, 2, 3, 3]; needs [batch, channels, height, width] and \
             [channels, out_channels / groups, kernel height, kernel width]",
            move |d| call(d, &[3, 4, 4], &[3, 2, 3, 3], plain),
        ),
        wrong("conv_transpose2d: stride [0, 0], dilation [1, 1], groups 1; each must be at least 1", move |d| {
            call(d, &[1, 3, 4, 4], &[3, 2, 3, 3], of(0, 0))
        }),
        wrong("conv_transpose2d: output_padding [2, 0] with stride [2, 2]; needs less than the stride", move |d| {
            call(d, &[1, 3, 4, 4], &[3, 2, 3, 3], Options { output_padding: [2, 0], ..of(2, 0) })
        }),
        wrong(
            "conv_transpose2d: input has 4 channels, weight [3, 2, 3, 3] with groups = 1; needs as many channels as the \
             weight has first, a multiple of groups above 0, and at least one output channel",
            move |d| call(d, &[1, 4, 4, 4], &[3, 2, 3, 3], plain),
        ),
        wrong(
            "conv_transpose2d: an image of 2x2 and a kernel of 1x1 with stride [1, 1], padding [1, 1] and dilation [1, 1] \
             leave no result; pass a larger image or less padding",
            move |d| call(d, &[1, 3, 2, 2], &[3, 2, 1, 1], of(1, 1)),
        ),
        wrong(
            "conv_transpose2d: bias has shape [3], weight [3, 2, 3, 3]; needs a bias of [2], one value per output channel",
            move |d| {
                let (x, w, bias) = (zeros(d, &[1, 3, 4, 4], F32)?, zeros(d, &[3, 2, 3, 3], F32)?, zeros(d, &[3], F32)?);
                x.conv_transpose2d(&w, Some(&bias), plain.of())
            },
        ),
        wrong("conv_transpose2d: input is f32, weight is i32; needs one type: convert one by to_dtype", move |d| {
            zeros(d, &[1, 3, 4, 4], F32)?.conv_transpose2d(&zeros(d, &[3, 2, 3, 3], I32)?, None, plain.of())
        }),
    ]);
    vec![Row { name: "conv_transpose2d", class: Class::Dot, gradient: LINEAR, cases, wrong }]
}
