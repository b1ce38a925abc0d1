//! `kiln features`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use kiln_autograd::Tape;
use kiln_data::{Dataset, ReadOptions, Unreadable, read_images};
use kiln_gpu::Device;
use kiln_nn::TensorSource;
use kiln_tensor::DType;
use kiln_train::ToDevice;

use crate::data::{self, DataArgs, PartName, with_advice};
use crate::note::note;
use crate::train::config;
use crate::weights::{Trained, WeightsArgs};
use crate::words::counted;
use crate::{devices, npy, paths};

#[derive(Debug, Args)]
#[command(after_help = "\
Writes a row of numbers for each image: what goes into the last layer, unless --layer names another \
one; such vectors are near to each other for images that the network finds alike. A layer's output \
is flattened to a row.

OUT.npy is read by numpy.load; OUT.json beside it has the names of the files, in which U+FFFD stands \
for what is not UTF-8, and of a dataset the labels and the names of the classes. In OUT.safetensors \
the rows are the tensor `features`, the labels the tensor `labels`, and the names are in the \
metadata, as JSON under the key `kiln`.

Examples:
  kiln features --weights runs/photos photos.npy holiday/ 'inbox/*.jpg'
  kiln features --weights runs/photos train.safetensors --data photos --part train
  kiln features --weights vgg16.pth --model vgg16 --layer features pool5.npy cat.jpg
  kiln summary --model vgg16  # lists the layers' names")]
pub(crate) struct FeaturesArgs {
    #[command(flatten)]
    weights: WeightsArgs,
    /// The layer whose output is written, as `kiln summary` names it [default: the input of the last layer]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// The file to write: .npy or .safetensors
    #[arg(value_name = "OUT", value_parser = PathBufValueParser::new().try_map(output))]
    out: PathBuf,
    /// The images: files, folders of them, or patterns such as 'photos/*.jpg'
    #[arg(value_name = "IMAGE", conflicts_with = "data", required_unless_present = "data")]
    images: Vec<OsString>,
    /// The part of the dataset [default: test, or all images of other data than the run's that has no parts]
    #[arg(long, value_enum, requires = "data")]
    part: Option<PartName>,
    /// Images that go through the network at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    #[command(flatten)]
    data: DataArgs,
}

fn output(path: PathBuf) -> Result<PathBuf, String> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("npy" | "safetensors") => Ok(path),
        _ => Err("needs a file name that ends with .npy or .safetensors".to_string()),
    }
}

/// Rows of numbers, and what each row is of.
struct Features {
    columns: usize,
    values: Vec<f32>,
    /// Text beside them: lists in JSON.
    about: BTreeMap<String, serde_json::Value>,
    /// Of a dataset.
    labels: Option<Vec<i32>>,
}

pub(crate) fn run(args: &FeaturesArgs) -> Result<()> {
    let device = devices::open()?;
    let trained = args.weights.load(&device)?;
    let (images, unreadable, labelled) = images(args, &trained)?;
    let features = compute(args, &device, &trained, &images, unreadable, labelled)?;
    devices::keep_pipelines(&device);
    let rows = features.values.len() / features.columns.max(1);
    let written = write(&args.out, rows, &features)?;
    let (rows, columns) = (counted(rows, "row"), counted(features.columns, "number"));
    writeln!(io::stdout(), "{}: {rows} of {columns}", written.join(", "))?;
    Ok(())
}

/// The images, what is done about those that cannot be read, and whether they have labels.
fn images(args: &FeaturesArgs, trained: &Trained) -> Result<(Dataset, Unreadable, bool)> {
    if args.data.data.is_some() {
        let data = config::data_of_run(&args.data, &trained.path, args.part)?;
        let images = data.resolve(trained.card.input).open(None)?;
        let (part, which) = images.part(args.part);
        note(format_args!("{}: {which}", counted(part.len(), "image")));
        return Ok((part.clone(), images.unreadable, true));
    }
    let found = paths::expand(&args.images)?;
    found.notes.iter().for_each(note);
    let [channels, size, _] = trained.card.input;
    let options = ReadOptions::new(size);
    let options = if channels == 1 { options.grey() } else { options };
    let images = read_images(found.files, &options)?.transforms(data::shown(None, size))?;
    Ok((images, args.data.unreadable(), false))
}

fn compute(
    args: &FeaturesArgs,
    device: &Device,
    trained: &Trained,
    images: &Dataset,
    unreadable: Unreadable,
    labelled: bool,
) -> Result<Features> {
    // The parameter `classifier.6.bias` is of the layer `classifier.6`.
    let head = trained.description.head.rsplit_once('.').map_or("", |(layer, _)| layer);
    let layer = args.layer.as_deref().unwrap_or(head);
    let mut features = Features { columns: 0, values: Vec::new(), about: BTreeMap::new(), labels: None };
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    let workers = args.data.workers.unwrap_or_else(data::workers);
    let mut batches = images.loader(args.batch as usize).workers(workers).unreadable(unreadable).epochs(1);
    for batch in batches.by_ref() {
        let batch = batch.map_err(|error| with_advice(error.into()))?;
        let tape = Tape::eval().capture(layer);
        let (pixels, _) = batch.to_normalized(device, &trained.normalize)?;
        trained.model.forward(&tape.constant(pixels))?;
        let Some(captured) = tape.take_captured() else {
            bail!(
                "--layer {layer}: {} has no layer of this name; `kiln summary --model {0}` lists them",
                trained.description.name
            );
        };
        let rows = if args.layer.is_some() { captured.output } else { captured.input };
        let rows = rows.to_dtype(DType::F32)?.to_vec::<f32>()?;
        features.columns = rows.len() / batch.labels.len().max(1);
        features.values.extend(rows);
        labels.extend(batch.labels.iter().map(|&label| label as i32));
        files.extend(batch.samples.iter().map(|&sample| images.name(sample).unwrap_or_default()));
    }
    for skipped in batches.skipped() {
        note(format_args!("left out: {}", skipped.reason));
    }
    features.about = BTreeMap::from([
        ("model".to_string(), trained.description.name.into()),
        ("weights".to_string(), trained.path.display().to_string().into()),
        ("layer".to_string(), if args.layer.is_some() { layer.into() } else { format!("input of {layer}").into() }),
        ("files".to_string(), files.into()),
    ]);
    if labelled {
        features.about.insert("classes".to_string(), images.classes().to_vec().into());
        features.labels = Some(labels);
    }
    Ok(features)
}

/// Writes the file, and the one beside it. Returns their names.
fn write(path: &Path, rows: usize, features: &Features) -> Result<Vec<String>> {
    let Features { columns, values, about, labels } = features;
    if path.extension().is_some_and(|ending| ending == "npy") {
        let mut about = about.clone();
        if let Some(labels) = labels {
            about.insert("labels".to_string(), labels.as_slice().into());
        }
        let beside = path.with_extension("json");
        kiln_nn::write_atomically(path, &npy::encode(rows, *columns, values))?;
        kiln_nn::write_atomically(&beside, &serde_json::to_vec_pretty(&about)?)?;
        return Ok(vec![path.display().to_string(), beside.display().to_string()]);
    }
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let about = about.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    let mut tensors = vec![("features", TensorSource::from_slice(&[rows, *columns], values)?)];
    if let Some(labels) = labels {
        tensors.push(("labels", TensorSource::from_slice(&[rows], labels)?));
    }
    kiln_nn::save_tensors(tensors, path, &about)?;
    Ok(vec![path.display().to_string()])
}
