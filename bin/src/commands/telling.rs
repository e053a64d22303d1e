//! Telling a network's contracts something: shown first, sent once, and followed to its end.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_market::{Amount, ContractAddress};
use cocoon_settlement::chain::{Address, BASECHAIN, Bounce, Chain, ChainError, Page, Transaction};
use cocoon_settlement::contract::{ContractMessage, Exit as Refusal, NetworkTerms, Notice, ProviderTerms};
use cocoon_settlement::ledger::{Landed, Order, OrderFailure, OrderId, OrderState};
use cocoon_settlement::settler::{NetworkContracts, NetworkError, ProviderCheckError, ProviderView, SettleError, find_transaction};
use serde::Serialize;

use super::blocking;
use super::dry_run::{DryRun, Prepared, is_refused};
use crate::chain::poll;
use crate::cli::SendingArgs;
use crate::context::Context;
use crate::failure::{Failure, NextStep};
use crate::output::ton_text;
use crate::signals::StopSignals;
use crate::wiring::desk::{Desk, DeskError};
use crate::wiring::keeper::Duty;
use crate::wiring::office::Office;
use crate::wiring::open_home::OpenHome;
use crate::wiring::own::{look_at, provider_terms};
use crate::wiring::session::pace;

/// How often the chain is asked what came of a message: a fraction of a block, and within a public endpoint's limits.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// Transactions that one message is followed through: three times what the longest path has.
const FOLLOWED_MAX: usize = 32;

/// Why a contract was not told.
#[derive(Debug, thiserror::Error)]
pub(super) enum TellError {
    /// A contract that the network has not.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The chain, the ledger or the order.
    #[error(transparent)]
    Desk(DeskError),
    /// The wallet is too poor.
    #[error("the wallet holds {}, and the message needs {}", ton_text(*balance), ton_text(*needed))]
    Poor {
        /// What it takes.
        needed: Amount,
        /// What there is.
        balance: Amount,
    },
    /// A rehearsal says so.
    #[error("nothing was sent: {} would refuse it, for {}", at.friendly(Bounce::Yes), reason_text(*exit_code))]
    WouldFail {
        /// Who.
        at: Address,
        /// Why.
        exit_code: Option<i32>,
    },
    /// The chain shows so.
    #[error("it came to nothing at {}, for {}", at.friendly(Bounce::Yes), reason_text(*exit_code))]
    Failed {
        /// Where.
        at: Address,
        /// Why.
        exit_code: Option<i32>,
    },
    /// No contract of ours is beyond the basechain.
    #[error("{} is not in the basechain", .0.raw())]
    Workchain(Address),
    /// It needs this node's contract.
    #[error("this node has no contract on the chain")]
    NoProvider,
    /// The account is not this node's contract.
    #[error("the account is not this node's contract")]
    Provider(#[source] ProviderCheckError),
    /// A signal came.
    #[error("interrupted before the chain showed it")]
    Interrupted,
}

impl From<DeskError> for TellError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Poor { needed, balance, .. } => Self::Poor { needed, balance },
            error => Self::Desk(error),
        }
    }
}

impl From<SettleError> for TellError {
    fn from(error: SettleError) -> Self {
        DeskError::from(error).into()
    }
}

impl From<ChainError> for TellError {
    fn from(error: ChainError) -> Self {
        DeskError::from(error).into()
    }
}

