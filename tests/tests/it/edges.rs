//! Who may know whom. ARCHITECTURE.md draws these edges; this suite keeps the drawing true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// Every crate of the workspace and the crates of the workspace it may depend on.
const EDGES: [(&str, &[&str]); 6] = [
    ("cocoon-market", &[]),
    ("cocoon-runtime", &["cocoon-market"]),
    ("cocoon-settlement", &["cocoon-market"]),
    ("cocoon-p2p", &["cocoon-market"]),
    ("cocoon-swarm", &["cocoon-market", "cocoon-runtime", "cocoon-settlement", "cocoon-p2p"]),
    ("cocoon-tests", &["cocoon-market", "cocoon-runtime", "cocoon-settlement", "cocoon-p2p"]),
];

/// Families of outside crates, by name prefix, and the one crate that may name them.
const OWNED: [(&str, &str); 10] = [
    ("libp2p", "cocoon-p2p"),
    ("burn", "cocoon-runtime"),
    ("wgpu", "cocoon-runtime"),
    ("cubecl", "cocoon-runtime"),
    ("tonlib", "cocoon-settlement"),
    ("tycho", "cocoon-settlement"),
    ("ark-", "cocoon-settlement"),
    ("redb", "cocoon-settlement"),
    ("clap", "cocoon-swarm"),
    ("axum", "cocoon-swarm"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Normal and build dependencies of each package, by name; development dependencies may look anywhere.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs, since it built this test");
    let meta: Value = serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON");
    let packages = meta["packages"].as_array().expect("a list of packages");
    let names = |package: &Value| {
        let deps = package["dependencies"].as_array().expect("a list of dependencies").iter();
        deps.filter(|d| d["kind"] != "dev").map(|d| d["name"].as_str().expect("a name").to_owned()).collect()
    };
    packages.iter().map(|p| (p["name"].as_str().expect("a name").to_owned(), names(p))).collect()
}

#[test]
fn crates_know_only_whom_they_may() {
    let dependencies = dependencies();
    let listed: BTreeSet<_> = EDGES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(dependencies.keys().cloned().collect::<BTreeSet<_>>(), listed, "a crate without a line in EDGES");
    for (name, may) in EDGES {
        for dependency in dependencies[name].iter().filter(|d| d.starts_with("cocoon-")) {
            assert!(may.contains(&dependency.as_str()), "{name} must not know {dependency}");
        }
    }
}

#[test]
fn outside_families_have_one_owner() {
    for (name, dependencies) in dependencies() {
        for (prefix, owner) in OWNED {
            let named = dependencies.iter().find(|d| d.starts_with(prefix));
            assert!(name == owner || named.is_none(), "{name} names {named:?}, which belongs to {owner}");
        }
    }
}

/// The crates that the simulator replaces by its own, in virtual time.
const PATCHED: [&str; 2] = ["futures-timer", "web-time"];

fn locked(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join(lock)).unwrap_or_else(|e| panic!("{lock}: {e}"));
    let value: toml::Table = text.parse().expect("a lock file is TOML");
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in value["package"].as_array().expect("packages") {
        let field = |name: &str| package[name].as_str().expect("a string").to_owned();
        versions.entry(field("name")).or_default().insert(field("version"));
    }
    versions
}

#[test]
fn the_simulator_locks_the_versions_of_production() {
    let (production, simulator) = (locked("Cargo.lock"), locked("simnet/Cargo.lock"));
    let shared = simulator.iter().filter(|(name, _)| production.contains_key(*name) && !PATCHED.contains(&name.as_str()));
    let mut compared = 0;
    for (name, versions) in shared {
        assert!(versions.is_subset(&production[name]), "{name}: simnet locks {versions:?}, production {:?}", production[name]);
        compared += 1;
    }
    assert!(compared > 50, "only {compared} crates in common: is this the right lock file?");
}
