//! The batch norm layers: running statistics against PyTorch's, names, state dicts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use kiln_autograd::Tape;
use kiln_nn::{BatchNorm1d, BatchNorm2d, Build, Conv2d, Entry, Init, Module, ReLU, Sequential, StateDict};
use kiln_tensor::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

fn device() -> Device {
    Device::open_default().unwrap()
}

fn near(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{found}, {expected}");
    }
}

#[test]
fn training_and_evaluation_are_those_of_pytorch() {
    let device = device();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/batch_norm.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for (name, momentum) in [("images", 0.1), ("far_from_zero", 0.1), ("fast", 0.7)] {
        let values = |key: &str| -> Vec<f32> {
            bytemuck::pod_collect_to_vec(file.tensor(&format!("{name}.{key}")).unwrap().data())
        };
        let tensor = |key: &str| {
            let shape = file.tensor(&format!("{name}.{key}")).unwrap().shape().to_vec();
            Tensor::from_slice(&device, shape, &values(key)).unwrap()
        };
        let x = tensor("x");
        let layer = BatchNorm2d::builder(x.shape()[1]).momentum(momentum).build(&device, &Init::seed(1)).unwrap();
        layer.weight().unwrap().set(tensor("weight")).unwrap();
        layer.bias().unwrap().set(tensor("bias")).unwrap();
        layer.running_mean().unwrap().set(tensor("start_mean")).unwrap();
        layer.running_var().unwrap().set(tensor("start_var")).unwrap();
        let evaluated = layer.forward(&Tape::eval().constant(x.clone())).unwrap().to_vec::<f32>().unwrap();
        near(&evaluated, &values("eval_y"), 1e-5);
        assert_eq!(layer.num_batches_tracked().unwrap().get(), 0);

        let tape = Tape::train();
        let x = tape.leaf(x);
        let y = layer.forward(&x).unwrap();
        let gradients = y.backward_with(&tensor("dy")).unwrap();
        near(&y.to_vec::<f32>().unwrap(), &values("y"), 2e-5);
        near(&gradients.get(&x).unwrap().to_vec::<f32>().unwrap(), &values("dx"), 2e-5);
        let of = |p: &kiln_nn::Parameter| p.gradient(&gradients).unwrap().to_vec::<f32>().unwrap();
        near(&of(layer.weight().unwrap()), &values("dweight"), 1e-4);
        near(&of(layer.bias().unwrap()), &values("dbias"), 1e-5);
        near(&layer.running_mean().unwrap().value().to_vec::<f32>().unwrap(), &values("end_mean"), 1e-6);
        near(&layer.running_var().unwrap().value().to_vec::<f32>().unwrap(), &values("end_var"), 1e-5);
        assert_eq!(layer.num_batches_tracked().unwrap().get(), 1);
    }
}

/// All parameters, buffers and counts, by their bits.
fn bits(model: &dyn Module) -> Vec<(String, Vec<u32>)> {
    let of = |tensor: Tensor| tensor.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect();
    let entry = |(name, entry)| match entry {
        Entry::Parameter(parameter) => (name, of(parameter.value())),
        Entry::Buffer(buffer) => (name, of(buffer.value())),
        Entry::Count(count) => (name, vec![count.get() as u32]),
    };
    model.entries().into_iter().map(entry).collect()
}

