"""Integers, bools, structs and enums of Rust, known or as z3 terms."""

import dataclasses

import z3

from syntax import Unsupported

WIDTH = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "i32": 32, "i64": 64}


@dataclasses.dataclass(frozen=True)
class Int:
    """An integer of a type (None: a literal that has not met one yet), known or a bit vector."""

    type: str | None
    value: object

    def known(self):
        return isinstance(self.value, int)

    def term(self, type=None):
        width = WIDTH[self.type or type]
        return z3.BitVecVal(self.value, width) if self.known() else self.value


@dataclasses.dataclass(frozen=True)
class Struct:
    type: str
    fields: dict


@dataclasses.dataclass(frozen=True)
class Enum:
    """A variant by name, or, of an enum without fields, as a bit vector of its number."""

    type: str
    variant: object
    fields: dict

    def term(self):
        if isinstance(self.variant, str):
            return z3.BitVecVal(variant_id(self.variant), 32)
        return self.variant


VARIANTS = {}


def variant_id(name):
    return VARIANTS.setdefault(name, len(VARIANTS))


def signed(value, type):
    """An unsigned number of the type's width as the type has it."""
    return value - (1 << WIDTH[type]) if type[0] == "i" and value >> WIDTH[type] - 1 else value


def typed(value, type):
    """A literal that has found its type."""
    if isinstance(value, Int) and value.type is None and type in WIDTH:
        return Int(type, value.value)
    return value


def simplified(type, term):
    term = z3.simplify(term)
    return Int(type, signed(term.as_long(), type)) if z3.is_bv_value(term) else Int(type, term)


def settled(condition):
    if isinstance(condition, bool):
        return condition
    condition = z3.simplify(condition)
    if z3.is_true(condition) or z3.is_false(condition):
        return z3.is_true(condition)
    return condition


def negate(a):
    return not a if isinstance(a, bool) else z3.Not(a)


def both(a, b):
    if isinstance(a, bool):
        return b if a else False
    if isinstance(b, bool):
        return a if b else False
    return z3.And(a, b)


def either(a, b):
    return negate(both(negate(a), negate(b)))


def compare(operator, a, b):
    if not isinstance(a, Int):
        equal = settled(z3.BoolVal(a) == b if isinstance(a, bool) else a == b)
        return equal if operator == "==" else negate(equal)
    type = a.type or b.type
    if a.type and b.type and a.type != b.type:
        raise Unsupported(f"{a.type} {operator} {b.type}")
    known = {
        "==": int.__eq__,
        "!=": int.__ne__,
        "<": int.__lt__,
        ">": int.__gt__,
        "<=": int.__le__,
        ">=": int.__ge__,
    }[operator]
    if a.known() and b.known():
        return known(a.value, b.value)
    x, y = a.term(type), b.term(type)
    if operator in ("==", "!="):
        return settled(x == y if operator == "==" else x != y)
    if type[0] == "i":
        return settled({"<": x < y, ">": x > y, "<=": x <= y, ">=": x >= y}[operator])
    return settled({"<": z3.ULT, ">": z3.UGT, "<=": z3.ULE, ">=": z3.UGE}[operator](x, y))


def merge(condition, a, b):
    """a where the condition holds, else b."""
    if condition is True:
        return a
    if isinstance(a, tuple):
        return tuple(merge(condition, x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Int):
        if a == b:
            return a
        type = a.type or b.type
        return Int(type, z3.If(condition, a.term(type), b.term(type)))
    if isinstance(a, Struct):
        return Struct(a.type, {k: merge(condition, a.fields[k], b.fields[k]) for k in a.fields})
    if isinstance(a, Enum):
        if not a.fields and not b.fields:
            return Enum(a.type, z3.If(condition, a.term(), b.term()), {})
        raise Unsupported("merging variants with fields")
    if isinstance(a, bool) and isinstance(b, bool) and a == b:
        return a
    return z3.If(condition, a, b)
