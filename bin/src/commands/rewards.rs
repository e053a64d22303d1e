//! `swarm rewards`: what verified usage earned, and what of it is free.

use std::borrow::Cow;
use std::path::PathBuf;

use cocoon_market::Amount;
use cocoon_settlement::attest::papers::{ATTESTATION_BYTES_MAX, Attestation, PaperError};
use cocoon_settlement::chain::{Address, Bounce, Chain};
use cocoon_settlement::contract::{ProviderMessage, ProviderTerms, RewardsData};
use cocoon_settlement::ledger::Order;
use cocoon_settlement::settler::{NetworkContracts, Placed, ProviderView};
use serde::Serialize;

use super::auction::provider_at;
use super::blocking;
use super::looking::{Look, own_terms};
use super::telling::{Ask, Course, Scene, Session, TellError, own_contract, tell};
use crate::cli::{RewardsArgs, RewardsCommand, SendingArgs};
use crate::context::Context;
use crate::durable::read_at_most;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{Table, cocoon_text, time_text, ton_text};
use crate::wiring::desk::DeskError;

/// Why no reward moves.
#[derive(Debug, thiserror::Error)]
enum RewardError {
    #[error("payments are stopped until {}", time_text(*.0))]
    Stopped(u64),
    #[error("cannot read {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is no attestation", path.display())]
    Paper {
        path: PathBuf,
        #[source]
        source: PaperError,
    },
    #[error("the attestation is for another network")]
    Network,
    #[error("the attestation is for epoch {epoch}, and {}", open_text(*open))]
    NotOpen { epoch: u32, open: Option<u32> },
    #[error("the attestation is for other auditors than the registry has now")]
    Auditors,
    #[error("an attestation of this provider is under way")]
    Pending,
    #[error("the attestation begins with claim {first}, and claim {last} was rewarded")]
    Claimed { first: u64, last: u64 },
    #[error("the attestation is for {} of fees, and {} of that epoch can be claimed for", ton_text(*asked), ton_text(*left))]
    OverFees { asked: Amount, left: Amount },
    #[error("nothing can be collected")]
    NothingToCollect,
    #[error("nothing of epoch {0} can be collected")]
    NoPart(u32),
    #[error("the claims for epoch {0} are not closed")]
    Open(u32),
    #[error("nothing is free yet: {} is vesting", cocoon_text(*vesting))]
    NothingFree { vesting: Amount },
}

impl NextStep for RewardError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::File { .. } => "the path of a file that this user may read".into(),
            Self::Paper { .. } => "a file that swarm attest prove wrote".into(),
            Self::Network => "the home of that network: --home DIR".into(),
            Self::NotOpen { epoch, open } if open.is_none_or(|open| open < *epoch) => {
                "again when the fees of that epoch are sold; swarm auction says when that can be".into()
            }
            Self::NotOpen { .. } => "attestations of the epoch that is open: earlier ones cannot be claimed for any more".into(),
            Self::Auditors => "swarm attest prove again, with certificates of the auditors that are listed now".into(),
            Self::Pending => "again in a minute; swarm rewards shows whether it is".into(),
            Self::Claimed { .. } | Self::OverFees { .. } => {
                "swarm rewards, which shows what was claimed; swarm attest prove again without what was rewarded".into()
            }
            Self::Stopped(_) => "again after that: an emergency stop ends by itself".into(),
            Self::NothingToCollect | Self::NoPart(_) => "swarm rewards, which shows what was booked and claimed of each epoch".into(),
            Self::Open(_) => "again when the epoch after it is closed: swarm auction says when that can be".into(),
            Self::NothingFree { .. } => "again later; swarm rewards shows until when it vests".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::File { .. } | Self::Paper { .. } | Self::Network => Exit::Usage,
            Self::NotOpen { .. }
            | Self::Auditors
            | Self::Pending
            | Self::Claimed { .. }
            | Self::OverFees { .. }
            | Self::Stopped(_)
            | Self::NothingToCollect
            | Self::NoPart(_)
            | Self::Open(_)
            | Self::NothingFree { .. } => Exit::Failed,
        }
    }
}

