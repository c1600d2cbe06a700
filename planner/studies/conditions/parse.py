"""A requirement's tokens into its tree, by recursive descent.

    either     = both ("or" both)*
    both       = condition ("and" condition)*
    condition  = "not"* comparison
    comparison = sum (("<" | "<=" | ">" | ">=" | "==" | "!=") sum)?
    sum        = product (("+" | "-") product)*
    product    = signed (("*" | "/") signed)*
    signed     = ("+" | "-")* (number | name | quoted | "true" | "false" | "(" either ")")

Only brackets nest, and only so deep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

from planner.errors import InputError, unknown_name
from planner.studies.conditions.figures import FIGURES, Figure
from planner.studies.conditions.tokens import Place, Token, tokens_of
from planner.studies.conditions.tree import (
    Comparison,
    Every,
    Name,
    Node,
    Not,
    Number,
    Operator,
    Product,
    Some,
    Sum,
    Text,
    Truth,
)
from planner.studies.conditions.unit_check import checked

_DEEPEST = 25
_OPERATORS: tuple[Operator, ...] = get_args(Operator)


@dataclass(frozen=True)
class Requirement:
    """A condition on a plan's figures, and the text that it was read from."""

    text: str
    tree: Node


def read_requirement(
    text: str, figures: Mapping[str, Figure] = FIGURES, *, origin: str = "", key: str = "--require"
) -> Requirement:
    """Read one requirement: its names are known, its units agree. Raises InputError."""
    place = Place(text, origin, key)
    if not text.strip():
        raise InputError("is empty", origin=origin, key=key, value='""', expected="a condition such as mfu >= 0.4")
    tree = _Reader(place, tokens_of(place), figures).whole()
    return Requirement(" ".join(text.split()), checked(tree, place))


class _Reader:
    """The tokens, and how far they are read."""

    def __init__(self, place: Place, tokens: list[Token], figures: Mapping[str, Figure]) -> None:
        self.place, self.tokens, self.figures = place, tokens, figures
        self.next, self.depth = 0, 0

    def whole(self) -> Node:
        """All of it."""
        node = self._either()
        if self._now.kind != "end":
            raise self._unexpected("the end, or and, or")
        return node

    @property
    def _now(self) -> Token:
        return self.tokens[self.next]

    def _taken(self, *texts: str) -> Token | None:
        """The next token, read, where it is one of these signs or keywords."""
        token = self._now
        if token.kind not in ("sign", "keyword") or token.text not in texts:
            return None
        self.next += 1
        return token

    def _unexpected(self, expected: str) -> InputError:
        token = self._now
        what = "end" if token.kind == "end" else self.place.text[token.at : token.end]
        return self.place.fault(f"unexpected {what}", token.at, expected)

    def _joined(self, word: str, part: Callable[[], Node]) -> list[Node]:
        parts = [part()]
        while self._taken(word):
            parts.append(part())
        return parts

    def _either(self) -> Node:
        at = self._now.at
        parts = self._joined("or", self._both)
        return parts[0] if len(parts) == 1 else Some(tuple(parts), at)

    def _both(self) -> Node:
        at = self._now.at
        parts = self._joined("and", self._condition)
        return parts[0] if len(parts) == 1 else Every(tuple(parts), at)

    def _condition(self) -> Node:
        at, negated = self._now.at, False
        while self._taken("not"):
            negated = not negated
        start = self._now.at
        node = self._comparison()
        return Not(node, self._text_from(start), at) if negated else node

    def _comparison(self) -> Node:
        at = self._now.at
        left = self._sum()
        told = self._text_from(at)
        sign = self._taken(*_OPERATORS)
        if sign is None:
            return left
        start = self._now.at
        right = self._sum()
        if self._now.text in _OPERATORS and self._now.kind == "sign":
            raise self.place.fault("a second comparison", self._now.at, "two of them joined by and: 0 < x and x < 1")
        operator = _OPERATORS[_OPERATORS.index(sign.text)]
        return Comparison(left, operator, right, (told, self._text_from(start)), at)

    def _sum(self) -> Node:
        at, parts = self._now.at, [(1, self._product())]
        while sign := self._taken("+", "-"):
            parts.append((1 if sign.text == "+" else -1, self._product()))
        return parts[0][1] if len(parts) == 1 else Sum(tuple(parts), at)

    def _product(self) -> Node:
        at, parts = self._now.at, [(1, self._signed())]
        while sign := self._taken("*", "/"):
            parts.append((1 if sign.text == "*" else -1, self._signed()))
        return parts[0][1] if len(parts) == 1 else Product(tuple(parts), at)

    def _signed(self) -> Node:
        at, factor = self._now.at, 1
        while sign := self._taken("+", "-"):
            factor = -factor if sign.text == "-" else factor
        node = self._atom()
        return node if factor > 0 else Sum(((-1, node),), at)

    def _atom(self) -> Node:
        token = self._now
        if self._taken("("):
            return self._bracketed(token)
        if word := self._taken("true", "false"):
            return Truth(word.text == "true", word.at)
        if token.kind not in ("number", "name", "quoted"):
            raise self._unexpected("a figure's name, a number, or an opening bracket")
        self.next += 1
        if token.kind == "number":
            return Number(token.value, token.meaning, token.at)
        if token.kind == "quoted":
            return Text(token.text, token.at)
        if token.text not in self.figures:
            raise unknown_name("figure", token.text, self.figures, origin=self.place.origin, key=self.place.key)
        return Name(token.text, self.figures[token.text], token.at)

    def _bracketed(self, opened: Token) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self.place.fault("too many brackets", opened.at, f"at most {_DEEPEST} inside each other")
        node = self._either()
        if not self._taken(")"):
            raise self._unexpected("a closing bracket")
        self.depth -= 1
        return node

    def _text_from(self, start: int) -> str:
        """What was read from a character on, with single spaces."""
        return " ".join(self.place.text[start : self.tokens[self.next - 1].end].split())
