// What rewards and providers make of each other's words, in whatever order they come. On TON's emulator alone.
import assert from 'node:assert/strict';
import { beginCell, toNano } from '@ton/core';
import { EXIT, op } from '../src/contract.mjs';
import { COCOON } from '../src/jetton.mjs';
import { COMMITMENT, VALUE, founded, parts, proofOf, setup } from '../src/network.mjs';
import { Line, RESERVE, budgetOf, closed, domainOf, firstRate, packed } from '../src/rewards.mjs';
import { Sandbox } from '../src/sandbox.mjs';
import { DAY, TON } from '../src/scene.mjs';
import { messages, scene as script } from '../src/scripts.mjs';

const scene = (name, body, options) => script(name, body, { rewards: {}, ...options, backend: () => Sandbox.start() });
const [REGISTERED, REWARDED] = [0x43520102, 0x43520103];
const FEES = 100n * TON;

/// Rewards that know everybody, and a key under which anything is proven.
async function ready(set, circuits = [1]) {
  const cocoon = await founded(set);
  await set.ask('owner', set.pot, set.pot.introduce(parts(set)));
  for (const circuit of circuits) await set.ask('dispute', set.pot, set.pot.verifyingKey(circuit, setup.key));
  await set.ask('dispute', set.pot, set.pot.auditors(COMMITMENT));
  return cocoon;
}

/// A message out of nowhere, which has to end so.
async function inject(set, from, to, body, expected = 'done') {
  const done = await set.chain.inject({ from: from.address, to: to.address, value: toNano('0.2'), bounce: false, body });
  assert.equal(set.at(to, done), expected === 'done' ? 'done' : `exit ${EXIT[expected]}`);
  return done;
}

/// The vault says what an epoch's fees fetched.
const sold = (set, epoch, { fees = FEES, lot = 70n * TON, burned = 10_000n * COCOON, paid = burned, median = 50n * COCOON } = {}) => inject(
  set, set.vault, set.pot, op(0x43520001).storeUint(epoch, 32).storeCoins(fees).storeCoins(lot).storeCoins(burned).storeCoins(paid).storeCoins(median).endCell());

const origin = (set) => beginCell().storeBuffer(set.owner.address.hash).storeBuffer(set.provider.keys.publicKey).storeUint(0, 8).endCell();

/// The provider attests so much of an epoch's fees, whatever was booked.
const claimed = (set, epoch, fees, expected, { circuit = 1, proof = proofOf(set, epoch, 1, 1, fees) } = {}) => inject(
  set, set.provider, set.pot, op(0x43520002).storeUint(epoch, 32).storeUint(fees, 64).storeUint(0, 64).storeUint(circuit, 8).storeUint(1, 64).storeUint(1, 64)
    .storeRef(origin(set)).storeRef(proof).endCell(), expected);

const collected = (set, epoch, part, expected) => inject(set, set.provider, set.pot, op(0x43520003).storeUint(epoch, 32).storeCoins(part).storeRef(origin(set)).endCell(), expected);
const released = (set, amount, expected) => inject(set, set.provider, set.pot, op(0x43520004).storeCoins(amount).storeRef(origin(set)).endCell(), expected);

const values = async (set, contract, method, ...args) => (
  await set.chain.get(contract.address, method, args.map((value) => ({ type: 'int', value: BigInt(value) })))).map(({ value }) => value);

async function emissionOf(set) {
  const [epoch, released, rollover, ceiling, budget, burned, owed] = await values(set, set.pot, 'rewards_state');
  return { epoch, released, rollover, ceiling, budget, burned, owed };
}

async function claimsOf(set) {
  const [isOpen, epoch, fees, valued, claims, registered] = await values(set, set.pot, 'rewards_claims');
  return { isOpen, epoch, fees, valued, claims, registered };
}

const payoutOf = (set, epoch) => values(set, set.pot, 'rewards_payout', epoch);
const feesOf = (set, epoch) => values(set, set.provider, 'provider_fees', epoch);

// ---- What claims are worth.

