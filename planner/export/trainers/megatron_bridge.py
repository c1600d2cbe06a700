"""Megatron-Bridge: a script with a `ConfigContainer` (megatron-bridge 0.3, megatron/bridge/training/config.py)."""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import megatron
from planner.export.python_text import Source, call
from planner.export.run import Run
from planner.export.shell import TRAIN, about_plan, comments, torchrun, train_script
from planner.export.trainer import Files, Misfit, Own, Trainer

NAME = "megatron-bridge"
SCRIPT = "planned_bridge.py"

_TEXT = '''{comments}"""A plan for Megatron-Bridge: torchrun runs it. Data and optimizer are yours to change."""

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
        # of these the plan knows nothing, but for the sharing of the optimizer: yours to choose
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


def misfits(run: Run) -> Iterator[Misfit]:
    """Those of megatron-core, and one of Megatron-FSDP's."""
    yield from megatron.misfits(run)
    if run.strategy.zero_stage > 1 and run.settings.order != megatron.ORDERS[0]:
        yield Misfit("order", run.settings.order, f"order {megatron.ORDERS[0]}")


def text(run: Run) -> str:
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
    fsdp = run.strategy.zero_stage > 1
    whole_step = "cuda_graph_impl" in megatron.fields(run)
    return _TEXT.format(
        comments=comments(about_plan(run, NAME)),
        imports=imports,
        model=call(provider, _model(run), 2),
        train=call(
            "TrainingConfig",
            {
                "train_iters": run.steps,
                "global_batch_size": run.global_batch,
                "micro_batch_size": run.strategy.micro_batch,
            },
            2,
        ),
        ddp=call("DistributedDataParallelConfig", megatron.ddp(run), 2),
        dist=call("DistributedInitConfig", _dist(run), 2),
        precision=call("MixedPrecisionConfig", megatron.mixed_precision(run), 2),
        overlap=overlap,
        rng=call("RNGConfig", {"te_rng_tracker": True} if whole_step else {}, 2),
        rerun=call("RerunStateMachineConfig", {"check_for_nan_in_loss": False} if whole_step else {}, 2),
        optimizer=call("OptimizerConfig", megatron.optimizer(run), 2),
        data=call("MockGPTDatasetConfig", _data(run), 2),
        vocabulary=model.vocab_size - 1,
        checkpoint="fsdp_dtensor" if fsdp else "torch_dist",
    )


def _model(run: Run) -> dict[str, object]:
    """The model, its split and its kernels."""
    model = run.model
    assert model is not None
    own = {
        "pipeline_dtype": Source(megatron.dtype(run)),
        "seq_length": run.seq_length,
        "vocab_size": model.vocab_size,
    }
    return megatron.arguments(run) | own | megatron.embeddings(model)


def _dist(run: Run) -> dict[str, object]:
    found: dict[str, object] = {}
    if run.strategy.zero_stage > 1:
        found["use_megatron_fsdp"] = True
    if run.settings.order == megatron.ORDERS[1]:
        found["use_tp_pp_dp_mapping"] = True
    return found


def _data(run: Run) -> dict[str, object]:
    """Made-up data."""
    return {
        "seq_length": run.seq_length,
        "random_seed": 1234,
        "reset_position_ids": False,
        "reset_attention_mask": False,
        "eod_mask_loss": False,
        "dataloader_type": "single",
    }


def files(run: Run, own: Own) -> Files:
    """The script, and `train.sh` that runs it on all devices of a node."""
    body = torchrun(run) + f'exec "${{torchrun[@]}}" "$here/{SCRIPT}" "$@"\n'
    return {SCRIPT: text(run), TRAIN: train_script(run, NAME, own, body, megatron.variables(run))}


TRAINER = Trainer(NAME, megatron.FRAMEWORKS, misfits, megatron.notes, files)
