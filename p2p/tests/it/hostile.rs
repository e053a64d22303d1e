//! Peers that do not play by the rules: garbage on every protocol, forged offers, floods, false work.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use cocoon_market::agreement::{Agreement, AgreementTerms, NegotiateRequest, Terms};
use cocoon_market::codec;
use cocoon_market::ids::Digest;
use cocoon_market::job::{Chunk, FinishReason, JobRequest, ProviderFrame, RequesterFrame};
use cocoon_market::offer::{ModelClass, OFFER_LIFETIME_MS_MAX, OfferMessage};
use cocoon_market::progress::JobFault;
use cocoon_market::receipt::{Receipt, ReceiptBody, ReceiptHeader};
use cocoon_market::{Amount, Offer, OfferId, OperatorKey, PeerId, ProposalId, Timestamp, TokenCommitment, Usage, Verified};
use cocoon_p2p::protocol::{JOB_PROTOCOL, KAD_PROTOCOL, NEGOTIATE_PROTOCOL, OFFERS_PULL_PROTOCOL, OFFERS_TOPIC_PREFIX};
use cocoon_p2p::testing::{Answer, MockPayer, channel_between, listing, memory_transport};
use cocoon_p2p::{Client, Clock, Identity, JobError, JobEvent, Node, NodeEvent, OfferRejection, PayErrorKind, peer_from_text};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, Swarm};

use super::world::{MODEL, PRICE, World, address, connect, drain, node, order, wait_for};

/// A peer with its own ideas: raw streams of any protocol, and gossip without checks.
#[derive(NetworkBehaviour)]
struct Mischief {
    streams: libp2p_stream::Behaviour,
    gossip: gossipsub::Behaviour,
}

struct Hostile {
    swarm: Swarm<Mischief>,
    peer: libp2p::PeerId,
}

