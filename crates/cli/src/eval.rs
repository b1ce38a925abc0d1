//! `kiln eval`.

use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use kiln_train::{ClassMetrics, Evaluation, Feed, evaluate};
use serde_json::{Value, json};

use crate::data::{DataArgs, PartName, with_advice};
use crate::devices;
use crate::table::{self, Side};
use crate::train::config;
use crate::weights::WeightsArgs;
use crate::words::counted;

#[derive(Debug, Args)]
#[command(after_help = "\
Without --data, the test images are those of the run that the weights come from, read with the settings \
in the config.toml beside the weights. Of other data it is the test part, or the val part where there is \
no test part, or all images where there are no parts. Classes are matched by name; the data may have only \
some of them, and the others are left out of the means.

The precision of a class is the fraction of the images predicted as that class that belong to it. Its \
recall is the fraction of the images of that class that were predicted as it. F1 is the harmonic mean of \
the two.

Examples:
  kiln eval --weights runs/photos
  kiln eval --weights runs/photos/best.safetensors --data other-photos
  kiln eval --weights runs/first --data idx:/data/fashion --json")]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    weights: WeightsArgs,
    /// Images in a batch
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// The part of the data to measure on [default: test, or all images of other data that has no parts]
    #[arg(long, value_enum)]
    part: Option<PartName>,
    /// Print a JSON object: loss, top1, top5, samples, of (which images), classes (name, support and, where there are images of the
    /// class, precision, recall, f1), confusion (a row for each class, a column for each prediction) and skipped (the images
    /// that cannot be read)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

/// Up to so many classes the whole confusion matrix is printed; of more, what was confused most often.
const WHOLE: usize = 12;

pub(crate) fn run(args: &EvalArgs) -> Result<()> {
    let device = devices::open()?;
    let trained = args.weights.load(&device)?;
    let known = &trained.card.classes;
    let data = config::data_of_run(&args.data, &trained.path, args.part)?;
    let images = data.resolve(trained.card.input).open(Some(known))?;
    let (test, which) = images.part(args.part);
    let feed = Feed::new(&device).batch(args.batch as usize).workers(images.workers).unreadable(images.unreadable);
    let evaluation = evaluate(&*trained.model, test, &feed.normalize(trained.normalize));
    let evaluation = evaluation.map_err(|error| with_advice(error.into()))?;
    devices::keep_pipelines(&device);
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&in_json(&evaluation, &which, known))?)?;
    } else {
        print(&mut out, &evaluation, &which, known)?;
    }
    Ok(())
}

fn in_json(evaluation: &Evaluation, which: &str, names: &[String]) -> Value {
    let classes = names.iter().zip(evaluation.confusion.per_class()).map(|(name, class)| {
        let ClassMetrics { precision, recall, f1, support } = class;
        match support {
            0 => json!({ "name": name, "support": 0 }),
            _ => json!({ "name": name, "precision": precision, "recall": recall, "f1": f1, "support": support }),
        }
    });
    let rows = evaluation.confusion.counts().chunks(evaluation.confusion.classes().max(1));
    json!({
        "loss": evaluation.loss,
        "top1": evaluation.top1,
        "top5": evaluation.top5,
        "samples": evaluation.samples,
        "of": which,
        "classes": classes.collect::<Vec<_>>(),
        "confusion": rows.collect::<Vec<_>>(),
        "skipped": evaluation.skipped.iter().map(|skipped| skipped.reason.as_str()).collect::<Vec<_>>(),
    })
}

fn print(out: &mut dyn Write, evaluation: &Evaluation, which: &str, names: &[String]) -> Result<()> {
    let percent = |part: f64| format!("{:.2} %", 100.0 * part);
    let top5 = evaluation.top5.map_or(String::new(), |top5| format!(", top-5 {}", percent(top5)));
    let (top1, loss) = (percent(evaluation.top1), evaluation.loss);
    let images = counted(evaluation.predictions.len(), "image");
    writeln!(out, "accuracy {top1}{top5}, loss {loss:.4}, on {images}: {which}\n")?;

    let row = |name: &str, class: &ClassMetrics| {
        // Of a class without images nothing was measured.
        let measures = [class.precision, class.recall, class.f1];
        let measures = measures.map(|part| if class.support == 0 { "-".to_string() } else { percent(part) });
        [name.to_string()].into_iter().chain(measures).chain([class.support.to_string()]).collect::<Vec<_>>()
    };
    let mut rows = vec![["class", "precision", "recall", "F1", "images"].map(String::from).to_vec()];
    rows.extend(names.iter().zip(evaluation.confusion.per_class()).map(|(name, class)| row(name, &class)));
    rows.push(row("mean of the classes", &evaluation.confusion.macro_average()));
    table::write(out, &[Side::Left, Side::Right, Side::Right, Side::Right, Side::Right], &rows)?;
    writeln!(out)?;
    confusion(out, evaluation, names)?;
    for skipped in &evaluation.skipped {
        writeln!(out, "left out: {}", skipped.reason)?;
    }
    Ok(())
}

fn confusion(out: &mut dyn Write, evaluation: &Evaluation, names: &[String]) -> Result<()> {
    let matrix = &evaluation.confusion;
    if names.len() <= WHOLE {
        writeln!(out, "rows: what it is; columns: what it was taken for")?;
        let heading = [String::new()].into_iter().chain(names.iter().cloned()).collect();
        let counted = |label: usize| (0..names.len()).map(move |predicted| matrix.count(label, predicted).to_string());
        let rows =
            names.iter().enumerate().map(|(label, name)| [name.clone()].into_iter().chain(counted(label)).collect());
        let rows: Vec<Vec<String>> = [heading].into_iter().chain(rows).collect();
        let sides: Vec<Side> =
            (0..=names.len()).map(|column| if column == 0 { Side::Left } else { Side::Right }).collect();
        table::write(out, &sides, &rows)?;
        return Ok(());
    }
    let pairs = (0..names.len()).flat_map(|label| (0..names.len()).map(move |predicted| (label, predicted)));
    let mut wrong: Vec<(u64, usize, usize)> = pairs
        .filter(|(label, predicted)| label != predicted)
        .map(|(label, predicted)| (matrix.count(label, predicted), label, predicted))
        .filter(|(count, ..)| *count > 0)
        .collect();
    wrong.sort_by_key(|&(count, label, predicted)| (std::cmp::Reverse(count), label, predicted));
    writeln!(out, "confused most often")?;
    let rows = wrong.iter().take(WHOLE).map(|&(count, label, predicted)| {
        vec![names[label].clone(), "taken for".to_string(), names[predicted].clone(), count.to_string()]
    });
    table::write(out, &[Side::Left, Side::Left, Side::Left, Side::Right], &rows.collect::<Vec<_>>())?;
    Ok(())
}
