// The vault's messages, as `messages.tolk` lays them out.
import { beginCell } from '@ton/core';
import { NETWORK, deployed, op } from './contract.mjs';

const WHOLE = 1_000_000_000n;

export class Vault {
  /// `rate`: nano-COCOON for a whole TON, as if every auction so far had cleared at it.
  constructor({ treasury, registry, minter, rewards, network = NETWORK, epochSeconds = 86_400, auctionSeconds = 72_000, rate = 50n * WHOLE }) {
    const token = beginCell().storeBuffer(minter.hash).storeBuffer(rewards.hash).endCell();
    const terms = beginCell().storeBuffer(treasury.hash).storeBuffer(registry.hash).storeInt(network, 32).storeUint(epochSeconds, 32).storeRef(token).endCell();
    const rates = beginCell();
    for (let n = 0; n < 7; n += 1) rates.storeCoins(rate);
    const auction = beginCell().storeCoins(0).storeCoins(0).storeCoins(0).storeCoins(0).storeCoins(0).storeUint(0, 32)
      .storeUint(auctionSeconds, 32).storeUint(1_000, 16).storeRef(rates.endCell()).storeCoins(rate).endCell();
    const data = beginCell().storeCoins(0).storeCoins(0).storeCoins(0).storeCoins(0).storeCoins(0).storeCoins(0).storeUint(0, 32).storeUint(0, 32)
      .storeUint(2_000, 16).storeUint(1_000, 16).storeRef(auction).storeRef(terms).endCell();
    Object.assign(this, deployed('vault', data));
  }

  fee(amount, credit = 0n) {
    return op(0x43560001).storeCoins(amount).storeCoins(credit).endCell();
  }

  payTreasury() {
    return op(0x43560002).endCell();
  }

  parameter(which, value) {
    return op(0x43560003).storeUint(which, 8).storeUint(value, 64).endCell();
  }

  closeEpoch() {
    return op(0x43560004).endCell();
  }
}

/// What COCOON that is sent to the vault is for: a bid, which buys at least so much TON or comes back.
export function bidding(least = 0n) {
  return beginCell().storeBit(true).storeRef(beginCell().storeUint(0x43560010, 32).storeUint(least, 64).endCell()).endCell();
}

/// A fee paid ahead, for a provider's contract.
export function crediting(provider) {
  return beginCell().storeBit(true).storeRef(beginCell().storeUint(0x43560011, 32).storeBuffer(provider.hash).endCell()).endCell();
}

// ---- The auction once more, as `economy::auction` has it.

export function rateAt(reference, passed, seconds) {
  const quarters = BigInt(passed) * 4n;
  const high = (reference * 4n) >> (quarters / BigInt(seconds));
  const rate = high - (high * (quarters % BigInt(seconds))) / (2n * BigInt(seconds));
  return rate > 0n ? rate : 1n;
}

/// What a bid buys of what is left, and what it pays.
export function filled(cocoon, rate, left) {
  const wanted = (cocoon * WHOLE) / rate;
  if (wanted <= left) return { bought: wanted, paid: cocoon };
  const cost = (left * rate + WHOLE - 1n) / WHOLE;
  return { bought: left, paid: cost < cocoon ? cost : cocoon };
}
