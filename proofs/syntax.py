"""The text of Rust functions as nested tuples: the part of the language that src/format uses."""

import re

TOKEN = re.compile(
    r"""\s+|//[^\n]*|(?P<string>"[^"]*")|(?P<life>'[a-z_]+\b(?!'))
    |(?P<num>(?:0x[0-9a-fA-F_]+|[0-9][0-9_]*)(?:[ui](?:8|16|32|64|128|size))?)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<op><<=|>>=|\.\.=|::|->|=>|==|!=|<=|>=|&&|\|\||<<|>>|\.\.
        |[-+*/%&|^!=<>.,;:?\#@$(){}\[\]])""",
    re.VERBOSE,
)
BINARY = [
    ["||"],
    ["&&"],
    ["==", "!=", "<", ">", "<=", ">="],
    ["|"],
    ["^"],
    ["&"],
    ["<<", ">>"],
    ["+", "-"],
    ["*", "/", "%"],
]
CLOSE = {"(": ")", "[": "]", "{": "}"}


class Unsupported(Exception):
    """Rust that this file does not know."""


def tokenize(text):
    tokens, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise Unsupported(f"token at {text[at:at + 20]!r}")
        if match.lastgroup:
            tokens.append(match.group())
        at = match.end()
    return tokens


def skip(tokens, at):
    """The index after the bracket that closes the one at `at`."""
    open, close, depth = tokens[at], CLOSE[tokens[at]], 0
    while True:
        depth += (tokens[at] == open) - (tokens[at] == close)
        at += 1
        if depth == 0:
            return at


