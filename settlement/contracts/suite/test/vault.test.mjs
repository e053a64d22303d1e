// The vault: what comes in is divided, and only the treasury's share goes out.
import assert from 'node:assert/strict';
import { beginCell, toNano } from '@ton/core';
import { ASKS } from '../src/bounds.mjs';
import { NETWORK, op } from '../src/contract.mjs';
import { DAY, TON, comment } from '../src/scene.mjs';
import { paidOut, scene } from '../src/scripts.mjs';

const YEAR = 365 * DAY;

scene('a fee is divided into seven parts to burn, two for auditors and one for the treasury, without a rest', async (set) => {
  const { vault } = set;
  await set.ask('stranger', vault, vault.fee(TON), 'done', { value: 2n * TON });
  assert.deepEqual(await set.shares(), { burn: TON * 7n / 10n, auditors: TON / 5n, treasury: TON / 10n, feesCum: TON });
  await set.ask('owner', vault, vault.fee(19n));
  assert.deepEqual(await set.shares(), { burn: TON * 7n / 10n + 15n, auditors: TON / 5n + 3n, treasury: TON / 10n + 1n, feesCum: TON + 19n });
});

scene('a fee brings itself, and what its work does not cost goes back', async (set) => {
  const { vault } = set;
  const before = await set.balance(vault);
  await set.ask('stranger', vault, vault.fee(TON), 'ERR_TOO_LITTLE_VALUE', { value: TON + ASKS.fee - 1n });
  const done = await set.ask('stranger', vault, vault.fee(TON), 'done', { value: 2n * TON });
  assert.equal(await set.balance(vault), before + TON);
  assert.ok(paidOut(set, done, 0x43560102, vault) > TON - 600_000n);
});

scene('anyone sends the treasury its share, once', async (set) => {
  const { vault } = set;
  await set.ask('stranger', vault, vault.payTreasury(), 'ERR_NOTHING_TO_SEND');
  await set.ask('stranger', vault, vault.fee(TON), 'done', { value: 2n * TON });
  const before = await set.balance(vault);
  const done = await set.ask('thief', vault, vault.payTreasury());
  assert.equal(paidOut(set, done, 0x43560101, vault), TON / 10n);
  assert.equal(await set.balance(vault), before - TON / 10n);
  assert.equal(set.of({ address: set.treasury.address }, done).length, 1);
  assert.deepEqual(await set.shares(), { burn: TON * 7n / 10n, auditors: TON / 5n, treasury: 0n, feesCum: TON });
  await set.ask('thief', vault, vault.payTreasury(), 'ERR_NOTHING_TO_SEND');
  await set.ask('stranger', vault, vault.fee(TON), 'done', { value: 2n * TON });
  await set.exactly('stranger', vault, vault.payTreasury(), ASKS.payTreasury);
});

scene('what is no message of the vault comes back, money without words stays for storage', async (set) => {
  const { vault } = set;
  const before = await set.balance(vault);
  await set.stranger.call(vault.address, TON);
  assert.ok(await set.balance(vault) > before + TON - 500_000n);
  for (const body of [comment('hello'), op(0x43560099).endCell(), beginCell().storeUint(1, 8).endCell()]) {
    await set.ask('stranger', vault, body, 'ERR_UNKNOWN_MESSAGE');
  }
  await set.ask('stranger', vault, beginCell().storeUint(0x43560001, 32).endCell(), 9);
  const [, , , , treasury, network] = await set.chain.get(vault.address, 'vault_state');
  assert.equal(treasury.value, BigInt(`0x${set.treasury.address.hash.toString('hex')}`));
  assert.equal(network.value, BigInt(NETWORK));
});

scene('a fee is counted also when rent ate into the shares, and the treasury is paid when somebody makes that good', async (set) => {
  const { vault } = set;
  await set.ask('stranger', vault, vault.fee(TON), 'done', { value: TON + ASKS.fee });
  await set.chain.passTime(70 * YEAR);
  await set.ask('stranger', vault, vault.fee(TON), 'done', { value: TON + ASKS.fee });
  const { feesCum, burn, auditors, treasury } = await set.shares();
  assert.equal(feesCum, 2n * TON);
  const missing = burn + auditors + treasury - (await set.balance(vault));
  assert.ok(missing > 0n);
  await set.ask('stranger', vault, vault.payTreasury(), 'ERR_TOO_LITTLE_VALUE', { value: ASKS.payTreasury + missing - 1n });
  const done = await set.ask('stranger', vault, vault.payTreasury(), 'done', { value: ASKS.payTreasury + missing });
  assert.equal(paidOut(set, done, 0x43560101, vault), TON / 5n);
  assert.ok(await set.balance(vault) >= burn + auditors, 'the shares are whole again');
}, { vaultReserve: toNano('0.01') });

scene('what a fee brings beyond itself makes good what rent ate', async (set) => {
  const { vault } = set;
  await set.ask('stranger', vault, vault.fee(TON), 'done', { value: TON + ASKS.fee });
  await set.chain.passTime(70 * YEAR);
  await set.ask('stranger', vault, vault.fee(TON), 'done', { value: 3n * TON });
  const { burn, auditors, treasury } = await set.shares();
  assert.equal(await set.balance(vault), burn + auditors + treasury);
}, { vaultReserve: toNano('0.01') });

scene('an epoch ends when whoever ends it makes good what rent ate', async (set) => {
  const { vault } = set;
  await set.ask('stranger', vault, vault.closeEpoch());
  await set.ask('stranger', vault, vault.fee(TON), 'done', { value: TON + ASKS.fee });
  await set.chain.passTime(70 * YEAR);
  await set.ask('stranger', vault, vault.fee(TON), 'done', { value: TON + ASKS.fee });
  const { burn, auditors, treasury } = await set.shares();
  const missing = burn + auditors + treasury - (await set.balance(vault));
  assert.ok(missing > 0n);
  await set.ask('stranger', vault, vault.closeEpoch(), 'ERR_TOO_LITTLE_VALUE', { value: ASKS.closeEpoch + missing - 1n });
  await set.ask('stranger', vault, vault.closeEpoch(), 'done', { value: ASKS.closeEpoch + missing });
  assert.ok(await set.balance(vault) >= burn + auditors + treasury, 'the shares are whole again');
}, { vaultReserve: toNano('0.01') });
