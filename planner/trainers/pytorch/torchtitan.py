"""torchtitan: which plans for FSDP2 it runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from planner.trainers import rules
from planner.trainers.program import Program, ProgramVersion
from planner.trainers.pytorch import fsdp
from planner.trainers.pytorch.torchtitan_models import MODEL_RULES
from planner.trainers.trainer import LOSS_CHUNKS

_REJECT_NVFP4 = rules.reject_precisions("nvfp4", source="NVFP4 came with bcc09297")
_REJECT_MXFP8 = rules.reject_precisions("mxfp8", "nvfp4", source="MXFP8 came with fb17e251, NVFP4 with bcc09297")
_REJECT_EXPERT_DEGREES = rules.accept_degrees(
    *("tp", "pp", "cp", "vpp"), source="expert parallelism came with 01f4e502"
)
_REJECT_DUALPIPE = rules.accept_values(
    *("schedule", "1f1b", "zero-bubble", "gpipe", "zb-v"), source="DualPipeV came with 803906b8"
)
_REJECT_V_SCHEDULES = rules.accept_values(
    *("schedule", "1f1b", "zero-bubble", "gpipe"), source="ZBV came with 3996b634, DualPipeV with 803906b8"
)

_REJECT_DEEP_EP = rules.accept_setting("ep_exchange", "nccl", source="DeepEP came with 36a4b694")
_REJECT_CHUNKED_LOSS = rules.accept_setting(
    *("loss", "plain", "compiled"), source="the loss in chunks came with 786e26f8, torchtitan/components/loss.py"
)


def _has_uneven_sequence(plan: rules.PlanValues) -> rules.Flags:
    """Whether sequence and context parallelism do not cut a sequence into equal parts; the buffers of DeepEP are cut
    by tensor parallelism too.
    """
    exchanges_by_deepep = (plan.ep > 1) & (plan.settings.get("ep_exchange") == "deepep")
    tp = np.where((plan.sequence_parallel != 0) | exchanges_by_deepep, plan.tp, 1)
    parts = tp * np.where(plan.cp > 1, 2 * plan.cp, 1)
    return np.asarray(plan.seq_length % parts != 0)


_SETTING_RULES = (
    rules.Rule(
        "seq_length",
        "a sequence that tp (with sequence_parallel) x 2 cp (with cp) divides",
        _has_uneven_sequence,
        source="torchtitan/trainer.py, Trainer.__init__; models/common/token_dispatcher.py",
    ),
    rules.Rule(
        "launch",
        "launch compiled, fused or eager with pp or ep: CUDA graphs have neither",
        lambda plan: (plan.launch == "graph") & ((plan.pp > 1) | (plan.ep > 1)),
        source="torchtitan/trainer.py, Trainer.Config._validate_cuda_graphs",
    ),
    # its HybridEP imports what torch 2.13 does not have
    rules.accept_setting("ep_exchange", "deepep", "nccl", source="torchtitan/distributed/deepep/hybridep.py"),
    rules.accept_setting("loss", "plain", "compiled", "chunked", source="torchtitan/components/loss.py"),
    rules.Rule(
        "loss",
        f"loss plain or compiled; chunked where {LOSS_CHUNKS} x cp divides the sequence",
        lambda plan: (plan.settings.get("loss") == "chunked") & (plan.seq_length % (LOSS_CHUNKS * plan.cp) != 0),
        source="torchtitan/components/loss.py, ChunkedLossWrapper",
    ),
    rules.Rule(
        "loss",
        "loss plain or compiled with multi-token prediction",
        lambda plan: plan.settings.get("loss") == "chunked" and plan.model is not None and plan.model.mtp_layers > 0,
        source="torchtitan/models/deepseek_v3/mtp.py, MTPLoss",
    ),
    *rules.accept_narrow_parameters(
        "fp32", "bf16", source="torchtitan/config/configs.py, TrainingConfig.dtype; components/optimizer"
    ),
    fsdp.REJECT_NARROW_MOMENTS_ON_HOST,
)

_OWN_STATE: Mapping[str, object] = {
    "grad_reduce_bytes": 4.0,
    "parallel_loss_bytes_per_logit": 16.0,
    "ep_exchange": "nccl",
}
"""`moe_comm_backend` is `standard` in torchtitan/models/deepseek_v3/__init__.py: the all-to-all of torch.distributed.
`Training.mixed_precision_reduce` of torchtitan/config/configs.py has no other value. The loss of logits cut by
columns has the logarithm of the softmax, its exponential, a gradient and their sum in 32 bit
(`_nll_loss_and_log_softmax_backward` of torch/distributed/tensor/parallel/loss.py)."""
_REPEATED_KEYS: Mapping[str, object] = {"copies_grouped_keys": True}
"""`repeat_kv` of torchtitan/models/llama3/model/model.py until ff0829c1."""
_ONE_ROOT_UNIT: Mapping[str, object] = {
    **_OWN_STATE,
    **_REPEATED_KEYS,
    "keeps_embedding_gathered": True,
    "keeps_last_layer_gathered": True,
}
"""Embedding and head were one unit, the root, which stays gathered, as the last layer does, until 83e69410
(`apply_fsdp` of torchtitan/models/llama3/infra/parallelize.py)."""

TORCHTITAN = Program(
    "torchtitan",
    "0.3",
    (
        rules.accept_accelerators(
            *("NVIDIA gpu", "AMD gpu"), source=".github/workflows/set-matrix.yaml: CUDA and ROCm are tested"
        ),
        rules.accept_values(
            *("precision", "bf16", "fp8", "mxfp8", "nvfp4", "fp32"),
            source="torchtitan/config/configs.py, TrainingConfig.mixed_precision_param; components/quantization",
        ),
        rules.Rule(
            "precision",
            "precision bf16 or fp8 on GPUs of other vendors than NVIDIA: mxfp8 needs a compute capability of 10.0",
            lambda plan: plan.precision in ("mxfp8", "nvfp4") and plan.vendor not in ("", "NVIDIA"),
            source="torchtitan/components/quantization/mx.py, MXFP8LinearConverter",
        ),
        *MODEL_RULES,
        rules.Rule(
            "zero_stage",
            "zero_stage 2 or 3",
            lambda plan: (plan.zero_stage < 2) & (plan.dp * plan.cp > 1),
            source="torchtitan/distributed/fsdp.py, get_fsdp_reshard_after_forward_policy",
        ),
        rules.Rule(
            "etp",
            "etp 1",
            lambda plan: plan.etp > 1,
            source="torchtitan/distributed/parallel_dims.py, ParallelDims.build_mesh",
        ),
        rules.Rule(
            "micro_batch",
            "as many micro-batches as stages: {plan.pp}",
            lambda plan: (plan.schedule == "1f1b") & (plan.pp > 1) & (plan.vpp == 1) & (plan.micro_batches < plan.pp),
            source="torch 2.13, torch/distributed/pipelining/schedules.py, Schedule1F1B",
        ),
        rules.Rule(
            "micro_batch",
            "a number of micro-batches that divides into rounds of {plan.pp} or more",
            lambda plan: (
                ((plan.schedule == "zero-bubble") | (plan.schedule == "1f1b") & (plan.vpp > 1))
                & (plan.pp > 1)
                & (plan.micro_batches % np.maximum(plan.micro_batches // plan.pp, 1) != 0)
            ),
            source="torch 2.13, torch/distributed/pipelining/schedules.py, ScheduleInterleaved1F1B and "
            "ScheduleInterleavedZeroBubble",
        ),
        rules.accept_all_layers_recomputed(
            "torchtitan/distributed/activation_checkpoint.py, ActivationCheckpointing.apply"
        ),
        rules.ACCEPT_EVERY_SECOND_MATMUL,
        *rules.restrict_rules(
            [
                rules.accept_values(
                    "cp_exchange",
                    "all-gather",
                    source="torchtitan/distributed/context_parallel/api.py, flex_cp_allgather",
                )
            ],
            lambda plan: plan.cp > 1,
        ),
        rules.REJECT_GRAPH_SCOPES,
        rules.Rule(
            "fp8_recipe",
            "fp8_recipe rowwise, or tensorwise as it was before 0.3",
            lambda plan: plan.settings.get("fp8_recipe") in ("delayed", "blockwise"),
            source="torchtitan/components/quantization/float8.py, Float8LinearConverter.Config",
        ),
        rules.Rule(
            "attention",
            "attention flash",
            lambda plan: plan.attention == "unfused",
            source="torchtitan/models/common/config_utils.py, get_attention_config",
        ),
        rules.REJECT_FLASH_BEFORE_AMPERE,
        rules.accept_orders("tp-cp-dp-pp", source="torchtitan/distributed/parallel_dims.py, ParallelDims.build_mesh"),
        fsdp.ACCEPT_DP_OVERLAP,
        *_SETTING_RULES,
        *rules.state_source(
            "torchtitan/config/configs.py, TrainingConfig.enable_cpu_offload", *fsdp.ACCEPT_FSDP_OFFLOADS
        ),
        rules.Rule(
            "shard_group",
            "shard_group all, or cp times a divisor of dp",
            rules.breaks_shard_groups,
            source="torchtitan/distributed/parallel_dims.py, ParallelDims.build_mesh",
        ),
        rules.Rule(
            "shard_group",
            "tp x shard_group a multiple of ep",
            rules.breaks_expert_shard_groups,
            source="torchtitan/distributed/parallel_dims.py, ParallelDims.build_mesh: efsdp",
        ),
        rules.accept_values(
            *("schedule", "1f1b", "zero-bubble", "gpipe", "zb-v", "dualpipe-v"),
            source="torch 2.13, torch/distributed/pipelining/schedules.py, get_schedule_class",
        ),
        rules.Rule(
            "schedule",
            "schedule 1f1b with pp 1",
            lambda plan: (plan.schedule not in ("1f1b", "gpipe")) & (plan.pp == 1),
            source=f"{rules.NOT_WRITTEN}: without stages there is no schedule",
        ),
        # a compiled block's backward pass is one node: what is split runs it whole, twice
        rules.Rule(
            "launch",
            "launch eager and tp_overlap no with schedule zero-bubble, zb-v or dualpipe-v",
            lambda plan: (
                (plan.schedule in ("zero-bubble", "zb-v", "dualpipe-v"))
                & (plan.pp > 1)
                & ((plan.launch != "eager") | (plan.tp_overlap & (plan.tp > 1)))
            ),
            source="torch 2.13, torch/distributed/pipelining/schedules.py, _check_torch_compile_compatibility",
        ),
        rules.Rule(
            "schedule",
            "vpp 2 with schedule zb-v or dualpipe-v",
            lambda plan: (plan.schedule in ("zb-v", "dualpipe-v")) & (plan.pp > 1) & (plan.vpp != 2),
            source="torch 2.13, torch/distributed/pipelining/schedules.py, ScheduleZBVZeroBubble, ScheduleDualPipeV",
        ),
        rules.Rule(
            "micro_batch",
            "as many micro-batches as chunks: 2 x {plan.pp}",
            lambda plan: (plan.schedule == "dualpipe-v") & (plan.pp > 1) & (plan.micro_batches < 2 * plan.pp),
            source="torch 2.13, torch/distributed/pipelining/schedules.py, ScheduleDualPipeV",
        ),
    ),
    # `packing`: documents attend to themselves alone without an option, and FlexAttention leaves out blocks without
    # pairs (torchtitan/models/common/config_utils.py, get_attention_config)
    written_settings=(
        "layout",
        "loss",
        "moments",
        "master",
        "reshard",
        "ep_exchange",
        "recompute_modules",
        "fp8_recipe",
    ),
    source="github.com/pytorch/torchtitan",
    versions=(
        ProgramVersion(
            name="0.3",
            since="2026-04",
            behaviour="the loss in chunks",
            source="786e26f8 of 2026-04-27, torchtitan/components/loss.py; 3396a4b3, models/common/attention.py, "
            "FusedQKVLinear; 2fc04c6f, ScaledDotProductAttention, cuDNN first",
            changes={**_OWN_STATE, "loss": "chunked", "joins_qkv": True, "uses_flash_attention_2": False},
        ),
        ProgramVersion(
            name="0.2.2",
            since="2026-02",
            behaviour="keys and values by groups; a policy of the whole graph keeps every second multiply; no NVFP4",
            source="ff0829c1 of 2026-01-27, torchtitan/models/attention.py; 6a74d747 of 2026-02-26 and fca8ab7b of "
            "2026-03-13, experiments/graph_trainer/passes.py, apply_sac_pass",
            changes={**_OWN_STATE, "graph_keeps_every_second": True},
            compiled_changes={"loss": "compiled"},
            rules=(_REJECT_NVFP4, _REJECT_CHUNKED_LOSS),
        ),
        ProgramVersion(
            name="0.2.1",
            since="2025-12",
            behaviour="the loss compiled with the model, DeepEP; keys and values are copied; no NVFP4",
            source="36a4b694 of 2025-12-17",
            changes={**_OWN_STATE, **_REPEATED_KEYS},
            compiled_changes={"loss": "compiled"},
            rules=(_REJECT_NVFP4, _REJECT_CHUNKED_LOSS),
        ),
        ProgramVersion(
            name="0.2",
            since="2025-07",
            behaviour="the loss compiled with the model, expert parallelism; no DeepEP",
            source="bbb1b616, 01f4e502 of 2025-07-08",
            changes={**_OWN_STATE, **_REPEATED_KEYS},
            compiled_changes={"loss": "compiled"},
            rules=(_REJECT_NVFP4, _REJECT_CHUNKED_LOSS, _REJECT_DEEP_EP),
        ),
        ProgramVersion(
            name="0.1",
            since="2025-04",
            behaviour="the loss compiled with the model; no expert parallelism",
            source="bbb1b616 of 2025-04-02, torchtitan/components/loss.py",
            changes=_ONE_ROOT_UNIT,
            compiled_changes={"loss": "compiled"},
            rules=(
                _REJECT_NVFP4,
                _REJECT_CHUNKED_LOSS,
                *_REJECT_EXPERT_DEGREES,
                _REJECT_DUALPIPE,
            ),
        ),
        ProgramVersion(
            name="2025-02",
            since="2025-02",
            behaviour="a plain loss in compiled runs too; ZB-V; no MXFP8",
            source="3996b634 of 2025-02-10; e8977b00, torchtitan/components/loss.py before bbb1b616",
            changes=_ONE_ROOT_UNIT,
            rules=(_REJECT_MXFP8, _REJECT_CHUNKED_LOSS, *_REJECT_EXPERT_DEGREES, _REJECT_DUALPIPE),
        ),
        ProgramVersion(
            name="2024-12",
            since="2024-12",
            behaviour="a plain loss in compiled runs too; eager FP8 keeps absolute values under selective "
            "recomputation; no ZB-V",
            source="e8977b00 of 2024-12-18, train.py: loss_fn; bcebc0de of 2024-11-26, _save_list of "
            "torchtitan/parallelisms/parallelize_llama.py until 88247277 of 2025-02-06",
            changes={**_ONE_ROOT_UNIT, "keeps_absolute_values": True},
            rules=(_REJECT_MXFP8, _REJECT_CHUNKED_LOSS, *_REJECT_EXPERT_DEGREES, _REJECT_V_SCHEDULES),
        ),
        ProgramVersion(
            name="2024-10",
            since="2024-10",
            behaviour="the loss compiled with the model, FP8 and context parallelism; no MXFP8",
            source="e10cb949 and b19456a9 of 2024-10-22, train.py: loss_fn; 69fe8def",
            changes=_ONE_ROOT_UNIT,
            compiled_changes={"loss": "compiled"},
            rules=(_REJECT_MXFP8, _REJECT_CHUNKED_LOSS, *_REJECT_EXPERT_DEGREES, _REJECT_V_SCHEDULES),
        ),
        ProgramVersion(
            name="2024-07",
            since="2024-07",
            behaviour="a plain loss in compiled runs too, FP8; no context parallelism",
            source="69fe8def; train.py before e10cb949",
            changes=_ONE_ROOT_UNIT,
            rules=(
                _REJECT_MXFP8,
                _REJECT_CHUNKED_LOSS,
                *rules.accept_degrees(
                    *("tp", "pp", "vpp"), source="context parallelism came with b19456a9, of experts with 01f4e502"
                ),
                _REJECT_V_SCHEDULES,
            ),
        ),
    ),
    # at b5bcd76c, torchtitan/config/configs.py: all degrees 1
    # torchtitan/config/configs.py: ParallelismConfig, ActivationCheckpointConfig.mode
    defaults={
        "tp": "1",
        "pp": "1",
        "cp": "1",
        "ep": "1",
        "etp": "1",
        "recompute": "selective",
        "seq_parallel": "tp",
    },
)