fn open_text(open: Option<u32>) -> String {
    open.map_or("nothing can be claimed for yet".to_owned(), |open| format!("epoch {open} is claimed for"))
}

/// Runs `swarm rewards`.
///
/// # Errors
/// No keys, no chain, no rewards, or a contract that refuses.
pub async fn run(context: &Context, args: RewardsArgs) -> Result<(), Failure> {
    match args.command {
        None => {
            let context = context.clone();
            blocking(move || show(&context)).await
        }
        Some(RewardsCommand::Claim { files, sending }) => claim(context, files, sending).await,
        Some(RewardsCommand::Collect { epoch, sending }) => {
            tell(context, sending, "collected", move |scene| ask_to_collect(scene, epoch), after, State::text).await
        }
        Some(RewardsCommand::Take { sending }) => tell(context, sending, "taken", ask_to_take, after, State::text).await,
    }
}

/// Delivers attestations one after the other: a provider's contract takes the next when the rewards have answered the last.
async fn claim(context: &Context, files: Vec<PathBuf>, sending: SendingArgs) -> Result<(), Failure> {
    let mut papers = blocking(move || files.into_iter().map(read).collect::<Result<Vec<_>, _>>()).await?;
    papers.sort_by_key(|paper| (paper.statement.provider, paper.statement.first));
    let mut session = Session::open(context, sending).await?;
    let mut told = Ok(());
    for paper in papers {
        told = session.tell("claimed", move |scene| ask_to_claim(scene, &paper), after, State::text).await;
        if told.is_err() {
            break;
        }
    }
    session.close().await;
    told
}

/// An attestation from a file, of which no more is read than one can have.
fn read(path: PathBuf) -> Result<Attestation, RewardError> {
    match read_at_most(&path, ATTESTATION_BYTES_MAX) {
        Err(source) => Err(RewardError::File { path, source }),
        Ok(bytes) => Attestation::from_json(&bytes).map_err(|source| RewardError::Paper { path, source }),
    }
}

/// Whether the contracts would take an attestation, its proof aside.
fn check_claim(paper: &Attestation, rewards: &RewardsData, view: &ProviderView) -> Result<(), RewardError> {
    let (statement, its) = (&paper.statement, &view.data.rewards);
    if statement.network != rewards.network {
        return Err(RewardError::Network);
    }
    let open = rewards.claims.map(|claims| claims.epoch);
    if open != Some(statement.epoch) {
        return Err(RewardError::NotOpen { epoch: statement.epoch, open });
    }
    if statement.auditors.to_be_bytes() != rewards.commitment.0 {
        return Err(RewardError::Auditors);
    }
    if its.is_pending {
        return Err(RewardError::Pending);
    }
    if statement.first <= its.last_claim {
        return Err(RewardError::Claimed { first: statement.first, last: its.last_claim });
    }
    let fees = its.epochs.get(&statement.epoch).copied().unwrap_or_default();
    let (asked, left) = (Amount::from_nano(statement.total_nanoton.into()), fees.booked.saturating_sub(fees.claimed));
    if asked > left { Err(RewardError::OverFees { asked, left }) } else { Ok(()) }
}

fn ask_to_claim(scene: &Scene, paper: &Attestation) -> Result<Ask, Failure> {
    let network = scene.network()?;
    let rewards = running(&network, scene.chain())?;
    let view = provider_at(scene.chain(), &network, paper.statement.provider)?;
    check_claim(paper, &rewards.data, &view)?;
    let fees = Amount::from_nano(paper.statement.total_nanoton.into());
    let changes = format!("rewards for {} of fees of epoch {} would be claimed", ton_text(fees), paper.statement.epoch);
    ask(scene, &network, &view, ProviderMessage::Attest(paper.claim()), changes)
}

