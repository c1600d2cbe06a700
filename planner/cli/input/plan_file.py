"""A plan document read back: its plans, and the model and the cluster that it has the names of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.question import Faults
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.model.cluster import Cluster
    from planner.cost.scenario import Training
    from planner.documents.plan import ClusterPart, Document
    from planner.workload.operator_list.spec import NetworkSpec
    from planner.workload.operators import Workload
    from planner.workload.spec import ModelSpec

PlanFile = Annotated[
    Path, typer.Argument(metavar="PLAN.json", help="What `plan` or `estimate` printed with --format json.")
]
Number = Annotated[int, typer.Option("--plan", min=1, help="Which of its plans.")]
ModelAgain = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="The model, where it was a file: the document has its name."),
]


@dataclass(frozen=True)
class Again:
    """What the document has no more of than a name, as the user gives it again."""

    model: ModelAgain = None
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", "-c", help="The cluster, where it was a file: the document has its name."),
    ] = None
    faults: Faults = None

    @property
    def files(self) -> tuple[tuple[str, str | None], ...]:
        """Where model and cluster are read from, if they are files, with the options that name them."""
        from planner.cli.io.files import of_model

        return *of_model("--model", self.model), ("--cluster", self.cluster)


def read_plan_document(path: Path, number: int) -> Document:
    """The plan document. Raises InputError where it is none, or has fewer plans."""
    from planner.cli.io.files import read_text
    from planner.decode import convert_to_type, parse_mapping
    from planner.documents.plan import SCHEMA_VERSION, Document

    raw = parse_mapping(read_text(path, (".json",), "what `plan --format json` printed"), "json", str(path))
    version = raw.get("schema_version")
    if "plans" not in raw or version != SCHEMA_VERSION:
        problem = "another version of the document" if "plans" in raw else "not a plan document"
        expected = f"what `plan --format json` prints today, version {SCHEMA_VERSION}"
        raise InputError(problem, origin=str(path), key="schema_version", value=str(version), expected=expected)
    document = convert_to_type(raw, Document, str(path))
    if number > len(document.plans):
        expected = f"from 1 to {len(document.plans)}"
        raise InputError("there are fewer plans", key="--plan", value=number, expected=expected)
    return document


def read_plan_cluster(document: Document, named: str | None, faults: tuple[str, ...], path: Path) -> Cluster:
    """The document's cluster, of its size. Raises InputError, for one of a file with what to add."""
    part = document.cluster
    if named is None:
        _is_known("cluster", part.name, path)
    found = _sized(named or part.name, part, faults)
    if (found.devices, found.accelerator.name) != (part.devices, part.accelerator):
        expected = f"{part.devices:,} {part.accelerator}, as {path} has it"
        value = f"{found.devices:,} {found.accelerator.name}"
        raise InputError("another cluster", key="--cluster", value=value, expected=expected)
    return found


def _sized(name: str, part: ClusterPart, faults: tuple[str, ...]) -> Cluster:
    """The cluster with as many devices as the document has: of a regular one, those that faults took beside them."""
    from planner.cli.input.inputs import read_cluster, read_cluster_spec
    from planner.cluster.wired.failed_parts import read_fault
    from planner.cluster.wired.hostlist import expand

    spec, _ = read_cluster_spec(name)
    told = [*(read_fault(text) for text in faults), *spec.faults]
    most = 0 if spec.hosts else sum(len(expand(one.part)) for one in told if one.rate == 0 and " - " not in one.part)
    found = None
    for lost in range(most + 1):
        try:
            found = read_cluster(name, None, part.devices + lost * part.devices_per_node, faults)
        except InputError:
            # a host that is named may be beyond those of a smaller cluster
            if lost == most:
                raise
        if found is not None and found.devices == part.devices:
            break
    assert found is not None
    return found


def read_plan_spec(document: Document, named: str | None, path: Path) -> ModelSpec | NetworkSpec:
    """The description of the document's model. Raises InputError for one of a file, with what to add."""
    from planner.cli.input.inputs import read_model_spec

    model = document.model
    if named is None:
        _is_known("model", model.name, path)
    return read_model_spec(named or model.name, model.seq_length if model.sample == "sequence" else None)[0]


def read_plan_model(document: Document, named: str | None, path: Path) -> Workload:
    """The document's model, of its sequence length. Raises InputError as `read_plan_spec`, and for another model."""
    from planner.cli.input.inputs import read_model

    model = document.model
    if named is None:
        _is_known("model", model.name, path)
    workload = read_model(named or model.name, model.seq_length if model.sample == "sequence" else None)
    if named is not None and workload.parameters != model.parameters:
        expected = f"{model.title}, {model.parameters:,} parameters, as {path} has it"
        value = f"{workload.title}, {workload.parameters:,} parameters"
        raise InputError("another model", key="--model", value=value, expected=expected)
    return workload


def read_plan_training(document: Document, named: str | None, cluster: Cluster, path: Path) -> Training:
    """The question that all plans of the document share, without their settings."""
    from planner.cost.scenario import training

    told = document.training
    return training(
        read_plan_model(document, named, path),
        cluster,
        global_batch=told.global_batch,
        precision=told.precision,
        attention=told.attention,
        flops_convention=told.flops_convention,
        framework=told.framework,
        launch=told.launch,
    )


def _is_known(what: str, name: str, path: Path) -> None:
    """Raises InputError for a name that only a file could explain."""
    from planner.cli.input.inputs import is_preset
    from planner.workload.from_size import looks_like_size

    if not is_preset(what, name) and not (what == "model" and looks_like_size(name)):
        expected = f"its file: --{what} PATH"
        raise InputError(
            f"the document has no more of this {what} than its name",
            origin=str(path),
            key=f"{what}.name",
            value=name,
            expected=expected,
        )
