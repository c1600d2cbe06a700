"""Parsers of options: from a word of the command line, a TOML value or a Python value to a checked, typed value.

Every parser takes the value and the option's name for messages (`--tp`), and raises InputError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING

from planner.errors import InputError, find_nearest_name
from planner.request.notices import warn
from planner.trainers.launch import parse_launch
from planner.trainers.recompute import join_tensor_lists
from planner.units import Dimension, check_count_range, parse_count, parse_quantity
from planner.workload.techniques import LoraModules

if TYPE_CHECKING:
    from planner.cost.scenario import MemoryLimit
    from planner.search.batches import BatchRange

OptionValue = str | int | float | bool | list["str | int | float | bool"]
"""The value of an option on a command line, in a file or in Python; a list holds several values."""
Parser = Callable[[OptionValue, str], object]

MAX_DEVICES = 2**24
MAX_SEQUENCES = 10**9
MAX_SEQ_LENGTH = 2**24
MAX_LAYERS = 2048
MAX_TOKENS = 10**18
_MAX_RANGE_WIDTH = 100_000
_MAX_LISTED = 1000
_MAX_SETTING_COUNT = 1_000_000
_MAX_SETTING_DIGITS = 18
_MAX_COUNT_TEXT = 100
"""Characters; a bound, since matching a pattern takes long on a megabyte of blanks."""
_TOKENS = re.compile(r"(.*?)\s*tokens?", re.IGNORECASE)
_RANGE = re.compile(r"(\d{1,9}) ?\.\. ?(\d{1,9})")
_BINARY_COUNT = re.compile(r"(\d{1,9})\s*([kKmM])i?")
_COUNT_POWERS = {"K": 1, "M": 2, "B": 3, "G": 3, "T": 4}
"""Of a thousand, or of 1,024."""
_ROUNDING_SHARE = 0.05
"""How far a round number of tokens may be from what it is rounded to."""
_SHARE = re.compile(r"0?\.[0-9]{1,6}|[0-9]{1,2}(?:\.[0-9]{1,4})?%")


def check_option_value(value: object, origin: str, key: str) -> OptionValue:
    """The value of an option from a file or Python. Raises InputError for another type."""
    values = value if isinstance(value, list) else [value]
    check_count_range(values, reported_value=value, origin=origin, key=key)
    if any(isinstance(item, str) and "\0" in item for item in values):
        raise InputError(
            "holds a null character", origin=origin, key=key, value=value, expected="a text without a null character"
        )
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str | int | float | bool) for item in value):
        return value
    problem = "an empty list" if isinstance(value, list) and not value else "wrong type"
    expected = "a text, a number, true or false, or a list of them"
    raise InputError(problem, origin=origin, key=key, value=value, expected=expected)


def format_option_value(value: OptionValue) -> str:
    """The value in the form of the command line: several with commas between."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(map(format_option_value, value))
    return str(value)


def list_items(value: OptionValue) -> list[str | int | float]:
    """The items of a value: the items of a list, or the parts of a text between commas."""
    items = value if isinstance(value, list) else [value]
    flat: list[str | int | float] = []
    for item in items:
        if isinstance(item, bool):
            flat.append("yes" if item else "no")
        elif isinstance(item, str):
            flat += [part.strip() for part in item.split(",")]
        else:
            flat.append(item)
    return flat


def parse_text(value: OptionValue, key: str) -> str:
    """The value as a text; a number as it is written."""
    return format_option_value(value)


def parse_texts(value: OptionValue, key: str) -> tuple[str, ...]:
    """The texts of a text or a list of texts."""
    return tuple(map(format_option_value, value)) if isinstance(value, list) else (format_option_value(value),)


def parse_switch(value: OptionValue, key: str) -> bool:
    """The value of a switch: true or false."""
    if not isinstance(value, bool):
        name = key.removeprefix("--").replace("-", "_")
        raise InputError("wrong type", key=name, value=format_option_value(value), expected="true or false")
    return value


