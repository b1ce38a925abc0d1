//! What follows a run and leaves its files.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use kiln_nn::summary;
use kiln_train::{CHECKPOINT_FILE, Graph, Hook, Interrupt, Outcome, Progress, Reporter, Run, TensorBoard};

use super::TRACE_FILE;
use super::config::{CONFIG_FILE, Settings};
use super::prepare::Prepared;
use crate::data;
use crate::note::note;
use crate::profile::Profiled;
use crate::words::counted;

/// Runs the trainer with what a person wants to see of it.
pub(crate) fn follow(prepared: &Prepared, profile: bool, out: &Path) -> Result<Outcome> {
    let Prepared { config, settings, device, model, data, feed, trainer } = prepared;
    let mut optim = settings.optim.build(model.parameters())?;
    let mut follow = |hooks: &mut dyn Hook| trainer.run(&**model, &mut *optim, data, feed, hooks);
    let mut keep = KeepConfig { path: out.join(CONFIG_FILE), text: config, settings, began: false };
    let mut profiled = profile.then(|| Profiled::new(device)).transpose()?;
    let files = (board(prepared, out)?, reporter(prepared, out)?, profiled.as_mut());
    // Notes come before the bars.
    let outcome = follow(&mut (&mut keep, Progress::new(), Interrupt::new()?, files)).map_err(|error| {
        let error = data::with_advice(error.into());
        if !(keep.began && out.join(CHECKPOINT_FILE).is_file()) {
            return error;
        }
        let told = crate::in_one_line(&error);
        error.context(format!("{told}; go on from the last checkpoint by: kiln train --resume {}", out.display()))
    })?;
    let Some(profiled) = profiled else { return Ok(outcome) };
    if let Some(profile) = profiled.into_profile()? {
        let trace = out.join(TRACE_FILE);
        kiln_nn::write_atomically(&trace, profile.chrome_trace().as_bytes())?;
        writeln!(io::stdout(), "{}trace: {}", profile.table(), trace.display())?;
    } else {
        note("no profile: the run has too few steps, measuring starts with the fourth");
    }
    Ok(outcome)
}

/// What writes the report, unless nobody wants it.
fn reporter(prepared: &Prepared, out: &Path) -> Result<Option<Reporter>> {
    let Prepared { config, settings, device, model, data, .. } = prepared;
    if settings.results.report == Some(false) {
        return Ok(None);
    }
    let named = settings.model.as_deref().zip(settings.data.data.as_ref());
    let title = named.map_or_else(String::new, |(model, data)| format!("{model} on {data}"));
    let [c, h, w] = data.train.shape();
    let layers = summary(&**model, device, [1, c, h, w])?;
    Ok(Some(Reporter::new(out, title).config(config).device(device).summary(layers).data(data.validation().0)))
}

/// What writes TensorBoard's files, if somebody wants them.
fn board(prepared: &Prepared, out: &Path) -> Result<Option<TensorBoard>> {
    let Prepared { config, settings, device, model, data, .. } = prepared;
    if settings.results.tensorboard != Some(true) {
        return Ok(None);
    }
    let [c, h, w] = data.train.shape();
    let graph = Graph::of(&**model, device, [1, c, h, w])?;
    let board = TensorBoard::new(out).config(config).graph(graph);
    Ok(Some(board.training_images(&data.train).mistakes(data.validation().0)))
}

/// Writes the configuration when the run begins: a run that goes on is found to fit its checkpoint by then.
struct KeepConfig<'a> {
    path: PathBuf,
    text: &'a str,
    settings: &'a Settings,
    /// Whether the run has begun: from then on, a checkpoint in its folder is its own.
    began: bool,
}

impl KeepConfig<'_> {
    /// How a new length changes the learning rate of the steps to come.
    fn warning(&self, run: &Run) -> Option<String> {
        let schedule = self.settings.schedule.build(run.steps_per_epoch);
        let rate = |step: u64, steps: u64| schedule.lr(self.settings.optim.lr.unwrap_or(0.0), step, steps);
        let (before, after) = (rate(run.done - 1, run.planned), rate(run.done, run.steps));
        (rate(run.done, run.planned) != after).then(|| {
            format!(
                "warning: the schedule depends on the length of the run, which was {}: the learning rate goes from \
                 {before:.2e} to {after:.2e}",
                counted(run.planned as usize, "step")
            )
        })
    }
}

impl Hook for KeepConfig<'_> {
    fn start(&mut self, run: &Run) -> kiln_train::Result<()> {
        self.began = true;
        if run.done > 0 {
            note(format_args!("resumed after step {} of {}", run.done, run.steps));
            if let Some(warning) = self.warning(run).filter(|_| run.steps != run.planned) {
                note(warning);
            }
        }
        Ok(kiln_nn::write_atomically(&self.path, self.text.as_bytes())?)
    }
}
