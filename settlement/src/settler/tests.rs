use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cocoon_market::agreement::ChannelProblem;
use cocoon_market::ids::{ContractAddress, Digest};
use cocoon_market::{Agreement, Amount, ChannelRef, JobId, NetworkId, SettlementTerms, Timestamp, Usage};
use tonlib_core::cell::{ArcCell, CellBuilder};

use super::carry::outgoing;
use super::*;
use crate::chain::embedded::{Blocks, Embedded, Rehearsal, rehearse};
use crate::chain::testing::{ManualClock, START_MS, chain, ton};
use crate::chain::{
    AccountState, AccountStatus, Address, Bounce, Chain, ChainError, Confirmations, Faucet, Hash, Head, MethodResult, Page, Rejection,
    StackItem, Transaction,
};
use crate::contract::channel::STORAGE_RESERVE;
use crate::contract::testing::{provider_key, requester_key};
use crate::contract::{
    ChannelData, ChannelMessage, ChannelStatus, ChannelTerms, Command, Exit, NetworkTerms, ProviderTerms, VaultData, VaultTerms,
};
use crate::ledger::testing::Deal;
use crate::ledger::{
    ChainSight, Ledger, LedgerError, MemoryStore, Order, OrderFailure, OrderState, ReceiptDraft, ReceiptFault, Sender, VoucherFault,
};
use crate::wallet::{Outgoing, OwnerWallet, next_seqno};

mod backing;
mod checks;
mod claims;
mod kill;
mod once;
mod tell;

const WINDOW_S: u32 = 300;
const PAYOUT: ContractAddress = ContractAddress([0xaa; 32]);
const CLAIM_ALL: ClaimPolicy = ClaimPolicy::EVERYTHING;
/// A policy by which nothing is claimed but what a closing channel would lose.
const CLAIM_LATE: ClaimPolicy = ClaimPolicy { fee_bps_max: 0, undrawn_max: Amount::MAX };

const VAULT: VaultTerms = VaultTerms {
    network: NetworkId::DEVNET,
    treasury: ContractAddress([0xbb; 32]),
    registry: ContractAddress([0xb1; 32]),
    minter: ContractAddress([0xb2; 32]),
    rewards: ContractAddress([0xb3; 32]),
    epoch_s: 3_600,
};

/// A chain whose calls fail by plan: before they do anything, or after.
struct Faulty {
    chain: Arc<Embedded>,
    calls: AtomicUsize,
    /// The call that fails; its effect happens if the number is odd.
    fails_at: AtomicUsize,
    /// Whether the next message is lost before it arrives.
    loses_next: AtomicBool,
    /// Whether transactions are not shown, as by an endpoint that is behind.
    is_behind: AtomicBool,
    /// What is shown of an account whose newest block was dropped.
    dropped: Mutex<Option<(Address, AccountState)>>,
}

const NEVER: usize = usize::MAX;

impl Faulty {
    fn call<T>(&self, act: impl FnOnce(&Embedded) -> Result<T, ChainError>) -> Result<T, ChainError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let fails_at = self.fails_at.load(Ordering::SeqCst);
        let broken = || ChainError::BlockFull;
        match fails_at {
            at if at != NEVER && number == at / 2 && at % 2 == 0 => Err(broken()),
            at if at != NEVER && number == at / 2 => act(&self.chain).and(Err(broken())),
            _ => act(&self.chain),
        }
    }
}

