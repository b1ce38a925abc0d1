//! `kiln train`.

pub(crate) mod config;
mod folder;
mod follow;
pub(crate) mod optim;
mod prepare;
mod schedule;
mod start;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use kiln_train::{FolderLock, Outcome, REPORT_FILE, Stopped};

use crate::devices;
use crate::ended::Ended;
use crate::note::note;
use crate::words::counted;
use config::{CONFIG_FILE, Settings};
use follow::follow;
use prepare::{Prepared, prepare};
use start::Start;

/// The profile's file in the results' folder.
pub(crate) const TRACE_FILE: &str = "trace.json";

#[derive(Debug, Args)]
#[command(after_help = "\
What is left out has a default that suits the model and the data: images are brought to the model's \
size, cut and mirrored at random, and normalised by their own mean and deviation (with --pretrained by \
those of the weights).

The folder of the results then has
  config.toml: all settings; `kiln train --config config.toml` runs them again
  metrics.jsonl: a line of JSON for each epoch
  best.safetensors: the weights of the epoch with the best test accuracy, and of equally accurate epochs \
of that with the lowest test loss
  model.safetensors: the last weights
  checkpoint.safetensors: all that --resume needs
  report.html: curves, confusion matrix, best and worst predictions; and curves.svg

Ctrl-C ends a run after its step, saves a checkpoint and says how to go on; a second Ctrl-C ends it \
at once. A closed terminal ends it as the first Ctrl-C does, unless it was started with nohup. Where its \
output cannot be written any more, a run goes on: its files have what it would show.

One run at a time writes into a folder; a second one is refused.

--resume with more --epochs or --steps makes a run longer, also one that was finished. Schedules that \
depend on the length (cosine, one-cycle, polynomial) are stretched: the learning rate goes on as in a \
run that had the new length from the start, and kiln prints how it changes. Others simply continue.

In a --config file each long option is a key, without its dashes: lr = 0.01, freeze = [\"features\"]. \
Options on the command line win over it. Relative paths in it start from the folder that its key \
working-dir names, as a run's config.toml has it, or else from the current folder.

Examples:
  kiln train --model alexnet-32 --data photos --out runs/photos
  kiln train --model lenet5 --data fashion-mnist --epochs 8 --out runs/first
  kiln train --model vgg11_bn --data photos --color-jitter 0.4,0.4,0.4 --mixup 0.2
  kiln train --model alexnet --pretrained alexnet.pth --freeze features --data photos --epochs 5
  kiln train --model lenet5 --data idx:/data/mnist --optim sgd --lr 0.05 --schedule one-cycle
  kiln train --config run.toml --lr 0.0005
  kiln train --resume runs/photos
  kiln train --resume runs/photos --epochs 40                     # a finished run, made longer
  kiln train --model lenet5 --data fashion-mnist --steps 50 --profile")]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    settings: Settings,
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE", help_heading = "Run", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Go on with the run in this folder, as if it had never stopped
    #[arg(long, value_name = "DIR", help_heading = "Run", conflicts_with_all = ["out", "overwrite"])]
    resume: Option<PathBuf>,
    /// The folder for the results [default: runs/MODEL, with a number behind it where that holds a run]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    out: Option<PathBuf>,
    /// Replace the run that the folder holds
    #[arg(long, help_heading = "Run")]
    overwrite: bool,
    /// Measure the GPU time of 20 steps: prints a table by layer and operation and writes DIR/trace.json for chrome://tracing
    #[arg(long, help_heading = "Run")]
    profile: bool,
}

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let settings = settings(args)?;
    settings.check()?;
    let start = Start::find(settings.model.as_deref(), &settings.start);
    let start = match (args.file(), &settings.start.pretrained) {
        (Some(file), Some(weights)) if args.settings.start.pretrained.is_none() => {
            start.with_context(|| format!("pretrained = {:?} of {}", weights.0, file.display()))?
        }
        _ => start?,
    };
    // A run that goes on has its folder from here on, a new one when there is something to write.
    let resumed = args.resume.as_deref().map(FolderLock::take).transpose()?;
    let resume = resumed.is_some();
    if let Some(out) = &args.out {
        folder::check(out, args.overwrite)?;
    }
    let mut prepared = prepare(settings, &start)?;
    let lock = match resumed {
        Some(lock) => lock,
        None => folder::claim(args.out.as_deref(), start.description.name, args.overwrite)?,
    };
    prepared.trainer = prepared.trainer.locked(lock.clone()).resume(resume);
    let outcome = follow(&prepared, args.profile, lock.folder()).map_err(|error| by_options(error, args))?;
    devices::keep_pipelines(&prepared.device);
    finish(&outcome, &prepared, lock.folder())
}

