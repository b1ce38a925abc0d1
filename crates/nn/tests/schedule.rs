//! Schedules against the learning rates that PyTorch recorded, and what changes gradients and weights around a step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use kiln_autograd::{Gradients, Tape};
use kiln_nn::{
    Build, Ema, GradientAccumulator, Init, Linear, Module, Optimizer, Parameter, ParameterGroups, Parameters,
    ReduceLrOnPlateau, Schedule, Sgd, clip_grad_norm, clip_grad_value,
};
use kiln_tensor::{Device, Tensor};
use safetensors::SafeTensors;

fn recorded(name: &str) -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/schedule.safetensors");
    let bytes = std::fs::read(path).unwrap();
    bytemuck::pod_collect_to_vec(SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap().data())
}

#[test]
fn learning_rates_are_those_of_pytorch() {
    let warm = |steps, start_factor, then| Schedule::Warmup { steps, start_factor, then: Box::new(then) };
    let schedules = [
        ("step", Schedule::Step { step_size: 7, gamma: 0.5 }),
        ("multi_step", Schedule::MultiStep { milestones: vec![3, 10, 18], gamma: 0.3 }),
        ("exponential", Schedule::Exponential { gamma: 0.9 }),
        ("cosine", Schedule::CosineAnnealing),
        ("one_cycle", Schedule::one_cycle()),
        ("polynomial", Schedule::Polynomial { power: 2.0 }),
        ("warm_step", warm(5, 0.1, Schedule::Step { step_size: 6, gamma: 0.5 })),
        ("warm_cosine", warm(4, 0.2, Schedule::CosineAnnealing)),
    ];
    for (name, schedule) in schedules {
        schedule.check(25).unwrap();
        for (step, expected) in recorded(name).into_iter().enumerate() {
            let found = schedule.lr(0.1, step as u64, 25);
            assert!((found - f64::from(expected)).abs() <= 1e-7, "{name} at {step}: {found}, {expected}");
        }
    }
}

#[test]
fn a_plateau_lowers_the_rate_when_pytorch_does() {
    let told = recorded("told");
    let up = ReduceLrOnPlateau::new().maximize(true).patience(1).cooldown(2).min_lr(0.02).threshold(0.05).factor(0.5);
    let cases = [("plateau", ReduceLrOnPlateau::new().patience(2).factor(0.5), false), ("plateau_max", up, true)];
    for (name, mut plateau, maximize) in cases {
        let (mut optim, fresh) = (Sgd::new(Parameters::default(), 0.1), plateau.clone());
        for (step, expected) in recorded(name).into_iter().enumerate() {
            assert!((optim.lr() - f64::from(expected)).abs() < 1e-7, "{name} at {step}: {}, {expected}", optim.lr());
            let value = f64::from(told[step]);
            plateau.step(if maximize { 2.0 - value } else { value }, &mut optim).unwrap();
            // Saved and loaded, it goes on as if nothing had happened.
            let state = plateau.state();
            plateau = fresh.clone();
            plateau.load_state(&state).unwrap();
        }
        assert!(optim.lr() < 0.06, "{name} never fell");
    }
}

#[test]
fn numbers_out_of_range_are_told() {
    let told = |schedule: Schedule| schedule.check(10).unwrap_err().to_string();
    assert_eq!(
        told(Schedule::Step { step_size: 0, gamma: 0.1 }),
        "Schedule::Step: step_size = 0, gamma = 0.1; needs a step_size of at least 1 and a gamma above 0"
    );
    assert_eq!(
        told(Schedule::MultiStep { milestones: vec![5, 3], gamma: 0.1 }),
        "Schedule::MultiStep: milestones = [5, 3], gamma = 0.1; needs rising milestones and a gamma above 0"
    );
    assert_eq!(
        told(Schedule::Polynomial { power: -1.0 }.after_warmup(3)),
        "Schedule::Polynomial: power = -1; pass a finite number above 0"
    );
    assert_eq!(
        told(Schedule::Exponential { gamma: f64::NAN }),
        "Schedule::Exponential: gamma = NaN; pass a finite number above 0"
    );
}

fn device() -> Device {
    Device::open_default().unwrap()
}

/// Two parameters whose gradients are these.
fn with_gradients(device: &Device, values: [&[f32]; 2]) -> (Parameters, Gradients) {
    let tape = Tape::train();
    let mut losses = Vec::new();
    let mut parameters = Vec::new();
    for (name, values) in ["a", "b"].into_iter().zip(values) {
        let given = Tensor::from_slice(device, values.len(), values).unwrap();
        let parameter = Parameter::new(given.mul_scalar(0.0).unwrap());
        losses.push(parameter.on(&tape).mul(&tape.constant(given)).unwrap().sum(..).unwrap());
        parameters.push((name.to_string(), parameter));
    }
    let gradients = losses[0].add(&losses[1]).unwrap().backward().unwrap();
    (parameters.into_iter().collect(), gradients)
}

