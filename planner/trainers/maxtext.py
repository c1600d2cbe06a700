"""MaxText: a step compiled whole by XLA; which plans it runs."""

from __future__ import annotations

from planner.trainers import model_rules, rules
from planner.trainers.program import Program, ProgramVersion
from planner.trainers.pytorch import fsdp
from planner.trainers.recompute import REMAT_POLICIES
from planner.trainers.trainer import LOSS_CHUNKS, Trainer
from planner.workload.spec import ModelSpec, RopeScaling

# 32-bit parameters, 16-bit copies while gathered, one program a step
MAXTEXT = Trainer(
    name="maxtext",
    programs=("maxtext",),
    sharded_weight_bytes=0.0,
    gradient_bytes=4.0,
    grad_reduce_bytes=2.0,
    loss_bytes_per_logit=8.0,
    launch_mode="graph",
    # `context_parallel_strategy` of base.yml
    cp_comm_type="all-gather",
    fuses_convolution_neighbors=True,
    has_expert_axis=True,
)


def _has_foreign_experts(model: ModelSpec) -> bool:
    """Whether there are shared experts or dense layers beside the experts, in another form than DeepSeek's."""
    moe = model.moe
    if moe is None or not (moe.shared_ffn_size or moe.first_dense_layers or model.mla is not None):
        return False
    return model.mla is None or moe.shared_ffn_size % moe.expert_ffn_size != 0 or moe.shared_gate


def _can_scale(model: ModelSpec, scaling: RopeScaling) -> bool:
    """Whether it has keys for it (MaxText 0.2.5, layers/attentions.py, `init_rotary_embedding`, and
    layers/attention_mla.py): yarn outside latent attention has another scale of the softmax.
    """
    if model.mla is None:
        return scaling.type == "linear" or model_rules.is_llama3_scaling(scaling)
    numbers = (scaling.factor, scaling.beta_fast, scaling.beta_slow)
    return (
        scaling.type == "yarn"
        and scaling.mscale is not None
        and scaling.mscale == scaling.mscale_all_dim
        and all(number.is_integer() for number in numbers)
    )


def _has_foreign_router(model: ModelSpec) -> bool:
    """Whether the weights of a token's experts are others than a softmax over them, or in DeepSeek's form a sum of 1
    with sigmoid and none with softmax (layers/moe.py, `get_topk`).
    """
    moe = model.moe
    if moe is None:
        return False
    if model.mla is not None:
        return moe.normalizes_topk != (moe.score_function == "sigmoid")
    return moe.score_function != "softmax" or not moe.normalizes_topk or moe.router_bias or moe.router_scaling != 1


def _has_router_by_name(model: ModelSpec) -> bool:
    """Whether the router has a bias or groups: only models with names of DeepSeek-V3's kind obey them, and a
    configuration of one's own has none of these names (layers/moe.py, `get_topk` and `deepseek_routing`).
    """
    return model.moe is not None and (model.moe.balances_by_bias or model.moe.router_groups > 1)


