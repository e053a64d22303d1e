// Compiles each contract to build/<name>.json {hash, code}. `--check` compares with what is committed instead.
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Cell } from '@ton/core';
import { runTolkCompiler } from '@ton/tolk-js';

// In this order: a contract knows those it trusts by the hash of their code.
export const CONTRACTS = ['channel', 'jetton-wallet', 'jetton-minter', 'provider', 'vault', 'lock', 'governor', 'registry', 'rewards'];
const here = dirname(fileURLToPath(import.meta.url));

/// Compiles a contract, with `change` made to the text of each source it reads. `built` has the contracts that it needs to know.
export async function compile(name, built = {}, change = (path, text) => text) {
  const generated = Object.fromEntries(Object.entries(built).map(([known, its]) => [`${known}-code.tolk`, codeConstants(known, its)]));
  const read = (path) => generated[path] ?? change(path, readFileSync(join(here, path), 'utf8'));
  const result = await runTolkCompiler({ entrypointFileName: `${name}.tolk`, fsReadCallback: read, optimizationLevel: 2 });
  if (result.status !== 'ok') throw new Error(`${name}.tolk: ${result.message}`);
  return { compiler: `tolk ${result.tolkVersion}`, hash: result.codeHashHex.toLowerCase(), code: result.codeBoc64 };
}

/// What other contracts recompute an address from.
function codeConstants(name, built) {
  const depth = Cell.fromBase64(built.code).depth();
  const prefix = name.toUpperCase().replaceAll('-', '_');
  return `const ${prefix}_CODE_HASH = 0x${built.hash}\nconst ${prefix}_CODE_DEPTH = ${depth}\n`;
}

/// Compiles all contracts, with `change` made to the text of each source.
export async function compileAll(change) {
  const built = {};
  for (const name of CONTRACTS) built[name] = await compile(name, built, change);
  return built;
}

/// Whether what is committed is what the sources compile to.
function isAsCommitted(name, built) {
  const committed = JSON.parse(readFileSync(join(here, 'build', `${name}.json`), 'utf8'));
  const same = committed.hash === built.hash && committed.code === built.code;
  console.log(`${name}: ${built.hash} ${same ? 'as committed' : `differs from the committed ${committed.hash}`}`);
  return same;
}

/// Writes the compiled contracts to a folder.
export function write(built, folder) {
  mkdirSync(folder, { recursive: true });
  for (const [name, its] of Object.entries(built)) writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(its, null, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const built = await compileAll();
  if (process.argv.includes('--check')) {
    const same = Object.entries(built).map(([name, its]) => isAsCommitted(name, its));
    process.exitCode = same.every((is) => is) ? 0 : 1;
  } else {
    write(built, join(here, 'build'));
    for (const [name, { hash }] of Object.entries(built)) console.log(`${name}: ${hash}`);
  }
}