/// The reserve and a provider's rewards as they are shown.
#[derive(Clone, Debug, Serialize)]
struct State {
    rewards: Address,
    /// Epochs that are closed, and what all of them paid together.
    epochs_closed: u32,
    released_nanococoon: Amount,
    /// The most that the open one may pay.
    budget_nanococoon: Amount,
    /// Burned by auctions so far.
    burned_nanococoon: Amount,
    /// Promised and not yet sent.
    owed_nanococoon: Amount,
    /// The epoch that is claimed for now, if any is.
    claims_epoch: Option<u32>,
    /// In seconds since the Unix epoch; 0 if payments are not stopped.
    stopped_until_s: u32,
    /// This node's; none where its contract is not deployed.
    own: Option<Own>,
}

#[derive(Clone, Debug, Serialize)]
struct Own {
    contract: Address,
    epochs: Vec<Epoch>,
    free_nanococoon: Amount,
    vesting_nanococoon: Amount,
    /// When all of that is free, in seconds since the Unix epoch; 0 when nothing vests.
    vested_s: u32,
    /// Fees that were paid ahead in COCOON.
    credit_nanoton: Amount,
    /// Whether an attestation is under way.
    pending: bool,
}

/// What is known of an epoch of the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Epoch {
    epoch: u32,
    booked_nanoton: Amount,
    claimed_nanoton: Amount,
    /// What the claims burned, until the reward is collected.
    part_nanococoon: Amount,
    stage: Stage,
}

/// What can be done about an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// Its fees are not sold yet.
    Waiting,
    /// It can be claimed for.
    Claimable,
    /// Its reward can be collected.
    Collectable,
    /// Nothing more can be done.
    Over,
}

impl Stage {
    const fn text(self) -> &'static str {
        match self {
            Self::Waiting => "waits for its auction",
            Self::Claimable => "can be claimed for",
            Self::Collectable => "swarm rewards collect",
            Self::Over => "over",
        }
    }

    fn of(rewards: &RewardsData, epoch: u32, part: Amount) -> Self {
        let open = rewards.claims.map(|claims| claims.epoch);
        match open {
            Some(open) if open == epoch => Self::Claimable,
            Some(open) if epoch < open && !part.is_zero() && rewards.payouts.contains_key(&epoch) => Self::Collectable,
            Some(open) if epoch < open => Self::Over,
            Some(_) | None => Self::Waiting,
        }
    }
}

impl Own {
    fn of(rewards: &RewardsData, view: &ProviderView) -> Result<Self, DeskError> {
        let (its, now_s) = (&view.data.rewards, view.now_s());
        let vesting_nanococoon = its.vesting.locked(now_s)?;
        let epochs = its.epochs.iter().map(|(epoch, fees)| Epoch {
            epoch: *epoch,
            booked_nanoton: fees.booked,
            claimed_nanoton: fees.claimed,
            part_nanococoon: fees.part,
            stage: Stage::of(rewards, *epoch, fees.part),
        });
        Ok(Self {
            contract: Address::from(view.contract),
            epochs: epochs.collect(),
            free_nanococoon: its.vesting.free(now_s)?,
            vesting_nanococoon,
            vested_s: if vesting_nanococoon.is_zero() { 0 } else { its.vesting.until_s() },
            credit_nanoton: its.credit,
            pending: its.is_pending,
        })
    }

    fn lines(&self) -> Vec<String> {
        let vesting = match self.vested_s {
            0 => String::new(),
            vested_s => format!(", and {} until {}", cocoon_text(self.vesting_nanococoon), time_text(vested_s.into())),
        };
        let mut lines = vec![
            format!("contract  {}", self.contract.friendly(Bounce::Yes)),
            format!("free      {}{vesting}", cocoon_text(self.free_nanococoon)),
        ];
        if !self.credit_nanoton.is_zero() {
            lines.push(format!("credit    {} of fees are paid ahead", ton_text(self.credit_nanoton)));
        }
        if self.pending {
            lines.push("claim     one is under way".to_owned());
        }
        if self.epochs.is_empty() {
            lines.push("No fees were booked for this node yet".to_owned());
            return lines;
        }
        let mut table = Table::new(["EPOCH", "BOOKED TON", "CLAIMED TON", "BURNED COCOON", "STATE"]).right([0, 1, 2, 3]);
        for Epoch { epoch, booked_nanoton, claimed_nanoton, part_nanococoon, stage } in &self.epochs {
            let amounts = [booked_nanoton, claimed_nanoton, part_nanococoon].map(ToString::to_string);
            let [booked, claimed, part] = amounts;
            table.row([epoch.to_string(), booked, claimed, part, stage.text().into()]);
        }
        lines.push(table.to_string());
        lines
    }
}