_SETTING_RULES = (
    rules.accept_setting("loss", "plain", "chunked", source="maxtext/configs/base.yml, num_vocab_tiling"),
    rules.accept_setting("ep_exchange", "deepep", "nccl", source="maxtext/layers/moe.py"),
    rules.Rule(
        "loss",
        f"loss plain; chunked where {LOSS_CHUNKS} divides a device's tokens of a micro-batch",
        lambda plan: (
            (plan.settings.get("loss") == "chunked")
            & (plan.micro_batch * plan.seq_length % (LOSS_CHUNKS * plan.tp * plan.cp) != 0)
        ),
        source="maxtext/configs/types.py, MaxTextConfig",
    ),
    *(
        rule
        for rule in rules.accept_narrow_parameters(
            "fp32", source="maxtext/configs/base.yml, mu_dtype; the second moment has the format of the weights"
        )
        if rule.setting != "gradients"  # `grad_dtype` says what they are cast to
    ),
)
_CP_SOURCE = "context parallelism came with 20bd16b3"
MAXTEXT_PROGRAM = Program(
    "maxtext",
    "0.2",
    (
        model_rules.accept_decoders("maxtext/models: decoders; vision is not written by planner export"),
        rules.accept_accelerators(
            *("Google", "NVIDIA gpu", "AMD gpu"), source="maxtext/configs/types.py, HardwareAndMesh.hardware"
        ),
        *rules.accept_degrees(
            *("tp", "cp", "ep"), source=f"{rules.NOT_WRITTEN}: ici_pipeline_parallelism of maxtext/configs/base.yml"
        ),
        rules.accept_values(
            *("precision", "bf16", "fp32", "fp8", "int8"),
            source="maxtext/configs/base.yml, dtype and quantization",
        ),
        rules.REJECT_GRAPH_SCOPES,
        rules.accept_values(
            *("zero_stage", 0, 1, 3),
            source="maxtext/configs/base.yml, ici_fsdp_parallelism and shard_optimizer_over_data",
        ),
        *model_rules.reject_model_parts(
            "attention_out_bias",
            "mlp_bias",
            "learned_positions",
            "embedding_norm",
            "relative_positions",
            "token_types",
            "attention_sinks",
            "attention_softcap",
            "parallel_residual",
            "activation_limit",
            source=f"{rules.NOT_WRITTEN}; maxtext/configs/base.yml and blocks of maxtext/models have some of them",
        ),
        model_rules.reject_model(
            "model.qkv_bias",
            "false, or a dense model without norms of queries and keys",
            lambda model: model.qkv_bias and (model.moe is not None or model.qk_norm or model.mla is not None),
            "true",
            source="maxtext/layers/attentions.py, Attention.is_qwen2",
        ),
        rules.Rule(
            "model.sliding_window",
            "0, or a window of the whole sequence",
            lambda plan: plan.model is not None and 0 < plan.model.sliding_window < plan.seq_length,
            source=f"{rules.NOT_WRITTEN}: sliding_window_size of the blocks of Gemma and GPT-OSS (maxtext/models)",
        ),
        model_rules.accept_activations(
            gated=("silu", "gelu-tanh", "relu"),
            plain=(),
            source="maxtext/layers/linears.py, _convert_to_activation_function: jax.nn's, whose gelu is gelu-tanh",
        ),
        model_rules.reject_model(
            "model.rope_fraction",
            "1",
            lambda model: model.rope_fraction < 1,
            source="maxtext/configs/types.py, MaxTextConfig: partial_rotary_factor is Qwen3-Next's",
        ),
        model_rules.reject_model(
            "model.rope_base",
            "a whole number",
            lambda model: not model.rope_base.is_integer(),
            source="maxtext/configs/types.py, Rope.rope_max_timescale",
        ),
        model_rules.accept_rope_scalings(
            "linear, or Llama 3.1's with factor 8; in latent attention yarn of whole numbers with one mscale",
            _can_scale,
            source="maxtext/layers/attentions.py, init_rotary_embedding; attention_mla.py",
        ),
        model_rules.reject_model(
            "model.final_norm",
            "true",
            lambda model: not model.final_norm,
            "false",
            source="maxtext/layers/nnx_decoders.py, decoder_norm",
        ),
        model_rules.reject_model(
            "model.moe.router_normalized",
            "a softmax over a token's experts; with DeepSeek's a sum of 1 with sigmoid, or softmax without it",
            _has_foreign_router,
            lambda plan: str(bool(plan.model and plan.model.moe and plan.model.moe.normalizes_topk)).lower(),
            source="maxtext/layers/moe.py, get_topk",
        ),
        model_rules.reject_model(
            "model.moe.router_bias",
            "a router without a bias of the choice and without groups",
            _has_router_by_name,
            "a bias or groups",
            source="maxtext/layers/moe.py, get_topk: names of models that begin with deepseek3",
        ),
        rules.accept_values(
            "model.norm",
            "rmsnorm",
            source=f"{rules.NOT_WRITTEN}: the norms of GPT-3's block (maxtext/models/gpt3.py)",
        ),
        rules.accept_values("model.head", "lm", source="maxtext/layers/nnx_decoders.py, apply_output_head"),
        rules.accept_values(
            "model.gated_mlp",
            True,
            source=f"{rules.NOT_WRITTEN}: mlp_activations of one function (maxtext/configs/base.yml)",
        ),
        rules.Rule(
            "ep",
            "a divisor of dp",
            lambda plan: plan.has_experts & (plan.dp % plan.ep != 0),
            source="maxtext/configs/base.yml, mesh_axes: expert is an axis of its own, over which batches are cut",
        ),
        rules.Rule(
            "etp",
            "etp {plan.tp}: experts are sharded like the other layers",
            lambda plan: plan.has_experts & (plan.etp != plan.tp),
            source="maxtext/configs/base.yml, logical_axis_rules: mlp_moe",
        ),
        model_rules.reject_model(
            "model.moe.every",
            "1",
            lambda model: model.moe is not None and model.moe.every > 1,
            source=f"{rules.NOT_WRITTEN}: interleave_moe_layer_step of Llama 4's block (maxtext/models/llama4.py)",
        ),
        model_rules.reject_model(
            "model.moe.shared_ffn_size",
            "experts as Mixtral's, Qwen3's or DeepSeek's",
            _has_foreign_experts,
            source="maxtext/models/mixtral.py, qwen3.py, deepseek.py",
        ),
        model_rules.REJECT_EXPERT_BIAS,
        rules.accept_all_layers_recomputed("maxtext/configs/base.yml, remat_policy"),
        rules.accept_recompute_modules(
            "a remat_policy, or tensors after save: and offload:",
            lambda choice: choice.name in REMAT_POLICIES or ":" in choice.name,
            source="maxtext/configs/types.py, RematAndOffload",
        ),
        rules.Rule(
            "offload",
            "offload activations of recompute full, or of recompute_modules with tensors on the host",
            lambda plan: (
                "activations" in plan.offload
                and (plan.recompute != "full") & ((plan.recompute == "none") | (not plan.recompute_choice.offloaded))
            ),
            "activations",
            source="maxtext/configs/types.py, RematAndOffload",
        ),
        rules.Rule(
            "offload",
            "offload activations with tensors on the host",
            lambda plan: (
                "activations" not in plan.offload
                and bool(plan.recompute_choice.offloaded) & (plan.recompute == "selective")
            ),
            source="maxtext/configs/types.py, RematAndOffload",
        ),
        *rules.state_source("XLA's latency-hiding scheduler overlaps them", fsdp.ACCEPT_DP_OVERLAP),
        rules.Rule(
            "shard_group",
            "shard_group all, or cp times a divisor of dp under ZeRO 3",
            lambda plan: (
                (plan.shard_group is not None) & ((plan.zero_stage != 3) | (plan.ep > 1))
                | rules.breaks_shard_groups(plan)
            ),
            source="maxtext/configs/base.yml, ici_data_parallelism and ici_fsdp_parallelism",
        ),
        *_SETTING_RULES,
        rules.accept_orders("tp-cp-dp-pp", source="maxtext/configs/base.yml, mesh_axes"),
        rules.REJECT_FLASH_BEFORE_AMPERE,
        rules.Rule(
            "cp_exchange",
            "cp_exchange all-gather; on GPUs also ring",
            lambda plan: (
                (plan.cp > 1)
                & (plan.cp_exchange not in (("all-gather",) if plan.device_type == "tpu" else ("all-gather", "ring")))
            ),
            source="maxtext/configs/types.py, MaxTextConfig",
        ),
        rules.Rule(
            "precision",
            "int8 on TPUs",
            lambda plan: (plan.precision == "int8") & (plan.device_type != "tpu"),
            source="not modelled: AQT's int8 of maxtext/layers/quantizations.py on GPUs",
        ),
        rules.Rule(
            "precision",
            "a single micro-batch in a step with fp8",
            lambda plan: (plan.precision == "fp8") & (plan.micro_batches > 1),
            source="maxtext/configs/types.py, MaxTextConfig",
        ),
    ),
    written_settings=("loss", "moments", "master", "ep_exchange", "recompute_modules"),
    source="github.com/AI-Hypercomputer/maxtext",
    versions=(
        ProgramVersion(
            name="0.2",
            since="2025-11",
            behaviour="context parallelism as a ring on GPUs",
            source="24548581, configs/base.yml: context_parallel_strategy",
        ),
        ProgramVersion(
            name="tpu-recipes-v0.1.2",
            since="2025-03",
            behaviour="context parallelism by all-gather alone",
            source="20bd16b3, MaxText/configs/base.yml: ici_context_parallelism",
            rules=rules.restrict_rules(
                [rules.accept_values("cp_exchange", "all-gather", source="the ring came with 24548581")],
                lambda plan: plan.cp > 1,
            ),
        ),
        ProgramVersion(
            name="mlperf-4.1",
            since="2024-04",
            behaviour="FP8; no context parallelism",
            source="1a677f26, MaxText/layers/quantizations.py",
            rules=rules.accept_degrees("tp", "ep", source=_CP_SOURCE),
        ),
        ProgramVersion(
            name="mlperf-4.0",
            since="2024-02",
            behaviour="no FP8",
            source="MaxText/layers/quantizations.py before 1a677f26",
            rules=(
                *rules.accept_degrees("tp", "ep", source=_CP_SOURCE),
                rules.reject_precisions("fp8", source="FP8 came with 1a677f26"),
            ),
        ),
    ),
    # at e591f30c, src/maxtext/configs/base.yml: remat_policy full
    defaults={"vpp": "1", "cp": "1", "ep": "1", "recompute": "full"},
)
