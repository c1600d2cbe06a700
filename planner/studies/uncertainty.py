"""How sure the first plan is: the fitted parameters' uncertainty carried to the best plans.

Each sample multiplies every fitted number by exp(s z), z standard normal and independent, s the number's spread;
all plans are scored under the same sample, so that what they have in common cancels where they are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from planner.cost.arrays import Floats, Ints, added, settled
from planner.cost.calibration import PARAMETERS, combined, uncertainty
from planner.cost.memory import memory_of
from planner.cost.operations.energy import energy_j
from planner.cost.scenario import Training
from planner.cost.step import score
from planner.cost.strategies import Strategies, join
from planner.documents.plan import QuantilesPart, RegretPart, RivalPart, UncertaintyPart
from planner.errors import InputError
from planner.progress import track_steps
from planner.search.objective import Objective
from planner.search.search import Wanted, search
from planner.search.space import Space
from planner.studies.plan_parts import settings_part, strategy_part

PLANS = 50
"""How many compete."""
_SEED = 20
_RIVALS = 3
_SHARES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Contenders:
    """Plans that compete, best first, and which of the trainings each belongs to; arrays of [plans]."""

    questions: tuple[Training, ...]
    plans: Strategies
    question: Ints

    def __len__(self) -> int:
        return len(self.plans)


def first_plan_uncertainty(
    questions: Sequence[Training], space: Space, objective: Objective, samples: int
) -> UncertaintyPart:
    """What becomes of the first plan over `samples` samples. The space has a plan that fits.

    Raises InputError for an objective that the fitted parameters do not enter.
    """
    if objective.name == "memory-headroom":
        expected = "an objective by time, cost or energy: memory has no fitted parameter"
        raise InputError("nothing is uncertain", key="--uncertainty", value=objective.name, expected=expected)
    plans = contenders(questions, space, objective)
    spread = uncertainty(questions[0].accelerator.architecture, questions[0].framework.name)
    times, figures = sampled(plans, objective, spread, samples)
    return _told(plans, spread, times[:, 0], figures)


def contenders(questions: Sequence[Training], space: Space, objective: Objective) -> Contenders:
    """The best plan of each of the best combinations of degrees; where there are few, the next best plans as well.

    Neighbours in `vpp` alone are equal to a thousandth: fifty of them would say nothing of the other ways to split.
    """
    found = search(questions, space, Wanted((objective,), PLANS, diverse=True))
    best, question = found.best, found.question
    if len(best) < PLANS:
        more = search(questions, space, Wanted((objective,), PLANS))
        best, question = join([best, more.best]), np.concatenate([question, more.question])
        rows = np.stack([question, *(getattr(best, name) for name in vars(best))], axis=1)
        first = np.sort(np.unique(rows, axis=0, return_index=True)[1])[:PLANS]
        best, question = best.take(first), question[first]
    return Contenders(found.questions, best, question)


def sampled(
    plans: Contenders, objective: Objective, spread: Mapping[str, float], samples: int
) -> tuple[Floats, Floats]:
    """Step times and the objective's figures, shape [samples, plans] each."""
    widths = np.array([spread[name] for name in PARAMETERS])
    draws = settled(np.exp(np.random.default_rng(_SEED).standard_normal((samples, len(widths))) * widths), 32)
    times, figures = np.zeros((2, samples, len(plans)))
    for number in np.unique(plans.question).tolist():
        at = np.flatnonzero(plans.question == number)
        training, chosen = plans.questions[number], plans.plans.take(at)
        held = added(memory_of(training, chosen).values())
        for row, factors in enumerate(track_steps("sampling", draws.tolist())):
            moved = perturbed(training, dict(zip(PARAMETERS, factors, strict=True)))
            scores = score(moved, chosen)
            times[row, at] = scores.step_time_s
            joules = partial(energy_j, moved, chosen, scores)
            figures[row, at] = objective.value(moved, scores.step_time_s, joules, held)
    return times, figures


def perturbed(training: Training, factors: dict[str, float]) -> Training:
    """The question with its fitted numbers times `factors`; shares stay below what can be reached."""
    old, network = training.calibration, training.network
    new = combined(old, factors, reference_power_w=old.reference_power_w)
    links, cards = new.link_efficiency / old.link_efficiency, new.nic_efficiency / old.nic_efficiency
    rates = network.bandwidth_bytes_per_s * np.where(network.through_nic, cards, links)
    return replace(training, calibration=new, network=replace(network, bandwidth_bytes_per_s=rates))


def _told(plans: Contenders, spread: dict[str, float], times: Floats, figures: Floats) -> UncertaintyPart:
    """`times`: the first plan's, shape [samples]; `figures` of shape [samples, plans]."""
    samples, count = figures.shape
    wins = np.bincount(figures.argmin(axis=1), minlength=count)  # of equal ones the better ranked
    regret = figures[:, 0] / figures.min(axis=1) - 1.0
    low, middle, high = np.quantile(times, _SHARES).tolist()
    return UncertaintyPart(
        samples=samples,
        plans=count,
        step_time_s=QuantilesPart(p10=low, p50=middle, p90=high),
        first_share=int(wins[0]) / samples,
        regret=RegretPart(mean=float(regret.mean()), p90=float(np.quantile(regret, _SHARES[-1]))),
        rivals=_rivals(plans, wins, samples),
        spread=spread,
    )


def _rivals(plans: Contenders, wins: Ints, samples: int) -> list[RivalPart]:
    """The other plans that win most often."""
    order = 1 + np.argsort(-wins[1:], kind="stable")[:_RIVALS]
    parts = []
    for index in order.tolist():
        training = plans.questions[int(plans.question[index])]
        if wins[index]:
            part = RivalPart(
                strategy=strategy_part(plans.plans, index),
                settings=settings_part(training),
                global_batch=training.global_batch,
                share=int(wins[index]) / samples,
            )
            parts.append(part)
    return parts
