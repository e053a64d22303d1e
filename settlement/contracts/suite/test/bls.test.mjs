// The BLS12-381 instructions one by one: valid points, points outside of the subgroup, bytes that are no points, wrong counts and types.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { beginCell, contractAddress, internal, toNano } from '@ton/core';
import { nested, program } from '../src/code.mjs';
import { Pair } from '../src/pair.mjs';
import { ORDER, aggregated, first_group, second_group, signer } from '../src/points.mjs';
import { Random } from '../src/random.mjs';
import { Wallet } from '../src/wallet.mjs';

/// Programs per message of the wallet; as many as fit into one from outside.
const BATCH = 24;
const DATA = beginCell().endCell();
let pair;
let wallet;

before(async () => {
  pair = await Pair.start();
  wallet = await Wallet.funded(pair, 'bls', toNano(1_000_000), 'v5r1');
});
after(() => pair.finish());

/// Deploys and runs programs; `[what, code, expected outcome]`, the last one if it is known.
async function run(cases) {
  for (let from = 0; from < cases.length; from += BATCH) {
    const batch = cases.slice(from, from + BATCH);
    const inits = batch.map(([, code]) => ({ code, data: DATA }));
    const names = new Map(batch.map(([what, code], n) => [contractAddress(0, inits[n]).toRawString(), `${what}: ${code.toBoc().toString('base64')}`]));
    pair.describe = (account) => names.get(account);
    const done = await wallet.send(inits.map((init) => internal({ to: contractAddress(0, init), value: toNano('0.2'), init, bounce: true })));
    batch.forEach(([what, , expected], n) => {
      const address = contractAddress(0, inits[n]).toRawString();
      const { outcome } = done.find(({ account }) => account === address);
      if (expected !== undefined) assert.equal(outcome, expected, what);
    });
  }
}

const DONE = 'done';
const UNKNOWN = 'exit 11';
const GROUPS = [['G1', first_group, '1'], ['G2', second_group, '2']];

