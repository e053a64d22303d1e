#!/usr/bin/env python3
"""Vectors of the exact tier, by the reference of `exact.py`: every operator at its edges, every layer of short
prompts, and whole answers of the tiny Llama of seed 1 and of a model file.

    vectors.py MODEL.gguf > exact.json

Each entry of an operator's list is [inputs.., outputs..] as integers, in the order of `docs/exact.md`; `f32` inputs
are their bits. Exact equality everywhere.
"""

import hashlib
import io
import json
import pathlib
import struct
import sys
import tempfile

import numpy as np

import exact
import tiny
from exact import I
from reference import PROMPTS, Tokenizer, chat

SHORT = 8  # tokens whose every layer is given
TOKENS = 32


def whole(x):
    return np.asarray(x).astype(I).tolist()


def bits_of(x):
    return np.ascontiguousarray(x, np.float32).view(np.uint32).tolist()


LOW, HIGH = -(1 << 31), (1 << 31) - 1
RANDOM = np.random.Generator(np.random.PCG64(7))  # inputs are written out, so the generator need not be known


def spread(shape, top_bits):
    """Integers of all sizes up to 2^top_bits."""
    size = np.exp2(RANDOM.uniform(0, top_bits, shape))
    return (size * RANDOM.choice([-1, 1], shape)).astype(I)


def small_operators():
    """sh: x, s, result. isqrt: n, s. requantise: d, m, s, sh(sh(d, 7) * m, s). sine: phase, result. sigmoid: g, y.

    turns: base, head size, stretch, steps.
    """
    shifts = [
        (x, s)
        for x in (0, 1, -1, 2, -2, 3, -3, 5, -5, 6, -6, 127, -128, 1 << 30, -(1 << 30), HIGH, LOW, 123456789, -987654321)
        for s in (-40, -32, -31, -3, -1, 0, 1, 2, 3, 15, 30, 31, 32, 99)
    ]
    roots = [0, 1, 2, 3, 4, 8, 9, (1 << 28), (1 << 28) + 1, (1 << 30) - 1, 32767**2 - 1, 32767**2, 16385**2 - 1, HIGH]
    requantise = [
        (d, m, s, int(exact.sh(exact.sh(d, 7) * m, s)))
        for d in (0, 63, 64, -64, -65, 133161024, -133161024, 5000001, -77777)
        for m in (1, 77, 1023)
        for s in (-2, 0, 1, 7, 20, 30, 31, 40)
    ]
    phases = [0, 1, 255, 256, 1 << 22, (1 << 30) - 1, 1 << 30, (1 << 30) + 1, 1 << 31, 3 << 30, (1 << 32) - 1]
    phases += [int(v) for v in RANDOM.integers(0, 1 << 32, 40)]
    gates = [0, 1, -1, 2047, 2048, -2048, 65536, -65536, (1 << 20) - 1, 1 << 20, -(1 << 20), 1 - (1 << 20), HIGH, LOW]
    return {
        "sh": [[x, s, int(exact.sh(x, s))] for x, s in shifts],
        "isqrt": [[n, int(exact.isqrt(n))] for n in roots],
        "requantise": [list(row) for row in requantise],
        "sine": [[p, int(exact.sine(p))] for p in phases],
        "sigmoid": [[g, int(exact.sigmoid(g))] for g in gates + spread(20, 21).tolist()],
        "turns": [
            [base, size, stretch, whole(exact.turns(base, size, stretch))]
            for base, size, stretch in ((10000.0, 16, 1.0), (10000.0, 64, 1.0), (100000.0, 64, 1.0), (500000.0, 128, 1.0), (10000.0, 128, 4.0))
        ],
    }


