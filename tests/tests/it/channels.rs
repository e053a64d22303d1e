//! The end of a channel: with a provider that cannot see it, and told to a person at every step.

use anyhow::{Context, Result, ensure};
use cocoon_tests::{Home, until};
use serde_json::Value;

use crate::world::{Devnet, PRICE, Provider, await_share, balance, nano};

/// Seconds between a close and the refund. A provider may be blind for a third of them.
const WINDOW_S: &str = "60";

/// A small job, many of which fit under one agreement.
fn ask(bootstrap: &str) -> Vec<&str> {
    vec!["ask", "--model", "tiny", "--no-mdns", "--bootstrap", bootstrap, "--max-tokens", "8", "--cap", "0.1", "hello there"]
}

/// What came of asking once more.
enum Asked {
    Answered { cumulative: u128 },
    Refused { events: Vec<Value>, why: String },
}

fn ask_again(home: &Home, bootstrap: &str) -> Result<Asked> {
    let mut asking = home.start(&ask(bootstrap))?;
    let success = asking.wait()?.success();
    let events = asking.rest()?;
    if !success {
        return Ok(Asked::Refused { events, why: asking.errors() });
    }
    let paid = events.iter().rfind(|event| event["event"] == "paid").context("an answer is paid")?;
    Ok(Asked::Answered { cumulative: nano(&paid["cumulative_nanoton"])? })
}

#[test]
fn a_provider_that_cannot_see_its_channel_close_stops_in_time_and_claims_within_the_window() -> Result<()> {
    let devnet = Devnet::start()?;
    let line = devnet.line()?;
    let home = Devnet::home_at(&line.url())?;
    home.set("challenge_window_s", WINDOW_S)?;
    let provider = Provider::start_in(home, PRICE, &[])?;
    let earned_before = balance(&provider.home)?;
    let requester = devnet.home()?;
    requester.json(&ask(&provider.address))?;
    let channels = requester.value(&["channels", "ls"])?;
    let channel = channels[0]["channel"]["address"].as_str().context("one channel")?.to_owned();
    let show = ["channels", "show", channel.as_str()];
    let deposit = nano(&channels[0]["deposit_nanoton"])?;
    let before_close = balance(&requester)?;

    // Somebody dishonest asks on from a backup that has not heard of the close.
    let backup = requester.copy(&line.url())?;
    line.cut();
    let plan = requester.value(&["channels", "close", &channel, "--dry-run"])?;
    assert_eq!((&plan["message"], balance(&requester)?), (&"close_unilateral".into(), before_close));
    let closed = requester.value(&["channels", "close", &channel])?;
    assert!(closed["deadline_s"].is_u64() && closed["transaction"].is_object(), "{closed}");
    assert!(requester.fail(&["channels", "close", &channel])?.contains("closing already"));
    assert!(requester.fail(&["channels", "finish", &channel])?.contains("challenge window"));

    let mut paid = nano(&channels[0]["paid_nanoton"])?;
    let (events, why) = until("the provider works on though it cannot see the chain", || {
        Ok(match ask_again(&backup, &provider.address)? {
            Asked::Answered { cumulative } => {
                paid = cumulative;
                None
            }
            Asked::Refused { events, why } => Some((events, why)),
        })
    })?;
    assert!(events.iter().any(|event| event["event"] == "reused"), "it was asked in the closing channel: {events:?}");
    ensure!(why.contains("cannot see the chain") || why.contains("lost sight of the chain"), "{why}");
    let books = provider.home.value(&show)?;
    assert_eq!((nano(&books["paid_nanoton"])?, nano(&books["drawn_nanoton"])?, &books["state"]), (paid, 0, &"open".into()));

    line.restore();
    // The contract takes a claim only within the window, so that it is drawn says that it came in time.
    until("the provider claims", || Ok((nano(&requester.value(&show)?["drawn_nanoton"])? == paid).then_some(())))?;
    let finished = until("the window ends", || {
        let finish = ["--json", "channels", "finish", channel.as_str()];
        let out = requester.command(&finish)?.output()?;
        let (said, error) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        ensure!(out.status.success() || error.contains("challenge window"), "{error}");
        Ok(out.status.success().then(|| serde_json::from_str::<Value>(&said)).transpose()?)
    })?;
    let rest = deposit - paid;
    assert_eq!(nano(&finished["refund_nanoton"])?, rest);
    assert_eq!(requester.value(&show)?["state"], "closed");
    assert!(requester.fail(&["channels", "finish", &channel])?.contains("closed already"));

    // The gas of a close and a finish is below 0.01 TON; that of the claim is not the wallet's.
    let back = balance(&requester)? - before_close;
    assert!(back <= rest && back > rest - 10_000_000, "of {rest} came back {back}");
    let share = paid - paid * 5 / 100;
    await_share(&provider.home, earned_before, share)
}

