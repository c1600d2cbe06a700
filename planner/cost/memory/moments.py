"""What memory is divided into: categories, and the moments of a step at which it can be fullest."""

from __future__ import annotations

from typing import Literal, get_args

MEMORY_CATEGORIES = (
    *("weights", "gradients", "optimizer", "activations", "logits", "buffers", "allocator"),
    *("communicators", "reserve"),
)
"""buffers: gradients of activations, what is gathered for a multiply, what stages send and receive; allocator: what
the trainer's allocator has reserved beyond what is allocated; communicators: NCCL's buffers; reserve: driver and
libraries."""

MemoryMoment = Literal[
    "loss", "head_backward", "last_layer_backward", "first_layer_backward", "embedding_backward", "optimizer_step"
]
"""In the order in which they come: the loss of a micro-batch, the backward pass of the head, of the stage's last
layer, of its first layer, of the embedding; the optimizer's step. A stage without head or embedding passes through
their moments with nothing of them."""
MEMORY_MOMENTS: tuple[MemoryMoment, ...] = get_args(MemoryMoment)
MOMENT_TITLES: dict[MemoryMoment, str] = {
    "loss": "loss",
    "head_backward": "backward of the head",
    "last_layer_backward": "backward of the last layer",
    "first_layer_backward": "backward of the first layer",
    "embedding_backward": "backward of the embedding",
    "optimizer_step": "optimizer step",
}
