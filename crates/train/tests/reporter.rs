//! What a run leaves for people: the report, the curves and the event file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod events;

use std::fs;
use std::path::{Path, PathBuf};

use events::{first, last_file, read_all, summary};
use kiln_autograd::Var;
use kiln_data::{Dataset, Splits};
use kiln_nn::{Build, Conv2d, Flatten, Init, Linear, Module, Result, Sgd, Visitor};
use kiln_tensor::Device;
use kiln_train::{
    CURVES_FILE, Error, Feed, Flow, Graph, Hook, Length, METRICS_FILE, Outcome, REPORT_FILE, Reporter, StepEnd,
    Stopped, TensorBoard, Trainer,
};

/// Names that would break out of a page that does not look at them.
const HOSTILE: &str = "</td><script>alert('x')</script>&amp;\" onload=\"x";
const UNICODE: &str = "قطة 猫 Kätzchen";

/// Images of 6x6 grey pixels whose left or right half is bright.
fn samples(n: usize) -> Dataset {
    let image = |index: usize| {
        (0..36).map(move |at| {
            let bright = (at % 6 < 3) == index.is_multiple_of(2);
            if bright { 160 + (index * 37 % 90) as u8 } else { (index * 53 % 120) as u8 }
        })
    };
    let images = (0..n).flat_map(image).collect();
    // Each eighth label is wrong, so that there are mistakes to show.
    let label = |index: usize| ((index + usize::from(index % 8 == 3)) % 2) as u32;
    Dataset::from_memory(images, [n, 1, 6, 6], (0..n).map(label).collect(), [HOSTILE, UNICODE]).unwrap()
}

struct Tiny {
    conv: Conv2d,
    head: Linear,
}

impl Tiny {
    fn new(device: &Device) -> Tiny {
        let init = Init::seed(5);
        Tiny {
            conv: Conv2d::builder(1, 4, 3).build(device, &init.child("conv")).unwrap(),
            head: Linear::new(device, &init.child("head"), 64, 2).unwrap(),
        }
    }
}

impl Module for Tiny {
    fn forward(&self, x: &Var) -> Result<Var> {
        let features = {
            let _layer = x.tape().layer("conv");
            self.conv.forward(x)?
        };
        let flat = Flatten.forward(&features)?;
        let _layer = x.tape().layer("head");
        self.head.forward(&flat)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.child("conv", &self.conv);
        v.child("head", &self.head);
    }
}

/// Ends the run before a step.
#[derive(Clone, Copy)]
enum Stop {
    Interrupt(u64),
    Fail(u64),
    /// It goes on with a last layer that is turned round: later epochs are worse.
    Spoil(u64),
}

impl Hook for Stop {
    fn before_step(&mut self, step: u64) -> kiln_train::Result<Flow> {
        match *self {
            Stop::Interrupt(at) if at == step => Ok(Flow::Interrupt),
            Stop::Fail(at) if at == step => Err(Error::hook("Stop", "as asked")),
            _ => Ok(Flow::Continue),
        }
    }

    fn wants_gradients(&self, step: u64) -> bool {
        matches!(*self, Stop::Spoil(at) if at == step)
    }

    fn after_backward(&mut self, end: &StepEnd<'_>) -> kiln_train::Result<()> {
        let parameters = end.model.parameters();
        let head = parameters.get("head.weight").unwrap();
        Ok(head.set(head.value().mul_scalar(-20.0)?)?)
    }
}

const CONFIG: &str = "model = \"tiny\"\nlr = 0.1\n";

/// Three epochs of eight steps into a folder, from its checkpoint if that is wanted.
fn try_run(folder: &Path, stop: Option<Stop>, resume: bool) -> kiln_train::Result<Outcome> {
    let device = Device::open_default().unwrap();
    let model = Tiny::new(&device);
    let data = Splits::new(samples(64), samples(32));
    let mut optim = Sgd::new(model.parameters(), 0.1).momentum(0.9);
    let board = TensorBoard::new(folder)
        .config(CONFIG)
        .graph(Graph::of(&model, &device, [1, 1, 6, 6]).unwrap())
        .training_images(&data.train)
        .mistakes(&data.test);
    let reporter = Reporter::new(folder, "tiny on halves")
        .config(CONFIG)
        .device(&device)
        .summary(kiln_nn::summary(&model, &device, [1, 1, 6, 6]).unwrap())
        .data(&data.test);
    let mut hooks = (board, reporter, stop);
    let trainer = Trainer::new(Length::Epochs(3)).seed(1).report_every(4).out(folder).resume(resume);
    trainer.run(&model, &mut optim, &data, &Feed::new(&device).batch(8), &mut hooks)
}

fn run(folder: &Path, stop: Option<Stop>) -> Outcome {
    try_run(folder, stop, false).unwrap()
}

/// What the report says under its heading.
fn state(folder: &Path) -> String {
    let html = fs::read_to_string(folder.join(REPORT_FILE)).unwrap();
    let line = html.split("<p class=\"faint\">").nth(1).unwrap();
    line.split("</p>").next().unwrap().to_string()
}

