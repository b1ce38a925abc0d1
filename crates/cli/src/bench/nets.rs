//! The layers of networks that multiply matrices: of four at 224x224 pixels and 1,000 classes, from the tables of their papers, and
//! of the small ones that `kiln bench step` trains.

use std::fmt;

use kiln_tensor::ops::conv::Conv2dOptions;

/// A convolution of square kernels and images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conv {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Height and width of the input.
    pub(super) size: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) groups: usize,
}

impl Conv {
    /// Height and width of the output.
    pub(super) fn out(&self) -> usize {
        (self.size + 2 * self.padding - self.kernel) / self.stride + 1
    }

    pub(super) fn input(&self, batch: usize) -> [usize; 4] {
        [batch, self.inputs, self.size, self.size]
    }

    pub(super) fn output(&self, batch: usize) -> [usize; 4] {
        [batch, self.outputs, self.out(), self.out()]
    }

    pub(super) fn weight(&self) -> [usize; 4] {
        [self.outputs, self.inputs / self.groups, self.kernel, self.kernel]
    }

    pub(super) fn options(&self) -> Conv2dOptions {
        Conv2dOptions {
            stride: [self.stride; 2],
            padding: [self.padding; 2],
            groups: self.groups,
            ..Conv2dOptions::default()
        }
    }
}

/// `3x3 96-96 112x112 s2 g96`: the kernel, the channels, the input's size, and the stride and groups where they are not 1.
impl fmt::Display for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{0}x{0} {1}-{2} {3}x{3}", self.kernel, self.inputs, self.outputs, self.size)?;
        if self.stride > 1 {
            write!(f, " s{}", self.stride)?;
        }
        if self.groups > 1 {
            write!(f, " g{}", self.groups)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Conv(Conv),
    Linear {
        inputs: usize,
        outputs: usize,
    },
    /// The product with a matrix as it lies, `[k, n]`, which no net has.
    Matmul {
        k: usize,
        n: usize,
    },
}

impl Layer {
    /// Multiply-adds for one image.
    pub(super) fn multiply_adds(&self) -> usize {
        match self {
            Layer::Linear { inputs, outputs } => inputs * outputs,
            Layer::Matmul { k, n } => k * n,
            Layer::Conv(conv) => {
                conv.output(1).iter().product::<usize>() * conv.weight()[1..].iter().product::<usize>()
            }
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layer::Conv(conv) => conv.fmt(f),
            Layer::Linear { inputs, outputs } => write!(f, "linear {inputs}-{outputs}"),
            Layer::Matmul { k, n } => write!(f, "matmul {k}-{n}"),
        }
    }
}

/// A network by name.
pub(super) struct Net {
    pub(super) name: &'static str,
    /// Images that it usually gets at once.
    pub(super) batch: usize,
    /// Its layers, from the input on.
    pub(super) layers: fn() -> Vec<Layer>,
}

pub(super) const NETS: &[Net] = &[
    Net { name: "alexnet", batch: 8, layers: alexnet },
    Net { name: "vgg16", batch: 8, layers: vgg16 },
    Net { name: "resnet50", batch: 8, layers: resnet50 },
    Net { name: "mobilenetv2", batch: 8, layers: mobilenetv2 },
];

/// For images of 28x28 and 32x32 pixels, in 10 classes.
pub(super) const SMALL_NETS: &[Net] = &[
    Net { name: "mlp", batch: 64, layers: mlp },
    Net { name: "lenet5", batch: 64, layers: lenet5 },
    Net { name: "alexnet-32", batch: 16, layers: alexnet_32 },
    Net { name: "vgg11-32", batch: 16, layers: vgg11_32 },
];

impl Net {
    /// Each layer once, in the order of its first place, and in how many places it is.
    pub(super) fn distinct(&self) -> Vec<(Layer, usize)> {
        let mut found: Vec<(Layer, usize)> = Vec::new();
        for layer in (self.layers)() {
            match found.iter_mut().find(|(known, _)| *known == layer) {
                Some((_, times)) => *times += 1,
                None => found.push((layer, 1)),
            }
        }
        found
    }
}

