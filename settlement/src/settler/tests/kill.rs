//! Death at every write: both parties' whole life with two channels, killed before and after each write to each ledger, and once
//! more alive with what the ledgers and the chain hold.
//!
//! Every write has a name in [`WRITES`]. One that nobody named fails these tests, and so does a name that nothing writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use cocoon_market::offer::{Confidentiality, DeviceClaim, DeviceKind, ModelClaim, ModelClass, Serves, Tier};
use cocoon_market::{ModelId, Offer, PeerId, PriceTable, Verified};

use super::*;
use crate::contract::ProviderMessage;
use crate::ledger::store::Entry;
use crate::ledger::{ChannelBook, Head as ChannelHead, OrderId, OrderRecord, Store, StoreError, Table, Write};

/// Each write of a ledger: whose, what is entered, and for orders which one and what came of it.
const WRITES: [&str; 49] = [
    "provider's ledger made",
    "provider's agreement",
    "provider's channel admitted",
    "provider's channel seen",
    "provider's channel ended",
    "provider's receipt issued",
    "provider's voucher taken",
    "provider's batch queued",
    "provider's batch pending",
    "provider's batch confirmed",
    "provider's stake queued",
    "provider's stake pending",
    "provider's stake confirmed",
    "provider's allocation queued",
    "provider's allocation pending",
    "provider's allocation requeued",
    "provider's allocation confirmed",
    "provider's unbond queued",
    "provider's unbond pending",
    "provider's unbond failed",
    "requester's ledger made",
    "requester's offer",
    "requester's agreement",
    "requester's salt",
    "requester's channel and open queued",
    "requester's open pending",
    "requester's open confirmed",
    "requester's channel seen",
    "requester's channel ended",
    "requester's receipt taken",
    "requester's receipt taken and voucher issued",
    "requester's voucher issued",
    "requester's top-up queued",
    "requester's top-up pending",
    "requester's top-up confirmed",
    "requester's transfer queued",
    "requester's transfer pending",
    "requester's transfer requeued",
    "requester's transfer confirmed",
    "requester's close queued",
    "requester's close pending",
    "requester's close confirmed",
    "requester's finish queued",
    "requester's finish pending",
    "requester's finish failed",
    "requester's finish confirmed",
    "requester's close together queued",
    "requester's close together pending",
    "requester's close together confirmed",
];

const SLICES: u64 = 3;
const SLICE: Amount = Amount::from_nano(100_000_000);
const JOB: JobId = JobId([1; 16]);
const FRIEND: ContractAddress = ContractAddress([0xcc; 32]);
const GIFT: Amount = Amount::from_nano(5_000_000);

/// How a write ends for the one who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// It is not there.
    Before,
    /// It is there, and nobody was told.
    After,
}

/// Who dies, and when.
#[derive(Clone, Copy, Debug)]
struct Plan {
    write: &'static str,
    /// The so many-th write of that name.
    nth: usize,
    death: Death,
}

/// What both ledgers wrote in this life, and the plan for it.
#[derive(Debug, Default)]
struct Fate {
    plan: Option<Plan>,
    written: BTreeMap<&'static str, usize>,
}

/// A ledger's store in one life of its process: after its death it does nothing any more.
#[derive(Debug)]
struct Mortal {
    store: MemoryStore,
    who: &'static str,
    fate: Arc<Mutex<Fate>>,
    is_dead: Mutex<bool>,
}

impl Mortal {
    fn alive(&self) -> Result<(), StoreError> {
        if *self.is_dead.lock().unwrap() { Err(StoreError::BrokenOff) } else { Ok(()) }
    }

    fn die(&self) -> StoreError {
        *self.is_dead.lock().unwrap() = true;
        StoreError::BrokenOff
    }

