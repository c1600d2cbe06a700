"""NeMo 2: a script for `llm.pretrain` (nemo_toolkit 2.5, nemo/lightning/pytorch/strategies/megatron_strategy.py).

It runs on megatron-core 0.14: `ModelCommProcessGroups`, which nemo.collections.llm imports, is in no later version.
NeMo 3 has no language models; they moved to Megatron-Bridge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.export.run import PlannedRun
from planner.export.text import format_comments, format_python_call
from planner.export.trainer import TrainerExport, describe_plan
from planner.export.trainers import megatron_core, megatron_settings
from planner.trainers.megatron.programs import NEMO
from planner.workload.spec import RopeScaling

NEMO_SCRIPT_FILE = "planned_nemo.py"

_SCRIPT = '''{comments}"""A plan for NeMo 2: torchrun runs this file. Data and optimizer are for you to change."""

import os

import torch
import torch.nn.functional as F
{activation}from megatron.core.distributed import DistributedDataParallelConfig
from megatron.core.optimizer import OptimizerConfig
from megatron.core.transformer.enums import AttnBackend
from nemo import lightning as nl
from nemo.collections import llm
{llama}from nemo.collections.nlp.modules.common.tokenizer_utils import get_nmt_tokenizer


def model(tokenizer) -> llm.GPTModel:
    """The model and its kernels."""
    config = {model}
    return llm.GPTModel(config, tokenizer=tokenizer)


def trainer() -> nl.Trainer:
    """The plan: parallelism, batch and recomputation."""
    strategy = {strategy}
    return nl.Trainer(
        accelerator="gpu",
        devices={devices},
        num_nodes={nodes},
        max_steps={steps},
        max_time={{"minutes": int(os.environ["EXIT_MINUTES"])}} if "EXIT_MINUTES" in os.environ else None,
        limit_val_batches=0,
        use_distributed_sampler=False,
        strategy=strategy,
        plugins={precision},
    )


def main() -> None:
    """Train on synthetic data."""
    # the plan determines only how the optimizer is sharded: choose the rest
    tokenizer = get_nmt_tokenizer(library="null", model_name="NullTokenizer", vocab_size={vocabulary})
    data = llm.MockDataModule(
        seq_length={length}, global_batch_size={batch}, micro_batch_size={micro_batch}, tokenizer=tokenizer
    )
    optim = nl.MegatronOptimizerModule(config={optimizer})
    # saved every {checkpoint_steps} steps; a run goes on from the last checkpoint
    saved = nl.ModelCheckpoint(
        every_n_train_steps={checkpoint_steps}, save_last=True, save_top_k=1, monitor="reduced_train_loss"
    )
    log = nl.NeMoLogger(log_dir=os.environ.get("CHECKPOINTS", "checkpoints"), name="plan", version="run", ckpt=saved)
    resume = nl.AutoResume(resume_if_exists=True, resume_ignore_no_checkpoint=True)
    llm.pretrain(model=model(tokenizer), data=data, trainer=trainer(), optim=optim, log=log, resume=resume)


if __name__ == "__main__":
    main()
'''
_STRATEGY_FIELDS = (
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "virtual_pipeline_model_parallel_size",
    "pipeline_model_parallel_layout",
    "context_parallel_size",
    "sequence_parallel",
    "expert_model_parallel_size",
    "expert_tensor_parallel_size",
)
"""Arguments of NeMo's strategy, which it passes to the model's configuration."""
_LATER_FIELDS = ("moe_flex_dispatcher_backend", "cuda_graph_impl", "cuda_graph_scope")
"""Fields of megatron-core that NeMo's version of it has others for."""
_GRAPH_ARGUMENTS: dict[str, object] = {"enable_cuda_graph": True, "cuda_graph_scope": "full_iteration"}
"""A step as one graph (nemo/lightning/megatron_parallel.py, `forward_backward_func`)."""
_LLAMA_IMPORT = "from nemo.collections.llm.gpt.model.llama import Llama31Config\n"
_PRECISION_NAMES = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32", "tf32": "32"}