/// Layers in a row: each takes the channels and the size that the one before leaves.
struct Builder {
    channels: usize,
    size: usize,
    layers: Vec<Layer>,
}

impl Builder {
    fn image() -> Builder {
        Builder::of(3, 224)
    }

    fn of(channels: usize, size: usize) -> Builder {
        Builder { channels, size, layers: Vec::new() }
    }

    fn conv(&mut self, outputs: usize, kernel: usize, stride: usize, padding: usize) {
        self.grouped(outputs, kernel, stride, padding, 1);
    }

    fn grouped(&mut self, outputs: usize, kernel: usize, stride: usize, padding: usize, groups: usize) {
        let conv = Conv { inputs: self.channels, outputs, size: self.size, kernel, stride, padding, groups };
        (self.channels, self.size) = (outputs, conv.out());
        self.layers.push(Layer::Conv(conv));
    }

    fn pool(&mut self, kernel: usize, stride: usize, padding: usize) {
        self.size = (self.size + 2 * padding - kernel) / stride + 1;
    }

    fn linear(&mut self, inputs: usize, outputs: &[usize]) -> Vec<Layer> {
        let sizes = [&[inputs], outputs].concat();
        self.layers.extend(sizes.windows(2).map(|pair| Layer::Linear { inputs: pair[0], outputs: pair[1] }));
        std::mem::take(&mut self.layers)
    }
}

/// Krizhevsky 2014, as torchvision has it.
fn alexnet() -> Vec<Layer> {
    let mut net = Builder::image();
    net.conv(64, 11, 4, 2);
    net.pool(3, 2, 0);
    net.conv(192, 5, 1, 2);
    net.pool(3, 2, 0);
    for outputs in [384, 256, 256] {
        net.conv(outputs, 3, 1, 1);
    }
    net.linear(9216, &[4096, 4096, 1000])
}

/// Simonyan & Zisserman 2015, configuration D.
fn vgg16() -> Vec<Layer> {
    let mut net = Builder::image();
    for (outputs, times) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        for _ in 0..times {
            net.conv(outputs, 3, 1, 1);
        }
        net.pool(2, 2, 0);
    }
    net.linear(25_088, &[4096, 4096, 1000])
}

/// He et al. 2016, with the stride in the 3x3 convolution of a block, as torchvision has it.
fn resnet50() -> Vec<Layer> {
    let mut net = Builder::image();
    net.conv(64, 7, 2, 3);
    net.pool(3, 2, 1);
    for (width, blocks, first_stride) in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)] {
        for block in 0..blocks {
            let (channels, size) = (net.channels, net.size);
            let stride = if block == 0 { first_stride } else { 1 };
            net.conv(width, 1, 1, 0);
            net.conv(width, 3, stride, 1);
            net.conv(4 * width, 1, 1, 0);
            if block == 0 {
                // The projection beside the block.
                (net.channels, net.size) = (channels, size);
                net.conv(4 * width, 1, stride, 0);
            }
        }
    }
    net.linear(2048, &[1000])
}

/// Sandler et al. 2018, table 2.
fn mobilenetv2() -> Vec<Layer> {
    let mut net = Builder::image();
    net.conv(32, 3, 2, 1);
    // Expansion, channels, repeats, stride of the first.
    let stages =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    for (expansion, outputs, repeats, first_stride) in stages {
        for repeat in 0..repeats {
            let hidden = expansion * net.channels;
            if expansion > 1 {
                net.conv(hidden, 1, 1, 0);
            }
            net.grouped(hidden, 3, if repeat == 0 { first_stride } else { 1 }, 1, hidden);
            net.conv(outputs, 1, 1, 0);
        }
    }
    net.conv(1280, 1, 1, 0);
    net.linear(1280, &[1000])
}

