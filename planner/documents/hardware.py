"""What `planner hardware` answers in the form that is printed as JSON. Field order is output order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from planner.documents.schema import Part, closed_schema
from planner.hardware.accelerator import Precision, PriceSpec
from planner.hardware.catalogue import PRECISIONS, Entry, shared_precision
from planner.hardware.figures import Figure, Sourced, number
from planner.units import Dimension

SCHEMA_VERSION: Literal["1.1"] = "1.1"
Unit = Literal["FLOP/s", "OP/s", "B", "B/s", "W", "USD/h", "bit", "FLOP/s/W", "FLOP/USD", "FLOP/B"]


class FigurePart(Part, frozen=True, kw_only=True):
    """A figure in SI with where it is from: `source` is a key of the part's `sources`."""

    value: float
    unit: Unit
    source: str
    confidence: Literal["read", "recalled", "fitted"]
    note: str


class MemoryPart(Part, frozen=True, kw_only=True):
    """Device memory; null where no source states the figure."""

    type: str
    capacity: FigurePart | None
    bandwidth: FigurePart | None
    on_chip: FigurePart | None
    bus_width: FigurePart | None
    pin_rate: FigurePart | None


class LinkPart(Part, frozen=True, kw_only=True):
    """The scale-up link of one device, one direction, all lanes."""

    name: str
    bandwidth: FigurePart


class PricePart(Part, frozen=True, kw_only=True):
    """What one device cost to rent."""

    cloud: str
    date: str
    rent: FigurePart


class SourcePart(Part, frozen=True, kw_only=True):
    """A document that figures are from."""

    title: str
    url: str
    date: str


class HardwarePart(Part, frozen=True, kw_only=True):
    """One accelerator."""

    name: str
    title: str
    vendor: str
    architecture: str
    kind: Literal["gpu", "tpu", "npu", "cpu", "fpga"]
    place: Literal["data-centre", "edge", "mobile"]
    year: int | None
    can_train: bool
    why_not_train: str
    """Empty where it can."""
    frameworks: list[str]
    clouds: list[str]
    peak_flops: dict[Precision, FigurePart]
    """Dense, by precision."""
    memory: MemoryPart
    link: LinkPart | None
    tdp: FigurePart | None
    idle: FigurePart | None
    prices: list[PricePart]
    usd_per_hour: float | None
    """The lowest of the prices: what plans are costed with."""
    sources: dict[str, SourcePart]


class RowPart(Part, frozen=True, kw_only=True):
    """One figure of all that are compared, in their order; null where it is not known."""

    figure: str
    unit: Unit
    values: list[float | None]
    ratios: list[float | None]
    """To the first."""


class ComparisonPart(Part, frozen=True, kw_only=True):
    """The accelerators side by side."""

    precision: Precision | None
    """What the derived figures are taken at; null where no precision is stated by all."""
    rows: list[RowPart]


