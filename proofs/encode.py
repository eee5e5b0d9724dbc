"""Proves that the encoder and decoder of src/format compute what IEEE 754 and OCP define.

    python3 proofs/encode.py            every theorem, then every change of changes.py

z3 (the package z3-solver) is given the Rust source, which rust.py runs on symbols, and a definition that
shares nothing with it, definition.py. `unsat` for "they differ" is the theorem, for every input at
once. Then the source is changed on purpose, one place at a time, and each change must be found.
"""

import itertools
import pathlib
import re
import sys
import time

import z3

from changes import MUTANTS, NEUTRAL
from definition import FORMATS, MODES, SOURCES, code, defined, is_number, scaled, value
from rust import Machine, Program
from values import Enum, Int, Struct

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "format"
README = (ROOT / "README.md").read_text()
FILES = ["encode.rs", "decode.rs", "spec.rs", "round.rs"]


class Rust:
    """The source, and its table of formats."""

    def __init__(self, edit=None):
        texts = {name: (SOURCE / name).read_text() for name in [*FILES, "table.rs"]}
        if edit:
            name, old, new = edit
            if texts[name].count(old) != 1:
                sys.exit(f"{name} has {texts[name].count(old)} times, not once: {old}")
            texts[name] = texts[name].replace(old, new)
        self.program = Program(texts[name] for name in FILES)
        self.specs = {}
        row = r"(\w+) (?:\([\w:]+\) \w+ )?\"\w+\" \[[^]]*\]\s+exp (\d+) man (\d+) bias (\d+) ?(\w*)"
        for name, exp, man, bias, specials in re.findall(row, texts["table.rs"]):
            scale = name == "E8M0"
            self.specs[name] = Struct(
                "FormatSpec",
                {
                    "exp_bits": Int("u32", int(exp)),
                    "man_bits": Int("u32", int(man)),
                    "bias": Int("i32", int(bias)),
                    "signed": not scale,
                    "has_zero": not scale,
                    "specials": Enum("Specials", specials or "Ieee", {}),
                },
            )

    def machine(self):
        return Machine(self.program, {name: self.specs[name] for name in ("F32", "F64")})

    def decode(self, machine, name, code):
        code = z3.ZeroExt(64 - code.size(), code) if code.size() < 64 else code
        return self.program.call(
            "Unpacked", "decode", [self.specs[name], Int("u64", code)], machine
        )

    def round(self, machine, number, name, policy, word=Int("u32", 0)):
        """The code; `policy` is rounding, overflow, NaN."""
        rounding, overflow, nan = policy
        rounding = rounding if isinstance(rounding, Enum) else Enum("Rounding", rounding, {})
        policy = Struct(
            "Policy",
            {
                "rounding": rounding,
                "overflow": Enum("Overflow", overflow, {}),
                "nan": Enum("NanPolicy", nan, {}),
            },
        )
        arguments = [number, self.specs[name], policy, word]
        return self.program.call("Unpacked", "round", arguments, machine).term("u64")


# ---------------------------------------------------------------- theorems

# A theorem is a name and a function: Rust → (terms that must never hold, the machine).


def from_f64(name, policy):
    """Every f64, NaN and infinities included."""

    def theorem(rust):
        machine, bits = rust.machine(), z3.BitVec("x", 64)
        got = rust.round(machine, rust.decode(machine, "F64", bits), name, policy)
        x, format = z3.fpBVToFP(bits, z3.Float64()), FORMATS[name]
        want = defined(x, format, policy)
        sign_kept = z3.And(z3.fpIsNaN(x), bool(format.nan), format.negative_zero, bits >> 63 != 0)
        return [got != z3.If(sign_kept, want | format.sign, want)], machine

    return f"f64 → {name}, {' '.join(policy)}", theorem


