//! Buying work: an agreement that stands is used again, else the best offer is negotiated; then jobs are run under it.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use cocoon_market::agreement::{Agreement, Refusal};
use cocoon_market::job::{Prompt, StopReason, text_tokens_max};
use cocoon_market::{
    AgreementId, Amount, ChannelRef, Demand, JobId, ModelId, NodeId, Offer, PriceTable, Timestamp, Usage, Verified, WorkKind,
};
use cocoon_p2p::payment::PayErrorKind;
use cocoon_p2p::{
    Client, DealWishes, FindError, JobError, JobEvent, JobHandle, JobOrder, Match, Matches, NegotiateError, NegotiationStep, NodeStopped,
};
use cocoon_settlement::contract::ChannelStatus;
use futures::{Stream, StreamExt as _};
use tokio::time::Instant;

use super::desk::{Desk, DeskError};
use super::payer::ChannelPayer;
use crate::config::RequesterConfig;
use crate::failure::{NextStep, chain_text};

/// Offers considered: the best, and those to fall back to when it refuses.
const OFFERS_TRIED: usize = 4;

/// The pause between two searches while nothing fits yet. A search that finds nothing asks the network by itself.
const SEARCH_PAUSE: Duration = Duration::from_millis(500);

/// How long a job waits for a place at its provider. A place is taken a moment longer than its job seems to run: until the last
/// voucher is there.
const PLACE_WAIT: Duration = Duration::from_secs(20);

/// The first pause between two tries to get a place; each is twice as long as the one before.
const PLACE_PAUSE: Duration = Duration::from_millis(5);

/// The longest such pause.
const PLACE_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Jobs that an agreement should carry: its cap is so many times that of a job, within the deposit.
const JOBS_PER_AGREEMENT: u64 = 8;

/// An agreement is used again while it runs for so long: enough for any job to begin.
const LEAST_LIFE_MS: u64 = 60_000;

/// Agreements read from the ledger at a time.
const PAGE: usize = 256;

/// Tokens that a chat template may add to a message, at most, for the bound on what a prompt can cost.
const TEMPLATE_TOKENS: u64 = 64;

/// Buys work for one node.
#[derive(Clone)]
pub struct Buyer {
    client: Client,
    payer: Arc<ChannelPayer>,
    desk: Arc<Desk>,
    config: RequesterConfig,
}

impl std::fmt::Debug for Buyer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buyer").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What is wanted of an agreement.
#[derive(Clone, Debug)]
pub struct Want {
    /// Which model.
    pub model: ModelId,
    /// For which kind of work.
    pub work: WorkKind,
    /// Only this provider.
    pub provider: Option<NodeId>,
    /// The most one job may cost.
    pub cap: Amount,
    /// How long to look for offers.
    pub wait: Duration,
}

/// An agreement, and how it came about.
#[derive(Clone, Debug)]
pub struct Deal {
    /// The agreement.
    pub agreement: Agreement,
    /// Whether it stood before.
    pub origin: Origin,
}

/// How an agreement came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was just negotiated.
    New,
    /// It was made for an earlier job.
    Reused,
}

/// Something happened on the way to an agreement.
#[derive(Clone, Debug)]
pub enum BuyStep {
    /// Offers were found; the first one wins.
    Found(Vec<Match>),
    /// What stands behind the work of the provider that is asked next, and the most that is agreed to.
    Backed {
        /// Who is asked.
        provider: NodeId,
        /// Its collateral that is not being released.
        stake: Amount,
        /// The most that all jobs under the agreement may cost.
        cap: Amount,
    },
    /// One step of the negotiation with this provider.
    Negotiation(NodeId, NegotiationStep),
    /// The provider said no, and the next one is asked.
    Next {
        /// Who said no.
        provider: NodeId,
        /// Why.
        why: String,
    },
}

/// Why nothing was bought.
#[derive(Debug, thiserror::Error)]
pub enum BuyError {
    /// Nobody offers it.
    #[error("nobody offers this model")]
    NoOffers,
    /// Nothing that is offered fits.
    #[error("no offer fits: {why}")]
    NoMatch {
        /// What excluded them, and the smallest change that helps.
        why: String,
    },
    /// The provider that was named does not offer it.
    #[error("provider {0} does not offer this model, or not at these terms")]
    NotOffered(NodeId),
    /// An input of this size costs more than the cap.
    #[error("reading this input may cost up to {cost} TON, and the cap of the job is {cap} TON")]
    CapTooSmall {
        /// What reading it may cost.
        cost: Amount,
        /// The cap.
        cap: Amount,
    },
    /// Nobody who offers it agreed.
    #[error("no agreement with {provider}")]
    Negotiate {
        /// Who was asked last.
        provider: NodeId,
        /// Why.
        #[source]
        source: Box<NegotiateError>,
    },
    /// The job was not done.
    #[error(transparent)]
    Job(Box<JobError>),
    /// The ledger or the chain.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The node stopped.
    #[error(transparent)]
    Stopped(#[from] NodeStopped),
}

impl From<FindError> for BuyError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Stopped(stopped) => Self::Stopped(stopped),
        }
    }
}

