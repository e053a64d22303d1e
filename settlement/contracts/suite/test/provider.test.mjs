// The provider's contract: collateral, pokes, orders, and what channels pay it, with every way to be refused and every theft we thought of.
import assert from 'node:assert/strict';
import { beginCell, toNano } from '@ton/core';
import { ASKS, GAS, claimValue, gasFee, messageFee, paidFee } from '../src/bounds.mjs';
import { Channel, somebody } from '../src/channel.mjs';
import { keysOf, op } from '../src/contract.mjs';
import { Provider } from '../src/provider.mjs';
import { DAY, RESERVE, TON, comment } from '../src/scene.mjs';
import { gained, messages, paidOut, scene } from '../src/scripts.mjs';

const PRICE = toNano('0.05');
const YEAR = 365 * DAY;

/// Bits and cells of a message beyond its root cell, which its way costs.
function importFee(message) {
  const seen = new Map();
  const visit = (cell) => {
    for (const inner of cell.refs) {
      const hash = inner.hash().toString('hex');
      if (!seen.has(hash)) {
        seen.set(hash, inner.bits.length);
        visit(inner);
      }
    }
  };
  visit(message);
  return messageFee([...seen.values()].reduce((sum, bits) => sum + BigInt(bits), 0n), BigInt(seen.size));
}

/// Leaves the operations balance with exactly so much.
async function leave(set, rest) {
  await set.ask('owner', set.provider, set.provider.withdrawOperations((await set.operations()) - rest));
  assert.equal(await set.operations(), rest);
}

/// What a message does not cost goes back: nothing of it joins the operations balance, but what the vault sends back of a fee's way.
async function keepsNothing(set, act) {
  const before = await set.operations();
  const done = await act();
  assert.ok(await set.operations() <= before + 2n * paidFee);
  return done;
}

// ---- Collateral.

scene('a stake brings what it names, its gas, and at first what storage needs', async (set) => {
  const { provider } = set;
  const first = 3n * TON + TON + RESERVE + ASKS.stake;
  await set.ask('stranger', provider, provider.stake(3n * TON, TON), 'ERR_TOO_LITTLE_VALUE', { value: first - 1n, init: provider.init });
  await set.ask('stranger', provider, provider.stake(3n * TON, TON), 'done', { value: first, init: provider.init });
  const { total, bond, allocated, unbonding } = await set.stakeState();
  assert.deepEqual([total, bond, allocated, unbonding], [3n * TON, TON, 0n, 0n]);
  assert.ok(await set.operations() >= 0n);
  await set.ask('stranger', provider, provider.stake(TON, TON), 'ERR_TOO_LITTLE_VALUE', { value: 2n * TON + ASKS.stake - 1n });
  await set.ask('stranger', provider, provider.stake(TON, TON), 'done', { value: 2n * TON + ASKS.stake });
  assert.deepEqual([(await set.stakeState()).total, (await set.stakeState()).bond], [4n * TON, 2n * TON]);
}, { stake: null });

scene('a stake takes nothing of the operations balance', async (set) => {
  await set.ask('thief', set.provider, set.provider.stake(TON), 'ERR_TOO_LITTLE_VALUE', { value: TON });
  const before = await set.operations();
  await set.ask('thief', set.provider, set.provider.stake(TON), 'done', { value: 2n * TON });
  assert.ok(await set.operations() > before + TON - toNano('0.001'));
});

scene('collateral and bond are released after their time, to the owner, to the nano-unit', async (set) => {
  const { provider } = set;
  await set.ask('thief', provider, provider.unbond(TON), 'ERR_NOT_OWNER');
  await set.ask('owner', provider, provider.withdraw(), 'ERR_NOTHING_UNBONDING');
  await set.order(provider.allocate(4n * TON));
  await set.ask('owner', provider, provider.unbond(6n * TON + 1n), 'ERR_STAKE_TOO_SMALL');
  await set.ask('owner', provider, provider.unbond(6n * TON, 2n * TON + 1n), 'ERR_BOND_TOO_SMALL');
  await keepsNothing(set, () => set.ask('owner', provider, provider.unbond(5n * TON, 2n * TON)));
  const released = await set.stakeState();
  assert.deepEqual([released.total, released.bond, released.unbonding, released.allocated], [12n * TON, 0n, 7n * TON, 4n * TON]);
  assert.equal(released.unbondAt, BigInt(set.chain.now + 259_200));
  await set.ask('owner', provider, provider.unbond(TON + 1n), 'ERR_STAKE_TOO_SMALL');
  await set.chain.passTime(259_199);
  await set.ask('owner', provider, provider.withdraw(), 'ERR_STILL_UNBONDING');
  await set.chain.passTime(1);
  await set.ask('thief', provider, provider.withdraw(), 'ERR_NOT_OWNER');
  const operations = await set.operations();
  const done = await set.ask('owner', provider, provider.withdraw());
  assert.ok(await set.operations() <= operations && await set.operations() > operations - toNano('0.0001'), 'the sender pays, but for rent');
  assert.equal(paidOut(set, done, 0x43500102), 7n * TON);
  const left = await set.stakeState();
  assert.deepEqual([left.total, left.bond, left.unbonding, left.allocated], [5n * TON, 0n, 0n, 4n * TON]);
  await set.ask('owner', provider, provider.withdraw(), 'ERR_NOTHING_UNBONDING');
});

