"""The accelerators of hardware_db as they are listed and compared: all of them, also those that cannot train."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import get_args

from planner.errors import InputError, build_unknown_name_error
from planner.hardware import database
from planner.hardware.accelerator import AcceleratorSpec, Precision
from planner.hardware.figures import Figure, parse_figure
from planner.units import Dimension, parse_quantity

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_PRECISION_PREFERENCE: tuple[Precision, ...] = ("bf16", "fp16", "tf32", "fp32", "int8", "fp8", "fp64", "int4")
"""Which peak stands for a part where no precision is given: that which training uses, or the nearest known."""
_RESERVED_MEMORY_SHARE = 1 / 16
"""Most of the marketed memory that error correction and driver keep: a device of 48 GiB shows 45."""


def find_usual_precision(known_precisions: Collection[Precision]) -> Precision | None:
    """Of the precisions whose peak is known the one that stands for a part; None where there is none."""
    candidates = (*_PRECISION_PREFERENCE, *known_precisions)
    return next((precision for precision in candidates if precision in known_precisions), None)


@dataclass(frozen=True, slots=True)
class AcceleratorEntry:
    """An accelerator's file with its figures as SI numbers; None where no source states one."""

    spec: AcceleratorSpec
    peak_flops: dict[Precision, float]
    """Dense FLOP/s, of integer types OP/s, in the order of `PRECISIONS`."""
    memory_bytes: float | None
    memory_bandwidth_bytes_per_s: float | None
    on_chip_bytes: float | None
    link_bytes_per_s: float | None
    tdp_w: float | None
    idle_w: float | None
    usd_per_hour: float | None
    """The lowest of the rents that are known, as it is planned with."""

    @property
    def name(self) -> str:
        """The name in hardware_db."""
        return self.spec.name

    @property
    def usual_precision(self) -> Precision | None:
        """The precision whose peak stands for the part; None where no peak is known."""
        return find_usual_precision(self.peak_flops)

    def find_peak_flops(self, precision: Precision | None = None) -> float | None:
        """Dense FLOP/s (of integer types OP/s) at a precision, else at the usual one; None where it is not known."""
        used_precision = precision or self.usual_precision
        return None if used_precision is None else self.peak_flops.get(used_precision)

    def compute_flops_per_w(self, precision: Precision | None = None) -> float | None:
        """Peak FLOP/s per watt of rated power; None where one of the two is not known."""
        return _divide_optional(self.find_peak_flops(precision), self.tdp_w)

    def compute_flop_per_usd(self, precision: Precision | None = None) -> float | None:
        """FLOP at the peak rate per USD of the lowest rent; None where one of the two is not known."""
        return _divide_optional(self.find_peak_flops(precision), self.usd_per_hour, 3600.0)

    def compute_ridge_flop_per_byte(self, precision: Precision | None = None) -> float | None:
        """FLOP per byte of memory traffic above which the peak is the limit, not the memory: the ridge of the
        roofline (Williams, Waterman, Patterson 2009); None where one of the two is not known.
        """
        return _divide_optional(self.find_peak_flops(precision), self.memory_bandwidth_bytes_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorFilter:
    """Conditions on an entry; None and an empty text are no condition.

    `min_memory_bytes` is met within what error correction and driver may keep; `year_range`: first and last year.
    """

    device_type: str = ""
    deployment: str = ""
    vendor: str = ""
    can_train: bool | None = None
    framework: str = ""
    cloud: str = ""
    precision: Precision | None = None
    min_memory_bytes: float = 0.0
    year_range: tuple[int, int] | None = None

    def matches_entry(self, entry: AcceleratorEntry) -> bool:
        """Whether the entry satisfies every condition."""
        spec = entry.spec
        return (
            (not self.device_type or spec.kind == self.device_type)
            and (not self.deployment or spec.place == self.deployment)
            and (not self.vendor or spec.vendor == self.vendor)
            and (self.can_train is None or spec.can_train == self.can_train)
            and (not self.framework or self.framework in spec.frameworks)
            and (not self.cloud or self.cloud in spec.clouds)
            and (not self.precision or self.precision in entry.peak_flops)
            and (entry.memory_bytes or 0.0) >= self.min_memory_bytes * (1 - _RESERVED_MEMORY_SHARE)
            and (
                self.year_range is None
                or (spec.year is not None and self.year_range[0] <= spec.year <= self.year_range[1])
            )
        )


def read_accelerator_entries() -> list[AcceleratorEntry]:
    """All accelerators of hardware_db by name."""
    return [read_accelerator_entry(name) for name in database.list_database_names("accelerators")]


def read_accelerator_entry(name: str, *, key: str = "NAME") -> AcceleratorEntry:
    """One accelerator. Raises InputError with the nearest name."""
    spec = database.load_accelerator_spec(name, key=key)
    origin, memory, link, power = f"hardware_db/accelerators/{name}.toml", spec.memory, spec.link, spec.power

    def parse_optional_figure(figure: Figure | None, dimension: Dimension, key: str) -> float | None:
        return None if figure is None else parse_figure(figure, dimension, origin=origin, key=key)

    return AcceleratorEntry(
        spec=spec,
        peak_flops={
            precision: parse_figure(spec.peak_flops[precision], "flops", origin=origin, key=f"peak_flops.{precision}")
            for precision in PRECISIONS
            if precision in spec.peak_flops
        },
        memory_bytes=parse_optional_figure(memory.capacity, "bytes", "memory.capacity"),
        memory_bandwidth_bytes_per_s=parse_optional_figure(memory.bandwidth, "bytes_per_s", "memory.bandwidth"),
        on_chip_bytes=parse_optional_figure(memory.on_chip, "bytes", "memory.on_chip"),
        link_bytes_per_s=parse_optional_figure(link.bandwidth if link else None, "bytes_per_s", "link.bandwidth"),
        tdp_w=parse_optional_figure(power.tdp if power else None, "w", "power.tdp"),
        idle_w=parse_optional_figure(power.idle if power else None, "w", "power.idle"),
        usd_per_hour=spec.compute_lowest_rent_usd(),
    )


SORT_KEYS: dict[str, Callable[[AcceleratorEntry, Precision | None], float | None]] = {
    "name": lambda _, __: 0.0,
    "peak": lambda entry, precision: _negate_optional(entry.find_peak_flops(precision)),
    "memory": lambda entry, _: _negate_optional(entry.memory_bytes),
    "bandwidth": lambda entry, _: _negate_optional(entry.memory_bandwidth_bytes_per_s),
    "power": lambda entry, _: entry.tdp_w,
    "price": lambda entry, _: entry.usd_per_hour,
    "year": lambda entry, _: _negate_optional(entry.spec.year),
}
"""Figures by which entries are sorted: highest peak, newest, lowest price and lowest power first."""


def sort_accelerator_entries(
    entries: Sequence[AcceleratorEntry], sort_name: str, precision: Precision | None = None
) -> list[AcceleratorEntry]:
    """Entries in order; those without the figure last, equal ones by name. Raises InputError for an unknown order."""
    if sort_name not in SORT_KEYS:
        raise build_unknown_name_error("order", sort_name, SORT_KEYS, key="--sort")
    get_figure = SORT_KEYS[sort_name]

    def compute_sort_key(entry: AcceleratorEntry) -> tuple[bool, float, str]:
        value = get_figure(entry, precision)
        return value is None, value or 0.0, entry.name

    return sorted(entries, key=compute_sort_key)


def match_listed_value(
    entries: Sequence[AcceleratorEntry], text: str, key: str, get_values: Callable[[AcceleratorEntry], Sequence[str]]
) -> str:
    """`text` as the entries spell it, whatever its case. Raises InputError with the nearest where none has it."""
    spelled = {value.casefold(): value for entry in entries for value in get_values(entry)}
    if text and text.casefold() not in spelled:
        raise build_unknown_name_error(key.removeprefix("--"), text, spelled.values(), key=key)
    return spelled.get(text.casefold(), "")


def parse_precision(text: str) -> Precision:
    """A precision, whatever its case. Raises InputError with the nearest name."""
    for precision in PRECISIONS:
        if precision == text.casefold():
            return precision
    raise build_unknown_name_error("precision", text, PRECISIONS, key="--precision")


def find_shared_precision(entries: Sequence[AcceleratorEntry]) -> Precision | None:
    """The first precision of the order of preference whose peak all entries state; None where there is none."""
    candidates = (*_PRECISION_PREFERENCE, *PRECISIONS)
    return next((name for name in candidates if all(name in entry.peak_flops for entry in entries)), None)


def parse_year_range(text: str) -> tuple[int, int]:
    """`2022`, `2022..`, `..2019` or `2020..2023` as first and last year. Raises InputError."""
    match = re.fullmatch(r"(\d{4})?(\.\.)?(\d{4})?", text)
    if match is None or not (match[1] or match[3]) or (match[1] and match[3] and not match[2]):
        expected = "a year or a range of years such as 2022, 2022.., ..2019 or 2020..2023"
        raise InputError("not a range of years", key="--year", value=text, expected=expected)
    first = int(match[1] or 0)
    last = int(match[3] or (9999 if match[2] else first))
    if first > last:
        raise InputError("ends before it begins", key="--year", value=text, expected="the earlier year first")
    return first, last


def parse_memory_bytes(text: str) -> float:
    """The size `80GiB` of `--min-memory` in bytes. Raises InputError for a number without a unit."""
    return parse_quantity(text, "bytes", key="--min-memory", allow_bare=False)


def _divide_optional(numerator: float | None, denominator: float | None, factor: float = 1.0) -> float | None:
    return numerator * factor / denominator if numerator is not None and denominator else None


def _negate_optional(value: float | None) -> float | None:
    return None if value is None else -value