    /// The name of a write. Each table that is written must be part of one.
    fn name(&self, writes: &[Write]) -> &'static str {
        let tables: BTreeSet<_> = writes.iter().map(|write| write.table).collect();
        let entry = |table| writes.iter().find(|write| write.table == table).unwrap();
        let what = match tables.into_iter().collect::<Vec<_>>()[..] {
            [Table::Meta] => "ledger made".to_owned(),
            [Table::Offers] => "offer".to_owned(),
            [Table::Agreements, Table::Expiries] => "agreement".to_owned(),
            [Table::Salts] => "salt".to_owned(),
            [Table::Heads] => self.head(entry(Table::Heads)).to_owned(),
            [Table::Channels, Table::Heads] => "channel admitted".to_owned(),
            [Table::Channels, Table::Heads, Table::Orders] => format!("channel and {}", self.order(entry(Table::Orders))),
            [Table::Orders] => self.order(entry(Table::Orders)),
            [Table::Heads, Table::Vouchers] if self.who == "provider" => "voucher taken".to_owned(),
            [Table::Heads, Table::Vouchers] => "voucher issued".to_owned(),
            [Table::Heads, Table::Receipts, Table::Jobs, Table::Totals] if self.who == "provider" => "receipt issued".to_owned(),
            [Table::Heads, Table::Receipts, Table::Jobs, Table::Totals] => "receipt taken".to_owned(),
            [Table::Heads, Table::Receipts, Table::Vouchers, Table::Jobs, Table::Totals] => "receipt taken and voucher issued".to_owned(),
            ref other => panic!("a write to {other:?} that has no name"),
        };
        let name = format!("{}'s {what}", self.who);
        WRITES.into_iter().find(|known| *known == name).unwrap_or_else(|| panic!("{name} is not among the writes"))
    }

    fn head(&self, write: &Write) -> &'static str {
        let ended = |bytes: &[u8]| serde_cbor::from_slice::<ChannelHead>(bytes).unwrap().end.is_some();
        let before = self.store.get(Table::Heads, &write.key).unwrap().is_some_and(|bytes| ended(&bytes));
        if ended(&write.value) && !before { "channel ended" } else { "channel seen" }
    }

    fn order(&self, write: &Write) -> String {
        let record: OrderRecord = serde_cbor::from_slice(&write.value).unwrap();
        let is_new = self.store.get(Table::Orders, &write.key).unwrap().is_none();
        let state = match record.state {
            OrderState::Queued if is_new => "queued",
            OrderState::Queued => "requeued",
            OrderState::Pending(_) => "pending",
            OrderState::Confirmed(_) => "confirmed",
            OrderState::Failed(_) => "failed",
        };
        format!("{} {state}", kind(&record.order))
    }
}

const fn kind(order: &Order) -> &'static str {
    match order {
        Order::Open { .. } => "open",
        Order::TopUp { .. } => "top-up",
        Order::Claim(_) => "claim",
        Order::Close(_) => "close",
        Order::Finish(_) => "finish",
        Order::CloseTogether { .. } => "close together",
        Order::Transfer { .. } => "transfer",
        Order::Stake { .. } => "stake",
        Order::Provider { .. } => "unbond",
        Order::Tell { .. } => "tell",
        Order::Operator { command: Command::Batch(_), .. } => "batch",
        Order::Operator { command: Command::Allocate(_), .. } => "allocation",
        Order::Operator { command: Command::Alive, .. } => "answer",
    }
}

impl Store for Mortal {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.alive()?;
        self.store.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.alive()?;
        self.store.scan(table, prefix, from, limit)
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.alive()?;
        let name = self.name(writes);
        let mut fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
        let count = fate.written.entry(name).or_insert(0);
        *count += 1;
        let nth = *count;
        match fate.plan.filter(|plan| plan.write == name && plan.nth == nth).map(|plan| plan.death) {
            Some(Death::Before) => Err(self.die()),
            Some(Death::After) => self.store.commit(writes).and_then(|()| Err(self.die())),
            None => self.store.commit(writes),
        }
    }
}

/// A chain, two parties' stores on it, and what is to happen to them.
struct Stage {
    world: World,
    stores: [MemoryStore; 2],
    fate: Arc<Mutex<Fate>>,
    lives: u8,
    /// The messages that get lost on their way were lost: the requester's and the provider's.
    has_lost: [bool; 2],
}

