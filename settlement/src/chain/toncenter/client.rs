//! The client for toncenter's API.
//!
//! | when | then |
//! |---|---|
//! | requests come faster than the endpoint allows | each waits for its turn, see [`pace`](super::pace) |
//! | the endpoint says 429 | nobody asks it before the time it names; then the same request again |
//! | a question is not answered, or by garbage, or by a server that is in trouble | the same question again, after a pause, three times |
//! | a message is not answered | the same bytes again: a wallet takes a number once, so nothing happens twice |
//! | a message is refused that may have arrived before | [`ChainError::Unclear`]: only its transaction tells |
//! | a block is from the future, or the newest is old | [`ChainError::Ahead`], [`ChainError::Stale`] |

use std::sync::Arc;
use std::time::Duration;

use cocoon_market::{Amount, NetworkId};
use serde_json::{Value, json};
use tonlib_core::cell::ArcCell;

use super::http::Ureq;
use super::json::{
    EXIT_NO_CODE, MASTERCHAIN_SHARD, arguments_to_json, base64, from_base64, from_cell_base64, from_hash, integer, stack_from_json,
};
use super::pace::{Bucket, Rate, SystemTimer, TURN_WAIT_MAX, Timer, TurnTooFar};
use super::transport::{ANSWER_BYTES_MAX, ApiKey, HttpTransport, Post, Response, TransportError};
use crate::chain::codec::{CodecError, decode, parse_transaction};
use crate::chain::{
    AccountState, AccountStatus, Address, AnswerFault, Chain, ChainError, EXTERNAL_BYTES_MAX, EXTERNAL_DEPTH_MAX, Faucet, Hash, Head,
    MASTERCHAIN, MethodResult, Page, Rejection, Sought, StackItem, Transaction, TxId, check_method_call, check_page,
};

/// Pauses before a request is made again: a hiccup, an endpoint that restarts its worker, one block.
const RETRY_PAUSES: [Duration; 3] = [Duration::from_millis(300), Duration::from_millis(1_500), Duration::from_secs(5)];
/// How long to leave an endpoint alone that wants fewer requests and does not say for how long: toncenter counts by the second.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);
/// Letters of an endpoint's own words that an error keeps.
const SAID_CHARS_MAX: usize = 200;
/// Seconds that a block may be ahead of this machine's clock. Peers refuse what is signed with a clock that is further off.
const AHEAD_MAX_S: u64 = 60;
/// Age of the newest block at which an endpoint is out of order. A devnet of one's own may stand still as long as one likes.
const STALE_S: u64 = 600;
/// Shards that one masterchain block lists. TON splits a workchain into at most 256.
const SHARDS_MAX: usize = 256;

/// A chain behind toncenter's API.
pub struct Toncenter<T = Ureq> {
    transport: T,
    timer: Arc<dyn Timer>,
    bucket: Bucket,
    network: NetworkId,
    endpoint: String,
    rpc_url: String,
    api_key: Option<ApiKey>,
}

impl<T> std::fmt::Debug for Toncenter<T> {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Toncenter").field("endpoint", &self.endpoint).field("network", &self.network).finish_non_exhaustive()
    }
}

impl Toncenter<Ureq> {
    /// A chain at an endpoint such as `https://toncenter.com/api/v2`. Nothing is sent yet; see [`Toncenter::check_network`].
    pub fn new(endpoint: &str, network: NetworkId, api_key: Option<ApiKey>) -> Self {
        Self::with_transport(Ureq::default(), Arc::new(SystemTimer::default()), endpoint, network, api_key)
    }
}

impl<T: HttpTransport> Toncenter<T> {
    /// The same through another transport, by another clock.
    pub fn with_transport(transport: T, timer: Arc<dyn Timer>, endpoint: &str, network: NetworkId, api_key: Option<ApiKey>) -> Self {
        let endpoint = endpoint.trim_end_matches('/').trim_end_matches("/jsonRPC").to_owned();
        let rpc_url = format!("{endpoint}/jsonRPC");
        // Whoever runs a devnet sets no limits to himself.
        let rate = if network == NetworkId::DEVNET { Rate::Unlimited } else { Rate::of_toncenter(api_key.is_some()) };
        Self { transport, timer, bucket: Bucket::new(rate), network, endpoint, rpc_url, api_key }
    }

