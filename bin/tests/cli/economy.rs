//! The commands of the token economy, on a devnet with a network whose epochs are short.

use std::time::{Duration, Instant};

use cocoon_market::{Amount, ContractAddress, NetworkId};
use cocoon_settlement::chain::{Address, Bounce};
use cocoon_settlement::contract::founding::{Believed, Founding, Plan};
use cocoon_settlement::contract::{JettonMessage, VaultMessage, WalletData};
use cocoon_settlement::wallet::{Outgoing, OwnerWallet, next_seqno};
use cocoon_swarm::chain::{OpenChain, open, poll};
use cocoon_swarm::config::{ChainConfig, NetworkConfig, write_terms};
use cocoon_swarm::deployment::deploy;

use super::*;

const LIMIT: Duration = Duration::from_secs(60);
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// COCOON that the home has at the start.
const GIVEN: u64 = 1_000_000;

/// A devnet with a network of its own, of which this home has some COCOON.
struct Town {
    url: String,
    founder: OwnerWallet,
    founding: Founding,
    chain: OpenChain,
    _devnet: Running,
}

fn ton(text: &str) -> Amount {
    text.parse().unwrap()
}

impl Town {
    fn new(swarm: &Swarm, epoch_s: u32) -> Self {
        swarm.done(&["init", "--no-passphrase"]);
        let (devnet, ready) = swarm.devnet();
        let url = ready["url"].as_str().unwrap().to_owned();
        let founder = OwnerWallet::from_seed(&[9; 32]).unwrap();
        let plan = Plan {
            network: NetworkId::DEVNET,
            founder: founder.account(),
            dispute: founder.account(),
            treasury_from_s: 1_800_000_000,
            fee_bps: 500,
            unbond_s: 600,
            epoch_s,
            answer_s: 60,
            half_life: 730,
        };
        let founding = Founding::new(plan, Believed::NOTHING).unwrap();
        let chain = open(&ChainConfig { endpoint: url.parse().unwrap(), ..Default::default() }).unwrap();
        let town = Self { url, founder, founding, chain, _devnet: devnet };
        town.chain.faucet.as_ref().unwrap().fund(&town.founder.address(), ton("100")).unwrap();
        town.arrives(town.founder.address(), ton("100"));
        deploy(&*town.chain.chain, &town.founder, &town.founding, LIMIT).unwrap();
        write_terms(&swarm.home().join("config.toml"), &NetworkConfig::from(town.founding.providers)).unwrap();
        swarm.done(&["wallet", "deposit", "--faucet", "50", "--chain", &town.url]);
        town.give(swarm);
        town
    }

    fn arrives(&self, at: Address, least: Amount) {
        let there = || Ok((self.chain.chain.account(&at)?.balance >= least).then_some(()));
        poll(LIMIT, LOOK_PERIOD, there).unwrap().expect("money arrives");
    }

    fn send(&self, outgoing: Outgoing) {
        let seqno = next_seqno(&self.chain.chain.account(&self.founder.address()).unwrap()).unwrap();
        self.chain.chain.send_boc(&self.founder.sign(seqno, u32::MAX, &[outgoing]).unwrap().boc).unwrap();
    }

    /// The founder gives the home some COCOON.
    fn give(&self, swarm: &Swarm) {
        let owner = json(&swarm.done(&["wallet", "address", "--json"]))["raw"].as_str().unwrap().parse::<Address>().unwrap();
        let (to, amount) = (ContractAddress(owner.hash), Amount::from_nano(u128::from(GIVEN) * 1_000_000_000));
        let transfer = JettonMessage::Transfer { amount, to, forward: Amount::ZERO, payload: None };
        let body = Some(transfer.to_cell(self.founder.account(), 1).unwrap());
        let wallet = WalletData::new(self.founder.account(), self.founding.vault.minter).address().unwrap();
        self.send(Outgoing { to: Address::from(wallet), value: ton("0.1"), bounce: Bounce::Yes, body, state_init: None });
        let limit = Instant::now() + LIMIT;
        while swarm.cocoon(&self.url) < GIVEN {
            assert!(Instant::now() < limit, "COCOON arrives");
        }
    }

    /// Pays a fee of 10 TON to the vault, as a provider's contract does.
    fn pay_fee(&self) {
        let body = Some(VaultMessage::Fee { amount: ton("10"), credit: Amount::ZERO }.to_cell(1).unwrap());
        let to = Address::from(self.founding.providers.vault);
        self.send(Outgoing { to, value: ton("10.1"), bounce: Bounce::Yes, body, state_init: None });
        self.arrives(to, ton("10"));
    }
}

