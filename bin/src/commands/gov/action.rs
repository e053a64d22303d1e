//! What is voted on: read from the command line, checked before it is proposed, found again, and told.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use cocoon_market::Amount;
use cocoon_settlement::chain::{Address, Bounce};
use cocoon_settlement::contract::{Action, CellError, ContractMessage, Decision, GovernorData, LockMessage, RegistryData};
use cocoon_settlement::economy::genesis::TREASURY;
use cocoon_settlement::economy::parameter::ParameterError;
use cocoon_settlement::ledger::{Ledger, LedgerError, Order, OrderId};
use cocoon_settlement::settler::Placed;

use crate::cli::{ActionCommand, ParameterName};
use crate::commands::telling::account_of;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{cocoon_text, time_text, ton_text};

/// The largest file that is read as a key: one is a few kilobytes.
const KEY_BYTES_MAX: u64 = 1 << 20;

/// Orders looked through at a time.
const ORDERS_A_PAGE: usize = 256;

/// Why something cannot be proposed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActionError {
    #[error("{name} stays as it is: {}", parameter_text(*.source))]
    Parameter { name: ParameterName, source: ParameterError },
    #[error("nothing is asked for: the amount is zero")]
    Nothing,
    #[error("{} is asked for, and the treasury has {} that is not spent", cocoon_text(*asked), cocoon_text(*left))]
    Treasury { asked: Amount, left: Amount },
    #[error("cannot read {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} has {bytes} bytes, which is more than any key", path.display())]
    Large { path: PathBuf, bytes: u64 },
    #[error("{} is no bag of cells", path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: CellError,
    },
}

impl NextStep for ActionError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Parameter { source: ParameterError::Cooling { .. }, .. } => "after that".into(),
            Self::Parameter { .. } => "another value; docs/economy.md has all bounds and steps".into(),
            Self::Nothing => "an amount above zero".into(),
            Self::Treasury { .. } => "less".into(),
            Self::File { .. } => "the path of a file that this user may read".into(),
            Self::Large { .. } | Self::Key { .. } => "the file that whoever made the circuit's key published".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Nothing | Self::File { .. } | Self::Large { .. } | Self::Key { .. } => Exit::Usage,
            Self::Parameter { .. } | Self::Treasury { .. } => Exit::Failed,
        }
    }
}

/// The same, with times that people read.
fn parameter_text(error: ParameterError) -> String {
    match error {
        ParameterError::Cooling { until_s } => format!("it was changed lately, and can be again from {}", time_text(until_s.into())),
        ParameterError::Bounds { .. } | ParameterError::Step { .. } | ParameterError::Same { .. } => error.to_string(),
    }
}

/// What the command line asks to be voted on.
pub(super) fn action_of(command: &ActionCommand) -> Result<Action, Failure> {
    Ok(match command {
        ActionCommand::Parameter { name, value, .. } => Action::SetParameter { which: name.parameter().place(), value: *value },
        ActionCommand::SpendCocoon { amount, to, .. } => Action::SpendCocoon { to: account_of(*to)?, amount: *amount },
        ActionCommand::SpendTon { amount, to, .. } => Action::SpendTon { to: account_of(*to)?, amount: *amount },
        ActionCommand::Standards { hash, .. } => Action::SetStandards(*hash),
        ActionCommand::Auditors { list, commitment, .. } => Action::SetAuditors { list: *list, commitment: *commitment },
        ActionCommand::Key { circuit, file, .. } => key_of(*circuit, file.clone())?,
    })
}

/// A key from a file: a bag of cells, as it is or in base64.
fn key_of(circuit: u8, path: PathBuf) -> Result<Action, ActionError> {
    let content = match read(&path) {
        Ok(Ok(content)) => content,
        Ok(Err(bytes)) => return Err(ActionError::Large { path, bytes }),
        Err(source) => return Err(ActionError::File { path, source }),
    };
    Action::verifying_key(circuit, &content).map_err(|source| ActionError::Key { path, source })
}

/// The file, or how large it is if that is too large.
fn read(path: &Path) -> std::io::Result<Result<Vec<u8>, u64>> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > KEY_BYTES_MAX { Ok(Err(bytes)) } else { std::fs::read(path).map(Ok) }
}

/// Whether it could be carried out as things are, so that nobody votes for what its bounds refuse.
pub(super) fn check(action: &Action, registry: &Placed<RegistryData>, governor: &GovernorData) -> Result<(), ActionError> {
    match action {
        Action::SetParameter { which, value } => {
            let Some(name) = ParameterName::at(*which) else { return Ok(()) };
            let mut setting = registry.data.setting(name.parameter());
            setting.set(*value, registry.now_s()).map_err(|source| ActionError::Parameter { name, source })
        }
        Action::SpendCocoon { amount, .. } | Action::SpendTon { amount, .. } if amount.is_zero() => Err(ActionError::Nothing),
        Action::SpendCocoon { amount, .. } => {
            let left = TREASURY.saturating_sub(governor.spent);
            if *amount > left { Err(ActionError::Treasury { asked: *amount, left }) } else { Ok(()) }
        }
        Action::SpendTon { .. } | Action::SetVerifyingKey { .. } | Action::SetAuditors { .. } | Action::SetStandards(_) => Ok(()),
    }
}

/// What it would do, as the end of a sentence.
pub(super) fn action_text(action: &Action) -> String {
    let to = |account| Address::from(account).friendly(Bounce::No);
    match action {
        Action::SetParameter { which, value } => match ParameterName::at(*which) {
            Some(name) => format!("set {name} to {value}"),
            None => format!("set the parameter {which}, which there is not, to {value}"),
        },
        Action::SetVerifyingKey { circuit, .. } => format!("replace the verifying key of circuit {circuit}"),
        Action::SetAuditors { list, commitment } => format!("name the auditors of the list {list} with the commitment {commitment}"),
        Action::SetStandards(hash) => format!("believe the models and nodes of the document {hash}"),
        Action::SpendCocoon { to: whom, amount } => format!("send {} of the treasury to {}", cocoon_text(*amount), to(*whom)),
        Action::SpendTon { to: whom, amount } => format!("send {} of the treasury to {}", ton_text(*amount), to(*whom)),
    }
}

/// What this node proposed, from its ledger; none if somebody else did.
pub(super) fn from_ledger(ledger: &Ledger, decision: &Decision) -> Result<Option<Action>, LedgerError> {
    let mut from = OrderId(0);
    loop {
        let orders = ledger.orders(from, ORDERS_A_PAGE)?;
        let Some((last, _)) = orders.last() else { return Ok(None) };
        from = OrderId(last.0.saturating_add(1));
        let proposed = orders.into_iter().filter_map(|(_, record)| match record.order {
            Order::Tell { message: ContractMessage::Lock(LockMessage::Propose(action)), .. } => Some(action),
            _ => None,
        });
        let mut wanted = proposed.filter(|action| action.hash().is_ok_and(|hash| hash == decision.action));
        if let Some(action) = wanted.next() {
            return Ok(Some(action));
        }
    }
}
