// One script, two machines: whatever the embedded chain executes, TON's own emulator executes as well, and both must end the same.
//
// The emulator is given what the chain's code was given: account, message, time, logical time, seed, configuration. But for the first
// account (the faucet) and the messages from outside, all of that comes from the emulator itself: it keeps accounts of its own, and a
// message between accounts is only delivered if the emulator has sent the very same one.
import assert from 'node:assert/strict';
import { Address, Cell, Dictionary, beginCell, loadShardAccount, loadTransaction, parseTuple, storeShardAccount } from '@ton/core';
import { Executor } from '@ton/sandbox';
import { Chain } from './chain.mjs';
import { differences } from './difference.mjs';

const EMPTY = beginCell().store(storeShardAccount({ account: null, lastTransactionHash: 0n, lastTransactionLt: 0n })).endCell();

/// Tags as in the counters: how a transaction ended.
export function outcome(transaction) {
  const { computePhase: compute, actionPhase: action } = transaction.description;
  if (compute?.type === 'skipped') return `skipped ${compute.reason}`;
  if (compute.exitCode !== 0 && compute.exitCode !== 1) return `exit ${compute.exitCode}`;
  return action?.resultCode ? `action ${action.resultCode}` : 'done';
}

/// A transaction's messages as cells, exactly as they stand in it.
export function messagesOf(transaction) {
  const slice = transaction.refs[0].beginParse();
  const inMessage = slice.loadMaybeRef();
  const out = slice.loadDict(Dictionary.Keys.Uint(15), Dictionary.Values.Cell());
  return { inMessage, outMessages: [...out.values()] };
}

export class Pair {
  chain = new Chain();
  /// Every transaction compared: account, parsed transaction, how it ended.
  transactions = [];
  /// Messages from outside that both refused.
  refused = 0;
  now = 1_790_000_000;
  /// Says what an account is about, for the words of a failure.
  describe = () => undefined;
  #accounts = new Map();
  #pending = new Map();
  #executor;
  #config;

  static async start() {
    const pair = new Pair();
    pair.#executor = await Executor.create();
    const { config, faucet } = await pair.chain.ask({ do: 'config' });
    pair.#config = config;
    pair.#accounts.set(faucet, Cell.fromBase64((await pair.chain.ask({ do: 'account', address: faucet })).account));
    return pair;
  }

  async passTime(seconds) {
    this.now += seconds;
    await this.chain.ask({ do: 'time', unix_s: this.now });
  }

  /// Money from the faucet, by a real transfer. Returns the transactions.
  async fund(address, nano) {
    const answer = await this.chain.ask({ do: 'fund', address: raw(address), nano: nano.toString() });
    return this.#follow(answer);
  }

