//! Power cuts in the middle of things. Each of them may cost somebody a slice of work, and nobody a voucher.

use anyhow::Result;

use crate::world::{Devnet, PRICE, Provider, TAKING_NANOTON_MAX, ask, await_share, balance, earned, nano};

/// More than the generated model writes between a receipt and a kill.
const LONG: &str = "1900";

#[test]
fn a_requester_whose_provider_is_killed_is_told_what_it_paid_and_got() -> Result<()> {
    let devnet = Devnet::start()?;
    let mut provider = Provider::start(&devnet, PRICE, &[])?;
    let requester = devnet.home()?;
    let mut asking = requester.start(&ask(&provider.address, LONG))?;
    asking.event("paid")?;
    provider.process.kill()?;
    assert!(!asking.wait()?.success());
    let rest = asking.rest()?;
    assert!(rest.iter().all(|event| event["event"] != "done"), "the provider was killed too late to matter");
    let errors = asking.errors();
    assert!(errors.contains("provider was lost") && errors.contains("paid"), "{errors}");
    Ok(())
}

#[test]
fn a_provider_whose_requester_is_killed_still_claims_the_last_voucher_after_a_restart() -> Result<()> {
    let devnet = Devnet::start()?;
    let mut provider = Provider::start(&devnet, PRICE, &[])?;
    let before = balance(&provider.home)?;
    let requester = devnet.home()?;
    let mut asking = requester.start(&ask(&provider.address, LONG))?;
    let paid = nano(&asking.event("paid")?["cumulative_nanoton"])?;
    // Within its float the provider cannot have come to a third receipt without having the first voucher on its disk.
    asking.event("paid")?;
    asking.event("paid")?;
    asking.kill()?;
    provider.process.kill()?;
    provider.restart()?;
    assert!(provider.process.interrupt()?.success());
    // What was paid after the last event that was seen comes on top.
    earned(&provider.home, before, paid * 95 / 100 - TAKING_NANOTON_MAX)?;
    Ok(())
}

#[test]
fn a_job_outlives_its_chain_and_the_claim_follows_when_the_chain_is_back() -> Result<()> {
    let mut devnet = Devnet::start()?;
    let mut provider = Provider::start(&devnet, PRICE, &[])?;
    let before = balance(&provider.home)?;
    let requester = devnet.home()?;
    let mut asking = requester.start(&ask(&provider.address, LONG))?;
    asking.event("paid")?;
    devnet.kill()?;
    let done = asking.event("done")?;
    assert!(asking.wait()?.success());
    devnet.restart()?;
    assert!(provider.process.interrupt()?.success());
    let owed = nano(&done["paid_nanoton"])?;
    let share = owed - owed * 5 / 100;
    await_share(&provider.home, before, share)
}
