"""Runs Rust functions on symbols: the source text itself, not a copy of it, is what z3 reads.

The part of Rust that `src/format` uses in its `const fn`s: integers, bools, structs, enums, tuples,
`let`, `if`, `match`, `matches!`, `return`, calls. Whatever else occurs raises `Unsupported`.

A value is a bool, an `Int`, a `Struct`, an `Enum` or a tuple; bools, integers and the variants of
enums without fields may be z3 terms. Where a condition is one, both sides are run and merged under
it, and what the compiler would turn into a panic (overflow, a shift that is too wide) is recorded
with the condition under which it is reached, for the caller to prove false.
"""

import re

import z3

from syntax import BINARY, CLOSE, Parser, Unsupported, skip, tokenize
from values import (
    Enum,
    Int,
    Struct,
    WIDTH,
    both,
    compare,
    either,
    merge,
    negate,
    settled,
    signed,
    simplified,
    typed,
    variant_id,
)


class Program:
    """The functions of some source files, by (type or None, name)."""

    def __init__(self, texts):
        self.functions = {}
        for text in texts:
            self.read(tokenize(text), None)

    def read(self, tokens, owner):
        at = 0
        while at < len(tokens):
            token = tokens[at]
            if token == "macro_rules":
                at = skip(tokens, at + 3)
            elif token == "impl":
                body = tokens.index("{", at)
                end = skip(tokens, body)
                if "<" not in tokens[at:body] and "for" not in tokens[at:body]:
                    self.read(tokens[body + 1 : end - 1], tokens[body - 1])
                at = end
            elif token == "fn":
                opening = tokens.index("(", at)
                closing = skip(tokens, opening)
                body = tokens.index("{", closing)
                result = "".join(tokens[closing + 1 : body])
                parameters = self.parameters(tokens[opening + 1 : closing - 1], owner)
                end = skip(tokens, body)
                source = tokens[body:end]
                self.functions[owner, tokens[at + 1]] = [parameters, result, source, None]
                at = end
            elif token in CLOSE:
                at = skip(tokens, at)
            else:
                at += 1

    @staticmethod
    def parameters(tokens, owner):
        found, depth, name = [], 0, None
        for i, token in enumerate(tokens):
            depth += (token in "([<") - (token in ")]>")
            if depth == 0 and token == "self":
                found.append(("self", owner))
            elif depth == 0 and i + 1 < len(tokens) and tokens[i + 1] == ":":
                name = token
            elif depth == 0 and name and token not in ("&", ":", "mut"):
                found.append((name, token))
                name = None
        return found

    def call(self, owner, name, arguments, machine):
        try:
            function = self.functions[owner, name]
        except KeyError:
            raise Unsupported(f"function {owner}::{name}") from None
        parameters, result, source, body = function
        if body is None:
            body = function[3] = Parser(source).block()
        scope = {}
        for (parameter, type), value in zip(parameters, arguments, strict=True):
            scope[parameter] = typed(value, type)
        return machine.function(body, scope, owner, result)


class Never:
    """What `return` gives to the expression that it stands in."""


NEVER = Never()
PRELUDE = {"Some": "Option", "None": "Option", "Ok": "Result", "Err": "Result"}


