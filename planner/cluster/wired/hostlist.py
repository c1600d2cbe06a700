"""Lists of names with ranges in brackets, as Slurm and pdsh write them: `a[01-16,20]`, `rack[1-2]-n[0-7],login`.

A range's first number tells the padding: `[08-11]` is 08, 09, 10, 11, and `[8-11]` is 8, 9, 10, 11.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable

from planner.errors import InputError

MOST_NAMES = 1_000_000
_LONGEST = 4096  # characters of one name with its brackets, without the ranges in them
_MOST_BRACKETS = 64
_MOST_CHARACTERS = 50_000_000  # of all names of one list
_EXPECTED = "names such as a01 or a[01-16,20]"
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_PARTS = re.compile(r"\[([^][]*)\]")
_INSIDE = "\0"
"""Stands for a comma in brackets while a list is split at the others."""
_DIGITS = re.compile(r"([0-9]+)")

Span = tuple[int, int, int]
"""First and last number of a range, and the digits to which they are padded (0: not padded)."""


def expand(text: str, most: int = MOST_NAMES) -> tuple[str, ...]:
    """Every name of a list, in the order in which it is written. Raises InputError for broken brackets.

    At most `most`; a name that is told twice comes twice.
    """
    names: list[str] = []
    for part in split(text):
        names += _expand_one(part, text, most - len(names))
    if not names:
        raise _broken("names nothing", text)
    return tuple(names)


def expand_at(text: str, origin: str, key: str, most: int = MOST_NAMES) -> tuple[str, ...]:
    """The same; an error tells where the list stands."""
    try:
        return expand(text, most)
    except InputError as error:
        raise error.relocate(origin, key) from None


def split(text: str) -> list[str]:
    """The parts of a list between commas outside of brackets, stripped. Raises InputError."""
    left = _PARTS.sub("", text)
    if "[" in left or "]" in left:
        problem = "a bracket is not closed" if text.count("[") > text.count("]") else "brackets do not pair"
        raise _broken(problem, text)
    if _INSIDE in text:
        raise _broken("a name holds a control character", text)
    masked = _PARTS.sub(lambda match: match[0].replace(",", _INSIDE), text)
    parts = (part.strip().replace(_INSIDE, ",") for part in masked.split(","))
    return [part for part in parts if part]


def _expand_one(part: str, text: str, room: int) -> list[str]:
    """The names of one part; `room`: how many there may be."""
    if "[" not in part:
        if room < 1:
            raise _too_many(text)
        return [part]
    if part.count("[") > _MOST_BRACKETS or part.count(",") >= room:
        raise _too_many(text)
    pieces = _PARTS.split(part)  # literal, ranges, literal, ranges, ..., literal
    spans = [_spans(inside, text) for inside in pieces[1::2]]
    count = math.prod(sum(last - first + 1 for first, last, _ in one) for one in spans)
    longest = sum(map(len, pieces[::2])) + sum(len(str(one[-1][1])) for one in spans)
    if count > room or count * longest > _MOST_CHARACTERS:
        raise _too_many(text)
    if longest > _LONGEST:
        raise _broken("a name is too long", text, f"at most {_LONGEST} characters")
    choices: list[list[str]] = []
    for index, literal in enumerate(pieces[::2]):
        choices.append([literal])
        if index < len(spans):
            choices.append([f"{n:0{pad}d}" for first, last, pad in spans[index] for n in range(first, last + 1)])
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _spans(inside: str, text: str) -> list[Span]:
    """The ranges between two brackets. Raises InputError."""
    spans = []
    for part in inside.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise _broken("not a range of numbers", text)
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise _broken("a range that runs backwards", text)
        spans.append((first, last, len(match[1]) if match[1].startswith("0") else 0))
    return spans


def _too_many(text: str) -> InputError:
    return _broken("too many names", text, "fewer of them")


def _broken(problem: str, text: str, expected: str = _EXPECTED) -> InputError:
    """The error for a list; of one that is megabytes long the beginning is shown."""
    return InputError(problem, value=text[:_LONGEST], expected=expected)


def compress(names: Iterable[str]) -> tuple[str, ...]:
    """The shortest list found whose `expand` is these names, each once, ordered as people count (a2 before a10).

    Names with brackets or commas of their own cannot be told so: they must not be among them.
    """
    pieces = {tuple(_DIGITS.split(name)) for name in names}
    by_shape: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for one in pieces:
        by_shape.setdefault(one[::2], set()).add(one[1::2])
    texts = []
    for literals, numbers in by_shape.items():
        rows = numbers
        # numbers that count the fastest stand last; each place becomes a range where all others are the same
        for place in reversed(range(len(literals) - 1)):
            rows = _merged(rows, place)
        for row in rows:
            chosen = itertools.chain.from_iterable(itertools.zip_longest(literals, row, fillvalue=""))
            texts.append("".join(chosen))
    return tuple(sorted(texts, key=natural))


def _merged(rows: set[tuple[str, ...]], place: int) -> set[tuple[str, ...]]:
    """The rows, those that differ in one place alone made one with ranges there."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        groups.setdefault((*row[:place], *row[place + 1 :]), []).append(row[place])
    return {(*rest[:place], _bracketed(told), *rest[place:]) for rest, told in groups.items()}


def _bracketed(numbers: list[str]) -> str:
    """Several numbers in brackets, one as it is."""
    if len(numbers) == 1:
        return numbers[0]
    padded = {len(one) for one in numbers if one.startswith("0") and len(one) > 1}
    by_pad: dict[int, list[int]] = {}
    for one in numbers:
        by_pad.setdefault(len(one) if len(one) in padded else 0, []).append(int(one))
    ranges = []
    for pad in sorted(by_pad):
        # consecutive numbers have the same difference to their place in the order
        for _, run in itertools.groupby(enumerate(sorted(by_pad[pad])), lambda pair: pair[1] - pair[0]):
            run_numbers = [number for _, number in run]
            first, last = f"{run_numbers[0]:0{pad}d}", f"{run_numbers[-1]:0{pad}d}"
            ranges.append(first if first == last else f"{first}-{last}")
    return f"[{','.join(ranges)}]"


def natural(name: str) -> tuple[tuple[str, int, str], ...]:
    """A key that orders names as people count: a2 before a10."""
    pieces = _DIGITS.split(name)
    numbers = [*pieces[1::2], ""]
    return tuple((text, int(number[:18] or -1), number) for text, number in zip(pieces[::2], numbers, strict=True))
