//! Optimizers against what PyTorch recorded (`tests/data/record_pytorch.py` of the workspace), their state and their errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use kiln_autograd::{Gradients, Tape};
use kiln_nn::{Adam, AdamW, Optimizer, Parameter, Parameters, RMSprop, Schedule, Sgd};
use kiln_tensor::{DType, Device, Tensor};
use safetensors::SafeTensors;

fn device() -> Device {
    Device::open_default().unwrap()
}

fn recorded() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/optim.safetensors")).unwrap()
}

fn values(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f32>) {
    let view = file.tensor(name).unwrap();
    (view.shape().to_vec(), bytemuck::pod_collect_to_vec(view.data()))
}

const NAMES: [&str; 2] = ["a", "b"];

/// The recorded problem: `sum(curvature (p - target)^2) / 2 + 0.1 sum(sin(3 p))` for two parameters.
struct Problem {
    parameters: Vec<Parameter>,
    targets: Vec<Tensor>,
    curvatures: Vec<Tensor>,
}

impl Problem {
    fn new(device: &Device, file: &SafeTensors<'_>) -> Problem {
        let mut problem = Problem { parameters: Vec::new(), targets: Vec::new(), curvatures: Vec::new() };
        for name in NAMES {
            let tensor = |key: &str| {
                let (shape, values) = values(file, &format!("{key}.{name}"));
                Tensor::from_slice(device, shape, &values).unwrap()
            };
            let start = tensor("start");
            let curvature: Vec<f32> = (0..start.numel()).map(|index| 0.5 + (index % 4) as f32).collect();
            problem.curvatures.push(Tensor::from_slice(device, start.shape(), &curvature).unwrap());
            problem.targets.push(tensor("target"));
            problem.parameters.push(Parameter::new(start));
        }
        problem
    }

    fn named(&self) -> Parameters {
        NAMES.iter().map(|name| name.to_string()).zip(self.parameters.iter().cloned()).collect()
    }

    fn gradients(&self) -> Gradients {
        let tape = Tape::train();
        let terms: Vec<_> = (0..2)
            .map(|index| {
                let p = self.parameters[index].on(&tape);
                let away = p.sub(&tape.constant(self.targets[index].clone())).unwrap().square().unwrap();
                let bowl = away.mul(&tape.constant(self.curvatures[index].clone())).unwrap().mul_scalar(0.5).unwrap();
                let wave = p.mul_scalar(3.0).unwrap().sin().unwrap().mul_scalar(0.1).unwrap();
                bowl.add(&wave).unwrap().sum(..).unwrap()
            })
            .collect();
        terms[0].add(&terms[1]).unwrap().backward().unwrap()
    }
}

fn cases(problem: &Problem) -> Vec<(&'static str, Box<dyn Optimizer>)> {
    let sgd = |lr: f64| Sgd::new(problem.named(), lr);
    let adam = |lr: f64| Adam::new(problem.named(), lr);
    let rmsprop = |lr: f64| RMSprop::new(problem.named(), lr);
    vec![
        ("sgd", Box::new(sgd(0.05))),
        ("sgd_weight_decay", Box::new(sgd(0.05).weight_decay(0.1))),
        ("sgd_momentum", Box::new(sgd(0.02).momentum(0.9))),
        ("sgd_momentum_weight_decay", Box::new(sgd(0.02).momentum(0.9).weight_decay(5e-4))),
        ("sgd_dampening", Box::new(sgd(0.05).momentum(0.8).dampening(0.3))),
        ("sgd_nesterov", Box::new(sgd(0.02).momentum(0.9).nesterov(true))),
        ("sgd_nesterov_weight_decay", Box::new(sgd(0.02).momentum(0.9).nesterov(true).weight_decay(0.01))),
        ("adam", Box::new(adam(0.05))),
        ("adam_weight_decay", Box::new(adam(0.05).weight_decay(0.1))),
        ("adam_betas", Box::new(adam(0.02).betas(0.5, 0.9).eps(1e-4))),
        ("adamw", Box::new(AdamW::new(problem.named(), 0.05))),
        ("adamw_weight_decay", Box::new(AdamW::new(problem.named(), 0.05).weight_decay(0.3).betas(0.8, 0.95))),
        ("rmsprop", Box::new(rmsprop(0.02))),
        ("rmsprop_momentum", Box::new(rmsprop(0.005).momentum(0.9).alpha(0.9))),
        ("rmsprop_centered", Box::new(rmsprop(0.01).centered(true).weight_decay(0.1).eps(1e-4))),
        ("rmsprop_everything", Box::new(rmsprop(0.005).centered(true).momentum(0.8).alpha(0.95).eps(1e-3))),
    ]
}

