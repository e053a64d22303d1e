//! The owner's wallet: a TON wallet (version 4, revision 2) from 24 words.
//!
//! The owner key is cold: it holds the money, opens and closes channels, and signs nothing else. The operator key, which signs
//! offers, receipts and vouchers, is a random key of its own ([`operator_key`]) and does not follow from the words: whoever steals
//! it can claim vouchers to the owner's address, and cannot touch the wallet.
//!
//! This module signs; it reads no chain, keeps no file and chooses no sequence number.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_market::ids::Digest;
use cocoon_market::{Amount, ContractAddress, OperatorKey};
use ed25519_dalek::{Signer as _, SigningKey};
use num_bigint::BigUint;
use tonlib_core::cell::{ArcCell, CellBuilder, EMPTY_ARC_CELL, TonCellError};
use tonlib_core::message::{CommonMsgInfo, InternalMessage, TonMessage as _, TransferMessage};
use tonlib_core::wallet::mnemonic::{KeyPair, Mnemonic as TonMnemonic, WORDLIST_EN_SET};
use tonlib_core::wallet::ton_wallet::TonWallet;
use tonlib_core::wallet::version_helper::VersionHelper;
use tonlib_core::wallet::wallet_version::WalletVersion;
use tonlib_core::{TonAddress, TonHash};
use zeroize::{Zeroize as _, Zeroizing};

use crate::chain::codec::{CodecError, to_boc};
use crate::chain::{AccountState, AccountStatus, Address, Bounce};
use crate::contract::cells::state_init;

/// Words of a mnemonic.
pub const MNEMONIC_WORDS: usize = 24;

/// Words there are to choose from; a word is eleven random bits.
const WORDLIST_WORDS: u16 = 2048;

/// Random word lists tried for one that is valid. One in 256 is, so failing this often is as likely as guessing a key.
const GENERATE_TRIES: usize = 50_000;

const VERSION: WalletVersion = WalletVersion::V4R2;

/// Why there is no wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// Not 24 words of the list with a correct checksum, or one with a password.
    #[error("not a TON mnemonic: expected 24 words as a wallet wrote them, without a password")]
    Mnemonic,
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    NoEntropy,
    /// The message cannot be built.
    #[error("the wallet's message cannot be built")]
    Message,
}

/// The 24 words. Wiped from memory when dropped; shown only on request.
#[derive(Clone)]
pub struct Mnemonic(Zeroizing<String>);

impl fmt::Debug for Mnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mnemonic(..)")
    }
}

impl Mnemonic {
    /// New words from the system's random bytes.
    ///
    /// # Errors
    /// [`WalletError::NoEntropy`].
    pub fn generate() -> Result<Self, WalletError> {
        let words = word_list();
        for _ in 0..GENERATE_TRIES {
            let mut bytes = Zeroizing::new([0u8; 2 * MNEMONIC_WORDS]);
            getrandom::fill(bytes.as_mut_slice()).map_err(|_| WalletError::NoEntropy)?;
            // 2048 divides 65536, so every word is equally likely.
            let pick = |pair: &[u8]| {
                let number = pair.try_into().map_or(0, u16::from_be_bytes).checked_rem(WORDLIST_WORDS).unwrap_or(0);
                words.get(usize::from(number)).copied().unwrap_or_default()
            };
            let phrase = Zeroizing::new(bytes.chunks_exact(2).map(pick).collect::<Vec<_>>().join(" "));
            if let Ok(mnemonic) = Self::parse(&phrase) {
                return Ok(mnemonic);
            }
        }
        Err(WalletError::NoEntropy)
    }

    /// Reads words as people write them.
    ///
    /// # Errors
    /// [`WalletError::Mnemonic`].
    pub fn parse(phrase: &str) -> Result<Self, WalletError> {
        let phrase = Zeroizing::new(phrase.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" "));
        TonMnemonic::from_str(&phrase, &None).map_err(|_| WalletError::Mnemonic)?;
        Ok(Self(phrase))
    }

    /// The words, for the keystore and for the person who writes them down.
    pub fn phrase(&self) -> &str {
        &self.0
    }
}

fn word_list() -> Vec<&'static str> {
    let mut words: Vec<_> = WORDLIST_EN_SET.iter().collect();
    words.sort_unstable_by_key(|(_, number)| **number);
    words.into_iter().map(|(word, _)| *word).collect()
}