impl Chain for Faulty {
    fn network(&self) -> NetworkId {
        self.chain.network()
    }
    fn head(&self) -> Result<Head, ChainError> {
        self.call(Embedded::head)
    }
    fn block(&self, seqno: u32) -> Result<Head, ChainError> {
        self.call(|chain| chain.block(seqno))
    }
    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        let dropped = self.dropped.lock().unwrap().clone().filter(|(dropped, _)| dropped == address);
        self.call(|chain| dropped.map_or_else(|| chain.account(address), |(_, state)| Ok(state)))
    }
    fn transactions(&self, address: &Address, page: Page) -> Result<Vec<Transaction>, ChainError> {
        let shown = self.call(|chain| chain.transactions(address, page))?;
        let is_dropped = self.dropped.lock().unwrap().as_ref().is_some_and(|(dropped, _)| dropped == address);
        Ok(if is_dropped || self.is_behind.load(Ordering::SeqCst) { Vec::new() } else { shown })
    }
    fn covered_lt(&self, address: &Address, seqno: u32) -> Result<u64, ChainError> {
        self.call(|chain| chain.covered_lt(address, seqno))
    }
    fn run_get_method(&self, address: &Address, method: &str, arguments: &[StackItem]) -> Result<MethodResult, ChainError> {
        self.call(|chain| chain.run_get_method(address, method, arguments))
    }
    fn send_boc(&self, boc: &[u8]) -> Result<Hash, ChainError> {
        if self.loses_next.swap(false, Ordering::SeqCst) {
            return Err(ChainError::BlockFull);
        }
        self.call(|chain| chain.send_boc(boc))
    }
    fn config_param(&self, index: u32) -> Result<ArcCell, ChainError> {
        self.call(|chain| chain.config_param(index))
    }
}

struct World {
    chain: Arc<Embedded>,
    clock: Arc<ManualClock>,
    faulty: Arc<Faulty>,
    requester: Settler,
    provider: Settler,
}

fn wallet(seed: u8) -> OwnerWallet {
    OwnerWallet::from_seed(&[seed; 32]).unwrap()
}

/// The provider's contract. Its owner is an account that nobody has a wallet for, so that it holds exactly what was earned.
fn provider_terms() -> ProviderTerms {
    let network = NetworkTerms {
        network: NetworkId::DEVNET,
        vault: VAULT.address().unwrap(),
        dispute: ContractAddress([0xdd; 32]),
        rewards: ContractAddress([0xb3; 32]),
        fee_bps: 500,
        unbond_s: 600,
        epoch_s: 3_600,
        answer_s: 60,
    };
    ProviderTerms { owner: PAYOUT, operator: provider_key().node_id(), class: 0, network }
}

fn settlement() -> SettlementTerms {
    SettlementTerms {
        network: NetworkId::DEVNET,
        contract: provider_terms().address().unwrap(),
        challenge_window_s: WINDOW_S,
        deposit_min: ton(1),
    }
}

/// The vault, and a provider's contract with collateral and money for batches.
fn deploy_contracts(chain: &Arc<Embedded>) {
    let vault = Outgoing {
        to: Address::from(VAULT.address().unwrap()),
        value: nano(100_000_000),
        bounce: Bounce::No,
        body: None,
        state_init: Some(VAULT.state_init().unwrap()),
    };
    chain.send_boc(&wallet(23).sign(0, u32::MAX, &[vault]).unwrap().boc).unwrap();
    let ledger = Arc::new(Ledger::open(MemoryStore::default(), requester_key()).unwrap());
    let deployer = Settler::new(Arc::clone(chain) as _, wallet(23), ledger);
    let stake = Order::Stake { terms: provider_terms(), amount: ton(2), bond: ton(1), operations: ton(1) };
    deployer.ledger().add_order(stake, Timestamp(START_MS)).unwrap();
    let done = deployer.tick(Timestamp(START_MS)).unwrap();
    assert!(matches!(done[..], [Progress::Sent { .. }, Progress::Confirmed { .. }]), "{done:?}");
}

impl World {
    fn new() -> Self {
        let (chain, clock) = chain(Blocks::Instant);
        let chain = Arc::new(chain);
        for seed in [21, 22, 23] {
            chain.fund(&wallet(seed).address(), ton(10)).unwrap();
        }
        deploy_contracts(&chain);
        let faulty = Arc::new(Faulty {
            chain: Arc::clone(&chain),
            calls: AtomicUsize::new(0),
            fails_at: AtomicUsize::new(NEVER),
            loses_next: AtomicBool::new(false),
            is_behind: AtomicBool::new(false),
            dropped: Mutex::new(None),
        });
        let ledger = |key| Arc::new(Ledger::open(MemoryStore::default(), key).unwrap());
        let requester = Settler::new(Arc::clone(&faulty) as _, wallet(21), ledger(requester_key()));
        let provider = Settler::new(Arc::clone(&faulty) as _, wallet(22), ledger(provider_key())).with_provider(provider_terms());
        Self { chain, clock, faulty, requester, provider }
    }

