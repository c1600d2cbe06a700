"""The text of torchtitan's module: a function `plan` that returns a `Trainer.Config`."""

from __future__ import annotations

from functools import cache

from planner.export.fsdp import compute_fsdp_mesh
from planner.export.run import PlannedRun
from planner.export.shell import describe_plan, format_comments
from planner.workload.presets import read_transformer_preset
from planner.workload.spec import ModelSpec

TORCHTITAN_MODULE = "planned_torchtitan"

_NATIVE_FLAVORS = {
    "qwen3-30b-a3b": ("qwen3", "30B-A3B"),
    "qwen3-235b-a22b": ("qwen3", "235B-A22B"),
    "deepseek-v3": ("deepseek_v3", "671B"),
    "gpt-oss-20b": ("gpt_oss", "20b"),
    "gpt-oss-120b": ("gpt_oss", "120b"),
}
"""Model presets that torchtitan has too, by module and flavour."""
_IGNORED_FIELDS = ("name", "title", "seq_length", "published")
_SCHEDULE_NAMES = {"1f1b": ("1F1B", "Interleaved1F1B"), "zero-bubble": ("InterleavedZeroBubble",) * 2}
"""Schedules with a single chunk per stage, and with several. PyTorch's interleaved zero bubble with one chunk is ZB1P
(arXiv 2401.10241)."""

_LLAMA_IMPORTS = """import dataclasses
from functools import partial

import torch.nn as nn
from torchtitan.models.common import ComplexRoPE, Embedding, Linear, RMSNorm
from torchtitan.models.common.config_utils import get_attention_config, make_ffn_config, make_gqa_config
from torchtitan.models.llama3 import model_registry
from torchtitan.models.llama3.model import Llama3Model, Llama3TransformerBlock
"""
_IMPORTS_TEMPLATE = """from torchtitan.components.checkpoint import CheckpointManager
from torchtitan.components.loss import ChunkedLossWrapper, CrossEntropyLoss
from torchtitan.components.optimizer import default_adamw
from torchtitan.config import CompileConfig, ParallelismConfig, TrainingConfig
{more}from torchtitan.hf_datasets.text_datasets import HuggingFaceTextDataLoader
from torchtitan.models.common.config_utils import decoder_vocab_size
from torchtitan.protocols.model_spec import ModelSpec
from torchtitan.trainer import Trainer
"""
_LLAMA_TEMPLATE = '''
LAYERS, DIM, FFN, VOCABULARY = {layers}, {dim}, {ffn}, {vocabulary}
HEADS, KV_HEADS, HEAD_DIM = {heads}, {kv_heads}, {head_dim}


def _layer() -> Llama3TransformerBlock.Config:
    matrix = {{"weight": partial(nn.init.trunc_normal_, std=0.02), "bias": nn.init.zeros_}}
    norm = {{"weight": nn.init.ones_}}
    return Llama3TransformerBlock.Config(
        attention_norm=RMSNorm.Config(normalized_shape=DIM, param_init=norm),
        ffn_norm=RMSNorm.Config(normalized_shape=DIM, param_init=norm),
        attention=make_gqa_config(
            dim=DIM,
            n_heads=HEADS,
            n_kv_heads=KV_HEADS,
            head_dim=HEAD_DIM,
            wqkv_param_init=matrix,
            wo_param_init=matrix,
            inner_attention=get_attention_config("flex"),
            rope=ComplexRoPE.Config(dim=HEAD_DIM, max_seq_len={length}, theta=500000),{qk_norm}
        ),
        feed_forward=make_ffn_config(
            dim=DIM, hidden_dim=FFN, w1_param_init=matrix, w2w3_param_init=matrix
        ),
    )


def model_spec() -> ModelSpec:
    """The model: the parts of Llama with these sizes."""
    table = {{"weight": partial(nn.init.normal_, std=1.0)}}
    head = {{"weight": partial(nn.init.trunc_normal_, std=DIM**-0.5), "bias": nn.init.zeros_}}
    model = Llama3Model.Config(
        dim=DIM,
        vocab_size=VOCABULARY,{tied}
        tok_embeddings=Embedding.Config(num_embeddings=VOCABULARY, embedding_dim=DIM, param_init=table),
        norm=RMSNorm.Config(normalized_shape=DIM, param_init={{"weight": nn.init.ones_}}),
        lm_head=Linear.Config(in_features=DIM, out_features=VOCABULARY, param_init=head),
        layers=[_layer() for _ in range(LAYERS)],
    )
    {converted}return dataclasses.replace(model_registry("debugmodel"), flavor="plan", model=model)
'''
_NATIVE_MODEL_TEMPLATE = '''

def model_spec() -> ModelSpec:
    """The model, a preset of torchtitan."""
    return model_registry({flavour!r}, attn_backend="flex"{converters})
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
        loss=ChunkedLossWrapper.Config(
            loss_fn=CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(spec))
        ),
        optimizer=default_adamw(lr=3e-4),
        dataloader=HuggingFaceTextDataLoader.Config(dataset="c4"),
        checkpoint=CheckpointManager.Config(interval=500),
    )
'''
_QK_NORM_ARGUMENT = "\n            qk_norm=RMSNorm.Config(normalized_shape=HEAD_DIM, param_init=norm),"
_PRECISION_CONVERTERS = {
    "fp8": ("Float8LinearConverter", "Float8LinearConverter.Config(model_compile_enabled={compiled})"),
    "mxfp8": ("MXFP8LinearConverter", "MXFP8LinearConverter.Config(model_compile_enabled={compiled})"),
    "nvfp4": (
        "NVFP4LinearConverter",
        'NVFP4LinearConverter.Config(fqns=["layers"], model_compile_enabled={compiled})',
    ),
}


