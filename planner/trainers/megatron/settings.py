"""Which values of settings megatron-core runs beside the trainer's own, and with what else: rules of its programs.

The assertions are those of megatron-core 0.16.1, which Megatron-LM core_v0.16.1, Megatron-Bridge 0.3.1 and NeMo 2.5.3
train with, and of Transformer Engine 2.12 below it.
"""

from __future__ import annotations

import numpy as np

from planner.trainers.pipeline_layout import find_mtp_chunk
from planner.trainers.rules import Flags, PlanValues, Rule
from planner.trainers.trainer import WIDE_VALUE_BYTES

MEGATRON_WRITTEN_SETTINGS = (
    *(
        "layout",
        "gather_overlap",
        "pp_overlap",
        "ep_overlap",
        "ep_exchange",
        "weights",
        "gather",
        "moments",
        "master",
        "fp8_recipe",
        "loss",
    ),
)
"""Settings that the files of all three programs write in other values than the trainer's own."""
ATTENTION_WRITTEN_SETTINGS = ("attention_precision",)
"""Those of Megatron-Bridge and NeMo alone: `fp8_dot_product_attention` is no argument of Megatron-LM (the list
`exclude` in megatron/training/arguments.py).
"""
_REMAINDER_PRECISIONS = ("bf16", "fp8", "nvfp4")
"""Precisions of which Transformer Engine's FusedAdam, not megatron-core, has the master weights: those without a
recipe of 8 bits, and delayed scaling (`use_precision_aware_optimizer_no_fp8_or_ds_fp8`)."""
_DEEP_EP_ARCHITECTURES = ("ampere", "ada", "hopper", "blackwell", "blackwell-ultra")
_HYBRID_EP_ARCHITECTURES = ("hopper", "blackwell", "blackwell-ultra")
_FP8_ATTENTION_ARCHITECTURES = ("hopper", "blackwell", "blackwell-ultra")


def differs_from_own(plan: PlanValues, setting: str) -> bool:
    """Whether the plan has another value of the setting than its trainer has by itself."""
    value = plan.settings.get(setting)
    return plan.own_values.get(setting, value) != value


def runs_deep_ep(plan: PlanValues) -> bool:
    """Whether DeepEP's kernels are there for the accelerator (Megatron-Bridge 0.3.1,
    training/flex_dispatcher_backend.py); accelerators that are not in hardware_db are taken for one.
    """
    is_known = plan.vendor == "" or (plan.vendor == "NVIDIA" and plan.architecture in _DEEP_EP_ARCHITECTURES)
    return is_known and not plan.accelerator.startswith("gb")


def can_overlap_expert_comm(plan: PlanValues) -> Flags:
    """Whether the all-to-all of one micro-batch can run beside the compute of another, of plans with ep > 1
    (`overlap_moe_expert_parallel_comm` in TransformerConfig; its schedule calls the parts of a layer by themselves,
    so that the hooks of Megatron-FSDP on whole layers gather nothing, models/gpt/fine_grained_callables.py).
    """
    mtp_layers = plan.model.mtp_layers if plan.model is not None else 0
    return (
        ((plan.pp == 1) | (plan.vpp > 1))
        & (plan.recompute != "full")
        & (np.asarray(plan.zero_stage) < 2)
        & (plan.precision not in WIDE_VALUE_BYTES)
        & ((mtp_layers == 0) | ((mtp_layers == 1) & (plan.pp > 1)))
    )


def _lacks_aware_optimizer(plan: PlanValues) -> Flags:
    """Whether the plan has no `use_precision_aware_optimizer`: it shards Adam's state (`OptimizerConfig`), has none
    on the host, where all is in 32 bit (`HybridDeviceOptimizer`), and Megatron-FSDP never hands it the gradients
    (`update_main_grads` in megatron_fsdp/param_and_grad_buffer.py reads an attribute that nothing sets).
    """
    has_no_format = "optimizer" in plan.offload or plan.precision in WIDE_VALUE_BYTES
    return np.asarray(plan.zero_stage) != 1 if not has_no_format else True


def keeps_mxfp8_weights(plan: PlanValues) -> bool:
    """Whether the weights are kept in MXFP8, and gathered in 16 bits in the buffer of the gradients."""
    return plan.precision == "mxfp8" and plan.settings.get("weights") == "fp8"


def _can_keep_fp8_weights(plan: PlanValues) -> Flags:
    """Whether the weights can be kept in 8 bits (`fp8_param_gather`)."""
    if keeps_mxfp8_weights(plan):
        has_own_optimizer = not any(differs_from_own(plan, name) for name in ("moments", "master", "gather"))
        can_keep, stages = has_own_optimizer and "optimizer" not in plan.offload, [1]
    else:
        dtypes = (plan.precision, plan.settings.get("weights"), plan.settings.get("gather"))
        can_keep, stages = dtypes == ("fp8", "fp8", "fp8"), [1, 2, 3]
    return np.isin(plan.zero_stage, stages) if can_keep else False


