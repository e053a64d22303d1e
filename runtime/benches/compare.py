#!/usr/bin/env python3
"""This runtime beside what else a user might pick, in one run: the tables of `docs/benchmarks.md`.

    COCOON_MODEL=FILE.gguf COCOON_EMBEDDER=FOLDER runtime/benches/compare.py

Answers are compared with llama.cpp and candle, vectors of texts with onnxruntime: on the same files,
with the same number of threads, and taking turns, so that what slows the machine slows all. Each
program is started once, loads its model, says what it is in a line of JSON, and answers each case, a
line of three numbers on its standard input, with a line of JSON:

    BATCH PROMPT ANSWER   {"prefill_s", "prefill_tokens", "decode_s", "decode_tokens"}
    BATCH PIECES TIMES    {"s", "texts"}

This runtime and candle are built here. llama.cpp and onnxruntime are Python packages, in the
virtual environment that COCOON_RIVALS_VENV names, or else in one that is made in the cache folder,
which takes about half an hour once, since llama.cpp is compiled for this machine.

Needs Python 3.11 and, without a ready environment, a C++ compiler and CMake.
"""

import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import time
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "cocoon-swarm"

PACKAGES = ["numpy==2.4.6", "onnx==1.23.2", "onnxruntime==1.32.0"]
LLAMA = "llama-cpp-python==0.3.36"

ANSWER_TOKENS = 128
# Batch and tokens of each prompt. A case of more than so many tokens is measured once and not in every round.
GENERATION = [(1, 128), (1, 1024), (4, 128), (4, 1024), (16, 128), (16, 1024)]
ONCE_ABOVE_TOKENS = 4_000
# Batch and word pieces of each text; enough texts for a part of a second on two cores.
EMBEDDING = [(batch, pieces) for pieces in (16, 64, 128) for batch in (1, 4, 16)]
PIECES_A_TURN = 4_096

# What is aimed at, as ours over the rival's: a row's name and its case.
AIMS = {("decode", 1, 128): 1.0, ("decode", 1, 1024): 1.0, ("prefill", 1, 1024): 1.5}
EMBEDDING_AIM = 1.0
# All tokens a second of sixteen jobs at once, over our own best prefill.
TOGETHER, TOGETHER_AIM = (16, 128), 0.7