#[test]
fn a_channel_that_cannot_be_ended_says_why_and_what_to_do() -> Result<()> {
    let devnet = Devnet::start()?;
    let provider = Provider::start(&devnet, PRICE, &[])?;
    let requester = devnet.home()?;
    let none = requester.fail(&["channels", "close", "abc"])?;
    assert!(none.contains("no channel") && none.contains("swarm channels ls"), "{none}");
    requester.json(&ask(&provider.address))?;
    let channel = requester.value(&["channels", "ls"])?[0]["channel"]["address"].as_str().context("one channel")?.to_owned();

    let early = requester.fail(&["channels", "finish", &channel])?;
    assert!(early.contains("is open") && early.contains("swarm channels close"), "{early}");
    let locked = provider.home.fail(&["channels", "close", &channel])?;
    assert!(locked.contains("in use") && locked.contains("stop the other"), "{locked}");
    drop(provider.process);
    let theirs = provider.home.fail(&["channels", "close", &channel])?;
    assert!(theirs.contains("provider of channel") && theirs.contains("swarm up"), "{theirs}");

    let all = requester.value(&["wallet", "address"])?;
    let elsewhere = devnet.home()?.value(&["wallet", "address"])?;
    assert_ne!(all["raw"], elsewhere["raw"]);
    requester.run(&["wallet", "send", elsewhere["friendly"].as_str().context("an address")?, "all"])?;
    let poor = requester.fail(&["channels", "close", &channel])?;
    assert!(poor.contains("the wallet holds") && poor.contains("swarm wallet deposit"), "{poor}");
    requester.run(&["wallet", "deposit", "--faucet", "1"])?;
    let text = requester.run(&["channels", "close", &channel])?;
    assert!(text.contains("may claim until") && text.contains("swarm channels finish"), "{text}");
    assert!(requester.run(&["channels", "ls"])?.contains("closing until"));
    Ok(())
}

#[test]
fn a_home_restored_from_a_copy_is_noticed_and_pays_in_a_new_channel() -> Result<()> {
    let devnet = Devnet::start()?;
    let line = devnet.line()?;
    let mut provider = Provider::start(&devnet, PRICE, &[])?;
    let requester = devnet.home()?;
    requester.json(&ask(&provider.address))?;
    let copy = requester.copy(&line.url())?;
    requester.json(&ask(&provider.address))?;
    let running = provider.home.value(&["audit"])?;
    assert_eq!(running["as_provider"]["receipted_nanoton"], requester.value(&["audit"])?["as_requester"]["receipted_nanoton"]);

    // A provider that stops claims what vouchers pay it.
    assert!(provider.process.interrupt()?.success());
    let newest = requester.value(&["audit", "--look"])?;
    let (paid, settled) = (&newest["as_requester"]["acknowledged_nanoton"], &newest["as_requester"]["settled_nanoton"]);
    assert!(nano(paid)? > 0 && paid == settled, "{newest}");
    let frozen = newest["channels"][0]["channel"]["address"].as_str().context("one channel")?;

    assert!(copy.value(&["audit"])?["channels"][0]["fault"].is_null(), "before it looks, an old copy is as good as a new one");
    let told = copy.fail(&["audit", "--look"])?;
    assert!(told.contains(frozen) && told.contains("was drawn on chain") && told.contains("restored from a copy"), "{told}");
    assert!(copy.fail(&["doctor"]).is_ok(), "it is red");

    provider.restart()?;
    copy.json(&ask(&provider.address))?;
    let channels = copy.value(&["channels", "ls"])?;
    let paid = channels.as_array().context("channels")?.iter().find(|row| row["channel"]["address"] != frozen).context("a new one")?;
    assert!(nano(&paid["paid_nanoton"])? > 0, "{channels}");
    Ok(())
}
