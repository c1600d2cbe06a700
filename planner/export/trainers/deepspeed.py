"""DeepSpeed: `ds_config.json` (deepspeed.ai/docs/config-json) for a training script of the user's.

Data parallelism with ZeRO (arXiv 1910.02054), tensor parallelism as its AutoTP.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.fsdp import PYTORCH_ACCELERATORS
from planner.export.run import PlannedRun
from planner.export.shell import TRAIN_SCRIPT, format_torchrun_array, render_train_script
from planner.export.trainer import (
    FileTexts,
    TrainerExport,
    UnsupportedSetting,
    UserExtras,
    find_unsupported_accelerator,
    find_unsupported_degrees,
    find_unsupported_offload,
    find_unsupported_value,
)
from planner.export.user_script import SCRIPT_USAGE_CHECK, build_recompute_note, format_script_duties
from planner.export.yaml_json import format_json

NAME = "deepspeed"
DEEPSPEED_CONFIG_FILE = "ds_config.json"

_LAUNCH_COMMAND = """exec "${torchrun[@]}" "$@" --deepspeed --deepspeed_config "$here/ds_config.json"
"""


def find_unsupported_by_deepspeed(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    """Settings that its configuration does not support."""
    strategy, settings = run.strategy, run.settings
    yield from find_unsupported_accelerator(run, PYTORCH_ACCELERATORS)
    yield from find_unsupported_degrees(run, ("tp",))
    yield from find_unsupported_value("precision", run.precision, ("bf16", "fp16", "fp32", "tf32"))
    if strategy.tp > 1 and strategy.zero_stage == 3:
        yield UnsupportedSetting("tp", strategy.tp, "tp 1, or ZeRO up to 2")
    if strategy.tp > 1 and strategy.sequence_parallel:
        yield UnsupportedSetting("sequence_parallel", "yes", "sequence_parallel no")
    if settings.tp_overlap and strategy.tp > 1:
        yield UnsupportedSetting("tp_overlap", "yes", "tp_overlap no")
    if settings.shard_group is not None:  # MiCS was removed (github.com/deepspeedai/DeepSpeed/issues/8489)
        yield UnsupportedSetting("shard_group", settings.shard_group, "shard_group all")
    yield from find_unsupported_offload(run, ("optimizer", "activations", "weights"))
    if "weights" in settings.offload and strategy.zero_stage != 3:
        yield UnsupportedSetting("offload", "weights", "also ZeRO 3")
    if "optimizer" in settings.offload and strategy.zero_stage == 0:
        yield UnsupportedSetting("offload", "optimizer", "also ZeRO 1, 2 or 3")
    if "activations" in settings.offload and strategy.recompute != "full":
        yield UnsupportedSetting("offload", "activations", "also full recomputation")


def build_deepspeed_notes(run: PlannedRun) -> Iterator[str]:
    """Notes: the script recomputes, and tensor parallelism works for models of Hugging Face only."""
    yield from build_recompute_note(run, NAME)
    if run.strategy.tp > 1:
        yield "tensor parallelism is AutoTP: for models of Hugging Face's transformers"


def build_deepspeed_config(run: PlannedRun) -> dict[str, object]:
    """The plan as DeepSpeed's configuration."""
    strategy, settings = run.strategy, run.settings
    options: dict[str, object] = {
        "train_batch_size": run.global_batch,
        "train_micro_batch_size_per_gpu": strategy.micro_batch,
        "gradient_accumulation_steps": run.micro_batches,
        "zero_optimization": _build_zero_config(run),
        "communication_data_type": _get_16bit_dtype(run) if settings.communication == "bf16" else "fp32",
        "data_types": {"grad_accum_dtype": _get_16bit_dtype(run) if settings.gradients == "bf16" else "fp32"},
    }
    if run.precision in ("bf16", "fp16"):
        options[run.precision] = {"enabled": True}
    if strategy.tp > 1:
        options["tensor_parallel"] = {"autotp_size": strategy.tp}
    if strategy.recompute == "full":
        options["activation_checkpointing"] = {
            "partition_activations": False,
            "cpu_checkpointing": "activations" in settings.offload,
            "number_checkpoints": settings.recompute_layers or run.layers,
        }
    return options


def _get_16bit_dtype(run: PlannedRun) -> str:
    """The 16-bit format of the run, which gradients share."""
    return "fp16" if run.precision == "fp16" else "bf16"


def _build_zero_config(run: PlannedRun) -> dict[str, object]:
    strategy, settings = run.strategy, run.settings
    options: dict[str, object] = {"stage": strategy.zero_stage, "overlap_comm": settings.dp_overlap}
    if "optimizer" in settings.offload:
        options["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if "weights" in settings.offload:
        options["offload_param"] = {"device": "cpu", "pin_memory": True}
    return options


def build_deepspeed_files(run: PlannedRun, extras: UserExtras) -> FileTexts:
    """The configuration, and `train.sh` that runs the user's script with it."""
    body = (
        format_script_duties(run, by_script=True) + SCRIPT_USAGE_CHECK + format_torchrun_array(run) + _LAUNCH_COMMAND
    )
    return {
        DEEPSPEED_CONFIG_FILE: format_json(build_deepspeed_config(run)),
        TRAIN_SCRIPT: render_train_script(run, NAME, extras, body),
    }


TRAINER = TrainerExport(
    NAME,
    find_unsupported_by_deepspeed,
    build_deepspeed_notes,
    build_deepspeed_files,
    needs_script=True,
)
