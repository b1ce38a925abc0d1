//! Values that PyTorch recorded (`tests/data/record_pytorch.py` says what and how), and the reference held to them.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::reference::conv::{self, Conv2d};
use crate::reference::optim::{Adam, AdamState, Rmsprop, RmspropState, Sgd};
use crate::reference::pool::{self, Pool2d};
use crate::reference::{Array, lenet, reduce};
use crate::tolerance::{Class, Expected};

/// One file of `tests/data`: its tensors by name and the options of its cases.
pub struct Recorded {
    tensors: BTreeMap<String, Array>,
    cases: serde_json::Map<String, Value>,
}

impl Recorded {
    pub fn open(name: &str) -> Recorded {
        let path = format!("{}/tests/data/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let recorded: Value = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["recorded"]).unwrap();
        let tensors = SafeTensors::deserialize(&bytes)
            .unwrap()
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let words = view.data().chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
                let data = match view.dtype() {
                    Dtype::F32 => words.map(|b| f64::from(f32::from_le_bytes(b))).collect(),
                    Dtype::I32 => words.map(|b| f64::from(i32::from_le_bytes(b))).collect(),
                    Dtype::U8 => view.data().iter().map(|&b| f64::from(b)).collect(),
                    other => panic!("{path}: {name} is {other:?}"),
                };
                (name, Array::new(view.shape(), data))
            })
            .collect();
        Recorded { tensors, cases: recorded["cases"].as_object().unwrap().clone() }
    }

    /// Names of the cases; never empty.
    pub fn cases(&self) -> Vec<&str> {
        assert!(!self.cases.is_empty());
        self.cases.keys().map(String::as_str).collect()
    }

    pub fn get(&self, case: &str, name: &str) -> &Array {
        self.find(case, name).unwrap_or_else(|| panic!("no tensor {case}.{name} is recorded"))
    }

    pub fn find(&self, case: &str, name: &str) -> Option<&Array> {
        self.tensors.get(&format!("{case}.{name}"))
    }

    /// A tensor that belongs to no case.
    pub fn whole(&self, name: &str) -> &Array {
        &self.tensors[name]
    }

    /// Tensors `PREFIX.NAME`, by NAME.
    pub fn under(&self, prefix: &str) -> BTreeMap<String, Array> {
        let prefix = format!("{prefix}.");
        let named = self.tensors.iter().filter_map(|(k, v)| Some((k.strip_prefix(&prefix)?.to_owned(), v.clone())));
        named.collect()
    }

    pub fn indices(&self, case: &str, name: &str) -> Vec<usize> {
        self.get(case, name).data.iter().map(|&v| v as usize).collect()
    }

    pub fn number(&self, case: &str, option: &str) -> Option<f64> {
        self.cases[case].get(option)?.as_f64()
    }

    pub fn flag(&self, case: &str, option: &str) -> bool {
        self.cases[case].get(option).is_some_and(|v| v == true)
    }

    pub fn text(&self, case: &str, option: &str) -> &str {
        self.cases[case][option].as_str().unwrap()
    }

    pub fn pair(&self, case: &str, option: &str) -> [f64; 2] {
        let value = &self.cases[case][option];
        [value[0].as_f64().unwrap(), value[1].as_f64().unwrap()]
    }

    pub fn sizes(&self, case: &str, option: &str) -> [usize; 2] {
        self.pair(case, option).map(|v| v as usize)
    }

    pub fn conv2d(&self, case: &str) -> Conv2d {
        Conv2d {
            stride: self.sizes(case, "stride"),
            padding: self.sizes(case, "padding"),
            dilation: self.sizes(case, "dilation"),
            groups: self.number(case, "groups").unwrap() as usize,
        }
    }

    pub fn pool2d(&self, case: &str) -> Pool2d {
        Pool2d {
            kernel: self.sizes(case, "kernel"),
            stride: self.sizes(case, "stride"),
            padding: self.sizes(case, "padding"),
            dilation: self.sizes(case, "dilation"),
            ceil_mode: self.flag(case, "ceil_mode"),
        }
    }

    pub fn sgd(&self, case: &str) -> Sgd {
        Sgd {
            lr: self.number(case, "lr").unwrap(),
            momentum: self.number(case, "momentum").unwrap_or(0.0),
            dampening: self.number(case, "dampening").unwrap_or(0.0),
            weight_decay: self.number(case, "weight_decay").unwrap_or(0.0),
            nesterov: self.flag(case, "nesterov"),
        }
    }

    pub fn adam(&self, case: &str) -> Adam {
        let default = Adam::default();
        Adam {
            lr: self.number(case, "lr").unwrap(),
            betas: if self.cases[case].get("betas").is_some() { self.pair(case, "betas") } else { default.betas },
            eps: self.number(case, "eps").unwrap_or(default.eps),
            weight_decay: self.number(case, "weight_decay").unwrap_or(0.0),
            decoupled: self.text(case, "optimizer") == "adamw",
        }
    }

    pub fn rmsprop(&self, case: &str) -> Rmsprop {
        let default = Rmsprop::default();
        Rmsprop {
            lr: self.number(case, "lr").unwrap(),
            alpha: self.number(case, "alpha").unwrap_or(default.alpha),
            eps: self.number(case, "eps").unwrap_or(default.eps),
            weight_decay: self.number(case, "weight_decay").unwrap_or(0.0),
            momentum: self.number(case, "momentum").unwrap_or(0.0),
            centered: self.flag(case, "centered"),
        }
    }
}

