//! What an owner's wallet tells the contracts of its network, and what such a message has to bring.
//!
//! The values are at least twice what the contracts ask for at the prices of 2026, which a test holds; what work does not cost comes back.

use cocoon_market::{Amount, AmountError, ContractAddress};
use serde::{Deserialize, Serialize};
use tonlib_core::cell::ArcCell;

use super::cells::CellError;
use super::governor::{GovernorMessage, lock_payload};
use super::jetton::JettonMessage;
use super::lock::LockMessage;
use super::message::{QueryId, VaultMessage, VaultPayload};

/// For what a few contracts do without deploying anything: an epoch that is closed is the dearest.
const WORK_VALUE: Amount = Amount::from_nano(20_000_000);

/// For what moves COCOON, which may deploy a wallet that keeps 0.01 TON for its storage.
const MOVE_VALUE: Amount = Amount::from_nano(50_000_000);

/// For what a lock does, which first makes good what rent took of its 0.01 TON.
const LOCK_VALUE: Amount = Amount::from_nano(40_000_000);

/// For a proposal, for which the governor looks through all weeks and all proposals, and whose action may be a large key.
const PROPOSE_VALUE: Amount = Amount::from_nano(80_000_000);

/// What a vault is told of COCOON with. It asks for enough to send it all back.
const VAULT_TOLD: Amount = Amount::from_nano(30_000_000);

/// What a governor is told of COCOON with: the lock that it deploys keeps some, and all of it may go back.
const GOVERNOR_TOLD: Amount = Amount::from_nano(60_000_000);

/// What an owner tells a contract of its network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContractMessage {
    /// Its jetton wallet: move COCOON.
    Move {
        /// How much.
        amount: Amount,
        /// To whom.
        to: ContractAddress,
        /// What for.
        purpose: Purpose,
    },
    /// Its jetton wallet: destroy COCOON.
    Burn(Amount),
    /// The vault.
    Vault(VaultMessage),
    /// Its lock.
    Lock(LockMessage),
    /// The governor.
    Governor(GovernorMessage),
}

/// What COCOON is moved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The recipient has it, and is not told.
    Nothing,
    /// A bid in the vault's auction.
    Bid {
        /// The least TON that it is to buy, in nano-units; for less it comes back.
        least: u64,
    },
    /// A fee paid ahead, to the vault.
    Credit {
        /// The provider's contract it is for.
        provider: ContractAddress,
    },
    /// To be locked by the governor.
    Lock {
        /// Until this week begins, counted from the Unix epoch.
        ends_week: u32,
    },
}

impl Purpose {
    fn payload(self) -> Result<Option<ArcCell>, CellError> {
        Ok(match self {
            Self::Nothing => None,
            Self::Bid { least } => Some(VaultPayload::Bid { least }.to_cell()?),
            Self::Credit { provider } => Some(VaultPayload::Credit { provider }.to_cell()?),
            Self::Lock { ends_week } => Some(lock_payload(ends_week)?),
        })
    }

    /// TON that the recipient is told with.
    const fn told_with(self) -> Amount {
        match self {
            Self::Nothing => Amount::ZERO,
            Self::Bid { .. } | Self::Credit { .. } => VAULT_TOLD,
            Self::Lock { .. } => GOVERNOR_TOLD,
        }
    }
}

impl ContractMessage {
    /// The TON that it takes along.
    ///
    /// # Errors
    /// [`AmountError`] for a fee beyond all money.
    pub fn value(&self) -> Result<Amount, AmountError> {
        match self {
            Self::Move { purpose, .. } => MOVE_VALUE.checked_add(purpose.told_with()),
            Self::Vault(VaultMessage::Fee { amount, .. }) => amount.checked_add(WORK_VALUE),
            Self::Burn(_) | Self::Vault(VaultMessage::PayTreasury | VaultMessage::CloseEpoch) => Ok(WORK_VALUE),
            Self::Lock(LockMessage::Lengthen(_) | LockMessage::Vote { .. }) => Ok(LOCK_VALUE),
            Self::Lock(LockMessage::Propose(_)) => Ok(PROPOSE_VALUE),
            Self::Lock(LockMessage::Unlock) => MOVE_VALUE.checked_add(LOCK_VALUE),
            Self::Governor(GovernorMessage::Execute { .. }) => Ok(MOVE_VALUE),
            Self::Governor(GovernorMessage::Introduce { .. } | GovernorMessage::Stop) => Ok(WORK_VALUE),
        }
    }