#[test]
fn a_frozen_layer_normalises_by_its_running_statistics_and_keeps_them() {
    let device = device();
    for affine in [true, false] {
        let norm = BatchNorm2d::builder(2).affine(affine);
        let model = Sequential::builder().layer(norm).layer(ReLU).build(&device, &Init::seed(1)).unwrap();
        let x = Tensor::from_slice(&device, [2, 2, 1, 2], &[1.0f32, 2.0, -3.0, 4.0, 5.0, -6.0, 7.0, 9.0]).unwrap();
        let forward = |tape: Tape| {
            let x = tape.leaf(x.clone());
            (model.forward(&x).unwrap(), x)
        };
        forward(Tape::train());
        let before = bits(&model);
        assert_eq!(model.freeze("0").unwrap(), if affine { 2 } else { 0 });
        let expected = forward(Tape::eval()).0.to_vec::<f32>().unwrap();
        let (y, leaf) = forward(Tape::train());
        assert_eq!(y.to_vec::<f32>().unwrap(), expected);
        assert_eq!(bits(&model), before);
        // Layers in front of it still learn: the slope of its ReLU over the deviation, which is the same for a channel.
        let dx = y.sum(..).unwrap().backward().unwrap().get(&leaf).unwrap().to_vec::<f32>().unwrap();
        for (channel, var) in [0, 2].into_iter().zip(running_var(&before)) {
            let slope = (var + 1e-5).sqrt().recip();
            let expected: Vec<f32> =
                expected[channel..channel + 2].iter().map(|y| if *y > 0.0 { slope } else { 0.0 }).collect();
            near(&dx[channel..channel + 2], &expected, 1e-5);
        }
        model.unfreeze("0").unwrap();
        forward(Tape::train());
        assert_ne!(bits(&model), before);
    }
    // As `requires_grad = False`: the parameters alone.
    let norm = BatchNorm2d::new(&device, &Init::seed(1), 1).unwrap();
    norm.parameters().iter().for_each(|(_, parameter)| parameter.set_frozen(true));
    let before = bits(&norm);
    norm.forward(&Tape::train().constant(Tensor::ones(&device, [2, 1, 1, 2], DType::F32).unwrap())).unwrap();
    let changed: Vec<String> =
        bits(&norm).into_iter().zip(before).filter(|(now, before)| now != before).map(|(now, _)| now.0).collect();
    assert_eq!(changed, ["running_mean", "running_var", "num_batches_tracked"]);
}

/// The running variances of the layer `0`.
fn running_var(bits: &[(String, Vec<u32>)]) -> Vec<f32> {
    let (_, var) = bits.iter().find(|(name, _)| name == "0.running_var").unwrap();
    var.iter().map(|bits| f32::from_bits(*bits)).collect()
}

#[test]
fn without_momentum_the_running_mean_is_the_mean_over_all_batches() {
    let device = device();
    let layer = BatchNorm1d::builder(1).momentum(None).build(&device, &Init::seed(1)).unwrap();
    for (low, high) in [(0.0f32, 2.0f32), (4.0, 6.0), (7.0, 9.0)] {
        let x = Tensor::from_slice(&device, [2, 1], &[low, high]).unwrap();
        layer.forward(&Tape::train().constant(x)).unwrap();
    }
    // Means 1, 5 and 8; variances 2 over one element less.
    near(&layer.running_mean().unwrap().value().to_vec::<f32>().unwrap(), &[14.0 / 3.0], 1e-6);
    near(&layer.running_var().unwrap().value().to_vec::<f32>().unwrap(), &[2.0], 1e-6);
}

#[test]
fn without_statistics_evaluation_uses_the_batch() {
    let device = device();
    let layer =
        BatchNorm1d::builder(1).track_running_stats(false).affine(false).build(&device, &Init::seed(1)).unwrap();
    let x = Tensor::from_slice(&device, [2, 1], &[10.0f32, 12.0]).unwrap();
    near(&layer.forward(&Tape::eval().constant(x)).unwrap().to_vec::<f32>().unwrap(), &[-1.0, 1.0], 1e-4);
    assert!(layer.entries().is_empty());
}

fn network(device: &Device) -> Sequential {
    let layers = Sequential::builder().layer(Conv2d::builder(1, 2, 1)).layer(BatchNorm2d::builder(2));
    layers.build(device, &Init::seed(3)).unwrap()
}

#[test]
fn buffers_are_saved_and_loaded_under_pytorchs_names() {
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("norm.safetensors");
    let model = network(&device);
    let names: Vec<String> = model.entries().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"]
    );
    assert_eq!(model.parameters().len(), 4);
    let x = Tensor::from_slice(&device, [1, 1, 1, 3], &[1.0f32, 5.0, 9.0]).unwrap();
    for _ in 0..3 {
        model.forward(&Tape::train().constant(x.clone())).unwrap();
    }
    model.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let count = SafeTensors::deserialize(&bytes).unwrap().tensor("1.num_batches_tracked").unwrap();
    assert_eq!((count.dtype(), count.shape(), count.data()), (Dtype::I64, &[][..], &3u64.to_le_bytes()[..]));

    let other = network(&device);
    other.load(&path).unwrap();
    let state = |model: &Sequential| -> Vec<f32> {
        let entries = model.entries().into_iter();
        entries
            .flat_map(|(_, entry)| match entry {
                Entry::Parameter(parameter) => parameter.value().to_vec::<f32>().unwrap(),
                Entry::Buffer(buffer) => buffer.value().to_vec::<f32>().unwrap(),
                Entry::Count(count) => vec![count.get() as f32],
            })
            .collect()
    };
    assert_eq!(state(&model), state(&other));
    assert_eq!(*state(&other).last().unwrap(), 3.0);
}

