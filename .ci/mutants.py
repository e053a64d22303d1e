"""The mutants of one room, all compiled into its tests at once, and each switched on alone while the tests run.

`cargo mutants` builds a crate once for each mutant, which takes hours where a test takes milliseconds. Here the mutants are the
same, from its own list, but each stands behind a switch that an environment variable turns on, so that the room is built once.
A mutant that does not compile is found by the compiler's errors and left out, as there. What no switch can hold, such as a
constant or an opaque return type, is written to a list for `cargo mutants` itself. `.ci/mutants` does both.
"""

import argparse
import concurrent.futures
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import tree_sitter_rust
from tree_sitter import Language, Parser

PARSER = Parser(Language(tree_sitter_rust.language()))

# Processor seconds of one run of tests; the longest honest one takes a fifth. Unlike a time limit it is fair on a busy machine.
CPU_SECONDS = 60
# A run that waits for something that never comes. Tests that wait for a network give up after twenty seconds each.
WALL_SECONDS = 240
# A mutant that allocates without end must not take the machine with it.
MEMORY_BYTES = 6 << 30

SWITCH = b"""
#[allow(missing_docs, dead_code, unreachable_pub)]
pub(crate) mod mutant_switch {
    static ACTIVE: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    pub(crate) fn on(mutant: u32) -> bool {
        *ACTIVE.get_or_init(|| std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0)) == mutant
    }
}
"""

# Errors that say that the mutant itself is no program; any other error may be the switch's fault.
NO_PROGRAM = {"E0277", "E0308", "E0369", "E0599", "E0600", "E0614", "E0433", "E0425", "E0283", "E0107", "E0061"}


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def around(root, at, kinds):
    """The nodes of these kinds that contain a byte, innermost last."""
    found, node = [], root
    while node is not None:
        if node.type in kinds:
            found.append(node)
        node = next((child for child in node.children if child.start_byte <= at < child.end_byte), None)
    return found


def text_of(source, node):
    return source[node.start_byte : node.end_byte]


def without_const(source, kept):
    """Functions that are `const` cannot ask a switch; they are made plain unless a constant needs them."""
    out = bytearray(source)
    for node in walk(PARSER.parse(source).root_node):
        if node.type != "function_item" or text_of(source, node.child_by_field_name("name")).decode() in kept:
            continue
        for modifiers in (child for child in node.children if child.type == "function_modifiers"):
            at = text_of(source, modifiers).find(b"const")
            if at >= 0:
                out[modifiers.start_byte + at : modifiers.start_byte + at + 5] = b"     "
    return bytes(out)


