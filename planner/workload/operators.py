"""The operators that a layer is made of: sizes only, no times. The cost model reads these.

Sizes are per token and unsharded; a model that knows no tokens has one a sample: an image, a clip of sound.
Who shares them is said by two words:
`shard` of a Linear is the weight dimension that tensor parallelism cuts (Megatron-LM, arXiv 1909.08053);
`domain` of a Pointwise is "tensor" (always cut by tp), "sequence" (cut by tp only under sequence
parallelism, arXiv 2205.05198), or "expert" (cut by tp, and its rows are the routed tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ShardDimension = Literal["column", "row", "none"]
ShardDomain = Literal["tensor", "sequence", "expert"]
VALUE_BYTES = 2
"""Bytes of one value, of 16 bit, in the byte counts below; the cost model scales them to the training's precision."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A matrix multiply of tokens x inputs by inputs x outputs."""

    name: str
    inputs: int
    outputs: int
    shard: ShardDimension
    bias: bool = False
    full_precision: bool = False
    """Stays in 16 bit when the layers run in 8 or 4 bit (the logits, the router)."""
    saves_input: bool = True
    """Keeps its own input for the backward pass (off where another operator already keeps it)."""
    tied: bool = False
    """Uses the embedding's matrix: multiplied here, counted there."""
    recomputed: bool = False
    """Done again by selective recomputation (the up-projections of latent attention)."""
    kv_outputs: int = 0
    """Of `outputs`, those of keys and values: `kv_heads` heads, copied where tp is more than they are."""
    kv_heads: int = 0
    rows: float = 1.0
    """Rows per token: places of an image; a share where one token of a sequence is multiplied."""

    @property
    def kv_parameters(self) -> int:
        """Parameters of keys and values, bias included."""
        return self.kv_outputs * (self.inputs + (1 if self.bias else 0))

    @property
    def weights(self) -> int:
        """Parameters of the matrix."""
        return self.inputs * self.outputs

    @property
    def sharded_parameters(self) -> int:
        """Parameters that tp divides: the matrix, and the bias of a column-cut one."""
        if self.shard == "none" or self.tied:
            return 0
        return self.weights + (self.outputs if self.bias and self.shard == "column" else 0)

    @property
    def replicated_parameters(self) -> int:
        """Parameters that every tp rank holds."""
        if self.shard == "none":
            return self.weights + (self.outputs if self.bias else 0)
        return self.outputs if self.bias and self.shard == "row" else 0


@dataclass(frozen=True, slots=True)
class ExpertLinear:
    """The same multiply in each of `experts` experts; a token visits `topk` of them (a grouped GEMM)."""

    name: str
    inputs: int
    outputs: int
    shard: ShardDimension
    experts: int
    topk: int
    bias: bool = False

    @property
    def expert_parameters(self) -> int:
        """Parameters of all experts together."""
        return self.experts * (self.inputs * self.outputs + (self.outputs if self.bias else 0))


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution of one or two dimensions, never cut by tensor parallelism.

    `input_values` and `outputs` are channels, `kernel_values` the values of one window in one channel (9 for 3 x 3),
    `output_positions` the positions of the output and `input_values` the values of the input, per token. Dilation
    changes none of them.
    """

    name: str
    inputs: int
    outputs: int
    kernel_values: int
    output_positions: int
    input_values: int
    groups: int = 1
    bias: bool = False
    saves_input: bool = True
    """Keeps its own input for the backward pass (off where another operator already keeps it)."""
    input_gradient: bool = True
    """Needs a gradient of its input (off where that is the data)."""

    @property
    def weights(self) -> int:
        """Parameters of the kernels."""
        return self.inputs // self.groups * self.kernel_values * self.outputs

    @property
    def sharded_parameters(self) -> int:
        """Parameters that tp divides: none."""
        return 0

    @property
    def replicated_parameters(self) -> int:
        """Parameters that every tp rank holds."""
        return self.weights + (self.outputs if self.bias else 0)


@dataclass(frozen=True, slots=True)
class AttentionCore:
    """softmax(Q K^T) V. `window` 0 means that a token attends to the whole sequence."""

    name: str
    heads: int
    kv_heads: int
    qk_dim: int
    v_dim: int
    causal: bool
    window: int = 0
    attended_rows: int = 0
    """Rows per token that attend to each other; 0: a token is one row of the model's sequence."""

    def compute_flops_per_pair(self) -> int:
        """FLOPs of the forward pass for one query-key pair, all heads."""
        return 2 * self.heads * (self.qk_dim + self.v_dim)


