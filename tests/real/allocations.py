"""Every tensor of steps of torchtitan's Llama, in their order and by stream, as requests to PyTorch's allocator."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.export.real.needs import import_package
from tests.real.caching_allocator import Block, CachingAllocator
from tests.real.fsdp_tracker import start_process_group
from tests.real.torchtitan_steps import Step, build_loss, build_modules, take_step, use_cpu

STREAMS = {"all_gather_copy_in_stream": "all-gather", "reduce_scatter_stream": "reduce-scatter"}
"""FSDP's streams, and how they are called here; all else is on the default stream."""


class StepAllocations:
    """Gives an allocator what runs within `follow`; after two steps `fullest` is what it has when it grew last."""

    def __init__(self) -> None:
        self.allocator = CachingAllocator()
        self.allocated_bytes = 0
        """When more was reserved for the last time."""
        self.free_bytes: list[int] = []
        """Free blocks of the default stream then."""
        self._streams: dict[int, str] = {}
        self._blocks: weakref.WeakKeyDictionary[Any, list[Block]] = weakref.WeakKeyDictionary()
        self._is_paused = False

    def enter(self, part: str) -> None:
        """Parts are not told apart."""

    @contextmanager
    def follow_optimizer(self, optimizer: Any) -> Iterator[None]:
        """State is a tensor like others."""
        yield

    def name_streams(self, model: Any) -> None:
        """Makes FSDP's streams and learns which they are."""
        state = model._get_fsdp_state()
        state._lazy_init()
        self._streams = {id(getattr(state._comm_ctx, name)): stream for name, stream in STREAMS.items()}

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Follows the tensors that are made within."""
        torch = import_package("torch")
        propagator = import_package("torch.distributed.tensor._sharding_prop").ShardingPropagator
        propagate, resize = propagator._propagate_tensor_meta_non_cached, torch.UntypedStorage.resize_

        def propagate_shapes(*arguments: Any, **options: Any) -> Any:
            # DTensor computes shapes of results on whole tensors without values
            self._is_paused = True
            try:
                return propagate(*arguments, **options)
            finally:
                self._is_paused = False

        def resize_storage(storage: Any, size_bytes: int) -> Any:
            if storage in self._blocks:
                self._free(self._blocks[storage])
                self._allocate(self._blocks[storage], size_bytes)
            return resize(storage, size_bytes)

        with pytest.MonkeyPatch.context() as patch, _build_mode(self):
            patch.setattr(propagator, "_propagate_tensor_meta_non_cached", propagate_shapes)
            patch.setattr(torch.UntypedStorage, "resize_", resize_storage)
            yield

    def see(self, tensor: Any) -> None:
        """Allocates a tensor, if it is a new one."""
        storage = tensor.untyped_storage()
        if self._is_paused or storage in self._blocks:
            return
        blocks: list[Block] = []
        self._blocks[storage] = blocks
        self._allocate(blocks, storage.nbytes())
        weakref.finalize(storage, self._free, blocks)

    def _allocate(self, blocks: list[Block], size_bytes: int) -> None:
        if not size_bytes:
            return
        stream = self._streams.get(id(import_package("torch").cpu.current_stream()), "default")
        reserved_bytes = self.allocator.reserved_bytes
        blocks.append(self.allocator.allocate(size_bytes, stream))
        if self.allocator.reserved_bytes > reserved_bytes:
            self.allocated_bytes = self.allocator.allocated_bytes
            self.free_bytes = self.allocator.list_free_bytes("default")

    def _free(self, blocks: list[Block]) -> None:
        while blocks:
            self.allocator.free(blocks.pop())


def _build_mode(allocations: StepAllocations) -> Any:
    """Shows the results of each operator to `allocations`."""
    torch, pytree = import_package("torch"), import_package("torch.utils._pytree")
    base = import_package("torch.utils._python_dispatch").TorchDispatchMode
    distributed_tensor = import_package("torch.distributed.tensor").DTensor

    class Mode(base):  # type: ignore[misc, valid-type]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if any(kind is distributed_tensor for kind in types):
                return NotImplemented
            is_wait = func is torch.ops._c10d_functional.wait_tensor.default
            result = args[0] if is_wait else func(*args, **kwargs or {})
            for leaf in pytree.tree_leaves(result):
                if isinstance(leaf, torch.Tensor):
                    allocations.see(leaf)
            return result

    return Mode()


def allocate_steps(step: Step) -> StepAllocations:
    """Two steps of the first rank, of which the first makes the optimizer's state."""
    torch = import_package("torch")
    fake = import_package("torch._subclasses.fake_tensor")
    allocations = StepAllocations()
    with use_cpu(), start_process_group(step.ranks):
        (model,) = build_modules(step)
        with fake.FakeTensorMode(allow_non_fake_inputs=True), allocations.follow():
            model.to_empty(device="cpu")
            compute_loss = build_loss(step, model)
            optimizer = torch.optim.AdamW(model.parameters(), fused=True)
            allocations.name_streams(model)
            for _ in range(2):
                gc.collect()
                tokens = torch.zeros(1, step.seq_length, dtype=torch.long)
                take_step(step, model, compute_loss, optimizer, tokens, allocations)
    return allocations
