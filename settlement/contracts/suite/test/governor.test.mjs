// Locks, votes, the treasury and the emergency stop: the whole way of a change in its time, and whatever else somebody might try.
import assert from 'node:assert/strict';
import { beginCell, toNano } from '@ton/core';
import { ASKS, told, wayOf } from '../src/bounds.mjs';
import { op } from '../src/contract.mjs';
import { WEEK, actions, lockPayload } from '../src/governor.mjs';
import { COCOON, Minter, NOTHING, referred } from '../src/jetton.mjs';
import { DAY, TON, comment } from '../src/scene.mjs';
import { gained, messages, paidOut, scene } from '../src/scripts.mjs';
import { DELAY, VOTE, Votes, weightOf } from '../src/votes.mjs';

const ALONE = { stake: null };
const EXCESSES = 0xd53276db;
const MILLION = 1_000_000n * COCOON;
/// When a scene begins.
const NOW = 1_790_000_000;
/// Anything that can be decided.
const ANY = actions.standards(Buffer.alloc(32, 7));

/// Votes, in which these have locked so much for the longest time.
async function locked(set, amounts = { owner: MILLION }, options) {
  const votes = await Votes.made(set, options);
  for (const [person, amount] of Object.entries(amounts)) await votes.lock(person, amount, votes.week(104));
  await set.chain.passTime(1);
  return votes;
}

// ---- Locks.

scene('COCOON is locked by a transfer that says until when, and its lock is counted', async (set) => {
  const votes = await Votes.made(set);
  const before = await votes.cocoon.balance('owner');
  const week = votes.week(52);
  const done = await votes.lock('owner', MILLION, week);
  assert.deepEqual(await votes.lockState('owner'), { amount: MILLION, owed: 0n, week, since: votes.now });
  assert.equal(await votes.cocoon.balance('owner'), before - MILLION);
  assert.equal((await votes.state()).locked, MILLION);
  assert.equal(await votes.weight(), weightOf(MILLION, week, votes.now));
  assert.ok(paidOut(set, done, EXCESSES, votes.lockOf('owner')) > 0n, 'what it did not cost comes back');
  await set.chain.passTime(DAY);
  await votes.lock('owner', MILLION, week);
  assert.deepEqual(await votes.lockState('owner'), { amount: 2n * MILLION, owed: 0n, week, since: votes.now });
  await votes.lock('stranger', 7n * COCOON, votes.week(1));
  assert.equal((await votes.state()).locked, 2n * MILLION + 7n * COCOON);
}, ALONE);

scene('a payload behind a reference locks as well', async (set) => {
  const votes = await Votes.made(set);
  const week = votes.week(3);
  await votes.lock('owner', COCOON, week, { payload: referred(beginCell().storeUint(0x43470001, 32).storeUint(week, 32).endCell()) });
  assert.equal((await votes.lockState('owner')).amount, COCOON);
}, ALONE);

scene('what makes no lock goes back to whom it came from', async (set) => {
  const votes = await Votes.made(set);
  const before = await votes.cocoon.balance('owner');
  const word = (bits) => beginCell().storeBit(false).storeUint(bits, 64).endCell();
  const bad = [
    NOTHING, word(0x4347000200000bb8n), referred(comment('hello')), beginCell().storeBit(true).endCell(),
    beginCell().storeBit(false).storeUint(0x43470001, 32).storeUint(votes.week(3), 32).storeBit(true).endCell(), lockPayload(0),
  ];
  for (const payload of bad) {
    const done = await votes.lock('owner', COCOON, 0, { payload });
    set.expect(votes.governor, done, 'done');
    assert.equal(await votes.cocoon.balance('owner'), before);
  }
  assert.equal(await votes.lockState('owner'), undefined);
  assert.equal((await votes.state()).locked, 0n);
}, ALONE);

scene('what a lock does not take goes back to its owner, and the lock is as it was', async (set) => {
  const votes = await Votes.made(set);
  await votes.lock('owner', COCOON, votes.week(50));
  const before = [await votes.cocoon.balance('owner'), await votes.lockState('owner'), await votes.weight()];
  for (const [week, error] of [[0, 'ERR_LOCK_END'], [105, 'ERR_LOCK_END'], [49, 'ERR_LOCK_SHORTER']]) {
    const done = await votes.lock('owner', COCOON, votes.week(week));
    set.expect(votes.lockOf('owner'), done, error);
    assert.deepEqual([await votes.cocoon.balance('owner'), await votes.lockState('owner'), await votes.weight()], before);
  }
  // A lock that was never there does not stay.
  await votes.lock('stranger', COCOON, votes.week(105));
  assert.equal(await set.balance(votes.lockOf('stranger')), 0n);
  const none = await votes.lock('owner', 0n, votes.week(50));
  set.expect(votes.lockOf('owner'), none, 'ERR_LOCK_SAME');
}, ALONE);

