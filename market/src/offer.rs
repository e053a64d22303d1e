//! Offers: what a provider sells, for an hour at most.
//!
//! An offer is published on change, re-announced rarely and withdrawn explicitly. Untrusted offers go through
//! `Signed` -> [`Verified<Offer>`] (signature, signer, consistency) -> [`Offer::check_time`] (freshness) before any book
//! takes them or any node forwards them.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::ids::{ContractAddress, ModelId, NetworkId, NodeId, OfferId, PEER_ID_BYTES_MAX, PeerId};
use crate::job::{VECTOR_WIDTH_MAX, WorkKind};
use crate::penalty::Penalty;
use crate::price::PriceTable;
use crate::signed::{Inconsistent, Signed, SignedObject, Verified};
use crate::time::{CLOCK_SKEW_MS, Timestamp};

/// The longest an offer may live. An hour keeps a vanished provider's offer from misleading anybody for long, and one
/// re-announcement an hour from 100,000 providers is 28 messages a second.
pub const OFFER_LIFETIME_MS_MAX: u64 = 3_600_000;

/// Addresses an offer may list: TCP and QUIC, IPv4 and IPv6, public and private.
pub const OFFER_ADDRESSES_MAX: usize = 8;

/// Bytes of one address: relayed multiaddresses with two peer ids have about 200.
pub const ADDRESS_BYTES_MAX: usize = 256;

/// Bytes of a name for people: models, devices.
pub const NAME_BYTES_MAX: usize = 96;

/// The shortest challenge window a provider may ask for outside of a devnet: a day, so that a provider that was cut off
/// from the chain for a night still claims in time.
pub const CHALLENGE_WINDOW_S_MIN: u32 = 86_400;

/// The longest: a month. A requester's refund waits for it.
pub const CHALLENGE_WINDOW_S_MAX: u32 = 30 * 86_400;

/// Which gossip topic a model's offers are on: by size, so that a node subscribes to what it can use. Models of text are
/// those that write it, and those that turn it into vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelClass {
    /// Models of text below one billion parameters.
    TextTiny,
    /// Models of text from one to ten billion parameters.
    TextSmall,
    /// Models of text above ten billion parameters.
    TextLarge,
}

impl ModelClass {
    /// All classes, for a node that listens to everything.
    pub const ALL: [Self; 3] = [Self::TextTiny, Self::TextSmall, Self::TextLarge];

    /// The class of a text model with so many parameters.
    pub const fn of_parameters(parameters: u64) -> Self {
        match parameters {
            0..1_000_000_000 => Self::TextTiny,
            1_000_000_000..10_000_000_000 => Self::TextSmall,
            _ => Self::TextLarge,
        }
    }

    /// The last part of the topic name.
    pub const fn topic(self) -> &'static str {
        match self {
            Self::TextTiny => "text-tiny",
            Self::TextSmall => "text-small",
            Self::TextLarge => "text-large",
        }
    }
}

/// How the work is verified (a priced property of the offer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Receipts only: trust and reputation.
    #[default]
    Plain,
    /// Float inference, fingerprinted and audited by draw.
    Audited,
    /// Integer inference, identical to the bit on every adapter.
    Exact,
    /// Keys bound in a hardware quote.
    Attested,
}

impl Tier {
    /// Its place among the tiers, from the weakest.
    pub const fn level(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Audited => 1,
            Self::Exact => 2,
            Self::Attested => 3,
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Audited => "audited",
            Self::Exact => "exact",
            Self::Attested => "attested",
        })
    }
}

/// What the provider's side can see of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidentiality {
    /// Encrypted on the way; the provider reads prompt and answer.
    #[default]
    Open,
    /// Encrypted to the provider's job key; relays see nothing, the provider's host reads prompt and answer.
    Sealed,
    /// Encrypted to a key inside a verified enclave; the host sees sizes and times.
    Attested,
}

impl std::fmt::Display for Confidentiality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Sealed => "sealed",
            Self::Attested => "attested",
        })
    }
}

impl Confidentiality {
    /// Its place among the levels, from the weakest.
    pub const fn level(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Sealed => 1,
            Self::Attested => 2,
        }
    }

    /// One plain sentence for the person who is about to send a prompt.
    pub const fn what_the_provider_sees(self) -> &'static str {
        match self {
            Self::Open => "The provider can read your prompt and the answer.",
            Self::Sealed => "Relays and other peers see nothing; the provider can read your prompt and the answer.",
            Self::Attested => "The provider's machine runs your job in an enclave and sees only its size and timing.",
        }
    }
}

/// What computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceClaim {
    /// Name for people, as the driver reports it.
    pub name: String,
    /// What kind of device.
    pub kind: DeviceKind,
    /// Measured tokens a second of one job, for the latency part of matching: tokens written, or read for vectors. A claim,
    /// corrected by experience.
    pub tokens_per_s: u32,
}

