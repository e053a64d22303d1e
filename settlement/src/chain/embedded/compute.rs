//! The compute phase: what a message makes the code of an account do.
//!
//! The executor behind this chain has all phases, but its compute phase runs the virtual machine without the instructions of
//! [`machine`]. So this phase is here, and every other one there.
//!
//! | the phase is skipped, because of | when |
//! |---|---|
//! | `NoGas` | the account or the message cannot pay for any |
//! | `NoState` | there is no code, and the message brings none |
//! | `BadState` | what the message brings is not what the address or the frozen account stands for, or it is too large |

use tycho_executor::phase::{ComputePhaseFull, MsgStateInit, ReceivedMessage};
use tycho_executor::{ExecutorParams, ExecutorState, OwnedExtStorageStat, StorageStatLimits, TxError};
use tycho_types::cell::Cell;
use tycho_types::error::Error;
use tycho_types::models::{
    AccountState, AccountStatus, BlockId, ComputeGasParams, ComputePhase, ComputePhaseSkipReason, ExecutedComputePhase, IntAddr,
    IntMsgInfo, LibDescr, MsgType, SimpleLib, SkippedComputePhase, StateInit,
};
use tycho_types::num::{Tokens, VarUint24, VarUint56};
use tycho_types::prelude::{CellFamily, Dict, HashBytes, Load};
use tycho_vm::{GasParams, OwnedCellSlice, SafeRc, SmcInfo, SmcInfoBase, Stack, Tuple, UnpackedInMsgSmcInfo, VmState, VmVersion, tuple};

use super::machine;

/// Version of the virtual machine's rules, as in the configuration.
pub(super) const VM_VERSION: VmVersion = VmVersion::Ton(12);

/// What the phase did, and what only its observers ask for.
#[derive(Debug)]
pub(super) struct Computed {
    pub(super) phase: ComputePhaseFull,
    /// How the code ended, even if the message was not accepted.
    pub(super) exit_code: Option<i32>,
    /// Gas used, the part included that nobody pays.
    pub(super) gas_used: u64,
}

/// Libraries that the message brought, those of the account, and everybody's.
type Libraries<'a> = (Option<Dict<HashBytes, SimpleLib>>, Option<Dict<HashBytes, SimpleLib>>, &'a Dict<HashBytes, LibDescr>);

/// Code and data to run.
#[derive(Debug)]
struct Loaded {
    state: StateInit,
    /// Whether they came with the message.
    from_message: bool,
    message_libraries: Option<Dict<HashBytes, SimpleLib>>,
    account_libraries: Option<Dict<HashBytes, SimpleLib>>,
}

/// Runs the phase for a message that was received and credited.
pub(super) fn compute(state: &mut ExecutorState<'_>, message: &ReceivedMessage, storage_fee: Tokens) -> Result<Computed, TxError> {
    let mut original_balance = state.balance.clone();
    original_balance.try_sub_assign(&message.balance_remaining)?;
    let current = if let AccountState::Active(current) = &state.state { current.clone() } else { StateInit::default() };
    let mut phase = ComputePhaseFull {
        compute_phase: ComputePhase::Skipped(SkippedComputePhase { reason: ComputePhaseSkipReason::NoGas }),
        accepted: false,
        original_balance,
        new_state: current,
        actions: Cell::empty_cell(),
    };
    let gas = gas_of(state, message);
    if state.balance.tokens.is_zero() || (gas.limit == 0 && gas.credit == 0) {
        return Ok(Computed { phase, exit_code: None, gas_used: 0 });
    }
    match load(state, message) {
        Ok(loaded) => execute(state, message, storage_fee, gas, loaded, phase),
        Err(reason) => {
            phase.compute_phase = ComputePhase::Skipped(SkippedComputePhase { reason });
            Ok(Computed { phase, exit_code: None, gas_used: 0 })
        }
    }
}

fn gas_of(state: &ExecutorState<'_>, message: &ReceivedMessage) -> GasParams {
    let prices = state.config.gas_prices(state.address.is_masterchain());
    let computed = prices.compute_gas_params(ComputeGasParams {
        account_balance: &state.balance.tokens,
        message_balance: &message.balance_remaining.tokens,
        is_special: state.is_special,
        is_tx_ordinary: true,
        is_in_msg_external: message.is_external,
    });
    GasParams { max: computed.max, limit: computed.limit, credit: computed.credit, price: prices.gas_price }
}

