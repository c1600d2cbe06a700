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
from planner.request.values import AllowedValues, parse_allowed_values, parse_choice
from planner.units import format_counted_noun, format_days

with import_lazily():
    from planner.documents import size as size_documents
    from planner.report.charts import chart_svg
    from planner.report.views import size_report
    from planner.studies import plan_parts, run_estimate, size_search
    from planner.studies import size as size_study

_TRIAL_RUN_TOKENS = 10**12
"""Tokens of the run that determines the cost per token."""
_FORMATS = (*OUTPUT_FORMATS, "value")


@declare_command(
    Option(
        "nodes", "Cluster", "Sizes that may be the answer, as a number or a range: 2..4096. Default: all.",
        parse_allowed_values, metavar="RANGE",
    ),
    replace(FORMAT, parse=partial(parse_choice, names=_FORMATS), choices=_FORMATS),
    Option("field", "Output", "Figure that --format value prints: nodes, devices, days, usd, ... Default: nodes."),
    extend_output(".svg", help_text=".svg (the curve)", flags=("--plot",)),
    request="size",
)  # fmt: skip
def size(values: OptionValues, nodes: AllowedValues | None, field: str | None, output: DocumentOutput) -> None:
    """Size a run: the nodes for a deadline, the tokens for a budget.

    With a deadline it finds the fewest nodes that meet it, of all sizes of the cluster, each with the batch that is
    fastest there. The curve of sizes around the answer is printed too.

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


def _build_sized_document(request: RunRequest, nodes: AllowedValues | None) -> size_documents.SizeDocument:
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
    run, notes = resolve_run(request, run_tokens or _TRIAL_RUN_TOKENS)
    cluster_option, carbon_g_per_kwh = read_cluster_option(request.cluster), request.read_carbon_g_per_kwh()
    search = size_search.SizeSearch(run, cluster_option)
    if nodes is not None:
        if len(nodes.values) != nodes.values[-1] - nodes.values[0] + 1:
            listed = ",".join(map(str, nodes.listed))
            raise InputError("not a range", key="--nodes", value=listed, expected="a number or a range: 2..4096")
        search = size_search.SizeSearch(run, cluster_option, nodes.values[0], nodes.values[-1])
        if search.first > search.largest:
            cluster_option.build_cluster(search.first)  # raises for a wired cluster, with the nodes that it has
            raise InputError(
                "more nodes than the cluster has",
                key="--nodes",
                value=search.first,
                expected=f"at most {search.largest:,}",
            )
    search, estimate = _find_run_size(search, deadline_days, budget_usd, run_tokens)
    return _build_size_document(search, estimate, deadline_days, budget_usd, carbon_g_per_kwh, notes)


def _find_run_size(
    search: size_search.SizeSearch, deadline_days: float | None, budget_usd: float | None, tokens: int | None
) -> tuple[size_search.SizeSearch, run_estimate.RunEstimate]:
    """The size, and the search that found it; without --tokens, of as many tokens as the budget pays for.

    Raises NothingFits where no size meets the deadline and the budget.
    """
    name = search.offer.name
    if tokens is None:
        assert budget_usd is not None
        affordable_run = size_study.find_affordable_run(search, budget_usd)
        if affordable_run is None:
            raise _build_infeasible_error(search)
        return affordable_run
    estimate = size_study.find_size(search, deadline_days, budget_usd)
    if estimate is not None:
        return search, estimate
    if deadline_days is None:
        assert budget_usd is not None
        raise NothingFits(f"no size of {name} trains {tokens:,} tokens for {budget_usd:,.0f} USD: fewer --tokens")
    unpaid = None if budget_usd is None else search.find_fewest_nodes(deadline_days)
    if unpaid is None:
        raise _build_deadline_error(search, deadline_days)
    excess_text = "has no known rent" if unpaid.cost_usd is None else f"costs {unpaid.cost_usd:,.0f} USD"
    raise NothingFits(
        f"the fewest nodes that meet the deadline are {unpaid.nodes:,}, and the run {excess_text}: "
        f"no size that meets it costs at most {budget_usd:,.0f}"
        "\n  what would make it fit: a later --deadline, or fewer --tokens"
    )


def _build_infeasible_error(search: size_search.SizeSearch) -> PlannerError:
    """Raise NothingFits: no plan fits on these nodes, or on any number."""
    if search.first == search.largest or search.offer.listed_cluster is not None:
        return run_estimate.explain_infeasible_size(search.run, search.offer, search.largest)
    return NothingFits(f"no plan of {search.run.workload.title} fits on {search.offer.name}: another cluster")


def _build_deadline_error(search: size_search.SizeSearch, deadline_days: float) -> PlannerError:
    """Raise NothingFits: no size meets the deadline; the message names the fastest, if any fits."""
    run, nearest_estimate = search.run, search.find_fastest()
    if nearest_estimate is None:
        return _build_infeasible_error(search)
    batch = nearest_estimate.global_batch
    batch_change = "larger" if nearest_estimate.steps > 1 else "smaller"
    return NothingFits(
        f"no size of {search.offer.name} trains {run.tokens:,} tokens in {format_days(deadline_days)}\n"
        f"  nearest miss: {format_counted_noun(nearest_estimate.nodes, 'node')} "
        f"in {format_days(nearest_estimate.days)} with steps of "
        f"{format_counted_noun(batch, run.workload.sample_name)}\n"
        f"  what would make it fit: a later --deadline, a {batch_change} --global-batch, or fewer --tokens"
    )


def _build_size_document(
    search: size_search.SizeSearch,
    estimate: run_estimate.RunEstimate,
    deadline_days: float | None,
    budget_usd: float | None,
    carbon_g_per_kwh: float | None,
    notes: list[str],
) -> size_documents.SizeDocument:
    run = search.run
    return size_documents.SizeDocument(
        schema_version=size_documents.SCHEMA_VERSION,
        model=plan_parts.build_model_part(run.workload),
        cluster=search.offer.name,
        accelerator=estimate.cluster.accelerator.name,
        run=size_study.build_training_run_part(run, estimate),
        deadline_days=deadline_days,
        budget_usd=budget_usd,
        answer=size_study.build_run_size_part(run, estimate, carbon_g_per_kwh),
        curve=[
            size_study.build_run_size_part(run, curve_estimate, carbon_g_per_kwh)
            for curve_estimate in size_study.estimate_sizes_around(search, estimate)
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
