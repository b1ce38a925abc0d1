//! Runs that are interrupted, in every way there is, and go on as if they had not been.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kiln_data::{Dataset, FashionMnist, Image, Source, Splits};
use kiln_nn::{
    Adam, AdamW, BatchNorm1d, Dropout, Ema, Flatten, Init, Linear, Module, Optimizer, ReLU, ReduceLrOnPlateau,
    Schedule, Sequential, StateDict, StateFile,
};
use kiln_tensor::Device;
use kiln_train::{
    BEST_FILE, CHECKPOINT_FILE, Checkpoint, EarlyStopping, Error, Feed, Flow, Hook, Interrupt, Length, METRICS_FILE,
    Measure, Outcome, Result, Run, StepEnd, StepReport, Stopped, Trainer, WEIGHTS_FILE,
};

fn device() -> Device {
    Device::open_default().unwrap()
}

/// A network with all that has a state: batch norm has buffers and a count, dropout uses random numbers.
fn network(device: &Device) -> Sequential {
    Sequential::builder()
        .layer(Flatten)
        .layer(Linear::builder(784, 16))
        .layer(BatchNorm1d::builder(16))
        .layer(ReLU)
        .layer(Dropout::new(0.1).unwrap())
        .layer(Linear::builder(16, 10))
        .build(device, &Init::seed(5))
        .unwrap()
}

fn data() -> Splits {
    let data = FashionMnist::embedded().unwrap();
    Splits::new(data.train().split(0.024, 1).unwrap().0, data.test().split(0.03, 1).unwrap().0)
}

/// 240 samples in batches of 16 make 15 batches, of which two are a step: 8 steps an epoch, the last with one batch.
const STEPS_PER_EPOCH: u64 = 8;

/// Settings of all kinds that a run keeps something of.
fn trainer(epochs: u64, folder: &Path) -> Trainer {
    Trainer::new(Length::Epochs(epochs))
        .seed(3)
        .schedule(Schedule::Exponential { gamma: 0.999 })
        .reduce_lr_on_plateau(ReduceLrOnPlateau::new().patience(0).threshold(0.5).factor(0.7), Measure::TestLoss)
        .early_stopping(EarlyStopping::new(1000).measure(Measure::TestAccuracy))
        .label_smoothing(0.05)
        .mixup(0.3)
        .clip_norm(2.0)
        .accumulate(2)
        .ema(0.9)
        .report_every(3)
        .checkpoint_every(2)
        .config("epochs = 3")
        .out(folder)
}

/// What a whole run in this process comes to.
fn train(trainer: &Trainer, device: &Device, hooks: &mut dyn Hook) -> Result<Outcome> {
    let model = network(device);
    let mut optim = Adam::new(model.parameters(), 2e-3);
    trainer.run(&model, &mut optim, &data(), &Feed::new(device).batch(16).workers(2), hooks)
}

/// Stops before a step.
struct StopBefore(u64);

impl Hook for StopBefore {
    fn before_step(&mut self, step: u64) -> Result<Flow> {
        Ok(if step == self.0 { Flow::Stop } else { Flow::Continue })
    }
}

/// All tensors of a weights file but the checkpoint's own text, which has times.
fn tensors(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut file = StateFile::open(path).unwrap();
    let names: Vec<String> = file.names().filter(|name| *name != "checkpoint").map(String::from).collect();
    names.into_iter().map(|name| (name.clone(), file.bytes(&name).unwrap())).collect()
}

/// The lines of the metrics file without what was measured by a clock, or of this process's memory.
fn lines(folder: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(folder.join(METRICS_FILE)).unwrap();
    let line = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        for key in ["seconds", "images_per_s", "memory"] {
            assert!(line.as_object_mut().unwrap().remove(key).is_some(), "{line}");
        }
        line
    };
    text.lines().map(line).collect()
}

