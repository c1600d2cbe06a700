"""What megatron-core's DistributedDataParallel and optimizers hold of weights, gradients and state on a rank."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any
from unittest.mock import MagicMock

import pytest

from planner.cost.memory.activations import compute_progress
from planner.cost.memory.model_state import compute_model_state_bytes
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.strategies import build_strategy
from planner.trainers.names import GradientDtype
from tests.cost.test_engine_memory import build_llama
from tests.export.real.needs import import_package

pytestmark = pytest.mark.real

RANKS = 8
WIDTH, LAYERS = 512, 8
PARAMETERS = LAYERS * WIDTH * WIDTH
"""A multiple of all paddings of megatron/core/distributed/param_and_grad_buffer.py."""
_SMALLEST_BYTES = 20_000


@pytest.fixture(autouse=True)
def use_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One of eight ranks without a GPU: what is made for one is made on the CPU."""
    torch, state = import_package("torch"), import_package("megatron.core.parallel_state")
    store = import_package("torch.testing._internal.distributed.fake_pg").FakeStore()
    torch.distributed.init_process_group("fake", store=store, rank=0, world_size=RANKS)
    state.initialize_model_parallel(create_gloo_process_groups=False)
    for name, value in {
        "current_device": lambda: "cpu",
        "is_available": lambda: False,
        "synchronize": lambda *arguments: None,
        "Stream": MagicMock,
        "stream": lambda stream: nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    get_type = torch.Tensor.type

    def get_gpu_type(tensor: Any, *arguments: Any, **named: Any) -> Any:
        result = get_type(tensor, *arguments, **named)
        is_name = not arguments and not named and "cuda" not in result
        return result.replace("torch.", "torch.cuda.", 1) if is_name else result

    monkeypatch.setattr(torch.Tensor, "type", get_gpu_type)

    class _OnCpu(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined]
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            named = dict(kwargs or {})
            if str(named.get("device")).startswith("cuda"):
                named["device"] = "cpu"
            return args[0] if function is torch.Tensor.cuda else function(*args, **named)

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setitem(os.environ, "WORLD_SIZE", str(RANKS))
    with _OnCpu():
        yield
    state.destroy_model_parallel()
    torch.distributed.destroy_process_group()


def list_storages() -> dict[int, int]:
    """Their bytes, by address."""
    torch = import_package("torch")
    gc.collect()
    # Of tensors proper: another test of this process may have left fake tensors, which hold no storage
    tensors = [item for item in gc.get_objects() if type(item) in {torch.Tensor, torch.nn.Parameter}]
    tensors = [tensor for tensor in tensors if tensor.device.type == "cpu"]
    tensors += [tensor.grad for tensor in tensors if tensor.is_leaf and tensor.grad is not None]
    storages = [tensor.untyped_storage() for tensor in tensors if tensor.layout == torch.strided]
    return {storage.data_ptr(): storage.nbytes() for storage in storages if storage.nbytes() > _SMALLEST_BYTES}


def get_storages(tensors: Iterable[Any]) -> set[int]:
    """Their addresses."""
    return {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor is not None}


def count_kinds(model: Any, optimizer: Any, excluded: set[int]) -> dict[str, float]:
    """Bytes a parameter of all that is alive and was not before, by what it is; gradients with their copies."""
    torch = import_package("torch")
    inner = [one.optimizer for one in getattr(optimizer, "chained_optimizers", [optimizer])]
    masters = [parameter for one in inner for group in one.param_groups for parameter in group["params"]]
    states = [value for one in inner for state in one.state.values() for value in state.values()]
    addresses = {
        "weights": get_storages(model.parameters()),
        "gradients": get_storages(parameter.main_grad for parameter in model.parameters())
        | get_storages(parameter.grad for parameter in masters),
        "master": get_storages(masters),
        "moments": get_storages(value for value in states if torch.is_tensor(value)),
    }
    found = dict.fromkeys((*addresses, "others"), 0.0)
    for address, size in list_storages().items():
        if address not in excluded:
            kind = next((kind for kind, known in addresses.items() if address in known), "others")
            found[kind] += size / PARAMETERS
    return found


def run_update(gradients: str, *, is_sharded: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Bytes a parameter by kind before the first update, and after it."""
    torch, distributed = import_package("torch"), import_package("megatron.core.distributed")
    optimizers = import_package("megatron.core.optimizer")
    excluded = set(list_storages())
    model = torch.nn.Sequential(
        *(torch.nn.Linear(WIDTH, WIDTH, bias=False, dtype=torch.bfloat16) for _ in range(LAYERS))
    )
    config = import_package("megatron.core.transformer").TransformerConfig(
        num_layers=LAYERS, hidden_size=WIDTH, num_attention_heads=4, bf16=True
    )
    wrapped = distributed.DistributedDataParallel(
        config,
        distributed.DistributedDataParallelConfig(
            grad_reduce_in_fp32=gradients == "fp32", use_distributed_optimizer=is_sharded
        ),
        model,
    )
    optimizer = optimizers.get_megatron_optimizer(
        optimizers.OptimizerConfig(
            optimizer="adam",
            lr=1e-4,
            bf16=True,
            params_dtype=torch.bfloat16,
            use_distributed_optimizer=is_sharded,
        ),
        [wrapped],
        use_gloo_process_groups=False,
    )
    before = count_kinds(model, optimizer, excluded)
    for parameter in model.parameters():
        parameter.main_grad.fill_(0)
    optimizer.step()
    return before, count_kinds(model, optimizer, excluded)


def compute_planned_bytes(gradients: GradientDtype, *, is_sharded: bool) -> tuple[dict[str, float], dict[str, float]]:
    """The same of the cost model, which has the moments at all times; a third of the optimizer's state is the master
    weights.
    """
    scenario = build_llama("megatron", gradients)
    plan = build_strategy(dp=RANKS, zero_stage=int(is_sharded))
    tables = build_plan_tables(scenario, plan)
    progress = compute_progress(scenario, plan, tables)
    parts = compute_model_state_bytes(scenario, plan, tables.parameters, plan.zero_stage, progress)

    def get_bytes(category: str, moment: int) -> float:
        sizes = parts[category][0, :, 0]
        return float(sizes[min(moment, len(sizes) - 1)]) / scenario.workload.parameters

    def list_kinds(moment: int) -> dict[str, float]:
        optimizer = get_bytes("optimizer", moment)
        return {
            "weights": get_bytes("weights", moment),
            "gradients": get_bytes("gradients", moment),
            "master": optimizer / 3,
            "moments": 2 * optimizer / 3,
            "others": get_bytes("buffers", moment),
        }

    before = list_kinds(0)
    return {**before, "moments": 0.0}, list_kinds(MEMORY_MOMENTS.index("optimizer_step"))


@pytest.mark.parametrize(("gradients", "is_sharded"), [("fp32", True), ("bf16", True), ("fp32", False)])
def test_model_state(gradients: GradientDtype, is_sharded: bool) -> None:
    planned = compute_planned_bytes(gradients, is_sharded=is_sharded)
    for planned_kinds, real_kinds in zip(planned, run_update(gradients, is_sharded=is_sharded), strict=True):
        assert planned_kinds == pytest.approx(real_kinds, rel=0.01)


def test_experts_are_cut_as_the_other_layers_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    state = import_package("megatron.core.parallel_state")
    state.destroy_model_parallel()
    state.initialize_model_parallel(tensor_model_parallel_size=2, create_gloo_process_groups=False)
    assert state.get_expert_tensor_parallel_world_size() == 2