def _render_script(run: PlannedRun) -> str:
    arguments = megatron_core.build_provider_arguments(run)
    scaling = run.decoder.rope_scaling
    model_arguments = {
        **{name: value for name, value in arguments.items() if name not in (*_STRATEGY_FIELDS, *_LATER_FIELDS)},
        **({"moe_enable_deepep": True} if "moe_flex_dispatcher_backend" in arguments else {}),
        **(_GRAPH_ARGUMENTS if _captures_steps(run) else {}),
        **(_select_overlap_fields(run, arguments) if megatron_settings.overlaps_expert_comm(run) else {}),
        "seq_length": run.seq_length,
        "make_vocab_size_divisible_by": megatron_core.compute_vocab_divisor(run),
        **megatron_core.build_embedding_config(run.decoder),
        **_build_rope_scaling_arguments(scaling),
    }
    config_class = "llm.GPTConfig" if scaling is None or scaling.type == "linear" else "Llama31Config"
    return _SCRIPT.format(
        comments=format_comments(describe_plan(run, NEMO.name)),
        llama=_LLAMA_IMPORT if config_class == "Llama31Config" else "",
        activation=megatron_core.format_activation_imports(run.decoder),
        model=format_python_call(config_class, model_arguments, 1),
        strategy=format_python_call("nl.MegatronStrategy", _build_strategy_arguments(run), 1),
        precision=format_python_call("nl.MegatronMixedPrecision", _build_precision_arguments(run), 2),
        devices=run.devices_per_node,
        nodes=run.nodes,
        steps=run.steps,
        checkpoint_steps=run.checkpoint_steps,
        vocabulary=run.decoder.vocab_size - 1,
        length=run.seq_length,
        batch=run.global_batch,
        micro_batch=run.strategy.micro_batch,
        optimizer=format_python_call("OptimizerConfig", megatron_core.build_optimizer_config(run), 1),
    )


def _select_overlap_fields(run: PlannedRun, arguments: Mapping[str, object]) -> dict[str, object]:
    """Of the arguments of strategy and precision those that the model's configuration checks before it gets them."""
    names = (name for name in _STRATEGY_FIELDS if name.startswith(("pipeline", "virtual", "expert_model")))
    fields = {name: arguments[name] for name in names if name in arguments}
    formats: dict[str, object] = {
        name: True for name in ("bf16", "fp16") if name in megatron_core.PRECISION_FIELDS[run.precision]
    }
    return {**fields, **formats, "pipeline_dtype": megatron_core.get_pipeline_dtype(run)}


def _captures_steps(run: PlannedRun) -> bool:
    """Whether a step is one CUDA graph; megatron-core 0.14 has none with recomputation (`__post_init__`)."""
    return "cuda_graph_impl" in megatron_core.build_transformer_config(run) and run.strategy.recompute == "none"


def _build_notes(run: PlannedRun) -> Iterator[str]:
    """Deviations from the plan that do not change the result of training."""
    yield from megatron_core.build_megatron_core_notes(run)
    if "cuda_graph_impl" in megatron_core.build_transformer_config(run) and not _captures_steps(run):
        yield "NeMo captures no step with recomputation as a CUDA graph: it is longer than planned"


def _build_rope_scaling_arguments(scaling: RopeScaling | None) -> dict[str, object]:
    if scaling is None:
        return {}
    if scaling.type == "linear":
        return {"seq_len_interpolation_factor": scaling.factor}
    return {
        "scale_factor": scaling.factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        "old_context_len": scaling.original_seq_length,
    }


def _build_strategy_arguments(run: PlannedRun) -> dict[str, object]:
    fields, ddp_config = megatron_core.build_transformer_config(run), megatron_core.build_ddp_config(run)
    arguments: dict[str, object] = {name: fields[name] for name in _STRATEGY_FIELDS if name in fields}
    arguments["pipeline_dtype"] = megatron_core.get_pipeline_dtype(run)
    if _captures_steps(run):
        arguments["use_te_rng_tracker"] = True
    if megatron_core.uses_pp_dp_order(run):
        arguments["use_tp_pp_dp_mapping"] = True
    if "num_distributed_optimizer_instances" in ddp_config:
        arguments["num_distributed_optimizer_instances"] = ddp_config["num_distributed_optimizer_instances"]
    if ddp_config.pop("use_megatron_fsdp", False):
        arguments |= {"fsdp": "megatron", "save_ckpt_format": "fsdp_dtensor"}
    return arguments | {"ddp": format_python_call("DistributedDataParallelConfig", ddp_config, 2)}


def _build_precision_arguments(run: PlannedRun) -> dict[str, object]:
    fields = megatron_core.build_precision_config(run)
    arguments: dict[str, object] = {"precision": _PRECISION_NAMES.get(run.precision, "bf16-mixed")}
    return arguments | {name: value for name, value in fields.items() if name not in ("bf16", "fp16", "fp32")}


TRAINER = TrainerExport(
    NEMO,
    lambda run: megatron_core.format_script_command(run, NEMO_SCRIPT_FILE),
    lambda run: {NEMO_SCRIPT_FILE: _render_script(run)},
    megatron_core.build_megatron_environment,
    _build_notes,
    saves_before_end=True,
)
