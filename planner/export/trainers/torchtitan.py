"""torchtitan: a module with its configuration (torchtitan 0.3, `torchtitan.train --module ... --config ...`).

ZeRO 3 and 2 are FSDP2, with and without resharding after the forward pass; hybrid sharding is its replicate degree.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import fsdp
from planner.export.run import PlannedRun
from planner.export.shell import TRAIN_SCRIPT, format_torchrun_array, render_train_script
from planner.export.trainer import (
    FileTexts,
    TrainerExport,
    UnsupportedSetting,
    UserExtras,
    find_unsupported_accelerator,
    find_unsupported_architecture,
    find_unsupported_degrees,
    find_unsupported_order,
    find_unsupported_value,
)
from planner.export.trainers import torchtitan_file
from planner.trainers.divisibility import has_whole_shard_groups
from planner.workload.spec import ModelSpec

NAME = "torchtitan"
MODULE_NAME = torchtitan_file.TORCHTITAN_MODULE

_LAUNCH_COMMAND = f"""export PYTHONPATH="$here${{PYTHONPATH:+:$PYTHONPATH}}"
exec "${{torchrun[@]}}" -m torchtitan.train --module {MODULE_NAME} --config plan "$@"
"""


def find_unsupported_by_torchtitan(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    """Settings that its configuration does not support."""
    strategy, settings = run.strategy, run.settings
    yield from find_unsupported_architecture(run)
    yield from find_unsupported_accelerator(run, ("NVIDIA gpu", "AMD gpu"))
    yield from find_unsupported_degrees(run, ("tp", "pp", "cp", "ep", "vpp"))
    yield from find_unsupported_value("precision", run.precision, ("bf16", "fp8", "mxfp8", "nvfp4", "fp32"))
    if run.model is not None and not torchtitan_file.find_native_flavor(run.model):
        yield from _find_unsupported_model(run.model)
    if strategy.zero_stage < 2 and strategy.dp * strategy.cp > 1:
        yield UnsupportedSetting("zero_stage", strategy.zero_stage, "zero_stage 2 or 3")
    if strategy.etp > 1:
        yield UnsupportedSetting("etp", strategy.etp, "etp 1")
    yield from fsdp.find_unsupported_recompute_layers(run)
    if strategy.cp > 1:
        yield from find_unsupported_value("cp_exchange", settings.cp_exchange, ("all-gather",))
    if run.attention == "unfused":
        yield UnsupportedSetting("attention", "unfused", "attention flash")
    yield from find_unsupported_order(run, ("tp-cp-dp-pp",))
    yield from _find_unsupported_sharding(run)


def _find_unsupported_sharding(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    strategy, settings = run.strategy, run.settings
    yield from fsdp.find_unsupported_dp_overlap(run)
    yield from find_unsupported_value("gradients", settings.gradients, ("fp32",))
    yield from fsdp.find_unsupported_fsdp_offload(run)
    shard_group = settings.shard_group
    if shard_group is not None and not has_whole_shard_groups(strategy.dp, strategy.cp, shard_group):
        yield UnsupportedSetting("shard_group", shard_group, "shard_group all, or cp times a divisor of dp")
    if settings.schedule == "zero-bubble" and strategy.pp == 1:
        yield UnsupportedSetting("schedule", "zero-bubble", "schedule 1f1b")


def _find_unsupported_model(model: ModelSpec) -> Iterator[UnsupportedSetting]:
    """The model, where it is neither a preset of torchtitan nor of the Llama form."""
    plain_llama = ModelSpec(name="", hidden_size=1, layers=1, heads=1, ffn_size=1, gated_mlp=True, norm="rmsnorm")
    shape_fields = (
        "name",
        "title",
        "hidden_size",
        "layers",
        "heads",
        "kv_heads",
        "head_dim",
        "ffn_size",
        "vocab_size",
    )
    free_fields = (*shape_fields, "seq_length", "tied_embeddings", "qk_norm", "norm_bias", "published")
    for name in ModelSpec.__struct_fields__:
        if name not in free_fields and getattr(model, name) != getattr(plain_llama, name):
            value = getattr(model, name)
            display_value = value if isinstance(value, (int, str)) else "present"
            yield UnsupportedSetting(f"model.{name}", display_value, "the parts of Llama, or a preset of torchtitan")


def build_torchtitan_notes(run: PlannedRun) -> Iterator[str]:
    """Deviations from the plan that do not change the result of training."""
    if run.settings.communication == "bf16":
        yield "gradients are communicated in fp32, where the plan has bf16: steps are longer"
    yield from fsdp.build_kernel_launch_note(run)


def build_torchtitan_files(run: PlannedRun, extras: UserExtras) -> FileTexts:
    """The module, and `train.sh` that runs torchtitan with it."""
    body = format_torchrun_array(run) + _LAUNCH_COMMAND
    return {
        f"{MODULE_NAME}.py": torchtitan_file.render_torchtitan_module(run),
        TRAIN_SCRIPT: render_train_script(run, NAME, extras, body),
    }


TRAINER = TrainerExport(NAME, find_unsupported_by_torchtitan, build_torchtitan_notes, build_torchtitan_files)
