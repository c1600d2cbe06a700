"""What selective recomputation repeats and keeps of a layer, and which activations are kept on the host.

A layer is a graph of tensors: each operator reads outputs of others and makes one. A tensor that the backward pass
reads is either kept, or made again by its operator, whose inputs are then kept or made again in turn (Korthikanti et
al. 2022, arXiv 2205.05198, section 5; Chen et al. 2016, arXiv 1604.06174). So a choice says of each tensor how much
of it is kept; what is repeated and what it reads follows. Megatron's modules state what is dropped, and run whole
once more, with what the backward pass does not need of them; policies of JAX state what is kept, and XLA leaves out
what is not needed. The choice itself is read in `planner/trainers/recompute.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.cost import every_second
from planner.cost.arrays import Floats, sum_in_order
from planner.cost.operators import get_operator_cost
from planner.cost.operators.attention import compute_wide_output_bytes
from planner.cost.operators.operator_cost import LayerShard, PassTimes
from planner.cost.scenario import Scenario
from planner.trainers.recompute import RecomputeChoice
from planner.workload.operators import AttentionCore, ExpertLinear, Layer, Linear, Operator, Pointwise

LAYER_INPUT = -1
"""The index of the layer's input among the tensors, which have those of their operators."""
_BLOCK_NORMS = ("attention_norm", "mlp_norm")
_READS_BLOCK_NORM = ("kv_down", "router", "dispatch", "shared_up", "shared_gate")
"""Beginnings of branches, which read what the norm before attention or the MLP makes."""
_LATENT_UP_PROJECTION = ("q", "q_norm", "q_up", "kv_norm", "kv_up", "rotary")
_DENSE_MLP = ("mlp_norm", "mlp_up", "mlp_activation", "mlp_down")
_SHARED_EXPERTS = ("shared_up", "shared_activation", "shared_down", "shared_gate")
_EXPERTS = ("router", "dispatch", "expert_up", "expert_activation", "expert_down", "combine", *_SHARED_EXPERTS)
_SEQUENCE_READERS = ("qkv", "mlp_up", "expert_up", "shared_up")
"""Multiplies before which sequence parallelism gathers the sequence."""
_TENSOR_NAMES = {
    "attention_out": ("out_proj",),
    **dict.fromkeys(("mlp_down", "shared_down"), ("mlpwo",)),
    "expert_down": ("mlpwo", "moe_mlpwo"),
    "q_down": ("query_wa_proj",),
    "kv_down": ("kv_wa_proj",),
    "q_norm": ("mla_q",),
    "kv_norm": ("mla_kv",),
}
"""Names in MaxText's policies of what an operator makes, of those that are whole."""


@dataclass(frozen=True)
class LayerGraph:
    """The tensors of a layer. `inputs`: of each operator the indices of the operators whose outputs it reads, or
    `LAYER_INPUT`; the first of them is what it saves, if it saves its input.
    """

    operators: tuple[Operator, ...]
    inputs: tuple[tuple[int, ...], ...]
    is_latent: bool
    has_experts: bool

    def list_readers(self, tensor: int) -> list[int]:
        """The operators that read a tensor."""
        return [index for index, read in enumerate(self.inputs) if tensor in read]

    def get_name(self, index: int) -> str:
        """The operator's name, of cross-attention as of attention."""
        return self.operators[index].name.removeprefix("cross_")


def build_layer_graph(layer: Layer) -> LayerGraph:
    """Which outputs each operator reads, from the order of the operators."""
    previous = stream = block_norm = LAYER_INPUT
    inputs: list[tuple[int, ...]] = []
    # ends of branches that are read where they join
    ends: tuple[int, ...] = ()
    for index, op in enumerate(layer.operators):
        name, kind = op.name.removeprefix("cross_"), op.kind if isinstance(op, Pointwise) else ""
        if kind == "parameters" or name == "positions":
            # nothing of the layer's input
            inputs.append(())
            continue
        read: tuple[int, ...] = (previous,)
        if name in _BLOCK_NORMS:
            read, block_norm = (stream,), index
        elif name in _READS_BLOCK_NORM:
            ends += () if previous == block_norm else (previous,)
            read = (block_norm,)
        elif kind == "heads":
            read, ends = (*ends, previous), ()
        elif kind == "residual":
            read, ends, stream = (stream, *ends, previous), (), index
        inputs.append(read)
        previous = index
    has_latent_attention = any(op.name == "kv_down" for op in layer.operators)
    return LayerGraph(layer.operators, tuple(inputs), has_latent_attention, layer.topk > 0)