def parse_number(
    value: OptionValue, key: str, *, minimum: int = 1, maximum: int = MAX_DEVICES, example: str = ""
) -> int:
    """A whole number."""
    plain = value if isinstance(value, int | float) and not isinstance(value, bool) else format_option_value(value)
    return parse_count(plain, key=key, minimum=minimum, maximum=maximum, example=example)  # type: ignore[arg-type]


def parse_run_tokens(value: OptionValue, key: str) -> int:
    """Tokens of the whole run: 15T."""
    return parse_number(value, key, maximum=MAX_TOKENS, example="15T")


def parse_sample_count(value: OptionValue, key: str) -> int:
    """Number of samples of the uncertainty; True is the default of 200."""
    return 200 if value is True else parse_number(value, key, minimum=2, maximum=100_000)


def parse_seq_length(value: OptionValue, key: str) -> int:
    """Tokens of a sequence: `8192` or `8K`, where K and M are binary."""
    text = format_option_value(value)
    match = _BINARY_COUNT.fullmatch(text.strip())
    if match:
        text = str(int(match[1]) * (1024 if match[2] in "kK" else 1024**2))
    return parse_count(text, key=key, maximum=MAX_SEQ_LENGTH, example="8192 or 8K")


@dataclass(frozen=True)
class AllowedValues:
    """Values that a dimension may take, ascending; `listed`: the values that were listed, if several."""

    values: tuple[int, ...]
    listed: tuple[int, ...] = ()


def parse_allowed_values(
    value: OptionValue, key: str, *, minimum: int = 1, maximum: int = MAX_DEVICES
) -> AllowedValues:
    """Values of a dimension: `8`, `4,8`, `4..8` or a mixture."""
    items = list_items(value)
    if len(items) > _MAX_LISTED:
        problem, expected = "too many values", f"at most {_MAX_LISTED:,}, or a range"
        raise InputError(problem, key=key, value=format_option_value(value), expected=expected)
    example = "8 or 4,8 or 4..8" if minimum <= 4 and maximum >= 8 else ""
    values: set[int] = set()
    listed: list[int] = []
    for item in items:
        match = _RANGE.fullmatch(item) if isinstance(item, str) else None
        if not match and not (isinstance(item, str) and ".." in item):
            listed.append(parse_number(item, key, minimum=minimum, maximum=maximum, example=example))
            continue
        low, high = (int(match[1]), int(match[2])) if match else (1, 0)
        if low > high or high - low + len(values) > _MAX_RANGE_WIDTH:
            expected = f"low..high, at most {_MAX_RANGE_WIDTH:,} wide"
            raise InputError("not a range", key=key, value=item, expected=expected)
        if low < minimum or high > maximum:
            raise InputError("out of range", key=key, value=item, expected=f"from {minimum} to {maximum:,}")
        values.update(range(low, high + 1))
    return AllowedValues(tuple(sorted({*values, *listed})), tuple(listed) if len(items) > 1 else ())


def parse_codes(value: OptionValue, key: str, names: Sequence[str]) -> AllowedValues:
    """Values of a dimension with names, as indices into `names`."""
    codes = set()
    for item in (str(item).casefold() for item in list_items(value)):
        if item not in names:
            raise _build_unknown_value(item, key, names, "one or more of")
        codes.add(names.index(item))
    return AllowedValues(tuple(sorted(codes)))


def parse_choice(value: OptionValue, key: str, names: Sequence[str]) -> str:
    """The member of `names` that the value is, in upper or lower case."""
    text = format_option_value(value).casefold()
    if text not in names:
        raise _build_unknown_value(format_option_value(value), key, names, "one of")
    return text


