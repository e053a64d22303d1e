//! The requester's side of payment: channels opened and topped up on chain, receipts checked and paid by voucher.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cocoon_market::agreement::{Agreement, AgreementTerms};
use cocoon_market::offer::CHALLENGE_WINDOW_S_MAX;
use cocoon_market::{AgreementId, Amount, ChannelRef, NodeId, Offer, SettlementTerms, SignedReceipt, SignedVoucher, Verified};
use cocoon_p2p::payment::{PayError, PayErrorKind, Payer, Retry};
use cocoon_settlement::chain::Address;
use cocoon_settlement::contract::{ChannelStatus, ChannelTerms, NetworkTerms};
use cocoon_settlement::ledger::{ChannelBook, LedgerError, Order, OrderFailure, OrderId, ReceiptFault, Role};
use cocoon_settlement::settler::{ProviderCheckError, ProviderView, verify_provider};
use tokio::sync::{Mutex, watch};

use super::desk::{Desk, DeskError};
use crate::output::ton_text;

/// How long the chain may take to open or top up a channel. Mainnet needs some ten seconds; this covers a congested hour's start.
const FUNDING_LIMIT: Duration = Duration::from_secs(180);

/// Orders that one funding may take: one under way, one of its own, and one more when a cap was raised meanwhile.
const FUNDINGS_MAX: usize = 4;

/// What must stand behind a provider's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backing {
    /// The network that its contract must belong to.
    pub network: NetworkTerms,
    /// The least collateral that is not being released.
    pub stake_min: Amount,
}

/// Why a provider is not bought from.
#[derive(Debug, thiserror::Error)]
pub enum BackingError {
    /// Its contract is not what it should be.
    #[error("nothing that counts stands behind its work")]
    Contract(#[source] ProviderCheckError),
    /// Its collateral is too small.
    #[error("{} stands behind its work, and this node asks for {}", ton_text(*standing), ton_text(*stake_min))]
    TooLittle {
        /// What stands behind it.
        standing: Amount,
        /// What this node asks for.
        stake_min: Amount,
    },
    /// The chain did not say.
    #[error(transparent)]
    Desk(DeskError),
}

impl From<DeskError> for BackingError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Provider(error) => Self::Contract(error),
            error => Self::Desk(error),
        }
    }
}

/// Pays through channels.
#[derive(Debug)]
pub struct ChannelPayer {
    desk: Arc<Desk>,
    deposit: Amount,
    backing: Backing,
    /// One funding at a time: two that overlap would each add what both together need once.
    funding: Mutex<()>,
    /// Counts receipts entered, so that those who wait for an earlier one look again.
    entered: watch::Sender<u64>,
    /// How long a receipt waits for those before it in its channel.
    gap: Duration,
}

impl ChannelPayer {
    /// A payer that opens channels with this deposit, or more where a job's cap is higher, to providers that have this backing. `gap` is
    /// how long a receipt may wait for those before it.
    pub fn new(desk: Arc<Desk>, deposit: Amount, backing: Backing, gap: Duration) -> Self {
        Self { desk, deposit, backing, funding: Mutex::new(()), entered: watch::Sender::new(0), gap }
    }

