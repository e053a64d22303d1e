//! Simple transfers per second on the embedded chain.
//!
//! A transfer is what a wallet does: an external message, signed, that runs the wallet's code, and an internal message that arrives. That makes
//! two transactions. Printed are both figures, for a chain on disk, with every block written durably.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use cocoon_market::{Amount, Timestamp};
use cocoon_settlement::chain::codec::to_boc;
use cocoon_settlement::chain::embedded::{Blocks, Embedded, Options};
use cocoon_settlement::chain::{Address, Chain, ChainError, Faucet};
use ed25519_dalek::SigningKey;
use num_bigint::BigUint;
use tonlib_core::TonAddress;
use tonlib_core::cell::{ArcCell, Cell};
use tonlib_core::message::{CommonMsgInfo, InternalMessage, TonMessage, TransferMessage};
use tonlib_core::wallet::mnemonic::KeyPair;
use tonlib_core::wallet::ton_wallet::TonWallet;
use tonlib_core::wallet::wallet_version::WalletVersion;

const WALLETS: u8 = 16;
const TRANSFERS_EACH: u32 = 400;

fn wallet(seed: u8) -> Result<TonWallet, Box<dyn Error>> {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let pair = KeyPair { public_key: key.verifying_key().to_bytes().to_vec(), secret_key: key.to_keypair_bytes().to_vec() };
    Ok(TonWallet::new(WalletVersion::V4R2, pair)?)
}

fn transfer(wallet: &TonWallet, seqno: u32, to: &Address) -> Result<Vec<u8>, Box<dyn Error>> {
    let info = CommonMsgInfo::InternalMessage(InternalMessage {
        ihr_disabled: true,
        bounce: false,
        bounced: false,
        src: TonAddress::NULL,
        dest: TonAddress::from(*to),
        value: BigUint::from(1_000_000_u32),
        ihr_fee: BigUint::ZERO,
        fwd_fee: BigUint::ZERO,
        created_lt: 0,
        created_at: 0,
    });
    let inner: ArcCell = TransferMessage::new(info, Cell::default().to_arc()).build()?.to_arc();
    Ok(to_boc(&wallet.create_external_msg(u32::MAX, seqno, seqno == 0, [inner])?.to_arc())?)
}

/// Sends, and makes a block whenever one is full.
fn send(chain: &Embedded, boc: &[u8]) -> Result<u32, ChainError> {
    match chain.send_boc(boc) {
        Err(ChainError::BlockFull) => {
            chain.make_block()?;
            chain.send_boc(boc).map(|_| 1)
        }
        sent => sent.map(|_| 0),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let clock = Arc::new(|| Timestamp(1_790_000_000_000));
    let chain = Embedded::open(&dir.path().join("chain"), Options { blocks: Blocks::Manual, clock })?;
    let wallets = (1..=WALLETS).map(wallet).collect::<Result<Vec<_>, _>>()?;
    for wallet in &wallets {
        chain.fund(&Address::try_from(&wallet.address)?, Amount::from_nano(100_000_000_000))?;
    }
    chain.make_block()?;
    let to = Address::basechain([7; 32]);
    let mut messages = Vec::new();
    for seqno in 0..TRANSFERS_EACH {
        for wallet in &wallets {
            messages.push(transfer(wallet, seqno, &to)?);
        }
    }

    let mut blocks = 1;
    let start = Instant::now();
    for boc in &messages {
        blocks += send(&chain, boc)?;
    }
    while chain.make_block().map(|_| chain.supply().map(|supply| !supply.under_way.is_zero()))?? {
        blocks += 1;
    }
    let seconds = start.elapsed().as_secs_f64();

    let transfers = messages.len() as f64;
    println!("transfers           {transfers:>10.0} in {seconds:.2} s and {blocks} blocks");
    println!("transfers/s         {:>10.0}", transfers / seconds);
    println!("transactions/s      {:>10.0}", 2.0 * transfers / seconds);
    println!("balanced to the nano-unit: {}", chain.supply()?.is_balanced());
    Ok(())
}
