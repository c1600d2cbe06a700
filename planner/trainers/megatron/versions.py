"""The versions of Megatron-LM, Megatron-Bridge and NeMo in which they behave otherwise than the newest.

Months of megatron-core's are those of its releases; the argument that a version lacks is of megatron/training/
arguments.py, found in the history of github.com/NVIDIA/Megatron-LM.
"""

from __future__ import annotations

from planner.trainers import rules
from planner.trainers.names import TrainerName
from planner.trainers.program import ProgramVersion

_WITHOUT_WHOLE_STEP_GRAPHS: tuple[TrainerName, ...] = ("megatron-classic", "megatron-fsdp")

_REJECT_NVFP4 = rules.reject_precisions("nvfp4", source="NVFP4 came with a99f6474 of Megatron-LM")
_REJECT_EXPERT_OVERLAP = rules.accept_setting(
    "ep_overlap",
    False,
    supported="ep_overlap no",
    source="--overlap-moe-expert-parallel-comm came with ae1c8829 of Megatron-LM",
)
_REJECT_MXFP8 = rules.reject_precisions(
    "mxfp8", "nvfp4", source="--fp8-recipe came with 3db74116 of Megatron-LM, NVFP4 with a99f6474"
)
_REJECT_OPTIMIZER_OFFLOAD = rules.accept_offloads(source="--optimizer-cpu-offload came with 60007c93 of Megatron-LM")
_REJECT_FSDP = rules.accept_values("zero_stage", 0, 1, source="Megatron-FSDP came with d165a854 of Megatron-LM")
_ACCEPT_RING = rules.restrict_rules(
    [rules.accept_values("cp_exchange", "ring", source="--cp-comm-type came with 645c329d of Megatron-LM")],
    lambda plan: plan.cp > 1,
)
_ACCEPT_SHARED_EXPERT_TP = rules.Rule(
    "etp",
    "etp {plan.tp}",
    lambda plan: plan.has_experts & (plan.etp != plan.tp),
    source="--expert-tensor-parallel-size came with 7f22e210 of Megatron-LM",
)
_REJECT_SHARD_GROUPS = rules.reject_shard_groups(
    "--num-distributed-optimizer-instances came with bb84eb93 of Megatron-LM"
)
_ACCEPT_DEFAULT_ORDER = rules.accept_orders(
    "tp-cp-dp-pp", source="--use-tp-pp-dp-mapping came with 6513cde7 of Megatron-LM"
)
_REJECT_BLOCKWISE = rules.Rule(
    "fp8_recipe",
    "fp8_recipe delayed or tensorwise",
    lambda plan: plan.settings.get("fp8_recipe") == "blockwise",
    source="--fp8-recipe blockwise came with be8715de of Megatron-LM",
)
_ACCEPT_DELAYED = rules.Rule(
    "fp8_recipe",
    "fp8_recipe delayed",
    lambda plan: plan.settings.get("fp8_recipe") in ("tensorwise", "blockwise"),
    source="--fp8-recipe came with 3db74116 of Megatron-LM",
)
_REJECT_LAYOUT = rules.accept_values(
    "layout", "auto", source="--pipeline-model-parallel-layout came with 77732c36 of Megatron-LM"
)
_ACCEPT_ATTENTION_RECOMPUTED = rules.accept_recompute_modules(
    "core_attn",
    lambda choice: choice.name == "core_attn",
    source="--recompute-modules came with 3b141a24 of Megatron-LM",
)

_REJECT_HYBRID_EP = rules.accept_setting(
    "ep_exchange", "deepep", "nccl", source="HybridEP came with 3df20090 of Megatron-LM, which core_v0.15.0 lacks"
)
_REJECT_DEEP_EP = rules.accept_setting("ep_exchange", "nccl", source="DeepEP came with 0d389f5e of Megatron-LM")
_WITHOUT_HYBRID_EP = {"nvl72_ep_exchange": "nccl"}
_WITHOUT_DEEP_EP = {"ep_exchange": "nccl", "selective_recompute": "attention"}

_RULES_BEFORE_0_16 = (_REJECT_HYBRID_EP,)
_RULES_BEFORE_0_15 = (*_RULES_BEFORE_0_16, _REJECT_NVFP4)
_RULES_BEFORE_0_14 = (*_RULES_BEFORE_0_15, _REJECT_EXPERT_OVERLAP)
_RULES_BEFORE_0_13 = (*_RULES_BEFORE_0_14, _REJECT_BLOCKWISE, _REJECT_LAYOUT)
_RULES_BEFORE_0_12 = (
    *(_REJECT_DEEP_EP, _REJECT_MXFP8, _REJECT_EXPERT_OVERLAP, _REJECT_OPTIMIZER_OFFLOAD, _REJECT_FSDP),
    *(_ACCEPT_DELAYED, _REJECT_LAYOUT, _ACCEPT_ATTENTION_RECOMPUTED),
)
_RULES_BEFORE_0_10 = (*_RULES_BEFORE_0_12, *_ACCEPT_RING, _ACCEPT_SHARED_EXPERT_TP, _REJECT_SHARD_GROUPS)
_RULES_BEFORE_0_7 = (*_RULES_BEFORE_0_10, _ACCEPT_DEFAULT_ORDER)

