"""Megatron with the distributed optimizer, today's and that of up to NeMo 26.04; Megatron-FSDP; its programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.trainers import rules
from planner.trainers.megatron.modules import MODULE_RULES, WRITTEN_MODULES
from planner.trainers.megatron.settings import (
    ATTENTION_WRITTEN_SETTINGS,
    FP8_ATTENTION_RULES,
    KEEP_REMAINDERS_RULE,
    MEGATRON_SETTING_RULES,
    MEGATRON_WRITTEN_SETTINGS,
)
from planner.trainers.megatron.versions import BRIDGE_VERSIONS, LM_VERSIONS, NEMO_VERSIONS
from planner.trainers.program import Program
from planner.trainers.rules import is_llama3_scaling
from planner.trainers.trainer import Trainer
from planner.workload.spec import ModelSpec, RopeScaling

MEGATRON_ORDER, MEGATRON_PP_DP_ORDER = "tp-cp-dp-pp", "tp-cp-pp-dp"
"""Supported orders of ranks; the second is `use_tp_pp_dp_mapping`."""

# Megatron-LM core_v0.16.1: the switches of megatron/training/arguments.py are off; recompute_granularity is None
# (megatron/core/transformer/transformer_config.py); expert_tensor_parallel_size is tensor_model_parallel_size
# (megatron/core/model_parallel_config.py)
MEGATRON_DEFAULTS = {
    "vpp": "1",
    "cp": "1",
    "ep": "1",
    "etp": "tp",
    "recompute": "none",
    "seq_parallel": "no",
    "zero_stage": "0",
    "dp_overlap": "no",
}
# megatron-bridge 0.3.0, megatron/bridge/recipes: use_distributed_optimizer and overlap_grad_reduce in nearly all;
# NeMo is taken to be alike: its models moved there
_BRIDGE_DEFAULTS = MEGATRON_DEFAULTS | {"zero_stage": "1", "dp_overlap": "yes"}

# 32-bit gradient buffers, reduced in 32 bit (Megatron-LM, docs: dist_optimizer.md)
MEGATRON = Trainer(
    name="megatron",
    programs=("megatron-lm", "megatron-bridge", "nemo"),
    sharded_weight_bytes=2.0,
    gradient_bytes=4.0,
    grad_reduce_bytes=4.0,
    rank_orders=(MEGATRON_ORDER, MEGATRON_PP_DP_ORDER),
    loss_bytes_per_logit=8.0,
    launch_mode="graph",
    overlaps_expert_comm=True,
    fuses_expert_kernels=True,
)

# before whole steps were captured as one graph and the all-to-all of experts was overlapped
MEGATRON_CLASSIC = replace(
    MEGATRON,
    name="megatron-classic",
    launch_mode="fused",
    overlaps_expert_comm=False,
    fuses_expert_kernels=False,
)

# fully sharded data parallelism: 32-bit sharded parameters are the master weights, as in FSDP2
MEGATRON_FSDP = replace(
    MEGATRON_CLASSIC,
    name="megatron-fsdp",
    usual_zero_stage=3,
    sharded_weight_bytes=0.0,
    grad_reduce_bytes=2.0,
    keeps_embedding_gathered=True,
    fragmentation_share=0.08,
)


def _has_uniform_biases(model: ModelSpec) -> bool:
    """Whether all matrices have a bias (`add_bias_linear`), none, or those of queries, keys and values alone
    (`add_qkv_bias`); those of experts apart.
    """
    moe, out_bias = model.moe, model.attention_out_bias
    has_dense_layers = moe is None or moe.first_dense_layers > 0 or moe.every > 1
    mlp_bias = model.mlp_bias if has_dense_layers else out_bias
    return (model.qkv_bias, out_bias, mlp_bias) in ((True,) * 3, (False,) * 3, (True, False, False))


def _has_uniform_expert_biases(model: ModelSpec) -> bool:
    """Whether experts and router have biases where the other matrices have (megatron-core 0.16.1,
    transformer/moe/router.py).
    """
    moe = model.moe
    if moe is None:
        return True
    has_router_bias = moe.router_bias and not moe.balances_by_bias
    return moe.expert_bias == model.attention_out_bias == has_router_bias


def _can_scale_latent_positions(scaling: RopeScaling) -> bool:
    """Yarn with both magnitudes given: MLATransformerConfig has no others."""
    return scaling.type == "yarn" and scaling.truncate and None not in (scaling.mscale, scaling.mscale_all_dim)


def _can_lm_scale(model: ModelSpec, scaling: RopeScaling) -> bool:
    """Whether Megatron-LM has arguments for it. `--rope-scaling-factor` and `--rotary-seq-len-interpolation-factor`
    are parsed, but gpt_builders.py (core_v0.16.1) hands neither to the model; the numbers of yarn that have no
    argument are those of MLATransformerConfig.
    """
    if model.mla is None:
        return is_llama3_scaling(scaling)
    numbers = (scaling.original_seq_length, scaling.beta_fast, scaling.beta_slow)
    return _can_scale_latent_positions(scaling) and numbers == (4096, 32.0, 1.0)


def _can_bridge_scale(model: ModelSpec, scaling: RopeScaling) -> bool:
    """Whether Megatron-Bridge's providers have fields for it (megatron-bridge 0.3.1, models/gpt_provider.py,
    models/mla_provider.py, models/gpt_oss/gpt_oss_provider.py).
    """
    if model.mla is not None:
        return _can_scale_latent_positions(scaling)
    return scaling.type in ("linear", "yarn") or is_llama3_scaling(scaling, any_factor=True)


def _can_nemo_scale(model: ModelSpec, scaling: RopeScaling) -> bool:
    """Llama31Config has all numbers of Llama 3.1's; GPTConfig those of linear scaling (nemo_toolkit 2.5.3,
    collections/llm/gpt/model/llama.py and base.py); it has no latent attention at all.
    """
    return model.mla is not None or scaling.type in ("llama3", "linear")


_ARGUMENTS_FILE = "megatron/training/arguments.py"
_CONFIG_FILE = "megatron/core/transformer/transformer_config.py"
_MLP_RULES = (
    rules.accept_activations(
        gated=("silu", "gelu", "gelu-tanh", "quick-gelu", "relu"),
        plain=("gelu", "gelu-tanh", "relu", "squared-relu"),
        source=f"{_CONFIG_FILE}, activation_func; megatron/core/activations.py",
    ),
)
_LM_MLP_RULES = (
    rules.accept_activations(
        gated=("silu", "quick-gelu"),
        plain=("gelu", "gelu-tanh", "squared-relu"),
        source=f"{_ARGUMENTS_FILE}: --swiglu, --quick-geglu, --squared-relu",
    ),
)
_GELU_TANH_RULE = rules.reject_model(
    "model.activation",
    "gelu without biases; gelu-tanh is a kernel with a bias",
    lambda model: model.mlp_activation == "gelu-tanh" and not model.gated_mlp and not model.mlp_bias,
    "gelu-tanh",
    source=f"{_CONFIG_FILE}, bias_activation_fusion",
)
_WHOLE_ROPE_BASE_RULE = rules.reject_model(
    "model.rope_base",
    "a whole number",
    lambda model: not model.rope_base.is_integer(),
    source=f"{_ARGUMENTS_FILE}, --rotary-base",
)
_ROUTING_SOURCE = "megatron/core/transformer/moe/moe_utils.py, topk_routing_with_score_function"
_ROUTER_RULES = (
    rules.reject_model(
        "model.moe.router_normalized",
        "true with sigmoid; false for one expert a token; either with softmax",
        lambda model: (
            model.moe is not None
            and (
                (model.moe.topk > 1 and model.moe.score_function == "sigmoid" and not model.moe.normalizes_topk)
                or (model.moe.topk == 1 and model.moe.normalizes_topk)
            )
        ),
        lambda plan: str(bool(plan.model and plan.model.moe and plan.model.moe.normalizes_topk)).lower(),
        source=_ROUTING_SOURCE,
    ),
    rules.reject_model(
        "model.moe.router_score",
        "sigmoid, where a bias balances the experts",
        lambda model: model.moe is not None and model.moe.balances_by_bias and model.moe.score_function == "softmax",
        "softmax",
        source=f"{_CONFIG_FILE}, moe_router_enable_expert_bias",
    ),
    rules.reject_model(
        "model.moe.router_groups",
        "none for a softmax over the chosen experts (router_normalized)",
        lambda model: (
            model.moe is not None
            and model.moe.router_groups > 0
            and model.moe.score_function == "softmax"
            and model.moe.normalizes_topk
        ),
        source=_ROUTING_SOURCE,
    ),
    rules.reject_model(
        "model.moe.router_group_experts",
        "topk / router_topk_groups, rounded down: the best experts of a group that add up to its score",
        lambda model: (
            model.moe is not None
            and model.moe.router_groups > 0
            and model.moe.router_group_experts != model.moe.topk // model.moe.router_topk_groups
        ),
        source="megatron/core/transformer/moe/moe_utils.py, group_limited_topk",
    ),
)


def _has_dense_layers(model: ModelSpec) -> bool:
    """Whether some layers have no experts."""
    return model.moe is None or model.moe.first_dense_layers > 0 or model.moe.every > 1


def _list_scopes(plan: rules.PlanValues) -> list[str]:
    """The parts of a layer that are graphs."""
    return plan.launch.removeprefix("graph:").split("+") if plan.launch.startswith("graph:") else []


_GRAPH_SOURCE = f"{_CONFIG_FILE}, cuda_graph_scope"
_GRAPH_RULES = (
    rules.Rule(
        "launch",
        "graphs without moe: it needs experts that drop tokens and pad",
        lambda plan: "moe" in _list_scopes(plan),
        source=_GRAPH_SOURCE,
    ),
    rules.Rule(
        "launch",
        "graphs of moe_router in a model with experts alone, and with moe_preprocess",
        lambda plan: (
            ("moe_router" in _list_scopes(plan) and not plan.has_experts)
            or ("moe_preprocess" in _list_scopes(plan) and "moe_router" not in _list_scopes(plan))
        ),
        source=_GRAPH_SOURCE,
    ),
    rules.Rule(
        "launch",
        "graphs of mlp in a model with dense layers",
        lambda plan: "mlp" in _list_scopes(plan) and plan.model is not None and not _has_dense_layers(plan.model),
        source=_GRAPH_SOURCE,
    ),
    rules.Rule(
        "launch",
        "graph or no graphs with full recomputation",
        lambda plan: (plan.recompute == "full") & bool(_list_scopes(plan)),
        source=_GRAPH_SOURCE,
    ),
)


def accept_expert_orders(source: str) -> tuple[rules.Rule, ...]:
    """The orders in which pipeline stages of experts have the ranks of those of other layers. A model without experts
    has their groups too, with ep 1 and etp = tp.
    """
    rule = replace(
        rules.accept_orders(MEGATRON_ORDER, source=source), supported=f"order {MEGATRON_ORDER}, or ep x etp = tp x cp"
    )
    return rules.restrict_rules(
        [rule], lambda plan: plan.ep * np.where(plan.has_experts, plan.etp, plan.tp) != plan.tp * plan.cp
    )


_MEGATRON_CORE_RULES = (
    rules.accept_decoders(f"{rules.NOT_WRITTEN}: GPTModel alone (megatron/core/models/gpt)"),
    rules.accept_accelerators(
        *("NVIDIA gpu", "AMD gpu"), source="megatron/training/initialize.py, initialize_megatron: torch.cuda"
    ),
    *rules.restrict_rules(
        [
            rules.accept_values(
                "schedule", "1f1b", source="megatron/core/pipeline_parallel/schedules.py, get_forward_backward_func"
            )
        ],
        lambda plan: plan.pp > 1,
    ),
    rules.accept_values(
        *("precision", "bf16", "fp16", "fp32", "tf32", "fp8", "mxfp8", "nvfp4"),
        source=f"{_ARGUMENTS_FILE}: --bf16, --fp16, --fp8-format, --fp4-format",
    ),
    rules.accept_offloads(
        *("optimizer", "activations"),
        source=f"{_ARGUMENTS_FILE}, --optimizer-cpu-offload; {_CONFIG_FILE}, fine_grained_activation_offloading",
    ),
    *MODULE_RULES,
    rules.accept_orders(
        *(MEGATRON_ORDER, MEGATRON_PP_DP_ORDER),
        source="megatron/training/initialize.py, _initialize_distributed: use_tp_pp_dp_mapping",
    ),
    *accept_expert_orders("megatron/core/parallel_state.py, initialize_model_parallel"),
    *rules.reject_model_parts(
        "embedding_norm",
        "relative_positions",
        "token_types",
        "attention_softcap",
        "logit_softcap",
        "parallel_residual",
        source="megatron/core/models/gpt/gpt_model.py; core/transformer/transformer_layer.py",
    ),
    rules.accept_trainer_stages(
        ("megatron", "megatron-classic"),
        "zero_stage 0 or 1; stages 2 and 3 are Megatron-FSDP's: --trainer megatron-fsdp",
        *(0, 1),
        source=f"{_ARGUMENTS_FILE}, --use-distributed-optimizer",
    ),
    rules.accept_trainer_stages(
        ("megatron-fsdp",),
        "zero_stage 2 or 3 with --trainer megatron-fsdp",
        *(2, 3),
        source=f"{_ARGUMENTS_FILE}, --data-parallel-sharding-strategy",
    ),
    rules.REJECT_FLASH_BEFORE_AMPERE,
    rules.Rule(
        "model.moe",
        "no experts on GPUs before Ampere: grouped GEMMs need a compute capability of 8.0",
        lambda plan: plan.has_experts and rules.is_older_than_ampere(plan.architecture),
        source=f"{_ARGUMENTS_FILE}, validate_args",
    ),
    *_GRAPH_RULES,
    rules.reject_model(
        "model.final_norm",
        "true",
        lambda model: not model.final_norm,
        "false",
        source="megatron/core/transformer/transformer_block.py, has_final_layernorm_in_this_stage",
    ),
    rules.accept_values("model.head", "lm", source="megatron/core/models/gpt/gpt_model.py, output_layer"),
    rules.reject_model(
        "model.norm_bias",
        "true, or rmsnorm",
        lambda model: model.norm == "layernorm" and not model.norm_bias,
        "false",
        source="megatron/core/fusions/fused_layer_norm.py, FusedLayerNorm",
    ),
    rules.reject_model(
        "model.attention_out_bias",
        "biases everywhere, nowhere, or of QKV",
        lambda model: not _has_uniform_biases(model),
        source=f"{_CONFIG_FILE}, add_bias_linear and add_qkv_bias",
    ),
    rules.reject_model(
        "model.moe.expert_bias",
        "biases of experts and router where all other matrices have one, and nowhere else",
        lambda model: not _has_uniform_expert_biases(model),
        lambda plan: str(bool(plan.model and plan.model.moe and plan.model.moe.expert_bias)).lower(),
        source="megatron/core/transformer/moe/router.py, Router",
    ),
    rules.reject_model(
        "model.activation_limit",
        "0, or quick-gelu in a gated MLP",
        lambda model: model.activation_limit > 0 and not (model.gated_mlp and model.mlp_activation == "quick-gelu"),
        source=f"{_CONFIG_FILE}, activation_func_clamp_value",
    ),
    rules.reject_model(
        "model.rope_fraction",
        "1 in latent attention",
        lambda model: model.mla is not None and model.rope_fraction < 1,
        source="megatron/core/transformer/multi_latent_attention.py: YarnRotaryEmbedding has no rotary_percent",
    ),
    *_ROUTER_RULES,
    rules.reject_model(
        "model.mtp_layers",
        "0, or rotary positions",
        lambda model: model.mtp_layers > 0 and not model.has_rotary_positions,
        source=f"{_ARGUMENTS_FILE}, validate_args: mtp_num_layers",
    ),
    rules.Rule(
        "communication",
        "the format of gradients in memory: bf16",
        lambda plan: plan.gradients == "bf16" and plan.communication == "fp32",
        source=f"{_ARGUMENTS_FILE}, --grad-reduce-in-bf16",
    ),
    rules.Rule(
        "sequence_parallel",
        "experts under tensor parallelism: --sequence-parallel",
        lambda plan: plan.has_experts & (plan.tp > 1) & (plan.sequence_parallel == 0),
        source="megatron/core/transformer/moe/moe_layer.py, MoELayer.forward",
    ),
    rules.Rule(
        "tp_overlap",
        "also --sequence-parallel",
        lambda plan: plan.tp_overlap & (plan.tp > 1) & (plan.sequence_parallel == 0),
        source=f"{_ARGUMENTS_FILE}, validate_args: tp_comm_overlap",
    ),
    # for a balanced causal mask each of the cp ranks takes one chunk from the front of the sequence and one from its
    # end
    rules.Rule(
        "cp",
        "a sequence that 2 x cp divides",
        lambda plan: (plan.cp > 1) & (plan.seq_length % (2 * plan.cp) != 0),
        source="megatron/core/utils.py, get_batch_on_this_cp_rank",
    ),
    rules.Rule(
        "zero_stage",
        "zero_stage 1 where the optimizer is on the host",
        lambda plan: ("optimizer" in plan.offload) & (plan.zero_stage != 1),
        source="megatron/core/optimizer/optimizer_config.py, __post_init__: use_precision_aware_optimizer",
    ),
    rules.Rule(
        "shard_group",
        "shard_group all",
        lambda plan: (plan.shard_group is not None) & (plan.zero_stage == 0),
        source=f"{_ARGUMENTS_FILE}, --num-distributed-optimizer-instances",
    ),
    rules.Rule(
        "shard_group",
        "tp x shard_group a multiple of etp x ep",
        rules.breaks_expert_shard_groups,
        source="megatron/core/parallel_state.py, initialize_model_parallel: num_distributed_optimizer_instances",
    ),
    rules.Rule(
        "dp_overlap",
        "dp_overlap yes, or ZeRO 0 or 1",
        lambda plan: (plan.zero_stage > 1) & (not plan.dp_overlap),
        source="megatron/core/distributed/fsdp/src/megatron_fsdp/megatron_fsdp.py, overlap_grad_reduce",
    ),
    *MEGATRON_SETTING_RULES,
)
MEGATRON_LM = Program(
    "megatron-lm",
    "core_v0.16.1",
    (
        *_MEGATRON_CORE_RULES,
        rules.accept_rope_scalings(
            "Llama 3.1's with factor 8; in latent attention yarn with mscale, beta_fast 32, beta_slow 1 and "
            "original_seq_length 4096",
            _can_lm_scale,
            source="gpt_builders.py, gpt_builder: rope_scaling",
        ),
        *_LM_MLP_RULES,
        _GELU_TANH_RULE,
        _WHOLE_ROPE_BASE_RULE,
        KEEP_REMAINDERS_RULE,
    ),
    written_settings=(*MEGATRON_WRITTEN_SETTINGS, *WRITTEN_MODULES),
    source="github.com/NVIDIA/Megatron-LM",
    versions=LM_VERSIONS,
    defaults=MEGATRON_DEFAULTS,
)
MEGATRON_BRIDGE = Program(
    "megatron-bridge",
    "0.3",
    (
        *_MEGATRON_CORE_RULES,
        rules.accept_rope_scalings(
            "linear, yarn, or Llama 3.1's; in latent attention yarn with mscale",
            _can_bridge_scale,
            source="megatron/bridge/models/gpt_provider.py; mla_provider.py; gpt_oss/gpt_oss_provider.py",
        ),
        *_MLP_RULES,
        rules.Rule(
            "order",
            f"order {MEGATRON_ORDER}",
            lambda plan: (plan.zero_stage > 1) & (plan.order != MEGATRON_ORDER),
            source="megatron/bridge/training/config.py, validate: use_tp_pp_dp_mapping",
        ),
        *FP8_ATTENTION_RULES,
    ),
    written_settings=(*MEGATRON_WRITTEN_SETTINGS, *ATTENTION_WRITTEN_SETTINGS, *WRITTEN_MODULES),
    source="github.com/NVIDIA-NeMo/Megatron-Bridge",
    versions=BRIDGE_VERSIONS,
    defaults=_BRIDGE_DEFAULTS,
)
_NEMO_CORE_SOURCE = f"megatron-core 0.14, {_CONFIG_FILE}: no fields for them"
NEMO = Program(
    "nemo",
    "2.5",
    (
        *_MEGATRON_CORE_RULES,
        rules.Rule(
            "precision",
            "precision bf16, fp16, fp8 or mxfp8",
            lambda plan: plan.precision == "nvfp4",
            source="nemo/collections/llm/recipes/precision/mixed_precision.py",
        ),
        rules.accept_offloads("optimizer", source=_NEMO_CORE_SOURCE),
        *rules.reject_model_parts("mla", source="nemo/collections/llm/gpt/model/base.py, GPTConfig"),
        *rules.reject_model_parts("attention_sinks", "activation_limit", source=_NEMO_CORE_SOURCE),
        rules.reject_model(
            "model.sliding_every",
            "1: all layers have the window",
            lambda m: m.sliding_window > 0 and m.sliding_every > 1,
            source=_NEMO_CORE_SOURCE,
        ),
        rules.reject_model(
            "model.moe.shared_gate",
            "false",
            lambda m: m.moe is not None and m.moe.shared_gate,
            "true",
            source=_NEMO_CORE_SOURCE,
        ),
        rules.REJECT_GRAPH_SCOPES,
        rules.Rule(
            "ep_exchange",
            "ep_exchange deepep or nccl",
            lambda plan: plan.settings.get("ep_exchange") == "hybridep",
            source="megatron-core 0.14, megatron/core/transformer/moe/fused_a2a.py",
        ),
        rules.accept_rope_scalings(
            "linear, or llama3", _can_nemo_scale, source="nemo/collections/llm/gpt/model/llama.py; base.py"
        ),
        *_MLP_RULES,
        *FP8_ATTENTION_RULES,
    ),
    written_settings=(*MEGATRON_WRITTEN_SETTINGS, *ATTENTION_WRITTEN_SETTINGS, "recompute_modules"),
    source="github.com/NVIDIA/NeMo",
    versions=NEMO_VERSIONS,
    defaults=_BRIDGE_DEFAULTS,
)
"""On megatron-core 0.14: nemo_toolkit 2.5.3 imports no later version (collections/llm/gpt/model/megatron/hyena/
hyena_model.py). NeMo 3 has no language models: see Megatron-Bridge."""