    /// What is left of an agreement's cap.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn cap_left(&self, agreement: &Agreement) -> Result<Amount, DeskError> {
        let (id, cap) = (agreement.id(), agreement.terms().cap);
        self.desk.blocking(move |desk| desk.ledger().total(id).map(|spent| cap.saturating_sub(spent))).await
    }

    /// Looks at the contract that an offer wants to be paid through: whether it is its provider's, of this network, and backed by enough.
    ///
    /// # Errors
    /// [`BackingError`].
    pub async fn backing(&self, offer: &Offer) -> Result<ProviderView, BackingError> {
        let (contract, operator, Backing { network, stake_min }) = (offer.settlement.contract, offer.provider, self.backing);
        let look = move |desk: &Desk| -> Result<ProviderView, DeskError> {
            Ok(verify_provider(&desk.chain().account(&Address::from(contract))?, contract, operator, &network)?)
        };
        let view = self.desk.blocking(look).await?;
        let standing = view.data.stake.standing();
        if standing < stake_min { Err(BackingError::TooLittle { standing, stake_min }) } else { Ok(view) }
    }

    fn check_settlement(&self, settlement: &SettlementTerms) -> Result<(), PayError> {
        let suits = settlement.network == self.desk.chain().network() && settlement.challenge_window_s <= CHALLENGE_WINDOW_S_MAX;
        if suits { Ok(()) } else { Err(PayError::new(PayErrorKind::Terms, Retry::Never)) }
    }

    /// What has to be ordered so that the channel carries `cap`; nothing when it does already.
    async fn missing(&self, book: &ChannelBook, offer: &Offer, cap: Amount) -> Result<Option<Funding>, DeskError> {
        let channel = book.channel();
        if let Some(given) = self.desk.blocking(move |desk| pending_funding(desk, channel)).await? {
            return Ok(Some(Funding::Given(given)));
        }
        let Some(view) = self.desk.look(channel).await? else {
            let deposit = self.deposit.max(offer.settlement.deposit_min).max(cap);
            return Ok(Some(Funding::Open { terms: book.record().terms, deposit }));
        };
        if view.sight.status != ChannelStatus::Open {
            return Err(DeskError::Ledger(LedgerError::Ended));
        }
        let free = view.sight.deposit.saturating_sub(book.head().owed);
        let deposit = cap.saturating_sub(free);
        Ok((!deposit.is_zero()).then_some(Funding::TopUp { channel, deposit }))
    }

    async fn carry_out(&self, funding: Funding) -> Result<(), DeskError> {
        match funding {
            Funding::Open { terms, deposit } => {
                let open = move |desk: &Desk| desk.settler().open(terms, deposit, desk.now());
                let (channel, order) = self.desk.blocking(open).await?;
                tracing::info!(%channel, %deposit, "opening a channel");
                self.desk.await_order(order, FUNDING_LIMIT).await
            }
            Funding::TopUp { channel, deposit } => {
                tracing::info!(%channel, %deposit, "topping up a channel");
                self.desk.carry_out(Order::TopUp { channel, deposit }, FUNDING_LIMIT).await
            }
            Funding::Given(id) => self.desk.await_order(id, FUNDING_LIMIT).await,
        }
    }

    async fn fund_channel(&self, offer: &Offer, channel: ChannelRef, cap: Amount) -> Result<(), DeskError> {
        let _turn = self.funding.lock().await;
        for _ in 0..FUNDINGS_MAX {
            let book = self.desk.blocking(move |desk| desk.ledger().channel(channel)).await?;
            match self.missing(&book, offer, cap).await? {
                Some(funding) => self.carry_out(funding).await?,
                None => return Ok(()),
            }
        }
        Err(DeskError::Slow(FUNDING_LIMIT))
    }

    /// Gives up a channel in which a receipt was lost for good, by a job that broke off: receipts are chained, so nothing can be paid
    /// in it any more. It is closed on chain, which refunds what is left after the challenge window, and a new one is opened next.
    async fn abandon(&self, channel: ChannelRef) -> Result<(), DeskError> {
        tracing::warn!(%channel, "an earlier receipt is missing; the channel is closed and refunded");
        let close = move |desk: &Desk| -> Result<(), DeskError> {
            desk.ledger().end_channel(channel)?;
            desk.settler().close(channel, desk.now())?;
            Ok(())
        };
        self.desk.blocking(close).await?;
        self.desk.bell.notify_one();
        Ok(())
    }

    /// Enters the receipt and signs the voucher over all receipts so far, within the cap of the agreement: whatever its jobs say one
    /// by one, together they never cost more.
    async fn try_pay(&self, agreement: &Agreement, receipt: SignedReceipt) -> Result<SignedVoucher, DeskError> {
        let (id, cap) = (agreement.id(), agreement.terms().cap);
        self.desk.blocking(move |desk| pay(desk, id, cap, receipt)).await
    }
}

fn pay(desk: &Desk, agreement: AgreementId, cap: Amount, receipt: SignedReceipt) -> Result<SignedVoucher, DeskError> {
    let ledger = desk.ledger();
    let header = &receipt.receipt.header;
    if ledger.channel(header.channel)?.sequence() >= header.sequence {
        // It was entered before: by a try whose answer was lost, or before a restart.
        ledger.record_receipt(receipt)?;
        return Ok(ledger.issue_voucher(header.channel)?);
    }
    let total = ledger.total(agreement)?.checked_add(receipt.receipt.body.amount)?;
    if total > cap {
        return Err(DeskError::AboveCap { cap, total });
    }
    Ok(ledger.pay_receipt(receipt)?)
}

/// An opening or topping up that was ordered before, perhaps by an earlier run of this node.
fn pending_funding(desk: &Desk, channel: ChannelRef) -> Result<Option<OrderId>, DeskError> {
    let funds = |order: &Order| match order {
        Order::Open { terms, .. } => terms.channel().is_ok_and(|opened| opened == channel),
        Order::TopUp { channel: topped, .. } => *topped == channel,
        Order::Claim(_) | Order::Close(_) | Order::Finish(_) | Order::CloseTogether { .. } | Order::Transfer { .. } => false,
        Order::Stake { .. } | Order::Provider { .. } | Order::Operator { .. } | Order::Tell { .. } => false,
    };
    Ok(desk.ledger().open_orders()?.into_iter().find(|(_, record)| funds(&record.order)).map(|(id, _)| id))
}

/// What makes a channel carry more.
enum Funding {
    /// Opening it.
    Open {
        /// Its terms.
        terms: ChannelTerms,
        /// With so much.
        deposit: Amount,
    },
    /// Adding to it.
    TopUp {
        /// Which.
        channel: ChannelRef,
        /// So much.
        deposit: Amount,
    },
    /// An order given before.
    Given(OrderId),
}