impl From<JobError> for BuyError {
    fn from(error: JobError) -> Self {
        Self::Job(Box::new(error))
    }
}

impl NextStep for BuyError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::NoOffers => "join through a peer (--bootstrap), wait longer (--wait), or see `swarm offers`".into(),
            Self::NoMatch { .. } => {
                "change requester.price_max, --cap or --model; `swarm offers` shows what there is, and what each model gives".into()
            }
            Self::NotOffered(_) => "see `swarm offers`, or leave --provider out".into(),
            Self::CapTooSmall { .. } => "raise --cap (or requester.cap_ton), or shorten the input".into(),
            Self::Negotiate { source, .. } => negotiate_step(source),
            Self::Job(error) => job_step(error),
            Self::Desk(error) if error.is_chain_trouble() => "check the chain (--chain); `swarm doctor` looks closer".into(),
            Self::Desk(_) => "check the disk of the home; `swarm doctor` looks closer".into(),
            Self::Stopped(_) => "start it again".into(),
        }
    }
}

fn negotiate_step(error: &NegotiateError) -> Cow<'static, str> {
    match error {
        NegotiateError::Payment(error) => pay_step(error.kind),
        NegotiateError::Reach(_) => "try again, or another provider (--provider)".into(),
        _ => "try again; another provider may agree".into(),
    }
}

fn pay_step(kind: PayErrorKind) -> Cow<'static, str> {
    match kind {
        PayErrorKind::Funds => "put money into the wallet: swarm wallet deposit".into(),
        PayErrorKind::Chain => "check the chain (--chain); `swarm doctor` looks closer. What was ordered is kept".into(),
        PayErrorKind::Ledger => "check the disk of the home; nothing was signed".into(),
        PayErrorKind::Gap => "ask again: a new channel is opened; the old one is closed, and refunded after its challenge window".into(),
        PayErrorKind::Receipt => "ask another provider (--provider); this one's accounts do not add up".into(),
        PayErrorKind::Channel => "try again: a new channel is opened".into(),
        PayErrorKind::Terms => "ask another provider (--provider), or ask for less collateral: requester.stake_min_ton".into(),
    }
}

fn job_step(error: &JobError) -> Cow<'static, str> {
    match error {
        JobError::Stopped { reason: StopReason::CapTooSmall { .. }, .. } => "raise --cap (or requester.cap_ton)".into(),
        JobError::Stopped { reason: StopReason::ContextExceeded { .. }, .. } => "shorten the prompt".into(),
        JobError::Stopped { reason: StopReason::MemoryExceeded { .. }, .. } => {
            "ask for fewer tokens (--max-tokens), shorten the prompt, or ask another provider (--provider)".into()
        }
        JobError::Stopped { reason: StopReason::TextTooLong { .. }, .. } => "split the text into shorter ones".into(),
        JobError::Stopped { reason: StopReason::Refused(Refusal::OtherWork { .. }), .. } => {
            "`swarm ask` for models that write, `swarm embed` for those that make vectors; `swarm offers` shows which is which".into()
        }
        JobError::Stopped { reason: StopReason::Refused(Refusal::Busy { .. }), .. } => "try again in a moment".into(),
        JobError::Order(_) => "change the order".into(),
        JobError::Payment { cause, .. } => pay_step(cause.kind),
        _ => "ask again; another provider (--provider) may do better".into(),
    }
}

impl Buyer {
    /// A buyer over a client and its purse.
    pub const fn new(client: Client, payer: Arc<ChannelPayer>, desk: Arc<Desk>, config: RequesterConfig) -> Self {
        Self { client, payer, desk, config }
    }

    /// The client library's handle.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// What pays.
    pub const fn payer(&self) -> &Arc<ChannelPayer> {
        &self.payer
    }

    /// How work is bought.
    pub const fn config(&self) -> &RequesterConfig {
        &self.config
    }

    /// The demand that stands behind a wish.
    pub fn demand(&self, model: ModelId, work: WorkKind) -> Demand {
        Demand {
            model,
            work,
            network: self.desk.chain().network(),
            price_max: self.config.price_max.map(PriceTable::from),
            // What turns prices into one price: a question and an answer of a paragraph, or a few pages of texts.
            expected: match work {
                WorkKind::Generate => Usage { input_tokens: 200, output_tokens: 200 },
                WorkKind::Embed => Usage { input_tokens: 2000, output_tokens: 0 },
            },
            tier: self.config.tier,
            confidentiality: cocoon_market::offer::Confidentiality::Open,
            context_tokens: 0,
            tokens_per_s: 0,
        }
    }