fn values(parameters: &Parameters, gradients: &Gradients) -> Vec<f32> {
    parameters.iter().flat_map(|(_, p)| p.gradient(gradients).unwrap().to_vec::<f32>().unwrap()).collect()
}

#[test]
fn the_global_norm_is_clipped() {
    let device = device();
    let (parameters, mut gradients) = with_gradients(&device, [&[3.0, 0.0, 4.0], &[12.0]]);
    let norm = clip_grad_norm(&parameters, &mut gradients, 26.0, false).unwrap();
    assert_eq!(norm.item::<f32>().unwrap(), 13.0);
    assert_eq!(values(&parameters, &gradients), [3.0, 0.0, 4.0, 12.0]);
    clip_grad_norm(&parameters, &mut gradients, 6.5, false).unwrap();
    for (found, expected) in values(&parameters, &gradients).into_iter().zip([1.5, 0.0, 2.0, 6.0]) {
        assert!((found - expected).abs() < 1e-5, "{found}, {expected}");
    }
    let (parameters, mut gradients) = with_gradients(&device, [&[3.0, f32::INFINITY], &[12.0]]);
    let told = clip_grad_norm(&parameters, &mut gradients, 1.0, true).unwrap_err().to_string();
    assert!(told.starts_with("clip_grad_norm: the gradients' norm is inf;"), "{told}");
    assert_eq!(values(&parameters, &gradients)[2], 12.0);
    assert_eq!(
        clip_grad_norm(&parameters, &mut gradients, 0.0, true).unwrap_err().to_string(),
        "clip_grad_norm: max_norm = 0; pass a finite number above 0"
    );
    assert_eq!(
        clip_grad_norm(&Parameters::default(), &mut gradients, 1.0, true).unwrap_err().to_string(),
        "clip_grad_norm: no parameter has a gradient; pass those that the loss depends on"
    );
}

#[test]
fn values_are_clipped() {
    let device = device();
    let (parameters, mut gradients) = with_gradients(&device, [&[3.0, -0.25, -4.0], &[0.5]]);
    clip_grad_value(&parameters, &mut gradients, 0.5).unwrap();
    assert_eq!(values(&parameters, &gradients), [0.5, -0.25, -0.5, 0.5]);
    assert_eq!(
        clip_grad_value(&parameters, &mut gradients, f64::NAN).unwrap_err().to_string(),
        "clip_grad_value: clip_value = NaN; pass a finite number of at least 0"
    );
}

#[test]
fn accumulated_batches_are_one() {
    let device = device();
    let layer = Linear::new(&device, &Init::seed(2), 3, 2).unwrap();
    let x: Vec<f32> = (0..24).map(|i| (i as f32 * 0.7).sin()).collect();
    let gradients = |rows: std::ops::Range<usize>| {
        let part = Tensor::from_slice(&device, [rows.len(), 3], &x[3 * rows.start..3 * rows.end]).unwrap();
        let y = layer.forward(&Tape::train().constant(part)).unwrap();
        y.square().unwrap().mean(..).unwrap().backward().unwrap()
    };
    let whole = values(&layer.parameters(), &gradients(0..8));
    let mut sums = GradientAccumulator::new();
    for part in 0..4 {
        sums.add(&gradients(2 * part..2 * part + 2), 0.25).unwrap();
    }
    assert_eq!(sums.added(), 4);
    let joined = sums.take();
    for (found, expected) in values(&layer.parameters(), &joined).into_iter().zip(whole) {
        assert!((found - expected).abs() < 1e-6, "{found}, {expected}");
    }
    assert_eq!(sums.added(), 0);
    Sgd::new(layer.parameters(), 0.1).step(&joined).unwrap();
}

