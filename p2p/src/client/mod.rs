//! The requester's side: find offers, agree with a provider, run jobs, pay for them.

mod error;
mod find;
mod job;
mod negotiate;

use std::sync::Arc;

use cocoon_market::OperatorKey;

use crate::node::Node;
use crate::payment::Payer;
use crate::shell::Entropy;

pub use error::{FindError, JobError, JobProgress, NegotiateError};
pub use find::GOSSIP_WAIT;
pub use job::{EmbedOrder, GenerateOrder, JOB_EVENTS_MAX, JobEvent, JobHandle, JobOrder};
pub use negotiate::{DealWishes, NegotiationStep};

/// Buys work. Clones share the node and the purse.
#[derive(Clone)]
pub struct Client {
    node: Node,
    key: OperatorKey,
    payer: Arc<dyn Payer>,
    entropy: Entropy,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that negotiates over `node`, signs with `key` and pays through `payer`.
    pub fn new(node: Node, key: OperatorKey, payer: Arc<dyn Payer>) -> Self {
        Self { node, key, payer, entropy: Entropy::system() }
    }

    /// The same client with another source of randomness.
    #[must_use]
    pub fn with_entropy(self, entropy: Entropy) -> Self {
        Self { entropy, ..self }
    }

    /// The node it works over.
    pub fn node(&self) -> &Node {
        &self.node
    }
}
