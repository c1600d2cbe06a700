"""NeMo 2: a script for `llm.pretrain` (nemo_toolkit 2.5, nemo/lightning/pytorch/strategies/megatron_strategy.py).

NeMo 3 has no language models: Megatron-Bridge is their place.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import megatron
from planner.export.python_text import Source, call
from planner.export.run import Run
from planner.export.shell import TRAIN, about_plan, comments, torchrun, train_script
from planner.export.trainer import Files, Misfit, Own, Trainer

NAME = "nemo"
SCRIPT = "planned_nemo.py"

_TEXT = '''{comments}"""A plan for NeMo 2: torchrun runs this file. Data and optimizer are for you to change."""

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
    """The plan: how the work is split."""
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
    """Train on made-up data."""
    # of these the plan knows nothing, but for the sharing of the optimizer: yours to choose
    tokenizer = get_nmt_tokenizer(library="null", vocab_size={vocabulary})
    data = llm.MockDataModule(
        seq_length={length}, global_batch_size={batch}, micro_batch_size={micro_batch}, tokenizer=tokenizer
    )
    optim = nl.MegatronOptimizerModule(config={optimizer})
    llm.pretrain(model=model(tokenizer), data=data, trainer=trainer(), optim=optim)


if __name__ == "__main__":
    main()
'''
_OF_STRATEGY = (
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "virtual_pipeline_model_parallel_size",
    "pipeline_model_parallel_layout",
    "context_parallel_size",
    "sequence_parallel",
    "expert_model_parallel_size",
    "expert_tensor_parallel_size",
)
"""What NeMo's strategy is told, which hands it to the model's configuration."""
_PRECISIONS = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32", "tf32": "32"}


def misfits(run: Run) -> Iterator[Misfit]:
    """Those of megatron-core, and what NeMo 2 has no words for."""
    yield from megatron.misfits(run)
    if run.precision == "nvfp4":
        yield Misfit("precision", run.precision, "precision bf16, fp16, fp8 or mxfp8")
    if run.model is not None and run.model.mla is not None:
        yield Misfit("model.mla", "there is one", "left out")


def text(run: Run) -> str:
    """The script."""
    model = run.model
    assert model is not None
    return _TEXT.format(
        comments=comments(about_plan(run, NAME)),
        model=call("llm.GPTConfig", _model(run), 1),
        strategy=call("nl.MegatronStrategy", _strategy(run), 1),
        precision=call("nl.MegatronMixedPrecision", _precision(run), 2),
        devices=run.devices_per_node,
        nodes=run.nodes,
        steps=run.steps,
        vocabulary=model.vocab_size - 1,
        length=run.seq_length,
        batch=run.global_batch,
        micro_batch=run.strategy.micro_batch,
        optimizer=call("OptimizerConfig", megatron.optimizer(run), 1),
    )


def _model(run: Run) -> dict[str, object]:
    model = run.model
    assert model is not None
    fields = {name: value for name, value in megatron.arguments(run).items() if name not in _OF_STRATEGY}
    return fields | {"seq_length": run.seq_length} | megatron.embeddings(model)


def _strategy(run: Run) -> dict[str, object]:
    fields, shared = megatron.fields(run), megatron.ddp(run)
    found: dict[str, object] = {name: fields[name] for name in _OF_STRATEGY if name in fields}
    found["pipeline_dtype"] = Source(megatron.dtype(run))
    if run.settings.order == megatron.ORDERS[1]:
        found["use_tp_pp_dp_mapping"] = True
    if "num_distributed_optimizer_instances" in shared:
        found["num_distributed_optimizer_instances"] = shared["num_distributed_optimizer_instances"]
    if shared.pop("use_megatron_fsdp", False):
        found["fsdp"] = "megatron"
        found["save_ckpt_format"] = "fsdp_dtensor"
    found["ddp"] = call("DistributedDataParallelConfig", shared, 2)
    return found


def _precision(run: Run) -> dict[str, object]:
    fields = megatron.mixed_precision(run)
    found: dict[str, object] = {"precision": _PRECISIONS.get(run.precision, "bf16-mixed")}
    return found | {name: value for name, value in fields.items() if name not in ("bf16", "fp16", "fp32")}


def files(run: Run, own: Own) -> Files:
    """The script, and `train.sh` that runs it on all devices of a node."""
    body = torchrun(run) + f'exec "${{torchrun[@]}}" "$here/{SCRIPT}" "$@"\n'
    return {SCRIPT: text(run), TRAIN: train_script(run, NAME, own, body, megatron.variables(run))}


TRAINER = Trainer(NAME, megatron.FRAMEWORKS, misfits, megatron.notes, files)
