//! Where the library's instructions are not TON's, found by running all of them on TON's emulator.
//!
//! | instructions | in the library | on TON, and here |
//! |---|---|---|
//! | `6F90` to `6F97`, `F802`, `F804`, `F805`, `F917`, `F918` | do something | are invalid |
//! | `ED4x` to `EDCx` with a register that does not exist | invalid, at the price of an instruction of 16 bits | invalid |
//! | keys of dictionaries and sums of money that do not fit | fail with 4 | fail with 5 |
//! | deleting a key that does not fit from a dictionary | finds nothing | fails with 5 |
//! | unsigned stores and unsigned keys of dictionaries, given a negative number | take the lowest bits of it | fail with 5, or find nothing |
//! | `E3C0` to `E3FF`: jump to a reference if a bit is set, or is not | the number of the bit is run as code | as TON's handbook says |

use num_bigint::{BigInt, Sign};
use tycho_types::error::Error;
use tycho_vm::{RcStackValue, SafeRc, Stack, VmError, VmResult, VmState};

/// What an invalid instruction costs.
const INVALID_GAS: u64 = 10;
/// What an instruction of 16 bits costs.
const WORD_GAS: u64 = 26;

/// The least number that no value on a stack is large enough for: 2^256.
const TOO_LARGE: [u8; 33] = {
    let mut bytes = [0; 33];
    bytes[0] = 1;
    bytes
};

/// Executes the next instruction if it is one of these.
pub(super) fn step(vm: &mut VmState<'_>) -> Option<VmResult<i32>> {
    let slice = vm.code.apply();
    let word = if slice.size_bits() < 16 { return None } else { u16::try_from(slice.get_uint(0, 16).ok()?).ok()? };
    let result = match word {
        0xe3c0..=0xe3ff => jump_by_bit(vm, word),
        _ if is_unknown(word) => invalid(vm),
        0xf45a | 0xf45b | 0xf464..=0xf467 if !deletes_what_fits(vm, word) => out_of_range(vm),
        0xf400..=0xf4ff | 0xfa02..=0xfa07 | 0xcb00..=0xcf0f => return Some(step_in_range(vm, word)),
        _ => return None,
    };
    vm.steps = vm.steps.saturating_add(1);
    Some(result)
}

/// Where an instruction takes a number that must not be negative, counted from the top of the stack.
const fn unsigned_operand(word: u16) -> Option<usize> {
    Some(match word {
        // STU, and its forms with the length in the code or on the stack, reversed or quiet.
        0xcb00..=0xcbff | 0xcf03 | 0xcf07 | 0xcf09 | 0xcf0d => 1,
        0xcf01 | 0xcf05 => 2,
        // STUR and the sums of money.
        0xcf0b | 0xcf0f | 0xfa02 | 0xfa06 => 0,
        // DICTU: GET, SET, SETGET, REPLACE, REPLACEGET, ADD, ADDGET; the same with builders; DEL, DELGET.
        0xf40e | 0xf40f | 0xf416 | 0xf417 | 0xf41e | 0xf41f | 0xf426 | 0xf427 | 0xf42e | 0xf42f | 0xf436 | 0xf437 | 0xf43e | 0xf43f
        | 0xf443 | 0xf447 | 0xf44b | 0xf44f | 0xf453 | 0xf457 | 0xf45b | 0xf466 | 0xf467 | 0xf46b | 0xf46f
        // DICTUGETJMP and its relatives.
        | 0xf4a1 | 0xf4a3 | 0xf4bd | 0xf4bf => 2,
        _ => return None,
    })
}

