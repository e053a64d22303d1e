//! The embedded chain as what every chain is.

use cocoon_market::{Amount, NetworkId, Timestamp};
use tonlib_core::cell::ArcCell;
use tycho_types::cell::Cell;
use tycho_types::models::{AccountState as VmAccountState, IntAddr, MsgInfo};

use super::block::execution;
use super::faucet::{FUND_MAX, FaucetWallet};
use super::store::{AccountKey, BlockRecord, account_key};
use super::{Embedded, estimate, getter, keep};
use crate::chain::codec::{CodecError, decode, parse_transaction, to_edge};
use crate::chain::{
    AccountState, AccountStatus, Address, BASECHAIN, Chain, ChainError, EXTERNAL_BYTES_MAX, EXTERNAL_DEPTH_MAX, Faucet, FeeQuery, Fees,
    Hash, Head, MASTERCHAIN, MethodResult, Page, Rejection, Sought, StackItem, Transaction, TxId, check_method_call, check_page,
};

/// How long the faucet's messages are valid. They are executed at once; a minute covers any block time.
const FAUCET_VALID_S: u32 = 60;

/// Reads an external message as a node of TON would, and finds its destination.
fn read_external(boc: &[u8]) -> Result<(Address, Cell), Rejection> {
    if boc.len() > EXTERNAL_BYTES_MAX {
        return Err(Rejection::TooLarge { bytes: boc.len(), bytes_max: EXTERNAL_BYTES_MAX });
    }
    let message = decode(boc).map_err(|error| match error {
        CodecError::TooDeep(depth) => Rejection::TooDeep { depth, depth_max: EXTERNAL_DEPTH_MAX },
        _ => Rejection::Malformed,
    })?;
    if message.repr_depth() > EXTERNAL_DEPTH_MAX {
        return Err(Rejection::TooDeep { depth: message.repr_depth(), depth_max: EXTERNAL_DEPTH_MAX });
    }
    let MsgInfo::ExtIn(info) = message.parse::<MsgInfo>().map_err(|_| Rejection::Malformed)? else {
        return Err(Rejection::NotExternal);
    };
    let IntAddr::Std(to) = info.dst else { return Err(Rejection::Malformed) };
    if to.anycast.is_some() {
        return Err(Rejection::Malformed);
    }
    if !matches!(to.workchain, BASECHAIN | MASTERCHAIN) {
        return Err(Rejection::Workchain(to.workchain));
    }
    Ok((Address { workchain: to.workchain, hash: to.address.0 }, message))
}

impl Chain for Embedded {
    fn network(&self) -> NetworkId {
        self.network
    }

    fn head(&self) -> Result<Head, ChainError> {
        Ok(self.current()?.committed.head().head())
    }

    fn block(&self, seqno: u32) -> Result<Head, ChainError> {
        let record = self.current()?.committed.store.block(seqno)?;
        record.as_ref().map(BlockRecord::head).ok_or(ChainError::NotFound(Sought::Block))
    }

