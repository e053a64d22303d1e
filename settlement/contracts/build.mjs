// Compiles each contract to build/<name>.json {hash, code}. `--check` compares with what is committed instead.
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTolkCompiler } from '@ton/tolk-js';

const CONTRACTS = ['channel'];
const here = dirname(fileURLToPath(import.meta.url));
const check = process.argv.includes('--check');

async function compile(name) {
  const result = await runTolkCompiler({
    entrypointFileName: `${name}.tolk`,
    fsReadCallback: (path) => readFileSync(join(here, path), 'utf8'),
    optimizationLevel: 2,
  });
  if (result.status !== 'ok') throw new Error(`${name}.tolk: ${result.message}`);
  return { compiler: `tolk ${result.tolkVersion}`, hash: result.codeHashHex.toLowerCase(), code: result.codeBoc64 };
}

let failed = false;
for (const name of CONTRACTS) {
  const built = await compile(name);
  const file = join(here, 'build', `${name}.json`);
  if (check) {
    const committed = JSON.parse(readFileSync(file, 'utf8'));
    const same = committed.hash === built.hash && committed.code === built.code;
    console.log(`${name}: ${built.hash} ${same ? 'as committed' : `differs from the committed ${committed.hash}`}`);
    failed ||= !same;
  } else {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${JSON.stringify(built, null, 2)}\n`);
    console.log(`${name}: ${built.hash}`);
  }
}
process.exit(failed ? 1 : 0);
