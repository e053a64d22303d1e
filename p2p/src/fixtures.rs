//! Offers, agreements and a stream for the tests of this crate's modules.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use cocoon_market::agreement::{Agreement, AgreementTerms, Terms};
use cocoon_market::{Amount, ModelId, Offer, OfferId, OperatorKey, PeerId, ProposalId, Timestamp, Verified};
use futures::AsyncWrite;

use crate::testing::{channel_between, listing};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub(crate) fn key(n: u8) -> OperatorKey {
    OperatorKey::from_seed(&[n; 32])
}

pub(crate) fn peer(n: u8) -> PeerId {
    PeerId(vec![n; 38])
}

/// The offer of the provider with this key at this peer, made now.
pub(crate) fn offer(key: &OperatorKey, peer: PeerId, sequence: u64) -> Offer {
    listing(ModelId([7; 32]), 1000).offer(key.node_id(), peer, Vec::new(), sequence, NOW)
}

/// An agreement between requester 1 and provider 2, told apart from others by its nonce, and ending then.
pub(crate) fn agreement(nonce: u64, jobs_max: u16, expires_at: Timestamp) -> Agreement {
    let (requester, provider) = (key(1), key(2));
    let sold = offer(&provider, peer(2), 1);
    let mut proposal = [0; 32];
    proposal[..8].copy_from_slice(&nonce.to_be_bytes());
    let terms = AgreementTerms {
        proposal: ProposalId(proposal),
        offer: OfferId([0; 32]),
        requester: requester.node_id(),
        requester_peer: peer(1),
        provider: provider.node_id(),
        provider_peer: peer(2),
        terms: Terms {
            model: sold.model.id,
            price: sold.price,
            cap: Amount::from_nano(1_000_000_000),
            tier: sold.tier,
            confidentiality: sold.confidentiality,
            slice_tokens: sold.slice_tokens,
            float: sold.float,
            jobs_max,
            first_chunk_ms: 1000,
            chunk_ms: 1000,
            channel: channel_between(&requester.node_id(), &provider.node_id()),
            expires_at,
        },
        accepted_at: Timestamp(expires_at.0 - 3_600_000),
    };
    let accepted = Verified::sign(terms, &provider).expect("consistent terms");
    Agreement::commit(accepted, &requester).expect("the requester's key")
}

/// A stream that takes all and counts its ends.
#[derive(Debug, Default)]
pub(crate) struct Ends(pub(crate) usize);

impl AsyncWrite for Ends {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 += 1;
        Poll::Ready(Ok(()))
    }
}
