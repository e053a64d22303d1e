//! The compiled contract on the embedded chain.

use cocoon_market::ids::{ContractAddress, Digest};
use cocoon_market::{Amount, ChannelRef, CooperativeClose, NetworkId, Voucher};
use tonlib_core::cell::{ArcCell, CellBuilder};

use super::channel::STORAGE_RESERVE;
use super::testing::{FEES, Stage, WINDOW_S, provider_key, requester_key};
use super::*;
use crate::chain::testing::ton;
use crate::chain::{Bounce, Chain, Transaction};
use crate::wallet::{Outgoing, next_seqno};

fn nano(nano: u128) -> Amount {
    Amount::from_nano(nano)
}

fn refused(transaction: &Transaction, exit: Exit) {
    assert_eq!(transaction.exit_code, Some(exit.code()), "{exit} expected");
    let back: Vec<_> = transaction.out_messages.iter().filter(|message| message.bounced).collect();
    assert_eq!(back.len(), 1, "the value comes back");
}

/// An upper bound of gas that the contract's source names.
fn bound(name: &str) -> u64 {
    let sources = [include_str!("../../contracts/channel.tolk"), include_str!("../../contracts/pricing.tolk")];
    let line = sources.iter().flat_map(|source| source.lines()).find_map(|line| line.strip_prefix(&format!("const {name} = "))).unwrap();
    line.parse().unwrap()
}

#[test]
fn each_path_stays_below_the_gas_it_asks_for_and_says_what_it_did() {
    let stage = Stage::new();
    let check = |what: &str, transaction: &Transaction| {
        assert_eq!(transaction.exit_code, Some(0), "{what}");
        assert_eq!(transaction.action_code, Some(0), "{what}");
        assert!(transaction.gas_used < bound(what), "{what} used {}", transaction.gas_used);
        println!("{what}: {} gas, fees {}", transaction.gas_used, transaction.total_fees);
    };
    check("GAS_DEPOSIT", &stage.deploy(ton(2)));
    let claim = stage.send(&stage.anyone, FEES, stage.claim(nano(123_456_789)));
    check("GAS_CLAIM", &claim);
    let notices: Vec<_> = claim.out_messages.iter().map(|message| Notice::from_cell(&message.body).unwrap()).collect();
    let paid = Notice::Paid { from: Amount::ZERO, to: nano(123_456_789), receipts_root: Digest([9; 32]) };
    assert_eq!(notices, [(7, paid)], "one message, which takes along what the claim did not cost");
    check("GAS_CLOSE", &stage.send(&stage.owner, FEES, ChannelMessage::CloseUnilateral));
    check("GAS_CLAIM", &stage.send(&stage.anyone, FEES, stage.claim(nano(223_456_789))));
    stage.clock.advance_ms(u64::from(WINDOW_S) * 1000);
    check("GAS_FINISH", &stage.send(&stage.anyone, FEES, ChannelMessage::FinishClose));

    let stage = Stage::open(ton(2));
    let transaction = stage.send(&stage.anyone, FEES, stage.cooperative(nano(1_000_000_000)));
    check("GAS_COOPERATIVE", &transaction);
    assert_eq!(Notice::from_cell(&transaction.out_messages[1].body).unwrap(), (7, Notice::Refund));
}

#[test]
fn a_claim_pays_exactly_and_the_sender_pays_the_fees() {
    let stage = Stage::open(ton(1));
    let transaction = stage.send(&stage.anyone, FEES, stage.claim(nano(100_000_001)));
    let rest = FEES.checked_sub(transaction.total_fees).unwrap();
    let brought = Stage::sent(&transaction, stage.terms.contract);
    assert!(
        brought > nano(100_000_001) && brought < rest.checked_add(nano(100_000_001)).unwrap(),
        "all that is drawn, and the rest of the value"
    );
    assert_eq!(stage.balance(stage.terms.contract), brought, "to an account that did not exist");
    assert_eq!(stage.balance(stage.channel.address), ton(1).checked_sub(nano(100_000_001)).unwrap().checked_add(STORAGE_RESERVE).unwrap());
    let data = stage.data();
    assert_eq!((data.drawn, data.sequence, data.receipts_root), (nano(100_000_001), 1, Digest([9; 32])));
}

