//! Messages in the program's words: the library's errors name calls, a person at a terminal has options.

/// What the library says, and what the program says instead. The first that fits wins, so the longer of two comes first.
const WORDS: &[(&str, &str)] = &[
    // Where an error is from.
    ("Trainer: ", ""),
    ("evaluate: ", ""),
    ("Ema: ", "--ema: "),
    ("Sgd: ", "--optim sgd: "),
    ("Adam: ", "--optim adam: "),
    ("AdamW: ", "--optim adamw: "),
    ("RMSprop: ", "--optim rmsprop: "),
    ("ReduceLrOnPlateau: ", "--schedule plateau: "),
    ("reduce_lr_on_plateau: ", "--schedule plateau: "),
    ("early_stopping: ", "--early-stopping: "),
    ("Schedule::Step: ", "--schedule step: "),
    ("Schedule::MultiStep: ", "--schedule multi-step: "),
    ("Schedule::Exponential: ", "--schedule exponential: "),
    ("Schedule::Polynomial: ", "--schedule polynomial: "),
    ("Schedule::OneCycle: ", "--schedule one-cycle: "),
    ("Schedule::Warmup: ", "--warmup: "),
    ("clip_grad_norm: ", "--clip-norm: "),
    ("clip_grad_value: ", "--clip-value: "),
    ("Normalize: ", "the normalisation of the images: "),
    ("Checkpoint: ", "the checkpoint: "),
    ("StateFile: ", "the weights: "),
    // What it is about.
    ("TestLoss", "the test loss"),
    ("TestAccuracy", "the test accuracy"),
    (
        " without a test set; pass one, or choose TrainLoss or TrainAccuracy",
        " needs test images; pass data that has some, or a --test-fraction above 0",
    ),
    ("color_jitter and lighting of ", "--color-jitter and --lighting of "),
    ("step_size", "--step-size"),
    ("pct_start", "--pct-start"),
    ("max_norm = ", "the norm is "),
    ("clip_value = ", "the value is "),
    // What to do.
    ("look for the op by Tape::detect_anomaly", "look for the operation by --detect-anomaly"),
    ("crop the image, or use resize_to", "crop the image"),
    ("use a smaller batch or drop tensors that are no longer needed", "use a smaller --batch"),
    ("open a new device and load the last checkpoint", "train on from the last checkpoint by --resume"),
];

