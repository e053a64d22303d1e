#!/usr/bin/env python3
"""Compares families.json with what other programs make of the same models.

    python3 check_families.py transformers   # families/NAME/, in float64; needs torch and transformers
    python3 check_families.py llama.cpp      # families/NAME.gguf, and the same in F32; needs llama-cpp-python

Prints the largest difference of a logit for each model, and fails where it is above the limit.

Found: transformers 5.24.0 with torch 2.15.0 differs by at most 7e-6 in any logit of any model;
llama-cpp-python 0.3.36 by at most 2.2e-5 in F32, 1.9e-2 in F16, 6.2e-2 (qwen3) and 0.7 (mistral) in Q8_0.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np

import families

HERE = pathlib.Path(__file__).parent

# transformers runs in float64 but for the norms and rotary angles, which it computes in float32.
# llama.cpp keeps activations in float32, but its products take them in the type of the weights: for
# Q8_0, in eight bits, which moves logits that spread by 1 (or by 3) by some hundredths (or tenths).
LIMITS = {"transformers": 2e-5, "F32": 5e-5, "F16": 2e-2, "Q8_0": 1.0}


def transformers_logits(name, folder):
    """Logits of a folder; the second argument of every source is a place for files, not needed here."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(HERE / "families" / name, dtype=torch.float64, attn_implementation="eager")
    yield "transformers", lambda ids: model(torch.tensor([ids])).logits[0, -1].detach().numpy()


def llama_cpp_logits(name, folder):
    """Logits of the file that is kept, and of one in F32 of the same weights."""
    m = families.MODELS[name]
    single = pathlib.Path(folder) / f"{name}.gguf"
    tensors = families.gguf_tensors(m, families.weights(name, m))
    single.write_bytes(families.gguf(families.gguf_metadata(name, m), tensors, "F32"))
    yield "F32", llama_cpp_file(single)
    if m["gguf"] != "F32":
        yield m["gguf"], llama_cpp_file(HERE / "families" / f"{name}.gguf")


def llama_cpp_file(path):
    import llama_cpp

    # The cache holds keys and values in F16 if not told otherwise.
    cache = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
    model = llama_cpp.Llama(str(path), n_ctx=families.CONTEXT, n_threads=1, logits_all=True, verbose=False, **cache)

    def logits(ids):
        model.reset()
        model.eval(ids)
        return np.array(model.scores[len(ids) - 1])

    return logits


def main():
    source = {"transformers": transformers_logits, "llama.cpp": llama_cpp_logits}[sys.argv[1]]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for model in json.loads((HERE / "families.json").read_text())["models"]:
            spread = np.std([row["logits"] for row in model["answers"]])
            for kind, logits in source(model["name"], folder):
                worst = max(np.abs(logits(row["input"]) - np.array(row["logits"])).max() for row in model["answers"])
                failed |= not worst <= LIMITS[kind]
                print(f"{model['name']}: {kind} differs by at most {worst:.1e}; logits spread {spread:.2f}")
    sys.exit("above the limit" if failed else 0)


if __name__ == "__main__":
    main()
