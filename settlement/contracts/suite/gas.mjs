// Measures every operation on TON's emulator at mainnet's prices of 2026 and writes docs/gas.md. `--check` compares with what is committed.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { toNano } from '@ton/core';
import { CIRCUIT, auditorsOf, pending } from './src/auditors.mjs';
import { GAS, claimValue } from './src/bounds.mjs';
import { somebody } from './src/channel.mjs';
import { actions } from './src/governor.mjs';
import { Setup } from './src/groth16.mjs';
import { COCOON } from './src/jetton.mjs';
import { FEE, PAID, VALUE, attesting, begun, claimable, founded, nextEpoch, parts } from './src/network.mjs';
import { TELL_KEY } from './src/registry.mjs';
import { Sandbox } from './src/sandbox.mjs';
import { DAY, ENOUGH, PEOPLE, Scene, TON } from './src/scene.mjs';
import { hurry } from './src/speed.mjs';
import { provenIn, verifier, verify } from './src/verifier.mjs';
import { DELAY, VOTE, Votes } from './src/votes.mjs';

const page = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'docs', 'gas.md');
/// What Cocoon's documents name for one operation.
const NAMED = toNano('0.01');

const ton = (nano) => {
  const digits = nano.toString().padStart(10, '0');
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`;
};
const rounded = (nano) => `${ton((nano + 50n) / 100n * 100n).slice(0, -2)}`;
const thousands = (number) => number.toString().replace(/\B(?=(\d{3})+$)/g, ',');

/// What a trace used of gas in our contracts, and what the network kept of it.
function costOf(set, transactions) {
  const ours = new Set(set.contracts.map(({ address }) => address.toRawString()));
  let [gas, fees] = [0n, 0n];
  for (const { account, transaction } of transactions) {
    if (ours.has(account)) gas += transaction.description.computePhase?.gasUsed ?? 0n;
    fees += transaction.totalFees.coins;
    for (const { info } of transaction.outMessages.values()) if (info.type === 'internal') fees += info.forwardFee;
  }
  return { gas, fees };
}

const rows = [];
const row = (what, { gas, fees }) => rows.push(`| ${what} | ${thousands(gas)} | ${rounded(fees)} | ${(Number(fees) / Number(NAMED)).toFixed(2)} |`);

/// Everybody's wallet has sent something before: else the first one to send would pay for the wallet's own code.
async function fresh(options) {
  const set = await Scene.set({ on: await Sandbox.start(), operations: 50n * TON, ...options });
  for (const person of PEOPLE) await set[person].call(somebody(0x60), 1n, undefined, { bounce: false });
  return set;
}

async function channelRows() {
  const set = await fresh();
  const measured = async (what, done) => row(what, costOf(set, await done));
  const channels = [];
  const opening = await openedWith(set, channels);
  row('channel: open with a deposit', opening);
  const [channel] = channels;
  await measured('channel: top up', set.ask('requester', channel, channel.deposit(TON), 'done', { value: TON + ENOUGH }));
  await set.ask('stranger', channel, channel.claim(1, TON / 100n));
  await measured('channel: one claim by hand, to the owner and the vault', set.ask('stranger', channel, channel.claim(2, TON / 10n)));
  await measured('channel: one side alone starts to close', set.ask('requester', channel, channel.closeUnilateral()));
  await set.chain.passTime(DAY);
  await measured('channel: finish a close by one side', set.ask('requester', channel, channel.finishClose()));
  await openedWith(set, channels);
  await openedWith(set, channels);
  await set.ask('stranger', channels[2], channels[2].claim(1, TON));
  await measured('channel: close by both, with a last draw', set.ask('stranger', channels[1], channels[1].closeCooperative(1, TON / 2n)));
  const closing = costOf(set, await set.ask('stranger', channels[2], channels[2].closeCooperative(1, TON)));
  row('channel: close by both, all drawn', closing);
  await set.finish();
  return { opening, closing };
}

async function openedWith(set, channels) {
  const before = set.chain.transactions.length;
  const channel = await set.opened(TON);
  channels.push(channel);
  return costOf(set, set.chain.transactions.slice(before));
}

async function providerRows() {
  const set = await fresh({ stake: null });
  const { provider, vault } = set;
  const measured = async (what, done) => row(what, costOf(set, await done));
  await measured('provider: deploy with stake and bond', set.ask('owner', provider, provider.stake(10n * TON, 2n * TON), 'done', { value: 20n * TON, init: provider.init }));
  await measured('provider: stake more', set.ask('owner', provider, provider.stake(TON), 'done', { value: 2n * TON }));
  await measured('provider: allocate', set.order(provider.allocate(TON)));
  await measured('provider: set the operator\'s key', set.ask('owner', provider, provider.setOperator(provider.keys.publicKey)));
  await measured('provider: poke', set.ask('stranger', provider, provider.poke()));
  await measured('provider: answer a poke', set.order(provider.alive()));
  await set.chain.passTime(1_200);
  await set.ask('stranger', provider, provider.poke());
  await set.chain.passTime(600);
  await measured('provider: a poke that nobody answered', set.ask('stranger', provider, provider.pokeOver()));
  await measured('provider: slash', set.ask('dispute', provider, provider.slash(TON, somebody(0x61))));
  await measured('provider: start to release', set.ask('owner', provider, provider.unbond(TON, TON)));
  await set.chain.passTime(259_200);
  await measured('provider: withdraw what was released', set.ask('owner', provider, provider.withdraw()));
  await measured('provider: withdraw operations', set.ask('owner', provider, provider.withdrawOperations(TON)));
  const channel = await set.opened();
  await set.order(provider.batch(set.claims([[channel, 1, 1n]]), { count: 2 }), 9);
  await set.ask('stranger', channel, channel.claim(1, TON / 2n, { query: 99n }));
  await measured('provider: flush', set.ask('stranger', provider, provider.flush()));
  await measured('vault: a fee from anyone', set.ask('stranger', vault, vault.fee(TON), 'done', { value: TON + ENOUGH }));
  await measured('vault: pay the treasury', set.ask('stranger', vault, vault.payTreasury()));
  await set.finish();
}

/// What locks and votes cost, and what was decided, in a governor that has few of either: `GAS_PROPOSAL` and its like say what the most costs.
async function votesRows() {
  const set = await fresh({ stake: null });
  const measured = async (what, done) => row(what, costOf(set, await done));
  const votes = await Votes.made(set, { isIntroduced: false });
  const { governor, registry } = votes;
  await measured('governor: introduce', set.ask('owner', governor, governor.introduce({ registry: registry.address, rewards: set.treasury.address })));
  await measured('registry: introduce', set.ask('owner', registry, registry.introduce({ vault: set.dispute.address, rewards: set.treasury.address })));
  const lock = votes.lockOf('owner');
  await measured('lock: lock COCOON', votes.lock('owner', 1_000_000n * COCOON, votes.week(52)));
  await measured('lock: add to it', votes.lock('owner', COCOON, votes.week(52)));
  await measured('lock: lengthen', votes.ask('owner', lock.lengthen(votes.week(104))));
  await votes.lock('stranger', COCOON, votes.week(2));
  await set.chain.passTime(1);
  await decisionRows(set, votes, measured);
  await measured('lock: unlock', votes.ask('stranger', votes.lockOf('stranger').unlock()));
  await measured('governor: stop payouts', set.ask('requester', governor, governor.stop()));
  await set.finish();
}

async function decisionRows(set, votes, measured) {
  const [lock, key] = [votes.lockOf('owner'), actions.verifyingKey(CIRCUIT, new Setup('a key').key)];
  const decided = [
    ['a parameter, of which the vault is told', actions.parameter(4, 2_100n)], ['a verifying key, of which the rewards are told', key],
    ['a payment of COCOON', actions.spendCocoon(set.thief.address, COCOON)], ['a payment of TON', actions.spendTon(set.thief.address, TON)],
  ];
  for (const [n, [, action]] of decided.entries()) {
    const asked = votes.ask('owner', lock.propose(action));
    await (n === 0 ? measured('lock: propose', asked) : asked);
  }
  await set.chain.passTime(DELAY);
  for (const number of decided.keys()) {
    const asked = votes.ask('owner', lock.vote(number, true));
    await (number === 0 ? measured('lock: vote', asked) : asked);
  }
  await set.chain.passTime(VOTE + 7 * DAY);
  votes.cocoon.of(set.thief.address);
  votes.treasury -= TON;
  for (const [number, [what, action]] of decided.entries()) await measured(`governor: carry out ${what}`, votes.execute(number, action));
  await measured('registry: tell a parameter again', set.ask('stranger', votes.registry, votes.registry.tell(4)));
  await measured('registry: tell a verifying key again', set.ask('stranger', votes.registry, votes.registry.tell(TELL_KEY + CIRCUIT)));
}

async function auditorsRow(count) {
  const set = await fresh({ stake: null });
  const { votes, prove } = await pending(set, auditorsOf(count));
  row(`registry: prove the keys of ${count === 1 ? 'one auditor' : `${count} auditors`}`, costOf(set, await set.ask('stranger', votes.registry, prove(), 'done', { value: TON })));
  await set.finish();
}

/// From fees that were sold to COCOON in the owner's wallet.
async function rewardsRows() {
  const set = await fresh(PAID);
  const measured = async (what, done) => row(what, costOf(set, await done));
  const cocoon = await founded(set);
  await measured('rewards: introduce', set.ask('owner', set.pot, set.pot.introduce(parts(set))));
  await begun(set, cocoon);
  const epoch = await claimable(set, cocoon);
  await measured('rewards: attest what an epoch earned', set.ask('thief', set.provider, attesting(set, epoch, 1, 1, FEE), 'done', VALUE));
  await nextEpoch(set);
  await measured('rewards: collect what an epoch is paid', set.ask('stranger', set.provider, set.provider.collectReward(epoch), 'done', VALUE));
  await measured('rewards: take what has vested', set.ask('owner', set.provider, set.provider.takeReward(), 'done', VALUE));
  await set.finish();
}

/// A proof under a key that is known to be one, by a contract that does nothing else.
async function proofRows() {
  const set = await fresh({ stake: null });
  const contract = await verifier(set);
  set.contracts.push(contract);
  for (const [count, name] of [[4, 'attestation'], [64, 'attestation_64']]) {
    row(`a proof alone, by a circuit for ${count} certificates`, costOf(set, await set.ask('stranger', contract, verify(provenIn(name), false))));
  }
}

/// The second batch over so many channels: in the first one accounts are touched for the first time.
async function batchOf(size) {
  const set = await fresh();
  const channels = [];
  for (let n = 0; n < size; n += 1) channels.push(await set.opened());
  await set.batch(channels.map((channel) => [channel, 1_000, TON / 10n, { root: 7 }]));
  const cost = costOf(set, await set.batch(channels.map((channel) => [channel, 2_000, TON / 5n, { root: 8 }])));
  await set.finish();
  return { gas: cost.gas / BigInt(size), fees: cost.fees / BigInt(size) };
}

hurry();
const { opening, closing } = await channelRows();
await providerRows();
await votesRows();
for (const count of [1, 64]) await auditorsRow(count);
await rewardsRows();
await proofRows();
const batches = new Map();
for (const size of [1, 4, 16, 64, 250]) batches.set(size, await batchOf(size));
const each = batches.get(64).fees;
const whole = each + opening.fees + closing.fees;
const perReceipt = [1n, 10n, 1_000n, 100_000n].map((receipts) => {
  const share = (fees) => `${Number((fees * 1_000n) / receipts) / 1_000} nTON`;
  return `| ${thousands(receipts)} | ${share(each)} | ${share(whole)} |`;
});
const largest = [...Scene.most].filter(([name]) => !name.includes('BATCHED') && GAS[name]).sort()
  .map(([name, most]) => `| ${name} | ${thousands(most)} | ${thousands(GAS[name])} | ${((Number(GAS[name]) / Number(most) - 1) * 100).toFixed(0)}% |`);

const text = `# Gas and fees on TON

Generated by \`npm run gas\` in \`settlement/contracts/suite\`: TON's emulator (\`@ton/sandbox\` 0.41.0) at mainnet's prices since 30 April 2026.
TON is all that the network keeps of an operation from the first message to the last: gas, forwards, the import of messages from outside, rent that
fell due, and the work of the sender's wallet (v4r2). The last column divides by 0.01 TON, which Cocoon's documents name for one operation.

| operation | gas in our contracts | TON in all | of Cocoon's 0.01 |
|---|---|---|---|
${rows.join('\n')}

## A batch, per channel

From the operator's message until owner and vault have their sums. Each claim is sent out with ${ton(claimValue)} TON; what it does not use comes back.

| channels | gas each | TON each | of Cocoon's 0.01 |
|---|---|---|---|
${[...batches].map(([size, { gas, fees }]) => `| ${size} | ${thousands(gas)} | ${rounded(fees)} | ${(Number(fees) / Number(NAMED)).toFixed(2)} |`).join('\n')}

## Per receipt

A channel that is claimed once, in a batch of 64. Opening (by a deposit) and closing (by both) are the requester's and whoever delivers it.

| receipts in the channel | the claim alone | with opening and closing |
|---|---|---|
${perReceipt.join('\n')}

## Bounds

What messages must bring is computed from these; the scripts hold every transaction against them. Measured here, which is not everywhere the most:
epochs that end, rent that fell due and weeks, proposals, votes and epochs that are kept add to some paths.

| bound | used at most here | bound | margin |
|---|---|---|---|
${largest.join('\n')}
`;

if (process.argv.includes('--check')) {
  const same = readFileSync(page, 'utf8') === text;
  console.log(same ? 'docs/gas.md is as measured' : 'docs/gas.md differs from what is measured: npm run gas');
  process.exitCode = same ? 0 : 1;
} else {
  writeFileSync(page, text);
}
