// The burn auction: epochs, bids of all kinds, what is recorded, what is destroyed, and fees paid ahead in COCOON.
import assert from 'node:assert/strict';
import { beginCell, toNano } from '@ton/core';
import { ASKS } from '../src/bounds.mjs';
import { Cocoon } from '../src/cocoon.mjs';
import { op } from '../src/contract.mjs';
import { CAP, COCOON, Minter, NOTHING, referred } from '../src/jetton.mjs';
import { DAY, TON, comment } from '../src/scene.mjs';
import { messages, paidOut, scene } from '../src/scripts.mjs';
import { bidding, crediting, filled, rateAt } from '../src/vault.mjs';

const ALONE = { stake: null };
const AUCTION = 72_000;
const START = 50n * COCOON;
const [BOUGHT, SOLD, CREDIT, BURN, TRANSFER] = [0x43560104, 0x43520001, 0x43560103, 0x595f07bc, 0x0f8a7ea5];
/// What is sent along with COCOON for the vault: enough for the transfer and for what the vault does.
const TOLD = ASKS.notification;
const VALUE = toNano('0.2');

/// COCOON in the hands of the stranger, who has the early stakers' part, and a vault with fees of 100 TON in its first lot.
async function sale(set, fees = 100n * TON) {
  const cocoon = await Cocoon.made(set);
  cocoon.of(set.vault.address);
  await close(set);
  await set.ask('requester', set.vault, set.vault.fee(fees), 'done', { value: fees + TON });
  await set.chain.passTime(DAY);
  await close(set);
  return cocoon;
}

async function close(set) {
  return set.ask('thief', set.vault, set.vault.closeEpoch(), 'done', { value: TON });
}

/// A bid of the stranger. Returns what it did: TON bought, COCOON paid, or nothing when it came back.
async function bid(set, cocoon, amount, { least = 0n, from = 'stranger', payload = bidding(least) } = {}) {
  const [before, held] = [await cocoon.balance(from), await set.balance(set.vault)];
  const done = await cocoon.give(from, set.vault.address, amount, { value: VALUE, forward: TOLD, payload });
  const [bought] = messages(set, done, BOUGHT, set.vault);
  const gone = before - (await cocoon.balance(from));
  if (!bought) {
    assert.equal(gone, 0n, 'a bid that buys nothing comes back whole');
    return undefined;
  }
  assert.ok(bought.info.dest.equals(set[from].address));
  const body = bought.body.beginParse().skip(96);
  const answer = { bought: body.loadCoins(), paid: body.loadCoins() };
  assert.equal(answer.paid, gone);
  assert.equal(messages(set, done, TRANSFER, set.vault).length, answer.paid < amount ? 1 : 0, 'change, if there is any');
  const gave = held - (await set.balance(set.vault));
  assert.ok(gave >= answer.bought && gave < answer.bought + 1_000_000n, 'the vault keeps all else, but for its rent');
  assert.ok(bought.info.value.coins > answer.bought, 'with what the work did not cost');
  return answer;
}

function told(set, done) {
  const [sold] = messages(set, done, SOLD, set.vault);
  assert.ok(sold.info.dest.equals(set.rewards.address));
  const body = sold.body.beginParse().skip(96);
  return { epoch: body.loadUint(32), fees: body.loadCoins(), lot: body.loadCoins(), burned: body.loadCoins(), paid: body.loadCoins(), median: body.loadCoins() };
}

