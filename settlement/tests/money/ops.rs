//! Operations as bare numbers, which mean something wherever they stand: so a sequence can be cut anywhere.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    TopUp,
    Voucher,
    Claim,
    Close,
    Finish,
    Cooperative,
    Wait,
    /// Years, so that storage eats into what is held.
    WaitLong,
    Stake,
    Unbond,
    Withdraw,
    WithdrawOperations,
    Slash,
    Poke,
    PokeOver,
    Flush,
    Gift,
    Batch,
    Allocate,
    Alive,
    Fee,
    PayTreasury,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) kind: Kind,
    pub(crate) a: u32,
    pub(crate) b: u32,
    pub(crate) amount: u64,
    /// What is unusual about it; most values mean nothing.
    pub(crate) twist: u8,
    /// How much value it brings; most values mean plenty.
    pub(crate) purse: u8,
    /// Whether the next operation may be in the same block.
    pub(crate) same_block: bool,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        16 => Just(Kind::Open),
        6 => Just(Kind::TopUp),
        40 => Just(Kind::Voucher),
        24 => Just(Kind::Claim),
        8 => Just(Kind::Close),
        8 => Just(Kind::Finish),
        5 => Just(Kind::Cooperative),
        12 => Just(Kind::Wait),
        1 => Just(Kind::WaitLong),
        6 => Just(Kind::Stake),
        4 => Just(Kind::Unbond),
        4 => Just(Kind::Withdraw),
        4 => Just(Kind::WithdrawOperations),
        3 => Just(Kind::Slash),
        6 => Just(Kind::Poke),
        5 => Just(Kind::PokeOver),
        5 => Just(Kind::Flush),
        4 => Just(Kind::Gift),
        16 => Just(Kind::Batch),
        5 => Just(Kind::Allocate),
        4 => Just(Kind::Alive),
        2 => Just(Kind::Fee),
        3 => Just(Kind::PayTreasury),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let amount = prop_oneof![Just(1_u64), 1_u64..1_000, 1_u64..1_000_000_000, 1_u64..20_000_000_000, 1_u64..300_000_000_000_000];
    (kind(), any::<u32>(), any::<u32>(), amount, 0_u8..20, 0_u8..16, prop::bool::weighted(0.35)).prop_map(
        |(kind, a, b, amount, twist, purse, same_block)| {
            // Waits read the amount as milliseconds; nobody has more than a hundred thousand TON.
            let amount = if matches!(kind, Kind::Wait | Kind::WaitLong) { amount } else { amount % 200_000_000_000 };
            Op { kind, a, b, amount, twist, purse, same_block }
        },
    )
}

/// The operations of a seed.
pub(crate) fn sequence(seed: u64, length: usize) -> Vec<Op> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    prop::collection::vec(op(), length).new_tree(&mut runner).unwrap().current()
}
