//! One message, one transaction.

use tycho_executor::phase::{ActionPhaseContext, ActionPhaseFull, BouncePhaseContext, ReceivedMessage, StoragePhaseContext};
use tycho_executor::{Executor, ExecutorOutput, ExecutorParams, ExecutorState, ParsedConfig, TxError, UncommittedTransaction};
use tycho_types::cell::Cell;
use tycho_types::models::{
    AccountStatus, BouncePhase, BounceReason, ComputePhase, CreditPhase, MsgInfo, NewBounceComputePhaseInfo, OrdinaryTxInfo, ShardAccount,
    StdAddr, StoragePhase,
};
use tycho_types::num::Tokens;

use super::actions::without_ignored_modes;
use super::compute::{Computed, compute};
use super::footprint;

/// What surrounds a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Environment<'a> {
    /// Prices and limits.
    pub(super) config: &'a ParsedConfig,
    /// The block it will stand in.
    pub(super) block: &'a ExecutorParams,
    /// The least logical time it may have.
    pub(super) lt_min: u64,
}

/// From where a message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Outside,
    Account,
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A transaction.
    Executed(Box<Executed>),
    /// The account did not accept the message, which leaves no trace on the chain.
    NotAccepted { exit_code: Option<i32> },
}

/// A transaction and what it changed.
#[derive(Debug)]
pub(super) struct Executed {
    pub(super) after: ShardAccount,
    pub(super) transaction: Cell,
    pub(super) lt: u64,
    pub(super) lt_end: u64,
    /// Messages to other accounts, with their logical times.
    pub(super) sent: Vec<(u64, Cell)>,
    /// Fees that left the accounts for good, the arriving message's forwarding fee included.
    pub(super) fees_nano: u128,
    /// Value destroyed.
    pub(super) burned_nano: u128,
    pub(super) gas_used: u64,
}

/// Runs `message` against `before`.
///
/// This is the only place that runs contract code on the way to a transaction.
pub(super) fn execute(
    environment: Environment<'_>,
    address: &StdAddr,
    origin: Origin,
    message: &Cell,
    before: &ShardAccount,
) -> Result<Outcome, TxError> {
    let executor = Executor::new(environment.block, environment.config).with_min_lt(environment.lt_min);
    let mut state = executor.begin(address, before.load_account()?)?;
    let received = match (state.receive_in_msg(message.clone()), origin) {
        (Ok(received), _) if received.is_external == (origin == Origin::Outside) => received,
        (_, Origin::Outside) => return Ok(Outcome::NotAccepted { exit_code: None }),
        (Err(error), Origin::Account) => return Err(error.into()),
        (Ok(_), Origin::Account) => return Err(tycho_types::error::Error::InvalidTag.into()),
    };
    match phases(&mut state, received)? {
        Phases::Done { info, gas_used } => {
            footprint::update(&mut state, before)?;
            let transaction = UncommittedTransaction::with_info(state, before, Some(message.clone()), *info)?;
            Executed::of(transaction.commit()?, message, gas_used).map(|done| Outcome::Executed(Box::new(done)))
        }
        Phases::NotAccepted { exit_code } => Ok(Outcome::NotAccepted { exit_code }),
    }
}

/// How far the phases of a transaction came.
#[derive(Debug)]
enum Phases {
    Done { info: Box<OrdinaryTxInfo>, gas_used: u64 },
    NotAccepted { exit_code: Option<i32> },
}

/// Goes through the phases: storage and credit, compute, then action or bounce.
fn phases(state: &mut ExecutorState<'_>, mut received: ReceivedMessage) -> Result<Phases, TxError> {
    let (storage, credit) = storage_and_credit(state, &mut received)?;
    let mut computed = compute(state, &received, storage.storage_fees_collected)?;
    if received.is_external && !computed.phase.accepted {
        return Ok(Phases::NotAccepted { exit_code: computed.exit_code });
    }
    let acted = act(state, &mut received, &mut computed)?;
    let bounced = bounce(state, &received, &computed.phase.compute_phase, acted.as_ref())?;
    let info = OrdinaryTxInfo {
        credit_first: !received.bounce_enabled,
        storage_phase: Some(storage),
        credit_phase: credit,
        aborted: !acted.as_ref().is_some_and(|acted| acted.action_phase.success),
        destroyed: acted.is_some() && state.end_status == AccountStatus::NotExists,
        compute_phase: computed.phase.compute_phase,
        action_phase: acted.map(|acted| acted.action_phase),
        bounce_phase: bounced,
    };
    Ok(Phases::Done { info: Box::new(info), gas_used: computed.gas_used })
}

