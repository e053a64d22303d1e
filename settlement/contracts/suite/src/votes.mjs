// Governor and registry beside a scene: everybody's locks, and the books of what is locked.
import assert from 'node:assert/strict';
import { toNano } from '@ton/core';
import { ASKS } from './bounds.mjs';
import { Cocoon } from './cocoon.mjs';
import { Governor, WEEK, lockPayload } from './governor.mjs';
import { Minter } from './jetton.mjs';
import { Registry } from './registry.mjs';
import { DAY, ENOUGH } from './scene.mjs';

/// From a proposal to its vote, and until that is over.
export const DELAY = DAY;
export const VOTE = 10 * DAY;
/// More than the rent of a lock or a registry in any script here. A governor's is ten times that at most.
const RENT = toNano('0.009');
const TREASURY = 20_000_000n * 1_000_000_000n;

export class Votes {
  #locks = new Map();

  /// A governor that has the treasury, a registry, and the two introduced. `dispute` stands for the vault and `treasury` for the contract of rewards.
  static async made(set, { stocked = {}, parameters, value = toNano(10), isIntroduced = true } = {}) {
    const votes = new Votes();
    votes.set = set;
    const people = { guardian: set.requester.address, founder: set.owner.address, minter: new Minter({ founder: set.owner.address }).address };
    votes.governor = new Governor({ ...people, start: set.chain.now, ...stocked });
    votes.registry = new Registry({ founder: set.owner.address, governor: votes.governor.address, parameters });
    votes.isStocked = Object.keys(stocked).length > 0;
    set.contracts.push(votes.governor, votes.registry);
    votes.treasury = value;
    await set.owner.call(votes.governor.address, value, undefined, { init: votes.governor.init });
    await set.owner.call(votes.registry.address, ENOUGH, undefined, { init: votes.registry.init });
    votes.cocoon = await Cocoon.made(set, { treasury: votes.governor.address });
    if (isIntroduced) await votes.introduce();
    set.audits.push(() => votes.audit());
    return votes;
  }

  async introduce() {
    const { set, governor, registry } = this;
    await set.ask('owner', governor, governor.introduce({ registry: registry.address, rewards: set.treasury.address }));
    await set.ask('owner', registry, registry.introduce({ vault: set.dispute.address, rewards: set.treasury.address }));
  }

  get now() {
    return this.set.chain.now;
  }

  /// The week so many weeks from now.
  week(weeks) {
    return Math.floor(this.now / WEEK) + weeks;
  }

  lockOf(person) {
    if (!this.#locks.has(person)) {
      const lock = this.governor.lock(this.set[person].address);
      this.#locks.set(person, lock);
      this.set.contracts.push(lock);
    }
    return this.#locks.get(person);
  }

  /// Sends the governor COCOON to lock.
  async lock(person, amount, week, { forward = ASKS.lock, payload = lockPayload(week), ...options } = {}) {
    this.lockOf(person);
    return this.cocoon.give(person, this.governor.address, amount, { forward, payload, value: forward + toNano('0.1'), ...options });
  }

  /// Asks a lock for something that it, or the governor, refuses with this error.
  async refused(person, body, error, by = this.lockOf(person)) {
    const done = await this.set[person].call(this.lockOf(person).address, toNano('0.3'), body);
    this.set.expect(by, done, error);
    this.#assertAnswered(person, done);
    return done;
  }

  async ask(person, body) {
    const done = await this.set.ask(person, this.lockOf(person), body, 'done', { value: toNano('0.3') });
    assert.equal(this.set.at(this.governor, done), 'done');
    this.#assertAnswered(person, done);
    return done;
  }

  /// Proposes, and returns the number.
  async propose(person, action) {
    const { next } = await this.state();
    await this.ask(person, this.lockOf(person).propose(action));
    return Number(next);
  }

  async vote(person, number, isYes = true) {
    return this.ask(person, this.lockOf(person).vote(number, isYes));
  }

  /// An action that was proposed, voted for by a person, and waits to be carried out.
  async ready(person, action, timelock = 7 * DAY) {
    const number = await this.propose(person, action);
    await this.set.chain.passTime(DELAY);
    await this.vote(person, number);
    await this.set.chain.passTime(VOTE + timelock);
    return number;
  }

  /// Has some decided together, and returns their numbers.
  async allReady(person, actions) {
    const numbers = [];
    for (const action of actions) numbers.push(await this.propose(person, action));
    await this.set.chain.passTime(DELAY);
    for (const number of numbers) await this.vote(person, number);
    await this.set.chain.passTime(VOTE + 7 * DAY);
    return numbers;
  }

