//! 2-d convolution (cross-correlation, as in every deep-learning framework) and its gradients.
//!
//! All three are the same sum over the same triples (output element, input element, weight element); they differ in
//! which of the three is summed into:
//! `y[n, o, oh, ow] = bias[o] + sum over i, kh, kw of
//!     x[n, g * in_per_group + i, oh * stride + kh * dilation - padding, ow * ..] * w[o, i, kh, kw]`
//! with `g = o / (out_channels / groups)`; positions outside the input count as zero.

use super::Array;

/// Pairs are (height, width).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

impl Default for Conv2d {
    fn default() -> Conv2d {
        Conv2d { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

/// Output shape for input `[n, in, h, w]` and weight `[out, in / groups, kh, kw]`.
pub fn output_shape(input: &[usize], weight: &[usize], conv: Conv2d) -> Vec<usize> {
    assert!(input.len() == 4 && weight.len() == 4);
    assert_eq!(input[1], weight[1] * conv.groups, "input {input:?}, weight {weight:?}, {conv:?}");
    assert_eq!(weight[0] % conv.groups, 0);
    let size = |i: usize| {
        let reach = conv.dilation[i] * (weight[2 + i] - 1) + 1;
        (input[2 + i] + 2 * conv.padding[i]).checked_sub(reach).expect("a kernel within the padded input")
            / conv.stride[i]
            + 1
    };
    vec![input[0], weight[0], size(0), size(1)]
}

/// Calls `tap(y, x, w)` with the positions of every output, input and weight element that meet.
fn for_each_tap(input: &[usize], weight: &[usize], conv: Conv2d, mut tap: impl FnMut(usize, usize, usize)) {
    let output = output_shape(input, weight, conv);
    let [batch, out_channels, out_h, out_w] = output[..] else { unreachable!() };
    let [in_per_group, kernel_h, kernel_w] = weight[1..] else { unreachable!() };
    let out_per_group = out_channels / conv.groups;
    // Row or column of the input under kernel tap `k` at output position `o`.
    let under = |i: usize, o: usize, k: usize| {
        (o * conv.stride[i] + k * conv.dilation[i]).checked_sub(conv.padding[i]).filter(|&at| at < input[2 + i])
    };
    for n in 0..batch {
        for o in 0..out_channels {
            for i in 0..in_per_group {
                let channel = o / out_per_group * in_per_group + i;
                for kh in 0..kernel_h {
                    for kw in 0..kernel_w {
                        let w = ((o * in_per_group + i) * kernel_h + kh) * kernel_w + kw;
                        for oh in 0..out_h {
                            let Some(ih) = under(0, oh, kh) else { continue };
                            for ow in 0..out_w {
                                let Some(iw) = under(1, ow, kw) else { continue };
                                let y = ((n * out_channels + o) * out_h + oh) * out_w + ow;
                                let x = ((n * input[1] + channel) * input[2] + ih) * input[3] + iw;
                                tap(y, x, w);
                            }
                        }
                    }
                }
            }
        }
    }
}

pub fn conv2d(x: &Array, w: &Array, bias: Option<&Array>, conv: Conv2d) -> Array {
    let shape = output_shape(&x.shape, &w.shape, conv);
    let mut y = match bias {
        Some(bias) => Array::new(&[shape[1], 1, 1], bias.data.clone()).expand(&shape),
        None => Array::zeros(&shape),
    };
    for_each_tap(&x.shape, &w.shape, conv, |at_y, at_x, at_w| y.data[at_y] += x.data[at_x] * w.data[at_w]);
    y
}

/// Gradient to the input.
pub fn conv2d_input_grad(dy: &Array, w: &Array, input_shape: &[usize], conv: Conv2d) -> Array {
    assert_eq!(dy.shape, output_shape(input_shape, &w.shape, conv));
    let mut dx = Array::zeros(input_shape);
    for_each_tap(input_shape, &w.shape, conv, |at_y, at_x, at_w| dx.data[at_x] += dy.data[at_y] * w.data[at_w]);
    dx
}

/// Gradient to the weight.
pub fn conv2d_weight_grad(x: &Array, dy: &Array, weight_shape: &[usize], conv: Conv2d) -> Array {
    assert_eq!(dy.shape, output_shape(&x.shape, weight_shape, conv));
    let mut dw = Array::zeros(weight_shape);
    for_each_tap(&x.shape, weight_shape, conv, |at_y, at_x, at_w| dw.data[at_w] += dy.data[at_y] * x.data[at_x]);
    dw
}

/// Gradient to the bias: the sum over batch and positions.
pub fn conv2d_bias_grad(dy: &Array) -> Array {
    super::reduce::sum(dy, &[0, 2, 3], false)
}

mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Stride 2, padding 1, dilation 2 on a row of four: taps at -1, 1, 3 and at 1, 3, 5.
        let x = Array::new(&[1, 1, 1, 4], vec![1.0, 2.0, 3.0, 4.0]);
        let w = Array::new(&[1, 1, 1, 3], vec![10.0, 100.0, 1000.0]);
        let conv = Conv2d { stride: [1, 2], padding: [0, 1], dilation: [1, 2], groups: 1 };
        let y = conv2d(&x, &w, Some(&Array::new(&[1], vec![0.5])), conv);
        assert_eq!(y.data, [4200.5]);
        let conv = Conv2d { padding: [0, 2], ..conv };
        assert_eq!(conv2d(&x, &w, None, conv).data, [3100.0, 310.0]);
    }

    #[test]
    fn groups_see_their_own_channels_only() {
        let x = Array::new(&[1, 2, 1, 1], vec![3.0, 5.0]);
        let w = Array::new(&[4, 1, 1, 1], vec![1.0, 10.0, 100.0, 1000.0]);
        let y = conv2d(&x, &w, None, Conv2d { groups: 2, ..Conv2d::default() });
        assert_eq!(y.data, [3.0, 30.0, 500.0, 5000.0]);
    }

    #[test]
    fn gradients_are_the_transposes() {
        // <dy, conv(x, w)> = <x, input_grad(dy, w)> = <w, weight_grad(x, dy)>
        let conv = Conv2d { stride: [2, 1], padding: [1, 2], dilation: [1, 2], groups: 2 };
        let value = |i: &[usize]| (i.iter().fold(7, |h, &v| (h * 31 + v) % 101)) as f64;
        let (x, w) = (Array::generate(&[2, 4, 5, 6], value), Array::generate(&[6, 2, 3, 2], value));
        let y = conv2d(&x, &w, None, conv);
        let dy = Array::generate(&y.shape, value);
        assert_eq!(dy.dot(&y), x.dot(&conv2d_input_grad(&dy, &w, &x.shape, conv)));
        assert_eq!(dy.dot(&y), w.dot(&conv2d_weight_grad(&x, &dy, &w.shape, conv)));
    }
}
