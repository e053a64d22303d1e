// COCOON: made once, moved and destroyed by its owners alone, and told to whoever it is sent to.
import assert from 'node:assert/strict';
import { Address, beginCell, toNano } from '@ton/core';
import { ASKS, wayOf } from '../src/bounds.mjs';
import { Cocoon } from '../src/cocoon.mjs';
import { op } from '../src/contract.mjs';
import { CAP, COCOON, Minter, NOTHING, PARTS, content, referred } from '../src/jetton.mjs';
import { TON, comment } from '../src/scene.mjs';
import { messages, paidOut, scene } from '../src/scripts.mjs';

const ALONE = { stake: null };
const NOBODY = new Address(0, Buffer.alloc(32));
const [TRANSFER, EXCESSES, NOTIFICATION] = [0x178d4519, 0xd53276db, 0x7362d09c];

scene('all there is is made once, divided as the code says, by the founder alone', async (set) => {
  const cocoon = new Cocoon(set);
  const { minter } = cocoon;
  await cocoon.deploy();
  const jetton = async () => set.chain.get(minter.address, 'get_jetton_data');
  const founder = (await jetton())[2].cell.beginParse().loadAddress();
  assert.ok(founder.equals(set.owner.address));
  const to = { reserve: set.dispute.address, treasury: set.treasury.address, stakers: set.stranger.address, opening: set.requester.address };
  await set.ask('thief', minter, minter.genesis(to), 'ERR_NOT_OWNER', { value: TON });
  for (const address of Object.values(to)) cocoon.of(address);
  const had = await set.balance(minter);
  await set.exactly('owner', minter, minter.genesis(to), ASKS.genesis);
  assert.ok(await set.balance(minter) > had - 100_000n, 'the founder pays for all of it, and what was there for storage stays');
  const answers = messages(set, set.chain.transactions, EXCESSES, minter);
  assert.deepEqual(answers.map(({ info }) => info.dest.equals(set.owner.address)), [true], 'what it did not cost comes back');
  for (const [part, address] of Object.entries(to)) assert.equal(await cocoon.balance(address), PARTS[part] * COCOON, part);
  const [supply, mintable, admin, about, code] = await jetton();
  assert.deepEqual([supply.value, mintable.value], [CAP, 0n]);
  assert.ok(admin.cell.beginParse().loadAddress().equals(NOBODY), 'nobody may make more');
  assert.ok(about.cell.equals(content()) && code.cell.equals(minter.walletCode));
  await set.ask('owner', minter, minter.genesis(to), 'ERR_GENESIS_OVER', { value: TON });
}, ALONE);

scene('a minter with another code for its wallets makes nothing', async (set) => {
  const cocoon = new Cocoon(set);
  cocoon.minter = new Minter({ founder: set.owner.address, walletCode: comment('not the wallet') });
  await cocoon.deploy();
  const all = { reserve: set.owner.address, treasury: set.owner.address, stakers: set.owner.address, opening: set.owner.address };
  await set.ask('owner', cocoon.minter, cocoon.minter.genesis(all), 'ERR_BAD_LAYOUT', { value: TON });
}, ALONE);