scene('a lock is lengthened by its owner, never shortened', async (set) => {
  const votes = await Votes.made(set);
  const week = votes.week(2);
  await votes.lock('owner', COCOON, week);
  const lock = votes.lockOf('owner');
  await votes.refused('owner', lock.lengthen(week), 'ERR_LOCK_SAME');
  await votes.refused('owner', lock.lengthen(week - 1), 'ERR_LOCK_SHORTER');
  await votes.refused('owner', lock.lengthen(votes.week(105)), 'ERR_LOCK_END');
  await set.ask('thief', lock, lock.lengthen(week + 1), 'ERR_NOT_OWNER');
  await set.thief.call(lock.address, TON);
  await set.exactly('owner', lock, lock.lengthen(week + 1), ASKS.lengthen);
  assert.ok(await set.balance(lock) > TON, 'what somebody gave a lock stays there');
  assert.equal((await votes.lockState('owner')).week, week + 1);
  assert.equal(await votes.weeks(), 1, 'nothing ends any more when it ended before');
  assert.equal(await votes.weight(), weightOf(COCOON, week + 1, votes.now));
  await votes.lock('owner', COCOON, week + 9);
  assert.deepEqual(await votes.lockState('owner'), { amount: 2n * COCOON, owed: 0n, week: week + 9, since: votes.now });
}, ALONE);

scene('what was locked comes out at its end, once, and to its owner', async (set) => {
  const votes = await Votes.made(set);
  const week = votes.week(2);
  const before = await votes.cocoon.balance('owner');
  await votes.lock('owner', MILLION, week);
  await votes.lock('stranger', MILLION, week + 1);
  const lock = votes.lockOf('owner');
  await set.thief.call(lock.address, TON);
  await set.chain.passTime(week * WEEK - votes.now - 1);
  await votes.refused('owner', lock.unlock(), 'ERR_LOCK_RUNNING');
  await set.chain.passTime(1);
  await set.ask('thief', lock, lock.unlock(), 'ERR_NOT_OWNER');
  await set.exactly('owner', lock, lock.unlock(), ASKS.unlock);
  assert.equal(await votes.cocoon.balance('owner'), before);
  await votes.refused('owner', lock.unlock(), 'ERR_NOTHING_LOCKED');
  assert.equal((await votes.state()).locked, MILLION, 'the other lock is as it was');
  // What comes anew is locked anew; what was not taken out as well.
  await votes.lock('owner', COCOON, votes.week(1));
  assert.equal(await votes.weeks(), 1, 'a week that has begun is forgotten');
  await set.chain.passTime(WEEK);
  await votes.lock('owner', COCOON, votes.week(1));
  assert.equal((await votes.lockState('owner')).amount, 2n * COCOON);
  assert.equal(await votes.weight(), weightOf(2n * COCOON, votes.week(1), votes.now));
}, ALONE);

scene('a lock asks for its fees and no nano less, and so does COCOON that goes back', async (set) => {
  const votes = await Votes.made(set);
  const before = await votes.cocoon.balance('owner');
  await votes.lock('owner', COCOON, votes.week(9), { forward: ASKS.lock - 1n });
  assert.deepEqual([await votes.cocoon.balance('owner'), await votes.lockState('owner')], [before, undefined]);
  const done = await votes.lock('owner', COCOON, votes.week(9), { forward: ASKS.lock });
  for (const contract of set.contracts) for (const { outcome } of set.of(contract, done)) assert.equal(outcome, 'done');
  assert.ok(await set.balance(votes.lockOf('owner')) >= 10_000_000n);
  const refused = await votes.lock('owner', COCOON, votes.week(200), { forward: ASKS.lock });
  set.expect(votes.lockOf('owner'), refused, 'ERR_LOCK_END');
  assert.equal(await votes.cocoon.balance('owner'), before - COCOON);
  await votes.lock('owner', COCOON, 0, { forward: ASKS.cocoonBack, payload: NOTHING });
  assert.equal(await votes.cocoon.balance('owner'), before - COCOON);
  const poor = await votes.lock('owner', COCOON, 0, { forward: ASKS.cocoonBack - 1n, payload: NOTHING });
  set.expect(votes.governor, poor, 'ERR_TOO_LITTLE_VALUE');
  assert.equal(await votes.cocoon.balance('owner'), before - 2n * COCOON, 'nobody has the fees to send it back');
  assert.equal((await votes.state()).locked, COCOON);
}, ALONE);

scene('a token of the same make locks nothing', async (set) => {
  const votes = await Votes.made(set);
  const theirs = new Minter({ founder: set.thief.address });
  await set.thief.call(theirs.address, toNano('0.1'), undefined, { init: theirs.init });
  const all = Object.fromEntries(['reserve', 'treasury', 'stakers', 'opening'].map((part) => [part, set.thief.address]));
  await set.ask('thief', theirs, theirs.genesis(all), 'done', { value: TON });
  const wallet = theirs.wallet(set.thief.address);
  const done = await set.ask('thief', wallet, wallet.transfer(MILLION, votes.governor.address, { forward: ASKS.lock, payload: lockPayload(votes.week(9)) }), 'done', { value: TON });
  set.expect(votes.governor, done, 'ERR_NOT_A_WALLET');
  await set.ask('thief', votes.governor, votes.governor.notification(MILLION, set.thief.address, lockPayload(votes.week(9))), 'ERR_NOT_A_WALLET');
  assert.equal((await votes.state()).locked, 0n);
}, ALONE);