#[test]
fn steps_are_those_of_pytorch() {
    let device = device();
    let bytes = recorded();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for index in 0..cases(&Problem::new(&device, &file)).len() {
        let problem = Problem::new(&device, &file);
        let (name, mut optim) = cases(&problem).swap_remove(index);
        let mut history = [Vec::new(), Vec::new()];
        for _ in 0..25 {
            optim.step(&problem.gradients()).unwrap();
            for (history, parameter) in history.iter_mut().zip(&problem.parameters) {
                history.extend(parameter.value().to_vec::<f32>().unwrap());
            }
        }
        for (history, parameter) in history.iter().zip(NAMES) {
            let (_, expected) = values(&file, &format!("{name}.{parameter}"));
            assert_eq!(history.len(), expected.len());
            for (at, (found, expected)) in history.iter().zip(&expected).enumerate() {
                // 25 steps of f32 rounding, each a few units in the last place.
                assert!(
                    (found - expected).abs() <= 2e-5 * expected.abs().max(0.1),
                    "{name}.{parameter}[{at}]: {found}, {expected}"
                );
            }
        }
    }
}

#[test]
fn a_saved_state_goes_on_as_if_nothing_had_happened() {
    let device = device();
    let bytes = recorded();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for index in [0, 5, 7, 10, 13, 15] {
        let run = |cut: bool| -> Vec<Vec<u32>> {
            let problem = Problem::new(&device, &file);
            let mut optim = cases(&problem).swap_remove(index).1;
            for step in 0..10 {
                if cut && step == 4 {
                    let state = optim.state().unwrap();
                    assert!(state.steps.values().all(|&steps| steps == 4));
                    let kept: Vec<Vec<f32>> = problem.parameters.iter().map(|p| p.value().to_vec().unwrap()).collect();
                    // What happens after the save must not reach into the saved state.
                    optim.step(&problem.gradients()).unwrap();
                    for (parameter, kept) in problem.parameters.iter().zip(&kept) {
                        parameter.set(Tensor::from_slice(&device, parameter.shape(), kept).unwrap()).unwrap();
                    }
                    optim = cases(&problem).swap_remove(index).1;
                    optim.load_state(&state).unwrap();
                }
                optim.step(&problem.gradients()).unwrap();
            }
            let bits = |p: &Parameter| p.value().to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect();
            problem.parameters.iter().map(bits).collect()
        };
        assert!(run(true) == run(false), "{}", cases(&Problem::new(&device, &file))[index].0);
    }
}

#[test]
fn state_is_named_after_parameters() {
    let device = device();
    let bytes = recorded();
    let problem = Problem::new(&device, &SafeTensors::deserialize(&bytes).unwrap());
    let mut optim = Adam::new(problem.named(), 0.1);
    assert!(optim.state().unwrap().tensors.is_empty());
    optim.step(&problem.gradients()).unwrap();
    let state = optim.state().unwrap();
    let keys: Vec<&str> = state.tensors.keys().map(String::as_str).collect();
    assert_eq!(keys, ["a.exp_avg", "a.exp_avg_sq", "b.exp_avg", "b.exp_avg_sq"]);
    assert_eq!(state.tensors["a.exp_avg"].shape().dims(), [3, 5]);

    let mut sgd = Sgd::new(problem.named(), 0.1).momentum(0.9);
    assert_eq!(
        sgd.load_state(&state).unwrap_err().to_string(),
        "Sgd: the state has a tensor a.exp_avg, the optimizer keeps momentum_buffer; pass the state of its kind"
    );
    let mut fewer = Adam::new(problem.named().of("b"), 0.1);
    assert_eq!(
        fewer.load_state(&state).unwrap_err().to_string(),
        "Adam: the state has parameter a, the optimizer has not; pass the state of these parameters"
    );
    let mut missing = state.clone();
    missing.steps.remove("b");
    assert_eq!(
        optim.load_state(&missing).unwrap_err().to_string(),
        "Adam: the state has no steps of parameter b; pass the state of these parameters"
    );
    let mut gap = state.clone();
    gap.tensors.remove("b.exp_avg");
    assert_eq!(
        optim.load_state(&gap).unwrap_err().to_string(),
        "Adam: the state has no tensor b.exp_avg; pass the state of this kind of optimizer"
    );
    let mut reshaped = state.clone();
    reshaped.tensors.insert("b.exp_avg".into(), Tensor::ones(&device, [9], DType::F32).unwrap());
    assert_eq!(optim.load_state(&reshaped).unwrap_err().to_string(), "Adam: b.exp_avg is f32 [9]; needs f32 [7]");
}

