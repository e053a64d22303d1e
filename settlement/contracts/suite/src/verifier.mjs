// A contract that does nothing but verify, and the proofs that the prover made for it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Cell, beginCell, contractAddress, toNano } from '@ton/core';
import { runTolkCompiler } from '@ton/tolk-js';

const contracts = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const SOURCE = `
import "groth16"

fun onInternalMessage(in: InMessage) {
    var body = in.body;
    if (body.isEmpty()) {
        return;
    }
    val isNew = body.loadBool();
    val key = body.loadRef();
    if (isNew) {
        assertKey(key);
    }
    assertProven(key, body.loadRef(), body.loadUint(256), body.loadUint(256), body.loadUint(256));
}
`;

/// Deployed by the owner of a scene.
export async function verifier(set) {
  const read = (path) => (path === 'verifier.tolk' ? SOURCE : readFileSync(join(contracts, path), 'utf8'));
  const result = await runTolkCompiler({ entrypointFileName: 'verifier.tolk', fsReadCallback: read, optimizationLevel: 2 });
  assert.equal(result.status, 'ok', result.message);
  const init = { code: Cell.fromBase64(result.codeBoc64), data: beginCell().endCell() };
  const contract = { init, address: contractAddress(0, init) };
  await set.owner.call(contract.address, toNano(1), undefined, { init });
  return contract;
}

/// A proof of the golden vectors with its key and its public inputs.
export function provenIn(name) {
  const { verifying_key_cell: key, proof_cell: proof, inputs } = JSON.parse(readFileSync(join(contracts, '..', 'tests', 'vectors', `${name}.json`), 'utf8'));
  const cell = ({ boc }) => Cell.fromBoc(Buffer.from(boc, 'hex'))[0];
  return { key: cell(key), proof: cell(proof), inputs: inputs.map((input) => BigInt(`0x${input.replace(/^0x/, '')}`)) };
}

/// Asks whether a proof holds; of a key that is new, also whether it is one. A registry asks that once, when it takes the key.
export function verify({ key, proof, inputs }, isNew) {
  const body = beginCell().storeBit(isNew).storeRef(key).storeRef(proof);
  for (const input of inputs) body.storeUint(input, 256);
  return body.endCell();
}