def _has_fp8_attention_shape(plan: PlanValues) -> bool:
    """Whether cuDNN has a backward kernel of 8 bits for the model's attention (Transformer Engine 2.12,
    common/fused_attn/fused_attn.cpp, `nvte_get_fused_attn_backend`, and `get_attention_backend`).
    """
    model = plan.model
    if model is None or model.mla is not None or model.attention_sinks or model.sliding_window:
        return False
    is_hopper = plan.architecture == "hopper"
    return model.head_size == 128 if is_hopper else model.head_size <= 128 and model.head_size % 16 == 0


def _cannot_exchange_heads(plan: PlanValues) -> Flags:
    """Whether an all-to-all of context parallelism cannot give each rank as many heads of keys and values."""
    model = plan.model
    if model is None or plan.cp_exchange != "all-to-all":
        return False
    heads = model.heads if model.mla is not None else model.kv_head_count
    return (plan.cp > 1) & (heads % (plan.tp * plan.cp) != 0)


_CP_SOURCE = "transformer_engine/pytorch/attention/dot_product_attention/context_parallel.py"
_CP_RULES = (
    Rule(
        "cp_exchange",
        "cp_exchange ring, all-gather or hierarchical, or KV heads that tp x cp divides",
        _cannot_exchange_heads,
        source=f"{_CP_SOURCE}, AttnFuncWithCPAndQKVOA2A",
    ),
    Rule(
        "cp_exchange",
        "cp_exchange all-gather or all-to-all where attention has windows",
        lambda plan: (
            plan.cp_exchange in ("ring", "hierarchical")
            and (plan.model is not None and plan.model.sliding_window > 0)
            and (np.asarray(plan.cp) > 1)
        ),
        source=f"{_CP_SOURCE}, attn_forward_func_with_cp",
    ),
    Rule(
        "cp_exchange",
        "cp_exchange all-to-all where attention has sinks",
        lambda plan: (
            plan.cp_exchange != "all-to-all"
            and (plan.model is not None and bool(plan.model.attention_sinks))
            and (np.asarray(plan.cp) > 1)
        ),
        source=f"{_CP_SOURCE}, attn_forward_func_with_cp",
    ),
)