/// Both parties as they are now.
struct Parties {
    requester: Settler,
    provider: Settler,
}

type Lived = Result<(), SettleError>;

impl Stage {
    fn new(plan: Option<Plan>) -> Self {
        let fate = Arc::new(Mutex::new(Fate { plan, written: BTreeMap::new() }));
        Self { world: World::new(), stores: [MemoryStore::default(), MemoryStore::default()], fate, lives: 0, has_lost: [false; 2] }
    }

    fn settler(&self, who: &'static str, seed: u8, store: &MemoryStore) -> Result<Settler, SettleError> {
        let key = if who == "provider" { provider_key() } else { requester_key() };
        let store = Mortal { store: store.clone(), who, fate: Arc::clone(&self.fate), is_dead: Mutex::new(false) };
        let settler = Settler::new(Arc::clone(&self.world.faulty) as _, wallet(seed), Arc::new(Ledger::open(store, key)?));
        Ok(if who == "provider" { settler.with_provider(provider_terms()) } else { settler })
    }

    /// One life of both, from wherever the last one ended. Each step looks at what is there and does what is missing.
    fn live(&mut self) -> Lived {
        self.lives += 1;
        let [requester, provider] = &self.stores;
        let parties = Parties { requester: self.settler("requester", 21, requester)?, provider: self.settler("provider", 22, provider)? };
        self.stake(&parties)?;
        self.allocate(&parties)?;
        let worked_in = self.open(&parties, WINDOW_S)?;
        let unused = self.open(&parties, WINDOW_S + 1)?;
        self.fail(&parties, worked_in)?;
        self.top_up(&parties, worked_in)?;
        self.lose(&parties)?;
        self.agree(&parties, worked_in)?;
        self.work(&parties, worked_in)?;
        self.claim(&parties, worked_in)?;
        self.end_together(&parties, worked_in)?;
        self.end_alone(&parties, unused)
    }

    /// Turns until there is nothing left to do.
    fn settle(&self, settler: &Settler) -> Lived {
        for _ in 0..9 {
            if settler.ledger().open_orders()?.is_empty() {
                return Ok(());
            }
            settler.tick(self.world.now())?;
        }
        panic!("an order that does not come to an end");
    }

    fn book(settler: &Settler, window_s: u32) -> Result<Option<ChannelBook>, SettleError> {
        Ok(settler.ledger().channels()?.into_iter().find(|book| book.record().terms.challenge_window_s == window_s))
    }

    fn has_ordered(settler: &Settler, is_it: impl Fn(&Order) -> bool) -> Result<bool, SettleError> {
        Ok(settler.ledger().orders(OrderId(0), usize::MAX)?.iter().any(|(_, record)| is_it(&record.order)))
    }

    fn open(&self, Parties { requester, provider }: &Parties, window_s: u32) -> Result<ChannelRef, SettleError> {
        let channel = match Self::book(requester, window_s)? {
            Some(book) => book.channel(),
            None => {
                let settlement = SettlementTerms { challenge_window_s: window_s, ..settlement() };
                // A salt that was marked before a death is used up, so each life has its own.
                let salt = [self.lives + u8::try_from(window_s - WINDOW_S).unwrap() * 64; 32];
                let terms = requester.new_terms(provider_key().node_id(), &settlement, salt)?;
                requester.open(terms, ton(1), self.world.now())?.0
            }
        };
        self.settle(requester)?;
        requester.observe(channel)?;
        provider.admit(&self.world.expected(channel), self.world.now())?;
        Ok(channel)
    }

    /// An order that the contract refuses.
    fn fail(&self, Parties { requester, .. }: &Parties, channel: ChannelRef) -> Lived {
        if !Self::has_ordered(requester, |order| *order == Order::Finish(channel))? {
            requester.finish(channel, self.world.now())?;
        }
        self.settle(requester)
    }

