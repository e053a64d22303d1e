// A provider, its owner, the vault, a requester and people who mean no good; and the books that every script ends with.
import assert from 'node:assert/strict';
import { beginCell, toNano } from '@ton/core';
import { ASKS, FIRST_CHECK, gasFee, held } from './bounds.mjs';
import { start } from './backend.mjs';
import { Channel } from './channel.mjs';
import { EXIT } from './contract.mjs';
import { Minter } from './jetton.mjs';
import { Provider, networkTerms } from './provider.mjs';
import { Rewards } from './rewards.mjs';
import { Vault } from './vault.mjs';
import { Wallet } from './wallet.mjs';

export const TON = toNano(1);
/// More than any message asks for.
export const ENOUGH = toNano('0.1');
export const RESERVE = toNano('0.04');
export const DAY = 86_400;

export const PEOPLE = ['owner', 'requester', 'stranger', 'thief', 'dispute', 'treasury', 'rewards'];

export class Scene {
  /// What is audited beside the books of TON.
  audits = [];
  #salt = 0;
  #total = 0n;
  /// What gas every path used at most.
  static most = new Map();

  /// `terms` replaces parts of the network's terms, `vault` those of the vault's; `rewards` puts a contract in the place of the
  /// person who is told what fees fetched.
  static async set({ terms = {}, stake = 10n * TON, bond = 2n * TON, operations = 5n * TON, vaultReserve = ENOUGH, vault = {}, rewards, on } = {}) {
    const scene = new Scene();
    scene.chain = on ?? await start();
    for (const name of PEOPLE) scene[name] = await Wallet.funded(scene.chain, name, toNano(1_000));
    // Whoever is the registry and the rewards for the vault may be a person; the token is the owner's.
    scene.minter = new Minter({ founder: scene.owner.address });
    if (rewards) scene.pot = new Rewards({ founder: scene.owner.address, ...rewards });
    const payer = (scene.pot ?? scene.rewards).address;
    scene.vault = new Vault({
      treasury: scene.treasury.address, registry: scene.dispute.address, minter: scene.minter.address, rewards: payer, ...vault,
    });
    await scene.owner.call(scene.vault.address, vaultReserve, undefined, { init: scene.vault.init });
    scene.terms = networkTerms({ vault: scene.vault.address, dispute: scene.dispute.address, rewards: payer, ...terms });
    scene.provider = new Provider({ owner: scene.owner.address, terms: scene.terms });
    scene.contracts = [scene.provider, scene.vault];
    scene.#total = await scene.#balances() + scene.#spent();
    if (stake !== null) {
      const value = stake + bond + RESERVE + ASKS.stake + operations;
      await scene.ask('owner', scene.provider, scene.provider.stake(stake, bond), 'done', { value, init: scene.provider.init });
    }
    return scene;
  }

  /// Remembers how things stand on an emulator alone, and returns what brings that back.
  keep() {
    const [back, seqnos, number] = [this.chain.keep(), PEOPLE.map((name) => this[name].seqno), this.provider.number];
    const [contracts, audits] = [[...this.contracts], [...this.audits]];
    return async () => {
      await back();
      PEOPLE.forEach((name, n) => { this[name].seqno = seqnos[n]; });
      this.provider.number = number;
      this.contracts = [...contracts];
      this.audits = [...audits];
      this.#salt = 0;
    };
  }

