"""The model in torchtitan's module: a preset of torchtitan, or the parts of Llama 3 and Qwen3 with its sizes."""

from __future__ import annotations

from planner.export.run import PlannedRun
from planner.export.text import PythonSource, format_python_call
from planner.trainers.pytorch.torchtitan_models import find_native_flavor
from planner.trainers.rules import runs_on_hopper
from planner.workload.spec import ModelSpec

_DECODER_IMPORTS = """import dataclasses
import os
from functools import partial

{spmd_import}import torch.nn as nn
from torchtitan.models.common import {rope}, Embedding, Linear, RMSNorm, TransformerBlock
from torchtitan.models.common.config_utils import (
    get_attention_config,
    make_ffn_config,
    make_gqa_config,{moe_imports}
)
{gate_imports}from torchtitan.models.{module} import model_registry
from torchtitan.models.{module}.model import {model_class}, {block_class}
{gate_sharding_imports}"""
_MOE_IMPORTS = """
    make_moe_config,
    make_routed_experts_config,
    make_router_config,"""
_GATE_IMPORTS = """from torchtitan.models.common.decoder_sharding import (
    dense_activation_placement,
    dense_param_placement,
    dense_sequence_parallel_placement,
)
from torchtitan.models.common.feed_forward import SigmoidGatedFeedForward
"""
_GATE_SHARDING_IMPORTS = """from torchtitan.protocols.sharding import ShardingConfig
"""
_NATIVE_IMPORTS = """import dataclasses
import os

from torchtitan.models.common import RMSNorm
from torchtitan.models.{module} import model_registry
"""
_DECODER_TEMPLATE = '''
LAYERS, DIM, FFN, VOCABULARY = {layers}, {dim}, {ffn}, {vocabulary}
HEADS, KV_HEADS, HEAD_DIM = {heads}, {kv_heads}, {head_dim}
EPSILON = {epsilon!r}
MATRIX = {{"weight": partial(nn.init.trunc_normal_, std=0.02), "bias": nn.init.zeros_}}


def _norm(size: int) -> RMSNorm.Config:
    return RMSNorm.Config(normalized_shape=size, eps=EPSILON, param_init={{"weight": nn.init.ones_}})

{experts}
def _layer(number: int) -> TransformerBlock.Config:
    attention = make_gqa_config(
        dim=DIM,
        n_heads=HEADS,
        n_kv_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        wqkv_param_init=MATRIX,
        wo_param_init=MATRIX,
        inner_attention=get_attention_config("flex"),
        rope={rope},{qk_norm}
    )
{qkv_bias}    return {block_class}.Config(
        attention_norm=_norm(DIM),
        ffn_norm=_norm(DIM),
        attention=attention,
        {mlp}
    )


def model_spec() -> ModelSpec:
    """The model: the parts of {parts} with these sizes."""
    table = {{"weight": partial(nn.init.normal_, std=1.0)}}
    head = {{"weight": partial(nn.init.trunc_normal_, std=DIM**-0.5), "bias": nn.init.zeros_}}
    model = {built_class}.Config(
        dim=DIM,
        vocab_size=VOCABULARY,{tied}
        tok_embeddings=Embedding.Config(num_embeddings=VOCABULARY, embedding_dim=DIM, param_init=table),
        norm=_norm(DIM),
        lm_head=Linear.Config(in_features=DIM, out_features=VOCABULARY, param_init=head),
        layers=[_layer(number) for number in range(LAYERS)],
    )
    {converted}return dataclasses.replace(model_registry("debugmodel"), flavor="plan", model=model)
'''
_DENSE_MLP = (
    "feed_forward=make_ffn_config(dim=DIM, hidden_dim=FFN, w1_param_init=MATRIX, w2w3_param_init=MATRIX){condition},"
)
_EXPERTS_TEMPLATE = """
def _experts():
    init = partial(nn.init.trunc_normal_, std=0.02)
    return make_moe_config(
        num_experts={experts},
        load_balance_coeff={balance},
        router=make_router_config(
            dim=DIM,
            num_experts={experts},
            gate_param_init=MATRIX,
            top_k={topk},
            score_func="{score}",
            route_norm={normalized},
            route_scale={scaling!r},
            num_expert_groups={groups},
            num_limited_groups={topk_groups},
        ),
        routed_experts=make_routed_experts_config(
            dim=DIM,
            hidden_dim={expert_ffn},
            num_experts={experts},
            top_k={topk},
            param_init={{"w1_EFD": init, "w2_EDF": init, "w3_EFD": init}},
            comm_backend="{backend}",
        ),{shared}
    )

"""
_SHARED_EXPERTS = """
        shared_experts=make_ffn_config(
            dim=DIM, hidden_dim={shared_ffn}, w1_param_init=MATRIX, w2w3_param_init=MATRIX
        ),"""
_GATED_SHARED_EXPERTS = """
        shared_experts=_shared_experts(),"""
