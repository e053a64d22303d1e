// What the contracts ask for: their gas bounds, read from their sources, at the prices of 2026.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const contracts = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const PER_GAS = 4_369_067n;
const PER_CELL = 436_906_667n;

const sources = [
  'pricing', 'channel', 'provider', 'provider-rewards', 'vault', 'auction', 'jetton', 'jetton-wallet', 'jetton-minter', 'locks', 'lock', 'governor',
  'registry', 'rewards'].map((name) => readFileSync(join(contracts, `${name}.tolk`), 'utf8')).join('\n');
/// `GAS_CLAIM` and its like.
export const GAS = Object.fromEntries([...sources.matchAll(/^const (GAS_\w+) = (\d+)$/gm)].map(([, name, gas]) => [name, BigInt(gas)]));

const up = (value) => (value + 0xffffn) >> 16n;

export function gasFee(gas) {
  return gas <= 100n ? 6_667n : 6_667n + up((gas - 100n) * PER_GAS);
}

/// Of a message with so many bits and cells beyond its root cell.
export function messageFee(bits, cells) {
  return 66_667n + up(bits * PER_GAS + cells * PER_CELL);
}

export const forward = messageFee(1_023n, 1n);
/// What a fee brings beside itself.
export const feeFee = gasFee(GAS.GAS_FEE) + gasFee(GAS.GAS_BOOKED) + forward;
export const paidFee = gasFee(GAS.GAS_PAID) + feeFee + 3n * forward;
/// What each claim of a batch is sent with.
export const claimValue = messageFee(1_376n, 2n) + gasFee(GAS.GAS_CLAIM) + paidFee;

/// Of a message that deploys a jetton wallet.
const deploy = messageFee(1_023n + 6_500n, 1n + 17n);

/// Of a message that deploys a lock.
const deployLock = messageFee(1_023n + 14_500n, 1n + 27n);
/// What a transfer of COCOON asks for.
const transfer = gasFee(GAS.GAS_JETTON_TRANSFER) + gasFee(GAS.GAS_INTERNAL_TRANSFER) + deploy + 10_000_000n + forward;
const count = gasFee(GAS.GAS_LOCKED) + gasFee(GAS.GAS_COUNTED) + 3n * forward;
const cocoonBack = gasFee(GAS.GAS_REFUSED) + 2n * forward + transfer;
/// What a contract is told with.
export const told = gasFee(GAS.GAS_TOLD) + forward;