/// Kinds of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A processor.
    Cpu,
    /// A graphics adapter.
    Gpu,
    /// A graphics adapter emulated in software.
    SoftwareGpu,
}

/// What a model gives to whoever pays for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Serves {
    /// Text.
    Text,
    /// Vectors of texts.
    Vectors {
        /// Elements of each.
        width: u32,
    },
}

impl Serves {
    /// The kind of work that it takes orders for.
    pub const fn work(self) -> WorkKind {
        match self {
            Self::Text => WorkKind::Generate,
            Self::Vectors { .. } => WorkKind::Embed,
        }
    }
}

/// The model an offer is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelClaim {
    /// Blake3 of its file, or of the list of its files.
    pub id: ModelId,
    /// Name for people.
    pub name: String,
    /// Size class.
    pub class: ModelClass,
    /// What it gives.
    pub serves: Serves,
    /// Tokens of context served; of a model of vectors, the tokens of one text.
    pub context_tokens: u32,
}

/// How the provider wants to be paid: what a requester puts into the channel contract it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettlementTerms {
    /// The chain.
    pub network: NetworkId,
    /// The provider's contract: it holds the collateral, gets what channels pay, and passes the network's fee on.
    pub contract: ContractAddress,
    /// Seconds between a unilateral close and the refund.
    pub challenge_window_s: u32,
    /// The smallest deposit worth a channel.
    pub deposit_min: Amount,
}

/// A provider's offer for one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Who offers.
    pub provider: NodeId,
    /// The libp2p peer that serves it; the signature binds it to the operator.
    pub peer: PeerId,
    /// Where the peer listens, as multiaddresses.
    pub addresses: Vec<String>,
    /// What is served.
    pub model: ModelClaim,
    /// On what.
    pub device: DeviceClaim,
    /// For how much.
    pub price: PriceTable,
    /// How it is verified.
    pub tier: Tier,
    /// What the provider can see.
    pub confidentiality: Confidentiality,
    /// Jobs served at once.
    pub capacity: u16,
    /// Tokens between two receipts, written ones of text and read ones for vectors: what each side risks at a time.
    pub slice_tokens: u32,
    /// Unpaid work at which the provider stops.
    pub float: Amount,
    /// How it is paid.
    pub settlement: SettlementTerms,
    /// Grows with each offer or withdrawal of this provider; a higher one replaces a lower one for the same model.
    pub sequence: u64,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Why a consistent, well-signed offer is not taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferTimeError {
    /// Over. Peer penalty: none; gossip may be slow.
    #[error("offer expired {ago_ms} ms ago")]
    Expired {
        /// How long ago.
        ago_ms: u64,
    },
    /// From the future. Peer penalty: low; the clock may be wrong.
    #[error("offer was issued {ahead_ms} ms in the future")]
    FromTheFuture {
        /// How far ahead, beyond the tolerated skew.
        ahead_ms: u64,
    },
}

impl OfferTimeError {
    /// What it costs the peer that sent it.
    pub const fn penalty(&self) -> Penalty {
        match self {
            Self::Expired { .. } => Penalty::None,
            Self::FromTheFuture { .. } => Penalty::Low,
        }
    }
}

impl Verified<Offer> {
    /// Its id.
    pub fn id(&self) -> OfferId {
        OfferId(self.hash())
    }
}

impl Offer {
    /// Checks freshness.
    ///
    /// # Errors
    /// [`OfferTimeError`].
    pub fn check_time(&self, now: Timestamp) -> Result<(), OfferTimeError> {
        if self.expires_at <= now {
            return Err(OfferTimeError::Expired { ago_ms: now.since_ms(self.expires_at) });
        }
        if !self.issued_at.is_plausible_issue(now) {
            return Err(OfferTimeError::FromTheFuture { ahead_ms: self.issued_at.since_ms(now.plus_ms(CLOCK_SKEW_MS)) });
        }
        Ok(())
    }
}

impl SignedObject for Offer {
    const DOMAIN: &'static str = "cocoon/offer/1";
    const BYTES_MAX: usize = 4096;

    fn may_sign(&self, key: &NodeId) -> bool {
        *key == self.provider
    }