for (const [name, group, digit] of GROUPS) {
  const op = (code) => `f930${digit}${code}`;
  const [two, three] = [group.times(2n), group.times(3n)];

  test(`${name}: points of the subgroup`, () => run([
    ['add', program([two, three], op(0), 'slice'), DONE],
    ['add the same', program([two, two], op(0), 'slice'), DONE],
    ['add zero', program([two, group.zero], op(0), 'slice'), DONE],
    ['sub', program([two, three], op(1), 'slice'), DONE],
    ['sub the same', program([two, two], op(1), 'slice'), DONE],
    ['neg', program([two], op(2), 'slice'), DONE],
    ['neg zero', program([group.zero], op(2), 'slice'), DONE],
    ...[0n, 1n, -1n, 2n, ORDER - 1n, ORDER, ORDER + 1n, -ORDER, (1n << 256n) - 1n, -(1n << 256n)].flatMap((factor) => [
      [`mul ${factor}`, program([three, factor], op(3), 'slice'), DONE],
      [`zero mul ${factor}`, program([group.zero, factor], op(3), 'slice'), DONE],
      [`multiexp 1, ${factor}`, program([three, factor, 1], op(4), 'slice'), DONE],
      [`multiexp 2, ${factor}`, program([three, factor, two, 5, 2], op(4), 'slice'), DONE],
    ]),
    ...[0, 1, 2, 3, 4, 5, 8, 9, 16].map((count) => {
      const terms = Array.from({ length: count }, (_, n) => [group.times(BigInt(n) + 1n), n * n - 7]).flat();
      return [`multiexp of ${count}`, program([...terms, count], op(4), 'slice'), DONE];
    }),
    ['zero', program([], op(5), 'slice'), DONE],
    ...[0, 1, 7, 255].map((byte) => [`map ${byte}`, program([Buffer.alloc(group.bytes, byte)], op(6), 'slice'), DONE]),
    ['in group', program([two], op(7), 'int'), DONE],
    ['in group, zero', program([group.zero], op(7), 'int'), DONE],
    ['is zero', program([group.zero], op(8), 'int'), DONE],
    ['is zero, not', program([two], op(8), 'int'), DONE],
    ['bytes behind a point', program([group.longer], op(2), 'slice'), DONE],
    ['within a machine', nested([two, three], op(0)), DONE],
  ]));

  test(`${name}: points outside of the subgroup`, () => run(group.stray.flatMap((stray) => [
    ['add to it', program([stray, two], op(0), 'slice'), DONE],
    ['add it', program([two, stray], op(0), 'slice'), UNKNOWN],
    ['sub from it', program([stray, two], op(1), 'slice'), UNKNOWN],
    ['sub it', program([two, stray], op(1), 'slice'), DONE],
    ['neg', program([stray], op(2), 'slice'), DONE],
    ...[0n, 1n, 2n, -1n, ORDER - 1n, ORDER, 1n << 200n].flatMap((factor) => [
      [`mul ${factor}`, program([stray, factor], op(3), 'slice'), DONE],
      [`multiexp 1, ${factor}`, program([stray, factor, 1], op(4), 'slice'), DONE],
      [`multiexp 2, ${factor}`, program([stray, factor, two, 5, 2], op(4), 'slice'), DONE],
    ]),
    ['in group', program([stray], op(7), 'int'), DONE],
    ['is zero', program([stray], op(8), 'int'), DONE],
  ])));

  test(`${name}: bytes that are no point`, () => run(Object.entries(group.malformed).flatMap(([what, bad]) => {
    const expected = bad.length < group.bytes ? 'exit 9' : UNKNOWN;
    const quiet = bad.length < group.bytes ? 'exit 9' : DONE;
    return [
      [`add ${what}`, program([bad, two], op(0), 'slice'), expected],
      [`add to ${what}`, program([two, bad], op(0), 'slice'), expected],
      [`sub ${what}`, program([bad, two], op(1), 'slice'), expected],
      [`sub from ${what}`, program([two, bad], op(1), 'slice'), expected],
      [`neg ${what}`, program([bad], op(2), 'slice'), expected],
      [`mul ${what}`, program([bad, 5], op(3), 'slice'), expected],
      [`mul by zero ${what}`, program([bad, 0], op(3), 'slice'), quiet],
      [`multiexp ${what}`, program([bad, 5, 1], op(4), 'slice'), expected],
      [`multiexp by zero ${what}`, program([bad, 0, 1], op(4), 'slice'), quiet],
      [`multiexp second ${what}`, program([two, 5, bad, 0, 2], op(4), 'slice'), expected],
      [`in group ${what}`, program([bad], op(7), 'int'), quiet],
      [`is zero ${what}`, program([bad], op(8), 'int'), quiet],
      [`neg within a machine ${what}`, nested([bad], op(2))],
    ];
  })));

  test(`${name}: too few values, wrong types, wrong counts`, () => run([
    ...[0, 1, 2, 3].map((code) => [`${code} of nothing`, program([], op(code), 'slice'), 'exit 2']),
    ...[0, 1, 3].map((code) => [`${code} of one`, program([two], op(code), 'slice'), 'exit 2']),
    ...[4, 6, 7, 8].map((code) => [`${code} of nothing`, program([], op(code), 'slice'), 'exit 2']),
    ...[0, 1].map((code) => [`${code} of numbers`, program([1, 2], op(code), 'slice'), 'exit 7']),
    ...[2, 6, 7, 8].map((code) => [`${code} of a number`, program([1], op(code), 'slice'), 'exit 7']),
    ['mul by a slice', program([two, two], op(3), 'slice'), 'exit 7'],
    ['mul by null', program([two, null], op(3), 'slice'), 'exit 7'],
    ['mul by NaN', program([two, NaN], op(3), 'slice'), 'exit 4'],
    ['mul of a number', program([2, 2], op(3), 'slice'), 'exit 7'],
    ['multiexp by NaN', program([two, NaN, 1], op(4), 'slice'), 'exit 4'],
    ...[-1, 2, 1_000, 1n << 70n].map((count) => [`multiexp of ${count}`, program([two, 1, count], op(4), 'slice'), 'exit 5']),
    ['multiexp of NaN', program([two, 1, NaN], op(4), 'slice'), 'exit 5'],
    ['multiexp of null', program([two, 1, null], op(4), 'slice'), 'exit 7'],
    ['map of a point with a byte too few', program([Buffer.alloc(group.bytes - 1)], op(6), 'slice'), 'exit 9'],
    ...['9', 'a', 'f'].map((code) => [`code ${code}`, program([two, two], op(code), 'slice'), 'exit 6']),
  ]));
}

