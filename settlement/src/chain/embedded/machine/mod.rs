//! TON's virtual machine with the instructions that the library behind it lacks.
//!
//! The library decides what an instruction does by a table that cannot be extended, but its steps are public. So this is the loop
//! around them: an instruction of ours is executed here, every other one there. What the library does between steps has to be here as
//! well: exceptions, the end of gas, and the return from machines within the machine (`RUNVM`).

mod bls;
mod curve;
mod quirks;

use num_bigint::BigInt;
use tycho_types::prelude::Cell;
use tycho_vm::{CommittedState, ParentVmState, RcStackValue, SafeRc, Stack, VmException, VmResult, VmState};

/// How a machine without code ends.
const NO_CODE: i32 = 12;

/// Runs to the end and returns the exit code.
pub(super) fn run(vm: &mut VmState<'_>) -> i32 {
    if vm.throw_on_code_access {
        return !NO_CODE;
    }
    let mut end = run_one(vm);
    while let Some(parent) = vm.parent.take() {
        end = match return_to(vm, *parent, !end) {
            Ok(()) => run_one(vm),
            Err(OutOfGas) => out_of_gas(vm),
        };
    }
    !end
}

/// The gas of a machine is used up.
#[derive(Debug)]
struct OutOfGas;

/// Steps until the innermost machine ends, which it tells by a number other than zero: the exit code with its bits inverted.
fn run_one(vm: &mut VmState<'_>) -> i32 {
    let mut end = 0;
    while end == 0 {
        end = match step(vm) {
            Ok(end) => end,
            Err(error) if error.is_out_of_gas() => out_of_gas(vm),
            Err(error) => match throw(vm, error.as_exception()) {
                Ok(end) => end,
                Err(double) => return double,
            },
        };
    }
    let good = matches!(!end, 0 | 1);
    if good && !vm.try_commit() {
        vm.stack = SafeRc::new(Stack::with_items(vec![Stack::make_zero()]));
        return VmException::CellOverflow.as_exit_code();
    }
    end
}

/// Executes the next instruction, wherever it is known.
fn step(vm: &mut VmState<'_>) -> VmResult<i32> {
    bls::step(vm).or_else(|| quirks::step(vm)).unwrap_or_else(|| vm.step())
}

/// Hands an exception to whatever the code has set up for it. Fails if that cannot be done, either.
fn throw(vm: &mut VmState<'_>, exception: VmException) -> Result<i32, i32> {
    vm.steps = vm.steps.saturating_add(1);
    match vm.throw_exception(!exception.as_exit_code()) {
        Ok(end) => Ok(end),
        Err(error) if error.is_out_of_gas() => Ok(out_of_gas(vm)),
        Err(_) => Err(exception.as_exit_code()),
    }
}

fn out_of_gas(vm: &mut VmState<'_>) -> i32 {
    vm.steps = vm.steps.saturating_add(1);
    vm.throw_out_of_gas()
}

/// Goes on with the machine that started the one that just ended with `exit_code`, and leaves its results there.
fn return_to<'a>(vm: &mut VmState<'a>, parent: ParentVmState<'a>, exit_code: i32) -> Result<(), OutOfGas> {
    let child_stack = std::mem::replace(&mut vm.stack, parent.stack);
    let child_state = std::mem::replace(&mut vm.committed_state, parent.committed_state);
    let child_gas = vm.gas.restore(parent.gas);
    vm.code = parent.code;
    vm.signature_domains = parent.signature_domains;
    vm.cr = parent.cr;
    vm.steps = vm.steps.saturating_add(parent.steps);
    vm.quit0 = parent.quit0;
    vm.quit1 = parent.quit1;
    vm.cp = parent.cp;
    vm.parent = parent.parent;

    let gas_used = child_gas.gas_consumed;
    vm.gas.try_consume(gas_used.min(child_gas.gas_limit.saturating_add(1))).map_err(|_| OutOfGas)?;
    let (exit_code, placeholder, returned) = returned(&child_stack, parent.return_values, exit_code);
    let from = child_stack.depth().saturating_sub(returned);
    vm.gas.try_consume_stack_depth_gas(returned).map_err(|_| OutOfGas)?;

    let (data, actions) = child_state.map_or((None, None), |CommittedState { c4, c5 }| (Some(c4), Some(c5)));
    let items = &mut SafeRc::make_mut(&mut vm.stack).items;
    items.extend(placeholder.then(Stack::make_zero));
    items.extend(child_stack.items.iter().skip(from).cloned());
    items.push(RcStackValue::new_dyn_value(BigInt::from(exit_code)));
    items.extend(parent.return_data.then(|| cell_or_null(data)));
    items.extend(parent.return_actions.then(|| cell_or_null(actions)));
    items.extend(parent.return_gas.then(|| RcStackValue::new_dyn_value(BigInt::from(gas_used))));
    Ok(())
}

/// How the machine within ended as seen from outside, whether a zero stands for what it failed to return, and how many of its values
/// are taken over.
fn returned(child: &Stack, wanted: Option<u32>, exit_code: i32) -> (i32, bool, usize) {
    let wanted = wanted.map(|wanted| usize::try_from(wanted).unwrap_or(usize::MAX));
    match (exit_code, wanted) {
        (0 | 1, Some(wanted)) if child.depth() < wanted => (VmException::StackUnderflow.as_exit_code(), true, 0),
        (0 | 1, Some(wanted)) => (exit_code, false, wanted),
        (0 | 1, None) => (exit_code, false, child.depth()),
        _ => (exit_code, false, child.depth().min(1)),
    }
}

fn cell_or_null(cell: Option<Cell>) -> RcStackValue {
    cell.map_or_else(Stack::make_null, RcStackValue::new_dyn_value)
}

#[cfg(test)]
mod tests;
