// The provider contract's messages and orders, as `messages.tolk` lays them out.
import { beginCell, external } from '@ton/core';
import { sign } from '@ton/crypto';
import { NETWORK, deployed, keysOf, op } from './contract.mjs';
import { cellOf } from './wallet.mjs';

/// What is the same for all providers of a network.
export function networkTerms({ vault, dispute, rewards, network = NETWORK, feeBps = 500, unbondSeconds = 259_200, epochSeconds = 86_400, answerSeconds = 600 }) {
  return {
    feeBps,
    cell: beginCell().storeInt(network, 32).storeBuffer(vault.hash).storeBuffer(dispute.hash).storeBuffer(rewards.hash).storeUint(feeBps, 16)
      .storeUint(unbondSeconds, 32).storeUint(epochSeconds, 32).storeUint(answerSeconds, 32).endCell(),
  };
}

export class Provider {
  number = 0;

  constructor({ owner, terms, keys = keysOf('provider'), resourceClass = 0 }) {
    this.keys = keys;
    const poke = beginCell().storeUint(0, 256).storeUint(0, 32).endCell();
    const stake = beginCell().storeBuffer(keys.publicKey).storeCoins(0).storeCoins(0).storeCoins(0).storeUint(0, 32).storeCoins(0)
      .storeRef(poke).endCell();
    const closed = beginCell().storeUint(0, 32).storeCoins(0).storeCoins(0).endCell();
    const rewards = beginCell().storeCoins(0).storeUint(0, 64).storeBit(false).storeBit(false).storeCoins(0).storeCoins(0).storeUint(0, 64).endCell();
    const own = beginCell().storeBuffer(owner.hash).storeBuffer(keys.publicKey).storeUint(resourceClass, 8).storeRef(terms.cell).endCell();
    const data = beginCell().storeUint(0, 32).storeUint(0, 32).storeUint(0, 16).storeUint(terms.feeBps, 16).storeCoins(0).storeCoins(0)
      .storeCoins(0).storeUint(0, 64).storeUint(0, 256).storeUint(0, 32).storeCoins(0)
      .storeRef(closed).storeRef(stake).storeRef(rewards).storeRef(own).endCell();
    Object.assign(this, deployed('provider', data));
  }

  stake(amount, bond = 0n) {
    return op(0x43500001).storeCoins(amount).storeCoins(bond).endCell();
  }

  unbond(amount, bond = 0n) {
    return op(0x43500002).storeCoins(amount).storeCoins(bond).endCell();
  }

  withdraw() {
    return op(0x43500003).endCell();
  }

  attest({ epoch, circuit = 1, lo, hi, fees, proof }) {
    return op(0x4350000a).storeUint(epoch, 32).storeUint(circuit, 8).storeUint(lo, 64).storeUint(hi, 64).storeUint(fees, 64).storeRef(proof).endCell();
  }

  collectReward(epoch) {
    return op(0x4350000b).storeUint(epoch, 32).endCell();
  }

  takeReward() {
    return op(0x4350000c).endCell();
  }

  withdrawOperations(amount) {
    return op(0x43500004).storeCoins(amount).endCell();
  }

  setOperator(key) {
    return op(0x43500005).storeBuffer(key).endCell();
  }

  slash(amount, to) {
    return op(0x43500006).storeCoins(amount).storeBuffer(to.hash).endCell();
  }

  poke() {
    return op(0x43500007).endCell();
  }

  pokeOver() {
    return op(0x43500008).endCell();
  }

  flush() {
    return op(0x43500009).endCell();
  }

  /// Claims as `[channel, body]`; `change` replaces parts of the order.
  batch(claims, { count = claims.length, list = claimList(claims), ...change } = {}) {
    return this.order(beginCell().storeUint(0x43504001, 32).storeUint(count, 8).storeRef(list).endCell(), change);
  }

  allocate(amount, change) {
    return this.order(beginCell().storeUint(0x43504002, 32).storeCoins(amount).endCell(), change);
  }

  alive(change) {
    return this.order(beginCell().storeUint(0x43504003, 32).endCell(), change);
  }

  /// The operator's message from outside. The rest of `change` replaces parts of it, `signed` only of what is signed; `keys` signs.
  order(command, { keys = this.keys, number = this.number, validUntil = 0xffffffff, tag = 'CCO1', network = NETWORK, contract = this.address.hash, signed = {} } = {}) {
    const order = beginCell().storeBuffer(Buffer.from(tag)).storeInt(network, 32).storeBuffer(contract)
      .storeUint(signed.number ?? number, 32).storeUint(signed.validUntil ?? validUntil, 32).storeBuffer((signed.command ?? command).hash()).endCell();
    const body = beginCell().storeBuffer(sign(order.beginParse().loadBuffer(80), keys.secretKey))
      .storeUint(number, 32).storeUint(validUntil, 32).storeRef(command).endCell();
    return cellOf(external({ to: this.address, body }));
  }
}

/// A node for each claim, and a reference to the next: the requester's key, the hash of the channel's close terms, the claim.
function claimList([[channel, body], ...more]) {
  const node = beginCell().storeBuffer(channel.requesterKeys.publicKey).storeBuffer(channel.closeTerms.hash()).storeRef(body);
  return (more.length > 0 ? node.storeRef(claimList(more)) : node).endCell();
}