impl NextStep for TellError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Network(error) => error.next_step(),
            Self::Poor { .. } | Self::Desk(DeskError::Order(OrderFailure::WalletTooPoor)) => "swarm wallet deposit, then again".into(),
            Self::WouldFail { .. } => "the same with --dry-run, which shows all of it; the state of things may have changed".into(),
            Self::Failed { .. } => "look again what holds now; what was not used came back".into(),
            Self::Workchain(_) => "an address whose raw form begins with 0:".into(),
            Self::NoProvider => "swarm stake 1 --bond 0.5 --operations 0.2, which deploys it".into(),
            Self::Provider(_) => "check chain.terms in the configuration: they may be another network's".into(),
            Self::Desk(DeskError::Slow(_)) | Self::Interrupted => {
                "look again in a while; the order is kept, and a node or command of this home goes on with it".into()
            }
            Self::Desk(DeskError::Order(_)) => "the same with --dry-run, which shows what refuses it".into(),
            Self::Desk(error) if error.is_chain_trouble() => "check the chain (--chain); swarm doctor looks closer".into(),
            Self::Desk(_) => "check the disk of the home; swarm doctor looks closer".into(),
        }
    }
}

/// Why a contract refused, for people.
fn reason_text(exit_code: Option<i32>) -> String {
    match exit_code {
        None => "there is no contract".to_owned(),
        Some(code) => Refusal::from_code(code).map_or_else(|| format!("exit code {code}"), |reason| reason.to_string()),
    }
}

/// The account of an address of the basechain, where all our contracts are.
pub(super) fn account_of(address: Address) -> Result<ContractAddress, TellError> {
    if address.workchain == BASECHAIN { Ok(ContractAddress(address.hash)) } else { Err(TellError::Workchain(address)) }
}

/// Where something is asked: this home's desk, and the network it is on.
pub(super) struct Scene {
    pub(super) desk: Arc<Desk>,
    pub(super) terms: NetworkTerms,
    pub(super) provider: ProviderTerms,
}

impl Scene {
    pub(super) fn chain(&self) -> &dyn Chain {
        self.desk.chain()
    }

    /// This home's wallet.
    pub(super) fn owner(&self) -> ContractAddress {
        self.provider.owner
    }

    pub(super) fn network(&self) -> Result<NetworkContracts, TellError> {
        Ok(NetworkContracts::find(self.chain(), &self.terms)?)
    }

    /// This home's contract as a provider.
    pub(super) fn own_contract(&self) -> Result<ProviderView, TellError> {
        own_contract(self.chain(), &self.provider)
    }
}

/// A node's contract as it is on chain.
pub(super) fn own_contract(chain: &dyn Chain, terms: &ProviderTerms) -> Result<ProviderView, TellError> {
    look_at(chain, terms).map_err(|error| match error {
        DeskError::Provider(ProviderCheckError::NotDeployed) => TellError::NoProvider,
        DeskError::Provider(error) => TellError::Provider(error),
        error => error.into(),
    })
}

/// What is to be told, and what people are to know of it beforehand.
pub(super) struct Ask {
    pub(super) order: Order,
    /// What would be different afterwards: a sentence's end, for people.
    pub(super) changes: String,
    /// All accounts that it reaches.
    pub(super) reached: Vec<Address>,
}

impl Ask {
    /// An order, which reaches what the network says it does. `governor` is where votes are, if it reaches them.
    pub(super) fn new(
        scene: &Scene,
        network: &NetworkContracts,
        governor: Option<ContractAddress>,
        order: Order,
        changes: String,
    ) -> Result<Self, TellError> {
        Ok(Self { reached: network.reached(scene.owner(), governor, &order)?, order, changes })
    }

    /// The order to tell a contract something.
    pub(super) fn message(
        scene: &Scene,
        network: &NetworkContracts,
        governor: Option<ContractAddress>,
        contract: ContractAddress,
        message: ContractMessage,
        changes: String,
    ) -> Result<Self, TellError> {
        Self::new(scene, network, governor, Order::tell(contract, message).map_err(DeskError::from)?, changes)
    }
}

/// What came of a message: every transaction it led to, as far as the chain showed them in time.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    transactions: Vec<Transaction>,
    is_whole: bool,
}

