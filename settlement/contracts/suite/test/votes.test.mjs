// What no wallet of ours sends to governor, locks and registry, and what comes back that never should. On TON's emulator alone.
import assert from 'node:assert/strict';
import { Address, beginCell } from '@ton/core';
import { ASKS } from '../src/bounds.mjs';
import { EXIT, op } from '../src/contract.mjs';
import { Lock, WEEK, actions, lockPayload } from '../src/governor.mjs';
import { COCOON, NOTHING } from '../src/jetton.mjs';
import { Sandbox } from '../src/sandbox.mjs';
import { DAY, TON } from '../src/scene.mjs';
import { messages, scene as script } from '../src/scripts.mjs';
import { DELAY, VOTE, Votes } from '../src/votes.mjs';

const scene = (name, body) => script(name, body, { stake: null, backend: () => Sandbox.start() });
const twin = ({ address }) => new Address(-1, address.hash);
const MILLION = 1_000_000n * COCOON;
const ANY = actions.standards(Buffer.alloc(32, 7));
const EXCESSES = 0xd53276db;

/// A message out of nowhere, which has to end so.
async function inject(set, from, contract, body, expected = 'done', { value = TON, init, bounced = false } = {}) {
  const done = await set.chain.inject({ from, to: contract.address, value, bounce: false, body, init, bounced });
  assert.equal(set.at(contract, done), expected === 'done' ? 'done' : `exit ${EXIT[expected] ?? expected}`);
  return done;
}

scene('who has the same hash in the masterchain is somebody else', async (set) => {
  const votes = await Votes.made(set);
  const { governor, registry, cocoon } = votes;
  await votes.lock('owner', MILLION, votes.week(104));
  await set.chain.passTime(1);
  const number = await votes.propose('owner', ANY);
  await set.chain.passTime(DELAY);
  const lock = votes.lockOf('owner');
  const week = votes.week(104);
  const refused = (from, contract, body, error) => inject(set, twin(from), contract, body, error);
  for (const body of [lock.vote(number, true), lock.propose(ANY), lock.unlock(), lock.lengthen(week)]) await refused(set.owner, lock, body, 'ERR_NOT_OWNER');
  for (const body of [lock.lockMore(MILLION, week), lock.counted(1), lock.voted(number, 1), lock.notPaid(1n)]) await refused(governor, lock, body, 'ERR_NOT_GOVERNOR');
  const words = [
    governor.voice(set.owner.address, { number, amount: MILLION, week }), governor.locked(set.owner.address, { amount: MILLION, week }),
    governor.unlocked(set.owner.address, MILLION), governor.proposal(set.owner.address, { amount: MILLION, week, action: ANY }),
  ];
  for (const body of words) await refused(lock, governor, body, 'ERR_NOT_A_LOCK');
  await refused(cocoon.of(governor.address), governor, governor.notification(MILLION, set.owner.address, lockPayload(week)), 'ERR_NOT_A_WALLET');
  await refused(set.requester, governor, governor.stop(), 'ERR_NOT_GUARDIAN');
  await refused(governor, registry, registry.change(set.owner.address, ANY), 'ERR_NOT_GOVERNOR');
});

scene('a lock speaks for its own owner', async (set) => {
  const votes = await Votes.made(set);
  const { governor } = votes;
  await votes.lock('owner', MILLION, votes.week(104));
  await set.chain.passTime(1);
  const number = await votes.propose('owner', ANY);
  await set.chain.passTime(DELAY);
  const week = votes.week(104);
  const lock = votes.lockOf('owner').address;
  const words = [
    governor.voice(set.thief.address, { number, amount: MILLION, week }), governor.locked(set.thief.address, { amount: MILLION, week }),
    governor.unlocked(set.thief.address, MILLION), governor.proposal(set.thief.address, { amount: MILLION, week, action: ANY }),
  ];
  for (const body of words) await inject(set, lock, governor, body, 'ERR_NOT_A_LOCK');
  // The same owner's lock of another governor.
  const foreign = new Lock({ lockCode: governor.lockCode, address: set.thief.address }, set.owner.address);
  for (const body of [governor.voice(set.owner.address, { number, amount: MILLION, week }), governor.unlocked(set.owner.address, MILLION)]) {
    await inject(set, foreign.address, governor, body, 'ERR_NOT_A_LOCK');
  }
});

scene('a registry that knows nobody yet changes nothing', async (set) => {
  const votes = await Votes.made(set, { isIntroduced: false });
  await inject(set, votes.governor.address, votes.registry, votes.registry.change(set.owner.address, ANY), 'ERR_NOT_INTRODUCED');
});

scene('a registry spends nothing and takes nothing that is no action', async (set) => {
  const votes = await Votes.made(set);
  const change = (action) => votes.registry.change(set.owner.address, action);
  const inTrouble = [[actions.spendCocoon(set.thief.address, 1n), 'ERR_NO_ACTION'], [actions.spendTon(set.thief.address, 1n), 'ERR_NO_ACTION'], [actions.parameter(9, 1n), 'ERR_NO_PARAMETER']];
  for (const [action, error] of inTrouble) await inject(set, votes.governor.address, votes.registry, change(action), error);
});