def vector_operators():
    """norm15, quant14, quant8: x, then the pair. dot: x, w, result. greedy: logits, id."""
    wide = [
        [0] * 4, [1, 0, -1, 0], [16383, -16383, 5, 0], [16384, -16384, 1, -1], [32766, 1, 2, 3], [32767, -32767, 1, -1],
        [32768, 3, -3, 7], [LOW, HIGH, 1, -1], [65534, -65535, 40000, -3], spread(16, 20).tolist(), spread(16, 31).tolist(),
    ]
    narrow = [
        [0] * 4, [1, -1, 0, 1], [127, -127, 64, -64], [128, -128, 1, -1], [46355, -46355, 182, -183], [16384, 64, -65, 193],
        [381, 1, 2, -1, -2, 4, 5, -4, -5], spread(16, 15).tolist(),
    ]
    pair = lambda f, x: [x, *(whole(v) for v in f(np.array(x, I)))]
    full = np.full(512, 16383, I)
    dots = [(full[:k] * a, np.full(k, 127, I) * b) for k in (1, 64, 512) for a in (1, -1) for b in (1, -1)]
    dots.append((np.where(np.arange(512) % 2, 16383, -16383), np.where(np.arange(512) % 3, 127, -127)))
    dots += [(spread(k, 14).clip(-16383, 16383), RANDOM.integers(-127, 128, k)) for k in (2, 64, 100)]
    return {
        "norm15": [pair(exact.norm15, x) for x in wide],
        "quant14": [pair(exact.quant14, x) for x in wide],
        "quant8": [pair(exact.quant8, x) for x in narrow],
        "dot": [[whole(x), whole(w), int(exact.dot(x[None], w[:, None])[0, 0])] for x, w in dots],
        "greedy": [[row, int(np.argmax(row))] for row in ([5, 9, 9, 1], [-3, -3], [0], [LOW, -(1 << 24), 1 << 24, 1 << 24])],
    }


def weights():
    """3.2 and 3.3: element bits of rows, then E, m [rows][groups], w8 [rows][K]."""
    plain = RANDOM.normal(0, 0.05, (3, 64)).astype(np.float32)
    odd = RANDOM.normal(0, 3, (3, 96)).astype(np.float32)
    odd[0, :32], odd[1, 32:64] = 0, np.float32(1e-40)
    odd[2, 64:] = np.arange(-16, 16, dtype=np.float32) / 2
    cases = [plain, odd, np.zeros((1, 32), np.float32), np.full((2, 64), -127 / 1024, np.float32)]
    matrices = []
    for case in cases:
        matrix = exact.Matrix(case)
        w8 = matrix.w8.transpose(2, 0, 1).reshape(len(case), -1)
        matrices.append([bits_of(case), matrix.e, whole(matrix.m.T), whole(w8)])
    norms = [np.ones(32), np.zeros(32), RANDOM.normal(0.4, 0.2, 32), np.array([32767.4, -1.5, 0.5, -0.5] * 8)]
    rows = [[bits_of(w), *reversed(exact.norm_weights(np.float32(w)))] for w in norms]
    return {"matrix": matrices, "norm_weights": [[b, int(e), whole(w)] for b, e, w in rows]}


def norms():
    """4.1: h, w', E_w, eps, then e, M (with epsilon), s, r, t, x, a by group."""
    one = np.zeros(64, I)
    one[5] = 1
    outlier = spread(64, 12)
    outlier[17] = 393216000
    cases = [spread(64, 16), spread(96, 20), np.zeros(64, I), np.ones(64, I), one, outlier]
    cases += [np.full(64, LOW, I), np.where(np.arange(64) % 2, HIGH, LOW), spread(576, 18)]
    out = []
    for h in cases:
        w, e_w = exact.norm_weights(RANDOM.normal(0.4, 0.2, len(h)).astype(np.float32))
        x, a, inside = exact.norm(h[None], (w, e_w), 2684)
        scalars = [int(inside[name][0]) for name in ("e", "mean", "s", "r")]
        out.append([whole(h), whole(w), e_w, 2684, *scalars, whole(inside["t"][0]), whole(x[0].ravel()), whole(a[0])])
    return out


def head_norms():
    """4.6: a head (F16), w', E_w, eps at 32 places, then the head; and a head turned with halves facing each other: position, head, steps, x'."""
    out, turned = [], []
    for head in (spread(16, 18), spread(64, 20), np.zeros(16, I), np.full(16, HIGH)):
        w, e_w = exact.norm_weights(RANDOM.normal(0.4, 0.2, len(head)).astype(np.float32))
        out.append([whole(head), whole(w), e_w, 4295, whole(exact.head_norm(head[None, None], (w, e_w), 4295)[0, 0])])
    for position in (0, 5, 1999):
        head, steps = spread(16, 15), exact.turns(1000000.0, 16)
        turned.append([position, whole(head), whole(steps), whole(exact.rotate(head[None, None], np.array([position]), steps, False)[0, 0])])
    biases = np.array([0.5, -0.5, 1e-5, -7.62939453125e-6, 2.2888183593750e-5, -300.25], np.float32)
    return {"head_norm": out, "halves": turned, "bias": [bits_of(biases), whole(exact.bias(biases))]}


