// `@ton/ton`'s client as it is, against the chain's HTTP API.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Address, Cell, Dictionary, SendMode, beginCell, comment, contractAddress, external, fromNano, internal, toNano } from '@ton/core';
import { keyPairFromSeed, sha256_sync } from '@ton/crypto';
import { JettonMaster, JettonWallet, TonClient, WalletContractV4, WalletContractV5R1 } from '@ton/ton';
import { Channel, somebody } from '../src/channel.mjs';
import { serve } from '../src/http.mjs';
import { CAP, COCOON, Minter, PARTS } from '../src/jetton.mjs';

let server;
let client;
before(async () => {
  server = await serve();
  client = new TonClient({ endpoint: `${server.url}/jsonRPC` });
});
after(() => server.close());

async function faucet(address, nano) {
  const response = await fetch(`${server.url}/faucet?address=${address.toString({ urlSafe: true })}&amount=${nano}`);
  assert.ok((await response.json()).ok);
  await until(async () => (await client.getBalance(address)) >= BigInt(nano));
}

/// Waits for the block that brings something about.
async function until(condition) {
  for (let tries = 0; tries < 100; tries += 1) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail('no block brought it');
}

function keys(name) {
  return keyPairFromSeed(sha256_sync(`client ${name}`));
}

/// An opened wallet with money.
async function wallet(name, create = ({ publicKey }) => WalletContractV4.create({ workchain: 0, publicKey })) {
  const pair = keys(name);
  const contract = client.open(create(pair));
  await faucet(contract.address, toNano(20));
  const send = async (messages, mode = SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS) => {
    const seqno = await contract.getSeqno();
    await contract.sendTransfer({ seqno, secretKey: pair.secretKey, messages, sendMode: mode, timeout: 2 ** 31 });
    await until(async () => (await contract.getSeqno()) === seqno + 1);
  };
  return { contract, pair, send, address: contract.address };
}

test('a wallet is deployed, sends, and its transactions are read', async () => {
  const alice = await wallet('alice');
  assert.equal(await client.isContractDeployed(alice.address), false);
  assert.equal(await alice.contract.getSeqno(), 0);
  await alice.send([internal({ to: somebody(3), value: '1.5', bounce: false, body: comment('hello') })]);
  assert.equal(await client.isContractDeployed(alice.address), true);
  assert.equal(await alice.contract.getSeqno(), 1);
  await until(async () => (await client.getBalance(somebody(3))) === toNano('1.5'));
  assert.ok((await alice.contract.getBalance()) < toNano('18.5'));

  await alice.send([internal({ to: somebody(3), value: '0.5', bounce: false }), internal({ to: somebody(4), value: '0.25', bounce: true })]);
  await until(async () => (await client.getTransactions(alice.address, { limit: 10 })).length === 4);
  const transactions = await client.getTransactions(alice.address, { limit: 10 });
  assert.deepEqual(transactions.map(({ inMessage }) => inMessage.info.type), ['internal', 'external-in', 'external-in', 'internal']);
  assert.equal(transactions[0].inMessage.info.bounced, true, 'what nobody took came back');
  assert.equal(transactions[1].outMessagesCount, 2);

  const state = await client.getContractState(alice.address);
  assert.equal(state.state, 'active');
  assert.equal(state.lastTransaction.hash, transactions[0].hash().toString('base64'));
  assert.ok(Cell.fromBoc(state.code)[0].equals(alice.contract.init.code));

  const second = { lt: transactions[1].lt.toString(), hash: transactions[1].hash().toString('base64') };
  const older = await client.getTransactions(alice.address, { limit: 2, ...second });
  assert.deepEqual(older.map(({ lt }) => lt), transactions.slice(2).map(({ lt }) => lt));
  const including = await client.getTransactions(alice.address, { limit: 2, ...second, inclusive: true });
  assert.deepEqual(including.map(({ lt }) => lt), transactions.slice(1, 3).map(({ lt }) => lt));
  assert.equal((await client.getTransaction(alice.address, second.lt, second.hash)).lt, transactions[1].lt);

  const [message] = transactions[2].outMessages.values();
  const result = await client.tryLocateResultTx(alice.address, somebody(3), message.info.createdLt.toString());
  assert.equal(result.inMessage.info.value.coins, toNano('1.5'));
  const source = await client.tryLocateSourceTx(alice.address, somebody(3), message.info.createdLt.toString());
  assert.equal(source.lt, transactions[2].lt);
});

