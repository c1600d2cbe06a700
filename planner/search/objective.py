"""What makes one plan better than another: a figure of merit, the smaller the better, with a lower bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from planner.cost.arrays import Floats
from planner.cost.operations.energy import least_energy_j
from planner.cost.scenario import Training
from planner.errors import InputError

ObjectiveName = Literal["step-time", "tokens-per-s-per-device", "cost", "energy", "memory-headroom"]


@dataclass(frozen=True)
class Objective:
    """A figure of merit. Arrays of shape [plans] in and out.

    `critical_batch_tokens`: with B tokens a step, a loss that takes E tokens in very small batches takes
    E (1 + B / critical) (McCandlish et al. 2018, arXiv 1812.06162, equations 2.11 and 2.12); 0: never more.
    `across_batches`: plans of several batches compete, so that times are told by the token.
    """

    name: ObjectiveName = "step-time"
    critical_batch_tokens: float = 0.0
    across_batches: bool = False

    def value(
        self, training: Training, step_time_s: Floats, energy_j: Callable[[], Floats], total_bytes: Floats
    ) -> Floats:
        """The figure of each plan; `energy_j()`: joules of a step, asked for where they count."""
        if self.name == "memory-headroom":
            return total_bytes - training.accelerator.memory_bytes
        return self._per_token(training, step_time_s, energy_j)

    def bound(self, training: Training, step_time_s: Floats, least_bytes: Callable[[], Floats]) -> Floats:
        """At most the figure, where `step_time_s` is at most the step and `least_bytes()` at most the memory.

        Every figure grows with its arguments: time and money by themselves, energy as `least_energy_j` proves.
        """
        if self.name == "memory-headroom":
            return least_bytes() - training.accelerator.memory_bytes
        return self._per_token(training, step_time_s, lambda: least_energy_j(training, step_time_s))

    def _per_token(self, training: Training, step_time_s: Floats, energy_j: Callable[[], Floats]) -> Floats:
        """Per effective token: seconds, device-seconds, dollars or joules."""
        if self.name in ("step-time", "tokens-per-s-per-device") and not self.across_batches:
            return step_time_s
        tokens = training.global_batch * training.workload.seq_length
        worth = effective_tokens(tokens, self.critical_batch_tokens)
        if self.name == "cost":
            return step_time_s * (training.devices * training.usd_per_device_hour / 3600 / worth)
        if self.name == "energy":
            return energy_j() / worth
        if self.name == "tokens-per-s-per-device":
            return step_time_s * (training.devices / worth)
        return step_time_s / worth


def effective_tokens(tokens: float, critical_batch_tokens: float) -> float:
    """What a step's tokens are worth in tokens of very small batches; see `Objective`."""
    return tokens / (1.0 + tokens / critical_batch_tokens) if critical_batch_tokens else float(tokens)


def mean_critical_batch(points: Sequence[tuple[float, float]], tokens: float) -> float:
    """One critical batch for a run of `tokens` in which it grows: points of (tokens trained, critical from there on).

    At a fixed batch B every token counts for 1 + B / critical of them, so that 1 / critical is averaged.
    """
    ends = [start for start, _ in points[1:]] + [tokens]
    parts = [max(min(end, tokens) - start, 0.0) for (start, _), end in zip(points, ends, strict=True)]
    return tokens / math.fsum(part / critical for part, (_, critical) in zip(parts, points, strict=True))


def check_known(objectives: tuple[Objective, ...], training: Training) -> None:
    """Raises InputError where an objective needs a figure that nobody published: a rent, a power."""
    part = training.accelerator
    for one in objectives:
        lacks = {"cost": not training.usd_per_device_hour, "energy": not part.tdp_w}.get(one.name, False)
        if lacks:
            what = "rent" if one.name == "cost" else "power"
            raise InputError(
                f"no {what} is known of {part.title}",
                key="--objective",
                value=one.name,
                expected="an objective by time or memory, or a cluster file whose accelerator says it",
            )


def idle_objectives(objectives: tuple[Objective, ...], batches: int) -> list[str]:
    """A sentence for each thing asked that makes no difference here."""
    alike = [one.name for one in objectives if one.name in ("step-time", "tokens-per-s-per-device", "cost")]
    told = []
    if batches == 1 and len(alike) > 1:
        told.append(f"--pareto: at one batch {' and '.join(alike)} grow together: one plan is best by all of them")
    if batches == 1 and any(one.critical_batch_tokens for one in objectives):
        told.append("--critical-batch: makes no difference at one batch; give a range, --global-batch 256..4096")
    return told
