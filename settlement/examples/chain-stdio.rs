//! The embedded chain on standard input and output: a JSON request a line, a JSON answer a line.
//!
//! The suite in `contracts/suite` drives it beside TON's own emulator. Time stands still until it is set.
//!
//! | request, by its `do` | fields | answer |
//! |---|---|---|
//! | `config` | | `config`: the dictionary of parameters; `faucet`: its address |
//! | `time` | `unix_s` | |
//! | `fund` | `address`, `nano` | as of `send` |
//! | `send` | `boc` | `surroundings`, and either `blocks` with their `transactions`, or `refused` with the `exit_code` |
//! | `account` | `address` | `account`: the account as TON keeps it |
//! | `http` | `verb`, `target`, `body` | `status`, `json` of toncenter's API |

use std::error::Error;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cocoon_market::{Amount, Timestamp};
use cocoon_settlement::chain::codec::to_boc;
use cocoon_settlement::chain::embedded::{Blocks, Embedded, Options, Surroundings};
use cocoon_settlement::chain::toncenter::{Request, Server, Verb};
use cocoon_settlement::chain::{Address, Chain, ChainError, Faucet, Hash, Rejection};
use serde_json::{Value, json};
use tonlib_core::cell::ArcCell;

type Answer = Result<Value, Box<dyn Error>>;

const START_MS: u64 = 1_790_000_000_000;

struct Session {
    chain: Arc<Embedded>,
    server: Server,
    clock_ms: Arc<AtomicU64>,
}

impl Session {
    fn new() -> Result<Self, Box<dyn Error>> {
        let clock_ms = Arc::new(AtomicU64::new(START_MS));
        let now = Arc::clone(&clock_ms);
        let clock = Arc::new(move || Timestamp(now.load(Ordering::SeqCst)));
        let chain = Arc::new(Embedded::in_memory(Options { blocks: Blocks::Instant, clock })?);
        let server = Server::new(Arc::clone(&chain) as Arc<dyn Chain>).with_faucet(Arc::clone(&chain) as Arc<dyn Faucet>);
        Ok(Self { chain, server, clock_ms })
    }

    fn answer(&self, request: &Value) -> Answer {
        match text(request, "do")? {
            "config" => Ok(json!({ "config": cell(&self.chain.config_cell()?)?, "faucet": self.chain.faucet().raw() })),
            "time" => {
                let unix_s = request.get("unix_s").and_then(Value::as_u64).ok_or("unix_s is missing")?;
                self.clock_ms.store(unix_s * 1_000, Ordering::SeqCst);
                Ok(json!({}))
            }
            "fund" => {
                let (to, amount) = (address(request)?, Amount::from_nano(text(request, "nano")?.parse()?));
                self.observe(|| self.chain.fund(&to, amount))
            }
            "send" => {
                let boc = STANDARD.decode(text(request, "boc")?)?;
                self.observe(|| self.chain.send_boc(&boc))
            }
            "account" => Ok(json!({ "account": cell(&self.chain.shard_account(&address(request)?)?)? })),
            "http" => self.http(request),
            other => Err(format!("no request is called {other}").into()),
        }
    }

    /// Sends something and tells all that came of it.
    fn observe(&self, send: impl FnOnce() -> Result<Hash, ChainError>) -> Answer {
        let before = self.chain.head()?.seqno;
        let next = surroundings(&self.chain.next_surroundings()?);
        match send() {
            Ok(_) => {
                let made = before + 1..=self.chain.head()?.seqno;
                let blocks = made.map(|seqno| self.block(seqno)).collect::<Result<Vec<_>, _>>()?;
                Ok(json!({ "surroundings": next, "blocks": blocks }))
            }
            Err(ChainError::Rejected(Rejection::NotAccepted { exit_code })) => {
                Ok(json!({ "surroundings": next, "refused": { "exit_code": exit_code } }))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn block(&self, seqno: u32) -> Answer {
        let mut transactions = Vec::new();
        for transaction in self.chain.block_transactions(seqno)? {
            transactions.push(json!({ "account": transaction.account.raw(), "boc": cell(&transaction.raw)? }));
        }
        Ok(json!({ "surroundings": surroundings(&self.chain.surroundings(seqno)?), "transactions": transactions }))
    }

    fn http(&self, request: &Value) -> Answer {
        let verb = if text(request, "verb")? == "POST" { Verb::Post } else { Verb::Get };
        let reply = self.server.serve(Request { verb, target: text(request, "target")?, body: text(request, "body")?.as_bytes() });
        Ok(json!({ "status": reply.status, "json": reply.json }))
    }
}

fn text<'a>(request: &'a Value, name: &str) -> Result<&'a str, String> {
    request.get(name).and_then(Value::as_str).ok_or_else(|| format!("{name} is missing"))
}

fn address(request: &Value) -> Result<Address, Box<dyn Error>> {
    Ok(text(request, "address")?.parse()?)
}

fn cell(cell: &ArcCell) -> Result<String, Box<dyn Error>> {
    Ok(STANDARD.encode(to_boc(cell)?))
}

fn surroundings(of: &Surroundings) -> Value {
    json!({
        "seqno": of.seqno,
        "unix_s": of.unix_s,
        "lt": of.lt.to_string(),
        "seed": hex::encode(of.seed),
        "previous": { "seqno": of.previous.seqno, "root_hash": hex::encode(of.previous.root_hash) },
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let session = Session::new()?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = session.answer(&serde_json::from_str(&line?)?).unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
