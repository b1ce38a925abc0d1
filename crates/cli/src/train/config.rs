//! The settings of a run: one struct for the options of the command line and the keys of a configuration file.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Args, Command, ValueEnum};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::optim::OptimArgs;
use super::schedule::ScheduleArgs;
use crate::augment::AugmentArgs;
use crate::data::{DataArgs, DataName, PartName, same_path};
use crate::ended::usage;
use crate::models;
use crate::os_text::OsText;

/// The configuration in a run's folder.
pub(crate) const CONFIG_FILE: &str = "config.toml";

/// How much the classes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClassWeights {
    /// All alike, image by image
    Even,
    /// A class with few images as much as one with many
    Balanced,
}

/// The options of `kiln train` that are also keys of a configuration file, under the same names. What is `None` is not given.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    /// The model, one of `kiln models` [default: that of the --pretrained weights]
    #[arg(long, value_parser = models::names(), hide_possible_values = true)]
    pub(crate) model: Option<String>,
    /// Where the run was started that wrote the file: the folder that relative paths in the file start from.
    #[arg(skip)]
    pub(crate) working_dir: Option<OsText>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) augment: AugmentArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) start: StartArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) length: LengthArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) optim: OptimArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) schedule: ScheduleArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) loss: LossArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) results: ResultArgs,
}

#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = "First weights")]
pub(crate) struct StartArgs {
    /// Start from these weights: a safetensors file, a .pth of PyTorch, a run's folder, or hub:OWNER/NAME[/FILE] of the Hugging
    /// Face Hub. For other classes than theirs the last layer is new
    #[arg(long, value_name = "FILE|DIR|hub:OWNER/NAME", value_parser = clap::value_parser!(OsText))]
    pub(crate) pretrained: Option<OsText>,
    /// Keep these layers as they are, by the start of their names: --freeze features; `kiln summary` has the names. Their batch
    /// norm normalises by its running statistics and keeps them; dropout goes on
    #[arg(long, value_name = "PREFIX", num_args = 1.., value_delimiter = ',')]
    pub(crate) freeze: Option<Vec<String>>,
    /// Decides the first weights, the order of the images and all other random numbers: the same seed gives the same weights
    /// [default: 42]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = "Length of the run")]
pub(crate) struct LengthArgs {
    /// How often to go through the training images [default: 10, and more for few images, up to 100: some 1,000 steps]
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    pub(crate) epochs: Option<u64>,
    /// Stop after so many steps instead
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u64>,
    /// Images in a batch [default: 64, and 32 for images of 64 pixels or more; fewer for less than 1,000 images]
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// Stop when the test loss has not fallen for so many epochs
    #[arg(long, value_name = "EPOCHS")]
    pub(crate) early_stopping: Option<u64>,
    /// By how much it must fall to count [default: 0]
    #[arg(long, value_name = "LOSS", allow_negative_numbers = true, requires = "early_stopping")]
    pub(crate) min_delta: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = "Loss")]
pub(crate) struct LossArgs {
    /// The share of each target that is dealt out to all classes; 0.1 is usual
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    pub(crate) label_smoothing: Option<f64>,
    /// How much each class counts [default: even]
    #[arg(long, value_enum)]
    pub(crate) class_weights: Option<ClassWeights>,
    /// The probability of dropout, in models that have it [default: the model's]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) dropout: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = "Results")]
pub(crate) struct ResultArgs {
    /// Evaluate on the test images after every so many epochs [default: 1]
    #[arg(long, value_name = "EPOCHS")]
    pub(crate) evaluate_every: Option<u64>,
    /// Keep a checkpoint after every so many steps too, not only at the end of each epoch
    #[arg(long, value_name = "STEPS")]
    pub(crate) checkpoint_every: Option<u64>,
    /// Write event files for TensorBoard: numbers, histograms, pictures and the graph; read by tensorboard --logdir DIR
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tensorboard: Option<bool>,
    /// Write report.html and curves [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) report: Option<bool>,
    /// Look for the first NaN or infinity in every operation, and name it; slow
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) detect_anomaly: Option<bool>,
}

