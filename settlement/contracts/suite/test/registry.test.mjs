// The registry: parameters within bounds that no vote moves, keys that make sense, and auditors whose list and commitment agree.
import assert from 'node:assert/strict';
import { beginCell } from '@ton/core';
import { CIRCUIT, auditorsOf, hashOf, pending, ruled, setup } from '../src/auditors.mjs';
import { ASKS, told, wayOf } from '../src/bounds.mjs';
import { keysOf } from '../src/contract.mjs';
import { actions } from '../src/governor.mjs';
import { Setup, cellOf, keyCell, listInputs, proofCell } from '../src/groth16.mjs';
import { ORDER, first_group as G1, second_group as G2 } from '../src/points.mjs';
import { NOBODY_THERE, TELL_AUDITORS, TELL_KEY, auditor, auditorList } from '../src/registry.mjs';
import { DAY, TON } from '../src/scene.mjs';
import { messages, scene } from '../src/scripts.mjs';

const ALONE = { stake: null };
const [PARAMETER_SET, KEY_SET, AUDITORS_SET, EXCESSES] = [0x43560003, 0x43520010, 0x43520011, 0xd53276db];

// ---- Parameters.

const PARAMETERS = [
  [4_096, 1_024, 8_192, 1_000], [45_875, 32_768, 58_982, 1_000], [72_000, 3_600, 86_400, 1_000], [500, 100, 1_500, 2_500],
  [2_000, 1_000, 4_000, 2_500], [1_000, 0, 2_000, 2_500], [1_000_000_000, 100_000_000, 1_000_000_000_000, 2_500],
  [1_209_600, 604_800, 2_419_200, 2_500],
  [1_000, 0, 2_500, 2_500],
];

scene('parameters start with their values and stay within bounds that no vote moves', async (set) => {
  const votes = await ruled(set);
  for (const [which, [start, min, max, step]] of PARAMETERS.entries()) {
    const found = await set.chain.get(votes.registry.address, 'registry_parameter', [{ type: 'int', value: BigInt(which) }]);
    assert.deepEqual(found.map(({ value }) => Number(value)), [start, 0, min, max, step], `parameter ${which}`);
  }
  const none = await set.chain.get(votes.registry.address, 'registry_parameter', [{ type: 'int', value: 9n }]);
  assert.ok(none.length < 5, 'there is no tenth');
}, ALONE);

scene('the votes of many proposals at once', async (set) => {
  // Each is decided at the same time, which keeps this short: what is out of bounds, the same, and too far.
  const votes = await ruled(set);
  const tries = [
    [3, 99n, 'ERR_OUT_OF_BOUNDS'], [3, 1_501n, 'ERR_OUT_OF_BOUNDS'], [3, 500n, 'ERR_SAME_VALUE'], [3, 626n, 'ERR_STEP_TOO_LARGE'],
    [3, 374n, 'ERR_STEP_TOO_LARGE'], [3, 625n, 'done'], [3, 624n, 'ERR_CHANGED_LATELY'], [6, 2n ** 64n - 1n, 'ERR_OUT_OF_BOUNDS'],
  ];
  const numbers = await votes.allReady('owner', tries.map(([which, value]) => actions.parameter(which, value)));
  for (const [n, [which, value, error]] of tries.entries()) {
    const before = await votes.parameter(which);
    const done = await votes.execute(numbers[n], actions.parameter(which, value));
    set.expect(votes.registry, done, error);
    assert.deepEqual(await votes.parameter(which), error === 'done' ? { value: Number(value), changed: votes.now } : before);
    assert.equal((await votes.proposal(numbers[n])).phase, 'done', 'what does not fit is done, too');
    assert.ok(messages(set, done, EXCESSES, error === 'done' ? votes.registry : votes.governor).length > 0, 'what it did not cost comes back');
  }
}, ALONE);

