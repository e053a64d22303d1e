pub(crate) mod disk;
pub(crate) mod kill;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tonlib_core::cell::{ArcCell, CellBuilder};
use tonlib_core::tlb_types::block::state_init::StateInit;
use tonlib_core::tlb_types::tlb::TLB;

use super::faucet::ISSUED;
use super::store::Place;
use super::write::Writes;
use super::*;
use crate::chain::codec::to_boc;
use crate::chain::testing::{TestWallet, balance, chain, empty_external, internal, options, ton};
use crate::chain::{AccountStatus, Bounce, Chain, Faucet, MessageKind, Page, Rejection, Sought, StackItem, Transaction, TxId};

impl Embedded {
    fn committed_head(&self) -> BlockRecord {
        *self.lock().committed.head()
    }
}

fn newest(chain: &Embedded, address: &Address) -> Transaction {
    chain.transactions(address, Page::newest(1)).unwrap().remove(0)
}

#[test]
fn the_faucet_holds_everything_at_the_start() {
    let (chain, _) = chain(Blocks::Instant);
    assert_eq!(balance(&chain, &chain.faucet()), ISSUED);
    assert_eq!(chain.head().unwrap().seqno, 0);
    assert_eq!(chain.network(), NetworkId::DEVNET);
    assert!(chain.supply().unwrap().is_balanced());
}

#[test]
fn a_wallet_deploys_itself_and_sends() {
    let (chain, _) = chain(Blocks::Instant);
    let wallet = TestWallet::funded(&chain, 1, ton(10));
    assert_eq!(chain.account(&wallet.address).unwrap().status, AccountStatus::Uninitialized);
    assert!(matches!(chain.run_get_method(&wallet.address, "seqno", &[]), Err(ChainError::NotFound(Sought::Contract))));

    let to = Address::basechain([7; 32]);
    let hash = chain.send_boc(&wallet.transfer(0, &to, ton(3), Bounce::No)).unwrap();
    assert_eq!(balance(&chain, &to), ton(3));
    assert_eq!(chain.account(&wallet.address).unwrap().status, AccountStatus::Active);
    let seqno = chain.run_get_method(&wallet.address, "seqno", &[]).unwrap();
    assert_eq!((seqno.exit_code, seqno.stack.as_slice()), (0, &[StackItem::int(1)][..]));
    assert!(seqno.gas_used > 0);

    let sent = newest(&chain, &wallet.address);
    let message = sent.in_message.as_ref().unwrap();
    assert_eq!((message.kind, message.hash, message.has_init), (MessageKind::ExternalIn, hash, true));
    assert!(sent.success);
    assert_eq!((sent.exit_code, sent.action_code), (Some(0), Some(0)));
    let received = newest(&chain, &to);
    assert_eq!(received.in_message.as_ref().unwrap().hash, sent.out_messages[0].hash);
    assert!(received.id.lt > sent.id.lt, "cause precedes effect in logical time");
    assert!(chain.supply().unwrap().is_balanced());
}

#[test]
fn balances_change_by_what_the_phases_say() {
    let (chain, _) = chain(Blocks::Instant);
    let wallet = TestWallet::funded(&chain, 1, ton(10));
    let to = Address::basechain([7; 32]);
    chain.send_boc(&wallet.transfer(0, &to, ton(3), Bounce::No)).unwrap();
    let sent = newest(&chain, &wallet.address);
    let out = &sent.out_messages[0];
    let forwarding = out.forward_fee;
    let left = ton(10).checked_sub(ton(3)).unwrap().checked_sub(sent.total_fees).unwrap().checked_sub(forwarding).unwrap();
    assert_eq!(out.value, ton(3));
    assert_eq!(balance(&chain, &wallet.address), left);
    let (lump, one_cell, paid_at_once) = (66_667, 6_667, 24_444);
    assert_eq!(forwarding.nano(), lump + one_cell - paid_at_once, "two thirds of the forwarding fee travel with the message");
    let fees_of_both = chain.supply().unwrap().fees;
    assert!(fees_of_both.nano() >= sent.total_fees.nano() + forwarding.nano());
}

