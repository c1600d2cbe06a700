"""Plain PyTorch with FSDP2: a module whose `parallelize` shards a model of the user's.

`torch.distributed.fsdp.fully_shard` (docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html): ZeRO 3 with
resharding after the forward pass, ZeRO 2 without; hybrid sharding by a mesh of two dimensions. Chunks of a loss as in
torchtitan 0.3 (`ChunkedLossWrapper` of components/loss.py), moments of 16 bits too (components/optimizer).
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
from planner.trainers.pytorch.fsdp import FSDP2_PROGRAM
from planner.trainers.rules import has_narrow_parameters
from planner.trainers.trainer import LOSS_CHUNKS

FSDP2_MODULE = "planned_fsdp2"

_TORCH_DTYPES = {"bf16": "torch.bfloat16", "fp16": "torch.float16", "fp32": "torch.float32", "tf32": "torch.float32"}
_MODULE_TEMPLATE = '''{comments}"""A plan for PyTorch's FSDP2. In your script:

    import planned_fsdp2 as plan
    model = plan.parallelize(model, model.layers{head_argument})
    optimizer = {optimizer}
    for number, (inputs, labels) in enumerate(batches):   # each {micro_batch} samples a rank
        last = plan.accumulate(model, number)             # gradients are reduced with the last of {micro_batches}
        plan.compute_loss({loss_arguments}).backward()
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


def _choose_dimension(parameter: nn.Parameter) -> Shard | None:
    """FSDP cuts the first dimension, and pads it to whole rows of each rank: one with fewer rows than ranks is cut in
    another dimension, if the ranks divide one.
    """
    if parameter.dim() == 0 or parameter.shape[0] >= SHARDS:
        return None
    return next((Shard(place) for place, size in enumerate(parameter.shape) if size % SHARDS == 0), None)


def parallelize(
    model: nn.Module, layers: Iterable[nn.Module], {head_parameter}over: DeviceMesh | None = None
) -> nn.Module:
    """Shard the model and each of its layers over the ranks of the plan."""
    {converted}over = over if over is not None else mesh()
    policy = MixedPrecisionPolicy(param_dtype={param}, reduce_dtype={reduce})
    options = {{"mesh": over, "mp_policy": policy, "shard_placement_fn": _choose_dimension{offload}}}
    {recompute}for layer in layers:
        {compiled}fully_shard(layer, **options, reshard_after_forward={reshard})
    {sharded_head}return fully_shard(model, **options{root_reshard})


def accumulate(model: FSDPModule, micro_batch: int) -> bool:
    """Before micro-batch number `micro_batch` (from 0): gradients are reduced with the last of a step. Whether it is
    the last.
    """
    last = (micro_batch + 1) % MICRO_BATCHES == 0
    model.set_requires_gradient_sync(last)
    return last


