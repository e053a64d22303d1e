//! The provider's side of payment: channels checked on chain, receipts numbered, vouchers taken, and risk refused in time.
//!
//! Whether risk is taken is decided by [`may_work_in`]: only while the channel was seen on chain lately, is open, and its deposit
//! covers what is owed. Looking is the [keeper](super::keeper)'s business. Jobs run side by side, so what each may be receipted for is
//! decided by the ledger, in the very commit that numbers the receipt. What is agreed to must be carried by the collateral.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cocoon_market::agreement::{Agreement, AgreementTerms, ChannelProblem, Refusal, TermName, Terms};
use cocoon_market::ids::Digest;
use cocoon_market::job::StopReason;
use cocoon_market::progress::Slice;
use cocoon_market::{AgreementId, Amount, ChannelRef, JobId, SettlementTerms, SignedReceipt, SignedVoucher};
use cocoon_p2p::payment::Payee;
use cocoon_settlement::chain::Address;
use cocoon_settlement::contract::ChannelStatus;
use cocoon_settlement::ledger::{LedgerError, ReceiptDraft, ReceiptFault, VoucherFault};
use cocoon_settlement::settler::{Backing, ChannelCheckError, ChannelView, Expected, SettleError, may_work_in, verify_channel};
use tokio::sync::Mutex;

use super::desk::{Desk, DeskError};

/// Times a channel is looked for that the requester says it opened: endpoints may be a block apart.
const LOOKS: u32 = 10;

/// The wait between two of them.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Work of the plain tier has no commitment of its own.
const NO_WORK: Digest = Digest([0; 32]);

/// Takes payment through channels.
#[derive(Debug)]
pub struct ChannelPayee {
    desk: Arc<Desk>,
    settlement: SettlementTerms,
    /// Held from the look at the collateral to the agreement that it is to carry, so that two agreements do not count on the same.
    agreeing: Mutex<()>,
}

impl ChannelPayee {
    /// A payee that wants to be paid as its offers say.
    pub fn new(desk: Arc<Desk>, settlement: SettlementTerms) -> Self {
        Self { desk, settlement, agreeing: Mutex::new(()) }
    }

    /// The channel that the terms name must be paid out as our offers say.
    fn expected(&self, terms: &AgreementTerms) -> Result<Expected, Refusal> {
        if terms.terms.channel.network != self.settlement.network {
            return Err(Refusal::Term(TermName::Network));
        }
        Ok(Expected { channel: terms.terms.channel, requester: terms.requester, provider: terms.provider, settlement: self.settlement })
    }

    /// Looks until the channel is there, within bounds, and opens a book for it.
    async fn take_up(&self, expected: Expected) -> Result<ChannelView, DeskError> {
        for look in 1.. {
            match self.desk.blocking(move |desk| desk.settler().admit(&expected, desk.now())).await {
                // Another endpoint's block is on its way; there is nothing to be woken by.
                Err(DeskError::Channel(ChannelCheckError::NotDeployed) | DeskError::Settle(SettleError::Unsettled)) if look < LOOKS => {
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
                looked => return looked,
            }
        }
        Err(DeskError::Channel(ChannelCheckError::NotDeployed))
    }

    /// The deposit must carry the cap on top of what the channel owes already.
    async fn check_cap(&self, channel: ChannelRef, cap: Amount) -> Result<(), Refusal> {
        let book = self.desk.blocking(move |desk| desk.ledger().channel(channel)).await.map_err(|error| refusal(&error))?;
        if book.rollback().is_some() {
            return Err(Refusal::Channel(ChannelProblem::Closing));
        }
        let free = book.free_deposit();
        if cap <= free { Ok(()) } else { Err(Refusal::CapAboveDeposit { cap, deposit: free }) }
    }

    /// The collateral must carry another agreement of these terms.
    async fn check_backing(&self, terms: &Terms) -> Result<(), Refusal> {
        let at_risk = terms.at_risk();
        let look = move |desk: &Desk| desk.settler().backing_with(at_risk, desk.now());
        let backing = self.desk.blocking(look).await.map_err(|error| refusal(&error))?;
        let Some(Backing { standing, open, needed }) = backing else {
            tracing::error!("work refused: this node has no contract, or as many agreements are open as it looks through");
            return Err(Refusal::Unavailable);
        };
        if needed <= standing {
            return Ok(());
        }
        tracing::warn!(%standing, %needed, "work refused: too little collateral stands behind it; swarm stake AMOUNT adds some");
        Err(Refusal::CollateralTaken { needed: needed.saturating_sub(open), free: standing.saturating_sub(open) })
    }
}

fn check_open(view: &ChannelView) -> Result<(), Refusal> {
    if view.sight.status == ChannelStatus::Open { Ok(()) } else { Err(Refusal::Channel(ChannelProblem::Closing)) }
}

#[async_trait]
impl Payee for ChannelPayee {
    async fn check_channel(&self, terms: &AgreementTerms) -> Result<(), Refusal> {
        let mut expected = self.expected(terms)?;
        // Until we have accepted it may still be opened, or topped up.
        expected.settlement.deposit_min = Amount::ZERO;
        let look = move |desk: &Desk| -> Result<ChannelView, DeskError> {
            Ok(verify_channel(&desk.chain().account(&Address::from(expected.channel.address))?, &expected)?)
        };
        match self.desk.blocking(look).await {
            Ok(view) => check_open(&view),
            Err(DeskError::Channel(ChannelCheckError::NotDeployed)) => Ok(()),
            Err(error) => Err(refusal(&error)),
        }
    }