scene('before the contracts know each other nothing is locked, and they are told once', async (set) => {
  const votes = await Votes.made(set, { isIntroduced: false });
  const { governor, registry } = votes;
  const before = await votes.cocoon.balance('owner');
  await votes.lock('owner', COCOON, votes.week(9));
  assert.equal(await votes.cocoon.balance('owner'), before);
  await set.ask('requester', governor, governor.stop(), 'ERR_NOT_INTRODUCED');
  await set.ask('stranger', registry, registry.tell(2), 'ERR_NOT_INTRODUCED');
  const [forGovernor, forRegistry] = [governor.introduce({ registry: registry.address, rewards: set.treasury.address }), registry.introduce({ vault: set.dispute.address, rewards: set.treasury.address })];
  await set.ask('thief', governor, forGovernor, 'ERR_NOT_OWNER');
  await set.ask('thief', registry, forRegistry, 'ERR_NOT_OWNER');
  await set.exactly('owner', governor, forGovernor, ASKS.introduceGovernor);
  await set.exactly('owner', registry, forRegistry, ASKS.introduceRegistry);
  for (const contract of [governor, registry]) assert.equal(messages(set, set.chain.transactions, EXCESSES, contract).length, 1);
  await set.ask('owner', governor, forGovernor, 'ERR_INTRODUCED');
  await set.ask('owner', registry, forRegistry, 'ERR_INTRODUCED');
  const hash = (address) => BigInt(`0x${address.hash.toString('hex')}`);
  assert.deepEqual(await votes.state(), { next: 0n, stopped: 0n, locked: 0n, spent: 0n, founder: 0n, registry: hash(registry.address), rewards: hash(set.treasury.address) });
  await votes.lock('owner', COCOON, votes.week(9));
  assert.equal((await votes.state()).locked, COCOON);
}, ALONE);

scene('a governor with another code for its locks never begins', async (set) => {
  const votes = await Votes.made(set, { isIntroduced: false, stocked: { lockCode: comment('not the lock') } });
  await set.ask('owner', votes.governor, votes.governor.introduce({ registry: votes.registry.address, rewards: set.treasury.address }), 'ERR_BAD_LAYOUT');
}, ALONE);

// ---- Votes.

scene('a change goes its way in its time', async (set) => {
  const votes = await locked(set);
  const action = actions.parameter(3, 600n);
  const lock = votes.lockOf('owner');
  const phase = async () => (await votes.proposal(number))?.phase;
  const number = await votes.propose('owner', action);
  const all = await votes.weight();
  assert.deepEqual(await votes.proposal(number), { weight: 1, phase: 'waiting', proposed: votes.now, all, yes: 0n, no: 0n });
  await set.chain.passTime(DELAY - 1);
  assert.equal(await phase(), 'waiting');
  await votes.refused('owner', lock.vote(number, true), 'ERR_NOT_OPEN', votes.governor);
  await set.chain.passTime(1);
  assert.equal(await phase(), 'open');
  await votes.vote('owner', number);
  assert.equal((await votes.proposal(number)).yes, all);
  await votes.refused('owner', lock.vote(number, true), 'ERR_VOTED');
  await set.chain.passTime(VOTE - 1);
  assert.equal(await phase(), 'open');
  await votes.refused('owner', lock.vote(number, false), 'ERR_VOTED');
  await votes.execute(number, action, { expected: 'ERR_NOT_READY' });
  await set.chain.passTime(1);
  assert.equal(await phase(), 'passed');
  await votes.refused('owner', lock.vote(number, false), 'ERR_NOT_OPEN', votes.governor);
  await set.chain.passTime(7 * DAY - 1);
  assert.equal(await phase(), 'passed');
  await votes.execute(number, action, { expected: 'ERR_NOT_READY' });
  await set.chain.passTime(1);
  assert.equal(await phase(), 'ready');
  await votes.execute(number, actions.parameter(3, 601n), { expected: 'ERR_OTHER_ACTION' });
  const done = await votes.execute(number, action);
  set.expect(votes.registry, done, 'done');
  assert.deepEqual(await votes.parameter(3), { value: 600, changed: votes.now });
  assert.equal(await phase(), 'done');
  await votes.execute(number, action, { expected: 'ERR_NOT_READY' });
  await votes.execute(9, action, { expected: 'ERR_NO_PROPOSAL' });
}, ALONE);

scene('what nobody carries out in time lapses', async (set) => {
  const votes = await locked(set);
  const action = actions.parameter(0, 4_400n);
  const number = await votes.ready('owner', action, 2 * DAY);
  assert.equal((await votes.proposal(number)).phase, 'ready');
  await set.chain.passTime(14 * DAY - 1);
  assert.equal((await votes.proposal(number)).phase, 'ready');
  await set.chain.passTime(1);
  assert.equal((await votes.proposal(number)).phase, 'lapsed');
  await votes.execute(number, action, { expected: 'ERR_NOT_READY' });
  assert.equal((await votes.parameter(0)).value, 4_096);
}, ALONE);

