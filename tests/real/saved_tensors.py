"""Tensors that PyTorch keeps for the backward pass, counted by their storages; kernels as they are on a GPU.

Tensors are fake: they have shapes and storages, no values, so that layers of any size fit. On the CPU `rms_norm` and
`scaled_dot_product_attention` are chains of other operators; `use_gpu_kernels` replaces them by functions that keep
what the kernels of a GPU keep.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.export.real.needs import import_package


class SavedTensors:
    """Distinct storages that autograd was given to keep, those of parameters and the like apart."""

    def __init__(self, excluded: Iterable[Any]) -> None:
        self._excluded = {_identify_storage(tensor) for tensor in excluded}
        self._tensors: dict[int, Any] = {}

    def add(self, tensor: Any) -> Any:
        """Counts a tensor that autograd keeps, and returns it."""
        key = _identify_storage(tensor)
        if key not in self._excluded:
            self._tensors.setdefault(key, tensor)
        return tensor

    def drop(self, is_dropped: Callable[[Any], bool]) -> None:
        """Counts some of them no more."""
        self._tensors = {key: tensor for key, tensor in self._tensors.items() if not is_dropped(tensor)}

    @property
    def total_bytes(self) -> int:
        """Of all of them."""
        return sum(tensor.untyped_storage().nbytes() for tensor in self._tensors.values())

    def count_shapes(self) -> Counter[str]:
        """How many there are of each type and shape: what a failed comparison prints."""
        return Counter(f"{tensor.dtype} {list(tensor.shape)}" for tensor in self._tensors.values())


def _identify_storage(tensor: Any) -> int:
    """A number of the storage, the same for all views of it."""
    local = getattr(tensor, "_local_tensor", tensor)
    return int(local.untyped_storage()._cdata)


@contextmanager
def record_saved_tensors(excluded: Iterable[Any] = ()) -> Iterator[SavedTensors]:
    """Records what autograd keeps of what runs within; `excluded`: parameters and buffers."""
    graph = import_package("torch").autograd.graph
    saved = SavedTensors(excluded)
    with graph.saved_tensors_hooks(saved.add, lambda tensor: tensor):
        yield saved


def compute_layer_bytes(run_layers: Callable[[int], SavedTensors], fewer: int = 2, more: int = 4) -> float:
    """Bytes that one more layer keeps; `run_layers` runs the forward pass of a number of layers."""
    return (run_layers(more).total_bytes - run_layers(fewer).total_bytes) / (more - fewer)


@contextmanager
def use_gpu_kernels() -> Iterator[None]:
    """RMSNorm and attention keep what those of a GPU do (torch 2.13, aten/src/ATen/native/cuda/layer_norm_kernel.cu,
    `_fused_rms_norm`; native/transformers/cuda/attention.cu): input, weight and reciprocal of the root; queries,
    keys, values, output and the logarithm of the sums.
    """
    torch = import_package("torch")
    functional = import_package("torch.nn.functional")

    class RmsNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, hidden: Any, weight: Any) -> Any:
            rows = hidden.shape[:-1]
            ctx.save_for_backward(hidden, weight, hidden.new_empty((*rows, 1), dtype=torch.float32))
            return torch.empty_like(hidden)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            hidden, weight, _ = ctx.saved_tensors
            return torch.empty_like(hidden), None if weight is None else torch.empty_like(weight)

    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, query: Any, key: Any, value: Any) -> Any:
            # tokens outside heads, so that the transpose after it is a view
            batch, heads, length, _ = query.shape
            output = query.new_empty(batch, length, heads, value.shape[-1]).transpose(1, 2)
            sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
            ctx.save_for_backward(query, key, value, output, sums)
            return output

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])

    def normalize(hidden: Any, shape: Any, weight: Any = None, eps: float | None = None) -> Any:
        assert math.prod(shape) == hidden.shape[-1]
        return RmsNorm.apply(hidden, weight)

    def attend(query: Any, key: Any, value: Any, *arguments: Any, **named: Any) -> Any:
        heads = (query, key, value)
        if torch.is_autocast_enabled("cpu"):
            # autocast runs attention in 16 bit (aten/src/ATen/autocast_mode.h, AT_FORALL_LOWER_PRECISION_FP)
            heads = tuple(tensor.to(torch.get_autocast_dtype("cpu")) for tensor in heads)
        return Attention.apply(*heads)

    with pytest.MonkeyPatch.context() as patch:

        def raise_to_power(values: Any, exponent: Any) -> Any:
            is_wide = torch.is_autocast_enabled("cpu") and values.dtype != torch.float32
            return power(values.float() if is_wide else values, exponent)

        # autocast takes powers in 32 bit on a GPU (there, AT_FORALL_FP32), not on a CPU
        power = torch.pow
        patch.setattr(torch, "pow", raise_to_power)
        patch.setattr(functional, "rms_norm", normalize)
        patch.setattr(functional, "scaled_dot_product_attention", attend)
        yield


class LiveTensors:
    """Storages that operators made and that are still held, by whomever: autograd, or a cache of recomputation."""

    def __init__(self, is_counted: Callable[[tuple[int, ...]], bool]) -> None:
        self._is_counted = is_counted
        self._sizes: dict[Any, tuple[int, str]] = {}
        self._frozen: list[tuple[int, str]] | None = None

    def add(self, tensor: Any) -> None:
        """Counts a tensor as long as its storage lives."""
        local = getattr(tensor, "_local_tensor", tensor)
        if self._is_counted(tuple(local.shape)):
            storage = local.untyped_storage()
            reference = import_package("torch.multiprocessing.reductions").StorageWeakRef(storage)
            self._sizes.setdefault(reference, (storage.nbytes(), f"{local.dtype} {list(local.shape)}"))

    def freeze(self) -> None:
        """From now on those that are alive now."""
        self._frozen = self._list_alive()

    def _list_alive(self) -> list[tuple[int, str]]:
        if self._frozen is not None:
            return self._frozen
        return [size for reference, size in self._sizes.items() if not reference.expired()]

    @property
    def total_bytes(self) -> int:
        """Of all that are alive."""
        return sum(size_bytes for size_bytes, _ in self._list_alive())

    def count_shapes(self) -> Counter[str]:
        """How many there are of each type and shape."""
        return Counter(shape for _, shape in self._list_alive())


@contextmanager
def record_live_tensors(is_counted: Callable[[tuple[int, ...]], bool]) -> Iterator[LiveTensors]:
    """Records what operators make within, of the shapes that are counted; read it while what holds them lives."""
    torch = import_package("torch")
    pytree, live = import_package("torch.utils._pytree"), LiveTensors(is_counted)

    class Recorder(import_package("torch.utils._python_dispatch").TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            for tensor in pytree.tree_leaves(made):
                if isinstance(tensor, torch.Tensor):
                    live.add(tensor)
            return made

    with Recorder():
        yield live