def saturating(name, mode):
    """Saturation changes what lies beyond the largest number, Inf with it, and nothing else."""

    def theorem(rust):
        machine, bits = rust.machine(), z3.BitVec("x", 64)
        number, format = rust.decode(machine, "F64", bits), FORMATS[name]
        free = rust.round(machine, number, name, (mode, "NonFinite", "Zero"))
        got = rust.round(machine, number, name, (mode, "Saturate", "Zero"))
        nan = z3.fpIsNaN(z3.fpBVToFP(bits, z3.Float64()))
        largest = code(format.largest) | z3.If(bits >> 63 != 0, code(format.sign), code(0))
        kept = z3.Or(nan, is_number(z3.Extract(format.bits - 1, 0, free), format))
        return [got != z3.If(kept, free, largest)], machine

    return f"f64 → {name}, {mode}, saturating", theorem


def stochastic(name, mode, count):
    """Every f64 and every random word. In a format with `count` more bits of mantissa the code of
    x is that of lo times 2^count plus t; adding R carries into the next code iff t + R ≥ 2^count.
    """

    def theorem(rust):
        machine, bits, word = rust.machine(), z3.BitVec("x", 64), z3.BitVec("word", 32)
        number, format = rust.decode(machine, "F64", bits), FORMATS[name]
        rounding = Enum("Rounding", mode, {"bits": Int("u8", count)})
        got = rust.round(machine, number, name, (rounding, "NonFinite", "Zero"), Int("u32", word))
        x = z3.fpAbs(z3.fpBVToFP(bits, z3.Float64()))

        def finer(more, rm):
            sort = z3.FPSort(format.sort_bits, format.precision + more)
            y = z3.fpToFP(rm, scaled(x, format.shift), sort)
            bits = z3.fpToIEEEBV(y)
            return y, z3.ZeroExt(64 - bits.size(), bits)

        nearest = {"Stochastic": "TowardZero", "StochasticFast": "NearestAway"}
        _, t = finer(count, MODES[nearest.get(mode, "NearestEven")])
        if mode == "StochasticOdd":  # a tie has one more bit, and goes the other way
            y, whole = finer(count + 1, MODES["TowardZero"])
            tie = z3.And(
                whole & 1 == 1,
                z3.fpEQ(scaled(x, format.shift), z3.fpToFP(z3.RNE(), y, scaled(x, 0).sort())),
            )
            t = z3.If(tie, whole >> 1 | 1, t)
        magnitude = t + z3.LShR(z3.ZeroExt(32, word), 32 - count) >> count
        beyond = format.inf or format.nan or format.largest
        magnitude = z3.If(z3.UGT(magnitude, format.largest), code(beyond), magnitude)
        sign = z3.If(bits >> 63 != 0, code(format.sign), code(0))
        if not format.negative_zero:
            sign = z3.If(magnitude == 0, code(0), sign)
        here = z3.And(z3.Not(z3.fpIsNaN(x)), z3.Not(z3.fpIsInf(x)))
        return [z3.And(here, got != magnitude | sign)], machine

    return f"f64 → {name}, {mode} with {count} bits", theorem


def from_unpacked(name, mode):
    """Every finite `Unpacked`: 64 bits of significand and "a little more", as integers, decimal
    numbers, square roots and fused operations give them."""

    def theorem(rust):
        machine = rust.machine()
        negative, sticky = z3.Bools("negative sticky")
        significand, exponent = z3.BitVec("significand", 64), z3.BitVec("exponent", 32)
        number = Struct(
            "Unpacked",
            {
                "negative": negative,
                "class": Enum("Class", "Finite", {}),
                "sticky": sticky,
                "significand": Int("u64", significand),
                "exponent": Int("i32", exponent),
            },
        )
        policy = (mode, "NonFinite", "Zero")
        got = rust.round(machine, number, name, policy)
        # sign, 15 bits of exponent, 63 of mantissa below the hidden one, then the sticky bit.
        bit = lambda b: z3.If(b, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1))
        field = z3.Extract(14, 0, exponent + 16383)
        whole = z3.Concat(bit(negative), field, z3.Extract(62, 0, significand), bit(sticky))
        want = defined(z3.fpBVToFP(whole, z3.FPSort(15, 65)), FORMATS[name], policy)
        given = z3.And(exponent >= -16000, exponent <= 16000, significand >> 63 != 0)
        machine.panics = [(z3.And(given, condition), what) for condition, what in machine.panics]
        return [z3.And(given, got != want)], machine

    return f"significand and sticky bit → {name}, {mode}", theorem