for (const [end, at, further] of [['least', 1, -1], ['most', 2, 1]]) {
  scene(`a parameter goes to the ${end} it can be and not one further`, async (set) => {
    const [ends, which] = [PARAMETERS.map((bounds) => bounds[at]), [...PARAMETERS.keys()]];
    const votes = await ruled(set, { parameters: which.map((n) => [n, { value: ends[n] - further }]) });
    // The treasury's part can be nothing, and less than that can not be said.
    const beyond = which.filter((n) => ends[n] + further >= 0);
    const tries = [[beyond, further, 'ERR_OUT_OF_BOUNDS'], [which, 0, 'done']];
    // Eight are voted on at once.
    const parts = tries.flatMap(([all, ...rest]) => [all.slice(0, 8), all.slice(8)].filter((some) => some.length > 0).map((some) => [some, ...rest]));
    for (const [some, more, error] of parts) {
      const changes = some.map((n) => actions.parameter(n, BigInt(ends[n] + more)));
      const numbers = await votes.allReady('owner', changes);
      for (const [n, number] of numbers.entries()) set.expect(votes.registry, await votes.execute(number, changes[n]), error);
    }
    for (const n of which) assert.equal((await votes.parameter(n)).value, ends[n]);
  }, ALONE);
}

scene('what was voted down to nothing can come back, by one', async (set) => {
  const votes = await ruled(set, { parameters: [[5, { value: 0 }], [4, { value: 2_003 }]] });
  const tries = [[5, 2n, 'ERR_STEP_TOO_LARGE'], [5, 1n, 'done'], [4, 2_504n, 'ERR_STEP_TOO_LARGE'], [4, 1_502n, 'ERR_STEP_TOO_LARGE'], [4, 2_503n, 'done']];
  const changes = tries.map(([which, value]) => actions.parameter(which, value));
  const numbers = await votes.allReady('owner', changes);
  for (const [n, [, , error]] of tries.entries()) set.expect(votes.registry, await votes.execute(numbers[n], changes[n]), error);
}, ALONE);

scene('a parameter rests for thirty days, to the second', async (set) => {
  const votes = await ruled(set);
  await votes.decide('owner', actions.parameter(3, 600n));
  const { changed } = await votes.parameter(3);
  const [early, late] = [actions.parameter(3, 500n), actions.parameter(3, 501n)];
  await set.chain.passTime(11 * DAY);
  const [first, second] = [await votes.propose('owner', early), await votes.propose('owner', late)];
  await set.chain.passTime(DAY);
  for (const number of [first, second]) await votes.vote('owner', number);
  await set.chain.passTime(changed + 30 * DAY - 1 - votes.now);
  set.expect(votes.registry, await votes.execute(first, early), 'ERR_CHANGED_LATELY');
  await set.chain.passTime(1);
  set.expect(votes.registry, await votes.execute(second, late), 'done');
}, ALONE);

scene('the vault is told of what it works with, and anyone has it told again', async (set) => {
  const votes = await ruled(set);
  const { registry } = votes;
  const saying = (done) => messages(set, done, PARAMETER_SET, registry).map(({ info, body }) => {
    assert.ok(info.dest.equals(set.dispute.address));
    assert.equal(info.value.coins, told);
    const slice = body.beginParse().skip(96);
    return [slice.loadUint(8), slice.loadUint(64)];
  });
  const values = [4_100, 45_000, 70_000, 600, 2_100, 900, 1_100_000_000, 1_300_000];
  const numbers = await votes.allReady('owner', values.map((value, which) => actions.parameter(which, value)));
  for (const [which, value] of values.entries()) {
    const done = await votes.execute(numbers[which], actions.parameter(which, value));
    assert.deepEqual(saying(done), [2, 4, 5].includes(which) ? [[which, value]] : []);
    assert.equal((await votes.parameter(which)).value, value);
  }
  await set.exactly('stranger', registry, registry.tell(4), ASKS.tell);
  const again = await set.ask('stranger', registry, registry.tell(2));
  assert.deepEqual(saying(again), [[2, 70_000]]);
  assert.equal(messages(set, again, EXCESSES, registry).length, 1);
  for (const [what, error] of [[0, 'ERR_NO_PARAMETER'], [3, 'ERR_NO_PARAMETER'], [9, 'ERR_NO_PARAMETER'], [63, 'ERR_NO_PARAMETER'], [TELL_KEY, 'ERR_NO_KEY'], [TELL_KEY + 1, 'ERR_NO_KEY'], [200, 'ERR_NO_KEY']]) {
    await set.ask('stranger', registry, registry.tell(what), error);
  }
}, ALONE);

