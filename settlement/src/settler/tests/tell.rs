//! What an owner of COCOON tells the contracts of its network, on a chain that has all of them.

use super::super::stake::verify_provider;
use super::*;
use crate::chain::pass_on;
use crate::contract::founding::{Believed, Founding, Plan};
use crate::contract::{
    Action, ContractMessage, Decision, GovernorData, GovernorMessage, LockData, LockMessage, MinterData, ProviderMessage, Purpose,
    RegistryData, VaultMessage,
};
use crate::economy::locks::{WEEK_S, week_of};
use crate::economy::parameter::Parameter;
use crate::economy::votes::{DELAY_S, Phase, VOTE_S};
use crate::ledger::OrderId;
use crate::ledger::testing::copy;

const FRIEND: ContractAddress = ContractAddress([0xcc; 32]);
const EPOCH_S: u32 = 3_600;
const DAY_S: u32 = 86_400;

/// An endpoint that shows one account otherwise than it is.
struct Forged {
    chain: Arc<Embedded>,
    at: ContractAddress,
    shown: AccountState,
}

impl Chain for Forged {
    pass_on!(this => &this.chain; network head block covered_lt transactions run_get_method send_boc config_param);

    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        if *address == Address::from(self.at) { Ok(self.shown.clone()) } else { self.chain.account(address) }
    }
}

/// A network with its token and its votes, whose founder has the COCOON of stakers and of the opening auction.
struct Town {
    chain: Arc<Embedded>,
    clock: Arc<ManualClock>,
    store: MemoryStore,
    owner: Settler,
    founding: Founding,
}

impl Town {
    fn new() -> Self {
        let (chain, clock) = chain(Blocks::Instant);
        chain.fund(&wallet(21).address(), ton(100)).unwrap();
        let founder = wallet(21).account();
        let plan = Plan {
            network: NetworkId::DEVNET,
            founder,
            dispute: founder,
            treasury_from_s: u32::try_from(START_MS / 1000).unwrap(),
            fee_bps: 500,
            unbond_s: 600,
            epoch_s: EPOCH_S,
            answer_s: 60,
            half_life: 730,
        };
        let founding = Founding::new(plan, Believed::NOTHING).unwrap();
        for (seqno, step) in (0..).zip(founding.steps().unwrap()) {
            chain.send_boc(&wallet(21).sign(seqno, u32::MAX, &step).unwrap().boc).unwrap();
        }
        let (store, chain) = (MemoryStore::default(), Arc::new(chain));
        let ledger = Arc::new(Ledger::open(store.clone(), requester_key()).unwrap());
        let owner = Settler::new(Arc::clone(&chain) as _, wallet(21), ledger);
        Self { chain, clock, store, owner, founding }
    }

