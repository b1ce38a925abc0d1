//! Names of a file against those of a model: what wraps a model in training stays in the names of its tensors.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

/// Parts of names that wrappers put there: `DataParallel`, also around a part of a model, and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module", "_orig_mod"];

/// What averaging models count beside the wrapped one.
const COUNTER: &str = "n_averaged";

/// How many names may lie before all others, one within the other.
const DEEPEST: usize = 8;

/// How the names of a file become those of a model.
#[derive(Debug, PartialEq)]
pub(super) struct Names {
    /// The wrappers that are taken out of every name.
    wrappers: Vec<&'static str>,
    /// What is then taken from before the names: a name with its point, or nothing.
    prefix: String,
}

impl Names {
    /// The way by which the most names of a file become wanted ones, unless most are wanted as they are. `None` also where two ways are
    /// as good.
    pub(super) fn find<'a>(given: impl Iterator<Item = &'a str> + Clone, wanted: &HashSet<&str>) -> Option<Names> {
        let direct = given.clone().filter(|name| wanted.contains(name)).count();
        // By whether wrappers are taken out, and what is taken from before the names.
        let mut found: BTreeMap<(bool, String), usize> = BTreeMap::new();
        let mut wrappers = HashSet::new();
        for name in given {
            let bare = unwrapped(name, &WRAPPERS);
            if matches!(bare, Cow::Owned(_)) {
                wrappers.extend(name.split('.').filter_map(|part| WRAPPERS.iter().find(|wrapper| **wrapper == part)));
            }
            for (unwrapped, name) in [(true, &*bare), (false, name)] {
                let ends = name.match_indices('.').map(|(at, _)| at + 1).take(DEEPEST);
                for start in std::iter::once(0).chain(ends) {
                    if wanted.contains(&name[start..]) {
                        *found.entry((unwrapped, name[..start].to_owned())).or_default() += 1;
                    }
                }
            }
        }
        let most = found.values().copied().max().filter(|&most| most > direct && 2 * most > wanted.len())?;
        let best = |unwrapped: bool| -> Vec<&str> {
            let best = found.iter().filter(|((taken, _), count)| *taken == unwrapped && **count == most);
            best.map(|((_, prefix), _)| prefix.as_str()).collect()
        };
        // Where both do, wrappers are named as such.
        let unwrap = !best(true).is_empty();
        let [prefix] = best(unwrap)[..] else { return None };
        let mut wrappers: Vec<&'static str> = if unwrap { wrappers.into_iter().copied().collect() } else { Vec::new() };
        wrappers.sort_unstable();
        Some(Names { wrappers, prefix: prefix.to_owned() })
    }

    /// The model's name for a name of the file; `None` for what does not lie behind the prefix, and so belongs to something else.
    pub(super) fn rename(&self, name: &str) -> Option<String> {
        let bare = unwrapped(name, &self.wrappers);
        bare.strip_prefix(&self.prefix).filter(|_| name != COUNTER).map(str::to_owned)
    }

    /// What is taken out of names.
    pub(super) fn removed(&self) -> Vec<String> {
        let prefix = (!self.prefix.is_empty()).then(|| self.prefix.clone());
        self.wrappers.iter().map(|wrapper| format!("{wrapper}.")).chain(prefix).collect()
    }
}

/// A name without the parts that wrappers put before its last one.
fn unwrapped<'a>(name: &'a str, wrappers: &[&str]) -> Cow<'a, str> {
    let Some((layers, last)) = name.rsplit_once('.') else { return Cow::Borrowed(name) };
    if !layers.split('.').any(|part| wrappers.contains(&part)) {
        return Cow::Borrowed(name);
    }
    let parts = layers.split('.').filter(|part| !wrappers.contains(part)).chain([last]);
    Cow::Owned(parts.collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is removed, and the names after it; `None` for a name outside.
    fn fitted(given: &[&str], wanted: &[&str]) -> Option<(Vec<String>, Vec<Option<String>>)> {
        let names = Names::find(given.iter().copied(), &wanted.iter().copied().collect())?;
        Some((names.removed(), given.iter().map(|name| names.rename(name)).collect()))
    }

    #[test]
    fn names_of_wrapped_models_become_those_of_the_model() {
        let wanted = ["features.0.weight", "features.0.bias", "classifier.6.weight"];
        let all: Vec<Option<String>> = wanted.iter().map(|name| Some((*name).to_owned())).collect();
        for (given, removed) in [
            (["module.features.0.weight", "module.features.0.bias", "module.classifier.6.weight"], &["module."][..]),
            // The way of PyTorch's ImageNet example with AlexNet and VGG.
            (["features.module.0.weight", "features.module.0.bias", "classifier.6.weight"], &["module."]),
            (["model.features.0.weight", "model.features.0.bias", "model.classifier.6.weight"], &["model."]),
            (
                [
                    "model._orig_mod.features.0.weight",
                    "model._orig_mod.features.0.bias",
                    "model._orig_mod.classifier.6.weight",
                ],
                &["_orig_mod.", "model."],
            ),
            (["a.b.features.0.weight", "a.b.features.0.bias", "a.b.classifier.6.weight"], &["a.b."]),
        ] {
            let removed: Vec<String> = removed.iter().map(|part| (*part).to_owned()).collect();
            assert_eq!(fitted(&given, &wanted), Some((removed, all.clone())), "{given:?}");
        }
    }

    #[test]
    fn names_that_fit_stay() {
        let names = ["module.weight", "module.module.weight"];
        assert_eq!(fitted(&names, &names), None);
        // A model whose own name is that of a wrapper, wrapped.
        let wrapped = ["module.module.weight", "module.module.module.weight"];
        let (removed, renamed) = fitted(&wrapped, &names).unwrap_or_default();
        assert_eq!(removed, ["module."]);
        assert_eq!(renamed, names.map(|name| Some(name.to_owned())));
    }

    #[test]
    fn what_lies_beside_the_model_stays_outside() {
        let averaged = fitted(&["module.w", "module.b", "n_averaged"], &["w", "b"]).map(|(_, renamed)| renamed);
        assert_eq!(averaged, Some(vec![Some("w".to_owned()), Some("b".to_owned()), None]));
        let lightning = fitted(&["loss.weight", "model.w", "model.b"], &["w", "b"]).map(|(_, renamed)| renamed);
        assert_eq!(lightning, Some(vec![None, Some("w".to_owned()), Some("b".to_owned())]));
    }

    #[test]
    fn what_is_not_clear_stays() {
        assert_eq!(fitted(&["student.w", "student.b", "teacher.w", "teacher.b"], &["w", "b"]), None);
        // Half of the names could be chance.
        assert_eq!(fitted(&["model.w", "model.c"], &["w", "b"]), None);
        assert_eq!(fitted(&["a", "b.c"], &[]), None);
        assert_eq!(fitted(&[], &["a"]), None);
    }
}