class Parser:
    """Tokens → nested tuples, the first of which says what it is."""

    def __init__(self, tokens):
        self.tokens, self.at = tokens, 0

    def peek(self, ahead=0):
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else None

    def take(self, *expected):
        token = self.peek()
        if expected and token not in expected:
            raise Unsupported(f"{' '.join(self.tokens[self.at:self.at + 8])!r}, not {expected}")
        self.at += 1
        return token

    def accept(self, token):
        found = self.peek() == token
        self.at += found
        return found

    def block(self):
        self.take("{")
        statements, last = [], None
        while not self.accept("}"):
            if self.accept(";"):
                continue
            if self.peek() in ("let", "const") and self.peek(1) != "{":
                constant = self.take() == "const"
                pattern = ("bind", self.take()) if constant else self.pattern()
                type = self.type() if self.accept(":") else None
                self.take("=")
                statements.append(("let", pattern, type, self.expression()))
                self.take(";")
                continue
            blocklike = self.peek() in ("if", "match", "{")
            expression = self.expression_with_block() if blocklike else self.expression()
            if self.accept("}"):
                last = expression
                break
            if not self.accept(";") and not blocklike:
                raise Unsupported(f"statement before {self.peek()!r}")
            statements.append(("do", expression))
        return ("block", statements, last)

    def type(self):
        while self.accept("&"):
            pass
        return self.take()

    def expression_with_block(self):
        """A statement that ends with its block, unless an operator goes on with it."""
        expression = self.primary(True)
        return self.postfix(expression) if self.peek() == "." else expression

    def expression(self, structs=True):
        if self.accept("return"):
            value = None if self.peek() in (";", "}", ",") else self.expression(structs)
            return ("return", value)
        return self.binary(0, structs)

    def binary(self, level, structs):
        if level == len(BINARY):
            return self.cast(structs)
        left = self.binary(level + 1, structs)
        while self.peek() in BINARY[level]:
            operator = self.take()
            left = ("binary", operator, left, self.binary(level + 1, structs))
        return left

    def cast(self, structs):
        value = self.unary(structs)
        while self.accept("as"):
            value = ("as", value, self.type())
        return value

    def unary(self, structs):
        if self.peek() in ("-", "!"):
            return ("unary", self.take(), self.unary(structs))
        if self.peek() in ("&", "*"):
            self.take()
            return self.unary(structs)
        return self.postfix(self.primary(structs))

    def postfix(self, value):
        while self.peek() in (".", "("):
            if self.accept("."):
                name = self.take()
                if self.peek() == "(":
                    value = ("method", value, name, self.arguments())
                else:
                    value = ("field", value, name)
            else:
                value = ("call", value, self.arguments())
        return value

    def arguments(self):
        self.take("(")
        found = []
        while not self.accept(")"):
            found.append(self.expression())
            self.accept(",")
        return found

    def primary(self, structs):
        token = self.peek()
        if token == "(":
            found = self.arguments()
            return (
                found[0]
                if len(found) == 1 and self.tokens[self.at - 2] != ","
                else ("tuple", found)
            )
        if token == "{":
            return self.block()
        if token[0].isdigit():
            return ("int", *number(self.take()))
        if token in ("true", "false"):
            return ("bool", self.take() == "true")
        if token == "if":
            return self.conditional()
        if token == "match":
            self.take()
            value = self.expression(structs=False)
            self.take("{")
            arms = []
            while not self.accept("}"):
                pattern = self.pattern()
                guard = self.expression() if self.accept("if") else None
                self.take("=>")
                arms.append((pattern, guard, self.expression()))
                self.accept(",")
            return ("match", value, arms)
        path = self.path()
        if self.peek() == "!" and path == ("matches",):
            self.take("!")
            self.take("(")
            value = self.expression()
            self.take(",")
            pattern = self.pattern()
            guard = self.expression() if self.accept("if") else None
            self.accept(",")
            self.take(")")
            return (
                "match",
                value,
                [(pattern, guard, ("bool", True)), (("_",), None, ("bool", False))],
            )
        if structs and self.peek() == "{" and path[-1][0].isupper():
            return self.struct(path)
        return ("path", path)

    def conditional(self):
        self.take("if")
        if self.accept("let"):
            pattern = self.pattern()
            self.take("=")
            value = self.expression(structs=False)
            then = self.block()
            return ("match", value, [(pattern, None, then), (("_",), None, self.otherwise())])
        condition = self.expression(structs=False)
        then = self.block()
        return ("if", condition, then, self.otherwise())

    def otherwise(self):
        if not self.accept("else"):
            return ("tuple", [])
        return self.conditional() if self.peek() == "if" else self.block()

    def path(self):
        found = [self.take()]
        if not re.fullmatch(r"\w+", found[0]):
            raise Unsupported(f"expression at {' '.join(self.tokens[self.at - 1:self.at + 8])!r}")
        while self.accept("::"):
            found.append(self.take())
        return tuple(found)

    def struct(self, path):
        self.take("{")
        fields, base = {}, None
        while not self.accept("}"):
            if self.accept(".."):
                base = self.expression()
            else:
                name = self.take()
                fields[name] = self.expression() if self.accept(":") else ("path", (name,))
            self.accept(",")
        return ("struct", path, fields, base)

    def pattern(self):
        self.accept("|")
        found = [self.single_pattern()]
        while self.accept("|"):
            found.append(self.single_pattern())
        return found[0] if len(found) == 1 else ("or", found)

    def single_pattern(self):
        token = self.peek()
        if token == "_":
            self.take()
            return ("_",)
        if token == "(":
            return ("tuple", self.patterns())
        if token[0].isdigit():
            return ("int", *number(self.take()))
        if token in ("true", "false"):
            return ("bool", self.take() == "true")
        path = self.path()
        if self.peek() == "(":
            return ("variant", path, dict(enumerate(self.patterns())))
        if self.peek() == "{":
            self.take()
            fields = {}
            while not self.accept("}"):
                if not self.accept(".."):
                    name = self.take()
                    fields[name] = self.pattern() if self.accept(":") else ("bind", name)
                self.accept(",")
            return ("variant", path, fields)
        if len(path) == 1 and path[0][0].islower():
            return ("bind", path[0])
        return ("variant", path, {})

    def patterns(self):
        self.take("(")
        found = []
        while not self.accept(")"):
            found.append(self.pattern())
            self.accept(",")
        return found


def number(token):
    match = re.fullmatch(r"(0x[0-9a-fA-F_]+|[0-9_]+?)([ui]\w+)?", token)
    return int(match[1].replace("_", ""), 0), match[2]
