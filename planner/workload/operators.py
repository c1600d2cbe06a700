"""The operators of a layer, as the cost model reads them: sizes, no times.

Sizes are per token and unsharded; a model without tokens has one per sample, such as an image or an audio clip.
Two fields state which ranks share an operator:
`shard` of a Linear is the weight dimension that tensor parallelism cuts (Megatron-LM, arXiv 1909.08053);
`domain` of a Pointwise is "tensor" (always cut by tp), "sequence" (cut by tp only under sequence
parallelism, arXiv 2205.05198), or "expert" (cut by tp, and its rows are the routed tokens).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from planner.workload.spec import Activation, ModelSpec, Norm

ShardDimension = Literal["column", "row", "none"]
ShardDomain = Literal["tensor", "sequence", "expert"]
PointwiseKind = Literal[
    "norm", "head_norm", "heads", "activation", "residual", "lookup", "routing", "parameters", "listed"
]
"""norm: over the hidden state; head_norm: over queries and keys; heads: queries, keys and values split into heads,
rotated where its width is not zero; lookup: rows of a table added up; routing: tokens to their experts or back;
parameters: parameters of another operator, which moves them itself; listed: an operator of a list.
"""
VALUE_BYTES = 2
"""Bytes of a value in `TokenBytes`, of 16 bit; the cost model scales them to the training precision."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A matrix multiply of [tokens, inputs] by [inputs, outputs]."""

    name: str
    inputs: int
    outputs: int
    shard: ShardDimension
    bias: bool = False
    full_precision: bool = False
    """Stays in 16 bit when the layers run in 8 or 4 bit (the logits, the router)."""
    saves_input: bool = True
    """Saves its input for the backward pass (off where another operator already saves it)."""
    tied: bool = False
    """Uses the embedding's matrix, whose parameters are counted there."""
    shared: bool = False
    """Uses the matrix of an earlier multiply of the same layer, whose parameters are counted there."""
    recomputed: bool = False
    """Repeated by selective recomputation (the up-projections of latent attention)."""
    kv_outputs: int = 0
    """The part of `outputs` for keys and values: `kv_heads` heads, replicated where tp is greater."""
    kv_heads: int = 0
    rows: float = 1.0
    """Rows per token: positions of an image; a share where one token of a sequence is multiplied."""
    parts: int = 1
    """Multiplies of the same input that it is where they are not joined: of queries, keys and values, or of gate and
    up."""

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
        """Parameters that tp divides: the matrix, and the bias of a column-parallel matrix."""
        if self.shard == "none" or self.tied or self.shared:
            return 0
        return self.weights + (self.outputs if self.bias and self.shard == "column" else 0)

    @property
    def replicated_parameters(self) -> int:
        """Parameters that are replicated on every tp rank."""
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
    parts: int = 1
    """As of a Linear."""

    @property
    def expert_parameters(self) -> int:
        """Parameters of all experts together."""
        return self.experts * (self.inputs * self.outputs + (self.outputs if self.bias else 0))


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution of one or two dimensions, never cut by tensor parallelism.

    `input_values` and `outputs` are channels, `kernel_values` the values of a window in a channel (9 for 3 x 3),
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
    """Saves its input for the backward pass (off where another operator already saves it)."""
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
        """Parameters that are replicated on every tp rank."""
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
    topk: int = 0
    """Keys that a token attends to, chosen by an indexer; 0: all of its window."""
    attended_rows: int = 0
    """Rows per token that attend to each other; 0: a token is one row of the model's sequence."""
    dropout: bool = False
    """Drops probabilities."""
    wide_softmax: bool = False
    """Whether Hugging Face's module takes the softmax in 32 bit, and makes a 16-bit copy of it."""

    @property
    def reach(self) -> int:
        """Keys that a token attends to at most: of its window, or as many as an indexer chooses; 0: all."""
        return min((size for size in (self.window, self.topk) if size), default=0)

    def compute_flops_per_pair(self) -> int:
        """FLOPs of the forward pass for one query-key pair, all heads."""
        return 2 * self.heads * (self.qk_dim + self.v_dim)


ScanKind = Literal["delta", "state-space", "selective", "lightning"]


