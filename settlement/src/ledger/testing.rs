//! An agreement, and copies of stores, for the tests of this crate.

use cocoon_market::agreement::{Agreement, AgreementTerms, Terms};
use cocoon_market::offer::{Confidentiality, Tier};
use cocoon_market::{Amount, ChannelRef, ModelId, OfferId, OperatorKey, PeerId, PriceTable, ProposalId, Timestamp, Verified};

use super::{MemoryStore, Store as _, Table, Write, WriteMode};

/// A store with the same entries, which goes its own way from here on.
pub(crate) fn copy(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::default();
    for table in Table::ALL {
        let entries = store.scan(table, &[], &[], usize::MAX).unwrap();
        let writes: Vec<_> = entries.into_iter().map(|(key, value)| Write { table, key, value, mode: WriteMode::Put }).collect();
        copy.commit(&writes).unwrap();
    }
    copy
}

/// What a test wants of an agreement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deal {
    pub(crate) channel: ChannelRef,
    pub(crate) cap: u128,
    pub(crate) float: u128,
    pub(crate) jobs_max: u16,
}

impl Deal {
    /// A deal that nothing in a test reaches the bounds of.
    pub(crate) const fn boundless(channel: ChannelRef) -> Self {
        Self { channel, cap: u128::MAX, float: u128::MAX, jobs_max: u16::MAX }
    }

    pub(crate) fn sign(self, requester: &OperatorKey, provider: &OperatorKey, now: Timestamp) -> Agreement {
        let free = PriceTable { job: Amount::ZERO, input_per_mtok: Amount::ZERO, output_per_mtok: Amount::ZERO };
        let terms = Terms {
            model: ModelId([9; 32]),
            price: free,
            cap: Amount::from_nano(self.cap),
            tier: Tier::Plain,
            confidentiality: Confidentiality::Open,
            slice_tokens: 10,
            float: Amount::from_nano(self.float),
            jobs_max: self.jobs_max,
            first_chunk_ms: 1_000,
            chunk_ms: 1_000,
            channel: self.channel,
            expires_at: now.plus_ms(3_600_000),
        };
        let body = AgreementTerms {
            proposal: ProposalId([1; 32]),
            offer: OfferId([1; 32]),
            requester: requester.node_id(),
            requester_peer: PeerId(vec![1; 38]),
            provider: provider.node_id(),
            provider_peer: PeerId(vec![2; 38]),
            terms,
            accepted_at: now,
        };
        Agreement::commit(Verified::sign(body, provider).unwrap(), requester).unwrap()
    }
}
