// Programs by chance, run as machines within a machine: what comes to a good end on the emulator does so on the chain, with the same gas
// and the same values; what fails there fails here. (Why it fails, the two do not always say in the same words: see README.md.)
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginCell, contractAddress, toNano } from '@ton/core';
import { Pair } from '../src/pair.mjs';
import { Random } from '../src/random.mjs';
import { Wallet } from '../src/wallet.mjs';

/// DROP, 20,000 gas, RUNVM with the gas used behind the exit code: a get-method that runs the code it is given.
const RUN = beginCell().storeBuffer(Buffer.from('30814e20db4008', 'hex')).endCell();
const PROGRAMS = Number(process.env.PROGRAMS ?? 1_500);

/// Instructions by how they begin, `.` a digit by chance: stack, numbers, comparisons, cells, tuples, jumps, dictionaries, hashes.
const USUAL = ['01', '02', '12', '2.', '30', '31', '5.', '50..', '51..', '58', '59', '5a', '5b', '5c', '5d', '60', '66', '67', '68', '69', '6d', '6e',
  '6f0.', '6f1.', '6f7.', '6f8.', '6fa.', '6fb.', '7.', '80..', '81....', '83..', '84..', '85..', 'a0', 'a1', 'a2', 'a3', 'a4', 'a5', 'a6..', 'a7..', 'a8',
  'a90.', 'a91.', 'a92.', 'a93...', 'a98.', 'a9c.', 'aa..', 'ab..', 'ac', 'ad', 'ae', 'b0', 'b1', 'b2', 'b3', 'b4..', 'b5..', 'b600', 'b601', 'b602', 'b603',
  'b608', 'b609', 'b60a', 'b60b', 'b7a.', 'b7a9..', 'b8', 'b9', 'ba', 'bb', 'bc', 'bd', 'be', 'bf', 'c0..', 'c1..', 'c2..', 'c3..', 'c4', 'c5', 'c7..', 'c8', 'c9',
  'c8ca..', 'c8cb..c9', 'c8cec9', 'cc', 'cd', 'ce', 'cf..', 'd0', 'd1', 'd2..', 'd3..', 'd4', 'd5', 'd6..', 'd7..', 'd70.', 'd71.', 'd72.', 'd73.', 'd74.', 'd76.',
  'd8', 'dc', 'dd', 'de', 'df', 'e0', 'e3..', 'ed4.', 'ed1.', 'f2..', 'f40.', 'f41.', 'f42.', 'f43.', 'f44.', 'f46.', 'f47.', 'f48.', 'f49.', 'f82.', 'f83.', 'f84.', 'f900',
  'f901', 'f902', 'f904..', 'f940', 'f941', 'fa0.', 'fa4.', 'db36', 'e304', 'd739', 'd74a', 'd749'];

/// Not compared: what README.md lists as different, and the instructions that the chain lacks.
const DIFFERENT = /a9c|6b|d71[0-7]|f47[0-3]|f4a[89a-f]|f4b[1-7]|f91[2-7]|f92|f904/;

function program(random) {
  let hex = '';
  for (let n = random.below(4) + 1; n > 0; n -= 1) {
    hex += random.chance(90) ? random.pick(USUAL).replace(/\./g, () => random.below(16).toString(16)) : random.bytes(2).toString('hex');
  }
  if (DIFFERENT.test(hex)) return program(random);
  // What is not used as data is jumped to in the end: eight times nothing.
  const inner = beginCell().storeUint(0, 64).endCell();
  return beginCell().storeBuffer(Buffer.from(hex.padEnd(hex.length + (hex.length % 2), '0'), 'hex')).storeRef(inner).storeRef(inner).endCell();
}

function value(random) {
  if (random.chance(75)) return { type: 'int', value: random.chance(70) ? BigInt(random.below(20)) : random.amount(256) * random.pick([1n, -1n]) };
  const inner = beginCell().storeUint(random.below(1_000), 10).endCell();
  const cell = beginCell().storeBuffer(random.bytes(random.below(60))).storeRef(inner).endCell();
  return { type: random.pick(['slice', 'slice', 'cell']), cell };
}

test(`${PROGRAMS} programs by chance`, async () => {
  const random = new Random(process.env.SEED ?? 'programs');
  const pair = await Pair.start();
  const counts = { good: 0, bad: 0, unspoken: 0 };
  try {
    const wallet = await Wallet.funded(pair, 'programmer', toNano(10));
    const init = { code: RUN, data: beginCell().endCell() };
    const at = contractAddress(0, init);
    await wallet.call(at, toNano(1), undefined, { init });
    for (let n = 0; n < PROGRAMS; n += 1) {
      const values = Array.from({ length: random.below(8) + 2 }, () => value(random));
      const code = program(random);
      const { ours, theirs } = await pair.ask(at, 'run', [...values, { type: 'int', value: BigInt(values.length) }, { type: 'slice', cell: code }]);
      const what = `program ${n}: ${code.bits} on ${values.map(({ type, value: number }) => number ?? type).join(', ')}`;
      const ended = ({ stack }) => stack.at(-2);
      const isGood = (end) => ['int 0', 'int 1'].includes(ended(end));
      if (ours === undefined) counts.unspoken += 1;
      else if (isGood(theirs) || isGood(ours)) {
        assert.deepEqual(ours, theirs, what);
        counts.good += 1;
      } else {
        counts.bad += 1;
      }
    }
  } finally {
    pair.chain.close();
  }
  assert.ok(counts.good >= PROGRAMS / 20, JSON.stringify(counts));
});