def linears():
    """4.2: x, a by group, E, m [rows][groups], w8 [rows][K], P, then y by row."""
    out = []
    for groups, places, top in ((1, 14, True), (3, 16, False), (2, 14, False), (9, 16, True)):
        x = RANDOM.integers(-16383, 16384, (1, groups, 64))
        matrix = exact.Matrix(RANDOM.normal(0, 0.1, (4, groups * 64)).astype(np.float32))
        a = RANDOM.integers(-22, -8, (1, groups))
        if top:
            x = np.full_like(x, 16383)
            x[..., ::2] *= -1
            matrix.w8 = np.sign(x[0])[:, :, None] * np.full((1, 1, 4), 127, np.float32) * np.array([1, -1, 1, -1], np.float32)
            matrix.m = np.full_like(matrix.m, 1023)
            a = np.full((1, groups), -4)
        y = matrix.product(x, a, places)[0]
        w8 = matrix.w8.transpose(2, 0, 1).reshape(4, -1)
        out.append([whole(x.ravel()), whole(a[0]), matrix.e, whole(matrix.m.T), whole(w8), places, whole(y)])
    return out


def attention():
    """4.3, steps 1 to 3: position, a head (F16), steps; then a query's x, exponent, a key's kx, mk, ek, a value's vx, mv, ev.

    Steps 4 to 7: position, qx, eq, [kx, mk, ek, vx, mv, ev by position], then D, r, o.
    """
    steps = exact.turns(10000.0, 8)
    heads = []
    for position, head in ((0, spread(8, 18)), (1, spread(8, 20)), (1999, spread(8, 16)), (131071, spread(8, 22)), (7, np.zeros(8, I)), (3, np.full(8, HIGH))):
        x, e = exact.norm15(head[None, None])
        qx, b = exact.quant14(exact.rotate(x, np.array([position]), steps))
        k = exact.keys(head[None, None], np.array([position]), steps)
        v = exact.values(head[None, None])
        query = [whole(qx[0, 0]), int((e + b - 16)[0, 0])]
        heads.append([position, whole(head), whole(steps), *query, *(whole(array[0, 0]) for array in (k | v).values())])
    mixes = []
    for count, flat in ((1, False), (7, False), (512, True), (600, False), (1030, True)):
        k = exact.keys(spread((count, 1, 4), 19 if not flat else 6), np.arange(count), exact.turns(10000.0, 4))
        seen = {name: array[:, 0] for name, array in (k | exact.values(spread((count, 1, 4), 17))).items()}
        qx, eq = exact.quant14(spread((1, 4), 18))
        o, inside = exact.attend(qx, eq - 16, np.array([count - 1]), seen)
        mixes.append([count - 1, whole(qx[0]), int(eq[0]) - 16, [whole(array) for array in seen.values()], int(inside["d"][0]), int(inside["r"][0]), whole(o[0])])
    return {"heads": heads, "attend": mixes}


def activations():
    """4.4: g, u, then x and a by group."""
    edges = np.array([0, 1, -1, 1 << 20, -(1 << 20), 1 - (1 << 20), HIGH, LOW] * 8)
    cases = [(spread(64, 19), spread(64, 19)), (spread(96, 22), spread(96, 16)), (edges, np.roll(edges, 3)), (np.zeros(32, I), spread(32, 20))]
    out = []
    for g, u in cases:
        x, a = exact.activation(g[None], u[None])
        out.append([whole(g), whole(u), whole(x[0].ravel()), whole(a[0])])
    return out


class Sampler:
    """`runtime/src/sampling.rs` over exact logits."""

    def __init__(self, temperature, top_k, top_p, seed):
        self.settings = temperature, top_k, top_p
        self.words = tiny.ChaCha(10, list(struct.unpack("<8I", seed)))

    def choose(self, logits):
        temperature, top_k, top_p = self.settings
        word = self.words.next() | self.words.next() << 32
        scores = [score * 2.0**-16 for score in logits.tolist()]
        best = max(scores)
        if temperature == 0 or top_k == 1:
            return scores.index(best)
        left = [(id, exact.exp_f64((score - best) / float(np.float32(temperature)))) for id, score in enumerate(scores)]
        heavy = lambda candidate: (-candidate[1], candidate[0])
        if top_k:
            left = sorted(left, key=heavy)[:top_k]
        if top_p < 1:
            target, total, kept = float(np.float32(top_p)) * added(left), 0.0, []
            for candidate in sorted(left, key=heavy):
                kept.append(candidate)
                total += candidate[1]
                if total >= target:
                    break
            left = kept
        rest = (word >> 11) / (1 << 53) * added(left)
        for id, weight in left:
            rest -= weight
            if rest < 0:
                return id
        return next(id for id, weight in reversed(left) if weight > 0)


