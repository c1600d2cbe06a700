"""The hardware document: what `planner hardware` prints as JSON. Field order is output order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

from planner.documents.schema import Document, DocumentPart
from planner.hardware.accelerator import Precision, RentalPriceSpec
from planner.hardware.catalogue import PRECISIONS, AcceleratorEntry, find_shared_precision
from planner.hardware.figures import Figure, SourcedFigure, parse_figure
from planner.units import Dimension

SchemaVersion = Literal["1.1"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]
HardwareUnit = Literal["FLOP/s", "OP/s", "B", "B/s", "W", "USD/h", "bit", "FLOP/s/W", "FLOP/USD", "FLOP/B"]


class SourcedFigurePart(DocumentPart, frozen=True, kw_only=True):
    """A figure in SI units with its source: a key of `sources` of the accelerator."""

    value: float
    unit: HardwareUnit
    source: str
    confidence: Literal["read", "recalled", "fitted"]
    note: str


class AcceleratorMemoryPart(DocumentPart, frozen=True, kw_only=True):
    """Memory of the device. A figure is null where no source states it."""

    type: str
    capacity: SourcedFigurePart | None
    bandwidth: SourcedFigurePart | None
    on_chip: SourcedFigurePart | None
    bus_width: SourcedFigurePart | None
    pin_rate: SourcedFigurePart | None


class ScaleUpLinkPart(DocumentPart, frozen=True, kw_only=True):
    """The scale-up link of one device: all lanes, one direction."""

    name: str
    bandwidth: SourcedFigurePart


class RentalPricePart(DocumentPart, frozen=True, kw_only=True):
    """The rental price of one device at one cloud and date."""

    cloud: str
    date: str
    rent: SourcedFigurePart


class FigureSourcePart(DocumentPart, frozen=True, kw_only=True):
    """A document that figures are taken from."""

    title: str
    url: str
    date: str


class AcceleratorPart(DocumentPart, frozen=True, kw_only=True):
    """One accelerator with all its figures."""

    name: str
    title: str
    vendor: str
    architecture: str
    kind: Literal["gpu", "tpu", "npu", "cpu", "fpga"]
    place: Literal["data-centre", "edge", "mobile"]
    year: int | None
    can_train: bool
    why_not_train: str
    """Why the accelerator cannot train; empty where it can."""
    frameworks: list[str]
    clouds: list[str]
    peak_flops: dict[Precision, SourcedFigurePart]
    """Peak rate of dense arithmetic by precision."""
    memory: AcceleratorMemoryPart
    link: ScaleUpLinkPart | None
    tdp: SourcedFigurePart | None
    idle: SourcedFigurePart | None
    prices: list[RentalPricePart]
    usd_per_hour: float | None
    """The lowest rental price of one device; the cost of plans uses it."""
    sources: dict[str, FigureSourcePart]


class ComparisonRowPart(DocumentPart, frozen=True, kw_only=True):
    """One figure of all compared accelerators, in their order; null where it is not known."""

    figure: str
    unit: HardwareUnit
    values: list[float | None]
    ratios: list[float | None]
    """Values divided by that of the first accelerator."""


class HardwareComparisonPart(DocumentPart, frozen=True, kw_only=True):
    """The accelerators side by side."""

    precision: Precision | None
    """Precision of the derived figures; null where no precision is stated for all accelerators."""
    rows: list[ComparisonRowPart]


class HardwareDocument(Document, frozen=True, kw_only=True):
    """The selected accelerators, and their comparison."""

    NAME: ClassVar[str] = "hardware"

    schema_version: SchemaVersion
    precision: Precision | None
    """The precision that the user chose; null where none was chosen."""
    accelerators: list[AcceleratorPart]
    comparison: HardwareComparisonPart | None
    """Null without `--compare`."""


def build_hardware_document(
    entries: Sequence[AcceleratorEntry],
    precision: Precision | None = None,
    comparison: HardwareComparisonPart | None = None,
) -> HardwareDocument:
    """The entries in their order, every figure with its source; `precision`: the user's choice, if any."""
    return HardwareDocument(
        schema_version=SCHEMA_VERSION,
        precision=precision,
        accelerators=[build_accelerator_part(entry) for entry in entries],
        comparison=comparison,
    )


def get_peak_unit(precision: Precision) -> HardwareUnit:
    """The unit of a peak rate: floating-point or integer operations per second."""
    return "OP/s" if precision.startswith("int") else "FLOP/s"


