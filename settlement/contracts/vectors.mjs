// Writes the golden vectors of tests/vectors with @ton/core, so that Rust's cells are held against an implementation of their own.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Address, Cell, Dictionary, beginCell, contractAddress } from '@ton/core';

const contracts = dirname(fileURLToPath(import.meta.url));
const to = join(contracts, '..', 'tests', 'vectors');
const check = process.argv.includes('--check');
const fill = (byte, length) => Buffer.alloc(length, byte);
const hash256 = (byte) => fill(byte, 32);

const QUERY = 0x0102030405060708n;
const DEVNET = -777;
const here = hash256(0xcc);

const boc = (cell) => cell.toBoc({ idx: false, crc32: false }).toString('hex');
const hash = (cell) => cell.hash().toString('hex');
const vectorOf = (cell) => ({ hash: hash(cell), boc: boc(cell) });

const message = (op) => beginCell().storeUint(op, 32).storeUint(QUERY, 64);
const statement = (tag) => beginCell().storeBuffer(Buffer.from(tag)).storeInt(DEVNET, 32).storeBuffer(here).storeUint(3, 64).storeUint(123456789, 128);

// ---- channel

// requester's key 1, provider's contract 4, network; provider's key 2, requester 3, salt 6, window 86,400 s.
const pay = beginCell().storeBuffer(hash256(1)).storeBuffer(hash256(4)).storeInt(DEVNET, 32).endCell();
const close = beginCell().storeBuffer(hash256(2)).storeBuffer(hash256(3)).storeBuffer(hash256(6)).storeUint(86400, 32).endCell();
const channelData = (status, deadline, deposit, drawn, sequence, root) => beginCell()
  .storeUint(status, 8).storeUint(deadline, 32).storeCoins(deposit).storeCoins(drawn).storeUint(sequence, 64).storeBuffer(root)
  .storeRef(pay).storeRef(close).endCell();

const claim = message(0x43430002).storeBuffer(fill(0xee, 64)).storeRef(statement('CCV1').storeBuffer(hash256(0xdd)).endCell()).endCell();

// ---- provider

// network, vault 0x21, dispute 0x22, rewards 0x23, 500 bps, unbonding 259,200 s, epoch 86,400 s, answer 600 s.
const networkTerms = beginCell().storeInt(DEVNET, 32).storeBuffer(hash256(0x21)).storeBuffer(hash256(0x22)).storeBuffer(hash256(0x23)).storeUint(500, 16)
  .storeUint(259200, 32).storeUint(86400, 32).storeUint(600, 32).endCell();
// owner 0x31, operator's key 0x32, class 2.
const providerTerms = beginCell().storeBuffer(hash256(0x31)).storeBuffer(hash256(0x32)).storeUint(2, 8).storeRef(networkTerms).endCell();

const providerData = ({ number, batch, outstanding, earnings, fees, feesCum, claims, head, epochEnds, paid, closed, stake, rewards }) => beginCell()
  .storeUint(number, 32).storeUint(batch, 32).storeUint(outstanding, 16).storeUint(500, 16)
  .storeCoins(earnings).storeCoins(fees).storeCoins(feesCum).storeUint(claims, 64).storeBuffer(head).storeUint(epochEnds, 32).storeCoins(paid)
  .storeRef(closed).storeRef(stake).storeRef(rewards).storeRef(providerTerms).endCell();
const closedEpoch = (ended, paid, backed) => beginCell().storeUint(ended, 32).storeCoins(paid).storeCoins(backed).endCell();
const stakeState = ({ key, total, allocated, unbonding, unbondAt, bond, by, deadline }) => beginCell()
  .storeBuffer(key).storeCoins(total).storeCoins(allocated).storeCoins(unbonding).storeUint(unbondAt, 32).storeCoins(bond)
  .storeRef(beginCell().storeBuffer(by).storeUint(deadline, 32).endCell()).endCell();