def parse_trainer(value: OptionValue, key: str, names: Sequence[str]) -> str:
    """A trainer as NAME, one of `names`, also at its newest version; or as NAME@VERSION with the version's own name.
    Raises InputError for an unknown name, and for an unknown version, with those that are known.
    """
    text = format_option_value(value).strip()
    name, has_version, version = text.partition("@")
    name = parse_choice(name, key, names)
    if not has_version:
        return name
    # the registry is slow to import, and few requests name a version
    from planner.trainers.program import KNOWN_UNTIL, is_after_known
    from planner.trainers.registry import is_newest_version, parse_trainer_version

    if is_newest_version(name, version.casefold()):
        return name
    program, program_version = parse_trainer_version(f"{name}@{version.casefold()}", key)
    if is_after_known(version):
        warn(f"{key} {text}: nothing is known of {program.name} after {KNOWN_UNTIL}; taken as {program_version.name}")
    return f"{program.name}@{program_version.name}"


def parse_launch_mode(value: OptionValue, key: str) -> str:
    """A launch mode, or `graph:` and scopes joined by +, in upper or lower case."""
    return parse_launch(format_option_value(value).casefold(), key)


def parse_objectives(value: OptionValue, key: str, names: Sequence[str], counts: Sequence[int]) -> tuple[str, ...]:
    """Different names, as many as `counts` allows, in the order of `names`."""
    items = [str(item).strip().casefold() for item in list_items(value)]
    for item in items:
        if item not in names:
            expected, suggestion = f"one of {', '.join(names)}", find_nearest_name(item, names)
            raise InputError("unknown objective", key=key, value=item, expected=expected, suggestion=suggestion)
    if len(set(items)) != len(items) or len(items) not in counts:
        expected = "one objective" if max(counts) == 1 else "two or three different objectives"
        problem = "wrong number of objectives"
        raise InputError(problem, key=key, value=format_option_value(value), expected=expected)
    return tuple(name for name in names if name in items)


def parse_setting(
    value: OptionValue,
    key: str,
    names: Sequence[str],
    *,
    allows_counts: bool = False,
    allows_all: bool = True,
    normalize: Callable[[str], str] | None = None,
) -> tuple[str, ...]:
    """Values of a setting that the search may choose from; `all` is every name, unless `all` is itself a name."""
    items = [str(item).casefold() for item in list_items(value)]
    if items == ["all"] and "all" not in names and allows_all:
        return tuple(names)
    if normalize is not None:
        return tuple(dict.fromkeys(_normalize_item(item, key, normalize) for item in join_tensor_lists(items)))
    return tuple(dict.fromkeys(_parse_setting_item(item, key, names, allows_counts) for item in items))


def _normalize_item(text: str, key: str, normalize: Callable[[str], str]) -> str:
    try:
        return normalize(text)
    except ValueError as error:
        raise InputError("unknown value", key=key, value=text, expected=str(error)) from None


def parse_layouts(value: OptionValue, key: str) -> tuple[str, ...]:
    """Pipeline layouts that the search may choose from, with commas between: a layout may have commas too."""
    from planner.trainers.pipeline_layout import build_layout_error, format_layout, parse_layout, split_layouts

    items = value if isinstance(value, list) else split_layouts(format_option_value(value))
    layouts = []
    for text in map(format_option_value, items):
        try:
            layouts.append(format_layout(parse_layout("auto" if text == "all" else text)))
        except ValueError as error:
            raise build_layout_error(text, str(error), key) from None
    return tuple(dict.fromkeys(layouts))


def _parse_setting_item(text: str, key: str, names: Sequence[str], allows_counts: bool) -> str:
    if text in names:
        return text
    is_count = allows_counts and text.isdecimal() and len(text) <= _MAX_SETTING_DIGITS
    if is_count and 1 <= int(text) <= _MAX_SETTING_COUNT:
        return str(int(text))
    by_parts = {"+".join(sorted(name.split("+"))): name for name in names}
    joined = "+".join(sorted(text.split("+")))
    if joined in by_parts:
        return by_parts[joined]
    more = f", or a whole number from 1 to {_MAX_SETTING_COUNT:,}" if allows_counts else ""
    raise _build_unknown_value(text, key, names, "one of", more)