def _saves_input(op: Operator) -> bool:
    """Whether what an operator saves is its input; else its output, or something of its own."""
    if isinstance(op, Pointwise):
        return op.kind in ("norm", "head_norm", "activation")
    return isinstance(op, ExpertLinear) or bool(getattr(op, "saves_input", False))


def _saves_output(op: Operator) -> bool:
    return isinstance(op, Pointwise) and op.kind == "heads"


def _list_dropping_modules(graph: LayerGraph, index: int) -> set[str]:
    """Megatron's modules that drop what an operator makes (megatron-core 0.16.1).

    Norms are modules of their own before latent attention and before experts, else fused with the multiply after them
    (models/gpt/gpt_layer_specs.py).
    """
    name, op = graph.get_name(index), graph.operators[index]
    modules = set()
    if (name == "attention_norm" and graph.is_latent) or (name == "mlp_norm" and graph.has_experts):
        modules.add("layernorm")
    if graph.is_latent and name in _LATENT_UP_PROJECTION:
        modules.add("mla_up_proj")
    if not graph.has_experts and name in _DENSE_MLP:
        modules.add("mlp")
    if graph.has_experts and name in _EXPERTS:
        modules.add("moe")
    if name == "expert_activation":
        modules.add("moe_act")
    if name in _SHARED_EXPERTS:
        modules.add("shared_experts")
    if isinstance(op, AttentionCore):
        modules.add("core_attn")
    return modules


def _compute_kept_share(graph: LayerGraph, index: int, tensors: frozenset[str]) -> float:
    """Share of what an operator makes that is among these of MaxText's tensors (0..1)."""
    if index == LAYER_INPUT:
        return 1.0 if "decoder_layer_input" in tensors else 0.0
    name, op = graph.get_name(index), graph.operators[index]
    if _saves_output(op):
        return _compute_heads_share(graph, index, tensors)
    if isinstance(op, AttentionCore):
        return 1.0 if tensors & {"context", "attention_out"} else 0.0
    if name in ("mlp_up", "shared_up", "expert_up"):
        prefixes = ("mlpwi", "moe_mlpwi") if name == "expert_up" else ("mlpwi",)
        halves = (tensors & {f"{prefix}_{half}" for prefix in prefixes} for half in (0, 1))
        is_whole = "mlpwi" in tensors and name != "expert_up"
        return 1.0 if is_whole else sum(0.5 for half in halves if half)
    return 1.0 if tensors & set(_TENSOR_NAMES.get(name, ())) else 0.0


def _compute_heads_share(graph: LayerGraph, index: int, tensors: frozenset[str]) -> float:
    """Of queries, keys and values those that are kept (0..1)."""
    core = next(op for op in graph.operators[index:] if isinstance(op, AttentionCore))
    widths = {
        "query_proj": core.heads * core.qk_dim,
        "key_proj": core.kv_heads * core.qk_dim,
        "value_proj": core.kv_heads * core.v_dim,
    }
    fused = {"qkv_proj"} & tensors
    kept = [
        width
        for name, width in widths.items()
        if name in tensors or fused or (name != "query_proj" and "kv_proj" in tensors)
    ]
    return sum(kept) / sum(widths.values())


@dataclass(frozen=True)
class TensorShares:
    """Of each operator's output (`kept`, in the order of operators, last the layer's input), and of what it saves
    beside input and output (`kept_own`), the share that is kept; `repeated`: the share of each operator that is
    repeated; `needed`: whether the backward pass, or what is repeated in it, reads the output.
    """

    kept: tuple[float, ...]
    kept_own: tuple[float, ...]
    repeated: tuple[float, ...]
    needed: tuple[bool, ...]


def _keep_everything(graph: LayerGraph) -> TensorShares:
    """The shares without recomputation."""
    count = len(graph.operators)
    needed = [_is_saved(graph, tensor) for tensor in (*range(count), LAYER_INPUT)]
    return TensorShares((1.0,) * (count + 1), (1.0,) * count, (0.0,) * count, tuple(needed))


def _is_saved(graph: LayerGraph, tensor: int) -> bool:
    """Whether a tensor is saved for the backward pass without recomputation."""
    if tensor != LAYER_INPUT and _saves_output(graph.operators[tensor]):
        return True
    return any(_saves_input(graph.operators[reader]) for reader in graph.list_readers(tensor))


