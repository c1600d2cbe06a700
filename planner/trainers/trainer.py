"""What the cost model knows of a trainer, as one record, and how precision, dtypes and techniques change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from planner.trainers.names import (
    CommunicatorName,
    CpCommType,
    ExpertExchange,
    Fp8Recipe,
    GradientDtype,
    KernelStyle,
    LaunchMode,
    LossKernel,
    MasterDtype,
    MomentDtype,
    ProgramName,
    TrainerName,
    WeightDtype,
)
from planner.trainers.recompute import SelectiveRecompute
from planner.workload.techniques import Techniques

WIDE_VALUE_BYTES = {"fp32": 4.0, "tf32": 4.0, "fp64": 8.0}
"""Bytes of a value by precision, where it is wider than 16 bit."""
ADAM_MOMENT_BYTES = 4.0
"""Bytes of one of Adam's two moments in 32 bit (arXiv 1910.02054, section 3.1)."""
LOSS_CHUNKS = 8
"""Pieces of the sequence of a chunked loss (torchtitan 0.3.0, `ChunkedLossWrapper` in `components/loss.py`)."""
_GRADIENT_BYTES: dict[GradientDtype, float] = {"fp32": 4.0, "bf16": 2.0}
_VALUE_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp8": 1.0, "none": 0.0}
"""Of one value by its format; scales of FP8 tensors are one number a tensor."""
_MXFP8_VALUE_BYTES = 1.0 + 1 / 32
"""With a value's share of its block's scale (OCP Microscaling Formats v1.0)."""


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """What a trainer keeps in memory and when, what it communicates, saves, repeats and overlaps.

    Bytes per parameter are those of training in 16 bit or less; `widen_trainer_state` gives wider ones.
    """

    name: TrainerName
    """The name of its family of plans: a value of `--trainer`, and `framework` of documents."""
    programs: tuple[ProgramName, ...]
    """The programs that `planner export --to` writes files for and that run this trainer's plans."""

    version: str = ""
    """The version of the program that is planned for, as NAME@VERSION; empty: the newest, of which the fields are."""
    calibration: TrainerName | None = None
    """The trainer whose fitted efficiencies it has: for a trainer without measured runs of its own that were fitted.
    None: its own, where it was fitted, else the default's."""

    weights: WeightDtype = "bf16"
    """The format of the weights as held without `--weights`; bf16: 16 bits."""
    weight_bytes: float = 2.0
    """Bytes per parameter: the copy that the kernels read, while the parameter is on the GPU as a whole: at all times
    below ZeRO 3; under ZeRO 3 while its layer is gathered (arXiv 1910.02054, section 5)."""
    sharded_weight_bytes: float
    """Bytes per parameter of a rank's own shard, of that copy, at all times under ZeRO 3. 0 where the 32-bit master
    weights are what is sharded, and the copy is made of them when a layer is gathered."""
    gradient_bytes: float
    """Bytes per parameter: accumulated gradients, from the first backward pass to the optimizer's step; sharded from
    ZeRO 2 on (arXiv 1910.02054, section 5)."""
    gradient_copy_bytes: float = 0.0
    """Of `gradient_bytes` those of 16-bit gradients beside the accumulated ones."""
    frees_gradient_copies: bool = False
    """Whether these are there from a micro-batch's backward pass to its end alone, or at all times."""
    widens_gradients: bool = False
    """Whether the update copies 16-bit gradients to 32 bit, where master weights and moments have 32 bit
    (megatron-core 0.16.1, `_copy_model_grads_to_main_grads` of optimizer/optimizer.py and distrib_optimizer.py)."""
    gathers_copies: bool = False
    """Whether the all-gather of ZeRO 1 is of copies: of what each rank has updated, and all of them twice."""
    communicators: tuple[CommunicatorName, ...] = (
        *("world", "data", "tensor", "context", "pipeline"),
        *("expert", "expert data"),
    )
    """Groups that a rank communicates in, each with buffers of its own."""
    connects_all_channels: bool = False
    """Whether its NCCL connects a communicator for all algorithms as it is made, and not for those that run
    (`NCCL_RUNTIME_CONNECT` of src/init.cc)."""
    shares_world_communicator: bool = False
    """Whether a group of all ranks is the world's communicator (torch 2.13, `_init_one_process_group` of
    distributed/device_mesh.py)."""
    host_lead_layers: float = 0.0
    """Layers that the host can launch before the device has begun with them, where PyTorch uses no block again that a
    collective has read before the device has run it: torch before 2.8 (github.com/pytorch/pytorch/pull/150398;
    before, `recordStream` of c10d/ProcessGroupNCCL.cpp). 0: where it does."""
    gradient_bucket_bytes: float = 0.0
    """Bytes per parameter without ZeRO: copies of gradients in the buckets of their reduction, at all times (torch
    2.13, torch/nn/parallel/distributed.py: `gradient_as_bucket_view` is False; csrc/distributed/c10d/reducer.cpp)."""
    reduce_bucket_elements: float = 0.0
    """Elements of a buffer that sharded gradients are copied to and reduced from; 0: they are reduced by unit
    (DeepSpeed 0.19.8, `reduce_bucket_size` of deepspeed/runtime/zero/config.py)."""
    message_elements: tuple[float, float] | None = None
    """Elements of one message of the data-parallel collectives: at least, and for each rank; None: the parameters of
    a layer."""
    reuse_distance_parameters: float = 0.0
    """Under ZeRO 3 parameters stay gathered that are used again before so many others (DeepSpeed 0.19.8,
    `stage3_max_reuse_distance` there)."""
    offloads_gradients: bool = False
    """Whether an optimizer on the host has the sharded gradients there."""
    host_copy_bytes: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """By ZeRO stage: bytes on the host per parameter of an optimizer that is there, beside its state and the
    gradients."""
    frees_gradients: bool = False
    """Whether there are gradients from the first backward pass to the optimizer's step alone
    (`zero_grad(set_to_none=True)` of torch/optim/optimizer.py), or in buffers at all times."""
    runs_layers_as_loop: bool = False
    """Whether layers are iterations of a loop in one program: its body gathers the weights of its own layer alone,
    reduces gradients where they are made, and fills arrays of all layers' shards, which are there from the last
    layer's backward pass on."""
    accumulates_unsharded: Literal["never", "pipeline", "always"] = "never"
    """Where sharded gradients are whole up to the last of several micro-batches: nowhere; under pipeline parallelism
    (torch 2.13, `backward_maybe_with_nosync` of torch/distributed/pipelining/stage.py); wherever they are accumulated
    (`set_requires_gradient_sync` of torch/distributed/fsdp/_fully_shard/_fully_shard.py)."""
    has_stream_pools: bool = False
    """Whether what is gathered and reduced is allocated on streams of its own, whose memory no other stream uses
    (`planner/cost/memory/model_state.py`)."""
    uses_torch_pipelining: bool = False
    """Whether pipelines are PyTorch's, which have room for the inputs and the gradients of all micro-batches of a
    step, and keep a stage's outputs (torch 2.13, torch/distributed/pipelining/stage.py)."""
    partitions_by_compute: bool = False
    """Whether pipeline stages without a layout of one's own have layers by their compute and the head's, or by
    number (`planner/cost/pipeline/partition.py`)."""
    keeps_rotary_tables: bool = False
    """Whether each layer has a table of rotary positions (torchtitan 0.3.0, models/common/rope.py)."""
    keeps_weights_gathered_in_pipeline: bool = False
    """Whether a pipeline stage's weights stay gathered under ZeRO 3 from one micro-batch to the next (torchtitan
    0.3.0, `get_fsdp_reshard_after_forward_policy` of torchtitan/distributed/fsdp.py; torch 2.13,
    `set_reshard_after_backward` of torch/distributed/pipelining/stage.py)."""
    optimizer_bytes: float = 12.0
    """Bytes per parameter: 32-bit master weights and Adam's two moments, at all times; sharded from ZeRO 1 on
    (arXiv 1910.02054, section 3.1)."""
    moments: MomentDtype = "fp32"
    """The format of Adam's moments without `--moments`."""
    moment_bytes: float = 2 * ADAM_MOMENT_BYTES
    """Of `optimizer_bytes` those of all moments."""
    master: MasterDtype = "fp32"
    """The format of the master weights without `--master`; 4 of `optimizer_bytes`."""
    grad_reduce_bytes: float
    """Bytes per parameter: a gradient as the data-parallel reduction sends it."""
    unsharded_reduce_bytes: float | None = None
    """The same without ZeRO; None: as `grad_reduce_bytes`."""
    gather_bytes: float | None = None
    """Bytes per parameter: a weight as the data-parallel all-gather sends it; None: as `weight_bytes`."""

    rank_orders: tuple[str, ...] = ("tp-cp-dp-pp",)
    """Orders of the dimensions in which the trainer numbers ranks, innermost first: the first by default, the others
    by an option of it. For any other order a rankfile lays the ranks of the first on other devices."""
    has_expert_axis: bool = False
    """Whether ep is a mesh axis of its own inside tp, or experts are shared by neighbours in the numbering of a
    stage's ranks, whatever else these are (`planner/cost/rank_groups.py`, with the sources)."""

    updates_on_host: bool = True
    """Whether an offloaded optimizer is wholly on the host and updates there; else its moments alone are, and come to
    the device for the update and go back."""

    loss_bytes_per_logit: float
    """Bytes per logit that the trainer's plain loss makes, from the head's forward to its backward pass: 8 with a
    32-bit copy beside the 16-bit logits (Megatron-LM's `vocab_parallel_cross_entropy`), 12 or 14 with the 32-bit
    passes of `torch.nn.functional.cross_entropy`."""
    parallel_loss_bytes_per_logit: float | None = None
    """The same of the logits of a rank under tensor parallelism; None: as without."""
    logit_gap_bytes: float = 0.0
    """Bytes per logit that are free in the backward pass of a plain loss, but in no block of the size that it asks
    PyTorch's allocator for; 2 where the 16-bit logits are deleted before it (`compute_loss_gap_bytes` of
    `planner/cost/operators/memory_bound.py`)."""
    wide_logit_bytes: float = 0.0
    """Bytes per logit at the peak of a compiled loss where logits are widened to 32 bits outside of it; 0: within."""
    kept_logit_bytes: float = 0.0
    """Bytes per logit that a chunked loss keeps of all chunks to their common backward pass, eager; compiled, the
    16-bit logits."""
    held_logit_bytes: float | None = None
    """Of them those that are held at once, by the plain and by the compiled loss; None: all, and of a compiled loss
    what torch.compile leaves."""
    caches_narrow_weights: bool = False
    """Whether fp8 and fp4 multiplies keep the narrow copies of their weights from the first micro-batch to the last
    (Transformer Engine 2.18, `get_weight_workspace` of pytorch/module/base.py)."""
    loss: LossKernel = "plain"
    """The loss without `--loss`."""
    launch_mode: LaunchMode
    """How kernels reach the GPU without `--launch`: a step as one graph, fused, compiled, eager."""
    usual_zero_stage: int = 0
    """The ZeRO stage of `planner estimate` without `--zero`, of plans with more than one rank to shard over, where
    the defaults of its program have none."""
    usual_program: ProgramName | None = None
    """The program whose defaults `planner estimate` has where several programs run its plans."""
    cp_comm_type: CpCommType = "ring"
    """How context parallelism communicates without `--cp-exchange`."""
    ep_exchange: ExpertExchange = "deepep"
    """The all-to-all of experts without `--ep-exchange`."""
    nvl72_ep_exchange: ExpertExchange = "nccl"
    """The same on GB200 and GB300, of a trainer with DeepEP, which Megatron-Bridge 0.3.1 refuses there
    (`validate_flex_dispatcher_backend` of training/flex_dispatcher_backend.py)."""

    selective_recompute: SelectiveRecompute = "cheap"
    """What selective recomputation repeats without `--recompute-modules`: norms and activations; with them every
    second multiply (torchtitan's selective op, `torchtitan/distributed/activation_checkpoint.py`); Megatron's modules
    (`list_default_modules` of `planner/trainers/recompute.py`), or of these attention alone."""
    adapts_parts: bool = False
    """Whether queries, keys and values, and gate and up, are multiplies of their own with an adapter each (peft 0.17,
    tuners/lora, on transformers 4.57), or one with one (Megatron-Bridge 0.3.1, peft/lora.py: `linear_qkv`)."""
    cuts_key_values: bool = False
    """Whether tensor parallelism over more ranks than heads of keys and values cuts their matrix further and gathers
    what it makes, or each rank has a copy of a head's part."""
    keeps_absolute_values: bool = False
    """Whether with every second multiply the absolute values of what 8-bit multiplies read are kept, inputs and
    weights, which their scales are the largest of; compiled, they are no tensors."""
    graph_keeps_every_second: bool = False
    """Whether the policy of a graph (`GRAPH_POLICY` of `planner/trainers/recompute.py`) keeps every second multiply,
    as `selective_recompute`, or all of them."""
    joins_qkv: bool = False
    """Whether queries, keys and values are one multiply, which every second one counts."""
    copies_grouped_keys: bool = False
    """Whether fused attention is given a copy of keys and values for each head of queries (PyTorch's kernels take
    groups too: `enable_gqa` of torch/nn/functional.py)."""
    keeps_gathered_sequence: bool = False
    """Whether the sequence that tensor parallelism gathers is kept for the backward pass (PyTorch's DTensor), or
    gathered again (arXiv 2205.05198, section 4.2.2)."""
    keeps_embedding_gathered: bool = False
    """Whether embedding and head stay gathered under ZeRO 3, from the forward to the backward pass: the root of an
    FSDP module is not resharded (`fully_shard`, `reshard_after_forward`)."""
    keeps_last_layer_gathered: bool = False
    """Whether the last layer too stays gathered from the forward to the backward pass, where not all are resharded
    (torchtitan before 83e69410, `apply_fsdp`)."""
    keeps_dummy_gradients: bool = False
    """Whether a 16-bit tensor of the shape of each weight stays, which autograd is given for a gradient that a kernel
    has added to the accumulated ones (Transformer Engine 2.3, `get_dummy_wgrad` of pytorch/module/base.py)."""
    saves_quantized_inputs: bool = True
    """Whether fp8 and fp4 multiplies save the narrow copy of their input for the backward pass (Transformer Engine),
    or the 16-bit one (torchao)."""
    fp8_recipe: Fp8Recipe = "delayed"
    """The scaling of fp8 without `--fp8-recipe`."""
    uses_flash_attention_2: bool = False
    """Whether fused attention is FlashAttention-2, whose kernels know nothing newer than Ampere, or the kernels of
    cuDNN and FlashAttention-3."""
    copies_gathered_sequence: bool = False
    """Whether the sequence that tensor parallelism gathers or scatters is copied once more on the device: collectives
    cut the first dimension, sequences are the second (torch 2.13, `all_gather_single` and `reduce_scatter_single` of
    torch/distributed/_functional_collectives.py)."""
    loss_launches: int = 3
    """Kernels of a plain loss in one forward pass: the logarithm of the softmax in 32 bit, and what it picks
    (`torch.nn.functional.cross_entropy`)."""
    kernels: KernelStyle = "fused"
    """Whose layers an eager run launches, by which its operators keep more than fused or compiled ones (`kept.py` of
    `planner/cost/operators/`): kernels of PyTorch, modules of Hugging Face's transformers in 16 bit, or these under
    autocast, with a residual stream of 32 bit."""

    overlaps_expert_comm: bool = False
    """Whether the all-to-all of one micro-batch runs beside the compute of another (Megatron-Bridge,
    scripts/performance/configs)."""
    fuses_expert_kernels: bool = False
    """Whether one kernel does the experts' multiplies, biases and activation (Megatron-LM after NeMo 26.04)."""
    fuses_convolution_neighbors: bool = False
    """Whether norms, activations and sums are computed as the convolution beside them is read or written (XLA on
    TPUs)."""
    attention_score_bytes: tuple[float, float] = (10.0, 16.0)
    """Bytes that unfused attention moves for one query-key pair of one head in 16 bit, forward and backward. Here one
    kernel does scale, mask and softmax (Megatron-LM, `fused_softmax.py`): scores are written, read and written by it
    and by dropout, and read by the product with V; about twice that backward."""