def _build_unknown_value(text: str, key: str, names: Sequence[str], before: str, after: str = "") -> InputError:
    expected = f"{before} {', '.join(names)}{after}"
    suggestion = find_nearest_name(text.casefold(), names)
    return InputError("unknown value", key=key, value=text, expected=expected, suggestion=suggestion)


@dataclass(frozen=True)
class BatchEnd:
    """A number of sequences or tokens as it was written. `suffix`: K, M, ...; empty for a number that is written out.

    A number with a suffix is a round one, and M stands for a million or for 2^20: `decimal` and `binary`.
    """

    decimal: int
    binary: float
    suffix: str = ""


@dataclass(frozen=True)
class GlobalBatch:
    """Sequences of a step, or tokens; of a range both ends."""

    text: str
    ends: tuple[BatchEnd, ...]
    in_tokens: bool

    @property
    def is_range(self) -> bool:
        """Whether it has two ends."""
        return len(self.ends) > 1

    @property
    def is_rounded(self) -> bool:
        """Whether an end is a round number, which stands for numbers around it."""
        return any(end.suffix for end in self.ends)

    def list_ranges(
        self, seq_length: int, sample: str = "sequence", key: str = "--global-batch"
    ) -> tuple[BatchRange, ...]:
        """The sequences that each end stands for: a single number, or where it is a round one all that are within
        5 % of its two readings. Raises InputError, also where sequences or tokens may be meant.
        """
        return tuple(self._list_end_range(end, seq_length, sample, key) for end in self.ends)

    def _list_end_range(self, end: BatchEnd, seq_length: int, sample: str, key: str) -> BatchRange:
        from planner.search.batches import BatchRange

        if not self.in_tokens and end.suffix not in ("", "K"):
            raise self._build_unclear_error(end, seq_length, sample, key)
        per_sequence = seq_length if self.in_tokens else 1
        sequences = round(end.decimal / per_sequence)
        if not 1 <= sequences <= MAX_SEQUENCES:
            problem = "too many tokens" if sequences else "too few tokens"
            expected = f"from 1 to {MAX_SEQUENCES:,} sequences of {seq_length} tokens"
            raise InputError(problem, key=key, value=self.text, expected=expected)
        if not end.suffix:
            return BatchRange(sequences, sequences, float(sequences))
        low = max(1, ceil((1 - _ROUNDING_SHARE) * end.decimal / per_sequence))
        high = max(low, min(floor((1 + _ROUNDING_SHARE) * end.binary / per_sequence), MAX_SEQUENCES))
        return BatchRange(low, high, end.binary / per_sequence)

    def _build_unclear_error(self, end: BatchEnd, seq_length: int, sample: str, key: str) -> InputError:
        """The error for millions of sequences, which are hardly ever meant."""
        expected = f"{end.decimal} for {end.decimal:,} {sample}s"
        if sample == "sequence":
            tokens = f"'{self.text} tokens', {round(end.binary / seq_length):,} sequences of {seq_length:,} tokens"
            expected = f"{tokens}; or {expected}"
        return InputError(f"tokens or {sample}s?", key=key, value=self.text, expected=expected)

    def count_sequences(
        self, seq_length: int, width: int = 1, sample: str = "sequence", key: str = "--global-batch"
    ) -> tuple[int, ...]:
        """The batches in sequences of `seq_length` tokens: of a range its ends, the doublings of the lower end and
        the powers of two between, since many data-parallel degrees divide them; round numbers are rounded to what
        `width` devices divide. Raises InputError.
        """
        from planner.search.batches import choose_divisible_batch

        ends = [choose_divisible_batch(batches, width) for batches in self.list_ranges(seq_length, sample, key)]
        first, last = ends[0], ends[-1]
        if first > last:
            raise InputError("not a range", key=key, value=self.text, expected="low..high")
        if len(ends) == 1:
            return (first,)
        doublings = [base << power for base in (1, first) for power in range(last.bit_length())]
        return tuple(sorted({first, last, *(batch for batch in doublings if first < batch < last)}))