/// The least value of each message, beside the amounts it names.
export const ASKS = {
  deposit: gasFee(GAS.GAS_DEPOSIT),
  claim: gasFee(GAS.GAS_CLAIM) + paidFee,
  closeUnilateral: gasFee(GAS.GAS_CLOSE),
  finishClose: gasFee(GAS.GAS_FINISH) + forward,
  closeCooperative: gasFee(GAS.GAS_COOPERATIVE) + paidFee + forward,
  stake: gasFee(GAS.GAS_STAKE),
  unbond: gasFee(GAS.GAS_OWNER) + forward,
  withdraw: gasFee(GAS.GAS_OWNER) + 2n * forward,
  withdrawOperations: gasFee(GAS.GAS_OWNER) + 2n * forward,
  setOperator: gasFee(GAS.GAS_OWNER) + forward,
  slash: gasFee(GAS.GAS_SLASH) + 2n * forward,
  poke: gasFee(GAS.GAS_POKE) + forward,
  pokeOver: gasFee(GAS.GAS_POKE_OVER) + feeFee + 3n * forward,
  flush: gasFee(GAS.GAS_FLUSH) + feeFee + 3n * forward,
  fee: gasFee(GAS.GAS_FEE),
  payTreasury: gasFee(GAS.GAS_PAY) + 2n * forward,
  closeEpoch: gasFee(GAS.GAS_CLOSE_EPOCH) + gasFee(GAS.GAS_EPOCH_SOLD) + gasFee(GAS.GAS_JETTON_BURN) + gasFee(GAS.GAS_BURN_NOTIFICATION) + 5n * forward,
  /// What whoever sends COCOON to the vault tells it with.
  notification: gasFee(GAS.GAS_NOTIFICATION) + gasFee(GAS.GAS_JETTON_TRANSFER) + gasFee(GAS.GAS_INTERNAL_TRANSFER) + deploy + 10_000_000n + 5n * forward,
  collectReward: gasFee(GAS.GAS_COLLECT) + gasFee(GAS.GAS_COLLECTED) + gasFee(GAS.GAS_REWARDED) + 3n * forward,
  takeReward: gasFee(GAS.GAS_TAKE) + gasFee(GAS.GAS_RELEASE) + gasFee(GAS.GAS_JETTON_TRANSFER) + gasFee(GAS.GAS_INTERNAL_TRANSFER) + deploy + 10_000_000n + 4n * forward,
  /// Beside the way of the proof.
  attest: gasFee(GAS.GAS_ATTEST) + gasFee(GAS.GAS_ATTESTED) + gasFee(GAS.GAS_REGISTERED) + 3n * forward,
  introduceRewards: gasFee(GAS.GAS_INTRODUCE_REWARDS) + forward,
  genesis: gasFee(GAS.GAS_GENESIS) + 4n * (20_000_000n + deploy) + forward,
  whereIs: gasFee(GAS.GAS_DISCOVERY) + forward,
  jettonBurn: gasFee(GAS.GAS_JETTON_BURN) + gasFee(GAS.GAS_BURN_NOTIFICATION) + 2n * forward,
  /// Beside what the recipient is told with, and the ways of the payload.
  /// Of a transfer's notification: COCOON that is locked, and COCOON that goes back.
  lock: gasFee(GAS.GAS_NOTIFIED) + deployLock + gasFee(GAS.GAS_LOCK_MORE) + 10_000_000n + (count > cocoonBack ? count : cocoonBack),
  cocoonBack: gasFee(GAS.GAS_NOTIFIED) + forward + transfer,
  lengthen: gasFee(GAS.GAS_LOCK_MORE) + count,
  vote: gasFee(GAS.GAS_VOTE) + gasFee(GAS.GAS_VOICE) + gasFee(GAS.GAS_VOTED) + 3n * forward,
  /// Beside the way of the action.
  propose: gasFee(GAS.GAS_PROPOSE) + gasFee(GAS.GAS_PROPOSAL) + gasFee(GAS.GAS_COUNTED) + 3n * forward,
  unlock: gasFee(GAS.GAS_UNLOCK) + gasFee(GAS.GAS_UNLOCKED) + 2n * forward + transfer,
  introduceGovernor: gasFee(GAS.GAS_INTRODUCE) + forward,
  stop: gasFee(GAS.GAS_STOP) + 2n * forward + told,
  /// Of an action that came on this way.
  execute: (way) => {
    const change = gasFee(GAS.GAS_CHANGE) + 2n * (way + forward) + told;
    return gasFee(GAS.GAS_EXECUTE) + 2n * forward + (change > transfer ? change : transfer);
  },
  introduceRegistry: gasFee(GAS.GAS_INTRODUCE_REGISTRY) + forward,
  tell: gasFee(GAS.GAS_TELL) + messageFee(4_300n, 7n) + told + forward,
  proveAuditors: (auditors) => gasFee(GAS.GAS_PROVE + BigInt(auditors) * GAS.GAS_AUDITOR) + told + 2n * forward,
  jettonTransfer: gasFee(GAS.GAS_JETTON_TRANSFER) + gasFee(GAS.GAS_INTERNAL_TRANSFER) + deploy + 10_000_000n + forward,
};