  async execute(number, action, { by = 'stranger', expected = 'done' } = {}) {
    const done = await this.set.ask(by, this.governor, this.governor.execute(number, action), expected, { value: toNano('0.3') });
    this.#assertAnswered(by, done);
    return done;
  }

  /// Whoever asked has a message back, with nearly all that it brought.
  #assertAnswered(person, transactions) {
    const [, ...answers] = this.set.of(this.set[person], transactions);
    const back = answers.reduce((sum, { transaction }) => sum + transaction.inMessage.info.value.coins, 0n);
    assert.ok(back > toNano('0.25'), `${back} came back`);
  }

  /// Has something decided and carried out.
  async decide(person, action, timelock) {
    return this.execute(await this.ready(person, action, timelock), action);
  }

  async state() {
    const [next, stopped, locked, spent, founder, registry, rewards] = await this.#get(this.governor, 'governor_state');
    return { next, stopped, locked, spent, founder, registry, rewards };
  }

  /// A proposal, or nothing.
  async proposal(number) {
    const found = await this.#get(this.governor, 'governor_proposal', [{ type: 'int', value: BigInt(number) }]);
    if (found.length !== 7) return undefined;
    const [weight, phase, proposed, all, yes, no] = found;
    return { weight: Number(weight), phase: PHASES[phase], proposed: Number(proposed), all, yes, no };
  }

  async weight(at = this.now) {
    return (await this.#get(this.governor, 'governor_weight', [{ type: 'int', value: BigInt(at) }]))[0];
  }

  /// A lock, or nothing where none is.
  async lockState(person) {
    const { account } = await this.set.chain.account(this.lockOf(person).address);
    if (account?.storage.state.type !== 'active') return undefined;
    const [amount, owed, week, since] = await this.#get(this.lockOf(person), 'lock_state');
    return { amount, owed, week: Number(week), since: Number(since) };
  }

  async parameter(which) {
    const [value, changed] = await this.#get(this.registry, 'registry_parameter', [{ type: 'int', value: BigInt(which) }]);
    return { value: Number(value), changed: Number(changed) };
  }

  async auditors() {
    const [list, commitment, nextList, nextCommitment] = await this.#get(this.registry, 'registry_auditors');
    return { list, commitment, nextList, nextCommitment };
  }

  /// What messages bring pays for them: governor and registry keep the TON they had, but for rent and what was decided (`treasury`), and locks their reserve.
  async #auditTon() {
    const { set } = this;
    assert.ok(await set.balance(this.governor) > this.treasury - 10n * RENT, 'the governor lost TON');
    assert.ok(await set.balance(this.registry) > ENOUGH - RENT, 'the registry lost TON');
    for (const person of this.#locks.keys()) {
      const its = await this.lockState(person);
      if (its?.amount > 0n) assert.ok(await set.balance(this.lockOf(person)) > 10_000_000n - RENT, 'a lock lost TON');
    }
  }

  /// What is locked is in locks and in the governor's wallet, beside the treasury; and all of it weighs what each lock does, but for what is rounded down.
  async audit() {
    await this.#auditTon();
    const { locked, spent } = await this.state();
    let [sum, weight] = [0n, 0n];
    for (const person of this.#locks.keys()) {
      const its = await this.lockState(person);
      if (its === undefined) continue;
      sum += its.amount + its.owed;
      weight += its.amount * BigInt(Math.max(its.week * WEEK - this.now, 0)) / BigInt(104 * WEEK);
    }
    assert.equal(locked, sum, 'what is locked is not what locks have');
    assert.ok(await this.cocoon.balance(this.governor.address) >= locked + TREASURY - spent, 'the governor owes more COCOON than it has');
    if (this.isStocked) return;
    const all = await this.weight();
    assert.ok(all >= weight && all - weight <= BigInt(this.#locks.size), `${all} of ${weight}`);
  }

  async #get(contract, method, stack) {
    return (await this.set.chain.get(contract.address, method, stack)).map(({ value }) => value);
  }
}

const PHASES = ['waiting', 'open', 'refused', 'passed', 'ready', 'lapsed', 'done'];

/// What a person's lock weighs.
export function weightOf(amount, week, at) {
  return amount * BigInt(Math.max(week * WEEK - at, 0)) / BigInt(104 * WEEK);
}
