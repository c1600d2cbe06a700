"""Layers of torchtitan's Llama keep for the backward pass what the cost model says, with kernels as of a GPU."""

import copy
import dataclasses
import gc
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.export.real.needs import import_package
from tests.real.planned import build_planned, compute_planned_bytes
from tests.real.saved_tensors import LiveTensors, compute_layer_bytes, record_live_tensors, use_gpu_kernels

pytestmark = pytest.mark.real

LENGTH, RANKS = 8192, 8


@pytest.fixture(autouse=True)
def use_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torchtitan on the CPU, with the attention kernel of a GPU in the place of FlexAttention, and the norm's."""
    torch = import_package("torch")
    attention = import_package("torchtitan.models.common.attention")
    functional = import_package("torch.nn.functional")

    def attend(self: Any, q_BLNH: Any, k_BLNH: Any, v_BLNH: Any, **options: Any) -> Any:  # noqa: N803
        heads = (tensor.transpose(1, 2) for tensor in (q_BLNH, k_BLNH, v_BLNH))
        flash = torch.ops.aten._scaled_dot_product_flash_attention.default
        return flash(*heads, 0.0, True, False, scale=options.get("scale"))[0].transpose(1, 2)

    logging.disable(logging.WARNING)
    monkeypatch.setattr(import_package("torchtitan.tools.utils"), "device_type", "cpu")
    monkeypatch.setattr(import_package("torchtitan.tools.utils"), "device_module", torch.cpu)
    monkeypatch.setattr(import_package("torchtitan.distributed.parallel_dims"), "device_type", "cpu")
    monkeypatch.setattr(attention.FlexAttention, "forward", attend)
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": str(RANKS)}.items():
        monkeypatch.setenv(name, value)
    store = import_package("torch.testing._internal.distributed.fake_pg").FakeStore()
    torch.distributed.init_process_group("fake", store=store, rank=0, world_size=RANKS)
    with use_gpu_kernels():
        # nn.RMSNorm calls torch's own
        monkeypatch.setattr(torch, "rms_norm", functional.rms_norm)
        yield
    torch.distributed.destroy_process_group()
    logging.disable(logging.NOTSET)


def run_layers(layers: int, flavor: str, tp: int, mode: str) -> LiveTensors:
    """What is alive after the forward pass of a model of this many layers, parameters apart."""
    torch, checkpointing = (
        import_package(name) for name in ("torch", "torchtitan.distributed.activation_checkpoint")
    )
    config, models = import_package("torchtitan.config"), import_package("torchtitan.models.llama3")
    distributed = import_package("torchtitan.distributed")
    model_config = copy.deepcopy(models.llama3_configs[flavor]("flex"))
    model_config.layers = model_config.layers[:layers]
    for layer in model_config.layers:
        layer.attention.rope = dataclasses.replace(layer.attention.rope, max_seq_len=LENGTH)
    parallelism = config.ParallelismConfig(
        data_parallel_shard_degree=RANKS // tp, tensor_parallel_degree=tp, spmd_backend="partial_dtensor"
    )
    distributed.utils.set_spmd_backend(parallelism.spmd_backend)
    import_package("torchtitan.models.llama3.sharding").set_llama3_sharding_config(model_config, enable_sp=True)
    dims = distributed.ParallelDims.from_config(parallelism, RANKS)
    dims.build_mesh()
    with torch.device("meta"):
        model = model_config.build()
    policies = {"none": None, "selective": checkpointing.SelectiveAC.Config(), "full": checkpointing.FullAC.Config()}
    import_package("torchtitan.models.llama3.parallelize").parallelize_llama(
        model,
        parallel_dims=dims,
        training=config.TrainingConfig(seq_len=LENGTH),
        parallelism=parallelism,
        compile_config=config.CompileConfig(enable=False),
        ac_config=policies[mode],
        dump_folder="",
    )
    model._skip_lm_head = True
    with import_package("torch._subclasses.fake_tensor").FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        tokens = torch.zeros(1, LENGTH, dtype=torch.long)
        with record_live_tensors(lambda shape: LENGTH in shape or LENGTH // tp in shape) as live:
            output = model(tokens, positions=torch.zeros(1, LENGTH, dtype=torch.long))
        gc.collect()
        live.freeze()
        del output
    return live


@pytest.mark.parametrize("tp", [1, 8])
@pytest.mark.parametrize("mode", ["none", "selective", "full"])
def test_llama_3_8b(mode: str, tp: int) -> None:
    planned = build_planned("llama-3-8b", "fsdp2", LENGTH)
    planned = replace(planned, trainer=replace(planned.trainer, joins_qkv=True))
    real_bytes = compute_layer_bytes(lambda layers: run_layers(layers, "8B", tp, mode), 1, 3)
    # a layer's own copy of the rotary table: complex numbers of 32 bit for half of a head, at each position
    table_bytes = 4 * 128 * LENGTH if mode == "none" else 0
    assert compute_planned_bytes(planned, tp=tp)[mode] + table_bytes == pytest.approx(real_bytes, rel=0.001)