  /// A message from outside, to both. Returns the transactions it caused, or the exit code it was refused with.
  async send(message) {
    const answer = await this.chain.ask({ do: 'send', boc: message.toBoc().toString('base64') });
    if (!answer.refused) return { transactions: await this.#follow(answer, message) };
    const { result } = await this.#run(answer.surroundings, destinationOf(message), message);
    assert.equal(result.success, false, 'the chain refuses what the emulator executes');
    const exitCode = result.vmResults?.vmExitCode ?? null;
    assert.equal(answer.refused.exit_code, exitCode, 'a message from outside is refused with different exit codes');
    this.refused += 1;
    return { exitCode };
  }

  /// The state of an account, which must be the same in both.
  async account(address) {
    const ours = Cell.fromBase64((await this.chain.ask({ do: 'account', address: raw(address) })).account);
    const theirs = this.#account(raw(address));
    assert.equal(ours.hash().toString('hex'), theirs.hash().toString('hex'), `the states of ${raw(address)} differ`);
    return loadShardAccount(ours.beginParse());
  }

  /// Runs a get-method on both. Each says its exit code, its gas and the values it left; nothing if there is a value the API has no words for.
  async ask(address, method, stack = []) {
    const account = await this.account(address);
    const { code, data } = account.account.storage.state.state;
    const body = JSON.stringify({ address: raw(address), method, stack: stack.map(toJson) });
    const { status, json } = await this.chain.ask({ do: 'http', verb: 'POST', target: '/runGetMethod', body });
    const { output } = await this.#executor.runGetMethod({
      code, data, stack, methodId: methodId(method), config: this.#config, verbosity: 'short', address: Address.parse(raw(address)),
      unixTime: this.now, balance: account.account.storage.balance.coins, randomSeed: Buffer.alloc(32), gasLimit: 1_000_000n, debugEnabled: false,
    });
    if (status === 501) return {};
    assert.equal(status, 200, JSON.stringify(json));
    const values = parseTuple(Cell.fromBase64(output.stack));
    return {
      ours: { exit: json.result.exit_code, gas: json.result.gas_used, stack: json.result.stack.map(fromJson).map(shown) },
      theirs: { exit: output.vm_exit_code, gas: Number(output.gas_used), stack: values.map(shown) },
      values,
    };
  }

  /// Runs a get-method on both, which must agree, and returns the values.
  async get(address, method, stack = []) {
    const { ours, theirs, values } = await this.ask(address, method, stack);
    assert.deepEqual(ours, theirs);
    return values;
  }

  async balance(address) {
    return (await this.account(address)).account?.storage.balance.coins ?? 0n;
  }

  /// Compares all accounts that ever had a transaction, sees to it that nothing is under way, and ends.
  async finish() {
    try {
      for (const address of this.#accounts.keys()) await this.account(address);
      assert.equal(this.#pending.size, 0, 'the emulator sent messages that the chain never delivered');
    } finally {
      this.chain.close();
    }
  }

  #account(address) {
    return this.#accounts.get(address) ?? EMPTY;
  }

  #run({ unix_s, lt, seed }, address, message) {
    return this.#executor.runTransaction({
      config: this.#config,
      libs: null,
      verbosity: 'short',
      shardAccount: this.#account(address).toBoc().toString('base64'),
      message,
      now: unix_s,
      lt: BigInt(lt) + 1n,
      randomSeed: Buffer.from(seed, 'hex'),
      ignoreChksig: false,
      debugEnabled: false,
    });
  }

  async #follow(answer, external) {
    const followed = [];
    for (const { surroundings, transactions } of answer.blocks) {
      for (const { account, boc } of transactions) {
        followed.push(await this.#compare(surroundings, account, Cell.fromBase64(boc), external));
      }
    }
    return followed;
  }

  async #compare(surroundings, account, ours, external) {
    const { inMessage } = messagesOf(ours);
    this.#expect(inMessage, external);
    const { result } = await this.#run(surroundings, account, inMessage);
    if (!result.success) assert.fail(`the emulator executes nothing where the chain does: ${result.error}`);
    const theirs = Cell.fromBase64(result.transaction);
    const parsed = loadTransaction(ours.beginParse());
    if (!ours.hash().equals(theirs.hash())) {
      const found = differences(parsed, loadTransaction(theirs.beginParse()));
      const what = this.describe(account) ?? account;
      assert.fail(`transaction ${this.transactions.length} differs (${outcome(parsed)}): ${what}\n${found.join('\n')}`);
    }
    this.#accounts.set(account, Cell.fromBase64(result.shardAccount));
    for (const message of messagesOf(theirs).outMessages) {
      if (message.beginParse().loadBit() === false) this.#pending.set(message.hash().toString('hex'), message);
    }
    const done = { account, transaction: parsed, outcome: outcome(parsed), cell: ours };
    this.transactions.push(done);
    return done;
  }

  /// Takes a message between accounts off those under way; one from outside has to be the one sent.
  #expect(message, external) {
    const internal = message.beginParse().loadBit() === false;
    if (internal) {
      assert.ok(this.#pending.delete(message.hash().toString('hex')), 'the chain delivers a message that the emulator did not send');
    } else if (external) {
      assert.equal(message.hash().toString('hex'), external.hash().toString('hex'));
    }
  }
}

function raw(address) {
  return typeof address === 'string' ? address : address.toRawString();
}

function destinationOf(message) {
  const slice = message.beginParse();
  assert.equal(slice.loadUint(2), 2, 'only messages from outside are sent');
  slice.loadMaybeExternalAddress();
  return slice.loadAddress().toRawString();
}

/// By convention a method is known to its contract by a checksum of its name.
function methodId(name) {
  let crc = 0;
  for (const byte of Buffer.from(name)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc | 0x10000;
}

function toJson({ type, value, cell }) {
  return type === 'int' ? ['num', value.toString()] : [type === 'cell' ? 'tvm.Cell' : 'tvm.Slice', cell.toBoc().toString('base64')];
}

function fromJson([kind, value]) {
  if (kind === 'num') return { type: 'int', value: value.startsWith('-') ? -BigInt(value.slice(1)) : BigInt(value) };
  if (kind === 'cell' || kind === 'slice') return { type: kind, cell: Cell.fromBase64(value.bytes) };
  if (value.elements.length === 0) return { type: 'null' };
  return { type: 'tuple', items: value.elements.map(fromElement) };
}

function fromElement(element) {
  switch (element['@type']) {
    case 'tvm.stackEntryNumber': return { type: 'int', value: BigInt(element.number.number) };
    case 'tvm.stackEntryCell': return { type: 'cell', cell: Cell.fromBase64(element.cell.bytes) };
    case 'tvm.stackEntrySlice': return { type: 'slice', cell: Cell.fromBase64(element.slice.bytes) };
    case 'tvm.stackEntryTuple': return fromJson(['tuple', element.tuple]);
    default: return { type: 'null' };
  }
}

/// A value as text. The API has one word for null and the empty tuple, and says cell for builder.
function shown({ type, value, cell, items }) {
  if (type === 'tuple') return items.length === 0 ? 'null' : `(${items.map(shown).join(' ')})`;
  if (type === 'builder') return `cell ${cell.hash().toString('hex')}`;
  return [type, value ?? cell?.hash().toString('hex') ?? []].flat().join(' ');
}
