//! A network that was founded as networks are, on a chain of its own; people with wallets; and after every block the books of TON and
//! COCOON and the economy's machines held against what the contracts store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cocoon_market::ids::Digest;
use cocoon_market::{Amount, ContractAddress, NetworkId, OperatorKey, Timestamp, Voucher};
use cocoon_settlement::attest::Element;
use cocoon_settlement::attest::evidence::Statement;
use cocoon_settlement::attest::groth16::{Circuit, Size};
use cocoon_settlement::attest::keyset::KeySet;
use cocoon_settlement::attest::pinned::development_key;
use cocoon_settlement::attest::schnorr::SecretKey;
use cocoon_settlement::chain::embedded::{Blocks, Embedded, Options};
use cocoon_settlement::chain::{Address, Bounce, Chain as _, Faucet as _, Transaction};
use cocoon_settlement::contract::order::BatchedClaim;
use cocoon_settlement::contract::{
    Attested, AuditorSet, ChannelMessage, ChannelTerms, Command, Genesis, GovernorMessage, GovernorTerms, JettonMessage, MinterTerms,
    NetworkTerms, OperatorOrder, ProofBytes, ProviderData, ProviderMessage, ProviderTerms, RegistryMessage, RegistryTerms, RewardsData,
    RewardsIntroduction, RewardsTerms, VaultData, VaultMessage, VaultPayload, VaultTerms,
};
use cocoon_settlement::wallet::{Outgoing, OwnerWallet, external_message};
use tonlib_core::cell::{ArcCell, EMPTY_ARC_CELL};

use crate::books::{Account, Books, Cocoons, Nano, Outcome, Tons, nano, same};
use crate::machines::Machines;
use crate::trapdoor::Trapdoor;

pub(crate) const TON: u128 = 1_000_000_000;
pub(crate) const COCOON: u128 = 1_000_000_000;
pub(crate) const DAY_S: u32 = 86_400;
const START_MS: u64 = 1_790_000_000_000;
/// Messages from outside that are sent into one block: few enough that it never has too much gas.
const BLOCK_MAX: u32 = 200;
/// The faucet gives no more at a time.
const FUND_MAX: u128 = 1_000_000 * TON;

pub(crate) const REAL: u8 = Circuit::Attestation(Size::Four).number();
pub(crate) const SIMULATED: u8 = Circuit::Attestation(Size::SixtyFour).number();

/// Values that messages are sent with: more than they ask for, and what they do not need comes back.
const FEES: u128 = TON / 10;
const TOLD: u128 = TON / 10;

pub(crate) fn tons(ton: u128) -> Amount {
    Amount::from_nano(ton * TON)
}

struct Person {
    wallet: OwnerWallet,
    seqno: u32,
}

/// Somebody with a wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who(pub(crate) usize);

pub(crate) const FOUNDER: Who = Who(0);
pub(crate) const STAKERS: Who = Who(1);
pub(crate) const OPENING: Who = Who(2);
pub(crate) const ANYONE: Who = Who(3);
const FIRST_FREE: usize = 4;

/// A provider's contract, and who stands behind it.
pub(crate) struct Desk {
    account: ContractAddress,
    owner: Who,
    operator: OperatorKey,
    number: u32,
}

/// A channel.
pub(crate) struct Line {
    terms: ChannelTerms,
    account: ContractAddress,
    requester: Who,
    pub(crate) provider: usize,
    key: OperatorKey,
    pub(crate) deposit: u128,
    pub(crate) drawn: u128,
    sequence: u64,
}

/// What a network is founded with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Founding {
    pub(crate) half_life: u32,
    pub(crate) epoch_s: u32,
}

impl Founding {
    /// As networks are: epochs of a day, half of the reserve in two years at the earliest.
    pub(crate) const NETWORK: Self = Self { half_life: 730, epoch_s: DAY_S };
    /// The same calendar in epochs of a month.
    pub(crate) const MONTHS: Self = Self { half_life: 24, epoch_s: 30 * DAY_S };
}

