//! Where all TON and all COCOON is, by what transactions say alone, held against what accounts say.

use std::collections::{BTreeMap, BTreeSet};

use cocoon_market::{Amount, ContractAddress};
use cocoon_settlement::chain::embedded::Embedded;
use cocoon_settlement::chain::{Address, Chain as _, MessageKind, Transaction};
use cocoon_settlement::contract::{MinterData, WalletData};
use cocoon_settlement::economy::genesis::CAP;

use crate::words::{Word, word};

pub(crate) type Account = [u8; 32];
/// Nano-units, which may be short of nothing for a while.
pub(crate) type Nano = i128;
pub(crate) type Outcome<T> = Result<T, String>;

pub(crate) fn nano(amount: Amount) -> Nano {
    Nano::try_from(amount.nano()).unwrap()
}

pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, chain: T, here: T) -> Outcome<()> {
    if chain == here { Ok(()) } else { Err(format!("{what}: the chain says {chain:?}, it should be {here:?}")) }
}

/// The TON of all accounts.
pub(crate) struct Tons {
    balances: BTreeMap<Account, Nano>,
    fees: Nano,
    under_way: Nano,
}

impl Tons {
    pub(crate) fn new(chain: &Embedded) -> Self {
        let issued = nano(chain.supply().unwrap().issued);
        Self { balances: BTreeMap::from([(chain.faucet().hash, issued)]), fees: 0, under_way: 0 }
    }

    /// Money neither appears nor disappears: an account has what it had and what came, less fees and what it sent.
    fn enter(&mut self, transaction: &Transaction) {
        let message = transaction.in_message.as_ref().filter(|message| message.kind == MessageKind::Internal);
        let (value, forward) = message.map_or((0, 0), |message| (nano(message.value), nano(message.forward_fee)));
        let sent: Nano = transaction.out_messages.iter().map(|message| nano(message.value) + nano(message.forward_fee)).sum();
        let fees = nano(transaction.total_fees);
        *self.balances.entry(transaction.account.hash).or_default() += value - fees - sent;
        self.fees += fees + forward;
        self.under_way += sent - value - forward;
    }

    pub(crate) const fn is_settled(&self) -> bool {
        self.under_way == 0
    }

    pub(crate) fn of(&self, account: Account) -> Nano {
        self.balances.get(&account).copied().unwrap_or(0)
    }

    fn check(&self, chain: &Embedded, touched: &BTreeSet<Account>) -> Outcome<()> {
        for account in touched {
            let state = chain.account(&Address::basechain(*account)).map_err(|error| error.to_string())?;
            same("balance", nano(state.balance), self.of(*account))?;
        }
        let supply = chain.supply().map_err(|error| error.to_string())?;
        let all: Nano = self.balances.values().sum();
        let money = [supply.accounts, supply.under_way, supply.fees, supply.burned].map(nano);
        same("TON on accounts, under way, in fees, burned", money, [all, self.under_way, self.fees, 0])?;
        same("all TON", nano(supply.issued), all + self.under_way + self.fees)
    }
}

/// The COCOON of all wallets.
pub(crate) struct Cocoons {
    minter: ContractAddress,
    balances: BTreeMap<Account, Nano>,
    under_way: Nano,
    /// What the minter was told to be destroyed.
    pub(crate) burned: Nano,
    is_made: bool,
}

impl Cocoons {
    pub(crate) const fn new(minter: ContractAddress) -> Self {
        Self { minter, balances: BTreeMap::new(), under_way: 0, burned: 0, is_made: false }
    }

    pub(crate) fn wallet(&self, owner: ContractAddress) -> ContractAddress {
        WalletData::new(owner, self.minter).address().unwrap()
    }

    pub(crate) fn of(&self, owner: ContractAddress) -> Nano {
        self.balances.get(&self.wallet(owner).0).copied().unwrap_or(0)
    }

    fn enter(&mut self, transaction: &Transaction) {
        let moved = |word: Option<(Word, bool)>| match word {
            Some((Word::InternalTransfer(amount) | Word::Burned(amount), is_back)) => Some((nano(amount), is_back)),
            _ => None,
        };
        let came = transaction.in_message.as_ref().and_then(word);
        if let Some((Word::Burned(amount), false)) = &came
            && transaction.success
        {
            self.burned += nano(*amount);
        }
        if let Some((amount, _)) = moved(came) {
            self.under_way -= amount;
            if transaction.account.hash != self.minter.0 {
                self.balances.entry(transaction.account.hash).or_default();
            }
        }
        self.under_way +=
            transaction.out_messages.iter().filter_map(|message| moved(word(message))).map(|(amount, _)| amount).sum::<Nano>();
        self.is_made |= transaction.account.hash == self.minter.0 && self.under_way > 0;
    }

    fn check(&mut self, chain: &Embedded, touched: &BTreeSet<Account>) -> Outcome<()> {
        for (account, balance) in self.balances.iter_mut().filter(|(account, _)| touched.contains(*account)) {
            let state = chain.account(&Address::basechain(*account)).map_err(|error| error.to_string())?;
            let data = state.data.ok_or("a wallet without data")?;
            *balance = nano(WalletData::from_cell(&data).map_err(|error| error.to_string())?.balance);
        }
        if !self.is_made {
            return Ok(());
        }
        let minter = chain.account(&self.minter.into()).map_err(|error| error.to_string())?;
        let data = minter.data.ok_or("no minter")?;
        let supply = MinterData::from_cell(&data).map_err(|error| error.to_string())?.supply;
        let held: Nano = self.balances.values().sum();
        same("all COCOON", nano(supply), held + self.under_way)?;
        same("COCOON of the cap that was burned", nano(CAP) - nano(supply), self.burned)
    }
}

/// Both.
pub(crate) struct Books {
    pub(crate) tons: Tons,
    pub(crate) cocoons: Cocoons,
}

impl Books {
    pub(crate) fn enter(&mut self, transaction: &Transaction) {
        self.tons.enter(transaction);
        self.cocoons.enter(transaction);
    }

    /// After a block.
    pub(crate) fn check(&mut self, chain: &Embedded, touched: &BTreeSet<Account>) -> Outcome<()> {
        self.tons.check(chain, touched)?;
        self.cocoons.check(chain, touched)
    }
}
