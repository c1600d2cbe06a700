"""Accelerate: its configuration file, for a training script of the user's.

ZeRO 0 is DistributedDataParallel, ZeRO 2 and 3 are FSDP2 (without and with resharding after the forward pass), ZeRO 1
is DeepSpeed's; so is everything of a plan that was made for DeepSpeed. The keys: accelerate 1.15,
commands/config/config_args.py and commands/launch.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from planner.export.run import PlannedRun
from planner.export.text import format_json, format_yaml
from planner.export.trainer import (
    SCRIPT_USAGE_CHECK,
    FileTexts,
    TrainerExport,
    build_model_file,
    build_model_notes,
    build_recompute_note,
    describe_plan,
    format_rendezvous,
    format_script_duties,
)
from planner.export.trainers import deepspeed
from planner.export.trainers.fsdp2 import compute_fsdp_mesh
from planner.trainers.pytorch import accelerate
from planner.trainers.rules import has_narrow_parameters

ACCELERATE_CONFIG_FILE = "accelerate.yaml"

_CP_COMM_STRATEGIES = {"ring": "alltoall", "all-gather": "allgather"}
"""Keys and values are rotated with an all-to-all of neighbours, or gathered."""
_PRECISION_VALUES = {"bf16": "bf16", "fp16": "fp16", "fp8": "fp8", "fp32": "no", "tf32": "no"}


def get_sharding_engine(run: PlannedRun) -> Literal["ddp", "fsdp", "deepspeed"]:
    """The engine that shards the model below Accelerate."""
    if accelerate.uses_deepspeed(run.values):
        return "deepspeed"
    return "fsdp" if accelerate.uses_fsdp(run.values) else "ddp"


def _build_notes(run: PlannedRun) -> Iterator[str]:
    """Notes on the format of gradients, and on the duties of the script."""
    yield from build_model_notes(run)
    if get_sharding_engine(run) != "fsdp":
        yield from build_recompute_note(run, accelerate.ACCELERATE.name)
    elif run.settings.communication == "fp32" and run.precision in ("bf16", "fp8", "fp16"):
        reduce_dtype = "fp16" if run.precision == "fp16" else "bf16"
        yield f"gradients are communicated in {reduce_dtype}, where the plan has fp32: steps are shorter"


def _build_config(run: PlannedRun) -> dict[str, object]:
    """The plan as a configuration file of `accelerate launch`."""
    engine = get_sharding_engine(run)
    options: dict[str, object] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": {"ddp": "MULTI_GPU", "fsdp": "FSDP", "deepspeed": "DEEPSPEED"}[engine],
        "num_machines": run.nodes,
        "num_processes": run.devices,
        "machine_rank": 0,
        "main_training_function": "main",
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": run.accelerator.device_type == "cpu",
        "debug": False,
    }
    if engine == "deepspeed":
        options["deepspeed_config"] = {
            "deepspeed_config_file": deepspeed.DEEPSPEED_CONFIG_FILE,
            "deepspeed_multinode_launcher": "standard",
            "zero3_init_flag": run.strategy.zero_stage == 3,
        }
        return options
    options["mixed_precision"] = "no" if has_narrow_parameters(run.values) else _PRECISION_VALUES[run.precision]
    if engine == "fsdp":
        if run.precision == "fp8":
            options["fp8_config"] = {"backend": "AO", "enable_fsdp_float8_all_gather": run.settings.gather == "fp8"}
        options["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_reshard_after_forward": run.strategy.zero_stage == 3 and run.settings.reshard != "never",
            "fsdp_offload_params": "weights" in run.settings.offload,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_activation_checkpointing": run.strategy.recompute == "full",
            "fsdp_activation_checkpointing_offload": "activations" in run.settings.offload,
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",
            "fsdp_cpu_ram_efficient_loading": True,
        }
        options["parallelism_config"] = _build_parallelism_config(run)
    return options


def _build_parallelism_config(run: PlannedRun) -> dict[str, object]:
    """Sizes of the mesh; FSDP shards over dp_shard x cp."""
    strategy, (replicas, shards) = run.strategy, compute_fsdp_mesh(run)
    sizes = {"dp_replicate_size": replicas, "dp_shard_size": shards, "tp_size": strategy.tp, "cp_size": strategy.cp}
    options: dict[str, object] = {f"parallelism_config_{name}": size for name, size in sizes.items()}
    if strategy.cp > 1:
        options["parallelism_config_cp_comm_strategy"] = _CP_COMM_STRATEGIES[run.settings.cp_exchange]
    return options


def _build_config_files(run: PlannedRun) -> FileTexts:
    """The configuration, also DeepSpeed's where that is the engine."""
    files = {ACCELERATE_CONFIG_FILE: format_yaml(describe_plan(run, accelerate.ACCELERATE.name), _build_config(run))}
    if get_sharding_engine(run) == "deepspeed":
        files[deepspeed.DEEPSPEED_CONFIG_FILE] = format_json(deepspeed.build_deepspeed_config(run))
    return files | build_model_file(run, "bfloat16" if has_narrow_parameters(run.values) else None)


def _build_script_body(run: PlannedRun) -> str:
    engine = get_sharding_engine(run)
    is_narrow = engine == "fsdp" and has_narrow_parameters(run.values)
    deepspeed_option = ' --deepspeed_config_file "$here/ds_config.json"' if engine == "deepspeed" else ""
    return (
        format_script_duties(run, recomputes=engine != "fsdp")
        + ("#   parameters of 16 bits: torch.bfloat16\n" if is_narrow else "")
        + SCRIPT_USAGE_CHECK
        + format_rendezvous(run)
        + f'exec accelerate launch --config_file "$here/{ACCELERATE_CONFIG_FILE}"{deepspeed_option} \\\n'
        + '  --machine_rank "$NODE_RANK" --main_process_ip "$MASTER_ADDR" --main_process_port "$MASTER_PORT" "$@"\n'
    )


TRAINER = TrainerExport(
    accelerate.ACCELERATE,
    _build_script_body,
    _build_config_files,
    lambda run: {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": run.micro_batches},
    _build_notes,
    needs_script=True,
)