    /// A world with a channel that both sides know.
    fn with_channel(deposit: Amount) -> (Self, ChannelRef) {
        let world = Self::new();
        let terms = world.terms(1);
        let (channel, _) = world.requester.open(terms, deposit, world.now()).unwrap();
        world.requester.tick(world.now()).unwrap();
        world.requester.observe(channel).unwrap();
        world.provider.admit(&world.expected(channel), world.now()).unwrap();
        world.agree(channel);
        (world, channel)
    }

    fn terms(&self, salt: u8) -> ChannelTerms {
        self.requester.new_terms(provider_key().node_id(), &settlement(), [salt; 32]).unwrap()
    }

    fn expected(&self, channel: ChannelRef) -> Expected {
        Expected { channel, requester: requester_key().node_id(), provider: provider_key().node_id(), settlement: settlement() }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.chain.head().unwrap().unix_s.max(START_MS / 1000) * 1000)
    }

    fn wait_s(&self, seconds: u32) {
        self.clock.advance_ms(u64::from(seconds) * 1000);
        self.chain.make_block().unwrap();
    }

    fn agreement(channel: ChannelRef) -> Agreement {
        Deal::boundless(channel).sign(&requester_key(), &provider_key(), Timestamp(START_MS))
    }

    fn agree(&self, channel: ChannelRef) {
        for settler in [&self.requester, &self.provider] {
            settler.ledger().record_agreement(&Self::agreement(channel), self.now()).unwrap();
        }
    }

    /// Work worth `amount`, receipted and paid by voucher.
    fn work(&self, channel: ChannelRef, job: u8, amount: Amount) {
        let draft = ReceiptDraft {
            channel,
            agreement: Self::agreement(channel).id(),
            job: JobId([job; 16]),
            usage: Usage { input_tokens: 1, output_tokens: 1 },
            amount,
            input: Digest([0; 32]),
            output: Digest([0; 32]),
            seed: Digest([0; 32]),
            work: Digest([0; 32]),
            last: true,
            issued_at: self.now(),
        };
        let receipt = self.provider.ledger().issue_receipt(draft).unwrap();
        let voucher = self.requester.ledger().pay_receipt(receipt).unwrap();
        self.provider.ledger().accept_voucher(voucher).unwrap();
    }

    /// From now on an endpoint shows this channel as it is, whatever happens to it.
    fn shows_for_ever(&self, channel: ChannelRef) {
        let address = Address::from(channel.address);
        *self.faulty.dropped.lock().unwrap() = Some((address, self.chain.account(&address).unwrap()));
    }

    /// All fees that the vault ever got.
    fn fees(&self) -> Amount {
        let account = self.chain.account(&Address::from(VAULT.address().unwrap())).unwrap();
        VaultData::from_cell(&account.data.unwrap()).unwrap().fees_cum
    }

    /// The provider's contract as it is.
    fn contract(&self) -> ProviderView {
        self.provider.own_contract().unwrap().unwrap()
    }

    fn balance(&self, account: ContractAddress) -> Amount {
        self.chain.account(&Address::from(account)).unwrap().balance
    }

    fn status(&self, channel: ChannelRef) -> ChannelStatus {
        self.requester.observe(channel).unwrap().sight.status
    }
}

fn nano(nano: u128) -> Amount {
    Amount::from_nano(nano)
}