scene('an epoch ends in its time, and its fees are on sale from then on', async (set) => {
  await Cocoon.made(set);
  const { vault } = set;
  assert.equal((await set.vaultEpoch()).epoch, 0n);
  const first = await close(set);
  assert.equal(messages(set, first, SOLD, vault).length, 0, 'before the first epoch there was none');
  assert.equal(messages(set, first, BURN, vault).length, 0, 'nothing was paid, and nothing is destroyed');
  await set.ask('requester', vault, vault.fee(TON), 'done', { value: 2n * TON });
  await set.chain.passTime(DAY - 1);
  await set.ask('stranger', vault, vault.closeEpoch(), 'ERR_EPOCH_RUNNING', { value: TON });
  await set.chain.passTime(1);
  await set.exactly('stranger', vault, vault.closeEpoch(), ASKS.closeEpoch);
  assert.deepEqual(await set.vaultEpoch(), { epoch: 2n, opened: BigInt(set.chain.now), fees: 0n, auditorsBps: 2_000n, treasuryBps: 1_000n });
  const auction = await set.auction();
  assert.deepEqual([auction.lot, auction.own, auction.unsold, auction.seconds, auction.rate], [toNano('0.7'), toNano('0.7'), toNano('0.7'), BigInt(AUCTION), 4n * START]);
  assert.equal((await set.shares()).burn, 0n);
}, ALONE);

scene('an auction without bids: its lot joins the next, and the rate falls by a tenth', async (set) => {
  await sale(set);
  const { vault } = set;
  await set.ask('requester', vault, vault.fee(10n * TON), 'done', { value: 11n * TON });
  await set.chain.passTime(DAY);
  const sold = told(set, await close(set));
  assert.deepEqual(sold, { epoch: 1, fees: 100n * TON, lot: 70n * TON, burned: 0n, paid: 0n, median: START });
  const { lot, own, unsold, last, median } = await set.auction();
  assert.deepEqual([lot, own, unsold, last, median], [77n * TON, 7n * TON, 77n * TON, 45n * COCOON, START]);
}, ALONE);

scene('an auction of nothing says nothing of the rate', async (set) => {
  const cocoon = await Cocoon.made(set);
  await close(set);
  for (let epochs = 0; epochs < 3; epochs += 1) {
    await set.chain.passTime(DAY);
    await close(set);
  }
  assert.deepEqual([(await set.auction()).last, await cocoon.supply()], [START, CAP]);
}, ALONE);

scene('bids are filled at the rate of their moment, the last one gets its change, and what was paid is destroyed', async (set) => {
  const cocoon = await sale(set);
  const { vault } = set;
  let left = 70n * TON;
  let paid = 0n;
  for (const [pause, amount] of [[0, 1_000n * COCOON], [10_000, 500n * COCOON + 7n], [25_999, 900n * COCOON + 1n], [1, 1_000_000n * COCOON]]) {
    await set.chain.passTime(pause);
    const passed = set.chain.now - Number((await set.vaultEpoch()).opened);
    const { rate } = await set.auction();
    assert.equal(rate, rateAt(START, passed, AUCTION));
    const expected = filled(amount, rate, left);
    assert.deepEqual(await bid(set, cocoon, amount), expected);
    left -= expected.bought;
    paid += expected.paid;
    assert.equal((await set.auction()).unsold, left);
  }
  assert.equal(left, 0n);
  assert.equal(await bid(set, cocoon, COCOON), undefined, 'all is sold');
  assert.deepEqual([(await set.auction()).unburned, await cocoon.balance(vault.address), await cocoon.supply()], [paid, paid, CAP]);
  await set.chain.passTime(DAY);
  const done = await close(set);
  assert.deepEqual(told(set, done), { epoch: 1, fees: 100n * TON, lot: 70n * TON, burned: paid, paid, median: START });
  assert.equal(messages(set, done, BURN, vault).length, 1);
  assert.deepEqual([(await set.auction()).unburned, await cocoon.balance(vault.address), await cocoon.supply()], [0n, 0n, CAP - paid]);
  const cleared = (paid * COCOON) / (70n * TON);
  assert.equal((await set.auction()).last, cleared < 55n * COCOON ? cleared : 55n * COCOON);
}, ALONE);

