"""MaxText: a step compiled whole by XLA; which plans it runs."""

from __future__ import annotations

from planner.trainers import rules
from planner.trainers.maxtext.models import MODEL_RULES, has_window
from planner.trainers.program import Program, ProgramVersion
from planner.trainers.pytorch import fsdp
from planner.trainers.recompute import REMAT_POLICIES
from planner.trainers.trainer import LOSS_CHUNKS, Trainer

# 32-bit parameters, 16-bit copies while gathered, one program a step
MAXTEXT = Trainer(
    name="maxtext",
    programs=("maxtext",),
    sharded_weight_bytes=0.0,
    gradient_bytes=4.0,
    grad_reduce_bytes=2.0,
    # a step is one program, which has buffers from the operation that fills them to the last one that reads them
    # (openxla/xla, xla/service/buffer_assignment.h); layers are a loop (`scan_layers` of base.yml), whose backward
    # pass fills arrays of all their gradients (jax, `_scan_transpose_fancy` of jax/_src/lax/control_flow/loops.py).
    # What a layer has at work and the bytes of a logit are those of MaxText's own programs, compiled for TPU v6e
    # (MaxText 0.2.5, trainers/pre_train/train_compile.py, with jax 0.10.2 and libtpu 0.0.42)
    frees_gradients=True,
    runs_layers_as_loop=True,
    loss_bytes_per_logit=8.0,
    held_logit_bytes=4.0,
    launch_mode="graph",
    # `context_parallel_strategy` of base.yml
    cp_comm_type="all-gather",
    # XLA's ragged-all-to-all (MaxText 0.2.5, maxtext/layers/moe.py, RoutedMoE.sparse_matmul)
    ep_exchange="nccl",
    fuses_convolution_neighbors=True,
    has_expert_axis=True,
    # `optimizer_memory_host_offload`: moments come to the device for the update, the parameters stay there
    # (MaxText 0.2.5, trainers/pre_train/train.py, train_step)
    updates_on_host=False,
)


_EXCHANGES = ("nccl", "deepep")
"""Of experts in plans that files are written for: steps are longer than planned where a plan has the second."""
_SETTING_RULES = (
    rules.accept_setting("loss", "plain", "chunked", source="maxtext/configs/base.yml, num_vocab_tiling"),
    rules.Rule(
        "ep_exchange",
        "ep_exchange nccl, or deepep in plans of other trainers",
        lambda plan: (
            plan.settings.get("ep_exchange", "nccl") not in (("nccl",) if plan.framework == "maxtext" else _EXCHANGES)
        ),
        source="maxtext/layers/moe.py, RoutedMoE.sparse_matmul",
    ),
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
        *MODEL_RULES,
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
        rules.accept_all_layers_recomputed("maxtext/configs/base.yml, remat_policy"),
        rules.accept_recompute_modules(
            "a remat_policy, or tensors after save: and offload:",
            lambda choice: choice.name in REMAT_POLICIES or ":" in choice.name,
            source="maxtext/configs/types.py, RematAndOffload",
        ),
        rules.accept_offloads(
            *("optimizer", "activations"),
            source="maxtext/trainers/pre_train/train.py, train_step: with parameter_memory_host_offload all "
            "parameters are on the device before the passes, which saves nothing",
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
            "cp",
            "1 for attention sinks and windows in flash attention on GPUs",
            lambda plan: (
                (plan.cp > 1)
                & (plan.device_type != "tpu")
                & (plan.attention != "unfused")
                & (has_window(plan) or (plan.model is not None and plan.model.attention_sinks))
            ),
            source="maxtext/layers/attention_op.py, cudnn_flash_attention",
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
        *rules.restrict_rules(
            [
                rules.accept_whole_sequences(
                    "splash attention on TPUs computes the pairs of other documents, and masks them",
                    source="maxtext/layers/attention_op.py, tpu_flash_attention: segment_ids",
                )
            ],
            lambda plan: plan.device_type == "tpu",
        ),
        rules.Rule(
            "packing",
            "packing no, yes or unpadded with cp, but as a ring (cp_exchange ring)",
            lambda plan: (
                (plan.cp > 1)
                & (rules.separates_documents(plan) and plan.device_type != "tpu" and plan.cp_exchange != "ring")
            ),
            source="maxtext/layers/attention_op.py, cudnn_flash_attention",
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
    # at e591f30c, src/maxtext/configs/base.yml: remat_policy full, ici_fsdp_parallelism -1
    defaults={"vpp": "1", "cp": "1", "ep": "1", "recompute": "full", "zero_stage": "3"},
)