#[async_trait]
impl Payer for ChannelPayer {
    async fn channel_for(&self, offer: &Verified<Offer>, _cap: Amount) -> Result<ChannelRef, PayError> {
        self.check_settlement(&offer.settlement)?;
        self.backing(offer).await.map_err(backing_error)?;
        let (provider, settlement) = (offer.provider, offer.settlement);
        self.desk.blocking(move |desk| usable_channel(desk, provider, &settlement)).await.map_err(pay_error)
    }

    async fn fund(&self, offer: &Verified<Offer>, accepted: &Verified<AgreementTerms>) -> Result<(), PayError> {
        self.fund_channel(offer, accepted.terms.channel, accepted.terms.cap).await.map_err(pay_error)?;
        // For the dossier: the agreement names the offer by its hash.
        let offer = offer.clone();
        self.desk.blocking(move |desk| desk.ledger().record_offer(&offer)).await.map(drop).map_err(pay_error)
    }

    async fn agreed(&self, agreement: &Agreement) -> Result<(), PayError> {
        let agreement = agreement.clone();
        self.desk.blocking(move |desk| desk.ledger().record_agreement(&agreement, desk.now())).await.map_err(pay_error)
    }

    async fn last_voucher(&self, channel: ChannelRef) -> Option<SignedVoucher> {
        let last = move |desk: &Desk| desk.ledger().channel(channel).map(|book| book.head().voucher);
        // Without it the job is as good as ever; a ledger that cannot be read is noticed by the first receipt.
        self.desk.blocking(last).await.ok().flatten()
    }

    async fn pay(&self, agreement: &Agreement, receipt: &SignedReceipt) -> Result<SignedVoucher, PayError> {
        let mut entered = self.entered.subscribe();
        let paid = async {
            loop {
                match self.try_pay(agreement, *receipt).await {
                    Err(DeskError::Ledger(LedgerError::Receipt(ReceiptFault::Sequence { next, got }))) if got > next => {}
                    done => return done,
                }
                entered.changed().await.map_err(|_| DeskError::Gone)?;
            }
        };
        let Ok(done) = tokio::time::timeout(self.gap, paid).await else {
            self.abandon(agreement.terms().channel).await.map_err(pay_error)?;
            return Err(PayError::new(PayErrorKind::Gap, Retry::Never));
        };
        let voucher = done.map_err(pay_error)?;
        self.entered.send_modify(|count| *count = count.wrapping_add(1));
        metrics::counter!("swarm_vouchers_total", "side" => "requester").increment(1);
        Ok(voucher)
    }
}

/// An open channel to this provider that is paid out as it wants, whatever its salt; else a new one, entered in the ledger and not
/// yet on chain.
fn usable_channel(desk: &Desk, provider: NodeId, settlement: &SettlementTerms) -> Result<ChannelRef, DeskError> {
    let fits = |book: &&ChannelBook| {
        let ChannelTerms { network, provider: to, contract, challenge_window_s, .. } = book.record().terms;
        let same = (network, to, contract, challenge_window_s)
            == (settlement.network, provider, settlement.contract, settlement.challenge_window_s);
        let open = book.head().sight.is_none_or(|sight| sight.status == ChannelStatus::Open);
        book.record().role == Role::Requester && same && open && book.head().end.is_none() && book.rollback().is_none()
    };
    let books = desk.ledger().channels()?;
    // The one with the most left needs the least topping up.
    if let Some(book) = books.iter().filter(fits).max_by_key(|book| (book.head().sight.is_some(), book.free_deposit())) {
        return Ok(book.channel());
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|_| DeskError::Randomness)?;
    let terms = desk.settler().new_terms(provider, settlement, random)?;
    Ok(desk.ledger().record_channel(Role::Requester, terms, desk.now())?)
}

fn backing_error(error: BackingError) -> PayError {
    match error {
        BackingError::Desk(error) => pay_error(error),
        error => PayError::caused(PayErrorKind::Terms, Retry::Never, error),
    }
}

fn pay_error(error: DeskError) -> PayError {
    let (kind, retry) = match &error {
        DeskError::Chain(chain) => (PayErrorKind::Chain, if chain.is_retryable() { Retry::Later } else { Retry::Never }),
        DeskError::Slow(_) | DeskError::Settle(_) => (PayErrorKind::Chain, Retry::Later),
        DeskError::Order(OrderFailure::WalletTooPoor) | DeskError::Poor { .. } => (PayErrorKind::Funds, Retry::Never),
        DeskError::Ledger(LedgerError::Receipt(_)) | DeskError::AboveCap { .. } | DeskError::Amount(_) => {
            (PayErrorKind::Receipt, Retry::Never)
        }
        DeskError::Order(_) | DeskError::Cell(_) | DeskError::Channel(_) | DeskError::Provider(_) => (PayErrorKind::Channel, Retry::Never),
        DeskError::Ledger(LedgerError::Voucher(_) | LedgerError::Ended | LedgerError::Frozen(_) | LedgerError::UnknownChannel(_)) => {
            (PayErrorKind::Channel, Retry::Never)
        }
        DeskError::Ledger(_) | DeskError::Gone | DeskError::Randomness => (PayErrorKind::Ledger, Retry::Later),
    };
    PayError::caused(kind, retry, error)
}