test('blocks are explored down to their transactions', async () => {
  const carol = await wallet('carol', ({ publicKey }) => WalletContractV5R1.create({ publicKey, walletId: { networkGlobalId: -777 } }));
  await carol.send([internal({ to: somebody(5), value: '1', bounce: false })]);
  await until(async () => (await client.getBalance(somebody(5))) > 0n);
  const { latestSeqno, workchain } = await client.getMasterchainInfo();
  assert.equal(workchain, -1);
  const seen = [];
  for (let seqno = 1; seqno <= latestSeqno; seqno += 1) {
    for (const shard of await client.getWorkchainShards(seqno)) {
      seen.push(...await client.getShardTransactions(shard.workchain, shard.seqno, shard.shard));
    }
  }
  const [newest] = await client.getTransactions(carol.address, { limit: 1 });
  const found = seen.find(({ account, lt }) => account.equals(carol.address) && lt === newest.lt.toString());
  assert.equal(found.hash, newest.hash().toString('base64'));
});

test('a wallet moves through the provider that the client makes', async () => {
  const dave = await wallet('dave');
  const channel = new Channel({ requester: dave.address, provider: somebody(6) });
  const provider = client.provider(channel.address, channel.init);
  const sender = dave.contract.sender(dave.pair.secretKey);
  await provider.internal(sender, { value: toNano('3.1'), body: channel.deposit(toNano(3)) });
  await until(() => client.isContractDeployed(channel.address));
  const { stack } = await provider.get('channel_state', []);
  assert.deepEqual([stack.readNumber(), stack.readNumber(), stack.readBigNumber(), stack.readBigNumber()], [0, 0, toNano(3), 0n]);
  const terms = (await client.runMethod(channel.address, 'channel_terms')).stack;
  assert.equal(terms.readBigNumber(), BigInt(`0x${channel.requesterKeys.publicKey.toString('hex')}`));
  assert.equal((await provider.getState()).state.type, 'active');
});

test('values of every kind come back as what they are', async () => {
  // DROP; -5; -1; NULL; (1, 2); (); a cell; a slice; 2^255 - 1. What it is given stays below.
  const code = beginCell().storeBuffer(Buffer.from(['30', '7b', '7f', '6d', '71726f02', '6f00'].join(''), 'hex'))
    .storeBuffer(Buffer.from('888984fe', 'hex'))
    .storeRef(beginCell().storeUint(5, 32).storeRef(beginCell().endCell()).endCell()).storeRef(beginCell().storeUint(6, 32).endCell()).endCell();
  const init = { code, data: beginCell().endCell() };
  const erin = await wallet('erin');
  const address = contractAddress(0, init);
  await erin.send([internal({ to: address, value: '0.1', bounce: false, init })]);
  await until(() => client.isContractDeployed(address));
  const { stack, exit_code: exitCode, gas_used: gas } = await client.runMethodWithError(address, 'anything', [
    { type: 'int', value: -(1n << 255n) }, { type: 'cell', cell: beginCell().storeUint(1, 1).endCell() }, { type: 'slice', cell: beginCell().storeUint(9, 9).endCell() },
  ]);
  assert.equal(exitCode, 0);
  assert.ok(gas > 0);
  const items = [];
  while (stack.remaining > 0) items.push(stack.pop());
  assert.deepEqual(items.map(({ type }) => type), ['int', 'cell', 'slice', 'int', 'int', 'null', 'tuple', 'null', 'cell', 'slice', 'int']);
  assert.deepEqual([items[0].value, items[3].value, items[4].value, items[10].value], [-(1n << 255n), -5n, -1n, (1n << 255n) - 1n]);
  assert.deepEqual(items[6].items, [1n, 2n]);
  assert.equal(items[8].cell.beginParse().loadUint(32), 5);
  assert.equal(items[9].cell.beginParse().loadUint(32), 6);
});

test('COCOON is read as any jetton is: supply, texts, wallets, balances', async () => {
  const [karl, lena] = [await wallet('karl'), await wallet('lena')];
  const minter = new Minter({ founder: karl.address });
  const to = { reserve: somebody(21), treasury: somebody(22), stakers: somebody(23), opening: karl.address };
  await karl.send([internal({ to: minter.address, value: '0.7', init: minter.init, body: minter.genesis(to) })]);
  const master = client.open(JettonMaster.create(minter.address));
  await until(() => client.isContractDeployed(minter.address));
  const balanceOf = async (owner) => client.open(JettonWallet.create(await master.getWalletAddress(owner))).getBalance();
  await until(async () => (await balanceOf(karl.address)) > 0n);
  const { totalSupply, mintable, adminAddress, content, walletCode } = await master.getJettonData();
  assert.deepEqual([totalSupply, mintable], [CAP, false]);
  assert.ok(adminAddress.equals(new Address(0, Buffer.alloc(32))));
  assert.ok(walletCode.equals(minter.walletCode));
  assert.deepEqual(textsOf(content, ['name', 'symbol', 'decimals']), ['Cocoon Swarm', 'COCOON', '9']);
  assert.equal(await balanceOf(karl.address), PARTS.opening * COCOON);
  assert.equal(await balanceOf(lena.address), 0n);
  const body = minter.wallet(karl.address).transfer(5n * COCOON, lena.address, { forward: 1n });
  await karl.send([internal({ to: await master.getWalletAddress(karl.address), value: '0.1', body })]);
  await until(async () => (await balanceOf(lena.address)) === 5n * COCOON);
  assert.equal(await balanceOf(karl.address), PARTS.opening * COCOON - 5n * COCOON);
});

