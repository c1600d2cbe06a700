"""Plain PyTorch with FSDP2: a module whose `parallelize` shards a model of the user's.

`torch.distributed.fsdp.fully_shard` (docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html): ZeRO 3 with
resharding after the forward pass, ZeRO 2 without; hybrid sharding by a mesh of two dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.run import PlannedRun
from planner.export.text import format_comments
from planner.export.trainer import (
    SCRIPT_USAGE_CHECK,
    TrainerExport,
    build_model_file,
    build_model_notes,
    describe_plan,
    format_script_duties,
    format_torchrun_array,
)
from planner.trainers.fsdp import FSDP2_PROGRAM

FSDP2_MODULE = "planned_fsdp2"

_TORCH_DTYPES = {"bf16": "torch.bfloat16", "fp16": "torch.float16", "fp32": "torch.float32", "tf32": "torch.float32"}
_MODULE_TEMPLATE = '''{comments}"""A plan for PyTorch's FSDP2. In your script:

    import planned_fsdp2 as plan
    model = plan.parallelize(model, model.layers)
    for inputs in batches:                     # each {micro_batch} samples a rank
        plan.accumulate(model, step)           # gradients are reduced with the last of {micro_batches}
        loss = model(inputs).mean() / plan.MICRO_BATCHES
        loss.backward()
"""

{imports}
GLOBAL_BATCH, MICRO_BATCH, MICRO_BATCHES = {batch}, {micro_batch}, {micro_batches}
SEQUENCE, STEPS, CHECKPOINT_STEPS = {sequence}, {steps}, {checkpoint_steps}
REPLICAS, SHARDS = {replicas}, {shards}


def mesh() -> DeviceMesh:
    """All ranks: replicas, and within each the ranks that share the parameters."""
    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    device = here or torch.device("cpu")
    {mesh}


def parallelize(model: nn.Module, layers: Iterable[nn.Module], over: DeviceMesh | None = None) -> nn.Module:
    """Shard the model and each of its layers over the ranks of the plan."""
    over = over if over is not None else mesh()
    policy = MixedPrecisionPolicy(param_dtype={param}, reduce_dtype={reduce})
    options = {{"mesh": over, "mp_policy": policy, "reshard_after_forward": {reshard}{offload}}}
    {recompute}for layer in layers:
        {compiled}fully_shard(layer, **options)
    return fully_shard(model, **options)


def accumulate(model: FSDPModule, micro_batch: int) -> None:
    """Before micro-batch number `micro_batch` (from 0): gradients are reduced with the last of a step."""
    last = (micro_batch + 1) % MICRO_BATCHES == 0
    model.set_requires_gradient_sync(last)
'''
_SELECTIVE_POLICY_CODE = '''

def _keep_every_second_multiply() -> tuple[object, object]:
    """The saved outputs of a layer: attention, and every second matrix multiply."""
    kept = {
        torch.ops.aten._scaled_dot_product_flash_attention.default,
        torch.ops.aten._scaled_dot_product_efficient_attention.default,
        torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    }
    counts = {False: 0, True: 0}

    def policy(context: object, op: object, *args: object, **kwargs: object) -> CheckpointPolicy:
        if op is torch.ops.aten.mm.default:
            again = getattr(context, "is_recompute", False)
            counts[again] += 1
            return CheckpointPolicy.MUST_SAVE if counts[again] % 2 else CheckpointPolicy.PREFER_RECOMPUTE
        return CheckpointPolicy.MUST_SAVE if op in kept else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)
'''


def compute_fsdp_mesh(run: PlannedRun) -> tuple[int, int]:
    """Replicas, and data-parallel ranks in each that share the parameters; context-parallel ranks share them too."""
    strategy, shard_group = run.strategy, run.settings.shard_group
    shards = strategy.dp if shard_group is None else shard_group // strategy.cp
    return strategy.dp // shards, shards


def build_kernel_launch_note(run: PlannedRun) -> Iterator[str]:
    """A note on kernel launches that PyTorch does not support."""
    if run.launch in ("fused", "graph"):
        yield f"the plan's kernels are launched {run.launch}: torch.compile comes nearest"


def _render_module(run: PlannedRun) -> str:
    strategy, settings = run.strategy, run.settings
    replicas, shards = compute_fsdp_mesh(run)
    mesh_arguments = (
        '(REPLICAS, SHARDS), mesh_dim_names=("replicate", "shard")'
        if replicas > 1
        else '(SHARDS,), mesh_dim_names=("shard",)'
    )
    reduce_dtype = "torch.float32" if settings.communication == "fp32" else _TORCH_DTYPES[run.precision]
    module_text = _MODULE_TEMPLATE.format(
        comments=format_comments(describe_plan(run, FSDP2_PROGRAM.name)),
        imports=_format_imports(run),
        batch=run.global_batch,
        micro_batch=strategy.micro_batch,
        micro_batches=run.micro_batches,
        sequence=run.seq_length,
        steps=run.steps,
        checkpoint_steps=run.checkpoint_steps,
        replicas=replicas,
        shards=shards,
        mesh=f"return init_device_mesh(device.type, {mesh_arguments})",
        param=_TORCH_DTYPES[run.precision],
        reduce=reduce_dtype,
        reshard=strategy.zero_stage == 3,
        offload=', "offload_policy": CPUOffloadPolicy()' if settings.offload else "",
        recompute=_format_recompute_code(run),
        compiled="layer.compile()\n        " if run.launch != "eager" else "",
    )
    return module_text + (_SELECTIVE_POLICY_CODE if strategy.recompute == "selective" else "")


def _format_imports(run: PlannedRun) -> str:
    names = ["FSDPModule", "MixedPrecisionPolicy", "fully_shard"]
    if run.settings.offload:
        names.insert(0, "CPUOffloadPolicy")
    lines = [
        "from __future__ import annotations\n",
        "from collections.abc import Iterable\n",
        "import torch",
        "import torch.nn as nn",
    ]
    if run.strategy.recompute != "none":
        lines.append("from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper")
    lines += [
        "from torch.distributed.device_mesh import DeviceMesh, init_device_mesh",
        f"from torch.distributed.fsdp import {', '.join(names)}",
    ]
    if run.strategy.recompute == "selective":
        lines.append("from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts")
    return "\n".join(lines) + "\n"


def _format_recompute_code(run: PlannedRun) -> str:
    """Source that wraps layers in place, before they are sharded."""
    if run.strategy.recompute == "none":
        return ""
    context_argument = ", context_fn=_keep_every_second_multiply" if run.strategy.recompute == "selective" else ""
    return (
        "layers = list(layers)\n"
        "    wrapped = {id(layer): checkpoint_wrapper(layer" + context_argument + ") for layer in layers}\n"
        "    for parent in list(model.modules()):\n"
        "        for name, child in list(parent.named_children()):\n"
        "            if id(child) in wrapped:\n"
        "                setattr(parent, name, wrapped[id(child)])\n"
        "    layers = list(wrapped.values())\n"
        "    "
    )


def _build_script_body(run: PlannedRun) -> str:
    return (
        format_script_duties(run, recomputes=False)
        + SCRIPT_USAGE_CHECK
        + format_torchrun_array(run)
        + 'export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"\n'
        + 'exec "${torchrun[@]}" "$@"\n'
    )


TRAINER = TrainerExport(
    FSDP2_PROGRAM,
    _build_script_body,
    lambda run: {f"{FSDP2_MODULE}.py": _render_module(run), **build_model_file(run)},
    build_notes=lambda run: (*build_kernel_launch_note(run), *build_model_notes(run)),
    needs_script=True,
)
