//! Keys, offers and terms for the tests of this crate.

use crate::agreement::Terms;
use crate::amount::Amount;
use crate::ids::{ChannelRef, ContractAddress, ModelId, NetworkId, PeerId};
use crate::keys::OperatorKey;
use crate::offer::{Confidentiality, DeviceClaim, DeviceKind, ModelClaim, ModelClass, Offer, Serves, SettlementTerms, Tier};
use crate::price::PriceTable;
use crate::time::Timestamp;

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub(crate) fn key(n: u8) -> OperatorKey {
    OperatorKey::from_seed(&[n; 32])
}

pub(crate) fn peer(n: u8) -> PeerId {
    PeerId(vec![n; 38])
}

pub(crate) const MODEL: ModelId = ModelId([7; 32]);

pub(crate) const CHANNEL: ChannelRef = ChannelRef { network: NetworkId::DEVNET, address: ContractAddress([3; 32]) };

pub(crate) fn price(job: u128, input: u128, output: u128) -> PriceTable {
    PriceTable { job: Amount::from_nano(job), input_per_mtok: Amount::from_nano(input), output_per_mtok: Amount::from_nano(output) }
}

/// The offer of provider `n`, made now, for an hour.
pub(crate) fn offer(n: u8) -> Offer {
    Offer {
        provider: key(n).node_id(),
        peer: peer(n),
        addresses: vec!["/ip4/127.0.0.1/tcp/4001".into()],
        model: ModelClaim { id: MODEL, name: "tiny".into(), class: ModelClass::TextTiny, serves: Serves::Text, context_tokens: 2048 },
        device: DeviceClaim { name: "cpu".into(), kind: DeviceKind::Cpu, tokens_per_s: 100 },
        price: price(1_000, 1_000_000, 4_000_000),
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        capacity: 4,
        slice_tokens: 32,
        float: Amount::from_nano(10_000),
        settlement: SettlementTerms {
            network: NetworkId::DEVNET,
            contract: ContractAddress([1; 32]),
            challenge_window_s: 60,
            deposit_min: Amount::from_nano(1_000_000),
        },
        sequence: 1,
        issued_at: NOW,
        expires_at: NOW.plus_ms(3_600_000),
    }
}

/// Terms that suit [`offer`] as they are.
pub(crate) fn terms() -> Terms {
    Terms {
        model: MODEL,
        price: offer(1).price,
        cap: Amount::from_nano(1_000_000),
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        slice_tokens: 32,
        float: Amount::from_nano(10_000),
        jobs_max: 2,
        first_chunk_ms: 60_000,
        chunk_ms: 15_000,
        channel: CHANNEL,
        expires_at: NOW.plus_ms(3_600_000),
    }
}
