"""Which models a program has: rules, as the others of `rules.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from planner.trainers.rules import PlanValues, Rule
from planner.workload.spec import ModelSpec, RopeScaling

_UNCOMMON_PARTS = (
    *("pattern", "mixer", "indexer", "v_head_dim", "rotary", "attention_gate", "shares_keys", "values_are_keys"),
    *("norm_placement", "norm_weight", "qk_norm_scope", "inner_norms", "shared_norm", "head_bias", "embedding_size"),
    *("extra_parameters", "outer_parameters", "relative_every_layer"),
)
"""Parts of a model that no program's description of decoders has."""
_UNCOMMON_EXPERTS = ("latent_size", "dense_beside", "shared_bias")
_PLAIN_MODEL = ModelSpec(name="", hidden_size=1, layers=1, heads=1, ffn_size=1)


def find_uncommon_parts(model: ModelSpec) -> tuple[str, ...]:
    """Parts of the model beside those of a plain decoder: layers by list, mixers, other norms and gates."""
    parts = [name for name in _UNCOMMON_PARTS if getattr(model, name) != getattr(_PLAIN_MODEL, name)]
    if model.moe is not None:
        parts += [f"moe.{name}" for name in _UNCOMMON_EXPERTS if getattr(model.moe, name)]
    if model.mla is not None and model.mla.gate != "none":
        parts.append("mla.gate")
    if model.mlp_activation in ("xielu", "tanh", "sigmoid"):
        parts.append("activation")
    return tuple(parts)


def accept_decoders(source: str) -> Rule:
    """Decoders of language models whose layers are as the keys of a plain decoder say."""

    def describe(plan: PlanValues) -> str:
        parts = () if plan.model is None else find_uncommon_parts(plan.model)
        return f"{plan.model_title}, which has {', '.join(parts)}" if parts else plan.model_title

    return Rule(
        "model",
        "a decoder",
        lambda plan: (
            plan.model is None
            or plan.model.architecture != "decoder"
            or plan.model.vision is not None
            or bool(find_uncommon_parts(plan.model))
        ),
        describe,
        source=source,
    )


def reject_model(
    setting: str,
    supported: str,
    is_broken: Callable[[ModelSpec], bool],
    value: str | Callable[[PlanValues], object] | None = None,
    *,
    source: str,
) -> Rule:
    """Transformers for which `is_broken` holds."""
    return Rule(
        setting, supported, lambda plan: plan.model is not None and is_broken(plan.model), value, source=source
    )


def reject_model_parts(*names: str, source: str) -> tuple[Rule, ...]:
    """Parts of a model that the program's models do not have."""
    absent = (None, 0, False, "none")
    return tuple(
        reject_model(
            f"model.{name}",
            "left out",
            lambda model, name=name: getattr(model, name) not in absent,  # type: ignore[misc]
            source=source,
        )
        for name in names
    )


REJECT_PREDICTION_LAYERS = reject_model(
    "model.mtp_layers",
    "0: Hugging Face's library has no layers of multi-token prediction",
    lambda model: model.mtp_layers > 0,
    source="transformers 4.57, models/deepseek_v3/modeling_deepseek_v3.py, _keys_to_ignore_on_load_unexpected",
)


def accept_activations(*, gated: Iterable[str], plain: Iterable[str], source: str) -> Rule:
    """These activation functions of the MLP, gated and not."""
    gated, plain = tuple(gated), tuple(plain)
    lists = (("gated", gated), ("plain", plain))
    supported = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in lists if names)
    return Rule(
        "model.activation",
        supported,
        lambda plan: (
            plan.model is not None and plan.model.mlp_activation not in (gated if plan.model.gated_mlp else plain)
        ),
        lambda plan: plan.model.mlp_activation if plan.model is not None else None,
        source=source,
    )


def accept_rope_scalings(supported: str, accepts: Callable[[ModelSpec, RopeScaling], bool], *, source: str) -> Rule:
    """Rotary positions that are not scaled, and the scalings that `accepts` accepts."""

    def is_broken(plan: PlanValues) -> bool:
        model = plan.model
        return model is not None and model.rope_scaling is not None and not accepts(model, model.rope_scaling)

    return Rule("model.rope_scaling", supported, is_broken, describe_rope_scaling, source=source)


def describe_rope_scaling(plan: PlanValues) -> str:
    """The scaling of rotary positions in one line: its type, and the numbers that differ from their defaults."""
    scaling = plan.model.rope_scaling if plan.model is not None else None
    if scaling is None:
        return "none"
    plain = RopeScaling(type=scaling.type)
    names = [name for name in scaling.__struct_fields__ if getattr(scaling, name) != getattr(plain, name)]
    return ", ".join([scaling.type, *(f"{name} {getattr(scaling, name)}" for name in names)])


def is_llama3_scaling(scaling: RopeScaling, *, any_factor: bool = False) -> bool:
    """Whether the scaling is Llama 3.1's, with numbers that several programs have in their code (megatron-core
    0.16.1, models/common/embeddings/rotary_pos_embedding.py, `_apply_scaling`; MaxText 0.2.5, layers/embeddings.py,
    `LLaMARotaryEmbedding`). `any_factor`: the factor is an option.
    """
    numbers = (scaling.low_freq_factor, scaling.high_freq_factor, scaling.original_seq_length)
    return scaling.type == "llama3" and numbers == (1.0, 4.0, 8192) and (any_factor or scaling.factor == 8.0)


def reject_tp_beyond_kv_heads(source: str) -> Rule:
    """Tensor parallelism that divides the heads of keys and values."""
    return Rule(
        "tp",
        "a divisor of the model's {plan.model.kv_head_count} KV heads",
        lambda plan: plan.model is not None and plan.model.kv_head_count % plan.tp != 0,
        source=source,
    )