scene('what tunes waits two days, and what moves money or decides what is believed seven', async (set) => {
  const votes = await locked(set);
  const cell = beginCell().endCell();
  const classes = [
    ...Array.from({ length: 8 }, (_, which) => [actions.parameter(which, 1n), which < 3 ? 0 : 1]),
    [actions.spendCocoon(set.thief.address, 1n), 1], [actions.spendTon(set.thief.address, 1n), 1],
    [actions.verifyingKey(1, cell), 2], [actions.auditors(Buffer.alloc(32), 1n), 2], [ANY, 2],
  ];
  const lock = votes.lockOf('owner');
  for (const [n, [action, weight]] of classes.entries()) {
    if (n % 8 === 0) await set.chain.passTime(DELAY + VOTE);
    const number = await votes.propose('owner', action);
    assert.equal((await votes.proposal(number)).weight, weight, `action ${n}`);
  }
  for (const action of [beginCell().endCell(), beginCell().storeUint(0x43472099, 32).endCell()]) await votes.refused('owner', lock.propose(action), 'ERR_NO_ACTION', votes.governor);
  await votes.refused('owner', lock.propose(actions.parameter(9, 1n)), 'ERR_NO_PARAMETER', votes.governor);
  await set.chain.passTime(DELAY + VOTE);
  for (const [action, days] of [[actions.parameter(2, 1n), 2], [actions.parameter(3, 1n), 7], [ANY, 7]]) {
    const number = await votes.propose('owner', action);
    await set.chain.passTime(DELAY);
    await votes.vote('owner', number);
    await set.chain.passTime(VOTE + days * DAY - 1);
    assert.equal((await votes.proposal(number)).phase, 'passed');
    await set.chain.passTime(1);
    assert.equal((await votes.proposal(number)).phase, 'ready');
  }
}, ALONE);

/// What becomes of a proposal on which these vote yes and no, out of these weights.
async function outcome(set, votes, action, yes, no) {
  const number = await votes.propose('owner', action);
  await set.chain.passTime(DELAY);
  for (const person of yes) await votes.vote(person, number, true);
  for (const person of no) await votes.vote(person, number, false);
  await set.chain.passTime(VOTE);
  return (await votes.proposal(number)).phase;
}

scene('a third must take part, and more than half of it agree', async (set) => {
  const votes = await locked(set, { owner: 17n * COCOON * 104n, stranger: 16n * COCOON * 104n + 9n, dispute: 67n * COCOON * 104n });
  const money = actions.parameter(3, 600n);
  assert.equal(await outcome(set, votes, money, ['owner'], ['stranger']), 'passed');
  await votes.lock('dispute', 2n * COCOON * 104n, votes.week(104));
  await set.chain.passTime(1);
  assert.equal(await outcome(set, votes, money, ['owner'], ['stranger']), 'refused', '33 of 102');
  assert.equal(await outcome(set, votes, money, [], []), 'refused', 'nobody came');
}, ALONE);

scene('half is not more than half, and what decides what is believed takes two thirds', async (set) => {
  const votes = await locked(set, { owner: 20n * COCOON, stranger: 20n * COCOON, dispute: 20n * COCOON });
  const money = actions.parameter(3, 600n);
  assert.equal(await outcome(set, votes, money, ['owner'], ['stranger']), 'refused');
  assert.equal(await outcome(set, votes, money, ['owner', 'stranger'], ['dispute']), 'passed');
  assert.equal(await outcome(set, votes, ANY, ['owner', 'stranger'], ['dispute']), 'passed', 'two thirds');
  await votes.lock('dispute', COCOON, votes.week(104));
  await set.chain.passTime(1);
  assert.equal(await outcome(set, votes, ANY, ['owner', 'stranger'], ['dispute']), 'refused', 'less');
}, ALONE);

scene('the third and the two thirds are met to the unit', async (set) => {
  const tallies = [
    [{ weight: 1, all: 100n, yes: 17n, no: 16n }, 'passed'], [{ weight: 1, all: 101n, yes: 17n, no: 16n }, 'refused'],
    [{ weight: 1, all: 9n, yes: 3n, no: 3n }, 'refused'], [{ weight: 2, all: 9n, yes: 6n, no: 3n }, 'passed'],
    [{ weight: 2, all: 10n, yes: 6n, no: 4n }, 'refused'], [{ weight: 0, all: 9n, yes: 0n, no: 0n }, 'refused'],
  ];
  const proposals = tallies.map(([its], n) => [n, { ...its, proposed: NOW - 11 * DAY - 60 }]);
  const votes = await Votes.made(set, { stocked: { proposals, next: proposals.length } });
  for (const [n, [, phase]] of tallies.entries()) assert.equal((await votes.proposal(n)).phase, phase, `tally ${n}`);
}, ALONE);