/// Gas by which a message with this opcode is read, and refused for bringing too little: its first check, before any storage is loaded.
export const FIRST_CHECK = {
  0x43430001: 1_800n, 0x43430002: 1_700n, 0x43430003: 1_100n, 0x43430004: 1_400n, 0x43430005: 2_100n,
  0x43500002: 1_700n, 0x43500003: 1_900n, 0x43500004: 2_000n, 0x43500005: 2_000n, 0x43500006: 2_300n, 0x43500007: 2_300n,
  0x43500008: 2_800n, 0x43500009: 3_000n, 0x4350000a: 4_500n, 0x4350000b: 4_500n, 0x4350000c: 4_500n, 0x43520005: 4_000n,
  0x43560001: 1_600n, 0x43560002: 2_000n, 0x43560004: 3_000n,
  0x434c0001: 4_000n, 0x434c0002: 4_000n, 0x434c0003: 4_000n, 0x434c0004: 4_000n, 0x43470002: 4_000n, 0x43470003: 4_000n, 0x43470004: 4_000n,
  0x434e0001: 4_000n, 0x434e0003: 4_000n, 0x434e0004: 4_000n,
  0x0f8a7ea5: 4_000n, 0x595f07bc: 4_000n, 0x434a0001: 4_000n, 0x2c76b973: 4_000n,
};

/// Which bound a message that begins with this opcode has.
const BOUND_OF = {
  0x43430001: 'GAS_DEPOSIT', 0x43430002: 'GAS_CLAIM', 0x43430003: 'GAS_CLOSE', 0x43430004: 'GAS_FINISH', 0x43430005: 'GAS_COOPERATIVE',
  0x43430101: 'GAS_PAID', 0x43500001: 'GAS_STAKE', 0x43500002: 'GAS_OWNER', 0x43500003: 'GAS_OWNER', 0x43500004: 'GAS_OWNER',
  0x43500005: 'GAS_OWNER', 0x43500006: 'GAS_SLASH', 0x43500007: 'GAS_POKE', 0x43500008: 'GAS_POKE_OVER', 0x43500009: 'GAS_FLUSH',
  0x43560102: 'GAS_BOOKED', 0x43560103: 'GAS_BOOKED', 0x4350000a: 'GAS_ATTEST', 0x4350000b: 'GAS_COLLECT', 0x4350000c: 'GAS_TAKE',
  0x43520102: 'GAS_REGISTERED', 0x43520103: 'GAS_REWARDED',
  0x43560001: 'GAS_FEE', 0x43560002: 'GAS_PAY',
  0x0f8a7ea5: 'GAS_JETTON_TRANSFER', 0x178d4519: 'GAS_INTERNAL_TRANSFER', 0x595f07bc: 'GAS_JETTON_BURN', 0x7bdd97de: 'GAS_BURN_NOTIFICATION',
  0x43560003: 'GAS_TOLD', 0x43560004: 'GAS_CLOSE_EPOCH',
  0x434a0001: 'GAS_GENESIS', 0x2c76b973: 'GAS_DISCOVERY',
  0x434c0001: 'GAS_LOCK_MORE', 0x434c0002: 'GAS_VOTE', 0x434c0003: 'GAS_PROPOSE', 0x434c0004: 'GAS_UNLOCK',
  0x434c0011: 'GAS_LOCK_MORE', 0x434c0012: 'GAS_COUNTED', 0x434c0013: 'GAS_VOTED', 0x434c0014: 'GAS_COUNTED',
  0x7362d09c: 'GAS_NOTIFIED', 0x43470002: 'GAS_INTRODUCE', 0x43470003: 'GAS_EXECUTE', 0x43470004: 'GAS_STOP',
  0x43470011: 'GAS_LOCKED', 0x43470012: 'GAS_VOICE', 0x43470013: 'GAS_PROPOSAL', 0x43470014: 'GAS_UNLOCKED',
  0x43520001: 'GAS_EPOCH_SOLD', 0x43520002: 'GAS_ATTESTED', 0x43520003: 'GAS_COLLECTED', 0x43520004: 'GAS_RELEASE', 0x43520005: 'GAS_INTRODUCE_REWARDS',
  0x43520010: 'GAS_TOLD', 0x43520011: 'GAS_TOLD', 0x43520012: 'GAS_TOLD',
  0x434e0001: 'GAS_INTRODUCE_REGISTRY', 0x434e0002: 'GAS_CHANGE', 0x434e0004: 'GAS_TELL',
};
/// Which bound the answer to a message has that came back.
const BOUND_OF_BOUNCED = {
  0x43520002: 'GAS_REGISTERED', 0x43520003: 'GAS_REWARDED', 0x43520004: 'GAS_REWARDED',
  0x434c0011: 'GAS_REFUSED', 0x0f8a7ea5: 'GAS_REFUSED', 0x434e0002: 'GAS_REFUSED',
  0x43470011: 'GAS_COUNTED', 0x43470012: 'GAS_VOTED', 0x43470013: 'GAS_COUNTED', 0x43470014: 'GAS_COUNTED',
};
/// Wallets tell both the vault and the governor what came.
const NOTIFICATION = 0x7362d09c;
const PROVE = 0x434e0003;
const BATCH = 0x43504001;

