// The channel contract from its opening to its end, with every way to be refused on the way.
import assert from 'node:assert/strict';
import { beginCell, internal, toNano } from '@ton/core';
import { ASKS } from '../src/bounds.mjs';
import { Channel, somebody } from '../src/channel.mjs';
import { keysOf } from '../src/contract.mjs';
import { DAY, ENOUGH, TON, comment } from '../src/scene.mjs';
import { gained, paidOut, scene } from '../src/scripts.mjs';

const REST = toNano('0.01');
const YEAR = 365 * DAY;
const REFUND = 0x43430103;

scene('a channel opens, is topped up, pays and is paid off', async (set) => {
  const channel = await set.opened(10n * TON);
  assert.equal(await set.balance(channel), 10n * TON + REST);
  await set.ask('stranger', channel, channel.deposit(5n * TON), 'done', { value: 5n * TON + ENOUGH });
  assert.equal(await set.balance(channel), 15n * TON + REST);
  await set.ask('owner', channel, channel.claim(1, TON, { root: 5 }));
  await set.ask('stranger', channel, channel.claim(7, 4n * TON, { root: 6 }));
  assert.deepEqual(await set.channelState(channel), { status: 0n, deadline: 0n, deposit: 15n * TON, drawn: 4n * TON, sequence: 7n, root: 6n });
  assert.equal((await set.shares()).feesCum, TON / 5n);
  const done = await set.ask('stranger', channel, channel.closeCooperative(9, 6n * TON));
  assert.equal(paidOut(set, done, REFUND, channel), 9n * TON);
  assert.equal((await set.state()).paidInEpoch, 6n * TON);
  assert.deepEqual(await set.channelState(channel), { status: 2n, deadline: 0n, deposit: 15n * TON, drawn: 6n * TON, sequence: 9n, root: 6n });
  assert.equal(await set.balance(channel), REST);
  await set.ask('stranger', channel, channel.claim(10, 7n * TON), 'ERR_CLOSED');
  await set.ask('stranger', channel, channel.deposit(TON), 'ERR_CLOSED', { value: 2n * TON });
  await set.ask('requester', channel, channel.closeUnilateral(), 'ERR_CLOSED');
  await set.ask('requester', channel, channel.finishClose(), 'ERR_CLOSED');
  await set.ask('requester', channel, channel.closeCooperative(9, 6n * TON), 'ERR_CLOSED');
});

scene('a voucher is refused for what is wrong with it', async (set) => {
  const channel = await set.opened(10n * TON);
  const other = await set.opened(10n * TON);
  const refused = (body, error) => set.ask('owner', channel, body, error);
  await refused(channel.claim(1, TON, { keys: keysOf('somebody else') }), 'ERR_BAD_SIGNATURE');
  await refused(channel.claim(1, TON, { keys: channel.providerKeys }), 'ERR_BAD_SIGNATURE');
  await refused(channel.claim(1, TON, { signature: Buffer.alloc(64) }), 'ERR_BAD_SIGNATURE');
  await refused(channel.claim(1, TON, { signature: Buffer.alloc(64, 0xff) }), 'ERR_BAD_SIGNATURE');
  await refused(channel.claim(1, TON, { tag: 'CCC1' }), 'ERR_WRONG_TAG');
  await refused(channel.claim(1, TON, { network: -239 }), 'ERR_WRONG_NETWORK');
  await refused(channel.claim(1, TON, { channel: somebody(1).hash }), 'ERR_WRONG_CHANNEL');
  await refused(other.claim(1, TON), 'ERR_WRONG_CHANNEL');
  await refused(channel.claim(1, 0), 'ERR_NOTHING_TO_DRAW');
  await refused(channel.claim(1, TON, { finish: (builder) => builder.storeBit(1) }), 'ERR_BAD_LAYOUT');
  await refused(channel.claim(1, TON, { finish: (builder) => builder.storeRef(beginCell().endCell()) }), 'ERR_BAD_LAYOUT');
  await refused(channel.claim(2, 2n * TON), 'done');
  await refused(channel.claim(2, 2n * TON), 'ERR_NOTHING_TO_DRAW');
  await refused(channel.claim(3, TON), 'ERR_NOTHING_TO_DRAW');
  assert.equal((await set.state()).claims, 1n);
});

scene('a voucher from before a reopening is worthless', async (set) => {
  const old = await set.opened(TON);
  await set.ask('stranger', old, old.closeCooperative(1, TON / 2n));
  const anew = await set.opened(TON);
  await set.ask('stranger', anew, old.claim(2, TON), 'ERR_WRONG_CHANNEL');
  await set.ask('stranger', old, old.claim(2, TON), 'ERR_CLOSED');
  // The old address cannot be deployed a second time.
  await set.ask('requester', old, old.deposit(TON), 'ERR_CLOSED', { value: 2n * TON, init: old.init });
});

