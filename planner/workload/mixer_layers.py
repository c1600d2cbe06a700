"""Operators of what mixes tokens beside attention: gated delta nets, state spaces, short convolutions, lightning
attention. Each is the branch between a layer's norm and its residual.
"""

from __future__ import annotations

from planner.workload.attention_layers import build_attention_branch
from planner.workload.mixers import DeltaNetSpec, LightningSpec, ShortConvSpec, StateSpaceSpec
from planner.workload.operators import Linear, Operator, Pointwise, Scan, ShortConvolution
from planner.workload.spec import ModelSpec


def build_mixer_branch(spec: ModelSpec) -> list[Operator]:
    """The operators of the layer's mixer, from its projection of the input to that of the output."""
    match spec.mixer:
        case "delta-net":
            assert spec.delta_net is not None
            return _build_delta_net(spec, spec.delta_net)
        case "mamba-2":
            assert spec.state_space is not None
            return _build_mamba_2(spec, spec.state_space)
        case "mamba":
            assert spec.state_space is not None
            return _build_mamba(spec, spec.state_space)
        case "attention+mamba-2":
            assert spec.state_space is not None
            # both read the same norm, and their outputs are added up (Falcon-H1)
            return [*build_attention_branch(spec, is_causal=True), *_build_mamba_2(spec, spec.state_space)]
        case "short-conv":
            assert spec.short_conv is not None
            return _build_short_conv(spec, spec.short_conv)
        case "lightning":
            assert spec.lightning is not None
            return _build_lightning(spec, spec.lightning)
        case _:
            return build_attention_branch(spec, is_causal=True)


def _build_delta_net(spec: ModelSpec, net: DeltaNetSpec) -> list[Operator]:
    """Projections of queries, keys, values, gate, decay and step; the convolution; the rule; a gated norm."""
    hidden, key_width, value_width = spec.hidden_size, net.key_width, net.value_width
    conv_width = 2 * key_width + value_width
    decay_width = net.value_heads if net.decay == "head" else net.value_heads * net.key_dim
    gate_width = 0 if net.gate_rank else value_width
    decay_outputs = 0 if net.decay_rank else decay_width
    operators: list[Operator] = [
        Linear(
            "delta_in",
            hidden,
            conv_width + gate_width + net.value_heads + decay_outputs,
            "column",
            parts=4,
        )
    ]
    for name, rank, width in (("decay", net.decay_rank, decay_width), ("gate", net.gate_rank, value_width)):
        if rank:
            operators += [
                Linear(f"delta_{name}_down", hidden, rank, "none", saves_input=False),
                Linear(f"delta_{name}_up", rank, width, "column"),
            ]
    scan = Scan(
        *("delta_rule", "delta", net.value_heads, net.key_heads, net.key_dim, net.value_dim, net.chunk),
        sharded_parameters=net.value_heads + decay_width,
    )
    return [
        *operators,
        ShortConvolution("delta_conv", conv_width, net.conv_kernel),
        Pointwise("delta_heads", "heads", 2 * key_width, "tensor", kept_width=conv_width, composite=True),
        scan,
        Pointwise(
            *("delta_norm", "head_norm", value_width, "tensor", 0, net.value_dim), function="rmsnorm", composite=True
        ),
        Pointwise("delta_gate", "activation", value_width, "tensor", gated=True, function="silu", composite=True),
        Linear("delta_out", value_width, hidden, "row"),
    ]


def _build_mamba_2(spec: ModelSpec, space: StateSpaceSpec) -> list[Operator]:
    """One projection to gate, values, inputs and outputs of the state and step sizes; the convolution; the SSD."""
    hidden, inner, heads = spec.hidden_size, space.inner_size, space.heads
    group_width = 2 * space.groups * space.state_size
    operators: list[Operator] = [
        Linear("ssm_in", hidden, 2 * inner + group_width + heads, "column", bias=space.bias),
        ShortConvolution("ssm_conv", inner + group_width, space.conv_kernel, space.conv_bias),
        Pointwise("ssm_heads", "heads", 0, "tensor", kept_width=inner + group_width + heads, composite=True),
        Scan(
            *("ssm_scan", "state-space", heads, space.groups, space.state_size, inner // heads, space.chunk),
            # decay, step size and the weight of the input, one of each a head
            sharded_parameters=3 * heads,
        ),
        Pointwise("ssm_gate", "activation", inner, "tensor", gated=True, function="silu", composite=True),
    ]
    if space.gated_norm:
        norm = Pointwise("ssm_norm", "head_norm", inner, "tensor", inner, function="rmsnorm", composite=True)
        operators.append(norm)
    return [*operators, Linear("ssm_out", inner, hidden, "row", bias=space.bias)]


def _build_mamba(spec: ModelSpec, space: StateSpaceSpec) -> list[Operator]:
    """Two projections of the input, one convolved; step sizes, inputs and outputs of the state made of it."""
    hidden, inner, state, rank = spec.hidden_size, space.inner_size, space.state_size, space.dt_rank
    normed_width = rank + 2 * state if space.inner_norms else 0
    operators: list[Operator] = [
        Linear("ssm_in", hidden, 2 * inner, "column", bias=space.bias, parts=2),
        ShortConvolution("ssm_conv", inner, space.conv_kernel, space.conv_bias),
        Linear("ssm_x", inner, rank + 2 * state, "row"),
    ]
    if normed_width:
        norm = Pointwise("ssm_inner_norm", "head_norm", normed_width, "sequence", 0, normed_width, function="rmsnorm")
        operators.append(norm)
    return [
        *operators,
        Linear("ssm_dt", rank, inner, "column", bias=True),
        Pointwise("ssm_heads", "heads", 0, "tensor", kept_width=2 * inner, composite=True),
        Scan(
            *("ssm_scan", "selective", inner, inner, state, 1, 1),
            # decays of each state, and the weight of the input
            sharded_parameters=inner * state + inner,
        ),
        Pointwise("ssm_gate", "activation", inner, "tensor", gated=True, function="silu", composite=True),
        Linear("ssm_out", inner, hidden, "row", bias=space.bias),
    ]


def _build_short_conv(spec: ModelSpec, conv: ShortConvSpec) -> list[Operator]:
    """Two gates and values; values times the first gate, convolved, times the second."""
    hidden = spec.hidden_size
    return [
        Linear("conv_in", hidden, 3 * hidden, "column", bias=conv.bias, parts=1),
        Pointwise("conv_gate_in", "activation", hidden, "tensor", gated=True, function="sigmoid"),
        ShortConvolution("conv", hidden, conv.kernel, conv.bias),
        Pointwise("conv_gate_out", "activation", hidden, "tensor", gated=True, function="sigmoid"),
        Linear("conv_out", hidden, hidden, "row", bias=conv.bias),
    ]


def _build_lightning(spec: ModelSpec, lightning: LightningSpec) -> list[Operator]:
    """Queries, keys and values of linear attention; a norm of its output, times a gate made of the input."""
    hidden, width = spec.hidden_size, spec.heads * spec.head_size
    head_dim = spec.head_size
    return [
        Linear("lightning_in", hidden, 4 * width, "column", parts=2),
        Pointwise("lightning_heads", "heads", 0, "tensor", kept_width=3 * width, composite=True),
        Scan("lightning", "lightning", spec.heads, spec.heads, head_dim, head_dim, lightning.chunk),
        Pointwise("lightning_norm", "head_norm", width, "tensor", width, function="rmsnorm", composite=True),
        Pointwise("lightning_gate", "activation", width, "tensor", gated=True, function="sigmoid", composite=True),
        Linear("lightning_out", width, hidden, "row"),
    ]
