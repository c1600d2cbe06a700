"""Which parts of a layer selective recomputation repeats, in the words of trainers, and which activations are kept on
the host.

Megatron's modules are what is repeated (megatron-core 0.16.1, `recompute_modules` and `offload_modules` of
`transformer/transformer_config.py`). MaxText's policies name the tensors that are kept, and everything else is
repeated (MaxText 0.2.5, `get_remat_policy` of `layers/decoders.py` and the keys below `remat_policy` of
`configs/base.yml`). What modules and tensors are in a layer is in `planner/cost/selective.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from planner.errors import find_nearest_name

DEFAULT_MODULES = "default"
"""What the trainer repeats by itself: `Trainer.selective_recompute`."""
EVERY_SECOND_MATMUL = "every-second-matmul"
"""Beside norms and activation functions every second multiply: torchtitan's `SelectiveAC` (0.3.0,
distributed/activation_checkpoint.py)."""
GRAPH_POLICY = "graph-sac-default"
"""torchtitan's graph trainer: a policy of the whole graph, of which its partition keeps what the backward pass reads
(experiments/graph_trainer)."""
RECOMPUTE_MODULES = ("core_attn", "layernorm", "mla_up_proj", "mlp", "moe", "moe_act", "shared_experts")
"""Of `--recompute-modules`; sorted, as values are."""
ALL_ACTIVATIONS = "all"
OFFLOAD_MODULES = ("attn_norm", "attn_proj", "core_attn", "expert_fc1", "mlp_norm", "moe_act", "qkv_linear")
"""Of `--offload-modules`: those whose input is kept on the host."""

SelectiveRecompute = Literal["cheap", "multiplies", "modules", "attention"]
"""What a trainer repeats by itself: `Trainer.selective_recompute`."""

_QKV_TENSORS = ("query_proj", "value_proj", "key_proj", "kv_proj", "qkv_proj")
_MLP_TENSORS = ("mlpwi_0", "mlpwi_1", "mlpwi", "mlpwo")
REMAT_TENSORS = (
    "decoder_layer_input",
    "context",
    *_MLP_TENSORS,
    *("moe_mlpwi_0", "moe_mlpwi_1", "moe_mlpwo"),
    *_QKV_TENSORS,
    *("query_wa_proj", "kv_wa_proj", "mla_q", "mla_kv", "attention_out", "out_proj"),
)
"""Tensors of MaxText that a policy `custom` may keep on the device or on the host."""
_ATTENTION_TENSORS = (*_QKV_TENSORS, "out_proj")
REMAT_POLICIES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "minimal_with_context": ((*_ATTENTION_TENSORS, *_MLP_TENSORS, "context"), ()),
    "minimal": ((*_ATTENTION_TENSORS, *_MLP_TENSORS), ()),
    "minimal_offloaded": ((), (*_ATTENTION_TENSORS, *_MLP_TENSORS)),
    "save_dot_with_context_except_mlp": ((*_ATTENTION_TENSORS, "context"), ()),
    "save_dot_except_mlpwi": ((*_ATTENTION_TENSORS, "mlpwo"), ()),
    "save_dot_except_mlp": (_ATTENTION_TENSORS, ()),
    "save_qkv_proj": (_QKV_TENSORS, ()),
    "qkv_proj_offloaded": ((), ("query_proj", "value_proj", "key_proj", "kv_proj")),
    "save_out_proj": (("out_proj",), ()),
}
"""MaxText's policies: tensors that are kept on the device, and on the host."""
_OTHER_POLICIES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # of Pax, used by MaxText of early 2024 (praxis, layers/checkpoint_policy.py)
    "save_dot_except_logits": REMAT_POLICIES["minimal_with_context"],
    "save_dot_except_logits_ffn1": ((*_ATTENTION_TENSORS, "context", "mlpwo"), ()),
    # outputs of multiplies, attention and collectives (torchtitan, experiments/graph_trainer/memory_policy.py); of
    # every second multiply in versions that `Trainer.graph_keeps_every_second` is true of
    GRAPH_POLICY: REMAT_POLICIES["minimal_with_context"],
}
_POLICIES = {**REMAT_POLICIES, **_OTHER_POLICIES}
RECOMPUTE_VALUES = (DEFAULT_MODULES, EVERY_SECOND_MATMUL, *RECOMPUTE_MODULES, *_POLICIES)
"""Values with a name of their own; modules may be joined by +, and tensors listed after `save:` and `offload:`."""
_LISTS = ("offload", "save")