impl Swarm {
    /// What a command says in JSON.
    fn told(&self, chain: &str, args: &[&str]) -> serde_json::Value {
        json(&self.done(&[args, &["--json", "--chain", chain]].concat()))
    }

    /// COCOON of the wallet, in whole ones.
    fn cocoon(&self, chain: &str) -> u64 {
        let nano = self.told(chain, &["token", "balance"])["nanococoon"].as_str().unwrap().parse::<u64>().unwrap();
        nano / 1_000_000_000
    }
}

#[test]
fn cocoon_is_shown_sent_and_burned() {
    let (swarm, other) = (Swarm::new(), Swarm::new());
    let town = Town::new(&swarm, 60);
    let url = town.url.as_str();
    let to = json(&other.done(&["init", "--no-passphrase", "--json"]))["owner"].as_str().unwrap().to_owned();
    let before = swarm.cocoon(url);
    assert_eq!(before, GIVEN);
    let shown = swarm.done(&["token", "--chain", url]);
    assert!(shown.starts_with("WHERE") && shown.contains("wallet"), "{shown}");

    let rehearsed = swarm.told(url, &["token", "send", "25", &to, "--dry-run"]);
    assert_eq!((&rehearsed["event"], &rehearsed["fails"]), (&"dry_run".into(), &serde_json::Value::Null), "{rehearsed}");
    assert!(rehearsed["transactions"].as_u64().unwrap() >= 4, "wallet, both jetton wallets, and what comes back: {rehearsed}");
    assert_eq!(swarm.cocoon(url), before, "a dry run sends nothing");

    let sent = swarm.told(url, &["token", "send", "25", &to]);
    assert_eq!(sent["event"], "sent", "{sent}");
    assert_eq!(swarm.told(url, &["token", "balance", &to])["nanococoon"], "25000000000");
    swarm.told(url, &["token", "burn", "5"]);
    assert_eq!(swarm.cocoon(url), before - 30);

    let (code, error) = swarm.failed(&["token", "send", "999999999", &to, "--chain", url]);
    assert!(code == 1 && error.contains("is asked for, and the wallet has") && error.contains("try: less"), "{error}");
    assert_eq!(swarm.failed(&["token", "send", "0", &to, "--chain", url]).0, 2);
}

#[test]
fn a_fee_is_auctioned_and_bought() {
    let swarm = Swarm::new();
    let town = Town::new(&swarm, 8);
    let url = town.url.as_str();
    let state = swarm.told(url, &["auction"]);
    assert_eq!((&state["epoch"], &state["rate_nanococoon"]), (&0.into(), &serde_json::Value::Null), "{state}");
    let (code, error) = swarm.failed(&["auction", "bid", "10", "--chain", url]);
    assert!(code == 1 && error.contains("it would buy nothing") && error.contains("swarm auction"), "{error}");

    let closed = swarm.told(url, &["auction", "close"]);
    assert_eq!((&closed["event"], &closed["epoch"]), (&"closed".into(), &1.into()), "{closed}");
    town.pay_fee();
    let (code, error) = swarm.failed(&["auction", "close", "--chain", url]);
    assert!(code == 1 && error.contains("cannot be closed before") && error.contains("again after that"), "{error}");
    let limit = Instant::now() + Duration::from_secs(60);
    while !swarm.run(&["auction", "close", "--chain", url]).status.success() {
        assert!(Instant::now() < limit, "the epoch ends");
    }
    let before = swarm.cocoon(url);
    let rehearsed = swarm.told(url, &["auction", "bid", "10", "--dry-run"]);
    assert_eq!(rehearsed["fails"], serde_json::Value::Null, "{rehearsed}");
    let bought = swarm.told(url, &["auction", "bid", "10"]);
    assert!(bought["bought_nanoton"].as_str().unwrap().parse::<u64>().unwrap() > 40_000_000, "{bought}");
    assert_eq!((&bought["paid_nanococoon"], swarm.cocoon(url)), (&"10000000000".into(), before - 10), "{bought}");
    let text = swarm.done(&["auction", "--chain", url]);
    assert!(text.contains("paid     10 COCOON, which is burned when the epoch ends"), "{text}");
}

