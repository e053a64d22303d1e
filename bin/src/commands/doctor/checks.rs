//! The checks of `swarm doctor`, one function each.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use cocoon_market::ChannelRef;
use cocoon_market::time::CLOCK_SKEW_MS;
use cocoon_settlement::chain::embedded::{OpenError, StoreError};
use cocoon_settlement::chain::{Chain, Head};
use cocoon_settlement::ledger::Audit;

use super::super::audit::{fault_step, rollback_step};
use super::{Finding, config_of};
use crate::chain::{self, ChainOpenError};
use crate::config::{Config, Network};
use crate::context::Context;
use crate::control;
use crate::keystore;
use crate::models::{ModelStore, Presence};
use crate::output::{bytes_text, ton_text};
use crate::query::Books;
use crate::query::audit::AuditBooks;

/// Free space below which nothing works for long: a ledger, a chain and their logs.
const DISK_RED_BYTES: u64 = 200_000_000;
/// Free space below which a larger model does not fit.
const DISK_YELLOW_BYTES: u64 = 5_000_000_000;

/// Age of the newest block above which a network is not in good health. TON makes one each few seconds.
const HEAD_YELLOW_S: u64 = 60;
/// Age above which it stands still.
const HEAD_RED_S: u64 = 600;

/// The configuration is there and right.
pub(super) fn config(context: &Context) -> Vec<Finding> {
    let path = context.config_file();
    vec![match context.config() {
        Err(error) => Finding::error("config", error),
        Ok(_) if !path.exists() => Finding::yellow("config", "none; the defaults are used", "swarm init, which writes one with comments"),
        Ok(config) => Finding::green("config", format!("{}, {}", path.display(), config.chain.network.name())),
    }]
}

/// The keys are there, protected, and for the configured network.
pub(super) fn keys(context: &Context) -> Vec<Finding> {
    let path = context.home().keystore_file();
    let keys = match context.public_keys(config_of(context).chain.network) {
        Ok(keys) => keys,
        Err(failure) => return vec![Finding::error("keys", failure)],
    };
    let found = format!("{}, node {}", path.display(), keys.operator.short());
    vec![match keystore::is_unprotected(&path) {
        Ok(false) => Finding::green("keys", found),
        Ok(true) => {
            Finding::yellow("keys", format!("{found}, not encrypted"), "nothing on a devnet; elsewhere swarm init asks for a passphrase")
        }
        Err(error) => Finding::error("keys", error),
    }]
}

/// There is space where we write.
pub(super) fn disk(context: &Context) -> Vec<Finding> {
    let store = context.models(&config_of(context));
    vec![disk_at("this node", context.home().root()), disk_at("models", store.dir())]
}

fn disk_at(what: &'static str, dir: &Path) -> Finding {
    // What does not exist yet will lie on the file system of what does.
    let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
    let Some(free) = free_bytes(existing) else {
        return Finding::yellow("disk", format!("the free space of {} cannot be told", dir.display()), "look yourself");
    };
    let found = format!("{} free for {what} in {}", bytes_text(free), dir.display());
    match free {
        0..DISK_RED_BYTES => Finding::red("disk", found, "free some space, or choose another place with --home or models.cache"),
        DISK_RED_BYTES..DISK_YELLOW_BYTES => Finding::yellow("disk", found, "enough for small models; larger ones want more"),
        _ => Finding::green("disk", found),
    }
}

/// The books of the ledger sum, and are the newest. A node that runs is asked; else they are read if that takes no passphrase.
pub(super) fn books(context: &Context) -> Vec<Finding> {
    let home = context.home();
    if !home.ledger_file().exists() {
        return Vec::new();
    }
    let is_open = || matches!(keystore::is_unprotected(&home.keystore_file()), Ok(true));
    if control::connect(home).is_none() && !is_open() {
        return vec![Finding::green("books", "not read, which takes the passphrase; swarm audit reads them")];
    }
    match Books::open(context).and_then(|books| books.ask(&AuditBooks {})) {
        Ok(audit) => books_findings(&audit),
        Err(failure) => vec![Finding::error("books", failure)],
    }
}

