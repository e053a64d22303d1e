//! What an owner of COCOON tells the contracts of its network, on a chain that has all of them.

use std::collections::BTreeMap;

use super::super::stake::verify_provider;
use super::*;
use crate::contract::jetton::Genesis;
use crate::contract::{
    Action, AuditorSet, ContractMessage, GovernorData, GovernorMessage, GovernorTerms, LockData, LockMessage, MinterData, MinterTerms,
    Purpose, RegistryData, RegistryMessage, RegistryTerms, RewardsIntroduction, RewardsTerms, VaultMessage, WalletData,
};
use crate::economy::locks::{WEEK_S, week_of};
use crate::economy::parameter::Parameter;
use crate::economy::votes::{DELAY_S, Phase, VOTE_S};
use crate::ledger::OrderId;
use crate::ledger::testing::copy;

const FOUNDER: u8 = 23;
const FRIEND: ContractAddress = ContractAddress([0xcc; 32]);
const EPOCH_S: u32 = 3_600;
const DAY_S: u32 = 86_400;

/// A network with its token and its votes, whose founder's COCOON for stakers is the owner's.
struct Town {
    chain: Arc<Embedded>,
    clock: Arc<ManualClock>,
    store: MemoryStore,
    owner: Settler,
    minter: MinterTerms,
    governor: GovernorTerms,
    registry: RegistryTerms,
    vault: VaultTerms,
    network: NetworkTerms,
}

impl Town {
    fn new() -> Self {
        let (chain, clock) = chain(Blocks::Instant);
        for seed in [21, FOUNDER] {
            chain.fund(&wallet(seed).address(), ton(100)).unwrap();
        }
        let (founder, network) = (wallet(FOUNDER).account(), NetworkId::DEVNET);
        let minter = MinterTerms { network, founder };
        let rewards = RewardsTerms { network, founder, half_life: 730, commitment: Digest([0; 32]), keys: BTreeMap::new() };
        let start_s = u32::try_from(START_MS / 1000).unwrap();
        let governor = GovernorTerms { network, founder, minter: minter.address().unwrap(), guardian: founder, start_s };
        let (treasury, rewards_account) = (governor.address().unwrap(), rewards.address().unwrap());
        let registry = RegistryTerms { network, governor: treasury, founder, auditors: AuditorSet::NOBODY, keys: BTreeMap::new() };
        let vault = VaultTerms {
            network,
            treasury,
            registry: registry.address().unwrap(),
            minter: minter.address().unwrap(),
            rewards: rewards_account,
            epoch_s: EPOCH_S,
        };
        let providers = NetworkTerms {
            network,
            vault: vault.address().unwrap(),
            dispute: founder,
            rewards: rewards_account,
            fee_bps: 500,
            unbond_s: 600,
            epoch_s: EPOCH_S,
            answer_s: 60,
        };
        let store = MemoryStore::default();
        let chain = Arc::new(chain);
        let ledger = Arc::new(Ledger::open(store.clone(), requester_key()).unwrap());
        let owner = Settler::new(Arc::clone(&chain) as _, wallet(21), ledger);
        let town = Self { chain, clock, store, owner, minter, governor, registry, vault, network: providers };
        town.found(&rewards);
        town
    }

