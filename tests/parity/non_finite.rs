//! NaN and infinities: where they go in each op, as PyTorch recorded it, and that f16 loses none.

use kiln_autograd::{Tape, Var};
use kiln_tensor::ops::activation::GeluApproximate;
use kiln_tensor::ops::batch_norm::{BatchNormOptions, Running, batch_norm_train};
use kiln_tensor::ops::class_loss::CrossEntropyOptions;
use kiln_tensor::ops::elementwise_loss::BceOptions;
use kiln_tensor::ops::local_response_norm::LocalResponseNormOptions;
use kiln_tensor::ops::loss::Reduction;
use kiln_tensor::ops::pool::{AvgPool2dOptions, MaxPool2dOptions};
use kiln_tensor::{DType, Device, Tensor};

use crate::recorded::Recorded;
use crate::reference::Array;
use crate::row::{Case, Input, Layout, Row, download, seed_of, upload};
use crate::run::{TAPE_SEED, devices};
use crate::table;
use crate::tolerance::Class;

/// (op, result, reason): where PyTorch gives NaN and Kiln the limit.
const LIMITS: &[(&str, f64, &str)] =
    &[("bce", f64::INFINITY, "the loss of a logit of -inf against 1"), ("bce_pos_weight", f64::INFINITY, "the same")];

type Op = fn(&[Var]) -> kiln_autograd::Result<Var>;

/// The ops by their names in the recorded file.
const RECORDED: &[(&str, Op)] = &[
    ("abs", |x| x[0].abs()),
    ("exp", |x| x[0].exp()),
    ("log", |x| x[0].log()),
    ("sqrt", |x| x[0].sqrt()),
    ("rsqrt", |x| x[0].rsqrt()),
    ("sin", |x| x[0].sin()),
    ("cos", |x| x[0].cos()),
    ("tanh", |x| x[0].tanh()),
    ("sigmoid", |x| x[0].sigmoid()),
    ("relu", |x| x[0].relu()),
    ("reciprocal", |x| x[0].reciprocal()),
    ("square", |x| x[0].square()),
    ("sign", |x| x[0].sign()),
    ("floor", |x| x[0].floor()),
    ("add", |x| x[0].add(&x[1])),
    ("sub", |x| x[0].sub(&x[1])),
    ("mul", |x| x[0].mul(&x[1])),
    ("div", |x| x[0].div(&x[1])),
    ("pow", |x| x[0].pow(&x[1])),
    ("maximum", |x| x[0].maximum(&x[1])),
    ("minimum", |x| x[0].minimum(&x[1])),
    ("mse_loss", |x| x[0].mse_loss(&x[1], Reduction::None)),
    ("l1_loss", |x| x[0].l1_loss(&x[1], Reduction::None)),
    ("smooth_l1_loss", |x| x[0].smooth_l1_loss(&x[1], Reduction::None, 1.0)),
    ("huber_loss", |x| x[0].huber_loss(&x[1], Reduction::None, 1.0)),
    ("clamp", |x| x[0].clamp(-1.5, 1.5)),
    ("clamp_reversed", |x| x[0].clamp(3.0, -1.0)),
    ("leaky_relu", |x| x[0].leaky_relu(0.25)),
    ("silu", |x| x[0].silu()),
    ("gelu", |x| x[0].gelu(GeluApproximate::None)),
    ("gelu_tanh", |x| x[0].gelu(GeluApproximate::Tanh)),
    ("pow_scalar", |x| x[0].pow_scalar(2.5)),
    ("bce", |x| bce(x, None)),
    ("bce_pos_weight", |x| bce(x, Some(2.0))),
    ("softmax", |x| x[0].softmax(1)),
    ("log_softmax", |x| x[0].log_softmax(1)),
    ("amax", |x| x[0].max(1)),
    ("amin", |x| x[0].min(1)),
    ("sum", |x| x[0].sum(1)),
    ("mean", |x| x[0].mean(1)),
    ("cross_entropy", |x| cross_entropy(x, 0.0)),
    ("cross_entropy_smooth", |x| cross_entropy(x, 0.1)),
    ("cross_entropy_shares", |x| {
        let shares =
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        let shares = upload(x[0].tensor().device(), &Array::new(&[6, 3], shares.concat()), x[0].tensor().dtype())?;
        x[0].cross_entropy_with(&shares, &each(0.0))
    }),
    ("max_pool", |x| x[0].max_pool2d(MaxPool2dOptions::new([1, 2]))),
    ("max_pool_relu", |x| x[0].max_pool2d_relu(MaxPool2dOptions::new([1, 2]))),
    ("avg_pool", |x| x[0].avg_pool2d(AvgPool2dOptions::new([1, 2]))),
    ("adaptive_max_pool", |x| x[0].adaptive_max_pool2d([1, 7])),
    ("adaptive_avg_pool", |x| x[0].adaptive_avg_pool2d([1, 7])),
    ("batch_norm_relu", |x| {
        let [mean, var] = [0.0, 1.0].map(|value| Tensor::full(x[0].tensor().device(), [8], value, DType::F32));
        x[0].batch_norm(&mean?, &var?, None, &BatchNormOptions { relu: true, ..BatchNormOptions::default() })
    }),
    ("local_response_norm", |x| x[0].local_response_norm(LocalResponseNormOptions::new(3))),
];