scene('a voucher above the deposit pays what there is, and the rest after a top-up', async (set) => {
  const channel = await set.opened(2n * TON);
  await set.ask('owner', channel, channel.claim(1, 5n * TON));
  assert.equal((await set.channelState(channel)).drawn, 2n * TON);
  await set.ask('owner', channel, channel.claim(1, 5n * TON), 'ERR_NOTHING_TO_DRAW');
  await set.ask('requester', channel, channel.deposit(TON), 'done', { value: TON + ENOUGH });
  await set.ask('owner', channel, channel.claim(1, 5n * TON));
  assert.equal((await set.channelState(channel)).drawn, 3n * TON);
  assert.equal((await set.state()).paidInEpoch, 3n * TON);
});

scene('one side alone closes within its rights, raced by a claim', async (set) => {
  const channel = await set.opened(3n * TON, { windowSeconds: 600 });
  await set.ask('owner', channel, channel.closeUnilateral(), 'ERR_NOT_REQUESTER');
  await set.ask('requester', channel, channel.finishClose(), 'ERR_NOT_CLOSING');
  await set.ask('requester', channel, channel.closeUnilateral());
  assert.deepEqual([(await set.channelState(channel)).status, (await set.channelState(channel)).deadline], [1n, BigInt(set.chain.now + 600)]);
  assert.equal(await set.balance(channel), 3n * TON + REST);
  await set.ask('requester', channel, channel.closeUnilateral(), 'ERR_CLOSING');
  await set.ask('requester', channel, channel.deposit(TON), 'ERR_CLOSING', { value: 2n * TON });
  await set.chain.passTime(599);
  await set.ask('requester', channel, channel.finishClose(), 'ERR_WINDOW_OPEN');
  await set.batch([[channel, 1, TON]]);
  await set.chain.passTime(1);
  await set.ask('owner', channel, channel.claim(2, 2n * TON), 'ERR_WINDOW_OVER');
  const done = await set.ask('stranger', channel, channel.finishClose());
  assert.equal(paidOut(set, done, REFUND, channel), 2n * TON);
  assert.equal(set.of(set.requester, done).length, 1);
  assert.deepEqual(await set.channelState(channel), { status: 2n, deadline: 0n, deposit: 3n * TON, drawn: TON, sequence: 1n, root: 0xddn });
  await set.ask('owner', channel, channel.claim(2, 2n * TON), 'ERR_CLOSED');
});

scene('what a channel holds above its reserve is refunded, and a channel that was drawn to the end refunds nothing', async (set) => {
  const [full, drawn] = [await set.opened(TON), await set.opened(TON)];
  await set.ask('stranger', full, comment('lost'), 'ERR_UNKNOWN_MESSAGE', { bounce: false, value: TON });
  const done = await set.ask('stranger', full, full.closeCooperative(1, TON / 2n));
  assert.ok(paidOut(set, done, REFUND, full) > TON / 2n + TON - toNano('0.001'));
  assert.equal(await set.balance(full), REST);
  await set.ask('stranger', drawn, drawn.claim(1, TON));
  const none = await set.ask('stranger', drawn, drawn.closeCooperative(1, TON));
  assert.equal(set.of(set.requester, none).length, 0);
  assert.equal(set.at(set.provider, none), 'nothing', 'a close without a draw tells nothing');
  assert.equal((await set.channelState(drawn)).sequence, 1n);
  assert.equal((await set.state()).claims, 2n);
});

scene('a closing channel is ended by both at once', async (set) => {
  const channel = await set.opened(3n * TON, { windowSeconds: 600 });
  await set.ask('requester', channel, channel.closeUnilateral());
  await set.ask('owner', channel, channel.closeCooperative(1, 3n * TON));
  assert.deepEqual((await set.channelState(channel)).status, 2n);
  assert.equal((await set.state()).paidInEpoch, 3n * TON);
});

