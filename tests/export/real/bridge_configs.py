"""Run by itself: Megatron-Bridge's configuration of exported scripts, as JSON.

In: a list of scripts' paths. Out, into the file that is named: for each its sizes. PYTHONPATH has megatron-bridge;
packages that are built for GPUs, which it imports and no configuration needs, are mocked.
"""

import importlib.abc
import importlib.machinery
import json
import runpy
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import megatron

BUILT = ("transformer_engine", "nvidia_resiliency_ext", "modelopt", "qwen_vl_utils", "timm", "open_clip", "mamba_ssm")


class StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules that have every name."""

    def find_spec(self, name, path, target=None):  # type: ignore[no-untyped-def]
        if name.split(".")[0] in BUILT:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = MagicMock(name=spec.name)
        module.__spec__, module.__path__, module.__name__, module.__version__ = spec, [], spec.name, "2.12.0"
        return module  # type: ignore[return-value]

    def exec_module(self, module: ModuleType) -> None:
        pass


def read_sizes(script: str) -> dict[str, object]:
    config = runpy.run_path(script, run_name="planned")["config"]()
    model = config.model
    names = {field for field in vars(config.ddp) if not field.startswith("_")}
    return {
        "class": type(config).__qualname__,
        "tp": model.tensor_model_parallel_size,
        "pp": model.pipeline_model_parallel_size,
        "cp": model.context_parallel_size,
        "layers": model.num_layers,
        "vocabulary": model.vocab_size,
        "global_batch": config.train.global_batch_size,
        "micro_batch": config.train.micro_batch_size,
        "zero": config.ddp.use_distributed_optimizer,
        "fsdp": config.dist.use_megatron_fsdp,
        "dp": config.get_data_parallel_size(int(Path(script).with_suffix(".devices").read_text())),
        "known": sorted(names),
    }


sys.meta_path.insert(0, StandIn())
# a namespace of two folders: megatron-core's and this
assert any("bridge" in [entry.name for entry in Path(part).iterdir()] for part in megatron.__path__)
Path(sys.argv[1]).write_text(json.dumps([read_sizes(script) for script in json.load(sys.stdin)]))