scene('one bidder in the last second pays the least, and a second later nobody buys', async (set) => {
  const cocoon = await sale(set);
  await set.chain.passTime(AUCTION - 1);
  const { rate } = await set.auction();
  assert.equal(rate, rateAt(START, AUCTION - 1, AUCTION));
  assert.ok(rate > START / 4n && rate < START / 4n + START / 1_000n);
  assert.deepEqual(await bid(set, cocoon, 10n * COCOON), filled(10n * COCOON, rate, 70n * TON));
  await set.chain.passTime(1);
  assert.equal((await set.auction()).rate, 0n);
  assert.equal(await bid(set, cocoon, 10n * COCOON), undefined);
}, ALONE);

scene('a bid for all that is left, to the nano-unit, has no change', async (set) => {
  const cocoon = await sale(set);
  const { rate, unsold } = await set.auction();
  // What a nano-unit of TON costs is more than this, so that it buys nothing more.
  const amount = (unsold * rate) / COCOON + rate / COCOON / 2n;
  assert.deepEqual(filled(amount, rate, unsold), { bought: unsold, paid: amount });
  assert.deepEqual(await bid(set, cocoon, amount), { bought: unsold, paid: amount });
}, ALONE);

scene('dust, and a bid that would buy less than it is to, come back', async (set) => {
  const cocoon = await sale(set);
  assert.equal(await bid(set, cocoon, COCOON / 10n - 1n), undefined);
  const { rate } = await set.auction();
  const { bought } = filled(COCOON, rate, 70n * TON);
  assert.equal(await bid(set, cocoon, COCOON, { least: bought + 1n }), undefined);
  assert.deepEqual(await bid(set, cocoon, COCOON, { least: bought }), { bought, paid: COCOON });
  assert.ok(await bid(set, cocoon, COCOON / 10n));
}, ALONE);

scene('a bid that buys not even a nano-unit comes back', async (set) => {
  const cocoon = await sale(set);
  assert.equal(await bid(set, cocoon, COCOON), undefined);
}, { ...ALONE, vault: { rate: 10n ** 30n } });

scene('what is recorded is what was paid for what was sold, whatever was not', async (set) => {
  const cocoon = await sale(set);
  await set.chain.passTime(AUCTION / 2 + 1_000);
  const { bought, paid } = await bid(set, cocoon, 1_000n * COCOON);
  const cleared = (paid * COCOON) / bought;
  assert.ok(bought < 35n * TON && cleared > START - START / 10n && cleared < START, 'a part of the lot, at less than the last rate by less than a tenth');
  await set.chain.passTime(DAY);
  await close(set);
  assert.equal((await set.auction()).last, cleared);
}, ALONE);

scene('overbidding moves what is recorded by a tenth, and the median after four auctions', async (set) => {
  const cocoon = await sale(set, TON);
  let expected = START;
  const medians = [];
  for (let auctions = 0; auctions < 5; auctions += 1) {
    assert.ok(await bid(set, cocoon, 100_000n * COCOON));
    await set.ask('requester', set.vault, set.vault.fee(TON), 'done', { value: 2n * TON });
    await set.chain.passTime(DAY);
    await close(set);
    expected += expected / 10n;
    const { last, median } = await set.auction();
    assert.equal(last, expected);
    medians.push(median === START);
  }
  assert.deepEqual(medians, [true, true, true, false, false]);
}, ALONE);

scene('only for its own part of a lot is an epoch told what was burned', async (set) => {
  const cocoon = await sale(set);
  await set.ask('requester', set.vault, set.vault.fee(10n * TON), 'done', { value: 11n * TON });
  await set.chain.passTime(DAY);
  await close(set);
  const { paid, bought } = await bid(set, cocoon, 100_000n * COCOON);
  assert.equal(bought, 77n * TON);
  await set.chain.passTime(DAY);
  const sold = told(set, await close(set));
  assert.deepEqual([sold.epoch, sold.fees, sold.lot, sold.paid], [2, 10n * TON, 7n * TON, paid]);
  assert.equal(sold.burned, (paid * 7n) / 77n, 'what others left unsold rewards nobody');
}, ALONE);