def round_trip(name):
    """Every code that is not NaN comes back from `Unpacked`, and has the value by definition."""

    def theorem(rust):
        machine, format = rust.machine(), FORMATS[name]
        bits = z3.BitVec("code", format.bits)
        number = rust.decode(machine, name, bits)
        policy = ("NearestEven", "NonFinite", "Zero")
        back = rust.round(machine, number, name, policy)
        wide = rust.round(machine, number, "F64", policy)
        here = is_number(bits, format)
        infinite = bits & (format.sign - 1) == format.inf if format.inf else z3.BoolVal(False)
        same = back == z3.ZeroExt(64 - format.bits, bits)
        exact = wide == z3.fpToIEEEBV(value(bits, format))
        infinity = z3.Extract(62, 0, wide) == 0x7FF << 52
        return [
            z3.And(here, z3.Not(z3.And(same, exact))),
            z3.And(infinite, z3.Not(z3.And(same, infinity))),
        ], machine

    return f"{name} → f64 and back", theorem


def source(name):
    """f32, f16 and bf16 unpack to what the f64 of their value unpacks to, as does f64 itself."""

    def theorem(rust):
        machine, bits = rust.machine(), z3.BitVec("x", FORMATS[name].bits)
        x = z3.fpToFP(z3.RNE(), z3.fpBVToFP(bits, SOURCES[name]), z3.Float64())
        short = rust.decode(machine, name, bits).fields
        long = rust.decode(machine, "F64", z3.fpToIEEEBV(x)).fields
        term = lambda v: v.term() if isinstance(v, (Int, Enum)) else v
        same = z3.And([term(short[key]) == term(long[key]) for key in short])
        return [z3.And(z3.Not(z3.fpIsNaN(x)), z3.Not(same))], machine

    return f"{name} is the f64 of its value", theorem


def scale(mode, overflow):
    """f64 → E8M0: code c is 2^(c - 127). Directed modes round |x|; nearest has no code for x ≤ 0,
    and its ties go up, since the one bit of significand is odd."""

    def theorem(rust):
        machine, bits = rust.machine(), z3.BitVec("x", 64)
        number = rust.decode(machine, "F64", bits)
        got = rust.round(machine, number, "E8M0", (mode, overflow, "Zero"))
        x = z3.fpBVToFP(bits, z3.Float64())
        a = z3.fpAbs(x)

        def times(quarters, exponent):
            """quarters/4 · 2^exponent as f64, for 4 to 7 quarters."""
            return z3.fpBVToFP((exponent + 1023 << 52) + (quarters - 4 << 50), z3.Float64())

        exponent = got - 127
        directed = mode in ("TowardZero", "Up", "Down")
        nothing = z3.fpIsZero(x) if directed else z3.Or(z3.fpIsZero(x), z3.fpIsNegative(x))
        beyond = code(255 if overflow == "NonFinite" else 254)
        if mode == "Up":  # 2^(e-1) < |x| ≤ 2^e
            lower, upper = z3.fpGT(a, times(4, exponent - 1)), z3.fpLEQ(a, times(4, exponent))
            past = z3.fpGT(a, times(4, code(127)))
        elif directed:  # 2^e ≤ |x| < 2^(e+1)
            lower, upper = z3.fpGEQ(a, times(4, exponent)), z3.fpLT(a, times(4, exponent + 1))
            past = z3.fpGEQ(a, times(4, code(128)))
        else:  # 0.75 · 2^e ≤ |x| < 1.5 · 2^e
            lower, upper = z3.fpGEQ(a, times(6, exponent - 1)), z3.fpLT(a, times(6, exponent))
            past = z3.fpGEQ(a, times(6, code(127)))
        lower = z3.Or(got == 0, lower)
        if mode == "NearestEven":  # ml_dtypes: all of (2^-127, 1.5 · 2^-126) goes to 2^-126
            least = z3.fpGT(a, times(4, code(-127 % 2**64)))
            lower = z3.If(got == 1, least, lower)
            upper = z3.If(got == 0, z3.Not(least), upper)
        inside = z3.And(lower, upper, z3.ULE(got, 254))
        past = z3.Or(past, z3.fpIsInf(x))
        inward = z3.And(mode in ("TowardZero", "Down"), z3.Not(z3.fpIsInf(x)))
        want = z3.If(
            z3.fpIsNaN(x),
            got == 255,
            z3.If(
                nothing,
                got == (beyond if overflow == "NonFinite" and not directed else 0),
                z3.If(past, got == z3.If(inward, code(254), beyond), inside),
            ),
        )
        return [z3.Not(want)], machine

    return f"f64 → E8M0, {mode} {overflow}", theorem