def parse_global_batch(value: OptionValue, key: str) -> GlobalBatch:
    """Sequences (`1024`), tokens (`4M tokens`), or a range (`256..4096`, `1M..16M tokens`); the unit of an end
    holds for both.
    """
    text = format_option_value(value)
    low, dots, high = text.partition("..")
    if dots and not (low.strip() and high.strip()):
        raise InputError("not a range", key=key, value=text, expected="low..high")
    ends = [low.strip(), high.strip()] if dots else [text]
    matches = [_TOKENS.fullmatch(end) if len(end) <= _MAX_COUNT_TEXT else None for end in ends]
    in_tokens = any(matches)
    counts = [match[1] if match else end for end, match in zip(ends, matches, strict=True)]
    example, maximum = ("4M tokens", MAX_TOKENS) if in_tokens else ("1024, or tokens: '4M tokens'", MAX_SEQUENCES)
    parsed = tuple(_parse_batch_end(count, key, maximum, example) for count in counts)
    return GlobalBatch(text, parsed, in_tokens)


def parse_run_batch(value: OptionValue, key: str) -> GlobalBatch | None:
    """The same, or `auto`: None."""
    return None if format_option_value(value).strip().casefold() == "auto" else parse_global_batch(value, key)


def _parse_batch_end(text: str, key: str, maximum: int, example: str) -> BatchEnd:
    count = parse_count(text, key=key, maximum=maximum, example=example)
    suffix = text.strip()[-1:].upper()
    power = _COUNT_POWERS.get(suffix, 0)
    return BatchEnd(count, count * (1024 / 1000) ** power, suffix if power else "")


def parse_critical_batch(value: OptionValue, key: str) -> tuple[tuple[float, float], ...]:
    """`4M tokens`, or its growth, `1M,4M@500B,8M@5T`: pairs of tokens trained and tokens per step."""
    text, points = format_option_value(value), []
    for part in text.casefold().split(","):
        size, _, start = part.removesuffix("tokens").removesuffix("token").partition("@")
        size = size.strip().removesuffix("tokens").strip()
        critical = parse_count(size, key=key, maximum=MAX_TOKENS, example="4M tokens, or 1M,4M@500B")
        begun = parse_count(start.strip(), key=key, maximum=MAX_TOKENS, example="1M,4M@500B") if start else 0
        points.append((float(begun), float(critical)))
    starts = [begun for begun, _ in points]
    if starts[0] or starts != sorted(set(starts)):
        raise InputError(
            "invalid growth of the critical batch",
            key=key,
            value=text,
            expected="a size, then size@tokens in ascending order",
        )
    return tuple(points)


def parse_positive(value: OptionValue, key: str, dimension: Dimension) -> float:
    """A quantity with its unit, above zero, in SI units."""
    from planner.hardware.figures import parse_positive_figure

    text = format_option_value(value)
    parse_quantity(text, dimension, key=key, allow_bare=False)
    return parse_positive_figure(text, dimension, origin="", key=key)


def parse_in_range(
    value: OptionValue, key: str, dimension: Dimension, low: float, high: float, expected: str, *, allow_bare: bool
) -> float:
    """A quantity between two numbers in SI units; `expected` states them for the message."""
    text = format_option_value(value)
    quantity = parse_quantity(text, dimension, key=key, allow_bare=allow_bare)
    if not low <= quantity <= high:
        raise InputError("out of range", key=key, value=text, expected=expected)
    return quantity


def parse_pue(value: OptionValue, key: str) -> object:
    """A power usage effectiveness."""
    from planner.cluster.build.power import parse_pue

    text = format_option_value(value)
    try:
        return parse_pue(text, key, key)
    except InputError as error:
        # a share or a factor is not what is meant here
        raise InputError(error.problem, key=key, value=text, expected="from 1 to 5, such as 1.15") from None


