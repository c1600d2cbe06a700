"""What a pipeline rank of torchtitan holds in a step of PyTorch's schedules, its weights under `fully_shard`."""

import pytest

from tests.real.pipeline_steps import run_pipeline_step
from tests.real.test_fsdp_peak import CHUNKS, HEAD, HIDDEN_BYTES, LAYER, LENGTH, MLP_WIDTH, ROWS, WIDTH, check
from tests.real.torchtitan_steps import Step

pytestmark = pytest.mark.real

SHARDS = 8
MLP_BYTES = 2 * WIDTH * MLP_WIDTH
"""The gradient of one of the MLP's weights in 16 bit."""


def test_a_stage_in_the_middle() -> None:
    # two layers, three micro-batches in flight; weights stay gathered, gradients whole in 32 bit
    peaks = run_pipeline_step(Step(layers=6, ranks=32, pp=4, stage=1, micro_batches=4))
    received_bytes = 4 * 2 * HIDDEN_BYTES
    fullest = peaks["backward 1 1"]
    assert fullest.total_bytes == max(peak.total_bytes for peak in peaks.values())
    check(fullest, states=12 / SHARDS * 2 * LAYER, weights=4 * LAYER, gradients=8 * LAYER + MLP_BYTES)
    # of each in flight: the second layer's input and output; the first's input lies where it was received
    last = peaks["backward 1 3"]
    kinds = "activations"
    assert fullest.kind_bytes[kinds] - last.kind_bytes[kinds] == pytest.approx(2 * 2 * HIDDEN_BYTES, rel=0.001)
    # room for what is received of all micro-batches of a step, never freed
    check(peaks["optimizer"], gradients=4 / SHARDS * 2 * LAYER, activations=received_bytes)


@pytest.mark.parametrize("reshard", ["default", "always"])
def test_the_first_stage(reshard: str) -> None:
    step = Step(layers=2, ranks=16, pp=2, stage=0, micro_batches=2, reshard=reshard)
    peaks, parameters = run_pipeline_step(step), HEAD + LAYER
    check(peaks["backward 0 1"], weights=2 * parameters, gradients=4 * parameters + MLP_BYTES)
    # the embedding's gradient is reduced first, beside all gradients
    check(peaks["reduce 0"], weights=2 * LAYER, gradients=4 * parameters + (4 + 4 / SHARDS) * HEAD)
    assert peaks["forward 0 1"].kind_bytes["weights"] == pytest.approx(
        4 * HEAD if reshard == "always" else 2 * parameters, rel=0.001
    )


def test_the_last_stage_with_a_chunked_loss() -> None:
    peaks = run_pipeline_step(Step(layers=2, ranks=16, pp=2, stage=1, micro_batches=2))
    parameters = HEAD + LAYER
    check(
        peaks["loss"],
        weights=2 * parameters,
        # the head's is reduced for each micro-batch, and the input of the reduction is kept until the next one's
        gradients=(4 + 4 + 4 / SHARDS) * HEAD + 4 * LAYER,
        # received; the last layer's output and the norm's; its gradient in 32 bit; a chunk; the gradient that is sent
        activations=2 * HIDDEN_BYTES
        + 2 * HIDDEN_BYTES
        + 2 * HIDDEN_BYTES
        + 14 * ROWS * LENGTH / CHUNKS
        + HIDDEN_BYTES,
    )


def test_the_last_stage_with_all_logits() -> None:
    peaks = run_pipeline_step(Step(layers=2, ranks=16, pp=2, stage=1, micro_batches=2, loss="plain"))
    parameters = HEAD + LAYER
    check(
        peaks["backward 1 1"],
        weights=2 * parameters,
        gradients=4 * parameters,
        # the stage keeps the 16-bit logits, its output, until its backward pass is done
        activations=(2 + 2 + 1) * HIDDEN_BYTES + (12 + 2) * ROWS * LENGTH,
    )


def test_two_chunks_a_rank() -> None:
    step = Step(layers=4, ranks=16, pp=2, vpp=2, stage=0, micro_batches=4, schedule="Interleaved1F1B")
    peaks, parameters = run_pipeline_step(step), HEAD + 2 * LAYER
    check(peaks["backward 0 1"], weights=2 * parameters, gradients=4 * parameters + MLP_BYTES)
    # gradients of the first chunk, both of the second
    check(peaks["optimizer"], gradients=4 / SHARDS * parameters, activations=4 * 3 * HIDDEN_BYTES)