    /// The body of the message from `owner`'s wallet.
    ///
    /// # Errors
    /// [`CellError`] for an amount that no TON message can carry.
    pub fn to_cell(&self, owner: ContractAddress, query: QueryId) -> Result<ArcCell, CellError> {
        match self {
            Self::Move { amount, to, purpose } => {
                let (amount, to, forward) = (*amount, *to, purpose.told_with());
                JettonMessage::Transfer { amount, to, forward, payload: purpose.payload()? }.to_cell(owner, query)
            }
            Self::Burn(amount) => JettonMessage::Burn(*amount).to_cell(owner, query),
            Self::Vault(message) => message.to_cell(query),
            Self::Lock(message) => message.to_cell(query),
            Self::Governor(message) => message.to_cell(query),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [&str; 6] = [
        include_str!("../../contracts/pricing.tolk"),
        include_str!("../../contracts/jetton.tolk"),
        include_str!("../../contracts/vault.tolk"),
        include_str!("../../contracts/locks.tolk"),
        include_str!("../../contracts/governor.tolk"),
        include_str!("../../contracts/account.tolk"),
    ];

    /// A constant of the contracts' sources.
    fn constant(name: &str) -> u64 {
        let mut lines = SOURCES.iter().flat_map(|source| source.lines());
        let line = lines.find_map(|line| line.strip_prefix(&format!("const {name} = ")));
        line.unwrap_or_else(|| panic!("{name}")).parse().unwrap()
    }

    /// Prices of 2026 as `chain/embedded/config.rs` has them, in nano-units.
    fn gas(names: &[&str]) -> u64 {
        (names.iter().map(|name| constant(name)).sum::<u64>() * 4_369_067).div_ceil(65_536)
    }

    fn forward(bits: u64, cells: u64) -> u64 {
        66_667 + (bits * 4_369_067 + cells * 436_906_667).div_ceil(65_536)
    }

    fn forwards(messages: u64) -> u64 {
        messages * forward(constant("MESSAGE_BITS"), constant("MESSAGE_CELLS"))
    }

    fn deploy(bits: &str, cells: &str) -> u64 {
        forward(constant(bits) + constant("MESSAGE_BITS"), constant(cells) + constant("MESSAGE_CELLS"))
    }

    /// `transferFee` of `jetton.tolk`.
    fn transfer() -> u64 {
        let work = gas(&["GAS_JETTON_TRANSFER", "GAS_INTERNAL_TRANSFER"]);
        work + deploy("JETTON_STATE_BITS", "JETTON_STATE_CELLS") + reserve() + forwards(1)
    }

    /// What wallets and locks keep, as their sources say.
    fn reserve() -> u64 {
        for name in ["JETTON_WALLET_RESERVE", "LOCK_RESERVE"] {
            assert!(SOURCES.iter().any(|source| source.contains(&format!("const {name} = ton(\"0.01\")"))), "{name}");
        }
        10_000_000
    }

    fn is_enough(value: Amount, asked: u64) {
        let asked = u128::from(asked);
        assert!((asked * 2..asked * 25).contains(&value.nano()), "{value} where {asked} nano-units are asked for");
    }

    #[test]
    fn messages_bring_twice_what_contracts_ask_for() {
        let [work, moved, lock] = [WORK_VALUE, MOVE_VALUE, LOCK_VALUE];
        is_enough(work, gas(&["GAS_JETTON_BURN", "GAS_BURN_NOTIFICATION"]) + forwards(2));
        let burn = gas(&["GAS_JETTON_BURN", "GAS_BURN_NOTIFICATION"]) + forwards(2);
        is_enough(work, gas(&["GAS_CLOSE_EPOCH", "GAS_EPOCH_SOLD"]) + burn + forwards(3));
        is_enough(moved, transfer() + forwards(2));
        let change = gas(&["GAS_CHANGE", "GAS_TOLD"]) + forwards(4);
        is_enough(moved, gas(&["GAS_EXECUTE"]) + forwards(2) + change.max(transfer()));
        is_enough(lock, gas(&["GAS_LOCK_MORE", "GAS_LOCKED", "GAS_COUNTED"]) + forwards(3) + reserve());
        is_enough(lock, gas(&["GAS_VOTE", "GAS_VOICE", "GAS_VOTED"]) + forwards(3) + reserve());
        let unlock = gas(&["GAS_UNLOCK", "GAS_UNLOCKED"]) + forwards(2) + transfer() + reserve();
        is_enough(moved.checked_add(lock).unwrap(), unlock);
        // The largest action there is, a key of its own, is about as large as a lock's state.
        let key = deploy("LOCK_STATE_BITS", "LOCK_STATE_CELLS");
        is_enough(PROPOSE_VALUE, gas(&["GAS_PROPOSE", "GAS_PROPOSAL", "GAS_COUNTED"]) + key + forwards(3) + reserve());
    }

    #[test]
    fn whoever_is_told_of_cocoon_can_send_it_back() {
        is_enough(VAULT_TOLD, gas(&["GAS_NOTIFICATION"]) + transfer() + forwards(4));
        let count = gas(&["GAS_LOCKED", "GAS_COUNTED"]) + forwards(3);
        let refused = gas(&["GAS_REFUSED"]) + forwards(2) + transfer();
        let deployed = gas(&["GAS_NOTIFIED", "GAS_LOCK_MORE"]) + deploy("LOCK_STATE_BITS", "LOCK_STATE_CELLS") + reserve();
        is_enough(GOVERNOR_TOLD, deployed + count.max(refused));
        for purpose in [Purpose::Bid { least: 1 }, Purpose::Lock { ends_week: 1 }] {
            let moved = ContractMessage::Move { amount: Amount::ZERO, to: ContractAddress([1; 32]), purpose };
            assert_eq!(moved.value(), MOVE_VALUE.checked_add(purpose.told_with()), "beside the way");
        }
    }
}
