//! The gateway's backend: each chat, and each order of vectors, is a job bought from the swarm.

use std::collections::BTreeMap;
use std::time::Duration;

use cocoon_market::job::Prompt;
use cocoon_market::{Serves, Timestamp, WorkKind};
use cocoon_p2p::payment::PayErrorKind;
use cocoon_p2p::{GenerateOrder, JobError, JobEvent, NegotiateError};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::buying::{BuyError, Buyer, RunningJob, Want};
use super::embedding::{Bought, EmbedTextsError};
use super::session::{find_model, job_cap};
use crate::commands::blocking;
use crate::config::Config;
use crate::context::Context;
use crate::gateway::{Answer, Backend, ChatEvent, ChatFailure, ChatOrder, Embeddings, EmbeddingsOrder, ModelCard};

/// Tokens of an answer when the client sets no limit: a few paragraphs. The cap of a job bounds it besides.
const OUTPUT_TOKENS_DEFAULT: u32 = 1024;

/// How long a chat waits for an offer.
const OFFER_WAIT: Duration = Duration::from_secs(10);

/// Models listed, at most: those of so many offers.
const OFFERS_LISTED_MAX: usize = 4096;

/// Answers chats, and makes vectors, by buying jobs.
#[derive(Debug)]
pub struct SwarmBackend {
    buyer: Buyer,
    context: Context,
    config: Config,
}

impl SwarmBackend {
    /// A backend that buys through this buyer.
    pub const fn new(buyer: Buyer, context: Context, config: Config) -> Self {
        Self { buyer, context, config }
    }

    async fn cards(&self) -> Result<Vec<ModelCard>, ChatFailure> {
        let stopped = |error: cocoon_p2p::NodeStopped| ChatFailure::Broken(error.to_string());
        let offers = self.buyer.client().node().offers(None, OFFERS_LISTED_MAX).await.map_err(stopped)?;
        let mut names: BTreeMap<String, Timestamp> = BTreeMap::new();
        for offer in offers {
            let seen = names.entry(offer.model.name.clone()).or_insert(offer.issued_at);
            *seen = (*seen).min(offer.issued_at);
        }
        // What requests without an offer in sight would look for.
        let (requester, now) = (&self.config.requester, self.buyer.client().node().clock().now());
        for default in [&requester.model, &requester.embedding_model] {
            names.entry(default.clone()).or_insert(now);
        }
        Ok(names.into_iter().map(|(name, seen)| ModelCard::new(name, seen.unix_s())).collect())
    }

    async fn answer(&self, order: ChatOrder) -> Result<Answer, ChatFailure> {
        let name = order.model.clone();
        let model = self.find(&name).await?;
        let cap = job_cap(&self.config, None);
        let want = Want { model, work: WorkKind::Generate, provider: None, cap, wait: OFFER_WAIT };
        let deal = self.buyer.deal(&want, |_| {}).await.map_err(|error| failure(&error))?;
        let job = self.buyer.run(&deal, job_order(order), cap).await.map_err(|error| failure(&error))?;
        Ok(Answer { job: job.job().to_string(), events: events(job).boxed() })
    }

    async fn make(&self, order: EmbeddingsOrder) -> Result<Embeddings, ChatFailure> {
        let model = self.find(&order.model).await?;
        let cap = job_cap(&self.config, None);
        let want = Want { model, work: WorkKind::Embed, provider: None, cap, wait: OFFER_WAIT };
        let failed = |error: BuyError| failure(&error);
        if let Some(asked) = order.dimensions {
            // Before anything is paid. All offers for one model are about the same vectors.
            let offers = self.buyer.offers(&want).await.map_err(failed)?;
            let width = offers.first().and_then(|best| width_of(best.offer.model.serves));
            if let Some(width) = width.filter(|width| *width != asked) {
                return Err(ChatFailure::Dimensions { asked, width });
            }
        }
        let deal = self.buyer.deal(&want, |_| {}).await.map_err(failed)?;
        let mut bought = Bought::default();
        match self.buyer.embed(&deal, order.texts, cap, &mut bought, &CancellationToken::new(), |_| {}).await {
            Ok(()) => Ok(Embeddings { vectors: bought.vectors, usage: bought.usage }),
            Err(EmbedTextsError::Buy(error)) => Err(failure(&error)),
            Err(error @ (EmbedTextsError::Cancelled { .. } | EmbedTextsError::Unfinished { .. })) => {
                Err(ChatFailure::Broken(error.to_string()))
            }
        }
    }