    fn network(&self) -> NetworkContracts {
        NetworkContracts::find(&*self.chain, &self.founding.providers).unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.chain.head().unwrap().unix_s * 1000)
    }

    fn now_s(&self) -> u32 {
        u32::try_from(self.now().unix_s()).unwrap()
    }

    fn wait_s(&self, seconds: u32) {
        self.clock.advance_ms(u64::from(seconds) * 1000);
        self.chain.make_block().unwrap();
    }

    fn data(&self, account: ContractAddress) -> ArcCell {
        self.chain.account(&Address::from(account)).unwrap().data.unwrap()
    }

    fn forged(&self, at: ContractAddress, change: impl FnOnce(&mut AccountState)) -> Forged {
        let mut shown = self.chain.account(&Address::from(at)).unwrap();
        change(&mut shown);
        Forged { chain: Arc::clone(&self.chain), at, shown }
    }

    fn wallet_of(&self, owner: ContractAddress) -> ContractAddress {
        self.network().wallet_of(owner).unwrap()
    }

    /// COCOON, in whole ones.
    fn cocoon(&self, owner: ContractAddress) -> u128 {
        self.network().balance(&*self.chain, owner).unwrap().nano() / 1_000_000_000
    }

    fn supply(&self) -> Amount {
        MinterData::from_cell(&self.data(self.founding.vault.minter)).unwrap().supply
    }

    fn vault_at(&self) -> ContractAddress {
        self.founding.providers.vault
    }

    fn vault(&self) -> VaultData {
        self.network().vault().data
    }

    fn governor_at(&self) -> ContractAddress {
        self.founding.vault.treasury
    }

    fn governor(&self) -> GovernorData {
        self.network().governor(&*self.chain).unwrap().data
    }

    fn registry(&self) -> RegistryData {
        self.network().registry(&*self.chain).unwrap().data
    }

    fn lock(&self) -> LockData {
        self.network().lock(&*self.chain, self.governor_at(), self.owner.account()).unwrap().unwrap().data
    }

    fn order(&self, message: ContractMessage) -> Order {
        let contract = match &message {
            ContractMessage::Move { .. } | ContractMessage::Burn(_) => self.wallet_of(self.owner.account()),
            ContractMessage::Vault(_) => self.vault_at(),
            ContractMessage::Lock(_) => self.network().lock_of(self.governor_at(), self.owner.account()).unwrap(),
            ContractMessage::Governor(_) => self.governor_at(),
        };
        Order::tell(contract, message).unwrap()
    }

    fn give(&self, message: ContractMessage) -> OrderId {
        self.owner.ledger().add_order(self.order(message), self.now()).unwrap()
    }

    /// Carries an order out, and checks that nothing that follows from it fails, and that all of it was rehearsed.
    fn tell(&self, message: ContractMessage) {
        let before = self.chain.head().unwrap().seqno;
        let rehearsed = self.rehearsed(&self.order(message.clone()));
        self.give(message.clone());
        let progress = self.owner.tick(self.now()).unwrap();
        assert!(matches!(progress[..], [Progress::Sent { .. }, Progress::Confirmed { .. }]), "{message:?}: {progress:?}");
        let mut reached = Vec::new();
        for seqno in before + 1..=self.chain.head().unwrap().seqno {
            for done in self.chain.block_transactions(seqno).unwrap() {
                let bounced = done.in_message.as_ref().is_some_and(|message| message.bounced);
                assert!(done.success && !bounced, "{message:?}: {done:?}");
                reached.push((done.account, done.exit_code));
            }
        }
        let shown: Vec<_> = rehearsed.transactions.iter().map(|done| (done.account, done.exit_code)).collect();
        assert_eq!(shown, reached, "{message:?}");
    }

    /// The order, executed on copies of the accounts that it is said to reach.
    fn rehearsed(&self, order: &Order) -> Rehearsal {
        let reached = self.network().reached(self.owner.account(), Some(self.governor_at()), order).unwrap();
        rehearse(&*self.chain, &self.owner.preview(order).unwrap().message.bytes().unwrap(), &reached).unwrap()
    }

    fn moved(amount: u128, to: ContractAddress, purpose: Purpose) -> ContractMessage {
        ContractMessage::Move { amount: ton(amount), to, purpose }
    }

    fn lock_for(&self, amount: u128, weeks: u32) {
        let ends_week = week_of(self.now_s()) + weeks;
        self.tell(Self::moved(amount, self.governor_at(), Purpose::Lock { ends_week }));
    }

    /// What the owner has paid in TON for good.
    fn paid(&self, before: Amount) -> Amount {
        before.saturating_sub(self.owner.balance().unwrap())
    }
}

#[test]
fn cocoon_is_moved_and_burned_and_what_that_does_not_cost_comes_back() {
    let town = Town::new();
    assert_eq!(town.cocoon(town.owner.account()), 60_000_000);
    let before = town.owner.balance().unwrap();
    town.tell(Town::moved(1_000, FRIEND, Purpose::Nothing));
    assert!(town.paid(before) < nano(15_000_000), "but for the friend's new wallet: {}", town.paid(before));
    town.tell(ContractMessage::Burn(ton(500)));
    assert_eq!((town.cocoon(town.owner.account()), town.cocoon(FRIEND)), (59_998_500, 1_000));
    assert_eq!(town.supply(), ton(399_999_500));
    assert!(town.paid(before) < nano(18_000_000), "{}", town.paid(before));
}

