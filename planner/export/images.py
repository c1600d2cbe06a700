"""Container images for launchers that run containers."""

from __future__ import annotations

from planner.export.launcher import LauncherField
from planner.export.run import PlannedRun

_NVIDIA_PYTORCH_IMAGE = "nvcr.io/nvidia/pytorch:26.01-py3"
"""Of Megatron-LM's docs/get-started/install.md, read 2026-08; PyTorch with Transformer Engine."""


def build_image_field(run: PlannedRun) -> LauncherField:
    """The image: NVIDIA's PyTorch on its GPUs, else for the user to say."""
    return LauncherField(
        "image", _NVIDIA_PYTORCH_IMAGE if run.is_nvidia_gpu else "IMAGE", "container image with the trainer"
    )