    fn top_up(&self, Parties { requester, provider }: &Parties, channel: ChannelRef) -> Lived {
        if !Self::has_ordered(requester, |order| matches!(order, Order::TopUp { .. }))? {
            requester.ledger().add_order(Order::TopUp { channel, deposit: ton(1) }, self.world.now())?;
        }
        self.settle(requester)?;
        [requester, provider].into_iter().try_for_each(|settler| settler.observe(channel).map(drop))
    }

    /// A transfer whose first message never arrives.
    fn lose(&mut self, Parties { requester, .. }: &Parties) -> Lived {
        if !Self::has_ordered(requester, |order| matches!(order, Order::Transfer { .. }))? {
            requester.ledger().add_order(Order::Transfer { to: FRIEND, amount: GIFT }, self.world.now())?;
        }
        self.lose_message(0, requester)?;
        self.settle(requester)
    }

    /// More collateral, and the attempt of somebody who is not the owner to take it out.
    fn stake(&self, Parties { provider, .. }: &Parties) -> Lived {
        let (terms, contract) = (provider_terms(), provider_terms().address()?);
        if !Self::has_ordered(provider, |order| matches!(order, Order::Stake { .. }))? {
            let stake = Order::Stake { terms, amount: ton(3), bond: Amount::ZERO, operations: Amount::ZERO };
            provider.ledger().add_order(stake, self.world.now())?;
        }
        if !Self::has_ordered(provider, |order| matches!(order, Order::Provider { .. }))? {
            let message = ProviderMessage::Unbond { amount: ton(1), bond: Amount::ZERO };
            provider.ledger().add_order(Order::Provider { contract, message }, self.world.now())?;
        }
        self.settle(provider)
    }

    /// An operator's message that never arrives.
    fn allocate(&mut self, Parties { provider, .. }: &Parties) -> Lived {
        if !Self::has_ordered(provider, |order| matches!(order, Order::Operator { command: Command::Allocate(_), .. }))? {
            let contract = provider_terms().address()?;
            let allocate = Order::Operator { contract, command: Command::Allocate(ton(4)) };
            provider.ledger().add_order(allocate, self.world.now())?;
        }
        self.lose_message(1, provider)?;
        self.settle(provider)
    }

    /// One turn whose message is lost, once in all lives.
    fn lose_message(&mut self, whose: usize, settler: &Settler) -> Lived {
        if std::mem::replace(&mut self.has_lost[whose], true) {
            return Ok(());
        }
        self.world.faulty.loses_next.store(true, Ordering::SeqCst);
        let lost = settler.tick(self.world.now());
        self.world.faulty.loses_next.store(false, Ordering::SeqCst);
        match lost {
            Err(SettleError::Chain(_)) => self.world.wait_s(121),
            // Who died after ordering it has had it carried out at the beginning of this life.
            done => drop(done?),
        }
        Ok(())
    }

    fn agree(&self, Parties { requester, provider }: &Parties, channel: ChannelRef) -> Lived {
        requester.ledger().record_offer(&offer())?;
        for settler in [requester, provider] {
            settler.ledger().record_agreement(&World::agreement(channel), self.world.now())?;
        }
        Ok(())
    }

    fn work(&self, Parties { requester, provider }: &Parties, channel: ChannelRef) -> Lived {
        loop {
            // What was numbered and perhaps never arrived is sent again.
            for receipt in provider.ledger().unpaid_receipts(channel)? {
                let voucher = if receipt.receipt.header.sequence == 1 {
                    requester.ledger().record_receipt(receipt)?;
                    requester.ledger().issue_voucher(channel)?
                } else {
                    requester.ledger().pay_receipt(receipt)?
                };
                provider.ledger().accept_voucher(voucher)?;
            }
            let done = provider.ledger().job(JOB)?.map_or(0, |job| job.usage.output_tokens);
            if done == SLICES {
                return Ok(());
            }
            provider.ledger().issue_receipt(self.draft(channel, done + 1))?;
        }
    }

