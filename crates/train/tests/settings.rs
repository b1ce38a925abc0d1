//! What each setting of a run does, held against the same thing done by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use kiln_autograd::{Tape, Var};
use kiln_data::{Dataset, Splits};
use kiln_nn::{
    AdamW, BatchNorm1d, Dropout, Ema, Entry, Flatten, Init, Linear, Module, ReLU, ReduceLrOnPlateau, Result, Schedule,
    Sequential, Sgd, Visitor, clip_grad_norm,
};
use kiln_tensor::ops::class_loss::CrossEntropyOptions;
use kiln_tensor::{Device, Tensor};
use kiln_train::{
    ConfusionMatrix, EarlyStopping, EpochEnd, EpochMetrics, Feed, Flow, Hook, Length, Measure, Outcome, StepEnd,
    StepReport, Stopped, ToDevice, Trainer, evaluate,
};

fn device() -> Device {
    Device::open_default().unwrap()
}

/// Images of 2x2 pixels whose brightness grows with the class, of so many classes, not evenly many of each.
fn samples(n: usize, classes: usize) -> Dataset {
    let label = |index: usize| (index * index) % classes;
    let pixel = |index: usize, place: usize| (label(index) * 31 + index * 7 % 29 + place * 5) as u8;
    let images = (0..n).flat_map(|index| (0..4).map(move |place| pixel(index, place))).collect();
    let labels = (0..n).map(|index| label(index) as u32).collect();
    Dataset::from_memory(images, [n, 1, 2, 2], labels, (0..classes).map(|class| class.to_string())).unwrap()
}

fn splits() -> Splits {
    Splits::new(samples(50, 3), samples(20, 3))
}

/// A linear classifier of whole images.
struct Classifier(Linear);

impl Classifier {
    fn new(device: &Device, classes: usize) -> Classifier {
        Classifier(Linear::new(device, &Init::seed(3), 4, classes).unwrap())
    }