class Contender:
    """A program that waits for cases."""

    def __init__(self, name, command, environment=None):
        print(f"starting {name}: {shlex.join(map(str, command))}", file=sys.stderr)
        environment = os.environ | (environment or {})
        self.name, self.process = name, subprocess.Popen(
            [*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.about = self.line()

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, *numbers):
        self.process.stdin.write(" ".join(map(str, numbers)) + "\n")
        self.process.stdin.flush()
        return self.line()

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def version(self):
        return f"{self.about['program']} ({self.about['version']})"


def in_turn(contenders, cases, rounds, ask):
    """Asks everybody each case in every round it is due; who is first changes from round to round."""
    found = {}
    for turn in range(rounds):
        for case in cases:
            order = contenders if turn % 2 == 0 else contenders[::-1]
            for contender in order:
                answer = ask(contender, case, turn)
                if answer is not None:
                    found.setdefault((case, contender.name), []).append(answer)
    return found


def median_rate(answers, tokens, seconds):
    return statistics.median(answer[tokens] / answer[seconds] for answer in answers) if answers else None


def through(answer):
    """All tokens that went through a model, read or written, by all the time it took."""
    return sum(answer[f"{what}_tokens"] for what in ("prefill", "decode")) / sum(answer[f"{what}_s"] for what in ("prefill", "decode"))


def cells(ours, theirs):
    """A rival's rate, and ours over it."""
    return ["-", "-"] if theirs is None else [f"{theirs:.1f}", f"{ours / theirs:.2f}"]


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def generation(options, python):
    ours = Contender("ours", [options.ours, "generate", options.model, options.threads])
    llama = Contender("llama.cpp", [python, HERE / "rivals" / "llamacpp.py", options.model, options.threads])
    candle = Contender("candle", [options.candle, options.model], {"RAYON_NUM_THREADS": str(options.threads)})
    contenders = [ours, llama, candle]

    def ask(contender, case, turn):
        batch, prompt = case
        # Candle takes a batch of one, and long.
        if contender is candle and (batch > 1 or turn > 0) or turn > 0 and batch * prompt > ONCE_ABOVE_TOKENS:
            return None
        answer = contender.ask(batch, prompt, ANSWER_TOKENS)
        rates = {what: round(answer[f"{what}_tokens"] / answer[f"{what}_s"], 1) for what in ("prefill", "decode")}
        print(f"round {turn + 1}: {contender.name}, {batch} x {prompt}: {rates}", file=sys.stderr)
        return answer

    cases = [case for case in GENERATION if case[0] * case[1] <= options.most_tokens]
    found = in_turn(contenders, cases, options.rounds, ask)
    rows, missed, best = [], [], {}
    for case in cases:
        for what in ("prefill", "decode"):
            rate = {c.name: median_rate(found.get((case, c.name)), f"{what}_tokens", f"{what}_s") for c in contenders}
            best[what, case] = rate["ours"]
            rows.append([*case, what, f"{rate['ours']:.1f}", *cells(rate["ours"], rate["llama.cpp"]), *cells(rate["ours"], rate["candle"])])
            aim = AIMS.get((what, *case))
            if aim and rate["ours"] < aim * rate["llama.cpp"]:
                missed.append(f"{what} of {case[0]} x {case[1]}: {rate['ours'] / rate['llama.cpp']:.2f} of llama.cpp, aimed at {aim}")
    prefill = max(rate for (what, _), rate in best.items() if what == "prefill")
    together = statistics.median(through(answer) for answer in found[TOGETHER, "ours"]) / prefill
    if together < TOGETHER_AIM:
        missed.append(f"tokens of {TOGETHER[0]} jobs behind {TOGETHER[1]}: {together:.2f} of our own prefill, aimed at {TOGETHER_AIM}")
    for contender in contenders:
        contender.close()
    head = ["batch", "prompt", "tokens/s of", "ours", "llama.cpp", "ours / llama.cpp", "candle", "ours / candle"]
    notes = [about(options, contenders),
             f"All tokens of sixteen jobs at once, with prompts of {TOGETHER[1]} tokens, go through at {together:.2f} of our own best prefill, "
             f"{prefill:.1f} tokens/s; the written ones alone, while all sixteen write, at {best['decode', TOGETHER] / prefill:.2f}."]
    return "\n\n".join([*notes, table(head, rows)]), missed


def embedding(options, python):
    ours = Contender("ours", [options.ours, "embed", options.embedder, options.threads])
    script = HERE / "rivals" / "onnx_minilm.py"
    rivals = [Contender(graph, [python, script, options.embedder, options.threads, graph]) for graph in ("plain", "fused")]
    contenders = [ours, *rivals]

    def ask(contender, case, turn):
        batch, pieces = case
        answer = contender.ask(batch, pieces, max(4, PIECES_A_TURN // (batch * pieces)))
        print(f"round {turn + 1}: {contender.name}, {batch} x {pieces}: {answer['texts'] / answer['s']:.1f} texts/s", file=sys.stderr)
        return answer

    found = in_turn(contenders, EMBEDDING, options.rounds, ask)
    rows, missed = [], []
    for case in EMBEDDING:
        rate = {c.name: median_rate(found.get((case, c.name)), "texts", "s") for c in contenders}
        ratio = rate["ours"] / max(rate["plain"], rate["fused"])
        rows.append([*case, f"{rate['ours']:.1f}", f"{rate['plain']:.1f}", f"{rate['fused']:.1f}", f"{ratio:.2f}"])
        if ratio < EMBEDDING_AIM:
            missed.append(f"texts of {case[0]} x {case[1]} pieces: {ratio:.2f} of onnxruntime, aimed at {EMBEDDING_AIM}")
    for contender in contenders:
        contender.close()
    head = ["batch", "pieces", "texts/s of ours", "onnxruntime, plain graph", "onnxruntime, fused graph", "ours / the faster"]
    return "\n\n".join([about(options, contenders), table(head, rows)]), missed


def about(options, contenders):
    """The machine, the threads and who took part."""
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown processor")
    commit = run(["git", "-C", ROOT, "rev-parse", "--short=10", "HEAD"]).strip()
    names = ", ".join(contender.version() for contender in contenders)
    return f"{processor}, {options.threads} threads, medians of {options.rounds} rounds. Commit {commit}: {names}."


def run(command, **more):
    return subprocess.run([*map(str, command)], check=True, text=True, stdout=subprocess.PIPE, **more).stdout


def build_ours():
    command = ["cargo", "build", "--locked", "--profile=ci", "-p", "cocoon-runtime", "--example", "compare", "--message-format=json"]
    for line in run(command, cwd=ROOT).splitlines():
        message = json.loads(line)
        if message.get("executable") and message.get("target", {}).get("name") == "compare":
            return message["executable"]
    sys.exit("cargo built no example named compare")


def build_candle():
    target = CACHE / "rival-candle"
    run(["cargo", "build", "--locked", "--release"], cwd=HERE / "rivals" / "candle",
        env=os.environ | {"CARGO_TARGET_DIR": str(target), "RUSTFLAGS": "-Ctarget-cpu=native"})
    return target / "release" / "cocoon-rival-candle"


def rivals_python():
    """Python of the environment with all rivals, made if it is missing."""
    ready = os.environ.get("COCOON_RIVALS_VENV")
    folder = pathlib.Path(ready) if ready else CACHE / "rivals-venv"
    python = folder / "bin" / "python3"
    if not python.exists():
        if ready:
            sys.exit(f"COCOON_RIVALS_VENV names {folder}, where there is no environment")
        venv.create(folder, with_pip=True)
    have = run([python, "-m", "pip", "freeze"]).replace("_", "-").splitlines()
    missing = [package for package in PACKAGES if package not in have]
    if missing:
        run([python, "-m", "pip", "install", "--quiet", *missing])
    if LLAMA not in have:
        command = [python, "-m", "pip", "install", "--quiet", "--no-binary", "llama-cpp-python", LLAMA]
        run(command, env=os.environ | {"CMAKE_ARGS": "-DGGML_NATIVE=ON"})
    return python


def write(name, text):
    """Puts a section between its markers."""
    begin, end = f"<!-- compare: {name} -->", f"<!-- end of compare: {name} -->"
    page = PAGE.read_text()
    before, rest = page.split(begin)
    _, after = rest.split(end)
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def main():
    parser = argparse.ArgumentParser(description="Compares this runtime with others, and writes the tables of docs/benchmarks.md.")
    parser.add_argument("--only", choices=["generation", "embedding"], help="one of the two tables")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every case (default 3)")
    parser.add_argument("--most-tokens", type=int, default=16_384, help="leave out answers to more prompt tokens at once (default: none)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each program (default: all cores)")
    parser.add_argument("--ours", help="a built example `compare`, instead of building it")
    parser.add_argument("--candle", help="a built rivals/candle, instead of building it")
    parser.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    options.model, options.embedder = os.environ.get("COCOON_MODEL"), os.environ.get("COCOON_EMBEDDER")
    needs = {"generation": ("COCOON_MODEL", options.model), "embedding": ("COCOON_EMBEDDER", options.embedder)}
    sections = [options.only] if options.only else list(needs)
    for name in sections:
        if not needs[name][1]:
            sys.exit(f"set {needs[name][0]} to the model to measure {name} with, or leave {name} out with --only")
    python = rivals_python()
    options.ours = options.ours or build_ours()
    if "generation" in sections:
        options.candle = options.candle or build_candle()
    # Rivals with a thread pool of OpenMP take as many threads as they are told, and so does numpy.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    missed = []
    for name in sections:
        start = time.monotonic()
        text, below = {"generation": generation, "embedding": embedding}[name](options, python)
        print(f"{text}\n")
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
        missed += below
        if not options.no_write:
            write(name, text)
    for line in missed:
        print(f"below the aim: {line}")


if __name__ == "__main__":
    main()
