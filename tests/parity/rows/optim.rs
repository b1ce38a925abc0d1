//! Optimizer steps, in place, on several parameters at once.

use kiln_tensor::ops::foreach;
use kiln_tensor::ops::optim::{AdamStep, RmspropStep, SgdStep, Update, adam_step, rmsprop_step, sgd_step, state_len};
use kiln_tensor::{DType, Device, Result, Tensor};

use super::binary::zeros;
use crate::recorded::{Recorded, optim_gradient, relative};
use crate::reference::Array;
use crate::reference::optim::{Adam, AdamState, Rmsprop, RmspropState, Sgd};
use crate::row::{Case, Domain, Gradient, Input, Layout, Row, Wrongs, input, upload, wrong};
use crate::run::devices;
use crate::tolerance::{Class, Expected};

use DType::{F32, I32};
use Layout::{Contiguous, Offset, Tail, Transposed};

const UPDATES: Gradient = Gradient::None("updates parameters");
const STEPS: usize = 3;

pub fn rows() -> Vec<Row> {
    vec![sgd(), adam(), rmsprop(), add_scaled(), lerp(), clamp(), scale(), norm()]
}

/// Shapes of the parameters, and how the gradients lie.
fn problems() -> Vec<(Vec<Vec<usize>>, Layout)> {
    let many: Vec<Vec<usize>> = (0..37).map(|i| vec![1 + 7 * (i % 5), 1 + i % 3]).collect();
    vec![
        (vec![vec![]], Contiguous),
        (vec![vec![1]], Contiguous),
        (vec![vec![63]], Contiguous),
        (vec![vec![64]], Contiguous),
        (vec![vec![65], vec![3]], Contiguous),
        (vec![vec![6, 1, 5, 5], vec![6], vec![16, 6, 5, 5], vec![16]], Contiguous),
        (vec![vec![13, 17], vec![17]], Offset),
        (vec![vec![5, 7, 3], vec![1031]], Transposed),
        (vec![vec![9, 31], vec![2, 2]], Tail),
        (vec![vec![0], vec![5], vec![0, 3]], Contiguous),
        // More than there are bindings for.
        (many, Contiguous),
        (vec![vec![1023], vec![1024], vec![1025], vec![4097]], Contiguous),
        (vec![vec![3, 683], vec![5]], Offset),
    ]
}

/// Whether a parameter is larger than what the tight device binds.
fn is_large(shapes: &[Vec<usize>]) -> bool {
    shapes.iter().any(|shape| shape.iter().product::<usize>() > 1024)
}

/// Parameter, gradient, parameter, gradient, ..
fn inputs(shapes: &[Vec<usize>], layout: Layout) -> Vec<Input> {
    let of = |shape: &Vec<usize>| {
        [input(shape, Domain::Within(-2.0, 2.0)), input(shape, Domain::Apart(-1.0, 1.0, &[0.0])).layout(layout)]
    };
    shapes.iter().flat_map(of).collect()
}