// Fees by epoch: booked, claimed for, and what that burned.
const rewardState = ({ credit, last, pending, epochs, free, locked, since, until }) => {
  const fees = Dictionary.empty(Dictionary.Keys.Uint(32), {
    serialize: (amounts, builder) => amounts.forEach((amount) => builder.storeCoins(amount)),
    parse: () => [],
  });
  for (const [epoch, amounts] of Object.entries(epochs)) fees.set(Number(epoch), amounts);
  return beginCell().storeCoins(credit).storeUint(last, 64).storeBit(pending).storeDict(fees).storeCoins(free).storeCoins(locked)
    .storeUint(since, 32).storeUint(until, 32).endCell();
};

const providerInitial = providerData({
  number: 0, batch: 0, outstanding: 0, earnings: 0, fees: 0, feesCum: 0, claims: 0, head: hash256(0), epochEnds: 0, paid: 0,
  closed: closedEpoch(0, 0, 0),
  stake: stakeState({ key: hash256(0x32), total: 0, allocated: 0, unbonding: 0, unbondAt: 0, bond: 0, by: hash256(0), deadline: 0 }),
  rewards: rewardState({ credit: 0, last: 0, pending: false, epochs: {}, free: 0, locked: 0, since: 0, until: 0 }),
});
const providerUsed = providerData({
  number: 8, batch: 7, outstanding: 3, earnings: 950000001n, fees: 50000002n, feesCum: 60000003n, claims: 77, head: hash256(0xab),
  epochEnds: 1800000000, paid: 1200000004n,
  closed: closedEpoch(1799913600, 3000000005n, 4000000006n),
  stake: stakeState({
    key: hash256(0x33), total: 10000000007n, allocated: 4000000008n, unbonding: 5000000009n, unbondAt: 1800200000, bond: 1000000010n,
    by: hash256(0x34), deadline: 1800000600,
  }),
  rewards: rewardState({
    credit: 11n, last: 12, pending: true, epochs: { 40: [13n, 14n, 15n], 41: [16n, 0n, 0n], 42: [17n, 18n, 0n] }, free: 19n, locked: 20n,
    since: 1800000001, until: 1807776001,
  }),
});

const command = (op) => beginCell().storeUint(op, 32);
// Four claims by the requesters' keys 0xa0 .. 0xa3, close terms 0xb0 .. 0xb3, all with the voucher of `claim` and with query id 7.
const batched = beginCell().storeUint(0x43430002, 32).storeUint(7, 64).storeBuffer(fill(0xee, 64)).storeRef(claim.refs[0]).endCell();
const claimList = (from, to) => {
  const node = beginCell().storeBuffer(hash256(0xa0 + from)).storeBuffer(hash256(0xb0 + from)).storeRef(batched);
  return (from + 1 < to ? node.storeRef(claimList(from + 1, to)) : node).endCell();
};
const batch = command(0x43504001).storeUint(4, 8).storeRef(claimList(0, 4)).endCell();
// Number 7, valid until 1,800,000,000, from the contract 0xcc. The signature of the message is 64 times 0xee.
const order = beginCell().storeBuffer(Buffer.from('CCO1')).storeInt(DEVNET, 32).storeBuffer(here).storeUint(7, 32).storeUint(1800000000, 32)
  .storeBuffer(batch.hash()).endCell();
const operatorMessage = beginCell().storeBuffer(fill(0xee, 64)).storeUint(7, 32).storeUint(1800000000, 32).storeRef(batch).endCell();

// ---- vault

// treasury's account 0x41, registry 0x42, network, minter 0x43, rewards 0x44, epochs of a day.
const vaultTerms = beginCell().storeBuffer(hash256(0x41)).storeBuffer(hash256(0x42)).storeInt(DEVNET, 32).storeUint(86400, 32)
  .storeRef(beginCell().storeBuffer(hash256(0x43)).storeBuffer(hash256(0x44)).endCell()).endCell();
const all = (cell, amounts) => amounts.reduce((to, amount) => to.storeCoins(amount), cell);
const sale = ({ amounts, seconds, next, discount, rates, median }) => all(beginCell(), amounts).storeUint(seconds, 32).storeUint(next, 32)
  .storeUint(discount, 16).storeRef(all(beginCell(), rates).endCell()).storeCoins(median).endCell();