scene('nobody but the governor changes anything', async (set) => {
  const votes = await ruled(set);
  const key = new Setup('a swapped key').key;
  for (const action of [actions.parameter(3, 600n), actions.verifyingKey(1, key), actions.auditors(Buffer.alloc(32), 1n), actions.standards(Buffer.alloc(32, 1))]) {
    for (const person of ['owner', 'requester', 'thief']) await set.ask(person, votes.registry, votes.registry.change(set.thief.address, action), 'ERR_NOT_GOVERNOR', { value: TON });
  }
}, ALONE);

scene('standards are what was decided', async (set) => {
  const votes = await ruled(set);
  await votes.decide('owner', actions.standards(Buffer.alloc(32, 7)));
  const [found] = await set.chain.get(votes.registry.address, 'registry_standards');
  assert.equal(found.value, BigInt(`0x${'07'.repeat(32)}`));
}, ALONE);

// ---- Keys.

/// A key with something behind its second point.
function withMore(key) {
  const [beta, ...rest] = key.refs;
  const more = beginCell().storeSlice(beta.beginParse()).storeRef(beginCell().endCell()).endCell();
  return [more, ...rest].reduce((to, cell) => to.storeRef(cell), beginCell().storeBits(key.bits)).endCell();
}

scene('a verifying key is kept and told as it was voted on', async (set) => {
  const votes = await ruled(set);
  const { registry } = votes;
  const [key, other] = [new Setup('a key').key, new Setup('another key').key];
  const number = await votes.ready('owner', actions.verifyingKey(2, key));
  await votes.execute(number, actions.verifyingKey(2, other), { expected: 'ERR_OTHER_ACTION' });
  await votes.execute(number, actions.verifyingKey(1, key), { expected: 'ERR_OTHER_ACTION' });
  const done = await votes.execute(number, actions.verifyingKey(2, key));
  const saying = (transactions) => messages(set, transactions, KEY_SET, registry).map(({ info, body }) => {
    assert.ok(info.dest.equals(set.treasury.address));
    const slice = body.beginParse().skip(96);
    return [slice.loadUint(8), slice.loadRef().hash().toString('hex')];
  });
  assert.deepEqual(saying(done), [[2, key.hash().toString('hex')]]);
  await set.exactly('stranger', registry, registry.tell(TELL_KEY + 2), ASKS.tell);
  assert.deepEqual(saying(await set.ask('stranger', registry, registry.tell(TELL_KEY + 2))), [[2, key.hash().toString('hex')]]);
}, ALONE);

