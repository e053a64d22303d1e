// Wallets: deployment, transfers of all kinds, bounces, refusals, rent.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { SendMode, beginCell, comment, contractAddress, external, internal, toNano } from '@ton/core';
import { somebody } from '../src/channel.mjs';
import { keysOf } from '../src/contract.mjs';
import { program } from '../src/code.mjs';
import { Pair } from '../src/pair.mjs';
import { WALLET_VERSIONS, Wallet, cellOf } from '../src/wallet.mjs';

let pair;
let alice;
before(async () => {
  pair = await Pair.start();
  alice = await Wallet.funded(pair, 'alice', toNano(1_000));
});
after(() => pair.finish());

const outcomes = (transactions) => transactions.map(({ outcome }) => outcome);

for (const version of WALLET_VERSIONS) {
  test(`a ${version} wallet deploys itself, sends, and is sent to`, async () => {
    const wallet = await Wallet.funded(pair, `first ${version}`, toNano(10), version);
    assert.deepEqual(outcomes(await wallet.call(somebody(7), toNano(3), undefined, { bounce: false })), ['done', 'skipped no-state']);
    assert.deepEqual(outcomes(await wallet.call(alice.address, toNano(1), comment('thanks'))), ['done', alice.seqno ? 'done' : 'skipped no-state', ...(alice.seqno ? [] : ['done'])]);
    assert.equal((await alice.call(wallet.address, toNano(1), comment('welcome'))).at(-1).outcome, 'done');
  });

  test(`a ${version} wallet refuses what it should`, async () => {
    const wallet = await Wallet.funded(pair, `strict ${version}`, toNano(10), version);
    const message = [internal({ to: alice.address, value: toNano(1), bounce: false })];
    await wallet.send(message);
    const refused = async (options) => {
      const { exitCode } = await pair.send(wallet.message(message, options));
      assert.notEqual(exitCode, undefined);
    };
    await refused({ seqno: 0 });
    await refused({ seqno: 5 });
    await refused({ validUntil: pair.now - 1 });
    await refused({ secretKey: keysOf('a thief').secretKey });
    for (const body of [beginCell().endCell(), beginCell().storeUint(1, 32).endCell(), beginCell().storeBuffer(Buffer.alloc(64)).endCell()]) {
      assert.notEqual((await pair.send(cellOf(external({ to: wallet.address, body })))).exitCode, undefined);
    }
  });
}

test('a message from outside to nobody is refused without a code', async () => {
  assert.equal((await pair.send(cellOf(external({ to: somebody(9), body: beginCell().endCell() })))).exitCode, null);
});

test('every way to send', async () => {
  const ways = [0, SendMode.PAY_GAS_SEPARATELY, SendMode.IGNORE_ERRORS, SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS, 16, 17, 18,
    SendMode.CARRY_ALL_REMAINING_INCOMING_VALUE, SendMode.CARRY_ALL_REMAINING_INCOMING_VALUE | 1, SendMode.CARRY_ALL_REMAINING_INCOMING_VALUE | 2, 4, 8, 255];
  for (const mode of ways) {
    for (const value of [0n, 1n, toNano(1), toNano(5_000)]) {
      await alice.send([internal({ to: somebody(8), value, bounce: false, body: comment(`${mode}`) })], { mode });
    }
  }
});

test('all is sent, and what was sent comes back', async () => {
  const bob = await Wallet.funded(pair, 'bob', toNano(5));
  await bob.send([internal({ to: somebody(10), value: 0n, bounce: true })], { mode: SendMode.CARRY_ALL_REMAINING_BALANCE });
  const carol = await Wallet.funded(pair, 'carol', toNano(5));
  await carol.send([internal({ to: somebody(10), value: 0n, bounce: false })], {
    mode: SendMode.CARRY_ALL_REMAINING_BALANCE | SendMode.DESTROY_ACCOUNT_IF_ZERO,
  });
  assert.ok(!(await pair.account(carol.address)).account);
});

