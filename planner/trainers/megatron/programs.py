"""Megatron with the distributed optimizer, today's and that of up to NeMo 26.04; Megatron-FSDP; its programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.trainers import model_rules, rules
from planner.trainers.megatron.models import (
    ARGUMENTS_FILE,
    BRIDGE_ROPE_RULE,
    CONFIG_FILE,
    GELU_TANH_RULE,
    LM_MLP_RULES,
    LM_ROPE_RULE,
    MLP_RULES,
    MODEL_RULES,
    NEMO_ROPE_RULE,
    WHOLE_ROPE_BASE_RULE,
    has_dense_layers,
)
from planner.trainers.megatron.modules import MODULE_RULES, WRITTEN_MODULES, list_plan_modules
from planner.trainers.megatron.settings import (
    ATTENTION_WRITTEN_SETTINGS,
    FP8_ATTENTION_RULES,
    KEEP_REMAINDERS_RULE,
    MEGATRON_SETTING_RULES,
    MEGATRON_WRITTEN_SETTINGS,
    keeps_mxfp8_weights,
)
from planner.trainers.megatron.versions import BRIDGE_VERSIONS, LM_VERSIONS, NEMO_VERSIONS
from planner.trainers.program import Program
from planner.trainers.trainer import Trainer

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
# megatron-bridge 0.3.0, megatron/bridge/recipes: use_distributed_optimizer and overlap_grad_reduce in nearly all, and
# sequence_parallel in those with tensor parallelism (llama/llama3.py); NeMo is taken to be alike: its models moved
# there
_BRIDGE_DEFAULTS = MEGATRON_DEFAULTS | {"zero_stage": "1", "dp_overlap": "yes", "seq_parallel": "tp"}

# 32-bit gradient buffers, reduced in 32 bit (Megatron-LM, docs: dist_optimizer.md)
MEGATRON = Trainer(
    name="megatron",
    programs=("megatron-lm", "megatron-bridge", "nemo"),
    usual_program="megatron-bridge",
    sharded_weight_bytes=2.0,
    gradient_bytes=4.0,
    grad_reduce_bytes=4.0,
    rank_orders=(MEGATRON_ORDER, MEGATRON_PP_DP_ORDER),
    # of Megatron-Bridge's recipes for GB200 and GB300, from v0.2.0 (scripts/performance/configs, deepseek and qwen3:
    # moe_flex_dispatcher_backend) to v0.6.0 (src/megatron/bridge/perf_recipes, gb200 and gb300); DeepEP on H100
    nvl72_ep_exchange="hybridep",
    loss_bytes_per_logit=8.0,
    # 16-bit logits, and in their place their gradient, beside 32-bit ones that are overwritten by the softmax and its
    # gradient (megatron/core/tensor_parallel/cross_entropy.py; fusions/fused_cross_entropy.py alike)
    held_logit_bytes=6.0,
    # `bucket_size` of NeMo 2.5, lightning/pytorch/callbacks/megatron_comm_overlap.py, and of Megatron-Bridge 0.3,
    # training/comm_overlap.py; of megatron-core 0.16.1, distributed/distributed_data_parallel.py, for many ranks
    message_elements=(2.0**27, 1e6),
    loss_launches=20,
    # is_first_microbatch (megatron/core/extensions/transformer_engine.py)
    caches_narrow_weights=True,
    widens_gradients=True,
    # `get_query_key_value_tensors` of megatron/core/transformer/attention.py
    cuts_key_values=True,
    selective_recompute="modules",
    # `gradient_accumulation_fusion`, of the logits' matrix too (megatron/core/tensor_parallel/layers.py)
    keeps_dummy_gradients=True,
    # `initialize_model_parallel` of megatron/core/parallel_state.py: those of them that a collective runs in
    communicators=(
        *("world", "tensor", "context", "data", "pipeline", "model", "embedding"),
        *("expert", "expert tensor", "expert data"),
    ),
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
    message_elements=None,
    sharded_weight_bytes=0.0,
    grad_reduce_bytes=2.0,
    widens_gradients=False,
    keeps_embedding_gathered=True,
)


def _list_scopes(plan: rules.PlanValues) -> list[str]:
    """The parts of a layer that are graphs."""
    return plan.launch.removeprefix("graph:").split("+") if plan.launch.startswith("graph:") else []


def _repeats_dropout_in_graph(plan: rules.PlanValues) -> bool:
    """Whether a graph has attention or MLPs with dropout that selective recomputation repeats."""
    if plan.model is None or not plan.model.dropout:
        return False
    modules = list_plan_modules(plan)
    if plan.launch == "graph":
        return bool(modules & {"core_attn", "mlp", "moe"})
    return any(
        scope in _list_scopes(plan) and module in modules
        for scope, module in (("attn", "core_attn"), ("mlp", "mlp"), ("moe", "moe"))
    )


_GRAPH_SOURCE = f"{CONFIG_FILE}, cuda_graph_scope"
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
        lambda plan: "mlp" in _list_scopes(plan) and plan.model is not None and not has_dense_layers(plan.model),
        source=_GRAPH_SOURCE,
    ),
    rules.Rule(
        "launch",
        "graph or no graphs with full recomputation",
        lambda plan: (plan.recompute == "full") & bool(_list_scopes(plan)),
        source=_GRAPH_SOURCE,
    ),
    rules.Rule(
        "launch",
        "no graphs of moe_router with recompute_modules moe, which is more than they are",
        lambda plan: (
            bool("moe_router" in _list_scopes(plan) and "moe" in list_plan_modules(plan))
            & (plan.recompute == "selective")
        ),
        source=_GRAPH_SOURCE,
    ),
    rules.Rule(
        "launch",
        "no graphs of what is repeated with dropout: its random numbers are drawn anew",
        lambda plan: (plan.recompute == "selective") & _repeats_dropout_in_graph(plan),
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
    model_rules.accept_decoders(f"{rules.NOT_WRITTEN}: GPTModel alone (megatron/core/models/gpt)"),
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
        source=f"{ARGUMENTS_FILE}: --bf16, --fp16, --fp8-format, --fp4-format",
    ),
    rules.accept_offloads(
        *("optimizer", "activations"),
        source=f"{ARGUMENTS_FILE}, --optimizer-cpu-offload; {CONFIG_FILE}, fine_grained_activation_offloading",
    ),
    *MODULE_RULES,
    rules.accept_orders(
        *(MEGATRON_ORDER, MEGATRON_PP_DP_ORDER),
        source="megatron/training/initialize.py, _initialize_distributed: use_tp_pp_dp_mapping",
    ),
    *accept_expert_orders("megatron/core/parallel_state.py, initialize_model_parallel"),
    *model_rules.reject_model_parts(
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
        source=f"{ARGUMENTS_FILE}, --use-distributed-optimizer",
    ),
    rules.accept_trainer_stages(
        ("megatron-fsdp",),
        "zero_stage 2 or 3 with --trainer megatron-fsdp",
        *(2, 3),
        source=f"{ARGUMENTS_FILE}, --data-parallel-sharding-strategy",
    ),
    rules.REJECT_FLASH_BEFORE_AMPERE,
    rules.Rule(
        "model.moe",
        "no experts on GPUs before Ampere: grouped GEMMs need a compute capability of 8.0",
        lambda plan: plan.has_experts and rules.is_older_than_ampere(plan.architecture),
        source=f"{ARGUMENTS_FILE}, validate_args",
    ),
    rules.Rule(
        "etp",
        "etp 1 where experts have biases",
        lambda plan: bool(plan.model and plan.model.moe and plan.model.moe.expert_bias) & (plan.etp > 1),
        source=f"{CONFIG_FILE}, __post_init__: add_bias_linear",
    ),
    *_GRAPH_RULES,
    *MODEL_RULES,
    rules.Rule(
        "communication",
        "the format of gradients in memory: bf16",
        lambda plan: plan.gradients == "bf16" and plan.communication == "fp32",
        source=f"{ARGUMENTS_FILE}, --grad-reduce-in-bf16",
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
        source=f"{ARGUMENTS_FILE}, validate_args: tp_comm_overlap",
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
        source=f"{ARGUMENTS_FILE}, --num-distributed-optimizer-instances",
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
    rules.Rule(
        "gather_overlap",
        "gather_overlap yes, or ZeRO 0 or 1",
        lambda plan: (plan.zero_stage > 1) & (not plan.settings.get("gather_overlap", True)),
        source="megatron/core/distributed/fsdp/src/megatron_fsdp/megatron_fsdp.py, overlap_param_gather",
    ),
    *MEGATRON_SETTING_RULES,
)
MEGATRON_LM = Program(
    "megatron-lm",
    "core_v0.16.1",
    (
        *_MEGATRON_CORE_RULES,
        LM_ROPE_RULE,
        *LM_MLP_RULES,
        GELU_TANH_RULE,
        WHOLE_ROPE_BASE_RULE,
        KEEP_REMAINDERS_RULE,
        rules.accept_whole_sequences(
            "the data of pretraining (GPTDataset) say no lengths of documents (cu_seqlens), those of --sft alone do",
            source="megatron/core/datasets/gpt_dataset.py; megatron/training/datasets/sft_dataset.py",
        ),
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
        BRIDGE_ROPE_RULE,
        *MLP_RULES,
        rules.Rule(
            "order",
            f"order {MEGATRON_ORDER}",
            lambda plan: (plan.zero_stage > 1) & (plan.order != MEGATRON_ORDER),
            source="megatron/bridge/training/config.py, validate: use_tp_pp_dp_mapping",
        ),
        *FP8_ATTENTION_RULES,
        rules.accept_whole_sequences(
            "the data of pretraining (GPTDatasetConfig) say no lengths of documents, those of fine-tuning alone do "
            "(FinetuningDatasetConfig.packed_sequence_specs)",
            source="megatron/bridge/training/config.py; data/datasets/packed_sequence.py",
        ),
    ),
    written_settings=(*MEGATRON_WRITTEN_SETTINGS, *ATTENTION_WRITTEN_SETTINGS, *WRITTEN_MODULES),
    source="github.com/NVIDIA-NeMo/Megatron-Bridge",
    versions=BRIDGE_VERSIONS,
    defaults=_BRIDGE_DEFAULTS,
    # `bf16_with_mxfp8_mixed` of megatron/bridge/training/mixed_precision.py: fp8_param_gather
    narrow_weight_precisions=("mxfp8",),
)
_NEMO_CORE_SOURCE = f"megatron-core 0.14, {CONFIG_FILE}: no fields for them"
NEMO = Program(
    "nemo",
    "2.5",
    (
        *_MEGATRON_CORE_RULES,
        rules.Rule(
            "cp_exchange",
            "cp_exchange ring, all-gather or all-to-all",
            lambda plan: (plan.cp > 1) & (plan.cp_exchange == "hierarchical"),
            source="nemo/lightning/_strategy_lib.py, init_model_parallel: no hierarchical_context_parallel_sizes",
        ),
        # of megatron-core 0.14, which NeMo imports
        model_rules.reject_tp_beyond_kv_heads(f"{CONFIG_FILE}, num_query_groups"),
        rules.Rule(
            "precision",
            "precision bf16, fp16, fp8 or mxfp8",
            lambda plan: plan.precision == "nvfp4",
            source="nemo/collections/llm/recipes/precision/mixed_precision.py",
        ),
        rules.Rule(
            "weights",
            "weights bf16 with precision mxfp8",
            keeps_mxfp8_weights,
            source="nemo/lightning/pytorch/plugins/mixed_precision.py, MegatronMixedPrecision",
        ),
        rules.accept_offloads("optimizer", source=_NEMO_CORE_SOURCE),
        *model_rules.reject_model_parts("mla", source="nemo/collections/llm/gpt/model/base.py, GPTConfig"),
        *model_rules.reject_model_parts("attention_sinks", "activation_limit", source=_NEMO_CORE_SOURCE),
        model_rules.reject_model(
            "model.sliding_every",
            "1: all layers have the window",
            lambda m: m.sliding_window > 0 and m.sliding_every > 1,
            source=_NEMO_CORE_SOURCE,
        ),
        model_rules.reject_model(
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
        NEMO_ROPE_RULE,
        *MLP_RULES,
        *FP8_ATTENTION_RULES,
        rules.accept_whole_sequences(
            "the data of pretraining (PreTrainingDataModule) say no lengths of documents, those of fine-tuning alone "
            "do (FineTuningDataModule, packed_sequence_specs)",
            source="nemo/collections/llm/gpt/data/pre_training.py; fine_tuning.py",
        ),
    ),
    written_settings=(*MEGATRON_WRITTEN_SETTINGS, *ATTENTION_WRITTEN_SETTINGS, "recompute_modules"),
    source="github.com/NVIDIA/NeMo",
    versions=NEMO_VERSIONS,
    defaults=_BRIDGE_DEFAULTS,
)
"""On megatron-core 0.14: nemo_toolkit 2.5.3 imports no later version (collections/llm/gpt/model/megatron/hyena/
hyena_model.py). NeMo 3 has no language models: see Megatron-Bridge."""
