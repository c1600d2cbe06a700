"""Megatron-Bridge: a script with a `ConfigContainer` (megatron-bridge 0.3, megatron/bridge/training/config.py)."""

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

NAME = "megatron-bridge"
BRIDGE_SCRIPT_FILE = "planned_bridge.py"

_SCRIPT = '''{comments}"""A plan for Megatron-Bridge: torchrun runs it. Data and optimizer are yours to change."""

import torch
import torch.nn.functional as F
from megatron.core.transformer.enums import AttnBackend

{imports}
from megatron.bridge.training.config import (
    CheckpointConfig,
    ConfigContainer,
    DistributedDataParallelConfig,
    DistributedInitConfig,
    LoggerConfig,
    MockGPTDatasetConfig,
    OptimizerConfig,
    RerunStateMachineConfig,
    RNGConfig,
    SchedulerConfig,
    TokenizerConfig,
    TrainingConfig,
)
from megatron.bridge.training.mixed_precision import MixedPrecisionConfig


def config() -> ConfigContainer:
    """The plan."""
    return ConfigContainer(
        model={model},
        train={train},
        ddp={ddp},
        dist={dist},
        mixed_precision={precision},{overlap}
        rng={rng},
        rerun_state_machine={rerun},
        # the plan determines only how the optimizer is sharded: choose the rest
        optimizer={optimizer},
        scheduler=SchedulerConfig(lr_decay_style="cosine"),
        dataset={data},
        tokenizer=TokenizerConfig(tokenizer_type="NullTokenizer", vocab_size={vocabulary}),
        checkpoint=CheckpointConfig(save=None, ckpt_format="{checkpoint}"),
        logger=LoggerConfig(log_interval=10),
    )


if __name__ == "__main__":
    from megatron.bridge.training.gpt_step import forward_step
    from megatron.bridge.training.pretrain import pretrain

    pretrain(config(), forward_step)
'''


def find_unsupported_by_megatron_bridge(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    """Settings that megatron-core does not support, and an order that Megatron-FSDP does not."""
    yield from megatron.find_unsupported_by_megatron_core(run)
    if run.strategy.zero_stage > 1 and run.settings.order != megatron.MEGATRON_RANK_ORDERS[0]:
        yield UnsupportedSetting("order", run.settings.order, f"order {megatron.MEGATRON_RANK_ORDERS[0]}")


def render_bridge_script(run: PlannedRun) -> str:
    """The script."""
    model = run.model
    assert model is not None
    provider = "GPTModelProvider" if model.mla is None else "MLAModelProvider"
    module = "megatron.bridge.models" if model.mla is None else "megatron.bridge.models.mla_provider"
    imports = f"from {module} import {provider}"
    overlap = ""
    if run.settings.tp_overlap and run.strategy.tp > 1:
        imports += "\nfrom megatron.bridge.training.comm_overlap import CommOverlapConfig"
        overlap = "\n        comm_overlap=CommOverlapConfig(tp_comm_overlap=True),"
    uses_fsdp = run.strategy.zero_stage > 1
    has_cuda_graph = "cuda_graph_impl" in megatron.build_transformer_config(run)
    return _SCRIPT.format(
        comments=format_comments(describe_plan(run, NAME)),
        imports=imports,
        model=format_python_call(provider, _build_model_arguments(run), 2),
        train=format_python_call(
            "TrainingConfig",
            {
                "train_iters": run.steps,
                "global_batch_size": run.global_batch,
                "micro_batch_size": run.strategy.micro_batch,
            },
            2,
        ),
        ddp=format_python_call("DistributedDataParallelConfig", megatron.build_ddp_config(run), 2),
        dist=format_python_call("DistributedInitConfig", _build_dist_arguments(run), 2),
        precision=format_python_call("MixedPrecisionConfig", megatron.build_precision_config(run), 2),
        overlap=overlap,
        rng=format_python_call("RNGConfig", {"te_rng_tracker": True} if has_cuda_graph else {}, 2),
        rerun=format_python_call(
            "RerunStateMachineConfig", {"check_for_nan_in_loss": False} if has_cuda_graph else {}, 2
        ),
        optimizer=format_python_call("OptimizerConfig", megatron.build_optimizer_config(run), 2),
        data=format_python_call("MockGPTDatasetConfig", _build_data_arguments(run), 2),
        vocabulary=model.vocab_size - 1,
        checkpoint="fsdp_dtensor" if uses_fsdp else "torch_dist",
    )


def _build_model_arguments(run: PlannedRun) -> dict[str, object]:
    """The model, its parallelism and its kernels."""
    model = run.model
    assert model is not None
    bridge_fields = {
        "pipeline_dtype": PythonSource(megatron.get_pipeline_dtype(run)),
        "seq_length": run.seq_length,
        "vocab_size": model.vocab_size,
    }
    return megatron.build_provider_arguments(run) | bridge_fields | megatron.build_embedding_config(model)


def _build_dist_arguments(run: PlannedRun) -> dict[str, object]:
    arguments: dict[str, object] = {}
    if run.strategy.zero_stage > 1:
        arguments["use_megatron_fsdp"] = True
    if run.settings.order == megatron.MEGATRON_RANK_ORDERS[1]:
        arguments["use_tp_pp_dp_mapping"] = True
    return arguments


def _build_data_arguments(run: PlannedRun) -> dict[str, object]:
    """Synthetic data."""
    return {
        "seq_length": run.seq_length,
        "random_seed": 1234,
        "reset_position_ids": False,
        "reset_attention_mask": False,
        "eod_mask_loss": False,
        "dataloader_type": "single",
    }


def build_megatron_bridge_files(run: PlannedRun, extras: UserExtras) -> FileTexts:
    """The script, and `train.sh` that runs it on all devices of a node."""
    body = format_torchrun_array(run) + f'exec "${{torchrun[@]}}" "$here/{BRIDGE_SCRIPT_FILE}" "$@"\n'
    return {
        BRIDGE_SCRIPT_FILE: render_bridge_script(run),
        TRAIN_SCRIPT: render_train_script(run, NAME, extras, body, megatron.build_megatron_environment(run)),
    }


TRAINER = TrainerExport(
    NAME,
    find_unsupported_by_megatron_bridge,
    megatron.build_megatron_core_notes,
    build_megatron_bridge_files,
)
