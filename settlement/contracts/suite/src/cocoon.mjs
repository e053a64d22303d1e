// COCOON beside a scene: a minter, everybody's wallets, and the books of what there is of it.
import assert from 'node:assert/strict';
import { toNano } from '@ton/core';
import { CAP } from './jetton.mjs';

/// What the four recipients of the start are called among the people of a scene.
const RECIPIENTS = { reserve: 'dispute', treasury: 'treasury', stakers: 'stranger', opening: 'owner' };

export class Cocoon {
  /// Wallets whose balances are counted, by the account of their owner.
  #wallets = new Map();

  /// Makes all COCOON and divides it among people.
  static async made(set, recipients = {}) {
    const cocoon = new Cocoon(set);
    await cocoon.deploy();
    const to = Object.fromEntries(Object.entries(RECIPIENTS).map(([part, name]) => [part, recipients[part] ?? set[name].address]));
    await set.ask('owner', cocoon.minter, cocoon.minter.genesis(to), 'done', { value: toNano('0.5') });
    for (const address of Object.values(to)) cocoon.of(address);
    cocoon.isMade = true;
    return cocoon;
  }

  constructor(set) {
    this.set = set;
    this.minter = set.minter;
    set.contracts.push(this.minter);
    set.audits.push(() => this.audit());
  }

  async deploy() {
    await this.set.owner.call(this.minter.address, toNano('0.1'), undefined, { init: this.minter.init });
  }

  /// The wallet of an owner, whose balance is counted from now on.
  of(owner) {
    const key = owner.toRawString();
    if (!this.#wallets.has(key)) {
      const wallet = this.minter.wallet(owner);
      this.#wallets.set(key, wallet);
      this.set.contracts.push(wallet);
    }
    return this.#wallets.get(key);
  }

  /// The wallet of a person.
  wallet(person) {
    return this.of(this.set[person].address);
  }

  async balance(owner) {
    const wallet = this.of(typeof owner === 'string' ? this.set[owner].address : owner);
    if ((await this.set.chain.balance(wallet.address)) === 0n) return 0n;
    return (await this.set.chain.get(wallet.address, 'get_wallet_data'))[0]?.value ?? 0n;
  }

  async supply() {
    return (await this.set.chain.get(this.minter.address, 'get_jetton_data'))[0].value;
  }

  /// Moves COCOON between people; `to` is an address or a person.
  async give(from, to, amount, { value = toNano('0.2'), expected = 'done', ...options } = {}) {
    const recipient = typeof to === 'string' ? this.set[to].address : to;
    this.of(recipient);
    const wallet = this.wallet(from);
    return this.set.ask(from, wallet, wallet.transfer(amount, recipient, options), expected, { value });
  }

  /// No more than the cap, and all of it in somebody's wallet.
  async audit() {
    const supply = await this.supply();
    let sum = 0n;
    for (const { owner } of this.#wallets.values()) sum += await this.balance(owner);
    assert.equal(sum, supply, 'COCOON came from nowhere or is lost');
    assert.ok(supply <= CAP, 'more COCOON than the cap');
  }
}