    /// Asks so fast and no faster, instead of what toncenter allows with a key and without.
    #[must_use]
    pub fn with_rate(self, rate: Rate) -> Self {
        Self { bucket: Bucket::new(rate), ..self }
    }

    /// Asks the endpoint which network it serves.
    ///
    /// # Errors
    /// [`ChainError::WrongNetwork`] when it is not ours.
    pub fn check_network(&self) -> Result<(), ChainError> {
        self.head().map(|_| ())
    }

    /// Asks, and asks again when the endpoint had a bad moment. For calls that change nothing.
    fn call(&self, call: &'static str, params: &Value) -> Result<Value, ChainError> {
        let mut pauses = RETRY_PAUSES.into_iter();
        loop {
            let result = self.call_once(call, params);
            let (Err(error), Some(pause)) = (&result, pauses.next()) else { return result };
            if !passes(error) {
                return result;
            }
            tracing::debug!(call, %error, "asking again");
            self.timer.sleep(pause);
        }
    }

    /// Sends the same bytes until the endpoint says what it made of them.
    fn send(&self, params: &Value) -> Result<(), ChainError> {
        let mut pauses = RETRY_PAUSES.into_iter();
        let mut may_have_arrived = false;
        loop {
            let error = match self.call_once("sendBoc", params) {
                Ok(_) => return Ok(()),
                // The wallet may refuse the number because it has taken this very message.
                Err(ChainError::Rejected(_)) if may_have_arrived => return Err(ChainError::Unclear),
                Err(error) => error,
            };
            let Some(pause) = pauses.next().filter(|_| passes(&error)) else { return Err(error) };
            may_have_arrived |= error.may_have_arrived();
            tracing::debug!(%error, "sending the same message again");
            self.timer.sleep(pause);
        }
    }

    fn call_once(&self, call: &'static str, params: &Value) -> Result<Value, ChainError> {
        self.wait_for_turn()?;
        let body = json!({ "id": "1", "jsonrpc": "2.0", "method": call, "params": params }).to_string();
        let post = Post { url: &self.rpc_url, api_key: self.api_key.as_ref(), body: body.as_bytes() };
        match self.transport.post(post) {
            Ok(response) => {
                let result = self.read(call, &response);
                if let Err(ChainError::RateLimited { wait_s, .. }) = &result {
                    self.bucket.close(self.timer.now(), wait_s.map_or(RETRY_AFTER_DEFAULT, Duration::from_secs));
                }
                result
            }
            Err(TransportError::TooLarge) => Err(ChainError::Malformed { call, fault: AnswerFault::TooLarge(ANSWER_BYTES_MAX) }),
            Err(error @ TransportError::Connection(_)) => {
                Err(ChainError::Unreachable { endpoint: self.endpoint.clone(), source: error.into() })
            }
        }
    }

    fn wait_for_turn(&self) -> Result<(), ChainError> {
        match self.bucket.take(self.timer.now()) {
            Ok(Duration::ZERO) => Ok(()),
            Ok(wait) => {
                self.timer.sleep(wait);
                Ok(())
            }
            Err(TurnTooFar(wait)) => Err(ChainError::RateLimited { endpoint: self.endpoint.clone(), wait_s: Some(wait.as_secs()) }),
        }
    }

    /// Refuses a time that cannot be that of the newest block.
    fn check_time(&self, block: &Head) -> Result<(), ChainError> {
        let (endpoint, now_s) = (|| self.endpoint.clone(), self.timer.unix_s());
        let (ahead_s, age_s) = (block.unix_s.saturating_sub(now_s), now_s.saturating_sub(block.unix_s));
        if ahead_s > AHEAD_MAX_S {
            return Err(ChainError::Ahead { endpoint: endpoint(), ahead_s });
        }
        if age_s > STALE_S && self.network != NetworkId::DEVNET {
            return Err(ChainError::Stale { endpoint: endpoint(), age_s });
        }
        Ok(())
    }

