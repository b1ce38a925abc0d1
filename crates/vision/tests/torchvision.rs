//! The models that torchvision has too: its parameter names, in its order, and its numbers of parameters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_autograd::Tape;
use kiln_nn::{Entry, Init, Module, summary};
use kiln_tensor::{AdapterInfo, DType, Device, Tensor};
use kiln_vision::{AlexNet, Mlp, Model, ModelOptions, Vgg, alexnet_32, mlp, vgg11_32};

/// A model of torchvision: its name, the elements of its parameters, and the entries of its state dict with their shapes.
struct Recorded {
    name: &'static str,
    parameters: usize,
    entries: Vec<(String, Vec<usize>)>,
}

/// What `data/record_torchvision.py` wrote.
fn recorded() -> Vec<Recorded> {
    let mut models: Vec<Recorded> = Vec::new();
    for line in include_str!("data/torchvision.txt").lines() {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        if name == "#" {
            let (name, parameters) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
            models.push(Recorded { name, parameters, entries: Vec::new() });
        } else {
            let shape = words.map(|word| word.parse().unwrap()).collect();
            models.last_mut().unwrap().entries.push((name.to_owned(), shape));
        }
    }
    models
}

fn entries(model: &dyn Module) -> Vec<(String, Vec<usize>)> {
    let shape = |entry: &Entry| match entry {
        Entry::Parameter(parameter) => parameter.shape().to_vec(),
        Entry::Buffer(buffer) => buffer.shape().to_vec(),
        Entry::Count(_) => Vec::new(),
    };
    model.entries().iter().map(|(name, entry)| (name.clone(), shape(entry))).collect()
}

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
    assert_eq!(entries(model), expected);
    assert_eq!(model.num_parameters(), count);
}

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

/// Elements of all parameters, and operations for an image, of each listed model at its own size and classes. Those of torchvision's
/// models are compared with its own figures below.
const COSTS: &[(&str, usize, u64)] = &[
    ("alexnet", 61_100_840, 1_429_741_160),
    ("alexnet-2012", 60_965_224, 1_453_990_632),
    ("alexnet-32", 6_976_842, 343_766_026),
    ("lenet5", 61_706, 852_370),
    ("mlp", 535_818, 1_071_626),
    ("vgg11", 132_863_336, 15_239_171_048),
    ("vgg11-32", 9_488_266, 306_492_426),
    ("vgg11_bn", 132_868_840, 15_254_023_144),
    ("vgg11_bn-32", 9_493_770, 306_795_530),
    ("vgg13", 133_047_848, 22_647_557_096),
    ("vgg13_bn", 133_053_736, 22_672_042_984),
    ("vgg16", 138_357_544, 30_973_762_536),
    ("vgg16-32", 14_982_474, 627_606_538),
    ("vgg16_bn", 138_365_992, 31_000_857_576),
    ("vgg16_bn-32", 14_990_922, 628_159_498),
    ("vgg19", 143_667_240, 39_299_967_976),
    ("vgg19_bn", 143_678_248, 39_329_672_168),
];

/// On devices without a GPU: every model at its full size and others takes milliseconds.
#[test]
fn every_model_is_what_it_says() {
    let mut torchvisions = recorded();
    assert_eq!(
        COSTS.iter().map(|known| known.0).collect::<Vec<_>>(),
        Model::ALL.iter().map(|model| model.name).collect::<Vec<_>>()
    );
    for (description, &(name, parameters, flops)) in Model::ALL.iter().zip(COSTS) {
        let [c, h, w] = description.input;
        assert_eq!((description.mean.len(), description.std.len()), (c, c), "{name}");
        for info in [AdapterInfo::software(), AdapterInfo::discrete()] {
            let device = Device::shapes_only(info);
            let model = description.build(&device, Init::seed(1), description.classes).unwrap();
            assert_eq!(model.num_parameters(), parameters, "{name}");
            assert_eq!(model.parameters().get(description.head).unwrap().shape()[0], description.classes, "{name}");

            let sizes: &[[usize; 2]] = if h > 64 { &[[64, 70], [227, 227], [320, 256]] } else { &[] };
            for &[h, w] in sizes.iter().chain(&[[h, w]]) {
                for batch in [1, 3] {
                    let images = Tensor::zeros(&device, [batch, c, h, w], DType::F32).unwrap();
                    let tape = Tape::train();
                    let logits = model.forward(&tape.constant(images)).unwrap();
                    assert_eq!(logits.dims::<2>().unwrap(), [batch, description.classes], "{name} at {h}x{w}");
                    let labels = Tensor::zeros(&device, [batch], DType::I32).unwrap();
                    let gradients = logits.cross_entropy(&labels).unwrap().backward().unwrap();
                    for (parameter, value) in model.parameters().iter() {
                        let gradient = value.gradient(&gradients).unwrap();
                        assert_eq!(gradient.shape(), value.shape(), "{parameter} of {name} at {h}x{w}");
                    }
                }
                let found = summary(&model, &device, [1, c, h, w]).unwrap();
                let cost = description.cost(&ModelOptions::new(description.classes), [h, w]).unwrap();
                assert_eq!((cost.parameters, cost.flops), (parameters as u64, found.flops), "{name} at {h}x{w}");
            }
            assert_eq!(summary(&model, &device, [1, c, h, w]).unwrap().flops, flops, "{name}");
        }
        if let Some(at) = torchvisions.iter().position(|known| known.name == name) {
            let known = torchvisions.remove(at);
            let device = Device::shapes_only(AdapterInfo::discrete());
            let model = description.build(&device, Init::seed(1), 1000).unwrap();
            assert_eq!((entries(&model), model.num_parameters()), (known.entries, known.parameters), "{name}");
        }
    }
    let missing: Vec<&str> = torchvisions.iter().map(|model| model.name).collect();
    assert!(missing.is_empty(), "of torchvision, and not in the list: {missing:?}");
}

