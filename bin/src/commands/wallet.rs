//! `swarm wallet`: the money of a node.

use std::borrow::Cow;
use std::time::Duration;

use cocoon_market::Amount;
use cocoon_settlement::chain::{AccountStatus, Address, AddressError, Bounce, Chain, ChainError, Hash, Transaction};
use cocoon_settlement::settler::{SettleError, find_transaction};
use cocoon_settlement::wallet::{self, COMMENT_BYTES_MAX, Outgoing, SignedTransfer, WalletError};
use serde::Serialize;

use super::blocking;
use crate::chain::{self, OpenChain, poll};
use crate::cli::{SendAmount, WalletCommand};
use crate::config::Config;
use crate::context::Context;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::ton_text;

/// What stays in the wallet for fees: a plain transfer costs a tenth of it, at today's prices and at those before.
const FEE_RESERVE: Amount = Amount::from_nano(10_000_000);

/// How long a signed message can take effect: a few blocks of a busy network.
const VALID_S: u64 = 60;

/// How often the chain is asked whether it has the message: less than a block, and within a public endpoint's limits.
const LOOK_PERIOD: Duration = Duration::from_millis(1_200);

/// How long to wait for the faucet's money.
const FAUCET_WAIT: Duration = Duration::from_secs(30);

/// Why money did not move.
#[derive(Debug, thiserror::Error)]
enum MoveError {
    #[error("{text:?} is no address")]
    To {
        text: String,
        #[source]
        source: AddressError,
    },
    #[error("the wallet holds {}, which is too little to send {} and keep {} for fees", ton_text(*has), ton_text(*wants), ton_text(FEE_RESERVE))]
    TooLittle { has: Amount, wants: Amount },
    #[error("the comment has {bytes} bytes, expected at most {COMMENT_BYTES_MAX}")]
    Comment { bytes: usize },
    #[error("the message cannot be made")]
    Message(#[source] WalletError),
    #[error("the chain did not show the transfer within {waited_s} s")]
    NotSeen { waited_s: u64 },
    #[error("the chain executed the message, but the money did not leave (exit code {exit_code:?}, action code {action_code:?})")]
    NotSent { exit_code: Option<i32>, action_code: Option<i32> },
    #[error("{network} has no faucet")]
    NoFaucet { network: &'static str },
}

impl NextStep for MoveError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::To { .. } => "an address as wallets show it (UQ... or EQ...), or 0: and 64 hexadecimal digits".into(),
            Self::TooLittle { .. } => "less, or swarm wallet deposit first".into(),
            Self::Comment { .. } => "a shorter one".into(),
            Self::Message(_) => "swarm wallet balance: the account may not be a wallet of this release".into(),
            Self::NotSeen { .. } => "swarm wallet balance before sending again; the message dies after a minute".into(),
            Self::NotSent { .. } => "swarm wallet balance; the fee may have been more than was kept for it".into(),
            Self::NoFaucet { .. } => "swarm wallet deposit, which shows where to send TON to".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::To { .. } | Self::Comment { .. } | Self::NoFaucet { .. } => Exit::Usage,
            Self::TooLittle { .. } | Self::Message(_) | Self::NotSeen { .. } | Self::NotSent { .. } => Exit::Failed,
        }
    }
}

/// Runs `swarm wallet`.
///
/// # Errors
/// No keys, no chain, or money that did not move.
pub async fn run(context: &Context, command: WalletCommand) -> Result<(), Failure> {
    let context = context.clone();
    blocking(move || {
        let config = context.config()?;
        match command {
            WalletCommand::Address => address(&context, &config),
            WalletCommand::Balance => balance(&context, &config),
            WalletCommand::Deposit { faucet: Some(amount) } => take_from_faucet(&context, &config, amount),
            WalletCommand::Deposit { faucet: None } => deposit(&context, &config),
            WalletCommand::Send { to, amount, comment, dry_run, wait } => {
                let order = Order { to, amount, comment };
                if dry_run { show(&context, &config, &order) } else { send(&context, &config, &order, Duration::from_secs(wait)) }
            }
        }
    })
    .await
}

#[derive(Serialize)]
struct Addresses {
    network: &'static str,
    friendly: String,
    bounceable: String,
    raw: String,
}

fn addresses(context: &Context, config: &Config) -> Result<(Address, Addresses), Failure> {
    let network = config.chain.network;
    let owner = context.public_keys(network)?.owner;
    let shown = Addresses {
        network: network.name(),
        friendly: owner.friendly(Bounce::No),
        bounceable: owner.friendly(Bounce::Yes),
        raw: owner.raw(),
    };
    Ok((owner, shown))
}