    /// A block's header, which belongs to the block and to our network.
    fn header(&self, workchain: i8, shard: &str, seqno: u32) -> Result<Value, ChainError> {
        const CALL: &str = "getBlockHeader";
        let result = self.call(CALL, &json!({ "workchain": workchain, "shard": shard, "seqno": seqno }))?;
        let header = Answer { call: CALL, value: &result };
        let found = NetworkId(header.integer("global_id")?);
        if found != self.network {
            return Err(ChainError::WrongNetwork { expected: self.network, found });
        }
        let id = header.part("id")?;
        if id.integer::<u32>("seqno")? != seqno {
            return id.fault(AnswerFault::Field("seqno"));
        }
        Ok(result)
    }

    /// Takes the result out of an answer, or the error.
    fn read(&self, call: &'static str, response: &Response) -> Result<Value, ChainError> {
        let endpoint = || self.endpoint.clone();
        let mut answer = match serde_json::from_slice::<Value>(&response.body) {
            Ok(answer) => answer,
            Err(_) if response.status >= 400 => {
                let start = response.body.get(..SAID_CHARS_MAX).unwrap_or(&response.body);
                return Err(refusal(call, endpoint(), response, response.status, &String::from_utf8_lossy(start)));
            }
            Err(_) => return Err(ChainError::Malformed { call, fault: AnswerFault::NotJson }),
        };
        if answer.get("ok") == Some(&Value::Bool(true)) {
            return match answer.get_mut("result") {
                Some(result) => Ok(result.take()),
                None => Err(ChainError::Malformed { call, fault: AnswerFault::Field("result") }),
            };
        }
        let said = match answer.get("error") {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => return Err(ChainError::Malformed { call, fault: AnswerFault::Field("ok") }),
        };
        let status = answer.get("code").and_then(integer).unwrap_or(response.status);
        Err(refusal(call, endpoint(), response, status, &said))
    }
}

/// What an endpoint's refusal means.
fn refusal(call: &'static str, endpoint: String, response: &Response, status: u16, said: &str) -> ChainError {
    let sends = call == "sendBoc";
    match status {
        429 => ChainError::RateLimited { endpoint, wait_s: response.retry_after.map(|wait| wait.as_secs()) },
        401 | 403 => ChainError::KeyRefused { endpoint, status },
        404 if call == "getConfigParam" => ChainError::NotFound(Sought::ConfigParam),
        404 if call == "getBlockHeader" => ChainError::NotFound(Sought::Block),
        404 if call == "getTransactions" => ChainError::NotFound(Sought::Transaction),
        _ if sends && said.contains("xternal message was not accepted") => Rejection::NotAccepted { exit_code: exit_code(said) }.into(),
        _ if sends && said.contains("cannot apply external message") => Rejection::Unexplained { said: shorten(said) }.into(),
        422 if sends => Rejection::Unexplained { said: shorten(said) }.into(),
        status => ChainError::Unavailable { endpoint, status, said: shorten(said) },
    }
}

/// Whether the same request, a moment later, has a chance.
fn passes(error: &ChainError) -> bool {
    match error {
        // An answer that is too large would be as large again, and all of it would have to be read.
        ChainError::Malformed { fault: AnswerFault::TooLarge(_), .. } => false,
        ChainError::RateLimited { wait_s, .. } => wait_s.is_none_or(|wait_s| wait_s <= TURN_WAIT_MAX.as_secs()),
        other => other.is_retryable(),
    }
}

/// The number behind `exitcode=` in a node's words.
fn exit_code(said: &str) -> Option<i32> {
    let (_, rest) = said.split_once("exitcode=")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// Other people's words, short and without surprises for a terminal.
fn shorten(said: &str) -> String {
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect()
}

/// Names a block of a shard.
struct ShardBlock {
    shard: String,
    seqno: u32,
    root_hash: Hash,
}

/// Whether a shard holds an account: a shard is named by the bits that its accounts begin with, a one behind them, and zeros.
fn holds(shard: i64, address: &Address) -> bool {
    let shard = u64::from_be_bytes(shard.to_be_bytes());
    let account = address.hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    let ignored = shard.trailing_zeros().saturating_add(1);
    shard != 0 && (shard ^ account).checked_shr(ignored).unwrap_or(0) == 0
}

/// An answer, or a part of one, and to what it is one.
#[derive(Debug, Clone, Copy)]
struct Answer<'a> {
    call: &'static str,
    value: &'a Value,
}

