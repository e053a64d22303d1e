//! `swarm demo`: the whole story on this machine, in one process but over real sockets, keys and ledgers.
//!
//! `stage` sets up who takes part and stakes, `accounts` counts the money before and after, `economy` is what becomes of the fees, and `story`
//! is what is told of it all.

mod accounts;
mod economy;
mod stage;
mod story;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_market::ids::JobId;
use cocoon_market::job::{ChatMessage, Prompt};
use cocoon_market::{Amount, AmountError, ChannelRef, ContractAddress, ModelId, NodeId, Segment, WorkKind};
use cocoon_p2p::{GenerateOrder, JobEvent, NodeEvent, NodeStopped};
use cocoon_settlement::attest::auditor::DevelopmentAuditorError;
use cocoon_settlement::attest::evidence::EvidenceError;
use cocoon_settlement::attest::groth16::ProveError;
use cocoon_settlement::chain::{Address, Chain as _, ChainError, Faucet};
use cocoon_settlement::channel::shares;
use cocoon_settlement::contract::{ChannelData, NetworkTerms};
use cocoon_settlement::dossier::{Dossier, DossierError};
use cocoon_settlement::ledger::{Landed, OrderId, OrderState};
use cocoon_settlement::settler::{NetworkError, SettleError};
use cocoon_settlement::wallet::WalletError;
use futures::StreamExt as _;

use crate::cli::DemoArgs;
use crate::commands::blocking;
use crate::config::{Config, TermsError};
use crate::context::Context;
use crate::durable::{self, Existing};
use crate::failure::{Failure, NextStep};
use crate::signals::stop_requested;
use crate::wiring::buying::{BuyError, Buyer, Deal, Want};
use crate::wiring::desk::DeskError;
use crate::wiring::keeper::claim_all;
use crate::wiring::node::StartError;
use crate::wiring::serving::{Served, open_device};
use crate::wiring::session::ensure_model;
use accounts::{Accounts, Row};
use economy::{Earner, Economy};
use stage::{Player, Stage};
use story::{Answer, Story};

/// How long anything between two peers on loopback may take before the demo counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most the demo's job may cost: a fifth of a TON at its prices is some 500 tokens.
const CAP: Amount = Amount::from_nano(200_000_000);

/// Orders of a provider looked through for its claim: it stakes, it claims, and little else.
const ORDERS_MAX: usize = 64;

