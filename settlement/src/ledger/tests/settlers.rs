//! One ledger, one settler: a second process is refused, and a second settler in one process does nothing twice.

use super::*;

fn sent(hash: u8) -> SentMessage {
    SentMessage { hash: Digest([hash; 32]), seqno: 1, valid_until_s: 100, after_lt: 0, boc: String::new() }
}

#[test]
fn an_order_is_signed_once_until_its_message_is_known_to_be_dead() {
    let ledger = open(MemoryStore::default(), Role::Requester);
    let channel = terms().channel().unwrap();
    let id = ledger.add_order(Order::Close(channel), NOW).unwrap();
    let update = |state| ledger.update_order(id, OrderRecord { state, ..OrderRecord::new(Order::Close(channel), NOW) });
    let moved = |result: Result<(), LedgerError>| matches!(result, Err(LedgerError::OrderMoved(moved)) if moved == id);
    let landed = Landed { transaction: Digest([9; 32]), lt: 1, unix_s: 1 };
    update(OrderState::Pending(sent(1))).unwrap();
    assert!(moved(update(OrderState::Pending(sent(2)))), "the first message may still take effect");
    update(OrderState::Pending(sent(1))).unwrap();
    update(OrderState::Queued).unwrap();
    update(OrderState::Pending(sent(2))).unwrap();
    update(OrderState::Confirmed(landed)).unwrap();
    update(OrderState::Confirmed(landed)).unwrap();
    for state in [OrderState::Queued, OrderState::Pending(sent(3)), OrderState::Failed(OrderFailure::NoContract)] {
        assert!(moved(update(state)), "nothing comes after an end");
    }
    assert_eq!(ledger.order(id).unwrap().unwrap().state, OrderState::Confirmed(landed));
}

/// Where this test, run as another process, finds the ledger to open.
#[cfg(feature = "redb")]
const OTHER_PROCESS: &str = "COCOON_TEST_LEDGER_OF_ANOTHER_PROCESS";

#[cfg(feature = "redb")]
#[test]
fn a_second_process_is_refused_as_long_as_the_first_one_lives() {
    use std::process::Command;

    const REFUSED: i32 = 41;
    const LET_IN: i32 = 42;
    if let Some(path) = std::env::var_os(OTHER_PROCESS) {
        let code = match RedbStore::open(path) {
            Ok(_) => LET_IN,
            Err(StoreError::InUse) => REFUSED,
            Err(error) => panic!("{error}"),
        };
        std::process::exit(code);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let other = || {
        let name = std::thread::current().name().unwrap().to_owned();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &name]).env(OTHER_PROCESS, &path).output().unwrap().status.code()
    };
    let first = open(RedbStore::open(&path).unwrap(), Role::Provider);
    assert_eq!(other(), Some(REFUSED));
    drop(first);
    assert_eq!(other(), Some(LET_IN));
}

#[cfg(feature = "embedded")]
mod on_a_chain {
    use std::sync::Mutex;

    use super::*;
    use crate::chain::embedded::{Blocks, Embedded};
    use crate::chain::testing::{START_MS, chain, ton};
    use crate::chain::{AccountState, Address, Chain, ChainError, Faucet, pass_on};
    use crate::settler::{SettleError, Settler};
    use crate::wallet::OwnerWallet;

    const FRIEND: ContractAddress = ContractAddress([0xcc; 32]);

    /// A chain during whose first look at an account something else happens.
    struct Meanwhile {
        chain: Arc<Embedded>,
        act: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    }

    impl Chain for Meanwhile {
        pass_on!(this => this.chain; network head block transactions run_get_method send_boc config_param);
        fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
            let seen = self.chain.account(address);
            let act = self.act.lock().unwrap().take();
            if let Some(act) = act {
                act();
            }
            seen
        }
    }

    #[test]
    fn two_settlers_of_one_ledger_carry_out_an_order_once() {
        let wallet = || OwnerWallet::from_seed(&[21; 32]).unwrap();
        for orders in 1..=2 {
            let (chain, _clock) = chain(Blocks::Instant);
            let chain = Arc::new(chain);
            chain.fund(&wallet().address(), ton(10)).unwrap();
            let now = Timestamp(START_MS);
            let ledger = Arc::new(open(MemoryStore::default(), Role::Requester));
            for _ in 0..orders {
                ledger.add_order(Order::Transfer { to: FRIEND, amount: ton(1) }, now).unwrap();
            }
            let first = Arc::new(Settler::new(Arc::clone(&chain) as _, wallet(), Arc::clone(&ledger)));
            let other = Arc::clone(&first);
            // The second one has read the order as queued, and the wallet's number, when the first one carries it out.
            let act = Mutex::new(Some(Box::new(move || drop(other.tick(now).unwrap())) as Box<dyn FnOnce() + Send>));
            let second = Settler::new(Arc::new(Meanwhile { chain: Arc::clone(&chain), act }), wallet(), Arc::clone(&ledger));
            let refused = second.tick(now);
            assert!(matches!(refused, Err(SettleError::Ledger(LedgerError::OrderMoved(_)))), "{refused:?}");
            for settler in [&*first, &second, &*first] {
                settler.tick(now).unwrap();
            }
            assert!(ledger.open_orders().unwrap().is_empty());
            let sent = Amount::sum(std::iter::repeat_n(ton(1), orders)).unwrap();
            assert_eq!(chain.account(&Address::from(FRIEND)).unwrap().balance, sent);
        }
    }
}
