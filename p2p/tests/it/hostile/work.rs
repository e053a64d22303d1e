//! Providers whose chunks and receipts do not add up.

use std::sync::Arc;

use cocoon_market::agreement::{Agreement, AgreementTerms, Terms};
use cocoon_market::ids::Digest;
use cocoon_market::job::{Chunk, FinishReason, JobRequest, ProviderFrame, RequesterFrame};
use cocoon_market::progress::JobFault;
use cocoon_market::receipt::{Receipt, ReceiptBody, ReceiptHeader};
use cocoon_market::{Amount, OfferId, OperatorKey, ProposalId, StopReason, TokenCommitment, Usage, Verified};
use cocoon_p2p::protocol::JOB_PROTOCOL;
use cocoon_p2p::testing::{MockPayer, channel_between, listing};
use cocoon_p2p::{Client, Clock, JobError, JobEvent, Node, NodeEvent, PayErrorKind};
use futures::channel::mpsc;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};

use super::peer::Hostile;
use super::{frame, unframed};
use crate::world::{MODEL, PRICE, drain, node, order, wait_for};

/// A client with an agreement, and a provider that answers each order with whatever `script` makes of it.
async fn cheated_by(script: impl Fn(&JobRequest, &Agreement) -> Vec<ProviderFrame> + Send + 'static) -> (Vec<JobEvent>, JobError, bool) {
    let served = served_by(true, script).await;
    (served.given, served.error.expect("the job cannot succeed"), served.banned)
}

/// What became of a job.
struct Served {
    given: Vec<JobEvent>,
    error: Option<JobError>,
    banned: bool,
    /// All that the client said after its order.
    said: Vec<RequesterFrame>,
    client_node: Node,
}

async fn served_by(stays: bool, script: impl Fn(&JobRequest, &Agreement) -> Vec<ProviderFrame> + Send + 'static) -> Served {
    served_with(stays, move |request, agreement| script(request, agreement).iter().map(frame).collect()).await
}

/// A job whose provider answers the order with these bytes, and then stays to listen or hangs up.
async fn served_with(stays: bool, script: impl Fn(&JobRequest, &Agreement) -> Vec<Vec<u8>> + Send + 'static) -> Served {
    let (requester, provider) = (OperatorKey::from_seed(&[12; 32]), OperatorKey::from_seed(&[13; 32]));
    let client_node = node(40);
    let mut events = client_node.events();
    let mut hostile = Hostile::new(80);
    hostile.connect(&client_node).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerConnected { .. }).then_some(())).await;
    let agreement = agreement_between(&client_node, &requester, &hostile, &provider);
    let incoming = hostile.swarm.behaviour().streams.new_control().accept(JOB_PROTOCOL).unwrap();
    let task = tokio::spawn(hostile.run());
    let (heard, mut hears) = mpsc::channel(1);
    tokio::spawn(act(incoming, script, agreement.clone(), stays, heard));
    let payer = Arc::new(MockPayer::new(requester.clone()));
    let client = Client::new(client_node.clone(), requester, payer.clone());
    let mut handle = client.run(&agreement, order(100)).await.unwrap();
    let (given, error) = drain(&mut handle).await;
    assert_eq!(payer.vouchers(&agreement.terms().channel).len(), given.iter().filter(|e| matches!(e, JobEvent::Receipted { .. })).count());
    // The penalty is spoken before the handle ends, and the node hears it before it answers this.
    client_node.connected_peers().await.unwrap();
    let mut banned = false;
    while let Some(event) = events.try_next() {
        banned |= matches!(event, NodeEvent::PeerBanned { .. });
    }
    let said = frames(&hears.next().await.expect("the provider was ordered something"));
    task.abort();
    Served { given, error, banned, said, client_node }
}

fn frames(mut bytes: &[u8]) -> Vec<RequesterFrame> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let (body, rest) = rest.split_at(u32::from_be_bytes(*head) as usize);
        frames.push(unframed(body));
        bytes = rest;
    }
    frames
}

fn agreement_between(client: &Node, requester: &OperatorKey, hostile: &Hostile, provider: &OperatorKey) -> Agreement {
    let now = Clock::system().now();
    let sold = listing(MODEL, PRICE);
    let terms = AgreementTerms {
        proposal: ProposalId([0; 32]),
        offer: OfferId([0; 32]),
        requester: requester.node_id(),
        requester_peer: client.peer_id(),
        provider: provider.node_id(),
        provider_peer: hostile.market_peer(),
        terms: Terms {
            model: MODEL,
            price: sold.price,
            cap: Amount::from_nano(1_000_000_000),
            tier: sold.tier,
            confidentiality: sold.confidentiality,
            slice_tokens: 2,
            float: sold.float,
            jobs_max: 1,
            first_chunk_ms: 300,
            chunk_ms: 300,
            channel: channel_between(&requester.node_id(), &provider.node_id()),
            expires_at: now.plus_ms(3_600_000),
        },
        accepted_at: now,
    };
    Agreement::commit(Verified::sign(terms, provider).unwrap(), requester).unwrap()
}