test('signatures of one', () => {
  const [alice, bob] = [signer(5), signer(6)];
  const message = Buffer.from('a message');
  const good = alice.sign(message);
  const check = (what, ...values) => [what, program(values, 'f93000', 'int'), DONE];
  return run([
    check('good', alice.key, message, good),
    check('empty message', alice.key, Buffer.alloc(0), alice.sign(Buffer.alloc(0))),
    check('long message', alice.key, Buffer.alloc(127, 1), alice.sign(Buffer.alloc(127, 1))),
    check('other message', alice.key, Buffer.from('another'), good),
    check('other key', bob.key, message, good),
    check('zero key', first_group.zero, message, second_group.zero),
    check('zero signature', alice.key, message, second_group.zero),
    ...first_group.stray.map((stray) => check('stray key', stray, message, good)),
    ...second_group.stray.map((stray) => check('stray signature', alice.key, message, stray)),
    ...Object.entries(first_group.malformed).map(([what, bad]) => [what, program([bad, message, good], 'f93000', 'int')]),
    ...Object.entries(second_group.malformed).map(([what, bad]) => [what, program([alice.key, message, bad], 'f93000', 'int')]),
    ['odd message', program([alice.key, beginCell().storeUint(1, 9).endCell(), good], 'f93000', 'int'), 'exit 9'],
    ...[0, 1, 2].map((count) => [`${count} values`, program([alice.key, message].slice(0, count), 'f93000', 'int'), 'exit 2']),
    ['numbers', program([1, 2, 3], 'f93000', 'int'), 'exit 7'],
    ['within a machine', nested([alice.key, message, good], 'f93000'), DONE],
  ]);
});

