//! The house rules that a compiler does not check, read from the manifests and the lockfile: which crate may use which, who may name
//! wgpu, that every crate keeps the workspace's lints and says where it comes from, and which crates the library pulls in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Each crate with the crates of ours that it may use. Imports point down only.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kiln-shaders", &[]),
    ("kiln-gpu", &[]),
    ("kiln-tensor", &["kiln-shaders", "kiln-gpu"]),
    ("kiln-autograd", &["kiln-tensor"]),
    ("kiln-nn", &["kiln-autograd", "kiln-tensor"]),
    ("kiln-data", &[]),
    ("kiln-vision", &["kiln-nn", "kiln-autograd", "kiln-tensor"]),
    ("kiln-train", &["kiln-nn", "kiln-data", "kiln-vision", "kiln-autograd", "kiln-tensor"]),
    ("kiln", EVERYTHING_BELOW),
    ("kiln-cli", &["kiln"]),
    ("xtask", &[]),
];

/// What the facade may use; the program may use it too, and the facade itself.
const EVERYTHING_BELOW: &[&str] =
    &["kiln-shaders", "kiln-gpu", "kiln-tensor", "kiln-autograd", "kiln-nn", "kiln-data", "kiln-vision", "kiln-train"];

/// The most crates that a program pulls in with the library, the library's own counted.
const MOST_CRATES: usize = 160;

/// A dependency as a manifest states it.
#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    /// Only for tests, examples and benchmarks.
    dev: bool,
}

fn cargo(args: &[&str]) -> String {
    let out = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(args)
        .arg("--offline")
        .output()
        .expect("cargo starts");
    assert!(out.status.success(), "cargo {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("cargo prints UTF-8")
}

/// The workspace's packages as `cargo metadata` describes them.
fn packages() -> Vec<Value> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&text).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("metadata lists packages").clone()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text under {key} in {value}"))
}

fn edges(packages: &[Value]) -> Vec<Edge> {
    let of_package = |package: &Value| {
        let from = text(package, "name").to_owned();
        let dependencies = package["dependencies"].as_array().cloned().unwrap_or_default();
        dependencies.into_iter().map(move |dependency| Edge {
            from: from.clone(),
            to: text(&dependency, "name").to_owned(),
            dev: dependency["kind"] == "dev",
        })
    };
    packages.iter().flat_map(of_package).collect()
}

/// [`ALLOWED`] with the program's row filled in.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut allowed: BTreeMap<_, BTreeSet<_>> =
        ALLOWED.iter().map(|&(from, to)| (from, to.iter().copied().collect())).collect();
    allowed.get_mut("kiln-cli").expect("the program has a row").extend(EVERYTHING_BELOW);
    allowed
}

/// Everything that can be reached from `from` along allowed edges.
fn below(allowed: &BTreeMap<&'static str, BTreeSet<&'static str>>, from: &str) -> BTreeSet<&'static str> {
    let mut found: BTreeSet<&'static str> = allowed.get(from).cloned().unwrap_or_default();
    let mut open: Vec<&'static str> = found.iter().copied().collect();
    while let Some(next) = open.pop() {
        open.extend(allowed.get(next).into_iter().flatten().filter(|to| found.insert(to)));
    }
    found
}

/// The edges between our crates that break the rule. A test may use whatever lies below its crate, even where the crate
/// itself goes through the layer between.
fn forbidden(edges: &[Edge]) -> Vec<String> {
    let allowed = allowed();
    let of_ours = edges.iter().filter(|edge| allowed.contains_key(edge.to.as_str()));
    let breaks = |edge: &&Edge| {
        let may_use = |set: &BTreeSet<&str>| set.contains(edge.to.as_str());
        let direct = allowed.get(edge.from.as_str()).is_some_and(may_use);
        !(direct || edge.dev && may_use(&below(&allowed, &edge.from)))
    };
    of_ours.filter(breaks).map(|edge| format!("{} -> {}", edge.from, edge.to)).collect()
}