/// A new operator key from the system's random bytes.
///
/// # Errors
/// [`WalletError::NoEntropy`].
pub fn operator_key() -> Result<OperatorKey, WalletError> {
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|_| WalletError::NoEntropy)?;
    Ok(OperatorKey::from_seed(&seed))
}

/// One message the wallet shall send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom.
    pub to: Address,
    /// What it carries; fees come on top.
    pub value: Amount,
    /// Whether the value comes back when there is nobody to take it or a contract refuses.
    pub bounce: Bounce,
    /// What it says.
    pub body: Option<ArcCell>,
    /// Code and data to deploy there.
    pub state_init: Option<ArcCell>,
}

/// A signed external message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransfer {
    /// Its root hash; the wallet's transaction shows it.
    pub hash: Digest,
    /// Serialized.
    pub boc: Vec<u8>,
}

impl SignedTransfer {
    /// Serialized, as text.
    pub fn boc_base64(&self) -> String {
        STANDARD.encode(&self.boc)
    }
}

/// A wallet and its key. The key is wiped from memory when dropped.
pub struct OwnerWallet {
    key: SigningKey,
    /// Holds no secret: everything but signing needs the public key alone.
    wallet: TonWallet,
    account: ContractAddress,
}

impl fmt::Debug for OwnerWallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerWallet").field("account", &self.account).finish_non_exhaustive()
    }
}

impl OwnerWallet {
    /// The wallet of these words.
    ///
    /// # Errors
    /// [`WalletError::Mnemonic`].
    pub fn new(mnemonic: &Mnemonic) -> Result<Self, WalletError> {
        let words = TonMnemonic::from_str(mnemonic.phrase(), &None).map_err(|_| WalletError::Mnemonic)?;
        let mut pair = words.to_key_pair().map_err(|_| WalletError::Mnemonic)?;
        let seed = pair.secret_key.first_chunk::<32>().copied().map(Zeroizing::new);
        pair.secret_key.zeroize();
        Self::from_seed(&*seed.ok_or(WalletError::Mnemonic)?)
    }

    /// The wallet of an ed25519 seed.
    ///
    /// # Errors
    /// [`WalletError::Message`] if the wallet's code is damaged.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, WalletError> {
        let key = SigningKey::from_bytes(seed);
        let pair = KeyPair { public_key: key.verifying_key().to_bytes().to_vec(), secret_key: Vec::new() };
        let wallet = TonWallet::new(VERSION, pair).map_err(|_| WalletError::Message)?;
        let account = wallet.address.hash_part.clone().into();
        Ok(Self { key, wallet, account: ContractAddress(account) })
    }

    /// Its account.
    pub const fn account(&self) -> ContractAddress {
        self.account
    }

    /// Its address.
    pub fn address(&self) -> Address {
        Address::from(self.account)
    }

    /// Signs a message that makes the wallet send up to four others. The first one also deploys the wallet.
    ///
    /// # Errors
    /// [`WalletError::Message`] for more than four, or values beyond all money.
    pub fn sign(&self, seqno: u32, valid_until_s: u32, outgoing: &[Outgoing]) -> Result<SignedTransfer, WalletError> {
        let messages = outgoing.iter().map(internal_message).collect::<Result<Vec<_>, _>>()?;
        let body = self.wallet.create_external_body(valid_until_s, seqno, messages).map_err(|_| WalletError::Message)?;
        let signature = self.key.sign(body.cell_hash().as_slice()).to_bytes();
        let signed = VersionHelper::sign_msg(VERSION, &body, &signature).map_err(|_| WalletError::Message)?;
        let state = if seqno == 0 { Some(self.state_init().map_err(|_| WalletError::Message)?) } else { None };
        inbound(&self.address(), state, &signed.to_arc()).map_err(|_| WalletError::Message)
    }

    fn state_init(&self) -> Result<ArcCell, TonCellError> {
        let data = VersionHelper::get_data(VERSION, &self.wallet.key_pair, self.wallet.wallet_id)?.to_arc();
        state_init(VersionHelper::get_code(VERSION)?, &data)
    }
}

/// A message from outside to a contract that is there, with a body that is signed already.
///
/// # Errors
/// [`WalletError::Message`] when it cannot be built.
pub fn external_message(to: &Address, body: ArcCell) -> Result<SignedTransfer, WalletError> {
    inbound(to, None, &body).map_err(|_| WalletError::Message)
}