/// Holds the results of two runs against each other.
fn assert_same(folder: &Path, expected: &Path, when: &str) {
    for file in [CHECKPOINT_FILE, WEIGHTS_FILE, BEST_FILE] {
        let (given, expected) = (tensors(&folder.join(file)), tensors(&expected.join(file)));
        assert_eq!(given.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{file}, {when}");
        for (name, bytes) in &given {
            assert!(*bytes == expected[name], "{name} of {file} differs, {when}");
        }
    }
    assert_eq!(lines(folder), lines(expected), "{when}");
    let mut left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    // The lock's file stays, for the next run to lock.
    left.retain(|name| name != ".kiln.lock");
    assert_eq!(left.len(), 4, "{left:?}");
}

#[test]
fn a_run_goes_on_to_the_bit_from_any_step() {
    let (device, folder) = (device(), tempfile::tempdir().unwrap());
    let whole = folder.path().join("whole");
    let expected = train(&trainer(3, &whole), &device, &mut ()).unwrap();
    assert_eq!((expected.steps, expected.stopped), (3 * STEPS_PER_EPOCH, Stopped::Finished));
    // Within an epoch on and off a checkpoint's step, before, at and behind an epoch's end, before the last step.
    for stop in [1, 4, 7, 8, 9, 15, 23] {
        let out = folder.path().join(format!("stopped-{stop}"));
        let stopped = train(&trainer(3, &out), &device, &mut StopBefore(stop)).unwrap();
        assert_eq!((stopped.steps, stopped.stopped), (stop, Stopped::Hook));
        assert_eq!(Checkpoint::open(out.join(CHECKPOINT_FILE), &device).unwrap().step(), stop);
        // As a process that was killed behind the epoch's line leaves it.
        fs::write(out.join(METRICS_FILE), "a line that the checkpoint does not know\n").unwrap();
        fs::write(out.join(".kiln-killed.tmp"), "half a checkpoint").unwrap();
        let resumed = train(&trainer(3, &out).resume(true), &device, &mut ()).unwrap();
        assert_same(&out, &whole, &format!("stopped before step {stop}"));
        assert_eq!(resumed.evaluation, expected.evaluation);
        assert_eq!(resumed.best.map(|best| best.epoch), expected.best.map(|best| best.epoch));
        assert_eq!(resumed.history.len(), 3);
    }
    // One that is over has nothing left to do, and still says how good it is.
    let over = train(&trainer(3, &whole).resume(true), &device, &mut ()).unwrap();
    assert_eq!(
        (over.stopped, over.history, over.evaluation),
        (expected.stopped, expected.history, expected.evaluation)
    );
    // It may be longer: the schedule is the same so far.
    let longer = train(&trainer(4, &whole).resume(true), &device, &mut ()).unwrap();
    let straight = folder.path().join("straight");
    train(&trainer(4, &straight), &device, &mut ()).unwrap();
    assert_eq!(longer.history.len(), 4);
    assert_same(&whole, &straight, "made longer");
}

/// The reads after which the test images fail for once; every evaluation reads each of them.
static UNTIL_FAILURE: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Images of which one cannot be read for a moment.
struct Failing(Dataset);

impl Source for Failing {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.0.get(index).map_or(0, |sample| sample.label)
    }

    fn read(&self, index: usize) -> kiln_data::Result<Image> {
        if UNTIL_FAILURE.fetch_sub(1, Ordering::Relaxed) == 0 {
            return Err(kiln_data::Error::source(self.name(index), "not now"));
        }
        Image::planar(self.0.shape(), &self.0.get(index)?.image)
    }
}

#[test]
fn an_evaluation_that_fails_loses_no_step() {
    let (device, folder) = (device(), tempfile::tempdir().unwrap());
    let (whole, out) = (folder.path().join("whole"), folder.path().join("failed"));
    let expected = train(&trainer(2, &whole), &device, &mut ()).unwrap();
    let test = data().test;
    let classes = test.classes().clone();
    let failing = Splits { test: Dataset::new(Failing(test), [1, 28, 28], classes).unwrap(), ..data() };
    let run = |trainer: &Trainer| {
        let model = network(&device);
        let mut optim = Adam::new(model.parameters(), 2e-3);
        trainer.run(&model, &mut optim, &failing, &Feed::new(&device).batch(16).workers(2), &mut ())
    };
    // In the evaluation of the first epoch, and, after that was made up for, in that of the second.
    for (epoch, reads) in [(1, 20), (2, failing.test.len() + 20)] {
        UNTIL_FAILURE.store(reads, Ordering::Relaxed);
        assert!(run(&trainer(2, &out).resume(true)).unwrap_err().to_string().ends_with(": not now"));
        assert_eq!(Checkpoint::open(out.join(CHECKPOINT_FILE), &device).unwrap().step(), epoch * STEPS_PER_EPOCH);
        assert_eq!(lines(&out).len() as u64, epoch - 1);
    }
    UNTIL_FAILURE.store(usize::MAX, Ordering::Relaxed);
    let resumed = run(&trainer(2, &out).resume(true)).unwrap();
    assert_eq!((resumed.steps, resumed.evaluation), (expected.steps, expected.evaluation));
    assert_same(&out, &whole, "two evaluations failed");
}

