"""`planner size`: the number of nodes that a run needs, or the tokens that a budget pays for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from planner.cli.io.output import DocumentOutput
from planner.cli.lazy import import_lazily
from planner.cli.options.command import OptionValues, declare_command
from planner.cli.options.output import FORMAT, extend_output
from planner.cli.options.run_options import RunRequest, build_run_request, read_cluster_option, resolve_run
from planner.errors import InputError, NothingFits, PlannerError, find_nearest_name
from planner.request.options import OUTPUT_FORMATS, Option
from planner.request.values import parse_choice, parse_number
from planner.units import format_counted_noun, format_days

with import_lazily():
    from planner.documents import size as size_documents
    from planner.report.charts import chart_svg
    from planner.report.views import size_report
    from planner.studies import plan_parts, run_estimate
    from planner.studies import size as size_study

_TRIAL_RUN_TOKENS = 10**12
"""Tokens of the run that determines the cost per token."""
_FORMATS = (*OUTPUT_FORMATS, "value")


@declare_command(
    Option(
        "nodes", "Cluster", "Number of nodes; only with --budget and without --deadline.", parse_number,
        metavar="INTEGER",
    ),
    replace(FORMAT, parse=partial(parse_choice, names=_FORMATS), choices=_FORMATS),
    Option("field", "Output", "Figure that --format value prints: nodes, devices, days, usd, ... Default: nodes."),
    extend_output(".svg", help_text=".svg (the curve)", flags=("--plot",)),
    request="size",
)  # fmt: skip
def size(values: OptionValues, nodes: int | None, field: str | None, output: DocumentOutput) -> None:
    """Size a run: the nodes for a deadline, the tokens for a budget.

    With a deadline it finds the fewest nodes that meet it. The curve of sizes around the answer is printed too.

    \b
    Examples:
      planner size llama-3-8b --cluster dgx-h100 --tokens 1T --deadline 30d
      planner size llama-3-8b --cluster dgx-h100 --budget 200kUSD --nodes 16
      planner size llama-3-8b --cluster dgx-h100 --tokens 1T --deadline 30d --format value --field devices
    """
    run = build_run_request(values, "size")
    value_field = _parse_value_field(field, output.format_name)
    document = _build_sized_document(run, nodes)

    def render_curve() -> str:
        title = f"{document.model.title} on {document.cluster}"
        return chart_svg.render_svg_file(title, size_report.build_size_curves(document))

    own_renderers = {".svg": render_curve, ".value": lambda: f"{_format_bare_value(document.answer, value_field)}\n"}
    output.write(document, own_renderers)


def _build_sized_document(request: RunRequest, nodes: int | None) -> size_documents.SizeDocument:
    """The answer. Raises InputError, and NothingFits where no size meets the deadline and the budget."""
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
    if nodes is not None and run_tokens is not None:
        raise InputError(
            "conflicts with a deadline: `size` finds the nodes",
            key="--nodes",
            expected="--nodes with --budget and without --deadline",
        )
    run, notes = resolve_run(request, run_tokens or _TRIAL_RUN_TOKENS)
    cluster_option, carbon_g_per_kwh = read_cluster_option(request.cluster), request.read_carbon_g_per_kwh()
    run, estimate = _find_run_size(run, cluster_option, deadline_days, budget_usd, nodes, run_tokens)
    return _build_size_document(run, cluster_option, estimate, deadline_days, budget_usd, carbon_g_per_kwh, notes)


def _find_run_size(
    run: run_estimate.TrainingRun,
    cluster_option: run_estimate.ClusterOffer,
    deadline_days: float | None,
    budget_usd: float | None,
    nodes: int | None,
    tokens: int | None,
) -> tuple[run_estimate.TrainingRun, run_estimate.RunEstimate]:
    """The size, and the run; without --tokens, of as many tokens as the budget pays for.

    Raises NothingFits where no size meets the deadline and the budget.
    """
    if tokens is None:
        assert budget_usd is not None
        affordable_run = size_study.find_affordable_run(run, cluster_option, budget_usd, nodes)
        if affordable_run is None:
            raise _build_infeasible_error(run, cluster_option, nodes)
        return affordable_run
    if deadline_days is None:
        assert budget_usd is not None
        estimate = size_study.refine_fastest_within_budget(run, cluster_option, budget_usd)
        if estimate is None:
            raise NothingFits(
                f"no size of {cluster_option.name} trains {tokens:,} tokens for {budget_usd:,.0f} USD: fewer --tokens"
            )
        return run, estimate
    estimate = size_study.find_fewest_nodes(run, cluster_option, deadline_days)
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


def _build_infeasible_error(
    run: run_estimate.TrainingRun, cluster_option: run_estimate.ClusterOffer, nodes: int | None
) -> PlannerError:
    """Raise NothingFits: no plan fits on these nodes, or on any number."""
    if nodes is None and cluster_option.listed_cluster is not None:
        nodes = cluster_option.listed_cluster.nodes
    if nodes is not None:
        return run_estimate.explain_infeasible_size(run, cluster_option, nodes)
    return NothingFits(f"no plan of {run.workload.title} fits on {cluster_option.name}: another cluster")


def _build_deadline_error(
    run: run_estimate.TrainingRun, cluster_option: run_estimate.ClusterOffer, deadline_days: float
) -> PlannerError:
    """Raise NothingFits: no size meets the deadline; the message names the fastest, if any fits."""
    nearest_estimate = size_study.find_fastest_size(run, cluster_option)
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
    run: run_estimate.TrainingRun,
    cluster_option: run_estimate.ClusterOffer,
    estimate: run_estimate.RunEstimate,
    deadline_days: float | None,
    budget_usd: float | None,
    carbon_g_per_kwh: float | None,
    notes: list[str],
) -> size_documents.SizeDocument:
    return size_documents.SizeDocument(
        schema_version=size_documents.SCHEMA_VERSION,
        model=plan_parts.build_model_part(run.workload),
        cluster=cluster_option.name,
        accelerator=estimate.cluster.accelerator.name,
        run=size_study.build_training_run_part(run),
        deadline_days=deadline_days,
        budget_usd=budget_usd,
        answer=size_study.build_run_size_part(run, estimate, carbon_g_per_kwh),
        curve=[
            size_study.build_run_size_part(run, curve_estimate, carbon_g_per_kwh)
            for curve_estimate in size_study.estimate_sizes_around(run, cluster_option, estimate)
        ],
        compute_optimal=size_study.build_compute_optimal_part(run),
        notes=notes,
    )


def _parse_value_field(name: str | None, format_name: str) -> str:
    """The field of `--format value`. Raises InputError."""
    if name is None:
        return "nodes"
    if format_name != "value":
        raise InputError("needs a single value", key="--field", value=name, expected="--format value")
    known_fields = [field for field in size_documents.RunSizePart.__struct_fields__ if field != "strategy"]
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


def _format_bare_value(size_part: size_documents.RunSizePart, field: str) -> str:
    """A figure as a bare number. Raises InputError for an unknown figure."""
    value = getattr(size_part, field)
    if value is None:
        expected = "an accelerator with a known rent and power"
        if field.startswith("carbon") and size_part.energy_kwh is not None:
            expected = "also --grid or --carbon-intensity"
        raise InputError("is unknown for this run", key="--field", value=field, expected=expected)
    return str(value) if isinstance(value, int) else f"{value:.10g}"