@dataclass(frozen=True)
class RecomputeChoice:
    """A value of the setting `recompute_modules`."""

    name: str
    """The value in its only form: modules sorted."""
    modules: frozenset[str] = frozenset()
    """Megatron's modules that are repeated."""
    kept: frozenset[str] | None = None
    """Tensors that are kept, on the device or on the host, where all others are repeated; None: no such policy."""
    offloaded: frozenset[str] = frozenset()
    """Of the tensors that are kept those on the host."""


@cache
def parse_recompute_modules(text: str) -> RecomputeChoice:
    """A value of the setting. Raises ValueError, whose text says what was expected.

    `mla_up_proj+mlp`: modules; `save:context,out_proj+offload:decoder_layer_input`: tensors that are kept on the
    device, and on the host; or the name of a policy.
    """
    if text in (DEFAULT_MODULES, EVERY_SECOND_MATMUL):
        return RecomputeChoice(text)
    if text in _POLICIES:
        kept, offloaded = _POLICIES[text]
        return _build_policy(text, kept, offloaded)
    terms = text.split("+")
    if any(":" in term for term in terms):
        return _parse_tensor_lists(terms)
    unknown = next((term for term in terms if term not in RECOMPUTE_MODULES), None)
    if unknown is not None:
        names = RECOMPUTE_VALUES if len(terms) == 1 else RECOMPUTE_MODULES
        raise ValueError(_describe_expected("modules joined by +, or a policy", unknown, names))
    modules = frozenset(terms)
    return RecomputeChoice("+".join(sorted(modules)), modules)


def list_default_modules(*, attention: str, has_experts: bool, has_latent_attention: bool) -> list[str]:
    """Megatron's modules that are repeated where none are chosen: unfused attention; with experts the norm before
    them and their activation function; the MLP of models with dense layers alone, whose norms are fused with the
    multiply after them, so that `layernorm` repeats nothing there (megatron-core 0.16.1, models/gpt,
    gpt_layer_specs.py). Fused attention has nothing to drop ("no need to set 'core_attn' to recompute",
    transformer/transformer_config.py).
    """
    if attention == "unfused":
        modules = ["core_attn"]
    else:
        modules = ["layernorm", "moe_act"] if has_experts else ["mlp"]
        modules += ["layernorm"] if has_latent_attention and not has_experts else []
    return sorted([*modules, "mla_up_proj"] if has_latent_attention else modules)


def _build_policy(name: str, kept: tuple[str, ...], offloaded: tuple[str, ...]) -> RecomputeChoice:
    return RecomputeChoice(name, kept=frozenset((*kept, *offloaded)), offloaded=frozenset(offloaded))


def _parse_tensor_lists(terms: list[str]) -> RecomputeChoice:
    """Lists of tensors after `save:` and `offload:`."""
    tensors: dict[str, list[str]] = {name: [] for name in _LISTS}
    for term in terms:
        place, _, names = term.partition(":")
        if place not in _LISTS:
            raise ValueError(_describe_expected("tensors after save: and offload:", place, _LISTS))
        for tensor in names.split(","):
            if tensor not in REMAT_TENSORS:
                raise ValueError(_describe_expected("tensors of MaxText", tensor, REMAT_TENSORS))
            tensors[place].append(tensor)
    both = sorted(set(tensors["save"]) & set(tensors["offload"]))
    if both:
        raise ValueError(f"each tensor in one list: {', '.join(both)}")
    lists = {place: ",".join(sorted(set(names))) for place, names in tensors.items() if names}
    name = "+".join(f"{place}:{names}" for place, names in lists.items())
    return _build_policy(name, tuple(tensors["save"]), tuple(tensors["offload"]))


def _describe_expected(what: str, unknown: str, names: tuple[str, ...]) -> str:
    nearest = find_nearest_name(unknown, names)
    return f"{what}: {', '.join(names)}" + (f"; did you mean {nearest}?" if nearest else "")


def normalize_recompute_modules(text: str) -> str:
    """The value in its only form. Raises ValueError."""
    return parse_recompute_modules(text).name


@cache
def normalize_offload_modules(text: str) -> str:
    """The value of the setting `offload_modules` in its only form: `all`, or modules sorted and joined by +. Raises
    ValueError, whose text says what was expected.
    """
    names = text.split("+")
    unknown = next((name for name in names if name not in OFFLOAD_MODULES), None)
    if text == ALL_ACTIVATIONS or unknown is None:
        return "+".join(sorted(set(names)))
    raise ValueError(_describe_expected("all, or modules joined by +", unknown, OFFLOAD_MODULES))


def join_tensor_lists(items: list[str]) -> list[str]:
    """Values that were split at commas, with the tensors of a list joined again: save:context, out_proj."""
    values: list[str] = []
    for item in items:
        if values and ":" in values[-1] and item.partition("+")[0] in REMAT_TENSORS:
            values[-1] += f",{item}"
        else:
            values.append(item)
    return values
