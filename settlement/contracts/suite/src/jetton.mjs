// COCOON's minter and wallets: their states and messages, as `messages.tolk` lays them out.
import { Dictionary, beginCell, contractAddress } from '@ton/core';
import { sha256_sync } from '@ton/crypto';
import { NETWORK, codeOf, deployed, op } from './contract.mjs';

export const COCOON = 1_000_000_000n;
/// What the code makes of it all, in whole COCOON.
export const PARTS = { reserve: 320_000_000n, treasury: 20_000_000n, stakers: 40_000_000n, opening: 20_000_000n };
export const CAP = 400_000_000n * COCOON;

const ABOUT = {
  name: 'Cocoon Swarm',
  symbol: 'COCOON',
  decimals: '9',
  description: 'Burned by the fees of verified AI work, and released for it.',
};

/// TEP-64: on chain, each value behind a reference and a zero byte.
export function content(about = ABOUT) {
  const values = Dictionary.empty(Dictionary.Keys.Buffer(32), Dictionary.Values.Cell());
  for (const [key, text] of Object.entries(about)) values.set(sha256_sync(key), beginCell().storeUint(0, 8).storeStringTail(text).endCell());
  return beginCell().storeUint(0, 8).storeDict(values).endCell();
}

/// An empty payload for whoever is told of a transfer.
export const NOTHING = beginCell().storeBit(false).endCell();

export class Minter {
  constructor({ founder, network = NETWORK, walletCode = codeOf('jetton-wallet') }) {
    this.walletCode = walletCode;
    const data = beginCell().storeCoins(0).storeBuffer(founder.hash).storeRef(content()).storeRef(walletCode).storeInt(network, 32).endCell();
    Object.assign(this, deployed('jetton-minter', data));
  }

  genesis({ reserve, treasury, stakers, opening }) {
    return op(0x434a0001).storeBuffer(reserve.hash).storeBuffer(treasury.hash)
      .storeRef(beginCell().storeBuffer(stakers.hash).storeBuffer(opening.hash).endCell()).endCell();
  }

  burned(amount, owner, excessesTo = null) {
    return op(0x7bdd97de).storeCoins(amount).storeAddress(owner).storeAddress(excessesTo).endCell();
  }

  whereIs(owner, includeOwner = true) {
    return op(0x2c76b973).storeAddress(owner).storeBit(includeOwner).endCell();
  }

  /// The wallet of an owner.
  wallet(owner) {
    return new JettonWallet(this, owner);
  }
}

export class JettonWallet {
  constructor(minter, owner) {
    this.owner = owner;
    this.init = { code: minter.walletCode, data: beginCell().storeCoins(0).storeAddress(owner).storeAddress(minter.address).endCell() };
    this.address = contractAddress(0, this.init);
  }

  transfer(amount, recipient, { excessesTo = this.owner, forward = 0n, payload = NOTHING, custom = null } = {}) {
    return op(0x0f8a7ea5).storeCoins(amount).storeAddress(recipient).storeAddress(excessesTo).storeMaybeRef(custom).storeCoins(forward)
      .storeSlice(payload.beginParse()).endCell();
  }

  internalTransfer(amount, from, { excessesTo = null, forward = 0n, payload = NOTHING } = {}) {
    return op(0x178d4519).storeCoins(amount).storeAddress(from).storeAddress(excessesTo).storeCoins(forward).storeSlice(payload.beginParse()).endCell();
  }

  burn(amount, { excessesTo = this.owner, custom = null } = {}) {
    return op(0x595f07bc).storeCoins(amount).storeAddress(excessesTo).storeMaybeRef(custom).endCell();
  }
}

/// A payload behind a reference.
export function referred(cell) {
  return beginCell().storeBit(true).storeRef(cell).endCell();
}

