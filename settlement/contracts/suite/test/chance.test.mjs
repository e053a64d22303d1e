// Wallets and channels by chance: what people, providers and thieves do, in an order that nobody planned.
//
// `SEED` names another course of events, `STEPS` a longer one. A failure names the seed; put it into SEEDS to keep it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SendMode, beginCell, internal, toNano } from '@ton/core';
import { Channel, keysOf, somebody } from '../src/channel.mjs';
import { Pair } from '../src/pair.mjs';
import { Random } from '../src/random.mjs';
import { WALLET_VERSIONS, Wallet } from '../src/wallet.mjs';

const SEEDS = process.env.SEED ? [process.env.SEED] : ['one', 'two', 'three'];
const STEPS = Number(process.env.STEPS ?? 150);

class Town {
  channels = [];

  static async founded(random) {
    const town = new Town();
    town.random = random;
    town.pair = await Pair.start();
    town.wallets = [];
    for (let n = 0; n < 6; n += 1) {
      town.wallets.push(await Wallet.funded(town.pair, `citizen ${n}`, toNano(5_000), random.pick(WALLET_VERSIONS)));
    }
    return town;
  }

  value() {
    const { random } = this;
    return random.chance(70) ? toNano('0.01') + random.amount(31) : random.amount(40);
  }

  body(channel) {
    const { random } = this;
    const change = random.chance(80) ? {} : random.pick([
      { keys: keysOf('a thief') }, { signature: random.bytes(64) }, { network: -239 }, { channel: random.bytes(32) }, { tag: 'CCR1' },
      { finish: (builder) => builder.storeUint(1, random.below(200) + 1) }, { root: 5 },
    ]);
    const cumulative = random.chance(80) ? channel.paid + random.amount(31) : random.amount(100);
    const sequence = random.below(1_000);
    switch (random.below(8)) {
      case 0: return channel.deposit(random.amount(33));
      case 1:
      case 2:
      case 3:
        channel.paid = cumulative;
        return channel.claim(sequence, cumulative, change);
      case 4: return random.chance(30) ? channel.closeUnilateral() : channel.deposit(random.amount(30));
      case 5: return channel.finishClose();
      case 6: return random.chance(30) ? channel.closeCooperative(sequence, cumulative, change) : channel.claim(sequence, cumulative, change);
      default: return beginCell().storeUint(0x43430000 + random.below(7), 32).storeBuffer(random.bytes(random.below(90))).endCell();
    }
  }

  /// One message: to a channel, between citizens, or to nobody.
  message() {
    const { random } = this;
    const bounce = random.chance(80);
    const flags = random.chance(70) ? 0n : BigInt(random.below(4));
    const flagged = (message) => ({ ...message, info: { ...message.info, ihrFee: flags } });
    if (this.channels.length > 0 && random.chance(70)) {
      const channel = random.pick(this.channels);
      return flagged(internal({ to: channel.address, value: this.value(), bounce, body: this.body(channel), init: random.chance(20) ? channel.init : undefined }));
    }
    const to = random.chance(80) ? random.pick(this.wallets).address : somebody(random.below(5));
    return flagged(internal({ to, value: this.value(), bounce, body: random.chance(50) ? undefined : beginCell().storeBuffer(random.bytes(random.below(120))).endCell() }));
  }

  async step() {
    const { random } = this;
    const wallet = random.pick(this.wallets);
    if (random.chance(15)) await this.pair.passTime(random.pick([1, 60, 3_600, 86_400, 30 * 86_400]));
    if (random.chance(12)) {
      const channel = new Channel({
        requester: wallet.address, provider: random.pick(this.wallets).address, fee: somebody(0xfe), salt: this.channels.length,
        windowSeconds: random.pick([0, 60, 86_400]), feeBps: random.pick([0, 500, 10_000]),
      });
      channel.paid = 0n;
      this.channels.push(channel);
      const deposit = random.amount(34) + 1n;
      return wallet.call(channel.address, deposit + this.value(), channel.deposit(deposit), { init: channel.init });
    }
    const mode = random.chance(80) ? SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS : random.below(256);
    const messages = Array.from({ length: random.below(4) + 1 }, () => this.message());
    // A wallet that would give everything away has nothing to pay its next message with.
    return wallet.send(messages, { mode: mode >= 128 ? mode - 128 : mode });
  }
}

for (const seed of SEEDS) {
  test(`${STEPS} steps by the seed ${seed}`, async () => {
    const town = await Town.founded(new Random(seed));
    try {
      for (let step = 0; step < STEPS; step += 1) {
        await town.step().catch((error) => {
          throw new Error(`seed ${seed}, step ${step}: ${error.message}`, { cause: error });
        });
      }
      await town.pair.finish();
    } finally {
      town.pair.chain.close();
    }
    assert.ok(town.pair.transactions.length > STEPS);
  });
}
