// Keys and proofs of Groth16 as `groth16.tolk` reads them. Whoever makes a key here keeps what must be thrown away otherwise, and so proves anything.
import { beginCell } from '@ton/core';
import { sha256_sync } from '@ton/crypto';
import { bls12_381 } from '@noble/curves/bls12-381.js';
import { ORDER, first_group as G1, second_group as G2 } from './points.mjs';

const { Fr } = bls12_381.fields;
const scalar = (name) => Fr.create(BigInt(`0x${sha256_sync(`scalar ${name}`).toString('hex')}`));

export const cellOf = (...points) => beginCell().storeBuffer(Buffer.concat(points)).endCell();

/// A verifying key from its points.
export function keyCell({ alpha, beta, gamma, delta, ic }) {
  return beginCell().storeBuffer(alpha).storeBuffer(ic[0]).storeRef(cellOf(beta)).storeRef(cellOf(gamma)).storeRef(cellOf(delta))
    .storeRef(beginCell().storeBuffer(ic[1]).storeBuffer(ic[2]).storeRef(cellOf(ic[3])).endCell()).endCell();
}

/// A proof from its points.
export function proofCell({ a, b, c }) {
  return beginCell().storeBuffer(a).storeBuffer(c).storeRef(cellOf(b)).endCell();
}

export class Setup {
  constructor(name) {
    const part = (what) => scalar(`${name} ${what}`);
    [this.alpha, this.beta, this.gamma, this.delta] = ['alpha', 'beta', 'gamma', 'delta'].map(part);
    this.ic = [0, 1, 2, 3].map((n) => part(`ic${n}`));
    this.points = {
      alpha: G1.times(this.alpha), beta: G2.times(this.beta), gamma: G2.times(this.gamma), delta: G2.times(this.delta), ic: this.ic.map((ic) => G1.times(ic)),
    };
    this.key = keyCell(this.points);
  }

  /// The points of a proof of three public inputs.
  pointsFor(inputs, seed = 'a proof') {
    const [a, b] = [scalar(`${seed} a`), scalar(`${seed} b`)];
    const sum = inputs.reduce((all, input, n) => Fr.add(all, Fr.mul(Fr.create(input), this.ic[n + 1])), this.ic[0]);
    const rest = Fr.sub(Fr.sub(Fr.mul(a, b), Fr.mul(this.alpha, this.beta)), Fr.mul(sum, this.gamma));
    return { a: G1.times(a), b: G2.times(b), c: G1.times(Fr.div(rest, this.delta)) };
  }

  prove(inputs, seed) {
    return proofCell(this.pointsFor(inputs, seed));
  }
}

/// What a registry computes of a list and a commitment: the public inputs of the proof that they agree.
export function listInputs(auditors, list, commitment) {
  const drawn = sha256_sync(Buffer.concat([list.hash(), Buffer.from(commitment.toString(16).padStart(64, '0'), 'hex')]));
  const challenge = BigInt(`0x${drawn.subarray(0, 31).toString('hex')}`);
  const coordinates = Array.from({ length: 64 }, (_, n) => auditors[n] ?? { x: 0n, y: 0n }).flatMap(({ x, y }) => [x, y]);
  const value = coordinates.reduce((sum, next) => (sum * challenge + next) % ORDER, 0n);
  return [commitment, challenge, value];
}
