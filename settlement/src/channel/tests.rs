use cocoon_market::ids::Digest;
use cocoon_market::{ChannelRef, NetworkId, OperatorKey, Voucher};
use proptest::prelude::*;

use super::*;

const REFUND_TO: ContractAddress = ContractAddress([3; 32]);
const WINDOW_S: u32 = 100;

fn requester() -> OperatorKey {
    OperatorKey::from_seed(&[1; 32])
}

fn provider() -> OperatorKey {
    OperatorKey::from_seed(&[2; 32])
}

fn terms() -> ChannelTerms {
    ChannelTerms {
        network: NetworkId::DEVNET,
        requester: requester().node_id(),
        provider: provider().node_id(),
        refund_to: REFUND_TO,
        contract: ContractAddress([4; 32]),
        challenge_window_s: WINDOW_S,
        salt: Digest([6; 32]),
    }
}

fn voucher(channel: ChannelRef, cumulative: u128) -> Event {
    let voucher = Voucher { channel, sequence: 1, cumulative: Amount::from_nano(cumulative), receipts_root: Digest([9; 32]) };
    Event::VoucherDelivered(voucher.sign(&requester()))
}

fn close(channel: ChannelRef, cumulative: u128) -> Event {
    let statement = CooperativeClose { channel, sequence: 1, cumulative: Amount::from_nano(cumulative) };
    Event::CloseDelivered { statement, requester: statement.sign(&requester()), provider: statement.sign(&provider()) }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1000)
}

fn open_with(deposit: u128) -> Channel {
    let mut channel = Channel::new(terms()).unwrap();
    channel.apply(at(0), Event::Deposited(Amount::from_nano(deposit))).unwrap();
    channel
}

#[test]
fn a_voucher_pays_once() {
    let mut channel = open_with(1_000);
    let event = voucher(channel.address(), 100);
    assert_eq!(channel.apply(at(1), event), Ok(vec![Effect::PayProvider(Amount::from_nano(100))]));
    assert_eq!(channel.apply(at(1), event), Err(Exit::NothingToDraw.into()));
    assert_eq!(channel.apply(at(1), voucher(channel.address(), 99)), Err(Exit::NothingToDraw.into()));
}

#[test]
fn a_voucher_over_the_deposit_pays_the_deposit_and_after_a_top_up_the_rest() {
    let mut channel = open_with(1_000);
    let event = voucher(channel.address(), 1_500);
    channel.apply(at(1), event).unwrap();
    assert_eq!(channel.held(), Amount::ZERO);
    assert_eq!(channel.apply(at(1), event), Err(Exit::NothingToDraw.into()));
    channel.apply(at(1), Event::Deposited(Amount::from_nano(200))).unwrap();
    assert_eq!(channel.apply(at(1), event), Ok(vec![Effect::PayProvider(Amount::from_nano(200))]));
}

#[test]
fn the_provider_claims_until_the_deadline_and_the_refund_follows_it() {
    let mut channel = open_with(1_000);
    assert_eq!(channel.apply(at(10), Event::FinishRequested), Err(Exit::NotClosing.into()));
    assert_eq!(channel.apply(at(10), Event::CloseRequested { by: ContractAddress([7; 32]) }), Err(Exit::NotRequester.into()));
    channel.apply(at(10), Event::CloseRequested { by: REFUND_TO }).unwrap();
    assert_eq!(channel.apply(at(10), Event::CloseRequested { by: REFUND_TO }), Err(Exit::Closing.into()));
    assert_eq!(channel.apply(at(10), Event::Deposited(Amount::from_nano(1))), Err(Exit::Closing.into()));
    assert_eq!(channel.apply(at(109), Event::FinishRequested), Err(Exit::WindowOpen.into()));
    channel.apply(at(109), voucher(channel.address(), 400)).unwrap();
    assert_eq!(channel.apply(at(110), voucher(channel.address(), 500)), Err(Exit::WindowOver.into()));
    assert_eq!(channel.apply(at(110), Event::FinishRequested), Ok(vec![Effect::Refund(Amount::from_nano(600))]));
    assert_eq!(channel.apply(at(111), voucher(channel.address(), 900)), Err(Exit::Closed.into()));
    assert_eq!(channel.apply(at(111), Event::Deposited(Amount::from_nano(1))), Err(Exit::Closed.into()));
}