#[test]
fn a_message_to_nobody_bounces() {
    let (chain, _) = chain(Blocks::Instant);
    let wallet = TestWallet::funded(&chain, 1, ton(10));
    let nobody = Address::basechain([9; 32]);
    chain.send_boc(&wallet.transfer(0, &nobody, ton(3), Bounce::Yes)).unwrap();
    assert_eq!(balance(&chain, &nobody), Amount::ZERO);
    let back = newest(&chain, &wallet.address);
    let message = back.in_message.unwrap();
    assert!(message.bounced && message.source == Some(nobody));
    assert!(balance(&chain, &wallet.address) > ton(9));
    let failed = newest(&chain, &nobody);
    assert!(!failed.success && failed.exit_code.is_none());
    assert!(chain.supply().unwrap().is_balanced());
}

#[test]
fn what_is_not_accepted_leaves_no_trace() {
    let (chain, _) = chain(Blocks::Instant);
    let wallet = TestWallet::funded(&chain, 1, ton(10));
    chain.send_boc(&wallet.transfer(0, &chain.faucet(), ton(1), Bounce::No)).unwrap();
    let (before, head) = (chain.state_hash().unwrap(), chain.head().unwrap());
    let cases = [
        (wallet.transfer(0, &chain.faucet(), ton(1), Bounce::No), Some(33), "replayed"),
        (wallet.transfer(2, &chain.faucet(), ton(1), Bounce::No), Some(33), "from the future"),
        (TestWallet::new(2).transfer(0, &chain.faucet(), ton(1), Bounce::No), None, "no account"),
        (wallet.signed(1, 5, &[internal(&chain.faucet(), ton(1), Bounce::No)]), Some(36), "expired"),
        (empty_external(&wallet.address), Some(9), "empty"),
    ];
    for (boc, exit_code, what) in cases {
        let error = chain.send_boc(&boc).unwrap_err();
        let ChainError::Rejected(Rejection::NotAccepted { exit_code: found }) = error else { panic!("{what}: {error}") };
        assert_eq!(found, exit_code, "{what}");
    }
    assert_eq!(chain.head().unwrap(), head);
    assert_eq!(chain.state_hash().unwrap(), before);
}

#[test]
fn bytes_that_are_no_message_are_refused_by_kind() {
    let (chain, _) = chain(Blocks::Instant);
    let refused = |boc: &[u8]| match chain.send_boc(boc) {
        Err(ChainError::Rejected(rejection)) => rejection,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(b""), Rejection::Malformed);
    assert_eq!(refused(b"no bag of cells"), Rejection::Malformed);
    assert_eq!(refused(&to_boc(&CellBuilder::new().build().unwrap().to_arc()).unwrap()), Rejection::Malformed);
    assert_eq!(refused(&vec![0; 70_000]), Rejection::TooLarge { bytes: 70_000, bytes_max: 65_535 });
    assert_eq!(refused(&to_boc(&internal(&chain.faucet(), ton(1), Bounce::Yes)).unwrap()), Rejection::Malformed, "no source");
    assert_eq!(refused(&empty_external(&Address { workchain: 5, hash: [1; 32] })), Rejection::Workchain(5));
    let deep = (0..600).fold(CellBuilder::new().build().unwrap().to_arc(), |inner, _| {
        let mut builder = CellBuilder::new();
        builder.store_reference(&inner).unwrap();
        builder.build().unwrap().to_arc()
    });
    assert_eq!(refused(&to_boc(&deep).unwrap()), Rejection::TooDeep { depth: 600, depth_max: 512 });
}

#[test]
fn the_faucet_gives_within_reason() {
    let (chain, _) = chain(Blocks::Instant);
    assert!(matches!(chain.fund(&Address::basechain([7; 32]), ton(1_000_001)), Err(ChainError::BadRequest(_))));
    assert!(matches!(chain.fund(&Address::basechain([0; 32]), ton(1)), Err(ChainError::BadRequest(_))));
    assert_eq!(chain.head().unwrap().seqno, 0);
}

#[test]
fn several_messages_of_one_wallet_fit_one_block() {
    let (chain, _) = chain(Blocks::Manual);
    let wallet = TestWallet::funded(&chain, 1, ton(10));
    chain.make_block().unwrap();
    let to = Address::basechain([7; 32]);
    for seqno in 0..3 {
        chain.send_boc(&wallet.transfer(seqno, &to, ton(1), Bounce::No)).unwrap();
    }
    assert_eq!(balance(&chain, &to), Amount::ZERO, "nothing is on the chain before its block");
    assert_eq!(chain.make_block().unwrap().seqno, 2);
    assert_eq!(balance(&chain, &to), ton(3));
}