impl<'a> Answer<'a> {
    fn fault<V>(self, fault: AnswerFault) -> Result<V, ChainError> {
        Err(ChainError::Malformed { call: self.call, fault })
    }

    fn part(self, name: &'static str) -> Result<Self, ChainError> {
        match self.value.get(name) {
            Some(value) => Ok(Self { call: self.call, value }),
            None => self.fault(AnswerFault::Field(name)),
        }
    }

    fn text(self, name: &'static str) -> Result<&'a str, ChainError> {
        self.value.get(name).and_then(Value::as_str).map_or_else(|| self.fault(AnswerFault::Field(name)), Ok)
    }

    fn integer<N: std::str::FromStr>(self, name: &'static str) -> Result<N, ChainError> {
        self.value.get(name).and_then(integer).map_or_else(|| self.fault(AnswerFault::Field(name)), Ok)
    }

    fn hash(self, name: &'static str) -> Result<Hash, ChainError> {
        from_hash(self.text(name)?).map_or_else(|| self.fault(AnswerFault::Field(name)), Ok)
    }

    /// A cell, or none where the text is empty.
    fn cell(self, name: &'static str) -> Result<Option<ArcCell>, ChainError> {
        match self.text(name)? {
            "" => Ok(None),
            text => from_cell_base64(text).map_or_else(|| self.fault(AnswerFault::Cell(name)), |cell| Ok(Some(cell))),
        }
    }

    /// A transaction's name, or none where the logical time is zero.
    fn transaction_id(self) -> Result<Option<TxId>, ChainError> {
        match self.integer("lt")? {
            0 => Ok(None),
            lt => Ok(Some(TxId { lt, hash: self.hash("hash")? })),
        }
    }

    fn account(self) -> Result<AccountState, ChainError> {
        let status = match self.text("state")? {
            "active" => AccountStatus::Active,
            "uninitialized" => AccountStatus::Uninitialized,
            "frozen" => AccountStatus::Frozen,
            _ => return self.fault(AnswerFault::Field("state")),
        };
        // Endpoints write minus one for the balance of an account that does not exist.
        let balance = match self.integer::<i128>("balance")? {
            -1 => 0,
            nano => u128::try_from(nano).or_else(|_| self.fault(AnswerFault::Field("balance")))?,
        };
        let block = self.part("block_id")?;
        Ok(AccountState {
            status,
            balance: Amount::from_nano(balance),
            code: self.cell("code")?,
            data: self.cell("data")?,
            last_transaction: self.part("last_transaction_id")?.transaction_id()?,
            seen_at: Head { seqno: block.integer("seqno")?, unix_s: self.integer("sync_utime")?, root_hash: block.hash("root_hash")? },
        })
    }

    /// The shard's block that a masterchain block lists for an account.
    fn shard_of(self, address: &Address) -> Result<ShardBlock, ChainError> {
        let list = self.part("shards")?;
        let Some(shards) = list.value.as_array() else { return self.fault(AnswerFault::Field("shards")) };
        if shards.len() > SHARDS_MAX {
            return self.fault(AnswerFault::TooMany);
        }
        for value in shards {
            let id = Self { call: self.call, value };
            let shard: i64 = id.integer("shard")?;
            if id.integer::<i8>("workchain")? == address.workchain && holds(shard, address) {
                return Ok(ShardBlock { shard: shard.to_string(), seqno: id.integer("seqno")?, root_hash: id.hash("root_hash")? });
            }
        }
        self.fault(AnswerFault::Field("shards"))
    }

    /// A transaction that is what its name says.
    fn transaction(self, account: &Address) -> Result<Transaction, ChainError> {
        let parse = || -> Option<Transaction> {
            let cell = decode(&from_base64(self.value.get("data")?.as_str()?)?).ok()?;
            let transaction = parse_transaction(account.workchain, &cell).ok()?;
            let named = Answer { call: self.call, value: self.value.get("transaction_id")? }.transaction_id().ok()??;
            (transaction.id == named && transaction.account == *account).then_some(transaction)
        };
        parse().map_or_else(|| self.fault(AnswerFault::Transaction), Ok)
    }

    fn transactions(self, account: &Address, page: Page) -> Result<Vec<Transaction>, ChainError> {
        let Some(list) = self.value.as_array() else { return self.fault(AnswerFault::Field("result")) };
        if list.len() > usize::from(page.limit) {
            return self.fault(AnswerFault::TooMany);
        }
        let mut transactions = Vec::with_capacity(list.len());
        for value in list {
            transactions.push(Self { call: self.call, value }.transaction(account)?);
        }
        let linked = transactions.iter().zip(transactions.iter().skip(1)).all(|(newer, older)| newer.previous == Some(older.id));
        let begins = page.from.is_none_or(|from| transactions.first().is_none_or(|newest| newest.id == from));
        if !linked || !begins {
            return self.fault(AnswerFault::Order);
        }
        transactions.retain(|transaction| transaction.id.lt > page.after_lt);
        Ok(transactions)
    }
}

impl<T: HttpTransport> Chain for Toncenter<T> {
    fn network(&self) -> NetworkId {
        self.network
    }

