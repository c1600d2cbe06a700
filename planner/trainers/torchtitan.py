"""torchtitan: which plans for FSDP2 it runs, and which models it has."""

from __future__ import annotations

from functools import cache

from planner.trainers import fsdp, rules
from planner.workload.presets import read_transformer_preset
from planner.workload.spec import ModelSpec

_NATIVE_FLAVORS = {
    "qwen3-30b-a3b": ("qwen3", "30B-A3B"),
    "qwen3-235b-a22b": ("qwen3", "235B-A22B"),
    "deepseek-v3": ("deepseek_v3", "671B"),
    "gpt-oss-20b": ("gpt_oss", "20b"),
    "gpt-oss-120b": ("gpt_oss", "120b"),
}
"""Model presets that torchtitan has too, by module and flavour."""
_PRESET_NAMES = ("name", "title", "seq_length", "published")
"""Fields in which a model may differ from a preset and is the same."""
_LLAMA_SIZES = ("hidden_size", "layers", "heads", "kv_heads", "head_dim", "ffn_size", "vocab_size")
_LLAMA_OPTIONS = ("tied_embeddings", "qk_norm", "norm_bias")
_PLAIN_LLAMA = ModelSpec(name="", hidden_size=1, layers=1, heads=1, ffn_size=1, gated_mlp=True, norm="rmsnorm")


@cache
def _read_native_presets() -> tuple[tuple[ModelSpec, tuple[str, str]], ...]:
    return tuple((read_transformer_preset(name), flavor) for name, flavor in _NATIVE_FLAVORS.items())


def find_native_flavor(model: ModelSpec) -> tuple[str, str] | None:
    """Torchtitan's module and flavour for this model, if there is one."""
    fields = [name for name in ModelSpec.__struct_fields__ if name not in _PRESET_NAMES]
    for preset, module_and_flavor in _read_native_presets():
        if all(getattr(model, name) == getattr(preset, name) for name in fields):
            return module_and_flavor
    return None


def _accept_llama_field(name: str) -> rules.Rule:
    """The value that Llama has, or a model that torchtitan has as a preset."""
    return rules.reject_model(
        f"model.{name}",
        "the parts of Llama, or a preset of torchtitan",
        lambda model: getattr(model, name) != getattr(_PLAIN_LLAMA, name) and find_native_flavor(model) is None,
    )


TORCHTITAN = rules.Program(
    "torchtitan",
    "0.3",
    (
        rules.ACCEPT_DECODERS,
        rules.accept_accelerators("NVIDIA gpu", "AMD gpu"),
        *rules.accept_degrees("tp", "pp", "cp", "ep", "vpp"),
        rules.accept_values("precision", "bf16", "fp8", "mxfp8", "nvfp4", "fp32"),
        *(
            _accept_llama_field(name)
            for name in ModelSpec.__struct_fields__
            if name not in (*_PRESET_NAMES, *_LLAMA_SIZES, *_LLAMA_OPTIONS)
        ),
        rules.Rule("zero_stage", "zero_stage 2 or 3", lambda plan: (plan.zero_stage < 2) & (plan.dp * plan.cp > 1)),
        rules.Rule("etp", "etp 1", lambda plan: plan.etp > 1),
        fsdp.ACCEPT_ALL_LAYERS_RECOMPUTED,
        *rules.restrict_rules([rules.accept_values("cp_exchange", "all-gather")], lambda plan: plan.cp > 1),
        rules.Rule("attention", "attention flash", lambda plan: plan.attention == "unfused"),
        rules.accept_orders("tp-cp-dp-pp"),
        fsdp.ACCEPT_DP_OVERLAP,
        rules.accept_values("gradients", "fp32"),
        *fsdp.ACCEPT_FSDP_OFFLOADS,
        rules.Rule("shard_group", "shard_group all, or cp times a divisor of dp", rules.breaks_shard_groups),
        rules.Rule("shard_group", "tp x shard_group a multiple of ep", rules.breaks_expert_shard_groups),
        rules.Rule("schedule", "schedule 1f1b", lambda plan: (plan.schedule == "zero-bubble") & (plan.pp == 1)),
    ),
)