#[test]
fn blocks_come_when_they_are_due() {
    let (chain, clock) = chain(Blocks::Every(Duration::from_secs(2)));
    let to = Address::basechain([7; 32]);
    chain.fund(&to, ton(1)).unwrap();
    clock.advance_ms(1_999);
    assert_eq!(chain.tick().unwrap(), None);
    assert_eq!(balance(&chain, &to), Amount::ZERO);
    clock.advance_ms(1);
    assert_eq!(balance(&chain, &to), ton(1), "any call makes the block that is due");
    let first = chain.head().unwrap();
    clock.advance_ms(60_000);
    assert_eq!(chain.tick().unwrap().map(|head| head.seqno), Some(first.seqno + 1), "no burst of empty blocks");
    assert_eq!(chain.block(first.seqno).unwrap(), first);
    assert!(matches!(chain.block(99), Err(ChainError::NotFound(Sought::Block))));
}

#[test]
fn time_never_runs_backwards() {
    let (options, _) = options(Blocks::Manual);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain");
    let before = Embedded::open(&path, options).unwrap().make_block().unwrap();
    let early = Options { blocks: Blocks::Manual, clock: Arc::new(|| Timestamp(1_000)) };
    let after = Embedded::open(&path, early).unwrap().make_block().unwrap();
    assert_eq!((after.seqno, after.unix_s), (before.seqno + 1, before.unix_s));
}

#[test]
fn rent_is_collected() {
    let (chain, clock) = chain(Blocks::Instant);
    let wallet = TestWallet::funded(&chain, 1, ton(10));
    chain.send_boc(&wallet.transfer(0, &chain.faucet(), ton(1), Bounce::No)).unwrap();
    clock.advance_ms(365 * 24 * 3_600 * 1_000);
    chain.send_boc(&wallet.transfer(1, &chain.faucet(), ton(1), Bounce::No)).unwrap();
    let rent = newest(&chain, &wallet.address).storage_fee;
    assert!((500_000..5_000_000).contains(&rent.nano()), "a year of a wallet's 22 cells costs about 0.0014 TON: {rent}");
    assert!(chain.supply().unwrap().is_balanced());
}

#[test]
fn pages_of_transactions_follow_one_another() {
    let (chain, _) = chain(Blocks::Instant);
    let to = Address::basechain([7; 32]);
    for _ in 0..5 {
        chain.fund(&to, ton(1)).unwrap();
    }
    let all = chain.transactions(&to, Page::newest(100)).unwrap();
    assert_eq!(all.len(), 5);
    assert!(all.windows(2).all(|pair| pair[0].previous == Some(pair[1].id)));
    assert_eq!(all[4].previous, None);
    let second = chain.transactions(&to, Page { from: all[0].previous, after_lt: 0, limit: 2 }).unwrap();
    assert_eq!(second, all[1..3]);
    let recent = chain.transactions(&to, Page { from: None, after_lt: all[2].id.lt, limit: 100 }).unwrap();
    assert_eq!(recent, all[..2]);
    let forged = TxId { hash: [0; 32], ..all[0].id };
    assert!(matches!(
        chain.transactions(&to, Page { from: Some(forged), after_lt: 0, limit: 1 }),
        Err(ChainError::NotFound(Sought::Transaction))
    ));
    assert!(matches!(chain.transactions(&to, Page::newest(101)), Err(ChainError::BadRequest(_))));
}

#[test]
fn a_chain_reopened_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain");
    let (options, _) = options(Blocks::Instant);
    let first = Embedded::open(&path, options.clone()).unwrap();
    let wallet = TestWallet::funded(&first, 1, ton(10));
    first.send_boc(&wallet.transfer(0, &Address::basechain([7; 32]), ton(1), Bounce::No)).unwrap();
    let (state, head) = (first.state_hash().unwrap(), first.head().unwrap());
    assert!(matches!(Embedded::open(&path, options.clone()), Err(OpenError::Store(StoreError::InUse))));
    drop(first);

    let second = Embedded::open(&path, options).unwrap();
    assert_eq!((second.state_hash().unwrap(), second.head().unwrap()), (state, head));
    second.send_boc(&wallet.transfer(1, &Address::basechain([7; 32]), ton(1), Bounce::No)).unwrap();
    assert_eq!(balance(&second, &Address::basechain([7; 32])), ton(2));
}

