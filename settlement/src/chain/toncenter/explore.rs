//! The calls with which a chain is explored: blocks, whole traces, fees, wallets.

use serde_json::{Value, json};
use tonlib_core::wallet::version_helper::VersionHelper;
use tonlib_core::wallet::wallet_version::WalletVersion;

use super::json::{base64, from_cell_base64};
use super::server::{Answer, Failure, Params, block_id, status_word, transaction, transaction_id};
use crate::chain::search::{Reach, look_through};
use crate::chain::{
    AccountState, Address, BASECHAIN, Bounce, Chain, ChainError, FeeQuery, Fees, Head, Signatures, Sought, StackItem, Transaction,
};

/// Transactions of a block listed when a request does not say how many. Whoever wants all of them in one answer gets them, on a chain of
/// this size.
const BLOCK_PAGE_DEFAULT: usize = 1_024;
/// Transactions of a block that one answer holds.
const BLOCK_PAGE_MAX: usize = 8_192;
/// Pages of an account's transactions that are searched for a message.
const LOCATE_PAGES_MAX: usize = 20;

/// Kinds of wallets by their code, in toncenter's words.
const WALLETS: [(WalletVersion, &str); 5] = [
    (WalletVersion::V3R1, "wallet v3 r1"),
    (WalletVersion::V3R2, "wallet v3 r2"),
    (WalletVersion::V4R1, "wallet v4 r1"),
    (WalletVersion::V4R2, "wallet v4 r2"),
    (WalletVersion::V5R1, "wallet v5 r1"),
];

fn required_block(chain: &dyn Chain, params: Params<'_>) -> Result<Head, Failure> {
    Ok(chain.block(params.integer("seqno")?.ok_or(Failure::missing("seqno"))?)?)
}

/// The one shard of the basechain, which has a block where the masterchain has one.
fn shard_id(block: &Head) -> Value {
    let mut id = block_id(block);
    if let Value::Object(fields) = &mut id {
        fields.insert("workchain".to_owned(), json!(BASECHAIN));
    }
    id
}

pub(super) fn shards(chain: &dyn Chain, params: Params<'_>) -> Answer {
    let block = required_block(chain, params)?;
    Ok(json!({ "@type": "blocks.shards", "shards": [shard_id(&block)] }))
}

pub(super) fn lookup_block(chain: &dyn Chain, params: Params<'_>) -> Answer {
    named_id(&required_block(chain, params)?, params)
}

/// The id of a block in the workchain that was asked for.
pub(super) fn named_id(block: &Head, params: Params<'_>) -> Answer {
    Ok(if params.integer::<i8>("workchain")? == Some(BASECHAIN) { shard_id(block) } else { block_id(block) })
}

pub(super) fn block_transactions(chain: &dyn Chain, params: Params<'_>) -> Answer {
    let block = required_block(chain, params)?;
    let workchain = params.integer::<i8>("workchain")?.unwrap_or(BASECHAIN);
    let count = params.integer::<usize>("count")?.unwrap_or(BLOCK_PAGE_DEFAULT).clamp(1, BLOCK_PAGE_MAX);
    let transactions = chain.block_transactions(block.seqno)?;
    let here: Vec<&Transaction> = transactions.iter().filter(|transaction| transaction.account.workchain == workchain).collect();
    let short = |transaction: &&Transaction| {
        json!({
            "@type": "blocks.shortTxId",
            "mode": 135,
            "account": transaction.account.raw(),
            "lt": transaction.id.lt.to_string(),
            "hash": base64(&transaction.id.hash),
        })
    };
    Ok(json!({
        "@type": "blocks.transactions",
        "id": if workchain == BASECHAIN { shard_id(&block) } else { block_id(&block) },
        "req_count": count,
        "incomplete": here.len() > count,
        "transactions": here.iter().take(count).map(short).collect::<Vec<_>>(),
    }))
}

/// A message between accounts, as a request names it.
struct Trace {
    source: Address,
    destination: Address,
    created_lt: u64,
}

impl Trace {
    fn of(params: Params<'_>) -> Result<Self, Failure> {
        let created_lt = params.integer("created_lt")?.ok_or(Failure::missing("created_lt"))?;
        Ok(Self { source: params.address_in("source")?, destination: params.address_in("destination")?, created_lt })
    }

    fn was_received_by(&self, transaction: &Transaction) -> bool {
        transaction.in_message.as_ref().is_some_and(|message| (message.source, message.created_lt) == (Some(self.source), self.created_lt))
    }

