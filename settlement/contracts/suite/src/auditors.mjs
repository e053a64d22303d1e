// Votes in which one owner decides all, and lists of auditors that were decided and wait for their proof.
import { keysOf } from './contract.mjs';
import { actions } from './governor.mjs';
import { Setup, listInputs } from './groth16.mjs';
import { COCOON } from './jetton.mjs';
import { ORDER } from './points.mjs';
import { auditor, auditorList } from './registry.mjs';
import { Votes } from './votes.mjs';

/// The circuit of the auditors' list.
export const CIRCUIT = 9;
export const setup = new Setup('the auditors\' list');

/// Votes, in which one owner decides all.
export async function ruled(set, options) {
  const votes = await Votes.made(set, options);
  await votes.lock('owner', 1_000_000n * COCOON, votes.week(104));
  await set.chain.passTime(1);
  return votes;
}

export function auditorsOf(count) {
  return Array.from({ length: count }, (_, n) => auditor(keysOf(`auditor ${n}`), BigInt(n + 1) * 1_000_003n, ORDER - BigInt(n + 1)));
}

export const hashOf = (number) => BigInt(`0x${number.toString('hex')}`);

/// Votes that decided on the key of the auditors' circuit, and on a list.
export async function pending(set, auditors, { commitment = 12_345n, list = auditorList(auditors) } = {}) {
  const votes = await ruled(set);
  const decided = [actions.verifyingKey(CIRCUIT, setup.key), actions.auditors(list.hash(), commitment)];
  const numbers = await votes.allReady('owner', decided);
  for (const [n, action] of decided.entries()) await votes.execute(numbers[n], action);
  const proof = setup.prove(listInputs(auditors, list, commitment));
  const prove = (change = {}) => votes.registry.proveAuditors(change.count ?? auditors.length, change.list ?? list, change.proof ?? proof);
  return { votes, list, commitment, prove };
}