def find_calibration_name(trainer: Trainer) -> TrainerName:
    """The trainer whose fitted efficiencies a trainer has."""
    return trainer.calibration or trainer.name


def find_numbering_order(trainer: Trainer, order: str, degrees: Mapping[str, int], *, has_experts: bool) -> str:
    """The order in which a trainer numbers the ranks of a plan of `order`: that order, as one of its own, where an
    option says it, else the first of its own. Dimensions of degree 1 have no place.

    `degrees`: tp, cp, dp, pp, ep and etp. Where stages are not outermost, Megatron takes no other experts than of
    etp x ep = tp x cp, and of a model without experts etp as tp (the assertions on the order in
    `initialize_model_parallel` of `megatron/core/parallel_state.py`, megatron-core 0.16.1).
    """
    expert_ranks = degrees["ep"] * degrees["etp" if has_experts else "tp"]

    def drop_trivial(names: str) -> list[str]:
        return [name for name in names.split("-") if degrees[name] > 1]

    for own_order in trainer.rank_orders:
        has_outer_stages = own_order.endswith("pp") or degrees["pp"] == 1
        is_supported = has_outer_stages or expert_ranks == degrees["tp"] * degrees["cp"]
        if is_supported and drop_trivial(own_order) == drop_trivial(order):
            return own_order
    return trainer.rank_orders[0]


