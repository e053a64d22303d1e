#!/usr/bin/env python3
"""Greedy answers of a Llama GGUF file, computed in float32 with numpy and nothing else.

It shares no code with the runtime: its own GGUF reader, its own byte-level BPE (for ASCII
prompts), rotary embedding on neighbouring pairs as the file stores them. Its output is
`golden.json`, which `tests/parity.rs` compares the runtime with.

    python3 reference.py MODEL.gguf > golden.json

Needs numpy; with the package `blake3` installed, the file's hash is checked into the output.
"""

import json
import re
import struct
import sys

import numpy as np

TOKENS = 64

# The model's own template, written out.
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def chat(user):
    return f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"


PROMPTS = [
    {"name": "prose", "text": "The history of the lighthouse begins"},
    {"name": "chat", "chat": "Write a short story about a fox who learns to swim."},
    {"name": "code", "text": "# Returns the first n Fibonacci numbers (n <= 100)\ndef fibonacci(n):\n"},
]


class Gguf:
    SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

    def __init__(self, path):
        self.data = open(path, "rb").read()
        self.at = 0
        assert self.data[:4] == b"GGUF"
        self.at = 4
        version, tensors, entries = self.take("<I"), self.take("<Q"), self.take("<Q")
        assert version in (2, 3)
        self.meta = {}
        for _ in range(entries):
            key = self.string()
            self.meta[key] = self.value(self.take("<I"))
        rows = []
        for _ in range(tensors):
            name = self.string()
            dims = [self.take("<Q") for _ in range(self.take("<I"))]
            rows.append((name, dims, self.take("<I"), self.take("<Q")))
        alignment = self.meta.get("general.alignment", 32)
        start = (self.at + alignment - 1) // alignment * alignment
        self.tensors = {name: (dims, kind, start + offset) for name, dims, kind, offset in rows}

    def take(self, form):
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def string(self):
        length = self.take("<Q")
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            of, count = self.take("<I"), self.take("<Q")
            return [self.value(of) for _ in range(count)]
        return self.take(self.SCALARS[kind])

    def tensor(self, name):
        dims, kind, start = self.tensors[name]
        count = int(np.prod(dims))
        if kind == 0:
            flat = np.frombuffer(self.data, "<f4", count, start)
        elif kind == 1:
            flat = np.frombuffer(self.data, "<f2", count, start)
        elif kind == 8:
            blocks = np.frombuffer(self.data, [("d", "<f2"), ("q", "i1", 32)], count // 32, start)
            flat = blocks["d"].astype("f4")[:, None] * blocks["q"].astype("f4")
        elif kind == 3:
            blocks = np.frombuffer(self.data, [("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)], count // 32, start)
            nibbles = np.concatenate([blocks["q"] & 15, blocks["q"] >> 4], axis=1).astype("f4")
            flat = blocks["d"].astype("f4")[:, None] * nibbles + blocks["m"].astype("f4")[:, None]
        else:
            raise ValueError(f"tensor type {kind}")
        return np.ascontiguousarray(flat.reshape(dims[::-1]), dtype=np.float32)


class Tokenizer:
    """Byte-level BPE with digits apart, for ASCII text."""

    WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")

    def __init__(self, meta):
        assert meta["tokenizer.ggml.model"] == "gpt2" and meta["tokenizer.ggml.pre"] == "smollm"
        tokens = meta["tokenizer.ggml.tokens"]
        self.ids = {token: index for index, token in enumerate(tokens)}
        self.control = [t for t, kind in zip(tokens, meta["tokenizer.ggml.token_type"]) if kind == 3]
        self.ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(meta["tokenizer.ggml.merges"])}
        kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
        other = [byte for byte in range(256) if byte not in kept]
        self.spelling = {**{b: chr(b) for b in kept}, **{b: chr(256 + i) for i, b in enumerate(other)}}

    def encode(self, text):
        assert text.isascii()
        out = []
        for part in re.split("(" + "|".join(map(re.escape, self.control)) + ")", text):
            if part in self.control:
                out.append(self.ids[part])
                continue
            for piece in re.split("([0-9])", part):
                for word in self.WORDS.findall(piece):
                    out.extend(self.merge([self.spelling[byte] for byte in word.encode()]))
        return out

    def merge(self, symbols):
        while len(symbols) > 1:
            pairs = [self.ranks.get(pair, 1 << 60) for pair in zip(symbols, symbols[1:])]
            best = min(pairs)
            if best == 1 << 60:
                break
            at = pairs.index(best)
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        return [self.ids[symbol] for symbol in symbols]


class Llama:
    def __init__(self, file):
        meta = lambda key: file.meta["llama." + key]
        self.heads, self.kv = meta("attention.head_count"), meta("attention.head_count_kv")
        self.size = meta("embedding_length") // self.heads
        self.eps = np.float32(meta("attention.layer_norm_rms_epsilon"))
        self.frequencies = meta("rope.freq_base") ** (-np.arange(0, self.size, 2, dtype=np.float64) / self.size)
        self.embedding = file.tensor("token_embd.weight")
        self.output = file.tensor("output.weight") if "output.weight" in file.tensors else self.embedding
        self.norm = file.tensor("output_norm.weight")
        parts = ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"]
        self.layers = [{p: file.tensor(f"blk.{i}.{p}.weight") for p in parts} for i in range(meta("block_count"))]

    def rms(self, x, weight):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.eps) * weight

    def rope(self, x, start):
        angles = np.arange(start, start + len(x))[:, None] * self.frequencies[None]
        cos, sin = np.cos(angles).astype("f4")[:, None], np.sin(angles).astype("f4")[:, None]
        even, odd = x[..., 0::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., 0::2] = even * cos - odd * sin
        out[..., 1::2] = even * sin + odd * cos
        return out

    def scores(self, ids, cache):
        """Scores of what follows `ids`, which come behind what `cache` holds."""
        x = self.embedding[ids]
        start, count = (cache[0][0].shape[0] if cache else 0), len(ids)
        for index, layer in enumerate(self.layers):
            h = self.rms(x, layer["attn_norm"])
            q = self.rope((h @ layer["attn_q"].T).reshape(count, self.heads, self.size), start)
            k = self.rope((h @ layer["attn_k"].T).reshape(count, self.kv, self.size), start)
            v = (h @ layer["attn_v"].T).reshape(count, self.kv, self.size)
            if index < len(cache):
                k, v = np.concatenate([cache[index][0], k]), np.concatenate([cache[index][1], v])
                cache[index] = (k, v)
            else:
                cache.append((k, v))
            x = x + self.attend(q, k, v, start) @ layer["attn_output"].T
            h = self.rms(x, layer["ffn_norm"])
            gate = h @ layer["ffn_gate"].T
            x = x + (gate / (1 + np.exp(-gate)) * (h @ layer["ffn_up"].T)) @ layer["ffn_down"].T
        assert x.dtype == np.float32
        return self.output @ self.rms(x[-1], self.norm)

    def attend(self, q, k, v, start):
        count, seen = len(q), len(k)
        hidden = np.arange(seen)[None] > start + np.arange(count)[:, None]
        out = np.empty_like(q)
        for head in range(self.heads):
            of = head // (self.heads // self.kv)
            weights = q[:, head] @ k[:, of].T / np.float32(np.sqrt(self.size))
            weights[hidden] = -np.inf
            weights = np.exp(weights - weights.max(axis=1, keepdims=True))
            out[:, head] = weights / weights.sum(axis=1, keepdims=True) @ v[:, of]
        return out.reshape(count, -1)


def answer(model, prompt):
    cache, out, top2 = [], [], []
    ids = prompt
    for _ in range(TOKENS):
        scores = model.scores(ids, cache)
        second, first = np.argpartition(scores, -2)[-2:]
        if scores[second] > scores[first]:
            first, second = second, first
        out.append(int(first))
        top2.append([round(float(scores[first]), 4), int(second), round(float(scores[second]), 4)])
        ids = [int(first)]
    return out, top2


def main():
    path = sys.argv[1]
    file = Gguf(path)
    tokenizer, model = Tokenizer(file.meta), Llama(file)
    result = {"note": "written by reference.py; top2 is [score, second token, its score] at each step"}
    try:
        import blake3

        result["model_blake3"] = blake3.blake3(file.data).hexdigest()
    except ImportError:
        pass
    result["answers"] = []
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt["text"] if "text" in prompt else chat(prompt["chat"]))
        out, top2 = answer(model, ids)
        result["answers"].append({**prompt, "input": ids, "output": out, "top2": top2})
    fields = [f'"{key}": {json.dumps(value)}' for key, value in result.items() if key != "answers"]
    answers = [
        "{" + ",\n".join(f'"{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in a.items()) + "}"
        for a in result["answers"]
    ]
    print("{\n" + ",\n".join(fields) + ',\n"answers": [\n' + ",\n".join(answers) + "\n]\n}")


if __name__ == "__main__":
    main()