const vaultData = ({ amounts, epoch, opened, auditors, treasury, auction }) => all(beginCell(), amounts).storeUint(epoch, 32).storeUint(opened, 32)
  .storeUint(auditors, 16).storeUint(treasury, 16).storeRef(auction).storeRef(vaultTerms).endCell();
const vaultInitial = vaultData({
  amounts: [0, 0, 0, 0, 0, 0], epoch: 0, opened: 0, auditors: 2000, treasury: 1000,
  auction: sale({ amounts: [0, 0, 0, 0, 0], seconds: 0, next: 72000, discount: 1000, rates: Array(7).fill(50000000000n), median: 50000000000n }),
});
// Waiting, unsold, auditors, treasury, all fees, those of the epoch; then fees, own part, lot, paid, unburned, and rates whose median is the fourth.
const vaultUsed = vaultData({
  amounts: [700000001n, 600000005n, 200000002n, 100000003n, 1100000004n, 900000006n], epoch: 9, opened: 1800000000, auditors: 2100, treasury: 900,
  auction: sale({
    amounts: [1000000007n, 500000008n, 800000009n, 4000000010n, 5000000011n], seconds: 72000, next: 71000, discount: 900,
    rates: [10n, 70n, 20n, 60n, 30n, 50n, 40n], median: 40n,
  }),
});

// ---- COCOON

const account = (byte) => new Address(0, hash256(byte));
const codeOf = (name) => Cell.fromBase64(JSON.parse(readFileSync(join(contracts, 'build', `${name}.json`), 'utf8')).code);
// The minter's account 0x52, owner 0x51, recipient 0x53, founder 0x54.
const walletData = (balance) => beginCell().storeCoins(balance).storeAddress(account(0x51)).storeAddress(account(0x52)).endCell();
const about = Dictionary.empty(Dictionary.Keys.Buffer(32), Dictionary.Values.Cell());
for (const [key, text] of Object.entries({
  name: 'Cocoon Swarm', symbol: 'COCOON', decimals: '9', description: 'Burned by the fees of verified AI work, and released for it.',
})) about.set(createHash('sha256').update(key).digest(), beginCell().storeUint(0, 8).storeStringTail(text).endCell());
const minterData = (supply, founder) => beginCell().storeCoins(supply).storeBuffer(hash256(founder))
  .storeRef(beginCell().storeUint(0, 8).storeDict(about).endCell()).storeRef(codeOf('jetton-wallet')).storeInt(DEVNET, 32).endCell();
const told = beginCell().storeUint(0xabcdef, 32).endCell();