@dataclass(frozen=True, slots=True)
class Pointwise:
    """Everything bound by memory traffic: norms, activations, residuals, lookups, permutations.

    `traffic_bytes` is read and written per token in the forward pass, `saved_bytes` kept per token for the
    backward pass. Selective recomputation repeats it where it drops anything: `dropped_inputs` values per token
    that a multiply after it keeps as its input, `dropped_bytes` of what it keeps itself.
    """

    name: str
    traffic_bytes: float
    saved_bytes: float
    domain: ShardDomain
    sharded_parameters: int = 0
    replicated_parameters: int = 0
    dropped_inputs: int = 0
    dropped_bytes: float = 0.0
    rows: int = 1
    """Rows per token (topk for what happens to routed tokens)."""
    unfused: bool = False
    """A chain of several kernels unless the framework has a kernel for this very activation (biased experts)."""
    composite: bool = False
    """A chain of several kernels where the framework does not fuse it (RMSNorm, rotary, gated activation)."""
    fuses_with_convolution: bool = False
    """Of a convolutional network: part of the convolution beside it where a compiler fuses them."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Cross-entropy over the vocabulary, cut like the columns of the logits."""

    name: str
    vocab_size: int
    sharded_parameters: int = 0
    replicated_parameters: int = 0
    rows: float = 1.0
    """Rows per token."""


Operator = Linear | ExpertLinear | Convolution | AttentionCore | Pointwise | Loss
_ParameterOperator = Linear | Convolution | Pointwise | Loss


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its operators in order and the collectives that tensor parallelism needs around them."""

    name: str
    operators: tuple[Operator, ...]
    tp_all_reduces: int = 2
    """Pairs of (all-gather, reduce-scatter), or all-reduces, in one forward pass under tensor parallelism."""
    topk: int = 0
    """Experts that a token visits here; 0 for a dense layer."""
    experts: int = 0
    input_values: int = 0
    """Values per token that the layer is given; 0: the model's hidden size."""

    @property
    def sharded_parameters(self) -> int:
        """Parameters that tensor parallelism divides."""
        return sum(op.sharded_parameters for op in self.operators if isinstance(op, _ParameterOperator))

    @property
    def replicated_parameters(self) -> int:
        """Parameters that every tensor-parallel rank holds."""
        return sum(op.replicated_parameters for op in self.operators if isinstance(op, _ParameterOperator))

    @property
    def kv_parameters(self) -> int:
        """Of the sharded ones those of keys and values, of which there are no more parts than heads."""
        return sum(op.kv_parameters for op in self.operators if isinstance(op, Linear))

    @property
    def kv_heads(self) -> int:
        """Key/value heads of the layer; 0 where it has none."""
        return max((op.kv_heads for op in self.operators if isinstance(op, Linear)), default=0)

    @property
    def expert_parameters(self) -> int:
        """Parameters that expert parallelism divides."""
        return sum(op.expert_parameters for op in self.operators if isinstance(op, ExpertLinear))

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.sharded_parameters + self.replicated_parameters + self.expert_parameters

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets."""
        routed = self.expert_parameters * self.topk // self.experts if self.experts else 0
        return self.sharded_parameters + self.replicated_parameters + routed


@dataclass(frozen=True, slots=True)
class LayerRun:
    """`count` layers of one kind, one after the other."""

    layer: Layer
    count: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What one token goes through: embedding, runs of layers, head.

    A model that is cut nowhere but between layers has a sequence of one token, one head and an MLP of width one; its
    hidden size is the most that one layer hands to the next.
    """

    name: str
    title: str
    hidden_size: int
    seq_length: int
    heads: int
    kv_heads: int
    ffn_size: int
    vocab_size: int
    experts: int
    embedding: Layer
    layer_runs: tuple[LayerRun, ...]
    head: Layer
    note: str = ""
    """What was chosen on the user's behalf, for instance the shape of a bare size."""
    sample_name: str = "sequence"
    """What a batch counts."""

    @property
    def layer_count(self) -> int:
        """Layers between embedding and head."""
        return sum(run.count for run in self.layer_runs)

    @property
    def parameters(self) -> int:
        """Total parameters, a tied embedding counted once."""
        layer_parameters = sum(run.count * run.layer.parameters for run in self.layer_runs)
        return layer_parameters + self.embedding.parameters + self.head.parameters

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets."""
        layer_parameters = sum(run.count * run.layer.active_parameters for run in self.layer_runs)
        return layer_parameters + self.embedding.parameters + self.head.parameters

    @property
    def tied_parameters(self) -> int:
        """Parameters of a tied output matrix, of which a last pipeline stage needs its own copy."""
        return sum(op.weights for op in self.head.operators if isinstance(op, Linear) and op.tied)

    @property
    def has_tokens(self) -> bool:
        """Whether its throughput is told in tokens; in samples else."""
        return self.sample_name == "sequence"

    @property
    def layer_types(self) -> tuple[Layer, ...]:
        """The distinct kinds of layer, in order of first appearance."""
        return tuple(dict.fromkeys(run.layer for run in self.layer_runs))
