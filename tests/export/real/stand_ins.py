"""For scripts that run by themselves: modules in the place of packages that are built for GPUs."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import torch


class FusedAdam:
    """The arguments of Transformer Engine's (2.12, pytorch/optimizers/fused_adam.py) that `OptimizerConfig` needs."""

    def __init__(self, *, master_weight_dtype, exp_avg_dtype, exp_avg_sq_dtype, use_decoupled_grad):  # type: ignore[no-untyped-def]
        raise NotImplementedError


class StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules that have every name."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self.packages = packages

    def find_spec(self, name, path, target=None):  # type: ignore[no-untyped-def]
        if any(name == package or name.startswith(f"{package}.") for package in self.packages):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = MagicMock(name=spec.name)
        module.__spec__, module.__path__, module.__name__, module.__version__ = spec, [], spec.name, "2.12.0"
        module.FusedAdam = FusedAdam
        return module  # type: ignore[return-value]

    def exec_module(self, module: ModuleType) -> None:
        pass


def put_stand_ins(*packages: str) -> None:
    """Modules of these packages have every name, and the GPU is an H100."""
    sys.meta_path.insert(0, StandIn(packages))
    gpu = SimpleNamespace(major=9, minor=0, name="NVIDIA H100", multi_processor_count=132)
    torch.cuda.get_device_properties = lambda *_: gpu  # type: ignore[assignment,return-value]
    torch.cuda.get_device_capability = lambda *_: (9, 0)  # type: ignore[assignment]
