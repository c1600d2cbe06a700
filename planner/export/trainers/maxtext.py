"""MaxText, for TPUs and GPUs: a file over its `base.yml` (MaxText 0.2, maxtext/configs/base.yml and types.py).

One mesh over all devices (`ici_*`; its axes from the outside in: data, fsdp, context, tensor, expert). ZeRO 3 is the
fsdp axis, ZeRO 1 the data axis with a sharded optimizer. The context axis shards weights too, as the plan's does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from planner.export.run import PlannedRun
from planner.export.text import format_yaml
from planner.export.trainer import TrainerExport, describe_plan, format_rendezvous
from planner.export.trainers.maxtext_model import build_model_config, format_model_overrides
from planner.trainers.maxtext.program import MAXTEXT_PROGRAM
from planner.trainers.recompute import DEFAULT_MODULES, REMAT_POLICIES, REMAT_TENSORS, parse_recompute_modules
from planner.trainers.rules import has_narrow_parameters, separates_documents
from planner.trainers.trainer import LOSS_CHUNKS

MAXTEXT_CONFIG_FILE = "maxtext.yml"

_CP_STRATEGIES = {"all-gather": "all_gather", "ring": "ring", "all-to-all": "ulysses"}
_LAUNCH_COMMAND = """exec python3 -m maxtext.trainers.pre_train.train "$here/maxtext.yml" \\
  base_output_directory="$CHECKPOINTS" {overrides}"$@"
"""
_GPU_ENV = """export NNODES={nodes} JAX_COORDINATOR_IP="$MASTER_ADDR" JAX_COORDINATOR_PORT="$MASTER_PORT" NODE_RANK
"""


def _build_notes(run: PlannedRun) -> Iterator[str]:
    if run.launch != "graph":
        yield f"the plan's kernels are launched {run.launch}; XLA compiles the whole step: steps are shorter"
    if run.overlaps_tp:
        yield "XLA decides whether tensor-parallel communication is overlapped (XLA_FLAGS, LIBTPU_INIT_ARGS)"
    if run.strategy.ep > 1 and run.settings.ep_exchange == "deepep":
        yield "a copy of a token goes to each of its experts, where the plan has ep_exchange deepep: steps are longer"
    if separates_documents(run.values):
        yield "synthetic data attend to whole sequences: with a dataset_type of one's own documents are apart"
    if run.settings.gradients != run.settings.communication:
        yield "XLA decides the number format in which gradients are communicated"


def _build_config(run: PlannedRun) -> dict[str, object]:
    """The plan as keys of base.yml."""
    strategy, settings = run.strategy, run.settings
    batch_per_device = strategy.micro_batch * strategy.dp / run.devices
    flash_attention = "flash" if run.accelerator.device_type == "tpu" else "cudnn_flash_te"
    return {
        "base_config": "base.yml",
        "run_name": run.name,
        "hardware": "tpu" if run.accelerator.device_type == "tpu" else "gpu",
        **build_model_config(run),
        "max_target_length": run.seq_length,
        "attention": "dot_product" if run.attention == "unfused" else flash_attention,
        **_build_packing_config(run),
        **_build_mesh_config(run),
        "per_device_batch_size": int(batch_per_device) if batch_per_device.is_integer() else batch_per_device,
        "gradient_accumulation_steps": run.micro_batches,
        "steps": run.steps,
        "enable_checkpointing": True,
        "checkpoint_period": run.checkpoint_steps,
        **_build_remat_config(run),
        "dtype": "float32" if run.precision == "fp32" else "bfloat16",
        # moments have the format of the weights
        "weight_dtype": "bfloat16" if has_narrow_parameters(run.values) else "float32",
        **({"num_vocab_tiling": LOSS_CHUNKS} if settings.loss == "chunked" else {}),
        "grad_dtype": "float32" if settings.gradients == "fp32" else "bfloat16",
        **({"quantization": run.precision} if run.precision in ("fp8", "int8") else {}),
        **({"optimizer_memory_host_offload": True} if "optimizer" in settings.offload else {}),
        # the plan does not determine these: choose them
        "dataset_type": "synthetic",
        "learning_rate": 3.0e-4,
    }


def _build_packing_config(run: PlannedRun) -> dict[str, object]:
    """Documents that attend to themselves alone: Transformer Engine's attention needs the number of documents that a
    sequence has at most, here twice the mean, to which the packing of the data keeps. On TPUs as base.yml has it.
    """
    if run.accelerator.device_type == "tpu" or run.attention != "flash":
        return {}
    if not separates_documents(run.values):
        return {"packing": False}
    return {"packing": True, "max_segments_per_seq": 2 * math.ceil(run.seq_length / int(run.settings.packing))}


def _build_remat_config(run: PlannedRun) -> dict[str, object]:
    """What is kept for the backward pass, and where. The plan's own selective recomputation keeps the outputs of
    multiplies and of fused attention (`minimal_with_context`), but repeats unfused attention (`minimal`).
    """
    mode, choice = run.strategy.recompute, parse_recompute_modules(run.settings.recompute_modules)
    on_host = "activations" in run.settings.offload
    if mode == "full" and on_host:
        return {"remat_policy": "custom", "decoder_layer_input": "offload"}
    if mode != "selective":
        return {"remat_policy": mode}
    if choice.name == DEFAULT_MODULES:
        return {"remat_policy": "minimal" if run.attention == "unfused" else "minimal_with_context"}
    if choice.name in REMAT_POLICIES:
        return {"remat_policy": choice.name}
    kept = choice.kept or frozenset()
    places = {
        tensor: "offload" if tensor in choice.offloaded else "device" for tensor in REMAT_TENSORS if tensor in kept
    }
    return {"remat_policy": "custom", **places}


def _build_mesh_config(run: PlannedRun) -> dict[str, object]:
    """Sizes of the mesh: their product is the number of devices."""
    strategy, shard_group = run.strategy, run.settings.shard_group
    dp_per_expert_rank = strategy.dp // strategy.ep
    fsdp_size = (
        1 if strategy.zero_stage < 3 else dp_per_expert_rank if shard_group is None else shard_group // strategy.cp
    )
    tensor_axis_key = "ici_tensor_sequence_parallelism" if strategy.sequence_parallel else "ici_tensor_parallelism"
    mesh: dict[str, object] = {
        "num_slices": 1,
        "dcn_data_parallelism": 1,
        "ici_data_parallelism": dp_per_expert_rank // fsdp_size,
        "ici_fsdp_parallelism": fsdp_size,
        "ici_context_parallelism": strategy.cp,
        tensor_axis_key: strategy.tp,
        "ici_expert_parallelism": strategy.ep,
    }
    if strategy.zero_stage == 1:
        mesh["shard_optimizer_over_data"] = True
    if strategy.cp > 1:
        mesh["context_parallel_strategy"] = _CP_STRATEGIES[run.settings.cp_exchange]
    return mesh


def _build_script_body(run: PlannedRun) -> str:
    """A process per node; on TPUs they discover each other."""
    launch = _LAUNCH_COMMAND.format(overrides=format_model_overrides(run))
    if run.accelerator.device_type == "tpu":
        return launch
    return format_rendezvous(run) + _GPU_ENV.format(nodes=run.nodes) + launch


TRAINER = TrainerExport(
    MAXTEXT_PROGRAM,
    _build_script_body,
    lambda run: {MAXTEXT_CONFIG_FILE: format_yaml(describe_plan(run, MAXTEXT_PROGRAM.name), _build_config(run))},
    build_notes=_build_notes,
)