def find_fp8_recipe(trainer: Trainer, precision: str) -> Fp8Recipe:
    """The scaling of narrow multiplies: of mxfp8 and nvfp4 their own, of fp8 the trainer's."""
    recipes: dict[str, Fp8Recipe] = {"fp8": trainer.fp8_recipe, "mxfp8": "mxfp8", "nvfp4": "nvfp4"}
    return recipes.get(precision, "none")


def widen_trainer_state(trainer: Trainer, precision: str) -> Trainer:
    """The trainer's bytes where parameters are wider than 16 bit: no copy of their own beside the master weights."""
    value_bytes = WIDE_VALUE_BYTES.get(precision)
    if value_bytes is None:
        return trainer
    moment_bytes = 2 * value_bytes
    return replace(
        trainer,
        weights="fp32",
        weight_bytes=value_bytes,
        sharded_weight_bytes=value_bytes if trainer.sharded_weight_bytes else 0.0,
        gradient_bytes=value_bytes,
        gradient_copy_bytes=0.0,
        gradient_bucket_bytes=value_bytes if trainer.gradient_bucket_bytes else 0.0,
        optimizer_bytes=moment_bytes if trainer.sharded_weight_bytes else value_bytes + moment_bytes,
        moments="fp32",
        moment_bytes=moment_bytes,
        master="fp32",
        grad_reduce_bytes=value_bytes,
        unsharded_reduce_bytes=None,
    )


