"""`planner size`: the number of nodes that a run needs, or the tokens that a budget pays for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.output import build_files_option
from planner.cli.options.parameters import OptionValues, take_options
from planner.cli.options.run_options import RunRequest, build_run_request, read_cluster_option, resolve_run
from planner.errors import InputError, NothingFits, PlannerError, find_nearest_name
from planner.units import format_counted_noun, format_days

if TYPE_CHECKING:
    from planner.documents.size import RunSizePart, SizeDocument
    from planner.studies.run_estimate import ClusterOffer, RunEstimate, TrainingRun

_TRIAL_RUN_TOKENS = 10**12
"""Tokens of the run that determines the cost per token."""


class SizeOutputFormat(StrEnum):
    """Output formats: the usual ones, and a bare number."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"
    HTML = "html"
    JUNIT = "junit"
    VALUE = "value"


@take_options("size")
def size(
    values: OptionValues,
    nodes: Annotated[
        str | None,
        typer.Option(
            "--nodes",
            metavar="INTEGER",
            help="Number of nodes; only with --budget and without --deadline.",
            rich_help_panel="Cluster",
        ),
    ] = None,
    form: Annotated[
        SizeOutputFormat,
        typer.Option("--format", "-f", case_sensitive=False, help="Output format.", rich_help_panel="Output"),
    ] = SizeOutputFormat.TABLE,
    field: Annotated[
        str | None,
        typer.Option(
            "--field",
            help="Figure that --format value prints: nodes, devices, days, usd, ... Default: nodes.",
            rich_help_panel="Output",
        ),
    ] = None,
    files: Annotated[list[Path] | None, build_files_option("--plot", extra_suffixes=".svg (the curve), ")] = None,
) -> None:
    """Find the fewest nodes for a deadline, or the tokens that a budget pays for.

    The curve of sizes around the answer is printed as well.

    \b
    Examples:
      planner size llama-3-8b --cluster dgx-h100 --tokens 1T --deadline 30d
      planner size llama-3-8b --cluster dgx-h100 --budget 200kUSD --nodes 16
      planner size llama-3-8b --cluster dgx-h100 --tokens 1T --deadline 30d --format value --field devices
    """
    from planner.cli.io.output import check_output_files, write_document
    from planner.request.plan_request import list_input_files

    run = build_run_request(values, "size")
    output_files = check_output_files(files, (".svg",), input_files=list_input_files(values))
    value_field = _parse_value_field(field, form)
    document = _build_sized_document(run, nodes)

    def render_curve() -> str:
        from planner.report.charts.chart_svg import render_svg_file
        from planner.report.views.size_report import build_size_curves

        return render_svg_file(f"{document.model.title} on {document.cluster}", build_size_curves(document))

    own_renderers = {".svg": render_curve, ".value": lambda: f"{_format_bare_value(document.answer, value_field)}\n"}
    write_document(document, form.value, output_files, own_renderers)


def _build_sized_document(request: RunRequest, nodes: str | None) -> SizeDocument:
    """The answer. Raises InputError, and NothingFits where no size meets the deadline and the budget."""
    from planner.request.values import parse_number

    deadline_days, budget_usd, run_tokens = request.deadline_days, request.budget, request.tokens
    if run_tokens is None and (deadline_days is not None or budget_usd is None):
        raise InputError(
            "is missing",
            key="--tokens",
            expected="the tokens of the run, such as 15T; or --budget without --deadline",
        )
    if run_tokens is not None and deadline_days is None and budget_usd is None:
        raise InputError(
            "is missing", key="--deadline", expected="a deadline such as 30d, or a budget such as --budget 2MUSD"
        )
    node_count = None if nodes is None else parse_number(nodes, "--nodes")
    if node_count is not None and run_tokens is not None:
        raise InputError(
            "conflicts with a deadline: `size` finds the nodes",
            key="--nodes",
            expected="--nodes with --budget and without --deadline",
        )
    run, notes = resolve_run(request, run_tokens or _TRIAL_RUN_TOKENS)
    cluster_option, carbon_g_per_kwh = read_cluster_option(request.cluster), request.read_carbon_g_per_kwh()
    run, estimate = _find_run_size(run, cluster_option, deadline_days, budget_usd, node_count, run_tokens)
    return _build_size_document(run, cluster_option, estimate, deadline_days, budget_usd, carbon_g_per_kwh, notes)