class Switched:
    """A file with its mutants behind switches."""

    def __init__(self, source):
        self.source = source
        self.root = PARSER.parse(source).root_node
        self.wraps = {}
        self.inserts = {}
        self.rendered = set()
        lines = source.decode().split("\n")
        self.starts = [0]
        for line in lines:
            self.starts.append(self.starts[-1] + len(line.encode()) + 1)
        self.lines = lines

    def offset(self, place):
        line = place["line"] - 1
        return self.starts[line] + len(self.lines[line][: place["column"] - 1].encode())

    def add(self, number, mutant):
        """Whether the mutant can be switched."""
        start, end = self.offset(mutant["span"]["start"]), self.offset(mutant["span"]["end"])
        new, source, genre = mutant["replacement"].encode(), self.source, mutant["genre"]
        if genre == "FnValue":
            # Both ways through a function that hides its return type would have to return the same one.
            if "impl " in mutant["function"]["return_type"]:
                return False
            text = b"if crate::mutant_switch::on(%d) { /*<%d*/ return %s; /*%d>*/ } " % (number, number, new, number)
            self.inserts.setdefault(start, []).append(text)
            return True
        if genre == "MatchArmGuard":
            self.wraps.setdefault((start, end), []).append((number, new))
            return True
        if genre == "UnaryOperator":
            nodes = [node for node in around(self.root, start, {"unary_expression"}) if node.start_byte == start]
            if nodes:
                self.wraps.setdefault((start, nodes[-1].end_byte), []).append((number, source[end : nodes[-1].end_byte]))
            return bool(nodes)
        if genre == "BinaryOperator":
            kinds = {"binary_expression", "compound_assignment_expr"}
            nodes = [node for node in around(self.root, start, kinds) if node.child_by_field_name("operator").start_byte == start]
            if nodes:
                node = nodes[-1]
                # The new operator may bind otherwise than the old one: all that stands in one chain with it is read anew.
                while node.parent is not None and node.parent.type == "binary_expression":
                    node = node.parent
                text = source[node.start_byte : start] + new + source[end : node.end_byte]
                self.wraps.setdefault((node.start_byte, node.end_byte), []).append((number, text))
            return bool(nodes)
        if genre == "MatchArm":
            nodes = [node for node in around(self.root, start, {"match_arm"}) if node.start_byte == start]
            if nodes:
                text = b" if !crate::mutant_switch::on(%d) /*<%d*//*%d>*/" % (number, number, number)
                self.inserts.setdefault(nodes[-1].child_by_field_name("pattern").end_byte, []).append(text)
            return bool(nodes)
        return self.add_field(number, start) if genre == "StructField" else False

    def add_field(self, number, start):
        nodes = [node for node in around(self.root, start, {"field_initializer"}) if node.start_byte == start]
        literals = around(self.root, start, {"struct_expression"})
        if not nodes or not literals:
            return False
        bases = [node for node in literals[-1].child_by_field_name("body").children if node.type == "base_field_initializer"]
        value, name = nodes[-1].child_by_field_name("value"), nodes[-1].child_by_field_name("field")
        if not bases or value is None or name is None:
            return False
        kind, base = text_of(self.source, literals[-1].child_by_field_name("name")), text_of(self.source, bases[0]).lstrip(b".")
        text = b"{ let base: %s = %s; base.%s }" % (kind, base, text_of(self.source, name))
        self.wraps.setdefault((value.start_byte, value.end_byte), []).append((number, text))
        return True

    def render(self):
        wraps = sorted(self.wraps.items(), key=lambda item: (item[0][0], -item[0][1]))
        return self.render_range(0, len(self.source), wraps)

    def plain(self, start, end, with_end):
        out = b""
        for at in sorted(at for at in self.inserts if start <= at < end or with_end and at == end):
            if at not in self.rendered:
                self.rendered.add(at)
                out += self.source[start:at] + b"".join(self.inserts[at])
                start = at
        return out + self.source[start:end]

    def render_range(self, start, end, wraps):
        """Of nested expressions only the innermost way through, the one without a mutant, has the inner switches."""
        out, at = b"", start
        while wraps:
            (first, last), choices = wraps[0]
            inner = [wrap for wrap in wraps[1:] if wrap[0][0] < last]
            wraps = wraps[1 + len(inner) :]
            out += self.plain(at, first, True) + b"("
            for number, text in choices:
                out += b"if crate::mutant_switch::on(%d) { /*<%d*/ (%s) /*%d>*/ } else " % (number, number, text, number)
            out += b"{ (" + self.render_range(first, last, inner) + b") })"
            at = last
        return out + self.plain(at, end, False)