scene('who has too little does not propose', async (set) => {
  const votes = await locked(set, { owner: 999n * COCOON, stranger: 998_001n * COCOON, dispute: 1_000n * COCOON });
  await votes.refused('owner', votes.lockOf('owner').propose(ANY), 'ERR_TOO_LIGHT', votes.governor);
  assert.equal(await votes.propose('dispute', ANY), 0);
  await set.chain.passTime(105 * WEEK);
  await votes.refused('dispute', votes.lockOf('dispute').propose(ANY), 'ERR_TOO_LIGHT', votes.governor);
  await set.ask('thief', votes.lockOf('dispute'), votes.lockOf('dispute').propose(ANY), 'ERR_NOT_OWNER');
}, ALONE);

scene('proposals at once are bounded, and what is decided makes room', async (set) => {
  const votes = await locked(set);
  for (let number = 0; number < 8; number += 1) assert.equal(await votes.propose('owner', ANY), number);
  const lock = votes.lockOf('owner');
  await votes.refused('owner', lock.propose(ANY), 'ERR_TOO_MANY_PROPOSALS', votes.governor);
  await set.chain.passTime(DELAY);
  for (let number = 0; number < 7; number += 1) await votes.vote('owner', number);
  await set.chain.passTime(VOTE - 1);
  await votes.refused('owner', lock.propose(ANY), 'ERR_TOO_MANY_PROPOSALS', votes.governor);
  await set.chain.passTime(1);
  assert.equal(await votes.propose('owner', ANY), 8);
  assert.equal(await votes.proposal(7), undefined, 'nobody voted on it: it is refused and forgotten');
  assert.equal((await votes.proposal(0)).phase, 'passed');
  await set.chain.passTime(7 * DAY);
  await votes.execute(0, ANY);
  await votes.propose('owner', ANY);
  assert.equal(await votes.proposal(0), undefined);
  await set.chain.passTime(14 * DAY);
  await votes.propose('owner', ANY);
  assert.equal(await votes.proposal(1), undefined, 'lapsed');
}, ALONE);

scene('a lock keeps its votes until they are over and no longer', async (set) => {
  const votes = await locked(set);
  for (let number = 0; number < 8; number += 1) await votes.propose('owner', ANY);
  await set.chain.passTime(DELAY);
  for (let number = 0; number < 8; number += 1) await votes.vote('owner', number, number % 2 === 0);
  const lock = votes.lockOf('owner');
  await votes.refused('owner', lock.vote(99, true), 'ERR_TOO_MANY_PROPOSALS');
  const ballots = async () => (await set.chain.get(lock.address, 'lock_state'))[4];
  assert.equal((await ballots()).type, 'cell');
  await set.chain.passTime(VOTE);
  const next = await votes.propose('owner', ANY);
  await set.chain.passTime(DELAY);
  await votes.vote('owner', next);
  await votes.refused('owner', lock.vote(99, true), 'ERR_NO_PROPOSAL', votes.governor);
  await votes.refused('owner', lock.vote(99, true), 'ERR_NO_PROPOSAL', votes.governor);
  await votes.refused('owner', lock.vote(next, true), 'ERR_VOTED');
}, ALONE);

scene('weight that came after the proposal, was added to, or leaves before the end has no voice', async (set) => {
  const votes = await locked(set, { dispute: MILLION });
  await votes.lock('owner', MILLION, votes.week(100));
  await votes.lock('stranger', MILLION, votes.week(1));
  await set.chain.passTime(1);
  const number = await votes.propose('owner', ANY);
  // In the second of the proposal.
  await votes.lock('dispute', COCOON, votes.week(104));
  await set.chain.passTime(DELAY);
  await votes.refused('dispute', votes.lockOf('dispute').vote(number, true), 'ERR_NO_VOICE', votes.governor);
  await votes.refused('stranger', votes.lockOf('stranger').vote(number, true), 'ERR_NO_VOICE', votes.governor);
  await votes.ask('owner', votes.lockOf('owner').lengthen(votes.week(104)));
  await votes.refused('owner', votes.lockOf('owner').vote(number, true), 'ERR_NO_VOICE', votes.governor);
  const { yes, no } = await votes.proposal(number);
  assert.deepEqual([yes, no], [0n, 0n]);
}, ALONE);

scene('a lock so small that it weighs nothing has no voice', async (set) => {
  const votes = await locked(set);
  await votes.lock('stranger', 1n, votes.week(100));
  await set.chain.passTime(1);
  const number = await votes.propose('owner', ANY);
  await set.chain.passTime(DELAY);
  await votes.refused('stranger', votes.lockOf('stranger').vote(number, true), 'ERR_NO_VOICE', votes.governor);
}, ALONE);

scene('a lock that ends with the vote has a voice, and one that ends a second before has none', async (set) => {
  const votes = await locked(set);
  await votes.lock('stranger', MILLION, votes.week(3));
  const ends = (await votes.lockState('stranger')).week * WEEK;
  await set.chain.passTime(ends - DELAY - VOTE - votes.now);
  const number = await votes.propose('owner', ANY);
  await set.chain.passTime(1);
  const late = await votes.propose('owner', ANY);
  await set.chain.passTime(DELAY);
  await votes.vote('stranger', number);
  await votes.refused('stranger', votes.lockOf('stranger').vote(late, true), 'ERR_NO_VOICE', votes.governor);
}, ALONE);

