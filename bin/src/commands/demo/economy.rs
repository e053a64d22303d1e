//! What becomes of the fees: an epoch closes, an auction burns COCOON for them, a proof of audited work earns some, and a vote changes how.
//!
//! It takes weeks on a network. Here the chain's clock is set forward, and nothing else is different: the contracts are those that a network
//! is founded with, and each message is an order as a node's wallet would carry it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cocoon_market::certificate::Segment;
use cocoon_market::{Amount, Certificate, ContractAddress, Timestamp};
use cocoon_settlement::attest::auditor::DevelopmentAuditor;
use cocoon_settlement::attest::evidence::Evidence;
use cocoon_settlement::attest::groth16::{Circuit, Size, development_seed, setup};
use cocoon_settlement::chain::embedded::{Clock, Embedded, system_clock};
use cocoon_settlement::chain::{Address, Chain as _, Faucet as _};
use cocoon_settlement::contract::{
    Action, Attested, ContractMessage, Decision, GovernorMessage, LockMessage, MinterData, NetworkTerms, ProofBytes, ProviderData,
    ProviderMessage, Purpose, RewardsData, VaultMessage,
};
use cocoon_settlement::economy::auction::BID_MIN;
use cocoon_settlement::economy::genesis;
use cocoon_settlement::economy::locks::{LOCK_WEEKS_MAX, WEEK_S};
use cocoon_settlement::economy::parameter::Parameter;
use cocoon_settlement::economy::votes::{DELAY_S, VOTE_S};
use cocoon_settlement::ledger::Order;
use cocoon_settlement::settler::{NetworkContracts, NetworkError, outgoing};
use cocoon_settlement::wallet::{OwnerWallet, next_seqno};

use super::stage::BLOCK_TIME;
use super::story::Story;
use super::{DemoError, PATIENCE};
use crate::chain::poll_any;
use crate::config::{development_auditors, devnet_founder};

/// How long a signed message can take effect, in seconds of the chain's clock.
const VALID_S: u32 = 600;

/// What the founder's messages carry, most of which comes back.
const FUNDS: Amount = Amount::from_nano(2_000_000_000);

/// What is locked to vote with: a part of what the founder was given to hand on.
const LOCKED: Amount = Amount::from_nano(1_000_000_000_000_000);

/// What the vote makes of an auction's time: 18 hours, a tenth less than it was.
const AUCTION_S: u64 = 64_800;

/// A chain's clock that can be set forward.
#[derive(Clone, Default)]
pub(super) struct Forward(Arc<AtomicU64>);

impl Forward {
    /// What the chain reads.
    pub(super) fn clock(&self) -> Clock {
        let (forward, system) = (Arc::clone(&self.0), system_clock());
        Arc::new(move || Timestamp(system().0.saturating_add(forward.load(Ordering::SeqCst))))
    }

    /// The time it shows, in seconds since the Unix epoch.
    fn now_s(&self) -> u64 {
        let Timestamp(now_ms) = (self.clock())();
        now_ms.checked_div(1000).unwrap_or(0)
    }

    fn skip(&self, seconds: u32) {
        self.0.fetch_add(u64::from(seconds).saturating_mul(1000), Ordering::SeqCst);
    }
}

/// The provider that earns, and the channel of the work that is certified.
#[derive(Debug)]
pub(super) struct Earner {
    /// Its name in the story.
    pub(super) name: &'static str,
    /// Its owner's wallet.
    pub(super) owner: Arc<OwnerWallet>,
    /// Its contract.
    pub(super) contract: ContractAddress,
    /// What was looked at.
    pub(super) segment: Segment,
}

/// Everything the second half works with.
pub(super) struct Economy {
    chain: Arc<Embedded>,
    forward: Forward,
    founder: OwnerWallet,
    terms: NetworkTerms,
    story: Story,
}

impl Economy {
    /// On this chain, in a network of these terms.
    pub(super) fn new(chain: Arc<Embedded>, forward: Forward, terms: NetworkTerms, story: Story) -> Result<Self, DemoError> {
        Ok(Self { chain, forward, founder: devnet_founder()?, terms, story })
    }