scene('a second release starts the time of both anew', async (set) => {
  const { provider } = set;
  await set.ask('owner', provider, provider.unbond(TON));
  await set.chain.passTime(200_000);
  await set.ask('owner', provider, provider.unbond(TON));
  await set.chain.passTime(200_000);
  await set.ask('owner', provider, provider.withdraw(), 'ERR_STILL_UNBONDING');
  await set.chain.passTime(59_200);
  assert.equal(paidOut(set, await set.ask('owner', provider, provider.withdraw()), 0x43500102), 2n * TON);
});

scene('the owner withdraws operations, and not a nano-unit of what is held for others', async (set) => {
  const { provider } = set;
  await set.ask('thief', provider, provider.withdrawOperations(1n), 'ERR_NOT_OWNER');
  await set.ask('owner', provider, provider.withdrawOperations((await set.operations()) + 1n), 'ERR_OPERATIONS_EMPTY');
  assert.equal(paidOut(set, await set.ask('owner', provider, provider.withdrawOperations(TON)), 0x43500102), TON);
  await leave(set, 0n);
  await set.ask('owner', provider, provider.withdrawOperations(1n), 'ERR_OPERATIONS_EMPTY');
  assert.equal(await set.balance(provider), 12n * TON + RESERVE);
});

scene('only the owner changes the operator', async (set) => {
  const { provider } = set;
  const keys = keysOf('the next operator');
  await set.ask('thief', provider, provider.setOperator(keys.publicKey), 'ERR_NOT_OWNER');
  await keepsNothing(set, () => set.ask('owner', provider, provider.setOperator(keys.publicKey)));
  assert.equal((await set.stakeState()).key, BigInt(`0x${keys.publicKey.toString('hex')}`));
  await set.order(provider.allocate(TON), 'ERR_BAD_SIGNATURE');
  await set.order(provider.allocate(TON, { keys }));
});

scene('the dispute contract takes what it names, what is being released last, and all of it if it must', async (set) => {
  const { provider } = set;
  const to = somebody(0x51);
  const slash = (amount) => gained(set, to, () => keepsNothing(set, () => set.ask('dispute', provider, provider.slash(amount, to))));
  await set.ask('owner', provider, provider.slash(TON, set.owner.address), 'ERR_NOT_DISPUTE');
  await set.order(provider.allocate(4n * TON));
  await set.ask('owner', provider, provider.unbond(3n * TON));
  assert.equal(await slash(2n * TON), 2n * TON);
  let stake = await set.stakeState();
  assert.deepEqual([stake.total, stake.allocated, stake.unbonding], [8n * TON, 4n * TON, 3n * TON]);
  assert.equal(await slash(2n * TON), 2n * TON);
  stake = await set.stakeState();
  assert.deepEqual([stake.total, stake.allocated, stake.unbonding], [6n * TON, 3n * TON, 3n * TON]);
  assert.equal(await slash(4n * TON), 4n * TON);
  stake = await set.stakeState();
  assert.deepEqual([stake.total, stake.allocated, stake.unbonding, stake.bond], [2n * TON, 0n, 2n * TON, 2n * TON]);
  assert.equal(await slash(5n * TON), 2n * TON);
  stake = await set.stakeState();
  assert.deepEqual([stake.total, stake.allocated, stake.unbonding, stake.bond], [0n, 0n, 0n, 2n * TON]);
  const before = set.chain.transactions.length;
  assert.equal(await slash(TON), 0n);
  assert.ok(set.chain.transactions.slice(before).every(({ account }) => account !== to.toRawString()), 'nothing is sent when there is nothing');
  await set.chain.passTime(259_200);
  await set.ask('owner', provider, provider.withdraw(), 'ERR_NOTHING_UNBONDING');
});

scene('collateral can be slashed until it is withdrawn, and not after', async (set) => {
  const { provider } = set;
  const to = somebody(0x52);
  await set.ask('owner', provider, provider.unbond(10n * TON, TON));
  await set.chain.passTime(300_000);
  assert.equal(await gained(set, to, () => set.ask('dispute', provider, provider.slash(4n * TON, to))), 4n * TON);
  assert.equal(paidOut(set, await set.ask('owner', provider, provider.withdraw()), 0x43500102), 7n * TON);
  assert.equal(await gained(set, to, () => set.ask('dispute', provider, provider.slash(4n * TON, to))), 0n);
});

