"""`planner explain`: the causes of a plan's step time, from the document that `plan` printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from planner.cli.input import plan_file as plan_files
from planner.cli.io.files import write_file_atomically
from planner.cli.io.output import DocumentOutput
from planner.cli.lazy import import_lazily
from planner.cli.options.command import OptionValues, declare_command
from planner.cli.options.output import (
    CLUSTER_OVERRIDE,
    DOCUMENT_OPTIONS,
    MODEL_OVERRIDE,
    PLAN_FILE,
    PLAN_NUMBER,
    declare_choice,
)
from planner.errors import InputError
from planner.request.notices import warn
from planner.request.options import Completion, Option
from planner.request.values import parse_text

with import_lazily():
    from planner.cluster.model import cluster as clusters
    from planner.cost import scenario as scenarios
    from planner.documents import explain as explain_documents
    from planner.documents import plan
    from planner.evidence import training_log
    from planner.report.formats import trace as step_traces
    from planner.request import files, plan_request, resolve
    from planner.studies import explain as explain_study
    from planner.studies import suspects


@declare_command(
    PLAN_FILE,
    PLAN_NUMBER,
    MODEL_OVERRIDE,
    CLUSTER_OVERRIDE,
    Option(
        "measured", "Plan",
        "What a run of the plan measured, to explain the difference: a step time (14.2s), or an MFU (38%) against "
        "the peak of its precision.",
        parse_text, metavar="TIME|MFU",
    ),
    Option(
        "log", "Plan",
        "The log of a run of the plan, in place of --measured: the steady time of its iterations, of Megatron-LM, "
        "Megatron-Bridge, NeMo, torchtitan, MaxText or nanotron.",
        is_path=True, completion=Completion(endings=()),
    ),
    *DOCUMENT_OPTIONS,
    Option(
        "trace", "Output", "Also write a step as a trace for Perfetto or Chrome, a file ending in .json.",
        is_path=True, in_answer=False, completion=Completion(endings=(".json",)),
    ),
    declare_choice(
        "ranks", "Output", "Processes in the trace: one per stage, or all ranks.", "stages", "all", default="stages"
    ),
    request="explain",
)  # fmt: skip
def explain(
    values: OptionValues,
    plan_file: Path,
    number: int,
    model: str | None,
    cluster: str | None,
    measured: str | None,
    log: Path | None,
    output: DocumentOutput,
    trace: Path | None,
    ranks: str,
) -> None:
    """Show why a plan's step takes as long as it does.

    The waterfall goes from the ideal step time to the predicted one, loss by loss.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 16 --global-batch 512 --format json > plan.json
      planner explain plan.json
      planner explain plan.json --plan 2 -o why.html --trace step.json
      planner explain plan.json --measured 38%
      planner explain plan.json --log train.log
    """
    if measured is not None and log is not None:
        raise InputError("conflicting options", key="--measured, --log", expected="one of the two")
    techniques = plan_request.parse_option_values(values, "explain")
    faults = cast("tuple[str, ...]", techniques.pop("fault", ()))
    document = plan_files.read_plan_document(plan_file, number)
    plan_cluster = plan_files.read_plan_cluster(document, cluster, faults, plan_file)
    scenario = plan_files.read_plan_scenario(document, model, plan_cluster, plan_file)
    scenario = _build_scenario(document, number, scenario, plan_cluster, techniques, plan_file)
    scored = explain_study.score_unchanged_plan(scenario, document, number, str(plan_file))
    explain_document = explain_study.explain_plan(scenario, plan_cluster, document, number, scored)
    if measured is not None or log is not None:
        step = _read_log(log, scenario) if log is not None else suspects.parse_measured(str(measured), scenario)
        strategies = explain_study.build_plan_strategies(document.plans[number - 1])
        explain_document = suspects.add_measured_step(scenario, strategies, explain_document, step)
    if trace is not None:
        step_trace = step_traces.build_step_trace(scenario, document.plans[number - 1], all_ranks=ranks == "all")
        write_file_atomically(trace, step_trace.text)
        if step_trace.note:
            warn(f"{trace}: {step_trace.note}")
    output.write(explain_document)


def _build_scenario(
    document: plan.PlanDocument,
    number: int,
    scenario: scenarios.Scenario,
    cluster: clusters.Cluster,
    techniques: dict[str, Any],
    plan_file: Path,
) -> scenarios.Scenario:
    """The scenario of this plan, with its techniques and settings. Raises InputError."""
    scenario = resolve.apply_techniques(scenario, **techniques)
    try:
        return explain_study.build_plan_scenario(scenario, cluster, document, document.plans[number - 1])
    except InputError as error:
        key = error.key if error.key.startswith(("--", "placement")) else f"plans[{number - 1}].{error.key}"
        raise error.relocate(str(plan_file), key) from None


def _read_log(path: Path, scenario: scenarios.Scenario) -> suspects.MeasuredStep:
    """The steady step of a trainer's log, which may be of gigabytes. Raises InputError."""
    tokens_per_step = scenario.global_batch * scenario.workload.seq_length
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            steady = training_log.find_steady_steps(
                lines, str(path), tokens_per_step=tokens_per_step, devices=scenario.devices
            )
    except OSError as error:
        problem = f"cannot be read: {files.format_os_reason(error)}"
        raise InputError(problem, origin=str(path), key="--log", expected="the log of a trainer") from None
    if steady.global_batch not in (None, scenario.global_batch):
        warn(
            f"{path}: the iterations have {steady.global_batch:,} sequences, the plan {scenario.global_batch:,}: "
            "the times are not of this plan"
        )
    part = explain_documents.LoggedStepsPart(
        trainer=steady.trainer,
        used=steady.used,
        left_out=steady.left_out,
        first_step=steady.first_step,
        last_step=steady.last_step,
        step_time_p10_s=steady.step_time_p10_s,
        step_time_p90_s=steady.step_time_p90_s,
    )
    return suspects.MeasuredStep(path.name, steady.step_time_s, part)