#[test]
fn groups_have_their_own_settings_and_one_state() {
    let device = device();
    let (parameters, gradients) = with_gradients(&device, [&[1.0], &[1.0]]);
    let groups = || {
        ParameterGroups::new(vec![
            Box::new(Sgd::new(parameters.of("a"), 0.5).momentum(0.5)),
            Box::new(Sgd::new(parameters.of("b"), 0.25)),
        ])
        .unwrap()
    };
    let at = || -> Vec<f32> { parameters.iter().map(|(_, p)| p.value().item::<f32>().unwrap()).collect() };
    let mut optim = groups();
    optim.step(&gradients).unwrap();
    assert_eq!(at(), [-0.5, -0.25]);
    optim.set_lr(1.0);
    let state = optim.state().unwrap();
    assert_eq!(state.tensors.keys().collect::<Vec<_>>(), ["a.momentum_buffer"]);
    let mut again = groups();
    again.load_state(&state).unwrap();
    again.set_lr(1.0);
    again.step(&gradients).unwrap();
    assert_eq!(at(), [-2.0, -0.75]);
    let mut strange = state.clone();
    strange.steps.insert("c".to_string(), 3);
    assert_eq!(
        again.load_state(&strange).unwrap_err().to_string(),
        "ParameterGroups: the state has c, which is of no group; pass the state of these parameters"
    );
    let told = |groups: Vec<Box<dyn Optimizer>>| ParameterGroups::new(groups).err().unwrap().to_string();
    assert_eq!(
        told(vec![Box::new(Sgd::new(parameters.clone(), 0.1)), Box::new(Sgd::new(parameters.of("b"), 0.1))]),
        "ParameterGroups: parameter b is in two groups; leave it in one"
    );
    assert_eq!(told(Vec::new()), "ParameterGroups: no groups; pass at least one");
    let lost = Gradients::of_parameters([(
        parameters.get("a").unwrap().id(),
        Tensor::ones(&device, [1], kiln_tensor::DType::F32).unwrap(),
    )]);
    let before = at();
    assert!(again.step(&lost).unwrap_err().to_string().starts_with("ParameterGroups: parameter b got no gradient"));
    assert_eq!(at(), before);
}

#[test]
fn means_follow_the_weights_and_are_exchanged() {
    let device = device();
    let model = kiln_nn::BatchNorm1d::new(&device, &Init::seed(1), 2).unwrap();
    let set = |value: f64| {
        let value = Tensor::full(&device, [2], value, kiln_tensor::DType::F32).unwrap();
        model.weight().unwrap().set(value.clone()).unwrap();
        model.running_mean().unwrap().set(value).unwrap();
    };
    let at = || {
        let first = |tensor: Tensor| tensor.to_vec::<f32>().unwrap()[0];
        (first(model.weight().unwrap().value()), first(model.running_mean().unwrap().value()))
    };
    set(0.0);
    let mut ema = Ema::new(&model, 0.5).unwrap();
    set(8.0);
    ema.update(&model).unwrap();
    let saved = ema.state().unwrap();
    ema.update(&model).unwrap();
    ema.swap(&model).unwrap();
    assert_eq!(at(), (6.0, 6.0));
    ema.swap(&model).unwrap();
    assert_eq!(at(), (8.0, 8.0));
    ema.load_state(&saved).unwrap();
    ema.swap(&model).unwrap();
    assert_eq!(at(), (4.0, 4.0));
    let other = Linear::new(&device, &Init::seed(1), 2, 2).unwrap();
    assert_eq!(
        ema.update(&other).unwrap_err().to_string(),
        "Ema: update: the model has no running_mean of shape [2]; pass the same model"
    );
}

#[test]
fn the_decay_of_means_rises_as_in_timm() {
    let device = device();
    let model = Linear::builder(1, 1).bias(false).build(&device, &Init::seed(1)).unwrap();
    let set = |value: f64| {
        model.weight().set(Tensor::full(&device, [1, 1], value, kiln_tensor::DType::F32).unwrap()).unwrap();
    };
    // timm's get_decay(step) of ModelEmaV3(use_warmup=True) for step - 1 = 0, 1, 9, 30, 99 and many, with the decay 0.95.
    let expected = [0.0, 0.370_039_475, 0.784_556_531, 0.898_665_140, 0.95, 0.95];
    for (updates, expected) in [0, 1, 9, 30, 99, u64::MAX].into_iter().zip(expected) {
        let given = Ema::warmup_decay(0.95, updates);
        assert!((given - expected).abs() < 1e-8, "{updates}: {given}");
    }

    // The first weights are forgotten, and a state goes on where it was saved.
    set(100.0);
    let mut ema = Ema::new(&model, 0.95).unwrap().warmup(true);
    let mut mean = 100.0;
    let mut follow = |ema: &mut Ema, step: u64| {
        set(step as f64);
        ema.update(&model).unwrap();
        mean += (1.0 - Ema::warmup_decay(0.95, step)) * (step as f64 - mean);
        mean
    };
    for step in 0..5 {
        follow(&mut ema, step);
    }
    let saved = ema.state().unwrap();
    assert_eq!(saved.updates, 5);
    let mut ema = Ema::new(&model, 0.95).unwrap().warmup(true);
    ema.load_state(&saved).unwrap();
    let expected = (5..9).map(|step| follow(&mut ema, step)).last().unwrap();
    ema.swap(&model).unwrap();
    let given = f64::from(model.weight().value().item::<f32>().unwrap());
    assert!((given - expected).abs() < 1e-5 && given > 3.0 && given < 8.0, "{given}, {expected}");
}