impl State {
    fn of(rewards: &Placed<RewardsData>, own: Option<&ProviderView>) -> Result<Self, TellError> {
        let data = &rewards.data;
        let schedule = data.schedule().map_err(DeskError::from)?;
        Ok(Self {
            rewards: Address::from(rewards.at),
            epochs_closed: data.emission.epoch,
            released_nanococoon: data.emission.released,
            budget_nanococoon: schedule.budget().map_err(DeskError::from)?,
            burned_nanococoon: data.burned,
            owed_nanococoon: data.owed,
            claims_epoch: data.claims.map(|claims| claims.epoch),
            stopped_until_s: if u64::from(data.stopped_until_s) > rewards.seen_at_s { data.stopped_until_s } else { 0 },
            own: own.map(|view| Own::of(data, view)).transpose()?,
        })
    }

    fn text(&self) -> String {
        let claims = self.claims_epoch.map_or("none is open".to_owned(), |epoch| format!("epoch {epoch} is claimed for"));
        let mut lines = vec![
            format!("rewards   {}", self.rewards.friendly(Bounce::Yes)),
            format!("released  {} in {} epochs", cocoon_text(self.released_nanococoon), self.epochs_closed),
            format!("burned    {} by auctions", cocoon_text(self.burned_nanococoon)),
            format!("budget    {} for the open epoch at most; {claims}", cocoon_text(self.budget_nanococoon)),
            format!("owed      {}", cocoon_text(self.owed_nanococoon)),
        ];
        if self.stopped_until_s > 0 {
            lines.push(format!("stopped   until {}", time_text(self.stopped_until_s.into())));
        }
        match &self.own {
            Some(own) => lines.extend(own.lines()),
            None => lines.push("This node has no contract on the chain; swarm stake deploys it".to_owned()),
        }
        lines.join("\n")
    }
}

/// Shows the rewards. It needs the chain alone, so that it can be asked while a node runs.
fn show(context: &Context) -> Result<(), Failure> {
    let config = context.config()?;
    let provider = own_terms(context, &config)?;
    let Look { chain, network } = Look::open(&config)?;
    context.out().result(&state(&*chain, &network, &provider)?, State::text);
    Ok(())
}

fn state(chain: &dyn Chain, network: &NetworkContracts, provider: &ProviderTerms) -> Result<State, TellError> {
    let rewards = network.rewards(chain)?;
    match own_contract(chain, provider) {
        Ok(view) => State::of(&rewards, Some(&view)),
        Err(TellError::NoProvider) => State::of(&rewards, None),
        Err(error) => Err(error),
    }
}

fn after(scene: &Scene, _course: &Course) -> Result<State, Failure> {
    Ok(state(scene.chain(), &scene.network()?, &scene.provider)?)
}

/// The rewards, unless they are stopped.
fn running(network: &NetworkContracts, chain: &dyn Chain) -> Result<Placed<RewardsData>, Failure> {
    let rewards = network.rewards(chain)?;
    let until_s = u64::from(rewards.data.stopped_until_s);
    if until_s > rewards.seen_at_s { Err(RewardError::Stopped(until_s).into()) } else { Ok(rewards) }
}

/// The same with this node's contract.
fn paying(scene: &Scene) -> Result<(NetworkContracts, Placed<RewardsData>, ProviderView), Failure> {
    let network = scene.network()?;
    let rewards = running(&network, scene.chain())?;
    let own = scene.own_contract()?;
    Ok((network, rewards, own))
}