    /// An agreement for a job: one that stands and carries it, else a new one about the best offer.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn deal(&self, want: &Want, mut observe: impl FnMut(BuyStep) + Send) -> Result<Deal, BuyError> {
        let matches = self.offers(want).await?;
        observe(BuyStep::Found(matches.clone()));
        let standing = self.standing(want).await?;
        // The best offer decides whom to ask; an agreement with somebody dearer is no reason to pay more.
        if let Some(agreement) = matches.first().and_then(|best| standing.iter().find(|one| one.body().provider == best.offer.provider)) {
            return Ok(Deal { agreement: agreement.clone(), origin: Origin::Reused });
        }
        self.negotiate(want, &matches, &mut observe).await
    }

    /// The offers to ask, best first; looks for them within the limit.
    ///
    /// # Errors
    /// [`BuyError`] when there are none to ask.
    pub async fn offers(&self, want: &Want) -> Result<Vec<Match>, BuyError> {
        let demand = self.demand(want.model, want.work);
        let by = Instant::now() + want.wait;
        loop {
            let found = self.client.find(&demand, OFFERS_TRIED).await?;
            let Matches { mut best, why } = found;
            let found_any = !best.is_empty();
            best.retain(|one| want.provider.is_none_or(|only| only == one.offer.provider));
            if !best.is_empty() {
                return Ok(best);
            }
            if Instant::now() >= by {
                return Err(match (want.provider, why) {
                    (Some(only), _) if found_any => BuyError::NotOffered(only),
                    (_, Some(why)) if why.offers > 0 => BuyError::NoMatch { why: why.to_string() },
                    _ => BuyError::NoOffers,
                });
            }
            tokio::time::sleep(SEARCH_PAUSE).await;
        }
    }

    async fn negotiate(&self, want: &Want, matches: &[Match], observe: &mut (impl FnMut(BuyStep) + Send)) -> Result<Deal, BuyError> {
        let cap = want.cap.checked_mul(JOBS_PER_AGREEMENT).unwrap_or(want.cap).min(self.config.deposit).max(want.cap);
        let mut last = BuyError::NoOffers;
        for offer in matches.iter().map(|one| &one.offer) {
            let provider = offer.provider;
            // The payer looks again before it opens a channel; this look is for who watches.
            if let Ok(view) = self.payer.backing(offer).await {
                observe(BuyStep::Backed { provider, stake: view.data.stake.standing(), cap });
            }
            let watched = |step| observe(BuyStep::Negotiation(provider, step));
            match self.client.negotiate_observed(offer, DealWishes::new(cap), watched).await {
                Ok(agreement) => return Ok(Deal { agreement, origin: Origin::New }),
                // What lacks here lacks towards everybody, but for what a provider itself lacks.
                Err(NegotiateError::Payment(error)) if error.kind != PayErrorKind::Terms => {
                    return Err(BuyError::Negotiate { provider, source: Box::new(NegotiateError::Payment(error)) });
                }
                Err(error) => {
                    observe(BuyStep::Next { provider, why: chain_text(&error) });
                    last = BuyError::Negotiate { provider, source: Box::new(error) };
                }
            }
        }
        Err(last)
    }

    /// Agreements for this model that still run and carry a job.
    async fn standing(&self, want: &Want) -> Result<Vec<Agreement>, BuyError> {
        let (model, now) = (want.model, self.desk.now());
        let mut standing = self.desk.blocking(move |desk| standing(desk, model, now)).await?;
        let mut carrying = Vec::new();
        for agreement in standing.drain(..) {
            if self.payer.cap_left(&agreement).await? >= want.cap {
                carrying.push(agreement);
            }
        }
        Ok(carrying)
    }

    /// Starts a job under an agreement, and returns when something came of it. It writes no more tokens than the cap of the job
    /// pays for, whatever the prompt costs. While all places of the provider are taken, it waits for one, within a limit.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn run(&self, deal: &Deal, order: impl Into<JobOrder>, cap: Amount) -> Result<RunningJob, BuyError> {
        let order = within_cap(order.into(), &deal.agreement.terms().price, cap)?;
        let by = Instant::now() + PLACE_WAIT;
        let mut pause = PLACE_PAUSE;
        loop {
            let mut handle = self.client.run(&deal.agreement, order.clone()).await?;
            match handle.next().await {
                Some(Err(error)) if is_busy(&error) && Instant::now() < by => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PLACE_PAUSE_MAX);
                }
                Some(Err(error)) => return Err(error.into()),
                first => return Ok(RunningJob { handle, first: first.and_then(Result::ok) }),
            }
        }
    }
}