class Room:
    def __init__(self, name, tree, out, cargo_args):
        self.name, self.tree, self.out, self.cargo_args = name, tree, out, cargo_args
        listed = subprocess.run(["cargo", "mutants", "--list", "--json", "-p", f"cocoon-{name}"], check=True, capture_output=True)
        self.mutants = dict(enumerate(json.loads(listed.stdout), 1))
        self.unviable, self.unswitchable, self.kept = {}, {}, set()

    def write_tree(self):
        files = {}
        for number, mutant in self.mutants.items():
            files.setdefault(mutant["file"], []).append(number)
        library = f"{self.name}/src/lib.rs"
        for file in map(str, Path(self.name, "src").rglob("*.rs")):
            switched = Switched(without_const(Path(file).read_bytes(), self.kept))
            for number in files.get(file, []):
                if number not in self.unviable and number not in self.unswitchable:
                    if not switched.add(number, self.mutants[number]):
                        self.unswitchable[number] = "no switch holds it"
            (self.tree / file).write_bytes(switched.render() + (SWITCH if file == library else b""))

    def build(self):
        """Builds until everything that is left compiles; the test programs."""
        while True:
            self.write_tree()
            command = ["cargo", "test", "--locked", "--no-run", "--profile=mutants", "-p", f"cocoon-{self.name}", "--message-format=json"]
            built = subprocess.run([*command, *self.cargo_args], cwd=self.tree, capture_output=True, text=True)
            messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
            if built.returncode == 0:
                return [message["executable"] for message in messages if message.get("executable")]
            errors = [message["message"] for message in messages if message["reason"] == "compiler-message"]
            if not sum(self.blame(error) for error in errors if error["level"] == "error"):
                sys.exit(f"{self.name} does not build, and no mutant is to blame:\n{built.stderr[-2000:]}")

    def blame(self, error):
        needed = re.search(r"cannot call non-const .*?`(?:.*::)?(\w+)(?:<.*>)?` in constant", error["message"])
        if needed and needed.group(1) != "on":
            self.kept.add(needed.group(1))
            return True
        spans = []
        for span in sorted(error["spans"], key=lambda span: not span["is_primary"]):
            while span:
                spans.append(span)
                span = (span.get("expansion") or {}).get("span")
        for span in spans:
            path = self.tree / span["file_name"]
            text = path.read_bytes() if path.exists() else b""
            for switch in re.finditer(rb"on\((\d+)\)", text):
                number = int(switch.group(1))
                if switch.start() - 30 <= span["byte_start"] and span["byte_end"] <= text.find(b"/*%d>*/" % number) + 8:
                    code = (error.get("code") or {}).get("code")
                    (self.unviable if code in NO_PROGRAM else self.unswitchable)[number] = error["message"]
                    return True
        return False


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(program, arguments, number, folder):
    """Runs tests with one mutant switched on until one fails: what came of it, and the test."""
    environment = {**os.environ, "MUTANT": str(number), "RUST_BACKTRACE": "0"}
    child = subprocess.Popen(
        [program, *arguments],
        cwd=folder,
        env=environment,
        preexec_fn=limit,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    timer = threading.Timer(WALL_SECONDS, os.killpg, (child.pid, signal.SIGKILL))
    timer.start()
    failed = None
    for line in child.stdout:
        test = re.match(r"test (\S+).* \.\.\. FAILED", line)
        if test:
            failed = test.group(1)
            os.killpg(child.pid, signal.SIGKILL)
            break
    child.stdout.close()
    code = child.wait()
    timer.cancel()
    if failed:
        return "caught", failed
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return "timeout", None
    return ("passed", None) if code == 0 else ("caught", f"ended with {code}")


def module_of(file):
    path = file.split("/src/")[1].removesuffix(".rs").replace("/", "::").removesuffix("::mod")
    return "" if path == "lib" else path + "::"


class Judge:
    def __init__(self, room, programs, slow, folder):
        named = f"/cocoon_{room.name}-"
        self.unit = next(program for program in programs if named in program)
        self.others = [program for program in programs if program != self.unit]
        self.slow, self.folder = slow, folder

    def stages(self, mutant):
        """Nearest tests first: most mutants fail one of those."""
        skip = [word for name in self.slow for word in ("--skip", name)]
        module = module_of(mutant["file"])
        yield self.unit, [module, "--test-threads=1", *skip]
        yield self.unit, [module.split("::")[0] + "::", "--test-threads=1", *skip]
        yield self.unit, ["--test-threads=1", *skip]
        if self.slow:
            yield self.unit, ["--test-threads=1", *self.slow]
        for program in self.others:
            yield program, ["--test-threads=4"]

    def judge(self, number, mutant):
        for program, arguments in self.stages(mutant):
            for _ in range(3):
                verdict, test = run(program, arguments, number, self.folder)
                # A test over a network may fail by itself on a busy machine: it must pass without the mutant to count.
                if verdict == "caught" and program != self.unit and "::" in test:
                    if run(program, ["--exact", test], 0, self.folder)[0] != "passed":
                        continue
                if verdict != "passed":
                    return verdict, test
                break
        return "missed", None


def copy_sources(tree):
    """What git knows of, as it is now, so that nothing here writes to the work tree."""
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True, capture_output=True)
    for name in filter(os.path.isfile, names.stdout.decode().split("\0")):
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != Path(name).read_bytes():
            shutil.copyfile(name, target)