    fn check(&self) -> Result<(), Inconsistent> {
        let fail = |field, rule| Err(Inconsistent { field, rule });
        if self.peer.0.is_empty() || self.peer.0.len() > PEER_ID_BYTES_MAX {
            return fail("peer", "must be a peer id");
        }
        if self.addresses.len() > OFFER_ADDRESSES_MAX || self.addresses.iter().any(|a| a.len() > ADDRESS_BYTES_MAX) {
            return fail("addresses", "must be at most 8 of at most 256 bytes");
        }
        if !is_name(&self.model.name) || !is_name(&self.device.name) {
            return fail("name", "must have at most 96 bytes, none of them a control character");
        }
        if self.addresses.iter().any(|a| a.chars().any(char::is_control)) {
            return fail("addresses", "must have no control characters");
        }
        if self.expires_at <= self.issued_at || self.expires_at.since_ms(self.issued_at) > OFFER_LIFETIME_MS_MAX {
            return fail("expires_at", "must be within an hour after issued_at");
        }
        if self.capacity == 0 || self.slice_tokens == 0 || self.model.context_tokens == 0 {
            return fail("capacity", "capacity, slice and context must be positive");
        }
        if let Serves::Vectors { width } = self.model.serves
            && !usize::try_from(width).is_ok_and(|width| (1..=VECTOR_WIDTH_MAX).contains(&width))
        {
            return fail("serves", "vectors must have 1 to 8192 elements");
        }
        let window_s = self.settlement.challenge_window_s;
        let is_short = window_s < CHALLENGE_WINDOW_S_MIN && self.settlement.network != NetworkId::DEVNET;
        if is_short || window_s > CHALLENGE_WINDOW_S_MAX {
            return fail("challenge_window_s", "must be a day to a month, shorter only on a devnet");
        }
        Ok(())
    }
}

/// Whether a text is fit to be shown: terminals obey control characters.
fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

/// Takes back the offers of one provider for one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// Whose offers.
    pub provider: NodeId,
    /// For which model.
    pub model: ModelId,
    /// Ends every offer with a lower sequence.
    pub sequence: u64,
    /// When it was made.
    pub issued_at: Timestamp,
}

impl SignedObject for Withdrawal {
    const DOMAIN: &'static str = "cocoon/withdrawal/1";
    const BYTES_MAX: usize = 256;

    fn may_sign(&self, key: &NodeId) -> bool {
        *key == self.provider
    }

    fn check(&self) -> Result<(), Inconsistent> {
        Ok(())
    }
}

/// What travels on an offers topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferMessage {
    /// A signed [`Offer`].
    Offer(Signed),
    /// A signed [`Withdrawal`].
    Withdrawal(Signed),
}

