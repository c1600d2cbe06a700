"""Sizes: every answer is the best of the whole curve, which is searched here size by size, without any bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cluster.model.spec import parse_cluster_spec
from planner.cost.layer_tables import build_layer_tables
from planner.cost.pipeline.partition import count_layers
from planner.cost.strategies import STRATEGY_FIELDS, Strategies
from planner.errors import InputError
from planner.search.batches import BatchRange, choose_divisible_batch, list_divisible_batches
from planner.studies.batch_choice import (
    BatchChoice,
    choose_critical_batch,
    choose_from_range,
    choose_single_batch,
)
from planner.studies.compare import ClusterCandidate, ComparisonLimits, compare_cluster
from planner.studies.run_estimate import (
    ClusterOffer,
    RunEstimate,
    TrainingRun,
    build_run_scenario,
    estimate_totals,
    search_run_plan,
)
from planner.studies.size import estimate_sizes_around, find_affordable_run, find_size
from planner.studies.size_search import SizeSearch
from planner.workload.spec import MoeSpec
from tests.examples import DEFAULTS, LAB, tiny, workloads


def build_offer(*, topology: str = "", **changes: float) -> ClusterOffer:
    """A cluster of up to `nodes` nodes, with any figure changed; `rent`: dollars of a device and hour, `topology`: of
    the links of a node.
    """
    figures = {**DEFAULTS, "nodes": 64, **changes}
    text = LAB.format(**figures).replace("[node]", f"max_nodes = {figures['nodes']}\n\n[node]", 1)
    if "rent" in changes:
        price = f'[[node.accelerator.prices]]\ncloud = "here"\nusd_per_hour = {changes["rent"]}\ndate = "2026"\n'
        text = text.replace("[node.link]", f"{price}\n[node.link]")
    if topology:
        text = text.replace("[node.link]", f'[node.link]\ntopology = "{topology}"')
    return ClusterOffer("lab", parse_cluster_spec(text, "toml", "lab.toml"), "lab.toml")


@dataclass(frozen=True)
class Question:
    """A run on a cluster of up to `last` nodes."""

    run: TrainingRun
    offer: ClusterOffer
    last: int

    @property
    def search(self) -> SizeSearch:
        """A search that knows nothing yet."""
        return SizeSearch(self.run, self.offer, 1, self.last)

    def compute_curve(self) -> list[RunEstimate]:
        """All sizes on which a plan fits, ascending, each with the batch that takes the fewest days."""
        curve = []
        for nodes in range(1, self.last + 1):
            batches = self.run.batch.list_batches(nodes * self.offer.devices_per_node)
            plans = [search_run_plan(self.run, self.offer, nodes, batch) for batch in batches]
            estimates = [estimate_totals(self.run, plan) for plan in plans if plan is not None]
            if estimates:
                curve.append(min(estimates, key=lambda estimate: estimate.days))
        return curve


batch_choices = st.one_of(
    st.sampled_from([8, 12, 30, 64]).map(choose_single_batch),
    st.sampled_from([(8, 64), (10, 100), (48, 48)]).map(lambda ends: choose_from_range(*ends, tried=ends)),
    st.sampled_from([30.0, 62.5]).map(
        lambda near: BatchChoice((BatchRange(int(0.75 * near), int(1.25 * near), near),))
    ),
)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """Small models, of which some do not fit on the smallest sizes."""
    offer = build_offer(
        devices=draw(st.sampled_from([1, 2, 4])),
        memory=draw(st.sampled_from([2.4, 2.8, 40])),
        link=draw(st.sampled_from([50, 300])),
        nic=draw(st.sampled_from([25, 200, 4000])),
        tflops=draw(st.sampled_from([3, 300])),
        oversubscription=draw(st.sampled_from([1.0, 4.0])),
    )
    tokens = draw(st.sampled_from([10**6, 10**9, 10**12]))
    return Question(TrainingRun(draw(workloads()), draw(batch_choices), tokens), offer, draw(st.integers(1, 7)))


def describe(estimate: RunEstimate | None) -> tuple[int, int, float] | None:
    """What makes an estimate."""
    return None if estimate is None else (estimate.nodes, estimate.global_batch, estimate.days)


def check_answers(question: Question) -> None:
    """Every answer about the question is the best of its curve."""
    curve = question.compute_curve()
    least = {
        "fastest": min(curve, key=lambda size: (size.days, size.nodes), default=None),
        "cheapest": min(curve, key=lambda size: (size.nodes * size.days, size.nodes), default=None),
    }
    assert describe(question.search.find_fastest()) == describe(least["fastest"])
    assert describe(question.search.find_cheapest()) == describe(least["cheapest"])
    deadlines = [size.days * factor for size in curve for factor in (1.0, 0.999, 1.3)] or [1.0]
    answers = []
    for days in sorted(deadlines):
        fewest = question.search.find_fewest_nodes(days)
        assert describe(fewest) == describe(next((size for size in curve if size.days <= days), None))
        answers.append(math.inf if fewest is None else fewest.nodes)
    # a later deadline never needs more nodes
    assert answers == sorted(answers, reverse=True)
    sizes = list(range(1, question.last + 1))
    bounds = question.search.bounds.compute_least_days(sizes, np.full(len(sizes), 1e12))
    assert all(bounds[size.nodes - 1] <= size.days for size in curve)
    search = question.search
    for size in curve:
        assert describe(search.estimate(size.nodes)) == describe(size)


@settings(max_examples=8)
@given(questions())
def test_every_answer_is_the_best_of_the_whole_curve(question: Question) -> None:
    check_answers(question)


@pytest.mark.parametrize("context", [1, 2])
def test_a_group_of_experts_in_a_full_mesh_is_bounded_by_its_own_links(context: int) -> None:
    # in a full mesh two ranks have a seventh of the links that eight have: the group must be that of the plan
    moe = MoeSpec(experts=8, topk=2, expert_ffn_size=256)
    offer = build_offer(topology="fully-connected", devices=8, link=30, tflops=300, nodes=2)
    question = Question(TrainingRun(tiny(moe=moe), choose_single_batch(64), 10**9), offer, 2)
    check_answers(question)
    bounds, cluster = question.search.bounds.layers, offer.build_cluster(1)
    scenario = build_run_scenario(question.run, cluster, 64)
    degrees = {"cp": context, "dp": 8 // context, "ep": 8, "tp": 1, "etp": 1, "pp": 1, "vpp": 1, "micro_batch": 1}
    plan = Strategies(**{name: np.array([degrees.get(name, 0)]) for name in STRATEGY_FIELDS})
    tables, _ = build_layer_tables(scenario, plan)
    layer_s = tables.forward + tables.backward
    layer_s = layer_s + sum(axis.forward + axis.backward for axis in (tables.tp, tables.cp, tables.ep))
    layers_s = float((layer_s @ count_layers(question.run.workload))[0])
    assert bounds.least_layer_s[0][0, bounds.cp.tolist().index(context), 0] <= layers_s


@pytest.mark.full
@settings(max_examples=200)
@given(questions())
def test_two_hundred_answers_are_the_best_of_the_whole_curve(question: Question) -> None:
    check_answers(question)


@settings(max_examples=5)
@given(questions(), st.floats(0.3, 3.0), st.booleans())
def test_compare_answers_as_size_does(question: Question, factor: float, has_budget: bool) -> None:
    offer = build_offer(nodes=6, rent=2.0) if has_budget else replace(question, offer=build_offer(nodes=6)).offer
    run = question.run
    size = SizeSearch(run, offer).estimate(2)
    if size is None:
        return
    deadline = size.days * factor
    budget = None if size.cost_usd is None else size.cost_usd * factor
    compared = compare_cluster(run, ClusterCandidate(offer), ComparisonLimits(deadline, budget))
    assert describe(compared.estimate) == describe(find_size(SizeSearch(run, offer), deadline, budget))
    if budget is not None:
        compared = compare_cluster(run, ClusterCandidate(offer), ComparisonLimits(None, budget))
        assert describe(compared.estimate) == describe(find_size(SizeSearch(run, offer), None, budget))


@settings(max_examples=6)
@given(st.floats(1.0, 4.0), st.sampled_from([0.5, 3.0]))
def test_a_budget_keeps_out_what_costs_more(factor: float, rent: float) -> None:
    question = Question(TrainingRun(tiny(), choose_single_batch(24), 10**11), build_offer(rent=rent), 6)
    curve = question.compute_curve()
    cheapest_usd = min(size.cost_usd or 0.0 for size in curve)
    budget = factor * cheapest_usd
    paid = [size for size in curve if size.cost_usd is not None and size.cost_usd <= budget]
    fastest = min(paid, key=lambda size: (size.days, size.nodes))
    assert describe(find_size(question.search, None, budget)) == describe(fastest)
    deadline = fastest.days * factor
    both = next(size for size in paid if size.days <= deadline)
    assert describe(find_size(question.search, deadline, budget)) == describe(both)
    assert find_size(question.search, None, 0.99 * cheapest_usd) is None
    assert find_size(question.search, fastest.days * 0.999, budget) is None


def test_a_budget_buys_as_many_whole_steps_as_it_pays_for() -> None:
    question = Question(TrainingRun(tiny(), choose_critical_batch(tiny()), 10**12), build_offer(rent=2.0), 5)
    cheapest = question.search.find_cheapest()
    assert cheapest is not None
    assert cheapest.cost_usd is not None
    step_usd = cheapest.cost_usd / cheapest.steps
    bought = find_affordable_run(question.search, 1000.5 * step_usd)
    assert bought is not None
    search, size = bought
    assert size.steps == 1000
    assert size.nodes == cheapest.nodes
    assert search.run.tokens == 1000 * size.global_batch * tiny().seq_length
    on_two = replace(question.search, first=2, last=2)
    affordable = find_affordable_run(on_two, 1e6)
    assert affordable is not None
    assert affordable[1].nodes == 2
    with pytest.raises(InputError, match="no rental price"):
        find_affordable_run(replace(question, offer=build_offer()).search, 1e6)


def test_the_curve_around_an_answer_has_whole_multiples_and_parts_of_it() -> None:
    question = Question(TrainingRun(tiny(), choose_single_batch(24), 10**9), build_offer(), 40)
    answer = question.search.estimate(12)
    assert answer is not None
    curve = estimate_sizes_around(question.search, answer)
    assert [size.nodes for size in curve] == [3, 4, 6, 8, 9, 12, 16, 18, 24, 36]
    for size in curve:
        assert describe(size) == describe(question.search.estimate(size.nodes))


@given(st.integers(1, 500), st.integers(1, 4000), st.floats(1.0, 1.6))
def test_batches_are_what_no_other_of_the_range_divides_better(devices: int, low: int, spread: float) -> None:
    batches = BatchRange(low, int(low * spread), low * (1 + spread) / 2)
    listed = list_divisible_batches(batches, devices)
    everything = range(batches.low, batches.high + 1)
    shared = {batch: math.gcd(batch, devices) for batch in everything}
    assert set(listed) <= set(everything)
    assert list(listed) == sorted(set(listed))
    # whatever widths a batch has, one of the list has them too
    assert all(any(shared[kept] % width == 0 for kept in listed) for width in set(shared.values()))
    for kept in listed:
        rivals = [batch for batch in everything if shared[batch] % shared[kept] == 0]
        assert abs(kept - batches.near) == min(abs(batch - batches.near) for batch in rivals)
    assert choose_divisible_batch(batches, devices) in listed


def test_the_critical_batch_grows_with_the_model() -> None:
    small, large = tiny(), tiny(layers=64)
    choices = [choose_critical_batch(workload) for workload in (small, large)]
    tokens = [choice.critical_tokens for choice in choices]
    assert tokens[0] is not None
    assert tokens[1] is not None
    # B = 2e8 / L^(1/0.21) and L = N^-0.076 of its size: eight times the layers
    assert tokens[1] / tokens[0] == pytest.approx(8 ** (0.076 / 0.21))
    for choice, critical in zip(choices, tokens, strict=True):
        assert choice.low * small.seq_length == pytest.approx(0.75 * float(critical or 0), rel=0.01)
        assert choice.high * small.seq_length == pytest.approx(1.25 * float(critical or 0), rel=0.01)
        assert "arXiv 2001.08361" in choice.note