#[test]
fn a_second_claim_of_one_voucher_costs_its_sender_only_gas() {
    let stage = Stage::open(ton(1));
    let claim = stage.claim(nano(100_000_000));
    stage.send(&stage.anyone, FEES, claim);
    let (channel, sender) = (stage.balance(stage.channel.address), stage.balance(stage.anyone.account()));
    refused(&stage.send(&stage.anyone, FEES, claim), Exit::NothingToDraw);
    assert_eq!(stage.balance(stage.channel.address), channel);
    let cost = sender.checked_sub(stage.balance(stage.anyone.account())).unwrap();
    assert!(cost < nano(2_000_000), "it cost {cost}");
}

#[test]
fn a_voucher_that_is_not_for_this_channel_is_refused() {
    let stage = Stage::open(ton(1));
    let good = stage.voucher(1, nano(1_000));
    let claim = |voucher: Voucher| ChannelMessage::Claim(voucher.sign(&requester_key()));
    let elsewhere = ChannelRef { address: ContractAddress([1; 32]), ..stage.channel };
    refused(&stage.send(&stage.anyone, FEES, claim(Voucher { channel: elsewhere, ..good })), Exit::WrongChannel);
    let testnet = ChannelRef { network: NetworkId::TESTNET, ..stage.channel };
    refused(&stage.send(&stage.anyone, FEES, claim(Voucher { channel: testnet, ..good })), Exit::WrongNetwork);
    refused(&stage.send(&stage.anyone, FEES, ChannelMessage::Claim(good.sign(&provider_key()))), Exit::BadSignature);
    let mut altered = good.sign(&requester_key());
    altered.voucher.cumulative = nano(2_000);
    refused(&stage.send(&stage.anyone, FEES, ChannelMessage::Claim(altered)), Exit::BadSignature);
}

/// A claim whose signed bytes are whatever they are; the signature is right.
fn claim_of(bytes: &[u8], reference: Option<ArcCell>) -> ArcCell {
    use ed25519_dalek::Signer as _;
    let signature = ed25519_dalek::SigningKey::from_bytes(&requester_key().seed()).sign(bytes).to_bytes();
    let mut statement = CellBuilder::new();
    statement.store_slice(bytes).unwrap();
    if let Some(cell) = reference {
        statement.store_reference(&cell).unwrap();
    }
    let mut body = CellBuilder::new();
    body.store_u32(32, 0x4343_0002).unwrap().store_u64(64, 7).unwrap().store_slice(&signature).unwrap();
    body.store_child(statement.build().unwrap()).unwrap();
    body.build().unwrap().to_arc()
}

#[test]
fn signed_bytes_of_another_shape_are_no_voucher() {
    let stage = Stage::open(ton(1));
    let good = stage.voucher(1, nano(1_000)).to_bytes();
    let send = |body: ArcCell| stage.send_raw(&stage.anyone, FEES, body, None);
    refused(&send(claim_of(&good[..95], None)), Exit::BadLayout);
    refused(&send(claim_of(&[good.as_slice(), &[0]].concat(), None)), Exit::BadLayout);
    refused(&send(claim_of(&good, Some(CellBuilder::new().build().unwrap().to_arc()))), Exit::BadLayout);
    let mut close_tag = good;
    close_tag[..4].copy_from_slice(b"CCC1");
    refused(&send(claim_of(&close_tag, None)), Exit::WrongTag);
    assert_eq!(send(claim_of(&good, None)).exit_code, Some(0));
}

