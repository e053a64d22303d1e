#!/usr/bin/env python3
"""Tiny models of every family that is served, and their logits in float64.

Each model of `MODELS` is drawn from a seed and written twice: as a Hugging Face folder
(`families/NAME/`: config.json, tokenizer.json, model.safetensors) and as llama.cpp's GGUF
(`families/NAME.gguf`). Its logits, computed here in float64 with numpy and nothing else, go to
`families.json`. The forward pass reads the written files back, once each, with the rotary
embedding that the file's layout asks for, and both must agree.

    python3 families.py            # writes families/ and families.json
    python3 families.py --check    # fails if what is there differs from what would be written

Every weight is a small integer times a power of two, so it is the same number in F32, F16, BF16
and Q8_0: the types that a model is stored in do not change its logits.

Sources: the layouts are those of transformers' Llama, Mistral, Qwen2 and Qwen3 models and of
llama.cpp's convert_hf_to_gguf.py and gguf-py/gguf/constants.py. `check_families.py` compares the
logits with what transformers and llama-cpp-python make of the same files.
"""

import hashlib
import json
import math
import pathlib
import struct
import sys

import numpy as np

from reference import Gguf

HERE = pathlib.Path(__file__).parent
VOCABULARY = 96
PROMPT_LENGTHS = [1, 6, 23, 40]
# Greedy answers end before a token that leads the next best by less than LEAD.
GREEDY_TOKENS = 12
LEAD = 0.01
CONTEXT = 128

BASE = {"layers": 2, "hidden": 32, "heads": 4, "kv": 2, "head": 8, "ffn": 64, "theta": 10000.0, "eps": 1e-5,
        "tied": True, "bias": False, "qk_norm": False, "linear": None, "llama3": None}