def parse_share(value: OptionValue, key: str, expected: str) -> float:
    """A share above zero and below one: 0.25, 25%."""
    text = format_option_value(value).strip()
    if _SHARE.fullmatch(text):
        share = parse_quantity(f"0{text}" if text.startswith(".") else text, "ratio", key=key)
        if 0.0 < share < 1.0:
            return share
    raise InputError("not a share between 0 and 1", key=key, value=format_option_value(value), expected=expected)


_FROZEN_BITS = {"4bit": 4, "8bit": 8}


@dataclass(frozen=True)
class LoraAdapters:
    """Low-rank adapters, which alone are trained: their rank, the bits of a frozen weight, and which matrices have
    them.
    """

    rank: int
    frozen_bits: int = 16
    modules: LoraModules = "all"


def parse_lora(value: OptionValue, key: str) -> LoraAdapters:
    """The adapters of `16`, `64:4bit` or `16:8bit:attention`."""
    text = format_option_value(value)
    rank, *words = (word.strip().casefold() for word in text.split(":"))
    unknown = next((word for word in words if word not in (*_FROZEN_BITS, "attention")), None)
    if unknown is not None or len([word for word in words if word in _FROZEN_BITS]) > 1:
        raise InputError(
            "unknown format of frozen weights",
            key=key,
            value=text,
            expected="a rank, or with :4bit or :8bit, with :attention for adapters on its matrices alone: 64:4bit",
            suggestion=find_nearest_name(unknown or "", [*_FROZEN_BITS, "attention"]) or "",
        )
    return LoraAdapters(
        parse_count(rank, key=key, maximum=65_536, example="16"),
        next((_FROZEN_BITS[word] for word in words if word in _FROZEN_BITS), 16),
        "attention" if "attention" in words else "all",
    )


@dataclass(frozen=True)
class PruningPattern:
    """Pruning of MLP weights to zero; `zero_share` None: two of each four (2:4)."""

    zero_share: float | None


def parse_pruning(value: OptionValue, key: str) -> PruningPattern:
    """The pruning of `2:4` or `unstructured:0.5`."""
    text = format_option_value(value)
    name, colon, share = text.casefold().partition(":")
    expected = "2:4, or unstructured and the share of zeros: unstructured:0.5"
    if text.strip() == "2:4":
        return PruningPattern(None)
    if name != "unstructured" or not colon:
        suggestion = find_nearest_name(text.casefold(), ["2:4", "unstructured:0.5"])
        raise InputError("unknown pattern", key=key, value=text, expected=expected, suggestion=suggestion)
    return PruningPattern(parse_share(share, key, expected))


def parse_memory_limit(value: OptionValue, key: str) -> MemoryLimit:
    """The limit of `90%`, `0.9` or `70GiB`."""
    from planner.cost.scenario import MemoryLimit

    text = format_option_value(value)
    try:
        share = parse_quantity(text, "ratio", key=key)
        if 0.0 < share <= 1.0:
            return MemoryLimit(share=share)
    except InputError:
        limit_bytes = _parse_bytes(text)
        if limit_bytes:
            return MemoryLimit(limit_bytes=limit_bytes)
    expected = "a share of the memory such as 90%, or bytes such as 70GiB"
    raise InputError("not an amount of memory", key=key, value=text, expected=expected)


def parse_headroom(value: OptionValue, key: str) -> MemoryLimit:
    """The memory that must stay free: `8GiB`."""
    from planner.cost.scenario import MemoryLimit

    headroom_bytes = _parse_bytes(format_option_value(value))
    if headroom_bytes is None:
        expected = "bytes such as 8GiB"
        raise InputError("not an amount of memory", key=key, value=format_option_value(value), expected=expected)
    return MemoryLimit(headroom_bytes=headroom_bytes)


def _parse_bytes(text: str) -> float | None:
    try:
        return parse_quantity(text, "bytes", allow_bare=False)
    except InputError:
        return None