/// Keys whose new value makes others of the file meaningless: those are not taken over then.
const REPLACES: [(&str, &[&str]); 5] = [
    ("epochs", &["steps"]),
    ("steps", &["epochs"]),
    ("model", &["size", "grey", "batch", "lr", "augment", "dropout", "freeze"]),
    ("optim", &["lr", "weight-decay", "momentum", "nesterov", "betas", "alpha", "centered", "eps"]),
    ("schedule", &["warmup", "step-size", "milestones", "gamma", "power", "pct-start", "patience", "factor", "min-lr"]),
];

/// Keys that are about looking at a run, not about the run.
const FREE: [&str; 11] = [
    "epochs",
    "steps",
    "unreadable",
    "workers",
    "early-stopping",
    "min-delta",
    "evaluate-every",
    "checkpoint-every",
    "tensorboard",
    "report",
    "detect-anomaly",
];

impl Settings {
    /// Reads a configuration file. Its relative paths become such that they are found from the current folder.
    pub(crate) fn read(path: &Path) -> Result<Settings> {
        let shown = path.display();
        let text = read_text(path).with_context(|| format!("{shown}: cannot be read"))?;
        let mut settings = Settings::parse(&text, &shown.to_string())?;
        if let Some(OsText(folder)) = settings.working_dir.take() {
            settings.start_paths_from(Path::new(&folder));
        }
        settings.data.named_in = Some(path.to_path_buf());
        Ok(settings)
    }

    /// Lets relative paths start from a folder, unless that is the current one. What is not there any more is looked for in the
    /// current folder: the run may have been copied from another machine.
    fn start_paths_from(&mut self, folder: &Path) {
        if env::current_dir().is_ok_and(|here| same_path(&here, folder)) {
            return;
        }
        let found = |path: &Path| Some(folder.join(path)).filter(|there| path.is_relative() && there.exists());
        if let Some(DataName::Path(path) | DataName::Idx(path)) = &mut self.data.data
            && let Some(there) = found(path)
        {
            *path = there;
        }
        if let Some(weights) = &mut self.start.pretrained
            && let Some(there) = found(Path::new(weights))
        {
            *weights = OsText(there.into());
        }
    }

    /// Whether a path depends on the folder that the program is started in.
    pub(crate) fn has_relative_paths(&self) -> bool {
        let data = matches!(&self.data.data, Some(DataName::Path(path) | DataName::Idx(path)) if path.is_relative());
        let weights = self.start.pretrained.as_ref();
        data || weights.is_some_and(|given| given.of_hub().is_none() && Path::new(given).is_relative())
    }