scene('collateral that is being released backs nothing', async (set) => {
  const { provider } = set;
  await set.ask('owner', provider, provider.unbond(4n * TON));
  await set.order(provider.allocate(6n * TON + 1n), 'ERR_STAKE_TOO_SMALL');
  await set.order(provider.allocate(6n * TON));
  assert.equal((await set.stakeState()).allocated, 6n * TON);
});

// ---- Pokes.

scene('a poke answered in time costs who poked, and earns the operator its price', async (set) => {
  const { provider } = set;
  await set.order(provider.alive(), 'ERR_NO_POKE');
  await leave(set, 0n);
  await set.ask('stranger', provider, provider.poke());
  const { by, deadline } = await set.stakeState();
  assert.deepEqual([by, deadline], [BigInt(`0x${set.stranger.address.hash.toString('hex')}`), BigInt(set.chain.now + 600)]);
  assert.equal(await set.operations(), 0n, 'the price is not yet earned');
  await set.ask('owner', provider, provider.withdrawOperations(1n), 'ERR_OPERATIONS_EMPTY');
  await set.ask('thief', provider, provider.poke(), 'ERR_POKE_OPEN');
  await set.ask('owner', provider, provider.unbond(0n, 2n * TON), 'ERR_POKE_OPEN');
  await set.chain.passTime(599);
  await set.ask('stranger', provider, provider.pokeOver(), 'ERR_POKE_RUNNING');
  // With an operations balance of nothing: the answer is paid for by the price.
  await set.order(provider.alive());
  assert.ok(await set.operations() > PRICE - toNano('0.001'));
  assert.equal((await set.stakeState()).by, 0n);
  await set.order(provider.alive(), 'ERR_NO_POKE');
  await set.chain.passTime(600);
  await set.ask('stranger', provider, provider.poke(), 'ERR_POKED_LATELY');
  await set.chain.passTime(1);
  await set.ask('stranger', provider, provider.poke());
});

scene('a poke not answered in time takes of the bond, half for who poked and half for the vault', async (set) => {
  const { provider } = set;
  await set.ask('stranger', provider, provider.pokeOver(), 'ERR_NO_POKE');
  await set.ask('stranger', provider, provider.poke());
  await set.chain.passTime(600);
  await set.order(provider.alive(), 'ERR_POKE_LATE');
  const operations = await set.operations();
  const done = await keepsNothing(set, () => set.ask('thief', provider, provider.pokeOver()));
  assert.equal(paidOut(set, done, 0x43500104), PRICE + toNano('0.25'));
  assert.equal((await set.shares()).feesCum, toNano('0.25'));
  const { bond, by, total } = await set.stakeState();
  assert.deepEqual([bond, by, total], [toNano('1.5'), 0n, 10n * TON]);
  assert.ok(await set.operations() > operations - toNano('0.0001'), 'who ends it pays for it');
  await set.ask('thief', provider, provider.pokeOver(), 'ERR_NO_POKE');
  await set.ask('stranger', provider, provider.poke(), 'ERR_POKED_LATELY');
  await set.chain.passTime(600);
  await set.ask('stranger', provider, provider.poke());
});

scene('a bond that does not carry a poke is not poked', async (set) => {
  await set.ask('stranger', set.provider, set.provider.poke(), 'ERR_BOND_TOO_SMALL');
  await set.ask('owner', set.provider, set.provider.stake(0n, 1n), 'done', { value: TON });
  await set.ask('stranger', set.provider, set.provider.poke());
}, { bond: toNano('0.5') - 1n });

scene('a provider that pokes itself loses', async (set) => {
  const { provider } = set;
  const wealth = async () => (await set.balance(set.owner)) + (await set.balance(provider));
  const before = await wealth();
  await set.ask('owner', provider, provider.poke());
  await set.chain.passTime(600);
  await set.ask('owner', provider, provider.pokeOver());
  assert.ok(before - (await wealth()) >= toNano('0.25'));
});

// ---- Orders.

