"""The first plan's uncertainty: certain factors, fitted spreads, and a plain loop."""

import numpy as np
import pytest

from planner.cost.calibration import (
    CALIBRATION_PARAMETERS,
    CalibrationFile,
    combine_calibration,
    compute_calibration_spreads,
)
from planner.cost.scenario import build_scenario
from planner.cost.step import compute_step_costs
from planner.cost.uncertainty import perturb_scenario
from planner.decode import decode_text
from planner.errors import InputError
from planner.evidence.calibrate import render_calibration_file
from planner.evidence.fit import PRIOR_WIDTHS, ArchitectureReference, FittedFactors
from planner.hardware import database
from planner.search.objective import Objective
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space
from planner.studies.uncertainty import (
    MAX_CONTENDERS,
    estimate_first_plan_uncertainty,
    find_contenders,
    score_samples,
)
from tests.examples import lab, lab_scenario, tiny

SPACE = Space(16, 32)
STEP = Objective()


def test_every_fitted_factor_has_a_spread() -> None:
    for part_name in ("architectures", "frameworks"):
        folder: database.DatabaseFolder = f"calibration/{part_name}"  # type: ignore[assignment]
        for name in database.list_database_names(folder):
            file = database.load_database_entry(folder, name, CalibrationFile, "calibration", "", "")
            for key, figure in file.parameters.items():
                assert figure.spread is not None, f"{name}: {key}"
                # a fit knows no less than its priors
                assert 0 < figure.spread <= 1.01 * np.hypot.reduce(PRIOR_WIDTHS[key]), f"{name}: {key}"


def test_a_factor_that_was_never_fitted_has_the_width_of_the_prior() -> None:
    assert PRIOR_WIDTHS.keys() == set(CALIBRATION_PARAMETERS)
    spreads = compute_calibration_spreads("tpu-v9", "unheard-of")
    assert spreads["gemm_half_rows"] == pytest.approx(np.hypot(*PRIOR_WIDTHS["gemm_half_rows"][1:]))
    unmeasured = database.load_database_entry("calibration", "unmeasured", CalibrationFile, "calibration", "", "")
    spread = unmeasured.parameters["gemm_efficiency"].spread
    assert spread is not None and spread >= PRIOR_WIDTHS["gemm_efficiency"][1]
    assert spreads["gemm_efficiency"] == pytest.approx(np.hypot(spread, PRIOR_WIDTHS["gemm_efficiency"][2]))


def test_both_factors_of_a_pair_count_as_independent() -> None:
    chip = database.load_database_entry("calibration/architectures", "hopper", CalibrationFile, "calibration", "", "")
    stack = database.load_database_entry("calibration/frameworks", "megatron", CalibrationFile, "calibration", "", "")
    both = compute_calibration_spreads("hopper", "megatron")
    assert set(both) == set(CALIBRATION_PARAMETERS)
    parts = [file.parameters["nic_efficiency"].spread or 0.0 for file in (chip, stack)]
    assert both["nic_efficiency"] == pytest.approx(np.hypot(*parts))
    assert both["gemm_half_rows"] == chip.parameters["gemm_half_rows"].spread


def test_perturbed_numbers_are_those_of_a_cluster_bound_with_them() -> None:
    scenario = lab_scenario()
    factors = {"link_efficiency": 0.9, "nic_efficiency": 0.8, "gemm_efficiency": 0.8}
    moved = perturb_scenario(scenario, factors)
    assert moved.calibration == combine_calibration(scenario.calibration, factors)
    ratio = moved.network.bandwidth_bytes_per_s / scenario.network.bandwidth_bytes_per_s
    np.testing.assert_allclose(ratio, np.where(scenario.network.through_nic, 0.8, 0.9), rtol=1e-12)
    assert perturb_scenario(scenario, {}).calibration == scenario.calibration