const NANO = 1000000000n;
const messages = {
  deposit: message(0x43430001).storeCoins(NANO).endCell(),
  claim,
  close_unilateral: message(0x43430003).endCell(),
  finish_close: message(0x43430004).endCell(),
  close_cooperative: message(0x43430005).storeBuffer(fill(0xee, 64))
    .storeRef(beginCell().storeBuffer(fill(0xff, 64)).storeRef(statement('CCC1').endCell()).endCell()).endCell(),
  // Drawn from 100,000,000 to 123,456,789, root 0xdd; the hashes are those of the terms above.
  channel_paid: message(0x43430101).storeCoins(100000000n).storeCoins(123456789n).storeBuffer(hash256(0xdd)).storeBuffer(pay.hash())
    .storeBuffer(close.hash()).endCell(),
  channel_refund: message(0x43430103).endCell(),
  stake: message(0x43500001).storeCoins(10n * NANO).storeCoins(NANO).endCell(),
  unbond: message(0x43500002).storeCoins(5n * NANO).storeCoins(NANO).endCell(),
  withdraw: message(0x43500003).endCell(),
  withdraw_operations: message(0x43500004).storeCoins(2n * NANO).endCell(),
  set_operator: message(0x43500005).storeBuffer(hash256(0x33)).endCell(),
  slash: message(0x43500006).storeCoins(3n * NANO).storeBuffer(hash256(0x35)).endCell(),
  poke: message(0x43500007).endCell(),
  poke_over: message(0x43500008).endCell(),
  flush: message(0x43500009).endCell(),
  batch,
  allocate: command(0x43504002).storeCoins(4n * NANO).endCell(),
  alive: command(0x43504003).endCell(),
  operator_message: operatorMessage,
  fee: message(0x43560001).storeCoins(50000002n).storeCoins(40000001n).endCell(),
  fee_booked: message(0x43560102).storeUint(41, 32).storeCoins(50000002n).storeCoins(30000003n).storeCoins(10000004n).endCell(),
  bought: message(0x43560104).storeCoins(5n * NANO).storeCoins(250n * NANO).endCell(),
  epoch_sold: all(message(0x43520001).storeUint(41, 32), [1n, 2n, 3n, 4n, 5n]).endCell(),
  close_epoch: message(0x43560004).endCell(),
  bid: beginCell().storeUint(0x43560010, 32).storeUint(NANO, 64).endCell(),
  fee_in_cocoon: beginCell().storeUint(0x43560011, 32).storeBuffer(hash256(0x45)).endCell(),
  earnings: message(0x43500101).endCell(),
  withdrawn: message(0x43500102).endCell(),
  slashed: message(0x43500103).endCell(),
  poke_reward: message(0x43500104).endCell(),
  pay_treasury: message(0x43560002).endCell(),
  treasury_share: message(0x43560101).endCell(),
  excesses: message(0xd53276db).endCell(),
  jetton_transfer: message(0x0f8a7ea5).storeCoins(3n * NANO).storeAddress(account(0x53)).storeAddress(account(0x51)).storeBit(false)
    .storeCoins(20000000n).storeBit(true).storeRef(told).endCell(),
  jetton_transfer_quiet: message(0x0f8a7ea5).storeCoins(3n * NANO).storeAddress(account(0x53)).storeAddress(account(0x51)).storeBit(false)
    .storeCoins(0n).storeBit(false).endCell(),
  jetton_burn: message(0x595f07bc).storeCoins(3n * NANO).storeAddress(account(0x51)).storeBit(false).endCell(),
  genesis: message(0x434a0001).storeBuffer(hash256(0x61)).storeBuffer(hash256(0x62))
    .storeRef(beginCell().storeBuffer(hash256(0x63)).storeBuffer(hash256(0x64)).endCell()).endCell(),
  // No messages, but cells that addresses depend on.
  network_terms: networkTerms,
  provider_terms: providerTerms,
};

const states = (initial, used) => ({ initial_data: boc(initial), initial_data_hash: hash(initial), data: boc(used), data_hash: hash(used) });
const initial = {
  channel: channelData(0, 0, 0n, 0n, 0, hash256(0)), provider: providerInitial, vault: vaultInitial,
  'jetton-wallet': walletData(0n), 'jetton-minter': minterData(0n, 0x54),
};

/// Where a contract with that data lives. Changes with every change of the code.
function addressOf(name, data) {
  return contractAddress(0, { code: codeOf(name), data }).hash.toString('hex');
}

const vectors = {
  channel: states(initial.channel, channelData(1, 1800000000, 2000000000n, 123456789n, 3, hash256(0xdd))),
  provider: states(initial.provider, providerUsed),
  vault: states(initial.vault, vaultUsed),
  jetton_wallet: states(initial['jetton-wallet'], walletData(123456789n)),
  addresses: Object.fromEntries(Object.entries(initial).map(([name, data]) => [name, addressOf(name, data)])),
  /// The bytes that an operator signs for the batch above.
  operator_order: { bytes: order.beginParse().loadBuffer(80).toString('hex') },
};
for (const [name, cell] of Object.entries(messages)) vectors[name] = vectorOf(cell);

let failed = false;
for (const [name, vector] of Object.entries(vectors)) {
  const file = join(to, `${name}.json`);
  const text = `${JSON.stringify(vector, null, 2)}\n`;
  if (check) {
    const same = readFileSync(file, 'utf8') === text;
    if (!same) console.log(`${name}: differs from what is committed`);
    failed ||= !same;
  } else {
    writeFileSync(file, text);
  }
}
process.exit(failed ? 1 : 0);
