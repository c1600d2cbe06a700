"""`planner explain`: the causes of a plan's step time, from the document that `plan` printed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from planner.cli.input.plan_file import (
    ClusterOverrideOption,
    ModelOverrideOption,
    PlanFileArgument,
    PlanFileOverrides,
    PlanNumberOption,
    read_plan_cluster,
    read_plan_document,
    read_plan_scenario,
)
from planner.cli.options.output import FilesOption, FormatOption, OutputFormat
from planner.cli.options.parameters import OptionValues, take_options
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.model.cluster import Cluster
    from planner.cost.scenario import Scenario
    from planner.documents.plan import PlanDocument, PlanPart


class TraceRanks(StrEnum):
    """The ranks in a trace."""

    STAGES = "stages"
    ALL = "all"


TraceOption = Annotated[
    Path | None,
    typer.Option("--trace", help="Also write a step as a trace for Perfetto or Chrome, a file ending in .json."),
]
RanksOption = Annotated[
    TraceRanks,
    typer.Option("--ranks", case_sensitive=False, help="Processes in the trace: one per stage, or all ranks."),
]


@take_options("explain")
def explain(
    values: OptionValues,
    plan_file: PlanFileArgument,
    number: PlanNumberOption = 1,
    form: FormatOption = OutputFormat.TABLE,
    files: FilesOption = None,
    trace: TraceOption = None,
    ranks: RanksOption = TraceRanks.STAGES,
    model: ModelOverrideOption = None,
    cluster: ClusterOverrideOption = None,
) -> None:
    """Show why a plan's step takes as long as it does.

    The waterfall goes from the ideal step time to the predicted one, loss by loss.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 16 --global-batch 512 --format json > plan.json
      planner explain plan.json
      planner explain plan.json --plan 2 -o why.html --trace step.json
    """
    from planner.cli.io.files import check_suffix
    from planner.cli.io.output import check_output_files, write_document
    from planner.request.files import list_model_files
    from planner.request.plan_request import parse_option_values
    from planner.studies.explain import check_plan_unchanged, explain_plan

    check_suffix(trace, (".json",))
    options = parse_option_values(values, "explain")
    overrides = PlanFileOverrides(model, cluster, cast("tuple[str, ...]", options.pop("fault", ())))
    teacher_files = list_model_files("--distil", cast("str | None", options.get("distil")))
    input_files = [("PLAN", plan_file), *overrides.input_files, *teacher_files]
    output_files = check_output_files(files, other_outputs=[("--trace", trace)], input_files=input_files)
    document = read_plan_document(plan_file, number)
    scenario, scenario_cluster = _read_plan_scenario_and_cluster(document, number, overrides, options, plan_file)
    explain_document = explain_plan(
        scenario, scenario_cluster, document, number, check_plan_unchanged(scenario, document, number, str(plan_file))
    )
    if trace is not None:
        _write_step_trace(trace, scenario, document.plans[number - 1], ranks)

    write_document(explain_document, form.value, output_files)


def _read_plan_scenario_and_cluster(
    document: PlanDocument, number: int, overrides: PlanFileOverrides, techniques: dict[str, object], plan_file: Path
) -> tuple[Scenario, Cluster]:
    """The scenario of this plan, with its settings, and its cluster. Raises InputError."""
    from planner.request.resolve import apply_techniques
    from planner.studies.explain import build_plan_scenario

    cluster = read_plan_cluster(document, overrides.cluster, overrides.faults, plan_file)
    scenario = read_plan_scenario(document, overrides.model, cluster, plan_file)
    scenario = apply_techniques(scenario, **techniques)  # type: ignore[arg-type]
    try:
        return build_plan_scenario(scenario, cluster, document, document.plans[number - 1]), cluster
    except InputError as error:
        key = error.key if error.key.startswith(("--", "placement")) else f"plans[{number - 1}].{error.key}"
        raise error.relocate(str(plan_file), key) from None


def _write_step_trace(path: Path, scenario: Scenario, plan: PlanPart, ranks: TraceRanks) -> None:
    """Write a step of a plan for Perfetto, with a warning where the trace is incomplete."""
    from planner.cli.io.files import write_file_atomically
    from planner.report.formats.trace import build_step_trace
    from planner.request.notices import warn

    step_trace = build_step_trace(scenario, plan, all_ranks=ranks is TraceRanks.ALL)
    write_file_atomically(path, step_trace.text)
    if step_trace.note:
        warn(f"{path}: {step_trace.note}")
