"""torchtitan: a module with its configuration (torchtitan 0.3, `torchtitan.train --module ... --config ...`).

ZeRO 3 and 2 are FSDP2, with and without resharding after the forward pass; hybrid sharding is its replicate degree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.export.run import PlannedRun
from planner.export.text import format_comments
from planner.export.trainer import TrainerExport, describe_plan, format_torchrun_array
from planner.export.trainers.fsdp2 import build_kernel_launch_note, compute_fsdp_mesh
from planner.export.trainers.torchtitan_model import (
    PRECISION_CONVERTERS,
    format_model,
    format_model_imports,
    has_deepep,
)
from planner.trainers.pytorch.torchtitan import TORCHTITAN
from planner.trainers.rules import has_narrow_parameters
from planner.trainers.trainer import LOSS_CHUNKS

TORCHTITAN_MODULE = "planned_torchtitan"

_SCHEDULE_NAMES = {
    "1f1b": ("1F1B", "Interleaved1F1B"),
    "zero-bubble": ("InterleavedZeroBubble",) * 2,
    "gpipe": ("GPipe", "LoopedBFS"),
    "zb-v": ("ZBVZeroBubble",) * 2,
    "dualpipe-v": ("DualPipeV",) * 2,
}
"""Schedules with a single chunk per stage, and with several. PyTorch's interleaved zero bubble with one chunk is ZB1P
(arXiv 2401.10241)."""

_IMPORTS_TEMPLATE = """from torchtitan.components.checkpoint import CheckpointManager
from torchtitan.components.loss import {losses}
from torchtitan.components.optimizer import default_adamw
from torchtitan.config import CompileConfig, ParallelismConfig, TrainingConfig
{more}from torchtitan.hf_datasets.text_datasets import HuggingFaceTextDataLoader
from torchtitan.models.common.config_utils import decoder_vocab_size
from torchtitan.protocols.model_spec import ModelSpec
from torchtitan.trainer import Trainer
"""
_PLAN_TEMPLATE = '''

def plan() -> Trainer.Config:
    """The plan as torchtitan's configuration; options of its command line change it."""
    spec = model_spec()
    return Trainer.Config(
        model_spec=spec,
        training=TrainingConfig(
            {training}
        ),
        parallelism=ParallelismConfig(
            {parallelism}
        ),
        activation_checkpoint={recompute},
        compile=CompileConfig({compile}),
        # the plan does not determine these: choose them
        hf_assets_path="./assets/hf",
        loss={loss},
        optimizer={optimizer},
        dataloader=HuggingFaceTextDataLoader.Config(dataset="c4"),
        checkpoint=CheckpointManager.Config(
            enable=True,
            interval={checkpoint_steps},
            folder=os.environ.get("CHECKPOINTS", "checkpoints"),
        ),
    )
