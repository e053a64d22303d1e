// The channel contract's messages and statements, as `messages.tolk` lays them out.
import { Address, beginCell } from '@ton/core';
import { sign } from '@ton/crypto';
import { NETWORK, deployed, keysOf, op } from './contract.mjs';

export class Channel {
  /// `requester` is the requester's account, `provider` the provider's contract. `initial` forges parts of the state it is deployed with.
  constructor({ requester, provider, salt = 1, windowSeconds = 86_400, network = NETWORK, initial = {} }) {
    this.requesterKeys = keysOf('requester');
    this.providerKeys = keysOf('provider');
    this.parties = { requester, provider };
    this.payTerms = beginCell().storeBuffer(this.requesterKeys.publicKey).storeBuffer(provider.hash).storeInt(network, 32).endCell();
    this.closeTerms = beginCell().storeBuffer(this.providerKeys.publicKey).storeBuffer(requester.hash).storeUint(salt, 256)
      .storeUint(windowSeconds, 32).endCell();
    const { status = 0, deadline = 0, deposit = 0, drawn = 0, sequence = 0, root = 0 } = initial;
    const data = beginCell().storeUint(status, 8).storeUint(deadline, 32).storeCoins(deposit).storeCoins(drawn).storeUint(sequence, 64).storeUint(root, 256)
      .storeRef(this.payTerms).storeRef(this.closeTerms).endCell();
    Object.assign(this, deployed('channel', data));
  }

  deposit(amount) {
    return op(0x43430001).storeCoins(amount).endCell();
  }

  /// `change` replaces parts of the voucher before it is signed, `keys` signs it.
  claim(sequence, cumulative, { keys = this.requesterKeys, query = 1n, ...change } = {}) {
    const voucher = this.#statement('CCV1', sequence, cumulative, change).storeUint(change.root ?? 0xdd, 256);
    const cell = (change.finish ?? ((builder) => builder))(voucher).endCell();
    const signature = change.signature ?? signed(cell, keys);
    return op(0x43430002, query).storeBuffer(signature).storeRef(cell).endCell();
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