scene('an order is heard once, in its time, from the operator, by this contract on this network', async (set) => {
  const { provider } = set;
  const refused = (message, error) => set.order(message, error);
  await refused(provider.allocate(TON, { number: 1 }), 'ERR_WRONG_NUMBER');
  await refused(provider.allocate(TON, { validUntil: set.chain.now }), 'ERR_EXPIRED');
  await refused(provider.allocate(TON, { keys: keysOf('a thief') }), 'ERR_BAD_SIGNATURE');
  await refused(provider.allocate(TON, { contract: somebody(1).hash }), 'ERR_BAD_SIGNATURE');
  await refused(provider.allocate(TON, { network: -239 }), 'ERR_BAD_SIGNATURE');
  await refused(provider.allocate(TON, { tag: 'CCV1' }), 'ERR_BAD_SIGNATURE');
  await refused(provider.allocate(TON, { signed: { number: 1 } }), 'ERR_BAD_SIGNATURE');
  await refused(provider.allocate(TON, { signed: { validUntil: 0xfffffffe } }), 'ERR_BAD_SIGNATURE');
  await refused(provider.allocate(TON, { signed: { command: beginCell().storeUint(0x43504003, 32).endCell() } }), 'ERR_BAD_SIGNATURE');
  await refused(provider.order(beginCell().storeUint(0x43504099, 32).endCell()), 'ERR_UNKNOWN_MESSAGE');
  await refused(provider.order(beginCell().endCell()), 'ERR_UNKNOWN_MESSAGE');
  const order = provider.allocate(TON, { validUntil: set.chain.now + 1 });
  await refused(order, 'done');
  await refused(order, 'ERR_WRONG_NUMBER');
  assert.equal((await set.state()).number, 1n);
  await refused(provider.alive(), 'ERR_NO_POKE');
  assert.equal((await set.state()).number, 1n, 'what is refused uses up no number');
});

scene('an order is paid out of the operations balance, to the nano-unit, or refused', async (set) => {
  const channel = await set.opened();
  const cases = [
    [() => set.provider.allocate(TON), gasFee(GAS.GAS_OPERATOR)],
    [() => set.provider.batch(set.claims([[channel, 1, TON / 2n]])), gasFee(GAS.GAS_OPERATOR + GAS.GAS_BATCHED) + claimValue],
  ];
  for (const [order, cost] of cases) {
    const rest = cost + importFee(order());
    await leave(set, rest - 1n);
    await set.order(order(), 'ERR_OPERATIONS_EMPTY');
    await set.owner.call(set.provider.address, TON);
    await leave(set, rest);
    await set.order(order());
    await set.audit();
    await set.owner.call(set.provider.address, TON);
  }
  assert.equal((await set.channelState(channel)).drawn, TON / 2n);
});

scene('a batch of none or of too many is refused', async (set) => {
  const channel = await set.opened();
  await set.order(set.provider.batch(set.claims([[channel, 1, 1n]]), { count: 0 }), 'ERR_BATCH_COUNT');
  await set.order(set.provider.batch(set.claims([[channel, 1, 1n]]), { count: 251 }), 'ERR_BATCH_COUNT');
});

// ---- What channels pay.

scene('a batch divides what its channels pay, in one sum for the owner and one for the vault', async (set) => {
  const { provider } = set;
  const channels = [];
  for (let n = 0; n < 5; n += 1) channels.push(await set.opened());
  const operations = await set.operations();
  const done = await set.batch(channels.map((channel, n) => [channel, n + 1, TON / 10n * BigInt(n + 1), { root: 100 + n }]));
  assert.equal(paidOut(set, done, 0x43500101), TON / 10n * 15n * 95n / 100n);
  assert.equal(messages(set, done, 0x43500101).length, 1);
  assert.equal(messages(set, done, 0x43560001).length, 1);
  const fees = TON / 10n * 15n * 5n / 100n;
  assert.deepEqual(await set.shares(), { burn: fees * 7n / 10n, auditors: fees / 5n, treasury: fees / 10n, feesCum: fees });
  const state = await set.state();
  assert.deepEqual([state.number, state.batch, state.outstanding, state.earnings, state.fees], [1n, 0n, 0n, 0n, 0n]);
  assert.deepEqual([state.feesCum, state.claims, state.paidInEpoch], [fees, 5n, TON / 10n * 15n]);
  assert.equal(state.head, channels.reduce((head, channel, n) => chained(head, channel, 100 + n, 0n, TON / 10n * BigInt(n + 1)), 0n));
  assert.ok(operations - (await set.operations()) < 5n * toNano('0.0021'), 'what was set aside and not used came back');
  for (const channel of channels) assert.equal(await set.balance(channel), (await set.channelState(channel)).deposit - (await set.channelState(channel)).drawn + toNano('0.01'));
  await set.batch([[channels[0], 9, TON / 2n, { root: 7 }]]);
  assert.equal((await set.state()).head, chained(state.head, channels[0], 7, TON / 10n, TON / 2n));
});

scene('claims that fail come back with their money, and the others are paid', async (set) => {
  const [good, empty, other] = [await set.opened(), await set.opened(), await set.opened()];
  const missing = new Channel({ requester: set.requester.address, provider: set.provider.address, salt: 99 });
  const done = await set.batch([[missing, 1, 1n], [good, 1, TON / 2n], [empty, 0, 0n], [other, 1, TON, { keys: keysOf('a thief') }]]);
  assert.equal(set.at(missing, done), 'skipped no-state');
  assert.equal(set.at(empty, done), 'exit 707');
  assert.equal(set.at(other, done), 'exit 706');
  assert.equal(paidOut(set, done, 0x43500101), TON / 2n * 95n / 100n);
  assert.equal((await set.state()).outstanding, 0n);
  // Bounces alone end a batch as well.
  const none = await set.batch([[empty, 0, 0n], [missing, 1, 1n]]);
  assert.equal(messages(set, none, 0x43500101).length, 0);
  assert.equal((await set.state()).outstanding, 0n);
});

