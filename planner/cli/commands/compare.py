"""`planner compare`: the same run on several clusters, ranked, with what rules the others out."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.grouped import expand_option_groups
from planner.cli.options.question import FormatOption, OutputFilesOption, OutputFormat
from planner.cli.options.run_options import (
    RunOptions,
    read_budget_usd,
    read_cluster_candidate,
    read_cluster_option,
    read_deadline_days,
    resolve_run,
)
from planner.errors import InputError, NothingFits

if TYPE_CHECKING:
    from planner.documents.compare import CompareDocument
    from planner.studies.compare import Asked, Limits

_DEFAULT_RUN_TOKENS = 10**12


class RankBy(StrEnum):
    """What clusters are ranked by."""

    TIME = "time"
    COST = "cost"
    ENERGY = "energy"
    CARBON = "carbon"
    DEVICES = "devices"
    TOKENS_PER_USD = "tokens-per-usd"
    TOKENS_PER_JOULE = "tokens-per-joule"


@expand_option_groups
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
    form: FormatOption = OutputFormat.TABLE,
    files: OutputFilesOption = None,
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
    from planner.cli.io.output import check_output_files, write_document

    cluster_files = [
        ("--on", name) for render_table in on or () for name in (render_table, render_table.rpartition(":")[0])
    ]
    output_files = check_output_files(files, input_files=[*run.input_files, *cluster_files])
    limits = _build_comparison_limits(run, framework or "", cloud or "")
    document, no_cluster_error = _build_compare_document(
        run, _read_cluster_candidates(on or [], every, devices, limits), limits, objective
    )

    def render_table() -> str:
        from planner.report.views.compare_text import compare_text

        return compare_text(document)

    write_document(document, form.value, output_files, render_table)
    if no_cluster_error is not None:
        # what ruled each one out is told on stdout all the same
        raise no_cluster_error


def _build_comparison_limits(run: RunOptions, framework: str, cloud: str) -> Limits:
    """What rules clusters out. Raises InputError."""
    from planner.hardware import catalogue
    from planner.studies.compare import Limits

    catalogue_entries = catalogue.entries() if framework or cloud else ()
    return Limits(
        read_deadline_days(run.deadline),
        read_budget_usd(run.budget),
        catalogue.known(catalogue_entries, framework, "--framework", lambda entry: entry.spec.frameworks) or None,
        catalogue.known(catalogue_entries, cloud, "--cloud", lambda entry: entry.spec.clouds) or None,
    )


def _build_compare_document(
    options: RunOptions, candidates: list[Asked], limits: Limits, objective: RankBy | None
) -> tuple[CompareDocument, NothingFits | None]:
    """The answer, and what is said where every cluster is ruled out. Raises InputError."""
    from planner.cli.input.inputs import read_run_tokens
    from planner.documents.compare import SCHEMA_VERSION, CompareDocument
    from planner.studies import compare as comparing
    from planner.studies.plan_parts import model_part
    from planner.studies.size_parts import run_part

    run_tokens = read_run_tokens(options.tokens)
    run, notes = resolve_run(options, run_tokens or _DEFAULT_RUN_TOKENS)
    if run_tokens is None:
        notes.append("a run of 1T tokens was assumed: --tokens says another")
    rank_by, carbon_g_per_kwh = (
        objective or (RankBy.COST if limits.days is not None else RankBy.TIME),
        options.read_carbon_g_per_kwh(),
    )
    if rank_by is RankBy.CARBON and carbon_g_per_kwh is None:
        raise InputError(
            "no grid is told", key="--objective", value="carbon", expected="--grid or --carbon-intensity"
        )
    cluster_parts, no_cluster_error = comparing.compare(run, candidates, limits, rank_by.value, carbon_g_per_kwh)
    document = CompareDocument(
        schema_version=SCHEMA_VERSION,
        model=model_part(run.workload),
        run=run_part(run),
        deadline_days=limits.days,
        budget_usd=limits.usd,
        ranked_by=rank_by.value,
        offers=cluster_parts,
        notes=notes,
    )
    return document, no_cluster_error


def _read_cluster_candidates(
    cluster_texts: list[str], all_presets: bool, devices: str | None, limits: Limits
) -> list[Asked]:
    """The clusters that are compared, each with its number of nodes where that is told. Raises InputError."""
    from planner.cli.input.inputs import read_whole_number
    from planner.hardware import database
    from planner.studies.compare import Asked

    candidates = [read_cluster_candidate(text) for text in cluster_texts]
    if all_presets:
        candidate_names = {candidate.offer.name for candidate in candidates}
        cluster_options = [
            read_cluster_option(name) for name in database.names("clusters") if name not in candidate_names
        ]
        candidates += [Asked(cluster_option) for cluster_option in cluster_options if not cluster_option.spec.pools]
    if not candidates:
        raise InputError("no cluster is named", key="--on", expected="--on CLUSTER:NODES, several times, or --any")
    device_count = read_whole_number(devices, "--devices")
    if device_count is not None:
        candidates = [
            candidate
            if candidate.nodes is not None
            else Asked(candidate.offer, _count_nodes(candidate, device_count))
            for candidate in candidates
        ]
    if limits.days is None and limits.usd is None and any(candidate.nodes is None for candidate in candidates):
        raise InputError(
            "how many nodes is not told", key="--on", expected="CLUSTER:NODES, or --devices, --deadline or --budget"
        )
    return candidates


def _count_nodes(candidate: Asked, devices: int) -> int:
    """Nodes that hold so many devices."""
    return -(-devices // candidate.offer.devices_per_node)
