"""The text of torchtitan's module: a function `plan` that returns a `Trainer.Config`."""

from __future__ import annotations

from functools import cache

from planner.export.fsdp import mesh
from planner.export.run import Run
from planner.export.shell import about_plan, comments
from planner.workload.presets import transformer_preset
from planner.workload.spec import ModelSpec

MODULE = "planned_torchtitan"

_FLAVOURS = {
    "qwen3-30b-a3b": ("qwen3", "30B-A3B"),
    "qwen3-235b-a22b": ("qwen3", "235B-A22B"),
    "deepseek-v3": ("deepseek_v3", "671B"),
    "gpt-oss-20b": ("gpt_oss", "20b"),
    "gpt-oss-120b": ("gpt_oss", "120b"),
}
"""Presets that torchtitan has as well, by module and flavour."""
_NAMES = ("name", "title", "seq_length", "published")
_SCHEDULES = {"1f1b": ("1F1B", "Interleaved1F1B"), "zero-bubble": ("InterleavedZeroBubble",) * 2}
"""Without and with several chunks a stage. PyTorch's interleaved zero bubble with one is ZB1P (arXiv 2401.10241)."""

_LLAMA_IMPORTS = """import dataclasses
from functools import partial

import torch.nn as nn
from torchtitan.models.common import ComplexRoPE, Embedding, Linear, RMSNorm
from torchtitan.models.common.config_utils import get_attention_config, make_ffn_config, make_gqa_config
from torchtitan.models.llama3 import model_registry
from torchtitan.models.llama3.model import Llama3Model, Llama3TransformerBlock
"""
_IMPORTS = """from torchtitan.components.checkpoint import CheckpointManager
from torchtitan.components.loss import ChunkedLossWrapper, CrossEntropyLoss
from torchtitan.components.optimizer import default_adamw
from torchtitan.config import CompileConfig, ParallelismConfig, TrainingConfig
{more}from torchtitan.hf_datasets.text_datasets import HuggingFaceTextDataLoader
from torchtitan.models.common.config_utils import decoder_vocab_size
from torchtitan.protocols.model_spec import ModelSpec
from torchtitan.trainer import Trainer
"""
_LLAMA = '''
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
    """The model: Llama's parts in this shape."""
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
_OWN = '''

def model_spec() -> ModelSpec:
    """The model, which torchtitan has by this name."""
    return model_registry({flavour!r}, attn_backend="flex"{converters})
'''
_PLAN = '''

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
        # of these the plan knows nothing: yours to choose
        hf_assets_path="./assets/hf",
        loss=ChunkedLossWrapper.Config(
            loss_fn=CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(spec))
        ),
        optimizer=default_adamw(lr=3e-4),
        dataloader=HuggingFaceTextDataLoader.Config(dataset="c4"),
        checkpoint=CheckpointManager.Config(interval=500),
    )
