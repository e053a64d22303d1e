// Reproducible chance: a counter hashed with a seed.
import { sha256_sync } from '@ton/crypto';

export class Random {
  #count = 0;

  constructor(seed) {
    this.seed = seed;
  }

  #word() {
    this.#count += 1;
    return sha256_sync(`${this.seed} ${this.#count}`).readUIntBE(0, 6);
  }

  /// A number from 0 up to `bound`, without it.
  below(bound) {
    return this.#word() % bound;
  }

  chance(percent) {
    return this.below(100) < percent;
  }

  pick(items) {
    return items[this.below(items.length)];
  }

  bytes(length) {
    return Buffer.concat(Array.from({ length: Math.ceil(length / 4) }, () => Buffer.from(this.#word().toString(16).padStart(12, '0').slice(4), 'hex')))
      .subarray(0, length);
  }

  /// Numbers of all magnitudes.
  amount(bitsMax) {
    const bits = this.below(bitsMax + 1);
    return bits === 0 ? 0n : BigInt(`0x${this.bytes(Math.ceil(bits / 8)).toString('hex')}`) >> BigInt((8 - (bits % 8)) % 8);
  }
}
