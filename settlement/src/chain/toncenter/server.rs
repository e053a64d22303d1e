//! Toncenter's API as a function from requests to replies.
//!
//! | call | parameters | notes |
//! |---|---|---|
//! | `getMasterchainInfo` | | |
//! | `getBlockHeader` | `seqno` | number, time, network, and the logical time at its end |
//! | `getAddressInformation`, `getAddressBalance`, `getAddressState` | `address` | |
//! | `getTransactions` | `address`, `limit`, `lt` and `hash`, `to_lt` | |
//! | `runGetMethod` | `address`, `method`, `stack` | |
//! | `sendBoc`, `sendBocReturnHash` | `boc` | |
//! | `getConfigParam` | `config_id` or `param` | |
//! | `shards` | `seqno` | one shard, whose block is the masterchain's |
//! | `lookupBlock` | `seqno` | |
//! | `getBlockTransactions` | `seqno`, `workchain`, `count` | |
//! | `tryLocateTx`, `tryLocateResultTx`, `tryLocateSourceTx` | `source`, `destination`, `created_lt` | |
//! | `estimateFee` | `address`, `body`, `init_code`, `init_data`, `ignore_chksig` | by executing the message and forgetting it |
//! | `getWalletInformation` | `address` | |
//! | `packAddress`, `unpackAddress`, `detectAddress` | `address` | |
//! | `faucet` | `address`, `amount` in nano-units | only where there is a faucet |
//!
//! Every call may be made by `GET` with a query, by `POST` with a JSON object, or inside a JSON-RPC envelope posted to `jsonRPC`.

use std::sync::Arc;

use cocoon_market::Amount;
use serde_json::{Map, Value, json};

use super::explore;
use super::json::{EXIT_NO_CODE, MASTERCHAIN_SHARD, base64, cell_base64, from_base64, from_hash, integer, stack_from_json, stack_to_json};
use crate::chain::codec::CodecError;
use crate::chain::{
    AccountState, AccountStatus, Address, Bounce, Chain, ChainError, EXTERNAL_BYTES_MAX, Faucet, Hash, Head, Message, PAGE_MAX, Page,
    Rejection, Sought, Transaction, TxId,
};

/// Bytes of a request that the server reads: the largest message, in base64, with room for its frame. Whatever carries requests to the
/// server should stop there, too.
pub const REQUEST_BYTES_MAX: usize = 2 * EXTERNAL_BYTES_MAX;
/// Transactions listed when a request does not say how many.
const PAGE_DEFAULT: u16 = 10;

/// The verb of a request. There are only two in this API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Parameters in the query.
    Get,
    /// Parameters in the body.
    Post,
}

/// A request as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its verb.
    pub verb: Verb,
    /// Path and query, with or without `/api/v2`.
    pub target: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

/// What to answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub json: Value,
}

/// Why a call has no result.
#[derive(Debug)]
pub(super) struct Failure {
    status: u16,
    text: String,
}

pub(super) type Answer = Result<Value, Failure>;

/// Puts toncenter's face on a chain.
#[derive(Clone)]
pub struct Server {
    chain: Arc<dyn Chain>,
    faucet: Option<Arc<dyn Faucet>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("network", &self.chain.network()).finish_non_exhaustive()
    }
}

impl Server {
    /// Serves a chain.
    pub fn new(chain: Arc<dyn Chain>) -> Self {
        Self { chain, faucet: None }
    }

    /// Offers free money, too. Only the development chain has any.
    #[must_use]
    pub fn with_faucet(mut self, faucet: Arc<dyn Faucet>) -> Self {
        self.faucet = Some(faucet);
        self
    }

    /// Answers a request. Never fails: a request that makes no sense has an answer that says so.
    pub fn serve(&self, request: Request<'_>) -> Reply {
        if request.body.len() > REQUEST_BYTES_MAX {
            return reply(Err(Failure::new(413, "the request is too large")));
        }
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        let call = path.trim_start_matches('/').trim_start_matches("api/v2").trim_matches('/');
        match (request.verb, call) {
            (Verb::Post, "" | "jsonRPC") => self.serve_envelope(request.body),
            (Verb::Get, _) => self.handle(call, &query_params(query)),
            (Verb::Post, _) => match serde_json::from_slice(request.body) {
                Ok(params) => self.handle(call, &params),
                Err(_) => reply(Err(Failure::new(422, "the body is not JSON"))),
            },
        }
    }

    /// Answers one call.
    pub fn handle(&self, call: &str, params: &Value) -> Reply {
        reply(self.answer(call, Params(params)))
    }