/// Why the story did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// A directory or file of the demo.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something did not happen in time.
    #[error("{0} did not happen within {limit} s", limit = PATIENCE.as_secs())]
    Late(&'static str),
    /// The chain.
    #[error("the chain failed")]
    Chain(#[from] ChainError),
    /// A node's books.
    #[error("a node's books failed")]
    Desk(#[from] DeskError),
    /// A node.
    #[error("a node did not start")]
    Start(#[from] StartError),
    /// A node stopped.
    #[error(transparent)]
    Stopped(#[from] NodeStopped),
    /// A sum.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The dossier.
    #[error("the dossier failed")]
    Dossier(#[from] DossierError),
    /// The dossier is not sound.
    #[error("the dossier does not prove the job")]
    Unsound,
    /// Money was made or lost.
    #[error("the balances do not add up: {before} TON before, {after} TON after")]
    Unbalanced {
        /// All money of the players at the beginning.
        before: Amount,
        /// At the end.
        after: Amount,
    },
    /// The vault got another sum than the claims owe it.
    #[error("the claims owe the vault {due} TON, and {came} TON came")]
    Fees {
        /// What is owed.
        due: Amount,
        /// What came.
        came: Amount,
    },
    /// There is no vault.
    #[error("there is no vault on the chain")]
    NoVault,
    /// The network is not as it was founded.
    #[error("the network's contracts are not found")]
    Network(#[from] NetworkError),
    /// A message cannot be made.
    #[error("a message cannot be made")]
    Settle(#[from] SettleError),
    /// A wallet.
    #[error("a wallet failed")]
    Wallet(#[from] WalletError),
    /// What the network is founded with.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// The auditor.
    #[error("nothing was certified")]
    Auditor(#[from] DevelopmentAuditorError),
    /// The certificates.
    #[error("the certificate proves nothing")]
    Evidence(#[from] EvidenceError),
    /// The proof.
    #[error("the proof was not made")]
    Prove(#[from] ProveError),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// The job ended without a last event.
    #[error("the job ended without saying how")]
    Unfinished,
}

impl NextStep for DemoError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Interrupted => "swarm demo, once more".into(),
            Self::Write { .. } => "check the disk, or --keep another directory".into(),
            Self::Start(error) => error.next_step(),
            _ => "swarm demo -v shows more; swarm doctor checks this machine".into(),
        }
    }
}

/// Runs `swarm demo`.
///
/// # Errors
/// Whatever of the story fails.
pub async fn run(context: &Context, args: &DemoArgs) -> Result<(), Failure> {
    tokio::select! {
        biased;
        () = stop_requested() => Err(DemoError::Interrupted.into()),
        told = tell(context, args) => told,
    }
}

/// The story, from the model's file to the verified dossier.
async fn tell(context: &Context, args: &DemoArgs) -> Result<(), Failure> {
    let story = Story::new(context.out().clone());
    let served = load(context, args, &story).await?;
    let kept = tempfile::Builder::new().prefix("swarm-demo-").tempdir();
    let kept = kept.map_err(|source| DemoError::Write { path: std::env::temp_dir(), source })?;
    let root = args.keep.clone().unwrap_or_else(|| kept.path().to_owned());
    let stage = Stage::set(&root, &story).await?;
    let cast = stage.start(&served, &story).await?;

    wait_for_offers(&cast.requester, served.id).await?;
    let before = stage.settled(async || Accounts::count(&stage, &cast, &[]).await).await?;
    let buyer = cast.requester.buyer(*stage.terms());
    story.chapter("The requester looks for an offer and agrees with its provider");
    let first = buy(&buyer, served.id, None, args, &story).await?;
    let other = cast.other_provider(&first.provider).ok_or(DemoError::Late("the other provider's appearance"))?;
    story.chapter("It also asks the other provider, which has a channel of its own");
    let second = buy(&buyer, served.id, Some(other.node().key().node_id()), args, &story).await?;

    let paid = [first, second];
    story.chapter("The providers claim on chain, each in a batch through its contract");
    let mut due = Amount::ZERO;
    for one in &paid {
        let provider = cast.provider(&one.provider).ok_or(DemoError::Late("a provider's appearance"))?;
        due = due.checked_add(claim(provider, one.channel, stage.terms(), &story).await?.fee).map_err(DemoError::from)?;
    }
    let after = stage.settled(async || Accounts::count(&stage, &cast, &paid).await).await?;
    let vault = stage.vault_data().await?;
    story.fees(&vault);
    if vault.fees_cum != due {
        return Err(DemoError::Fees { due, came: vault.fees_cum }.into());
    }
    balance(&before, &after, &story)?;
    let [first, _] = paid;
    let winner = cast.provider(&first.provider).ok_or(DemoError::Late("the winner's appearance"))?;
    prove(winner, first.job, &root, &story).await?;
    let earner = earner(&stage, winner, first.channel).await?;
    cast.leave().await;
    let economy = Economy::new(Arc::clone(stage.chain()), stage.forward().clone(), *stage.terms(), story.clone())?;
    blocking(move || economy.tell(&earner)).await?;
    stage.strike();
    story.end(args.keep.as_deref());
    Ok(())
}

/// A job that was bought and paid by voucher.
#[derive(Clone, Copy, Debug)]
struct Paid {
    provider: NodeId,
    channel: ChannelRef,
    job: JobId,
}

/// What a claim drew.
#[derive(Clone, Copy, Debug)]
struct Claimed {
    contract: ContractAddress,
    channel: ChannelRef,
    /// From the channel, in all.
    drawn: Amount,
    /// The owner's part of it.
    earned: Amount,
    /// The network's part of it.
    fee: Amount,
    landed: Landed,
}

/// Agrees with the best offer, or with that of `provider`, and runs the job.
async fn buy(buyer: &Buyer, model: ModelId, provider: Option<NodeId>, args: &DemoArgs, story: &Story) -> Result<Paid, Failure> {
    let want = Want { model, work: WorkKind::Generate, provider, cap: CAP, wait: PATIENCE };
    let deal = buyer.deal(&want, |step| story.bought(&step)).await?;
    let (provider, channel) = (deal.agreement.body().provider, deal.agreement.terms().channel);
    let job = ask(buyer, &deal, args, story).await?;
    Ok(Paid { provider, channel, job })
}

/// Fetches and loads the model.
async fn load(context: &Context, args: &DemoArgs, story: &Story) -> Result<Served, Failure> {
    story.chapter("The model");
    let (context, name, device, adapter) = (context.clone(), args.model.clone(), args.device, args.adapter.clone());
    let served = blocking(move || {
        let config: Config = context.config()?;
        let (id, name, path) = ensure_model(&context, &config, &name)?;
        let device = config.provide.on(open_device(device, adapter)?);
        Ok::<_, Failure>(Served::load(id, &name, &path, &device)?)
    });
    let served = served.await?;
    story.model(&served);
    Ok(served)
}

/// Waits until the requester has heard of both offers, so that there is something to choose.
async fn wait_for_offers(requester: &Player, model: ModelId) -> Result<(), DemoError> {
    let mut events = requester.node().node().events();
    let both = async {
        while requester.node().node().offers(Some(model), 2).await?.len() < 2 {
            while !matches!(events.next().await, Some(NodeEvent::OfferSeen { .. }) | None) {}
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, both).await.unwrap_or(Err(DemoError::Late("the arrival of both offers")))
}

/// Runs the job and shows the answer as it comes.
async fn ask(buyer: &Buyer, deal: &Deal, args: &DemoArgs, story: &Story) -> Result<JobId, Failure> {
    story.question(&args.prompt);
    let prompt = Prompt::Chat(vec![ChatMessage { role: "user".into(), content: args.prompt.clone() }]);
    let started = Instant::now();
    let mut answer = Answer::new(started);
    let mut handle = buyer.run(deal, GenerateOrder::new(prompt, args.max_tokens), CAP).await?;
    let job = handle.job();
    let mut done = false;
    while let Some(event) = handle.next().await {
        match event.map_err(BuyError::from)? {
            JobEvent::Chunk(chunk) => story.chunk(&mut answer, &chunk),
            // Text was ordered, and the client lets nothing else pass.
            JobEvent::Vectors(_) => {}
            JobEvent::Receipted { receipt, voucher } => story.receipted(&mut answer, &receipt, &voucher),
            JobEvent::Done { reason, usage, paid } => {
                story.done(&answer, reason, usage, paid);
                done = true;
            }
        }
    }
    if done { Ok(job) } else { Err(DemoError::Unfinished.into()) }
}

/// The provider claims its last voucher through its contract, and the chain shows it.
async fn claim(provider: &Player, channel: ChannelRef, terms: &NetworkTerms, story: &Story) -> Result<Claimed, DemoError> {
    provider.finish().await;
    let desk = provider.node().desk();
    claim_all(desk, PATIENCE).await?;
    let orders = desk.blocking(|desk| desk.ledger().orders(OrderId(0), ORDERS_MAX)).await?;
    let landed = orders.iter().rev().find_map(|(_, record)| match record.state {
        OrderState::Confirmed(landed) if record.order.claims().any(|of| of.voucher.channel == channel) => Some(landed),
        OrderState::Queued | OrderState::Pending(_) | OrderState::Confirmed(_) | OrderState::Failed(_) => None,
    });
    let view = desk.look(channel).await?.ok_or(DemoError::Late("the channel"))?;
    let (earned, fee) = shares(terms.fee_bps, view.sight.drawn)?;
    let landed = landed.ok_or(DemoError::Late("the claim"))?;
    let claimed = Claimed { contract: view.terms.contract, channel, drawn: view.sight.drawn, earned, fee, landed };
    story.claimed(provider.name(), &claimed);
    Ok(claimed)
}

fn balance(before: &Accounts, after: &Accounts, story: &Story) -> Result<(), DemoError> {
    let rows = Row::pair(before, after);
    let (sum_before, sum_after) = (before.sum()?, after.sum()?);
    story.balances(&rows, sum_before, sum_after);
    if sum_before == sum_after { Ok(()) } else { Err(DemoError::Unbalanced { before: sum_before, after: sum_after }) }
}

/// What the economy's half needs of a provider: its owner, and what of its work is certified.
async fn earner(stage: &Stage, provider: &Player, channel: ChannelRef) -> Result<Earner, DemoError> {
    let (chain, at) = (Arc::clone(stage.chain()), Address::from(channel.address));
    let data = blocking(move || chain.account(&at)).await?.data;
    let data = data.and_then(|data| ChannelData::from_cell(&data).ok()).ok_or(DemoError::Late("the channel"))?;
    let contract = provider.contract().ok_or(DemoError::Late("the provider's contract"))?;
    let ChannelData { receipts_root, sequence: drawn_to, .. } = data;
    let segment = Segment { channel: channel.address, receipts_root, drawn_from: 0, drawn_to };
    Ok(Earner { name: provider.name(), owner: Arc::clone(provider.owner()), contract, segment })
}

/// Writes the dossier, reads it back, and verifies it from the file alone.
async fn prove(winner: &Player, job: JobId, root: &Path, story: &Story) -> Result<(), DemoError> {
    let path = root.join(format!("{}.dossier", job.short()));
    let file = path.clone();
    let desk = Arc::clone(winner.node().desk());
    let report = blocking(move || {
        let json = Dossier::collect(desk.ledger(), job)?.to_json()?;
        let failed = |source| DemoError::Write { path: file.clone(), source };
        durable::write(&file, &json, Existing::Replace).map_err(failed)?;
        let read = std::fs::read(&file).map_err(failed)?;
        Ok::<_, DemoError>(Dossier::from_json(&read)?.verify())
    });
    let report = report.await?;
    story.dossier(&path, &report);
    if report.is_sound() { Ok(()) } else { Err(DemoError::Unsound) }
}

/// Gives an account money from the faucet and waits until the chain shows it.
async fn fund(stage: &Stage, player: &Player, amount: Amount) -> Result<(), DemoError> {
    let (chain, address) = (Arc::clone(stage.chain()), player.address());
    let funded = blocking(move || chain.fund(&address, amount));
    funded.await?;
    let mut blocks = tokio::time::interval(stage::BLOCK_TIME);
    let shown = async {
        loop {
            blocks.tick().await;
            if stage.balance(player.address()).await? >= amount {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.unwrap_or(Err(DemoError::Late("the faucet's transfer")))
}
