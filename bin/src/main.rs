//! The `swarm` program. Everything it does is in the library, where it can be tested and reused.

use std::process::ExitCode;

use clap::Parser;
use cocoon_swarm::cli::Cli;
use cocoon_swarm::environment::{Environment, quiet_drivers};

/// Each layer of a model takes and frees megabytes; this keeps them instead of asking the system for zeroed pages again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread yet.
    unsafe { quiet_drivers() };
    match Cli::try_parse() {
        Ok(cli) => cocoon_swarm::app::run(cli, Environment::read()),
        Err(error) => {
            // A terminal that went away while help was printed leaves nobody to tell.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}
