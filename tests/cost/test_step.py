"""The step: its terms add up, and the model keeps the laws that every machine obeys."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost import collectives
from planner.cost.layer_tables import build_layer_shard, build_layer_tables
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.operators import compute_operator_times
from planner.cost.operators.attention import count_attended_pairs
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import (
    OVERLAPPABLE_TERMS,
    STEP_TERMS,
    compute_pipeline_bound_s,
    compute_pipeline_send_s,
    compute_step_costs,
)
from planner.cost.strategies import Strategies, build_strategy, join_strategies
from planner.workload.operators import AttentionCore
from planner.workload.presets import read_model_preset
from planner.workload.transformer import build_workload
from tests.examples import bulk_only, clusters, lab, lab_scenario, tiny, workloads

plans = st.builds(
    build_strategy,
    tp=st.sampled_from([1, 2]),
    pp=st.sampled_from([1, 2]),
    dp=st.sampled_from([1, 2, 4]),
    cp=st.sampled_from([1, 2]),
    micro_batch=st.sampled_from([1, 2]),
    zero_stage=st.integers(0, 3),
    recompute=st.integers(0, 2),
    sequence_parallel=st.integers(0, 1),
)


def compute_step_s(q: Scenario, s: Strategies) -> float:
    return float(compute_step_costs(q, s).step_time_s[0])


@settings(max_examples=20)
@given(workloads(), clusters(), plans)
def test_terms_add_up_and_are_finite(workload, cluster, plan) -> None:
    q = build_scenario(workload, cluster, global_batch=32)
    scores = compute_step_costs(q, plan)
    assert list(scores.terms) == list(STEP_TERMS)
    assert abs(sum(float(v[0]) for v in scores.terms.values()) - compute_step_s(q, plan)) < 1e-9
    for name, value in {
        **scores.terms,
        **{f"overlapped {k}": scores.overlapped[k] for k in OVERLAPPABLE_TERMS},
    }.items():
        assert np.isfinite(value[0]) and value[0] >= -1e-15, name
    assert 0 < scores.mfu[0] <= scores.hfu[0] < 1
    assert all(np.isfinite(v[0]) and v[0] >= 0 for v in compute_peak_memory_bytes(q, plan).values())


@settings(max_examples=12)
@given(workloads(), clusters(), st.lists(plans, min_size=2, max_size=4))
def test_a_plan_scores_the_same_alone_and_among_others(workload, cluster, many) -> None:
    q = build_scenario(workload, cluster, global_batch=32)
    together = compute_step_costs(q, join_strategies(many))
    memory = compute_peak_memory_bytes(q, join_strategies(many))
    for i, plan in enumerate(many):
        alone = compute_peak_memory_bytes(q, plan)
        assert compute_step_s(q, plan) == together.step_time_s[i]
        assert all(alone[category][0] == memory[category][i] for category in memory)


@settings(max_examples=20)
@given(workloads(), plans, st.sampled_from(["tflops", "hbm", "link", "nic", "alpha"]), st.floats(1, 8))
def test_better_hardware_never_slows_a_plan(workload, plan, figure, factor) -> None:
    # latency (alpha) is better when less
    base = {"tflops": 300.0, "hbm": 2000.0, "link": 300.0, "nic": 200.0, "alpha": 3.0}
    before = compute_step_s(build_scenario(workload, lab(), global_batch=32), plan)
    better = lab(**{figure: base[figure] / factor if figure == "alpha" else base[figure] * factor})
    assert compute_step_s(build_scenario(workload, better, global_batch=32), plan) <= before * (1 + 1e-12)


@settings(max_examples=15)
@given(plans, st.integers(2, 6))
def test_twice_the_layers_never_shorten_a_step(plan, layers) -> None:
    once, twice = lab_scenario(tiny(layers=layers)), lab_scenario(tiny(layers=2 * layers))
    assert compute_step_s(twice, plan) > compute_step_s(once, plan)


@settings(max_examples=15)
@given(workloads(), plans, st.sampled_from([2.0, 10.0]))
def test_all_rates_times_k_divide_the_bandwidth_bound_step_by_k(workload, plan, k) -> None:
    def free_of_constants(q: Scenario) -> Scenario:
        fitted = replace_struct(q, kernel_launch_s=0.0, host_launch_s=0.0, step_overhead_s=0.0)
        return replace(fitted, network=replace(q.network, latency_s=0 * q.network.latency_s))

    base = {"tflops": 300.0, "hbm": 2000.0, "link": 300.0, "nic": 200.0}
    slow = free_of_constants(build_scenario(workload, lab(**base), global_batch=32))
    fast = free_of_constants(build_scenario(workload, lab(**{n: v * k for n, v in base.items()}), global_batch=32))
    with patch.object(collectives, "find_collective_library", return_value=bulk_only()):
        assert compute_step_s(slow, plan) == pytest.approx(k * compute_step_s(fast, plan), rel=1e-9)


def replace_struct(q: Scenario, **changes: float) -> Scenario:
    import msgspec

    return replace(q, calibration=msgspec.structs.replace(q.calibration, **changes))


@given(plans)
def test_a_degree_of_1_costs_no_collective(plan) -> None:
    scores = compute_step_costs(lab_scenario(), plan)
    row = plan.get_row(0)
    for degree, term in (("tp", "tensor_parallel"), ("cp", "context_parallel"), ("pp", "pipeline_send")):
        assert (scores.terms[term][0] + scores.overlapped[term][0] == 0) == (row[degree] == 1)
    assert (scores.terms["pipeline_bubble"][0] > 0) == (row["pp"] > 1)


def test_the_bubble_of_equal_stages_is_the_papers() -> None:
    """(pp - 1) / (n vpp) of the work without a bubble (arXiv 2104.04473, section 2.2), ends left out."""
    q = replace(lab_scenario(tiny(layers=48, hidden_size=2048, vocab_size=1), batch=64), launch_mode="graph")
    for vpp in (1, 2, 3):
        terms = compute_step_costs(q, build_strategy(pp=4, dp=4, vpp=vpp)).terms
        work = sum(float(terms[name][0]) for name in STEP_TERMS[:6])
        assert terms["pipeline_bubble"][0] == pytest.approx(work * 3 / (16 * vpp), rel=0.01)


def test_the_slowest_hop_of_a_chain_sets_its_pace() -> None:
    q = replace(lab_scenario(tiny(), lab(nic=25)), rank_order="tp-pp-dp-cp")
    # four ranks a node: two stages two ranks apart stay in it, of four stages every second hop leaves it
    near, far = (build_strategy(tp=2, pp=pp, dp=8 // pp) for pp in (2, 4))
    inside, leaving = (float(compute_step_costs(q, plan).terms["pipeline_send"][0]) for plan in (near, far))
    assert leaving > 3 * inside


@pytest.mark.parametrize("window", [1, 100, 512, 1000, 1024, 4096])
def test_a_token_counts_for_the_keys_that_are_before_it_within_its_window(window: int) -> None:
    core = AttentionCore("attention", 8, 8, 64, 64, causal=True, window=window)
    counted = np.minimum(np.arange(1024) + 0.5, window).mean()  # a token sees half of itself, as in the convention
    assert count_attended_pairs(core, 1024, "causal") == pytest.approx(counted, abs=0.5)
    assert count_attended_pairs(core, 1024, "full") == min(window, 1024)


def test_a_longer_window_never_takes_less_time() -> None:
    whole = lab_scenario(tiny(seq_length=4096))
    windows = (*range(256, 4096, 256), 4095, 4096)
    times = [
        compute_step_s(lab_scenario(tiny(seq_length=4096, sliding_window=window)), build_strategy(tp=2, dp=8))
        for window in windows
    ]
    assert times == sorted(times)
    assert times[-1] == compute_step_s(whole, build_strategy(tp=2, dp=8))


def test_an_empty_array_of_plans_has_no_costs() -> None:
    none = build_strategy(tp=2, pp=2, dp=4).take(np.zeros(0, dtype=np.int64))
    exposed, overlapped = compute_pipeline_send_s(lab_scenario(), none, np.zeros(0, dtype=np.int64))
    assert exposed.shape == overlapped.shape == (0,)


def test_full_recomputation_repeats_the_communication_of_keys() -> None:
    q = replace(lab_scenario(), cp_comm_type="all-gather")
    none, full = (
        compute_step_costs(q, build_strategy(cp=4, dp=4, recompute=mode)).terms["context_parallel"][0]
        for mode in (0, 2)
    )
    assert full == pytest.approx(none * 4 / 3)


def test_a_ring_merges_partial_results_in_each_pass() -> None:
    # all but the merging is overlapped by far: full recomputation repeats one of two
    q = lab_scenario(tiny(seq_length=65536))
    none, full = (
        compute_step_costs(q, build_strategy(cp=4, dp=4, recompute=mode)).terms["context_parallel"][0]
        for mode in (0, 2)
    )
    assert full == pytest.approx(none * 3 / 2)


def test_a_decoder_overlaps_the_communication_of_keys_with_both_its_attentions() -> None:
    model = tiny(architecture="encoder-decoder", decoder_layers=8, seq_length=4096)
    q = replace(lab_scenario(model, lab(nic=1)), launch_mode="graph")
    plan = build_strategy(cp=16)
    tables, row = build_layer_tables(q, plan)
    decoder = q.workload.layer_types[1]
    cores = [
        compute_operator_times(q, op, build_layer_shard(q, plan))
        for op in decoder.operators
        if isinstance(op, AttentionCore)
    ]
    assert len(cores) == 2
    overlapped_s = tables.cp.overlapped_forward[row[0], 1]
    assert overlapped_s == pytest.approx(q.calibration.overlap * sum(float(core.forward_s[0]) for core in cores))


def test_longer_chunks_fill_the_pipeline_longer() -> None:
    # seven layers on two stages: chunks of 2, 1, 1, 1, 1, 1 or of 2, 2, 2, 1
    q = lab_scenario(tiny(layers=7))
    short, long = (build_strategy(pp=2, vpp=vpp, dp=8) for vpp in (3, 2))
    bubbles = [float(compute_step_costs(q, plan).terms["pipeline_bubble"][0]) for plan in (short, long)]
    assert bubbles[1] == pytest.approx(2 * bubbles[0])


@settings(max_examples=20)
@given(workloads(), clusters(), plans)
def test_the_searchs_bound_is_a_bound(workload, cluster, plan) -> None:
    q = build_scenario(workload, cluster, global_batch=32)
    bound = compute_pipeline_bound_s(q, plan, build_plan_tables(q, plan))[0]
    assert bound <= compute_step_s(q, plan) * (1 + 1e-9)


def test_model_flops_equal_the_megatron_papers_formula() -> None:
    """96 B s l h^2 (1 + s/6h + V/16lh) with recomputation (arXiv 2104.04473, equation 3), so 3/4 without
    (for layers; the logits are not recomputed there either).
    """
    workload = build_workload(read_model_preset("gpt-3.6b"))
    q = build_scenario(workload, lab(), global_batch=512)
    l, h, s, v, b = 30, 3072, 2048, 51200, 512  # noqa: E741
    formula = 72 * b * s * l * h**2 * (1 + s / (6 * h) + v / (12 * l * h))
    plan = build_strategy(dp=16)
    scores = compute_step_costs(q, plan)
    assert scores.mfu[0] * scores.step_time_s[0] * 16 * 300e12 == pytest.approx(formula, rel=1e-12)