fn books_findings(audit: &Audit) -> Vec<Finding> {
    let wrong = audit.faults().map(|(channel, fault)| Finding::red("books", format!("{channel}: {fault}"), fault_step(fault)));
    let is_sound = |channel: ChannelRef| audit.faults().all(|(wrong, _)| wrong != channel);
    let frozen = audit.frozen().filter(|(channel, _)| is_sound(*channel));
    let frozen = frozen.map(|(channel, found)| Finding::yellow("books", format!("{channel} is frozen: {found}"), rollback_step(found)));
    let mut findings: Vec<Finding> = wrong.chain(frozen).collect();
    if findings.is_empty() {
        findings.push(Finding::green("books", format!("{} channels, and everything in them sums", audit.channels.len())));
    }
    findings
}

#[cfg(unix)]
fn free_bytes(dir: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(dir).ok()?;
    status.f_bavail.checked_mul(status.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

/// What is to be sold and asked for is here, and intact if that is asked.
pub(super) fn models(context: &Context, verify: bool) -> Vec<Finding> {
    let config = config_of(context);
    let store = context.models(&config);
    let models = match store.list() {
        Ok(models) => models,
        Err(error) => return vec![Finding::error("models", error)],
    };
    let cached: Vec<_> = models.iter().filter(|model| store.presence(model) == Presence::Cached).collect();
    let names: Vec<_> = cached.iter().map(|model| model.name.as_str()).collect();
    let mut findings = vec![match names.is_empty() {
        true => Finding::yellow(
            "models",
            format!("none in {}", store.dir().display()),
            "swarm models ls, then swarm models pull NAME, to sell one",
        ),
        false => Finding::green("models", format!("{} in {}", names.join(", "), store.dir().display())),
    }];
    findings.extend(config.provide.models.iter().filter_map(|sold| sold_model(&store, &sold.name)));
    if verify {
        findings.extend(cached.into_iter().map(|model| match store.verify(model) {
            Ok(()) => Finding::green("models", format!("{} is intact", model.name)),
            Err(error) => Finding::error("models", error),
        }));
    }
    findings
}

/// A model that is configured to be sold, and is not here.
fn sold_model(store: &ModelStore, name: &str) -> Option<Finding> {
    match store.find(name) {
        Err(error) => Some(Finding::error("models", error)),
        Ok(model) if store.presence(&model) == Presence::Cached => None,
        Ok(_) => Some(Finding::yellow("models", format!("{name} is to be sold and not here yet"), format!("swarm models pull {name}"))),
    }
}

/// The chain answers, is alive, agrees about the time, and the wallet holds something.
pub(super) fn chain(context: &Context) -> Vec<Finding> {
    let config = config_of(context);
    let open = match chain::open(&config.chain) {
        Ok(open) => open,
        Err(error @ ChainOpenError::Embedded { .. }) if is_in_use(&error) => {
            return vec![Finding::yellow("chain", "open in another process, so it was not looked at", "nothing, if that is your node")];
        }
        Err(error) => return vec![Finding::error("chain", error)],
    };
    let head = match open.chain.head() {
        Ok(head) => head,
        Err(error) => return vec![Finding::error("chain", error)],
    };
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut findings = vec![head_finding(&config, &head, now_s), clock_finding(&head, now_s)];
    findings.extend(wallet_finding(context, &config, &*open.chain));
    findings
}

fn is_in_use(error: &ChainOpenError) -> bool {
    matches!(error, ChainOpenError::Embedded { source, .. } if matches!(**source, OpenError::Store(StoreError::InUse)))
}

fn head_finding(config: &Config, head: &Head, now_s: u64) -> Finding {
    let age_s = now_s.saturating_sub(head.unix_s);
    let found = format!("{} at {}, block {}, {age_s} s old", config.chain.network.name(), config.chain.endpoint, head.seqno);
    let advice = "look at the clock of this machine; then another chain.endpoint, for this one lags behind";
    match age_s {
        HEAD_RED_S.. => Finding::red("chain", found, advice),
        HEAD_YELLOW_S.. => Finding::yellow("chain", found, advice),
        _ => Finding::green("chain", found),
    }
}

fn clock_finding(head: &Head, now_s: u64) -> Finding {
    let behind_s = head.unix_s.saturating_sub(now_s);
    let found = format!("{behind_s} s behind the chain's newest block");
    // A few seconds are in the rounding and in validators' own clocks.
    match behind_s {
        0..=5 => Finding::green("clock", "not behind the chain"),
        6.. if behind_s.saturating_mul(1000) <= CLOCK_SKEW_MS => Finding::yellow("clock", found, "synchronise this machine's clock"),
        _ => Finding::red("clock", found, "synchronise this machine's clock: peers refuse what it signs"),
    }
}

fn wallet_finding(context: &Context, config: &Config, chain: &dyn Chain) -> Option<Finding> {
    // Missing keys have a check of their own.
    let owner = context.public_keys(config.chain.network).ok()?.owner;
    Some(match chain.account(&owner) {
        Err(error) => Finding::error("wallet", error),
        Ok(account) if account.balance < config.requester.deposit => {
            let advice = match config.chain.network {
                Network::Devnet => "swarm wallet deposit --faucet 100",
                Network::Testnet | Network::Mainnet => "swarm wallet deposit, to buy work; a provider needs a little for claims",
            };
            let found = format!("{}, less than one channel's deposit of {}", ton_text(account.balance), ton_text(config.requester.deposit));
            Finding::yellow("wallet", found, advice)
        }
        Ok(account) => Finding::green("wallet", ton_text(account.balance)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Light;
    use super::*;

    fn head(unix_s: u64) -> Head {
        Head { seqno: 7, unix_s, root_hash: [0; 32] }
    }

    #[test]
    fn an_old_block_is_a_sick_chain() {
        let light = |age: u64| head_finding(&Config::default(), &head(10_000), 10_000 + age).light;
        assert_eq!(
            [light(0), light(59), light(60), light(599), light(600)],
            [Light::Green, Light::Green, Light::Yellow, Light::Yellow, Light::Red]
        );
    }

    #[test]
    fn a_clock_behind_the_chain_is_noticed() {
        let light = |behind: u64| clock_finding(&head(10_000 + behind), 10_000).light;
        assert_eq!(
            [light(0), light(5), light(6), light(60), light(61)],
            [Light::Green, Light::Green, Light::Yellow, Light::Yellow, Light::Red]
        );
        assert_eq!(clock_finding(&head(1), 10_000).light, Light::Green, "an old block says nothing about the clock");
    }

    #[test]
    fn books_that_do_not_sum_are_red_and_frozen_channels_yellow() {
        use cocoon_market::ids::ContractAddress;
        use cocoon_market::{Amount, NetworkId, NodeId};
        use cocoon_settlement::ledger::{AuditFault, ChannelAudit, Role, Rollback, Sums};
        let row = |address: u8| ChannelAudit {
            channel: ChannelRef { network: NetworkId::DEVNET, address: ContractAddress([address; 32]) },
            side: Role::Provider,
            peer: NodeId([2; 32]),
            status: None,
            seen_at: None,
            receipts: 0,
            sums: Some(Sums::ZERO),
            fault: None,
            frozen: None,
        };
        let found = Rollback::Drawn { drawn: Amount::from_nano(2), voucher: Amount::from_nano(1) };
        let wrong = ChannelAudit { fault: Some(AuditFault::Rollback(found)), frozen: Some(found), sums: None, ..row(1) };
        let frozen = ChannelAudit { frozen: Some(Rollback::SecondReceipt { sequence: 4 }), ..row(2) };
        let lights = |rows: Vec<ChannelAudit>| -> Vec<Light> {
            books_findings(&Audit::of(rows).unwrap()).iter().map(|finding| finding.light).collect()
        };
        assert_eq!(lights(vec![row(1), row(2)]), [Light::Green]);
        assert_eq!(lights(vec![wrong, frozen, row(3)]), [Light::Red, Light::Yellow]);
    }

    #[cfg(unix)]
    #[test]
    fn free_space_is_told_for_directories_that_do_not_exist_yet() {
        let dir = tempfile::tempdir().unwrap();
        assert!(disk_at("home", &dir.path().join("not/yet")).found.contains(" free for home in "));
    }
}
