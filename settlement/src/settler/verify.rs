//! Whether an account on chain is the channel that was agreed.

use cocoon_market::agreement::ChannelProblem;
use cocoon_market::{Amount, ChannelRef, NodeId, SettlementTerms, Timestamp};

use super::account::{AccountFault, data_of};
use crate::chain::AccountState;
use crate::contract::{CellError, ChannelData, ChannelStatus, ChannelTerms, Contract};
use crate::ledger::ChainSight;

/// What a party expects of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Where it is.
    pub channel: ChannelRef,
    /// Whose vouchers it takes.
    pub requester: NodeId,
    /// Whose consent ends it early.
    pub provider: NodeId,
    /// Payout, fee and window, as offered.
    pub settlement: SettlementTerms,
}

impl Expected {
    /// A channel of exactly these terms.
    ///
    /// # Errors
    /// [`CellError`] when its address cannot be computed.
    pub fn of_terms(terms: &ChannelTerms) -> Result<Self, CellError> {
        Ok(Self {
            channel: terms.channel()?,
            requester: terms.requester,
            provider: terms.provider,
            settlement: SettlementTerms {
                network: terms.network,
                contract: terms.contract,
                challenge_window_s: terms.challenge_window_s,
                deposit_min: Amount::ZERO,
            },
        })
    }
}

/// A channel that was found on chain and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelView {
    /// Which channel.
    pub channel: ChannelRef,
    /// Its terms. The address is a hash over them.
    pub terms: ChannelTerms,
    /// Where it is in its life, and since when we know.
    pub sight: ChainSight,
    /// Receipts covered by the last claim.
    pub sequence: u64,
}

/// Why an account is not the channel that was agreed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelCheckError {
    /// Nothing is deployed there, or not yet.
    #[error("there is no contract at the channel's address")]
    NotDeployed,
    /// The account was frozen over its storage debt.
    #[error("the channel's account is frozen")]
    Frozen,
    /// Other code than the one committed with this program.
    #[error("the account runs other code, with hash {}", hex::encode(found))]
    ForeignCode {
        /// The hash found.
        found: [u8; 32],
    },
    /// Data that no channel stores.
    #[error("the account's data is not a channel's")]
    ForeignData,
    /// The address is not a hash over the terms it stores: whoever told us made them up.
    #[error("the channel's terms do not give its address")]
    Address,
    /// A term is not as expected.
    #[error("the channel's {0} is not as agreed")]
    Term(&'static str),
    /// The deposit is below the offer's smallest.
    #[error("the deposit of {deposit} is below {deposit_min}")]
    SmallDeposit {
        /// What is there.
        deposit: Amount,
        /// What was asked for.
        deposit_min: Amount,
    },
    /// The account does not hold what its data says.
    #[error("the account holds {balance} where {owed} is deposited and not drawn")]
    Underfunded {
        /// What it holds.
        balance: Amount,
        /// What it should hold at least.
        owed: Amount,
    },
    /// The contract's code in this program is damaged.
    #[error("the contract's code in this program is damaged")]
    OwnCode,
}

impl ChannelCheckError {
    /// How the other party is told.
    pub const fn problem(&self) -> ChannelProblem {
        match self {
            Self::NotDeployed | Self::Frozen | Self::OwnCode => ChannelProblem::NotOpen,
            Self::ForeignCode { .. } | Self::ForeignData | Self::Address => ChannelProblem::ForeignCode,
            Self::Term(_) => ChannelProblem::OtherTerms,
            Self::SmallDeposit { .. } | Self::Underfunded { .. } => ChannelProblem::TooSmall,
        }
    }
}

