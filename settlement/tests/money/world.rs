//! Ten requesters and five providers on an embedded chain, and the model beside it: what the chain delivered is what the model is told, and
//! after every block both have to say the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cocoon_market::ids::Digest;
use cocoon_market::{Amount, ChannelRef, ContractAddress, CooperativeClose, NetworkId, OperatorKey, SignedVoucher, Timestamp, Voucher};
use cocoon_settlement::chain::embedded::{Blocks, Embedded, Options};
use cocoon_settlement::chain::{Address, Bounce, Chain, ChainError, Faucet, Message, MessageKind, Rejection, Transaction};
use cocoon_settlement::contract::order::BatchedClaim;
use cocoon_settlement::contract::{
    ChannelData, ChannelMessage, ChannelStatus, ChannelTerms, Command, Exit, NetworkTerms, Notice, OperatorOrder, ProviderData,
    ProviderMessage, ProviderTerms, VaultData, VaultMessage, VaultTerms,
};
use cocoon_settlement::wallet::{Outgoing, OwnerWallet, external_message};
use tonlib_core::cell::{ArcCell, EMPTY_ARC_CELL};

use crate::model::{
    Account, Arrival, BATCH_MAX, Channel, Done, Model, Nano, PROVIDER_RESERVE, Paper, Prices, Provider, Rules, Say, Sent, Status, Sum,
    Vault,
};
use crate::ops::{Kind, Op};

const REQUESTERS: usize = 10;
const PROVIDERS: usize = 5;
/// Wallets: the requesters', the providers' owners', the dispute account's and a stranger's.
const DISPUTE: usize = REQUESTERS + PROVIDERS;
const STRANGER: usize = DISPUTE + 1;
const WALLETS: usize = STRANGER + 1;

const START_MS: u64 = 1_790_000_000_000;
/// No waiting beyond this: an account that owes forty years of storage freezes.
const END_MS: u64 = START_MS + 30 * 365 * 86_400_000;
const TON: Nano = 1_000_000_000;
/// What a sender adds to what a message asks for, when it does not count its coins. Makes good decades of storage.
const AMPLE: Nano = TON / 10;
/// Storage that accounts can owe within the time that a run may take.
const DEBT_MAX: Nano = TON / 10;
/// More than the chain takes for bringing in the largest order, with the storage that falls due between two messages of decades.
const ORDER_SLACK: Nano = TON / 4;
/// All accounts are compared each time so many blocks were made, and at the end; those that a block touched, after that block.
const BLOCKS_PER_FULL_CHECK: u32 = 64;

pub(crate) type Outcome<T> = Result<T, String>;

struct Wallet {
    wallet: OwnerWallet,
    seqno: u32,
}

struct Desk {
    terms: ProviderTerms,
    account: Account,
    operator: OperatorKey,
}

struct Line {
    terms: ChannelTerms,
    account: Account,
    requester: usize,
    provider: usize,
    cumulative: Nano,
    papers: Vec<(Paper, SignedVoucher)>,
}

pub(crate) struct World {
    chain: Embedded,
    clock: Arc<AtomicU64>,
    wallets: Vec<Wallet>,
    desks: Vec<Desk>,
    lines: Vec<Line>,
    model: Model,
    vault_terms: VaultTerms,
    /// What messages say that we made: by sender, receiver and hash of the body.
    said: HashMap<(Account, Account, [u8; 32]), Say>,
    /// What every account holds, by the fees and values of its transactions alone.
    balances: BTreeMap<Account, Nano>,
    /// All fees, and all that messages under way carry, likewise.
    fees: Nano,
    under_way: Nano,
    /// What left the contracts by the model's word, and what arrived outside of them: by receiver and kind.
    left: BTreeMap<(Account, String), Nano>,
    arrived: BTreeMap<(Account, String), Nano>,
    /// Providers that took an order in the block that is open.
    ordered: BTreeSet<Account>,
    in_block: usize,
    blocks: u32,
    query: u64,
    pub(crate) counts: BTreeMap<String, u64>,
}

fn nano(amount: Amount) -> Nano {
    Nano::try_from(amount.nano()).unwrap()
}

fn amount(nano: Nano) -> Amount {
    Amount::from_nano(u128::try_from(nano).unwrap())
}

fn hash(cell: &ArcCell) -> [u8; 32] {
    cell.cell_hash().into()
}

fn pick(of: usize, raw: u32) -> usize {
    usize::try_from(raw).unwrap() % of
}

fn requester_key(of: usize) -> OperatorKey {
    OperatorKey::from_seed(&[u8::try_from(100 + of).unwrap(); 32])
}

