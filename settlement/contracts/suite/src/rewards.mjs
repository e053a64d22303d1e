// The rewards' messages, as `messages.tolk` lays them out, and what a proof is about.
import { Dictionary, beginCell } from '@ton/core';
import { sha256_sync } from '@ton/crypto';
import { NETWORK, deployed, op } from './contract.mjs';
import { COCOON, PARTS } from './jetton.mjs';

export const RESERVE = PARTS.reserve * COCOON;

export class Rewards {
  /// `halfLife`: epochs at the first rate that release half of the reserve. `emission` is that of one that has been there for long.
  constructor({ founder, network = NETWORK, halfLife = 730, emission = {} }) {
    this.firstRate = firstRate(halfLife);
    const { epoch, released, rollover, ceiling } = { epoch: 0, released: 0n, rollover: 0n, ceiling: this.firstRate, ...emission };
    const rest = beginCell().storeUint(0, 256).storeUint(0, 256).endCell();
    const whom = beginCell().storeUint(0, 256).storeUint(0, 256).storeRef(rest).endCell();
    const known = beginCell().storeBuffer(founder.hash).storeInt(network, 32).storeUint(halfLife, 32).storeUint(0, 256).storeUint(0, 16)
      .storeRef(whom).endCell();
    const keys = beginCell().storeUint(0, 256).storeDict(Dictionary.empty()).endCell();
    const claims = beginCell().storeBit(false).storeUint(0, 32).storeCoins(0).storeCoins(0).storeCoins(0).storeCoins(0).endCell();
    const data = beginCell().storeUint(epoch, 32).storeCoins(released).storeCoins(rollover).storeCoins(ceiling).storeCoins(0).storeCoins(0).storeUint(0, 32)
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

// ---- What an epoch may pay once more, as `economy::emission` has it, and what is free by when, as `economy::vesting` has it.

const least = (a, b) => (a < b ? a : b);

export function firstRate(halfLife) {
  return RESERVE / (2n * BigInt(halfLife));
}

export function budgetOf({ released, rollover, ceiling }, halfLife) {
  let halvings = 0n;
  while (halvings < 60n && RESERVE - released <= RESERVE >> (halvings + 1n)) halvings += 1n;
  const rate = firstRate(halfLife) >> halvings;
  return least(rate + least(rollover, 3n * rate), ceiling - released);
}

/// An epoch that is closed with what it pays, and the next one.
export function closed(emission, paid, halfLife) {
  const epoch = emission.epoch + 1n;
  const halvings = least(epoch / BigInt(halfLife), 60n);
  return {
    epoch,
    released: emission.released + paid,
    rollover: budgetOf(emission, halfLife) - paid,
    ceiling: emission.ceiling + (firstRate(halfLife) >> halvings),
  };
}

const LIQUID_BPS = 3_000n;
const VEST_S = 90n * 86_400n;

/// What vests of rewards.
export class Line {
  free = 0n;
  locked = 0n;
  since = 0n;
  until = 0n;

  at(now) {
    const from = now > this.since ? now : this.since;
    const freed = this.until <= from ? this.locked : (this.locked * (from - this.since)) / (this.until - this.since);
    this.free += freed;
    this.locked -= freed;
    this.since = from;
  }

  reward(amount, now) {
    this.at(now);
    const liquid = (amount * LIQUID_BPS) / 10_000n;
    const whole = this.locked + amount - liquid;
    const weight = this.locked * (this.until > this.since ? this.until - this.since : 0n) + (amount - liquid) * VEST_S;
    this.until = this.since + (whole === 0n ? 0n : (weight + whole - 1n) / whole);
    this.locked = whole;
    this.free += liquid;
  }

  slash(bps, now) {
    this.at(now);
    this.locked -= (this.locked * bps) / 10_000n;
  }

  take(now) {
    this.at(now);
    this.free = 0n;
  }
}
