// How a test file says that a test has a scene of its own.
import { after, test } from 'node:test';
import { Scene } from './scene.mjs';

/// Scripts of all files that were imported, for a mutation run, which asks them itself: what they start from, and what they do.
export const scripts = [];

/// A test with a scene of its own, whose books are audited in the end. `options.backend` starts another chain than the usual.
export function scene(name, body, { backend, ...options } = {}) {
  if (process.env.MUTANTS) {
    scripts.push({ name, options, body });
    return;
  }
  test(name, async () => {
    const set = await Scene.set({ ...options, on: await backend?.() });
    try {
      await body(set);
    } catch (error) {
      set.chain.chain.close();
      throw error;
    }
    await set.finish();
  });
}

/// What messages of an opcode carried to their receivers, from a contract.
export function paidOut(set, transactions, opcode, from = set.provider) {
  return messages(set, transactions, opcode, from).reduce((sum, { info }) => sum + info.value.coins, 0n);
}

export function messages(set, transactions, opcode, from = set.provider) {
  return set.of(from, transactions).flatMap(({ transaction }) => [...transaction.outMessages.values()])
    .filter(({ info, body }) => info.type === 'internal' && body.bits.length >= 32 && body.beginParse().loadUint(32) === opcode);
}

/// What somebody's account gained meanwhile.
export async function gained(set, address, body) {
  const before = await set.chain.balance(address);
  await body();
  return (await set.chain.balance(address)) - before;
}

// `SHOW_GAS` prints what each path used at most: what the bounds are set by.
if (process.env.SHOW_GAS) {
  after(() => {
    for (const [name, gas] of [...Scene.most].sort()) console.log(`${name} ${gas}`);
  });
}
