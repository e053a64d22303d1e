//! What the tests of the job machines share.

mod check;
mod meter;
mod world;

use super::*;
use crate::agreement::{Agreement, AgreementTerms, Terms};
use crate::amount::Amount;
use crate::commitment::{TokenCommitment, VectorCommitment};
use crate::fixtures::{NOW, key, peer, price, terms};
use crate::ids::{Digest, JobId, OfferId, ProposalId};
use crate::job::{Chunk, Embed, FinishReason, Generate, JobRequest, Prompt, ProviderFrame, Sampling, StopReason, Vector, Vectors, Work};
use crate::price::Usage;
use crate::receipt::{Receipt, ReceiptBody, SignedReceipt};
use crate::signed::Verified;
use crate::time::Timestamp;

const PROVIDER: u8 = 1;
const REQUESTER: u8 = 2;

fn agreement(terms: Terms) -> Agreement {
    let agreed = AgreementTerms {
        proposal: ProposalId([1; 32]),
        offer: OfferId([2; 32]),
        requester: key(REQUESTER).node_id(),
        requester_peer: peer(REQUESTER),
        provider: key(PROVIDER).node_id(),
        provider_peer: peer(PROVIDER),
        terms,
        accepted_at: NOW,
    };
    Agreement::commit(Verified::sign(agreed, &key(PROVIDER)).unwrap(), &key(REQUESTER)).unwrap()
}

fn request(agreement: &Agreement) -> JobRequest {
    JobRequest { agreement: agreement.id(), job: JobId([5; 16]), work: generate(1000) }
}

fn generate(output_tokens_max: u32) -> Work {
    let prompt = Prompt::Raw("hello".into());
    Work::Generate(Generate { prompt, output_tokens_max, sampling: Sampling::GREEDY, stop: Vec::new(), seed: [8; 32] })
}

/// An order for the vectors of so many texts of three bytes, which have at most five tokens each.
fn embed(texts: usize) -> Work {
    Work::Embed(Embed { texts: vec!["abc".into(); texts] })
}

/// So many vectors of three elements, the first element of the first one being `from`.
fn vectors(from: u16, count: u16) -> Vec<Vector> {
    (from..from + count).map(|n| Vector::new(&[f32::from(n), 0.5, -0.0])).collect()
}

/// Signs the receipt that a slice asks for, as a ledger would, but for the chain of receipts.
fn receipt(agreement: &Agreement, request: &JobRequest, slice: &Slice, sequence: u64) -> SignedReceipt {
    let body = ReceiptBody {
        agreement: agreement.id(),
        previous: Digest([0; 32]),
        usage: slice.usage,
        amount: slice.amount,
        input: slice.input,
        output: slice.output,
        seed: request.seed_commitment(),
        work: Digest([0; 32]),
        last: slice.last,
        issued_at: NOW,
    };
    Receipt::new(agreement.terms().channel, sequence, request.job, slice.total, body).sign(&key(PROVIDER))
}
