//! Batches on the GPU, evaluation, the training loop and its files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use kiln_autograd::Var;
use kiln_data::{Adjust, Classes, ColorJitter, Dataset, Image, Mix, Part, Source, Splits, Transforms, Unreadable};
use kiln_nn::{Flatten, Init, Linear, Module, Result, Schedule, Sgd, StateDict, StateFile, Visitor};
use kiln_tensor::{Device, Tensor};
use kiln_train::{
    BEST_FILE, EpochEnd, EpochMetrics, Error, Feed, Flow, FolderLock, Hook, Length, METRICS_FILE, ModelCard, Normalize,
    Outcome, Run, StepReport, Stopped, ToDevice, Trainer, WEIGHTS_FILE, evaluate,
};

fn device() -> Device {
    Device::open_default().unwrap()
}

/// Images of 2x2 pixels of two channels: class 1 is bright in the first channel, class 0 in the second.
fn samples(n: usize) -> Dataset {
    let image = |index: usize| {
        let bright = 150 + (index * 37 % 100) as u8;
        let dark = (index * 53 % 100) as u8;
        if index % 2 == 1 {
            [bright, bright, bright, bright, dark, dark, dark, dark]
        } else {
            [dark, dark, dark, dark, bright, bright, bright, bright]
        }
    };
    let images = (0..n).flat_map(image).collect();
    Dataset::from_memory(images, [n, 2, 2, 2], (0..n).map(|index| (index % 2) as u32).collect(), ["second", "first"])
        .unwrap()
}

fn splits() -> Splits {
    Splits::new(samples(50), samples(22))
}

/// A linear classifier of whole images.
struct Classifier(Linear);

impl Classifier {
    fn new(device: &Device) -> Classifier {
        Classifier(Linear::new(device, &Init::seed(3), 8, 2).unwrap())
    }
}

impl Module for Classifier {
    fn forward(&self, x: &Var) -> Result<Var> {
        self.0.forward(&Flatten.forward(x)?)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.child("linear", &self.0);
    }
}

#[test]
fn batches_are_normalised_on_the_gpu() {
    let device = device();
    let batch = samples(3).loader(3).epochs(1).next().unwrap().unwrap();
    let (images, labels) = batch.to(&device).unwrap();
    assert_eq!(labels.to_vec::<i32>().unwrap(), [0, 1, 0]);
    assert_eq!(images.dims::<4>().unwrap(), [3, 2, 2, 2]);
    for (pixel, byte) in images.to_vec::<f32>().unwrap().iter().zip(&batch.images) {
        assert!((pixel - f32::from(*byte) / 255.0).abs() < 1e-7);
    }
    let (mean, std) = ([0.25f32, 0.75], [0.5f32, 0.125]);
    let normalize = Normalize::new(&mean, &std).unwrap();
    let (images, _) = batch.to_normalized(&device, &normalize).unwrap();
    for (at, (pixel, byte)) in images.to_vec::<f32>().unwrap().iter().zip(&batch.images).enumerate() {
        let channel = at / 4 % 2;
        let expected = (f32::from(*byte) / 255.0 - mean[channel]) / std[channel];
        assert!((pixel - expected).abs() < 2e-6, "{pixel}, {expected}");
    }
}

