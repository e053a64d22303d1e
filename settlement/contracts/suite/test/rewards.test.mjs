// Rewards: from a fee to COCOON in the owner's wallet, and every way to get more than what was burned.
import assert from 'node:assert/strict';
import { beginCell, toNano } from '@ton/core';
import { ASKS, wayOf } from '../src/bounds.mjs';
import { op } from '../src/contract.mjs';
import { Setup } from '../src/groth16.mjs';
import { COCOON, PARTS } from '../src/jetton.mjs';
import { COMMITMENT, FEE, PAID, VALUE, attesting, claimable, founded, network, nextEpoch, parts, proofOf, sell, setup, work } from '../src/network.mjs';
import { Provider } from '../src/provider.mjs';
import { domainOf, packed } from '../src/rewards.mjs';
import { DAY, TON } from '../src/scene.mjs';
import { messages, scene } from '../src/scripts.mjs';

const EXCESSES = 0xd53276db;
const others = new Setup('another key');

/// Attests, and says how that ended at the rewards.
async function attested(set, body) {
  const done = await set.ask('thief', set.provider, body, 'done', VALUE);
  return set.at(set.pot, done).replace('exit ', '');
}

async function rewardState(set) {
  const [epoch, released, rollover, ceiling, budget, burned, owed, stopped] = (await set.chain.get(set.pot.address, 'rewards_state')).map(({ value }) => value);
  return { epoch, released, rollover, ceiling, budget, burned, owed, stopped };
}

async function line(set) {
  const [credit, lastId, pending, free, locked, until] = (await set.chain.get(set.provider.address, 'provider_rewards')).map(({ value }) => value);
  return { credit, lastId, pending, free, locked, until };
}

async function fees(set, epoch) {
  const [booked, claimed, part] = (await set.chain.get(set.provider.address, 'provider_fees', [{ type: 'int', value: epoch }])).map(({ value }) => value);
  return { booked, claimed, part };
}

scene('a fee is booked, sold, attested, paid, and comes to its owner as it vests', async (set) => {
  const cocoon = await network(set);
  const { epoch } = await set.vaultEpoch();
  await work(set);
  assert.deepEqual(await fees(set, epoch), { booked: FEE, claimed: 0n, part: 0n });
  await nextEpoch(set);
  await sell(set, cocoon);
  const { paid } = await set.auction();
  await nextEpoch(set);
  // It was sold at four times the median, and no fee is valued above that.
  const valued = (FEE * 7n) / 10n * 50n;
  assert.ok(valued < paid);
  assert.deepEqual((await set.chain.get(set.pot.address, 'rewards_claims')).map(({ value }) => value), [-1n, epoch, FEE, valued, 0n, 0n]);
  assert.equal(await attested(set, attesting(set, epoch, 1, 1, FEE)), 'done');
  assert.deepEqual(await fees(set, epoch), { booked: FEE, claimed: FEE, part: valued });
  assert.deepEqual(await line(set), { credit: 0n, lastId: 1n, pending: 0n, free: 0n, locked: 0n, until: 0n });

  assert.equal(set.at(set.pot, await set.ask('stranger', set.provider, set.provider.collectReward(epoch), 'done', VALUE)), 'exit 757', 'claims are open');
  assert.equal((await fees(set, epoch)).part, valued, 'and nothing is lost by asking early');
  await nextEpoch(set);
  const reward = (valued * 9n) / 10n;
  const before = await rewardState(set);
  assert.deepEqual([before.epoch, before.released, before.owed, before.burned], [2n, reward, reward, paid]);
  await set.exactly('stranger', set.provider, set.provider.collectReward(epoch), ASKS.collectReward);
  await set.ask('stranger', set.provider, set.provider.collectReward(epoch), 'ERR_NOTHING_TO_SEND', VALUE);
  const { free, locked, until } = await line(set);
  assert.equal(free + locked, reward);
  assert.ok(free >= (reward * 3n) / 10n && free < (reward * 3n) / 10n + reward / 1_000_000n);
  assert.ok(until <= BigInt(set.chain.now + 90 * DAY));

  await set.ask('thief', set.provider, set.provider.takeReward(), 'ERR_NOT_OWNER', VALUE);
  const had = await cocoon.balance('owner');
  await set.exactly('owner', set.provider, set.provider.takeReward(), ASKS.takeReward);
  assert.ok((await cocoon.balance('owner')) - had >= free);
  await set.chain.passTime(45 * DAY);
  const half = await line(set);
  assert.ok(half.free > (reward * 34n) / 100n && half.free < (reward * 36n) / 100n);
  await set.chain.passTime(46 * DAY);
  await set.ask('owner', set.provider, set.provider.takeReward(), 'done', VALUE);
  assert.equal((await cocoon.balance('owner')) - had, reward);
  assert.equal(await cocoon.balance(set.pot.address), PARTS.reserve * COCOON - reward);
  assert.deepEqual([(await rewardState(set)).owed, (await line(set)).locked], [0n, 0n]);
  await set.ask('owner', set.provider, set.provider.takeReward(), 'ERR_NOTHING_TO_SEND', VALUE);
}, PAID);

