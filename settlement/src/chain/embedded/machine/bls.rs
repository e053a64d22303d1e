//! The BLS12-381 instructions, `F930xx`.
//!
//! | code | instruction | takes, the last on top | leaves | gas, 34 for the instruction apart |
//! |---|---|---|---|---|
//! | 00 | `BLS_VERIFY` | key, message, signature | bool | 61,000 |
//! | 01 | `BLS_AGGREGATE` | n ≥ 1 signatures, n | signature | 4,350n − 2,650 |
//! | 02 | `BLS_FASTAGGREGATEVERIFY` | n keys, n, message, signature | bool | 58,000 + 3,000n |
//! | 03 | `BLS_AGGREGATEVERIFY` | n times key and message, n, signature | bool | 38,500 + 22,500n |
//! | 10, 11 / 20, 21 | `ADD`, `SUB` | two points | point | 3,900 / 6,100 |
//! | 12 / 22 | `NEG` | point | point | 750 / 1,550 |
//! | 13 / 23 | `MUL` | point, number | point | 5,200 / 10,550 |
//! | 14 / 24 | `MULTIEXP` | n times point and number, n | point | see [`Prices::sum_of_products`] |
//! | 15 / 25 | `ZERO` | | point | 0 |
//! | 16 / 26 | `MAP_TO` | 48 / 96 bytes | point | 2,350 / 7,950 |
//! | 17 / 27 | `INGROUP` | point | bool | 2,950 / 4,250 |
//! | 18 / 28 | `ISZERO` | point | bool | 0 |
//! | 30 | `BLS_PAIRING` | n times first and second point, n | bool | 20,000 + 11,800n |
//! | 31 | `BLS_PUSHR` | | number | 0 |
//!
//! How they fail, as in TON's own machine: too few values, 2; a count out of range, 5; a value of another type, 7; a slice too short
//! or a message of a fraction of bytes, 9; bytes that are no point, or a point outside of the subgroup where that is checked, 11. The
//! gas is taken after the values were counted and before they are looked at. Those that leave a bool say no to bytes that are no point, but
//! for the pairing.
//!
//! # Source
//! `crypto/vm/{tonops,bls}.cpp` of ton-blockchain/ton, read for what it does.

use tycho_types::cell::CellBuilder;
use tycho_vm::{OwnedCellSlice, SafeRc, Stack, VmError, VmResult, VmState};

use super::curve::{self, BadPoint, G1, G2, Group, Scalar};

/// The first 16 of the 24 bits.
const PREFIX: u32 = 0xf930;
/// Bits of an instruction.
const CODE_BITS: u16 = 24;
/// What every instruction of 24 bits costs.
const CODE_GAS: u64 = 34;
/// Bytes of a message; what a cell has room for.
const MESSAGE_BYTES_MAX: u16 = 127;

const VERIFY_GAS: u64 = 61_000;
const AGGREGATE_EACH_GAS: u64 = 4_350;
const AGGREGATE_REBATE_GAS: u64 = 2_650;
const VERIFY_SUM_GAS: (u64, u64) = (58_000, 3_000);
const VERIFY_EACH_GAS: (u64, u64) = (38_500, 22_500);
const PAIRING_GAS: (u64, u64) = (20_000, 11_800);

/// What the instructions of one group cost.
#[derive(Debug)]
struct Prices {
    add: u64,
    negate: u64,
    multiply: u64,
    sum_base: u64,
    sum_each: u64,
    sum_each_shared: u64,
    map: u64,
    in_group: u64,
}

const G1_PRICES: Prices = Prices {
    add: 3_900,
    negate: 750,
    multiply: 5_200,
    sum_base: 11_375,
    sum_each: 630,
    sum_each_shared: 8_820,
    map: 2_350,
    in_group: 2_950,
};

const G2_PRICES: Prices = Prices {
    add: 6_100,
    negate: 1_550,
    multiply: 10_550,
    sum_base: 30_388,
    sum_each: 1_280,
    sum_each_shared: 22_840,
    map: 7_950,
    in_group: 4_250,
};