/// Bounds of gas and sizes of messages, as the contracts' sources name them.
fn prices() -> Prices {
    let sources = [
        include_str!("../../contracts/channel.tolk"),
        include_str!("../../contracts/provider.tolk"),
        include_str!("../../contracts/provider-storage.tolk"),
        include_str!("../../contracts/vault.tolk"),
        include_str!("../../contracts/pricing.tolk"),
    ];
    let constant = |line: &str| {
        let (name, value) = line.strip_prefix("const ")?.split_once(" = ")?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Prices(sources.iter().flat_map(|source| source.lines()).filter_map(constant).collect())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, chain: T, model: T) -> Outcome<()> {
    if chain == model { Ok(()) } else { Err(format!("{what}: the chain says {chain:?}, the model {model:?}")) }
}

fn holds(sum: Sum, value: Nano) -> bool {
    match sum {
        Sum::Exactly(exact) => value == exact,
        Sum::AtLeast(least) => value >= least,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(AtomicU64::new(START_MS));
        let reading = Arc::clone(&clock);
        let options = Options { blocks: Blocks::Manual, clock: Arc::new(move || Timestamp(reading.load(Ordering::SeqCst))) };
        let chain = Embedded::in_memory(options).unwrap();
        let seed = |of: usize| [u8::try_from(1 + of).unwrap(); 32];
        let wallets: Vec<_> = (0..WALLETS).map(|of| Wallet { wallet: OwnerWallet::from_seed(&seed(of)).unwrap(), seqno: 0 }).collect();
        let [treasury, registry, minter, rewards] = [0x7e, 0x7f, 0x80, 0x81].map(|byte| ContractAddress([byte; 32]));
        let vault_terms = VaultTerms { network: NetworkId::DEVNET, treasury, registry, minter, rewards, epoch_s: 86_400 };
        let network = NetworkTerms {
            network: NetworkId::DEVNET,
            vault: vault_terms.address().unwrap(),
            dispute: wallets[DISPUTE].wallet.account(),
            rewards,
            fee_bps: 500,
            unbond_s: 4 * 86_400,
            epoch_s: 86_400,
            answer_s: 3_600,
        };
        let desk = |of: usize| {
            let operator = OperatorKey::from_seed(&[u8::try_from(200 + of).unwrap(); 32]);
            let owner = wallets[REQUESTERS + of].wallet.account();
            let terms = ProviderTerms { owner, operator: operator.node_id(), class: 1, network };
            Desk { terms, account: terms.address().unwrap().0, operator }
        };
        let desks: Vec<_> = (0..PROVIDERS).map(desk).collect();
        let rules = Rules {
            vault: network.vault.0,
            treasury: vault_terms.treasury.0,
            dispute: network.dispute.0,
            fee_bps: Nano::from(network.fee_bps),
            unbond_s: Nano::from(network.unbond_s),
            epoch_s: Nano::from(network.epoch_s),
            answer_s: Nano::from(network.answer_s),
        };
        let provider = |desk: &Desk| (desk.account, Provider { owner: desk.terms.owner.0, ..Provider::default() });
        let providers = desks.iter().map(provider).collect();
        let model = Model { rules, prices: prices(), channels: BTreeMap::new(), providers, vault: Vault::default() };
        let balances = BTreeMap::from([(chain.faucet().hash, nano(chain.supply().unwrap().issued))]);
        Self {
            chain,
            clock,
            wallets,
            desks,
            lines: Vec::new(),
            model,
            vault_terms,
            said: HashMap::new(),
            balances,
            fees: 0,
            under_way: 0,
            left: BTreeMap::new(),
            arrived: BTreeMap::new(),
            ordered: BTreeSet::new(),
            in_block: 0,
            blocks: 0,
            query: 1 << 40,
            counts: BTreeMap::new(),
        }
    }

    /// Gives everybody money and deploys the vault and the providers' contracts.
    pub(crate) fn prepare(&mut self) -> Outcome<()> {
        for of in 0..WALLETS {
            self.chain.fund(&self.wallets[of].wallet.address(), amount(100_000 * TON)).map_err(|error| error.to_string())?;
        }
        self.end_block()?;
        let init = self.vault_terms.state_init().unwrap();
        self.send(STRANGER, self.model.rules.vault, TON, Say::Gift, EMPTY_ARC_CELL.clone(), Some(init))?;
        self.end_block()?;
        for of in 0..PROVIDERS {
            let (amount, bond) = (TON * Nano::try_from(of).unwrap(), TON);
            // From a balance that carries a few claims to one that carries thousands.
            let operations = PROVIDER_RESERVE + TON / 20 * Nano::from(10_u32.pow(u32::try_from(of).unwrap() / 2));
            self.stake(of, REQUESTERS + of, amount, bond, operations)?;
        }
        self.end_block()
    }

    /// Does one operation, and ends the block after it unless the next one shall be in the same.
    pub(crate) fn step(&mut self, op: &Op) -> Outcome<()> {
        if matches!(op.kind, Kind::Wait | Kind::WaitLong) {
            self.end_block()?;
        }
        self.operate(op)?;
        self.in_block += 1;
        if self.in_block >= 8 || !op.same_block { self.end_block() } else { Ok(()) }
    }

    /// Lets everything arrive, and compares everything.
    pub(crate) fn finish(&mut self) -> Outcome<()> {
        self.end_block()?;
        while self.under_way > 0 {
            self.end_block()?;
        }
        self.compare_all()
    }

    fn now(&self) -> Nano {
        Nano::from(self.clock.load(Ordering::SeqCst) / 1000)
    }

    fn count(&mut self, what: String) {
        *self.counts.entry(what).or_default() += 1;
    }

    // ---- Operations.

    fn operate(&mut self, op: &Op) -> Outcome<()> {
        let grown = Nano::from(op.amount);
        match op.kind {
            Kind::Wait | Kind::WaitLong => {
                let longest = if op.kind == Kind::Wait { 72 * 3_600_000 } else { 9 * 365 * 86_400_000 };
                let until = self.clock.load(Ordering::SeqCst) + 1 + op.amount % longest;
                if until < END_MS {
                    self.clock.store(until, Ordering::SeqCst);
                }
                Ok(())
            }
            Kind::Open => self.open(op),
            Kind::Stake => {
                let of = pick(PROVIDERS, op.a);
                let value = self.purse(&Say::Stake { amount: grown, bond: grown / 8 }, op) - grown - grown / 8;
                let from = self.sender(REQUESTERS + of, op);
                self.stake(of, from, grown, grown / 8, value)
            }
            Kind::Unbond | Kind::Withdraw | Kind::WithdrawOperations | Kind::Slash | Kind::Poke | Kind::PokeOver | Kind::Flush => {
                self.tell_provider(op)
            }
            Kind::Gift => {
                let to = self.desks[pick(PROVIDERS, op.a)].account;
                // Enough for the gas of taking it.
                self.send(STRANGER, to, TON / 1_000 + grown / 4, Say::Gift, EMPTY_ARC_CELL.clone(), None)
            }
            Kind::Batch | Kind::Allocate | Kind::Alive => self.order(op),
            Kind::PayTreasury => {
                let value = self.purse(&Say::PayTreasury, op);
                let body = VaultMessage::PayTreasury.to_cell(self.next_query()).unwrap();
                self.send(STRANGER, self.model.rules.vault, value, Say::PayTreasury, body, None)
            }
            Kind::Fee => {
                let say = Say::Fee(grown / 16);
                let value = self.purse(&say, op);
                let body = VaultMessage::Fee { amount: amount(grown / 16), credit: Amount::ZERO }.to_cell(self.next_query()).unwrap();
                self.send(STRANGER, self.model.rules.vault, value, say, body, None)
            }
            Kind::TopUp | Kind::Voucher | Kind::Claim | Kind::Close | Kind::Finish | Kind::Cooperative if self.lines.is_empty() => Ok(()),
            Kind::Voucher => {
                self.sign(op);
                Ok(())
            }
            Kind::TopUp | Kind::Claim | Kind::Close | Kind::Finish | Kind::Cooperative => self.tell_channel(op),
        }
    }

    fn next_query(&mut self) -> u64 {
        self.query += 1;
        self.query
    }

    /// Mostly the one who may; sometimes somebody else.
    fn sender(&self, right: usize, op: &Op) -> usize {
        if op.twist % 8 == 7 { pick(WALLETS, op.b) } else { right }
    }

    /// Mostly plenty; sometimes exactly what is asked for, a unit less, or next to nothing.
    fn purse(&self, say: &Say, op: &Op) -> Nano {
        let asked = self.model.prices.asks(say);
        match op.purse {
            0 => asked,
            1 => asked - 1,
            2 => asked * Nano::from(op.b % 100) / 100,
            _ => asked + AMPLE,
        }
    }

    fn send(&mut self, wallet: usize, to: Account, value: Nano, say: Say, body: ArcCell, init: Option<ArcCell>) -> Outcome<()> {
        let Wallet { wallet, seqno } = &mut self.wallets[wallet];
        self.said.insert((wallet.account().0, to, hash(&body)), say);
        let to = Address::basechain(to);
        let outgoing = Outgoing { to, value: amount(value), bounce: Bounce::Yes, body: Some(body), state_init: init };
        let signed = wallet.sign(*seqno, u32::MAX, &[outgoing]).unwrap();
        *seqno += 1;
        self.chain.send_boc(&signed.boc).map(drop).map_err(|error| format!("a wallet's message: {error}"))
    }

    fn stake(&mut self, of: usize, from: usize, stake: Nano, bond: Nano, rest: Nano) -> Outcome<()> {
        let body = ProviderMessage::Stake { amount: amount(stake), bond: amount(bond) }.to_cell(self.next_query()).unwrap();
        let (to, init) = (self.desks[of].account, self.desks[of].terms.state_init().unwrap());
        self.send(from, to, (stake + bond + rest).max(0), Say::Stake { amount: stake, bond }, body, Some(init))
    }

    /// Opens a channel, or only plans to, so that there are vouchers for channels that nobody opened.
    fn open(&mut self, op: &Op) -> Outcome<()> {
        let (requester, provider) = (pick(REQUESTERS, op.a), pick(PROVIDERS, op.b));
        let mut salt = [0; 32];
        salt[..8].copy_from_slice(&self.next_query().to_be_bytes());
        let terms = ChannelTerms {
            network: NetworkId::DEVNET,
            requester: requester_key(requester).node_id(),
            provider: self.desks[provider].operator.node_id(),
            refund_to: self.wallets[requester].wallet.account(),
            contract: ContractAddress(self.desks[provider].account),
            challenge_window_s: 3_600 + op.b % 200_000,
            salt: Digest(salt),
        };
        let account = self.know(&terms);
        self.lines.push(Line { terms, account, requester, provider, cumulative: 0, papers: Vec::new() });
        if op.twist == 1 {
            return Ok(());
        }
        let deposit = if op.twist == 2 { 0 } else { Nano::from(op.amount) };
        let mut value = self.purse(&Say::Deposit(deposit), op);
        if op.purse < 2 {
            // What stays for storage is asked for beside.
            value += crate::model::CHANNEL_RESERVE;
        }
        let body = ChannelMessage::Deposit(amount(deposit)).to_cell(self.next_query()).unwrap();
        let from = self.sender(requester, op);
        self.send(from, account, value, Say::Deposit(deposit), body, Some(terms.state_init().unwrap()))
    }

    /// Tells the model of a channel, which need not be there.
    fn know(&mut self, terms: &ChannelTerms) -> Account {
        let account = terms.channel().unwrap().address.0;
        self.model.channels.entry(account).or_insert(Channel {
            requester: terms.refund_to.0,
            provider: terms.contract.0,
            window: Nano::from(terms.challenge_window_s),
            deployed: false,
            status: Status::Open,
            deposit: 0,
            drawn: 0,
            sequence: 0,
            root: [0; 32],
        });
        account
    }

    /// One channel of all, mostly a late one.
    fn line(&self, raw: u32) -> usize {
        let of = self.lines.len();
        if raw.is_multiple_of(4) { pick(of, raw / 4) } else { of - 1 - pick(of.min(24), raw / 4) }
    }

    fn sign(&mut self, op: &Op) {
        let of = self.line(op.a);
        let line = &self.lines[of];
        let deposit = self.model.channels[&line.account].deposit;
        let cumulative = match op.twist {
            1 => line.cumulative / 2,
            2 => deposit + Nano::from(op.amount),
            3 => deposit,
            _ => line.cumulative + Nano::from(op.amount) / 8,
        };
        let fault = match op.twist {
            4 => Some(Exit::WrongNetwork),
            5 => Some(Exit::WrongChannel),
            6 => Some(Exit::BadSignature),
            _ => None,
        };
        let mut root = [0; 32];
        root[..4].copy_from_slice(&op.b.to_be_bytes());
        let paper = Paper { sequence: u64::from(op.b), cumulative, root, fault };
        let channel = Self::about(line.account, fault);
        let voucher = Voucher { channel, sequence: paper.sequence, cumulative: amount(cumulative), receipts_root: Digest(root) };
        let key = if fault == Some(Exit::BadSignature) { OperatorKey::from_seed(&[99; 32]) } else { requester_key(line.requester) };
        let signed = voucher.sign(&key);
        let line = &mut self.lines[of];
        line.cumulative = if fault.is_none() { line.cumulative.max(cumulative) } else { line.cumulative };
        line.papers.push((paper, signed));
    }

    fn about(account: Account, fault: Option<Exit>) -> ChannelRef {
        match fault {
            Some(Exit::WrongNetwork) => ChannelRef { network: NetworkId::TESTNET, address: ContractAddress(account) },
            Some(Exit::WrongChannel) => ChannelRef { network: NetworkId::DEVNET, address: ContractAddress([0xcc; 32]) },
            _ => ChannelRef { network: NetworkId::DEVNET, address: ContractAddress(account) },
        }
    }

    fn tell_channel(&mut self, op: &Op) -> Outcome<()> {
        let of = self.line(op.a);
        let (account, requester) = (self.lines[of].account, self.lines[of].requester);
        let query = self.next_query();
        let anybody = pick(WALLETS, op.b);
        let (from, say, body) = match op.kind {
            Kind::TopUp => {
                let deposit = if op.twist == 1 { 0 } else { Nano::from(op.amount) };
                (anybody, Say::Deposit(deposit), ChannelMessage::Deposit(amount(deposit)).to_cell(query).unwrap())
            }
            Kind::Claim => {
                let line = &self.lines[of];
                let Some((paper, signed)) = line.papers.iter().rev().nth(pick(3, op.b)) else { return Ok(()) };
                // Whoever claims beside a batch may call itself part of it.
                let batch = u64::from(self.model.providers[&self.desks[line.provider].account].batch);
                let query = if op.twist == 1 { batch } else { query };
                (anybody, Say::Claim { paper: *paper, query }, ChannelMessage::Claim(*signed).to_cell(query).unwrap())
            }
            Kind::Close => (self.sender(requester, op), Say::Close, ChannelMessage::CloseUnilateral.to_cell(query).unwrap()),
            Kind::Finish => (anybody, Say::Finish, ChannelMessage::FinishClose.to_cell(query).unwrap()),
            _ => {
                let (paper, message) = self.cooperative(of, op);
                (anybody, Say::Cooperative(paper), message.to_cell(0).unwrap())
            }
        };
        let value = self.purse(&say, op);
        self.send(from, account, value, say, body, None)
    }

    fn cooperative(&self, of: usize, op: &Op) -> (Paper, ChannelMessage) {
        let line = &self.lines[of];
        let channel = &self.model.channels[&line.account];
        let cumulative = match op.twist {
            1 => channel.deposit + 1,
            2 => (channel.drawn - 1).max(0),
            3 => channel.drawn,
            4 => channel.deposit,
            _ => line.cumulative.clamp(channel.drawn, channel.deposit),
        };
        let fault = match op.twist {
            5 => Some(Exit::WrongNetwork),
            6 => Some(Exit::WrongChannel),
            7 | 8 => Some(Exit::BadSignature),
            _ => None,
        };
        let statement =
            CooperativeClose { channel: Self::about(line.account, fault), sequence: u64::from(op.b), cumulative: amount(cumulative) };
        let (right, wrong) = ((requester_key(line.requester), &self.desks[line.provider].operator), OperatorKey::from_seed(&[99; 32]));
        let requester = statement.sign(if op.twist == 7 { &wrong } else { &right.0 });
        let provider = statement.sign(if op.twist == 8 { &wrong } else { right.1 });
        let paper = Paper { sequence: u64::from(op.b), cumulative, root: [0; 32], fault };
        (paper, ChannelMessage::CloseCooperative { statement, requester, provider })
    }

    fn tell_provider(&mut self, op: &Op) -> Outcome<()> {
        let of = pick(PROVIDERS, op.a);
        let (desk, grown) = (&self.desks[of], Nano::from(op.amount));
        let (account, owner) = (desk.account, REQUESTERS + of);
        let (right, say, message) = match op.kind {
            Kind::Unbond => {
                let (stake, bond) = (grown / 8, if op.twist < 3 { grown / 32 } else { 0 });
                let message = ProviderMessage::Unbond { amount: amount(stake), bond: amount(bond) };
                (owner, Say::Unbond { amount: stake, bond }, message)
            }
            Kind::Withdraw => (owner, Say::Withdraw, ProviderMessage::Withdraw),
            Kind::WithdrawOperations => {
                let part = 1 + grown / 64;
                (owner, Say::WithdrawOperations(part), ProviderMessage::WithdrawOperations(amount(part)))
            }
            Kind::Slash => {
                let (part, to) = (grown / if op.twist == 1 { 1 } else { 32 }, [u8::try_from(0x50 + op.b % 4).unwrap(); 32]);
                let message = ProviderMessage::Slash { amount: amount(part), to: ContractAddress(to) };
                (DISPUTE, Say::Slash { amount: part, to }, message)
            }
            Kind::Poke => (pick(WALLETS, op.b), Say::Poke, ProviderMessage::Poke),
            Kind::PokeOver => (pick(WALLETS, op.b), Say::PokeOver, ProviderMessage::PokeOver),
            _ => (pick(WALLETS, op.b), Say::Flush, ProviderMessage::Flush),
        };
        let (from, value) = (self.sender(right, op), self.purse(&say, op));
        let body = message.to_cell(self.next_query()).unwrap();
        self.send(from, account, value, say, body, None)
    }

    // ---- Orders from outside.

    fn order(&mut self, op: &Op) -> Outcome<()> {
        let of = pick(PROVIDERS, op.a);
        let account = self.desks[of].account;
        let known = self.under_way == 0 && !self.ordered.contains(&account);
        if !known {
            return Ok(());
        }
        let number = self.model.providers[&account].number + u32::from(op.twist == 9);
        let (say, command) = match op.kind {
            Kind::Batch => {
                let (say, claims) = self.claims(of, number, op);
                (say, Command::Batch(claims))
            }
            Kind::Allocate => {
                let part = Nano::from(op.amount) / 4;
                (Say::Allocate { number, amount: part }, Command::Allocate(amount(part)))
            }
            _ => (Say::Alive { number }, Command::Alive),
        };
        let order =
            OperatorOrder { network: NetworkId::DEVNET, contract: ContractAddress(account), number, valid_until_s: u32::MAX, command };
        let forged = op.twist == 10;
        let wrong = OperatorKey::from_seed(&[99; 32]);
        let Ok(body) = order.sign(if forged { &wrong } else { &self.desks[of].operator }) else {
            return same(
                "a batch that no order can carry",
                matches!(&say, Say::Batch { claims, .. } if (1..=BATCH_MAX).contains(&claims.len())),
                false,
            );
        };
        self.say_claims(account, &order, &say);
        self.said.insert((account, account, hash(&body)), say.clone());
        let message = external_message(&Address::basechain(account), body).unwrap();
        let before = self.balances[&account];
        let arrival = Arrival { at: account, from: account, say, value: 0, now: self.now(), before, init: false };
        match self.chain.send_boc(&message.boc) {
            Ok(_) if forged => Err("a forged order was accepted".to_owned()),
            Ok(_) => {
                self.ordered.insert(account);
                Ok(())
            }
            Err(ChainError::Rejected(Rejection::NotAccepted { exit_code })) => self.order_refused(&arrival, forged, exit_code),
            Err(error) => Err(format!("an order: {error}")),
        }
    }

    fn order_refused(&mut self, arrival: &Arrival, forged: bool, exit_code: Option<i32>) -> Outcome<()> {
        let poorer = Arrival { before: arrival.before - ORDER_SLACK, ..arrival.clone() };
        let exit = match (self.model.clone().take(arrival), forged) {
            (Err(Exit::WrongNumber), _) => Exit::WrongNumber,
            (_, true) => Exit::BadSignature,
            (Err(exit), _) => exit,
            // What the chain takes for bringing the order in, and rent, come first; the model is not told of either.
            (Ok(_), _) => match self.model.clone().take(&poorer) {
                Err(exit) => exit,
                Ok(_) => return Err(format!("an order was refused with {exit_code:?}: {:?}", arrival.say)),
            },
        };
        self.count(format!("order refused: {exit:?}"));
        same("exit of an order", exit_code, Some(exit.code()))
    }

    /// Vouchers of a provider's channels, whatever their state is; sometimes with one of another provider's channels.
    fn claims(&mut self, of: usize, number: u32, op: &Op) -> (Say, Vec<BatchedClaim>) {
        let wanted = match op.twist {
            0 => pick(BATCH_MAX + 2, op.b),
            1 => BATCH_MAX,
            _ => 1 + pick(24, op.b),
        };
        let mine: Vec<_> = self.lines.iter().filter(|line| line.provider == of || op.twist == 2).collect();
        let all: Vec<_> = mine.iter().rev().flat_map(|line| line.papers.iter().rev().take(2).map(|paper| (line.terms, *paper))).collect();
        let here = ContractAddress(self.desks[of].account);
        let mut said = Vec::new();
        let mut claims = Vec::new();
        for (terms, (mut paper, signed)) in all.into_iter().cycle().take(wanted) {
            // The contract computes the account from its own: another provider's channel becomes one that nobody opened.
            let there = ChannelTerms { contract: here, ..terms };
            if terms.contract != here && paper.fault.is_none() {
                paper.fault = Some(Exit::WrongChannel);
            }
            said.push((self.know(&there), paper));
            claims.push(BatchedClaim::new(signed, &terms).unwrap());
        }
        (Say::Batch { number, claims: said }, claims)
    }

    fn say_claims(&mut self, account: Account, order: &OperatorOrder, say: &Say) {
        let (Command::Batch(claims), Say::Batch { number, claims: said }) = (&order.command, say) else { return };
        for (claim, (to, paper)) in claims.iter().zip(said) {
            let query = u64::from(*number);
            let body = ChannelMessage::Claim(claim.signed).to_cell(query).unwrap();
            self.said.insert((account, *to, hash(&body)), Say::Claim { paper: *paper, query });
        }
    }

    // ---- What the chain did.

    /// Makes a block, tells the model of it and compares both.
    fn end_block(&mut self) -> Outcome<()> {
        let head = self.chain.make_block().map_err(|error| error.to_string())?;
        self.clock.fetch_add(2_000, Ordering::SeqCst);
        (self.in_block, self.blocks) = (0, self.blocks + 1);
        self.ordered.clear();
        let transactions = self.chain.block_transactions(head.seqno).map_err(|error| error.to_string())?;
        let mut touched = BTreeSet::new();
        for transaction in &transactions {
            touched.insert(transaction.account.hash);
            self.observe(transaction).map_err(|error| format!("{error}\nin {}", Self::show(transaction)))?;
        }
        touched.iter().try_for_each(|account| self.compare(account))?;
        if self.blocks.is_multiple_of(BLOCKS_PER_FULL_CHECK) { self.compare_all() } else { Ok(()) }
    }

    fn show(transaction: &Transaction) -> String {
        let out: Vec<_> = transaction.out_messages.iter().map(|message| (message.destination, message.value, message.bounced)).collect();
        let Transaction { account, exit_code, action_code, gas_used, total_fees, storage_fee, in_message, .. } = transaction;
        let from = in_message.as_ref().map(|message| (message.source, message.value, message.bounced));
        format!(
            "{account:?}: in {from:?}, exit {exit_code:?}/{action_code:?}, gas {gas_used}, fees {total_fees}, rent {storage_fee}, out {out:?}"
        )
    }

    fn observe(&mut self, transaction: &Transaction) -> Outcome<()> {
        let account = transaction.account.hash;
        let message = transaction.in_message.as_ref().ok_or("a transaction without a message")?;
        let before = self.balances.get(&account).copied().unwrap_or(0);
        let after = self.account_for(transaction, message, before);
        let is_ours = self.model.channels.contains_key(&account) || self.model.providers.contains_key(&account);
        if !is_ours && account != self.model.rules.vault {
            if let Some(say) = Self::notice(message).filter(|_| !message.bounced) {
                *self.arrived.entry((account, say)).or_default() += nano(message.value);
            }
            return Ok(());
        }
        let arrival = self.arrival(message, account, transaction, before)?;
        let verdict = self.model.take(&arrival);
        self.count(format!("{}: {:?}", Self::name(&arrival.say), verdict.as_ref().err()));
        let judged = match &verdict {
            Ok(done) => self.done(transaction, done, after),
            Err(exit) => self.refused(transaction, *exit, &arrival, after),
        };
        judged.map_err(|error| format!("{error}\nafter {arrival:?}, for which the model says {verdict:?}"))
    }

    /// Money neither appears nor disappears: an account has what it had and what came, less fees and what it sent.
    fn account_for(&mut self, transaction: &Transaction, message: &Message, before: Nano) -> Nano {
        let came = if message.kind == MessageKind::Internal { nano(message.value) + nano(message.forward_fee) } else { 0 };
        let sent: Nano = transaction.out_messages.iter().map(|message| nano(message.value) + nano(message.forward_fee)).sum();
        let fees = nano(transaction.total_fees);
        let value = if message.kind == MessageKind::Internal { nano(message.value) } else { 0 };
        let after = before + value - fees - sent;
        self.fees += fees + came - value;
        self.under_way += sent - came;
        self.balances.insert(transaction.account.hash, after);
        after
    }

    fn arrival(&self, message: &Message, at: Account, transaction: &Transaction, before: Nano) -> Outcome<Arrival> {
        let from = message.source.map_or(at, |source| source.hash);
        Ok(Arrival {
            at,
            from,
            say: self.meaning(message, from, at)?,
            value: nano(message.value),
            now: Nano::from(transaction.unix_s),
            before: before - nano(transaction.storage_fee),
            init: message.has_init && transaction.exit_code.is_some(),
        })
    }

    fn meaning(&self, message: &Message, from: Account, at: Account) -> Outcome<Say> {
        if message.bounced {
            let mut body = message.body.parser();
            let read = body.load_u32(32).and_then(|_| body.load_u32(32)).and_then(|opcode| Ok((opcode, body.load_u64(64)?)));
            let (opcode, query) = read.map_err(|_| "a bounced message without a head")?;
            return same("opcode of what bounced", opcode, 0x4343_0002).map(|()| Say::Returned { query });
        }
        if let Some(say) = self.said.get(&(from, at, hash(&message.body))) {
            return Ok(say.clone());
        }
        match Notice::from_cell(&message.body) {
            Ok((query, Notice::Paid { from, to, receipts_root })) => {
                Ok(Say::Paid { from: nano(from), to: nano(to), root: receipts_root.0, query })
            }
            Ok((_, Notice::Fee { amount, .. })) => Ok(Say::Fee(nano(amount))),
            Ok((_, Notice::FeeBooked { booked, .. })) => Ok(Say::Booked(nano(booked))),
            Ok((_, Notice::Excesses)) => Ok(Say::Gift),
            Ok(_) | Err(_) => Err("a message that nobody sent".to_owned()),
        }
    }

    /// What a message to somebody who is no contract of ours brings, if it is more than change.
    fn notice(message: &Message) -> Option<String> {
        match Notice::from_cell(&message.body) {
            Ok((_, Notice::Excesses | Notice::FeeBooked { .. })) | Err(_) => None,
            Ok((_, notice)) => Some(format!("{notice:?}")),
        }
    }

    fn name(say: &Say) -> String {
        format!("{say:?}").chars().take_while(char::is_ascii_alphabetic).collect()
    }

    fn done(&mut self, transaction: &Transaction, done: &Done, after: Nano) -> Outcome<()> {
        let code = (transaction.success, transaction.exit_code, transaction.action_code);
        same("how it ended", code, (true, Some(0), Some(0)))?;
        let is_change =
            |message: &&Message| !matches!(Notice::from_cell(&message.body), Ok((_, Notice::Excesses | Notice::FeeBooked { .. })));
        let sent: Vec<_> = transaction.out_messages.iter().filter(is_change).collect();
        same("messages sent", sent.len(), done.sent.len())?;
        for (message, expected) in sent.iter().zip(&done.sent) {
            self.sent(message, expected, transaction.account.hash)?;
        }
        if holds(done.after, after) { Ok(()) } else { Err(format!("it has {after}, {:?} expected", done.after)) }
    }

    fn sent(&mut self, message: &Message, expected: &Sent, from: Account) -> Outcome<()> {
        same("receiver", message.destination, Some(Address::basechain(expected.to)))?;
        let said = self.said.get(&(from, expected.to, hash(&message.body))).cloned();
        let is_same = match (Notice::from_cell(&message.body), &expected.say) {
            (Ok((query, Notice::Paid { from, to, receipts_root })), say) => {
                let paid = Say::Paid { from: nano(from), to: nano(to), root: receipts_root.0, query };
                paid == *say
            }
            (Ok((_, Notice::Fee { amount, credit })), Say::Fee(expected)) => nano(amount) == *expected && credit.is_zero(),
            (Ok((_, notice)), say) => format!("{notice:?}") == format!("{say:?}"),
            (Err(_), say) => said.as_ref() == Some(say),
        };
        same("what it says is as expected", is_same, true)?;
        let value = nano(message.value);
        if !holds(expected.value, value) {
            return Err(format!("a message brings {value}, {expected:?} expected"));
        }
        if let (Some(kind), Sum::Exactly(exact)) = (Self::notice(message), expected.value) {
            *self.left.entry((expected.to, kind)).or_default() += exact;
        }
        Ok(())
    }

    fn refused(&self, transaction: &Transaction, exit: Exit, arrival: &Arrival, after: Nano) -> Outcome<()> {
        same("whether it was taken", transaction.success, false)?;
        // With too little value the gas may run out before anything is said, and where no code is nothing is said.
        let is_told = exit != Exit::TooLittleValue && exit != Exit::UnknownMessage;
        let is_same = transaction.exit_code == Some(exit.code());
        same("exit code is as expected", is_same || !is_told, true)?;
        let back = transaction.out_messages.iter().filter(|message| message.bounced).count();
        same("messages sent", transaction.out_messages.len(), back)?;
        let expected = if back == 1 { Sum::Exactly(arrival.before) } else { Sum::AtLeast(arrival.before) };
        if holds(expected, after) { Ok(()) } else { Err(format!("a refusal left {after}, {expected:?} expected")) }
    }

    // ---- Comparing.

    fn compare_all(&self) -> Outcome<()> {
        self.balances.keys().try_for_each(|account| self.compare(account))?;
        let supply = self.chain.supply().map_err(|error| error.to_string())?;
        same("supply is balanced", supply.is_balanced(), true)?;
        let all: Nano = self.balances.values().sum();
        let money = [supply.accounts, supply.under_way, supply.fees, supply.burned].map(nano);
        same("accounts, under way, fees and burned", money, [all, self.under_way, self.fees, 0])?;
        if self.under_way > 0 {
            return Ok(());
        }
        let ours = |of: &Account| self.model.providers.contains_key(of) || *of == self.model.rules.vault;
        let left: BTreeMap<_, _> = self.left.iter().filter(|((to, _), _)| !ours(to)).collect();
        same("what left the contracts", self.arrived.iter().collect(), left)
    }

    fn compare(&self, account: &Account) -> Outcome<()> {
        let state = self.chain.account(&Address::basechain(*account)).map_err(|error| error.to_string())?;
        let balance = self.balances[account];
        same("balance", nano(state.balance), balance)?;
        let Some(data) = state.data else {
            let deployed = self.model.channels.get(account).is_some_and(|channel| channel.deployed);
            return same("contract is there", false, deployed);
        };
        let owed = if let Some(channel) = self.model.channels.get(account) {
            let data = ChannelData::from_cell(&data).map_err(|error| error.to_string())?;
            Self::compare_channel(&data, channel)?;
            channel.owed()
        } else if let Some(provider) = self.model.providers.get(account) {
            let data = ProviderData::from_cell(&data).map_err(|error| error.to_string())?;
            Self::compare_provider(&data, provider)?;
            provider.held()
        } else if *account == self.model.rules.vault {
            let data = VaultData::from_cell(&data).map_err(|error| error.to_string())?;
            let Vault { burn, auditors, treasury, fees_cum } = self.model.vault;
            same("vault", [data.burn, data.auditors, data.treasury, data.fees_cum].map(nano), [burn, auditors, treasury, fees_cum])?;
            same("fees of the vault's epoch", nano(data.epoch.fees), fees_cum)?;
            self.model.vault.shares()
        } else {
            0
        };
        same("an account holds what it owes, but for storage", balance + DEBT_MAX >= owed, true)
    }

    fn compare_channel(data: &ChannelData, model: &Channel) -> Outcome<()> {
        let status = match data.status {
            ChannelStatus::Open => Status::Open,
            ChannelStatus::Closing { deadline_s } => Status::Closing(Nano::from(deadline_s)),
            ChannelStatus::Closed => Status::Closed,
        };
        same("status", status, model.status)?;
        same("deposit and drawn", (nano(data.deposit), nano(data.drawn)), (model.deposit, model.drawn))?;
        same("sequence and root", (data.sequence, data.receipts_root.0), (model.sequence, model.root))
    }

    fn compare_provider(data: &ProviderData, model: &Provider) -> Outcome<()> {
        same("batch", (data.number, data.batch, data.outstanding), (model.number, model.batch, model.outstanding))?;
        let earned = [data.earnings, data.fees, data.fees_cum].map(nano);
        same("earnings and fees", earned, [model.earnings, model.fees, model.fees_cum])?;
        same("claims", data.claims, model.claims)?;
        same("fees booked", data.rewards.epochs.get(&0).map_or(0, |fees| nano(fees.booked)), model.booked)?;
        let closed = (Nano::from(data.closed.ended_s), nano(data.closed.paid), nano(data.closed.backed));
        let epoch = (Nano::from(data.epoch.ends_s), nano(data.epoch.paid), closed);
        same("epochs", epoch, (model.epoch_ends, model.epoch_paid, model.closed))?;
        let stake = [data.stake.total, data.stake.allocated, data.stake.unbonding, data.stake.bond].map(nano);
        same("collateral", stake, [model.total, model.allocated, model.unbonding, model.bond])?;
        same("release", Nano::from(data.stake.unbond_at_s), model.unbond_at)?;
        same("poke", (data.poke.map(|by| by.0), Nano::from(data.answer_by_s)), (model.poke, model.answer_by))
    }
}