/// What a wallet shows of a token (TEP-64).
function textsOf(content, keys) {
  const slice = content.beginParse();
  assert.equal(slice.loadUint(8), 0, 'on chain');
  const texts = slice.loadDict(Dictionary.Keys.Buffer(32), Dictionary.Values.Cell());
  return keys.map((key) => texts.get(sha256_sync(key)).beginParse().skip(8).loadStringTail());
}

test('a get-method that fails says how', async () => {
  const frank = await wallet('frank');
  await frank.send([]);
  assert.equal((await client.runMethodWithError(frank.address, 'no_such_method')).exit_code, 11);
  assert.notEqual((await client.runMethodWithError(somebody(99), 'seqno')).exit_code, 0);
  await assert.rejects(client.runMethod(frank.address, 'no_such_method'), /exit_code: 11/);
});

test('what a message would cost is what it costs', async () => {
  const grace = await wallet('grace');
  await grace.send([]);
  const body = grace.contract.createTransfer({
    seqno: 1, secretKey: keys('somebody else').secretKey, timeout: 2 ** 31, sendMode: SendMode.PAY_GAS_SEPARATELY,
    messages: [internal({ to: somebody(11), value: '1', bounce: false })],
  });
  const { source_fees: fees } = await client.estimateExternalMessageFee(grace.address, { body, initCode: null, initData: null, ignoreSignature: true });
  const before_ = await grace.contract.getBalance();
  await grace.send([internal({ to: somebody(11), value: '1', bounce: false })], SendMode.PAY_GAS_SEPARATELY);
  const spent = before_ - (await grace.contract.getBalance()) - toNano(1);
  const told = BigInt(fees.in_fwd_fee + fees.gas_fee + fees.fwd_fee + fees.storage_fee);
  const rent = 100n;
  assert.ok(spent >= told - rent && spent <= told + rent, `${fromNano(spent)} spent, ${fromNano(told)} told`);
  await assert.rejects(client.estimateExternalMessageFee(grace.address, { body, initCode: null, initData: null, ignoreSignature: false }), /500/);
});

test('a message that is refused is an error', async () => {
  const heidi = await wallet('heidi');
  await heidi.send([]);
  const again = heidi.contract.createTransfer({ seqno: 0, secretKey: heidi.pair.secretKey, messages: [], timeout: 2 ** 31 });
  await assert.rejects(client.sendExternalMessage(heidi.contract, again), /500/);
  await assert.rejects(client.sendFile(Buffer.from('nonsense')), /500/);
  await assert.rejects(client.sendMessage(external({ to: somebody(12), body: beginCell().endCell() })), /500/);
});

test('the calls that wallets make beside the client', async () => {
  const ivan = await wallet('ivan');
  await ivan.send([]);
  const call = async (name, params) => {
    const response = await fetch(`${server.url}/${name}?${new URLSearchParams(params)}`);
    return (await response.json()).result;
  };
  const address = ivan.address.toString();
  const about = await call('getWalletInformation', { address });
  assert.deepEqual([about.wallet, about.wallet_type, about.seqno, about.account_state], [true, 'wallet v4 r2', 1, 'active']);
  assert.equal((await call('getWalletInformation', { address: somebody(98).toString() })).wallet, false);
  assert.equal(await call('unpackAddress', { address }), ivan.address.toRawString());
  assert.equal(await call('packAddress', { address: ivan.address.toRawString() }), address);
  assert.equal((await call('detectAddress', { address })).raw_form, ivan.address.toRawString());
  const { last } = await call('getMasterchainInfo', {});
  assert.equal((await call('lookupBlock', { workchain: -1, shard: last.shard, seqno: last.seqno })).root_hash, last.root_hash);
  assert.ok(Address.parse(await call('unpackAddress', { address })).equals(ivan.address));
});
