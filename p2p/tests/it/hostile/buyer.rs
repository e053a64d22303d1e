//! Requesters that send what no requester sends, or too late, and what that costs them.

use cocoon_market::agreement::Agreement;
use cocoon_market::ids::ContractAddress;
use cocoon_market::job::{Generate, JobRequest, Prompt, ProviderFrame, RequesterFrame, Sampling, StopReason};
use cocoon_market::{JobId, OperatorKey, SignedReceipt, SignedVoucher, Voucher, Work};
use cocoon_p2p::protocol::JOB_PROTOCOL;
use cocoon_p2p::testing::{Answer, MockPayer, Stumble};
use cocoon_p2p::{JobEnd, NodeEvent, Payee as _, Payer as _};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};

use super::peer::Hostile;
use super::{frame, unframed};
use crate::world::{World, agreement_with, wait_for};

/// A requester with an agreement and one job stream, on which it sends what it likes.
struct Buyer {
    stream: libp2p::Stream,
    agreement: Agreement,
    key: OperatorKey,
    payer: MockPayer,
    peer: cocoon_market::PeerId,
}

impl Buyer {
    async fn of(world: &World, seed: u8) -> Self {
        let key = OperatorKey::from_seed(&[seed; 32]);
        let mut hostile = Hostile::new(seed);
        let peer = hostile.market_peer();
        let agreement = agreement_with(world, &key, peer.clone(), 2);
        world.payee.agreed(&agreement).await.unwrap();
        let at = hostile.connect(&world.provider_node).await;
        let mut control = hostile.swarm.behaviour().streams.new_control();
        tokio::spawn(hostile.run());
        let stream = control.open_stream(at, JOB_PROTOCOL).await.unwrap();
        Self { stream, agreement, payer: MockPayer::new(key.clone()), key, peer }
    }

    fn order(&self) -> RequesterFrame {
        RequesterFrame::Start(Box::new(JobRequest {
            agreement: self.agreement.id(),
            job: JobId([9; 16]),
            work: Work::Generate(Generate {
                prompt: Prompt::Raw("what is the answer".into()),
                output_tokens_max: 100,
                sampling: Sampling::GREEDY,
                stop: Vec::new(),
                seed: [3; 32],
            }),
        }))
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame, or `None` at the end of the stream.
    async fn read(&mut self) -> Option<ProviderFrame> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await.ok()?;
        let mut body = vec![0; u32::from_be_bytes(head) as usize];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(unframed(&body))
    }

    /// Reads until the first receipt.
    async fn receipt(&mut self) -> SignedReceipt {
        loop {
            if let ProviderFrame::Receipt(receipt) = self.read().await.expect("a receipt") {
                return *receipt;
            }
        }
    }

    /// Reads until the provider says that it stops, and gives the receipts that came before.
    async fn stopped(&mut self) -> (Vec<SignedReceipt>, StopReason) {
        let mut receipts = Vec::new();
        loop {
            match self.read().await.expect("a reason") {
                ProviderFrame::Receipt(receipt) => receipts.push(*receipt),
                ProviderFrame::Stopped(reason) => return (receipts, reason),
                ProviderFrame::Chunk(_) | ProviderFrame::Vectors(_) | ProviderFrame::Done { .. } => {}
            }
        }
    }

    async fn voucher(&self, receipt: &SignedReceipt) -> SignedVoucher {
        self.payer.pay(&self.agreement, receipt).await.unwrap()
    }
}

#[tokio::test]
async fn a_second_order_or_garbage_on_a_running_job_ends_it() {
    for (seed, bytes) in [(90, None), (91, Some(vec![0, 0, 0, 1, 0xff]))] {
        let world = World::new(Answer::of(100)).await;
        let mut buyer = Buyer::of(&world, seed).await;
        buyer.send(&frame(&buyer.order())).await;
        buyer.receipt().await;
        let bytes = bytes.unwrap_or_else(|| frame(&buyer.order()));
        buyer.send(&bytes).await;
        assert_eq!(buyer.stopped().await.1, StopReason::Malformed);
        assert_eq!(world.ended().await, JobEnd::Stopped(StopReason::Malformed));
    }
}

#[tokio::test]
async fn a_voucher_for_another_channel_or_by_another_key_is_not_taken_and_bans() {
    for seed in [92, 93] {
        let world = World::new(Answer::of(100)).await;
        let mut events = world.provider_node.events();
        let mut buyer = Buyer::of(&world, seed).await;
        buyer.send(&frame(&buyer.order())).await;
        let receipt = buyer.receipt().await;
        let mut voucher: Voucher = buyer.voucher(&receipt).await.voucher;
        let other_key = OperatorKey::from_seed(&[94; 32]);
        let key = if seed == 92 { &buyer.key } else { &other_key };
        if seed == 92 {
            voucher.channel.address = ContractAddress([5; 32]);
        }
        buyer.send(&frame(&RequesterFrame::Voucher(voucher.sign(key)))).await;
        assert_eq!(world.ended().await, JobEnd::Stopped(StopReason::BadVoucher));
        let banned = |event: &NodeEvent| matches!(event, NodeEvent::PeerBanned { peer, .. } if *peer == buyer.peer).then_some(());
        wait_for(&mut events, banned).await;
        assert!(world.payee.vouchers(&buyer.agreement.terms().channel).is_empty());
    }
}

#[tokio::test]
async fn what_was_receipted_is_paid_after_the_provider_failed_even_by_who_wanted_no_more() {
    let world = World::new(Answer { stumble: Stumble::FailAfter(4), ..Answer::of(100) }).await;
    let mut buyer = Buyer::of(&world, 95).await;
    buyer.send(&frame(&buyer.order())).await;
    let (receipts, reason) = buyer.stopped().await;
    assert_eq!((receipts.len(), reason), (2, StopReason::Internal));
    buyer.send(&frame(&RequesterFrame::Cancel)).await;
    for receipt in &receipts {
        let voucher = buyer.voucher(receipt).await;
        buyer.send(&frame(&RequesterFrame::Voucher(voucher))).await;
    }
    assert_eq!(world.ended().await, JobEnd::Stopped(StopReason::Internal));
    let (owed, paid) = world.payee.balance(&buyer.agreement.terms().channel);
    assert!(owed == paid && !paid.is_zero(), "{owed} {paid}");
}