class Machine:
    """Runs functions of a program; `panics` is every (condition, what) that must not hold."""

    def __init__(self, program, constants=()):
        self.program, self.constants = program, dict(constants)
        self.panics, self.reached, self.returns = [], True, None
        self.owner = None

    def function(self, body, scope, owner, result):
        outside = self.reached, self.returns, self.owner
        self.returns, self.owner = [], owner
        value = self.run(body, scope)
        for condition, returned in reversed(self.returns):
            value = returned if value is NEVER else merge(condition, returned, value)
        self.reached, self.returns, self.owner = outside
        inner = re.fullmatch(r"Option<(\w+)>", result)
        if inner and isinstance(value, Enum) and 0 in value.fields:
            return Enum(value.type, value.variant, {0: typed(value.fields[0], inner[1])})
        return typed(value, result)

    def panic(self, condition, what):
        condition = both(self.reached, condition)
        if condition is True:
            raise AssertionError(f"always panics: {what}")
        if condition is not False:
            self.panics.append((condition, what))

    def branch(self, condition, then, otherwise):
        """Both sides under their conditions, merged; one of them if the condition is known."""
        condition = settled(condition)
        if isinstance(condition, bool):
            return then() if condition else otherwise()
        before = self.reached
        self.reached = both(before, condition)
        a, reached_a = then(), self.reached
        self.reached = both(before, z3.Not(condition))
        b, reached_b = otherwise(), self.reached
        if a is NEVER or b is NEVER:
            self.reached = reached_b if a is NEVER else reached_a
            return b if a is NEVER else a
        self.reached = either(reached_a, reached_b)
        return merge(condition, a, b)

    def run(self, node, scope):
        return getattr(self, "run_" + node[0])(scope, *node[1:])

    def run_block(self, scope, statements, last):
        scope = dict(scope)
        for kind, *rest in statements:
            if kind == "let":
                pattern, type, expression = rest
                value = typed(self.run(expression, scope), type)
                if value is NEVER:
                    return NEVER
                _, names = self.test(pattern, value)
                scope |= names
            elif self.run(rest[0], scope) is NEVER:
                return NEVER
        return () if last is None else self.run(last, scope)

    def run_return(self, scope, expression):
        value = () if expression is None else self.run(expression, scope)
        if value is not NEVER:
            self.returns.append((self.reached, value))
        return NEVER

    def run_int(self, _, value, type):
        return Int(type, value)

    def run_bool(self, _, value):
        return value

    def run_tuple(self, scope, parts):
        return tuple(self.run(part, scope) for part in parts)

    def run_path(self, scope, path):
        if len(path) == 1 and path[0] in scope:
            return scope[path[0]]
        if len(path) == 1 and path[0] in PRELUDE:
            return Enum(PRELUDE[path[0]], path[0], {})
        if path[-1] in self.constants:
            return self.constants[path[-1]]
        if len(path) == 2 and path[0] in WIDTH and path[1] == "MAX":
            return Int(path[0], (1 << WIDTH[path[0]] - (path[0][0] == "i")) - 1)
        if len(path) == 2:
            return Enum(self.named(path[0]), path[1], {})
        raise Unsupported(f"path {'::'.join(path)}")

    def named(self, type):
        return self.owner if type == "Self" else type

    def run_struct(self, scope, path, fields, base):
        values = dict(self.run(base, scope).fields) if base else {}
        values |= {name: self.run(value, scope) for name, value in fields.items()}
        if len(path) == 2:
            return Enum(self.named(path[0]), path[1], values)
        return Struct(self.named(path[0]), values)

    def run_field(self, scope, value, name):
        return self.run(value, scope).fields[name]

    def run_call(self, scope, callee, arguments):
        path = callee[1]
        values = [self.run(argument, scope) for argument in arguments]
        if len(path) == 1 and path[0] in PRELUDE:
            return Enum(PRELUDE[path[0]], path[0], dict(enumerate(values)))
        if len(path) == 1:
            return self.program.call(None, path[0], values, self)
        owner = self.named(path[0])
        if (owner, path[1]) not in self.program.functions and path[1][0].isupper():
            return Enum(owner, path[1], dict(enumerate(values)))
        return self.program.call(owner, path[1], values, self)

    def run_method(self, scope, receiver, name, arguments):
        value = self.run(receiver, scope)
        values = [self.run(argument, scope) for argument in arguments]
        if isinstance(value, Int):
            return self.integer_method(value, name, values)
        return self.program.call(value.type, name, [value, *values], self)

    def integer_method(self, value, name, values):
        width = WIDTH[value.type]
        if name == "leading_zeros":
            if value.known():
                return Int("u32", width - value.value.bit_length())
            zeros = z3.BitVecVal(width, 32)
            for bit in range(width):
                zeros = z3.If(z3.Extract(bit, bit, value.value) == 1, width - 1 - bit, zeros)
            return Int("u32", zeros)
        if name == "saturating_sub" and value.type[0] == "u":
            a, b = value.term(), values[0].term(value.type)
            return simplified(value.type, z3.If(z3.ULT(a, b), 0, a - b))
        raise Unsupported(f"{value.type}::{name}")

    def run_if(self, scope, condition, then, otherwise):
        known = self.run(condition, scope)
        return self.branch(known, lambda: self.run(then, scope), lambda: self.run(otherwise, scope))

    def run_match(self, scope, value, arms):
        value = self.run(value, scope)

        def arm(i):
            pattern, guard, body = arms[i]
            condition, names = self.test(pattern, value)
            inner = scope | names
            if guard is not None and condition is not False:
                condition = both(condition, self.run(guard, inner))
            if i + 1 == len(arms):  # the compiler has seen that the arms are all there are
                return self.run(body, inner)
            return self.branch(condition, lambda: self.run(body, inner), lambda: arm(i + 1))

        return arm(0)

    def test(self, pattern, value):
        """Whether a pattern matches, and what it binds."""
        kind = pattern[0]
        if kind == "_":
            return True, {}
        if kind == "bind":
            return True, {pattern[1]: value}
        if kind == "bool":
            return (value if pattern[1] else negate(value)), {}
        if kind == "int":
            return compare("==", value, Int(pattern[2], pattern[1])), {}
        if kind == "or":
            found = [self.test(part, value) for part in pattern[1]]
            condition = False
            for one, _ in found:
                condition = either(condition, one)
            bound = [names for one, names in found if one is not False and names]
            if len(bound) > 1:
                raise Unsupported("alternatives that bind")
            return condition, (bound[0] if bound else {})
        if kind == "tuple":
            found = [self.test(part, one) for part, one in zip(pattern[1], value, strict=True)]
            condition, names = True, {}
            for one, bound in found:
                condition, names = both(condition, one), names | bound
            return condition, names
        _, path, fields = pattern
        if isinstance(value.variant, str):
            if value.variant != path[-1]:
                return False, {}
            condition, names = True, {}
            for name, part in fields.items():
                one, bound = self.test(part, value.fields[name])
                condition, names = both(condition, one), names | bound
            return condition, names
        return settled(value.variant == variant_id(path[-1])), {}

    def run_as(self, scope, value, type):
        value = self.run(value, scope)
        if isinstance(value, bool):
            return Int(type, int(value))
        if isinstance(value, z3.BoolRef):
            return Int(type, z3.If(value, z3.BitVecVal(1, WIDTH[type]), 0))
        if value.known():
            wrapped = value.value % (1 << WIDTH[type])
            return Int(type, signed(wrapped, type))
        more = WIDTH[type] - WIDTH[value.type]
        if more < 0:
            return Int(type, z3.Extract(WIDTH[type] - 1, 0, value.value))
        extend = z3.SignExt if value.type[0] == "i" else z3.ZeroExt
        return Int(type, extend(more, value.value))

    def run_unary(self, scope, operator, value):
        value = self.run(value, scope)
        if operator == "-":
            return self.arithmetic("-", Int(value.type, 0), value)
        if not isinstance(value, Int):
            return negate(value)
        if value.known():
            return Int(value.type, signed(~value.value % (1 << WIDTH[value.type]), value.type))
        return Int(value.type, ~value.value)

    def run_binary(self, scope, operator, left, right):
        a = self.run(left, scope)
        if operator in ("&&", "||"):
            a = settled(a)
            if isinstance(a, bool) and a == (operator == "||"):
                return a
            before = self.reached
            self.reached = both(before, a if operator == "&&" else negate(a))
            b = self.run(right, scope)
            self.reached = before
            return both(a, b) if operator == "&&" else either(a, b)
        b = self.run(right, scope)
        if operator in BINARY[2]:
            return compare(operator, a, b)
        if not isinstance(a, Int):
            return {"|": either, "&": both}[operator](a, b)
        if operator in ("<<", ">>"):
            return self.shift(operator, a, b)
        return self.arithmetic(operator, a, b)

    def shift(self, operator, a, b):
        if a.known() and b.known():
            value = a.value << b.value if operator == "<<" else a.value >> b.value
            if a.type is None:
                return Int(None, value)
            self.panic(not 0 <= b.value < WIDTH[a.type], "shift")
            return Int(a.type, signed(value % (1 << WIDTH[a.type]), a.type))
        if a.type is None:
            raise Unsupported("a literal shifted by a symbol")
        width, amount = WIDTH[a.type], b.term("u32")
        self.panic(settled(z3.UGE(amount, width)), "shift")
        more = width - amount.size()
        amount = z3.ZeroExt(more, amount) if more >= 0 else z3.Extract(width - 1, 0, amount)
        right = (lambda x, n: x >> n) if a.type[0] == "i" else z3.LShR
        term = a.term() << amount if operator == "<<" else right(a.term(), amount)
        return simplified(a.type, term)

    def arithmetic(self, operator, a, b):
        type = a.type or b.type
        if a.type and b.type and a.type != b.type:
            raise Unsupported(f"{a.type} {operator} {b.type}")
        if a.known() and b.known():
            apply = {
                "+": int.__add__,
                "-": int.__sub__,
                "*": int.__mul__,
                "/": int.__floordiv__,
                "%": int.__mod__,
                "&": int.__and__,
                "|": int.__or__,
                "^": int.__xor__,
            }
            value = apply[operator](a.value, b.value)
            if type:
                self.panic(signed(value % (1 << WIDTH[type]), type) != value, "overflow")
            return Int(type, value)
        x, y, sign = a.term(type), b.term(type), type[0] == "i"
        if operator == "+":
            safe = [z3.BVAddNoOverflow(x, y, sign)] + [z3.BVAddNoUnderflow(x, y)] * sign
            term = x + y
        elif operator == "-":
            safe = [z3.BVSubNoUnderflow(x, y, sign)] + [z3.BVSubNoOverflow(x, y)] * sign
            term = x - y
        elif operator in "&|^":
            safe, term = [], {"&": x & y, "|": x | y, "^": x ^ y}[operator]
        else:
            raise Unsupported(f"{operator} of symbols")
        for one in safe:
            self.panic(settled(z3.Not(one)), f"overflow of {operator}")
        return simplified(type, term)