scene('a bounce that ends a batch pays for its end itself', async (set) => {
  const [good, bad] = [await set.opened(), await set.opened()];
  const order = set.provider.batch(set.claims([[good, 1, TON / 2n], [bad, 0, 0n]]));
  await leave(set, 2n * claimValue + gasFee(GAS.GAS_OPERATOR + 2n * GAS.GAS_BATCHED) + importFee(order));
  const done = await set.order(order);
  assert.equal(paidOut(set, done, 0x43500101), TON / 2n * 95n / 100n);
  assert.ok(await set.operations() >= 0n);
});

scene('a list that is malformed uses up its number and sends nothing', async (set) => {
  const { provider } = set;
  const channel = await set.opened();
  const claim = (change) => set.claims([[channel, 1, TON / 2n, change]]);
  const node = (bits, ...refs) => refs.reduce((builder, ref) => builder.storeRef(ref), beginCell().storeBuffer(Buffer.alloc(bits / 8))).endCell();
  const lists = [
    [() => provider.batch(claim(), { count: 2 }), 9],
    [() => provider.batch(claim({ query: 77n })), 702],
    [() => provider.batch([[channel, channel.deposit(1n)]]), 702],
    [() => provider.batch([[channel, beginCell().storeUint(0x43430002, 32).endCell()]]), 9],
    [() => provider.batch([], { count: 1, list: node(0) }), 9],
    [() => provider.batch([], { count: 1, list: node(504, beginCell().endCell()) }), 9],
    [() => provider.batch([], { count: 1, list: node(512) }), 9],
  ];
  for (const [order, exit] of lists) {
    const number = (await set.state()).number;
    const done = await set.order(order(), exit);
    assert.equal(done.length, 1, 'nothing is sent');
    assert.equal((await set.state()).number, number + 1n);
  }
  // The next batch is none the worse for it.
  await set.batch([[channel, 1, TON / 2n]]);
  assert.equal((await set.state()).outstanding, 0n);
});

scene('a command without its list is refused before it costs anything', async (set) => {
  await set.order(set.provider.order(beginCell().storeUint(0x43504001, 32).storeUint(1, 8).endCell()), 9);
  await set.order(set.provider.order(beginCell().storeUint(0x43504002, 32).endCell()), 9);
});

scene('claims too large for their money are left out, and neither they nor fines for them touch what is held', async (set) => {
  const { provider } = set;
  const [small, large] = [await set.opened(), await set.opened()];
  const [, body] = set.claims([[large, 1, TON / 2n]])[0];
  const heavy = beginCell().storeBits(body.bits).storeRef(tree(4_000)).endCell();
  const claims = [...set.claims([[small, 1, TON / 2n]]), ...Array.from({ length: 40 }, () => [large, heavy])];
  const order = provider.batch(claims);
  await leave(set, 41n * claimValue + gasFee(GAS.GAS_OPERATOR + 41n * GAS.GAS_BATCHED) + importFee(order));
  await set.order(order);
  await set.audit();
  assert.equal((await set.channelState(small)).drawn, TON / 2n);
  assert.equal((await set.state()).outstanding, 40n);
  // What the batch still waits for holds up nothing but the sum; anyone sends it on.
  const { earnings, fees } = await set.state();
  assert.deepEqual([earnings, fees], [TON / 2n * 95n / 100n, TON / 2n * 5n / 100n]);
  const done = await keepsNothing(set, () => set.ask('stranger', provider, provider.flush()));
  assert.equal(paidOut(set, done, 0x43500101), earnings);
  assert.equal((await set.shares()).feesCum, fees);
  await set.ask('stranger', provider, provider.flush(), 'ERR_NOTHING_TO_SEND');
});

scene('a claim outside of any batch is divided at once', async (set) => {
  const channel = await set.opened();
  const done = await set.ask('stranger', channel, channel.claim(1, TON / 2n, { query: 55n }));
  assert.equal(paidOut(set, done, 0x43500101), TON / 2n * 95n / 100n);
  assert.equal((await set.shares()).feesCum, TON / 2n * 5n / 100n);
});

scene('whoever delivers claims under the number of a batch ends it early and gains nothing', async (set) => {
  const { provider } = set;
  const [one, two, three] = [await set.opened(), await set.opened(), await set.opened()];
  // Leaves a batch that waits for one claim for ever.
  const [, body] = set.claims([[two, 1, TON]])[0];
  await set.order(provider.batch([...set.claims([[one, 1, TON / 2n]]), [two, beginCell().storeBits(body.bits).storeRef(tree(4_000)).endCell()]]));
  assert.equal((await set.state()).outstanding, 1n);
  await set.ask('thief', three, three.claim(1, TON / 4n, { query: 5n }));
  let state = await set.state();
  assert.deepEqual([state.outstanding, state.earnings], [1n, TON * 3n / 4n * 95n / 100n]);
  const done = await set.ask('thief', three, three.claim(2, TON / 2n, { query: 0n }));
  assert.equal(paidOut(set, done, 0x43500101), TON * 95n / 100n);
  state = await set.state();
  assert.deepEqual([state.outstanding, state.earnings, state.fees], [0n, 0n, 0n]);
});