    fn head(&self) -> Result<Head, ChainError> {
        let info = self.call("getMasterchainInfo", &json!({}))?;
        let seqno = Answer { call: "getMasterchainInfo", value: &info }.part("last")?.integer("seqno")?;
        let head = self.block(seqno)?;
        self.check_time(&head)?;
        Ok(head)
    }

    fn block(&self, seqno: u32) -> Result<Head, ChainError> {
        let result = self.header(MASTERCHAIN, MASTERCHAIN_SHARD, seqno)?;
        let header = Answer { call: "getBlockHeader", value: &result };
        Ok(Head { seqno, unix_s: header.integer("gen_utime")?, root_hash: header.part("id")?.hash("root_hash")? })
    }

    /// What the shard's newest block covers of which the masterchain block knows.
    fn covered_lt(&self, address: &Address, seqno: u32) -> Result<u64, ChainError> {
        let header = if address.workchain == MASTERCHAIN {
            self.header(MASTERCHAIN, MASTERCHAIN_SHARD, seqno)?
        } else {
            let listed = self.call("shards", &json!({ "seqno": seqno }))?;
            let shard = Answer { call: "shards", value: &listed }.shard_of(address)?;
            let header = self.header(address.workchain, &shard.shard, shard.seqno)?;
            let id = Answer { call: "getBlockHeader", value: &header }.part("id")?;
            if id.hash("root_hash")? != shard.root_hash {
                return id.fault(AnswerFault::Field("root_hash"));
            }
            header
        };
        Answer { call: "getBlockHeader", value: &header }.integer("end_lt")
    }

    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        let result = self.call("getAddressInformation", &json!({ "address": address.raw() }))?;
        let state = Answer { call: "getAddressInformation", value: &result }.account()?;
        self.check_time(&state.seen_at)?;
        Ok(state)
    }

    fn transactions(&self, address: &Address, page: Page) -> Result<Vec<Transaction>, ChainError> {
        check_page(page)?;
        let mut params = json!({ "address": address.raw(), "limit": page.limit, "to_lt": page.after_lt.to_string(), "archival": true });
        if let (Some(from), Value::Object(fields)) = (page.from, &mut params) {
            fields.insert("lt".to_owned(), json!(from.lt.to_string()));
            fields.insert("hash".to_owned(), json!(hex::encode(from.hash)));
        }
        let result = self.call("getTransactions", &params)?;
        Answer { call: "getTransactions", value: &result }.transactions(address, page)
    }

