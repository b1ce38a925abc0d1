//! An operation of one's own: two WGSL kernels, a shape rule and a derivative, on the same footing as the library's.
//!
//! The operation is Mish (Misra 2019): `y = x tanh(ln(1 + e^x))`. `cargo run --release --example custom_op`.

use kiln::autograd::{Error, GradcheckOptions, Gradient, Saved, Var, gradcheck};
use kiln::prelude::*;
use kiln::tensor::DType;
use kiln::tensor::custom::{Kernel, groups, launch};

/// What both kernels share. `index` gives the workgroup's number, `math` functions with known error bounds.
macro_rules! wgsl {
    ($bindings:literal, $line:literal) => {
        concat!(
            "//! use: index math\nstruct Params { count: u32 }\n",
            $bindings,
            "
fn gate(x: f32) -> f32 {
    return tanh_f32(softplus_f32(x));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) all: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, all) * 64u + lane;
    if (i < params.count) {
        ",
            $line,
            "
    }
}"
        )
    };
}

const MISH: &str = wgsl!(
    "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;",
    "y[i] = x[i] * gate(x[i]);"
);

// d/dx = g + x (1 - g^2) sigmoid(x), g being the gate.
const MISH_GRAD: &str = wgsl!(
    "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;",
    "let g = gate(x[i]);
        dx[i] = dy[i] * (g + x[i] * (1.0 - g * g) * sigmoid_f32(x[i]));"
);

/// Runs one of the kernels: its result has the shape of the first input.
fn elementwise(name: &'static str, text: &'static str, inputs: &[&Tensor]) -> kiln::tensor::Result<Tensor> {
    let out = Tensor::zeros(inputs[0].device(), inputs[0].shape(), DType::F32)?;
    let count = out.numel();
    launch(&Kernel::from_wgsl(name, text), inputs, &[&out], &(count as u32), groups(count, 64))?;
    Ok(out)
}

/// `y = x tanh(ln(1 + e^x))`, elementwise.
fn mish(x: &Var) -> Result<Var, Error> {
    let y = elementwise("mish", MISH, &[x.tensor()])?;
    let saved = Saved::new(x.tensor());
    x.tape().record("mish", &[x], y, move |dy, _| {
        Ok(vec![Gradient::Tensor(elementwise("mish_grad", MISH_GRAD, &[saved.get()?, dy])?)])
    })
}

fn main() -> anyhow::Result<()> {
    let device = Device::open_default()?;
    let x = Tensor::from_slice(&device, [5], &[-3.0f32, -0.5, 0.0, 1.0, 4.0])?;
    let y = mish(&Tape::eval().constant(x.clone()))?;
    println!("mish({:?}) = {:?}", x.to_vec::<f32>()?, y.tensor().to_vec::<f32>()?);
    // The derivative, against differences of the values.
    let report = gradcheck(|inputs| mish(&inputs[0]), &[x], GradcheckOptions::default())?;
    println!("its derivative is within {:.0e} of differences of its values", report.worst());
    Ok(())
}
