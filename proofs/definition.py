"""What the standards say a conversion gives, in z3's own arithmetic: nothing of the library's."""

import dataclasses
from fractions import Fraction

import z3

MODES = {
    "NearestEven": z3.RNE(),
    "NearestAway": z3.RNA(),
    "TowardZero": z3.RTZ(),
    "Up": z3.RTP(),
    "Down": z3.RTN(),
}


@dataclasses.dataclass(frozen=True)
class Format:
    """What the standards say; the row of table.rs says it in another way."""

    bits: int
    precision: int
    emin: int
    max: Fraction
    inf: int | None
    nan: int | None
    negative_zero: bool = True

    @property
    def sign(self):
        return 1 << self.bits - 1

    @property
    def largest(self):
        """The code of the largest number: what comes before Inf or NaN, or the last."""
        return (self.inf or (self.nan if self.negative_zero else None) or self.sign) - 1

    @property
    def sort_bits(self):
        """At least one bit of exponent more than the format has; 9 or more (README.md)."""
        return max(self.bits - self.precision + 1, 9)

    @property
    def sort(self):
        """An IEEE format of this precision whose largest number is far beyond this one's."""
        return z3.FPSort(self.sort_bits, self.precision)

    @property
    def shift(self):
        """2^shift takes this format's subnormals to those of `sort`, and its codes with them."""
        return 2 - (1 << self.sort_bits - 1) - self.emin


FORMATS = {
    "F8E4M3": Format(8, 4, -6, Fraction(448), None, 0x7F),
    "F8E5M2": Format(8, 3, -14, Fraction(57344), 0x7C, 0x7E),
    "F8E4M3FNUZ": Format(8, 4, -7, Fraction(240), None, 0x80, False),
    "F8E5M2FNUZ": Format(8, 3, -15, Fraction(57344), None, 0x80, False),
    "F8E4M3B11FNUZ": Format(8, 4, -10, Fraction(30), None, 0x80, False),
    "F8E3M4": Format(8, 5, -2, Fraction(31, 2), 0x70, 0x78),
    "F8E4M3IEEE": Format(8, 4, -6, Fraction(240), 0x78, 0x7C),
    "F6E2M3": Format(6, 4, 0, Fraction(15, 2), None, None),
    "F6E3M2": Format(6, 3, -2, Fraction(28), None, None),
    "F4E2M1": Format(4, 2, 0, Fraction(6), None, None),
    "BF16": Format(16, 8, -126, (2 - Fraction(1, 2**7)) * 2**127, 0x7F80, 0x7FC0),
    "F16": Format(16, 11, -14, Fraction(65504), 0x7C00, 0x7E00),
    "F32": Format(32, 24, -126, (2 - Fraction(1, 2**23)) * 2**127, 0x7F800000, 0x7FC00000),
}
SOURCES = {"F32": z3.Float32(), "F16": z3.Float16(), "BF16": z3.FPSort(8, 8)}


def scaled(x, shift):
    """x · 2^shift exactly, in a format wide enough for it."""
    wide = z3.FPSort(16, x.sort().sbits())
    x = z3.fpToFP(z3.RNE(), x, wide)
    bits = z3.fpToIEEEBV(x) + z3.BitVecVal(shift << wide.sbits() - 1, 16 + wide.sbits())
    return z3.If(z3.Or(z3.fpIsZero(x), z3.fpIsInf(x), z3.fpIsNaN(x)), x, z3.fpBVToFP(bits, wide))


def code(value, width=64):
    return z3.BitVecVal(value, width)


def rounded(x, format, mode):
    """x rounded to the format's precision; whether that is beyond its largest number; its code."""
    y = z3.fpToFP(MODES[mode], scaled(x, format.shift), format.sort)
    limit = z3.FPVal(float(format.max * Fraction(2) ** format.shift), format.sort)
    magnitude = z3.fpToIEEEBV(z3.fpAbs(y))
    return z3.fpGT(z3.fpAbs(y), limit), z3.ZeroExt(64 - magnitude.size(), magnitude)


def rounded_e2m1(x, mode):
    """The same for E2M1, whose two bits are too few for z3: whole multiples of the spacing."""
    a, wide = z3.fpAbs(x), x.sort()
    number = lambda v: z3.FPVal(v, wide)
    spaced = lambda shift: scaled(z3.fpRoundToIntegral(MODES[mode], scaled(x, -shift)), shift)
    y = z3.If(z3.fpLT(a, number(2)), spaced(-1), z3.If(z3.fpLT(a, number(4)), spaced(0), spaced(1)))
    y = z3.fpAbs(y)
    magnitude = code(0)
    for i, v in enumerate([0.5, 1, 1.5, 2, 3, 4, 6]):
        magnitude = z3.If(z3.fpGEQ(y, z3.FPVal(v, y.sort())), code(i + 1), magnitude)
    return z3.fpGT(y, z3.FPVal(6, y.sort())), magnitude


def defined(x, format, policy):
    """The code of x in a format by definition."""
    mode, overflow, nan = policy
    negative = z3.fpIsNegative(x)
    small = format.precision < 3
    over, magnitude = rounded_e2m1(x, mode) if small else rounded(x, format, mode)
    largest = format.largest
    # Beyond: the rule of the format, unless the mode rounds this sign toward zero.
    beyond = largest
    if overflow == "NonFinite":
        beyond = format.inf or format.nan or largest
    inward = {"TowardZero": True, "Up": negative, "Down": z3.Not(negative)}.get(mode, False)
    inward = z3.And(inward, z3.Not(z3.fpIsInf(x)))
    magnitude = z3.If(over, z3.If(inward, code(largest), code(beyond)), magnitude)
    sign = z3.If(negative, code(format.sign), code(0))
    if not format.negative_zero:
        sign = z3.If(magnitude == 0, code(0), sign)
    not_a_number = code({"Zero": 0, "Max": largest}[nan])
    if format.nan is not None:
        # The sign of NaN is not part of z3's numbers: the caller compares NaN by itself.
        not_a_number = code(format.nan)
    return z3.If(z3.fpIsNaN(x), not_a_number, magnitude | sign)


def value(bits, format):
    """The number that a code of a format without NaN and infinity among `bits` stands for."""
    magnitude = bits & code(format.sign - 1, format.bits)
    negative = bits & code(format.sign, format.bits) != 0
    if format.precision < 3:
        x = z3.FPVal(0, z3.Float64())
        for i, v in enumerate([0.5, 1, 1.5, 2, 3, 4, 6]):
            x = z3.If(magnitude == i + 1, z3.FPVal(v, z3.Float64()), x)
    else:
        width = format.sort_bits + format.precision - format.bits
        x = z3.fpBVToFP(z3.ZeroExt(width, magnitude), format.sort)
        x = z3.fpToFP(z3.RNE(), scaled(x, -format.shift), z3.Float64())
    return z3.If(negative, z3.fpNeg(x), x)


def is_number(bits, format):
    """Neither NaN nor infinity."""
    if format.nan is None:
        return z3.BoolVal(True)
    if not format.negative_zero:
        return bits != format.nan
    return z3.ULT(bits & (format.sign - 1), format.inf if format.inf else format.nan)