class HardwareDocument(Part, frozen=True, kw_only=True):
    """The accelerators that were asked for."""

    schema_version: Literal["1.1"]
    precision: Precision | None
    """That was asked for; null where none was, and each part stands for the usual one."""
    accelerators: list[HardwarePart]
    comparison: ComparisonPart | None
    """Null where no comparison was asked for."""


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the hardware document."""
    return closed_schema(HardwareDocument, f"planner hardware document {SCHEMA_VERSION}")


def hardware_document(
    found: Sequence[Entry], precision: Precision | None = None, comparison: ComparisonPart | None = None
) -> HardwareDocument:
    """The entries in their order, every figure with its source; `precision`: what the user asked for, if anything."""
    return HardwareDocument(
        schema_version=SCHEMA_VERSION,
        precision=precision,
        accelerators=[hardware_part(one) for one in found],
        comparison=comparison,
    )


def peak_unit(precision: Precision) -> Unit:
    """What a peak counts a second: floating-point operations, or integer ones."""
    return "OP/s" if precision.startswith("int") else "FLOP/s"


def hardware_part(entry: Entry) -> HardwarePart:
    """One entry with the sources of its figures."""
    spec, memory, power, link = entry.spec, entry.spec.memory, entry.spec.power, entry.spec.link
    return HardwarePart(
        name=spec.name,
        title=spec.title,
        vendor=spec.vendor,
        architecture=spec.architecture,
        kind=spec.kind,
        place=spec.place,
        year=spec.year,
        can_train=spec.can_train,
        why_not_train=spec.why_not_train,
        frameworks=list(spec.frameworks),
        clouds=list(spec.clouds),
        peak_flops={one: _figure(figure, "flops", peak_unit(one)) for one, figure in spec.peak_flops.items()},
        memory=MemoryPart(
            type=memory.type,
            capacity=_known(memory.capacity, "bytes", "B"),
            bandwidth=_known(memory.bandwidth, "bytes_per_s", "B/s"),
            on_chip=_known(memory.on_chip, "bytes", "B"),
            bus_width=_known(memory.bus_bits, "count", "bit"),
            pin_rate=_known(memory.data_rate, "bytes_per_s", "B/s"),
        ),
        link=LinkPart(name=link.name, bandwidth=_figure(link.bandwidth, "bytes_per_s", "B/s")) if link else None,
        tdp=_known(power.tdp, "w", "W") if power else None,
        idle=_known(power.idle, "w", "W") if power else None,
        prices=[_price(one) for one in spec.prices],
        usd_per_hour=entry.usd_per_hour,
        sources={key: SourcePart(title=one.title, url=one.url, date=one.date) for key, one in spec.sources.items()},
    )


def _price(price: PriceSpec) -> PricePart:
    return PricePart(cloud=price.cloud, date=price.date, rent=_figure(price.usd_per_hour, "usd", "USD/h"))


def _known(figure: Figure | None, dimension: Dimension, unit: Unit) -> FigurePart | None:
    return None if figure is None else _figure(figure, dimension, unit)


def _figure(figure: Figure, dimension: Dimension, unit: Unit) -> FigurePart:
    sourced = figure if isinstance(figure, Sourced) else Sourced(value=figure, source="")
    return FigurePart(
        value=number(figure, dimension, origin="hardware_db", key=unit),
        unit=unit,
        source=sourced.source,
        confidence=sourced.confidence,
        note=sourced.note,
    )


def comparison_part(found: Sequence[Entry], precision: Precision | None) -> ComparisonPart:
    """The entries' figures side by side; those that a peak goes into at `precision`, else at one that all state."""
    at = precision or shared_precision(found)
    rows = [_row(f"peak {one}", peak_unit(one), [entry.peak_flops.get(one) for entry in found]) for one in PRECISIONS]
    rows += [
        _row("memory", "B", [one.memory_bytes for one in found]),
        _row("memory bandwidth", "B/s", [one.memory_bandwidth_bytes_per_s for one in found]),
        _row("on-chip memory", "B", [one.on_chip_bytes for one in found]),
        _row("link", "B/s", [one.link_bytes_per_s for one in found]),
        _row("power", "W", [one.tdp_w for one in found]),
        _row("rent", "USD/h", [one.usd_per_hour for one in found]),
    ]
    if at is not None:
        rows += [
            _row("peak per watt", "FLOP/s/W", [one.flops_per_w(at) for one in found]),
            _row("peak per dollar", "FLOP/USD", [one.flop_per_usd(at) for one in found]),
            _row("ridge point", "FLOP/B", [one.ridge_flop_per_byte(at) for one in found]),
        ]
    told = [one for one in rows if any(value is not None for value in one.values)]
    return ComparisonPart(precision=at, rows=told)


def _row(figure: str, unit: Unit, values: list[float | None]) -> RowPart:
    first = values[0]
    ratios = [None if value is None or not first else value / first for value in values]
    return RowPart(figure=figure, unit=unit, values=values, ratios=ratios)
