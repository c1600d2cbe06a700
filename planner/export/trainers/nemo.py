"""NeMo 2: a script for `llm.pretrain` (nemo_toolkit 2.5, nemo/lightning/pytorch/strategies/megatron_strategy.py).

NeMo 3 has no language models; they moved to Megatron-Bridge.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import megatron
from planner.export.python_text import PythonSource, format_python_call
from planner.export.run import PlannedRun
from planner.export.shell import (
    TRAIN_SCRIPT,
    describe_plan,
    format_comments,
    format_torchrun_array,
    render_train_script,
)
from planner.export.trainer import FileTexts, TrainerExport, UnsupportedSetting, UserExtras

NAME = "nemo"
NEMO_SCRIPT_FILE = "planned_nemo.py"

_SCRIPT = '''{comments}"""A plan for NeMo 2: torchrun runs this file. Data and optimizer are for you to change."""

import torch
import torch.nn.functional as F
from megatron.core.distributed import DistributedDataParallelConfig
from megatron.core.optimizer import OptimizerConfig
from megatron.core.transformer.enums import AttnBackend
from nemo import lightning as nl
from nemo.collections import llm
from nemo.collections.nlp.modules.common.tokenizer_utils import get_nmt_tokenizer


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
        limit_val_batches=0,
        use_distributed_sampler=False,
        strategy=strategy,
        plugins={precision},
    )


def main() -> None:
    """Train on synthetic data."""
    # the plan determines only how the optimizer is sharded: choose the rest
    tokenizer = get_nmt_tokenizer(library="null", vocab_size={vocabulary})
    data = llm.MockDataModule(
        seq_length={length}, global_batch_size={batch}, micro_batch_size={micro_batch}, tokenizer=tokenizer
    )
    optim = nl.MegatronOptimizerModule(config={optimizer})
    llm.pretrain(model=model(tokenizer), data=data, trainer=trainer(), optim=optim)


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
_PRECISION_NAMES = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32", "tf32": "32"}


def find_unsupported_by_nemo(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    """Settings that megatron-core or NeMo 2 does not support."""
    yield from megatron.find_unsupported_by_megatron_core(run)
    if run.precision == "nvfp4":
        yield UnsupportedSetting("precision", run.precision, "precision bf16, fp16, fp8 or mxfp8")
    if run.model is not None and run.model.mla is not None:
        yield UnsupportedSetting("model.mla", "present", "left out")


def render_nemo_script(run: PlannedRun) -> str:
    """The script."""
    model = run.model
    assert model is not None
    return _SCRIPT.format(
        comments=format_comments(describe_plan(run, NAME)),
        model=format_python_call("llm.GPTConfig", _build_model_arguments(run), 1),
        strategy=format_python_call("nl.MegatronStrategy", _build_strategy_arguments(run), 1),
        precision=format_python_call("nl.MegatronMixedPrecision", _build_precision_arguments(run), 2),
        devices=run.devices_per_node,
        nodes=run.nodes,
        steps=run.steps,
        vocabulary=model.vocab_size - 1,
        length=run.seq_length,
        batch=run.global_batch,
        micro_batch=run.strategy.micro_batch,
        optimizer=format_python_call("OptimizerConfig", megatron.build_optimizer_config(run), 1),
    )


def _build_model_arguments(run: PlannedRun) -> dict[str, object]:
    model = run.model
    assert model is not None
    fields = {
        name: value for name, value in megatron.build_provider_arguments(run).items() if name not in _STRATEGY_FIELDS
    }
    return fields | {"seq_length": run.seq_length} | megatron.build_embedding_config(model)


def _build_strategy_arguments(run: PlannedRun) -> dict[str, object]:
    fields, ddp_config = megatron.build_transformer_config(run), megatron.build_ddp_config(run)
    arguments: dict[str, object] = {name: fields[name] for name in _STRATEGY_FIELDS if name in fields}
    arguments["pipeline_dtype"] = PythonSource(megatron.get_pipeline_dtype(run))
    if run.settings.order == megatron.MEGATRON_RANK_ORDERS[1]:
        arguments["use_tp_pp_dp_mapping"] = True
    if "num_distributed_optimizer_instances" in ddp_config:
        arguments["num_distributed_optimizer_instances"] = ddp_config["num_distributed_optimizer_instances"]
    if ddp_config.pop("use_megatron_fsdp", False):
        arguments["fsdp"] = "megatron"
        arguments["save_ckpt_format"] = "fsdp_dtensor"
    arguments["ddp"] = format_python_call("DistributedDataParallelConfig", ddp_config, 2)
    return arguments


def _build_precision_arguments(run: PlannedRun) -> dict[str, object]:
    fields = megatron.build_precision_config(run)
    arguments: dict[str, object] = {"precision": _PRECISION_NAMES.get(run.precision, "bf16-mixed")}
    return arguments | {name: value for name, value in fields.items() if name not in ("bf16", "fp16", "fp32")}


def build_nemo_files(run: PlannedRun, extras: UserExtras) -> FileTexts:
    """The script, and `train.sh` that runs it on all devices of a node."""
    body = format_torchrun_array(run) + f'exec "${{torchrun[@]}}" "$here/{NEMO_SCRIPT_FILE}" "$@"\n'
    return {
        NEMO_SCRIPT_FILE: render_nemo_script(run),
        TRAIN_SCRIPT: render_train_script(run, NAME, extras, body, megatron.build_megatron_environment(run)),
    }


TRAINER = TrainerExport(NAME, find_unsupported_by_nemo, megatron.build_megatron_core_notes, build_nemo_files)
