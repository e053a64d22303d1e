// The rewards' messages, as `messages.tolk` lays them out, and what a proof is about.
import { Dictionary, beginCell } from '@ton/core';
import { sha256_sync } from '@ton/crypto';
import { NETWORK, deployed, op } from './contract.mjs';
import { COCOON, PARTS } from './jetton.mjs';

export const RESERVE = PARTS.reserve * COCOON;

export class Rewards {
  /// `halfLife`: epochs at the first rate that release half of the reserve.
  constructor({ founder, network = NETWORK, halfLife = 730 }) {
    this.firstRate = RESERVE / (2n * BigInt(halfLife));
    const rest = beginCell().storeUint(0, 256).storeUint(0, 256).endCell();
    const whom = beginCell().storeUint(0, 256).storeUint(0, 256).storeRef(rest).endCell();
    const known = beginCell().storeBuffer(founder.hash).storeInt(network, 32).storeUint(halfLife, 32).storeUint(0, 256).storeUint(0, 16)
      .storeRef(whom).endCell();
    const keys = beginCell().storeUint(0, 256).storeDict(Dictionary.empty()).endCell();
    const claims = beginCell().storeBit(false).storeUint(0, 32).storeCoins(0).storeCoins(0).storeCoins(0).storeCoins(0).endCell();
    const data = beginCell().storeUint(0, 32).storeCoins(0).storeCoins(0).storeCoins(this.firstRate).storeCoins(0).storeCoins(0).storeUint(0, 32)
      .storeRef(claims).storeDict(Dictionary.empty()).storeRef(keys).storeRef(known).endCell();
    Object.assign(this, deployed('rewards', data));
  }

  introduce({ vault, registry, governor, minter, terms }) {
    const rest = beginCell().storeBuffer(governor.hash).storeBuffer(minter.hash).endCell();
    return op(0x43520005).storeBuffer(terms.cell.hash()).storeUint(terms.feeBps, 16).storeRef(beginCell().storeBuffer(vault.hash).storeBuffer(registry.hash).storeRef(rest).endCell()).endCell();
  }

  verifyingKey(circuit, key) {
    return op(0x43520010).storeUint(circuit, 8).storeRef(key).endCell();
  }

  auditors(commitment) {
    return op(0x43520011).storeUint(commitment, 256).endCell();
  }

  stop(until) {
    return op(0x43520012).storeUint(until, 32).endCell();
  }
}

/// The first public input: what certificates are about.
export function domainOf(provider, epoch, network = NETWORK) {
  const bytes = beginCell().storeBuffer(Buffer.from('CCA1')).storeInt(network, 32).storeBuffer(provider.hash).storeUint(epoch, 32).endCell().beginParse().loadBuffer(44);
  return BigInt(`0x${sha256_sync(bytes).toString('hex')}`) >> 8n;
}

/// The third: the first claim, the last, and the sum of their fees.
export function packed(lo, hi, fees) {
  return (BigInt(lo) << 128n) | (BigInt(hi) << 64n) | BigInt(fees);
}
