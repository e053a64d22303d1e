//! The program: from a command line to an exit code.

use std::borrow::Cow;
use std::io::Write;
use std::process::ExitCode;

use crate::cli::Cli;
use crate::commands;
use crate::context::Context;
use crate::environment::Environment;
use crate::failure::{Failure, NextStep};
use crate::logging::{self, Verbosity};
use crate::output::{Format, Output};

/// No threads could be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the program's threads")]
struct RuntimeError(#[source] std::io::Error);

impl NextStep for RuntimeError {
    fn next_step(&self) -> Cow<'static, str> {
        "raise the limits on processes and open files (ulimit -u, ulimit -n)".into()
    }
}

/// Does what the command line says, and tells the person if it failed.
pub fn run(cli: Cli, environment: Environment) -> ExitCode {
    let format = if cli.globals.json { Format::Json } else { Format::Text };
    let out = Output::new(format, cli.globals.quiet, &environment);
    match start(cli, environment, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = match format {
                Format::Text => failure.to_text(),
                Format::Json => format!("{}\n", failure.to_json()),
            };
            // If stderr is gone, the exit code still says it.
            let _ = std::io::stderr().write_all(text.as_bytes());
            failure.exit().into()
        }
    }
}

fn start(cli: Cli, environment: Environment, out: Output) -> Result<(), Failure> {
    let Cli { globals, command } = cli;
    let verbosity = Verbosity::from_flags(command.verbosity(), globals.verbose, globals.quiet);
    logging::init(verbosity, globals.log_format, &environment)?;
    let context = Context::new(&globals, environment, out)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RuntimeError)?;
    let result = runtime.block_on(commands::run(context, command));
    // Work that was interrupted may still hold a thread; nothing that must be kept depends on its end.
    runtime.shutdown_background();
    result
}