scene('COCOON from nobody is no lock', async (set) => {
  const votes = await Votes.made(set);
  const { governor, cocoon } = votes;
  await inject(set, cocoon.of(governor.address).address, governor, governor.notification(MILLION, null, lockPayload(votes.week(9))), 'ERR_NOT_A_WALLET');
});

scene('while the governor has not counted a lock, nothing else becomes of it', async (set) => {
  const votes = await Votes.made(set);
  // Its governor is nowhere, so that whatever it says comes back.
  const absent = { address: new Address(0, Buffer.alloc(32, 5)), lockCode: votes.governor.lockCode };
  const lock = new Lock(absent, set.owner.address);
  const state = async () => {
    const [amount, owed, week, since, ballots] = (await set.chain.get(lock.address, 'lock_state')).map(({ value, cell }) => value ?? cell ?? null);
    return { amount, owed, week: Number(week), since: Number(since), ballots };
  };
  const week = votes.week(2);
  const first = await inject(set, absent.address, lock, lock.lockMore(MILLION, week), 'done', { init: lock.init });
  assert.equal(messages(set, first, EXCESSES, lock).length, 1, 'what came back is the owner\'s');
  const NEVER = 0xffffffff;
  assert.deepEqual(await state(), { amount: MILLION, owed: 0n, week, since: NEVER, ballots: null });
  await inject(set, absent.address, lock, lock.lockMore(1n, week), 'ERR_NOT_COUNTED');
  await set.ask('owner', lock, lock.lengthen(week + 1), 'ERR_NOT_COUNTED');
  await set.ask('owner', lock, lock.propose(ANY), 'ERR_NOT_COUNTED');
  // A voice that comes back was not given.
  for (const _ of [1, 2]) await set.ask('owner', lock, lock.vote(3, true), 'done');
  assert.equal((await state()).ballots, null);
  await inject(set, absent.address, lock, lock.counted(7));
  assert.equal((await state()).since, 7);
  await set.ask('owner', lock, lock.propose(ANY), 'done');
  // What cannot be taken out is owed, whatever becomes of the lock.
  await set.chain.passTime(week * WEEK - votes.now);
  await set.ask('owner', lock, lock.unlock(), 'done');
  assert.deepEqual(await state(), { amount: 0n, owed: MILLION, week, since: 7, ballots: null });
  await inject(set, absent.address, lock, lock.lockMore(3n, week + 5));
  assert.deepEqual(await state(), { amount: 3n, owed: MILLION, week: week + 5, since: NEVER, ballots: null });
  const taken = await set.ask('owner', lock, lock.unlock(), 'done');
  const [said] = messages(set, taken, 0x43470014, lock);
  assert.equal(said.body.beginParse().skip(96).loadCoins(), MILLION, 'what is owed, and not what still runs');
  await inject(set, absent.address, lock, lock.notPaid(5n));
  assert.equal((await state()).owed, MILLION + 5n);
});

scene('a vote that is under way is not given twice, and is not forgotten', async (set) => {
  const votes = await Votes.made(set);
  await votes.lock('owner', MILLION, votes.week(104));
  await set.chain.passTime(1);
  const lock = votes.lockOf('owner');
  const number = await votes.propose('owner', ANY);
  await inject(set, votes.governor.address, lock, lock.voted(number, 0xffffffff));
  await set.chain.passTime(DELAY);
  await votes.refused('owner', lock.vote(number, true), 'ERR_VOTED');
  await set.chain.passTime(VOTE);
  await votes.refused('owner', lock.vote(number, true), 'ERR_VOTED');
  await inject(set, votes.governor.address, lock, lock.voted(number, votes.now + 1));
  await votes.refused('owner', lock.vote(number, true), 'ERR_VOTED');
  await set.chain.passTime(1);
  await votes.refused('owner', lock.vote(number, true), 'ERR_NOT_OPEN', votes.governor);
});

/// Numbers each of which parts from all smaller ones at a bit of its own, so that the way to the smallest forks at each other one.
const CHAIN = [0, 1, 2, 4, 8, 16, 32, 64];

/// A lock with these ballots: proposals, and until when.
async function withBallots(set, ballots) {
  const proposals = [0, 3].map((number) => [number, { weight: 2, all: 1n, yes: 0n, no: 0n, proposed: set.chain.now + 60, action: ANY.hash() }]);
  const votes = await Votes.made(set, { stocked: { proposals, next: 65 } });
  await votes.lock('owner', MILLION, votes.week(104));
  const lock = votes.lockOf('owner');
  // Pays the lock's rent meanwhile.
  await set.thief.call(lock.address, TON);
  for (const [number, until] of ballots) await inject(set, votes.governor.address, lock, lock.voted(number, until));
  await set.chain.passTime(DELAY + 60);
  return { votes, lock };
}