fn address(context: &Context, config: &Config) -> Result<(), Failure> {
    let (_, shown) = addresses(context, config)?;
    context.out().result(&shown, |shown| {
        format!("{}\n  as contracts see it  {}\n  raw                  {}", shown.friendly, shown.bounceable, shown.raw)
    });
    Ok(())
}

#[derive(Serialize)]
struct Balance {
    network: &'static str,
    address: String,
    nanoton: Amount,
    deployed: bool,
    block: u32,
}

fn balance(context: &Context, config: &Config) -> Result<(), Failure> {
    let (owner, shown) = addresses(context, config)?;
    let account = chain::open(&config.chain)?.chain.account(&owner)?;
    let balance = Balance {
        network: shown.network,
        address: shown.friendly,
        nanoton: account.balance,
        deployed: account.status == AccountStatus::Active,
        block: account.seen_at.seqno,
    };
    context.out().result(&balance, |balance| {
        format!("{}\n  at {} on {}, block {}", ton_text(balance.nanoton), balance.address, balance.network, balance.block)
    });
    Ok(())
}

fn deposit(context: &Context, config: &Config) -> Result<(), Failure> {
    let (_, shown) = addresses(context, config)?;
    context.out().result(&shown, |shown| {
        let how = match config.chain.network {
            crate::config::Network::Devnet => "A devnet gives it for nothing: swarm wallet deposit --faucet 100",
            crate::config::Network::Testnet => "Test TON is free: ask @testgiver_ton_bot on Telegram",
            crate::config::Network::Mainnet => "From any TON wallet or exchange; try a small amount first",
        };
        format!("Send TON ({}) to\n  {}\n{how}", shown.network, shown.friendly)
    });
    Ok(())
}

fn take_from_faucet(context: &Context, config: &Config, amount: Amount) -> Result<(), Failure> {
    let (owner, _) = addresses(context, config)?;
    let OpenChain { chain, faucet, .. } = chain::open(&config.chain)?;
    let faucet = faucet.ok_or(MoveError::NoFaucet { network: config.chain.network.name() })?;
    let before = chain.account(&owner)?.balance;
    faucet.fund(&owner, amount)?;
    let arrived = |balance: Amount| balance > before;
    let balance = poll(FAUCET_WAIT, LOOK_PERIOD, || Ok(Some(chain.account(&owner)?.balance).filter(|balance| arrived(*balance))))?
        .ok_or(MoveError::NotSeen { waited_s: FAUCET_WAIT.as_secs() })?;
    let value = serde_json::json!({ "received_nanoton": amount, "nanoton": balance });
    context.out().result(&value, |_| format!("{} arrived; the wallet holds {}", ton_text(amount), ton_text(balance)));
    Ok(())
}

/// A transfer as it was asked for.
struct Order {
    to: String,
    amount: SendAmount,
    comment: Option<String>,
}

/// A transfer that is signed and not sent.
#[derive(Serialize)]
struct Prepared {
    from: String,
    to: String,
    nanoton: Amount,
    message_hash: String,
    boc: String,
    #[serde(skip)]
    signed: SignedTransfer,
    /// Logical time of the wallet's last transaction before it.
    #[serde(skip)]
    after_lt: u64,
}

fn prepare(context: &Context, config: &Config, chain: &dyn Chain, order: &Order) -> Result<(Address, Prepared), Failure> {
    let to: Address = order.to.parse().map_err(|source| MoveError::To { text: order.to.clone(), source })?;
    let body = match &order.comment {
        Some(text) => Some(wallet::comment(text).map_err(|_| MoveError::Comment { bytes: text.len() })?),
        None => None,
    };
    let owner = context.keys(config.chain.network)?.wallet()?;
    let account = chain.account(&owner.address())?;
    let value = value_to_send(account.balance, order.amount)?;
    // What has no code yet cannot return anything, and would lose a bounceable message's point.
    let bounce = match chain.account(&to)?.status {
        AccountStatus::Active => Bounce::Yes,
        AccountStatus::Uninitialized | AccountStatus::Frozen => Bounce::No,
    };
    let valid_until = chain.head()?.unix_s.saturating_add(VALID_S);
    let seqno = wallet::next_seqno(&account).map_err(MoveError::Message)?;
    let outgoing = Outgoing { to, value, bounce, body, state_init: None };
    let signed = owner.sign(seqno, u32::try_from(valid_until).unwrap_or(u32::MAX), &[outgoing]).map_err(MoveError::Message)?;
    let prepared = Prepared {
        from: owner.address().friendly(Bounce::No),
        to: to.friendly(bounce),
        nanoton: value,
        message_hash: signed.hash.to_string(),
        boc: signed.boc_base64(),
        signed,
        after_lt: account.last_transaction.map_or(0, |last| last.lt),
    };
    Ok((owner.address(), prepared))
}

