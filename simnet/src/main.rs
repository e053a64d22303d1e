//! `cocoon-simnet --seed N`: runs the first paid job in virtual time and prints its trace.

use std::process::ExitCode;
use std::time::Instant;

use cocoon_simnet::scenario::first_paid_job;

const USAGE: &str = "usage: cocoon-simnet [--seed N]

Runs three production nodes in virtual time: they find each other, gossip an offer, negotiate, run a job and pay for it.
The trace goes to stdout; the same seed gives the same trace. What it took goes to stderr.

Example: cargo run --release -- --seed 7";

fn seed(args: &[String]) -> Option<u64> {
    match args {
        [] => Some(1),
        [flag, number] if flag == "--seed" => number.parse().ok(),
        _ => None,
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(seed) = seed(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let started = Instant::now();
    match first_paid_job(seed) {
        Ok(trace) => {
            print!("{}", trace.text());
            eprintln!("seed {seed}: trace {} in {:?} of wall time", trace.hash(), started.elapsed());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
