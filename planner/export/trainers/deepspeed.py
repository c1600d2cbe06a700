"""DeepSpeed: `ds_config.json` (deepspeed.ai/docs/config-json) for a training script of the user's.

Data parallelism with ZeRO (arXiv 1910.02054), tensor parallelism as its AutoTP.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.run import PlannedRun
from planner.export.text import format_json
from planner.export.trainer import (
    SCRIPT_USAGE_CHECK,
    TrainerExport,
    build_model_file,
    build_model_notes,
    build_recompute_note,
    format_script_duties,
    format_torchrun_array,
)
from planner.trainers.pytorch.deepspeed import DEEPSPEED_PROGRAM

DEEPSPEED_CONFIG_FILE = "ds_config.json"

_LAUNCH_COMMAND = """exec "${torchrun[@]}" "$@" --deepspeed --deepspeed_config "$here/ds_config.json"
"""


def _build_notes(run: PlannedRun) -> Iterator[str]:
    """Notes: the script recomputes, and tensor parallelism works for models of Hugging Face only."""
    yield from build_recompute_note(run, DEEPSPEED_PROGRAM.name)
    yield from build_model_notes(run)
    if run.strategy.tp > 1:
        yield "tensor parallelism is AutoTP: for models of Hugging Face's transformers"


def build_deepspeed_config(run: PlannedRun) -> dict[str, object]:
    """The plan as DeepSpeed's configuration."""
    strategy, settings = run.strategy, run.settings
    narrow_dtype = "fp16" if run.precision == "fp16" else "bf16"
    options: dict[str, object] = {
        "train_batch_size": run.global_batch,
        "train_micro_batch_size_per_gpu": strategy.micro_batch,
        "gradient_accumulation_steps": run.micro_batches,
        "zero_optimization": _build_zero_config(run),
        "communication_data_type": narrow_dtype if settings.communication == "bf16" else "fp32",
        "data_types": {"grad_accum_dtype": narrow_dtype if settings.gradients == "bf16" else "fp32"},
    }
    if run.precision in ("bf16", "fp16"):
        options[run.precision] = {"enabled": True, **_build_state_options(run)}
    if strategy.tp > 1:
        options["tensor_parallel"] = {"autotp_size": strategy.tp}
    if strategy.recompute == "full":
        options["activation_checkpointing"] = {
            "partition_activations": False,
            "cpu_checkpointing": "activations" in settings.offload,
            "number_checkpoints": settings.recompute_layers or run.layers,
        }
    return options


def _build_state_options(run: PlannedRun) -> dict[str, object]:
    """Master weights and moments of 16 bits (runtime/precision_config.py, `DeepSpeedBF16Config`)."""
    if run.settings.master != "bf16":
        return {}
    has_narrow_moments = {"bf16_optimizer_states": True} if run.settings.moments == "bf16" else {}
    return {"bf16_master_weights_and_grads": True, **has_narrow_moments}


def _build_reshard_options(run: PlannedRun) -> dict[str, object]:
    """When weights are freed after their layer: by the parameters until their next use, of at most all of them in a
    forward and a backward pass (runtime/zero/partitioned_param_coordinator.py, `__params_to_release`).
    """
    if run.strategy.zero_stage < 3 or run.settings.reshard == "default":
        return {}
    limit = 0 if run.settings.reshard == "always" else 2 * run.parameters
    return dict.fromkeys(("stage3_max_live_parameters", "stage3_max_reuse_distance"), limit)


def _build_zero_config(run: PlannedRun) -> dict[str, object]:
    host, offload = {"device": "cpu", "pin_memory": True}, run.settings.offload
    return {
        "stage": run.strategy.zero_stage,
        "overlap_comm": run.settings.dp_overlap,
        **_build_reshard_options(run),
        **({"offload_optimizer": host} if "optimizer" in offload else {}),
        **({"offload_param": host} if "weights" in offload else {}),
    }


def _build_script_body(run: PlannedRun) -> str:
    return (
        format_script_duties(run, recomputes=True) + SCRIPT_USAGE_CHECK + format_torchrun_array(run) + _LAUNCH_COMMAND
    )


TRAINER = TrainerExport(
    DEEPSPEED_PROGRAM,
    _build_script_body,
    lambda run: {DEEPSPEED_CONFIG_FILE: format_json(build_deepspeed_config(run)), **build_model_file(run)},
    build_notes=_build_notes,
    needs_script=True,
)