def _find_run_size(
    run: TrainingRun,
    cluster_option: ClusterOffer,
    deadline_days: float | None,
    budget_usd: float | None,
    nodes: int | None,
    tokens: int | None,
) -> tuple[TrainingRun, RunEstimate]:
    """The size, and the run; without --tokens, of as many tokens as the budget pays for.

    Raises NothingFits where no size meets the deadline and the budget.
    """
    from planner.studies.size import find_affordable_run, find_fewest_nodes, refine_fastest_within_budget

    if tokens is None:
        assert budget_usd is not None
        affordable_run = find_affordable_run(run, cluster_option, budget_usd, nodes)
        if affordable_run is None:
            raise _build_infeasible_error(run, cluster_option, nodes)
        return affordable_run
    if deadline_days is None:
        assert budget_usd is not None
        estimate = refine_fastest_within_budget(run, cluster_option, budget_usd)
        if estimate is None:
            raise NothingFits(
                f"no size of {cluster_option.name} trains {tokens:,} tokens for {budget_usd:,.0f} USD: fewer --tokens"
            )
        return run, estimate
    estimate = find_fewest_nodes(run, cluster_option, deadline_days)
    if estimate is None:
        raise _build_deadline_error(run, cluster_option, deadline_days)
    if budget_usd is not None and (estimate.cost_usd is None or estimate.cost_usd > budget_usd):
        excess_text = "has no known rent" if estimate.cost_usd is None else f"costs {estimate.cost_usd:,.0f} USD"
        raise NothingFits(
            f"the fewest nodes that meet the deadline are {estimate.nodes:,}, and the run {excess_text}: "
            f"more than {budget_usd:,.0f}"
            "\n  what would make it fit: a later --deadline, or fewer --tokens"
        )
    return run, estimate


def _build_infeasible_error(run: TrainingRun, cluster_option: ClusterOffer, nodes: int | None) -> PlannerError:
    """Raise NothingFits: no plan fits on these nodes, or on any number."""
    from planner.studies.run_estimate import explain_infeasible_size

    if nodes is None and cluster_option.listed_cluster is not None:
        nodes = cluster_option.listed_cluster.nodes
    if nodes is not None:
        return explain_infeasible_size(run, cluster_option, nodes)
    return NothingFits(f"no plan of {run.workload.title} fits on {cluster_option.name}: another cluster")


def _build_deadline_error(run: TrainingRun, cluster_option: ClusterOffer, deadline_days: float) -> PlannerError:
    """Raise NothingFits: no size meets the deadline; the message names the fastest, if any fits."""
    from planner.studies.size import find_fastest_size

    nearest_estimate = find_fastest_size(run, cluster_option)
    batch_change = "larger" if run.steps > 1 else "smaller"
    if nearest_estimate is None:
        return _build_infeasible_error(run, cluster_option, None)
    return NothingFits(
        f"no size of {cluster_option.name} trains {run.tokens:,} tokens in {format_days(deadline_days)} "
        f"with steps of {format_counted_noun(run.global_batch, run.workload.sample_name)}\n"
        f"  nearest miss: {format_counted_noun(nearest_estimate.nodes, 'node')} "
        f"in {format_days(nearest_estimate.days)}\n"
        f"  what would make it fit: a later --deadline, a {batch_change} --global-batch, or fewer --tokens"
    )


def _build_size_document(
    run: TrainingRun,
    cluster_option: ClusterOffer,
    estimate: RunEstimate,
    deadline_days: float | None,
    budget_usd: float | None,
    carbon_g_per_kwh: float | None,
    notes: list[str],
) -> SizeDocument:
    from planner.documents.size import SCHEMA_VERSION, SizeDocument
    from planner.studies.plan_parts import build_model_part
    from planner.studies.size import (
        build_compute_optimal_part,
        build_run_size_part,
        build_training_run_part,
        estimate_sizes_around,
    )

    return SizeDocument(
        schema_version=SCHEMA_VERSION,
        model=build_model_part(run.workload),
        cluster=cluster_option.name,
        accelerator=estimate.cluster.accelerator.name,
        run=build_training_run_part(run),
        deadline_days=deadline_days,
        budget_usd=budget_usd,
        answer=build_run_size_part(run, estimate, carbon_g_per_kwh),
        curve=[
            build_run_size_part(run, curve_estimate, carbon_g_per_kwh)
            for curve_estimate in estimate_sizes_around(run, cluster_option, estimate)
        ],
        compute_optimal=build_compute_optimal_part(run),
        notes=notes,
    )


def _parse_value_field(name: str | None, output_format: SizeOutputFormat) -> str:
    """The field of `--format value`. Raises InputError."""
    from planner.documents.size import RunSizePart

    if name is None:
        return "nodes"
    if output_format is not SizeOutputFormat.VALUE:
        raise InputError("needs a single value", key="--field", value=name, expected="--format value")
    known_fields = [field for field in RunSizePart.__struct_fields__ if field != "strategy"]
    field_name = name.casefold().replace("-", "_")
    if field_name not in known_fields:
        expected = f"one of {', '.join(known_fields)}"
        raise InputError(
            "unknown field",
            key="--field",
            value=name,
            expected=expected,
            suggestion=find_nearest_name(field_name, known_fields),
        )
    return field_name


def _format_bare_value(size_part: RunSizePart, field: str) -> str:
    """A figure as a bare number. Raises InputError for an unknown figure."""
    value = getattr(size_part, field)
    if value is None:
        expected = "an accelerator with a known rent and power"
        if field.startswith("carbon") and size_part.energy_kwh is not None:
            expected = "also --grid or --carbon-intensity"
        raise InputError("is unknown for this run", key="--field", value=field, expected=expected)
    return str(value) if isinstance(value, int) else f"{value:.10g}"
