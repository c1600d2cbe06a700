"""The reference of the presets: models, clusters, nodes and accelerators, each figure with its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec

from docs.site.words import build_anchor, escape_text, format_code, format_list, format_page, format_table
from planner.cluster.model import presets
from planner.documents.hardware import build_accelerator_part
from planner.hardware import catalogue, database
from planner.hardware.figures import FIGURE_DIMENSIONS, SourcedFigure
from planner.report.views.hardware_report import enumerate_accelerator_figures, format_sourced_figure
from planner.units import format_bytes, format_seconds, format_si
from planner.workload.presets import list_hub_names, list_preset_names, read_hub_preset, read_model_preset

_FIGURES = ("figure", "value", "source", "confidence", "note")


class _Document(Protocol):
    """A document that figures are from."""

    @property
    def title(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def date(self) -> str: ...


def build_pages() -> dict[str, str]:
    """Every page by its path."""
    pages = {
        "presets/models.md": _build_models_page(),
        "presets/clusters.md": _build_clusters_page(),
        "presets/nodes.md": _build_nodes_page(),
        "presets/accelerators.md": _build_accelerators_page(),
    }
    return pages | {
        f"presets/accelerators/{entry.name}.md": _build_accelerator_page(entry)
        for entry in catalogue.read_accelerator_entries()
    }


def _build_models_page() -> str:
    rows = []
    specs = {name: read_model_preset(name) for name in list_preset_names()}
    specs |= {name: read_hub_preset(name) for name in list_hub_names()}
    for name, spec in specs.items():
        published = spec.published
        stated = (
            (f"{published.parameters:,}", escape_text(published.source), published.confidence)
            if published is not None
            else ("", "", "")
        )
        rows.append((format_code(name), escape_text(spec.title or name), *stated))
    intro = (
        "`planner models list` prints the same. The parameter counts are those of the authors, or of Hugging Face's "
        "library; a test checks them. `recalled` is a count whose configuration, or whose name on the hub, was not "
        "read in a source."
    )
    return format_page(
        "Models", intro, format_table(("name", "model", "parameters", "stated in", "confidence"), rows)
    )


def _build_clusters_page() -> str:
    rows = []
    for name in database.list_database_names("clusters"):
        spec = presets.load_cluster_spec(name)
        assert isinstance(spec.node, str)
        levels = ", ".join(f"{level.name} ({level.topology})" for level in spec.fabric)
        rows.append(
            (
                format_code(name),
                escape_text(spec.title),
                f"[{format_code(spec.node)}](nodes.md#{build_anchor(spec.node)})",
                f"{spec.nodes}",
                levels,
            )
        )
    return format_page(
        "Clusters",
        "`planner cluster list` prints the same; `planner topology NAME` draws a cluster, of `--nodes` nodes.",
        format_table(("name", "cluster", "node", "default nodes", "levels of the fabric"), rows),
    )


def _build_nodes_page() -> str:
    blocks = []
    for name in database.list_database_names("nodes"):
        spec = presets.load_node_spec(name)
        assert isinstance(spec.accelerator, str)
        part = f"[{format_code(spec.accelerator)}](accelerators/{spec.accelerator}.md)"
        blocks += [
            f"## {name}",
            f"{escape_text(spec.title)}: {spec.devices} x {part}, joined as {format_code(spec.link.topology)}.",
            format_table(_FIGURES, _enumerate_figure_rows(spec, "")),
            _format_sources(spec.sources),
        ]
    return format_page("Nodes", "Bandwidths are those of one direction.", *blocks)


def _enumerate_figure_rows(value: object, path: str) -> Iterator[tuple[str, ...]]:
    """The row of every figure with a source below a struct."""
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
        yield format_code(path), shown, escape_text(value.source), value.confidence, escape_text(value.note)
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _enumerate_figure_rows(getattr(value, field), f"{path}.{field}" if path else field)


def _build_accelerators_page() -> str:
    rows = []
    for entry in catalogue.read_accelerator_entries():
        spec, precision = entry.spec, entry.usual_precision
        peak = entry.find_peak_flops()
        rows.append(
            (
                f"[{format_code(entry.name)}](accelerators/{entry.name}.md)",
                escape_text(spec.title),
                "" if peak is None else f"{format_si(peak)} {precision}",
                "" if entry.memory_bytes is None else format_bytes(entry.memory_bytes),
                ""
                if entry.memory_bandwidth_bytes_per_s is None
                else format_si(entry.memory_bandwidth_bytes_per_s, "B/s"),
                "yes" if spec.can_train else "no",
            )
        )
    intro = "`planner hardware list` prints the same. Peaks are dense, of bf16 or the nearest precision."
    return format_page(
        "Accelerators", intro, format_table(("name", "accelerator", "peak", "memory", "bandwidth", "can train"), rows)
    )


def _build_accelerator_page(entry: catalogue.AcceleratorEntry) -> str:
    part = build_accelerator_part(entry)
    year = f", {part.year}" if part.year else ""
    facts = [
        f"name: {format_code(part.name)}",
        f"{part.kind} by {escape_text(part.vendor)}, {escape_text(part.architecture)}, {part.place}{year}",
        "can train" if part.can_train else f"cannot train: {escape_text(part.why_not_train)}",
        *([f"trainers and runtimes: {', '.join(part.frameworks)}"] if part.frameworks else []),
        *([f"rented out by: {', '.join(part.clouds)}"] if part.clouds else []),
    ]
    rows = (
        (
            escape_text(name),
            escape_text(format_sourced_figure(figure)),
            escape_text(figure.source),
            figure.confidence,
            escape_text(figure.note),
        )
        for name, figure in enumerate_accelerator_figures(part)
    )
    return format_page(
        escape_text(part.title), format_list(facts), format_table(_FIGURES, rows), _format_sources(part.sources)
    )


def _format_sources(sources: Mapping[str, _Document]) -> str:
    lines = [
        ", ".join(
            [
                f"{escape_text(name)}: {escape_text(document.title)}",
                *([f"<{document.url}>"] if document.url else []),
                *filter(None, [document.date]),
            ]
        )
        for name, document in sources.items()
    ]
    return "Sources:\n\n" + format_list(lines) if sources else ""
