"""A requirement's text into tokens: numbers with their suffixes, names, words in quotes, signs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from planner.errors import InputError
from planner.units import MeaningName, meaning_of, suffixes

LONGEST = 500
_LARGEST = 1e30
_NUMBER = re.compile(r"[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_SIGN = re.compile(r"<=|>=|==|!=|[-<>+*/()]")
_SUFFIXES = sorted(suffixes(), key=len, reverse=True)
_UNIT_LIKE = re.compile(r"[^\s()<>=!+*'\"-]+")
KEYWORDS = ("and", "or", "not", "true", "false")


@dataclass(frozen=True)
class Place:
    """Where a requirement is from, for messages."""

    text: str
    origin: str = ""
    key: str = "--require"

    def fault(self, problem: str, at: int, expected: str = "", suggestion: str = "") -> InputError:
        """The error for what stands at a character, counted from 0."""
        return InputError(
            f"{problem} at character {at + 1}",
            origin=self.origin,
            key=self.key,
            value=self.text,
            expected=expected,
            suggestion=suggestion,
        )


@dataclass(frozen=True)
class Token:
    """`text` as written, names and keywords in small letters; of a number its value and what its suffix is of."""

    kind: Literal["number", "name", "keyword", "quoted", "sign", "end"]
    text: str
    at: int
    end: int
    value: float = 0.0
    meaning: MeaningName | None = None


def tokens_of(place: Place) -> list[Token]:
    """All tokens, the last one of kind `end`. Raises InputError."""
    text = place.text
    if len(text) > LONGEST:
        raise InputError(
            "too long", origin=place.origin, key=place.key, value=text, expected=f"at most {LONGEST} characters"
        )
    found, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found.append(_token(place, at))
        at = found[-1].end
    return [*found, Token("end", "the end", len(text), len(text))]


def _token(place: Place, at: int) -> Token:
    text = place.text
    if match := _NUMBER.match(text, at):
        return _number(place, at, match)
    if match := _NAME.match(text, at):
        word = match[0].casefold()
        return Token("keyword" if word in KEYWORDS else "name", word, at, match.end())
    if (match := _QUOTED.match(text, at)) and match[0].isprintable():
        return Token("quoted", match[1] if match[1] is not None else match[2], at, match.end())
    if match := _SIGN.match(text, at):
        return Token("sign", match[0], at, match.end())
    if text[at] == "=":
        raise place.fault("a single =", at, "== compares")
    raise place.fault("a sign that means nothing", at, "names, numbers, + - * /, comparisons, and, or, not, brackets")


def _number(place: Place, at: int, match: re.Match[str]) -> Token:
    """A number with its suffix, which a space may part from it."""
    text, end = place.text, match.end()
    value = float(match[0].replace("_", ""))
    start = end + (len(text[end:]) - len(text[end:].lstrip()))
    for suffix in _SUFFIXES:
        after = start + len(suffix)
        if text.startswith(suffix, start) and not _goes_on(text[after : after + 1]):
            known = meaning_of(suffix)
            assert known is not None
            return _bounded(place, Token("number", text[at:after], at, after, value * known[1], known[0]))
    word = _NAME.match(text, start)
    if start == end and (word or text[end : end + 1] == "."):
        unit = _UNIT_LIKE.match(text, end)
        raise place.fault(
            f"unknown suffix {unit[0] if unit else ''}",
            end,
            "GiB or GB, s, min, h, d, %, USD, kWh, kW, t, or k, M, G, T",
        )
    return _bounded(place, Token("number", match[0], at, end, value))


def _goes_on(sign: str) -> bool:
    """Whether a word that ends before this sign goes on."""
    return sign.isalnum() or sign == "_"


def _bounded(place: Place, token: Token) -> Token:
    if not token.value < _LARGEST:
        raise place.fault("a number too large", token.at, "less than 1e30")
    return token
