//! Which of the dicts of a checkpoint holds the weights.
//!
//! A dict with a tensor of more than one element may be the state dict; single numbers such as a best accuracy are no weights. Where there
//! is one such dict, it is taken. Of several, the one whose path has only names of [`NAMES`] is taken, earlier names first. Any other
//! case is an error that lists them, and the caller names one.

use super::fault::{Fault, SAVE_STATE_DICT};
use super::pickle::{Key, Pickle, Value};

/// Where checkpoints keep the weights, in the order in which they are taken; means over steps come last.
pub(super) const NAMES: [&str; 23] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "net_state_dict",
    "weights",
    "params",
    "state",
    "state_dict_ema",
    "model_ema_state_dict",
    "ema_state_dict",
    "model_ema",
    "ema_model",
    "ema",
    "params_ema",
    "swa_model",
    "swa_state_dict",
    "averaged_model",
    "shadow",
    "shadow_params",
];

/// What lies beside the weights and has tensors too.
const OTHERS: [&str; 8] = ["opt", "optim", "sched", "lr_sched", "scaler", "rng", "hyper_parameters", "hparams"];

/// How deep dicts lie within one another.
const MAX_DEPTH: usize = 4;

/// How many names a message lists, and the longest one in bytes.
const LISTED: usize = 8;
const LONGEST: usize = 60;

/// A dict that may be the state dict.
#[derive(Debug)]
struct Candidate<'a> {
    dict: Value,
    path: Vec<Key<'a>>,
    tensors: usize,
    /// Whether one has more than one element.
    weights: bool,
}

/// The state dict of a checkpoint.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) dict: Value,
    /// Where it is in the file, unless it is all of it.
    pub(super) path: Option<String>,
    /// The other dicts that may be state dicts, by their paths.
    pub(super) others: Vec<String>,
}

/// Chooses the state dict by the rule above, or takes the one at this path.
pub(super) fn state_dict(pickle: &Pickle<'_>, path: Option<&str>) -> Result<Chosen, Fault> {
    let mut search = Search { pickle, seen: vec![false; pickle.lists()], path: Vec::new(), found: Vec::new() };
    search.visit(pickle.root);
    let found = search.found;
    let index = match path {
        Some(path) => found.iter().position(|candidate| shown(&candidate.path) == path).ok_or_else(|| {
            let held = if found.is_empty() { "none".to_owned() } else { listed(&found) };
            Fault::unsuitable(
                format!("it holds no tensors under {path:?}"),
                format!("choose one of those that it has: {held}"),
            )
        })?,
        None => choose(&found)?.ok_or_else(|| nothing(pickle))?,
    };
    let others = found.iter().enumerate().filter(|&(at, candidate)| at != index && candidate.weights);
    let others = others.map(|(_, candidate)| shown(&candidate.path)).take(LISTED).collect();
    let chosen = &found[index];
    let path = (!chosen.path.is_empty()).then(|| shown(&chosen.path));
    Ok(Chosen { dict: chosen.dict, path, others })
}

fn choose(found: &[Candidate<'_>]) -> Result<Option<usize>, Fault> {
    let with_weights = || found.iter().enumerate().filter(|(_, candidate)| candidate.weights);
    match with_weights().count() {
        // Only single numbers: weights of a network all the same if there is nothing else.
        0 if found.len() <= 1 => return Ok(found.first().map(|_| 0)),
        1 => return Ok(with_weights().map(|(at, _)| at).next()),
        _ => {}
    }
    let rank = |candidate: &Candidate<'_>| -> Option<Vec<usize>> {
        let place = |key: &Key<'_>| match key {
            Key::Name(name) => NAMES.iter().position(|known| known == name),
            Key::Number(_) => None,
        };
        let places: Vec<usize> = candidate.path.iter().map(place).collect::<Option<_>>()?;
        (!places.is_empty()).then_some(places)
    };
    let ranked = with_weights().filter_map(|(at, candidate)| Some((rank(candidate)?, at)));
    match ranked.min() {
        Some((_, at)) => Ok(Some(at)),
        None => Err(Fault::unsuitable(
            format!("it holds several dicts of tensors, {}", listed(found)),
            "choose one: kiln convert --key NAME writes it to a file of its own",
        )),
    }
}

