//! One message, one transaction.

use tycho_executor::{Executor, ExecutorInspector, ExecutorOutput, ExecutorParams, ParsedConfig, TxError};
use tycho_types::cell::Cell;
use tycho_types::models::{MsgInfo, ShardAccount, StdAddr};

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
/// This is the only place that runs contract code on the way to a transaction, so that another compute phase (one that knows the
/// BLS12-381 instructions, say) has one place to go.
pub(super) fn execute(
    environment: Environment<'_>,
    address: &StdAddr,
    origin: Origin,
    message: &Cell,
    before: &ShardAccount,
) -> Result<Outcome, TxError> {
    let mut inspector = ExecutorInspector::default();
    let executor = Executor::new(environment.block, environment.config).with_min_lt(environment.lt_min);
    let result = executor.begin_ordinary_ext(address, origin == Origin::Outside, message.clone(), before, Some(&mut inspector));
    let (exit_code, gas_used) = (inspector.exit_code, inspector.total_gas_used);
    match result {
        Ok(transaction) => Executed::of(transaction.commit()?, message, gas_used).map(|done| Outcome::Executed(Box::new(done))),
        Err(TxError::Skipped) => Ok(Outcome::NotAccepted { exit_code }),
        Err(error @ TxError::Fatal(_)) => Err(error),
    }
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
