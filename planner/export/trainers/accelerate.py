"""Accelerate: its configuration file, for a training script of the user's.

ZeRO 0 is DistributedDataParallel, ZeRO 2 and 3 are FSDP2 (without and with resharding after the forward pass), ZeRO 1
is DeepSpeed's; so is everything of a plan that was made for DeepSpeed. The keys: accelerate 1.15,
commands/config/config_args.py and commands/launch.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from planner.export import fsdp
from planner.export.run import Run
from planner.export.shell import TRAIN, about_plan, rendezvous, train_script
from planner.export.trainer import (
    Files,
    Misfit,
    Own,
    Trainer,
    above_one,
    among,
    offloaded,
    on,
    ordered,
)
from planner.export.trainers import deepspeed
from planner.export.user_script import NEEDED, asked, note
from planner.export.yaml_json import to_json, to_yaml

NAME = "accelerate"
CONFIG = "accelerate.yaml"

_CP = {"ring": "alltoall", "all-gather": "allgather"}
"""Keys and values are rotated with an all-to-all of neighbours, or gathered."""
_MIXED = {"bf16": "bf16", "fp16": "fp16", "fp8": "fp8", "fp32": "no", "tf32": "no"}


def engine(run: Run) -> Literal["ddp", "fsdp", "deepspeed"]:
    """What shards the model below Accelerate."""
    if run.framework == "deepspeed" or run.strategy.zero_stage == 1:
        return "deepspeed"
    return "fsdp" if run.strategy.zero_stage else "ddp"


def misfits(run: Run) -> Iterator[Misfit]:
    """What its configuration has no words for."""
    one, settings = run.strategy, run.settings
    if engine(run) == "deepspeed":
        yield from deepspeed.misfits(run)
        if one.tp > 1:
            yield Misfit("tp", one.tp, "ZeRO 2 or 3 beside it, or tp 1")
        return
    able = ("tp", "cp") if engine(run) == "fsdp" else ()
    yield from on(run, fsdp.PYTORCH_PARTS)
    yield from above_one(run, able)
    yield from among("precision", run.precision, tuple(_MIXED))
    if one.recompute == "selective":
        yield Misfit("recompute", "selective", "recompute none or full")
    yield from fsdp.some_layers(run)
    if one.cp > 1:
        yield from among("cp_exchange", settings.cp_exchange, tuple(_CP))
    if one.tp > 1:
        yield from _tensor_misfits(run)
    yield from ordered(run, ("tp-cp-dp-pp",))
    yield from _sharding_misfits(run)


def _tensor_misfits(run: Run) -> Iterator[Misfit]:
    if run.strategy.sequence_parallel:
        yield Misfit("sequence_parallel", "yes", "sequence_parallel no")
    if run.settings.tp_overlap:
        yield Misfit("tp_overlap", "yes", "tp_overlap no")


def _sharding_misfits(run: Run) -> Iterator[Misfit]:
    one = run.strategy
    yield from fsdp.exposed(run)
    if engine(run) == "ddp":
        yield from offloaded(run, ())
    else:
        yield from fsdp.narrow_gradients(run)
        yield from fsdp.half_offloaded(run)
    group = run.settings.shard_group
    if group is not None and (engine(run) == "ddp" or group % one.cp or one.dp % (group // one.cp)):
        yield Misfit("shard_group", group, "shard_group all, or cp times a divisor of dp under ZeRO 2 or 3")


def notes(run: Run) -> Iterator[str]:
    """Where gradients are sent otherwise, and what is for the script to do."""
    if engine(run) == "fsdp":
        sent = "bf16" if run.precision in ("bf16", "fp8") else run.precision
        if run.settings.communication == "fp32" and run.precision in ("bf16", "fp8", "fp16"):
            yield f"gradients are sent in {sent}, where the plan has fp32: it takes less time than planned"
    else:
        yield from note(run, NAME)


def config(run: Run) -> dict[str, object]:
    """The plan as a configuration file of `accelerate launch`."""
    names = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "deepspeed": "DEEPSPEED"}
    found: dict[str, object] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": names[engine(run)],
        "num_machines": run.nodes,
        "num_processes": run.devices,
        "machine_rank": 0,
        "main_training_function": "main",
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": run.part.kind == "cpu",
        "debug": False,
    }
    if engine(run) == "deepspeed":
        return found | {
            "deepspeed_config": {
                "deepspeed_config_file": deepspeed.CONFIG,
                "deepspeed_multinode_launcher": "standard",
                "zero3_init_flag": run.strategy.zero_stage == 3,
            }
        }
    found["mixed_precision"] = _MIXED[run.precision]
    if engine(run) == "fsdp":
        found["fsdp_config"] = _fsdp(run)
        found["parallelism_config"] = _parallelism(run)
    return found


def _fsdp(run: Run) -> dict[str, object]:
    return {
        "fsdp_version": 2,
        "fsdp_reshard_after_forward": run.strategy.zero_stage == 3,
        "fsdp_offload_params": "weights" in run.settings.offload,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_activation_checkpointing": run.strategy.recompute == "full",
        "fsdp_state_dict_type": "SHARDED_STATE_DICT",
        "fsdp_cpu_ram_efficient_loading": True,
    }


def _parallelism(run: Run) -> dict[str, object]:
    """Sizes of the mesh; FSDP shards over dp_shard x cp."""
    one, (replicas, shards) = run.strategy, fsdp.mesh(run)
    sizes = {"dp_replicate_size": replicas, "dp_shard_size": shards, "tp_size": one.tp, "cp_size": one.cp}
    found: dict[str, object] = {f"parallelism_config_{name}": size for name, size in sizes.items()}
    if one.cp > 1:
        found["parallelism_config_cp_comm_strategy"] = _CP[run.settings.cp_exchange]
    return found


def files(run: Run, own: Own) -> Files:
    """The configuration, DeepSpeed's beside it where that is the engine, and `train.sh`."""
    with_deepspeed = engine(run) == "deepspeed"
    made = {deepspeed.CONFIG: to_json(deepspeed.config(run))} if with_deepspeed else {}
    more = ' --deepspeed_config_file "$here/ds_config.json"' if with_deepspeed else ""
    body = (
        asked(run, recompute=engine(run) != "fsdp")
        + NEEDED
        + rendezvous(run)
        + f'exec accelerate launch --config_file "$here/{CONFIG}"{more} \\\n'
        + '  --machine_rank "$NODE_RANK" --main_process_ip "$MASTER_ADDR" --main_process_port "$MASTER_PORT" "$@"\n'
    )
    variables = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": run.micro_batches}
    text = to_yaml(about_plan(run, NAME), config(run))
    return {CONFIG: text, **made, TRAIN: train_script(run, NAME, own, body, variables)}


TRAINER = Trainer(NAME, ("fsdp2", "fsdp", "deepspeed", "ddp"), misfits, notes, files, needs_script=True)