/// Which epoch to collect.
fn collectable(rewards: &RewardsData, own: &ProviderView, asked: Option<u32>) -> Result<u32, RewardError> {
    let part = |epoch| own.data.rewards.epochs.get(&epoch).map_or(Amount::ZERO, |fees| fees.part);
    let is_ready = |epoch: &u32| Stage::of(rewards, *epoch, part(*epoch)) == Stage::Collectable;
    match asked {
        None => own.data.rewards.epochs.keys().copied().find(is_ready).ok_or(RewardError::NothingToCollect),
        Some(epoch) if is_ready(&epoch) => Ok(epoch),
        Some(epoch) => match Stage::of(rewards, epoch, part(epoch)) {
            Stage::Waiting | Stage::Claimable if !part(epoch).is_zero() => Err(RewardError::Open(epoch)),
            Stage::Waiting | Stage::Claimable | Stage::Collectable | Stage::Over => Err(RewardError::NoPart(epoch)),
        },
    }
}

fn ask_to_collect(scene: &Scene, epoch: Option<u32>) -> Result<Ask, Failure> {
    let (network, rewards, own) = paying(scene)?;
    let epoch = collectable(&rewards.data, &own, epoch)?;
    let changes = format!("the reward of epoch {epoch} would come to this node's contract, 30% of it free at once");
    ask(scene, &network, &own, ProviderMessage::CollectReward(epoch), changes)
}

fn ask_to_take(scene: &Scene) -> Result<Ask, Failure> {
    let (network, _, own) = paying(scene)?;
    let (vesting, now_s) = (own.data.rewards.vesting, own.now_s());
    let free = vesting.free(now_s).map_err(|error| TellError::Desk(error.into()))?;
    if free.is_zero() {
        let vesting = vesting.locked(now_s).map_err(|error| TellError::Desk(error.into()))?;
        return Err(RewardError::NothingFree { vesting }.into());
    }
    ask(scene, &network, &own, ProviderMessage::TakeReward, format!("{} would come to the wallet", cocoon_text(free)))
}