impl Hostile {
    fn new(seed: u8) -> Self {
        let identity = Identity::from_seed([seed; 32]);
        let key = identity.keypair().clone();
        let gossip = gossipsub::ConfigBuilder::default().heartbeat_interval(Duration::from_millis(100)).build().unwrap();
        let behaviour = Mischief {
            streams: libp2p_stream::Behaviour::new(),
            gossip: gossipsub::Behaviour::new(MessageAuthenticity::Signed(key.clone()), gossip).unwrap(),
        };
        let config = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(60));
        let peer = key.public().to_peer_id();
        let swarm = Swarm::new(memory_transport(&identity).into_boxed(), behaviour, peer, config);
        Self { swarm, peer }
    }

    fn market_peer(&self) -> PeerId {
        peer_from_text(&self.peer.to_base58()).unwrap()
    }

    async fn connect(&mut self, to: &Node) -> libp2p::PeerId {
        let address: Multiaddr = address(to).await.parse().unwrap();
        self.swarm.dial(address).unwrap();
        loop {
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } = self.swarm.select_next_some().await {
                return peer_id;
            }
        }
    }

    /// Opens a raw stream, writes, and reads until the other side ends it.
    async fn shout(&mut self, at: libp2p::PeerId, protocol: StreamProtocol, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut control = self.swarm.behaviour().streams.new_control();
        let talk = async move {
            let mut stream = control.open_stream(at, protocol).await.map_err(io::Error::other)?;
            stream.write_all(bytes).await?;
            stream.flush().await?;
            stream.close().await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok(answer)
        };
        let driven = async {
            loop {
                self.swarm.select_next_some().await;
            }
        };
        tokio::select! {
            answer = talk => answer,
            () = driven => unreachable!(),
            () = tokio::time::sleep(Duration::from_secs(15)) => panic!("the stream is never ended"),
        }
    }

    /// Publishes as soon as somebody listens.
    async fn publish(&mut self, bytes: Vec<u8>) {
        let topic = IdentTopic::new(format!("{OFFERS_TOPIC_PREFIX}{}", ModelClass::TextTiny.topic()));
        loop {
            match self.swarm.behaviour_mut().gossip.publish(topic.clone(), bytes.clone()) {
                Ok(_) => break,
                Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => drop(self.swarm.select_next_some().await),
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn run(mut self) {
        loop {
            self.swarm.select_next_some().await;
        }
    }
}

/// What a peer could send where something else is expected.
fn garbage() -> Vec<Vec<u8>> {
    let mut cases = vec![
        vec![],
        vec![0],
        vec![0, 0, 0, 0],
        vec![0, 0, 0, 1, 0xff],
        vec![0xff; 4],
        vec![0xff; 100_000],
        [&[0, 0, 0, 200][..], &[0x9b; 200]].concat(),
        // A CBOR array that claims 2^63 elements.
        [&[0, 0, 0, 9][..], &[0x9b, 0x80, 0, 0, 0, 0, 0, 0, 0]].concat(),
        // A thousand nested arrays.
        [&[0, 0, 4, 0][..], &[0x81; 1024]].concat(),
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for len in [1usize, 7, 64, 1000, 5000] {
        let bytes = (0..len).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        });
        cases.push(bytes.collect());
    }
    cases
}

#[tokio::test]
async fn garbage_on_every_protocol_is_survived_and_bans() {
    for protocol in [NEGOTIATE_PROTOCOL, OFFERS_PULL_PROTOCOL, JOB_PROTOCOL, KAD_PROTOCOL] {
        let world = World::new(Answer::of(10)).await;
        let mut events = world.provider_node.events();
        let mut hostile = Hostile::new(66);
        let at = hostile.connect(&world.provider_node).await;
        for bytes in garbage() {
            // How the stream ends is the node's business, as long as it does.
            let _ = hostile.shout(at, protocol.clone(), &bytes).await;
        }
        if protocol != KAD_PROTOCOL {
            let banned = hostile.market_peer();
            wait_for(&mut events, |event| matches!(event, NodeEvent::PeerBanned { peer, .. } if *peer == banned).then_some(())).await;
        }
        // The node is as well as before.
        let agreement = world.agree().await;
        let (_, error) = drain(&mut world.run(&agreement, 10).await).await;
        assert!(error.is_none(), "{protocol}: {error:?}");
    }
}

#[tokio::test]
async fn a_banned_peer_is_not_let_in_again() {
    let node = node(31);
    let mut events = node.events();
    let hostile = Hostile::new(67);
    let peer = hostile.market_peer();
    node.penalise(&peer, cocoon_p2p::penalty::Offence::Forgery).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerBanned { .. }).then_some(())).await;
    let task = tokio::spawn(async move {
        let mut hostile = hostile;
        let address: Multiaddr = address(&node).await.parse().unwrap();
        hostile.swarm.dial(address).unwrap();
        let end = hostile.swarm.select_next_some();
        // Its own side may see the connection stand for a moment; it is closed at once.
        let mut end = tokio::time::timeout(Duration::from_secs(10), end).await.unwrap();
        while !matches!(end, SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. }) {
            end = tokio::time::timeout(Duration::from_secs(10), hostile.swarm.select_next_some()).await.unwrap();
        }
        node.connected_peers().await.unwrap()
    });
    assert_eq!(task.await.unwrap(), Vec::new());
}

fn offer(hostile: &Hostile, key: &OperatorKey) -> Offer {
    let listing = listing(MODEL, PRICE);
    let now = Clock::system().now();
    Offer {
        provider: key.node_id(),
        peer: hostile.market_peer(),
        addresses: Vec::new(),
        model: listing.model,
        device: listing.device,
        price: listing.price,
        tier: listing.tier,
        confidentiality: listing.confidentiality,
        capacity: 1,
        slice_tokens: 16,
        float: listing.float,
        settlement: listing.settlement,
        sequence: 1,
        issued_at: now,
        expires_at: now.plus_ms(OFFER_LIFETIME_MS_MAX),
    }
}