impl OfferMessage {
    /// The largest message on an offers topic: an offer, its key, its signature and framing.
    pub const BYTES_MAX: usize = Offer::BYTES_MAX.saturating_add(256);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOW, key, offer};

    fn broken(alter: impl FnOnce(&mut Offer)) -> Option<&'static str> {
        let mut offer = offer(1);
        alter(&mut offer);
        offer.check().err().map(|inconsistent| inconsistent.field)
    }

    #[test]
    fn each_field_is_bounded() {
        assert_eq!(broken(|_| ()), None);
        assert_eq!(broken(|o| o.peer = PeerId(vec![])), Some("peer"));
        assert_eq!(broken(|o| o.peer = PeerId(vec![1; 65])), Some("peer"));
        assert_eq!(broken(|o| o.peer = PeerId(vec![1; 64])), None);
        assert_eq!(broken(|o| o.addresses = vec!["x".into(); 9]), Some("addresses"));
        assert_eq!(broken(|o| o.addresses = vec!["x".into(); 8]), None);
        assert_eq!(broken(|o| o.addresses = vec!["x".repeat(257)]), Some("addresses"));
        assert_eq!(broken(|o| o.addresses = vec!["x".repeat(256)]), None);
        assert_eq!(broken(|o| o.addresses = vec!["/ip4/\u{1b}[2J".into()]), Some("addresses"));
        assert_eq!(broken(|o| o.model.name = "x".repeat(97)), Some("name"));
        assert_eq!(broken(|o| o.model.name = "x".repeat(96)), None);
        assert_eq!(broken(|o| o.model.name = "a\nb".into()), Some("name"));
        assert_eq!(broken(|o| o.device.name = "x".repeat(97)), Some("name"));
        assert_eq!(broken(|o| o.device.name = "\u{7}".into()), Some("name"));
        assert_eq!(broken(|o| o.capacity = 0), Some("capacity"));
        assert_eq!(broken(|o| o.slice_tokens = 0), Some("capacity"));
        assert_eq!(broken(|o| o.model.context_tokens = 0), Some("capacity"));
        let width = |width| broken(|o| o.model.serves = Serves::Vectors { width });
        assert_eq!([0, 1, 8192, 8193].map(width), [Some("serves"), None, None, Some("serves")]);
    }

    #[test]
    fn an_offer_lives_an_hour_at_most() {
        assert_eq!(broken(|o| o.expires_at = NOW), Some("expires_at"));
        assert_eq!(broken(|o| o.expires_at = NOW.plus_ms(1)), None);
        assert_eq!(broken(|o| o.expires_at = NOW.plus_ms(OFFER_LIFETIME_MS_MAX)), None);
        assert_eq!(broken(|o| o.expires_at = NOW.plus_ms(OFFER_LIFETIME_MS_MAX + 1)), Some("expires_at"));
    }

    #[test]
    fn a_challenge_window_is_a_day_to_a_month() {
        let window = |network, seconds| broken(|o| (o.settlement.network, o.settlement.challenge_window_s) = (network, seconds));
        for network in [NetworkId::MAINNET, NetworkId::TESTNET] {
            assert_eq!(window(network, CHALLENGE_WINDOW_S_MIN - 1), Some("challenge_window_s"));
            assert_eq!(window(network, CHALLENGE_WINDOW_S_MIN), None);
            assert_eq!(window(network, 30 * 24 * 3600), None);
            assert_eq!(window(network, 30 * 24 * 3600 + 1), Some("challenge_window_s"));
        }
        assert_eq!(window(NetworkId::DEVNET, 1), None);
        assert_eq!(window(NetworkId::DEVNET, CHALLENGE_WINDOW_S_MAX + 1), Some("challenge_window_s"));
    }

    #[test]
    fn an_offer_is_good_from_its_issue_to_its_end() {
        let offer = offer(1);
        assert_eq!(offer.check_time(NOW), Ok(()));
        assert_eq!(offer.check_time(Timestamp(offer.expires_at.0 - 1)), Ok(()));
        assert_eq!(offer.check_time(offer.expires_at), Err(OfferTimeError::Expired { ago_ms: 0 }));
        assert_eq!(offer.check_time(Timestamp(NOW.0 - CLOCK_SKEW_MS)), Ok(()));
        let early = offer.check_time(Timestamp(NOW.0 - CLOCK_SKEW_MS - 1)).unwrap_err();
        assert_eq!((early, early.penalty()), (OfferTimeError::FromTheFuture { ahead_ms: 1 }, Penalty::Low));
        assert_eq!(OfferTimeError::Expired { ago_ms: 0 }.penalty(), Penalty::None);
    }

    #[test]
    fn only_the_provider_signs_its_offers_and_withdrawals() {
        let (mine, other) = (key(1).node_id(), key(2).node_id());
        assert!(offer(1).may_sign(&mine) && !offer(1).may_sign(&other));
        let withdrawal = Withdrawal { provider: mine, model: ModelId([0; 32]), sequence: 1, issued_at: NOW };
        assert!(withdrawal.may_sign(&mine) && !withdrawal.may_sign(&other));
        assert_eq!(withdrawal.check(), Ok(()));
    }

    #[test]
    fn the_largest_honest_offer_fits_its_bound() {
        let mut offer = offer(1);
        offer.peer = PeerId(vec![1; PEER_ID_BYTES_MAX]);
        offer.addresses = vec!["x".repeat(ADDRESS_BYTES_MAX); OFFER_ADDRESSES_MAX];
        offer.model.name = "x".repeat(NAME_BYTES_MAX);
        offer.device.name = "x".repeat(NAME_BYTES_MAX);
        (offer.sequence, offer.capacity, offer.slice_tokens) = (u64::MAX, u16::MAX, u32::MAX);
        let signed = Verified::sign(offer, &key(1)).unwrap().into_signed();
        assert!(crate::codec::encode(&OfferMessage::Offer(signed), OfferMessage::BYTES_MAX).is_ok());
    }

    #[test]
    fn classes_tiers_and_levels_have_their_order_and_names() {
        assert_eq!(ModelClass::of_parameters(999_999_999), ModelClass::TextTiny);
        assert_eq!(ModelClass::of_parameters(1_000_000_000), ModelClass::TextSmall);
        assert_eq!(ModelClass::of_parameters(10_000_000_000), ModelClass::TextLarge);
        let topics: Vec<_> = ModelClass::ALL.map(ModelClass::topic).into_iter().collect();
        assert_eq!(topics, ["text-tiny", "text-small", "text-large"]);
        let tiers = [Tier::Plain, Tier::Audited, Tier::Exact, Tier::Attested];
        assert!(tiers.is_sorted() && tiers.map(Tier::level) == [0, 1, 2, 3]);
        assert_eq!(tiers.map(|t| t.to_string()), ["plain", "audited", "exact", "attested"]);
        let levels = [Confidentiality::Open, Confidentiality::Sealed, Confidentiality::Attested];
        assert!(levels.is_sorted() && levels.map(Confidentiality::level) == [0, 1, 2]);
        assert_eq!(levels.map(|c| c.to_string()), ["open", "sealed", "attested"]);
        let mut sentences = levels.map(Confidentiality::what_the_provider_sees).to_vec();
        sentences.dedup();
        assert!(sentences.len() == 3 && sentences.iter().all(|s| s.ends_with('.')));
    }
}
