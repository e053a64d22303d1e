// The channel contract from its opening to its end, with every way to be refused on the way.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { beginCell, internal, toNano } from '@ton/core';
import { CODE, Channel, EXIT, keysOf, somebody } from '../src/channel.mjs';
import { Pair } from '../src/pair.mjs';
import { Wallet } from '../src/wallet.mjs';

const VALUE = toNano('0.1');
let pair;
let requester;
let provider;
let stranger;
let salt = 0;

before(async () => {
  pair = await Pair.start();
  requester = await Wallet.funded(pair, 'requester', toNano(1_000));
  provider = await Wallet.funded(pair, 'provider', toNano(100));
  stranger = await Wallet.funded(pair, 'stranger', toNano(100), 'v5r1');
});
after(() => pair.finish());

async function opened(deposit = toNano(10), terms = {}) {
  salt += 1;
  const channel = new Channel({ requester: requester.address, provider: provider.address, fee: somebody(0xfe), salt, ...terms });
  const done = await requester.call(channel.address, deposit + VALUE, channel.deposit(deposit), { init: channel.init });
  assert.equal(at(channel, done), 'done');
  return channel;
}

/// How the channel's own transaction ended.
function at(channel, transactions) {
  return transactions.find(({ account }) => account === channel.address.toRawString()).outcome;
}

async function check(channel, wallet, body, expected, value = VALUE, options = {}) {
  const done = await wallet.call(channel.address, value, body, options);
  for (const method of ['channel_state', 'channel_terms', 'no_such_method']) await pair.get(channel.address, method);
  assert.equal(at(channel, done), expected === 'done' ? 'done' : `exit ${EXIT[expected] ?? expected}`);
  return done;
}

test('a channel opens, is topped up, pays and is paid off', async () => {
  const channel = await opened();
  await check(channel, stranger, channel.deposit(toNano(5)), 'done', toNano(5) + VALUE);
  await check(channel, provider, channel.claim(1, toNano(1)), 'done');
  await check(channel, stranger, channel.claim(7, toNano(4)), 'done');
  assert.equal(await pair.balance(somebody(0xfe)), toNano('0.2'));
  await check(channel, stranger, channel.closeCooperative(9, toNano(6)), 'done');
  await check(channel, stranger, channel.claim(10, toNano(7)), 'ERR_CLOSED');
  await check(channel, stranger, channel.deposit(toNano(1)), 'ERR_CLOSED', toNano(2));
  await check(channel, requester, channel.closeUnilateral(), 'ERR_CLOSED');
  await check(channel, requester, channel.finishClose(), 'ERR_CLOSED');
  await check(channel, requester, channel.closeCooperative(9, toNano(6)), 'ERR_CLOSED');
});

test('a voucher is refused for what is wrong with it', async () => {
  const channel = await opened();
  const refused = (body, error) => check(channel, provider, body, error);
  await refused(channel.claim(1, toNano(1), { keys: keysOf('somebody else') }), 'ERR_BAD_SIGNATURE');
  await refused(channel.claim(1, toNano(1), { signature: Buffer.alloc(64) }), 'ERR_BAD_SIGNATURE');
  await refused(channel.claim(1, toNano(1), { signature: Buffer.alloc(64, 0xff) }), 'ERR_BAD_SIGNATURE');
  await refused(channel.claim(1, toNano(1), { tag: 'CCC1' }), 'ERR_WRONG_TAG');
  await refused(channel.claim(1, toNano(1), { network: -239 }), 'ERR_WRONG_NETWORK');
  await refused(channel.claim(1, toNano(1), { channel: somebody(1).hash }), 'ERR_WRONG_CHANNEL');
  await refused(channel.claim(1, 0), 'ERR_NOTHING_TO_DRAW');
  await refused(channel.claim(1, toNano(1), { finish: (builder) => builder.storeBit(1) }), 'ERR_BAD_LAYOUT');
  await refused(channel.claim(1, toNano(1), { finish: (builder) => builder.storeRef(beginCell().endCell()) }), 'ERR_BAD_LAYOUT');
  await refused(channel.claim(2, toNano(2)), 'done');
  await refused(channel.claim(2, toNano(2)), 'ERR_NOTHING_TO_DRAW');
  await refused(channel.claim(3, toNano(1)), 'ERR_NOTHING_TO_DRAW');
});

test('a voucher above the deposit pays what there is, and the rest after a top-up', async () => {
  const channel = await opened(toNano(2));
  await check(channel, provider, channel.claim(1, toNano(5)), 'done');
  await check(channel, provider, channel.claim(1, toNano(5)), 'ERR_NOTHING_TO_DRAW');
  await check(channel, requester, channel.deposit(toNano(1)), 'done', toNano(1) + VALUE);
  await check(channel, provider, channel.claim(1, toNano(5)), 'done');
});

test('one side alone closes within its rights', async () => {
  const channel = await opened(toNano(3), { windowSeconds: 600 });
  await check(channel, provider, channel.closeUnilateral(), 'ERR_NOT_REQUESTER');
  await check(channel, requester, channel.finishClose(), 'ERR_NOT_CLOSING');
  await check(channel, requester, channel.closeUnilateral(), 'done');
  await check(channel, requester, channel.closeUnilateral(), 'ERR_CLOSING');
  await check(channel, requester, channel.deposit(toNano(1)), 'ERR_CLOSING', toNano(2));
  await check(channel, requester, channel.finishClose(), 'ERR_WINDOW_OPEN');
  await pair.passTime(300);
  await check(channel, provider, channel.claim(1, toNano(1)), 'done');
  await pair.passTime(300);
  await check(channel, provider, channel.claim(2, toNano(2)), 'ERR_WINDOW_OVER');
  await check(channel, stranger, channel.finishClose(), 'done');
});

