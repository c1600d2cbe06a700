"""torchtitan: a module with its configuration (torchtitan 0.3, `torchtitan.train --module ... --config ...`).

ZeRO 3 and 2 are FSDP2, with and without resharding after the forward pass; hybrid sharding is its replicate degree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.export.run import PlannedRun
from planner.export.text import format_comments
from planner.export.trainer import TrainerExport, describe_plan, format_torchrun_array
from planner.export.trainers.fsdp2 import build_kernel_launch_note, compute_fsdp_mesh
from planner.trainers.torchtitan import TORCHTITAN, find_native_flavor

TORCHTITAN_MODULE = "planned_torchtitan"

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
    if run.settings.communication == "bf16":
        yield "gradients are communicated in fp32, where the plan has bf16: steps are longer"
    yield from build_kernel_launch_note(run)


def _render_module(run: PlannedRun) -> str:
    """The module, with a function `plan` that returns a `Trainer.Config`."""
    native_flavor = find_native_flavor(run.decoder)
    parts = [
        format_comments(describe_plan(run, TORCHTITAN.name)),
        f'"""A plan for torchtitan: torchtitan.train --module {TORCHTITAN_MODULE} --config plan."""\n\n',
        _LLAMA_IMPORTS
        if native_flavor is None
        else f"from torchtitan.models.{native_flavor[0]} import model_registry\n",
        _format_imports(run),
        _format_llama_model(run) if native_flavor is None else _format_native_model(run, native_flavor[1]),
        _format_plan_function(run),
    ]
    return "".join(parts)


def _format_imports(run: PlannedRun) -> str:
    recompute_class = _RECOMPUTE_CLASSES.get(run.strategy.recompute)
    imports = _IMPORTS_TEMPLATE.format(
        more=f"from torchtitan.distributed.activation_checkpoint import {recompute_class}\n"
        if recompute_class
        else ""
    )
    if run.precision in _PRECISION_CONVERTERS:
        imports += f"from torchtitan.components.quantization import {_PRECISION_CONVERTERS[run.precision][0]}\n"
    return imports


def _format_converter(run: PlannedRun) -> str:
    if run.precision not in _PRECISION_CONVERTERS:
        return ""
    class_name, arguments = _PRECISION_CONVERTERS[run.precision]
    return f"{class_name}.Config({arguments}model_compile_enabled={run.launch != 'eager'})"


def _format_llama_model(run: PlannedRun) -> str:
    model, converter = run.decoder, _format_converter(run)
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
    recompute_class = _RECOMPUTE_CLASSES.get(run.strategy.recompute)
    overlap = ", enable_async_tensor_parallel=True" if run.overlaps_tp else ""
    return _PLAN_TEMPLATE.format(
        training=_format_keyword_lines(_build_training_config(run)),
        parallelism=_format_keyword_lines(_build_parallelism_config(run)),
        recompute=f"{recompute_class}.Config()" if recompute_class else "None",
        compile=f"enable={run.launch != 'eager' or run.overlaps_tp}{overlap}",
    )


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


TRAINER = TrainerExport(
    TORCHTITAN,
    lambda run: format_torchrun_array(run) + _LAUNCH_COMMAND,
    lambda run: {f"{TORCHTITAN_MODULE}.py": _render_module(run)},
    build_notes=_build_notes,
)