/// What is sent of a balance, such that the fee can be paid.
fn value_to_send(has: Amount, amount: SendAmount) -> Result<Amount, MoveError> {
    let free = has.saturating_sub(FEE_RESERVE);
    match amount {
        SendAmount::Exactly(wants) if wants <= free => Ok(wants),
        SendAmount::Exactly(wants) => Err(MoveError::TooLittle { has, wants }),
        SendAmount::All if !free.is_zero() => Ok(free),
        SendAmount::All => Err(MoveError::TooLittle { has, wants: Amount::ZERO }),
    }
}

fn show(context: &Context, config: &Config, order: &Order) -> Result<(), Failure> {
    let chain = chain::open(&config.chain)?.chain;
    let (_, prepared) = prepare(context, config, &*chain, order)?;
    context.out().result(&prepared, |prepared| {
        let Prepared { from, to, nanoton, message_hash, boc, .. } = prepared;
        format!("Nothing was sent. This message sends {} from {from} to {to}:\n{boc}\n  hash {message_hash}", ton_text(*nanoton))
    });
    Ok(())
}

#[derive(Serialize)]
struct Sent {
    #[serde(flatten)]
    prepared: Prepared,
    /// The wallet's transaction; none if nobody waited for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<SentTransaction>,
}

#[derive(Serialize)]
struct SentTransaction {
    hash: String,
    lt: String,
    fee_nanoton: Amount,
}

fn send(context: &Context, config: &Config, order: &Order, wait: Duration) -> Result<(), Failure> {
    let chain = chain::open(&config.chain)?.chain;
    let (owner, prepared) = prepare(context, config, &*chain, order)?;
    chain.send_boc(&prepared.signed.boc)?;
    let hash = prepared.signed.hash.0;
    let mut transaction = None;
    if !wait.is_zero() {
        context.out().note("sent; waiting for the chain");
        let found = poll(wait, LOOK_PERIOD, || look(&*chain, &owner, &hash, prepared.after_lt))?
            .ok_or(MoveError::NotSeen { waited_s: wait.as_secs() })?;
        if !found.success || found.out_messages.is_empty() {
            return Err(MoveError::NotSent { exit_code: found.exit_code, action_code: found.action_code }.into());
        }
        transaction =
            Some(SentTransaction { hash: hex::encode(found.id.hash), lt: found.id.lt.to_string(), fee_nanoton: found.total_fees });
    }
    context.out().result(&Sent { prepared, transaction }, |Sent { prepared, transaction }| match transaction {
        Some(done) => {
            format!(
                "{} went to {}\n  fee {}, transaction {}",
                ton_text(prepared.nanoton),
                prepared.to,
                ton_text(done.fee_nanoton),
                done.hash
            )
        }
        None => format!("{} sent to {}, not waited for\n  message {}", ton_text(prepared.nanoton), prepared.to, prepared.message_hash),
    });
    Ok(())
}

/// The wallet's transaction with this message.
fn look(chain: &dyn Chain, owner: &Address, message: &Hash, after_lt: u64) -> Result<Option<Transaction>, ChainError> {
    match find_transaction(chain, owner, message, after_lt) {
        Ok(found) => Ok(found),
        Err(SettleError::Chain(error)) => Err(error),
        // So many newer ones that ours is out of sight: the person is told to look before sending again.
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_leaves_the_fee() {
        let ton = |text: &str| text.parse::<Amount>().unwrap();
        let exactly = |has, wants| value_to_send(ton(has), SendAmount::Exactly(ton(wants))).ok();
        assert_eq!(exactly("1", "0.99"), Some(ton("0.99")));
        assert_eq!(exactly("1", "0.990000001"), None);
        assert_eq!(value_to_send(ton("1"), SendAmount::All).unwrap(), ton("0.99"));
        assert!(matches!(value_to_send(ton("0.01"), SendAmount::All), Err(MoveError::TooLittle { .. })));
    }
}