#[test]
fn what_is_no_message_of_ours_is_sent_back() {
    let stage = Stage::open(ton(1));
    for bytes in [vec![], vec![0; 12], vec![0x43, 0x43, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let mut body = CellBuilder::new();
        body.store_slice(&bytes).unwrap();
        refused(&stage.send_raw(&stage.anyone, FEES, body.build().unwrap().to_arc(), None), Exit::UnknownMessage);
    }
    let mut truncated = CellBuilder::new();
    truncated.store_u32(32, 0x4343_0002).unwrap();
    let transaction = stage.send_raw(&stage.anyone, FEES, truncated.build().unwrap().to_arc(), None);
    assert_eq!(transaction.exit_code, Some(9), "cell underflow");
    assert!(transaction.out_messages.iter().all(|message| message.bounced));
}

#[test]
fn too_little_value_is_refused_before_anything_happens() {
    let stage = Stage::open(ton(1));
    let little = nano(700_000);
    for message in [stage.claim(nano(1_000)), stage.cooperative(nano(1_000))] {
        refused(&stage.send(&stage.anyone, little, message), Exit::TooLittleValue);
    }
    refused(&stage.send(&stage.anyone, nano(600_000), ChannelMessage::FinishClose), Exit::TooLittleValue);
    refused(&stage.send(&stage.owner, nano(300_000), ChannelMessage::CloseUnilateral), Exit::TooLittleValue);
    refused(&stage.send(&stage.anyone, nano(300_000), ChannelMessage::Deposit(nano(1))), Exit::TooLittleValue);
    refused(&stage.send(&stage.anyone, ton(1), ChannelMessage::Deposit(ton(1))), Exit::TooLittleValue);
    assert_eq!(stage.data().drawn, Amount::ZERO);
}

#[test]
fn only_the_requesters_wallet_closes() {
    let stage = Stage::open(ton(1));
    refused(&stage.send(&stage.anyone, FEES, ChannelMessage::CloseUnilateral), Exit::NotRequester);
    assert_eq!(stage.send(&stage.owner, FEES, ChannelMessage::CloseUnilateral).exit_code, Some(0));
}

#[test]
fn the_challenge_window_is_kept_to_the_second() {
    let stage = Stage::open(ton(1));
    let close = stage.send(&stage.owner, FEES, ChannelMessage::CloseUnilateral);
    let ChannelStatus::Closing { deadline_s } = stage.data().status else { panic!("it is closing") };
    assert_eq!(u64::from(deadline_s), close.unix_s + u64::from(WINDOW_S));
    stage.clock.advance_ms(u64::from(WINDOW_S) * 1000 - 1000);
    refused(&stage.send(&stage.anyone, FEES, ChannelMessage::FinishClose), Exit::WindowOpen);
    let last = stage.send(&stage.anyone, FEES, stage.claim(nano(1_000)));
    assert_eq!((last.exit_code, last.unix_s), (Some(0), u64::from(deadline_s) - 1));
    stage.clock.advance_ms(1000);
    refused(&stage.send(&stage.anyone, FEES, stage.claim(nano(2_000))), Exit::WindowOver);
    assert_eq!(stage.send(&stage.anyone, FEES, ChannelMessage::FinishClose).exit_code, Some(0));
}

#[test]
fn each_state_takes_only_its_own_messages() {
    let stage = Stage::open(ton(1));
    let deposit = ChannelMessage::Deposit(nano(1));
    refused(&stage.send(&stage.anyone, FEES, ChannelMessage::Deposit(Amount::ZERO)), Exit::ZeroDeposit);
    refused(&stage.send(&stage.anyone, FEES, ChannelMessage::FinishClose), Exit::NotClosing);
    stage.send(&stage.owner, FEES, ChannelMessage::CloseUnilateral);
    refused(&stage.send(&stage.anyone, FEES, deposit), Exit::Closing);
    refused(&stage.send(&stage.owner, FEES, ChannelMessage::CloseUnilateral), Exit::Closing);
    assert_eq!(stage.send(&stage.anyone, FEES, stage.cooperative(nano(1_000))).exit_code, Some(0));
    for message in [deposit, stage.claim(nano(2_000)), ChannelMessage::FinishClose, stage.cooperative(nano(1_000))] {
        refused(&stage.send(&stage.anyone, FEES, message), Exit::Closed);
    }
    refused(&stage.send(&stage.owner, FEES, ChannelMessage::CloseUnilateral), Exit::Closed);
}

#[test]
fn a_cooperative_close_needs_both_signatures_and_a_figure_that_is_there() {
    let stage = Stage::open(ton(1));
    stage.send(&stage.anyone, FEES, stage.claim(nano(1_000)));
    refused(&stage.send(&stage.anyone, FEES, stage.cooperative(nano(999))), Exit::BelowDrawn);
    refused(&stage.send(&stage.anyone, FEES, stage.cooperative(nano(1_000_000_001))), Exit::OverDeposit);
    let statement = CooperativeClose { channel: stage.channel, sequence: 1, cumulative: nano(2_000) };
    let (good, bad) = ((statement.sign(&requester_key()), statement.sign(&provider_key())), statement.sign(&requester_key()));
    let without_provider = ChannelMessage::CloseCooperative { statement, requester: good.0, provider: bad };
    refused(&stage.send(&stage.anyone, FEES, without_provider), Exit::BadSignature);
    let without_requester = ChannelMessage::CloseCooperative { statement, requester: good.1, provider: good.1 };
    refused(&stage.send(&stage.anyone, FEES, without_requester), Exit::BadSignature);
    for (channel, exit) in [
        (ChannelRef { address: ContractAddress([1; 32]), ..stage.channel }, Exit::WrongChannel),
        (ChannelRef { network: NetworkId::TESTNET, ..stage.channel }, Exit::WrongNetwork),
    ] {
        let statement = CooperativeClose { channel, ..statement };
        let (requester, provider) = (statement.sign(&requester_key()), statement.sign(&provider_key()));
        refused(&stage.send(&stage.anyone, FEES, ChannelMessage::CloseCooperative { statement, requester, provider }), exit);
    }
}

/// A cooperative close whose statement is whatever it is; both signatures are right.
fn cooperative_of(bytes: &[u8], reference: Option<ArcCell>) -> ArcCell {
    use ed25519_dalek::Signer as _;
    let sign = |key: cocoon_market::OperatorKey| ed25519_dalek::SigningKey::from_bytes(&key.seed()).sign(bytes).to_bytes();
    let mut statement = CellBuilder::new();
    statement.store_slice(bytes).unwrap();
    if let Some(cell) = reference {
        statement.store_reference(&cell).unwrap();
    }
    let mut rest = CellBuilder::new();
    rest.store_slice(&sign(provider_key())).unwrap().store_child(statement.build().unwrap()).unwrap();
    let mut body = CellBuilder::new();
    body.store_u32(32, 0x4343_0005).unwrap().store_u64(64, 7).unwrap().store_slice(&sign(requester_key())).unwrap();
    body.store_child(rest.build().unwrap()).unwrap();
    body.build().unwrap().to_arc()
}

#[test]
fn signed_bytes_of_another_shape_are_no_close() {
    let stage = Stage::open(ton(1));
    let good = CooperativeClose { channel: stage.channel, sequence: 1, cumulative: nano(2_000) }.to_bytes();
    let send = |body: ArcCell| stage.send_raw(&stage.anyone, FEES, body, None);
    refused(&send(cooperative_of(&good[..63], None)), Exit::BadLayout);
    refused(&send(cooperative_of(&[good.as_slice(), &[0]].concat(), None)), Exit::BadLayout);
    refused(&send(cooperative_of(&good, Some(CellBuilder::new().build().unwrap().to_arc()))), Exit::BadLayout);
    let mut voucher_tag = good;
    voucher_tag[..4].copy_from_slice(b"CCV1");
    refused(&send(cooperative_of(&voucher_tag, None)), Exit::WrongTag);
    assert_eq!(send(cooperative_of(&good, None)).exit_code, Some(0));
}

#[test]
fn an_old_voucher_is_worthless_after_a_close_even_if_the_same_channel_is_deployed_again() {
    let stage = Stage::open(ton(1));
    stage.send(&stage.owner, FEES, ChannelMessage::CloseUnilateral);
    stage.clock.advance_ms(u64::from(WINDOW_S) * 1000);
    let transaction = stage.send(&stage.anyone, FEES, ChannelMessage::FinishClose);
    assert_eq!(Stage::sent(&transaction, stage.owner.account()), ton(1));
    assert_eq!(stage.data().status, ChannelStatus::Closed);
    let wallet = stage.balance(stage.owner.account());
    refused(&stage.deploy(ton(1)), Exit::Closed);
    let cost = wallet.checked_sub(stage.balance(stage.owner.account())).unwrap();
    assert!(cost < nano(10_000_000), "the deposit came back, at a cost of {cost}");
    refused(&stage.send(&stage.anyone, FEES, stage.claim(nano(1_000))), Exit::Closed);
    refused(&stage.send(&stage.anyone, FEES, ChannelMessage::FinishClose), Exit::Closed);
    let reopened = ChannelTerms { salt: Digest([7; 32]), ..stage.terms };
    assert_ne!(reopened.channel().unwrap(), stage.channel, "another salt, another channel");
}

#[test]
fn sixty_years_of_storage_do_not_eat_the_deposit() {
    let stage = Stage::open(ton(1));
    stage.send(&stage.anyone, FEES, stage.claim(nano(100_000_000)));
    stage.clock.advance_ms(60 * 365 * 86_400 * 1000);
    let before = stage.balance(stage.channel.address);
    let little = nano(20_000_000);
    for message in [stage.claim(nano(200_000_000)), stage.cooperative(nano(200_000_000)), ChannelMessage::Deposit(nano(1))] {
        refused(&stage.send(&stage.anyone, little, message), Exit::TooLittleValue);
    }
    refused(&stage.send(&stage.owner, little, ChannelMessage::CloseUnilateral), Exit::TooLittleValue);
    assert!(stage.balance(stage.channel.address) < before, "storage was charged");
    let transaction = stage.send(&stage.anyone, ton(1), stage.claim(nano(1_000_000_000)));
    assert_eq!(transaction.exit_code, Some(0));
    assert!(Stage::sent(&transaction, stage.terms.contract) >= nano(900_000_000), "the sender made good what storage took");
    assert_eq!(stage.balance(stage.channel.address), Amount::ZERO);
}

#[test]
fn a_refund_after_sixty_years_is_whole_too() {
    let stage = Stage::open(ton(1));
    stage.send(&stage.owner, FEES, ChannelMessage::CloseUnilateral);
    stage.clock.advance_ms(60 * 365 * 86_400 * 1000);
    refused(&stage.send(&stage.anyone, nano(20_000_000), ChannelMessage::FinishClose), Exit::TooLittleValue);
    let transaction = stage.send(&stage.anyone, ton(1), ChannelMessage::FinishClose);
    assert_eq!(Stage::sent(&transaction, stage.owner.account()), ton(1));
}

#[test]
fn money_sent_by_mistake_goes_back_to_the_requester_at_the_end() {
    let stage = Stage::open(ton(1));
    give_away(&stage);
    stage.send(&stage.owner, FEES, ChannelMessage::CloseUnilateral);
    stage.clock.advance_ms(u64::from(WINDOW_S) * 1000);
    let transaction = stage.send(&stage.anyone, FEES, ChannelMessage::FinishClose);
    let refund = Stage::sent(&transaction, stage.owner.account());
    assert!(refund > nano(1_299_000_000), "refunded {refund}");
    assert!(stage.balance(stage.channel.address) <= STORAGE_RESERVE);
}

/// A plain transfer to the channel that asks for no bounce.
fn give_away(stage: &Stage) {
    let from = &stage.anyone;
    let seqno = next_seqno(&stage.chain.account(&from.address()).unwrap()).unwrap();
    let outgoing = Outgoing { to: stage.address(), value: nano(300_000_000), bounce: Bounce::No, body: None, state_init: None };
    stage.chain.send_boc(&from.sign(seqno, u32::MAX, &[outgoing]).unwrap().boc).unwrap();
}

#[test]
fn get_methods_tell_state_and_terms() {
    let stage = Stage::open(ton(1));
    stage.send(&stage.anyone, FEES, stage.claim(nano(1_000)));
    let state = stage.chain.run_get_method(&stage.address(), "channel_state", &[]).unwrap();
    assert!(state.is_success());
    let amounts: Vec<_> = state.stack.iter().take(5).map(|item| item.as_amount().unwrap().nano()).collect();
    assert_eq!(amounts, [0, 0, 1_000_000_000, 1_000, 1]);
    let terms = stage.chain.run_get_method(&stage.address(), "channel_terms", &[]).unwrap();
    assert_eq!(terms.stack.len(), 7);
    assert_eq!(terms.stack[4].as_u64(), Some(u64::from(WINDOW_S)));
}