#[test]
fn more_than_there_is_is_refused_and_nothing_is_moved() {
    let town = Town::new();
    let id = town.give(ContractMessage::Burn(ton(60_000_001)));
    let progress = town.owner.tick(town.now()).unwrap();
    assert!(
        progress.contains(&Progress::Failed { order: id, reason: OrderFailure::Refused(Exit::BalanceTooSmall.code()) }),
        "{progress:?}"
    );
    assert_eq!(town.cocoon(town.owner.account()), 60_000_000);
}

#[test]
fn a_fee_is_sold_for_cocoon_that_is_burned_or_paid_ahead_in_it() {
    let town = Town::new();
    let vault = town.vault_at();
    town.tell(ContractMessage::Vault(VaultMessage::CloseEpoch));
    town.tell(ContractMessage::Vault(VaultMessage::Fee { amount: ton(10), credit: Amount::ZERO }));
    town.wait_s(EPOCH_S);
    town.tell(ContractMessage::Vault(VaultMessage::CloseEpoch));
    assert_eq!(town.vault().unsold, ton(7));

    let before = town.owner.balance().unwrap();
    town.tell(Town::moved(200, vault, Purpose::Bid { least: 900_000_000 }));
    let bought = ton(7).saturating_sub(town.vault().unsold);
    assert!(bought >= nano(900_000_000), "{bought} at four times the opening rate");
    let gained = town.owner.balance().unwrap().checked_sub(before).unwrap();
    assert!(gained > bought.saturating_sub(nano(20_000_000)) && gained < bought, "{gained}");
    assert_eq!(town.vault().auction.unburned, ton(200));
    town.tell(Town::moved(200, vault, Purpose::Bid { least: u64::MAX }));
    assert_eq!((town.cocoon(town.owner.account()), town.vault().auction.unburned), (59_999_800, ton(200)), "for less it comes back");

    let terms =
        ProviderTerms { owner: town.owner.account(), operator: requester_key().node_id(), class: 0, network: town.founding.providers };
    let provider = terms.address().unwrap();
    let stake = Order::Stake { terms, amount: ton(1), bond: ton(1), operations: Amount::ZERO };
    town.owner.ledger().add_order(stake, town.now()).unwrap();
    town.owner.tick(town.now()).unwrap();
    town.tell(Town::moved(45, vault, Purpose::Credit { provider }));
    let account = town.chain.account(&Address::from(provider)).unwrap();
    let view = verify_provider(&account, provider, requester_key().node_id(), &town.founding.providers).unwrap();
    assert_eq!(view.data.rewards.credit, ton(1), "50 for a TON, less a tenth");

    town.wait_s(EPOCH_S);
    town.tell(ContractMessage::Vault(VaultMessage::CloseEpoch));
    assert_eq!(town.supply(), ton(400_000_000 - 245), "what was paid is burned");
    town.tell(ContractMessage::Vault(VaultMessage::PayTreasury));
    assert_eq!(town.vault().treasury, Amount::ZERO);
}

