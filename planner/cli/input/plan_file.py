"""Reads a plan document: its plans, and the model and the cluster that it names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.model.cluster import Cluster
    from planner.cost.scenario import Scenario
    from planner.documents.plan import ClusterPart, PlanDocument
    from planner.workload.operator_list.spec import OperatorListSpec
    from planner.workload.operators import Workload
    from planner.workload.spec import ModelSpec

PlanFileArgument = Annotated[
    Path, typer.Argument(metavar="PLAN.json", help="The output of `plan` or `estimate` with --format json.")
]
PlanNumberOption = Annotated[int, typer.Option("--plan", min=1, help="Number of the plan in the document.")]
ModelOverrideOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="File of the model, for a plan of a model file: the document has only its name.",
    ),
]


ClusterOverrideOption = Annotated[
    str | None,
    typer.Option(
        "--cluster", "-c", help="File of the cluster, for a plan of a cluster file: the document has only its name."
    ),
]


@dataclass(frozen=True)
class PlanFileOverrides:
    """The files of a model and a cluster that the document only names."""

    model: str | None
    cluster: str | None
    faults: tuple[str, ...]

    @property
    def input_files(self) -> tuple[tuple[str, str | None], ...]:
        """The files of model and cluster, if any, with the options that name them."""
        from planner.request.files import list_model_files

        return *list_model_files("--model", self.model), ("--cluster", self.cluster)


def read_plan_document(path: Path, number: int) -> PlanDocument:
    """The plan document. Raises InputError for another document, or for too few plans."""
    from planner.decode import convert_to_type, parse_mapping
    from planner.documents.plan import SCHEMA_VERSION, PlanDocument
    from planner.request.files import read_text_file

    raw = parse_mapping(read_text_file(path, (".json",), "the output of `plan --format json`"), "json", str(path))
    version = raw.get("schema_version")
    if "plans" not in raw or version != SCHEMA_VERSION:
        problem = "unsupported version of the document" if "plans" in raw else "not a plan document"
        expected = f"the output of this version's `plan --format json`, version {SCHEMA_VERSION}"
        raise InputError(problem, origin=str(path), key="schema_version", value=str(version), expected=expected)
    document = convert_to_type(raw, PlanDocument, str(path))
    if number > len(document.plans):
        expected = f"from 1 to {len(document.plans)}"
        raise InputError("the document has fewer plans", key="--plan", value=number, expected=expected)
    return document


def read_plan_cluster(
    document: PlanDocument, name_override: str | None, faults: tuple[str, ...], path: Path
) -> Cluster:
    """The document's cluster, of its size. Raises InputError; for a file's cluster it names the missing option."""
    part = document.cluster
    if name_override is None:
        _check_resolvable_name("cluster", part.name, path)
    cluster = _resolve_sized_cluster(name_override or part.name, part, faults)
    if (cluster.devices, cluster.accelerator.name) != (part.devices, part.accelerator):
        expected = f"{part.devices:,} {part.accelerator}, as in {path}"
        value = f"{cluster.devices:,} {cluster.accelerator.name}"
        raise InputError("another cluster", key="--cluster", value=value, expected=expected)
    return cluster


def _resolve_sized_cluster(name: str, part: ClusterPart, faults: tuple[str, ...]) -> Cluster:
    """The cluster with the document's number of devices; on a regular cluster, failed devices are added to them."""
    from planner.cluster.wired.failed_parts import parse_failed_part
    from planner.cluster.wired.hostlist import expand_hostlist
    from planner.request.inputs import read_cluster, read_cluster_spec

    spec, _ = read_cluster_spec(name)
    cluster_faults = [*(parse_failed_part(text) for text in faults), *spec.faults]
    max_lost_nodes = (
        0
        if spec.hosts
        else sum(
            len(expand_hostlist(lost_part.part))
            for lost_part in cluster_faults
            if lost_part.rate == 0 and " - " not in lost_part.part
        )
    )
    cluster = None
    for lost_nodes in range(max_lost_nodes + 1):
        try:
            cluster = read_cluster(name, None, part.devices + lost_nodes * part.devices_per_node, faults)
        except InputError:
            # a named host may not exist in a smaller cluster
            if lost_nodes == max_lost_nodes:
                raise
        if cluster is not None and cluster.devices == part.devices:
            break
    assert cluster is not None
    return cluster


def read_plan_model_spec(
    document: PlanDocument, name_override: str | None, path: Path
) -> ModelSpec | OperatorListSpec:
    """The description of the document's model. Raises InputError; for a file's model it names the missing option."""
    from planner.request.inputs import read_model_spec

    model = document.model
    if name_override is None:
        _check_resolvable_name("model", model.name, path)
    return read_model_spec(name_override or model.name, model.seq_length if model.sample == "sequence" else None)[0]


def read_plan_model(document: PlanDocument, name_override: str | None, path: Path) -> Workload:
    """The document's model, of its sequence length. Raises InputError as `read_plan_model_spec`, and for another
    model.
    """
    from planner.request.inputs import read_model

    model = document.model
    if name_override is None:
        _check_resolvable_name("model", model.name, path)
    workload = read_model(name_override or model.name, model.seq_length if model.sample == "sequence" else None)
    if name_override is not None and workload.parameters != model.parameters:
        expected = f"{model.title}, {model.parameters:,} parameters, as in {path}"
        value = f"{workload.title}, {workload.parameters:,} parameters"
        raise InputError("another model", key="--model", value=value, expected=expected)
    return workload


def read_plan_scenario(document: PlanDocument, name_override: str | None, cluster: Cluster, path: Path) -> Scenario:
    """The scenario that all plans of the document share, without their settings."""
    from planner.cost.scenario import build_scenario

    training_part = document.scenario
    return build_scenario(
        read_plan_model(document, name_override, path),
        cluster,
        global_batch=training_part.global_batch,
        precision=training_part.precision,
        attention=training_part.attention,
        flops_convention=training_part.flops_convention,
        framework=training_part.framework,
        launch=training_part.launch,
    )


def _check_resolvable_name(preset_type: str, name: str, path: Path) -> None:
    """Raise InputError for a name that is not a preset: the document came from a file."""
    from planner.request.inputs import is_preset_name
    from planner.workload.from_size import looks_like_size

    if not is_preset_name(preset_type, name) and not (preset_type == "model" and looks_like_size(name)):
        expected = f"its file: --{preset_type} PATH"
        raise InputError(
            f"the document has only the name of this {preset_type}",
            origin=str(path),
            key=f"{preset_type}.name",
            value=name,
            expected=expected,
        )