pub(crate) struct Stage {
    chain: Embedded,
    clock: Arc<AtomicU64>,
    people: Vec<Person>,
    desks: Vec<Desk>,
    pub(crate) lines: Vec<Line>,
    pub(crate) books: Books,
    pub(crate) machines: Machines,
    pub(crate) auditors: KeySet,
    commitment: Element,
    trapdoor: Trapdoor,
    pub(crate) network: NetworkTerms,
    query: u64,
    /// Messages from outside in the block in the making.
    begun: u32,
    pub(crate) blocks: u32,
    pub(crate) transactions: usize,
}

/// The auditors' second keys.
pub(crate) fn auditor(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn seed(number: usize, kind: u8) -> [u8; 32] {
    let mut seed = [kind; 32];
    seed[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
    seed
}

impl Stage {
    /// Founds a network.
    pub(crate) fn found(founding: Founding) -> Self {
        let clock = Arc::new(AtomicU64::new(START_MS));
        let reading = Arc::clone(&clock);
        let options = Options { blocks: Blocks::Manual, clock: Arc::new(move || Timestamp(reading.load(Ordering::SeqCst))) };
        let chain = Embedded::in_memory(options).unwrap();
        let people: Vec<_> = (0..FIRST_FREE).map(|of| Person { wallet: OwnerWallet::from_seed(&seed(of, 1)).unwrap(), seqno: 0 }).collect();
        let founder = people[FOUNDER.0].wallet.account();
        let network = NetworkId::DEVNET;
        let trapdoor = Trapdoor::new();
        let auditors = KeySet::new(&[1, 2, 3].map(|n| Some(auditor(n).public()))).unwrap();
        let commitment = Digest(auditors.commitment().to_be_bytes());
        let real = development_key(Circuit::Attestation(Size::Four)).unwrap().to_cell().unwrap();
        let keys: BTreeMap<_, _> = [(REAL, real), (SIMULATED, trapdoor.key())].into();

        let minter_terms = MinterTerms { network, founder };
        let minter = minter_terms.address().unwrap();
        let rewards_terms = RewardsTerms { network, founder, half_life: founding.half_life, commitment, keys: keys.clone() };
        let rewards = rewards_terms.address().unwrap();
        let start_s = u32::try_from(START_MS / 1_000).unwrap();
        let guardian = people[ANYONE.0].wallet.account();
        let governor_terms = GovernorTerms { network, founder, minter, guardian, start_s };
        let governor = governor_terms.address().unwrap();
        let listed = AuditorSet { list: Digest([0; 32]), commitment };
        let registry_terms = RegistryTerms { network, governor, founder, auditors: listed, keys };
        let registry = registry_terms.address().unwrap();
        let vault_terms = VaultTerms { network, treasury: governor, registry, minter, rewards, epoch_s: founding.epoch_s };
        let vault = vault_terms.address().unwrap();
        let dispute = people[ANYONE.0].wallet.account();
        let providers = NetworkTerms {
            network,
            vault,
            dispute,
            rewards,
            fee_bps: 500,
            unbond_s: 4 * DAY_S,
            epoch_s: founding.epoch_s,
            answer_s: 3_600,
        };

        let fresh = VaultData::new(vault_terms).unwrap();
        let machines = Machines::new((vault, &fresh), rewards, founding.half_life);
        let books = Books { tons: Tons::new(&chain), cocoons: Cocoons::new(minter) };
        let mut stage = Self {
            chain,
            clock,
            people,
            desks: Vec::new(),
            lines: Vec::new(),
            books,
            machines,
            commitment: auditors.commitment(),
            auditors,
            trapdoor,
            network: providers,
            query: 0,
            begun: 0,
            blocks: 0,
            transactions: 0,
        };
        for of in 0..FIRST_FREE {
            stage.fund(Who(of), tons(1_000));
        }
        stage.settle();
        let states = [
            (minter, minter_terms.state_init()),
            (rewards, rewards_terms.state_init()),
            (governor, governor_terms.state_init()),
            (registry, registry_terms.state_init()),
            (vault, vault_terms.state_init()),
        ];
        for (account, init) in states {
            stage.send(FOUNDER, account, TON, EMPTY_ARC_CELL.clone(), Some(init.unwrap()));
        }
        stage.settle();
        let [stakers, opening] = [STAKERS, OPENING].map(|who| stage.account(who));
        let genesis = Genesis { reserve: rewards, treasury: governor, stakers, opening };
        let introduction = RewardsIntroduction { providers, registry, governor, minter };
        let first = [
            (minter, genesis.to_cell(1).unwrap()),
            (rewards, introduction.to_cell(2).unwrap()),
            (governor, GovernorMessage::Introduce { registry, rewards }.to_cell(3).unwrap()),
            (registry, RegistryMessage::Introduce { vault, rewards }.to_cell(4).unwrap()),
        ];
        for (account, body) in first {
            stage.send(FOUNDER, account, TON, body, None);
        }
        stage.settle();
        stage
    }

    // ---- Time, people and blocks.

    pub(crate) fn now_s(&self) -> u32 {
        u32::try_from(self.clock.load(Ordering::SeqCst) / 1_000).unwrap()
    }

    /// Lets time pass until so many seconds after the epoch was opened.
    pub(crate) fn at(&mut self, passed_s: u32) {
        // A block has the time at which it was begun.
        if self.begun > 0 {
            self.settle();
        }
        let until = u64::from(self.machines.vault.opened_s + passed_s) * 1_000;
        self.clock.fetch_max(until, Ordering::SeqCst);
    }

    /// The same, but for what happens at one moment: that is in one block.
    pub(crate) fn at_moment(&mut self, passed_s: u32) {
        if self.now_s() < self.machines.vault.opened_s + passed_s {
            self.at(passed_s);
        }
    }

    pub(crate) fn person(&mut self, ton: u128) -> Who {
        let who = Who(self.people.len());
        self.people.push(Person { wallet: OwnerWallet::from_seed(&seed(who.0, 1)).unwrap(), seqno: 0 });
        self.fund(who, tons(ton));
        who
    }

    pub(crate) fn account(&self, who: Who) -> ContractAddress {
        self.people[who.0].wallet.account()
    }

    pub(crate) fn fund(&mut self, who: Who, amount: Amount) {
        let mut left = amount.nano();
        while left > 0 {
            let part = left.min(FUND_MAX);
            self.make_room();
            self.chain.fund(&self.people[who.0].wallet.address(), Amount::from_nano(part)).unwrap();
            left -= part;
        }
    }

    /// Makes blocks until nothing is under way, and looks at all of them.
    pub(crate) fn settle(&mut self) {
        loop {
            if let Err(error) = self.end_block() {
                panic!("block {}, epoch {}: {error}", self.blocks, self.machines.vault.number);
            }
            if self.books.tons.is_settled() {
                return;
            }
        }
    }

    fn end_block(&mut self) -> Outcome<()> {
        let head = self.chain.make_block().map_err(|error| error.to_string())?;
        (self.begun, self.blocks) = (0, self.blocks + 1);
        let transactions = self.chain.block_transactions(head.seqno).map_err(|error| error.to_string())?;
        self.transactions += transactions.len();
        let mut touched = BTreeSet::new();
        for transaction in &transactions {
            touched.insert(transaction.account.hash);
            self.books.enter(transaction);
            self.machines.observe(transaction).and_then(|()| self.fails_nowhere(transaction)).map_err(|error| {
                let from = transaction.in_message.as_ref().map(|message| (message.source, message.value, message.body.clone()));
                format!("{error}\nat {:?}, exit {:?}, after {from:?}", transaction.account, transaction.exit_code)
            })?;
        }
        self.books.check(&self.chain, &touched)
    }

    /// A message is refused where the machines say why, and nowhere else.
    fn fails_nowhere(&self, transaction: &Transaction) -> Outcome<()> {
        let is_fine = transaction.success || transaction.exit_code.is_none() || self.machines.judges(&transaction.account.hash);
        if is_fine { Ok(()) } else { Err("a message was refused".to_owned()) }
    }

    fn data(&self, account: ContractAddress) -> ArcCell {
        self.chain.account(&Address::from(account)).unwrap().data.unwrap()
    }

    /// Holds what the contracts store against the machines.
    pub(crate) fn compare(&self) -> Outcome<()> {
        let vault = VaultData::from_cell(&self.data(self.network.vault)).unwrap();
        let rewards = RewardsData::from_cell(&self.data(self.network.rewards)).unwrap();
        self.machines.compare(&vault, &rewards)?;
        for desk in &self.desks {
            let data = ProviderData::from_cell(&self.data(desk.account)).unwrap();
            self.machines.compare_provider(&desk.account.0, &data)?;
        }
        let [burned, destroyed] = [self.books.cocoons.burned, nano(self.machines.destroyed)];
        same("COCOON that was ever destroyed", burned, destroyed)
    }

    // ---- Messages.

    fn next_query(&mut self) -> u64 {
        self.query += 1;
        1_000 + self.query
    }

    fn send(&mut self, who: Who, to: ContractAddress, value: u128, body: ArcCell, init: Option<ArcCell>) {
        let Person { wallet, seqno } = &mut self.people[who.0];
        let outgoing = Outgoing { to: to.into(), value: Amount::from_nano(value), bounce: Bounce::Yes, body: Some(body), state_init: init };
        let signed = wallet.sign(*seqno, u32::MAX, &[outgoing]).unwrap();
        *seqno += 1;
        self.deliver(&signed.boc);
    }

    /// For one more message from outside.
    fn make_room(&mut self) {
        if self.begun == BLOCK_MAX {
            self.settle();
        }
        self.begun += 1;
    }

    fn deliver(&mut self, boc: &[u8]) {
        self.make_room();
        self.chain.send_boc(boc).unwrap();
    }

    pub(crate) fn close_epoch(&mut self, by: Who) {
        let body = VaultMessage::CloseEpoch.to_cell(self.next_query()).unwrap();
        self.send(by, self.network.vault, TON, body, None);
    }

    pub(crate) fn pay_treasury(&mut self, by: Who) {
        let body = VaultMessage::PayTreasury.to_cell(self.next_query()).unwrap();
        self.send(by, self.network.vault, TON, body, None);
    }

    /// Ends the epoch when its time is over.
    pub(crate) fn next_epoch(&mut self, by: Who) {
        let epoch_s = self.network.epoch_s;
        self.at(epoch_s);
        self.close_epoch(by);
        self.settle();
        if let Err(error) = self.compare() {
            panic!("at the end of epoch {}: {error}", self.machines.vault.number);
        }
    }

    fn transfer(&mut self, from: Who, to: ContractAddress, amount: u128, payload: Option<ArcCell>) {
        let owner = self.account(from);
        let forward = Amount::from_nano(if payload.is_some() { TOLD } else { 0 });
        let message = JettonMessage::Transfer { amount: Amount::from_nano(amount), to, forward, payload };
        let body = message.to_cell(owner, self.next_query()).unwrap();
        let wallet = self.books.cocoons.wallet(owner);
        self.send(from, wallet, 2 * TOLD + FEES, body, None);
    }

    pub(crate) fn give(&mut self, from: Who, to: Who, amount: u128) {
        self.transfer(from, self.account(to), amount, None);
    }

    pub(crate) fn bid(&mut self, who: Who, amount: u128, least: u64) {
        let payload = VaultPayload::Bid { least }.to_cell().unwrap();
        self.transfer(who, self.network.vault, amount, Some(payload));
    }

    /// COCOON for the vault that says nothing.
    pub(crate) fn mistake(&mut self, who: Who, amount: u128) {
        self.transfer(who, self.network.vault, amount, Some(EMPTY_ARC_CELL.clone()));
    }

    pub(crate) fn provider(&mut self, owner: Who) -> usize {
        let at = self.desks.len();
        let operator = OperatorKey::from_seed(&seed(at, 2));
        let terms = ProviderTerms { owner: self.account(owner), operator: operator.node_id(), class: 1, network: self.network };
        let account = terms.address().unwrap();
        let body = ProviderMessage::Stake { amount: tons(1), bond: tons(1) }.to_cell(self.next_query()).unwrap();
        self.send(owner, account, 60 * TON, body, Some(terms.state_init().unwrap()));
        self.machines.providers.insert(account.0, crate::machines::Provider::default());
        self.desks.push(Desk { account, owner, operator, number: 0 });
        at
    }

    pub(crate) fn channel(&mut self, requester: Who, provider: usize, deposit: u128) -> usize {
        let at = self.lines.len();
        let key = OperatorKey::from_seed(&seed(at, 3));
        let desk = &self.desks[provider];
        let terms = ChannelTerms {
            network: NetworkId::DEVNET,
            requester: key.node_id(),
            provider: desk.operator.node_id(),
            refund_to: self.account(requester),
            contract: desk.account,
            challenge_window_s: DAY_S,
            salt: Digest(seed(at, 4)),
        };
        let account = terms.channel().unwrap().address;
        self.lines.push(Line { terms, account, requester, provider, key, deposit: 0, drawn: 0, sequence: 0 });
        self.deposit(at, deposit);
        at
    }

    pub(crate) fn deposit(&mut self, line: usize, amount: u128) {
        let Line { account, requester, terms, .. } = &self.lines[line];
        let (account, requester, init) = (*account, *requester, terms.state_init().unwrap());
        let body = ChannelMessage::Deposit(Amount::from_nano(amount)).to_cell(self.next_query()).unwrap();
        self.send(requester, account, amount + FEES, body, Some(init));
        self.lines[line].deposit += amount;
    }

    /// Work that was done: the requester signs for it.
    fn voucher(&mut self, line: usize, amount: u128) -> cocoon_market::SignedVoucher {
        let line = &mut self.lines[line];
        line.drawn += amount;
        line.sequence += 1;
        assert!(line.drawn <= line.deposit, "channels are topped up before work begins");
        let channel = line.terms.channel().unwrap();
        let receipts_root = Digest(seed(usize::try_from(line.sequence).unwrap(), 5));
        Voucher { channel, sequence: line.sequence, cumulative: Amount::from_nano(line.drawn), receipts_root }.sign(&line.key)
    }

    /// A provider draws for work in some of its channels.
    pub(crate) fn batch(&mut self, provider: usize, work: &[(usize, u128)]) {
        let mut claims = Vec::new();
        for (line, amount) in work {
            assert_eq!(self.lines[*line].provider, provider);
            let signed = self.voucher(*line, *amount);
            claims.push(BatchedClaim::new(signed, &self.lines[*line].terms).unwrap());
        }
        let desk = &mut self.desks[provider];
        let order = OperatorOrder {
            network: NetworkId::DEVNET,
            contract: desk.account,
            number: desk.number,
            valid_until_s: u32::MAX,
            command: Command::Batch(claims),
        };
        desk.number += 1;
        let body = order.sign(&desk.operator).unwrap();
        let message = external_message(&desk.account.into(), body).unwrap();
        self.deliver(&message.boc);
    }

    /// Somebody draws beside all batches.
    pub(crate) fn claim(&mut self, by: Who, line: usize, amount: u128) {
        let signed = self.voucher(line, amount);
        let account = self.lines[line].account;
        let body = ChannelMessage::Claim(signed).to_cell(self.next_query()).unwrap();
        self.send(by, account, FEES, body, None);
    }

    /// What an attestation of so many fees says in public: the next claims of a provider.
    pub(crate) fn statement(&self, provider: usize, epoch: u32, claims: u64, fees: u64) -> Statement {
        let desk = &self.desks[provider];
        let first = self.machines.providers[&desk.account.0].last + 1;
        Statement {
            network: NetworkId::DEVNET,
            provider: desk.account,
            epoch,
            auditors: self.commitment,
            first,
            last: first + claims - 1,
            total_nanoton: fees,
        }
    }

    pub(crate) fn prove(&self, statement: &Statement) -> ProofBytes {
        self.trapdoor.prove(statement)
    }

    pub(crate) fn attest(&mut self, by: Who, provider: usize, statement: &Statement, circuit: u8, proof: ProofBytes) {
        let attested =
            Attested { epoch: statement.epoch, circuit, lo: statement.first, hi: statement.last, fees: statement.total_nanoton, proof };
        let body = ProviderMessage::Attest(attested).to_cell(self.next_query()).unwrap();
        self.send(by, self.desks[provider].account, FEES, body, None);
    }

    /// A simulated attestation of fees.
    pub(crate) fn attest_simulated(&mut self, by: Who, provider: usize, epoch: u32, fees: u128) {
        let statement = self.statement(provider, epoch, 1, u64::try_from(fees).unwrap());
        let proof = self.prove(&statement);
        self.attest(by, provider, &statement, SIMULATED, proof);
    }

    pub(crate) fn collect(&mut self, by: Who, provider: usize, epoch: u32) {
        let body = ProviderMessage::CollectReward(epoch).to_cell(self.next_query()).unwrap();
        self.send(by, self.desks[provider].account, FEES, body, None);
    }

    pub(crate) fn take(&mut self, provider: usize) {
        let body = ProviderMessage::TakeReward.to_cell(self.next_query()).unwrap();
        let Desk { owner, account, .. } = self.desks[provider];
        self.send(owner, account, 2 * FEES, body, None);
    }

    // ---- Who has what.

    /// What the vault booked for a provider in an epoch and is not claimed for.
    pub(crate) fn unclaimed(&self, provider: usize, epoch: u32) -> u128 {
        let fees = self.machines.providers[&self.desks[provider].account.0].epochs.get(&epoch).copied().unwrap_or_default();
        fees.booked.nano() - fees.claimed.nano()
    }

    pub(crate) fn cocoon(&self, who: Who) -> u128 {
        u128::try_from(self.books.cocoons.of(self.account(who))).unwrap()
    }

    /// All TON on the accounts of a coalition: people, their COCOON wallets, providers, channels.
    pub(crate) fn tons_of(&self, people: &[Who], providers: &[usize]) -> Nano {
        let wallets = people.iter().flat_map(|who| [self.account(*who), self.books.cocoons.wallet(self.account(*who))]);
        let desks = providers.iter().map(|provider| self.desks[*provider].account);
        let lines = self.lines.iter().filter(|line| providers.contains(&line.provider)).map(|line| line.account);
        wallets.chain(desks).chain(lines).map(|account| self.books.tons.of(account.0)).sum()
    }

    /// All its COCOON, that which still vests included.
    pub(crate) fn cocoons_of(&self, people: &[Who], providers: &[usize]) -> Nano {
        let now_s = self.now_s();
        let held: Nano = people.iter().map(|who| self.books.cocoons.of(self.account(*who))).sum();
        let earned = |provider: &usize| nano(self.machines.providers[&self.desks[*provider].account.0].earned(now_s));
        held + providers.iter().map(earned).sum::<Nano>()
    }

    pub(crate) fn account_of(&self, provider: usize) -> Account {
        self.desks[provider].account.0
    }
}
