//! What a message from outside would cost, found by executing it and forgetting all about it.

use tycho_executor::{ExecutorParams, ParsedConfig, TxError};
use tycho_types::cell::{Cell, CellBuilder, CellSliceParts};
use tycho_types::models::{ComputePhase, ExtInMsgInfo, MsgInfo, OrdinaryTxInfo, OwnedMessage, StateInit, StdAddr, Transaction, TxInfo};
use tycho_types::num::Tokens;
use tycho_types::prelude::HashBytes;

use super::block::{OpenBlock, execution};
use super::committed::Committed;
use super::execute::{Environment, Origin, Outcome, execute};
use super::store::account_key;
use crate::chain::codec::{amount, from_edge};
use crate::chain::{ChainError, FeeQuery, Fees, Rejection, Signatures};

/// Executes the message in the block in the making, of which nothing is kept.
pub(super) fn fees(open: &OpenBlock, committed: &Committed, config: &ParsedConfig, query: &FeeQuery) -> Result<Fees, ChainError> {
    let address = StdAddr::new(query.to.workchain, HashBytes(query.to.hash));
    let before = open.account(committed, &account_key(&query.to))?;
    let mut params: ExecutorParams = open.params().clone();
    params.vm_modifiers.chksig_always_succeed = query.signatures == Signatures::Assumed;
    let environment = Environment { config, block: &params, lt_min: open.lt_start().saturating_add(1) };
    let message = message(query, &address)?;
    match execute(environment, &address, Origin::Outside, &message, &before) {
        Ok(Outcome::Executed(done)) => of(&done.transaction).map_err(execution),
        Ok(Outcome::NotAccepted { exit_code }) => Err(Rejection::NotAccepted { exit_code }.into()),
        Err(TxError::Fatal(error)) => Err(ChainError::Execution(error.into())),
        Err(TxError::Skipped) => Err(Rejection::NotAccepted { exit_code: None }.into()),
    }
}

fn message(query: &FeeQuery, to: &StdAddr) -> Result<Cell, ChainError> {
    let cell = |cell| from_edge(cell).map_err(|_| ChainError::BadRequest("a cell of the message cannot be read"));
    let init = match &query.init {
        Some((code, data)) => Some(StateInit { code: Some(cell(code)?), data: Some(cell(data)?), ..StateInit::default() }),
        None => None,
    };
    let info = MsgInfo::ExtIn(ExtInMsgInfo { dst: to.clone().into(), ..ExtInMsgInfo::default() });
    let body = CellSliceParts::from(cell(&query.body)?);
    CellBuilder::build_from(OwnedMessage { info, init, body, layout: None }).map_err(execution)
}

fn of(transaction: &Cell) -> Result<Fees, tycho_types::error::Error> {
    let transaction = transaction.parse::<Transaction>()?;
    let TxInfo::Ordinary(OrdinaryTxInfo { storage_phase, compute_phase, action_phase, .. }) = transaction.load_info()? else {
        return Err(tycho_types::error::Error::InvalidTag);
    };
    let storage = storage_phase.map_or(Tokens::ZERO, |phase| phase.storage_fees_collected);
    let gas = match compute_phase {
        ComputePhase::Executed(phase) => phase.gas_fees,
        ComputePhase::Skipped(_) => Tokens::ZERO,
    };
    let (forward, forward_here) = action_phase.map_or((None, None), |phase| (phase.total_fwd_fees, phase.total_action_fees));
    let elsewhere = [Some(storage), Some(gas), forward_here].into_iter().flatten();
    let import = elsewhere.fold(transaction.total_fees.tokens, |rest, fee| rest.checked_sub(fee).unwrap_or_default());
    Ok(Fees { import: amount(import), storage: amount(storage), gas: amount(gas), forward: amount(forward.unwrap_or_default()) })
}