def leave_to_cargo_mutants(room, cargo_args):
    """What came of the mutants that no switch holds."""
    verdicts = {"caught": [], "timeout": [], "missed": [], "unviable": []}
    if not room.unswitchable:
        return verdicts
    names = "|".join(re.escape(room.mutants[number]["name"]) for number in room.unswitchable)
    copy_sources(room.tree)
    command = ["cargo", "mutants", "--in-place", "--dir", room.tree, "--output", room.out, "-p", f"cocoon-{room.name}"]
    ended = subprocess.run([*command, *(f"--cargo-arg={argument}" for argument in cargo_args), "--examine-re", f"^({names})$"])
    if ended.returncode not in (0, 2, 3):
        sys.exit("cargo mutants did not run to its end")
    # It tries deletions of fields too, whatever it is told to examine; those were switched here.
    left = {room.mutants[number]["name"] for number in room.unswitchable}
    for verdict in verdicts:
        told = (room.out / "mutants.out" / f"{verdict}.txt").read_text().splitlines()
        verdicts[verdict] = [name for name in told if name in left]
    return verdicts


def switch_each(room, judge, jobs):
    verdicts = {"caught": [], "timeout": [], "missed": []}
    switched = {n: m for n, m in room.mutants.items() if n not in room.unviable and n not in room.unswitchable}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool, open(room.out / "verdicts.txt", "w") as log:
        judged = {pool.submit(judge.judge, number, mutant): mutant for number, mutant in switched.items()}
        for done in concurrent.futures.as_completed(judged):
            verdict, test = done.result()
            verdicts[verdict].append(judged[done]["name"])
            print(verdict, judged[done]["name"], "by", test, file=log, flush=True)
    return verdicts


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("room")
    arguments.add_argument("out", type=Path, help="a folder for a copy of the sources and for the results")
    arguments.add_argument("--slow", action="append", default=[], help="a test to be asked last")
    arguments.add_argument("--jobs", type=int, default=2)
    given, cargo_args = arguments.parse_known_args()
    began, tree, out = time.monotonic(), given.out.resolve() / "tree", given.out.resolve() / given.room
    out.mkdir(parents=True, exist_ok=True)
    copy_sources(tree)
    room = Room(given.room, tree, out, cargo_args)
    programs = room.build()
    judge = Judge(room, programs, given.slow, tree / given.room)
    for program in programs:
        if run(program, [], 0, judge.folder)[0] != "passed":
            sys.exit(f"{program} fails without any mutant")
    verdicts = switch_each(room, judge, given.jobs)
    for verdict, names in leave_to_cargo_mutants(room, cargo_args).items():
        verdicts.setdefault(verdict, []).extend(names)
    verdicts["unviable"].extend(room.mutants[number]["name"] for number in room.unviable)
    for verdict in verdicts:
        (out / f"{verdict}.txt").write_text("".join(f"{name}\n" for name in sorted(verdicts[verdict])))
    for verdict in ("timeout", "missed"):
        for name in verdicts[verdict]:
            print(f"{verdict}: {name}")
    counts = ", ".join(f"{len(names)} {verdict}" for verdict, names in verdicts.items())
    print(f"{room.name}: {len(room.mutants)} mutants, {counts}, in {(time.monotonic() - began) / 60:.0f} minutes")
    sys.exit(2 if verdicts["missed"] or sum(map(len, verdicts.values())) != len(room.mutants) else 0)


main()