def replace_gradient_bytes(
    trainer: Trainer, *, accumulated: GradientDtype | None = None, reduced: GradientDtype
) -> Trainer:
    """The trainer with gradients accumulated (None: as before) and reduced in other dtypes. Gradients accumulated in
    16 bit have no other 16-bit ones beside them.
    """
    gradient_bytes, copy_bytes = trainer.gradient_bytes, trainer.gradient_copy_bytes
    if accumulated is not None:
        copy_bytes = 0.0 if accumulated == "bf16" else copy_bytes
        gradient_bytes = _GRADIENT_BYTES[accumulated] + copy_bytes
    return replace(
        trainer,
        gradient_bytes=gradient_bytes,
        gradient_copy_bytes=copy_bytes,
        grad_reduce_bytes=_GRADIENT_BYTES[reduced],
        unsharded_reduce_bytes=None,
    )


def replace_moment_bytes(trainer: Trainer, moment_bytes: float) -> Trainer:
    """The trainer under another optimizer: `moment_bytes` per parameter in place of Adam's two moments."""
    optimizer_bytes = trainer.optimizer_bytes - trainer.moment_bytes + moment_bytes
    return replace(trainer, optimizer_bytes=optimizer_bytes, moment_bytes=moment_bytes)


def replace_moment_format(trainer: Trainer, moments: MomentDtype) -> Trainer:
    """The trainer with all moments in another format (megatron-core 0.16.1, `exp_avg_dtype` and `exp_avg_sq_dtype` of
    `optimizer/optimizer_config.py`).
    """
    moment_bytes = trainer.moment_bytes * _VALUE_BYTES[moments] / _VALUE_BYTES[trainer.moments]
    return replace(replace_moment_bytes(trainer, moment_bytes), moments=moments)