@cache
def _load_native_presets() -> tuple[tuple[ModelSpec, tuple[str, str]], ...]:
    return tuple(
        (read_transformer_preset(name), module_and_flavor) for name, module_and_flavor in _NATIVE_FLAVORS.items()
    )


def find_native_flavor(model: ModelSpec) -> tuple[str, str] | None:
    """Torchtitan's module and flavour for this model, if there is one."""
    fields = [name for name in ModelSpec.__struct_fields__ if name not in _IGNORED_FIELDS]
    for preset, module_and_flavor in _load_native_presets():
        if all(getattr(model, name) == getattr(preset, name) for name in fields):
            return module_and_flavor
    return None


def render_torchtitan_module(run: PlannedRun) -> str:
    """The whole file."""
    assert run.model is not None
    native_flavor = find_native_flavor(run.model)
    parts = [format_comments(describe_plan(run, "torchtitan"))]
    parts.append(f'"""A plan for torchtitan: torchtitan.train --module {TORCHTITAN_MODULE} --config plan."""\n\n')
    parts.append(_format_imports(run, native_flavor))
    parts.append(
        _format_llama_model(run, run.model) if native_flavor is None else _format_native_model(run, native_flavor[1])
    )
    parts.append(_format_plan_function(run))
    return "".join(parts)


def _format_imports(run: PlannedRun, native_flavor: tuple[str, str] | None) -> str:
    recompute_classes = {"selective": "SelectiveAC", "full": "FullAC"}
    recompute_import = ""
    if run.strategy.recompute in recompute_classes:
        class_name = recompute_classes[run.strategy.recompute]
        recompute_import = f"from torchtitan.distributed.activation_checkpoint import {class_name}\n"
    import_lines = _IMPORTS_TEMPLATE.format(more=recompute_import)
    if run.precision in _PRECISION_CONVERTERS:
        import_lines += f"from torchtitan.components.quantization import {_PRECISION_CONVERTERS[run.precision][0]}\n"
    if native_flavor is None:
        return _LLAMA_IMPORTS + import_lines
    return f"from torchtitan.models.{native_flavor[0]} import model_registry\n{import_lines}"


def _format_converter(run: PlannedRun) -> str:
    if run.precision not in _PRECISION_CONVERTERS:
        return ""
    return _PRECISION_CONVERTERS[run.precision][1].format(compiled=run.launch != "eager")


def _format_llama_model(run: PlannedRun, model: ModelSpec) -> str:
    converter = _format_converter(run)
    return "\n" + _LLAMA_TEMPLATE.format(
        layers=model.layers,
        dim=model.hidden_size,
        ffn=model.ffn_size,
        vocabulary=model.vocab_size,
        heads=model.heads,
        kv_heads=model.kv_head_count,
        head_dim=model.head_size,
        length=run.seq_length,
        qk_norm=_QK_NORM_ARGUMENT if model.qk_norm else "",
        tied="\n        enable_weight_tying=True," if model.tied_embeddings else "",
        converted=f"model = {converter}.build().convert(model)\n    " if converter else "",
    )


def _format_native_model(run: PlannedRun, flavor_name: str) -> str:
    converter = _format_converter(run)
    return _NATIVE_MODEL_TEMPLATE.format(
        flavour=flavor_name, converters=f", converters=[{converter}]" if converter else ""
    )


def _format_plan_function(run: PlannedRun) -> str:
    recompute_configs = {"none": "None", "selective": "SelectiveAC.Config()", "full": "FullAC.Config()"}
    is_compiled = run.launch != "eager"
    overlap = ", enable_async_tensor_parallel=True" if run.settings.tp_overlap and run.strategy.tp > 1 else ""
    return _PLAN_TEMPLATE.format(
        training=_format_keyword_lines(_build_training_config(run)),
        parallelism=_format_keyword_lines(_build_parallelism_config(run)),
        recompute=recompute_configs[run.strategy.recompute],
        compile=f"enable={is_compiled or bool(overlap)}{overlap}",
    )


def _format_keyword_lines(fields: dict[str, object]) -> str:
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
        "mixed_precision_param": "float32" if run.precision == "fp32" else "bfloat16",
        "mixed_precision_reduce": "float32",
    }


def _build_parallelism_config(run: PlannedRun) -> dict[str, object]:
    """Sizes of the mesh; FSDP shards over dp_shard x cp."""
    strategy, (replicas, shards) = run.strategy, compute_fsdp_mesh(run)
    config: dict[str, object] = {
        "data_parallel_replicate_degree": replicas,
        "data_parallel_shard_degree": shards,
        "fsdp_reshard_after_forward": "always" if strategy.zero_stage == 3 else "never",
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


def _list_chunk_modules(run: PlannedRun) -> list[list[str]]:
    """The names of the modules in each chunk."""
    chunk_modules, first_layer = [], 0
    for count in run.chunk_layers:
        chunk_modules.append([f"layers.{i}" for i in range(first_layer, first_layer + count)])
        first_layer += count
    chunk_modules[0].insert(0, "tok_embeddings")
    chunk_modules[-1] += ["norm", "lm_head"]
    return chunk_modules