    fn draft(&self, channel: ChannelRef, slice: u64) -> ReceiptDraft {
        ReceiptDraft {
            channel,
            agreement: World::agreement(channel).id(),
            job: JOB,
            usage: Usage { input_tokens: 1, output_tokens: slice },
            amount: SLICE,
            input: Digest([0; 32]),
            output: Digest([0; 32]),
            seed: Digest([0; 32]),
            work: Digest([0; 32]),
            last: slice == SLICES,
            issued_at: self.world.now(),
        }
    }

    fn claim(&self, Parties { provider, .. }: &Parties, channel: ChannelRef) -> Lived {
        provider.observe(channel)?;
        if provider.ledger().channel(channel)?.head().end.is_none() {
            provider.claim(channel, self.world.now())?;
        }
        self.settle(provider)
    }

    fn end_together(&self, Parties { requester, provider }: &Parties, channel: ChannelRef) -> Lived {
        let (statement, signature) = provider.ledger().end_channel(channel)?;
        if !Self::has_ordered(requester, |order| matches!(order, Order::CloseTogether { .. }))? {
            let order = requester.ledger().countersigned_end(channel, &statement, signature)?;
            requester.ledger().add_order(order, self.world.now())?;
        }
        self.settle(requester)
    }

    fn end_alone(&self, Parties { requester, .. }: &Parties, channel: ChannelRef) -> Lived {
        if requester.observe(channel)?.sight.status == ChannelStatus::Open {
            requester.close(channel, self.world.now())?;
        }
        self.settle(requester)?;
        if requester.observe(channel)?.sight.status != ChannelStatus::Closed {
            self.world.wait_s(2 * WINDOW_S);
            requester.watch(CLAIM_ALL, self.world.now())?;
        }
        self.settle(requester)
    }

    /// Everything happened, and everything once.
    fn check(&self, plan: Option<Plan>) {
        let ledger = |at: usize, key| Ledger::open(self.stores[at].clone(), key).unwrap();
        let (requester, provider) = (ledger(0, requester_key()), ledger(1, provider_key()));
        let kinds = |ledger: &Ledger| {
            assert!(ledger.open_orders().unwrap().is_empty(), "{plan:?}: all orders came to an end");
            let orders = ledger.orders(OrderId(0), usize::MAX).unwrap();
            let end = |record: &OrderRecord| matches!(record.state, OrderState::Confirmed(_));
            let mut kinds: Vec<_> = orders.iter().map(|(_, record)| (kind(&record.order), end(record))).collect();
            kinds.sort_unstable();
            kinds
        };
        assert_eq!(kinds(&provider), [("allocation", true), ("batch", true), ("stake", true), ("unbond", false)], "{plan:?}");
        let data = self.world.contract().data;
        assert_eq!((data.stake.total, data.stake.allocated, data.number), (ton(5), ton(4), 2), "{plan:?}");
        assert_eq!((data.earnings, data.fees), (Amount::ZERO, Amount::ZERO), "{plan:?}: all was passed on");
        let once = [("close", true), ("close together", true), ("finish", false), ("finish", true)];
        let more = [("open", true), ("open", true), ("top-up", true), ("transfer", true)];
        assert_eq!(kinds(&requester), [once, more].concat(), "{plan:?}");
        let paid = Amount::from_nano(SLICE.nano() * u128::from(SLICES));
        let channels = requester.channels().unwrap();
        assert_eq!(channels.len(), 2, "{plan:?}");
        for book in &channels {
            let was_worked_in = book.record().terms.challenge_window_s == WINDOW_S;
            let view = self.world.requester.chain().account(&Address::from(book.channel().address)).unwrap();
            let data = ChannelData::from_cell(view.data.as_ref().unwrap()).unwrap();
            let expected = if was_worked_in { (ton(2), paid) } else { (ton(1), Amount::ZERO) };
            assert_eq!((data.deposit, data.drawn, data.status), (expected.0, expected.1, ChannelStatus::Closed), "{plan:?}");
            if was_worked_in {
                self.check_books(book, &provider.channel(book.channel()).unwrap(), paid, plan);
                let receipts = provider.receipts(book.channel(), 1, usize::MAX).unwrap();
                let slices: Vec<_> = receipts.iter().map(|record| record.receipt.receipt.body.usage.output_tokens).collect();
                assert_eq!(slices, (1..=SLICES).collect::<Vec<_>>(), "{plan:?}: each slice is receipted once");
            }
        }
        for ledger in [&requester, &provider] {
            assert_eq!(ledger.job(JOB).unwrap().map(|job| (job.amount, job.is_final)), Some((paid, true)), "{plan:?}");
        }
        let fee = Amount::from_nano(paid.nano() / 20);
        assert_eq!(self.world.balance(PAYOUT), paid.checked_sub(fee).unwrap(), "{plan:?}");
        assert_eq!((self.world.fees(), self.world.balance(FRIEND)), (fee, GIFT), "{plan:?}");
        assert!(self.world.chain.supply().unwrap().is_balanced());
    }

