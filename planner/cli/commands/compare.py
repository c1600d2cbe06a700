"""`planner compare`: the same run on several clusters, ranked, with what rules the others out."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.grouped import grouped
from planner.cli.options.question import Files, Form, Output
from planner.cli.options.run_options import (
    RunOptions,
    read_asked,
    read_budget,
    read_days,
    read_offer,
    read_run,
)
from planner.errors import InputError, NothingFits

if TYPE_CHECKING:
    from planner.documents.compare import CompareDocument
    from planner.studies.compare import Asked, Limits

_USUAL_TOKENS = 10**12


class RankBy(StrEnum):
    """What clusters are ranked by."""

    TIME = "time"
    COST = "cost"
    ENERGY = "energy"
    CARBON = "carbon"
    DEVICES = "devices"
    TOKENS_PER_USD = "tokens-per-usd"
    TOKENS_PER_JOULE = "tokens-per-joule"


@grouped
def compare(
    run: RunOptions,
    *,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="CLUSTER[:NODES]", help="A preset or file, and how many nodes. Several times."),
    ] = None,
    every: Annotated[bool, typer.Option("--any", help="All presets (`planner cluster list`).")] = False,
    devices: Annotated[
        str | None, typer.Option("--devices", metavar="INTEGER", help="Of each that has no :NODES, so many devices.")
    ] = None,
    objective: Annotated[
        RankBy | None, typer.Option("--objective", case_sensitive=False, help="What the clusters are ranked by.")
    ] = None,
    framework: Annotated[
        str | None, typer.Option("--framework", help="Only accelerators that it runs on: pytorch, jax, ...")
    ] = None,
    cloud: Annotated[str | None, typer.Option("--cloud", help="Only what it rents out: aws, gcp, ...")] = None,
    form: Form = Output.TABLE,
    files: Files = None,
) -> None:
    """Compare clusters for training MODEL, in time, money, energy.

    What rules a cluster out is told.

    A cluster without :NODES has as many as hold --devices; else the few that meet --deadline, or the fastest that
    --budget pays for.

    \b
    Examples:
      planner compare llama-3-70b --on dgx-h100:64 --on tpu-v5p:512 --on mi300x:64 --tokens 1T
      planner compare llama-3-8b --any --cloud aws --devices 64 --tokens 100B --objective cost
    """
    from planner.cli.io.output import check_files, tell

    named = [("--on", name) for text in on or () for name in (text, text.rpartition(":")[0])]
    wanted = check_files(files, read=[*run.files, *named])
    limits = _limits(run, framework or "", cloud or "")
    document, nothing_left = _compared(run, _asked(on or [], every, devices, limits), limits, objective)

    def text() -> str:
        from planner.report.views.compare_text import compare_text

        return compare_text(document)

    tell(document, form.value, wanted, text)
    if nothing_left is not None:
        # what ruled each one out is told on stdout all the same
        raise nothing_left


def _limits(run: RunOptions, framework: str, cloud: str) -> Limits:
    """What rules clusters out. Raises InputError."""
    from planner.hardware import catalogue
    from planner.studies.compare import Limits

    found = catalogue.entries() if framework or cloud else ()
    return Limits(
        read_days(run.deadline),
        read_budget(run.budget),
        catalogue.known(found, framework, "--framework", lambda one: one.spec.frameworks) or None,
        catalogue.known(found, cloud, "--cloud", lambda one: one.spec.clouds) or None,
    )


def _compared(
    options: RunOptions, asked: list[Asked], limits: Limits, objective: RankBy | None
) -> tuple[CompareDocument, NothingFits | None]:
    """The answer, and what is said where every cluster is ruled out. Raises InputError."""
    from planner.cli.input.inputs import read_tokens
    from planner.documents.compare import SCHEMA_VERSION, CompareDocument
    from planner.studies import compare as comparing
    from planner.studies.plan_parts import model_part
    from planner.studies.size_parts import run_part

    whole = read_tokens(options.tokens)
    run, notes = read_run(options, whole or _USUAL_TOKENS)
    if whole is None:
        notes.append("a run of 1T tokens was assumed: --tokens says another")
    by, grams = objective or (RankBy.COST if limits.days is not None else RankBy.TIME), options.grams()
    if by is RankBy.CARBON and grams is None:
        raise InputError(
            "no grid is told", key="--objective", value="carbon", expected="--grid or --carbon-intensity"
        )
    offers, nothing_left = comparing.compare(run, asked, limits, by.value, grams)
    document = CompareDocument(
        schema_version=SCHEMA_VERSION,
        model=model_part(run.workload),
        run=run_part(run),
        deadline_days=limits.days,
        budget_usd=limits.usd,
        ranked_by=by.value,
        offers=offers,
        notes=notes,
    )
    return document, nothing_left


def _asked(on: list[str], every: bool, devices: str | None, limits: Limits) -> list[Asked]:
    """The clusters that are compared, each with its number of nodes where that is told. Raises InputError."""
    from planner.cli.input.inputs import read_number
    from planner.hardware import database
    from planner.studies.compare import Asked

    asked = [read_asked(text) for text in on]
    if every:
        named = {one.offer.name for one in asked}
        offers = [read_offer(name) for name in database.names("clusters") if name not in named]
        asked += [Asked(offer) for offer in offers if not offer.spec.pools]
    if not asked:
        raise InputError("no cluster is named", key="--on", expected="--on CLUSTER:NODES, several times, or --any")
    count = read_number(devices, "--devices")
    if count is not None:
        asked = [one if one.nodes is not None else Asked(one.offer, _nodes(one, count)) for one in asked]
    if limits.days is None and limits.usd is None and any(one.nodes is None for one in asked):
        raise InputError(
            "how many nodes is not told", key="--on", expected="CLUSTER:NODES, or --devices, --deadline or --budget"
        )
    return asked


def _nodes(asked: Asked, devices: int) -> int:
    """Nodes that hold so many devices."""
    return -(-devices // asked.offer.devices_per_node)