scene('a vote forgets seven votes that are over, whose numbers fork most, within its bound', async (set) => {
  const { votes, lock } = await withBallots(set, CHAIN.map((number) => [number, number === 0 ? 0xffffffff : set.chain.now + number]));
  await set.exactly('owner', lock, lock.vote(3, true), ASKS.vote);
  assert.ok((await votes.proposal(3)).yes > 0n);
  await votes.refused('owner', lock.vote(3, true), 'ERR_VOTED');
});

scene('a vote is given beside seven that are under way, and heard, within its bounds', async (set) => {
  const { votes, lock } = await withBallots(set, CHAIN.slice(1).map((number) => [number, 0xffffffff]));
  await set.exactly('owner', lock, lock.vote(0, true), ASKS.vote);
  await votes.refused('owner', lock.vote(3, true), 'ERR_TOO_MANY_PROPOSALS');
  await set.chain.passTime(VOTE);
  // The eighth is over, so that there is room; what is under way is not forgotten.
  await votes.refused('owner', lock.vote(3, true), 'ERR_NOT_OPEN', votes.governor);
  await votes.refused('owner', lock.vote(64, true), 'ERR_VOTED');
});

scene('a lock whose word takes so long that it is over when it comes weighs nothing', async (set) => {
  const votes = await Votes.made(set);
  await votes.lock('owner', MILLION, votes.week(2));
  const lock = votes.lockOf('owner').address;
  const before = await votes.weight();
  for (const week of [votes.week(-1), votes.week(0)]) {
    await inject(set, lock, votes.governor, votes.governor.locked(set.owner.address, { amount: 9n * MILLION, week, beforeAmount: 5n, beforeWeek: week }));
    assert.equal(await votes.weight(), before);
  }
  assert.equal(await votes.weeks(), 1);
});

/// What comes back in the old form.
const short = (opcode, amount) => beginCell().storeUint(0xffffffff, 32).storeUint(opcode, 32).storeUint(1, 64).storeCoins(amount).storeUint(0, 100).endCell();
/// What comes back in the new form, but for what nobody here reads.
const rich = (body) => beginCell().storeUint(0xfffffffe, 32).storeRef(body).storeRef(beginCell().endCell()).storeUint(0, 8).storeInt(0, 32).storeBit(false).endCell();

scene('a payment of the treasury that comes back was not spent', async (set) => {
  const votes = await Votes.made(set);
  await votes.lock('owner', MILLION, votes.week(104));
  await set.chain.passTime(100 * DAY);
  const action = actions.spendCocoon(set.thief.address, MILLION);
  votes.cocoon.of(set.thief.address);
  await votes.decide('owner', action);
  assert.equal((await votes.state()).spent, MILLION);
  await inject(set, votes.cocoon.of(votes.governor.address).address, votes.governor, short(0x0f8a7ea5, MILLION), 'done', { bounced: true });
  assert.equal((await votes.state()).spent, 0n);
  for (const opcode of [0x434c0011, 0x434e0002]) await inject(set, set.stranger.address, votes.governor, short(opcode, MILLION), 'done', { bounced: true });
  assert.deepEqual([(await votes.state()).spent, (await votes.state()).locked], [0n, MILLION]);
  // The thief has what came back only in this script.
  set.audits.length = 0;
});

scene('COCOON that cannot be given back is owed by a lock, and is taken from there', async (set) => {
  const votes = await Votes.made(set);
  const { governor, cocoon } = votes;
  const body = cocoon.of(governor.address).transfer(5n * COCOON, set.stranger.address, { payload: NOTHING });
  votes.lockOf('stranger');
  await inject(set, cocoon.of(governor.address).address, governor, rich(body), 'done', { bounced: true });
  assert.deepEqual(await votes.lockState('stranger'), { amount: 0n, owed: 5n * COCOON, week: 0, since: 0 });
  assert.equal((await votes.state()).locked, 5n * COCOON);
  assert.ok(await set.balance(governor) > votes.treasury - TON / 100n, 'and nothing else goes there');
  const before = await cocoon.balance('stranger');
  await set.ask('stranger', votes.lockOf('stranger'), votes.lockOf('stranger').unlock(), 'done', { value: ASKS.unlock + TON });
  assert.equal(await cocoon.balance('stranger'), before + 5n * COCOON);
  assert.equal((await votes.state()).locked, 0n);
  // It was in the treasury all along.
  set.audits.length = 0;
});

scene('bounces that answer nothing are money and nothing else', async (set) => {
  const votes = await Votes.made(set);
  await votes.lock('owner', MILLION, votes.week(9));
  const before = await votes.state();
  const lock = votes.lockOf('owner');
  for (const contract of [votes.governor, votes.registry, lock]) {
    const balance = await set.balance(contract);
    await set.chain.inject({ from: set.stranger.address, to: contract.address, value: TON, bounce: false, bounced: true, body: short(0x43560001, 1n) });
    if (contract !== lock) assert.ok(await set.balance(contract) > balance + TON - 1_000_000n);
  }
  assert.deepEqual(await votes.state(), before);
  await set.chain.inject({ from: set.stranger.address, to: votes.governor.address, value: TON, bounce: false, body: op(EXCESSES).endCell() });
});
