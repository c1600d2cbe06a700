"""Split the text of a requirement into tokens: numbers with suffixes, names, quoted texts, signs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from planner.documents.figures import PlanFigure
from planner.errors import InputError
from planner.units import QuantityName, find_suffix_meaning, list_unit_suffixes

MAX_CONDITION_CHARS = 500
_MAX_NUMBER = 1e30
_NUMBER_PATTERN = re.compile(r"[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NAME_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*")
_QUOTED_PATTERN = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_SIGN_PATTERN = re.compile(r"<=|>=|==|!=|[-<>+*/()]")
_SUFFIXES = sorted(list_unit_suffixes(), key=len, reverse=True)
_UNIT_LIKE_PATTERN = re.compile(r"[^\s()<>=!+*'\"-]+")
_BARE_TEXT_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+:-]*")
TRUTH_WORDS = {"true": True, "yes": True, "false": False, "no": False}
CONDITION_KEYWORDS = ("and", "or", "not", *TRUTH_WORDS)


@dataclass(frozen=True)
class ConditionSource:
    """The text of a requirement and its place, for error messages."""

    text: str
    origin: str = ""
    key: str = "--require"

    def build_error(self, problem: str, position: int, expected: str = "", suggestion: str = "") -> InputError:
        """The error for the character at `position`, counted from 0."""
        return InputError(
            f"{problem} at character {position + 1}",
            origin=self.origin,
            key=self.key,
            value=self.text,
            expected=expected,
            suggestion=suggestion,
        )


@dataclass(frozen=True)
class ConditionToken:
    """A token. `text`: names and keywords in lower case; `value` and `meaning`: SI value and quantity of a number."""

    token_type: Literal["number", "name", "keyword", "quoted", "sign", "end"]
    text: str
    position: int
    end: int
    value: float = 0.0
    meaning: QuantityName | None = None


def tokenize_condition(source: ConditionSource, figures: Mapping[str, PlanFigure]) -> list[ConditionToken]:
    """All tokens; the last token has the type `end`. Raises InputError.

    After a figure that is a text and `==` or `!=`, a word that is no figure is a text without quotes: `1f1b`.
    """
    text = source.text
    if len(text) > MAX_CONDITION_CHARS:
        raise InputError(
            "too long",
            origin=source.origin,
            key=source.key,
            value=text,
            expected=f"at most {MAX_CONDITION_CHARS} characters",
        )
    tokens: list[ConditionToken] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        bare_text = _match_bare_text(text, position, tokens, figures)
        if bare_text is not None:
            tokens.append(ConditionToken("quoted", bare_text[0], position, bare_text.end()))
        else:
            tokens.append(_read_token(source, position))
        position = tokens[-1].end
    return [*tokens, ConditionToken("end", "the end", len(text), len(text))]


def _match_bare_text(
    text: str, position: int, tokens: list[ConditionToken], figures: Mapping[str, PlanFigure]
) -> re.Match[str] | None:
    """The word at `position` where the tokens before it compare a figure that is a text; None for a figure's name."""
    if len(tokens) < 2 or tokens[-1].text not in ("==", "!=") or tokens[-1].token_type != "sign":
        return None
    figure = figures.get(tokens[-2].text) if tokens[-2].token_type == "name" else None
    match = _BARE_TEXT_PATTERN.match(text, position)
    if figure is None or figure.unit != "text" or match is None or match[0].casefold() in figures:
        return None
    return match


def _read_token(source: ConditionSource, position: int) -> ConditionToken:
    text = source.text
    if match := _NUMBER_PATTERN.match(text, position):
        return _read_number(source, position, match)
    if match := _NAME_PATTERN.match(text, position):
        word = match[0].casefold()
        return ConditionToken("keyword" if word in CONDITION_KEYWORDS else "name", word, position, match.end())
    if (match := _QUOTED_PATTERN.match(text, position)) and match[0].isprintable():
        return ConditionToken("quoted", match[1] if match[1] is not None else match[2], position, match.end())
    if match := _SIGN_PATTERN.match(text, position):
        return ConditionToken("sign", match[0], position, match.end())
    if text[position] == "=":
        raise source.build_error("unexpected =", position, "== for a comparison")
    raise source.build_error(
        "unexpected character", position, "names, numbers, + - * /, comparisons, and, or, not, brackets"
    )


def _read_number(source: ConditionSource, position: int, match: re.Match[str]) -> ConditionToken:
    """A number and its suffix; a space may stand between them."""
    text, end = source.text, match.end()
    value = float(match[0].replace("_", ""))
    start = end + (len(text[end:]) - len(text[end:].lstrip()))
    for suffix in _SUFFIXES:
        after = start + len(suffix)
        if text.startswith(suffix, start) and not _is_word_character(text[after : after + 1]):
            suffix_meaning = find_suffix_meaning(suffix)
            assert suffix_meaning is not None
            return _check_magnitude(
                source,
                ConditionToken(
                    "number", text[position:after], position, after, value * suffix_meaning[1], suffix_meaning[0]
                ),
            )
    word = _NAME_PATTERN.match(text, start)
    if start == end and (word or text[end : end + 1] == "."):
        unit = _UNIT_LIKE_PATTERN.match(text, end)
        raise source.build_error(
            f"unknown suffix {unit[0] if unit else ''}",
            end,
            "GiB or GB, s, min, h, d, %, USD, kWh, kW, t, or K, M, B, T",
        )
    return _check_magnitude(source, ConditionToken("number", match[0], position, end, value))


def _is_word_character(character: str) -> bool:
    """Whether a word continues with this character."""
    return character.isalnum() or character == "_"


def _check_magnitude(source: ConditionSource, token: ConditionToken) -> ConditionToken:
    if not token.value < _MAX_NUMBER:
        raise source.build_error("number too large", token.position, "less than 1e30")
    return token