scene('a thief with the operator\'s key earns for the owner and moves nothing', async (set) => {
  const { provider } = set;
  const honest = await set.opened();
  const stolen = { keys: provider.keys };
  // A contract and a channel of the thief's own; its claims carry the stolen order's number.
  const theirs = new Provider({ owner: set.thief.address, terms: set.terms, keys: keysOf('a thief') });
  await set.ask('thief', theirs, theirs.stake(0n), 'done', { value: TON, init: theirs.init });
  set.contracts.push(theirs);
  const foreign = new Channel({ requester: set.thief.address, provider: theirs.address, salt: 1 });
  await set.ask('thief', foreign, foreign.deposit(TON), 'done', { value: 2n * TON, init: foreign.init });
  set.contracts.push(foreign);
  const own = new Channel({ requester: set.thief.address, provider: provider.address, salt: 2 });
  await set.ask('thief', own, own.deposit(TON), 'done', { value: 2n * TON, init: own.init });
  set.contracts.push(own);

  const before = { thief: await set.balance(set.thief), theirs: await set.balance(theirs), operations: await set.operations() };
  const done = await set.order(provider.batch(set.claims([[foreign, 1, TON / 2n], [honest, 1, TON / 2n]]), stolen));
  assert.equal(set.at(foreign, done), 'nothing', 'where the contract sends claims is for the contract to compute');
  assert.equal(set.at(theirs, done), 'nothing');
  await set.order(provider.batch([[own, own.deposit(1n)]], stolen), 'ERR_BAD_LAYOUT');
  await set.order(provider.batch([[own, own.closeUnilateral()]], stolen), 'ERR_BAD_LAYOUT');
  await set.order(provider.batch(set.claims([[own, 1, 0n]]), stolen));
  await set.ask('thief', provider, provider.withdrawOperations(TON), 'ERR_NOT_OWNER');
  await set.ask('thief', provider, provider.unbond(TON, TON), 'ERR_NOT_OWNER');
  await set.ask('thief', provider, provider.withdraw(), 'ERR_NOT_OWNER');
  await set.ask('thief', provider, provider.setOperator(keysOf('a thief').publicKey), 'ERR_NOT_OWNER');
  await set.ask('thief', provider, provider.slash(TON, set.thief.address), 'ERR_NOT_DISPUTE');
  assert.ok(await set.balance(set.thief) <= before.thief);
  assert.ok(await set.balance(theirs) <= before.theirs);
  const { total, bond } = await set.stakeState();
  assert.deepEqual([total, bond], [10n * TON, 2n * TON]);
  assert.ok(before.operations - (await set.operations()) < 6n * toNano('0.002'), 'only fees are spent');
});

scene('nobody but a channel of this provider says that a channel paid', async (set) => {
  const { provider } = set;
  const genuine = await set.opened();
  const claims = async () => (await set.state()).claims;
  const forged = (by) => op(0x43430101).storeCoins(0n).storeCoins(TON).storeUint(1, 256).storeBuffer(by.payTerms.hash()).storeBuffer(by.closeTerms.hash()).endCell();
  await set.ask('thief', provider, forged(genuine), 'ERR_NOT_A_CHANNEL', { value: 2n * TON });
  // The channel's own code, deployed as if much had been drawn: its word is not heard, and its money joins the operations balance.
  for (const change of [{ drawn: 5n * TON, deposit: 5n * TON }, { sequence: 4 }, { root: 9 }, { status: 1, deadline: 0xffffffff }]) {
    const liar = new Channel({ requester: set.thief.address, provider: provider.address, salt: 5, initial: change });
    set.contracts.push(liar);
    const done = await set.thief.call(liar.address, 2n * TON, liar.deposit(TON), { init: liar.init });
    if (change.status) continue;
    assert.equal(set.at(liar, done), 'done');
    const operations = await set.operations();
    const heard = await set.ask('thief', liar, liar.claim(9, (change.drawn ?? 0n) + TON));
    assert.equal(set.at(provider, heard), 'exit 729');
    assert.ok(await set.operations() > operations + TON - toNano('0.001'));
  }
  assert.equal(await claims(), 0n);
  const richer = new Channel({ requester: set.thief.address, provider: provider.address, salt: 6, initial: { deposit: 1_000n * TON } });
  await set.thief.call(richer.address, TON, richer.deposit(1n), { init: richer.init });
  assert.equal(await claims(), 0n, 'a channel without its deposit draws nothing');
});

