//! What the demo tells: for people as text, for programs as one event a line.

use std::path::Path;
use std::time::{Duration, Instant};

use cocoon_market::job::{Chunk, FinishReason};
use cocoon_market::{Amount, NetworkId, NodeId, SignedReceipt, SignedVoucher, Usage};
use cocoon_p2p::{Found, NegotiationStep, NodeEvent, OfferPath, peer_text};
use cocoon_settlement::chain::{Address, Bounce};
use cocoon_settlement::contract::{Attested, VaultData};
use cocoon_settlement::dossier::{Report, Verdict};
use cocoon_settlement::economy::auction::Rate;
use cocoon_settlement::settler::{ClaimPolicy, ProviderView};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::Claimed;
use super::accounts::Row;
use crate::output::{Format, Output, Table, Tone, percent_text};
use crate::wiring::buying::{BuyStep, score_text};
use crate::wiring::node::RunningNode;
use crate::wiring::serving::Served;

/// Tells the story. Clones tell the same one.
#[derive(Clone)]
pub(super) struct Story {
    out: Output,
    started: Instant,
}

/// The answer as it comes.
pub(super) struct Answer {
    started: Instant,
    first: Option<Instant>,
    tokens: usize,
    is_mid_line: bool,
}

impl Answer {
    /// An answer to a question asked at `started`.
    pub(super) const fn new(started: Instant) -> Self {
        Self { started, first: None, tokens: 0, is_mid_line: false }
    }

    /// Tokens a second since the first one.
    fn tokens_per_s(&self) -> f64 {
        let taken = self.first.map_or(Duration::ZERO, |first| first.elapsed());
        // Token counts are far below where an f64 loses units.
        self.tokens.saturating_sub(1) as f64 / taken.as_secs_f64().max(f64::EPSILON)
    }
}

impl Story {
    /// A story to this output.
    pub(super) fn new(out: Output) -> Self {
        Self { out, started: Instant::now() }
    }

    /// One line with its time, or one event.
    fn line(&self, event: &str, value: &Value, text: &str) {
        let at = self.started.elapsed().as_secs_f64();
        self.out.event(event, value, |_| format!("  {} {text}", self.out.paint(Tone::Faint, format!("{at:6.2}s"))));
    }

    /// A heading. Programs need none.
    pub(super) fn chapter(&self, title: &str) {
        if self.out.format() == Format::Text {
            self.out.stream(&format!("\n{}\n", self.out.paint(Tone::Strong, title)));
        }
    }

    pub(super) fn model(&self, served: &Served) {
        let device = served.model.device().to_string();
        let value = json!({ "name": served.name, "id": served.id, "device": device, "tokens_per_s": served.tokens_per_s });
        self.line("model", &value, &format!("{} on {device}, {} tokens/s by itself", served.name, served.tokens_per_s));
    }

    pub(super) fn chain(&self, network: NetworkId, block_time: Duration) {
        let value = json!({ "network": network.0, "block_time_ms": u64::try_from(block_time.as_millis()).unwrap_or(u64::MAX) });
        self.line("chain", &value, &format!("an embedded TON chain ({network}), a block every {} ms", block_time.as_millis()));
    }

    pub(super) fn vault_deployed(&self, vault: Address, fee_bps: u16) {
        let value = json!({ "vault": vault, "fee_bps": fee_bps });
        let text = format!("the network's vault {}, which gets {} of what is drawn", vault.friendly(Bounce::Yes), percent_text(fee_bps));
        self.line("vault", &value, &text);
    }

    /// A provider begins to offer: what stands behind its work, and when it will claim.
    pub(super) fn staked(&self, name: &str, stake: &ProviderView, claims: ClaimPolicy) {
        let (held, operations) = (stake.data.stake, stake.operations());
        let value = json!({
            "name": name, "contract": Address::from(stake.contract), "stake": held.standing(), "bond": held.bond, "operations": operations,
            "claim_fee_bps_max": claims.fee_bps_max, "undrawn_max": claims.undrawn_max,
        });
        let text = format!(
            "{name} staked {} TON and a bond of {} TON; {operations} TON pay for its claims\n          it claims when fees are at most {} of it, or more than {} TON is not drawn",
            held.standing(),
            held.bond,
            percent_text(claims.fee_bps_max),
            claims.undrawn_max
        );
        self.line("stake", &value, &text);
    }

    pub(super) fn player(&self, name: &str, node: NodeId, wallet: Address, addresses: &[String]) {
        let wallet = wallet.friendly(Bounce::No);
        let value = json!({ "name": name, "node": node, "wallet": wallet, "addresses": addresses });
        let first = addresses.first().map_or("nowhere", |address| address.split("/p2p/").next().unwrap_or(address));
        self.line("player", &value, &format!("{name}: node {}, wallet {wallet}, listens on {first}", node.short()));
    }

