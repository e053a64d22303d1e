// The vault's messages, as `messages.tolk` lays them out.
import { beginCell } from '@ton/core';
import { NETWORK, deployed, op } from './contract.mjs';

export class Vault {
  constructor({ treasury, network = NETWORK }) {
    const data = beginCell().storeCoins(0).storeCoins(0).storeCoins(0).storeCoins(0).storeBuffer(treasury.hash).storeInt(network, 32).endCell();
    Object.assign(this, deployed('vault', data));
  }

  fee(amount) {
    return op(0x43560001).storeCoins(amount).endCell();
  }

  payTreasury() {
    return op(0x43560002).endCell();
  }
}