async fn act(
    mut incoming: libp2p_stream::IncomingStreams,
    script: impl Fn(&JobRequest, &Agreement) -> Vec<Vec<u8>>,
    agreement: Agreement,
    stays: bool,
    mut heard: mpsc::Sender<Vec<u8>>,
) {
    while let Some((_, mut stream)) = incoming.next().await {
        let mut head = [0u8; 4];
        stream.read_exact(&mut head).await.unwrap();
        let mut body = vec![0u8; u32::from_be_bytes(head) as usize];
        stream.read_exact(&mut body).await.unwrap();
        let RequesterFrame::Start(request) = unframed(&body) else { panic!("no order") };
        for frame in script(&request, &agreement) {
            stream.write_all(&frame).await.unwrap();
        }
        stream.flush().await.unwrap();
        // Waits for the requester to end it.
        let mut said = Vec::new();
        if stays {
            let _ = stream.read_to_end(&mut said).await;
        }
        let _ = heard.try_send(said);
    }
}

fn chunk(index: u64, token: u32, output_tokens: u64) -> ProviderFrame {
    let usage = Usage { input_tokens: 4, output_tokens };
    ProviderFrame::Chunk(Chunk { index, tokens: vec![token], text: format!("t{token} "), usage })
}

/// The receipt that an honest provider would give for the tokens 0 and 1.
fn honest_receipt(request: &JobRequest, agreement: &Agreement) -> Receipt {
    let usage = Usage { input_tokens: 4, output_tokens: 2 };
    let amount = agreement.terms().price.cost(usage).unwrap();
    let body = ReceiptBody {
        agreement: agreement.id(),
        previous: Digest([0; 32]),
        usage,
        amount,
        input: TokenCommitment::of(&[0, 1, 2, 3]),
        output: TokenCommitment::of(&[0, 1]),
        seed: request.seed_commitment(),
        work: Digest([0; 32]),
        last: false,
        issued_at: Clock::system().now(),
    };
    let channel = agreement.terms().channel;
    let header = ReceiptHeader { channel, sequence: 1, job: request.job, cumulative: amount, body: body.digest() };
    Receipt { header, body }
}

fn signed(receipt: Receipt) -> ProviderFrame {
    ProviderFrame::Receipt(Box::new(receipt.sign(&OperatorKey::from_seed(&[13; 32]))))
}

/// Two tokens and a receipt that `change` had in its hands before it was signed.
async fn cheated_by_receipt(change: impl Fn(&mut Receipt) + Send + 'static) -> JobFault {
    let script = move |request: &JobRequest, agreement: &Agreement| {
        let mut receipt = honest_receipt(request, agreement);
        change(&mut receipt);
        receipt.header.body = receipt.body.digest();
        vec![chunk(0, 0, 1), chunk(1, 1, 2), signed(receipt)]
    };
    let (given, error, banned) = cheated_by(script).await;
    assert_eq!(given.len(), 2, "two chunks, and nothing paid: {given:?}");
    assert!(banned);
    let JobError::Cheated { cause, progress } = error else { panic!("{error:?}") };
    assert_eq!((progress.paid, progress.received_tokens), (Amount::ZERO, 2));
    cause
}

#[tokio::test]
async fn the_honest_script_is_paid_until_it_falls_silent() {
    let script =
        |request: &JobRequest, agreement: &Agreement| vec![chunk(0, 0, 1), chunk(1, 1, 2), signed(honest_receipt(request, agreement))];
    let Served { given, error, banned, said, client_node } = served_by(true, script).await;
    assert!(matches!(given.as_slice(), [JobEvent::Chunk(_), JobEvent::Chunk(_), JobEvent::Receipted { .. }]), "{given:?}");
    let Some(JobError::TooSlow { progress, .. }) = error else { panic!("{error:?}") };
    assert_eq!((progress.paid, progress.received_tokens, banned), (Amount::from_nano(8000), 2, false));
    assert!(matches!(said.as_slice(), [RequesterFrame::Voucher(_), RequesterFrame::Cancel]), "it is told that nobody waits: {said:?}");
    assert_eq!(client_node.experience().await.unwrap().len(), 1, "and remembered for it");
}

#[tokio::test]
async fn a_job_that_is_done_and_paid_needs_no_more_words() {
    let script = |request: &JobRequest, agreement: &Agreement| {
        let mut receipt = honest_receipt(request, agreement);
        receipt.body.last = true;
        receipt.header.body = receipt.body.digest();
        let done = ProviderFrame::Done { reason: FinishReason::Stop, usage: receipt.body.usage };
        vec![chunk(0, 0, 1), chunk(1, 1, 2), signed(receipt), done]
    };
    let served = served_by(true, script).await;
    assert!(served.error.is_none() && matches!(served.given.last(), Some(JobEvent::Done { .. })), "{:?}", served.error);
    assert!(matches!(served.said.as_slice(), [RequesterFrame::Voucher(_)]), "{:?}", served.said);
}