scene('what was taken out or never was has no voice', async (set) => {
  const votes = await locked(set);
  await votes.lock('stranger', MILLION, votes.week(1));
  await set.chain.passTime(WEEK);
  await votes.ask('stranger', votes.lockOf('stranger').unlock());
  const number = await votes.propose('owner', ANY);
  await set.chain.passTime(DELAY);
  await votes.refused('stranger', votes.lockOf('stranger').vote(number, true), 'ERR_NO_VOICE', votes.governor);
  await set.ask('thief', votes.lockOf('owner'), votes.lockOf('owner').vote(number, true), 'ERR_NOT_OWNER');
}, ALONE);

scene('a lock of another governor has no voice here, and nobody speaks for a lock', async (set) => {
  const votes = await locked(set);
  const number = await votes.propose('owner', ANY);
  await set.chain.passTime(DELAY);
  const { governor } = votes;
  const week = votes.week(100);
  const words = [
    governor.voice(set.owner.address, { number, amount: MILLION, week }), governor.locked(set.owner.address, { amount: MILLION, week }),
    governor.unlocked(set.owner.address, MILLION), governor.proposal(set.owner.address, { amount: MILLION, week, action: ANY }),
  ];
  for (const body of words) for (const person of ['owner', 'thief']) await set.ask(person, governor, body, 'ERR_NOT_A_LOCK');
  const lock = votes.lockOf('owner');
  for (const body of [lock.lockMore(MILLION, week), lock.counted(1), lock.voted(number, 1), lock.notPaid(MILLION)]) {
    await set.ask('owner', lock, body, 'ERR_NOT_GOVERNOR', { value: TON });
  }
}, ALONE);

scene('a vote and a proposal ask for their fees and no nano less', async (set) => {
  const votes = await locked(set);
  const lock = votes.lockOf('owner');
  await set.thief.call(lock.address, TON);
  const giant = (depth) => (depth === 0 ? beginCell().endCell() : beginCell().storeBuffer(Buffer.alloc(120, depth)).storeRef(giant(depth - 1)).endCell());
  for (const action of [ANY, actions.verifyingKey(1, giant(40))]) await set.exactly('owner', lock, lock.propose(action), wayOf(action) + ASKS.propose);
  await set.chain.passTime(DELAY);
  await set.exactly('owner', lock, lock.vote(0, true), ASKS.vote);
  // Rent ate of the lock's reserve: whoever wants something makes it good.
  await votes.lock('stranger', MILLION, votes.week(104));
  await set.chain.passTime(50 * WEEK);
  const other = votes.lockOf('stranger');
  await set.ask('stranger', other, other.lengthen(votes.week(104)), 'ERR_TOO_LITTLE_VALUE', { value: ASKS.lengthen });
  await set.ask('stranger', other, other.lengthen(votes.week(104)), 'done', { value: ASKS.lengthen + 3_000_000n });
  assert.ok(await set.balance(other) >= 10_000_000n);
}, ALONE);

// ---- At its largest.

const THIS_WEEK = Math.floor(NOW / WEEK);

const WEEKS = Array.from({ length: 104 }, (_, n) => [THIS_WEEK + 1 + n, 3n * MILLION + BigInt(n)]);
/// Proposals of so many days ago.
const passed = (days, action = ANY) => days.map((ago, n) => [n, { weight: 2, all: 1n, yes: MILLION, no: 0n, proposed: NOW - ago * DAY + n, action: action.hash() }]);

scene('a governor at its largest does all of it within its bounds', async (set) => {
  const action = actions.spendCocoon(set.thief.address, COCOON);
  const proposals = passed(Array.from({ length: 24 }, (_, n) => (n < 16 ? 31 : 0)), action);
  const votes = await Votes.made(set, { stocked: { weeks: WEEKS, proposals, next: 24 } });
  const lock = votes.lockOf('owner');
  await votes.lock('owner', MILLION, THIS_WEEK + 103);
  await votes.ask('owner', lock.lengthen(THIS_WEEK + 104));
  await set.chain.passTime(DAY + 30);
  for (let number = 16; number < 24; number += 1) await votes.vote('owner', number);
  await set.chain.passTime(17 * DAY);
  votes.cocoon.of(set.thief.address);
  await votes.execute(20, action);
  // Two weeks are over, and the lock goes from one week that is to come to another.
  await votes.ask('owner', lock.lengthen(THIS_WEEK + 106));
  // Sixteen have lapsed, one is done and seven pass.
  await votes.ask('owner', lock.propose(ANY));
  assert.deepEqual([await votes.proposal(15), await votes.proposal(20)], [undefined, undefined]);
  // All weeks are over, and two are forgotten each time.
  await set.chain.passTime(104 * WEEK);
  await votes.lock('owner', MILLION, votes.week(104));
  assert.equal(await votes.weeks(), 102);
  await votes.ask('owner', lock.propose(ANY));
}, ALONE);

