"""Predict measured runs: the figure that the source measured, and the peak memory."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from planner.cost.flops import model_flops, recomputed_flops
from planner.cost.memory import memory_of
from planner.cost.scenario import Training
from planner.cost.step import score
from planner.cost.strategies import RECOMPUTE, Strategies
from planner.evidence.bind_run import Question, bind
from planner.evidence.runs import RowError, Run, Skipped
from planner.progress import steps
from planner.search.search import Wanted, search
from planner.search.space import RULES

_MEMORY_ERROR = 1.03


@dataclass(frozen=True)
class Prediction:
    """One row beside its prediction. `filled` names what the row left open, with what was taken."""

    run: Run
    predicted: float
    step_time_s: float
    memory_predicted_gib: float
    filled: tuple[str, ...]

    @property
    def figures(self) -> tuple[float, float]:
        """Measured and predicted, in the run's own metric."""
        return self.run.value, self.predicted

    @property
    def step_times_s(self) -> tuple[float, float]:
        """Measured and predicted seconds of a step."""
        ratio = self.run.value / self.predicted
        return self.step_time_s * (ratio if self.run.metric == "step_time_s" else 1 / ratio), self.step_time_s

    @property
    def error_pct(self) -> float:
        """Signed error of the figure, in percent of the measured one."""
        return 100 * (self.predicted / self.run.value - 1)


def predict(run: Run) -> Prediction:
    """The prediction of one row; what it leaves open is the best plan that fits. Raises RowError."""
    question = bind(run)
    plan, filled = chosen_plan(question)
    training = question.training
    step = float(score(training, plan).step_time_s[0])
    return Prediction(run, figure(run, training, plan), step, _memory_gib(training, plan), filled)


def predict_all(runs: Collection[Run]) -> tuple[list[Prediction], list[Skipped]]:
    """The predictions of a table, and the rows that could not be bound, with the reason."""
    predictions: list[Prediction] = []
    skipped: list[Skipped] = []
    for run in steps("predicting", runs):
        try:
            predictions.append(predict(run))
        except RowError as error:
            skipped.append(Skipped(run.id, run.line, str(error)))
    return predictions, skipped


def chosen_plan(question: Question) -> tuple[Strategies, tuple[str, ...]]:
    """The plan of a question and what was filled. Raises RowError where the row breaks a rule."""
    part = question.training.accelerator
    # it ran, so it fitted: a plan that is over by no more than the memory model's own error is not ruled out
    near = replace(question.training, accelerator=replace(part, memory_bytes=part.memory_bytes * _MEMORY_ERROR))
    found = search(near, question.space, Wanted(top=1))
    filled = question.filled
    if not found.tally.feasible and found.tally.cut_by["memory"]:
        # take the row's word over the memory model's, and say so
        boundless = replace(question.training.accelerator, memory_bytes=float("inf"))
        found = search(replace(question.training, accelerator=boundless), question.space, Wanted(top=1))
        filled = (*filled, "memory")
    if not found.tally.feasible:
        cut = [rule for rule in RULES if found.tally.cut_by[rule]]
        raise RowError(f"no such plan: {', '.join(cut) or 'tp x pp x cp x dp is not the number of devices'}")
    row = found.best.row(0)
    told = {"recompute": RECOMPUTE[row["recompute"]], "seq_parallel": row["sequence_parallel"]}
    named = tuple(f"{column}={told.get(column, row.get(column, 'assumed'))}" for column in filled)
    return found.best, named


def figure(run: Run, training: Training, plan: Strategies) -> float:
    """The predicted step in the row's own metric and convention."""
    step = float(score(training, plan).step_time_s[0])
    tokens = training.global_batch * training.workload.seq_length
    if run.metric == "step_time_s":
        return step
    if run.metric == "tokens_per_s_per_device":
        return tokens / step / training.devices
    flops = model_flops(training.workload, training.global_batch, "full")
    if "recomputation" in run.flops_convention:
        flops += recomputed_flops(training, "full")[2]
    return flops / step / training.devices / 1e12


def _memory_gib(training: Training, plan: Strategies) -> float:
    # what a framework measures is what its allocator holds: the reserve for driver and libraries is not in it
    held = math.fsum(float(part[0]) for part in memory_of(training, plan).values())
    return (held - training.reserve_bytes) / 2**30
