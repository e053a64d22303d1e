// Says in words where two transactions differ.
import { Cell } from '@ton/core';

function shown(value) {
  if (value === undefined) return 'absent';
  if (value === null) return 'null';
  return String(value);
}

/// Every leaf of a value with its path. Cells, addresses and bytes are leaves.
function leaves(value, path, found) {
  if (value instanceof Cell) return found.set(path, `cell ${value.hash().toString('hex')}`);
  if (Buffer.isBuffer(value)) return found.set(path, value.toString('hex'));
  if (value === null || typeof value !== 'object' || typeof value.toRawString === 'function') return found.set(path, shown(value));
  const fields = typeof value.keys === 'function' && typeof value.get === 'function'
    ? [...value.keys()].map((key) => [key, value.get(key)])
    : Object.entries(value);
  for (const [key, inner] of fields) if (typeof inner !== 'function') leaves(inner, path ? `${path}.${key}` : String(key), found);
  return found;
}

/// Lines of the form `path: the chain's | the emulator's`.
export function differences(ours, theirs) {
  const [a, b] = [leaves(ours, '', new Map()), leaves(theirs, '', new Map())];
  const paths = new Set([...a.keys(), ...b.keys()]);
  return [...paths].filter((path) => a.get(path) !== b.get(path)).map((path) => `${path}: ${shown(a.get(path))} | ${shown(b.get(path))}`);
}
