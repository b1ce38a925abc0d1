//! Every error, by its whole text.

use kiln_autograd::{Error, GradcheckOptions, Gradient, Gradients, Result, Saved, Tape, Var, gradcheck};
use kiln_tensor::Tensor;
use kiln_tensor::ops::optim::{SgdStep, Update, sgd_step};

use crate::{DEVICE, tensor};

fn leaf(tape: &Tape) -> Var {
    tape.leaf(tensor(&[2], &[1.0, 2.0]))
}

fn text<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    }
}

/// Backward through an op with this rule.
fn backward(rule: impl FnOnce(&Tensor, &[bool]) -> Result<Vec<Gradient>> + Send + 'static) -> Result<Gradients> {
    let tape = Tape::train();
    let (x, constant) = (leaf(&tape), tape.constant(tensor(&[2], &[1.0, 2.0])));
    tape.record("probe", &[&constant, &x], tensor(&[1], &[1.0]), rule)?.backward()
}

#[test]
fn starts_that_have_no_gradient() {
    let tape = Tape::train();
    assert_eq!(
        text(leaf(&tape).neg().unwrap().backward()),
        "backward: the start has shape [2]; needs a single element: reduce it by sum or mean, or pass its gradient to \
         backward_with"
    );
    assert_eq!(
        text(tape.leaf(tensor(&[0], &[])).backward()),
        "backward: the start has shape [0]; needs a single element: reduce it by sum or mean, or pass its gradient to \
         backward_with"
    );
    let constant = "backward: the start depends on constants only; make what should get a gradient by tape.leaf or \
                    tape.parameter and check that it is not frozen";
    assert_eq!(text(tape.constant(tensor(&[1], &[1.0])).backward()), constant);
    assert_eq!(text(leaf(&tape).detach().backward_with(&tensor(&[2], &[1.0, 1.0]))), constant);
    let evaluated = "backward: the tape is Tape::eval(), which records nothing; run the forward on Tape::train()";
    assert_eq!(text(leaf(&Tape::eval()).backward()), evaluated);
    assert_eq!(text(leaf(&Tape::eval()).neg().unwrap().backward_with(&tensor(&[2], &[1.0, 1.0]))), evaluated);
}

#[test]
fn a_gradient_that_does_not_fit_its_start() {
    let tape = Tape::train();
    assert_eq!(
        text(leaf(&tape).backward_with(&tensor(&[2, 1], &[1.0, 2.0]))),
        "backward_with: a gradient of f32 [2, 1] for a start of f32 [2]; pass a tensor of the start's shape and type"
    );
    let whole = Tensor::from_slice(&DEVICE, [2], &[1i32, 2]).unwrap();
    assert_eq!(
        text(leaf(&tape).backward_with(&whole)),
        "backward_with: a gradient of i32 [2] for a start of f32 [2]; pass a tensor of the start's shape and type"
    );
}

#[test]
fn two_tapes() {
    let (one, other) = (Tape::train(), Tape::train());
    assert_eq!(
        text(leaf(&one).add(&leaf(&other))),
        "add: inputs of two tapes; put all of them on one tape, or take a value over as a constant: \
         tape.constant(x.tensor().clone())"
    );
    assert_eq!(
        text(Var::cat(&[&leaf(&one), &leaf(&Tape::eval())], 0)),
        "cat: inputs of two tapes; put all of them on one tape, or take a value over as a constant: \
         tape.constant(x.tensor().clone())"
    );
}

#[test]
fn integers_have_no_gradient() {
    let tape = Tape::train();
    let whole = tape.leaf(Tensor::from_slice(&DEVICE, [2], &[1i32, 2]).unwrap());
    assert_eq!(
        text(tape.record("probe", &[&leaf(&tape), &whole], tensor(&[1], &[1.0]), |_, _| Ok(Vec::new()))),
        "probe: input 1 is a leaf of i32, and only floats have gradients; pass it as tape.constant, or convert it by \
         to_dtype before tape.leaf"
    );
    assert_eq!(
        text(whole.to_dtype(kiln_tensor::DType::F32)),
        "to_dtype: input 0 is a leaf of i32, and only floats have gradients; pass it as tape.constant, or convert it \
         by to_dtype before tape.leaf"
    );
}

