"""What PyTorch's pipeline schedules keep in flight, by their own tables of actions."""

from types import SimpleNamespace

import numpy as np
import pytest

from planner.cost.pipeline.stages import build_all_stage_tables, compute_in_flight_passes
from planner.cost.strategies import build_strategy
from tests.cost.test_breakdown import build_large_scenario
from tests.export.real.needs import import_package

pytestmark = pytest.mark.real


def list_most_in_flight(pp: int, micro_batches: int) -> list[int]:
    """Forward passes of each rank whose weights' gradients are to come, at most."""
    schedules = import_package("torch.distributed.pipelining.schedules")
    most = []
    for rank in range(pp):
        schedule = SimpleNamespace(
            n_local_stages=1,
            pp_group_size=pp,
            microbatches_per_round=micro_batches // max(1, micro_batches // pp),
            _n_microbatches=micro_batches,
        )
        kind = schedules.ScheduleInterleavedZeroBubble
        actions = kind._calculate_single_rank_operations(schedule, rank)
        types = [action.computation_type.name for action in actions if action is not None]
        steps = [{"FORWARD": 1, "BACKWARD_WEIGHT": -1}.get(name, 0) for name in types]
        assert types.count("FORWARD") == types.count("BACKWARD_WEIGHT") == micro_batches
        most.append(int(np.cumsum(steps).max()))
    return most


@pytest.mark.parametrize(("pp", "micro_batches"), [(2, 8), (4, 4), (4, 16), (8, 16)])
def test_zero_bubble_keeps_as_many_on_every_rank(pp: int, micro_batches: int) -> None:
    scenario, plan = build_large_scenario(pipeline_schedule="zero-bubble"), build_strategy(pp=pp)
    tables, rows = build_all_stage_tables(scenario, plan)
    planned = compute_in_flight_passes(tables, rows, plan.pp, plan.vpp, np.array([micro_batches]), "zero-bubble")
    assert planned[0].tolist() == list_most_in_flight(pp, micro_batches) == [pp] * pp
