// The governor's messages and those of the locks, as `messages.tolk` lays them out.
import { Dictionary, beginCell, contractAddress } from '@ton/core';
import { NETWORK, codeOf, deployed, op } from './contract.mjs';

export const WEEK = 604_800;
export const NOBODY = Buffer.alloc(32);

const amounts = { serialize: (amount, builder) => builder.storeCoins(amount), parse: (slice) => slice.loadCoins() };
const decisions = {
  serialize: ({ weight = 1, isDone = false, proposed = 0, all = 0n, yes = 0n, no = 0n, action = NOBODY }, builder) => builder.storeUint(weight, 8)
    .storeBit(isDone).storeUint(proposed, 32).storeCoins(all).storeCoins(yes).storeCoins(no).storeBuffer(action),
  parse: () => undefined,
};

function dictionary(values, entries) {
  const dict = Dictionary.empty(Dictionary.Keys.Uint(32), values);
  for (const [key, value] of entries) dict.set(key, value);
  return dict;
}

export class Governor {
  /// `weeks` and `proposals` are of one that has been there for long.
  constructor({ minter, guardian, founder, start, weeks = [], proposals = [], next = 0, network = NETWORK, lockCode = codeOf('lock') }) {
    this.lockCode = lockCode;
    const known = beginCell().storeBuffer(founder.hash).storeBuffer(NOBODY).storeBuffer(NOBODY).endCell();
    const terms = beginCell().storeInt(network, 32).storeBuffer(minter.hash).storeBuffer(guardian.hash).storeUint(start, 32).storeRef(lockCode).endCell();
    const data = beginCell().storeUint(next, 32).storeUint(0, 32).storeCoins(0).storeCoins(0).storeDict(dictionary(amounts, weeks))
      .storeDict(dictionary(decisions, proposals)).storeRef(known).storeRef(terms).endCell();
    Object.assign(this, deployed('governor', data));
  }

  introduce({ registry, rewards }) {
    return op(0x43470002).storeBuffer(registry.hash).storeBuffer(rewards.hash).endCell();
  }

  execute(number, action) {
    return op(0x43470003).storeUint(number, 32).storeRef(action).endCell();
  }

  stop() {
    return op(0x43470004).endCell();
  }

  notification(amount, from, payload) {
    return op(0x7362d09c).storeCoins(amount).storeAddress(from).storeSlice(payload.beginParse()).endCell();
  }

  locked(owner, { beforeAmount = 0n, beforeWeek = 0, amount, week }) {
    return op(0x43470011).storeBuffer(owner.hash).storeCoins(beforeAmount).storeUint(beforeWeek, 32).storeCoins(amount).storeUint(week, 32).endCell();
  }

  voice(owner, { number, amount, week, since = 0, isYes = true }) {
    return op(0x43470012).storeUint(number, 32).storeBuffer(owner.hash).storeCoins(amount).storeUint(week, 32).storeUint(since, 32).storeBit(isYes).endCell();
  }

  proposal(owner, { amount, week, action }) {
    return op(0x43470013).storeBuffer(owner.hash).storeCoins(amount).storeUint(week, 32).storeRef(action).endCell();
  }

  unlocked(owner, amount) {
    return op(0x43470014).storeCoins(amount).storeBuffer(owner.hash).endCell();
  }

  /// The lock of an owner.
  lock(owner) {
    return new Lock(this, owner);
  }
}

export class Lock {
  constructor(governor, owner) {
    this.owner = owner;
    const data = beginCell().storeCoins(0).storeCoins(0).storeUint(0, 32).storeUint(0, 32).storeBit(false).storeBuffer(owner.hash)
      .storeBuffer(governor.address.hash).endCell();
    this.init = { code: governor.lockCode, data };
    this.address = contractAddress(0, this.init);
  }

  lengthen(week) {
    return op(0x434c0001).storeUint(week, 32).endCell();
  }

  vote(number, isYes) {
    return op(0x434c0002).storeUint(number, 32).storeBit(isYes).endCell();
  }

  propose(action) {
    return op(0x434c0003).storeRef(action).endCell();
  }

  unlock() {
    return op(0x434c0004).endCell();
  }

  lockMore(amount, week) {
    return op(0x434c0011).storeCoins(amount).storeUint(week, 32).storeBuffer(this.owner.hash).endCell();
  }

  counted(since) {
    return op(0x434c0012).storeUint(since, 32).endCell();
  }

  voted(number, until) {
    return op(0x434c0013).storeUint(number, 32).storeUint(until, 32).endCell();
  }

  notPaid(amount) {
    return op(0x434c0014).storeCoins(amount).endCell();
  }
}

/// What a transfer to the governor tells it.
export function lockPayload(week) {
  return beginCell().storeBit(false).storeUint(0x43470001, 32).storeUint(week, 32).endCell();
}

const action = (code) => beginCell().storeUint(code, 32);

/// What can be voted on.
export const actions = {
  parameter: (which, value) => action(0x43472001).storeUint(which, 8).storeUint(value, 64).endCell(),
  verifyingKey: (circuit, key) => action(0x43472002).storeUint(circuit, 8).storeRef(key).endCell(),
  auditors: (list, commitment) => action(0x43472003).storeBuffer(list).storeUint(commitment, 256).endCell(),
  standards: (hash) => action(0x43472004).storeBuffer(hash).endCell(),
  spendCocoon: (to, amount) => action(0x43472005).storeBuffer(to.hash).storeCoins(amount).endCell(),
  spendTon: (to, amount) => action(0x43472006).storeBuffer(to.hash).storeCoins(amount).endCell(),
};
