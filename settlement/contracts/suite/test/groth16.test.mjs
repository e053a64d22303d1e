// Proofs that the prover made, of its own circuits under the development keys: both machines take them, with the same gas, and nothing else.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Cell, beginCell, contractAddress, toNano } from '@ton/core';
import { runTolkCompiler } from '@ton/tolk-js';
import { EXIT } from '../src/contract.mjs';
import { ORDER } from '../src/points.mjs';
import { ENOUGH } from '../src/scene.mjs';
import { scene } from '../src/scripts.mjs';

const contracts = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
/// A contract that does nothing but verify.
const VERIFIER = `
import "groth16"

fun onInternalMessage(in: InMessage) {
    var body = in.body;
    if (body.isEmpty()) {
        return;
    }
    val key = body.loadRef();
    assertKey(key);
    assertProven(key, body.loadRef(), body.loadUint(256), body.loadUint(256), body.loadUint(256));
}
`;

async function verifier() {
  const read = (path) => (path === 'verifier.tolk' ? VERIFIER : readFileSync(join(contracts, path), 'utf8'));
  const result = await runTolkCompiler({ entrypointFileName: 'verifier.tolk', fsReadCallback: read, optimizationLevel: 2 });
  assert.equal(result.status, 'ok', result.message);
  const init = { code: Cell.fromBase64(result.codeBoc64), data: beginCell().endCell() };
  return { init, address: contractAddress(0, init) };
}

function vector(name) {
  const { verifying_key_cell: key, proof_cell: proof, inputs } = JSON.parse(readFileSync(join(contracts, '..', 'tests', 'vectors', `${name}.json`), 'utf8'));
  const cell = ({ boc }) => Cell.fromBoc(Buffer.from(boc, 'hex'))[0];
  return { key: cell(key), proof: cell(proof), inputs: inputs.map((input) => BigInt(`0x${input.replace(/^0x/, '')}`)) };
}

for (const [name, other] of [['attestation', 'key_set'], ['key_set', 'attestation']]) {
  scene(`the ${name} of the golden vectors is proven, and nothing near it`, async (set) => {
    const contract = await verifier();
    await set.owner.call(contract.address, toNano(1), undefined, { init: contract.init });
    const [its, others] = [vector(name), vector(other)];
    const ask = async (change, expected) => {
      const { key, proof, inputs } = { ...its, ...change };
      const body = beginCell().storeRef(key).storeRef(proof);
      for (const input of inputs) body.storeUint(input, 256);
      const done = await set.stranger.call(contract.address, ENOUGH, body.endCell());
      assert.equal(set.at(contract, done), expected === 'done' ? 'done' : `exit ${EXIT[expected]}`);
      };
    await ask({}, 'done');
    for (const n of its.inputs.keys()) {
      await ask({ inputs: its.inputs.with(n, (its.inputs[n] + 1n) % ORDER) }, 'ERR_BAD_PROOF');
      // One number must not stand for two.
      await ask({ inputs: its.inputs.with(n, its.inputs[n] + ORDER) }, 'ERR_NOT_IN_FIELD');
    }
    await ask({ proof: others.proof }, 'ERR_BAD_PROOF');
    await ask({ key: others.key }, 'ERR_BAD_PROOF');
    const swapped = beginCell().storeBits(its.proof.bits.substring(384, 384)).storeBits(its.proof.bits.substring(0, 384)).storeRef(its.proof.refs[0]).endCell();
    await ask({ proof: swapped }, 'ERR_BAD_PROOF');
  }, { stake: null });
}
