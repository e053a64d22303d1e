//! `/cocoon/offers-pull/1`: "which offers do you know?", for a node that has just come.

use std::time::Duration;

use cocoon_market::signed::Signed;
use cocoon_market::{ModelId, Offer, SignedObject as _};
use serde::{Deserialize, Serialize};

use super::exchange::ExchangeCodec;

/// Offers in one answer: more than anybody compares for one demand, less than a packet storm.
pub const PULL_OFFERS_MAX: usize = 64;

/// Bytes of a question.
pub const PULL_REQUEST_BYTES_MAX: usize = 64;

/// Bytes of an answer: so many offers, each with its key, signature and framing.
pub const PULL_RESPONSE_BYTES_MAX: usize = PULL_OFFERS_MAX * (Offer::BYTES_MAX + 256);

/// How long an answer may take. It comes out of memory.
pub const PULL_TIMEOUT: Duration = Duration::from_secs(5);

/// Questions in flight on one connection.
pub const PULL_STREAMS_MAX: usize = 4;

/// The question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// For which model; `None` for any.
    pub model: Option<ModelId>,
}

/// The answer: signed offers, for the asker to check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullResponse {
    /// At most [`PULL_OFFERS_MAX`].
    pub offers: Vec<Signed>,
}

/// Frames of questions and answers.
pub(crate) type PullCodec = ExchangeCodec<PullRequest, PullResponse>;

pub(crate) const fn codec() -> PullCodec {
    ExchangeCodec::new(PULL_REQUEST_BYTES_MAX, PULL_RESPONSE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use cocoon_market::codec::{self, EncodeError};
    use cocoon_market::{NodeId, Signature};

    use super::*;

    fn answer(offers: usize) -> Result<Vec<u8>, EncodeError> {
        let largest = Signed { key: NodeId([7; 32]), signature: Signature([7; 64]), bytes: vec![7; Offer::BYTES_MAX] };
        codec::encode(&PullResponse { offers: vec![largest; offers] }, PULL_RESPONSE_BYTES_MAX)
    }

    #[test]
    fn an_answer_holds_as_many_offers_as_it_may_and_hardly_more() {
        assert!(answer(PULL_OFFERS_MAX).is_ok());
        assert!(answer(PULL_OFFERS_MAX + PULL_OFFERS_MAX / 4).is_err());
    }
}