/// A message from outside. State and body stand in cells of their own: within the message there is no room for a state beside a body with
/// four messages.
fn inbound(to: &Address, state_init: Option<ArcCell>, body: &ArcCell) -> Result<SignedTransfer, CodecError> {
    let mut message = CellBuilder::new();
    // ext_in_msg_info of TON's block.tlb: no source, a plain address, no import fee.
    message.store_u8(2, 0b10)?.store_u8(2, 0)?.store_u8(3, 0b100)?.store_i8(8, to.workchain)?.store_slice(&to.hash)?;
    message.store_u8(4, 0)?.store_bit(state_init.is_some())?;
    if let Some(state_init) = state_init {
        message.store_bit(true)?.store_reference(&state_init)?;
    }
    message.store_bit(true)?.store_reference(body)?;
    let message = message.build()?.to_arc();
    Ok(SignedTransfer { hash: Digest(message.cell_hash().into()), boc: to_boc(&message)? })
}

/// The number the wallet's next message must carry; 0 before it is deployed.
///
/// # Errors
/// [`WalletError::Message`] when the account is no such wallet.
pub fn next_seqno(account: &AccountState) -> Result<u32, WalletError> {
    match (account.status, &account.data) {
        (AccountStatus::Uninitialized, _) => Ok(0),
        (AccountStatus::Active, Some(data)) => data.parser().load_u32(32).map_err(|_| WalletError::Message),
        (AccountStatus::Active, None) | (AccountStatus::Frozen, _) => Err(WalletError::Message),
    }
}

/// Bytes a comment may have: what one cell holds beside the four that mark it as text.
pub const COMMENT_BYTES_MAX: usize = 123;

/// A plain text as a message's body, which wallets and exchanges show.
///
/// # Errors
/// [`WalletError::Message`] above [`COMMENT_BYTES_MAX`] bytes.
pub fn comment(text: &str) -> Result<ArcCell, WalletError> {
    let mut body = CellBuilder::new();
    body.store_u32(32, 0).map_err(|_| WalletError::Message)?;
    body.store_slice(text.as_bytes()).map_err(|_| WalletError::Message)?;
    Ok(body.build().map_err(|_| WalletError::Message)?.to_arc())
}