fn message(offer: Offer, key: &OperatorKey) -> OfferMessage {
    OfferMessage::Offer(Verified::sign(offer, key).unwrap().into_signed())
}

fn bytes(message: &OfferMessage) -> Vec<u8> {
    codec::encode(message, OfferMessage::BYTES_MAX).unwrap()
}

/// Publishes one message to a node that has a neighbour, and gives why it was refused. The neighbour must never see it.
async fn refused(bytes: Vec<u8>, hostile: Hostile) -> (OfferRejection, bool) {
    let (first, second) = (node(32), node(33));
    connect(&second, &first).await;
    let (mut at_first, at_second) = (first.events(), second.events());
    let mut hostile = hostile;
    hostile.connect(&first).await;
    hostile.publish(bytes).await;
    let task = tokio::spawn(hostile.run());
    let pick = |event: &NodeEvent| if let NodeEvent::OfferRejected { reason, .. } = event { Some(reason.clone()) } else { None };
    let reason = wait_for(&mut at_first, pick).await;
    // An honest offer that follows on the same way shows that nothing came before it.
    let key = OperatorKey::from_seed(&[55; 32]);
    let honest = Hostile::new(68);
    let fair = Offer { peer: first.peer_id(), ..offer(&honest, &key) };
    first.publish_offer(Verified::sign(fair, &key).unwrap()).await.unwrap();
    let mut at_second = at_second;
    let came = wait_for(&mut at_second, |event| match event {
        NodeEvent::OfferSeen { provider, .. } => Some(*provider),
        NodeEvent::OfferRejected { .. } => panic!("it was forwarded"),
        _ => None,
    });
    assert_eq!(came.await, key.node_id());
    let mut banned = false;
    while let Some(event) = at_first.try_next() {
        banned |= matches!(event, NodeEvent::PeerBanned { .. });
    }
    task.abort();
    (reason, banned)
}

#[tokio::test]
async fn an_offer_with_a_bad_signature_is_refused_and_its_author_banned() {
    let (hostile, key) = (Hostile::new(70), OperatorKey::from_seed(&[9; 32]));
    let OfferMessage::Offer(mut signed) = message(offer(&hostile, &key), &key) else { unreachable!() };
    signed.signature.0[5] ^= 1;
    let refused = refused(bytes(&OfferMessage::Offer(signed)), hostile).await;
    assert_eq!(refused, (OfferRejection::Signature, true));
}

#[tokio::test]
async fn an_offer_that_somebody_else_changed_is_refused() {
    let (hostile, key) = (Hostile::new(71), OperatorKey::from_seed(&[9; 32]));
    let OfferMessage::Offer(mut signed) = message(offer(&hostile, &key), &key) else { unreachable!() };
    *signed.bytes.last_mut().unwrap() ^= 1;
    let refused = refused(bytes(&OfferMessage::Offer(signed)), hostile).await;
    assert_eq!(refused, (OfferRejection::Signature, true));
}

#[tokio::test]
async fn an_offer_published_by_another_peer_is_refused() {
    let (hostile, key) = (Hostile::new(72), OperatorKey::from_seed(&[9; 32]));
    let foreign = Offer { peer: Hostile::new(73).market_peer(), ..offer(&hostile, &key) };
    let refused = refused(bytes(&message(foreign, &key)), hostile).await;
    assert_eq!(refused, (OfferRejection::ForeignPeer, true));
}

#[tokio::test]
async fn an_expired_offer_is_refused_and_not_forwarded() {
    let (hostile, key) = (Hostile::new(74), OperatorKey::from_seed(&[9; 32]));
    let now = Clock::system().now();
    let old = Timestamp(now.0 - OFFER_LIFETIME_MS_MAX - 120_000);
    let expired = Offer { issued_at: old, expires_at: old.plus_ms(OFFER_LIFETIME_MS_MAX), ..offer(&hostile, &key) };
    let (reason, banned) = refused(bytes(&message(expired, &key)), hostile).await;
    assert!(matches!(reason, OfferRejection::Time(_)), "{reason:?}");
    assert!(!banned);
}

