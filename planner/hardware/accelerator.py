"""One accelerator: dense peaks by precision, memory, link and power."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from planner.errors import InputError
from planner.hardware.figures import Figure, FigureSource, parse_figure, parse_positive_figure

Precision = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "mxfp4", "nvfp4", "int8", "int4"]


class DeviceMemorySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Device memory. A figure that nobody publishes is absent.

    `bus_bits`: width of the bus in bits. `data_rate`: what one of its pins carries, as 6.4Gb/s. Their product is
    the most that `bandwidth` can be. `reserved`: of the capacity what programs cannot have.
    """

    capacity: Figure | None = None
    reserved: Figure | None = None
    bandwidth: Figure | None = None
    on_chip: Figure | None = None
    type: str = ""
    bus_bits: Figure | None = None
    data_rate: Figure | None = None


class ScaleUpLinkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The accelerator's own scale-up link, all lanes together, one direction."""

    name: str = ""
    bandwidth: Figure


class DevicePowerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Electrical power of the part."""

    tdp: Figure
    idle: Figure | None = None


class RentalPriceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one device cost to rent for an hour, where and when."""

    cloud: str
    usd_per_hour: Figure
    date: str
    """Year and month, as 2025-06; the year alone where the source has no month."""


class AcceleratorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An accelerator's file in hardware_db, or the table of the same keys in a user's cluster file."""

    name: str
    title: str = ""
    vendor: str = ""
    architecture: str = ""
    kind: Literal["gpu", "tpu", "npu", "cpu", "fpga"] = "gpu"
    place: Literal["data-centre", "edge", "mobile"] = "data-centre"
    year: int | None = None
    can_train: bool = True
    why_not_train: str = ""
    frameworks: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()
    peak_flops: dict[Precision, Figure] = {}
    memory: DeviceMemorySpec = DeviceMemorySpec()
    link: ScaleUpLinkSpec | None = None
    power: DevicePowerSpec | None = None
    prices: tuple[RentalPriceSpec, ...] = ()
    sources: dict[str, FigureSource] = {}

    def compute_lowest_rent_usd(self) -> float | None:
        """The lowest of the known rents of one device, in USD an hour; None where none is known."""
        rents_usd = [parse_figure(price.usd_per_hour, "usd", key="prices") for price in self.prices]
        return min(rents_usd, default=None)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """An accelerator in SI numbers. `peak_flops` is dense FLOP/s by precision."""

    name: str
    title: str
    architecture: str
    peak_flops: dict[str, float]
    memory_bytes: float
    memory_bandwidth_bytes_per_s: float
    tdp_w: float | None
    idle_w: float | None = None
    usd_per_hour: float | None = None
    """The lowest of the rents that are known."""
    year: int | None = None
    """In which it came; None: unknown."""
    reserved_memory_bytes: float | None = None
    """Of the memory what programs cannot have; None: unknown."""

    def get_peak_flops(self, precision: str) -> float:
        """Dense FLOP/s at `precision`. Raises InputError where the part has no such unit."""
        if precision not in self.peak_flops:
            problem = f"{self.name} states no dense peak for this precision"
            expected = f"one of {', '.join(sorted(self.peak_flops))}"
            raise InputError(problem, key="--precision", value=precision, expected=expected)
        return self.peak_flops[precision]


def resolve_accelerator(spec: AcceleratorSpec) -> Accelerator:
    """The file's figures as SI numbers. Raises InputError naming the key."""
    if not spec.can_train:
        reason = f": {spec.why_not_train}" if spec.why_not_train else ""
        raise InputError(f"{spec.name} cannot train{reason}", key="can_train", expected="a part that can train")
    if not spec.peak_flops:
        raise InputError("has no peak FLOP/s", key="peak_flops", expected="at least one precision")
    peaks = {
        precision: parse_positive_figure(figure, "flops", key=f"peak_flops.{precision}")
        for precision, figure in spec.peak_flops.items()
    }
    capacity, bandwidth, reserved = spec.memory.capacity, spec.memory.bandwidth, spec.memory.reserved
    if capacity is None or bandwidth is None:
        missing = "memory.capacity" if capacity is None else "memory.bandwidth"
        raise InputError("has no value", key=missing, expected="a size such as 80GiB, 2TB/s")
    tdp_w, idle_w = _resolve_power_w(spec)
    return Accelerator(
        name=spec.name,
        title=spec.title or spec.name,
        architecture=spec.architecture,
        peak_flops=dict(sorted(peaks.items())),
        memory_bytes=parse_positive_figure(capacity, "bytes", key="memory.capacity"),
        memory_bandwidth_bytes_per_s=parse_positive_figure(bandwidth, "bytes_per_s", key="memory.bandwidth"),
        tdp_w=tdp_w,
        idle_w=idle_w,
        usd_per_hour=spec.compute_lowest_rent_usd(),
        year=spec.year,
        reserved_memory_bytes=None if reserved is None else parse_figure(reserved, "bytes", key="memory.reserved"),
    )


def _resolve_power_w(spec: AcceleratorSpec) -> tuple[float | None, float | None]:
    """Rated and idle watts, where they are given."""
    if spec.power is None:
        return None, None
    tdp_w = parse_positive_figure(spec.power.tdp, "w", key="power.tdp")
    if spec.power.idle is None:
        return tdp_w, None
    idle_w = parse_figure(spec.power.idle, "w", key="power.idle")
    if idle_w > tdp_w:
        raise InputError(
            "idle power above rated power", key="power.idle", value=idle_w, expected=f"at most {tdp_w:g} W"
        )
    return tdp_w, idle_w