def theorems():
    for name in FORMATS:
        yield round_trip(name)
    for name in SOURCES:
        yield source(name)
    for mode, overflow in itertools.product(MODES, ["NonFinite", "Saturate"]):
        yield scale(mode, overflow)
    for name, mode in itertools.product(FORMATS, MODES):
        yield from_f64(name, (mode, "NonFinite", "Zero"))
        yield saturating(name, mode)
        if mode == "NearestEven" or name in ("F8E4M3", "BF16", "F32"):
            yield from_unpacked(name, mode)
        if FORMATS[name].nan is None and mode == "NearestEven":
            yield from_f64(name, (mode, "NonFinite", "Max"))
    for name in ["F8E4M3", "F4E2M1", "BF16"]:
        for count in [8, 32]:
            yield stochastic(name, "Stochastic", count)
        for mode in ["StochasticEven", "StochasticOdd", "StochasticFast"]:
            yield stochastic(name, mode, 9)


def counterexample(theorem, rust):
    """What makes a theorem false or the code panic, or None."""
    wrong, machine = theorem(rust)
    for claim in [*wrong, z3.Or([condition for condition, _ in machine.panics])]:
        solver = z3.Solver()
        solver.add(claim)
        found = solver.check()
        if found == z3.sat:
            return solver.model()
        if found != z3.unsat:
            sys.exit(f"z3 cannot decide: {found}")
    return None


def main():
    start, failed, all = time.process_time(), 0, dict(theorems())
    for kind, rust, names in [
        ("as it is", Rust(), list(all)),
        ("after a neutral edit", Rust(NEUTRAL), ["f64 → F8E4M3, NearestEven NonFinite Zero"]),
    ]:
        false = 0
        for name in names:
            model = counterexample(all[name], rust)
            if model is not None:
                print(f"FALSE: {name}: {model}", flush=True)
                false += 1
        print(
            f"{len(names) - false} of {len(names)} theorems hold of the source {kind}", flush=True
        )
        failed += false
    for row, count in [("theorems", len(all)), ("encoders that are wrong", len(MUTANTS))]:
        if not re.search(rf"^\| {row}[^|]*\| {count} \|", README, re.MULTILINE):
            print(f"README: there are {count} {row}")
            failed += 1
    missed = 0
    for file, old, new, name in MUTANTS:
        if counterexample(all[name], Rust((file, old, new))) is None:
            print(f"MISSED: {file}: {old} → {new}: {name} still holds", flush=True)
            missed += 1
    print(f"{len(MUTANTS) - missed} of {len(MUTANTS)} changes of the source are found")
    print(f"{time.process_time() - start:.0f} s of processor time, z3 {z3.get_version_string()}")
    sys.exit(failed + missed > 0)


if __name__ == "__main__":
    main()