#[test]
fn the_same_messages_make_the_same_chain() {
    let run = || {
        let (chain, clock) = chain(Blocks::Manual);
        let wallet = TestWallet::funded(&chain, 1, ton(10));
        chain.make_block().unwrap();
        for seqno in 0..4 {
            clock.advance_ms(700);
            chain.send_boc(&wallet.transfer(seqno, &Address::basechain([seqno as u8 + 1; 32]), ton(1), Bounce::No)).unwrap();
        }
        chain.make_block().unwrap();
        chain.state_hash().unwrap()
    };
    assert_eq!(run(), run());
}

/// A chain with wallets, transfers, bounces, a full block and blocks without anything.
fn eventful(chain: &mut Embedded, clock: &crate::chain::testing::ManualClock) {
    let wallet = TestWallet::funded(chain, 1, ton(10));
    chain.make_block().unwrap();
    chain.limits.transactions = 6;
    for seqno in 0..12 {
        clock.advance_ms(700);
        let (to, bounce) = (Address::basechain([seqno as u8 + 1; 32]), if seqno % 2 == 0 { Bounce::Yes } else { Bounce::No });
        while let Err(error) = chain.send_boc(&wallet.transfer(seqno, &to, Amount::from_nano(100_000_000), bounce)) {
            assert!(matches!(error, ChainError::BlockFull), "{error}");
            chain.make_block().unwrap();
        }
        assert!(chain.send_boc(&wallet.transfer(seqno, &to, ton(1), bounce)).is_err(), "what is refused is not in the log");
        if seqno % 5 == 0 {
            chain.make_block().unwrap();
        }
    }
    chain.make_block().unwrap();
    chain.make_block().unwrap();
}

#[test]
fn the_log_makes_the_same_chain_again() {
    let (mut chain, clock) = chain(Blocks::Manual);
    assert_eq!(chain.replay().unwrap(), 0);
    eventful(&mut chain, &clock);
    assert_eq!(chain.replay().unwrap(), chain.head().unwrap().seqno);
    chain.limits.transactions = 7;
    assert!(matches!(chain.replay(), Err(ReplayError::Differs { .. })), "other rules make another chain");
}

#[test]
fn a_chain_made_by_itself_is_made_again_too() {
    let (chain, clock) = chain(Blocks::Instant);
    let wallet = TestWallet::funded(&chain, 1, ton(10));
    for seqno in 0..4 {
        clock.advance_ms(1_500);
        chain.send_boc(&wallet.transfer(seqno, &Address::basechain([7; 32]), ton(1), Bounce::Yes)).unwrap();
    }
    assert_eq!(chain.replay().unwrap(), chain.head().unwrap().seqno);
}

#[test]
fn a_snapshot_goes_on_where_the_chain_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot");
    let (mut chain, clock) = chain(Blocks::Manual);
    eventful(&mut chain, &clock);
    let head = chain.snapshot(&path).unwrap();
    assert!(matches!(chain.snapshot(&path), Err(ChainError::Storage(_))), "a snapshot does not overwrite another");
    let state = chain.state_hash().unwrap();
    let options = Options { blocks: Blocks::Manual, clock: clock.clock() };
    let mut copy = Embedded::open(&path, options).unwrap();
    copy.limits.transactions = 6;
    assert_eq!((copy.head().unwrap(), copy.state_hash().unwrap()), (head, state));
    assert_eq!(copy.replay().unwrap(), head.seqno);
    assert_eq!(copy.make_block().unwrap(), chain.make_block().unwrap());
}

#[test]
fn a_file_that_is_no_chain_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain");
    std::fs::write(&path, b"something else entirely").unwrap();
    assert!(matches!(Embedded::open(&path, options(Blocks::Instant).0), Err(OpenError::Store(_))));
}

#[test]
fn prices_can_be_asked_for() {
    let (chain, _) = chain(Blocks::Instant);
    let gas = chain.config_param(21).unwrap();
    assert!(gas.bit_len() > 0);
    assert!(matches!(chain.config_param(12_345), Err(ChainError::NotFound(Sought::ConfigParam))));
}

