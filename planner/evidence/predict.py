"""Predict measured runs: the figure that the source measured, and the peak memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from planner.cost.flops import compute_model_flops, compute_recomputed_flops
from planner.cost.memory.peak import compute_peak_memory_bytes, compute_stage_memory
from planner.cost.pipeline.stages import PlanTables, build_all_stage_plan_tables, build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import RECOMPUTE_MODES, Strategies
from planner.cost.uncertainty import compute_step_uncertainty
from planner.evidence.bind_run import BoundRun, bind_run
from planner.evidence.memory_kinds import find_omitted_categories
from planner.evidence.run_trainers import find_run_program
from planner.evidence.runs import MeasuredRun, RowError, SkippedRunPart
from planner.progress import track_steps
from planner.search.search import SearchTarget, search_plans
from planner.search.space import SEARCH_RULES
from planner.trainers.names import TrainerName

_MEMORY_TOLERANCE = 1.03
_OVER_MEMORY = "memory=the least, more than there is"
_BENCHMARK = "mlcommons/"
"""How sources begin that are logs of MLPerf, which the first rank writes."""


@dataclass(frozen=True)
class RunPrediction:
    """One run and its prediction; of memory what the run's kind of figure counts.

    `predicted_p10`, `predicted_p90`: the interval that 80 % of such runs lie in; `assumed_values`: the columns that
    the row leaves open, with the assumed values; `not_modelled`: what the row states and the prediction does not use;
    `scenario`, `plan`: what was predicted, under the trainer that stands for the row's.
    """

    run: MeasuredRun
    predicted: float
    predicted_p10: float
    predicted_p90: float
    step_time_s: float
    memory_predicted_gib: float
    assumed_values: tuple[str, ...]
    not_modelled: tuple[str, ...]
    scenario: Scenario
    plan: Strategies

    @property
    def trainer(self) -> TrainerName:
        """The trainer that stands for the row's."""
        return self.scenario.trainer.name

    @property
    def is_covered(self) -> bool:
        """Whether the measured figure lies within the interval."""
        return self.predicted_p10 <= self.run.value <= self.predicted_p90

    @property
    def measured_and_predicted(self) -> tuple[float, float]:
        """Measured and predicted, in the run's own metric."""
        return self.run.value, self.predicted

    @property
    def step_times_s(self) -> tuple[float, float]:
        """Measured and predicted seconds of a step."""
        ratio = self.run.value / self.predicted
        return self.step_time_s * (ratio if self.run.metric == "step_time_s" else 1 / ratio), self.step_time_s

    @property
    def error_pct(self) -> float:
        """Signed error of the predicted figure, in percent of the measured one."""
        return 100 * (self.predicted / self.run.value - 1)


def predict_run(run: MeasuredRun) -> RunPrediction:
    """The prediction of one run. Raises RowError."""
    bound_run, plan, assumed_values = _find_run(bind_run(run))
    scenario = bound_run.scenario
    tables = build_plan_tables(scenario, plan)
    step_costs = compute_step_costs(scenario, plan, tables)
    uncertainty = compute_step_uncertainty(scenario, plan, tables, step_costs)
    rank, assumed_rank = _find_measured_rank(run)
    memory_bytes = _compute_measured_memory_bytes(run, rank, scenario, plan, tables)
    if run.peak_memory_gib is not None:
        assumed_kind = ("memory_kind=reserved",) if run.memory_kind == "unknown" else ()
        assumed_values = (*assumed_values, *assumed_kind, *assumed_rank)
    step_time_s = float(step_costs.step_time_s[0])
    ends = (convert_step_time(run, scenario, float(end_s[0])) for end_s in (uncertainty.p10_s, uncertainty.p90_s))
    predicted_p10, predicted_p90 = sorted(ends)
    return RunPrediction(
        run=run,
        predicted=convert_step_time(run, scenario, step_time_s),
        predicted_p10=predicted_p10,
        predicted_p90=predicted_p90,
        step_time_s=step_time_s,
        memory_predicted_gib=memory_bytes / 2**30,
        assumed_values=assumed_values,
        not_modelled=bound_run.not_modelled,
        scenario=scenario,
        plan=plan,
    )


def _find_run(bound_run: BoundRun) -> tuple[BoundRun, Strategies, tuple[str, ...]]:
    """The run, its plan, and the assumed values. One that fits only where activations keep their input in 8 bit did
    so: sources seldom state it.
    """
    plan, assumed_values = find_run_plan(bound_run)
    scenario = bound_run.scenario
    is_over_memory = _OVER_MEMORY in assumed_values or not _fits(scenario, plan)
    if scenario.trainer.caches_narrow_weights and scenario.precision == "fp8" and is_over_memory:
        lean_run = replace(bound_run, scenario=replace(scenario, keeps_narrow_activation_inputs=True))
        lean_plan, lean_values = find_run_plan(lean_run)
        if _OVER_MEMORY not in lean_values and _fits(lean_run.scenario, lean_plan):
            return lean_run, lean_plan, (*lean_values, "activation_func_fp8_input_store=yes")
    return bound_run, plan, assumed_values


