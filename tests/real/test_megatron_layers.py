"""Layers of megatron-core keep for the backward pass what the cost model says: attention unfused, experts one by one,
which change nothing but the copies of keys and values.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import msgspec
import pytest

from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec, MoeSpec
from tests.export.real.needs import import_package
from tests.real.planned import build_planned, compute_planned_bytes
from tests.real.saved_tensors import SavedTensors, compute_layer_bytes, record_saved_tensors, use_gpu_kernels

pytestmark = pytest.mark.real

HIDDEN, LENGTH, FFN = 256, 64, 896
GPT = {"ffn_hidden_size": FFN}
LLAMA = GPT | {
    "normalization": "RMSNorm",
    "gated_linear_unit": True,
    "add_bias_linear": False,
    "num_query_groups": 2,
    "bias_activation_fusion": True,
}
EXPERTS = LLAMA | {
    "num_moe_experts": 8,
    "moe_router_topk": 2,
    "moe_token_dispatcher_type": "alltoall",
    "moe_ffn_hidden_size": FFN,
}
SHARED_EXPERT = EXPERTS | {"moe_shared_expert_intermediate_size": FFN}
MOE = MoeSpec(experts=8, topk=2, expert_ffn_size=FFN)


def build_spec(preset: str, kv_heads: int, moe: MoeSpec | None = None) -> ModelSpec:
    spec = read_model_preset(preset)
    assert isinstance(spec, ModelSpec)
    return msgspec.structs.replace(
        spec, hidden_size=HIDDEN, heads=8, kv_heads=kv_heads, head_dim=32, ffn_size=FFN, dropout=False, moe=moe
    )


@pytest.fixture(autouse=True)
def use_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One rank without a GPU: no streams, no random numbers of a device."""
    torch, state = import_package("torch"), import_package("megatron.core.parallel_state")
    store = import_package("torch.testing._internal.distributed.fake_pg").FakeStore()
    torch.distributed.init_process_group("fake", store=store, rank=0, world_size=1)
    state.initialize_model_parallel(create_gloo_process_groups=False)
    generators = SimpleNamespace(fork=lambda *names: nullcontext())
    monkeypatch.setattr(import_package("megatron.core.tensor_parallel"), "get_cuda_rng_tracker", lambda: generators)
    routing = import_package("megatron.core.transformer.moe.moe_utils")
    monkeypatch.setattr(routing, "te_general_gemm", None, raising=False)
    for name, value in {"current_device": lambda: "cpu", "stream": lambda stream: nullcontext()}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for name in ("Stream", "Event", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, MagicMock)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *arguments: None)
    yield
    state.destroy_model_parallel()
    torch.distributed.destroy_process_group()


def run_layers(layers: int, fields: dict[str, Any]) -> SavedTensors:
    """What this many layers keep of one sequence."""
    torch = import_package("torch")
    build_module = import_package("megatron.core.transformer.spec_utils").build_module
    specs = import_package("megatron.core.models.gpt.gpt_layer_specs")
    config = import_package("megatron.core.transformer.transformer_config").TransformerConfig(
        num_layers=layers,
        hidden_size=HIDDEN,
        num_attention_heads=8,
        activation_func=torch.nn.functional.silu if "gated_linear_unit" in fields else torch.nn.functional.gelu,
        bf16=True,
        params_dtype=torch.bfloat16,
        pipeline_dtype=torch.bfloat16,
        use_cpu_initialization=True,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        gradient_accumulation_fusion=False,
        bias_dropout_fusion=False,
        # the fused kernel's result is of 16 bit too, and needs a GPU
        masked_softmax_fusion=False,
        attention_softmax_in_fp32=False,
        **fields,
    )
    spec = specs.get_gpt_layer_local_spec(normalization=config.normalization, num_experts=config.num_moe_experts)
    modules = [build_module(spec, config=config, layer_number=number + 1) for number in range(layers)]
    hidden = torch.zeros(LENGTH, 1, HIDDEN, dtype=torch.bfloat16, requires_grad=True)
    mask = torch.zeros(1, 1, LENGTH, LENGTH, dtype=torch.bool)
    weights = [parameter for module in modules for parameter in module.parameters()]
    with use_gpu_kernels(), record_saved_tensors([*weights, mask]) as saved:
        for module in modules:
            hidden, _ = module(hidden, attention_mask=mask)
    return saved


@pytest.mark.parametrize(
    ("fields", "spec", "tolerance"),
    [
        (GPT, build_spec("gpt-3-175b", 8), 0.003),
        (LLAMA, build_spec("llama-3-8b", 2), 0.002),
        # with the router's scores and indices, which are large beside a small hidden size
        (EXPERTS, build_spec("mixtral-8x7b", 2, MOE), 0.006),
        (SHARED_EXPERT, build_spec("mixtral-8x7b", 2, msgspec.structs.replace(MOE, shared_ffn_size=FFN)), 0.006),
    ],
    ids=["gpt", "llama", "experts", "shared expert"],
)
def test_a_layer(fields: dict[str, Any], spec: ModelSpec, tolerance: float) -> None:
    real_bytes = compute_layer_bytes(lambda layers: run_layers(layers, fields), 1, 2)
    planned = compute_planned_bytes(build_planned(spec, "megatron-classic", LENGTH, attention="unfused"))
    assert planned["none"] == pytest.approx(real_bytes, rel=tolerance)