scene('a transfer reaches a wallet that it deploys, tells its owner, and the rest of its value comes back', async (set) => {
  const cocoon = await Cocoon.made(set);
  const payload = beginCell().storeBit(false).storeUint(0, 32).storeStringTail('for the work').endCell();
  const done = await cocoon.give('owner', 'thief', 3n * COCOON, { forward: toNano('0.03'), payload });
  assert.equal(await cocoon.balance('thief'), 3n * COCOON);
  const [told] = messages(set, done, NOTIFICATION, cocoon.wallet('thief'));
  assert.equal(told.info.value.coins, toNano('0.03'));
  assert.ok(told.info.dest.equals(set.thief.address));
  const body = told.body.beginParse().skip(96);
  assert.deepEqual([body.loadCoins(), body.loadAddress().toRawString()], [3n * COCOON, set.owner.address.toRawString()]);
  assert.ok(body.asCell().equals(payload));
  assert.ok(paidOut(set, done, EXCESSES, cocoon.wallet('thief')) > toNano('0.2') - toNano('0.03') - ASKS.jettonTransfer);
  assert.ok(await set.balance(cocoon.wallet('thief')) >= toNano('0.01'), 'it keeps what its storage costs');
  assert.ok(await set.balance(cocoon.wallet('owner')) >= toNano('0.01'));

  const quiet = await cocoon.give('owner', 'thief', COCOON, { payload: referred(comment('behind a reference')) });
  assert.equal(messages(set, quiet, NOTIFICATION, cocoon.wallet('thief')).length, 0, 'nobody is told without TON for it');
  const kept = await cocoon.give('owner', 'thief', COCOON, { excessesTo: null });
  assert.equal(messages(set, kept, EXCESSES, cocoon.wallet('thief')).length, 0);
  assert.equal(await cocoon.balance('thief'), 5n * COCOON);
}, ALONE);

scene('a transfer brings what it costs, whatever its payload', async (set) => {
  const cocoon = await Cocoon.made(set);
  const wallet = cocoon.wallet('owner');
  const giant = (depth) => (depth === 0 ? beginCell().endCell() : beginCell().storeBuffer(Buffer.alloc(120, depth)).storeRef(giant(depth - 1)).endCell());
  cocoon.of(set.thief.address);
  for (const [payload, forward] of [[NOTHING, 0n], [NOTHING, 1n], [referred(giant(40)), toNano('0.01')]]) {
    const body = wallet.transfer(COCOON, set.thief.address, { forward, payload });
    const way = wayOf(body);
    const ask = forward + (forward > 0n ? 2n : 1n) * way + ASKS.jettonTransfer;
    await set.exactly('owner', wallet, body, ask);
  }
  assert.equal(await cocoon.balance('thief'), 3n * COCOON);
}, ALONE);

scene('only its owner moves or burns what a wallet has, and no more than that', async (set) => {
  const cocoon = await Cocoon.made(set);
  const wallet = cocoon.wallet('owner');
  const all = PARTS.opening * COCOON;
  for (const body of [wallet.transfer(1n, set.thief.address), wallet.burn(1n)]) await set.ask('thief', wallet, body, 'ERR_NOT_OWNER');
  await cocoon.give('owner', 'thief', all + 1n, { expected: 'ERR_BALANCE_TOO_SMALL' });
  await set.ask('owner', wallet, wallet.burn(all + 1n), 'ERR_BALANCE_TOO_SMALL');
  await cocoon.give('owner', 'thief', all);
  assert.equal(await cocoon.balance('owner'), 0n);
  await cocoon.give('owner', 'thief', 1n, { expected: 'ERR_BALANCE_TOO_SMALL' });
  await cocoon.give('thief', 'thief', all);
  assert.equal(await cocoon.balance('thief'), all, 'to oneself');
}, ALONE);

scene('what says to be a transfer and comes from nobody\'s wallet is refused', async (set) => {
  const cocoon = await Cocoon.made(set);
  const wallet = cocoon.wallet('owner');
  for (const from of [set.thief.address, set.owner.address, null, cocoon.minter.address]) {
    await set.ask('thief', wallet, wallet.internalTransfer(COCOON, from), 'ERR_NOT_A_WALLET');
  }
  // The wallet of another token, with the same code and for the same people.
  const theirs = new Minter({ founder: set.thief.address });
  await set.thief.call(theirs.address, toNano('0.1'), undefined, { init: theirs.init });
  const all = Object.fromEntries(Object.keys(PARTS).map((part) => [part, set.thief.address]));
  await set.ask('thief', theirs, theirs.genesis(all), 'done', { value: TON });
  const fake = theirs.wallet(set.thief.address);
  const sent = await set.ask('thief', fake, fake.transfer(COCOON, set.owner.address), 'done', { value: TON });
  assert.equal(set.at(wallet, sent), 'nothing', 'it reaches a wallet of its own token');
  await set.ask('thief', cocoon.minter, cocoon.minter.burned(COCOON, set.thief.address), 'ERR_NOT_A_WALLET');
  const burned = await set.ask('thief', fake, fake.burn(COCOON), 'done', { value: TON });
  assert.equal(set.at(cocoon.minter, burned), 'nothing');
}, ALONE);

