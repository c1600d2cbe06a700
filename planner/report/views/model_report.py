"""The model document as a report: one record a part; bars of parameters and FLOPs."""

from __future__ import annotations

from collections.abc import Iterator

from planner.documents.figures import flatten_part
from planner.documents.model import LayerKindPart, ModelDocument, ModelSharePart
from planner.report.report import BarChart, ChartAxis, Report, ReportTable, build_columns
from planner.report.views.breakdown import build_stacked_bar
from planner.units import format_parameter_count, format_si

_PART_HEADINGS = ("part", "parameters", "share", "active", "forward FLOPs", "share of FLOPs")
_LAYER_HEADINGS = ("layers", "number", "parameters each", "active each", "forward FLOPs each", "parts")
_MAX_ORDERED_RUNS = 12


def build_model_report(document: ModelDocument) -> Report:
    """What the model consists of."""
    parts = [_build_part_row(part, document) for part in document.parts]
    whole = (
        f"{document.parameters:,}", "100.0%", f"{document.active_parameters:,}", format_si(document.forward_flops),
        "100.0%",
    )  # fmt: skip
    return Report(
        command="model",
        title=document.title,
        facts=list(_list_facts(document)),
        records=[flatten_part(part) for part in document.parts],
        tables=[
            ReportTable(
                "Layers",
                build_columns(_LAYER_HEADINGS, [*map(_build_layer_row, document.layers)], (0, 5), ("active each",)),
            ),
            ReportTable(
                "Parts",
                build_columns(_PART_HEADINGS, [*parts, ("total", *whole)], (0,), ("active", "share")),
                bold_row=len(parts),
            ),
        ],
        charts=_build_charts(document),
    )


def _list_facts(document: ModelDocument) -> Iterator[tuple[str, str]]:
    yield "Model", document.name
    active = f", {format_parameter_count(document.active_parameters)} of them active"
    is_sparse = document.active_parameters < document.parameters
    yield "Parameters", f"{document.parameters:,}{active if is_sparse else ''}"
    published = document.published
    if published is not None:
        recalled = " (recalled)" if published.confidence == "recalled" else ""
        yield "Published", f"{published.parameters:,}: {published.source}{recalled}"
    has_tokens = document.seq_length > 1
    item = f"token, {document.sample} of {document.seq_length:,} tokens" if has_tokens else document.sample
    attention = "" if document.flops_convention == "full" else ", causal attention by half"
    yield "Forward", f"{format_si(document.forward_flops, 'FLOP')} per {item}{attention}"
    yield "Layers", f"{document.layer_count}, hidden size {document.hidden_size:,}"
    if 1 < len(document.order) <= _MAX_ORDERED_RUNS:
        yield "Order", ", ".join(f"{run.count} {run.name}" for run in document.order)
    if document.note:
        yield "Note", document.note


def _build_layer_row(kind: LayerKindPart) -> tuple[str, ...]:
    return (
        kind.name,
        str(kind.count),
        f"{kind.parameters:,}",
        f"{kind.active_parameters:,}",
        format_si(kind.forward_flops),
        ", ".join(kind.parts),
    )


def _build_part_row(part: ModelSharePart, document: ModelDocument) -> tuple[str, ...]:
    flops_share = part.forward_flops / document.forward_flops if document.forward_flops else 0.0
    return (
        part.name,
        f"{part.parameters:,}",
        f"{part.parameters / document.parameters:.1%}",
        f"{part.active_parameters:,}",
        format_si(part.forward_flops),
        f"{flops_share:.1%}",
    )


def _build_charts(document: ModelDocument) -> list[BarChart]:
    parameters = {str(part.name): float(part.parameters) for part in document.parts}
    active = {str(part.name): float(part.active_parameters) for part in document.parts}
    flops = {str(part.name): part.forward_flops for part in document.parts}
    total, used = document.parameters, document.active_parameters
    bars = [build_stacked_bar("all", format_parameter_count(total), parameters, total, format_parameter_count)]
    if used < total:
        bars.append(build_stacked_bar("active", format_parameter_count(used), active, used, format_parameter_count))
    charts = [BarChart("Parameters", ChartAxis("parameters"), bars)]
    if document.forward_flops:
        bar = build_stacked_bar(
            "forward", format_si(document.forward_flops), flops, document.forward_flops, format_si
        )
        charts.append(BarChart("FLOPs of the forward pass", ChartAxis("FLOP"), [bar]))
    return charts