/// The order, made to cost no more than the cap, if it can be.
fn within_cap(order: JobOrder, price: &PriceTable, cap: Amount) -> Result<JobOrder, BuyError> {
    let too_small = |usage| BuyError::CapTooSmall { cost: price.cost(usage).unwrap_or(Amount::MAX), cap };
    match order {
        JobOrder::Generate(mut order) => {
            let input_tokens = input_tokens_max(&order.prompt);
            let affordable = price.output_tokens_within(cap, input_tokens);
            if affordable == 0 {
                return Err(too_small(Usage { input_tokens, output_tokens: 1 }));
            }
            order.output_tokens_max = order.output_tokens_max.min(u32::try_from(affordable).unwrap_or(u32::MAX));
            Ok(order.into())
        }
        JobOrder::Embed(order) => {
            let input_tokens = order.texts.iter().map(|text| text_tokens_max(text)).fold(0, u64::saturating_add);
            let usage = Usage { input_tokens, output_tokens: 0 };
            if price.cost(usage).is_ok_and(|cost| cost <= cap) { Ok(order.into()) } else { Err(too_small(usage)) }
        }
    }
}

fn is_busy(error: &JobError) -> bool {
    matches!(error, JobError::Stopped { reason: StopReason::Refused(Refusal::Busy { .. }), .. })
}

/// A job that a provider took: a stream of its events. Dropping it cancels the job.
#[derive(Debug)]
pub struct RunningJob {
    handle: JobHandle,
    /// What showed that it was taken.
    first: Option<JobEvent>,
}

impl RunningJob {
    /// The job's name.
    pub const fn job(&self) -> JobId {
        self.handle.job()
    }

    /// Asks the provider to stop; what was done is still receipted, paid and reported.
    pub fn cancel(&mut self) {
        self.handle.cancel();
    }
}

impl Stream for RunningJob {
    type Item = Result<JobEvent, JobError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.handle.poll_next_unpin(cx),
        }
    }
}

/// No tokenizer of ours makes more tokens than there are bytes.
fn input_tokens_max(prompt: &Prompt) -> u64 {
    let bytes = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX);
    match prompt {
        Prompt::Raw(text) => bytes(text),
        Prompt::Chat(messages) => messages
            .iter()
            .map(|message| bytes(&message.role).saturating_add(bytes(&message.content)).saturating_add(TEMPLATE_TOKENS))
            .fold(TEMPLATE_TOKENS, u64::saturating_add),
    }
}

fn standing(desk: &Desk, model: ModelId, now: Timestamp) -> Result<Vec<Agreement>, DeskError> {
    let mut standing = Vec::new();
    let mut from = Some(AgreementId([0; 32]));
    while let Some(start) = from {
        let page = desk.ledger().agreements(start, PAGE)?;
        from = page.last().filter(|_| page.len() == PAGE).and_then(|last| after(last.id()));
        let ours = desk.ledger().node_id();
        let suits = |one: &Agreement| {
            let terms = one.terms();
            let runs = terms.model == model && terms.expires_at > now.plus_ms(LEAST_LIFE_MS);
            one.body().requester == ours && runs && is_payable(desk, terms.channel)
        };
        standing.extend(page.into_iter().filter(suits));
    }
    standing.sort_by_key(|one| std::cmp::Reverse(one.terms().expires_at));
    Ok(standing)
}

/// Whether jobs can still be paid in a channel.
fn is_payable(desk: &Desk, channel: ChannelRef) -> bool {
    let Ok(book) = desk.ledger().channel(channel) else { return false };
    let head = book.head();
    book.rollback().is_none() && head.end.is_none() && head.sight.is_some_and(|sight| sight.status == ChannelStatus::Open)
}

/// The next id; none after the last.
fn after(AgreementId(mut bytes): AgreementId) -> Option<AgreementId> {
    for byte in bytes.iter_mut().rev() {
        let (next, carried) = byte.overflowing_add(1);
        *byte = next;
        if !carried {
            return Some(AgreementId(bytes));
        }
    }
    None
}

/// Why an offer stands where it stands, in one line.
pub fn score_text(offer: &Verified<Offer>, score: &cocoon_market::matching::Score) -> String {
    format!(
        "{} TON for a usual job, about {:.1} s, risk x{:.2}, on {}",
        score.cost,
        // Shown to a tenth and a hundredth.
        score.time_ms as f64 / 1000.0,
        score.reliability_1024 as f64 / 1024.0,
        offer.device.name,
    )
}