#[test]
fn what_is_locked_votes_and_what_is_decided_is_carried_out() {
    let town = Town::new();
    town.lock_for(1_000_000, 52);
    assert_eq!((town.lock().amount, town.cocoon(town.governor_at())), (ton(1_000_000), 21_000_000));
    town.wait_s(2);
    let action = Action::SetParameter { which: Parameter::AuctionSeconds.place(), value: 70_000 };
    town.tell(ContractMessage::Lock(LockMessage::Propose(action.clone())));
    let decision = town.governor().proposals[&0];
    assert_eq!(decision.action, action.hash().unwrap());
    town.wait_s(DELAY_S);
    town.tell(ContractMessage::Lock(LockMessage::Vote { number: 0, is_yes: true }));
    assert_eq!(town.lock().ballots.len(), 1);
    town.wait_s(VOTE_S);
    let phase = |town: &Town| town.governor().proposals[&0].proposal().unwrap().phase(town.now_s()).unwrap();
    assert!(matches!(phase(&town), Phase::Passed { .. }), "it waits so that who disagrees can leave");
    let execute = || ContractMessage::Governor(GovernorMessage::Execute { number: 0, action: action.clone() });
    let early = town.give(execute());
    let progress = town.owner.tick(town.now()).unwrap();
    assert!(progress.contains(&Progress::Failed { order: early, reason: OrderFailure::Refused(Exit::NotReady.code()) }), "{progress:?}");

    town.wait_s(2 * DAY_S);
    town.tell(execute());
    assert_eq!((phase(&town), town.registry().value(Parameter::AuctionSeconds)), (Phase::Done, 70_000));
    assert_eq!(town.vault().auction.next_duration_s, 70_000, "and the vault was told");
}

#[test]
fn the_treasury_pays_what_was_decided() {
    let town = Town::new();
    town.lock_for(1_000_000, 52);
    town.wait_s(2);
    town.chain.fund(&Address::from(town.governor_at()), ton(3)).unwrap();
    let owner = town.owner.account();
    let actions = [Action::SpendCocoon { to: FRIEND, amount: ton(7) }, Action::SpendTon { to: owner, amount: ton(2) }];
    for action in &actions {
        town.tell(ContractMessage::Lock(LockMessage::Propose(action.clone())));
    }
    town.wait_s(DELAY_S);
    for number in [0, 1] {
        town.tell(ContractMessage::Lock(LockMessage::Vote { number, is_yes: true }));
    }
    town.wait_s(VOTE_S + 7 * DAY_S);
    let before = town.owner.balance().unwrap();
    for (number, action) in (0..).zip(actions) {
        town.tell(ContractMessage::Governor(GovernorMessage::Execute { number, action }));
    }
    let gained = town.owner.balance().unwrap().checked_sub(before).unwrap();
    assert!(town.cocoon(FRIEND) == 7 && gained > nano(1_900_000_000), "{gained}");
}

#[test]
fn what_was_locked_comes_out_after_its_time_and_not_before() {
    let town = Town::new();
    town.lock_for(1_000, 1);
    let ends_week = week_of(town.now_s()) + 2;
    town.tell(ContractMessage::Lock(LockMessage::Lengthen(ends_week)));
    assert_eq!(town.lock().ends_week, ends_week);
    let early = town.give(ContractMessage::Lock(LockMessage::Unlock));
    let progress = town.owner.tick(town.now()).unwrap();
    assert!(progress.contains(&Progress::Failed { order: early, reason: OrderFailure::Refused(Exit::LockRunning.code()) }), "{progress:?}");
    town.wait_s(2 * WEEK_S);
    town.tell(ContractMessage::Lock(LockMessage::Unlock));
    assert_eq!((town.lock().amount, town.cocoon(town.owner.account())), (Amount::ZERO, 60_000_000));
}

#[test]
fn what_was_told_is_told_once_though_the_books_are_older() {
    let town = Town::new();
    let id = town.give(Town::moved(5, FRIEND, Purpose::Nothing));
    let older = copy(&town.store);
    town.owner.tick(town.now()).unwrap();
    let ledger = Arc::new(Ledger::open(older, requester_key()).unwrap());
    let restored = Settler::new(Arc::clone(&town.chain) as _, wallet(21), ledger);
    let progress = restored.tick(town.now()).unwrap();
    assert!(matches!(progress[..], [Progress::Confirmed { order, .. }] if order == id), "{progress:?}");
    assert_eq!(town.cocoon(FRIEND), 5);
}

