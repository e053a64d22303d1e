// The channel contract's messages and statements, as `messages.tolk` lays them out.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Address, Cell, beginCell, contractAddress } from '@ton/core';
import { keyPairFromSeed, sha256_sync, sign } from '@ton/crypto';

const contracts = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const NETWORK = -777;

/// Names of `errors.tolk` to exit codes.
export const EXIT = Object.fromEntries(
  [...readFileSync(join(contracts, 'errors.tolk'), 'utf8').matchAll(/^const (\w+) = (\d+)$/gm)].map(([, name, code]) => [name, Number(code)]),
);

export const CODE = Cell.fromBase64(JSON.parse(readFileSync(join(contracts, 'build', 'channel.json'), 'utf8')).code);

export function keysOf(name) {
  return keyPairFromSeed(sha256_sync(`operator ${name}`));
}

const op = (code, query = 1n) => beginCell().storeUint(code, 32).storeUint(query, 64);

export class Channel {
  constructor({ requester, provider, fee, salt = 1, windowSeconds = 86_400, feeBps = 500 }) {
    this.requesterKeys = keysOf('requester');
    this.providerKeys = keysOf('provider');
    this.parties = { requester, provider, fee };
    const pay = beginCell().storeBuffer(this.requesterKeys.publicKey).storeBuffer(provider.hash).storeBuffer(fee.hash)
      .storeUint(feeBps, 16).storeInt(NETWORK, 32).endCell();
    const close = beginCell().storeBuffer(this.providerKeys.publicKey).storeBuffer(requester.hash).storeUint(salt, 256)
      .storeUint(windowSeconds, 32).endCell();
    const data = beginCell().storeUint(0, 8).storeUint(0, 32).storeCoins(0).storeCoins(0).storeUint(0, 64).storeUint(0, 256)
      .storeRef(pay).storeRef(close).endCell();
    this.init = { code: CODE, data };
    this.address = contractAddress(0, this.init);
  }

  deposit(amount) {
    return op(0x43430001).storeCoins(amount).endCell();
  }

  /// `change` replaces parts of the voucher before it is signed, `keys` signs it.
  claim(sequence, cumulative, { keys = this.requesterKeys, ...change } = {}) {
    const voucher = this.#statement('CCV1', sequence, cumulative, change).storeUint(change.root ?? 0xdd, 256);
    const cell = (change.finish ?? ((builder) => builder))(voucher).endCell();
    const signature = change.signature ?? signed(cell, keys);
    return op(0x43430002).storeBuffer(signature).storeRef(cell).endCell();
  }

  closeUnilateral() {
    return op(0x43430003).endCell();
  }

  finishClose() {
    return op(0x43430004).endCell();
  }

  closeCooperative(sequence, cumulative, { requester = this.requesterKeys, provider = this.providerKeys, ...change } = {}) {
    const cell = (change.finish ?? ((builder) => builder))(this.#statement('CCC1', sequence, cumulative, change)).endCell();
    const rest = beginCell().storeBuffer(signed(cell, provider)).storeRef(cell).endCell();
    return op(0x43430005).storeBuffer(signed(cell, requester)).storeRef(rest).endCell();
  }

  #statement(tag, sequence, cumulative, { tag: other = tag, network = NETWORK, channel = this.address.hash } = {}) {
    return beginCell().storeBuffer(Buffer.from(other)).storeInt(network, 32).storeBuffer(channel)
      .storeUint(sequence, 64).storeUint(cumulative, 128);
  }
}

/// A signature over the bits of a statement; one that is no whole number of bytes gets a signature over nothing.
function signed(cell, keys) {
  const slice = cell.beginParse();
  const bytes = slice.remainingBits % 8 === 0 ? slice.loadBuffer(slice.remainingBits / 8) : Buffer.alloc(0);
  return sign(bytes, keys.secretKey);
}

export function somebody(byte) {
  return new Address(0, Buffer.alloc(32, byte));
}
