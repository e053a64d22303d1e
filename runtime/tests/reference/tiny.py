"""The tiny Llama of a seed, as `runtime/src/tiny.rs` writes it: the same bytes.

    python3 tiny.py SEED FILE
"""

import struct
import sys

HIDDEN, FEED_FORWARD, LAYERS, HEADS, KV_HEADS, HEAD_SIZE = 64, 128, 2, 4, 2, 16
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = (
    "Ġ t,Ġ a,i n,h e,r e,o n,e r,Ġt he,a t,Ġ s,e n,Ġ c,e s,Ġ w,n d,i t,o r,i s,Ġ o,Ġ b,Ġ p,Ġ f,in g,Ġa nd,Ġo f,l l,o u,a l,Ġ m"
).split(",")
VOCABULARY = 3 + 256 + len(MERGES)
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MASK = 0xFFFFFFFF


def key_of(seed):
    """As rand's `seed_from_u64` stretches a number."""
    key = []
    for _ in range(8):
        seed = (seed * 6364136223846793005 + 11634580027462260723) % (1 << 64)
        word, turn = (((seed >> 18) ^ seed) >> 27) & MASK, seed >> 59
        key.append((word >> turn | word << (32 - turn) % 32) & MASK)
    return key


class ChaCha:
    """The word stream of rand's ChaCha generators; 4 double rounds are ChaCha8, 10 are ChaCha20."""

    def __init__(self, double_rounds, key):
        self.double_rounds, self.key, self.block, self.words = double_rounds, key, 0, []

    def next(self):
        if not self.words:
            self.words = self.refill()[::-1]
        return self.words.pop()

    def refill(self):
        start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *self.key, self.block & MASK, self.block >> 32, 0, 0]
        self.block += 1
        x = list(start)
        for _ in range(self.double_rounds):
            for a in range(4):
                quarter(x, a, 4 + a, 8 + a, 12 + a)
            for a in range(4):
                quarter(x, a, 4 + (a + 1) % 4, 8 + (a + 2) % 4, 12 + (a + 3) % 4)
        return [(a + b) & MASK for a, b in zip(x, start)]


def quarter(x, a, b, c, d):
    for to, add, by, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[to] = (x[to] + x[add]) & MASK
        word = x[by] ^ x[to]
        x[by] = (word << turn | word >> (32 - turn)) & MASK


def small(random):
    byte = random.next() & 255
    return max(byte - 256 if byte > 127 else byte, -127)


def q8_0(random, count):
    return b"".join(b"\0\x1c" + struct.pack("32b", *(small(random) for _ in range(32))) for _ in range(count // 32))


def q4_0(random, count):
    return b"".join(b"\0\x28" + bytes(random.next() & 255 for _ in range(16)) for _ in range(count // 32))


def f32s(random, count):
    return b"".join(struct.pack("<f", small(random) / 512) for _ in range(count))


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def metadata():
    uint = lambda value: struct.pack("<II", 4, value)
    real = lambda value: struct.pack("<If", 6, value)
    text = lambda value: struct.pack("<I", 8) + string(value)
    texts = lambda values: struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(string, values))
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = iter(range(256, 512))
    tokens = CONTROL + [chr(b) if b in kept else chr(next(other)) for b in range(256)] + [m.replace(" ", "") for m in MERGES]
    kinds = [3] * 3 + [1] * (VOCABULARY - 3)
    return {
        "general.architecture": text("llama"),
        "general.name": text("Tiny Llama of a seed"),
        "llama.block_count": uint(LAYERS),
        "llama.context_length": uint(2048),
        "llama.embedding_length": uint(HIDDEN),
        "llama.feed_forward_length": uint(FEED_FORWARD),
        "llama.attention.head_count": uint(HEADS),
        "llama.attention.head_count_kv": uint(KV_HEADS),
        "llama.attention.layer_norm_rms_epsilon": real(1e-5),
        "llama.rope.dimension_count": uint(HEAD_SIZE),
        "llama.rope.freq_base": real(10000.0),
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.pre": text("gpt-2"),
        "tokenizer.ggml.tokens": texts(tokens),
        "tokenizer.ggml.token_type": struct.pack("<IIQ", 9, 5, len(kinds)) + struct.pack(f"<{len(kinds)}i", *kinds),
        "tokenizer.ggml.merges": texts(MERGES),
        "tokenizer.ggml.bos_token_id": uint(1),
        "tokenizer.ggml.eos_token_id": uint(2),
        "tokenizer.ggml.add_bos_token": struct.pack("<I?", 7, False),
        "tokenizer.chat_template": text(TEMPLATE),
    }


def tensors(random):
    f32, q4, q8 = (0, f32s), (2, q4_0), (8, q8_0)
    ones = struct.pack("<f", 1.0) * HIDDEN
    out = []

    def matrix(name, dims, kind):
        out.append((name, dims, kind[0], kind[1](random, dims[0] * dims[1])))

    matrix("token_embd.weight", [HIDDEN, VOCABULARY], q8)
    for layer in range(LAYERS):
        name = lambda part: f"blk.{layer}.{part}.weight"
        out.append((name("ffn_norm"), [HIDDEN], 0, ones))
        matrix(name("ffn_gate"), [HIDDEN, FEED_FORWARD], q4)
        matrix(name("ffn_up"), [HIDDEN, FEED_FORWARD], q4)
        matrix(name("ffn_down"), [FEED_FORWARD, HIDDEN], q4)
        out.append((name("attn_norm"), [HIDDEN], 0, ones))
        matrix(name("attn_q"), [HIDDEN, HIDDEN], q8)
        matrix(name("attn_k"), [HIDDEN, KV_HEADS * HEAD_SIZE], q8)
        matrix(name("attn_v"), [HIDDEN, KV_HEADS * HEAD_SIZE], q8)
        matrix(name("attn_output"), [HIDDEN, HIDDEN], f32)
    scores = q8_0(random, HIDDEN * VOCABULARY)
    silent = 3 * HIDDEN // 32 * 34
    out.append(("output_norm.weight", [HIDDEN], 0, ones))
    out.append(("output.weight", [HIDDEN, VOCABULARY], 8, bytes(silent) + scores[silent:]))
    return out


def align(data):
    return data + bytes(-len(data) % 32)


def tiny(seed):
    rows, entries, body = tensors(ChaCha(4, key_of(seed))), metadata(), b""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(rows), len(entries))
    head += b"".join(string(key) + value for key, value in entries.items())
    for name, dims, kind, data in rows:
        head += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(body))
        body = align(body + data)
    return align(head) + b"".join([align(row[3]) for row in rows[:-1]] + [rows[-1][3]])


if __name__ == "__main__":
    with open(sys.argv[2], "wb") as file:
        file.write(tiny(int(sys.argv[1])))