def compute_tensor_shares(graph: LayerGraph, choice: RecomputeChoice) -> TensorShares:
    """What a choice of modules or of tensors keeps and repeats, from the end of the layer to its beginning."""
    count = len(graph.operators)
    kept, kept_own, repeated, needed = [1.0] * (count + 1), [1.0] * count, [0.0] * count, [False] * (count + 1)
    for index in reversed(range(count)):
        op, is_core = graph.operators[index], isinstance(graph.operators[index], AttentionCore)
        readers = graph.list_readers(index)
        needed[index] = _is_saved(graph, index) or any(repeated[reader] > 0 for reader in readers)
        if choice.kept is None:
            modules = choice.modules & _list_dropping_modules(graph, index)
            is_dropped = bool(modules)
            # the output of attention is the input of the multiply after it, which keeps it
            kept[index] = 1.0 if is_core or not is_dropped else 0.0
            kept_own[index] = 0.0 if is_core and is_dropped else 1.0
            repeated[index] = 1.0 if is_dropped else 0.0
        else:
            kept[index] = _compute_kept_share(graph, index, choice.kept)
            kept_own[index] = 1.0 if not is_core or "context" in choice.kept else 0.0
            repeated[index] = max(1.0 - kept[index] if needed[index] else 0.0, 1.0 - kept_own[index])
        if isinstance(op, Pointwise) and op.kind == "parameters":
            repeated[index] = 0.0
    needed[count] = True
    return TensorShares(tuple(kept), tuple(kept_own), tuple(repeated), tuple(needed))


@dataclass(frozen=True)
class LayerSelection:
    """What selective recomputation does in one layer with one micro-batch, arrays of shape [keys].

    `repeated_s`: forward time that is repeated; `dropped_bytes`: of the saved bytes those that it does not keep;
    `repeated_comm`: of tp, cp and ep the share of the forward communication that is repeated.
    """

    repeated_s: Floats
    dropped_bytes: Floats
    repeated_comm: tuple[Floats, Floats, Floats]


def compute_repeated_shares(scenario: Scenario, layer: Layer) -> tuple[float, ...]:
    """Of each operator of a layer the share that selective recomputation repeats (0..1)."""
    if scenario.recompute_choice is None and scenario.selective_recompute == "multiplies":
        return every_second.compute_repeated_shares(scenario, layer.operators)
    if scenario.recompute_choice is None:
        return tuple(get_operator_cost(op).compute_selective_share(scenario, op) for op in layer.operators)
    return compute_tensor_shares(build_layer_graph(layer), scenario.recompute_choice).repeated


def select_by_default(
    scenario: Scenario,
    layer: Layer,
    shard: LayerShard,
    times: Sequence[PassTimes],
    saved_bytes: Floats,
    input_bytes: Floats,
) -> LayerSelection:
    """The trainer's own: what each operator says, or with every second multiply all but the layer's input and the
    outputs that are kept. `times`: of each operator; `saved_bytes`, `input_bytes`: of the layer, [keys].
    """
    repeated_s = dropped_bytes = zero = np.zeros_like(shard.tokens)
    shares = compute_repeated_shares(scenario, layer)
    for op, share, op_times in zip(layer.operators, shares, times, strict=True):
        repeated_s = repeated_s + share * op_times.forward_s
        dropped_bytes = dropped_bytes + get_operator_cost(op).compute_dropped_bytes(scenario, op, shard)
    if scenario.selective_recompute == "multiplies":
        kept_output_bytes = every_second.compute_kept_output_bytes(scenario, layer, shard)
        # what is kept may be more: the embedding alone keeps nothing
        dropped_bytes = np.where(saved_bytes > 0.0, saved_bytes - (input_bytes + kept_output_bytes), 0.0)
    # unfused attention is repeated with what context parallelism sends
    context_share = 1.0 if scenario.attention_kernel == "unfused" else 0.0
    return LayerSelection(repeated_s, dropped_bytes, (zero, zero + context_share, zero))