scene('many small draws pay exactly the fee of one large draw', async (set) => {
  const channel = await set.opened();
  const steps = [1n, 19n, 20n, 39n, 59n, 1_000_003n, 1_000_019n];
  for (const [n, cumulative] of steps.entries()) await set.ask('stranger', channel, channel.claim(n, cumulative, { query: 3n }));
  assert.equal((await set.state()).feesCum, 1_000_019n * 5n / 100n);
  assert.equal((await set.shares()).feesCum, 1_000_019n * 5n / 100n);
});

scene('without a fee the vault hears nothing', async (set) => {
  const channel = await set.opened();
  const done = await set.ask('stranger', channel, channel.claim(1, TON));
  assert.equal(set.at(set.vault, done), 'nothing');
  assert.equal(paidOut(set, done, 0x43500101), TON);
}, { terms: { feeBps: 0 } });

scene('when all is fee the owner hears nothing', async (set) => {
  const channel = await set.opened();
  const done = await set.ask('stranger', channel, channel.claim(1, TON));
  assert.equal(messages(set, done, 0x43500101).length, 0);
  assert.equal((await set.shares()).feesCum, TON);
}, { terms: { feeBps: 10_000 } });

scene('an epoch that is over is kept with what was paid in it and what backed it', async (set) => {
  const { provider } = set;
  const channel = await set.opened();
  const draw = (n) => set.ask('stranger', channel, channel.claim(n, TON / 100n * BigInt(n)));
  await draw(1);
  const first = (await set.state()).epochEnds;
  assert.equal(first % BigInt(DAY), 0n);
  assert.ok(first > BigInt(set.chain.now) && first <= BigInt(set.chain.now + DAY));
  assert.deepEqual(await set.epoch(), { ended: 0n, paid: 0n, backed: 0n });
  await set.order(provider.allocate(3n * TON));
  await set.chain.passTime(Number(first) - set.chain.now - 1);
  await draw(3);
  assert.deepEqual(await set.epoch(), { ended: 0n, paid: 0n, backed: 0n });
  assert.equal((await set.state()).paidInEpoch, TON / 100n * 3n);
  await set.chain.passTime(1);
  await draw(4);
  assert.deepEqual(await set.epoch(), { ended: first, paid: TON / 100n * 3n, backed: 3n * TON });
  assert.deepEqual([(await set.state()).epochEnds, (await set.state()).paidInEpoch], [first + BigInt(DAY), TON / 100n]);
  await set.chain.passTime(5 * DAY);
  await draw(9);
  assert.deepEqual(await set.epoch(), { ended: first + BigInt(DAY), paid: TON / 100n, backed: 3n * TON });
  assert.equal((await set.state()).epochEnds, first + 6n * BigInt(DAY));
});

scene('what a channel pays before its provider exists waits for the owner', async (set) => {
  const { provider } = set;
  const channel = new Channel({ requester: set.requester.address, provider: provider.address, salt: 1 });
  await set.ask('requester', channel, channel.deposit(TON), 'done', { value: 2n * TON, init: channel.init });
  set.contracts.push(channel);
  const done = await set.ask('stranger', channel, channel.claim(1, TON));
  assert.equal(set.at(provider, done), 'skipped no-state');
  await set.ask('owner', provider, provider.stake(0n), 'done', { value: TON, init: provider.init });
  assert.ok(await set.operations() > TON);
}, { stake: null });

// ---- Money, time and nonsense.

scene('every message says so when it brings a nano-unit too little, and does all it should with not one more', async (set) => {
  const { provider, owner, vault } = set;
  const channel = await set.opened();
  await leave(set, 0n);
  await set.exactly('owner', provider, provider.setOperator(provider.keys.publicKey), ASKS.setOperator);
  await set.exactly('owner', provider, provider.unbond(TON, TON), ASKS.unbond);
  await set.chain.passTime(259_200);
  await set.exactly('owner', provider, provider.withdraw(), ASKS.withdraw);
  await set.exactly('dispute', provider, provider.slash(TON, somebody(0x53)), ASKS.slash);
  await set.exactly('stranger', provider, provider.poke(), ASKS.poke + PRICE);
  await set.chain.passTime(600);
  await set.exactly('stranger', provider, provider.pokeOver(), ASKS.pokeOver);
  await set.exactly('stranger', channel, channel.claim(1, TON / 2n, { query: 0n }), ASKS.claim);
  await owner.call(provider.address, TON);
  await set.exactly('owner', provider, provider.withdrawOperations(TON / 2n), ASKS.withdrawOperations);
  await set.order(provider.batch([], { count: 1, list: beginCell().endCell() }), 9);
  await set.ask('stranger', channel, channel.claim(2, TON, { query: 5n }), 'ERR_TOO_LITTLE_VALUE', { value: ASKS.claim - 1n });
  await set.ask('stranger', channel, channel.claim(2, TON, { query: 5000n }), 'done', { value: ASKS.claim });
  assert.equal((await set.state()).earnings, TON / 2n * 95n / 100n);
  await leave(set, 0n);
  await set.exactly('stranger', provider, provider.flush(), ASKS.flush);
  await set.exactly('stranger', vault, vault.payTreasury(), ASKS.payTreasury);
  await set.exactly('stranger', vault, vault.fee(TON), ASKS.fee + TON);
});