scene('what a wallet that is not the vault\'s says is not believed', async (set) => {
  const cocoon = await sale(set);
  const { vault } = set;
  const note = (from) => op(0x7362d09c).storeCoins(1_000n * COCOON).storeAddress(from).storeSlice(bidding().beginParse()).endCell();
  await set.ask('thief', vault, note(set.thief.address), 'ERR_NOT_A_WALLET', { value: TON });
  // Another token with the same code, truly sent.
  const theirs = new Minter({ founder: set.thief.address });
  await set.thief.call(theirs.address, toNano('0.1'), undefined, { init: theirs.init });
  const all = { reserve: set.thief.address, treasury: set.thief.address, stakers: set.thief.address, opening: set.thief.address };
  await set.ask('thief', theirs, theirs.genesis(all), 'done', { value: TON });
  const wallet = theirs.wallet(set.thief.address);
  const done = await set.ask('thief', wallet, wallet.transfer(1_000n * COCOON, vault.address, { forward: TOLD, payload: bidding() }), 'done', { value: VALUE });
  assert.equal(set.at(vault, done), 'exit 741');
  assert.deepEqual([(await set.auction()).unsold, await cocoon.supply()], [70n * TON, CAP]);
}, ALONE);

scene('COCOON that comes without words, or with words nobody knows, goes back', async (set) => {
  const cocoon = await sale(set);
  const word = (bits) => beginCell().storeBit(false).storeSlice(bits.beginParse()).endCell();
  const payloads = [
    NOTHING, referred(comment('hello')), word(comment('hello')), word(beginCell().storeUint(0x43560010, 32).endCell()),
    word(beginCell().storeUint(0x43560010, 32).storeUint(0, 63).endCell()), word(beginCell().storeUint(0x43560010, 32).storeUint(0, 65).endCell()),
    word(beginCell().storeUint(0x43560011, 32).storeUint(1, 255).endCell()), word(beginCell().storeUint(0x43560011, 32).storeUint(1, 64).endCell()),
    word(beginCell().storeUint(0x43560012, 32).storeUint(0, 64).endCell()), word(beginCell().storeUint(0x43560012, 32).storeUint(1, 256).endCell()),
    word(beginCell().storeUint(0x43560010, 32).storeUint(1, 256).endCell()), beginCell().storeBit(true).endCell(), word(beginCell().storeUint(1, 5).endCell()),
  ];
  for (const payload of payloads) assert.equal(await bid(set, cocoon, 5n * COCOON, { payload }), undefined);
  assert.equal(await bid(set, cocoon, COCOON / 20n, { payload: crediting(set.owner.address) }), undefined, 'a credit of dust');
  assert.equal(await cocoon.balance(set.vault.address), 0n);
  // The same words in the payload itself, and behind a reference.
  assert.ok(await bid(set, cocoon, 5n * COCOON, { payload: word(beginCell().storeUint(0x43560010, 32).storeUint(0, 64).endCell()) }));
}, ALONE);

scene('what the vault is told with is enough to the nano-unit for a bid with change, and with less nothing happens', async (set) => {
  const cocoon = await sale(set, TON);
  const wallet = cocoon.wallet('stranger');
  const send = async (forward) => set.ask('stranger', wallet, wallet.transfer(1_000n * COCOON, set.vault.address, { forward, payload: bidding() }), 'done', { value: VALUE });
  const poor = await send(TOLD - 1n);
  assert.equal(set.at(set.vault, poor), 'exit 701');
  const done = await send(TOLD);
  for (const { outcome } of done) assert.equal(outcome, 'done');
  assert.equal(messages(set, done, TRANSFER, set.vault).length, 1);
  assert.ok(paidOut(set, done, BOUGHT, set.vault) >= toNano('0.7'));
}, ALONE);

