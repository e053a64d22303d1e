// Wallets, channels, providers and a vault by chance: what people, providers and thieves do, in an order that nobody planned.
//
// `SEED` names another course of events, `STEPS` a longer one. A failure names the seed; put it into SEEDS to keep it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SendMode, beginCell, internal, toNano } from '@ton/core';
import { Channel, somebody } from '../src/channel.mjs';
import { keysOf, op } from '../src/contract.mjs';
import { Provider } from '../src/provider.mjs';
import { Random } from '../src/random.mjs';
import { Scene } from '../src/scene.mjs';
import { WALLET_VERSIONS, Wallet } from '../src/wallet.mjs';

// The seed three comes upon the known difference about forward fees, which has a test of its own in wallets.test.mjs.
const SEEDS = process.env.SEED ? [process.env.SEED] : ['one', 'two', 'four', 'five'];
const STEPS = Number(process.env.STEPS ?? 150);

class Town {
  channels = [];

  static async founded(random) {
    const town = new Town();
    town.random = random;
    town.scene = await Scene.set({ terms: { epochSeconds: 3_600, unbondSeconds: 86_400, answerSeconds: 60 } });
    town.pair = town.scene.chain;
    const { owner, dispute, treasury } = town.scene;
    town.wallets = [owner, dispute, treasury];
    for (let n = 0; n < 4; n += 1) {
      const wallet = await Wallet.funded(town.pair, `citizen ${n}`, toNano(5_000), random.pick(WALLET_VERSIONS));
      town.wallets.push(wallet);
    }
    town.providers = [town.scene.provider, new Provider({ owner: town.wallets[3].address, terms: town.scene.terms, resourceClass: 1 })];
    town.scene.contracts.push(town.providers[1]);
    await town.wallets[3].call(town.providers[1].address, toNano(20), town.providers[1].stake(toNano(5), toNano(1)), { init: town.providers[1].init });
    return town;
  }

  value() {
    const { random } = this;
    return random.chance(70) ? toNano('0.01') + random.amount(31) : random.amount(40);
  }

  claim(channel, change = {}) {
    const { random } = this;
    const cumulative = random.chance(80) ? channel.paid + random.amount(31) : random.amount(100);
    channel.paid = cumulative;
    return channel.claim(random.below(1_000), cumulative, { query: BigInt(random.below(5)), ...change });
  }

  toChannel(channel) {
    const { random } = this;
    const change = random.chance(80) ? {} : random.pick([
      { keys: keysOf('a thief') }, { signature: random.bytes(64) }, { network: -239 }, { channel: random.bytes(32) }, { tag: 'CCR1' },
      { finish: (builder) => builder.storeUint(1, random.below(200) + 1) }, { root: 5 },
    ]);
    switch (random.below(8)) {
      case 0: return channel.deposit(random.amount(33));
      case 1:
      case 2:
      case 3: return this.claim(channel, change);
      case 4: return random.chance(30) ? channel.closeUnilateral() : channel.deposit(random.amount(30));
      case 5: return channel.finishClose();
      case 6: return random.chance(30) ? channel.closeCooperative(random.below(1_000), channel.paid + random.amount(31), change) : this.claim(channel, change);
      default: return this.nonsense(0x43430000);
    }
  }

  toProvider(provider) {
    const { random } = this;
    switch (random.below(11)) {
      case 0: return provider.stake(random.amount(33), random.amount(31));
      case 1: return provider.unbond(random.amount(33), random.amount(31));
      case 2: return provider.withdraw();
      case 3: return provider.withdrawOperations(random.amount(34));
      case 4: return provider.setOperator(keysOf('provider').publicKey);
      case 5: return provider.slash(random.amount(32), somebody(random.below(5)));
      case 6: return provider.poke();
      case 7: return provider.pokeOver();
      case 8: return provider.flush();
      case 9: return op(0x43430101).storeCoins(0).storeCoins(random.amount(40)).storeBuffer(random.bytes(96)).endCell();
      default: return this.nonsense(0x43500000);
    }
  }

  toVault(vault) {
    return this.random.pick([vault.fee(this.random.amount(31)), vault.payTreasury(), this.nonsense(0x43560000), undefined]);
  }

  nonsense(opcode) {
    const { random } = this;
    return beginCell().storeUint(opcode + random.below(12), 32).storeBuffer(random.bytes(random.below(90))).endCell();
  }

  /// One message: to a contract, between citizens, or to nobody.
  message() {
    const { random, scene } = this;
    const bounce = random.chance(80);
    const flags = random.chance(70) ? 0n : BigInt(random.below(4));
    const flagged = (message) => ({ ...message, info: { ...message.info, ihrFee: flags } });
    const to = (contract, body) => flagged(internal({
      to: contract.address, value: this.value(), bounce, body, init: random.chance(20) ? contract.init : undefined,
    }));
    if (this.channels.length > 0 && random.chance(45)) {
      const channel = random.pick(this.channels);
      return to(channel, this.toChannel(channel));
    }
    if (random.chance(50)) {
      const provider = random.pick(this.providers);
      return to(provider, this.toProvider(provider));
    }
    if (random.chance(15)) return to(scene.vault, this.toVault(scene.vault));
    const somewhere = random.chance(80) ? random.pick(this.wallets).address : somebody(random.below(5));
    return flagged(internal({ to: somewhere, value: this.value(), bounce, body: random.chance(50) ? undefined : beginCell().storeBuffer(random.bytes(random.below(120))).endCell() }));
  }

  /// An operator's message, which may be refused.
  async order() {
    const { random } = this;
    const provider = random.pick(this.providers);
    const change = random.chance(85) ? {} : random.pick([{ keys: keysOf('a thief') }, { number: random.below(9) }, { validUntil: this.pair.now }, { network: -1 }]);
    const message = () => {
      switch (random.below(4)) {
        case 0: return provider.allocate(random.amount(34), change);
        case 1: return provider.alive(change);
        default: {
          const claims = Array.from({ length: random.below(6) + 1 }, () => random.pick(this.channels))
            .map((channel) => [channel, this.claim(channel, random.chance(95) ? { query: BigInt(provider.number) } : {})]);
          return provider.batch(claims, { count: random.chance(90) ? claims.length : random.below(9), ...change });
        }
      }
    };
    const { transactions } = await this.pair.send(message());
    if (transactions) provider.number += 1;
  }

  async step() {
    const { random } = this;
    const wallet = random.pick(this.wallets);
    if (random.chance(15)) await this.pair.passTime(random.pick([1, 60, 3_600, 86_400, 30 * 86_400]));
    if (random.chance(12)) {
      const channel = new Channel({
        requester: wallet.address, provider: random.pick(this.providers).address, salt: this.channels.length, windowSeconds: random.pick([0, 60, 86_400]),
      });
      channel.paid = 0n;
      this.channels.push(channel);
      const deposit = random.amount(34) + 1n;
      await wallet.call(channel.address, deposit + this.value(), channel.deposit(deposit), { init: channel.init });
      return;
    }
    if (this.channels.length > 0 && random.chance(20)) {
      await this.order();
      return;
    }
    const mode = random.chance(80) ? SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS : random.below(256);
    const messages = Array.from({ length: random.below(4) + 1 }, () => this.message());
    // A wallet that would give everything away has nothing to pay its next message with.
    await wallet.send(messages, { mode: mode >= 128 ? mode - 128 : mode });
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
      await town.scene.finish();
    } finally {
      town.pair.chain.close();
    }
    assert.ok(town.pair.transactions.length > STEPS);
  });
}