MODELS = {
    # One key-value head for all query heads; the only one in F32.
    "llama": {**BASE, "family": "llama", "kv": 1, "ffn": 32, "hf": "F32", "gguf": "F32"},
    "llama-linear": {**BASE, "family": "llama", "ffn": 32, "tied": False, "linear": 4.0, "hf": "BF16", "gguf": "F16"},
    # The old context is short enough that its eight frequencies fall on both sides of both bounds.
    "llama3": {**BASE, "family": "llama", "heads": 2, "kv": 1, "head": 16, "ffn": 32, "hf": "BF16", "gguf": "F16",
               "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                          "original_max_position_embeddings": 64}},
    "qwen2": {**BASE, "family": "qwen2", "theta": 1e6, "eps": 1e-6, "bias": True, "hf": "BF16", "gguf": "F16"},
    "qwen3": {**BASE, "family": "qwen3", "head": 16, "kv": 1, "theta": 1e6, "eps": 1e-6, "qk_norm": True,
              "hf": "BF16", "gguf": "Q8_0"},
    # Heads twice as wide as hidden / heads, as Mistral Nemo's are not hidden / heads either.
    "mistral": {**BASE, "family": "mistral", "heads": 8, "tied": False, "theta": 1e6, "hf": "F16", "gguf": "Q8_0"},
}


# Weights from a seed.


def integers(label, count):
    """`count` integers of [-127, 127]: SplitMix64 seeded with the label's SHA-256."""
    seed = np.uint64(int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        z = seed + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(32)).astype(np.int64) % 255 - 127


def draw(label, shape, exponent, around=0.0):
    return around + integers(label, math.prod(shape)).reshape(shape) * 2.0**-exponent


def weights(name, m):
    """Tensors under Hugging Face names, float64, each row of a matrix one output."""
    q, kv, hidden, ffn = m["heads"] * m["head"], m["kv"] * m["head"], m["hidden"], m["ffn"]
    out = {}

    def add(tensor, shape, exponent, around=0.0):
        out[tensor] = draw(f"{name}/{tensor}", shape, exponent, around)

    # Embeddings are small beside what layers add, so that answers are not echoes.
    add("model.embed_tokens.weight", (VOCABULARY, hidden), 9)
    for i in range(m["layers"]):
        at = f"model.layers.{i}."
        add(at + "input_layernorm.weight", (hidden,), 8, 1.0)
        # Queries and keys are larger, so that attention prefers some positions clearly.
        for part, rows, exponent in [("q", q, 8), ("k", kv, 8), ("v", kv, 8)]:
            add(f"{at}self_attn.{part}_proj.weight", (rows, hidden), exponent)
            if m["bias"]:
                add(f"{at}self_attn.{part}_proj.bias", (rows,), 7)
        if m["qk_norm"]:
            add(at + "self_attn.q_norm.weight", (m["head"],), 8, 1.0)
            add(at + "self_attn.k_norm.weight", (m["head"],), 8, 1.0)
        add(at + "self_attn.o_proj.weight", (hidden, q), 8)
        add(at + "post_attention_layernorm.weight", (hidden,), 8, 1.0)
        add(at + "mlp.gate_proj.weight", (ffn, hidden), 8)
        add(at + "mlp.up_proj.weight", (ffn, hidden), 8)
        add(at + "mlp.down_proj.weight", (hidden, ffn), 8)
    add("model.norm.weight", (hidden,), 8, 1.0)
    if not m["tied"]:
        add("lm_head.weight", (VOCABULARY, hidden), 7)
    return {tensor: on_a_coarse_grid(tensor, value) for tensor, value in out.items()}


def on_a_coarse_grid(tensor, value):
    """Norms near 1 are moved to multiples of 2^-7: BF16 has eight significant bits."""
    return np.floor(value * 128) / 128 if "norm" in tensor else value


def frequencies(m):
    """Angle per position of each rotated pair."""
    plain = m["theta"] ** (-np.arange(0, m["head"], 2) / m["head"])
    if m["linear"]:
        return plain / m["linear"]
    return plain / llama3_divisors(m) if m["llama3"] else plain


def llama3_divisors(m):
    """What Llama 3.1 divides its frequencies by: 1 for short waves, `factor` for long ones."""
    rule = m["llama3"]
    turns = rule["original_max_position_embeddings"] * m["theta"] ** (-np.arange(0, m["head"], 2) / m["head"]) / (2 * np.pi)
    low, high = rule["low_freq_factor"], rule["high_freq_factor"]
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return 1.0 / (kept + (1.0 - kept) / rule["factor"])


# A byte-level tokenizer of 96 tokens.

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'\"-:;()"
MERGES = ["h e", "t he", "i n", "e r", "o n", "Ġ the", "Ġ a", "r e", "a t", "e n", "o r", "i s", "in g", "Ġ s", "Ġ w",
          "o u", "l l", "a n", "an d", "Ġ and"]
TOKENS = ["<|endoftext|>", "Ċ", "Ġ", *ALPHABET, *(merge.replace(" ", "") for merge in MERGES)]
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|NUMBER| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def split_of(m):
    """Name of the way of splitting in GGUF, and its expression in tokenizer.json."""
    qwen = m["family"].startswith("qwen")
    return ("qwen2", WORDS.replace("NUMBER", r"\p{N}")) if qwen else ("llama-bpe", WORDS.replace("NUMBER", r"\p{N}{1,3}"))


def tokenizer_json(m):
    added = {"id": 0, "content": TOKENS[0], "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": split_of(m)[1]}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [added], "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "ignore_merges": m["family"] in ("llama", "mistral"),
                  "vocab": {token: index for index, token in enumerate(TOKENS)}, "merges": MERGES},
    }


# Hugging Face's layout.


def config(m):
    family = m["family"]
    title = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}[family]
    out = {"architectures": [title + "ForCausalLM"], "model_type": family, "hidden_act": "silu",
           "hidden_size": m["hidden"], "intermediate_size": m["ffn"], "num_hidden_layers": m["layers"],
           "num_attention_heads": m["heads"], "num_key_value_heads": m["kv"], "max_position_embeddings": CONTEXT,
           "rms_norm_eps": m["eps"], "tie_word_embeddings": m["tied"], "vocab_size": VOCABULARY,
           "bos_token_id": 0, "eos_token_id": 0, "attention_dropout": 0.0, "use_cache": True}
    dtype = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[m["hf"]]
    if family == "mistral":
        # As transformers 5 writes it; the others as its earlier releases did.
        return {**out, "head_dim": m["head"], "sliding_window": None, "dtype": dtype,
                "rope_parameters": {"rope_type": "default", "rope_theta": m["theta"]}}
    scaling = {"type": "linear", "factor": m["linear"]} if m["linear"] else None
    scaling = {"rope_type": "llama3", **m["llama3"]} if m["llama3"] else scaling
    out |= {"rope_theta": m["theta"], "rope_scaling": scaling, "torch_dtype": dtype}
    if family == "qwen2":
        return {**out, "use_sliding_window": False, "sliding_window": 32768, "max_window_layers": m["layers"]}
    out |= {"attention_bias": False}
    return {**out, "head_dim": m["head"]} if family == "qwen3" else {**out, "mlp_bias": False}