    fn check_books(&self, requester: &ChannelBook, provider: &ChannelBook, paid: Amount, plan: Option<Plan>) {
        for book in [requester, provider] {
            assert_eq!((book.sequence(), book.paid(), book.unpaid()), (SLICES, paid, Amount::ZERO), "{plan:?}");
            assert!(book.head().end.is_some(), "{plan:?}");
        }
        assert_eq!(requester.root(), provider.root(), "{plan:?}");
    }
}

fn offer() -> Verified<Offer> {
    let free = PriceTable { job: Amount::ZERO, input_per_mtok: Amount::ZERO, output_per_mtok: Amount::ZERO };
    let offer = Offer {
        provider: provider_key().node_id(),
        peer: PeerId(vec![2; 38]),
        addresses: Vec::new(),
        model: ModelClaim {
            id: ModelId([9; 32]),
            name: "tiny".into(),
            class: ModelClass::TextTiny,
            serves: Serves::Text,
            context_tokens: 2048,
        },
        device: DeviceClaim { name: "cpu".into(), kind: DeviceKind::Cpu, tokens_per_s: 100 },
        price: free,
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        capacity: 1,
        slice_tokens: 10,
        float: Amount::from_nano(1_000),
        settlement: settlement(),
        sequence: 1,
        issued_at: Timestamp(START_MS),
        expires_at: Timestamp(START_MS).plus_ms(3_600_000),
    };
    Verified::sign(offer, &provider_key()).unwrap()
}

/// Lives with the plan and once more after the death. What was written, by name.
fn with_death(plan: Option<Plan>) -> BTreeMap<&'static str, usize> {
    let mut stage = Stage::new(plan);
    let first = stage.live();
    assert_eq!(first.is_err(), plan.is_some(), "{plan:?}: {first:?}");
    stage.fate.lock().unwrap().plan = None;
    if plan.is_some() {
        stage.live().unwrap_or_else(|error| panic!("{plan:?}: {error}"));
    }
    stage.check(plan);
    let fate = stage.fate.lock().unwrap();
    fate.written.clone()
}

/// Dies at each write of these names: at the first three of a name, since what comes later is the same again.
fn die_at_each(is_it: impl Fn(&str) -> bool) {
    let written = with_death(None);
    let names: BTreeSet<_> = written.keys().copied().collect();
    assert_eq!(names, WRITES.into(), "every write is made in this life");
    for (write, count) in written.into_iter().filter(|(write, _)| is_it(write)) {
        for nth in 1..=count.min(3) {
            for death in [Death::Before, Death::After] {
                with_death(Some(Plan { write, nth, death }));
            }
        }
    }
}

#[test]
fn a_provider_killed_at_any_write_loses_and_doubles_nothing() {
    die_at_each(|write| write.starts_with("provider's"));
}

#[test]
fn a_requester_killed_at_any_write_of_its_book_loses_and_doubles_nothing() {
    die_at_each(|write| write.starts_with("requester's") && !is_order(write));
}

#[test]
fn a_requester_killed_at_any_write_of_an_order_loses_and_doubles_nothing() {
    die_at_each(|write| write.starts_with("requester's") && is_order(write));
}

fn is_order(write: &str) -> bool {
    ["queued", "pending", "confirmed", "failed"].iter().any(|state| write.ends_with(state))
}