'''
_QK_NORM = "\n            qk_norm=RMSNorm.Config(normalized_shape=HEAD_DIM, param_init=norm),"
_CONVERTERS = {
    "fp8": ("Float8LinearConverter", "Float8LinearConverter.Config(model_compile_enabled={compiled})"),
    "mxfp8": ("MXFP8LinearConverter", "MXFP8LinearConverter.Config(model_compile_enabled={compiled})"),
    "nvfp4": (
        "NVFP4LinearConverter",
        'NVFP4LinearConverter.Config(fqns=["layers"], model_compile_enabled={compiled})',
    ),
}


@cache
def _known() -> tuple[tuple[ModelSpec, tuple[str, str]], ...]:
    return tuple((transformer_preset(name), at) for name, at in _FLAVOURS.items())


def flavour(model: ModelSpec) -> tuple[str, str] | None:
    """Torchtitan's module and flavour of this shape."""
    fields = [name for name in ModelSpec.__struct_fields__ if name not in _NAMES]
    for known, at in _known():
        if all(getattr(model, name) == getattr(known, name) for name in fields):
            return at
    return None


def text(run: Run) -> str:
    """The whole file."""
    assert run.model is not None
    own = flavour(run.model)
    parts = [comments(about_plan(run, "torchtitan"))]
    parts.append(f'"""A plan for torchtitan: torchtitan.train --module {MODULE} --config plan."""\n\n')
    parts.append(_imports(run, own))
    parts.append(_llama(run, run.model) if own is None else _own(run, own[1]))
    parts.append(_plan(run))
    return "".join(parts)


def _imports(run: Run, own: tuple[str, str] | None) -> str:
    kinds = {"selective": "SelectiveAC", "full": "FullAC"}
    more = ""
    if run.strategy.recompute in kinds:
        name = kinds[run.strategy.recompute]
        more = f"from torchtitan.distributed.activation_checkpoint import {name}\n"
    text = _IMPORTS.format(more=more)
    if run.precision in _CONVERTERS:
        text += f"from torchtitan.components.quantization import {_CONVERTERS[run.precision][0]}\n"
    if own is None:
        return _LLAMA_IMPORTS + text
    return f"from torchtitan.models.{own[0]} import model_registry\n{text}"


def _converter(run: Run) -> str:
    if run.precision not in _CONVERTERS:
        return ""
    return _CONVERTERS[run.precision][1].format(compiled=run.launch != "eager")


def _llama(run: Run, model: ModelSpec) -> str:
    converter = _converter(run)
    return "\n" + _LLAMA.format(
        layers=model.layers,
        dim=model.hidden_size,
        ffn=model.ffn_size,
        vocabulary=model.vocab_size,
        heads=model.heads,
        kv_heads=model.kv_head_count,
        head_dim=model.head_size,
        length=run.seq_length,
        qk_norm=_QK_NORM if model.qk_norm else "",
        tied="\n        enable_weight_tying=True," if model.tied_embeddings else "",
        converted=f"model = {converter}.build().convert(model)\n    " if converter else "",
    )


def _own(run: Run, name: str) -> str:
    converter = _converter(run)
    return _OWN.format(flavour=name, converters=f", converters=[{converter}]" if converter else "")


def _plan(run: Run) -> str:
    recompute = {"none": "None", "selective": "SelectiveAC.Config()", "full": "FullAC.Config()"}
    compiled = run.launch != "eager"
    overlap = ", enable_async_tensor_parallel=True" if run.settings.tp_overlap and run.strategy.tp > 1 else ""
    return _PLAN.format(
        training=_lines(_training(run)),
        parallelism=_lines(_parallelism(run)),
        recompute=recompute[run.strategy.recompute],
        compile=f"enable={compiled or bool(overlap)}{overlap}",
    )


def _lines(fields: dict[str, object]) -> str:
    return "\n            ".join(f"{name}={value!r}," for name, value in fields.items())


def _training(run: Run) -> dict[str, object]:
    one = run.strategy
    # a pipeline takes all micro-batches of a step at once; else they are added up over passes
    local = run.global_batch // one.dp if one.pp > 1 else one.micro_batch
    return {
        "local_batch_size": local,
        "global_batch_size": run.global_batch,
        "seq_len": run.seq_length,
        "steps": run.steps,
        "enable_cpu_offload": bool(run.settings.offload),
        "disable_cuda_graphs": run.launch != "graph",
        "mixed_precision_param": "float32" if run.precision == "fp32" else "bfloat16",
        "mixed_precision_reduce": "float32",
    }


def _parallelism(run: Run) -> dict[str, object]:
    """Sizes of the mesh; FSDP shards over dp_shard x cp."""
    one, (replicas, shards) = run.strategy, mesh(run)
    found: dict[str, object] = {
        "data_parallel_replicate_degree": replicas,
        "data_parallel_shard_degree": shards,
        "fsdp_reshard_after_forward": "always" if one.zero_stage == 3 else "never",
        "tensor_parallel_degree": one.tp,
        "enable_sequence_parallel": one.sequence_parallel,
        "context_parallel_degree": one.cp,
        "expert_parallel_degree": one.ep,
        "pipeline_parallel_degree": one.pp,
    }
    if one.cp > 1:
        found["context_parallel_load_balancer"] = "ptrr"
    if one.pp > 1:
        found["pipeline_parallel_schedule"] = _SCHEDULES[run.settings.schedule][one.vpp > 1]
        found["pipeline_parallel_microbatch_size"] = one.micro_batch
        found["module_fqns_per_model_part"] = _chunks(run)
    return found


def _chunks(run: Run) -> list[list[str]]:
    """Names of the modules of each chunk."""
    chunks, first = [], 0
    for count in run.chunks:
        chunks.append([f"layers.{i}" for i in range(first, first + count)])
        first += count
    chunks[0].insert(0, "tok_embeddings")
    chunks[-1] += ["norm", "lm_head"]
    return chunks