impl Course {
    /// What contracts told an account on the way.
    pub(super) fn notices(&self, to: ContractAddress) -> impl Iterator<Item = Notice> {
        let at = Address::from(to);
        let heard = self.transactions.iter().filter(move |transaction| transaction.account == at);
        heard.filter_map(|transaction| transaction.in_message.as_ref()).filter_map(|message| Some(Notice::from_cell(&message.body).ok()?.1))
    }

    /// Whether the chain showed its end.
    pub(super) const fn is_whole(&self) -> bool {
        self.is_whole
    }
}

/// Shows or sends what `prepare` asks for, and then what `show` finds.
///
/// # Errors
/// What `prepare` or `show` fails with; [`TellError`].
pub(super) async fn tell<S: Serialize + Send + 'static>(
    context: &Context,
    sending: SendingArgs,
    event: &'static str,
    prepare: impl FnOnce(&Scene) -> Result<Ask, Failure> + Send + 'static,
    show: impl FnOnce(&Scene, &Course) -> Result<S, Failure> + Send + 'static,
    text: impl FnOnce(&S) -> String,
) -> Result<(), Failure> {
    let mut session = Session::open(context, sending).await?;
    let told = session.tell(event, prepare, show, text).await;
    session.close().await;
    told
}

/// This home while something is told, one message after another.
pub(super) struct Session<'a> {
    context: &'a Context,
    sending: SendingArgs,
    home: OpenHome,
    scene: Arc<Scene>,
    /// Sends, from the first message on that is not only shown; until then Ctrl-C just ends the program.
    sends: Option<(Office, StopSignals)>,
}

impl<'a> Session<'a> {
    /// Opens keys, ledger and chain.
    ///
    /// # Errors
    /// Whatever of that fails.
    pub(super) async fn open(context: &'a Context, sending: SendingArgs) -> Result<Self, Failure> {
        let home = OpenHome::open(context).await?;
        let terms = home.config.chain.network_terms()?;
        let provider = provider_terms(&home.keys, home.config.provide.class, terms)?;
        let desk = home.desk(context, Some(provider)).await?;
        let scene = Arc::new(Scene { desk, terms, provider });
        Ok(Self { context, sending, home, scene, sends: None })
    }

    /// Tells one thing, as [`tell`] does.
    ///
    /// # Errors
    /// As for [`tell`].
    pub(super) async fn tell<S: Serialize + Send + 'static>(
        &mut self,
        event: &'static str,
        prepare: impl FnOnce(&Scene) -> Result<Ask, Failure> + Send + 'static,
        show: impl FnOnce(&Scene, &Course) -> Result<S, Failure> + Send + 'static,
        text: impl FnOnce(&S) -> String,
    ) -> Result<(), Failure> {
        let scene = Arc::clone(&self.scene);
        let (order, prepared) = blocking(move || {
            let ask = prepare(&scene)?;
            let prepared = rehearsed(&scene, &ask)?;
            Ok::<_, Failure>((ask.order, prepared))
        })
        .await?;
        if self.sending.dry_run {
            self.context.out().event("dry_run", &prepared, Prepared::text);
            return Ok(());
        }
        if let Some((at, exit_code)) = prepared.message.refusal() {
            return Err(TellError::WouldFail { at, exit_code }.into());
        }
        let course = self.send(order).await?;
        check(&course)?;
        let scene = Arc::clone(&self.scene);
        let shown = blocking(move || show(&scene, &course)).await?;
        self.context.out().event(event, &shown, text);
        Ok(())
    }

    async fn send(&mut self, order: Order) -> Result<Course, TellError> {
        let (_, signals) = self.sends.get_or_insert_with(|| {
            self.context.out().note("waiting for the chain; Ctrl-C leaves the rest to the next run");
            (Office::start(Arc::clone(&self.scene.desk), pace(&self.home.config), Duty::Orders), StopSignals::listen())
        });
        tokio::select! {
            biased;
            () = signals.requested() => Err(TellError::Interrupted),
            done = carry_out(&self.scene.desk, order, Duration::from_secs(self.sending.wait)) => done,
        }
    }

    /// Ends what is under way, unless Ctrl-C comes again.
    pub(super) async fn close(self) {
        if let Some((office, mut signals)) = self.sends {
            office.close_unless(&mut signals).await;
        }
    }
}

