"""DeepSpeed: `ds_config.json` (deepspeed.ai/docs/config-json) for a training script of the user's.

Data parallelism with ZeRO (arXiv 1910.02054), tensor parallelism as its AutoTP.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.fsdp import PYTORCH_PARTS
from planner.export.run import Run
from planner.export.shell import TRAIN, torchrun, train_script
from planner.export.trainer import (
    Files,
    Misfit,
    Own,
    Trainer,
    above_one,
    among,
    offloaded,
    on,
)
from planner.export.user_script import NEEDED, asked, note
from planner.export.yaml_json import to_json

NAME = "deepspeed"
CONFIG = "ds_config.json"

_BODY = """exec "${torchrun[@]}" "$@" --deepspeed --deepspeed_config "$here/ds_config.json"
"""


def misfits(run: Run) -> Iterator[Misfit]:
    """What its configuration has no words for."""
    one, settings = run.strategy, run.settings
    yield from on(run, PYTORCH_PARTS)
    yield from above_one(run, ("tp",))
    yield from among("precision", run.precision, ("bf16", "fp16", "fp32", "tf32"))
    if one.tp > 1 and one.zero_stage == 3:
        yield Misfit("tp", one.tp, "tp 1, or ZeRO up to 2")
    if one.tp > 1 and one.sequence_parallel:
        yield Misfit("sequence_parallel", "yes", "sequence_parallel no")
    if settings.tp_overlap and one.tp > 1:
        yield Misfit("tp_overlap", "yes", "tp_overlap no")
    if settings.shard_group is not None:  # MiCS is gone (github.com/deepspeedai/DeepSpeed/issues/8489)
        yield Misfit("shard_group", settings.shard_group, "shard_group all")
    yield from offloaded(run, ("optimizer", "activations", "weights"))
    if "weights" in settings.offload and one.zero_stage != 3:
        yield Misfit("offload", "weights", "ZeRO 3 beside it")
    if "optimizer" in settings.offload and one.zero_stage == 0:
        yield Misfit("offload", "optimizer", "ZeRO 1, 2 or 3 beside it")
    if "activations" in settings.offload and one.recompute != "full":
        yield Misfit("offload", "activations", "full recomputation beside it")


def notes(run: Run) -> Iterator[str]:
    """Its script recomputes, and shards the model by tensor parallelism only where it is one of Hugging Face's."""
    yield from note(run, NAME)
    if run.strategy.tp > 1:
        yield "tensor parallelism is AutoTP: for models of Hugging Face's transformers"


def config(run: Run) -> dict[str, object]:
    """The plan as DeepSpeed's configuration."""
    one, settings = run.strategy, run.settings
    found: dict[str, object] = {
        "train_batch_size": run.global_batch,
        "train_micro_batch_size_per_gpu": one.micro_batch,
        "gradient_accumulation_steps": run.micro_batches,
        "zero_optimization": _zero(run),
        "communication_data_type": _narrow(run) if settings.communication == "bf16" else "fp32",
        "data_types": {"grad_accum_dtype": _narrow(run) if settings.gradients == "bf16" else "fp32"},
    }
    if run.precision in ("bf16", "fp16"):
        found[run.precision] = {"enabled": True}
    if one.tp > 1:
        found["tensor_parallel"] = {"autotp_size": one.tp}
    if one.recompute == "full":
        found["activation_checkpointing"] = {
            "partition_activations": False,
            "cpu_checkpointing": "activations" in settings.offload,
            "number_checkpoints": settings.recompute_layers or run.layers,
        }
    return found


def _narrow(run: Run) -> str:
    """The 16-bit format of the run; gradients are of no other."""
    return "fp16" if run.precision == "fp16" else "bf16"


def _zero(run: Run) -> dict[str, object]:
    one, settings = run.strategy, run.settings
    found: dict[str, object] = {"stage": one.zero_stage, "overlap_comm": settings.dp_overlap}
    if "optimizer" in settings.offload:
        found["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if "weights" in settings.offload:
        found["offload_param"] = {"device": "cpu", "pin_memory": True}
    return found


def files(run: Run, own: Own) -> Files:
    """The configuration, and `train.sh` that runs the user's script with it."""
    body = asked(run, recompute=True) + NEEDED + torchrun(run) + _BODY
    return {CONFIG: to_json(config(run)), TRAIN: train_script(run, NAME, own, body)}


TRAINER = Trainer(NAME, ("deepspeed",), misfits, notes, files, needs_script=True)
