"""How many nodes a run needs: the fewest that meet a deadline, what a budget buys, and the curve between.

Sizes are whole numbers of nodes whose devices can be split; spare nodes and lost time are counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from planner.errors import InputError
from planner.studies.run_estimate import (
    Offer,
    Outcome,
    Run,
    floor,
    most_nodes,
    outcome,
    usable,
)

_RATIOS = ((4, 3), (3, 2), (2, 1), (3, 1), (4, 1), (8, 1))
"""Of the curve's sizes to the answer, where they are whole numbers: others are hard to split."""
_TRIALS = 6
"""Sizes that `about_fewest_nodes` looks at."""
_FROM_THE_TOP = 256
"""Sizes, from the largest down, among which one is looked for whose devices can be split."""
_NEAR = 8
"""Nodes more than asked for, at which to look for a plan that fits is given up: what is much larger is a size of its
own."""
_TOKENS_PER_PARAMETER = 20.0
"""Hoffmann et al. 2022 (Training compute-optimal large language models, arXiv 2203.15556), table 3, rounded."""


@dataclass(frozen=True)
class ComputeOptimal:
    """The model that Chinchilla's rule trains with the same FLOPs: C = 6 N D with D = 20 N."""

    parameters: float
    tokens: float


def fewest_nodes(run: Run, offer: Offer, days: float) -> Outcome | None:
    """The fewest nodes that train in so many days, failures included; None where no size does.

    Sizes are doubled from the bound that no plan beats until one meets the deadline, and the largest is tried; then
    every size between it and the last one that did not is looked at, from the smallest. A size meets it whatever
    larger ones do.
    """
    largest, least = most_nodes(offer), floor(run, offer)
    first = max(1, -int(-least.node_days // days))
    if first > largest or least.days > days:
        return None
    failed, met = first - 1, None
    nodes = first
    while nodes <= largest and met is None:
        found = _nearest_above(run, offer, nodes, min(2 * nodes - 1, largest))
        if found is not None and found.days <= days:
            met = found
        else:
            failed, nodes = nodes if found is None else found.nodes, 2 * nodes
    if met is None:
        last = _largest(run, offer, failed)
        met = None if last is None else outcome(run, offer, last)
        if met is None or met.days > days:
            return None
    for size in usable(run, offer, range(failed + 1, met.nodes)):
        found = outcome(run, offer, size)
        if found is not None and found.days <= days:
            return found
    return met


def about_fewest_nodes(run: Run, offer: Offer, days: float) -> Outcome | None:
    """Few nodes that train in so many days, by a handful of trials: each says how many would do if days went with
    their inverse. None where no trial meets the deadline.
    """
    largest, least = most_nodes(offer), floor(run, offer)
    best: Outcome | None = None
    failed, nodes = 0, max(1, -int(-2 * least.node_days // days))
    for _ in range(_TRIALS):
        if 2 * nodes > largest:
            nodes = min(nodes, _largest(run, offer, failed) or 0)
        if nodes <= failed or least.days > days:
            break
        found = _nearest_above(run, offer, nodes, min(2 * nodes, largest))
        if found is None:
            failed, nodes = nodes, 2 * nodes
        elif found.days <= days:
            best = found
            fewer = int(found.nodes * found.days / days)
            if not failed < fewer < found.nodes:
                break
            nodes = fewer
        else:
            failed, nodes = found.nodes, max(-int(-found.nodes * found.days // days), found.nodes + 1)
            if best is not None and nodes >= best.nodes:
                break
    return best


def _largest(run: Run, offer: Offer, above: int) -> int | None:
    """The largest size above one whose devices can be split, of so many that are looked at from the top."""
    largest = most_nodes(offer)
    return next(usable(run, offer, range(largest, max(above, largest - _FROM_THE_TOP), -1)), None)


def _nearest_above(run: Run, offer: Offer, nodes: int, last: int) -> Outcome | None:
    """The outcome of the first size from `nodes` to `last` on which a plan fits; None soon, where none near does."""
    for size in usable(run, offer, range(nodes, last + 1)):
        found = outcome(run, offer, size)
        if found is not None:
            return found
        if size >= nodes + _NEAR:
            break
    return None


def fastest_within(run: Run, offer: Offer, usd: float) -> Outcome | None:
    """The size that is done first of those whose rent stays within a budget; None where none does.

    Sizes are those of a curve that doubles; the cheapest is looked at even where it is the smallest.
    """
    within = [one for one in doubling(run, offer) if one.usd is not None and one.usd <= usd]
    return min(within, key=lambda one: one.days, default=None)


def fastest_around(run: Run, offer: Offer, usd: float) -> Outcome | None:
    """The same, and whether the sizes around it, which do not double, are faster still."""
    found = fastest_within(run, offer, usd)
    if found is None:
        return None
    return _climbed(run, offer, found, lambda one: one.days if one.usd is not None and one.usd <= usd else math.inf)


def _climbed(run: Run, offer: Offer, best: Outcome, worth: Callable[[Outcome], float]) -> Outcome:
    """The size of the least worth that is reached by going to the best one around as long as there is a better."""
    while True:
        better = min(around(run, offer, best), key=worth)
        if worth(better) >= worth(best):
            return best
        best = better


def nearest_miss(run: Run, offer: Offer) -> Outcome | None:
    """The size that is done first, of those that double and the largest that there is; None where no plan fits on
    any.
    """
    found = doubling(run, offer)
    if offer.hosts is not None or offer.spec.max_nodes is not None:
        last = _largest(run, offer, found[-1].nodes if found else 0)
        found += [] if last is None else filter(None, [outcome(run, offer, last)])
    return min(found, key=lambda one: one.days, default=None)


def doubling(run: Run, offer: Offer) -> list[Outcome]:
    """Sizes that double from the smallest on which a plan fits, until more do not make it faster."""
    found: list[Outcome] = []
    nodes, largest = 1, most_nodes(offer)
    while nodes <= largest:
        here = _nearest_above(run, offer, nodes, min(2 * nodes - 1, largest))
        if here is not None:
            if found and here.days >= found[-1].days:
                break
            found.append(here)
        elif found:
            break
        nodes *= 2
    return found


def around(run: Run, offer: Offer, answer: Outcome) -> tuple[Outcome, ...]:
    """The curve of sizes around an answer, ascending, the answer among them."""
    largest = most_nodes(offer)
    points = {answer.nodes: answer}
    for up, down in _RATIOS:
        for nodes, rest in (divmod(answer.nodes * up, down), divmod(answer.nodes * down, up)):
            if rest == 0 and 1 <= nodes <= largest and nodes not in points:
                here = outcome(run, offer, nodes)
                if here is not None:
                    points[nodes] = here
    return tuple(points[nodes] for nodes in sorted(points))


def affordable(run: Run, offer: Offer, usd: float, nodes: int | None = None) -> tuple[Run, Outcome] | None:
    """The run of as many tokens as a budget pays for, and its outcome, on so many nodes or on the cheapest size.

    Rent grows with the tokens in proportion: one run tells the price of a token. None where no plan fits.
    Raises InputError where no rent is known.
    """
    trials: Sequence[Outcome | None] = doubling(run, offer) if nodes is None else [outcome(run, offer, nodes)]
    priced = [(one.usd, one) for one in trials if one is not None and one.usd is not None]
    if not priced:
        if any(trials):
            raise InputError("no rent is known of this cluster's devices", key="--budget", expected="a known rent")
        return None
    price, best = min(priced, key=lambda one: one[0])
    if nodes is None:
        best = _climbed(run, offer, best, lambda one: math.inf if one.usd is None else one.usd)
        price = best.usd or price
    paid = replace(run, tokens=max(int(run.tokens * usd / price) // run.tokens_per_step, 1) * run.tokens_per_step)
    found = outcome(paid, offer, best.nodes)
    return None if found is None else (paid, found)


def compute_optimal(run: Run) -> ComputeOptimal:
    """What the same FLOPs (6 N D) would train best by Chinchilla's rule."""
    flops = 6.0 * run.workload.active_parameters * run.tokens
    parameters = (flops / (6.0 * _TOKENS_PER_PARAMETER)) ** 0.5
    return ComputeOptimal(parameters, _TOKENS_PER_PARAMETER * parameters)
