"""Common parts of the trainers that shard with PyTorch's FSDP2: unsupported settings, and the mesh."""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.run import PlannedRun
from planner.export.trainer import UnsupportedSetting, find_unsupported_offload

PYTORCH_ACCELERATORS = ("NVIDIA gpu", "AMD gpu", "Intel gpu", "Intel npu", "Huawei npu", "cpu")
"""Accelerators that PyTorch supports, and trainers that only add sharding to it."""


def find_unsupported_dp_overlap(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    """Gradient communication without overlap: FSDP and DistributedDataParallel always overlap it."""
    if not run.settings.dp_overlap:
        yield UnsupportedSetting("dp_overlap", "no", "dp_overlap yes")


def find_unsupported_recompute_layers(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    """Recomputation of some layers only."""
    if run.settings.recompute_layers is not None:
        yield UnsupportedSetting("recompute_layers", run.settings.recompute_layers, "recompute_layers all")


def find_unsupported_grad_dtype(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    """Gradients of another format than the sharded parameters."""
    if run.settings.gradients == "bf16":
        yield UnsupportedSetting("gradients", "bf16", "gradients fp32: those of the sharded parameters")


def find_unsupported_fsdp_offload(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    """An offload of anything but weights and optimizer together."""
    yield from find_unsupported_offload(run, ("optimizer", "weights"))
    if len(run.settings.offload) == 1:
        yield UnsupportedSetting(
            "offload", run.settings.offload[0], "offload optimizer+weights: FSDP keeps both on the host"
        )


def compute_fsdp_mesh(run: PlannedRun) -> tuple[int, int]:
    """Replicas, and data-parallel ranks in each that share the parameters; context-parallel ranks share them too."""
    strategy, shard_group = run.strategy, run.settings.shard_group
    shards = strategy.dp if shard_group is None else shard_group // strategy.cp
    return strategy.dp // shards, shards


def build_kernel_launch_note(run: PlannedRun) -> Iterator[str]:
    """A note on kernel launches that PyTorch does not support."""
    if run.launch in ("fused", "graph"):
        yield f"the plan's kernels are launched {run.launch}: torch.compile comes nearest"