test('signatures of many', () => {
  const signers = [2, 3, 5, 7].map(signer);
  const messages = signers.map((_, n) => Buffer.from(`message ${n}`));
  const same = aggregated(signers.map((one) => one.sign(messages[0])));
  const each = aggregated(signers.map((one, n) => one.sign(messages[n])));
  const keys = signers.map((one) => one.key);
  const sum = (what, who, message, signature) => [what, program([...who, who.length, message, signature], 'f93002', 'int'), DONE];
  const pairs = (who) => who.flatMap((key, n) => [key, messages[n]]);
  const all = (what, who, signature) => [what, program([...pairs(who), who.length, signature], 'f93003', 'int'), DONE];
  return run([
    sum('all', keys, messages[0], same),
    sum('one missing', keys.slice(1), messages[0], same),
    sum('nobody', [], messages[0], same),
    sum('nobody signs', [], messages[0], second_group.zero),
    sum('zero among them', [...keys, first_group.zero], messages[0], same),
    sum('stray first', [first_group.stray[0], ...keys], messages[0], same),
    sum('stray last', [...keys, first_group.stray[0]], messages[0], same),
    all('each', keys, each),
    all('one missing', keys.slice(1), each),
    all('nobody', [], each),
    all('nobody signs', [], second_group.zero),
    all('zero among them', [keys[0], first_group.zero], each),
    all('stray among them', [keys[0], first_group.stray[0]], each),
    all('stray signature', keys, second_group.stray[0]),
    ...Object.entries(first_group.malformed).flatMap(([what, bad]) => [
      [what, program([keys[0], bad, 2, messages[0], same], 'f93002', 'int')],
      [what, program([keys[0], messages[0], bad, messages[1], 2, each], 'f93003', 'int')],
    ]),
    ...Object.entries(second_group.malformed).flatMap(([what, bad]) => [
      [what, program([keys[0], 1, messages[0], bad], 'f93002', 'int')],
      [what, program([keys[0], messages[0], 1, bad], 'f93003', 'int')],
      [what, program([bad, 1], 'f93001', 'slice')],
      [what, program([same, bad, 2], 'f93001', 'slice')],
    ]),
    ...[1, 2, 3, 4].map((count) => {
      const signatures = signers.slice(0, count).map((one) => one.sign(messages[0]));
      return [`aggregate ${count}`, program([...signatures, count], 'f93001', 'slice'), DONE];
    }),
    ['aggregate zero', program([second_group.zero, second_group.zero, 2], 'f93001', 'slice'), DONE],
    ['aggregate stray first', program([second_group.stray[0], same, 2], 'f93001', 'slice'), DONE],
    ['aggregate stray second', program([same, second_group.stray[0], 2], 'f93001', 'slice'), UNKNOWN],
    ['aggregate none', program([same, 0], 'f93001', 'slice'), 'exit 5'],
    ['aggregate too many', program([same, 2], 'f93001', 'slice'), 'exit 5'],
    ['aggregate nothing', program([], 'f93001', 'slice'), 'exit 2'],
    ['sum of too many', program([keys[0], 2, messages[0], same], 'f93002', 'int'), 'exit 5'],
    ['sum without values', program([1, messages[0]], 'f93002', 'int'), 'exit 2'],
    ['sum with an odd message', program([keys[0], 1, beginCell().storeUint(1, 3).endCell(), same], 'f93002', 'int'), 'exit 9'],
    ['each with an odd message', program([keys[0], beginCell().storeUint(1, 3).endCell(), 1, same], 'f93003', 'int'), 'exit 9'],
    ['each of too many', program([keys[0], messages[0], 2, each], 'f93003', 'int'), 'exit 5'],
    ['each without values', program([each], 'f93003', 'int'), 'exit 2'],
  ]);
});

test('pairings', () => {
  const [one, two] = [first_group.times, second_group.times];
  const check = (what, pairs, expected = DONE) => [what, program([...pairs.flat(), pairs.length], 'f93030', 'int'), expected];
  return run([
    check('of none', []),
    check('balanced', [[one(6n), two(1n)], [one(ORDER - 2n), two(3n)]]),
    check('unbalanced', [[one(6n), two(1n)], [one(ORDER - 2n), two(4n)]]),
    check('of one', [[one(6n), two(5n)]]),
    check('with zero', [[first_group.zero, two(5n)]]),
    check('with zero second', [[one(5n), second_group.zero]]),
    check('of zeros', [[first_group.zero, second_group.zero], [first_group.zero, second_group.zero]]),
    check('of nine', Array.from({ length: 9 }, (_, n) => [one(BigInt(n) + 1n), two(2n)])),
    check('stray first', [[first_group.stray[0], two(5n)], [one(5n), two(5n)]]),
    check('stray second', [[one(5n), second_group.stray[0]]]),
    ...Object.entries(first_group.malformed).map(([what, bad]) => check(what, [[bad, two(1n)]], bad.length < 48 ? 'exit 9' : UNKNOWN)),
    ...Object.entries(second_group.malformed).map(([what, bad]) => check(what, [[one(1n), bad]], bad.length < 96 ? 'exit 9' : UNKNOWN)),
    ['too many', program([one(1n), two(1n), 2], 'f93030', 'int'), 'exit 5'],
    ['nothing', program([], 'f93030', 'int'), 'exit 2'],
    ['out of gas', program([...Array.from({ length: 90 }, () => [one(1n), two(1n)]).flat(), 90], 'f93030', 'int'), 'exit -14'],
    ['order', program([], 'f93031', 'int'), DONE],
    ...['04', '0f', '32', '40', 'ff'].map((code) => [`code ${code}`, program([1], `f930${code}`, 'int'), 'exit 6']),
    ['cut short', program([1], 'f930', 'nothing'), 'exit 6'],
  ]);
});

