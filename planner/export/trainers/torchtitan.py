"""torchtitan: a module with its configuration (torchtitan 0.3, `torchtitan.train --module ... --config ...`).

ZeRO 3 and 2 are FSDP2, with and without resharding after the forward pass; hybrid sharding is its replicate degree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.export.run import PlannedRun
from planner.export.text import PythonSource, format_comments, format_python_call
from planner.export.trainer import TrainerExport, describe_plan, format_torchrun_array
from planner.export.trainers.fsdp2 import build_kernel_launch_note, compute_fsdp_mesh
from planner.trainers.pytorch.torchtitan import TORCHTITAN, find_native_flavor
from planner.trainers.rules import has_narrow_parameters, runs_on_hopper
from planner.trainers.trainer import LOSS_CHUNKS
from planner.workload.spec import ModelSpec, MoeSpec

TORCHTITAN_MODULE = "planned_torchtitan"

_SCHEDULE_NAMES = {
    "1f1b": ("1F1B", "Interleaved1F1B"),
    "zero-bubble": ("InterleavedZeroBubble",) * 2,
    "gpipe": ("GPipe", "LoopedBFS"),
    "zb-v": ("ZBVZeroBubble",) * 2,
    "dualpipe-v": ("DualPipeV",) * 2,
}
"""Schedules with a single chunk per stage, and with several. PyTorch's interleaved zero bubble with one chunk is ZB1P
(arXiv 2401.10241)."""

_DECODER_IMPORTS = """import dataclasses
import os
from functools import partial

