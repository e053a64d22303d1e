// Batches as large as they get.
import assert from 'node:assert/strict';
import { toNano } from '@ton/core';
import { GAS } from '../src/bounds.mjs';
import { Channel } from '../src/channel.mjs';
import { TON } from '../src/scene.mjs';
import { scene } from '../src/scripts.mjs';

scene('sixty-four claims cost at most 0.0015 TON each, and the largest batch fits', async (set) => {
  const channels = [];
  for (let n = 0; n < 64; n += 1) channels.push(await set.opened());
  const wealth = async () => (await set.balance(set.provider)) + (await set.balance(set.owner)) + (await set.balance(set.vault));
  const before = await wealth();
  await set.batch(channels.map((channel) => [channel, 1, TON / 10n]));
  const cost = before + 64n * TON / 10n - (await wealth());
  assert.ok(cost / 64n <= toNano('0.0015'), `${cost / 64n} nano-units each`);

  const missing = Array.from({ length: 186 }, (_, n) => new Channel({ requester: set.requester.address, provider: set.provider.address, salt: 1_000 + n }));
  const order = set.provider.batch(set.claims([...channels, ...missing].map((channel) => [channel, 2, TON / 5n])));
  assert.ok(order.toBoc().length <= 65_535, `${order.toBoc().length} bytes`);
  await set.order(order);
  const state = await set.state();
  assert.deepEqual([state.claims, state.outstanding, state.earnings], [128n, 0n, 0n]);
  assert.ok(GAS.GAS_OPERATOR + 250n * GAS.GAS_BATCHED <= 1_000_000n, 'a transaction may use no more gas');
});