scene('all that could be decided lapsed at once', async (set) => {
  const votes = await Votes.made(set, { stocked: { weeks: WEEKS, proposals: passed(Array.from({ length: 24 }, () => 40)), next: 24 } });
  await votes.lock('owner', MILLION, THIS_WEEK + 104);
  await votes.ask('owner', votes.lockOf('owner').propose(ANY));
  assert.equal(await votes.proposal(23), undefined);
}, ALONE);

/// Numbers and weeks of which a dictionary forks most on the way to one: no run of as many has a longer way.
const FORKED = { number: 16, numbers: Array.from({ length: 24 }, (_, n) => 9 + n), week: 3_008, weeks: Array.from({ length: 104 }, (_, n) => 2_976 + n) };

scene('a governor at its largest whose numbers and weeks fork most does all of it within its bounds', async (set) => {
  const action = actions.spendCocoon(set.thief.address, COCOON);
  const { number, numbers, week, weeks } = FORKED;
  await set.chain.passTime((weeks[0] - 1) * WEEK + DAY - NOW);
  const proposals = numbers.map((n) => [n, { weight: 1, all: 1n, yes: MILLION + BigInt(n), no: 0n, proposed: set.chain.now + 60, action: action.hash() }]);
  const votes = await Votes.made(set, { stocked: { weeks: weeks.map((n) => [n, MILLION + BigInt(n)]), proposals, next: 33, start: NOW } });
  const lock = votes.lockOf('owner');
  await votes.lock('owner', MILLION, week);
  await set.thief.call(lock.address, TON);
  await set.chain.passTime(DELAY + 60);
  await set.exactly('owner', lock, lock.vote(number, true), ASKS.vote);
  await set.chain.passTime(VOTE + 7 * DAY);
  votes.cocoon.of(set.thief.address);
  await set.exactly('stranger', votes.governor, votes.governor.execute(number, action), ASKS.execute(wayOf(action)));
  // Two weeks are over, and others still have something in the week that the lock leaves.
  await set.exactly('owner', lock, lock.lengthen(week + 1), ASKS.lengthen);
  assert.equal(await votes.weeks(), 102);
}, ALONE);

scene('a proposal finds the most weeks, and room where the most lapsed, within its bound', async (set) => {
  const weeks = FORKED.weeks.map((week) => week - 7);
  await set.chain.passTime(weeks[0] * WEEK - 20 - NOW);
  const proposed = (n) => set.chain.now - (n < 22 ? 40 : 19) * DAY + n;
  const proposals = FORKED.numbers.map((number, n) => [number, { weight: 2, all: 1n, yes: MILLION, no: 0n, proposed: proposed(n), action: ANY.hash() }]);
  const votes = await Votes.made(set, { stocked: { weeks: weeks.map((n) => [n, MILLION + BigInt(n)]), proposals, next: 33 } });
  await votes.lock('owner', MILLION, weeks.at(-1));
  await set.exactly('owner', votes.lockOf('owner'), votes.lockOf('owner').propose(ANY), wayOf(ANY) + ASKS.propose);
  assert.deepEqual([await votes.proposal(30), (await votes.proposal(31)).phase], [undefined, 'ready']);
}, ALONE);

// ---- The treasury.

scene('the treasury pays what has vested and not a unit of what is locked', async (set) => {
  const votes = await locked(set);
  const start = 1_790_000_000;
  const vested = () => (20n * MILLION * BigInt(votes.now - start)) / BigInt(730 * DAY);
  const number = await votes.propose('owner', actions.spendCocoon(set.thief.address, COCOON));
  const amount = (20n * MILLION * BigInt(votes.now + DELAY + VOTE + 7 * DAY - start)) / BigInt(730 * DAY);
  const [all, more] = [actions.spendCocoon(set.thief.address, amount), actions.spendCocoon(set.thief.address, amount + 1n)];
  const [first, second] = [await votes.propose('owner', all), await votes.propose('owner', more)];
  await set.chain.passTime(DELAY);
  for (const n of [number, first, second]) await votes.vote('owner', n);
  await set.chain.passTime(VOTE + 7 * DAY);
  assert.equal(vested(), amount);
  await votes.execute(second, more, { expected: 'ERR_NOT_VESTED' });
  votes.cocoon.of(set.thief.address);
  await set.exactly('stranger', votes.governor, votes.governor.execute(first, all), ASKS.execute(wayOf(all)));
  assert.equal(await votes.cocoon.balance('thief'), amount);
  assert.equal((await votes.state()).spent, amount);
  await votes.execute(number, actions.spendCocoon(set.thief.address, COCOON), { expected: 'ERR_NOT_VESTED' });
  // It can be tried again once there is enough.
  await set.chain.passTime(60);
  await votes.execute(number, actions.spendCocoon(set.thief.address, COCOON));
  assert.equal(await votes.cocoon.balance('thief'), amount + COCOON);
}, ALONE);