  /// A channel from the requester to the provider.
  async opened(deposit = TON, terms = {}) {
    this.#salt += 1;
    const channel = new Channel({ requester: this.requester.address, provider: this.provider.address, salt: this.#salt, ...terms });
    await this.ask('requester', channel, channel.deposit(deposit), 'done', { value: deposit + ENOUGH, init: channel.init });
    this.contracts.push(channel);
    return channel;
  }

  /// Sends a message from a person to a contract, which has to end as expected: `done`, or with the name of an exit code.
  async ask(person, contract, body, expected = 'done', { value = ENOUGH, ...options } = {}) {
    const done = await this[person].call(contract.address, value, body, options);
    this.expect(contract, done, expected);
    return done;
  }

  /// How a contract's first transaction among these has to have ended.
  expect(contract, transactions, expected) {
    assert.equal(this.at(contract, transactions), expected === 'done' ? 'done' : `exit ${EXIT[expected] ?? expected}`);
  }

  /// Asks with a nano-unit less than the message takes, as somebody else, and with what pays hardly more than its first check: all are
  /// refused for the value alone. Then with exactly what the message takes, which has to be enough for all that follows.
  async exactly(person, contract, body, ask, options = {}) {
    const poor = (who, value) => this.ask(who, contract, body, 'ERR_TOO_LITTLE_VALUE', { value, ...options });
    await poor(person, ask - 1n);
    await poor('thief', ask - 1n);
    // What is too little to come back would stay on an account that is not deployed yet.
    if (!options.init) await poor(person, gasFee(FIRST_CHECK[body.beginParse().loadUint(32)]));
    const done = await this.ask(person, contract, body, 'done', { value: ask, ...options });
    for (const contract of this.contracts) for (const { outcome } of this.of(contract, done)) assert.equal(outcome, 'done');
    await this.audit();
  }

  /// Sends the operator's message. A refused one costs nobody anything.
  async order(message, expected = 'done') {
    const { transactions, exitCode } = await this.chain.send(message);
    assert.equal(transactions ? this.at(this.provider, transactions) : `exit ${exitCode}`, expected === 'done' ? 'done' : `exit ${EXIT[expected] ?? expected}`);
    if (transactions) this.provider.number += 1;
    return transactions;
  }

  /// A batch of `[channel, sequence, cumulative]`.
  async batch(claims, expected) {
    return this.order(this.provider.batch(this.claims(claims)), expected);
  }

  claims(claims) {
    return claims.map(([channel, sequence, cumulative, change]) => [channel, channel.claim(sequence, cumulative, { query: BigInt(this.provider.number), ...change })]);
  }

  /// How a contract's first transaction among these ended.
  at(contract, transactions) {
    return this.of(contract, transactions)[0]?.outcome ?? 'nothing';
  }

  of(contract, transactions) {
    return transactions.filter(({ account }) => account === contract.address.toRawString());
  }

  async state() {
    const [number, batch, outstanding, earnings, fees, feesCum, claims, head, epochEnds, paidInEpoch] = await this.#get(this.provider, 'provider_state');
    return { number, batch, outstanding, earnings, fees, feesCum, claims, head, epochEnds, paidInEpoch };
  }

  async stakeState() {
    const [key, total, allocated, unbonding, unbondAt, bond, by, deadline] = await this.#get(this.provider, 'provider_stake');
    return { key, total, allocated, unbonding, unbondAt, bond, by, deadline };
  }

  async epoch() {
    const [ended, paid, backed] = await this.#get(this.provider, 'provider_epoch');
    return { ended, paid, backed };
  }

  async shares() {
    const [burn, auditors, treasury, feesCum] = await this.#get(this.vault, 'vault_state');
    return { burn, auditors, treasury, feesCum };
  }

  async vaultEpoch() {
    const [epoch, opened, fees, auditorsBps, treasuryBps] = await this.#get(this.vault, 'vault_epoch');
    return { epoch, opened, fees, auditorsBps, treasuryBps };
  }

  async auction() {
    const [lot, own, unsold, paid, unburned, seconds, nextSeconds, discountBps, rate, last, median] = await this.#get(this.vault, 'vault_auction');
    return { lot, own, unsold, paid, unburned, seconds, nextSeconds, discountBps, rate, last, median };
  }

  async channelState(channel) {
    const [status, deadline, deposit, drawn, sequence, root] = await this.#get(channel, 'channel_state');
    return { status, deadline, deposit, drawn, sequence, root };
  }

  /// What the provider's contract holds for others.
  async held() {
    const [state, stake] = [await this.state(), await this.stakeState()];
    return stake.total + stake.bond + state.earnings + state.fees + (stake.by === 0n ? 0n : toNano('0.05'));
  }

  async balance({ address }) {
    return this.chain.balance(address);
  }

  async operations() {
    return (await this.balance(this.provider)) - (await this.held()) - RESERVE;
  }

  /// The books: nothing came from nowhere and nothing is lost but fees; every contract has what it owes; no path used more gas than is asked for it.
  async audit({ owes = true } = {}) {
    assert.equal(await this.#balances() + this.#spent(), this.#total, 'money came from nowhere or is lost');
    if (owes) await this.#auditDebts();
    for (const audit of this.audits) await audit();
    const ours = new Set(this.contracts.map(({ address }) => address.toRawString()));
    for (const { account, transaction, outcome } of this.chain.transactions) {
      const path = ours.has(account) && held(transaction, account === this.vault.address.toRawString());
      if (!path) continue;
      assert.ok(!outcome.startsWith('action'), `${path.name}: ${outcome}`);
      assert.ok(path.used <= path.bound, `${path.name}: ${path.used} of ${path.bound}`);
      if (path.used > (Scene.most.get(path.name) ?? 0n)) Scene.most.set(path.name, path.used);
    }
  }

  async finish(options) {
    try {
      await this.audit(options);
      await this.chain.finish();
    } finally {
      this.chain.chain.close();
    }
  }

  async #auditDebts() {
    if ((await this.chain.account(this.provider.address)).account?.storage.state.type === 'active') assert.ok(await this.balance(this.provider) >= await this.held(), 'the provider owes more than it has');
    const { burn, auditors, treasury } = await this.shares();
    const { unsold } = await this.auction();
    assert.ok(await this.balance(this.vault) >= burn + unsold + auditors + treasury, 'the vault owes more than it has');
    for (const channel of this.contracts.filter((contract) => contract instanceof Channel)) {
      const { status, deposit, drawn } = await this.channelState(channel);
      if (status !== 2n) assert.ok(await this.balance(channel) >= deposit - drawn, 'a channel owes more than it has');
    }
  }

  async #get(contract, method) {
    return (await this.chain.get(contract.address, method)).map(({ value }) => value);
  }

  /// All money that is. What an emulator alone made out of nowhere does not count.
  async #balances() {
    const accounts = new Set([...this.chain.transactions.map(({ account }) => account), ...this.contracts.map(({ address }) => address.toRawString())]);
    let sum = 0n;
    for (const account of accounts) sum += await this.chain.balance(account);
    return sum - (this.chain.granted ?? 0n);
  }

  /// All fees ever paid: those in transactions, and those that messages between accounts carry.
  #spent() {
    return this.chain.transactions.reduce((sum, { transaction }) => {
      const carried = [...transaction.outMessages.values()].reduce((fees, { info }) => fees + (info.type === 'internal' ? info.forwardFee : 0n), 0n);
      return sum + transaction.totalFees.coins + carried;
    }, 0n);
  }
}

export function comment(text) {
  return beginCell().storeUint(0, 32).storeStringTail(text).endCell();
}