#[test]
fn without_a_checkpoint_a_run_starts_and_without_resume_it_starts_anew() {
    struct Done(Vec<u64>);
    impl Hook for Done {
        fn start(&mut self, run: &Run) -> Result<()> {
            self.0.push(run.done);
            Ok(())
        }
    }
    let (device, folder) = (device(), tempfile::tempdir().unwrap());
    let mut done = Done(Vec::new());
    train(&trainer(1, folder.path()).resume(true), &device, &mut (StopBefore(3), &mut done)).unwrap();
    train(&trainer(1, folder.path()).resume(true), &device, &mut done).unwrap();
    assert!(folder.path().join(WEIGHTS_FILE).exists() && folder.path().join(BEST_FILE).exists());
    train(&trainer(1, folder.path()), &device, &mut (StopBefore(0), &mut done)).unwrap();
    assert_eq!(done.0, [0, 3, 0]);
    assert_eq!(Checkpoint::open(folder.path().join(CHECKPOINT_FILE), &device).unwrap().step(), 0);
    assert!(!folder.path().join(WEIGHTS_FILE).exists() && !folder.path().join(BEST_FILE).exists());
    assert_eq!(lines(folder.path()).len(), 0);
}

#[test]
fn a_checkpoint_of_another_run_is_told_by_what_differs() {
    let (device, folder) = (device(), tempfile::tempdir().unwrap());
    let out = folder.path();
    train(&trainer(2, out), &device, &mut StopBefore(3)).unwrap();
    let file = out.join(CHECKPOINT_FILE);
    let before = fs::read(&file).unwrap();
    let model = network(&device);
    let run = |trainer: &Trainer, model: &dyn Module, optim: &mut dyn Optimizer, batch: usize, data: &Splits| {
        let error = trainer.run(model, optim, data, &Feed::new(&device).batch(batch), &mut ()).unwrap_err();
        assert!(matches!(error, Error::OtherRun { .. }), "{error:?}");
        error.to_string()
    };
    let told = |what: &str, saved: &str, given: &str| {
        format!(
            "{} is of another run: {what} is {saved} there and {given} here; go on with the same settings, or train into another \
             folder",
            file.display()
        )
    };
    let adam = || Adam::new(model.parameters(), 2e-3);
    let trainer = trainer(2, out).resume(true);
    assert_eq!(run(&trainer.clone().seed(4), &model, &mut adam(), 16, &data()), told("the seed", "3", "4"));
    assert_eq!(run(&trainer, &model, &mut adam(), 8, &data()), told("the batch size", "16", "8"));
    let rate = &mut Adam::new(model.parameters(), 1e-3);
    assert_eq!(run(&trainer, &model, rate, 16, &data()), told("the learning rate", "0.002", "0.001"));
    let kind = &mut AdamW::new(model.parameters(), 2e-3);
    let [adam_text, adamw_text] = [
        "Adam(betas=[0.9, 0.999], eps=0.00000001, weight_decay=0)",
        "AdamW(betas=[0.9, 0.999], eps=0.00000001, weight_decay=0.01)",
    ];
    assert_eq!(run(&trainer, &model, kind, 16, &data()), told("the optimizer", adam_text, adamw_text));
    let less = Splits { train: data().train.split(0.9, 0).unwrap().0, ..data() };
    assert_eq!(run(&trainer, &model, &mut adam(), 16, &less), told("the number of training samples", "240", "216"));
    let shorter = trainer.clone().checkpoint_every(1);
    let wide =
        Sequential::builder().layer(Flatten).layer(Linear::builder(784, 10)).build(&device, &Init::seed(5)).unwrap();
    let error = run(&shorter, &wide, &mut Adam::new(wide.parameters(), 2e-3), 16, &data());
    assert_eq!(error, told("the number of trained parameters", "6", "2"));
    let builder = Sequential::builder().layer(Flatten).layer(Linear::builder(784, 12)).layer(BatchNorm1d::builder(12));
    let narrow =
        builder.layer(ReLU).layer(Flatten).layer(Linear::builder(12, 10)).build(&device, &Init::seed(5)).unwrap();
    let error = run(&trainer, &narrow, &mut Adam::new(narrow.parameters(), 2e-3), 16, &data());
    assert_eq!(error, told("1.weight", "f32 [16, 784]", "f32 [12, 784]"));
    let plain = trainer.clone().ema_warmup(false);
    let told_of_ema = told("the EMA decay", "0.9 with warm-up", "0.9");
    assert_eq!(run(&plain, &model, &mut adam(), 16, &data()), told_of_ema);
    assert!(fs::read(&file).unwrap() == before, "a refused checkpoint is as it was");
}

