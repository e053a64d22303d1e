//! What `swarm ask` and `swarm embed` do alike: a visit to the swarm, the best offer, and an agreement.

use std::time::Duration;

use cocoon_market::WorkKind;
use tokio_util::sync::CancellationToken;

use super::blocking;
use crate::cli::PurchaseArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::story::Event;
use crate::wiring::buying::{BuyError, Buyer, Deal, Origin, Want};
use crate::wiring::session::{Addresses, Part, Session, find_model, job_cap};

/// Does something on a visit to the swarm, and leaves it whatever came of it.
pub(super) async fn in_session(
    context: &Context,
    args: &PurchaseArgs,
    work: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let addresses = Addresses { bootstrap: args.bootstrap.clone(), no_mdns: args.no_mdns, ..Addresses::default() };
    let session = Session::open(context, Part::Visitor, addresses).await?;
    let done = work(&session).await;
    session.close(None, CancellationToken::new()).await;
    done
}

/// What the options ask for; the model is the configured one of this work unless they name another.
pub(super) async fn want(context: &Context, session: &Session, args: &PurchaseArgs, work: WorkKind) -> Result<Want, Failure> {
    let configured = match work {
        WorkKind::Generate => &session.config.requester.model,
        WorkKind::Embed => &session.config.requester.embedding_model,
    };
    let name = args.model.clone().unwrap_or_else(|| configured.clone());
    let (lookup, config) = (context.clone(), session.config.clone());
    let (model, _) = blocking(move || find_model(&lookup, &config, &name)).await?;
    let (provider, cap, wait) = (args.provider, job_cap(&session.config, args.cap), Duration::from_secs(args.wait));
    Ok(Want { model, work, provider, cap, wait })
}

/// Shows who would win, and buys nothing.
pub(super) async fn look(buyer: &Buyer, want: &Want, out: &Output) -> Result<(), BuyError> {
    Event::of_matches(&buyer.offers(want).await?).tell(out);
    Ok(())
}

/// Agrees with the provider of the best offer, and tells how that goes.
pub(super) async fn agree(buyer: &Buyer, want: &Want, out: &Output) -> Result<Deal, BuyError> {
    let deal = buyer.deal(want, |step| remark(out, &Event::of_step(step))).await?;
    if deal.origin == Origin::Reused {
        remark(out, &Event::Reused { agreement: deal.agreement.id(), provider: deal.agreement.body().provider });
    }
    Ok(deal)
}

/// Tells programs on stdout, people on stderr.
pub(super) fn remark(out: &Output, event: &Event) {
    match out.format() {
        Format::Json => event.tell(out),
        Format::Text => out.note(&event.text(out)),
    }
}