#[test]
fn imports_point_down_only() {
    let packages = packages();
    let known = allowed();
    let unknown: Vec<_> =
        packages.iter().map(|package| text(package, "name")).filter(|name| !known.contains_key(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not in tests/architecture.rs: say there what they may use");
    let forbidden = forbidden(&edges(&packages));
    assert!(forbidden.is_empty(), "imports must point down (docs/architecture.md); these do not: {forbidden:?}");
}

#[test]
fn an_import_that_points_up_or_skips_is_found() {
    let edge = |from: &str, to: &str, dev| Edge { from: from.to_owned(), to: to.to_owned(), dev };
    let edges = [
        edge("kiln-tensor", "kiln-autograd", false),
        edge("kiln-data", "kiln-tensor", true),
        edge("kiln", "kiln-cli", true),
        edge("kiln-nn", "kiln-gpu", false),
        edge("kiln-nn", "kiln-gpu", true),
        edge("kiln-nn", "kiln-tensor", false),
        edge("kiln-cli", "kiln", false),
        edge("kiln-nn", "thiserror", false),
    ];
    let expected =
        ["kiln-tensor -> kiln-autograd", "kiln-data -> kiln-tensor", "kiln -> kiln-cli", "kiln-nn -> kiln-gpu"];
    assert_eq!(forbidden(&edges), expected);
}

#[test]
fn only_the_gpu_crate_names_wgpu() {
    let of_wgpu = |name: &str| name == "wgpu" || name.starts_with("wgpu-");
    let users: BTreeSet<_> =
        edges(&packages()).into_iter().filter(|edge| of_wgpu(&edge.to)).map(|edge| edge.from).collect();
    assert_eq!(users, BTreeSet::from(["kiln-gpu".to_owned()]), "these depend on wgpu; only kiln-gpu may");
}

#[test]
fn naga_is_for_tests_only() {
    let users = edges(&packages()).into_iter().filter(|edge| edge.to == "naga" && !edge.dev);
    let users: Vec<_> = users.map(|edge| edge.from).collect();
    assert!(users.is_empty(), "{users:?} depend on naga outside of tests; wgpu carries its own copy");
}

/// The keys of `[lints]`, without spaces, as the manifest's text has them.
fn lints(manifest: &str) -> Vec<String> {
    let lines = manifest.lines().map(|line| line.split('#').next().unwrap_or_default().replace(' ', ""));
    let section = lines.skip_while(|line| line != "[lints]").skip(1).take_while(|line| !line.starts_with('['));
    section.filter(|line| !line.is_empty()).collect()
}

#[test]
fn every_crate_keeps_the_workspaces_lints() {
    for package in packages() {
        let manifest = text(&package, "manifest_path");
        let lints = lints(&std::fs::read_to_string(Path::new(manifest)).unwrap());
        assert_eq!(lints, ["workspace=true"], "{manifest} needs `[lints]` with `workspace = true` and nothing else");
    }
}

#[test]
fn the_lints_section_is_read() {
    assert_eq!(
        lints("[package]\nname = \"a\"\n\n[lints] # ours\nworkspace = true\n\n[features]\n"),
        ["workspace=true"]
    );
    assert!(lints("[package]\nworkspace = true\n").is_empty());
}

#[test]
fn every_published_crate_says_what_it_is_and_where_it_comes_from() {
    let published = packages().into_iter().filter(|package| package["publish"].is_null());
    let mut count = 0;
    for package in published {
        count += 1;
        let name = text(&package, "name");
        for key in ["description", "license", "repository", "documentation", "readme", "rust_version"] {
            assert!(package[key].is_string(), "the manifest of {name} has no {key}");
        }
        assert_eq!(text(&package, "documentation"), format!("https://docs.rs/{name}"));
    }
    assert_eq!(count, ALLOWED.len() - 1, "all crates but xtask are published");
}

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Of each crate in a lockfile, the names of those that it needs on any system with any feature in use.
fn locked(lockfile: &str) -> BTreeMap<String, BTreeSet<String>> {
    let lockfile: toml::Table = toml::from_str(lockfile).unwrap();
    let mut locked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lockfile["package"].as_array().unwrap() {
        let needed = package.get("dependencies").and_then(toml::Value::as_array).into_iter().flatten();
        // A name, and the version where there are several.
        let needed = needed.map(|needed| needed.as_str().unwrap().split(' ').next().unwrap().to_owned());
        locked.entry(package["name"].as_str().unwrap().to_owned()).or_default().extend(needed);
    }
    locked
}

/// The crates of others that the library needs: all that can be reached from what its manifests name outside of tests.
fn library_crates(edges: &[Edge], locked: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let ours = |name: &str| name == "kiln" || EVERYTHING_BELOW.contains(&name);
    let named = edges.iter().filter(|edge| ours(&edge.from) && !ours(&edge.to) && !edge.dev);
    let mut open: Vec<String> = named.map(|edge| edge.to.clone()).collect();
    let mut found = BTreeSet::new();
    while let Some(next) = open.pop() {
        if found.insert(next.clone()) {
            open.extend(locked[&next].iter().cloned());
        }
    }
    found
}

#[test]
fn the_librarys_crates_are_those_that_were_looked_at() {
    let found = library_crates(&edges(&packages()), &locked(&file("Cargo.lock")));
    let list = file("tests/library_crates.txt");
    let known: BTreeSet<String> =
        list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
    let new: Vec<_> = found.difference(&known).collect();
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "the library's crates have changed. New: {new:?}; look at each (who maintains it, its licence, its unsafe code, whether a \
         feature that is not needed brings it) and add it to tests/library_crates.txt. No longer there: {gone:?}; remove them"
    );
}

#[test]
fn no_crate_is_one_that_is_known_to_be_bad() {
    let deny: toml::Table = toml::from_str(&file("deny.toml")).unwrap();
    let bad: BTreeMap<&str, &str> = deny["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ban| (ban["crate"].as_str().unwrap(), ban["reason"].as_str().unwrap()))
        .collect();
    assert!(bad.contains_key("ttf-parser") && bad.contains_key("number_prefix"), "{bad:?}");
    let locked = locked(&file("Cargo.lock"));
    let found: Vec<_> = bad.iter().filter(|(name, _)| locked.contains_key(**name)).collect();
    assert!(
        found.is_empty(),
        "Cargo.lock has {found:?}; `cargo tree -i NAME --workspace --all-features --target all` says why"
    );
}

#[test]
fn crates_are_followed_from_the_manifests_through_the_lockfile() {
    let lockfile = r#"
        package = [
            { name = "a", version = "1.0.0", dependencies = ["b 2.0.0", "c"] },
            { name = "b", version = "1.0.0", dependencies = ["d"] },
            { name = "b", version = "2.0.0" },
            { name = "c", version = "1.0.0", dependencies = ["a"] },
            { name = "d", version = "1.0.0" },
            { name = "e", version = "1.0.0" },
        ]"#;
    let edge = |from: &str, to: &str, dev| Edge { from: from.to_owned(), to: to.to_owned(), dev };
    let edges = [edge("kiln-nn", "a", false), edge("kiln-nn", "e", true), edge("kiln-cli", "e", false)];
    let found = library_crates(&edges, &locked(lockfile));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
}

#[test]
fn the_library_needs_few_crates() {
    let tree =
        ["tree", "--package", "kiln", "--edges", "normal,build", "--prefix", "none", "--no-dedupe", "--format", "{p}"];
    let text = cargo(&[&tree[..], &["--locked"]].concat());
    // `name v1.2.3 (proc-macro)`: the first two words are the crate.
    let name = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let crates: BTreeSet<String> = text.lines().filter(|line| !line.is_empty()).map(name).collect();
    assert!(crates.iter().any(|name| name.starts_with("wgpu v")), "the list is not the library's: {crates:?}");
    assert!(
        crates.len() <= MOST_CRATES,
        "kiln needs {} crates, {MOST_CRATES} are allowed; `cargo tree -p kiln -e normal,build` shows who brings them",
        crates.len()
    );
}