    fn found(&self, rewards: &RewardsTerms) {
        let [governor, registry, vault, minter] = [
            self.governor.address().unwrap(),
            self.registry.address().unwrap(),
            self.vault.address().unwrap(),
            self.minter.address().unwrap(),
        ];
        let (at, founder) = (rewards.address().unwrap(), wallet(FOUNDER).account());
        let genesis = Genesis { reserve: at, treasury: governor, stakers: self.owner.account(), opening: founder };
        let whom = RewardsIntroduction { providers: self.network, registry, governor, minter };
        for (to, state_init, body) in [
            (minter, self.minter.state_init(), Some(genesis.to_cell(0).unwrap())),
            (at, rewards.state_init(), Some(whom.to_cell(0).unwrap())),
            (governor, self.governor.state_init(), Some(GovernorMessage::Introduce { registry, rewards: at }.to_cell(0).unwrap())),
            (registry, self.registry.state_init(), Some(RegistryMessage::Introduce { vault, rewards: at }.to_cell(0).unwrap())),
            (vault, self.vault.state_init(), None),
        ] {
            let value = nano(500_000_000);
            let outgoing = Outgoing { to: Address::from(to), value, bounce: Bounce::No, body, state_init: Some(state_init.unwrap()) };
            let seqno = next_seqno(&self.chain.account(&wallet(FOUNDER).address()).unwrap()).unwrap();
            self.chain.send_boc(&wallet(FOUNDER).sign(seqno, u32::MAX, &[outgoing]).unwrap().boc).unwrap();
        }
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

    fn wallet_of(&self, owner: ContractAddress) -> ContractAddress {
        WalletData::new(owner, self.minter.address().unwrap()).address().unwrap()
    }

    /// COCOON, in whole ones.
    fn cocoon(&self, owner: ContractAddress) -> u128 {
        WalletData::from_cell(&self.data(self.wallet_of(owner))).unwrap().balance.nano() / 1_000_000_000
    }

    fn vault(&self) -> VaultData {
        VaultData::from_cell(&self.data(self.vault.address().unwrap())).unwrap()
    }

    fn governor(&self) -> GovernorData {
        GovernorData::from_cell(&self.data(self.governor.address().unwrap())).unwrap()
    }

    fn registry(&self) -> RegistryData {
        RegistryData::from_cell(&self.data(self.registry.address().unwrap())).unwrap()
    }

    fn lock_account(&self) -> ContractAddress {
        LockData::new(self.owner.account(), self.governor.address().unwrap()).address().unwrap()
    }

    fn lock(&self) -> LockData {
        LockData::from_cell(&self.data(self.lock_account())).unwrap()
    }

    fn order(&self, message: ContractMessage) -> Order {
        let contract = match &message {
            ContractMessage::Move { .. } | ContractMessage::Burn(_) => self.wallet_of(self.owner.account()),
            ContractMessage::Vault(_) => self.vault.address().unwrap(),
            ContractMessage::Lock(_) => self.lock_account(),
            ContractMessage::Governor(_) => self.governor.address().unwrap(),
        };
        Order::tell(contract, message).unwrap()
    }

    fn give(&self, message: ContractMessage) -> OrderId {
        self.owner.ledger().add_order(self.order(message), self.now()).unwrap()
    }

    /// Carries an order out, and checks that nothing that follows from it fails.
    fn tell(&self, message: ContractMessage) {
        let before = self.chain.head().unwrap().seqno;
        self.give(message.clone());
        let progress = self.owner.tick(self.now()).unwrap();
        assert!(matches!(progress[..], [Progress::Sent { .. }, Progress::Confirmed { .. }]), "{message:?}: {progress:?}");
        for seqno in before + 1..=self.chain.head().unwrap().seqno {
            for done in self.chain.block_transactions(seqno).unwrap() {
                let bounced = done.in_message.as_ref().is_some_and(|message| message.bounced);
                assert!(done.success && !bounced, "{message:?}: {done:?}");
            }
        }
    }

    fn moved(amount: u128, to: ContractAddress, purpose: Purpose) -> ContractMessage {
        ContractMessage::Move { amount: ton(amount), to, purpose }
    }

    fn lock_for(&self, amount: u128, weeks: u32) {
        let ends_week = week_of(self.now_s()) + weeks;
        self.tell(Self::moved(amount, self.governor.address().unwrap(), Purpose::Lock { ends_week }));
    }

    /// What the owner has paid in TON for good.
    fn paid(&self, before: Amount) -> Amount {
        before.saturating_sub(self.owner.balance().unwrap())
    }
}

#[test]
fn cocoon_is_moved_and_burned_and_what_that_does_not_cost_comes_back() {
    let town = Town::new();
    assert_eq!(town.cocoon(town.owner.account()), 40_000_000);
    let before = town.owner.balance().unwrap();
    town.tell(Town::moved(1_000, FRIEND, Purpose::Nothing));
    assert!(town.paid(before) < nano(15_000_000), "but for the friend's new wallet: {}", town.paid(before));
    town.tell(ContractMessage::Burn(ton(500)));
    assert_eq!((town.cocoon(town.owner.account()), town.cocoon(FRIEND)), (39_998_500, 1_000));
    assert_eq!(MinterData::from_cell(&town.data(town.minter.address().unwrap())).unwrap().supply, ton(399_999_500));
    assert!(town.paid(before) < nano(18_000_000), "{}", town.paid(before));
}

#[test]
fn more_than_there_is_is_refused_and_nothing_is_moved() {
    let town = Town::new();
    let id = town.give(ContractMessage::Burn(ton(40_000_001)));
    let progress = town.owner.tick(town.now()).unwrap();
    assert!(
        progress.contains(&Progress::Failed { order: id, reason: OrderFailure::Refused(Exit::BalanceTooSmall.code()) }),
        "{progress:?}"
    );
    assert_eq!(town.cocoon(town.owner.account()), 40_000_000);
}

#[test]
fn a_fee_is_sold_for_cocoon_that_is_burned_or_paid_ahead_in_it() {
    let town = Town::new();
    let vault = town.vault.address().unwrap();
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
    assert_eq!((town.cocoon(town.owner.account()), town.vault().auction.unburned), (39_999_800, ton(200)), "for less it comes back");

    let terms = ProviderTerms { owner: town.owner.account(), operator: requester_key().node_id(), class: 0, network: town.network };
    let provider = terms.address().unwrap();
    let stake = Order::Stake { terms, amount: ton(1), bond: ton(1), operations: Amount::ZERO };
    town.owner.ledger().add_order(stake, town.now()).unwrap();
    town.owner.tick(town.now()).unwrap();
    town.tell(Town::moved(45, vault, Purpose::Credit { provider }));
    let account = town.chain.account(&Address::from(provider)).unwrap();
    let view = verify_provider(&account, provider, requester_key().node_id(), &town.network).unwrap();
    assert_eq!(view.data.rewards.credit, ton(1), "50 for a TON, less a tenth");

    town.wait_s(EPOCH_S);
    town.tell(ContractMessage::Vault(VaultMessage::CloseEpoch));
    let supply = MinterData::from_cell(&town.data(town.minter.address().unwrap())).unwrap().supply;
    assert_eq!(supply, ton(400_000_000 - 245), "what was paid is burned");
    town.tell(ContractMessage::Vault(VaultMessage::PayTreasury));
    assert_eq!(town.vault().treasury, Amount::ZERO);
}

#[test]
fn what_is_locked_votes_and_what_is_decided_is_carried_out() {
    let town = Town::new();
    town.lock_for(1_000_000, 52);
    assert_eq!((town.lock().amount, town.cocoon(town.governor.address().unwrap())), (ton(1_000_000), 21_000_000));
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
    let action = Action::SpendCocoon { to: FRIEND, amount: ton(7) };
    town.tell(ContractMessage::Lock(LockMessage::Propose(action.clone())));
    town.wait_s(DELAY_S);
    town.tell(ContractMessage::Lock(LockMessage::Vote { number: 0, is_yes: true }));
    town.wait_s(VOTE_S + 7 * DAY_S);
    town.tell(ContractMessage::Governor(GovernorMessage::Execute { number: 0, action }));
    assert_eq!(town.cocoon(FRIEND), 7);
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
    assert_eq!((town.lock().amount, town.cocoon(town.owner.account())), (Amount::ZERO, 40_000_000));
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
    let shown = |message: ContractMessage| {
        let preview = town.owner.preview(&town.order(message)).unwrap();
        let [owner, vault] = [town.owner.account(), town.vault.address().unwrap()];
        let reached = [owner, town.wallet_of(owner), town.wallet_of(vault), vault].map(Address::from);
        rehearse(&*town.chain, &preview.message.bytes().unwrap(), &reached).unwrap()
    };
    let vault = town.vault.address().unwrap();
    let refused = shown(Town::moved(40_000_001, vault, Purpose::Bid { least: 1 }));
    assert_eq!(refused.failure().unwrap().exit_code, Some(Exit::BalanceTooSmall.code()));
    let fits = shown(Town::moved(10, vault, Purpose::Bid { least: 1 }));
    assert!(fits.failure().is_none() && fits.transactions.len() > 6, "there is nothing to buy, and all comes back");
    assert_eq!(town.cocoon(town.owner.account()), 40_000_000, "nothing was done");
}