/// Finds what is to run, and makes an account active that the message deploys.
fn load(state: &mut ExecutorState<'_>, message: &ReceivedMessage) -> Result<Loaded, ComputePhaseSkipReason> {
    match (&message.init, &state.state) {
        (None, AccountState::Uninit) => Err(ComputePhaseSkipReason::NoState),
        (None, AccountState::Frozen(_)) => Err(ComputePhaseSkipReason::BadState),
        (None, AccountState::Active(current)) => Ok(Loaded {
            state: current.clone(),
            from_message: false,
            message_libraries: None,
            account_libraries: Some(current.libraries.clone()),
        }),
        (Some(init), AccountState::Active(current)) => {
            if message.is_external && *init.root_hash() != state.address.address {
                return Err(ComputePhaseSkipReason::BadState);
            }
            Ok(Loaded {
                state: current.clone(),
                from_message: false,
                message_libraries: Some(init.parsed.libraries.clone()),
                account_libraries: Some(current.libraries.clone()),
            })
        }
        (Some(init), AccountState::Uninit | AccountState::Frozen(_)) => deploy(state, init),
    }
}

/// Takes over the state that a message brought, if it is the right one.
fn deploy(state: &mut ExecutorState<'_>, init: &MsgStateInit) -> Result<Loaded, ComputePhaseSkipReason> {
    let expected = if let AccountState::Frozen(hash) = &state.state { *hash } else { state.address.address };
    if *init.root_hash() != expected || init.parsed.split_depth.is_some() {
        return Err(ComputePhaseSkipReason::BadState);
    }
    let size = size_within_limits(state, &init.parsed).ok_or(ComputePhaseSkipReason::BadState)?;
    if let Some(size) = size {
        state.cached_storage_stat = Some(size);
    }
    state.state = AccountState::Active(init.parsed.clone());
    Ok(Loaded {
        state: init.parsed.clone(),
        from_message: true,
        message_libraries: Some(init.parsed.libraries.clone()),
        account_libraries: None,
    })
}

/// Measures a state that is about to be deployed: none if it is too large, nothing inside if it is empty.
fn size_within_limits(state: &ExecutorState<'_>, new: &StateInit) -> Option<Option<OwnedExtStorageStat>> {
    if new.code.is_none() && new.data.is_none() && new.libraries.is_empty() {
        return Some(None);
    }
    let limits = &state.config.size_limits;
    let mut size = OwnedExtStorageStat::with_limits(StorageStatLimits {
        bit_count: limits.max_acc_state_bits,
        cell_count: limits.max_acc_state_cells,
    });
    let roots = [new.code.as_ref(), new.data.as_ref(), new.libraries.root().as_ref()];
    if !roots.into_iter().flatten().all(|root| size.add_cell(root.clone())) {
        return None;
    }
    if state.address.is_masterchain() {
        let libraries_max = match &state.state {
            AccountState::Uninit => 0,
            AccountState::Active(_) | AccountState::Frozen(_) => usize::try_from(limits.max_acc_public_libraries).unwrap_or(usize::MAX),
        };
        let public = new.libraries.values().map(|library| library.map(|library| library.public)).collect::<Result<Vec<_>, _>>().ok()?;
        if public.into_iter().filter(|public| *public).count() > libraries_max {
            return None;
        }
    }
    Some(Some(size))
}

/// Runs the code and settles what it cost.
fn execute(
    state: &mut ExecutorState<'_>,
    message: &ReceivedMessage,
    storage_fee: Tokens,
    gas: GasParams,
    loaded: Loaded,
    mut phase: ComputePhaseFull,
) -> Result<Computed, TxError> {
    let Loaded { state: new_state, from_message, message_libraries, account_libraries } = loaded;
    let libraries: Libraries<'_> = (message_libraries, account_libraries, &state.params.libraries);
    let mut vm = VmState::builder()
        .with_smc_info(context(state, message, storage_fee, new_state.code.clone().unwrap_or_default())?)
        .with_version(VM_VERSION)
        .with_code(new_state.code.clone())
        .with_data(new_state.data.clone().unwrap_or_default())
        .with_libraries(&libraries)
        .with_init_selector(false)
        .with_raw_stack(arguments(state, message))
        .with_gas(gas)
        .with_modifiers(state.params.vm_modifiers)
        .build();
    let exit_code = machine::run(&mut vm);

    phase.new_state = new_state;
    phase.accepted = vm.gas.credit() == 0;
    let success = phase.accepted && vm.committed_state.is_some();
    let consumed = vm.gas.consumed();
    let gas_used = consumed.min(vm.gas.limit());
    let gas_fees = if phase.accepted && !state.is_special {
        state.config.gas_prices(state.address.is_masterchain()).compute_gas_fee(gas_used)
    } else {
        Tokens::ZERO
    };
    if phase.accepted && from_message {
        state.end_status = AccountStatus::Active;
    }
    if phase.accepted
        && let Some(committed) = vm.committed_state.take()
    {
        phase.new_state.data = Some(committed.c4);
        phase.actions = committed.c5;
    }
    state.balance.try_sub_assign_tokens(gas_fees)?;
    state.total_fees.try_add_assign(gas_fees)?;
    phase.compute_phase = ComputePhase::Executed(ExecutedComputePhase {
        success,
        // TON's nodes never set these two, whatever their names promise.
        msg_state_used: false,
        account_activated: false,
        gas_fees,
        gas_used: small(gas_used),
        gas_limit: small(gas.limit),
        gas_credit: (gas.credit != 0).then(|| tiny(gas.credit)),
        mode: 0,
        exit_code,
        exit_arg: if success { None } else { vm.stack.get_exit_arg().filter(|argument| *argument != 0) },
        vm_steps: u32::try_from(vm.steps).unwrap_or(u32::MAX),
        vm_init_state_hash: HashBytes::ZERO,
        vm_final_state_hash: HashBytes::ZERO,
    });
    Ok(Computed { phase, exit_code: Some(exit_code), gas_used: consumed.saturating_add(vm.gas.free_gas_consumed()) })
}