/// Keeps the learning rate of each step, and how long the run was to be.
#[derive(Default)]
struct Rates(Vec<f64>, Vec<(u64, u64)>);

impl Hook for Rates {
    fn start(&mut self, run: &Run) -> Result<()> {
        self.1.push((run.planned, run.steps));
        Ok(())
    }

    fn report(&mut self, report: &StepReport) -> Result<Flow> {
        self.0.push(report.lr);
        Ok(Flow::Continue)
    }
}

#[test]
fn a_finished_run_is_made_longer_and_its_schedule_is_that_of_the_new_length() {
    let (device, folder) = (device(), tempfile::tempdir().unwrap());
    let run = |name: &str, schedule: &Schedule, length: Length| {
        let out = folder.path().join(name);
        Trainer::new(length).seed(3).schedule(schedule.clone()).accumulate(2).report_every(1).out(out).resume(true)
    };
    let schedules = [
        ("cosine", Schedule::cosine(2)),
        ("one-cycle", Schedule::one_cycle()),
        ("polynomial", Schedule::Polynomial { power: 1.0 }),
        ("step", Schedule::Step { step_size: 5, gamma: 0.5 }),
        ("multi-step", Schedule::MultiStep { milestones: vec![3, 12], gamma: 0.5 }),
    ];
    for (name, schedule) in schedules {
        let mut rates = Rates::default();
        let epochs = |epochs: u64| run(name, &schedule, Length::Epochs(epochs));
        let first = train(&epochs(1), &device, &mut rates).unwrap();
        let longer = train(&epochs(2), &device, &mut rates).unwrap();
        assert_eq!((first.steps, longer.steps, longer.history.len()), (8, 16, 2));
        assert_eq!(rates.1, [(8, 8), (8, 16)]);
        let expected = (0..16).map(|step| schedule.lr(2e-3, step, if step < 8 { 8 } else { 16 }));
        assert_eq!(rates.0, expected.collect::<Vec<_>>(), "{name}");
        let told = train(&epochs(1), &device, &mut ()).unwrap_err().to_string();
        let file = folder.path().join(name).join(CHECKPOINT_FILE);
        assert_eq!(
            told,
            format!(
                "Trainer: the run of {} has made 16 steps already, 8 are asked for, of which an epoch has 8; ask for more",
                file.display()
            )
        );
    }
    // A run that ended within an epoch: that goes on, with all of its samples in its line.
    let steps = |name: &str, steps: u64| run(name, &Schedule::Constant, Length::Steps(steps)).ema(0.9);
    let cut = train(&steps("cut", 11), &device, &mut ()).unwrap();
    assert_eq!((cut.history.len(), cut.history[1].step), (2, 11));
    train(&steps("cut", 21), &device, &mut ()).unwrap();
    train(&steps("cut", 24), &device, &mut ()).unwrap();
    train(&steps("straight", 24), &device, &mut ()).unwrap();
    assert_same(&folder.path().join("cut"), &folder.path().join("straight"), "made longer within an epoch");
}

/// Spoils the last layer at the end of a step, so that no later epoch is as good.
struct Spoils(u64);

impl Hook for Spoils {
    fn wants_gradients(&self, step: u64) -> bool {
        step == self.0
    }

    fn after_backward(&mut self, end: &StepEnd<'_>) -> Result<()> {
        let parameters = end.model.parameters();
        let weight = parameters.get("5.weight").unwrap();
        Ok(weight.set(weight.value().mul_scalar(-5.0)?)?)
    }
}

