//! The money of the contracts against a model of it, over random sequences of operations.
//!
//! `COCOON_MODEL_SEEDS` says how many sequences (two if it is not set), `COCOON_MODEL_FIRST` with which seed to begin. A sequence that
//! fails is cut down to the operations that still make it fail before it is printed.
#![allow(missing_docs, clippy::missing_docs_in_private_items)]

mod model;
mod ops;
mod world;

use ops::{Op, sequence};
use world::World;

/// Operations of one sequence.
const OPERATIONS: usize = 2_000;
/// Shortened sequences that are tried.
const CUTS_MAX: usize = 200;

/// Runs a sequence; says at which operation it failed and why.
fn run(ops: &[Op]) -> Result<World, (usize, String)> {
    let mut world = World::new();
    world.prepare().map_err(|error| (0, format!("before the first operation: {error}")))?;
    for (step, op) in ops.iter().enumerate() {
        world.step(op).map_err(|error| (step, error))?;
    }
    world.finish().map_err(|error| (ops.len(), error))?;
    Ok(world)
}

/// Leaves out ever smaller pieces, as long as what is left still fails.
fn shortened(mut ops: Vec<Op>) -> Vec<Op> {
    let (mut piece, mut at, mut tries) = (ops.len().div_ceil(2), 0, 0);
    while piece > 0 && tries < CUTS_MAX {
        if at >= ops.len() {
            (piece, at) = (piece / 2, 0);
            continue;
        }
        let rest: Vec<_> = ops.iter().take(at).chain(ops.iter().skip(at + piece)).copied().collect();
        tries += 1;
        match run(&rest) {
            Err((step, _)) => ops = rest.into_iter().take(step + 1).collect(),
            Ok(_) => at += piece,
        }
    }
    ops
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

#[test]
fn contracts_and_model_agree_to_the_nano_unit_after_every_block() {
    let first = from_environment("COCOON_MODEL_FIRST", 1);
    for seed in first..first + from_environment("COCOON_MODEL_SEEDS", 2) {
        let ops = sequence(seed, OPERATIONS);
        match run(&ops) {
            Ok(world) => println!("seed {seed}: {:#?}", world.counts),
            Err((step, error)) => {
                println!("seed {seed} fails at operation {step}: {error}\nShortening; that may take a while.");
                let short = shortened(ops.into_iter().take(step + 1).collect());
                let (at, error) = run(&short).err().expect("it failed before");
                panic!("seed {seed} fails at operation {step}; these {} do so at {at}: {short:#?}\n{error}", short.len());
            }
        }
    }
}
