//! What stands behind a provider's work: staked, paid from, released and taken back, each by a process of its own.

use anyhow::{Context, Result};
use cocoon_tests::{Home, until};
use serde_json::Value;

use crate::world::{Devnet, PRICE, Provider, ask, await_share, balance, earned, nano};

/// Gives a home the devnet's terms with a short time until released collateral can be withdrawn.
fn terms(home: &Home) -> Result<Value> {
    home.value(&["chain", "deploy", "--network", "devnet", "--unbond-s", "5"])
}

/// What the devnet's vault holds.
fn held(devnet: &Devnet, vault: &str) -> Result<u128> {
    let url = format!("{}/api/v2/getAddressInformation?address={vault}", devnet.url);
    let answer: Value = ureq::get(&url).call()?.body_mut().read_json()?;
    nano(&answer["result"]["balance"])
}

#[test]
fn collateral_is_staked_pays_claims_and_comes_back_and_the_vault_gets_its_fees() -> Result<()> {
    let devnet = Devnet::start()?;
    let home = devnet.home()?;
    let network = terms(&home)?;
    assert_eq!(network["was_there"], true, "a devnet has its vault: {network}");
    let vault = network["vault"].as_str().context("a vault")?.to_owned();
    let none = home.fail(&["stake"])?;
    assert!(none.contains("no contract") && none.contains("swarm stake 1"), "{none}");

    let full = balance(&home)?;
    let plan = home.value(&["stake", "1", "--bond", "0.5", "--operations", "0.2", "--dry-run"])?;
    assert_eq!(balance(&home)?, full, "{plan}");
    let staked = home.value(&["stake", "1", "--bond", "0.5", "--operations", "0.2"])?;
    assert_eq!((nano(&staked["stake_nanoton"])?, nano(&staked["bond_nanoton"])?), (1_000_000_000, 500_000_000));
    assert!(nano(&staked["operations_nanoton"])? >= 200_000_000, "{staked}");
    assert_eq!(plan["contract"], staked["contract"]);

    let (before, fees_before) = (balance(&home)?, held(&devnet, &vault)?);
    let mut provider = Provider::start_in(home, PRICE, &[])?;
    let requester = devnet.home()?;
    terms(&requester)?;
    let done = requester.json(&ask(&provider.address, "64"))?.pop().context("an answer")?;
    assert!(provider.process.interrupt()?.success());
    let owed = nano(&done["paid_nanoton"])?;
    let (fee, home) = (owed * 5 / 100, provider.home);
    // Nothing was staked again, and claims cost the wallet nothing.
    await_share(&home, before, owed - fee)?;
    let state = home.value(&["stake"])?;
    assert_eq!((nano(&state["fees_nanoton"])?, &state["claims"]), (fee, &1.into()));
    let kept = until("the fee comes to the vault", || Ok(held(&devnet, &vault)?.checked_sub(fees_before).filter(|kept| *kept > 0)))?;
    // Storage of the vault costs less than a thousandth of a TON in the time of a test.
    assert!(kept <= fee && kept + 1_000_000 > fee, "of {fee} came {kept}");

    let too_much = home.fail(&["unstake", "1.1"])?;
    assert!(too_much.contains("of the collateral is free"), "{too_much}");
    assert!(home.fail(&["withdraw"])?.contains("nothing is being released"));
    let released = home.value(&["unstake", "0.4", "--bond", "0.5"])?;
    assert_eq!((nano(&released["stake_nanoton"])?, nano(&released["unbonding_nanoton"])?), (600_000_000, 900_000_000));
    let before = balance(&home)?;
    until("what was released can be withdrawn", || {
        let out = home.command(&["--json", "withdraw"])?.output()?;
        let error = String::from_utf8_lossy(&out.stderr);
        anyhow::ensure!(out.status.success() || error.contains("can be withdrawn from"), "{error}");
        Ok(out.status.success().then_some(()))
    })?;
    // A withdrawal costs less than 0.01 TON.
    let back = earned(&home, before, 890_000_001)?;
    assert!(back <= 900_000_000, "{back}");
    assert!(home.fail(&["withdraw", "--operations", "1"])?.contains("the operations balance is"));
    let before = balance(&home)?;
    let left = home.value(&["withdraw", "--operations", "0.1"])?;
    assert!(earned(&home, before, 90_000_001)? <= 100_000_000);
    assert_eq!((nano(&left["stake_nanoton"])?, nano(&left["unbonding_nanoton"])?), (600_000_000, 0));
    Ok(())
}