#[tokio::test]
async fn an_offer_on_the_wrong_topic_and_no_offer_at_all_are_refused() {
    let (hostile, key) = (Hostile::new(75), OperatorKey::from_seed(&[9; 32]));
    let mut large = offer(&hostile, &key);
    large.model.class = ModelClass::TextLarge;
    assert_eq!(refused(bytes(&message(large, &key)), hostile).await, (OfferRejection::WrongTopic, false));
    assert_eq!(refused(vec![0x9b; 300], Hostile::new(76)).await, (OfferRejection::Malformed, false));
}

#[tokio::test]
async fn a_flood_of_offers_stops_at_the_limit_and_is_no_longer_listened_to() {
    let (first, second) = (node(34), node(35));
    connect(&second, &first).await;
    let (mut at_first, mut at_second) = (first.events(), second.events());
    let mut hostile = Hostile::new(77);
    hostile.connect(&first).await;
    // Each with a key of its own: the limit is on the peer that publishes, too.
    for n in 0..100u8 {
        let key = OperatorKey::from_seed(&[n; 32]);
        let flood = bytes(&message(offer(&hostile, &key), &key));
        hostile.publish(flood).await;
    }
    let task = tokio::spawn(hostile.run());
    let (mut taken, mut refused) = (0, 0);
    // Sixteen excesses of twenty points are a third of the way to a ban, and the end of gossip's patience.
    wait_for(&mut at_first, |event| match event {
        NodeEvent::OfferRejected { reason, .. } => {
            assert_eq!(*reason, OfferRejection::ProviderRate);
            refused += 1;
            (refused == 16).then_some(())
        }
        NodeEvent::OfferSeen { .. } => {
            taken += 1;
            None
        }
        _ => None,
    })
    .await;
    assert_eq!(taken, 16);
    // An honest offer shows when the second node has seen all that was forwarded before it.
    let key = OperatorKey::from_seed(&[155; 32]);
    let fair = Offer { peer: first.peer_id(), ..offer(&Hostile::new(68), &key) };
    first.publish_offer(Verified::sign(fair, &key).unwrap()).await.unwrap();
    let mut forwarded = 0;
    wait_for(&mut at_second, |event| match event {
        NodeEvent::OfferSeen { provider, .. } if *provider == key.node_id() => Some(()),
        NodeEvent::OfferSeen { .. } => {
            forwarded += 1;
            None
        }
        NodeEvent::OfferRejected { reason, .. } => panic!("forwarded although refused: {reason}"),
        _ => None,
    })
    .await;
    assert!(forwarded <= 16, "{forwarded} were forwarded");
    task.abort();
}

#[tokio::test]
async fn a_pull_answered_with_a_forged_offer_bans() {
    let node = node(36);
    let mut events = node.events();
    let (mut hostile, key) = (Hostile::new(78), OperatorKey::from_seed(&[9; 32]));
    let OfferMessage::Offer(mut signed) = message(offer(&hostile, &key), &key) else { unreachable!() };
    signed.signature.0[5] ^= 1;
    let answer = cocoon_p2p::protocol::offers::PullResponse { offers: vec![signed] };
    let cbor = codec::encode(&answer, 1 << 20).unwrap();
    let mut frame = u32::try_from(cbor.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(cbor);
    let mut incoming = hostile.swarm.behaviour().streams.new_control().accept(OFFERS_PULL_PROTOCOL).unwrap();
    let peer = hostile.market_peer();
    hostile.connect(&node).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerConnected { .. }).then_some(())).await;
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            let _ = stream.write_all(&frame).await;
            let _ = stream.close().await;
        }
    });
    let task = tokio::spawn(hostile.run());
    // Asked already at the connection; once more does no harm.
    let _ = node.pull_offers(&peer, MODEL).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerBanned { .. }).then_some(())).await;
    assert!(node.offers(None, 10).await.unwrap().is_empty());
    task.abort();
}

