"""Mutation testing of src/format, src/scale, src/gemm and src/mma; docs/mutants.md is its record.

    cargo install cargo-mutants
    python3 tests/mutants.py OUT [--folders FOLDER ...] [--only NAMES]      an hour or more

cargo-mutants lists the mutants; the sample of a folder is its first `--count` in the order of
SHA-256 of "SEED:NAME", so no generator and no other folder moves it. Those in functions that run
only at run time are compiled together: the body of a function becomes `if crate::mutated(7) {one}
else if crate::mutated(9) {another} else {the body}`, and an environment variable says which is on.
The others (`const fn`, or what does not compile together) are compiled one by one.

A mutant meets the tests of its folder, tier by tier, until one fails. A test binary is limited in
processor time, so that one that does not end counts as caught (`endless`) and a machine that pauses
changes nothing. Outcomes are appended to OUT/results.jsonl; what stands there is not run again.
Not part of CI.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS = 60  # of processor time, for one test binary
# The tests of each tier; the first is compiled without optimisation where mutants are alone.
TIERS = [
    {
        "format": "golden properties",
        "scale": "history scaling_golden",
        "gemm": "gemm_golden gemm_options",
        "mma": "mma_vectors mma_chapter",
    },
    {
        "format": "scales transcode random interop custom defects parse types slices double_round "
        "quantize",
        "scale": "scales recipe recipe_state collective collective_sums scaling_properties "
        "scaling_bounds quantize",
        "gemm": "gemm_memory gemm_grouped gemm_passes gemm_properties gemm_extremes gemm_bounds gemm_bits threads "
        "mma_gemm",
        "mma": "mma_floats mma_measured mma_gemm lib mma_properties mma_fast mma_vdpbf16ps",
    },
]
ENV = {
    "CARGO_INCREMENTAL": "1",
    "CARGO_PROFILE_DEV_DEBUG": "0",
    "CARGO_PROFILE_TEST_DEBUG": "0",
    "QUARTER_SWEEP": "thin",
    "PROPTEST_CASES": "16",
    "RUST_BACKTRACE": "0",
}
SWITCH = """
/// Whether this mutant is on.
#[allow(missing_docs, dead_code)]
pub(crate) fn mutated(number: u32) -> bool {
    extern crate std;
    static ON: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let on = || std::env::var("MUTANT").map_or(0, |text| text.parse().unwrap());
    *ON.get_or_init(on) == number
}
"""


def sample(folder, seed, count):
    """How many mutants a folder has, and those drawn, as cargo-mutants describes them."""
    command = ["cargo", "mutants", "--list", "--json", "--diff", "--no-config"]
    command += ["--package", "quarter", "--file", f"src/{folder}/**"]
    listed = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    listed = [mutant for mutant in listed if mutant["file"].startswith(f"src/{folder}/")]
    listed.sort(key=lambda m: hashlib.sha256(f"{seed}:{m['name']}".encode()).digest())
    return len(listed), sorted(listed[:count], key=lambda m: m["name"])


# ---------------------------------------------------------------- many mutants in one build


def offset(text, place):
    """Of a line and a column, both from 1."""
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: place["line"] - 1]) + place["column"] - 1


def body(text, mutant):
    """Where the body of the mutant's function is, with its braces; none if it may be `const`."""
    function = mutant["function"]
    known = ("BinaryOperator", "UnaryOperator", "FnValue", "MatchArmGuard")
    if function is None or mutant["genre"] not in known:
        return None
    start, end = (offset(text, function["span"][side]) for side in ("start", "end"))
    head = re.search(r"^[^\n/]*\bfn\b", text[start:end], re.MULTILINE)
    before = text.rfind("\n", 0, start + head.end())
    if re.search(r"\bconst\b", text[before : start + head.end()]):
        return None
    depth, at = 0, start + head.end()
    while not (text[at] == "{" and depth == 0):
        depth += (text[at] in "([") - (text[at] in ")]")
        at += 1
    return at, end


def together(tree, mutants):
    """Writes the mutants that can be compiled together into the tree; their numbers by name."""
    by_body, numbers = collections.defaultdict(list), {}
    for number, mutant in enumerate(mutants, 1):
        place = body((ROOT / mutant["file"]).read_text(), mutant)
        if place:
            by_body[mutant["file"], place].append((number, mutant))
            numbers[mutant["name"]] = number
    files = {file: (ROOT / file).read_text() for file, _ in by_body}
    for (file, (start, end)), group in sorted(by_body.items(), key=lambda b: b[0][1], reverse=True):
        text, arms = (ROOT / file).read_text(), ""
        for number, mutant in group:
            a, b = (offset(text, mutant["span"][side]) for side in ("start", "end"))
            one = text[start:a] + mutant["replacement"] + text[b:end]
            arms += f"if crate::mutated({number}) {one} else "
        new = files[file]
        files[file] = new[:start] + "{" + arms + text[start:end] + "}" + new[end:]
    for file in {mutant["file"] for mutant in mutants}:
        (tree / file).write_text(files.get(file) or (ROOT / file).read_text())
    (tree / "src/lib.rs").write_text((ROOT / "src/lib.rs").read_text() + SWITCH)
    return numbers


def compiling(tree, mutants):
    """The numbers of those that compile together, which are left in the tree."""
    while True:
        numbers = together(tree, mutants)
        _, log = binaries(tree, 1, [], "check")
        wrong = set()
        for file, line in re.findall(r"error.*\n +--> (src/\S+?):(\d+)", log):
            before = "".join((tree / file).read_text().splitlines(True)[: int(line)])
            wrong.add(int(re.findall(r"crate::mutated\((\d+)\)", before)[-1]))
        if not wrong:
            return numbers
        mutants = [m | {"function": None} if i in wrong else m for i, m in enumerate(mutants, 1)]