    /// The whole half. It blocks.
    pub(super) fn tell(&self, earner: &Earner) -> Result<(), DemoError> {
        self.fund()?;
        self.story.chapter("The epoch closes, and its fees are auctioned (the chain's clock is set forward)");
        let epoch = self.close_epoch()?;
        self.bid()?;
        self.story.chapter("The next one closes, and the fees can be claimed for with a proof of audited work");
        self.close_epoch()?;
        self.burned()?;
        self.attest(earner, epoch)?;
        self.close_epoch()?;
        self.collect(earner, epoch)?;
        self.story.chapter("Who holds COCOON decides: an auction is to take 18 hours instead of 20");
        self.vote()?;
        self.take(earner)
    }

    /// TON for all that the founder is going to say: founding the network left it little.
    fn fund(&self) -> Result<(), DemoError> {
        let founder = self.founder.address();
        self.chain.fund(&founder, FUNDS)?;
        self.wait("the faucet's transfer", || Ok((self.chain.account(&founder)?.balance >= FUNDS).then_some(())))
    }

    fn contracts(&self) -> Result<NetworkContracts, DemoError> {
        Ok(NetworkContracts::find(&*self.chain, &self.terms)?)
    }

    /// The time of the chain's clock, as contracts count it.
    fn now_s(&self) -> u32 {
        u32::try_from(self.forward.now_s()).unwrap_or(u32::MAX)
    }

    fn rewards(&self) -> Result<RewardsData, DemoError> {
        Ok(self.contracts()?.rewards(&*self.chain)?.data)
    }

    fn provider(&self, contract: ContractAddress) -> Result<ProviderData, DemoError> {
        let data = self.chain.account(&Address::from(contract))?.data;
        data.and_then(|data| ProviderData::from_cell(&data).ok()).ok_or(DemoError::Late("the provider's contract"))
    }

    /// Carries an order from this wallet, and waits until the chain shows what it is for.
    fn carry<T>(
        &self,
        wallet: &OwnerWallet,
        order: &Order,
        what: &'static str,
        shown: impl FnMut() -> Result<Option<T>, DemoError>,
    ) -> Result<T, DemoError> {
        let seqno = next_seqno(&self.chain.account(&wallet.address())?)?;
        let valid_until = self.now_s().saturating_add(VALID_S);
        let message = outgoing(order, wallet.account(), 0)?;
        let signed = wallet.sign(seqno, valid_until, &[message])?;
        self.chain.send_boc(&signed.boc)?;
        self.wait(what, shown)
    }

    /// The same with what the founder tells a contract.
    fn told<T>(
        &self,
        contract: ContractAddress,
        message: ContractMessage,
        what: &'static str,
        shown: impl FnMut() -> Result<Option<T>, DemoError>,
    ) -> Result<T, DemoError> {
        self.carry(&self.founder, &Order::tell(contract, message)?, what, shown)
    }

    /// Waits for the end of the vault's epoch and closes it.
    fn close_epoch(&self) -> Result<u32, DemoError> {
        let before = self.contracts()?.vault().data;
        self.forward.skip(before.terms.epoch_s);
        let closed = before.epoch.number;
        self.told(self.terms.vault, ContractMessage::Vault(VaultMessage::CloseEpoch), "the end of the epoch", || {
            Ok((self.contracts()?.vault().data.epoch.number > closed).then_some(()))
        })?;
        self.story.epoch_closed(closed, &self.contracts()?.vault().data);
        Ok(closed)
    }

    /// The founder bids for the whole lot, once the rate has fallen for a while.
    fn bid(&self) -> Result<(), DemoError> {
        let contracts = self.contracts()?;
        let vault = contracts.vault().data;
        self.forward.skip(vault.auction.duration_s / 2);
        let auction = vault.auction_now();
        let now_s = self.forward.now_s();
        let rate = auction.rate(now_s)?.ok_or(DemoError::Late("the auction"))?;
        // Twice what all of it is worth now: the rate only falls, and what is too much comes back.
        let amount = rate.value(auction.left())?.checked_mul(2)?.max(BID_MIN);
        let bid = ContractMessage::Move { amount, to: self.terms.vault, purpose: Purpose::Bid { least: 0 } };
        let wallet = contracts.wallet_of(self.founder.account())?;
        let after = self.told(wallet, bid, "the bid", || {
            let after = self.contracts()?.vault().data;
            Ok((!after.auction.paid.is_zero()).then_some(after))
        })?;
        let bought = vault.unsold.saturating_sub(after.unsold);
        self.story.bid(rate, amount, bought, after.auction.paid);
        Ok(())
    }

