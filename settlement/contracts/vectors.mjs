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

const all = (cell, amounts) => amounts.reduce((to, amount) => to.storeCoins(amount), cell);
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

// ---- rewards, registry, governor, lock

const dictionary = (bits, entries, serialize) => {
  const to = Dictionary.empty(Dictionary.Keys.Uint(bits), { serialize, parse: () => null });
  for (const [key, value] of Object.entries(entries)) to.set(Number(key), value);
  return to;
};
const coins = (amounts, builder) => all(builder, amounts);
const cells = (entries) => dictionary(8, entries, (cell, builder) => builder.storeRef(cell));
// No keys, but cells where keys are.
const someKey = (byte) => beginCell().storeBuffer(hash256(byte)).endCell();
const NOBODY = hash256(0);
const whom = (vault, registry, governor, minter) => beginCell().storeBuffer(vault).storeBuffer(registry)
  .storeRef(beginCell().storeBuffer(governor).storeBuffer(minter).endCell()).endCell();

// Founder 0x54, half-life 730; the first rate is that of the schedule.
const rewardsData = ({ epoch, amounts, stopped, isOpen, claims, payouts, commitment, keys, founder, providers, fee, whom }) => all(beginCell().storeUint(epoch, 32), amounts)
  .storeUint(stopped, 32)
  .storeRef(all(beginCell().storeBit(isOpen).storeUint(claims[0], 32), claims.slice(1)).endCell())
  .storeDict(dictionary(32, payouts, coins))
  .storeRef(beginCell().storeBuffer(commitment).storeDict(cells(keys)).endCell())
  .storeRef(beginCell().storeBuffer(founder).storeInt(DEVNET, 32).storeUint(730, 32).storeBuffer(providers).storeUint(fee, 16).storeRef(whom).endCell())
  .endCell();
const firstRate = 320000000n * 1000000000n / 1460n;
const rewardsInitial = rewardsData({
  epoch: 0, amounts: [0n, 0n, firstRate, 0n, 0n], stopped: 0, isOpen: false, claims: [0, 0n, 0n, 0n, 0n], payouts: {}, commitment: hash256(0x55),
  keys: { 1: someKey(0x56) }, founder: hash256(0x54), providers: NOBODY, fee: 0, whom: whom(NOBODY, NOBODY, NOBODY, NOBODY),
});
const introduced = whom(hash256(0x21), hash256(0x42), hash256(0x46), hash256(0x43));
const rewardsUsed = rewardsData({
  epoch: 7, amounts: [21n, 22n, 23n, 24n, 25n], stopped: 1800000007, isOpen: true, claims: [41, 26n, 27n, 28n, 29n],
  payouts: { 39: [31n, 32n, 33n], 40: [34n, 35n, 36n] }, commitment: hash256(0x57), keys: { 1: someKey(0x56), 3: someKey(0x58) }, founder: NOBODY,
  providers: networkTerms.hash(), fee: 500, whom: introduced,
});

const auditorSet = (list, commitment) => beginCell().storeBuffer(hash256(list)).storeBuffer(hash256(commitment));
const registryData = ({ standards, parameters, keys, auditors, founder, vault, rewards }) => beginCell().storeBuffer(standards).storeInt(DEVNET, 32)
  .storeBuffer(hash256(0x46)).storeDict(dictionary(8, parameters, ([value, since], to) => to.storeUint(value, 64).storeUint(since, 32))).storeDict(cells(keys))
  .storeRef(auditors).storeRef(beginCell().storeBuffer(founder).storeBuffer(vault).storeBuffer(rewards).endCell()).endCell();
const registryInitial = registryData({
  standards: NOBODY, parameters: {}, keys: { 1: someKey(0x56), 9: someKey(0x59) }, auditors: auditorSet(0x5a, 0x55).storeBit(false).endCell(),
  founder: hash256(0x54), vault: NOBODY, rewards: NOBODY,
});
const registryUsed = registryData({
  standards: hash256(0x5b), parameters: { 0: [4000, 1800000001], 8: [900, 1800000002] }, keys: {},
  auditors: auditorSet(0x5a, 0x55).storeBit(true).storeRef(auditorSet(0x5c, 0x5d).endCell()).endCell(),
  founder: NOBODY, vault: hash256(0x21), rewards: hash256(0x44),
});

// Minter 0x43, guardian 0x47, start 1,800,000,000.
const governorTerms = beginCell().storeInt(DEVNET, 32).storeBuffer(hash256(0x43)).storeBuffer(hash256(0x47)).storeUint(1800000000, 32)
  .storeRef(codeOf('lock')).endCell();
const decision = (its, to) => all(to.storeUint(its.class, 8).storeBit(its.done).storeUint(its.proposed, 32), its.votes).storeBuffer(its.action);
const governorData = ({ next, stopped, locked, spent, weeks, proposals, founder, registry, rewards }) => beginCell().storeUint(next, 32).storeUint(stopped, 32)
  .storeCoins(locked).storeCoins(spent).storeDict(dictionary(32, weeks, coins)).storeDict(dictionary(32, proposals, decision))
  .storeRef(beginCell().storeBuffer(founder).storeBuffer(registry).storeBuffer(rewards).endCell()).storeRef(governorTerms).endCell();
const governorInitial = governorData({
  next: 0, stopped: 0, locked: 0n, spent: 0n, weeks: {}, proposals: {}, founder: hash256(0x54), registry: NOBODY, rewards: NOBODY,
});
const governorUsed = governorData({
  next: 5, stopped: 1800000009, locked: 61n, spent: 62n, weeks: { 2990: [63n], 2999: [64n] },
  proposals: {
    3: { class: 1, done: true, proposed: 1800000003, votes: [65n, 66n, 67n], action: hash256(0x5e) },
    4: { class: 2, done: false, proposed: 1800000004, votes: [68n, 69n, 70n], action: hash256(0x5f) },
  },
  founder: NOBODY, registry: hash256(0x42), rewards: hash256(0x44),
});

