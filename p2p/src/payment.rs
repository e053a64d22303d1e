//! How jobs are paid for: the two sides of a payment channel, as this crate needs them.
//!
//! The crate moves receipts and vouchers between peers and checks that they fit each other; where they are kept and
//! which chain stands behind them is said by who implements these traits.

use async_trait::async_trait;
use cocoon_market::agreement::{Agreement, AgreementTerms, Refusal};
use cocoon_market::ids::{AgreementId, ChannelRef, Digest, JobId};
use cocoon_market::job::StopReason;
use cocoon_market::progress::Slice;
use cocoon_market::receipt::SignedReceipt;
use cocoon_market::voucher::SignedVoucher;
use cocoon_market::{Amount, Offer, Verified};

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The cause passes by itself: a chain out of reach, a busy disk.
    Later,
    /// It will fail again until somebody changes something.
    Never,
}

/// What a requester's payment was about when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayErrorKind {
    /// Nothing is left to spend: the wallet cannot fund the channel.
    #[error("the wallet holds too little")]
    Funds,
    /// The chain could not be reached, or did not include a transaction in time.
    #[error("the chain did not answer in time")]
    Chain,
    /// The journal could not be written; nothing was signed.
    #[error("the ledger could not be written")]
    Ledger,
    /// The receipt contradicts the channel's account, the agreement or its signature. Peer penalty: ban.
    #[error("the receipt does not fit the channel's account")]
    Receipt,
    /// An earlier receipt of the channel is missing and did not arrive in time.
    #[error("an earlier receipt of the channel did not arrive")]
    Gap,
    /// The channel is not usable: unknown, closing, or exhausted.
    #[error("the channel cannot carry this payment")]
    Channel,
    /// The offer asks for something this payer does not do, such as another chain or a higher fee.
    #[error("the offer's settlement terms do not suit")]
    Terms,
}

/// Why a requester's payment did not happen.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct PayError {
    /// What it was about.
    pub kind: PayErrorKind,
    /// Whether trying again can help.
    pub retry: Retry,
    /// What the implementation knows beyond that.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PayError {
    /// A failure without a deeper cause.
    pub fn new(kind: PayErrorKind, retry: Retry) -> Self {
        Self { kind, retry, source: None }
    }

    /// A failure and its cause.
    pub fn caused(kind: PayErrorKind, retry: Retry, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, retry, source: Some(source.into()) }
    }
}

/// The requester's side of payment.
#[async_trait]
pub trait Payer: Send + Sync + 'static {
    /// Names the channel towards this offer's provider that can carry `cap`: an open one, or one that `fund` will
    /// open. Nothing goes to the chain yet.
    ///
    /// # Errors
    /// [`PayError`] when no channel can ever carry it.
    async fn channel_for(&self, offer: &Verified<Offer>, cap: Amount) -> Result<ChannelRef, PayError>;

    /// Makes the channel of the accepted terms real: opens or tops it up on chain, and waits until it is visible.
    ///
    /// # Errors
    /// [`PayError`]; the agreement is then not committed.
    async fn fund(&self, offer: &Verified<Offer>, accepted: &Verified<AgreementTerms>) -> Result<(), PayError>;

    /// Records the agreement durably, before the provider learns that it stands.
    ///
    /// # Errors
    /// [`PayError`]; the agreement is then not committed.
    async fn agreed(&self, agreement: &Agreement) -> Result<(), PayError>;

    /// The best voucher given in the channel so far. It is shown to the provider when a job begins, so that one whose books are
    /// older than that is told before it numbers a receipt twice. `None` shows nothing.
    async fn last_voucher(&self, channel: ChannelRef) -> Option<SignedVoucher> {
        let _ = channel;
        None
    }

    /// Checks the receipt against the channel's account, journals receipt and voucher durably, then returns the
    /// voucher. Receipts of concurrent jobs may arrive out of sequence: waits, within a bound, for the missing ones.
    ///
    /// # Errors
    /// [`PayError`]; no voucher left.
    async fn pay(&self, agreement: &Agreement, receipt: &SignedReceipt) -> Result<SignedVoucher, PayError>;
}

/// The provider's side of payment.
#[async_trait]
pub trait Payee: Send + Sync + 'static {
    /// Checks that the channel can carry the terms: it is on chain, or may be opened as offered.
    ///
    /// # Errors
    /// [`Refusal`], sent to the requester.
    async fn check_channel(&self, terms: &AgreementTerms) -> Result<(), Refusal>;

    /// Records the agreement durably, before the requester learns that it stands.
    ///
    /// # Errors
    /// [`Refusal`], sent to the requester.
    async fn agreed(&self, agreement: &Agreement) -> Result<(), Refusal>;

    /// Whether a job may start now: the chain is in sight and the cap is not used up. Gives what is left of the cap.
    ///
    /// # Errors
    /// [`Refusal`], sent to the requester.
    async fn admit(&self, agreement: &Agreement) -> Result<Amount, Refusal>;

    /// Numbers the receipt of one slice, journals it durably, then signs it. `seed` is the commitment to the requester's
    /// sampling seed. A job id that already had its last receipt is refused: two of them would convict this provider.
    ///
    /// # Errors
    /// [`StopReason`], with which the job stops.
    async fn receipt(&self, agreement: &Agreement, job: JobId, seed: Digest, slice: Slice) -> Result<SignedReceipt, StopReason>;

    /// Checks the voucher, journals it durably, and gives what is unpaid in the channel after it. One that is no higher
    /// than the last one is no fault: jobs side by side may bring the same.
    ///
    /// # Errors
    /// [`StopReason`], with which the job stops.
    async fn accept(&self, agreement: &Agreement, voucher: &SignedVoucher) -> Result<Amount, StopReason>;

    /// Finds an agreement of an earlier run of this node.
    ///
    /// # Errors
    /// [`Refusal`] when the store cannot be read.
    async fn find_agreement(&self, id: AgreementId) -> Result<Option<Agreement>, Refusal>;
}
