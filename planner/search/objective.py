"""Objectives of the search: figures of merit, smaller is better, each with a lower bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from planner.cost.arrays import Floats
from planner.cost.operations.energy import compute_least_energy_j
from planner.cost.scenario import Scenario
from planner.errors import InputError

ObjectiveName = Literal["step-time", "tokens-per-s-per-device", "cost", "energy", "memory-headroom"]


@dataclass(frozen=True)
class Objective:
    """A figure of merit. Arrays of shape [plans] in and out.

    `critical_batch_tokens`: with B tokens a step, a loss that takes E tokens in very small batches takes
    E (1 + B / critical) (McCandlish et al. 2018, arXiv 1812.06162, equations 2.11 and 2.12); 0: never more.
    `has_several_batches`: plans with different batch sizes compete, so that times are compared per token.
    """

    name: ObjectiveName = "step-time"
    critical_batch_tokens: float = 0.0
    has_several_batches: bool = False

    def compute_value(
        self, scenario: Scenario, step_time_s: Floats, get_energy_j: Callable[[], Floats], total_bytes: Floats
    ) -> Floats:
        """The figure of each plan; `get_energy_j()` (joules per step) is called only where it is needed."""
        if self.name == "memory-headroom":
            return total_bytes - scenario.accelerator.memory_bytes
        return self._compute_per_token(scenario, step_time_s, get_energy_j)

    def compute_bound(self, scenario: Scenario, step_time_s: Floats, get_least_bytes: Callable[[], Floats]) -> Floats:
        """A lower bound of the figure, from lower bounds of step time and memory.

        Every figure increases with its arguments: time and cost directly, energy as `compute_least_energy_j` proves.
        """
        if self.name == "memory-headroom":
            return get_least_bytes() - scenario.accelerator.memory_bytes
        return self._compute_per_token(scenario, step_time_s, lambda: compute_least_energy_j(scenario, step_time_s))

    def _compute_per_token(
        self, scenario: Scenario, step_time_s: Floats, get_energy_j: Callable[[], Floats]
    ) -> Floats:
        """Per effective token: seconds, device-seconds, dollars or joules."""
        if self.name in ("step-time", "tokens-per-s-per-device") and not self.has_several_batches:
            return step_time_s
        tokens = scenario.global_batch * scenario.workload.seq_length
        effective_token_count = compute_effective_tokens(tokens, self.critical_batch_tokens)
        if self.name == "cost":
            return step_time_s * (scenario.devices * scenario.usd_per_device_hour / 3600 / effective_token_count)
        if self.name == "energy":
            return get_energy_j() / effective_token_count
        if self.name == "tokens-per-s-per-device":
            return step_time_s * (scenario.devices / effective_token_count)
        return step_time_s / effective_token_count


def compute_effective_tokens(tokens: float, critical_batch_tokens: float) -> float:
    """Tokens of very small batches that have the same effect on the loss as a step's tokens; see `Objective`."""
    return tokens / (1.0 + tokens / critical_batch_tokens) if critical_batch_tokens else float(tokens)


def compute_mean_critical_batch(points: Sequence[tuple[float, float]], tokens: float) -> float:
    """Mean critical batch size of a run of `tokens`; `points`: (tokens trained, critical batch size from there on).

    At a fixed batch B every token counts for 1 + B / critical of them, so that 1 / critical is averaged.
    """
    stops = [start for start, _ in points[1:]] + [tokens]
    segments_tokens = [max(min(stop, tokens) - start, 0.0) for (start, _), stop in zip(points, stops, strict=True)]
    return tokens / math.fsum(
        segment_tokens / critical for segment_tokens, (_, critical) in zip(segments_tokens, points, strict=True)
    )


def check_objectives_known(objectives: tuple[Objective, ...], scenario: Scenario) -> None:
    """Raise InputError where an objective needs a rental price or a power that is not known."""
    accelerator = scenario.accelerator
    required = {"cost": ("rental price", scenario.usd_per_device_hour), "energy": ("power", accelerator.tdp_w)}
    for objective in objectives:
        figure_name, figure = required.get(objective.name, ("", 1.0))
        if not figure:
            raise InputError(
                f"no {figure_name} of {accelerator.title} is known",
                key="--objective",
                value=objective.name,
                expected=f"an objective of time or memory, or an accelerator file that has the {figure_name}",
            )


def list_ineffective_objectives(objectives: tuple[Objective, ...], batch_count: int) -> list[str]:
    """A sentence for each option that has no effect here."""
    proportional = [
        objective.name
        for objective in objectives
        if objective.name in ("step-time", "tokens-per-s-per-device", "cost")
    ]
    sentences = []
    if batch_count == 1 and len(proportional) > 1:
        sentences.append(
            f"--pareto: with one batch size {' and '.join(proportional)} are proportional: one plan is best by all"
        )
    if batch_count == 1 and any(objective.critical_batch_tokens for objective in objectives):
        sentences.append(
            "--critical-batch: has no effect with one batch size; give a range, such as --global-batch 256..4096"
        )
    return sentences
