//! Payers, payees and executors without a chain, a disk or a model, and nodes without sockets; for tests, benches and the
//! simulator.
//!
//! The money is real in all but durability: receipts are numbered, chained and signed, vouchers cover their roots, and
//! both sides check what they get. What is missing is the chain behind the channel and the journal under the account.

mod executor;
mod payee;
mod payer;

use cocoon_market::ids::{ChannelRef, ContractAddress};
use cocoon_market::offer::{Confidentiality, DeviceClaim, DeviceKind, ModelClaim, ModelClass, Serves, Tier};
use cocoon_market::{Amount, ModelId, NetworkId, NodeId, PriceTable, SettlementTerms};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade::Version;
use libp2p::{Transport as _, noise, yamux};

use crate::identity::Identity;
use crate::provider::Listing;
use crate::transport::Transport;

pub use executor::{Answer, MOCK_WIDTH, MockExecutor, Stumble, mock_vector};
pub use payee::MockPayee;
pub use payer::{MockPayer, PayerFault};

/// A transport within this process, over addresses such as `/memory/7`: real Noise, real Yamux, no sockets.
pub fn memory_transport(identity: &Identity) -> Transport {
    let key = identity.keypair();
    let noise = noise::Config::new(key).expect("an ed25519 key signs the handshake's keys");
    let secured = MemoryTransport::default().upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux::Config::default());
    Transport::new(secured.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed())
}

/// The channel that the mocks use between two parties.
pub fn channel_between(requester: &NodeId, provider: &NodeId) -> ChannelRef {
    let mut address = [0u8; 32];
    for ((to, a), b) in address.iter_mut().zip(requester.0).zip(provider.0) {
        *to = a ^ b.rotate_left(1);
    }
    ChannelRef { network: NetworkId::DEVNET, address: ContractAddress(address) }
}

/// A listing of a tiny model of vectors: as [`listing`], and the mock executor does what it says.
pub fn vectors_listing(model: ModelId, price_per_token: u64) -> Listing {
    let listing = listing(model, price_per_token);
    let width = u32::try_from(MOCK_WIDTH).unwrap_or(u32::MAX);
    Listing { model: ModelClaim { serves: Serves::Vectors { width }, ..listing.model.clone() }, ..listing }
}

/// A listing of a tiny text model: a slice every 16 tokens, a float of three slices.
pub fn listing(model: ModelId, price_per_token: u64) -> Listing {
    let per_mtok = |times: u64| Amount::from_nano(u128::from(price_per_token) * u128::from(times) * 1_000_000);
    Listing {
        model: ModelClaim { id: model, name: "tiny".into(), class: ModelClass::TextTiny, serves: Serves::Text, context_tokens: 2048 },
        device: DeviceClaim { name: "mock".into(), kind: DeviceKind::Cpu, tokens_per_s: 1000 },
        price: PriceTable { job: Amount::ZERO, input_per_mtok: per_mtok(1), output_per_mtok: per_mtok(2) },
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        capacity: 16,
        slice_tokens: 16,
        float: Amount::from_nano(u128::from(price_per_token) * 2 * 48),
        settlement: SettlementTerms {
            network: NetworkId::DEVNET,
            contract: ContractAddress([1; 32]),
            challenge_window_s: 86_400,
            deposit_min: Amount::from_nano(1),
        },
        cap_max: Amount::from_nano(u128::MAX / 1_000_000),
        policy: None,
    }
}
