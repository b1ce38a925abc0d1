//! `report.html`: a run on one page, which needs no network and no script.

mod classes;
mod confusion;
mod html;
mod pictures;
mod words;

use kiln_data::{Dataset, Part, Skipped};
use kiln_nn::Summary;

pub use pictures::Filters;

use crate::curves;
use crate::error::Result;
use crate::evaluation::Evaluation;
use crate::hook::StepReport;
use crate::metrics::EpochMetrics;
use crate::outcome::Stopped;
use html::Html;
use words::{bytes, count, counted, decimals, duration, percent};

/// The file of a run's folder with the report.
pub const REPORT_FILE: &str = "report.html";

/// The most samples that could not be read whose names are shown.
const MOST_SKIPPED: usize = 50;

/// All that a report tells, as plain data: it can be made after any training loop. What is empty or `None` is left out.
///
/// ```
/// use kiln_train::HtmlReport;
/// let report = HtmlReport { title: "lenet5 on <my> data", config: "epochs = 3", ..HtmlReport::default() };
/// let html = report.html()?;
/// assert!(html.contains("<h1>lenet5 on &lt;my&gt; data</h1>"));
/// # Ok::<(), kiln_train::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct HtmlReport<'a> {
    /// The heading: model and data.
    pub title: &'a str,
    /// The metrics of all epochs.
    pub history: &'a [EpochMetrics],
    /// The best epoch.
    pub best: Option<EpochMetrics>,
    /// Reports within epochs: the learning rate by step.
    pub steps: &'a [StepReport],
    /// Why the run ended; `None` while it goes on.
    pub stopped: Option<Stopped>,
    /// The epochs that it was to have.
    pub planned: Option<u64>,
    /// The evaluation that is shown: confusion matrix, classes, predictions. [`Reporter`](crate::Reporter) passes that of the
    /// best epoch.
    pub evaluation: Option<&'a Evaluation>,
    /// The epoch whose weights were evaluated, from 1.
    pub evaluated: Option<u64>,
    /// The evaluated dataset: names of the classes, and pictures.
    pub data: Option<&'a Dataset>,
    /// Which part it is; `None`: the test part.
    pub part: Option<Part>,
    /// The weights of the first layer.
    pub filters: Option<&'a Filters>,
    /// The layers.
    pub summary: Option<&'a Summary>,
    /// The configuration as text.
    pub config: &'a str,
    /// The adapter that computed.
    pub adapter: &'a str,
    /// Training samples that could not be read.
    pub skipped: &'a [Skipped],
}