scene('after two years the whole treasury can be spent, and nothing beyond it', async (set) => {
  const votes = await locked(set);
  await set.chain.passTime(100 * WEEK);
  await votes.lock('owner', COCOON, votes.week(104));
  await set.chain.passTime(30 * DAY);
  const [all, more] = [20n * MILLION, 20n * MILLION + 1n].map((amount) => actions.spendCocoon(set.thief.address, amount));
  const [first, second] = [await votes.propose('owner', all), await votes.propose('owner', more)];
  await set.chain.passTime(DELAY);
  for (const n of [first, second]) await votes.vote('owner', n);
  await set.chain.passTime(VOTE + 7 * DAY);
  await votes.execute(second, more, { expected: 'ERR_NOT_VESTED' });
  votes.cocoon.of(set.thief.address);
  await votes.execute(first, all);
  await votes.execute(second, more, { expected: 'ERR_NOT_VESTED' });
  assert.equal(await votes.cocoon.balance(votes.governor.address), (await votes.state()).locked);
}, ALONE);

scene('the treasury pays TON but for what storage needs', async (set) => {
  const votes = await locked(set, undefined, { value: toNano(5) });
  const { governor } = votes;
  await set.stranger.call(governor.address, TON, op(0x43560101).endCell());
  const [some, much] = [actions.spendTon(set.thief.address, 3n * TON), actions.spendTon(set.thief.address, 3n * TON)];
  const [first, second] = [await votes.propose('owner', some), await votes.propose('owner', much)];
  await set.chain.passTime(DELAY);
  for (const n of [first, second]) await votes.vote('owner', n);
  await set.chain.passTime(VOTE + 7 * DAY);
  const ask = ASKS.execute(wayOf(some));
  votes.treasury -= 3n * TON;
  const got = await gained(set, set.thief.address, () => set.ask('stranger', governor, governor.execute(first, some), 'done', { value: ask }));
  assert.ok(got > 3n * TON - 500_000n && got <= 3n * TON);
  await votes.execute(second, much, { expected: 'ERR_TREASURY_EMPTY' });
  assert.ok(await set.balance(governor) > TON);
  // Filled up until there is a nano-unit too little, and then to the unit, all within a second, so that no rent falls due.
  const fill = async (value) => { await set.stranger.call(governor.address, value); return set.balance(governor); };
  const [before, after] = [await set.balance(governor), await fill(TON / 10n)];
  const cost = before + TON / 10n - after;
  assert.equal(await fill(4n * TON - 1n - after + cost), 4n * TON - 1n);
  await votes.execute(second, much, { expected: 'ERR_TREASURY_EMPTY' });
  assert.equal(await fill(1n + cost), 4n * TON);
  votes.treasury = TON;
  const done = await votes.execute(second, much);
  assert.equal(paidOut(set, done, 0x43470102, governor), 3n * TON);
}, ALONE);

// ---- The emergency stop.

scene('the guardian stops payouts for seven days, and not again before thirty have passed', async (set) => {
  const votes = await Votes.made(set);
  const { governor } = votes;
  for (const person of ['owner', 'thief', 'treasury']) await set.ask(person, governor, governor.stop(), 'ERR_NOT_GUARDIAN');
  await set.exactly('requester', governor, governor.stop(), ASKS.stop);
  const stopped = votes.now;
  assert.equal((await votes.state()).stopped, BigInt(stopped));
  await set.chain.passTime(30 * DAY - 1);
  await set.ask('requester', governor, governor.stop(), 'ERR_STOPPED_LATELY');
  await set.chain.passTime(1);
  const done = await set.ask('requester', governor, governor.stop());
  const [said] = messages(set, done, 0x43520012, governor);
  assert.ok(said.info.dest.equals(set.treasury.address));
  assert.equal(said.info.value.coins, told);
  assert.equal(messages(set, done, EXCESSES, governor).length, 1);
  assert.equal(said.body.beginParse().skip(96).loadUint(32), votes.now + 7 * DAY);
  for (const body of [governor.introduce({ registry: set.thief.address, rewards: set.thief.address }), governor.execute(0, ANY)]) {
    assert.notEqual(set.at(governor, await set.requester.call(governor.address, TON, body)), 'done', 'the guardian can do nothing else');
  }
}, ALONE);

scene('words nobody knows come back, and money without words stays', async (set) => {
  const votes = await locked(set);
  for (const contract of [votes.governor, votes.lockOf('owner'), votes.registry]) {
    for (const body of [comment('hello'), op(0x43560099).endCell(), beginCell().storeUint(1, 8).endCell()]) await set.ask('stranger', contract, body, 'ERR_UNKNOWN_MESSAGE');
    const before = await set.balance(contract);
    await set.stranger.call(contract.address, TON);
    assert.ok(await set.balance(contract) > before + TON - 500_000n);
  }
  await set.ask('stranger', votes.governor, op(EXCESSES).endCell());
  await set.ask('stranger', votes.registry, op(EXCESSES).endCell());
}, ALONE);