/// Gradient of the problem that the optimizers were recorded on: `curvature * (p - target) + 0.3 cos(3 p)`.
pub fn optim_gradient(p: &Array, target: &Array) -> Array {
    let mut grad = p.zip(target, |p, target| p - target);
    for (i, (g, p)) in grad.data.iter_mut().zip(&p.data).enumerate() {
        *g = (0.5 + (i % 4) as f64) * *g + 0.3 * (3.0 * p).cos();
    }
    grad
}

/// `|got - want| / |want|`.
pub fn relative(got: &Array, want: &Array) -> f64 {
    got.zip(want, |a, b| a - b).norm() / want.norm()
}

#[test]
fn reference_conv2d() {
    let recorded = Recorded::open("conv2d");
    for case in recorded.cases() {
        let (x, w, dy) = (recorded.get(case, "x"), recorded.get(case, "weight"), recorded.get(case, "dy"));
        let bias = recorded.find(case, "bias");
        let options = recorded.conv2d(case);
        let check = |name: &str, value: Array, magnitude: Array, terms: usize| {
            let torch = recorded.get(case, name);
            assert_eq!(torch.shape, value.shape, "{case}.{name}");
            Class::Dot.assert(&format!("{case}.{name}"), &torch.data, &Expected::joined(value, magnitude, terms));
        };
        let (ax, aw, ady) = (x.abs(), w.abs(), dy.abs());
        let per_output = w.shape[1] * w.shape[2] * w.shape[3];
        let per_weight = dy.shape[0] * dy.shape[2] * dy.shape[3];
        check(
            "y",
            conv::conv2d(x, w, bias, options),
            conv::conv2d(&ax, &aw, bias.map(Array::abs).as_ref(), options),
            per_output,
        );
        check(
            "dx",
            conv::conv2d_input_grad(dy, w, &x.shape, options),
            conv::conv2d_input_grad(&ady, &aw, &x.shape, options),
            w.shape[0] * w.shape[2] * w.shape[3],
        );
        check(
            "dweight",
            conv::conv2d_weight_grad(x, dy, &w.shape, options),
            conv::conv2d_weight_grad(&ax, &ady, &w.shape, options),
            per_weight,
        );
        if bias.is_some() {
            check("dbias", conv::conv2d_bias_grad(dy), conv::conv2d_bias_grad(&ady), per_weight);
        }
    }
}

