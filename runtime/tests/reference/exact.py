#!/usr/bin/env python3
"""The exact tier's arithmetic, executed as `docs/exact.md` has it, in numpy.

It shares no code with the runtime. Section numbers in comments are those of the page. Integers are
computed with 64 bits and checked to stay within 32 wherever the page says that they do; where it
lets them wrap they wrap, and the greatest value before that is recorded.

    exact.py tables                     entries' hashes, and how near they come to a rounding boundary
    exact.py manifest MODEL             the manifest (3.5)
    exact.py perplexity MODEL TEXT...   float beside exact, over whole texts
    exact.py check MODEL TEXT...        the greatest values that texts reach

`vectors.py` writes exact.json. Needs numpy and, for the manifest, blake3.
"""

import hashlib
import json
import math
import struct
import sys

import numpy as np

from reference import Gguf, Llama, Tokenizer

I = np.int64
WRAP = 1 << 32
BLOCK = 512  # positions
LIMIT = {}  # greatest values seen, by name


def within(x, limit, name=None):
    """Checks a bound of section 8."""
    x = np.asarray(x, I)
    top = int(np.abs(x).max(initial=0))
    assert top <= limit, f"{name}: {top} exceeds {limit}"
    if name:
        LIMIT[name] = max(LIMIT.get(name, 0), top)
    return x


def wrap(x, name=None):
    """Modulo 2^32, signed."""
    x = np.asarray(x, I)
    if name:
        LIMIT[name] = max(LIMIT.get(name, 0), int(np.abs(x).max(initial=0)))
    return ((x + (1 << 31)) & (WRAP - 1)) - (1 << 31)


# Section 1: operators.


def sh(x, s):
    x, s = np.broadcast_arrays(np.asarray(x, I), np.asarray(s, I))
    right = np.clip(s, 1, 31)
    down = np.where(s >= 32, 0, (x >> right) + ((x >> (right - 1)) & 1))
    left = np.clip(-s, 0, 31)
    up = np.where(s <= -32, 0, wrap(x << left))
    return np.where(s > 0, down, up)


def absolute(x):
    return np.minimum(np.abs(np.asarray(x, I)), (1 << 31) - 1)


def bits(x):
    x = np.asarray(x, I)
    return np.frexp(x.astype(np.float64))[1].astype(I)  # exact: x is below 2^53


def isqrt(n):
    n = np.asarray(n, I)
    s = np.sqrt(n.astype(np.float64)).astype(I)
    assert ((s * s <= n) & (n < (s + 1) * (s + 1))).all()
    return s


def norm15(x):
    top = absolute(x).max(-1)
    e = np.where(top > 0, bits(top) - 15, 0)
    return within(sh(x, e[..., None]), 1 << 15), e


def quant14(x):
    top = absolute(x).max(-1)
    e = np.maximum(bits(top) - 14, 0)
    e = e + (sh(top, e) > 16383)
    return within(sh(x, e[..., None]), 16383), e