scene('a close that both signed is refused for what is wrong with it', async (set) => {
  const channel = await set.opened(10n * TON);
  const other = await set.opened(10n * TON);
  const refused = (body, error) => set.ask('owner', channel, body, error);
  await set.ask('owner', channel, channel.claim(1, 2n * TON));
  await refused(channel.closeCooperative(2, 10n * TON + 1n), 'ERR_OVER_DEPOSIT');
  await refused(channel.closeCooperative(2, 2n * TON - 1n), 'ERR_BELOW_DRAWN');
  await refused(channel.closeCooperative(2, 3n * TON, { requester: keysOf('x') }), 'ERR_BAD_SIGNATURE');
  await refused(channel.closeCooperative(2, 3n * TON, { provider: keysOf('x') }), 'ERR_BAD_SIGNATURE');
  await refused(channel.closeCooperative(2, 3n * TON, { tag: 'CCV1' }), 'ERR_WRONG_TAG');
  await refused(channel.closeCooperative(2, 3n * TON, { network: -3 }), 'ERR_WRONG_NETWORK');
  await refused(channel.closeCooperative(2, 3n * TON, { channel: somebody(2).hash }), 'ERR_WRONG_CHANNEL');
  await refused(other.closeCooperative(2, 3n * TON), 'ERR_WRONG_CHANNEL');
  await refused(channel.closeCooperative(2, 3n * TON, { finish: (builder) => builder.storeUint(0, 8) }), 'ERR_BAD_LAYOUT');
  await refused(channel.closeCooperative(2, 3n * TON, { finish: (builder) => builder.storeRef(beginCell().endCell()) }), 'ERR_BAD_LAYOUT');
  // The most and the least that both may sign for.
  await refused(channel.closeCooperative(2, 2n * TON), 'done');
  await set.ask('owner', other, other.closeCooperative(2, 10n * TON));
});

scene('every message says so when it brings a nano-unit too little, and does all it should with not one more', async (set) => {
  const channel = new Channel({ requester: set.requester.address, provider: set.provider.address, salt: 77, windowSeconds: 60 });
  await set.exactly('requester', channel, channel.deposit(TON), TON + REST + ASKS.deposit, { init: channel.init });
  set.contracts.push(channel);
  await set.exactly('requester', channel, channel.deposit(TON), TON + ASKS.deposit);
  await set.exactly('stranger', channel, channel.claim(1, TON), ASKS.claim);
  await set.exactly('requester', channel, channel.closeUnilateral(), ASKS.closeUnilateral);
  await set.exactly('stranger', channel, channel.claim(2, TON + 1n), ASKS.claim);
  await set.chain.passTime(60);
  await set.exactly('stranger', channel, channel.finishClose(), ASKS.finishClose);
  const both = await set.opened();
  await set.exactly('stranger', both, both.closeCooperative(1, TON / 2n), ASKS.closeCooperative);
  await set.ask('requester', both, both.deposit(0n), 'ERR_CLOSED');
  const last = await set.opened();
  await set.ask('requester', last, last.deposit(0n), 'ERR_ZERO_DEPOSIT');
  await set.ask('requester', last, last.deposit(5n * TON), 'ERR_TOO_LITTLE_VALUE', { value: 5n * TON });
});

scene('what is no message of the channel is refused, and sent back if it may be', async (set) => {
  const channel = await set.opened();
  const bodies = [
    [undefined, 'ERR_UNKNOWN_MESSAGE'],
    [comment('hello'), 'ERR_UNKNOWN_MESSAGE'],
    [beginCell().storeUint(0x43430099, 32).storeUint(1, 64).endCell(), 'ERR_UNKNOWN_MESSAGE'],
    [beginCell().storeUint(0x4343, 16).endCell(), 'ERR_UNKNOWN_MESSAGE'],
    [beginCell().storeUint(0x43430001, 32).endCell(), 9],
    [beginCell().storeUint(0x43430002, 32).storeUint(1, 64).storeUint(0, 512).endCell(), 9],
    [beginCell().storeUint(0x43430005, 32).storeUint(1, 64).storeUint(0, 512).storeRef(beginCell().endCell()).endCell(), 9],
    [beginCell().storeUint(0xffffffff, 32).storeUint(0x43430002, 32).endCell(), 'ERR_UNKNOWN_MESSAGE'],
  ];
  for (const [body, error] of bodies) {
    for (const bounce of [true, false]) {
      const done = await set.ask('requester', channel, body, error, { bounce });
      assert.equal(done.length, bounce ? 3 : 2);
    }
  }
  for (const method of ['channel_state', 'channel_terms', 'no_such_method']) await set.chain.get(channel.address, method);
});

scene('the terms are what they were at the opening', async (set) => {
  const channel = await set.opened(TON, { windowSeconds: 777 });
  const terms = (await set.chain.get(channel.address, 'channel_terms')).map(({ value }) => value);
  const number = (bytes) => BigInt(`0x${bytes.toString('hex')}`);
  assert.deepEqual(terms, [number(channel.requesterKeys.publicKey), number(channel.providerKeys.publicKey), number(set.requester.address.hash),
    number(set.provider.address.hash), 777n, -777n, 1n]);
});