scene('a fee paid ahead in COCOON is a credit at the median rate, a tenth cheaper, and is destroyed', async (set) => {
  const cocoon = await sale(set);
  const [before, held] = [(await set.auction()).unburned, await set.balance(set.vault)];
  const done = await cocoon.give('stranger', set.vault.address, 45n * COCOON, { value: VALUE, forward: TOLD, payload: crediting(set.owner.address) });
  const [credit] = messages(set, done, CREDIT, set.vault);
  assert.ok(credit.info.dest.equals(set.owner.address));
  assert.equal(credit.body.beginParse().skip(96).loadCoins(), TON);
  assert.equal((await set.auction()).unburned, before + 45n * COCOON);
  assert.equal(await set.balance(set.vault), held, 'what the words brought goes on to the provider');
  await set.chain.passTime(DAY);
  const sold = told(set, await close(set));
  assert.deepEqual([sold.burned, sold.paid, await cocoon.supply()], [0n, 0n, CAP - 45n * COCOON]);
  await cocoon.give('stranger', set.vault.address, COCOON / 10n, { value: VALUE, forward: TOLD, payload: crediting(set.owner.address) });
  assert.equal((await set.auction()).unburned, COCOON / 10n, 'the least there can be');
}, ALONE);

scene('a credit comes off the part of a fee that would be burned, and off what can be rewarded', async (set) => {
  const { vault } = set;
  const fee = async (amount, credit) => {
    const done = await set.ask('stranger', vault, vault.fee(amount, credit), 'done', { value: amount + TON });
    const [message] = messages(set, done, 0x43560102, vault);
    const body = message.body.beginParse().skip(96);
    const answer = { epoch: body.loadUint(32), booked: body.loadCoins(), waived: body.loadCoins(), credit: body.loadCoins() };
    assert.ok(message.info.value.coins > TON + answer.waived - 600_000n && message.info.value.coins < TON + answer.waived);
    return answer;
  };
  assert.deepEqual(await fee(10n * TON, 0n), { epoch: 0, booked: 10n * TON, waived: 0n, credit: 0n });
  assert.deepEqual(await fee(10n * TON, 20n * TON), { epoch: 0, booked: 0n, waived: 7n * TON, credit: 13n * TON });
  assert.deepEqual(await fee(10n * TON, toNano('3.5')), { epoch: 0, booked: 5n * TON, waived: toNano('3.5'), credit: 0n });
  assert.deepEqual(await fee(0n, TON), { epoch: 0, booked: 0n, waived: 0n, credit: TON });
  assert.deepEqual(await set.shares(), { burn: toNano('10.5'), auditors: 6n * TON, treasury: 3n * TON, feesCum: toNano('19.5') });
  assert.equal((await set.vaultEpoch()).fees, 15n * TON);
}, ALONE);

scene('only the registry changes what a vote decides', async (set) => {
  const { vault } = set;
  await set.ask('thief', vault, vault.parameter(4, 3_000), 'ERR_NOT_REGISTRY');
  for (const [which, value] of [[2, 3_600], [4, 3_000], [5, 0], [8, 2_600]]) await set.ask('dispute', vault, vault.parameter(which, value));
  for (const which of [0, 1, 3, 6, 7, 9, 255]) await set.ask('dispute', vault, vault.parameter(which, 1), 'ERR_BAD_LAYOUT');
  const [{ auditorsBps, treasuryBps }, { nextSeconds, discountBps, seconds }] = [await set.vaultEpoch(), await set.auction()];
  assert.deepEqual([auditorsBps, treasuryBps, nextSeconds, discountBps, seconds], [3_000n, 0n, 3_600n, 2_500n, 0n]);
  await set.ask('stranger', vault, vault.fee(TON), 'done', { value: 2n * TON });
  assert.deepEqual(await set.shares(), { burn: toNano('0.7'), auditors: toNano('0.3'), treasury: 0n, feesCum: TON });
  await close(set);
  assert.equal((await set.auction()).seconds, 3_600n);
}, ALONE);

scene('an auction is never open for longer than an epoch', async (set) => {
  await sale(set, TON);
  assert.equal((await set.auction()).seconds, 86_400n);
  await set.chain.passTime(DAY - 1);
  assert.ok((await set.auction()).rate > 0n);
}, { ...ALONE, vault: { auctionSeconds: 4_000_000 } });
