"""`planner size`: how many nodes a run needs, and what a budget trains."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.grouped import grouped
from planner.cli.options.question import ClusterName, files_option
from planner.cli.options.run_options import RunOptions, read_budget, read_days, read_offer, read_run
from planner.errors import InputError, NothingFits, PlannerError, find_nearest_name
from planner.units import format_counted_noun, format_days

if TYPE_CHECKING:
    from planner.documents.size import SizeDocument
    from planner.documents.sizing import SizePart
    from planner.studies.run_estimate import Offer, Outcome, Run

_TRIED_TOKENS = 10**12
"""A run whose price tells what a token costs."""


class Form(StrEnum):
    """Forms of output: the usual ones, and one bare number."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"
    HTML = "html"
    JUNIT = "junit"
    VALUE = "value"


@grouped
def size(
    run: RunOptions,
    cluster: ClusterName,
    *,
    nodes: Annotated[
        str | None, typer.Option("--nodes", metavar="INTEGER", help="With --budget alone: on so many nodes.")
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", "-f", case_sensitive=False, help="Form of the output.")
    ] = Form.TABLE,
    field: Annotated[
        str | None, typer.Option("--field", help="Of --format value: nodes, devices, days, usd, ...; else nodes.")
    ] = None,
    files: Annotated[list[Path] | None, files_option("--plot", more=".svg (the curve), ")] = None,
) -> None:
    """Tell the fewest nodes for a deadline, or what a budget trains.

    It tells the curve of sizes around the answer as well.

    \b
    Examples:
      planner size llama-3-8b --cluster dgx-h100 --tokens 1T --deadline 30d
      planner size llama-3-8b --cluster dgx-h100 --budget 200kUSD --nodes 16
      planner size llama-3-8b --cluster dgx-h100 --tokens 1T --deadline 30d --format value --field devices
    """
    from planner.cli.io.output import check_files, tell

    wanted_files = check_files(files, (".svg",), read=[*run.files, ("--cluster", cluster)])
    wanted = _field(field, form)
    document = _sized(run, cluster, nodes)

    def text() -> str:
        from planner.report.views.size_text import size_text

        return size_text(document)

    def curve() -> str:
        from planner.report.charts.size_svg import curve_svg

        return curve_svg(document)

    own = {".svg": curve, ".value": lambda: f"{_value(document.answer, wanted)}\n"}
    tell(document, form.value, wanted_files, text, own)


def _sized(options: RunOptions, cluster: str, nodes: str | None) -> SizeDocument:
    """The answer. Raises InputError, and NothingFits where no size meets what is asked."""
    from planner.cli.input.inputs import read_number, read_tokens

    days, usd = read_days(options.deadline), read_budget(options.budget)
    whole = read_tokens(options.tokens)
    if whole is None and (days is not None or usd is None):
        raise InputError("is missing", key="--tokens", expected="how long the run is, such as 15T; or --budget alone")
    if whole is not None and days is None and usd is None:
        raise InputError("is missing", key="--deadline", expected="a deadline such as 30d, or --budget 2MUSD")
    count = read_number(nodes, "--nodes")
    if count is not None and whole is not None:
        raise InputError("is what is asked", key="--nodes", expected="--nodes with --budget alone")
    run, notes = read_run(options, whole or _TRIED_TOKENS)
    offer, grams = read_offer(cluster), options.grams()
    run, answer = _answer(run, offer, days, usd, count, whole)
    return _document(run, offer, answer, days, usd, grams, notes)


