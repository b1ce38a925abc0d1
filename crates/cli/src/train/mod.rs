//! `kiln train`.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap::error::ErrorKind;
use kiln_nn::{Adam, Init, Optimizer, Parameters, Schedule, Sgd};
use kiln_train::{Feed, Hook, Length, METRICS_FILE, ModelCard, Normalize, Progress, Trainer, WEIGHTS_FILE};

use crate::args::{Cli, OptimName, ScheduleName, TrainArgs};
use crate::profile::Profiled;
use crate::{data, devices, weights};

/// The profile's file in the results' folder.
const TRACE_FILE: &str = "trace.json";

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    check(args);
    let description = weights::model(&args.model)?;
    let splits = args.data.load()?;
    data::check_images(description, &splits)?;
    let device = devices::open()?;
    let model = description.build(&device, Init::seed(args.seed), splits.train.classes().len())?;
    let mut optim = optimizer(args, model.parameters());

    // Weights are of use only with the numbers that their images were normalised with: the training set's own.
    let stats = splits.train.channel_stats()?;
    let card = ModelCard {
        model: description.name.to_string(),
        classes: splits.train.classes().to_vec(),
        mean: stats.mean,
        std: stats.std.iter().map(|&std| if std > 0.0 { std } else { 1.0 }).collect(),
    };
    let normalize = Normalize::new(&card.mean, &card.std)?;
    let feed = Feed::new(&device).batch(args.batch as usize).workers(usize::from(args.workers)).normalize(normalize);
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&args.model));
    let length = match args.steps {
        Some(steps) => Length::Steps(steps),
        None => Length::Epochs(args.epochs.unwrap_or(5)),
    };
    let trainer = Trainer::new(length).seed(args.seed).schedule(schedule(args)).out(&out).metadata(card.to_metadata());

    eprintln!(
        "{} with {} parameters on {} training and {} test images; {}",
        description.name,
        model.num_parameters(),
        splits.train.len(),
        splits.test.len(),
        device.info()
    );
    let mut follow = |hooks: &mut dyn Hook| trainer.run(&*model, &mut *optim, &splits, &feed, hooks);
    if args.profile {
        let mut profiled = Profiled::new(&device)?;
        follow(&mut (Progress::new(), &mut profiled))?;
        if let Some(profile) = profiled.into_profile()? {
            let trace = out.join(TRACE_FILE);
            kiln_nn::write_atomically(&trace, profile.chrome_trace().as_bytes())?;
            writeln!(io::stdout(), "{}trace: {}", profile.table(), trace.display())?;
        } else {
            eprintln!("no profile: the run has too few steps, measuring starts with the fourth");
        }
    } else {
        follow(&mut Progress::new())?;
    }
    devices::keep_pipelines(&device);
    let listed = [METRICS_FILE, WEIGHTS_FILE].map(|file| out.join(file).display().to_string());
    writeln!(io::stdout(), "results: {}", listed.join(", ")).context("cannot print where the results are")?;
    Ok(())
}

/// Ends the program where options do not go together.
fn check(args: &TrainArgs) {
    let conflict = |message: &str| Cli::command().error(ErrorKind::ArgumentConflict, message).exit();
    if args.momentum.is_some() && args.optim != OptimName::Sgd {
        conflict("--momentum is for --optim sgd; leave it out, or choose sgd");
    }
    if args.warmup.is_some() && args.schedule != ScheduleName::Cosine {
        conflict("--warmup is for --schedule cosine; leave it out, or choose cosine");
    }
}

fn optimizer(args: &TrainArgs, parameters: Parameters) -> Box<dyn Optimizer> {
    match args.optim {
        OptimName::Sgd => {
            let momentum = args.momentum.unwrap_or(0.9);
            Box::new(Sgd::new(parameters, args.lr.unwrap_or(0.05)).momentum(momentum).weight_decay(args.weight_decay))
        }
        OptimName::Adam => Box::new(Adam::new(parameters, args.lr.unwrap_or(0.001)).weight_decay(args.weight_decay)),
    }
}

fn schedule(args: &TrainArgs) -> Schedule {
    match args.schedule {
        ScheduleName::Constant => Schedule::Constant,
        ScheduleName::Cosine => Schedule::cosine(args.warmup.unwrap_or(0)),
        ScheduleName::OneCycle => Schedule::one_cycle(),
    }
}