#[test]
fn a_channel_is_opened_worked_in_claimed_and_ended() {
    let (world, channel) = World::with_channel(ton(2));
    assert_eq!(world.balance(channel.address), ton(2).checked_add(STORAGE_RESERVE).unwrap());
    world.work(channel, 1, nano(400_000_000));
    let now = world.now();
    assert_eq!(world.provider.watch(CLAIM_ALL, now).unwrap().len(), 0);
    let progress = world.provider.tick(now).unwrap();
    assert!(matches!(progress[..], [Progress::Sent { .. }, Progress::Confirmed { .. }]), "{progress:?}");
    assert_eq!((world.balance(PAYOUT), world.fees()), (nano(380_000_000), nano(20_000_000)));
    assert_eq!(world.provider.ledger().channel(channel).unwrap().undrawn(), Amount::ZERO);
    assert_eq!(world.provider.claim(channel, now).unwrap(), None, "there is nothing left to claim");

    world.work(channel, 2, nano(100_000_000));
    let (statement, signature) = world.provider.ledger().end_channel(channel).unwrap();
    let order = world.requester.ledger().countersigned_end(channel, &statement, signature).unwrap();
    world.requester.ledger().add_order(order, now).unwrap();
    let before = world.balance(world.requester.account());
    world.requester.tick(now).unwrap();
    assert_eq!(world.status(channel), ChannelStatus::Closed);
    assert_eq!((world.balance(PAYOUT), world.fees()), (nano(475_000_000), nano(25_000_000)));
    let refund = world.balance(world.requester.account()).checked_sub(before).unwrap();
    assert!(refund > nano(1_495_000_000) && refund < nano(1_500_000_000), "{refund} came back");
}

#[test]
fn the_same_channel_is_opened_once() {
    let world = World::new();
    let terms = world.terms(1);
    let (_, first) = world.requester.open(terms, ton(1), world.now()).unwrap();
    let (channel, second) = world.requester.open(terms, ton(1), world.now()).unwrap();
    assert_eq!(first, second);
    world.requester.tick(world.now()).unwrap();
    assert_eq!(world.requester.observe(channel).unwrap().sight.deposit, ton(1));
}

/// Runs open, top-up, claim and close with the `at`-th fault, each turn by a new settler. Returns whether the fault came.
fn with_fault(at: usize) -> bool {
    let world = World::new();
    let terms = world.terms(1);
    let now = world.now();
    world.faulty.calls.store(0, Ordering::SeqCst);
    world.faulty.fails_at.store(at, Ordering::SeqCst);
    // A settler keeps nothing, so one that died is replaced by one over the same ledger.
    let turn = |settler: &Settler, seed: u8| {
        for _ in 0..4 {
            let fresh = Settler::new(Arc::clone(&world.faulty) as _, wallet(seed), Arc::clone(settler.ledger()));
            let fresh = fresh.with_provider(provider_terms());
            let _ = fresh.tick(now);
        }
    };
    let (channel, _) = world.requester.open(terms, ton(1), now).unwrap();
    turn(&world.requester, 21);
    world.requester.ledger().add_order(Order::TopUp { channel, deposit: ton(1) }, now).unwrap();
    turn(&world.requester, 21);
    if world.requester.observe(channel).is_err() {
        world.requester.observe(channel).unwrap();
    }
    if world.provider.admit(&world.expected(channel), now).is_err() {
        world.provider.admit(&world.expected(channel), now).unwrap();
    }
    world.agree(channel);
    world.work(channel, 1, nano(400_000_000));
    world.provider.claim(channel, now).unwrap();
    turn(&world.provider, 22);
    world.requester.close(channel, now).unwrap();
    turn(&world.requester, 21);

    let calls = world.faulty.calls.load(Ordering::SeqCst);
    world.faulty.fails_at.store(NEVER, Ordering::SeqCst);
    for settler in [&world.requester, &world.provider] {
        settler.tick(now).unwrap();
        assert!(settler.ledger().open_orders().unwrap().is_empty(), "fault {at}: all orders came to an end");
    }
    let view = world.requester.observe(channel).unwrap();
    assert_eq!((view.sight.deposit, view.sight.drawn), (ton(2), nano(400_000_000)), "fault {at}: each happened once");
    assert!(matches!(view.sight.status, ChannelStatus::Closing { .. }));
    assert_eq!(world.balance(PAYOUT), nano(380_000_000));
    at / 2 < calls
}

