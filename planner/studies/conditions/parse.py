"""Parse the tokens of a requirement into its tree, by recursive descent.

    either     = both ("or" both)*
    both       = condition ("and" condition)*
    condition  = "not"* comparison
    comparison = sum (("<" | "<=" | ">" | ">=" | "==" | "!=") sum)?
    sum        = product (("+" | "-") product)*
    product    = signed (("*" | "/") signed)*
    signed     = ("+" | "-")* (number | name | text | truth | "(" either ")")

A truth is yes, no, true or false. A text stands in quotes; after a figure that is a text and == or != it need not.

Only brackets nest, up to a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from planner.documents.figures import PlanFigure
from planner.errors import InputError, build_unknown_name_error
from planner.studies.conditions.figures import PLAN_FIGURES
from planner.studies.conditions.tokens import TRUTH_WORDS, ConditionSource, ConditionToken, tokenize_condition
from planner.studies.conditions.tree import (
    ArithmeticExpression,
    BooleanExpression,
    ComparisonExpression,
    ComparisonOperator,
    ConditionNode,
    Constant,
    FigureReference,
    Negation,
)
from planner.studies.conditions.unit_check import check_condition_units

_MAX_BRACKET_DEPTH = 25
_OPERATORS: tuple[ComparisonOperator, ...] = get_args(ComparisonOperator)


@dataclass(frozen=True)
class Condition:
    """A condition on figures of a plan: its tree, and the text it was parsed from."""

    text: str
    tree: ConditionNode


def parse_condition(
    text: str, figures: Mapping[str, PlanFigure] = PLAN_FIGURES, *, origin: str = "", key: str = "--require"
) -> Condition:
    """Parse one requirement. Raises InputError for wrong syntax, unknown figures and incompatible units."""
    source = ConditionSource(text, origin, key)
    if not text.strip():
        raise InputError("is empty", origin=origin, key=key, value='""', expected="a condition such as mfu >= 0.4")
    tree = _ConditionParser(source, tokenize_condition(source, figures), figures).parse()
    return Condition(" ".join(text.split()), check_condition_units(tree, source))


class _ConditionParser:
    """The tokens of a requirement, and the index of the next token."""

    def __init__(
        self, source: ConditionSource, tokens: list[ConditionToken], figures: Mapping[str, PlanFigure]
    ) -> None:
        self.source, self.tokens, self.figures = source, tokens, figures
        self.next_index, self.depth = 0, 0

    def parse(self) -> ConditionNode:
        """Parse the whole requirement."""
        node = self._parse_or()
        if self._current_token.token_type != "end":
            raise self._build_unexpected_error("and, or, or the end of the condition")
        return node

    @property
    def _current_token(self) -> ConditionToken:
        return self.tokens[self.next_index]

    def _accept(self, *texts: str) -> ConditionToken | None:
        """Consume and return the next token if it is one of these signs or keywords, else None."""
        token = self._current_token
        if token.token_type not in ("sign", "keyword") or token.text not in texts:
            return None
        self.next_index += 1
        return token

    def _build_unexpected_error(self, expected: str) -> InputError:
        token = self._current_token
        unexpected_text = "end" if token.token_type == "end" else self.source.text[token.position : token.end]
        return self.source.build_error(f"unexpected {unexpected_text}", token.position, expected)

    def _parse_or(self) -> ConditionNode:
        return self._parse_boolean("or", lambda: self._parse_boolean("and", self._parse_not))

    def _parse_boolean(
        self, operator: Literal["and", "or"], parse_part: Callable[[], ConditionNode]
    ) -> ConditionNode:
        position, parts = self._current_token.position, [parse_part()]
        while self._accept(operator):
            parts.append(parse_part())
        return parts[0] if len(parts) == 1 else BooleanExpression(operator, tuple(parts), position)

    def _parse_not(self) -> ConditionNode:
        position, negated = self._current_token.position, False
        while self._accept("not"):
            negated = not negated
        start = self._current_token.position
        node = self._parse_comparison()
        return Negation(node, self._extract_text(start), position) if negated else node

    def _parse_comparison(self) -> ConditionNode:
        position = self._current_token.position
        left = self._parse_sum()
        left_text = self._extract_text(position)
        sign = self._accept(*_OPERATORS)
        if sign is None:
            return left
        start = self._current_token.position
        if isinstance(left, FigureReference) and left.figure.unit == "truth":
            self._check_truth_word(left)
        right = self._parse_sum()
        if self._current_token.text in _OPERATORS and self._current_token.token_type == "sign":
            raise self.source.build_error(
                "chained comparison",
                self._current_token.position,
                "two comparisons joined by and, such as 0 < x and x < 1",
            )
        operator = _OPERATORS[_OPERATORS.index(sign.text)]
        return ComparisonExpression(left, operator, right, (left_text, self._extract_text(start)), position)

    def _check_truth_word(self, reference: FigureReference) -> None:
        """Raise InputError where an unknown word is compared with a figure that is yes or no."""
        token = self._current_token
        if token.token_type == "name" and token.text not in self.figures:
            raise InputError(
                f"{reference.name} never has this value",
                origin=self.source.origin,
                key=self.source.key,
                value=token.text,
                expected="yes or no",
            )

    def _parse_sum(self) -> ConditionNode:
        return self._parse_arithmetic("+", "-", lambda: self._parse_arithmetic("*", "/", self._parse_signed))

    def _parse_arithmetic(
        self, operator: Literal["+", "*"], inverse: str, parse_part: Callable[[], ConditionNode]
    ) -> ConditionNode:
        position, parts = self._current_token.position, [(1, parse_part())]
        while sign := self._accept(operator, inverse):
            parts.append((1 if sign.text == operator else -1, parse_part()))
        return parts[0][1] if len(parts) == 1 else ArithmeticExpression(operator, tuple(parts), position)

    def _parse_signed(self) -> ConditionNode:
        position, factor = self._current_token.position, 1
        while sign := self._accept("+", "-"):
            factor = -factor if sign.text == "-" else factor
        node = self._parse_atom()
        return node if factor > 0 else ArithmeticExpression("+", ((-1, node),), position)

    def _parse_atom(self) -> ConditionNode:
        token = self._current_token
        if self._accept("("):
            return self._parse_bracketed(token)
        if word := self._accept(*TRUTH_WORDS):
            return Constant(TRUTH_WORDS[word.text], word.position)
        if token.token_type not in ("number", "name", "quoted"):
            raise self._build_unexpected_error("a figure's name, a number, or an opening bracket")
        self.next_index += 1
        if token.token_type == "number":
            return Constant(token.value, token.position, token.meaning)
        if token.token_type == "quoted":
            return Constant(token.text, token.position)
        if token.text not in self.figures:
            raise build_unknown_name_error(
                "figure", token.text, self.figures, origin=self.source.origin, key=self.source.key
            )
        return FigureReference(token.text, self.figures[token.text], token.position)

    def _parse_bracketed(self, opening: ConditionToken) -> ConditionNode:
        self.depth += 1
        if self.depth > _MAX_BRACKET_DEPTH:
            raise self.source.build_error(
                "too many nested brackets", opening.position, f"at most {_MAX_BRACKET_DEPTH} levels"
            )
        node = self._parse_or()
        if not self._accept(")"):
            raise self._build_unexpected_error("a closing bracket")
        self.depth -= 1
        return node

    def _extract_text(self, start: int) -> str:
        """The text from a character to the last consumed token, with single spaces."""
        return " ".join(self.source.text[start : self.tokens[self.next_index - 1].end].split())
