// TON's emulator alone, behind the same words as `Pair`: the same scripts then run without the embedded chain, and nothing is compared.
import { Address, internal, loadMessage } from '@ton/core';
import { Blockchain, Executor } from '@ton/sandbox';
import { configOf2026 } from './prices.mjs';
import { outcome } from './pair.mjs';

const FAUCET = new Address(0, Buffer.alloc(32, 0xfa));

export class Sandbox {
  transactions = [];
  refused = 0;
  /// What came out of nowhere.
  granted = 0n;
  now = 1_790_000_000;
  chain = { close: () => {} };
  static #executor;
  #blockchain;

  static async start() {
    const sandbox = new Sandbox();
    Sandbox.#executor ??= await Executor.create();
    sandbox.#blockchain = await Blockchain.create({ config: configOf2026(), executor: Sandbox.#executor });
    sandbox.#blockchain.now = sandbox.now;
    return sandbox;
  }

  /// Remembers how things stand, and returns what brings that back.
  keep() {
    const [snapshot, kept, now, granted] = [this.#blockchain.snapshot(), [...this.transactions], this.now, this.granted];
    return async () => {
      await this.#blockchain.loadFrom(snapshot);
      Object.assign(this, { transactions: [...kept], now, granted });
    };
  }

  async passTime(seconds) {
    this.now += seconds;
    this.#blockchain.now = this.now;
  }

  /// Money out of nowhere, by a real transfer.
  async fund(address, nano) {
    return this.inject({ to: typeof address === 'string' ? Address.parse(address) : address, value: nano, bounce: false });
  }

  /// A message between accounts that nobody sent. Only here: a chain has none.
  async inject({ from = FAUCET, bounced = false, ...message }) {
    const cell = internal(message);
    this.granted += cell.info.value.coins;
    const { transactions } = await this.#blockchain.sendMessage({ ...cell, info: { ...cell.info, src: from, bounced } });
    return this.#followed(transactions);
  }

  async send(message) {
    try {
      const { transactions } = await this.#blockchain.sendMessage(loadMessage(message.beginParse()));
      return { transactions: this.#followed(transactions) };
    } catch (error) {
      // An account that cannot pay for the message's import does not run at all.
      if (error.exitCode === undefined && !error.message.includes('before smart-contract execution')) throw error;
      this.refused += 1;
      return { exitCode: error.exitCode ?? null };
    }
  }

  async account(address) {
    return (await this.#blockchain.getContract(parsed(address))).account;
  }

  async get(address, method, stack = []) {
    try {
      return (await this.#blockchain.runGetMethod(parsed(address), method, stack)).stack;
    } catch (error) {
      if (error.exitCode === undefined) throw error;
      return [];
    }
  }

  async balance(address) {
    return (await this.#blockchain.getContract(parsed(address))).balance;
  }

  async finish() {}

  #followed(transactions) {
    const followed = transactions.map((transaction) => ({
      account: new Address(0, Buffer.from(transaction.address.toString(16).padStart(64, '0'), 'hex')).toRawString(),
      transaction,
      outcome: outcome(transaction),
      cell: transaction.raw,
    }));
    this.transactions.push(...followed);
    return followed;
  }
}

function parsed(address) {
  return typeof address === 'string' ? Address.parse(address) : address;
}
