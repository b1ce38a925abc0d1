//! The models that torchvision has too: its parameter names, in its order, and its numbers of parameters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_autograd::Tape;
use kiln_nn::{Init, Module};
use kiln_tensor::{DType, Device, Tensor};
use kiln_vision::{AlexNet, Mlp, Vgg, alexnet, alexnet_32, mlp, vgg11_32, vgg16};

/// The layers of a part that have parameters: their places, and each weight's shape. Every layer has a bias.
type Layers<'a> = (&'a str, &'a [(usize, &'a [usize])]);

fn check(model: &dyn Module, parts: &[Layers<'_>], count: usize) {
    let mut expected = Vec::new();
    for (part, layers) in parts {
        for (place, weight) in *layers {
            expected.push((format!("{part}{place}.weight"), weight.to_vec()));
            expected.push((format!("{part}{place}.bias"), weight[..1].to_vec()));
        }
    }
    let parameters = model.parameters();
    let given: Vec<_> = parameters.iter().map(|(name, p)| (name.to_string(), p.shape().to_vec())).collect();
    assert_eq!(given, expected);
    assert_eq!(model.num_parameters(), count);
}

const VGG16: &[(usize, &[usize])] = &[
    (0, &[64, 3, 3, 3]),
    (2, &[64, 64, 3, 3]),
    (5, &[128, 64, 3, 3]),
    (7, &[128, 128, 3, 3]),
    (10, &[256, 128, 3, 3]),
    (12, &[256, 256, 3, 3]),
    (14, &[256, 256, 3, 3]),
    (17, &[512, 256, 3, 3]),
    (19, &[512, 512, 3, 3]),
    (21, &[512, 512, 3, 3]),
    (24, &[512, 512, 3, 3]),
    (26, &[512, 512, 3, 3]),
    (28, &[512, 512, 3, 3]),
];

const VGG11: &[(usize, &[usize])] = &[
    (0, &[64, 3, 3, 3]),
    (3, &[128, 64, 3, 3]),
    (6, &[256, 128, 3, 3]),
    (8, &[256, 256, 3, 3]),
    (11, &[512, 256, 3, 3]),
    (13, &[512, 512, 3, 3]),
    (16, &[512, 512, 3, 3]),
    (18, &[512, 512, 3, 3]),
];

#[test]
fn alexnet_is_torchvisions() {
    let device = Device::open_default().unwrap();
    let features: &[(usize, &[usize])] = &[
        (0, &[64, 3, 11, 11]),
        (3, &[192, 64, 5, 5]),
        (6, &[384, 192, 3, 3]),
        (8, &[256, 384, 3, 3]),
        (10, &[256, 256, 3, 3]),
    ];
    let classifier: &[(usize, &[usize])] = &[(1, &[4096, 9216]), (4, &[4096, 4096]), (6, &[1000, 4096])];
    let parts = [("features.", features), ("classifier.", classifier)];
    check(&alexnet(&device, Init::seed(1), 1000).unwrap(), &parts, 61_100_840);
}

#[test]
fn vgg16_is_torchvisions() {
    let device = Device::open_default().unwrap();
    let classifier: &[(usize, &[usize])] = &[(0, &[4096, 25_088]), (3, &[4096, 4096]), (6, &[1000, 4096])];
    let parts = [("features.", VGG16), ("classifier.", classifier)];
    let model = vgg16(&device, Init::seed(1), 1000).unwrap();
    check(&model, &parts, 138_357_544);
    // torchvision's first values: biases of 0, and weights of deviation sqrt(2 / (9 * 64)) and 0.01.
    let value = |name: &str| model.parameters().get(name).unwrap().value();
    assert_eq!(value("features.0.bias").to_vec::<f32>().unwrap(), [0.0; 64]);
    for (name, std) in [("features.2.weight", (2.0f64 / 576.0).sqrt()), ("classifier.6.weight", 0.01)] {
        let mean = value(name).square().unwrap().mean(&[], false).unwrap().item::<f32>().unwrap();
        assert!((f64::from(mean).sqrt() / std - 1.0).abs() < 0.02, "{name}: {mean}");
    }
}

#[test]
fn the_small_forms_are_as_described() {
    let device = Device::open_default().unwrap();
    let init = || Init::seed(1);
    let features: &[(usize, &[usize])] = &[
        (0, &[64, 3, 3, 3]),
        (3, &[192, 64, 3, 3]),
        (6, &[384, 192, 3, 3]),
        (8, &[256, 384, 3, 3]),
        (10, &[256, 256, 3, 3]),
    ];
    let classifier: &[(usize, &[usize])] = &[(1, &[1024, 4096]), (4, &[512, 1024]), (6, &[10, 512])];
    let parts = [("features.", features), ("classifier.", classifier)];
    check(&alexnet_32(&device, init(), 10).unwrap(), &parts, 6_976_842);

    let classifier: &[(usize, &[usize])] = &[(0, &[512, 512]), (3, &[10, 512])];
    let parts = [("features.", VGG11), ("classifier.", classifier)];
    check(&vgg11_32(&device, init(), 10).unwrap(), &parts, 9_488_266);

    let layers: &[(usize, &[usize])] = &[(0, &[512, 784]), (3, &[256, 512]), (6, &[10, 256])];
    check(&mlp(&device, init(), 10).unwrap(), &[("", layers)], 535_818);
}

#[test]
fn what_is_described_is_built() {
    let device = Device::open_default().unwrap();
    let init = Init::seed(1);
    let models: [Box<dyn Module>; 3] = [
        Box::new(AlexNet::builder_32(7).in_channels(1).dropout(0.0).build(&device, &init).unwrap()),
        Box::new(Vgg::builder_11_32(7).in_channels(1).dropout(0.0).build(&device, &init).unwrap()),
        Box::new(Mlp::builder(32 * 32, 7).hidden(&[20]).build(&device, &init).unwrap()),
    ];
    let images = Tensor::ones(&device, [2, 1, 32, 32], DType::F32).unwrap();
    for model in &models {
        // Without dropout, training computes what evaluation does.
        let logits = |tape: Tape| model.forward(&tape.constant(images.clone())).unwrap().to_vec::<f32>().unwrap();
        let evaluated = logits(Tape::eval());
        assert_eq!(evaluated.len(), 2 * 7);
        assert_eq!(logits(Tape::train()), evaluated);
    }
    let dropping = AlexNet::builder_32(7).in_channels(1).build(&device, &init).unwrap();
    let logits = |tape: Tape| dropping.forward(&tape.constant(images.clone())).unwrap().to_vec::<f32>().unwrap();
    assert_ne!(logits(Tape::train_seeded(1)), logits(Tape::eval()));
}

#[test]
fn descriptions_that_fit_no_network_are_refused() {
    let device = Device::open_default().unwrap();
    let init = Init::seed(1);
    let told = |error: kiln_nn::Error| error.to_string();
    let alexnet = |builder: kiln_vision::AlexNetBuilder| told(builder.build(&device, &init).unwrap_err());
    assert_eq!(alexnet(AlexNet::builder_32(0)), "alexnet: classes = 0; pass at least 1");
    assert_eq!(alexnet(AlexNet::builder(10).in_channels(0)), "alexnet: in_channels = 0; pass at least 1");
    assert_eq!(alexnet(AlexNet::builder_32(10).dropout(1.5)), "Dropout: p = 1.5; pass a probability from 0 to 1");
    let vgg = |builder: kiln_vision::VggBuilder| told(builder.build(&device, &init).unwrap_err());
    assert_eq!(vgg(Vgg::builder_11_32(0)), "vgg11_32: classes = 0; pass at least 1");
    assert_eq!(vgg(Vgg::builder_16(10).in_channels(0)), "vgg16: in_channels = 0; pass at least 1");
    assert_eq!(vgg(Vgg::builder_11_32(10).dropout(-1.0)), "Dropout: p = -1; pass a probability from 0 to 1");
    let mlp = |builder: kiln_vision::MlpBuilder<'_>| told(builder.build(&device, &init).unwrap_err());
    assert_eq!(mlp(Mlp::builder(0, 10)), "mlp: features = 0; pass at least 1");
    assert_eq!(mlp(Mlp::builder(10, 0)), "mlp: classes = 0; pass at least 1");
    assert_eq!(
        mlp(Mlp::builder(10, 10).hidden(&[0])),
        "0: Linear: in_features = 10, out_features = 0; both must be at least 1"
    );
}
