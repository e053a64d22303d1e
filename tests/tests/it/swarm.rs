//! A swarm of separate processes: a chain, two providers, a requester.

use anyhow::Result;

use crate::world::{Devnet, PRICE, Provider, ask, await_share, balance, nano};

#[test]
fn the_cheaper_of_two_providers_is_asked_and_a_second_question_reuses_agreement_and_channel() -> Result<()> {
    let devnet = Devnet::start()?;
    let dear = Provider::start(&devnet, "500", &[])?;
    let mut fair = Provider::start(&devnet, PRICE, &[&dear.address])?;
    let requester = devnet.home()?;
    let before = balance(&fair.home)?;

    let first = requester.json(&ask(&dear.address, "64"))?;
    let done = first.last().cloned().unwrap_or_default();
    assert_eq!(done["event"], "done", "{first:?}");
    let matched = first.iter().find(|event| event["event"] == "matched").cloned().unwrap_or_default();
    assert_eq!(matched["offers"].as_array().map(Vec::len), Some(2), "{matched}");
    let spent_first = balance(&requester)?;

    let second = requester.json(&ask(&dear.address, "64"))?;
    assert!(second.iter().any(|event| event["event"] == "reused"), "{second:?}");
    assert_eq!(balance(&requester)?, spent_first, "the second question opens nothing on chain");
    let again = second.last().cloned().unwrap_or_default();
    assert_eq!(again["provider"], done["provider"]);

    assert!(fair.process.interrupt()?.success());
    let owed = nano(&done["paid_nanoton"])? + nano(&again["paid_nanoton"])?;
    // Its share is 95%; the gas of the claim comes from the operations balance.
    let share = owed - owed * 5 / 100;
    await_share(&fair.home, before, share)
}