/// The step that the last event file starts at, and all steps of a tag in it.
fn events_of(folder: &Path, tag: &str) -> (i64, Vec<i64>) {
    let records = read_all(&fs::read(last_file(folder)).unwrap());
    let start = records.iter().map(|record| events::fields(record));
    let start = start.into_iter().find(|fields| fields.iter().any(|(field, _)| *field == 7)).unwrap();
    let of_values = records.iter().filter(|record| events::fields(record).iter().any(|(field, _)| *field == 5));
    let steps = of_values
        .map(|record| summary(record))
        .filter(|(_, values)| values.iter().any(|value| first(value, 1).text().starts_with(tag)));
    // A step of 0 is not written.
    let from = start.iter().find(|(field, _)| *field == 2).map_or(0, |(_, step)| step.int());
    (from, steps.map(|(step, _)| step).collect())
}

/// The folder named by `KILN_RUN_FOLDER`, to be looked at and for `check_events.py`; otherwise one that goes away.
fn folder() -> (PathBuf, Option<tempfile::TempDir>) {
    match std::env::var_os("KILN_RUN_FOLDER") {
        Some(folder) => (folder.into(), None),
        None => {
            let folder = tempfile::tempdir().unwrap();
            (folder.path().to_path_buf(), Some(folder))
        }
    }
}

#[test]
fn a_run_leaves_its_report_curves_and_events() {
    let (folder, _kept) = folder();
    let outcome = run(&folder, None);
    assert_eq!((outcome.steps, outcome.stopped, outcome.history.len()), (24, Stopped::Finished, 3));
    fs::write(folder.join("config.toml"), CONFIG).unwrap();
    assert_eq!(fs::read_to_string(folder.join(METRICS_FILE)).unwrap().lines().count(), 3);

    let html = fs::read_to_string(folder.join(REPORT_FILE)).unwrap();
    for section in
        ["Curves", "Confusion", "Classes", "Predictions", "Filters of the first layer", "Layers", "How it was made"]
    {
        assert!(html.contains(&format!("<h2>{section}</h2>")), "{section}");
    }
    assert!(html.contains("lr = 0.1") && html.contains("conv.weight") && html.contains("3 epochs, finished"));
    assert_eq!(html.matches("<svg").count(), 3);
    // Four filters, and of the 32 samples twelve right and all mistakes.
    let mistakes =
        outcome.best_evaluation.as_ref().unwrap().predictions.iter().filter(|p| p.label != p.predicted).count();
    assert!((1..=12).contains(&mistakes), "{mistakes}");
    assert_eq!(html.matches("<img src=\"data:image/png;base64,").count(), 4 + 12 + mistakes);
    // One network, nothing from elsewhere, no script.
    let lower = html.to_lowercase();
    assert!(!lower.contains("<script") && !lower.contains("src=\"http") && !lower.contains("href="));
    assert!(html.contains("&lt;/td&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;&quot; onload=&quot;x"));
    assert!(html.contains(UNICODE) && !html.contains("\" onload=\""));

    let svg = fs::read_to_string(folder.join(CURVES_FILE)).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("Accuracy") && svg.contains("<polyline"));
    // Three panels; loss and accuracy of training have a line each in its blue.
    assert!(svg.contains(r#"width="1080" height="250""#), "{}", &svg[..200]);
    assert_eq!(svg.lines().filter(|line| line.contains("<polyline") && line.contains("#0072B2")).count(), 2);

    let records = read_all(&fs::read(last_file(&folder)).unwrap());
    let mut tags: Vec<(String, i64)> = Vec::new();
    for record in records.iter().filter(|record| events::fields(record).iter().any(|(field, _)| *field == 5)) {
        let (step, values) = summary(record);
        tags.extend(values.iter().map(|value| (first(value, 1).text(), step)));
    }
    let steps =
        |tag: &str| -> Vec<i64> { tags.iter().filter(|(found, _)| found == tag).map(|(_, step)| *step).collect() };
    assert_eq!(steps("step/loss"), [4, 8, 12, 16, 20, 24]);
    assert_eq!(steps("accuracy/test"), [8, 16, 24]);
    assert_eq!(steps("weights/conv.weight"), [8, 16, 24]);
    assert_eq!(steps("gradients/head.bias"), [8, 16, 24]);
    assert_eq!(tags.iter().filter(|(tag, _)| tag.starts_with("training images/")).count(), 12);
    assert!(tags.iter().any(|(tag, _)| tag == &format!("training images/01 {UNICODE}")));
    assert!(tags.iter().any(|(tag, _)| tag.contains("__td__script_alert(_x_)")));
    assert!(!tags.iter().any(|(tag, _)| tag.contains(['<', '&', '\'', '"', '%'])));
    assert_eq!(tags.iter().filter(|(tag, _)| tag.starts_with("mistakes/")).count(), mistakes);
}

#[test]
fn an_interrupted_run_leaves_them_too() {
    let folder = tempfile::tempdir().unwrap();
    // Within the second epoch, and before the first one ends.
    for (stop, epochs) in [(12, "1 epoch, interrupted"), (2, "less than an epoch, interrupted")] {
        let outcome = run(folder.path(), Some(Stop::Interrupt(stop)));
        assert_eq!((outcome.steps, outcome.stopped), (stop, Stopped::Interrupted));
        let html = fs::read_to_string(folder.path().join(REPORT_FILE)).unwrap();
        assert!(html.contains(epochs), "{}", &html[html.find("<h1>").unwrap()..][..200]);
        assert!(fs::metadata(folder.path().join(CURVES_FILE)).unwrap().len() > 1000);
        assert!(read_all(&fs::read(last_file(folder.path())).unwrap()).len() > 3);
    }
}

#[test]
fn a_run_that_fails_leaves_the_report_of_its_last_epoch() {
    let folder = tempfile::tempdir().unwrap();
    // Of another run.
    fs::write(folder.path().join(CURVES_FILE), "old").unwrap();
    fs::write(folder.path().join(REPORT_FILE), "old").unwrap();
    assert!(try_run(folder.path(), Some(Stop::Fail(6)), false).is_err());
    assert!(!folder.path().join(REPORT_FILE).exists() && !folder.path().join(CURVES_FILE).exists());

    assert!(try_run(folder.path(), Some(Stop::Fail(20)), false).is_err());
    assert_eq!(state(folder.path()), "2 epochs of 3 so far");
    let html = fs::read_to_string(folder.path().join(REPORT_FILE)).unwrap();
    for section in ["Curves", "Confusion", "Predictions", "Filters of the first layer"] {
        assert!(html.contains(&format!("<h2>{section}</h2>")), "{section}");
    }
    assert!(fs::read_to_string(folder.path().join(CURVES_FILE)).unwrap().ends_with("</svg>\n"));
}

#[test]
fn a_resumed_run_shows_what_was_before() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    run(out, Some(Stop::Interrupt(8)));
    assert_eq!(state(out), "1 epoch, interrupted");
    assert_eq!(events_of(out, "loss/"), (0, vec![8]));
    assert_eq!(events_of(out, "mistakes/").1, [0; 0], "they are the end's");

    // Twice within an epoch: there is nothing new to show.
    for stop in [11, 13] {
        try_run(out, Some(Stop::Interrupt(stop)), true).unwrap();
        assert_eq!(state(out), "1 epoch, interrupted");
        assert!(fs::read_to_string(out.join(REPORT_FILE)).unwrap().contains("<h2>Confusion</h2>"));
    }
    // The numbers of the step that it goes on from stay: what is forgotten begins with the next.
    assert_eq!(events_of(out, "step/loss"), (12, vec![12]));

    let outcome = try_run(out, None, true).unwrap();
    assert_eq!((outcome.history.len(), state(out).as_str()), (3, "3 epochs, finished"));
    assert_eq!(events_of(out, "loss/"), (14, vec![16, 24]));
    let html = fs::read_to_string(out.join(REPORT_FILE)).unwrap();
    let rows = html.split("<tbody>").map(|body| body.split("</tbody>").next().unwrap().matches("<tr>").count());
    assert!(rows.into_iter().any(|rows| rows == 3), "a row for each epoch");
}