/// Bodies of all sizes: within the message, in a cell of their own, with references.
const BODIES = {
  none: beginCell().endCell(),
  short: beginCell().storeUint(0xabcdef01, 32).endCell(),
  'of 256 bits': beginCell().storeUint(1, 256).endCell(),
  'of 300 bits': beginCell().storeUint(1, 300).endCell(),
  full: beginCell().storeUint(1, 255).storeUint(2, 256).storeUint(3, 256).storeUint(4, 256).endCell(),
  'with references': beginCell().storeUint(1, 64).storeRef(beginCell().storeUint(2, 64).storeRef(beginCell().endCell()).endCell()).endCell(),
};
/// What the field that once held a fee says today: none, the new form of a bounce, with the whole body, both.
const FLAGS = [0n, 1n, 2n, 3n];

for (const [what, body] of Object.entries(BODIES)) {
  test(`a body ${what} comes back in every form`, async () => {
    const failing = { code: program([], 'f2c7ff', 'nothing'), data: beginCell().endCell() };
    const draining = { code: program([], '70fb00', 'nothing'), data: beginCell().endCell() };
    for (const flags of FLAGS) {
      for (const [to, init] of [[somebody(20), undefined], [contractAddress(0, failing), failing], [contractAddress(0, draining), draining]]) {
        for (const value of [toNano('0.5'), toNano('0.0001'), toNano('0.00005'), 1n]) {
          await alice.send([{ ...internal({ to, value, body, init, bounce: true }), info: { ...internal({ to, value, bounce: true }).info, ihrFee: flags } }]);
        }
      }
    }
  });
}

test('rent is taken, debt is run up, an account freezes and thaws', async () => {
  const idle = { code: program([], '', 'nothing'), data: beginCell().endCell() };
  const at = contractAddress(0, idle);
  await alice.call(at, toNano('0.01'), undefined, { init: idle, bounce: false });
  for (const years of [1, 30, 100, 600, 2_000]) {
    await pair.passTime(years * 365 * 24 * 3_600 > 2 ** 31 ? 2 ** 28 : Math.min(years * 365 * 24 * 3_600, 2 ** 28));
    await alice.call(at, 1n, undefined, { bounce: false });
    await alice.call(at, toNano('0.001'), undefined, { bounce: true });
  }
  await alice.call(at, toNano(1), undefined, { init: idle, bounce: false });
});

test('every mode there is and is not', async () => {
  for (let mode = 0; mode < 256; mode += 1) {
    const wallet = await Wallet.funded(pair, `mode ${mode}`, toNano(1));
    await wallet.send([internal({ to: somebody(8), value: toNano('0.1'), bounce: false, body: comment(`${mode}`) })], { mode });
  }
});

test('known difference: flags of a message that do not exist', async () => {
  for (const mode of [0, SendMode.IGNORE_ERRORS]) {
    const own = await Pair.start();
    try {
      const wallet = await Wallet.funded(own, 'difference', toNano(10));
      const message = internal({ to: somebody(8), value: toNano(1), bounce: true });
      message.info.ihrFee = 4n;
      await assert.rejects(wallet.send([message], { mode }), /resultCode: 34 \| (45|0)/, 'README.md says they differ');
    } finally {
      own.chain.close();
    }
  }
});

test('known difference: forward fees of messages that were not sent after all, because a later one could not be', async () => {
  const own = await Pair.start();
  try {
    const wallet = await Wallet.funded(own, 'difference', toNano(10));
    const messages = [toNano(1), toNano(100)].map((value) => internal({ to: somebody(8), value, bounce: true }));
    await assert.rejects(wallet.send(messages, { mode: SendMode.PAY_GAS_SEPARATELY }), /totalFwdFees: absent \| \d+/, 'README.md says they differ');
  } finally {
    own.chain.close();
  }
});
