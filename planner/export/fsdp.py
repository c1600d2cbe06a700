"""What trainers that shard with PyTorch's FSDP2 have in common: what they cannot be told, and their mesh."""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.run import Run
from planner.export.trainer import Misfit, offloaded

PYTORCH_PARTS = ("NVIDIA gpu", "AMD gpu", "Intel gpu", "Intel npu", "Huawei npu", "cpu")
"""Accelerators that PyTorch, and what adds nothing but sharding to it, runs on."""


def exposed(run: Run) -> Iterator[Misfit]:
    """Gradients that are not sent beside the backward pass: FSDP and DistributedDataParallel always do."""
    if not run.settings.dp_overlap:
        yield Misfit("dp_overlap", "no", "dp_overlap yes")


def some_layers(run: Run) -> Iterator[Misfit]:
    """Recomputation of a part of the layers."""
    if run.settings.recompute_layers is not None:
        yield Misfit("recompute_layers", run.settings.recompute_layers, "recompute_layers all")


def narrow_gradients(run: Run) -> Iterator[Misfit]:
    """Gradients of another format than the sharded parameters."""
    if run.settings.gradients == "bf16":
        yield Misfit("gradients", "bf16", "gradients fp32: those of the sharded parameters")


def half_offloaded(run: Run) -> Iterator[Misfit]:
    """An offload of anything but weights and optimizer together."""
    yield from offloaded(run, ("optimizer", "weights"))
    if len(run.settings.offload) == 1:
        yield Misfit("offload", run.settings.offload[0], "offload optimizer+weights: FSDP keeps both on the host")


def mesh(run: Run) -> tuple[int, int]:
    """Replicas, and data-parallel ranks in each that share the parameters; context-parallel ranks share them too."""
    one, group = run.strategy, run.settings.shard_group
    shards = one.dp if group is None else group // one.cp
    return one.dp // shards, shards


def compiled_note(run: Run) -> Iterator[str]:
    """Where kernels are launched as PyTorch cannot."""
    if run.launch in ("fused", "graph"):
        yield f"the plan's kernels are launched {run.launch}: torch.compile comes nearest"