scene('claims are worth what the lot is at the median, and never more than what was paid for it', async (set) => {
  await ready(set);
  await sold(set, 5);
  assert.deepEqual(await claimsOf(set), { isOpen: -1n, epoch: 5n, fees: FEES, valued: 3_500n * COCOON, claims: 0n, registered: 0n });
  await sold(set, 6, { burned: 3_000n * COCOON, paid: 4_000n * COCOON });
  assert.equal((await claimsOf(set)).valued, 3_000n * COCOON);
  assert.equal((await emissionOf(set)).burned, 14_000n * COCOON);
});

scene('all claims together are for no more than an epoch\'s fees, and each is worth its part, rounded down', async (set) => {
  await ready(set);
  await sold(set, 5, { fees: 7n, burned: 100n });
  const done = await claimed(set, 5, 3n);
  const [answer] = messages(set, done, REGISTERED, set.pot);
  const body = answer.body.beginParse().skip(96);
  assert.deepEqual([body.loadUint(32), body.loadCoins()], [5, 42n]);
  await claimed(set, 5, 5n, 'ERR_OVER_FEES');
  await claimed(set, 5, 4n);
  assert.deepEqual(await claimsOf(set), { isOpen: -1n, epoch: 5n, fees: 7n, valued: 100n, claims: 7n, registered: 99n });
  await claimed(set, 5, 1n, 'ERR_OVER_FEES');
  await claimed(set, 4, 0n, 'ERR_CLAIMS_CLOSED');
});

scene('before an epoch was sold there is nothing to claim', async (set) => {
  await ready(set);
  await claimed(set, 0, 0n, 'ERR_CLAIMS_CLOSED');
});

scene('an attestation of the circuit that is for tests counts on every network but the main one', async (set) => {
  await ready(set, [1, 2]);
  await sold(set, 5);
  const proof = setup.prove([domainOf(set.provider.address, 5, -239), COMMITMENT, packed(1, 1, 1n)]);
  await claimed(set, 5, 1n, 'ERR_NO_KEY', { proof });
  await claimed(set, 5, 1n, 'done', { circuit: 2, proof });
}, { rewards: { network: -239 } });

scene('a key of another circuit than the one for tests counts on a network for tests, too', async (set) => {
  await ready(set, [2]);
  await sold(set, 5);
  await claimed(set, 5, 1n, 'ERR_NO_KEY');
  await claimed(set, 5, 1n, 'done', { circuit: 2 });
});

// ---- What is paid.

scene('nine tenths of what claims are worth are paid, and each claim its part, once', async (set) => {
  await ready(set);
  await sold(set, 5);
  await claimed(set, 5, FEES / 2n);
  await claimed(set, 5, FEES / 4n);
  assert.deepEqual(await payoutOf(set, 5), [0n, 0n, 0n]);
  await sold(set, 6);
  const [registered, paid] = [2_625n * COCOON, (2_625n * COCOON * 9n) / 10n];
  assert.deepEqual(await payoutOf(set, 5), [paid, registered, paid]);
  assert.deepEqual([(await emissionOf(set)).owed, (await emissionOf(set)).released], [paid, paid]);
  const done = await collected(set, 5, 1_750n * COCOON);
  const body = messages(set, done, REWARDED, set.pot)[0].body.beginParse().skip(96);
  assert.deepEqual([body.loadUint(32), body.loadCoins()], [5, 1_575n * COCOON]);
  assert.deepEqual(await payoutOf(set, 5), [paid, registered, paid - 1_575n * COCOON]);
  await collected(set, 5, 1_750n * COCOON, 'ERR_NO_PAYOUT');
  await collected(set, 5, 875n * COCOON);
  assert.deepEqual(await payoutOf(set, 5), [paid, registered, 0n]);
  await collected(set, 6, 1n, 'ERR_NO_PAYOUT');
  assert.equal((await emissionOf(set)).owed, paid, 'it is owed until it is taken');
});

scene('no more leaves than is owed', async (set) => {
  const cocoon = await ready(set);
  await sold(set, 5);
  await claimed(set, 5, FEES);
  await sold(set, 6);
  const owed = 3_150n * COCOON;
  const before = await cocoon.balance('owner');
  await released(set, owed + 1n, 'ERR_OVER_OWED');
  await released(set, owed - 1n);
  await released(set, 2n, 'ERR_OVER_OWED');
  await released(set, 1n);
  assert.deepEqual([(await emissionOf(set)).owed, await cocoon.balance('owner')], [0n, before + owed]);
});

