// Messages that no chain delivers, or that no wallet of ours sends: from the masterchain, and bounces that answer nothing. On TON's emulator alone.
import assert from 'node:assert/strict';
import { Address, beginCell } from '@ton/core';
import { Sandbox } from '../src/sandbox.mjs';
import { paidFee } from '../src/bounds.mjs';
import { Cocoon } from '../src/cocoon.mjs';
import { EXIT } from '../src/contract.mjs';
import { COCOON } from '../src/jetton.mjs';
import { ENOUGH, TON } from '../src/scene.mjs';
import { scene as script } from '../src/scripts.mjs';

const scene = (name, body, options) => script(name, body, { ...options, backend: () => Sandbox.start() });
const twin = ({ address }) => new Address(-1, address.hash);

scene('who has the same hash in the masterchain is somebody else', async (set) => {
  const { provider } = set;
  const channel = await set.opened();
  await set.ask('stranger', channel, channel.claim(1, TON / 2n));
  const refused = async (from, contract, body, error) => {
    const done = await set.chain.inject({ from, to: contract.address, value: ENOUGH, bounce: false, body });
    assert.equal(set.at(contract, done), `exit ${EXIT[error]}`);
  };
  await refused(twin(set.owner), provider, provider.unbond(TON), 'ERR_NOT_OWNER');
  await refused(twin(set.dispute), provider, provider.slash(TON, set.thief.address), 'ERR_NOT_DISPUTE');
  await refused(twin(set.requester), channel, channel.closeUnilateral(), 'ERR_NOT_REQUESTER');
  await refused(twin(set.stranger), provider, provider.poke(), 'ERR_BAD_LAYOUT');
  const paid = beginCell().storeUint(0x43430101, 32).storeUint(1, 64).storeCoins(TON / 2n).storeCoins(TON).storeUint(1, 256)
    .storeBuffer(channel.payTerms.hash()).storeBuffer(channel.closeTerms.hash()).endCell();
  await refused(twin(channel), provider, paid, 'ERR_NOT_A_CHANNEL');
  assert.equal((await set.state()).claims, 1n);
});

/// The head of a bounce: the mark, and the first 256 bits of what comes back.
function bounced(opcode, query) {
  return beginCell().storeUint(0xffffffff, 32).storeUint(opcode, 32).storeUint(query, 64).storeUint(0, 160).endCell();
}

scene('a bounce that answers no claim of the batch changes nothing', async (set) => {
  const { provider } = set;
  const channel = await set.opened();
  // A batch that waits for a claim, and earnings that wait for the batch.
  const list = () => beginCell().storeBuffer(channel.requesterKeys.publicKey).storeBuffer(channel.closeTerms.hash())
    .storeRef(beginCell().storeUint(1, 96).endCell()).endCell();
  await set.order(provider.batch([], { count: 2, list: list() }), 'ERR_BAD_LAYOUT');
  await set.ask('stranger', channel, channel.claim(1, TON / 2n, { query: 50n }));
  const back = (opcode, query, value = ENOUGH) => set.chain.inject({ from: channel.address, to: provider.address, value, bounce: false, bounced: true, body: bounced(opcode, query) });
  const waiting = async () => { const { outstanding, earnings } = await set.state(); return [outstanding, earnings]; };
  const earned = TON / 2n * 95n / 100n;
  assert.deepEqual(await waiting(), [2n, earned]);
  await back(0x43430003, 0n);
  assert.deepEqual(await waiting(), [2n, earned]);
  await back(0x43430002, 9n);
  assert.deepEqual(await waiting(), [2n, earned]);
  await back(0x43430002, 0n);
  assert.deepEqual(await waiting(), [1n, earned]);
  // One that brings too little for the end of the batch leaves it to whoever flushes.
  await back(0x43430002, 0n, paidFee - 1n);
  assert.deepEqual(await waiting(), [0n, earned]);
  await back(0x43430002, 9n, paidFee);
  assert.deepEqual(await waiting(), [0n, 0n]);
  await back(0x43430002, 9n);
});