/// Signs the message, checks that the wallet can pay for it, and executes it on copies of all accounts that it reaches.
fn rehearsed(scene: &Scene, ask: &Ask) -> Result<Prepared, TellError> {
    let preview = scene.desk.settler().preview(&ask.order)?;
    if preview.needed > preview.balance {
        return Err(TellError::Poor { needed: preview.needed, balance: preview.balance });
    }
    Ok(Prepared {
        contract: Address::from(ask.order.destination().map_err(DeskError::from)?),
        changes: ask.changes.clone(),
        message: DryRun::over(scene.chain(), preview, &ask.reached)?,
        rest: "and the rest comes back",
    })
}

/// Gives the order, waits until the chain shows its effect, and follows what comes of that.
async fn carry_out(desk: &Arc<Desk>, order: Order, limit: Duration) -> Result<Course, TellError> {
    let until = Instant::now() + limit;
    let destination = Address::from(order.destination().map_err(DeskError::from)?);
    let id = desk.blocking(move |desk| desk.ledger().add_order(order, desk.now())).await?;
    desk.await_order(id, limit).await?;
    let followed = Arc::clone(desk);
    blocking(move || match landed(&followed, id)? {
        Some(landed) => Ok(follow(followed.chain(), destination, landed, until)?),
        None => Ok(Course::default()),
    })
    .await
}

fn landed(desk: &Desk, id: OrderId) -> Result<Option<Landed>, DeskError> {
    Ok(desk.ledger().order(id)?.and_then(|record| match record.state {
        OrderState::Confirmed(landed) => Some(landed),
        OrderState::Queued | OrderState::Pending(_) | OrderState::Failed(_) => None,
    }))
}

/// Follows a message from the transaction that took it, until nothing more comes of it or the time is over.
fn follow(chain: &dyn Chain, destination: Address, landed: Landed, until: Instant) -> Result<Course, ChainError> {
    let page = Page { from: None, after_lt: landed.lt.saturating_sub(1), limit: 16 };
    let first = chain.transactions(&destination, page)?.into_iter().find(|transaction| transaction.id.hash == landed.transaction.0);
    let Some(first) = first else { return Ok(Course::default()) };
    let mut under_way: VecDeque<_> = first.out_messages.iter().cloned().collect();
    let mut course = Course { transactions: vec![first], is_whole: false };
    while let Some(message) = under_way.pop_front() {
        let Some(to) = message.destination else { continue };
        let found = await_transaction(until, || find_transaction(chain, &to, &message.hash, message.created_lt.saturating_sub(1)))?;
        let Some(found) = found.filter(|_| course.transactions.len() < FOLLOWED_MAX) else { return Ok(course) };
        under_way.extend(found.out_messages.iter().cloned());
        course.transactions.push(found);
    }
    course.is_whole = true;
    Ok(course)
}

fn await_transaction(
    until: Instant,
    look: impl Fn() -> Result<Option<Transaction>, SettleError>,
) -> Result<Option<Transaction>, ChainError> {
    poll(until.saturating_duration_since(Instant::now()), LOOK_PERIOD, || match look() {
        Ok(found) => Ok(found),
        Err(SettleError::Chain(error)) => Err(error),
        // An account so busy that the transaction is out of sight: what became of it shows in what holds afterwards.
        Err(_) => Ok(None),
    })
}

/// Whether something on the way failed.
fn check(course: &Course) -> Result<(), TellError> {
    let failed = course.transactions.iter().find(|transaction| is_refused(transaction));
    failed.map_or(Ok(()), |failed| Err(TellError::Failed { at: failed.account, exit_code: failed.exit_code }))
}