/// Checks that an account is the channel that was agreed: its code, its address, its terms, its money.
///
/// # Errors
/// [`ChannelCheckError`]. A channel that is closing or closed is no error; [`ChannelView::sight`] says so.
pub fn verify_channel(account: &AccountState, expected: &Expected) -> Result<ChannelView, ChannelCheckError> {
    let data = ChannelData::from_cell(data_of(account, Contract::Channel)?).map_err(|_| ChannelCheckError::ForeignData)?;
    let terms = data.terms;
    if terms.channel().map_err(|_| ChannelCheckError::OwnCode)? != expected.channel {
        return Err(ChannelCheckError::Address);
    }
    check_terms(&terms, expected)?;
    check_money(account, &data, expected)?;
    let seen_at = Timestamp(account.seen_at.unix_s.saturating_mul(1000));
    let sight = ChainSight { status: data.status, deposit: data.deposit, drawn: data.drawn, seen_at };
    Ok(ChannelView { channel: expected.channel, terms, sight, sequence: data.sequence })
}

impl From<AccountFault> for ChannelCheckError {
    fn from(fault: AccountFault) -> Self {
        match fault {
            AccountFault::NotDeployed => Self::NotDeployed,
            AccountFault::Frozen => Self::Frozen,
            AccountFault::ForeignCode { found } => Self::ForeignCode { found },
            AccountFault::Empty => Self::ForeignData,
            AccountFault::OwnCode(_) => Self::OwnCode,
        }
    }
}

fn check_terms(terms: &ChannelTerms, expected: &Expected) -> Result<(), ChannelCheckError> {
    let settlement = &expected.settlement;
    let checks = [
        (terms.network == settlement.network, "network"),
        (terms.requester == expected.requester, "requester"),
        (terms.provider == expected.provider, "provider"),
        (terms.contract == settlement.contract, "provider's contract"),
        (terms.challenge_window_s >= settlement.challenge_window_s, "challenge window"),
    ];
    checks.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, term)| Err(ChannelCheckError::Term(term)))
}