#[test]
fn the_best_epoch_keeps_its_evaluation_when_a_run_goes_on() {
    let (device, folder) = (device(), tempfile::tempdir().unwrap());
    let run = |name: &str| Trainer::new(Length::Epochs(3)).seed(3).accumulate(2).out(folder.path().join(name));
    let whole = train(&run("whole"), &device, &mut Spoils(10)).unwrap();
    assert_eq!(whole.best.unwrap().epoch, 1);
    assert!(whole.best_evaluation.is_some() && whole.best_evaluation != whole.evaluation);
    train(&run("out"), &device, &mut (Spoils(10), StopBefore(13))).unwrap();
    let resumed = train(&run("out").resume(true), &device, &mut ()).unwrap();
    assert_eq!(
        (resumed.best.map(|best| best.epoch), resumed.best_evaluation),
        (Some(1), whole.best_evaluation.clone())
    );
    assert_eq!(resumed.evaluation, whole.evaluation);
    assert_same(&folder.path().join("out"), &folder.path().join("whole"), "spoiled");
    // Weights of an epoch that the checkpoint does not know, as a kill between the two files leaves them, and none at all.
    let out = folder.path().join("out");
    fs::copy(out.join(WEIGHTS_FILE), out.join(BEST_FILE)).unwrap();
    assert_eq!(train(&run("out").resume(true), &device, &mut ()).unwrap().best_evaluation, None);
    fs::remove_file(out.join(BEST_FILE)).unwrap();
    assert_eq!(train(&run("out").resume(true), &device, &mut ()).unwrap().best_evaluation, None);
}

/// Small numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// The paths of all numbers of a JSON value.
fn numbers(value: &serde_json::Value, path: String, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Number(_) => found.push(path),
        serde_json::Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| numbers(value, format!("{path}/{at}"), found));
        }
        serde_json::Value::Object(map) => {
            map.iter().for_each(|(key, value)| numbers(value, format!("{path}/{key}"), found));
        }
        _ => {}
    }
}

