"""Settings of a run as megatron-core's fields: communication, the loss, the optimizer's number formats.

The fields are those of TransformerConfig, ModelParallelConfig and OptimizerConfig (megatron-core 0.16.1); the rules
of `planner/trainers/megatron/settings.py` say which values are written.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.run import PlannedRun
from planner.trainers.launch import list_graph_scopes
from planner.trainers.megatron.settings import (
    can_overlap_expert_comm,
    differs_from_own,
    keeps_mxfp8_weights,
    runs_deep_ep,
)

SettingFields = dict[str, bool | str]

_LOSS_FIELDS: dict[str, SettingFields] = {
    "plain": {},
    "compiled": {"cross_entropy_loss_fusion": True, "cross_entropy_fusion_impl": "native"},
    "fused": {"cross_entropy_loss_fusion": True, "cross_entropy_fusion_impl": "te"},
}
"""`native` is a chain of kernels that torch.compile makes, `te` Transformer Engine's kernel in Triton."""


def build_loss_fields(run: PlannedRun) -> SettingFields:
    """The implementation of the cross-entropy; nothing for the plain one, TransformerConfig's default."""
    return dict(_LOSS_FIELDS[run.settings.loss])


def build_expert_fields(run: PlannedRun) -> SettingFields:
    """How tokens are sent to experts, and whether beside the compute of another micro-batch."""
    fields: SettingFields = {"moe_token_dispatcher_type": "alltoall"}
    if uses_deep_ep(run):
        fields = {"moe_token_dispatcher_type": "flex", "moe_flex_dispatcher_backend": "deepep"}
    elif run.settings.ep_exchange == "hybridep" and run.strategy.ep > 1:
        fields = {"moe_token_dispatcher_type": "flex", "moe_flex_dispatcher_backend": "hybridep"}
    if overlaps_expert_comm(run):
        fields["overlap_moe_expert_parallel_comm"] = True
    return fields


def uses_deep_ep(run: PlannedRun) -> bool:
    """Whether tokens are sent by DeepEP: between ranks, on accelerators that it has kernels for."""
    return run.settings.ep_exchange == "deepep" and run.strategy.ep > 1 and runs_deep_ep(run.values)


def overlaps_expert_comm(run: PlannedRun) -> bool:
    """Whether the all-to-all of one micro-batch runs beside the compute of another."""
    return bool(run.settings.ep_overlap and run.strategy.ep > 1 and can_overlap_expert_comm(run.values))


def overlaps_sends(run: PlannedRun) -> bool:
    """Whether sends between stages run beside the compute of other chunks."""
    return run.settings.pp_overlap != "no" and run.strategy.pp > 1 and run.strategy.vpp > 1


def build_graph_fields(run: PlannedRun) -> dict[str, str | list[str]]:
    """Which parts of a layer are CUDA graphs; nothing for a whole step as one, and without graphs."""
    scopes = list_graph_scopes(run.launch)
    return {"cuda_graph_impl": "transformer_engine", "cuda_graph_scope": list(scopes)} if scopes else {}


def build_weight_fields(run: PlannedRun) -> dict[str, bool]:
    """Weights in 8 bits: gathered so, or in MXFP8 in 16 bits, in the buffer of the gradients."""
    if keeps_mxfp8_weights(run.values):
        return {"fp8_param_gather": True, "reuse_grad_buf_for_mxfp8_param_ag": True}
    return {"fp8_param_gather": True} if run.settings.gather == "fp8" and run.strategy.zero_stage > 0 else {}


def has_fp8_attention(run: PlannedRun) -> bool:
    """Whether the products of attention are in 8 bits: cuDNN's kernels alone have a backward pass of them."""
    return run.settings.attention_precision == "fp8"


def uses_aware_optimizer(run: PlannedRun) -> bool:
    """Whether Adam's state has other formats than fp32, or lies on the host (`use_precision_aware_optimizer`)."""
    formats_differ = any(differs_from_own(run.values, name) for name in ("moments", "master"))
    return formats_differ or "optimizer" in run.settings.offload


def build_optimizer_formats(run: PlannedRun) -> dict[str, str]:
    """Formats of Adam's state by the names of their fields, as words: fp32, fp16, bf16, fp8."""
    formats: dict[str, str] = {}
    if differs_from_own(run.values, "moments"):
        formats |= dict.fromkeys(("exp_avg_dtype", "exp_avg_sq_dtype"), run.settings.moments)
    # 16 bits beside a bf16 weight are the rest of the 32, which it keeps by itself; fp16 weights have none
    if differs_from_own(run.values, "master") and run.precision == "fp16":
        formats["main_params_dtype"] = "fp16"
    return formats


def keeps_whole_master_weights(run: PlannedRun) -> bool:
    """Whether `store_param_remainders` has to be off: 32-bit master weights with moments of other formats."""
    return bool(build_optimizer_formats(run)) and run.settings.master == "fp32"


def build_setting_notes(run: PlannedRun) -> Iterator[str]:
    """Values of the trainer that megatron-core 0.16.1 cannot have with the rest of the plan."""
    strategy = run.strategy
    if strategy.ep > 1 and run.settings.ep_exchange == "deepep" and not uses_deep_ep(run):
        yield "DeepEP has no kernels for this accelerator: tokens are sent by NCCL, steps are longer"
    if strategy.ep > 1 and run.settings.ep_overlap and not overlaps_expert_comm(run):
        yield (
            "the all-to-all of experts is not overlapped: megatron-core does it with pp 1 or vpp > 1, ZeRO 0 or 1, "
            "no full recompute and 16 bits; steps are longer"
        )