def quant8(x):
    top = absolute(within(x, 46355)).max(-1)
    m = within(np.maximum((top + 126) // 127, 1), 365)
    wide = m[..., None]
    return within((2 * (x + 127 * wide) + wide) // (2 * wide) - 127, 127), m


def planes(x):
    """Two planes of int8 in f32, below each other."""
    sign, size = np.sign(x), np.abs(x)
    return np.concatenate([sign * (size >> 7), sign * (size & 127)]).astype(np.float32)


def dots(x, w):
    """Rows of x [.., k] times columns of w [k, ..], k <= 512, as an adapter does it in f32."""
    assert x.shape[1] == w.shape[0] <= BLOCK
    both = (planes(within(x, 16383)) @ np.asarray(w, np.float32)).astype(np.int32)
    high, low = both[: len(x)], both[len(x) :]
    return high, low


def dot(x, w):
    high, low = dots(x, w)
    return within(128 * high.astype(I) + low, (1 << 30) - 1)


# Section 2: tables, from integers alone.

ONE = 1 << 200


def exp_fixed(numerator, denominator):
    """e^(numerator / denominator) with 200 binary places, for non-negative arguments."""
    term = total = ONE
    n = 0
    while term:
        n += 1
        term = term * numerator // (denominator * n)
        total += term
    return total


def pi_fixed():
    """Machin: pi = 16 atan(1/5) - 4 atan(1/239)."""

    def atan_inverse(x):
        term, total, n = ONE // x, 0, 1
        while term:
            total += term // n if n % 4 == 1 else -(term // n)
            term //= x * x
            n += 2
        return total

    return 16 * atan_inverse(5) - 4 * atan_inverse(239)


def sin_fixed(x):
    term, total, n = x, x, 1
    while term:
        term = term * x // ONE * x // ONE // ((n + 1) * (n + 2))
        n += 2
        total += term if n % 4 == 1 else -term
    return total


def tables():
    ln2 = ln2_fixed()
    exact = {
        "EXP2": [(ONE << 14) * ONE // exp_fixed(ln2 * i, ONE * 1024) for i in range(1024)],
        "SIGMOID": [(ONE << 15) * ONE // (ONE + ONE * ONE // exp_fixed(i, 32)) for i in range(513)],
        "SINE": [sin_fixed(pi_fixed() * i // 512) << 14 for i in range(257)],
    }
    rounded = {name: [(v + ONE // 2) // ONE for v in values] for name, values in exact.items()}
    # An exact half would be a boundary; sines of 0 and 90 degrees and the like are integers.
    margins = {
        name: min(abs((v % ONE) / ONE - 0.5) for v in values) for name, values in exact.items()
    }
    rounded["EXP2"] = [min(v, 16383) for v in rounded["EXP2"]]
    return {name: np.array(values, I) for name, values in rounded.items()}, margins


def ln2_fixed():
    """ln 2 = 2 atanh(1/3)."""
    term, total, n = 2 * ONE // 3, 0, 1
    while term:
        total += term // n
        term //= 9
        n += 2
    return total


TABLES, MARGINS = tables()
EXP2, SIGMOID, SINE = TABLES["EXP2"], TABLES["SIGMOID"], TABLES["SINE"]


def table_hash(name):
    return hashlib.sha256(TABLES[name].astype("<u2").tobytes()).hexdigest()


# Section 3: from the file to integers.


class File(Gguf):
    """The reader of `reference.py`, and one more type."""

    def tensor(self, name):
        dims, kind, start = self.tensors[name]
        if kind != 2:
            return super().tensor(name)
        count = int(np.prod(dims)) // 32
        blocks = np.frombuffer(self.data, [("d", "<f2"), ("q", "u1", 16)], count, start)
        nibbles = np.concatenate([blocks["q"] & 15, blocks["q"] >> 4], axis=1).astype("f4") - np.float32(8)
        return (blocks["d"].astype("f4")[:, None] * nibbles).reshape(dims[::-1])


def group_of(width):
    for size in (64, 32):
        if width % size == 0:
            return size
    raise ValueError(f"width {width} is not a multiple of 32")


def greatest_exponent(top, fits):
    """The greatest E within [-64, 64] for which `fits(top * 2^E)`; 0 for top 0."""
    if top == 0:
        return 0
    e = 65
    while not fits(math.ldexp(top, e)):
        e -= 1
    assert -64 <= e <= 64
    return e


class Matrix:
    """3.2, and the products of 4.2."""

    def __init__(self, weight):
        assert weight.dtype == np.float32 and np.isfinite(weight).all()
        rows, width = weight.shape
        self.group = group_of(width)
        top = float(np.abs(weight).max())
        self.e = greatest_exponent(top, lambda v: math.ceil(v / 127) <= 1023)
        w = np.ldexp(weight.astype(np.float64), self.e).reshape(rows, -1, self.group)
        m = np.maximum(np.ceil(np.abs(w).max(2) / 127), 1)
        w8 = np.floor(w / m[:, :, None] + 0.5)
        assert np.abs(w8).max() <= 127 and m.max() <= 1023
        self.m = np.ascontiguousarray(m.T).astype(np.int32)  # [groups, rows]
        self.w8 = np.ascontiguousarray(w8.transpose(1, 2, 0)).astype(np.float32)  # [groups, group, rows]

    def row_bytes(self):
        e = struct.pack(">i", self.e)
        m, w8 = self.m.T.astype(">u2"), self.w8.astype(np.int8)
        for row in range(m.shape[0]):
            yield e + m[row].tobytes() + w8[:, :, row].tobytes()

    def product(self, x, a, places):
        """x [tokens, groups, group], a [tokens, groups] to [tokens, rows] with binary places."""
        count, rows = len(x), self.m.shape[1]
        out = np.empty((count, rows), I)
        step = max(1, (1 << 20) // rows)
        for start in range(0, count, step):
            part = slice(start, start + step)
            total = np.zeros((len(x[part]), rows), I)
            for g in range(len(self.m)):
                shift = self.e - places - 7 - a[part, g]
                total += self.term(x[part, g], self.w8[g], self.m[g], shift)
            out[part] = wrap(total, f"sum, {places} places")
        return out

    @staticmethod
    def term(x, w8, m, shift):
        high, low = dots(x, w8)
        # sh(128 * high + low, 7) is high + sh(low, 7).
        scaled = (high + ((low + 64) >> 7)) * m  # below 2^30 by section 8
        if ((shift >= 1) & (shift <= 30)).all():
            s = shift[:, None].astype(np.int32)
            return (scaled + (np.int32(1) << (s - 1))) >> s
        return sh(scaled, shift[:, None])


def norm_weights(weight):
    e = greatest_exponent(float(np.abs(weight).max()), lambda v: math.floor(v + 0.5) <= 32767)
    return np.floor(np.ldexp(weight.astype(np.float64), e) + 0.5).astype(I), e


def bias(values):
    """4.6: F16."""
    assert np.abs(values).max() < 1 << 15
    return np.floor(np.ldexp(values.astype(np.float64), 16) + 0.5).astype(I)


LN2_HIGH, LN2_LOW = 6.931471803691238e-1, 1.9082149292705877e-10


def exp_f64(x):
    if x < -700.0:
        return 0.0
    product = x * 1.4426950408889634
    exponent = float(math.floor(abs(product) + 0.5)) * (-1.0 if product < 0 else 1.0)
    rest = (x - exponent * LN2_HIGH) - exponent * LN2_LOW
    total = 1.0
    for n in range(13, 0, -1):
        total = 1.0 + total * rest / n
    return total * math.ldexp(1.0, int(exponent))


def ln_f64(x):
    f, k = math.frexp(x)
    f, k = f * 2, k - 1
    if f > 1.4142135623730951:
        f, k = f / 2, k + 1
    z = (f - 1) / (f + 1)
    y, s = z * z, 0.0
    for n in range(20, -1, -1):
        s = s * y + 1 / (2 * n + 1)
    return k * LN2_HIGH + (2 * z * s + k * LN2_LOW)


def turns(base, size, stretch=1.0, divisors=None):
    logarithm = ln_f64(base)
    out = []
    for i in range(size // 2):
        frequency = exp_f64(-(2 * i / size) * logarithm)
        divisor = 1.0 if divisors is None else float(divisors[i])
        out.append(math.floor(frequency / (stretch * divisor) * 683565275.5764316 + 0.5))
    return np.array(out, I)


# Section 4: the forward pass.


def sine(phase):
    phase = np.asarray(phase, I) & (WRAP - 1)
    quadrant, z = phase >> 30, phase & ((1 << 30) - 1)
    z = np.where(quadrant & 1, (1 << 30) - z, z)
    i, f = z >> 22, (z >> 8) & 16383
    y = SINE[i] + sh((SINE[np.minimum(i + 1, 256)] - SINE[i]) * f, 14)
    return np.where(quadrant & 2, -y, y)


def rotate(x, positions, steps, neighbours=True):
    """x [tokens, heads, size]; pairs are neighbours, or halves facing each other."""
    size = x.shape[-1]
    one, two = (slice(0, None, 2), slice(1, None, 2)) if neighbours else (slice(0, size // 2), slice(size // 2, None))
    phase = (positions[:, None] * steps[None]) & (WRAP - 1)
    s, c = sine(phase)[:, None], sine(phase + (1 << 30))[:, None]
    out = np.empty_like(x)
    first, second = x[..., one], x[..., two]
    out[..., one] = sh(within(first * c - second * s, 1 << 30), 14)
    out[..., two] = sh(within(first * s + second * c, 1 << 30), 14)
    return out


def normed(h, weight, eps):
    """4.1, steps 1 to 6: rows [.., K] to u, its binary places, and the scalars for vectors."""
    w, e_w = weight
    width = h.shape[1]
    e = np.maximum(bits(absolute(h).max(1)) - 15, 0)
    h1 = within(sh(h, e[:, None]), 1 << 15)
    square = h1 * h1
    hi, lo = (square >> 15).sum(1), (square & 32767).sum(1)
    hi, lo = within(hi + (lo >> 15), (1 << 31) - 1), lo & 32767
    mean = (hi // width) * 32768 + ((hi % width) * 32768 + lo) // width
    mean = within(np.maximum(mean + np.where(2 * e > 31, 0, eps >> np.minimum(2 * e, 31)), 1), (1 << 31) - 1)
    j = (30 - bits(mean)) >> 1
    n = np.where(j < 0, mean >> 2, mean << (2 * np.maximum(j, 0)))
    s = isqrt(within(n, (1 << 30) - 1))
    r = (1 << 29) // s
    places = 15 - ((int(width - 1).bit_length() + 1) >> 1)
    t = within(sh(within(h1 * r[:, None], 1 << 30), (29 - j - places)[:, None]), 46345)
    u = within(t * w, 46345 * 32767)
    return u, places + e_w, {"e": e, "mean": mean, "s": s, "r": r, "t": t}


def norm(h, weight, eps):
    """4.1: [tokens, K] to x [tokens, groups, G], a [tokens, groups], and the scalars for vectors."""
    u, places, inside = normed(h, weight, eps)
    x, q = quant14(u.reshape(len(h), -1, group_of(h.shape[1])))
    return x, q - places, inside


def head_norm(y, weight, eps16):
    """4.6: heads [tokens, heads, size], F16."""
    u, places, _ = normed(y.reshape(-1, y.shape[-1]), weight, eps16)
    return sh(u, places - 16).reshape(y.shape)


class Exact:
    """A Llama in integers."""

    def __init__(self, file):
        self.family = file.meta["general.architecture"]
        assert self.family in ("llama", "qwen2", "qwen3")
        meta = lambda key, default=None: file.meta.get(f"{self.family}.{key}", default)
        self.heads, self.kv = meta("attention.head_count"), meta("attention.head_count_kv")
        self.width = meta("embedding_length")
        self.size = meta("attention.key_length", self.width // self.heads)
        assert self.width <= 32767 and self.size <= 256 and self.size % 2 == 0
        epsilon = meta("attention.layer_norm_rms_epsilon")
        self.eps, self.eps16 = (math.floor(math.ldexp(epsilon, places) + 0.5) for places in (28, 32))
        assert self.eps16 < 1 << 30
        stretch = meta("rope.scaling.factor", 1.0) if meta("rope.scaling.type") == "linear" else 1.0
        divisors = file.tensor("rope_freqs.weight") if "rope_freqs.weight" in file.tensors else None
        self.steps = turns(meta("rope.freq_base", 10000.0), self.size, stretch, divisors)
        embedding = file.tensor("token_embd.weight")
        self.embedding = np.floor(np.ldexp(embedding.astype(np.float64), 14) + 0.5).astype(I)
        factor = np.float32(1.4426950408889634 / math.sqrt(self.size))
        self.layers = []
        for index in range(meta("block_count")):
            of = lambda part, kind="weight": file.tensor(f"blk.{index}.{part}.{kind}")
            layer = {"attn_norm": norm_weights(of("attn_norm"))}
            for part in "qkv":
                scale = factor if part == "q" and self.family != "qwen3" else np.float32(1)
                layer[part] = Matrix(of("attn_" + part) * scale)
                if self.family == "qwen2":
                    layer[part + "_bias"] = bias(of("attn_" + part, "bias") * scale)
            if self.family == "qwen3":
                layer["q_norm"] = norm_weights(of("attn_q_norm") * factor)
                layer["k_norm"] = norm_weights(of("attn_k_norm"))
            layer["o"] = Matrix(of("attn_output"))
            layer["ffn_norm"] = norm_weights(of("ffn_norm"))
            layer |= {part: Matrix(of("ffn_" + part)) for part in ("gate", "up", "down")}
            self.layers.append(layer)
        self.norm = norm_weights(file.tensor("output_norm.weight"))
        self.head = Matrix(file.tensor("output.weight") if "output.weight" in file.tensors else embedding)

    def read(self, ids, cache):
        """Reads tokens behind those of the cache; all residual rows, [layers + 1][tokens, K]."""
        start = cache[0]["kx"].shape[0] if cache else 0
        positions = np.arange(start, start + len(ids))
        rows = [self.embedding[ids]]
        for index, layer in enumerate(self.layers):
            if index == len(cache):
                cache.append({})
            h = self.attention(rows[-1], layer, positions, cache[index])
            rows.append(self.feed(h, layer))
        return rows

    def attention(self, h, layer, positions, cache):
        count = len(h)
        x, a, _ = norm(h, layer["attn_norm"], self.eps)
        heads = {p: wrap(layer[p].product(x, a, 16) + layer.get(p + "_bias", 0)).reshape(count, -1, self.size) for p in "qkv"}
        for part in "qk":
            if part + "_norm" in layer:
                heads[part] = head_norm(heads[part], layer[part + "_norm"], self.eps16)
        neighbours = self.family == "llama"
        x, e = norm15(heads["q"])
        qx, b = quant14(rotate(x, positions, self.steps, neighbours))
        eq = e + b - 16
        append(cache, keys(heads["k"], positions, self.steps, neighbours) | values(heads["v"]))
        out = np.empty((count, self.heads, self.size), I)
        for head in range(self.heads):
            of = head // (self.heads // self.kv)
            seen = {name: array[:, of] for name, array in cache.items()}
            out[:, head] = attend(qx[:, head], eq[:, head], positions, seen)[0]
        out = out.reshape(count, -1)
        x, b = quant14(out.reshape(count, -1, group_of(out.shape[1])))
        return wrap(h + layer["o"].product(x, b - 16, 14), "residual")

    def feed(self, h, layer):
        x, a, _ = norm(h, layer["ffn_norm"], self.eps)
        x, a = activation(layer["gate"].product(x, a, 16), layer["up"].product(x, a, 16))
        return wrap(h + layer["down"].product(x, a, 14), "residual")

    def logits(self, h):
        x, a, _ = norm(h, self.norm, self.eps)
        return np.clip(self.head.product(x, a, 16), -(1 << 24), 1 << 24)

    def tensors(self):
        """Rows of bytes of each tensor in the manifest's order."""
        yield (row.astype(">i4").tobytes() for row in self.embedding)
        one = lambda weight: iter([struct.pack(">i", weight[1]) + weight[0].astype(">i2").tobytes()])
        for layer in self.layers:
            for name, part in layer.items():
                if name.endswith("bias"):
                    yield iter([part.astype(">i4").tobytes()])
                else:
                    yield one(part) if name.endswith("norm") else part.row_bytes()
        yield one(self.norm)
        yield self.head.row_bytes()
        yield iter([struct.pack(">i", self.eps) + self.steps.astype(">u4").tobytes()])


def append(cache, new):
    for name, array in new.items():
        cache[name] = np.concatenate([cache[name], array]) if name in cache else array


def keys(k, positions, steps, neighbours=True):
    x, e = norm15(k)
    kx, mk = quant8(rotate(x, positions, steps, neighbours))
    return {"kx": kx, "mk": mk, "ek": e - 16}


def values(v):
    x, e = norm15(v)
    vx, mv = quant8(x)
    return {"vx": vx, "mv": mv, "ev": e - 16}


def attend(qx, eq, positions, seen):
    """4.3, steps 4 to 7: one query head, [tokens, size], over the cache of its key head."""
    count = len(qx)
    score = sh(dot(qx, seen["kx"].T), 7) * seen["mk"][None]
    score = sh(within(score, (1 << 31) - 1), -(eq[:, None] + seen["ek"][None] + 17))
    score = within(np.clip(score, -(1 << 24), 1 << 24), 1 << 24, "score")
    parts = []
    for start in range(0, int(positions[-1]) + 1, BLOCK):
        part = slice(start, min(start + BLOCK, int(positions[-1]) + 1))
        visible = np.arange(part.start, part.stop)[None] <= positions[:, None]
        some = visible.any(1)
        b = (np.where(visible, score[:, part], -(1 << 30)).max(1) + 1023) >> 10
        t = np.where(visible, 1024 * b[:, None] - score[:, part], 0)
        p = np.where(visible, sh(EXP2[t & 1023], t >> 10), 0)
        v = np.where(visible, seen["ev"][None, part], -(1 << 30)).max(1)
        z = sh(p * seen["mv"][None, part], np.where(visible, 9 + v[:, None] - seen["ev"][None, part], 32))
        n = dot(within(z, 8287), seen["vx"][part])
        # Rows that see nothing of a block are taken out of the sums by a shift beyond 32.
        parts.append((np.where(some, b, -(1 << 20)), p.sum(1), np.where(some, v, -(1 << 20)), n))
    top_b, top_v = (np.max([part[at] for part in parts], 0) for at in (0, 2))
    d = np.maximum(sum(sh(s, np.minimum(top_b - b, 99)) for b, s, _, _ in parts), 1)
    total = sum(sh(n, np.minimum(8 + (top_b - b) + (top_v - v), 99)[:, None]) for b, _, v, n in parts)
    within(d, (1 << 31) - 1), within(total, 1 << 30)
    e = bits(d) - 15
    r = (1 << 29) // sh(d, e)
    out = sh(within(sh(total, e[:, None]) * r[:, None], 1 << 29), -(top_v + 4)[:, None])
    return out.reshape(count, -1), {"score": score, "d": d, "total": total, "r": r}


def sigmoid(g):
    c = np.minimum(absolute(g), (1 << 20) - 1)
    i, f = c >> 11, c & 2047
    y = SIGMOID[i] + sh((SIGMOID[i + 1] - SIGMOID[i]) * f, 11)
    return np.where(g < 0, 32768 - y, y)


def activation(g, u):
    """4.4: gate and up [tokens, width] to x [tokens, groups, G], a [tokens, groups]."""
    shape = (len(g), -1, group_of(g.shape[1]))
    within(g, 1 << 31, "gate"), within(u, 1 << 31, "up")
    y = sigmoid(g).reshape(shape)
    g1, eg = norm15(np.where(g <= -(1 << 20), 0, g).reshape(shape))
    u1, eu = norm15(u.reshape(shape))
    t = within(sh(g1 * y, 15) * u1, 1 << 30)
    x, b = quant14(t)
    return x, b + eg + eu - 32


# Section 6: commitments.


def tree_root(digests):
    """RFC 6962, as `market::tree`."""
    if not digests:
        return hashlib.sha256(b"").digest()
    level = [hashlib.sha256(b"\0" + digest).digest() for digest in digests]
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[0::2], level[1::2])]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
    return level[0]


def activation_digest(layer, position, row):
    head = b"cocoon/exact/x/1\0" + struct.pack(">II", layer, position)
    return hashlib.sha256(head + row.astype(">i4").tobytes()).digest()


def activation_root(layers):
    """From residual rows [layers + 1][positions, K]."""
    positions = range(len(layers[0]))
    return tree_root([activation_digest(l, p, rows[p]) for p in positions for l, rows in enumerate(layers)])


def weights_root(model):
    digests = []
    for tensor, rows in enumerate(model.tensors()):
        for row, data in enumerate(rows):
            head = b"cocoon/exact/w/1\0" + struct.pack(">II", tensor, row)
            digests.append(hashlib.sha256(head + data).digest())
    return tree_root(digests)


def manifest(file, model):
    import blake3

    entries = {"arithmetic": 1, "model_blake3": blake3.blake3(file.data).hexdigest(), "weights_root": weights_root(model).hex()}
    return json.dumps(entries, separators=(",", ":"))


# Commands.


def float_logits(model, ids):
    """All positions' scores by the float reference."""
    x, count = model.embedding[ids], len(ids)
    for layer in model.layers:
        h = model.rms(x, layer["attn_norm"])
        q = model.rope((h @ layer["attn_q"].T).reshape(count, model.heads, model.size), 0)
        k = model.rope((h @ layer["attn_k"].T).reshape(count, model.kv, model.size), 0)
        v = (h @ layer["attn_v"].T).reshape(count, model.kv, model.size)
        x = x + model.attend(q, k, v, 0) @ layer["attn_output"].T
        h = model.rms(x, layer["ffn_norm"])
        gate = h @ layer["ffn_gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ layer["ffn_up"].T)) @ layer["ffn_down"].T
    return model.rms(x, model.norm) @ model.output.T


def surprise(logits, ids):
    """Each token's negative log likelihood."""
    logits = logits[:-1].astype(np.float64)
    top = logits.max(1, keepdims=True)
    return np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(len(logits)), ids[1:]]


def perplexity(path, texts):
    file = File(path)
    tokenizer, plain, model = Tokenizer(file.meta), Llama(file), Exact(file)
    print("| text | tokens | float | exact | difference | its standard error | same argmax |\n|---|---|---|---|---|---|---|")
    every = []
    for text in texts:
        ids = tokenizer.encode(open(text).read())
        a, b = float_logits(plain, ids), model.logits(model.read(ids, [])[-1])
        scores = [surprise(a, ids), surprise(b * 2.0**-16, ids), a.argmax(1) == b.argmax(1)]
        every.append(scores)
        report(text.rsplit("/", 1)[-1], *scores)
    report("all", *(np.concatenate(part) for part in zip(*every)))
    print(f"\nroot mean square of a token's difference: {np.sqrt(np.mean(np.concatenate([b - a for a, b, _ in every]) ** 2)):.3f} nats")


def report(name, a, b, same):
    difference, error = np.exp((b - a).mean()) - 1, (b - a).std() / len(a) ** 0.5
    print(
        f"| {name} | {len(same)} | {np.exp(a.mean()):.3f} | {np.exp(b.mean()):.3f} | {100 * difference:+.2f}% "
        f"| {100 * error:.2f}% | {same.mean():.3f} |",
        flush=True,
    )


def check(path, texts):
    file = File(path)
    tokenizer, model = Tokenizer(file.meta), Exact(file)
    for text in texts:
        model.logits(model.read(tokenizer.encode(open(text).read()), [])[-1][-4:])
    for name, top in sorted(LIMIT.items()):
        print(f"{name}: {top}, {31 - top.bit_length()} bits to spare")


def main():
    command, *rest = sys.argv[1:]
    if command == "tables":
        for name in TABLES:
            print(name, len(TABLES[name]), table_hash(name), f"nearest to a boundary: {MARGINS[name]:.2e}")
    elif command == "manifest":
        file = File(rest[0])
        print(manifest(file, Exact(file)), end="")
    elif command == "perplexity":
        perplexity(rest[0], rest[1:])
    elif command == "check":
        check(rest[0], rest[1:])


if __name__ == "__main__":
    main()