    /// Tells what a node sees, for as long as it runs.
    pub(super) fn watch(&self, name: &'static str, node: &RunningNode) {
        let (mut events, story) = (node.node().events(), self.clone());
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                story.seen(name, &event);
            }
        });
    }

    fn seen(&self, name: &str, event: &NodeEvent) {
        match event {
            NodeEvent::PeerConnected { peer, how } => {
                let peer = peer_text(peer);
                let (way, text) = found(*how);
                let end = &peer[peer.len().saturating_sub(6)..];
                self.line("peer", &json!({ "at": name, "peer": peer, "how": way }), &format!("{name} met peer ..{end} {text}"));
            }
            NodeEvent::OfferSeen { id, provider, how, .. } => {
                let (way, text) = path(*how);
                let value = json!({ "at": name, "offer": id, "provider": provider, "how": way });
                self.line("offer", &value, &format!("{name} {text} offer {} of node {}", id.short(), provider.short()));
            }
            _ => {}
        }
    }

    /// What happened on the way to an agreement.
    pub(super) fn bought(&self, step: &BuyStep) {
        match step {
            BuyStep::Found(offers) => self.found(offers),
            BuyStep::Backed { provider, stake, cap } => {
                let value = json!({ "provider": provider, "stake": stake, "cap": cap });
                self.line(
                    "backed",
                    &value,
                    &format!("node {} has {stake} TON at stake; asking it, for {cap} TON at most", provider.short()),
                );
            }
            BuyStep::Negotiation(_, step) => self.negotiated(step),
            BuyStep::Next { provider, why } => {
                let value = json!({ "provider": provider, "why": why });
                self.line("refused", &value, &format!("node {} said no: {why}", provider.short()));
            }
        }
    }

    fn found(&self, offers: &[cocoon_p2p::Match]) {
        for (rank, one) in offers.iter().enumerate() {
            let why = score_text(&one.offer, &one.score);
            let value = json!({ "rank": rank + 1, "provider": one.offer.provider, "cost": one.score.cost, "why": why });
            let mark = if rank == 0 { "wins" } else { "loses" };
            self.line("match", &value, &format!("node {} {mark}: {why}", one.offer.provider.short()));
        }
    }

    fn negotiated(&self, step: &NegotiationStep) {
        let (name, text) = match step {
            NegotiationStep::Proposed { round, terms } => {
                ("proposed", format!("-> Propose (round {round}): up to {} TON, a receipt every {} tokens", terms.cap, terms.slice_tokens))
            }
            NegotiationStep::Countered { round, terms } => ("countered", format!("<- Counter (round {round}): up to {} TON", terms.cap)),
            NegotiationStep::Accepted { terms } => ("accepted", format!("<- Accept, signed by the provider: float {} TON", terms.float)),
            NegotiationStep::Funding { channel, .. } => ("funding", format!("   opening channel {} on chain", channel.address.short())),
            NegotiationStep::Funded { channel } => ("funded", format!("   channel {} is open on chain", channel.address.short())),
            NegotiationStep::Committing { agreement } => {
                ("committing", format!("-> Commit, signed by both: agreement {}", agreement.short()))
            }
            NegotiationStep::Agreed { agreement } => ("agreed", format!("<- Committed: agreement {} stands", agreement.short())),
            NegotiationStep::Refused { reason } => ("refused", format!("<- Refused: {reason}")),
            NegotiationStep::Lost => ("lost", "   a message was lost".to_owned()),
        };
        self.line("negotiation", &json!({ "step": name, "text": text.trim() }), &text);
    }

    pub(super) fn question(&self, prompt: &str) {
        self.chapter("The job");
        self.line("question", &json!({ "prompt": prompt }), &format!("asked: {prompt}"));
        self.out.stream("\n    ");
    }

    pub(super) fn chunk(&self, answer: &mut Answer, chunk: &Chunk) {
        answer.first.get_or_insert_with(Instant::now);
        answer.tokens += chunk.tokens.len();
        answer.is_mid_line = true;
        match self.out.format() {
            Format::Text => self.out.stream(&chunk.text.replace('\n', "\n    ")),
            Format::Json => {
                let value =
                    json!({ "index": chunk.index, "text": chunk.text, "tokens": chunk.tokens, "tokens_per_s": answer.tokens_per_s() });
                self.out.event("chunk", &value, |_| String::new());
            }
        }
    }

    pub(super) fn receipted(&self, answer: &mut Answer, receipt: &SignedReceipt, voucher: &SignedVoucher) {
        let (header, body) = (&receipt.receipt.header, &receipt.receipt.body);
        let value = json!({
            "sequence": header.sequence, "amount": body.amount, "last": body.last,
            "input_tokens": body.usage.input_tokens, "output_tokens": body.usage.output_tokens,
            "voucher_cumulative": voucher.voucher.cumulative, "receipts_root": voucher.voucher.receipts_root,
        });
        if std::mem::take(&mut answer.is_mid_line) {
            self.out.stream("\n");
        }
        let kind = if body.last { "final receipt" } else { "receipt" };
        let text = format!(
            "{kind} {}: {} TON for {} tokens so far ({:.1} tokens/s); voucher now {} TON",
            header.sequence,
            body.amount,
            body.usage.output_tokens,
            answer.tokens_per_s(),
            voucher.voucher.cumulative
        );
        self.line("receipt", &value, &text);
        if !body.last {
            self.out.stream("    ");
        }
    }

    pub(super) fn done(&self, answer: &Answer, reason: FinishReason, usage: Usage, paid: Amount) {
        let first_ms = answer.first.map_or(0, |first| first.duration_since(answer.started).as_millis());
        let rate = answer.tokens_per_s();
        let value = json!({
            "reason": reason, "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "paid": paid,
            "tokens_per_s": rate, "first_token_ms": u64::try_from(first_ms).unwrap_or(u64::MAX),
        });
        let text = format!(
            "done ({reason:?}): {} tokens read, {} written at {rate:.1} tokens/s, first after {first_ms} ms, {paid} TON paid",
            usage.input_tokens, usage.output_tokens
        );
        self.line("done", &value, &text);
    }

    pub(super) fn claimed(&self, name: &str, claimed: &Claimed) {
        let Claimed { contract, channel, drawn, earned, fee, landed } = *claimed;
        let value = json!({
            "provider": name, "contract": Address::from(contract), "channel": channel.address, "drawn": drawn, "earned": earned, "fee": fee,
            "transaction": landed.transaction, "lt": landed.lt,
        });
        let text = format!(
            "{name} drew {drawn} TON from channel {}: {earned} TON for itself, {fee} TON for the network\n          in transaction {}",
            channel.address.short(),
            hex::encode(landed.transaction.0)
        );
        self.line("claim", &value, &text);
    }

    pub(super) fn fees(&self, vault: &VaultData) {
        let VaultData { burn, auditors, treasury, fees_cum, .. } = *vault;
        let value = json!({ "fees": fees_cum, "burn": burn, "auditors": auditors, "treasury": treasury });
        let text = format!(
            "the vault has got {fees_cum} TON of fees: {burn} TON to be burned, {auditors} TON for auditors, {treasury} TON for the treasury"
        );
        self.line("fees", &value, &text);
    }

    pub(super) fn balances(&self, rows: &[Row], before: Amount, after: Amount) {
        self.chapter("All balances, in TON");
        let value = json!({ "accounts": rows, "sum_before": before, "sum_after": after, "adds_up": before == after });
        self.out.event("balances", &value, |_| table(rows, before, after));
    }

    pub(super) fn dossier(&self, path: &Path, report: &Report) {
        self.chapter("The dossier, verified from its file alone");
        for finding in &report.findings {
            let verdict = match finding.verdict {
                Verdict::Holds => self.out.paint(Tone::Good, "holds    "),
                Verdict::Fails => self.out.paint(Tone::Bad, "FAILS    "),
                Verdict::Missing => self.out.paint(Tone::Warning, "missing  "),
                Verdict::Unchecked => self.out.paint(Tone::Warning, "unchecked"),
            };
            self.line("finding", &json!(finding), &format!("{verdict} {}", finding.check));
        }
        let value = json!({ "file": path, "sound": report.is_sound() });
        self.line("dossier", &value, &format!("{}: {}", path.display(), if report.is_sound() { "sound" } else { "NOT SOUND" }));
    }

    pub(super) fn epoch_closed(&self, epoch: u32, vault: &VaultData) {
        let (fees, lot) = (vault.auction.fees, vault.unsold);
        let value = json!({ "epoch": epoch, "fees": fees, "lot": lot });
        let text = format!("epoch {epoch} of the vault is closed: {fees} TON of fees that can be rewarded, {lot} TON on sale for COCOON");
        self.line("epoch", &value, &text);
    }

    pub(super) fn bid(&self, rate: Rate, bid: Amount, bought: Amount, paid: Amount) {
        let value = json!({ "rate": rate.per_ton(), "bid": bid, "bought": bought, "paid": paid });
        let text =
            format!("at {} COCOON for a TON a bid of {bid} COCOON buys {bought} TON for {paid}, and the rest comes back", rate.per_ton());
        self.line("bid", &value, &text);
    }

    pub(super) fn burned(&self, left: Amount) {
        self.line("burned", &json!({ "supply": left }), &format!("what was paid is burned: {left} COCOON are left, and none is ever made"));
    }

    pub(super) fn proven(&self, name: &str, attested: &Attested, took: Duration) {
        let fees = Amount::from_nano(attested.fees.into());
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let value = json!({
            "provider": name, "epoch": attested.epoch, "circuit": attested.circuit, "lo": attested.lo, "hi": attested.hi, "fees": fees,
            "millis": millis,
        });
        let text = format!(
            "the development auditor certifies the work of {name}, unseen; keys and proof made in {:.1} s: certificates {} to {} cover {fees} TON of fees",
            took.as_secs_f64(),
            attested.lo,
            attested.hi
        );
        self.line("proof", &value, &text);
    }

    pub(super) fn registered(&self, part: Amount) {
        let text = format!("the contract verified it, and knows of no job, model or auditor: these fees burned {part} COCOON");
        self.line("registered", &json!({ "burned": part }), &text);
    }

    pub(super) fn rewarded(&self, name: &str, free: Amount, vesting: Amount) {
        let value = json!({ "provider": name, "free": free, "vesting": vesting });
        let text = format!("{name} is rewarded: {free} COCOON are free at once, {vesting} vest over 90 days");
        self.line("reward", &value, &text);
    }

    pub(super) fn locked(&self, amount: Amount, ends_s: u32) {
        let value = json!({ "amount": amount, "ends_s": ends_s });
        self.line("locked", &value, &format!("the founder locks {amount} COCOON for two years, which weighs the most"));
    }

    pub(super) fn proposed(&self, number: u32, seconds: u64) {
        let value = json!({ "number": number, "auction_seconds": seconds });
        self.line(
            "proposed",
            &value,
            &format!("proposal {number}: an auction takes {seconds} s; a day later it is voted on, for ten days"),
        );
    }

    pub(super) fn voted(&self, number: u32, yes: Amount, all: Amount) {
        let value = json!({ "number": number, "yes": yes, "all": all });
        self.line("voted", &value, &format!("{yes} of {all} say yes; two days after the vote anybody may carry it out"));
    }

    pub(super) fn executed(&self, number: u32, seconds: u64) {
        let value = json!({ "number": number, "auction_seconds": seconds });
        self.line(
            "executed",
            &value,
            &format!("proposal {number} is carried out: the registry told the vault, whose next auction takes {seconds} s"),
        );
    }

    pub(super) fn taken(&self, name: &str, taken: Amount, left: Amount) {
        let value = json!({ "provider": name, "taken": taken, "vesting": left });
        self.line("taken", &value, &format!("{name} takes the {taken} COCOON that are free by now, two weeks later; {left} still vest"));
    }

    pub(super) fn end(&self, kept: Option<&Path>) {
        let seconds = self.started.elapsed().as_secs_f64();
        let text = match kept {
            Some(dir) => format!("That was it, in {seconds:.1} s. Everything is kept in {}.", dir.display()),
            None => format!("That was it, in {seconds:.1} s. `--keep DIR` keeps keys, ledgers, chain and dossier."),
        };
        self.out.event("end", &json!({ "seconds": seconds, "kept": kept }), |_| format!("\n{text}"));
    }
}

fn table(rows: &[Row], before: Amount, after: Amount) -> String {
    let mut table = Table::new(["  account", "before", "after", "change"]).right([1, 2, 3]);
    for row in rows {
        table.row([format!("  {}", row.account), row.before.to_string(), row.after.to_string(), row.change()]);
    }
    let all = Row { account: String::new(), before, after };
    table.row(["  sum".to_owned(), before.to_string(), after.to_string(), all.change()]);
    table.to_string()
}

fn found(how: Found) -> (&'static str, &'static str) {
    match how {
        Found::Bootstrap => ("bootstrap", "as its bootstrap peer"),
        Found::Kademlia => ("kademlia", "through Kademlia"),
        Found::Gossip => ("gossip", "through an offer"),
        Found::Mdns => ("mdns", "on the local network"),
        Found::Dialed => ("dialed", "by dialling it"),
        Found::Incoming => ("incoming", "who dialled in"),
    }
}

fn path(how: OfferPath) -> (&'static str, &'static str) {
    match how {
        OfferPath::Gossip => ("gossip", "heard by gossip of"),
        OfferPath::Pull => ("pull", "asked for and got"),
        OfferPath::Own => ("own", "published"),
    }
}