fn bce(x: &[Var], pos_weight: Option<f64>) -> kiln_autograd::Result<Var> {
    let (device, dtype) = (x[0].tensor().device(), x[0].tensor().dtype());
    let target = upload(device, &Array::new(&[8, 2], [0.0, 1.0].repeat(8)), dtype)?;
    let pos_weight = pos_weight.map(|weight| upload(device, &Array::scalar(weight), dtype)).transpose()?;
    x[0].binary_cross_entropy_with_logits(
        &target,
        &BceOptions { pos_weight, reduction: Reduction::None, ..BceOptions::default() },
    )
}

fn each(label_smoothing: f64) -> CrossEntropyOptions {
    CrossEntropyOptions { reduction: Reduction::None, label_smoothing, ..CrossEntropyOptions::default() }
}

fn cross_entropy(x: &[Var], label_smoothing: f64) -> kiln_autograd::Result<Var> {
    let classes = Array::new(&[6], vec![0.0, 1.0, 2.0, 0.0, 0.0, 1.0]);
    x[0].cross_entropy_with(&upload(x[0].tensor().device(), &classes, DType::I32)?, &each(label_smoothing))
}

/// The op's result and the gradients of its inputs, where that of the result is `start` everywhere.
fn results(
    op: &dyn Fn(&[Var]) -> kiln_autograd::Result<Var>,
    inputs: &[Tensor],
    start: f64,
) -> kiln_autograd::Result<Vec<Vec<f64>>> {
    let tape = Tape::train_seeded(TAPE_SEED);
    let is_float = |x: &Tensor| x.dtype().is_float();
    let vars: Vec<Var> =
        inputs.iter().map(|x| if is_float(x) { tape.leaf(x.clone()) } else { tape.constant(x.clone()) }).collect();
    let y = op(&vars)?;
    let start = Tensor::full(y.tensor().device(), *y.tensor().shape(), start, y.tensor().dtype())?;
    let gradients = y.backward_with(&start)?;
    let mut all = vec![download(y.tensor())?];
    for var in vars.iter().filter(|var| is_float(var.tensor())) {
        all.push(gradients.get(var).map(download).transpose()?.unwrap_or_else(|| vec![0.0; var.numel()]));
    }
    Ok(all)
}

/// Whether a number is the wanted one: NaN, the same infinity, or near it. What f16 cannot hold is infinite in it.
fn meets(got: f64, want: f64, dtype: DType) -> bool {
    let want = if dtype == DType::F16 { half::f16::from_f64(want).to_f64() } else { want };
    let allowed = if dtype == DType::F16 { 2e-3 } else { 1e-6 };
    got.is_nan() && want.is_nan() || got == want || (got - want).abs() <= allowed * (1.0 + want.abs())
}

