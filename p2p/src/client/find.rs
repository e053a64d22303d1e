//! Finding offers: the book first, then everybody who may know more.

use std::time::Duration;

use cocoon_market::{Demand, ModelId, PeerId};
use futures::future::{join_all, select};
use futures::{FutureExt as _, StreamExt as _};
use futures_timer::Delay;

use super::{Client, FindError};
use crate::node::{Matches, NodeEvent};

/// How long a demand that nothing answers waits for gossip: a heartbeat and a round trip.
pub const GOSSIP_WAIT: Duration = Duration::from_millis(1_500);

/// Neighbours asked for offers: any one may have been here longer than we.
const ASK_NEIGHBOURS: usize = 3;

/// Providers of Kademlia asked for their offers.
const ASK_PROVIDERS: usize = 8;

impl Client {
    /// The best `k` offers for a demand: from the book if it has some that fit; else after asking neighbours, and the
    /// providers that Kademlia names, and waiting a moment for gossip. When nothing fits, the matches say why.
    ///
    /// # Errors
    /// [`FindError`].
    pub async fn find(&self, demand: &Demand, k: usize) -> Result<Matches, FindError> {
        let known = self.node.matches(demand.clone(), k).await?;
        if !known.best.is_empty() {
            return Ok(known);
        }
        let mut events = self.node.events();
        let asked = select(self.ask_neighbours(demand.model).boxed(), self.ask_providers(demand.model).boxed());
        let (_, rest) = asked.await.factor_first();
        let known = self.node.matches(demand.clone(), k).await?;
        if !known.best.is_empty() {
            return Ok(known);
        }
        rest.await;
        let patience = Delay::new(GOSSIP_WAIT);
        let mut patience = patience.fuse();
        loop {
            let known = self.node.matches(demand.clone(), k).await?;
            if !known.best.is_empty() {
                return Ok(known);
            }
            let heard = events.by_ref().filter(|event| std::future::ready(is_offer_for(event, demand.model)));
            futures::pin_mut!(heard);
            futures::select_biased! {
                event = heard.next().fuse() => if event.is_none() { return Ok(known) },
                () = patience => return Ok(known),
            }
        }
    }

    async fn ask_neighbours(&self, model: ModelId) {
        let neighbours = self.node.connected_peers().await.unwrap_or_default();
        self.pull_from(&neighbours, ASK_NEIGHBOURS, model).await;
    }

    async fn ask_providers(&self, model: ModelId) {
        let providers = self.node.find_providers(model).await.unwrap_or_default();
        self.pull_from(&providers, ASK_PROVIDERS, model).await;
    }

    async fn pull_from(&self, peers: &[PeerId], max: usize, model: ModelId) {
        let answers = join_all(peers.iter().take(max).map(|peer| self.node.pull_offers(peer, model))).await;
        for error in answers.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "a peer was asked for offers in vain");
        }
    }
}

fn is_offer_for(event: &NodeEvent, wanted: ModelId) -> bool {
    matches!(event, NodeEvent::OfferSeen { model, .. } if *model == wanted)
}

#[cfg(test)]
mod tests {
    use cocoon_market::OfferId;

    use super::*;
    use crate::fixtures::key;
    use crate::node::OfferPath;

    #[test]
    fn only_an_offer_for_the_wanted_model_is_worth_another_look() {
        let (wanted, other) = (ModelId([1; 32]), ModelId([2; 32]));
        let seen = |model| NodeEvent::OfferSeen { id: OfferId([0; 32]), provider: key(1).node_id(), model, how: OfferPath::Gossip };
        assert!(is_offer_for(&seen(wanted), wanted));
        assert!(!is_offer_for(&seen(other), wanted));
        assert!(!is_offer_for(&NodeEvent::OfferWithdrawn { provider: key(1).node_id(), model: wanted }, wanted));
    }
}