_GATE_TEMPLATE = '''
def _shared_experts() -> SigmoidGatedFeedForward.Config:
    """Shared experts times the sigmoid of a gate, as in Qwen3.5."""
    mlp = make_ffn_config(dim=DIM, hidden_dim={shared_ffn}, w1_param_init=MATRIX, w2w3_param_init=MATRIX)
    gate = Linear.Config(in_features=DIM, out_features=1, param_init=MATRIX)
    return SigmoidGatedFeedForward.Config(w1=mlp.w1, w2=mlp.w2, w3=mlp.w3, gate=gate)


class GatedModel({model_class}):
    """{model_class} with a sharded gate (torchtitan/models/qwen3_5/sharding.py)."""

    @dataclasses.dataclass(kw_only=True, slots=True)
    class Config({model_class}.Config):
        def update_from_config(self, *, config, **options) -> None:
            {model_class}.Config.update_from_config(self, config=config, **options)
            for layer in self.layers:
                if layer.moe is not None:
                    layer.moe.shared_experts.gate.sharding_config = ShardingConfig(
                        state_shardings={{"weight": dense_param_placement(tp=spmd.R)}},
                        out_src_shardings=dense_activation_placement(tp=spmd.R),
                        out_dst_shardings=dense_sequence_parallel_placement(),
                    )

'''
_BALANCE_COEFFICIENT = 1e-3
"""The step of the bias that balances experts: torchtitan's default, DeepSeek-V3's rate (arXiv 2412.19437)."""
_NATIVE_MODEL_TEMPLATE = '''

def _set_epsilon(part: object) -> None:
    """Give all norms the epsilon of the model: the preset has torchtitan's default."""
    if isinstance(part, RMSNorm.Config):
        part.eps = {epsilon!r}
    elif isinstance(part, (list, tuple)):
        for item in part:
            _set_epsilon(item)
    elif dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            _set_epsilon(getattr(part, field.name))


def model_spec() -> ModelSpec:
    """The model, a preset of torchtitan."""
    spec = model_registry({flavour!r}, attn_backend="flex"{options})
    _set_epsilon(spec.model)
    return spec
'''
_QK_NORM_ARGUMENT = "\n        qk_norm=_norm(HEAD_DIM),"
_QKV_BIAS_CODE = "    attention.qkv_linear.wq.bias = attention.qkv_linear.wkv.bias = True\n"
PRECISION_CONVERTERS = {
    "fp8": ("Float8LinearConverter", ""),
    "mxfp8": ("MXFP8LinearConverter", ""),
    "nvfp4": ("NVFP4LinearConverter", 'fqns=["layers"], '),
}
"""Classes that convert a model's multiplies, and arguments of their configurations."""


def format_model_imports(run: PlannedRun) -> str:
    """Imports of the standard library and of what the model is built from."""
    native_flavor = find_native_flavor(run.decoder)
    if native_flavor is not None:
        return _NATIVE_IMPORTS.format(module=native_flavor[0])
    return _DECODER_IMPORTS.format(
        **_find_decoder_parts(run.decoder),
        moe_imports=_MOE_IMPORTS if run.decoder.moe is not None else "",
        gate_imports=_GATE_IMPORTS if _has_shared_gate(run.decoder) else "",
        spmd_import="import spmd_types as spmd\n" if _has_shared_gate(run.decoder) else "",
        gate_sharding_imports=_GATE_SHARDING_IMPORTS if _has_shared_gate(run.decoder) else "",
    )


def format_model(run: PlannedRun) -> str:
    """The function `model_spec`, and what it calls."""
    native_flavor = find_native_flavor(run.decoder)
    return _format_decoder(run) if native_flavor is None else _format_native_model(run, native_flavor[1])


def _uses_qwen_blocks(model: ModelSpec) -> bool:
    """Whether layers are Qwen3's, which have experts and norms of queries and keys, and not Llama 3's."""
    return model.moe is not None or model.qk_norm


def _has_shared_gate(model: ModelSpec) -> bool:
    """Whether shared experts have a gate."""
    return model.moe is not None and model.moe.shared_ffn_size > 0 and model.moe.shared_gate


def _find_decoder_parts(model: ModelSpec) -> dict[str, str]:
    """Names of the module and classes that the model is built from. Llama's scaling is in the complex form alone."""
    scales = model.rope_scaling is not None
    if _uses_qwen_blocks(model):
        names = {"module": "qwen3", "model_class": "Qwen3Model", "block_class": "Qwen3TransformerBlock"}
        return {**names, "rope": "ComplexRoPE" if scales else "CosSinRoPE"}
    names = {"module": "llama3", "model_class": "Llama3Model", "block_class": "Llama3TransformerBlock"}
    return {**names, "rope": "ComplexRoPE"}


def _format_converter(run: PlannedRun) -> str:
    if run.precision not in PRECISION_CONVERTERS:
        return ""
    class_name, arguments = PRECISION_CONVERTERS[run.precision]
    if run.settings.fp8_recipe == "rowwise":
        arguments += 'recipe_name="rowwise", '
    return f"{class_name}.Config({arguments}model_compile_enabled={run.launch != 'eager'})"