#[test]
fn costs_are_those_of_the_papers() {
    let cost = |name: &str| {
        let model = Model::find(name).unwrap();
        model.cost(&ModelOptions::new(model.classes), [model.input[1], model.input[2]]).unwrap()
    };
    // The 2012 paper's sixty million parameters, by hand: its convolutions, then its linear layers.
    let convolutions = 96 * (11 * 11 * 3 + 1)
        + 256 * (5 * 5 * 48 + 1)
        + 384 * (3 * 3 * 256 + 1)
        + 384 * (3 * 3 * 192 + 1)
        + 256 * (3 * 3 * 192 + 1);
    let linear = 4096 * (9216 + 1) + 4096 * (4096 + 1) + 1000 * (4096 + 1);
    assert_eq!(cost("alexnet-2012").parameters, convolutions + linear);
    // torchvision states billions of multiply-additions, those of convolutions and products alone.
    for (name, stated) in [("alexnet", 0.714), ("vgg11", 7.609), ("vgg16", 15.470), ("vgg19", 19.632)] {
        let apart = cost(name).flops as f64 / 2e9 / stated;
        assert!((1.0..1.01).contains(&apart), "{name}: {apart} of what torchvision states");
    }
    let told = |name: &str, image: [usize; 2]| {
        Model::find(name).unwrap().cost(&ModelOptions::new(10), image).unwrap_err().to_string()
    };
    let vgg = "vgg16: images of 31x32 pixels do not fit; pass the model's own size, or a larger one";
    assert_eq!(told("vgg16", [31, 32]), vgg);
    let lenet = "lenet5: images of 32x32 pixels do not fit; pass the model's own size, or a larger one";
    assert_eq!(told("lenet5", [32, 32]), lenet);
}

#[test]
fn vgg_starts_as_torchvisions() {
    let device = Device::open_default().unwrap();
    let model = vgg11_32(&device, Init::seed(1), 1000).unwrap();
    // Biases of 0, and weights of deviation sqrt(2 / (9 * 128)) and 0.01.
    let value = |name: &str| model.parameters().get(name).unwrap().value();
    assert_eq!(value("features.0.bias").to_vec::<f32>().unwrap(), [0.0; 64]);
    for (name, std) in [("features.3.weight", (2.0f64 / 1152.0).sqrt()), ("classifier.3.weight", 0.01)] {
        let mean = value(name).square().unwrap().mean(..).unwrap().item::<f32>().unwrap();
        assert!((f64::from(mean).sqrt() / std - 1.0).abs() < 0.02, "{name}: {mean}");
    }
}