#[test]
fn both_parties_close_at_once_within_what_is_there() {
    let mut channel = open_with(1_000);
    channel.apply(at(1), voucher(channel.address(), 100)).unwrap();
    assert_eq!(channel.apply(at(1), close(channel.address(), 1_001)), Err(Exit::OverDeposit.into()));
    assert_eq!(channel.apply(at(1), close(channel.address(), 99)), Err(Exit::BelowDrawn.into()));
    for all_or_nothing_more in [1_000, 100] {
        channel.clone().apply(at(1), close(channel.address(), all_or_nothing_more)).unwrap();
    }
    let statement = CooperativeClose { channel: channel.address(), sequence: 1, cumulative: Amount::from_nano(300) };
    let forged = Event::CloseDelivered { statement, requester: statement.sign(&requester()), provider: statement.sign(&requester()) };
    assert_eq!(channel.apply(at(1), forged), Err(Exit::BadSignature.into()));
    let effects = channel.apply(at(1), close(channel.address(), 300)).unwrap();
    let nano = Amount::from_nano;
    assert_eq!(effects, [Effect::PayProvider(nano(200)), Effect::Refund(nano(700))]);
}

#[test]
fn a_voucher_for_another_channel_network_or_key_is_worthless() {
    let mut channel = open_with(1_000);
    let here = channel.address();
    let elsewhere = Channel::new(ChannelTerms { salt: Digest([7; 32]), ..terms() }).unwrap().address();
    assert_eq!(channel.apply(at(1), voucher(elsewhere, 10)), Err(Exit::WrongChannel.into()));
    let testnet = ChannelRef { network: NetworkId::TESTNET, ..here };
    assert_eq!(channel.apply(at(1), voucher(testnet, 10)), Err(Exit::WrongNetwork.into()));
    let forged =
        Voucher { channel: here, sequence: 1, cumulative: Amount::from_nano(10), receipts_root: Digest([9; 32]) }.sign(&provider());
    assert_eq!(channel.apply(at(1), Event::VoucherDelivered(forged)), Err(Exit::BadSignature.into()));
}

#[derive(Debug, Clone)]
enum Op {
    Deposit(u128),
    Claim(u128),
    Close(bool),
    Finish,
    Cooperate(u128),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u128..1_000).prop_map(Op::Deposit),
        6 => (0u128..3_000).prop_map(Op::Claim),
        1 => any::<bool>().prop_map(Op::Close),
        1 => Just(Op::Finish),
        1 => (0u128..3_000).prop_map(Op::Cooperate),
        2 => (0u64..80).prop_map(Op::Wait),
    ]
}

#[test]
fn a_fee_is_rounded_down_and_the_shares_are_the_whole() {
    let nano = Amount::from_nano;
    assert_eq!(shares(500, nano(100)), Ok((nano(95), nano(5))));
    assert_eq!(shares(500, nano(19)), Ok((nano(19), nano(0))));
    assert_eq!(shares(0, nano(100)), Ok((nano(100), nano(0))));
    assert_eq!(shares(10_000, nano(100)), Ok((nano(0), nano(100))));
    assert!(shares(10_001, nano(100)).is_err());
}

proptest! {
    #[test]
    fn every_nano_unit_deposited_is_held_or_went_somewhere(ops in proptest::collection::vec(op(), 1..60)) {
        let mut channel = Channel::new(terms()).unwrap();
        let (mut now, mut deposited, mut paid, mut refunded) = (0u64, 0u128, 0u128, 0u128);
        for op in ops {
            let address = channel.address();
            let before = channel.clone();
            let (event, deposit) = match op {
                Op::Wait(s) => { now += s; continue }
                Op::Deposit(n) => (Event::Deposited(Amount::from_nano(n)), n),
                Op::Claim(n) => (voucher(address, n), 0),
                Op::Close(ours) => (Event::CloseRequested { by: if ours { REFUND_TO } else { ContractAddress([8; 32]) } }, 0),
                Op::Finish => (Event::FinishRequested, 0),
                Op::Cooperate(n) => (close(address, n), 0),
            };
            match channel.apply(at(now), event) {
                Err(_) => prop_assert_eq!(&channel, &before, "a refused event changes nothing"),
                Ok(effects) => {
                    prop_assert_ne!(before.data().status, ChannelStatus::Closed, "nothing leaves Closed");
                    deposited += deposit;
                    for effect in effects {
                        match effect {
                            Effect::PayProvider(n) => paid += n.nano(),
                            Effect::Refund(n) => refunded += n.nano(),
                        }
                    }
                }
            }
            prop_assert!(channel.data().drawn <= channel.data().deposit);
            prop_assert_eq!(paid + refunded + channel.held().nano(), deposited);
            prop_assert_eq!(paid, channel.data().drawn.nano());
        }
    }
}