#[test]
fn damaged_checkpoints_are_errors_and_never_panics() {
    let (device, folder) = (device(), tempfile::tempdir().unwrap());
    let out = folder.path();
    train(&trainer(2, out), &device, &mut StopBefore(9)).unwrap();
    let file = out.join(CHECKPOINT_FILE);
    let good = fs::read(&file).unwrap();
    let model = network(&device);
    let load = || -> Result<()> {
        let checkpoint = Checkpoint::open(&file, &device)?;
        checkpoint.load_model(&model)?;
        checkpoint.load_optimizer(&mut Adam::new(model.parameters(), 2e-3))?;
        checkpoint.load_ema(&mut Ema::new(&model, 0.9)?)
    };
    load().unwrap();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let expected = tensors(&file);
    // Without checksums, as earlier versions wrote it, it is read as it is.
    let mut text: serde_json::Value = serde_json::from_slice(&good[8..header]).unwrap();
    text["__metadata__"] = serde_json::json!({"kiln": r#"{"kiln_version":"0.1.0"}"#});
    let text = text.to_string().into_bytes();
    fs::write(&file, [&(text.len() as u64).to_le_bytes()[..], &text, &good[header..]].concat()).unwrap();
    load().unwrap();
    assert!(tensors(&file) == expected);

    let mut dice = Dice(1);
    for turn in 0..240 {
        let mut bytes = good.clone();
        match turn % 4 {
            0 => bytes.truncate(dice.below(good.len())),
            1 => bytes[dice.below(header)] ^= 1 << dice.below(8),
            2 => bytes[header + dice.below(good.len() - header)] ^= 1 << dice.below(8),
            // The text of the run's state, which is at the end.
            _ => bytes[good.len() - 1 - dice.below(3_000)] ^= 1 << dice.below(8),
        }
        fs::write(&file, &bytes).unwrap();
        // Of a header, spaces for spaces: then everything is as it was.
        if load().is_ok() {
            assert!(turn % 4 == 1 && tensors(&file) == expected, "turn {turn} was not noticed");
        }
    }

    // The run's own numbers, each in turn, by what no run has.
    fs::write(&file, &good).unwrap();
    let whole = Checkpoint::open(&file, &device).unwrap();
    let state: serde_json::Value = whole.get("trainer").unwrap().unwrap();
    let mut places = Vec::new();
    numbers(&state, String::new(), &mut places);
    assert!(places.len() > 25, "{places:?}");
    let mut refused = 0;
    for (turn, place) in places.iter().enumerate() {
        let strange =
            [serde_json::json!(u64::MAX), serde_json::json!(-1), serde_json::json!(1e308), serde_json::json!("one")];
        // The largest number everywhere, the others in turn.
        for strange in [&strange[0], &strange[1 + turn % 3]] {
            let mut state = state.clone();
            *state.pointer_mut(place).unwrap() = strange.clone();
            fs::write(&file, &good).unwrap();
            Checkpoint::open(&file, &device).unwrap().put("trainer", &state).unwrap().save(&file).unwrap();
            match train(&trainer(2, out).resume(true), &device, &mut StopBefore(10)) {
                // What is plausible is believed.
                Ok(outcome) => assert!(outcome.steps <= 10, "{place} = {strange}"),
                Err(Error::Damaged { .. } | Error::OtherRun { .. }) => refused += 1,
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    assert!(2 * refused > places.len(), "{refused} of {}", places.len());
    // The error says what is wrong, and which weights are left.
    let told = || {
        let error = train(&trainer(2, out).resume(true), &device, &mut ()).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
        error.to_string()
    };
    let [best, last] = [BEST_FILE, WEIGHTS_FILE].map(|name| out.join(name));
    let start = format!("{} is damaged: ", file.display());
    let rest = "; go on from another checkpoint, or start a new run from the run's weights, which are whole: ";
    let cut = good.len() - 1;
    fs::write(&file, &good[..cut]).unwrap();
    let both = format!("{rest}{} or {}", best.display(), last.display());
    assert_eq!(told(), format!("{start}it holds {cut} bytes, its header declares {}{both}", good.len()));
    let mut bytes = good.clone();
    bytes[header] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let mut weights = fs::read(&best).unwrap();
    *weights.last_mut().unwrap() ^= 1;
    fs::write(&best, &weights).unwrap();
    let mismatch = told();
    assert!(mismatch.starts_with(&format!("{start}the tensor ")), "{mismatch}");
    assert!(mismatch.ends_with(&format!(" does not match its checksum{rest}{}", last.display())), "{mismatch}");
    for weights in [best, last] {
        fs::remove_file(weights).unwrap();
    }
    model.save(&file).unwrap();
    let other = told();
    assert!(
        other.ends_with("so it is no checkpoint of Kiln; go on from another checkpoint, or start again"),
        "{other}"
    );
}

#[test]
fn after_a_lost_device_a_new_one_goes_on_in_the_same_process() {
    struct Loses(Device, u64);
    impl Hook for Loses {
        fn before_step(&mut self, step: u64) -> Result<Flow> {
            if step == self.1 {
                self.0.destroy();
            }
            Ok(Flow::Continue)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    train(&trainer(2, &whole), &device(), &mut ()).unwrap();
    for lost_at in [3, 8, 13] {
        let device = device();
        let error = train(&trainer(2, &out).resume(true), &device, &mut Loses(device.clone(), lost_at)).unwrap_err();
        assert!(error.to_string().contains("is lost"), "{error}");
    }
    train(&trainer(2, &out).resume(true), &device(), &mut ()).unwrap();
    assert_same(&out, &whole, "lost three times");
}

#[test]
fn interrupted_by_ctrl_c_it_saves_and_goes_on() {
    struct Presses(u64);
    impl Hook for Presses {
        fn before_step(&mut self, step: u64) -> Result<Flow> {
            if step == self.0 {
                signal_hook::low_level::raise(signal_hook::consts::SIGINT).unwrap();
            }
            Ok(Flow::Continue)
        }
    }
    let (device, folder) = (device(), tempfile::tempdir().unwrap());
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    train(&trainer(2, &whole), &device, &mut ()).unwrap();
    // The order of the hooks decides whether the step is still made.
    for (press, done) in [(5, 5), (12, 12)] {
        let mut hooks = (Presses(press), Interrupt::new().unwrap());
        let outcome = train(&trainer(2, &out).resume(true), &device, &mut hooks).unwrap();
        assert_eq!((outcome.stopped, outcome.steps), (Stopped::Interrupted, done));
        assert!(hooks.1.asked());
    }
    train(&trainer(2, &out).resume(true), &device, &mut Interrupt::new().unwrap()).unwrap();
    assert_same(&out, &whole, "interrupted twice");
}

/// Asks this test program to run one of its ignored tests in a process of its own.
fn child(test: &str, out: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env("KILN_TEST_OUT", out);
    command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn child_out() -> std::path::PathBuf {
    std::env::var_os("KILN_TEST_OUT").expect("run by another test").into()
}

/// Tells where it started once its kernels are compiled, and takes its time.
#[derive(Default)]
struct Paced {
    start: u64,
}

impl Hook for Paced {
    fn start(&mut self, run: &Run) -> Result<()> {
        self.start = run.done;
        Ok(())
    }

    fn before_step(&mut self, step: u64) -> Result<Flow> {
        if step == self.start + 1 {
            println!("\nstarted at {}", self.start);
        }
        std::thread::sleep(Duration::from_millis(1));
        Ok(Flow::Continue)
    }
}

/// More than the killed processes get to.
const LONG: u64 = 50;

#[test]
#[ignore = "run by killed_at_any_moment_it_goes_on_to_the_bit"]
fn killed_child() {
    train(&trainer(LONG, &child_out()).resume(true), &device(), &mut Paced::default()).unwrap();
}

#[test]
fn killed_at_any_moment_it_goes_on_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    let mut dice = Dice(7);
    let mut starts = Vec::new();
    for _ in 0..20 {
        let mut process = child("killed_child", &out).spawn().unwrap();
        let mut reader = BufReader::new(process.stdout.take().unwrap()).lines().map_while(std::io::Result::ok);
        let start = reader.find_map(|line| line.strip_prefix("started at ")?.parse::<u64>().ok());
        starts.extend(start);
        std::thread::sleep(Duration::from_millis(dice.below(150) as u64));
        process.kill().unwrap();
        process.wait().unwrap();
    }
    assert_eq!(starts.len(), 20, "each process was killed after its start: {starts:?}");
    assert!(starts.is_sorted() && starts[19] > starts[0], "none goes back: {starts:?}");
    let outcome = train(&trainer(LONG, &out).resume(true), &device(), &mut ()).unwrap();
    assert_eq!((outcome.stopped, outcome.steps), (Stopped::Finished, LONG * STEPS_PER_EPOCH));
    train(&trainer(LONG, &whole), &device(), &mut ()).unwrap();
    assert_same(&out, &whole, &format!("killed 20 times, started at {starts:?}"));
}

/// Takes the folder away before a step, as a disk that is no longer there.
#[cfg(unix)]
struct Unplugs<'a>(u64, &'a Path, &'a Path);

#[cfg(unix)]
impl Hook for Unplugs<'_> {
    fn before_step(&mut self, step: u64) -> Result<Flow> {
        if step == self.0 {
            fs::rename(self.1, self.2).unwrap();
        }
        Ok(Flow::Continue)
    }
}

#[cfg(unix)]
#[test]
fn a_write_that_fails_leaves_the_last_checkpoint() {
    let (device, folder) = (device(), tempfile::tempdir().unwrap());
    let [whole, out, away] = ["whole", "out", "away"].map(|name| folder.path().join(name));
    train(&trainer(2, &whole), &device, &mut ()).unwrap();
    let file = out.join(CHECKPOINT_FILE);
    for (step, last) in [(5, 4), (7, 6), (13, 12)] {
        let error = train(&trainer(2, &out).resume(true), &device, &mut Unplugs(step, &out, &away)).unwrap_err();
        assert!(matches!(error, Error::Nn(kiln_nn::Error::Io { .. })), "{error:?}");
        let told = error.to_string();
        assert!(told.starts_with(&out.display().to_string()) && told.contains(": cannot write a temporary"), "{told}");
        fs::rename(&away, &out).unwrap();
        assert_eq!(Checkpoint::open(&file, &device).unwrap().step(), last);
    }
    train(&trainer(2, &out).resume(true), &device, &mut ()).unwrap();
    assert_same(&out, &whole, "with the disk back");
}

#[test]
#[ignore = "run by a_second_ctrl_c_stops_at_once"]
fn child_of_two_signals() {
    let interrupt = Interrupt::new().unwrap();
    signal_hook::low_level::raise(signal_hook::consts::SIGINT).unwrap();
    println!("\nasked: {}", interrupt.asked());
    signal_hook::low_level::raise(signal_hook::consts::SIGINT).unwrap();
    println!("still here");
}

#[test]
fn a_second_ctrl_c_stops_at_once() {
    let mut process = child("child_of_two_signals", Path::new("")).spawn().unwrap();
    let mut said = String::new();
    process.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("asked: true") && !said.contains("still here"), "{said}");
}
