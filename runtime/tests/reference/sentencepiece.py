#!/usr/bin/env python3
"""Writes sentencepiece.json: tiny vocabularies of SentencePiece's byte pairs, and what it makes of texts.

    python3 sentencepiece.py > sentencepiece.json
    python3 sentencepiece.py --check

Needs the `sentencepiece` package (0.2 was used) and `protobuf`, which it reads and writes its models by. Vocabularies are
trained on texts/ with the settings that Llama 2 was trained with: identity normalisation, bytes for unknown characters,
digits alone, pieces of spaces only, no spaces removed.

| model | what is particular |
|---|---|
| `plain` | a space in front of every text |
| `defined` | besides, user-defined tokens, among them one that begins another and a run of spaces |
| `ties` | no space in front, and scores of which many are equal |

Control tokens are no matter of SentencePiece: texts are cut at them here, as llama.cpp does it, and each part is encoded
by itself.
"""

import io
import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# This file has the name of the package.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

TEXTS = sorted((HERE / "texts").glob("*.txt"))
SPACE = "\u2581"
CONTROL = ["<s>", "</s>", "<unk>"]
DEFINED = ["<tool>", "<tool>call", SPACE * 4, "\n\n", "größe", "na"]

SENTENCES = [
    "", " ", "  ", "     ", "a", " a", "a ", "   a   b    c     ", "Hello, world!", "once upon a time there was a queen",
    "Größe naïve coöperation façade Ångström", "größe und größeren", "cafe\u0301 I\u0307stanbul", "我爱北京天安门 and 東京タワー",
    "안녕하세요 세계", "Привет, мир!", "مرحبا بالعالم", "thumbs 👍 up 😀😀 👩\u200d👩\u200d👧 🏳️\u200d🌈", "line one\nline two\n\nline four\r\n\ttabbed",
    "3.14159 2,718 1e-12 0xdeadbeef ½ ² 1234567890", "a\u0000b\u0007c\u200bd\ufffde\u00adf\u00a0g\u3000h", SPACE + "a" + SPACE * 2 + "b",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "the the the thethethe t h e the", "<0x0A> <0x41><0xZZ>", "\U0010ffff\ue000\U000f0000",
    "<tool><tool>call x<tool>c <tool>callnana  na      na\n\n\n", "banana na nan", "    <tool>    ", "e\u0301\u0302\u0303 z\u0335",
]

WITH_CONTROL = [
    "<s>hello</s> the queen", "<s>", "<s><s>a", "the</s>", "</s><unk> <s>  x", "<s>[INST] Why? [/INST] Because</s><s>[INST] Größe 👍 [/INST]",
    "<s<s>>", "< s></ s>",
]


def train(vocabulary, **settings):
    out = io.BytesIO()
    lines = (line for path in TEXTS for line in path.read_text().splitlines() if line)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_writer=out, vocab_size=vocabulary, model_type="bpe", byte_fallback=True, character_coverage=1.0,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True,
        num_threads=1, minloglevel=2, **settings)
    return sentencepiece_model_pb2.ModelProto.FromString(out.getvalue())


def with_ties(proto):
    """The same pieces with few different scores, and no space in front of texts."""
    tied = sentencepiece_model_pb2.ModelProto()
    tied.CopyFrom(proto)
    tied.normalizer_spec.add_dummy_prefix = False
    for piece in tied.pieces:
        piece.score = float(-(len(piece.piece) // 3)) if piece.type == piece.NORMAL else 0.0
    return tied


def drawn(proto, count):
    """Texts of pieces and characters by chance, with runs of spaces and characters that no piece has."""
    rng = random.Random(len(proto.pieces))
    pieces = [piece.piece.replace(SPACE, " ") for piece in proto.pieces if piece.type in (piece.NORMAL, piece.USER_DEFINED)]
    rare = ["é", "ß", "€", "語", "😀", "\t", "  ", "Q", "%"]
    return ["".join(rng.choice(rare if rng.random() < 0.1 else pieces) for _ in range(rng.randrange(1, 30))) for _ in range(count)]


def parts(text):
    """Control tokens, and what stands between them; which begins first, and of two the longer."""
    while text:
        places = [(text.find(token), -len(token), token) for token in CONTROL if token in text]
        if not places:
            yield text, False
            return
        at, _, token = min(places)
        if at:
            yield text[:at], False
        yield token, True
        text = text[at + len(token):]


def encode(processor, text):
    ids = []
    for part, is_control in parts(text):
        ids += [processor.piece_to_id(part)] if is_control else processor.encode(part)
    return ids


def model(name, proto, sentences):
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    spaced = proto.normalizer_spec.add_dummy_prefix
    for text in sentences:
        again = processor.decode(processor.encode(text))
        assert again == text.replace(SPACE, " "), (name, text, again)
    return {
        "name": name,
        "add_space_prefix": spaced,
        "tokens": [piece.piece for piece in proto.pieces],
        "scores": [piece.score for piece in proto.pieces],
        # By their numbers: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
        "kinds": [piece.type for piece in proto.pieces],
        "cases": [{"text": text, "ids": encode(processor, text)} for text in [*sentences, *WITH_CONTROL]],
    }


def document():
    plain = train(560, add_dummy_prefix=True)
    defined = train(480, add_dummy_prefix=True, user_defined_symbols=DEFINED)
    passages = [path.read_text().splitlines()[0] for path in TEXTS]
    models = [("plain", plain), ("defined", defined), ("ties", with_ties(plain))]
    written = [model(name, proto, [*SENTENCES, *passages, *drawn(proto, 60)]) for name, proto in models]
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in written)
    return f'{{"sentencepiece": "{sentencepiece.__version__}", "models": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    text = document()
    if sys.argv[1:] == ["--check"]:
        assert text == (HERE / "sentencepiece.json").read_text(), "sentencepiece.json is not what this script writes"
    else:
        sys.stdout.write(text)
