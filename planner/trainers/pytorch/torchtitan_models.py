"""Which models torchtitan has: presets of its own, and those that the exported module builds of its parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import msgspec

from planner.trainers import model_rules, rules
from planner.workload.presets import read_transformer_preset
from planner.workload.spec import ModelSpec, MoeSpec

_NATIVE_FLAVORS = {
    "deepseek-v3": ("deepseek_v3", "671B"),
    "gpt-oss-20b": ("gpt_oss", "20b"),
    "gpt-oss-120b": ("gpt_oss", "120b"),
}
"""Model presets that torchtitan has too, by module and flavour, with parts that no other model of it has."""
_PRESET_NAMES = ("name", "title", "seq_length", "published", "norm_epsilon", "mtp_layers", "moe")
"""Fields in which a model may differ from a preset: those that say nothing of its layers, and those that are compared
apart or written.
"""
_DECODER_FIELDS = (
    *("hidden_size", "layers", "heads", "kv_heads", "head_dim", "ffn_size", "vocab_size"),
    *("tied_embeddings", "qk_norm", "qkv_bias", "norm_bias", "norm_epsilon", "moe"),
    *("rope_base", "rope_scaling", "activation", "sliding_window", "sliding_every"),
)
"""Fields that are written with any value, or with those that a rule below accepts."""
_PLAIN_DECODER = ModelSpec(name="", hidden_size=1, layers=1, heads=1, ffn_size=1, gated_mlp=True, norm="rmsnorm")
_LONGEST_SEQUENCES = {"deepseek_v3": 16_384, "gpt_oss": 131_072}
"""Tokens of the table of positions of each of these modules: `max_seq_len` in its `__init__.py`."""


@cache
def _read_native_presets() -> tuple[tuple[ModelSpec, tuple[str, str]], ...]:
    return tuple((read_transformer_preset(name), flavor) for name, flavor in _NATIVE_FLAVORS.items())


def find_native_flavor(model: ModelSpec) -> tuple[str, str] | None:
    """Torchtitan's module and flavour for this model, if there is one."""
    fields = [name for name in ModelSpec.__struct_fields__ if name not in _PRESET_NAMES]
    for preset, module_and_flavor in _read_native_presets():
        has_same_head_dim = model.head_dim in (preset.head_dim, None) or preset.mla is not None
        derived = ("head_dim", "kv_heads", "activation")
        has_same_layers = all(getattr(model, name) == getattr(preset, name) for name in fields if name not in derived)
        if (
            has_same_layers
            and has_same_head_dim
            and model.kv_head_count == preset.kv_head_count
            and model.mlp_activation == preset.mlp_activation
            and _strip_aux_loss(model.moe) == _strip_aux_loss(preset.moe)
            and (model.mtp_layers == 0 or module_and_flavor[0] == "deepseek_v3")
        ):
            return module_and_flavor
    return None


def _strip_aux_loss(moe: MoeSpec | None) -> MoeSpec | None:
    """The experts with all defaults filled in, without the loss that balances them, which torchtitan lacks."""
    if moe is None:
        return None
    return msgspec.structs.replace(
        moe,
        aux_loss=0.0,
        aux_loss_scope="batch",
        router_score=moe.score_function,
        router_normalized=moe.normalizes_topk,
    )


def _reject_model(setting: str, supported: str, is_broken: Callable[[ModelSpec], bool], source: str) -> rules.Rule:
    """Transformers for which `is_broken` holds and that torchtitan does not have as a preset."""
    return model_rules.reject_model(
        setting,
        f"{supported}, or a preset of torchtitan",
        lambda model: is_broken(model) and find_native_flavor(model) is None,
        source=source,
    )


def _accept_plain_field(name: str) -> rules.Rule:
    """The value that Llama has, or a model that torchtitan has as a preset."""
    return _reject_model(
        f"model.{name}",
        "the parts of Llama",
        lambda model: getattr(model, name) != getattr(_PLAIN_DECODER, name),
        "torchtitan/models/llama3/model.py, Llama3TransformerBlock; models/common",
    )


