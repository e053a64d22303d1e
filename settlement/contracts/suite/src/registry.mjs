// The registry's messages, as `messages.tolk` lays them out.
import { Dictionary, beginCell } from '@ton/core';
import { sign } from '@ton/crypto';
import { NOBODY } from './governor.mjs';
import { NETWORK, deployed, op } from './contract.mjs';

export const TELL_KEY = 64;
export const TELL_AUDITORS = 128;

const settings = { serialize: ({ value, changed = 0 }, builder) => builder.storeUint(value, 64).storeUint(changed, 32), parse: () => undefined };

export class Registry {
  /// `parameters` are those of one that has been there for long, by their numbers.
  constructor({ governor, founder, network = NETWORK, parameters = [] }) {
    const changed = Dictionary.empty(Dictionary.Keys.Uint(8), settings);
    for (const [which, setting] of parameters) changed.set(which, setting);
    const known = beginCell().storeBuffer(founder.hash).storeBuffer(NOBODY).storeBuffer(NOBODY).endCell();
    const auditors = beginCell().storeBuffer(NOBODY).storeBuffer(NOBODY).storeBit(false).endCell();
    const data = beginCell().storeBuffer(NOBODY).storeInt(network, 32).storeBuffer(governor.hash).storeDict(changed).storeBit(false)
      .storeRef(auditors).storeRef(known).endCell();
    Object.assign(this, deployed('registry', data));
  }

  introduce({ vault, rewards }) {
    return op(0x434e0001).storeBuffer(vault.hash).storeBuffer(rewards.hash).endCell();
  }

  change(by, action) {
    return op(0x434e0002).storeAddress(by).storeRef(action).endCell();
  }

  proveAuditors(count, list, proof) {
    return op(0x434e0003).storeUint(count, 8).storeRef(list).storeRef(proof).endCell();
  }

  tell(what) {
    return op(0x434e0004).storeUint(what, 8).endCell();
  }
}

/// An auditor of a list: key pair, and the coordinates of the second key. `change` replaces parts of what is signed or stands there.
export function auditor(keys, x, y, { network = NETWORK, tag = 'CCJ1', signature } = {}) {
  const binding = beginCell().storeBuffer(Buffer.from(tag)).storeInt(network, 32).storeBuffer(keys.publicKey).storeUint(x, 256).storeUint(y, 256).endCell();
  return { key: keys.publicKey, x, y, signature: signature === undefined ? sign(binding.beginParse().loadBuffer(104), keys.secretKey) : signature };
}

/// A place that nobody has.
export const NOBODY_THERE = { key: NOBODY, x: 0n, y: 0n, signature: null };

/// The list as it goes to the registry.
export function auditorList([{ key, x, y, signature }, ...rest]) {
  const node = beginCell().storeBuffer(key).storeUint(x, 256).storeUint(y, 256);
  if (signature) node.storeRef(beginCell().storeBuffer(signature).endCell());
  return (rest.length > 0 ? node.storeRef(auditorList(rest)) : node).endCell();
}
