"""A link's seconds are given once: overlapped communication leaves no window for the data-parallel collective."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.data_parallel import compute_overlap_windows_s, compute_shared_tier_bits
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.step import compute_step_costs
from planner.cost.strategies import build_strategy
from tests.examples import lab, lab_scenario, tiny

TP, CP, EP = 1, 2, 4


@pytest.mark.parametrize(
    ("plan", "bits"),
    [
        (build_strategy(tp=4, dp=4), 0),  # tensor groups fill the nodes of four, data groups have one rank in each
        (build_strategy(tp=2, dp=8), TP),
        (build_strategy(tp=2, cp=2, dp=4), TP | CP),
        (build_strategy(tp=4, cp=2, dp=2), CP),
        (build_strategy(tp=4, cp=4), CP),
        (build_strategy(tp=4, ep=8, dp=4), EP),
    ],
)
def test_communication_shares_the_expected_tiers_with_data_parallelism(plan, bits) -> None:
    assert compute_shared_tier_bits(lab_scenario(), plan)[0] == bits


def test_a_window_loses_overlapped_communication_and_gains_exposed_communication_elsewhere() -> None:
    q = replace(lab_scenario(), tp_overlap=True)
    tables = build_plan_tables(q, build_strategy(tp=2, cp=2, dp=4, sequence_parallel=1)).layer_tables
    forward, backward = compute_overlap_windows_s(tables.communication)
    assert forward.shape == (3, 8, *tables.forward.shape)
    exposed = tables.tp.forward + tables.cp.forward
    overlapped = tables.tp.overlapped_forward + tables.cp.overlapped_forward
    assert forward[0, 0] == pytest.approx(exposed)
    assert forward[0, TP | CP] == pytest.approx(-overlapped)
    assert forward[0, TP] == pytest.approx(tables.cp.forward - tables.tp.overlapped_forward)
    # full recomputation repeats the forward communication of layers, not those of embedding and head
    repeated = backward[2, TP | CP] - backward[0, TP | CP]
    assert repeated[:, :-2] == pytest.approx(-overlapped[:, :-2])
    assert (repeated[:, -2:] == 0).all()


@settings(max_examples=40)
@given(
    cp=st.sampled_from([2, 4, 8]),
    zero=st.integers(0, 3),
    nic=st.sampled_from([25, 100, 400]),
    seq=st.sampled_from([1024, 16384]),
    batch=st.sampled_from([16, 64]),
)
def test_overlapped_communication_on_a_tier_fits_beside_the_compute(cp, zero, nic, seq, batch) -> None:
    q = lab_scenario(tiny(seq_length=seq, layers=8), lab(nic=nic), batch=batch)
    scores = compute_step_costs(q, build_strategy(cp=cp, dp=16 // cp, zero_stage=zero))
    compute = sum(float(scores.terms[name][0]) for name in ("forward", "backward", "recompute"))
    overlapped_s = sum(float(scores.overlapped[name][0]) for name in ("context_parallel", "data_parallel"))
    assert overlapped_s <= q.calibration.overlap * compute * (1 + 1e-9)


def test_data_parallelism_overlaps_less_where_keys_travel_on_its_links() -> None:
    # four ranks a node: of context groups of eight half of the steps leave the node, as data-parallel steps do
    def compute_overlapped_s(comm_type: str) -> float:
        q = replace(lab_scenario(tiny(seq_length=16384, layers=8), lab(nic=25), batch=16), cp_comm_type=comm_type)
        q = replace(q, trainer=replace(q.trainer, message_elements=None))  # a message for each layer
        return float(compute_step_costs(q, build_strategy(cp=8, dp=2)).overlapped["data_parallel"][0])

    # a ring overlaps attention; an all-gather is exposed before it and leaves the window whole
    assert compute_overlapped_s("ring") < compute_overlapped_s("all-gather")
