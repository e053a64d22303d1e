// A network whose parts know each other: from a fee to claims that are open, and what proves them.
import { toNano } from '@ton/core';
import { ASKS } from './bounds.mjs';
import { Cocoon } from './cocoon.mjs';
import { Setup } from './groth16.mjs';
import { COCOON } from './jetton.mjs';
import { domainOf, packed } from './rewards.mjs';
import { DAY, TON } from './scene.mjs';
import { bidding } from './vault.mjs';

/// A scene that has the contract of rewards.
export const PAID = { rewards: {} };
/// Of the auditors' keys.
export const COMMITMENT = 777n;
/// Of the circuit that attestations are proven by.
export const setup = new Setup('attestation');
/// What pays for an attestation and all that follows.
export const VALUE = { value: toNano('0.2') };
export const WORK = 200n * TON;
export const FEE = WORK / 20n;

/// Whom the contract of rewards works with.
export const parts = (set) => ({
  vault: set.vault.address, registry: set.dispute.address, governor: set.stranger.address, minter: set.minter.address, terms: set.terms,
});

/// The token, and the contract of rewards with its reserve, which knows nobody yet.
export async function founded(set) {
  const cocoon = await Cocoon.made(set, { reserve: set.pot.address });
  set.contracts.push(set.pot);
  await set.owner.call(set.pot.address, TON, undefined, { init: set.pot.init });
  return cocoon;
}

/// A network whose first epoch is open.
export async function network(set) {
  const cocoon = await founded(set);
  await set.ask('owner', set.pot, set.pot.introduce(parts(set)));
  await begun(set, cocoon);
  return cocoon;
}

/// The rewards are told of keys, and the first epoch is opened.
export async function begun(set, cocoon) {
  cocoon.of(set.vault.address);
  await set.ask('dispute', set.pot, set.pot.verifyingKey(1, setup.key));
  await set.ask('dispute', set.pot, set.pot.auditors(COMMITMENT));
  await close(set);
}

async function close(set) {
  return set.ask('thief', set.vault, set.vault.closeEpoch(), 'done', { value: TON });
}

/// Closes the epoch once it is over, and returns the next one's number.
export async function nextEpoch(set) {
  await set.chain.passTime(DAY);
  await close(set);
  return (await set.vaultEpoch()).epoch;
}

/// Work that is paid and whose fee is booked.
export async function work(set, amount = WORK, provider = set.provider) {
  const channel = await set.opened(amount, { provider: provider.address });
  await set.ask('stranger', channel, channel.claim(1, amount));
  return channel;
}

/// Buys what is on sale.
export async function sell(set, cocoon, amount = 100_000n * COCOON) {
  return cocoon.give('stranger', set.vault.address, amount, { value: toNano('0.3'), forward: ASKS.notification, payload: bidding() });
}

/// An epoch with work whose lot was sold and whose claims are open now. Returns its number.
export async function claimable(set, cocoon, amount) {
  const { epoch } = await set.vaultEpoch();
  await work(set, amount);
  await nextEpoch(set);
  await sell(set, cocoon);
  await nextEpoch(set);
  return epoch;
}

export const proofOf = (set, epoch, lo, hi, fees, { provider = set.provider, commitment = COMMITMENT, of = setup } = {}) => (
  of.prove([domainOf(provider.address, epoch), commitment, packed(lo, hi, fees)]));

/// What a provider is asked to attest: these claims, which earned these fees in an epoch. `change` replaces parts.
export const attesting = (set, epoch, lo, hi, fees, change = {}) => set.provider.attest({ epoch, lo, hi, fees, proof: proofOf(set, epoch, lo, hi, fees), ...change });
