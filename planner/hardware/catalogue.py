"""The accelerators of hardware_db as they are listed and compared: all of them, also those that cannot train."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import get_args

from planner.errors import InputError, build_unknown_name_error
from planner.hardware import database
from planner.hardware.accelerator import AcceleratorSpec, Precision
from planner.hardware.figures import Figure, number
from planner.units import Dimension, parse_quantity

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_USUAL: tuple[Precision, ...] = ("bf16", "fp16", "tf32", "fp32", "int8", "fp8", "fp64", "int4")
"""Which peak stands for a part where none is asked for: that which training uses, or the nearest that is known."""

_RESERVE = 1 / 16
"""Error correction and driver take up to so much of what is marketed: 45 of a 48 GiB card are shown."""


def usual_precision(known: Collection[Precision]) -> Precision | None:
    """Of the precisions whose peak is known the one that stands for a part; None where there is none."""
    return next((one for one in (*_USUAL, *known) if one in known), None)


@dataclass(frozen=True, slots=True)
class Entry:
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
        return usual_precision(self.peak_flops)

    def peak(self, precision: Precision | None = None) -> float | None:
        """Dense FLOP/s at a precision, else at the usual one; None where it is not known."""
        at = precision or self.usual_precision
        return None if at is None else self.peak_flops.get(at)

    def flops_per_w(self, precision: Precision | None = None) -> float | None:
        """Peak FLOP/s of a watt of rated power."""
        return _ratio(self.peak(precision), self.tdp_w)

    def flop_per_usd(self, precision: Precision | None = None) -> float | None:
        """FLOP at the peak rate that a dollar of rent pays for."""
        return _ratio(self.peak(precision), self.usd_per_hour, 3600.0)

    def ridge_flop_per_byte(self, precision: Precision | None = None) -> float | None:
        """FLOP for each byte of memory traffic above which the peak limits, not the memory (roofline's ridge)."""
        return _ratio(self.peak(precision), self.memory_bandwidth_bytes_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an entry must satisfy; None and an empty text leave it open."""

    kind: str = ""
    place: str = ""
    vendor: str = ""
    can_train: bool | None = None
    framework: str = ""
    cloud: str = ""
    precision: Precision | None = None
    min_memory_bytes: float = 0.0
    years: tuple[int, int] | None = None
    """First and last."""

    def holds(self, entry: Entry) -> bool:
        """Whether the entry is wanted. A size is met within what error correction and driver may keep."""
        spec = entry.spec
        return (
            (not self.kind or spec.kind == self.kind)
            and (not self.place or spec.place == self.place)
            and (not self.vendor or spec.vendor == self.vendor)
            and (self.can_train is None or spec.can_train == self.can_train)
            and (not self.framework or self.framework in spec.frameworks)
            and (not self.cloud or self.cloud in spec.clouds)
            and (not self.precision or self.precision in entry.peak_flops)
            and (entry.memory_bytes or 0.0) >= self.min_memory_bytes * (1 - _RESERVE)
            and (self.years is None or (spec.year is not None and self.years[0] <= spec.year <= self.years[1]))
        )


def entries() -> list[Entry]:
    """All accelerators of hardware_db by name."""
    return [entry(name) for name in database.names("accelerators")]


def entry(name: str, *, key: str = "NAME") -> Entry:
    """One accelerator. Raises InputError with the nearest name."""
    spec = database.accelerator_spec(name, key=key)
    origin, memory, power = f"hardware_db/accelerators/{name}.toml", spec.memory, spec.power

    def read(figure: Figure | None, dimension: Dimension, key: str) -> float | None:
        return None if figure is None else number(figure, dimension, origin=origin, key=key)

    rents = [number(price.usd_per_hour, "usd", origin=origin, key="prices") for price in spec.prices]
    return Entry(
        spec=spec,
        peak_flops={
            one: number(spec.peak_flops[one], "flops", origin=origin, key=f"peak_flops.{one}")
            for one in PRECISIONS
            if one in spec.peak_flops
        },
        memory_bytes=read(memory.capacity, "bytes", "memory.capacity"),
        memory_bandwidth_bytes_per_s=read(memory.bandwidth, "bytes_per_s", "memory.bandwidth"),
        on_chip_bytes=read(memory.on_chip, "bytes", "memory.on_chip"),
        link_bytes_per_s=read(spec.link.bandwidth if spec.link else None, "bytes_per_s", "link.bandwidth"),
        tdp_w=read(power.tdp if power else None, "w", "power.tdp"),
        idle_w=read(power.idle if power else None, "w", "power.idle"),
        usd_per_hour=min(rents, default=None),
    )


SORTS: dict[str, Callable[[Entry, Precision | None], float | None]] = {
    "name": lambda _, __: 0.0,
    "peak": lambda one, precision: _down(one.peak(precision)),
    "memory": lambda one, _: _down(one.memory_bytes),
    "bandwidth": lambda one, _: _down(one.memory_bandwidth_bytes_per_s),
    "power": lambda one, _: one.tdp_w,
    "price": lambda one, _: one.usd_per_hour,
    "year": lambda one, _: _down(one.spec.year),
}
"""What entries are put in order by: the strongest, the newest, the cheapest and the most frugal first."""


def ordered(found: Sequence[Entry], by: str, precision: Precision | None = None) -> list[Entry]:
    """Entries in order; those without the figure last, equal ones by name. Raises InputError for an unknown order."""
    if by not in SORTS:
        raise build_unknown_name_error("order", by, SORTS, key="--sort")
    figure = SORTS[by]

    def place(one: Entry) -> tuple[bool, float, str]:
        value = figure(one, precision)
        return value is None, value or 0.0, one.name

    return sorted(found, key=place)


def known(found: Sequence[Entry], text: str, key: str, values: Callable[[Entry], Sequence[str]]) -> str:
    """`text` as the entries spell it, whatever its case. Raises InputError with the nearest where none has it."""
    spelled = {value.casefold(): value for one in found for value in values(one)}
    if text and text.casefold() not in spelled:
        raise build_unknown_name_error(key.removeprefix("--"), text, spelled.values(), key=key)
    return spelled.get(text.casefold(), "")


def parse_precision(text: str) -> Precision:
    """A precision, whatever its case. Raises InputError with the nearest."""
    for one in PRECISIONS:
        if one == text.casefold():
            return one
    raise build_unknown_name_error("precision", text, PRECISIONS, key="--precision")


def shared_precision(found: Sequence[Entry]) -> Precision | None:
    """The most usual precision whose peak all entries state; None where there is none."""
    return next((one for one in (*_USUAL, *PRECISIONS) if all(one in entry.peak_flops for entry in found)), None)


def parse_years(text: str) -> tuple[int, int]:
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


def parse_memory(text: str) -> float:
    """Bytes of `80GiB`. Raises InputError for a bare number."""
    return parse_quantity(text, "bytes", key="--min-memory", allow_bare=False)


def _ratio(above: float | None, below: float | None, factor: float = 1.0) -> float | None:
    return above * factor / below if above is not None and below else None


def _down(value: float | None) -> float | None:
    return None if value is None else -value