def build_accelerator_part(entry: AcceleratorEntry) -> AcceleratorPart:
    """One entry with the sources of its figures."""
    spec, memory, power, link = entry.spec, entry.spec.memory, entry.spec.power, entry.spec.link
    return AcceleratorPart(
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
        peak_flops={
            item: _build_figure_part(figure, "flops", get_peak_unit(item)) for item, figure in spec.peak_flops.items()
        },
        memory=AcceleratorMemoryPart(
            type=memory.type,
            capacity=_build_optional_figure_part(memory.capacity, "bytes", "B"),
            bandwidth=_build_optional_figure_part(memory.bandwidth, "bytes_per_s", "B/s"),
            on_chip=_build_optional_figure_part(memory.on_chip, "bytes", "B"),
            bus_width=_build_optional_figure_part(memory.bus_bits, "count", "bit"),
            pin_rate=_build_optional_figure_part(memory.data_rate, "bytes_per_s", "B/s"),
        ),
        link=ScaleUpLinkPart(name=link.name, bandwidth=_build_figure_part(link.bandwidth, "bytes_per_s", "B/s"))
        if link
        else None,
        tdp=_build_optional_figure_part(power.tdp, "w", "W") if power else None,
        idle=_build_optional_figure_part(power.idle, "w", "W") if power else None,
        prices=[_build_price_part(item) for item in spec.prices],
        usd_per_hour=entry.usd_per_hour,
        sources={
            key: FigureSourcePart(title=item.title, url=item.url, date=item.date)
            for key, item in spec.sources.items()
        },
    )


def _build_price_part(price: RentalPriceSpec) -> RentalPricePart:
    return RentalPricePart(
        cloud=price.cloud, date=price.date, rent=_build_figure_part(price.usd_per_hour, "usd", "USD/h")
    )


def _build_optional_figure_part(
    figure: Figure | None, dimension: Dimension, unit: HardwareUnit
) -> SourcedFigurePart | None:
    return None if figure is None else _build_figure_part(figure, dimension, unit)


def _build_figure_part(figure: Figure, dimension: Dimension, unit: HardwareUnit) -> SourcedFigurePart:
    sourced = figure if isinstance(figure, SourcedFigure) else SourcedFigure(value=figure, source="")
    return SourcedFigurePart(
        value=parse_figure(figure, dimension, origin="hardware_db", key=unit),
        unit=unit,
        source=sourced.source,
        confidence=sourced.confidence,
        note=sourced.note,
    )


def build_hardware_comparison(
    entries: Sequence[AcceleratorEntry], precision: Precision | None
) -> HardwareComparisonPart:
    """The figures of all entries side by side; those derived from a peak use `precision`, else one that all state."""
    peak_precision = precision or find_shared_precision(entries)
    rows = [
        _build_comparison_row(f"peak {item}", get_peak_unit(item), [entry.peak_flops.get(item) for entry in entries])
        for item in PRECISIONS
    ]
    rows += [
        _build_comparison_row("memory", "B", [item.memory_bytes for item in entries]),
        _build_comparison_row("memory bandwidth", "B/s", [item.memory_bandwidth_bytes_per_s for item in entries]),
        _build_comparison_row("on-chip memory", "B", [item.on_chip_bytes for item in entries]),
        _build_comparison_row("link", "B/s", [item.link_bytes_per_s for item in entries]),
        _build_comparison_row("power", "W", [item.tdp_w for item in entries]),
        _build_comparison_row("rent", "USD/h", [item.usd_per_hour for item in entries]),
    ]
    if peak_precision is not None:
        rows += [
            _build_comparison_row(
                "peak per watt", "FLOP/s/W", [item.compute_flops_per_w(peak_precision) for item in entries]
            ),
            _build_comparison_row(
                "peak per dollar", "FLOP/USD", [item.compute_flop_per_usd(peak_precision) for item in entries]
            ),
            _build_comparison_row(
                "ridge point", "FLOP/B", [item.compute_ridge_flop_per_byte(peak_precision) for item in entries]
            ),
        ]
    known_rows = [item for item in rows if any(value is not None for value in item.values)]
    return HardwareComparisonPart(precision=peak_precision, rows=known_rows)


def _build_comparison_row(figure: str, unit: HardwareUnit, values: list[float | None]) -> ComparisonRowPart:
    reference = values[0]
    ratios = [None if value is None or not reference else value / reference for value in values]
    return ComparisonRowPart(figure=figure, unit=unit, values=values, ratios=ratios)
