// What the contracts have in common: code, addresses, keys, exit codes, how a message begins.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Cell, beginCell, contractAddress } from '@ton/core';
import { CONTRACTS } from '../../build.mjs';
import { keyPairFromSeed, sha256_sync } from '@ton/crypto';

const contracts = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const NETWORK = -777;

const read = (...path) => readFileSync(join(contracts, ...path), 'utf8');
/// The compiled contracts, which a mutation run replaces.
let builds = Object.fromEntries(CONTRACTS.map((name) => [name, JSON.parse(read('build', `${name}.json`))]));

export function use(built) {
  builds = built;
}

/// Names of `errors.tolk` to exit codes.
export const EXIT = Object.fromEntries([...read('errors.tolk').matchAll(/^const (\w+) = (\d+)$/gm)].map(([, name, code]) => [name, Number(code)]));

/// Contracts whose code was asked for.
export const asked = new Set();

export function codeOf(name) {
  asked.add(name);
  return Cell.fromBase64(builds[name].code);
}

/// The initial state of a contract, and its address.
export function deployed(name, data) {
  const init = { code: codeOf(name), data };
  return { init, address: contractAddress(0, init) };
}

export function keysOf(name) {
  return keyPairFromSeed(sha256_sync(`operator ${name}`));
}

export function op(code, query = 1n) {
  return beginCell().storeUint(code, 32).storeUint(query, 64);
}