def encode(value, kind):
    """Little-endian bytes of a tensor; fails where the type cannot hold it exactly."""
    single = value.astype("<f4")
    assert np.array_equal(single, value)
    if kind == "F32":
        return single.tobytes()
    if kind == "F16":
        assert np.array_equal(value.astype("<f2"), value)
        return value.astype("<f2").tobytes()
    if kind == "BF16":
        assert not np.any(single.view("<u4") & 0xFFFF)
        return (single.view("<u4") >> 16).astype("<u2").tobytes()
    return q8_0(value)


def q8_0(value):
    """Blocks of 32: the smallest power of two that makes them integers of int8, then those."""
    out = b""
    for block in value.reshape(-1, 32):
        exponent = next(e for e in range(14) if not np.any(block * 2.0**e % 1))
        assert np.abs(block * 2.0**exponent).max() <= 127
        out += np.float16(2.0**-exponent).tobytes() + (block * 2.0**exponent).astype("i1").tobytes()
    return out


def safetensors(tensors, kind):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, value in sorted(tensors.items()):
        bytes_ = encode(value, kind)
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def read_safetensors(data):
    (length,) = struct.unpack_from("<Q", data)
    out = {}
    for name, row in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        part = data[8 + length + row["data_offsets"][0] : 8 + length + row["data_offsets"][1]]
        if row["dtype"] == "BF16":
            flat = (np.frombuffer(part, "<u2").astype("<u4") << 16).view("<f4")
        else:
            flat = np.frombuffer(part, {"F32": "<f4", "F16": "<f2"}[row["dtype"]])
        out[name] = flat.astype(np.float64).reshape(row["shape"])
    return out


# GGUF's layout.

GGUF_TYPES = {"F32": 0, "F16": 1, "Q8_0": 8}
GGUF_FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7}
GGUF_PARTS = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
GGUF_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name):
    part, kind = name.rsplit(".", 1)
    if part in GGUF_WHOLE:
        return f"{GGUF_WHOLE[part]}.{kind}"
    _, _, layer, part = part.split(".", 3)
    return f"blk.{layer}.{GGUF_PARTS[part]}.{kind}"


