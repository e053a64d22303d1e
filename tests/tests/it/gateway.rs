//! The OpenAI-compatible port, used by the package it is compatible with.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use cocoon_tests::free_port;

use crate::world::{Devnet, PRICE, Provider};

/// Names a Python interpreter that has the `openai` package; `.ci/test` sets it.
const PYTHON: &str = "COCOON_OPENAI_PYTHON";

#[test]
fn the_unmodified_openai_package_streams_a_chat() -> Result<()> {
    let Some(python) = std::env::var_os(PYTHON) else {
        eprintln!("skipped: set {PYTHON} to an interpreter that has the openai package");
        return Ok(());
    };
    let devnet = Devnet::start()?;
    let provider = Provider::start(&devnet, PRICE, &[])?;
    let requester = devnet.home()?;
    requester.set("cap_ton", "\"0.5\"")?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let mut gateway = requester.start(&["gateway", "--listen", &listen, "--no-mdns", "--bootstrap", &provider.address])?;
    gateway.event("ready")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/openai_chat.py");
    let out =
        Command::new(python).arg(script).arg(format!("http://{listen}/v1")).args(["--model", "tiny"]).output().context("python runs")?;
    ensure!(out.status.success(), "{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    Ok(())
}
