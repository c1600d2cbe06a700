"""PyTorch's allocator for GPUs, repeated: where blocks lie and what is reserved for a sequence of requests.

torch 2.13, c10/cuda/CUDACachingAllocator.cpp with `expandable_segments:True`, without running out of memory: each
stream has a segment of small and one of large blocks, of which the last grows by whole pages; a request takes the
smallest free block that fits, the one that can grow last, and leaves the rest of it; free neighbours are joined.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

GRAIN_BYTES = 512
SMALL_BYTES = 2**20
PAGE_BYTES = {True: 2 * 2**20, False: 20 * 2**20}
"""Of segments of small and of large blocks."""


@dataclass(eq=False)
class Block:
    """A part of a segment."""

    offset: int
    size_bytes: int
    is_free: bool = False
    before: Block | None = None
    after: Block | None = None


@dataclass
class _Segment:
    """The blocks of one stream and pool."""

    page_bytes: int
    end: int = 0
    last: Block | None = None
    free: list[tuple[int, int, Block]] = field(default_factory=list)

    def take(self, size_bytes: int) -> tuple[Block, int]:
        """A block of that size, and the bytes that the segment grew by for it."""
        index = bisect.bisect_left(self.free, (size_bytes, -1), key=lambda entry: entry[:2])
        # the last block counts as large as it can become
        if index + 1 < len(self.free) and self.free[index][2] is self.last:
            index += 1
        grown_bytes = 0
        if index < len(self.free):
            block = self.free.pop(index)[2]
        else:
            block, grown_bytes = self._grow(size_bytes)
        block.is_free = False
        rest_bytes = block.size_bytes - size_bytes
        if rest_bytes >= GRAIN_BYTES:
            rest = Block(block.offset + size_bytes, rest_bytes, before=block, after=block.after)
            if rest.after is None:
                self.last = rest
            else:
                rest.after.before = rest
            block.size_bytes, block.after = size_bytes, rest
            self._add(rest)
        return block, grown_bytes

    def give_back(self, block: Block) -> None:
        """Frees a block."""
        before, after = block.before, block.after
        if before is not None and before.is_free:
            self._remove(before)
            block.offset, block.size_bytes = before.offset, block.size_bytes + before.size_bytes
            block.before = before.before
            if block.before is not None:
                block.before.after = block
        if after is not None and after.is_free:
            self._remove(after)
            block.size_bytes += after.size_bytes
            block.after = after.after
            if block.after is None:
                self.last = block
            else:
                block.after.before = block
        self._add(block)

    def _grow(self, size_bytes: int) -> tuple[Block, int]:
        block = self.last
        if block is not None and block.is_free:
            self._remove(block)
        else:
            block = Block(self.end, 0, before=self.last)
            if self.last is not None:
                self.last.after = block
            self.last = block
        grown_bytes = -(-(size_bytes - block.size_bytes) // self.page_bytes) * self.page_bytes
        block.size_bytes += grown_bytes
        self.end += grown_bytes
        return block, grown_bytes

    def _add(self, block: Block) -> None:
        block.is_free = True
        bisect.insort(self.free, (block.size_bytes, block.offset, block), key=lambda entry: entry[:2])

    def _remove(self, block: Block) -> None:
        self.free.pop(bisect.bisect_left(self.free, (block.size_bytes, block.offset), key=lambda entry: entry[:2]))


@dataclass
class CachingAllocator:
    """All segments of a device."""

    reserved_bytes: int = 0
    allocated_bytes: int = 0
    _segments: dict[tuple[str, bool], _Segment] = field(default_factory=dict)
    _owners: dict[Block, _Segment] = field(default_factory=dict)

    def allocate(self, size_bytes: int, stream: str) -> Block:
        """A block of at least that size for a tensor that is made on `stream`."""
        size_bytes = max(GRAIN_BYTES, -(-size_bytes // GRAIN_BYTES) * GRAIN_BYTES)
        is_small = size_bytes <= SMALL_BYTES
        segment = self._segments.setdefault((stream, is_small), _Segment(PAGE_BYTES[is_small]))
        block, grown_bytes = segment.take(size_bytes)
        self._owners[block] = segment
        self.reserved_bytes += grown_bytes
        self.allocated_bytes += block.size_bytes
        return block

    def free(self, block: Block) -> None:
        """Frees a block of `allocate`."""
        self.allocated_bytes -= block.size_bytes
        self._owners.pop(block).give_back(block)

    def get_segment_bytes(self, stream: str) -> int:
        """What is reserved for the large blocks of a stream."""
        segment = self._segments.get((stream, False))
        return segment.end if segment is not None else 0

    def list_free_bytes(self, stream: str) -> list[int]:
        """Sizes of the free large blocks of a stream, the largest first."""
        segment = self._segments[stream, False]
        return sorted((size_bytes for size_bytes, _, _ in segment.free), reverse=True)