impl TrainArgs {
    /// The configuration file that the command line names.
    fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| self.resume.as_ref().map(|folder| folder.join(CONFIG_FILE)))
    }
}

/// What the command line and the files that it names ask for.
fn settings(args: &TrainArgs) -> Result<Settings> {
    let Some(file) = args.file() else { return Ok(args.settings.clone()) };
    if let Some(folder) = &args.resume
        && !file.is_file()
    {
        bail!("{}: holds no run: there is no {CONFIG_FILE}; pass a run's folder", folder.display());
    }
    let mut settings = Settings::read(&file)?;
    if args.resume.is_some() && settings.optim.ema.is_some() {
        // A run that does not say so is of a version whose decay was constant.
        settings.optim.ema_warmup.get_or_insert(false);
    }
    args.settings.over(&settings)
}

/// An error of a run that goes on with other settings, by the options that differ: the library compares what they come to.
fn by_options(error: anyhow::Error, args: &TrainArgs) -> anyhow::Error {
    let other = matches!(error.downcast_ref(), Some(kiln_train::Error::OtherRun { .. }));
    let (true, Some(folder)) = (other, &args.resume) else { return error };
    let Ok(saved) = Settings::read(&folder.join(CONFIG_FILE)) else { return error };
    match saved.differences(&args.settings).as_slice() {
        [] => error,
        changed => anyhow::anyhow!(
            "{0}: is of another run: {1}; leave that out to go on, or train into another folder by --config {2} --out DIR",
            folder.display(),
            changed.join(", "),
            folder.join(CONFIG_FILE).display(),
        ),
    }
}

/// Says what came out and what to do with it.
fn finish(outcome: &Outcome, prepared: &Prepared, out: &Path) -> Result<()> {
    let (_, tested) = prepared.data.validation();
    let shown = out.display();
    let mut lines = io::stdout().lock();
    let mut say = |line: String| writeln!(lines, "{line}").context("cannot print where the results are");
    let of_test = outcome.evaluation.iter().flat_map(|evaluation| &evaluation.skipped);
    for skipped in outcome.skipped.iter().chain(of_test) {
        note(format_args!("left out: {}", skipped.reason));
    }
    if outcome.stopped == Stopped::Interrupted {
        let message = format!("stopped after step {}; go on by: kiln train --resume {shown}", outcome.steps);
        return Err(Ended::Interrupted(message).into());
    }
    if outcome.stopped == Stopped::EarlyStopping {
        let evaluations = counted(prepared.settings.length.early_stopping.unwrap_or(1) as usize, "evaluation");
        say(format!(
            "stopped early: the {tested} loss did not fall in {evaluations}; --resume {shown} with a larger \
             --early-stopping goes on"
        ))?;
    }
    if let Some(best) = &outcome.best
        && let Some(accuracy) = best.test_acc
    {
        say(format!("best: epoch {} with {:.2} % of the {tested} images", best.epoch, 100.0 * accuracy))?;
    }
    say(format!("results: {shown}"))?;
    if prepared.settings.results.report == Some(true) {
        say(format!("report:  {}", out.join(REPORT_FILE).display()))?;
    }
    say(format!("next:    kiln eval --weights {shown}"))?;
    say(format!("         kiln predict --weights {shown} IMAGE"))
}