    fn serve_envelope(&self, body: &[u8]) -> Reply {
        let Ok(envelope) = serde_json::from_slice::<Value>(body) else {
            return reply(Err(Failure::new(422, "the body is not JSON")));
        };
        let empty = Value::Object(Map::new());
        let params = envelope.get("params").filter(|params| !params.is_null()).unwrap_or(&empty);
        let mut reply = match envelope.get("method").and_then(Value::as_str) {
            Some(call) => self.handle(call, params),
            None => reply(Err(Failure::new(422, "the envelope names no method"))),
        };
        if let Value::Object(fields) = &mut reply.json {
            fields.insert("jsonrpc".to_owned(), json!("2.0"));
            fields.insert("id".to_owned(), envelope.get("id").cloned().unwrap_or(Value::Null));
        }
        reply
    }

    fn answer(&self, call: &str, params: Params<'_>) -> Answer {
        match call {
            "getMasterchainInfo" => self.masterchain_info(),
            "getBlockHeader" => self.block_header(params),
            "getAddressInformation" => self.address_information(params),
            "getAddressBalance" => Ok(json!(self.account(params)?.balance.nano().to_string())),
            "getAddressState" => Ok(json!(status_word(self.account(params)?.status))),
            "getTransactions" => self.transactions(params),
            "runGetMethod" => self.run_get_method(params),
            "sendBoc" => self.send(params).map(|_| json!({ "@type": "ok" })),
            "sendBocReturnHash" => {
                let hash = base64(&self.send(params)?);
                Ok(json!({ "@type": "raw.extMessageInfo", "hash": hash }))
            }
            "getConfigParam" => self.config_param(params),
            "faucet" => self.fund(params),
            "shards" => explore::shards(&*self.chain, params),
            "lookupBlock" => explore::lookup_block(&*self.chain, params),
            "getBlockTransactions" => explore::block_transactions(&*self.chain, params),
            "tryLocateTx" | "tryLocateResultTx" => explore::locate_result(&*self.chain, params),
            "tryLocateSourceTx" => explore::locate_source(&*self.chain, params),
            "estimateFee" => explore::estimate_fee(&*self.chain, params),
            "getWalletInformation" => explore::wallet_information(&*self.chain, params),
            "packAddress" => Ok(json!(params.address()?.friendly(Bounce::Yes))),
            "unpackAddress" => Ok(json!(params.address()?.raw())),
            "detectAddress" => explore::detect_address(params),
            _ => Err(Failure::new(404, "no such method")),
        }
    }

    fn masterchain_info(&self) -> Answer {
        let head = self.chain.head()?;
        Ok(json!({
            "@type": "blocks.masterchainInfo",
            "last": block_id(&head),
            "state_root_hash": base64(&head.root_hash),
            "init": block_id(&self.chain.block(0)?),
        }))
    }

    fn block_header(&self, params: Params<'_>) -> Answer {
        let block = self.chain.block(params.integer("seqno")?.ok_or(Failure::missing("seqno"))?)?;
        let mut header = json!({
            "@type": "blocks.header",
            "id": explore::named_id(&block, params)?,
            "global_id": self.chain.network().0,
            "gen_utime": block.unix_s,
        });
        // There is one shard, so anybody's account tells.
        match (&mut header, self.chain.covered_lt(&Address::basechain([0; 32]), block.seqno)) {
            (Value::Object(fields), Ok(end_lt)) => drop(fields.insert("end_lt".to_owned(), json!(end_lt.to_string()))),
            (_, Ok(_) | Err(ChainError::Unsupported(_))) => {}
            (_, Err(error)) => return Err(error.into()),
        }
        Ok(header)
    }

    fn account(&self, params: Params<'_>) -> Result<AccountState, Failure> {
        Ok(self.chain.account(&params.address()?)?)
    }

    fn address_information(&self, params: Params<'_>) -> Answer {
        let state = self.account(params)?;
        let cell = |cell: &Option<_>| cell.as_ref().map_or(Ok(String::new()), cell_base64);
        Ok(json!({
            "@type": "raw.fullAccountState",
            "balance": state.balance.nano().to_string(),
            "extra_currencies": [],
            "code": cell(&state.code)?,
            "data": cell(&state.data)?,
            "last_transaction_id": transaction_id(state.last_transaction),
            "block_id": block_id(&state.seen_at),
            "frozen_hash": "",
            "sync_utime": state.seen_at.unix_s,
            "state": status_word(state.status),
        }))
    }