scene('an attestation brings what it costs', async (set) => {
  const cocoon = await network(set);
  const epoch = await claimable(set, cocoon);
  const body = attesting(set, epoch, 1, 1, FEE);
  await set.exactly('stranger', set.provider, body, ASKS.attest + wayOf(body));
}, PAID);

scene('no more is claimed than was booked, and every claim once, in order', async (set) => {
  const cocoon = await network(set);
  const epoch = await claimable(set, cocoon);
  const refused = (body, error) => set.ask('thief', set.provider, body, error, VALUE);
  await refused(attesting(set, epoch, 1, 9, FEE + 1n), 'ERR_OVER_FEES');
  await refused(attesting(set, epoch + 1n, 1, 9, 1n), 'ERR_OVER_FEES');
  await refused(attesting(set, epoch, 9, 8, FEE), 'ERR_BAD_LAYOUT');
  await refused(attesting(set, epoch, 1, 1, 0n), 'ERR_BAD_LAYOUT');
  await refused(attesting(set, epoch, 0, 1, FEE), 'ERR_IDS_NOT_RISING');
  assert.equal(await attested(set, attesting(set, epoch, 3, 7, FEE / 2n)), 'done');
  for (const [lo, hi] of [[3, 7], [7, 9], [1, 2]]) await refused(attesting(set, epoch, lo, hi, FEE / 4n), 'ERR_IDS_NOT_RISING');
  await refused(attesting(set, epoch, 8, 9, FEE / 2n + 1n), 'ERR_OVER_FEES');
  assert.equal(await attested(set, attesting(set, epoch, 8, 9, FEE / 2n)), 'done');
}, PAID);

scene('a proof of anything else is refused, and leaves the provider as it was', async (set) => {
  const cocoon = await network(set);
  const epoch = await claimable(set, cocoon);
  assert.equal(await attested(set, attesting(set, epoch, 1, 2, TON)), 'done');
  const before = [await fees(set, epoch), await line(set), await rewardState(set)];
  const good = proofOf(set, epoch, 3, 4, TON);
  const points = setup.pointsFor([domainOf(set.provider.address, epoch), COMMITMENT, packed(3, 4, TON)]);
  const wrong = {
    'another provider\'s': proofOf(set, epoch, 3, 4, TON, { provider: { address: set.thief.address } }),
    'another epoch\'s': proofOf(set, epoch + 1n, 3, 4, TON),
    'of an older set of keys': proofOf(set, epoch, 3, 4, TON, { commitment: COMMITMENT - 1n }),
    'of another sum': proofOf(set, epoch, 3, 4, TON - 1n),
    'of other claims': proofOf(set, epoch, 2, 4, TON),
    'under another key': proofOf(set, epoch, 3, 4, TON, { of: others }),
    'with its parts swapped': beginCell().storeBuffer(points.c).storeBuffer(points.a).storeRef(beginCell().storeBuffer(points.b).endCell()).endCell(),
  };
  for (const [what, proof] of Object.entries(wrong)) {
    assert.equal(await attested(set, attesting(set, epoch, 3, 4, TON, { proof })), '790', what);
    assert.deepEqual([await fees(set, epoch), await line(set), await rewardState(set)], before, what);
  }
  for (const proof of [beginCell().endCell(), good.refs[0], beginCell().storeSlice(good.beginParse()).endCell().refs[0]]) {
    assert.notEqual(await attested(set, attesting(set, epoch, 3, 4, TON, { proof })), 'done');
    assert.deepEqual([await fees(set, epoch), await line(set), await rewardState(set)], before);
  }
  assert.equal(await attested(set, attesting(set, epoch, 3, 4, TON, { circuit: 2 })), '791', 'a key that was never set');
  assert.equal(await attested(set, attesting(set, epoch, 3, 4, TON)), 'done');
}, PAID);

scene('claims are open for one epoch, once its fees are sold', async (set) => {
  const cocoon = await network(set);
  const { epoch } = await set.vaultEpoch();
  await work(set);
  const body = attesting(set, epoch, 1, 1, FEE);
  assert.equal(await attested(set, body), '756');
  await nextEpoch(set);
  assert.equal(await attested(set, body), '756', 'the auction runs');
  await sell(set, cocoon);
  await nextEpoch(set);
  await nextEpoch(set);
  assert.equal(await attested(set, body), '756', 'too late');
  assert.deepEqual(await fees(set, epoch), { booked: FEE, claimed: 0n, part: 0n });
}, PAID);