def test_without_a_spread_every_sample_is_the_search() -> None:
    scenario = lab_scenario()
    plans = find_contenders([scenario], SPACE, STEP)
    times, figures = score_samples(plans, STEP, dict.fromkeys(CALIBRATION_PARAMETERS, 0.0), 3)
    assert (times == compute_step_costs(scenario, plans.strategies).step_time_s).all()
    assert (figures.argmin(axis=1) == 0).all()
    assert (times == times[0]).all()


def test_contenders_are_the_best_distinct_plans() -> None:
    scenario = lab_scenario()
    plans = find_contenders([scenario], SPACE, STEP).strategies
    assert len(plans) == MAX_CONTENDERS
    best = search_plans(scenario, SPACE, SearchTarget(top=1)).best
    assert plans.get_row(0) == best.get_row(0)
    rows = {tuple(plans.get_row(i).items()) for i in range(MAX_CONTENDERS)}
    assert len(rows) == MAX_CONTENDERS
    few = find_contenders(
        [scenario], Space(16, 32, {"tp": (2,), "pp": (2,), "micro_batch": (1,), "zero_stage": (1,)}), STEP
    )
    degrees = {(few.strategies.get_row(i)["tp"], few.strategies.get_row(i)["pp"]) for i in range(len(few))}
    assert degrees == {(2, 2)}
    assert len(few) > len({few.strategies.get_row(i)["cp"] for i in range(len(few))})


def test_uncertainty_agrees_with_a_plain_loop() -> None:
    scenario = lab_scenario(tiny(hidden_size=1024, ffn_size=4096))
    part = estimate_first_plan_uncertainty([scenario], SPACE, STEP, 40)
    plans = find_contenders([scenario], SPACE, STEP)
    times, _ = score_samples(plans, STEP, part.spread, 40)
    wins = [int(np.argmin(row)) for row in times]
    regret = [row[0] / min(row) - 1 for row in times]
    assert part.samples == 40
    assert part.plans == len(plans)
    assert part.first_share == wins.count(0) / 40
    assert part.regret.mean == pytest.approx(np.mean(regret))
    assert part.regret.p90 == pytest.approx(np.quantile(regret, 0.9))
    assert part.step_time_s.p10 <= part.step_time_s.p50 <= part.step_time_s.p90
    assert part.step_time_s.p50 == pytest.approx(np.median(times[:, 0]))
    shares = [rival.share for rival in part.rivals]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) + part.first_share <= 1 + 1e-12


def test_the_same_scenario_has_the_same_uncertainty() -> None:
    assert estimate_first_plan_uncertainty([lab_scenario()], SPACE, STEP, 10) == estimate_first_plan_uncertainty(
        [lab_scenario()], SPACE, STEP, 10
    )


def test_scenarios_of_several_batches_compete_by_the_token() -> None:
    scenarios = [build_scenario(tiny(), lab(), global_batch=batch) for batch in (16, 32)]
    objective = Objective(has_several_batches=True)
    space = Space(16, 32, {"tp": (2,), "pp": (2,), "cp": (1,), "vpp": (1,), "micro_batch": (1,)})
    part = estimate_first_plan_uncertainty(scenarios, space, objective, 10)
    plans = find_contenders(scenarios, space, objective)
    assert set(plans.scenario_index.tolist()) == {0, 1}
    assert part.step_time_s.p10 > 0


def test_memory_is_not_uncertain() -> None:
    with pytest.raises(InputError, match="memory has no fitted parameter"):
        estimate_first_plan_uncertainty([lab_scenario()], SPACE, Objective("memory-headroom"), 10)


def test_a_calibration_file_that_is_written_is_read_with_its_spreads() -> None:
    fitted = FittedFactors(
        {},
        {"hopper": {"nic_efficiency": 0.8}},
        {},
        {("hopper", "nic_efficiency"): 0.114},
        {"hopper": ArchitectureReference(700.0, 2022)},
    )
    file = decode_text(
        render_calibration_file("hopper", "architecture", fitted, []), "toml", CalibrationFile, "hopper.toml"
    )
    assert file.parameters["nic_efficiency"].value == 0.8
    assert file.parameters["nic_efficiency"].spread == 0.11