#[test]
fn parameters_that_join_later_start_from_nothing() {
    // The second is frozen at first: its own first step comes when the other has made three.
    let device = device();
    let bytes = recorded();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let problem = Problem::new(&device, &file);
    let mut optim = Adam::new(problem.named(), 0.05);
    problem.parameters[1].set_frozen(true);
    let start = problem.parameters[1].value().to_vec::<f32>().unwrap();
    for _ in 0..3 {
        optim.step(&problem.gradients()).unwrap();
    }
    assert_eq!(problem.parameters[1].value().to_vec::<f32>().unwrap(), start);
    problem.parameters[1].set_frozen(false);
    optim.step(&problem.gradients()).unwrap();
    let (_, expected) = values(&file, "adam.b");
    let found = problem.parameters[1].value().to_vec::<f32>().unwrap();
    for (found, expected) in found.iter().zip(&expected[..7]) {
        assert!((found - expected).abs() < 1e-6, "{found}, {expected}");
    }
    // Neither gets in the way of the other from then on.
    for _ in 0..6 {
        optim.step(&problem.gradients()).unwrap();
    }
    for (name, parameter, steps) in [("a", &problem.parameters[0], 10), ("b", &problem.parameters[1], 7)] {
        let (shape, expected) = values(&file, &format!("adam.{name}"));
        let size: usize = shape[1..].iter().product();
        let found = parameter.value().to_vec::<f32>().unwrap();
        for (found, expected) in found.iter().zip(&expected[(steps - 1) * size..steps * size]) {
            assert!((found - expected).abs() < 1e-5, "{name} after {steps} steps: {found}, {expected}");
        }
    }
    let steps: Vec<u64> = optim.state().unwrap().steps.into_values().collect();
    assert_eq!(steps, [10, 7]);
}

#[test]
fn a_parameter_without_gradient_is_named_and_nothing_moves() {
    let device = device();
    let bytes = recorded();
    let problem = Problem::new(&device, &SafeTensors::deserialize(&bytes).unwrap());
    let tape = Tape::train();
    let gradients = problem.parameters[0].on(&tape).sum(..).unwrap().backward().unwrap();
    let before = problem.parameters[0].value().to_vec::<f32>().unwrap();
    let mut optim = Sgd::new(problem.named(), 0.1).momentum(0.9);
    assert_eq!(
        optim.step(&gradients).unwrap_err().to_string(),
        "Sgd: parameter b got no gradient, so the loss does not depend on it; use it in forward, freeze it, or leave it out of \
         the optimizer"
    );
    assert_eq!(problem.parameters[0].value().to_vec::<f32>().unwrap(), before);
    problem.parameters[1].set_frozen(true);
    optim.step(&gradients).unwrap();
    assert_ne!(problem.parameters[0].value().to_vec::<f32>().unwrap(), before);
}

#[test]
fn settings_are_checked() {
    let device = device();
    let bytes = recorded();
    let problem = Problem::new(&device, &SafeTensors::deserialize(&bytes).unwrap());
    let gradients = problem.gradients();
    let sgd = |lr| Sgd::new(problem.named(), lr);
    let adam = |lr| Adam::new(problem.named(), lr);
    let mut wrong: Vec<(Box<dyn Optimizer>, &str)> = vec![
        (Box::new(sgd(-0.1)), "Sgd: lr = -0.1; pass a finite number of at least 0"),
        (Box::new(sgd(0.1).momentum(f64::NAN)), "Sgd: momentum = NaN; pass a finite number of at least 0"),
        (
            Box::new(sgd(0.1).nesterov(true)),
            "Sgd: nesterov with momentum = 0 and dampening = 0; it needs a momentum above 0 and no dampening",
        ),
        (Box::new(adam(f64::INFINITY)), "Adam: lr = inf; pass a finite number of at least 0"),
        (Box::new(adam(0.1).betas(0.9, 1.0)), "Adam: beta2 = 1; pass a number from 0 to below 1"),
    ];
    for (optim, message) in &mut wrong {
        assert_eq!(optim.step(&gradients).unwrap_err().to_string(), *message);
    }
}

#[test]
fn schedules_are_those_of_pytorch() {
    // torch.optim.lr_scheduler.OneCycleLR(SGD(lr=1), max_lr=0.1, total_steps=10), and its default numbers.
    let one_cycle = Schedule::one_cycle();
    let expected = [
        0.004,
        0.052,
        0.1,
        0.0950484632,
        0.08117456539,
        0.06112620219,
        0.03887419781,
        0.01882583461,
        0.004951936799,
        4e-7,
    ];
    for (step, expected) in expected.into_iter().enumerate() {
        let found = one_cycle.lr(0.1, step as u64, 10);
        assert!((found - expected).abs() < 1e-10, "step {step}: {found}, {expected}");
    }
    // CosineAnnealingLR(T_max=4): 0.1 (1 + cos(pi t / 4)) / 2.
    let cosine = Schedule::cosine(0);
    for (step, expected) in [0.1, 0.0853553391, 0.05, 0.0146446609].into_iter().enumerate() {
        assert!((cosine.lr(0.1, step as u64, 4) - expected).abs() < 1e-9);
    }
    assert_eq!(
        Schedule::cosine(10).check(10).unwrap_err().to_string(),
        "Schedule::Warmup: 10 steps of warm-up in a run of 10 steps; pass fewer, or train longer"
    );
    let bad = Schedule::OneCycle { pct_start: 1.5, div_factor: 25.0, final_div_factor: 1e4 };
    assert_eq!(
        bad.check(10).unwrap_err().to_string(),
        "Schedule::OneCycle: pct_start = 1.5, div_factor = 25, final_div_factor = 10000; needs pct_start from 0 to 1 and factors \
         of at least 1"
    );
}