#[test]
fn a_full_block_says_so_and_the_next_one_has_room() {
    let (mut chain, _) = chain(Blocks::Manual);
    chain.limits.transactions = 20;
    let to = Address::basechain([7; 32]);
    let mut sent = 0;
    let error = loop {
        match chain.fund(&to, Amount::from_nano(1)) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ChainError::BlockFull) && error.is_retryable());
    assert_eq!(sent, 10, "messages from outside get half of a block");
    chain.make_block().unwrap();
    assert_eq!(chain.transactions(&to, Page::newest(100)).unwrap().len(), 10);
    chain.fund(&to, Amount::from_nano(1)).unwrap();
}

/// A contract that, whatever it is told, tells itself the same with all the money it was sent.
fn ring() -> (Address, ArcCell) {
    // ACCEPT; b{011000} NEWC STU; MYADDR SWAP STSLICE; 0 STGRAMS; 0 SWAP 107 STU; ENDC; 64 SENDRAWMSG
    let code = hex::decode("f8008018c8cb05f82801ce70fa027001cb6ac98040fb00").unwrap();
    let mut builder = CellBuilder::new();
    builder.store_slice(&code).unwrap();
    let state = StateInit::new(builder.build().unwrap().to_arc(), tonlib_core::cell::Cell::default().to_arc());
    let hash = state.cell_hash().unwrap();
    (Address::basechain(hash.as_slice().try_into().unwrap()), state.to_cell().unwrap().to_arc())
}

fn deployed_ring(chain: &Embedded) -> Address {
    let (ring, init) = ring();
    chain.fund(&ring, ton(1)).unwrap();
    chain.make_block().unwrap();
    // Inside this message there is no value to send on, so the ring starts to turn with the next one that has some.
    let mut builder = CellBuilder::new();
    builder.store_u32(7, 0b100_0100).unwrap().store_i32(8, 0).unwrap().store_slice(&ring.hash).unwrap();
    builder.store_u8(4, 0).unwrap().store_bit(true).unwrap().store_bit(true).unwrap().store_reference(&init).unwrap();
    builder.store_bit(false).unwrap();
    chain.send_boc(&to_boc(&builder.build().unwrap().to_arc()).unwrap()).unwrap();
    chain.make_block().unwrap();
    chain.fund(&ring, ton(2)).unwrap();
    ring
}

#[test]
fn messages_that_never_end_are_spread_over_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain");
    let (options, _) = options(Blocks::Manual);
    let mut chain = Embedded::open(&path, options.clone()).unwrap();
    chain.limits.transactions = 50;
    let ring = deployed_ring(&chain);
    chain.make_block().unwrap();
    let supply = chain.supply().unwrap();
    assert!(supply.is_balanced() && supply.under_way > ton(1), "{supply:?}");
    let head = chain.committed_head();
    assert_eq!(head.transactions, 50);

    let state = chain.state_hash().unwrap();
    drop(chain);
    let mut chain = Embedded::open(&path, options).unwrap();
    chain.limits.transactions = 50;
    assert_eq!(chain.state_hash().unwrap(), state, "messages under way survive a restart");
    chain.make_block().unwrap();
    assert_eq!(chain.committed_head().transactions, 50);
    let turns = chain.transactions(&ring, Page::newest(100)).unwrap();
    assert!(turns.windows(2).all(|pair| pair[0].previous == Some(pair[1].id)));
    assert!(chain.supply().unwrap().is_balanced());
}

#[test]
fn one_message_makes_a_bounded_number_of_blocks() {
    let (mut chain, _) = chain(Blocks::Instant);
    chain.limits.transactions = 50;
    let before = chain.head().unwrap().seqno;
    deployed_ring(&chain);
    assert!(chain.head().unwrap().seqno <= before + 4 + 16);
    assert!(!chain.supply().unwrap().under_way.is_zero());
    let seqno = chain.head().unwrap().seqno;
    assert!(chain.tick().unwrap().unwrap().seqno > seqno, "what is under way goes on when asked to");
}

#[test]
fn too_many_messages_under_way_close_the_door() {
    let (mut chain, _) = chain(Blocks::Manual);
    chain.limits.transactions = 50;
    deployed_ring(&chain);
    chain.make_block().unwrap();
    chain.limits.queue = 0;
    assert!(matches!(chain.fund(&Address::basechain([7; 32]), ton(1)), Err(ChainError::BlockFull)));
}