impl HtmlReport<'_> {
    /// The page.
    ///
    /// # Errors
    /// [`Error::Drawing`](crate::Error::Drawing) for a picture that cannot be encoded, those of the data for one that cannot be
    /// read again.
    pub fn html(&self) -> Result<String> {
        let mut html = Html::default();
        html.markup("<!doctype html>\n");
        html.open("html", &[("lang", "en")]);
        html.markup("<head>");
        html.open("meta", &[("charset", "utf-8")]);
        html.open("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
        // Nothing is loaded, whatever a class is called.
        let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
        html.open("meta", &[("http-equiv", "Content-Security-Policy"), ("content", policy)]);
        html.leaf("title", &[], self.title);
        html.markup("<style>");
        html.markup(include_str!("style.css"));
        html.markup("</style></head>\n<body><main>\n");
        self.head(&mut html);
        if !self.history.is_empty() {
            self.curves(&mut html)?;
        }
        if let Some(evaluation) = self.evaluation {
            let name = |class: u32| self.class_name(class);
            html.leaf("p", &[("class", "faint")], &self.shown(evaluation));
            // A matrix of few classes leaves room beside it.
            let pair = if evaluation.confusion.classes() <= 11 { "pair" } else { "" };
            html.tag("div", &[("class", pair)], |html| {
                html.tag("section", &[], |html| confusion::section(html, &evaluation.confusion, &name));
                html.tag("section", &[], |html| classes::section(html, &evaluation.confusion, &name));
            });
            if let Some(data) = self.data {
                pictures::predictions(&mut html, evaluation, data, &name)?;
            }
        }
        pictures::filters(&mut html, self.filters)?;
        self.layers(&mut html);
        self.facts(&mut html);
        html.markup("</main></body></html>\n");
        Ok(html.into_string())
    }

    /// What the tables and pictures are of.
    fn shown(&self, evaluation: &Evaluation) -> String {
        let part = self.part.unwrap_or(Part::Test);
        let of = match self.evaluated {
            Some(epoch) if self.best.is_some_and(|best| best.epoch == epoch) => format!(" of epoch {epoch}, the best"),
            Some(epoch) => format!(" of epoch {epoch}, the last that was evaluated"),
            None => String::new(),
        };
        format!(
            "The tables and pictures below show the evaluation{of}: {}.",
            counted(evaluation.samples, &format!("{part} sample"))
        )
    }

    fn class_name(&self, class: u32) -> String {
        self.data.and_then(|data| data.class_name(class)).map_or_else(|| format!("class {class}"), str::to_string)
    }

    /// The title, a sentence and the numbers that one looks for first.
    fn head(&self, html: &mut Html) {
        html.leaf("h1", &[], self.title);
        let ended = match self.stopped {
            // A run that was killed looks like this too.
            None => self.planned.map_or_else(String::new, |planned| format!(" of {planned} so far")),
            Some(Stopped::Finished) => ", finished".to_string(),
            Some(Stopped::EarlyStopping) => ", stopped early: there was no further improvement".to_string(),
            Some(Stopped::Interrupted) => ", interrupted".to_string(),
            Some(Stopped::Hook) => ", stopped by a hook".to_string(),
        };
        let epochs = self.history.last().map_or(0, |last| last.epoch);
        let trained = match epochs {
            0 => "less than an epoch".to_string(),
            epochs => counted(epochs, "epoch"),
        };
        if self.stopped.is_some() || epochs > 0 {
            html.leaf("p", &[("class", "faint")], &format!("{trained}{ended}"));
        }
        let part = self.part.unwrap_or(Part::Test);
        let mut tiles: Vec<(&str, String, String)> = Vec::new();
        if let Some((best, accuracy)) = self.best.and_then(|best| Some((best, best.test_acc?))) {
            tiles.push(("Best accuracy", percent(accuracy), format!("{part} set, epoch {}", best.epoch)));
        }
        let last = self.history.iter().rfind(|metrics| metrics.test_acc.is_some());
        if let Some((last, accuracy)) = last.and_then(|last| Some((last, last.test_acc?)))
            && self.best.is_none_or(|best| best.epoch != last.epoch)
        {
            tiles.push(("Last accuracy", percent(accuracy), format!("{part} set, epoch {}", last.epoch)));
        }
        if let Some(evaluation) = self.evaluation {
            let epoch = self.evaluated.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
            if self.best.is_none() && last.is_none() {
                tiles.push(("Accuracy", percent(evaluation.top1), format!("{part} set{epoch}")));
            }
            if let Some(top5) = evaluation.top5 {
                tiles.push(("Top-5 accuracy", percent(top5), format!("true class among the first five{epoch}")));
            }
            let what = if part == Part::Val { "Val loss" } else { "Test loss" };
            tiles.push((what, decimals(evaluation.loss), format!("nats per sample{epoch}")));
        }
        if let Some(last) = self.history.last() {
            let seconds = self.history.iter().map(|metrics| metrics.seconds).sum();
            tiles.push(("Time", duration(seconds), counted(last.step, "step")));
            tiles.push(("Speed", count(last.images_per_s.round() as u64), "images per second".to_string()));
        }
        if let Some(summary) = self.summary {
            let trainable = format!("{} trainable", count(summary.trainable as u64));
            tiles.push(("Parameters", count(summary.parameters as u64), trainable));
        }
        html.tag("dl", &[("class", "tiles")], |html| {
            for (what, value, detail) in &tiles {
                html.tag("div", &[], |html| {
                    html.leaf("dt", &[], what);
                    html.tag("dd", &[], |html| {
                        html.text(value);
                        html.leaf("small", &[], detail);
                    });
                });
            }
        });
    }

    fn curves(&self, html: &mut Html) -> Result<()> {
        html.leaf("h2", &[], "Curves");
        let drawn = curves::panels(self.history, self.steps).map(|panel| (panel.title, panel.svg()));
        html.open("div", &[("class", "curves")]);
        for (title, svg) in drawn {
            let svg = svg?;
            html.tag("figure", &[("role", "img"), ("aria-label", title)], |html| {
                html.drawing(&svg);
            });
        }
        html.markup("</div>");
        html.tag("details", &[], |html| {
            html.leaf("summary", &[], "The numbers of each epoch");
            html.tag("div", &[("class", "wide")], |html| {
                html.tag("table", &[("class", "list")], |html| self.epochs(html));
            });
        });
        Ok(())
    }

    fn epochs(&self, html: &mut Html) {
        let heads = ["Epoch", "Train loss", "Train accuracy", "Test loss", "Test accuracy", "Learning rate", "Time"];
        html.tag("thead", &[], |html| {
            html.tag("tr", &[], |html| {
                heads.iter().for_each(|head| html.leaf("th", &[("class", "number")], head));
            });
        });
        html.tag("tbody", &[], |html| {
            for metrics in self.history {
                let or_none = |value: Option<f64>, written: fn(f64) -> String| value.map_or("–".to_string(), written);
                let cells = [
                    metrics.epoch.to_string(),
                    decimals(metrics.train_loss),
                    percent(metrics.train_acc),
                    or_none(metrics.test_loss, decimals),
                    or_none(metrics.test_acc, percent),
                    format!("{:.3e}", metrics.lr),
                    duration(metrics.seconds),
                ];
                html.tag("tr", &[], |html| {
                    cells.iter().for_each(|cell| html.leaf("td", &[("class", "number")], cell));
                });
            }
        });
    }

    fn layers(&self, html: &mut Html) {
        let Some(summary) = self.summary else { return };
        html.leaf("h2", &[], "Layers");
        let total = format!(
            "{} ({} trainable), {} in the forward pass, {} of state and {} of activations for this input.",
            counted(summary.parameters as u64, "parameter"),
            count(summary.trainable as u64),
            counted(summary.flops, "floating-point operation"),
            bytes(summary.state_bytes),
            bytes(summary.activation_bytes)
        );
        html.leaf("p", &[("class", "faint")], &total);
        html.open("div", &[("class", "wide")]);
        html.open("table", &[("class", "list")]);
        html.markup("<thead><tr><th>Layer</th><th>Operations</th><th>Output</th>");
        html.markup("<th class=\"number\">Parameters</th><th class=\"number\">FLOPs</th></tr></thead><tbody>");
        for layer in &summary.layers {
            html.tag("tr", &[], |html| {
                let name = if layer.name.is_empty() { "–" } else { &layer.name };
                html.tag("td", &[], |html| html.leaf("code", &[], name));
                html.leaf("td", &[], &layer.ops.join(", "));
                html.leaf("td", &[], &layer.output.to_string());
                html.leaf("td", &[("class", "number")], &count(layer.parameters as u64));
                html.leaf("td", &[("class", "number")], &count(layer.flops));
            });
        }
        html.markup("</tbody></table></div>");
    }

    /// What is needed to make the run again.
    fn facts(&self, html: &mut Html) {
        html.leaf("h2", &[], "How it was made");
        html.tag("dl", &[("class", "facts")], |html| {
            if !self.adapter.is_empty() {
                html.leaf("dt", &[], "Adapter");
                html.leaf("dd", &[], self.adapter);
            }
            html.leaf("dt", &[], "Kiln");
            html.leaf("dd", &[], env!("CARGO_PKG_VERSION"));
            if let Some(last) = self.history.last() {
                html.leaf("dt", &[], "Memory");
                html.leaf("dd", &[], &format!("{} of the adapter in use at the end", bytes(last.memory)));
            }
            let system = format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH);
            html.leaf("dt", &[], "System");
            html.leaf("dd", &[], &system);
        });
        if !self.config.is_empty() {
            html.leaf("h3", &[], "Configuration");
            html.leaf("pre", &[], self.config);
        }
        self.left_out(html);
    }

    fn left_out(&self, html: &mut Html) {
        let known = self.skipped.len() as u64;
        let more = self.history.last().map_or(0, |last| last.skipped).saturating_sub(known);
        if more > 0 {
            let words = format!("{} that could not be read.", counted(more, "training sample"));
            html.leaf("h3", &[], "Left out");
            html.leaf("p", &[], &words);
        }
        let test = self.evaluation.map_or(&[][..], |evaluation| &evaluation.skipped);
        for (what, skipped) in [("training", self.skipped), ("test", test)] {
            if skipped.is_empty() {
                continue;
            }
            let samples = counted(skipped.len() as u64, &format!("{what} sample"));
            let heading = format!("{samples} that could not be read");
            html.leaf("h3", &[], &heading);
            html.tag("ul", &[], |html| {
                for one in skipped.iter().take(MOST_SKIPPED) {
                    html.leaf("li", &[], &one.reason);
                }
            });
            if skipped.len() > MOST_SKIPPED {
                html.leaf("p", &[("class", "faint")], &format!("and {} more", skipped.len() - MOST_SKIPPED));
            }
        }
    }
}