test('a closing channel is ended by both at once', async () => {
  const channel = await opened(toNano(3), { windowSeconds: 600 });
  await check(channel, requester, channel.closeUnilateral(), 'done');
  await check(channel, provider, channel.closeCooperative(1, toNano(3)), 'done');
});

test('a close that both signed is refused for what is wrong with it', async () => {
  const channel = await opened();
  const refused = (body, error) => check(channel, provider, body, error);
  await check(channel, provider, channel.claim(1, toNano(2)), 'done');
  await refused(channel.closeCooperative(2, toNano(11)), 'ERR_OVER_DEPOSIT');
  await refused(channel.closeCooperative(2, toNano(1)), 'ERR_BELOW_DRAWN');
  await refused(channel.closeCooperative(2, toNano(3), { requester: keysOf('x') }), 'ERR_BAD_SIGNATURE');
  await refused(channel.closeCooperative(2, toNano(3), { provider: keysOf('x') }), 'ERR_BAD_SIGNATURE');
  await refused(channel.closeCooperative(2, toNano(3), { tag: 'CCV1' }), 'ERR_WRONG_TAG');
  await refused(channel.closeCooperative(2, toNano(3), { network: -3 }), 'ERR_WRONG_NETWORK');
  await refused(channel.closeCooperative(2, toNano(3), { channel: somebody(2).hash }), 'ERR_WRONG_CHANNEL');
  await refused(channel.closeCooperative(2, toNano(3), { finish: (builder) => builder.storeUint(0, 8) }), 'ERR_BAD_LAYOUT');
  await refused(channel.closeCooperative(2, toNano(3)), 'done');
});

test('too little value is said so, and a little more runs out of something else', async () => {
  const channel = await opened();
  for (const value of ['0.0000001', '0.0001', '0.0003', '0.0005', '0.0008', '0.001', '0.0012', '0.0015', '0.002', '0.003']) {
    await requester.call(channel.address, toNano(value), channel.claim(1, toNano(1)));
    await requester.call(channel.address, toNano(value), channel.deposit(1n));
  }
  await check(channel, requester, channel.deposit(0n), 'ERR_ZERO_DEPOSIT');
  await check(channel, requester, channel.deposit(toNano(5)), 'ERR_TOO_LITTLE_VALUE', toNano(5));
});

test('what is no message of the channel is refused, and sent back if it may be', async () => {
  const channel = await opened();
  const refused = async (body, options) => requester.call(channel.address, VALUE, body, options);
  const bodies = [
    undefined,
    beginCell().storeUint(0, 32).storeStringTail('hello').endCell(),
    beginCell().storeUint(0x43430099, 32).storeUint(1, 64).endCell(),
    beginCell().storeUint(0x4343, 16).endCell(),
    beginCell().storeUint(0x43430001, 32).endCell(),
    beginCell().storeUint(0x43430002, 32).storeUint(1, 64).storeUint(0, 512).endCell(),
    beginCell().storeUint(0x43430005, 32).storeUint(1, 64).storeUint(0, 512).storeRef(beginCell().endCell()).endCell(),
    beginCell().storeUint(0xffffffff, 32).storeUint(0x43430002, 32).endCell(),
  ];
  for (const body of bodies) {
    for (const bounce of [true, false]) {
      const done = await refused(body, { bounce });
      assert.notEqual(at(channel, done), 'done');
    }
  }
});

test('a message to a channel that is not there comes back', async () => {
  const channel = new Channel({ requester: requester.address, provider: provider.address, fee: somebody(0xfe), salt: 10_000 });
  const done = await requester.call(channel.address, toNano(1), channel.claim(1, 1n));
  assert.equal(at(channel, done), 'skipped no-state');
  assert.equal(done.length, 3, 'sent, failed, came back');
  const other = { code: CODE, data: beginCell().endCell() };
  const wrong = await requester.call(channel.address, toNano(1), channel.deposit(1n), { init: other });
  assert.equal(at(channel, wrong), 'skipped bad-state');
  const none = await requester.call(channel.address, 1n, channel.deposit(1n), { init: channel.init });
  assert.equal(at(channel, none), 'skipped no-gas');
});

test('years of rent are made good by whoever calls next', async () => {
  const channel = await opened(toNano(1), { windowSeconds: 60 });
  for (let year = 0; year < 6; year += 1) {
    await pair.passTime(365 * 24 * 3_600);
    await check(channel, provider, channel.claim(year + 1, toNano('0.1') * BigInt(year + 1)), 'done');
  }
  await check(channel, requester, channel.closeUnilateral(), 'done');
  await pair.passTime(20 * 365 * 24 * 3_600);
  await check(channel, stranger, channel.finishClose(), 'done');
  await pair.passTime(20 * 365 * 24 * 3_600);
  await check(channel, stranger, channel.finishClose(), 'ERR_CLOSED');
});

test('a batch of four claims goes out in one transaction', async () => {
  const channels = [];
  for (let n = 0; n < 4; n += 1) channels.push(await opened(toNano(1)));
  const messages = channels.map((channel, n) => internal({ to: channel.address, value: VALUE, body: channel.claim(1, toNano('0.1') * BigInt(n + 1)) }));
  const done = await provider.send(messages);
  for (const channel of channels) assert.equal(at(channel, done), 'done');
});

test('at least sixty transactions were compared', () => {
  assert.ok(pair.transactions.length >= 60, `${pair.transactions.length}`);
});