fn internal_message(outgoing: &Outgoing) -> Result<ArcCell, WalletError> {
    let info = InternalMessage {
        ihr_disabled: true,
        bounce: outgoing.bounce == Bounce::Yes,
        bounced: false,
        src: TonAddress::NULL,
        dest: TonAddress::new(i32::from(outgoing.to.workchain), TonHash::from(outgoing.to.hash)),
        value: BigUint::from(outgoing.value.nano()),
        ihr_fee: BigUint::ZERO,
        fwd_fee: BigUint::ZERO,
        created_lt: 0,
        created_at: 0,
    };
    let body = outgoing.body.clone().unwrap_or_else(|| EMPTY_ARC_CELL.clone());
    let mut message = TransferMessage::new(CommonMsgInfo::InternalMessage(info), body);
    if let Some(init) = &outgoing.state_init {
        message.with_state_init_ref(init);
    }
    Ok(message.build().map_err(|_| WalletError::Message)?.to_arc())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words and the address that TON's own wallets show for them, from tonlib-core's tests.
    const WORDS: &str = "fancy carpet hello mandate penalty trial consider property top vicious exit rebuild tragic profit urban major \
                         total month holiday sudden rib gather media vicious";
    const ADDRESS: &str = "EQCDM_QGggZ3qMa_f3lRPk4_qLDnLTqdi6OkMAV2NB9r5TG3";

    #[test]
    fn words_give_the_address_that_wallets_show() {
        let wallet = OwnerWallet::new(&Mnemonic::parse(WORDS).unwrap()).unwrap();
        assert_eq!(wallet.address().friendly(Bounce::Yes), ADDRESS);
    }

    #[test]
    fn a_wallet_that_is_not_there_yet_sends_four_messages_and_no_more() {
        let wallet = OwnerWallet::from_seed(&[1; 32]).unwrap();
        let body = || Some(comment(&"x".repeat(COMMENT_BYTES_MAX)).unwrap());
        let to = Address::from(ContractAddress([2; 32]));
        let one = || Outgoing { to, value: Amount::from_nano(1), bounce: Bounce::No, body: body(), state_init: body() };
        let four = || (0..4).map(|_| one()).collect::<Vec<_>>();
        assert!(wallet.sign(0, 1, &four()).is_ok() && wallet.sign(1, 1, &four()).is_ok());
        assert_eq!(wallet.sign(0, 1, &[four(), vec![one()]].concat()).unwrap_err(), WalletError::Message);
        assert_eq!(wallet.state_init().unwrap().cell_hash(), wallet.account().0.into());
    }

    #[test]
    fn generated_words_are_a_mnemonic_and_differ() {
        let (one, two) = (Mnemonic::generate().unwrap(), Mnemonic::generate().unwrap());
        assert_eq!(one.phrase().split(' ').count(), MNEMONIC_WORDS);
        assert_ne!(one.phrase(), two.phrase());
        assert!(Mnemonic::parse(&one.phrase().to_uppercase()).is_ok());
    }

    #[test]
    fn a_wrong_word_is_noticed() {
        assert_eq!(Mnemonic::parse(&WORDS.replace("fancy", "fanzy")).err(), Some(WalletError::Mnemonic));
        assert_eq!(Mnemonic::parse("fancy carpet").err(), Some(WalletError::Mnemonic));
    }

    #[test]
    fn a_comment_is_marked_as_text_and_fits_one_cell() {
        assert_eq!(comment("memo 7").unwrap().data(), b"\0\0\0\0memo 7");
        assert!(comment(&"x".repeat(COMMENT_BYTES_MAX)).is_ok());
        assert_eq!(comment(&"x".repeat(COMMENT_BYTES_MAX + 1)).err(), Some(WalletError::Message));
    }

    fn outgoing(bounce: Bounce) -> Outgoing {
        Outgoing { to: Address::from(ContractAddress([9; 32])), value: Amount::from_nano(7), bounce, body: None, state_init: None }
    }

    #[test]
    fn a_message_says_whether_it_comes_back() {
        // A zero that marks it as internal, no routing by hypercube, whether it bounces, not bounced; int_msg_info of TON's block.tlb.
        let flags = |bounce| internal_message(&outgoing(bounce)).unwrap().data()[0] >> 4;
        assert_eq!((flags(Bounce::Yes), flags(Bounce::No)), (0b0110, 0b0100));
    }

    #[test]
    fn the_first_message_deploys_the_wallet_and_no_other_does() {
        let wallet = OwnerWallet::from_seed(&[1; 32]).unwrap();
        let sign = |seqno| wallet.sign(seqno, u32::MAX, &[outgoing(Bounce::No)]).unwrap();
        let (first, second) = (sign(0), sign(1));
        assert!(first.boc.len() > second.boc.len() + 500, "{} and {} bytes, the code has some 700", first.boc.len(), second.boc.len());
        assert_eq!(STANDARD.decode(first.boc_base64()).unwrap(), first.boc);
    }

    #[test]
    fn the_next_number_is_the_wallets_own() {
        let mut data = CellBuilder::new();
        data.store_u32(32, 7).unwrap();
        let state = |status, data| AccountState {
            status,
            balance: Amount::ZERO,
            code: None,
            data,
            last_transaction: None,
            seen_at: crate::chain::Head { seqno: 1, unix_s: 1_800_000_000, root_hash: [0; 32] },
        };
        let data = data.build().unwrap().to_arc();
        let seqno = |status, data| next_seqno(&state(status, data));
        assert_eq!(seqno(AccountStatus::Uninitialized, Some(data.clone())), Ok(0));
        assert_eq!(seqno(AccountStatus::Active, Some(data.clone())), Ok(7));
        assert_eq!(seqno(AccountStatus::Active, Some(EMPTY_ARC_CELL.clone())), Err(WalletError::Message));
        assert_eq!(seqno(AccountStatus::Active, None), Err(WalletError::Message));
        assert_eq!(seqno(AccountStatus::Frozen, Some(data)), Err(WalletError::Message));
    }

    #[test]
    fn secrets_are_not_shown() {
        let mnemonic = Mnemonic::parse(WORDS).unwrap();
        let wallet = OwnerWallet::new(&mnemonic).unwrap();
        let account = wallet.account();
        assert_eq!(format!("{mnemonic:?} {wallet:?}"), format!("Mnemonic(..) OwnerWallet {{ account: {account:?}, .. }}"));
    }
}
