// Wallets as people have them, from a seed.
import { SendMode, beginCell, external, internal, storeMessage } from '@ton/core';
import { keyPairFromSeed, sha256_sync } from '@ton/crypto';
import { WalletContractV3R2, WalletContractV4, WalletContractV5R1 } from '@ton/ton';

const VERSIONS = {
  v3r2: (publicKey) => WalletContractV3R2.create({ workchain: 0, publicKey }),
  v4r2: (publicKey) => WalletContractV4.create({ workchain: 0, publicKey }),
  v5r1: (publicKey) => WalletContractV5R1.create({ publicKey, walletId: { networkGlobalId: -777 } }),
};

export const WALLET_VERSIONS = Object.keys(VERSIONS);

export class Wallet {
  seqno = 0;

  constructor(pair, name, version = 'v4r2') {
    this.pair = pair;
    this.keys = keyPairFromSeed(sha256_sync(`wallet ${name}`));
    this.contract = VERSIONS[version](this.keys.publicKey);
    this.address = this.contract.address;
  }

  static async funded(pair, name, nano, version) {
    const wallet = new Wallet(pair, name, version);
    await pair.fund(wallet.address, nano);
    return wallet;
  }

  /// The message from outside that makes the wallet send `messages`.
  message(messages, { seqno = this.seqno, mode = SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS, validUntil, secretKey } = {}) {
    const body = this.contract.createTransfer({
      seqno,
      secretKey: secretKey ?? this.keys.secretKey,
      messages,
      sendMode: mode,
      timeout: validUntil ?? this.pair.now + 60,
    });
    return cellOf(external({ to: this.address, init: this.seqno === 0 ? this.contract.init : undefined, body }));
  }

  /// Sends, expects to be heard, and returns the transactions.
  async send(messages, options) {
    const { transactions, exitCode } = await this.pair.send(this.message([messages].flat(), options));
    if (!transactions) throw new Error(`the wallet refuses with ${exitCode}`);
    // If its messages cannot be sent, the wallet is as it was.
    if (transactions[0].outcome === 'done') this.seqno += 1;
    return transactions;
  }

  /// A message of a value and a body to somebody.
  async call(to, value, body, { bounce = true, init } = {}) {
    return this.send(internal({ to, value, body, bounce, init }));
  }
}

export function cellOf(message) {
  return beginCell().store(storeMessage(message)).endCell();
}
