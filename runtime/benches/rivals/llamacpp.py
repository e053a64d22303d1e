#!/usr/bin/env python3
"""Tokens of a GGUF model under llama.cpp, for `../compare.py`, which says what is asked and answered.

    pip install numpy==2.4.6
    CMAKE_ARGS="-DGGML_NATIVE=ON" pip install --no-binary llama-cpp-python llama-cpp-python==0.3.36
    python3 llamacpp.py MODEL.gguf 2

The arguments are the file and the number of threads. The build must be the native one above: the
published wheels leave out instructions that this machine may have, and `system` in the output says
which are in use. (The script is not called llama_cpp.py, which would hide the package.)

Every sequence has a prompt of its own. Prompts are read up to the logits of their last tokens, as
many rows at once as llama.cpp takes by default; then all sequences go on together. Decoding is
greedy, with the largest logit found by numpy, and goes on behind end tokens.
"""

import ctypes
import json
import sys
import time

import llama_cpp
import numpy as np

# llama.cpp's own default: what llama_decode takes at once.
BATCH_TOKENS = 2_048


@llama_cpp.llama_log_callback
def quiet(level, text, data):
    del level, text, data


class Run:
    """A context for some sequences of one length."""

    def __init__(self, model, threads, sequences, prompt_tokens, answer_tokens):
        params = llama_cpp.llama_context_default_params()
        # A sequence's share of the context is rounded to 256 cells by the library itself.
        params.n_ctx = sequences * (-(-(prompt_tokens + answer_tokens) // 256) * 256)
        params.n_batch, params.n_seq_max = BATCH_TOKENS, sequences
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        self.context = llama_cpp.llama_init_from_model(model, params)
        assert self.context, "llama.cpp gave no context"
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self.batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self.sequences, self.prompt_tokens, self.answer_tokens = sequences, prompt_tokens, answer_tokens

    def close(self):
        llama_cpp.llama_batch_free(self.batch)
        llama_cpp.llama_free(self.context)

    def decode(self, rows):
        """Runs rows of (token, position, sequence, wants logits); gives the likeliest next tokens."""
        for i, (token, position, sequence, wanted) in enumerate(rows):
            self.batch.token[i], self.batch.pos[i] = token, position
            self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, sequence
            self.batch.logits[i] = wanted
        self.batch.n_tokens = len(rows)
        status = llama_cpp.llama_decode(self.context, self.batch)
        assert status == 0, f"llama_decode gave {status}"
        return {row[2]: self.likeliest(i) for i, row in enumerate(rows) if row[3]}

    def likeliest(self, index):
        logits = llama_cpp.llama_get_logits_ith(self.context, index)
        return int(np.argmax(np.ctypeslib.as_array(logits, (self.vocabulary,))))

    def prompts(self):
        last = self.prompt_tokens - 1
        return [(1_000 + (i + 97 * s) % 1_000, i, s, i == last) for s in range(self.sequences) for i in range(last + 1)]

    def measure(self):
        """Seconds of the prompts, and of the tokens after the first."""
        rows, tokens = self.prompts(), {}
        start = time.perf_counter()
        for at in range(0, len(rows), BATCH_TOKENS):
            tokens |= self.decode(rows[at : at + BATCH_TOKENS])
        first = time.perf_counter()
        for step in range(self.answer_tokens - 1):
            tokens = self.decode([(tokens[s], self.prompt_tokens + step, s, True) for s in range(self.sequences)])
        return first - start, time.perf_counter() - first


def case(model, threads, sequences, prompt_tokens, answer_tokens):
    run = Run(model, threads, sequences, prompt_tokens, answer_tokens)
    prefill, decode = run.measure()
    run.close()
    return {
        "prefill_s": prefill, "prefill_tokens": sequences * prompt_tokens,
        "decode_s": decode, "decode_tokens": sequences * (answer_tokens - 1),
    }


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    assert model, f"llama.cpp cannot load {path}"
    system = llama_cpp.llama_print_system_info().decode().strip()
    hello = {"program": "llama.cpp", "version": "llama-cpp-python " + llama_cpp.__version__, "system": system}
    print(json.dumps(hello), flush=True)
    for line in sys.stdin:
        print(json.dumps(case(model, threads, *map(int, line.split()))), flush=True)


if __name__ == "__main__":
    main()
