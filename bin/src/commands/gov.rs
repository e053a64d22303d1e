//! `swarm gov`: what the holders of locked COCOON decide.

mod action;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use cocoon_market::{Amount, ContractAddress};
use cocoon_settlement::chain::{Address, Chain};
use cocoon_settlement::contract::{Action, ContractMessage, Decision, GovernorData, GovernorMessage, LockData, LockMessage, Notice};
use cocoon_settlement::economy::votes::{GRACE_S, Phase, Proposal};
use cocoon_settlement::settler::{NetworkContracts, Placed};
use serde::Serialize;

use self::action::{action_of, action_text, check, from_ledger};
use super::blocking;
use super::lock::{ask_lock, own_lock};
use super::looking::{Look, own_account};
use super::telling::{Ask, Course, Scene, TellError, tell};
use crate::cli::{ActionCommand, GovCommand, SendingArgs, Side};
use crate::context::Context;
use crate::failure::{Failure, NextStep};
use crate::output::{Table, span_text, time_text};
use crate::wiring::desk::DeskError;

/// Why nothing is decided.
#[derive(Debug, thiserror::Error)]
enum GovError {
    #[error("there is no proposal {0}, or it was decided and forgotten")]
    Unknown(u32),
    #[error("proposal {number} {phase}")]
    NotOpen { number: u32, phase: String },
    #[error("proposal {number} {phase}")]
    NotReady { number: u32, phase: String },
    #[error("this node's lock voted on proposal {0}")]
    Voted(u32),
    #[error("this node's lock was made or changed after proposal {0} was made")]
    Young(u32),
    #[error("this node's lock ends at {}, before the vote does", time_text(*.0))]
    EndsSoon(u64),
    #[error("what proposal {0} asks for is not found on the chain or in this node's ledger")]
    NotFound(u32),
    #[error("proposal {0} asks for something else")]
    Other(u32),
}

impl NextStep for GovError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Unknown(_) => "swarm gov ls, which lists those there are".into(),
            Self::NotOpen { number, .. } | Self::NotReady { number, .. } | Self::Voted(number) => {
                format!("swarm gov show {number}, which shows its times and votes").into()
            }
            Self::Young(_) => "the next proposal: a lock votes on what is proposed after it was made".into(),
            Self::EndsSoon(_) => "swarm lock lengthen --weeks N; that counts for proposals that are made later".into(),
            Self::NotFound(number) => {
                format!("say what was proposed: swarm gov execute {number} parameter NAME VALUE, or another action").into()
            }
            Self::Other(number) => format!("swarm gov show {number}, and the same action with the same values").into(),
        }
    }
}

/// Runs `swarm gov`.
///
/// # Errors
/// No keys, no chain, no governor, or one that refuses.
pub async fn run(context: &Context, command: GovCommand) -> Result<(), Failure> {
    match command {
        GovCommand::Ls => looked(context, list).await,
        GovCommand::Show { number } => looked(context, move |context| show(context, number, View::text)).await,
        GovCommand::Queue { number } => looked(context, move |context| show(context, number, View::queue_text)).await,
        GovCommand::Propose { action } => propose(context, &action).await,
        GovCommand::Vote { number, side, sending } => {
            let ask = move |scene: &Scene| ask_to_vote(scene, number, side == Side::Yes);
            tell(context, sending, "voted", ask, move |scene, _| view(scene, number), View::text).await
        }
        GovCommand::Execute { number, action, sending } => {
            let inner = action.as_ref().map_or(sending, ActionCommand::sending);
            let sending = SendingArgs { dry_run: sending.dry_run || inner.dry_run, wait: sending.wait.max(inner.wait) };
            let given = action.as_ref().map(action_of).transpose()?;
            let ask = move |scene: &Scene| ask_to_execute(scene, number, given);
            tell(context, sending, "executed", ask, move |scene, _| view(scene, number), View::text).await
        }
    }
}

/// Looks with the chain alone, so that it can be asked while a node runs.
async fn looked(context: &Context, look: impl FnOnce(&Context) -> Result<(), Failure> + Send + 'static) -> Result<(), Failure> {
    let context = context.clone();
    blocking(move || look(&context)).await
}