    fn run_get_method(&self, address: &Address, method: &str, arguments: &[StackItem]) -> Result<MethodResult, ChainError> {
        check_method_call(method, arguments)?;
        let stack = arguments_to_json(arguments)
            .map_err(|_| ChainError::BadRequest("an argument is a cell that cannot be serialized"))?
            .ok_or(ChainError::Unsupported("null and tuples as a get-method's arguments"))?;
        let result = self.call("runGetMethod", &json!({ "address": address.raw(), "method": method, "stack": stack }))?;
        let answer = Answer { call: "runGetMethod", value: &result };
        let (exit_code, gas_used) = (answer.integer("exit_code")?, answer.integer("gas_used")?);
        if exit_code == EXIT_NO_CODE && gas_used == 0 {
            return Err(ChainError::NotFound(Sought::Contract));
        }
        match stack_from_json(answer.part("stack")?.value) {
            Some(stack) => Ok(MethodResult { exit_code, gas_used, stack }),
            None => answer.fault(AnswerFault::Stack),
        }
    }

    /// Sends, and sends the same bytes again when the endpoint does not say what became of them. Signing another message is for whoever knows
    /// what it does.
    fn send_boc(&self, boc: &[u8]) -> Result<Hash, ChainError> {
        if boc.len() > EXTERNAL_BYTES_MAX {
            return Err(Rejection::TooLarge { bytes: boc.len(), bytes_max: EXTERNAL_BYTES_MAX }.into());
        }
        let message = decode(boc).map_err(|error| match error {
            CodecError::TooDeep(depth) => Rejection::TooDeep { depth, depth_max: EXTERNAL_DEPTH_MAX },
            _ => Rejection::Malformed,
        })?;
        self.send(&json!({ "boc": base64(boc) }))?;
        Ok(message.repr_hash().0)
    }

    fn config_param(&self, index: u32) -> Result<ArcCell, ChainError> {
        let result = self.call("getConfigParam", &json!({ "config_id": index }))?;
        let config = Answer { call: "getConfigParam", value: &result }.part("config")?;
        config.cell("bytes")?.ok_or(ChainError::NotFound(Sought::ConfigParam))
    }
}

impl<T: HttpTransport> Faucet for Toncenter<T> {
    /// # Errors
    /// [`ChainError::Unavailable`] where there is no faucet, which is everywhere but on a development chain.
    fn fund(&self, address: &Address, amount: Amount) -> Result<Hash, ChainError> {
        let result = self.call_once("faucet", &json!({ "address": address.raw(), "amount": amount.nano().to_string() }))?;
        Answer { call: "faucet", value: &result }.hash("hash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_nodes_words_tell_the_exit_code() {
        assert_eq!(exit_code("rejected by transaction AB:\nexitcode=33, steps=23, gas_used=0"), Some(33));
        assert_eq!(exit_code("exitcode=-14"), Some(-14));
        assert_eq!(exit_code("exitcode="), None);
        assert_eq!(exit_code("no code"), None);
    }

    #[test]
    fn a_shard_holds_the_accounts_that_begin_with_its_name() {
        let account = |first: u8| Address::basechain([first; 32]);
        let shard = |bits: u64| i64::from_be_bytes(bits.to_be_bytes());
        for first in [0, 0x7f, 0x80, 0xff] {
            assert!(holds(shard(1 << 63), &account(first)), "the only shard holds everybody");
            assert_eq!(holds(shard(0x4000_0000_0000_0000), &account(first)), first < 0x80, "{first}");
            assert_eq!(holds(shard(0xc000_0000_0000_0000), &account(first)), first >= 0x80, "{first}");
            assert_eq!(holds(shard(0x7800_0000_0000_0000), &account(first)), first == 0x7f, "{first}");
            assert!(!holds(0, &account(first)), "no name");
        }
        assert!(holds(shard(0x7f7f_7f7f_7f7f_7f7f), &account(0x7f)));
        assert!(!holds(shard(0x7f7f_7f7f_7f7f_7f7d), &account(0x7f)));
    }

    proptest! {
        #[test]
        fn no_words_panic(said in ".{0,400}") {
            let _ = exit_code(&said);
            prop_assert!(shorten(&said).chars().count() <= SAID_CHARS_MAX);
            let response = Response { status: 500, retry_after: None, body: Vec::new() };
            let _ = refusal("sendBoc", String::new(), &response, 500, &said);
        }
    }
}