    fn transactions(&self, params: Params<'_>) -> Answer {
        let from = match (params.integer("lt")?, params.hash("hash")?) {
            (Some(lt), Some(hash)) => Some(TxId { lt, hash }),
            (None, None) => None,
            _ => return Err(Failure::new(422, "lt and hash go together")),
        };
        let limit = params.integer::<u16>("limit")?.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
        let page = Page { from, after_lt: params.integer("to_lt")?.unwrap_or(0), limit };
        let transactions = self.chain.transactions(&params.address()?, page)?;
        transactions.iter().map(transaction).collect::<Result<Vec<_>, _>>().map(Value::Array)
    }

    fn run_get_method(&self, params: Params<'_>) -> Answer {
        let stack = match params.0.get("stack") {
            Some(stack) => stack_from_json(stack).ok_or(Failure::new(422, "the stack cannot be read"))?,
            None => Vec::new(),
        };
        match self.chain.run_get_method(&params.address()?, params.text("method")?, &stack) {
            Ok(result) => Ok(json!({
                "@type": "smc.runResult",
                "gas_used": result.gas_used,
                "stack": stack_to_json(&result.stack)?,
                "exit_code": result.exit_code,
            })),
            Err(ChainError::NotFound(Sought::Contract)) => {
                Ok(json!({ "@type": "smc.runResult", "gas_used": 0, "stack": [], "exit_code": EXIT_NO_CODE }))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn send(&self, params: Params<'_>) -> Result<Hash, Failure> {
        let boc = from_base64(params.text("boc")?).ok_or(Failure::new(422, "boc is not base64"))?;
        Ok(self.chain.send_boc(&boc)?)
    }

    fn config_param(&self, params: Params<'_>) -> Answer {
        let index = match params.integer("config_id")? {
            Some(index) => index,
            None => params.integer("param")?.ok_or(Failure::missing("config_id"))?,
        };
        let cell = self.chain.config_param(index)?;
        Ok(json!({ "@type": "configInfo", "config": { "@type": "tvm.cell", "bytes": cell_base64(&cell)? } }))
    }

    fn fund(&self, params: Params<'_>) -> Answer {
        let faucet = self.faucet.as_ref().ok_or(Failure::new(404, "there is no faucet here"))?;
        let amount = params.integer("amount")?.map(Amount::from_nano).ok_or(Failure::missing("amount"))?;
        let hash = faucet.fund(&params.address()?, amount)?;
        Ok(json!({ "@type": "faucet.sent", "hash": base64(&hash) }))
    }
}

/// The parameters of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Params<'a>(pub(super) &'a Value);

impl<'a> Params<'a> {
    pub(super) fn text(self, name: &'static str) -> Result<&'a str, Failure> {
        self.0.get(name).and_then(Value::as_str).ok_or(Failure::missing(name))
    }

    pub(super) fn address(self) -> Result<Address, Failure> {
        self.address_in("address")
    }

    pub(super) fn address_in(self, name: &'static str) -> Result<Address, Failure> {
        self.text(name)?.parse().map_err(|_| Failure { status: 422, text: format!("{name} is not a TON address") })
    }

    /// A whole number, which may be absent but not wrong.
    pub(super) fn integer<T: std::str::FromStr>(self, name: &'static str) -> Result<Option<T>, Failure> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                integer(value).map(Some).ok_or_else(|| Failure { status: 422, text: format!("{name} is not a number in range") })
            }
        }
    }

    pub(super) fn hash(self, name: &'static str) -> Result<Option<Hash>, Failure> {
        match self.0.get(name).and_then(Value::as_str) {
            None => Ok(None),
            Some(text) => from_hash(text).map(Some).ok_or_else(|| Failure { status: 422, text: format!("{name} is not a hash") }),
        }
    }
}

impl Failure {
    pub(super) fn new(status: u16, text: &str) -> Self {
        Self { status, text: text.to_owned() }
    }

    pub(super) fn missing(name: &'static str) -> Self {
        Self { status: 422, text: format!("{name} is missing") }
    }
}

impl From<CodecError> for Failure {
    fn from(error: CodecError) -> Self {
        Self { status: 500, text: error.to_string() }
    }
}

impl From<ChainError> for Failure {
    fn from(error: ChainError) -> Self {
        let status = match &error {
            ChainError::Rejected(_) => 500,
            ChainError::NotFound(_) => 404,
            ChainError::BadRequest(_) => 422,
            ChainError::Unsupported(_) => 501,
            ChainError::BlockFull | ChainError::RateLimited { .. } => 429,
            _ => 503,
        };
        let text = match &error {
            ChainError::Rejected(rejection) => rejection_text(rejection),
            other => other.to_string(),
        };
        Self { status, text }
    }
}

/// A node's own words, which clients look for.
fn rejection_text(rejection: &Rejection) -> String {
    match rejection {
        Rejection::NotAccepted { exit_code } => {
            let code = exit_code.map(|code| format!(": exitcode={code}")).unwrap_or_default();
            format!("LITE_SERVER_UNKNOWN: cannot apply external message to current state : External message was not accepted{code}")
        }
        other => format!("LITE_SERVER_UNKNOWN: cannot apply external message to current state : {other}"),
    }
}

fn reply(answer: Answer) -> Reply {
    match answer {
        Ok(result) => Reply { status: 200, json: json!({ "ok": true, "result": result }) },
        Err(Failure { status, text }) => Reply { status, json: json!({ "ok": false, "error": text, "code": status }) },
    }
}

pub(super) fn block_id(block: &Head) -> Value {
    let hash = base64(&block.root_hash);
    json!({
        "@type": "ton.blockIdExt",
        "workchain": -1,
        "shard": MASTERCHAIN_SHARD,
        "seqno": block.seqno,
        "root_hash": hash,
        "file_hash": hash,
    })
}

pub(super) fn transaction_id(id: Option<TxId>) -> Value {
    let TxId { lt, hash } = id.unwrap_or(TxId { lt: 0, hash: [0; 32] });
    json!({ "@type": "internal.transactionId", "lt": lt.to_string(), "hash": base64(&hash) })
}

pub(super) const fn status_word(status: AccountStatus) -> &'static str {
    match status {
        AccountStatus::Uninitialized => "uninitialized",
        AccountStatus::Active => "active",
        AccountStatus::Frozen => "frozen",
    }
}

pub(super) fn transaction(transaction: &Transaction) -> Answer {
    let other_fee = transaction.total_fees.saturating_sub(transaction.storage_fee);
    let mut json = json!({
        "@type": "raw.transaction",
        "address": { "@type": "accountAddress", "account_address": transaction.account.friendly(Bounce::Yes) },
        "utime": transaction.unix_s,
        "data": cell_base64(&transaction.raw)?,
        "transaction_id": transaction_id(Some(transaction.id)),
        "fee": transaction.total_fees.nano().to_string(),
        "storage_fee": transaction.storage_fee.nano().to_string(),
        "other_fee": other_fee.nano().to_string(),
        "out_msgs": transaction.out_messages.iter().map(message).collect::<Result<Vec<_>, _>>()?,
    });
    if let (Value::Object(fields), Some(in_message)) = (&mut json, &transaction.in_message) {
        fields.insert("in_msg".to_owned(), message(in_message)?);
    }
    Ok(json)
}

fn message(message: &Message) -> Answer {
    let address = |address: Option<Address>| address.map(|address| address.friendly(Bounce::Yes)).unwrap_or_default();
    Ok(json!({
        "@type": "raw.message",
        "hash": base64(&message.hash),
        "source": address(message.source),
        "destination": address(message.destination),
        "value": message.value.nano().to_string(),
        "extra_currencies": [],
        "fwd_fee": message.forward_fee.nano().to_string(),
        "ihr_fee": "0",
        "created_lt": message.created_lt.to_string(),
        "body_hash": base64(message.body.cell_hash().as_slice()),
        "msg_data": { "@type": "msg.dataRaw", "body": cell_base64(&message.body)?, "init_state": "" },
        "message": comment(message).unwrap_or_default(),
    }))
}

/// The text of a message that is a plain comment: 32 zero bits, then letters.
fn comment(message: &Message) -> Option<String> {
    let (opcode, text) = message.body.data().split_first_chunk::<4>()?;
    if *opcode != [0; 4] || !message.body.bit_len().is_multiple_of(8) {
        return None;
    }
    std::str::from_utf8(text).ok().map(str::to_owned)
}

/// The parameters of a query, all of them strings.
fn query_params(query: &str) -> Value {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (unescape(name), Value::String(unescape(value)))
    });
    Value::Object(pairs.collect())
}

/// Resolves `%2B` and the like. A plus stays a plus: addresses and hashes in base64 have them, spaces nobody needs here.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.split_first_chunk::<2>().filter(|_| *first == b'%').and_then(|(digits, tail)| {
            let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            Some((byte, tail))
        });
        let (byte, tail) = escaped.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