scene('no more is paid than nine tenths of all that was ever burned', async (set) => {
  await ready(set);
  await sold(set, 5, { paid: 1_000n * COCOON });
  await claimed(set, 5, FEES);
  await sold(set, 6, { paid: 0n });
  assert.equal((await payoutOf(set, 5))[0], 900n * COCOON);
  await claimed(set, 6, FEES);
  await sold(set, 7, { paid: 10n * COCOON });
  assert.deepEqual(await payoutOf(set, 6), [0n, 0n, 0n], 'nothing is left');
  await claimed(set, 7, FEES);
  await sold(set, 8);
  assert.equal((await payoutOf(set, 7))[0], 9n * COCOON);
});

scene('what nobody asked for in sixty-four epochs is forgotten and not owed', async (set) => {
  await ready(set);
  const part = 3_500n * COCOON;
  const paid = (part * 9n) / 10n;
  await sold(set, 1);
  await claimed(set, 1, FEES);
  await sold(set, 65);
  await collected(set, 1, part / 2n);
  await claimed(set, 65, FEES);
  await sold(set, 66);
  assert.deepEqual([await payoutOf(set, 1), (await emissionOf(set)).owed], [[paid, part, paid / 2n], 2n * paid]);
  await sold(set, 67);
  assert.deepEqual([await payoutOf(set, 1), (await emissionOf(set)).owed], [[0n, 0n, 0n], 2n * paid - paid / 2n]);
  assert.equal((await payoutOf(set, 65))[0], paid);
  await collected(set, 1, 1n, 'ERR_NO_PAYOUT');
});

// ---- What an epoch may pay.

const HALF = RESERVE / 2n;
const STATES = [
  { released: 0n, rollover: 0n, ceiling: RESERVE }, { released: 0n, rollover: 1n, ceiling: RESERVE },
  ...[-1n, 0n, 1n].flatMap((more) => [
    { released: 0n, rollover: 3n * firstRate(730) + more, ceiling: RESERVE }, { released: HALF + more, rollover: HALF, ceiling: RESERVE },
    { released: HALF + HALF / 2n + more, rollover: 7n, ceiling: RESERVE }, { released: HALF, rollover: 0n, ceiling: HALF + firstRate(730) / 2n + more },
  ]),
  { released: RESERVE - 1n, rollover: HALF, ceiling: RESERVE }, { released: RESERVE, rollover: 0n, ceiling: RESERVE }, { released: 5n, rollover: HALF, ceiling: 5n },
];

for (const [n, emission] of STATES.entries()) {
  scene(`a budget is what the economy says it is, state ${n}`, async (set) => {
    await set.owner.call(set.pot.address, TON, undefined, { init: set.pot.init });
    assert.equal((await emissionOf(set)).budget, budgetOf(emission, 730));
  }, { stake: null, rewards: { emission } });
}

for (const halfLife of [1, 2, 3]) {
  scene(`an epoch that pays nothing leaves its budget to the next ones, with a half-life of ${halfLife}`, async (set) => {
    await ready(set, []);
    let emission = { epoch: 0n, released: 0n, rollover: 0n, ceiling: firstRate(halfLife) };
    await sold(set, 0);
    for (let epoch = 1; epoch < 8; epoch += 1) {
      await sold(set, epoch);
      emission = closed(emission, 0n, halfLife);
      const { budget, burned, owed, ...found } = await emissionOf(set);
      assert.deepEqual([found, budget, owed], [emission, budgetOf(emission, halfLife), 0n]);
      assert.equal(burned, BigInt(epoch + 1) * 10_000n * COCOON);
    }
  }, { stake: null, rewards: { halfLife } });
}

