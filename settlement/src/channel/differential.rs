//! The machine against the contract: every refusal and every nano-unit, over random sequences of messages.

use cocoon_market::{Amount, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::chain::Transaction;
use crate::contract::channel::STORAGE_RESERVE;
use crate::contract::testing::{FEES, Stage, provider_key, requester_key};
use crate::contract::{ChannelMessage, Notice};

#[derive(Debug, Clone)]
enum Op {
    Deposit(u128),
    Claim(u128),
    ClaimForged(u128),
    Close { ours: bool },
    Finish,
    Cooperate(u128),
    CooperateForged(u128),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let amount = || prop_oneof![0u128..20, 0u128..3_000_000_000];
    prop_oneof![
        4 => amount().prop_map(Op::Deposit),
        8 => amount().prop_map(Op::Claim),
        1 => amount().prop_map(Op::ClaimForged),
        2 => prop::bool::weighted(0.8).prop_map(|ours| Op::Close { ours }),
        2 => Just(Op::Finish),
        1 => amount().prop_map(Op::Cooperate),
        1 => amount().prop_map(Op::CooperateForged),
        2 => (0u64..80).prop_map(Op::Wait),
    ]
}

/// The message on chain, its event for the machine, and whether the requester's own wallet sends it.
fn message(stage: &Stage, op: &Op) -> Option<(ChannelMessage, Event, bool)> {
    let amount = |n: &u128| Amount::from_nano(*n);
    let cooperate = |n: &u128, provider| {
        let statement = CooperativeClose { channel: stage.channel, sequence: 1, cumulative: amount(n) };
        let (requester, provider) = (statement.sign(&requester_key()), statement.sign(provider));
        (
            ChannelMessage::CloseCooperative { statement, requester, provider },
            Event::CloseDelivered { statement, requester, provider },
            false,
        )
    };
    let claim = |n: &u128, key| {
        let signed = stage.voucher(3, amount(n)).sign(key);
        (ChannelMessage::Claim(signed), Event::VoucherDelivered(signed), false)
    };
    Some(match op {
        Op::Wait(_) => return None,
        Op::Deposit(n) => (ChannelMessage::Deposit(amount(n)), Event::Deposited(amount(n)), false),
        Op::Claim(n) => claim(n, &requester_key()),
        Op::ClaimForged(n) => claim(n, &provider_key()),
        Op::Close { ours } => {
            let by = if *ours { stage.owner.account() } else { stage.anyone.account() };
            (ChannelMessage::CloseUnilateral, Event::CloseRequested { by }, *ours)
        }
        Op::Finish => (ChannelMessage::FinishClose, Event::FinishRequested, false),
        Op::Cooperate(n) => cooperate(n, &provider_key()),
        Op::CooperateForged(n) => cooperate(n, &requester_key()),
    })
}

/// What the machine says shall leave, against what the transaction sent.
fn check_effects(stage: &Stage, transaction: &Transaction, effects: &[Effect]) {
    let (mut provider, mut refund) = (Amount::ZERO, Amount::ZERO);
    for effect in effects {
        match effect {
            Effect::PayProvider(amount) => provider = *amount,
            Effect::Refund(amount) => refund = *amount,
        }
    }
    let paid = transaction.out_messages.iter().filter_map(|message| match Notice::from_cell(&message.body) {
        Ok((_, Notice::Paid { from, to, .. })) => Some(to.checked_sub(from).unwrap()),
        _ => None,
    });
    assert_eq!(Amount::sum(paid).unwrap(), provider);
    let brought = Stage::sent(transaction, stage.terms.contract);
    assert!(brought >= provider && brought <= provider.checked_add(FEES).unwrap(), "what it brings is what it says, and what is left");
    let refunds = transaction.out_messages.iter().filter(|message| matches!(Notice::from_cell(&message.body), Ok((_, Notice::Refund))));
    assert_eq!(Amount::sum(refunds.map(|message| message.value)).unwrap(), refund);
}

fn run(ops: &[Op]) {
    let stage = Stage::new();
    let mut machine = Channel::new(stage.terms).unwrap();
    let first = Amount::from_nano(1_000_000_000);
    stage.deploy(first);
    machine.apply(Timestamp(0), Event::Deposited(first)).unwrap();
    for op in ops {
        let Some((message, event, by_owner)) = message(&stage, op) else {
            if let Op::Wait(seconds) = op {
                stage.clock.advance_ms(seconds * 1000);
            }
            continue;
        };
        let value = if let Op::Deposit(n) = op { FEES.checked_add(Amount::from_nano(*n)).unwrap() } else { FEES };
        let transaction = stage.send(if by_owner { &stage.owner } else { &stage.anyone }, value, message);
        match machine.apply(Timestamp(transaction.unix_s * 1000), event) {
            Ok(effects) => {
                assert_eq!((transaction.exit_code, transaction.action_code), (Some(0), Some(0)), "{op:?}");
                check_effects(&stage, &transaction, &effects);
            }
            Err(Reject::Exit(exit)) => assert_eq!(transaction.exit_code, Some(exit.code()), "{op:?}: {exit}"),
            Err(Reject::Amount(error)) => panic!("{op:?}: {error}"),
        }
        assert_eq!(stage.data(), *machine.data(), "{op:?}");
        let beyond = stage.balance(stage.channel.address).checked_sub(machine.held()).unwrap();
        let worn = STORAGE_RESERVE.checked_sub(beyond).unwrap();
        assert!(worn < Amount::from_nano(100_000), "storage took {worn}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_machine_decides_what_the_contract_decides(ops in proptest::collection::vec(op(), 1..24)) {
        run(&ops);
    }
}