    /// From the text of a configuration file, which is called `name` in errors.
    pub(crate) fn parse(text: &str, name: &str) -> Result<Settings> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            usage(format!("{name}, line {line}: {}; it is no TOML", error.message()))
        })?;
        let known = keys();
        for (key, value) in &table {
            if !known.contains(key) {
                let near = known.iter().map(|known| (strsim::jaro_winkler(known, key), known));
                let near = near.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
                let advice = match near {
                    Some((_, near)) => format!("did you mean {near}?"),
                    None => "the keys are the long options of `kiln train --help`, without their dashes".to_string(),
                };
                return Err(usage(format!("{name}: no setting is named {key}; {advice}")));
            }
            // One by one, so that the error can name the key.
            let alone = Table::from_iter([(key.clone(), value.clone())]);
            if let Err(error) = alone.try_into::<Settings>() {
                return Err(usage(format!("{name}: {key} = {value}: {}", error.message())));
            }
        }
        table.try_into().map_err(|error: toml::de::Error| usage(format!("{name}: {}", error.message())))
    }

    /// These settings, and where there are none, those of `file`.
    pub(crate) fn over(&self, file: &Settings) -> Result<Settings> {
        let (own, mut all) = (Table::try_from(self)?, Table::try_from(file)?);
        for (key, others) in REPLACES {
            if own.get(key).is_some_and(|value| all.get(key) != Some(value)) {
                others.iter().for_each(|other| drop(all.remove(*other)));
            }
        }
        all.extend(own);
        let mut all: Settings = all.try_into()?;
        all.data.named_in = file.data.named_in.clone().filter(|_| self.data.data.is_none());
        Ok(all)
    }

    /// What is given and is something else here, in words; without the options that a run may go on with.
    pub(crate) fn differences(&self, given: &Settings) -> Vec<String> {
        let same_data =
            self.data.data.as_ref().zip(given.data.data.as_ref()).is_some_and(|(own, given)| own.is_same(given));
        let (Ok(own), Ok(given)) = (Table::try_from(self), Table::try_from(given)) else { return Vec::new() };
        let free = |key: &str| FREE.contains(&key) || (key == "data" && same_data);
        let changed = given.iter().filter(|(key, value)| !free(key) && own.get(*key) != Some(value));
        changed
            .map(|(key, value)| match own.get(key) {
                Some(saved) => format!("--{key} is {saved} there and {value} here"),
                None => format!("--{key} is {value} here and not given there"),
            })
            .collect()
    }

    /// The text of a configuration file with them.
    pub(crate) fn to_toml(&self) -> Result<String> {
        Ok(format!("# Train with the same settings again: kiln train --config FILE\n\n{}", toml::to_string(self)?))
    }

    /// Fails for numbers out of their ranges and options that do not go together, wherever they come from.
    pub(crate) fn check(&self) -> Result<()> {
        let misplaced = self.optim.misplaced().or(self.schedule.misplaced());
        if let Some((option, needed)) = misplaced {
            return Err(usage(format!("--{option} is for {needed}; leave it out, or choose that")));
        }
        if self.length.epochs.is_some() && self.length.steps.is_some() {
            return Err(usage("epochs and steps are given; leave one of them out"));
        }
        match &self.schedule.milestones {
            None if self.schedule.schedule == Some(super::schedule::ScheduleName::MultiStep) => {
                return Err(usage("--schedule multi-step needs --milestones, such as 60,120,160"));
            }
            Some(epochs) if !epochs.is_sorted() => {
                let given: Vec<String> = epochs.iter().map(u64::to_string).collect();
                let given = given.join(",");
                return Err(usage(format!("--milestones {given}: needs rising epochs, such as 60,120,160")));
            }
            _ => {}
        }
        if self.optim.betas.as_ref().is_some_and(|betas| betas.len() != 2) {
            return Err(usage("--betas needs two numbers, such as 0.9,0.999"));
        }
        let table = Table::try_from(self)?;
        for (keys, range) in RANGES {
            for key in *keys {
                let numbers: Vec<f64> = match table.get(*key) {
                    None => continue,
                    Some(Value::Array(values)) => values.iter().filter_map(number).collect(),
                    Some(value) => number(value).into_iter().collect(),
                };
                if let Some(wrong) = numbers.into_iter().find(|&number| !range.has(number)) {
                    return Err(usage(format!("--{key} {wrong}: needs {}", range.words())));
                }
            }
        }
        Ok(())
    }
}

/// The most bytes of a configuration file: thousands of times what all settings take.
const MOST_BYTES: u64 = 1 << 20;

/// Reads a text, which may come out of a pipe, up to a size.
fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        let message = format!("it has more than {MOST_BYTES} bytes; pass a TOML file of settings");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8; pass a TOML file of settings"))
}

fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// What a number may be.
#[derive(Debug, Clone, Copy)]
enum Range {
    Positive,
    NotNegative,
    /// From 0 to below 1.
    Part,
    /// From 0 to 1.
    Share,
    /// From 1 to a limit.
    Count(u32),
}

impl Range {
    fn has(self, number: f64) -> bool {
        number.is_finite()
            && match self {
                Range::Positive => number > 0.0,
                Range::NotNegative => number >= 0.0,
                Range::Part => (0.0..1.0).contains(&number),
                Range::Share => (0.0..=1.0).contains(&number),
                Range::Count(most) => (1.0..=f64::from(most)).contains(&number),
            }
    }