# ---------------------------------------------------------------- building and running


def binaries(tree, level, tests, verb="test"):
    """The executables of some tests, or None if they do not compile; and what the compiler said."""
    env = os.environ | ENV | {f"CARGO_PROFILE_{p}_OPT_LEVEL": str(level) for p in ("DEV", "TEST")}
    env["CARGO_TARGET_DIR"] = str(tree.parent / f"target-{tree.name}{level}")
    chosen = ["--lib" if test == "lib" else f"--test={test}" for test in tests]
    chosen = ["--no-run", *chosen] if verb == "test" else ["--lib"]
    command = ["cargo", verb, "--package", "quarter", *chosen]
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)
    if done.returncode:
        return None, done.stderr
    found = dict(re.findall(r"Executable (?:tests/)?(\S+)\.rs \((.*)\)", done.stderr))
    found |= {"lib": path for path in re.findall(r"Executable unittests \S+ \((.*)\)", done.stderr)}
    return {test: found[test] for test in tests}, done.stderr


def meet(tree, built, number=0):
    """The test that fails, with `endless` if it was cut short, or None; and what it printed."""
    env = os.environ | ENV | {"MUTANT": str(number)}
    for test, path in built.items():
        command = ["prlimit", f"--cpu={SECONDS}", path, "--quiet"]
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)
        if done.returncode in (-9, -24):
            return f"endless {test}", ""
        if done.returncode:
            return test, done.stdout[-1500:] + done.stderr[-1500:]
    return None, ""


def alone(tree, mutant, tiers):
    """The same for a mutant by itself; `unviable` if it does not compile, `assertion` if a constant
    that is checked at compile time says so."""
    path = tree / mutant["file"]
    before = path.read_text()
    try:
        patch = ["patch", "--quiet", str(path)]
        subprocess.run(patch, input=mutant["diff"], text=True, check=True)
        for level, tests in enumerate(tiers):
            built, log = binaries(tree, level, tests)
            if built is None:
                kind = "assertion" if "error[E0080]" in log else "unviable"
                return kind, log[-1500:]
            found, log = meet(tree, built)
            if found:
                break
        return found, log
    finally:
        path.write_text(before)


def copy(out, name):
    ignore = shutil.ignore_patterns("target", ".git")
    shutil.copytree(ROOT, out / name, dirs_exist_ok=True, ignore=ignore, copy_function=shutil.copy)
    return out / name


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--folders", nargs="*", default=list(TIERS[0]))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int, default=76, help="mutants of each folder")
    parser.add_argument("--only", type=pathlib.Path, help="a file with the names of some of them")
    args = parser.parse_args()
    out = args.out.resolve()
    results = out / "results.jsonl"
    known = {}
    if results.exists():
        known = {row["name"]: row["found"] for row in map(json.loads, results.open())}

    def keep(name, start, found, log):
        known[name] = found or "missed"
        row = {"name": name, "found": known[name], "seconds": round(time.monotonic() - start)}
        with results.open("a") as file:
            print(json.dumps(row | {"log": log}), file=file)

    drawn = {folder: sample(folder, args.seed, args.count) for folder in args.folders}
    if args.only:
        names = set(args.only.read_text().splitlines())
        chosen = {f: [m for m in listed if m["name"] in names] for f, (_, listed) in drawn.items()}
        drawn = {folder: (drawn[folder][0], mutants) for folder, mutants in chosen.items()}
    pending = [m for _, mutants in drawn.values() for m in mutants if m["name"] not in known]
    tests = {f: [tier[f].split() for tier in TIERS] for f in args.folders}
    folder = lambda mutant: mutant["file"].split("/")[1]

    tree = copy(out, "many")
    numbers = compiling(tree, pending)
    print(f"{len(numbers)} mutants compile together", flush=True)
    wanted = {test for m in pending if m["name"] in numbers for t in tests[folder(m)] for test in t}
    built, log = binaries(tree, 1, sorted(wanted)) if wanted else ({}, "")
    for name in args.folders:
        of_folder = {test: path for test, path in (built or {}).items() if test in sum(tests[name], [])}
        start = time.monotonic()
        found, log = meet(tree, of_folder) if built is not None else ("build", log)
        if found:
            sys.exit(f"without a mutant: {found}\n{log}")
        print(f"{name}: its tests take {time.monotonic() - start:.1f} s", flush=True)
    for mutant in pending:
        if number := numbers.get(mutant["name"]):
            order = [test for tier in tests[folder(mutant)] for test in tier]
            start = time.monotonic()
            keep(mutant["name"], start, *meet(tree, {test: built[test] for test in order}, number))

    tree = copy(out, "one")
    for mutant in pending:
        if mutant["name"] not in numbers:
            start = time.monotonic()
            keep(mutant["name"], start, *alone(tree, mutant, tests[folder(mutant)]))

    for name, (listed, mutants) in drawn.items():
        table = collections.Counter()
        for mutant in mutants:
            kind = known[mutant["name"]].split()[0]
            apart = ("unviable", "missed", "endless", "assertion")
            table[kind if kind in apart else "caught"] += 1
            if kind == "missed":
                print("missed:", mutant["name"])
        print(f"{name}: {len(mutants)} of {listed}:", dict(table))


if __name__ == "__main__":
    main()