scene('nobody but a provider\'s contract of this network is believed', async (set) => {
  const cocoon = await network(set);
  const epoch = await claimable(set, cocoon);
  const own = beginCell().storeBuffer(set.owner.address.hash).storeBuffer(set.provider.keys.publicKey).storeUint(0, 8).endCell();
  const release = op(0x43520004).storeCoins(COCOON).storeRef(own).endCell();
  const collect = op(0x43520003).storeUint(epoch, 32).storeCoins(COCOON).storeRef(own).endCell();
  const attest = op(0x43520002).storeUint(epoch, 32).storeUint(1, 64).storeUint(0, 64).storeUint(1, 8).storeUint(1, 64).storeUint(1, 64)
    .storeRef(own).storeRef(proofOf(set, epoch, 1, 1, 1n)).endCell();
  for (const body of [release, collect, attest]) {
    for (const person of ['owner', 'thief']) await set.ask(person, set.pot, body, 'ERR_NOT_A_PROVIDER', VALUE);
  }
  // A provider of a network whose providers pay no fee, and where the thief says what was booked.
  const free = { ...set.terms, cell: beginCell().storeInt(-777, 32).storeBuffer(set.thief.address.hash).storeBuffer(set.thief.address.hash)
    .storeBuffer(set.pot.address.hash).storeUint(0, 16).storeUint(1, 32).storeUint(1, 32).storeUint(1, 32).endCell() };
  const fake = new Provider({ owner: set.thief.address, terms: free });
  await set.ask('thief', fake, fake.stake(TON), 'done', { value: 3n * TON, init: fake.init });
  const booked = op(0x43560102).storeUint(epoch, 32).storeCoins(FEE).storeCoins(0).storeCoins(0).endCell();
  await set.ask('thief', fake, booked, 'done', VALUE);
  const proof = proofOf(set, epoch, 1, 1, FEE, { provider: fake });
  const done = await set.ask('thief', fake, fake.attest({ epoch, lo: 1, hi: 1, fees: FEE, proof }), 'done', VALUE);
  assert.equal(set.at(set.pot, done), 'exit 755');
}, PAID);

scene('only the vault, the registry, the governor and the rewards are believed, each in its own', async (set) => {
  const cocoon = await network(set);
  const epoch = await claimable(set, cocoon);
  const sold = op(0x43520001).storeUint(9, 32);
  for (let n = 0; n < 5; n += 1) sold.storeCoins(TON);
  await set.ask('thief', set.pot, sold.endCell(), 'ERR_NOT_VAULT');
  await set.ask('thief', set.pot, set.pot.verifyingKey(1, others.key), 'ERR_NOT_REGISTRY');
  await set.ask('stranger', set.pot, set.pot.auditors(1n), 'ERR_NOT_REGISTRY');
  await set.ask('thief', set.pot, set.pot.stop(2 ** 31), 'ERR_NOT_GOVERNOR');
  const words = [
    [op(0x43560102).storeUint(epoch, 32).storeCoins(TON).storeCoins(TON).storeCoins(0), 'ERR_NOT_VAULT'],
    [op(0x43560103).storeCoins(TON), 'ERR_NOT_VAULT'],
    [op(0x43520102).storeUint(epoch, 32).storeCoins(TON), 'ERR_NOT_REWARDS'],
    [op(0x43520103).storeUint(epoch, 32).storeCoins(TON), 'ERR_NOT_REWARDS'],
  ];
  for (const [body, error] of words) for (const person of ['thief', 'owner']) await set.ask(person, set.provider, body.endCell(), error);
  for (const body of [op(0x43520099).endCell(), beginCell().storeUint(1, 8).endCell()]) await set.ask('thief', set.pot, body, 'ERR_UNKNOWN_MESSAGE');
}, PAID);