scene('a verifying key whose points are not what they should be, or of no circuit, is refused', async (set) => {
  const votes = await ruled(set);
  const { points, key } = new Setup('a key');
  const broken = (change) => keyCell({ ...points, ...change });
  const ic = (n, point) => ({ ic: points.ic.with(n, point) });
  const bad = [
    [actions.verifyingKey(0, key), 'ERR_NO_KEY'], [actions.verifyingKey(4, key), 'ERR_NO_KEY'], [actions.verifyingKey(8, key), 'ERR_NO_KEY'],
    [actions.verifyingKey(10, key), 'ERR_NO_KEY'],
    ...[0, 1, 2, 3].flatMap((n) => [G1.zero, G1.stray[0]].map((point) => [actions.verifyingKey(1, broken(ic(n, point))), 'ERR_BAD_POINT'])),
    ...[G1.zero, G1.stray[1]].map((alpha) => [actions.verifyingKey(1, broken({ alpha })), 'ERR_BAD_POINT']),
    ...['beta', 'gamma', 'delta'].flatMap((name) => [G2.zero, G2.stray[0]].map((point) => [actions.verifyingKey(1, broken({ [name]: point })), 'ERR_BAD_POINT'])),
    [actions.verifyingKey(1, broken({ beta: Buffer.concat([points.beta, Buffer.alloc(1)]) })), 'ERR_BAD_LAYOUT'],
    [actions.verifyingKey(1, withMore(key)), 'ERR_BAD_LAYOUT'],
    [actions.verifyingKey(1, beginCell().storeSlice(key.beginParse()).storeBit(true).endCell()), 'ERR_BAD_LAYOUT'],
    [actions.verifyingKey(1, beginCell().endCell()), 9],
  ];
  for (let from = 0; from < bad.length; from += 8) {
    const some = bad.slice(from, from + 8);
    const numbers = await votes.allReady('owner', some.map(([action]) => action));
    for (const [n, [action, error]] of some.entries()) set.expect(votes.registry, await votes.execute(numbers[n], action), error);
  }
  assert.equal((await set.chain.get(votes.registry.address, 'registry_keys'))[0].type, 'null');
}, ALONE);

scene('what carries out a change asks for what the registry and those it tells need', async (set) => {
  const votes = await ruled(set);
  const { governor } = votes;
  const action = actions.verifyingKey(3, new Setup('a key').key);
  const number = await votes.ready('owner', action);
  const before = await set.balance(votes.registry);
  await set.exactly('stranger', governor, governor.execute(number, action), ASKS.execute(wayOf(action)));
  assert.equal((await set.chain.get(votes.registry.address, 'registry_keys'))[0].type, 'cell');
  assert.ok(await set.balance(votes.registry) > before - 1_000_000n);
}, ALONE);

scene('an action of any size pays for its ways', async (set) => {
  const votes = await ruled(set);
  const giant = (depth) => (depth === 0 ? beginCell().endCell() : beginCell().storeBuffer(Buffer.alloc(120, depth)).storeRef(giant(depth - 1)).endCell());
  const action = beginCell().storeSlice(actions.standards(Buffer.alloc(32, 9)).beginParse()).storeRef(giant(150)).endCell();
  const number = await votes.propose('owner', action);
  await set.chain.passTime(DAY);
  await votes.vote('owner', number);
  await set.chain.passTime(17 * DAY);
  await set.exactly('stranger', votes.governor, votes.governor.execute(number, action), ASKS.execute(wayOf(action)));
}, ALONE);

// ---- Auditors.

const ask = (count) => ({ value: ASKS.proveAuditors(count) + TON / 10n });

for (const count of [1, 2, 11, 64]) {
  scene(`a list of ${count} whose commitment agrees takes its place, and whoever pays rewards is told`, async (set) => {
    const auditors = auditorsOf(count);
    const { votes, list, commitment, prove } = await pending(set, auditors);
    assert.deepEqual(await votes.auditors(), { list: 0n, commitment: 0n, nextList: hashOf(list.hash()), nextCommitment: commitment });
    await set.exactly('stranger', votes.registry, prove(), ASKS.proveAuditors(count));
    assert.deepEqual(await votes.auditors(), { list: hashOf(list.hash()), commitment, nextList: 0n, nextCommitment: 0n });
    await set.ask('stranger', votes.registry, prove(), 'ERR_NOTHING_PENDING', ask(count));
    const [said] = messages(set, await set.ask('stranger', votes.registry, votes.registry.tell(TELL_AUDITORS)), AUDITORS_SET, votes.registry);
    assert.ok(said.info.dest.equals(set.treasury.address));
    assert.equal(said.body.beginParse().skip(96).loadUintBig(256), commitment);
  }, ALONE);
}