#[test]
fn a_missing_count_is_no_mistake_and_a_missing_buffer_is() {
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.safetensors");
    let numbers: Vec<u8> = bytemuck::cast_slice(&[0.5f32, 2.0]).to_vec();
    let write = |names: &[(&str, &[usize])], count: Option<i64>| {
        let count = count.map(i64::to_le_bytes);
        let views =
            names.iter().map(|(name, shape)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), &numbers).unwrap()));
        let counted =
            count.iter().map(|bytes| ("num_batches_tracked", TensorView::new(Dtype::I64, Vec::new(), bytes).unwrap()));
        std::fs::write(&path, safetensors::serialize(views.chain(counted), None).unwrap()).unwrap();
    };
    let all: [(&str, &[usize]); 4] = [("weight", &[2]), ("bias", &[2]), ("running_mean", &[2]), ("running_var", &[2])];
    let layer = BatchNorm2d::new(&device, &Init::seed(3), 2).unwrap();
    write(&all, None);
    layer.load(&path).unwrap();
    assert_eq!(layer.running_mean().unwrap().value().to_vec::<f32>().unwrap(), [0.5, 2.0]);
    write(&all, Some(70_000_000_000));
    layer.load(&path).unwrap();
    assert_eq!(layer.num_batches_tracked().unwrap().get(), 70_000_000_000);
    write(&all, Some(-1));
    let told = layer.load(&path).unwrap_err().to_string();
    assert!(told.contains("num_batches_tracked has the value -1, where a number of at least 0 is needed"), "{told}");
    write(&all[..3], None);
    let told = layer.load(&path).unwrap_err().to_string();
    assert!(told.contains("running_var f32 [2]"), "{told}");
}

#[test]
fn wrong_arguments_are_told() {
    let device = device();
    let init = Init::seed(1);
    let told = |builder: kiln_nn::BatchNormBuilder<BatchNorm2d>| builder.build(&device, &init).unwrap_err().to_string();
    assert_eq!(told(BatchNorm2d::builder(0)), "BatchNorm2d: num_features = 0; must be at least 1");
    assert_eq!(
        told(BatchNorm2d::builder(3).momentum(2.0)),
        "BatchNorm2d: momentum = 2; pass a number from 0 to 1, or None"
    );
    assert_eq!(
        told(BatchNorm2d::builder(3).eps(f64::NAN)),
        "BatchNorm2d: eps = NaN; pass a finite number of at least 0"
    );
    let x = Tensor::ones(&device, [2, 3], DType::F32).unwrap();
    let layer = BatchNorm2d::new(&device, &init, 3).unwrap();
    assert_eq!(
        layer.forward(&Tape::eval().constant(x)).unwrap_err().to_string(),
        "BatchNorm2d: input has shape [2, 3]; needs [n, features, h, w]"
    );
}

#[test]
fn a_relu_behind_it_gives_the_same_bits() {
    let device = device();
    let x: Vec<f32> = (0..96).map(|i| (i as f32 * 1.7).sin() * 3.0 + 1.0).collect();
    let x = Tensor::from_slice(&device, [4, 2, 3, 4], &x).unwrap();
    let layers = Sequential::builder().layer(BatchNorm2d::builder(2)).layer(ReLU);
    let joined = layers.build(&device, &Init::seed(1)).unwrap();
    let apart = BatchNorm2d::new(&device, &Init::seed(1), 2).unwrap();
    let bits =
        |y: kiln_autograd::Var| -> Vec<u32> { y.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect() };
    for tape in [Tape::train as fn() -> Tape, Tape::eval] {
        let (a, b) = (tape().leaf(x.clone()), tape().leaf(x.clone()));
        let (y, z) = (joined.forward(&a).unwrap(), apart.forward(&b).unwrap().relu().unwrap());
        if y.tape().is_training() {
            let (dy, dz) = (y.square().unwrap().sum(..), z.square().unwrap().sum(..));
            let (dy, dz) = (dy.unwrap().backward().unwrap(), dz.unwrap().backward().unwrap());
            let of = |gradients: &kiln_autograd::Gradients, x| gradients.get(x).unwrap().to_vec::<f32>().unwrap();
            assert_eq!(of(&dy, &a), of(&dz, &b));
        }
        assert_eq!(bits(y), bits(z));
    }
}