#[tokio::test]
async fn a_provider_that_stopped_by_itself_is_not_told_to() {
    let served = served_by(true, |_, _| vec![chunk(0, 0, 1), ProviderFrame::Stopped(StopReason::Internal)]).await;
    assert!(matches!(served.error, Some(JobError::Stopped { .. })), "{:?}", served.error);
    assert!(served.said.is_empty(), "{:?}", served.said);
}

#[tokio::test]
async fn garbage_is_told_from_a_stream_that_breaks_off() {
    let garbage = served_with(true, |_, _| vec![frame(&chunk(0, 0, 1)), vec![0, 0, 0, 1, 0xff]]).await;
    assert!(matches!(garbage.error, Some(JobError::Garbage { .. })), "{:?}", garbage.error);
    let broken = served_with(false, |_, _| vec![frame(&chunk(0, 0, 1)), vec![0, 0, 0, 9, 1]]).await;
    let Some(JobError::ProviderLost { received_tokens: 1, .. }) = broken.error else { panic!("{:?}", broken.error) };
}

#[tokio::test]
async fn a_provider_that_never_answers_is_too_slow() {
    let (_, error, _) = cheated_by(|_, _| Vec::new()).await;
    assert!(matches!(error, JobError::TooSlow { waited_ms: 300.., .. }), "{error:?}");
}

#[tokio::test]
async fn a_chunk_that_was_tampered_with_ends_the_job_and_bans() {
    let cases: [fn() -> ProviderFrame; 4] = [
        || chunk(7, 1, 2),
        || chunk(1, 1, 3),
        || {
            ProviderFrame::Chunk(Chunk {
                index: 1,
                tokens: vec![],
                text: String::new(),
                usage: Usage { input_tokens: 4, output_tokens: 1 },
            })
        },
        || ProviderFrame::Done { reason: FinishReason::Stop, usage: Usage { input_tokens: 4, output_tokens: 1 } },
    ];
    for case in cases {
        let (given, error, banned) = cheated_by(move |_, _| vec![chunk(0, 0, 1), case()]).await;
        assert!(matches!(error, JobError::Cheated { .. }), "{error:?}");
        assert_eq!((given.len(), banned), (1, true));
    }
}

#[tokio::test]
async fn a_receipt_that_was_tampered_with_is_not_paid_and_bans() {
    let fault = cheated_by_receipt(|receipt| receipt.body.amount = Amount::from_nano(8001)).await;
    assert!(matches!(fault, JobFault::Amount { .. }), "{fault:?}");
    let fault = cheated_by_receipt(|receipt| receipt.body.usage.output_tokens = 3).await;
    assert!(matches!(fault, JobFault::Usage { .. }), "{fault:?}");
    let fault = cheated_by_receipt(|receipt| receipt.body.output = Digest([1; 32])).await;
    assert_eq!(fault, JobFault::Commitment("output"));
    let fault = cheated_by_receipt(|receipt| receipt.body.seed = Digest([1; 32])).await;
    assert_eq!(fault, JobFault::Commitment("seed"));
    let fault = cheated_by_receipt(|receipt| receipt.header.job.0[0] ^= 1).await;
    assert_eq!(fault, JobFault::Foreign("job"));
}

#[tokio::test]
async fn a_receipt_out_of_its_place_in_the_channel_is_not_paid_and_bans() {
    let script = |request: &JobRequest, agreement: &Agreement| {
        let mut receipt = honest_receipt(request, agreement);
        receipt.header.cumulative = Amount::from_nano(9000);
        vec![chunk(0, 0, 1), chunk(1, 1, 2), signed(receipt)]
    };
    let (given, error, banned) = cheated_by(script).await;
    assert!(matches!(&error, JobError::Payment { cause, .. } if cause.kind == PayErrorKind::Receipt), "{error:?}");
    assert_eq!((given.len(), banned), (2, true));
}

#[tokio::test]
async fn a_receipt_with_a_wrong_signature_is_not_paid_and_bans() {
    let script = |request: &JobRequest, agreement: &Agreement| {
        let mut signed = honest_receipt(request, agreement).sign(&OperatorKey::from_seed(&[13; 32]));
        signed.signature.0[3] ^= 1;
        vec![chunk(0, 0, 1), chunk(1, 1, 2), ProviderFrame::Receipt(Box::new(signed))]
    };
    let (_, error, banned) = cheated_by(script).await;
    assert!(matches!(error, JobError::Cheated { cause: JobFault::Receipt(_), .. }), "{error:?}");
    assert!(banned);
}