#[test]
fn a_second_backward() {
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[1], &[2.0]));
    let y = x.square().unwrap();
    let z = y.neg().unwrap();
    let loss = y.add_scalar(1.0).unwrap();
    loss.backward().unwrap();
    let consumed = |op: &str| {
        format!(
            "backward: {op} was passed by an earlier backward, and what it had saved is freed; add the losses and \
             call backward once, or run the forward again on a new tape"
        )
    };
    assert_eq!(text(loss.backward()), consumed("add_scalar"));
    // A part that the first backward did not see, up to where both meet.
    assert_eq!(text(z.backward()), consumed("square"));
    // A leaf is never used up.
    assert!(x.backward().is_ok());
}

#[test]
fn a_gradient_that_does_not_exist() {
    let refused = backward(|_, _| Ok(vec![Gradient::Zero, Gradient::NotDifferentiable]));
    assert_eq!(
        text(refused),
        "backward: probe is not differentiable in input 1; pass that input as tape.constant, or use an op that has a \
         derivative"
    );
    let tape = Tape::train();
    let y = tape.record("sort", &[&leaf(&tape)], tensor(&[1], &[1.0]), |_, _| Ok(vec![Gradient::NotDifferentiable]));
    assert_eq!(
        text(y.unwrap().backward()),
        "backward: sort is not differentiable in input 0; pass that input as tape.constant, or use an op that has a \
         derivative"
    );
}

#[test]
fn rules_that_give_what_does_not_fit() {
    assert_eq!(
        text(backward(|dy, _| Ok(vec![Gradient::Tensor(dy.clone())]))),
        "backward: the rule of probe gave 1 gradients; needs 2, one for each input in their order"
    );
    assert_eq!(
        text(backward(|_, _| Ok(vec![Gradient::Zero, Gradient::Zero, Gradient::Zero]))),
        "backward: the rule of probe gave 3 gradients; needs 2, one for each input in their order"
    );
    assert_eq!(
        text(backward(|_, _| Ok(vec![Gradient::Zero, tensor(&[3], &[0.0; 3]).into()]))),
        "backward: the rule of probe gave f32 [3] as the gradient of input 1, which is f32 [2]; needs the input's \
         type and its shape or one that it broadcasts to"
    );
    let whole = Tensor::from_slice(&DEVICE, [2], &[1i32, 2]).unwrap();
    assert_eq!(
        text(backward(|_, _| Ok(vec![Gradient::Zero, whole.into()]))),
        "backward: the rule of probe gave i32 [2] as the gradient of input 1, which is f32 [2]; needs the input's \
         type and its shape or one that it broadcasts to"
    );
    // The input broadcasts to the gradient, not the other way.
    assert_eq!(
        text(backward(|_, _| Ok(vec![Gradient::Zero, tensor(&[1], &[0.0]).into()]))),
        "backward: the rule of probe gave f32 [1] as the gradient of input 1, which is f32 [2]; needs the input's \
         type and its shape or one that it broadcasts to"
    );
}

#[test]
fn rules_that_fail() {
    let saved = Saved::when(false, &tensor(&[1], &[1.0]));
    assert_eq!(
        text(backward(move |_, _| saved.get().map(|_| Vec::new()))),
        "backward of probe: the rule reads a tensor that it did not save; pass the same condition to Saved::when as \
         the rule tests"
    );
    assert_eq!(
        text(backward(|dy, _| Ok(vec![dy.reshape([7])?.into()]))),
        "backward of probe: reshape: [1] has 1 elements, [7] has 7; pass a shape of 1 elements"
    );
}

