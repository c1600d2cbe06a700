"""What memory-bound operators, and unfused attention, keep for the backward pass, by the kernels that a trainer runs.

Fused (Megatron's, XLA's, those that torch.compile makes): Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1; a
kernel keeps what it reads. torch.compile reaches the same by its partition of least memory (torch 2.13,
functorch/_functorch/partitioners.py, `min_cut_rematerialization_partition`). Launched one by one, each operator keeps
what its own derivative reads (tools/autograd/derivatives.yaml there):

pytorch: `RMSNorm` and attention are kernels; a gated activation is two, and keeps what the first one makes.
transformers: Hugging Face's modules in 16 bit (transformers 4.57, models/llama/modeling_llama.py, `LlamaRMSNorm`): an
RMSNorm keeps a 32-bit copy of its input, and the 16-bit value before its weight; GELU of tanh is a chain
(activations.py, `NewGELUActivation`); softmax is taken in 32 bit, and cast.
autocast: the same modules of 32-bit parameters. Norms and residual stream are of 32 bit, each multiply keeps a 16-bit
copy of its input, and powers are taken in 32 bit (aten/src/ATen/autocast_mode.h).
"""

from __future__ import annotations

from dataclasses import replace

from planner.cost.scenario import Scenario
from planner.trainers.names import KernelStyle
from planner.workload.operators import AttentionCore, ExpertLinear, Linear, Operator, Pointwise
from planner.workload.techniques import LoraModules

_ATTENTION_MULTIPLIES = (
    *("qkv", "q", "kv", "attention_out"),
    *("q_down", "q_up", "kv_down", "kv_up"),
)
_WIDE_BYTES = 4.0
NARROW_BYTES = 1.0
"""Of a value in 8 bit, as attention in 8 bit keeps queries, keys, values and its output (Transformer Engine 2.18,
`FusedAttnFunc` of pytorch/attention/dot_product_attention/backends.py)."""
_MASK_BYTES = 1.0


def get_kernels(scenario: Scenario) -> KernelStyle:
    """The trainer's, where kernels are launched one by one; else as fused ones."""
    return scenario.trainer.kernels if scenario.launch_mode == "eager" else "fused"


def get_residual_bytes(scenario: Scenario) -> float:
    """Bytes of a value of the residual stream: of 32 bit under autocast, whatever is compiled."""
    is_wide = scenario.trainer.kernels == "autocast"
    return max(_WIDE_BYTES, scenario.value_bytes) if is_wide else scenario.value_bytes


def compute_kept_bytes(scenario: Scenario, op: Pointwise) -> float:
    """Bytes that a memory-bound operator keeps of one token, uncut."""
    value_bytes, mask_bytes = scenario.value_bytes, op.width * _MASK_BYTES if op.dropout else 0.0
    match op.kind:
        case "norm" | "head_norm":
            input_bytes = 0.0 if op.shares_input else op.width * _get_norm_input_bytes(scenario, op)
            return input_bytes + compute_chain_bytes(scenario, op)
        case "heads":  # attention reads queries, keys and values in its backward pass
            kept_bytes = NARROW_BYTES if scenario.attention_precision == "fp8" else value_bytes
            return op.kept_width * kept_bytes + compute_chain_bytes(scenario, op)
        case "activation":
            widths = 2 if op.gated else 0 if op.function == "relu" else 1
            input_bytes = NARROW_BYTES if scenario.keeps_narrow_activation_inputs and op.gated else value_bytes
            return widths * op.width * input_bytes + compute_chain_bytes(scenario, op)
        case "residual" | "lookup":  # dropout keeps its mask alone
            return mask_bytes
        case "routing" if op.name == "combine" and get_kernels(scenario) in ("transformers", "autocast"):
            # outputs of experts, before and after they are multiplied by the router's weights and added up
            # (models/mixtral/modeling_mixtral.py)
            return 2 * op.width * value_bytes
        case "routing" | "parameters":  # the backward pass of a copy reads nothing but the gradient
            return 0.0
        case "listed":
            assert op.listed_bytes is not None
            return op.listed_bytes.saved * value_bytes / 2.0


