//! Golden vectors: the bytes of everything that is signed or sent, in `tests/vectors/*.json`.
//!
//! The files are the reference, for this crate and for any other that wants to talk to it. The fields of each vector are
//! read from JSON, encoded, and compared with its bytes; the bytes are decoded and compared with the fields; signatures are
//! made again from the seed of the key. A file that is missing, that nobody reads, or that has a vector more or less than
//! the types below, fails.
//!
//! `COCOON_VECTORS=write cargo test -p cocoon-market --test vectors` writes them anew. A change in a file that already
//! exists breaks every peer of the version before, and belongs to a new version of its domain.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;

use cocoon_market::agreement::{ChannelProblem, NEGOTIATE_BYTES_MAX, TermName};
use cocoon_market::job::{ChatMessage, Chunk, Embed, Generate, JOB_FRAME_BYTES_MAX, Prompt, Sampling, Vectors, WorkKind};
use cocoon_market::offer::{Confidentiality, DeviceClaim, DeviceKind, ModelClaim, ModelClass, Serves, Tier};
use cocoon_market::receipt::ReceiptBody;
use cocoon_market::tree::{self, Frontier};
use cocoon_market::{
    Agreement, AgreementId, AgreementTerms, Amount, AuditorKey, Certificate, ChannelRef, ContractAddress, CooperativeClose, FinishReason,
    JobId, JobRequest, ModelId, NegotiateRequest, NegotiateResponse, NetworkId, Offer, OfferId, OfferMessage, OperatorKey,
    OperatorStatement, PeerId, PriceTable, Proposal, ProposalId, ProviderFrame, Receipt, Refusal, RequesterFrame, Segment, SettlementTerms,
    Signature, Signed, SignedObject, SignedReceipt, SignedVoucher, StopReason, Terms, Timestamp, TokenCommitment, Usage, VectorCommitment,
    Verified, Voucher, Withdrawal, Work, codec, ids::Digest,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const FILES: [&str; 5] = ["signed", "layouts", "negotiate", "job", "commitments"];

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const PROVIDER_SEED: [u8; 32] = [1; 32];
const REQUESTER_SEED: [u8; 32] = [2; 32];

fn provider() -> OperatorKey {
    OperatorKey::from_seed(&PROVIDER_SEED)
}

fn requester() -> OperatorKey {
    OperatorKey::from_seed(&REQUESTER_SEED)
}

/// One vector as it stands in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    /// The value, in the JSON form of its type.
    fields: Value,
    /// What is sent, or signed, in hexadecimal.
    bytes: String,
    /// Of the operator key whose seed this is, over the domain and the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_seed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    /// Blake3 of the bytes for what travels signed, SHA-256 for what a contract may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// Makes a vector again from its own fields and bytes, and compares.
type Check = Box<dyn Fn(&Vector)>;

/// A file of vectors, and a second opinion on each.
struct File {
    name: &'static str,
    vectors: Vec<Vector>,
    checks: Vec<Check>,
}

impl File {
    fn new(name: &'static str) -> Self {
        Self { name, vectors: Vec::new(), checks: Vec::new() }
    }

    fn push(&mut self, vector: Vector, check: impl Fn(&Vector) + 'static) {
        self.vectors.push(vector);
        self.checks.push(Box::new(check));
    }

    /// A value that travels as CBOR.
    fn wire<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: impl Into<String>, value: &T, max: usize) {
        let bytes = hex::encode(codec::encode(value, max).unwrap());
        let fields = serde_json::to_value(value).unwrap();
        let vector = Vector { name: name.into(), fields, bytes, key_seed: None, domain: None, signature: None, digest: None };
        self.push(vector, move |vector| {
            let value: T = serde_json::from_value(vector.fields.clone()).unwrap();
            let bytes = hex::decode(&vector.bytes).unwrap();
            assert_eq!(codec::encode(&value, max).unwrap(), bytes, "{}: the fields have other bytes", vector.name);
            assert_eq!(codec::decode::<T>(&bytes, max).unwrap(), value, "{}: the bytes have other fields", vector.name);
        });
    }

    /// A value that travels signed.
    fn signed<T: SignedObject + PartialEq + Debug>(&mut self, name: &str, value: T, seed: [u8; 32]) {
        let signed = Verified::sign(value.clone(), &OperatorKey::from_seed(&seed)).unwrap();
        let vector = Vector {
            name: name.into(),
            fields: serde_json::to_value(&value).unwrap(),
            bytes: hex::encode(&signed.signed().bytes),
            key_seed: Some(hex::encode(seed)),
            domain: Some(T::DOMAIN.into()),
            signature: Some(signed.signed().signature.to_string()),
            digest: Some(hex::encode(signed.hash())),
        };
        self.push(vector, |vector| {
            let value: T = serde_json::from_value(vector.fields.clone()).unwrap();
            let key = seed_of(vector);
            let bytes = hex::decode(&vector.bytes).unwrap();
            let signature: Signature = vector.signature.as_ref().unwrap().parse().unwrap();
            let made = Verified::sign(value.clone(), &key).unwrap();
            assert_eq!(made.signed(), &Signed { key: key.node_id(), signature, bytes }, "{}: signs otherwise", vector.name);
            assert_eq!(Verified::<T>::open(made.signed().clone()).unwrap().value(), &value, "{}: opens otherwise", vector.name);
            assert_eq!(Some(hex::encode(made.hash())), vector.digest, "{}: has another id", vector.name);
            assert_eq!(vector.domain.as_deref(), Some(T::DOMAIN));
        });
    }

    /// A statement of fixed layout: its fields, bytes, signature by the seed, and SHA-256.
    fn layout<T>(
        &mut self,
        name: &str,
        value: T,
        seed: [u8; 32],
        lay: fn(&T) -> Vec<u8>,
        read: fn(&[u8]) -> T,
        sign: fn(&T, &OperatorKey) -> Signature,
    ) where
        T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
    {
        let bytes = lay(&value);
        let vector = Vector {
            name: name.into(),
            fields: serde_json::to_value(&value).unwrap(),
            digest: Some(sha256(&bytes)),
            bytes: hex::encode(&bytes),
            key_seed: Some(hex::encode(seed)),
            domain: None,
            signature: Some(sign(&value, &OperatorKey::from_seed(&seed)).to_string()),
        };
        self.push(vector, move |vector| {
            let value: T = serde_json::from_value(vector.fields.clone()).unwrap();
            let bytes = hex::decode(&vector.bytes).unwrap();
            assert_eq!(lay(&value), bytes, "{}: the fields have other bytes", vector.name);
            assert_eq!(read(&bytes), value, "{}: the bytes have other fields", vector.name);
            assert_eq!(Some(sign(&value, &seed_of(vector)).to_string()), vector.signature, "{}: signs otherwise", vector.name);
            assert_eq!(Some(sha256(&bytes)), vector.digest);
        });
    }

    /// A digest of some fields.
    fn digest<T: Serialize + DeserializeOwned + 'static>(&mut self, name: impl Into<String>, of: T, digest: fn(&T) -> Digest) {
        let vector = Vector {
            name: name.into(),
            fields: serde_json::to_value(&of).unwrap(),
            bytes: String::new(),
            key_seed: None,
            domain: None,
            signature: None,
            digest: Some(digest(&of).to_string()),
        };
        self.push(vector, move |vector| {
            let of: T = serde_json::from_value(vector.fields.clone()).unwrap();
            assert_eq!(Some(digest(&of).to_string()), vector.digest, "{}: has another digest", vector.name);
        });
    }

    /// Compares with the file, or writes it.
    fn finish(self) {
        let path = folder().join(self.name).with_extension("json");
        if std::env::var("COCOON_VECTORS").is_ok_and(|mode| mode == "write") {
            let text = serde_json::to_string_pretty(&self.vectors).unwrap();
            std::fs::write(&path, text + "\n").unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let held: Vec<Vector> = serde_json::from_str(&text).unwrap();
        let names = |vectors: &[Vector]| vectors.iter().map(|vector| vector.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&held), names(&self.vectors), "{}: the file and the types differ", self.name);
        assert_eq!(names(&held).into_iter().collect::<BTreeSet<_>>().len(), held.len(), "{}: a name stands twice", self.name);
        for (vector, check) in held.iter().zip(&self.checks) {
            check(vector);
        }
        assert_eq!(held, self.vectors);
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn seed_of(vector: &Vector) -> OperatorKey {
    let mut seed = [0; 32];
    hex::decode_to_slice(vector.key_seed.as_ref().unwrap(), &mut seed).unwrap();
    OperatorKey::from_seed(&seed)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

fn price() -> PriceTable {
    PriceTable {
        job: Amount::from_nano(1_000),
        input_per_mtok: Amount::from_nano(20_000_000),
        output_per_mtok: Amount::from_nano(u128::MAX),
    }
}

fn offer() -> Offer {
    Offer {
        provider: provider().node_id(),
        peer: PeerId((0..38).collect()),
        addresses: vec!["/ip4/192.0.2.1/tcp/4001".into(), "/ip6/2001:db8::1/udp/4001/quic-v1".into()],
        model: ModelClaim {
            id: ModelId([7; 32]),
            name: "Größe 1".into(),
            class: ModelClass::TextTiny,
            serves: Serves::Text,
            context_tokens: 2048,
        },
        device: DeviceClaim { name: "llvmpipe".into(), kind: DeviceKind::SoftwareGpu, tokens_per_s: 100 },
        price: price(),
        tier: Tier::Audited,
        confidentiality: Confidentiality::Sealed,
        capacity: 4,
        slice_tokens: 32,
        float: Amount::ZERO,
        settlement: SettlementTerms {
            network: NetworkId::MAINNET,
            contract: ContractAddress([8; 32]),
            challenge_window_s: 86_400,
            deposit_min: Amount::from_nano(1_000_000_000),
        },
        sequence: u64::MAX,
        issued_at: NOW,
        expires_at: NOW.plus_ms(3_600_000),
    }
}

fn channel() -> ChannelRef {
    ChannelRef { network: NetworkId::DEVNET, address: ContractAddress([3; 32]) }
}

fn terms() -> Terms {
    Terms {
        model: ModelId([7; 32]),
        price: price(),
        cap: Amount::from_nano(1),
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        slice_tokens: 32,
        float: Amount::from_nano(10_000),
        jobs_max: 2,
        first_chunk_ms: 60_000,
        chunk_ms: 15_000,
        channel: channel(),
        expires_at: NOW.plus_ms(3_600_000),
    }
}

fn proposal() -> Proposal {
    Proposal {
        offer: OfferId([4; 32]),
        requester: requester().node_id(),
        requester_peer: PeerId(vec![5; 34]),
        provider: provider().node_id(),
        in_reply_to: None,
        round: 0,
        terms: terms(),
        nonce: u64::MAX,
        issued_at: NOW,
        expires_at: NOW.plus_ms(120_000),
    }
}

fn counter() -> Proposal {
    Proposal { in_reply_to: Some(ProposalId([6; 32])), round: 1, ..proposal() }
}

fn agreed() -> AgreementTerms {
    AgreementTerms {
        proposal: ProposalId([1; 32]),
        offer: OfferId([4; 32]),
        requester: requester().node_id(),
        requester_peer: PeerId(vec![5; 34]),
        provider: provider().node_id(),
        provider_peer: PeerId((0..38).collect()),
        terms: terms(),
        accepted_at: NOW,
    }
}

fn withdrawal() -> Withdrawal {
    Withdrawal { provider: provider().node_id(), model: ModelId([7; 32]), sequence: 2, issued_at: NOW }
}

fn voucher() -> Voucher {
    Voucher { channel: channel(), sequence: 3, cumulative: Amount::from_nano(1 << 100), receipts_root: Digest([0x44; 32]) }
}

fn usage() -> Usage {
    Usage { input_tokens: 17, output_tokens: 1 << 40 }
}

fn receipt() -> Receipt {
    let body = ReceiptBody {
        agreement: AgreementId([1; 32]),
        previous: Digest([2; 32]),
        usage: usage(),
        amount: Amount::from_nano(5),
        input: Digest([6; 32]),
        output: Digest([7; 32]),
        seed: Digest([8; 32]),
        work: Digest([0; 32]),
        last: true,
        issued_at: NOW,
    };
    Receipt::new(channel(), 1, JobId([5; 16]), Amount::from_nano(5), body)
}

fn job_request(work: Work) -> JobRequest {
    JobRequest { agreement: AgreementId([1; 32]), job: JobId([5; 16]), work }
}

fn generate(prompt: Prompt) -> Work {
    Work::Generate(Generate {
        prompt,
        output_tokens_max: 64,
        sampling: Sampling { temperature_milli: 700, top_k: 40, top_p_milli: 950 },
        stop: vec!["\n\n".into()],
        seed: [9; 32],
    })
}

#[test]
fn signed_objects() {
    let mut file = File::new("signed");
    file.signed("offer", offer(), PROVIDER_SEED);
    file.signed("withdrawal", withdrawal(), PROVIDER_SEED);
    file.signed("proposal", proposal(), REQUESTER_SEED);
    file.signed("counter-proposal", counter(), PROVIDER_SEED);
    file.signed("agreement by provider", agreed(), PROVIDER_SEED);
    file.signed("agreement by requester", agreed(), REQUESTER_SEED);
    let signed = |offer: Offer| Verified::sign(offer, &provider()).unwrap().into_signed();
    let withdrawn = Verified::sign(withdrawal(), &provider()).unwrap().into_signed();
    file.wire("message offer", &OfferMessage::Offer(signed(offer())), OfferMessage::BYTES_MAX);
    file.wire("message withdrawal", &OfferMessage::Withdrawal(withdrawn), OfferMessage::BYTES_MAX);
    for (tier, confidentiality, class, kind) in [
        (Tier::Plain, Confidentiality::Open, ModelClass::TextSmall, DeviceKind::Cpu),
        (Tier::Exact, Confidentiality::Attested, ModelClass::TextLarge, DeviceKind::Gpu),
        (Tier::Attested, Confidentiality::Attested, ModelClass::TextTiny, DeviceKind::Gpu),
    ] {
        let mut other = offer();
        (other.tier, other.confidentiality, other.model.class, other.device.kind) = (tier, confidentiality, class, kind);
        file.signed(&format!("offer {tier} {confidentiality}"), other, PROVIDER_SEED);
    }
    let mut vectors = offer();
    vectors.model.serves = Serves::Vectors { width: 384 };
    file.signed("offer of vectors", vectors, PROVIDER_SEED);
    file.finish();
}

#[test]
fn fixed_layouts() {
    let mut file = File::new("layouts");
    file.layout(
        "voucher",
        voucher(),
        REQUESTER_SEED,
        |v| v.to_bytes().to_vec(),
        |bytes| Voucher::from_bytes(bytes).unwrap(),
        |v, key| v.sign(key).signature,
    );
    file.layout(
        "cooperative close",
        CooperativeClose { channel: channel(), sequence: 3, cumulative: Amount::from_nano(u128::MAX) },
        PROVIDER_SEED,
        |c| c.to_bytes().to_vec(),
        |bytes| CooperativeClose::from_bytes(bytes).unwrap(),
        |c, key| c.sign(key),
    );
    file.layout(
        "operator statement",
        OperatorStatement {
            network: NetworkId::MAINNET,
            contract: ContractAddress([8; 32]),
            number: 7,
            valid_until_s: 1_800_000_120,
            command: Digest([9; 32]),
        },
        PROVIDER_SEED,
        |o| o.to_bytes().to_vec(),
        |bytes| OperatorStatement::from_bytes(bytes).unwrap(),
        |o, key| o.sign(key),
    );
    let segment = Segment { channel: channel().address, receipts_root: Digest([4; 32]), drawn_from: 3, drawn_to: 0x0102_0304_0506_0708 };
    file.layout(
        "certificate",
        Certificate {
            network: NetworkId::MAINNET,
            provider: ContractAddress([8; 32]),
            epoch: 20_000,
            claim: 77,
            fee_nanoton: u64::MAX,
            segment: segment.digest(),
        },
        PROVIDER_SEED,
        |c| c.to_bytes().to_vec(),
        |bytes| Certificate::from_bytes(bytes).unwrap(),
        |c, key| c.sign(key).signature,
    );
    file.layout(
        "auditor key",
        AuditorKey { network: NetworkId::MAINNET, auditor: provider().node_id(), x: Digest([5; 32]), y: Digest([6; 32]) },
        PROVIDER_SEED,
        |k| k.to_bytes().to_vec(),
        |bytes| AuditorKey::from_bytes(bytes).unwrap(),
        |k, key| k.sign(key),
    );
    file.digest("segment", segment, Segment::digest);
    file.layout(
        "receipt header",
        receipt(),
        PROVIDER_SEED,
        |r| r.header.to_bytes().to_vec(),
        // The body isn't part of the layout; the header names it.
        |bytes| {
            assert_eq!(cocoon_market::ReceiptHeader::from_bytes(bytes).unwrap(), receipt().header);
            receipt()
        },
        |r, key| r.sign(key).signature,
    );
    file.digest("receipt body", receipt().body, ReceiptBody::digest);
    file.finish();
}

#[test]
fn negotiation_messages() {
    let mut file = File::new("negotiate");
    let agreement = Agreement::commit(Verified::sign(agreed(), &provider()).unwrap(), &requester()).unwrap();
    let requests = [
        ("propose", NegotiateRequest::Propose(Verified::sign(proposal(), &requester()).unwrap().into_signed())),
        ("commit", NegotiateRequest::Commit(agreement.by_requester().clone())),
    ];
    for (name, request) in requests {
        file.wire(name, &request, NEGOTIATE_BYTES_MAX);
    }
    let responses = [
        ("counter", NegotiateResponse::Counter(Verified::sign(counter(), &provider()).unwrap().into_signed())),
        ("accept", NegotiateResponse::Accept(agreement.by_provider().clone())),
        ("committed", NegotiateResponse::Committed(agreement.id())),
    ];
    for (name, response) in responses {
        file.wire(name, &response, NEGOTIATE_BYTES_MAX);
    }
    for refusal in refusals() {
        let name = format!("refused: {refusal}");
        file.wire(name, &NegotiateResponse::Refused(refusal), NEGOTIATE_BYTES_MAX);
    }
    file.finish();
}

/// Every refusal there is: a new one does not compile until it stands here.
fn refusals() -> Vec<Refusal> {
    let terms = [
        TermName::Model,
        TermName::Tier,
        TermName::Confidentiality,
        TermName::SliceTokens,
        TermName::Float,
        TermName::JobsMax,
        TermName::Deadline,
        TermName::ExpiresAt,
        TermName::Network,
        TermName::Cap,
    ];
    let problems = [
        ChannelProblem::NotOpen,
        ChannelProblem::Closing,
        ChannelProblem::ForeignCode,
        ChannelProblem::OtherTerms,
        ChannelProblem::TooSmall,
    ];
    let mut all = vec![
        Refusal::UnknownOffer,
        Refusal::PriceTooLow { lowest: price() },
        Refusal::CapAboveDeposit { cap: Amount::from_nano(2), deposit: Amount::from_nano(1) },
        Refusal::CollateralTaken { needed: Amount::from_nano(3), free: Amount::from_nano(2) },
        Refusal::OtherWork { serves: WorkKind::Generate },
        Refusal::Busy { running: 4 },
        Refusal::Expired,
        Refusal::Unknown,
        Refusal::Malformed,
        Refusal::TooManyRounds,
        Refusal::ChainOutOfSight,
        Refusal::Unavailable,
    ];
    all.extend(terms.map(Refusal::Term));
    all.extend(problems.map(Refusal::Channel));
    let _no_other = |refusal: Refusal| match refusal {
        Refusal::UnknownOffer
        | Refusal::PriceTooLow { .. }
        | Refusal::CapAboveDeposit { .. }
        | Refusal::CollateralTaken { .. }
        | Refusal::OtherWork { .. }
        | Refusal::Term(_)
        | Refusal::Busy { .. }
        | Refusal::Expired
        | Refusal::Unknown
        | Refusal::Malformed
        | Refusal::TooManyRounds
        | Refusal::Channel(_)
        | Refusal::ChainOutOfSight
        | Refusal::Unavailable => {}
    };
    all
}

fn stop_reasons() -> Vec<StopReason> {
    let _no_other = |reason: StopReason| match reason {
        StopReason::Refused(_)
        | StopReason::Malformed
        | StopReason::ContextExceeded { .. }
        | StopReason::TextTooLong { .. }
        | StopReason::MemoryExceeded { .. }
        | StopReason::Unpaid { .. }
        | StopReason::BadVoucher
        | StopReason::ChainOutOfSight
        | StopReason::Internal
        | StopReason::Shutdown
        | StopReason::CapTooSmall { .. } => {}
    };
    vec![
        StopReason::Refused(Refusal::Expired),
        StopReason::Malformed,
        StopReason::ContextExceeded { tokens: 3000, context: 2048 },
        StopReason::TextTooLong { index: 3, tokens: 300, context: 256 },
        StopReason::MemoryExceeded {
            prompt_tokens: 1500,
            answer_tokens: 548,
            tokens_max: 1025,
            needed_bytes: 5_368_709_120,
            available_bytes: 2_684_354_560,
        },
        StopReason::Unpaid { unpaid: Amount::from_nano(7) },
        StopReason::BadVoucher,
        StopReason::ChainOutOfSight,
        StopReason::Internal,
        StopReason::Shutdown,
        StopReason::CapTooSmall { cost: Amount::from_nano(3), left: Amount::from_nano(2) },
    ]
}

fn two_vectors() -> Vec<cocoon_market::job::Vector> {
    [[0.5, -1.0, 0.0], [f32::MIN_POSITIVE, -0.0, f32::MAX]].map(|elements| cocoon_market::job::Vector::new(&elements)).to_vec()
}

#[test]
fn job_frames() {
    let mut file = File::new("job");
    let chat = Prompt::Chat(vec![ChatMessage { role: "user".into(), content: "Grüße".into() }]);
    let voucher: SignedVoucher = voucher().sign(&requester());
    for (name, frame) in [
        ("start raw", RequesterFrame::Start(Box::new(job_request(generate(Prompt::Raw("once".into())))))),
        ("start chat", RequesterFrame::Start(Box::new(job_request(generate(chat))))),
        ("start embed", RequesterFrame::Start(Box::new(job_request(Work::Embed(Embed { texts: vec!["Grüße".into(), "once".into()] }))))),
        ("voucher", RequesterFrame::Voucher(voucher)),
        ("cancel", RequesterFrame::Cancel),
    ] {
        file.wire(name, &frame, JOB_FRAME_BYTES_MAX);
    }
    let receipt: SignedReceipt = receipt().sign(&provider());
    let chunk = Chunk { index: 0, tokens: vec![0, 255, 49_151, u32::MAX], text: " héllo".into(), usage: usage() };
    file.wire("chunk", &ProviderFrame::Chunk(chunk), JOB_FRAME_BYTES_MAX);
    let read = Usage { input_tokens: 9, output_tokens: 0 };
    file.wire("vectors", &ProviderFrame::Vectors(Vectors { index: 1, vectors: two_vectors(), usage: read }), JOB_FRAME_BYTES_MAX);
    file.wire("receipt", &ProviderFrame::Receipt(Box::new(receipt)), JOB_FRAME_BYTES_MAX);
    for (name, reason) in [
        ("done stop", FinishReason::Stop),
        ("done length", FinishReason::Length),
        ("done stop sequence", FinishReason::StopSequence),
        ("done cancelled", FinishReason::Cancelled),
    ] {
        file.wire(name, &ProviderFrame::Done { reason, usage: usage() }, JOB_FRAME_BYTES_MAX);
    }
    for reason in stop_reasons() {
        let name = format!("stopped: {reason}");
        file.wire(name, &ProviderFrame::Stopped(reason), JOB_FRAME_BYTES_MAX);
    }
    file.finish();
}

#[test]
fn commitments_and_trees() {
    let mut file = File::new("commitments");
    for tokens in [vec![], vec![0], vec![1, 2, 3], vec![u32::MAX; 40]] {
        file.digest(format!("{} tokens", tokens.len()), tokens, |tokens: &Vec<u32>| TokenCommitment::of(tokens));
    }
    for vectors in [vec![], two_vectors()] {
        file.digest(format!("{} vectors", vectors.len()), vectors, |vectors: &Vec<cocoon_market::job::Vector>| {
            VectorCommitment::of(vectors)
        });
    }
    file.digest("seed", job_request(generate(Prompt::Raw(String::new()))), JobRequest::seed_commitment);
    for leaves in [0u8, 1, 2, 3, 4, 5, 6, 7, 8, 11] {
        let digests: Vec<_> = (0..leaves).map(|n| Digest([n; 32])).collect();
        file.digest(format!("root of {leaves} receipts"), digests, |digests: &Vec<Digest>| tree::root(digests));
    }
    let frontier = (0..11).fold(Frontier::default(), |tree, n| tree.appended(&Digest([n; 32])));
    file.wire("frontier of 11 receipts", &frontier, 1024);
    file.finish();
}

#[test]
fn every_file_is_read() {
    let held: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            assert_eq!(path.extension().and_then(|e| e.to_str()), Some("json"), "{} is no vector file", path.display());
            path.file_stem().unwrap().to_string_lossy().into_owned()
        })
        .collect();
    assert_eq!(held, FILES.map(String::from).into_iter().collect());
}

#[test]
fn json_and_cbor_name_fields_alike() {
    // The JSON of a vector is the map that is on the wire, so a reader of the files needs no other description.
    let value = serde_json::to_value(offer()).unwrap();
    let wire: BTreeMap<String, serde_cbor::Value> = codec::decode(&codec::encode(&offer(), 4096).unwrap(), 4096).unwrap();
    let named: BTreeSet<_> = value.as_object().unwrap().keys().cloned().collect();
    assert_eq!(named, wire.keys().cloned().collect());
    assert_eq!(value["price"]["output_per_mtok"], json!(u128::MAX.to_string()));
}