#[tokio::test]
async fn a_negotiation_in_another_peers_name_is_refused_and_bans() {
    let world = World::new(Answer::of(1)).await;
    let mut events = world.provider_node.events();
    let offer = world.offer().await;
    // What the client signed for itself, handed in by somebody else.
    let stolen = {
        let terms = world.agree().await;
        NegotiateRequest::Commit(terms.by_requester().clone())
    };
    let mut hostile = Hostile::new(79);
    let peer = hostile.market_peer();
    let at = hostile.connect(&world.provider_node).await;
    let cbor = codec::encode(&stolen, 4096).unwrap();
    let mut frame = u32::try_from(cbor.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(cbor);
    let _ = hostile.shout(at, NEGOTIATE_PROTOCOL, &frame).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerBanned { peer: banned, .. } if *banned == peer).then_some(())).await;
    drop(offer);
}

/// A client with an agreement, and a provider that answers each order with whatever `script` makes of it.
async fn cheated_by(script: impl Fn(&JobRequest, &Agreement) -> Vec<ProviderFrame> + Send + 'static) -> (Vec<JobEvent>, JobError, bool) {
    let (requester, provider) = (OperatorKey::from_seed(&[12; 32]), OperatorKey::from_seed(&[13; 32]));
    let client_node = node(40);
    let mut events = client_node.events();
    let mut hostile = Hostile::new(80);
    hostile.connect(&client_node).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerConnected { .. }).then_some(())).await;
    let agreement = agreement_between(&client_node, &requester, &hostile, &provider);
    let incoming = hostile.swarm.behaviour().streams.new_control().accept(JOB_PROTOCOL).unwrap();
    let task = tokio::spawn(hostile.run());
    tokio::spawn(act(incoming, script, agreement.clone()));
    let payer = Arc::new(MockPayer::new(requester.clone()));
    let client = Client::new(client_node.clone(), requester, payer.clone());
    let mut handle = client.run(&agreement, order(100)).await.unwrap();
    let (given, error) = drain(&mut handle).await;
    let error = error.expect("the job cannot succeed");
    assert_eq!(payer.vouchers(&agreement.terms().channel).len(), given.iter().filter(|e| matches!(e, JobEvent::Receipted { .. })).count());
    // The penalty is spoken before the handle ends, and the node hears it before it answers this.
    client_node.connected_peers().await.unwrap();
    let mut banned = false;
    while let Some(event) = events.try_next() {
        banned |= matches!(event, NodeEvent::PeerBanned { .. });
    }
    task.abort();
    (given, error, banned)
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
    script: impl Fn(&JobRequest, &Agreement) -> Vec<ProviderFrame>,
    agreement: Agreement,
) {
    while let Some((_, mut stream)) = incoming.next().await {
        let mut head = [0u8; 4];
        stream.read_exact(&mut head).await.unwrap();
        let mut body = vec![0u8; u32::from_be_bytes(head) as usize];
        stream.read_exact(&mut body).await.unwrap();
        let RequesterFrame::Start(request) = codec::decode(&body, 1 << 20).unwrap() else { panic!("no order") };
        for frame in script(&request, &agreement) {
            let cbor = codec::encode(&frame, 1 << 20).unwrap();
            let bytes = [&u32::try_from(cbor.len()).unwrap().to_be_bytes(), cbor.as_slice()].concat();
            stream.write_all(&bytes).await.unwrap();
        }
        stream.flush().await.unwrap();
        // Waits for the requester to end it.
        let _ = stream.read_to_end(&mut Vec::new()).await;
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
    let (given, error, banned) = cheated_by(script).await;
    assert!(matches!(given.as_slice(), [JobEvent::Chunk(_), JobEvent::Chunk(_), JobEvent::Receipted { .. }]), "{given:?}");
    let JobError::TooSlow { progress, .. } = error else { panic!("{error:?}") };
    assert_eq!((progress.paid, progress.received_tokens, banned), (Amount::from_nano(8000), 2, false));
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