/// Why there is no state dict.
fn nothing(pickle: &Pickle<'_>) -> Fault {
    let object = |class, place: &str, expression: &str| {
        Fault::unsuitable(
            format!(
                "it holds an object of the class {}{place}, not a state dict; Kiln runs no code of a file",
                pickle.class_name(class)
            ),
            format!(
                "{SAVE_STATE_DICT}; where its code is: torch.save(torch.load(FILE, weights_only=False){expression}.state_dict(), path)"
            ),
        )
    };
    match pickle.root {
        Value::Dict(_) => {
            let known = |name: &&str| pickle.named(pickle.root).find(|(given, _)| given == name);
            if let Some((name, Value::Opaque(class))) = NAMES.iter().find_map(known) {
                return object(class, &format!(" under {name:?}"), &format!("[{name:?}]"));
            }
            let names: Vec<String> = pickle.named(pickle.root).map(|(name, _)| short(name)).take(LISTED).collect();
            Fault::no_state_dict(format!("its dict holds no tensors but {names:?}"))
        }
        Value::Opaque(class) => object(class, "", ""),
        Value::Tensor(_) | Value::Unread(_) => Fault::no_state_dict("it holds a tensor without a name"),
        _ => Fault::no_state_dict("it holds no dict of names and tensors"),
    }
}

struct Search<'p, 'a> {
    pickle: &'p Pickle<'a>,
    /// Lists and dicts can be shared, and hold themselves.
    seen: Vec<bool>,
    path: Vec<Key<'a>>,
    found: Vec<Candidate<'a>>,
}

impl Search<'_, '_> {
    /// Looks at a value and, in the order in which they were saved, at what it holds.
    fn visit(&mut self, value: Value) {
        let (Value::Dict(at) | Value::List(at) | Value::Tuple(at)) = value else { return };
        match self.seen.get_mut(at as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => return,
        }
        let pickle = self.pickle;
        let (mut tensors, mut weights) = (0, false);
        for (_, value) in pickle.named(value) {
            match value {
                Value::Tensor(_) => {
                    tensors += 1;
                    weights |=
                        pickle.tensor(value).is_some_and(|(tensor, _)| tensor.shape.iter().any(|&side| side > 1));
                }
                Value::Unread(_) => (tensors, weights) = (tensors + 1, true),
                _ => {}
            }
        }
        if tensors > 0 {
            self.found.push(Candidate { dict: value, path: self.path.clone(), tensors, weights });
        }
        if self.path.len() == MAX_DEPTH {
            return;
        }
        for (key, inner) in pickle.children(value) {
            let other = |name: &str| OTHERS.iter().any(|other| name.starts_with(other));
            if !matches!(key, Key::Name(name) if other(name)) {
                self.path.push(key);
                self.visit(inner);
                self.path.pop();
            }
        }
    }
}

/// A path as it is shown and given: names with points between; a point alone for all of the file.
fn shown(path: &[Key<'_>]) -> String {
    let key = |key: &Key<'_>| match key {
        Key::Name(name) => short(name),
        Key::Number(at) => at.to_string(),
    };
    if path.is_empty() { ".".to_owned() } else { path.iter().map(key).collect::<Vec<_>>().join(".") }
}

fn listed(found: &[Candidate<'_>]) -> String {
    let one = |candidate: &Candidate<'_>| {
        let Candidate { path, tensors, .. } = candidate;
        format!("{:?} ({tensors} tensor{})", shown(path), if *tensors == 1 { "" } else { "s" })
    };
    let mut words: Vec<String> = found.iter().take(LISTED).map(one).collect();
    if found.len() > LISTED {
        words.push(format!("and {} more", found.len() - LISTED));
    }
    words.join(", ")
}

/// The start of a name that may be of any length.
pub(super) fn short(name: &str) -> String {
    name.chars().take(LONGEST).collect()
}