    /// Waits until what was paid is burned, and says what is left of all COCOON.
    fn burned(&self) -> Result<(), DemoError> {
        let minter = Address::from(self.contracts()?.minter());
        let supply = || -> Result<Option<Amount>, DemoError> {
            let data = self.chain.account(&minter)?.data;
            let supply = data.and_then(|data| MinterData::from_cell(&data).ok()).map(|data| data.supply);
            Ok(supply.filter(|supply| *supply < genesis::CAP))
        };
        let left = self.wait("the burn", supply)?;
        self.story.burned(left);
        Ok(())
    }

    /// Looks at the chain again and again until it shows something.
    fn wait<T>(&self, what: &'static str, shown: impl FnMut() -> Result<Option<T>, DemoError>) -> Result<T, DemoError> {
        poll_any(PATIENCE, BLOCK_TIME / 5, shown)?.ok_or(DemoError::Late(what))
    }

    /// The development auditor certifies the work behind the provider's claim, the proof is made here and now, and the contract checks it.
    fn attest(&self, earner: &Earner, epoch: u32) -> Result<(), DemoError> {
        self.wait("the claims for the epoch", || Ok(self.rewards()?.claims.filter(|claims| claims.epoch == epoch)))?;
        let data = self.provider(earner.contract)?;
        let booked = data.rewards.epochs.get(&epoch).map_or(Amount::ZERO, |fees| fees.booked);
        let certificate = Certificate {
            network: self.terms.network,
            provider: earner.contract,
            epoch,
            claim: data.claims,
            fee_nanoton: u64::try_from(booked.nano()).unwrap_or(u64::MAX),
            segment: earner.segment.digest(),
        };
        let (attested, took) = prove(certificate)?;
        self.story.proven(earner.name, &attested, took);
        let order = Order::Provider { contract: earner.contract, message: ProviderMessage::Attest(attested) };
        let part = self.carry(&self.founder, &order, "the registration of the proof", || {
            let part = self.provider(earner.contract)?.rewards.epochs.get(&epoch).map(|fees| fees.part);
            Ok(part.filter(|part| !part.is_zero()))
        })?;
        self.story.registered(part);
        Ok(())
    }

    /// The epoch's reward comes to the provider's contract.
    fn collect(&self, earner: &Earner, epoch: u32) -> Result<(), DemoError> {
        self.wait("the epoch's payout", || Ok(self.rewards()?.payouts.get(&epoch).copied()))?;
        let order = Order::Provider { contract: earner.contract, message: ProviderMessage::CollectReward(epoch) };
        let vesting = self.carry(&self.founder, &order, "the reward", || {
            let vesting = self.provider(earner.contract)?.rewards.vesting;
            let (free, locked) = (vesting.free(self.now_s())?, vesting.locked(self.now_s())?);
            Ok((!free.is_zero()).then_some((free, locked)))
        })?;
        let (free, locked) = vesting;
        self.story.rewarded(earner.name, free, locked);
        Ok(())
    }

    /// The owner takes what is free by now.
    fn take(&self, earner: &Earner) -> Result<(), DemoError> {
        let order = Order::Provider { contract: earner.contract, message: ProviderMessage::TakeReward };
        let taken = self.carry(&earner.owner, &order, "the owner's COCOON", || {
            let balance = self.contracts()?.balance(&*self.chain, earner.owner.account())?;
            Ok((!balance.is_zero()).then_some(balance))
        })?;
        let left = self.provider(earner.contract)?.rewards.vesting.locked(self.now_s())?;
        self.story.taken(earner.name, taken, left);
        Ok(())
    }