def _format_decoder(run: PlannedRun) -> str:
    model, converter, parts = run.decoder, _format_converter(run), _find_decoder_parts(run.decoder)
    return "\n" + _DECODER_TEMPLATE.format(
        layers=model.layers,
        dim=model.hidden_size,
        ffn=model.ffn_size,
        vocabulary=model.vocab_size,
        heads=model.heads,
        kv_heads=model.kv_head_count,
        head_dim=model.head_size,
        epsilon=model.norm_epsilon,
        rope=_format_rope(run, parts["rope"]),
        experts=_format_gate(model) + _format_experts(model, _find_exchange_backend(run)),
        mlp=_format_mlp(model),
        qkv_bias=_QKV_BIAS_CODE if model.qkv_bias else "",
        qk_norm=_QK_NORM_ARGUMENT if model.qk_norm else "",
        tied="\n        enable_weight_tying=True," if model.tied_embeddings else "",
        converted=f"model = {converter}.build().convert(model)\n    " if converter else "",
        parts="Qwen3" if _uses_qwen_blocks(model) else "Llama 3",
        built_class="GatedModel" if _has_shared_gate(model) else parts["model_class"],
        block_class=parts["block_class"],
    )


def _format_rope(run: PlannedRun, class_name: str) -> str:
    """Rotary positions, as a call over several lines."""
    scaling = run.decoder.rope_scaling
    arguments: dict[str, object] = {
        "dim": PythonSource("HEAD_DIM"),
        "max_seq_len": run.seq_length,
        "theta": run.decoder.rope_base,
    }
    if scaling is not None:
        arguments |= {
            "scaling": "llama",
            "scaling_factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_seq_length,
        }
    return format_python_call(f"{class_name}.Config", arguments, 2)


def _find_exchange_backend(run: PlannedRun) -> str:
    """What exchanges tokens between the ranks of experts; DeepEP takes no single rank."""
    uses_deepep = run.settings.ep_exchange == "deepep" and run.strategy.ep > 1 and has_deepep(run)
    return "deepep" if uses_deepep else "standard"


def has_deepep(run: PlannedRun) -> bool:
    """Whether DeepEP's kernels run on the accelerator: Hopper, or SM90's PTX (deepseek-ai/DeepEP, README.md)."""
    return runs_on_hopper(run.values)


def _format_gate(model: ModelSpec) -> str:
    """The function that configures shared experts with a gate, and the model that shards it; empty without one."""
    if model.moe is None or not _has_shared_gate(model):
        return ""
    model_class = _find_decoder_parts(model)["model_class"]
    return _GATE_TEMPLATE.format(shared_ffn=model.moe.shared_ffn_size, model_class=model_class)


def _format_experts(model: ModelSpec, backend: str) -> str:
    """The function that configures the experts of a layer; empty without experts."""
    moe = model.moe
    if moe is None:
        return ""
    shared = (
        _GATED_SHARED_EXPERTS if _has_shared_gate(model) else _SHARED_EXPERTS.format(shared_ffn=moe.shared_ffn_size)
    )
    return _EXPERTS_TEMPLATE.format(
        experts=moe.experts,
        balance=_BALANCE_COEFFICIENT if moe.balances_by_bias or moe.aux_loss else None,
        topk=moe.topk,
        score=moe.score_function,
        normalized=moe.normalizes_topk,
        scaling=moe.router_scaling,
        groups=moe.router_groups or None,
        topk_groups=moe.router_topk_groups or None,
        expert_ffn=moe.expert_ffn_size,
        backend=backend,
        shared=shared if moe.shared_ffn_size else "",
    )


def _format_mlp(model: ModelSpec) -> str:
    """Arguments of a layer's configuration: its MLP, or its experts by the layer's number."""
    moe = model.moe
    if moe is None:
        return _DENSE_MLP.format(condition="")
    conditions = [f"number >= {moe.first_dense_layers}"] if moe.first_dense_layers else []
    conditions += [f"(number + 1) % {moe.every} == 0"] if moe.every > 1 else []
    if not conditions:
        return "moe=_experts(),"
    has_experts = " and ".join(conditions)
    dense = _DENSE_MLP.format(condition=f"\n        if not ({has_experts})\n        else None")
    return f"moe=_experts() if {has_experts} else None,\n        {dense}"


def _format_native_model(run: PlannedRun, flavor_name: str) -> str:
    converter, mtp_layers = _format_converter(run), run.decoder.mtp_layers
    options = f', moe_comm_backend="{_find_exchange_backend(run)}"' if run.decoder.moe is not None else ""
    options += f", converters=[{converter}]" if converter else ""
    return _NATIVE_MODEL_TEMPLATE.format(
        flavour=flavor_name,
        options=options + (f", num_mtp_layers={mtp_layers}" if mtp_layers else ""),
        epsilon=run.decoder.norm_epsilon,
    )