scene('a message to a channel that is not there comes back', async (set) => {
  const channel = new Channel({ requester: set.requester.address, provider: set.provider.address, salt: 10_000 });
  const done = await set.requester.call(channel.address, TON, channel.claim(1, 1n));
  assert.equal(set.at(channel, done), 'skipped no-state');
  assert.equal(done.length, 3, 'sent, failed, came back');
  const other = { code: channel.init.code, data: beginCell().endCell() };
  assert.equal(set.at(channel, await set.requester.call(channel.address, TON, channel.deposit(1n), { init: other })), 'skipped bad-state');
  assert.equal(set.at(channel, await set.requester.call(channel.address, 1n, channel.deposit(1n), { init: channel.init })), 'skipped no-gas');
});

scene('years of rent are made good by whoever calls next, to the nano-unit', async (set) => {
  const channel = await set.opened(TON, { windowSeconds: 60 });
  for (let year = 0; year < 7; year += 1) {
    await set.chain.passTime(YEAR);
    await set.ask('owner', channel, channel.claim(year + 1, TON / 10n * BigInt(year + 1)));
  }
  const { deposit, drawn } = await set.channelState(channel);
  assert.equal(await set.balance(channel), deposit - drawn, 'the reserve is used up, the deposit is whole');
  await set.chain.passTime(YEAR);
  await set.ask('owner', channel, channel.claim(8, TON / 10n * 7n + 1n), 'ERR_TOO_LITTLE_VALUE', { value: ASKS.claim });
  await set.ask('owner', channel, channel.claim(8, TON / 10n * 7n + 1n));
  assert.equal(await set.balance(channel), deposit - drawn - 1n);
  await set.chain.passTime(YEAR);
  await set.ask('requester', channel, channel.deposit(TON), 'ERR_TOO_LITTLE_VALUE', { value: TON + REST + ASKS.deposit });
  await set.ask('requester', channel, channel.deposit(TON), 'done', { value: 2n * TON });
  assert.equal(await set.balance(channel), deposit - drawn - 1n + TON + REST, 'a deposit fills the reserve again');
  await set.chain.passTime(10 * YEAR);
  await set.ask('requester', channel, channel.closeUnilateral(), 'ERR_TOO_LITTLE_VALUE', { value: ASKS.closeUnilateral });
  await set.ask('requester', channel, channel.closeUnilateral());
  assert.equal(await set.balance(channel), deposit - drawn - 1n + TON);
  await set.chain.passTime(20 * YEAR);
  await set.ask('stranger', channel, channel.finishClose(), 'ERR_TOO_LITTLE_VALUE', { value: ASKS.finishClose });
  const done = await set.ask('stranger', channel, channel.finishClose());
  assert.equal(paidOut(set, done, REFUND, channel), deposit - drawn - 1n + TON);
  await set.chain.passTime(20 * YEAR);
  await set.ask('stranger', channel, channel.finishClose(), 'ERR_CLOSED');
});

scene('a close by both makes rent good as well', async (set) => {
  const channel = await set.opened(TON);
  await set.chain.passTime(20 * YEAR);
  await set.ask('stranger', channel, channel.closeCooperative(1, TON / 2n), 'ERR_TOO_LITTLE_VALUE', { value: ASKS.closeCooperative });
  const done = await set.ask('stranger', channel, channel.closeCooperative(1, TON / 2n));
  assert.equal(paidOut(set, done, REFUND, channel), TON / 2n);
  assert.equal((await set.state()).paidInEpoch, TON / 2n);
});

scene('whoever delivers a claim, what it did not cost goes to the provider\'s contract', async (set) => {
  const channel = await set.opened();
  const operations = await set.operations();
  await set.ask('stranger', channel, channel.claim(1, TON), 'done', { value: TON });
  assert.ok(await set.operations() > operations + TON - toNano('0.003'));
  assert.equal(await set.balance(channel), REST);
});

scene('four claims go out in one transaction of a wallet', async (set) => {
  const channels = [];
  for (let n = 0; n < 4; n += 1) channels.push(await set.opened());
  const sent = channels.map((channel, n) => internal({ to: channel.address, value: ENOUGH, body: channel.claim(1, TON / 10n * BigInt(n + 1)) }));
  const done = await set.owner.send(sent);
  for (const channel of channels) assert.equal(set.at(channel, done), 'done');
  assert.equal((await set.state()).paidInEpoch, TON);
});

scene('a requester gets to the nano-unit what it is refunded', async (set) => {
  const requester = somebody(0x71);
  const channel = new Channel({ requester, provider: set.provider.address, salt: 3 });
  await set.ask('stranger', channel, channel.deposit(TON), 'done', { value: 2n * TON, init: channel.init });
  set.contracts.push(channel);
  assert.equal(await gained(set, requester, () => set.ask('stranger', channel, channel.closeCooperative(1, TON / 4n))), TON * 3n / 4n);
});
