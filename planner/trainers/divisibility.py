"""Which sizes must divide which others, for trainers that lay out ranks and sequences alike."""

from __future__ import annotations


def has_whole_shard_groups(dp: int, cp: int, shard_group: int) -> bool:
    """Whether hybrid sharding over `shard_group` ranks is a mesh: groups are whole context-parallel groups, and
    replicas whole groups (torchtitan's `ParallelDims`, Accelerate's `ParallelismConfig`, MaxText's mesh axes).
    """
    return shard_group % cp == 0 and dp % (shard_group // cp) == 0


def has_balanced_context_chunks(seq_length: int, cp: int) -> bool:
    """Whether Megatron can balance a causal mask: each of the `cp` ranks takes one chunk from the front of the
    sequence and one from its end, so that 2 x cp divides it (megatron-core, `get_batch_on_this_cp_rank`).
    """
    return cp == 1 or seq_length % (2 * cp) == 0
