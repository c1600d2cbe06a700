"""Reads a plan document: its plans, and the model and the cluster that it names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from planner.cli.lazy import import_lazily
from planner.errors import InputError
from planner.request.files import read_text_file

with import_lazily():
    from planner import decode
    from planner.cluster.model import cluster as clusters
    from planner.cluster.wired import failed_parts, hostlist
    from planner.cost import scenario as scenarios
    from planner.documents import plan
    from planner.request import inputs
    from planner.workload import from_size, operators, spec
    from planner.workload.operator_list import spec as operator_list_spec


def read_plan_document(path: Path, number: int) -> plan.PlanDocument:
    """The plan document. Raises InputError for another document, or for too few plans."""
    raw = decode.parse_mapping(
        read_text_file(path, (".json",), "the output of `plan --format json`"), "json", str(path)
    )
    version = raw.get("schema_version")
    if "plans" not in raw or version != plan.SCHEMA_VERSION:
        problem = "unsupported version of the document" if "plans" in raw else "not a plan document"
        expected = f"the output of this version's `plan --format json`, version {plan.SCHEMA_VERSION}"
        raise InputError(problem, origin=str(path), key="schema_version", value=str(version), expected=expected)
    document = decode.convert_to_type(raw, plan.PlanDocument, str(path))
    if number > len(document.plans):
        expected = f"from 1 to {len(document.plans)}"
        raise InputError("the document has fewer plans", key="--plan", value=number, expected=expected)
    return document


def read_plan_cluster(
    document: plan.PlanDocument, name_override: str | None, fault_texts: tuple[str, ...], path: Path
) -> clusters.Cluster:
    """The document's cluster, of its size. Raises InputError; for a file's cluster it names the missing option."""
    part = document.cluster
    if name_override is None:
        _check_resolvable_name("cluster", part.name, path)
    try:
        cluster = _resolve_sized_cluster(name_override or part.name, part, fault_texts)
    except InputError as error:
        # the document has the size, no option
        if error.key not in ("--nodes", "--devices"):
            raise
        raise InputError(
            error.problem, origin=str(path), key="cluster.devices", value=part.devices, expected=error.expected
        ) from None
    if (cluster.devices, cluster.accelerator.name) != (part.devices, part.accelerator):
        expected = f"{part.devices:,} {part.accelerator}, as in {path}"
        value = f"{cluster.devices:,} {cluster.accelerator.name}"
        raise InputError("another cluster", key="--cluster", value=value, expected=expected)
    return cluster


def _resolve_sized_cluster(name: str, part: plan.ClusterPart, fault_texts: tuple[str, ...]) -> clusters.Cluster:
    """The cluster with the document's number of devices; on a regular cluster, failed devices are added to them."""
    cluster_spec, _ = inputs.read_cluster_spec(name)
    all_parts = [*(failed_parts.parse_failed_part(text) for text in fault_texts), *cluster_spec.failed_parts]
    max_lost_nodes = (
        0
        if cluster_spec.hosts
        else sum(
            len(hostlist.expand_hostlist(lost_part.part))
            for lost_part in all_parts
            if lost_part.rate == 0 and " - " not in lost_part.part
        )
    )
    cluster = None
    for lost_nodes in range(max_lost_nodes + 1):
        try:
            cluster = inputs.read_cluster(name, None, part.devices + lost_nodes * part.devices_per_node, fault_texts)
        except InputError:
            # a named host may not exist in a smaller cluster
            if lost_nodes == max_lost_nodes:
                raise
        if cluster is not None and cluster.devices == part.devices:
            break
    assert cluster is not None
    return cluster


def read_plan_model_spec(
    document: plan.PlanDocument, name_override: str | None, path: Path
) -> spec.ModelSpec | operator_list_spec.OperatorListSpec:
    """The description of the document's model. Raises InputError; for a file's model it names the missing option."""
    model = document.model
    if name_override is None:
        _check_resolvable_name("model", model.name, path)
    seq_length = model.seq_length if model.sample == "sequence" else None
    return inputs.read_model_spec(name_override or model.name, seq_length, model.mtp_layers)[0]


def read_plan_model(document: plan.PlanDocument, name_override: str | None, path: Path) -> operators.Workload:
    """The document's model, of its sequence length. Raises InputError as `read_plan_model_spec`, and for another
    model.
    """
    model = document.model
    if name_override is None:
        _check_resolvable_name("model", model.name, path)
    seq_length = model.seq_length if model.sample == "sequence" else None
    workload = inputs.read_model(name_override or model.name, seq_length, model.mtp_layers)
    if name_override is not None and workload.parameters != model.parameters:
        expected = f"{model.title}, {model.parameters:,} parameters, as in {path}"
        value = f"{workload.title}, {workload.parameters:,} parameters"
        raise InputError("another model", key="--model", value=value, expected=expected)
    return workload


def read_plan_scenario(
    document: plan.PlanDocument, name_override: str | None, cluster: clusters.Cluster, path: Path
) -> scenarios.Scenario:
    """The scenario that all plans of the document share, without their settings."""
    training_part = document.scenario
    limit_bytes = training_part.memory_limit_bytes
    scenario = scenarios.build_scenario(
        read_plan_model(document, name_override, path),
        cluster,
        global_batch=training_part.global_batch,
        precision=training_part.precision,
        attention=training_part.attention,
        flops_convention=training_part.flops_convention,
        framework=training_part.framework,
        trainer_version=training_part.trainer or "",
        launch=training_part.launch,
    )
    limit = None if limit_bytes is None else scenarios.MemoryLimit(limit_bytes=limit_bytes)
    return replace(scenario, memory_limit=limit)


def _check_resolvable_name(preset_type: str, name: str, path: Path) -> None:
    """Raise InputError for a name that is not a preset: the document came from a file."""
    if not inputs.is_preset_name(preset_type, name) and not (
        preset_type == "model" and from_size.looks_like_size(name)
    ):
        expected = f"its file: --{preset_type} PATH"
        raise InputError(
            f"the document has only the name of this {preset_type}",
            origin=str(path),
            key=f"{preset_type}.name",
            value=name,
            expected=expected,
        )