#[test]
fn cocoon_is_locked_lengthened_and_proposes() {
    let swarm = Swarm::new();
    let town = Town::new(&swarm, 60);
    let url = town.url.as_str();
    let (code, error) = swarm.failed(&["lock", "lengthen", "--weeks", "2", "--chain", url]);
    assert!(code == 1 && error.contains("nothing is locked") && error.contains("swarm lock 100 --weeks 52"), "{error}");
    assert_eq!(swarm.failed(&["lock", "100", "--chain", url]).0, 2, "it says until when");
    assert_eq!(swarm.failed(&["lock", "--weeks", "5", "--chain", url]).0, 2, "it says how much");
    assert_eq!(swarm.failed(&["lock", "lengthen", "--chain", url]).0, 1, "nothing is locked");
    assert!(swarm.done(&["lock", "--chain", url]).contains("Nothing is locked"));
    assert_eq!(swarm.failed(&["lock", "100", "--until", "2027-02-30", "--chain", url]).0, 2, "there is no such day");

    let before = swarm.cocoon(url);
    let rehearsed = swarm.told(url, &["lock", "1000", "--weeks", "30", "--dry-run"]);
    assert_eq!(rehearsed["fails"], serde_json::Value::Null, "{rehearsed}");
    let locked = swarm.told(url, &["lock", "1000", "--weeks", "30"]);
    assert_eq!((&locked["event"], &locked["locked_nanococoon"]), (&"locked".into(), &"1000000000000".into()), "{locked}");
    assert!(locked["since_s"].is_u64() && swarm.cocoon(url) == before - 1000, "{locked}");
    let longer = swarm.told(url, &["lock", "lengthen", "--weeks", "60"]);
    assert!(longer["ends_s"].as_u64() > locked["ends_s"].as_u64(), "{longer}");
    let (code, error) = swarm.failed(&["lock", "lengthen", "--weeks", "2", "--chain", url]);
    assert!(code == 1 && error.contains("never shortened"), "{error}");
    let (code, error) = swarm.failed(&["unlock", "--chain", url]);
    assert!(code == 1 && error.contains("the lock ends at") && error.contains("again after that"), "{error}");
    assert!(swarm.done(&["token", "--chain", url]).contains("locked"));

    assert!(swarm.done(&["gov", "ls", "--chain", url]).contains("Nothing is voted on"));
    let (code, error) = swarm.failed(&["gov", "propose", "parameter", "fee-bps", "900", "--chain", url]);
    assert!(code == 1 && error.contains("fee-bps stays as it is: one vote moves it from 500 by 125 at most"), "{error}");
    let proposed = swarm.told(url, &["gov", "propose", "parameter", "auction-seconds", "70000"]);
    assert_eq!(proposed["number"], 0, "{proposed}");
    let shown = swarm.told(url, &["gov", "show", "0"]);
    assert_eq!((&shown["phase"], &shown["asks_for"]), (&"waiting".into(), &"set auction-seconds to 70000".into()), "{shown}");
    assert_eq!(swarm.told(url, &["gov", "ls"])["proposals"].as_array().unwrap().len(), 1);
    assert!(swarm.done(&["gov", "queue", "0", "--chain", url]).contains("Nothing has to be sent"));
    let (code, error) = swarm.failed(&["gov", "vote", "0", "yes", "--chain", url]);
    assert!(code == 1 && error.contains("proposal 0 is voted on from") && error.contains("swarm gov show 0"), "{error}");
    let (code, error) = swarm.failed(&["gov", "execute", "0", "--chain", url]);
    assert!(code == 1 && error.contains("proposal 0 is voted on from"), "{error}");
    let (code, error) = swarm.failed(&["gov", "show", "7", "--chain", url]);
    assert!(code == 1 && error.contains("there is no proposal 7"), "{error}");
}

#[test]
fn rewards_are_shown_and_not_taken_before_there_are_any() {
    let swarm = Swarm::new();
    let town = Town::new(&swarm, 60);
    let url = town.url.as_str();
    let shown = swarm.told(url, &["rewards"]);
    assert_eq!((&shown["epochs_closed"], &shown["own"]), (&0.into(), &serde_json::Value::Null), "{shown}");
    assert!(shown["budget_nanococoon"].as_str().unwrap().parse::<u64>().unwrap() > 200_000_000_000_000, "{shown}");
    let (code, error) = swarm.failed(&["rewards", "take", "--chain", url]);
    assert!(code == 1 && error.contains("no contract on the chain") && error.contains("swarm stake"), "{error}");

    swarm.done(&["stake", "1", "--bond", "0.5", "--operations", "0.2", "--chain", url]);
    let text = swarm.done(&["rewards", "--chain", url]);
    assert!(text.contains("free      0 COCOON") && text.contains("No fees were booked"), "{text}");
    let (code, error) = swarm.failed(&["rewards", "collect", "--chain", url]);
    assert!(code == 1 && error.contains("nothing can be collected") && error.contains("swarm rewards"), "{error}");
    let (code, error) = swarm.failed(&["rewards", "take", "--chain", url]);
    assert!(code == 1 && error.contains("nothing is free yet"), "{error}");
    let credited = swarm.told(url, &["auction", "credit", "45"]);
    assert_eq!(credited["credit_nanoton"], "1000000000", "50 for a TON, less a tenth: {credited}");
}
