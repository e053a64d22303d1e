//! A requester's payer over the simulated chain: channels are opened there, receipts are paid in memory.

use async_trait::async_trait;
use cocoon_market::agreement::AgreementTerms;
use cocoon_market::ids::Digest;
use cocoon_market::{Agreement, Amount, ChannelRef, ContractAddress, NodeId, Offer, SignedReceipt, SignedVoucher, Verified};
use cocoon_p2p::testing::MockPayer;
use cocoon_p2p::{PayError, PayErrorKind, Payer, Retry};
use cocoon_settlement::contract::ChannelTerms;

use crate::chain::Chain;

/// Pays for one requester.
#[derive(Debug)]
pub struct Purse {
    requester: NodeId,
    wallet: ContractAddress,
    deposit: Amount,
    chain: Chain,
    accounts: MockPayer,
}

impl Purse {
    /// A purse that opens channels with `deposit` from `wallet`.
    pub fn new(requester: NodeId, wallet: ContractAddress, deposit: Amount, chain: Chain, accounts: MockPayer) -> Self {
        Self { requester, wallet, deposit, chain, accounts }
    }

    fn terms(&self, offer: &Offer) -> ChannelTerms {
        ChannelTerms {
            network: offer.settlement.network,
            requester: self.requester,
            provider: offer.provider,
            refund_to: self.wallet,
            contract: offer.settlement.contract,
            challenge_window_s: offer.settlement.challenge_window_s,
            salt: Digest([1; 32]),
        }
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PayError {
    PayError::caused(PayErrorKind::Channel, Retry::Never, error)
}

#[async_trait]
impl Payer for Purse {
    async fn channel_for(&self, offer: &Verified<Offer>, _: Amount) -> Result<ChannelRef, PayError> {
        self.terms(offer).channel().map_err(failed)
    }

    async fn fund(&self, offer: &Verified<Offer>, accepted: &Verified<AgreementTerms>) -> Result<(), PayError> {
        if self.chain.carries(&accepted.terms.channel, accepted.terms.cap) {
            return Ok(());
        }
        self.chain.open(self.terms(offer), self.deposit).await.map(|_| ()).map_err(failed)
    }

    async fn agreed(&self, agreement: &Agreement) -> Result<(), PayError> {
        self.accounts.agreed(agreement).await
    }

    async fn pay(&self, agreement: &Agreement, receipt: &SignedReceipt) -> Result<SignedVoucher, PayError> {
        self.accounts.pay(agreement, receipt).await
    }
}
