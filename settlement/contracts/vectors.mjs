// Writes the golden vectors of tests/vectors with @ton/core, so that Rust's cells are held against an implementation of their own.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beginCell } from '@ton/core';

const to = join(dirname(fileURLToPath(import.meta.url)), '..', 'tests', 'vectors');
const check = process.argv.includes('--check');
const fill = (byte, length) => Buffer.alloc(length, byte);

const QUERY = 0x0102030405060708n;
const DEVNET = -777;
const here = fill(0xcc, 32);

const message = (op) => beginCell().storeUint(op, 32).storeUint(QUERY, 64);
const statement = (tag) => beginCell().storeBuffer(Buffer.from(tag)).storeInt(DEVNET, 32).storeBuffer(here).storeUint(3, 64).storeUint(123456789, 128);

const pay = beginCell().storeBuffer(fill(1, 32)).storeBuffer(fill(4, 32)).storeBuffer(fill(5, 32)).storeUint(500, 16).storeInt(DEVNET, 32).endCell();
const close = beginCell().storeBuffer(fill(2, 32)).storeBuffer(fill(3, 32)).storeBuffer(fill(6, 32)).storeUint(86400, 32).endCell();
const data = (status, deadline, deposit, drawn, sequence, root) => beginCell()
  .storeUint(status, 8).storeUint(deadline, 32).storeCoins(deposit).storeCoins(drawn).storeUint(sequence, 64).storeBuffer(root)
  .storeRef(pay).storeRef(close).endCell();

const messages = {
  deposit: message(0x43430001).storeCoins(1000000000n).endCell(),
  claim: message(0x43430002).storeBuffer(fill(0xee, 64)).storeRef(statement('CCV1').storeBuffer(fill(0xdd, 32)).endCell()).endCell(),
  close_unilateral: message(0x43430003).endCell(),
  finish_close: message(0x43430004).endCell(),
  close_cooperative: message(0x43430005).storeBuffer(fill(0xee, 64))
    .storeRef(beginCell().storeBuffer(fill(0xff, 64)).storeRef(statement('CCC1').endCell()).endCell()).endCell(),
};
const boc = (cell) => cell.toBoc({ idx: false, crc32: false }).toString('hex');
const hash = (cell) => cell.hash().toString('hex');
const initial = data(0, 0, 0n, 0n, 0, fill(0, 32));
const used = data(1, 1800000000, 2000000000n, 123456789n, 3, fill(0xdd, 32));

const vectors = {
  channel: { initial_data: boc(initial), initial_data_hash: hash(initial), data: boc(used), data_hash: hash(used) },
};
for (const [name, cell] of Object.entries(messages)) vectors[name] = { hash: hash(cell), boc: boc(cell) };

let failed = false;
for (const [name, vector] of Object.entries(vectors)) {
  const file = join(to, `${name}.json`);
  const text = `${JSON.stringify(vector, null, 2)}\n`;
  if (check) {
    const same = readFileSync(file, 'utf8') === text;
    if (!same) console.log(`${name}: differs from what is committed`);
    failed ||= !same;
  } else {
    writeFileSync(file, text);
  }
}
process.exit(failed ? 1 : 0);
