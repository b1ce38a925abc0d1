//! Names, counts, freezing, layers' shapes and errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_autograd::{Tape, Var};
use kiln_nn::{
    AvgPool2d, Build, Conv2d, ConvTranspose2d, Dropout, Flatten, Init, Linear, MaxPool2d, Module, Parameter, ReLU,
    Result, Sequential, Sgd, Sigmoid, Tanh, Visitor,
};
use kiln_tensor::ops::conv::conv2d_input_grad;
use kiln_tensor::{DType, Device, Random, Tensor};

fn device() -> Device {
    Device::open_default().unwrap()
}

fn network(device: &Device) -> Sequential {
    Sequential::builder()
        .layer(Conv2d::builder(1, 4, 3).padding(1))
        .layer(ReLU)
        .layer(MaxPool2d::new(2))
        .layer(Sequential::builder().layer(Conv2d::builder(4, 4, 3).groups(2).bias(false)).layer(Tanh))
        .layer(AvgPool2d::new([2, 1]))
        .layer(Flatten)
        .layer(Dropout::new(0.5).unwrap())
        .layer(Linear::builder(4 * 2 * 4, 3))
        .layer(Sigmoid)
        .build(device, &Init::seed(42))
        .unwrap()
}

fn names(module: &dyn Module) -> Vec<String> {
    module.parameters().names().map(String::from).collect()
}

#[test]
fn names_follow_the_visit() {
    let model = network(&device());
    assert_eq!(names(&model), ["0.weight", "0.bias", "3.0.weight", "7.weight", "7.bias"]);
    assert_eq!(model.num_parameters(), 4 * 9 + 4 + 4 * 2 * 9 + 3 * 32 + 3);
    let listed: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, names(&model));
    assert_eq!(names(&Box::new(model) as &dyn Module).len(), 5);
}

#[test]
fn layers_compute_their_shapes() {
    let device = device();
    let model = network(&device);
    let images = Tensor::ones(&device, [2, 1, 12, 12], DType::F32).unwrap();
    let y = model.forward(&Tape::eval().constant(images.clone())).unwrap();
    assert_eq!(y.dims::<2>().unwrap(), [2, 3]);
    // A single axis is flattened to rows of one element.
    let row = Tape::eval().constant(Tensor::ones(&device, 5, DType::F32).unwrap());
    assert_eq!(Flatten.forward(&row).unwrap().dims::<2>().unwrap(), [5, 1]);
}

#[test]
fn transposed_convolution_is_the_gradient_of_convolution() {
    let device = device();
    let layer = ConvTranspose2d::builder(4, 6, [3, 2])
        .stride(2)
        .padding([1, 0])
        .output_padding([0, 1])
        .dilation([1, 2])
        .groups(2)
        .build(&device, &Init::seed(42))
        .unwrap();
    assert_eq!(names(&layer), ["weight", "bias"]);
    assert_eq!(layer.weight().shape().dims(), [4, 3, 3, 2]);
    let x = Tensor::uniform(&device, [2, 4, 5, 6], -1.0, 1.0, Random { seed: 1, stream: 0 }).unwrap();
    let y = layer.forward(&Tape::eval().constant(x.clone())).unwrap();
    assert_eq!(y.dims::<4>().unwrap(), [2, 6, 9, 14]);
    let (weight, bias) = (layer.weight().value(), layer.bias().unwrap().value());
    let want = conv2d_input_grad(&x, &weight, y.shape(), &layer.options().transposed()).unwrap();
    let want = want.add(&bias.reshape([6, 1, 1]).unwrap()).unwrap();
    assert_eq!(y.tensor().to_vec::<f32>().unwrap(), want.to_vec::<f32>().unwrap());
}

