#!/usr/bin/env python3
"""Fingerprints of hidden states, computed from the written rules with Python's numbers only.

It shares no code with the runtime and takes the other way at every step: all values are sorted,
moduli are tried with sets, rounding to bf16 compares the two neighbours, and the polynomial comes
from Newton's divided differences, one inversion a pair. Its output is `fingerprint.json`, which
the tests of `src/fingerprint` compare the runtime with.

    python3 fingerprint.py > fingerprint.json

Rows are not stored but drawn from a seed: `draw` is the whole recipe.
"""

import hashlib
import json
import struct
from fractions import Fraction

PRIME = 65497
TOP = 128
CHUNK = 32
MASK = (1 << 64) - 1


def splitmix(seed):
    """SplitMix64: a stream of 64-bit words."""
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        word = seed
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        yield word ^ (word >> 31)


def draw(kind, seed, count):
    """`count` values of a kind as bits of float32; every one is exact."""
    words = splitmix(seed)
    for _ in range(count):
        word = next(words)
        if kind == "spread":
            # Each power of two half as often as the one below: few values stand out, as in hidden states.
            tail = word & 0xFFFF | 0x10000
            yield to_bits(((word >> 40) - (1 << 23)) * 2.0 ** ((tail & -tail).bit_length() - 24))
        elif kind == "ties":
            yield to_bits(((word >> 40) % 9 - 4) * 0.5)
        elif kind == "halves":
            # On, just below and just above the middle between two bf16, of either sign.
            yield (word >> 63) << 31 | (0x3F00 + (word >> 40) % 0x180) << 16 | 0x7FFF + word % 3
        elif kind == "zeros":
            yield (word >> 63) << 31
        else:
            raise ValueError(kind)


def shake(bits, seed, ulps):
    """Every value moved by up to `ulps` steps of float32, either way."""
    for value, word in zip(bits, splitmix(seed)):
        yield value if value & 0x7FFFFFFF <= ulps else value + word % (2 * ulps + 1) - ulps


def to_bits(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


def from_bits(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def bf16(bits):
    """The nearest bf16; of two equally near, the even one."""
    value = from_bits(bits)
    below = bits >> 16
    # Differences of neighbouring float32 are exact as doubles.
    return min((abs(value - from_bits(b << 16)), b & 1, b) for b in (below, below + 1))[2]


def peaks(bits):
    """Position and bf16 of the largest magnitudes; of equal ones, the first."""
    rounded = [bf16(b) for b in bits]
    order = sorted(range(len(rounded)), key=lambda at: (-(rounded[at] & 0x7FFF), at))
    return [(at, rounded[at]) for at in order[:TOP]]


def modulus(positions):
    for m in range(PRIME, 1 << 15, -1):
        if len({p % m for p in positions}) == len(positions):
            return m
    raise ValueError("no modulus")


def interpolate(points):
    """Newton's divided differences, expanded; constant term first."""
    xs = [x for x, _ in points]
    table = [y for _, y in points]
    for step in range(1, len(points)):
        for at in range(len(points) - 1, step - 1, -1):
            table[at] = (table[at] - table[at - 1]) * pow(xs[at] - xs[at - step], -1, PRIME) % PRIME
    polynomial = [0] * len(points)
    for at in range(len(points) - 1, -1, -1):
        # polynomial = polynomial * (x - xs[at]) + table[at]
        raised = [0] + polynomial[:-1]
        polynomial = [(up - xs[at] * same) % PRIME for up, same in zip(raised, polynomial)]
        polynomial[0] = (polynomial[0] + table[at]) % PRIME
    return polynomial


def fingerprint(bits):
    top = peaks(bits)
    m = modulus([at for at, _ in top])
    polynomial = interpolate([(at % m, value) for at, value in top])
    polynomial += [0] * (TOP - len(polynomial))
    return struct.pack(">129H", m, *polynomial)


def compare(proof, bits):
    m, *polynomial = struct.unpack(">129H", proof)
    errors = []
    top = peaks(bits)
    for at, ours in top:
        theirs = sum(c * pow(at % m, k, PRIME) for k, c in enumerate(polynomial)) % PRIME
        if ours >> 7 == theirs >> 7:
            errors.append(abs(ours % 128 - theirs % 128))
    errors.sort()
    middle = len(errors) // 2
    median = Fraction(errors[middle] + errors[-middle - 1], 2) if errors else None
    mean = Fraction(sum(errors), len(errors)) if errors else None
    parts = [None if f is None else [f.numerator, f.denominator] for f in (mean, median)]
    return {"peaks": len(top), "exponent_matches": len(errors), "mean": parts[0], "median": parts[1]}


def chunk(name, kind, seed, rows, width, ulps):
    bits = list(draw(kind, seed, rows * width))
    proof = fingerprint(bits)
    shaken = list(shake(bits, seed + 1, ulps))
    return {
        "name": name, "kind": kind, "seed": seed, "rows": rows, "width": width,
        "modulus": struct.unpack(">H", proof[:2])[0], "fingerprint": proof.hex(),
        "ulps": ulps, "comparison": compare(proof, shaken),
    }


def answer(seed, width, prompt_rows, answer_rows):
    prompt = list(draw("spread", seed, prompt_rows * width))
    rest = list(draw("spread", seed + 1, answer_rows * width))
    chunks = [prompt[-CHUNK * width:]]
    chunks += [rest[at:at + CHUNK * width] for at in range(0, len(rest), CHUNK * width)]
    proofs = [fingerprint(c) for c in chunks]
    return {
        "seed": seed, "width": width, "prompt_rows": prompt_rows, "answer_rows": answer_rows,
        "fingerprints": len(proofs), "commitment": hashlib.sha256(b"cocoon/f" + b"".join(proofs)).hexdigest(),
    }


CHUNKS = [
    ("a whole chunk", "spread", 1, 32, 576, 1 << 17),
    ("nothing moves", "spread", 2, 32, 64, 0),
    ("wide", "spread", 3, 32, 4096, 1 << 18),
    # Its positions coincide modulo 65,497.
    ("wide, another modulus", "spread", 20, 32, 4096, 1 << 16),
    ("very wide", "spread", 7, 32, 16384, 1 << 17),
    ("a short last chunk", "spread", 11, 5, 2048, 1 << 17),
    ("as many values as peaks", "spread", 13, 2, 64, 1 << 17),
    ("fewer values than peaks", "spread", 17, 1, 64, 1 << 17),
    ("one value", "spread", 19, 1, 1, 1 << 17),
    ("beyond tolerance", "spread", 23, 32, 576, 1 << 22),
    ("equal magnitudes", "ties", 29, 32, 96, 1 << 16),
    ("halves between two bf16", "halves", 31, 32, 96, 1 << 16),
    ("zeros of either sign", "zeros", 37, 4, 96, 0),
]

ANSWERS = [(101, 64, 1, 0), (103, 64, 32, 32), (107, 64, 70, 33), (109, 576, 40, 95), (113, 3, 7, 65)]

if __name__ == "__main__":
    print(json.dumps({"chunks": [chunk(*c) for c in CHUNKS], "answers": [answer(*a) for a in ANSWERS]}, indent=1))