/// Rent is taken before a message that may bounce is credited, so that its value comes back whole, and after any other.
fn storage_and_credit(
    state: &mut ExecutorState<'_>,
    received: &mut ReceivedMessage,
) -> Result<(StoragePhase, Option<CreditPhase>), TxError> {
    let rent_first = received.bounce_enabled;
    let storage = |state: &mut ExecutorState<'_>, received: &mut ReceivedMessage| {
        let context = StoragePhaseContext { adjust_msg_balance: !rent_first, received_message: Some(received), inspector: None };
        state.storage_phase(context)
    };
    let credit = |state: &mut ExecutorState<'_>, received: &ReceivedMessage| {
        (!received.is_external).then(|| state.credit_phase(received)).transpose()
    };
    if rent_first {
        let storage = storage(state, received)?;
        Ok((storage, credit(state, received)?))
    } else {
        let credit = credit(state, received)?;
        Ok((storage(state, received)?, credit))
    }
}

/// The action phase, if there is anything to act upon.
fn act(state: &mut ExecutorState<'_>, received: &mut ReceivedMessage, computed: &mut Computed) -> Result<Option<ActionPhaseFull>, TxError> {
    let new_state = std::mem::take(&mut computed.phase.new_state);
    let actions = std::mem::take(&mut computed.phase.actions);
    let original_balance = std::mem::take(&mut computed.phase.original_balance);
    let Some(compute_phase) = computed.succeeded() else { return Ok(None) };
    let action_list_hash = *actions.repr_hash();
    let actions = without_ignored_modes(&actions)?.unwrap_or(actions);
    let context =
        ActionPhaseContext { received_message: Some(received), original_balance, new_state, actions, compute_phase, inspector: None };
    let mut acted = state.action_phase(context)?;
    acted.action_phase.action_list_hash = action_list_hash;
    // TON writes no argument where the executor writes the first action, whose number is zero.
    acted.action_phase.result_arg = acted.action_phase.result_arg.filter(|action| *action != 0);
    Ok(Some(acted))
}

/// Sends back a message that came to nothing, if it asks for that.
fn bounce(
    state: &mut ExecutorState<'_>,
    received: &ReceivedMessage,
    computed: &ComputePhase,
    acted: Option<&ActionPhaseFull>,
) -> Result<Option<BouncePhase>, TxError> {
    let failed = acted.is_none_or(|acted| acted.state_exceeds_limits || acted.bounce);
    if !received.bounce_enabled || !failed {
        return Ok(None);
    }
    let reason = match (acted, computed) {
        (Some(acted), _) => BounceReason::ActionPhaseFailed { result_code: acted.action_phase.result_code },
        (None, ComputePhase::Executed(phase)) => BounceReason::ComputePhaseFailed { exit_code: phase.exit_code },
        (None, ComputePhase::Skipped(skipped)) => BounceReason::ComputePhaseSkipped(skipped.reason),
    };
    let (gas_fees, compute_phase_info) = match computed {
        ComputePhase::Executed(phase) => {
            let gas_used = u32::try_from(phase.gas_used.into_inner()).unwrap_or(u32::MAX);
            (phase.gas_fees, Some(NewBounceComputePhaseInfo { gas_used, vm_steps: phase.vm_steps }))
        }
        ComputePhase::Skipped(_) => (Tokens::ZERO, None),
    };
    let action_fine = acted.map_or(Tokens::ZERO, |acted| acted.action_fine);
    let context = BouncePhaseContext { gas_fees, action_fine, received_message: received, reason, compute_phase_info };
    let available = received.balance_remaining.tokens.checked_sub(gas_fees).and_then(|rest| rest.checked_sub(action_fine));
    let mut phase = state.bounce_phase(context)?;
    if let BouncePhase::NoFunds(short) = &mut phase {
        // The executor says what is missing, TON what is needed.
        short.req_fwd_fees = short.req_fwd_fees.checked_add(available.unwrap_or_default()).unwrap_or(short.req_fwd_fees);
    }
    Ok(Some(phase))
}

impl Executed {
    fn of(output: ExecutorOutput, message: &Cell, gas_used: u64) -> Result<Self, TxError> {
        let mut sent = Vec::new();
        for message in &output.transaction_meta.out_msgs {
            if let MsgInfo::Int(info) = message.inner().parse::<MsgInfo>()? {
                sent.push((info.created_lt, message.inner().clone()));
            }
        }
        let arrival_fee = match message.parse::<MsgInfo>()? {
            MsgInfo::Int(info) => info.fwd_fee.into_inner(),
            MsgInfo::ExtIn(_) | MsgInfo::ExtOut(_) => 0,
        };
        Ok(Self {
            lt: output.new_state.last_trans_lt,
            lt_end: output.transaction_meta.next_lt,
            after: output.new_state,
            transaction: output.transaction.into_inner(),
            sent,
            fees_nano: output.transaction_meta.total_fees.into_inner().saturating_add(arrival_fee),
            burned_nano: output.burned.into_inner(),
            gas_used,
        })
    }
}