#[test]
fn reference_pooling() {
    let recorded = Recorded::open("pool");
    for case in recorded.cases() {
        let (x, dy) = (recorded.get(case, "x"), recorded.get(case, "dy"));
        let options = recorded.pool2d(case);
        let window = options.kernel[0] * options.kernel[1];
        let check = |name: &str, value: Array, class: Class, magnitude: Array| {
            let torch = recorded.get(case, name);
            assert_eq!(torch.shape, value.shape, "{case}.{name}");
            class.assert(&format!("{case}.{name}"), &torch.data, &Expected::joined(value, magnitude, window));
        };
        if recorded.text(case, "kind") == "max" {
            let (y, indices) = pool::max_pool2d_with_indices(x, options);
            check("y", y.clone(), Class::Exact, y);
            let plane = x.shape[2] * x.shape[3];
            assert_eq!(indices.iter().map(|i| i % plane).collect::<Vec<_>>(), recorded.indices(case, "indices"));
            let magnitude = pool::max_pool2d_grad(x, &dy.abs(), options);
            check("dx", pool::max_pool2d_grad(x, dy, options), Class::Sum, magnitude);
        } else {
            let include = recorded.flag(case, "count_include_pad");
            let magnitude = pool::avg_pool2d(&x.abs(), options, include);
            check("y", pool::avg_pool2d(x, options, include), Class::Sum, magnitude);
            let magnitude = pool::avg_pool2d_grad(&x.shape, &dy.abs(), options, include);
            check("dx", pool::avg_pool2d_grad(&x.shape, dy, options, include), Class::Sum, magnitude);
        }
    }
}

#[test]
fn reference_softmax() {
    let recorded = Recorded::open("softmax");
    for case in recorded.cases() {
        let (x, dy) = (recorded.get(case, "x"), recorded.get(case, "dy"));
        let axis = recorded.number(case, "axis").unwrap() as usize;
        for (name, value) in [("softmax", reduce::softmax(x, axis)), ("log_softmax", reduce::log_softmax(x, axis))] {
            let torch = recorded.get(case, name);
            assert!(relative(torch, &value) < 1e-6 || value.norm() == 0.0, "{case}.{name}");
            let y = &value;
            // dx = y (dy - sum(dy y)) and dx = dy - softmax sum(dy).
            let dx = if name == "softmax" {
                let inner = reduce::sum(&dy.zip(y, |d, y| d * y), &[axis], true);
                dy.zip(&inner, |d, s| d - s).zip(y, |d, y| d * y)
            } else {
                let total = reduce::sum(dy, &[axis], true);
                dy.zip(&y.map(f64::exp).zip(&total, |p, s| p * s), |d, ps| d - ps)
            };
            let miss = recorded.get(case, &format!("{name}_dx")).zip(&dx, |a, b| a - b).norm();
            assert!(miss <= 1e-6 * dy.norm(), "{case}.{name}_dx: off by {miss:e}");
        }
    }
}

#[test]
fn reference_cross_entropy() {
    let recorded = Recorded::open("cross_entropy");
    for case in recorded.cases() {
        let (logits, targets) = (recorded.get(case, "logits"), recorded.indices(case, "targets"));
        let (want, torch) = (reduce::cross_entropy(logits, &targets).item(), recorded.get(case, "loss").item());
        assert!((torch - want).abs() <= 1e-6 * want.abs(), "{case}: {torch} and {want}");
        let miss = relative(recorded.get(case, "dlogits"), &reduce::cross_entropy_grad(logits, &targets, 1.0));
        // A single class has no gradient: 0 / 0.
        assert!(miss <= 1e-6 || logits.shape[1] == 1, "{case}.dlogits: off by {miss:e}");
    }
}

