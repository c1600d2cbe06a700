"""What a step of torchtitan under `fully_shard` holds at its fullest, part by part of the step, in closed form."""

import pytest

from tests.real.fsdp_tracker import Peak
from tests.real.torchtitan_steps import Step, run_step

pytestmark = pytest.mark.real

RANKS, LENGTH, WIDTH, MLP_WIDTH, ROWS = 8, 8192, 4096, 14336, 128256
HEAD = WIDTH * ROWS
"""Parameters of the head; the embedding has as many."""
LAYER = WIDTH * (32 + 2 * 8 + 32) * 128 + 3 * WIDTH * MLP_WIDTH + 2 * WIDTH
HIDDEN_BYTES = 2 * WIDTH * LENGTH
"""A tensor between two layers in 16 bit."""
CHUNKS = 8


def count_parameters(layers: int) -> int:
    return 2 * HEAD + WIDTH + layers * LAYER


def compute_state_bytes(layers: int) -> float:
    """32-bit weights and Adam's two moments, of a rank's shard."""
    return 12 * count_parameters(layers) / RANKS


def check(peak: Peak, **kind_bytes: float) -> None:
    """Each kind, within 0.1 % of the peak."""
    expected = {"weights": 0.0, "gradients": 0.0, **kind_bytes}
    assert {kind: peak.kind_bytes[kind] for kind in expected} == pytest.approx(expected, abs=1e-3 * peak.total_bytes)


def test_a_chunked_loss() -> None:
    # fullest as the head's gradient is reduced, after the last chunk
    step = Step()
    peaks = run_step(step)
    kept_bytes = (step.layers + 2) * HIDDEN_BYTES
    chunk_logits_bytes = 2 * ROWS * LENGTH / CHUNKS
    check(
        peaks["loss"],
        states=compute_state_bytes(step.layers),
        weights=2 * HEAD,
        # the sum over the chunks and what is reduced, in 32 bit, and the shard that comes of it
        gradients=(4 + 4 + 4 / RANKS) * HEAD,
        # inputs of the layers, input and output of the last norm; its gradient in 32 bit, and of the last chunk
        activations=kept_bytes + 2 * HIDDEN_BYTES + chunk_logits_bytes + HIDDEN_BYTES / CHUNKS,
    )
    # at the head of the forward pass: what was gathered of the last layer is freed after the next unit's copy
    check(peaks["forward"], weights=(2 + 2) * HEAD + 2 * LAYER, activations=(step.layers + 1) * HIDDEN_BYTES)
    # of the first layer, restored: while the MLP's activation has its gradient; the embedding is already gathered
    mlp_bytes = 2 * MLP_WIDTH * LENGTH
    check(
        peaks["backward"],
        states=compute_state_bytes(step.layers),
        weights=2 * LAYER + 2 * HEAD,
        gradients=4 / RANKS * (HEAD + LAYER) + 4 * LAYER + 2 * WIDTH * MLP_WIDTH,
        activations=peaks["backward"].kind_bytes["activations"],
    )
    assert peaks["backward"].kind_bytes["activations"] > 6 * mlp_bytes
    check(peaks["optimizer"], gradients=4 * count_parameters(step.layers) / RANKS)


def test_the_loss_of_all_logits() -> None:
    # fullest in its backward pass: the logarithm of the softmax and two gradients in 32 bit; no 16-bit logits
    step = Step(loss="plain")
    peaks = run_step(step)
    check(
        peaks["backward"],
        states=compute_state_bytes(step.layers),
        weights=2 * HEAD,
        activations=(step.layers + 2) * HIDDEN_BYTES + 12 * ROWS * LENGTH,
    )
    check(peaks["loss"], weights=2 * HEAD, activations=(step.layers + 2) * HIDDEN_BYTES + 10 * ROWS * LENGTH)


def test_weights_are_never_freed() -> None:
    step = Step(reshard="never")
    check(run_step(step)["loss"], weights=2 * count_parameters(step.layers), gradients=(8 + 4 / RANKS) * HEAD)


def test_gradients_stay_whole_without_synchronization() -> None:
    # a chunked loss synchronizes the head's in each micro-batch all the same
    step = Step(micro_batches=2, has_no_sync=True)
    others = count_parameters(step.layers) - HEAD
    check(run_step(step)["loss"], weights=2 * HEAD, gradients=4 * others + (8 + 2 * 4 / RANKS) * HEAD)


def test_adam_for_all_parameters_at_once() -> None:
    step = Step(adam="foreach")
    shard = count_parameters(step.layers) / RANKS
    # one temporary of all: the root of the second moment
    check(run_step(step)["optimizer"], states=16 * shard, gradients=4 * shard)