    /// Locks, proposes, votes, waits for the timelock, and carries out.
    fn vote(&self) -> Result<(), DemoError> {
        let governor = self.contracts()?.governor(&*self.chain)?.at;
        let lock = self.lock(governor)?;
        let action = Action::SetParameter { which: Parameter::AuctionSeconds.place(), value: AUCTION_S };
        let number = self.contracts()?.governor(&*self.chain)?.data.next;
        let proposal = ContractMessage::Lock(LockMessage::Propose(action.clone()));
        self.told(lock, proposal, "the proposal", || Ok(self.decision(number)?.map(drop)))?;
        self.story.proposed(number, AUCTION_S);
        self.forward.skip(DELAY_S);
        let vote = ContractMessage::Lock(LockMessage::Vote { number, is_yes: true });
        let decision = self.told(lock, vote, "the vote", || Ok(self.decision(number)?.filter(|its| !its.yes.is_zero())))?;
        self.story.voted(number, decision.yes, decision.all);
        let timelock_s = decision.proposal().map_err(NetworkError::from)?.timelock_s();
        self.forward.skip(VOTE_S.saturating_add(timelock_s));
        let execute = ContractMessage::Governor(GovernorMessage::Execute { number, action });
        self.told(governor, execute, "the change", || {
            let seconds = self.contracts()?.vault().data.auction.next_duration_s;
            Ok((u64::from(seconds) == AUCTION_S).then_some(()))
        })?;
        self.story.executed(number, AUCTION_S);
        Ok(())
    }

    /// Locks COCOON for as long as it can be, and waits until the lock is counted.
    fn lock(&self, governor: ContractAddress) -> Result<ContractAddress, DemoError> {
        let contracts = self.contracts()?;
        let owner = self.founder.account();
        let week = self.now_s().checked_div(WEEK_S).unwrap_or(0);
        let purpose = Purpose::Lock { ends_week: week.saturating_add(LOCK_WEEKS_MAX) };
        let message = ContractMessage::Move { amount: LOCKED, to: governor, purpose };
        let lock = self.told(contracts.wallet_of(owner)?, message, "the lock", || {
            Ok(contracts.lock(&*self.chain, governor, owner)?.filter(|lock| lock.data.since_s.is_some() && !lock.data.amount.is_zero()))
        })?;
        self.story.locked(lock.data.amount, lock.data.ends_s());
        // A lock counts in votes on what is proposed after it was made.
        self.forward.skip(1);
        Ok(lock.at)
    }

    fn decision(&self, number: u32) -> Result<Option<Decision>, DemoError> {
        Ok(self.contracts()?.governor(&*self.chain)?.data.proposals.get(&number).copied())
    }
}

/// Makes the keys and the proof: that the certificate holds, and nothing of who signed it.
fn prove(certificate: Certificate) -> Result<(Attested, Duration), DemoError> {
    let start = Instant::now();
    let auditor = DevelopmentAuditor::new(certificate.network, 0)?;
    let certified = auditor.certify(certificate)?;
    let evidence = Evidence::new(development_auditors(certificate.network)?.keys(), &[certified.audited])?;
    let circuit = Circuit::Attestation(Size::Four);
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let key = setup(circuit, &development_seed(), threads)?;
    let mut blinding = [0u8; 32];
    getrandom::fill(&mut blinding).map_err(DemoError::Random)?;
    let proof = key.prove_attestation(&evidence, threads, &blinding)?;
    let said = evidence.statement();
    let (lo, hi, fees) = (said.first, said.last, said.total_nanoton);
    let proof = ProofBytes(proof.to_bytes());
    Ok((Attested { epoch: said.epoch, circuit: circuit.number(), lo, hi, fees, proof }, start.elapsed()))
}

#[cfg(test)]
mod tests {
    use cocoon_settlement::chain::embedded::{Blocks, Options};

    use super::*;
    use crate::config::devnet_founding;
    use crate::deployment::ensure_devnet;
    use crate::environment::Environment;
    use crate::output::{Format, Output};

    #[test]
    fn a_vote_changes_how_long_an_auction_takes() {
        let forward = Forward::default();
        let chain = Arc::new(Embedded::in_memory(Options { blocks: Blocks::Instant, clock: forward.clock() }).unwrap());
        let founding = devnet_founding().unwrap();
        ensure_devnet(&*chain, &*chain, &devnet_founder().unwrap(), &founding, PATIENCE).unwrap();
        let economy = Economy::new(
            Arc::clone(&chain),
            forward,
            founding.providers,
            Story::new(Output::new(Format::Json, true, &Environment::default())),
        )
        .unwrap();
        economy.fund().unwrap();
        economy.vote().unwrap();
        assert_eq!(u64::from(economy.contracts().unwrap().vault().data.auction.next_duration_s), AUCTION_S);
    }
}
