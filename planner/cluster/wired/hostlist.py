"""Lists of names with ranges in brackets, as Slurm and pdsh write them: `a[01-16,20]`, `rack[1-2]-n[0-7],login`.

The first number of a range sets the padding: `[08-11]` is 08, 09, 10, 11, and `[8-11]` is 8, 9, 10, 11.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable

from planner.errors import InputError

MAX_HOSTLIST_NAMES = 1_000_000
_MAX_NAME_CHARS = 4096  # characters of one name with its brackets, without the ranges in them
_MAX_BRACKETS = 64
_MAX_TOTAL_CHARS = 50_000_000  # of all names of one list
_EXPECTED_NAMES = "names such as a01 or a[01-16,20]"
_RANGE_PATTERN = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_BRACKET_PATTERN = re.compile(r"\[([^][]*)\]")
_MASKED_COMMA = "\0"
"""Stands for a comma in brackets while a list is split at the others."""
_DIGITS_PATTERN = re.compile(r"([0-9]+)")

NumberSpan = tuple[int, int, int]
"""First and last number of a range, and the digits to which they are padded (0: not padded)."""


def expand_hostlist(text: str, max_names: int = MAX_HOSTLIST_NAMES) -> tuple[str, ...]:
    """Every name of a list, in the order in which it is written. Raises InputError for broken brackets.

    At most `max_names`; a name that is written twice comes twice.
    """
    names: list[str] = []
    for part in split_hostlist(text):
        names += _expand_part(part, text, max_names - len(names))
    if not names:
        raise _build_hostlist_error("names nothing", text)
    return tuple(names)


def expand_hostlist_at(text: str, key: str, max_names: int = MAX_HOSTLIST_NAMES) -> tuple[str, ...]:
    """The same; an error names the key of the list."""
    try:
        return expand_hostlist(text, max_names)
    except InputError as error:
        raise error.relocate("", key) from None


def split_hostlist(text: str) -> list[str]:
    """The parts of a list between commas outside of brackets, stripped. Raises InputError."""
    unbracketed = _BRACKET_PATTERN.sub("", text)
    if "[" in unbracketed or "]" in unbracketed:
        problem = "a bracket is not closed" if text.count("[") > text.count("]") else "brackets do not pair"
        raise _build_hostlist_error(problem, text)
    if _MASKED_COMMA in text:
        raise _build_hostlist_error("a name holds a control character", text)
    masked = _BRACKET_PATTERN.sub(lambda match: match[0].replace(",", _MASKED_COMMA), text)
    parts = (part.strip().replace(_MASKED_COMMA, ",") for part in masked.split(","))
    return [part for part in parts if part]


def _expand_part(part: str, text: str, max_names: int) -> list[str]:
    """The names of one part; `max_names`: how many there may be."""
    if "[" not in part:
        if max_names < 1:
            raise _build_too_many_error(text)
        return [part]
    if part.count("[") > _MAX_BRACKETS or part.count(",") >= max_names:
        raise _build_too_many_error(text)
    pieces = _BRACKET_PATTERN.split(part)  # literal, ranges, literal, ranges, ..., literal
    spans = [_parse_spans(range_text, text) for range_text in pieces[1::2]]
    count = math.prod(sum(last - first + 1 for first, last, _ in part_spans) for part_spans in spans)
    longest = sum(map(len, pieces[::2])) + sum(len(str(part_spans[-1][1])) for part_spans in spans)
    if count > max_names or count * longest > _MAX_TOTAL_CHARS:
        raise _build_too_many_error(text)
    if longest > _MAX_NAME_CHARS:
        raise _build_hostlist_error("a name is too long", text, f"at most {_MAX_NAME_CHARS} characters")
    choices: list[list[str]] = []
    for index, literal in enumerate(pieces[::2]):
        choices.append([literal])
        if index < len(spans):
            choices.append([f"{n:0{pad}d}" for first, last, pad in spans[index] for n in range(first, last + 1)])
    return ["".join(combination) for combination in itertools.product(*choices)]


def _parse_spans(range_text: str, text: str) -> list[NumberSpan]:
    """The ranges between two brackets. Raises InputError."""
    spans = []
    for part in range_text.split(","):
        match = _RANGE_PATTERN.fullmatch(part.strip())
        if match is None:
            raise _build_hostlist_error("not a range of numbers", text)
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise _build_hostlist_error("a range that runs backwards", text)
        spans.append((first, last, len(match[1]) if match[1].startswith("0") else 0))
    return spans


def _build_too_many_error(text: str) -> InputError:
    return _build_hostlist_error("too many names", text, "fewer of them")


def _build_hostlist_error(problem: str, text: str, expected: str = _EXPECTED_NAMES) -> InputError:
    """The error for a list; of one that is megabytes long the beginning is shown."""
    return InputError(problem, value=text[:_MAX_NAME_CHARS], expected=expected)


def compress_names(names: Iterable[str]) -> tuple[str, ...]:
    """The shortest list found whose `expand_hostlist` is these names, each once, ordered as people count (a2 before
    a10).

    Names with brackets or commas of their own cannot be written so: they must not be among them.
    """
    pieces = {tuple(_DIGITS_PATTERN.split(name)) for name in names}
    by_shape: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for name_pieces in pieces:
        by_shape.setdefault(name_pieces[::2], set()).add(name_pieces[1::2])
    texts = []
    for literals, numbers in by_shape.items():
        rows = numbers
        # numbers that count the fastest stand last; each place becomes a range where all others are the same
        for position in reversed(range(len(literals) - 1)):
            rows = _merge_rows(rows, position)
        for row in rows:
            alternating = itertools.chain.from_iterable(itertools.zip_longest(literals, row, fillvalue=""))
            texts.append("".join(alternating))
    return tuple(sorted(texts, key=build_natural_key))


def _merge_rows(rows: set[tuple[str, ...]], position: int) -> set[tuple[str, ...]]:
    """The rows, those that differ in one place alone made one with ranges there."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        groups.setdefault((*row[:position], *row[position + 1 :]), []).append(row[position])
    return {
        (*other_numbers[:position], _format_numbers(numbers), *other_numbers[position:])
        for other_numbers, numbers in groups.items()
    }


def _format_numbers(numbers: list[str]) -> str:
    """Several numbers in brackets, one as it is."""
    if len(numbers) == 1:
        return numbers[0]
    padded = {len(number_text) for number_text in numbers if number_text.startswith("0") and len(number_text) > 1}
    by_pad: dict[int, list[int]] = {}
    for number_text in numbers:
        by_pad.setdefault(len(number_text) if len(number_text) in padded else 0, []).append(int(number_text))
    ranges = []
    for pad in sorted(by_pad):
        # consecutive numbers have the same difference to their place in the order
        for _, run in itertools.groupby(enumerate(sorted(by_pad[pad])), lambda pair: pair[1] - pair[0]):
            run_numbers = [number for _, number in run]
            first, last = f"{run_numbers[0]:0{pad}d}", f"{run_numbers[-1]:0{pad}d}"
            ranges.append(first if first == last else f"{first}-{last}")
    return f"[{','.join(ranges)}]"


def build_natural_key(name: str) -> tuple[tuple[str, int, str], ...]:
    """A key that orders names as people count: a2 before a10."""
    pieces = _DIGITS_PATTERN.split(name)
    numbers = [*pieces[1::2], ""]
    return tuple((text, int(number[:18] or -1), number) for text, number in zip(pieces[::2], numbers, strict=True))
