"""NeuronX Distributed on AWS Trainium: Megatron's degrees and ZeRO 1, compiled by XLA.

github.com/aws-neuron/neuronx-distributed at fbac349 (Neuron SDK 2.29, April 2026), and neuronx-distributed-training.
"""

from __future__ import annotations

from planner.trainers import model_rules, rules
from planner.trainers.program import Program, ProgramVersion
from planner.trainers.trainer import Trainer

NEURONX = Trainer(
    name="neuronx",
    programs=("neuronx",),
    calibration="megatron-classic",
    # with ZeRO 1 also `use_master_weights` and `use_fp32_grad_acc` (trainer/trainer.py, neuronx_distributed_config):
    # 32-bit master weights beside 16-bit parameters, gradients accumulated and reduced in 32 bit
    sharded_weight_bytes=2.0,
    gradient_bytes=4.0,
    grad_reduce_bytes=4.0,
    # in place of the logits, which are in 32 bit (parallel_layers/loss_functions.py, _ParallelCrossEntropy)
    loss_bytes_per_logit=8.0,
    launch_mode="compiled",
    # `zero1: True` of the examples of neuronx-distributed-training, examples/conf
    usual_zero_stage=1,
    cp_comm_type="ring",
    # DeepEP is for NVIDIA's GPUs
    ep_exchange="nccl",
)

NEURONX_PROGRAM = Program(
    "neuronx",
    "2.29",
    (
        model_rules.accept_decoders("neuronx-distributed-training, examples/conf: Llama, Mixtral, GPT"),
        rules.accept_accelerators("AWS npu", source="src/neuronx_distributed/utils/model_utils.py, get_platform_lnc"),
        *model_rules.reject_model_parts(
            "mtp_layers",
            source="neuronx-distributed-training, src/neuronx_distributed_training/lightning_modules/model",
        ),
        rules.REJECT_GRAPH_SCOPES,
        rules.Rule(
            "tp",
            "a divisor of the model's heads; KV heads are replicated up to it, so one divides the other",
            lambda plan: (
                plan.model is not None
                and (plan.model.heads % plan.tp != 0)
                | ((plan.model.kv_head_count % plan.tp != 0) & (plan.tp % plan.model.kv_head_count != 0))
            ),
            source="src/neuronx_distributed/modules/qkv_linear.py, kv_size_multiplier",
        ),
        rules.Rule(
            "etp",
            "etp {plan.tp}: experts are sharded like the other layers",
            lambda plan: plan.has_experts & (plan.etp != plan.tp),
            source="src/neuronx_distributed/parallel_layers/parallel_state.py, initialize_model_parallel",
        ),
        rules.Rule(
            "ep",
            "a divisor of dp, without context parallelism",
            lambda plan: (plan.ep > 1) & ((plan.dp % plan.ep != 0) | (plan.cp > 1)),
            source="src/neuronx_distributed/parallel_layers/parallel_state.py, initialize_model_parallel",
        ),
        rules.accept_values(
            *("precision", "bf16", "fp32"), source="neuronx-distributed-training, examples/conf: precision.type"
        ),
        rules.accept_values(
            *("zero_stage", 0, 1), source="src/neuronx_distributed/trainer/trainer.py, zero_one_enabled"
        ),
        rules.Rule(
            "schedule",
            "schedule 1f1b",
            lambda plan: (plan.pp > 1) & (plan.schedule != "1f1b"),
            source="src/neuronx_distributed/pipeline/scheduler.py",
        ),
        *rules.restrict_rules(
            [
                rules.accept_values(
                    "cp_exchange", "ring", source="src/neuronx_distributed/kernels/ring_attention_kernel.py"
                )
            ],
            lambda plan: plan.cp > 1,
        ),
        rules.accept_orders(
            "tp-cp-dp-pp",
            source="src/neuronx_distributed/parallel_layers/parallel_state.py, initialize_model_parallel",
        ),
        rules.accept_values("launch", "compiled", source="torch-neuronx: XLA compiles each step"),
        rules.reject_tp_overlap(
            "src/neuronx_distributed/parallel_layers/layers.py, LinearWithAsyncCommunication: backward alone"
        ),
        rules.accept_all_layers_recomputed(
            "src/neuronx_distributed/utils/activation_checkpoint.py, apply_activation_checkpointing"
        ),
        rules.accept_offloads(source="src/neuronx_distributed/trainer/trainer.py, neuronx_distributed_config"),
        rules.reject_shard_groups("src/neuronx_distributed/optimizer/zero_redundancy_optimizer.py, sharding_groups"),
        rules.Rule(
            "communication",
            "the format of gradients in memory",
            lambda plan: plan.communication != plan.gradients,
            source="src/neuronx_distributed/trainer/trainer.py, use_fp32_grad_acc",
        ),
        rules.accept_whole_sequences(
            "attention of variable lengths is not modelled on Trainium", source="not modelled"
        ),
    ),
    source="github.com/aws-neuron/neuronx-distributed",
    versions=(
        ProgramVersion(
            name="2.22",
            since="2025-04",
            behaviour="context parallelism",
            source="a070deb, src/neuronx_distributed/trainer/trainer.py",
        ),
        ProgramVersion(
            name="2.20",
            since="2024-09",
            behaviour="expert parallelism; no context parallelism",
            source="4f95471",
            rules=rules.accept_degrees("tp", "pp", "ep", "vpp", source="context parallelism came with a070deb"),
        ),
        ProgramVersion(
            name="2.15",
            since="2023-10",
            behaviour="tensor and pipeline parallelism alone",
            source="a8bce14",
            rules=rules.accept_degrees("tp", "pp", "vpp", source="expert parallelism came with 4f95471 (2.20)"),
        ),
    ),
    nearest_exports=("nemo", "megatron-lm"),
    # `sequence_parallel: True` of neuronx-distributed-training, examples/conf/hf_llama3_70B_config.yaml
    defaults={"vpp": "1", "cp": "1", "ep": "1", "seq_parallel": "tp"},
)
