// Points of BLS12-381 and bytes that are none.
import { bls12_381 } from '@noble/curves/bls12-381.js';

const { G1, G2, fields: { Fp, Fp2 } } = bls12_381;
export const ORDER = bls12_381.fields.Fr.ORDER;

const number = (value) => Buffer.from(value.toString(16).padStart(96, '0'), 'hex');
const marked = (bytes, flags) => {
  const copy = Buffer.from(bytes);
  copy[0] |= flags;
  return copy;
};

/// A point of the curve by a small coordinate, in the subgroup only by a miracle, or none at all if `onCurve` is false.
function byCoordinate(field, encode, make, b, onCurve, from) {
  for (let x = from; ; x += 1) {
    const element = make(BigInt(x));
    const square = field.add(field.mul(field.sqr(element), element), b);
    let found = true;
    try {
      field.sqrt(square);
    } catch {
      found = false;
    }
    if (found === onCurve) return marked(encode(element), 0x80);
  }
}

const first = (onCurve, from) => byCoordinate(Fp, number, (x) => x, 4n, onCurve, from);
const second = (onCurve, from) => byCoordinate(Fp2, ({ c0, c1 }) => Buffer.concat([number(c1), number(c0)]),
  (x) => Fp2.create({ c0: x, c1: 1n }), Fp2.create({ c0: 4n, c1: 4n }), onCurve, from);

function group({ Point }, bytes, other) {
  const times = (factor) => Buffer.from((factor === 0n ? Point.ZERO : Point.BASE.multiply(factor)).toBytes(true));
  const base = times(1n);
  return {
    bytes,
    times,
    random: (random) => times(BigInt(`0x${random.bytes(16).toString('hex')}`) + 1n),
    zero: times(0n),
    stray: [other(true, 1), marked(other(true, 5), 0x20)],
    malformed: {
      'all zeros': Buffer.alloc(bytes),
      'all ones': Buffer.alloc(bytes, 0xff),
      'not marked as compressed': Buffer.concat([Buffer.from([base[0] & 0x7f]), base.subarray(1)]),
      'a coordinate beyond the field': Buffer.concat([Buffer.alloc(48, 0x9f), base.subarray(48)]),
      'a coordinate that is the modulus': marked(Buffer.concat([number(Fp.ORDER), Buffer.alloc(bytes - 48)]), 0x80),
      'infinity with a coordinate': marked(base, 0x40),
      'infinity with a sign': marked(Buffer.alloc(bytes), 0xe0),
      'infinity with a bit at the end': Buffer.concat([Buffer.from([0xc0]), Buffer.alloc(bytes - 2), Buffer.from([1])]),
      'infinity not marked as compressed': marked(Buffer.alloc(bytes), 0x40),
      'not on the curve': other(false, 1),
      'too short': base.subarray(1),
      'nothing at all': Buffer.alloc(0),
    },
    longer: Buffer.concat([base, Buffer.from([1, 2, 3])]),
  };
}

export const first_group = group(G1, 48, first);
export const second_group = group(G2, 96, second);

/// Keys and signatures as TON's instructions take them: keys in the first group, signatures in the second.
const { longSignatures } = bls12_381;
const DOMAIN = 'BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_';

export function signer(secret) {
  const key = Buffer.from(longSignatures.getPublicKey(number(BigInt(secret)).subarray(16)).toBytes(true));
  const sign = (message) => Buffer.from(longSignatures.sign(longSignatures.hash(message, DOMAIN), number(BigInt(secret)).subarray(16)).toBytes(true));
  return { key, sign };
}

export function aggregated(signatures) {
  return Buffer.from(longSignatures.aggregateSignatures(signatures).toBytes(true));
}
