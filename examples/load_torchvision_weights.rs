//! Loads weights that torchvision saved, looks at a picture, and loads them again under a head for other classes.
//!
//! `cargo run --release --example load_torchvision_weights alexnet alexnet-owt-7be5be79.pth photo.jpg`
//!
//! Without arguments it saves AlexNet for 32 pixels with random weights first, and reads that.

use std::path::PathBuf;

use anyhow::Context;
use kiln::data::{ReadOptions, read_images};
use kiln::nn::{LoadOptions, StateFile};
use kiln::prelude::*;
use kiln::tensor::DType;
use kiln::train::Normalize;
use kiln::vision::Model;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "alexnet-32".to_string());
    let description = Model::find(&name).with_context(|| format!("there is no model {name}"))?;
    let device = Device::open_default()?;
    let path = match args.next() {
        Some(path) => PathBuf::from(path),
        None => {
            let path = std::env::temp_dir().join("kiln-example-weights.safetensors");
            description.build(&device, Init::seed(1), 1000)?.save(&path)?;
            path
        }
    };

    // The file tells how many classes it was made for: the length of the last layer's bias.
    let mut file = StateFile::open(&path)?;
    // Names that DataParallel changed become those of the model.
    file.fit_names([description.head]);
    let classes = file.shape(description.head).and_then(|(_, shape)| shape.first().copied());
    let classes = classes.with_context(|| format!("{}: has no {}", path.display(), description.head))?;
    println!("{}: {} tensors, {classes} classes", path.display(), file.names().count());

    // Strict: every name and shape has to agree, or nothing is loaded and the error lists each difference.
    let model = description.build(&device, Init::seed(0), classes)?;
    model.load(&path)?;

    let normalize = Normalize::new(description.mean, description.std)?;
    let [channels, height, width] = description.input;
    let pixels = match args.next() {
        Some(image) => {
            let images = read_images([image], &ReadOptions::new(height))?;
            let batch = images.loader(1).epochs(1).next().context("no image")??;
            batch.to_normalized(&device, &normalize)?.0
        }
        None => normalize.apply(&Tensor::zeros(&device, [1, channels, height, width], DType::U8)?)?,
    };
    let logits = model.forward(&Tape::eval().constant(pixels))?.tensor().to_vec::<f32>()?;
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    println!("the five largest outputs: {:?}", &order[..5]);

    // For other classes everything but the last layer comes from the file.
    let layer = description.head.trim_end_matches(".bias");
    let tuned = description.build(&device, Init::seed(0), 3)?;
    let loaded = tuned.load_with(&path, LoadOptions::new().except(layer))?;
    println!("a head of 3 classes: {} are left as they were", loaded.excepted.join(" and "));
    Ok(())
}