def neighbours(value, heads):
    """Rows of each head reordered so that the halves that rotate together become neighbours."""
    return value.reshape(heads, 2, -1, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def gguf_tensors(m, tensors):
    out = {}
    for name, value in tensors.items():
        if m["family"] in ("llama", "mistral"):
            if ".q_proj." in name:
                value = neighbours(value, m["heads"])
            elif ".k_proj." in name:
                value = neighbours(value, m["kv"])
        out[gguf_name(name)] = value
    if m["llama3"]:
        out["rope_freqs.weight"] = llama3_divisors(m).astype("<f4").astype(np.float64)
    return out


def gguf_metadata(name, m):
    arch = "llama" if m["family"] == "mistral" else m["family"]
    text, u32, f32 = (lambda s: (8, s)), (lambda n: (4, n)), (lambda x: (6, x))
    out = {"general.architecture": text(arch), "general.type": text("model"), "general.name": text("tiny " + name),
           "general.file_type": u32(GGUF_FILE_TYPES[m["gguf"]]), "general.quantization_version": u32(2)}
    rows = {"block_count": u32(m["layers"]), "context_length": u32(CONTEXT), "embedding_length": u32(m["hidden"]),
            "feed_forward_length": u32(m["ffn"]), "attention.head_count": u32(m["heads"]),
            "attention.head_count_kv": u32(m["kv"]), "attention.layer_norm_rms_epsilon": f32(m["eps"]),
            "rope.freq_base": f32(m["theta"])}
    if "head_dim" in config(m):
        rows |= {"attention.key_length": u32(m["head"]), "attention.value_length": u32(m["head"])}
    if arch == "llama":
        rows |= {"vocab_size": u32(VOCABULARY), "rope.dimension_count": u32(m["head"])}
    if m["linear"]:
        rows |= {"rope.scaling.type": text("linear"), "rope.scaling.factor": f32(m["linear"])}
    out |= {f"{arch}.{key}": value for key, value in rows.items()}
    return out | {
        "tokenizer.ggml.model": text("gpt2"), "tokenizer.ggml.pre": text(split_of(m)[0]),
        "tokenizer.ggml.tokens": (9, 8, TOKENS),
        "tokenizer.ggml.token_type": (9, 5, [3] + [1] * (len(TOKENS) - 1)),
        "tokenizer.ggml.merges": (9, 8, MERGES), "tokenizer.ggml.bos_token_id": u32(0),
        "tokenizer.ggml.eos_token_id": u32(0), "tokenizer.ggml.add_bos_token": (7, False),
    }


def gguf_string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_value(kind, value):
    return gguf_string(value) if kind == 8 else struct.pack({4: "<I", 5: "<i", 6: "<f", 7: "<?"}[kind], value)


def gguf(metadata, tensors, kind):
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, entry in metadata.items():
        out += gguf_string(key) + struct.pack("<I", entry[0])
        if entry[0] == 9:
            out += struct.pack("<IQ", entry[1], len(entry[2])) + b"".join(gguf_value(entry[1], v) for v in entry[2])
        else:
            out += gguf_value(*entry)
    data = b""
    for name, value in tensors.items():
        # Vectors stay in F32 whatever the file's type, as the converter leaves them.
        stored = kind if value.ndim == 2 else "F32"
        dims = value.shape[::-1]
        out += gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, GGUF_TYPES[stored], len(data))
        data += encode(value, stored)
        data += b"\0" * (-len(data) % 32)
    return out + b"\0" * (-len(out) % 32) + data


def read_gguf(path):
    """Tensors of a file, in float64."""
    file = Gguf(path)
    return {name: file.tensor(name).astype(np.float64) for name in file.tensors}


# The forward pass.


