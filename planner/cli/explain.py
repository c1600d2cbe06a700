"""`planner explain`: why a plan's step is as long as it is, from the plan document that `plan` printed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.grouped import grouped
from planner.cli.question import Faults, Form, Output
from planner.cli.techniques import Chosen, applied
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.cluster import Cluster
    from planner.cost.training import Training
    from planner.search.document import ClusterPart, Document

_ENDINGS = (".html", ".json")


class Ranks(StrEnum):
    """Whose work a trace draws."""

    STAGES = "stages"
    ALL = "all"


PlanFile = Annotated[
    Path, typer.Argument(metavar="PLAN.json", help="What `plan` or `estimate` printed with --format json.")
]
Number = Annotated[int, typer.Option("--plan", min=1, help="Which of its plans.")]
Files = Annotated[
    list[Path] | None,
    typer.Option("--output", "-o", help="Also write a file: .html or .json. May be given several times."),
]
Trace = Annotated[
    Path | None,
    typer.Option("--trace", help="Also write one step as a trace for Perfetto or Chrome, a file ending in .json."),
]
TraceRanks = Annotated[
    Ranks, typer.Option("--ranks", case_sensitive=False, help="Of the trace: one process a stage, or all ranks.")
]
ModelAgain = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="The model, where it was a file: the document has its name."),
]
ClusterAgain = Annotated[
    str | None, typer.Option("--cluster", "-c", help="The cluster, where it was a file: the document has its name.")
]


@grouped
def explain(
    plan_file: PlanFile,
    *,
    number: Number = 1,
    form: Form = Output.TABLE,
    files: Files = None,
    trace: Trace = None,
    ranks: TraceRanks = Ranks.STAGES,
    model: ModelAgain = None,
    cluster: ClusterAgain = None,
    faults: Faults = None,
    techniques: Chosen,
) -> None:
    """Tell why a plan's step is as long as it is: from the ideal to the step, loss by loss.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 16 --global-batch 512 --format json > plan.json
      planner explain plan.json
      planner explain plan.json --plan 2 -o why.html --trace step.json
    """
    from planner.cli.files import check_distinct, check_ending, write_file
    from planner.cli.output import warn, write
    from planner.report.machine import to_json
    from planner.search.explain import check_same, explained, question_of

    wanted = files or []
    for path in wanted:
        if path.suffix.casefold() not in _ENDINGS:
            expected = f"a file ending in {', '.join(_ENDINGS)}"
            raise InputError("unknown file format", key="--output", value=str(path), expected=expected)
    check_ending(trace, (".json",))
    check_distinct(
        [*(("--output", path) for path in wanted), ("--trace", trace)], [("PLAN", plan_file), ("--model", model)]
    )
    document = _document(plan_file, number)
    found = _cluster(document, cluster, tuple(faults or ()), plan_file)
    asked = applied(_training(document, model, found, plan_file), techniques)
    try:
        training = question_of(asked, found, document, document.plans[number - 1])
    except InputError as error:
        key = error.key if error.key.startswith(("--", "placement")) else f"plans[{number - 1}].{error.key}"
        raise error.elsewhere(str(plan_file), key) from None
    told = explained(training, found, document, number, check_same(training, document, number, str(plan_file)))
    traced = None
    if trace is not None:
        from planner.report.trace import traced_step

        traced = traced_step(training, document.plans[number - 1], all_ranks=ranks is Ranks.ALL)
    for path in wanted:
        if path.suffix.casefold() == ".html":
            from planner.report.explain_html import page

            write_file(path, page(told))
        else:
            write_file(path, to_json(told))
    if trace is not None and traced is not None:
        write_file(trace, traced.text)
        if traced.note:
            warn(f"{trace}: {traced.note}")
    if form is Output.JSON:
        write(to_json(told))
    else:
        from planner.report.explain import explain_text

        write(explain_text(told))


def _document(path: Path, number: int) -> Document:
    """The plan document. Raises InputError where it is none, or has fewer plans."""
    from planner.cli.files import read_text
    from planner.decode import converted, parse
    from planner.search.document import SCHEMA_VERSION, Document

    raw = parse(read_text(path, (".json",), "what `plan --format json` printed"), "json", str(path))
    version = raw.get("schema_version")
    if "plans" not in raw or version != SCHEMA_VERSION:
        problem = "another version of the document" if "plans" in raw else "not a plan document"
        expected = f"what `plan --format json` prints today, version {SCHEMA_VERSION}"
        raise InputError(problem, origin=str(path), key="schema_version", value=str(version), expected=expected)
    document = converted(raw, Document, str(path))
    if number > len(document.plans):
        expected = f"from 1 to {len(document.plans)}"
        raise InputError("there are fewer plans", key="--plan", value=number, expected=expected)
    return document


def _cluster(document: Document, named: str | None, faults: tuple[str, ...], path: Path) -> Cluster:
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
    from planner.cli.inputs import read_cluster, read_cluster_spec
    from planner.cluster.faults import read_fault
    from planner.cluster.hostlist import expand

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


def _training(document: Document, named: str | None, cluster: Cluster, path: Path) -> Training:
    """The question that all plans of the document share, without their settings."""
    from planner.cli.inputs import read_model
    from planner.cost.training import training

    model, told = document.model, document.training
    if named is None:
        _is_known("model", model.name, path)
    workload = read_model(named or model.name, model.seq_length if model.sample == "sequence" else None)
    if named is not None and workload.parameters != model.parameters:
        expected = f"{model.title}, {model.parameters:,} parameters, as {path} has it"
        value = f"{workload.title}, {workload.parameters:,} parameters"
        raise InputError("another model", key="--model", value=value, expected=expected)
    return training(
        workload,
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
    from planner.cluster import database
    from planner.workload.presets import preset_names
    from planner.workload.size import looks_like_size

    if what == "cluster":
        known = name in database.names("clusters")
    else:
        known = name in preset_names() or looks_like_size(name)
    if not known:
        expected = f"its file: --{what} PATH"
        raise InputError(
            f"the document has no more of this {what} than its name",
            origin=str(path),
            key=f"{what}.name",
            value=name,
            expected=expected,
        )
