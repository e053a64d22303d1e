//! The wallet that holds all money of a new development chain.

use std::collections::BTreeMap;

use cocoon_market::{Amount, Timestamp};
use ed25519_dalek::SigningKey;
use num_bigint::BigUint;
use sha2::{Digest, Sha256};
use tonlib_core::cell::{Cell, CellBuilder};
use tonlib_core::message::{CommonMsgInfo, InternalMessage, TonMessage, TransferMessage};
use tonlib_core::wallet::mnemonic::KeyPair;
use tonlib_core::wallet::ton_wallet::TonWallet;
use tonlib_core::wallet::version_helper::VersionHelper;
use tonlib_core::wallet::wallet_version::WalletVersion;
use tonlib_core::{TonAddress, TonHash};
use tycho_types::dict::Dict;
use tycho_types::models::{AccountState, ShardAccount, StateInit};

use super::store::{AccountKey, account_key, new_account};
use crate::chain::codec::{CodecError, decode, from_edge, to_boc};
use crate::chain::{Address, AddressError};

/// Anybody knows the key: the money of a development chain is worth nothing.
const SEED_PHRASE: &[u8] = b"cocoon devnet faucet: this money is worth nothing";
/// All there is: as many nano-units as TON itself had at its start.
pub(super) const ISSUED: Amount = Amount::from_nano(5_000_000_000_000_000_000);
/// One request for free money gets at most a million TON, so that a thousand greedy ones leave something.
pub(super) const FUND_MAX: Amount = Amount::from_nano(1_000_000_000_000_000);

/// Why the faucet's own messages cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FaucetError {
    /// The wallet library refuses.
    #[error("the faucet's wallet cannot be made")]
    Wallet(#[from] tonlib_core::cell::TonCellError),
    /// The wallet library refuses to build a message.
    #[error("the faucet's message cannot be made")]
    Message(#[from] tonlib_core::message::TonMessageError),
    /// A cell cannot be carried over.
    #[error("the faucet's cells cannot be made")]
    Codec(#[from] CodecError),
    /// A cell cannot be built.
    #[error("the faucet's state cannot be made")]
    Cell(#[from] tycho_types::error::Error),
    /// The wallet library derives no account.
    #[error("the faucet's address cannot be made")]
    Address(#[from] AddressError),
}

#[derive(Debug)]
pub(super) struct FaucetWallet {
    wallet: TonWallet,
    pub(super) address: Address,
}

impl FaucetWallet {
    pub(super) fn new() -> Result<Self, FaucetError> {
        let key = SigningKey::from_bytes(&Sha256::digest(SEED_PHRASE).into());
        let pair = KeyPair { public_key: key.verifying_key().to_bytes().to_vec(), secret_key: key.to_keypair_bytes().to_vec() };
        let wallet = TonWallet::new(WalletVersion::V4R2, pair)?;
        let address = Address::try_from(&wallet.address)?;
        Ok(Self { wallet, address })
    }

    /// All accounts of a new chain: the wallet alone, deployed and full.
    pub(super) fn genesis(&self, now: Timestamp) -> Result<BTreeMap<AccountKey, ShardAccount>, FaucetError> {
        let account = self.genesis_account(u32::try_from(now.unix_s()).unwrap_or(u32::MAX))?;
        Ok(BTreeMap::from([(account_key(&self.address), account)]))
    }

    fn genesis_account(&self, unix_s: u32) -> Result<ShardAccount, FaucetError> {
        let data = VersionHelper::get_data(self.wallet.version, &self.wallet.key_pair, self.wallet.wallet_id)?;
        let state = StateInit {
            split_depth: None,
            special: None,
            code: Some(from_edge(VersionHelper::get_code(self.wallet.version)?)?),
            data: Some(from_edge(&data.to_arc())?),
            libraries: Dict::new(),
        };
        Ok(new_account(&self.address, ISSUED, AccountState::Active(state), unix_s)?)
    }

    /// An external message that makes the faucet send `amount` to `to`.
    pub(super) fn transfer(
        &self,
        seqno: u32,
        valid_until_s: u32,
        to: &Address,
        amount: Amount,
    ) -> Result<tycho_types::cell::Cell, FaucetError> {
        let info = CommonMsgInfo::InternalMessage(InternalMessage {
            ihr_disabled: true,
            bounce: false,
            bounced: false,
            src: TonAddress::NULL,
            dest: TonAddress::new(i32::from(to.workchain), TonHash::from(to.hash)),
            value: BigUint::from(amount.nano()),
            ihr_fee: BigUint::ZERO,
            fwd_fee: BigUint::ZERO,
            created_lt: 0,
            created_at: 0,
        });
        let inner: Cell = TransferMessage::new(info, CellBuilder::new().build()?.to_arc()).build()?;
        let message = self.wallet.create_external_msg(valid_until_s, seqno, false, [inner.to_arc()])?;
        Ok(decode(&to_boc(&message.to_arc())?)?)
    }

    /// The sequence number a deployed wallet's data begins with.
    pub(super) fn seqno(state: &AccountState) -> Option<u32> {
        let AccountState::Active(state) = state else { return None };
        state.data.as_ref()?.as_slice().ok()?.load_u32().ok()
    }
}