def _exceeds_positions(plan: rules.PlanValues) -> bool:
    """Whether a sequence is longer than a preset's table of positions."""
    flavor = None if plan.model is None else find_native_flavor(plan.model)
    return flavor is not None and plan.seq_length > _LONGEST_SEQUENCES[flavor[0]]


def _has_too_few_kv_heads(plan: rules.PlanValues) -> rules.Flags:
    """Whether tensor parallelism does not divide the heads of keys and values; latent attention has one for each
    query head.
    """
    model = plan.model
    return model is not None and (model.kv_head_count if model.mla is None else model.heads) % plan.tp != 0


MODEL_RULES = (
    model_rules.accept_decoders(
        "torchtitan/models/common/decoder.py, Decoder; vision is not written by planner export"
    ),
    *(
        _accept_plain_field(name)
        for name in ModelSpec.__struct_fields__
        if name not in (*_PRESET_NAMES, *_DECODER_FIELDS)
    ),
    _accept_plain_field("mtp_layers"),
    _reject_model(
        "model.activation",
        "silu",
        lambda model: model.mlp_activation != "silu",
        "torchtitan/models/common/feed_forward.py, FeedForward",
    ),
    _reject_model(
        "model.rope_scaling",
        "llama3",
        lambda model: model.rope_scaling is not None and model.rope_scaling.type != "llama3",
        "torchtitan/models/common/rope.py, RoPE.Config: scaling",
    ),
    _reject_model(
        "model.moe.expert_bias",
        "false",
        lambda model: model.moe is not None and model.moe.expert_bias,
        "torchtitan/models/common/moe.py, GroupedExperts",
    ),
    model_rules.reject_model(
        "model.moe.router_group_experts",
        "2: the best experts of a group that add up to its score",
        lambda model: model.moe is not None and model.moe.router_groups > 0 and model.moe.router_group_experts != 2,
        source="torchtitan/models/common/moe.py, TokenChoiceTopKRouter._get_node_limited_routing_scores",
    ),
    rules.Rule(
        "model.sliding_window",
        "0, a window of the whole sequence, or a preset of torchtitan",
        lambda plan: (
            plan.model is not None
            and 0 < plan.model.sliding_window < plan.seq_length
            and find_native_flavor(plan.model) is None
        ),
        source="torchtitan/models/gpt_oss: windows are GPT-OSS's",
    ),
    rules.Rule(
        "seq_length",
        "a sequence within the table of positions of torchtitan's preset",
        _exceeds_positions,
        source="torchtitan/models/common/decoder.py, Decoder.Config.update_from_config",
    ),
    rules.Rule(
        "tp",
        "a divisor of the model's {plan.model.kv_head_count} KV heads",
        _has_too_few_kv_heads,
        source="torchtitan/models/common/decoder.py, Decoder.Config.update_from_config",
    ),
    rules.Rule(
        "pp",
        "pp 1 with tied embeddings",
        lambda plan: (plan.pp > 1) & (plan.model is not None and plan.model.tied_embeddings),
        source="torchtitan/models/common/decoder.py, Decoder.Config.update_from_config",
    ),
    *(
        rules.Rule(
            degree,
            f"{degree} 1 with multi-token prediction",
            lambda plan, degree=degree: (  # type: ignore[misc]
                plan.model is not None and (plan.model.mtp_layers > 0) & (getattr(plan, degree) > 1)
            ),
            source="torchtitan/models/deepseek_v3/mtp.py, MTPDecoder.Config.update_from_config",
        )
        for degree in ("pp", "cp")
    ),
    rules.Rule(
        "sequence_parallel",
        "sequence_parallel yes with tp and a gate of shared experts",
        lambda plan: (
            (plan.tp > 1)
            & (plan.sequence_parallel == 0)
            & (plan.model is not None and plan.model.moe is not None and plan.model.moe.shared_gate)
        ),
        source="torchtitan/models/qwen3_5/sharding.py, _set_shared_expert_gate_sharding",
    ),
)