scene('each half-life of epochs halves what the next ones add to the ceiling, until it is nothing', async (set) => {
  await ready(set, []);
  await sold(set, 0);
  const added = [];
  for (const epoch of [1, 2, 3, 4]) {
    const { ceiling } = await emissionOf(set);
    await sold(set, epoch);
    added.push((await emissionOf(set)).ceiling - ceiling);
  }
  assert.deepEqual(added, [4n, 2n, 1n, 0n]);
}, { stake: null, rewards: { halfLife: 1, emission: { epoch: 54, ceiling: RESERVE } } });

scene('claims that are worth more than the budget share it', async (set) => {
  await ready(set);
  let emission = { epoch: 0n, released: 0n, rollover: 0n, ceiling: firstRate(1_000_000) };
  await sold(set, 0);
  for (const [epoch, fees] of [FEES, 0n, 0n, FEES, FEES / 50n, 0n, 0n, 0n, 0n, 0n, FEES].entries()) {
    if (fees > 0n) await claimed(set, epoch, fees);
    await sold(set, epoch + 1);
    const [wanted, most] = [(3_500n * COCOON * fees * 9n) / FEES / 10n, budgetOf(emission, 1_000_000)];
    const paid = wanted < most ? wanted : most;
    emission = closed(emission, paid, 1_000_000);
    const { budget, burned, owed, ...found } = await emissionOf(set);
    assert.deepEqual([(await payoutOf(set, epoch))[0], found, budget, owed], [paid, emission, budgetOf(emission, 1_000_000), emission.released]);
    assert.equal(burned, BigInt(epoch + 2) * 10_000n * COCOON);
  }
}, { rewards: { halfLife: 1_000_000 } });

// ---- What vests.

async function lineOf(set) {
  const [, , , free, locked, until] = await values(set, set.provider, 'provider_rewards');
  return [free, locked, until];
}

scene('rewards vest to the unit and the second, joined as they come, slashed and taken', async (set) => {
  await ready(set, []);
  const line = new Line();
  const now = () => BigInt(set.chain.now);
  const same = async () => {
    line.at(now());
    assert.deepEqual(await lineOf(set), [line.free, line.locked, line.until]);
  };
  const rewarded = async (amount) => {
    await inject(set, set.pot, set.provider, op(REWARDED).storeUint(1, 32).storeCoins(amount).endCell());
    line.reward(amount, now());
    await same();
  };
  await rewarded(0n);
  await rewarded(1_000_003n);
  for (const seconds of [1, 60, 30 * DAY]) { await set.chain.passTime(seconds); await same(); }
  await rewarded(7n * COCOON + 1n);
  await set.chain.passTime(11 * DAY + 7);
  // Four of ten are taken of the collateral, and so of what still vests.
  await set.ask('dispute', set.provider, set.provider.slash(4n * TON, set.stranger.address));
  line.slash(4_000n, now());
  await same();
  await rewarded(1n);
  await set.chain.passTime(90 * DAY);
  await same();
  await rewarded(33n);
  await set.chain.passTime(200 * DAY);
  await rewarded(5n * COCOON);
  await set.chain.passTime(90 * DAY - 1);
  await same();
  assert.ok((await lineOf(set))[1] > 0n);
  await set.chain.passTime(1);
  await same();
  assert.equal((await lineOf(set))[1], 0n);
});

// ---- What a provider knows of epochs.

const booked = (set, epoch, { fees = TON, waived = 0n, credit = 0n } = {}) => inject(
  set, set.vault, set.provider, op(0x43560102).storeUint(epoch, 32).storeCoins(fees).storeCoins(waived).storeCoins(credit).endCell());
const registered = (set, epoch, part) => inject(set, set.pot, set.provider, op(REGISTERED).storeUint(epoch, 32).storeCoins(part).endCell());

scene('an epoch without a reward is forgotten after three, and one with a reward after sixty-four', async (set) => {
  await booked(set, 1);
  await booked(set, 1);
  assert.deepEqual(await feesOf(set, 1), [2n * TON, 0n, 0n]);
  await booked(set, 4);
  assert.equal((await feesOf(set, 1))[0], 2n * TON, 'three epochs later it can still be claimed for');
  await registered(set, 4, 5n);
  await registered(set, 4, 6n);
  await booked(set, 5);
  assert.deepEqual([await feesOf(set, 1), await feesOf(set, 4)], [[0n, 0n, 0n], [TON, 0n, 11n]]);
  await booked(set, 68);
  assert.deepEqual(await feesOf(set, 4), [TON, 0n, 11n]);
  await booked(set, 69);
  assert.deepEqual([await feesOf(set, 4), await feesOf(set, 5)], [[0n, 0n, 0n], [TON, 0n, 0n]], 'one each time');
});