/// The accuracy that the confusion matrix shows: the first table behind the curves' has the counts.
fn shown_accuracy(html: &str) -> f64 {
    let matrix = html.split("<table class=\"matrix\">").nth(1).unwrap().split("</table>").next().unwrap();
    let cells = matrix.split("<td").skip(2).map(|cell| cell.split('>').nth(1).unwrap().split('<').next().unwrap());
    let counts: Vec<f64> = cells.map(|cell| cell.parse().unwrap_or(0.0)).collect();
    assert_eq!(counts.len(), 4, "{matrix}");
    (counts[0] + counts[3]) / counts.iter().sum::<f64>()
}

#[test]
fn the_report_shows_the_best_epoch_also_when_that_was_before_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let whole = run(&folder.path().join("whole"), Some(Stop::Spoil(17)));
    let best = whole.best.unwrap();
    let (best_acc, last_acc) = (best.test_acc.unwrap(), whole.history[2].test_acc.unwrap());
    assert!(best.epoch < 3 && best_acc > last_acc, "{:?}", whole.history);
    // Resumed behind the best epoch, and the last one spoiled as before.
    let out = folder.path().join("out");
    run(&out, Some(Stop::Interrupt(17)));
    try_run(&out, Some(Stop::Spoil(17)), true).unwrap();
    for run in ["whole", "out"] {
        let html = fs::read_to_string(folder.path().join(run).join(REPORT_FILE)).unwrap();
        assert!(html.contains(&format!("the evaluation of epoch {}, the best", best.epoch)), "{run}");
        assert_eq!(shown_accuracy(&html), best_acc, "{run}");
        assert!(html.contains("<small>test set, epoch 3</small>"), "{run}: the last is told too");
    }
}
