// Small programs for the machine: values pushed one by one, an instruction, and what it leaves kept in the contract's data.
import { Cell, beginCell } from '@ton/core';

/// Puts program pieces in a row, each in a cell of its own that ends with a jump to the next.
function chained(pieces) {
  return pieces.reduceRight((next, { bytes = '', bits, reference }) => {
    const builder = bits ? beginCell().storeBits(bits) : beginCell().storeBuffer(Buffer.from(bytes, 'hex'));
    if (reference) builder.storeRef(reference);
    return (next ? builder.storeRef(next) : builder).endCell();
  }, null);
}

/// Pushes a whole number of any size.
function pushInt(value) {
  const bits = value === 0n ? 1 : (value < 0n ? -value : value).toString(2).length + 1;
  const length = Math.max(0, Math.ceil((bits - 19) / 8));
  const cell = beginCell().storeUint(0x82, 8).storeUint(length, 5).storeInt(value, 8 * length + 19).endCell();
  return { bits: cell.bits };
}

/// A value as a program piece: bytes and cells become slices, `NaN` and `null` what they are called.
function push(value) {
  if (value === null) return { bytes: '6d' };
  if (Number.isNaN(value)) return { bytes: '83ff' };
  if (typeof value === 'bigint' || typeof value === 'number') return pushInt(BigInt(value));
  const cell = value instanceof Cell ? value : beginCell().storeBuffer(Buffer.from(value)).endCell();
  return { bytes: '89', reference: cell };
}

/// Clears the five values that the machine starts with.
const CLEAR = { bytes: '5f05' };
/// BLKDROP 5 with the stack as it is, then one of: a slice into data, a number into data, nothing.
const KEEP = { slice: { bytes: 'c8cec9ed54' }, int: { bytes: 'c8caffc9ed54' }, nothing: { bytes: '' } };

/// A program that pushes `values`, runs `instruction` (hex) and keeps what that leaves.
export function program(values, instruction, keep) {
  return chained([CLEAR, ...values.map(push), { bytes: instruction }, KEEP[keep]]);
}

/// The same within a machine within the machine: RUNVM with the values on its stack. Keeps the inner exit code.
export function nested(values, instruction) {
  const inner = beginCell().storeBuffer(Buffer.from(instruction, 'hex')).endCell();
  return chained([CLEAR, ...values.map(push), pushInt(BigInt(values.length)), push(inner), { bytes: 'db4000' }, KEEP.int]);
}