#[test]
fn whatever_call_to_the_chain_fails_every_order_happens_once() {
    let faults = (0..).take_while(|at| with_fault(*at)).count();
    assert!(faults > 40, "{faults} faults");
}

#[test]
fn an_order_waits_for_funds_and_does_not_hold_up_cheaper_ones() {
    let world = World::new();
    let now = world.now();
    let (channel, _) = world.requester.open(world.terms(1), ton(100), now).unwrap();
    let cheap = world.requester.ledger().add_order(Order::Transfer { to: PAYOUT, amount: nano(7) }, now).unwrap();
    let progress = world.requester.tick(now).unwrap();
    assert!(
        matches!(progress[..], [Progress::Sent { order, .. }, Progress::Confirmed { .. }, Progress::NeedsFunds { .. }] if order == cheap)
    );
    assert_eq!(world.balance(PAYOUT), nano(7));
    world.chain.fund(&wallet(21).address(), ton(100)).unwrap();
    world.requester.tick(now).unwrap();
    assert_eq!(world.requester.observe(channel).unwrap().sight.deposit, ton(100));
}

#[test]
fn a_preview_is_the_message_that_would_be_sent_and_changes_nothing() {
    let (world, channel) = World::with_channel(ton(1));
    let before = world.balance(world.requester.account());
    let preview = world.requester.preview(&Order::Close(channel)).unwrap();
    assert_eq!((preview.balance, world.balance(world.requester.account())), (before, before));
    assert_eq!(world.status(channel), ChannelStatus::Open);
    assert!(world.requester.ledger().open_orders().unwrap().is_empty());
    let order = world.requester.close(channel, world.now()).unwrap();
    let progress = world.requester.tick(world.now()).unwrap();
    let Some(Progress::Sent { message, .. }) = progress.first() else { panic!("{progress:?}") };
    let query = world.requester.ledger().order(order).unwrap().unwrap().query(order);
    let given = outgoing(&Order::Close(channel), world.requester.account(), query).unwrap();
    let signed = wallet(21).sign(preview.message.seqno, preview.message.valid_until_s, &[given]).unwrap();
    assert_eq!(*message, signed.hash, "but for the query");
}

#[test]
fn a_refund_is_ordered_once_and_comes_after_the_window() {
    let (world, channel) = World::with_channel(ton(1));
    world.requester.close(channel, world.now()).unwrap();
    world.requester.tick(world.now()).unwrap();
    world.wait_s(WINDOW_S);
    let order = world.requester.finish(channel, world.now()).unwrap();
    assert_eq!(world.requester.finish(channel, world.now()).unwrap(), order);
    let before = world.balance(world.requester.account());
    world.requester.tick(world.now()).unwrap();
    assert_eq!(world.status(channel), ChannelStatus::Closed);
    let refund = world.balance(world.requester.account()).checked_sub(before).unwrap();
    assert!(refund > nano(998_000_000) && refund < ton(1), "{refund} came back");
}

#[test]
fn what_the_contract_refuses_fails_with_its_reason() {
    let (world, channel) = World::with_channel(ton(1));
    let now = world.now();
    let id = world.requester.ledger().add_order(Order::Finish(channel), now).unwrap();
    let progress = world.requester.tick(now).unwrap();
    let reason = OrderFailure::Refused(crate::contract::Exit::NotClosing.code());
    assert!(progress.contains(&Progress::Failed { order: id, reason }), "{progress:?}");
}

