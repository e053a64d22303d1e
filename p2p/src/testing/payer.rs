//! A payer without a chain or a disk.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cocoon_market::agreement::{Agreement, AgreementTerms};
use cocoon_market::ids::{ChannelRef, Digest};
use cocoon_market::receipt::SignedReceipt;
use cocoon_market::tree::Frontier;
use cocoon_market::{Amount, Offer, OperatorKey, SignedVoucher, Verified, Voucher};
use futures::channel::oneshot;

use super::channel_between;
use crate::payment::{PayError, PayErrorKind, Payer, Retry};
use crate::shell::within;

/// How long a receipt waits for the ones before it.
const GAP_WAIT: Duration = Duration::from_secs(5);

/// What a mock payer does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayerFault {
    /// Nothing.
    #[default]
    None,
    /// It cannot fund a channel.
    NoFunds,
    /// It never answers a receipt.
    Withholds,
    /// It signs vouchers that pay one nano-unit less.
    Underpays,
    /// Its signatures are wrong.
    MisSigns,
}

/// A channel as its requester knows it.
#[derive(Debug, Default)]
struct Account {
    tree: Frontier,
    cumulative: Amount,
    last: Option<Digest>,
    waiting: Vec<oneshot::Sender<()>>,
    vouchers: Vec<SignedVoucher>,
}

impl Default for MockPayer {
    fn default() -> Self {
        Self::new(OperatorKey::from_seed(&[0; 32]))
    }
}

/// Keeps a requester's accounts in memory.
#[derive(Debug)]
pub struct MockPayer {
    key: OperatorKey,
    fault: Mutex<PayerFault>,
    accounts: Mutex<BTreeMap<ChannelRef, Account>>,
    agreements: Mutex<Vec<Agreement>>,
}

impl MockPayer {
    /// A payer that signs vouchers with `key`.
    pub fn new(key: OperatorKey) -> Self {
        Self { key, fault: Mutex::default(), accounts: Mutex::default(), agreements: Mutex::default() }
    }

    /// Misbehaves from now on.
    pub fn misbehave(&self, fault: PayerFault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// All vouchers of a channel.
    pub fn vouchers(&self, channel: &ChannelRef) -> Vec<SignedVoucher> {
        self.lock().get(channel).map(|account| account.vouchers.clone()).unwrap_or_default()
    }

    /// The agreements that stand.
    pub fn agreements(&self) -> Vec<Agreement> {
        self.agreements.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChannelRef, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> PayerFault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the receipt if it is the next one; says what to wait for if it comes later.
    fn take(&self, receipt: &SignedReceipt) -> Result<Result<SignedVoucher, oneshot::Receiver<()>>, PayError> {
        let mut accounts = self.lock();
        let header = &receipt.receipt.header;
        let account = accounts.entry(header.channel).or_default();
        let next = account.tree.count() + 1;
        if header.sequence > next {
            let (tx, rx) = oneshot::channel();
            account.waiting.push(tx);
            return Ok(Err(rx));
        }
        let cumulative = account.cumulative.checked_add(receipt.receipt.body.amount);
        if header.sequence < next
            || cumulative != Ok(header.cumulative)
            || receipt.receipt.body.previous != account.last.unwrap_or(Digest([0; 32]))
        {
            return Err(PayError::new(PayErrorKind::Receipt, Retry::Never));
        }
        account.tree = account.tree.appended(&header.digest());
        account.cumulative = header.cumulative;
        account.last = Some(header.digest());
        let voucher = self.voucher(header.channel, account);
        account.vouchers.push(voucher);
        for waiting in account.waiting.drain(..) {
            let _ = waiting.send(());
        }
        Ok(Ok(voucher))
    }

    fn voucher(&self, channel: ChannelRef, account: &Account) -> SignedVoucher {
        let fault = self.fault();
        let less = if fault == PayerFault::Underpays { Amount::from_nano(1) } else { Amount::ZERO };
        let voucher = Voucher {
            channel,
            sequence: account.tree.count(),
            cumulative: account.cumulative.saturating_sub(less),
            receipts_root: account.tree.root(),
        };
        let mut signed = voucher.sign(&self.key);
        if fault == PayerFault::MisSigns {
            signed.signature.0[0] ^= 1;
        }
        signed
    }
}

#[async_trait]
impl Payer for MockPayer {
    async fn channel_for(&self, offer: &Verified<Offer>, _: Amount) -> Result<ChannelRef, PayError> {
        Ok(channel_between(&self.key.node_id(), &offer.provider))
    }

    async fn fund(&self, _: &Verified<Offer>, _: &Verified<AgreementTerms>) -> Result<(), PayError> {
        match self.fault() {
            PayerFault::NoFunds => Err(PayError::new(PayErrorKind::Funds, Retry::Never)),
            _ => Ok(()),
        }
    }

    async fn agreed(&self, agreement: &Agreement) -> Result<(), PayError> {
        self.agreements.lock().unwrap_or_else(PoisonError::into_inner).push(agreement.clone());
        Ok(())
    }

    async fn last_voucher(&self, channel: ChannelRef) -> Option<SignedVoucher> {
        self.vouchers(&channel).last().copied()
    }

    async fn pay(&self, agreement: &Agreement, receipt: &SignedReceipt) -> Result<SignedVoucher, PayError> {
        if self.fault() == PayerFault::Withholds {
            return futures::future::pending().await;
        }
        let provider = agreement.body().provider;
        receipt.verify(&provider).map_err(|error| PayError::caused(PayErrorKind::Receipt, Retry::Never, error))?;
        loop {
            match self.take(receipt)? {
                Ok(voucher) => return Ok(voucher),
                Err(earlier) => {
                    let gap = PayError::new(PayErrorKind::Gap, Retry::Later);
                    within(GAP_WAIT, earlier).await.map_err(|_| gap)?.map_err(|_| PayError::new(PayErrorKind::Gap, Retry::Later))?;
                }
            }
        }
    }
}