scene('an emergency stop holds all payments, changes none of them, and ends by itself', async (set) => {
  const cocoon = await network(set);
  const epoch = await claimable(set, cocoon);
  const until = set.chain.now + 3 * DAY;
  await set.ask('stranger', set.pot, set.pot.stop(until));
  const body = attesting(set, epoch, 1, 1, FEE);
  assert.equal(await attested(set, body), '759');
  await set.ask('stranger', set.pot, set.pot.stop(0));
  assert.equal(await attested(set, body), 'done');
  await nextEpoch(set);
  await set.ask('stranger', set.pot, set.pot.stop(set.chain.now + DAY));
  assert.equal(set.at(set.pot, await set.ask('thief', set.provider, set.provider.collectReward(epoch), 'done', VALUE)), 'exit 759');
  await set.chain.passTime(DAY - 1);
  assert.equal(set.at(set.pot, await set.ask('thief', set.provider, set.provider.collectReward(epoch), 'done', VALUE)), 'exit 759');
  await set.chain.passTime(1);
  assert.equal(set.at(set.pot, await set.ask('thief', set.provider, set.provider.collectReward(epoch), 'done', VALUE)), 'done');
  const { free, locked } = await line(set);
  assert.ok(free > 0n && locked > 0n);
  await set.ask('stranger', set.pot, set.pot.stop(set.chain.now + DAY));
  const done = await set.ask('owner', set.provider, set.provider.takeReward(), 'done', VALUE);
  assert.equal(set.at(set.pot, done), 'exit 759');
  assert.ok((await line(set)).free >= free, 'what was to be taken is there again');
}, PAID);

scene('the parts are introduced once, by the founder', async (set) => {
  const cocoon = await founded(set);
  await set.ask('thief', set.pot, set.pot.introduce(parts(set)), 'ERR_NOT_OWNER');
  await set.exactly('owner', set.pot, set.pot.introduce(parts(set)), ASKS.introduceRewards);
  const answers = messages(set, set.chain.transactions, EXCESSES, set.pot);
  assert.deepEqual(answers.map(({ info }) => info.dest.equals(set.owner.address)), [true], 'what it did not cost comes back');
  await set.ask('owner', set.pot, set.pot.introduce(parts(set)), 'ERR_INTRODUCED');
  assert.equal(await cocoon.balance(set.pot.address), PARTS.reserve * COCOON);
}, PAID);

scene('what still vests is slashed with the stake, and what is free is not', async (set) => {
  const cocoon = await network(set);
  const epoch = await claimable(set, cocoon);
  await attested(set, attesting(set, epoch, 1, 1, FEE));
  await nextEpoch(set);
  await set.ask('stranger', set.provider, set.provider.collectReward(epoch), 'done', VALUE);
  const before = await line(set);
  await set.ask('dispute', set.provider, set.provider.slash(4n * TON, set.stranger.address));
  const after = await line(set);
  assert.ok(after.free >= before.free);
  assert.ok(after.locked <= (before.locked * 6n) / 10n + 1n && after.locked > (before.locked * 599n) / 1000n, `${before.locked} ${after.locked}`);
  assert.ok(cocoon);
}, PAID);

scene('fees paid ahead in COCOON come back as earnings, and reward nobody', async (set) => {
  const cocoon = await network(set);
  const { epoch } = await set.vaultEpoch();
  const payload = beginCell().storeBit(true).storeRef(beginCell().storeUint(0x43560011, 32).storeBuffer(set.provider.address.hash).endCell()).endCell();
  await cocoon.give('stranger', set.vault.address, 45n * COCOON, { value: toNano('0.3'), forward: ASKS.notification, payload });
  assert.equal((await line(set)).credit, TON);
  await work(set, 20n * TON);
  // Of a fee of 1 TON seven tenths would be burned; they come off the credit, and back.
  assert.deepEqual(await fees(set, epoch), { booked: 0n, claimed: 0n, part: 0n });
  assert.equal((await line(set)).credit, toNano('0.3'));
  assert.equal((await set.state()).earnings, toNano('0.7'));
  await work(set, 20n * TON);
  assert.deepEqual(await fees(set, epoch), { booked: (TON * 4n) / 7n, claimed: 0n, part: 0n });
  assert.equal((await line(set)).credit, 0n);
}, PAID);

scene('sixty-six epochs of rewards that nobody collects stay within what is asked for, and the oldest are forgotten', async (set) => {
  const cocoon = await network(set);
  let last = 0;
  const step = async () => {
    const { epoch } = await set.vaultEpoch();
    await work(set, TON);
    if (epoch > 2n) {
      await sell(set, cocoon, COCOON);
      last += 1;
      const { booked } = await fees(set, epoch - 2n);
      assert.equal(await attested(set, attesting(set, epoch - 2n, last, last, booked)), 'done');
    }
    await nextEpoch(set);
  };
  for (let epochs = 0; epochs < 70; epochs += 1) await step();
  assert.ok((await fees(set, 20n)).part > 0n);
  assert.deepEqual(await fees(set, 1n), { booked: 0n, claimed: 0n, part: 0n });
  await set.ask('stranger', set.provider, set.provider.collectReward(20), 'done', VALUE);
  assert.ok((await line(set)).free > 0n);
}, { ...PAID, operations: 20n * TON });