/// Everybody's development chain begins alike, so that what is written about it holds for all.
#[test]
fn the_beginning_is_a_golden_vector() {
    let (chain, _) = chain(Blocks::Manual);
    assert_eq!(chain.faucet().to_string(), "EQB8d2NQ2b_9TSFXXMzpkEQlKM1YHA7uH6rBg1wrQaciXTQO");
    assert_eq!(
        tonlib_core::cell::Cell::cell_hash(&chain.config_param(21).unwrap()).to_hex(),
        "aaec03367c3035ee7af9fbb39460de98098b29c1006239ea2f8b27757fafc173"
    );
    assert_eq!(hex::encode(chain.head().unwrap().root_hash), "f91fd55edd45a05bd51e0b00cd303329bbdccf616f55b9ec51871f3e3b5dabdf");
}

#[derive(Debug, Clone)]
enum Step {
    Fund(u8, u64),
    Send { from: u8, to: u8, nano: u64, bounce: bool },
    Wait(u32),
    Reopen,
    Block,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..4_u8, 0..20_000_000_000_u64).prop_map(|(to, nano)| Step::Fund(to, nano)),
        6 => (0..4_u8, 0..8_u8, 0..9_000_000_000_u64, any::<bool>())
            .prop_map(|(from, to, nano, bounce)| Step::Send { from, to, nano, bounce }),
        1 => (0..100_000_000_u32).prop_map(Step::Wait),
        1 => Just(Step::Reopen),
        2 => Just(Step::Block),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// EC-1 and EC-2.
    #[test]
    fn money_adds_up_and_survives_a_restart(steps in proptest::collection::vec(step(), 1..40), instant in any::<bool>()) {
        let disk = disk::Disk::holding(&[]);
        let (options, clock) = options(if instant { Blocks::Instant } else { Blocks::Manual });
        let open = || {
            let store = Store::at(Place::Disk(disk.clone()), Writes::default()).unwrap();
            Embedded::with_store(store, options.clone()).unwrap()
        };
        let mut chain = open();
        let wallets: Vec<_> = (1..5).map(TestWallet::new).collect();
        let mut seqnos = [0_u32; 4];
        let to_address = |to: u8| wallets.get(usize::from(to)).map_or(Address::basechain([to; 32]), |wallet| wallet.address);
        for step in steps {
            match step {
                Step::Fund(to, nano) => { chain.fund(&to_address(to), Amount::from_nano(nano.into())).unwrap(); }
                Step::Send { from, to, nano, bounce } => {
                    let from = usize::from(from);
                    let bounce = if bounce { Bounce::Yes } else { Bounce::No };
                    let boc = wallets[from].transfer(seqnos[from], &to_address(to), Amount::from_nano(nano.into()), bounce);
                    if chain.send_boc(&boc).is_ok() {
                        seqnos[from] += 1;
                    }
                }
                Step::Wait(seconds) => clock.advance_ms(u64::from(seconds) * 1_000),
                Step::Block => { chain.make_block().unwrap(); }
                Step::Reopen => {
                    chain.make_block().unwrap();
                    let state = chain.state_hash().unwrap();
                    drop(chain);
                    chain = open();
                    prop_assert_eq!(chain.state_hash().unwrap(), state);
                }
            }
            let supply = chain.supply().unwrap();
            prop_assert!(supply.is_balanced(), "{:?}", supply);
        }
    }

    #[test]
    fn no_bytes_panic_the_chain(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (chain, _) = chain(Blocks::Instant);
        let _ = chain.send_boc(&bytes);
    }

    /// EC-3, for messages that were damaged on their way.
    #[test]
    fn a_damaged_message_changes_nothing(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let (chain, _) = chain(Blocks::Instant);
        let wallet = TestWallet::funded(&chain, 1, ton(10));
        let mut boc = wallet.transfer(0, &Address::basechain([7; 32]), ton(1), Bounce::No);
        let at = at.index(boc.len());
        boc[at] ^= flip;
        let before = chain.state_hash().unwrap();
        if chain.send_boc(&boc).is_err() {
            prop_assert_eq!(chain.state_hash().unwrap(), before);
        }
    }
}