scene('money without words joins the operations balance, and what is no message comes back', async (set) => {
  const { provider } = set;
  const before = await set.operations();
  await set.stranger.call(provider.address, TON);
  assert.ok(await set.operations() > before + TON - toNano('0.001'));
  await set.ask('stranger', provider, comment('hello'), 'ERR_UNKNOWN_MESSAGE');
  await set.ask('stranger', provider, beginCell().storeUint(0x43500099, 32).storeUint(1, 64).endCell(), 'ERR_UNKNOWN_MESSAGE');
  await set.ask('stranger', provider, beginCell().storeUint(1, 8).endCell(), 'ERR_UNKNOWN_MESSAGE');
  await set.ask('stranger', provider, beginCell().storeUint(0x43500001, 32).endCell(), 9);
  await set.ask('stranger', provider, op(0xd53276db).endCell());
  for (const method of ['provider_state', 'provider_stake', 'provider_epoch', 'no_such_method']) await set.chain.get(provider.address, method);
});

/// A contract that rent of thirty years ate into, with earnings, collateral to withdraw, and a poke that nobody answered; and what is missing.
async function aged(set) {
  const { provider } = set;
  const channel = await set.opened();
  await set.order(provider.batch([], { count: 1, list: beginCell().endCell() }), 9);
  await set.ask('stranger', channel, channel.claim(1, TON / 2n, { query: 5000n }));
  await set.ask('owner', provider, provider.unbond(5n * TON));
  await leave(set, 0n);
  await set.chain.passTime(30 * YEAR);
  // The poke makes the books know the rent.
  await set.ask('stranger', provider, provider.poke());
  await set.chain.passTime(600);
  const missing = (await set.held()) - (await set.balance(provider));
  assert.ok(missing > 0n);
  return missing;
}

for (const [what, person, message, ask] of [
  ['withdrawal', 'owner', (provider) => provider.withdraw(), ASKS.withdraw],
  ['flush', 'stranger', (provider) => provider.flush(), ASKS.flush],
  ['end of a poke', 'stranger', (provider) => provider.pokeOver(), ASKS.pokeOver],
]) {
  scene(`a ${what} makes decades of rent good`, async (set) => {
    const { provider } = set;
    const missing = await aged(set);
    await set.ask(person, provider, message(provider), 'ERR_TOO_LITTLE_VALUE', { value: ask + missing - 10_000n });
    await set.ask(person, provider, message(provider), 'done', { value: ask + missing + 10_000n });
    await set.audit();
    await set.ask('owner', provider, provider.withdrawOperations(1n), 'ERR_OPERATIONS_EMPTY');
  });
}

scene('rent keeps no slash from what there is', async (set) => {
  const { provider } = set;
  await aged(set);
  const { total } = await set.stakeState();
  const to = somebody(0x54);
  const sent = await gained(set, to, () => set.ask('dispute', provider, provider.slash(100n * TON, to)));
  assert.equal(sent, total, 'bond and earnings are there to pay for it');
  await set.ask('stranger', provider, provider.flush(), 'done', { value: TON });
});

scene('a slash of all there is sends all there is, when rent ate some of it', async (set) => {
  const { provider } = set;
  await leave(set, 0n);
  await set.chain.passTime(30 * YEAR);
  const to = somebody(0x55);
  const sent = await gained(set, to, () => set.ask('dispute', provider, provider.slash(10n * TON, to)));
  assert.ok(sent < 10n * TON && sent > 10n * TON - toNano('0.2'), `${sent}`);
  assert.equal((await set.stakeState()).total, 0n);
}, { bond: 0n });

/// A chain of hashes over all draws, as the contract keeps it.
function chained(head, channel, root, from, to) {
  const link = beginCell().storeUint(head, 256).storeBuffer(channel.address.hash).storeUint(root, 256).storeUint(from, 64).storeUint(to, 64).endCell();
  return BigInt(`0x${link.hash().toString('hex')}`);
}

/// That many cells, all different.
function tree(cells) {
  let count = 0;
  const grow = (size) => {
    count += 1;
    const builder = beginCell().storeUint(count, 16);
    let rest = size - 1;
    for (let n = 4; n > 0 && rest > 0; n -= 1) {
      const part = Math.ceil(rest / n);
      builder.storeRef(grow(part));
      rest -= part;
    }
    return builder.endCell();
  };
  return grow(cells);
}
