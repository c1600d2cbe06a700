"""The interval of a step: what holds of every plan, of hardware that was never fitted, and of two plans."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from planner.cost.calibration import CALIBRATION_PARAMETERS
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.step import compute_step_costs
from planner.cost.uncertainty import (
    NORMAL_Z90,
    StepBounds,
    StepUncertainty,
    compare_with_first,
    compute_step_uncertainty,
    find_residual_class,
    is_change_told_apart,
)
from planner.cost.uncertainty.posterior import PARAMETER_GROUPS, compute_slowdown_factors
from planner.documents.figures import read_figure_values
from planner.documents.plan import PlanDocument
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space
from planner.studies.compare import RankedOffer, is_offer_told_apart, rank_offers
from planner.studies.plan import find_best_plans
from planner.trainers.registry import TRAINERS_BY_NAME
from tests.cli.run import call
from tests.examples import lab, lab_scenario


def compute_uncertainty(scenario: Scenario, count: int = 8) -> StepUncertainty:
    plans = search_plans(scenario, Space(16, 32), SearchTarget(top=count)).best
    tables = build_plan_tables(scenario, plans)
    return compute_step_uncertainty(scenario, plans, tables, compute_step_costs(scenario, plans, tables))


def replace_architecture(scenario: Scenario, architecture: str) -> Scenario:
    return replace(scenario, accelerator=replace(scenario.accelerator, architecture=architecture))


def test_every_number_of_the_calibration_is_in_one_group() -> None:
    names = [name for group in PARAMETER_GROUPS.values() for name in group]
    assert sorted(names) == sorted(CALIBRATION_PARAMETERS)
    factors = compute_slowdown_factors(dict.fromkeys(CALIBRATION_PARAMETERS, 0.1), "overlap")
    assert factors["overlap"] < 1 < factors["contention"]


def test_a_step_lies_within_its_interval_and_a_plan_alone_has_the_same() -> None:
    scenario = lab_scenario()
    uncertainty = compute_uncertainty(scenario)
    assert (uncertainty.p10_s < uncertainty.step_time_s).all()
    assert (uncertainty.step_time_s < uncertainty.p90_s).all()
    assert (uncertainty.log_changes >= 0).all()
    alone = compute_uncertainty(scenario, 1)
    assert (alone.p10_s[0], alone.p90_s[0]) == (uncertainty.p10_s[0], uncertainty.p90_s[0])


def test_hardware_that_was_never_fitted_has_a_wider_interval() -> None:
    megatron = replace(lab_scenario(), trainer=TRAINERS_BY_NAME["megatron-classic"])
    fitted, unknown = (compute_uncertainty(replace_architecture(megatron, name)) for name in ("hopper", "unheard-of"))
    assert (unknown.p90_s / unknown.step_time_s > fitted.p90_s / fitted.step_time_s).all()
    assert find_residual_class("hopper", megatron.trainer) == "together"
    assert find_residual_class("unheard-of", megatron.trainer) == "trainer"
    assert find_residual_class("hopper", TRAINERS_BY_NAME["ddp"]) == "apart"
    assert find_residual_class("hopper", replace(megatron.trainer, name="maxtext", calibration="mindspeed")) in (
        "generation",
        "apart",
    )


def plan_lab() -> PlanDocument:
    return find_best_plans(
        [lab_scenario()], lab(), Space(16, 32), SearchTarget(top=3), tokens=10**9, with_bottlenecks=False
    )


def test_throughput_days_and_dollars_follow_the_step() -> None:
    document = plan_lab()
    plan, run = document.plans[0], document.run
    assert run is not None
    low, high = plan.step_time_p10_s / plan.step_time_s, plan.step_time_p90_s / plan.step_time_s
    assert low < 1 < high
    assert plan.tokens_per_s_p90 == pytest.approx(plan.tokens_per_s / low)
    assert plan.tokens_per_s_p10 == pytest.approx(plan.tokens_per_s / high)
    assert plan.tokens_per_s_per_device_p10 * document.cluster.devices == pytest.approx(plan.tokens_per_s_p10)
    assert run.days_p10 == pytest.approx(run.days * low)
    assert run.days_p90 == pytest.approx(run.days * high)
    values = read_figure_values(document)
    assert values["step_time_p90_s"] == plan.step_time_p90_s
    if document.cost_usd is not None:
        assert document.cost_usd_p90 == pytest.approx(document.cost_usd * high)


def test_plans_are_told_apart_by_more_than_the_error_of_a_comparison() -> None:
    uncertainty = compute_uncertainty(lab_scenario(), 4)
    figures = np.array([1.0, 1.001, 1.5, 1.0])
    assert compare_with_first(uncertainty.take(np.zeros(4, dtype=np.int64)), figures).tolist() == [
        False,
        False,
        True,
        False,
    ]


def test_a_change_is_told_apart_the_same_way_from_both_sides() -> None:
    narrow, wide = StepBounds(1.0, 0.95, 1.05), StepBounds(1.0, 0.8, 1.6)
    for ratio in (0.6, 0.9, 1.0, 1.1, 1.7):
        for first, second in ((narrow, wide), (wide, narrow), (narrow, narrow)):
            answers = [
                is_change_told_apart(r, pair, is_same_machine=False)
                for r, pair in ((ratio, (first, second)), (1 / ratio, (second, first)))
            ]
            assert answers[0] == answers[1]
    assert is_change_told_apart(1.2, (narrow, narrow), is_same_machine=False)
    assert not is_change_told_apart(1.2, (wide, narrow), is_same_machine=False)
    assert is_change_told_apart(0.0, (wide, wide), is_same_machine=True)
    assert narrow.slower == pytest.approx(math.log(1.05) / NORMAL_Z90)


def test_the_commands_say_it(tmp_path: Path) -> None:
    scenario = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", "--tokens", "10B")
    done = call("plan", *scenario, "--top", "2", "--require", "step_time_p90_s <= 1 h", "-o", str(tmp_path / "a.csv"))
    assert done.returncode == 0, done.stderr
    assert "step (10-90 %)" in done.stdout
    assert "80 % of runs lie in the brackets; runs of this trainer" in done.stdout
    header = (tmp_path / "a.csv").read_text().splitlines()[0].split(",")
    assert {"step_time_p10_s", "step_time_p90_s", "tokens_per_s_p10", "cost_usd_per_step_p90"} <= set(header)
    document = json.loads(call("plan", *scenario, "--top", "2", "--format", "json").stdout)
    first, second = document["plans"]
    is_tied = not second["told_apart"]
    assert ("Plans 1 and 2 cannot be told apart" in done.stdout) == is_tied
    assert first["step_time_p10_s"] < first["step_time_s"] < first["step_time_p90_s"]
    assert document["run"]["days_p10"] < document["run"]["days"] < document["run"]["days_p90"]
    assert document["training"]["calibration"] == "together"


def test_offers_are_ranked_by_value_but_an_unknown_generation_below_what_it_is_tied_with() -> None:
    def build_offer(name: str, value: float, *, calibrated: bool) -> RankedOffer:
        bounds = SimpleNamespace(step_time_s=1.0, step_time_p10_s=0.9, step_time_p90_s=1.2)
        machine = SimpleNamespace(accelerator=SimpleNamespace(architecture=name))
        estimate = SimpleNamespace(plan=bounds, cluster=machine, trainer="megatron")
        return RankedOffer(SimpleNamespace(name=name, calibrated=calibrated), value, estimate)  # type: ignore[arg-type]

    offers = [
        build_offer("far-ahead", 1.0, calibrated=False),
        build_offer("ahead", 2.0, calibrated=False),
        build_offer("first", 2.1, calibrated=True),
        build_offer("second", 2.2, calibrated=True),
        build_offer("last", 9.0, calibrated=True),
    ]
    assert [offer.part.name for offer in rank_offers(offers)] == ["far-ahead", "first", "second", "ahead", "last"]
    rates = [build_offer(name, -value, calibrated=True) for name, value in (("slow", 1.0), ("fast", 3.0))]
    assert [offer.part.name for offer in rank_offers(rates)] == ["fast", "slow"]
    assert is_offer_told_apart(rates[1], rates[0])
    assert is_offer_told_apart(rates[0], rates[1])


def test_a_cluster_that_was_never_fitted_is_ranked_below_what_it_is_tied_with() -> None:
    answer = call(
        "planner", "compare", "llama-3-8b", "--on", "dgx-h100:4", "--on", "dgx-a100:4", "--on", "tpu-v5p:8",
        "--tokens", "100B", "--objective", "time", "--format", "json",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    offers = json.loads(answer.stdout)["offers"]
    assert not offers[0]["told_apart"]
    for offer in offers:
        size = offer["size"]
        assert size["days_p10"] < size["days"] < size["days_p90"]
        assert size["tokens_per_s_p10"] < size["tokens_per_s"] < size["tokens_per_s_p90"]
    days = {offer["name"]: offer["size"]["days"] for offer in offers if offer["calibrated"]}
    assert list(days.values()) == sorted(days.values())


POOLS = ("llama-3-8b", "--cluster", "dgx-h100:2+dgx-a100:2", "--global-batch", "128", "--tp", "4", "--vpp", "1")


def test_two_pools_say_what_their_interval_is_from_and_what_is_tied() -> None:
    text = call("plan", *POOLS).stdout
    document = json.loads(call("plan", *POOLS, "--format", "json").stdout)
    plans, removals = document["ways"], document["answer"]["without"]
    assert not plans[0]["told_apart"]
    assert ("Plans 1 and 2 cannot be told apart" in text or "Plans 1 to" in text) == (not plans[1]["told_apart"])
    assert plans[-1]["step_time_p10_s"] > plans[0]["step_time_p90_s"]
    assert plans[-1]["told_apart"]
    assert "80 % of runs lie in the brackets; runs of this trainer" in text
    assert all(part["step_time_p10_s"] < part["step_time_s"] < part["step_time_p90_s"] for part in removals)


def test_a_pool_that_was_never_fitted_says_so() -> None:
    document = json.loads(
        call("plan", "llama-3-8b", "--cluster", "dgx-a100:2+dgx-v100:2", *POOLS[3:], "--format", "json").stdout
    )
    assert document["training"]["calibration"] == "trainer"


def test_every_throughput_of_the_document_has_its_interval() -> None:
    document = json.loads(
        call("plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", "--format", "json").stdout
    )
    plan, reliability, full = document["plans"][0], document["reliability"], document["full_memory"]
    for name in ("tokens_per_s", "tokens_per_s_per_device", "samples_per_s", "samples_per_s_per_device"):
        assert plan[f"{name}_p10"] / plan[name] == pytest.approx(plan["step_time_s"] / plan["step_time_p90_s"])
        assert plan[f"{name}_p90"] / plan[name] == pytest.approx(plan["step_time_s"] / plan["step_time_p10_s"])
    for end in ("p10", "p90"):
        share = reliability[f"goodput_tokens_per_s_{end}"] / plan[f"tokens_per_s_{end}"]
        assert share == pytest.approx(reliability["goodput_share"])
    assert full["step_time_p10_s"] < full["step_time_s"] < full["step_time_p90_s"]


def test_rates_and_rent_of_what_if_are_printed_with_their_intervals() -> None:
    done = call("planner", "what-if", "llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", "--set",
                "fabric.bandwidth=2x")  # fmt: skip
    for name in ("tokens/s  ", "tokens/s a device", "cost of a step"):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(name)]
        assert re.search(r"\([\d.,]+[KM]?-[\d.,]+[KM]?\)", line), line


def test_a_borrowed_calibration_is_less_certain_than_one_of_own_runs() -> None:
    classic = replace(lab_scenario(), trainer=TRAINERS_BY_NAME["megatron-classic"])
    borrower = replace(classic, trainer=TRAINERS_BY_NAME["megatron-deepspeed"])
    for architecture in ("ampere", "hopper"):
        assert find_residual_class(architecture, classic.trainer) == "together"
        assert find_residual_class(architecture, borrower.trainer) == "apart"
    own, lent = (compute_uncertainty(replace_architecture(item, "ampere"), 1) for item in (classic, borrower))
    assert lent.p90_s[0] / lent.step_time_s[0] > own.p90_s[0] / own.step_time_s[0]
    assert find_residual_class("gaudi2", borrower.trainer) == "together"
