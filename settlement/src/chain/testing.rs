//! A wallet and a clock for the tests of the chains.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cocoon_market::{Amount, Timestamp};
use ed25519_dalek::SigningKey;
use num_bigint::BigUint;
use tonlib_core::cell::ArcCell;
use tonlib_core::message::{CommonMsgInfo, InternalMessage, TonMessage, TransferMessage};
use tonlib_core::tlb_types::tlb::TLB;
use tonlib_core::wallet::mnemonic::KeyPair;
use tonlib_core::wallet::ton_wallet::TonWallet;
use tonlib_core::wallet::wallet_version::WalletVersion;
use tonlib_core::{TonAddress, TonHash};

use super::codec::to_boc;
use super::embedded::{Blocks, Clock, Embedded, Options};
use super::{Address, Bounce, Chain, Faucet};

pub(crate) const START_MS: u64 = 1_790_000_000_000;
pub(crate) const VALID_UNTIL_S: u32 = u32::MAX;

pub(crate) fn ton(whole: u128) -> Amount {
    Amount::from_nano(whole * 1_000_000_000)
}

pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(START_MS)))
    }

    pub(crate) fn advance_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn set_ms(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }

    pub(crate) fn clock(self: &Arc<Self>) -> Clock {
        let clock = Arc::clone(self);
        Arc::new(move || Timestamp(clock.0.load(Ordering::SeqCst)))
    }
}

/// Time that passes only when somebody sleeps, which takes none.
#[cfg(feature = "http")]
pub(crate) struct ManualTimer {
    now_ms: AtomicU64,
    unix_s: u64,
}

#[cfg(feature = "http")]
impl ManualTimer {
    pub(crate) fn new() -> Arc<Self> {
        Self::at(START_MS / 1_000)
    }

    /// By a clock that says so.
    pub(crate) fn at(unix_s: u64) -> Arc<Self> {
        Arc::new(Self { now_ms: AtomicU64::new(0), unix_s })
    }

    /// How long was slept.
    pub(crate) fn slept(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.now_ms.load(Ordering::SeqCst))
    }
}

#[cfg(feature = "http")]
impl super::toncenter::Timer for ManualTimer {
    fn now(&self) -> std::time::Duration {
        self.slept()
    }

    fn unix_s(&self) -> u64 {
        self.unix_s
    }

    fn sleep(&self, duration: std::time::Duration) {
        self.now_ms.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

pub(crate) fn options(blocks: Blocks) -> (Options, Arc<ManualClock>) {
    let clock = ManualClock::new();
    (Options { blocks, clock: clock.clock() }, clock)
}

pub(crate) fn chain(blocks: Blocks) -> (Embedded, Arc<ManualClock>) {
    let (options, clock) = options(blocks);
    (Embedded::in_memory(options).unwrap(), clock)
}

pub(crate) struct TestWallet {
    wallet: TonWallet,
    pub(crate) address: Address,
}

impl TestWallet {
    pub(crate) fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let pair = KeyPair { public_key: key.verifying_key().to_bytes().to_vec(), secret_key: key.to_keypair_bytes().to_vec() };
        let wallet = TonWallet::new(WalletVersion::V4R2, pair).unwrap();
        let address = Address::try_from(&wallet.address).unwrap();
        Self { wallet, address }
    }

    /// A wallet with money, not yet deployed.
    pub(crate) fn funded(chain: &Embedded, seed: u8, amount: Amount) -> Self {
        let wallet = Self::new(seed);
        chain.fund(&wallet.address, amount).unwrap();
        wallet
    }

    pub(crate) fn signed(&self, seqno: u32, valid_until_s: u32, messages: &[ArcCell]) -> Vec<u8> {
        let message = self.wallet.create_external_msg(valid_until_s, seqno, seqno == 0, messages).unwrap();
        to_boc(&message.to_arc()).unwrap()
    }

    pub(crate) fn transfer(&self, seqno: u32, to: &Address, amount: Amount, bounce: Bounce) -> Vec<u8> {
        self.signed(seqno, VALID_UNTIL_S, &[internal(to, amount, bounce)])
    }
}

pub(crate) fn internal(to: &Address, amount: Amount, bounce: Bounce) -> ArcCell {
    let info = CommonMsgInfo::InternalMessage(InternalMessage {
        ihr_disabled: true,
        bounce: bounce == Bounce::Yes,
        bounced: false,
        src: TonAddress::NULL,
        dest: TonAddress::new(i32::from(to.workchain), TonHash::from(to.hash)),
        value: BigUint::from(amount.nano()),
        ihr_fee: BigUint::ZERO,
        fwd_fee: BigUint::ZERO,
        created_lt: 0,
        created_at: 0,
    });
    TransferMessage::new(info, tonlib_core::cell::Cell::default().to_arc()).build().unwrap().to_arc()
}

pub(crate) fn balance(chain: &dyn Chain, address: &Address) -> Amount {
    chain.account(address).unwrap().balance
}

/// An external message to `to` with nothing in it.
pub(crate) fn empty_external(to: &Address) -> Vec<u8> {
    use tonlib_core::tlb_types::block::coins::Grams;
    use tonlib_core::tlb_types::block::message::{CommonMsgInfo, ExtInMsgInfo, Message};
    use tonlib_core::tlb_types::block::msg_address::{MsgAddrNone, MsgAddressExt};
    let info = CommonMsgInfo::ExtIn(ExtInMsgInfo {
        src: MsgAddressExt::None(MsgAddrNone {}),
        dest: TonAddress::from(*to).to_msg_address_int(),
        import_fee: Grams::new(BigUint::ZERO),
    });
    let message = Message::new(info, tonlib_core::cell::Cell::default().to_arc());
    to_boc(&message.to_cell().unwrap().to_arc()).unwrap()
}