#[test]
fn they_go_where_they_go_in_pytorch() {
    let device = &devices().whole;
    let recorded = Recorded::open("non_finite");
    let mut names = recorded.cases();
    names.sort_unstable();
    let mut known: Vec<&str> = RECORDED.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(names, known, "the ops here and in the recorded file");
    let mut misses = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        if dtype == DType::F16 && !device.info().features.f16 {
            continue;
        }
        for (name, op) in RECORDED {
            let inputs: Vec<&Array> = (0..2).filter_map(|i| recorded.find(name, &format!("x{i}"))).collect();
            let tensors: Vec<Tensor> = inputs.iter().map(|x| upload(device, x, dtype).unwrap()).collect();
            for (start, kind) in [(1.0, "one"), (f64::NAN, "nan")] {
                let gradients = (0..inputs.len()).map(|i| recorded.get(name, &format!("d{i}_{kind}")));
                let wanted: Vec<&Array> = [recorded.get(name, "y")].into_iter().chain(gradients).collect();
                let got = results(op, &tensors, start).unwrap();
                for (which, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
                    for (at, (&got, &want)) in got.iter().zip(&wanted.data).enumerate() {
                        let limit = which == 0
                            && want.is_nan()
                            && LIMITS.iter().any(|(limited, value, _)| limited == name && *value == got);
                        if !limit && !meets(got, want, dtype) {
                            let what =
                                if which == 0 { "result".to_owned() } else { format!("gradient {which} of {kind}") };
                            let x: Vec<f64> = inputs.iter().filter_map(|x| x.data.get(at).copied()).collect();
                            misses.push(format!("{name} {dtype}: {what} {at} of {x:?} is {got}, PyTorch's {want}"));
                        }
                    }
                }
            }
        }
    }
    assert!(misses.is_empty(), "{} misses:\n{}", misses.len(), misses.join("\n"));
}

#[test]
fn running_statistics_keep_nan() {
    let device = &devices().whole;
    let x = upload(device, &Array::new(&[3, 1], vec![1.0, f64::NAN, 2.0]), DType::F32).unwrap();
    let [mean, var] = [0.0, 1.0].map(|value| Tensor::full(device, [1], value, DType::F32).unwrap());
    let running = Running { mean: &mean, var: &var, momentum: 0.1 };
    batch_norm_train(&x, None, Some(running), &BatchNormOptions::default()).unwrap();
    assert!(mean.item::<f32>().unwrap().is_nan() && var.item::<f32>().unwrap().is_nan());
}

#[test]
fn a_watched_tape_sees_nan_in_f16() {
    let device = &devices().whole;
    if !device.info().features.f16 {
        return;
    }
    let x = upload(device, &Array::new(&[2], vec![-1.0, 4.0]), DType::F16).unwrap();
    let told = Tape::train().detect_anomaly().leaf(x).sqrt().unwrap_err().to_string();
    assert_eq!(told, "sqrt: the result f16 [2] has NaN; the inputs are f16 [2]");
}

/// What does not take f16: state, running figures and weights of classes are f32.
const F32_ONLY: &[&str] = &[
    "augment_image",
    "foreach::add_scaled",
    "foreach::clamp",
    "foreach::lerp",
    "foreach::norm",
    "foreach::scale",
    "optim::adam_step",
    "optim::rmsprop_step",
    "optim::sgd_step",
];

/// The cases of a row that are tried in f16: of those of some elements the smallest that the op takes, one in order and with f16 where
/// there is one; of products and convolutions, whose sums may be cut into parts, also the largest.
fn tried<'a>(device: &Device, row: &'a Row) -> Vec<&'a Case> {
    let is_float = |input: &Input| matches!(input.dtype, DType::F32 | DType::F16);
    let usable = |case: &&Case| case.recorded.is_none() && case.elements() > 8 && case.inputs.iter().any(is_float);
    let in_order = |case: &Case| case.inputs.iter().all(|input| input.layout == Layout::Contiguous);
    let mut cases: Vec<&Case> = row.cases.iter().filter(usable).collect();
    cases.sort_by_key(|case| (!in_order(case), !case.needs_f16(), case.elements()));
    let taken = cases.into_iter().find(|case| {
        let (inputs, values) = poisoned(row, case, None);
        let tensors: Vec<Tensor> =
            inputs.iter().zip(&values).map(|(input, x)| input.upload(device, x).unwrap()).collect();
        (case.forward)(device, &tensors).is_ok()
    });
    let largest = row.largest().filter(|_| row.class == Class::Dot);
    taken.into_iter().chain(largest.filter(|_| taken.is_some())).collect()
}

