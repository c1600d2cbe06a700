"""Accelerate: its configuration file, for a training script of the user's.

ZeRO 0 is DistributedDataParallel, ZeRO 2 and 3 are FSDP2 (without and with resharding after the forward pass), ZeRO 1
is DeepSpeed's; so is everything of a plan that was made for DeepSpeed. The keys: accelerate 1.15,
commands/config/config_args.py and commands/launch.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from planner.export import fsdp
from planner.export.run import PlannedRun
from planner.export.shell import TRAIN_SCRIPT, describe_plan, format_rendezvous, render_train_script
from planner.export.trainer import (
    FileTexts,
    TrainerExport,
    UnsupportedSetting,
    UserExtras,
    find_unsupported_accelerator,
    find_unsupported_degrees,
    find_unsupported_offload,
    find_unsupported_order,
    find_unsupported_value,
)
from planner.export.trainers import deepspeed
from planner.export.user_script import SCRIPT_USAGE_CHECK, build_recompute_note, format_script_duties
from planner.export.yaml_json import format_json, format_yaml
from planner.trainers.divisibility import has_whole_shard_groups

NAME = "accelerate"
ACCELERATE_CONFIG_FILE = "accelerate.yaml"

_CP_COMM_STRATEGIES = {"ring": "alltoall", "all-gather": "allgather"}
"""Keys and values are rotated with an all-to-all of neighbours, or gathered."""
_PRECISION_VALUES = {"bf16": "bf16", "fp16": "fp16", "fp8": "fp8", "fp32": "no", "tf32": "no"}


def get_sharding_engine(run: PlannedRun) -> Literal["ddp", "fsdp", "deepspeed"]:
    """The engine that shards the model below Accelerate."""
    if run.framework == "deepspeed" or run.strategy.zero_stage == 1:
        return "deepspeed"
    return "fsdp" if run.strategy.zero_stage else "ddp"


def find_unsupported_by_accelerate(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    """Settings that its configuration does not support."""
    strategy, settings = run.strategy, run.settings
    if get_sharding_engine(run) == "deepspeed":
        yield from deepspeed.find_unsupported_by_deepspeed(run)
        if strategy.tp > 1:
            yield UnsupportedSetting("tp", strategy.tp, "also ZeRO 2 or 3, or tp 1")
        return
    supported_degrees = ("tp", "cp") if get_sharding_engine(run) == "fsdp" else ()
    yield from find_unsupported_accelerator(run, fsdp.PYTORCH_ACCELERATORS)
    yield from find_unsupported_degrees(run, supported_degrees)
    yield from find_unsupported_value("precision", run.precision, tuple(_PRECISION_VALUES))
    if strategy.recompute == "selective":
        yield UnsupportedSetting("recompute", "selective", "recompute none or full")
    yield from fsdp.find_unsupported_recompute_layers(run)
    if strategy.cp > 1:
        yield from find_unsupported_value("cp_exchange", settings.cp_exchange, tuple(_CP_COMM_STRATEGIES))
    if strategy.tp > 1:
        yield from _find_unsupported_tensor_parallel(run)
    yield from find_unsupported_order(run, ("tp-cp-dp-pp",))
    yield from _find_unsupported_sharding(run)


def _find_unsupported_tensor_parallel(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    if run.strategy.sequence_parallel:
        yield UnsupportedSetting("sequence_parallel", "yes", "sequence_parallel no")
    if run.settings.tp_overlap:
        yield UnsupportedSetting("tp_overlap", "yes", "tp_overlap no")


def _find_unsupported_sharding(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    strategy = run.strategy
    yield from fsdp.find_unsupported_dp_overlap(run)
    if get_sharding_engine(run) == "ddp":
        yield from find_unsupported_offload(run, ())
    else:
        yield from fsdp.find_unsupported_grad_dtype(run)
        yield from fsdp.find_unsupported_fsdp_offload(run)
    shard_group = run.settings.shard_group
    if shard_group is not None and (
        get_sharding_engine(run) == "ddp" or not has_whole_shard_groups(strategy.dp, strategy.cp, shard_group)
    ):
        yield UnsupportedSetting(
            "shard_group", shard_group, "shard_group all, or cp times a divisor of dp under ZeRO 2 or 3"
        )


def build_accelerate_notes(run: PlannedRun) -> Iterator[str]:
    """Notes on the format of gradients, and on the duties of the script."""
    if get_sharding_engine(run) == "fsdp":
        reduce_dtype = "bf16" if run.precision in ("bf16", "fp8") else run.precision
        if run.settings.communication == "fp32" and run.precision in ("bf16", "fp8", "fp16"):
            yield f"gradients are communicated in {reduce_dtype}, where the plan has fp32: steps are shorter"
    else:
        yield from build_recompute_note(run, NAME)


def build_accelerate_config(run: PlannedRun) -> dict[str, object]:
    """The plan as a configuration file of `accelerate launch`."""
    distributed_types = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "deepspeed": "DEEPSPEED"}
    options: dict[str, object] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": distributed_types[get_sharding_engine(run)],
        "num_machines": run.nodes,
        "num_processes": run.devices,
        "machine_rank": 0,
        "main_training_function": "main",
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": run.accelerator.device_type == "cpu",
        "debug": False,
    }
    if get_sharding_engine(run) == "deepspeed":
        return options | {
            "deepspeed_config": {
                "deepspeed_config_file": deepspeed.DEEPSPEED_CONFIG_FILE,
                "deepspeed_multinode_launcher": "standard",
                "zero3_init_flag": run.strategy.zero_stage == 3,
            }
        }
    options["mixed_precision"] = _PRECISION_VALUES[run.precision]
    if get_sharding_engine(run) == "fsdp":
        options["fsdp_config"] = _build_fsdp_config(run)
        options["parallelism_config"] = _build_parallelism_config(run)
    return options


def _build_fsdp_config(run: PlannedRun) -> dict[str, object]:
    return {
        "fsdp_version": 2,
        "fsdp_reshard_after_forward": run.strategy.zero_stage == 3,
        "fsdp_offload_params": "weights" in run.settings.offload,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_activation_checkpointing": run.strategy.recompute == "full",
        "fsdp_state_dict_type": "SHARDED_STATE_DICT",
        "fsdp_cpu_ram_efficient_loading": True,
    }


def _build_parallelism_config(run: PlannedRun) -> dict[str, object]:
    """Sizes of the mesh; FSDP shards over dp_shard x cp."""
    strategy, (replicas, shards) = run.strategy, fsdp.compute_fsdp_mesh(run)
    sizes = {"dp_replicate_size": replicas, "dp_shard_size": shards, "tp_size": strategy.tp, "cp_size": strategy.cp}
    options: dict[str, object] = {f"parallelism_config_{name}": size for name, size in sizes.items()}
    if strategy.cp > 1:
        options["parallelism_config_cp_comm_strategy"] = _CP_COMM_STRATEGIES[run.settings.cp_exchange]
    return options


def build_accelerate_files(run: PlannedRun, extras: UserExtras) -> FileTexts:
    """The configuration, also DeepSpeed's where that is the engine, and `train.sh`."""
    uses_deepspeed = get_sharding_engine(run) == "deepspeed"
    deepspeed_files = (
        {deepspeed.DEEPSPEED_CONFIG_FILE: format_json(deepspeed.build_deepspeed_config(run))}
        if uses_deepspeed
        else {}
    )
    deepspeed_option = ' --deepspeed_config_file "$here/ds_config.json"' if uses_deepspeed else ""
    body = (
        format_script_duties(run, by_script=get_sharding_engine(run) != "fsdp")
        + SCRIPT_USAGE_CHECK
        + format_rendezvous(run)
        + f'exec accelerate launch --config_file "$here/{ACCELERATE_CONFIG_FILE}"{deepspeed_option} \\\n'
        + '  --machine_rank "$NODE_RANK" --main_process_ip "$MASTER_ADDR" --main_process_port "$MASTER_PORT" "$@"\n'
    )
    environment = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": run.micro_batches}
    config_text = format_yaml(describe_plan(run, NAME), build_accelerate_config(run))
    return {
        ACCELERATE_CONFIG_FILE: config_text,
        **deepspeed_files,
        TRAIN_SCRIPT: render_train_script(run, NAME, extras, body, environment),
    }


TRAINER = TrainerExport(
    NAME,
    find_unsupported_by_accelerate,
    build_accelerate_notes,
    build_accelerate_files,
    needs_script=True,
)
