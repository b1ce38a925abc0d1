//! Every public op has its row: the sources are read, so that an op without one is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::row::Gradient;
use crate::{rows, table};

/// Public functions that are no ops, with the reason.
const NO_OPS: &[(&str, &str)] = &[
    ("device", "says where a tensor is"),
    ("shape", "says its shape"),
    ("rank", "says its rank"),
    ("numel", "says its size"),
    ("dtype", "says its type"),
    ("is_contiguous", "says how it lies"),
    ("version", "counts writes; the tests of autograd hold it"),
    ("shares_memory", "says whether two are views of one"),
    ("div_scalar", "multiplies by the reciprocal, as mul_scalar, whose row it shares"),
    ("optim::state_len", "says a size; the optimizers' rows pass it"),
];

/// Methods of a variable that give a mask or a position, as a tensor.
const SLOPELESS: &[&str] = &["argmax", "argmin", "eq", "ne", "lt", "le", "gt", "ge"];

/// Public functions of a source file, those that macros define included: they are written `pub fn NAME => ..`.
fn public_functions(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut of_options = false;
    text.lines()
        .filter(|line| {
            // What makes options is no op.
            if line.starts_with("impl") {
                of_options = line.contains("Options");
            } else if *line == "}" {
                of_options = false;
            }
            !of_options
        })
        .filter_map(|line| line.trim().strip_prefix("pub fn ").or_else(|| line.trim().strip_prefix("pub async fn ")))
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
        // `pub fn $name` in a macro is each of its rows.
        .filter(|name| !name.is_empty())
        .collect()
}

fn sources(folder: &str) -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    files
}

/// A function's name as its row has it: methods of `Tensor` by their name, functions of public modules with the module.
fn row_names(function: &str, file: &str) -> Vec<String> {
    let module = if file == "pointwise" { "gradient" } else { file };
    vec![function.to_owned(), format!("{module}::{function}")]
}

/// Names that a file declares as methods and as free functions: both need a row.
fn twice(text: &str, function: &str) -> bool {
    text.lines().filter(|line| line.trim().starts_with(&format!("pub fn {function}("))).count() > 1
}

#[test]
fn every_public_op_has_a_row() {
    let table = table();
    let mut names: BTreeSet<&str> = table.iter().map(|row| row.name).collect();
    let access = rows::access::wrongs();
    names.extend(access.iter().map(|(name, _)| *name));
    let no_ops: BTreeMap<&str, &str> = NO_OPS.iter().copied().collect();
    let mut files = sources("crates/tensor/src/ops");
    files.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/tensor/src/tensor.rs"));
    let (mut missing, mut seen) = (Vec::new(), BTreeSet::new());
    for path in &files {
        let file = path.file_stem().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        for function in public_functions(path) {
            let candidates = row_names(&function, file);
            let found = candidates.iter().filter(|name| names.contains(name.as_str())).count();
            let excused = candidates.iter().filter(|name| no_ops.contains_key(name.as_str())).count();
            let needed = if excused == 0 && twice(&text, &function) { 2 } else { 1 };
            if found + excused < needed {
                missing.push(format!("{}: {function}", path.display()));
            }
            seen.extend(candidates);
        }
    }
    assert!(missing.is_empty(), "public ops without a row in tests/parity/rows:\n{}", missing.join("\n"));
    assert!(seen.len() > 200, "the sources were not found");
    let stale: Vec<&str> = names.iter().copied().chain(no_ops.keys().copied()).filter(|n| !seen.contains(*n)).collect();
    assert!(stale.is_empty(), "rows or exceptions of functions that are no more: {stale:?}");
}

#[test]
fn every_differentiable_op_has_a_gradient() {
    let table = table();
    let with_gradient: BTreeSet<&str> =
        table.iter().filter(|row| matches!(row.gradient, Gradient::Within(_))).map(|row| row.name).collect();
    let mut functions = BTreeSet::new();
    for path in sources("crates/autograd/src/ops") {
        functions.extend(public_functions(&path));
        functions.extend(tabled_functions(&path));
    }
    assert!(functions.len() > 50, "the sources were not found: {functions:?}");
    let slopeless: BTreeSet<&str> = SLOPELESS.iter().copied().collect();
    let missing: Vec<&String> = functions
        .iter()
        // The same op, whose axis stays or whose number is turned over.
        .map(|name| (name, if name == "div_scalar" { "mul_scalar" } else { name.trim_end_matches("_keepdim") }))
        .filter(|(name, op)| ![name.as_str(), *op].iter().any(|n| with_gradient.contains(n) || slopeless.contains(n)))
        .map(|(name, _)| name)
        .collect();
    assert!(missing.is_empty(), "differentiable ops without a gradient in tests/parity/rows: {missing:?}");
    let stale: Vec<&&str> = with_gradient.iter().filter(|name| !functions.contains(**name)).collect();
    assert!(stale.is_empty(), "rows with a gradient of ops that are not differentiable: {stale:?}");
}

/// Ops in the tables of autograd's macros: `NAME saves ..:` and `NAME;` lines, right after their documentation.
fn tabled_functions(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut documented = false;
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        if documented && !line.starts_with("///") && !line.starts_with("pub ") {
            let name: String = line.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let rest = &line[name.len()..];
            if !name.is_empty() && (rest.starts_with(" saves ") || rest == ";") {
                found.insert(name);
            }
        }
        documented = line.starts_with("///");
    }
    found
}
