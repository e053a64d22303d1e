//! Nodes with a past: a power cut on both sides, and then business as before, from the disk.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use cocoon_tests::{Home, Process, free_port, until};
use serde_json::{Value, json};

use crate::world::{Devnet, PRICE, Provider, await_share, balance, nano};

/// Answers to be had before the power cut.
const CHATS: u64 = 3;

/// A requester that stays.
struct Gateway {
    home: Home,
    process: Process,
    url: String,
}

impl Gateway {
    fn start(home: Home, bootstrap: &str) -> Result<Self> {
        let listen = format!("127.0.0.1:{}", free_port()?);
        let mut process = home.start(&["gateway", "--listen", &listen, "--no-mdns", "--bootstrap", bootstrap])?;
        process.event("ready")?;
        Ok(Self { home, process, url: format!("http://{listen}/v1/chat/completions") })
    }

    fn chat(&self, tokens: u64) -> Result<()> {
        let order = json!({ "model": "tiny", "max_tokens": tokens, "messages": [{ "role": "user", "content": "hello" }] });
        let answer: Value = ureq::post(&self.url).send_json(order)?.body_mut().read_json()?;
        ensure!(answer["usage"]["completion_tokens"].is_u64(), "{answer}");
        Ok(())
    }
}

/// What a home's books say of jobs: by id, what each costs.
fn jobs(home: &Home) -> Result<Vec<(String, u128)>> {
    let mut jobs = Vec::new();
    for job in home.value(&["jobs", "ls"])?.as_array().context("a list")? {
        ensure!(job["state"] == "finished", "{job}");
        jobs.push((job["job"].as_str().context("an id")?.to_owned(), nano(&job["cost_nanoton"])?));
    }
    jobs.sort();
    Ok(jobs)
}

/// The one channel of a home.
fn channel(home: &Home) -> Result<Value> {
    let channels = home.value(&["channels", "ls"])?;
    ensure!(channels.as_array().map(Vec::len) == Some(1), "{channels}");
    Ok(channels[0].clone())
}

/// The agreements that the jobs of a home were done under.
fn agreements(home: &Home) -> Result<BTreeSet<String>> {
    let agreement = |(job, _): &(String, u128)| Ok(home.value(&["jobs", "show", job])?["agreement"].to_string());
    jobs(home)?.iter().map(agreement).collect()
}

/// The books of a home once all that was receipted is paid: the last voucher may still be on its way when an answer is complete.
fn settled(home: &Home) -> Result<Value> {
    until("all is paid", || Ok(Some(channel(home)?).filter(|channel| channel["paid_nanoton"] == channel["owed_nanoton"])))
}

/// The dossier of a job, from wherever its ledger is open, is sound.
fn prove(home: &Home, job: &str) -> Result<()> {
    let file = home.path().join("job.dossier");
    let file = file.to_str().context("a path")?;
    home.run(&["dossier", "export", job, "-o", file])?;
    home.run(&["dossier", "verify", file]).map(drop)
}

#[test]
fn nodes_with_a_full_ledger_go_on_after_a_power_cut_where_they_were() -> Result<()> {
    let devnet = Devnet::start()?;
    let mut provider = Provider::start(&devnet, PRICE, &[])?;
    let earned_before = balance(&provider.home)?;
    let home = devnet.home()?;
    home.set("cap_ton", "\"0.1\"")?;
    let mut gateway = Gateway::start(home, &provider.address)?;
    for tokens in 1..=CHATS {
        gateway.chat(tokens * 16)?;
    }
    // Both run, and both can be read.
    let (sold, bought) = (settled(&provider.home)?, settled(&gateway.home)?);
    assert_eq!((&sold["paid_nanoton"], &sold["receipts"]), (&bought["paid_nanoton"], &bought["receipts"]));
    assert_eq!(nano(&sold["drawn_nanoton"])?, 0, "nothing is claimed yet");
    let past = jobs(&provider.home)?;
    assert_eq!(past, jobs(&gateway.home)?);
    assert_eq!(past.len() as u64, CHATS);
    let agreement = agreements(&gateway.home)?;
    assert_eq!(agreement.len(), 1);
    prove(&provider.home, &past[0].0)?;

    provider.process.kill()?;
    gateway.process.kill()?;
    // The socket of a dead node is no node: its ledger is read from the disk.
    assert_eq!(jobs(&provider.home)?, past);
    provider.restart()?;
    let mut gateway = Gateway::start(gateway.home, &provider.address)?;
    assert_eq!((jobs(&provider.home)?, jobs(&gateway.home)?), (past.clone(), past.clone()));
    let same =
        |now: &Value, then: &Value| ["channel", "paid_nanoton", "receipts", "deposit_nanoton"].iter().all(|key| now[key] == then[key]);
    assert!(same(&channel(&provider.home)?, &sold) && same(&channel(&gateway.home)?, &bought));

    gateway.chat(40)?;
    let (sold, bought) = (settled(&provider.home)?, settled(&gateway.home)?);
    assert_eq!((&sold["channel"], &sold["paid_nanoton"]), (&bought["channel"], &bought["paid_nanoton"]));
    assert_eq!(agreements(&gateway.home)?, agreement, "the next job is done under the same agreement");
    let now = jobs(&provider.home)?;
    assert_eq!(now.len(), past.len() + 1);
    assert!(past.iter().all(|job| now.contains(job)), "{past:?} {now:?}");
    let owed: u128 = now.iter().map(|(_, cost)| cost).sum();
    assert_eq!(nano(&sold["paid_nanoton"])?, owed);

    // One claim draws what all vouchers pay, once.
    assert!(provider.process.interrupt()?.success());
    assert!(gateway.process.interrupt()?.success());
    let address = bought["channel"]["address"].as_str().context("an address")?;
    let drawn = gateway.home.value(&["channels", "show", address])?;
    assert_eq!(nano(&drawn["drawn_nanoton"])?, owed);
    let orders = provider.home.value(&["channels", "show", address])?;
    assert_eq!(orders["orders"].as_array().map(Vec::len), Some(1), "{orders}");
    let share = owed - owed * 5 / 100;
    await_share(&provider.home, earned_before, share)?;
    prove(&gateway.home, &past[0].0)?;
    Ok(())
}
