"""The reference of what is known by name: models, clusters, nodes and accelerators, each figure with its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec

from docs.site.words import anchor, code, listing, page, said, table
from planner.cluster.model import presets
from planner.documents.hardware import build_accelerator_part
from planner.hardware import catalogue, database
from planner.hardware.figures import FIGURE_DIMENSIONS, SourcedFigure
from planner.report.views.hardware_text import enumerate_accelerator_figures, format_sourced_figure
from planner.units import format_bytes, format_seconds, format_si
from planner.workload.presets import list_preset_names, read_model_preset

_FIGURES = ("figure", "value", "source", "confidence", "note")


class _Document(Protocol):
    """Where figures are from."""

    @property
    def title(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def date(self) -> str: ...


def pages() -> dict[str, str]:
    """Every page by its path."""
    made = {
        "presets/models.md": _models(),
        "presets/clusters.md": _clusters(),
        "presets/nodes.md": _nodes(),
        "presets/accelerators.md": _accelerators(),
    }
    return made | {
        f"presets/accelerators/{one.name}.md": _accelerator(one) for one in catalogue.read_accelerator_entries()
    }


def _models() -> str:
    rows = []
    for name in list_preset_names():
        spec = read_model_preset(name)
        count, source = (f"{spec.published.parameters:,}", spec.published.source) if spec.published else ("", "")
        rows.append((code(name), said(spec.title or name), count, said(source)))
    intro = (
        "`planner models list` tells them too. Parameters are those that the authors state; a test counts them again."
    )
    return page("Models", intro, table(("name", "model", "parameters", "stated in"), rows))


def _clusters() -> str:
    rows = []
    for name in database.list_database_names("clusters"):
        spec = presets.load_cluster_spec(name)
        assert isinstance(spec.node, str)
        levels = ", ".join(f"{one.name} ({one.topology})" for one in spec.fabric)
        rows.append(
            (
                code(name),
                said(spec.title),
                f"[{code(spec.node)}](nodes.md#{anchor(spec.node)})",
                f"{spec.nodes}",
                levels,
            )
        )
    return page(
        "Clusters",
        "`planner cluster list` tells them too, `planner topology NAME` draws one; `--nodes` says how many are used.",
        table(("name", "cluster", "node", "nodes unless told", "levels of the fabric"), rows),
    )


def _nodes() -> str:
    blocks = []
    for name in database.list_database_names("nodes"):
        spec = presets.load_node_spec(name)
        assert isinstance(spec.accelerator, str)
        part = f"[{code(spec.accelerator)}](accelerators/{spec.accelerator}.md)"
        blocks += [
            f"## {name}",
            f"{said(spec.title)}: {spec.devices} x {part}, joined as {code(spec.link.topology)}.",
            table(_FIGURES, _rows(spec, "")),
            _sources(spec.sources),
        ]
    return page("Nodes", "Bandwidths are of one direction.", *blocks)


def _rows(value: object, path: str) -> Iterator[tuple[str, ...]]:
    """Every figure below a struct that has a source."""
    if isinstance(value, SourcedFigure):
        dimension = FIGURE_DIMENSIONS[path.rpartition(".")[2]]
        number, shown = value.value, f"{value.value}"
        if isinstance(number, int | float):
            shown = {
                "bytes": lambda: format_bytes(number),
                "bytes_per_s": lambda: format_si(number, "B/s"),
                "s": lambda: format_seconds(number),
                "w": lambda: f"{number:,g} W",
            }.get(dimension, lambda: f"{number:,}")()
        yield code(path), shown, said(value.source), value.confidence, said(value.note)
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _rows(getattr(value, field), f"{path}.{field}" if path else field)


def _accelerators() -> str:
    rows = []
    for one in catalogue.read_accelerator_entries():
        spec, at = one.spec, one.usual_precision
        peak = one.find_peak_flops()
        rows.append(
            (
                f"[{code(one.name)}](accelerators/{one.name}.md)",
                said(spec.title),
                "" if peak is None else f"{format_si(peak)} {at}",
                "" if one.memory_bytes is None else format_bytes(one.memory_bytes),
                ""
                if one.memory_bandwidth_bytes_per_s is None
                else format_si(one.memory_bandwidth_bytes_per_s, "B/s"),
                "yes" if spec.can_train else "no",
            )
        )
    intro = "`planner hardware list` tells them too. Peaks are dense, of bf16 or the nearest precision."
    return page("Accelerators", intro, table(("name", "part", "peak", "memory", "bandwidth", "trains"), rows))


def _accelerator(one: catalogue.AcceleratorEntry) -> str:
    part = build_accelerator_part(one)
    year = f", {part.year}" if part.year else ""
    facts = [
        f"name: {code(part.name)}",
        f"{part.kind} of {said(part.vendor)}, {said(part.architecture)}, {part.place}{year}",
        "plans may use it" if part.can_train else f"no plan may use it: {said(part.why_not_train)}",
        *([f"trainers and runtimes: {', '.join(part.frameworks)}"] if part.frameworks else []),
        *([f"rented out by: {', '.join(part.clouds)}"] if part.clouds else []),
    ]
    rows = (
        (said(name), said(format_sourced_figure(figure)), said(figure.source), figure.confidence, said(figure.note))
        for name, figure in enumerate_accelerator_figures(part)
    )
    return page(said(part.title), listing(facts), table(_FIGURES, rows), _sources(part.sources))


def _sources(sources: Mapping[str, _Document]) -> str:
    told = [
        ", ".join(
            [f"{said(name)}: {said(one.title)}", *([f"<{one.url}>"] if one.url else []), *filter(None, [one.date])]
        )
        for name, one in sources.items()
    ]
    return "Sources:\n\n" + listing(told) if sources else ""