#[test]
fn nothing_to_join() {
    for result in [Var::cat(&[], 0), Var::stack(&[], 0)] {
        assert!(matches!(result, Err(Error::Tensor(_) | Error::Argument { .. })));
    }
}

#[test]
fn a_rule_that_is_wrong() {
    let x = tensor(&[2], &[1.0, 2.0]);
    let double = |slope: f64| {
        move |inputs: &[Var]| {
            let x = &inputs[0];
            x.tape().record("double", &[x], x.tensor().mul_scalar(2.0)?, move |dy, _| {
                Ok(vec![dy.mul_scalar(slope)?.into()])
            })
        }
    };
    let options = GradcheckOptions { directions: 1, ..GradcheckOptions::default() };
    let report = gradcheck(double(2.0), std::slice::from_ref(&x), options).unwrap();
    assert_eq!(report.slopes.len(), 1);
    assert!(report.worst() < 1e-4, "{}", report.slopes[0]);
    assert_eq!(
        text(gradcheck(double(2.5), std::slice::from_ref(&x), options)),
        "gradcheck: along input 0, the rules give a slope of 2.0183e0, central differences 1.6147e0: 2.0e-1 apart, \
         which is more than 5.0e-3; check the rule of each op, and that no input lies at a kink"
    );
    assert_eq!(
        text(gradcheck(double(f64::NAN), &[x], options)),
        "gradcheck: along input 0, the rules give a slope of NaN, central differences 1.6147e0: NaN apart, which is \
         more than 5.0e-3; check the rule of each op, and that no input lies at a kink"
    );
}

#[test]
fn gradcheck_of_nothing() {
    let whole = Tensor::from_slice(&DEVICE, [2], &[1i32, 2]).unwrap();
    assert_eq!(
        text(gradcheck(|inputs| inputs[0].neg(), &[whole], GradcheckOptions::default())),
        "gradcheck: 1 inputs, none of f32; pass at least one that can move"
    );
    let options = GradcheckOptions { step: 0.0, ..GradcheckOptions::default() };
    assert_eq!(
        text(gradcheck(|inputs| inputs[0].neg(), &[tensor(&[1], &[1.0])], options)),
        "gradcheck: step 0, tolerance 0.005, 3 directions; each must be above 0"
    );
}

#[test]
fn probabilities() {
    for tape in [Tape::train(), Tape::eval()] {
        assert_eq!(text(leaf(&tape).dropout(1.5)), "dropout: p 1.5; needs a probability from 0 to 1");
        assert_eq!(text(leaf(&tape).dropout(f64::NAN)), "dropout: p NaN; needs a probability from 0 to 1");
    }
}

#[test]
fn what_was_saved_and_then_modified() {
    let weight = tensor(&[2], &[1.0, 2.0]);
    let step = |weight: &Tensor| {
        let settings =
            SgdStep { lr: 0.1, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, first: true };
        let gradient = tensor(&[2], &[1.0, 1.0]);
        sgd_step(&[Update { parameter: weight, gradient: &gradient }], None, &settings).unwrap();
    };
    let tape = Tape::train();
    let w = tape.parameter(0, &weight);
    let loss = w.square().unwrap().sum(..).unwrap();
    step(&weight);
    assert_eq!(
        text(loss.backward()),
        "backward of square: a tensor that the gradient needs was modified in place after it was saved: call backward \
         before optim.step, and run the forward again after it"
    );
    // What the rules do not read may change.
    let w = tape.leaf(weight.clone());
    let loss = w.mul_scalar(2.0).unwrap().sum(..).unwrap();
    step(&weight);
    assert!(loss.backward().is_ok());
    // A view shares the memory and so its state.
    let w = tape.leaf(weight.clone());
    let loss = w.reshape([2, 1]).unwrap().square().unwrap().sum(..).unwrap();
    step(&weight);
    assert!(matches!(loss.backward(), Err(Error::Rule { op: "square", .. })));
}