/// What a transaction used and what its bound is, or nothing if its message is none that a bound is for.
export function held({ inMessage, description }, isVault = false) {
  const used = description.computePhase?.gasUsed;
  if (used === undefined) return undefined;
  const body = inMessage.body.beginParse();
  if (inMessage.info.type === 'external-in') {
    const command = body.loadRef().beginParse();
    const count = command.loadUint(32) === BATCH ? command.loadUint(8) : 0;
    return { name: count > 0 ? `GAS_OPERATOR and ${count} times GAS_BATCHED` : 'GAS_OPERATOR', used, bound: GAS.GAS_OPERATOR + BigInt(count) * GAS.GAS_BATCHED };
  }
  const back = inMessage.info.bounced && BOUND_OF_BOUNCED[bouncedOpcode(body)];
  if (back) return { name: `${back} (bounced)`, used, bound: GAS[back] };
  // A claim that came back pays for its work with what the way of a claim that went through would have cost.
  if (inMessage.info.bounced) return { name: 'GAS_PAID', used, bound: GAS.GAS_PAID };
  if (body.remainingBits >= 104 && body.preloadUint(32) === PROVE) {
    const count = body.skip(96).loadUint(8);
    return { name: `GAS_PROVE and ${count} times GAS_AUDITOR`, used, bound: GAS.GAS_PROVE + BigInt(count) * GAS.GAS_AUDITOR };
  }
  const opcode = body.remainingBits >= 32 ? body.loadUint(32) : 0;
  const name = isVault && opcode === NOTIFICATION ? 'GAS_NOTIFICATION' : BOUND_OF[opcode];
  return name && { name, used, bound: GAS[name] };
}

/// What a message began with that came back, in the old form or in the new one.
function bouncedOpcode(body) {
  const its = body.clone();
  if (its.remainingBits < 32) return undefined;
  const inner = its.loadUint(32) === 0xfffffffe ? its.loadRef().beginParse() : its;
  return inner.remainingBits >= 32 ? inner.loadUint(32) : undefined;
}

/// What a contract is told that the way of a message to it cost, by the cells beyond its root: the body, or its references where it is small
/// enough to stand in the root itself.
export function wayOf(...cells) {
  const seen = new Map();
  const walk = (cell) => {
    if (seen.has(cell.hash().toString('hex'))) return;
    seen.set(cell.hash().toString('hex'), cell.bits.length);
    cell.refs.forEach(walk);
  };
  cells.forEach(walk);
  const whole = messageFee([...seen.values()].reduce((sum, bits) => sum + BigInt(bits), 0n), BigInt(seen.size));
  // A third stays with the sender's validators, and a contract is told the whole as the rest makes it out to be.
  return ((whole - ((whole * 21_845n) >> 16n)) << 16n) / 43_691n;
}
