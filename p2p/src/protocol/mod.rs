//! The protocols between two nodes, each with its name and its bounds.

pub(crate) mod exchange;
pub(crate) mod frame;
pub mod job;
pub mod negotiate;
pub mod offers;

use libp2p::StreamProtocol;

/// Kademlia.
pub const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/cocoon/kad/1");
/// Negotiations.
pub const NEGOTIATE_PROTOCOL: StreamProtocol = StreamProtocol::new("/cocoon/negotiate/1");
/// Jobs.
pub const JOB_PROTOCOL: StreamProtocol = StreamProtocol::new("/cocoon/job/1");
/// Offers on request.
pub const OFFERS_PULL_PROTOCOL: StreamProtocol = StreamProtocol::new("/cocoon/offers-pull/1");
/// What identify says of this software.
pub const AGENT_PROTOCOL: &str = "/cocoon/1";
/// Offers topics begin so; the class of the model follows.
pub const OFFERS_TOPIC_PREFIX: &str = "/cocoon/offers/1/";