MEGATRON_SETTING_RULES = (
    *_CP_RULES,
    Rule(
        "ep_exchange",
        "ep_exchange hybridep on NVIDIA's GPUs from Hopper on",
        lambda plan: (
            plan.settings.get("ep_exchange") == "hybridep"
            and plan.vendor != ""
            and (plan.vendor != "NVIDIA" or plan.architecture not in _HYBRID_EP_ARCHITECTURES)
        ),
        source="deepseek-ai/DeepEP, branch hybrid-ep, docs/README_Hybrid-EP.md",
    ),
    Rule(
        "fp8_recipe",
        "fp8_recipe delayed, tensorwise or blockwise, mxfp8 and nvfp4 with their precision",
        lambda plan: plan.settings.get("fp8_recipe") == "rowwise",
        source="megatron/core/transformer/transformer_config.py, fp8_recipe",
    ),
    Rule(
        "fp8_recipe",
        "fp8_recipe delayed with moments, master weights or attention in other formats, or FP8 weights with the "
        "optimizer on the host",
        lambda plan: (
            plan.settings.get("fp8_recipe") in ("tensorwise", "blockwise")
            and (
                any(differs_from_own(plan, name) for name in ("moments", "master", "attention_precision"))
                or ("optimizer" in plan.offload and plan.settings.get("gather") == "fp8")
            )
        ),
        source="megatron/core/optimizer/optimizer_config.py, use_precision_aware_optimizer_no_fp8_or_ds_fp8; "
        "megatron/training/arguments.py, validate_args",
    ),
    Rule(
        "weights",
        "weights bf16; fp8 with precision fp8, gather fp8 and ZeRO 1 to 3, or with precision mxfp8, ZeRO 1, and "
        "moments and master weights of fp32 on the GPU",
        lambda plan: differs_from_own(plan, "weights") and np.logical_not(_can_keep_fp8_weights(plan)),
        source="megatron/training/arguments.py, validate_args; distributed_data_parallel_config.py, "
        "reuse_grad_buf_for_mxfp8_param_ag",
    ),
    Rule(
        "layout",
        "multi-token prediction M in the last chunk of a stage",
        lambda plan: find_mtp_chunk(plan.layout, plan.pp * plan.vpp) < plan.pp * (plan.vpp - 1),
        source="megatron/core/transformer/pipeline_parallel_layer_layout.py, validate_layer_layout",
    ),
    Rule(
        "loss",
        "loss plain, compiled or fused",
        lambda plan: plan.settings.get("loss") == "chunked",
        source="megatron/core/models/common/language_module/language_module.py, compute_language_model_loss",
    ),
    Rule(
        "gather",
        "gather bf16, or fp8 with precision fp8",
        lambda plan: (
            differs_from_own(plan, "gather")
            and (
                (np.asarray(plan.zero_stage) > 0) & (plan.settings.get("gather") != "fp8" or plan.precision != "fp8")
            )
        ),
        source="megatron/core/transformer/transformer_config.py, fp8_param",
    ),
    Rule(
        "gather",
        "gather bf16 with moments or master weights that are not fp32: 16-bit weights keep their remainders",
        lambda plan: (
            plan.settings.get("gather") == "fp8"
            and (differs_from_own(plan, "moments") or differs_from_own(plan, "master"))
        ),
        source="transformer_engine/pytorch/optimizers/fused_adam.py, multi_tensor_adam_fp8",
    ),
    Rule(
        "moments",
        "moments fp32, or zero_stage 1 with weights of 16 bits or less and the optimizer on the GPU",
        lambda plan: differs_from_own(plan, "moments") and _lacks_aware_optimizer(plan),
        source="megatron/core/optimizer/optimizer_config.py, __post_init__",
    ),
    Rule(
        "master",
        "master fp32, or bf16 with zero_stage 1, precision bf16, fp16, fp8 or nvfp4 and the optimizer on the GPU",
        lambda plan: (
            differs_from_own(plan, "master")
            and (
                _lacks_aware_optimizer(plan)
                | (plan.settings.get("master") != "bf16")
                | (plan.precision not in (*_REMAINDER_PRECISIONS, "fp16"))
            )
        ),
        source="megatron/core/optimizer/optimizer_config.py, __post_init__",
    ),
    Rule(
        "pp_overlap",
        "pp_overlap interleaved or no; yes where vpp > 1",
        lambda plan: plan.settings.get("pp_overlap") == "yes" and (plan.pp > 1) & (plan.vpp == 1),
        source="megatron/training/arguments.py, validate_args",
    ),
    Rule(
        "pp_overlap",
        "pp_overlap interleaved or yes where vpp > 1 and pp 2",
        lambda plan: plan.settings.get("pp_overlap") == "no" and (plan.pp == 2) & (plan.vpp > 1),
        source="megatron/training/arguments.py, validate_args",
    ),
    Rule(
        "ep_overlap",
        "ep_overlap no, or ep_overlap yes with pp 1 or vpp > 1, ZeRO 0 or 1, precision of 16 bits or less and "
        "recompute none or selective",
        lambda plan: (
            plan.settings.get("ep_overlap") is True
            and differs_from_own(plan, "ep_overlap")
            and (np.asarray(plan.ep) > 1) & np.logical_not(can_overlap_expert_comm(plan))
        ),
        source="megatron/core/transformer/transformer_config.py, __post_init__",
    ),
)
"""Of all three programs. The trainer's own value is what NVIDIA's recipes of its time have: where megatron-core
0.16.1 cannot have it with the rest of a plan, the export says so."""
KEEP_REMAINDERS_RULE = Rule(
    "master",
    "master bf16 with moments that are not fp32: no argument turns store_param_remainders off",
    lambda plan: (
        differs_from_own(plan, "moments")
        and not differs_from_own(plan, "master")
        and plan.precision in _REMAINDER_PRECISIONS
    ),
    source="megatron/core/optimizer/optimizer_config.py, store_param_remainders",
)
"""Of Megatron-LM, whose master weights are then the 16 bits that the 16-bit weights lack."""
FP8_ATTENTION_RULES = (
    Rule(
        "attention_precision",
        "attention_precision bf16, or precision fp8 on NVIDIA's Hopper and Blackwell",
        lambda plan: (
            differs_from_own(plan, "attention_precision")
            and (plan.precision != "fp8" or plan.architecture not in _FP8_ATTENTION_ARCHITECTURES)
        ),
        source="megatron/core/fp8_utils.py, get_fp8_recipe",
    ),
    Rule(
        "attention_precision",
        "attention_precision bf16 for latent attention, windows, sinks, and heads that are not of 128 (on Blackwell: "
        "a multiple of 16 up to 128)",
        lambda plan: differs_from_own(plan, "attention_precision") and not _has_fp8_attention_shape(plan),
        source="transformer_engine/common/fused_attn/fused_attn.cpp, nvte_get_fused_attn_backend",
    ),
    Rule(
        "attention_precision",
        "attention_precision bf16, or cp_exchange ring, all-to-all or hierarchical",
        lambda plan: (
            differs_from_own(plan, "attention_precision") and plan.cp_exchange == "all-gather" and plan.cp > 1
        ),
        source="transformer_engine/pytorch/attention/dot_product_attention/context_parallel.py, "
        "attn_forward_func_with_cp",
    ),
)
"""Of Megatron-Bridge and NeMo: `fp8_dot_product_attention`, of delayed scaling."""
