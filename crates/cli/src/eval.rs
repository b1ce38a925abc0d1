//! `kiln eval`.

use std::io::{self, Write};

use anyhow::{Result, bail};
use kiln_train::{Feed, evaluate};

use crate::args::EvalArgs;
use crate::{data, devices, weights};

pub(crate) fn run(args: &EvalArgs) -> Result<()> {
    let description = weights::model(&args.model)?;
    let splits = args.data.load()?;
    data::check_images(description, &splits)?;
    let device = devices::open()?;
    let trained = weights::load(&device, description, &args.weights)?;
    if splits.test.classes().len() > trained.classes.len() {
        bail!(
            "the data has {} classes, the weights know {}; pass the data that they were trained on",
            splits.test.classes().len(),
            trained.classes.len()
        );
    }
    let feed = Feed::new(&device).batch(args.batch as usize).normalize(trained.normalize);
    let evaluation = evaluate(&*trained.model, &splits.test, &feed)?;
    devices::keep_pipelines(&device);
    let mut out = io::stdout().lock();
    if args.json {
        let (accuracy, loss, samples) = (evaluation.top1, evaluation.loss, evaluation.samples);
        writeln!(out, "{}", serde_json::json!({ "loss": loss, "accuracy": accuracy, "samples": samples }))?;
    } else {
        let (accuracy, loss, samples) = (100.0 * evaluation.top1, evaluation.loss, evaluation.samples);
        writeln!(out, "accuracy {accuracy:.2} %, loss {loss:.4}, on {samples} images")?;
    }
    Ok(())
}
