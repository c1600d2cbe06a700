"""What a source's figure of peak memory counts, and which categories of ours it leaves out."""

from __future__ import annotations

from typing import Literal, get_args

MemoryKind = Literal["allocated", "reserved", "device", "estimated", "unknown"]
"""allocated: tensors (`torch.cuda.max_memory_allocated`); reserved: what the allocator has taken for them and keeps
(`max_memory_reserved`); device: what the driver counts (nvidia-smi); estimated: computed, not measured; unknown: the
source does not say."""
MEMORY_KINDS: tuple[MemoryKind, ...] = get_args(MemoryKind)
COMPARED_AS: dict[MemoryKind, MemoryKind] = {"estimated": "reserved", "unknown": "reserved"}
"""Kinds that count what another one does, as far as is known."""
_OMITTED_CATEGORIES: dict[MemoryKind, tuple[str, ...]] = {
    "allocated": ("allocator", "communicators", "reserve"),
    "reserved": ("communicators", "reserve"),
    "device": (),
}


def find_omitted_categories(kind: MemoryKind) -> tuple[str, ...]:
    """The categories of memory that a figure of this kind does not hold."""
    return _OMITTED_CATEGORIES[COMPARED_AS.get(kind, kind)]