    fn was_sent_by(&self, transaction: &Transaction) -> bool {
        let sent = transaction.out_messages.iter();
        sent.map(|message| (message.destination, message.created_lt)).any(|message| message == (Some(self.destination), self.created_lt))
    }
}

/// The transaction that a message caused.
pub(super) fn locate_result(chain: &dyn Chain, params: Params<'_>) -> Answer {
    let trace = Trace::of(params)?;
    locate(chain, &trace.destination, trace.created_lt, |transaction| trace.was_received_by(transaction))
}

/// The transaction that sent a message. Its logical time is below the message's, by one for each message before it.
pub(super) fn locate_source(chain: &dyn Chain, params: Params<'_>) -> Answer {
    const MESSAGES_MAX: u64 = 256;
    let trace = Trace::of(params)?;
    locate(chain, &trace.source, trace.created_lt.saturating_sub(MESSAGES_MAX), |transaction| trace.was_sent_by(transaction))
}

/// Searches an account's transactions after a logical time, the newest first.
fn locate(chain: &dyn Chain, account: &Address, after_lt: u64, wanted: impl Fn(&Transaction) -> bool) -> Answer {
    let look = look_through(chain, account, Reach { after_lt, from_s: 0, pages_max: LOCATE_PAGES_MAX }, wanted)?;
    transaction(&look.found.ok_or(ChainError::NotFound(Sought::Transaction))?)
}

pub(super) fn estimate_fee(chain: &dyn Chain, params: Params<'_>) -> Answer {
    let cell = |name: &'static str| match params.0.get(name).and_then(Value::as_str) {
        None | Some("") => Ok(None),
        Some(text) => from_cell_base64(text).map(Some).ok_or(Failure::new(422, "a cell of the message cannot be read")),
    };
    let signatures = match params.0.get("ignore_chksig").and_then(Value::as_bool) {
        Some(false) => Signatures::Checked,
        Some(true) | None => Signatures::Assumed,
    };
    let query = FeeQuery {
        to: params.address()?,
        body: cell("body")?.ok_or(Failure::missing("body"))?,
        init: cell("init_code")?.zip(cell("init_data")?),
        signatures,
    };
    let Fees { import, storage, gas, forward } = chain.estimate_fees(&query)?;
    let number = |amount: cocoon_market::Amount| u64::try_from(amount.nano()).unwrap_or(u64::MAX);
    Ok(json!({
        "@type": "query.fees",
        "source_fees": {
            "@type": "fees",
            "in_fwd_fee": number(import),
            "storage_fee": number(storage),
            "gas_fee": number(gas),
            "fwd_fee": number(forward),
        },
        "destination_fees": [],
    }))
}

pub(super) fn wallet_information(chain: &dyn Chain, params: Params<'_>) -> Answer {
    let address = params.address()?;
    let state = chain.account(&address)?;
    let kind = wallet_kind(&state);
    let mut answer = json!({
        "wallet": kind.is_some(),
        "balance": state.balance.nano().to_string(),
        "account_state": status_word(state.status),
        "last_transaction_id": transaction_id(state.last_transaction),
    });
    if let (Value::Object(fields), Some(kind)) = (&mut answer, kind) {
        fields.insert("wallet_type".to_owned(), json!(kind));
        let seqno = chain.run_get_method(&address, "seqno", &[])?;
        fields.insert("seqno".to_owned(), json!(seqno.stack.first().and_then(StackItem::as_u64)));
    }
    Ok(answer)
}

fn wallet_kind(state: &AccountState) -> Option<&'static str> {
    let code = state.code.as_ref()?;
    let is_its = |version| VersionHelper::get_code(version).is_ok_and(|known| known.cell_hash() == code.cell_hash());
    WALLETS.into_iter().find(|(version, _)| is_its(*version)).map(|(_, kind)| kind)
}

pub(super) fn detect_address(params: Params<'_>) -> Answer {
    let address = params.address()?;
    let form = |bounce| {
        let url = address.friendly(bounce);
        json!({ "b64": url.replace('-', "+").replace('_', "/"), "b64url": url })
    };
    let raw = params.text("address")?.contains(':');
    Ok(json!({
        "raw_form": address.raw(),
        "bounceable": form(Bounce::Yes),
        "non_bounceable": form(Bounce::No),
        "given_type": if raw { "raw_form" } else { "friendly" },
        "test_only": false,
    }))
}