    async fn agreed(&self, agreement: &Agreement) -> Result<(), Refusal> {
        let view = self.take_up(self.expected(agreement.body())?).await.map_err(|error| refusal(&error))?;
        check_open(&view)?;
        self.check_cap(view.channel, agreement.terms().cap).await?;
        let _agreeing = self.agreeing.lock().await;
        if self.find_agreement(agreement.id()).await?.is_some() {
            return Ok(());
        }
        self.check_backing(agreement.terms()).await?;
        let agreement = agreement.clone();
        let enter = move |desk: &Desk| desk.ledger().record_agreement(&agreement, desk.now());
        self.desk.blocking(enter).await.map_err(|error| refusal(&error))
    }

    async fn admit(&self, agreement: &Agreement) -> Result<Amount, Refusal> {
        let (id, channel, cap) = (agreement.id(), agreement.terms().channel, agreement.terms().cap);
        let look = move |desk: &Desk| -> Result<_, DeskError> { Ok((desk.ledger().channel(channel)?, desk.ledger().total(id)?)) };
        let (book, spent) = self.desk.blocking(look).await.map_err(|error| refusal(&error))?;
        may_work_in(self.desk.now(), &book, Amount::ZERO).map_err(|pause| {
            tracing::info!(%channel, %pause, "work refused");
            pause.refusal()
        })?;
        if let Some(found) = book.rollback() {
            tracing::error!(%channel, %found, "work refused: the books of the channel are not the newest; swarm audit says what to do");
            return Err(Refusal::Channel(ChannelProblem::Closing));
        }
        book.check_unpaid_jobs(agreement.terms().jobs_max).map_err(|fault| {
            tracing::info!(%channel, %fault, "work refused");
            Refusal::Term(TermName::Float)
        })?;
        let left = cap.saturating_sub(spent).min(book.free_deposit());
        if left.is_zero() { Err(Refusal::Term(TermName::Cap)) } else { Ok(left) }
    }

    async fn receipt(&self, agreement: &Agreement, job: JobId, seed: Digest, slice: Slice) -> Result<SignedReceipt, StopReason> {
        let draft = ReceiptDraft {
            channel: agreement.terms().channel,
            agreement: agreement.id(),
            job,
            usage: slice.usage,
            amount: slice.amount,
            input: slice.input,
            output: slice.output,
            seed,
            work: NO_WORK,
            last: slice.last,
            issued_at: self.desk.now(),
        };
        let issue = move |desk: &Desk| -> Result<Result<SignedReceipt, StopReason>, DeskError> {
            let now = desk.now();
            Ok(desk.ledger().commit(move |batch| {
                // The work of this slice is done, and its receipt costs nothing; what must not happen is the work after it.
                if !draft.last
                    && let Err(pause) = may_work_in(now, batch.book(draft.channel)?, draft.amount)
                {
                    tracing::warn!(%job, %pause, "job stopped");
                    return Ok(Err(pause.stop_reason()));
                }
                batch.issue_receipt(&draft).map(Ok)
            })??)
        };
        let receipt = self.desk.blocking(issue).await.map_err(|error| stop(&error))??;
        metrics::counter!("swarm_receipts_total").increment(1);
        Ok(receipt)
    }