def added(candidates):
    """In order, without the compensation that Python's own `sum` has."""
    total = 0.0
    for _, weight in candidates:
        total += weight
    return total


def answer(model, prompt, tokens, sampler=None):
    cache, out, rows, first, ids = [], [], [], None, prompt
    for _ in range(tokens):
        rows.append(model.read(ids, cache))
        logits = model.logits(rows[-1][-1][-1:])[0]
        first = first or hashlib.sha256(logits.astype(">i4").tobytes()).hexdigest()
        out.append(int(np.argmax(logits)) if sampler is None else sampler.choose(logits))
        ids = [out[-1]]
    layers = [np.concatenate(parts) for parts in zip(*rows)]
    once = model.read(prompt + out[:-1], [])
    assert all((a == b).all() for a, b in zip(layers, once)), "results depend on how tokens are batched"
    return {"input": prompt, "output": out, "logits_sha256": first, "activation_root": exact.activation_root(layers).hex()}


def layers(model, prompt):
    rows = model.read(prompt, [])
    return {"input": prompt, "digests": [[exact.activation_digest(l, p, row[p]).hex() for l, row in enumerate(rows)] for p in range(len(prompt))]}


def of_model(file, prompts):
    model = exact.Exact(file)
    out = {"manifest": json.loads(exact.manifest(file, model)), "layers": layers(model, prompts[0][1][:SHORT]), "answers": []}
    for name, ids, tokens, settings in prompts:
        sampler = Sampler(*settings) if settings else None
        entry = {"name": name} | answer(model, ids, tokens, sampler)
        if settings:
            temperature, top_k, top_p, seed = settings
            entry["sampling"] = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed.hex()}
        out["answers"].append(entry)
    return out


def tiny_model():
    with tempfile.NamedTemporaryFile() as file:
        file.write(tiny.tiny(1))
        file.flush()
        prompts = [
            ("greedy", [259, 10, 77, 300 - 33, 42, 5, 200, 111, 64], TOKENS, None),
            ("one token", [100], 8, None),
            ("two blocks", [(37 * i + 11) % 285 + 3 for i in range(600)], 4, None),
            ("drawn", [259, 10, 77, 42], TOKENS, (0.8, 0, 0.9, bytes(range(32)))),
            ("drawn from few", [1, 50, 60], TOKENS, (1.5, 20, 1.0, bytes([9] * 32))),
        ]
        return of_model(exact.File(file.name), prompts)


def large_model(path):
    file = exact.File(path)
    tokenizer = Tokenizer(file.meta)
    prompts = []
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt["text"] if "text" in prompt else chat(prompt["chat"]))
        prompts.append((prompt["name"], ids, TOKENS, None))
    prompts.append(("drawn", prompts[0][1], 16, (0.7, 0, 0.95, bytes(range(32)))))
    return of_model(file, prompts)


def families():
    """The tiny models of `families.py` that the exact tier covers."""
    prompts = [("greedy", [3, 70, 12, 9, 55, 31, 8, 90, 4, 17], 8, None)]
    here = pathlib.Path(__file__).parent / "families"
    return {name: of_model(exact.File(here / f"{name}.gguf"), prompts) for name in ("llama", "llama-linear", "llama3", "qwen2", "qwen3")}


def main():
    result = {
        "note": "written by vectors.py, whose text says what each entry is",
        "tables": {name: exact.table_hash(name) for name in exact.TABLES},
        "operators": small_operators() | vector_operators() | weights() | {"norm": norms(), "linear": linears()} | attention() | head_norms() | {"activation": activations()},
        "tiny": tiny_model(),
        "families": families(),
        "model": large_model(sys.argv[1]),
    }
    lines = io.StringIO()
    write(lines, result, 2)
    print(lines.getvalue())


def write(out, value, depth):
    """JSON with a line for each entry down to a depth."""
    if depth == 0 or not isinstance(value, (dict, list)):
        out.write(json.dumps(value, separators=(",", ":")))
        return
    pairs = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    out.write("{" if isinstance(value, dict) else "[")
    for at, (key, item) in enumerate(pairs):
        out.write((",\n" if at else "\n") + (json.dumps(key) + ":" if key is not None else ""))
        write(out, item, depth - 1)
    out.write("\n}" if isinstance(value, dict) else "\n]")


if __name__ == "__main__":
    main()
