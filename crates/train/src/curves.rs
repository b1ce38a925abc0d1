//! What the curves of a run show: loss, accuracy and learning rate.

use crate::error::Result;
use crate::hook::StepReport;
use crate::metrics::EpochMetrics;
use crate::plot::{INK, Line, Panel, TEST, TRAIN, Unit, panels_svg};

/// The file of a run's folder with the curves.
pub const CURVES_FILE: &str = "curves.svg";

/// The most points of a line over steps; more would not be seen.
const MOST_POINTS: usize = 1000;

/// Loss and accuracy of both sets by epoch and the learning rate by step, as the text of an SVG file. Without reports of steps, the
/// learning rate is that of the epochs.
///
/// ```
/// use kiln_train::{EpochMetrics, curves_svg};
/// let line = r#"{"epoch": 1, "step": 10, "lr": 0.1, "train_loss": 0.9, "train_acc": 0.7, "seconds": 1.5, "images_per_s": 400.0,
///     "skipped": 0, "memory": 1048576}"#;
/// let history: Vec<EpochMetrics> = vec![serde_json::from_str(line)?];
/// assert!(curves_svg(&history, &[])?.starts_with("<svg"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Drawing`](crate::Error::Drawing).
pub fn curves_svg(history: &[EpochMetrics], steps: &[StepReport]) -> Result<String> {
    panels_svg(&panels(history, steps))
}

pub(crate) fn panels(history: &[EpochMetrics], steps: &[StepReport]) -> [Panel; 3] {
    let over_epochs = |value: &dyn Fn(&EpochMetrics) -> Option<f64>| -> Vec<(f64, f64)> {
        history.iter().filter_map(|metrics| Some((metrics.epoch as f64, value(metrics)?))).collect()
    };
    let both = |train: Vec<(f64, f64)>, test: Vec<(f64, f64)>| {
        vec![Line { name: "train", color: TRAIN, points: train }, Line { name: "test", color: TEST, points: test }]
    };
    let loss = both(over_epochs(&|metrics| Some(metrics.train_loss)), over_epochs(&|metrics| metrics.test_loss));
    let accuracy = both(over_epochs(&|metrics| Some(metrics.train_acc)), over_epochs(&|metrics| metrics.test_acc));
    let (x, rate) = match steps {
        [] | [_] => ("epoch", over_epochs(&|metrics| Some(metrics.lr))),
        [first, ..] => {
            // Of a run that was resumed, the epochs tell what was before.
            let before = history.iter().filter(|metrics| metrics.step < first.step);
            let before = before.map(|metrics| (metrics.step as f64, metrics.lr));
            let shown = steps.iter().step_by(steps.len().div_ceil(MOST_POINTS));
            ("step", before.chain(shown.map(|report| (report.step as f64, report.lr))).collect())
        }
    };
    [
        Panel { title: "Loss", x: "epoch", unit: Unit::Plain, lines: loss },
        Panel { title: "Accuracy", x: "epoch", unit: Unit::Percent, lines: accuracy },
        Panel {
            title: "Learning rate",
            x,
            unit: Unit::Plain,
            lines: vec![Line { name: "", color: INK, points: rate }],
        },
    ]
}