    async fn accept(&self, agreement: &Agreement, voucher: &SignedVoucher) -> Result<Amount, StopReason> {
        let channel = agreement.terms().channel;
        if voucher.voucher.channel != channel {
            return Err(StopReason::BadVoucher);
        }
        let voucher = *voucher;
        let take = move |desk: &Desk| -> Result<Amount, DeskError> {
            match desk.ledger().accept_voucher(voucher) {
                Ok(true) => metrics::counter!("swarm_vouchers_total", "side" => "provider").increment(1),
                // Jobs side by side: this one came before, or one that covers more did.
                Ok(false) | Err(LedgerError::Voucher(VoucherFault::Back { .. })) => {}
                Err(error) => {
                    // Ours may be the books that are wrong, and then the requester is told that the channel is over, not punished.
                    let found = desk.ledger().channel(channel)?.rollback();
                    return Err(found.map_or(error, LedgerError::Frozen).into());
                }
            }
            Ok(desk.ledger().channel(channel)?.unpaid())
        };
        self.desk.blocking(take).await.map_err(|error| stop(&error))
    }

    async fn find_agreement(&self, id: AgreementId) -> Result<Option<Agreement>, Refusal> {
        self.desk.blocking(move |desk| desk.ledger().agreement(id)).await.map_err(|error| refusal(&error))
    }
}

/// What a trouble of ours is to a requester who asks for something.
fn refusal(error: &DeskError) -> Refusal {
    let refusal = match error {
        DeskError::Channel(problem) => Refusal::Channel(problem.problem()),
        DeskError::Settle(SettleError::Unsettled) => Refusal::Channel(ChannelProblem::NotOpen),
        DeskError::Ledger(LedgerError::UnknownChannel(_)) => Refusal::Unknown,
        DeskError::Ledger(LedgerError::Frozen(_)) => Refusal::Channel(ChannelProblem::Closing),
        error if error.is_chain_trouble() => Refusal::ChainOutOfSight,
        _ => Refusal::Unavailable,
    };
    tracing::warn!(error = error as &dyn std::error::Error, %refusal, "work refused");
    refusal
}

/// What a trouble of ours, or a wrong voucher, is to a requester whose job runs.
fn stop(error: &DeskError) -> StopReason {
    let reason = match error {
        DeskError::Ledger(LedgerError::Voucher(_)) => StopReason::BadVoucher,
        DeskError::Ledger(LedgerError::Receipt(fault)) => receipt_stop(fault),
        DeskError::Ledger(LedgerError::Ended | LedgerError::Frozen(_)) => StopReason::Refused(Refusal::Channel(ChannelProblem::Closing)),
        error if error.is_chain_trouble() => StopReason::ChainOutOfSight,
        _ => StopReason::Internal,
    };
    tracing::warn!(error = error as &dyn std::error::Error, %reason, "job stopped");
    reason
}

/// Why no receipt is given for work that was done. Another job took what was left meanwhile, or nobody pays.
const fn receipt_stop(fault: &ReceiptFault) -> StopReason {
    match fault {
        ReceiptFault::Job(_) | ReceiptFault::AfterLast { .. } | ReceiptFault::SecondLast { .. } => StopReason::Malformed,
        ReceiptFault::AboveCap { .. } => StopReason::Refused(Refusal::Term(TermName::Cap)),
        ReceiptFault::AboveDeposit { .. } => StopReason::Refused(Refusal::Channel(ChannelProblem::TooSmall)),
        ReceiptFault::AboveFloat { unpaid, .. } => StopReason::Unpaid { unpaid: *unpaid },
        ReceiptFault::JobsUnpaid { .. } | ReceiptFault::Unpaid(_) => StopReason::Refused(Refusal::Term(TermName::Float)),
        _ => StopReason::Internal,
    }
}