scene('a list of nobody, and one of more than there are places, are refused', async (set) => {
  const votes = await ruled(set);
  const [none, many] = [beginCell().endCell(), auditorList(auditorsOf(65))];
  for (const [count, list, inputs] of [[0, none, []], [65, many, auditorsOf(64)]]) {
    const decided = [actions.verifyingKey(CIRCUIT, setup.key), actions.auditors(list.hash(), 5n)];
    const numbers = await votes.allReady('owner', decided);
    for (const [n, action] of decided.entries()) await votes.execute(numbers[n], action);
    const body = votes.registry.proveAuditors(count, list, setup.prove(listInputs(inputs, list, 5n)));
    await set.ask('stranger', votes.registry, body, 'ERR_LIST_LENGTH', ask(count));
  }
}, ALONE);

scene('a place that nobody has keeps those behind it where they are', async (set) => {
  const [first, second, third] = auditorsOf(3);
  const auditors = [first, NOBODY_THERE, second, NOBODY_THERE, third];
  const { votes, prove, list } = await pending(set, auditors);
  const without = setup.prove(listInputs([first, second, third], list, 12_345n));
  await set.ask('stranger', votes.registry, prove({ proof: without }), 'ERR_BAD_PROOF', ask(5));
  await set.ask('stranger', votes.registry, prove(), 'done', ask(5));
}, ALONE);

scene('numbers that are zero are proven like others', async (set) => {
  const auditors = [auditor(keysOf('auditor 0'), 0n, 0n)];
  const { votes, prove } = await pending(set, auditors, { commitment: 0n });
  await set.ask('stranger', votes.registry, prove(), 'done', ask(1));
}, ALONE);

scene('a list that does not agree with the commitment, and a proof of something else, are refused', async (set) => {
  const auditors = auditorsOf(3);
  const { votes, list, commitment, prove } = await pending(set, auditors);
  const inputs = listInputs(auditors, list, commitment);
  const other = auditorList(auditorsOf(4));
  await set.ask('stranger', votes.registry, prove({ list: other, count: 4 }), 'ERR_OTHER_LIST', ask(4));
  const proofs = {
    'of another commitment': setup.prove([commitment + 1n, inputs[1], inputs[2]]),
    'of another challenge': setup.prove([inputs[0], inputs[1] + 1n, inputs[2]]),
    'of another value': setup.prove([inputs[0], inputs[1], inputs[2] + 1n]),
    'of another circuit': new Setup('another circuit').prove(inputs),
    'of a list without its last': setup.prove(listInputs(auditors.slice(0, 2), list, commitment)),
  };
  for (const proof of Object.values(proofs)) await set.ask('stranger', votes.registry, prove({ proof }), 'ERR_BAD_PROOF', ask(3));
  for (const count of [0, 2, 4, 65, 255]) await set.ask('stranger', votes.registry, prove({ count }), 'ERR_LIST_LENGTH', ask(count));
  const done = await set.ask('stranger', votes.registry, prove({ proof: setup.prove(inputs, 'another proof of the same') }), 'done', ask(3));
  assert.equal(messages(set, done, AUDITORS_SET, votes.registry).length, 1);
  assert.equal(messages(set, done, EXCESSES, votes.registry).length, 1);
}, ALONE);

scene('a proof with a point outside of its group, at infinity, or cut short is refused', async (set) => {
  const auditors = auditorsOf(2);
  const { votes, list, commitment, prove } = await pending(set, auditors);
  const points = setup.pointsFor(listInputs(auditors, list, commitment));
  const bad = [
    [{ a: G1.stray[0] }, 'ERR_BAD_POINT'], [{ c: G1.stray[1] }, 'ERR_BAD_POINT'], [{ b: G2.stray[0] }, 'ERR_BAD_POINT'],
    [{ a: G1.zero }, 'ERR_BAD_PROOF'], [{ b: G2.zero }, 'ERR_BAD_PROOF'], [{ c: G1.zero }, 'ERR_BAD_PROOF'],
  ];
  for (const [change, error] of bad) await set.ask('stranger', votes.registry, prove({ proof: proofCell({ ...points, ...change }) }), error, ask(2));
  const short = beginCell().storeBuffer(points.a).storeRef(cellOf(points.b)).endCell();
  await set.ask('stranger', votes.registry, prove({ proof: short }), 9, ask(2));
  const none = await set.stranger.call(votes.registry.address, TON, prove({ proof: beginCell().storeBuffer(points.a).storeBuffer(points.c).endCell() }));
  set.expect(votes.registry, none, 9);
}, ALONE);

