//! The OpenAI-compatible port, used by the package it is compatible with.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use cocoon_tests::free_port;

use crate::world::{Devnet, PRICE, Provider};

/// Names a Python interpreter that has the `openai` package; `.ci/test` sets it.
const PYTHON: &str = "COCOON_OPENAI_PYTHON";

#[test]
fn the_unmodified_openai_package_streams_a_chat() -> Result<()> {
    check("openai_chat.py", "tiny", |devnet| Provider::start(devnet, PRICE, &[]))
}

#[test]
fn the_unmodified_openai_package_gets_vectors() -> Result<()> {
    check("openai_embeddings.py", "tiny-bert", |devnet| Provider::of_vectors(devnet, "100"))
}

/// Runs a script against a gateway that buys from this provider of a model.
fn check(script: &str, model: &str, provider: impl FnOnce(&Devnet) -> Result<Provider>) -> Result<()> {
    let Some(python) = std::env::var_os(PYTHON) else {
        eprintln!("skipped: set {PYTHON} to an interpreter that has the openai package");
        return Ok(());
    };
    let devnet = Devnet::start()?;
    let provider = provider(&devnet)?;
    let requester = devnet.home()?;
    requester.set("cap_ton", "\"0.5\"")?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let mut gateway = requester.start(&["gateway", "--listen", &listen, "--no-mdns", "--bootstrap", &provider.address])?;
    gateway.event("ready")?;
    let script = format!("{}/python/{script}", env!("CARGO_MANIFEST_DIR"));
    let out =
        Command::new(python).arg(script).arg(format!("http://{listen}/v1")).args(["--model", model]).output().context("python runs")?;
    ensure!(out.status.success(), "{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    Ok(())
}
