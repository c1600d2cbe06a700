"""Container images for launchers that need one."""

from __future__ import annotations

from planner.export.launcher import Field
from planner.export.run import Run

_NVIDIA = "nvcr.io/nvidia/pytorch:26.01-py3"
"""Of Megatron-LM's docs/get-started/install.md, read 2026-08; PyTorch with Transformer Engine."""


def image_field(run: Run) -> Field:
    """The image: NVIDIA's PyTorch on its GPUs, else for the user to say."""
    return Field("image", _NVIDIA if run.gpus else "IMAGE", "container image with the trainer")