def _get_norm_input_bytes(scenario: Scenario, op: Pointwise) -> float:
    """Of one value of a norm's input as it is kept: the residual stream, or queries and keys."""
    if get_kernels(scenario) == "autocast" and (op.kind == "norm" or op.function == "layernorm"):
        return get_residual_bytes(scenario)
    return scenario.value_bytes


def compute_chain_bytes(scenario: Scenario, op: Pointwise) -> float:
    """Of them those between the kernels of an operator that is more than one, beside its input, uncut."""
    kernels, value_bytes = get_kernels(scenario), scenario.value_bytes
    wide_bytes = max(_WIDE_BYTES, value_bytes)
    if kernels == "fused":
        return 0.0
    is_library, is_autocast = kernels in ("transformers", "autocast"), kernels == "autocast"
    if op.kind in ("norm", "head_norm") and op.function == "rmsnorm" and is_library:
        # the value before the weight; the 32-bit copy of the input stands in the place of the input
        normalized_bytes = wide_bytes if is_autocast and op.kind == "norm" else value_bytes
        return op.width * (wide_bytes - _get_norm_input_bytes(scenario, op) + normalized_bytes)
    if op.kind == "heads" and op.joined and is_library:
        # values are a view of what one multiply makes, which is kept whole beside rotated queries and keys
        return op.width * value_bytes
    if op.kind != "activation":
        return 0.0
    if op.gated:
        return op.width * value_bytes
    if op.function == "gelu-tanh" and is_library:
        # of the cube, the tanh, one more than it and half of the input; the first three in 32 bit under autocast
        chain_bytes = 3.0 * wide_bytes + value_bytes if is_autocast else 4.0 * value_bytes
        return op.width * (chain_bytes - value_bytes)
    if op.function == "quick-gelu" and is_library:
        return op.width * value_bytes
    return 0.0


def is_adapted(op: Operator, modules: LoraModules = "all") -> bool:
    """Whether it gets adapters: every multiply of the layers but the router, not the logits (arXiv 2305.14314); or of
    these the projections of attention.
    """
    is_dense = isinstance(op, Linear) and not op.full_precision
    is_attention = isinstance(op, Linear) and op.name.removeprefix("cross_") in _ATTENTION_MULTIPLIES
    return (is_dense or isinstance(op, ExpertLinear)) and (modules == "all" or is_attention)


def compute_adapter_input_bytes(scenario: Scenario, op: Linear | ExpertLinear) -> float:
    """Bytes that a frozen multiply keeps of one value of its input: what its adapter reads, in 16 bit, and the mask
    of the dropout before it; the gradient of a frozen weight, which would need the input, is not made (Transformer
    Engine 2.18, `backward_needs_input` of pytorch/module/linear.py; torch 2.13, derivatives.yaml, `mm`).
    """
    lora = scenario.techniques.lora
    if lora is None or not is_adapted(op, lora.modules):
        return 0.0
    return scenario.value_bytes + (_MASK_BYTES if lora.dropout else 0.0)


def find_adapted(scenario: Scenario, op: Operator) -> Operator:
    """A multiply with as many parts as have an adapter of their own."""
    if isinstance(op, Linear | ExpertLinear) and not scenario.trainer.adapts_parts:
        return replace(op, parts=1)
    return op


def count_input_copies(scenario: Scenario, op: Linear | ExpertLinear) -> int:
    """Copies of its input that a multiply keeps: under autocast one for each of its parts."""
    return op.parts if get_kernels(scenario) == "autocast" else 1


def compute_pair_bytes(scenario: Scenario, op: AttentionCore) -> float:
    """Bytes that unfused attention keeps of one query and key: the softmax, dropout's mask and what it leaves."""
    value_bytes = scenario.value_bytes
    pair_bytes = value_bytes
    if op.wide_softmax and get_kernels(scenario) in ("transformers", "autocast"):
        pair_bytes += max(_WIDE_BYTES, value_bytes) if value_bytes < _WIDE_BYTES else 0.0
    return pair_bytes + (value_bytes + _MASK_BYTES if op.dropout else 0.0)