def _answer(
    run: Run, offer: Offer, days: float | None, usd: float | None, nodes: int | None, tokens: int | None
) -> tuple[Run, Outcome]:
    """The size that is asked for, and the run: of as many tokens as the budget pays for where none are told.

    Raises NothingFits where no size meets what is asked.
    """
    from planner.studies.size import affordable, fastest_around, fewest_nodes

    if tokens is None:
        assert usd is not None
        paid = affordable(run, offer, usd, nodes)
        if paid is None:
            raise _unfit(run, offer, nodes)
        return paid
    if days is None:
        assert usd is not None
        found = fastest_around(run, offer, usd)
        if found is None:
            raise NothingFits(f"no size of {offer.name} trains {tokens:,} tokens for {usd:,.0f} USD: fewer --tokens")
        return run, found
    found = fewest_nodes(run, offer, days)
    if found is None:
        raise _too_late(run, offer, days)
    if usd is not None and (found.usd is None or found.usd > usd):
        told = "has no known rent" if found.usd is None else f"costs {found.usd:,.0f} USD"
        raise NothingFits(
            f"the fewest nodes that meet the deadline are {found.nodes:,}, and the run {told}: not within {usd:,.0f}"
            "\n  what would fit: a later --deadline, or fewer --tokens"
        )
    return run, found


def _unfit(run: Run, offer: Offer, nodes: int | None) -> PlannerError:
    """No plan fits on so many nodes, or on any."""
    from planner.studies.run_estimate import misfit

    if nodes is None and offer.hosts is not None:
        nodes = offer.hosts.nodes
    if nodes is not None:
        return misfit(run, offer, nodes)
    return NothingFits(f"no plan of {run.workload.title} fits on {offer.name}: another cluster")


def _too_late(run: Run, offer: Offer, days: float) -> PlannerError:
    """No size meets the deadline; the fastest one, where there is any."""
    from planner.studies.size import nearest_miss

    best = nearest_miss(run, offer)
    size = "larger" if run.steps > 1 else "smaller"
    if best is None:
        return _unfit(run, offer, None)
    return NothingFits(
        f"no size of {offer.name} trains {run.tokens:,} tokens in {format_days(days)} with steps of "
        f"{format_counted_noun(run.global_batch, run.workload.sample)}\n"
        f"  nearest miss: {format_counted_noun(best.nodes, 'node')} in {format_days(best.days)}\n"
        f"  what would make it fit: a later --deadline, a {size} --global-batch, or fewer --tokens"
    )


def _document(
    run: Run,
    offer: Offer,
    answer: Outcome,
    days: float | None,
    usd: float | None,
    grams: float | None,
    notes: list[str],
) -> SizeDocument:
    from planner.documents.size import SCHEMA_VERSION, SizeDocument
    from planner.studies.plan_parts import model_part
    from planner.studies.size import around
    from planner.studies.size_parts import optimal_part, run_part, size_part

    return SizeDocument(
        schema_version=SCHEMA_VERSION,
        model=model_part(run.workload),
        cluster=offer.name,
        accelerator=answer.cluster.accelerator.name,
        run=run_part(run),
        deadline_days=days,
        budget_usd=usd,
        answer=size_part(run, answer, grams),
        curve=[size_part(run, one, grams) for one in around(run, offer, answer)],
        compute_optimal=optimal_part(run),
        notes=notes,
    )


def _field(name: str | None, form: Form) -> str:
    """The field of `--format value`. Raises InputError."""
    from planner.documents.sizing import SizePart

    if name is None:
        return "nodes"
    if form is not Form.VALUE:
        raise InputError("is of one value", key="--field", value=name, expected="--format value")
    known = [one for one in SizePart.__struct_fields__ if one != "strategy"]
    wanted = name.casefold().replace("-", "_")
    if wanted not in known:
        expected = f"one of {', '.join(known)}"
        raise InputError(
            "unknown field", key="--field", value=name, expected=expected, suggestion=find_nearest_name(wanted, known)
        )
    return wanted


def _value(answer: SizePart, field: str) -> str:
    """One figure as a bare number. Raises InputError for one that is not known."""
    value = getattr(answer, field)
    if value is None:
        expected = "a part with a known rent and power"
        if field.startswith("carbon") and answer.energy_kwh is not None:
            expected = "--grid or --carbon-intensity beside it"
        raise InputError("is not known here", key="--field", value=field, expected=expected)
    return str(value) if isinstance(value, int) else f"{value:.10g}"