    fn words(self) -> String {
        match self {
            Range::Positive => "a number above 0".to_string(),
            Range::NotNegative => "a number of at least 0".to_string(),
            Range::Part => "a number from 0 to below 1".to_string(),
            Range::Share => "a number from 0 to 1".to_string(),
            Range::Count(u32::MAX) => "a whole number of at least 1".to_string(),
            Range::Count(most) => format!("a whole number from 1 to {most}"),
        }
    }
}

/// What the numbers may be. What is not here has no bounds beyond its type.
const RANGES: &[(&[&str], Range)] = &[
    (&["lr", "gamma", "power", "clip-norm", "eps", "mixup", "cutmix"], Range::Positive),
    (&["weight-decay", "clip-value", "lighting", "min-lr", "min-delta"], Range::NotNegative),
    (&["momentum", "betas", "alpha", "label-smoothing", "factor"], Range::Part),
    (&["test-fraction", "flip", "random-erasing", "ema", "dropout", "pct-start"], Range::Share),
    (
        &[
            "epochs",
            "steps",
            "batch",
            "limit",
            "accumulate",
            "early-stopping",
            "evaluate-every",
            "checkpoint-every",
            "step-size",
        ],
        Range::Count(u32::MAX),
    ),
    (&["size"], Range::Count(kiln_data::MAX_OUTPUT_SIDE as u32)),
    (&["workers"], Range::Count(64)),
];

/// The keys of a configuration file: the names of the options, and where relative paths start.
fn keys() -> Vec<String> {
    let command = Settings::augment_args(Command::new("settings"));
    let options = command.get_arguments().filter_map(|argument| argument.get_long());
    options.chain(["working-dir"]).map(String::from).collect()
}