scene('a bounce shorter than a claim, and bounces to contracts that expect none, are money and nothing else', async (set) => {
  const channel = await set.opened();
  const before = [await set.channelState(channel), await set.shares(), await set.state()];
  for (const contract of [channel, set.vault, set.provider]) {
    const balance = await set.balance(contract);
    await set.chain.inject({ from: set.stranger.address, to: contract.address, value: TON, bounce: false, bounced: true, body: bounced(0x43430101, 0n) });
    await set.chain.inject({ from: set.stranger.address, to: contract.address, value: TON, bounce: false, bounced: true, body: beginCell().storeUint(0xffffffff, 32).storeUint(1, 8).endCell() });
    assert.ok(await set.balance(contract) > balance + 2n * TON - 500_000n);
  }
  assert.deepEqual([await set.channelState(channel), await set.shares(), await set.state()], before);
});

scene('what cannot be delivered is its owner\'s again', async (set) => {
  const cocoon = await Cocoon.made(set);
  const wallet = cocoon.wallet('owner');
  const before = await cocoon.balance('owner');
  const back = (opcode, amount) => beginCell().storeUint(0xffffffff, 32).storeUint(opcode, 32).storeUint(1, 64).storeCoins(amount).storeUint(0, 100).endCell();
  for (const opcode of [0x178d4519, 0x7bdd97de]) {
    await set.ask('owner', wallet, wallet.burn(COCOON), 'done');
    const done = await set.chain.inject({ from: cocoon.minter.address, to: wallet.address, value: ENOUGH, bounce: false, bounced: true, body: back(opcode, COCOON) });
    assert.equal(set.at(wallet, done), 'done');
    assert.equal(await cocoon.balance('owner'), before);
  }
  const other = await set.chain.inject({ from: cocoon.minter.address, to: wallet.address, value: ENOUGH, bounce: false, bounced: true, body: back(0x0f8a7ea5, COCOON) });
  assert.notEqual(set.at(wallet, other), 'done');
  assert.equal(await cocoon.balance('owner'), before);
  // The minter had counted these burns, so that the books are out by what came back.
  set.audits.length = 0;
}, { stake: null });

scene('COCOON that could not be destroyed waits for the next end of an epoch, and no other bounce adds to it', async (set) => {
  const back = (opcode) => beginCell().storeUint(0xffffffff, 32).storeUint(opcode, 32).storeUint(1, 64).storeCoins(COCOON).storeUint(0, 100).endCell();
  for (const [opcode, unburned] of [[0x0f8a7ea5, 0n], [0x595f07bc, COCOON], [0x595f07bd, COCOON], [0x595f07bc, 2n * COCOON]]) {
    const done = await set.chain.inject({ from: set.stranger.address, to: set.vault.address, value: ENOUGH, bounce: false, bounced: true, body: back(opcode) });
    assert.equal(set.at(set.vault, done), 'done');
    assert.equal((await set.auction()).unburned, unburned);
  }
}, { stake: null });

scene('a wallet takes nothing from its namesake in the masterchain', async (set) => {
  const cocoon = await Cocoon.made(set);
  const [wallet, other] = [cocoon.wallet('owner'), cocoon.wallet('stranger')];
  const refused = async (from, contract, body, error) => {
    const done = await set.chain.inject({ from, to: contract.address, value: TON, bounce: false, body });
    assert.equal(set.at(contract, done), `exit ${EXIT[error]}`);
  };
  await refused(twin(other), wallet, wallet.internalTransfer(COCOON, set.stranger.address), 'ERR_NOT_A_WALLET');
  await refused(twin(cocoon.minter), wallet, wallet.internalTransfer(COCOON, null), 'ERR_NOT_A_WALLET');
  await refused(twin(set.owner), wallet, wallet.transfer(COCOON, set.thief.address), 'ERR_NOT_OWNER');
  await refused(other.address, wallet, wallet.internalTransfer(COCOON, twin(set.stranger)), 'ERR_NOT_A_WALLET');
  await refused(twin(wallet), cocoon.minter, cocoon.minter.burned(COCOON, set.owner.address), 'ERR_NOT_A_WALLET');
  await refused(wallet.address, cocoon.minter, cocoon.minter.burned(COCOON, twin(set.owner)), 'ERR_NOT_A_WALLET');
}, { stake: null });
