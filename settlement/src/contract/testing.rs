//! A stage for the contract's tests: an embedded chain, two funded wallets, one channel.

use std::sync::Arc;

use cocoon_market::ids::Digest;
use cocoon_market::{Amount, ChannelRef, ContractAddress, CooperativeClose, NetworkId, OperatorKey, Voucher};
use tonlib_core::cell::ArcCell;

use super::{ChannelData, ChannelMessage, ChannelTerms};
use crate::chain::embedded::{Blocks, Embedded};
use crate::chain::testing::{ManualClock, chain, ton};
use crate::chain::{Address, Bounce, Chain, Faucet, Page, Transaction};
use crate::wallet::{Outgoing, OwnerWallet, next_seqno};

pub(crate) const WINDOW_S: u32 = 100;

/// Enough for the fees of any message.
pub(crate) const FEES: Amount = Amount::from_nano(100_000_000);

pub(crate) fn requester_key() -> OperatorKey {
    OperatorKey::from_seed(&[1; 32])
}

pub(crate) fn provider_key() -> OperatorKey {
    OperatorKey::from_seed(&[2; 32])
}

pub(crate) struct Stage {
    pub(crate) chain: Arc<Embedded>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) owner: OwnerWallet,
    pub(crate) anyone: OwnerWallet,
    pub(crate) terms: ChannelTerms,
    pub(crate) channel: ChannelRef,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let (chain, clock) = chain(Blocks::Instant);
        let [owner, anyone] = [11, 12].map(|seed| OwnerWallet::from_seed(&[seed; 32]).unwrap());
        for wallet in [&owner, &anyone] {
            chain.fund(&wallet.address(), ton(1_000)).unwrap();
        }
        let terms = ChannelTerms {
            network: NetworkId::DEVNET,
            requester: requester_key().node_id(),
            provider: provider_key().node_id(),
            refund_to: owner.account(),
            contract: ContractAddress([0xaa; 32]),
            challenge_window_s: WINDOW_S,
            salt: Digest([6; 32]),
        };
        let channel = terms.channel().unwrap();
        Self { chain: Arc::new(chain), clock, owner, anyone, terms, channel }
    }

    /// A channel that is open with this deposit.
    pub(crate) fn open(deposit: Amount) -> Self {
        let stage = Self::new();
        assert_eq!(stage.deploy(deposit).exit_code, Some(0));
        stage
    }

    pub(crate) fn address(&self) -> Address {
        Address::from(self.channel.address)
    }

    pub(crate) fn deploy(&self, deposit: Amount) -> Transaction {
        let body = ChannelMessage::Deposit(deposit).to_cell(1).unwrap();
        let value = deposit.checked_add(FEES).unwrap();
        self.send_raw(&self.owner, value, body, Some(self.terms.state_init().unwrap()))
    }

    pub(crate) fn send(&self, from: &OwnerWallet, value: Amount, message: ChannelMessage) -> Transaction {
        self.send_raw(from, value, message.to_cell(7).unwrap(), None)
    }

    /// Sends a message to the channel and returns the channel's transaction.
    pub(crate) fn send_raw(&self, from: &OwnerWallet, value: Amount, body: ArcCell, state_init: Option<ArcCell>) -> Transaction {
        let before = self.newest().map(|transaction| transaction.id);
        let seqno = next_seqno(&self.chain.account(&from.address()).unwrap()).unwrap();
        let outgoing = Outgoing { to: self.address(), value, bounce: Bounce::Yes, body: Some(body), state_init };
        self.chain.send_boc(&from.sign(seqno, u32::MAX, &[outgoing]).unwrap().boc).unwrap();
        let transaction = self.newest().expect("a message to an account makes a transaction");
        assert_ne!(Some(transaction.id), before, "the message arrived");
        transaction
    }

    fn newest(&self) -> Option<Transaction> {
        self.chain.transactions(&self.address(), Page::newest(1)).unwrap().pop()
    }

    pub(crate) fn balance(&self, account: ContractAddress) -> Amount {
        self.chain.account(&Address::from(account)).unwrap().balance
    }

    pub(crate) fn data(&self) -> ChannelData {
        ChannelData::from_cell(&self.chain.account(&self.address()).unwrap().data.unwrap()).unwrap()
    }

    pub(crate) fn voucher(&self, sequence: u64, cumulative: Amount) -> Voucher {
        Voucher { channel: self.channel, sequence, cumulative, receipts_root: Digest([9; 32]) }
    }

    pub(crate) fn claim(&self, cumulative: Amount) -> ChannelMessage {
        ChannelMessage::Claim(self.voucher(1, cumulative).sign(&requester_key()))
    }

    pub(crate) fn cooperative(&self, cumulative: Amount) -> ChannelMessage {
        let statement = CooperativeClose { channel: self.channel, sequence: 1, cumulative };
        ChannelMessage::CloseCooperative {
            statement,
            requester: statement.sign(&requester_key()),
            provider: statement.sign(&provider_key()),
        }
    }

    /// What went to an account in this transaction.
    pub(crate) fn sent(transaction: &Transaction, to: ContractAddress) -> Amount {
        let of = transaction.out_messages.iter().filter(|message| message.destination == Some(Address::from(to)));
        Amount::sum(of.map(|message| message.value)).unwrap()
    }
}