impl Prices {
    /// A part of the work is shared among the terms, the more of them the better: by the logarithm of their number, but at least by four.
    fn sum_of_products(&self, count: u64) -> u64 {
        let shares = u64::from(count.checked_ilog2().unwrap_or(0).max(4));
        let shared = count.saturating_mul(self.sum_each_shared).checked_div(shares).unwrap_or(u64::MAX);
        self.sum_base.saturating_add(count.saturating_mul(self.sum_each)).saturating_add(shared)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instruction {
    Verify,
    Aggregate,
    VerifySum,
    VerifyEach,
    First(GroupInstruction),
    Second(GroupInstruction),
    Pairing,
    PushOrder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GroupInstruction {
    Add,
    Subtract,
    Negate,
    Multiply,
    SumOfProducts,
    Zero,
    Map,
    InGroup,
    IsZero,
}

impl Instruction {
    const fn of(code: u8) -> Option<Self> {
        match code {
            0x00 => Some(Self::Verify),
            0x01 => Some(Self::Aggregate),
            0x02 => Some(Self::VerifySum),
            0x03 => Some(Self::VerifyEach),
            0x30 => Some(Self::Pairing),
            0x31 => Some(Self::PushOrder),
            _ => match (code >> 4, GroupInstruction::of(code & 0xf)) {
                (1, Some(instruction)) => Some(Self::First(instruction)),
                (2, Some(instruction)) => Some(Self::Second(instruction)),
                _ => None,
            },
        }
    }
}

impl GroupInstruction {
    const fn of(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Add,
            1 => Self::Subtract,
            2 => Self::Negate,
            3 => Self::Multiply,
            4 => Self::SumOfProducts,
            5 => Self::Zero,
            6 => Self::Map,
            7 => Self::InGroup,
            8 => Self::IsZero,
            _ => return None,
        })
    }
}

/// Executes the next instruction if it is one of these.
pub(super) fn step(vm: &mut VmState<'_>) -> Option<VmResult<i32>> {
    let (instruction, whole) = next(&vm.code)?;
    vm.steps = vm.steps.saturating_add(1);
    Some(run(vm, instruction, whole).map(|()| 0))
}

/// The next instruction, and whether all of its bits are there: the machine reads zeros beyond the end.
fn next(code: &OwnedCellSlice) -> Option<(Instruction, bool)> {
    let slice = code.apply();
    let bits = slice.size_bits().min(CODE_BITS);
    let missing = CODE_BITS.saturating_sub(bits);
    let word = u32::try_from(slice.get_uint(0, bits).ok()?).ok()?.checked_shl(u32::from(missing))?;
    let [_, high, middle, low] = word.to_be_bytes();
    if u32::from(u16::from_be_bytes([high, middle])) != PREFIX {
        return None;
    }
    Instruction::of(low).map(|instruction| (instruction, missing == 0))
}

fn run(vm: &mut VmState<'_>, instruction: Instruction, whole: bool) -> VmResult<()> {
    vm.gas.try_consume(CODE_GAS)?;
    if !whole {
        return Err(Box::new(VmError::InvalidOpcode));
    }
    vm.code.range_mut().skip_first(CODE_BITS, 0)?;
    match instruction {
        Instruction::Verify => verify(vm),
        Instruction::Aggregate => aggregate(vm),
        Instruction::VerifySum => verify_sum(vm),
        Instruction::VerifyEach => verify_each(vm),
        Instruction::First(instruction) => in_group::<G1>(vm, instruction, &G1_PRICES),
        Instruction::Second(instruction) => in_group::<G2>(vm, instruction, &G2_PRICES),
        Instruction::Pairing => pairing(vm),
        Instruction::PushOrder => stack(vm).push_int(curve::order()),
    }
}

fn in_group<G: Group>(vm: &mut VmState<'_>, instruction: GroupInstruction, prices: &Prices) -> VmResult<()> {
    match instruction {
        GroupInstruction::Add => two_points::<G>(vm, prices.add, curve::add::<G>),
        GroupInstruction::Subtract => two_points::<G>(vm, prices.add, curve::subtract::<G>),
        GroupInstruction::Negate => {
            charge(vm, prices.negate)?;
            let point = pop_bytes(stack(vm), G::BYTES)?;
            push_point(vm, curve::negate::<G>(&point))
        }
        GroupInstruction::Multiply => {
            expect(vm, 2)?;
            charge(vm, prices.multiply)?;
            let (point, scalar) = pop_term::<G>(stack(vm))?;
            push_point(vm, curve::multiply::<G>(&point, &scalar))
        }
        GroupInstruction::SumOfProducts => {
            let count = pop_count_of_pairs(stack(vm))?;
            charge(vm, prices.sum_of_products(count))?;
            let terms = pop_each(vm, count, pop_term::<G>)?;
            push_point(vm, curve::sum_of_products::<G>(&terms))
        }
        GroupInstruction::Zero => push_point(vm, Ok(curve::zero::<G>())),
        GroupInstruction::Map => {
            charge(vm, prices.map)?;
            let field = pop_bytes(stack(vm), G::FIELD_BYTES)?;
            push_point(vm, Ok(curve::map::<G>(&field)))
        }
        GroupInstruction::InGroup => {
            charge(vm, prices.in_group)?;
            let point = pop_bytes(stack(vm), G::BYTES)?;
            stack(vm).push_bool(curve::is_in_group::<G>(&point))
        }
        GroupInstruction::IsZero => {
            let point = pop_bytes(stack(vm), G::BYTES)?;
            stack(vm).push_bool(point == curve::zero::<G>())
        }
    }
}

/// Makes one point of two.
type Combine = fn(&[u8], &[u8]) -> Result<Vec<u8>, BadPoint>;

fn two_points<G: Group>(vm: &mut VmState<'_>, price: u64, combine: Combine) -> VmResult<()> {
    expect(vm, 2)?;
    charge(vm, price)?;
    let second = pop_bytes(stack(vm), G::BYTES)?;
    let first = pop_bytes(stack(vm), G::BYTES)?;
    push_point(vm, combine(&first, &second))
}

fn verify(vm: &mut VmState<'_>) -> VmResult<()> {
    expect(vm, 3)?;
    charge(vm, VERIFY_GAS)?;
    let signature = pop_bytes(stack(vm), G2::BYTES)?;
    let message = pop_message(stack(vm))?;
    let key = pop_bytes(stack(vm), G1::BYTES)?;
    stack(vm).push_bool(curve::verify(&key, &message, &signature))
}

fn aggregate(vm: &mut VmState<'_>) -> VmResult<()> {
    let available = stack(vm).depth().saturating_sub(1);
    let count = pop_count(stack(vm), 1, available)?;
    charge(vm, count.saturating_mul(AGGREGATE_EACH_GAS).saturating_sub(AGGREGATE_REBATE_GAS))?;
    let signatures = pop_each(vm, count, |stack| pop_bytes(stack, G2::BYTES))?;
    push_point(vm, curve::aggregate(&signatures))
}

fn verify_sum(vm: &mut VmState<'_>) -> VmResult<()> {
    expect(vm, 3)?;
    let signature = stack(vm).pop_cs()?;
    let message = stack(vm).pop_cs()?;
    let available = stack(vm).depth().saturating_sub(1);
    let count = pop_count(stack(vm), 0, available)?;
    charge(vm, with_each(VERIFY_SUM_GAS, count))?;
    let keys = pop_each(vm, count, |stack| pop_bytes(stack, G1::BYTES))?;
    let (message, signature) = (message_of(&message)?, bytes_of(&signature, G2::BYTES)?);
    stack(vm).push_bool(curve::verify_sum(&keys, &message, &signature))
}

fn verify_each(vm: &mut VmState<'_>) -> VmResult<()> {
    expect(vm, 2)?;
    let signature = stack(vm).pop_cs()?;
    let count = pop_count_of_pairs(stack(vm))?;
    charge(vm, with_each(VERIFY_EACH_GAS, count))?;
    let signed = pop_each(vm, count, |stack| {
        let message = pop_message(stack)?;
        Ok((pop_bytes(stack, G1::BYTES)?, message))
    })?;
    let signature = bytes_of(&signature, G2::BYTES)?;
    stack(vm).push_bool(curve::verify_each(&signed, &signature))
}

fn pairing(vm: &mut VmState<'_>) -> VmResult<()> {
    let count = pop_count_of_pairs(stack(vm))?;
    charge(vm, with_each(PAIRING_GAS, count))?;
    let pairs = pop_each(vm, count, |stack| {
        let second = pop_bytes(stack, G2::BYTES)?;
        Ok((pop_bytes(stack, G1::BYTES)?, second))
    })?;
    let is_one = curve::is_pairing_one(&pairs).map_err(bad_point)?;
    stack(vm).push_bool(is_one)
}

fn stack<'v>(vm: &'v mut VmState<'_>) -> &'v mut Stack {
    SafeRc::make_mut(&mut vm.stack)
}

fn expect(vm: &VmState<'_>, depth: usize) -> VmResult<()> {
    if vm.stack.depth() < depth { Err(Box::new(VmError::StackUnderflow(depth))) } else { Ok(()) }
}

fn charge(vm: &VmState<'_>, gas: u64) -> VmResult<()> {
    Ok(vm.gas.try_consume(gas)?)
}

fn with_each((base, each): (u64, u64), count: u64) -> u64 {
    base.saturating_add(count.saturating_mul(each))
}

fn bad_point(_: BadPoint) -> Box<VmError> {
    Box::new(VmError::Unknown(String::from("no point of BLS12-381")))
}

fn push_point(vm: &mut VmState<'_>, point: Result<Vec<u8>, BadPoint>) -> VmResult<()> {
    let point = point.map_err(bad_point)?;
    let mut builder = CellBuilder::new();
    builder.store_raw(&point, bits_of(point.len()))?;
    stack(vm).push(OwnedCellSlice::new_allow_exotic(builder.build()?))
}

/// Takes `count` values and puts them in the order in which they were pushed.
fn pop_each<T>(vm: &mut VmState<'_>, count: u64, pop: impl Fn(&mut Stack) -> VmResult<T>) -> VmResult<Vec<T>> {
    let stack = stack(vm);
    let mut values = (0..count).map(|_| pop(stack)).collect::<VmResult<Vec<_>>>()?;
    values.reverse();
    Ok(values)
}

fn pop_term<G: Group>(stack: &mut Stack) -> VmResult<(Vec<u8>, Scalar)> {
    let scalar = Scalar::from(&*stack.pop_int()?);
    Ok((pop_bytes(stack, G::BYTES)?, scalar))
}

fn pop_count_of_pairs(stack: &mut Stack) -> VmResult<u64> {
    let pairs = stack.depth().saturating_sub(1).div_euclid(2);
    pop_count(stack, 0, pairs)
}

/// Takes a count. What is not a number at all is out of range, too.
fn pop_count(stack: &mut Stack, least: usize, most: usize) -> VmResult<u64> {
    let value = stack.pop_int_or_nan()?;
    let count = value.as_ref().and_then(|value| usize::try_from(&**value).ok()).filter(|count| (least..=most).contains(count));
    count.and_then(|count| u64::try_from(count).ok()).ok_or_else(|| {
        let signed = |limit: usize| isize::try_from(limit).unwrap_or(isize::MAX);
        let actual = value.map(|value| value.to_string()).unwrap_or_default();
        Box::new(VmError::IntegerOutOfRange { min: signed(least), max: signed(most), actual })
    })
}

fn pop_bytes(stack: &mut Stack, length: usize) -> VmResult<Vec<u8>> {
    bytes_of(&*stack.pop_cs()?, length)
}

fn pop_message(stack: &mut Stack) -> VmResult<Vec<u8>> {
    message_of(&*stack.pop_cs()?)
}

/// The first bytes of a slice; what follows them is nobody's business.
fn bytes_of(slice: &OwnedCellSlice, length: usize) -> VmResult<Vec<u8>> {
    let mut bytes = vec![0; length];
    slice.apply().get_raw(0, &mut bytes, bits_of(length))?;
    Ok(bytes)
}

/// All of a slice.
fn message_of(slice: &OwnedCellSlice) -> VmResult<Vec<u8>> {
    let bits = slice.apply().size_bits();
    if !bits.is_multiple_of(8) {
        return Err(Box::new(VmError::CellError(tycho_types::error::Error::CellUnderflow)));
    }
    bytes_of(slice, usize::from(bits.div_euclid(8).min(MESSAGE_BYTES_MAX)))
}

fn bits_of(bytes: usize) -> u16 {
    u16::try_from(bytes.saturating_mul(8)).unwrap_or(u16::MAX)
}