scene('what is burned is gone, and its value comes back', async (set) => {
  const cocoon = await Cocoon.made(set);
  const wallet = cocoon.wallet('owner');
  await set.exactly('owner', wallet, wallet.burn(5n * COCOON), ASKS.jettonBurn);
  assert.deepEqual([await cocoon.supply(), await cocoon.balance('owner')], [CAP - 5n * COCOON, PARTS.opening * COCOON - 5n * COCOON]);
  const done = await set.ask('owner', wallet, wallet.burn(COCOON), 'done', { value: TON });
  assert.ok(paidOut(set, done, EXCESSES, cocoon.minter) > TON - ASKS.jettonBurn);
  const kept = await set.ask('owner', wallet, wallet.burn(COCOON, { excessesTo: null }), 'done');
  assert.equal(messages(set, kept, EXCESSES, cocoon.minter).length, 0);
  assert.equal(await cocoon.supply(), CAP - 7n * COCOON);
}, ALONE);

scene('a payload without its bit, a recipient elsewhere and words nobody knows are refused', async (set) => {
  const cocoon = await Cocoon.made(set);
  const wallet = cocoon.wallet('owner');
  await cocoon.give('owner', 'thief', COCOON, { payload: beginCell().endCell(), expected: 'ERR_BAD_LAYOUT' });
  const away = new Address(-1, Buffer.alloc(32, 7));
  await set.ask('owner', wallet, wallet.transfer(COCOON, away), 'ERR_BAD_LAYOUT');
  for (const contract of [wallet, cocoon.minter]) {
    for (const body of [comment('hello'), op(0x43560099).endCell(), beginCell().storeUint(1, 8).endCell()]) {
      await set.ask('stranger', contract, body, 'ERR_UNKNOWN_MESSAGE');
    }
    const before = await set.balance(contract);
    await set.stranger.call(contract.address, TON);
    assert.ok(await set.balance(contract) > before + TON - 500_000n, 'money without words stays for storage');
  }
}, ALONE);

scene('where somebody\'s wallet is is told on chain and by the get-method', async (set) => {
  const cocoon = await Cocoon.made(set);
  const { minter } = cocoon;
  const expected = cocoon.of(set.thief.address).address;
  await set.exactly('stranger', minter, minter.whereIs(set.thief.address), ASKS.whereIs);
  const [told] = messages(set, await set.ask('stranger', minter, minter.whereIs(set.thief.address)), 0xd1735400, minter);
  const body = told.body.beginParse().skip(96);
  assert.ok(body.loadAddress().equals(expected));
  assert.ok(body.loadMaybeRef().beginParse().loadAddress().equals(set.thief.address));
  const away = new Address(-1, Buffer.alloc(32, 7));
  const [nowhere] = messages(set, await set.ask('stranger', minter, minter.whereIs(away, false)), 0xd1735400, minter);
  const none = nowhere.body.beginParse().skip(96);
  assert.deepEqual([none.loadMaybeAddress(), none.loadMaybeRef()], [null, null]);
  const [found] = await set.chain.get(minter.address, 'get_wallet_address', [{ type: 'slice', cell: beginCell().storeAddress(set.thief.address).endCell() }]);
  assert.ok(found.cell.beginParse().loadAddress().equals(expected));
}, ALONE);