@dataclass(frozen=True, slots=True)
class Scan:
    """A linear recurrence over the tokens, computed in chunks: of each head a state of `key_dim` x `value_dim`.

    delta: the gated delta rule (arXiv 2412.06464); state-space: SSD of Mamba-2 (arXiv 2405.21060); selective: the
    scan of Mamba-1 (arXiv 2312.00752), a channel a head; lightning: linear attention with decay (arXiv 2501.08313).
    Parameters are those of the recurrence itself (decays, step sizes).
    """

    name: str
    kind: ScanKind
    heads: int
    key_heads: int
    key_dim: int
    value_dim: int
    chunk: int
    sharded_parameters: int = 0
    replicated_parameters: int = 0

    @property
    def state_values(self) -> int:
        """Values of the state of all heads."""
        return self.heads * self.key_dim * self.value_dim


@dataclass(frozen=True, slots=True)
class ShortConvolution:
    """A causal convolution of a few tokens in each of `channels`, cut by tensor parallelism with them."""

    name: str
    channels: int
    kernel: int
    bias: bool = False
    replicated_parameters: int = 0

    @property
    def sharded_parameters(self) -> int:
        """Kernels and biases."""
        return self.channels * (self.kernel + (1 if self.bias else 0))


@dataclass(frozen=True, slots=True)
class SparseIndexer:
    """Scores of every key for every query, by which attention chooses the best `topk` (DeepSeek-V3.2): products of
    `heads` queries and one key, a weighted sum, and a selection. Not cut by tensor parallelism.
    """

    name: str
    heads: int
    head_dim: int
    topk: int

    def compute_flops_per_pair(self) -> int:
        """FLOPs of the forward pass for one query-key pair: the products, and the sum over heads."""
        return 2 * self.heads * (self.head_dim + 1)


@dataclass(frozen=True, slots=True)
class TokenBytes:
    """Bytes per token of a memory-bound operator, unsharded, in 16 bit."""

    moved: float
    """Read and written in the forward pass."""
    saved: float = 0.0
    """Saved for the backward pass: of kind "listed"."""
    dropped: float = 0.0
    """Of its own saved bytes those that selective recomputation drops."""
    dropped_inputs: int = 0
    """Values that a multiply after it saves as its input, and selective recomputation drops."""


@dataclass(frozen=True, slots=True)
class Pointwise:
    """A memory-bound operator. The bytes that it moves and saves follow from its kind and its width, by
    `compute_token_bytes` in `planner/cost/operators/memory_bound.py`, or are `listed_bytes`.
    """

    name: str
    kind: PointwiseKind
    width: int
    """Values per token that it is given, once where it is gated."""
    domain: ShardDomain
    sharded_parameters: int = 0
    replicated_parameters: int = 0
    kept_width: int = 0
    """Of kind "heads": values of queries, keys and values."""
    gated: bool = False
    """An activation that multiplies one width by another."""
    function: Activation | Norm | Literal[""] = ""
    """Of an activation and of a norm: which one."""
    joined: bool = False
    """Of kind "heads": queries, keys and values come of one multiply in Hugging Face's module, as views of its
    output."""
    shares_input: bool = False
    """Reads what a norm before it saves (the MLP's norm beside attention's)."""
    dropout: bool = False
    """Drops values, by a mask of one byte each."""
    recomputed: bool = False
    """Repeated by selective recomputation (the heads of latent attention)."""
    rows: int = 1
    """Rows per token (topk for operators on routed tokens)."""
    unfused: bool = False
    """Several kernels unless the framework has a fused kernel for this activation (biased experts)."""
    composite: bool = False
    """Several kernels where the framework does not fuse it (RMSNorm, rotary, gated activation)."""
    fuses_with_convolution: bool = False
    """In a convolutional network: fused into the convolution next to it by a compiler."""
    listed_bytes: TokenBytes | None = None
    """Of an operator of a list, of kind "listed"."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Cross-entropy over the vocabulary, cut like the columns of the logits."""

    name: str
    vocab_size: int
    sharded_parameters: int = 0
    replicated_parameters: int = 0
    rows: float = 1.0
    """Rows per token."""