{loss}'''
_SUM_CODE = """{decorator}def _sum_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return {cross_entropy}

"""
_LOSS_CODE = '''
def compute_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean loss of the tokens, as part of a step of all micro-batches."""
    return _sum_losses(logits, labels) / (labels.numel() * MICRO_BATCHES)
'''
_CHUNKED_LOSS_CODE = f'''
class _GivenGradient(torch.autograd.Function):
    """A loss of which the gradient by the hidden states is known."""

    @staticmethod
    def forward(context, hidden, gradient, loss):
        context.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(context, loss_gradient):
        (gradient,) = context.saved_tensors
        return gradient * loss_gradient, None, None


def compute_loss(hidden: torch.Tensor, labels: torch.Tensor, head: nn.Module, last: bool) -> torch.Tensor:
    """The mean loss of the tokens, as part of a step of all micro-batches. Head, loss and their backward passes run
    piece by piece of the sequence; the head's weights stay gathered, its gradients are reduced with the last piece.
    """
    gradient, total = torch.zeros_like(hidden, dtype=torch.float32), torch.zeros((), device=hidden.device)
    if isinstance(head, FSDPModule):
        head.set_reshard_after_forward(False)
        head.set_reshard_after_backward(False)
        head.set_requires_gradient_sync(False)
    pieces = zip(*(tensor.chunk({LOSS_CHUNKS}, dim=1) for tensor in (hidden.detach(), labels, gradient)))
    for number, (piece, piece_labels, piece_gradient) in enumerate(pieces, 1):
        if isinstance(head, FSDPModule) and number == {LOSS_CHUNKS}:
            head.set_requires_gradient_sync(last)
        piece.requires_grad_()
        loss = _sum_losses(head(piece), piece_labels) / (labels.numel() * MICRO_BATCHES)
        loss.backward()
        piece_gradient.copy_(piece.grad)
        total += loss.detach()
    if isinstance(head, FSDPModule):
        head.set_reshard_after_forward(True)
        head.set_reshard_after_backward(True)
        head.reshard()
    return _GivenGradient.apply(hidden, gradient.to(hidden.dtype), total)
'''
_CROSS_ENTROPIES = {
    "fused": 'LigerCrossEntropyLoss(reduction="sum")(logits.flatten(0, -2), labels.flatten())',
    "plain": 'nn.functional.cross_entropy(logits.flatten(0, -2).float(), labels.flatten(), reduction="sum")',
}
"""Sums of the loss: by one kernel (liger-kernel 0.8), and by PyTorch, which a compiler may fuse."""
_OPTIMIZER_CODE = '''

def build_optimizer(model: nn.Module, **options: object) -> torch.optim.AdamW:
    """AdamW with moments of 16 bits beside parameters of 32: its fused kernel adds in 32."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True, **options)

    def add_moments(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            if parameter.grad is not None and not optimizer.state[parameter]:
                optimizer.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter, dtype=torch.bfloat16),
                    "exp_avg_sq": torch.zeros_like(parameter, dtype=torch.bfloat16),
                }

    optimizer.register_step_pre_hook(add_moments)
    return optimizer
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
    is_chunked = settings.loss == "chunked"
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
        reshard=strategy.zero_stage == 3 and settings.reshard != "never",
        root_reshard=_format_root_reshard(run),
        head_parameter="head: nn.Module, " if is_chunked else "",
        head_argument=", head" if is_chunked else "",
        sharded_head="fully_shard(head, **options)\n    " if is_chunked else "",
        # the model without its head
        loss_arguments="model(inputs), labels, head, last" if is_chunked else "model(inputs), labels",
        loss=_format_loss_code(run),
        optimizer="plan.build_optimizer(model)"
        if _has_narrow_moments(run)
        else "torch.optim.AdamW(model.parameters())",
        converted="model.to(torch.bfloat16)\n    " if has_narrow_parameters(run.values) else "",
        offload=', "offload_policy": CPUOffloadPolicy()' if settings.offload else "",
        recompute=_format_recompute_code(run),
        compiled="layer.compile()\n        " if run.launch != "eager" else "",
    )
    return (
        module_text
        + (_OPTIMIZER_CODE if _has_narrow_moments(run) else "")
        + (_SELECTIVE_POLICY_CODE if strategy.recompute == "selective" else "")
    )


def _has_narrow_moments(run: PlannedRun) -> bool:
    """Whether moments have 16 bits beside parameters of 32; else they have the format of the parameters."""
    return run.settings.moments == "bf16" and not has_narrow_parameters(run.values)


def _format_root_reshard(run: PlannedRun) -> str:
    """The argument for all parameters outside the layers, which PyTorch keeps gathered unless it is given."""
    if run.strategy.zero_stage < 3 or run.settings.reshard == "never":
        return ", reshard_after_forward=False"
    return ", reshard_after_forward=True" if run.settings.reshard == "always" else ""


def _format_loss_code(run: PlannedRun) -> str:
    """Source of the loss: compiled by itself, in pieces where the layers are."""
    loss = run.settings.loss
    is_compiled = loss == "compiled" or (loss == "chunked" and run.launch != "eager")
    cross_entropy = _CROSS_ENTROPIES["fused" if loss == "fused" else "plain"]
    sum_code = _SUM_CODE.format(decorator="@torch.compile\n" if is_compiled else "", cross_entropy=cross_entropy)
    return sum_code + (_CHUNKED_LOSS_CODE if loss == "chunked" else _LOSS_CODE)


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
        "from torch.distributed.tensor import Shard",
    ]
    if run.settings.loss == "fused":
        lines.insert(lines.index("import torch"), "from liger_kernel.transformers import LigerCrossEntropyLoss")
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