def select_chosen(
    scenario: Scenario,
    layer: Layer,
    shard: LayerShard,
    times: Sequence[PassTimes],
    choice: RecomputeChoice,
    tensor_comm_count: Floats,
) -> LayerSelection:
    """A choice of modules or tensors. `times`: of each operator; `tensor_comm_count`: pairs of collectives of tensor
    parallelism in the layer, [keys].
    """
    graph = build_layer_graph(layer)
    shares = compute_tensor_shares(graph, choice)
    zero = np.zeros_like(shard.tokens)
    repeated_s = sum_in_order(
        [zero, *(share * op_times.forward_s for share, op_times in zip(shares.repeated, times, strict=True))]
    )
    saved_bytes = sum_in_order(_compute_tensor_bytes(scenario, graph, _keep_everything(graph), shard))
    kept_bytes = sum_in_order(_compute_tensor_bytes(scenario, graph, shares, shard))
    by_operator = list(zip(graph.operators, shares.repeated, strict=True))
    context_share = max((share for op, share in by_operator if isinstance(op, AttentionCore)), default=0.0)
    expert_share = 0.5 * sum(share for op, share in by_operator if op.name in ("dispatch", "combine"))
    tensor_share = _count_repeated_tensor_comms(graph, shares, shard) / np.maximum(tensor_comm_count, 1.0)
    return LayerSelection(
        repeated_s,
        np.maximum(saved_bytes - kept_bytes, 0.0),
        (tensor_share, zero + context_share, zero + expert_share),
    )


def _count_repeated_tensor_comms(graph: LayerGraph, shares: TensorShares, shard: LayerShard) -> Floats:
    """Pairs of collectives of tensor parallelism that are repeated, [keys]: under sequence parallelism half a pair
    before and half a pair after the multiplies, else the all-reduce after them.
    """
    is_sequence_parallel = shard.sequence_divisor > 1
    has_whole_experts = (shard.etp == 1) & is_sequence_parallel
    pair_count = np.zeros_like(shard.tokens)
    for index, op in enumerate(graph.operators):
        share, is_expert = shares.repeated[index], isinstance(op, ExpertLinear)
        if not isinstance(op, (Linear, ExpertLinear)) or not share:
            continue
        # shared experts have no collective of their own where experts are cut as they are
        is_shared = graph.get_name(index).startswith("shared")
        counts = ~has_whole_experts if is_expert else has_whole_experts | np.bool_(not is_shared)
        if op.shard == "row":
            pair_count = pair_count + np.where(counts, share * np.where(is_sequence_parallel, 0.5, 1.0), 0.0)
        elif graph.get_name(index) in _SEQUENCE_READERS:
            pair_count = pair_count + np.where(counts & is_sequence_parallel, 0.5 * share, 0.0)
    return pair_count


def _compute_tensor_bytes(
    scenario: Scenario, graph: LayerGraph, shares: TensorShares, shard: LayerShard
) -> list[Floats]:
    """Bytes that are kept of each operator's output, of the layer's input, and of what operators save beside them;
    arrays of shape [keys], in the order of operators, the input, and operators.

    What a repeated operator reads is in the format in which it reads it.
    """
    count, zero = len(graph.operators), np.zeros_like(shard.tokens)
    costs = [get_operator_cost(op) for op in graph.operators]
    own_bytes, tensor_bytes = [zero] * count, [zero] * (count + 1)
    for index, (op, cost) in enumerate(zip(graph.operators, costs, strict=True)):
        op_bytes = cost.compute_saved_bytes(scenario, op, shard)
        if _saves_input(op) and graph.inputs[index]:
            tensor_bytes[graph.inputs[index][0]] = tensor_bytes[graph.inputs[index][0]] + op_bytes
        elif _saves_output(op):
            tensor_bytes[index] = tensor_bytes[index] + op_bytes
        else:
            own_bytes[index] = op_bytes
    for index, (op, cost) in enumerate(zip(graph.operators, costs, strict=True)):
        is_read_again = any(shares.repeated[reader] > 0 for reader in graph.list_readers(index))
        if is_read_again or not _is_saved(graph, index):
            output_bytes = cost.compute_output_bytes(scenario, op, shard) if is_read_again else zero
            tensor_bytes[index] = np.maximum(tensor_bytes[index], output_bytes)
        if is_read_again and isinstance(op, AttentionCore):
            # one tensor, whoever keeps it
            own_bytes[index] = own_bytes[index] - compute_wide_output_bytes(scenario, op, shard)
    kept = [share * float(is_needed) for share, is_needed in zip(shares.kept, shares.needed, strict=True)]
    return [
        *(share * size_bytes for share, size_bytes in zip(kept, tensor_bytes, strict=True)),
        *(share * size_bytes for share, size_bytes in zip(shares.kept_own, own_bytes, strict=True)),
    ]