fn small(gas: u64) -> VarUint56 {
    VarUint56::new(gas.min(VarUint56::MAX.into_inner()))
}

fn tiny(gas: u64) -> VarUint24 {
    VarUint24::new(u32::try_from(gas).unwrap_or(u32::MAX).min(VarUint24::MAX.into_inner()))
}

/// What code finds on its stack.
fn arguments(state: &ExecutorState<'_>, message: &ReceivedMessage) -> SafeRc<Stack> {
    SafeRc::new(Stack::with_items(tuple![
        int state.balance.tokens,
        int message.balance_remaining.tokens,
        cell message.root.clone(),
        slice message.body.clone(),
        int if message.is_external { -1 } else { 0 },
    ]))
}

/// What code can ask its surroundings.
fn context(state: &ExecutorState<'_>, message: &ReceivedMessage, storage_fee: Tokens, code: Cell) -> Result<impl SmcInfo + use<>, Error> {
    Ok(SmcInfoBase::new()
        .with_now(state.params.block_unixtime)
        .with_block_lt(state.params.block_lt)
        .with_tx_lt(state.start_lt)
        .with_mixed_rand_seed(&state.params.rand_seed, &state.address.address)
        .with_account_balance(state.balance.clone())
        .with_account_addr(state.address.clone().into())
        .with_config(state.config.raw.params.clone())
        .require_ton_v4()
        .with_code(code)
        .with_message_balance(message.balance_remaining.clone())
        .with_prev_blocks_info(previous_blocks(state.params))
        .with_storage_fees(storage_fee)
        .require_ton_v6()
        .with_unpacked_config(state.config.unpacked.as_tuple())
        .with_due_payment(state.storage_stat.due_payment.unwrap_or_default())
        .require_ton_v11()
        .with_unpacked_in_msg(unpacked(message)?))
}

/// The one block that came before; this chain has no key blocks.
fn previous_blocks(params: &ExecutorParams) -> SafeRc<Tuple> {
    params.prev_mc_block_id.as_ref().map(|block| SafeRc::new(tuple![[raw SafeRc::new(block_tuple(block))]])).unwrap_or_default()
}

fn block_tuple(block: &BlockId) -> Tuple {
    tuple![
        int block.shard.workchain(),
        int block.shard.prefix(),
        int block.seqno,
        int block.root_hash.as_bigint(),
        int block.file_hash.as_bigint(),
    ]
}

/// An internal message, taken apart.
fn unpacked(message: &ReceivedMessage) -> Result<Option<SafeRc<Tuple>>, Error> {
    let mut slice = message.root.as_slice()?;
    if MsgType::load_from(&mut slice)? != MsgType::Int {
        return Ok(None);
    }
    let info = IntMsgInfo::load_from(&mut slice.clone())?;
    slice.skip_first(3, 0)?;
    let mut source = slice;
    IntAddr::load_from(&mut slice)?;
    source.skip_last(slice.size_bits(), slice.size_refs())?;
    let parts = UnpackedInMsgSmcInfo {
        bounce: info.bounce,
        bounced: info.bounced,
        src_addr: OwnedCellSlice::from((source.range(), message.root.clone())),
        fwd_fee: info.fwd_fee,
        created_lt: info.created_lt,
        created_at: info.created_at,
        original_value: info.value.tokens,
        remaining_value: message.balance_remaining.clone(),
        state_init: message.init.as_ref().map(|init| init.root.clone()),
    };
    Ok(Some(parts.into_tuple()))
}

impl Computed {
    /// Whether there may be actions to take.
    pub(super) fn succeeded(&self) -> Option<&ExecutedComputePhase> {
        match &self.phase.compute_phase {
            ComputePhase::Executed(phase) if phase.success => Some(phase),
            ComputePhase::Executed(_) | ComputePhase::Skipped(_) => None,
        }
    }
}
