//! Names of things: nodes, peers, models, deals, jobs, contracts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name that is not the hexadecimal text it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: expected {digits} hexadecimal digits")]
pub struct IdError {
    pub(crate) what: &'static str,
    pub(crate) digits: usize,
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first eight hexadecimal digits, for people and logs.
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(8);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0u8; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError { what: $what, digits: $len * 2 })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    return String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom);
                }
                crate::codec::fixed_bytes(deserializer).map(Self)
            }
        }
    };
}
pub(crate) use byte_id;

byte_id!(
    /// A party of the market: the ed25519 public key of its operator, which signs offers, agreements, receipts, vouchers.
    NodeId, 32, "node id"
);
byte_id!(
    /// A model: the blake3 hash of its file. Kademlia provider records are keyed by it.
    ModelId, 32, "model id"
);
byte_id!(
    /// An offer: the blake3 hash of its signed bytes.
    OfferId, 32, "offer id"
);
byte_id!(
    /// One message of a negotiation: the blake3 hash of its signed bytes.
    ProposalId, 32, "proposal id"
);
byte_id!(
    /// An agreement: the blake3 hash of the bytes both parties signed.
    AgreementId, 32, "agreement id"
);
byte_id!(
    /// A job, named by its requester at random. Sixteen bytes, so that a receipt header stays within 127.
    JobId, 16, "job id"
);
byte_id!(
    /// The account of a contract in TON's basechain: the hash of its initial state.
    ContractAddress, 32, "contract address"
);
byte_id!(
    /// A SHA-256 digest: commitments, receipt digests and roots.
    Digest, 32, "SHA-256 digest"
);

/// Bytes a [`PeerId`] may have: an identity multihash of an ed25519 key has 38, a hashed key 34.
pub const PEER_ID_BYTES_MAX: usize = 64;

/// A libp2p peer id as its bytes. This crate compares it and shows it; `p2p` knows what it means.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerId(#[serde(with = "crate::codec::hex_or_bytes")] pub Vec<u8>);

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", hex::encode(&self.0))
    }
}

/// Which chain money lives on: TON's global id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetworkId(pub i32);

impl NetworkId {
    /// TON's main network.
    pub const MAINNET: Self = Self(-239);
    /// TON's public test network.
    pub const TESTNET: Self = Self(-3);
    /// The embedded chain of `swarm devnet` and `swarm demo`.
    pub const DEVNET: Self = Self(-777);
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MAINNET => f.write_str("mainnet"),
            Self::TESTNET => f.write_str("testnet"),
            Self::DEVNET => f.write_str("devnet"),
            Self(other) => write!(f, "network {other}"),
        }
    }
}

/// A payment channel: a contract on a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelRef {
    /// The chain.
    pub network: NetworkId,
    /// The contract's account in the basechain.
    pub address: ContractAddress,
}

impl fmt::Display for ChannelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:0:{}", self.network, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hexadecimal_for_people_and_bytes_for_machines() {
        let id = JobId([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(id.short(), "abababab");
        assert_eq!(format!("{id:?}"), "JobId(abababab)");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<JobId>(&format!("\"{id}\"")).unwrap(), id);
        assert_eq!(serde_cbor::to_vec(&id).unwrap(), [&[0x50][..], &[0xab; 16]].concat());
        assert_eq!(JobId::LEN, id.as_bytes().len());
    }

    #[test]
    fn what_is_not_a_name_says_what_one_is() {
        for bad in ["", "ab", &"g".repeat(32), &"ab".repeat(17)] {
            let error = bad.parse::<JobId>().unwrap_err();
            assert_eq!(error.to_string(), "not a job id: expected 32 hexadecimal digits");
        }
    }

    #[test]
    fn networks_and_channels_have_names() {
        assert_eq!([NetworkId::MAINNET, NetworkId::TESTNET, NetworkId::DEVNET].map(|network| network.0), [-239, -3, -777]);
        let channel = |network| ChannelRef { network, address: ContractAddress([1; 32]) }.to_string();
        assert_eq!(channel(NetworkId::MAINNET), format!("mainnet:0:{}", "01".repeat(32)));
        assert!(channel(NetworkId::TESTNET).starts_with("testnet:"));
        assert!(channel(NetworkId::DEVNET).starts_with("devnet:"));
        assert!(channel(NetworkId(5)).starts_with("network 5:"));
    }

    #[test]
    fn a_peer_id_is_hexadecimal_in_json_and_a_byte_string_in_cbor() {
        let peer = PeerId(vec![1, 2]);
        assert_eq!(serde_json::to_string(&peer).unwrap(), "\"0102\"");
        assert_eq!(serde_json::from_str::<PeerId>("\"0102\"").unwrap(), peer);
        assert!(serde_json::from_str::<PeerId>("\"012\"").is_err());
        assert_eq!(serde_cbor::to_vec(&peer).unwrap(), [0x42, 1, 2]);
        assert_eq!(format!("{peer:?}"), "PeerId(0102)");
    }
}