// Owner 0x51, governor 0x46.
const lockData = ({ amount, owed, week, since, ballots }) => beginCell().storeCoins(amount).storeCoins(owed).storeUint(week, 32).storeUint(since, 32)
  .storeDict(dictionary(32, ballots, (until, to) => to.storeUint(until, 32))).storeBuffer(hash256(0x51)).storeBuffer(hash256(0x46)).endCell();
const lockInitial = lockData({ amount: 0n, owed: 0n, week: 0, since: 0, ballots: {} });
const NOT_YET = 0xffffffff;
const lockUsed = lockData({ amount: 71n, owed: 72n, week: 2999, since: NOT_YET, ballots: { 3: 1800000005, 4: NOT_YET } });

const actions = {
  set_parameter: beginCell().storeUint(0x43472001, 32).storeUint(8, 8).storeUint(900, 64).endCell(),
  set_verifying_key: beginCell().storeUint(0x43472002, 32).storeUint(3, 8).storeRef(someKey(0x58)).endCell(),
  set_auditors: beginCell().storeUint(0x43472003, 32).storeBuffer(hash256(0x5c)).storeBuffer(hash256(0x5d)).endCell(),
  set_standards: beginCell().storeUint(0x43472004, 32).storeBuffer(hash256(0x5b)).endCell(),
  spend_cocoon: beginCell().storeUint(0x43472005, 32).storeBuffer(hash256(0x35)).storeCoins(3000000000n).endCell(),
  spend_ton: beginCell().storeUint(0x43472006, 32).storeBuffer(hash256(0x35)).storeCoins(2000000000n).endCell(),
};
// A 48 times 0xa1, B 96 times 0xb1, C 48 times 0xc1.
const proof = beginCell().storeBuffer(fill(0xa1, 48)).storeBuffer(fill(0xc1, 48)).storeRef(beginCell().storeBuffer(fill(0xb1, 96)).endCell()).endCell();

const NANO = 1000000000n;
const messages = {
  ...actions,
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
  attest: message(0x4350000a).storeUint(41, 32).storeUint(1, 8).storeUint(3, 64).storeUint(9, 64).storeUint(50000002, 64).storeRef(proof).endCell(),
  collect_reward: message(0x4350000b).storeUint(41, 32).endCell(),
  take_reward: message(0x4350000c).endCell(),
  registered: message(0x43520102).storeUint(41, 32).storeCoins(81n).endCell(),
  rewarded: message(0x43520103).storeUint(41, 32).storeCoins(82n).endCell(),
  fee_credit: message(0x43560103).storeCoins(83n).endCell(),
  proposed: message(0x43470101).storeUint(5, 32).endCell(),
  spent: message(0x43470102).endCell(),
  introduce_rewards: message(0x43520005).storeBuffer(networkTerms.hash()).storeUint(500, 16).storeRef(introduced).endCell(),
  introduce_registry: message(0x434e0001).storeBuffer(hash256(0x21)).storeBuffer(hash256(0x44)).endCell(),
  prove_auditors: message(0x434e0003).storeUint(1, 8).storeRef(someKey(0x5c)).storeRef(proof).endCell(),
  tell_parameter: message(0x434e0004).storeUint(8, 8).endCell(),
  tell_key: message(0x434e0004).storeUint(64 + 9, 8).endCell(),
  tell_auditors: message(0x434e0004).storeUint(128, 8).endCell(),
  introduce_governor: message(0x43470002).storeBuffer(hash256(0x42)).storeBuffer(hash256(0x44)).endCell(),
  execute: message(0x43470003).storeUint(5, 32).storeRef(actions.set_parameter).endCell(),
  stop: message(0x43470004).endCell(),
  lengthen: message(0x434c0001).storeUint(2999, 32).endCell(),
  vote: message(0x434c0002).storeUint(5, 32).storeBit(true).endCell(),
  propose: message(0x434c0003).storeRef(actions.set_parameter).endCell(),
  unlock: message(0x434c0004).endCell(),
  lock_cocoon: beginCell().storeUint(0x43470001, 32).storeUint(2999, 32).endCell(),
  // No messages, but cells that addresses depend on.
  network_terms: networkTerms,
  provider_terms: providerTerms,
};

const states = (initial, used) => ({ initial_data: boc(initial), initial_data_hash: hash(initial), data: boc(used), data_hash: hash(used) });
const initial = {
  channel: channelData(0, 0, 0n, 0n, 0, hash256(0)), provider: providerInitial, vault: vaultInitial,
  'jetton-wallet': walletData(0n), 'jetton-minter': minterData(0n, 0x54), rewards: rewardsInitial, registry: registryInitial,
  governor: governorInitial, lock: lockInitial,
};

/// Where a contract with that data lives. Changes with every change of the code.
function addressOf(name, data) {
  return contractAddress(0, { code: codeOf(name), data }).hash.toString('hex');
}

const vectors = {
  channel: states(initial.channel, channelData(1, 1800000000, 2000000000n, 123456789n, 3, hash256(0xdd))),
  provider: states(initial.provider, providerUsed),
  vault: states(initial.vault, vaultUsed),
  rewards: states(rewardsInitial, rewardsUsed),
  registry: states(registryInitial, registryUsed),
  governor: states(governorInitial, governorUsed),
  lock: states(lockInitial, lockUsed),
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
