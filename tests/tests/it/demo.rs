//! The demo, as a script sees it.

use anyhow::{Context, Result};
use cocoon_tests::Home;
use serde_json::Value;
use std::process::Command;

fn demo(args: &[&str]) -> Result<Vec<Value>> {
    let out = Command::new(cocoon_tests::binary()?).args(["--json", "demo", "--device", "cpu"]).args(args).output()?;
    anyhow::ensure!(out.status.success(), "{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[test]
fn the_story_is_whole_and_the_balances_add_up() -> Result<()> {
    let kept = tempfile::tempdir()?;
    let events = demo(&["--model", "tiny", "--keep", kept.path().to_str().context("a path")?])?;
    let find = |name: &str| events.iter().find(|event| event["event"] == name).with_context(|| format!("no {name}"));
    for name in ["model", "chain", "vault", "player", "peer", "offer", "match", "negotiation", "chunk", "receipt", "done", "end"] {
        find(name)?;
    }
    let all = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    let (stakes, claims) = (all("stake"), all("claim"));
    assert_eq!((stakes.len(), claims.len()), (2, 2), "both providers stake and claim");
    let text = |value: &Value| value.as_str().and_then(|text| text.parse::<u128>().ok()).context("an amount");
    let fees = claims.iter().map(|claim| text(&claim["fee"])).sum::<Result<u128>>()?;
    assert_eq!(text(&find("fees")?["fees"])?, fees, "what the claims owe the network is in its vault");
    assert!(fees > 0);
    let balances = find("balances")?;
    assert_eq!(balances["adds_up"], true);
    assert_eq!(balances["sum_before"], balances["sum_after"]);
    let dossier = find("dossier")?;
    assert_eq!(dossier["sound"], true);
    let findings: Vec<&Value> = events.iter().filter(|event| event["event"] == "finding").collect();
    assert!(findings.iter().all(|finding| finding["verdict"] == "holds"), "{findings:?}");

    let home = Home::init("http://127.0.0.1:1")?;
    let file = dossier["file"].as_str().context("a file")?;
    home.run(&["dossier", "verify", file])?;
    let text = std::fs::read_to_string(file)?;
    let field = text.rfind("\"amount\":").context("an amount")? + 9;
    let at = field + text[field..].find('"').context("its digits")? + 1;
    let forged = format!("{}9{}", &text[..at], &text[at..]);
    std::fs::write(file, forged)?;
    assert!(home.run(&["dossier", "verify", file]).is_err(), "a forged amount must not verify");
    Ok(())
}
