//! `kiln tune`.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use kiln_gpu::{Device, Options, cache};
use kiln_tensor::plan::{self, Algorithm, Problem, Tuning};
use kiln_vision::Model;
use serde::Serialize;

use super::args::TuneArgs;
use super::clock;
use super::contractions::{Layer, distinct, usual_batch};
use super::kernels::{Pass, work};
use crate::note::note;
use crate::words::counted;

/// How much faster than the rule's own choice another has to be: what differs by less differs by chance, and would change results'
/// last bits for nothing.
const GAIN: f64 = 0.95;

/// What was measured of a problem.
#[derive(Serialize)]
struct Line {
    problem: String,
    /// Milliseconds of a call at best, of every algorithm that applies.
    best_ms: BTreeMap<&'static str, f64>,
    /// What computes it without a tuning file.
    rule: Algorithm,
    chosen: Algorithm,
}

pub(super) fn run(args: &TuneArgs) -> Result<()> {
    // Without the cache folder: the rule's own choices are what others are set against.
    let device = Device::open(Options::new().no_cache())?;
    let folder = cache::folder().context("there is no folder to keep the result in; set KILN_CACHE_DIR to one")?;
    if args.show {
        return show(&device, &folder);
    }
    plan::pin(&device, None);
    let mut tuning = Tuning::read(&folder, device.info())
        .unwrap_or_else(|error| {
            note(format_args!("warning: {error}"));
            None
        })
        .unwrap_or_else(|| Tuning::new(device.info()));
    let mut out = io::stdout().lock();
    if !args.json {
        writeln!(out, "{}", device.info())?;
    }
    let (mut seen, mut changed) = (HashSet::new(), 0);
    for net in Model::ALL.iter().filter(|model| args.net.iter().any(|name| name == model.name)) {
        let batch = args.batch.map_or_else(|| usual_batch(net), |batch| batch as usize);
        for (index, (layer, _)) in distinct(net)?.into_iter().enumerate() {
            for pass in [Pass::Forward, Pass::DataGradient, Pass::WeightGradient] {
                // Training does not need the first layer's.
                if index == 0 && pass == Pass::DataGradient {
                    continue;
                }
                let Some((problems, line)) = measure(&device, &layer, batch, pass, &mut seen)? else { continue };
                changed += usize::from(line.chosen != line.rule);
                for problem in problems {
                    tuning.insert(problem, line.chosen);
                }
                // At once: a long run that is ended early keeps what it has.
                tuning.write(&folder, device.info())?;
                if args.json {
                    writeln!(out, "{}", serde_json::to_string(&line)?)?;
                } else {
                    writeln!(out, "{}", line.row())?;
                }
                out.flush()?;
            }
        }
    }
    if !args.json {
        let file = Tuning::path(&folder, device.info());
        writeln!(out, "{}, {changed} not as by the rule; {}", counted(seen.len(), "problem"), file.display())?;
    }
    Ok(())
}

/// Times every algorithm that applies to a pass of a layer; `None` if its problem was seen before.
fn measure(
    device: &Device,
    layer: &Layer,
    batch: usize,
    pass: Pass,
    seen: &mut HashSet<Problem>,
) -> Result<Option<(Vec<Problem>, Line)>> {
    let work = work(device, layer, batch, pass)?;
    let (done, choices) = plan::watch(device, &work);
    done?;
    // More than one where the operands are too large to bind: the parts of a batch, alike but for their number of images.
    let Some(first) = choices.first() else { return Ok(None) };
    if !seen.insert(first.problem) {
        return Ok(None);
    }
    let times = clock::race(device, first.candidates.len(), |index| {
        plan::pin(device, Some(first.candidates[index]));
        work()
    });
    plan::pin(device, None);
    let times = times?;
    let of = |algorithm| first.candidates.iter().zip(&times).find(|(known, _)| **known == algorithm).map(|(_, &ms)| ms);
    let rule = of(first.algorithm).unwrap_or(f64::INFINITY);
    let fastest = first.candidates.iter().zip(&times).min_by(|(_, a), (_, b)| a.total_cmp(b));
    let chosen = match fastest {
        Some((&algorithm, &ms)) if ms < GAIN * rule => algorithm,
        _ => first.algorithm,
    };
    let best_ms = first.candidates.iter().map(|algorithm| algorithm.name()).zip(times.iter().copied()).collect();
    let line = Line { problem: first.problem.to_string(), best_ms, rule: first.algorithm, chosen };
    Ok(Some((choices.iter().map(|choice| choice.problem).collect(), line)))
}

impl Line {
    fn row(&self) -> String {
        let times: Vec<String> = self.best_ms.iter().map(|(name, ms)| format!("{name} {ms:.3}")).collect();
        let rule = if self.chosen == self.rule { String::new() } else { format!(" (rule: {})", self.rule) };
        format!("{:<48} {:<10} of {} ms{rule}", self.problem, self.chosen, times.join(", "))
    }
}

/// Prints the tuning that is in force.
fn show(device: &Device, folder: &Path) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", device.info())?;
    let Some(tuning) = Tuning::read(folder, device.info())? else {
        writeln!(out, "nothing measured: there is no {}", Tuning::path(folder, device.info()).display())?;
        return Ok(());
    };
    for (problem, algorithm) in tuning.iter() {
        writeln!(out, "{:<48} {algorithm}", problem.to_string())?;
    }
    let problems = counted(tuning.len(), "problem");
    writeln!(out, "{problems} in {}", Tuning::path(folder, device.info()).display())?;
    Ok(())
}
