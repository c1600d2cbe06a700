"""Live memory of a step under `fully_shard`, by kind and moment, with fake tensors and a fake process group.

Built on PyTorch's own tracker (torch 2.13.0, torch/distributed/_tools/fsdp2_mem_tracker.py), which follows every
storage that an operator makes. It replaces the hooks of grouped modules by one hook a module, and holds a unit's last
gradient while the unit is reduced; here FSDP's hooks stay as they are, and kinds are told from its own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.export.real.needs import import_package

KINDS = {
    "weights": ("Unsharded Param", "All Gather"),
    "gradients": ("Sharded Grad", "Unsharded Grad", "Reduce Scatter"),
    "states": ("Sharded Param", "OptState"),
    "activations": ("Activation", "Temp", "Inputs"),
    "tables": ("Buffer",),
}
"""Kinds of memory, and the tracker's own of each: weights at work, their gathering; gradients and their reduction;
fp32 shards with the optimizer's state; everything else that a pass makes; rotary tables."""


@dataclass(frozen=True)
class Peak:
    """The most that is held during a part of a step, in bytes."""

    kind_bytes: dict[str, int]
    """By `KINDS`."""
    operator: str
    """What ran then."""

    @property
    def total_bytes(self) -> int:
        """All kinds."""
        return sum(self.kind_bytes.values())


@contextmanager
def start_process_group(ranks: int, rank: int = 0) -> Iterator[None]:
    """A process group of which only this rank is there; its collectives do nothing."""
    distributed = import_package("torch.distributed")
    store = import_package("torch.testing._internal.distributed.fake_pg").FakeStore()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RANK": str(rank), "LOCAL_RANK": "0", "WORLD_SIZE": str(ranks)}.items():
            patch.setenv(name, value)
        distributed.init_process_group("fake", store=store, rank=rank, world_size=ranks)
        try:
            yield
        finally:
            distributed.destroy_process_group()


class StepTracker:
    """Follows the steps of modules under `fully_shard`; name the parts of a step with `enter`."""

    def __init__(self, modules: Sequence[Any]) -> None:
        self.peaks: dict[str, Peak] = {}
        self._part = ""
        self._tracker = _build_tracker(modules, self._keep_largest)

    def enter(self, part: str) -> None:
        """What runs from now on belongs to `part`; empty: to none."""
        self._part = part

    def forget(self) -> None:
        """Forgets all peaks, of a first step that makes the optimizer's state."""
        self.peaks.clear()

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Follows what runs within."""
        multi_grad = import_package("torch.distributed._tools.mod_tracker")
        register = multi_grad.register_multi_grad_hook

        def register_on_results(tensors: Iterable[Any], hook: Any, **options: Any) -> None:
            # hooks on leaves keep them alive after the backward pass
            results = [tensor for tensor in tensors if tensor.grad_fn is not None]
            if results:
                register(results, hook, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(multi_grad, "register_multi_grad_hook", register_on_results)
            with self._tracker:
                yield

    @contextmanager
    def follow_optimizer(self, optimizer: Any) -> Iterator[None]:
        """Counts what an optimizer makes as its state and temporaries."""
        kinds = import_package(_TRACKER)._FSDPRefType
        self._tracker._in_opt = True
        yield
        self._tracker._in_opt = False
        self._tracker._track_optimizer_states(kinds.OPT, optimizer)

    def _keep_largest(self, snapshot: dict[Any, int], operator: str) -> None:
        kept = self.peaks.get(self._part)
        if self._part and (kept is None or snapshot["Total"] > kept.total_bytes):
            named = {getattr(kind, "value", kind): size_bytes for kind, size_bytes in snapshot.items()}
            sums = {kind: sum(named[name] for name in names) for kind, names in KINDS.items()}
            self.peaks[self._part] = Peak(sums, operator)


_TRACKER = "torch.distributed._tools.fsdp2_mem_tracker"


def _build_tracker(modules: Sequence[Any], keep: Callable[[dict[Any, int], str], None]) -> Any:
    """PyTorch's tracker of the FSDP units of `modules`, which gives each operator's memory to `keep`."""
    torch, torch_tracker = import_package("torch"), import_package(_TRACKER)
    kinds, base = torch_tracker._FSDPRefType, torch_tracker.FSDPMemTracker
    gather = torch.ops.c10d._allgather_base_.default

    class Tracker(base):  # type: ignore[misc, valid-type]
        made_kind: Any = None

        def _instrument_fsdp_module(self) -> None:
            for group in _list_groups(modules):
                self._instrument_fsdp_sharded_params_grads(group)
                _label(group, self, kinds)
            for module in modules:
                for buffer in module.buffers():
                    self._update_and_maybe_create_winfos(buffer, kinds.BUFFER)

        def _deregister_module_and_optimizer_hooks(self) -> None:
            """The modules are used no more."""

        def _update_peak_stats(self, peak_state: Any) -> None:
            for snapshot in self._curr_mem_snap.values():
                keep(snapshot, self._operator)

        def _track(self, kind: Any, tensor: Any) -> None:
            super()._track(self.made_kind or kind, tensor)

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self._operator = str(func)
            if func is gather:
                self._update_and_maybe_create_winfos(args[0], kinds.ALL_GATHER)
            return super().__torch_dispatch__(func, types, args, kwargs)

    return Tracker(modules[0])


def _list_groups(modules: Iterable[Any]) -> list[Any]:
    """FSDP's units, each once."""
    fsdp = import_package("torch.distributed.fsdp")
    units = (unit for module in modules for unit in module.modules() if isinstance(unit, fsdp.FSDPModule))
    groups = (unit._get_fsdp_state()._fsdp_param_group for unit in units)
    return list({id(group): group for group in groups if group is not None}.values())


def _label(group: Any, tracker: Any, kinds: Any) -> None:
    """Tells the kinds of a unit's tensors as FSDP and autograd make them."""
    label, communication = tracker._update_and_maybe_create_winfos, group._reduce_scatter_comm
    wait, reduce, allocate = group.wait_for_unshard, group.post_backward, communication.allocate
    hooked: set[int] = set()

    def label_gradient(parameter: Any) -> None:
        label(parameter.grad, kinds.UNSHARDED_GRAD)

    def wait_for_unshard() -> None:
        wait()
        for parameter in group.fsdp_params:
            if hasattr(parameter, "_unsharded_param"):
                whole = parameter._unsharded_param
                label(whole, kinds.UNSHARDED_PARAM)
                if id(whole) not in hooked:
                    whole.register_post_accumulate_grad_hook(label_gradient)
                    hooked.add(id(whole))

    def post_backward(*arguments: Any) -> None:
        reduce(*arguments)
        for parameter in group.fsdp_params:
            if parameter.unsharded_accumulated_grad is not None:
                label(parameter.unsharded_accumulated_grad, kinds.UNSHARDED_GRAD)

    def allocate_reduction(*arguments: Any, **options: Any) -> Any:
        tracker.made_kind = kinds.REDUCE_SCATTER
        try:
            return allocate(*arguments, **options)
        finally:
            tracker.made_kind = None

    group.wait_for_unshard, group.post_backward = wait_for_unshard, post_backward
    communication.allocate = allocate_reduction
