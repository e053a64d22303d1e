//! The client for toncenter's API.

use std::time::Duration;

use cocoon_market::{Amount, NetworkId};
use serde_json::{Value, json};
use tonlib_core::cell::ArcCell;

use super::http::Ureq;
use super::json::{
    EXIT_NO_CODE, MASTERCHAIN_SHARD, arguments_to_json, base64, from_base64, from_cell_base64, from_hash, integer, stack_from_json,
};
use super::transport::{ANSWER_BYTES_MAX, HttpTransport, Post, Response, TransportError};
use crate::chain::codec::{CodecError, decode, parse_transaction};
use crate::chain::{
    AccountState, AccountStatus, Address, AnswerFault, Chain, ChainError, EXTERNAL_BYTES_MAX, EXTERNAL_DEPTH_MAX, Faucet, Hash, Head,
    MethodResult, Page, Rejection, Sought, StackItem, Transaction, TxId, check_method_call, check_page,
};

/// Pauses before a question is asked again. Without a key toncenter allows one request a second, so the last pause is longer than that.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(1_500)];
/// Letters of an endpoint's own words that an error keeps.
const SAID_CHARS_MAX: usize = 200;

/// A chain behind toncenter's API.
pub struct Toncenter<T = Ureq> {
    transport: T,
    network: NetworkId,
    endpoint: String,
    rpc_url: String,
    api_key: Option<String>,
}

impl<T> std::fmt::Debug for Toncenter<T> {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Toncenter").field("endpoint", &self.endpoint).field("network", &self.network).finish_non_exhaustive()
    }
}

impl Toncenter<Ureq> {
    /// A chain at an endpoint such as `https://toncenter.com/api/v2`. Nothing is sent yet; see [`Toncenter::check_network`].
    pub fn new(endpoint: &str, network: NetworkId, api_key: Option<String>) -> Self {
        Self::with_transport(Ureq::new(), endpoint, network, api_key)
    }
}

impl<T: HttpTransport> Toncenter<T> {
    /// The same through another transport.
    pub fn with_transport(transport: T, endpoint: &str, network: NetworkId, api_key: Option<String>) -> Self {
        let endpoint = endpoint.trim_end_matches('/').trim_end_matches("/jsonRPC").to_owned();
        Self { rpc_url: format!("{endpoint}/jsonRPC"), transport, network, endpoint, api_key }
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
        let mut result = self.call_once(call, params);
        for pause in RETRY_PAUSES {
            match &result {
                Err(error) if error.is_retryable() => {
                    tracing::debug!(call, %error, "asking again");
                    self.transport.pause(pause);
                    result = self.call_once(call, params);
                }
                _ => break,
            }
        }
        result
    }

    fn call_once(&self, call: &'static str, params: &Value) -> Result<Value, ChainError> {
        let body = json!({ "id": "1", "jsonrpc": "2.0", "method": call, "params": params }).to_string();
        let post = Post { url: &self.rpc_url, api_key: self.api_key.as_deref(), body: body.as_bytes() };
        match self.transport.post(post) {
            Ok(response) => self.read(call, &response),
            Err(TransportError::TooLarge) => Err(ChainError::Malformed { call, fault: AnswerFault::TooLarge(ANSWER_BYTES_MAX) }),
            Err(error @ TransportError::Connection(_)) => {
                Err(ChainError::Unreachable { endpoint: self.endpoint.clone(), source: error.into() })
            }
        }
    }

    /// Takes the result out of an answer, or the error.
    fn read(&self, call: &'static str, response: &Response) -> Result<Value, ChainError> {
        let endpoint = || self.endpoint.clone();
        let mut answer = match serde_json::from_slice::<Value>(&response.body) {
            Ok(answer) => answer,
            Err(_) if response.status == 429 => return Err(ChainError::RateLimited { endpoint: endpoint() }),
            Err(_) if response.status >= 400 => {
                let said = shorten(&String::from_utf8_lossy(&response.body));
                return Err(ChainError::Unavailable { endpoint: endpoint(), status: response.status, said });
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
        Err(refusal(call, endpoint(), status, &said))
    }
}

/// What an endpoint's refusal means.
fn refusal(call: &'static str, endpoint: String, status: u16, said: &str) -> ChainError {
    let sends = call == "sendBoc";
    match status {
        429 => ChainError::RateLimited { endpoint },
        404 if call == "getConfigParam" => ChainError::NotFound(Sought::ConfigParam),
        404 if call == "getBlockHeader" => ChainError::NotFound(Sought::Block),
        404 if call == "getTransactions" => ChainError::NotFound(Sought::Transaction),
        _ if sends && said.contains("xternal message was not accepted") => Rejection::NotAccepted { exit_code: exit_code(said) }.into(),
        _ if sends && said.contains("cannot apply external message") => Rejection::Unexplained { said: shorten(said) }.into(),
        422 if sends => Rejection::Unexplained { said: shorten(said) }.into(),
        status => ChainError::Unavailable { endpoint, status, said: shorten(said) },
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
        self.block(seqno)
    }

    fn block(&self, seqno: u32) -> Result<Head, ChainError> {
        let params = json!({ "workchain": -1, "shard": MASTERCHAIN_SHARD, "seqno": seqno });
        let result = self.call("getBlockHeader", &params)?;
        let header = Answer { call: "getBlockHeader", value: &result };
        let found = NetworkId(header.integer("global_id")?);
        if found != self.network {
            return Err(ChainError::WrongNetwork { expected: self.network, found });
        }
        let id = header.part("id")?;
        if id.integer::<u32>("seqno")? != seqno {
            return id.fault(AnswerFault::Field("seqno"));
        }
        Ok(Head { seqno, unix_s: header.integer("gen_utime")?, root_hash: id.hash("root_hash")? })
    }

    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        let result = self.call("getAddressInformation", &json!({ "address": address.raw() }))?;
        Answer { call: "getAddressInformation", value: &result }.account()
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

    /// Sends once: whether to send again is for whoever knows what the message does.
    fn send_boc(&self, boc: &[u8]) -> Result<Hash, ChainError> {
        if boc.len() > EXTERNAL_BYTES_MAX {
            return Err(Rejection::TooLarge { bytes: boc.len(), bytes_max: EXTERNAL_BYTES_MAX }.into());
        }
        let message = decode(boc).map_err(|error| match error {
            CodecError::TooDeep(depth) => Rejection::TooDeep { depth, depth_max: EXTERNAL_DEPTH_MAX },
            _ => Rejection::Malformed,
        })?;
        self.call_once("sendBoc", &json!({ "boc": base64(boc) }))?;
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

    proptest! {
        #[test]
        fn no_words_panic(said in ".{0,400}") {
            let _ = exit_code(&said);
            prop_assert!(shorten(&said).chars().count() <= SAID_CHARS_MAX);
            let _ = refusal("sendBoc", String::new(), 500, &said);
        }
    }
}