scene('what the vault books, waives and leaves as credit comes to what it should', async (set) => {
  const before = (await set.state()).earnings;
  await inject(set, set.vault, set.provider, op(0x43560103).storeCoins(3n * TON).endCell());
  // What was waived comes with the words about it.
  await booked(set, 2, { fees: 5n, waived: toNano('0.1'), credit: 9n });
  await inject(set, set.vault, set.provider, op(0x43560103).storeCoins(1n).endCell());
  const [credit] = await values(set, set.provider, 'provider_rewards');
  assert.deepEqual([credit, (await set.state()).earnings - before], [3n * TON + 10n, toNano('0.1')]);
});

/// Whoever pays rewards is a person, whose wallet takes everything and says nothing, once it has sent something itself.
const silent = (set) => set.rewards.call(set.stranger.address, 1n, undefined, { bounce: false });

scene('one attestation is under way at a time, until the rewards answer or refuse', async (set) => {
  await silent(set);
  await booked(set, 2, { fees: 10n });
  const proof = beginCell().endCell();
  const attest = (lo, hi, fees, expected) => set.ask('thief', set.provider, set.provider.attest({ epoch: 2, lo, hi, fees, proof }), expected, VALUE);
  const known = async () => [await feesOf(set, 2), (await values(set, set.provider, 'provider_rewards')).slice(1, 3)];
  await attest(3, 5, 6n);
  assert.deepEqual(await known(), [[10n, 6n, 0n], [5n, -1n]]);
  await attest(6, 6, 1n, 'ERR_CLAIM_PENDING');
  await inject(set, set.rewards, set.provider, op(REGISTERED).storeUint(2, 32).storeCoins(8n).endCell());
  assert.deepEqual(await known(), [[10n, 6n, 8n], [5n, 0n]]);
  await attest(6, 7, 4n);
  const refused = beginCell().storeUint(0xffffffff, 32).storeUint(0x43520002, 32).storeUint(1, 64).storeUint(2, 32).storeUint(4, 64).storeUint(5, 64).endCell();
  await set.chain.inject({ from: set.rewards.address, to: set.provider.address, value: TON, bounce: false, bounced: true, body: refused });
  assert.deepEqual(await known(), [[10n, 6n, 8n], [5n, 0n]]);
  await attest(6, 7, 4n);
}, { rewards: undefined });

scene('a reward that is collected leaves at once, and comes back when the rewards refuse', async (set) => {
  await silent(set);
  await booked(set, 2);
  await inject(set, set.rewards, set.provider, op(REGISTERED).storeUint(2, 32).storeCoins(8n).endCell());
  const collect = (expected) => set.ask('thief', set.provider, set.provider.collectReward(2), expected, VALUE);
  const done = await collect();
  const [said] = messages(set, done, 0x43520003);
  const body = said.body.beginParse().skip(96);
  assert.deepEqual([body.loadUint(32), body.loadCoins(), await feesOf(set, 2)], [2, 8n, [TON, 0n, 0n]]);
  await collect('ERR_NOTHING_TO_SEND');
  const back = (opcode, rest) => set.chain.inject({
    from: set.rewards.address, to: set.provider.address, value: TON, bounce: false, bounced: true,
    body: beginCell().storeUint(0xffffffff, 32).storeUint(opcode, 32).storeUint(1, 64).storeBuilder(rest).endCell(),
  });
  await back(0x43520003, beginCell().storeUint(2, 32).storeCoins(8n));
  assert.equal((await feesOf(set, 2))[2], 8n);
  await back(0x43520004, beginCell().storeCoins(77n));
  assert.equal((await lineOf(set))[0], 77n, 'what was to be taken');
}, { rewards: undefined });