#[test]
fn a_preview_rehearsed_shows_what_would_refuse_it() {
    let town = Town::new();
    let shown = |message: ContractMessage| town.rehearsed(&town.order(message));
    let vault = town.vault_at();
    let refused = shown(Town::moved(60_000_001, vault, Purpose::Bid { least: 1 }));
    assert_eq!(refused.failure().unwrap().exit_code, Some(Exit::BalanceTooSmall.code()));
    let fits = shown(Town::moved(10, vault, Purpose::Bid { least: 1 }));
    assert!(fits.failure().is_none() && fits.transactions.len() > 6, "there is nothing to buy, and all comes back");
    assert_eq!(town.cocoon(town.owner.account()), 60_000_000, "nothing was done");
}

#[test]
fn what_is_proposed_is_found_whoever_proposed_it() {
    let town = Town::new();
    town.lock_for(1_000, 52);
    town.wait_s(2);
    let actions = [Action::SpendTon { to: FRIEND, amount: ton(1) }, Action::SetStandards(Digest([7; 32]))];
    for action in &actions {
        town.tell(ContractMessage::Lock(LockMessage::Propose(action.clone())));
    }
    let (network, governor) = (town.network(), town.governor());
    let found = |number: u32| network.action_of(&*town.chain, town.governor_at(), &governor.proposals[&number]).unwrap();
    assert_eq!([found(0), found(1)], actions.map(Some));
    let other = Decision { action: Digest([9; 32]), ..governor.proposals[&0] };
    assert_eq!(network.action_of(&*town.chain, town.governor_at(), &other).unwrap(), None);
}

#[test]
fn a_network_is_founded_for_less_than_a_ton() {
    let steps = Town::new().founding.steps().unwrap();
    let values = steps.map(|step| step.iter().map(|message| message.value.nano() / 10_000_000).collect::<Vec<_>>());
    assert_eq!(values, [[30, 10, 10, 10], [3, 3, 10, 3]], "in hundredths of a TON");
}

#[test]
fn a_network_is_found_from_its_vault_and_nothing_else_is_taken_for_it() {
    let town = Town::new();
    let chain = &*town.chain;
    let rewards = town.network().rewards(chain).unwrap();
    assert_eq!((rewards.at, rewards.data.known.governor), (town.founding.vault.rewards, town.governor_at()));
    let terms = |vault| NetworkTerms { vault, ..town.founding.providers };
    let find = |vault| NetworkContracts::find(chain, &terms(vault)).map(drop);
    assert!(find(FRIEND).unwrap_err().is_absent());
    let foreign = find(town.founding.vault.minter).unwrap_err();
    assert!(matches!(foreign, NetworkError::Account { part: Part::Vault, fault: AccountFault::ForeignCode { .. }, .. }), "{foreign:?}");
    let mainnet = NetworkTerms { network: NetworkId::MAINNET, ..town.founding.providers };
    assert!(matches!(NetworkContracts::find(chain, &mainnet), Err(NetworkError::Other { part: Part::Vault, .. })));
}

#[test]
fn a_part_that_knows_another_network_is_not_ours() {
    let town = Town::new();
    let network = town.network();
    let mut rewards = network.rewards(&*town.chain).unwrap().data;
    let VaultTerms { registry: registry_at, rewards: rewards_at, .. } = town.founding.vault;
    let with = |at, data: ArcCell| town.forged(at, |account| account.data = Some(data));
    let other = |found: NetworkError| if let NetworkError::Other { part, .. } = found { part } else { panic!("{found:?}") };

    let forged = with(registry_at, RegistryData { vault: FRIEND, ..town.registry() }.to_cell().unwrap());
    assert_eq!(other(network.registry(&forged).unwrap_err()), Part::Registry);
    assert_eq!(other(network.governor(&forged).unwrap_err()), Part::Registry, "nor is anybody believed whom it names");
    rewards.known.vault = FRIEND;
    let forged = with(rewards_at, rewards.to_cell().unwrap());
    assert_eq!(other(network.rewards(&forged).unwrap_err()), Part::Rewards);
    for data in [GovernorData { minter: FRIEND, ..town.governor() }, GovernorData { registry: FRIEND, ..town.governor() }] {
        let forged = with(town.governor_at(), data.to_cell().unwrap());
        assert_eq!(other(network.governor(&forged).unwrap_err()), Part::Governor);
    }
}