/// A message of the library in the program's words.
pub(crate) fn in_options(message: &str) -> String {
    let mut words = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(letter) = rest.chars().next() {
        // A phrase begins with a word: `Adam: ` is none of `MyAdam: `.
        let begins =
            !letter.is_alphanumeric() || !words.ends_with(|before: char| before.is_alphanumeric() || before == '_');
        match WORDS.iter().find(|(library, _)| begins && rest.starts_with(library)) {
            Some((library, program)) => {
                words.push_str(program);
                rest = &rest[library.len()..];
            }
            None => {
                words.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use kiln_train::Measure;
    use proc_macro2::{TokenStream, TokenTree};

    use super::*;

    /// The crates whose messages reach a person. Those below only fail for the program where it is wrong itself.
    const CRATES: [&str; 5] = ["gpu", "data", "nn", "vision", "train"];

    /// What looks like a Rust name and is none, or is meant.
    const NAMES: [&str; 15] = [
        "NumPy",
        "TensorFlow",
        "TorchScript",
        "AlexNet",
        "LeNet",
        "LeCun",
        "PyTorch",
        "TensorBoard",
        "WebP",
        "MiB",
        "GiB",
        "OrderedDict",
        "BFloat16",
        "BoolStorage",
        "state_dict()",
    ];

    /// Messages with such names that stay as they are, since the program never shows them or means the names.
    const STAY: &[(&str, &str)] = &[
        ("end with a crop or with resize_to", "its transforms end with a crop"),
        ("idx::read_folder", "of FashionMnist::read, which it does not call"),
        ("Parameter::set", "it sets none"),
        ("before it is saved", "calls of PyTorch are meant"),
        ("torch.load(FILE", "calls of PyTorch are meant"),
        ("num_parameters = 0", "its models have none of these layers"),
        ("num_features = 0", "layers of models, whose sizes are checked"),
        ("in_channels", "layers of models, whose sizes are checked"),
        ("in_features", "layers of models, whose sizes are checked"),
        ("output_padding", "its models have no transposed convolution"),
        ("SequentialBuilder(", "of Debug"),
        ("weight_decay=", "settings in checkpoints, which are compared by options first"),
        ("start_factor = ", "it takes the library's own"),
        ("div_factor = ", "it takes the library's own"),
        ("ParameterGroups: ", "it makes no groups"),
        ("ConvTranspose2d: ", "its models have none"),
        ("PReLU: ", "its models have none"),
        ("TensorSource: ", "it makes the sources itself"),
        ("computes shapes and memory only", "it opens adapters"),
        ("step_memory: ", "it makes the device that this needs"),
        ("shapes_only has made", "it makes the device that this needs"),
        ("Picture::from_planes: ", "planes that are cut out of weights"),
        ("ConfusionMatrix: ", "labels are those of its own classes"),
    ];

    /// The string literals of a file without its tests, and whether each says where an error is from.
    fn literals(tokens: TokenStream, found: &mut Vec<(String, bool)>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: Option<usize>, name: &str| {
            at.and_then(|at| tokens.get(at)).is_some_and(|token| token.to_string() == name)
        };
        let mut in_tests = false;
        for (at, token) in tokens.iter().enumerate() {
            let attribute = is(at.checked_sub(1), "#") || (is(at.checked_sub(1), "!") && is(at.checked_sub(2), "#"));
            match token {
                // What rustdoc shows is for programmers; an error's text is not.
                TokenTree::Group(group) if attribute => {
                    in_tests |= token.to_string().replace(' ', "") == "[cfg(test)]";
                    if token.to_string().starts_with("[error") {
                        literals(group.stream(), found);
                    }
                }
                TokenTree::Group(_) if std::mem::take(&mut in_tests) => {}
                TokenTree::Group(group) => {
                    let mut inner = Vec::new();
                    literals(group.stream(), &mut inner);
                    let origin = is(at.checked_sub(1), "argument");
                    if let (true, Some(TokenTree::Literal(first))) = (origin, group.stream().into_iter().next()) {
                        inner.extend(text(&first.to_string()).map(|what| (format!("{what}: "), true)));
                    }
                    found.append(&mut inner);
                }
                TokenTree::Literal(literal) => found.extend(text(&literal.to_string()).map(|text| (text, false))),
                _ => {}
            }
        }
    }

    /// The text of a string literal, without placeholders.
    fn text(literal: &str) -> Option<String> {
        let inner = literal.trim_start_matches('r').trim_matches('#').strip_prefix('"')?.strip_suffix('"')?;
        let mut text = String::new();
        let mut depth = 0;
        let mut lines = inner.split("\\\n");
        let mut joined = lines.next().unwrap_or_default().to_string();
        lines.for_each(|line| joined.push_str(line.trim_start()));
        for letter in joined.chars() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                letter if depth == 0 => text.push(letter),
                _ => {}
            }
        }
        Some(text)
    }

    /// The names of a message that only a Rust programmer knows.
    fn rust_names(message: &str) -> Vec<&str> {
        let words = message.split(|letter: char| !(letter.is_alphanumeric() || "_:()".contains(letter)));
        words
            .map(|word| word.trim_matches(|letter| letter == ':'))
            .filter(|word| !NAMES.contains(word))
            // A variable of the environment.
            .filter(|word| !word.chars().all(|letter| letter.is_uppercase() || letter == '_'))
            .filter(|word| {
                let bare = word.trim_matches(|letter| letter == '(' || letter == ')');
                let humps = bare.starts_with(char::is_uppercase)
                    && bare.chars().zip(bare.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase());
                word.contains("::")
                    || word.ends_with("()") && bare.len() > 1
                    || bare.contains('_')
                    || (humps && !NAMES.contains(&bare))
            })
            .collect()
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        let files = files.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
        files.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
    }

    fn files() -> Vec<PathBuf> {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        CRATES.iter().flat_map(|name| sources(&crates.join(name).join("src"))).collect()
    }

    /// All messages of the library's crates, with their files.
    fn messages() -> Vec<(PathBuf, String, bool)> {
        files()
            .into_iter()
            .flat_map(|file| {
                let mut found = Vec::new();
                literals(fs::read_to_string(&file).unwrap().parse().unwrap(), &mut found);
                found.into_iter().map(move |(text, origin)| (file.clone(), text, origin))
            })
            .collect()
    }

    #[test]
    fn no_message_of_the_program_names_a_rust_call() {
        let messages = messages();
        assert!(messages.len() > 500, "{} messages", messages.len());
        let mut wrong = Vec::new();
        for (file, message, origin) in &messages {
            // A key or a file's name is one word.
            if !message.trim().contains(' ') && !origin {
                continue;
            }
            let shown = in_options(message);
            let names = rust_names(&shown);
            let stays = STAY.iter().any(|(part, _)| message.contains(part));
            if !names.is_empty() && !stays {
                wrong.push(format!("{}: {names:?} in {shown:?}", file.display()));
            }
        }
        assert!(wrong.is_empty(), "add their words to WORDS:\n{}", wrong.join("\n"));
    }

    /// A phrase that the library does not use any more would translate nothing.
    #[test]
    fn each_phrase_is_in_a_message() {
        let messages = messages();
        let measures = [Measure::TestLoss, Measure::TestAccuracy].map(|measure| format!("{measure:?}"));
        let code: String = files().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        for (phrase, _) in WORDS {
            let there = match phrase.strip_suffix(": ") {
                // A macro makes the names of some.
                Some(origin) => code.contains(origin),
                None => messages.iter().any(|(_, message, _)| message.contains(phrase)),
            };
            assert!(there || measures.iter().any(|name| name == phrase), "{phrase:?}");
        }
        for (part, _) in STAY {
            assert!(messages.iter().any(|(_, message, _)| message.contains(part)), "{part:?}");
        }
    }

    #[test]
    fn phrases_are_translated_where_they_begin_a_word() {
        let library = "early_stopping: TestLoss without a test set; pass one, or choose TrainLoss or TrainAccuracy";
        let program =
            "--early-stopping: the test loss needs test images; pass data that has some, or a --test-fraction above 0";
        assert_eq!(in_options(library), program);
        assert_eq!(in_options("MyAdam: Adam: é"), "MyAdam: --optim adam: é");
        assert_eq!(
            rust_names("pass Tape::train() or to_dtype, MultiStep, f16"),
            ["Tape::train()", "to_dtype", "MultiStep"]
        );
        assert_eq!(rust_names("AlexNet takes 5 MiB (once), at least 1"), Vec::<&str>::new());
    }
}