for (const more of [0n, 5n]) {
  scene(`a commitment that is the order of the field and ${more} stands for another one, and is refused`, async (set) => {
    const auditors = auditorsOf(1);
    const { votes, prove } = await pending(set, auditors, { commitment: ORDER + more });
    await set.ask('stranger', votes.registry, prove(), 'ERR_NOT_IN_FIELD', ask(1));
  }, ALONE);
}

for (const [what, change, error] of [
  ['without a signature', (its) => ({ ...its, signature: null }), 'ERR_BAD_SIGNATURE'],
  ['who is nobody but has a second key', () => ({ ...NOBODY_THERE, x: 5n }), 'ERR_BAD_SIGNATURE'],
  ['who is nobody but has a second key\'s y', () => ({ ...NOBODY_THERE, y: 5n }), 'ERR_BAD_SIGNATURE'],
  ['with half a signature', (its) => ({ ...its, signature: its.signature.subarray(0, 32) }), 'ERR_BAD_SIGNATURE'],
  ['with a signature of another\'s key', (its) => ({ ...its, signature: auditor(keysOf('somebody else'), its.x, its.y).signature }), 'ERR_BAD_SIGNATURE'],
  ['with a signature over another key', (its) => ({ ...its, x: its.x + 1n }), 'ERR_BAD_SIGNATURE'],
  ['with a signature for another network', (its) => auditor(keysOf('auditor 0'), its.x, its.y, { network: -239 }), 'ERR_BAD_SIGNATURE'],
  ['with a signature under another tag', (its) => auditor(keysOf('auditor 0'), its.x, its.y, { tag: 'CCA1' }), 'ERR_BAD_SIGNATURE'],
  ['with x beyond the field', (its) => auditor(keysOf('auditor 0'), ORDER, its.y), 'ERR_NOT_IN_FIELD'],
  ['with y beyond the field', (its) => auditor(keysOf('auditor 0'), its.x, ORDER), 'ERR_NOT_IN_FIELD'],
]) {
  scene(`an auditor ${what} spoils the list`, async (set) => {
    const [first, second] = auditorsOf(2);
    const auditors = [second, change(first)];
    const { votes, prove } = await pending(set, auditors);
    await set.ask('stranger', votes.registry, prove(), error, ask(2));
    assert.equal((await votes.auditors()).commitment, 0n);
  }, ALONE);
}

scene('a change of the auditors that was decided later takes the place of an older one', async (set) => {
  const old = auditorsOf(2);
  const { votes, prove } = await pending(set, old);
  const next = auditorsOf(3);
  const list = auditorList(next);
  await votes.decide('owner', actions.auditors(list.hash(), 777n));
  await set.ask('stranger', votes.registry, prove(), 'ERR_OTHER_LIST', ask(2));
  // The old commitment for the new list.
  await set.ask('stranger', votes.registry, prove({ count: 3, list, proof: setup.prove(listInputs(next, list, 12_345n)) }), 'ERR_BAD_PROOF', ask(3));
  await set.ask('stranger', votes.registry, prove({ count: 3, list, proof: setup.prove(listInputs(next, list, 777n)) }), 'done', ask(3));
  assert.equal((await votes.auditors()).commitment, 777n);
}, ALONE);

scene('without a key for their circuit no auditors are taken', async (set) => {
  const votes = await ruled(set);
  const auditors = auditorsOf(1);
  const list = auditorList(auditors);
  await set.ask('stranger', votes.registry, votes.registry.proveAuditors(1, list, beginCell().endCell()), 'ERR_NOTHING_PENDING', ask(1));
  await votes.decide('owner', actions.auditors(list.hash(), 1n));
  await set.ask('stranger', votes.registry, votes.registry.proveAuditors(1, list, beginCell().endCell()), 'ERR_NO_KEY', ask(1));
}, ALONE);