#[test]
fn what_transforms_leave_is_done_on_the_gpu() {
    let device = device();
    let pixels: Vec<u8> = (0..2 * 3 * 16).map(|i| (i * 37 % 256) as u8).collect();
    let data = Dataset::from_memory(pixels, [2, 3, 4, 4], vec![0, 2], ["a", "b", "c"]).unwrap();
    let jitter = ColorJitter { brightness: 0.3, contrast: 0.3, saturation: 0.3, hue: 0.1 };
    let data = data.transforms(Transforms::new().color_jitter(jitter).lighting(0.1).random_erasing(0.5)).unwrap();
    let (mean, std) = ([0.5f32, 0.4, 0.3], [0.2f32, 0.25, 0.5]);
    let normalize = Normalize::new(&mean, &std).unwrap();
    let mut kinds = [0; 3];
    for batch in data.loader(2).shuffle(3).mixup(1.0).cutmix(1.0).epochs(12) {
        let batch = batch.unwrap();
        let seen = |image: usize, channel: usize, at: usize| {
            let Adjust { color, lighting, erase: [top, left, bottom, right] } = batch.adjust[image];
            if (top..bottom).contains(&(at as u32 / 4)) && (left..right).contains(&(at as u32 % 4)) {
                return 0.0;
            }
            let byte = |channel: usize| f32::from(batch.images[(image * 3 + channel) * 16 + at]) / 255.0;
            let [r, g, b, added] = color[channel];
            let value = (r * byte(0) + g * byte(1) + b * byte(2) + added).clamp(0.0, 1.0) + lighting[channel];
            (value - mean[channel]) / std[channel]
        };
        let (images, labels) = batch.to_normalized(&device, &normalize).unwrap();
        for (at, pixel) in images.to_vec::<f32>().unwrap().into_iter().enumerate() {
            let (image, channel, place) = (at / 48, at / 16 % 3, at % 16);
            let pasted = |[top, left, bottom, right]: [u32; 4]| {
                (top..bottom).contains(&(place as u32 / 4)) && (left..right).contains(&(place as u32 % 4))
            };
            let own = match batch.mix.unwrap() {
                Mix::Blend { own } => own,
                Mix::Paste { region, .. } => f32::from(u8::from(!pasted(region))),
            };
            let expected = own * seen(image, channel, place) + (1.0 - own) * seen(1 - image, channel, place);
            assert!((pixel - expected).abs() < 1e-5, "{pixel}, {expected}");
        }
        kinds[usize::from(matches!(batch.mix, Some(Mix::Blend { .. })))] += 1;
        kinds[2] += batch.adjust.iter().filter(|adjust| adjust.erase != [0; 4]).count();

        assert_eq!(labels.to_vec::<i32>().unwrap(), batch.labels.iter().map(|&label| label as i32).collect::<Vec<_>>());
        let own = batch.mix.unwrap().own();
        let first = if batch.labels[0] == 0 { [own, 0.0, 1.0 - own] } else { [1.0 - own, 0.0, own] };
        let second = [first[2], 0.0, first[0]];
        assert_eq!(batch.probabilities(&device, 3).unwrap().to_vec::<f32>().unwrap(), [first, second].concat());
    }
    assert!(kinds.iter().all(|&count| count > 2), "{kinds:?}");
}