/// A phase, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum PhaseName {
    Waiting,
    Open,
    Refused,
    Passed,
    Ready,
    Lapsed,
    Done,
}

/// A proposal as it is shown.
#[derive(Clone, Debug, Serialize)]
struct View {
    number: u32,
    phase: PhaseName,
    /// What it asks for, for people; none where that is not found.
    asks_for: Option<String>,
    /// Hash of the action, in hexadecimal.
    action_hash: String,
    proposed_s: u32,
    /// When it is voted on.
    opens_s: u32,
    closes_s: u32,
    /// When it can be executed, if it passes.
    ready_s: u32,
    lapses_s: u32,
    yes_nanococoon: Amount,
    no_nanococoon: Amount,
    /// The weight of all locks when it was made.
    all_nanococoon: Amount,
    /// Whether this node's lock voted on it.
    voted: bool,
    seen_at_s: u64,
}

impl View {
    fn of(number: u32, decision: &Decision, asks_for: Option<&Action>, voted: bool, seen_at_s: u64) -> Result<Self, TellError> {
        let proposal = decision.proposal().map_err(DeskError::from)?;
        let now_s = u32::try_from(seen_at_s).unwrap_or(u32::MAX);
        let (opens_s, closes_s) = proposal.voting_s();
        let ready_s = closes_s.saturating_add(proposal.timelock_s());
        Ok(Self {
            number,
            phase: phase_name(&proposal, now_s)?,
            asks_for: asks_for.map(action_text),
            action_hash: decision.action.to_string(),
            proposed_s: decision.proposed_s,
            opens_s,
            closes_s,
            ready_s,
            lapses_s: ready_s.saturating_add(GRACE_S),
            yes_nanococoon: decision.yes,
            no_nanococoon: decision.no,
            all_nanococoon: decision.all,
            voted,
            seen_at_s,
        })
    }

    /// Where it is, as the end of a sentence about it.
    fn phase_text(&self) -> String {
        let at = |at_s: u32| {
            let left_s = u64::from(at_s).saturating_sub(self.seen_at_s);
            format!("{}, in {}", time_text(at_s.into()), span_text(left_s))
        };
        match self.phase {
            PhaseName::Waiting => format!("is voted on from {}", at(self.opens_s)),
            PhaseName::Open => format!("is voted on until {}", at(self.closes_s)),
            PhaseName::Refused => "did not pass".to_owned(),
            PhaseName::Passed => format!("passed, and can be executed from {}", at(self.ready_s)),
            PhaseName::Ready => format!("passed, and can be executed until {}", at(self.lapses_s)),
            PhaseName::Lapsed => "passed, and nobody executed it in time".to_owned(),
            PhaseName::Done => "was carried out".to_owned(),
        }
    }

    fn text(&self) -> String {
        let asks = self.asks_for.as_deref().unwrap_or("not found on the chain any more");
        let part = |weight: Amount| percent_of(weight, self.all_nanococoon);
        let mut lines = vec![
            format!("Proposal {} {}", self.number, self.phase_text()),
            format!("asks     {asks}"),
            format!("action   {}", self.action_hash),
            format!("made     {}", time_text(self.proposed_s.into())),
            format!("yes      {}, {}", self.yes_nanococoon, part(self.yes_nanococoon)),
            format!("no       {}, {}", self.no_nanococoon, part(self.no_nanococoon)),
            format!("of       {}, of which 33% must take part", self.all_nanococoon),
        ];
        if self.voted {
            lines.push("This node's lock voted on it".to_owned());
        }
        lines.join("\n")
    }

    fn queue_text(&self) -> String {
        let what = match self.phase {
            PhaseName::Passed | PhaseName::Ready | PhaseName::Lapsed | PhaseName::Done | PhaseName::Refused => self.phase_text(),
            PhaseName::Waiting | PhaseName::Open => {
                format!("{}; if it passes, it can be executed from {} on", self.phase_text(), time_text(self.ready_s.into()))
            }
        };
        let next = if self.phase == PhaseName::Ready { format!(": swarm gov execute {}", self.number) } else { String::new() };
        format!("Proposal {} {what}{next}\nNothing has to be sent: its timelock runs by itself from the end of its vote", self.number)
    }
}

