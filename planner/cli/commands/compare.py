"""`planner compare`: the same run on several clusters, ranked, and the reasons why others are ruled out."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.output import read_plan_output
from planner.cli.options.parameters import OptionValues, take_options
from planner.cli.options.run_options import (
    RunRequest,
    build_run_request,
    read_cluster_candidate,
    read_cluster_option,
    resolve_run,
)
from planner.errors import InputError, NothingFits

if TYPE_CHECKING:
    from planner.documents.compare import CompareDocument
    from planner.studies.compare import ClusterCandidate, ComparisonLimits

_DEFAULT_RUN_TOKENS = 10**12


class RankBy(StrEnum):
    """The objectives that rank clusters."""

    TIME = "time"
    COST = "cost"
    ENERGY = "energy"
    CARBON = "carbon"
    DEVICES = "devices"
    TOKENS_PER_USD = "tokens-per-usd"
    TOKENS_PER_JOULE = "tokens-per-joule"


@take_options("compare")
def compare(
    values: OptionValues,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="CLUSTER[:NODES]",
            help="A preset or file, and its number of nodes. May be given several times.",
            rich_help_panel="Cluster",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--any", help="All presets (`planner cluster list`).", rich_help_panel="Cluster")
    ] = False,
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices",
            metavar="INTEGER",
            help="Number of devices of each cluster without :NODES.",
            rich_help_panel="Cluster",
        ),
    ] = None,
    objective: Annotated[
        RankBy | None,
        typer.Option(
            "--objective",
            case_sensitive=False,
            help="Objective that ranks the clusters.",
            rich_help_panel="Objective",
        ),
    ] = None,
    framework: Annotated[
        str | None,
        typer.Option(
            "--framework",
            help="Only accelerators that this software supports: pytorch, jax, ...",
            rich_help_panel="Cluster",
        ),
    ] = None,
    cloud: Annotated[
        str | None,
        typer.Option(
            "--cloud", help="Only accelerators that this cloud rents out: aws, gcp, ...", rich_help_panel="Cluster"
        ),
    ] = None,
) -> None:
    """Compare clusters for training MODEL, in time, money, energy.

    The reason is printed for each cluster that is ruled out.

    A cluster without :NODES gets the nodes for --devices; without --devices, the fewest that meet --deadline, or the
    number that is fastest within --budget.

    \b
    Examples:
      planner compare llama-3-70b --on dgx-h100:64 --on tpu-v5p:512 --on mi300x:64 --tokens 1T
      planner compare llama-3-8b --any --cloud aws --devices 64 --tokens 100B --objective cost
    """
    from planner.cli.io.output import write_document

    cluster_files = [("--on", name) for text in on or () for name in (text, text.rpartition(":")[0])]
    output = read_plan_output(values, cluster_files)
    run = build_run_request(values, "compare")
    limits = _build_comparison_limits(run, framework or "", cloud or "")
    document, no_cluster_error = _build_compare_document(
        run, _read_cluster_candidates(on or [], every, devices, limits), limits, objective
    )

    write_document(document, output.format_name, output.files)
    if no_cluster_error is not None:
        # stdout still has the reason for each cluster
        raise no_cluster_error


def _build_comparison_limits(run: RunRequest, framework: str, cloud: str) -> ComparisonLimits:
    """The filters that rule clusters out. Raises InputError."""
    from planner.hardware import catalogue
    from planner.studies.compare import ComparisonLimits

    catalogue_entries = catalogue.read_accelerator_entries() if framework or cloud else ()
    return ComparisonLimits(
        run.deadline_days,
        run.budget,
        catalogue.match_listed_value(catalogue_entries, framework, "--framework", lambda entry: entry.spec.frameworks)
        or None,
        catalogue.match_listed_value(catalogue_entries, cloud, "--cloud", lambda entry: entry.spec.clouds) or None,
    )


def _build_compare_document(
    request: RunRequest, candidates: list[ClusterCandidate], limits: ComparisonLimits, objective: RankBy | None
) -> tuple[CompareDocument, NothingFits | None]:
    """The answer, and the message where every cluster is ruled out. Raises InputError."""
    from planner.documents.compare import SCHEMA_VERSION, CompareDocument
    from planner.studies import compare as comparing
    from planner.studies.plan_parts import build_model_part
    from planner.studies.size import build_training_run_part

    run_tokens = request.tokens
    run, notes = resolve_run(request, run_tokens or _DEFAULT_RUN_TOKENS)
    if run_tokens is None:
        notes.append("a run of 1T tokens was assumed: --tokens sets another")
    rank_by, carbon_g_per_kwh = (
        objective or (RankBy.COST if limits.max_days is not None else RankBy.TIME),
        request.read_carbon_g_per_kwh(),
    )
    if rank_by is RankBy.CARBON and carbon_g_per_kwh is None:
        raise InputError(
            "needs a grid", key="--objective", value="carbon", expected="also --grid or --carbon-intensity"
        )
    cluster_parts, no_cluster_error = comparing.compare_clusters(
        run, candidates, limits, rank_by.value, carbon_g_per_kwh
    )
    document = CompareDocument(
        schema_version=SCHEMA_VERSION,
        model=build_model_part(run.workload),
        run=build_training_run_part(run),
        deadline_days=limits.max_days,
        budget_usd=limits.max_usd,
        ranked_by=rank_by.value,
        offers=cluster_parts,
        notes=notes,
    )
    return document, no_cluster_error


def _read_cluster_candidates(
    cluster_texts: list[str], all_presets: bool, devices: str | None, limits: ComparisonLimits
) -> list[ClusterCandidate]:
    """The compared clusters, each with its number of nodes where it is given. Raises InputError."""
    from planner.hardware import database
    from planner.request.values import parse_number
    from planner.studies.compare import ClusterCandidate

    candidates = [read_cluster_candidate(text) for text in cluster_texts]
    if all_presets:
        candidate_names = {candidate.offer.name for candidate in candidates}
        cluster_options = [
            read_cluster_option(name)
            for name in database.list_database_names("clusters")
            if name not in candidate_names
        ]
        candidates += [
            ClusterCandidate(cluster_option) for cluster_option in cluster_options if not cluster_option.spec.pools
        ]
    if not candidates:
        raise InputError("no cluster is named", key="--on", expected="--on CLUSTER:NODES, several times, or --any")
    device_count = None if devices is None else parse_number(devices, "--devices")
    if device_count is not None:
        candidates = [
            candidate
            if candidate.nodes is not None
            else ClusterCandidate(candidate.offer, _count_nodes(candidate, device_count))
            for candidate in candidates
        ]
    if (
        limits.max_days is None
        and limits.max_usd is None
        and any(candidate.nodes is None for candidate in candidates)
    ):
        raise InputError(
            "the number of nodes is missing",
            key="--on",
            expected="CLUSTER:NODES, or --devices, --deadline or --budget",
        )
    return candidates


def _count_nodes(candidate: ClusterCandidate, devices: int) -> int:
    """The number of nodes for a number of devices."""
    return -(-devices // candidate.offer.devices_per_node)
