"""`planner compare`: the same run on several clusters, ranked, and the reasons why others are ruled out."""

from __future__ import annotations

from collections.abc import Sequence

from planner.cli.io.output import DocumentOutput
from planner.cli.lazy import import_lazily
from planner.cli.options.command import OptionValues, declare_command
from planner.cli.options.output import declare_choice, declare_switch
from planner.cli.options.run_options import (
    RunRequest,
    build_run_request,
    read_cluster_candidate,
    read_cluster_option,
    resolve_run,
)
from planner.errors import InputError, NothingFits
from planner.request.options import CLUSTER_ENDINGS, Completion, Option
from planner.request.values import parse_number, parse_texts

with import_lazily():
    from planner.documents import compare as compare_documents
    from planner.hardware import catalogue, database
    from planner.studies import compare as compare_study
    from planner.studies import plan_parts, size

_DEFAULT_RUN_TOKENS = 10**12


@declare_command(
    Option(
        "on", "Cluster", "A preset or file, and its number of nodes. May be given several times.", parse_texts,
        metavar="CLUSTER[:NODES]", is_repeatable=True,
        completion=Completion(source="clusters", endings=CLUSTER_ENDINGS),
    ),
    declare_switch("every", "Cluster", "All presets (`planner cluster list`).", "--any"),
    Option(
        "devices", "Cluster", "Number of devices of each cluster without :NODES.", parse_number, metavar="INTEGER"
    ),
    declare_choice(
        "objective", "Objective", "Objective that ranks the clusters.",
        "time", "cost", "energy", "carbon", "devices", "tokens-per-usd", "tokens-per-joule",
    ),
    Option(
        "framework", "Cluster", "Only accelerators that this software supports: pytorch, jax, ...",
        completion=Completion(source="software"),
    ),
    Option(
        "cloud", "Cluster", "Only accelerators that this cloud rents out: aws, gcp, ...",
        completion=Completion(source="clouds"),
    ),
    request="compare",
)  # fmt: skip
def compare(
    values: OptionValues,
    on: Sequence[str],
    every: bool,
    devices: int | None,
    objective: compare_documents.RankingFigure | None,
    framework: str | None,
    cloud: str | None,
    output: DocumentOutput,
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
    run = build_run_request(values, "compare")
    limits = _build_comparison_limits(run, framework or "", cloud or "")
    candidates = _read_cluster_candidates(on, every, devices, limits)
    document, no_cluster_error = _build_compare_document(run, candidates, limits, objective)
    output.write(document)
    if no_cluster_error is not None:
        # stdout still has the reason for each cluster
        raise no_cluster_error


def _build_comparison_limits(run: RunRequest, framework: str, cloud: str) -> compare_study.ComparisonLimits:
    """The filters that rule clusters out. Raises InputError."""
    catalogue_entries = catalogue.read_accelerator_entries() if framework or cloud else ()
    return compare_study.ComparisonLimits(
        run.deadline_days,
        run.budget,
        catalogue.match_listed_value(catalogue_entries, framework, "--framework", lambda entry: entry.spec.frameworks)
        or None,
        catalogue.match_listed_value(catalogue_entries, cloud, "--cloud", lambda entry: entry.spec.clouds) or None,
    )


def _build_compare_document(
    request: RunRequest,
    candidates: list[compare_study.ClusterCandidate],
    limits: compare_study.ComparisonLimits,
    objective: compare_documents.RankingFigure | None,
) -> tuple[compare_documents.CompareDocument, NothingFits | None]:
    """The answer, and the message where every cluster is ruled out. Raises InputError."""
    run_tokens = request.tokens
    run, notes = resolve_run(request, run_tokens or _DEFAULT_RUN_TOKENS)
    if run_tokens is None:
        notes.append("a run of 1T tokens was assumed: --tokens sets another")
    rank_by: compare_documents.RankingFigure = objective or ("cost" if limits.max_days is not None else "time")
    carbon_g_per_kwh = request.read_carbon_g_per_kwh()
    if rank_by == "carbon" and carbon_g_per_kwh is None:
        raise InputError(
            "needs a grid", key="--objective", value="carbon", expected="also --grid or --carbon-intensity"
        )
    cluster_parts, no_cluster_error = compare_study.compare_clusters(
        run, candidates, limits, rank_by, carbon_g_per_kwh
    )
    document = compare_documents.CompareDocument(
        schema_version=compare_documents.SCHEMA_VERSION,
        model=plan_parts.build_model_part(run.workload),
        run=size.build_training_run_part(run),
        deadline_days=limits.max_days,
        budget_usd=limits.max_usd,
        ranked_by=rank_by,
        offers=cluster_parts,
        notes=notes,
    )
    return document, no_cluster_error


def _read_cluster_candidates(
    cluster_texts: Sequence[str], all_presets: bool, devices: int | None, limits: compare_study.ComparisonLimits
) -> list[compare_study.ClusterCandidate]:
    """The compared clusters, each with its number of nodes where it is given. Raises InputError."""
    candidates = [read_cluster_candidate(text) for text in cluster_texts]
    if all_presets:
        candidate_names = {candidate.offer.name for candidate in candidates}
        cluster_options = [
            read_cluster_option(name)
            for name in database.list_database_names("clusters")
            if name not in candidate_names
        ]
        candidates += [
            compare_study.ClusterCandidate(cluster_option)
            for cluster_option in cluster_options
            if not cluster_option.spec.pools
        ]
    if not candidates:
        raise InputError("no cluster is named", key="--on", expected="--on CLUSTER:NODES, several times, or --any")
    if devices is not None:
        candidates = [
            candidate
            if candidate.nodes is not None
            else compare_study.ClusterCandidate(candidate.offer, -(-devices // candidate.offer.devices_per_node))
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
