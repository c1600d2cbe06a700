"""`planner explain`: why a plan's step is as long as it is, from the plan document that `plan` printed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.input.plan_file import (
    Again,
    Number,
    PlanFile,
    read_plan_cluster,
    read_plan_document,
    read_plan_training,
)
from planner.cli.options.grouped import grouped
from planner.cli.options.question import Files, Form, Output
from planner.cli.options.techniques import Chosen, applied
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.model.cluster import Cluster
    from planner.cost.scenario import Training
    from planner.documents.plan import Document, PlanPart


class Ranks(StrEnum):
    """Whose work a trace draws."""

    STAGES = "stages"
    ALL = "all"


@dataclass(frozen=True)
class Trace:
    """Where a step is drawn for Perfetto, and whose work."""

    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace", help="Also write one step as a trace for Perfetto or Chrome, a file ending in .json."
        ),
    ] = None
    ranks: Annotated[
        Ranks, typer.Option("--ranks", case_sensitive=False, help="Of the trace: one process a stage, or all ranks.")
    ] = Ranks.STAGES


@grouped
def explain(
    plan_file: PlanFile,
    *,
    number: Number = 1,
    form: Form = Output.TABLE,
    files: Files = None,
    traced: Trace,
    again: Again,
    techniques: Chosen,
) -> None:
    """Tell why a plan's step takes as long as it does.

    It goes from the ideal to the step, loss by loss.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 16 --global-batch 512 --format json > plan.json
      planner explain plan.json
      planner explain plan.json --plan 2 -o why.html --trace step.json
    """
    from planner.cli.io.files import check_ending
    from planner.cli.io.output import check_files, tell
    from planner.studies.explain import check_same, explained

    check_ending(traced.trace, (".json",))
    read = [("PLAN", plan_file), *again.files, *techniques.files]
    wanted = check_files(files, beside=[("--trace", traced.trace)], read=read)
    document = read_plan_document(plan_file, number)
    training, found = _asked(document, number, again, techniques, plan_file)
    told = explained(training, found, document, number, check_same(training, document, number, str(plan_file)))
    if traced.trace is not None:
        _write_trace(traced.trace, training, document.plans[number - 1], traced.ranks)

    def text() -> str:
        from planner.report.views.explain_text import explain_text

        return explain_text(told)

    tell(told, form.value, wanted, text)


def _asked(
    document: Document, number: int, again: Again, techniques: Chosen, plan_file: Path
) -> tuple[Training, Cluster]:
    """The question that this plan answers, with its settings, and its cluster. Raises InputError."""
    from planner.studies.explain import question_of

    cluster = read_plan_cluster(document, again.cluster, tuple(again.faults or ()), plan_file)
    asked = applied(read_plan_training(document, again.model, cluster, plan_file), techniques)
    try:
        return question_of(asked, cluster, document, document.plans[number - 1]), cluster
    except InputError as error:
        key = error.key if error.key.startswith(("--", "placement")) else f"plans[{number - 1}].{error.key}"
        raise error.relocate(str(plan_file), key) from None


def _write_trace(path: Path, training: Training, plan: PlanPart, ranks: Ranks) -> None:
    """Write one step of a plan for Perfetto, with a warning where not all of it is drawn."""
    from planner.cli.io.files import write_file
    from planner.cli.io.output import warn
    from planner.report.formats.trace import traced_step

    found = traced_step(training, plan, all_ranks=ranks is Ranks.ALL)
    write_file(path, found.text)
    if found.note:
        warn(f"{path}: {found.note}")