#[test]
fn what_is_frozen_is_not_taken_for_what_never_was() {
    let town = Town::new();
    let (network, governor) = (town.network(), town.governor_at());
    assert_eq!(network.lock(&*town.chain, governor, FRIEND).unwrap(), None);
    assert_eq!(network.balance(&*town.chain, FRIEND).unwrap(), Amount::ZERO);
    let frozen = |at| town.forged(at, |account| account.status = AccountStatus::Frozen);
    let lock = network.lock(&frozen(network.lock_of(governor, FRIEND).unwrap()), governor, FRIEND);
    assert!(matches!(lock, Err(NetworkError::Account { part: Part::Lock, fault: AccountFault::Frozen, .. })), "{lock:?}");
    let balance = network.balance(&frozen(town.wallet_of(FRIEND)), FRIEND);
    assert!(matches!(balance, Err(NetworkError::Account { part: Part::Wallet, fault: AccountFault::Frozen, .. })), "{balance:?}");
}

#[test]
fn the_founder_stops_payouts() {
    let town = Town::new();
    town.tell(ContractMessage::Governor(GovernorMessage::Stop));
    assert_eq!(town.governor().stopped_s, town.now_s());
    assert_eq!(town.network().governor(&*town.chain).unwrap().now_s(), town.now_s());
}

#[test]
fn a_founder_that_stands_in_is_told_from_contracts() {
    let town = Town::new();
    let founder = town.owner.account();
    let vault = VaultTerms { registry: founder, rewards: founder, ..town.founding.vault };
    let at = vault.address().unwrap();
    let state_init = Some(vault.state_init().unwrap());
    let outgoing = Outgoing { to: Address::from(at), value: ton(1), bounce: Bounce::No, body: None, state_init };
    town.chain.send_boc(&wallet(21).sign(2, u32::MAX, &[outgoing]).unwrap().boc).unwrap();
    let terms = NetworkTerms { vault: at, ..town.founding.providers };
    let network = NetworkContracts::find(&*town.chain, &terms).unwrap();
    let governor = network.governor(&*town.chain).unwrap_err();
    assert_eq!(governor.to_string(), "this network's founder stands in for its governor");
    assert!(matches!(network.rewards(&*town.chain), Err(NetworkError::StandIn(Part::Rewards))));
    assert!(matches!(network.registry(&*town.chain), Err(NetworkError::StandIn(Part::Registry))));
    assert_eq!(network.balance(&*town.chain, FRIEND).unwrap(), Amount::ZERO, "who never had any has none");
}

#[test]
fn rewards_that_are_not_there_are_refused_before_anything_is_sent() {
    let town = Town::new();
    let terms =
        ProviderTerms { owner: town.owner.account(), operator: requester_key().node_id(), class: 0, network: town.founding.providers };
    let stake = Order::Stake { terms, amount: ton(1), bond: ton(1), operations: Amount::ZERO };
    town.owner.ledger().add_order(stake, town.now()).unwrap();
    town.owner.tick(town.now()).unwrap();
    let contract = terms.address().unwrap();
    for message in [ProviderMessage::TakeReward, ProviderMessage::CollectReward(0)] {
        let refused = town.rehearsed(&Order::Provider { contract, message });
        assert_eq!(refused.failure().unwrap().exit_code, Some(Exit::NothingToSend.code()), "{message:?}");
    }
}
