//! A payee without a chain or a disk.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cocoon_market::agreement::{Agreement, AgreementTerms, Refusal};
use cocoon_market::ids::{AgreementId, ChannelRef, Digest, JobId};
use cocoon_market::job::StopReason;
use cocoon_market::progress::Slice;
use cocoon_market::receipt::{Receipt, ReceiptBody, ReceiptHeader, SignedReceipt};
use cocoon_market::tree::Frontier;
use cocoon_market::{Amount, OperatorKey, SignedVoucher};

use crate::payment::Payee;
use crate::shell::Clock;

/// A channel as its provider knows it.
#[derive(Debug, Default)]
struct Account {
    receipts: Vec<SignedReceipt>,
    /// The root after each receipt.
    roots: Vec<Digest>,
    tree: Frontier,
    cumulative: Amount,
    vouchers: Vec<SignedVoucher>,
}

impl Account {
    fn paid(&self) -> Amount {
        self.vouchers.last().map_or(Amount::ZERO, |voucher| voucher.voucher.cumulative)
    }
}

#[derive(Debug, Default)]
struct State {
    agreements: BTreeMap<AgreementId, Agreement>,
    accounts: BTreeMap<ChannelRef, Account>,
    refusal: Option<Refusal>,
}

/// Keeps a provider's accounts in memory.
#[derive(Debug)]
pub struct MockPayee {
    key: OperatorKey,
    clock: Clock,
    state: Mutex<State>,
}

impl MockPayee {
    /// A payee that signs receipts with `key`.
    pub fn new(key: OperatorKey, clock: Clock) -> Self {
        Self { key, clock, state: Mutex::default() }
    }

    /// Refuses channels, jobs and receipts with this reason from now on.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.lock().refusal = refusal;
    }

    /// All vouchers of a channel, in the order they came.
    pub fn vouchers(&self, channel: &ChannelRef) -> Vec<SignedVoucher> {
        self.lock().accounts.get(channel).map(|account| account.vouchers.clone()).unwrap_or_default()
    }

    /// All receipts of a channel.
    pub fn receipts(&self, channel: &ChannelRef) -> Vec<SignedReceipt> {
        self.lock().accounts.get(channel).map(|account| account.receipts.clone()).unwrap_or_default()
    }

    /// What a channel owes and what it has paid.
    pub fn balance(&self, channel: &ChannelRef) -> (Amount, Amount) {
        self.lock().accounts.get(channel).map(|account| (account.cumulative, account.paid())).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> Result<(), Refusal> {
        self.lock().refusal.clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Payee for MockPayee {
    async fn check_channel(&self, _: &AgreementTerms) -> Result<(), Refusal> {
        self.refusal()
    }

    async fn agreed(&self, agreement: &Agreement) -> Result<(), Refusal> {
        self.lock().agreements.insert(agreement.id(), agreement.clone());
        Ok(())
    }

    async fn admit(&self, agreement: &Agreement) -> Result<Amount, Refusal> {
        self.refusal()?;
        let state = self.lock();
        let receipts = state.accounts.get(&agreement.terms().channel).map(|account| account.receipts.as_slice()).unwrap_or_default();
        let spent = receipts.iter().filter(|signed| signed.receipt.body.agreement == agreement.id());
        let spent = Amount::sum(spent.map(|signed| signed.receipt.body.amount)).map_err(|_| Refusal::Unavailable)?;
        Ok(agreement.terms().cap.saturating_sub(spent))
    }

    async fn receipt(&self, agreement: &Agreement, job: JobId, seed: Digest, slice: Slice) -> Result<SignedReceipt, StopReason> {
        self.refusal().map_err(StopReason::Refused)?;
        let mut state = self.lock();
        let channel = agreement.terms().channel;
        let account = state.accounts.entry(channel).or_default();
        let cumulative = account.cumulative.checked_add(slice.amount).map_err(|_| StopReason::Internal)?;
        let body = ReceiptBody {
            agreement: agreement.id(),
            previous: account.receipts.last().map_or(Digest([0; 32]), |signed| signed.receipt.header.digest()),
            usage: slice.usage,
            amount: slice.amount,
            input: slice.input,
            output: slice.output,
            seed,
            work: Digest([0; 32]),
            last: slice.last,
            issued_at: self.clock.now(),
        };
        let sequence = account.receipts.len() as u64 + 1;
        let header = ReceiptHeader { channel, sequence, job, cumulative, body: body.digest() };
        let signed = Receipt { header, body }.sign(&self.key);
        account.tree = account.tree.appended(&header.digest());
        account.roots.push(account.tree.root());
        account.receipts.push(signed);
        account.cumulative = cumulative;
        Ok(signed)
    }

    async fn accept(&self, agreement: &Agreement, voucher: &SignedVoucher) -> Result<Amount, StopReason> {
        let mut state = self.lock();
        let account = state.accounts.get_mut(&agreement.terms().channel).ok_or(StopReason::BadVoucher)?;
        let place = usize::try_from(voucher.voucher.sequence).ok().and_then(|sequence| sequence.checked_sub(1));
        let place = place.filter(|place| *place < account.receipts.len()).ok_or(StopReason::BadVoucher)?;
        let fits = account.receipts[place].receipt.header.cumulative == voucher.voucher.cumulative
            && account.roots[place] == voucher.voucher.receipts_root
            && voucher.verify(&agreement.body().requester).is_ok();
        if !fits {
            return Err(StopReason::BadVoucher);
        }
        if voucher.voucher.cumulative > account.paid() {
            account.vouchers.push(*voucher);
        }
        Ok(account.cumulative.saturating_sub(account.paid()))
    }

    async fn find_agreement(&self, id: AgreementId) -> Result<Option<Agreement>, Refusal> {
        Ok(self.lock().agreements.get(&id).cloned())
    }
}
