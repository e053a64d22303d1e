//! `swarm offers`: what is offered on the network.

use std::time::Duration;

use cocoon_market::offer::{Serves, Tier};
use cocoon_market::{Amount, ModelId, NodeId, Offer, WorkKind};
use cocoon_p2p::{NodeEvent, peer_text};
use cocoon_settlement::settler::ProviderView;
use futures::StreamExt as _;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::blocking;
use crate::cli::OffersArgs;
use crate::context::Context;
use crate::failure::{Failure, chain_text};
use crate::output::Table;
use crate::signals::stop_requested;
use crate::wiring::buying::Buyer;
use crate::wiring::payer::BackingError;
use crate::wiring::session::{Addresses, Part, Session, find_model};

/// Providers' contracts looked at, at most: each costs a question to the chain. The best offers stand first.
const LOOKED_AT_MAX: usize = 20;

/// Offers shown, at most.
const SHOWN_MAX: usize = 1000;

/// An offer as it is shown.
#[derive(Serialize)]
struct Row {
    provider: NodeId,
    peer: String,
    model: String,
    model_id: ModelId,
    serves: Serves,
    device: String,
    tokens_per_s: u32,
    context_tokens: u32,
    input_nanoton_per_mtok: Amount,
    output_nanoton_per_mtok: Amount,
    tier: Tier,
    network: i32,
    expires_in_s: u64,
    /// The collateral behind its work, as far as it was looked at and found.
    stake_nanoton: Option<Amount>,
    /// Why this node would not buy from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    passed: Option<String>,
}

/// Runs `swarm offers`.
///
/// # Errors
/// No keys, or a node that does not start.
pub async fn run(context: &Context, args: &OffersArgs) -> Result<(), Failure> {
    let addresses = Addresses { bootstrap: args.bootstrap.clone(), no_mdns: args.no_mdns, ..Addresses::default() };
    let session = Session::open(context, Part::Visitor, addresses).await?;
    let shown = show(context, args, &session).await;
    session.close(None, CancellationToken::new()).await;
    shown
}

async fn show(context: &Context, args: &OffersArgs, session: &Session) -> Result<(), Failure> {
    let name = args.model.clone().unwrap_or_else(|| session.config.requester.model.clone());
    let (lookup, config) = (context.clone(), session.config.clone());
    let (id, _) = blocking(move || find_model(&lookup, &config, &name)).await?;
    let model = args.model.as_ref().map(|_| id);
    let buyer = session.buyer()?;
    let mut events = session.node.node().events();
    tokio::select! {
        biased;
        () = stop_requested() => return Ok(()),
        () = listen(&buyer, id, Duration::from_secs(args.wait)) => {}
    }
    print(context, session, &buyer, model).await;
    if !args.watch {
        return Ok(());
    }
    let mut stop = std::pin::pin!(stop_requested());
    loop {
        let event = tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            event = events.next() => event,
        };
        match event {
            None => return Ok(()),
            Some(NodeEvent::OfferSeen { .. } | NodeEvent::OfferWithdrawn { .. }) => print(context, session, &buyer, model).await,
            Some(_) => {}
        }
    }
}

/// Hears gossip for a while, and asks around for one model meanwhile.
async fn listen(buyer: &Buyer, model: ModelId, wait: Duration) {
    let ask = async {
        // Who is not found is not shown.
        let _ = buyer.client().find(&buyer.demand(model, WorkKind::Generate), 1).await;
    };
    tokio::join!(ask, tokio::time::sleep(wait));
}

async fn print(context: &Context, session: &Session, buyer: &Buyer, model: Option<ModelId>) {
    let now = session.node.desk().now();
    let mut offers = session.node.node().offers(model, SHOWN_MAX).await.unwrap_or_default();
    offers.sort_by_key(|offer| (offer.model.id, offer.price.output_per_mtok, offer.price.input_per_mtok));
    let mut rows = Vec::with_capacity(offers.len());
    for (shown, offer) in offers.iter().enumerate() {
        let backing = if shown < LOOKED_AT_MAX { Some(buyer.payer().backing(offer).await) } else { None };
        rows.push(row(offer, offer.expires_at.since_ms(now) / 1000, backing));
    }
    context.out().result(&rows, |rows| text(rows));
}

fn row(offer: &Offer, expires_in_s: u64, backing: Option<Result<ProviderView, BackingError>>) -> Row {
    let (stake_nanoton, passed) = match backing {
        Some(Ok(view)) => (Some(view.data.stake.standing()), None),
        Some(Err(BackingError::TooLittle { standing, stake_min })) => {
            (Some(standing), Some(BackingError::TooLittle { standing, stake_min }.to_string()))
        }
        Some(Err(error)) => (None, Some(chain_text(&error))),
        None => (None, None),
    };
    Row {
        stake_nanoton,
        passed,
        provider: offer.provider,
        peer: peer_text(&offer.peer),
        model: offer.model.name.clone(),
        model_id: offer.model.id,
        serves: offer.model.serves,
        device: offer.device.name.clone(),
        tokens_per_s: offer.device.tokens_per_s,
        context_tokens: offer.model.context_tokens,
        input_nanoton_per_mtok: offer.price.input_per_mtok,
        output_nanoton_per_mtok: offer.price.output_per_mtok,
        tier: offer.tier,
        network: offer.settlement.network.0,
        expires_in_s,
    }
}

/// What a model gives, for people.
fn serves_text(serves: Serves) -> String {
    match serves {
        Serves::Text => "text".to_owned(),
        Serves::Vectors { width } => format!("vectors of {width}"),
    }
}

fn text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "No offers yet. Join through a peer with --bootstrap, or listen longer with --wait.".to_owned();
    }
    let mut table = Table::new(["PROVIDER", "MODEL", "GIVES", "TON/MTOK IN", "OUT", "TOKENS/S", "STAKE", "DEVICE"]).right([3, 4, 5, 6]);
    for row in rows {
        table.row([
            row.provider.short(),
            row.model.clone(),
            serves_text(row.serves),
            row.input_nanoton_per_mtok.to_string(),
            row.output_nanoton_per_mtok.to_string(),
            row.tokens_per_s.to_string(),
            row.stake_nanoton.map_or_else(|| "-".to_owned(), |stake| stake.to_string()),
            row.device.clone(),
        ]);
    }
    let passed = rows.iter().filter_map(|row| row.passed.as_ref().map(|why| format!("\nnot bought from {}: {why}", row.provider.short())));
    format!("{table}{}", passed.collect::<String>())
}