'''
_PLAIN_LOSS = "CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(spec))"
_CHUNKED_LOSS = f"""ChunkedLossWrapper.Config(
            num_chunks={LOSS_CHUNKS},
            loss_fn={_PLAIN_LOSS},
        )"""
_MTP_LOSS = "MTPLoss.Config(global_vocab_size=decoder_vocab_size(spec))"
_RECOMPUTE_CLASSES = {"selective": "SelectiveAC", "full": "FullAC"}
_LAUNCH_COMMAND = f"""export PYTHONPATH="$here${{PYTHONPATH:+:$PYTHONPATH}}"
exec "${{torchrun[@]}}" -m torchtitan.train --module {TORCHTITAN_MODULE} --config plan "$@"
"""


def _build_notes(run: PlannedRun) -> Iterator[str]:
    model = run.decoder
    if run.settings.communication == "bf16":
        yield "gradients are communicated in fp32, where the plan has bf16: steps are longer"
    if run.settings.fp8_recipe == "tensorwise":
        yield "torchtitan scales FP8 rowwise, where the plan has tensorwise: steps are longer"
    if run.strategy.ep > 1 and run.settings.ep_exchange == "deepep" and not has_deepep(run):
        yield (
            "DeepEP needs NVIDIA's GPUs from Hopper on: a copy of a token is sent to each of its experts, where the "
            "plan has ep_exchange deepep: steps are longer"
        )
    if model.moe is not None and model.moe.aux_loss:
        yield (
            f"torchtitan has no loss that balances experts (coefficient {model.moe.aux_loss:g}): a bias of the "
            "choice balances them"
        )
    yield from build_kernel_launch_note(run)


def _render_module(run: PlannedRun) -> str:
    """The module, with a function `plan` that returns a `Trainer.Config`."""
    parts = [
        format_comments(describe_plan(run, TORCHTITAN.name)),
        f'"""A plan for torchtitan: torchtitan.train --module {TORCHTITAN_MODULE} --config plan."""\n\n',
        format_model_imports(run),
        _format_imports(run),
        format_model(run),
        _format_plan_function(run),
    ]
    return "".join(parts)


def _format_imports(run: PlannedRun) -> str:
    recompute_class = _RECOMPUTE_CLASSES.get(run.strategy.recompute)
    imports = _IMPORTS_TEMPLATE.format(
        losses="ChunkedLossWrapper, CrossEntropyLoss" if run.settings.loss == "chunked" else "CrossEntropyLoss",
        more=f"from torchtitan.distributed.activation_checkpoint import {recompute_class}\n"
        if recompute_class
        else "",
    )
    if run.decoder.mtp_layers:
        imports += "from torchtitan.models.deepseek_v3.mtp import MTPLoss\n"
    if run.precision in PRECISION_CONVERTERS:
        imports += f"from torchtitan.components.quantization import {PRECISION_CONVERTERS[run.precision][0]}\n"
    return imports


def _format_plan_function(run: PlannedRun) -> str:
    recompute_class = _RECOMPUTE_CLASSES.get(run.strategy.recompute)
    chunked_or_plain_loss = _CHUNKED_LOSS if run.settings.loss == "chunked" else _PLAIN_LOSS
    return _PLAN_TEMPLATE.format(
        checkpoint_steps=run.checkpoint_steps,
        loss=_MTP_LOSS if run.decoder.mtp_layers else chunked_or_plain_loss,
        optimizer=_format_optimizer(run),
        training=_format_keyword_lines(_build_training_config(run)),
        parallelism=_format_keyword_lines(_build_parallelism_config(run)),
        recompute=f"{recompute_class}.Config()" if recompute_class else "None",
        compile=_format_compile_arguments(run),
    )


def _format_optimizer(run: PlannedRun) -> str:
    """AdamW. Moments have the format of the parameters, but for those of 16 bits beside parameters of 32."""
    has_narrow_moments = run.settings.moments == "bf16" and not has_narrow_parameters(run.values)
    adamw = "default_adamw(lr=3e-4)"
    return f'dataclasses.replace({adamw}, implementation="fused_opt_states_bf16")' if has_narrow_moments else adamw


def _format_compile_arguments(run: PlannedRun) -> str:
    """What is compiled: layers, and the loss; a chunk of the loss is where the layers are."""
    compiles_layers = run.launch != "eager" or run.overlaps_tp
    compiles_loss = run.settings.loss == "compiled" or (run.settings.loss == "chunked" and run.launch != "eager")
    components = ["model"] * compiles_layers + ["loss"] * compiles_loss
    overlap = ", enable_async_tensor_parallel=True" if run.overlaps_tp else ""
    return f"enable=True, components={components}{overlap}" if components else "enable=False"


def _format_keyword_lines(fields: Mapping[str, object]) -> str:
    return "\n            ".join(f"{name}={value!r}," for name, value in fields.items())


def _build_training_config(run: PlannedRun) -> dict[str, object]:
    strategy = run.strategy
    # a pipeline takes all micro-batches of a step at once; else gradients are accumulated
    local_batch = run.global_batch // strategy.dp if strategy.pp > 1 else strategy.micro_batch
    return {
        "local_batch_size": local_batch,
        "global_batch_size": run.global_batch,
        "seq_len": run.seq_length,
        "steps": run.steps,
        "enable_cpu_offload": bool(run.settings.offload),
        "disable_cuda_graphs": run.launch != "graph",
        "dtype": "bfloat16" if has_narrow_parameters(run.values) else "float32",
        "mixed_precision_param": "float32" if run.precision == "fp32" else "bfloat16",
        "mixed_precision_reduce": "float32",
    }


def _build_parallelism_config(run: PlannedRun) -> dict[str, object]:
    """Sizes of the mesh; FSDP shards over dp_shard x cp."""
    strategy, (replicas, shards) = run.strategy, compute_fsdp_mesh(run)
    config: dict[str, object] = {
        "data_parallel_replicate_degree": replicas,
        "data_parallel_shard_degree": shards,
        "fsdp_reshard_after_forward": _find_reshard_policy(run),
        "tensor_parallel_degree": strategy.tp,
        "enable_sequence_parallel": strategy.sequence_parallel,
        "context_parallel_degree": strategy.cp,
        "expert_parallel_degree": strategy.ep,
        "pipeline_parallel_degree": strategy.pp,
    }
    if strategy.cp > 1:
        config["context_parallel_load_balancer"] = "ptrr"
    if strategy.pp > 1:
        config["pipeline_parallel_schedule"] = _SCHEDULE_NAMES[run.settings.schedule][strategy.vpp > 1]
        config["pipeline_parallel_microbatch_size"] = strategy.micro_batch
        config["module_fqns_per_model_part"] = _list_chunk_modules(run)
    return config


def _find_reshard_policy(run: PlannedRun) -> str:
    """ZeRO 2 never frees gathered weights. The default does but for the last layers, and never in a pipeline
    (torchtitan/distributed/fsdp.py, `get_fsdp_reshard_after_forward_policy`).
    """
    if run.strategy.zero_stage < 3:
        return "never"
    return "always" if run.settings.reshard == "default" and run.strategy.pp > 1 else run.settings.reshard


def _list_chunk_modules(run: PlannedRun) -> list[list[str]]:
    """The names of the modules in each chunk."""
    chunk_modules, first_layer = [], 0
    for count in run.chunk_layers:
        chunk_modules.append([f"layers.{i}" for i in range(first_layer, first_layer + count)])
        first_layer += count
    chunk_modules[0].insert(0, "tok_embeddings")
    chunk_modules[-1] += ["norm", "lm_head"]
    return chunk_modules


TRAINER = TrainerExport(
    TORCHTITAN,
    lambda run: format_torchrun_array(run) + _LAUNCH_COMMAND,
    lambda run: {f"{TORCHTITAN_MODULE}.py": _render_module(run)},
    build_notes=_build_notes,
    aux_loss_source="torchtitan/components/optimizer/optimizer.py: load_balance_coeff moves a bias",
)