import torch.nn as nn
from torchtitan.models.common import {rope}, Embedding, Linear, RMSNorm, TransformerBlock
from torchtitan.models.common.config_utils import (
    get_attention_config,
    make_ffn_config,
    make_gqa_config,{moe_imports}
)
from torchtitan.models.{module} import model_registry
from torchtitan.models.{module}.model import {model_class}, {block_class}
"""
_MOE_IMPORTS = """
    make_moe_config,
    make_routed_experts_config,
    make_router_config,"""
_IMPORTS_TEMPLATE = """from torchtitan.components.checkpoint import CheckpointManager
from torchtitan.components.loss import {losses}
from torchtitan.components.optimizer import default_adamw
from torchtitan.config import CompileConfig, ParallelismConfig, TrainingConfig
{more}from torchtitan.hf_datasets.text_datasets import HuggingFaceTextDataLoader
from torchtitan.models.common.config_utils import decoder_vocab_size
from torchtitan.protocols.model_spec import ModelSpec
from torchtitan.trainer import Trainer
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
    model = {model_class}.Config(
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
_PLAN_TEMPLATE = '''

def plan() -> Trainer.Config:
    """The plan as torchtitan's configuration; options of its command line change it."""
    spec = model_spec()
    return Trainer.Config(
        model_spec=spec,
        training=TrainingConfig(
            {training}
        ),
        parallelism=ParallelismConfig(
            {parallelism}
        ),
        activation_checkpoint={recompute},
        compile=CompileConfig({compile}),
        # the plan does not determine these: choose them
        hf_assets_path="./assets/hf",
        loss={loss},
        optimizer={optimizer},
        dataloader=HuggingFaceTextDataLoader.Config(dataset="c4"),
        checkpoint=CheckpointManager.Config(
            enable=True,
            interval={checkpoint_steps},
            folder=os.environ.get("CHECKPOINTS", "checkpoints"),
        ),
    )
'''
_QK_NORM_ARGUMENT = "\n        qk_norm=_norm(HEAD_DIM),"
_QKV_BIAS_CODE = "    attention.qkv_linear.wq.bias = attention.qkv_linear.wkv.bias = True\n"
_PLAIN_LOSS = "CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(spec))"
_CHUNKED_LOSS = f"""ChunkedLossWrapper.Config(
            num_chunks={LOSS_CHUNKS},
            loss_fn={_PLAIN_LOSS},
        )"""
_MTP_LOSS = "MTPLoss.Config(global_vocab_size=decoder_vocab_size(spec))"
_RECOMPUTE_CLASSES = {"selective": "SelectiveAC", "full": "FullAC"}
_PRECISION_CONVERTERS = {
    "fp8": ("Float8LinearConverter", ""),
    "mxfp8": ("MXFP8LinearConverter", ""),
    "nvfp4": ("NVFP4LinearConverter", 'fqns=["layers"], '),
}
"""Classes that convert a model's multiplies, and arguments of their configurations."""
_LAUNCH_COMMAND = f"""export PYTHONPATH="$here${{PYTHONPATH:+:$PYTHONPATH}}"
exec "${{torchrun[@]}}" -m torchtitan.train --module {TORCHTITAN_MODULE} --config plan "$@"
"""


def _build_notes(run: PlannedRun) -> Iterator[str]:
    model = run.decoder
    if run.settings.communication == "bf16":
        yield "gradients are communicated in fp32, where the plan has bf16: steps are longer"
    if run.settings.fp8_recipe == "tensorwise":
        yield "torchtitan scales FP8 rowwise, where the plan has tensorwise: steps are longer"
    if run.strategy.ep > 1 and run.settings.ep_exchange == "deepep" and not _has_deepep(run):
        yield (
            "DeepEP needs NVIDIA's GPUs from Hopper on: a copy of a token is sent to each of its experts, where the "
            "plan has ep_exchange deepep: steps are longer"
        )
    if model.moe is not None and model.moe.aux_loss:
        yield (
            f"torchtitan has no loss that balances experts (coefficient {model.moe.aux_loss:g}): a bias of the "
            "choice balances them"
        )
    yield from build_kernel_launch_note(run)


def _uses_qwen_blocks(model: ModelSpec) -> bool:
    """Whether layers are Qwen3's, which have experts and norms of queries and keys, and not Llama 3's."""
    return model.moe is not None or model.qk_norm


def _render_module(run: PlannedRun) -> str:
    """The module, with a function `plan` that returns a `Trainer.Config`."""
    native_flavor = find_native_flavor(run.decoder)
    parts = [
        format_comments(describe_plan(run, TORCHTITAN.name)),
        f'"""A plan for torchtitan: torchtitan.train --module {TORCHTITAN_MODULE} --config plan."""\n\n',
        _format_decoder_imports(run.decoder)
        if native_flavor is None
        else "import dataclasses\nimport os\n\nfrom torchtitan.models.common import RMSNorm\n"
        f"from torchtitan.models.{native_flavor[0]} import model_registry\n",
        _format_imports(run),
        _format_decoder(run) if native_flavor is None else _format_native_model(run, native_flavor[1]),
        _format_plan_function(run),
    ]
    return "".join(parts)


def _find_decoder_parts(model: ModelSpec) -> dict[str, str]:
    """Names of the module and classes that the model is built from. Llama's scaling is in the complex form alone."""
    scales = model.rope_scaling is not None
    if _uses_qwen_blocks(model):
        names = {"module": "qwen3", "model_class": "Qwen3Model", "block_class": "Qwen3TransformerBlock"}
        return {**names, "rope": "ComplexRoPE" if scales else "CosSinRoPE"}
    names = {"module": "llama3", "model_class": "Llama3Model", "block_class": "Llama3TransformerBlock"}
    return {**names, "rope": "ComplexRoPE"}


def _format_decoder_imports(model: ModelSpec) -> str:
    return _DECODER_IMPORTS.format(
        **_find_decoder_parts(model), moe_imports=_MOE_IMPORTS if model.moe is not None else ""
    )


def _format_imports(run: PlannedRun) -> str:
    recompute_class = _RECOMPUTE_CLASSES.get(run.strategy.recompute)
    imports = _IMPORTS_TEMPLATE.format(
        losses="ChunkedLossWrapper, CrossEntropyLoss" if run.settings.loss == "chunked" else "CrossEntropyLoss",
        more=f"from torchtitan.distributed.activation_checkpoint import {recompute_class}\n"
        if recompute_class
        else "",
    )
    if run.decoder.mtp_layers:
        imports += "from torchtitan.models.deepseek_v3.mtp import MTPLoss\n"
    if run.precision in _PRECISION_CONVERTERS:
        imports += f"from torchtitan.components.quantization import {_PRECISION_CONVERTERS[run.precision][0]}\n"
    return imports


def _format_converter(run: PlannedRun) -> str:
    if run.precision not in _PRECISION_CONVERTERS:
        return ""
    class_name, arguments = _PRECISION_CONVERTERS[run.precision]
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
        experts=_format_experts(model.moe, _find_exchange_backend(run)) if model.moe is not None else "",
        mlp=_format_mlp(model),
        qkv_bias=_QKV_BIAS_CODE if model.qkv_bias else "",
        qk_norm=_QK_NORM_ARGUMENT if model.qk_norm else "",
        tied="\n        enable_weight_tying=True," if model.tied_embeddings else "",
        converted=f"model = {converter}.build().convert(model)\n    " if converter else "",
        parts="Qwen3" if _uses_qwen_blocks(model) else "Llama 3",
        model_class=parts["model_class"],
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
    uses_deepep = run.settings.ep_exchange == "deepep" and run.strategy.ep > 1 and _has_deepep(run)
    return "deepep" if uses_deepep else "standard"


def _has_deepep(run: PlannedRun) -> bool:
    """Whether DeepEP's kernels run on the accelerator: compute capability 9.0 (deepseek-ai/DeepEP, README.md)."""
    return runs_on_hopper(run.values)


def _format_experts(moe: MoeSpec, backend: str) -> str:
    """The function that configures the experts of a layer."""
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
        shared=_SHARED_EXPERTS.format(shared_ffn=moe.shared_ffn_size) if moe.shared_ffn_size else "",
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


def _format_plan_function(run: PlannedRun) -> str:
    recompute_class = _RECOMPUTE_CLASSES.get(run.strategy.recompute)
    chunked_or_plain_loss = _CHUNKED_LOSS if run.settings.loss == "chunked" else _PLAIN_LOSS
    return _PLAN_TEMPLATE.format(
        checkpoint_steps=run.checkpoint_steps,
        loss=_MTP_LOSS if run.decoder.mtp_layers else chunked_or_plain_loss,
        optimizer=_format_optimizer(run),
        training=_format_keyword_lines(_build_training_config(run)),
        parallelism=_format_keyword_lines(_build_parallelism_config(run)),
        recompute=f"{recompute_class}.Config()" if recompute_class else "None",
        compile=_format_compile_arguments(run),
    )


def _format_optimizer(run: PlannedRun) -> str:
    """AdamW. Moments have the format of the parameters, but for those of 16 bits beside parameters of 32."""
    has_narrow_moments = run.settings.moments == "bf16" and not has_narrow_parameters(run.values)
    adamw = "default_adamw(lr=3e-4)"
    return f'dataclasses.replace({adamw}, implementation="fused_opt_states_bf16")' if has_narrow_moments else adamw


def _format_compile_arguments(run: PlannedRun) -> str:
    """What is compiled: layers, and the loss; a chunk of the loss is where the layers are."""
    compiles_layers = run.launch != "eager" or run.overlaps_tp
    compiles_loss = run.settings.loss == "compiled" or (run.settings.loss == "chunked" and run.launch != "eager")
    components = ["model"] * compiles_layers + ["loss"] * compiles_loss
    overlap = ", enable_async_tensor_parallel=True" if run.overlaps_tp else ""
    return f"enable=True, components={components}{overlap}" if components else "enable=False"


def _format_keyword_lines(fields: Mapping[str, object]) -> str:
    return "\n            ".join(f"{name}={value!r}," for name, value in fields.items())


def _build_training_config(run: PlannedRun) -> dict[str, object]:
    strategy = run.strategy
    # a pipeline takes all micro-batches of a step at once; else gradients are accumulated
    local_batch = run.global_batch // strategy.dp if strategy.pp > 1 else strategy.micro_batch
    return {
        "local_batch_size": local_batch,
        "global_batch_size": run.global_batch,
        "seq_len": run.seq_length,
        "steps": run.steps,
        "enable_cpu_offload": bool(run.settings.offload),
        "disable_cuda_graphs": run.launch != "graph",
        "dtype": "bfloat16" if has_narrow_parameters(run.values) else "float32",
        "mixed_precision_param": "float32" if run.precision == "fp32" else "bfloat16",
        "mixed_precision_reduce": "float32",
    }


def _build_parallelism_config(run: PlannedRun) -> dict[str, object]:
    """Sizes of the mesh; FSDP shards over dp_shard x cp."""
    strategy, (replicas, shards) = run.strategy, compute_fsdp_mesh(run)
    config: dict[str, object] = {
        "data_parallel_replicate_degree": replicas,
        "data_parallel_shard_degree": shards,
        "fsdp_reshard_after_forward": _find_reshard_policy(run),
        "tensor_parallel_degree": strategy.tp,
        "enable_sequence_parallel": strategy.sequence_parallel,
        "context_parallel_degree": strategy.cp,
        "expert_parallel_degree": strategy.ep,
        "pipeline_parallel_degree": strategy.pp,
    }
    if strategy.cp > 1:
        config["context_parallel_load_balancer"] = "ptrr"
    if strategy.pp > 1:
        config["pipeline_parallel_schedule"] = _SCHEDULE_NAMES[run.settings.schedule][strategy.vpp > 1]
        config["pipeline_parallel_microbatch_size"] = strategy.micro_batch
        config["module_fqns_per_model_part"] = _list_chunk_modules(run)
    return config


def _find_reshard_policy(run: PlannedRun) -> str:
    """ZeRO 2 never frees gathered weights. The default does but for the last layers, and never in a pipeline
    (torchtitan/distributed/fsdp.py, `get_fsdp_reshard_after_forward_policy`).
    """
    if run.strategy.zero_stage < 3:
        return "never"
    return "always" if run.settings.reshard == "default" and run.strategy.pp > 1 else run.settings.reshard


def _list_chunk_modules(run: PlannedRun) -> list[list[str]]:
    """The names of the modules in each chunk."""
    chunk_modules, first_layer = [], 0
    for count in run.chunk_layers:
        chunk_modules.append([f"layers.{i}" for i in range(first_layer, first_layer + count)])
        first_layer += count
    chunk_modules[0].insert(0, "tok_embeddings")
    chunk_modules[-1] += ["norm", "lm_head"]
    return chunk_modules


TRAINER = TrainerExport(
    TORCHTITAN,
    lambda run: format_torchrun_array(run) + _LAUNCH_COMMAND,
    lambda run: {f"{TORCHTITAN_MODULE}.py": _render_module(run)},
    build_notes=_build_notes,
)