def _fits(scenario: Scenario, plan: Strategies) -> bool:
    """Whether one plan needs no more memory than a device has, without the tolerance of `find_run_plan`."""
    needed_bytes = sum(float(sizes[0]) for sizes in compute_peak_memory_bytes(scenario, plan).values())
    return needed_bytes <= scenario.accelerator.memory_bytes


def _find_measured_rank(run: MeasuredRun) -> tuple[str, tuple[str, ...]]:
    """The rank whose memory the run measured, and, where the row does not say it, the assumed value: the rank that
    writes the source's logs, else the fullest one.
    """
    stated = run.get_text("memory_rank")
    if stated:
        return stated, ()
    program = find_run_program(run)
    rank = "first" if run.source.startswith(_BENCHMARK) else program.logged_rank if program else "max"
    return rank, () if rank == "max" else (f"memory_rank={rank}",)


def _compute_measured_memory_bytes(
    run: MeasuredRun, rank: str, scenario: Scenario, plan: Strategies, tables: PlanTables
) -> float:
    """The peak of what the run measured, on the rank that it measured: of the fullest stage, of the first or the last
    one, or the mean of all.
    """
    omitted_categories = find_omitted_categories(run.memory_kind or "unknown")
    if rank in ("last", "mean"):
        tables = build_all_stage_plan_tables(scenario, plan)
    stage_bytes = compute_stage_memory(scenario, plan, tables).compute_stage_peaks_bytes(omitted_categories)[0]
    by_rank = {"first": stage_bytes[0], "last": stage_bytes[-1], "mean": stage_bytes.mean()}
    return float(by_rank.get(rank, stage_bytes.max()))


def predict_runs(runs: Collection[MeasuredRun]) -> tuple[list[RunPrediction], list[SkippedRunPart]]:
    """The predictions of all runs, and the runs that could not be bound, with the reasons."""
    predictions: list[RunPrediction] = []
    skipped: list[SkippedRunPart] = []
    for run in track_steps("predicting", runs):
        try:
            predictions.append(predict_run(run))
        except RowError as error:
            skipped.append(SkippedRunPart(id=run.id, line=run.line, reason=str(error)))
    return predictions, skipped


def find_run_plan(bound_run: BoundRun) -> tuple[Strategies, tuple[str, ...]]:
    """The plan of a run, and the assumed values.

    What the row leaves open is as the trainer's default where that fits; else as in the best plan that fits; where
    none does, as in the plan that needs the least memory: the run did fit, and the lean plan is the likelier one. It
    is a plan that the row's program runs, unless what the row states breaks a rule of it, which is said. Raises
    RowError where the run breaks a rule of all plans.
    """
    part = bound_run.scenario.accelerator
    # the run fitted, so plans that exceed the memory by no more than the error of the memory model are allowed
    scenario = replace(
        bound_run.scenario, accelerator=replace(part, memory_bytes=part.memory_bytes * _MEMORY_TOLERANCE)
    )
    spaces = [bound_run.default_space]
    if bound_run.space != bound_run.default_space:
        spaces.append(bound_run.space)
    ruled = replace(scenario, programs=bound_run.programs)
    for candidates in (ruled, scenario) if bound_run.programs and bound_run.unstated_columns else (scenario,):
        for space in spaces:
            result = search_plans(candidates, space, SearchTarget(top=1))
            if result.stats.feasible:
                break
        plan, is_over_memory = result.best, not result.stats.feasible
        if is_over_memory:
            plan = result.nearest_miss
        if len(plan):
            break
    else:
        violated_rules = [rule for rule in SEARCH_RULES if result.stats.rejected_by[rule]]
        raise RowError(
            f"no such plan: {', '.join(violated_rules) or 'tp x pp x cp x dp is not the number of devices'}"
        )
    row = plan.get_row(0)
    readable_values = {
        "recompute": RECOMPUTE_MODES[row["recompute"]],
        "seq_parallel": "yes" if row["sequence_parallel"] else "no",
        "sharding": f"zero{row['zero_stage']}" if row["zero_stage"] else "none",
    }
    assumed_values = [
        f"{column}={readable_values.get(column, row.get(column))}" for column in bound_run.unstated_columns
    ]
    assumed_values += bound_run.defaulted_settings
    if candidates is scenario and bound_run.programs and bound_run.unstated_columns:
        assumed_values.append(f"rules=none ({', '.join(bound_run.programs)}: no such plan)")
    return plan, (*assumed_values, *([_OVER_MEMORY] if is_over_memory else []))


def convert_step_time(run: MeasuredRun, scenario: Scenario, step_time_s: float) -> float:
    """A step time in seconds as the metric of the run, in its FLOPs convention."""
    tokens = scenario.global_batch * scenario.workload.seq_length
    if run.metric == "step_time_s":
        return step_time_s
    if run.metric == "tokens_per_s_per_device":
        return tokens / step_time_s / scenario.devices
    flops = compute_model_flops(scenario.workload, scenario.global_batch, "full")
    if "recomputation" in run.flops_convention:
        flops += compute_recomputed_flops(scenario, "full")[2]
    return flops / step_time_s / scenario.devices / 1e12