def replace_master_format(trainer: Trainer, master: MasterDtype) -> Trainer:
    """The trainer with master weights in another format, or none beside the 16-bit weights.

    In bf16: 16 bits beside the 16-bit weight (`main_params_dtype` and `store_param_remainders` there). Where the
    master weights are what is sharded, they are the parameters: in bf16 and with none they are 16-bit parameters.
    """
    master_bytes, kept_bytes = (
        2.0 if name == "none" and not trainer.sharded_weight_bytes else _VALUE_BYTES[name]
        for name in (master, trainer.master)
    )
    return replace(trainer, optimizer_bytes=trainer.optimizer_bytes - kept_bytes + master_bytes, master=master)


def replace_weight_format(trainer: Trainer, weights: WeightDtype, recipe: Fp8Recipe) -> Trainer:
    """The trainer with weights held in another format, and gathered as they are held.

    In fp32 they are their own master weights, but where the master weights are what is sharded already. In fp8 they
    are those of megatron-core's `fp8_param`: one byte, or under mxfp8 one rowwise and one columnwise, neither of
    which can be made of the other (Transformer Engine, features/low_precision_training/mxfp8); these are gathered in
    16 bit (megatron-core 0.16.1, `reuse_grad_buf_for_mxfp8_param_ag`).
    """
    if weights == trainer.weights:
        return trainer
    has_both_usages = weights == "fp8" and recipe == "mxfp8"
    held_bytes = 2 * _MXFP8_VALUE_BYTES if has_both_usages else _VALUE_BYTES[weights]
    if weights == "fp32" and trainer.sharded_weight_bytes:
        trainer = replace_master_format(trainer, "none")
    return replace(
        trainer,
        weights=weights,
        weight_bytes=held_bytes,
        sharded_weight_bytes=held_bytes if trainer.sharded_weight_bytes else 0.0,
        gather_bytes=2.0 if has_both_usages else None,
    )