Operator = (
    Linear | ExpertLinear | Convolution | AttentionCore | Scan | ShortConvolution | SparseIndexer | Pointwise | Loss
)
_ParameterOperator = Linear | Convolution | Scan | ShortConvolution | Pointwise | Loss


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its operators in order, and the collectives that tensor parallelism needs around them."""

    name: str
    operators: tuple[Operator, ...]
    tp_all_reduces: int = 2
    """Pairs of (all-gather, reduce-scatter), or all-reduces, in one forward pass under tensor parallelism."""
    topk: int = 0
    """Experts that a token visits; 0 for a dense layer."""
    experts: int = 0
    input_values: int = 0
    """Values per token of the layer's input; 0: the model's hidden size."""
    added_all_reduces: int = 0
    """Those of `tp_all_reduces` that belong to no row-parallel multiply."""

    @property
    def sharded_parameters(self) -> int:
        """Parameters that tensor parallelism divides."""
        return sum(op.sharded_parameters for op in self.operators if isinstance(op, _ParameterOperator))

    @property
    def replicated_parameters(self) -> int:
        """Parameters that are replicated on every tensor-parallel rank."""
        return sum(op.replicated_parameters for op in self.operators if isinstance(op, _ParameterOperator))

    @property
    def kv_parameters(self) -> int:
        """The sharded parameters of keys and values, which have at most as many shards as heads."""
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
        """Parameters that a token uses."""
        routed = self.expert_parameters * self.topk // self.experts if self.experts else 0
        return self.sharded_parameters + self.replicated_parameters + routed


@dataclass(frozen=True, slots=True)
class LayerRun:
    """`count` equal layers in sequence."""

    layer: Layer
    count: int


@dataclass(frozen=True, slots=True)
class Workload:
    """A model as the cost model reads it: embedding, runs of equal layers, those of multi-token prediction, head.

    A model that can be split only between layers has a sequence of one token, one head and an MLP of width one; its
    hidden size is the largest output of a layer.
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
    document_length: int | None = None
    """Tokens of the document that a token is in, on average over tokens, where documents attend to themselves alone:
    E[l²] / E[l] of documents of l tokens. None: a token attends to its whole sequence."""
    prediction: LayerRun | None = None
    """Layers of multi-token prediction: on the last pipeline stage, before the head, which each enters by itself."""
    note: str = ""
    """Assumptions made for the user, for instance the shape of a bare size."""
    sample_name: str = "sequence"
    """The name of an item of a batch."""
    signal_length: int | None = None
    """Of a list of operators whose input has a length only, such as audio: its values in time."""
    spec: ModelSpec | None = field(default=None, compare=False, repr=False)
    """The description that it was built from; None for a list of operators."""

    @property
    def attended_length(self) -> int:
        """Tokens that attend to each other: of a document, or the whole sequence."""
        return min(self.document_length or self.seq_length, self.seq_length)

    @property
    def layer_count(self) -> int:
        """Layers between embedding and head, which the pipeline partitions: those of multi-token prediction apart."""
        return sum(run.count for run in self.layer_runs)

    @property
    def parameters(self) -> int:
        """Total parameters, a tied embedding counted once."""
        layer_parameters = sum(run.count * run.layer.parameters for run in self.layer_runs)
        return layer_parameters + self.embedding.parameters + self.output_layer.parameters

    @property
    def active_parameters(self) -> int:
        """Parameters that a token uses."""
        layer_parameters = sum(run.count * run.layer.active_parameters for run in self.layer_runs)
        return layer_parameters + self.embedding.parameters + self.output_layer.active_parameters

    @property
    def prediction_layers(self) -> int:
        """Layers of multi-token prediction."""
        return 0 if self.prediction is None else self.prediction.count

    @property
    def repeated_runs(self) -> tuple[LayerRun, ...]:
        """All layers that recomputation repeats: those of multi-token prediction too."""
        return self.layer_runs if self.prediction is None else (*self.layer_runs, self.prediction)

    @property
    def output_layer(self) -> Layer:
        """What the last chunk ends with: the layers of multi-token prediction, where there are any, and the head."""
        if self.prediction is None:
            return self.head
        layer, count = self.prediction.layer, self.prediction.count
        return replace(layer, name=self.head.name, operators=layer.operators * count + self.head.operators)

    @property
    def copied_parameters(self) -> int:
        """Parameters of the embedding's matrix of which a last pipeline stage needs its own copy: as output matrix,
        where that is tied, or for the tokens of multi-token prediction.
        """
        if self.prediction is not None:
            return self.embedding.sharded_parameters
        return sum(op.weights for op in self.head.operators if isinstance(op, Linear) and op.tied)

    @property
    def has_tokens(self) -> bool:
        """Whether its throughput is in tokens; else in samples."""
        return self.sample_name == "sequence"

    @property
    def layer_types(self) -> tuple[Layer, ...]:
        """The distinct layers, in order of first appearance."""
        return tuple(dict.fromkeys(run.layer for run in self.layer_runs))