/// Instructions with what they take: f first group, s second, n number, m message, 1 a count of one, 2 of two.
const SHAPES = [
  ['00', 'fms'], ['01', 's1'], ['01', 'ss2'], ['02', 'f1ms'], ['02', 'ff2ms'], ['03', 'fm1s'], ['03', 'fmfm2s'], ['30', 'fs1'], ['30', 'fsfs2'],
  ...[['1', 'f'], ['2', 's']].flatMap(([digit, point]) => [
    [`${digit}0`, `${point}${point}`], [`${digit}1`, `${point}${point}`], [`${digit}2`, point], [`${digit}3`, `${point}n`],
    [`${digit}4`, `${point}n${point}n2`], [`${digit}6`, point], [`${digit}7`, point], [`${digit}8`, point],
  ]),
];

test('instructions with values by chance', async () => {
  const random = new Random(process.env.SEED ?? 'bls');
  // The emulator is wrong about infinity in sums of products; that has a test of its own.
  let finite = false;
  const point = (group) => {
    const kind = random.below(20);
    if (kind < 12) return group.random(random);
    if (kind < 14) return random.pick(group.stray);
    if (kind < 15 && !finite) return group.zero;
    if (kind < 17) return random.pick(Object.values(group.malformed));
    if (kind < 18) return random.bytes(group.bytes);
    const damaged = Buffer.from(group.random(random));
    damaged[random.below(damaged.length)] ^= 1 << random.below(8);
    return damaged;
  };
  const value = {
    f: () => point(first_group),
    s: () => point(second_group),
    m: () => random.bytes(random.below(60)),
    n: () => (random.chance(10) ? random.pick([NaN, null, 0n]) : random.amount(256) * random.pick([1n, -1n])),
    1: () => (random.chance(95) ? 1 : random.below(4)),
    2: () => (random.chance(95) ? 2 : random.below(4) - 1),
  };
  const cases = Array.from({ length: Number(process.env.CASES ?? 240) }, (_, n) => {
    const [code, shape] = random.pick(SHAPES);
    finite = shape.endsWith('n2');
    const values = [...shape].map((letter) => (random.chance(2) ? random.pick([5, null, Buffer.alloc(3)]) : value[letter]()));
    const slice = /^[12][0-6]$/.test(code) || code === '01';
    // The number makes each program one of its own.
    return [`${n}: ${code} ${shape}`, random.chance(15) ? nested([n, ...values], `f930${code}`) : program([n, ...values], `f930${code}`, slice ? 'slice' : 'int')];
  });
  await run(cases);
});

test('known difference: infinity in a sum of few products', async () => {
  for (const [[, group, digit], few] of [[GROUPS[0], 20], [GROUPS[1], 10]]) {
    const terms = (count) => Array.from({ length: count }, (_, n) => [group.times(BigInt(n) + 7n), n + 5]).flat();
    for (const [count, same] of [[1, true], [2, false], [few, false], [few + 1, true]]) {
      const own = await Pair.start();
      try {
        const payer = await Wallet.funded(own, 'difference', toNano(10), 'v5r1');
        const init = { code: program([...terms(count - 1), group.zero, 5, count], `f930${digit}4`, 'slice'), data: DATA };
        const call = payer.call(contractAddress(0, init), toNano(1), undefined, { init });
        await (same ? call : assert.rejects(call, /stateUpdate\.newHash/, `${count} terms: README.md says they differ`));
      } finally {
        own.chain.close();
      }
    }
  }
});