/// Whether the key that is to be deleted from a dictionary has the dictionary's size. If the values are wrong otherwise, the library says so.
fn deletes_what_fits(vm: &VmState<'_>, word: u16) -> bool {
    let item = |from_top| vm.stack.depth().checked_sub(from_top).and_then(|at| vm.stack.items.get(at)).and_then(|item| item.as_int());
    let (Some(key), Some(bits)) = (item(3), item(1).and_then(|bits| u64::try_from(bits).ok())) else { return true };
    let is_unsigned = matches!(word, 0xf45b | 0xf466 | 0xf467);
    match (is_unsigned, key.sign()) {
        (true, Sign::Minus) => false,
        (true, _) => key.bits() <= bits,
        (false, Sign::Minus) => (!key.clone()).bits() < bits,
        (false, _) => key.bits() < bits || bits == 0 && key.sign() == Sign::NoSign,
    }
}

fn out_of_range(vm: &VmState<'_>) -> VmResult<i32> {
    vm.gas.try_consume(WORD_GAS)?;
    Err(does_not_fit())
}

fn does_not_fit() -> Box<VmError> {
    Box::new(VmError::IntegerOutOfRange { min: 0, max: isize::MAX, actual: String::from("a number that does not fit") })
}

/// Lets the library execute an instruction that takes a number of a certain size, and calls a number that does not fit out of range.
fn step_in_range(vm: &mut VmState<'_>, word: u16) -> VmResult<i32> {
    let result = unsigned_operand(word).and_then(|from_top| without_negative(vm, word, from_top)).unwrap_or_else(|| vm.step());
    result.map_err(|error| match *error {
        VmError::CellError(Error::IntOverflow) => does_not_fit(),
        _ => error,
    })
}

/// Lets the library execute an instruction with a number that is too large where there is one below zero: of that it knows what to do.
fn without_negative(vm: &mut VmState<'_>, word: u16, from_top: usize) -> Option<VmResult<i32>> {
    let at = vm.stack.depth().checked_sub(from_top.checked_add(1)?)?;
    let negative = vm.stack.items.get(at).filter(|item| item.as_int().is_some_and(|number| number.sign() == Sign::Minus))?.clone();
    let too_large = RcStackValue::new_dyn_value(BigInt::from_bytes_be(Sign::Plus, &TOO_LARGE));
    *SafeRc::make_mut(&mut vm.stack).items.get_mut(at)? = too_large;
    let result = vm.step();
    // Quiet stores leave what they could not store: a number that is none, to the library.
    if matches!(word, 0xcf05 | 0xcf07 | 0xcf0d | 0xcf0f) {
        let nan = |item: &RcStackValue| item.raw_ty() == Stack::make_nan().raw_ty() && item.as_int().is_none();
        let mut left = SafeRc::make_mut(&mut vm.stack).items.iter_mut().rev().take(3);
        if let Some(item) = left.find(|item| nan(item)) {
            *item = negative;
        }
    }
    Some(result)
}

const fn is_unknown(word: u16) -> bool {
    match word {
        0x6f90..=0x6f97 | 0xf802 | 0xf804 | 0xf805 | 0xf917 | 0xf918 => true,
        0xed40..=0xedcf => matches!(word & 0xf, 6 | 8..),
        _ => false,
    }
}

fn invalid(vm: &VmState<'_>) -> VmResult<i32> {
    vm.gas.try_consume(INVALID_GAS)?;
    Err(Box::new(VmError::InvalidOpcode))
}

/// Looks at a bit of the number on top, which stays there, and jumps to the next reference if it is as the instruction wants it.
fn jump_by_bit(vm: &mut VmState<'_>, word: u16) -> VmResult<i32> {
    let (bit, wanted) = (u64::from(word & 0x1f), word & 0x20 == 0);
    let Ok(target) = vm.code.apply().get_reference_cloned(0) else { return invalid(vm) };
    vm.gas.try_consume(WORD_GAS)?;
    vm.code.range_mut().skip_first(16, 1)?;
    let stack = SafeRc::make_mut(&mut vm.stack);
    let number = stack.pop_int()?;
    let is_set = number.bit(bit);
    stack.push_raw(number)?;
    if is_set != wanted {
        return Ok(0);
    }
    let code = vm.ref_to_cont(target)?;
    vm.jump(code)
}