    fn values(&self) -> Vec<f32> {
        let parameters = self.parameters();
        parameters.iter().flat_map(|(_, parameter)| parameter.value().to_vec::<f32>().unwrap()).collect()
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

/// The weights after a run, and what it came to.
fn run(trainer: &Trainer, batch: usize, data: &Splits, hooks: &mut dyn Hook) -> (Vec<f32>, Outcome) {
    let device = device();
    let model = Classifier::new(&device, 3);
    let mut optim = Sgd::new(model.parameters(), 0.5).momentum(0.9);
    let outcome = trainer.run(&model, &mut optim, data, &Feed::new(&device).batch(batch), hooks).unwrap();
    (model.values(), outcome)
}

fn assert_near(given: &[f32], expected: &[f32], within: f32) {
    assert_eq!(given.len(), expected.len());
    for (given, expected) in given.iter().zip(expected) {
        assert!((given - expected).abs() <= within, "{given}, expected {expected}");
    }
}

/// Keeps the reports.
#[derive(Default)]
struct Reports(Vec<StepReport>);

impl Hook for Reports {
    fn report(&mut self, report: &StepReport) -> kiln_train::Result<Flow> {
        self.0.push(*report);
        Ok(Flow::Continue)
    }
}

#[test]
fn batches_of_a_step_are_as_one_batch() {
    // 50 samples: 13 batches of 4 in groups of 3 are 5 steps, as 5 batches of 12; the last step has 2 samples in one batch.
    for weights in [None, Some([0.5f32, 3.0, 1.5])] {
        let trainer = Trainer::new(Length::Epochs(3)).seed(2).label_smoothing(0.1);
        let trainer = weights.map_or(trainer.clone(), |weights| trainer.class_weights(weights));
        let (expected, whole) = run(&trainer, 12, &splits(), &mut ());
        let (given, parts) = run(&trainer.clone().accumulate(3), 4, &splits(), &mut ());
        assert_eq!((parts.steps, whole.steps), (15, 15));
        assert_near(&given, &expected, 2e-6);
        for (parts, whole) in parts.history.iter().zip(&whole.history) {
            assert!((parts.train_loss - whole.train_loss).abs() < 1e-6);
            assert_eq!((parts.train_acc, parts.step), (whole.train_acc, whole.step));
        }
        // Groups that are cut otherwise train otherwise.
        let (other, _) = run(&trainer.accumulate(2), 4, &splits(), &mut ());
        assert!(other.iter().zip(&expected).any(|(other, expected)| (other - expected).abs() > 1e-3));
    }
}

#[test]
fn a_loop_of_ones_own_gives_the_same_bits() {
    let device = device();
    let data = splits();
    let trainer = Trainer::new(Length::Epochs(2)).seed(6).clip_norm(0.2).ema(0.8);
    let (with_trainer, outcome) = run(&trainer, 8, &data, &mut ());
    assert_ne!(run(&trainer.ema_warmup(false), 8, &data, &mut ()).0, with_trainer);

    let model = Classifier::new(&device, 3);
    let mut optim = Sgd::new(model.parameters(), 0.5).momentum(0.9);
    let mut ema = Ema::new(&model, 0.8).unwrap().warmup(true);
    let feed = Feed::new(&device).batch(8);
    let mut clipped = 0;
    for batch in feed.loader(&data.train).shuffle(6).epochs(2) {
        let (images, labels) = batch.unwrap().to(&device).unwrap();
        let loss = model.forward(&Tape::train().constant(images)).unwrap().cross_entropy(&labels).unwrap();
        let mut gradients = loss.backward().unwrap();
        let norm = clip_grad_norm(&model.parameters(), &mut gradients, 0.2, false).unwrap();
        clipped += usize::from(norm.item::<f32>().unwrap() > 0.2);
        optim.step(&gradients).unwrap();
        ema.update(&model).unwrap();
    }
    assert!(clipped > 2);
    let raw = model.values();
    ema.swap(&model).unwrap();
    // The model is left with the means, which were evaluated.
    assert_eq!(with_trainer, model.values());
    assert_ne!(raw, model.values());
    assert_eq!(outcome.evaluation.unwrap(), evaluate(&model, &data.test, &feed).unwrap());
}

#[test]
fn a_mean_of_few_steps_is_not_of_the_first_weights() {
    let trainer = Trainer::new(Length::Epochs(8)).seed(2);
    let loss = |trainer: &Trainer| run(trainer, 5, &splits(), &mut ()).1.evaluation.unwrap().loss;
    // 80 steps: of a constant decay, the first weights still count 0.999^80, which is 92 %.
    let [plain, warm, constant] =
        [loss(&trainer), loss(&trainer.clone().ema(0.999)), loss(&trainer.clone().ema(0.999).ema_warmup(false))];
    let device = device();
    let first = evaluate(&Classifier::new(&device, 3), &splits().test, &Feed::new(&device)).unwrap().loss;
    assert!(plain < 0.8 * first && warm < 0.5 * (plain + first), "{plain}, {warm}, {constant}, at first {first}");
    assert!(constant > warm + 0.3 * (first - plain), "{plain}, {warm}, {constant}, at first {first}");
}

#[test]
fn of_equally_accurate_epochs_the_lower_loss_is_the_better() {
    let epoch = |test: Option<(f64, f64)>, train: (f64, f64)| {
        let line = r#"{"epoch": 1, "step": 1, "lr": 0.1, "train_loss": 1, "train_acc": 0, "seconds": 1, "images_per_s": 1,
            "skipped": 0, "memory": 0}"#;
        let metrics: EpochMetrics = serde_json::from_str(line).unwrap();
        let (train_acc, train_loss) = train;
        let (test_acc, test_loss) = (test.map(|test| test.0), test.map(|test| test.1));
        EpochMetrics { train_acc, train_loss, test_acc, test_loss, ..metrics }
    };
    let tests = |measure: Measure, given: (f64, f64), best: (f64, f64)| {
        measure.improves(&epoch(Some(given), (0.0, 0.0)), &epoch(Some(best), (0.0, 0.0)))
    };
    // Accuracy and loss.
    let (right, sure, unsure) = ((1.0, 0.0), (0.9, 0.1), (0.9, 0.5));
    assert!(tests(Measure::TestAccuracy, sure, unsure) && !tests(Measure::TestAccuracy, unsure, sure));
    assert!(!tests(Measure::TestAccuracy, sure, sure), "the first of equals");
    assert!(tests(Measure::TestAccuracy, right, sure) && !tests(Measure::TestAccuracy, (0.8, 0.0), unsure));
    assert!(tests(Measure::TestLoss, (0.95, 0.1), sure) && !tests(Measure::TestLoss, (1.0, 0.2), sure));
    assert!(
        tests(Measure::TestAccuracy, sure, (0.9, f64::NAN)) && !tests(Measure::TestAccuracy, (0.9, f64::NAN), sure)
    );
    // An epoch that was not evaluated is never better.
    assert!(!Measure::TestAccuracy.improves(&epoch(None, right), &epoch(Some(unsure), unsure)));
    assert!(Measure::TrainAccuracy.improves(&epoch(None, sure), &epoch(None, unsure)));
}

#[test]
fn nothing_in_a_frozen_layer_moves() {
    let device = device();
    let model = Sequential::builder()
        .layer(Flatten)
        .layer(Linear::builder(4, 6))
        .layer(BatchNorm1d::builder(6))
        .layer(ReLU)
        .layer(Dropout::new(0.3).unwrap())
        .layer(Linear::builder(6, 3))
        .build(&device, &Init::seed(3))
        .unwrap();
    let bits = || {
        let of = |tensor: Tensor| tensor.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect();
        let entry = |(name, entry)| match entry {
            Entry::Parameter(parameter) => (name, of(parameter.value())),
            Entry::Buffer(buffer) => (name, of(buffer.value())),
            Entry::Count(count) => (name, vec![count.get() as u32]),
        };
        model.entries().into_iter().map(entry).collect::<BTreeMap<String, Vec<u32>>>()
    };
    // What it learned before, and what it must keep.
    let feed = Feed::new(&device).batch(10);
    let mut optim = AdamW::new(model.parameters(), 0.01).weight_decay(0.1);
    let trainer = Trainer::new(Length::Epochs(1)).ema(0.9).clip_norm(1.0);
    trainer.run(&model, &mut optim, &splits(), &feed, &mut ()).unwrap();
    let before = bits();
    assert_eq!(model.freeze("1").unwrap() + model.freeze("2").unwrap(), 4);
    // The same optimizer: it has moments of the frozen layers.
    trainer.run(&model, &mut optim, &splits(), &feed, &mut ()).unwrap();
    let after = bits();
    let moved: Vec<&str> = before.keys().filter(|name| before[*name] != after[*name]).map(String::as_str).collect();
    assert_eq!(moved, ["5.bias", "5.weight"]);
}

#[test]
fn clipping_bounds_what_the_optimizer_gets() {
    struct Gradients(Vec<Vec<f32>>);
    impl Hook for Gradients {
        fn wants_gradients(&self, step: u64) -> bool {
            step.is_multiple_of(2)
        }

        fn after_backward(&mut self, end: &StepEnd<'_>) -> kiln_train::Result<()> {
            assert!(end.step.is_multiple_of(2));
            let parameters = end.model.parameters();
            let values =
                parameters.iter().flat_map(|(_, p)| p.gradient(end.gradients).unwrap().to_vec::<f32>().unwrap());
            self.0.push(values.collect());
            Ok(())
        }
    }
    let gradients = |trainer: Trainer| {
        let mut hook = Gradients(Vec::new());
        run(&trainer, 10, &splits(), &mut (&mut hook, ()));
        hook.0
    };
    let norm = |values: &Vec<f32>| values.iter().map(|value| value * value).sum::<f32>().sqrt();
    let largest = |values: &Vec<f32>| values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let free = gradients(Trainer::new(Length::Epochs(1)));
    assert_eq!(free.len(), 3);
    assert!(norm(&free[0]) > 0.1 && largest(&free[0]) > 0.05);
    let short = gradients(Trainer::new(Length::Epochs(1)).clip_norm(0.1));
    assert!((norm(&short[0]) - 0.1).abs() < 1e-5 && short.iter().all(|values| norm(values) < 0.1 + 1e-5));
    let low = gradients(Trainer::new(Length::Epochs(1)).clip_value(0.05));
    assert!(largest(&low[0]) == 0.05 && low.iter().all(|values| largest(values) <= 0.05));
}

#[test]
fn smoothing_weights_and_mixing_change_the_loss_as_asked() {
    let device = device();
    let data = splits();
    let first = |trainer: &Trainer| {
        let mut reports = Reports::default();
        run(&trainer.clone().report_every(1), 10, &data, &mut reports);
        reports.0[0].loss
    };
    let one = || Trainer::new(Length::Steps(1)).seed(4);
    let by_hand = |mixed: bool, options: &CrossEntropyOptions| {
        let model = Classifier::new(&device, 3);
        let loader = data.train.loader(10).shuffle(4);
        let loader = if mixed { loader.mixup(1.0) } else { loader };
        let batch = loader.epochs(1).next().unwrap().unwrap();
        assert_eq!(batch.mix.is_some(), mixed);
        let (images, labels) = batch.to(&device).unwrap();
        let targets = if mixed { batch.probabilities(&device, 3).unwrap() } else { labels };
        let logits = model.forward(&Tape::eval().constant(images)).unwrap();
        f64::from(logits.cross_entropy_with(&targets, options).unwrap().item::<f32>().unwrap())
    };
    let plain = CrossEntropyOptions::default();
    let smooth = CrossEntropyOptions { label_smoothing: 0.2, ..plain.clone() };
    let weight = Some(Tensor::from_slice(&device, 3, &[0.1f32, 2.0, 1.0]).unwrap());
    let weighted = CrossEntropyOptions { weight, ..plain.clone() };
    let losses = [by_hand(false, &plain), by_hand(false, &smooth), by_hand(false, &weighted), by_hand(true, &smooth)];
    let given = [
        first(&one()),
        first(&one().label_smoothing(0.2)),
        first(&one().class_weights([0.1, 2.0, 1.0])),
        first(&one().label_smoothing(0.2).mixup(1.0)),
    ];
    for (given, expected) in given.iter().zip(&losses) {
        assert!((given - expected).abs() < 1e-6, "{given}, expected {expected}");
    }
    assert!(losses.iter().enumerate().all(|(i, a)| losses[..i].iter().all(|b| (a - b).abs() > 1e-4)), "{losses:?}");
    // Evaluations are plain cross-entropy.
    let (_, outcome) = run(&one().label_smoothing(0.5), 10, &data, &mut ());
    let device_model = Classifier::new(&device, 3);
    assert_eq!(
        outcome.evaluation.unwrap().samples,
        evaluate(&device_model, &data.test, &Feed::new(&device)).unwrap().samples
    );
    // Cut-out parts as well.
    assert!(first(&one().cutmix(1.0)).is_finite() && first(&one().cutmix(1.0)) != first(&one().mixup(1.0)));

    let told = |trainer: Trainer| {
        let model = Classifier::new(&device, 3);
        let mut optim = Sgd::new(model.parameters(), 0.5);
        trainer.run(&model, &mut optim, &data, &Feed::new(&device), &mut ()).unwrap_err().to_string()
    };
    assert_eq!(told(one().label_smoothing(1.0)), "Trainer: label smoothing 1; pass a number from 0 to below 1");
    assert_eq!(
        told(one().class_weights([1.0, 0.0])),
        "Trainer: class weights [1.0, 0.0] for 3 classes; pass one for each, finite, at least 0 and not all 0"
    );
}

#[test]
fn a_plateau_lowers_what_the_schedule_starts_from() {
    // Never better by a half: every evaluation after the first is a bad one.
    let plateau = ReduceLrOnPlateau::new().patience(0).factor(0.5).threshold(0.9);
    let trainer = Trainer::new(Length::Epochs(4)).schedule(Schedule::Exponential { gamma: 0.5 });
    let trainer = trainer.reduce_lr_on_plateau(plateau, Measure::TestLoss);
    let (_, outcome) = run(&trainer, 25, &splits(), &mut ());
    // Two steps an epoch: the last ones are the steps 1, 3, 5 and 7.
    let rates: Vec<f64> = outcome.history.iter().map(|metrics| metrics.lr).collect();
    assert_eq!(rates, [0.5 / 2.0, 0.5 / 8.0, 0.25 / 32.0, 0.125 / 128.0]);
}

#[test]
fn a_run_that_gets_no_better_ends() {
    let early = EarlyStopping::new(2).min_delta(10.0);
    let (_, outcome) = run(&Trainer::new(Length::Epochs(9)).early_stopping(early), 25, &splits(), &mut ());
    assert_eq!((outcome.stopped, outcome.history.len(), outcome.steps), (Stopped::EarlyStopping, 3, 6));
    // Two epochs are looked at: 2 and 4.
    let early = EarlyStopping::new(1).min_delta(10.0);
    let trainer = Trainer::new(Length::Epochs(9)).early_stopping(early).evaluate_every(2);
    let (_, outcome) = run(&trainer, 25, &splits(), &mut ());
    assert_eq!((outcome.stopped, outcome.history.len()), (Stopped::EarlyStopping, 4));
    let evaluated: Vec<bool> = outcome.history.iter().map(|metrics| metrics.test_loss.is_some()).collect();
    assert_eq!(evaluated, [false, true, false, true]);
    // The last epoch is evaluated always.
    let (_, outcome) = run(&Trainer::new(Length::Epochs(3)).evaluate_every(2), 25, &splits(), &mut ());
    let evaluated: Vec<bool> = outcome.history.iter().map(|metrics| metrics.test_acc.is_some()).collect();
    assert_eq!(evaluated, [false, true, true]);
}

#[test]
fn without_a_test_set_the_training_loss_decides() {
    let (train, none) = samples(50, 3).split(1.0, 0).unwrap();
    let data = Splits::new(train, none);
    let (_, outcome) = run(&Trainer::new(Length::Epochs(3)), 25, &data, &mut ());
    assert!(outcome.evaluation.is_none() && outcome.history.iter().all(|metrics| metrics.test_loss.is_none()));
    let lowest = outcome.history.iter().map(|metrics| metrics.train_loss).fold(f64::INFINITY, f64::min);
    assert_eq!(outcome.best.unwrap().train_loss, lowest);
    let device = device();
    let model = Classifier::new(&device, 3);
    let mut optim = Sgd::new(model.parameters(), 0.5);
    let trainer = Trainer::new(Length::Epochs(3)).early_stopping(EarlyStopping::new(3));
    let error = trainer.run(&model, &mut optim, &data, &Feed::new(&device), &mut ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "early_stopping: TestLoss without a test set; pass one, or choose TrainLoss or TrainAccuracy"
    );
}

#[test]
fn every_hook_is_asked_and_the_strongest_wish_counts() {
    struct Wishes(Flow, u64);
    impl Hook for Wishes {
        fn epoch(&mut self, end: &EpochEnd<'_>) -> kiln_train::Result<Flow> {
            assert_eq!(end.evaluation.map(|evaluation| evaluation.loss), end.metrics.test_loss);
            self.1 += 1;
            Ok(self.0)
        }
    }
    let three = || Trainer::new(Length::Epochs(3));
    let mut hooks = vec![Wishes(Flow::Stop, 0), Wishes(Flow::Continue, 0)];
    let (_, outcome) = run(&three(), 25, &splits(), &mut hooks);
    assert_eq!((outcome.stopped, outcome.history.len()), (Stopped::Hook, 1));
    assert_eq!(hooks.iter().map(|hook| hook.1).collect::<Vec<_>>(), [1, 1]);
    let boxed: Box<dyn Hook> = Box::new(Wishes(Flow::Interrupt, 0));
    let mut hooks = (Wishes(Flow::Stop, 0), Some(boxed), None::<Wishes>, ());
    let (_, outcome) = run(&three(), 25, &splits(), &mut hooks);
    assert_eq!(outcome.stopped, Stopped::Interrupted);
}

#[test]
fn five_of_many_classes_and_what_was_predicted() {
    let device = device();
    let (model, data) = (Classifier::new(&device, 9), samples(40, 9));
    let evaluation = evaluate(&model, &data, &Feed::new(&device).batch(3)).unwrap();
    let (images, _) = data.loader(40).epochs(1).next().unwrap().unwrap().to(&device).unwrap();
    let logits = model.forward(&Tape::eval().constant(images)).unwrap().tensor().to_vec::<f32>().unwrap();
    let (mut right, mut five, mut matrix) = (0, 0, ConfusionMatrix::new(9));
    for (index, (prediction, row)) in evaluation.predictions.iter().zip(logits.chunks_exact(9)).enumerate() {
        let label = data.get(index).unwrap().label;
        let mut order: Vec<usize> = (0..9).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        assert_eq!((prediction.sample, prediction.label, prediction.predicted as usize), (index, label, order[0]));
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        let probability = |class: usize| f64::from(row[class]).exp() / sum;
        assert!((prediction.probability - probability(order[0])).abs() < 1e-12);
        assert!((prediction.label_probability - probability(label as usize)).abs() < 1e-12);
        assert!((prediction.loss + probability(label as usize).ln()).abs() < 1e-12);
        right += usize::from(order[0] == label as usize);
        five += usize::from(order[..5].contains(&(label as usize)));
        matrix.add(label as usize, order[0]).unwrap();
    }
    assert_eq!((evaluation.samples, evaluation.top1), (40, right as f64 / 40.0));
    assert_eq!(evaluation.top5, Some(five as f64 / 40.0));
    assert_eq!(evaluation.confusion, matrix);
    assert!(five > right && five < 40, "{right} and {five} of 40");
    // In training the same, on the same samples before the first step.
    let mut optim = Sgd::new(model.parameters(), 0.0);
    let splits = Splits::new(data.clone(), data);
    let trainer = Trainer::new(Length::Epochs(1));
    let outcome = trainer.run(&model, &mut optim, &splits, &Feed::new(&device).batch(7), &mut ()).unwrap();
    let metrics = &outcome.history[0];
    assert_eq!((metrics.train_acc, metrics.train_top5), (evaluation.top1, evaluation.top5));
    assert_eq!((metrics.test_acc, metrics.test_top5), (Some(evaluation.top1), evaluation.top5));
    assert!((metrics.train_loss - evaluation.loss).abs() < 1e-6);
}

#[test]
fn memory_stays_as_it_is_over_2000_steps() {
    struct Memory(Device, Vec<(u64, u64)>);
    impl Hook for Memory {
        fn before_step(&mut self, step: u64) -> kiln_train::Result<Flow> {
            if step.is_multiple_of(100) {
                let memory = self.0.memory();
                self.1.push((memory.in_use, memory.reserved));
            }
            Ok(Flow::Continue)
        }
    }
    let device = device();
    let model = Classifier::new(&device, 3);
    let mut optim = Sgd::new(model.parameters(), 0.01).momentum(0.9);
    let folder = tempfile::tempdir().unwrap();
    let trainer = Trainer::new(Length::Steps(2_000)).ema(0.99).clip_norm(1.0).checkpoint_every(150).out(folder.path());
    let mut memory = Memory(device.clone(), Vec::new());
    trainer.run(&model, &mut optim, &splits(), &Feed::new(&device).batch(10), &mut memory).unwrap();
    assert_eq!(memory.1.len(), 20);
    // Epochs of 5 steps: the sizes are read at the same place of an epoch each time.
    assert!(memory.1[2..].iter().all(|size| *size == memory.1[2]), "{:?}", memory.1);
}