#[test]
fn reference_optimizers() {
    let recorded = Recorded::open("optim");
    for case in recorded.cases() {
        for parameter in ["a", "b"] {
            let target = recorded.get("target", parameter);
            let mut p = recorded.get("start", parameter).clone();
            let history = recorded.get(case, parameter);
            assert_eq!(history.shape[0], 25);
            let (mut buffer, mut adam, mut rmsprop) = (None, AdamState::new(&p.shape), RmspropState::new(&p.shape));
            for (step, torch) in history.data.chunks_exact(p.numel()).enumerate() {
                let grad = optim_gradient(&p, target);
                match recorded.text(case, "optimizer") {
                    "sgd" => recorded.sgd(case).step(&mut p, &grad, &mut buffer),
                    "adam" | "adamw" => recorded.adam(case).step(&mut p, &grad, &mut adam),
                    "rmsprop" => recorded.rmsprop(case).step(&mut p, &grad, &mut rmsprop),
                    other => panic!("{other}"),
                }
                let miss = relative(&Array::new(&p.shape, torch.to_vec()), &p);
                assert!(miss < 2e-6, "{case}.{parameter} after step {}: off by {miss:e}", step + 1);
            }
        }
    }
}

/// Images of one recorded batch, `[n, 1, 28, 28]` and normalised, and their labels.
pub fn lenet_batch(recorded: &Recorded, step: usize) -> (Array, Vec<usize>) {
    let (batches, labels) = (recorded.whole("batches"), recorded.whole("labels"));
    let size = batches.shape[1];
    let rows = step * size..(step + 1) * size;
    let indices: Vec<usize> = batches.data[rows.clone()].iter().map(|&i| i as usize).collect();
    let bytes = embedded_images(&indices);
    let sum: f64 = bytes.iter().map(|&b| f64::from(b)).sum();
    assert_eq!(sum, recorded.whole("pixel_sums").data[step], "the embedded images changed since the recording");
    let [mean, std] = ["mean", "std"].map(|option| recorded.number("losses", option).unwrap());
    let data = bytes.iter().map(|&b| (f64::from(b) / 255.0 - mean) / std).collect();
    (Array::new(&[size, 1, 28, 28], data), labels.data[rows].iter().map(|&v| v as usize).collect())
}

fn embedded_images(indices: &[usize]) -> Vec<u8> {
    let images = kiln_data::FashionMnist::embedded().unwrap();
    indices.iter().flat_map(|&i| images.train().get(i).unwrap().image).collect()
}

#[test]
fn reference_lenet5() {
    let recorded = Recorded::open("lenet5");
    let initial = recorded.under("initial");
    assert_eq!(initial.values().map(Array::numel).sum::<usize>(), 61_706);
    let (images, targets) = lenet_batch(&recorded, 0);
    let logits = lenet::forward(&initial, &images).logits;
    assert!(relative(recorded.whole("logits"), &logits) < 1e-6);
    let (_, grads) = lenet::gradients(&initial, &images, &targets);
    for (name, torch) in recorded.under("gradient") {
        let miss = relative(&torch, &grads[&name]);
        assert!(miss < 1e-5, "gradient of {name}: off by {miss:e}");
    }
    // The run whose loss falls; the slow one would tell nothing more.
    let sgd = recorded.sgd("losses_fast");
    let mut parameters = initial;
    let mut buffers: BTreeMap<String, Option<Array>> = BTreeMap::new();
    for (step, &torch) in recorded.whole("losses_fast").data.iter().enumerate() {
        let (images, targets) = lenet_batch(&recorded, step);
        let (loss, grads) = lenet::gradients(&parameters, &images, &targets);
        assert!((loss - torch).abs() <= 5e-6 * torch, "step {step}: {loss}, PyTorch had {torch}");
        for (name, p) in &mut parameters {
            sgd.step(p, &grads[name], buffers.entry(name.clone()).or_default());
        }
    }
}