    fn covered_lt(&self, _: &Address, seqno: u32) -> Result<u64, ChainError> {
        let record = self.current()?.committed.store.block(seqno)?;
        // The next block begins far behind this.
        record.map(|record| record.lt_end.saturating_add(1)).ok_or(ChainError::NotFound(Sought::Block))
    }

    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        let (shard, seen_at) = {
            let inner = self.current()?;
            (inner.committed.account(&account_key(address))?, inner.committed.head().head())
        };
        let last_transaction = (shard.last_trans_lt != 0).then_some(TxId { lt: shard.last_trans_lt, hash: shard.last_trans_hash.0 });
        let empty =
            AccountState { status: AccountStatus::Uninitialized, balance: Amount::ZERO, code: None, data: None, last_transaction, seen_at };
        let Some(account) = shard.load_account().map_err(execution)? else { return Ok(empty) };
        let edge = |cell: &Option<Cell>| cell.as_ref().map(to_edge).transpose().map_err(|error| ChainError::Execution(error.into()));
        let balance = Amount::from_nano(account.balance.tokens.into_inner());
        Ok(match &account.state {
            VmAccountState::Uninit => AccountState { balance, ..empty },
            VmAccountState::Frozen(_) => AccountState { status: AccountStatus::Frozen, balance, ..empty },
            VmAccountState::Active(state) => {
                AccountState { status: AccountStatus::Active, balance, code: edge(&state.code)?, data: edge(&state.data)?, ..empty }
            }
        })
    }

    fn transactions(&self, address: &Address, page: Page) -> Result<Vec<Transaction>, ChainError> {
        check_page(page)?;
        let from_lt = page.from.map_or(u64::MAX, |from| from.lt);
        let cells = self.current()?.committed.store.transactions(&account_key(address), page.after_lt, from_lt, usize::from(page.limit))?;
        if let Some(from) = page.from
            && cells.first().is_none_or(|newest| newest.repr_hash().0 != from.hash)
        {
            return Err(ChainError::NotFound(Sought::Transaction));
        }
        let parse = |cell: &Cell| parse_transaction(address.workchain, cell).map_err(|error| ChainError::Execution(error.into()));
        cells.iter().map(parse).collect()
    }

    fn run_get_method(&self, address: &Address, method: &str, arguments: &[StackItem]) -> Result<MethodResult, ChainError> {
        check_method_call(method, arguments)?;
        let (shard, head) = {
            let inner = self.current()?;
            (inner.committed.account(&account_key(address))?, *inner.committed.head())
        };
        let account = shard.load_account().map_err(execution)?.ok_or(ChainError::NotFound(Sought::Contract))?;
        let VmAccountState::Active(state) = &account.state else { return Err(ChainError::NotFound(Sought::Contract)) };
        let now = Timestamp((self.options.clock)().0.max(head.unix_ms)).unix_s();
        getter::run(&self.config, &account, state, u32::try_from(now).unwrap_or(u32::MAX), method, arguments)
    }

    fn send_boc(&self, boc: &[u8]) -> Result<Hash, ChainError> {
        let (address, message) = read_external(boc)?;
        self.submit(&mut *self.current()?, &address, &message)?;
        tracing::debug!(%address, "external message accepted");
        Ok(message.repr_hash().0)
    }

    fn config_param(&self, index: u32) -> Result<ArcCell, ChainError> {
        let param = self.config.raw.params.as_dict().get(index).map_err(execution)?.ok_or(ChainError::NotFound(Sought::ConfigParam))?;
        to_edge(&param).map_err(|error| ChainError::Execution(error.into()))
    }

    fn block_transactions(&self, seqno: u32) -> Result<Vec<Transaction>, ChainError> {
        let inner = self.current()?;
        let cells = inner.committed.store.block_transactions(seqno)?.ok_or(ChainError::NotFound(Sought::Block))?;
        let parse = |(account, cell): &(AccountKey, Cell)| {
            let workchain = account.first().map_or(BASECHAIN, |byte| i8::from_be_bytes([*byte]));
            parse_transaction(workchain, cell).map_err(|error| ChainError::Execution(error.into()))
        };
        cells.iter().map(parse).collect()
    }

    fn estimate_fees(&self, query: &FeeQuery) -> Result<Fees, ChainError> {
        let mut inner = self.current()?;
        let open = self.open_block(&mut inner)?;
        let fees = estimate::fees(&open, &inner.committed, &self.config, query);
        keep(&mut inner, open);
        fees
    }
}

impl Faucet for Embedded {
    fn fund(&self, address: &Address, amount: Amount) -> Result<Hash, ChainError> {
        if amount > FUND_MAX {
            return Err(ChainError::BadRequest("the faucet gives at most 1,000,000 TON at a time"));
        }
        if address.hash == [0; 32] {
            return Err(ChainError::BadRequest("the zero address is nobody's"));
        }
        let mut inner = self.current()?;
        let open = self.open_block(&mut inner)?;
        let account = open.account(&inner.committed, &account_key(&self.faucet.address))?.load_account().map_err(execution)?;
        let valid_until = open.unix_s().saturating_add(FAUCET_VALID_S);
        keep(&mut inner, open);
        let seqno = account.and_then(|account| FaucetWallet::seqno(&account.state)).ok_or(ChainError::NotFound(Sought::Contract))?;
        let message = self.faucet.transfer(seqno, valid_until, address, amount).map_err(|error| ChainError::Execution(error.into()))?;
        self.submit(&mut inner, &self.faucet.address, &message)?;
        Ok(message.repr_hash().0)
    }
}