    /// A model by the name of an offer, or by one that this node knows.
    async fn find(&self, name: &str) -> Result<cocoon_market::ModelId, ChatFailure> {
        let stopped = |error: cocoon_p2p::NodeStopped| ChatFailure::Broken(error.to_string());
        let offers = self.buyer.client().node().offers(None, OFFERS_LISTED_MAX).await.map_err(stopped)?;
        let (context, config, wanted) = (self.context.clone(), self.config.clone(), name.to_owned());
        // What this node knows by that name goes first: an offer may call its model anything.
        if let Ok((id, _)) = blocking(move || find_model(&context, &config, &wanted)).await {
            return Ok(id);
        }
        let offered = offers.iter().find(|offer| offer.model.name == name || offer.model.id.to_string() == name);
        offered.map(|offer| offer.model.id).ok_or_else(|| ChatFailure::UnknownModel(name.to_owned()))
    }
}

impl Backend for SwarmBackend {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelCard>, ChatFailure>> {
        self.cards().boxed()
    }

    fn chat(&self, order: ChatOrder) -> BoxFuture<'_, Result<Answer, ChatFailure>> {
        self.answer(order).boxed()
    }

    fn embed(&self, order: EmbeddingsOrder) -> BoxFuture<'_, Result<Embeddings, ChatFailure>> {
        self.make(order).boxed()
    }
}

const fn width_of(serves: Serves) -> Option<u32> {
    match serves {
        Serves::Text => None,
        Serves::Vectors { width } => Some(width),
    }
}

fn job_order(order: ChatOrder) -> GenerateOrder {
    GenerateOrder {
        prompt: Prompt::Chat(order.messages),
        output_tokens_max: order.output_tokens_max.unwrap_or(OUTPUT_TOKENS_DEFAULT),
        sampling: order.sampling,
        stop: order.stop,
        seed: order.seed.map(|seed| seed_bytes(&seed.to_be_bytes())),
        job: None,
    }
}

/// A sampling seed of 32 bytes from a short one that a person chose.
pub fn seed_bytes(short: &[u8]) -> [u8; 32] {
    blake3::derive_key("cocoon-swarm 2026 sampling seed of a person", short)
}

/// A job's events as the gateway wants them. Dropping the stream drops the job, which cancels it.
fn events(job: RunningJob) -> impl futures::Stream<Item = Result<ChatEvent, ChatFailure>> + Send {
    job.filter_map(|event| {
        let event = match event {
            Ok(JobEvent::Chunk(chunk)) if chunk.text.is_empty() => None,
            Ok(JobEvent::Chunk(chunk)) => Some(Ok(ChatEvent::Text(chunk.text))),
            // Nobody sends vectors for a chat: the client would not have let them pass.
            Ok(JobEvent::Receipted { .. } | JobEvent::Vectors(_)) => None,
            Ok(JobEvent::Done { reason, usage, paid }) => Some(Ok(ChatEvent::Finished { reason, usage, paid })),
            Err(error) => Some(Err(job_failure(&error))),
        };
        std::future::ready(event)
    })
}

fn failure(error: &BuyError) -> ChatFailure {
    match error {
        BuyError::NoOffers | BuyError::NoMatch { .. } | BuyError::NotOffered(_) => ChatFailure::NoProvider(error.to_string()),
        BuyError::CapTooSmall { .. } => ChatFailure::Money(format!("{error}; raise requester.cap_ton")),
        BuyError::Negotiate { source, .. } => match &**source {
            NegotiateError::Payment(pay) if pay.kind == PayErrorKind::Funds => {
                ChatFailure::Money(format!("{pay}; put money into the wallet: swarm wallet deposit"))
            }
            other => ChatFailure::NoProvider(format!("{error}: {other}")),
        },
        BuyError::Job(error) => job_failure(error),
        BuyError::Desk(_) | BuyError::Stopped(_) => ChatFailure::Broken(error.to_string()),
    }
}

fn job_failure(error: &JobError) -> ChatFailure {
    match error {
        JobError::Stopped { reason, .. } => ChatFailure::stopped(reason),
        JobError::Order(inconsistent) => ChatFailure::BadOrder(inconsistent.to_string()),
        other => ChatFailure::Broken(other.to_string()),
    }
}
