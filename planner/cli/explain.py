"""`planner explain`: why a plan's step is as long as it is, from the plan document that `plan` printed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.grouped import grouped
from planner.cli.plan_file import (
    ClusterAgain,
    ModelAgain,
    Number,
    PlanFile,
    read_plan_cluster,
    read_plan_document,
    read_plan_training,
)
from planner.cli.question import Faults, Files, Form, Output
from planner.cli.techniques import Chosen, applied
from planner.errors import InputError


class Ranks(StrEnum):
    """Whose work a trace draws."""

    STAGES = "stages"
    ALL = "all"


Trace = Annotated[
    Path | None,
    typer.Option("--trace", help="Also write one step as a trace for Perfetto or Chrome, a file ending in .json."),
]
TraceRanks = Annotated[
    Ranks, typer.Option("--ranks", case_sensitive=False, help="Of the trace: one process a stage, or all ranks.")
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
    from planner.cli.files import check_ending, write_file
    from planner.cli.output import check_files, tell, warn
    from planner.search.explain import check_same, explained, question_of

    check_ending(trace, (".json",))
    wanted = check_files(files, beside=[("--trace", trace)], read=[("PLAN", plan_file), ("--model", model)])
    document = read_plan_document(plan_file, number)
    plan = document.plans[number - 1]
    found = read_plan_cluster(document, cluster, tuple(faults or ()), plan_file)
    asked = applied(read_plan_training(document, model, found, plan_file), techniques)
    try:
        training = question_of(asked, found, document, plan)
    except InputError as error:
        key = error.key if error.key.startswith(("--", "placement")) else f"plans[{number - 1}].{error.key}"
        raise error.elsewhere(str(plan_file), key) from None
    told = explained(training, found, document, number, check_same(training, document, number, str(plan_file)))
    traced = None
    if trace is not None:
        from planner.report.trace import traced_step

        traced = traced_step(training, plan, all_ranks=ranks is Ranks.ALL)
    if trace is not None and traced is not None:
        write_file(trace, traced.text)
        if traced.note:
            warn(f"{trace}: {traced.note}")

    def text() -> str:
        from planner.report.explain import explain_text

        return explain_text(told)

    tell(told, form.value, wanted, text)