#[test]
fn alexnet_of_2012_is_the_papers() {
    let device = Device::open_default().unwrap();
    let model = AlexNet::builder_2012(10).dropout(0.0).build(&device, &Init::seed(1)).unwrap();
    let parameters = model.parameters();
    let value = |name: &str| parameters.get(name).unwrap().value();
    let biases: Vec<(String, f32)> = parameters
        .iter()
        .filter(|(name, _)| name.ends_with(".bias"))
        .map(|(name, bias)| {
            let values = bias.value().to_vec::<f32>().unwrap();
            assert!(values.iter().all(|value| *value == values[0]), "{name}");
            (name.to_owned(), values[0])
        })
        .collect();
    let expected = [
        ("features.0.bias", 0.0),
        ("features.4.bias", 1.0),
        ("features.8.bias", 0.0),
        ("features.10.bias", 1.0),
        ("features.12.bias", 1.0),
        ("classifier.0.bias", 1.0),
        ("classifier.3.bias", 1.0),
        ("classifier.6.bias", 0.0),
    ];
    assert_eq!(biases, expected.map(|(name, bias)| (name.to_owned(), bias)));
    // Two groups: each output sees half of the inputs.
    let shapes = ["features.4.weight", "features.8.weight", "features.10.weight", "features.12.weight"];
    let shapes = shapes.map(|name| value(name).shape()[1]);
    assert_eq!(shapes, [48, 256, 192, 192]);
    let deviation = value("features.0.weight").square().unwrap().mean(..).unwrap().item::<f32>().unwrap().sqrt();
    assert!((deviation / 0.01 - 1.0).abs() < 0.02, "{deviation}");

    // 55x55 behind the first convolution, and features of 6x6, by images of both sizes that the paper is read with.
    let device = Device::shapes_only(AdapterInfo::software());
    let model = AlexNet::builder_2012(10).build(&device, &Init::seed(1)).unwrap();
    for size in [224, 227] {
        let found = summary(&model, &device, [1, 3, size, size]).unwrap();
        let output = |name: &str| {
            let layer = found.layers.iter().find(|layer| layer.name == name).unwrap();
            layer.output.to_vec()
        };
        let first = if size == 224 { 55 } else { 56 };
        assert_eq!(output("features.0"), [1, 96, first, first]);
        assert_eq!(output("features.3"), [1, 96, 27, 27]);
        assert_eq!(output("features.7"), [1, 256, 13, 13]);
        assert_eq!(output("features.14"), [1, 256, 6, 6]);
        assert!(found.layers.iter().all(|layer| layer.name != "avgpool"), "features of 6x6 are pooled again");
    }
}

#[test]
fn the_small_forms_are_as_described() {
    let device = Device::shapes_only(AdapterInfo::software());
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
    let models: [Box<dyn Module>; 4] = [
        Box::new(AlexNet::builder_32(7).in_channels(1).dropout(0.0).build(&device, &init).unwrap()),
        Box::new(Vgg::builder_11_32(7).in_channels(1).dropout(0.0).build(&device, &init).unwrap()),
        Box::new(Mlp::builder(32 * 32, 7).hidden(&[20]).build(&device, &init).unwrap()),
        {
            let options = ModelOptions { classes: 7, in_channels: Some(1), dropout: Some(0.0) };
            Model::find("vgg16-32").unwrap().build_with(&device, Init::seed(1), &options).unwrap()
        },
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
    let device = Device::shapes_only(AdapterInfo::software());
    let init = Init::seed(1);
    let told = |error: kiln_nn::Error| error.to_string();
    let alexnet = |builder: kiln_vision::AlexNetBuilder| told(builder.build(&device, &init).unwrap_err());
    assert_eq!(alexnet(AlexNet::builder_32(0)), "alexnet: classes = 0; pass at least 1");
    assert_eq!(alexnet(AlexNet::builder(10).in_channels(0)), "alexnet: in_channels = 0; pass at least 1");
    assert_eq!(alexnet(AlexNet::builder_32(10).dropout(1.5)), "Dropout: p = 1.5; pass a probability from 0 to 1");
    let vgg = |builder: kiln_vision::VggBuilder| told(builder.build(&device, &init).unwrap_err());
    assert_eq!(vgg(Vgg::builder_11_32(0)), "vgg11_32: classes = 0; pass at least 1");
    assert_eq!(vgg(Vgg::builder_16(10).in_channels(0)), "vgg16: in_channels = 0; pass at least 1");
    let lenet = Model::find("lenet5").unwrap();
    let options = ModelOptions { dropout: Some(0.5), ..ModelOptions::new(10) };
    assert_eq!(
        told(lenet.build_with(&device, Init::seed(1), &options).map(|_| ()).unwrap_err()),
        "lenet5: dropout = 0.5; this model has no dropout: leave it out"
    );
    assert_eq!(vgg(Vgg::builder_11_32(10).dropout(-1.0)), "Dropout: p = -1; pass a probability from 0 to 1");
    let mlp = |builder: kiln_vision::MlpBuilder<'_>| told(builder.build(&device, &init).unwrap_err());
    assert_eq!(mlp(Mlp::builder(0, 10)), "mlp: features = 0; pass at least 1");
    assert_eq!(mlp(Mlp::builder(10, 0)), "mlp: classes = 0; pass at least 1");
    assert_eq!(
        mlp(Mlp::builder(10, 10).hidden(&[0])),
        "0: Linear: in_features = 10, out_features = 0; both must be at least 1"
    );
}