/// The inputs, in f16 unless some are already, with this value in the middle of one of them.
fn poisoned(row: &Row, case: &Case, which: Option<(usize, f64)>) -> (Vec<Input>, Vec<Array>) {
    let narrowed = |input: &Input| match input.dtype {
        DType::F32 if !case.needs_f16() => input.clone().dtype(DType::F16),
        _ => input.clone(),
    };
    let inputs: Vec<Input> = case.inputs.iter().map(narrowed).collect();
    let seed = |i: usize| seed_of(&format!("{} {} {i}", row.name, case.label));
    let mut values: Vec<Array> = inputs.iter().enumerate().map(|(i, input)| input.values(seed(i))).collect();
    if let Some((i, value)) = which {
        let middle = values[i].numel() / 2;
        values[i].data[middle] = value;
    }
    (inputs, values)
}

#[test]
fn f16_loses_none() {
    let device = &devices().whole;
    if !device.info().features.f16 {
        return;
    }
    let (mut misses, mut ops, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    // What is made in f16 of other types has its own cases.
    for row in table().iter().filter(|row| row.name != "to_dtype") {
        let cases = tried(device, row);
        let floats = row.cases.iter().flat_map(|case| &case.inputs).any(|input| input.dtype == DType::F32);
        if cases.is_empty() && floats {
            refused.push(row.name);
        }
        for case in cases {
            let (inputs, values) = poisoned(row, case, None);
            ops.push(row.name);
            for i in (0..inputs.len()).filter(|&i| inputs[i].dtype.is_float() && values[i].numel() > 0) {
                for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    let place = format!("{} {} with {value} in input {i}", row.name, case.label);
                    let (inputs, values) = poisoned(row, case, Some((i, value)));
                    let tensors: Vec<Tensor> =
                        inputs.iter().zip(&values).map(|(input, x)| input.upload(device, x).unwrap()).collect();
                    let got = download(&(case.forward)(device, &tensors).unwrap()).unwrap();
                    let want = (case.reference)(&values).value.data;
                    if let Some(miss) = first_lost(&got, &want, value, row.class == Class::Dot) {
                        misses.push(format!("{place}: result {miss}"));
                    }
                    let Some(op) = case.differentiable.as_ref().filter(|_| value.is_nan()) else { continue };
                    let op = |vars: &[Var]| op(&vars.iter().map(|var| var.tensor().clone()).collect::<Vec<_>>(), vars);
                    let widened =
                        |x: &Tensor| if x.dtype() == DType::F16 { x.to_dtype(DType::F32) } else { Ok(x.clone()) };
                    let wide: Vec<Tensor> = tensors.iter().map(|x| widened(x).unwrap()).collect();
                    let want = results(&op, &wide, 1.0).unwrap();
                    let got = match results(&op, &tensors, 1.0) {
                        Ok(got) => got,
                        // Its row adds f32 tensors of its own; as recorded by PyTorch it is tried in f16.
                        Err(_) if row.name == "binary_cross_entropy_with_logits" => continue,
                        Err(error) => panic!("{place}: {error}"),
                    };
                    for (which, (got, want)) in got.iter().zip(&want).enumerate().skip(1) {
                        if let Some(miss) = first_lost(got, want, value, row.class == Class::Dot) {
                            misses.push(format!("{place}: gradient {which} {miss}, as in f32"));
                        }
                    }
                }
            }
        }
    }
    println!("{} cases in f16", ops.len());
    assert!(ops.len() > 140, "the table was not found: {ops:?}");
    refused.sort_unstable();
    assert_eq!(refused, F32_ONLY);
    assert!(misses.is_empty(), "{} misses:\n{}", misses.len(), misses.join("\n"));
}

/// The first place where a result is lost: where NaN is wanted and it is a number, or an infinity and it is something else. After an
/// infinity NaN may be an infinity, since a reference may multiply it by 0 where a kernel skips it, and where convolutions compute with
/// sums of neighbours (`spreads`) an infinity may be NaN.
fn first_lost(got: &[f64], want: &[f64], value: f64, spreads: bool) -> Option<String> {
    assert_eq!(got.len(), want.len());
    let lost = |(got, want): (&f64, &f64)| {
        want.is_nan() && !(got.is_nan() || value.is_infinite() && got.is_infinite())
            || want.is_infinite() && got != want && !(spreads && got.is_nan())
    };
    let at = got.iter().zip(want).position(lost)?;
    Some(format!("{at} is {}, should be {}", got[at], want[at]))
}