#[test]
fn an_order_tells_when_it_was_given_and_when_it_last_changed() {
    let world = World::new();
    let given_at = world.now();
    let id = world.requester.ledger().add_order(Order::Transfer { to: PAYOUT, amount: nano(7) }, given_at).unwrap();
    let times = || {
        let record = world.requester.ledger().order(id).unwrap().unwrap();
        (record.given_at, record.changed_at)
    };
    world.faulty.loses_next.store(true, Ordering::SeqCst);
    let signed_at = given_at.plus_ms(5_000);
    world.requester.tick(signed_at).unwrap_err();
    assert_eq!(times(), (given_at, signed_at));
    world.requester.tick(given_at.plus_ms(7_000)).unwrap();
    assert_eq!(times(), (given_at, signed_at), "it was only sent again");
    let done_at = given_at.plus_ms(9_000);
    world.requester.tick(done_at).unwrap();
    assert_eq!(times(), (given_at, done_at));
}

#[test]
fn a_requester_is_not_made_to_pay_above_its_deposit() {
    let (world, channel) = World::with_channel(ton(1));
    world.work(channel, 1, ton(1));
    let receipt = ReceiptDraft {
        channel,
        agreement: World::agreement(channel).id(),
        job: JobId([2; 16]),
        usage: Usage::default(),
        amount: nano(1),
        input: Digest([0; 32]),
        output: Digest([0; 32]),
        seed: Digest([0; 32]),
        work: Digest([0; 32]),
        last: true,
        issued_at: world.now(),
    };
    let refused = world.provider.ledger().issue_receipt(receipt).unwrap_err();
    assert!(matches!(refused, LedgerError::Receipt(ReceiptFault::AboveDeposit { .. })), "nor does its provider work for it");
    // The provider saw a top-up that the requester did not yet see.
    let topped_up = ChainSight { deposit: ton(2), ..world.provider.ledger().channel(channel).unwrap().head().sight.unwrap() };
    world.provider.ledger().record_sight(channel, topped_up).unwrap();
    let receipt = world.provider.ledger().issue_receipt(receipt).unwrap();
    let refused = world.requester.ledger().pay_receipt(receipt).unwrap_err();
    assert!(matches!(refused, LedgerError::Voucher(VoucherFault::OverDeposit { .. })));
    world.requester.ledger().add_order(Order::TopUp { channel, deposit: ton(1) }, world.now()).unwrap();
    world.requester.tick(world.now()).unwrap();
    assert!(world.requester.ledger().issue_voucher(channel).is_ok(), "after a top-up it pays");
}

#[test]
fn a_rehearsal_shows_what_a_message_then_does() {
    let (world, channel) = World::with_channel(ton(1));
    let preview = world.requester.preview(&Order::Close(channel)).unwrap();
    let boc = preview.message.bytes().unwrap();
    let reached = [Address::from(world.requester.account()), Address::from(channel.address)];
    let shown = rehearse(&*world.chain, &boc, &reached).unwrap();
    let before = world.chain.supply().unwrap().fees;
    assert_eq!(world.status(channel), ChannelStatus::Open, "nothing is done yet");

    world.chain.send_boc(&boc).unwrap();
    let gas = |account: &Address| {
        let newest = world.chain.transactions(account, Page { from: None, after_lt: 0, limit: 1 }).unwrap();
        newest[0].gas_used
    };
    let cost = world.chain.supply().unwrap().fees.saturating_sub(before);
    // The wallet, the channel, and the wallet again with what is left of the message; and no rent, as no time has passed.
    assert_eq!((shown.transactions.len(), shown.cost), (3, cost));
    assert_eq!(shown.transactions[1].gas_used, gas(&reached[1]));
    assert_eq!(shown.gas_used(), shown.transactions.iter().map(|transaction| transaction.gas_used).sum::<u64>());
    assert!(shown.failure().is_none());

    let again = world.requester.preview(&Order::Close(channel)).unwrap().message.bytes().unwrap();
    let failure = rehearse(&*world.chain, &again, &reached).unwrap();
    assert_eq!(failure.failure().unwrap().exit_code, Some(Exit::Closing.code()));
    assert!(matches!(rehearse(&*world.chain, &boc, &reached), Err(ChainError::Rejected(_))), "its number is used up");
}