/// The data that a command looks at: what was given, and where that is the set of the run whose folder the weights are in, the
/// rest from that run. Of another set without parts, all images are meant, unless a part is asked for.
pub(crate) fn data_of_run(given: &DataArgs, weights: &Path, part: Option<PartName>) -> Result<DataArgs> {
    let file = weights.parent().map(|folder| folder.join(CONFIG_FILE)).filter(|file| file.is_file());
    let run = file.map(|file| Settings::read(&file)).transpose()?.map(|settings| settings.data);
    let other = if part.is_some() { given.clone() } else { given.whole() };
    Ok(match (run, &given.data) {
        (Some(run), None) => given.or(&run),
        (Some(run), Some(name)) if run.data.as_ref().is_some_and(|own| own.is_same(name)) => given.or(&run),
        _ => other,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Settings {
        Settings::parse(text, "run.toml").unwrap()
    }

    fn told(text: &str) -> String {
        Settings::parse(text, "run.toml").and_then(|settings| settings.check()).unwrap_err().to_string()
    }

    #[test]
    fn a_file_has_the_options_names_and_comes_back_whole() {
        let text = r#"
            model = "alexnet-32"
            data = "photos"
            augment = "crop-flip"
            color-jitter = "0.4,0.4"
            freeze = ["features"]
            lr = 1
            optim = "sgd"
            schedule = "multi-step"
            milestones = [3, 5]
            nesterov = false
        "#;
        let settings = parsed(text);
        settings.check().unwrap();
        assert_eq!(settings.optim.lr, Some(1.0));
        assert_eq!(settings.schedule.milestones, Some(vec![3, 5]));
        assert_eq!(settings.optim.nesterov, Some(false));
        let written = settings.to_toml().unwrap();
        assert_eq!(parsed(&written), settings, "{written}");
        assert!(written.contains("color-jitter = \"0.4,0.4,0,0\"\n"), "{written}");
    }

    /// Each name of a choice is the same in a file as on the command line.
    #[test]
    fn choices_have_one_name() {
        fn check<T: ValueEnum + Serialize>() {
            for choice in T::value_variants() {
                let written = Value::try_from(choice).unwrap();
                assert_eq!(written.as_str(), choice.to_possible_value().as_ref().map(|value| value.get_name()));
            }
        }
        check::<super::super::optim::OptimName>();
        check::<super::super::schedule::ScheduleName>();
        check::<crate::augment::AugmentName>();
        check::<crate::data::UnreadableName>();
        check::<ClassWeights>();
    }

    /// Each option is a key, and each range is of one.
    #[test]
    fn options_are_keys() {
        let keys = keys();
        assert!(keys.len() > 50 && keys.contains(&"weight-decay".to_string()), "{keys:?}");
        for key in RANGES.iter().flat_map(|(keys, _)| *keys).chain(REPLACES.iter().flat_map(|(_, keys)| *keys)) {
            assert!(keys.contains(&key.to_string()), "{key}");
        }
        // A key whose option has another name would be lost in silence: every one must be understood.
        for key in &keys {
            let values = [
                "1", "0.5", "\"0.4\"", "true", "[1, 2]", "[\"x\"]", "\"none\"", "\"sgd\"", "\"step\"", "\"fail\"",
                "\"even\"",
            ];
            let settings = values.iter().find_map(|value| {
                let settings = Settings::parse(&format!("{key} = {value}"), "run.toml").ok()?;
                (settings != Settings::default()).then_some(settings)
            });
            assert!(settings.is_some(), "{key} is not read");
        }
    }

    #[test]
    fn the_command_line_wins_and_takes_what_depends_with_it() {
        let file =
            parsed("model = \"lenet5\"\noptim = \"sgd\"\nmomentum = 0.8\nlr = 0.1\nepochs = 5\nbatch = 8\nseed = 7");
        let own = parsed("optim = \"adam\"\nsteps = 30\nbatch = 16");
        let expected = parsed("model = \"lenet5\"\noptim = \"adam\"\nsteps = 30\nbatch = 16\nseed = 7");
        assert_eq!(own.over(&file).unwrap(), expected);
        // The same choice takes nothing away.
        let own = parsed("optim = \"sgd\"\nlr = 0.2");
        assert_eq!(own.over(&file).unwrap().optim.momentum, Some(0.8));
    }

    #[test]
    fn wrong_settings_are_named() {
        let wrong = [
            ("weight_decay = 0.1", "run.toml: no setting is named weight_decay; did you mean weight-decay?"),
            ("momentun = 0.1", "run.toml: no setting is named momentun; did you mean momentum?"),
            (
                "xyz = 1",
                "run.toml: no setting is named xyz; the keys are the long options of `kiln train --help`, without their dashes",
            ),
            ("lr = 0", "--lr 0: needs a number above 0"),
            ("lr = nan", "--lr NaN: needs a number above 0"),
            ("betas = [0.9, 1.0]", "--betas 1: needs a number from 0 to below 1"),
            ("betas = [0.9]", "--betas needs two numbers, such as 0.9,0.999"),
            ("workers = 65", "--workers 65: needs a whole number from 1 to 64"),
            ("epochs = 1\nsteps = 1", "epochs and steps are given; leave one of them out"),
            ("momentum = 0.5", "--momentum is for --optim sgd or rmsprop; leave it out, or choose that"),
            ("step-size = 5", "--step-size is for --schedule step; leave it out, or choose that"),
            ("schedule = \"multi-step\"", "--schedule multi-step needs --milestones, such as 60,120,160"),
        ];
        for (text, message) in wrong {
            assert_eq!(told(text), message);
        }
        assert!(
            told("lr = \"fast\"").starts_with("run.toml: lr = \"fast\": invalid type: string \"fast\", expected f64")
        );
        assert!(
            told("optim = \"sgdd\"")
                .contains("unknown variant `sgdd`, expected one of `sgd`, `adam`, `adamw`, `rmsprop`")
        );
        assert!(told("lr = 1\nlr 2").starts_with("run.toml, line 2: "), "{}", told("lr = 1\nlr 2"));
    }
}