fn mlp() -> Vec<Layer> {
    Builder::of(1, 28).linear(28 * 28, &[512, 256, 10])
}

/// LeCun et al. 1998, with max pooling and ReLU.
fn lenet5() -> Vec<Layer> {
    let mut net = Builder::of(1, 28);
    net.conv(6, 5, 1, 2);
    net.pool(2, 2, 0);
    net.conv(16, 5, 1, 0);
    net.linear(400, &[120, 84, 10])
}

fn alexnet_32() -> Vec<Layer> {
    let mut net = Builder::of(3, 32);
    for outputs in [64, 192] {
        net.conv(outputs, 3, 1, 1);
        net.pool(2, 2, 0);
    }
    for outputs in [384, 256, 256] {
        net.conv(outputs, 3, 1, 1);
    }
    net.linear(4096, &[1024, 512, 10])
}

fn vgg11_32() -> Vec<Layer> {
    let mut net = Builder::of(3, 32);
    for (outputs, times) in [(64, 1), (128, 1), (256, 2), (512, 2), (512, 2)] {
        for _ in 0..times {
            net.conv(outputs, 3, 1, 1);
        }
        net.pool(2, 2, 0);
    }
    net.linear(512, &[512, 10])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Multiply-adds of one image and the number of layers, as torchvision and fvcore count them.
    #[test]
    fn the_tables_add_up_to_the_known_totals() {
        let totals = NETS.iter().map(|net| {
            let distinct = net.distinct();
            let layers: usize = distinct.iter().map(|(_, times)| times).sum();
            let multiply_adds: usize = distinct.iter().map(|(layer, times)| times * layer.multiply_adds()).sum();
            (net.name, layers, multiply_adds)
        });
        assert_eq!(
            totals.collect::<Vec<_>>(),
            [
                ("alexnet", 8, 714_188_480),
                ("vgg16", 16, 15_470_264_320),
                ("resnet50", 54, 4_089_184_256),
                ("mobilenetv2", 53, 300_774_272),
            ]
        );
    }

    #[test]
    fn layers_that_repeat_are_found_once() {
        let vgg = &NETS[1].distinct();
        assert_eq!(vgg.len(), 12);
        assert_eq!(vgg[8].0.to_string(), "3x3 512-512 14x14");
        assert_eq!(vgg[8].1, 3);
        let first = NETS[3].distinct()[1].0;
        assert_eq!(first.to_string(), "3x3 32-32 112x112 g32");
    }

    #[test]
    fn the_layers_are_those_that_are_trained() {
        let text = include_str!("../../../../benches/peers/nets.json");
        let trained: serde_json::Value = serde_json::from_str(text).unwrap();
        for (name, trained) in trained.as_object().unwrap() {
            let net = NETS.iter().chain(SMALL_NETS).find(|net| net.name == name).unwrap();
            assert_eq!(trained["batch"], net.batch, "{name}");
            let layers = trained["layers"].as_array().unwrap().iter().filter(|layer| layer["name"].is_string());
            let expected: Vec<[&serde_json::Value; 5]> = layers
                .map(|layer| ["inputs", "outputs", "kernel", "stride", "padding"].map(|key| &layer[key]))
                .collect();
            let sizes: Vec<serde_json::Value> = (net.layers)()
                .into_iter()
                .map(|layer| match layer {
                    Layer::Linear { inputs, outputs } | Layer::Matmul { k: inputs, n: outputs } => {
                        serde_json::json!([inputs, outputs, null, null, null])
                    }
                    Layer::Conv(Conv { inputs, outputs, kernel, stride, padding, .. }) => {
                        serde_json::json!([inputs, outputs, kernel, stride, padding])
                    }
                })
                .collect();
            assert_eq!(serde_json::json!(sizes), serde_json::json!(expected), "{name}");
        }
    }
}
