"""MaxText: a step compiled whole by XLA; which plans it runs."""

from __future__ import annotations

from planner.trainers import fsdp, rules
from planner.trainers.trainer import Trainer
from planner.workload.spec import ModelSpec

# 32-bit parameters, 16-bit copies while gathered, one program a step
MAXTEXT = Trainer(
    name="maxtext",
    programs=("maxtext",),
    sharded_weight_bytes=0.0,
    gradient_bytes=4.0,
    grad_reduce_bytes=2.0,
    loss_bytes_per_logit=8.0,
    launch_mode="graph",
    fuses_convolution_neighbors=True,
    has_expert_axis=True,
)


def _has_foreign_experts(model: ModelSpec) -> bool:
    """Whether there are shared experts or dense layers beside the experts, in another form than DeepSeek's."""
    moe = model.moe
    if moe is None or not (moe.shared_ffn_size or moe.first_dense_layers or model.mla is not None):
        return False
    return model.mla is None or moe.shared_ffn_size % moe.expert_ffn_size != 0 or moe.shared_gate


MAXTEXT_PROGRAM = rules.Program(
    "maxtext",
    "0.2",
    (
        rules.ACCEPT_DECODERS,
        rules.accept_accelerators("Google", "NVIDIA gpu", "AMD gpu"),
        *rules.accept_degrees("tp", "cp", "ep"),
        rules.accept_values("precision", "bf16", "fp32", "fp8"),
        rules.accept_values("zero_stage", 0, 1, 3),
        *rules.reject_model_parts(
            "qkv_bias",
            "attention_out_bias",
            "mlp_bias",
            "learned_positions",
            "embedding_norm",
            "relative_positions",
            "token_types",
            "attention_sinks",
            "sliding_window",
        ),
        rules.accept_values("model.norm", "rmsnorm"),
        rules.accept_values("model.head", "lm"),
        rules.accept_values("model.gated_mlp", True),
        rules.Rule("ep", "a divisor of dp", lambda plan: plan.has_experts & (plan.dp % plan.ep != 0)),
        rules.Rule(
            "etp",
            "etp {plan.tp}: experts are sharded like the other layers",
            lambda plan: plan.has_experts & (plan.etp != plan.tp),
        ),
        rules.reject_model("model.moe.every", "1", lambda model: model.moe is not None and model.moe.every > 1),
        rules.reject_model(
            "model.moe.shared_ffn_size", "experts as Mixtral's, Qwen3's or DeepSeek's", _has_foreign_experts
        ),
        rules.REJECT_EXPERT_BIAS,
        fsdp.ACCEPT_ALL_LAYERS_RECOMPUTED,
        rules.Rule(
            "offload",
            "offload none, optimizer or weights",
            lambda plan: "activations" in plan.offload,
            "activations",
        ),
        fsdp.ACCEPT_DP_OVERLAP,
        rules.Rule(
            "shard_group",
            "shard_group all, or cp times a divisor of dp under ZeRO 3",
            lambda plan: (
                (plan.shard_group is not None) & ((plan.zero_stage != 3) | (plan.ep > 1))
                | rules.breaks_shard_groups(plan)
            ),
        ),
        rules.accept_orders("tp-cp-dp-pp"),
    ),
)