def compute_offloaded_bytes(
    scenario: Scenario, layer: Layer, shard: LayerShard, kept_bytes: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats, Floats]:
    """Of the bytes that recompute modes none, selective and full keep of a layer those on the host, [keys] each.

    All of them, or those of `Scenario.offload_modules`, or the tensors that the choice of selective recomputation
    places there: the layer's input alone is among them that full recomputation keeps.
    """
    choice = scenario.recompute_choice
    placed = frozenset() if choice is None else choice.offloaded
    if not scenario.offloads_by_module:
        return kept_bytes
    graph, zero = build_layer_graph(layer), np.zeros_like(shard.tokens)
    count = len(graph.operators)

    def compute_bytes(shares: TensorShares, is_placed: bool) -> Floats:
        """Of what `shares` keep."""
        tensor_bytes = _compute_tensor_bytes(scenario, graph, shares, shard)
        if is_placed:
            placed_shares = (_compute_kept_share(graph, index, placed) for index in (*range(count), LAYER_INPUT))
            # of what is kept
            on_host = [share / (kept or 1.0) for share, kept in zip(placed_shares, shares.kept, strict=True)]
            on_host += [
                1.0 if "context" in placed and isinstance(op, AttentionCore) else 0.0 for op in graph.operators
            ]
        else:
            named = set(scenario.offload_modules.split("+"))
            on_host = [float(bool(named & modules)) for modules in _list_offloading_modules(graph)]
            on_host += [
                1.0 if "core_attn" in named and isinstance(op, AttentionCore) else 0.0 for op in graph.operators
            ]
        return sum_in_order(share * size for share, size in zip(on_host, tensor_bytes, strict=True))

    none_bytes, selective_bytes, full_bytes = kept_bytes
    all_kept = _keep_everything(graph)
    if placed:
        assert choice is not None
        shares = compute_tensor_shares(graph, choice)
        full_bytes = full_bytes if "decoder_layer_input" in placed else zero
        # a policy says nothing of plans without recomputation
        return none_bytes, np.minimum(compute_bytes(shares, is_placed=True), selective_bytes), full_bytes
    shares = _share_by_default(scenario, layer, graph) if choice is None else compute_tensor_shares(graph, choice)
    return (
        np.minimum(compute_bytes(all_kept, is_placed=False), none_bytes),
        np.minimum(compute_bytes(shares, is_placed=False), selective_bytes),
        zero,
    )


def _share_by_default(scenario: Scenario, layer: Layer, graph: LayerGraph) -> TensorShares:
    """The shares of a trainer's own selective recomputation: what it repeats, it does not keep."""
    repeated = compute_repeated_shares(scenario, layer)
    cores = [isinstance(op, AttentionCore) for op in layer.operators]
    kept = [1.0 if is_core else 1.0 - share for is_core, share in zip(cores, repeated, strict=True)]
    kept_own = [1.0 - share if is_core else 1.0 for is_core, share in zip(cores, repeated, strict=True)]
    return TensorShares((*kept, 1.0), tuple(kept_own), repeated, _keep_everything(graph).needed)


def _list_offloading_modules(graph: LayerGraph) -> list[set[str]]:
    """Of each operator's output, and last of the layer's input, Megatron's modules that keep it on the host: those of
    which it is the input, or of which what is computed in the module saves it (megatron-core 0.16.1,
    pipeline_parallel/fine_grained_activation_offload.py).
    """
    count = len(graph.operators)
    modules: list[set[str]] = [set() for _ in range(count + 1)]
    for index, op in enumerate(graph.operators):
        name, read = graph.get_name(index), graph.inputs[index][0] if graph.inputs[index] else count
        if name == "attention_norm":
            modules[read].add("attn_norm" if graph.is_latent else "qkv_linear")
            modules[index].add("qkv_linear")
        elif graph.is_latent and name in ("q_down", "kv_down", "q_norm", "kv_norm"):
            modules[index].add("qkv_linear")
        elif name == "mlp_norm" and graph.has_experts:
            modules[read].add("mlp_norm")
        elif _saves_output(op):
            modules[index].add("core_attn")
        elif isinstance(op, AttentionCore):
            modules[index].add("attn_proj")
        elif name == "expert_up":
            modules[read].add("expert_fc1")
            modules[index].add("moe_act")
    return modules