fn check_money(account: &AccountState, data: &ChannelData, expected: &Expected) -> Result<(), ChannelCheckError> {
    if data.status == ChannelStatus::Closed {
        return Ok(());
    }
    let deposit_min = expected.settlement.deposit_min;
    if data.deposit < deposit_min {
        return Err(ChannelCheckError::SmallDeposit { deposit: data.deposit, deposit_min });
    }
    let owed = data.deposit.checked_sub(data.drawn).map_err(|_| ChannelCheckError::ForeignData)?;
    if account.balance < owed {
        return Err(ChannelCheckError::Underfunded { balance: account.balance, owed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use cocoon_market::ids::{ContractAddress, Digest};
    use cocoon_market::{NetworkId, OperatorKey};

    use super::*;
    use crate::chain::{AccountStatus, Head};

    fn node(seed: u8) -> NodeId {
        OperatorKey::from_seed(&[seed; 32]).node_id()
    }

    fn terms() -> ChannelTerms {
        ChannelTerms {
            network: NetworkId::DEVNET,
            requester: node(1),
            provider: node(2),
            refund_to: ContractAddress([3; 32]),
            contract: ContractAddress([4; 32]),
            challenge_window_s: 86_400,
            salt: Digest([6; 32]),
        }
    }

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    /// A channel of a hundred, forty of it drawn, that holds exactly the rest.
    fn data() -> ChannelData {
        let (deposit, drawn) = (nano(100), nano(40));
        ChannelData { status: ChannelStatus::Open, deposit, drawn, sequence: 3, receipts_root: Digest([9; 32]), terms: terms() }
    }

    fn account(data: &ChannelData, balance: u128) -> AccountState {
        AccountState {
            status: AccountStatus::Active,
            balance: nano(balance),
            code: Some(Contract::Channel.code().unwrap()),
            data: Some(data.to_cell().unwrap()),
            last_transaction: None,
            seen_at: Head { seqno: 1, unix_s: 1_800_000_000, root_hash: [0; 32] },
        }
    }

    fn check(data: &ChannelData, balance: u128, deposit_min: u128) -> Result<ChannelView, ChannelCheckError> {
        let mut expected = Expected::of_terms(&terms()).unwrap();
        expected.settlement.deposit_min = nano(deposit_min);
        verify_channel(&account(data, balance), &expected)
    }

    #[test]
    fn a_channel_that_holds_what_it_owes_is_seen_as_it_is() {
        let sight = ChainSight { status: ChannelStatus::Open, deposit: nano(100), drawn: nano(40), seen_at: Timestamp(1_800_000_000_000) };
        let channel = terms().channel().unwrap();
        assert_eq!(check(&data(), 60, 100), Ok(ChannelView { channel, terms: terms(), sight, sequence: 3 }));
        assert_eq!(check(&data(), 59, 100), Err(ChannelCheckError::Underfunded { balance: nano(59), owed: nano(60) }));
        let small = ChannelCheckError::SmallDeposit { deposit: nano(100), deposit_min: nano(101) };
        assert_eq!(check(&data(), 60, 101), Err(small));
        assert_eq!(check(&ChannelData { drawn: nano(101), ..data() }, 60, 100), Err(ChannelCheckError::ForeignData));
    }

    #[test]
    fn a_closed_channel_holds_nothing_and_says_so() {
        let view = check(&ChannelData { status: ChannelStatus::Closed, ..data() }, 0, 101).unwrap();
        assert_eq!(view.sight.status, ChannelStatus::Closed);
        let closing = ChannelData { status: ChannelStatus::Closing { deadline_s: 7 }, ..data() };
        assert!(matches!(check(&closing, 59, 100), Err(ChannelCheckError::Underfunded { .. })), "a closing one still holds all");
    }

    #[test]
    fn an_account_that_is_no_channel_is_none() {
        let expected = Expected::of_terms(&terms()).unwrap();
        let verify = |change: &dyn Fn(&mut AccountState)| {
            let mut account = account(&data(), 60);
            change(&mut account);
            verify_channel(&account, &expected)
        };
        assert!(verify(&|_| ()).is_ok());
        assert_eq!(verify(&|account| account.status = AccountStatus::Uninitialized), Err(ChannelCheckError::NotDeployed));
        assert_eq!(verify(&|account| account.status = AccountStatus::Frozen), Err(ChannelCheckError::Frozen));
        assert_eq!(verify(&|account| account.code = None), Err(ChannelCheckError::ForeignData));
        assert!(matches!(verify(&|account| account.code = account.data.clone()), Err(ChannelCheckError::ForeignCode { .. })));
        assert_eq!(verify(&|account| account.data = account.code.clone()), Err(ChannelCheckError::ForeignData));
        let other = ChannelTerms { salt: Digest([7; 32]), ..terms() };
        assert_eq!(check(&ChannelData { terms: other, ..data() }, 60, 0), Err(ChannelCheckError::Address));
    }

    #[test]
    fn each_term_is_compared() {
        let verify = |change: &dyn Fn(&mut Expected)| {
            let mut expected = Expected::of_terms(&terms()).unwrap();
            change(&mut expected);
            verify_channel(&account(&data(), 60), &expected).map(drop)
        };
        assert_eq!(verify(&|e| e.settlement.network = NetworkId::TESTNET), Err(ChannelCheckError::Term("network")));
        assert_eq!(verify(&|e| e.requester = node(2)), Err(ChannelCheckError::Term("requester")));
        assert_eq!(verify(&|e| e.provider = node(1)), Err(ChannelCheckError::Term("provider")));
        assert_eq!(verify(&|e| e.settlement.contract = ContractAddress([9; 32])), Err(ChannelCheckError::Term("provider's contract")));
        assert_eq!(verify(&|e| e.settlement.challenge_window_s = 86_401), Err(ChannelCheckError::Term("challenge window")));
        assert_eq!(verify(&|e| e.settlement.challenge_window_s = 86_399), Ok(()), "a longer one than asked for is fine");
    }
}