#[test]
fn targets_are_probabilities() {
    let batch = samples(3).loader(3).epochs(1).next().unwrap().unwrap();
    let targets = batch.probabilities(&device(), 2).unwrap();
    assert_eq!(targets.to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
    assert_eq!(
        batch.probabilities(&device(), 1).unwrap_err().to_string(),
        "probabilities: label 1 with 1 class; pass the number of the dataset's classes"
    );
}

#[test]
fn normalising_is_checked() {
    let told = |mean: &[f32], std: &[f32]| Normalize::new(mean, std).unwrap_err().to_string();
    let needs = "needs one of each for every channel, finite, std above 0";
    assert_eq!(told(&[0.5], &[]), format!("Normalize: mean [0.5] and std []; {needs}"));
    assert_eq!(told(&[0.5], &[0.0]), format!("Normalize: mean [0.5] and std [0.0]; {needs}"));
    assert_eq!(told(&[f32::NAN], &[1.0]), format!("Normalize: mean [NaN] and std [1.0]; {needs}"));
    let batch = samples(1).loader(1).epochs(1).next().unwrap().unwrap();
    let grey = Normalize::new(&[0.5], &[0.5]).unwrap();
    assert_eq!(
        batch.to_normalized(&device(), &grey).unwrap_err().to_string(),
        "normalize_image: mean [0.5] and std [0.5] for 2 channels; needs one of each for every channel, finite, std above 0"
    );
}

#[test]
fn evaluation_weighs_every_sample_alike() {
    let device = device();
    let model = Classifier::new(&device);
    let whole = evaluate(&model, &samples(22), &Feed::new(&device).batch(22)).unwrap();
    // 22 in batches of 5: the last has 2.
    let parts = evaluate(&model, &samples(22), &Feed::new(&device).batch(5).workers(2)).unwrap();
    assert_eq!((parts.samples, parts.top1, &parts.confusion), (22, whole.top1, &whole.confusion));
    assert!((parts.loss - whole.loss).abs() < 1e-6, "{} in parts, {} as a whole", parts.loss, whole.loss);

    // By hand, on the processor.
    let (weight, bias) = (model.0.weight().value(), model.0.bias().unwrap().value());
    let (weight, bias) = (weight.to_vec::<f32>().unwrap(), bias.to_vec::<f32>().unwrap());
    let (mut loss, mut hits) = (0.0, 0);
    for index in 0..22 {
        let sample = samples(22).get(index).unwrap();
        let logit = |class: usize| {
            let pixels = sample.image.iter().zip(&weight[class * 8..]);
            pixels.map(|(&byte, &w)| f64::from(byte) / 255.0 * f64::from(w)).sum::<f64>() + f64::from(bias[class])
        };
        let logits = [logit(0), logit(1)];
        loss += (logits[0].exp() + logits[1].exp()).ln() - logits[sample.label as usize];
        hits += usize::from((logits[1] > logits[0]) == (sample.label == 1));
    }
    assert!((whole.loss - loss / 22.0).abs() < 1e-5, "{} and {}", whole.loss, loss / 22.0);
    assert_eq!(whole.top1, hits as f64 / 22.0);
    assert_eq!(whole.top5, None);
    let (none, _) = samples(4).split(0.0, 0).unwrap();
    assert_eq!(
        evaluate(&model, &none, &Feed::new(&device)).unwrap_err().to_string(),
        "evaluate: the dataset is empty; pass one with at least one sample"
    );
}

/// Keeps all that it is told.
#[derive(Default)]
struct Heard {
    runs: Vec<Run>,
    steps: Vec<u64>,
    reports: Vec<StepReport>,
    epochs: Vec<EpochMetrics>,
    bests: Vec<bool>,
    stopped: Option<Stopped>,
}

impl Hook for Heard {
    fn start(&mut self, run: &Run) -> kiln_train::Result<()> {
        self.runs.push(*run);
        Ok(())
    }

    fn before_step(&mut self, step: u64) -> kiln_train::Result<Flow> {
        self.steps.push(step);
        Ok(Flow::Continue)
    }

    fn report(&mut self, report: &StepReport) -> kiln_train::Result<Flow> {
        self.reports.push(*report);
        Ok(Flow::Continue)
    }

    fn epoch(&mut self, end: &EpochEnd<'_>) -> kiln_train::Result<Flow> {
        self.epochs.push(*end.metrics);
        self.bests.push(end.best);
        Ok(Flow::Continue)
    }

    fn finish(&mut self, outcome: &Outcome) -> kiln_train::Result<()> {
        self.stopped = Some(outcome.stopped);
        Ok(())
    }
}

#[test]
fn a_run_learns_reports_and_leaves_its_files() {
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("deep").join("run");
    let model = Classifier::new(&device);
    let mut optim = Sgd::new(model.parameters(), 0.5).momentum(0.9);
    let card = ModelCard {
        model: "classifier".into(),
        classes: ["second", "first"].into(),
        input: [2, 4, 4],
        mean: vec![0.5, 0.5],
        std: vec![0.25, 0.3],
    };
    let trainer = Trainer::new(Length::Epochs(4))
        .seed(1)
        .schedule(Schedule::cosine(2))
        .report_every(3)
        .out(&out)
        .metadata(card.to_metadata());
    let feed = Feed::new(&device).batch(8);
    let mut heard = Heard::default();
    let outcome = trainer.run(&model, &mut optim, &splits(), &feed, &mut heard).unwrap();
    let history = outcome.history;

    // 50 samples in batches of 8: 7 steps, reports after 3, 6, 7 | 9, 12, 14 | ...
    let run = Run {
        steps: 28,
        epochs: 4,
        steps_per_epoch: 7,
        done: 0,
        planned: 28,
        train_samples: 50,
        test_samples: 22,
        test_part: Part::Test,
    };
    assert_eq!(heard.runs, [run]);
    assert_eq!(heard.steps, (0..28).collect::<Vec<_>>());
    let reported: Vec<(u64, u64)> = heard.reports.iter().map(|report| (report.epoch, report.step)).collect();
    assert_eq!(
        reported,
        [(1, 3), (1, 6), (1, 7), (2, 9), (2, 12), (2, 14), (3, 15), (3, 18), (3, 21), (4, 24), (4, 27), (4, 28)]
    );
    assert_eq!((heard.stopped, outcome.stopped, outcome.steps), (Some(Stopped::Finished), Stopped::Finished, 28));
    assert_eq!(heard.epochs, history);
    assert!(heard.reports[0].lr > heard.reports[11].lr);
    assert_eq!(optim.lr(), 0.5);

    assert_eq!(history.iter().map(|metrics| metrics.epoch).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(history[3].train_loss < 0.5 * history[0].train_loss, "{history:?}");
    assert_eq!(history[3].test_acc, Some(1.0));
    let evaluated = evaluate(&model, &splits().test, &feed).unwrap();
    assert_eq!((Some(evaluated.loss), Some(evaluated.top1)), (history[3].test_loss, history[3].test_acc));
    assert_eq!(outcome.evaluation.as_ref(), Some(&evaluated));
    // Of the epochs with all right, the one with the lowest loss is the best.
    let all_right: Vec<usize> = (0..4).filter(|&epoch| history[epoch].test_acc == Some(1.0)).collect();
    let loss = |epoch: &&usize| history[**epoch].test_loss.unwrap();
    let best = *all_right.iter().min_by(|a, b| loss(a).total_cmp(&loss(b))).unwrap();
    assert!(best > all_right[0], "{history:?}");
    assert_eq!(outcome.best, Some(history[best]));
    assert_eq!(heard.bests.iter().rposition(|&best| best), Some(best));
    let of_best = outcome.best_evaluation.as_ref().unwrap();
    assert_eq!((Some(of_best.loss), Some(of_best.top1)), (history[best].test_loss, history[best].test_acc));

    let text = fs::read_to_string(out.join(METRICS_FILE)).unwrap();
    let lines: Vec<EpochMetrics> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, history);
    let first: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let keys: Vec<&str> = first.keys().map(String::as_str).collect();
    let mut expected = [
        "epoch",
        "step",
        "lr",
        "train_loss",
        "train_acc",
        "test_loss",
        "test_acc",
        "seconds",
        "images_per_s",
        "skipped",
        "memory",
    ];
    expected.sort();
    let mut keys = keys;
    keys.sort();
    assert_eq!(keys, expected);

    let weights = out.join(WEIGHTS_FILE);
    let file = StateFile::open(&weights).unwrap();
    assert_eq!(ModelCard::from_metadata(file.metadata()).unwrap(), Some(card));
    assert!(out.join(BEST_FILE).is_file());
    let loaded = Classifier::new(&device);
    loaded.load(&weights).unwrap();
    assert_eq!(evaluate(&loaded, &splits().test, &feed).unwrap(), evaluated);
}

#[test]
fn a_run_of_steps_ends_within_an_epoch_and_starts_its_files_anew() {
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(METRICS_FILE), "a line of an earlier run\n").unwrap();
    let model = Classifier::new(&device);
    let mut optim = Sgd::new(model.parameters(), 0.1);
    let trainer = Trainer::new(Length::Steps(10)).out(folder.path());
    let feed = Feed::new(&device).batch(8);
    let history = trainer.run(&model, &mut optim, &splits(), &feed, &mut ()).unwrap().history;
    assert_eq!(history.iter().map(|metrics| metrics.epoch).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(fs::read_to_string(folder.path().join(METRICS_FILE)).unwrap().lines().count(), 2);
}

#[test]
fn reports_do_not_change_the_result() {
    let device = device();
    let run = |every: u64, workers: usize| -> Vec<u32> {
        let model = Classifier::new(&device);
        let mut optim = Sgd::new(model.parameters(), 0.1).momentum(0.9);
        let trainer = Trainer::new(Length::Epochs(2)).seed(9).report_every(every);
        let feed = Feed::new(&device).batch(8).workers(workers);
        trainer.run(&model, &mut optim, &splits(), &feed, &mut ()).unwrap();
        model.0.weight().value().to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    assert_eq!(run(1, 1), run(100, 4));
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_with_its_step() {
    let device = device();
    let model = Classifier::new(&device);
    // A single weight of infinity after the second step: the third loss is the first that is not finite.
    struct Breaks<'a>(&'a Classifier);
    impl Hook for Breaks<'_> {
        fn before_step(&mut self, step: u64) -> kiln_train::Result<Flow> {
            if step == 2 {
                let weight = self.0.0.weight();
                let mut values = weight.value().to_vec::<f32>()?;
                values[0] = f32::NAN;
                weight.set(Tensor::from_slice(weight.value().device(), weight.shape(), &values)?)?;
            }
            Ok(Flow::Continue)
        }
    }
    let mut optim = Sgd::new(model.parameters(), 0.1);
    let trainer = Trainer::new(Length::Epochs(2)).report_every(5);
    let feed = Feed::new(&device).batch(8);
    let first = model.0.weight().value();
    let error = trainer.run(&model, &mut optim, &splits(), &feed, &mut Breaks(&model)).unwrap_err();
    assert!(matches!(error, Error::Diverged { step: 3, .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "training diverged: the loss of step 3 is NaN; use a smaller learning rate or a schedule with warm-up, and check that the \
         data holds what its labels say"
    );
    // The operation is named where that is asked for.
    model.0.weight().set(first).unwrap();
    let error =
        trainer.detect_anomaly(true).run(&model, &mut optim, &splits(), &feed, &mut Breaks(&model)).unwrap_err();
    assert!(error.to_string().contains("linear: the result f32 [8, 2] has NaN"), "{error}");
}

/// Samples of which every seventh cannot be read.
struct Torn(Dataset);

impl Source for Torn {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn label(&self, index: usize) -> u32 {
        (index % 2) as u32
    }

    fn read(&self, index: usize) -> kiln_data::Result<Image> {
        match index % 7 {
            3 => Err(kiln_data::Error::source(self.name(index), "torn")),
            _ => Image::planar([2, 2, 2], &self.0.get(index)?.image),
        }
    }
}

#[test]
fn what_was_left_out_is_told() {
    let device = device();
    let model = Classifier::new(&device);
    let mut optim = Sgd::new(model.parameters(), 0.1);
    let torn = Splits::new(Dataset::new(Torn(samples(20)), [2, 2, 2], ["second", "first"]).unwrap(), samples(4));
    let feed = Feed::new(&device).batch(8).unreadable(Unreadable::Skip);
    let outcome = Trainer::new(Length::Epochs(2)).run(&model, &mut optim, &torn, &feed, &mut ()).unwrap();
    let told: Vec<_> = outcome.skipped.iter().map(|skipped| (skipped.sample, skipped.reason.as_str())).collect();
    assert_eq!(told, [(3, "sample 3: torn"), (10, "sample 10: torn"), (17, "sample 17: torn")]);
}

#[test]
fn what_cannot_be_run_is_told_before_the_first_step() {
    let device = device();
    let model = Classifier::new(&device);
    let mut heard = Heard::default();
    let mut told = |data: &Splits, feed: Feed, trainer: Trainer| {
        let mut optim = Sgd::new(model.parameters(), 0.1);
        trainer.run(&model, &mut optim, data, &feed, &mut heard).unwrap_err().to_string()
    };
    let one = || Trainer::new(Length::Epochs(1));
    let feed = || Feed::new(&device);
    assert_eq!(told(&splits(), feed().batch(0), one()), "Trainer: batches of 0 samples; pass at least 1");
    assert_eq!(
        told(&splits(), feed(), Trainer::new(Length::Steps(0))),
        "Trainer: a run of 0 steps; pass at least one step or epoch"
    );
    let (none, _) = samples(4).split(0.0, 0).unwrap();
    assert_eq!(told(&Splits::new(none, samples(3)), feed(), one()), "Trainer: 0 training samples; needs at least one");
    assert_eq!(
        told(&splits(), feed().batch(50), one().schedule(Schedule::cosine(5))),
        "Schedule::Warmup: 5 steps of warm-up in a run of 1 steps; pass fewer, or train longer"
    );
    // A file where the folder should be.
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::write(&taken, "").unwrap();
    let error = told(&splits(), feed(), one().out(&taken));
    assert!(error.starts_with(&format!("{}: cannot make this folder: ", taken.display())), "{error}");
    assert!(error.ends_with("; choose another folder, or make room in it"), "{error}");
    // A folder that another run, of this process or another one, writes into.
    let shared = folder.path().join("shared");
    let lock = FolderLock::take(&shared).unwrap();
    fs::write(shared.join(WEIGHTS_FILE), "its weights").unwrap();
    let words = format!("another run (process {}) writes into this folder", std::process::id());
    for resume in [false, true] {
        let error = told(&splits(), feed(), one().out(&shared).resume(resume));
        let words = if cfg!(windows) { "another run writes into this folder" } else { &words };
        let words = format!("{}: {words}; wait until it is over, or choose another folder", shared.display());
        assert_eq!(error, words);
    }
    assert_eq!(fs::read(shared.join(WEIGHTS_FILE)).unwrap(), b"its weights");
    // With its lock, it may.
    let mut optim = Sgd::new(model.parameters(), 0.1);
    one().locked(lock).run(&model, &mut optim, &splits(), &feed(), &mut ()).unwrap();
    assert_eq!(StateFile::open(shared.join(WEIGHTS_FILE)).unwrap().names().count(), 2);
    // A folder where the file should be.
    fs::create_dir(folder.path().join(METRICS_FILE)).unwrap();
    let error = told(&splits(), feed(), one().out(folder.path()));
    assert!(error.contains("metrics.jsonl: cannot rename the temporary file to it: "), "{error}");
    assert!(heard.runs.is_empty() && heard.steps.is_empty());
}

#[test]
fn cards_that_are_not_understood_are_told() {
    let card =
        ModelCard { model: "m".into(), classes: ["a"].into(), input: [1, 2, 2], mean: vec![0.5], std: vec![0.5] };
    let mut text = card.to_metadata();
    text.insert("mean".into(), "half".into());
    assert_eq!(
        ModelCard::from_metadata(&text).unwrap_err().to_string(),
        "mean in the weights file is \"half\"; needs a JSON list of numbers: save the weights again with kiln train"
    );
    let mut text = card.to_metadata();
    text.insert("input".into(), "[1, 28]".into());
    assert_eq!(
        ModelCard::from_metadata(&text).unwrap_err().to_string(),
        "input in the weights file is \"[1, 28]\"; needs a JSON list of channels, height and width: save the weights again with \
         kiln train"
    );
    let mut text = card.to_metadata();
    text.remove("classes");
    assert_eq!(
        ModelCard::from_metadata(&text).unwrap_err().to_string(),
        "classes in the weights file is \"\"; needs a JSON list of names, or a number: save the weights again with kiln train"
    );
    text.remove("model");
    assert_eq!(ModelCard::from_metadata(&text).unwrap(), None);

    // Numbers that are names, and classes that have no names.
    for (classes, written) in [(Classes::from(["0", "1"]), r#"["0","1"]"#), (Classes::numbered(2), "2")] {
        let card = ModelCard { classes, ..card.clone() };
        assert_eq!(card.to_metadata()["classes"], written);
        assert_eq!(ModelCard::from_metadata(&card.to_metadata()).unwrap(), Some(card));
    }
}