fn phase_name(proposal: &Proposal, now_s: u32) -> Result<PhaseName, TellError> {
    Ok(match proposal.phase(now_s).map_err(DeskError::from)? {
        Phase::Waiting => PhaseName::Waiting,
        Phase::Open => PhaseName::Open,
        Phase::Refused => PhaseName::Refused,
        Phase::Passed { .. } => PhaseName::Passed,
        Phase::Ready => PhaseName::Ready,
        Phase::Lapsed => PhaseName::Lapsed,
        Phase::Done => PhaseName::Done,
    })
}

/// A part of a whole, as people read it, to a tenth of a percent.
fn percent_of(part: Amount, whole: Amount) -> String {
    let thousandths = part.nano().saturating_mul(1_000).checked_div(whole.nano()).unwrap_or(0);
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

/// Everything that is voted on, or was lately.
#[derive(Clone, Debug, Serialize)]
struct List {
    governor: Address,
    proposals: Vec<View>,
}

impl List {
    fn text(&self) -> String {
        if self.proposals.is_empty() {
            return "Nothing is voted on; swarm gov propose proposes something".to_owned();
        }
        let mut table = Table::new(["N", "YES", "NO", "STATE", "ASKS"]).right([0, 1, 2]);
        for view in &self.proposals {
            let part = |weight| percent_of(weight, view.all_nanococoon);
            let (yes, no) = (part(view.yes_nanococoon), part(view.no_nanococoon));
            let asks = view.asks_for.clone().unwrap_or_else(|| view.action_hash.clone());
            table.row([view.number.to_string(), yes, no, view.phase_text(), asks]);
        }
        table.to_string()
    }
}

/// Where a look begins: the chain, the network, its governor, and this node's lock there.
struct Votes {
    network: NetworkContracts,
    governor: Placed<GovernorData>,
    lock: Option<LockData>,
}

impl Votes {
    fn find(chain: &dyn Chain, network: NetworkContracts, owner: ContractAddress) -> Result<Self, TellError> {
        let governor = network.governor(chain)?;
        let lock = network.lock(chain, governor.at, owner)?.map(|lock| lock.data);
        Ok(Self { network, governor, lock })
    }

    fn decision(&self, number: u32) -> Result<&Decision, GovError> {
        self.governor.data.proposals.get(&number).ok_or(GovError::Unknown(number))
    }

    fn view(&self, chain: &dyn Chain, number: u32, decision: &Decision) -> Result<View, TellError> {
        let action = self.network.action_of(chain, self.governor.at, decision)?;
        let voted = self.lock.as_ref().is_some_and(|lock| lock.ballots.contains_key(&number));
        View::of(number, decision, action.as_ref(), voted, self.governor.seen_at_s)
    }
}

fn votes(context: &Context) -> Result<(Arc<dyn Chain>, Votes), Failure> {
    let config = context.config()?;
    let owner = own_account(context, &config)?;
    let Look { chain, network } = Look::open(&config)?;
    let votes = Votes::find(&*chain, network, owner)?;
    Ok((chain, votes))
}

fn list(context: &Context) -> Result<(), Failure> {
    let (chain, votes) = votes(context)?;
    let views = votes.governor.data.proposals.iter().map(|(number, decision)| votes.view(&*chain, *number, decision));
    let list = List { governor: Address::from(votes.governor.at), proposals: views.collect::<Result<_, _>>()? };
    context.out().result(&list, List::text);
    Ok(())
}

fn show(context: &Context, number: u32, text: impl FnOnce(&View) -> String) -> Result<(), Failure> {
    let (chain, votes) = votes(context)?;
    context.out().result(&votes.view(&*chain, number, votes.decision(number)?)?, text);
    Ok(())
}

/// A proposal after something was done about it.
fn view(scene: &Scene, number: u32) -> Result<View, Failure> {
    let votes = Votes::find(scene.chain(), scene.network()?, scene.owner())?;
    Ok(votes.view(scene.chain(), number, votes.decision(number)?)?)
}

/// What came of a proposal.
#[derive(Clone, Copy, Debug, Serialize)]
struct Proposed {
    /// Its number; none if the chain did not show it in time.
    number: Option<u32>,
}

impl Proposed {
    fn of(scene: &Scene, course: &Course) -> Self {
        let number = course.notices(scene.owner()).find_map(|notice| match notice {
            Notice::Proposed(number) => Some(number),
            _ => None,
        });
        Self { number }
    }

    fn text(&self) -> String {
        match self.number {
            Some(number) => format!("Proposal {number} is made; it is voted on in a day, for ten days: swarm gov show {number}"),
            None => "The proposal is on its way; swarm gov ls lists it when it is there".to_owned(),
        }
    }
}

async fn propose(context: &Context, command: &ActionCommand) -> Result<(), Failure> {
    let (action, sending) = (action_of(command)?, command.sending());
    let ask = move |scene: &Scene| ask_to_propose(scene, action);
    tell(context, sending, "proposed", ask, |scene, course| Ok(Proposed::of(scene, course)), Proposed::text).await
}

fn ask_to_propose(scene: &Scene, action: Action) -> Result<Ask, Failure> {
    let (network, governor, _) = own_lock(scene)?;
    check(&action, &network.registry(scene.chain())?, &governor.data)?;
    let changes = format!("it would be voted on to {}", action_text(&action));
    ask_lock(scene, &network, governor.at, LockMessage::Propose(action), changes)
}

/// Whether a lock has a voice in a vote that is open.
fn check_voice(number: u32, decision: &Decision, lock: &Placed<LockData>) -> Result<(), Failure> {
    let view = View::of(number, decision, None, false, lock.seen_at_s)?;
    if view.phase != PhaseName::Open {
        return Err(GovError::NotOpen { number, phase: view.phase_text() }.into());
    }
    if lock.data.ballots.contains_key(&number) {
        return Err(GovError::Voted(number).into());
    }
    if lock.data.since_s.is_none_or(|since_s| since_s >= decision.proposed_s) {
        return Err(GovError::Young(number).into());
    }
    if lock.data.ends_s() < view.closes_s {
        return Err(GovError::EndsSoon(lock.data.ends_s().into()).into());
    }
    Ok(())
}

fn ask_to_vote(scene: &Scene, number: u32, is_yes: bool) -> Result<Ask, Failure> {
    let (network, governor, lock) = own_lock(scene)?;
    let decision = governor.data.proposals.get(&number).ok_or(GovError::Unknown(number))?;
    check_voice(number, decision, &lock)?;
    let changes = format!("this node's lock would vote {} proposal {number}", if is_yes { "for" } else { "against" });
    ask_lock(scene, &network, governor.at, LockMessage::Vote { number, is_yes }, changes)
}

fn ask_to_execute(scene: &Scene, number: u32, given: Option<Action>) -> Result<Ask, Failure> {
    let votes = Votes::find(scene.chain(), scene.network()?, scene.owner())?;
    let decision = votes.decision(number)?;
    let view = View::of(number, decision, None, false, votes.governor.seen_at_s)?;
    if view.phase != PhaseName::Ready {
        return Err(GovError::NotReady { number, phase: view.phase_text() }.into());
    }
    let action = match given {
        Some(action) => action,
        None => found(scene, &votes, decision)?.ok_or(GovError::NotFound(number))?,
    };
    if action.hash().map_err(|error| TellError::Desk(error.into()))? != decision.action {
        return Err(GovError::Other(number).into());
    }
    let changes = format!("what was decided would be done: {}", action_text(&action));
    let governor = votes.governor.at;
    let message = ContractMessage::Governor(GovernorMessage::Execute { number, action });
    Ok(Ask::message(scene, &votes.network, Some(governor), governor, message, changes)?)
}

/// What was proposed: as this node proposed it, else as the chain shows it.
fn found(scene: &Scene, votes: &Votes, decision: &Decision) -> Result<Option<Action>, Failure> {
    match from_ledger(scene.desk.ledger(), decision).map_err(DeskError::from).map_err(TellError::from)? {
        Some(action) => Ok(Some(action)),
        None => Ok(votes.network.action_of(scene.chain(), votes.governor.at, decision)?),
    }
}