class Model:
    """A model in float64. Tensors have GGUF names; `paired` says whether neighbours rotate together."""

    def __init__(self, m, tensors, paired):
        self.m, self.tensors, self.paired = m, tensors, paired
        divisors = tensors.get("rope_freqs.weight")
        self.frequencies = frequencies(m)
        if divisors is not None:
            self.frequencies = m["theta"] ** (-np.arange(0, m["head"], 2) / m["head"]) / divisors

    def norm(self, x, name):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.m["eps"]) * self.tensors[name]

    def project(self, x, name):
        out = x @ self.tensors[name + ".weight"].T
        return out + self.tensors[name + ".bias"] if name + ".bias" in self.tensors else out

    def rotate(self, x):
        angles = np.arange(len(x))[:, None, None] * self.frequencies
        turn = np.exp(1j * angles)
        half = self.m["head"] // 2
        pairs = x[..., 0::2] + 1j * x[..., 1::2] if self.paired else x[..., :half] + 1j * x[..., half:]
        turned = pairs * turn
        if self.paired:
            return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)
        return np.concatenate([turned.real, turned.imag], axis=-1)

    def heads_of(self, x, at, part, count):
        out = self.project(x, f"{at}attn_{part}").reshape(len(x), count, self.m["head"])
        if self.m["qk_norm"]:
            out = self.norm(out, f"{at}attn_{part}_norm.weight")
        return self.rotate(out)

    def attention(self, x, at):
        m = self.m
        q, k = self.heads_of(x, at, "q", m["heads"]), self.heads_of(x, at, "k", m["kv"])
        v = self.project(x, at + "attn_v").reshape(len(x), m["kv"], m["head"])
        k, v = (np.repeat(part, m["heads"] // m["kv"], axis=1) for part in (k, v))
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(m["head"])
        scores += np.where(np.tri(len(x), dtype=bool), 0.0, -np.inf)
        chances = np.exp(scores - scores.max(axis=-1, keepdims=True))
        chances /= chances.sum(axis=-1, keepdims=True)
        return self.project(np.einsum("hij,jhd->ihd", chances, v).reshape(len(x), -1), at + "attn_output")

    def logits(self, ids):
        """Logits [tokens, vocabulary] of what follows each token."""
        x = self.tensors["token_embd.weight"][ids]
        for layer in range(self.m["layers"]):
            at = f"blk.{layer}."
            x = x + self.attention(self.norm(x, at + "attn_norm.weight"), at)
            h = self.norm(x, at + "ffn_norm.weight")
            gate = self.project(h, at + "ffn_gate")
            x = x + self.project(gate / (1 + np.exp(-gate)) * self.project(h, at + "ffn_up"), at + "ffn_down")
        x = self.norm(x, "output_norm.weight")
        return x @ self.tensors["token_embd.weight" if self.m["tied"] else "output.weight"].T


def from_safetensors(m, path):
    tensors = read_safetensors(pathlib.Path(path).read_bytes())
    return Model(m, {gguf_name(name): value for name, value in tensors.items()}, paired=False)


def from_gguf(m, path):
    return Model(m, read_gguf(path), paired=m["family"] in ("llama", "mistral"))


def prompt(length):
    """Token ids without the control token 0."""
    return [int(1 + n % (VOCABULARY - 1)) for n in integers(f"prompt {length}", length)]


def greedy(model, ids):
    """The likeliest tokens after `ids`, as far as they are clear."""
    out = []
    while len(out) < GREEDY_TOKENS:
        logits = model.logits([*ids, *out])[-1]
        second, first = np.sort(logits)[-2:]
        if first - second < LEAD:
            break
        out.append(int(np.argmax(logits)))
    return out


def digits(value):
    return float(f"{value:.7g}")


def answers(name, m, folder):
    models = [from_safetensors(m, folder / name / "model.safetensors"), from_gguf(m, folder / f"{name}.gguf")]
    out = []
    for length in PROMPT_LENGTHS:
        ids = prompt(length)
        ours, theirs = (model.logits(ids)[-1] for model in models)
        # The divisors of Llama 3 are rounded to F32 in GGUF; all else is the same numbers.
        assert np.abs(ours - theirs).max() < (1e-5 if m["llama3"] else 1e-11), name
        out.append({"input": ids, "logits": [digits(x) for x in ours], "greedy": greedy(models[0], ids)})
    return out


def write(folder):
    (folder / "families").mkdir(parents=True, exist_ok=True)
    golden = []
    for name, m in MODELS.items():
        tensors, home = weights(name, m), folder / "families" / name
        home.mkdir(exist_ok=True)
        (home / "model.safetensors").write_bytes(safetensors(tensors, m["hf"]))
        (home / "config.json").write_text(json.dumps(config(m), indent=2) + "\n")
        (home / "tokenizer.json").write_text(json.dumps(tokenizer_json(m), ensure_ascii=False, separators=(",", ":")) + "\n")
        file = gguf(gguf_metadata(name, m), gguf_tensors(m, tensors), m["gguf"])
        (folder / "families" / f"{name}.gguf").write_bytes(file)
        golden.append({"name": name, "family": m["family"], "answers": answers(name, m, folder / "families")})
    (folder / "families.json").write_text(golden_text(golden))


def golden_text(golden):
    note = f"written by families.py; logits are of what follows input, greedy the likeliest tokens, each at least {LEAD} ahead of the next best"
    models = []
    for model in golden:
        rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in model["answers"])
        models.append(f'{{"name": "{model["name"]}", "family": "{model["family"]}", "answers": [\n{rows}\n]}}')
    return f'{{\n"note": "{note}",\n"models": [\n' + ",\n".join(models) + "\n]\n}\n"


def check():
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write(folder)
        made = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        other = [str(path) for path in made if not same(folder / path, HERE / path)]
    if other:
        sys.exit(f"differs from what families.py writes: {', '.join(other)}")
    print(f"{len(made)} files are as families.py writes them")


def same(made, kept):
    return kept.is_file() and made.read_bytes() == kept.read_bytes()


if __name__ == "__main__":
    check() if "--check" in sys.argv[1:] else write(HERE)