def replace_gather_format(trainer: Trainer, gather: WeightDtype) -> Trainer:
    """The trainer with weights gathered in another format."""
    return replace(trainer, gather_bytes=_VALUE_BYTES[gather])


def find_gather_format(trainer: Trainer) -> WeightDtype:
    """The format in which weights are gathered; fp32 for wider ones."""
    gather_bytes = trainer.gather_bytes or trainer.weight_bytes
    return "fp8" if gather_bytes == 1.0 else "bf16" if gather_bytes == 2.0 else "fp32"


def apply_techniques_to_state(trainer: Trainer, techniques: Techniques) -> Trainer:
    """Bytes per parameter of the model, trained or not: LoRA freezes most of them, pruning adds its masks."""
    lora, pruning = techniques.lora, techniques.pruning
    if lora is not None:
        trainer = replace(
            trainer,
            weight_bytes=lora.frozen_bytes + lora.adapter_share * trainer.weight_bytes,
            sharded_weight_bytes=lora.frozen_bytes + lora.adapter_share * trainer.sharded_weight_bytes,
            gradient_bytes=lora.adapter_share * trainer.gradient_bytes,
            gradient_copy_bytes=lora.adapter_share * trainer.gradient_copy_bytes,
            gradient_bucket_bytes=lora.adapter_share * trainer.gradient_bucket_bytes,
            optimizer_bytes=lora.adapter_share * trainer.optimizer_bytes,
            grad_reduce_bytes=lora.adapter_share * trainer.grad_reduce_bytes,
            unsharded_reduce_bytes=trainer.unsharded_reduce_bytes
            and lora.adapter_share * trainer.unsharded_reduce_bytes,
            gather_bytes=trainer.gather_bytes and lora.frozen_bytes + lora.adapter_share * trainer.gather_bytes,
        )
    if pruning is not None:
        pruning_bytes = pruning.pruned_share * pruning.extra_bytes
        trainer = replace(
            trainer,
            weight_bytes=trainer.weight_bytes + pruning_bytes,
            sharded_weight_bytes=trainer.sharded_weight_bytes + pruning_bytes,
        )
    return trainer
