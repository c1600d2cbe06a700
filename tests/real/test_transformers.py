"""Layers of Hugging Face's transformers keep for the backward pass what the cost model says."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import msgspec
import pytest

from planner.cost.settings import AttentionKernel
from planner.trainers.names import TrainerName
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from tests.export.real.needs import import_package
from tests.real.planned import build_planned, compute_planned_bytes
from tests.real.saved_tensors import SavedTensors, compute_layer_bytes, record_saved_tensors, use_gpu_kernels

pytestmark = pytest.mark.real

LENGTH = 1000
"""Tokens: no width of a matrix, by which copies of weights are told from activations."""
LLAMA = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8}
GPT2 = {"n_embd": 1600, "n_head": 25, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
NEOX = {"hidden_size": 6144, "intermediate_size": 24576, "num_attention_heads": 64}


def build_llama_like(**fields: Any) -> ModelSpec:
    preset = read_model_preset("llama-3-8b")
    assert isinstance(preset, ModelSpec)
    return msgspec.structs.replace(preset, **fields)


def build_mixtral_like(**fields: Any) -> ModelSpec:
    preset = read_model_preset("mixtral-8x7b")
    assert isinstance(preset, ModelSpec) and preset.moe is not None
    return msgspec.structs.replace(preset, moe=msgspec.structs.replace(preset.moe, expert_ffn_size=896), **fields)


def build_gpt_like(hidden: int, heads: int, **fields: Any) -> ModelSpec:
    preset = read_model_preset("gpt-3-175b")
    assert isinstance(preset, ModelSpec)
    sizes = {"hidden_size": hidden, "heads": heads, "kv_heads": heads, "ffn_size": 4 * hidden, "dropout": False}
    return msgspec.structs.replace(preset, **(sizes | fields))


MODELS: dict[str, tuple[str, dict[str, Any], ModelSpec]] = {
    "llama-3-8b": ("LlamaConfig", LLAMA, build_llama_like()),
    "llama-2-7b": (
        "LlamaConfig",
        LLAMA | {"intermediate_size": 11008, "num_key_value_heads": 32},
        build_llama_like(ffn_size=11008, kv_heads=32),
    ),
    "qwen2.5-7b": (
        "Qwen2Config",
        {"hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28, "num_key_value_heads": 4},
        build_llama_like(hidden_size=3584, ffn_size=18944, heads=28, kv_heads=4, head_dim=128, qkv_bias=True),
    ),
    "qwen3-8b": (
        "Qwen3Config",
        LLAMA | {"intermediate_size": 12288, "head_dim": 128},
        build_llama_like(ffn_size=12288, qk_norm=True),
    ),
    "mixtral": (
        "MixtralConfig",
        {"hidden_size": 256, "intermediate_size": 896, "num_attention_heads": 8, "num_key_value_heads": 2},
        build_mixtral_like(hidden_size=256, heads=8, kv_heads=2, head_dim=32),
    ),
    "gpt2-xl": ("GPT2Config", GPT2, build_gpt_like(1600, 25)),
    "gpt-neox-20b": (
        "GPTNeoXConfig",
        NEOX,
        build_gpt_like(6144, 64, learned_positions=0, parallel_residual=True, activation="gelu"),
    ),
}


@contextmanager
def leave_out_masks() -> Iterator[None]:
    """A batch without padding and packing has no mask, which fake tensors, without values, do not show."""
    masks = import_package("transformers.masking_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "find_packed_sequence_indices", lambda positions: None)
        patch.setattr(masks, "_ignore_causal_mask_sdpa", lambda *arguments, **named: True)
        yield


def run_forward(
    config_name: str, sizes: dict[str, Any], layers: int, attention: str, *, is_autocast: bool, is_checkpointed: bool
) -> SavedTensors:
    """What the forward pass of a model keeps, copies of weights apart."""
    torch, transformers = import_package("torch"), import_package("transformers")
    count = "n_layer" if config_name == "GPT2Config" else "num_hidden_layers"
    config = getattr(transformers, config_name)(**sizes, **{count: layers}, vocab_size=512, use_cache=False)
    weight_dtype = torch.float32 if is_autocast else torch.bfloat16
    # which tokens an expert gets is a matter of values, which fake tensors have not
    has_values = config_name == "MixtralConfig"
    fake_mode = import_package("torch._subclasses.fake_tensor").FakeTensorMode(allow_non_fake_inputs=True)
    with nullcontext() if has_values else fake_mode:
        model = transformers.AutoModel.from_config(config, attn_implementation=attention, dtype=weight_dtype)
        model.train()
        if is_checkpointed:
            model.gradient_checkpointing_enable()
        tokens = torch.zeros(1, LENGTH, dtype=torch.long)
        weights = [*model.parameters(), *model.buffers()]
        autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_autocast)
        with use_gpu_kernels(), leave_out_masks(), record_saved_tensors(weights) as saved, autocast:
            model(tokens)
    if is_autocast:
        saved.drop(lambda tensor: tensor.dim() == 2 and LENGTH not in tensor.shape)
    return saved


def compare(
    name: str,
    trainer: TrainerName,
    attention: AttentionKernel = "flash",
    *,
    version: str = "",
    mode: str = "none",
    is_autocast: bool = False,
) -> tuple[float, float]:
    """Bytes of a token in one layer, over the hidden size: of transformers, and as planned."""
    config_name, sizes, spec = MODELS[name]

    def run_layers(layers: int) -> SavedTensors:
        return run_forward(
            *(config_name, sizes, layers, "sdpa" if attention == "flash" else "eager"),
            is_autocast=is_autocast,
            is_checkpointed=mode == "full",
        )

    planned = compute_planned_bytes(build_planned(spec, trainer, LENGTH, attention=attention, version=version))
    width = LENGTH * spec.hidden_size
    return compute_layer_bytes(run_layers, 1, 2) / width, planned[mode] / width


@pytest.mark.parametrize("name", MODELS)
def test_modules_in_16_bit(name: str) -> None:
    real, planned = compare(name, "deepspeed")
    # the masks that say which token each expert gets, in a model that is small
    assert planned == pytest.approx(real, rel=0.006 if name == "mixtral" else 0.002)


@pytest.mark.parametrize("version", ["accelerate@1.15", "fsdp2@2.13"])
def test_modules_that_fsdp2_shards(version: str) -> None:
    real, planned = compare("llama-3-8b", "fsdp2", version=version)
    assert planned == pytest.approx(real, rel=0.002)


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-8b", "gpt2-xl", "gpt-neox-20b"])
def test_modules_under_autocast(name: str) -> None:
    real, planned = compare(name, "ddp", is_autocast=True)
    assert planned == pytest.approx(real, rel=0.002)


@pytest.mark.parametrize("name", ["llama-3-8b", "gpt2-xl", "gpt-neox-20b"])
def test_attention_that_keeps_its_pairs(name: str) -> None:
    real, planned = compare(name, "deepspeed", "unfused")
    assert planned == pytest.approx(real, rel=0.002)


@pytest.mark.parametrize(("trainer", "value_bytes"), [("deepspeed", 2), ("hf-trainer", 4)])
def test_checkpoints_keep_the_residual_stream(trainer: TrainerName, value_bytes: int) -> None:
    real, planned = compare("llama-3-8b", trainer, mode="full", is_autocast=trainer == "hf-trainer")
    assert planned == value_bytes == pytest.approx(real, rel=0.002)
