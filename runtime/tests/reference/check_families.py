#!/usr/bin/env python3
"""Compares families.json with what other programs make of the same files.

    python3 check_families.py transformers   # families/NAME/, in float64; needs torch and transformers
    python3 check_families.py llama.cpp      # families/NAME.gguf; needs llama-cpp-python

Found: transformers 5.24.0 with torch 2.15.0 differs by at most 7e-6 in any logit of any model.

Prints the largest difference of a logit for each model, and fails where it is above the limit.
"""

import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent

# transformers runs in float64 but for the norms and rotary angles, which it computes in float32;
# llama.cpp keeps activations in F32, and its products take them in the type of the weights.
LIMITS = {"transformers": 2e-5, "llama.cpp F32": 5e-5, "llama.cpp F16": 2e-2, "llama.cpp Q8_0": 2e-1}


def transformers_logits(name):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(HERE / "families" / name, dtype=torch.float64, attn_implementation="eager")
    return "transformers", lambda ids: model(torch.tensor([ids])).logits[0, -1].detach().numpy()


def llama_cpp_logits(name):
    import llama_cpp

    path = HERE / "families" / f"{name}.gguf"
    model = llama_cpp.Llama(str(path), n_ctx=128, n_threads=1, logits_all=True, verbose=False, n_batch=128)
    kind = {0: "F32", 1: "F16", 7: "Q8_0"}[int(model.metadata["general.file_type"])]

    def logits(ids):
        model.reset()
        model.eval(ids)
        return np.array(model.scores[len(ids) - 1])

    return "llama.cpp " + kind, logits


def main():
    source = {"transformers": transformers_logits, "llama.cpp": llama_cpp_logits}[sys.argv[1]]
    failed = False
    for model in json.loads((HERE / "families.json").read_text())["models"]:
        kind, logits = source(model["name"])
        worst = max(np.abs(logits(row["input"]) - np.array(row["logits"])).max() for row in model["answers"])
        spread = np.std([row["logits"] for row in model["answers"]])
        failed |= not worst <= LIMITS[kind]
        print(f"{model['name']}: differs from {kind} by at most {worst:.1e}; logits spread {spread:.2f}")
    sys.exit("above the limit" if failed else 0)


if __name__ == "__main__":
    main()
