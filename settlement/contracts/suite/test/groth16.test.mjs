// Proofs that the prover made, of its own circuits under the development keys: both machines take them, with the same gas, and nothing else.
import assert from 'node:assert/strict';
import { beginCell } from '@ton/core';
import { EXIT } from '../src/contract.mjs';
import { ORDER } from '../src/points.mjs';
import { ENOUGH } from '../src/scene.mjs';
import { scene } from '../src/scripts.mjs';
import { provenIn, verifier, verify } from '../src/verifier.mjs';

/// What a proof may take, beside what asks for it.
const GAS_MOST = 115_000n;

for (const [name, other] of [['attestation', 'attestation_64'], ['attestation_64', 'attestation'], ['key_set', 'attestation']]) {
  scene(`the ${name} of the golden vectors is proven, and nothing near it`, async (set) => {
    const contract = await verifier(set);
    const [its, others] = [provenIn(name), provenIn(other)];
    const ask = async (change, expected) => {
      const done = await set.stranger.call(contract.address, ENOUGH, verify({ ...its, ...change }, true));
      assert.equal(set.at(contract, done), expected === 'done' ? 'done' : `exit ${EXIT[expected]}`);
    };
    await ask({}, 'done');
    for (const n of its.inputs.keys()) {
      for (const near of [1n, ORDER - 1n]) await ask({ inputs: its.inputs.with(n, (its.inputs[n] + near) % ORDER) }, 'ERR_BAD_PROOF');
      // One number must not stand for two.
      await ask({ inputs: its.inputs.with(n, its.inputs[n] + ORDER) }, 'ERR_NOT_IN_FIELD');
    }
    await ask({ proof: others.proof }, 'ERR_BAD_PROOF');
    await ask({ key: others.key }, 'ERR_BAD_PROOF');
    await ask({ inputs: others.inputs }, 'ERR_BAD_PROOF');
    const swapped = beginCell().storeBits(its.proof.bits.substring(384, 384)).storeBits(its.proof.bits.substring(0, 384)).storeRef(its.proof.refs[0]).endCell();
    await ask({ proof: swapped }, 'ERR_BAD_PROOF');
  }, { stake: null });
}

scene('a proof of 64 certificates takes the gas of one of 4, to the unit', async (set) => {
  const contract = await verifier(set);
  const gasOf = async (name, isNew) => {
    const [{ transaction, outcome }] = set.of(contract, await set.stranger.call(contract.address, ENOUGH, verify(provenIn(name), isNew)));
    assert.equal(outcome, 'done');
    return transaction.description.computePhase.gasUsed;
  };
  for (const isNew of [false, true]) assert.equal(await gasOf('attestation_64', isNew), await gasOf('attestation', isNew));
  const gas = await gasOf('attestation_64', false);
  assert.ok(gas <= GAS_MOST, `${gas}`);
}, { stake: null });
