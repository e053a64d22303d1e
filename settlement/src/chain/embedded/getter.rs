//! Get-methods: contract code that answers questions and changes nothing.

use num_bigint::BigInt;
use tycho_executor::ParsedConfig;
use tycho_types::cell::{CellBuilder, CellSliceParts};
use tycho_types::crc::crc_16;
use tycho_types::models::{Account, StateInit};
use tycho_types::prelude::HashBytes;
use tycho_vm::{GasParams, OwnedCellSlice, RcStackValue, SafeRc, SmcInfoBase, Stack, StackValueType, VmState};

use super::block::execution;
use super::compute::VM_VERSION;
use super::machine;
use crate::chain::codec::{CodecError, from_edge, to_edge};
use crate::chain::{ChainError, MethodResult, StackItem};

/// Tuples may be nested so deep in an answer; nothing we know of goes beyond a list of lists.
const TUPLE_DEPTH_MAX: usize = 256;

/// Runs a get-method of an active account.
pub(super) fn run(
    config: &ParsedConfig,
    account: &Account,
    state: &StateInit,
    now: u32,
    method: &str,
    arguments: &[StackItem],
) -> Result<MethodResult, ChainError> {
    let mut stack = arguments.iter().map(into_vm).collect::<Result<Vec<_>, _>>()?;
    stack.push(RcStackValue::new_dyn_value(BigInt::from(method_id(method))));
    let code = state.code.clone().unwrap_or_default();
    let info = SmcInfoBase::new()
        .with_now(now)
        .with_block_lt(account.last_trans_lt)
        .with_tx_lt(account.last_trans_lt)
        .with_mixed_rand_seed(&HashBytes::ZERO, &HashBytes::ZERO)
        .with_account_balance(account.balance.clone())
        .with_account_addr(account.address.clone())
        .with_config(config.raw.params.clone())
        .require_ton_v4()
        .with_code(code.clone())
        .require_ton_v6()
        .with_unpacked_config(config.unpacked.as_tuple())
        .require_ton_v11();
    let libraries = &state.libraries;
    let mut vm = VmState::builder()
        .with_smc_info(info)
        .with_version(VM_VERSION)
        .with_code(code)
        .with_data(state.data.clone().unwrap_or_default())
        .with_libraries(&libraries)
        .with_init_selector(false)
        .with_raw_stack(SafeRc::new(Stack::with_items(stack)))
        .with_gas(GasParams::getter())
        .build();
    let exit_code = machine::run(&mut vm);
    let stack = vm.stack.items.iter().map(|item| from_vm(item, 0)).collect::<Result<Vec<_>, _>>()?;
    Ok(MethodResult { exit_code, gas_used: vm.gas.consumed(), stack })
}

/// By convention a method is known to its contract by a checksum of its name.
fn method_id(method: &str) -> u32 {
    u32::from(crc_16(method.as_bytes())) | 0x1_0000
}

fn into_vm(item: &StackItem) -> Result<RcStackValue, ChainError> {
    Ok(match item {
        StackItem::Null => Stack::make_null(),
        StackItem::Int(value) => RcStackValue::new_dyn_value(value.clone()),
        StackItem::Cell(cell) => RcStackValue::new_dyn_value(from_edge(cell).map_err(bad_argument)?),
        StackItem::Slice(cell) => {
            let parts = CellSliceParts::from(from_edge(cell).map_err(bad_argument)?);
            RcStackValue::new_dyn_value(OwnedCellSlice::from(parts))
        }
        StackItem::Tuple(items) => RcStackValue::new_dyn_value(items.iter().map(into_vm).collect::<Result<Vec<_>, _>>()?),
    })
}

fn bad_argument(_: CodecError) -> ChainError {
    ChainError::BadRequest("an argument is a cell that cannot be serialized")
}

fn from_vm(value: &RcStackValue, depth: usize) -> Result<StackItem, ChainError> {
    const STRANGE: ChainError = ChainError::Unsupported("continuations and NaN as a get-method's result");
    let edge = |cell| to_edge(cell).map_err(|error| ChainError::Execution(error.into()));
    Ok(match StackValueType::from_raw(value.raw_ty()) {
        Some(StackValueType::Null) => StackItem::Null,
        Some(StackValueType::Int) => StackItem::Int(value.as_int().ok_or(STRANGE)?.clone()),
        Some(StackValueType::Cell) => StackItem::Cell(edge(value.as_cell().ok_or(STRANGE)?)?),
        Some(StackValueType::Slice) => {
            let slice = value.as_cell_slice().ok_or(STRANGE)?;
            StackItem::Slice(edge(&CellBuilder::build_from(slice.apply()).map_err(execution)?)?)
        }
        Some(StackValueType::Builder) => {
            let builder = value.as_cell_builder().ok_or(STRANGE)?.clone();
            StackItem::Cell(edge(&builder.build().map_err(execution)?)?)
        }
        Some(StackValueType::Tuple) if depth < TUPLE_DEPTH_MAX => {
            let items = value.as_tuple().ok_or(STRANGE)?;
            StackItem::Tuple(items.iter().map(|item| from_vm(item, depth.saturating_add(1))).collect::<Result<_, _>>()?)
        }
        Some(StackValueType::Tuple) => return Err(ChainError::Unsupported("tuples this deep")),
        Some(StackValueType::Cont) | None => return Err(STRANGE),
    })
}
