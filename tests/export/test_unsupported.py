"""What each trainer does not support, what it does otherwise, and what its files say, change by change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from planner.export.run import PlannedRun, RunAccelerator
from planner.export.trainer import UserExtras
from planner.export.trainers import TRAINERS
from planner.workload.spec import RopeScaling
from tests.export.plans import build_run

Changes = dict[str, Any]


def change_plan(struct: Any, changes: Changes) -> Any:
    """A value with fields changed, those of its parts as `part.field`."""
    own = {name: value for name, value in changes.items() if "." not in name}
    if isinstance(struct, PlannedRun) and "precision" in own:
        # what follows from it, as in a plan
        values = replace(struct, precision=own["precision"]).values.own_values
        changes = {f"settings.{name}": values[name] for name in ("weights", "gather", "fp8_recipe")} | changes
    for part in {name.partition(".")[0] for name in changes if "." in name}:
        inner = {name.partition(".")[2]: v for name, v in changes.items() if name.partition(".")[0] == part}
        own[part] = change_plan(getattr(struct, part), inner)
    return replace(struct, **own) if isinstance(struct, PlannedRun) else msgspec.structs.replace(struct, **own)


PRECISION_FP8 = {"precision": "fp8"}
OVERLAP = {"settings.dp_overlap": False}
SELECTIVE: Changes = {"strategy.recompute": "selective"}
HOSTED: Changes = {"settings.offload": ["activations"]}
A100 = RunAccelerator("a100-sxm4-80gb", "NVIDIA", "gpu", "ampere")
V100 = RunAccelerator("v100-sxm2-32gb", "NVIDIA", "gpu", "volta")
GROUPS = {"model.moe.router_groups": 4, "model.moe.router_topk_groups": 2}
LINEAR_ROPE = {"model.rope_scaling": RopeScaling(type="linear", factor=4.0)}
SELECTIVE = {"strategy.recompute": "selective"}
REFUSED: list[tuple[str, str, Changes, list[str]]] = [
    ("megatron-lm", "fp8", {"settings.fp8_recipe": "rowwise"}, ["fp8_recipe"]),
    ("megatron-lm", "formats", {**PRECISION_FP8, "settings.fp8_recipe": "tensorwise"}, ["fp8_recipe"]),
    ("megatron-lm", "dense", {"settings.weights": "fp32"}, ["weights"]),
    ("megatron-lm", "dense", {"launch": "graph:moe_router"}, ["launch"]),
    ("megatron-lm", "experts", {"launch": "graph:mlp"}, ["launch"]),
    ("megatron-lm", "experts", {"launch": "graph:moe_router", "settings.recompute_modules": "moe"}, ["launch"]),
    ("megatron-lm", "dense", {**SELECTIVE, "launch": "graph:mlp", "model.dropout": True}, ["launch"]),
    ("megatron-lm", "block", {"launch": "graph:attn"}, ["launch"]),
    ("nemo", "dense", {"launch": "graph:attn"}, ["launch"]),
    ("nemo", "experts", {"settings.ep_exchange": "hybridep"}, ["ep_exchange"]),
    ("torchtitan", "all", {"launch": "graph:attn"}, ["launch"]),
    ("torchtitan", "folded", {"launch": "compiled"}, ["launch"]),
    ("torchtitan", "folded", {"settings.tp_overlap": True}, ["launch"]),
    ("torchtitan", "folded", {"strategy.vpp": 1, "settings.layout": "auto"}, ["schedule"]),
    ("deepspeed", "zero-1", {"settings.layout": "E32L"}, ["layout"]),
    ("torchtitan", "all", {**PRECISION_FP8, "settings.fp8_recipe": "blockwise"}, ["fp8_recipe"]),
    ("deepspeed", "zero-1", {"launch": "graph:attn"}, ["launch"]),
    ("deepspeed", "zero-1", {"model.mtp_layers": 1}, ["model.mtp_layers"]),
    ("fsdp2", "fsdp", {"model.mtp_layers": 1}, ["model.mtp_layers"]),
    ("megatron-lm", "dense", {"accelerator": RunAccelerator("tpu-v4", "Google", "tpu")}, ["accelerator"]),
    ("megatron-lm", "dense", {"model": None}, ["model"]),
    ("megatron-lm", "bf16-grads", {"settings.communication": "fp32"}, ["communication"]),
    ("megatron-lm", "latent", {"strategy.sequence_parallel": False}, ["sequence_parallel"]),
    ("megatron-lm", "long", {"seq_length": 32_769}, ["cp"]),
    ("megatron-lm", "host", {"strategy.zero_stage": 0}, ["zero_stage"]),
    ("megatron-lm", "dense", {"strategy.zero_stage": 0, "settings.shard_group": 8}, ["shard_group"]),
    ("megatron-lm", "sharded", OVERLAP, ["dp_overlap"]),
    ("megatron-lm", "dense", {"strategy.zero_stage": 2}, ["zero_stage"]),
    ("megatron-lm", "sharded", {"strategy.zero_stage": 1}, ["zero_stage"]),
    ("megatron-lm", "dense", {"accelerator": V100}, ["attention"]),
    ("megatron-lm", "dense", {"accelerator": V100, "attention": "unfused"}, []),
    ("megatron-lm", "experts", {"accelerator": V100, "attention": "unfused"}, ["model.moe"]),
    ("megatron-lm", "fp8", {**SELECTIVE, "settings.recompute_modules": "layernorm"}, ["recompute"]),
    ("megatron-lm", "fp8", {**SELECTIVE, "settings.recompute_modules": "mlp"}, []),
    ("megatron-lm", "dense", {**SELECTIVE, "settings.recompute_modules": "minimal"}, ["recompute_modules"]),
    ("megatron-lm", "dense", {**SELECTIVE, "settings.recompute_modules": "moe_act"}, ["recompute_modules"]),
    ("megatron-lm", "experts", {**SELECTIVE, "settings.recompute_modules": "mla_up_proj"}, ["recompute_modules"]),
    ("megatron-lm", "dense", HOSTED, ["offload_modules"]),
    ("megatron-lm", "dense", {**HOSTED, "settings.offload_modules": "attn_proj"}, ["offload_modules"]),
    ("megatron-lm", "dense", {**HOSTED, "settings.offload_modules": "attn_proj+core_attn"}, []),
    ("megatron-lm", "block", {**HOSTED, "settings.offload_modules": "core_attn"}, ["recompute"]),
    ("nemo", "dense", {**HOSTED, "settings.offload_modules": "core_attn"}, ["offload", "offload_modules"]),
    ("maxtext", "tpu", {**SELECTIVE, "settings.recompute_modules": "mlp"}, ["recompute_modules"]),
    ("maxtext", "tpu", {**SELECTIVE, "settings.recompute_modules": "qkv_proj_offloaded"}, ["offload"]),
    ("maxtext", "tpu", {**SELECTIVE, **HOSTED}, ["offload"]),
    ("maxtext", "tpu", {"settings.offload": ["optimizer", "weights"]}, ["offload"]),
    ("torchtitan", "fsdp", {**SELECTIVE, "settings.recompute_modules": "minimal"}, ["recompute_modules"]),
    ("torchtitan", "fsdp", {**SELECTIVE, "settings.recompute_modules": "every-second-matmul"}, []),
    ("megatron-lm", "experts", {"settings.order": "tp-cp-pp-dp"}, ["order"]),
    ("megatron-lm", "experts", {"settings.order": "tp-cp-pp-dp", "strategy.ep": 1}, []),
    ("megatron-lm", "swapped", {"strategy.cp": 2}, ["order"]),
    ("megatron-lm", "dense", OVERLAP, []),
    ("megatron-lm", "dense", {"model.final_norm": False}, ["model.final_norm"]),
    ("megatron-lm", "gpt", {"model.norm_bias": False}, ["model.norm_bias"]),
    ("megatron-lm", "dense", {"model.attention_out_bias": True}, ["model.attention_out_bias"]),
    ("megatron-lm", "dense", {"model.token_types": 2}, ["model.token_types"]),
    ("megatron-lm", "experts", {"model.moe.expert_bias": True}, ["model.moe.expert_bias"]),
    ("megatron-bridge", "sharded", {"settings.order": "tp-cp-pp-dp", "strategy.pp": 2}, ["order"]),
    ("nemo", "dense", {"precision": "nvfp4"}, ["precision"]),
    # DeepSeek-V2 takes the best expert of a group alone; 8 experts in 4 groups are two of each
    *(
        (program, "latent", {"model.moe.router_group_experts": 1}, ["model.moe.router_group_experts"])
        for program in ("megatron-lm", "megatron-bridge")
    ),
    ("torchtitan", "qwen", GROUPS, []),
    ("torchtitan", "qwen", GROUPS | {"model.moe.router_group_experts": 1}, ["model.moe.router_group_experts"]),
    ("megatron-lm", "latent", {"model.moe.router_topk_groups": 8}, ["model.moe.router_group_experts"]),
    ("megatron-lm", "latent", {"model.moe.router_groups": 0, "model.moe.router_group_experts": 1}, []),
    ("nemo", "latent", {}, ["model.mla"]),
    ("maxtext", "tpu", {"model": None}, ["model"]),
    ("maxtext", "tpu", {"settings.recompute_layers": 3}, ["recompute_layers"]),
    ("maxtext", "tpu", {"strategy.recompute": "none", **HOSTED}, ["offload"]),
    ("maxtext", "tpu", OVERLAP, ["dp_overlap"]),
    ("maxtext", "tpu", {"strategy.cp": 2, "settings.cp_exchange": "ring"}, ["cp_exchange"]),
    ("maxtext", "gathered", {"settings.cp_exchange": "ring"}, []),
    ("maxtext", "gathered", {"settings.cp_exchange": "all-to-all"}, ["cp_exchange"]),
    ("maxtext", "zero-1-fp8", {"strategy.micro_batch": 2}, ["precision"]),
    ("maxtext", "tpu", {"settings.shard_group": 8}, []),
    ("maxtext", "tpu", {"settings.shard_group": 24}, ["shard_group"]),
    ("maxtext", "tpu", {"strategy.zero_stage": 1, "settings.shard_group": 8}, ["shard_group"]),
    ("maxtext", "tpu-experts", {"strategy.ep": 3}, ["ep"]),
    ("maxtext", "tpu-experts", {"strategy.etp": 2}, ["etp"]),
    ("maxtext", "tpu-experts", {"model.moe.every": 2}, ["model.moe.every"]),
    ("maxtext", "tpu-experts", {"model.moe.shared_ffn_size": 64}, ["model.moe.shared_ffn_size"]),
    ("maxtext", "tpu-experts", {"model.moe.expert_bias": True}, ["model.moe.expert_bias"]),
    (
        "maxtext",
        "tpu-experts",
        {"model.moe.router_bias": True},
        ["model.moe.router_normalized", "model.moe.router_bias"],
    ),
    ("maxtext", "tpu-experts", {"model.gated_mlp": False, "model.activation": "relu"}, ["model.gated_mlp"]),
    ("maxtext", "tpu", {"model.gated_mlp": False, "model.activation": "relu"}, []),
    ("maxtext", "tpu", {"model.parallel_residual": True}, ["model.parallel_residual"]),
    ("maxtext", "tpu", {"model.attention_out_bias": True}, ["model.qkv_bias"]),
    ("maxtext", "tpu", {"model.attention_sinks": True}, []),
    ("maxtext", "gathered", {"model.attention_sinks": True}, ["cp"]),
    ("maxtext", "gathered", {"model.attention_sinks": True, "attention": "unfused"}, []),
    ("accelerate", "zero-1", {"strategy.tp": 2}, ["tp"]),
    ("accelerate", "replicas", {"strategy.cp": 2}, ["cp"]),
    ("accelerate", "replicas", {"strategy.zero_stage": 2}, ["zero_stage", "gradients"]),
    ("accelerate", "split", {"model.kv_heads": 2}, ["tp"]),
    ("accelerate", "split", {"settings.shard_group": 1}, ["shard_group"]),
    ("accelerate", "fsdp", {"settings.recompute_layers": 2}, ["recompute_layers"]),
    ("accelerate", "split", {"strategy.sequence_parallel": True}, ["sequence_parallel"]),
    ("accelerate", "split", {"settings.tp_overlap": True}, ["tp_overlap"]),
    ("accelerate", "fsdp", OVERLAP, ["dp_overlap"]),
    ("accelerate", "fsdp", {"settings.gradients": "bf16"}, ["gradients"]),
    ("accelerate", "replicas", {"settings.gradients": "bf16"}, []),
    ("accelerate", "replicas", {"settings.offload": ["weights"]}, ["offload"]),
    ("accelerate", "hybrid", {"settings.shard_group": 3}, ["shard_group"]),
    ("accelerate", "replicas", {"settings.shard_group": 8}, ["shard_group"]),
    ("deepspeed", "auto-tp", {"strategy.zero_stage": 3}, []),
    ("deepspeed", "auto-tp", {"strategy.tp": 16}, ["tp"]),
    ("deepspeed", "auto-tp", {"settings.order": "dp-tp-cp-pp"}, ["order"]),
    ("deepspeed", "zero-1", {"strategy.zero_stage": 0, "settings.gradients": "fp32"}, ["gradients"]),
    ("deepspeed", "zero-1", {"settings.gradients": "fp32"}, []),
    ("deepspeed", "auto-tp", {"strategy.sequence_parallel": True}, ["sequence_parallel"]),
    ("deepspeed", "auto-tp", {"settings.tp_overlap": True}, ["tp_overlap"]),
    ("deepspeed", "zero-1", {"settings.tp_overlap": True}, []),
    ("deepspeed", "zero-1", {"settings.shard_group": 8}, ["shard_group"]),
    ("deepspeed", "stage-3", {"strategy.zero_stage": 2}, ["offload"]),
    ("deepspeed", "zero-1", {"strategy.zero_stage": 0, "settings.offload": ["optimizer"]}, ["offload"]),
    ("deepspeed", "zero-1", {"strategy.recompute": "none", "settings.offload": ["activations"]}, ["offload"]),
    ("torchtitan", "fsdp", {"strategy.etp": 2}, ["etp"]),
    ("torchtitan", "fsdp", {"settings.recompute_layers": 2}, ["recompute_layers"]),
    ("torchtitan", "fsdp", {"attention": "unfused"}, ["attention"]),
    ("torchtitan", "fsdp", {"accelerator": V100}, ["attention"]),
    ("torchtitan", "tensor", {"model.kv_heads": 2}, ["tp"]),
    ("torchtitan", "all", {"model.tied_embeddings": True}, ["pp"]),
    ("torchtitan", "all", {"strategy.vpp": 1, "strategy.micro_batch": 32}, ["micro_batch"]),
    ("torchtitan", "bubble", {"global_batch": 72}, ["micro_batch"]),
    ("torchtitan", "fsdp", OVERLAP, ["dp_overlap"]),
    ("torchtitan", "hosted", {"settings.offload": ["weights"]}, ["offload"]),
    ("torchtitan", "hybrid", {"settings.shard_group": 3}, ["shard_group"]),
    ("torchtitan", "bubble", {"strategy.pp": 1}, ["schedule"]),
    ("torchtitan", "fsdp", {"settings.loss": "fused"}, ["loss"]),
    ("torchtitan", "chunked", {"seq_length": 8190}, ["loss"]),
    ("torchtitan", "narrow", {"settings.moments": "fp32"}, ["master"]),
    ("torchtitan", "narrow", {"settings.master": "fp32"}, ["gradients"]),
    ("torchtitan", "hosted", {"settings.moments": "bf16"}, ["moments"]),
    ("torchtitan", "qwen", {"launch": "graph"}, ["launch"]),
    ("torchtitan", "fsdp", {"launch": "graph"}, []),
    ("torchtitan", "qwen", {"settings.ep_exchange": "hybridep"}, ["ep_exchange"]),
    ("maxtext", "tpu-experts", {"settings.ep_exchange": "hybridep"}, ["ep_exchange"]),
    ("torchtitan", "all", {"global_batch": 72}, ["micro_batch"]),
    ("torchtitan", "gathered", {"seq_length": 32_772}, ["seq_length"]),
    ("torchtitan", "fsdp", {"settings.attention_precision": "fp8"}, ["attention_precision"]),
    ("deepspeed", "narrow-master", {"strategy.zero_stage": 0}, ["master"]),
    ("deepspeed", "narrow-master", {"settings.offload": ["optimizer"]}, ["moments"]),
    ("deepspeed", "host-master", {"settings.offload": []}, ["moments"]),
    ("deepspeed", "zero-1", {"settings.master": "none"}, ["master"]),
    ("accelerate", "fsdp", {"settings.reshard": "always"}, ["reshard"]),
    ("accelerate", "fsdp", {"settings.gather": "fp8"}, ["gather"]),
    ("accelerate", "zero-1", {"settings.gather": "fp8"}, ["gather"]),
    ("accelerate", "hosted", {"settings.offload": ["weights"]}, ["offload"]),
    ("accelerate", "hosted-activations", {"strategy.recompute": "none"}, ["offload"]),
    ("accelerate", "replicas", {"settings.moments": "bf16"}, ["moments"]),
    ("maxtext", "tpu", {"settings.moments": "bf16"}, ["moments"]),
    ("maxtext", "tpu-chunks", {"seq_length": 8190}, ["loss"]),
    ("fsdp2", "fsdp", {"settings.pp_overlap": "yes"}, ["pp_overlap"]),
    ("fsdp2", "fsdp", {"settings.gradients": "bf16"}, ["gradients"]),
    ("fsdp2", "fsdp", OVERLAP, ["dp_overlap"]),
    ("fsdp2", "fsdp", {"settings.recompute_layers": 2}, ["recompute_layers"]),
    ("fsdp2", "hosted", {"settings.offload": ["optimizer"]}, ["offload"]),
    ("fsdp2", "hybrid", {"settings.shard_group": 3}, ["shard_group"]),
]
"""A trainer, a plan that it supports (but for its name), what is changed, and the settings that are refused."""


@pytest.mark.parametrize(("trainer", "name", "changes", "settings"), REFUSED)
def test_an_unsupported_setting_is_refused_by_its_name(
    trainer: str, name: str, changes: Changes, settings: list[str]
) -> None:
    refusals = list(TRAINERS[trainer].find_unsupported(change_plan(build_run(name), changes)))
    assert [refusal.setting for refusal in refusals] == settings
    assert all(refusal.supported for refusal in refusals)


NOTED: list[tuple[str, str, Changes, str]] = [
    (
        "megatron-lm",
        "dense",
        {"settings.gradients": "fp32", "settings.communication": "bf16"},
        "as in memory",
    ),
    ("megatron-lm", "dense", {"launch": "eager"}, "launched eager; Megatron's are fused"),
    ("megatron-lm", "experts", {"launch": "graph"}, "a step with experts is not captured"),
    ("megatron-lm", "dense", {"precision": "tf32", "settings.gather": "fp32"}, "NVIDIA_TF32_OVERRIDE=1"),
    ("maxtext", "tpu", {"launch": "eager"}, "XLA compiles the whole step"),
    ("maxtext", "tpu-model", {"settings.tp_overlap": True}, "overlapped (XLA_FLAGS"),
    (
        "maxtext",
        "tpu",
        {"settings.gradients": "fp32", "settings.communication": "bf16"},
        "in which gradients are communicated",
    ),
    (
        "accelerate",
        "fsdp",
        {"settings.communication": "fp32"},
        "gradients are communicated in bf16, where the plan has fp32",
    ),
    (
        "maxtext",
        "tpu-experts",
        {"settings.ep_exchange": "deepep", "framework": "fsdp2"},
        "a copy of a token goes to each of its experts",
    ),
    (
        "torchtitan",
        "qwen",
        {"accelerator": A100, "settings.ep_exchange": "deepep"},
        "DeepEP needs NVIDIA's GPUs from Hopper on",
    ),
    ("deepspeed", "auto-tp", {}, "tensor parallelism is AutoTP"),
    ("fsdp2", "fsdp", {"launch": "graph"}, "launched graph: torch.compile comes nearest"),
]


@pytest.mark.parametrize(("trainer", "name", "changes", "note"), NOTED)
def test_a_difference_is_noted(trainer: str, name: str, changes: Changes, note: str) -> None:
    run = change_plan(build_run(name), changes)
    assert list(TRAINERS[trainer].find_unsupported(run)) == []
    assert note in " ".join(TRAINERS[trainer].build_notes(run))


def test_a_plan_that_is_run_unchanged_has_no_notes() -> None:
    for trainer, name in (("megatron-lm", "dense"), ("fsdp2", "zero-2")):
        assert list(TRAINERS[trainer].build_notes(build_run(name))) == []


ROWWISE = {"precision": "fp8", "settings.fp8_recipe": "rowwise", "launch": "compiled"}
WRITTEN: list[tuple[str, str, Changes, str, str]] = [
    ("maxtext", "tpu", {"precision": "int8"}, "maxtext.yml", "quantization: int8"),
    ("megatron-lm", "dense", {"model.sliding_window": 1024}, "train.sh", "--window-size 1023,0"),
    ("megatron-lm", "dense", {"model.sliding_window": 9, "model.sliding_every": 80}, "train.sh", "([1]*1+[0]*79)"),
    ("megatron-lm", "dense", {"model.sliding_window": 9, "model.sliding_every": 2}, "train.sh", "[1,0,1,0,1,0,"),
    ("megatron-lm", "dense", {"model.attention_sinks": True}, "train.sh", "--softmax-type learnable"),
    ("megatron-lm", "dense", {"model.qkv_bias": True}, "train.sh", "--add-qkv-bias"),
    ("megatron-lm", "dense", {"model.qk_norm": True}, "train.sh", "--qk-layernorm"),
    (
        "megatron-lm",
        "experts",
        {"model.moe.shared_ffn_size": 64},
        "train.sh",
        "-expert-intermediate-size 64",
    ),
    ("megatron-lm", "experts", {"model.moe.shared_gate": True}, "train.sh", "--moe-shared-expert-gate"),
    ("megatron-lm", "dense", {"settings.shard_group": 2}, "train.sh", "--num-distributed-optimizer-instances 2"),
    ("nemo", "dense", {"settings.shard_group": 2}, "planned_nemo.py", "num_distributed_optimizer_instances=2"),
    ("nemo", "swapped", {}, "planned_nemo.py", "use_tp_pp_dp_mapping=True"),
    ("megatron-lm", "fp8", {"settings.fp8_recipe": "tensorwise"}, "train.sh", "--fp8-recipe tensorwise"),
    ("megatron-lm", "fp8", {"settings.fp8_recipe": "blockwise"}, "train.sh", "--fp8-format e4m3"),
    ("megatron-lm", "fp8", {"settings.weights": "fp8", "settings.gather": "fp8"}, "train.sh", "--fp8-param-gather"),
    ("megatron-lm", "dense", {"launch": "graph:attn+mlp"}, "train.sh", "--cuda-graph-scope attn mlp"),
    ("megatron-lm", "dense", {"launch": "graph:attn"}, "train.sh", "--cuda-graph-impl transformer_engine"),
    ("megatron-lm", "dense", {"model.mtp_layers": 1}, "train.sh", "--mtp-num-layers 1"),
    ("megatron-lm", "experts", {"settings.ep_exchange": "hybridep"}, "train.sh", "backend hybridep"),
    ("megatron-bridge", "fp8", {"settings.fp8_recipe": "blockwise"}, "planned_bridge.py", '"blockwise"'),
    ("megatron-bridge", "dense", {"launch": "graph:attn"}, "planned_bridge.py", "transformer_engine"),
    ("megatron-bridge", "experts", {"settings.ep_exchange": "hybridep"}, "planned_bridge.py", "hybridep"),
    ("nemo", "fp8", {"settings.fp8_recipe": "tensorwise"}, "planned_nemo.py", "tensorwise"),
    ("torchtitan", "all", ROWWISE, "planned_torchtitan.py", 'recipe_name="rowwise"'),
    ("maxtext", "tpu", {"model.qk_norm": True}, "maxtext.yml", "use_qk_norm: true"),
    ("maxtext", "tpu", {"model.qkv_bias": True}, "maxtext.yml", "decoder_block: qwen2"),
    ("maxtext", "tpu", {"model.logit_softcap": 30.0}, "maxtext.yml", "final_logits_soft_cap: 30.0"),
    ("maxtext", "tpu", LINEAR_ROPE, "maxtext.yml", "rope_linear_scaling_factor: 4.0"),
    ("maxtext", "tpu", SELECTIVE | {"settings.recompute_modules": "save_qkv_proj"}, "maxtext.yml", "save_qkv_proj"),
    ("torchtitan", "all", {"settings.schedule": "gpipe"}, "planned_torchtitan.py", "'LoopedBFS'"),
    ("torchtitan", "qwen", {"settings.ep_exchange": "deepep"}, "planned_torchtitan.py", 'comm_backend="deepep"'),
    ("deepspeed", "kept", {"settings.reshard": "always"}, "ds_config.json", '"stage3_max_reuse_distance": 0'),
    ("torchtitan", "all", {"precision": "fp8", "launch": "eager"}, "planned_torchtitan.py", "compile_enabled=False"),
    (
        "megatron-lm",
        "latent",
        {"settings.recompute_modules": "mla_up_proj+mlp"},
        "train.sh",
        "--recompute-modules mla_up_proj mlp",
    ),
    (
        "megatron-lm",
        "dense",
        {**HOSTED, "settings.offload_modules": "attn_proj+core_attn"},
        "train.sh",
        "--fine-grained-activation-offloading\n  --offload-modules attn_proj core_attn",
    ),
    ("megatron-lm", "dense", HOSTED, "train.sh", "NVTE_CPU_OFFLOAD_V1"),
    ("nemo", "experts", {"settings.recompute_modules": "moe"}, "planned_nemo.py", "recompute_modules=['moe']"),
    ("maxtext", "tpu", SELECTIVE, "maxtext.yml", "remat_policy: minimal_with_context"),
    (
        "maxtext",
        "tpu",
        {**SELECTIVE, "settings.recompute_modules": "offload:decoder_layer_input+save:context", **HOSTED},
        "maxtext.yml",
        "remat_policy: custom\ndecoder_layer_input: offload\ncontext: device",
    ),
    ("maxtext", "tpu", {"strategy.recompute": "full", **HOSTED}, "maxtext.yml", "decoder_layer_input: offload"),
    ("deepspeed", "zero-1", {"settings.recompute_layers": 2}, "train.sh", "full: 2 layers of each stage"),
    ("deepspeed", "zero-1", {"strategy.recompute": "selective"}, "train.sh", "norms, activation functions"),
]
"""A trainer, a plan, what is changed, a file, and a text that is in it only with the change."""


@pytest.mark.parametrize(("trainer", "name", "changes", "file", "text"), WRITTEN)
def test_a_change_is_written(trainer: str, name: str, changes: Changes, file: str, text: str) -> None:
    build_files = TRAINERS[trainer].build_files
    assert text in build_files(change_plan(build_run(name), changes), UserExtras())[file]
    if changes:
        assert text not in build_files(build_run(name), UserExtras())[file]


def test_communication_is_overlapped_only_where_the_plan_does() -> None:
    text = TRAINERS["megatron-lm"].build_files(change_plan(build_run("dense"), OVERLAP), UserExtras())["train.sh"]
    assert "--use-distributed-optimizer" in text
    assert "--overlap-" not in text