#[test]
fn dropout_is_for_training() {
    let device = device();
    let x = Tensor::ones(&device, 4000, DType::F32).unwrap();
    let dropout = Dropout::new(0.25).unwrap();
    let kept = |tape: &Tape| dropout.forward(&tape.constant(x.clone())).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(kept(&Tape::eval()), vec![1.0; 4000]);
    let trained = kept(&Tape::train_seeded(1));
    assert!(trained.iter().all(|&value| value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
    let zeros = trained.iter().filter(|&&value| value == 0.0).count();
    assert!((850..1150).contains(&zeros), "{zeros} of 4000 dropped");
    assert_eq!(trained, kept(&Tape::train_seeded(1)));
    assert_ne!(trained, kept(&Tape::train_seeded(2)));
}

#[test]
fn frozen_parameters_stay() {
    let device = device();
    let model = Sequential::builder()
        .layer(Linear::builder(4, 4))
        .layer(ReLU)
        .layer(Linear::builder(4, 1))
        .build(&device, &Init::seed(42))
        .unwrap();
    assert_eq!(model.freeze("0").unwrap(), 2);
    let before: Vec<Vec<f32>> = model.parameters().iter().map(|(_, p)| p.value().to_vec().unwrap()).collect();
    let mut optim = Sgd::new(model.parameters(), 0.1);
    let mut step = || {
        let x = Tape::train().constant(Tensor::ones(&device, [8, 4], DType::F32).unwrap());
        let gradients = model.forward(&x).unwrap().square().unwrap().sum(..).unwrap().backward().unwrap();
        optim.step(&gradients).unwrap();
        gradients
    };
    let gradients = step();
    let moved = |before: &[Vec<f32>]| -> Vec<bool> {
        let values = model.parameters().into_iter().map(|(_, p)| p.value().to_vec::<f32>().unwrap());
        values.zip(before).map(|(now, before)| now != *before).collect()
    };
    assert_eq!(moved(&before), [false, false, true, true]);
    let frozen = model.parameters().get("0.weight").unwrap().clone();
    assert!(frozen.gradient(&gradients).is_none() && frozen.is_frozen());

    assert_eq!(model.unfreeze("").unwrap(), 4);
    step();
    assert_eq!(moved(&before), [true; 4]);
    assert_eq!(
        model.freeze("1").unwrap_err().to_string(),
        "freeze: no parameter or layer is named \"1\"; parameters are 0.weight, 0.bias, 2.weight, 2.bias"
    );
}

#[test]
fn a_part_is_not_another_whose_name_goes_on() {
    let device = device();
    let twelve = (0..12).fold(Sequential::builder(), |builder, _| builder.layer(Linear::builder(2, 2).bias(false)));
    let model = twelve.build(&device, &Init::seed(42)).unwrap();
    assert_eq!(model.parameters().of("1").names().collect::<Vec<_>>(), ["1.weight"]);
    assert_eq!(model.freeze("1").unwrap(), 1);
    assert!(!model.parameters().get("10.weight").unwrap().is_frozen());
}

/// Uses one weight twice.
struct Tied {
    weight: Parameter,
}

impl Module for Tied {
    fn forward(&self, x: &Var) -> Result<Var> {
        let weight = self.weight.on(x.tape());
        Ok(x.mul(&weight)?.mul(&self.weight.on(x.tape()))?)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.param("first", &self.weight);
        v.param("second", &self.weight);
    }
}

#[test]
fn a_shared_parameter_counts_and_moves_once() {
    let device = device();
    let model = Tied { weight: Parameter::new(Tensor::full(&device, 2, 3.0, DType::F32).unwrap()) };
    assert_eq!((names(&model), model.num_parameters()), (vec!["first".to_string(), "second".to_string()], 2));
    let x = Tape::train().constant(Tensor::ones(&device, 2, DType::F32).unwrap());
    let gradients = model.forward(&x).unwrap().sum(..).unwrap().backward().unwrap();
    Sgd::new(model.parameters(), 0.5).step(&gradients).unwrap();
    // d(w^2)/dw = 6, so 3 - 0.5 * 6, once.
    assert_eq!(model.weight.value().to_vec::<f32>().unwrap(), [0.0, 0.0]);
}

#[test]
fn errors_name_the_layer_and_the_arguments() {
    let device = device();
    let told = |error: kiln_nn::Error| error.to_string();
    let init = Init::seed(1);
    assert_eq!(
        told(Linear::new(&device, &init, 0, 3).unwrap_err()),
        "Linear: in_features = 0, out_features = 3; both must be at least 1"
    );
    assert_eq!(
        told(Conv2d::builder(3, 8, 3).stride(0).build(&device, &init).unwrap_err()),
        "Conv2d: in_channels = 3, out_channels = 8, kernel = [3, 3], stride = [0, 0], dilation = [1, 1], groups = 1; each must be \
         at least 1"
    );
    assert_eq!(
        told(Conv2d::builder(3, 8, 3).groups(2).build(&device, &init).unwrap_err()),
        "Conv2d: groups = 2 divides not both in_channels = 3 and out_channels = 8; pass channels that are multiples of groups"
    );
    assert_eq!(
        told(ConvTranspose2d::builder(3, 8, 3).groups(2).build(&device, &init).unwrap_err()),
        "ConvTranspose2d: groups = 2 divides not both in_channels = 3 and out_channels = 8; pass channels that are multiples of \
         groups"
    );
    assert_eq!(
        told(ConvTranspose2d::builder(3, 8, 0).build(&device, &init).unwrap_err()),
        "ConvTranspose2d: in_channels = 3, out_channels = 8, kernel = [0, 0], stride = [1, 1], dilation = [1, 1], groups = 1; each \
         must be at least 1"
    );
    assert_eq!(
        told(ConvTranspose2d::builder(3, 8, 3).output_padding(1).build(&device, &init).unwrap_err()),
        "ConvTranspose2d: output_padding = [1, 1] with stride = [1, 1]; needs less than the stride"
    );
    assert_eq!(told(Dropout::new(1.5).unwrap_err()), "Dropout: p = 1.5; pass a probability from 0 to 1");
    assert_eq!(told(Dropout::new(f64::NAN).unwrap_err()), "Dropout: p = NaN; pass a probability from 0 to 1");
    let parameter = Parameter::new(Tensor::ones(&device, [2, 3], DType::F32).unwrap());
    assert_eq!(
        told(parameter.set(Tensor::ones(&device, [3, 2], DType::F32).unwrap()).unwrap_err()),
        "Parameter::set: f32 [3, 2] for a parameter of f32 [2, 3]; pass a tensor of this shape and type"
    );
    assert_eq!(
        told(parameter.set(Tensor::ones(&device, [2, 3], DType::I32).unwrap()).unwrap_err()),
        "Parameter::set: i32 [2, 3] for a parameter of f32 [2, 3]; pass a tensor of this shape and type"
    );

    let bad = Sequential::builder().layer(ReLU).layer(Linear::builder(3, 0)).build(&device, &init).unwrap_err();
    assert_eq!(told(bad), "1: Linear: in_features = 3, out_features = 0; both must be at least 1");
    let image = Tape::eval().constant(Tensor::ones(&device, [1, 2, 12, 12], DType::F32).unwrap());
    let error = told(network(&device).forward_as("features", &image).unwrap_err());
    assert!(error.starts_with("features.0: conv2d: "), "{error}");
}

/// A ReLU that `Sequential` cannot know as one.
struct Apart;

impl Module for Apart {
    fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.relu()?)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}

impl Build for Apart {
    type Module = Apart;

    fn build(self, _: &Device, _: &Init) -> Result<Apart> {
        Ok(self)
    }
}

/// The result, the gradients of all parameters, and the launches that forward and backward took.
fn step(model: &Sequential, x: &Tensor) -> (Vec<f32>, Vec<Vec<f32>>, u64) {
    let before = x.device().launches();
    let y = model.forward(&Tape::train().constant(x.clone())).unwrap();
    let gradients = y.sum(..).unwrap().backward().unwrap();
    let launches = x.device().launches() - before;
    let parameters = model.parameters().unique();
    let values = |parameter: &Parameter| gradients.of(parameter.id()).unwrap().to_vec::<f32>().unwrap();
    let gradients = parameters.iter().map(|(_, parameter)| values(parameter)).collect();
    (y.tensor().to_vec().unwrap(), gradients, launches)
}

#[test]
fn a_relu_next_to_a_layer_costs_no_launch_and_changes_no_bit() {
    let device = device();
    let build = |fused: bool| {
        let relu = |layers: kiln_nn::SequentialBuilder| if fused { layers.layer(ReLU) } else { layers.layer(Apart) };
        let layers = relu(Sequential::builder().layer(Conv2d::builder(3, 8, 3).padding(1))).layer(MaxPool2d::new(2));
        let layers = relu(layers.layer(Conv2d::builder(8, 8, 3).padding(1)));
        let layers = relu(layers.layer(Flatten).layer(Linear::builder(8 * 4 * 4, 12)));
        relu(layers).layer(Linear::builder(12, 4)).build(&device, &Init::seed(7)).unwrap()
    };
    let x = Tensor::normal(&device, [4, 3, 8, 8], 0.0, 1.0, Random { seed: 1, stream: 0 }).unwrap();
    let (fused, apart) = (step(&build(true), &x), step(&build(false), &x));
    assert_eq!(fused.0, apart.0);
    assert_eq!(fused.1, apart.1);
    // Forward none of the first three is a launch of its own, backward not that of the pooling; the fourth has no layer left.
    assert_eq!(apart.2 - fused.2, 4);
}