LM_VERSIONS = (
    ProgramVersion(
        name="core_v0.16",
        since="2026-02",
        behaviour="experts' tokens by HybridEP",
        source="3df20090, core_v0.16.0",
    ),
    ProgramVersion(
        name="core_v0.15",
        since="2025-12",
        behaviour="NVFP4; no HybridEP",
        source="a99f6474, core_v0.15.0",
        changes=_WITHOUT_HYBRID_EP,
        rules=_RULES_BEFORE_0_16,
    ),
    ProgramVersion(
        name="core_v0.14",
        since="2025-10",
        behaviour="overlapped all-to-all of experts (--overlap-moe-expert-parallel-comm); no NVFP4",
        source="ae1c8829, core_v0.14.0",
        changes=_WITHOUT_HYBRID_EP,
        trainers=_WITHOUT_WHOLE_STEP_GRAPHS,
        rules=_RULES_BEFORE_0_15,
    ),
    ProgramVersion(
        name="core_v0.13",
        since="2025-07",
        behaviour="FP8 scaled blockwise, a layout of stages; no overlapped all-to-all of experts",
        source="be8715de, 77732c36, core_v0.13.0",
        changes=_WITHOUT_HYBRID_EP,
        trainers=_WITHOUT_WHOLE_STEP_GRAPHS,
        rules=_RULES_BEFORE_0_14,
    ),
    ProgramVersion(
        name="core_v0.12",
        since="2025-05",
        behaviour="MXFP8, the optimizer on the host, fully sharded parameters, recomputation by module, DeepEP",
        source="3db74116, 60007c93, d165a854, 3b141a24, 0d389f5e, core_v0.12.0",
        changes=_WITHOUT_HYBRID_EP,
        trainers=_WITHOUT_WHOLE_STEP_GRAPHS,
        rules=_RULES_BEFORE_0_13,
    ),
    ProgramVersion(
        name="core_v0.10",
        since="2025-02",
        behaviour="context parallelism by all-gather and all-to-all, etp other than tp, hybrid sharding; no ZeRO 2, "
        "no DeepEP",
        source="645c329d, 7f22e210, bb84eb93, core_v0.10.0",
        changes=_WITHOUT_DEEP_EP,
        trainers=("megatron-classic",),
        rules=_RULES_BEFORE_0_12,
    ),
    ProgramVersion(
        name="core_v0.7",
        since="2024-05",
        behaviour="the order tp-cp-pp-dp (--use-tp-pp-dp-mapping); context parallelism as a ring, etp = tp",
        source="6513cde7, core_v0.7.0",
        changes=_WITHOUT_DEEP_EP,
        trainers=("megatron-classic",),
        rules=_RULES_BEFORE_0_10,
    ),
    ProgramVersion(
        name="core_v0.4",
        since="2023-12",
        behaviour="context parallelism, communication of tensor parallelism beside compute; one order",
        source="292543d3, 116ffddc, core_v0.4.0",
        changes=_WITHOUT_DEEP_EP,
        trainers=("megatron-classic",),
        rules=_RULES_BEFORE_0_7,
    ),
)

BRIDGE_VERSIONS = (
    ProgramVersion(
        name="26.06",
        since="2026-06",
        behaviour="on Blackwell whole steps as one graph with overlapped all-to-all of experts, FP8 attention",
        source="v0.5.0, scripts/performance/configs/deepseek, qwen: is_full_iteration_cuda_graph",
    ),
    ProgramVersion(
        name="25.11",
        since="2025-11",
        behaviour="graphs of single modules",
        source="v0.2.0 to v0.4.2, scripts/performance/configs: cuda_graph_scope",
        trainers=_WITHOUT_WHOLE_STEP_GRAPHS,
    ),
    ProgramVersion(
        name="25.09",
        since="2025-08",
        behaviour="no NVFP4, no overlapped all-to-all of experts in its recipes",
        source="v0.2.0, docs/performance-summary.md (25.09 NeMo Container); fbeda449, cb62f862 came in November",
        changes=_WITHOUT_HYBRID_EP,
        trainers=_WITHOUT_WHOLE_STEP_GRAPHS,
        rules=_RULES_BEFORE_0_14,
    ),
)

_NEMO_SOURCE = "docs.nvidia.com/nemo-framework/user-guide/24.09/softwarecomponentversions.html"
NEMO_VERSIONS = (
    ProgramVersion(
        name="25.09",
        since="2025-04",
        behaviour="MXFP8, the optimizer on the host, fully sharded parameters (megatron-core 0.12 and later)",
        source="3db74116, 60007c93, d165a854 of Megatron-LM",
        # moe_enable_deepep alone (nemo_toolkit 2.5.3, nemo/lightning/pytorch/callbacks/deepep.py)
        changes=_WITHOUT_HYBRID_EP,
    ),
    ProgramVersion(
        name="24.09",
        since="2024-10",
        behaviour="megatron-core 0.9: context parallelism as a ring, etp = tp, ZeRO 0 and 1; no MXFP8",
        source=_NEMO_SOURCE,
        changes=_WITHOUT_DEEP_EP,
        trainers=("megatron-classic",),
        rules=_RULES_BEFORE_0_10,
    ),
    ProgramVersion(
        name="24.05",
        since="2024-05",
        behaviour="megatron-core 0.7; as 24.09",
        source=_NEMO_SOURCE,
        changes=_WITHOUT_DEEP_EP,
        trainers=("megatron-classic",),
        rules=_RULES_BEFORE_0_10,
    ),
    ProgramVersion(
        name="23.09",
        since="2023-10",
        behaviour="one order of ranks (megatron-core before 0.7)",
        source=_NEMO_SOURCE,
        changes=_WITHOUT_DEEP_EP,
        trainers=("megatron-classic",),
        rules=_RULES_BEFORE_0_7,
    ),
)
