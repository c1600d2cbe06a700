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
            output = torch.empty_like(query[..., :1]).expand(*query.shape[:-1], value.shape[-1]).contiguous()
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
        return Attention.apply(query, key, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "rms_norm", normalize)
        patch.setattr(functional, "scaled_dot_product_attention", attend)
        yield