/// Runs three steps on copies and joins the parameters.
fn run(device: &Device, x: &[Tensor], step: impl Fn(usize, &[Update<'_>], &[Tensor]) -> Result<()>) -> Result<Tensor> {
    let parameters: Vec<Tensor> = x.iter().step_by(2).map(|p| p.add_scalar(0.0)).collect::<Result<_>>()?;
    let gradients = x.iter().skip(1).step_by(2);
    let updates: Vec<Update<'_>> =
        parameters.iter().zip(gradients).map(|(parameter, gradient)| Update { parameter, gradient }).collect();
    let length = state_len(parameters.iter().map(Tensor::numel));
    let state = || Tensor::zeros(device, [length], F32);
    let states = [state()?, state()?, state()?];
    for index in 0..STEPS {
        step(index, &updates, &states)?;
    }
    let flat: Vec<Tensor> = parameters.iter().map(|p| p.reshape([p.numel()])).collect::<Result<_>>()?;
    Tensor::cat(&flat.iter().collect::<Vec<_>>(), 0)
}

/// The reference on each pair, joined.
fn joined(x: &[Array], mut step: impl FnMut(&Array, &Array) -> Array) -> Array {
    let data: Vec<f64> = x.chunks_exact(2).flat_map(|pair| step(&pair[0], &pair[1]).data).collect();
    Array::new(&[data.len()], data)
}

fn sgd_options(sgd: Sgd, index: usize) -> SgdStep {
    SgdStep {
        lr: sgd.lr,
        momentum: sgd.momentum,
        dampening: sgd.dampening,
        weight_decay: sgd.weight_decay,
        nesterov: sgd.nesterov,
        first: index == 0,
    }
}

fn run_sgd(p: &Array, g: &Array, sgd: Sgd) -> Array {
    let (mut p, mut buffer) = (p.clone(), None);
    for _ in 0..STEPS {
        sgd.step(&mut p, g, &mut buffer);
    }
    p
}

fn sgd() -> Row {
    let plain = Sgd { lr: 0.1, ..Sgd::default() };
    let options = [
        plain,
        Sgd { weight_decay: 0.01, ..plain },
        Sgd { momentum: 0.9, ..plain },
        Sgd { momentum: 0.9, weight_decay: 5e-4, nesterov: true, ..plain },
        Sgd { momentum: 0.8, dampening: 0.3, weight_decay: 0.1, ..plain },
    ];
    let mut cases = Vec::new();
    for (i, (shapes, layout)) in problems().into_iter().enumerate() {
        for sgd in [options[i % 5], options[(i + 2) % 5]] {
            let case = Case::new(
                format!("{} parameters {:?} {layout:?} {sgd:?}", shapes.len(), shapes[0]),
                inputs(&shapes, layout),
                move |x| {
                    run(x[0].device(), x, |index, updates, states| {
                        let momentum = (sgd.momentum != 0.0).then_some(&states[0]);
                        sgd_step(updates, momentum, &sgd_options(sgd, index))
                    })
                },
                move |x| {
                    // Everything added up without its sign: no term cancels another.
                    let grown = Sgd { weight_decay: -sgd.weight_decay, ..sgd };
                    let magnitude = joined(x, |p, g| run_sgd(&p.abs(), &g.map(|v| -v.abs()), grown));
                    Expected::joined(joined(x, |p, g| run_sgd(p, g, sgd)), magnitude, 2)
                },
            );
            cases.push(if is_large(&shapes) { case.tight() } else { case });
        }
    }
    let plain = sgd_options(plain, 0);
    let wrong = Wrongs::Calls(vec![
        wrong("sgd_step: parameter 0 has shape [3], its gradient [2]; needs one shape", move |d| {
            refused(d, &[3], &[2], F32, |updates, _| sgd_step(updates, None, &plain))
        }),
        wrong("sgd_step: a gradient is i32; needs f32: convert it by to_dtype", move |d| {
            refused(d, &[3], &[3], I32, |updates, _| sgd_step(updates, None, &plain))
        }),
        wrong("sgd_step: momentum 0.9 without a state; pass one of state_len", move |d| {
            refused(d, &[3], &[3], F32, |updates, _| sgd_step(updates, None, &SgdStep { momentum: 0.9, ..plain }))
        }),
        wrong("sgd_step: a state of 3 elements; the parameters need 1024: see state_len", move |d| {
            refused(d, &[3], &[3], F32, |updates, state| {
                sgd_step(updates, Some(state), &SgdStep { momentum: 0.9, ..plain })
            })
        }),
        wrong("sgd_step: parameter 0 of shape [3, 2] is a view; needs a tensor of its own", move |d| {
            let (parameter, gradient) = (zeros(d, &[2, 3], F32)?.t()?, zeros(d, &[3, 2], F32)?);
            sgd_step(&[Update { parameter: &parameter, gradient: &gradient }], None, &plain)?;
            Ok(parameter)
        }),
    ]);
    Row { name: "optim::sgd_step", class: Class::Sum, gradient: UPDATES, cases, wrong }
}

/// A call with one parameter, its gradient, and a state of three elements.
fn refused(
    d: &Device,
    parameter: &[usize],
    gradient: &[usize],
    dtype: DType,
    call: impl Fn(&[Update<'_>], &Tensor) -> Result<()>,
) -> Result<Tensor> {
    let (parameter, gradient, state) = (zeros(d, parameter, F32)?, zeros(d, gradient, dtype)?, zeros(d, &[3], F32)?);
    call(&[Update { parameter: &parameter, gradient: &gradient }], &state)?;
    Ok(parameter)
}

fn adam_options(adam: Adam, index: usize) -> AdamStep {
    AdamStep {
        lr: adam.lr,
        betas: adam.betas,
        eps: adam.eps,
        weight_decay: adam.weight_decay,
        decoupled: adam.decoupled,
        step: index as u64 + 1,
    }
}

fn run_adam(p: &Array, g: &Array, adam: Adam) -> Array {
    let (mut p, mut state) = (p.clone(), AdamState::new(&p.shape));
    for _ in 0..STEPS {
        adam.step(&mut p, g, &mut state);
    }
    p
}

fn adam() -> Row {
    let options = [
        Adam { lr: 0.05, ..Adam::default() },
        Adam { lr: 0.05, weight_decay: 1e-3, ..Adam::default() },
        Adam { lr: 0.02, betas: [0.5, 0.9], eps: 1e-4, ..Adam::default() },
        Adam { lr: 0.05, weight_decay: 0.3, decoupled: true, ..Adam::default() },
    ];
    let mut cases = Vec::new();
    for (i, (shapes, layout)) in problems().into_iter().enumerate() {
        let adam = options[i % 4];
        let case = Case::new(
            format!("{} parameters {:?} {layout:?} {adam:?}", shapes.len(), shapes[0]),
            inputs(&shapes, layout),
            move |x| {
                run(x[0].device(), x, |index, updates, states| {
                    adam_step(updates, [&states[0], &states[1]], &adam_options(adam, index))
                })
            },
            move |x| {
                // A step is at most the rate, and each has a root and a division.
                let magnitude = joined(x, |p, _| p.map(|v| v.abs() + STEPS as f64 * 3.0 * adam.lr));
                Expected::joined(joined(x, |p, g| run_adam(p, g, adam)), magnitude, 2)
            },
        );
        cases.push(if is_large(&shapes) { case.tight() } else { case });
    }
    let plain = adam_options(Adam::default(), 0);
    let wrong = Wrongs::Calls(vec![
        wrong("adam_step: parameter 0 has shape [3], its gradient [2]; needs one shape", move |d| {
            refused(d, &[3], &[2], F32, |updates, state| adam_step(updates, [state, state], &plain))
        }),
        wrong("adam_step: a state of 3 elements; the parameters need 1024: see state_len", move |d| {
            refused(d, &[3], &[3], F32, |updates, state| adam_step(updates, [state, state], &plain))
        }),
    ]);
    Row { name: "optim::adam_step", class: Class::Sum, gradient: UPDATES, cases, wrong }
}

fn rmsprop_options(rmsprop: Rmsprop, index: usize) -> RmspropStep {
    let Rmsprop { lr, alpha, eps, weight_decay, momentum, centered } = rmsprop;
    RmspropStep { lr, alpha, eps, weight_decay, momentum, centered, first: index == 0 }
}

/// As many states as the settings ask for.
fn rmsprop_states(rmsprop: Rmsprop, states: &[Tensor]) -> Vec<&Tensor> {
    states.iter().take(1 + usize::from(rmsprop.centered) + usize::from(rmsprop.momentum != 0.0)).collect()
}

fn rmsprop() -> Row {
    let plain = Rmsprop { lr: 0.01, eps: 1e-3, ..Rmsprop::default() };
    let options = [
        plain,
        Rmsprop { momentum: 0.9, alpha: 0.9, ..plain },
        Rmsprop { centered: true, weight_decay: 0.1, ..plain },
        Rmsprop { centered: true, momentum: 0.8, alpha: 0.5, ..plain },
    ];
    let mut cases = Vec::new();
    for (i, (shapes, layout)) in problems().into_iter().enumerate() {
        let rmsprop = options[i % 4];
        cases.push(Case::new(
            format!("{} parameters {:?} {layout:?} {rmsprop:?}", shapes.len(), shapes[0]),
            inputs(&shapes, layout),
            move |x| {
                run(x[0].device(), x, |index, updates, states| {
                    rmsprop_step(updates, &rmsprop_states(rmsprop, states), &rmsprop_options(rmsprop, index))
                })
            },
            move |x| {
                let stepped = |p: &Array, g: &Array| {
                    let (mut p, mut state) = (p.clone(), RmspropState::new(&p.shape));
                    for _ in 0..STEPS {
                        rmsprop.step(&mut p, g, &mut state);
                    }
                    p
                };
                let value = joined(x, stepped);
                // A first step is ten times the rate, and the square about the mean cancels.
                let magnitude = joined(x, |p, _| p.map(|v| v.abs() + STEPS as f64 * 300.0 * rmsprop.lr));
                Expected::joined(value, magnitude, 2)
            },
        ));
    }
    let wrong = Wrongs::Calls(vec![
        wrong("rmsprop_step: a state of 3 elements; the parameters need 1024: see state_len", move |d| {
            refused(d, &[3], &[3], F32, |updates, state| {
                rmsprop_step(updates, &[state], &rmsprop_options(Rmsprop::default(), 0))
            })
        }),
        wrong("rmsprop_step: 0 states with momentum 0 and centered false; needs 1", move |d| {
            refused(d, &[3], &[3], F32, |updates, _| {
                rmsprop_step(updates, &[], &rmsprop_options(Rmsprop::default(), 0))
            })
        }),
    ]);
    Row { name: "optim::rmsprop_step", class: Class::Sum, gradient: UPDATES, cases, wrong }
}

/// A row of an op on pairs of tensors: what it makes of each, as one tensor.
fn on_pairs(
    name: &'static str,
    op: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + Copy + 'static,
    formula: fn(f64, f64) -> f64,
    wrongs: Vec<crate::row::Wrong>,
) -> Row {
    let flat = |tensors: Vec<Tensor>| {
        let flat: Vec<Tensor> = tensors.iter().map(|t| t.reshape([t.numel()])).collect::<Result<_>>()?;
        Tensor::cat(&flat.iter().collect::<Vec<_>>(), 0)
    };
    let case = |(shapes, layout): (Vec<Vec<usize>>, Layout)| {
        Case::new(
            format!("{} pairs {:?} {layout:?}", shapes.len(), shapes[0]),
            inputs(&shapes, layout),
            move |x| flat(op(x)?),
            move |x| {
                let value = joined(x, |p, g| p.zip(g, formula));
                let size = joined(x, |p, g| p.zip(g, |p, g| p.abs() + g.abs()));
                Expected::joined(value, size, 2)
            },
        )
    };
    let cases = problems().into_iter().map(case).collect();
    Row { name, class: Class::Sum, gradient: UPDATES, cases, wrong: Wrongs::Calls(wrongs) }
}

/// Copies of the first of each pair, changed in place.
fn changed(x: &[Tensor], op: impl Fn(&[Update<'_>]) -> Result<()>) -> Result<Vec<Tensor>> {
    let copies: Vec<Tensor> = x.iter().step_by(2).map(|p| p.add_scalar(0.0)).collect::<Result<_>>()?;
    let seconds = x.iter().skip(1).step_by(2);
    let pairs: Vec<Update<'_>> =
        copies.iter().zip(seconds).map(|(parameter, gradient)| Update { parameter, gradient }).collect();
    op(&pairs)?;
    Ok(copies)
}

fn seconds(x: &[Tensor]) -> Vec<&Tensor> {
    x.iter().skip(1).step_by(2).collect()
}

fn pair_wrongs(op: &'static str, call: fn(&[Update<'_>]) -> Result<()>) -> Vec<crate::row::Wrong> {
    let message = |rest: &str| super::unary::leak(format!("{op}: {rest}"));
    vec![
        wrong(message("parameter 0 has shape [3], its gradient [2]; needs one shape"), move |d| {
            refused(d, &[3], &[2], F32, |pairs, _| call(pairs))
        }),
        wrong(message("a gradient is i32; needs f32: convert it by to_dtype"), move |d| {
            refused(d, &[3], &[3], I32, |pairs, _| call(pairs))
        }),
    ]
}

fn add_scaled() -> Row {
    on_pairs(
        "foreach::add_scaled",
        |x| changed(x, |pairs| foreach::add_scaled(pairs, -0.75)),
        |p, g| p - 0.75 * g,
        pair_wrongs("foreach::add_scaled", |pairs| foreach::add_scaled(pairs, 1.0)),
    )
}

fn lerp() -> Row {
    on_pairs(
        "foreach::lerp",
        |x| changed(x, |pairs| foreach::lerp(pairs, 0.25)),
        |p, g| p + 0.25 * (g - p),
        pair_wrongs("foreach::lerp", |pairs| foreach::lerp(pairs, 1.0)),
    )
}

fn clamp() -> Row {
    on_pairs(
        "foreach::clamp",
        |x| foreach::clamp(&seconds(x), -0.5, 0.25),
        |_, g| g.clamp(-0.5, 0.25),
        vec![
            wrong("foreach::clamp: min 2 and max 1; needs min <= max", |d| {
                Ok(foreach::clamp(&[&zeros(d, &[3], F32)?], 2.0, 1.0)?.remove(0))
            }),
            wrong("foreach::clamp: a tensor is i32; needs f32: convert it by to_dtype", |d| {
                Ok(foreach::clamp(&[&zeros(d, &[3], I32)?], 1.0, 2.0)?.remove(0))
            }),
        ],
    )
}

fn scale() -> Row {
    on_pairs(
        "foreach::scale",
        |x| foreach::scale(&seconds(x), &Tensor::full(x[0].device(), [5], -1.5, F32)?.narrow(0, 3, 1)?),
        |_, g| -1.5 * g,
        vec![
            wrong("foreach::scale: a factor of shape [2]; needs one element", |d| {
                Ok(foreach::scale(&[&zeros(d, &[3], F32)?], &zeros(d, &[2], F32)?)?.remove(0))
            }),
            wrong("foreach::scale: the factor is i32; needs f32: convert it by to_dtype", |d| {
                Ok(foreach::scale(&[&zeros(d, &[3], F32)?], &zeros(d, &[], I32)?)?.remove(0))
            }),
        ],
    )
}

fn norm() -> Row {
    let case = |(shapes, layout): (Vec<Vec<usize>>, Layout)| {
        Case::new(
            format!("{} tensors {:?} {layout:?}", shapes.len(), shapes[0]),
            inputs(&shapes, layout),
            |x| foreach::norm(x[0].device(), &seconds(x)),
            |x| {
                let squares: f64 = x.iter().skip(1).step_by(2).map(|g| g.dot(g)).sum();
                let length = Array::scalar(squares.sqrt());
                Expected::joined(length.clone(), length, 2)
            },
        )
    };
    let wrong = Wrongs::Calls(vec![
        wrong("foreach::norm: a tensor is i32; needs f32: convert it by to_dtype", |d| {
            foreach::norm(d, &[&zeros(d, &[3], I32)?])
        }),
        wrong("foreach::norm: tensors on two devices; read one and write it to the other device", |d| {
            foreach::norm(&devices().minimal, &[&zeros(d, &[3], F32)?])
        }),
    ]);
    let cases = problems().into_iter().map(case).collect();
    Row { name: "foreach::norm", class: Class::Sum, gradient: UPDATES, cases, wrong }
}

/// 25 steps of each recorded optimizer, the gradient taken at the device's own parameters.
#[test]
fn recorded_steps() {
    let device = &devices().whole;
    let recorded = Recorded::open("optim");
    let mut worst = 0.0_f64;
    for case in recorded.cases() {
        let names = ["a", "b"];
        let targets = names.map(|name| recorded.get("target", name));
        let parameters = names.map(|name| upload(device, recorded.get("start", name), F32).unwrap());
        let length = state_len(parameters.iter().map(Tensor::numel));
        let states = [0, 1, 2].map(|_| Tensor::zeros(device, [length], F32).unwrap());
        let value = |p: &Tensor| Array::from_f32(p.shape(), &p.to_vec::<f32>().unwrap());
        for step in 0..25 {
            let gradients: Vec<Tensor> = parameters
                .iter()
                .zip(targets)
                .map(|(p, target)| upload(device, &optim_gradient(&value(p), target), F32).unwrap())
                .collect();
            let updates: Vec<Update<'_>> =
                parameters.iter().zip(&gradients).map(|(parameter, gradient)| Update { parameter, gradient }).collect();
            match recorded.text(case, "optimizer") {
                "sgd" => sgd_step(&updates, Some(&states[0]), &sgd_options(recorded.sgd(case), step)).unwrap(),
                "rmsprop" => {
                    let rmsprop = recorded.rmsprop(case);
                    rmsprop_step(&updates, &rmsprop_states(rmsprop, &states), &rmsprop_options(rmsprop, step)).unwrap();
                }
                "adam" | "adamw" => {
                    let options = adam_options(recorded.adam(case), step);
                    adam_step(&updates, [&states[0], &states[1]], &options).unwrap();
                }
                other => panic!("{other}"),
            }
            for (name, parameter) in names.iter().zip(&parameters) {
                let history = recorded.get(case, name);
                let size = parameter.numel();
                let torch = Array::new(parameter.shape(), history.data[step * size..(step + 1) * size].to_vec());
                let miss = relative(&value(parameter), &torch);
                assert!(miss < 2e-6, "{case}.{name} after step {}: off by {miss:e}", step + 1);
                worst = worst.max(miss);
            }
        }
    }
    println!("25 steps of every optimizer: {worst:.1e} of the parameters' norm at most");
}
