"""What torch.compile keeps of a layer of torchtitan's Llama for its backward pass is what the cost model says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.export.real.needs import import_package
from tests.real.fsdp_tracker import start_process_group
from tests.real.planned import build_planned, compute_planned_bytes
from tests.real.torchtitan_steps import Step, build_modules

pytestmark = pytest.mark.real

LENGTH = 8192


def record_partitions(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """Makes compiled layers run as they are, by the partition that Inductor has, and records what each keeps."""
    torch = import_package("torch")
    partitioners = import_package("torch._functorch.partitioners")
    compiler = import_package("torchtitan.distributed.compile")
    kept: list[list[Any]] = []

    def divide(graph: Any, inputs: Any, **options: Any) -> Any:
        forward, backward = partitioners.min_cut_rematerialization_partition(graph, inputs, **options)
        outputs = list(forward.graph.nodes)[-1].args[0][options["num_fwd_outputs"] :]
        kept.append([node for node in outputs if isinstance(node, torch.fx.Node)])
        return forward, backward

    def run(module: Any, inputs: Any) -> Any:
        return import_package("torch._functorch.aot_autograd").make_boxed_func(module.forward)

    backend = import_package("torch._dynamo.backends.common").aot_autograd(
        fw_compiler=run,
        bw_compiler=run,
        partition_fn=divide,
        decompositions=import_package("torch._inductor.decomposition").select_decomp_table(),
    )
    monkeypatch.setattr(compiler, "_maybe_regional_inductor_backend", lambda model, name: backend)
    return kept


def build_attention() -> Any:
    """In the place of FlexAttention, which has no backward pass on a CPU: the same tensors are kept."""
    run = import_package("torch.nn.functional").scaled_dot_product_attention

    def attend(self: Any, q_BLNH: Any, k_BLNH: Any, v_BLNH: Any, **options: Any) -> Any:  # noqa: N803
        queries, keys, values = (tensor.transpose(1, 2) for tensor in (q_BLNH, k_BLNH, v_BLNH))
        return run(queries, keys, values, is_causal=True, enable_gqa=True).transpose(1, 2)

    return attend


def run_layers(monkeypatch: pytest.MonkeyPatch, step: Step) -> list[Any]:
    """What the last layer keeps: nodes of its forward graph."""
    torch, checkpointing = (
        import_package(name) for name in ("torch", "torchtitan.distributed.activation_checkpoint")
    )
    kept, list_operators = record_partitions(monkeypatch), checkpointing._get_default_save_ops
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    monkeypatch.setattr(checkpointing, "_get_default_save_ops", lambda: list_operators() | {attention})
    for module in ("torchtitan.tools.utils", "torchtitan.distributed.parallel_dims"):
        monkeypatch.setattr(import_package(module), "device_type", "cpu")
    monkeypatch.setattr(import_package("torchtitan.tools.utils"), "device_module", torch.cpu)
    flex_attention = import_package("torchtitan.models.common.attention").FlexAttention
    monkeypatch.setattr(flex_attention, "forward", build_attention())
    with start_process_group(step.ranks):
        (model,) = build_modules(step)
        model._skip_lm_head = True
        with import_package("torch._subclasses.fake_tensor").FakeTensorMode(allow_non_fake_inputs=True):
            model.to_empty(device="cpu")
            tokens = torch.zeros(1, step.seq_length, dtype=torch.long)
            model(tokens, positions=torch.zeros_like(tokens))
    return kept[-1]


def compute_token_bytes(nodes: list[Any]) -> int:
    """Bytes of distinct tensors of 16 bit and more, weights and the rotary table, which all layers share, apart."""
    torch, storages = import_package("torch"), {}
    for node in nodes:
        tensor = node.meta.get("val")
        is_parameter = node.op == "placeholder" and isinstance(tensor, torch.Tensor) and tensor.dim() < 3
        if isinstance(tensor, torch.Tensor) and not is_parameter and not is_view_of_parameter(node):
            storages[tensor.untyped_storage()._cdata] = math.prod(map(int, tensor.shape)) * tensor.element_size()
    return sum(storages.values())


def is_view_of_parameter(node: Any) -> bool:
    """Whether it is a matrix, turned, or of the rotary table."""
    tensor = node.meta["val"]
    if tensor.is_complex():
        return True
    while node.op == "call_function" and len(node.all_input_nodes) == 1:
        (node,) = node.all_input_nodes
    return node.op == "placeholder" and node.meta["val"].dim() < 3


# full recomputation with tensor parallelism runs into an assertion of torch 2.13
@pytest.mark.parametrize(("mode", "tp"), [("none", 1), ("none", 2), ("selective", 1), ("selective", 2), ("full", 1)])
def test_llama_3_8b(monkeypatch: pytest.MonkeyPatch, mode: str, tp: int) -> None:
    planned = build_planned("llama-3-8b", "fsdp2", LENGTH, launch="compiled")
    planned = replace(planned, trainer=replace(planned.trainer, joins_qkv=True))
    real_bytes = compute_token_bytes(run_layers(monkeypatch, Step(layers=3, recompute=mode, tp=tp, is_compiled=True)))
    assert compute_planned_bytes(planned, tp=tp)[mode] == pytest.approx(real_bytes, rel=0.01)