fn ask(scene: &Scene, network: &NetworkContracts, own: &ProviderView, message: ProviderMessage, changes: String) -> Result<Ask, Failure> {
    Ok(Ask::new(scene, network, None, Order::Provider { contract: own.contract, message }, changes)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cocoon_market::ids::Digest;
    use cocoon_market::{ContractAddress, NetworkId};
    use cocoon_settlement::contract::rewards::{Claims, Payout};
    use cocoon_settlement::contract::{EpochFees, ProviderData, RewardsTerms};

    use super::*;
    use crate::config::ChainConfig;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    /// Rewards that are claimed for in epoch 8.
    fn rewards() -> Placed<RewardsData> {
        let founder = ContractAddress([1; 32]);
        let (network, commitment) = (NetworkId::DEVNET, Digest([0; 32]));
        let mut data = RewardsData::new(RewardsTerms { network, founder, half_life: 730, commitment, keys: BTreeMap::new() }).unwrap();
        data.claims = Some(Claims { epoch: 8, ..Claims::default() });
        data.payouts = [(6, Payout::default()), (7, Payout::default())].into();
        Placed { at: founder, data, balance: Amount::ZERO, seen_at_s: 1_800_000_000 }
    }

    /// A provider with something of each epoch from 5 to 9, but nothing registered for 6.
    fn own() -> ProviderView {
        let network = ChainConfig::default().network_terms().unwrap();
        let terms = ProviderTerms { owner: ContractAddress([2; 32]), operator: cocoon_market::NodeId([3; 32]), class: 0, network };
        let mut data = ProviderData::new(terms);
        let fees = |part| EpochFees { booked: nano(100), claimed: nano(50), part: nano(part) };
        data.rewards.epochs = [(5, fees(9)), (6, fees(0)), (7, fees(9)), (8, fees(9)), (9, fees(0))].into();
        data.rewards.vesting.reward(nano(1_000), 1_800_000_000).unwrap();
        ProviderView { contract: terms.address().unwrap(), data, balance: Amount::ZERO, seen_at_s: 1_800_000_000 }
    }

    #[test]
    fn epochs_are_collected_once_their_claims_are_closed() {
        let (rewards, own) = (rewards().data, own());
        let stages: Vec<_> = Own::of(&rewards, &own).unwrap().epochs.iter().map(|epoch| epoch.stage).collect();
        assert_eq!(stages, [Stage::Over, Stage::Over, Stage::Collectable, Stage::Claimable, Stage::Waiting], "5 was too long ago");
        assert_eq!(collectable(&rewards, &own, None).unwrap(), 7);
        assert_eq!(collectable(&rewards, &own, Some(7)).unwrap(), 7);
        assert!(matches!(collectable(&rewards, &own, Some(8)), Err(RewardError::Open(8))));
        for epoch in [5, 6, 9] {
            assert!(matches!(collectable(&rewards, &own, Some(epoch)), Err(RewardError::NoPart(_))), "{epoch}");
        }
        let nobody = ProviderView { data: ProviderData::new(own.data.terms), ..own };
        assert!(matches!(collectable(&rewards, &nobody, None), Err(RewardError::NothingToCollect)));
    }

    /// A file with an attestation for fees of an epoch, about claims 12 to 40.
    fn paper(epoch: u32, auditors: u8, fees: u64) -> Vec<u8> {
        let value = serde_json::json!({
            "format": "cocoon-attestation/1", "network": NetworkId::DEVNET, "provider": hex::encode([2; 32]), "epoch": epoch,
            "auditors": hex::encode([vec![0; 31], vec![auditors]].concat()), "first": 12, "last": 40, "fees_nanoton": fees.to_string(),
            "circuit": 16, "verifying_key": hex::encode([4; 32]), "proof": hex::encode([5; 192]),
        });
        serde_json::to_vec(&value).unwrap()
    }

    #[test]
    fn a_claim_is_checked_before_it_is_delivered() {
        let (rewards, own) = (rewards().data, own());
        let checked = |epoch, auditors, fees, view: &ProviderView| {
            check_claim(&Attestation::from_json(&paper(epoch, auditors, fees)).unwrap(), &rewards, view)
        };
        checked(8, 0, 50, &own).unwrap();
        assert!(matches!(checked(8, 0, 51, &own), Err(RewardError::OverFees { .. })), "50 of 100 are claimed for");
        assert!(matches!(checked(8, 1, 50, &own), Err(RewardError::Auditors)));
        let early = checked(9, 0, 50, &own).unwrap_err();
        assert!(early.to_string().contains("epoch 8 is claimed for") && early.next_step().contains("when the fees"), "{early}");
        assert!(checked(7, 0, 50, &own).unwrap_err().next_step().contains("cannot be claimed for any more"));
        let with = |change: &dyn Fn(&mut cocoon_settlement::contract::Rewards)| {
            let mut view = own.clone();
            change(&mut view.data.rewards);
            checked(8, 0, 50, &view)
        };
        assert!(matches!(with(&|its| its.last_claim = 12), Err(RewardError::Claimed { first: 12, last: 12 })));
        assert!(with(&|its| its.last_claim = 11).is_ok());
        assert!(matches!(with(&|its| its.is_pending = true), Err(RewardError::Pending)));
    }

    #[test]
    fn a_file_that_is_no_attestation_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            read(path)
        };
        assert_eq!(at("good", &paper(8, 0, 50)).unwrap().statement.epoch, 8);
        assert!(at("bad", b"{}").unwrap_err().to_string().contains("bad is no attestation"));
        let large = [paper(8, 0, 50), vec![b' '; ATTESTATION_BYTES_MAX]].concat();
        assert!(matches!(at("large", &large), Err(RewardError::Paper { .. })));
        assert!(matches!(read(dir.path().join("none")), Err(RewardError::File { .. })));
    }

    #[test]
    fn rewards_are_shown_with_what_vests() {
        let state = State::of(&rewards(), Some(&own())).unwrap();
        let text = state.text();
        assert!(text.contains("0.0000003 COCOON, and 0.0000007 COCOON until"), "{text}");
        assert!(text.contains("epoch 8 is claimed for") && text.contains("swarm rewards collect"), "{text}");
        let stopped = State { stopped_until_s: 1_800_000_001, own: None, ..state };
        assert!(stopped.text().contains("stopped") && stopped.text().contains("swarm stake"), "{}", stopped.text());
    }
}
