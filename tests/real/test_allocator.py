"""What PyTorch's allocator reserves for steps of torchtitan beyond what is allocated, and for what."""

import pytest

from tests.real.allocations import StepAllocations, allocate_steps
from tests.real.planned_peak import compute_planned_reserve_bytes
from tests.real.test_fsdp_peak import CHUNKS, HEAD, LAYER, LENGTH, RANKS, ROWS, count_parameters
from tests.real.torchtitan_steps import Step

pytestmark = pytest.mark.real

PAGE_BYTES = 20 * 2**20


def check_planned(step: Step, allocations: StepAllocations) -> None:
    """The cost model's figure, within 1.5 % of all that is reserved."""
    reserved_bytes = allocations.allocator.reserved_bytes
    real_bytes = reserved_bytes - allocations.allocated_bytes
    assert compute_planned_reserve_bytes(step) == pytest.approx(real_bytes, abs=0.015 * reserved_bytes)


def check_pools(allocations: StepAllocations, step: Step) -> None:
    """The streams of collectives have room for their fullest moment, whole pages of it."""
    allocator = allocations.allocator
    gathered_bytes = 2 * (HEAD + LAYER)
    # what is gathered of the unit at work and of the next one, and the 16-bit copy of a rank's shard
    assert allocator.get_segment_bytes("all-gather") == pytest.approx(
        gathered_bytes * (1 + 1 / RANKS), abs=PAGE_BYTES
    )
    sharded_bytes = 4 * count_parameters(step.layers) / RANKS
    assert allocator.get_segment_bytes("reduce-scatter") == pytest.approx(sharded_bytes, abs=2 * PAGE_BYTES)


def test_the_loss_of_all_logits() -> None:
    step = Step(loss="plain", layers=4, recompute="selective")
    allocations = allocate_steps(step)
    check_pools(allocations, step)
    # the 16-bit logits, between tensors of twice their size
    assert allocations.free_bytes[0] == 2 * ROWS * LENGTH
    # and the gathered weights of a layer, each of which had them in turn
    unused_bytes = sum(allocations.free_bytes[1:])
    assert unused_bytes == pytest.approx(2 * LAYER, abs=2 * PAGE_BYTES + 0.2 * 2 * LAYER)
    check_planned(step, allocations)


def test_no_layer_is_resharded() -> None:
    step = Step(loss="plain", layers=4, reshard="never")
    allocations = allocate_steps(step)
    assert allocations.free_bytes[0] == 2 * ROWS * LENGTH
    assert sum(allocations.free_bytes[1:]) < 2 * LAYER
    check_planned(step, allocations)


def test_the_head_is_resharded() -> None:
    # its block lies beside that of the 16-bit logits: too small together, as much is reserved as where it is kept
    step = Step(loss="plain", layers=4, reshard="always")
    allocations = allocate_steps(step)
    assert allocations.free_bytes[0] == 2 * ROWS * LENGTH + 2 * HEAD
    check_planned(step, allocations)


def test_a_chunked_loss() -> None:
    step = Step(layers=4, recompute="selective")
    allocations = allocate_steps(step)
    check_pools(allocations, step)
    # a chunk's gradient of the head's matrix, and what the chunk had before their 32-bit sum was made
    chunk_bytes = 2 * ROWS * LENGTH / CHUNKS
    expected_bytes = 2 * HEAD + 4 * chunk_bytes + 2 * LAYER
    assert sum(allocations.free_bytes) == pytest.approx(expected_bytes, rel=0.2)
    check_planned(step, allocations)
